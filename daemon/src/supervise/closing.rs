//! Closing a store that somebody may still read.

use std::sync::Arc;
use std::time::Duration;

use super::notifier::Notifier;
use crate::halt::Halt;
use crate::store::Store;

/// How often a store that somebody still reads is tried to be closed, and how long is waited in between: a reader that
/// was asked to stop lets go of it within a batch.
pub(super) const CLOSE_TRIES: u32 = 250;
const CLOSE_PAUSE: Duration = Duration::from_millis(20);

/// How often when the daemon goes on after that: ten minutes in all, since what is written to a slow disk can hold a
/// reader. Another life cannot lock a store that somebody has open, and would end in a way after which systemd does not
/// start it again.
pub(super) const CLOSE_TRIES_AGAIN: u32 = 30_000;

/// Whether a store was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    Done,
    /// Somebody still has it open, and with it its lock.
    InUse,
}

/// Closes a store when nobody else has it any more, and keeps the watchdog quiet until then. Asked to end, it tries
/// [`CLOSE_TRIES`] times at most.
pub(super) fn close(store: Arc<Store>, tries: u32, stopping: &Halt) -> Closed {
    for tried in 0..tries {
        if Arc::strong_count(&store) == 1 || (tried >= CLOSE_TRIES && stopping.is_asked()) {
            break;
        }
        if tried % CLOSE_TRIES == 0 {
            Notifier.alive();
        }
        std::thread::park_timeout(CLOSE_PAUSE);
    }
    match Arc::try_unwrap(store) {
        Ok(store) => {
            if let Err(error) = store.close() {
                tracing::warn!(%error, "sled could not be closed in order; it is caught up or rebuilt at the next start");
            }
            Closed::Done
        }
        Err(_) => {
            tracing::warn!("the store is still in use at the end; sled is caught up at the next start");
            Closed::InUse
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::init;

    #[test]
    fn a_store_that_somebody_reads_is_closed_as_soon_as_they_let_go_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let options = init(dir.path());
        let store = Arc::new(Store::open(&options, &mut |_, _| {}).unwrap());
        let (reader, stopping) = (Arc::clone(&store), Halt::default());
        assert_eq!(close(Arc::clone(&store), 1, &stopping), Closed::InUse);
        let reading = std::thread::spawn(move || drop(reader));
        assert_eq!(close(store, CLOSE_TRIES_AGAIN, &stopping), Closed::Done);
        reading.join().unwrap();
        drop(Store::open(&options, &mut |_, _| {}).unwrap());
    }
}

//! Whether work was asked to stop. Whatever can take long asks, at least as often as once a batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Work stopped because it was asked to. Nothing is wrong, and nothing counts as done that is not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped because the daemon is ending; what is in the log stands, and the next start goes on from there")]
pub struct Halted;

/// A wish to stop that everybody with a clone of it sees. Once asked for, it is never taken back.
#[derive(Debug, Clone, Default)]
pub struct Halt {
    own: Arc<AtomicBool>,
    above: Option<Arc<AtomicBool>>,
}

impl Halt {
    /// A part of the work that can be asked to stop alone, and stops when all of it does. One level is enough for a
    /// daemon with several lives: what is above the part itself no longer counts.
    #[must_use]
    pub fn part(&self) -> Self {
        Self { own: Arc::default(), above: Some(Arc::clone(&self.own)) }
    }

    /// Asks all clones to stop.
    pub fn ask(&self) {
        self.own.store(true, Ordering::Release);
    }

    /// Says whether it was asked for.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.own.load(Ordering::Acquire) || self.above.as_ref().is_some_and(|above| above.load(Ordering::Acquire))
    }

    /// Goes on, or not.
    ///
    /// # Errors
    /// When it was asked for.
    pub fn check(&self) -> Result<(), Halted> {
        if self.is_asked() { Err(Halted) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stops_alone_or_with_the_whole() {
        let whole = Halt::default();
        let (first, second) = (whole.part(), whole.part());
        first.clone().ask();
        assert_eq!((first.check(), second.check(), whole.check()), (Err(Halted), Ok(()), Ok(())));
        whole.ask();
        assert_eq!(second.check(), Err(Halted));
    }
}

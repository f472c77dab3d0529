//! Work for a far side that ends: a server that lets go of nothing keeps neither its stage nor the end of the daemon
//! waiting.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::halt::Halt;

/// How often the end of the daemon is looked for, and how often at most: half a minute in all.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS_MAX: u32 = 600;

/// Nobody waits for the work any more. What the far side has of it, nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfinished {
    /// The system gave it no thread; it never began.
    #[error("the system has no thread for it")]
    NotBegun,
    /// A defect of this program.
    #[error("telling it ended in a defect of this program")]
    Panicked,
    /// The daemon ends before the far side has answered.
    #[error("the daemon stops")]
    Stopping,
    /// It took longer than half a minute.
    #[error("it did not answer in time")]
    TimedOut,
}

/// Does `work` on a thread of its own, which is left alone after half a minute or when the daemon ends.
///
/// # Errors
/// When nobody waited for its end.
pub(super) fn within<T: Send + 'static>(
    halt: &Halt,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unfinished> {
    let (done, ended) = channel();
    std::thread::Builder::new()
        .name("deliver".to_owned())
        .spawn(move || {
            // Whoever no longer waits does not need to know.
            drop(done.send(work()));
        })
        .map_err(|_| Unfinished::NotBegun)?;
    for _ in 0..LOOKS_MAX {
        match ended.recv_timeout(LOOK) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Disconnected) => return Err(Unfinished::Panicked),
            Err(RecvTimeoutError::Timeout) if halt.is_asked() => return Err(Unfinished::Stopping),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    Err(Unfinished::TimedOut)
}

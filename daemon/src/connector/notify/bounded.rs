//! Deliveries that end: a server that lets go of nothing keeps neither its channel nor the end of the daemon waiting.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::{STOPPING, Undelivered};
use crate::halt::Halt;

/// How often the end of the daemon is looked for, and how often at most: half a minute in all.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS_MAX: u32 = 600;

/// Does `work` on a thread of its own, which is left alone after half a minute or when the daemon ends. What it does
/// then, nobody knows.
///
/// # Errors
/// As `work`, and when it took too long.
pub(in crate::connector) fn within(
    halt: &Halt,
    work: impl FnOnce() -> Result<(), Undelivered> + Send + 'static,
) -> Result<(), Undelivered> {
    let (done, ended) = channel();
    std::thread::Builder::new()
        .name("deliver".to_owned())
        .spawn(move || {
            // Whoever no longer waits does not need to know.
            drop(done.send(work()));
        })
        .map_err(|_| Undelivered::because("no-thread"))?;
    for _ in 0..LOOKS_MAX {
        match ended.recv_timeout(LOOK) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => return Err(Undelivered::because("delivery-panicked")),
            Err(RecvTimeoutError::Timeout) if halt.is_asked() => return Err(Undelivered::because(STOPPING)),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    Err(Undelivered::because("timeout"))
}

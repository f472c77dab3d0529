//! One thread for each stage: step while there is work, then wait for the log, the clock, a hint or the end.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use retention_core::id::Position;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::stage::intake::IntakeError;
use crate::stage::{StageError, Step};
use crate::store::AppendError;

/// How long a stage waits after an error before it tries again.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(30);

/// What all workers share.
#[derive(Clone)]
pub(super) struct Shared {
    /// The runtime, for waiting.
    pub(super) handle: Handle,
    /// The clock.
    pub(super) clock: Arc<dyn Clock>,
    /// Turns true when the daemon stops: the step under way ends soon, no other begins.
    pub(super) stop: watch::Receiver<bool>,
    /// Told when a stage cannot go on at all.
    pub(super) failed: watch::Sender<Option<String>>,
}

/// Starts a worker. `step` is called again and again; `hint` wakes it early, and the growth of the log does if `log` is
/// given.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn start(
    name: &'static str,
    shared: Shared,
    log: Option<watch::Receiver<Position>>,
    hint: Arc<Notify>,
    step: impl FnMut() -> Result<Step, StageError> + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(move || work(name, &shared, log, &hint, step))
}

fn work(
    name: &'static str,
    shared: &Shared,
    mut log: Option<watch::Receiver<Position>>,
    hint: &Notify,
    mut step: impl FnMut() -> Result<Step, StageError>,
) {
    while !*shared.stop.borrow() {
        if let Some(log) = &mut log {
            log.mark_unchanged();
        }
        let until = match step() {
            Ok(Step::Worked) => continue,
            Ok(Step::Idle) => None,
            Ok(Step::IdleUntil(at)) => Some(at),
            Err(error) if is_fatal(&error) => {
                tracing::error!(stage = name, %error, "a stage cannot go on; the daemon stops, and recovery decides");
                shared.failed.send_replace(Some(error.to_string()));
                return;
            }
            Err(StageError::Halted(_) | StageError::Intake(IntakeError::Halted(_))) => {
                tracing::info!(stage = name, "stopped on its way; the next start goes on from what is in the log");
                return;
            }
            // The delivery rests where it was claimed; the others are not held up.
            Err(StageError::Intake(error)) if !error.is_of_the_store() => {
                tracing::error!(stage = name, %error, "a delivery could not be taken in; it is tried again");
                continue;
            }
            Err(error) => {
                tracing::error!(stage = name, %error, "a step failed; it is tried again");
                Some(shared.clock.now().after(PAUSE_AFTER_ERROR))
            }
        };
        let mut stop = shared.stop.clone();
        shared.handle.block_on(async {
            let time = async {
                match until {
                    Some(at) => shared.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let grown = async {
                match &mut log {
                    Some(log) => drop(log.changed().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => {}
                () = grown => {}
                () = hint.notified() => {}
                () = time => {}
            }
        });
    }
}

/// After a failed write nobody knows what is on disk: only opening the store again tells.
fn is_fatal(error: &StageError) -> bool {
    let ends_all = |error: &AppendError| {
        matches!(
            error,
            AppendError::Journal(_)
                | AppendError::ReadOnly(_)
                | AppendError::Closed
                | AppendError::Full
                | AppendError::Vault(_)
        )
    };
    match error {
        StageError::Append(error) | StageError::Intake(IntakeError::Append(error)) => ends_all(error),
        StageError::Vault(_) | StageError::Intake(IntakeError::Vault(_)) => true,
        StageError::Read(_) | StageError::Codec(_) | StageError::Halted(_) | StageError::Intake(_) => false,
    }
}

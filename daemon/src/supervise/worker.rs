//! One thread for each stage: step while there is work, then wait for the log, the clock, a hint or the end.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use retention_core::id::Position;
use retention_core::time::Timestamp;
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
    /// Where stages say that their steps fail.
    pub(super) failing: StagesFailing,
}

/// The stages whose steps fail again and again: they are tried for ever, and what they are for is not done meanwhile.
#[derive(Debug, Clone, Default)]
pub(super) struct StagesFailing(Arc<Mutex<Vec<Steps>>>);

/// How the last steps of a stage went.
#[derive(Debug)]
struct Steps {
    stage: &'static str,
    failed_in_a_row: u32,
    says: String,
}

impl StagesFailing {
    /// Takes a stage in, and returns its number: several threads may have one name.
    fn add(&self, stage: &'static str) -> usize {
        let mut stages = self.0.lock();
        stages.push(Steps { stage, failed_in_a_row: 0, says: String::new() });
        stages.len() - 1
    }

    /// Notes how a step went.
    fn note(&self, number: usize, failed: Option<&StageError>) {
        if let Some(steps) = self.0.lock().get_mut(number) {
            steps.failed_in_a_row = failed.map_or(0, |_| steps.failed_in_a_row.saturating_add(1));
            steps.says = failed.map(ToString::to_string).unwrap_or_default();
        }
    }

    /// Returns the stages of which more than one step in a row failed, with what the last one said. One alone may have
    /// met what was done at the same time.
    pub(super) fn told(&self) -> Vec<(String, String)> {
        let stages = self.0.lock();
        let failing = stages.iter().filter(|steps| steps.failed_in_a_row > 1);
        failing.map(|steps| (steps.stage.to_owned(), steps.says.clone())).collect()
    }
}

/// Tells that what a stage, or the control socket, is served by panicked: it must not look like one that rests.
pub(super) struct Panics<'a> {
    pub(super) stage: &'static str,
    pub(super) failed: &'a watch::Sender<Option<String>>,
}

impl Drop for Panics<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(stage = self.stage, "a stage panicked; the daemon stops, and recovery decides");
            self.failed.send_replace(Some(format!("the stage {} panicked", self.stage)));
        }
    }
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
    let _panics = Panics { stage: name, failed: &shared.failed };
    let number = shared.failing.add(name);
    while !*shared.stop.borrow() {
        if let Some(log) = &mut log {
            log.mark_unchanged();
        }
        let stepped = step();
        if stepped.is_ok() {
            shared.failing.note(number, None);
        }
        let until = match stepped {
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
            Err(error) => {
                tracing::error!(stage = name, %error, "a step failed; it is tried again");
                shared.failing.note(number, Some(&error));
                Some(shared.clock.now().after(PAUSE_AFTER_ERROR))
            }
        };
        let mut stop = shared.stop.clone();
        shared.handle.block_on(async {
            let time = async {
                match until {
                    Some(at) => no_longer_than_meant(shared.clock.as_ref(), at).await,
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

/// Waits until an instant, and no longer than it is until then: a clock that is set back meanwhile must not let a stage rest until
/// it has caught up.
fn no_longer_than_meant(clock: &dyn Clock, at: Timestamp) -> impl Future<Output = ()> + use<> {
    let meant = u64::try_from(at.0.saturating_sub(clock.now().0)).unwrap_or(0);
    let (come, meant) = (clock.sleep_until(at), Duration::from_micros(meant));
    async move {
        tokio::select! {
            () = come => {}
            () = tokio::time::sleep(meant) => {}
        }
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

#[cfg(test)]
mod tests {
    use retention_core::id::EntityId;
    use tokio::runtime::Runtime;

    use super::*;
    use crate::clock::ManualClock;
    use crate::store::ReadError;

    struct World {
        runtime: Runtime,
        shared: Shared,
        stop: watch::Sender<bool>,
        failure: watch::Receiver<Option<String>>,
    }

    fn world() -> World {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (stop, stopped) = watch::channel(false);
        let (failed, failure) = watch::channel(None);
        let shared = Shared {
            handle: runtime.handle().clone(),
            clock: Arc::new(ManualClock::starting_at(Timestamp::from_unix_seconds(1_700_000_000))),
            stop: stopped,
            failed,
            failing: StagesFailing::default(),
        };
        World { runtime, shared, stop, failure }
    }

    #[test]
    fn a_stage_that_panics_ends_the_daemon_and_does_not_look_as_if_it_rested() {
        let World { runtime, shared, stop: _stop, mut failure } = world();
        let hint = Arc::new(Notify::new());
        let stage =
            start("run", shared.clone(), None, hint, || std::panic::resume_unwind(Box::new("as a library does")));
        assert!(stage.unwrap().join().is_err());
        runtime.block_on(failure.changed()).unwrap();
        assert_eq!(failure.borrow().as_deref(), Some("the stage run panicked"));
    }

    #[tokio::test]
    async fn a_wait_ends_although_the_clock_was_set_back_and_never_comes_to_its_end() {
        let now = Timestamp::from_unix_seconds(1_700_000_000);
        let clock = ManualClock::starting_at(now);
        let wait = no_longer_than_meant(&clock, now.after(Duration::from_millis(1)));
        clock.set(Timestamp::from_unix_seconds(1_600_000_000));
        wait.await;
    }

    #[test]
    fn a_stage_that_ends_in_order_ends_nothing_else() {
        let World { runtime: _runtime, shared, stop, failure } = world();
        let ends = move || {
            stop.send_replace(true);
            Ok(Step::Idle)
        };
        start("run", shared.clone(), None, Arc::default(), ends).unwrap().join().unwrap();
        assert_eq!(*failure.borrow(), None);
        assert_eq!(shared.failing.told(), []);
    }

    #[test]
    fn a_stage_whose_steps_fail_again_and_again_is_told_until_one_succeeds() {
        let World { runtime: _runtime, shared, stop, failure } = world();
        let hint = Arc::new(Notify::new());
        let (again, failing) = (Arc::clone(&hint), shared.failing.clone());
        let (mut steps, mut told) = (0, Vec::new());
        let (tell, hear) = std::sync::mpsc::channel();
        let step = move || {
            told.push(failing.told());
            steps += 1;
            // Nobody waits for the clock.
            again.notify_one();
            match steps {
                1..=3 => Err(ReadError::SlotDamaged(EntityId(7)).into()),
                4 => Ok(Step::Worked),
                _ => {
                    stop.send_replace(true);
                    tell.send(std::mem::take(&mut told)).unwrap();
                    Ok(Step::Idle)
                }
            }
        };
        start("grants", shared.clone(), None, hint, step).unwrap().join().unwrap();
        let told: Vec<Vec<String>> =
            hear.recv().unwrap().into_iter().map(|told| told.into_iter().map(|(stage, _)| stage).collect()).collect();
        let none = Vec::<String>::new;
        assert_eq!(told, [none(), none(), vec!["grants".to_owned()], vec!["grants".to_owned()], none()]);
        assert_eq!(*failure.borrow(), None);
    }
}

//! When to look: a hint of the operating system, or every half minute. The scan is the truth, a hint only its alarm.

use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use notify::event::{EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::{Intake, IntakeError};
use crate::clock::Clock;
use crate::stage::Step;

/// Hints that wait. More are dropped: one scan sees everything.
const HINTS_MAX: usize = 1_024;

/// Something may have happened.
enum Hint {
    /// An entry was renamed into a drop folder.
    RenamedIn(PathBuf),
    /// Anything else, a lost hint included.
    Look,
    /// The loop is to end.
    Stop,
}

/// Ends the loop, and wakes it.
#[derive(Clone)]
pub struct Waker(Sender<Hint>);

impl Waker {
    /// Asks for a look now.
    pub fn look(&self) {
        give(&self.0, Hint::Look);
    }

    /// Ends the loop after the delivery under way.
    pub fn stop(&self) {
        // A full queue is emptied by the loop, which may take as long as one delivery.
        drop(self.0.send(Hint::Stop));
    }
}

/// What tells of changes in the drop folders.
pub struct Watch {
    hints: Receiver<Hint>,
    waker: Waker,
    watcher: Option<RecommendedWatcher>,
}

fn give(hints: &Sender<Hint>, hint: Hint) {
    match hints.try_send(hint) {
        // A full queue is a hint already; a loop that is over needs none.
        Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
    }
}

impl Watch {
    /// Watches the drop folders of a stage. Where the system cannot, the scan every half minute remains.
    #[must_use]
    pub fn over(intake: &Intake) -> Self {
        let (sender, hints) = crossbeam_channel::bounded(HINTS_MAX);
        let waker = Waker(sender.clone());
        let made = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
            Ok(notify::Event { kind: EventKind::Modify(ModifyKind::Name(RenameMode::To)), paths, .. }) => {
                paths.into_iter().for_each(|path| give(&sender, Hint::RenamedIn(path)));
            }
            Ok(notify::Event { kind: EventKind::Access(_), .. }) => {}
            Ok(_) | Err(_) => give(&sender, Hint::Look),
        });
        let mut watcher = made.inspect_err(|error| complain(&error.kind)).ok();
        if let Some(watcher) = &mut watcher {
            for folder in intake.folders() {
                if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                    complain(&error.kind);
                }
            }
        }
        Self { hints, waker, watcher }
    }

    /// Returns what ends the loop.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Says whether the operating system gives hints.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.watcher.is_some()
    }

    /// Takes in whatever is dropped until it is stopped.
    ///
    /// # Errors
    /// When the store takes nothing any more; what was claimed stays in `processing/`. Everything else is told, and
    /// the loop goes on.
    pub fn run(
        &self,
        intake: &mut Intake,
        clock: &dyn Clock,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), IntakeError> {
        loop {
            let step = match intake.step(progress) {
                Ok(step) => step,
                Err(error) if error.is_of_the_store() => return Err(error),
                Err(error) => {
                    tracing::warn!("an intake was interrupted: {error}");
                    Step::Worked
                }
            };
            let wait = match step {
                Step::Worked => Duration::ZERO,
                Step::IdleUntil(at) => micros_between(clock.now().0, at.0),
                Step::Idle => micros_between(0, super::SCAN_EVERY_US),
            };
            match self.hints.recv_timeout(wait) {
                Ok(Hint::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(Hint::RenamedIn(path)) => intake.renamed_in(&path),
                Ok(Hint::Look) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

fn micros_between(from: i64, to: i64) -> Duration {
    Duration::from_micros(u64::try_from(to.saturating_sub(from)).unwrap_or(0))
}

/// The kind alone: the error itself names folders.
fn complain(kind: &notify::ErrorKind) {
    let reason = match kind {
        notify::ErrorKind::MaxFilesWatch => "the limit of watches is reached (fs.inotify.max_user_watches)",
        notify::ErrorKind::PathNotFound => "the folder is not there",
        _ => "the system refused",
    };
    tracing::warn!("a drop folder cannot be watched, so it is looked at every half minute: {reason}");
}

//! Copies of what was erased: the bundle of an erasure is destroyed once its data subject has the answer. Until then it is
//! the way back from a mistake; after that it would be the one place where the person is still found.

use retention_core::event::Event;
use retention_core::event::erasure::{BundleDestroyed, BundleDestructionStarted};
use retention_core::time::Timestamp;
use retention_core::view::{Condition, EndedBundle};

use super::super::{StageError, Step};
use super::Run;
use crate::connector::archive::Probe;
use crate::connector::outcome::Outcome;
use crate::store::AppendError;

/// How long a bundle that cannot be removed is given before the next attempt: a minute, in microseconds.
const RETRY_US: i64 = 60 * 1_000_000;

impl Run {
    /// Destroys one bundle, if one has no purpose any more: its intent first, then the files, then that they are gone.
    pub(super) fn destroy_copies(&mut self, now: Timestamp) -> Result<Step, StageError> {
        if self.retry_copies_at.is_some_and(|at| now < at) {
            return Ok(self.retry_copies_at.map_or(Step::Idle, Step::IdleUntil));
        }
        let Some(wanted) = self.store.view(|views| views.bundles_to_destroy().first().copied()) else {
            return Ok(Step::Idle);
        };
        let EndedBundle { request, saga, manifest, is_begun } = wanted;
        if !is_begun {
            let intent = Event::BundleDestructionStarted(BundleDestructionStarted { request, saga, manifest });
            match self.append(request.0, vec![intent], Condition::MayDestroyBundle(saga)) {
                Ok(_) => {}
                Err(StageError::Append(AppendError::Conflict(_))) => return Ok(Step::Idle),
                Err(error) => return Err(error),
            }
        }
        self.destroy_bundle(wanted, now)
    }

    fn destroy_bundle(&mut self, wanted: EndedBundle, now: Timestamp) -> Result<Step, StageError> {
        let EndedBundle { request, saga, manifest, .. } = wanted;
        let removed = match self.archive.probe(self.export_key(saga)) {
            Ok(Probe::Finished(bundle)) if bundle.manifest == manifest => match self.archive.remove(&bundle.name) {
                Outcome::Applied(()) => Outcome::Applied(true),
                Outcome::Refused(refusal) => Outcome::Refused(refusal),
                Outcome::Unknown(cause) => Outcome::Unknown(cause),
            },
            // Not there, or no longer what the log says it is: what people made of it is theirs to look at.
            Ok(Probe::Finished(_) | Probe::Partial | Probe::Absent) => Outcome::Applied(false),
            Err(error) => Outcome::Refused(error.refusal()),
        };
        match removed {
            Outcome::Applied(was_there) => {
                let body = BundleDestroyed { request, saga, manifest, was_there };
                self.append(request.0, vec![Event::BundleDestroyed(body)], Condition::None)?;
                self.retry_copies_at = None;
                Ok(Step::Worked)
            }
            Outcome::Refused(_) | Outcome::Unknown(_) => {
                tracing::error!(%request, %saga, "a bundle of what was erased could not be removed; it is tried again");
                let at = Timestamp(now.0.saturating_add(RETRY_US));
                self.retry_copies_at = Some(at);
                Ok(Step::IdleUntil(at))
            }
        }
    }
}

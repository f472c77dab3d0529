//! Before the pivot: is the bundle still what was verified?

use std::time::Duration;

use retention_core::event::saga::{Receipt, Step as ScriptStep};
use retention_core::id::{Digest, SagaId};
use retention_core::time::Timestamp;
use retention_core::view::Saga;

use super::super::{StageError, Step};
use super::Run;
use crate::connector::archive::{Probe, VerifyError};
use crate::connector::outcome::{Outcome, Refusal, Retry};

/// So long what was read counts. A run without quarantine goes on at once and reads its bundle once.
const READ_COUNTS_FOR: Duration = Duration::from_secs(60 * 60);

/// When a bundle that cannot be read is tried again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);

/// When a bundle was last read again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reread {
    at: Timestamp,
    /// Whether it was as it was verified; else it could not be read.
    is_whole: bool,
}

/// What a bundle is found to be.
enum Copy {
    AsVerified,
    /// It may be whole.
    Unreadable(&'static str),
    /// It is gone, or something else.
    Lost(&'static str),
}

impl Run {
    /// Reads a bundle again that waited, through a quarantine or a pause, before what it is a copy of is purged: somebody
    /// may have changed or removed it meanwhile. Returns what is done instead of the pivot.
    ///
    /// A copy that is lost ends the saga as a verification that fails for good does: everything is undone, nothing is
    /// purged, and a person is told. One that cannot be read is waited for.
    pub(super) fn has_lost_its_copy(&self, id: SagaId, saga: &Saga) -> Result<Option<Step>, StageError> {
        let Some(Receipt::Exported { manifest, exported_at, .. }) = saga.receipt(ScriptStep::Export) else {
            return Ok(None);
        };
        let now = self.clock.now();
        let written = Reread { at: *exported_at, is_whole: true };
        let last = self.reread.lock().get(&id).copied().unwrap_or(written);
        let next = later(last.at, if last.is_whole { READ_COUNTS_FOR } else { ASK_AGAIN_AFTER });
        // Whatever the log tells wakes this stage: a disk that fails is not asked each time.
        if (last.at..next).contains(&now) {
            return Ok((!last.is_whole).then_some(Step::IdleUntil(next)));
        }
        match self.read_again(id, *manifest)? {
            Copy::AsVerified => {
                self.reread.lock().insert(id, Reread { at: now, is_whole: true });
                Ok(None)
            }
            Copy::Unreadable(code) => {
                // Reading it may have taken long.
                let failed_at = self.clock.now();
                self.reread.lock().insert(id, Reread { at: failed_at, is_whole: false });
                tracing::error!(saga = %id, code, "an export cannot be read again before what it is a copy of is purged; nothing is purged, and it is tried again");
                Ok(Some(Step::IdleUntil(later(failed_at, ASK_AGAIN_AFTER))))
            }
            Copy::Lost(code) => {
                tracing::error!(saga = %id, code, "an export was changed or removed after it was verified; nothing is purged because of it");
                let refusal = Refusal { code, retry: Retry::Never };
                self.record(id, ScriptStep::VerifyExport, 1, Outcome::Refused(refusal))?;
                Ok(Some(Step::Worked))
            }
        }
    }

    /// Compares with what is recorded of the bundle alone: items that a hold came upon meanwhile are in it too.
    fn read_again(&self, id: SagaId, manifest: Digest) -> Result<Copy, StageError> {
        self.written.lock().remove(&id);
        let name = match self.archive.probe(self.export_key(id)) {
            Ok(Probe::Finished(bundle)) => bundle.name,
            Ok(Probe::Partial | Probe::Absent) => return Ok(Copy::Lost("bundle_missing")),
            Err(error) => return Ok(Copy::Unreadable(error.refusal().code)),
        };
        Ok(match self.archive.verify_recorded(&name, manifest) {
            Ok(_) => Copy::AsVerified,
            Err(error) => {
                // A bundle that was not read to its end is no bundle that is wrong.
                self.store.halt().check()?;
                match error {
                    VerifyError::Unreadable(_) => Copy::Unreadable(error.code()),
                    error => Copy::Lost(error.code()),
                }
            }
        })
    }
}

fn later(at: Timestamp, wait: Duration) -> Timestamp {
    Timestamp(at.0.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)))
}

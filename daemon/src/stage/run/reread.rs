//! Before the pivot: is the bundle still what was verified?

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use retention_core::event::saga::{Receipt, Step as ScriptStep};
use retention_core::id::{Digest, SagaId};
use retention_core::time::Timestamp;
use retention_core::view::Saga;

use super::super::{StageError, Step};
use super::Run;
use crate::connector::archive::{BundleName, Probe, VerifyError};
use crate::connector::outcome::{Outcome, Refusal, Retry};

/// So long what was read counts. A run without quarantine goes on at once and reads its bundle once.
const READ_COUNTS_FOR: Duration = Duration::from_secs(60 * 60);

/// When a bundle that cannot be read is tried again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);

/// What was found of the bundles that were read again, by their sagas.
pub type BundlesReread = Arc<Mutex<HashMap<SagaId, Reread>>>;

/// When a bundle was last read again.
#[derive(Debug, Clone, Copy)]
pub struct Reread {
    at: Timestamp,
    /// The code of why it could not be read; `None` when it was as it was verified.
    pub missed: Option<&'static str>,
}

/// What a bundle is found to be.
enum Copy {
    AsVerified,
    /// It may be whole, here or elsewhere.
    Missed(&'static str),
    /// It is something else.
    Changed(&'static str),
}

impl Run {
    /// Tells there what was found of bundles that were read again.
    #[must_use]
    pub fn telling(self, reread: BundlesReread) -> Self {
        Self { reread, ..self }
    }

    /// Reads a bundle again that waited, through a quarantine or a pause, before what it is a copy of is purged: somebody
    /// may have changed or removed it meanwhile. Returns what is done instead of the pivot.
    ///
    /// A copy that was changed ends the saga as a verification that fails for good does: everything is undone, nothing is
    /// purged, and a person is told. One that is not there or cannot be read is waited for: its file system may not be
    /// mounted, and a saga that were undone now would leave it behind, known to nobody.
    pub(super) fn misses_its_copy(&self, id: SagaId, saga: &Saga) -> Result<Option<Step>, StageError> {
        let Some(Receipt::Exported { manifest, exported_at, .. }) = saga.receipt(ScriptStep::Export) else {
            return Ok(None);
        };
        let now = self.clock.now();
        let written = Reread { at: *exported_at, missed: None };
        let last = self.reread.lock().get(&id).copied().unwrap_or(written);
        let next = last.at.after(if last.missed.is_none() { READ_COUNTS_FOR } else { ASK_AGAIN_AFTER });
        // Whatever the log tells wakes this stage: a disk that fails is not asked each time.
        if (last.at..next).contains(&now) {
            return Ok(last.missed.map(|_| Step::IdleUntil(next)));
        }
        let found = self.read_again(id, *manifest)?;
        // Reading it may have taken long.
        let at = self.clock.now();
        match found {
            Copy::AsVerified => {
                self.reread.lock().insert(id, Reread { at, missed: None });
                Ok(None)
            }
            Copy::Missed(code) => {
                self.reread.lock().insert(id, Reread { at, missed: Some(code) });
                tracing::error!(saga = %id, code, "an export cannot be read again before what it is a copy of is purged; nothing is purged, and it is tried again");
                Ok(Some(Step::IdleUntil(at.after(ASK_AGAIN_AFTER))))
            }
            Copy::Changed(code) => {
                self.reread.lock().remove(&id);
                tracing::error!(saga = %id, code, "an export was changed after it was verified; nothing is purged because of it");
                let refusal = Refusal { code, retry: Retry::Never };
                self.record(id, ScriptStep::VerifyExport, 1, Outcome::Refused(refusal))?;
                Ok(Some(Step::Worked))
            }
        }
    }

    /// Compares with what is recorded of the bundle alone: items that a hold came upon meanwhile are in it too.
    fn read_again(&self, id: SagaId, manifest: Digest) -> Result<Copy, StageError> {
        let known = self.written.lock().remove(&id).map(|written| written.name);
        if let Some(name) = known
            && let found @ (Copy::AsVerified | Copy::Changed(_)) = self.read_named(&name, manifest)?
        {
            return Ok(found);
        }
        match self.archive.probe(self.export_key(id)) {
            Ok(Probe::Finished(bundle)) => self.read_named(&bundle.name, manifest),
            Ok(Probe::Partial | Probe::Absent) => Ok(Copy::Missed("bundle_missing")),
            Err(error) => Ok(Copy::Missed(error.refusal().code)),
        }
    }

    fn read_named(&self, name: &BundleName, manifest: Digest) -> Result<Copy, StageError> {
        let Err(error) = self.archive.verify_recorded(name, manifest) else { return Ok(Copy::AsVerified) };
        // A bundle that was not read to its end is no bundle that is wrong.
        self.store.halt().check()?;
        Ok(match error {
            // What somebody has put beside the copies is theirs to take away.
            VerifyError::Unreadable(_) | VerifyError::FileExtra => Copy::Missed(error.code()),
            error => Copy::Changed(error.code()),
        })
    }
}

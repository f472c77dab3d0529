//! The result of a verification, as rows for people and programs.

use std::path::Path;

use retention_core::control::{PartRow, PartState};

use super::{backups, signing_key};
use crate::config;
use crate::halt::Halt;
use crate::store::VerifyReport;
use crate::store::backup::{BackupError, lost_checkpoints};
use crate::store::verify::Finding;

/// Looks at what lies beside the log and does not follow from it: the key that signs, and what the newest backup has of
/// what was signed.
///
/// # Errors
/// When the backup or the checkpoints cannot be read: then nothing is said of them, and the rest of the report holds.
pub(super) fn look_beside(
    report: &mut VerifyReport,
    state_dir: &Path,
    backup: Option<&config::Backup>,
    halt: &Halt,
) -> Result<(), BackupError> {
    if let Some(finding) = signing_key::finding(state_dir, report.has_signing_key) {
        report.found(finding);
    }
    if let Some(adopted) = report.unsigned_since {
        report.found(Finding::CheckpointsGone(adopted));
    }
    let Some(backup) = backup else { return Ok(()) };
    if let Some(last) = lost_checkpoints(state_dir, &backups::places(backup), &report.backups, halt)? {
        report.found(Finding::CheckpointsLost(last));
    }
    Ok(())
}

/// Returns one row for each part that was looked at, and one for each thing that is wrong.
#[must_use]
pub(super) fn parts(report: &VerifyReport) -> Vec<PartRow> {
    let intact = |part: &str, checked: u64| PartRow {
        part: part.to_owned(),
        state: PartState::Intact,
        checked,
        code: None,
        message: None,
    };
    if report.is_good() {
        let mut rows = vec![intact("journal", report.events), intact("bodies", report.bodies_read)];
        if report.views_compared {
            rows.push(intact("views", report.events));
        }
        if report.due_compared {
            rows.push(intact("due index", report.events));
        }
        rows.extend(report.checkpoints.map(|checked| intact("tree", checked)));
        rows.extend(report.cosignatures.map(|checked| intact("cosignatures", checked)));
        return rows;
    }
    report
        .findings
        .iter()
        .map(|finding| PartRow {
            part: finding.part().to_owned(),
            state: PartState::Damaged,
            checked: report.events,
            code: Some(finding.code().to_owned()),
            message: Some(format!("{finding}; {}", report.what_to_do(finding))),
        })
        .collect()
}

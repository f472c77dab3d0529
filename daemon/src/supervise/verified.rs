//! The result of a verification, as rows for people and programs.

use retention_core::control::{PartRow, PartState};

use crate::store::verify::VerifyReport;

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
            message: Some(format!("{finding}; {}", finding.what_to_do())),
        })
        .collect()
}

//! A scheduled run with nothing due: from the time of the schedule to the frozen, empty plan.

use super::{filled, scratch, text};
use crate::figure::{Line, Target, head, percentile};
use crate::part::{self, Calls};
use crate::{Outcome, Setting};

const MS_MAX: f64 = 50.0;

/// Measures it.
pub(crate) fn run(setting: &Setting) -> Outcome<()> {
    let dir = scratch(setting)?;
    let (place, _) = filled(dir.path(), "ours", setting.rows)?;
    let calls: Calls = part::ask(&["nothing-due", &text(&place)])?;
    let (middle, slowest) = (percentile(&calls.ms, 50), percentile(&calls.ms, 100));
    head();
    Line {
        work: &format!("scheduled run, nothing due among {}, ms", setting.rows),
        ours: format!("{middle:.2} (slowest of {}: {slowest:.2})", calls.ms.len()),
        peer: String::new(),
        value: middle,
        target: Some(Target::AtMost(MS_MAX)),
    }
    .print();
    Ok(())
}

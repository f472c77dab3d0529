//! The events of one entity, bodies opened.

use super::{filled, scratch, text};
use crate::figure::{Line, Target, head, percentile};
use crate::part::{self, Calls};
use crate::{Outcome, Setting};

const MS_MAX: f64 = 10.0;

/// Measures it.
pub(crate) fn run(setting: &Setting) -> Outcome<()> {
    let dir = scratch(setting)?;
    let (place, _) = filled(dir.path(), "ours", setting.rows)?;
    let calls: Calls = part::ask(&["history", &text(&place)])?;
    let (middle, high) = (percentile(&calls.ms, 50), percentile(&calls.ms, 99));
    head();
    Line {
        work: &format!("history of one entity among {}, ms", setting.rows),
        ours: format!("p50 {middle:.3}, p99 {high:.3}"),
        peer: String::new(),
        value: high,
        target: Some(Target::AtMost(MS_MAX)),
    }
    .print();
    Ok(())
}

//! What a changed set of policies would dispose of, on all data.

use super::{filled, scratch, text};
use crate::figure::{Line, head, percentile};
use crate::part::{self, Calls};
use crate::{Outcome, Setting};

/// Measures it.
pub(crate) fn run(setting: &Setting) -> Outcome<()> {
    let dir = scratch(setting)?;
    let (place, _) = filled(dir.path(), "ours", setting.rows)?;
    let calls: Calls = part::ask(&["policy-diff", &text(&place)])?;
    let middle = percentile(&calls.ms, 50);
    head();
    Line {
        work: &format!("policy diff on {}, ms", setting.rows),
        ours: format!("{middle:.0} (slowest of {}: {:.0})", calls.ms.len(), percentile(&calls.ms, 100)),
        peer: String::new(),
        value: middle,
        target: None,
    }
    .print();
    Ok(())
}

//! What people ask of all data: what a changed set of policies would dispose of, why one entity is kept, and who a
//! person is.

use super::{filled, scratch, text};
use crate::figure::{Line, Target, head, percentile};
use crate::part::{self, Calls};
use crate::{Outcome, Setting};

/// Measures it.
pub(crate) fn run(setting: &Setting) -> Outcome<()> {
    let dir = scratch(setting)?;
    let (place, _) = filled(dir.path(), "ours", setting.rows)?;
    head();
    let questions = [
        ("policy-diff", "policy diff", 50, Some(Target::AtMost(5_000.0))),
        ("explain", "explain one entity", 99, Some(Target::AtMost(10.0))),
        ("find-person", "find a person", 50, None),
    ];
    for (part, work, percent, target) in questions {
        let calls: Calls = part::ask(&[part, &text(&place)])?;
        let value = percentile(&calls.ms, percent);
        Line {
            work: &format!("{work} among {}, p{percent} in ms", setting.rows),
            ours: format!("{value:.1} (slowest of {}: {:.1})", calls.ms.len(), percentile(&calls.ms, 100)),
            peer: String::new(),
            value,
            target,
        }
        .print();
    }
    Ok(())
}

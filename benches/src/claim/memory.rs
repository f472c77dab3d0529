//! Resident memory: of the process that took everything in, and of one that has opened it.

use super::{filled, scratch, text};
use crate::figure::{Line, Target, head};
use crate::part::{self, Opened};
use crate::{Outcome, Setting};

const MIB_MAX: f64 = 1_024.0;

/// Measures it.
pub(crate) fn run(setting: &Setting) -> Outcome<()> {
    let dir = scratch(setting)?;
    let (place, filled) = filled(dir.path(), "ours", setting.rows)?;
    let opened: Opened = part::ask(&["open", &text(&place)])?;
    head();
    for (when, memory) in [("after the intake", filled.memory), ("after opening", opened.memory)] {
        Line {
            work: &format!("resident memory at {} entities {when}, MiB", setting.rows),
            ours: format!("{:.0} (peak {:.0})", memory.resident_mib, memory.peak_mib),
            peer: String::new(),
            value: memory.peak_mib,
            target: Some(Target::AtMost(MIB_MAX)),
        }
        .print();
    }
    Ok(())
}

//! Opening after SIGKILL: a process takes everything in, is killed without a word, and another opens the store.

use super::{scratch, text};
use crate::figure::{Line, Target, head, median, spread};
use crate::part::{self, Filled, Opened};
use crate::{Outcome, Setting, data, ours};

const SECONDS_MAX: f64 = 5.0;

/// Measures it.
pub(crate) fn run(setting: &Setting) -> Outcome<()> {
    let dir = scratch(setting)?;
    let (place, csv) = (dir.path().join("ours"), dir.path().join("contacts.csv"));
    data::write_csv(&csv, setting.rows)?;
    let (mut child, filled): (_, Filled) = part::start(&["fill-and-wait", &text(&place), &text(&csv)])?;
    child.kill()?;
    child.wait()?;
    let (mut seconds, mut folded) = (Vec::new(), 0);
    for round in 0..setting.rounds {
        let copy = dir.path().join(format!("copy-{round}"));
        ours::copy(&place, &copy)?;
        let opened: Opened = part::ask(&["open", &text(&copy)])?;
        std::fs::remove_dir_all(&copy)?;
        if opened.events < filled.events {
            return Err(format!("{} events are lost", filled.events - opened.events).into());
        }
        seconds.push(opened.seconds);
        folded = opened.folded;
    }
    head();
    Line {
        work: &format!("open after SIGKILL with {} events ({folded} folded anew), s", filled.events),
        ours: spread(&seconds, 2),
        peer: String::new(),
        value: median(&seconds),
        target: Some(Target::AtMost(SECONDS_MAX)),
    }
    .print();
    Ok(())
}

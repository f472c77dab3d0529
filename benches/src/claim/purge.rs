//! Export, verification, purge and erasure of a tenth, beside COPY TO and DELETE, which verify and erase nothing.

use std::collections::BTreeMap;

use super::{filled, scratch, text};
use crate::figure::{Line, Target, head, median, say, spread};
use crate::part::{self, Purged};
use crate::peer::postgres::Postgres;
use crate::{Outcome, Setting, ours};

const FASTER_THAN_PEER: f64 = 3.0;

/// Measures it.
pub(crate) fn run(setting: &Setting) -> Outcome<()> {
    let dir = scratch(setting)?;
    let (place, _) = filled(dir.path(), "ours", setting.rows)?;
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    let mut parts: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut items = 0;
    for round in 0..setting.rounds {
        let copy = dir.path().join(format!("copy-{round}"));
        ours::copy(&place, &copy)?;
        let purged: Purged = part::ask(&["purge", &text(&copy)])?;
        std::fs::remove_dir_all(&copy)?;
        items = purged.items;
        mine.push(purged.items as f64 / (purged.plan + purged.run));
        for (part, seconds) in [("plan", purged.plan), ("run", purged.run), ("processor time, all threads", purged.cpu)]
        {
            parts.entry(part).or_default().push(seconds);
        }
        if !setting.alone {
            let at = dir.path().join(format!("postgres-{round}"));
            let postgres = Postgres::start(&at)?;
            postgres.intake(setting.rows)?;
            theirs.push(items as f64 / postgres.purge()?);
            drop(postgres);
            std::fs::remove_dir_all(&at)?;
        }
    }
    head();
    Line {
        work: &format!("plan, export, verify, purge and erase {items} of {}, items/s, beside PostgreSQL", setting.rows),
        ours: spread(&mine, 0),
        peer: spread(&theirs, 0),
        value: median(&mine) / median(&theirs),
        target: Some(Target::AtLeast(FASTER_THAN_PEER)),
    }
    .print();
    say("");
    say("| part of the purge | seconds | µs per item |");
    say("|---|---|---|");
    for (part, seconds) in &parts {
        say(&format!("| {part} | {} | {:.2} |", spread(seconds, 3), median(seconds) * 1e6 / items as f64));
    }
    Ok(())
}

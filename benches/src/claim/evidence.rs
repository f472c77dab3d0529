//! The tree over the log: how fast it grows, is proven and is checked, beside an audit table whose rows are a chain of
//! hashes. Such a chain proves nothing about one row without all the others.

use super::{filled, scratch, text};
use crate::figure::{Line, Target, head, percentile};
use crate::part::{self, Proven};
use crate::peer::postgres::Postgres;
use crate::{Outcome, Setting};

const PROOF_MS_MAX: f64 = 5.0;
const CHECKED_MIN: f64 = 500_000.0;

/// Measures it.
pub(crate) fn run(setting: &Setting) -> Outcome<()> {
    let dir = scratch(setting)?;
    let (place, filled) = filled(dir.path(), "ours", setting.rows)?;
    let proven: Proven = part::ask(&["evidence", &text(&place)])?;
    let chained = match setting.alone {
        true => None,
        false => {
            let postgres = Postgres::start_with_hash_chain(&dir.path().join("postgres"))?;
            let taken_in = setting.rows as f64 / postgres.intake(setting.rows)?;
            Some((taken_in, setting.rows as f64 / postgres.check_chain()?))
        }
    };
    head();
    let line = |work: &str, ours: String, value: f64, target: Option<Target>| {
        let work = format!("{work}, {} events", proven.events);
        Line { work: &work, ours, peer: String::new(), value, target }.print();
    };
    let grown = proven.events as f64 / proven.grown_seconds;
    line("tree grown beside the log, events/s", format!("{grown:.0}"), grown, None);
    // It runs on a thread of its own; on two cores that are both at work it costs at most this share of the intake.
    let share = proven.grown_cpu_seconds / filled.cpu * 100.0;
    let cpu = format!("{:.2} s of {:.2} s", proven.grown_cpu_seconds, filled.cpu);
    line("processor time of the tree beside that of the intake, %", cpu, share, Some(Target::AtMost(15.0)));
    for (what, ms) in [("proof of an event, ms", &proven.event_ms), ("proof of growth, ms", &proven.growth_ms)] {
        let high = percentile(ms, 99);
        let ours = format!("p50 {:.3}, p99 {high:.3}", percentile(ms, 50));
        line(what, ours, high, Some(Target::AtMost(PROOF_MS_MAX)));
    }
    let checked = proven.events as f64 / proven.checked_seconds;
    line(
        "events checked against the root, one core, events/s",
        format!("{checked:.0}"),
        checked,
        Some(Target::AtLeast(CHECKED_MIN)),
    );
    let Some((taken_in, chain_checked)) = chained else { return Ok(()) };
    // One after the other, though the daemon does both at once.
    let with_tree = setting.rows as f64 / (filled.seconds + proven.grown_seconds);
    for (work, ours, theirs) in [
        ("intake, then the tree, rows/s, beside PostgreSQL with a chain of hashes", with_tree, taken_in),
        ("events checked, one core, events/s, beside that chain", checked, chain_checked),
    ] {
        let (mine, peer) = (format!("{ours:.0}"), format!("{theirs:.0}"));
        Line { work, ours: mine, peer, value: ours / theirs, target: None }.print();
    }
    Ok(())
}

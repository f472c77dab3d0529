//! A selection by a filter of three leaves, beside the same selection in SQL.

use super::{filled, scratch, text};
use crate::figure::{Line, Target, head, median, spread};
use crate::part::{self, Selected};
use crate::peer::sqlite;
use crate::{Outcome, Setting};

/// Measures it.
pub(crate) fn run(setting: &Setting) -> Outcome<()> {
    let dir = scratch(setting)?;
    let (place, _) = filled(dir.path(), "ours", setting.rows)?;
    head();
    let (mut alone, mut whole, mut whole_cpu, mut peer) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..setting.rounds {
        let ours: Selected = part::ask(&["filter", &text(&place)])?;
        let entities = ours.entities as f64;
        alone.push(entities / ours.filter_seconds);
        whole.push(entities / ours.whole_seconds);
        whole_cpu.push(entities / ours.whole_cpu);
        if setting.alone {
            continue;
        }
        let dir = dir.path().join(format!("sqlite-{round}"));
        std::fs::create_dir(&dir)?;
        let (seconds, selected) = sqlite::select(&dir, setting.rows)?;
        if selected != ours.selected {
            return Err(format!("SQLite selects {selected}, the policy {}", ours.selected).into());
        }
        peer.push(setting.rows as f64 / seconds);
    }
    let peer_text = if peer.is_empty() { String::new() } else { format!("SQLite {}", spread(&peer, 0)) };
    let rows = setting.rows;
    let lines = [
        ("the filter alone, one core, entities/s", &alone, Some(Target::AtLeast(1_000_000.0))),
        ("read, open and judge, all cores, entities/s", &whole, None),
        ("the same per second of processor time", &whole_cpu, None),
    ];
    for (work, figures, target) in lines {
        let value = median(figures);
        let ratio = if peer.is_empty() { String::new() } else { format!(", {:.2} times", value / median(&peer)) };
        Line {
            work: &format!("three leaves among {rows}: {work}"),
            ours: format!("{}{ratio}", spread(figures, 0)),
            peer: peer_text.clone(),
            value,
            target,
        }
        .print();
    }
    Ok(())
}

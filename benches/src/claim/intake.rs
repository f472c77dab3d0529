//! Intake of one CSV file by the real stage: claimed, hashed, parsed, compared, sealed, journalled, folded into all
//! views, judged by two policies.

use super::{disk, filled, scratch, text};
use crate::data::PAYLOAD_BYTES;
use crate::figure::{Line, Target, head, median, spread};
use crate::part::{self, Opened};
use crate::peer::postgres::Postgres;
use crate::peer::sqlite;
use crate::{Outcome, Setting};

const FASTER_THAN_PEERS: f64 = 10.0;

const DISK_PER_PAYLOAD: f64 = 3.0;

/// Measures it.
pub(crate) fn run(setting: &Setting) -> Outcome<()> {
    let rows = setting.rows as f64;
    let (mut ours, mut postgres, mut lite, mut peak) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut cpu, mut sizes) = (Vec::new(), None);
    for round in 0..setting.rounds {
        let dir = scratch(setting)?;
        let (place, filled) = filled(dir.path(), "ours", setting.rows)?;
        ours.push(rows / filled.seconds);
        peak.push(filled.memory.peak_mib);
        cpu.push(filled.cpu * 1e6 / rows);
        if round == 0 {
            let closed = disk(&place, filled.events)?;
            let rebuilt: Opened = part::ask(&["rebuild", &text(&place)])?;
            sizes = Some((closed, disk(&place, rebuilt.events)?, rebuilt.seconds));
        }
        if !setting.alone {
            std::fs::remove_dir_all(&place)?;
            postgres.push(rows / Postgres::start(&dir.path().join("postgres"))?.intake(setting.rows)?);
            lite.push(rows / sqlite::intake(dir.path(), setting.rows)?);
        }
    }
    head();
    for (peer, figures) in [("PostgreSQL", &postgres), ("SQLite", &lite)] {
        Line {
            work: &format!("intake of {} contacts, rows/s, beside {peer}", setting.rows),
            ours: spread(&ours, 0),
            peer: spread(figures, 0),
            value: median(&ours) / median(figures),
            target: Some(Target::AtLeast(FASTER_THAN_PEERS)),
        }
        .print();
    }
    Line {
        work: "intake, peak resident memory, MiB",
        ours: spread(&peak, 0),
        peer: String::new(),
        value: median(&peak),
        target: None,
    }
    .print();
    Line {
        work: "intake, processor time per row, all threads, µs",
        ours: spread(&cpu, 2),
        peer: String::new(),
        value: median(&cpu),
        target: None,
    }
    .print();
    let Some(((closed, closed_parts), (rebuilt, rebuilt_parts), seconds)) = sizes else { return Ok(()) };
    let rebuild = format!("after a rebuild that took {seconds:.1} s");
    for (when, bytes, parts) in [("after close", closed, closed_parts), (rebuild.as_str(), rebuilt, rebuilt_parts)] {
        Line {
            work: &format!("disk per event {when}, bytes, beside the payload"),
            ours: format!("{bytes:.0} ({parts})"),
            peer: PAYLOAD_BYTES.to_string(),
            value: bytes / PAYLOAD_BYTES as f64,
            target: Some(Target::AtMost(DISK_PER_PAYLOAD)),
        }
        .print();
    }
    Ok(())
}

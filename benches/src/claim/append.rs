//! One durable append, alone: encoded, sealed, written, flushed, folded, beside one fdatasync of a growing file.

use retention_core::event::change::EntityChanged;
use retention_core::event::{Actor, Draft, Event};
use retention_core::id::{EntityId, Position};
use retention_core::record::EntityRecord;
use retention_core::view::Condition;

use super::scratch;
use crate::data;
use crate::figure::{Line, Stopwatch, Target, head, percentile};
use crate::ours::{Ours, Place, TAKEN_IN_AT};
use crate::peer::file::GrowingFile;
use crate::{Outcome, Setting};

const WITHIN_FDATASYNCS: f64 = 2.0;

/// Appends of each side, in turns of [`TURN`], so that both meet the same moments of the disk.
const APPENDS: usize = 2_000;

const TURN: usize = 50;

/// What the peer writes each time: about the frame of an event with 300 bytes.
const FRAME_BYTES: usize = 500;

/// Measures it.
pub(crate) fn run(setting: &Setting) -> Outcome<()> {
    let dir = scratch(setting)?;
    let place = Place(dir.path().join("ours"));
    place.make()?;
    let csv = dir.path().join("contacts.csv");
    data::write_csv(&csv, data::DUE_ONE_OF)?;
    let ours = Ours::open(&place, TAKEN_IN_AT)?;
    ours.take_in(&csv)?;
    let entity = EntityId(ours.store.view(|views| views.entities.bound()) - 1);
    let record = ours.store.record(entity)?.ok_or("the contact is not there")?;
    let mut peer = GrowingFile::create(&dir.path().join("peer"), FRAME_BYTES)?;
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..APPENDS / TURN {
        for _ in 0..TURN {
            let watch = Stopwatch::start();
            append(&ours, entity, &record)?;
            mine.push(watch.seconds() * 1_000.0);
        }
        for _ in 0..TURN {
            theirs.push(peer.append()?);
        }
    }
    ours.close()?;
    head();
    for percent in [50, 99] {
        let (ours, peer) = (percentile(&mine, percent), percentile(&theirs, percent));
        Line {
            work: &format!("one durable append, p{percent}, ms, beside one fdatasync"),
            ours: format!("{ours:.3}"),
            peer: format!("{peer:.3}"),
            value: ours / peer,
            target: Some(Target::AtMost(WITHIN_FDATASYNCS)),
        }
        .print();
    }
    Ok(())
}

fn append(ours: &Ours, entity: EntityId, record: &EntityRecord) -> Outcome<()> {
    let draft = Draft {
        stream: ours.store.stream_of(entity),
        entity: Some(entity),
        actor: Actor::Daemon,
        cause: Position::NONE,
        occurred_at: None,
        event: Event::EntityChanged(EntityChanged { record: record.clone() }),
    };
    ours.store.append(vec![ours.store.prepare(draft, None)?], Condition::None)?;
    Ok(())
}

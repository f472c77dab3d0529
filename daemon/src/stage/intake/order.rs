//! In which order deliveries of one source count: an older export never overwrites a newer one in silence, and content
//! that was taken in before counts again once something else came in between.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use retention_core::event::Event;
use retention_core::event::change::IntakeCompleted;
use retention_core::id::{EntityId, Position};
use retention_core::time::Timestamp;

use super::IntakeError;
use crate::connector::drop::ocm::DirectoryName;
use crate::store::Store;

/// How far clocks on the wall are ahead of UTC at most, in microseconds: fourteen hours, on the Line Islands.
const EASTERNMOST_US: i64 = 14 * 60 * 60 * 1_000_000;

/// How far the time in a name may be ahead of now, in microseconds: a day, fourteen hours for the zone and the rest for a
/// clock that is wrong.
const AHEAD_MAX_US: i64 = 24 * 60 * 60 * 1_000_000;

/// Returns what a clock on the wall that is so far ahead of UTC shows.
fn wall(at: Timestamp, ahead_us: i64) -> DateTime {
    TimeZone::UTC.to_datetime(Timestamp(at.0.saturating_add(ahead_us)).to_jiff())
}

/// Says whether the time in the name of an export cannot have come yet: every export that follows would look older.
pub(super) fn is_of_the_future(name: &DirectoryName, now: Timestamp) -> bool {
    name.exported_at_local > wall(now, AHEAD_MAX_US)
}

/// What was taken of the exports of one source, by the mailbox in their names. Made from the log, never written: names
/// are personal data.
#[derive(Default)]
pub(super) struct Exports {
    by_mailbox: BTreeMap<String, Export>,
}

/// The exports of one mailbox.
struct Export {
    /// The newest.
    newest: Newest,
    /// The intake that changed something last.
    last: EntityId,
}

/// The newest export of a mailbox.
#[derive(Clone, Copy)]
struct Newest {
    /// When it was made at the latest: no export is newer than its intake, whatever its name says.
    at: DateTime,
    /// What its name says.
    said: DateTime,
    intake: EntityId,
}

impl Exports {
    /// Reads what the log says of a source.
    pub(super) fn of_log(store: &Store, source: &str) -> Result<Self, IntakeError> {
        let taken: Vec<(EntityId, Position)> = store.view(|views| {
            let of_source = views.small.intakes.iter().filter(|(_, known)| known.source == source);
            let changed = of_source.filter(|(_, known)| known.completed.as_ref().is_some_and(|(_, b)| has_changed(b)));
            changed.map(|(intake, _)| (intake, views.entities.last_event(intake))).collect()
        });
        let mut exports = Self::default();
        for (intake, mut position) in taken {
            // From its end back to its start, which alone has the name.
            while let Some(row) = store.row(position)? {
                if let Some(found) = store.read(position)?
                    && let Some(Event::IntakeStarted(body)) = found.event()
                    && let Some(name) = DirectoryName::parse(&body.name)
                {
                    exports.note(&name, intake, found.envelope.recorded_at);
                }
                position = row.previous;
            }
        }
        Ok(exports)
    }

    /// Takes note of an export that changed something, and of when it was taken in.
    pub(super) fn note(&mut self, name: &DirectoryName, intake: EntityId, taken_at: Timestamp) {
        let said = name.exported_at_local;
        let found = Newest { at: said.min(wall(taken_at, EASTERNMOST_US)), said, intake };
        let known = self.by_mailbox.entry(name.mailbox.clone()).or_insert(Export { newest: found, last: intake });
        if found.at >= known.newest.at {
            known.newest = found;
        }
        known.last = known.last.max(intake);
    }

    /// Returns the time in the name of an export that is newer than this one, and its intake.
    pub(super) fn newer_than(&self, name: &DirectoryName) -> Option<(DateTime, EntityId)> {
        let newest = self.by_mailbox.get(&name.mailbox)?.newest;
        (newest.at > name.exported_at_local).then_some((newest.said, newest.intake))
    }

    /// Says whether an intake was the last that changed something of the mailbox. The digest of an export does not count
    /// its name, so the same content may have been another mailbox's.
    fn is_last_of(&self, name: &DirectoryName, intake: EntityId) -> bool {
        self.by_mailbox.get(&name.mailbox).is_some_and(|known| known.last == intake)
    }
}

/// Says whether what an intake brought may no longer be how things are: a later one of its source changed something.
/// For an export, only one of the same mailbox can have, and what another mailbox brought says nothing.
pub(super) fn is_superseded(
    store: &Store,
    source: &str,
    export: Option<(&Exports, &DirectoryName)>,
    intake: EntityId,
) -> bool {
    match export {
        Some((exports, name)) => !exports.is_last_of(name, intake),
        None => store.view(|views| {
            let later = views.small.intakes.iter().rev().take_while(|(id, _)| *id > intake);
            let mut of_source = later.filter(|(_, known)| known.source == source);
            of_source.any(|(_, known)| known.completed.as_ref().is_none_or(|(_, body)| has_changed(body)))
        }),
    }
}

/// Says whether an intake left anything different from what it was.
pub(super) fn has_changed(body: &IntakeCompleted) -> bool {
    body.added > 0 || body.changed > 0 || body.absent > 0
}

//! Catch: judges with the filters of holds what each hold found and every change since, and records what they catch.
//!
//! Until then a hold is wide, so nothing depends on how far this is: see [`retention_core::view::holds`]. Every version
//! is judged once. What is known beside a record has no versions: a filter that may ask for it judges it as it is when
//! its turn comes, and again after each change. What was judged is in the log, so a crash repeats one step at most, and
//! ends in the same state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use retention_core::event::hold::{HoldJudgement, HoldsJudged, Judged};
use retention_core::event::{Event, EventType, Readable, Recorded};
use retention_core::id::{EntityId, Handle, HoldId, LayoutId, Position, RequestId};
use retention_core::policy::{Beside, BoundHoldFilter, HoldFilter, Truth};
use retention_core::record::{EntityRecord, Layout};
use retention_core::subject::{Certainty, Whose, each_mark};
use retention_core::view::index::Key;
use retention_core::view::{Condition, EntityState, ReadFilter, Row, Views};

use super::{StageError, Step};
use crate::store::open::daemon_draft;
use crate::store::{ReadError, Store};

/// How many entities or changes are judged in one step: it bounds what is in memory, and the size of its event.
const JUDGED_PER_STEP: usize = 2_000;

/// How many of them are read in one piece.
const READ_PER_PIECE: usize = 500;

/// The stage.
pub struct Catch {
    store: Arc<Store>,
    at_once: usize,
    /// The filters of the holds in force; `None` where nobody can read one.
    filters: BTreeMap<HoldId, Option<HoldFilter>>,
    /// Of each hold on requests of which one names records alone: by what the persons of the records are known that the
    /// hold names.
    borne: BTreeMap<HoldId, BTreeSet<Handle>>,
}

/// A version of an entity, and the holds that have to judge it.
struct Asked {
    entity: EntityId,
    version: Position,
    beside: Beside,
    holds: Vec<HoldId>,
}

/// A hold whose filter has to judge.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    id: HoldId,
    judged: Judged,
    looks_beside: bool,
    of_requests: bool,
}

/// A change that has to be judged.
struct Moved {
    entity: EntityId,
    at: Position,
    what: What,
}

/// What changed.
#[derive(PartialEq, Eq)]
enum What {
    Record,
    Beside,
}

/// What holds caught in one step.
type Catches = BTreeMap<HoldId, (BTreeSet<EntityId>, BTreeSet<EntityId>)>;

impl Catch {
    /// Works on a store.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        Self { store, at_once: JUDGED_PER_STEP, filters: BTreeMap::new(), borne: BTreeMap::new() }
    }

    /// Judges at most so many entities or changes in one step.
    #[must_use]
    pub fn judging_at_once(self, at_once: usize) -> Self {
        Self { at_once, ..self }
    }

    /// Judges a number of entities or changes, and records it.
    ///
    /// # Errors
    /// When records cannot be read, or the log does not take the event.
    pub fn step(&mut self) -> Result<Step, StageError> {
        let in_force: Vec<(HoldId, Judged)> = self.store.view(|views| {
            let in_force = views.small.holds.in_force(views.recorded_at);
            in_force.filter_map(|(id, hold)| hold.filtered.as_ref().map(|filtered| (id, filtered.judged()))).collect()
        });
        self.filters.retain(|id, _| in_force.iter().any(|(in_force, _)| in_force == id));
        self.borne.retain(|id, _| in_force.iter().any(|(in_force, _)| in_force == id));
        for (id, _) in &in_force {
            if !self.filters.contains_key(id) {
                let filter = self.read_filter(*id)?;
                if let Some(filter) = filter.as_ref().filter(|filter| filter.is_of_requests()) {
                    self.borne.insert(*id, self.borne_by_named(*id, filter.requests())?);
                }
                self.filters.insert(*id, filter);
            }
        }
        self.tell_what_was_read();
        let waiting: Vec<Waiting> = in_force
            .into_iter()
            .filter_map(|(id, judged)| {
                let filter = self.filters.get(&id).and_then(Option::as_ref)?;
                let (looks_beside, of_requests) = (filter.looks_beside(), filter.is_of_requests());
                Some(Waiting { id, judged, looks_beside, of_requests })
            })
            .collect();
        let found = waiting.iter().find_map(|waiting| match waiting.judged {
            Judged::Found { below } => Some((waiting, below)),
            Judged::UpTo(_) => None,
        });
        let judgements = match found {
            // Of what was there, persons had decided what is theirs, and the hold names that. They knew nothing of what
            // came or changed between their word and the hold.
            Some((Waiting { id, of_requests: true, .. }, _)) => {
                let since = self.decided_before(*id)?;
                vec![judgement(*id, Judged::UpTo(since), &mut Catches::new())]
            }
            Some((waiting, below)) => vec![self.judge_found(waiting.id, below)?],
            None => self.judge_changes(&waiting)?,
        };
        if judgements.is_empty() {
            return Ok(Step::Idle);
        }
        let event = Event::HoldsJudged(HoldsJudged { holds: judgements });
        self.store.append_drafts(vec![daemon_draft(event)], Condition::None)?;
        Ok(Step::Worked)
    }

    /// Tells the views what the filters ask for: until then each hold covers what any filter could.
    fn tell_what_was_read(&self) {
        let read = |(id, filter): (&HoldId, &Option<HoldFilter>)| {
            let filter = filter.as_ref()?;
            let (looks_beside, of_requests) = (filter.looks_beside(), filter.is_of_requests());
            Some((*id, ReadFilter { looks_beside, of_requests }))
        };
        let read: BTreeMap<HoldId, ReadFilter> = self.filters.iter().filter_map(read).collect();
        if self.store.view(|views| views.filters != read) {
            self.store.note_filters(read);
        }
    }

    /// Takes the filter of a hold out of its event. One that cannot be read leaves the hold wide.
    fn read_filter(&self, id: HoldId) -> Result<Option<HoldFilter>, StageError> {
        let recorded = match self.store.read(id.0) {
            Err(error) if is_of_one_body(&error) => None,
            read => read?,
        };
        let filter = match recorded.as_ref().map(|recorded| &recorded.event) {
            Some(Readable::Event(event)) => filter_of(event),
            Some(Readable::Facts(_) | Readable::Gone | Readable::Unknown) | None => None,
        };
        if filter.is_none() {
            tracing::warn!(hold = %id, "the filter of a hold cannot be read; it covers all that its other terms are about");
        }
        Ok(filter)
    }

    /// Returns by which identifiers persons are known of whom a request has none that is certain: those that stand as their
    /// own in the records that the hold names, as they were when it was placed. What was gone by then tells none.
    fn borne_by_named(&self, id: HoldId, requests: &[RequestId]) -> Result<BTreeSet<Handle>, StageError> {
        let (newest, layouts) = self.store.view(|views| {
            let has_marks = |request: &RequestId| {
                let known = views.small.subjects.get(*request);
                known.is_none_or(|known| known.marks.iter().any(|mark| mark.certainty == Certainty::Certain))
            };
            let hold = views.small.holds.get_in_force(id, views.recorded_at);
            let named = hold.filter(|_| !requests.iter().all(has_marks)).map_or(&[][..], |hold| &hold.entities);
            let rows = named.iter().filter_map(|entity| views.entities.row(*entity));
            let newest = rows.filter(|row| row.state != EntityState::Purged).map(|row| row.version);
            let layouts = views.small.layouts.iter().map(|(id, layout)| (id, layout.clone()));
            (newest.collect::<Vec<_>>(), layouts.collect::<BTreeMap<LayoutId, Layout>>())
        });
        let mut versions = Vec::with_capacity(newest.len());
        for newest in newest {
            versions.extend(self.version_at(newest, id.0)?);
        }
        let mut borne = BTreeSet::new();
        for piece in self.store.pieces(&versions, |version| *version, READ_PER_PIECE)? {
            for record in self.records(piece.items)?.into_iter().flatten() {
                let Some(layout) = layouts.get(&record.layout) else { continue };
                each_mark(layout, &record, |found| {
                    if found.whose == Whose::Own && found.mark.is_certain() {
                        borne.insert(self.store.handle_of_mark(&found.mark));
                    }
                });
            }
        }
        Ok(borne)
    }

    /// Returns where a person last said, before a hold on requests was placed, which records are theirs: of several
    /// requests, of the one of which that was said first. Of one of which nobody can read that, it is where it came in.
    fn decided_before(&self, hold: HoldId) -> Result<Position, StageError> {
        let filter = self.filters.get(&hold).and_then(Option::as_ref);
        let requests = filter.map(HoldFilter::requests).unwrap_or_default();
        let mut sought: BTreeSet<RequestId> = requests.iter().copied().collect();
        let said: Vec<Position> = self.store.view(|views| {
            let said = views.index.get(Key::Type(EventType::SubjectIdentified as u16));
            let newest_first = said.into_iter().flat_map(|set| set.iter().rev());
            newest_first.map(|number| Position(u64::from(number))).filter(|at| *at < hold.0).collect()
        });
        let mut since = hold.0;
        for at in said {
            if sought.is_empty() {
                break;
            }
            let recorded = match self.store.read(at) {
                Err(error) if is_of_one_body(&error) => None,
                read => read?,
            };
            if let Some(Event::SubjectIdentified(body)) = recorded.as_ref().and_then(Recorded::event)
                && sought.remove(&body.request)
            {
                since = at;
            }
        }
        Ok(sought.iter().map(|request| request.0).fold(since, Ord::min))
    }

    /// Judges what a hold found when it was placed, each entity as it was then.
    fn judge_found(&self, id: HoldId, below: u32) -> Result<HoldJudgement, StageError> {
        let (numbers, rows) = self.store.view(|views| {
            let numbers: Vec<EntityId> = views.entities.numbers_from(below).take(self.at_once).collect();
            let rows: Vec<_> = numbers
                .iter()
                .filter_map(|entity| views.entities.row(*entity).map(|row| (*entity, row)))
                .filter(|(_, row)| row.state != EntityState::Purged)
                .filter(|(_, row)| {
                    let layout = views.small.layouts.get(row.layout);
                    views.small.holds.get_in_force(id, views.recorded_at).is_some_and(|hold| hold.is_about(row, layout))
                })
                .map(|(entity, row)| (entity, row.version, beside(views, entity, &row)))
                .collect();
            (numbers, rows)
        });
        let mut asked = Vec::with_capacity(rows.len());
        for (entity, newest, beside) in rows {
            if let Some(version) = self.version_at(newest, id.0)? {
                asked.push(Asked { entity, version, beside, holds: vec![id] });
            }
        }
        let judged = match numbers.last() {
            Some(last) => Judged::Found { below: last.0.saturating_add(1) },
            None => Judged::UpTo(id.0),
        };
        let mut catches = self.judge(&asked)?;
        Ok(judgement(id, judged, &mut catches))
    }

    /// Returns the version that an entity had when a hold was placed at a position; `None` when it was not there yet.
    /// Where its events do not lead back, it is that position, at which stands no record: so the entity is held.
    fn version_at(&self, newest: Position, at: Position) -> Result<Option<Position>, StageError> {
        if newest <= at {
            return Ok(Some(newest));
        }
        let mut position = newest;
        while position != Position::NONE {
            let Some(row) = self.store.row(position)?.filter(|row| row.previous < position) else {
                return Ok(Some(at));
            };
            if position <= at && row.event_type == EventType::EntityChanged as u16 {
                return Ok(Some(position));
            }
            position = row.previous;
        }
        Ok(None)
    }

    /// Judges the oldest changes that not all holds have judged.
    fn judge_changes(&self, waiting: &[Waiting]) -> Result<Vec<HoldJudgement>, StageError> {
        let upto = |waiting: &Waiting| match waiting.judged {
            Judged::UpTo(position) => Some(position),
            Judged::Found { .. } => None,
        };
        let Some(from) = waiting.iter().filter_map(upto).min() else { return Ok(Vec::new()) };
        let looks_beside = waiting.iter().any(|waiting| waiting.looks_beside);
        let (changes, beside) = self.store.view(|views| {
            let changes: Vec<Position> = views.changes_after(from).take(self.at_once).collect();
            let beside = if looks_beside { views.changes_beside_after(from, self.at_once) } else { BTreeMap::new() };
            (changes, beside)
        });
        let mut positions: Vec<Position> = changes.iter().chain(beside.keys()).copied().collect();
        positions.sort_unstable();
        positions.dedup();
        positions.truncate(self.at_once);
        // One position can be that of many entities: whatever a company that is gone was tied to.
        let mut entities = 0;
        positions.retain(|at| {
            let has_room = entities < self.at_once;
            entities = entities.saturating_add(beside.get(at).map_or(1, Vec::len));
            has_room
        });
        let Some(&last) = positions.last() else { return Ok(Vec::new()) };
        let mut moved = Vec::with_capacity(positions.len());
        let mut lost = BTreeSet::new();
        for at in changes.into_iter().filter(|at| *at <= last) {
            match self.store.row(at)?.and_then(|row| row.entity) {
                Some(entity) => moved.push(Moved { entity, at, what: What::Record }),
                None => {
                    lost.insert(at);
                }
            }
        }
        moved.extend(self.of_versions(&lost));
        for (at, entities) in beside.range(..=last) {
            moved.extend(entities.iter().map(|entity| Moved { entity: *entity, at: *at, what: What::Beside }));
        }
        let asked: Vec<Asked> =
            self.store.view(|views| moved.iter().filter_map(|moved| asked(views, moved, waiting)).collect());
        let mut catches = self.judge(&asked)?;
        let behind = waiting.iter().filter(|waiting| waiting.judged < Judged::UpTo(last));
        Ok(behind.map(|waiting| judgement(waiting.id, Judged::UpTo(last), &mut catches)).collect())
    }

    /// Returns whose newest change is one of which the event store has no row: nobody can read it, so what it is about is
    /// held, and no other has to wait for it. Whose older change it is, nothing tells; the newer one is judged.
    fn of_versions(&self, lost: &BTreeSet<Position>) -> Vec<Moved> {
        if lost.is_empty() {
            return Vec::new();
        }
        tracing::warn!(changes = lost.len(), "changes have no row in the event store; what they are about is held");
        self.store.view(|views| {
            let numbers = views.entities.numbers_from(0);
            let versions = numbers.filter_map(|entity| Some((entity, views.entities.row(entity)?.version)));
            let newest = versions.filter(|(_, version)| lost.contains(version));
            newest.map(|(entity, at)| Moved { entity, at, what: What::Record }).collect()
        })
    }

    /// Reads records. One that is damaged keeps no other from being judged.
    fn records(&self, versions: &[Position]) -> Result<Vec<Option<EntityRecord>>, ReadError> {
        let alone = |version: &Position| match self.store.record_at(*version) {
            Err(error) if is_of_one_body(&error) => Ok(None),
            read => read,
        };
        match self.store.records_at(versions) {
            Err(error) if is_of_one_body(&error) => versions.iter().map(alone).collect(),
            read => read,
        }
    }

    /// Reads the records, in pieces, and asks the filters.
    fn judge(&self, asked: &[Asked]) -> Result<Catches, StageError> {
        let layouts: BTreeMap<LayoutId, Layout> =
            self.store.view(|views| views.small.layouts.iter().map(|(id, layout)| (id, layout.clone())).collect());
        let mut bound: BTreeMap<(HoldId, LayoutId), BoundHoldFilter<'_>> = BTreeMap::new();
        let mut catches = Catches::new();
        for piece in self.store.pieces(asked, |asked| asked.version, READ_PER_PIECE)? {
            let versions: Vec<Position> = piece.items.iter().map(|asked| asked.version).collect();
            for (asked, record) in piece.items.iter().zip(self.records(&versions)?) {
                let Some(record) = record else {
                    // A record that is gone was purged; any other that cannot be read may match.
                    if !self.store.view(|views| is_purged(views, asked.entity)) {
                        asked.holds.iter().for_each(|id| catches.entry(*id).or_default().1.extend([asked.entity]));
                    }
                    continue;
                };
                for id in &asked.holds {
                    let (caught, unreadable) = catches.entry(*id).or_default();
                    match self.truth(&layouts, &mut bound, *id, &record, &asked.beside) {
                        Verdict::Matches => caught.extend([asked.entity]),
                        Verdict::Unreadable => unreadable.extend([asked.entity]),
                        Verdict::Differs => {}
                    }
                }
            }
        }
        Ok(catches)
    }

    /// Says whether a record bears an identifier that tells the data subject of one of the requests of a hold for certain,
    /// whether as their own, as somebody who wrote or was written to, or as somebody whom it names.
    fn bears(&self, id: HoldId, layout: &Layout, record: &EntityRecord, requests: &[RequestId]) -> bool {
        let mut sought: BTreeSet<Handle> = self.store.view(|views| {
            let known = requests.iter().filter_map(|id| views.small.subjects.get(*id));
            let marks = known.flat_map(|request| &request.marks);
            marks.filter(|mark| mark.certainty == Certainty::Certain).map(|mark| mark.handle).collect()
        });
        sought.extend(self.borne.get(&id).into_iter().flatten());
        let mut bears = false;
        each_mark(layout, record, |borne| {
            bears = bears || (borne.mark.is_certain() && sought.contains(&self.store.handle_of_mark(&borne.mark)));
        });
        bears
    }

    fn truth<'a>(
        &'a self,
        layouts: &'a BTreeMap<LayoutId, Layout>,
        bound: &mut BTreeMap<(HoldId, LayoutId), BoundHoldFilter<'a>>,
        id: HoldId,
        record: &EntityRecord,
        beside: &Beside,
    ) -> Verdict {
        let filter = self.filters.get(&id).and_then(Option::as_ref);
        let (Some(filter), Some(layout)) = (filter, layouts.get(&record.layout)) else { return Verdict::Unreadable };
        let bound = bound.entry((id, record.layout)).or_insert_with(|| filter.bind(layout));
        match bound.judge(record, beside, |requests| self.bears(id, layout, record, requests)) {
            Truth::Yes => Verdict::Matches,
            Truth::No => Verdict::Differs,
            Truth::Unreadable(_) => Verdict::Unreadable,
        }
    }
}

/// Says whether a body cannot be read for what is stored of it: another time would tell no more of it, and others can be
/// read.
fn is_of_one_body(error: &ReadError) -> bool {
    match error {
        ReadError::SlotDamaged(_) | ReadError::Body { .. } | ReadError::Sealed(_) => true,
        ReadError::Journal(_)
        | ReadError::Sled(_)
        | ReadError::Vault(_)
        | ReadError::Tree(_)
        | ReadError::Halted(_) => false,
    }
}

/// What a filter says of a record.
enum Verdict {
    Matches,
    Differs,
    Unreadable,
}

/// Returns what is known of an entity beside its record, as it is now.
fn beside(views: &Views, entity: EntityId, row: &Row) -> Beside {
    Beside { first_seen: row.first_seen, last_activity: row.last_activity, open_deals: views.open_deals(entity) }
}

/// Returns what has to be judged because of a change, and by which of the holds; `None` if by none of them.
fn asked(views: &Views, moved: &Moved, waiting: &[Waiting]) -> Option<Asked> {
    let entity = moved.entity;
    let row = views.entities.row(entity).filter(|row| row.state != EntityState::Purged)?;
    let layout = views.small.layouts.get(row.layout);
    let is_asked = |waiting: &&Waiting| {
        let hold = views.small.holds.get_in_force(waiting.id, views.recorded_at);
        (waiting.looks_beside || moved.what == What::Record)
            && waiting.judged < Judged::UpTo(moved.at)
            && hold.is_some_and(|hold| hold.is_about(&row, layout))
    };
    let holds: Vec<HoldId> = waiting.iter().filter(is_asked).map(|waiting| waiting.id).collect();
    let version = match moved.what {
        What::Record => moved.at,
        What::Beside => row.version,
    };
    (!holds.is_empty()).then(|| Asked { entity, version, beside: beside(views, entity, &row), holds })
}

fn is_purged(views: &Views, entity: EntityId) -> bool {
    views.entities.row(entity).is_some_and(|row| row.state == EntityState::Purged)
}

/// Returns the filter of a placed hold, as this program reads it.
fn filter_of(event: &Event) -> Option<HoldFilter> {
    let Event::HoldPlaced(body) = event else { return None };
    let kinds = body.standing.as_ref().map_or(&[][..], |standing| &standing.kinds);
    HoldFilter::check(&body.filter, kinds).ok()
}

fn judgement(hold: HoldId, judged: Judged, catches: &mut Catches) -> HoldJudgement {
    let (caught, unreadable) = catches.remove(&hold).unwrap_or_default();
    let (caught, unreadable) = (caught.into_iter().collect(), unreadable.into_iter().collect());
    HoldJudgement { hold, judged, caught, unreadable }
}

#[cfg(test)]
mod tests;

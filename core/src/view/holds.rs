//! Legal holds: what they cover, until when, and when somebody should look at them.
//!
//! Only numbers and names of policies and sources: the name, the reason and the filter of a hold are in its sealed event.
//! Which time it is, is told by the newest event: a hold that is about to end never ends early by that.
//!
//! **A hold with a filter** is wide until it has judged: an entity that the filter has not judged as it is now is covered
//! like one that matches. So it never matters how far behind the judging is, or whether anybody can judge at all. What
//! it caught stays caught when it changes: an edit must not free what a court may ask for, and the state that matched
//! may be wanted itself. An entity beside whose record something changed, an activity or a deal, is not judged as it is
//! now either, unless it is known that the filter never asks for that.

use std::collections::{BTreeMap, BTreeSet};

use bincode::{Decode, Encode};

use super::Views;
use super::entities::Row;
use super::entity_set::EntitySet;
use super::index::Key;
use crate::event::EventType;
use crate::event::hold::{HoldPlaced, HoldReleased, HoldsJudged, Judged, StandingQuery};
use crate::id::{EntityId, HoldId, Position, in_order};
use crate::record::Layout;
use crate::time::Timestamp;

/// One hold.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hold {
    /// When it was placed.
    pub placed_at: Timestamp,
    /// The entities that it covers, ascending.
    pub entities: Vec<EntityId>,
    /// The mailboxes of which it covers everything.
    pub mailboxes: BTreeSet<EntityId>,
    /// The policies under which nothing is disposed of.
    pub policies: BTreeSet<String>,
    /// What else it covers, also what arrives later.
    pub standing: Option<StandingQuery>,
    /// What of that it catches, if it has a filter.
    pub filtered: Option<Filtered>,
    /// When somebody should look whether it is still needed.
    pub review_at: Option<Timestamp>,
    /// When it was released, and until when it still protects.
    pub released: Option<(Timestamp, Timestamp)>,
}

/// How far a hold has judged with its filter, and what it caught.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Filtered {
    judged: Judged,
    caught: EntitySet,
    unreadable: EntitySet,
}

/// Why a hold with a filter covers an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByFilter {
    /// It matches, or did.
    Caught,
    /// A field of it cannot be read, or could not.
    Unreadable,
    /// It was not judged as it is now.
    Unjudged,
}

/// What was read of the filter of a hold. What is not known of one is taken so that it covers the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadFilter {
    /// Whether it asks for what changes while the record does not.
    pub looks_beside: bool,
    /// Whether it asks whose a record is.
    pub of_requests: bool,
}

/// An entity of which is asked what covers it.
pub(super) struct Subject<'a> {
    pub(super) entity: EntityId,
    pub(super) row: &'a Row,
    /// Where something beside its record changed last.
    pub(super) beside: Position,
    pub(super) layout: Option<&'a Layout>,
    pub(super) filters: &'a BTreeMap<HoldId, ReadFilter>,
}

impl Subject<'_> {
    /// Returns where the newest of what a hold may ask for stands.
    fn newest(&self, id: HoldId) -> Position {
        match looks_beside(self.filters, id) {
            true => self.row.version.max(self.beside),
            false => self.row.version,
        }
    }
}

fn looks_beside(filters: &BTreeMap<HoldId, ReadFilter>, id: HoldId) -> bool {
    filters.get(&id).is_none_or(|filter| filter.looks_beside)
}

impl Filtered {
    fn new() -> Self {
        let judged = Judged::Found { below: 0 };
        Self { judged, caught: EntitySet::default(), unreadable: EntitySet::default() }
    }

    /// Returns how far it has judged.
    #[must_use]
    pub fn judged(&self) -> Judged {
        self.judged
    }

    /// Returns how many entities match, or did.
    #[must_use]
    pub fn caught(&self) -> u64 {
        self.caught.len()
    }

    /// Returns how many entities could not be judged.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable.len()
    }

    /// Says whether it caught an entity, or could not judge it.
    fn keeps(&self, entity: EntityId) -> bool {
        self.caught.contains(entity) || self.unreadable.contains(entity)
    }

    fn of(&self, placed: Position, entity: EntityId, newest: Position) -> Option<ByFilter> {
        if self.caught.contains(entity) {
            return Some(ByFilter::Caught);
        }
        if self.unreadable.contains(entity) {
            return Some(ByFilter::Unreadable);
        }
        let is_judged = match self.judged {
            Judged::Found { below } => entity.0 < below && newest <= placed,
            Judged::UpTo(position) => newest <= position,
        };
        (!is_judged).then_some(ByFilter::Unjudged)
    }
}

impl Hold {
    /// Says whether it protects at an instant.
    #[must_use]
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.released.is_none_or(|(_, until)| now < until)
    }

    /// Says whether its filter caught an entity, or could not judge it.
    #[must_use]
    pub fn caught(&self, entity: EntityId) -> bool {
        self.filtered.as_ref().is_some_and(|filtered| filtered.keeps(entity))
    }

    /// Says whether somebody should look whether it is still needed.
    #[must_use]
    pub fn is_due_for_review(&self, now: Timestamp) -> bool {
        self.released.is_none() && self.review_at.is_some_and(|at| at <= now)
    }

    fn covers_more_than_entities(&self) -> bool {
        !self.mailboxes.is_empty() || self.standing.is_some()
    }

    fn covers_mailbox_of(&self, entity: EntityId, row: &Row) -> bool {
        self.mailboxes.contains(&entity) || row.mailbox.is_some_and(|mailbox| self.mailboxes.contains(&mailbox))
    }

    /// Says whether its standing query is about an entity, whatever its filter says.
    #[must_use]
    pub fn is_about(&self, row: &Row, layout: Option<&Layout>) -> bool {
        self.standing.as_ref().is_some_and(|standing| fits(standing, row, layout))
    }

    /// Says whether it covers what is not named by its number.
    fn covers(&self, id: HoldId, asked: &Subject<'_>) -> bool {
        let is_caught = || {
            let filtered = self.filtered.as_ref();
            filtered.is_none_or(|it| it.of(id.0, asked.entity, asked.newest(id)).is_some())
        };
        self.covers_mailbox_of(asked.entity, asked.row) || (self.is_about(asked.row, asked.layout) && is_caught())
    }
}

/// What is not known of an entity fits: a hold that is in doubt keeps.
fn fits(standing: &StandingQuery, row: &Row, layout: Option<&Layout>) -> bool {
    let kind = layout.is_none_or(|layout| standing.kinds.is_empty() || standing.kinds.contains(&layout.kind));
    let source = layout.is_none_or(|layout| standing.sources.is_empty() || standing.sources.contains(&layout.source));
    kind && source
        && standing.seen_from.is_none_or(|from| row.first_seen >= from)
        && standing.seen_until.is_none_or(|until| row.first_seen < until)
}

/// All holds, also those that are over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Holds {
    all: BTreeMap<HoldId, Hold>,
    /// Which holds name an entity, also those that are over.
    by_entity: BTreeMap<EntityId, Vec<HoldId>>,
    /// The holds that cover more than what they name.
    wide: BTreeSet<HoldId>,
}

impl Holds {
    /// Returns a hold that was not released.
    #[must_use]
    pub fn get(&self, id: HoldId) -> Option<&Hold> {
        self.all.get(&id).filter(|hold| hold.released.is_none())
    }

    /// Returns a hold, also one that was released.
    #[must_use]
    pub fn get_placed(&self, id: HoldId) -> Option<&Hold> {
        self.all.get(&id)
    }

    /// Returns a hold that protects at an instant.
    #[must_use]
    pub fn get_in_force(&self, id: HoldId, now: Timestamp) -> Option<&Hold> {
        self.all.get(&id).filter(|hold| hold.is_in_force(now))
    }

    /// Goes through all holds, also those that are over.
    pub fn all(&self) -> impl Iterator<Item = (HoldId, &Hold)> {
        self.all.iter().map(|(id, hold)| (*id, hold))
    }

    /// Goes through the holds that protect at an instant.
    pub fn in_force(&self, now: Timestamp) -> impl Iterator<Item = (HoldId, &Hold)> {
        self.all().filter(move |(_, hold)| hold.is_in_force(now))
    }

    /// Returns the holds that cover an entity at an instant, as they were placed.
    pub(super) fn of(&self, asked: &Subject<'_>, now: Timestamp) -> Vec<HoldId> {
        let mut holds: Vec<HoldId> = self.by_entity.get(&asked.entity).cloned().unwrap_or_default();
        let covers =
            |id: &&HoldId| self.all.get(id).is_some_and(|hold| hold.is_in_force(now) && hold.covers(**id, asked));
        holds.extend(self.wide.iter().filter(covers));
        holds.retain(|id| self.all.get(id).is_some_and(|hold| hold.is_in_force(now)));
        holds.sort_unstable();
        holds.dedup();
        holds
    }

    /// Returns the holds that cover a policy at an instant.
    pub(super) fn of_policy<'a>(&'a self, policy: &'a str, now: Timestamp) -> impl Iterator<Item = HoldId> + 'a {
        self.in_force(now).filter(move |(_, hold)| hold.policies.contains(policy)).map(|(id, _)| id)
    }

    /// Says whether a hold covers copies of entities that are gone. What is gone is known by its number alone, so a
    /// hold on whatever of some kinds or sources there is, keeps: it may have been meant. One on the data subjects of
    /// requests names what was theirs, and knows what came after.
    pub(super) fn covers_copies(
        &self,
        of: &[EntityId],
        mailbox: Option<EntityId>,
        policy: &str,
        now: Timestamp,
        filters: &BTreeMap<HoldId, ReadFilter>,
    ) -> bool {
        let covers = |id: HoldId, hold: &Hold| {
            let is_of_requests = filters.get(&id).is_some_and(|filter| filter.of_requests);
            let knows = hold.filtered.as_ref().filter(|_| is_of_requests);
            (hold.standing.is_some() && knows.is_none())
                || knows.is_some_and(|filtered| of.iter().any(|entity| filtered.keeps(*entity)))
                || hold.policies.contains(policy)
                || mailbox.is_some_and(|mailbox| hold.mailboxes.contains(&mailbox))
                || of.iter().any(|entity| hold.entities.binary_search(entity).is_ok())
        };
        self.in_force(now).any(|(id, hold)| covers(id, hold))
    }

    /// Says whether a hold on a policy was placed after a position and protects at an instant.
    pub(super) fn has_policy_hold_after(&self, position: Position, now: Timestamp) -> bool {
        self.in_force(now).any(|(id, hold)| id.0 > position && !hold.policies.is_empty())
    }

    /// `left` tells what is left of an entity after a redaction: whoever names the one means the other.
    pub(super) fn place(
        &mut self,
        id: HoldId,
        at: Timestamp,
        body: &HoldPlaced,
        left: impl Fn(EntityId) -> Option<EntityId>,
    ) {
        let entities = in_order(body.entities.clone());
        for entity in entities.iter().flat_map(|entity| with_all_left(*entity, &left)) {
            let holds = self.by_entity.entry(entity).or_default();
            if !holds.contains(&id) {
                holds.push(id);
            }
        }
        let hold = Hold {
            placed_at: at,
            entities,
            mailboxes: body.mailboxes.iter().copied().collect(),
            policies: body.policies.iter().cloned().collect(),
            standing: body.standing.clone(),
            filtered: (!body.filter.is_empty()).then(Filtered::new),
            review_at: body.review_at,
            released: None,
        };
        if hold.covers_more_than_entities() {
            self.wide.insert(id);
        }
        self.all.insert(id, hold);
    }

    /// A judgement that is not newer than what is known is an echo, and what it caught counts all the same.
    /// What is left of what it caught is caught with it.
    pub(super) fn judged(&mut self, body: &HoldsJudged, left: impl Fn(EntityId) -> Option<EntityId>) {
        for judgement in &body.holds {
            let Some(filtered) = self.all.get_mut(&judgement.hold).and_then(|hold| hold.filtered.as_mut()) else {
                continue;
            };
            let found = [(&mut filtered.caught, &judgement.caught), (&mut filtered.unreadable, &judgement.unreadable)];
            for (set, entities) in found {
                entities.iter().flat_map(|entity| with_all_left(*entity, &left)).for_each(|entity| set.insert(entity));
            }
            filtered.judged = filtered.judged.max(judgement.judged);
        }
    }

    /// What is left of an entity is held by what held that one: a hold that came when the redaction could no longer be
    /// stopped was meant for it too.
    pub(super) fn follow(&mut self, of: EntityId, to: EntityId) {
        if let Some(holds) = self.by_entity.get(&of).cloned() {
            let known = self.by_entity.entry(to).or_default();
            known.extend(holds);
            known.sort_unstable();
            known.dedup();
        }
        for filtered in self.all.values_mut().filter_map(|hold| hold.filtered.as_mut()) {
            for set in [&mut filtered.caught, &mut filtered.unreadable] {
                if set.contains(of) {
                    set.insert(to);
                }
            }
        }
    }

    /// The first release counts: a second one could only shorten the time for whoever disagrees.
    pub(super) fn release(&mut self, at: Timestamp, body: &HoldReleased) {
        if let Some(hold) = self.all.get_mut(&body.hold)
            && hold.released.is_none()
        {
            hold.released = Some((at, body.until));
        }
    }
}

/// Goes through an entity, what is left of it after a redaction, what is left of that, and so on.
fn with_all_left(entity: EntityId, left: &impl Fn(EntityId) -> Option<EntityId>) -> impl Iterator<Item = EntityId> {
    std::iter::successors(Some(entity), move |entity| left(*entity))
}

fn first_after(position: Position) -> u32 {
    u32::try_from(position.0.saturating_add(1)).unwrap_or(u32::MAX)
}

impl Views {
    pub(super) fn hold_subject<'a>(&'a self, entity: EntityId, row: &'a Row) -> Subject<'a> {
        let (beside, layout) = (self.entities.changed_beside(entity), self.small.layouts.get(row.layout));
        Subject { entity, row, beside, layout, filters: &self.filters }
    }

    /// Says why a hold covers an entity by its filter; `None` when it does not, or covers it anyway.
    #[must_use]
    pub fn held_by_filter(&self, id: HoldId, entity: EntityId) -> Option<ByFilter> {
        let row = self.entities.row(entity)?;
        let holds = &self.small.holds;
        let hold = holds.get_in_force(id, self.recorded_at)?;
        let is_named = holds.by_entity.get(&entity).is_some_and(|named| named.contains(&id));
        if is_named || hold.covers_mailbox_of(entity, &row) || !hold.is_about(&row, self.small.layouts.get(row.layout))
        {
            return None;
        }
        hold.filtered.as_ref()?.of(id.0, entity, self.hold_subject(entity, &row).newest(id))
    }

    /// Goes through the changes that were recorded after a position, in their order.
    pub fn changes_after(&self, position: Position) -> impl Iterator<Item = Position> + '_ {
        let changes = self.index.get(Key::Type(EventType::EntityChanged as u16));
        let after = changes.into_iter().flat_map(move |set| set.range(first_after(position)..));
        after.map(|number| Position(u64::from(number)))
    }

    /// Returns the oldest changes beside records after a position, at so many positions at most: the entities of each
    /// position at which nothing beside their record changed later.
    #[must_use]
    pub fn changes_beside_after(&self, position: Position, at_most: usize) -> BTreeMap<Position, Vec<EntityId>> {
        let mut oldest: BTreeMap<Position, Vec<EntityId>> = BTreeMap::new();
        for (at, entity) in self.entities.changed_beside_after(position) {
            oldest.entry(at).or_default().push(entity);
            if oldest.len() > at_most {
                oldest.pop_last();
            }
        }
        oldest
    }

    /// Returns how many entities and changes a hold has still to judge with its filter; none without one, or when it is
    /// over.
    #[must_use]
    pub fn left_to_judge(&self, id: HoldId) -> u64 {
        let hold = self.small.holds.get_in_force(id, self.recorded_at);
        let filtered = hold.and_then(|hold| hold.filtered.as_ref());
        let looks_beside = looks_beside(&self.filters, id);
        let changes = |after: Position| {
            let changes = self.index.get(Key::Type(EventType::EntityChanged as u16));
            let beside = if looks_beside { self.entities.changed_beside_after(after).count() } else { 0 };
            changes.map_or(0, |set| set.range_cardinality(first_after(after)..)) + beside as u64
        };
        match filtered.map(Filtered::judged) {
            None => 0,
            Some(Judged::Found { below }) => u64::from(self.entities.bound().saturating_sub(below)) + changes(id.0),
            Some(Judged::UpTo(position)) => changes(position),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::hold::{HoldJudgement, v1};
    use crate::id::{Handle, LayoutId};
    use crate::record::Visibility;
    use crate::view::EntityState;

    const HOLD: HoldId = HoldId(Position(10));

    fn row(version: u64) -> Row {
        Row {
            handle: Handle::NONE,
            digest: 0,
            version: Position(version),
            last_event: Position(version),
            layout: LayoutId(1),
            mailbox: None,
            first_seen: Timestamp(0),
            last_activity: None,
            state: EntityState::Visible,
            absent: false,
            open_deal: false,
            visibility: Visibility::Unknown,
        }
    }

    fn holds(entities: &[u32], filter: &str, left: impl Fn(EntityId) -> Option<EntityId>) -> Holds {
        let entities = entities.iter().copied().map(EntityId).collect();
        let standing = StandingQuery { kinds: Vec::new(), sources: Vec::new(), seen_from: None, seen_until: None };
        let standing = Some(standing).filter(|_| !filter.is_empty());
        let case = v1::HoldPlaced { name: "case".to_owned(), reason: "order".to_owned(), entities };
        let mut holds = Holds::default();
        holds.place(HOLD, Timestamp(0), &HoldPlaced { standing, filter: filter.to_owned(), ..case.into() }, left);
        holds
    }

    fn judged(judged: Judged, caught: &[u32], unreadable: &[u32]) -> HoldsJudged {
        let [caught, unreadable] = [caught, unreadable].map(|numbers| numbers.iter().copied().map(EntityId).collect());
        HoldsJudged { holds: vec![HoldJudgement { hold: HOLD, judged, caught, unreadable }] }
    }

    fn covers(holds: &Holds, entity: u32, version: u64) -> bool {
        covers_knowing(holds, &BTreeMap::new(), entity, version, 0)
    }

    fn covers_knowing(
        holds: &Holds,
        filters: &BTreeMap<HoldId, ReadFilter>,
        entity: u32,
        version: u64,
        beside: u64,
    ) -> bool {
        let (entity, row, beside) = (EntityId(entity), row(version), Position(beside));
        !holds.of(&Subject { entity, row: &row, beside, layout: None, filters }, Timestamp(0)).is_empty()
    }

    #[test]
    fn what_changed_beside_a_record_is_covered_until_it_is_judged_unless_the_filter_never_asks_for_it() {
        for looks_beside in [None, Some(true), Some(false)] {
            let read = looks_beside.map(|looks_beside| (HOLD, ReadFilter { looks_beside, of_requests: false }));
            let (filters, looks_beside) = (read.into_iter().collect(), looks_beside != Some(false));
            let mut holds = holds(&[], "filter", |_| None);
            let covers = |holds: &Holds, entity, beside| covers_knowing(holds, &filters, entity, 5, beside);
            holds.judged(&judged(Judged::Found { below: 3 }, &[], &[]), |_| None);
            assert!(!covers(&holds, 1, 9), "judged as it was when the hold was placed");
            assert_eq!(covers(&holds, 1, 11), looks_beside);
            holds.judged(&judged(Judged::UpTo(Position(20)), &[2], &[]), |_| None);
            assert!(!covers(&holds, 1, 20));
            assert_eq!(covers(&holds, 1, 21), looks_beside);
            assert!(covers(&holds, 2, 0), "caught");
        }
    }

    #[test]
    fn what_was_not_judged_as_it_is_now_is_covered_and_what_was_caught_stays_so() {
        let mut holds = holds(&[], "filter", |_| None);
        assert!(covers(&holds, 1, 5) && covers(&holds, 1, 11));
        holds.judged(&judged(Judged::Found { below: 3 }, &[1], &[2]), |_| None);
        assert_eq!([0, 1, 2, 3].map(|entity| covers(&holds, entity, 5)), [false, true, true, true]);
        assert!(covers(&holds, 0, 11), "it changed since");
        holds.judged(&judged(Judged::UpTo(Position(20)), &[], &[]), |_| None);
        assert_eq!([0, 1, 2, 3].map(|entity| covers(&holds, entity, 20)), [false, true, true, false]);
        assert!(covers(&holds, 0, 21));
        // An echo takes nothing back.
        holds.judged(&judged(Judged::Found { below: 1 }, &[], &[]), |_| None);
        assert!(!covers(&holds, 0, 20) && covers(&holds, 1, 20));
        let filtered = holds.get(HOLD).and_then(|hold| hold.filtered.as_ref()).unwrap();
        assert_eq!((filtered.caught(), filtered.unreadable()), (1, 1));
        // What nobody placed judges nothing.
        let mut nothing = Holds::default();
        nothing.judged(&judged(Judged::UpTo(Position(20)), &[1], &[]), |_| None);
        assert_eq!(nothing, Holds::default());
    }

    #[test]
    fn a_hold_on_the_persons_of_requests_keeps_copies_of_what_it_knows_and_any_other_query_all_copies() {
        let mut holds = holds(&[1], "filter", |_| None);
        holds.judged(&judged(Judged::UpTo(Position(20)), &[3], &[4]), |_| None);
        let kept = |filters: &BTreeMap<HoldId, ReadFilter>| {
            [1, 2, 3, 4].map(|of| holds.covers_copies(&[EntityId(of)], None, "policy", Timestamp(0), filters))
        };
        let read = |of_requests| BTreeMap::from([(HOLD, ReadFilter { looks_beside: false, of_requests })]);
        assert_eq!(kept(&BTreeMap::new()), [true; 4], "nobody has read it yet");
        assert_eq!(kept(&read(false)), [true; 4]);
        assert_eq!(kept(&read(true)), [true, false, true, true]);
    }

    #[test]
    fn what_is_left_of_an_entity_is_covered_like_it_whichever_came_first() {
        let left = |entity: EntityId| (entity.0 < 3).then_some(EntityId(entity.0 + 1));
        let all = |holds: &Holds| [1, 2, 3, 4].map(|entity| covers(holds, entity, 20));
        assert_eq!(all(&holds(&[1], "", left)), [true, true, true, false], "placed afterwards");
        let mut before = holds(&[1], "", |_| None);
        before.follow(EntityId(1), EntityId(2));
        before.follow(EntityId(2), EntityId(3));
        assert_eq!(all(&before), [true, true, true, false]);
        let upto = Judged::UpTo(Position(20));
        let mut afterwards = holds(&[], "filter", |_| None);
        afterwards.judged(&judged(upto, &[1], &[]), left);
        assert_eq!(all(&afterwards), [true, true, true, false], "caught afterwards");
        let mut caught = holds(&[], "filter", |_| None);
        caught.judged(&judged(upto, &[], &[1]), |_| None);
        caught.follow(EntityId(1), EntityId(2));
        caught.follow(EntityId(2), EntityId(3));
        assert_eq!(all(&caught), [true, true, true, false]);
    }
}

//! Questions about the log: sets of positions are intersected, and only the rows of one page are read.
//!
//! A page costs what it holds. Where sets have little in common, the search stops after a bounded number of steps and
//! the page comes back short, with a cursor to go on from.

use std::collections::BTreeSet;

use retention_core::event::hold::PauseScope;
use retention_core::event::saga::{SagaEnd, ScriptKind};
use retention_core::event::{Actor, Event, EventType};
use retention_core::id::{EntityId, PlanId, Position, RequestId, RunId, SagaId};
use retention_core::time::Timestamp;
use retention_core::view::index::Key;
use retention_core::view::{Saga, Views};
use roaring::RoaringBitmap;

use super::events::EventRow;
use super::{Inner, ReadError, Store};

mod mailbox;
mod request;
#[cfg(test)]
mod tests;

pub(super) use request::AboutRequest;

/// The most rows of one page.
pub const PAGE_ROWS_MAX: usize = 10_000;

/// The most steps of one page: about ten milliseconds, during which the log waits now and then.
const STEPS_MAX: usize = 65_536;

/// The most bodies that one page reads to find out which policy or mailbox they are about.
const BODIES_MAX: usize = 4_096;

/// The most rows that one page reads to find out which mailbox they are about.
const ROWS_MAX: usize = 65_536;

/// The most events of a run that are looked at for those of one saga.
const SAGA_EVENTS_MAX: usize = 4_096;

/// Event types of a plan: all but two name it, and those begin it.
const PLAN_TYPES: [EventType; 8] = [
    EventType::PlanRequested,
    EventType::ErasurePlanRequested,
    EventType::PlanItems,
    EventType::PlanFrozen,
    EventType::PlanRefused,
    EventType::PlanApproved,
    EventType::PlanRejected,
    EventType::PlanReviewed,
];

/// Other event types that may be about a policy without being part of a run.
const POLICY_TYPES: [EventType; 9] = [
    EventType::PolicyRecorded,
    EventType::ReviewDecided,
    EventType::ScheduleFired,
    EventType::ScheduleMissed,
    EventType::HoldPlaced,
    EventType::HoldReleased,
    EventType::DisposalPaused,
    EventType::DisposalResumed,
    EventType::RestrictionLifted,
];

/// Event types of a grant: all but one name it, and that one begins it. That its folders were read stands in the stream
/// of its mailbox.
const GRANT_TYPES: [EventType; 9] = [
    EventType::GrantRequested,
    EventType::GrantApproved,
    EventType::GrantRejected,
    EventType::GrantRenewed,
    EventType::GrantRevokeRequested,
    EventType::GrantStepStarted,
    EventType::GrantStepSucceeded,
    EventType::GrantStepFailed,
    EventType::GrantEnded,
];

/// Event types of a saga that name no entity in their envelope.
const SAGA_TYPES: [EventType; 6] = [
    EventType::SagaStarted,
    EventType::StepStarted,
    EventType::StepSucceeded,
    EventType::StepFailed,
    EventType::ItemsSkipped,
    EventType::SagaEnded,
];

/// Event types of the end of a bundle, which may come long after its saga.
const BUNDLE_TYPES: [EventType; 2] = [EventType::BundleDestructionStarted, EventType::BundleDestroyed];

/// Event types of what a saga came from, and of who got a copy of its bundle.
const BESIDE_SAGAS: [EventType; 4] =
    [EventType::PlanRequested, EventType::ErasurePlanRequested, EventType::RunRequested, EventType::BundleHandedOver];

/// In which order events are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// From the end of the log.
    #[default]
    NewestFirst,
    /// From its beginning.
    OldestFirst,
}

/// A question. What is not asked for does not narrow the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Recorded at this instant or later.
    pub since: Option<Timestamp>,
    /// Recorded before this instant.
    pub until: Option<Timestamp>,
    /// Of one of these types.
    pub types: Vec<EventType>,
    /// Caused by.
    pub actor: Option<Actor>,
    /// About this entity: its own events, those of the sagas that purge it, redact it, restrict it or left it alone, and
    /// the holds, restrictions and decisions of persons that are or were about it.
    pub entity: Option<EntityId>,
    /// Part of this run.
    pub run: Option<RunId>,
    /// About this policy: its versions, schedules, plans, runs and grants, the holds and pauses that name it, and what
    /// persons brought back into use that it restricted.
    pub policy: Option<String>,
    /// About one of these mailboxes, if there are any: their own events, those of what lives or lived in them, and
    /// those of the grants, holds, pauses, migrations and sagas there.
    pub mailboxes: Vec<EntityId>,
    /// About this request of a data subject: its own events, what was decided and done for it, and whatever happened to
    /// the records that are theirs.
    pub request: Option<RequestId>,
    /// The order.
    pub order: Order,
    /// Go on behind this position: the cursor of the page before.
    pub after: Option<Position>,
    /// How many rows; at least 1 and at most [`PAGE_ROWS_MAX`].
    pub limit: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            since: None,
            until: None,
            types: Vec::new(),
            actor: None,
            entity: None,
            run: None,
            policy: None,
            mailboxes: Vec::new(),
            request: None,
            order: Order::default(),
            after: None,
            limit: 100,
        }
    }
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The events. There may be fewer than asked for, also none, while more follow.
    pub rows: Vec<(Position, EventRow)>,
    /// Where to go on; `None` when everything was told. Events that are appended later do not move it.
    pub next: Option<Position>,
}

impl Store {
    /// Answers a question, one page at a time.
    ///
    /// # Errors
    /// When the event store or the journal is damaged.
    pub fn query(&self, query: &Query) -> Result<Page, ReadError> {
        self.inner.query(query)
    }

    /// Returns the positions of everything that concerns an entity, ascending. Costs what happened to the entity, and a body
    /// for each decision since then that may name it.
    ///
    /// # Errors
    /// When the event store or the journal is damaged.
    pub fn history(&self, entity: EntityId) -> Result<Vec<Position>, ReadError> {
        Ok(self.inner.concerning(entity, &[])?.iter().map(|position| Position(u64::from(position))).collect())
    }
}

/// What stays the same while a page is put together.
struct Search {
    /// The sets that narrow the answer and are not in the index.
    own: Vec<RoaringBitmap>,
    /// Groups of index keys: an event must be in one set of each group.
    keys: Vec<Vec<Key>>,
    /// What is certainly about the policy; the rest of its group has to be read.
    policy: Option<(String, Vec<Key>)>,
    /// Each event has to be asked whether it is about one of these, if there are any.
    mailboxes: mailbox::Sought,
    order: Order,
    /// The positions that are left: from, to and including.
    bounds: Option<(u32, u32)>,
    steps: usize,
}

/// What was read to find out what events are about.
#[derive(Default)]
struct Spent {
    rows: usize,
    bodies: usize,
}

impl Spent {
    /// Says whether a page has read enough.
    fn is_enough(&self) -> bool {
        self.rows >= ROWS_MAX || self.bodies >= BODIES_MAX
    }
}

/// What a search through the sets came to.
enum Found {
    /// Positions, and whether each is certain to be about the policy.
    Some(Vec<(u32, bool)>),
    /// The steps are used up; everything up to this position was looked at.
    Tired(u32),
}

impl Search {
    /// Looks for at most `wanted` positions.
    fn find(&mut self, views: &Views, wanted: usize) -> Found {
        let certain: Option<Vec<&RoaringBitmap>> =
            self.policy.as_ref().map(|(_, keys)| keys.iter().filter_map(|key| views.index.get(*key)).collect());
        let mut groups: Vec<Vec<&RoaringBitmap>> = self.own.iter().map(|set| vec![set]).collect();
        groups.extend(self.keys.iter().map(|keys| keys.iter().filter_map(|key| views.index.get(*key)).collect()));
        let mut found = Vec::new();
        while let Some((from, to)) = self.bounds
            && found.len() < wanted
        {
            if self.steps == 0 {
                let looked_at = match self.order {
                    Order::OldestFirst => from.saturating_sub(1),
                    Order::NewestFirst => to.saturating_add(1),
                };
                return if found.is_empty() { Found::Tired(looked_at) } else { Found::Some(found) };
            }
            self.steps -= 1;
            let start = match self.order {
                Order::OldestFirst => from,
                Order::NewestFirst => to,
            };
            let Some(candidate) = leap(&groups, start, self.order) else {
                self.bounds = None;
                break;
            };
            if !(from..=to).contains(&candidate) {
                self.bounds = None;
                break;
            }
            if candidate == start {
                let is_certain = certain.as_ref().is_none_or(|sets| sets.iter().any(|set| set.contains(candidate)));
                found.push((candidate, is_certain));
                self.bounds = beyond(candidate, (from, to), self.order);
            } else {
                self.bounds = Some(match self.order {
                    Order::OldestFirst => (candidate, to),
                    Order::NewestFirst => (from, candidate),
                });
            }
        }
        Found::Some(found)
    }
}

/// Returns the nearest position, from `start` on, that no group rules out yet: `start` itself if all have it.
fn leap(groups: &[Vec<&RoaringBitmap>], start: u32, order: Order) -> Option<u32> {
    let mut candidate = start;
    for group in groups {
        candidate = match order {
            Order::OldestFirst => group.iter().filter_map(|set| set.range(candidate..).next()).min()?,
            Order::NewestFirst => group.iter().filter_map(|set| set.range(..=candidate).next_back()).max()?,
        };
    }
    Some(candidate)
}

/// Returns what is left of `bounds` behind a position; `None` when nothing is.
fn beyond(position: u32, bounds: (u32, u32), order: Order) -> Option<(u32, u32)> {
    let (from, to) = bounds;
    let (from, to) = match order {
        Order::OldestFirst => (from.max(position.checked_add(1)?), to),
        Order::NewestFirst => (from, to.min(position.checked_sub(1)?)),
    };
    (from <= to).then_some((from, to))
}

/// The store refuses to append beyond what the sets hold.
fn low(position: Position) -> u32 {
    u32::try_from(position.0).unwrap_or(u32::MAX)
}

impl Inner {
    fn query(&self, query: &Query) -> Result<Page, ReadError> {
        let limit = query.limit.clamp(1, PAGE_ROWS_MAX);
        let mut search = self.search_of(query)?;
        let mut page = Page::default();
        let mut spent = Spent::default();
        // One more than asked for tells whether anything follows.
        while page.rows.len() <= limit {
            let wanted = match search.mailboxes.is_empty() {
                true => (limit + 1 - page.rows.len()).min(BODIES_MAX),
                // Most of what the sets leave may be about other mailboxes.
                false => BODIES_MAX,
            };
            let found = search.find(&self.state.read().views, wanted);
            let positions = match found {
                Found::Some(positions) if positions.is_empty() => return Ok(page),
                Found::Some(positions) => positions,
                Found::Tired(looked_at) => {
                    page.next = Some(Position(u64::from(looked_at)));
                    return Ok(page);
                }
            };
            for (number, is_certain) in positions {
                let position = Position(u64::from(number));
                if !self.is_meant(position, is_certain, &search, &mut spent)? {
                    if spent.is_enough() {
                        page.next = Some(position);
                        return Ok(page);
                    }
                    continue;
                }
                if page.rows.len() == limit {
                    page.next = page.rows.last().map(|(last, _)| *last);
                    return Ok(page);
                }
                if let Some(row) = self.row(position)? {
                    page.rows.push((position, row));
                }
            }
        }
        Ok(page)
    }

    /// Asks an event what the sets cannot tell.
    fn is_meant(
        &self,
        position: Position,
        is_certain: bool,
        search: &Search,
        spent: &mut Spent,
    ) -> Result<bool, ReadError> {
        if !search.mailboxes.is_empty() && !self.is_about_mailbox(position, &search.mailboxes, spent)? {
            return Ok(false);
        }
        if is_certain {
            return Ok(true);
        }
        spent.bodies += 1;
        self.is_about_policy(position, search.policy.as_ref().map(|(policy, _)| policy.as_str()))
    }

    fn search_of(&self, query: &Query) -> Result<Search, ReadError> {
        let newest = self.state.read().views.position;
        let mut bounds = Some((1, low(newest))).filter(|(from, to)| from <= to);
        if let Some(since) = query.since {
            let first = low(self.first_recorded_at(newest, since)?);
            bounds = bounds.map(|(from, to)| (from.max(first), to)).filter(|(from, to)| from <= to);
        }
        if let Some(until) = query.until {
            let first = low(self.first_recorded_at(newest, until)?);
            bounds = bounds.map(|(from, to)| (from, to.min(first.saturating_sub(1)))).filter(|(from, to)| from <= to);
        }
        if let Some(after) = query.after {
            bounds = bounds.and_then(|bounds| beyond(low(after), bounds, query.order));
        }
        let concerning = query.entity.map(|entity| self.concerning(entity, &query.types)).transpose()?;
        let of_request = query.request.map(|request| self.about_request(request)).transpose()?;
        let mut own: Vec<RoaringBitmap> = concerning.into_iter().chain(of_request).collect();
        if !query.mailboxes.is_empty() {
            own.push(mailbox::candidates(&self.state.read().views));
        }
        let mut keys = Vec::new();
        if !query.types.is_empty() {
            keys.push(query.types.iter().map(|event_type| Key::Type(*event_type as u16)).collect());
        }
        keys.extend(query.actor.map(|actor| vec![Key::Actor(actor)]));
        keys.extend(query.run.map(|run| vec![Key::Run(run)]));
        let policy = query.policy.as_ref().map(|policy| {
            let runs = runs_of_policy(&self.state.read().views, policy);
            let types =
                POLICY_TYPES.iter().chain(&GRANT_TYPES).chain(&PLAN_TYPES).map(|known| Key::Type(*known as u16));
            keys.push(runs.iter().copied().chain(types).collect());
            (policy.clone(), runs)
        });
        let (mailboxes, order) = (self.sought(&query.mailboxes)?, query.order);
        Ok(Search { own, keys, policy, mailboxes, order, bounds, steps: STEPS_MAX })
    }

    /// Finds the first event that was recorded at or after an instant: recorded-at never decreases along the log.
    fn first_recorded_at(&self, newest: Position, at: Timestamp) -> Result<Position, ReadError> {
        let (mut from, mut to) = (1, newest.0 + 1);
        while from < to {
            let middle = from + (to - from) / 2;
            if self.row(Position(middle))?.is_some_and(|row| row.recorded_at < at) {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        Ok(Position(from))
    }

    fn is_about_policy(&self, position: Position, policy: Option<&str>) -> Result<bool, ReadError> {
        let Some(policy) = policy else { return Ok(true) };
        let Some(recorded) = self.read(position)? else { return Ok(false) };
        let of_plan = |plan: PlanId| {
            self.state.read().views.small.plans.get(plan).is_some_and(|plan| plan.request.policy == policy)
        };
        Ok(match recorded.event() {
            Some(Event::PolicyRecorded(body)) => body.id == policy,
            Some(Event::ScheduleFired(body)) => body.policy == policy,
            Some(Event::ScheduleMissed(body)) => body.policy == policy,
            Some(Event::ReviewDecided(body)) => body.policy == policy,
            Some(Event::HoldPlaced(body)) => body.policies.iter().any(|held| held == policy),
            Some(Event::GrantRequested(body)) => body.policy == policy,
            Some(event) => match mailbox::Part::of(event) {
                mailbox::Part::Hold(hold) => {
                    let holds = &self.state.read().views.small.holds;
                    holds.get_placed(hold).is_some_and(|hold| hold.policies.contains(policy))
                }
                mailbox::Part::Grant(grant) => {
                    let grants = &self.state.read().views.small.grants;
                    grants.get(grant).is_some_and(|grant| grant.policy == policy)
                }
                mailbox::Part::Scope(scope) => scope == PauseScope::Policy(policy.to_owned()),
                mailbox::Part::Lifted(restriction, _) => {
                    let restrictions = &self.state.read().views.small.restrictions;
                    restrictions.get_placed(restriction).is_some_and(|placed| placed.policy() == Some(policy))
                }
                mailbox::Part::Saga(_)
                | mailbox::Part::Migration(_)
                | mailbox::Part::Entities(_)
                | mailbox::Part::Nothing => plan_of(position, event).is_some_and(of_plan),
            },
            None => false,
        })
    }

    /// Returns the positions of everything that concerns an entity; where only events of some types are asked for, the
    /// bodies of others are not read for it.
    fn concerning(&self, entity: EntityId, types: &[EventType]) -> Result<RoaringBitmap, ReadError> {
        let (entities, mut all) = (BTreeSet::from([entity]), RoaringBitmap::new());
        self.add_concerning(&entities, types, &mut all)?;
        if are_asked_for(types, &NAMING_RECORDS) {
            let mut naming = of_types(&self.state.read().views, &NAMING_RECORDS);
            // Nothing names it before it is there.
            naming.remove_range(..all.min().unwrap_or_default());
            self.add_naming(naming, |_, event| names(event, &entities), &mut all)?;
        }
        Ok(all)
    }

    /// Adds, of some events in their order, those that are meant, and those that end what these or others began.
    fn add_naming(
        &self,
        candidates: RoaringBitmap,
        is_meant: impl Fn(Position, &Event) -> bool,
        all: &mut RoaringBitmap,
    ) -> Result<(), ReadError> {
        for number in candidates {
            self.halt.check()?;
            let position = Position(u64::from(number));
            let recorded = self.read(position)?;
            let Some(event) = recorded.as_ref().and_then(|recorded| recorded.event()) else { continue };
            if is_meant(position, event) || began(event).is_some_and(|begun| all.contains(low(begun))) {
                all.insert(number);
            }
        }
        Ok(())
    }

    /// Adds the positions of everything that concerns entities, as far as events of these types are asked for: of all, if
    /// there are none.
    fn add_concerning(
        &self,
        entities: &BTreeSet<EntityId>,
        types: &[EventType],
        all: &mut RoaringBitmap,
    ) -> Result<(), ReadError> {
        let mut sagas = BTreeSet::new();
        for entity in entities {
            self.halt.check()?;
            self.add_stream(*entity, all, &mut sagas)?;
        }
        if !are_asked_for(types, SAGA_TYPES.iter().chain(&BUNDLE_TYPES).chain(&BESIDE_SAGAS)) {
            return Ok(());
        }
        {
            // Looked for in the smaller of both: the writer waits for this.
            let left_alone = |saga: &Saga| match saga.skipped.len() < entities.len() {
                true => saga.skipped.keys().any(|entity| entities.contains(entity)),
                false => entities.iter().any(|entity| saga.skipped.contains_key(entity)),
            };
            let views = &self.state.read().views;
            sagas.extend(views.small.runs.sagas().filter(|(_, saga)| left_alone(saga)).map(|(id, _)| id));
        }
        self.add_by_beginning(entities, &mut sagas)?;
        sagas.iter().try_for_each(|saga| self.add_saga(*saga, all))?;
        self.add_bundles(&sagas, all)
    }

    /// Notes the sagas that took some of these entities and are over, and left no key destroyed that tells of them: those
    /// that were undone, and those that ended a use, for another may have ended it since. Only their beginning tells.
    fn add_by_beginning(&self, entities: &BTreeSet<EntityId>, sagas: &mut BTreeSet<SagaId>) -> Result<(), ReadError> {
        let over: Vec<SagaId> = {
            let views = &self.state.read().views;
            let is_meant = |saga: &Saga| match saga.end {
                Some(SagaEnd::Completed) => saga.started.script == ScriptKind::Restrict,
                Some(SagaEnd::Compensated | SagaEnd::Stuck) => true,
                None => false,
            };
            views.small.runs.sagas().filter(|(_, saga)| is_meant(saga)).map(|(id, _)| id).collect()
        };
        for id in over {
            self.halt.check()?;
            if let Some(Event::SagaStarted(body)) = self.read(id.0)?.as_ref().and_then(|recorded| recorded.event())
                && body.items.iter().any(|item| entities.contains(&item.entity))
            {
                sagas.insert(id);
            }
        }
        Ok(())
    }

    /// Adds the events of an entity, and the holds that cover it or caught it; and notes the sagas that took it.
    fn add_stream(
        &self,
        entity: EntityId,
        all: &mut RoaringBitmap,
        sagas: &mut BTreeSet<SagaId>,
    ) -> Result<(), ReadError> {
        let mut at = {
            let views = &self.state.read().views;
            sagas.extend(views.small.runs.saga_of_entity(entity).map(|(id, _)| id));
            sagas.extend(views.small.restrictions.saga_of(entity));
            all.extend(views.holds_of(entity).iter().map(|hold| low(hold.0)));
            let filters = views.small.holds.all().filter(|(_, hold)| hold.caught(entity));
            all.extend(filters.map(|(id, _)| low(id.0)));
            views.entities.last_event(entity)
        };
        while at != Position::NONE {
            let Some(row) = self.row(at)?.filter(|row| row.entity == Some(entity)) else { break };
            all.insert(low(at));
            if row.event_type == EventType::KeyDestroyed as u16
                && let Some(Event::KeyDestroyed(body)) = self.read(at)?.as_ref().and_then(|recorded| recorded.event())
            {
                sagas.insert(body.saga);
            }
            if row.previous >= at {
                break;
            }
            at = row.previous;
        }
        Ok(())
    }

    /// Adds the events of a saga, from its start to its end, what its run and plan began with, and who got a copy of its
    /// bundle.
    fn add_saga(&self, id: SagaId, all: &mut RoaringBitmap) -> Result<(), ReadError> {
        let steps: Vec<u32> = {
            let views = &self.state.read().views;
            let Some(saga) = views.small.runs.saga(id) else { return Ok(()) };
            let run = saga.started.run;
            all.insert(low(run.0));
            all.extend(views.small.runs.run(run).map(|run| low(run.plan.0)));
            all.extend(saga.handed_over.iter().map(|position| low(*position)));
            let Some(of_run) = views.index.get(Key::Run(run)) else { return Ok(()) };
            (of_types(views, &SAGA_TYPES) & of_run).range(low(id.0)..).take(SAGA_EVENTS_MAX).collect()
        };
        for position in steps {
            let recorded = self.read(Position(u64::from(position)))?;
            let Some(event) = recorded.as_ref().and_then(|recorded| recorded.event()) else { continue };
            let (of, is_end) = match event {
                Event::SagaStarted(_) => (SagaId(Position(u64::from(position))), false),
                Event::StepStarted(body) => (body.saga, false),
                Event::StepSucceeded(body) => (body.saga, false),
                Event::StepFailed(body) => (body.saga, false),
                Event::ItemsSkipped(body) => (body.saga, false),
                Event::SagaEnded(body) => (body.saga, true),
                _ => continue,
            };
            if of == id {
                all.insert(position);
                if is_end {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Adds what became of the bundles of sagas. Those of a run go together, so all that is said of them is read once,
    /// however many of its sagas are meant.
    fn add_bundles(&self, sagas: &BTreeSet<SagaId>, all: &mut RoaringBitmap) -> Result<(), ReadError> {
        let said = {
            let views = &self.state.read().views;
            let begun = sagas.iter().filter_map(|id| views.small.runs.saga(*id)).filter(|saga| saga.bundle.is_some());
            let runs: BTreeSet<RunId> = begun.map(|saga| saga.started.run).collect();
            let of_bundles = of_types(views, &BUNDLE_TYPES);
            let of_runs = runs.into_iter().filter_map(|run| views.index.get(Key::Run(run)));
            of_runs.map(|set| &of_bundles & set).fold(RoaringBitmap::new(), |all, part| all | part)
        };
        for number in said {
            self.halt.check()?;
            let recorded = self.read(Position(u64::from(number)))?;
            let of = recorded.as_ref().and_then(|recorded| recorded.event()).map(mailbox::Part::of);
            if matches!(of, Some(mailbox::Part::Saga(of)) if sagas.contains(&of)) {
                all.insert(number);
            }
        }
        Ok(())
    }
}

/// Event types that name records by number, also of such as are gone by now, and those that end what these began.
const NAMING_RECORDS: [EventType; 6] = [
    EventType::HoldPlaced,
    EventType::HoldReleased,
    EventType::RestrictionPlaced,
    EventType::EntitiesRestricted,
    EventType::RestrictionLifted,
    EventType::ReviewDecided,
];

/// Says whether an event names one of some records.
fn names(event: &Event, records: &BTreeSet<EntityId>) -> bool {
    let any = |named: &[EntityId]| named.iter().any(|entity| records.contains(entity));
    match event {
        Event::HoldPlaced(body) => any(&body.entities),
        Event::RestrictionPlaced(body) => any(&body.entities),
        Event::EntitiesRestricted(body) => any(&body.entities),
        Event::RestrictionLifted(body) => any(&body.entities),
        Event::ReviewDecided(body) => body.items.iter().any(|item| records.contains(&item.entity)),
        _ => false,
    }
}

/// Returns what an event ends as a whole: a hold, or a restriction.
fn began(event: &Event) -> Option<Position> {
    match event {
        Event::HoldReleased(body) => Some(body.hold.0),
        Event::RestrictionLifted(body) if body.entities.is_empty() => Some(body.restriction.0),
        _ => None,
    }
}

/// Returns the plan that an event names, or begins.
fn plan_of(position: Position, event: &Event) -> Option<PlanId> {
    match event {
        Event::PlanRequested(_) | Event::ErasurePlanRequested(_) => Some(PlanId(position)),
        Event::PlanItems(body) => Some(body.plan),
        Event::PlanFrozen(body) => Some(body.plan),
        Event::PlanRefused(body) => Some(body.plan),
        Event::PlanApproved(body) => Some(body.plan),
        Event::PlanRejected(body) => Some(body.plan),
        Event::PlanReviewed(body) => Some(body.plan),
        _ => None,
    }
}

/// Says whether whoever asks for events of these types, or of all if there are none, asks for some of others.
fn are_asked_for<'t>(types: &[EventType], others: impl IntoIterator<Item = &'t EventType>) -> bool {
    types.is_empty() || others.into_iter().any(|other| types.contains(other))
}

/// Returns the positions of all events of these types.
fn of_types<'t>(views: &Views, types: impl IntoIterator<Item = &'t EventType>) -> RoaringBitmap {
    let sets = types.into_iter().filter_map(|known| views.index.get(Key::Type(*known as u16)));
    sets.fold(RoaringBitmap::new(), |all, set| all | set)
}

fn runs_of_policy(views: &Views, policy: &str) -> Vec<Key> {
    let is_under = |plan: PlanId| views.small.plans.get(plan).is_some_and(|plan| plan.request.policy == policy);
    views.small.runs.iter().filter(|(_, run)| is_under(run.plan)).map(|(id, _)| Key::Run(id)).collect()
}

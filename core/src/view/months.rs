//! The months of the log that have a key of their own, and what each is still needed for.
//!
//! What people wrote in a month is erased with its key. As long as something is open that was begun in it, the reasons
//! and names of that are needed, and the month is kept.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use super::restrictions::{Cause, Restricting};
use super::{RunState, Small, Views};
use crate::event::Envelope;
use crate::event::erasure::KeyDestroyed;
use crate::event::operation::MonthBegun;
use crate::event::review::ReviewVerdict;
use crate::id::{EntityId, Position, RunId};
use crate::time::Timestamp;

/// One month with a key of its own.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AuditMonth {
    /// Its first instant.
    pub begins_at: Timestamp,
    /// The first instant of the next.
    pub ends_at: Timestamp,
    /// When it got its key.
    pub begun_at: Timestamp,
    /// Where that stands in the log.
    pub begun: Position,
    /// The newest event with texts under that key.
    pub last: Position,
    /// When that key was destroyed, and by which run; `None` for the run when it was left out of a restored store.
    pub erased: Option<(Timestamp, Option<RunId>)>,
}

/// All of them. A month can have two: if its key was destroyed while it lasted, it got another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct AuditMonths {
    all: BTreeMap<EntityId, AuditMonth>,
}

impl AuditMonths {
    /// Returns a month.
    #[must_use]
    pub fn get(&self, month: EntityId) -> Option<&AuditMonth> {
        self.all.get(&month)
    }

    /// Goes through all months, as they got their keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (EntityId, &AuditMonth)> {
        self.all.iter().map(|(entity, month)| (*entity, month))
    }

    /// Returns the month that lasts at an instant and whose key is there.
    #[must_use]
    pub fn at(&self, at: Timestamp) -> Option<EntityId> {
        let lasts = |month: &AuditMonth| (month.begins_at..month.ends_at).contains(&at) && month.erased.is_none();
        self.iter().rev().find(|(_, month)| lasts(month)).map(|(entity, _)| entity)
    }

    pub(super) fn begun(&mut self, entity: EntityId, envelope: &Envelope, body: &MonthBegun) {
        let month = AuditMonth {
            begins_at: body.begins_at,
            ends_at: body.ends_at,
            begun_at: envelope.recorded_at,
            begun: envelope.position,
            last: envelope.position,
            erased: None,
        };
        self.all.insert(entity, month);
    }

    pub(super) fn written(&mut self, month: EntityId, position: Position) {
        if let Some(month) = self.all.get_mut(&month) {
            month.last = position;
        }
    }

    pub(super) fn destroyed(&mut self, entity: EntityId, at: Timestamp, by: Option<&KeyDestroyed>) {
        if let Some(month) = self.all.get_mut(&entity) {
            month.erased.get_or_insert((at, by.map(|body| body.run)));
        }
    }
}

impl Views {
    /// Returns the month by whose key the texts of an event were sealed and erased: when, and under which policy, as
    /// far as that is known.
    #[must_use]
    pub fn texts_erased(&self, month: EntityId) -> Option<(Timestamp, Option<&str>)> {
        let (at, run) = self.small.months.get(month)?.erased?;
        let plan = run.and_then(|run| self.small.runs.run(run)).and_then(|run| self.small.plans.get(run.plan));
        Some((at, plan.and_then(|plan| plan.frozen.as_ref()).map(|frozen| frozen.policy.as_str())))
    }

    /// Returns what keeps a month of the log: where it stands that something was begun which is not over.
    #[must_use]
    pub fn month_needed(&self, month: EntityId) -> Option<Position> {
        self.month_needed_at(month, self.recorded_at)
    }

    /// Returns what keeps a month of the log at an instant.
    #[must_use]
    pub fn month_needed_at(&self, month: EntityId, now: Timestamp) -> Option<Position> {
        let AuditMonth { begun, last, .. } = self.small.months.get(month)?;
        let alone = open_alone(&self.small, now).filter(|position| (begun..=last).contains(&position));
        // More is written of these as they go on, so they keep every month from the one on in which they were begun.
        let going_on = open_going_on(&self.small).filter(|position| position <= last);
        // Of a run that is stuck, who accepted its plan, and with which word, stands between the two.
        let stuck = self.small.runs.iter().filter(|(_, run)| run.state == RunState::Stuck);
        let stuck = stuck.filter(|(RunId(asked), run)| run.plan.0 <= *last && *begun <= *asked);
        alone.chain(stuck.map(|(_, run)| run.plan.0)).chain(going_on).min()
    }
}

/// What is open and of which everything was written when it was begun.
fn open_alone(small: &Small, now: Timestamp) -> impl Iterator<Item = Position> {
    let holds = small.holds.in_force(now).map(|(id, _)| id.0);
    // What a policy restricted was asked for by nobody, so nothing was written about it.
    let by_person = |it: &Restricting| it.lifted_at.is_none() && matches!(it.cause, Cause::Person(..));
    let restrictions = small.restrictions.all().filter(move |(_, it)| by_person(it)).map(|(id, _)| id.0);
    let keeps = move |verdict: &ReviewVerdict| matches!(verdict, ReviewVerdict::Keep { until } if now < *until);
    let reviews = small.reviews.iter().filter(move |(_, review)| keeps(&review.verdict)).map(|(id, _)| id.0);
    // However its request was answered.
    let excepted = small.subjects.iter().flat_map(|(_, request)| &request.exceptions);
    let excepted = excepted.filter(|(_, exception)| exception.ended_at.is_none()).map(|(position, _)| *position);
    holds.chain(restrictions).chain(reviews).chain(excepted)
}

/// What is open and is written about as it goes on.
fn open_going_on(small: &Small) -> impl Iterator<Item = Position> {
    let requests = small.subjects.iter().filter(|(_, request)| request.is_live()).map(|(id, _)| id.0);
    let grants = small.grants.open().map(|(id, _)| id.0);
    let migrations = small.migrations.open().map(|(id, _)| id.0);
    let goes_on = |state| match state {
        RunState::Requested | RunState::Running | RunState::Paused | RunState::Cancelling => true,
        RunState::Refused | RunState::Completed | RunState::Cancelled | RunState::Stuck => false,
    };
    let runs = small.runs.iter().filter(move |(_, run)| goes_on(run.state)).map(|(_, run)| run.plan.0);
    requests.chain(grants).chain(migrations).chain(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::decision::{RunEnd, RunEnded, RunRequested};
    use crate::event::{Actor, Event, EventType, stream_of_daemon};
    use crate::id::{Digest, PlanId};

    fn envelope(position: u64) -> Envelope {
        Envelope {
            event_type: EventType::RunRequested as u16,
            schema: 1,
            sealed: false,
            position: Position(position),
            recorded_at: Timestamp(0),
            occurred_at: Timestamp(0),
            stream: stream_of_daemon(),
            actor: Actor::Daemon,
            cause: Position::NONE,
            entity: None,
            texts: None,
            body_len: 0,
            body_digest: Digest([0; 32]),
        }
    }

    #[test]
    fn a_run_that_is_stuck_keeps_every_month_from_its_plan_to_its_request() {
        let mut views = Views::default();
        for month in 1..=5 {
            let begun = MonthBegun { begins_at: Timestamp(0), ends_at: Timestamp(1) };
            views.small.months.begun(EntityId(month), &envelope(u64::from(month) * 10), &begun);
            views.small.months.written(EntityId(month), Position(u64::from(month) * 10 + 9));
        }
        let needed = |views: &Views| [1, 2, 3, 4, 5].map(|month| views.month_needed(EntityId(month)).map(|by| by.0));
        assert_eq!(needed(&views), [None; 5]);
        // Planned in the second month and asked for in the fourth: it was accepted in between.
        let (plan, run) = (PlanId(Position(25)), RunId(Position(45)));
        views.small.runs.fold(
            &envelope(45),
            &Event::RunRequested(RunRequested { plan, digest: Digest([7; 32]) }),
            false,
        );
        assert_eq!(needed(&views), [None, Some(25), Some(25), Some(25), Some(25)], "it goes on");
        let end = |end| Event::RunEnded(RunEnded { run, end, purged: 0, skipped: 0 });
        views.small.runs.fold(&envelope(48), &end(RunEnd::Stuck), false);
        assert_eq!(needed(&views), [None, Some(25), Some(25), Some(25), None]);
        views.small.runs.fold(&envelope(58), &end(RunEnd::Completed), false);
        assert_eq!(needed(&views), [None; 5]);
    }
}

//! Schedule: asks for plans when their time comes, and for the run of scheduled plans once they may run.
//!
//! It only triggers. What is due never depends on when the daemon woke.

use std::collections::BTreeMap;
use std::sync::Arc;

use retention_core::event::decision::{PlanPurpose, PlanRequested, RunRequested, ScheduleFired, ScheduleMissed};
use retention_core::event::subject::ErasurePlanRequested;
use retention_core::event::{Actor, Draft, Event, stream_of_daemon};
use retention_core::id::{EntityId, Position, RequestId};
use retention_core::plan::SCHEDULED_PLAN_US;
use retention_core::policy::{Decision, OnMissed, Outcome, Policy, State, Trigger};
use retention_core::schedule::Schedule as Cron;
use retention_core::time::Timestamp;
use retention_core::view::{Condition, ErasurePlan, Look, PlanState, RunState};

use super::{StageError, Step, sooner};
use crate::clock::Clock;
use crate::store::{AppendError, Store};

/// A time that passed longer ago than this was missed, not merely served late: one minute, in microseconds.
const LATE_US: i64 = 60 * 1_000_000;

/// A time of a schedule that was dealt with is at most so far ahead of the clock, unless the clock was ahead when that
/// happened: a day, in microseconds. By what lies closer no policy waits for longer.
const AHEAD_US: i64 = 24 * 60 * 60 * 1_000_000;

/// How often is looked whether what keeps records of erasures passed unseen: an hour, in microseconds.
const LOOK_US: i64 = 60 * 60 * 1_000_000;

/// The stage.
pub struct Schedule {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    /// When everything that keeps records of erasures was last looked at.
    looked_everywhere_at: Option<Timestamp>,
    /// What seemed to be free and was judged not to be, since then.
    not_due: BTreeMap<RequestId, Vec<EntityId>>,
    /// From when on the schedules of policies count of which the log says that a time far ahead was dealt with.
    set_back: BTreeMap<String, Timestamp>,
}

impl Schedule {
    /// Works on a store.
    #[must_use]
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, looked_everywhere_at: None, not_due: BTreeMap::new(), set_back: BTreeMap::new() }
    }

    /// Deals with every schedule whose time has come, and with scheduled plans that may run.
    ///
    /// # Errors
    /// When the log does not take the events.
    pub fn step(&mut self) -> Result<Step, StageError> {
        let now = self.clock.now();
        let policies = self.store.policies();
        let activated_at = self.store.view(|views| {
            (views.small.policies.digest == Some(policies.digest())).then_some(views.small.policies.activated_at)
        });
        let Some(activated_at) = activated_at else { return Ok(Step::Idle) };
        let mut worked = self.request_runs(now)?;
        worked |= self.request_erasure_plans(now)?;
        let mut next: Option<Timestamp> = self.store.view(|views| views.next_erasure_after(now));
        if self.store.view(|views| views.has_kept_erasures()) {
            let again = Timestamp(now.0.saturating_add(LOOK_US));
            next = Some(sooner(next, again));
        }
        for policy in policies.policies().iter().filter(|policy| policy.state == State::Enforce) {
            let Trigger::Cron { schedule, on_missed } = &policy.trigger else { continue };
            let last = self.store.view(|views| views.small.schedules.dealt_with_until(&policy.id, now));
            let last = self.counts_from(&policy.id, last.unwrap_or(activated_at), now);
            if let Some(at) = schedule.next_after(last) {
                let jitter_us = policy.timing.jitter_us(&policy.id, at);
                let put_off = Timestamp(at.0.saturating_add(jitter_us));
                if put_off <= now {
                    // What is put off is not late.
                    self.fire(policy, schedule, *on_missed, last, Timestamp(now.0.saturating_sub(jitter_us)))?;
                    worked = true;
                } else {
                    next = Some(sooner(next, put_off));
                }
            }
        }
        Ok(match (worked, next) {
            (true, _) => Step::Worked,
            (false, Some(at)) => Step::IdleUntil(at),
            (false, None) => Step::Idle,
        })
    }

    /// Returns from when on the times of a schedule count, where the log says which was dealt with last. One that is far ahead
    /// was dealt with by a clock that was: the policy must not wait until the right one has caught up. Then only those
    /// count that come from now on.
    fn counts_from(&mut self, policy: &str, last: Timestamp, now: Timestamp) -> Timestamp {
        if last.0.saturating_sub(now.0) <= AHEAD_US {
            self.set_back.remove(policy);
            return last;
        }
        let since = self.set_back.entry(policy.to_owned()).or_insert(now);
        *since = now.min(*since);
        *since
    }

    fn fire(
        &self,
        policy: &Policy,
        schedule: &Cron,
        on_missed: OnMissed,
        last: Timestamp,
        now: Timestamp,
    ) -> Result<(), StageError> {
        let Some(missed) = schedule.missed(last, now) else { return Ok(()) };
        let is_late = now.0.saturating_sub(missed.last_at.0) > LATE_US;
        let catch_up = is_late || missed.count > 1;
        let mut events = Vec::new();
        if catch_up {
            events.push(Event::ScheduleMissed(ScheduleMissed {
                policy: policy.id.clone(),
                first_at: missed.first_at,
                last_at: missed.last_at,
                count: missed.count,
            }));
        }
        if !is_late || on_missed == OnMissed::RunOnce {
            events.push(Event::ScheduleFired(ScheduleFired {
                policy: policy.id.clone(),
                nominal_at: missed.last_at,
                catch_up,
            }));
            events.push(Event::PlanRequested(PlanRequested {
                policy: policy.id.clone(),
                purpose: PlanPurpose::Run,
                as_of: None,
            }));
        }
        self.store.append_drafts(events.into_iter().map(|e| draft(Position::NONE, e)).collect(), Condition::None)?;
        Ok(())
    }

    /// Asks for the plans of erasures: when it is known which records they are about, and again when what kept some of
    /// them has gone away. Each plan needs a person all the same.
    fn request_erasure_plans(&mut self, now: Timestamp) -> Result<bool, StageError> {
        let is_time = self.looked_everywhere_at.is_none_or(|at| now < at || now.0.saturating_sub(at.0) >= LOOK_US);
        let look = if is_time { Look::Everywhere } else { Look::AtTheLog };
        if is_time {
            self.looked_everywhere_at = Some(now);
            self.not_due.clear();
        }
        let mut worked = false;
        for (request, wanted) in self.store.view(|views| views.erasures_to_plan(now, look)) {
            if !self.is_plan_needed(request, &wanted, now)? {
                continue;
            }
            let event = Event::ErasurePlanRequested(ErasurePlanRequested { request });
            match self.store.append_drafts(vec![draft(request.0, event)], Condition::RequestLive(request)) {
                Ok(_) => worked = true,
                // It was completed in this very moment.
                Err(AppendError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(worked)
    }

    /// Judges what seems to be free before a plan is asked for, so that nothing is planned again and again.
    fn is_plan_needed(&mut self, id: RequestId, wanted: &ErasurePlan, now: Timestamp) -> Result<bool, StageError> {
        let ErasurePlan::IfDue(records) = wanted else { return Ok(true) };
        if self.not_due.get(&id) == Some(records) {
            return Ok(false);
        }
        let subjects = self.store.subjects(records);
        let decisions = self.store.decide_all_asked(id, &subjects, now)?;
        let is_due = |decision: &Decision| matches!(decision.outcome, Outcome::Due { .. });
        let is_needed = decisions.iter().flatten().any(is_due);
        if !is_needed {
            self.not_due.insert(id, records.clone());
        }
        Ok(is_needed)
    }

    /// A scheduled plan runs as soon as it may: at once, or when enough persons have accepted it.
    fn request_runs(&self, now: Timestamp) -> Result<bool, StageError> {
        let ready = self.store.view(|views| {
            let is_asked_for = |plan| {
                views.small.runs.iter().rev().any(|(_, run)| run.plan == plan && run.state == RunState::Requested)
            };
            let small = &views.small;
            small
                .plans
                .iter()
                .rev()
                .take_while(|(_, plan)| now.0.saturating_sub(plan.requested_at.0) < SCHEDULED_PLAN_US)
                .filter(|(_, plan)| plan.requested_by.is_none() || plan.erases.is_some())
                .filter(|(_, plan)| plan.state(now) == PlanState::Ready)
                .filter(|(id, _)| !is_asked_for(*id))
                .filter(|(id, _)| !small.runs.iter().any(|(_, run)| run.plan == *id && run.state == RunState::Refused))
                .filter_map(|(id, plan)| plan.digest().map(|digest| (id, digest)))
                .collect::<Vec<_>>()
        });
        for (plan, digest) in &ready {
            let event = Event::RunRequested(RunRequested { plan: *plan, digest: *digest });
            match self.store.append_drafts(vec![draft(plan.0, event)], Condition::PlanUnused(*plan)) {
                // Refused, or run by somebody, in this very moment: the next look sees it.
                Ok(_) | Err(AppendError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(!ready.is_empty())
    }
}

fn draft(cause: Position, event: Event) -> Draft {
    Draft { stream: stream_of_daemon(), entity: None, actor: Actor::Schedule, cause, occurred_at: None, event }
}

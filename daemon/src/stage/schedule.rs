//! Schedule: asks for plans when their time comes, and for the run of scheduled plans once they may run.
//!
//! It only triggers. What is due never depends on when the daemon woke.

use std::sync::Arc;

use retention_core::event::decision::{PlanPurpose, PlanRequested, RunRequested, ScheduleFired, ScheduleMissed};
use retention_core::event::subject::ErasurePlanRequested;
use retention_core::event::{Actor, Draft, Event, stream_of_daemon};
use retention_core::id::Position;
use retention_core::policy::{OnMissed, Policy, State, Trigger};
use retention_core::schedule::Schedule as Cron;
use retention_core::time::Timestamp;
use retention_core::view::{Condition, PlanState, RunState};

use super::{StageError, Step};
use crate::clock::Clock;
use crate::store::{AppendError, Store};

/// A time that passed longer ago than this was missed, not merely served late: one minute, in microseconds.
const LATE_US: i64 = 60 * 1_000_000;

/// The stage.
pub struct Schedule {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
}

impl Schedule {
    /// Works on a store.
    #[must_use]
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
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
        for policy in policies.policies().iter().filter(|policy| policy.state == State::Enforce) {
            let Trigger::Cron { schedule, on_missed } = &policy.trigger else { continue };
            let last = self.store.view(|views| views.small.schedules.last(&policy.id)).unwrap_or(activated_at);
            if let Some(at) = schedule.next_after(last) {
                let jitter_us = policy.timing.jitter_us(&policy.id, at);
                let put_off = Timestamp(at.0.saturating_add(jitter_us));
                if put_off <= now {
                    // What is put off is not late.
                    self.fire(policy, schedule, *on_missed, last, Timestamp(now.0.saturating_sub(jitter_us)))?;
                    worked = true;
                } else {
                    next = Some(next.map_or(put_off, |next| next.min(put_off)));
                }
            }
        }
        Ok(match (worked, next) {
            (true, _) => Step::Worked,
            (false, Some(at)) => Step::IdleUntil(at),
            (false, None) => Step::Idle,
        })
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
    fn request_erasure_plans(&self, now: Timestamp) -> Result<bool, StageError> {
        let wanted = self.store.view(|views| views.erasures_to_plan(now));
        for request in &wanted {
            let event = Event::ErasurePlanRequested(ErasurePlanRequested { request: *request });
            match self.store.append_drafts(vec![draft(request.0, event)], Condition::RequestLive(*request)) {
                // It was completed in this very moment.
                Ok(_) | Err(AppendError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(!wanted.is_empty())
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
            self.store.append_drafts(vec![draft(plan.0, event)], Condition::PlanUnused(*plan))?;
        }
        Ok(!ready.is_empty())
    }
}

/// A scheduled plan that nobody accepted for this long is left alone: 60 days, in microseconds.
const SCHEDULED_PLAN_US: i64 = 60 * 24 * 60 * 60 * 1_000_000;

fn draft(cause: Position, event: Event) -> Draft {
    Draft { stream: stream_of_daemon(), entity: None, actor: Actor::Schedule, cause, occurred_at: None, event }
}

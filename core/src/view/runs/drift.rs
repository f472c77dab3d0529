//! Drift: how much of what a run was to carry out is not any more as it was planned.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{RunState, Runs, Saga};
use crate::event::Event;
use crate::event::decision::PlanPurpose;
use crate::event::saga::SkipReason;
use crate::id::{RunId, SagaId};
use crate::time::Timestamp;
use crate::view::small::Small;

/// How many items a run looked at, and how many of them it left alone because they had changed since they were planned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
pub struct Drift {
    /// The items that it looked at.
    pub looked_at: u64,
    /// Those of them that changed, came under a hold or a restriction, or were no longer due.
    pub drifted: u64,
}

impl Drift {
    pub(super) fn of(saga: &Saga) -> Self {
        Self { looked_at: saga.started.items.len() as u64, drifted: saga.drifted }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self { looked_at: self.looked_at + other.looked_at, drifted: self.drifted + other.drifted }
    }
}

/// Says whether an item that is left alone is not as it was planned. What a person took out of the run, or another run
/// already has, is as it was; what is gone can neither be purged by mistake nor be planned anew.
pub(super) fn is_drift(reason: SkipReason) -> bool {
    match reason {
        SkipReason::Changed | SkipReason::Held | SkipReason::Restricted | SkipReason::NotDue => true,
        SkipReason::Gone | SkipReason::Restored | SkipReason::InAnotherRun => false,
    }
}

impl Runs {
    /// Returns the drift that counts before the next step of a saga that is not past its pivot.
    ///
    /// All sagas of a run look at their items when they begin, and each looks again when its quarantine is over. So after
    /// that a saga is counted with those that looked again as well: the others would only hide what changed meanwhile.
    #[must_use]
    pub fn drift_before(&self, id: SagaId) -> Option<Drift> {
        let saga = self.saga(id)?;
        let run = self.run(saga.started.run)?;
        Some(match saga.quarantine_until() {
            None => Drift { looked_at: run.taken, drifted: run.drifted },
            Some(_) => run.looked_again.and(Drift::of(saga)),
        })
    }

    /// What a mail server withholds is as it was planned, and will be the next time: what this attempt left alone is no drift.
    pub(super) fn withheld(&mut self, id: SagaId) {
        let Some(saga) = self.sagas.get_mut(&id) else { return };
        let since_begun = saga.skipped.iter().filter(|(entity, _)| saga.not_exported.binary_search(entity).is_err());
        let withheld = since_begun.filter(|(_, reason)| **reason == SkipReason::Changed).count() as u64;
        saga.drifted = saga.drifted.saturating_sub(withheld);
        let run = saga.started.run;
        self.with_run(run, |run| run.drifted = run.drifted.saturating_sub(withheld));
    }

    /// Counts a saga among those that are past their pivot, or over, if it was not counted before.
    pub(super) fn looked_again(&mut self, id: SagaId) {
        let Some(saga) = self.sagas.get(&id).filter(|saga| !saga.has_looked_again()) else { return };
        let (run, drift) = (saga.started.run, Drift::of(saga));
        self.with_run(run, |run| run.looked_again = run.looked_again.and(drift));
    }
}

impl Small {
    /// Goes through the runs that ended because of drift and after which nobody has asked for a new plan of their policy
    /// yet, oldest first.
    pub fn runs_to_plan_anew(&self) -> impl Iterator<Item = (RunId, Drift)> {
        self.runs.iter().filter_map(|(id, run)| {
            let drift = run.stopped.filter(|_| run.state == RunState::Cancelled)?;
            let (policy, ended_at) = (self.plans.get(run.plan)?.request.policy.as_str(), run.ended_at?);
            let is_active = self.policies.policies.iter().any(|active| active.id == policy);
            let newer =
                self.plans.iter().rev().take_while(|(id, plan)| *id > run.plan && plan.requested_at >= ended_at);
            let mut anew = newer.filter(|(_, plan)| plan.request.purpose == PlanPurpose::Run);
            let is_planned = anew.any(|(_, plan)| plan.request.policy == policy);
            (is_active && !is_planned).then_some((id, drift))
        })
    }

    /// Says whether items are left alone because their run has no access to the mailbox: they are as they were planned.
    /// What says so is that a saga leaves alone all that it has, after the access that its run had asked for was over.
    pub(in crate::view) fn lacks_access(&self, event: &Event, at: Timestamp) -> bool {
        let Event::ItemsSkipped(body) = event else { return false };
        let Some(saga) = self.runs.saga(body.saga) else { return false };
        let is_all = body.items.len() == saga.open_items().count()
            && body.items.iter().all(|(_, reason)| *reason == SkipReason::NotDue);
        let mut newest_first = self.grants.of_run(saga.started.run).rev();
        let newest = newest_first.find(|(_, grant)| Some(grant.mailbox) == saga.started.mailbox);
        is_all && newest.is_some_and(|(_, grant)| !grant.is_on(at))
    }
}

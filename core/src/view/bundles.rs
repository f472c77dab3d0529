//! Bundles that do not stay: whose, from when on, and what forbids it.

use super::{BundleState, Condition, Conflict, Plan, Saga, SubjectRequest, Views};
use crate::event::saga::{Receipt, SagaEnd, Step};
use crate::id::{Digest, EntityId, RequestId, SagaId};
use crate::time::Timestamp;

/// A bundle of a saga that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bundle {
    /// The saga that wrote it.
    pub saga: SagaId,
    /// SHA-256 of its manifest.
    pub manifest: Digest,
    /// When it was written.
    pub exported_at: Timestamp,
    /// Whether its destruction was begun.
    pub is_begun: bool,
}

impl Bundle {
    /// Returns the bundle of a saga, if it is over and its bundle is there.
    fn of(id: SagaId, saga: &Saga) -> Option<Self> {
        let is_over = matches!(saga.end, Some(SagaEnd::Completed | SagaEnd::Stuck));
        let is_begun = match saga.bundle {
            None => false,
            Some(BundleState::BeingDestroyed) => true,
            Some(BundleState::Destroyed(_)) => return None,
        };
        match saga.receipt(Step::Export) {
            Some(Receipt::Exported { manifest, exported_at, .. }) if is_over => {
                Some(Self { saga: id, manifest: *manifest, exported_at: *exported_at, is_begun })
            }
            _ => None,
        }
    }
}

impl Views {
    /// Returns the bundles whose data subject has the answer, with the request: their copies have no purpose any more.
    #[must_use]
    pub fn bundles_answered(&self) -> Vec<(RequestId, Bundle)> {
        let ended = self.small.subjects.iter().filter(|(_, request)| request.ended.is_some());
        ended.flat_map(|(id, request)| self.bundles_of(request).map(move |bundle| (id, bundle))).collect()
    }

    /// Goes through the bundles that policies had written, with the plan under which.
    pub fn bundles_of_policies(&self) -> impl Iterator<Item = (&Plan, Bundle)> {
        self.small.runs.sagas().filter_map(|(id, saga)| {
            let bundle = Bundle::of(id, saga)?;
            let plan = self.plan_of_saga(saga)?;
            plan.erases.is_none().then_some((plan, bundle))
        })
    }

    /// Returns how many bundles hold copies of what a request erased.
    #[must_use]
    pub fn bundles_left(&self, request: &SubjectRequest) -> u64 {
        self.bundles_of(request).count() as u64
    }

    fn bundles_of(&self, request: &SubjectRequest) -> impl Iterator<Item = Bundle> {
        let runs = request.plans.iter().filter_map(|plan| self.small.runs.run(self.small.plans.get(*plan)?.run?));
        runs.flat_map(|run| &run.sagas).filter_map(|id| Bundle::of(*id, self.small.runs.saga(*id)?))
    }

    fn plan_of_saga(&self, saga: &Saga) -> Option<&Plan> {
        self.small.plans.get(self.small.runs.run(saga.started.run)?.plan)
    }

    /// Says whether a bundle may be destroyed that holds copies of some entities: nobody waits for an answer, no hold
    /// covers what is left in it alone, and purges are believed to be right at all.
    pub(super) fn may_destroy_bundle(&self, saga: SagaId, copies_of: &[EntityId]) -> Result<(), Conflict> {
        Condition::NotObserving.check(self)?;
        if self.small.clock.doubt().is_some() {
            return Err(Conflict::Clock);
        }
        let view = self.small.runs.saga(saga).ok_or(Conflict::Bundle)?;
        let plan = self.plan_of_saga(view).ok_or(Conflict::Bundle)?;
        if self.small.pauses.covers_policy(&plan.request.policy) {
            return Err(Conflict::Paused);
        }
        let has_answer = |id: RequestId| self.small.subjects.get(id).is_some_and(|request| request.ended.is_some());
        let is_held = |entity: &EntityId| self.is_gone(*entity) && !self.holds_of(*entity).is_empty();
        let is_policy_held = !self.holds_of_policy(&plan.request.policy).is_empty();
        let may_go = Bundle::of(saga, view).is_some()
            && plan.erases.is_none_or(has_answer)
            && !is_policy_held
            && !copies_of.iter().any(is_held);
        may_go.then_some(()).ok_or(Conflict::Bundle)
    }
}

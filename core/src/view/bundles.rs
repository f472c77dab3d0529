//! Bundles that do not stay: whose, from when on, and what forbids it.

use super::{BundleState, Condition, Conflict, Plan, Saga, SubjectRequest, Views};
use crate::event::saga::{Receipt, SagaEnd, Step};
use crate::event::subject::RequestEnd;
use crate::id::{Digest, EntityId, RequestId, SagaId};
use crate::time::Timestamp;

/// How long the copy of what was erased after the answer stays: 30 days, in microseconds.
const MONTH_US: i64 = 30 * 24 * 60 * 60 * 1_000_000;

/// A bundle that is there.
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
    /// Returns the bundle of a saga that is over, if it is there.
    fn of(id: SagaId, saga: &Saga) -> Option<Self> {
        // What a stuck saga has done, a person has to find out first.
        (saga.end == Some(SagaEnd::Completed)).then(|| Self::there(id, saga))?
    }

    /// Returns the bundle of a saga if it is there, however far the saga is.
    fn there(id: SagaId, saga: &Saga) -> Option<Self> {
        let is_begun = match saga.bundle {
            None => false,
            Some(BundleState::BeingDestroyed) => true,
            Some(BundleState::Destroyed(_) | BundleState::NotFound(_)) => return None,
        };
        match saga.receipt(Step::Export) {
            Some(Receipt::Exported { manifest, exported_at, .. }) => {
                Some(Self { saga: id, manifest: *manifest, exported_at: *exported_at, is_begun })
            }
            _ => None,
        }
    }
}

impl Views {
    /// Returns the bundles whose data subject has the answer, with the request and when their time is over: at once,
    /// or, when they were written after the answer, after a month in which a mistake can still be seen. Who takes a
    /// request back keeps the copy of what was erased before: it is the only way back.
    #[must_use]
    pub fn bundles_answered(&self) -> Vec<(RequestId, Bundle, Timestamp)> {
        let mut found = Vec::new();
        for (id, request) in self.small.subjects.iter() {
            let Some((ended_at, _)) = request.ended.filter(|(_, end)| *end != RequestEnd::Withdrawn) else { continue };
            found.extend(self.bundles_of(request).map(|bundle| {
                let is_later = bundle.exported_at > ended_at;
                let due_at = if is_later { Timestamp(bundle.exported_at.0.saturating_add(MONTH_US)) } else { ended_at };
                (id, bundle, due_at)
            }));
        }
        found
    }

    /// Goes through all bundles that are there, also those of sagas that are not over: what waits in quarantine has its
    /// copies already.
    pub fn bundles_there(&self) -> impl Iterator<Item = Bundle> {
        self.small.runs.sagas().filter_map(|(id, saga)| Bundle::there(id, saga))
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

    /// Goes through the bundles that runs of a request wrote.
    pub fn bundles_of(&self, request: &SubjectRequest) -> impl Iterator<Item = Bundle> {
        self.sagas_of(request).filter_map(|id| Bundle::of(id, self.small.runs.saga(id)?))
    }

    /// Goes through the sagas of runs of a request.
    pub fn sagas_of(&self, request: &SubjectRequest) -> impl Iterator<Item = SagaId> {
        let runs = request.plans.iter().filter_map(|plan| self.small.runs.run(self.small.plans.get(*plan)?.run?));
        runs.flat_map(|run| &run.sagas).copied()
    }

    fn plan_of_saga(&self, saga: &Saga) -> Option<&Plan> {
        self.small.plans.get(self.small.runs.run(saga.started.run)?.plan)
    }

    /// Says whether a bundle may be destroyed that holds copies of some entities: nobody waits for an answer, no hold
    /// covers what is left in it alone, and purges are believed to be right at all.
    ///
    /// # Errors
    /// Says what stands in the way.
    pub fn may_destroy_bundle(&self, saga: SagaId, copies_of: &[EntityId]) -> Result<(), Conflict> {
        Condition::NotObserving.check(self)?;
        if self.small.clock.doubt().is_some() {
            return Err(Conflict::Clock);
        }
        let view = self.small.runs.saga(saga).ok_or(Conflict::Bundle)?;
        let plan = self.plan_of_saga(view).ok_or(Conflict::Bundle)?;
        let policy = &plan.request.policy;
        let is_subject_paused = plan.erases.is_some_and(|request| self.small.pauses.covers_request(request))
            || self.is_any_of_paused_request(copies_of);
        if self.small.pauses.covers_policy(policy) || is_subject_paused {
            return Err(Conflict::Paused);
        }
        let has_answer = |id: RequestId| self.small.subjects.get(id).is_some_and(|request| request.ended.is_some());
        let may_go = Bundle::of(saga, view).is_some()
            && plan.erases.is_none_or(has_answer)
            && !self.is_bundle_held(saga, copies_of);
        may_go.then_some(()).ok_or(Conflict::Bundle)
    }

    /// Says whether a hold covers what is left in a bundle alone, which holds copies of some entities.
    #[must_use]
    fn is_bundle_held(&self, saga: SagaId, copies_of: &[EntityId]) -> bool {
        self.is_bundle_held_at(saga, copies_of, self.recorded_at)
    }

    /// Says whether at an instant a hold covers what is left in a bundle alone.
    #[must_use]
    pub fn is_bundle_held_at(&self, saga: SagaId, copies_of: &[EntityId], now: Timestamp) -> bool {
        let held = || {
            let view = self.small.runs.saga(saga)?;
            let policy = &self.plan_of_saga(view)?.request.policy;
            let mailbox = view.started.mailbox;
            // What is still there needs no copy.
            let gone: Vec<EntityId> = copies_of.iter().copied().filter(|entity| self.is_gone(*entity)).collect();
            Some(!gone.is_empty() && self.small.holds.covers_copies(&gone, mailbox, policy, now, &self.filters))
        };
        held().unwrap_or_default()
    }
}

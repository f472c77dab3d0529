//! Plans, and where each stands between being asked for and being run.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::decision::{PlanFrozen, PlanPurpose, PlanRequested};
use crate::event::subject::ERASURE_POLICY;
use crate::event::{Actor, Envelope};
use crate::id::{Digest, PlanId, Position, RequestId, ReviewId, RunId};
use crate::time::Timestamp;

/// Where a plan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanState {
    /// Asked for, not made yet.
    Requested,
    /// It could not be made.
    Refused,
    /// It can only be looked at.
    Preview,
    /// Nothing was due: there is nothing to run.
    Empty,
    /// It waits for approvals.
    AwaitingApproval,
    /// It may run.
    Ready,
    /// A person refused it.
    Rejected,
    /// A run has taken it: it can never be taken again.
    Used,
    /// Its policy has changed since. Once a run of it was refused for that, it can never be run.
    Stale,
}

/// One approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Approval {
    /// The numeric user id of the person.
    pub uid: u32,
    /// When.
    pub at: Timestamp,
}

/// A decision of a person on which items of a plan rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct PlanReview {
    /// The decision.
    pub review: ReviewId,
    /// The numeric user id of the person.
    pub uid: u32,
    /// When.
    pub at: Timestamp,
}

/// One plan.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Plan {
    /// What was asked for.
    pub request: PlanRequested,
    /// The erasure that it is for; `None`: it is for a policy.
    pub erases: Option<RequestId>,
    /// Whose uid asked, or said which records an erasure is about; `None` is the schedule or the daemon.
    pub requested_by: Option<u32>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// The whole plan.
    pub frozen: Option<PlanFrozen>,
    /// Where its items stand in the log, in order.
    pub chunks: Vec<Position>,
    /// The code of why there is none.
    pub refused: Option<String>,
    /// Who accepted it.
    pub approvals: Vec<Approval>,
    /// On whose decisions its items rest, when a policy asks for them.
    pub reviews: Vec<PlanReview>,
    /// Who refused it.
    pub rejected_by: Option<u32>,
    /// The run that took it.
    pub run: Option<RunId>,
    /// Whether a run was refused because its policy has changed since.
    pub is_stale: bool,
}

impl Plan {
    /// Returns where it stands at an instant: approvals lose their force with time.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> PlanState {
        let Some(frozen) = &self.frozen else {
            return if self.refused.is_some() { PlanState::Refused } else { PlanState::Requested };
        };
        if frozen.purpose == PlanPurpose::Preview {
            PlanState::Preview
        } else if self.rejected_by.is_some() {
            PlanState::Rejected
        } else if self.run.is_some() {
            PlanState::Used
        } else if self.is_stale {
            PlanState::Stale
        } else if frozen.items == 0 {
            PlanState::Empty
        } else if self.is_approved(now) {
            PlanState::Ready
        } else {
            PlanState::AwaitingApproval
        }
    }

    /// Says whether people may still judge it and a run may still take it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.frozen.is_some() && self.run.is_none() && self.rejected_by.is_none() && !self.is_stale
    }

    /// Says whether a person decided that some of its items go: somebody else has to accept the plan.
    #[must_use]
    pub fn is_reviewed_by(&self, uid: u32) -> bool {
        self.reviews.iter().any(|review| review.uid == uid)
    }

    /// Says whether enough different persons, none of them the requester or a reviewer, have accepted it recently
    /// enough.
    #[must_use]
    pub fn is_approved(&self, now: Timestamp) -> bool {
        let Some(frozen) = &self.frozen else { return false };
        let needed =
            if frozen.tripped.is_empty() && !frozen.needs_approval { 0 } else { frozen.approvals_needed.max(1) };
        self.valid_approvals(now) >= needed
    }

    /// Returns how many different persons accept it at an instant.
    #[must_use]
    pub fn valid_approvals(&self, now: Timestamp) -> u32 {
        u32::try_from(self.accepted_by(now).len()).unwrap_or(u32::MAX)
    }

    /// Says whether a person accepted it before, and that still counts.
    #[must_use]
    pub fn is_accepted_by(&self, uid: u32, now: Timestamp) -> bool {
        self.accepted_by(now).binary_search(&uid).is_ok()
    }

    /// Returns who accepts it at an instant, each once, ascending.
    fn accepted_by(&self, now: Timestamp) -> Vec<u32> {
        let Some(frozen) = &self.frozen else { return Vec::new() };
        let valid_us = i64::try_from(frozen.approval_valid_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
        let mut people: Vec<u32> = self
            .approvals
            .iter()
            .filter(|approval| Some(approval.uid) != self.requested_by && !self.is_reviewed_by(approval.uid))
            .filter(|approval| now.0.saturating_sub(approval.at.0) < valid_us)
            .map(|approval| approval.uid)
            .collect();
        people.sort_unstable();
        people.dedup();
        people
    }

    /// Returns the digest that names it.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.frozen.as_ref().map(|frozen| frozen.digest)
    }
}

/// All plans.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Plans {
    all: BTreeMap<PlanId, Plan>,
}

impl Plans {
    /// Returns a plan.
    #[must_use]
    pub fn get(&self, id: PlanId) -> Option<&Plan> {
        self.all.get(&id)
    }

    /// Goes through all plans, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (PlanId, &Plan)> {
        self.all.iter().map(|(id, plan)| (*id, plan))
    }

    /// Returns the newest frozen plan of a policy that was made to be run, before a given one.
    #[must_use]
    pub fn previous(&self, policy: &str, before: PlanId) -> Option<&PlanFrozen> {
        self.all
            .range(..before)
            .rev()
            .filter_map(|(_, plan)| plan.frozen.as_ref())
            .find(|frozen| frozen.policy == policy && frozen.purpose == PlanPurpose::Run)
    }

    /// Says whether a plan of exactly this policy version was ever approved by a person or taken by a run.
    #[must_use]
    pub fn has_run(&self, policy: &str, policy_digest: Digest) -> bool {
        self.all.values().any(|plan| {
            plan.run.is_some()
                && plan.frozen.as_ref().is_some_and(|f| f.policy == policy && f.policy_digest == policy_digest)
        })
    }

    pub(super) fn requested(&mut self, envelope: &Envelope, body: &PlanRequested) {
        let requested_by = match envelope.actor {
            Actor::Person(uid) => Some(uid),
            Actor::Daemon | Actor::Schedule => None,
        };
        self.insert(envelope, body.clone(), None, requested_by);
    }

    /// A plan for the records of an erasure. It counts as asked for by whoever said which records those are, so that
    /// another person must accept it.
    pub(super) fn requested_for(&mut self, envelope: &Envelope, request: RequestId, identified_by: Option<u32>) {
        let body = PlanRequested { policy: ERASURE_POLICY.to_owned(), purpose: PlanPurpose::Run, as_of: None };
        self.insert(envelope, body, Some(request), identified_by);
    }

    fn insert(
        &mut self,
        envelope: &Envelope,
        request: PlanRequested,
        erases: Option<RequestId>,
        requested_by: Option<u32>,
    ) {
        self.all.insert(
            PlanId(envelope.position),
            Plan {
                request,
                erases,
                requested_by,
                requested_at: envelope.recorded_at,
                frozen: None,
                chunks: Vec::new(),
                refused: None,
                approvals: Vec::new(),
                reviews: Vec::new(),
                rejected_by: None,
                run: None,
                is_stale: false,
            },
        );
    }

    /// Returns a plan for folding.
    pub(super) fn get_mut(&mut self, id: PlanId) -> Option<&mut Plan> {
        self.all.get_mut(&id)
    }
}

//! What persons decide of single items, as the log tells it.

use std::collections::{BTreeMap, BTreeSet};

use retention_core::event::review::ReviewVerdict;
use retention_core::event::{Actor, Event};
use retention_core::id::{Digest, EntityId, PlanId, Position, ReviewId};
use retention_core::time::Timestamp;

/// A decision about one entity: what, for which version of it, and of the policy.
type Decided = (ReviewVerdict, Position, Digest);

#[derive(Default)]
pub(super) struct Reviews {
    /// The versions of policies that ask a person about every item.
    asking: BTreeSet<(String, Digest)>,
    /// The newest decision.
    decided: BTreeMap<(String, EntityId), Decided>,
    deciders: BTreeMap<ReviewId, u32>,
    /// The policy of each plan, with its version.
    plans: BTreeMap<PlanId, (String, Digest)>,
    reviewers: BTreeMap<PlanId, BTreeSet<u32>>,
}

impl Reviews {
    pub(super) fn see(&mut self, position: Position, actor: Actor, event: &Event) {
        match event {
            Event::PolicyRecorded(body) if body.text.contains("kind = \"review\"") => {
                self.asking.insert((body.id.clone(), body.digest));
            }
            Event::ReviewDecided(body) => {
                let Actor::Person(uid) = actor else { return };
                self.deciders.insert(ReviewId(position), uid);
                for item in &body.items {
                    let decided = (body.verdict, item.version, body.policy_digest);
                    self.decided.insert((body.policy.clone(), item.entity), decided);
                }
            }
            Event::PlanReviewed(body) => {
                let uids = body.reviews.iter().filter_map(|review| self.deciders.get(review).copied());
                self.reviewers.insert(body.plan, uids.collect());
            }
            Event::PlanFrozen(body) => {
                self.plans.insert(body.plan, (body.policy.clone(), body.policy_digest));
            }
            _ => {}
        }
    }

    /// Says whether a person decided that items of a plan go.
    pub(super) fn is_reviewer(&self, plan: PlanId, uid: u32) -> bool {
        self.reviewers.get(&plan).is_some_and(|uids| uids.contains(&uid))
    }

    /// Says what is wrong with the purge of an entity in a version, for a plan.
    pub(super) fn blame(
        &self,
        plan: PlanId,
        entity: EntityId,
        version: Option<Position>,
        now: Timestamp,
    ) -> Option<&'static str> {
        let (policy, digest) = self.plans.get(&plan)?;
        let decided = self.decided.get(&(policy.clone(), entity));
        if matches!(decided, Some((ReviewVerdict::Keep { until }, ..)) if now < *until) {
            return Some("purge_of_what_a_person_keeps");
        }
        let is_asking = self.asking.contains(&(policy.clone(), *digest));
        let is_decided = matches!(
            decided,
            Some((ReviewVerdict::Dispose, seen, by)) if Some(*seen) == version && by == digest
        );
        (is_asking && !is_decided).then_some("purge_without_a_decision")
    }
}

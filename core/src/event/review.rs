//! Reviews: what a person decided of items that no policy disposes of without one.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{Digest, EntityId, PlanId, Position, ReviewId};
use crate::time::Timestamp;

/// What a person decided of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum ReviewVerdict {
    /// It goes, as soon as a plan that is approved as usual takes it.
    Dispose,
    /// It is not due under the policy before an instant.
    Keep {
        /// That instant.
        until: Timestamp,
    },
}

/// What exactly was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
pub struct ReviewItem {
    /// The entity.
    pub entity: EntityId,
    /// The position of its newest change: its version.
    pub version: Position,
    /// When it was due under the policy; `None` when nobody knows from when to count.
    pub due_at: Option<Timestamp>,
}

/// Schema 1. A person decided. Its position names the review.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReviewDecided {
    /// The policy under which the items wait.
    pub policy: String,
    /// Its version.
    pub policy_digest: Digest,
    /// What was decided of all of them.
    pub verdict: ReviewVerdict,
    /// The items, ascending by entity.
    pub items: Vec<ReviewItem>,
    /// Why.
    pub reason: String,
}

impl std::fmt::Debug for ReviewDecided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReviewDecided")
            .field("policy", &self.policy)
            .field("verdict", &self.verdict)
            .field("items", &self.items.len())
            .finish_non_exhaustive()
    }
}

/// Schema 1. On which reviews the items of a plan rest. It stands before the plan is whole.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PlanReviewed {
    /// The plan.
    pub plan: PlanId,
    /// The reviews, ascending.
    pub reviews: Vec<ReviewId>,
}

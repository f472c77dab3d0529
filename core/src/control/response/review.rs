//! What waits for a decision of a person, and the decisions.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::ActorName;
use crate::event::review::{ReviewItem, ReviewVerdict};
use crate::id::{Digest, EntityId, Position, ReviewId};
use crate::record::Kind;
use crate::time::Timestamp;

/// One item that waits for a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReviewItemRow {
    /// The entity.
    pub entity: EntityId,
    /// What it is.
    pub kind: Kind,
    /// The name of its source.
    pub source: String,
    /// The position of its newest change.
    pub version: Position,
    /// When it was due; nothing when there is no date to count from.
    pub due_at: Option<Timestamp>,
}

/// One decision.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReviewRow {
    /// Its name.
    pub review: ReviewId,
    /// The policy under which the items waited.
    pub policy: String,
    /// The version of that policy.
    pub policy_digest: Digest,
    /// What was decided of all of them.
    pub decision: ReviewVerdict,
    /// Why.
    pub reason: String,
    /// Who decided.
    pub by: ActorName,
    /// When.
    pub at: Timestamp,
    /// The items as they were looked at.
    pub items: Vec<ReviewItem>,
}

impl std::fmt::Debug for ReviewRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReviewRow")
            .field("review", &self.review)
            .field("items", &self.items.len())
            .finish_non_exhaustive()
    }
}

/// A decision on which items of a plan rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanReviewRow {
    /// The decision.
    pub review: ReviewId,
    /// Who decided.
    pub by: ActorName,
    /// When.
    pub at: Timestamp,
}

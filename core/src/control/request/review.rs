//! Decisions about what waits for a person.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::review::ReviewVerdict;
use crate::id::{EntityId, Position};
use crate::time::Timestamp;

/// Decides what becomes of items that wait under a policy.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideReview {
    /// What is decided of all of them.
    pub decision: ReviewVerdict,
    /// The items.
    pub items: Vec<ReviewedItem>,
    /// Why.
    pub reason: String,
}

/// One item that is decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewedItem {
    /// The entity.
    pub entity: EntityId,
    /// What exactly was looked at: if the item is another by now, nothing is decided. Without it, what it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// What exactly was looked at, as the list of what waits shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// The version of the entity.
    pub version: Position,
    /// When it was due; nothing when there is no date to count from.
    pub due_at: Option<Timestamp>,
}

impl std::fmt::Debug for DecideReview {
    /// Free text may name persons, so it is not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecideReview").finish_non_exhaustive()
    }
}

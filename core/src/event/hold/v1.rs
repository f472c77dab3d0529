//! The first schema version of holds: read for ever, written no more.

use bincode::{Decode, Encode};

use crate::id::{EntityId, HoldId};
use crate::time::Timestamp;

/// Schema 1. Disposition of the entities is suspended until the hold is released.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct HoldPlaced {
    /// A short name of the case.
    pub name: String,
    /// Why.
    pub reason: String,
    /// What it covers.
    pub entities: Vec<EntityId>,
}

impl std::fmt::Debug for HoldPlaced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HoldPlaced").field("entities", &self.entities).finish_non_exhaustive()
    }
}

/// Schema 1. The hold ends.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct HoldReleased {
    /// Which one.
    pub hold: HoldId,
    /// Why.
    pub reason: String,
}

impl std::fmt::Debug for HoldReleased {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HoldReleased").field("hold", &self.hold).finish_non_exhaustive()
    }
}

impl From<HoldPlaced> for super::HoldPlaced {
    fn from(body: HoldPlaced) -> Self {
        Self {
            name: body.name,
            reason: body.reason,
            owner: String::new(),
            reference: String::new(),
            review_at: None,
            entities: body.entities,
            mailboxes: Vec::new(),
            policies: Vec::new(),
            standing: None,
        }
    }
}

impl From<HoldReleased> for super::HoldReleased {
    /// A hold of that time ended at once.
    fn from(body: HoldReleased) -> Self {
        Self { hold: body.hold, reason: body.reason, until: Timestamp(i64::MIN) }
    }
}

//! Legal holds.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use bincode::{Decode, Encode};

use crate::id::{EntityId, HoldId};

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

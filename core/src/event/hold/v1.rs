//! The first schema version of holds and pauses: read for ever, written no more.

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

/// What is paused, before one data subject could be.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum PauseScope {
    /// Everything.
    All,
    /// What one policy disposes of.
    Policy(String),
    /// What lives in one mailbox.
    Mailbox(EntityId),
}

/// Schema 1. Nothing more is purged of this until it is resumed.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct DisposalPaused {
    /// What.
    pub scope: PauseScope,
    /// Why.
    pub reason: String,
}

impl std::fmt::Debug for DisposalPaused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DisposalPaused").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// Schema 1. Purges of this go on.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct DisposalResumed {
    /// What.
    pub scope: PauseScope,
    /// Why.
    pub reason: String,
}

impl std::fmt::Debug for DisposalResumed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DisposalResumed").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl From<PauseScope> for super::PauseScope {
    fn from(scope: PauseScope) -> Self {
        match scope {
            PauseScope::All => Self::All,
            PauseScope::Policy(policy) => Self::Policy(policy),
            PauseScope::Mailbox(mailbox) => Self::Mailbox(mailbox),
        }
    }
}

impl From<DisposalPaused> for super::DisposalPaused {
    fn from(body: DisposalPaused) -> Self {
        Self { scope: body.scope.into(), reason: body.reason }
    }
}

impl From<DisposalResumed> for super::DisposalResumed {
    fn from(body: DisposalResumed) -> Self {
        Self { scope: body.scope.into(), reason: body.reason }
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
            filter: String::new(),
        }
    }
}

impl From<HoldReleased> for super::HoldReleased {
    /// A hold of that time ended at once.
    fn from(body: HoldReleased) -> Self {
        Self { hold: body.hold, reason: body.reason, until: Timestamp(i64::MIN) }
    }
}

//! What is paused.

use std::collections::BTreeSet;

use bincode::{Decode, Encode};

use crate::event::hold::{DisposalPaused, DisposalResumed, PauseScope};
use crate::id::EntityId;

/// What is paused: nothing more of it is purged until it is resumed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Pauses {
    scopes: BTreeSet<PauseScope>,
}

impl Pauses {
    /// Goes through what is paused.
    pub fn iter(&self) -> impl Iterator<Item = &PauseScope> {
        self.scopes.iter()
    }

    /// Says whether exactly this is paused.
    #[must_use]
    pub fn has(&self, scope: &PauseScope) -> bool {
        self.scopes.contains(scope)
    }

    /// Says whether a policy may dispose of nothing now.
    #[must_use]
    pub fn covers_policy(&self, policy: &str) -> bool {
        self.scopes.iter().any(|scope| match scope {
            PauseScope::All => true,
            PauseScope::Policy(paused) => paused == policy,
            PauseScope::Mailbox(_) => false,
        })
    }

    /// Says whether nothing of a mailbox may be disposed of now.
    #[must_use]
    pub fn covers_mailbox(&self, mailbox: EntityId) -> bool {
        self.has(&PauseScope::All) || self.has(&PauseScope::Mailbox(mailbox))
    }

    pub(super) fn paused(&mut self, body: &DisposalPaused) {
        self.scopes.insert(body.scope.clone());
    }

    pub(super) fn resumed(&mut self, body: &DisposalResumed) {
        self.scopes.remove(&body.scope);
    }
}

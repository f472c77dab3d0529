//! What is paused.

use std::collections::BTreeSet;

use bincode::{Decode, Encode};

use super::{Saga, Views};
use crate::event::hold::{DisposalPaused, DisposalResumed, PauseScope};
use crate::id::{EntityId, RequestId};

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
            PauseScope::Mailbox(_) | PauseScope::Request(_) => false,
        })
    }

    /// Says whether nothing of a mailbox may be disposed of now.
    #[must_use]
    pub fn covers_mailbox(&self, mailbox: EntityId) -> bool {
        self.has(&PauseScope::All) || self.has(&PauseScope::Mailbox(mailbox))
    }

    /// Says whether nothing of a data subject may be disposed of now, as their request knows them.
    #[must_use]
    pub fn covers_request(&self, request: RequestId) -> bool {
        self.has(&PauseScope::All) || self.has(&PauseScope::Request(request))
    }

    /// Goes through the requests whose data subjects are paused.
    fn requests(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.scopes.iter().filter_map(|scope| match scope {
            PauseScope::Request(request) => Some(*request),
            PauseScope::All | PauseScope::Policy(_) | PauseScope::Mailbox(_) => None,
        })
    }

    pub(super) fn paused(&mut self, body: &DisposalPaused) {
        self.scopes.insert(body.scope.clone());
    }

    pub(super) fn resumed(&mut self, body: &DisposalResumed) {
        self.scopes.remove(&body.scope);
    }
}

impl Views {
    /// Says whether one of some entities is a paused data subject's: the newest identification says which those are.
    pub(super) fn is_any_of_paused_request(&self, entities: &[EntityId]) -> bool {
        let mut paused = self.small.pauses.requests().filter_map(|id| self.small.subjects.get(id));
        paused.any(|request| entities.iter().any(|entity| request.records().binary_search(entity).is_ok()))
    }

    /// Says whether a saga waits for a data subject who is paused: what is written into one bundle and purged at one
    /// pivot waits together.
    #[must_use]
    pub fn waits_for_data_subject(&self, saga: &Saga) -> bool {
        if self.small.pauses.requests().next().is_none() {
            return false;
        }
        let open: Vec<EntityId> = saga.open_items().map(|item| item.entity).collect();
        self.is_any_of_paused_request(&open)
    }
}

//! The mailboxes that are registered, and credentials that are to be destroyed. Only numbers and names of servers:
//! addresses and secrets are in sealed events.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use crate::event::mailbox::MailboxRegistered;
use crate::event::{Actor, Envelope, Event};
use crate::id::{EntityId, Position};
use crate::time::Timestamp;

/// One mailbox that is or was registered.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RegisteredMailbox {
    /// The name of its server in the configuration.
    pub server: String,
    /// Its own credential.
    pub credential: Option<EntityId>,
    /// When it was registered last.
    pub registered_at: Timestamp,
    /// By whom; `None` is the daemon.
    pub registered_by: Option<u32>,
    /// When it was removed; `None` while it is registered.
    pub removed_at: Option<Timestamp>,
}

/// All mailboxes that are or were registered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Registry {
    mailboxes: BTreeMap<EntityId, RegisteredMailbox>,
    /// Credentials that nobody needs, each with the event that says so.
    unneeded: BTreeMap<EntityId, Position>,
}

impl Registry {
    /// Returns a mailbox that is registered.
    #[must_use]
    pub fn get(&self, mailbox: EntityId) -> Option<&RegisteredMailbox> {
        self.mailboxes.get(&mailbox).filter(|known| known.removed_at.is_none())
    }

    /// Goes through the mailboxes that are registered, by number.
    pub fn iter(&self) -> impl Iterator<Item = (EntityId, &RegisteredMailbox)> {
        self.mailboxes.iter().filter(|(_, known)| known.removed_at.is_none()).map(|(id, known)| (*id, known))
    }

    /// Goes through the credentials whose key is to be destroyed, each with the event that is the intent.
    pub fn unneeded(&self) -> impl Iterator<Item = (EntityId, Position)> {
        self.unneeded.iter().map(|(credential, intent)| (*credential, *intent))
    }

    pub(super) fn fold(&mut self, envelope: &Envelope, event: &Event) {
        let Some(entity) = envelope.entity else { return };
        match event {
            Event::MailboxRegistered(body) => self.registered(entity, envelope, body),
            Event::MailboxRemoved(_) => {
                if let Some(known) = self.mailboxes.get_mut(&entity) {
                    known.removed_at = Some(envelope.recorded_at);
                    if let Some(credential) = known.credential.take() {
                        self.unneeded.insert(credential, envelope.position);
                    }
                }
            }
            Event::CredentialDestroyed(_) => {
                self.unneeded.remove(&entity);
            }
            _ => {}
        }
    }

    fn registered(&mut self, mailbox: EntityId, envelope: &Envelope, body: &MailboxRegistered) {
        let registered_by = match envelope.actor {
            Actor::Person(uid) => Some(uid),
            Actor::Daemon | Actor::Schedule => None,
        };
        let new = RegisteredMailbox {
            server: body.server.clone(),
            credential: body.credential,
            registered_at: envelope.recorded_at,
            registered_by,
            removed_at: None,
        };
        let before = self.mailboxes.insert(mailbox, new).and_then(|before| before.credential);
        if let Some(credential) = before.filter(|credential| Some(*credential) != body.credential) {
            self.unneeded.insert(credential, envelope.position);
        }
    }
}

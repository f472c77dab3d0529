//! What must be true of registered mailboxes and their credentials at any time.

use std::collections::{BTreeMap, BTreeSet};

use retention_core::event::{Event, Readable};
use retention_core::id::{EntityId, Position};
use retentiond::store::Store;
use retentiond::store::vault::KeyState;

use super::Violation;

/// Looks at the whole log: a credential is destroyed only after an event that made it unneeded, one that is needed can
/// be opened, and one that was destroyed cannot.
pub fn check(store: &Store) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut of_mailbox: BTreeMap<EntityId, EntityId> = BTreeMap::new();
    let mut unneeded: BTreeMap<EntityId, Position> = BTreeMap::new();
    let mut stored: BTreeSet<EntityId> = BTreeSet::new();
    let newest = store.view(|views| views.position);
    for position in (1..=newest.0).map(Position) {
        let Ok(Some(recorded)) = store.read(position) else { continue };
        let Some(entity) = recorded.envelope.entity else { continue };
        if recorded.envelope.event_type == retention_core::event::EventType::CredentialStored as u16 {
            stored.insert(entity);
        }
        let Readable::Event(event) = &recorded.event else { continue };
        match event.as_ref() {
            Event::MailboxRegistered(body) => {
                let before = of_mailbox.remove(&entity);
                if let Some(before) = before.filter(|before| Some(*before) != body.credential) {
                    unneeded.insert(before, position);
                }
                if let Some(credential) = body.credential {
                    if !stored.contains(&credential) {
                        violations.push(Violation::of("credential_of_nobody", Some(credential), "it was never stored"));
                    }
                    of_mailbox.insert(entity, credential);
                }
            }
            Event::MailboxRemoved(_) => unneeded.extend(of_mailbox.remove(&entity).map(|before| (before, position))),
            Event::CredentialDestroyed(_) => {
                let intent = unneeded.get(&entity);
                if intent != Some(&recorded.envelope.cause) {
                    let says = "its destruction has no intent, or another";
                    violations.push(Violation::of("credential_destroyed_without_intent", Some(entity), says));
                }
                if !matches!(store.key_of(entity), Ok(KeyState::Destroyed)) {
                    let says = "its key is recorded as destroyed and is not";
                    violations.push(Violation::of("credential_not_destroyed", Some(entity), says));
                }
            }
            _ => {}
        }
    }
    for credential in of_mailbox.values() {
        if !matches!(store.key_of(*credential), Ok(KeyState::Live(_))) {
            let says = "a mailbox needs it and it cannot be opened";
            violations.push(Violation::of("needed_credential_is_gone", Some(*credential), says));
        }
    }
    violations
}

//! Who may do what in the registered mailboxes, as it was last seen. Identifiers are in sealed events; here are
//! digests.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use crate::event::change::ScanEnd;
use crate::event::permission::{Holder, PermissionObserved, PermissionsScanned};
use crate::event::{Envelope, Event};
use crate::id::{EntityId, Handle, Position};
use crate::mailbox::Rights;
use crate::time::Timestamp;

/// What is known of the permissions of one mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Permissions {
    /// The newest request of a person.
    pub requested: Position,
    /// The newest attempt, however it ended.
    pub tried: Position,
    /// When that was.
    pub tried_at: Timestamp,
    /// The newest one that read everything, and when that was.
    pub done: Option<(Timestamp, PermissionsScanned)>,
    /// Where the entries stand in the log.
    pub readings: Vec<Position>,
    /// Why the newest attempt failed; `None` when it did not.
    pub failed: Option<String>,
    /// Since when persons have been seen to have FullAccess on some folder without a break.
    pub full_since: BTreeMap<Handle, Timestamp>,
    /// The persons with FullAccess in the parts of an observation that is not complete yet.
    arriving: BTreeMap<Handle, ()>,
}

/// The permissions of all mailboxes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct AllPermissions {
    all: BTreeMap<EntityId, Permissions>,
}

impl AllPermissions {
    /// Returns what is known of one mailbox.
    #[must_use]
    pub fn get(&self, mailbox: EntityId) -> Option<&Permissions> {
        self.all.get(&mailbox)
    }

    pub(super) fn fold(&mut self, envelope: &Envelope, event: &Event) {
        let Some(mailbox) = envelope.entity else { return };
        match event {
            Event::PermissionScanRequested(_) => self.all.entry(mailbox).or_default().requested = envelope.position,
            Event::PermissionObserved(body) => self.all.entry(mailbox).or_default().observed(body),
            Event::PermissionsScanned(body) => self.all.entry(mailbox).or_default().scanned(envelope, body),
            _ => {}
        }
    }
}

impl Permissions {
    fn observed(&mut self, body: &PermissionObserved) {
        let full = body
            .entries
            .iter()
            .filter(|entry| entry.holder == Holder::Person && entry.rights.covers(Rights::FULL_ACCESS));
        self.arriving.extend(full.map(|entry| (entry.principal, ())));
    }

    fn scanned(&mut self, envelope: &Envelope, body: &PermissionsScanned) {
        let (position, at) = (envelope.position, envelope.recorded_at);
        (self.tried, self.tried_at) = (position, at);
        let arrived = std::mem::take(&mut self.arriving);
        match body.end {
            ScanEnd::Failed => self.failed = Some(body.code.clone()),
            ScanEnd::Done => {
                self.failed = None;
                if body.parts > 0 || body.entries == 0 {
                    let parts = u64::from(body.parts);
                    self.readings = (1..=parts).rev().map(|back| Position(position.0.saturating_sub(back))).collect();
                    let before = std::mem::take(&mut self.full_since);
                    let since = |principal: &Handle| before.get(principal).copied().unwrap_or(at);
                    self.full_since = arrived.keys().map(|principal| (*principal, since(principal))).collect();
                }
                self.done = Some((at, body.clone()));
            }
        }
    }
}

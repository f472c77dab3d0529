//! When the registered mailboxes were last looked at.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use crate::event::change::{MailboxScanned, ScanEnd};
use crate::id::{EntityId, Position};
use crate::time::Timestamp;

/// What is known of the looks at one mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Scan {
    /// The newest request of a person.
    pub requested: Position,
    /// The newest attempt, however it ended.
    pub tried: Position,
    /// When that was.
    pub tried_at: Timestamp,
    /// The newest one that read everything, and when that was.
    pub done: Option<(Timestamp, MailboxScanned)>,
    /// Why the newest attempt failed; `None` when it did not.
    pub failed: Option<String>,
}

/// The looks at all mailboxes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Scans {
    all: BTreeMap<EntityId, Scan>,
}

impl Scans {
    /// Returns what is known of one mailbox.
    #[must_use]
    pub fn get(&self, mailbox: EntityId) -> Option<&Scan> {
        self.all.get(&mailbox)
    }

    /// Says whether a mailbox was looked at, with or without success, after something stood in the log.
    #[must_use]
    pub fn tried_after(&self, mailbox: EntityId, position: Position) -> bool {
        self.get(mailbox).is_some_and(|scan| scan.tried > position)
    }

    /// Says whether a person waits for a look at a mailbox.
    #[must_use]
    pub fn is_requested(&self, mailbox: EntityId) -> bool {
        self.get(mailbox).is_some_and(|scan| scan.requested > scan.tried)
    }

    /// Returns the mailboxes that were looked at or asked for, and not tried again after something stood in the log.
    pub fn waiting_since(&self, position: Position) -> impl Iterator<Item = EntityId> {
        self.all.iter().filter(move |(_, scan)| scan.tried <= position).map(|(mailbox, _)| *mailbox)
    }

    pub(super) fn requested(&mut self, mailbox: EntityId, position: Position) {
        self.all.entry(mailbox).or_default().requested = position;
    }

    pub(super) fn scanned(&mut self, mailbox: EntityId, position: Position, at: Timestamp, body: &MailboxScanned) {
        let scan = self.all.entry(mailbox).or_default();
        (scan.tried, scan.tried_at) = (position, at);
        match body.end {
            ScanEnd::Done => {
                scan.done = Some((at, body.clone()));
                scan.failed = None;
            }
            ScanEnd::Failed => scan.failed = Some(body.code.clone()),
        }
    }
}

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

/// A mailbox that was not tried for so long is looked at by nobody: three of the looks of a policy, in microseconds.
const TRIED_US: i64 = 3 * 3_600_000_000;

/// A mailbox that could not be read for so long is told: a day, in microseconds. A server that is mended overnight is
/// not.
const UNREAD_US: i64 = 24 * 3_600_000_000;

impl Scan {
    /// Says whether a mailbox is tried and has not been read for long. It was registered last at `since`.
    #[must_use]
    pub fn is_unread(&self, since: Timestamp, now: Timestamp) -> bool {
        let read = self.done.as_ref().map_or(since, |(at, _)| since.max(*at));
        self.failed.is_some() && self.is_tried(now) && now.0.saturating_sub(read.0) > UNREAD_US
    }

    /// Returns the code of what the newest look that read the mailbox had to leave out, if it did and somebody looks at it.
    #[must_use]
    pub fn left_out(&self, now: Timestamp) -> Option<&str> {
        let (_, body) = self.done.as_ref().filter(|_| self.is_tried(now))?;
        Some(body.code.as_str()).filter(|code| !code.is_empty())
    }

    fn is_tried(&self, now: Timestamp) -> bool {
        now.0.saturating_sub(self.tried_at.0) < TRIED_US
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_unread_that_is_tried_in_vain_for_more_than_a_day() {
        let hour = |hours: i64| Timestamp(hours * 3_600_000_000);
        let (mailbox, since) = (EntityId(1), hour(0));
        let body = |end, code: &str| MailboxScanned {
            end,
            code: code.to_owned(),
            folders: 0,
            messages: 0,
            added: 0,
            changed: 0,
            absent: 0,
        };
        let mut scans = Scans::default();
        let mut tried = |at: i64, end| {
            scans.scanned(mailbox, Position::NONE, hour(at), &body(end, "mail-unreachable"));
            scans.get(mailbox).cloned().unwrap_or_default()
        };
        let never_read = tried(24, ScanEnd::Failed);
        assert!(!never_read.is_unread(since, hour(24)) && never_read.is_unread(since, hour(25)));
        assert!(!never_read.is_unread(hour(2), hour(25)), "it was registered anew");
        assert!(!never_read.is_unread(since, hour(27)), "nobody looks at it any more");
        assert!(!tried(30, ScanEnd::Done).is_unread(since, hour(31)));
        let read_before = tried(54, ScanEnd::Failed);
        assert!(!read_before.is_unread(since, hour(54)) && read_before.is_unread(since, hour(55)));
        let read_in_part = tried(56, ScanEnd::Done);
        assert_eq!(read_in_part.left_out(hour(58)), Some("mail-unreachable"));
        assert_eq!(read_in_part.left_out(hour(59)), None, "nobody looks at it any more");
        scans.scanned(mailbox, Position::NONE, hour(57), &body(ScanEnd::Done, ""));
        assert_eq!(scans.get(mailbox).and_then(|scan| scan.left_out(hour(58))), None);
    }
}

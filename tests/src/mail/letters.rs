//! Letters: messages with a text and with persons in their headers.

use retention_core::id::EntityId;
use retention_core::record::message::Correspondents;
use retention_core::time::Timestamp;
use retentiond::connector::mail::Uid;

use super::{MailServer, Message, deliver};

/// When what nobody gives a date came in: 2015-01-01.
pub(super) const DELIVERED_AT: Timestamp = Timestamp::from_unix_seconds(1_420_070_400);

impl MailServer {
    /// Delivers a message with a text from somebody to others, and returns its number.
    ///
    /// # Panics
    /// When there is no such folder.
    pub fn deliver_letter(&self, mailbox: EntityId, folder: &str, from: &str, to: &[&str], text: &[u8]) -> Uid {
        let uid = deliver(&mut self.state(), mailbox, folder, DELIVERED_AT, &[]);
        self.change(mailbox, folder, uid, |message| {
            message.standing.size = text.len() as u64;
            message.text = text.to_vec();
            message.correspondents.from = vec![from.to_owned()];
            message.correspondents.to = to.iter().map(|to| (*to).to_owned()).collect();
        });
        uid
    }

    /// Names somebody else in a letter, as its headers would.
    ///
    /// # Panics
    /// When there is no such letter.
    pub fn readdress(&self, mailbox: EntityId, folder: &str, uid: Uid, change: impl FnOnce(&mut Correspondents)) {
        self.change(mailbox, folder, uid, |message| change(&mut message.correspondents));
    }

    /// Lets the header of a letter be too large to be read, or lets it be read.
    ///
    /// # Panics
    /// When there is no such letter.
    pub fn blur(&self, mailbox: EntityId, folder: &str, uid: Uid, is_unreadable: bool) {
        self.change(mailbox, folder, uid, |message| message.is_unreadable = is_unreadable);
    }

    /// Lets the server hand the text of a message out no more.
    ///
    /// # Panics
    /// When there is no such message.
    pub fn withhold(&self, mailbox: EntityId, folder: &str, uid: Uid) {
        self.change(mailbox, folder, uid, |message| message.is_withheld = true);
    }

    /// Lets the server tell another size of a message than its text has.
    ///
    /// # Panics
    /// When there is no such message.
    pub fn resize(&self, mailbox: EntityId, folder: &str, uid: Uid) {
        self.change(mailbox, folder, uid, |message| message.standing.size += 1);
    }

    fn change(&self, mailbox: EntityId, folder: &str, uid: Uid, change: impl FnOnce(&mut Message)) {
        let mut state = self.state();
        state.modseq += 1;
        let modseq = state.modseq;
        let folder = state.mailboxes.get_mut(&mailbox).and_then(|mailbox| mailbox.folders.get_mut(folder));
        let message = folder.and_then(|folder| folder.messages.get_mut(&uid)).expect("a message");
        message.modseq = modseq;
        change(message);
    }
}

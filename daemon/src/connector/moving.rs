//! Copying messages between two mailboxes, whatever protocol is behind: the source is only read, the target only grows.

use std::ops::ControlFlow;

use retention_core::id::{Digest, EntityId};
use retention_core::time::Timestamp;

use super::mail::{EachMessage, FolderState, MailFailure, MailFolder, MessageState, Uid};

/// One of the two mailboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The mailbox that is read.
    Source,
    /// The mailbox that messages are appended to.
    Target,
}

/// A folder and its counterpart, both open for looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPair {
    /// At the source.
    pub source: FolderState,
    /// At the target.
    pub target: FolderState,
}

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// It is at the target.
    Done {
        /// Its bytes.
        bytes: u64,
    },
    /// It is gone from the source; nothing was appended.
    Gone,
}

/// What tells a message from another, wherever it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Print {
    /// SHA-256 of its text.
    pub text: Digest,
    /// When it was received, to the second.
    pub received: Timestamp,
    /// SHA-256 of its `Message-ID`, if it has one: by it a message is known that a server has changed.
    pub id: Option<Digest>,
}

impl Print {
    /// Says whether two are the same message byte for byte, with the same date.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.text == other.text && self.received == other.received
    }
}

/// Hears of the print of one message; breaking ends the transfer.
pub type EachPrint<'a> = &'a mut dyn FnMut(Uid, Print) -> ControlFlow<()>;

/// Opens two mailboxes beside each other.
pub trait Mover: Send + Sync {
    /// Logs in to both, and proves whose mailboxes they are.
    ///
    /// # Errors
    /// Says what kept it from that.
    fn open(&self, source: EntityId, target: EntityId) -> Result<Box<dyn Moving + '_>, MailFailure>;
}

/// Two mailboxes, open.
pub trait Moving {
    /// Returns the folders of the source that can hold messages.
    ///
    /// # Errors
    /// Says what kept the server from telling.
    fn folders(&mut self) -> Result<Vec<MailFolder>, MailFailure>;

    /// Returns the path of the counterpart of a folder: that of the same use, if the target has one, else that of the
    /// same path. It is made, and shown to mail programs, when it is not there.
    ///
    /// # Errors
    /// Says why not.
    fn counterpart(&mut self, folder: &MailFolder) -> Result<String, MailFailure>;

    /// Opens a folder and its counterpart for looking; `None` when the folder is gone from the source.
    ///
    /// # Errors
    /// Says what kept a server from doing so.
    fn open_pair(&mut self, path: &str, into: &str) -> Result<Option<OpenPair>, MailFailure>;

    /// Tells of messages of the open folder of the source, in any order: of those with higher numbers than `after` the
    /// lowest `at_most`.
    ///
    /// # Errors
    /// Says what kept the server from telling.
    fn messages(&mut self, after: Uid, at_most: usize, each: EachMessage<'_>) -> Result<(), MailFailure>;

    /// Appends one message of the open folder to its counterpart, with its flags, keywords and date, byte for byte.
    ///
    /// # Errors
    /// Refused: it was not appended. Lost: nobody knows.
    fn copy(&mut self, message: &MessageState) -> Result<Copied, MailFailure>;

    /// Reads the texts of messages of the open folder, or of its counterpart, from a number on, and tells their prints.
    ///
    /// # Errors
    /// Says what kept the server from telling.
    fn prints(&mut self, side: Side, from: Uid, each: EachPrint<'_>) -> Result<(), MailFailure>;
}

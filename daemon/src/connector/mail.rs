//! Messages in mailboxes: the words in which stages speak of them, whatever protocol is behind.
//!
//! [`Mailroom`] opens one mailbox at a time. A session has proven whose mailbox it is in before it is handed out. What
//! it is asked for is bounded by the callers: they hand over at most some thousand messages at once, and take texts in
//! parts.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use retention_core::event::saga::Residue;
use retention_core::id::EntityId;
use retention_core::record::message::{Correspondents, MessageStanding};

use super::outcome::{Cause, Refusal, Retry};

/// How long a server is given after a connection was lost: enough to be started anew.
const RETRY_LOST: Duration = Duration::from_secs(5);

/// The largest text that a session hands out, in bytes: ten times what the largest providers accept.
pub const TEXT_BYTES_MAX: u64 = 2 << 30;

/// The codes with which a server refuses to open a folder that it lists, and goes on serving the others.
pub const REFUSALS_OF_A_FOLDER: [&str; 4] =
    ["mail-refused", "mail-no-right", "mail-folder-missing", "mail-uids-do-not-last"];

/// The code of a folder that is there and does not open, for whatever the server says of it.
pub const FOLDER_CLOSED: &str = "mail-folder-closed";

/// The number of a message in its folder: never used again there under the same [`FolderState::uid_validity`].
pub type Uid = u32;

/// Something was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MailFailure {
    /// The server said no, or there was nobody to ask.
    #[error("the mail server did not do it ({}); nothing was changed", .0.code)]
    Refused(Refusal),
    /// The connection ended before the answer.
    #[error("the connection to the mail server was lost ({})", .0.code)]
    Lost(Cause),
}

impl MailFailure {
    /// Returns it as a refusal, for what changes nothing: losing the answer of a question does no harm.
    #[must_use]
    pub fn of_question(self) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Lost(cause) => Refusal { code: cause.code, retry: Retry::After(RETRY_LOST) },
        }
    }

    /// Returns the stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code,
            Self::Lost(cause) => cause.code,
        }
    }
}

/// One folder that can hold messages.
#[derive(Clone, PartialEq, Eq)]
pub struct MailFolder {
    /// Its name, in UTF-8. Personal data.
    pub name: String,
    /// What it is for, in lower case without the backslash: `archive`, `sent`, `drafts`, `junk`, `trash`.
    pub special_use: BTreeSet<String>,
}

/// What a folder was when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderState {
    /// Under another number, equal uids are other messages.
    pub uid_validity: u32,
    /// The lowest uid that the next message may have.
    pub uid_next: u32,
    /// How many messages there are.
    pub exists: u32,
    /// Grows with every change, where the server counts changes.
    pub highest_modseq: Option<u64>,
}

impl FolderState {
    /// A folder that only shows messages of others numbers none of its own. No folder has this numbering (RFC 9051,
    /// 2.3.1.1), so what was recorded of it before is neither there nor known to be gone.
    pub const OF_OTHERS: Self = Self { uid_validity: 0, uid_next: 0, exists: 0, highest_modseq: None };
}

/// What is asked about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Uid, date of receipt, size, flags and keywords.
    State,
    /// These, and who it is from and to.
    Record,
}

/// Which messages are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// All of the folder.
    All,
    /// These, ascending.
    Uids(&'a [Uid]),
}

/// What a server says of one message. Personal data: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageState {
    /// Its number.
    pub uid: Uid,
    /// What policies and runs look at.
    pub standing: MessageStanding,
    /// Who it is from and to; empty unless [`Depth::Record`] was asked for. `None` when its header could not be read: who
    /// stands there, nobody knows.
    pub correspondents: Option<Correspondents>,
    /// Whether the server has shown that it sends a notice of its own in the place of the message. Its text is not to be had
    /// either.
    pub is_stood_in_for: bool,
}

/// The flag of what is to be expunged.
pub const DELETED: &str = "deleted";

/// Takes texts as they come, each in parts. Breaking ends the transfer as soon as the protocol allows.
pub trait TextSink {
    /// The text of a message of `bytes` bytes begins.
    fn begin(&mut self, uid: Uid, bytes: u64) -> ControlFlow<()>;
    /// A part of it.
    fn part(&mut self, bytes: &[u8]) -> ControlFlow<()>;
    /// It is whole.
    fn end(&mut self) -> ControlFlow<()>;
}

/// Hears of one message; breaking ends the transfer as soon as the protocol allows.
pub type EachMessage<'a> = &'a mut dyn FnMut(MessageState) -> ControlFlow<()>;

/// One mailbox, open.
pub trait MailSession {
    /// Says whether the server can remove named messages and no others (UIDPLUS, RFC 4315).
    fn can_expunge_exactly(&self) -> bool;

    /// Returns the folders of the mailbox that can hold messages of their own.
    ///
    /// # Errors
    /// Says what kept the server from telling.
    fn folders(&mut self) -> Result<Vec<MailFolder>, MailFailure>;

    /// Opens a folder for looking; `None` when it is not there, [`FolderState::OF_OTHERS`] when it only shows messages that
    /// lie in other folders.
    ///
    /// # Errors
    /// Says what kept the server from telling.
    fn look_into(&mut self, folder: &str) -> Result<Option<FolderState>, MailFailure>;

    /// Opens a folder for changing it; as [`Self::look_into`].
    ///
    /// # Errors
    /// Says what kept the server from doing so.
    fn work_on(&mut self, folder: &str) -> Result<Option<FolderState>, MailFailure>;

    /// Tells of messages in the open folder, in any order; those that are not there are not told.
    ///
    /// # Errors
    /// Says what kept the server from telling. What was told before is true.
    fn messages(&mut self, which: Which<'_>, depth: Depth, each: EachMessage<'_>) -> Result<(), MailFailure>;

    /// Says whether the sizes that the server tells are those of the texts that it hands out.
    fn tells_exact_sizes(&self) -> bool;

    /// Hands out the texts of messages in the open folder, in any order, without marking them as seen. Returns those that
    /// are there and that the server does not hand out, or only a notice in their place.
    ///
    /// # Errors
    /// Says what kept the server from doing so.
    fn texts(&mut self, uids: &[Uid], sink: &mut dyn TextSink) -> Result<Vec<Uid>, MailFailure>;

    /// Flags messages as deleted, except those that changed after `unless_after`, which are returned. Only a server
    /// that counts changes keeps to that; any other flags all of them.
    ///
    /// # Errors
    /// Refused when none was flagged, lost when nobody knows.
    fn flag_deleted(&mut self, uids: &[Uid], unless_after: Option<u64>) -> Result<Vec<Uid>, MailFailure>;

    /// Takes that flag away again.
    ///
    /// # Errors
    /// As [`Self::flag_deleted`].
    fn unflag_deleted(&mut self, uids: &[Uid]) -> Result<(), MailFailure>;

    /// Removes those of the named messages that are flagged as deleted, and no others.
    ///
    /// # Errors
    /// Refused when none was removed, lost when nobody knows.
    fn expunge(&mut self, uids: &[Uid]) -> Result<(), MailFailure>;

    /// Lets the server forget, where it can, what it keeps of messages that are gone from these folders, and returns
    /// what may remain.
    ///
    /// # Errors
    /// Says what kept it from that; another attempt may help.
    fn clear_residue(&mut self, folders: &[&str]) -> Result<Vec<Residue>, MailFailure>;
}

/// A mailbox that is registered. Personal data: no `Debug`.
#[derive(Clone)]
pub struct Registered {
    /// The mailbox.
    pub entity: EntityId,
    /// Its address.
    pub address: Arc<str>,
    /// The name of its server in the configuration, which is the source of its messages.
    pub source: Arc<str>,
}

/// How many mailboxes of one server may be worked in at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// The name of the server in the configuration.
    pub server: Arc<str>,
    /// How many, at least one.
    pub at_once: usize,
}

/// Opens the mailboxes that are registered.
pub trait Mailroom: Send + Sync {
    /// Returns the mailboxes that are registered, each once.
    fn registered(&self) -> Vec<Registered>;

    /// Returns how much room the server of a mailbox has for whoever works in several; `None` when nobody knows the
    /// mailbox or its server.
    fn room(&self, mailbox: EntityId) -> Option<Room>;

    /// Logs in and proves whose mailbox it is.
    ///
    /// # Errors
    /// Says what kept it from that.
    fn open(&self, mailbox: EntityId) -> Result<Box<dyn MailSession + '_>, MailFailure>;
}

/// A mailroom without mailboxes, for a daemon that has no mail server.
pub struct NoMailroom;

/// Nothing is configured.
const NO_MAIL_SERVERS: MailFailure = MailFailure::Refused(Refusal { code: "no_mail_servers", retry: Retry::Operator });

impl Mailroom for NoMailroom {
    fn registered(&self) -> Vec<Registered> {
        Vec::new()
    }

    fn room(&self, _: EntityId) -> Option<Room> {
        None
    }

    fn open(&self, _: EntityId) -> Result<Box<dyn MailSession + '_>, MailFailure> {
        Err(NO_MAIL_SERVERS)
    }
}

//! What happened in a source.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use bincode::{Decode, Encode};

use crate::id::{Digest, EntityId, LayoutId};
use crate::record::activity::ActivityClass;
use crate::record::{EntityRecord, Layout, Relation};
use crate::time::Timestamp;

pub mod v1;

/// Schema 1. A layout got its number.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LayoutRecorded {
    /// The number: one more than the last.
    pub id: LayoutId,
    /// The arrangement.
    pub layout: Layout,
}

/// Schema 1. The state of an entity, whole.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EntityChanged {
    /// The state.
    pub record: EntityRecord,
}

/// Schema 1. A complete snapshot did not list the entity.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EntityAbsent {
    /// The intake that missed it; for a message, the mailbox whose scan did.
    pub intake: EntityId,
}

/// Schema 1. Somebody asked that the mailbox in the envelope be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MailboxScanRequested {}

/// How a look at a mailbox ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScanEnd {
    /// Every folder was read.
    Done,
    /// The mailbox could not be read to its end. What was recorded before stands; nothing is taken for gone.
    Failed,
}

/// Schema 1. The mailbox in the envelope was looked at: its messages are in the log as they were then.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MailboxScanned {
    /// How it ended.
    pub end: ScanEnd,
    /// A stable code of the failure, or of why messages were left out of a look that is done; empty when there was none.
    pub code: String,
    /// Folders that were read.
    pub folders: u64,
    /// Messages in them.
    pub messages: u64,
    /// Messages that were new.
    pub added: u64,
    /// Messages whose flags or keywords differed.
    pub changed: u64,
    /// Messages that are no longer where they were.
    pub absent: u64,
}

/// Schema 2. Links of one entity, all of them as known now; replaces what was recorded before.
///
/// Public on purpose: numbers and instants stay readable when the entity's own key is gone, so that purging an
/// activity never moves `last_activity` of a contact back, which would make the contact due earlier.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EntityLinked {
    /// The other ends.
    pub links: Vec<Link>,
    /// When the activity took place, if the entity is one.
    pub at: Option<Timestamp>,
    /// What sort of activity it is; `None` when nobody can tell: then it counts under every policy.
    pub class: Option<ActivityClass>,
}

/// One link between known entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Link {
    /// How they are tied.
    pub relation: Relation,
    /// The other end.
    pub to: EntityId,
}

/// Schema 1. A file or directory was claimed.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct IntakeStarted {
    /// The source in the configuration.
    pub source: String,
    /// The name of the file or directory, which may name a person.
    pub name: String,
    /// SHA-256 over the content.
    pub content: Digest,
}

impl std::fmt::Debug for IntakeStarted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IntakeStarted")
            .field("source", &self.source)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

/// How an intake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IntakeEnd {
    /// All rows were taken.
    Done,
    /// Some rows were rejected; the others were taken.
    DoneWithRejects,
    /// The file as a whole could not be read to its end, or nothing of it could be taken. What was taken before stands,
    /// and the same content may come again.
    Rejected,
    /// The same content had been taken in before.
    Duplicate,
}

/// Schema 1. The end of an intake, with what it did.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct IntakeCompleted {
    /// The source in the configuration.
    pub source: String,
    /// SHA-256 over the content.
    pub content: Digest,
    /// How it ended.
    pub end: IntakeEnd,
    /// Rows read.
    pub rows: u64,
    /// Entities that were new.
    pub added: u64,
    /// Entities that differed.
    pub changed: u64,
    /// Rows that told nothing new.
    pub unchanged: u64,
    /// Rows that were rejected.
    pub rejected: u64,
    /// Entities that a snapshot no longer held.
    pub absent: u64,
    /// Links that lead to nothing known.
    pub dangling: u64,
    /// Known defects of the source that were seen and handled: code and count.
    pub defects: Vec<(String, u64)>,
    /// SHA-256 of the report that lies beside the file.
    pub report: Digest,
}

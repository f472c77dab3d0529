//! Copying a mailbox from one mail server to another.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use bincode::{Decode, Encode};

use crate::id::{EntityId, MigrationId, Position};
use crate::time::Timestamp;

/// Schema 1. A person asks that the messages of one registered mailbox be copied into another. The source is only read.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct MigrationRequested {
    /// The mailbox that is copied.
    pub source: EntityId,
    /// The mailbox that it is copied into.
    pub target: EntityId,
    /// Folders that are left out, by their paths.
    pub exclude: Vec<String>,
    /// Messages of more bytes are left out.
    pub max_bytes: Option<u64>,
}

impl std::fmt::Debug for MigrationRequested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { source, target, exclude: _, max_bytes } = self;
        let mut shown = f.debug_struct("MigrationRequested");
        shown.field("source", source).field("target", target).field("max_bytes", max_bytes).finish_non_exhaustive()
    }
}

/// Schema 1. A folder of the source was opened for the first time, and its counterpart at the target is there.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct MigrationFolderOpened {
    /// The migration.
    pub migration: MigrationId,
    /// The number of the folder in the migration, from 0.
    pub folder: u32,
    /// The path of the folder at the source.
    pub path: String,
    /// The path of its counterpart at the target.
    pub into: String,
    /// Under which validity the source numbers its messages.
    pub source_validity: u32,
    /// Under which the target does.
    pub target_validity: u32,
}

impl std::fmt::Debug for MigrationFolderOpened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MigrationFolderOpened")
            .field("migration", &self.migration)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// Schema 1. Messages are about to be appended: the intent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MigrationCopyStarted {
    /// The migration.
    pub migration: MigrationId,
    /// The folder.
    pub folder: u32,
    /// The numbers of the messages at the source, ascending: they are appended in this order.
    pub uids: Vec<u32>,
    /// The lowest number that the target could give to the next message when this was begun.
    pub target_uid_next: u32,
}

/// Schema 1. So many of the messages of the intent before are at the target, the first ones; the others were not
/// appended.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MigrationCopied {
    /// The migration.
    pub migration: MigrationId,
    /// The folder.
    pub folder: u32,
    /// Everything up to this number was copied or left out.
    pub upto: u32,
    /// How many were copied.
    pub messages: u32,
    /// Their bytes.
    pub bytes: u64,
    /// How many were left out because they are too large, or because the target refuses them for good.
    pub left_out: u32,
    /// How many were gone from the source when they were to be copied.
    pub gone: u32,
}

/// Schema 1. It does not go on for now.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MigrationFailed {
    /// The migration.
    pub migration: MigrationId,
    /// A stable code.
    pub code: String,
    /// When it is tried again.
    pub retry_at: Timestamp,
}

/// Schema 1. A person stops it.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct MigrationStopRequested {
    /// The migration.
    pub migration: MigrationId,
    /// Why.
    pub reason: String,
}

impl std::fmt::Debug for MigrationStopRequested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MigrationStopRequested").field("migration", &self.migration).finish_non_exhaustive()
    }
}

/// Schema 1. Every message of a folder was read again at both servers, through new logins.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MigrationFolderVerified {
    /// The migration.
    pub migration: MigrationId,
    /// The folder.
    pub folder: u32,
    /// How many messages of the source were looked for.
    pub messages: u64,
    /// How many of them are not at the target, byte for byte and with the same date.
    pub missing: u64,
}

/// How a migration ended. The numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum MigrationEnd {
    /// Every message that was not left out is at the target, byte for byte.
    Verified,
    /// Some are not as they were: the target changed them, or somebody did.
    Differs,
    /// A person stopped it.
    Stopped,
    /// It cannot go on: the source numbers its messages anew, or a mailbox was removed.
    Failed,
}

impl MigrationEnd {
    /// Returns the name that people and programs see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Differs => "differs",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// Schema 1. It is over.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MigrationEnded {
    /// The migration.
    pub migration: MigrationId,
    /// How.
    pub end: MigrationEnd,
    /// A stable code of why, when it failed.
    pub code: String,
    /// The last event of the log that was looked at for it.
    pub looked_at: Position,
}

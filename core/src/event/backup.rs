//! Backups, and what a store that was restored from one has to say.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use bincode::{Decode, Encode};

use crate::id::{Digest, Position};
use crate::time::Timestamp;

/// Schema 1. A backup was written and read back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BackupMade {
    /// The last event that it holds.
    pub last: Position,
    /// SHA-256 of its manifest, which has the SHA-256 of every file.
    pub manifest: Digest,
    /// Until when its copy of the keys is kept. A key that is destroyed later lives on in it until then.
    pub keys_until: Timestamp,
}

/// Schema 1. A copy of the keys that belonged to a backup was overwritten and removed, because its time was over.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BackupKeysRemoved {
    /// The last event of the backup.
    pub last: Position,
}

/// Schema 1. This store was restored from a backup. From here on nothing is purged and no access is given or taken
/// until a person confirms it: the world has gone on since the backup was made.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StoreRestored {
    /// The last event of the backup; this log and the one that was lost are the same up to it.
    pub last: Position,
    /// When the backup was made.
    pub made_at: Timestamp,
    /// How many numbers of entities the backup has. Later ones are given out anew.
    pub entities: u32,
    /// How many keys were destroyed again, because the ledger of erasures or a log beside the backup names them.
    pub destroyed_again: u64,
    /// Whether a ledger of erasures was read. Without one nobody knows what was erased after the backup.
    pub ledger_read: bool,
    /// How many events the newest checkpoint covers that was shown, if one was: those after `last` are lost.
    pub checkpoint: Option<u64>,
}

/// Schema 1. A person looked at a restored store: purges and grants go on.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct RestoreConfirmed {
    /// The position of the `StoreRestored` that this answers.
    pub restored: Position,
    /// What the person looked at.
    pub reason: String,
}

impl std::fmt::Debug for RestoreConfirmed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RestoreConfirmed").field("restored", &self.restored).finish_non_exhaustive()
    }
}

/// Schema 1. The key of the envelope's entity was left out of a restored store: it was destroyed after the backup was
/// made, as the ledger of erasures or a log beside the backup says.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyDestroyedAgain {
    /// The position of its destruction in the log that was lost.
    pub lost: Position,
    /// When it was destroyed.
    pub destroyed_at: Timestamp,
}

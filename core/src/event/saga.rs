//! What sagas did.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{Digest, EntityId, Position, RunId, SagaId};
use crate::time::Timestamp;

/// The kinds of saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScriptKind {
    /// Export, verify, quarantine, purge, verify absence.
    ExportPurge,
    /// Export, verify, quarantine, expunge on the server, verify absence, destroy the data keys.
    MessagePurge,
    /// Export, verify, quarantine, record what is left, destroy the data keys, verify absence.
    ExportRedact,
    /// Restrict the use.
    Restrict,
}

/// Schema 1. A saga began. Its position names it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SagaStarted {
    /// The run it is part of.
    pub run: RunId,
    /// The script.
    pub script: ScriptKind,
    /// The version of the script: a saga is finished by the script it began with.
    pub script_version: u16,
    /// The mailbox of its items.
    pub mailbox: Option<EntityId>,
    /// Its items, ascending by entity.
    pub items: Vec<SagaItem>,
}

/// One entity that a saga works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct SagaItem {
    /// The number of the item in the plan.
    pub item: u32,
    /// The entity.
    pub entity: EntityId,
    /// Its version in the plan.
    pub version: Position,
}

/// The most items of one saga: one bundle is written for them, and a few events, so that a million purged
/// entities cost about a million small events.
pub const ITEMS_PER_SAGA: usize = 10_000;

/// A step of any script. The numbers are on disk.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Write a bundle with all items.
    Export,
    /// Read the bundle back from disk and compare every item.
    VerifyExport,
    /// Hide the items, reversibly, until an instant.
    Quarantine,
    /// Destroy the data keys of exactly what the verified manifest lists. The pivot.
    Purge,
    /// Look for the items and find nothing.
    VerifyAbsence,
    /// Remove exactly the messages that the verified manifest lists from their server. The pivot of messages.
    Expunge,
    /// Destroy the data keys of the messages that are gone from their server.
    DestroyKeys,
    /// Record what is left of the items anew, each under a key of its own. The pivot of redactions.
    Redact,
    /// End the use of the items. The pivot of restrictions: only a person brings them back into use.
    Restrict,
}

impl Step {
    /// Returns the name that people see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::VerifyExport => "verify_export",
            Self::Quarantine => "quarantine",
            Self::Purge => "purge",
            Self::VerifyAbsence => "verify_absence",
            Self::Expunge => "expunge",
            Self::DestroyKeys => "destroy_keys",
            Self::Redact => "redact",
            Self::Restrict => "restrict",
        }
    }

    /// Says whether there is no way back once its intent is recorded.
    #[must_use]
    pub fn is_pivot(self) -> bool {
        match self {
            Self::Purge | Self::Expunge | Self::Redact | Self::Restrict => true,
            Self::Export | Self::VerifyExport | Self::Quarantine | Self::VerifyAbsence | Self::DestroyKeys => false,
        }
    }
}

/// Schema 1. The intent: durable before the effect.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StepStarted {
    /// The saga.
    pub saga: SagaId,
    /// The step.
    pub step: Step,
    /// Counts up from 1.
    pub attempt: u32,
    /// Makes repetition harmless: the same for every attempt of this step of this saga.
    pub idempotency_key: Digest,
    /// For the pivot: the entities it will purge, ascending. Otherwise empty.
    pub items: Vec<EntityId>,
}

/// What proves an effect.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Receipt {
    /// A bundle lies on disk.
    Exported {
        /// SHA-256 of its manifest.
        manifest: Digest,
        /// The instant in its name.
        exported_at: Timestamp,
        /// How many items it holds.
        items: u64,
        /// The bytes of its files.
        bytes: u64,
    },
    /// The bundle was read back and every item is there as it is in the log.
    ExportVerified {
        /// SHA-256 of its manifest.
        manifest: Digest,
        /// How many items were compared.
        items: u64,
    },
    /// The items are hidden.
    Quarantined {
        /// They may be purged from then on.
        until: Timestamp,
        /// How many.
        items: u64,
    },
    /// The data keys are overwritten, read back, and recorded as destroyed.
    Purged {
        /// How many.
        items: u64,
    },
    /// None of the items can be read or found.
    Absent {
        /// How many were looked for.
        items: u64,
    },
    /// The compensation took effect.
    Undone,
    /// The server removed the messages.
    Expunged {
        /// How many were named by the intent and are not left alone. Not counted is what a look had found gone before;
        /// earlier versions counted it.
        items: u64,
    },
    /// A new login found none of the messages.
    AbsentFromServer {
        /// How many were looked for.
        items: u64,
        /// What the server may keep of them all the same.
        residue: Vec<Residue>,
    },
    /// What is left of the items is recorded.
    Redacted {
        /// How many were named by the intent and are not left alone.
        items: u64,
    },
    /// The use of the items is restricted.
    Restricted {
        /// How many were named by the intent and are not left alone.
        items: u64,
    },
}

/// What a server may keep of a message that is gone from its folder.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Residue {
    /// Dovecot's index cache held sender and subject; it was rewritten without them, and so was storage that keeps many
    /// messages in one file (mdbox), but by earlier versions.
    CacheCleared,
    /// Dovecot's index cache may hold sender and subject, and its storage (mdbox) the messages, until they are rewritten:
    /// nobody could ask for that.
    CacheMayRemain,
    /// Cyrus may keep the file of the message until its `cyr_expire` has run.
    DelayedExpunge,
    /// Nothing is known of what this kind of server keeps.
    ServerUnknown,
}

impl Residue {
    /// Returns the name that people see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CacheCleared => "cache_cleared",
            Self::CacheMayRemain => "cache_may_remain",
            Self::DelayedExpunge => "delayed_expunge",
            Self::ServerUnknown => "server_unknown",
        }
    }
}

/// Schema 1. A step took effect.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StepSucceeded {
    /// The saga.
    pub saga: SagaId,
    /// The step.
    pub step: Step,
    /// Whether this is the compensation of the step.
    pub compensation: bool,
    /// What proves it.
    pub receipt: Receipt,
}

/// How a step failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The effect did not happen.
    Refused,
    /// Nobody knows; only a probe can tell.
    Unknown,
}

/// Schema 1. A step did not take effect, or nobody knows. Of [`Step::VerifyExport`] it may follow success, before the pivot:
/// the bundle was read once more, and is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StepFailed {
    /// The saga.
    pub saga: SagaId,
    /// The step.
    pub step: Step,
    /// Which attempt.
    pub attempt: u32,
    /// How.
    pub failure: Failure,
    /// A stable code.
    pub code: String,
    /// The next attempt is not before then; `None` means no further attempt.
    pub retry_at: Option<Timestamp>,
}

impl StepFailed {
    /// The code of an attempt for which the disk had no room.
    pub const NO_SPACE: &'static str = "no_space";

    /// The code of an attempt for which the quota of the disk left no room.
    pub const QUOTA_EXCEEDED: &'static str = "quota_exceeded";

    /// The code of an attempt that may not write into the exports directory.
    pub const PERMISSION_DENIED: &'static str = "permission_denied";

    /// The code of an attempt whose exports directory is on a file system that takes no writes.
    pub const READ_ONLY_FILE_SYSTEM: &'static str = "read_only_file_system";

    /// The code of an encrypted bundle that can be read back no more, since the key for that was lost with the process that
    /// wrote it: it is written anew.
    pub const BUNDLE_KEY_GONE: &'static str = "bundle_key_gone";

    /// The code of an export of messages some of whose texts the mail server does not hand out as they are, or in folders that it
    /// does not open: it has just left those alone, and is tried again without them.
    pub const TEXT_WITHHELD: &'static str = "mail-text-withheld";

    /// Says whether an attempt that failed with this code needs nothing but room on the disk.
    #[must_use]
    pub fn needs_room(code: &str) -> bool {
        [Self::NO_SPACE, Self::QUOTA_EXCEEDED].contains(&code)
    }

    /// Says whether an attempt that failed with this code needs nothing but an exports directory that takes it: room in
    /// it, or leave to write there.
    #[must_use]
    pub fn needs_exports(code: &str) -> bool {
        Self::needs_room(code) || [Self::PERMISSION_DENIED, Self::READ_ONLY_FILE_SYSTEM].contains(&code)
    }
}

/// Why an item of a plan is left alone.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// It changed after it was judged.
    Changed,
    /// A hold covers it.
    Held,
    /// Its use is restricted.
    Restricted,
    /// It is no longer due under the policy as it was approved.
    NotDue,
    /// It is already gone.
    Gone,
    /// An operator took it back out of quarantine.
    Restored,
    /// Another run already has it.
    InAnotherRun,
}

impl SkipReason {
    /// Returns the name that people and programs see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Held => "held",
            Self::Restricted => "restricted",
            Self::NotDue => "not_due",
            Self::Gone => "gone",
            Self::Restored => "restored",
            Self::InAnotherRun => "in_another_run",
        }
    }
}

/// Schema 1. Drift: items that are left alone, never replaced by others.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ItemsSkipped {
    /// The saga.
    pub saga: SagaId,
    /// The entities, with the reason.
    pub items: Vec<(EntityId, SkipReason)>,
}

/// How a saga ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SagaEnd {
    /// All steps are done.
    Completed,
    /// All effects are undone.
    Compensated,
    /// Neither is possible without a person.
    Stuck,
}

impl SagaEnd {
    /// Returns the name that people and programs see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Compensated => "compensated",
            Self::Stuck => "stuck",
        }
    }
}

/// Schema 1. A saga is over.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SagaEnded {
    /// The saga.
    pub saga: SagaId,
    /// How.
    pub end: SagaEnd,
    /// Entities purged.
    pub purged: u64,
}

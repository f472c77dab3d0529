//! Mailbox permissions that we give for a time, and take back.
//!
//! Who gets a grant and the names of folders can name a person, so they stand in sealed bodies only. What is public is
//! counts, steps and instants: enough to know at any time which grant has no end yet.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::saga::Failure;
use crate::id::{Digest, EntityId, GrantId, Handle, RunId};
use crate::mailbox::Rights;
use crate::time::Timestamp;

/// What a grant is for. The numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum GrantPurpose {
    /// A person asked for it.
    Request,
    /// A run needs it to do its work, and ends it.
    Run {
        /// The run.
        run: RunId,
    },
    /// Nothing is given: what stands on the server is taken away, as the plan of a run says.
    Removal {
        /// The run.
        run: RunId,
    },
    /// Nothing is given: what has stood on the server for longer than its policy allows is taken away.
    Standing,
}

impl GrantPurpose {
    /// Says whether something is taken away instead of given.
    #[must_use]
    pub fn is_removal(self) -> bool {
        match self {
            Self::Request | Self::Run { .. } => false,
            Self::Removal { .. } | Self::Standing => true,
        }
    }
}

/// Schema 1. A grant is wanted. Its position names the grant.
///
/// The numbers of the policy are copied, so that an edit of the policy changes nothing about a grant that was asked
/// for.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct GrantRequested {
    /// The mailbox.
    pub mailbox: EntityId,
    /// The keyed digest of the server and the identifier: equal for the same principal.
    pub principal: Handle,
    /// Who gets it: the identifier as the server's permissions write it.
    pub identifier: String,
    /// What it is for.
    pub purpose: GrantPurpose,
    /// The policy that allows it.
    pub policy: String,
    /// SHA-256 of that policy's canonical form.
    pub policy_digest: Digest,
    /// How long it is given, in milliseconds, counted from the first intent to give it.
    pub duration_ms: u64,
    /// How long it can be given at most, renewals included, in milliseconds.
    pub max_ms: u64,
    /// How long after its end it may still be there before people are alarmed, in milliseconds.
    pub alarm_after_ms: u64,
    /// How many persons must approve.
    pub approvals: u32,
    /// How long an approval counts, and how long the request waits for one, in milliseconds.
    pub approval_valid_ms: u64,
    /// Why.
    pub reason: String,
    /// The ticket that asks for it, if there is one.
    pub ticket: Option<String>,
}

impl std::fmt::Debug for GrantRequested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrantRequested")
            .field("mailbox", &self.mailbox)
            .field("purpose", &self.purpose)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

macro_rules! said_of_a_grant {
    ($(#[$doc:meta])* $name:ident { $(#[$text_doc:meta])* $text:ident $(, $(#[$more_doc:meta])* $more:ident: $type:ty)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Encode, Decode)]
        pub struct $name {
            /// The grant.
            pub grant: GrantId,
            $($(#[$more_doc])* pub $more: $type,)*
            $(#[$text_doc])*
            pub $text: String,
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field("grant", &self.grant).finish_non_exhaustive()
            }
        }
    };
}

said_of_a_grant! {
    /// Schema 1. A person accepted a grant that somebody else asked for.
    GrantApproved {
        /// A word of theirs.
        comment
    }
}
said_of_a_grant! {
    /// Schema 1. A person refused a grant: it is never given.
    GrantRejected {
        /// Why.
        comment
    }
}
said_of_a_grant! {
    /// Schema 1. The lease is made longer, within what the policy allows.
    GrantRenewed {
        /// Why.
        reason,
        /// How long from now on, in milliseconds.
        duration_ms: u64
    }
}
said_of_a_grant! {
    /// Schema 1. The grant is to end now.
    GrantRevokeRequested {
        /// Why.
        reason
    }
}

/// When the rights on folders were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FolderReading {
    /// Before the grant: what stood there.
    Before,
    /// After it was given.
    Given,
    /// After it was revoked.
    Revoked,
}

/// The rights of one principal on one folder.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct FolderRights {
    /// The name of the folder.
    pub folder: String,
    /// What was there.
    pub before: Rights,
    /// What was asked for.
    pub asked: Rights,
    /// What was read back. In a reading before the grant: what stands there without any grant of ours.
    pub after: Rights,
}

impl std::fmt::Debug for FolderRights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FolderRights({} → {} → {})", self.before, self.asked, self.after)
    }
}

/// Schema 1. A part of what was read, folder by folder, sealed with the key of the mailbox. All parts of a reading
/// stand right before the `GrantStepSucceeded` that they belong to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct GrantFoldersRead {
    /// The grant.
    pub grant: GrantId,
    /// When they were read.
    pub reading: FolderReading,
    /// The folders.
    pub folders: Vec<FolderRights>,
}

/// The most folders in one event: with names of 1,000 bytes still far below what a body may have.
pub const FOLDERS_PER_EVENT: usize = 2_000;

/// A step of a grant. The numbers are on disk.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum GrantStep {
    /// Read what stands on every folder.
    Read,
    /// Give the rights on every folder and read them back.
    Give,
    /// List the folders again, put back on every folder what stood before, and read it back.
    Revoke,
    /// Look through a new login, and end the sessions that are open.
    VerifyRevoked,
}

impl GrantStep {
    /// Returns the name that people see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Give => "give",
            Self::Revoke => "revoke",
            Self::VerifyRevoked => "verify_revoked",
        }
    }
}

/// Schema 1. The intent: durable before the effect.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct GrantStepStarted {
    /// The grant.
    pub grant: GrantId,
    /// The step.
    pub step: GrantStep,
    /// Counts up from 1.
    pub attempt: u32,
}

/// Through whose login a revoke was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerifiedAs {
    /// A new login of the one who had it.
    Grantee,
    /// A new login that reads the permissions of every folder.
    Admin,
}

/// What became of the sessions that were open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum OpenSessions {
    /// The server ended them.
    Ended,
    /// The server cannot end them: a session opened before the revoke may have gone on with what it had open.
    MayHaveLivedOn {
        /// Until then at the latest; `None` until it logs out.
        until: Option<Timestamp>,
    },
}

/// What proves a step.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum GrantReceipt {
    /// What stood there was read and recorded.
    Read {
        /// How many folders there are.
        folders: u32,
        /// On how many of them the principal had some right without a grant.
        standing: u32,
        /// In how many events right before this one.
        parts: u32,
    },
    /// The rights were given and read back.
    Given {
        /// On how many folders.
        folders: u32,
        /// How many of them were changed for it.
        changed: u32,
        /// In how many events right before this one.
        parts: u32,
    },
    /// What stood before was put back and read back.
    Revoked {
        /// On how many folders, those made during the grant included.
        folders: u32,
        /// How many of them were changed for it.
        changed: u32,
        /// On how many of them the principal keeps what stood before.
        standing: u32,
        /// In how many events right before this one.
        parts: u32,
    },
    /// Nothing of the grant is left.
    VerifiedGone {
        /// Through whose login.
        verified_as: VerifiedAs,
        /// How many folders were looked at.
        folders: u32,
        /// What became of open sessions.
        sessions: OpenSessions,
    },
}

/// Schema 1. A step took effect.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct GrantStepSucceeded {
    /// The grant.
    pub grant: GrantId,
    /// The step.
    pub step: GrantStep,
    /// What proves it.
    pub receipt: GrantReceipt,
}

/// Schema 1. A step did not take effect, or nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct GrantStepFailed {
    /// The grant.
    pub grant: GrantId,
    /// The step.
    pub step: GrantStep,
    /// Which attempt.
    pub attempt: u32,
    /// How.
    pub failure: Failure,
    /// A stable code.
    pub code: String,
    /// The next attempt is not before then; `None` means that it is not given any more. Revoking always has a next
    /// one.
    pub retry_at: Option<Timestamp>,
}

/// How a grant ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum GrantEnd {
    /// It was given, and is verified to be gone.
    Revoked,
    /// It was given, and another grant of the same principal still stands: the last one takes everything away.
    HandedOver {
        /// The other grant.
        to: GrantId,
    },
    /// It could not be given, and is verified to have left nothing.
    NotGiven,
    /// A person refused it before it was given.
    Rejected,
    /// It was taken back before it was given.
    Withdrawn,
    /// Nobody approved it in time.
    Expired,
}

impl GrantEnd {
    /// Returns the name that people and programs see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::HandedOver { .. } => "handed_over",
            Self::NotGiven => "not_given",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
        }
    }
}

/// Schema 1. A grant is over.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct GrantEnded {
    /// The grant.
    pub grant: GrantId,
    /// How.
    pub end: GrantEnd,
}

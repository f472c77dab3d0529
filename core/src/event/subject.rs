//! What data subjects ask for, and what becomes of it.
//!
//! No identifier stands here in clear: a person is looked for by handles, and records are named by their numbers.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{Digest, EntityId, PlanId, Position, RequestId};
use crate::subject::SoughtMark;
use crate::time::Timestamp;

pub mod v1;

/// The name under which plans and bundles of erasures appear where those of a policy have its name. No policy has it.
pub const ERASURE_POLICY: &str = "subject-request";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// A copy of everything (GDPR Art. 15).
    Access,
    /// A copy that programs can read (Art. 20).
    Portability,
    /// Erasure (Art. 17).
    Erase,
    /// Restriction of use (Art. 18).
    Restrict,
    /// An objection (Art. 21).
    Object,
}

impl RequestKind {
    /// Returns the name that people see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Portability => "portability",
            Self::Erase => "erase",
            Self::Restrict => "restrict",
            Self::Object => "object",
        }
    }
}

/// On which ground erasure is asked for (GDPR Art. 17(1)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErasureGround {
    /// (a) No longer needed for what it was collected for.
    NoLongerNeeded,
    /// (b) Consent was withdrawn, and there is no other ground.
    ConsentWithdrawn,
    /// (c) The person objected, and nothing overrides that.
    Objection,
    /// (d) It was processed unlawfully.
    Unlawful,
    /// (e) The law demands erasure.
    LegalObligation,
    /// (f) It was collected from a child by an online service.
    Child,
}

impl ErasureGround {
    /// Returns the name that people see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoLongerNeeded => "no_longer_needed",
            Self::ConsentWithdrawn => "consent_withdrawn",
            Self::Objection => "objection",
            Self::Unlawful => "unlawful",
            Self::LegalObligation => "legal_obligation",
            Self::Child => "child",
        }
    }
}

/// Why a record is kept although its erasure was asked for (GDPR Art. 17(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErasureException {
    /// (a) Freedom of expression and information.
    Expression,
    /// (b) A legal obligation, or a task in the public interest.
    LegalObligation,
    /// (c) Public health.
    PublicHealth,
    /// (d) Archiving in the public interest, research, statistics.
    Archiving,
    /// (e) Legal claims.
    LegalClaims,
}

impl ErasureException {
    /// Returns the name that people see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Expression => "expression",
            Self::LegalObligation => "legal_obligation",
            Self::PublicHealth => "public_health",
            Self::Archiving => "archiving",
            Self::LegalClaims => "legal_claims",
        }
    }
}

/// Schema 1. A data subject asks for something. Its position names the request.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct SubjectRequested {
    /// What.
    pub kind: RequestKind,
    /// On which ground, for an erasure.
    pub ground: Option<ErasureGround>,
    /// By what the person is looked for.
    pub marks: Vec<SoughtMark>,
    /// Records that are named by their number.
    pub named: Vec<EntityId>,
    /// When it was received.
    pub received_at: Timestamp,
    /// Until when it must be answered (GDPR Art. 12(3)).
    pub due_at: Timestamp,
    /// In which zone that was counted.
    pub timezone: String,
    /// What it is called elsewhere; may be empty.
    pub reference: String,
}

impl std::fmt::Debug for SubjectRequested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubjectRequested")
            .field("kind", &self.kind)
            .field("due_at", &self.due_at)
            .finish_non_exhaustive()
    }
}

/// Schema 1. The answer takes longer, and the data subject was told so.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct SubjectRequestExtended {
    /// Which request.
    pub request: RequestId,
    /// Until when it must be answered now.
    pub due_at: Timestamp,
    /// Why.
    pub reason: String,
}

/// Schema 1. It is known who asks, and which records are theirs. A later one takes the place of an earlier one.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct SubjectIdentified {
    /// Which request.
    pub request: RequestId,
    /// The records, ascending.
    pub records: Vec<EntityId>,
    /// How it was made sure that the person is who they say.
    pub how: String,
}

/// Schema 1. Records of a request are kept. Its position names the exception.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct ErasureExcepted {
    /// Which request.
    pub request: RequestId,
    /// The records, ascending.
    pub records: Vec<EntityId>,
    /// By which exception.
    pub exception: ErasureException,
    /// Who answers for it.
    pub owner: String,
    /// When somebody must look whether it still holds.
    pub review_at: Timestamp,
    /// Why.
    pub reason: String,
}

/// Schema 1. An exception no longer holds: what it kept is proposed for erasure.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct ErasureExceptionEnded {
    /// Which request.
    pub request: RequestId,
    /// The exception: where it stands in the log.
    pub exception: Position,
    /// Why.
    pub reason: String,
}

/// Schema 1. A plan is wanted for the records of an erasure. Its position names the plan.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ErasurePlanRequested {
    /// For which request.
    pub request: RequestId,
}

/// Schema 1. What the plan of a request leaves out, and why: it is refused, for now.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ErasureKept {
    /// Of which request.
    pub request: RequestId,
    /// The plan.
    pub plan: PlanId,
    /// The records, ascending.
    pub records: Vec<KeptRecord>,
}

/// One record that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct KeptRecord {
    /// Which.
    pub record: EntityId,
    /// Why.
    pub why: KeptWhy,
}

/// Why a record is kept although its erasure was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum KeptWhy {
    /// A legal hold covers it.
    Held,
    /// Its use is restricted.
    Restricted,
    /// A policy keeps it that long: the law that it rests on demands so.
    Until {
        /// Until then.
        until: Timestamp,
    },
    /// An exception keeps it.
    Excepted,
    /// A policy could not be evaluated on it, or is suspended: a person must look.
    Undecided,
    /// It is in the hands of another run.
    InAnotherRun,
    /// It changed while it was being erased.
    Changed,
    /// A person took it out of the run.
    TakenOut,
}

impl KeptWhy {
    /// Says whether its end stands in the log, so that nothing has to be judged to see it.
    #[must_use]
    pub fn ends_by_the_log(self) -> bool {
        match self {
            Self::Held | Self::Restricted | Self::Changed => true,
            Self::Until { .. } | Self::Undecided | Self::Excepted | Self::InAnotherRun | Self::TakenOut => false,
        }
    }

    /// Says whether it may pass without an event that is about the record: by the time, or by another record.
    #[must_use]
    pub fn may_pass_unseen(self) -> bool {
        match self {
            Self::Until { .. } | Self::Undecided | Self::Held => true,
            Self::Restricted | Self::Excepted | Self::InAnotherRun | Self::Changed | Self::TakenOut => false,
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestEnd {
    /// All of it was done.
    Fulfilled,
    /// A part was refused, with reasons.
    RefusedInPart,
    /// It was refused.
    Refused,
    /// The person took it back.
    Withdrawn,
    /// Nothing of them is stored.
    NothingStored,
}

impl RequestEnd {
    /// Returns the name that people see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fulfilled => "fulfilled",
            Self::RefusedInPart => "refused_in_part",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
            Self::NothingStored => "nothing_stored",
        }
    }
}

/// Schema 1. The data subject has the answer.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct SubjectRequestCompleted {
    /// Which request.
    pub request: RequestId,
    /// How it ended.
    pub end: RequestEnd,
    /// Why, and what the person was told.
    pub reason: String,
}

/// Schema 2. A copy of what is stored of a data subject was handed out.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SubjectPackageMade {
    /// For which request.
    pub request: RequestId,
    /// How many records are in it.
    pub records: u64,
    /// SHA-256 of the file as it was handed out.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// For how many keys it was encrypted; 0: it was not.
    pub recipients: u32,
    /// How many messages are in it with their whole texts.
    pub texts: u64,
    /// The messages whose texts are not in it, ascending.
    pub missing: Vec<MissingText>,
}

/// A message whose text is not in a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct MissingText {
    /// Which.
    pub record: EntityId,
    /// Why.
    pub why: MissingWhy,
}

/// Why the text of a message could not be fetched from its mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissingWhy {
    /// Nobody knows its mailbox: it is not registered, or no longer.
    NotRegistered,
    /// The server could not be asked, or did not answer.
    NotReached,
    /// Its folder is not there any more.
    FolderGone,
    /// Its folder was numbered anew, so nobody can tell which message it was.
    Renumbered,
    /// It is not in its folder any more: it was moved or removed.
    Gone,
    /// It broke off before it was whole, also when it was tried again.
    CutOff,
    /// It is larger than a package takes.
    TooLarge,
}

impl MissingWhy {
    /// Returns why, as a fragment of a sentence for the person who asked.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NotRegistered => "no mail server is known for it",
            Self::NotReached => "its mail server could not be reached",
            Self::FolderGone => "its folder is not there any more",
            Self::Renumbered => "its folder was numbered anew",
            Self::Gone => "it was moved or removed",
            Self::CutOff => "it did not arrive whole",
            Self::TooLarge => "it is too large",
        }
    }
}

/// Schema 1. A recipient was told that data was erased or restricted, or that could not be done (GDPR Art. 19).
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct RecipientTold {
    /// For which request.
    pub request: RequestId,
    /// The recipient: where it stands in the log that they got a copy.
    pub recipient: Position,
    /// How, or why not.
    pub how: String,
}

macro_rules! nameless_debug {
    ($($name:ident)*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field("request", &self.request).finish_non_exhaustive()
            }
        }
    )*};
}

nameless_debug!(
    SubjectRequestExtended SubjectIdentified ErasureExcepted ErasureExceptionEnded SubjectRequestCompleted RecipientTold
);

//! Data subjects, their requests, restrictions.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::{ActorName, EntityState};
use crate::event::restriction::RestrictionGround;
use crate::event::subject::{ErasureException, ErasureGround, KeptWhy, MissingWhy, RequestEnd, RequestKind};
use crate::id::{Digest, EntityId, HoldId, PlanId, Position, RequestId, RestrictionId};
use crate::record::Kind;
use crate::time::Timestamp;
use crate::view::RequestState;

/// One record that is, or may be, about a data subject. It says nothing of its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubjectRow {
    /// The record.
    pub record: EntityId,
    /// What it is.
    pub kind: Option<Kind>,
    /// The source it comes from.
    pub source: Option<String>,
    /// The mailbox it lives in.
    pub mailbox: Option<EntityId>,
    /// What becomes of it.
    pub state: EntityState,
    /// Whether it is taken as theirs without a further word.
    pub sure: bool,
    /// Why it was found, the strongest first.
    pub why: Vec<String>,
    /// The holds that cover it.
    pub holds: Vec<HoldId>,
    /// Whether its use is restricted.
    pub restricted: bool,
    /// The requests that are about it.
    pub requests: Vec<RequestId>,
}

/// One request of a data subject.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubjectRequestRow {
    /// Its name.
    pub request: RequestId,
    /// What is asked for.
    pub kind: RequestKind,
    /// On which ground, for an erasure.
    pub ground: Option<ErasureGround>,
    /// Where it stands.
    pub state: RequestState,
    /// When it was received.
    pub received_at: Timestamp,
    /// Until when it must be answered.
    pub due_at: Timestamp,
    /// In which zone that is counted.
    pub timezone: String,
    /// Whether that was extended.
    pub extended: bool,
    /// Whether the answer is late.
    pub overdue: bool,
    /// How many records are theirs.
    pub records: u64,
    /// How many of them are still there.
    pub left: u64,
    /// How many texts of messages are missing in the newest package.
    pub texts_missing: u64,
    /// The newest plan of an erasure.
    pub plan: Option<PlanId>,
    /// Bundles with copies of erased records, which are destroyed when it is completed.
    pub bundles: u64,
    /// What it is called elsewhere.
    pub reference: String,
    /// Who entered it.
    pub entered_by: ActorName,
    /// How it ended.
    pub end: Option<RequestEnd>,
    /// When.
    pub ended_at: Option<Timestamp>,
}

impl std::fmt::Debug for SubjectRequestRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubjectRequestRow").field("request", &self.request).finish_non_exhaustive()
    }
}

/// A request without its records, of which there may be many: they are a list of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubjectRequestDetail {
    /// What a list shows.
    pub request: SubjectRequestRow,
    /// Who said which records are theirs.
    pub identified_by: Option<ActorName>,
    /// The exceptions.
    pub exceptions: Vec<ExceptionRow>,
    /// Who got copies of the records, and has to be told what became of them.
    pub recipients: Vec<RecipientRow>,
    /// Every bundle that has copies of the records, also those that policies had written before.
    pub copies: Vec<CopyRow>,
    /// The plans, in order.
    pub plans: Vec<PlanId>,
}

/// A bundle with copies of records of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CopyRow {
    /// SHA-256 of its manifest.
    pub manifest: Digest,
    /// When it was written.
    pub exported_at: Timestamp,
    /// How many of the records are in it.
    pub records: u64,
    /// Whether it goes when the request is completed, or 30 days after it was written if that is later. That of a request
    /// which was taken back stays, and the others as long as their policies keep them.
    pub goes_with_the_answer: bool,
    /// Whether a hold keeps it, so that it does not go before that is over.
    #[serde(default)]
    pub held: bool,
}

/// Somebody who got a copy of records of a request.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecipientRow {
    /// Where it stands in the log that they got it.
    pub recipient: Position,
    /// Who.
    pub to: String,
    /// When.
    pub at: Timestamp,
    /// Of which bundle: SHA-256 of its manifest.
    pub manifest: Digest,
    /// The records that are in it, by their numbers there: one that was redacted since has another number now.
    pub records: Vec<EntityId>,
    /// When they were told.
    pub told_at: Option<Timestamp>,
    /// Through which channel of notices; nothing when a person says so.
    pub told_through: Option<String>,
    /// Whether they have to be told now: something is erased or restricted of which they do not know.
    pub to_tell: bool,
    /// The channel of the configuration that tells them; without one a person has to.
    pub channel: Option<String>,
}

impl std::fmt::Debug for RecipientRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecipientRow").field("recipient", &self.recipient).finish_non_exhaustive()
    }
}

/// One record of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestRecordRow {
    /// The record.
    pub record: EntityId,
    /// What becomes of it.
    pub state: EntityState,
    /// Why the newest plan or its run left it alone.
    pub kept: Option<KeptWhy>,
    /// Whether an exception keeps it.
    pub excepted: bool,
    /// The holds that cover it.
    pub holds: Vec<HoldId>,
    /// Whether its use is restricted.
    pub restricted: bool,
    /// Why its text is missing in the newest package.
    pub text_missing: Option<MissingWhy>,
}

/// How far the search for a person reaches into one registered mailbox: its messages are known as they were when it was
/// last read whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReachRow {
    /// The mailbox.
    pub mailbox: EntityId,
    /// The name of its server in the configuration.
    pub server: String,
    /// Whether it was read.
    pub state: ReachState,
    /// When it was last read whole.
    pub read_at: Option<Timestamp>,
    /// How many messages it had then.
    pub messages: Option<u64>,
    /// Why the newest attempt to read it failed, or left messages out.
    pub failed: Option<String>,
}

/// Whether a mailbox was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReachState {
    /// Never as a whole: whoever is looked for may stand in any of its messages.
    NeverRead,
    /// As a whole, and the newest attempt was that one.
    Read,
    /// All but messages whose headers could not be read: they are not known, and whoever is looked for may stand in them.
    ReadInPart,
    /// As a whole, and a newer attempt failed.
    FailedSince,
}

/// One exception from an erasure.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExceptionRow {
    /// Where it stands in the log.
    pub exception: Position,
    /// Which exception.
    pub ground: ErasureException,
    /// The records.
    pub records: Vec<EntityId>,
    /// Who answers for it.
    pub owner: String,
    /// When somebody must look again.
    pub review_at: Timestamp,
    /// Why.
    pub reason: String,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl std::fmt::Debug for ExceptionRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExceptionRow").field("exception", &self.exception).finish_non_exhaustive()
    }
}

/// One restriction.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestrictionRow {
    /// Its name.
    pub restriction: RestrictionId,
    /// On which ground of GDPR Art. 18 a person placed it.
    pub ground: Option<RestrictionGround>,
    /// The policy under which a run placed it.
    pub policy: Option<String>,
    /// The request that it answers.
    pub request: Option<RequestId>,
    /// How many entities it restricts, or did.
    pub count: u64,
    /// The entities; of one under a policy they stand in its event alone.
    pub entities: Vec<EntityId>,
    /// Why a person placed it.
    pub reason: String,
    /// Who placed it.
    pub placed_by: ActorName,
    /// When.
    pub placed_at: Timestamp,
    /// When it was lifted.
    pub lifted_at: Option<Timestamp>,
}

impl std::fmt::Debug for RestrictionRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RestrictionRow").field("restriction", &self.restriction).finish_non_exhaustive()
    }
}

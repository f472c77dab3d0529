//! Why a decision is what it is: values, never sentences, so that every reader renders the same thing.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{HoldId, Position, RequestId, RestrictionId, ReviewId};
use crate::time::Timestamp;

/// The moment from which a period counts, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind", content = "name")]
pub enum StartKind {
    /// When the entity was made in its source.
    Created,
    /// When it was last changed in its source.
    Modified,
    /// The latest linked activity, post or task, or what the source itself says.
    LastActivity,
    /// When it was closed.
    Closed,
    /// When its contract ends.
    ContractEnd,
    /// When it was received.
    Received,
    /// When it happened.
    Occurred,
    /// When a permission was granted.
    Granted,
    /// When the daemon first saw it.
    FirstSeen,
    /// A date that the source's mapping names.
    Event(String),
    /// When a data subject asked for it. No policy names it.
    Requested,
    /// When a person decided that it goes, because nobody knows from when to count. No policy names it.
    Reviewed,
}

impl StartKind {
    /// Returns the name as policies write it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Created => "created".to_owned(),
            Self::Modified => "modified".to_owned(),
            Self::LastActivity => "last_activity".to_owned(),
            Self::Closed => "closed".to_owned(),
            Self::ContractEnd => "contract_end".to_owned(),
            Self::Received => "received".to_owned(),
            Self::Occurred => "occurred".to_owned(),
            Self::Granted => "granted".to_owned(),
            Self::FirstSeen => "first_seen".to_owned(),
            Self::Event(name) => format!("event:{name}"),
            Self::Requested => "requested".to_owned(),
            Self::Reviewed => "reviewed".to_owned(),
        }
    }
}

/// Why an entity is kept or disposed of.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Reason {
    /// The period has run out.
    PeriodOver {
        /// Where the period starts.
        start: StartKind,
        /// That instant.
        start_at: Timestamp,
        /// The first instant at which it is due.
        due_at: Timestamp,
    },
    /// The period has not run out.
    PeriodRunning {
        /// Where the period starts.
        start: StartKind,
        /// That instant.
        start_at: Timestamp,
        /// The first instant at which it will be due.
        due_at: Timestamp,
    },
    /// The policy is about other entities.
    OutOfScope,
    /// No date to count from.
    NoStart {
        /// The date that is missing.
        start: StartKind,
    },
    /// A legal hold covers it.
    Held {
        /// The hold.
        hold: HoldId,
    },
    /// Its use is restricted (GDPR Art. 18).
    Restricted,
    /// The policy's `suspend_while` holds.
    Suspended,
    /// Another policy keeps it for longer.
    KeptByPolicy {
        /// That policy.
        policy: String,
        /// Until then.
        until: Timestamp,
    },
    /// The policy could not be evaluated, so the entity is kept.
    CannotEvaluate {
        /// The field that was in the way.
        field: String,
    },
    /// It waits in quarantine for a purge that was already approved.
    InQuarantine,
    /// No policy is about it.
    NoPolicy,
    /// It was purged or erased before.
    Gone,
    /// Its data subject asked for erasure (GDPR Art. 17(1)).
    ErasureRequested {
        /// The request.
        request: RequestId,
        /// When it was received.
        received_at: Timestamp,
    },
    /// It is excepted from the erasure that was asked for (GDPR Art. 17(3)).
    Excepted {
        /// The request.
        request: RequestId,
    },
    /// The request that it was to be erased for does not ask for that any more.
    NotAsked {
        /// The request.
        request: RequestId,
    },
    /// It goes only when a person has decided so.
    ReviewNeeded {
        /// When its period was over; `None` when nobody knows from when to count.
        due_at: Option<Timestamp>,
    },
    /// A person decided that it is kept for now.
    KeptByReview {
        /// The decision.
        review: ReviewId,
        /// Who decided.
        by: u32,
        /// Until when.
        until: Timestamp,
    },
    /// The policy redacts, and nothing is there that it would take out: it was redacted before, or never had it.
    NothingToRedact,
    /// The policy restricts, and a policy has restricted it before.
    UseEnded {
        /// That restriction.
        restriction: RestrictionId,
    },
    /// The policy restricts, and a person brought it back into use since it was last changed.
    BackInUse {
        /// The restriction that was lifted.
        restriction: RestrictionId,
    },
    /// The policy redacts, and a field cannot be taken out: it names the record, or a text cannot stand in its place.
    CannotRedact {
        /// The field that is in the way.
        field: String,
    },
    /// It is a month of the log, and what was begun is not over, so what was written in it is needed.
    StillNeeded {
        /// Where that stands in the log.
        by: Position,
    },
}

impl Reason {
    /// The code of [`Reason::UseEnded`], under which those are counted that a policy has restricted before.
    pub const USE_ENDED: &'static str = "use_ended";

    /// Returns the short code under which totals are counted.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::PeriodOver { .. } => "period_over",
            Self::PeriodRunning { .. } => "period_running",
            Self::OutOfScope => "out_of_scope",
            Self::NoStart { .. } => "no_start",
            Self::Held { .. } => "held",
            Self::Restricted => "restricted",
            Self::Suspended => "suspended",
            Self::KeptByPolicy { .. } => "kept_by_policy",
            Self::CannotEvaluate { .. } => "cannot_evaluate",
            Self::InQuarantine => "in_quarantine",
            Self::NoPolicy => "no_policy",
            Self::Gone => "gone",
            Self::ErasureRequested { .. } => "erasure_requested",
            Self::Excepted { .. } => "excepted",
            Self::NotAsked { .. } => "not_asked",
            Self::ReviewNeeded { .. } => "review_needed",
            Self::KeptByReview { .. } => "kept_by_review",
            Self::NothingToRedact => "nothing_to_redact",
            Self::CannotRedact { .. } => "cannot_redact",
            Self::UseEnded { .. } => Self::USE_ENDED,
            Self::BackInUse { .. } => "back_in_use",
            Self::StillNeeded { .. } => "still_needed",
        }
    }
}

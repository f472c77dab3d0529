//! Policies, plans and runs.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{Digest, EntityId, PlanId, Position, RunId};
use crate::time::Timestamp;

/// Schema 1. The set of policies that is active from here on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PolicySetActivated {
    /// SHA-256 over the ids and digests of all policies, in order.
    pub digest: Digest,
    /// The policies, ordered by id.
    pub policies: Vec<PolicyVersion>,
}

/// One policy of a set.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
pub struct PolicyVersion {
    /// The stem of its file.
    pub id: String,
    /// SHA-256 of its canonical form.
    pub digest: Digest,
}

/// Schema 1. The text of a policy, kept for evidence. It may name persons.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct PolicyRecorded {
    /// The stem of its file.
    pub id: String,
    /// SHA-256 of its canonical form.
    pub digest: Digest,
    /// The file, byte for byte.
    pub text: String,
}

impl std::fmt::Debug for PolicyRecorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyRecorded").field("id", &self.id).field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanPurpose {
    /// To be run.
    Run,
    /// To be looked at: it can never be approved or run.
    Preview,
}

/// Schema 1. A plan is wanted. Its position names the plan.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PlanRequested {
    /// The policy.
    pub policy: String,
    /// What it is for.
    pub purpose: PlanPurpose,
    /// The instant to judge at; `None` means the instant of this event. Only a preview may look ahead.
    pub as_of: Option<Timestamp>,
}

/// One entity of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct PlanItem {
    /// The entity.
    pub entity: EntityId,
    /// The position of its newest change when it was judged: its version.
    pub version: Position,
    /// The instant from which the period counts.
    pub start_at: Timestamp,
    /// The first instant at which it was due.
    pub due_at: Timestamp,
    /// Whether `start_at` is the fallback that the policy allows.
    pub start_is_fallback: bool,
}

/// Schema 1. Items of a plan, in plan order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PlanItems {
    /// The plan.
    pub plan: PlanId,
    /// Counts up from 0.
    pub chunk: u32,
    /// At most [`ITEMS_PER_CHUNK`].
    pub items: Vec<PlanItem>,
}

/// The most items in one [`PlanItems`].
pub const ITEMS_PER_CHUNK: usize = 1_000;

/// A limit that a plan goes beyond.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
pub struct GuardTripped {
    /// Which limit: `max_items`, `max_percent`, `keep_at_least`, `population_drop_percent`, `first_run`,
    /// `cooling_off`.
    pub guard: String,
    /// What the policy allows.
    pub limit: u64,
    /// What the plan would do.
    pub actual: u64,
}

/// A count of entities that were kept, by reason code.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
pub struct KeptCount {
    /// The code of the reason.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// Schema 1. The plan is whole.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PlanFrozen {
    /// The plan.
    pub plan: PlanId,
    /// What it is for.
    pub purpose: PlanPurpose,
    /// The policy.
    pub policy: String,
    /// Its version.
    pub policy_digest: Digest,
    /// The log up to here was looked at.
    pub log_position: Position,
    /// The instant judged at.
    pub as_of: Timestamp,
    /// How many entities the policy's scope holds.
    pub population: u64,
    /// How many entities would go.
    pub items: u64,
    /// How many were due or nearly so and are kept, by reason.
    pub kept: Vec<KeptCount>,
    /// Limits that it goes beyond; an approval of this very plan overrides them.
    pub tripped: Vec<GuardTripped>,
    /// Whether a person must approve before it may run.
    pub needs_approval: bool,
    /// How many different persons must approve.
    pub approvals_needed: u32,
    /// How long an approval counts, in whole milliseconds.
    pub approval_valid_ms: u64,
    /// SHA-256 that names the plan: see `plan::digest`.
    pub digest: Digest,
}

/// Schema 1. There is no plan.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PlanRefused {
    /// The plan that was asked for.
    pub plan: PlanId,
    /// A stable code.
    pub code: String,
}

impl PlanRefused {
    /// Nothing is in it that is not in a plan of the same schedule that waits already.
    pub const ALREADY_WAITS: &str = "already_waits";
}

/// Schema 1. One person accepts.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct PlanApproved {
    /// The plan.
    pub plan: PlanId,
    /// What exactly was accepted.
    pub digest: Digest,
    /// A word of the person.
    pub comment: String,
}

impl std::fmt::Debug for PlanApproved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlanApproved").field("plan", &self.plan).field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// Schema 1. One person refuses; the plan can never run.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct PlanRejected {
    /// The plan.
    pub plan: PlanId,
    /// What exactly was refused.
    pub digest: Digest,
    /// Why.
    pub comment: String,
}

impl std::fmt::Debug for PlanRejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlanRejected").field("plan", &self.plan).field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// Schema 1. A run is wanted. Its position names the run.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RunRequested {
    /// The plan.
    pub plan: PlanId,
    /// What exactly is to be run.
    pub digest: Digest,
}

/// Schema 1. The run's checks passed; effects follow.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RunStarted {
    /// The run.
    pub run: RunId,
    /// The plan.
    pub plan: PlanId,
    /// How many items it begins with.
    pub items: u64,
}

/// Schema 1. The run's checks failed; there was no effect.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RunRefused {
    /// The run.
    pub run: RunId,
    /// The plan.
    pub plan: PlanId,
    /// A stable code.
    pub code: String,
}

impl RunRefused {
    /// The policy is not the one that the plan was made under.
    pub const STALE: &str = "plan_stale";
}

macro_rules! run_request {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Encode, Decode)]
        pub struct $name {
            /// The run.
            pub run: RunId,
            /// Why.
            pub reason: String,
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field("run", &self.run).finish_non_exhaustive()
            }
        }
    };
}

run_request!(
    /// Schema 1. Stop before the next item.
    RunPaused
);
run_request!(
    /// Schema 1. Go on.
    RunResumed
);
run_request!(
    /// Schema 1. Undo what can be undone and end.
    RunCancelled
);

impl RunCancelled {
    /// The reason of the daemon, which ends a run on its own account for this alone: more than the policy allows of what it
    /// looked at had changed since the plan was made.
    pub const DRIFTED: &str = "max_drift_percent";
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    /// All sagas completed.
    Completed,
    /// It was cancelled; what had not been purged is as before.
    Cancelled,
    /// At least one saga is stuck: a person is needed.
    Stuck,
}

impl RunEnd {
    /// Returns the name that people and programs see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Stuck => "stuck",
        }
    }
}

/// Schema 1. The sum of a run.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RunEnded {
    /// The run.
    pub run: RunId,
    /// How it ended.
    pub end: RunEnd,
    /// Entities purged.
    pub purged: u64,
    /// Entities left alone.
    pub skipped: u64,
}

/// Schema 1. A schedule's time came, and a plan was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ScheduleFired {
    /// The policy.
    pub policy: String,
    /// The instant for which it was set.
    pub nominal_at: Timestamp,
    /// Whether this catches up on missed times.
    pub catch_up: bool,
}

/// Schema 1. Times that passed without a run.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ScheduleMissed {
    /// The policy.
    pub policy: String,
    /// The first missed instant.
    pub first_at: Timestamp,
    /// The last missed instant.
    pub last_at: Timestamp,
    /// How many.
    pub count: u64,
}

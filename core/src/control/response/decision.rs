//! Policies, plans, runs, holds, schedules.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::PlanReviewRow;
use crate::control::ActorName;
use crate::event::decision::{GuardTripped, KeptCount, PlanPurpose};
use crate::event::saga::{Failure, SagaEnd, Step};
use crate::id::{Digest, EntityId, GrantId, HoldId, PlanId, Position, RunId, SagaId};
use crate::policy::{AccessRight, RunAccess};
use crate::record::Kind;
use crate::time::Timestamp;
use crate::view::{Drift, GrantState, PlanState, RunState};

/// One active policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyRow {
    /// The stem of its file.
    pub policy: String,
    /// What people call it.
    pub title: String,
    /// `draft`, `simulate` or `enforce`.
    pub state: String,
    /// SHA-256 of its canonical form.
    pub digest: Digest,
    /// How many entities its scope holds.
    pub population: u64,
    /// How many of them are due now, by date alone: what a hold, a review or another policy keeps is counted too, and a
    /// plan leaves it out.
    pub due: u64,
    /// When its schedule fires next.
    pub next_at: Option<Timestamp>,
}

/// One active policy with its text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyDetail {
    /// What a list shows.
    pub policy: PolicyRow,
    /// The file, as it was recorded.
    pub text: String,
}

impl std::fmt::Debug for PolicyDetail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyDetail").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// What another set of policies would do differently, policy by policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyDiffRow {
    /// The policy.
    pub policy: String,
    /// What happens to it.
    pub change: PolicyChange,
    /// `draft`, `simulate` or `enforce` under the active set; `None`: it is not there.
    #[serde(default)]
    pub state_before: Option<String>,
    /// Its state under the other set. What is due is counted whatever the state, and disposed of under `enforce` alone.
    #[serde(default)]
    pub state_after: Option<String>,
    /// The keys by which it may come to dispose of more than the enforced version, or sooner, and those by which another policy
    /// (`min_keep of contracts`) protected from it: then each of its plans needs a person for seven days (`cooling_off`).
    #[serde(default)]
    pub cools_off: Vec<String>,
    /// How many entities are due now under the active set.
    pub due_before: u64,
    /// How many would be due now under the other set.
    pub due_after: u64,
    /// How many would be newly due.
    pub newly_due: u64,
    /// How many would no longer be due.
    pub newly_kept: u64,
    /// How many wait now for the decision of a person under the active set.
    pub waits_before: u64,
    /// How many would wait under the other set. What was decided to be disposed of waits anew under a changed policy.
    pub waits_after: u64,
    /// Some of those newly due, at most ten, to look at with `explain`.
    pub examples: Vec<EntityId>,
    /// The access that its runs take under the active set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_before: Option<RunAccessTerms>,
    /// The access that they would take under the other set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_after: Option<RunAccessTerms>,
}

/// The entities of one kind from one source, and whether enforced policies are about them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CoverageRow {
    /// The name of the source.
    pub source: String,
    /// What they are.
    pub kind: Kind,
    /// How many there are, those in quarantine included.
    pub entities: u64,
    /// How many of them an enforced policy is about.
    pub covered: u64,
    /// How many of them none is about: they are kept until somebody decides.
    pub uncovered: u64,
    /// How many of the covered ones never fall due as they are, because a start is missing, a suspension holds, or
    /// something cannot be read.
    pub never_due: u64,
    /// How many of the uncovered ones are still to be judged: ask again.
    pub waiting: u64,
    /// The enforced policies that are about some of them.
    pub policies: Vec<String>,
}

/// How a policy differs between two sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyChange {
    /// Only the other set has it.
    Added,
    /// Both have it, with different content.
    Changed,
    /// Only the active set has it.
    Removed,
    /// Both have the same.
    Same,
}

/// One plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanRow {
    /// Its name.
    pub plan: PlanId,
    /// The policy.
    pub policy: String,
    /// What it is for.
    pub purpose: PlanPurpose,
    /// Where it stands.
    pub state: PlanState,
    /// Who asked for it.
    pub requested_by: ActorName,
    /// When.
    pub requested_at: Timestamp,
    /// Everything about it once it is frozen.
    pub frozen: Option<FrozenPlan>,
    /// The code of why it was refused.
    pub refusal: Option<String>,
    /// Who accepted it.
    pub approvals: Vec<ApprovalRow>,
    /// On whose decisions its items rest, when the policy asks a person first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviews: Vec<PlanReviewRow>,
    /// The run that took it.
    pub run: Option<RunId>,
}

/// A plan that can no longer change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FrozenPlan {
    /// SHA-256 that names it: an approval names this.
    pub digest: Digest,
    /// The version of the policy.
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
    /// Limits that it goes beyond.
    pub tripped: Vec<GuardTripped>,
    /// Whether a person must approve before it may run.
    pub needs_approval: bool,
    /// How many different persons must approve.
    pub approvals_needed: u32,
    /// How many accept it now; approvals lose their force with time.
    pub approvals_valid: u32,
    /// The access that its run takes to each mailbox in which it works: whoever accepts the plan accepts it. A list
    /// leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<RunAccessTerms>,
}

/// The access that runs of a policy take to each mailbox in which they work, while they work there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunAccessTerms {
    /// To whom it is given, as the mail server's permissions write it.
    pub to: String,
    /// What is given.
    pub right: AccessRight,
    /// After how many seconds it is taken back at the latest, each time.
    pub at_most_seconds: u64,
}

impl RunAccessTerms {
    /// Says it as a policy does.
    #[must_use]
    pub fn of(access: &RunAccess) -> Self {
        Self { to: access.principal.clone(), right: access.right, at_most_seconds: access.max_ms.div_ceil(1_000) }
    }
}

impl std::fmt::Debug for RunAccessTerms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunAccessTerms").field("at_most_seconds", &self.at_most_seconds).finish_non_exhaustive()
    }
}

/// One acceptance of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApprovalRow {
    /// Who.
    pub by: ActorName,
    /// When.
    pub at: Timestamp,
}

/// One item of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanItemRow {
    /// Its number in the plan.
    pub item: u64,
    /// The entity.
    pub entity: EntityId,
    /// Its version when it was judged.
    pub version: Position,
    /// The instant from which the period counts.
    pub start_at: Timestamp,
    /// The first instant at which it was due.
    pub due_at: Timestamp,
    /// Whether `start_at` is the fallback that the policy allows.
    pub start_is_fallback: bool,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunRow {
    /// Its name.
    pub run: RunId,
    /// The plan it executes.
    pub plan: PlanId,
    /// The policy.
    pub policy: String,
    /// Where it stands.
    pub state: RunState,
    /// The code of why it was refused.
    pub refusal: Option<String>,
    /// Who asked for it.
    pub requested_by: ActorName,
    /// When.
    pub requested_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// How many items it has.
    pub items: u64,
    /// Entities purged so far: nothing is left of them.
    pub purged: u64,
    /// Entities of which fields were taken out so far; what is left of them is there under another number.
    #[serde(default)]
    pub redacted: u64,
    /// Entities whose use has ended so far, which are kept.
    #[serde(default)]
    pub restricted: u64,
    /// Entities left alone so far.
    pub skipped: u64,
    /// How much of what it looked at had changed since its plan was made, if that ended it early (`max_drift_percent`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Drift>,
    /// Its sagas, in order. A list leaves them out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sagas: Vec<SagaRow>,
    /// The grants that it took for its work, in order. A list leaves them out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access: Vec<RunAccessRow>,
    /// The same in short: on how many mailboxes the access is given back, being given back, or still open, and by which
    /// grants. Left out when it took none, and in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_now: Option<String>,
}

/// One grant that a run took to a mailbox. To whom, `grant show` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunAccessRow {
    /// The grant.
    pub grant: GrantId,
    /// The mailbox.
    pub mailbox: EntityId,
    /// Where it stands.
    pub state: GrantState,
    /// When its lease ends at the latest, once that counts.
    pub ends_at: Option<Timestamp>,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// The code of the newest failure to give it or to take it back.
    pub failed: Option<String>,
}

/// One saga of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SagaRow {
    /// Its name.
    pub saga: SagaId,
    /// How many items it has.
    pub items: u64,
    /// The last step that took effect.
    pub done: Option<Step>,
    /// The step under way, or that failed.
    pub step: Option<Step>,
    /// How it ended.
    pub end: Option<SagaEnd>,
    /// How the newest attempt failed.
    pub failure: Option<Failure>,
    /// The items wait in quarantine until then.
    pub quarantined_until: Option<Timestamp>,
}

/// One hold.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HoldRow {
    /// Its name.
    pub hold: HoldId,
    /// What people call the case.
    pub name: String,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// What the case is called elsewhere.
    pub reference: String,
    /// How many entities it names.
    pub entities: u64,
    /// How many mailboxes it covers.
    pub mailboxes: u64,
    /// The policies under which nothing is disposed of.
    pub policies: Vec<String>,
    /// Whether it catches what arrives later.
    pub standing: bool,
    /// The filter of its standing query, as it was written. Only `hold show` says it.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// How many entities its filter caught; `None` without one, which catches all that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caught: Option<u64>,
    /// How many entities are held because a field that the filter asks for cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<u64>,
    /// How many entities and changes the filter has still to judge. Until then they are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unjudged: Option<u64>,
    /// When somebody should look whether it is still needed.
    pub review_at: Option<Timestamp>,
    /// When it was released.
    pub released_at: Option<Timestamp>,
    /// Until when it protects, once it was released.
    pub protects_until: Option<Timestamp>,
    /// Who placed it.
    pub placed_by: ActorName,
    /// When.
    pub placed_at: Timestamp,
}

impl std::fmt::Debug for HoldRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HoldRow").field("hold", &self.hold).field("entities", &self.entities).finish_non_exhaustive()
    }
}

/// A request was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// The event that records it.
    pub position: Position,
}

/// One schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleRow {
    /// The policy.
    pub policy: String,
    /// The five fields.
    pub cron: String,
    /// Its zone.
    pub timezone: String,
    /// When it last fired.
    pub last_at: Option<Timestamp>,
    /// When it fires next.
    pub next_at: Option<Timestamp>,
    /// How many entities are due now, counted as in the row of its policy.
    pub due: u64,
}

//! Entities and intakes.

use super::{CountedActivity, QuarantineRow, ReviewRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::EntityState;
use crate::event::change::IntakeEnd;
use crate::id::{Digest, EntityId, HoldId, Position, RestrictionId, RunId};
use crate::reason::Reason;
use crate::record::{Kind, Relation, Visibility};
use crate::time::Timestamp;

/// One entity, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntityRow {
    /// Its number.
    pub entity: EntityId,
    /// What it is; not known of what was purged.
    pub kind: Option<Kind>,
    /// The source in the configuration.
    pub source: Option<String>,
    /// The mailbox it lives in.
    pub mailbox: Option<EntityId>,
    /// What becomes of it.
    pub state: EntityState,
    /// Who shares it.
    pub visibility: Visibility,
    /// When the daemon first saw it; nothing is left of that when it is purged.
    pub first_seen: Option<Timestamp>,
    /// When the newest activity, post or task about it took place. A date that its own record tells is sealed with it:
    /// `explain` counts that as well.
    pub last_activity: Option<Timestamp>,
    /// The position of its newest change.
    pub version: Position,
}

/// One entity, opened. Personal data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntityContent {
    /// What is known without opening it.
    pub entity: EntityRow,
    /// The id in its source.
    pub external_id: String,
    /// The cells, in the order of the file.
    pub cells: Vec<Cell>,
    /// What it is tied to.
    pub links: Vec<LinkRow>,
    /// The holds that cover it.
    pub holds: Vec<HoldId>,
}

impl std::fmt::Debug for EntityContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntityContent").field("entity", &self.entity).finish_non_exhaustive()
    }
}

/// What is left to say of an entity that was purged, and nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tombstone {
    /// Its number.
    pub entity: EntityId,
    /// By which run.
    pub run: Option<RunId>,
    /// Under which policy.
    pub policy: Option<String>,
    /// On which day, in UTC.
    pub purged_on: Option<String>,
    /// What is left of it, if it was redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<EntityId>,
}

impl std::fmt::Display for Tombstone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is gone", self.entity)?;
        if let Some(run) = self.run {
            write!(f, ", by run {run}")?;
        }
        if let Some(policy) = &self.policy {
            write!(f, ", under policy {policy}")?;
        }
        if let Some(day) = &self.purged_on {
            write!(f, ", on {day}")?;
        }
        match self.left {
            Some(left) => write!(f, "; it was redacted, and what is left is {left} now"),
            None => Ok(()),
        }
    }
}

/// One cell of an entity.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cell {
    /// The name of the column.
    pub column: String,
    /// The field it fills.
    pub field: String,
    /// The text; `None` is null, which is not the same as empty.
    pub value: Option<String>,
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cell").field("column", &self.column).finish_non_exhaustive()
    }
}

/// One link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LinkRow {
    /// How they are tied.
    pub relation: Relation,
    /// The other end.
    pub to: EntityId,
}

/// Why an entity is kept or disposed of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The entity, without its content.
    pub entity: EntityRow,
    /// The instant judged at.
    pub as_of: Timestamp,
    /// What becomes of it.
    pub verdict: Verdict,
    /// What decided, the strongest first.
    pub reasons: Vec<Reason>,
    /// What each policy says by itself.
    pub policies: Vec<PolicyVerdict>,
    /// The holds that cover it.
    pub holds: Vec<HoldId>,
    /// Of these holds, those that were released, and until when they still protect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_until: Vec<HeldUntil>,
    /// Of these holds, those that cover it by their filter, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_by_filter: Vec<HeldByFilter>,
    /// The run that hides it, and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<QuarantineRow>,
    /// The restrictions by which it is not shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restrictions: Vec<RestrictionId>,
    /// What persons decided of it, the newest decision under each policy; of its items only this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviews: Vec<ReviewRow>,
    /// When its policies are looked at next: the earliest of their schedules.
    pub next_run_at: Option<Timestamp>,
    /// The whole judgement in sentences, in the order of its weight. Names nobody.
    pub text: Vec<String>,
}

impl Explanation {
    /// Puts the judgement into sentences: the same for people, for the auditor, and for programs.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let verdict = match self.verdict {
            Verdict::Due => "is due",
            Verdict::Keep | Verdict::Held => "is kept",
        };
        let mut lines = vec![format!("{} {verdict} as of {}.", self.entity.entity, self.as_of)];
        for (number, reason) in self.reasons.iter().enumerate() {
            let lead = if number == 0 { "What decides" } else { "Also" };
            lines.push(format!("{lead}: {}.", sentence(reason)));
        }
        let is_told = |hold: &HoldId| self.reasons.contains(&Reason::Held { hold: *hold });
        let others = self.holds.iter().filter(|hold| !is_told(hold));
        lines.extend(others.map(|hold| format!("Also: legal hold {hold} covers it.")));
        let released = self.held_until.iter();
        lines.extend(
            released.map(|HeldUntil { hold, until }| format!("{hold} was released, and protects until {until}.")),
        );
        lines.extend(self.held_by_filter.iter().map(HeldByFilter::sentence));
        if let Some(QuarantineRow { run, until, .. }) = &self.quarantine {
            lines
                .push(format!("Run {run} hides it until {until}, and goes on with it then unless something keeps it."));
        }
        if self.policies.is_empty() {
            lines.push("No policy that is enforced or simulated is about it.".to_owned());
        }
        for verdict in &self.policies {
            lines.push(verdict.sentence());
            lines.extend(verdict.activity.as_ref().map(|activity| activity.sentence(&verdict.policy)));
        }
        if !self.restrictions.is_empty() {
            let names: Vec<String> = self.restrictions.iter().map(ToString::to_string).collect();
            lines.push(format!("It is not shown: its use is restricted by {}.", names.join(", ")));
        }
        match self.next_run_at {
            Some(at) => lines.push(format!("The next scheduled run of these policies is at {at}.")),
            None => lines.push("No run of these policies is scheduled.".to_owned()),
        }
        lines
    }
}

/// A hold that was released and still protects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldUntil {
    /// The hold.
    pub hold: HoldId,
    /// Until when.
    pub until: Timestamp,
}

/// A hold that covers an entity by its filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldByFilter {
    /// The hold.
    pub hold: HoldId,
    /// Why.
    pub why: FilterWhy,
}

/// Why the filter of a hold covers an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FilterWhy {
    /// It matches, or did since the hold was placed.
    Caught,
    /// A field that the filter asks for cannot be read, or could not.
    Unreadable,
    /// The filter has not judged it as it is now.
    Unjudged,
}

impl HeldByFilter {
    fn sentence(&self) -> String {
        let Self { hold, why } = self;
        match why {
            FilterWhy::Caught => format!("The filter of {hold} caught it, and keeps it until {hold} is over."),
            FilterWhy::Unreadable => {
                format!(
                    "A field that the filter of {hold} asks for cannot be read, so it is held until {hold} is over."
                )
            }
            FilterWhy::Unjudged => {
                format!("The filter of {hold} has not judged it as it is now, so it is held until it has.")
            }
        }
    }
}

/// Says a reason as a part of a sentence.
fn sentence(reason: &Reason) -> String {
    match reason {
        Reason::PeriodOver { start, start_at, due_at } => {
            format!("its period counts from {} ({start_at}) and was over at {due_at}", start.name())
        }
        Reason::PeriodRunning { start, start_at, due_at } => {
            format!("its period counts from {} ({start_at}) and runs until {due_at}", start.name())
        }
        Reason::OutOfScope => "it is out of scope".to_owned(),
        Reason::NoStart { start } => format!("the date to count from, {}, is not known", start.name()),
        Reason::Held { hold } => format!("legal hold {hold} covers it"),
        Reason::Restricted => "its use is restricted (GDPR Art. 18)".to_owned(),
        Reason::NothingToRedact => "it holds nothing that the policy takes out".to_owned(),
        Reason::CannotRedact { field } => {
            format!("{field} cannot be taken out: it names the record, or a text cannot stand in its place")
        }
        Reason::UseEnded { restriction } => format!("its use has ended under a policy ({restriction})"),
        Reason::BackInUse { restriction } => {
            format!("a person lifted restriction {restriction} for it, and it was not changed since")
        }
        Reason::StillNeeded { by } => {
            format!("what event {} began is not over, so what was written in this month of the log is needed", by.0)
        }
        Reason::Suspended => "the period is suspended while `suspend_while` matches".to_owned(),
        Reason::KeptByPolicy { policy, until } => format!("the min_keep of policy {policy} protects it until {until}"),
        Reason::CannotEvaluate { field } => format!("the field {field} cannot be read, so nobody may decide"),
        Reason::InQuarantine => "it waits in quarantine for a purge that was approved".to_owned(),
        Reason::NoPolicy => "no policy is about it".to_owned(),
        Reason::Gone => "it was purged before".to_owned(),
        Reason::ErasureRequested { request, received_at } => {
            format!("its data subject asked for erasure ({request}, received {received_at}; GDPR Art. 17(1))")
        }
        Reason::Excepted { request } => format!("it is excepted from the erasure of {request} (GDPR Art. 17(3))"),
        Reason::NotAsked { request } => format!("{request} does not ask for its erasure any more"),
        Reason::ReviewNeeded { due_at: Some(at) } => {
            format!("its period was over at {at}, and it goes only when a person has decided so")
        }
        Reason::ReviewNeeded { due_at: None } => {
            "the date to count from is not known, and it goes only when a person has decided so".to_owned()
        }
        Reason::KeptByReview { review, by, until } => format!("uid {by} decided to keep it until {until} ({review})"),
    }
}

/// What becomes of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It stays.
    Keep,
    /// It is due.
    Due,
    /// A hold keeps it, whether it would be due or not.
    Held,
}

/// What one policy says about an entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyVerdict {
    /// The policy.
    pub policy: String,
    /// `simulate` or `enforce`.
    pub state: String,
    /// What it says.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Whether it counts from the date that it falls back to.
    pub is_fallback: bool,
    /// From which activity it counts, or by which a filter of it judges; `None` when it asks for none, or none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<CountedActivity>,
    /// Until when its `min_keep` protects the entity, also from other policies.
    pub keep_until: Option<Timestamp>,
    /// The holds that name it: under it nothing is disposed of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<HoldId>,
    /// Whether it ends the use and disposes of nothing.
    #[serde(default)]
    pub ends_use: bool,
    /// What its word counts for.
    pub weight: Weight,
    /// When it is looked at next by its schedule.
    pub next_run_at: Option<Timestamp>,
}

impl PolicyVerdict {
    fn sentence(&self) -> String {
        let says = self.reasons.iter().map(sentence).collect::<Vec<_>>().join("; ");
        let fallback = if self.is_fallback { " (the date that it falls back to)" } else { "" };
        let keep = self.keep_until.map(|until| format!("; its min_keep protects until {until}")).unwrap_or_default();
        let weight = match &self.weight {
            Weight::Decides if self.ends_use => "it decides, ends the use and disposes of nothing".to_owned(),
            Weight::Decides => "it decides".to_owned(),
            Weight::OnlySimulated => "it is only simulated and decides nothing".to_owned(),
            Weight::NothingDue => "it disposes of nothing yet".to_owned(),
            Weight::AlsoKeeps => "it keeps too, and something stronger decides".to_owned(),
            Weight::LaterThan { policy } => format!("policy {policy} was due before it"),
            Weight::KeptBy { reason } => format!("it loses to what keeps: {reason}"),
        };
        let held: Vec<String> = self.holds.iter().map(ToString::to_string).collect();
        let held = match held.is_empty() {
            true => String::new(),
            false => format!("; nothing is disposed of under it while it is held by {}", held.join(", ")),
        };
        format!("Policy {}: {says}{fallback}{keep}; {weight}{held}.", self.policy)
    }
}

/// What the word of a policy counts for, and why it lost if it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "counts")]
pub enum Weight {
    /// It is what decides.
    Decides,
    /// It is not enforced.
    OnlySimulated,
    /// By its own word nothing is due.
    NothingDue,
    /// It would keep the entity, and something stronger keeps it already.
    AlsoKeeps,
    /// Another policy was due before it.
    LaterThan {
        /// That policy.
        policy: String,
    },
    /// It is due, and something keeps the entity.
    KeptBy {
        /// The code of that reason.
        reason: String,
    },
}

/// One intake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IntakeRow {
    /// Its number.
    pub intake: EntityId,
    /// The source in the configuration.
    pub source: String,
    /// When it was claimed.
    pub started_at: Timestamp,
    /// When it was finished; `None` while it is being taken in.
    pub completed_at: Option<Timestamp>,
    /// SHA-256 over the content.
    pub content: Digest,
    /// How it ended.
    pub end: Option<IntakeEnd>,
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
    /// Known defects of the source that were seen and handled.
    pub defects: Vec<DefectCount>,
    /// SHA-256 of the report that lies beside the file.
    pub report: Option<Digest>,
}

/// A file or directory in a drop folder, or in the folder of a server for migration batches, that is not taken in. Its
/// name may name a person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryLeftRow {
    /// The source in the configuration; of a migration batch, the server.
    pub source: String,
    /// Its name.
    pub name: String,
    /// A stable code of why: `symlink`, `not_regular`, `directory_unknown`, `directory_inside`, `unfinished`,
    /// `too_many_files`, `too_large` or `unreadable`, which are never taken as they are; `failed`, which is tried again; `rejected`,
    /// a delivery that was rejected as a whole and lies in `rejected/`; `batch_refused`, a migration batch that lies there
    /// with its passwords.
    pub why: String,
    /// Since when it is seen there so, by this run of the daemon.
    pub since: Timestamp,
    /// Why, and what to do.
    pub message: String,
}

impl EntryLeftRow {
    /// Why a delivery lies in `rejected/`.
    pub const REJECTED: &str = "rejected";
}

impl std::fmt::Debug for EntryLeftRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntryLeftRow").field("source", &self.source).field("why", &self.why).finish_non_exhaustive()
    }
}

/// A count of one known defect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DefectCount {
    /// Its code.
    pub code: String,
    /// How often.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Position;

    #[test]
    fn a_tombstone_of_a_redaction_names_what_is_left_and_another_says_nothing_of_it() {
        let (run, policy) = (Some(RunId(Position(12))), Some("deals".to_owned()));
        let mut tombstone =
            Tombstone { entity: EntityId(1), run, policy, purged_on: Some("2026-01-15".to_owned()), left: None };
        assert_eq!(tombstone.to_string(), "E1 is gone, by run R12, under policy deals, on 2026-01-15");
        assert!(!serde_json::to_string(&tombstone).unwrap().contains("left"));
        tombstone.left = Some(EntityId(7));
        assert!(tombstone.to_string().ends_with("; it was redacted, and what is left is E7 now"));
        assert!(serde_json::to_string(&tombstone).unwrap().contains("\"left\":\"E7\""));
    }
}

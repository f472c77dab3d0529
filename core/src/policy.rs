//! Policies: what is kept for how long, why, and what happens then.
//!
//! A file is read by [`PolicySet::check`] into checked types, all or nothing. [`Policy::bind`] resolves the fields
//! that a policy names to the columns of one layout; [`BoundPolicy::assess`] then judges one entity, without asking
//! for the time; [`BoundSet::decide`] weighs all policies against holds and restrictions at an instant.
//!
//! [`PolicySet::check`]: crate::policy::PolicySet::check
//! [`Policy::bind`]: crate::policy::Policy::bind
//! [`BoundPolicy::assess`]: crate::policy::BoundPolicy::assess
//! [`BoundSet::decide`]: crate::policy::BoundSet::decide
//!
//! The checked types can only be made by `check`: they have no `Default` and no `Deserialize`.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::Digest;
use crate::reason::StartKind;
use crate::record::Kind;
use crate::record::redact::FieldMap;
use crate::schedule::{Blackout, Schedule};
use crate::time::{Align, Period, Timestamp, Zone};

mod activity;
mod assess;
mod canonical;
mod cell;
mod check;
mod decide;
mod document;
mod erasure;
mod error;
mod example;
mod filter;
mod hold;
pub mod precedence;
mod ratchet;
mod recipient;
mod review;
mod set;
mod syntax;

pub use crate::view::reviews::Reviewed;
pub use activity::ActivityEvents;
pub use assess::{Assessment, BoundPolicy, DueDay, Facts};
pub use decide::{Asked, Assessed, BoundSet, Claim, Decision, Outcome, Place, Restriction, Standing};
pub use document::{Document, DocumentForm};
pub use error::{PolicyError, PolicyProblem};
pub use example::{Example, ExampleOutcome, Expectation};
pub use filter::{Filter, Truth};
pub use hold::{Beside, BoundHoldFilter, FILTER_BYTES_MAX, HoldFilter};
pub use recipient::{AgeRecipient, NoRecipient};
pub use review::rested_on;
pub use set::{PolicyFile, PolicySet};

/// The largest policy file, in bytes: a hundred times what a long policy needs.
pub const FILE_BYTES_MAX: usize = 256 * 1024;

/// The most files in a set: a Löschkonzept has some dozens of rules.
pub const FILES_MAX: usize = 1_000;

/// One checked policy. It may name persons, so `Debug` shows its id and digest only.
pub struct Policy {
    /// The stem of its file; stable for ever.
    pub id: String,
    /// What people call it.
    pub title: String,
    /// Who answers for it; never empty when enforced.
    pub owner: String,
    /// The law it rests on; never empty when enforced.
    pub legal_basis: String,
    /// The rule or guidance it follows.
    pub citation: String,
    /// The record class, for the register of Art. 30.
    pub data_class: String,
    /// What it may do.
    pub state: State,
    /// Whether it may be loosened.
    pub lock: Lock,
    /// What it is about.
    pub scope: Scope,
    /// How long that is kept.
    pub retention: Retention,
    /// What starts a run.
    pub trigger: Trigger,
    /// When a run waits, and how long it may take.
    pub timing: Timing,
    /// What stops a run before its first effect.
    pub limits: Limits,
    /// What a run writes before it purges.
    pub export: Export,
    /// What a run does.
    pub action: Action,
    /// Who must agree before a run.
    pub approval: Approval,
    /// Who may be given access to a mailbox; `None`: nobody. A policy that has it disposes of nothing.
    pub access: Option<Access>,
    /// The access that its runs take to each mailbox in which they work; `None`: none.
    pub run_access: Option<RunAccess>,
    /// The examples of the file.
    pub examples: Vec<Example>,
    /// Where `[action]` stands in the file: line and column, from 1.
    action_at: (u32, u32),
    digest: Digest,
}

impl Policy {
    /// Returns the SHA-256 of the canonical form: the same for every spelling of the same rule. Examples do not count.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("id", &self.id).field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// What a policy may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing: it is being written.
    Draft,
    /// It makes plans that can only be looked at.
    Simulate,
    /// It makes plans that can be run.
    Enforce,
}

/// Whether a policy may be loosened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lock {
    /// It may.
    None,
    /// It can only keep more, and for longer; and it cannot be removed.
    Ratchet,
}

/// What a policy is about.
#[derive(Debug)]
pub struct Scope {
    /// The names of the sources; empty means all.
    pub sources: BTreeSet<String>,
    /// The kinds; never empty.
    pub kinds: BTreeSet<Kind>,
    /// Who shares it in its source.
    pub audience: Audience,
    /// Which of those; `None` means all, and the file says so with `match_all`.
    pub filter: Option<Filter>,
}

/// Which part of a mailbox is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// All of it.
    All,
    /// What only its owner sees.
    Private,
    /// What its sharing group sees.
    Shared,
}

/// How long something is kept, and from when that counts.
#[derive(Debug)]
pub struct Retention {
    /// How long.
    pub period: Period,
    /// From when.
    pub start: StartKind,
    /// Which activities count wherever the policy speaks of the last one; `None`: every one.
    pub activity_events: Option<ActivityEvents>,
    /// To the end of which span the start is moved.
    pub align: Align,
    /// What a missing start means.
    pub on_missing_start: OnMissingStart,
    /// In which zone days are counted.
    pub zone: Zone,
    /// While this is so, nothing is due.
    pub suspend_while: Option<Filter>,
    /// How long no other policy may dispose of it either, from the same start.
    pub min_keep: Option<Period>,
    /// However often the start moves, it is due by then, counted from when it was made. It never goes before
    /// `min_keep`, and holds and suspensions keep it all the same.
    pub max_keep: Option<Period>,
    /// What holds for a part of the scope instead; the first that matches.
    pub overrides: Vec<Override>,
    /// What starts before this instant is none of this policy's business.
    pub applies_from: Option<Timestamp>,
}

impl Retention {
    /// A period from a start, for the whole scope, and nothing beside it.
    fn plain(period: Period, start: StartKind) -> Self {
        Self {
            period,
            start,
            activity_events: None,
            align: Align::None,
            on_missing_start: OnMissingStart::Keep,
            zone: Zone::utc(),
            suspend_while: None,
            min_keep: None,
            max_keep: None,
            overrides: Vec::new(),
            applies_from: None,
        }
    }
}

/// Another period for a part of the scope.
#[derive(Debug)]
pub struct Override {
    /// For which part.
    pub filter: Filter,
    /// How long.
    pub period: Period,
    /// From when.
    pub start: StartKind,
    /// To the end of which span the start is moved.
    pub align: Align,
}

/// What happens to an entity without the date that the period counts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnMissingStart {
    /// It is kept.
    Keep,
    /// Another date is taken; without that too it is kept.
    Fallback(StartKind),
    /// It is kept until a person decides what becomes of it.
    Review,
}

/// What starts a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// Only a person.
    OnDemand,
    /// A schedule.
    Cron {
        /// When.
        schedule: Schedule,
        /// What happens when the daemon was away.
        on_missed: OnMissed,
    },
}

/// When a run waits, and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// Hours in which it waits between two steps.
    pub blackout: Vec<Blackout>,
    /// In which zone those are.
    pub zone: Zone,
    /// By how much at most a scheduled run begins later, in whole milliseconds: the same for the same time.
    pub jitter_ms: u64,
    /// How long it may take up more items, in whole milliseconds.
    pub max_runtime_ms: Option<u64>,
}

impl Timing {
    /// Nothing of it.
    #[must_use]
    pub fn none() -> Self {
        Self { blackout: Vec::new(), zone: Zone::utc(), jitter_ms: 0, max_runtime_ms: None }
    }

    /// Returns by how much the time of a schedule is put off, in microseconds.
    #[must_use]
    pub fn jitter_us(&self, policy: &str, nominal_at: Timestamp) -> i64 {
        if self.jitter_ms == 0 {
            return 0;
        }
        let Digest(hash) = Digest::of(format!("retentiond jitter 1\n{policy}\n{}", nominal_at.0).as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        i64::try_from(u64::from_le_bytes(first) % (self.jitter_ms + 1)).unwrap_or(0).saturating_mul(1_000)
    }

    /// Returns until when a run waits, if an instant lies in a blackout.
    #[must_use]
    pub fn waits_until(&self, now: Timestamp) -> Option<Timestamp> {
        Blackout::all_until(&self.blackout, now, &self.zone)
    }
}

/// What happens when the times of a schedule passed while the daemon was away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnMissed {
    /// It runs once.
    RunOnce,
    /// It waits for the next time.
    Skip,
    /// It waits for the next time, and people are told.
    AlarmOnly,
}

/// Limits of one run. They hold also for a file that does not name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Limits {
    /// The most items.
    pub max_items: u64,
    /// The most items in percent of the entities in scope.
    pub max_percent: u64,
    /// With fewer entities in scope, or fewer items that a run looked at, the percentages are not applied.
    pub min_population: u64,
    /// How many entities in scope must remain.
    pub keep_at_least: u64,
    /// By how many percent the scope may have shrunk since the last run.
    pub population_drop_percent: u64,
    /// The most items of a run, in percent of those that it looked at, that may be found changed since they were planned.
    pub max_drift_percent: u64,
    /// How fast items are taken up; `None`: as fast as it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// How many items a run takes up in which time, so that it does not keep a server from its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Rate {
    /// The items; at least one.
    pub items: u32,
    /// In so many milliseconds; at least one.
    pub per_ms: u32,
}

impl Rate {
    /// Returns how many items are taken up together: as many as belong to a minute, and at least one.
    #[must_use]
    pub fn together(self) -> usize {
        let in_a_minute = u64::from(self.items) * 60_000 / u64::from(self.per_ms.max(1));
        usize::try_from(in_a_minute.max(1)).unwrap_or(usize::MAX)
    }

    /// Returns when the next items may be taken up, after so many were at an instant.
    #[must_use]
    pub fn next_at(self, taken_at: Timestamp, taken: u64) -> Timestamp {
        let wait_us = u128::from(taken) * u128::from(self.per_ms) * 1_000 / u128::from(self.items.max(1));
        Timestamp(taken_at.0.saturating_add(i64::try_from(wait_us).unwrap_or(i64::MAX)))
    }
}

impl Limits {
    /// What holds when a file says nothing.
    pub const STANDARD: Self = Self {
        max_items: 1_000,
        max_percent: 5,
        min_population: 20,
        keep_at_least: 0,
        population_drop_percent: 30,
        max_drift_percent: 20,
        rate: None,
    };
}

/// What a run writes, and verifies by count, SHA-256 and reading back, before it purges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// In which forms; never empty.
    pub formats: BTreeSet<ExportFormat>,
    /// How CSV treats cells that a spreadsheet would run.
    pub csv_profile: CsvProfile,
    /// How long a bundle stays after it was written; `None`: until somebody takes it away.
    pub keep: Option<Period>,
    /// Who can open what it holds; nobody named: whoever can read the file.
    pub encrypt_to: BTreeSet<AgeRecipient>,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// JSON Lines: complete and lossless. Always written, because verification stands on it.
    Jsonl,
    /// The CSV files of the Outlook Customer Manager export script.
    Csv,
    /// A typed workbook for people.
    Xlsx,
    /// One file for each message, byte for byte as the server has it.
    Eml,
    /// One file with all messages, each with its `From ` lines quoted reversibly.
    Mbox,
}

/// How CSV treats cells that a spreadsheet would run as formulas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CsvProfile {
    /// As they are: what reads the source's files reads these. A spreadsheet may run what looks like a formula.
    Exact,
    /// Made harmless by the rules of OWASP: a `'` stands before whatever a spreadsheet could take for a formula.
    SpreadsheetSafe,
}

/// What a run does with what is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It purges, after a quarantine in which it can be restored.
    Purge {
        /// How long; zero means at once, after the verified export.
        quarantine: Period,
    },
    /// As [`Action::Purge`], but only of what a person has decided to dispose of.
    Review {
        /// How long; zero means at once, after the verified export.
        quarantine: Period,
    },
    /// It takes fields out, after a quarantine in which the whole can be restored: the rest is recorded anew, and what
    /// was there before is purged.
    Redact {
        /// How long; zero means at once, after the verified export.
        quarantine: Period,
        /// What becomes of the fields; something is taken out.
        fields: FieldMap,
    },
    /// It ends the use: what is due stays, hidden, until another policy disposes of it or a person lifts the
    /// restriction. Nothing is destroyed, so nothing is exported and nothing waits in quarantine.
    Restrict,
}

impl Action {
    /// Returns how long it waits, hidden and reversibly, before there is no way back.
    #[must_use]
    pub fn quarantine(&self) -> Period {
        match self {
            Self::Purge { quarantine } | Self::Review { quarantine } | Self::Redact { quarantine, .. } => *quarantine,
            Self::Restrict => Period::NONE,
        }
    }
}

/// Who may be given access to a mailbox, and for how long. It names persons, so `Debug` shows no more than numbers.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    /// What they may be given.
    pub right: AccessRight,
    /// Who, as the mail server's permissions write it; never empty.
    pub principals: BTreeSet<String>,
    /// How long at most, renewals included, in whole milliseconds.
    pub max_ms: u64,
    /// Whether a ticket must be named. A reason always must.
    pub ticket: Ticket,
    /// How long access may still be there after its end before people are alarmed, in whole milliseconds.
    pub alarm_after_ms: u64,
    /// For how long FullAccess may stand that nobody was given through a policy; `None`: it is seen and never touched.
    pub standing: Option<StandingAccess>,
}

/// How long FullAccess may stand that was there without a grant. It names persons, so `Debug` shows no more than
/// numbers.
#[derive(Clone, PartialEq, Eq)]
pub struct StandingAccess {
    /// How long at most, from when it was first seen, in whole milliseconds.
    pub longest_ms: u64,
    /// Whose is never touched, as the mail server's permissions write them.
    pub keep: BTreeSet<String>,
}

impl fmt::Debug for StandingAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandingAccess").field("longest_ms", &self.longest_ms).finish_non_exhaustive()
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("principals", &self.principals.len()).finish_non_exhaustive()
    }
}

/// The access that the runs of a policy take to a mailbox while they work in it, and give back. The approval of a plan is
/// the approval of it. It names a person, so `Debug` shows no more than numbers.
#[derive(Clone, PartialEq, Eq)]
pub struct RunAccess {
    /// What is given.
    pub right: AccessRight,
    /// To whom, as the mail server's permissions write it.
    pub principal: String,
    /// How long at most each time, in whole milliseconds.
    pub max_ms: u64,
    /// How long access may still be there after its end before people are alarmed, in whole milliseconds.
    pub alarm_after_ms: u64,
}

impl fmt::Debug for RunAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunAccess").field("max_ms", &self.max_ms).finish_non_exhaustive()
    }
}

/// What can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessRight {
    /// All rights on every folder.
    FullAccess,
}

/// Whether a ticket must be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ticket {
    /// It must.
    Required,
    /// It can.
    Optional,
}

/// Who must agree before a run, or before access is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// Nobody: the limits alone protect.
    NotRequired,
    /// Persons who did not ask for the plan.
    Required {
        /// How many different ones.
        count: u32,
        /// Which role they need.
        role: ApproverRole,
        /// How long an approval counts, in whole milliseconds.
        valid_for_ms: u64,
    },
}

/// Which role may approve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApproverRole {
    /// The approver.
    Approver,
    /// Only the administrator.
    Admin,
}

/// Returns the name of a start as policies write it.
pub(crate) fn start_name(start: &StartKind) -> String {
    start.name()
}

#[cfg(test)]
mod tests;

//! Plans: what one run will do, frozen and named by its digest.
//!
//! A plan is executed at most once: [`Condition::PlanUnused`](crate::view::Condition::PlanUnused) is asked by the log's
//! one writer. It is put together by [`Assembly`], which has no access to anything that could change the world.

use std::collections::BTreeMap;

use sha2::Digest as _;

use crate::event::codec::{self, CodecError};
use crate::event::decision::{GuardTripped, KeptCount, PlanFrozen, PlanItem, PlanPurpose};
use crate::event::saga::SkipReason;
use crate::event::subject::KeptWhy;
use crate::id::{Digest, EntityId, PlanId, Position};
use crate::policy::{Approval, Decision, Limits, Outcome, Policy, State};
use crate::reason::Reason;
use crate::time::Timestamp;
use crate::view::Drift;
use crate::view::small::COOLING_OFF_DAYS;

/// What has to be known of the past to guard a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// How many entities the policy's scope held when it was last planned.
    pub population: Option<u64>,
    /// Whether a plan of exactly this policy version was taken by a run before.
    pub first_run: FirstRun,
    /// How many days ago the policy came to dispose of more, or sooner, than it did before, by its own words or because
    /// another one protects less; `None` when that is over.
    pub loosened_days: Option<u64>,
}

/// Whether a policy version has proven itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstRun {
    /// It never ran: a person must accept its first plan.
    Yes,
    /// It ran before.
    No,
}

/// Returns the limits that a plan goes beyond, with the figures. `ended` of the entities in scope are out of use
/// already: they are not among those that remain.
#[must_use]
pub fn tripped(limits: &Limits, items: u64, population: u64, ended: u64, past: Past) -> Vec<GuardTripped> {
    let mut tripped = Vec::new();
    let mut trip = |guard: &str, limit: u64, actual: u64| {
        tripped.push(GuardTripped { guard: guard.to_owned(), limit, actual });
    };
    if items == 0 {
        return tripped;
    }
    if items > limits.max_items {
        trip("max_items", limits.max_items, items);
    }
    let in_use = population.saturating_sub(ended);
    let percent = percent_up(items, in_use);
    if population >= limits.min_population && percent > limits.max_percent {
        trip("max_percent", limits.max_percent, percent);
    }
    let remaining = in_use.saturating_sub(items);
    if remaining < limits.keep_at_least {
        trip("keep_at_least", limits.keep_at_least, remaining);
    }
    if let Some(before) = past.population {
        let drop = percent_up(before.saturating_sub(population), before);
        if before >= limits.min_population && drop > limits.population_drop_percent {
            trip("population_drop_percent", limits.population_drop_percent, drop);
        }
    }
    if past.first_run == FirstRun::Yes {
        trip("first_run", 0, 1);
    }
    if let Some(days) = past.loosened_days {
        trip("cooling_off", COOLING_OFF_DAYS, days);
    }
    tripped
}

/// Says whether so much of what a run looked at is not any more as it was planned that it ends before its next effect.
#[must_use]
pub fn has_drifted(limits: &Limits, drift: Drift) -> bool {
    let Drift { looked_at, drifted } = drift;
    looked_at >= limits.min_population && percent_up(drifted, looked_at) > limits.max_drift_percent
}

/// Rounded up, so that a little over a limit is over it.
fn percent_up(part: u64, whole: u64) -> u64 {
    if whole == 0 { 0 } else { part.saturating_mul(100).div_ceil(whole) }
}

/// What is asked of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The plan.
    pub plan: PlanId,
    /// What it is for.
    pub purpose: PlanPurpose,
    /// The instant to judge at.
    pub as_of: Timestamp,
    /// The log up to here is looked at.
    pub log_position: Position,
}

/// A plan in the making.
#[derive(Debug)]
pub struct Assembly {
    question: Question,
    items: Vec<(Option<EntityId>, PlanItem)>,
    kept: BTreeMap<&'static str, u64>,
}

/// A plan that is whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Frozen {
    /// What is recorded of it.
    pub header: PlanFrozen,
    /// Its items: by mailbox, then by entity.
    pub items: Vec<PlanItem>,
}

impl Assembly {
    /// Begins a plan.
    #[must_use]
    pub fn begin(question: Question) -> Self {
        Self { question, items: Vec::new(), kept: BTreeMap::new() }
    }

    /// Takes in what was decided about one entity: an item if it is due under this policy, a count if it is kept.
    pub fn add(&mut self, entity: EntityId, mailbox: Option<EntityId>, version: Position, decision: &Decision) {
        match &decision.outcome {
            Outcome::Due { start_at, due_at, is_fallback, .. } => {
                let item =
                    PlanItem { entity, version, start_at: *start_at, due_at: *due_at, start_is_fallback: *is_fallback };
                self.items.push((mailbox, item));
            }
            Outcome::Keep => self.keep(decision.reason.code(), 1),
        }
    }

    /// Counts entities that are kept, by the code of the reason.
    pub fn keep(&mut self, code: &'static str, count: u64) {
        if count > 0 {
            *self.kept.entry(code).or_default() += count;
        }
    }

    /// Ends the plan.
    ///
    /// # Errors
    /// When the header cannot be encoded.
    pub fn freeze(mut self, policy: &Policy, population: u64, past: Past) -> Result<Frozen, CodecError> {
        self.items.sort_unstable_by_key(|(mailbox, item)| (mailbox.map_or(u64::MAX, |m| u64::from(m.0)), item.entity));
        let items: Vec<PlanItem> = self.items.into_iter().map(|(_, item)| item).collect();
        let (needs_approval, approvals_needed, approval_valid_ms) = match policy.approval {
            Approval::NotRequired => (false, 1, APPROVAL_VALID_MS),
            Approval::Required { count, valid_for_ms, .. } => (true, count, valid_for_ms),
        };
        let past = Past { first_run: if needs_approval { FirstRun::No } else { past.first_run }, ..past };
        let purpose = match policy.state {
            State::Enforce => self.question.purpose,
            State::Simulate | State::Draft => PlanPurpose::Preview,
        };
        let ended = self.kept.get(Reason::USE_ENDED).copied().unwrap_or(0);
        let mut header = PlanFrozen {
            plan: self.question.plan,
            purpose,
            policy: policy.id.clone(),
            policy_digest: policy.digest(),
            log_position: self.question.log_position,
            as_of: self.question.as_of,
            population,
            items: items.len() as u64,
            kept: self
                .kept
                .iter()
                .map(|(reason, count)| KeptCount { reason: (*reason).to_owned(), count: *count })
                .collect(),
            tripped: tripped(&policy.limits, items.len() as u64, population, ended, past),
            needs_approval,
            approvals_needed,
            approval_valid_ms,
            digest: Digest([0; 32]),
        };
        header.digest = digest(&header, &items)?;
        Ok(Frozen { header, items })
    }
}

/// A scheduled plan that nobody accepted for this long is left alone: 60 days, in microseconds.
pub const SCHEDULED_PLAN_US: i64 = 60 * 24 * 60 * 60 * 1_000_000;

/// Says whether two plans of one policy are the same but for their names, when they were made, and their items: the
/// same version of the policy, the same limits that are gone beyond, whatever the figures of that day were, and the same
/// that is kept and why.
#[must_use]
pub fn is_alike(one: &PlanFrozen, other: &PlanFrozen) -> bool {
    one.purpose == other.purpose
        && one.policy == other.policy
        && one.policy_digest == other.policy_digest
        && one.items == other.items
        && one.kept == other.kept
        && guards_of(one).eq(guards_of(other))
        && one.needs_approval == other.needs_approval
}

fn guards_of(plan: &PlanFrozen) -> impl Iterator<Item = &str> {
    plan.tripped.iter().map(|tripped| tripped.guard.as_str())
}

/// How long an approval counts that overrides a limit of a policy without approvals: seven days, in milliseconds.
const APPROVAL_VALID_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// Returns the SHA-256 that names a plan: over all items, then over the header with its digest left at zero.
///
/// # Errors
/// When the header cannot be encoded.
pub fn digest(header: &PlanFrozen, items: &[PlanItem]) -> Result<Digest, CodecError> {
    let mut hash = sha2::Sha256::new();
    hash.update(b"retentiond plan v1\n");
    for item in items {
        hash.update(item.entity.0.to_le_bytes());
        hash.update(item.version.0.to_le_bytes());
        hash.update(item.start_at.0.to_le_bytes());
        hash.update(item.due_at.0.to_le_bytes());
        hash.update([u8::from(item.start_is_fallback)]);
    }
    hash.update(codec::encode(&PlanFrozen { digest: Digest([0; 32]), ..header.clone() })?);
    Ok(Digest(hash.finalize().into()))
}

/// Returns why a record is kept although its erasure was asked for; `None` if it may go, or is gone.
#[must_use]
pub fn kept(decision: &Decision) -> Option<KeptWhy> {
    let Outcome::Keep = &decision.outcome else { return None };
    match &decision.reason {
        Reason::Gone => None,
        Reason::Held { .. } => Some(KeptWhy::Held),
        Reason::Restricted => Some(KeptWhy::Restricted),
        Reason::KeptByPolicy { until, .. } => Some(KeptWhy::Until { until: *until }),
        Reason::Excepted { .. } => Some(KeptWhy::Excepted),
        Reason::InQuarantine => Some(KeptWhy::InAnotherRun),
        Reason::PeriodOver { .. }
        | Reason::PeriodRunning { .. }
        | Reason::OutOfScope
        | Reason::NoStart { .. }
        | Reason::Suspended
        | Reason::CannotEvaluate { .. }
        | Reason::NoPolicy
        | Reason::ErasureRequested { .. }
        | Reason::NotAsked { .. }
        | Reason::ReviewNeeded { .. }
        | Reason::KeptByReview { .. }
        | Reason::NothingToRedact
        | Reason::CannotRedact { .. }
        | Reason::UseEnded { .. }
        | Reason::BackInUse { .. }
        | Reason::StillNeeded { .. } => Some(KeptWhy::Undecided),
    }
}

/// Returns why an item must be left alone at the moment of its purge, judged anew; `None` if it may go.
#[must_use]
pub fn drift(decision: &Decision) -> Option<SkipReason> {
    match &decision.outcome {
        Outcome::Due { .. } => None,
        Outcome::Keep => Some(match &decision.reason {
            Reason::Held { .. } => SkipReason::Held,
            Reason::Restricted => SkipReason::Restricted,
            Reason::Gone => SkipReason::Gone,
            Reason::PeriodOver { .. }
            | Reason::PeriodRunning { .. }
            | Reason::OutOfScope
            | Reason::NoStart { .. }
            | Reason::Suspended
            | Reason::KeptByPolicy { .. }
            | Reason::CannotEvaluate { .. }
            | Reason::InQuarantine
            | Reason::NoPolicy
            | Reason::ErasureRequested { .. }
            | Reason::Excepted { .. }
            | Reason::NotAsked { .. }
            | Reason::ReviewNeeded { .. }
            | Reason::KeptByReview { .. }
            | Reason::NothingToRedact
            | Reason::CannotRedact { .. }
            | Reason::UseEnded { .. }
            | Reason::BackInUse { .. }
            | Reason::StillNeeded { .. } => SkipReason::NotDue,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_PAST: Past = Past { population: None, first_run: FirstRun::No, loosened_days: None };

    fn guards(limits: &Limits, items: u64, population: u64, past: Past) -> Vec<String> {
        tripped(limits, items, population, 0, past).into_iter().map(|t| t.guard).collect()
    }

    #[test]
    fn the_standard_limits_stop_a_large_plan() {
        let limits = &Limits::STANDARD;
        assert_eq!(guards(limits, 5, 100, NO_PAST), [""; 0]);
        assert_eq!(guards(limits, 6, 100, NO_PAST), ["max_percent"]);
        assert_eq!(guards(limits, 1_001, 1_000_000, NO_PAST), ["max_items"]);
    }

    #[test]
    fn a_little_over_a_percentage_is_over_it() {
        assert_eq!(guards(&Limits::STANDARD, 501, 10_000, NO_PAST), ["max_percent"]);
        assert_eq!(guards(&Limits::STANDARD, 500, 10_000, NO_PAST), [""; 0]);
    }

    #[test]
    fn what_is_out_of_use_is_not_among_those_that_remain() {
        let limits = Limits { keep_at_least: 100, max_percent: 100, ..Limits::STANDARD };
        let guards = |ended| {
            let tripped = tripped(&limits, 100, 1_000, ended, NO_PAST);
            tripped.into_iter().map(|t| (t.guard, t.actual)).collect::<Vec<_>>()
        };
        assert_eq!(guards(0), []);
        assert_eq!(guards(800), []);
        assert_eq!(guards(900), [("keep_at_least".to_owned(), 0)]);
    }

    #[test]
    fn a_scope_that_shrank_stops_the_plan() {
        let past = Past { population: Some(1_000), ..NO_PAST };
        assert_eq!(guards(&Limits::STANDARD, 1, 699, past), ["population_drop_percent"]);
        assert_eq!(guards(&Limits::STANDARD, 1, 700, past), [""; 0]);
    }

    #[test]
    fn a_run_may_drift_up_to_its_limit_and_any_part_of_a_few_items() {
        let has_drifted = |limits: Limits, looked_at, drifted| has_drifted(&limits, Drift { looked_at, drifted });
        let standard = Limits::STANDARD;
        assert!(!has_drifted(standard, 19, 19) && !has_drifted(standard, 20, 4) && has_drifted(standard, 20, 5));
        assert!(!has_drifted(standard, 1_000, 200) && has_drifted(standard, 1_000, 201), "a little over is over");
        let of = |max_drift_percent| Limits { max_drift_percent, min_population: 0, ..standard };
        assert!(has_drifted(of(0), 1_000_000, 1) && !has_drifted(of(0), 1_000_000, 0));
        assert!(!has_drifted(of(100), 7, 7) && !has_drifted(of(20), 0, 0));
    }

    #[test]
    fn enough_must_remain_and_the_first_run_is_shown_to_a_person() {
        let limits = Limits { keep_at_least: 10, max_percent: 100, ..Limits::STANDARD };
        assert_eq!(guards(&limits, 91, 100, NO_PAST), ["keep_at_least"]);
        assert_eq!(guards(&limits, 1, 100, Past { first_run: FirstRun::Yes, ..NO_PAST }), ["first_run"]);
        assert_eq!(guards(&limits, 0, 0, Past { first_run: FirstRun::Yes, ..NO_PAST }), [""; 0]);
        let loosened = Past { loosened_days: Some(2), ..NO_PAST };
        assert_eq!(guards(&limits, 1, 100, loosened), ["cooling_off"]);
        assert_eq!(guards(&limits, 0, 0, loosened), [""; 0]);
    }
}

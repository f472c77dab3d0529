//! What the active policies say about the data, for [`Works`](super::Works): the same judgement that plans are made
//! with, asked by a person.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use retention_core::control::{
    ActivityRow, CountedActivity, ErrorBody, ErrorCode, Explanation, FilterWhy, HeldByFilter, HeldUntil, PolicyChange,
    PolicyDiffRow, PolicyFileText, PolicyVerdict, QuarantineRow, ReviewRow, Role, RunAccessTerms, ScheduleRow, Verdict,
    Weight,
};
use retention_core::id::{EntityId, HoldId, LayoutId};
use retention_core::policy::{
    Action, Approval, ApproverRole, Assessed, Assessment, BoundSet, Decision, Facts, OnMissingStart, Outcome, Place,
    Policy, PolicyFile, PolicySet, Restriction, Standing, State, Trigger,
};
use retention_core::reason::{Reason, StartKind};
use retention_core::record::Layout;
use retention_core::record::activity::Activity;
use retention_core::time::Timestamp;
use retention_core::view::entities::Row;
use retention_core::view::{ByFilter, EntityState, Views};

use super::handlers::entity;
use super::reviews::row_of;
use super::works::PolicyFacts;
use crate::ahead;
use crate::store::{ReadError, Store, facts, restriction};

/// Entities that a comparison names for each policy.
const EXAMPLES_MAX: usize = 10;

/// Entities that one look at the views collects.
const BATCH_MAX: u32 = 1_000;

/// Returns the active policies with their schedules.
#[must_use]
pub fn policies(store: &Store, now: Timestamp) -> Vec<PolicyFacts> {
    let set = store.policies();
    let facts = set.policies().iter().map(|policy| PolicyFacts {
        policy: policy.id.clone(),
        title: policy.title.clone(),
        state: state_name(policy.state).to_owned(),
        restricts: policy.action == Action::Restrict,
        approver: match policy.approval {
            Approval::Required { role: ApproverRole::Admin, .. } => Role::Admin,
            Approval::Required { role: ApproverRole::Approver, .. } | Approval::NotRequired => Role::Approver,
        },
        schedule: match &policy.trigger {
            Trigger::OnDemand => None,
            Trigger::Cron { schedule, .. } => Some(ScheduleRow {
                policy: policy.id.clone(),
                cron: schedule.text().to_owned(),
                timezone: schedule.zone().name().to_owned(),
                last_at: None,
                next_at: schedule.next_after(now),
                due: 0,
            }),
        },
    });
    facts.collect()
}

/// Judges one entity by all active policies.
///
/// # Errors
/// Says when there is no such entity, or its record cannot be read.
pub fn explain(store: &Store, id: EntityId, now: Timestamp) -> Result<Explanation, ErrorBody> {
    let missing = || ErrorBody::saying(ErrorCode::NotFound, format!("{id} is not an entity under retention"));
    let seen = store.view(|views| {
        let shown = entity::row(views, id)?;
        let excepted = views.small.subjects.excepting(id);
        let row = views.entities.row(id)?;
        let restriction = restriction(views, id, row.version);
        let reviews = views.small.reviews.of(id, row.version);
        let restrictions = views.small.restrictions.of(id);
        let holds_at = store.holds_at(views);
        let (needed, holds) = (views.month_needed_at(id, holds_at), views.holds_of_at(id, holds_at));
        let standing = Standing { needed, excepted, reviews, ..standing(&row, holds, restriction) };
        Some((shown, row, views.open_deals(id), views.activities_of(id), restrictions, standing))
    });
    let (shown, row, open_deals, activities, restrictions, standing) = seen.ok_or_else(missing)?;
    let record = store.record(id).map_err(unreadable)?.ok_or_else(missing)?;
    let bound = store.bound(record.layout).ok_or_else(missing)?;
    let facts = facts(&bound.layout, &record, &row, open_deals, &activities);
    let activities = facts.all_activities();
    let decision = with_policy_holds(store, &bound.set, &facts, &standing, now);
    let active = store.policies();
    let next_run_at = |id: &str| match active.get(id).map(|policy| &policy.trigger) {
        Some(Trigger::Cron { schedule, .. }) => schedule.next_after(now),
        Some(Trigger::OnDemand) | None => None,
    };
    let policies: Vec<PolicyVerdict> = decision
        .policies
        .iter()
        .map(|assessed| PolicyVerdict {
            policy: assessed.policy.clone(),
            state: state_name(assessed.state).to_owned(),
            verdict: verdict_of(&assessed.reason),
            reasons: vec![assessed.reason.clone()],
            is_fallback: assessed.is_fallback,
            activity: active
                .get(&assessed.policy)
                .and_then(|policy| counted_activity(store, policy, assessed, &activities)),
            keep_until: assessed.keep_until,
            holds: store.view(|views| views.holds_of_policy_at(&assessed.policy, store.holds_at(views))),
            ends_use: active.get(&assessed.policy).is_some_and(|policy| policy.action == Action::Restrict),
            weight: weight(assessed, &decision),
            next_run_at: next_run_at(&assessed.policy),
        })
        .collect();
    let enforced = policies.iter().filter(|policy| policy.state == state_name(State::Enforce));
    let earliest = enforced.filter_map(|policy| policy.next_run_at).min();
    let explanation = Explanation {
        entity: shown,
        as_of: now,
        verdict: match decision.outcome {
            Outcome::Due { .. } => Verdict::Due,
            Outcome::Keep if matches!(decision.reason, Reason::Held { .. }) => Verdict::Held,
            Outcome::Keep => Verdict::Keep,
        },
        policies,
        reasons: decision.reasons().cloned().collect(),
        holds: standing.holds.clone(),
        held_until: store.view(|views| held_until(views, &standing)),
        held_by_filter: store.view(|views| held_by_filter(views, id, &standing)),
        quarantine: store.view(|views| quarantine(views, id)),
        restrictions,
        reviews: reviews_of(store, id, &standing)?,
        next_run_at: earliest,
        text: Vec::new(),
    };
    Ok(Explanation { text: explanation.sentences(), ..explanation })
}

/// Returns which of the holds on an entity were released, and until when they protect it.
fn held_until(views: &Views, standing: &Standing) -> Vec<HeldUntil> {
    let until =
        |hold: &HoldId| Some(HeldUntil { hold: *hold, until: views.small.holds.get_placed(*hold)?.released?.1 });
    standing.holds.iter().filter_map(until).collect()
}

/// Returns the run that hides an entity, and until when.
fn quarantine(views: &Views, entity: EntityId) -> Option<QuarantineRow> {
    let (saga, view) = views.small.runs.saga_of_entity(entity).filter(|_| views.entities.is_quarantined(entity))?;
    let until = view.quarantine_until()?;
    Some(QuarantineRow { entity, run: view.started.run, saga, until })
}

/// Returns which of the holds on an entity cover it by their filter.
fn held_by_filter(views: &Views, entity: EntityId, standing: &Standing) -> Vec<HeldByFilter> {
    let by_filter = |hold: &HoldId| {
        let why = match views.held_by_filter(*hold, entity)? {
            ByFilter::Caught => FilterWhy::Caught,
            ByFilter::Unreadable => FilterWhy::Unreadable,
            ByFilter::Unjudged => FilterWhy::Unjudged,
        };
        Some(HeldByFilter { hold: *hold, why })
    };
    standing.holds.iter().filter_map(by_filter).collect()
}

/// Says whether a policy speaks of the last activity, or of the date that it falls back to. Any other reason says
/// nothing of from when it counts, so what it counted would explain nothing.
fn is_about_activity(assessed: &Assessed) -> bool {
    matches!(
        &assessed.reason,
        Reason::PeriodOver { start, .. } | Reason::PeriodRunning { start, .. } | Reason::NoStart { start }
            if *start == StartKind::LastActivity || assessed.is_fallback
    )
}

/// Returns from which of the activities, the newest first, a policy counts or judges, and which before it do not count.
fn counted_activity(
    store: &Store,
    policy: &Policy,
    assessed: &Assessed,
    activities: &[Activity],
) -> Option<CountedActivity> {
    let is_start = policy.starts_with_activity() && is_about_activity(assessed);
    let filters: Vec<String> = policy.filters_on_activity().into_iter().map(str::to_owned).collect();
    if activities.is_empty() || (!is_start && filters.is_empty()) {
        return None;
    }
    let row = |activity: &Activity| {
        let layout = store.view(|views| {
            let row = views.entities.row(activity.by?)?;
            views.small.layouts.get(row.layout).map(|layout| (layout.kind, layout.source.clone()))
        });
        ActivityRow {
            class: activity.class.as_ref().map(|class| class.name().to_owned()),
            at: activity.at,
            by: activity.by,
            kind: layout.as_ref().map(|(kind, _)| *kind),
            source: layout.map(|(_, source)| source),
        }
    };
    let counts = |activity: &&Activity| policy.counts(activity);
    let events = policy.retention.activity_events.as_ref();
    Some(CountedActivity {
        classes: events.map(|events| events.classes().map(|class| class.name().to_owned()).collect()),
        filters,
        is_start,
        counted: activities.iter().find(counts).map(row),
        passed_over: activities.iter().take_while(|activity| !counts(activity)).map(row).collect(),
    })
}

/// Returns what persons decided of an entity, with their reasons.
fn reviews_of(store: &Store, id: EntityId, standing: &Standing) -> Result<Vec<ReviewRow>, ErrorBody> {
    let mut rows = Vec::new();
    for reviewed in &standing.reviews {
        let recorded = store.read(reviewed.review.0).map_err(unreadable)?;
        let Some(mut row) = recorded.as_ref().and_then(row_of) else { continue };
        row.items.retain(|item| item.entity == id);
        rows.push(row);
    }
    Ok(rows)
}

/// Decides, and lets the holds of policies speak: a policy that is held disposes of nothing, and another one still may.
fn with_policy_holds(
    store: &Store,
    set: &BoundSet,
    facts: &Facts<'_>,
    standing: &Standing,
    now: Timestamp,
) -> Decision {
    let holds_of = |policy: &str| store.view(|views| views.holds_of_policy_at(policy, store.holds_at(views)));
    let decision = set.decide(facts, standing, now);
    let Outcome::Due { policy, .. } = &decision.outcome else { return decision };
    let holds = holds_of(policy);
    if holds.is_empty() {
        return decision;
    }
    let others = decision.policies.iter().filter(|other| {
        other.state == State::Enforce && matches!(other.reason, Reason::PeriodOver { .. }) && other.policy != *policy
    });
    let mut free = others.filter(|other| holds_of(&other.policy).is_empty());
    let by_another = free.find_map(|other| {
        let decided = set.decide_for(&other.policy, facts, standing, now)?;
        matches!(decided.outcome, Outcome::Due { .. }).then_some(decided)
    });
    by_another.unwrap_or_else(|| {
        let held = Standing { holds: standing.holds.iter().copied().chain(holds).collect(), ..standing.clone() };
        set.decide(facts, &held, now)
    })
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Draft => "draft",
        State::Simulate => "simulate",
        State::Enforce => "enforce",
    }
}

/// Says what the word of a policy counts for in a decision.
fn weight(assessed: &Assessed, decision: &Decision) -> Weight {
    if assessed.state != State::Enforce {
        return Weight::OnlySimulated;
    }
    let is_due = matches!(assessed.reason, Reason::PeriodOver { .. });
    match &decision.outcome {
        Outcome::Due { policy, .. } if *policy == assessed.policy => Weight::Decides,
        // Only beside a restriction something keeps what is due.
        Outcome::Due { .. } if is_due && !decision.also.is_empty() => {
            Weight::KeptBy { reason: decision.also.first().map(Reason::code).unwrap_or_default().to_owned() }
        }
        Outcome::Due { policy, .. } if is_due => Weight::LaterThan { policy: policy.clone() },
        Outcome::Due { .. } => Weight::NothingDue,
        Outcome::Keep => {
            let decides = match &decision.reason {
                Reason::KeptByPolicy { policy, .. } => *policy == assessed.policy,
                reason => *reason == assessed.reason,
            };
            let keeps = matches!(assessed.reason, Reason::CannotEvaluate { .. } | Reason::Suspended);
            if decides {
                Weight::Decides
            } else if is_due {
                Weight::KeptBy { reason: decision.reason.code().to_owned() }
            } else if keeps || decision.also.contains(&assessed.reason) {
                Weight::AlsoKeeps
            } else {
                Weight::NothingDue
            }
        }
    }
}

fn verdict_of(reason: &Reason) -> Verdict {
    match reason {
        Reason::PeriodOver { .. } | Reason::ErasureRequested { .. } => Verdict::Due,
        Reason::Held { .. } => Verdict::Held,
        Reason::PeriodRunning { .. }
        | Reason::OutOfScope
        | Reason::NoStart { .. }
        | Reason::Restricted
        | Reason::Suspended
        | Reason::KeptByPolicy { .. }
        | Reason::CannotEvaluate { .. }
        | Reason::InQuarantine
        | Reason::Gone
        | Reason::NoPolicy
        | Reason::Excepted { .. }
        | Reason::NotAsked { .. }
        | Reason::ReviewNeeded { .. }
        | Reason::KeptByReview { .. }
        | Reason::NothingToRedact
        | Reason::CannotRedact { .. }
        | Reason::UseEnded { .. }
        | Reason::BackInUse { .. }
        | Reason::StillNeeded { .. } => Verdict::Keep,
    }
}

fn standing(row: &Row, holds: Vec<HoldId>, restriction: Restriction) -> Standing {
    let place = match row.state {
        EntityState::Visible => Place::Live,
        EntityState::Quarantined => Place::Quarantined,
        EntityState::Purged => Place::Gone,
    };
    Standing { holds, restriction, needed: None, excepted: None, reviews: Vec::new(), place }
}

fn unreadable(error: ReadError) -> ErrorBody {
    tracing::error!(%error, "a record could not be read");
    ErrorBody::of(ErrorCode::Internal)
}

/// Compares a set of policies with the active one, on every entity that is there. Their records are read in pieces, on
/// several threads; what no policy is about is not read.
///
/// # Errors
/// Says what is wrong with the set, that it loosens what is locked, or that a record cannot be read.
pub fn diff(store: &Store, files: &[PolicyFileText], now: Timestamp) -> Result<Vec<PolicyDiffRow>, ErrorBody> {
    let before = store.policies();
    let after = check(files)?;
    if let Some(first) = after.loosened(&before).first() {
        let message = format!("the set would not be loaded: {first}");
        return Err(ErrorBody::saying(ErrorCode::PolicyInvalid, message)
            .hint("what a locked policy keeps can only be made more, and the policy cannot be removed"));
    }
    let names: BTreeSet<&str> =
        before.policies().iter().chain(after.policies()).map(|policy| policy.id.as_str()).collect();
    let mut rows: Vec<PolicyDiffRow> = names.into_iter().map(|id| unchanged(id, &before, &after)).collect();
    let compare = Comparison { store, before: &before, after: &after, now, rows: rows.clone() };
    let bound = store.view(|views| views.entities.bound());
    let parts: Vec<Range<u32>> =
        (0..bound).step_by(BATCH_MAX as usize).map(|from| from..bound.min(from.saturating_add(BATCH_MAX))).collect();
    ahead::in_order(
        &parts,
        |part| compare.part(part.clone()),
        |compared| {
            for (row, more) in rows.iter_mut().zip(compared?) {
                add(row, more);
            }
            Ok(())
        },
    )
    .map_err(unreadable)?;
    Ok(rows)
}

/// Two sets of policies, compared on parts of the entities.
struct Comparison<'a> {
    store: &'a Store,
    before: &'a PolicySet,
    after: &'a PolicySet,
    now: Timestamp,
    /// One row for each policy, with nothing counted yet.
    rows: Vec<PolicyDiffRow>,
}

impl Comparison<'_> {
    /// Compares the sets on the entities of some numbers.
    fn part(&self, numbers: Range<u32>) -> Result<Vec<PolicyDiffRow>, ReadError> {
        let mut bound: BTreeMap<LayoutId, Option<(Layout, BoundSet, BoundSet)>> = BTreeMap::new();
        let entities: Vec<EntityId> = numbers.map(EntityId).collect();
        let mut subjects = self.store.subjects(&entities);
        subjects.retain(|subject| {
            subject.row.state == EntityState::Visible
                && bound.entry(subject.row.layout).or_insert_with(|| self.bind(subject.row.layout)).is_some()
        });
        let mut rows = self.rows.clone();
        for piece in self.store.pieces(&subjects, |subject| subject.row.version, subjects.len())? {
            self.store.map_records(&piece, |subject, record| {
                let sets = bound.entry(record.layout).or_insert_with(|| self.bind(record.layout));
                let Some((layout, before, after)) = sets else { return };
                let facts = facts(layout, &record, &subject.row, subject.open_deals, &subject.activities);
                for row in &mut rows {
                    let (was, will) = stands((before, after), row, &facts, &subject.standing, self.now);
                    count(row, subject.entity, was, will);
                }
            })?;
        }
        for row in &mut rows {
            row.examples.sort_unstable();
            row.examples.truncate(EXAMPLES_MAX);
        }
        Ok(rows)
    }

    /// Binds both sets to a layout; `None` where no policy of either is about it.
    fn bind(&self, layout: LayoutId) -> Option<(Layout, BoundSet, BoundSet)> {
        let layout = self.store.view(|views| views.small.layouts.get(layout).cloned())?;
        let (before, after) = (self.before.bind(&layout), self.after.bind(&layout));
        let is_about = before.policies().iter().chain(after.policies()).any(|policy| !policy.is_elsewhere());
        is_about.then_some((layout, before, after))
    }
}

fn check(files: &[PolicyFileText]) -> Result<PolicySet, ErrorBody> {
    let files: Vec<PolicyFile<'_>> = files
        .iter()
        .map(|file| PolicyFile { stem: file.name.strip_suffix(".toml").unwrap_or(&file.name), text: &file.text })
        .collect();
    PolicySet::check(&files).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        ErrorBody::saying(ErrorCode::PolicyInvalid, format!("the set is invalid: {first}"))
            .hint("retentionctl policy check shows every problem")
    })
}

fn unchanged(id: &str, before: &PolicySet, after: &PolicySet) -> PolicyDiffRow {
    let change = match (before.get(id), after.get(id)) {
        (Some(old), Some(new)) if old.digest() == new.digest() => PolicyChange::Same,
        (Some(_), Some(_)) => PolicyChange::Changed,
        (Some(_), None) => PolicyChange::Removed,
        (None, _) => PolicyChange::Added,
    };
    PolicyDiffRow {
        policy: id.to_owned(),
        change,
        state_before: state_in(before, id),
        state_after: state_in(after, id),
        cools_off: cools_off(before, after, id),
        due_before: 0,
        due_after: 0,
        newly_due: 0,
        newly_kept: 0,
        waits_before: 0,
        waits_after: 0,
        examples: Vec::new(),
        access_before: access_of(before, id),
        access_after: access_of(after, id),
    }
}

fn state_in(set: &PolicySet, id: &str) -> Option<String> {
    set.get(id).map(|policy| state_name(policy.state).to_owned())
}

fn cools_off(before: &PolicySet, after: &PolicySet, id: &str) -> Vec<String> {
    let enforced = before.get(id).filter(|policy| policy.state == State::Enforce);
    let more = enforced.zip(after.get(id)).map(|(old, new)| new.disposes_of_more_than(old));
    let own = more.unwrap_or_default().into_iter().map(str::to_owned);
    let others = before.policies().iter().zip(std::iter::repeat(after.get(id)));
    let unprotected = others.filter_map(|(old, new)| Some((&old.id, after.unprotected(old, new?))));
    own.chain(unprotected.flat_map(|(id, keys)| keys.into_iter().map(move |key| format!("{key} of {id}")))).collect()
}

fn access_of(set: &PolicySet, id: &str) -> Option<RunAccessTerms> {
    set.get(id)?.run_access.as_ref().map(RunAccessTerms::of)
}

/// Where an entity stands under one policy of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Kept,
    /// A person has to decide.
    Waits,
    Due,
}

/// Says where an entity stands under a policy in two sets, with what persons decided of it. What the policy itself
/// neither finds due nor asks a person about is kept, whatever the others say, so most entities need no decision; and a
/// policy that is the same in both is asked once.
fn stands(
    (before, after): (&BoundSet, &BoundSet),
    row: &PolicyDiffRow,
    facts: &Facts<'_>,
    standing: &Standing,
    now: Timestamp,
) -> (Stand, Stand) {
    let (id, is_same) = (row.policy.as_str(), row.change == PolicyChange::Same);
    let was = may_dispose(before, id, facts, now);
    let will = if is_same { was } else { may_dispose(after, id, facts, now) };
    let stand = |set: &BoundSet, may_dispose: bool| {
        let decision = if may_dispose { set.decide_for(id, facts, standing, now) } else { None };
        match decision.map(|decision| (decision.outcome, decision.reason)) {
            Some((Outcome::Due { .. }, _)) => Stand::Due,
            Some((Outcome::Keep, Reason::ReviewNeeded { .. })) => Stand::Waits,
            Some((Outcome::Keep, _)) | None => Stand::Kept,
        }
    };
    (stand(before, was), stand(after, will))
}

/// Says whether a policy of a set, asked alone, would dispose of an entity or ask a person about it.
fn may_dispose(set: &BoundSet, policy: &str, facts: &Facts<'_>, now: Timestamp) -> bool {
    let Some(own) = set.policies().iter().find(|bound| bound.policy().id == policy) else { return false };
    match own.assess(facts) {
        Assessment::Due { due_at, .. } => due_at <= now,
        Assessment::NoStart { .. } => own.policy().retention.on_missing_start == OnMissingStart::Review,
        Assessment::OutOfScope
        | Assessment::CannotEvaluate { .. }
        | Assessment::NotRedacted { .. }
        | Assessment::Suspended => false,
    }
}

fn count(row: &mut PolicyDiffRow, id: EntityId, was: Stand, will: Stand) {
    row.due_before += u64::from(was == Stand::Due);
    row.due_after += u64::from(will == Stand::Due);
    row.waits_before += u64::from(was == Stand::Waits);
    row.waits_after += u64::from(will == Stand::Waits);
    match (was == Stand::Due, will == Stand::Due) {
        (false, true) => {
            row.newly_due += 1;
            row.examples.push(id);
        }
        (true, false) => row.newly_kept += 1,
        (true, true) | (false, false) => {}
    }
}

/// Adds what was counted on further entities.
fn add(row: &mut PolicyDiffRow, more: PolicyDiffRow) {
    row.due_before += more.due_before;
    row.due_after += more.due_after;
    row.newly_due += more.newly_due;
    row.newly_kept += more.newly_kept;
    row.waits_before += more.waits_before;
    row.waits_after += more.waits_after;
    row.examples.extend(more.examples);
    row.examples.truncate(EXAMPLES_MAX);
}

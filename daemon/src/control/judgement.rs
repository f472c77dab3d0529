//! What the active policies say about the data, for [`Works`](super::Works): the same judgement that plans are made
//! with, asked by a person.

use std::collections::{BTreeMap, BTreeSet};

use retention_core::control::{
    ErrorBody, ErrorCode, Explanation, PolicyChange, PolicyDiffRow, PolicyFileText, PolicyVerdict, ScheduleRow, Verdict,
};
use retention_core::id::{EntityId, LayoutId};
use retention_core::policy::{
    BoundSet, Facts, Outcome, Place, PolicyFile, PolicySet, Restriction, Standing, State, Trigger,
};
use retention_core::reason::Reason;
use retention_core::time::Timestamp;
use retention_core::view::EntityState;
use retention_core::view::entities::Row;

use super::handlers::entity;
use super::works::PolicyFacts;
use crate::store::{ReadError, Store, facts};

/// Entities that a comparison names for each policy.
const EXAMPLES_MAX: usize = 10;

/// Entities that one look at the views collects.
const BATCH_MAX: usize = 1_000;

/// Returns the active policies with their schedules.
#[must_use]
pub fn policies(store: &Store, now: Timestamp) -> Vec<PolicyFacts> {
    let set = store.policies();
    let facts = set.policies().iter().map(|policy| PolicyFacts {
        policy: policy.id.clone(),
        title: policy.title.clone(),
        state: match policy.state {
            State::Draft => "draft",
            State::Simulate => "simulate",
            State::Enforce => "enforce",
        }
        .to_owned(),
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
        Some((shown, views.entities.row(id)?, views.open_deals(id), views.small.holds.of(id).to_vec()))
    });
    let (shown, row, open_deals, holds) = seen.ok_or_else(missing)?;
    let record = store.record(id).map_err(unreadable)?.ok_or_else(missing)?;
    let bound = store.bound(record.layout).ok_or_else(missing)?;
    let standing = standing(&row, holds.clone());
    let decision = bound.set.decide(&facts(&bound.layout, &record, &row, open_deals), &standing, now);
    let policies = decision.policies.iter().map(|assessed| PolicyVerdict {
        policy: assessed.policy.clone(),
        verdict: verdict_of(&assessed.reason),
        reasons: vec![assessed.reason.clone()],
    });
    Ok(Explanation {
        entity: shown,
        as_of: now,
        verdict: match decision.outcome {
            Outcome::Due { .. } => Verdict::Due,
            Outcome::Keep if matches!(decision.reason, Reason::Held { .. }) => Verdict::Held,
            Outcome::Keep => Verdict::Keep,
        },
        policies: policies.collect(),
        reasons: decision.reasons().cloned().collect(),
        holds,
    })
}

fn verdict_of(reason: &Reason) -> Verdict {
    match reason {
        Reason::PeriodOver { .. } => Verdict::Due,
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
        | Reason::NoPolicy => Verdict::Keep,
    }
}

fn standing(row: &Row, holds: Vec<retention_core::id::HoldId>) -> Standing {
    let place = match row.state {
        EntityState::Visible => Place::Live,
        EntityState::Quarantined => Place::Quarantined,
        EntityState::Purged => Place::Gone,
    };
    Standing { holds, restriction: Restriction::None, place }
}

fn unreadable(error: ReadError) -> ErrorBody {
    tracing::error!(%error, "a record could not be read");
    ErrorBody::of(ErrorCode::Internal)
}

/// Compares a set of policies with the active one, on every entity that is there.
///
/// # Errors
/// Says what is wrong with the set, or that a record cannot be read.
pub fn diff(store: &Store, files: &[PolicyFileText], now: Timestamp) -> Result<Vec<PolicyDiffRow>, ErrorBody> {
    let before = store.policies();
    let after = check(files)?;
    let names: BTreeSet<&str> =
        before.policies().iter().chain(after.policies()).map(|policy| policy.id.as_str()).collect();
    let mut rows: BTreeMap<String, PolicyDiffRow> =
        names.into_iter().map(|id| (id.to_owned(), unchanged(id, &before, &after))).collect();
    let mut bound_after: BTreeMap<LayoutId, BoundSet> = BTreeMap::new();
    let mut from = 0;
    loop {
        let ids: Vec<EntityId> = store.view(|views| views.entities.numbers_from(from).take(BATCH_MAX).collect());
        let Some(last) = ids.last() else { break };
        from = last.0.saturating_add(1);
        for id in ids {
            let seen = store
                .view(|views| Some((views.entities.row(id)?, views.open_deals(id), views.small.holds.of(id).to_vec())));
            let Some((row, open_deals, holds)) = seen else { continue };
            if row.state != EntityState::Visible {
                continue;
            }
            let Some(record) = store.record(id).map_err(unreadable)? else { continue };
            let Some(bound) = store.bound(record.layout) else { continue };
            let other = bound_after.entry(record.layout).or_insert_with(|| after.bind(&bound.layout));
            let (facts, standing) = (facts(&bound.layout, &record, &row, open_deals), standing(&row, holds));
            for (policy, row) in &mut rows {
                let was = is_due(&bound.set, policy, &facts, &standing, now);
                count(row, id, was, is_due(other, policy, &facts, &standing, now));
            }
        }
    }
    Ok(rows.into_values().collect())
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
        due_before: 0,
        due_after: 0,
        newly_due: 0,
        newly_kept: 0,
        examples: Vec::new(),
    }
}

fn is_due(set: &BoundSet, policy: &str, facts: &Facts<'_>, standing: &Standing, now: Timestamp) -> bool {
    let decision = set.decide_for(policy, facts, standing, now);
    decision.is_some_and(|decision| matches!(decision.outcome, Outcome::Due { .. }))
}

fn count(row: &mut PolicyDiffRow, id: EntityId, was: bool, will: bool) {
    row.due_before += u64::from(was);
    row.due_after += u64::from(will);
    match (was, will) {
        (false, true) => {
            row.newly_due += 1;
            if row.examples.len() < EXAMPLES_MAX {
                row.examples.push(id);
            }
        }
        (true, false) => row.newly_kept += 1,
        (true, true) | (false, false) => {}
    }
}

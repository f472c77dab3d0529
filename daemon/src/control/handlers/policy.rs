//! Policies, what they say about one entity, and their schedules.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use retention_core::control::{
    CoverageRow, DiffPolicies, Explanation, ListQuery, PolicyDetail, PolicyQuery, PolicyRow, ScheduleRow,
};
use retention_core::event::{Event, Readable};
use retention_core::id::{Digest, EntityId};
use retention_core::record::Kind;
use retention_core::time::Timestamp;
use retention_core::view::{Coverage, Covered, Views};

use super::super::answer::{Batch, Wanted, blocking, list as answer_list};
use super::super::error::ApiError;
use super::super::input::{Argument, Asked, Body};
use super::super::works::PolicyFacts;
use super::{Caller, Shared, entity, not_found};

pub(crate) async fn list(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<PolicyQuery>,
) -> Result<Response, ApiError> {
    let rows: Vec<PolicyRow> = facts(&control, query.due_by).await?.into_iter().map(|(row, _)| row).collect();
    answer_list(wanted, query.after, query.limit, numbered(rows)).await
}

pub(crate) async fn schedule(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    let rows: Vec<ScheduleRow> =
        facts(&control, None).await?.into_iter().filter_map(|(_, schedule)| schedule).collect();
    answer_list(wanted, query.after, query.limit, numbered(rows)).await
}

/// Serves a list that is at hand as a whole and small by nature: its rows are numbered from 1.
pub(super) fn numbered<T: Clone + Send + 'static>(
    rows: Vec<T>,
) -> impl FnMut(Option<retention_core::control::Cursor>, usize) -> Result<Batch<T>, ApiError> + Send + 'static {
    move |after, limit| {
        let from = after.map_or(0, |cursor| usize::try_from(cursor.0).unwrap_or(usize::MAX));
        Ok(Batch::cut((1u64..).zip(rows.iter().cloned()).skip(from), limit))
    }
}

/// Joins what the policies say with what the views count as due at an instant: now, when none is named.
async fn facts(control: &Shared, due_by: Option<Timestamp>) -> Result<Vec<(PolicyRow, Option<ScheduleRow>)>, ApiError> {
    let works = Arc::clone(&control.works);
    let policies = blocking(move || Ok(works.policies())).await?;
    let now = due_by.unwrap_or_else(|| control.clock.now());
    control.see(move |views| Ok(policies.into_iter().filter_map(|facts| join(facts, views, now)).collect())).await
}

fn join(facts: PolicyFacts, views: &Views, now: Timestamp) -> Option<(PolicyRow, Option<ScheduleRow>)> {
    let version = views.small.policies.policies.iter().find(|version| version.id == facts.policy)?;
    let counted = views.due.policy(&facts.policy);
    let mut due = counted.map(|due| due.due_by(now)).unwrap_or_default();
    if facts.restricts {
        views.small.restrictions.take_ended(&mut due);
    }
    let due = due.len();
    let schedule =
        facts.schedule.map(|row| ScheduleRow { due, last_at: views.small.schedules.last(&facts.policy), ..row });
    let row = PolicyRow {
        policy: facts.policy,
        title: facts.title,
        state: facts.state,
        digest: version.digest,
        population: counted.map_or(0, |due| due.population()),
        due,
        next_at: schedule.as_ref().and_then(|row| row.next_at),
    };
    Some((row, schedule))
}

pub(crate) async fn show(
    State(control): State<Shared>,
    Argument(name): Argument<String>,
) -> Result<Json<PolicyDetail>, ApiError> {
    let missing = || not_found("active policy", "of that name").hint("retentionctl policy list");
    let found = facts(&control, None).await?.into_iter().find(|(row, _)| row.policy == name);
    let (policy, _) = found.ok_or_else(missing)?;
    let key: (String, Digest) = (policy.policy.clone(), policy.digest);
    let position = control.see(move |views| Ok(views.small.policies.texts.get(&key).copied())).await?;
    let position = position.ok_or_else(missing)?;
    let log = Arc::clone(&control.log);
    let recorded = blocking(move || Ok(log.event(position)?)).await?.ok_or_else(missing)?;
    match recorded.event {
        Readable::Event(event) => match *event {
            Event::PolicyRecorded(body) => Ok(Json(PolicyDetail { policy, text: body.text })),
            _ => Err(missing()),
        },
        Readable::Facts(_) | Readable::Gone | Readable::Unknown => Err(missing()),
    }
}

/// How many entities one look at the views counts: some milliseconds.
const COUNTED_AT_ONCE: usize = 50_000;

pub(crate) async fn coverage(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    let works = Arc::clone(&control.works);
    let policies = blocking(move || Ok(works.policies())).await?;
    // What only ends the use of something never disposes of it.
    let in_force = policies.into_iter().filter(|facts| facts.is_enforced() && !facts.restricts);
    let enforced: Arc<[String]> = in_force.map(|facts| facts.policy).collect();
    let (mut coverage, mut next) = (Coverage::default(), Some(0));
    while let Some(from) = next {
        let enforced = Arc::clone(&enforced);
        let look = move |views: &Views| {
            let next = coverage.count(views, &enforced, from, COUNTED_AT_ONCE);
            Ok((coverage, next))
        };
        (coverage, next) = control.see(look).await?;
    }
    let row = |(source, kind, counted): (&str, Kind, &Covered)| CoverageRow {
        source: source.to_owned(),
        kind,
        entities: counted.entities,
        covered: counted.covered,
        uncovered: counted.uncovered(),
        never_due: counted.never_due,
        waiting: counted.waiting,
        policies: counted.policies.iter().cloned().collect(),
    };
    let rows: Vec<CoverageRow> = coverage.iter().map(row).collect();
    answer_list(wanted, query.after, query.limit, numbered(rows)).await
}

pub(crate) async fn diff(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<ListQuery>,
    Body(other): Body<DiffPolicies>,
) -> Result<Response, ApiError> {
    let works = Arc::clone(&control.works);
    let rows = blocking(move || Ok(works.diff_policies(&other.files)?)).await?;
    answer_list(wanted, query.after, query.limit, numbered(rows)).await
}

/// Explaining reads the content of the entity, so it is recorded like showing it.
pub(crate) async fn explain(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<EntityId>,
) -> Result<Json<Explanation>, ApiError> {
    entity::refuse_if_gone(&control, id).await?;
    entity::note_opened(&control, &caller, retention_core::control::Operation::PolicyExplain, 1).await?;
    let now = control.clock.now();
    blocking(move || Ok(Json(control.works.explain(id, now)?))).await
}

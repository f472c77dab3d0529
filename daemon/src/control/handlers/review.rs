//! What waits for a decision of a person, and the decisions.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use retention_core::control::{
    Accepted, DecideReview, ENTITIES_PER_REQUEST_MAX, ErrorCode, ListQuery, ReviewItemRow, ReviewRow, ReviewedItem,
};
use retention_core::event::Event;
use retention_core::event::review::{ReviewDecided, ReviewItem, ReviewVerdict};
use retention_core::id::{EntityId, ReviewId};
use retention_core::view::Views;

use super::super::answer::{Batch, Wanted, blocking, list as answer_list};
use super::super::error::ApiError;
use super::super::input::{Argument, Asked, Body, check_reason};
use super::super::log;
use super::super::reviews::{Decided, row_of};
use super::{About, Caller, Shared, check_approver, not_found};

pub(crate) async fn list(
    State(control): State<Shared>,
    wanted: Wanted,
    Argument(policy): Argument<String>,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    let now = control.clock.now();
    answer_list(wanted, query.after, query.limit, move |after, limit| {
        let from = after.map_or(0, |cursor| cursor.0.saturating_add(1));
        let candidates = |views: &Views| {
            let due = views.due.policy(&policy)?.due_by(now);
            Some(Batch::cut(due.iter().filter(|n| u64::from(*n) >= from).map(|n| (u64::from(n), EntityId(n))), limit))
        };
        let missing = || not_found("active policy", "of that name").hint("retentionctl policy list");
        let found = log::look(&control.log, candidates).ok_or_else(|| ApiError::of(ErrorCode::Internal))?;
        let Batch { rows, next } = found.ok_or_else(missing)?;
        let waiting = control.works.waiting_for_review(&policy, &rows, Decided::Counts, now)?.ok_or_else(missing)?;
        Ok(Batch { rows: waiting.items, next })
    })
    .await
}

pub(crate) async fn show(
    State(control): State<Shared>,
    Argument(id): Argument<ReviewId>,
) -> Result<Json<ReviewRow>, ApiError> {
    let missing = move || not_found("review", id).hint("retentionctl audit query --kind ReviewDecided");
    control.see(move |views| views.small.reviews.get(id).map(|_| ()).ok_or_else(missing)).await?;
    let log = Arc::clone(&control.log);
    let recorded = blocking(move || Ok(log.event(id.0)?)).await?.ok_or_else(missing)?;
    row_of(&recorded).map(Json).ok_or_else(missing)
}

pub(crate) async fn decide(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(policy): Argument<String>,
    Body(wanted): Body<DecideReview>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_reason(wanted.reason)?;
    let now = control.clock.now();
    let refuse = |message: String| Err(ApiError::saying(ErrorCode::BadRequest, message));
    if wanted.items.is_empty() || wanted.items.len() > ENTITIES_PER_REQUEST_MAX {
        return refuse(format!("a decision names 1 to {ENTITIES_PER_REQUEST_MAX} items"));
    }
    if matches!(wanted.decision, ReviewVerdict::Keep { until } if until <= now) {
        return refuse("an item is kept until an instant that is still to come; nothing was decided".to_owned());
    }
    check_approver(&control, &caller, policy.clone()).await?;
    let entities = retention_core::id::in_order(wanted.items.iter().map(|item| item.entity).collect());
    let (works, named) = (Arc::clone(&control.works), policy.clone());
    let judged = blocking(move || {
        let is_enforced = works.policies().iter().any(|facts| facts.policy == named && facts.is_enforced());
        let waiting = works.waiting_for_review(&named, &entities, Decided::Anew, now)?;
        Ok(waiting.filter(|_| is_enforced))
    });
    let missing = || not_found("enforced policy", "of that name").hint("retentionctl policy list");
    let waiting = judged.await?.ok_or_else(missing)?;
    let items = as_seen(&policy, &wanted.items, &waiting.items)?;
    let (verdict, policy_digest) = (wanted.decision, waiting.policy_digest);
    let body = ReviewDecided { policy, policy_digest, verdict, items, reason };
    control.request(&caller, About::Daemon, Event::ReviewDecided(body)).await.map(Json)
}

/// Returns what is decided about, or says which item does not wait, or is not what was looked at.
fn as_seen(policy: &str, wanted: &[ReviewedItem], waiting: &[ReviewItemRow]) -> Result<Vec<ReviewItem>, ApiError> {
    let waiting: BTreeMap<EntityId, &ReviewItemRow> = waiting.iter().map(|row| (row.entity, row)).collect();
    let mut items = BTreeMap::new();
    for item in wanted {
        let refuse = |why: &str| {
            ApiError::saying(ErrorCode::WrongState, format!("{} {why}; nothing was decided", item.entity))
                .hint(format!("retentionctl review list {policy}"))
        };
        let Some(row) = waiting.get(&item.entity) else {
            return Err(refuse("does not wait for a decision under this policy"));
        };
        if item.seen.is_some_and(|seen| (seen.version, seen.due_at) != (row.version, row.due_at)) {
            return Err(refuse("is not what was looked at any more"));
        }
        let decided = ReviewItem { entity: row.entity, version: row.version, due_at: row.due_at };
        items.insert(row.entity, decided);
    }
    Ok(items.into_values().collect())
}

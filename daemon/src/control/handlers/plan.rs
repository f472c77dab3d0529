//! Plans.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use retention_core::control::{
    Accepted, ActorName, ApprovalRow, ErrorCode, FrozenPlan, JudgePlan, ListQuery, MakePlan, PlanItemRow,
    PlanReviewRow, PlanRow, WaitQuery,
};
use retention_core::event::decision::{ITEMS_PER_CHUNK, PlanApproved, PlanPurpose, PlanRejected, PlanRequested};
use retention_core::event::{Actor, Event};
use retention_core::id::{Digest, PlanId};
use retention_core::time::Timestamp;
use retention_core::view::{Condition, Plan, PlanState, Views};

use super::super::answer::{Batch, Wanted, blocking, list as answer_list};
use super::super::error::ApiError;
use super::super::input::{Argument, Asked, Body, check_reason, check_text};
use super::{About, Caller, Seen, Shared, check_approver, not_found, requester};

/// Whoever asks for the items of a plan that is being made waits for it so long, in seconds.
const FREEZE_SECONDS_MAX: u32 = 5;

pub(crate) async fn make(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<MakePlan>,
) -> Result<Json<Accepted>, ApiError> {
    if wanted.as_of.is_some() && wanted.purpose == PlanPurpose::Run {
        return Err(ApiError::saying(ErrorCode::BadRequest, "only a preview may look at another instant")
            .hint("ask for a preview, or leave the instant out"));
    }
    let policy = wanted.policy.clone();
    let is_active =
        control.see(move |views| Ok(views.small.policies.policies.iter().any(|version| version.id == policy))).await?;
    if !is_active {
        return Err(not_found("active policy", "of that name").hint("retentionctl policy list"));
    }
    let body = PlanRequested { policy: wanted.policy, purpose: wanted.purpose, as_of: wanted.as_of };
    control.request(&caller, About::Daemon, Event::PlanRequested(body)).await.map(Json)
}

pub(crate) async fn list(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    let now = control.clock.now();
    control
        .list_newest(wanted, query, move |views, below| {
            let plans = views.small.plans.iter().rev().filter(move |(id, _)| id.0.0 < below);
            Box::new(plans.map(move |(id, plan)| (id.0.0, row(views, id, plan, now))))
        })
        .await
}

pub(crate) async fn show(
    State(control): State<Shared>,
    Argument(id): Argument<PlanId>,
    Asked(query): Asked<WaitQuery>,
) -> Result<Json<PlanRow>, ApiError> {
    let clock = Arc::clone(&control.clock);
    let look = move |views: &Views| {
        let row = row(views, id, found(views, id)?, clock.now());
        Ok(if row.state == PlanState::Requested { Seen::Open(row) } else { Seen::Settled(row) })
    };
    let mut row = control.wait(query.wait_seconds, look).await?;
    if let Some(frozen) = &mut row.frozen {
        // By the version that the plan was made under, which is what an approval accepts.
        let (works, digest) = (Arc::clone(&control.works), frozen.policy_digest);
        frozen.access = blocking(move || works.run_access(digest).map_err(ApiError)).await?;
    }
    Ok(Json(row))
}

fn found(views: &Views, id: PlanId) -> Result<&Plan, ApiError> {
    views.small.plans.get(id).ok_or_else(|| not_found("plan", id).hint("retentionctl plan list"))
}

fn row(views: &Views, id: PlanId, plan: &Plan, now: Timestamp) -> PlanRow {
    PlanRow {
        plan: id,
        policy: plan.request.policy.clone(),
        purpose: plan.request.purpose,
        state: views.state_of_plan(plan, now),
        requested_by: requester(plan.requested_by),
        requested_at: plan.requested_at,
        frozen: plan.frozen.as_ref().map(|frozen| FrozenPlan {
            digest: frozen.digest,
            policy_digest: frozen.policy_digest,
            log_position: frozen.log_position,
            as_of: frozen.as_of,
            population: frozen.population,
            items: frozen.items,
            kept: frozen.kept.clone(),
            tripped: frozen.tripped.clone(),
            needs_approval: frozen.needs_approval || !frozen.tripped.is_empty(),
            approvals_needed: frozen.approvals_needed,
            approvals_valid: plan.valid_approvals(now),
            access: None,
        }),
        refusal: plan.refused.clone(),
        approvals: plan
            .approvals
            .iter()
            .map(|approval| ApprovalRow { by: ActorName(Actor::Person(approval.uid)), at: approval.at })
            .collect(),
        reviews: plan
            .reviews
            .iter()
            .map(|review| PlanReviewRow {
                review: review.review,
                by: ActorName(Actor::Person(review.uid)),
                at: review.at,
            })
            .collect(),
        run: plan.run,
    }
}

pub(crate) async fn items(
    State(control): State<Shared>,
    wanted: Wanted,
    Argument(id): Argument<PlanId>,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    let clock = Arc::clone(&control.clock);
    let look = move |views: &Views| {
        let plan = found(views, id)?;
        let state = plan.state(clock.now());
        let seen = (state, plan.chunks.clone());
        Ok(if state == PlanState::Requested { Seen::Open(seen) } else { Seen::Settled(seen) })
    };
    // Nothing, or a part, would look like all that is due.
    let chunks = match control.wait(Some(FREEZE_SECONDS_MAX), look).await? {
        (state @ (PlanState::Requested | PlanState::Refused), _) => return Err(wrong_state(id, state)),
        (
            PlanState::Preview
            | PlanState::Empty
            | PlanState::AwaitingApproval
            | PlanState::Ready
            | PlanState::Rejected
            | PlanState::Used
            | PlanState::Stale,
            chunks,
        ) => chunks,
    };
    let log = Arc::clone(&control.log);
    // All chunks but the last are full, so the number of an item says where it stands.
    answer_list(wanted, query.after, query.limit, move |after, limit| {
        let from = after.map_or(0, |cursor| usize::try_from(cursor.0).unwrap_or(usize::MAX).saturating_add(1));
        let mut rows = Vec::new();
        for (number, position) in chunks.iter().enumerate().skip(from / ITEMS_PER_CHUNK) {
            let Some(recorded) = log.event(*position)? else { break };
            let Some(Event::PlanItems(body)) = recorded.event() else { break };
            let numbered = (number * ITEMS_PER_CHUNK..).zip(&body.items).skip_while(|(item, _)| *item < from);
            rows.extend(numbered.map(|(item, body)| {
                let row = PlanItemRow {
                    item: item as u64,
                    entity: body.entity,
                    version: body.version,
                    start_at: body.start_at,
                    due_at: body.due_at,
                    start_is_fallback: body.start_is_fallback,
                };
                (item as u64, row)
            }));
            // One more than wanted tells that there is more.
            if rows.len() > limit {
                break;
            }
        }
        Ok(Batch::cut(rows, limit))
    })
    .await
}

pub(crate) async fn approve(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<PlanId>,
    Body(judged): Body<JudgePlan>,
) -> Result<Json<Accepted>, ApiError> {
    let comment = check_text(judged.comment)?;
    let (uid, digest, now) = (caller.peer.uid, judged.digest, control.clock.now());
    let policy = control
        .see(move |views| {
            let plan = found(views, id)?;
            // Whoever accepts it would wait for a run that is refused.
            check_judgeable(id, plan, views.state_of_plan(plan, now), digest)?;
            if plan.requested_by == Some(uid) {
                return Err(ApiError::saying(
                    ErrorCode::OwnRequest,
                    format!("uid {uid} requested {id} and may not approve it"),
                )
                .hint("another person with the role approver has to look at it"));
            }
            if plan.is_reviewed_by(uid) {
                return Err(ApiError::saying(
                    ErrorCode::OwnRequest,
                    format!("uid {uid} decided that items of {id} go and may not approve it"),
                )
                .hint("another person with the role approver has to look at it"));
            }
            // Twice by one person would read like two persons.
            if plan.is_accepted_by(uid, now) {
                let message = format!("uid {uid} accepted {id} before, and that counts still; nothing was recorded");
                return Err(
                    ApiError::saying(ErrorCode::WrongState, message).hint(format!("retentionctl plan show {id}"))
                );
            }
            Ok(plan.request.policy.clone())
        })
        .await?;
    check_approver(&control, &caller, policy).await?;
    let event = Event::PlanApproved(PlanApproved { plan: id, digest, comment });
    let condition = Condition::PlanOpen(id).and(Condition::NotAccepted { plan: id, uid, at: now });
    control.request_if(&caller, About::Position(id.0), event, condition).await.map(Json)
}

pub(crate) async fn reject(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<PlanId>,
    Body(judged): Body<JudgePlan>,
) -> Result<Json<Accepted>, ApiError> {
    let comment = check_reason(judged.comment)?;
    let (digest, now) = (judged.digest, control.clock.now());
    let judged = move |views: &Views| {
        let plan = found(views, id)?;
        // One that its policy has left behind may still be refused: an edit can be taken back.
        check_judgeable(id, plan, plan.state(now), digest)
    };
    control.see(judged).await?;
    let event = Event::PlanRejected(PlanRejected { plan: id, digest, comment });
    control.request_if(&caller, About::Position(id.0), event, Condition::PlanOpen(id)).await.map(Json)
}

fn check_judgeable(id: PlanId, plan: &Plan, state: PlanState, digest: Digest) -> Result<(), ApiError> {
    match state {
        PlanState::AwaitingApproval | PlanState::Ready => {}
        state @ (PlanState::Requested
        | PlanState::Refused
        | PlanState::Preview
        | PlanState::Empty
        | PlanState::Rejected
        | PlanState::Used
        | PlanState::Stale) => return Err(wrong_state(id, state)),
    }
    check_digest(id, plan, digest)
}

/// Checks that what was looked at is what the plan is.
pub(super) fn check_digest(id: PlanId, plan: &Plan, digest: Digest) -> Result<(), ApiError> {
    if plan.digest() == Some(digest) {
        return Ok(());
    }
    Err(ApiError::saying(ErrorCode::DigestMismatch, format!("the digest is not that of {id}; nothing was changed"))
        .hint(format!("retentionctl plan show {id}")))
}

/// Says why a plan in this state can neither be judged nor run.
pub(super) fn wrong_state(id: PlanId, state: PlanState) -> ApiError {
    let why = match state {
        PlanState::Requested => "is still being made",
        PlanState::Refused => "could not be made",
        PlanState::Preview => "is a preview and can only be looked at",
        PlanState::Empty => "holds nothing that is due",
        PlanState::AwaitingApproval => "waits for an approval",
        PlanState::Ready => "is ready",
        PlanState::Rejected => "was rejected",
        PlanState::Used => "was already taken by a run",
        PlanState::Stale => "is stale: its policy has changed since",
    };
    let code = match state {
        PlanState::AwaitingApproval => ErrorCode::ApprovalNeeded,
        PlanState::Stale => ErrorCode::PlanStale,
        PlanState::Requested
        | PlanState::Refused
        | PlanState::Preview
        | PlanState::Empty
        | PlanState::Ready
        | PlanState::Rejected
        | PlanState::Used => ErrorCode::WrongState,
    };
    ApiError::saying(code, format!("{id} {why}; nothing was changed")).hint(format!("retentionctl plan show {id}"))
}

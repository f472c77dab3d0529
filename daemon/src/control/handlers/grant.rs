//! Access to mailboxes that is given for a time.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use retention_core::control::{
    Accepted, ActorName, ApprovalRow, Because, ErrorCode, GiveGrant, GrantDetail, GrantRow, JudgeGrant, ListQuery,
    Operation, RenewGrant,
};
use retention_core::event::grant::{GrantApproved, GrantRejected, GrantRenewed, GrantRevokeRequested, GrantStep};
use retention_core::event::{Actor, Event};
use retention_core::id::GrantId;
use retention_core::time::Timestamp;
use retention_core::view::grants::GrantStage;
use retention_core::view::{Condition, Grant, GrantState, Views};

use super::super::answer::{Wanted, blocking};
use super::super::error::ApiError;
use super::super::input::{Argument, Asked, Body, check_reason, check_text};
use super::super::terms;
use super::entity::note_opened;
use super::mailbox::check_registered;
use super::{About, Caller, Shared, check_approver, not_found, requester};

pub(crate) async fn give(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<GiveGrant>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_reason(wanted.reason)?;
    let ticket = wanted.ticket.map(check_text).transpose()?.filter(|ticket| !ticket.trim().is_empty());
    let wanted = GiveGrant { reason, ticket, ..wanted };
    let mailbox = wanted.mailbox;
    control.see(move |views| check_registered(views, mailbox)).await?;
    let works = Arc::clone(&control.works);
    let body = blocking(move || works.grant_terms(wanted).map_err(ApiError)).await?;
    let condition = Condition::MailboxRegistered(mailbox);
    control.request_if(&caller, About::Daemon, Event::GrantRequested(body), condition).await.map(Json)
}

pub(crate) async fn list(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    let now = control.clock.now();
    control
        .list_newest(wanted, query, move |views, below| {
            let grants = views.small.grants.iter().rev().filter(move |(id, _)| id.0.0 < below);
            Box::new(grants.map(move |(id, grant)| (id.0.0, row(id, grant, now))))
        })
        .await
}

pub(crate) async fn show(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<GrantId>,
) -> Result<Json<GrantDetail>, ApiError> {
    let now = control.clock.now();
    let (row, policy_digest, receipts) = control
        .see(move |views| {
            let grant = found(views, id)?;
            let steps = [GrantStep::Read, GrantStep::Give, GrantStep::Revoke, GrantStep::VerifyRevoked];
            let receipts = steps.into_iter().filter_map(|step| grant.receipt(step).cloned()).collect();
            Ok((row(id, grant, now), grant.policy_digest, receipts))
        })
        .await?;
    // Before anything is shown: if it cannot be recorded, it is not shown.
    note_opened(&control, &caller, Operation::GrantShow, 1).await?;
    let log = Arc::clone(&control.log);
    blocking(move || {
        let recorded = log.event(id.0)?;
        match recorded.as_ref().and_then(|recorded| recorded.event()) {
            Some(Event::GrantRequested(body)) => Ok(Json(GrantDetail {
                row,
                policy_digest,
                to: body.identifier.clone(),
                reason: body.reason.clone(),
                ticket: body.ticket.clone(),
                receipts,
            })),
            _ => Err(ApiError::of(ErrorCode::Internal)),
        }
    })
    .await
}

fn row(id: GrantId, grant: &Grant, now: Timestamp) -> GrantRow {
    GrantRow {
        grant: id,
        mailbox: grant.mailbox,
        state: grant.state(now),
        purpose: grant.purpose,
        policy: grant.policy.clone(),
        requested_by: requester(grant.requested_by),
        requested_at: grant.requested_at,
        approvals_needed: grant.approvals_needed,
        approvals: grant
            .approvals
            .iter()
            .map(|given| ApprovalRow { by: ActorName(Actor::Person(given.uid)), at: given.at })
            .collect(),
        begun_at: grant.begun_at,
        ends_at: grant.lease_ends_at(),
        is_alarming: grant.is_alarming(now),
        failed: failed(grant, now),
        end: grant.end,
        ended_at: grant.ended_at,
    }
}

/// What went wrong matters while it is given or taken back, and of one that could not be given.
fn failed(grant: &Grant, now: Timestamp) -> Option<String> {
    let matters = matches!(grant.state(now), GrantState::Giving | GrantState::Revoking | GrantState::NotGiven);
    grant.last_failure.as_ref().filter(|_| matters).map(|failure| failure.code.clone())
}

pub(crate) async fn approve(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<GrantId>,
    Body(judged): Body<JudgeGrant>,
) -> Result<Json<Accepted>, ApiError> {
    let comment = check_text(judged.comment)?;
    let (uid, now) = (caller.peer.uid, control.clock.now());
    let policy = control
        .see(move |views| {
            let grant = check_waits(id, found(views, id)?, now)?;
            if grant.requested_by == Some(uid) {
                return Err(ApiError::saying(
                    ErrorCode::OwnRequest,
                    format!("uid {uid} asked for {id} and may not approve it"),
                )
                .hint("another person with the role approver has to look at it"));
            }
            Ok(grant.policy.clone())
        })
        .await?;
    check_approver(&control, &caller, policy).await?;
    let event = Event::GrantApproved(GrantApproved { grant: id, comment });
    let condition = Condition::GrantIs(id, GrantStage::NotBegun);
    control.request_if(&caller, About::Position(id.0), event, condition).await.map(Json)
}

pub(crate) async fn reject(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<GrantId>,
    Body(judged): Body<JudgeGrant>,
) -> Result<Json<Accepted>, ApiError> {
    let comment = check_reason(judged.comment)?;
    let now = control.clock.now();
    control.see(move |views| check_waits(id, found(views, id)?, now).map(|_| ())).await?;
    let event = Event::GrantRejected(GrantRejected { grant: id, comment });
    let condition = Condition::GrantIs(id, GrantStage::NotBegun);
    control.request_if(&caller, About::Position(id.0), event, condition).await.map(Json)
}

pub(crate) async fn renew(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<GrantId>,
    Body(wanted): Body<RenewGrant>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_reason(wanted.reason)?;
    let duration_ms = terms::duration_ms(&wanted.duration).map_err(ApiError)?;
    let now = control.clock.now();
    control
        .see(move |views| {
            // A lease counts by the time of the log, which a clock that was set back does not show.
            let (grant, now) = (found(views, id)?, now.max(views.recorded_at));
            match grant.state(now) {
                GrantState::Active if grant.lease_if_renewed(duration_ms, now) > grant.lease_ends_at() => Ok(()),
                GrantState::Active => Err(wrong_state(
                    id,
                    GrantState::Active,
                    "it would not last longer, since the time counts from now and its policy allows no more in all",
                )),
                state => Err(wrong_state(id, state, "only a grant that is active can be made longer")),
            }
        })
        .await?;
    let event = Event::GrantRenewed(GrantRenewed { grant: id, duration_ms, reason });
    let condition = Condition::GrantIs(id, GrantStage::Standing);
    control.request_if(&caller, About::Position(id.0), event, condition).await.map(Json)
}

pub(crate) async fn revoke(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<GrantId>,
    Body(because): Body<Because>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_reason(because.reason)?;
    let now = control.clock.now();
    control
        .see(move |views| {
            let grant = found(views, id)?;
            match grant.end {
                None => Ok(()),
                Some(_) => Err(wrong_state(id, grant.state(now), "it is over")),
            }
        })
        .await?;
    let event = Event::GrantRevokeRequested(GrantRevokeRequested { grant: id, reason });
    let condition = Condition::GrantIs(id, GrantStage::Open);
    control.request_if(&caller, About::Position(id.0), event, condition).await.map(Json)
}

fn found(views: &Views, id: GrantId) -> Result<&Grant, ApiError> {
    views.small.grants.get(id).ok_or_else(|| not_found("grant", id).hint("retentionctl grant list"))
}

fn check_waits(id: GrantId, grant: &Grant, now: Timestamp) -> Result<&Grant, ApiError> {
    match grant.state(now) {
        GrantState::AwaitingApproval => Ok(grant),
        state => Err(wrong_state(id, state, "it does not wait for an approval")),
    }
}

fn wrong_state(id: GrantId, state: GrantState, why: &str) -> ApiError {
    ApiError::saying(ErrorCode::WrongState, format!("{id} is {}: {why}; nothing was changed", state.name()))
        .hint(format!("retentionctl grant show {id}"))
}

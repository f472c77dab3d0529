//! Backups, and the confirmation of a store that was restored from one.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use retention_core::control::{Accepted, Because, Cursor, ErrorCode, ListQuery};
use retention_core::event::Event;
use retention_core::event::backup::RestoreConfirmed;
use retention_core::id::Position;
use retention_core::view::Condition;

use super::super::answer::{Batch, Wanted, list as answer_list, work};
use super::super::error::ApiError;
use super::super::input::{Argument, Asked, Body, check_reason};
use super::{About, Caller, Shared};

pub(crate) async fn make(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, ApiError> {
    let works = Arc::clone(&control.works);
    Ok(work(move |sink| works.make_backup(caller.peer.uid, sink)))
}

pub(crate) async fn list(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(list): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    let works = Arc::clone(&control.works);
    answer_list(wanted, list.after, list.limit, move |after, limit| {
        let below = after.map_or(u64::MAX, |cursor: Cursor| cursor.0);
        let rows = works.backups().map_err(ApiError)?.into_iter().filter(|row| row.last.0 < below);
        Ok(Batch::cut(rows.map(|row| (row.last.0, row)), limit))
    })
    .await
}

pub(crate) async fn verify(State(control): State<Shared>, Argument(last): Argument<u64>) -> Result<Response, ApiError> {
    let works = Arc::clone(&control.works);
    Ok(work(move |sink| works.verify_backup(Position(last), sink)))
}

pub(crate) async fn confirm_restore(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(because): Body<Because>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_reason(because.reason)?;
    let restored = control
        .see(|views| match views.small.restored.waits() {
            Some((restored, _)) => Ok(*restored),
            None => Err(ApiError::saying(ErrorCode::WrongState, "no restore waits to be confirmed")),
        })
        .await?;
    let event = Event::RestoreConfirmed(RestoreConfirmed { restored, reason });
    control.request_if(&caller, About::Position(restored), event, Condition::RestoreWaits(restored)).await.map(Json)
}

//! The clock.

use axum::Json;
use axum::extract::{Extension, State};
use retention_core::control::{Accepted, Because, ErrorCode};
use retention_core::event::Event;
use retention_core::event::clock::ClockConfirmed;
use retention_core::view::Condition;

use super::super::error::ApiError;
use super::super::input::{Body, check_reason};
use super::{About, Caller, Shared};

pub(crate) async fn confirm(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(because): Body<Because>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_reason(because.reason)?;
    let doubted = control
        .see(|views| match views.small.clock.doubt() {
            Some((doubted, _)) => Ok(*doubted),
            None => Err(ApiError::saying(ErrorCode::WrongState, "the clock is believed: there is nothing to confirm")),
        })
        .await?;
    let event = Event::ClockConfirmed(ClockConfirmed { doubted, reason });
    control.request_if(&caller, About::Position(doubted), event, Condition::ClockDoubted(doubted)).await.map(Json)
}

//! Keys of the store itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use retention_core::control::{Accepted, ErrorCode, KeyStatus, RotateKeys, SigningKeys, TextKeys, WrappingKeys};
use retention_core::event::Event;
use retention_core::event::key::{KeyRotationRequested, StoreKeys};
use retention_core::view::Condition;

use super::super::answer::blocking;
use super::super::error::ApiError;
use super::super::input::{Body, check_reason};
use super::{About, Caller, Shared};

pub(crate) async fn status(State(control): State<Shared>) -> Result<Json<KeyStatus>, ApiError> {
    let works = Arc::clone(&control.works);
    let slots = blocking(move || works.count_keys().map_err(ApiError)).await?;
    let (texts, wrapping, signing) = control
        .see(|views| {
            let (keys, signing) = (&views.small.keys, &views.small.signing_keys);
            let now = signing.last();
            let wrapping =
                WrappingKeys { rotated_at: keys.wrapped_at, rotation_asked_by_event: keys.asked(StoreKeys::Wrapping) };
            let signing = SigningKeys {
                verifier_key: now.map(|key| key.verifier_key.clone()),
                adopted_at: now.map(|key| key.adopted_at),
                adopted_by_event: now.map(|key| key.adopted),
                older: signing.len().saturating_sub(1) as u64,
                rotation_asked_by_event: keys.asked(StoreKeys::Signing),
            };
            let months = &views.small.months;
            let readable = || months.iter().filter(|(_, month)| month.erased.is_none());
            let texts = TextKeys {
                by_month_since: months.iter().next().map(|(_, month)| month.begun_at),
                months_readable: readable().count() as u64,
                months_erased: months.iter().filter(|(_, month)| month.erased.is_some()).count() as u64,
                readable_from: readable().map(|(_, month)| month.begins_at).min(),
            };
            Ok((texts, wrapping, signing))
        })
        .await?;
    Ok(Json(KeyStatus { slots, texts, wrapping, signing }))
}

/// The request is in the log before anything is done: whatever happens then, the next start knows of it.
pub(crate) async fn rotate(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<RotateKeys>,
) -> Result<Json<Accepted>, ApiError> {
    let (keys, reason) = (wanted.keys, check_reason(wanted.reason)?);
    let name = keys.name();
    if let Some(asked) = control.see(move |views| Ok(views.small.keys.asked(keys))).await? {
        let message = format!("new {name} keys are asked for already, by event {}; nothing was changed", asked.0);
        return Err(ApiError::saying(ErrorCode::WrongState, message).hint("retentionctl key status"));
    }
    if keys == StoreKeys::Signing
        && let Some(why) = control.works.tree_stopped()
    {
        let message = format!("checkpoints are not signed, so no other key can take over: {why}");
        return Err(ApiError::saying(ErrorCode::WrongState, message).hint("retentionctl status"));
    }
    let event = Event::KeyRotationRequested(KeyRotationRequested { keys, reason });
    // Somebody else may have asked since it was looked.
    let accepted = control.request_if(&caller, About::Daemon, event, Condition::KeysNotAsked(keys)).await?;
    control.works.take_up_rotation(keys);
    Ok(Json(accepted))
}

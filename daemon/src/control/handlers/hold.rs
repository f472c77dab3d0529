//! Legal holds.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use retention_core::control::{
    Accepted, ActorName, Because, ENTITIES_PER_REQUEST_MAX, ErrorCode, HoldRow, ListQuery, PlaceHold,
};
use retention_core::event::Event;
use retention_core::event::hold::{HoldPlaced, HoldReleased};
use retention_core::id::HoldId;
use retention_core::view::{Condition, EntityState, Views};

use super::super::answer::{Batch, Wanted, list as answer_list};
use super::super::error::ApiError;
use super::super::input::{Argument, Asked, Body, check_reason};
use super::super::log;
use super::{About, Caller, Shared, not_found};

pub(crate) async fn place(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<PlaceHold>,
) -> Result<Json<Accepted>, ApiError> {
    let (name, reason) = (check_reason(wanted.name)?, check_reason(wanted.reason)?);
    if wanted.entities.is_empty() || wanted.entities.len() > ENTITIES_PER_REQUEST_MAX {
        return Err(ApiError::saying(
            ErrorCode::BadRequest,
            format!("a hold covers between 1 and {ENTITIES_PER_REQUEST_MAX} entities"),
        ));
    }
    let mut entities = wanted.entities;
    entities.sort_unstable();
    entities.dedup();
    let asked = entities.clone();
    control
        .see(move |views| {
            let is_there =
                |state: Option<EntityState>| matches!(state, Some(EntityState::Visible | EntityState::Quarantined));
            match asked.iter().find(|id| !is_there(views.entities.row(**id).map(|row| row.state))) {
                Some(id) => Err(not_found("entity", id).hint("nothing was placed; leave it out")),
                None => Ok(()),
            }
        })
        .await?;
    let event = Event::HoldPlaced(HoldPlaced { name, reason, entities });
    control.request(&caller, About::Daemon, event).await.map(Json)
}

pub(crate) async fn list(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    let log = Arc::clone(&control.log);
    answer_list(wanted, query.after, query.limit, move |after, limit| {
        let from = after.map_or(0, |cursor| cursor.0);
        let collect = |views: &Views| {
            let holds = views.small.holds.iter().filter(|(id, _)| id.0.0 > from);
            Batch::cut(holds.map(|(id, hold)| (id.0.0, (id, hold.entities.len() as u64))), limit)
        };
        let found = log::look(&log, collect).ok_or_else(|| ApiError::of(ErrorCode::Internal))?;
        // Names and reasons are free text: they are in the sealed event alone.
        let mut rows = Vec::new();
        for (id, entities) in found.rows {
            let Some(recorded) = log.event(id.0)? else { continue };
            let (placed_by, placed_at) = (ActorName(recorded.envelope.actor), recorded.envelope.recorded_at);
            if let Some(Event::HoldPlaced(body)) = recorded.event() {
                let (name, reason) = (body.name.clone(), body.reason.clone());
                rows.push(HoldRow { hold: id, name, reason, entities, placed_by, placed_at });
            }
        }
        Ok(Batch { rows, next: found.next })
    })
    .await
}

pub(crate) async fn release(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<HoldId>,
    Body(because): Body<Because>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_reason(because.reason)?;
    control
        .see(move |views| match views.small.holds.get(id) {
            Some(_) => Ok(()),
            None => Err(not_found("hold in force", id).hint("retentionctl hold list")),
        })
        .await?;
    let event = Event::HoldReleased(HoldReleased { hold: id, reason });
    control.request_if(&caller, About::Position(id.0), event, Condition::HoldActive(id)).await.map(Json)
}

//! Restrictions of use: by persons (GDPR Art. 18), and under policies.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use retention_core::control::{
    Accepted, ActorName, ENTITIES_PER_REQUEST_MAX, ErrorCode, LiftRestriction, PlaceRestriction, RestrictionQuery,
    RestrictionRow, RestrictionsWanted,
};
use retention_core::event::Event;
use retention_core::event::restriction::{RestrictionLifted, RestrictionPlaced};
use retention_core::id::{EntityId, RestrictionId, in_order};
use retention_core::view::restrictions::{Cause, Restricting};
use retention_core::view::{Condition, EntityState, Views};

use super::super::answer::{Batch, Wanted, list as answer_list};
use super::super::error::ApiError;
use super::super::input::{Argument, Asked, Body, check_reason};
use super::super::log::{self, Log};
use super::{About, Caller, Shared, not_found};

pub(crate) async fn place(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<PlaceRestriction>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_reason(wanted.reason)?;
    let (named, request) = (wanted.entities, wanted.request);
    if named.len() > ENTITIES_PER_REQUEST_MAX {
        let message = format!("at most {ENTITIES_PER_REQUEST_MAX} entities are named at once; nothing was restricted");
        return Err(ApiError::saying(ErrorCode::TooLarge, message));
    }
    let entities = control
        .see(move |views| {
            let mut entities = named;
            if let Some(missing) = entities.iter().find(|id| !is_there(views, **id)) {
                return Err(not_found("entity", missing).hint("nothing was restricted; leave it out"));
            }
            if let Some(id) = request {
                let missing = || not_found("request", id).hint("retentionctl subject list --all");
                entities.extend(views.left_of(views.small.subjects.get(id).ok_or_else(missing)?));
            }
            let entities = in_order(entities);
            match entities.is_empty() {
                false => Ok(entities),
                true => Err(ApiError::saying(
                    ErrorCode::BadRequest,
                    "a restriction names entities, or a request whose records are known",
                )
                .hint("retentionctl subject identify says which records a request is about")),
            }
        })
        .await?;
    let event = Event::RestrictionPlaced(RestrictionPlaced { entities, ground: wanted.ground, request, reason });
    control.request(&caller, About::Daemon, event).await.map(Json)
}

fn is_there(views: &Views, entity: EntityId) -> bool {
    let state = views.entities.row(entity).map(|row| row.state);
    matches!(state, Some(EntityState::Visible | EntityState::Quarantined))
}

pub(crate) async fn list(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<RestrictionQuery>,
) -> Result<Response, ApiError> {
    let log = Arc::clone(&control.log);
    let show = query.show;
    answer_list(wanted, query.after, query.limit, move |after, limit| {
        let from = after.map_or(0, |cursor| cursor.0);
        let collect = |views: &Views| {
            let is_wanted = |lifted: bool| lifted == (show == RestrictionsWanted::Lifted);
            let all = views.small.restrictions.all();
            let found = all.filter(|(id, one)| id.0.0 > from && is_wanted(one.lifted_at.is_some()));
            Batch::cut(found.map(|(id, one)| (id.0.0, (id, one.clone()))), limit)
        };
        let found = log::look(&log, collect).ok_or_else(|| ApiError::of(ErrorCode::Internal))?;
        let mut rows = Vec::new();
        for (id, restricting) in found.rows {
            rows.extend(row(&log, id, restricting)?);
        }
        Ok(Batch { rows, next: found.next })
    })
    .await
}

/// Reasons are free text: they are in the sealed event alone.
fn row(log: &Arc<dyn Log>, id: RestrictionId, restricting: Restricting) -> Result<Option<RestrictionRow>, ApiError> {
    let Some(recorded) = log.event(id.0)? else { return Ok(None) };
    let Restricting { placed_at, entities, cause, lifted_at } = restricting;
    let placed_by = ActorName(recorded.envelope.actor);
    let count = |entities: &[EntityId]| entities.len() as u64;
    Ok(match (recorded.event(), cause) {
        (Some(Event::RestrictionPlaced(body)), Cause::Person(ground, request)) => {
            // What it restricted stands in the event: what was lifted one by one is not in the view any more.
            let entities = if lifted_at.is_some() { body.entities.clone() } else { entities };
            let (count, reason) = (count(&entities), body.reason.clone());
            let (ground, policy) = (Some(ground), None);
            Some(RestrictionRow {
                restriction: id,
                ground,
                policy,
                request,
                count,
                entities,
                reason,
                placed_by,
                placed_at,
                lifted_at,
            })
        }
        (Some(Event::EntitiesRestricted(body)), Cause::Policy(policy, _)) => Some(RestrictionRow {
            restriction: id,
            ground: None,
            policy: Some(policy),
            request: None,
            count: if lifted_at.is_some() { count(&body.entities) } else { count(&entities) },
            entities: Vec::new(),
            reason: String::new(),
            placed_by,
            placed_at,
            lifted_at,
        }),
        _ => None,
    })
}

pub(crate) async fn lift(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<RestrictionId>,
    Body(wanted): Body<LiftRestriction>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_reason(wanted.reason)?;
    let entities = in_order(wanted.entities);
    if entities.len() > ENTITIES_PER_REQUEST_MAX {
        let message = format!("at most {ENTITIES_PER_REQUEST_MAX} entities are named at once; nothing was lifted");
        return Err(ApiError::saying(ErrorCode::TooLarge, message));
    }
    let named = entities.clone();
    control
        .see(move |views| {
            let missing = || not_found("restriction in force", id).hint("retentionctl restriction list");
            let restricting = views.small.restrictions.get(id).ok_or_else(missing)?;
            match named.iter().find(|entity| restricting.entities.binary_search(entity).is_err()) {
                None => Ok(()),
                Some(other) => Err(ApiError::saying(
                    ErrorCode::WrongState,
                    format!("{id} does not restrict {other}; nothing was lifted"),
                )
                .hint(format!("retentionctl explain {other} says what does"))),
            }
        })
        .await?;
    let event = Event::RestrictionLifted(RestrictionLifted { restriction: id, entities, reason });
    control.request_if(&caller, About::Position(id.0), event, Condition::RestrictionInForce(id)).await.map(Json)
}

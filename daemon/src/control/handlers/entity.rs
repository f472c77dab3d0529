//! Entities.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use retention_core::control::{
    Cell, Cursor, EntityContent, EntityQuery, EntityRow, EntityState, ErrorBody, ErrorCode, LinkRow, Operation,
    Tombstone,
};
use retention_core::event::operation::RecordsOpened;
use retention_core::event::{Event, EventType, Recorded};
use retention_core::id::{EntityId, Position};
use retention_core::record::{EntityRecord, Layout};
use retention_core::view::entities::Row;
use retention_core::view::{self, Views};

use super::super::answer::{Batch, Wanted, blocking};
use super::super::error::ApiError;
use super::super::input::{Argument, Asked};
use super::super::log::{self, Log};
use super::{About, Caller, Shared, not_found};
use crate::store::Query;

/// How many numbers one look at the views goes through at most, when few of them match: some milliseconds.
const SCAN_MAX: usize = 50_000;

pub(crate) async fn list(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<EntityQuery>,
) -> Result<Response, ApiError> {
    let (after, limit) = (query.after, query.limit);
    control.list(wanted, after, limit, move |views, after, limit| scan(views, &query, after, limit)).await
}

/// Goes through the numbers in order. The rows may be fewer than asked for although more follow.
fn scan(views: &Views, query: &EntityQuery, after: Option<Cursor>, limit: usize) -> Batch<EntityRow> {
    let from = after.map_or(0, |cursor| cursor.0.saturating_add(1));
    let Ok(from) = u32::try_from(from) else { return Batch { rows: Vec::new(), next: None } };
    let mut rows = Vec::new();
    let mut last = None;
    for id in views.entities.numbers_from(from).take(SCAN_MAX) {
        if rows.len() == limit {
            break;
        }
        last = Some(id);
        rows.extend(row(views, id).filter(|row| matches(row, query)));
    }
    let next = last.filter(|id| id.0.saturating_add(1) < views.entities.bound()).map(|id| Cursor(id.0.into()));
    Batch { rows, next }
}

fn matches(row: &EntityRow, query: &EntityQuery) -> bool {
    query.kind.is_none_or(|kind| row.kind == Some(kind))
        && query.mailbox.is_none_or(|mailbox| row.mailbox == Some(mailbox))
        && query.state.is_none_or(|state| row.state == state)
        && query.visibility.is_none_or(|visibility| row.visibility == visibility)
}

/// Returns what the views know of an entity.
pub(crate) fn row(views: &Views, entity: EntityId) -> Option<EntityRow> {
    let row = views.entities.row(entity)?;
    let layout = views.small.layouts.get(row.layout);
    Some(EntityRow {
        entity,
        kind: layout.map(|layout| layout.kind),
        source: layout.map(|layout| layout.source.clone()),
        mailbox: row.mailbox,
        state: state(&row),
        visibility: row.visibility,
        first_seen: (row.state != view::EntityState::Purged).then_some(row.first_seen),
        last_activity: row.last_activity,
        version: row.version,
    })
}

fn state(row: &Row) -> EntityState {
    match row.state {
        view::EntityState::Purged => EntityState::Purged,
        view::EntityState::Quarantined => EntityState::Quarantined,
        view::EntityState::Visible if row.absent => EntityState::Absent,
        view::EntityState::Visible => EntityState::Present,
    }
}

pub(crate) async fn show(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<EntityId>,
) -> Result<Json<EntityContent>, ApiError> {
    refuse_if_gone(&control, id).await?;
    let missing = move || not_found("entity", id).hint("retentionctl entity list");
    let now = control.clock.now();
    let seen = control
        .see(move |views| {
            let row = row(views, id).ok_or_else(missing)?;
            let links = views.links.of(id).map(|link| LinkRow { relation: link.relation, to: link.to }).collect();
            Ok((row, links, views.holds_of_at(id, views.holds_at(now)), views.small.restrictions.of(id)))
        })
        .await?;
    let (entity, links, holds, restrictions): (EntityRow, Vec<LinkRow>, _, _) = seen;
    if let Some(restriction) = restrictions.first() {
        let message = format!("the use of {id} is restricted by {restriction}: it is not shown");
        return Err(ApiError::saying(ErrorCode::WrongState, message).hint(format!(
            "retentionctl explain {id} says what becomes of it; retentionctl restriction list says why"
        )));
    }
    if entity.state == EntityState::Quarantined {
        return Err(ApiError::saying(ErrorCode::WrongState, format!("{id} is in quarantine and hidden"))
            .hint(format!("retentionctl quarantine restore {id} --reason … takes it back out")));
    }
    // Before anything is shown: if it cannot be recorded, it is not shown.
    note_opened(&control, &caller, Operation::EntityShow, 1).await?;
    let recorded = event(&control, entity.version).await?.ok_or_else(missing)?;
    let Some(Event::EntityChanged(body)) = recorded.event() else {
        // Purged between the look and the reading.
        refuse_if_gone(&control, id).await?;
        return Err(missing());
    };
    let layout = body.record.layout;
    let layout = control.see(move |views| Ok(views.small.layouts.get(layout).cloned())).await?.ok_or_else(missing)?;
    Ok(Json(EntityContent {
        entity,
        external_id: body.record.external_id.clone(),
        cells: cells(&body.record, &layout),
        links,
        holds,
    }))
}

fn cells(record: &EntityRecord, layout: &Layout) -> Vec<Cell> {
    let values = record.cells.iter().map(|value| value.map(str::to_owned));
    layout
        .columns
        .iter()
        .zip(values)
        .map(|(column, value)| Cell { column: column.name.clone(), field: column.field.clone(), value })
        .collect()
}

async fn event(control: &Shared, position: Position) -> Result<Option<Recorded>, ApiError> {
    let log = Arc::clone(&control.log);
    blocking(move || Ok(log.event(position)?)).await
}

/// Records that somebody reads personal data: of so many entities, or, of none, what stands in the log itself.
pub(super) async fn note_opened(
    control: &Shared,
    caller: &Caller,
    operation: Operation,
    entities: u64,
) -> Result<(), ApiError> {
    let event = RecordsOpened { operation: operation.name().to_owned(), entities };
    control.request(caller, About::Daemon, Event::RecordsOpened(event)).await.map(|_| ())
}

/// Answers for what was purged: by which run, under which policy, on which day, and nothing more.
pub(super) async fn refuse_if_gone(control: &Shared, id: EntityId) -> Result<(), ApiError> {
    let state = control.see(move |views| Ok(views.entities.row(id).map(|row| row.state))).await?;
    if state != Some(view::EntityState::Purged) {
        return Ok(());
    }
    let log = Arc::clone(&control.log);
    let tombstone = blocking(move || tombstone(&log, id)).await?;
    let said = tombstone.to_string();
    Err(ApiError(
        ErrorBody { gone: Some(Box::new(tombstone)), ..ErrorBody::saying(ErrorCode::Gone, said) }
            .hint(format!("retentionctl entity history {id} shows what the log says of it")),
    ))
}

fn tombstone(log: &Arc<dyn Log>, entity: EntityId) -> Result<Tombstone, ApiError> {
    let left = log::look(log, |views| views.small.redactions.successor(entity)).flatten();
    let mut tombstone = Tombstone { entity, run: None, policy: None, purged_on: None, left };
    // An entity has one key, and it is destroyed once; the log of a restored store may not have by which run.
    let types = vec![EventType::KeyDestroyed, EventType::KeyDestroyedAgain];
    let found = log.query(&Query { entity: Some(entity), types, limit: 1, ..Query::default() })?;
    let Some((position, row)) = found.rows.first() else { return Ok(tombstone) };
    let mut at = row.recorded_at;
    match log.event(*position)?.as_ref().and_then(Recorded::event) {
        Some(Event::KeyDestroyed(body)) => {
            tombstone.run = Some(body.run);
            tombstone.policy = log::look(log, |views| policy_of(views, body.run)).flatten();
        }
        Some(Event::KeyDestroyedAgain(body)) => at = body.destroyed_at,
        _ => {}
    }
    tombstone.purged_on = Some(at.to_jiff().to_zoned(jiff::tz::TimeZone::UTC).date().to_string());
    Ok(tombstone)
}

fn policy_of(views: &Views, run: retention_core::id::RunId) -> Option<String> {
    let plan = views.small.runs.run(run)?.plan;
    views.small.plans.get(plan).map(|plan| plan.request.policy.clone())
}

//! Bundles, quarantine, and the verification of what lies on disk.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use retention_core::control::{Accepted, Because, Cursor, ErrorCode, ExportRow, HandOver, ListQuery, QuarantineRow};
use retention_core::event::erasure::{BundleHandedOver, EntityRestored};
use retention_core::event::saga::{Receipt, Step};
use retention_core::event::{Actor, Draft, Event};
use retention_core::id::{Digest, EntityId, SagaId};
use retention_core::view::{BundleState, Condition, Saga, Views};

use super::super::answer::{Batch, Wanted, blocking, work};
use super::super::error::ApiError;
use super::super::input::{Argument, Asked, Body, check_named, check_reason};
use super::{About, Caller, Shared, not_found};

pub(crate) async fn exports(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    control
        .list_newest(wanted, query, |views, below| {
            let sagas = views.small.runs.sagas().rev().filter(move |(id, _)| id.0.0 < below);
            Box::new(sagas.filter_map(|(id, saga)| Some((id.0.0, export_row(id, saga)?))))
        })
        .await
}

fn export_row(saga: SagaId, view: &Saga) -> Option<ExportRow> {
    let Some(Receipt::Exported { manifest, exported_at, items, bytes }) = view.receipt(Step::Export) else {
        return None;
    };
    Some(ExportRow {
        manifest: *manifest,
        saga,
        run: view.started.run,
        exported_at: *exported_at,
        items: *items,
        bytes: *bytes,
        verified: view.receipt(Step::VerifyExport).is_some(),
        recipients: view.handed_over.len() as u64,
        destroyed_at: match view.bundle {
            Some(BundleState::Destroyed(at)) => Some(at),
            Some(BundleState::BeingDestroyed | BundleState::NotFound(_)) | None => None,
        },
        not_found_at: match view.bundle {
            Some(BundleState::NotFound(at)) => Some(at),
            Some(BundleState::BeingDestroyed | BundleState::Destroyed(_)) | None => None,
        },
    })
}

pub(crate) async fn verify_export(
    State(control): State<Shared>,
    Argument(manifest): Argument<Digest>,
) -> Result<Response, ApiError> {
    let known = move |views: &Views| {
        let mut exports = views.small.runs.sagas().filter_map(|(id, saga)| export_row(id, saga));
        Ok(exports.find(|row| row.manifest == manifest))
    };
    match control.see(known).await?.map(|row| row.destroyed_at) {
        None => return Err(not_found("bundle", manifest.short()).hint("retentionctl export list")),
        Some(Some(at)) => {
            let message = format!("the bundle {} was destroyed at {at}: its time was over", manifest.short());
            return Err(
                ApiError::saying(ErrorCode::Gone, message).hint("retentionctl audit query --kind BundleDestroyed")
            );
        }
        Some(None) => {}
    }
    let works = Arc::clone(&control.works);
    Ok(work(move |sink| works.verify_export(manifest, sink)))
}

pub(crate) async fn hand_over(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(manifest): Argument<Digest>,
    Body(wanted): Body<HandOver>,
) -> Result<Json<Accepted>, ApiError> {
    let (to, reason) = (check_named(wanted.to, "a recipient")?, check_reason(wanted.reason)?);
    let saga = control
        .see(move |views| {
            let mut exports = views.small.runs.sagas().filter_map(|(id, saga)| export_row(id, saga));
            let missing = || not_found("bundle", manifest.short()).hint("retentionctl export list");
            exports.find(|row| row.manifest == manifest).map(|row| row.saga).ok_or_else(missing)
        })
        .await?;
    let event = Event::BundleHandedOver(BundleHandedOver { saga, manifest, to, reason });
    control.request(&caller, About::Position(saga.0), event).await.map(Json)
}

pub(crate) async fn verify_store(State(control): State<Shared>) -> Result<Response, ApiError> {
    let works = Arc::clone(&control.works);
    Ok(work(move |sink| works.verify_store(sink)))
}

pub(crate) async fn rebuild_store(State(control): State<Shared>) -> Result<Response, ApiError> {
    let works = Arc::clone(&control.works);
    Ok(work(move |sink| works.rebuild_store(sink)))
}

pub(crate) async fn compact_store(State(control): State<Shared>) -> Result<Response, ApiError> {
    let works = Arc::clone(&control.works);
    Ok(work(move |sink| works.compact_store(sink)))
}

pub(crate) async fn quarantine(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    control.list(wanted, query.after, query.limit, hidden).await
}

/// Returns what is hidden, by entity. The items of each saga are sorted, so a batch costs a few steps for each saga.
fn hidden(views: &Views, after: Option<Cursor>, limit: usize) -> Batch<QuarantineRow> {
    let from = after.map_or(0, |cursor| cursor.0.saturating_add(1));
    let mut rows = Vec::new();
    for (saga, view) in views.small.runs.sagas().filter(|(_, saga)| saga.end.is_none()) {
        let Some(until) = view.quarantine_until() else { continue };
        let first = view.started.items.partition_point(|item| u64::from(item.entity.0) < from);
        let items = view.started.items.get(first..).unwrap_or_default();
        let waiting = items
            .iter()
            .filter(|item| !view.skipped.contains_key(&item.entity) && views.entities.is_quarantined(item.entity));
        // One more than wanted tells that there is more.
        rows.extend(waiting.take(limit.saturating_add(1)).map(|item| {
            (u64::from(item.entity.0), QuarantineRow { entity: item.entity, run: view.started.run, saga, until })
        }));
    }
    rows.sort_unstable_by_key(|(entity, _)| *entity);
    Batch::cut(rows, limit)
}

pub(crate) async fn restore(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<EntityId>,
    Body(because): Body<Because>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_reason(because.reason)?;
    let (saga, version) = control
        .see(move |views| {
            let missing = || not_found("entity in quarantine", id).hint("retentionctl quarantine list");
            let row = views.entities.row(id).ok_or_else(missing)?;
            let (saga, view) = views.small.runs.saga_of_entity(id).ok_or_else(missing)?;
            if !views.entities.is_quarantined(id) {
                return Err(missing());
            }
            if view.pivot.binary_search(&id).is_ok() {
                return Err(ApiError::saying(
                    ErrorCode::WrongState,
                    format!("the purge of {id} has begun and cannot be undone"),
                ));
            }
            Ok((saga, row.version))
        })
        .await?;
    let log = Arc::clone(&control.log);
    let recorded = blocking(move || Ok(log.event(version)?)).await?;
    let recorded = recorded.ok_or_else(|| ApiError::of(ErrorCode::Internal))?;
    let draft = Draft {
        stream: recorded.envelope.stream,
        entity: Some(id),
        actor: Actor::Person(caller.peer.uid),
        cause: saga.0,
        occurred_at: None,
        event: Event::EntityRestored(EntityRestored { saga, reason }),
    };
    control.append(draft, Condition::CanRestore { saga, entity: id }).await.map(Json)
}

//! What was taken in, and what is not.

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use retention_core::control::{DefectCount, IntakeRow, ListQuery, Operation};
use retention_core::id::EntityId;
use retention_core::view::Intake;

use super::super::answer::{Batch, Wanted, list as answer_list};
use super::super::error::ApiError;
use super::super::input::{Argument, Asked};
use super::entity::note_opened;
use super::{Caller, Shared, not_found};

pub(crate) async fn list(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    control
        .list_newest(wanted, query, |views, below| {
            let intakes = views.small.intakes.iter().rev().filter(move |(id, _)| u64::from(id.0) < below);
            Box::new(intakes.map(|(id, intake)| (u64::from(id.0), row(id, intake))))
        })
        .await
}

/// What lies in the drop folders and is not taken in, as of the newest look. The log knows nothing of it.
pub(crate) async fn left(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    wanted: Wanted,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    let entries = control.works.entries_left();
    if !entries.is_empty() {
        // Before anything is shown: if it cannot be recorded, it is not shown.
        note_opened(&control, &caller, Operation::IntakeLeft, 0).await?;
    }
    answer_list(wanted, query.after, query.limit, move |after, limit| {
        let rows = (1..).zip(entries.iter().cloned());
        Ok(Batch::cut(rows.filter(|(number, _)| after.is_none_or(|after| *number > after.0)), limit))
    })
    .await
}

pub(crate) async fn show(
    State(control): State<Shared>,
    Argument(id): Argument<EntityId>,
) -> Result<Json<IntakeRow>, ApiError> {
    control
        .see(move |views| match views.small.intakes.get(id) {
            Some(intake) => Ok(Json(row(id, intake))),
            None => Err(not_found("intake", id).hint("retentionctl intake list")),
        })
        .await
}

fn row(intake: EntityId, view: &Intake) -> IntakeRow {
    let done = view.completed.as_ref();
    let count =
        |pick: fn(&retention_core::event::change::IntakeCompleted) -> u64| done.map_or(0, |(_, body)| pick(body));
    IntakeRow {
        intake,
        source: view.source.clone(),
        started_at: view.started_at,
        completed_at: done.map(|(at, _)| *at),
        content: view.content,
        end: done.map(|(_, body)| body.end),
        rows: count(|body| body.rows),
        added: count(|body| body.added),
        changed: count(|body| body.changed),
        unchanged: count(|body| body.unchanged),
        rejected: count(|body| body.rejected),
        absent: count(|body| body.absent),
        dangling: count(|body| body.dangling),
        defects: done
            .into_iter()
            .flat_map(|(_, body)| &body.defects)
            .map(|(code, count)| DefectCount { code: code.clone(), count: *count })
            .collect(),
        report: done.map(|(_, body)| body.report),
    }
}

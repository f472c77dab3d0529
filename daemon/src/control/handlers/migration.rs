//! Migrations of mailboxes.

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use retention_core::control::{Accepted, Because, ErrorCode, ListQuery, MigrateMailbox, MigrationRow};
use retention_core::event::Event;
use retention_core::event::migration::{MigrationRequested, MigrationStopRequested};
use retention_core::id::MigrationId;
use retention_core::view::Condition;
use retention_core::view::migrations::Migration;

use super::super::answer::Wanted;
use super::super::error::ApiError;
use super::super::input::{Argument, Asked, Body, check_reason};
use super::mailbox::check_registered;
use super::{About, Caller, Shared, not_found};

/// Longer lists of folders are a mistake.
const EXCLUDED_MAX: usize = 1_000;

pub(crate) async fn request(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<MigrateMailbox>,
) -> Result<Json<Accepted>, ApiError> {
    let MigrateMailbox { source, target, exclude, max_bytes } = wanted;
    let exclude: Vec<String> = exclude.into_iter().map(|path| path.trim_end_matches('/').to_owned()).collect();
    if source == target || exclude.len() > EXCLUDED_MAX || exclude.iter().any(String::is_empty) {
        let message = "a migration has two different mailboxes, and leaves out at most 1,000 folders by their paths";
        return Err(ApiError::saying(ErrorCode::BadRequest, message));
    }
    control
        .see(move |views| {
            check_registered(views, source)?;
            check_registered(views, target)?;
            match views.small.migrations.using(source).or_else(|| views.small.migrations.using(target)) {
                Some(other) => Err(ApiError::saying(
                    ErrorCode::WrongState,
                    format!("{other} is a migration with one of these mailboxes that is not over"),
                )
                .hint("retentionctl mailbox migrations")),
                None => Ok(()),
            }
        })
        .await?;
    let is_free = |mailbox| [Condition::MailboxRegistered(mailbox), Condition::NotMigrating(mailbox)];
    let are_free = Condition::All([source, target].into_iter().flat_map(is_free).collect());
    let event = Event::MigrationRequested(MigrationRequested { source, target, exclude, max_bytes });
    control.request_if(&caller, About::Daemon, event, are_free).await.map(Json)
}

pub(crate) async fn list(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    control
        .list_newest(wanted, query, |views, below| {
            let all = views.small.migrations.iter().rev().filter(move |(id, _)| id.0.0 < below);
            Box::new(all.map(|(id, migration)| (id.0.0, row(id, migration))))
        })
        .await
}

pub(crate) async fn show(
    State(control): State<Shared>,
    Argument(id): Argument<MigrationId>,
) -> Result<Json<MigrationRow>, ApiError> {
    control
        .see(move |views| {
            let migration = views.small.migrations.get(id).ok_or_else(|| missing(id))?;
            Ok(Json(row(id, migration)))
        })
        .await
}

pub(crate) async fn stop(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<MigrationId>,
    Body(because): Body<Because>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_reason(because.reason)?;
    control
        .see(move |views| {
            let migration = views.small.migrations.get(id).ok_or_else(|| missing(id))?;
            match migration.end {
                Some(_) => Err(ApiError::saying(ErrorCode::WrongState, format!("{id} is over"))),
                None => Ok(()),
            }
        })
        .await?;
    let event = Event::MigrationStopRequested(MigrationStopRequested { migration: id, reason });
    control.request(&caller, About::Position(id.0), event).await.map(Json)
}

fn missing(id: MigrationId) -> ApiError {
    not_found("migration", id).hint("retentionctl mailbox migrations")
}

fn row(id: MigrationId, migration: &Migration) -> MigrationRow {
    let (messages, bytes, left_out) = migration.totals();
    let (state, code) = match (&migration.end, &migration.failed) {
        (Some((end, code, _)), _) => (end.name(), Some(code.clone()).filter(|code| !code.is_empty())),
        (None, _) if migration.is_stopped => ("stopping", None),
        (None, Some((code, _))) => ("waiting", Some(code.clone())),
        (None, None) => ("copying", None),
    };
    MigrationRow {
        migration: id,
        source: migration.source,
        target: migration.target,
        state: state.to_owned(),
        code,
        retry_at: migration.failed.as_ref().filter(|_| migration.end.is_none()).map(|(_, at)| *at),
        folders: migration.folders.len() as u64,
        messages,
        bytes,
        left_out,
        missing: migration.folders.iter().any(|folder| folder.verified.is_some()).then(|| migration.missing()),
        requested_at: migration.requested_at,
        ended_at: migration.end.as_ref().map(|(_, _, at)| *at),
    }
}

//! Registered mailboxes.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use retention_core::control::{
    Accepted, ActorName, AddMailboxes, Because, ErrorCode, ListQuery, MAILBOXES_PER_REQUEST_MAX, MailboxQuery,
    MailboxRow, MailboxesAdded, Operation, PermissionRow, Reconciling,
};
use retention_core::event::change::MailboxScanRequested;
use retention_core::event::permission::{ObservedPermission, PermissionScanRequested};
use retention_core::event::{Actor, Draft, Event, stream_of_daemon};
use retention_core::id::{EntityId, GrantId, Handle, Position};
use retention_core::mailbox::{AddressPattern, Rights};
use retention_core::time::Timestamp;
use retention_core::view::{Condition, Views};

use super::super::answer::{Batch, Wanted, blocking, list as answer_list};
use super::super::error::ApiError;
use super::super::input::{Argument, Asked, Body, check_reason};
use super::super::log::{self, Log};
use super::entity::note_opened;
use super::{Caller, Shared, not_found};
use crate::config::meant;

pub(crate) async fn add(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<AddMailboxes>,
) -> Result<Json<MailboxesAdded>, ApiError> {
    if wanted.mailboxes.is_empty() || wanted.mailboxes.len() > MAILBOXES_PER_REQUEST_MAX {
        return Err(ApiError::saying(
            ErrorCode::BadRequest,
            format!("one request registers between 1 and {MAILBOXES_PER_REQUEST_MAX} mailboxes"),
        ));
    }
    let works = Arc::clone(&control.works);
    let uid = caller.peer.uid;
    let mailboxes = blocking(move || works.register_mailboxes(uid, wanted).map_err(ApiError)).await?;
    Ok(Json(MailboxesAdded { mailboxes }))
}

pub(crate) async fn list(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    wanted: Wanted,
    Asked(query): Asked<MailboxQuery>,
) -> Result<Response, ApiError> {
    let address = query.address.map(|text| text.parse::<AddressPattern>()).transpose();
    let address = address.map_err(|error| ApiError::saying(ErrorCode::BadRequest, error.to_string()))?;
    let server = query.server;
    if let Some(server) = server.clone() {
        control.see(move |views| check_server(views, &server)).await?;
    }
    // Before anything is shown: if it cannot be recorded, it is not shown.
    note_opened(&control, &caller, Operation::MailboxList, 1).await?;
    let log = Arc::clone(&control.log);
    answer_list(wanted, query.after, query.limit, move |after, limit| {
        let collect = |views: &Views| {
            let known = views.small.registry.iter().filter(|(id, known)| {
                after.is_none_or(|after| u64::from(id.0) > after.0)
                    && server.as_ref().is_none_or(|server| *server == known.server)
            });
            Batch::cut(known.filter_map(|(id, _)| Some((u64::from(id.0), known_of(views, id)?))), limit)
        };
        let found = log::look(&log, collect).ok_or_else(|| ApiError::of(ErrorCode::Internal))?;
        let named: Vec<MailboxRow> =
            found.rows.into_iter().map(|known| named(&log, known)).collect::<Result<_, _>>()?;
        let is_wanted = |row: &MailboxRow| match (&address, &row.address) {
            (None, _) => true,
            (Some(wanted), Some(address)) => wanted.matches(address),
            (Some(_), None) => false,
        };
        Ok(Batch { rows: named.into_iter().filter(is_wanted).collect(), next: found.next })
    })
    .await
}

/// Refuses a server on which no mailbox is registered: a misspelt name must not look like an empty server.
fn check_server(views: &Views, server: &str) -> Result<(), ApiError> {
    let servers: BTreeSet<&str> = views.small.registry.iter().map(|(_, known)| known.server.as_str()).collect();
    if servers.contains(server) {
        return Ok(());
    }
    let servers: Vec<&str> = servers.into_iter().collect();
    let meant = meant(server, &servers);
    let hint = match servers.as_slice() {
        [] => "no mailbox is registered: retentionctl mailbox add".to_owned(),
        servers => format!("registered mailboxes are on {}", servers.join(", ")),
    };
    let message = format!("no mailbox is registered on a server of that name{meant}");
    Err(ApiError::saying(ErrorCode::NotFound, message).hint(hint))
}

pub(crate) async fn show(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<EntityId>,
) -> Result<Json<MailboxRow>, ApiError> {
    let known = control.see(move |views| known_of(views, id).ok_or_else(|| missing(id))).await?;
    note_opened(&control, &caller, Operation::MailboxShow, 1).await?;
    let log = Arc::clone(&control.log);
    blocking(move || named(&log, known)).await.map(Json)
}

/// What the views know of a mailbox, and where its record stands.
struct Known {
    row: MailboxRow,
    version: Position,
    /// In which cells of the record the user and the root stand.
    places: [Option<usize>; 2],
}

fn known_of(views: &Views, id: EntityId) -> Option<Known> {
    let known = views.small.registry.get(id)?;
    let scan = views.small.scans.get(id);
    let done = scan.and_then(|scan| scan.done.as_ref());
    let permissions = views.small.permissions.get(id);
    let seen = permissions.and_then(|known| known.done.as_ref());
    let row = MailboxRow {
        mailbox: id,
        server: known.server.clone(),
        address: None,
        user: None,
        root: None,
        has_credential: known.credential.is_some(),
        registered_by: ActorName(known.registered_by.map_or(Actor::Daemon, Actor::Person)),
        registered_at: known.registered_at,
        scanned_at: done.map(|(at, _)| *at),
        messages: done.map(|(_, body)| body.messages),
        failed: scan.and_then(|scan| scan.failed.clone()).or_else(|| {
            let left_out = done.map(|(_, body)| body.code.clone());
            left_out.filter(|code| !code.is_empty())
        }),
        permissions_at: seen.map(|(at, _)| *at),
        full_access: seen.map(|(_, body)| body.full_access),
        permissions_failed: permissions.and_then(|known| known.failed.clone()),
    };
    let entity = views.entities.row(id)?;
    let columns = views.small.layouts.get(entity.layout).map(|layout| layout.columns.as_slice()).unwrap_or_default();
    let places = ["user", "root"].map(|name| columns.iter().position(|column| *column.name == *name));
    Some(Known { row, version: entity.version, places })
}

/// Adds the names, which are in the sealed record alone. A secret is in none.
fn named(log: &Arc<dyn Log>, known: Known) -> Result<MailboxRow, ApiError> {
    let recorded = log.event(known.version)?;
    let Some(Event::EntityChanged(body)) = recorded.as_ref().and_then(|recorded| recorded.event()) else {
        return Ok(known.row);
    };
    let cell = |place: Option<usize>| body.record.cells.iter().nth(place?)?.map(str::to_owned);
    let [user, root] = known.places.map(cell);
    Ok(MailboxRow { address: Some(body.record.external_id.clone()), user, root, ..known.row })
}

pub(crate) async fn check(
    State(control): State<Shared>,
    wanted: Wanted,
    Argument(id): Argument<EntityId>,
) -> Result<Response, ApiError> {
    let works = Arc::clone(&control.works);
    answer_list(wanted, None, None, move |_, _| {
        Ok(Batch { rows: works.check_mailbox(id).map_err(ApiError)?, next: None })
    })
    .await
}

pub(crate) async fn scan(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<EntityId>,
) -> Result<Json<Accepted>, ApiError> {
    control.see(move |views| check_registered(views, id)).await?;
    let draft = about(id, &caller, Event::MailboxScanRequested(MailboxScanRequested {}));
    control.append(draft, Condition::None).await.map(Json)
}

/// Without its credential nobody could take access back, or end what was begun.
fn check_removable(views: &Views, id: EntityId) -> Result<(), ApiError> {
    let refuse = |what: String, hint: String| {
        let message = format!("{what}; nothing was changed");
        Err(ApiError::saying(ErrorCode::WrongState, message).hint(format!("{hint}, then try again")))
    };
    let small = &views.small;
    if let Some((grant, _)) = small.grants.open().find(|(_, grant)| grant.mailbox == id) {
        let hint = format!("retentionctl grant revoke {grant} --reason …");
        return refuse(format!("{grant} is a grant on this mailbox that is not over"), hint);
    }
    if let Some(migration) = small.migrations.using(id) {
        let hint = format!("retentionctl mailbox stop-migration {migration} --reason …");
        return refuse(format!("{migration} is a migration with this mailbox that is not over"), hint);
    }
    match small.runs.open_in(id).find(|saga| saga.is_past_pivot()).map(|saga| saga.started.run) {
        Some(run) => {
            let what = format!("{run} removes messages of this mailbox, which cannot be undone any more");
            refuse(what, format!("retentionctl run watch {run}"))
        }
        None => Ok(()),
    }
}

pub(crate) async fn remove(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<EntityId>,
    Body(because): Body<Because>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_reason(because.reason)?;
    control.see(move |views| check_removable(views, id)).await?;
    let works = Arc::clone(&control.works);
    let uid = caller.peer.uid;
    let position = blocking(move || works.remove_mailbox(uid, id, reason).map_err(ApiError)).await?;
    Ok(Json(Accepted { position }))
}

/// Which mailboxes' permissions were read, and what explains them.
struct Seen {
    readings: Vec<Position>,
    at: Timestamp,
    /// The grants on the mailbox that may be there.
    grants: Vec<(Handle, GrantId)>,
}

pub(crate) async fn permissions(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    wanted: Wanted,
    Argument(id): Argument<EntityId>,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    let seen = control
        .see(move |views| {
            check_registered(views, id)?;
            let known = views.small.permissions.get(id);
            let grants = views.small.grants.open().filter(|(_, grant)| grant.mailbox == id && grant.may_be_there());
            Ok(Seen {
                readings: known.map(|known| known.readings.clone()).unwrap_or_default(),
                at: known.and_then(|known| known.done.as_ref()).map_or(Timestamp(0), |(at, _)| *at),
                grants: grants.map(|(grant, known)| (known.principal, grant)).collect(),
            })
        })
        .await?;
    note_opened(&control, &caller, Operation::MailboxPermissions, 1).await?;
    let log = Arc::clone(&control.log);
    answer_list(wanted, query.after, query.limit, move |after, limit| {
        let from = after.map_or(0, |cursor| cursor.0);
        let mut rows = Vec::new();
        for position in &seen.readings {
            if let Some(recorded) = log.event(*position)?
                && let Some(Event::PermissionObserved(body)) = recorded.event()
            {
                rows.extend(body.entries.iter().map(|entry| permission(entry, &seen)));
            }
        }
        let numbered = (1..).zip(rows).filter(|(number, _)| *number > from);
        Ok(Batch::cut(numbered, limit))
    })
    .await
}

fn permission(entry: &ObservedPermission, seen: &Seen) -> PermissionRow {
    let grant = seen.grants.iter().find(|(principal, _)| *principal == entry.principal);
    PermissionRow {
        folder: entry.folder.clone(),
        identifier: entry.identifier.clone(),
        holder: entry.holder,
        rights: entry.rights.to_string(),
        // An entry that takes rights away gives nobody any (RFC 4314, 2).
        full_access: !entry.identifier.starts_with('-') && entry.rights.covers(Rights::FULL_ACCESS),
        grant: grant.map(|(_, grant)| *grant),
        seen_at: seen.at,
    }
}

pub(crate) async fn reconcile(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Reconciling>, ApiError> {
    let all: Vec<EntityId> = control.see(|views| Ok(views.small.registry.iter().map(|(id, _)| id).collect())).await?;
    let mailboxes = all.len() as u64;
    for mailbox in all {
        let event = Event::PermissionScanRequested(PermissionScanRequested {});
        control.append(about(mailbox, &caller, event), Condition::None).await?;
    }
    Ok(Json(Reconciling { mailboxes }))
}

/// What a person asks about a mailbox.
fn about(mailbox: EntityId, caller: &Caller, event: Event) -> Draft {
    Draft {
        stream: stream_of_daemon(),
        entity: Some(mailbox),
        actor: Actor::Person(caller.peer.uid),
        cause: Position::NONE,
        occurred_at: None,
        event,
    }
}

/// Refuses what is about a mailbox that is not registered.
pub(super) fn check_registered(views: &Views, id: EntityId) -> Result<(), ApiError> {
    views.small.registry.get(id).map(|_| ()).ok_or_else(|| missing(id))
}

fn missing(id: EntityId) -> ApiError {
    not_found("registered mailbox", id).hint("retentionctl mailbox list")
}

#[cfg(test)]
mod tests {
    use retention_core::event::permission::Holder;

    use super::*;

    #[test]
    fn an_entry_that_takes_rights_away_is_no_full_access() {
        let seen = Seen { readings: Vec::new(), at: Timestamp(0), grants: Vec::new() };
        for (identifier, holder, full_access) in [("carol", Holder::Person, true), ("-carol", Holder::Group, false)] {
            let entry = ObservedPermission {
                folder: "INBOX".to_owned(),
                identifier: identifier.to_owned(),
                principal: Handle::default(),
                holder,
                rights: Rights::FULL_ACCESS,
            };
            assert_eq!(permission(&entry, &seen).full_access, full_access, "{identifier}");
        }
    }
}

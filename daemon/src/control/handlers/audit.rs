//! Questions about the event log.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use retention_core::control::{
    self as wire, ActorName, AuditQuery, Cursor, ErrorCode, EventRow, ListQuery, MailboxName, ProofText, SigningKeyRow,
    TextsErased,
};
use retention_core::event::summary::{self, Disclosure};
use retention_core::event::{EventType, Readable, Recorded};
use retention_core::evidence::certificate::Subject;
use retention_core::id::{EntityId, Position, RequestId, RunId};
use retention_core::record::Kind;
use retention_core::time::Zone;
use retention_core::view::Views;

use super::super::answer::{Batch, Wanted, blocking, list as answer_list};
use super::super::error::ApiError;
use super::super::input::{Argument, Asked};
use super::super::log::{self, Log};
use super::{Shared, not_found};
use crate::config::meant;
use crate::store::{Order, Query};

/// The most names of policies that are said where none of them was meant.
const NAMES_SAID_MAX: usize = 20;

pub(crate) async fn query(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(asked): Asked<AuditQuery>,
) -> Result<Response, ApiError> {
    let (after, limit) = (asked.after, asked.limit);
    let question = question(&control, asked).await?;
    answer(&control, wanted, after, limit, question).await
}

/// What concerns one entity, oldest first: its story.
pub(crate) async fn history(
    State(control): State<Shared>,
    wanted: Wanted,
    Argument(id): Argument<EntityId>,
    Asked(list): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    let known = control.see(move |views| Ok(views.entities.row(id).is_some())).await?;
    if !known {
        return Err(not_found("entity", id).hint("retentionctl entity list"));
    }
    let question = Query { entity: Some(id), order: Order::OldestFirst, ..Query::default() };
    answer(&control, wanted, list.after, list.limit, question).await
}

pub(crate) async fn checkpoints(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(list): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    let works = Arc::clone(&control.works);
    answer_list(wanted, list.after, list.limit, move |after, limit| {
        let from = after.map_or(0, |cursor| cursor.0);
        let rows = works.checkpoints(from, limit).map_err(ApiError)?;
        let next = (rows.len() == limit).then(|| Cursor(from + rows.len() as u64));
        Ok(Batch { rows, next })
    })
    .await
}

pub(crate) async fn certificate_of_run(
    State(control): State<Shared>,
    Argument(run): Argument<RunId>,
) -> Result<Json<wire::CertificateText>, ApiError> {
    certificate(control, Subject::Run(run)).await
}

pub(crate) async fn certificate_of_entity(
    State(control): State<Shared>,
    Argument(entity): Argument<EntityId>,
) -> Result<Json<wire::CertificateText>, ApiError> {
    certificate(control, Subject::Entity(entity)).await
}

pub(crate) async fn certificate_of_request(
    State(control): State<Shared>,
    Argument(request): Argument<RequestId>,
) -> Result<Json<wire::CertificateText>, ApiError> {
    certificate(control, Subject::Request(request)).await
}

async fn certificate(control: Shared, subject: Subject) -> Result<Json<wire::CertificateText>, ApiError> {
    let works = Arc::clone(&control.works);
    let certificate = blocking(move || works.certificate(subject).map_err(ApiError)).await?;
    Ok(Json(wire::CertificateText { certificate }))
}

pub(crate) async fn checkpoint(
    State(control): State<Shared>,
    Asked(asked): Asked<wire::CheckpointQuery>,
) -> Result<Json<wire::CheckpointRow>, ApiError> {
    let works = Arc::clone(&control.works);
    let wanted = move || match asked.cosigned {
        true => works.cosigned_checkpoint(),
        false => works.newest_checkpoint(),
    };
    blocking(move || wanted().map_err(ApiError)).await.map(Json)
}

/// The position behind the last one is where the list goes on.
pub(crate) async fn envelopes(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(list): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    let works = Arc::clone(&control.works);
    answer_list(wanted, list.after, list.limit, move |after, limit| {
        let from = Position(after.map_or(0, |cursor| cursor.0)).next();
        let rows = works.envelopes(from, limit).map_err(ApiError)?;
        let next = rows.last().filter(|_| rows.len() == limit).map(|row| Cursor(row.position.0));
        Ok(Batch { rows, next })
    })
    .await
}

pub(crate) async fn growth(
    State(control): State<Shared>,
    Argument((before, after)): Argument<(u64, u64)>,
) -> Result<Json<ProofText>, ApiError> {
    let works = Arc::clone(&control.works);
    let proof = blocking(move || works.prove_growth(before, after).map_err(ApiError)).await?;
    Ok(Json(ProofText { proof }))
}

pub(crate) async fn keys(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(list): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    control
        .list(wanted, list.after, list.limit, |views, after, limit| {
            let from = after.map_or(0, |cursor| cursor.0);
            let all = &views.small.signing_keys;
            let next = all.iter().skip(1).map(|next| Some(next.adopted)).chain([None]);
            let keys = (1..).zip(all.iter().zip(next)).filter(|(number, _)| *number > from);
            let rows = keys.map(|(number, (key, replaced))| {
                let (verifier_key, adopted_at) = (key.verifier_key.clone(), key.adopted_at);
                (number, SigningKeyRow { verifier_key, adopted_at, replaced })
            });
            Batch::cut(rows, limit)
        })
        .await
}

pub(crate) async fn proof(
    State(control): State<Shared>,
    Argument(position): Argument<u64>,
) -> Result<Json<ProofText>, ApiError> {
    let works = Arc::clone(&control.works);
    let proof = blocking(move || works.prove(Position(position)).map_err(ApiError)).await?;
    Ok(Json(ProofText { proof }))
}

async fn answer(
    control: &Shared,
    wanted: Wanted,
    after: Option<Cursor>,
    limit: Option<u64>,
    question: Query,
) -> Result<Response, ApiError> {
    let log = Arc::clone(&control.log);
    answer_list(wanted, after, limit, move |after, limit| batch(&log, &question, after, limit)).await
}

pub(super) fn batch(
    log: &Arc<dyn Log>,
    question: &Query,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Batch<EventRow>, ApiError> {
    let page = log.query(&Query { after: after.map(|cursor| Position(cursor.0)), limit, ..question.clone() })?;
    let mut events = Vec::with_capacity(page.rows.len());
    for (position, _) in page.rows {
        events.extend(log.event(position)?);
    }
    let rows = log::look(log, |views| events.iter().map(|recorded| row(views, recorded)).collect());
    Ok(Batch { rows: rows.unwrap_or_default(), next: page.next.map(|position| Cursor(position.0)) })
}

pub(super) async fn question(control: &Shared, asked: AuditQuery) -> Result<Query, ApiError> {
    if asked.since.zip(asked.until).is_some_and(|(since, until)| since >= until) {
        // An empty answer would look as if nothing had happened.
        let message = "the time that is asked for ends before it begins, so nothing can be in it";
        return Err(ApiError::saying(ErrorCode::BadRequest, message)
            .hint("since is the first instant of it, and until the first one after it"));
    }
    let mailboxes = match asked.mailbox {
        None => Vec::new(),
        Some(named) => mailboxes(control, named).await?,
    };
    let named = (asked.entity, asked.run, asked.request, asked.policy.clone());
    control
        .see(move |views| {
            let (entity, run, request, policy) = named;
            entity.map_or(Ok(()), |id| check_entity(views, id))?;
            run.map_or(Ok(()), |id| check_run(views, id))?;
            request.map_or(Ok(()), |id| check_request(views, id))?;
            policy.map_or(Ok(()), |name| check_policy(views, &name))
        })
        .await?;
    Ok(Query {
        since: asked.since,
        until: asked.until,
        types: asked.kind.as_deref().map(parse_kind).transpose()?.into_iter().collect(),
        actor: asked.actor.map(|ActorName(actor)| actor),
        entity: asked.entity,
        run: asked.run,
        policy: asked.policy,
        mailboxes,
        request: asked.request,
        order: match asked.order {
            wire::Order::OldestFirst => Order::OldestFirst,
            wire::Order::NewestFirst => Order::NewestFirst,
        },
        ..Query::default()
    })
}

/// Refuses a number that no event is about: an empty answer would look as if nothing had happened.
fn check_entity(views: &Views, id: EntityId) -> Result<(), ApiError> {
    let is_named = views.entities.last_event(id) != Position::NONE;
    if is_named { Ok(()) } else { Err(not_found("entity", id).hint("retentionctl entity list")) }
}

fn check_run(views: &Views, id: RunId) -> Result<(), ApiError> {
    views.small.runs.run(id).map(drop).ok_or_else(|| not_found("run", id).hint("retentionctl run list"))
}

fn check_request(views: &Views, id: RequestId) -> Result<(), ApiError> {
    let missing = || not_found("request", id).hint("retentionctl subject list --all");
    views.small.subjects.get(id).map(drop).ok_or_else(missing)
}

/// Refuses the name of a policy that was never active and of which no plan was asked for.
fn check_policy(views: &Views, name: &str) -> Result<(), ApiError> {
    let known = &views.small.policies;
    let recorded = known.texts.keys().map(|(id, _)| id.as_str());
    let active = known.policies.iter().map(|version| version.id.as_str());
    let asked_for = views.small.plans.iter().map(|(_, plan)| plan.request.policy.as_str());
    let names: BTreeSet<&str> = recorded.chain(active).chain(asked_for).collect();
    if names.contains(name) {
        return Ok(());
    }
    let names: Vec<&str> = names.into_iter().collect();
    let message = format!("no event names a policy of that name{}", meant(name, &names));
    let hint = match names.as_slice() {
        [] => "the log names none yet".to_owned(),
        names if names.len() > NAMES_SAID_MAX => "retentionctl policy list names those that are active".to_owned(),
        names => format!("the log names {}", names.join(", ")),
    };
    Err(ApiError::saying(ErrorCode::NotFound, message).hint(hint))
}

/// Returns the mailboxes of a name: an address may be one in several sources. No record is opened for it.
async fn mailboxes(control: &Shared, named: MailboxName) -> Result<Vec<EntityId>, ApiError> {
    let address = match named {
        MailboxName::Number(id) => {
            control.see(move |views| check_mailbox(views, id)).await?;
            return Ok(vec![id]);
        }
        MailboxName::Address(address) => address,
    };
    let log = Arc::clone(&control.log);
    let found = blocking(move || Ok(log.mailboxes_at(&address))).await?;
    if found.is_empty() {
        let message = "no mailbox of that address is known; one that was purged is known by its number alone";
        return Err(ApiError::saying(ErrorCode::NotFound, message)
            .hint("retentionctl mailbox list, or retentionctl entity list --kind mailbox"));
    }
    Ok(found)
}

/// Refuses what is certainly no mailbox. What was purged is known by its number alone.
fn check_mailbox(views: &Views, id: EntityId) -> Result<(), ApiError> {
    let Some(row) = views.entities.row(id) else {
        return Err(not_found("mailbox", id).hint("retentionctl mailbox list"));
    };
    match views.small.layouts.get(row.layout).map(|layout| layout.kind) {
        None | Some(Kind::Mailbox) => Ok(()),
        Some(kind) => {
            let message = format!("{id} is no mailbox, its kind is {}", kind.name());
            Err(ApiError::saying(ErrorCode::NotFound, message).hint(format!("retentionctl audit query --entity {id}")))
        }
    }
}

fn parse_kind(name: &str) -> Result<EventType, ApiError> {
    EventType::from_name(name).ok_or_else(|| {
        let names = EventType::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>();
        let message = format!("there is no event type of that name{}", meant(name, &names));
        ApiError::saying(ErrorCode::BadRequest, message).hint(format!("one of: {}", names.join(", ")))
    })
}

fn row(views: &Views, recorded: &Recorded) -> EventRow {
    let envelope = &recorded.envelope;
    let is_erased = matches!(recorded.event, Readable::Facts(_));
    let erased = envelope.texts.filter(|_| is_erased).and_then(|month| views.texts_erased(month));
    let mut summary = summary::line(recorded, Disclosure::Nameless);
    if let Some((at, policy)) = erased {
        let day = Zone::utc().civil(at).date();
        summary += &policy.map_or_else(|| format!(" on={day}"), |policy| format!(" under={policy} on={day}"));
    }
    EventRow {
        position: envelope.position,
        recorded_at: envelope.recorded_at,
        occurred_at: envelope.occurred_at,
        kind: summary::type_name(envelope.event_type),
        actor: ActorName(envelope.actor),
        cause: envelope.cause,
        entity: envelope.entity,
        run: recorded.event().and_then(|event| views.small.run_of(envelope.position, event)),
        summary,
        texts_erased: erased.map(|(at, policy)| TextsErased { at, policy: policy.map(str::to_owned) }),
        body: envelope.body_digest,
    }
}

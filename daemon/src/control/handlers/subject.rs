//! Data subjects, and what they ask for.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use retention_core::control::{
    Accepted, ActorName, AskForSubject, Because, CompleteRequest, CopyRow, ENTITIES_PER_REQUEST_MAX, ErrorCode,
    ExceptErasure, ExceptionRow, IdentifySubject, ListQuery, PackageSubject, ReachRow, ReachState, RecipientRow,
    RequestQuery, RequestRecordRow, RequestsWanted, SoughtSubject, SubjectRequestDetail, SubjectRequestRow,
};
use retention_core::event::subject::{
    ErasureExcepted, ErasureExceptionEnded, RecipientTold, RequestEnd, RequestKind, SubjectRequestCompleted,
    SubjectRequestExtended,
};
use retention_core::event::{Actor, Event};
use retention_core::id::{EntityId, Position, RequestId, SagaId, in_order};
use retention_core::time::Timestamp;
use retention_core::view::recipients::HandedOver;
use retention_core::view::{Bundle, Condition, SubjectRequest, Views};

use super::super::answer::{Batch, Wanted, blocking, file, list as answer_list, work};
use super::super::error::ApiError;
use super::super::input::{Argument, Asked, Body, check_named, check_reason, check_text};
use super::super::log::{self, Log};
use super::super::subjects::months_after;
use super::{About, Caller, Shared, entity, not_found};

/// The longest time until the answer, with its extension, in months (GDPR Art. 12(3)).
const MONTHS_MAX: u32 = 3;

pub(crate) async fn find(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(sought): Body<SoughtSubject>,
) -> Result<Response, ApiError> {
    let (works, uid) = (Arc::clone(&control.works), caller.peer.uid);
    check_count(sought.records.len())?;
    Ok(work(move |sink| works.find_subject(uid, &sought, sink)))
}

pub(crate) async fn reach(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    control
        .list(wanted, query.after, query.limit, |views, after, limit| {
            let from = after.map_or(0, |cursor| cursor.0);
            let registered = views.small.registry.iter().filter(|(id, _)| u64::from(id.0) > from);
            Batch::cut(registered.map(|(id, known)| (u64::from(id.0), reach_row(views, id, &known.server))), limit)
        })
        .await
}

fn reach_row(views: &Views, mailbox: EntityId, server: &str) -> ReachRow {
    let scan = views.small.scans.get(mailbox);
    let done = scan.and_then(|scan| scan.done.as_ref());
    let left_out = done.map(|(_, body)| body.code.clone()).filter(|code| !code.is_empty());
    let failed = scan.and_then(|scan| scan.failed.clone());
    ReachRow {
        mailbox,
        server: server.to_owned(),
        state: match (done, &failed) {
            (None, _) => ReachState::NeverRead,
            (Some(_), None) if left_out.is_some() => ReachState::ReadInPart,
            (Some(_), None) => ReachState::Read,
            (Some(_), Some(_)) => ReachState::FailedSince,
        },
        read_at: done.map(|(at, _)| *at),
        messages: done.map(|(_, body)| body.messages),
        failed: failed.or(left_out),
    }
}

pub(crate) async fn ask(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<AskForSubject>,
) -> Result<Json<Accepted>, ApiError> {
    check_count(wanted.subject.records.len())?;
    let wanted = AskForSubject { reference: check_text(wanted.reference)?, ..wanted };
    let works = Arc::clone(&control.works);
    let body = blocking(move || works.subject_terms(wanted).map_err(ApiError)).await?;
    control.request(&caller, About::Daemon, Event::SubjectRequested(body)).await.map(Json)
}

pub(crate) async fn list(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<RequestQuery>,
) -> Result<Response, ApiError> {
    let log = Arc::clone(&control.log);
    let (now, show) = (control.clock.now(), query.show);
    answer_list(wanted, query.after, query.limit, move |after, limit| {
        let from = after.map_or(0, |cursor| cursor.0);
        let collect = |views: &Views| {
            let requests = views.small.subjects.iter();
            let wanted = requests.filter(|(id, request)| id.0.0 > from && is_wanted(show, request, now));
            Batch::cut(wanted.map(|(id, request)| (id.0.0, row(views, id, request, now))), limit)
        };
        let Batch { rows, next } = log::look(&log, collect).ok_or_else(|| ApiError::of(ErrorCode::Internal))?;
        let rows = rows.into_iter().map(|row| with_words(&log, row)).collect::<Result<_, _>>()?;
        Ok(Batch { rows, next })
    })
    .await
}

fn is_wanted(show: RequestsWanted, request: &SubjectRequest, now: Timestamp) -> bool {
    match show {
        RequestsWanted::Open => request.ended.is_none(),
        RequestsWanted::Overdue => request.is_overdue(now),
        RequestsWanted::DueForReview => request.is_due_for_review(now),
        RequestsWanted::All => true,
    }
}

/// A row without what people wrote.
fn row(views: &Views, id: RequestId, request: &SubjectRequest, now: Timestamp) -> SubjectRequestRow {
    SubjectRequestRow {
        request: id,
        kind: request.kind,
        ground: request.ground,
        state: views.state_of_request(request),
        received_at: request.received_at,
        due_at: request.due_at,
        timezone: request.timezone.clone(),
        extended: request.first_due_at.is_some(),
        overdue: request.is_overdue(now),
        records: request.records().len() as u64,
        left: views.left_of(request).len() as u64,
        texts_missing: request.missing.len() as u64,
        plan: request.plans.last().copied(),
        bundles: views.bundles_left(request),
        reference: String::new(),
        entered_by: ActorName(request.entered_by.map_or(Actor::Daemon, Actor::Person)),
        end: request.ended.map(|(_, end)| end),
        ended_at: request.ended.map(|(at, _)| at),
    }
}

/// What it is called elsewhere is free text, and in the sealed event alone.
fn with_words(log: &Arc<dyn Log>, mut row: SubjectRequestRow) -> Result<SubjectRequestRow, ApiError> {
    if let Some(Event::SubjectRequested(body)) = log.event(row.request.0)?.as_ref().and_then(|found| found.event()) {
        row.reference.clone_from(&body.reference);
    }
    Ok(row)
}

pub(crate) async fn show(
    State(control): State<Shared>,
    Argument(id): Argument<RequestId>,
) -> Result<Json<SubjectRequestDetail>, ApiError> {
    let now = control.clock.now();
    let seen = control.see(move |views| {
        let request = found(views, id)?;
        let mine: Vec<SagaId> = views.sagas_of(request).collect();
        let bundles: Vec<Bundle> = views.bundles_there().collect();
        Ok((row(views, id, request, now), request.clone(), mine, bundles))
    });
    let (row, request, mine, bundles) = seen.await?;
    let (log, works) = (Arc::clone(&control.log), Arc::clone(&control.works));
    blocking(move || {
        let exceptions = request.exceptions.keys().map(|position| exception_row(&log, &request, *position));
        let exceptions = exceptions.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        let copies = copies(&log, &request, bundles, &mine, now)?;
        let given = given(&log, id, &request, now)?;
        let mut recipients = recipients(&log, &request, &given)?;
        for recipient in &mut recipients {
            recipient.channel = works.channel_of_recipient(&recipient.to);
        }
        Ok(Json(SubjectRequestDetail {
            request: with_words(&log, row)?,
            identified_by: request
                .identified
                .as_ref()
                .map(|identified| ActorName(identified.by.map_or(Actor::Daemon, Actor::Person))),
            exceptions,
            recipients,
            copies,
            plans: request.plans,
        }))
    })
    .await
}

pub(crate) async fn records(
    State(control): State<Shared>,
    wanted: Wanted,
    Argument(id): Argument<RequestId>,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    control.see(move |views| found(views, id).map(|_| ())).await?;
    let now = control.clock.now();
    control
        .list(wanted, query.after, query.limit, move |views, after, limit| {
            let request = views.small.subjects.get(id);
            let all = request.map(SubjectRequest::records).unwrap_or_default();
            let from = after.map_or(0, |cursor| all.partition_point(|record| u64::from(record.0) <= cursor.0));
            let left = all.get(from..).unwrap_or_default().iter();
            Batch::cut(
                left.filter_map(|record| Some((u64::from(record.0), record_row(views, request?, *record, now)?))),
                limit,
            )
        })
        .await
}

/// Returns the bundles in which copies of records of a request are. Each is looked at by itself: the writer waits for
/// every look, and there may be many.
fn copies(
    log: &Arc<dyn Log>,
    request: &SubjectRequest,
    bundles: Vec<Bundle>,
    mine: &[SagaId],
    now: Timestamp,
) -> Result<Vec<CopyRow>, ApiError> {
    let mut rows = Vec::new();
    for Bundle { saga, manifest, exported_at, .. } in bundles {
        let items = log.in_bundle(saga)?;
        let look = |views: &Views| {
            let held = views.is_bundle_held_at(saga, &items, views.holds_at(now));
            (views.items_of(request, &items).len() as u64, held)
        };
        let (records, held) = log::look(log, look).ok_or_else(|| ApiError::of(ErrorCode::Internal))?;
        if records > 0 {
            // Who takes a request back keeps what is the only way back.
            let goes = request.ended.is_none_or(|(_, end)| end != RequestEnd::Withdrawn);
            let goes_with_the_answer = goes && mine.contains(&saga);
            rows.push(CopyRow { manifest, exported_at, records, goes_with_the_answer, held });
        }
    }
    Ok(rows)
}

/// A copy that somebody got.
struct Given {
    copy: HandedOver,
    /// What of the request is in it.
    items: Vec<EntityId>,
    to_tell: bool,
}

/// Returns the copies that somebody got, each looked at by itself.
fn given(log: &Arc<dyn Log>, id: RequestId, request: &SubjectRequest, now: Timestamp) -> Result<Vec<Given>, ApiError> {
    let looked_at = |copy: HandedOver| {
        let seen = log::look(log, |views| {
            let to_tell = views.to_tell_of(id, request, std::slice::from_ref(&copy), now).next().is_some();
            (views.items_of(request, &copy.items), to_tell)
        });
        let (items, to_tell) = seen.ok_or_else(|| ApiError::of(ErrorCode::Internal))?;
        Ok(Given { copy, items, to_tell })
    };
    log.handed_over()?.into_iter().map(looked_at).collect()
}

/// Returns who got a copy of records of a request, and whether they have to be told now.
fn recipients(log: &Arc<dyn Log>, request: &SubjectRequest, given: &[Given]) -> Result<Vec<RecipientRow>, ApiError> {
    let mut rows = Vec::new();
    for Given { copy, items, to_tell } in given {
        let handed = if items.is_empty() { None } else { log.event(copy.recipient)? };
        let Some(handed) = handed else { continue };
        if let Some(Event::BundleHandedOver(body)) = handed.event() {
            let told = request.told.get(&copy.recipient);
            rows.push(RecipientRow {
                recipient: copy.recipient,
                to: body.to.clone(),
                at: handed.envelope.recorded_at,
                manifest: body.manifest,
                records: items.clone(),
                told_at: told.map(|told| told.at),
                told_through: told.and_then(|told| told.through.clone()),
                to_tell: *to_tell,
                channel: None,
            });
        }
    }
    Ok(rows)
}

pub(crate) async fn told(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument((id, recipient)): Argument<(RequestId, Position)>,
    Body(because): Body<Because>,
) -> Result<Json<Accepted>, ApiError> {
    let (how, now) = (check_named(because.reason, "a word on how they were told")?, control.clock.now());
    let log = Arc::clone(&control.log);
    let handed_over = blocking(move || Ok(log.handed_over()?)).await?;
    control
        .see(move |views| {
            let request = found(views, id)?;
            let Some(copy) = handed_over.iter().find(|copy| copy.recipient == recipient) else {
                return Err(not_found("recipient", recipient.0).hint(format!("retentionctl subject show {id}")));
            };
            // Whoever was told of some of it has to be told of what follows, and nobody can be told of what is to come.
            if views.to_tell(std::slice::from_ref(copy), now).any(|told| told.request == id) {
                return Ok(());
            }
            let concerned = views.concerned(id, request, copy);
            let is_told = request.told.get(&recipient).is_some_and(|told| told.covers(&concerned));
            let message = match is_told && !concerned.is_nothing() {
                true => "this recipient was told before",
                false => "there is nothing to tell this recipient yet: nothing of their copy is erased or restricted, or it is not \
                          decided what becomes of all of it",
            };
            Err(ApiError::saying(ErrorCode::WrongState, message).hint(format!("retentionctl subject show {id}")))
        })
        .await?;
    let event = Event::RecipientTold(RecipientTold { request: id, recipient, how });
    control.request(&caller, About::Position(id.0), event).await.map(Json)
}

fn record_row(views: &Views, request: &SubjectRequest, record: EntityId, now: Timestamp) -> Option<RequestRecordRow> {
    let shown = entity::row(views, record)?;
    let is_gone = shown.state == retention_core::control::EntityState::Purged;
    Some(RequestRecordRow {
        record,
        state: shown.state,
        kept: request.kept.get(&record).copied().filter(|_| !is_gone),
        excepted: request.excepts(record),
        holds: views.holds_of_at(record, views.holds_at(now)),
        restricted: views.small.restrictions.keeps(record),
        text_missing: request.missing.get(&record).copied().filter(|_| !is_gone),
    })
}

fn exception_row(
    log: &Arc<dyn Log>,
    request: &SubjectRequest,
    position: Position,
) -> Result<Option<ExceptionRow>, ApiError> {
    let recorded = log.event(position)?;
    let Some(Event::ErasureExcepted(body)) = recorded.as_ref().and_then(|recorded| recorded.event()) else {
        return Ok(None);
    };
    Ok(Some(ExceptionRow {
        exception: position,
        ground: body.exception,
        records: body.records.clone(),
        owner: body.owner.clone(),
        review_at: body.review_at,
        reason: body.reason.clone(),
        ended_at: request.exceptions.get(&position).and_then(|exception| exception.ended_at),
    }))
}

pub(crate) async fn identify(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<RequestId>,
    Body(wanted): Body<IdentifySubject>,
) -> Result<Response, ApiError> {
    check_count(wanted.include.len() + wanted.exclude.len())?;
    let how = check_named(wanted.how, "a word on how it was made sure who asks")?;
    let wanted = IdentifySubject { how, ..wanted };
    control.see(move |views| found(views, id).map(|_| ())).await?;
    let (works, uid) = (Arc::clone(&control.works), caller.peer.uid);
    Ok(work(move |sink| works.identify_subject(uid, id, wanted, sink)))
}

pub(crate) async fn extend(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<RequestId>,
    Body(because): Body<Because>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_reason(because.reason)?;
    let request = control.see(move |views| found_open(views, id).cloned()).await?;
    if request.first_due_at.is_some() {
        return Err(ApiError::saying(ErrorCode::WrongState, format!("{id} was extended before"))
            .hint("an answer may take three months at most (GDPR Art. 12(3))"));
    }
    if request.is_overdue(control.clock.now()) {
        return Err(ApiError::saying(ErrorCode::WrongState, format!("the answer to {id} is late already"))
            .hint("the data subject must be told of an extension within the first month (GDPR Art. 12(3))"));
    }
    let zone = request.timezone.parse().map_err(|_| ApiError::of(ErrorCode::Internal))?;
    let due_at = months_after(MONTHS_MAX, request.received_at, &zone);
    let event = Event::SubjectRequestExtended(SubjectRequestExtended { request: id, due_at, reason });
    control.request_if(&caller, About::Position(id.0), event, Condition::RequestOpen(id)).await.map(Json)
}

pub(crate) async fn except(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<RequestId>,
    Body(wanted): Body<ExceptErasure>,
) -> Result<Json<Accepted>, ApiError> {
    check_count(wanted.records.len())?;
    let now = control.clock.now();
    if wanted.review_at <= now {
        return Err(ApiError::saying(ErrorCode::BadRequest, "somebody has to look again at a day that is to come"));
    }
    let body = ErasureExcepted {
        request: id,
        records: in_order(wanted.records),
        exception: wanted.exception,
        owner: check_named(wanted.owner, "an owner")?,
        review_at: wanted.review_at,
        reason: check_reason(wanted.reason)?,
    };
    let records = body.records.clone();
    let is_excepted = control
        .see(move |views| {
            let request = found(views, id)?;
            if request.kind != RequestKind::Erase {
                return Err(ApiError::saying(ErrorCode::WrongState, format!("{id} asks for no erasure")));
            }
            let is_strange = |record: &&EntityId| request.records().binary_search(record).is_err();
            match records.iter().find(is_strange) {
                Some(record) => Err(ApiError::saying(
                    ErrorCode::BadRequest,
                    format!("{id} is not about {record}; nothing was kept"),
                )
                .hint(format!("retentionctl subject show {id}"))),
                None if records.is_empty() => {
                    Err(ApiError::saying(ErrorCode::BadRequest, "an exception names the records that it keeps"))
                }
                None => Ok(records.iter().all(|record| request.excepts(*record))),
            }
        })
        .await?;
    // What an exception keeps it keeps also when the request was answered, and whoever looked again names the next day.
    let condition = if is_excepted { Condition::None } else { Condition::RequestLive(id) };
    let event = Event::ErasureExcepted(body);
    control.request_if(&caller, About::Position(id.0), event, condition).await.map(Json)
}

pub(crate) async fn end_exception(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument((id, exception)): Argument<(RequestId, Position)>,
    Body(because): Body<Because>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_reason(because.reason)?;
    control
        .see(move |views| match found(views, id)?.exceptions.get(&exception) {
            Some(known) if known.ended_at.is_none() => Ok(()),
            Some(_) | None => {
                let message = format!("{id} has no exception {} in force", exception.0);
                Err(ApiError::saying(ErrorCode::NotFound, message).hint(format!("retentionctl subject show {id}")))
            }
        })
        .await?;
    // It is in force until somebody ends it, also when the request was answered.
    let event = Event::ErasureExceptionEnded(ErasureExceptionEnded { request: id, exception, reason });
    control.request(&caller, About::Position(id.0), event).await.map(Json)
}

pub(crate) async fn package(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<RequestId>,
    Body(wanted): Body<PackageSubject>,
) -> Result<Response, ApiError> {
    if wanted.plain != wanted.recipients.is_empty() {
        return Err(ApiError::saying(
            ErrorCode::BadRequest,
            "name recipients, or say that it is to be plain; not both",
        )
        .hint("a package that is not encrypted can be read by whoever gets hold of it"));
    }
    control.see(move |views| may_hand_out(id, found(views, id)?)).await?;
    let (works, uid) = (Arc::clone(&control.works), caller.peer.uid);
    file(move |parts| works.package_subject(uid, id, &wanted.recipients, parts)).await
}

/// Only who asked for a copy is given one, and only while nobody said that they have the answer.
fn may_hand_out(id: RequestId, request: &SubjectRequest) -> Result<(), ApiError> {
    match request.kind {
        RequestKind::Access | RequestKind::Portability if request.ended.is_none() => Ok(()),
        RequestKind::Access | RequestKind::Portability => {
            Err(ApiError::saying(ErrorCode::WrongState, format!("{id} is completed")))
        }
        RequestKind::Erase | RequestKind::Restrict | RequestKind::Object => {
            Err(ApiError::saying(ErrorCode::WrongState, format!("{id} asks for no copy"))
                .hint("retentionctl subject access takes in a request for one"))
        }
    }
}

pub(crate) async fn complete(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<RequestId>,
    Body(wanted): Body<CompleteRequest>,
) -> Result<Json<Accepted>, ApiError> {
    let (end, reason, now) = (wanted.end, check_reason(wanted.reason)?, control.clock.now());
    control
        .see(move |views| {
            views.may_complete(found_open(views, id)?, end, now).map_err(|why| {
                ApiError::saying(ErrorCode::WrongState, format!("{id} is not {}: {why}", end.name()))
                    .hint(format!("retentionctl subject show {id}"))
            })
        })
        .await?;
    let event = Event::SubjectRequestCompleted(SubjectRequestCompleted { request: id, end, reason });
    control.request_if(&caller, About::Position(id.0), event, Condition::RequestCompletes(id, end)).await.map(Json)
}

fn found(views: &Views, id: RequestId) -> Result<&SubjectRequest, ApiError> {
    let missing = || not_found("request", id).hint("retentionctl subject list --all");
    views.small.subjects.get(id).ok_or_else(missing)
}

/// Returns a request that nobody has answered yet.
fn found_open(views: &Views, id: RequestId) -> Result<&SubjectRequest, ApiError> {
    let request = found(views, id)?;
    let Some((at, end)) = request.ended else { return Ok(request) };
    let message = format!("{id} was completed at {at}: {}; nothing was changed", end.name());
    Err(ApiError::saying(ErrorCode::WrongState, message).hint(format!("retentionctl subject show {id}")))
}

fn check_count(records: usize) -> Result<(), ApiError> {
    if records <= ENTITIES_PER_REQUEST_MAX {
        return Ok(());
    }
    let message = format!("at most {ENTITIES_PER_REQUEST_MAX} records are named at once; nothing was recorded");
    Err(ApiError::saying(ErrorCode::TooLarge, message))
}

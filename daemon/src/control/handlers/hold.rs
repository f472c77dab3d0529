//! Legal holds, and pauses.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use retention_core::control::{
    Accepted, ActorName, ENTITIES_PER_REQUEST_MAX, ErrorCode, HoldQuery, HoldRow, HoldsWanted, Operation,
    PauseDisposal, PlaceHold, ReleaseHold,
};
use retention_core::event::hold::{
    DisposalPaused, DisposalResumed, HoldPlaced, HoldReleased, PauseScope, StandingQuery, filter_of_requests,
};
use retention_core::event::{Event, Recorded};
use retention_core::id::{EntityId, HoldId, RequestId, in_order};
use retention_core::policy::HoldFilter;
use retention_core::record::Kind;
use retention_core::time::{Align, Period, Timestamp, Zone};
use retention_core::view::{Condition, Filtered, Hold, Views};

use super::super::answer::{Batch, Wanted, blocking, list as answer_list};
use super::super::error::ApiError;
use super::super::input::{Argument, Asked, Body, check_named, check_reason, check_text};
use super::super::log;
use super::entity::note_opened;
use super::{About, Caller, Shared, not_found};

/// How long a hold protects after its release when nothing is said, in days.
const DELAY_DAYS: u32 = 30;

/// The most problems of a filter that are said at once.
const PROBLEMS_MAX: usize = 5;

/// The most names of policies, of requests, or of kinds and sources, in one hold.
const NAMES_MAX: usize = 100;

pub(crate) async fn place(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(mut wanted): Body<PlaceHold>,
) -> Result<Json<Accepted>, ApiError> {
    let mut requests = wanted.requests;
    requests.sort_unstable();
    requests.dedup();
    if !requests.is_empty() && wanted.standing.is_some() {
        return Err(refusal(
            "a hold on a request is about what arrives later for its person, so it has no other query",
        )
        .hint("nothing was placed; place two holds"));
    }
    if requests.len() > NAMES_MAX {
        return Err(refusal(format!("a hold names at most {NAMES_MAX} requests")));
    }
    let of = requests.clone();
    let theirs = control.see(move |views| records_of(views, &of)).await?;
    let filter = match wanted.standing.as_mut().and_then(|standing| standing.filter.take()) {
        Some(filter) if filter.trim().is_empty() => return Err(refusal("an empty filter says nothing: leave it out")),
        Some(filter) => filter,
        None => String::new(),
    };
    let mut body = HoldPlaced {
        name: check_named(wanted.name, "a name of the case")?,
        reason: check_reason(wanted.reason)?,
        owner: check_text(wanted.owner)?,
        reference: check_text(wanted.reference)?,
        review_at: wanted.review_at,
        entities: in_order([wanted.entities, theirs].concat()),
        mailboxes: in_order(wanted.mailboxes),
        policies: wanted.policies,
        filter,
        standing: wanted.standing.map(|standing| StandingQuery {
            kinds: standing.kinds,
            sources: standing.sources,
            seen_from: standing.seen_from,
            seen_until: standing.seen_until,
        }),
    };
    check_cover(&body)?;
    body.filter = check_filter(&body, &control.works.zone())?;
    if !requests.is_empty() {
        let (kinds, sources) = (Kind::OF_SUBJECTS.to_vec(), Vec::new());
        body.standing = Some(StandingQuery { kinds, sources, seen_from: None, seen_until: None });
        body.filter = filter_of_requests(&requests);
    }
    let asked: Vec<EntityId> = body.entities.iter().chain(&body.mailboxes).copied().collect();
    let (mailboxes, policies) = (body.mailboxes.clone(), body.policies.clone());
    let sources = body.standing.as_ref().map(|standing| standing.sources.clone()).unwrap_or_default();
    let mut there_are = control.works.source_names();
    control
        .see(move |views| {
            // What was purged may have a copy in a bundle, which a hold keeps.
            let is_known = |id: EntityId| views.entities.row(id).is_some();
            let hint = "nothing was placed; leave it out";
            if let Some(id) = asked.iter().find(|id| !is_known(**id)) {
                return Err(not_found("entity", id).hint(hint));
            }
            if let Some(id) = mailboxes.iter().find(|id| is_of_another_kind(views, **id)) {
                return Err(not_found("mailbox", id).hint(hint));
            }
            there_are.extend(views.small.layouts.iter().map(|(_, layout)| layout.source.clone()));
            if sources.iter().any(|source| !there_are.contains(source)) {
                let names: Vec<&str> = there_are.iter().map(String::as_str).collect();
                let message =
                    "one of the sources is not configured and has delivered nothing, so nothing would be held";
                return Err(ApiError::saying(ErrorCode::NotFound, message)
                    .hint(format!("nothing was placed; there are {}", names.join(", "))));
            }
            let is_active = |id: &String| views.small.policies.policies.iter().any(|version| version.id == *id);
            match policies.iter().find(|id| !is_active(id)) {
                Some(_) => Err(ApiError::saying(ErrorCode::NotFound, "one of the policies is not active").hint(hint)),
                None => Ok(()),
            }
        })
        .await?;
    control.request(&caller, About::Daemon, Event::HoldPlaced(body)).await.map(Json)
}

/// Says whether an entity is known and no mailbox. What was purged is known by its number alone.
fn is_of_another_kind(views: &Views, id: EntityId) -> bool {
    let layout = views.entities.row(id).and_then(|row| views.small.layouts.get(row.layout));
    layout.is_some_and(|layout| layout.kind != Kind::Mailbox)
}

/// The records that data subjects' requests are about. What is gone may have a copy in a bundle, or something may be left
/// of it after a redaction: a hold on its number keeps that.
fn records_of(views: &Views, requests: &[RequestId]) -> Result<Vec<EntityId>, ApiError> {
    let mut records = Vec::new();
    for id in requests {
        let missing = || not_found("request", id).hint("retentionctl subject list --all");
        let request = views.small.subjects.get(*id).ok_or_else(missing)?;
        if views.left_of(request).is_empty() {
            let message = format!("{id} is about no record that is there; nothing was placed");
            return Err(ApiError::saying(ErrorCode::WrongState, message)
                .hint(format!("retentionctl subject identify {id} says which records are theirs")));
        }
        records.extend_from_slice(request.records());
    }
    Ok(records)
}

fn refusal(message: impl Into<String>) -> ApiError {
    ApiError::saying(ErrorCode::BadRequest, message)
}

/// A filter is read before anything is placed: one that nobody can read would hold everything. Returns it as it is
/// recorded, with the zone of its dates.
fn check_filter(body: &HoldPlaced, zone: &Zone) -> Result<String, ApiError> {
    if body.filter.is_empty() {
        return Ok(String::new());
    }
    let kinds = body.standing.as_ref().map_or(&[][..], |standing| &standing.kinds);
    let check = |text: &str| {
        HoldFilter::check(text, kinds).map_err(|problems| {
            let problems: Vec<String> = problems.iter().take(PROBLEMS_MAX).map(ToString::to_string).collect();
            refusal(problems.join("; ")).hint("nothing was placed; a filter is written as `where` in a policy")
        })
    };
    let filter = check(&body.filter)?;
    if filter.is_of_requests() {
        return Err(refusal("a filter does not name requests; nothing was placed").hint("name them as `requests`"));
    }
    let recorded = filter.recorded_in(&body.filter, zone);
    check(&recorded)?;
    Ok(recorded)
}

/// A hold covers something, and a standing query says what.
fn check_cover(body: &HoldPlaced) -> Result<(), ApiError> {
    let refuse = |message: String| Err(refusal(message));
    let named = body.entities.len() + body.mailboxes.len();
    if named > ENTITIES_PER_REQUEST_MAX {
        return refuse(format!("a hold names at most {ENTITIES_PER_REQUEST_MAX} entities and mailboxes"));
    }
    let lists = body.standing.as_ref().map_or(0, |standing| standing.kinds.len() + standing.sources.len());
    if body.policies.len() > NAMES_MAX || lists > NAMES_MAX {
        return refuse(format!("a hold names at most {NAMES_MAX} policies, kinds and sources"));
    }
    if let Some(standing) = &body.standing
        && lists == 0
        && standing.seen_from.is_none()
        && standing.seen_until.is_none()
    {
        return refuse("a standing query that says nothing would hold everything: name a kind or a source".to_owned());
    }
    if let Some(standing) = &body.standing
        && let (Some(from), Some(until)) = (standing.seen_from, standing.seen_until)
        && from >= until
    {
        return refuse("the time in which it was first seen ends before it begins: nothing would be held".to_owned());
    }
    if named == 0 && body.policies.is_empty() && body.standing.is_none() {
        return refuse("a hold covers something: entities, mailboxes, policies or a standing query".to_owned());
    }
    Ok(())
}

pub(crate) async fn list(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<HoldQuery>,
) -> Result<Response, ApiError> {
    let log = Arc::clone(&control.log);
    let (now, show) = (control.clock.now(), query.show);
    answer_list(wanted, query.after, query.limit, move |after, limit| {
        let from = after.map_or(0, |cursor| cursor.0);
        let collect = |views: &Views| {
            let holds = views.small.holds.all().filter(|(id, hold)| id.0.0 > from && is_wanted(show, hold, now));
            Batch::cut(holds.map(|(id, hold)| (id.0.0, (id, Seen::of(views, id, hold)))), limit)
        };
        let found = log::look(&log, collect).ok_or_else(|| ApiError::of(ErrorCode::Internal))?;
        let mut rows = Vec::new();
        for (id, seen) in found.rows {
            let Some(recorded) = log.event(id.0)? else { continue };
            rows.extend(row_of(&recorded, id, seen).map(|row| HoldRow { filter: None, ..row }));
        }
        Ok(Batch { rows, next: found.next })
    })
    .await
}

pub(crate) async fn show(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<HoldId>,
) -> Result<Json<HoldRow>, ApiError> {
    let missing = move || not_found("hold", id).hint("retentionctl hold list");
    let seen = control
        .see(move |views| {
            let found = views.small.holds.all().find(|(known, _)| *known == id);
            found.map(|(_, hold)| Seen::of(views, id, hold)).ok_or_else(missing)
        })
        .await?;
    // A filter may name whom it looks for, so who reads one is recorded, or does not read it.
    if seen.filtered.is_some() {
        note_opened(&control, &caller, Operation::HoldShow, 0).await?;
    }
    let log = Arc::clone(&control.log);
    let recorded = blocking(move || Ok(log.event(id.0)?)).await?.ok_or_else(missing)?;
    row_of(&recorded, id, seen).map(Json).ok_or_else(missing)
}

/// What the views know of a hold. What it names and caught may be much, so that is counted at once.
struct Seen {
    entities: u64,
    mailboxes: u64,
    policies: Vec<String>,
    standing: bool,
    filtered: Option<FilterCounts>,
    review_at: Option<Timestamp>,
    released: Option<(Timestamp, Timestamp)>,
}

/// What a filter caught, what it could not judge, and what it has still to judge.
struct FilterCounts {
    caught: u64,
    unreadable: u64,
    unjudged: u64,
}

impl Seen {
    fn of(views: &Views, id: HoldId, hold: &Hold) -> Self {
        let counts = |filtered: &Filtered| FilterCounts {
            caught: filtered.caught(),
            unreadable: filtered.unreadable(),
            unjudged: views.left_to_judge(id),
        };
        Self {
            entities: hold.entities.len() as u64,
            mailboxes: hold.mailboxes.len() as u64,
            policies: hold.policies.iter().cloned().collect(),
            standing: hold.standing.is_some(),
            filtered: hold.filtered.as_ref().map(counts),
            review_at: hold.review_at,
            released: hold.released,
        }
    }
}

/// Puts a hold together; `None` when its event cannot be read. Names and reasons are free text, and the filter may name
/// persons: they are in the sealed event alone.
fn row_of(recorded: &Recorded, id: HoldId, seen: Seen) -> Option<HoldRow> {
    let Some(Event::HoldPlaced(body)) = recorded.event() else { return None };
    let filtered = seen.filtered.as_ref();
    Some(HoldRow {
        hold: id,
        name: body.name.clone(),
        reason: body.reason.clone(),
        owner: body.owner.clone(),
        reference: body.reference.clone(),
        entities: seen.entities,
        mailboxes: seen.mailboxes,
        policies: seen.policies,
        standing: seen.standing,
        filter: filtered.map(|_| body.filter.clone()),
        caught: filtered.map(|counts| counts.caught),
        unreadable: filtered.map(|counts| counts.unreadable),
        unjudged: filtered.map(|counts| counts.unjudged),
        review_at: seen.review_at,
        released_at: seen.released.map(|(at, _)| at),
        protects_until: seen.released.map(|(at, until)| until.max(at)),
        placed_by: ActorName(recorded.envelope.actor),
        placed_at: recorded.envelope.recorded_at,
    })
}

fn is_wanted(show: HoldsWanted, hold: &Hold, now: Timestamp) -> bool {
    match show {
        HoldsWanted::InForce => hold.is_in_force(now),
        HoldsWanted::DueForReview => hold.is_due_for_review(now),
        HoldsWanted::Released => hold.released.is_some(),
    }
}

pub(crate) async fn release(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<HoldId>,
    Body(wanted): Body<ReleaseHold>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_reason(wanted.reason)?;
    let now = control.clock.now();
    let delay = delay(wanted.delay.as_deref())?;
    let released_at = control
        .see(move |views| match views.small.holds.get_in_force(id, now).map(|hold| hold.released) {
            // Whether it protects is told by the log: while its time stands still, because a clock was once ahead, it
            // would be over before it had begun.
            Some(None) => Ok(now.max(views.recorded_at)),
            Some(Some((_, until))) => {
                let message = format!("{id} was released before, and protects until {until}; nothing was changed");
                Err(ApiError::saying(ErrorCode::WrongState, message).hint("retentionctl hold list --released"))
            }
            None => Err(not_found("hold in force", id).hint("retentionctl hold list")),
        })
        .await?;
    // What is not put off ends now, by the clock as well.
    let until = if delay.is_zero() { now } else { delay.due_at(released_at, Align::None, &Zone::utc()) };
    let event = Event::HoldReleased(HoldReleased { hold: id, reason, until });
    control.request_if(&caller, About::Position(id.0), event, Condition::HoldActive(id)).await.map(Json)
}

/// Returns for how long a hold that is released still protects.
fn delay(wanted: Option<&str>) -> Result<Period, ApiError> {
    let wrong = || ApiError::saying(ErrorCode::BadRequest, "the delay is a period such as P30D, PT12H or P0D");
    match wanted {
        Some(text) => text.parse().map_err(|_| wrong()),
        None => Period::from_days(DELAY_DAYS).map_err(|_| wrong()),
    }
}

pub(crate) async fn pause(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<PauseDisposal>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_reason(wanted.reason)?;
    let scope = scope(wanted.policy, wanted.mailbox, wanted.request)?;
    let asked = scope.clone();
    control
        .see(move |views| match &asked {
            PauseScope::Request(id) => match views.small.subjects.get(*id) {
                None => Err(not_found("request", id).hint("retentionctl subject list --all")),
                Some(_) if views.small.pauses.has(&asked) => Err(paused_already()),
                Some(request) if request.records().is_empty() => {
                    let message = format!("nobody has said yet which records {id} is about; nothing was paused");
                    Err(ApiError::saying(ErrorCode::WrongState, message)
                        .hint(format!("retentionctl subject identify {id} says which records are theirs")))
                }
                Some(_) => Ok(()),
            },
            PauseScope::Mailbox(id) if views.entities.row(*id).is_none() || is_of_another_kind(views, *id) => {
                Err(not_found("mailbox", id))
            }
            PauseScope::Policy(id) if !views.small.policies.policies.iter().any(|version| version.id == *id) => {
                Err(ApiError::saying(ErrorCode::NotFound, "there is no such active policy"))
            }
            scope if views.small.pauses.has(scope) => Err(paused_already()),
            PauseScope::All | PauseScope::Policy(_) | PauseScope::Mailbox(_) => Ok(()),
        })
        .await?;
    let event = Event::DisposalPaused(DisposalPaused { scope: scope.clone(), reason });
    control.request_if(&caller, About::Daemon, event, Condition::NotPaused(scope)).await.map(Json)
}

pub(crate) async fn resume(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<PauseDisposal>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_reason(wanted.reason)?;
    let scope = scope(wanted.policy, wanted.mailbox, wanted.request)?;
    let asked = scope.clone();
    control
        .see(move |views| match views.small.pauses.has(&asked) {
            true => Ok(()),
            false => {
                Err(ApiError::saying(ErrorCode::WrongState, "this is not paused")
                    .hint("retentionctl status says what is"))
            }
        })
        .await?;
    let event = Event::DisposalResumed(DisposalResumed { scope: scope.clone(), reason });
    control.request_if(&caller, About::Daemon, event, Condition::Paused(scope)).await.map(Json)
}

fn paused_already() -> ApiError {
    ApiError::saying(ErrorCode::WrongState, "this is paused already")
}

fn scope(
    policy: Option<String>,
    mailbox: Option<EntityId>,
    request: Option<RequestId>,
) -> Result<PauseScope, ApiError> {
    match (policy, mailbox, request) {
        (None, None, None) => Ok(PauseScope::All),
        (Some(policy), None, None) => Ok(PauseScope::Policy(policy)),
        (None, Some(mailbox), None) => Ok(PauseScope::Mailbox(mailbox)),
        (None, None, Some(request)) => Ok(PauseScope::Request(request)),
        _ => Err(ApiError::saying(
            ErrorCode::BadRequest,
            "name a policy, a mailbox or the request of a data subject, or nothing for everything",
        )),
    }
}

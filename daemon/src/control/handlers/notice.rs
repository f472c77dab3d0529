//! Notices.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use retention_core::control::{
    AcknowledgeNotices, ErrorCode, NoticeQuery, NoticeRow, NoticeState, NoticeTested, NoticesAcknowledged,
    NoticesWanted,
};
use retention_core::event::Event;
use retention_core::event::notice::{Notice, NoticeAcknowledged, NoticeOn};
use retention_core::notice::{id, is_id};
use retention_core::view::Views;
use retention_core::view::notices::Telling;

use super::super::answer::{Batch, Wanted, blocking, list as answer_list};
use super::super::error::ApiError;
use super::super::input::{Argument, Asked, Body, check_reason};
use super::super::log;
use super::super::works::OwedNotice;
use super::{About, Caller, Shared, not_found};

/// The most notices that are acknowledged together.
const NOTICES_MAX: usize = 1_000;

/// What is owed has no place in the log, so its rows are numbered from here on: beyond every position, and still a
/// number that programs in any language keep exactly.
const OWED_FROM: u64 = 1 << 52;

/// Digits of an id that number a row: 52 bits.
const DIGITS_OF_ROW: usize = 13;

pub(crate) async fn test(
    State(control): State<Shared>,
    Argument(channel): Argument<String>,
) -> Result<Json<NoticeTested>, ApiError> {
    let works = Arc::clone(&control.works);
    blocking(move || works.test_channel(&channel).map(Json).map_err(ApiError)).await
}

pub(crate) async fn list(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<NoticeQuery>,
) -> Result<Response, ApiError> {
    let (log, works) = (Arc::clone(&control.log), Arc::clone(&control.works));
    answer_list(wanted, query.after, query.limit, move |after, limit| {
        let owed = works.notices_owed();
        let rows = log::look(&log, |views| rows(views, owed, query.show));
        let rows = rows.ok_or_else(|| ApiError::of(ErrorCode::Internal))?;
        let below = after.map_or(u64::MAX, |cursor| cursor.0);
        Ok(Batch::cut(rows.into_iter().rev().filter(|(number, _)| *number < below), limit))
    })
    .await
}

/// Returns the wanted rows by their numbers, which grow from what was told first to what is owed. What is owed keeps
/// its number whatever else is told between two pages.
fn rows(views: &Views, owed: Vec<OwedNotice>, show: NoticesWanted) -> BTreeMap<u64, NoticeRow> {
    let store = views.small.store;
    let told = views.small.notices.channels().flat_map(|(name, channel)| {
        channel.told.iter().map(move |(notice, telling)| told_row(id(store, name, notice), name, notice, telling))
    });
    let is_told = |owed: &OwedNotice| {
        let channel = views.small.notices.channel(&owed.channel);
        channel.is_none_or(|channel| channel.told.contains_key(&owed.notice))
    };
    let owed = owed.into_iter().filter(|owed| !is_told(owed)).map(|owed| owed_row(store, owed));
    told.chain(owed).filter(|(_, row)| is_wanted(show, row.state)).collect()
}

fn is_wanted(show: NoticesWanted, state: NoticeState) -> bool {
    match show {
        NoticesWanted::All => true,
        NoticesWanted::Open => matches!(state, NoticeState::Owed | NoticeState::GivenUp),
        NoticesWanted::Owed => state == NoticeState::Owed,
        NoticesWanted::Sent => state == NoticeState::Sent,
        NoticesWanted::GivenUp => state == NoticeState::GivenUp,
        NoticesWanted::Acknowledged => state == NoticeState::Acknowledged,
    }
}

fn told_row(id: String, channel: &str, notice: &Notice, telling: &Telling) -> (u64, NoticeRow) {
    let (state, at, position, tries, code, acknowledged_at) = match telling {
        Telling::Sent { at, position } => (NoticeState::Sent, *at, *position, None, None, None),
        Telling::GivenUp { at, position, tries, code, acknowledged } => {
            let state = if acknowledged.is_some() { NoticeState::Acknowledged } else { NoticeState::GivenUp };
            (state, *at, *position, Some(*tries), Some(code.clone()), *acknowledged)
        }
    };
    let row = NoticeRow {
        notice: id,
        channel: channel.to_owned(),
        thing: notice.thing().name().to_owned(),
        subject: notice.subject(),
        name: notice.to_string(),
        state,
        at,
        tries,
        code,
        event: Some(position),
        acknowledged_at,
    };
    (position.0, row)
}

fn owed_row(store: [u8; 16], owed: OwedNotice) -> (u64, NoticeRow) {
    let id = id(store, &owed.channel, &owed.notice);
    let digits = id.rsplit('_').next().and_then(|digits| digits.get(..DIGITS_OF_ROW));
    let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0);
    let row = NoticeRow {
        notice: id,
        channel: owed.channel,
        thing: owed.notice.thing().name().to_owned(),
        subject: owed.notice.subject(),
        name: owed.notice.to_string(),
        state: NoticeState::Owed,
        at: owed.since,
        tries: Some(owed.tries),
        code: owed.code,
        event: None,
        acknowledged_at: None,
    };
    (OWED_FROM | number, row)
}

pub(crate) async fn acknowledge(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<AcknowledgeNotices>,
) -> Result<Json<NoticesAcknowledged>, ApiError> {
    let reason = check_reason(wanted.reason)?;
    check_ids(&wanted.notices)?;
    let works = Arc::clone(&control.works);
    let owed = blocking(move || Ok(works.notices_owed())).await?;
    let notices = control.see(move |views| given_up(views, &owed, &wanted.notices)).await?;
    if notices.is_empty() {
        return Ok(Json(NoticesAcknowledged { acknowledged: 0, event: None }));
    }
    let acknowledged = notices.len() as u64;
    let event = Event::NoticeAcknowledged(NoticeAcknowledged { notices, reason });
    let accepted = control.request(&caller, About::Daemon, event).await?;
    Ok(Json(NoticesAcknowledged { acknowledged, event: Some(accepted.position) }))
}

fn check_ids(ids: &[String]) -> Result<(), ApiError> {
    if ids.is_empty() || ids.len() > NOTICES_MAX {
        let message = format!("between one and {NOTICES_MAX} notices are acknowledged together");
        return Err(ApiError::saying(ErrorCode::BadRequest, message));
    }
    match ids.iter().all(|id| is_id(id)) {
        true => Ok(()),
        false => {
            let message = "a notice is named by its id: notice_ and 32 hexadecimal digits";
            Err(ApiError::saying(ErrorCode::BadRequest, message).hint("retentionctl notice list --open"))
        }
    }
}

/// Returns which of them were given up and are not acknowledged yet: all may be, or nothing is changed.
fn given_up(views: &Views, owed: &[OwedNotice], ids: &[String]) -> Result<Vec<NoticeOn>, ApiError> {
    let store = views.small.store;
    let mut told = BTreeMap::new();
    for (name, channel) in views.small.notices.channels() {
        let of = |(notice, telling)| (id(store, name, notice), (name, notice, telling));
        told.extend(channel.told.iter().map(of));
    }
    let mut open = Vec::new();
    for wanted in ids {
        match told.get(wanted) {
            Some((channel, notice, Telling::GivenUp { acknowledged: None, .. })) => {
                open.push(NoticeOn { channel: (*channel).to_owned(), notice: (*notice).clone() });
            }
            Some((_, _, Telling::GivenUp { acknowledged: Some(_), .. })) => {}
            Some((channel, _, Telling::Sent { .. })) => {
                let message = format!("{wanted} was not given up: {channel} took it; nothing was acknowledged");
                return Err(ApiError::saying(ErrorCode::WrongState, message)
                    .hint("leave it out; retentionctl notice list --state given-up shows what can be acknowledged"));
            }
            None => {
                let is_wanted = |one: &&OwedNotice| id(store, &one.channel, &one.notice) == *wanted;
                let Some(one) = owed.iter().find(is_wanted) else {
                    let hint = "nothing was acknowledged; retentionctl notice list --open";
                    return Err(not_found("notice", wanted).hint(hint));
                };
                let channel = &one.channel;
                let message = format!("{wanted} is still tried on {channel}; nothing was acknowledged");
                return Err(ApiError::saying(ErrorCode::WrongState, message)
                    .hint(format!("mend the channel, and try it: retentionctl notice test {channel}")));
            }
        }
    }
    open.sort_unstable();
    open.dedup();
    Ok(open)
}

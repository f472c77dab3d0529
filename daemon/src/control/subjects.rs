//! Looking for a data subject in everything that is stored, for [`Works`](super::Works).
//!
//! There is no index of persons: it would be one more copy of who they are. Every record is opened once, its
//! identifiers become handles, and those are compared. That costs what is stored, some times a day, on several threads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use retention_core::control::{
    AskForSubject, ErrorBody, ErrorCode, IDENTIFIERS_MAX, IdentifySubject, Line, Operation, Progress, SoughtSubject,
    SubjectRow,
};
use retention_core::event::operation::RecordsOpened;
use retention_core::event::subject::{RequestKind, SubjectIdentified, SubjectRequested};
use retention_core::event::{Actor, Draft, Event, stream_of_daemon, stream_of_position};
use retention_core::id::{EntityId, Handle, Position, RequestId, in_order};
use retention_core::record::{Kind, Relation};
use retention_core::subject::find::{Found, Tie};
use retention_core::subject::{self, Certainty, IdentifierError, IdentifierKind, Mark, SoughtMark, Whose, each_mark};
use retention_core::time::{Align, Period, Timestamp, Zone};
use retention_core::view::{Condition, EntityState, Views};

use super::error::ApiError;
use super::handlers::entity;
use super::log::Log;
use super::works::{Audience, Sink};
use crate::ahead;
use crate::config::meant;
use crate::store::{ReadError, Store};

/// Entities that one look at the views collects.
const BATCH_MAX: u32 = 1_000;

/// How many of them pass between two words about how far the search is.
const PIECES_PER_WORD: u64 = 10;

/// The most records that are said to be of one person.
const RECORDS_MAX: usize = 100_000;

/// What is looked for when the identifiers in a person's own records lead further: an id is one in its source only.
const PERSONAL: [IdentifierKind; 2] = [IdentifierKind::Email, IdentifierKind::Phone];

/// Takes the rows of a search, and tells whether anybody listens.
pub type RowSink<'a> = Sink<'a, SubjectRow>;

/// Looks for a person, for a person with a role: that is recorded before anything is shown.
///
/// # Errors
/// Says what cannot be read, or that nothing could be recorded; then nothing is shown.
pub fn find_for(store: &Store, uid: u32, sought: &SoughtSubject, sink: RowSink<'_>) -> Result<(), ErrorBody> {
    let marks = marks(store, sought)?;
    // A number that was mistyped would look as if nothing were stored.
    for record in &sought.records {
        check_record(store, *record)?;
    }
    let found = find(store, &marks, &sought.records, sink)?;
    note_opened(store, uid, Operation::SubjectFind, found.iter().count() as u64)?;
    show(store, &found, sink);
    Ok(())
}

/// Says whose request it is and which records are theirs: those that are surely theirs, with what the person who asks
/// includes, without what they exclude.
///
/// # Errors
/// Says what cannot be read, and what is named that is not there. Nothing was recorded then.
pub fn identify(
    store: &Store,
    uid: u32,
    id: RequestId,
    wanted: IdentifySubject,
    sink: RowSink<'_>,
) -> Result<(), ErrorBody> {
    let request = store.view(|views| views.small.subjects.get(id).cloned()).ok_or_else(|| no_request(id))?;
    if !request.is_live() {
        return Err(ErrorBody::saying(ErrorCode::WrongState, format!("{id} is completed"))
            .hint(format!("retentionctl subject show {id}")));
    }
    let mut found = find(store, &request.marks, &request.named, sink)?;
    if wanted.correspondence {
        found.take_correspondence();
    }
    let sure = found.sure();
    if let Some(strange) = wanted.exclude.iter().find(|record| sure.binary_search(record).is_err()) {
        let message = format!("{strange} is excluded, and it is not among what would be taken; nothing was recorded");
        return Err(ErrorBody::saying(ErrorCode::BadRequest, message).hint("leave it out"));
    }
    for record in &wanted.include {
        check_record(store, *record)?;
        found.tie(*record, Tie::Named);
    }
    found.keep_only(|record, ties| ties.iter().any(|tie| tie.is_sure()) && !wanted.exclude.contains(&record));
    let mut records: Vec<EntityId> = found.iter().map(|(record, _)| record).collect();
    // What was erased already was theirs.
    records.extend(store.view(|views| {
        let known: Vec<EntityId> = request.records().to_vec();
        let left = views.left_of(&request);
        known.into_iter().filter(|record| left.binary_search(record).is_err()).collect::<Vec<_>>()
    }));
    let records = in_order(records);
    if records.is_empty() {
        let message = "nothing that is stored is surely theirs; nothing was recorded";
        return Err(ErrorBody::saying(ErrorCode::WrongState, message).hint(format!(
            "include what is theirs by --include, or say that nothing is there: retentionctl subject complete {id} --end nothing-stored \
             --reason …"
        )));
    }
    if records.len() > RECORDS_MAX {
        let message = format!("more than {RECORDS_MAX} records would be theirs; nothing was recorded");
        return Err(ErrorBody::saying(ErrorCode::TooLarge, message).hint("exclude what is not about the person alone"));
    }
    note_opened(store, uid, Operation::SubjectIdentify, records.len() as u64)?;
    let event = Event::SubjectIdentified(SubjectIdentified { request: id, records, how: wanted.how });
    append(store, draft(uid, Some(id), event), Condition::RequestLive(id))?;
    show(store, &found, sink);
    Ok(())
}

/// Returns a request with the day until which it must be answered: a month, counted in the zone of the policies (GDPR
/// Art. 12(3); Regulation 1182/71 Art. 3).
///
/// # Errors
/// Says what is missing or does not fit; nothing was recorded.
pub fn terms(store: &Store, wanted: AskForSubject, zone: &Zone, now: Timestamp) -> Result<SubjectRequested, ErrorBody> {
    let refuse =
        |message: &str| Err(ErrorBody::saying(ErrorCode::BadRequest, format!("{message}; nothing was recorded")));
    match (wanted.kind, wanted.ground) {
        (RequestKind::Erase, None) => return refuse("an erasure is asked for on a ground (GDPR Art. 17(1))"),
        (RequestKind::Erase, Some(_)) | (_, None) => {}
        (_, Some(_)) => return refuse("only an erasure has such a ground"),
    }
    let received_at = wanted.received_at.unwrap_or(now);
    if received_at > now {
        return refuse("a request cannot have been received in the future");
    }
    let marks = marks(store, &wanted.subject)?;
    let named = wanted.subject.records;
    for record in &named {
        check_record(store, *record)?;
    }
    Ok(SubjectRequested {
        kind: wanted.kind,
        ground: wanted.ground,
        marks,
        named,
        received_at,
        due_at: months_after(1, received_at, zone),
        timezone: zone.name().to_owned(),
        reference: wanted.reference,
    })
}

/// Returns the end of the last day of so many months.
pub fn months_after(months: u32, received_at: Timestamp, zone: &Zone) -> Timestamp {
    let period: Option<Period> = format!("P{months}M").parse().ok();
    period.map_or(received_at, |period| period.due_at(received_at, Align::None, zone))
}

fn check_record(store: &Store, record: EntityId) -> Result<(), ErrorBody> {
    let is_there = store.view(|views| {
        let row = views.entities.row(record)?;
        let kind = views.small.layouts.get(row.layout)?.kind;
        Some(row.state != EntityState::Purged && Kind::OF_SUBJECTS.contains(&kind))
    });
    if is_there == Some(true) {
        return Ok(());
    }
    let message = format!("{record} is no record that is there: mailboxes and intakes are none; nothing was recorded");
    Err(ErrorBody::saying(ErrorCode::NotFound, message).hint("retentionctl subject find"))
}

pub(super) fn no_request(id: RequestId) -> ErrorBody {
    ErrorBody::saying(ErrorCode::NotFound, format!("there is no request {id}")).hint("retentionctl subject list --all")
}

/// Records that somebody reads personal data: before anything is shown.
pub(super) fn note_opened(store: &Store, uid: u32, operation: Operation, entities: u64) -> Result<(), ErrorBody> {
    let event = Event::RecordsOpened(RecordsOpened { operation: operation.name().to_owned(), entities });
    append(store, draft(uid, None, event), Condition::None)
}

pub(super) fn draft(uid: u32, request: Option<RequestId>, event: Event) -> Draft {
    let (stream, cause) = match request {
        Some(id) => (stream_of_position(id.0), id.0),
        None => (stream_of_daemon(), Position::NONE),
    };
    Draft { stream, entity: None, actor: Actor::Person(uid), cause, occurred_at: None, event }
}

pub(super) fn append(store: &Store, draft: Draft, condition: Condition) -> Result<(), ErrorBody> {
    Log::append(store, draft, condition).map(|_| ()).map_err(|error| ApiError::from(error).0)
}

/// Shows what was found, what is surely theirs first.
fn show(store: &Store, found: &Found, sink: RowSink<'_>) {
    let mut rows: Vec<SubjectRow> = store.view(|views| {
        found.iter().filter_map(|(record, ties)| row(views, record, ties, store.holds_at(views))).collect()
    });
    rows.sort_by_key(|row| (!row.sure, row.record));
    for row in rows {
        if sink(Line::Row(row)) == Audience::Gone {
            return;
        }
    }
}

fn row(views: &Views, record: EntityId, ties: &BTreeSet<Tie>, holds_at: Timestamp) -> Option<SubjectRow> {
    let shown = entity::row(views, record)?;
    let about = |(_, request): &(RequestId, &retention_core::view::SubjectRequest)| {
        request.records().binary_search(&record).is_ok()
    };
    Some(SubjectRow {
        record,
        kind: shown.kind,
        source: shown.source,
        mailbox: shown.mailbox,
        state: shown.state,
        sure: ties.iter().any(|tie| tie.is_sure()),
        why: ties.iter().map(|tie| tie.text()).collect(),
        holds: views.holds_of_at(record, holds_at),
        restricted: views.small.restrictions.keeps(record),
        requests: views.small.subjects.iter().filter(about).map(|(id, _)| id).collect(),
    })
}

/// Returns by what a person is looked for: handles, and nothing that names them. An error says what cannot be read, and
/// never repeats it.
fn marks(store: &Store, sought: &SoughtSubject) -> Result<Vec<SoughtMark>, ErrorBody> {
    let given = sought.emails.len() + sought.phones.len() + sought.ids.len();
    if given + sought.records.len() == 0 {
        return Err(ErrorBody::saying(ErrorCode::BadRequest, "nothing was named by which a person could be found")
            .hint("name an e-mail address, a telephone number, an id or a record"));
    }
    if given > IDENTIFIERS_MAX {
        let message = format!("a person is looked for by at most {IDENTIFIERS_MAX} identifiers at once");
        return Err(ErrorBody::saying(ErrorCode::BadRequest, message));
    }
    let sources: BTreeSet<String> = store.view(|views| {
        let of_people = views.small.layouts.iter().filter(|(_, layout)| Kind::OF_SUBJECTS.contains(&layout.kind));
        of_people.map(|(_, layout)| layout.source.clone()).collect()
    });
    let unread = |error: IdentifierError| {
        ErrorBody::saying(ErrorCode::BadRequest, error.to_string()).hint("nothing was looked for; correct it")
    };
    let read: Result<Vec<Vec<(Mark, Certainty)>>, ErrorBody> =
        (sought.emails.iter().map(|text| subject::email(text).map_err(unread)))
            .chain(sought.phones.iter().map(|text| subject::phone(text).map_err(unread)))
            .chain(sought.ids.iter().map(|text| {
                let (source, id) = source_and_id(text, &sources)?;
                subject::id(source, id).map_err(unread)
            }))
            .collect();
    let read = read?;
    let mut marks: Vec<SoughtMark> = read
        .into_iter()
        .flatten()
        .map(|(mark, certainty)| SoughtMark { handle: store.handle_of_mark(&mark), identifier: mark.kind(), certainty })
        .collect();
    marks.sort_unstable();
    marks.dedup();
    Ok(marks)
}

/// Takes an id apart. What stands before the first colon has to be a source: a misspelt one would find nothing, and look
/// as if nothing were stored of the person. An id that has a colon of its own and no source begins with a colon.
fn source_and_id<'t>(text: &'t str, sources: &BTreeSet<String>) -> Result<(Option<&'t str>, &'t str), ErrorBody> {
    match text.split_once(':') {
        None => Ok((None, text)),
        Some(("", id)) => Ok((None, id)),
        Some((source, id)) if sources.contains(source) => Ok((Some(source), id)),
        Some((source, _)) => {
            let known: Vec<&str> = sources.iter().map(String::as_str).collect();
            // What was written is not said again: it may be a part of an id.
            let meant = meant(&source.to_lowercase(), &known);
            let message = format!("an id begins with a source that there is not{meant}; nothing was looked for");
            let there_are = match known.as_slice() {
                [] => "nothing was taken in yet, so there is no source".to_owned(),
                known => format!("there are {}", known.join(", ")),
            };
            let hint = format!("{there_are}; an id with a colon of its own, in whichever source, is written as :ID");
            Err(ErrorBody::saying(ErrorCode::BadRequest, message).hint(hint))
        }
    }
}

/// Looks for a person in all sources and mailboxes, and says of every record why it is there.
///
/// # Errors
/// When a record cannot be read: then nothing is said, since it might have been theirs.
fn find(store: &Store, marks: &[SoughtMark], named: &[EntityId], sink: RowSink<'_>) -> Result<Found, ErrorBody> {
    let mut found = Found::default();
    store.view(|views| {
        let is_there =
            |record: &&EntityId| views.entities.row(**record).is_some_and(|row| row.state != EntityState::Purged);
        for record in named.iter().filter(is_there) {
            found.tie(*record, Tie::Named);
        }
    });
    let mut sought: HashMap<Handle, Tied> = HashMap::new();
    for mark in marks {
        sought.entry(mark.handle).or_default().push((mark.identifier, mark.certainty));
    }
    let wanted: Vec<IdentifierKind> = marks.iter().map(|mark| mark.identifier).collect();
    scan(store, &wanted, &sought, sink, |record, (identifier, certainty), whose| {
        found.tie(record, Tie::of_mark(*identifier, *certainty, whose));
    })?;
    follow(store, &mut found)?;
    further(store, &mut found, &sought, sink)?;
    Ok(found)
}

type Tied = Vec<(IdentifierKind, Certainty)>;

fn follow(store: &Store, found: &mut Found) -> Result<(), ErrorBody> {
    found.tell_shared(|record| {
        store.view(|views| {
            let row = views.entities.row(record);
            let source = row.and_then(|row| views.small.layouts.get(row.layout)).map(|layout| layout.source.clone());
            (source, row.and_then(|row| row.mailbox))
        })
    });
    let neighbours = |record| {
        store.view(|views| {
            let own = views.links.of(record).map(|link| (Relation::Associated, link.to));
            own.chain(views.links.to(record)).filter(|(_, other)| *other != record).collect()
        })
    };
    let abouts = |record| {
        let about: Vec<EntityId> = store.view(|views| {
            let about = views.links.of(record).filter(|link| link.relation == Relation::About);
            about.map(|link| link.to).collect()
        });
        // What it names and is gone, or was never seen, is about somebody too.
        let Some(opened) = store.record(record)? else { return Ok(None) };
        let named = opened.links.iter().filter(|link| link.relation == Relation::About).count();
        Ok((named == about.len()).then_some(about))
    };
    found.follow(neighbours, abouts).map_err(unreadable)
}

/// Looks for the other identifiers that stand in the person's own records. What bears one is shown, never taken.
fn further(
    store: &Store,
    found: &mut Found,
    sought: &HashMap<Handle, Tied>,
    sink: RowSink<'_>,
) -> Result<(), ErrorBody> {
    let own = found.own();
    let mut others: HashMap<Handle, Vec<(EntityId, IdentifierKind)>> = HashMap::new();
    for part in own.chunks(BATCH_MAX as usize) {
        borne(store, part, &PERSONAL, |record, mark, whose| {
            let handle = store.handle_of_mark(mark);
            if whose == Whose::Own && mark.is_certain() && !sought.contains_key(&handle) {
                others.entry(handle).or_default().push((record, mark.kind()));
            }
        })
        .map_err(unreadable)?;
    }
    if others.is_empty() {
        return Ok(());
    }
    let mut ties: Vec<(EntityId, Tie)> = Vec::new();
    scan(store, &PERSONAL, &others, sink, |record, (of, identifier), _| {
        if own.binary_search(&record).is_err() {
            ties.push((record, Tie::Further { record: *of, identifier: *identifier }));
        }
    })?;
    for (record, tie) in ties {
        found.tie(record, tie);
    }
    Ok(())
}

/// Opens every record that is there, and hands out those that bear one of the handles.
fn scan<T: Clone + Send + Sync>(
    store: &Store,
    kinds: &[IdentifierKind],
    sought: &HashMap<Handle, Vec<T>>,
    sink: RowSink<'_>,
    mut take: impl FnMut(EntityId, &T, Whose),
) -> Result<(), ErrorBody> {
    if sought.is_empty() {
        return Ok(());
    }
    let bound = store.view(|views| views.entities.bound());
    let parts: Vec<Range<u32>> =
        (0..bound).step_by(BATCH_MAX as usize).map(|from| from..bound.min(from.saturating_add(BATCH_MAX))).collect();
    let look = |part: &Range<u32>| -> Result<Vec<(EntityId, T, Whose)>, ReadError> {
        store.halt().check()?;
        let records: Vec<EntityId> = part.clone().map(EntityId).collect();
        let mut hits = Vec::new();
        borne(store, &records, kinds, |record, mark, whose| {
            for tied in sought.get(&store.handle_of_mark(mark)).into_iter().flatten() {
                hits.push((record, tied.clone(), whose));
            }
        })?;
        Ok(hits)
    };
    let (mut done, total) = (0, Some(u64::from(bound)));
    ahead::in_order(&parts, look, |hits| {
        for (record, tied, whose) in hits.map_err(unreadable)? {
            take(record, &tied, whose);
        }
        done += 1;
        let looked_at = (done * u64::from(BATCH_MAX)).min(bound.into());
        let word = Line::Progress(Progress { unit: "entities".to_owned(), done: looked_at, total });
        match done % PIECES_PER_WORD == 0 && sink(word) == Audience::Gone {
            true => Err(ErrorBody::saying(ErrorCode::TimedOut, "nobody listens any more; nothing was recorded")),
            false => Ok(()),
        }
    })
}

/// Opens records and hands out the marks of some kinds that they bear.
fn borne(
    store: &Store,
    records: &[EntityId],
    kinds: &[IdentifierKind],
    mut take: impl FnMut(EntityId, &Mark, Whose),
) -> Result<(), ReadError> {
    let mut subjects = store.subjects(records);
    subjects.retain(|subject| subject.row.state != EntityState::Purged);
    let mut layouts = BTreeMap::new();
    for piece in store.pieces(&subjects, |subject| subject.row.version, subjects.len())? {
        for (subject, record) in piece.items.iter().zip(store.records_of(&piece)?) {
            let Some(record) = record else { continue };
            let layout = layouts
                .entry(record.layout)
                .or_insert_with(|| store.view(|views| views.small.layouts.get(record.layout).cloned()));
            let Some(layout) = layout.as_ref().filter(|layout| Kind::OF_SUBJECTS.contains(&layout.kind)) else {
                continue;
            };
            each_mark(layout, &record, |borne| {
                if kinds.contains(&borne.mark.kind()) {
                    take(subject.entity, &borne.mark, borne.whose);
                }
            });
        }
    }
    Ok(())
}

pub(super) fn unreadable(error: ReadError) -> ErrorBody {
    if matches!(error, ReadError::Halted(_)) {
        return ErrorBody::of(ErrorCode::Stopping);
    }
    tracing::error!(%error, "a record could not be read while a data subject was looked for");
    ErrorBody::saying(ErrorCode::Internal, "a record could not be read, and it might be theirs: nothing is said")
        .hint("retentionctl store verify")
}

//! Looking for a data subject in everything that is stored, for [`Works`](super::Works).
//!
//! There is no index of persons: it would be one more copy of who they are. Every record is opened once, its identifiers
//! become handles, and those are compared. That costs what is stored, some times a day, on several threads.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use retention_core::control::{ErrorBody, ErrorCode, IDENTIFIERS_MAX, SoughtSubject};
use retention_core::id::{EntityId, Handle};
use retention_core::record::Relation;
use retention_core::subject::find::{Found, Tie};
use retention_core::subject::{
    self, Certainty, IdentifierError, IdentifierKind, Mark, SoughtMark, Whose, each_mark,
};
use retention_core::view::EntityState;

use crate::ahead;
use crate::store::{ReadError, Store};

/// Entities that one look at the views collects.
const BATCH_MAX: u32 = 1_000;

/// Returns by what a person is looked for: handles, and nothing that names them.
///
/// # Errors
/// Says what cannot be read, and never repeats it.
pub fn marks(store: &Store, sought: &SoughtSubject) -> Result<Vec<SoughtMark>, ErrorBody> {
    let given = sought.emails.len() + sought.phones.len() + sought.ids.len();
    if given + sought.records.len() == 0 {
        return Err(ErrorBody::saying(ErrorCode::BadRequest, "nothing was named by which a person could be found")
            .hint("name an e-mail address, a telephone number, an id or a record"));
    }
    if given > IDENTIFIERS_MAX {
        let message = format!("a person is looked for by at most {IDENTIFIERS_MAX} identifiers at once");
        return Err(ErrorBody::saying(ErrorCode::BadRequest, message));
    }
    let sources: Vec<String> =
        store.view(|views| views.small.layouts.iter().map(|(_, layout)| layout.source.clone()).collect());
    let id = |text: &String| match text.split_once(':') {
        // An id may hold a colon itself.
        Some((source, rest)) if sources.iter().any(|known| known == source) => subject::id(Some(source), rest),
        _ => subject::id(None, text),
    };
    let read: Result<Vec<Vec<(Mark, Certainty)>>, IdentifierError> = (sought.emails.iter().map(|t| subject::email(t)))
        .chain(sought.phones.iter().map(|t| subject::phone(t)))
        .chain(sought.ids.iter().map(id))
        .collect();
    let read = read.map_err(|error| {
        ErrorBody::saying(ErrorCode::BadRequest, error.to_string()).hint("nothing was looked for; correct it")
    })?;
    let mut marks: Vec<SoughtMark> = read
        .into_iter()
        .flatten()
        .map(|(mark, certainty)| SoughtMark { handle: store.handle_of_mark(&mark), identifier: mark.kind(), certainty })
        .collect();
    marks.sort_unstable();
    marks.dedup();
    Ok(marks)
}

/// Looks for a person in all sources and mailboxes, and says of every record why it is there.
///
/// # Errors
/// When a record cannot be read: then nothing is said, since it might have been theirs.
pub fn find(store: &Store, marks: &[SoughtMark], named: &[EntityId]) -> Result<Found, ErrorBody> {
    let mut found = Found::default();
    store.view(|views| {
        let is_there = |record: &&EntityId| {
            views.entities.row(**record).is_some_and(|row| row.state != EntityState::Purged)
        };
        for record in named.iter().filter(is_there) {
            found.tie(*record, Tie::Named);
        }
    });
    let mut sought: HashMap<Handle, Tied> = HashMap::new();
    for mark in marks {
        sought.entry(mark.handle).or_default().push((mark.identifier, mark.certainty));
    }
    let wanted: Vec<IdentifierKind> = marks.iter().map(|mark| mark.identifier).collect();
    scan(store, &wanted, &sought, |record, (identifier, certainty), whose| {
        found.tie(record, Tie::of_mark(*identifier, *certainty, whose));
    })?;
    follow(store, &mut found);
    further(store, &mut found, &sought)?;
    Ok(found)
}

type Tied = Vec<(IdentifierKind, Certainty)>;

fn follow(store: &Store, found: &mut Found) {
    store.view(|views| {
        let neighbours = |record| {
            let own = views.links.of(record).map(|link| (Relation::Associated, link.to));
            own.chain(views.links.to(record)).filter(|(_, other)| *other != record).collect()
        };
        let abouts = |record| {
            let about = views.links.of(record).filter(|link| link.relation == Relation::About);
            about.map(|link| link.to).collect()
        };
        found.follow(neighbours, abouts);
    });
}

/// Looks for the other identifiers that stand in the person's own records. What bears one is shown, never taken.
fn further(store: &Store, found: &mut Found, sought: &HashMap<Handle, Tied>) -> Result<(), ErrorBody> {
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
    scan(store, &PERSONAL, &others, |record, (of, identifier), _| {
        if own.binary_search(&record).is_err() {
            ties.push((record, Tie::Further { record: *of, identifier: *identifier }));
        }
    })?;
    for (record, tie) in ties {
        found.tie(record, tie);
    }
    Ok(())
}

/// Identifiers that a person has wherever they are: an id is one in its source only.
const PERSONAL: [IdentifierKind; 2] = [IdentifierKind::Email, IdentifierKind::Phone];

/// Opens every record that is there, and hands out those that bear one of the handles.
fn scan<T: Clone + Send + Sync>(
    store: &Store,
    kinds: &[IdentifierKind],
    sought: &HashMap<Handle, Vec<T>>,
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
    ahead::in_order(&parts, look, |hits| {
        for (record, tied, whose) in hits? {
            take(record, &tied, whose);
        }
        Ok(())
    })
    .map_err(unreadable)
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
        let versions: Vec<_> = piece.items.iter().map(|subject| subject.row.version).collect();
        for (subject, record) in piece.items.iter().zip(store.records_at(&versions)?) {
            let Some(record) = record else { continue };
            let layout = layouts
                .entry(record.layout)
                .or_insert_with(|| store.view(|views| views.small.layouts.get(record.layout).cloned()));
            let Some(layout) = layout else { continue };
            each_mark(layout, &record, |borne| {
                if kinds.contains(&borne.mark.kind()) {
                    take(subject.entity, &borne.mark, borne.whose);
                }
            });
        }
    }
    Ok(())
}

fn unreadable(error: ReadError) -> ErrorBody {
    if matches!(error, ReadError::Halted(_)) {
        return ErrorBody::of(ErrorCode::Stopping);
    }
    tracing::error!(%error, "a record could not be read while a data subject was looked for");
    ErrorBody::saying(ErrorCode::Internal, "a record could not be read, and it might be theirs: nothing is said")
        .hint("retentionctl store verify")
}

//! The package of a data subject, for [`Works`](super::Works): one ZIP file, encrypted to whoever is to open it.
//!
//! It goes out while it is made: no part of it is ever on a disk of ours, and of a message no more than a part is ever in
//! memory. Its last bytes, without which it cannot be opened, are held back until the log has it that it was handed out.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use retention_core::control::{ErrorBody, ErrorCode, Operation};
use retention_core::event::Event;
use retention_core::event::subject::{MissingText, MissingWhy, SubjectPackageMade};
use retention_core::id::{EntityId, RequestId};
use retention_core::package::{Heading, Kept, MANIFEST, Packaged, PackagedText, TextEvent, files, manifest};
use retention_core::policy::{PolicySet, State};
use retention_core::record::message::MessageKey;
use retention_core::record::{EntityRecord, Kind, Layout};
use retention_core::time::{Timestamp, Zone};
use retention_core::view::Condition;

use self::outlet::{Outlet, Tail};
use self::packing::Packing;
use super::subjects::{append, draft, no_request, note_opened, unreadable};
use super::works::Audience;
use crate::keyholders::Keyholders;
use crate::store::{Store, Subject};

mod outlet;
mod packing;
mod zip_stream;

/// The most that the page, the data and the tables of a package hold, in bytes: a person reads them, and they are in
/// memory. Texts of messages do not count.
const PACKAGE_BYTES_MAX: usize = 48 * 1024 * 1024;

/// Fetches the texts of messages of a mailbox, and tells of each by its number whether it is whole or missing.
pub type Fetch<'a> =
    &'a dyn Fn(EntityId, &[MessageKey], &mut dyn FnMut(TextEvent<'_>) -> ControlFlow<()>) -> ControlFlow<()>;

/// Takes the parts of a package as they are made, and tells whether anybody listens. An empty part says that it begins.
pub type Parts<'a> = &'a mut dyn FnMut(Vec<u8>) -> Audience;

/// A package that somebody asks for.
pub struct PackageWanted<'a> {
    /// Who asks.
    pub uid: u32,
    /// For which request.
    pub request: RequestId,
    /// To whose keys it is encrypted; nobody's: it is plain.
    pub recipients: &'a [String],
    /// The zone in which it tells times.
    pub zone: &'a Zone,
    /// What time it is.
    pub now: Timestamp,
}

/// Makes the package of a request whose records are known, hands it out, and records that.
///
/// # Errors
/// Says why there is none. What was handed out by then cannot be opened, and is not recorded as handed out; that the
/// records were opened is.
pub fn make(store: &Store, wanted: &PackageWanted<'_>, fetch: Fetch<'_>, parts: Parts<'_>) -> Result<(), ErrorBody> {
    let (id, uid) = (wanted.request, wanted.uid);
    let keys = Keyholders::read(wanted.recipients)
        .map_err(|error| ErrorBody::saying(ErrorCode::BadRequest, format!("{error}; nothing was handed out")))?;
    let (heading, records, changed) = store
        .view(|views| {
            let request = views.small.subjects.get(id)?;
            let (kind, received_at, zone) = (request.kind, request.received_at, wanted.zone.clone());
            let heading = Heading { request: id, kind, received_at, made_at: wanted.now, zone };
            Some((heading, views.left_of(request), request.changed))
        })
        .ok_or_else(|| no_request(id))?;
    if records.is_empty() {
        return Err(ErrorBody::saying(ErrorCode::WrongState, format!("{id} is about no record that is there"))
            .hint(format!("retentionctl subject identify {id} says which records are theirs")));
    }
    let opened = open(store, &records)?;
    note_opened(store, uid, Operation::SubjectPackage, opened.len() as u64)?;
    let kept = kept(&store.policies(), &opened);
    // Looked at before anything goes out: an error can be told only then. A text adds its line to each of them.
    let size: usize =
        files(&heading, &packaged(&opened, &BTreeMap::new()), &kept).iter().map(|file| file.bytes.len()).sum();
    if size > PACKAGE_BYTES_MAX {
        let message = format!("the package would hold more than {PACKAGE_BYTES_MAX} bytes; nothing was handed out");
        return Err(ErrorBody::saying(ErrorCode::TooLarge, message).hint("ask for the records in two requests"));
    }
    let by_mailbox = messages(&opened);
    if !by_mailbox.is_empty() && parts(Vec::new()) == Audience::Gone {
        return Err(outlet::nobody_listens());
    }
    let outlet = Outlet::new(Tail::new(parts), &keys).map_err(|error| outlet::said(&error))?;
    let mut packing = Packing::new(outlet, wanted.zone.civil(wanted.now), store.halt());
    let mut texts = packing.texts(&by_mailbox, fetch)?;
    for one in opened.iter().filter(|one| one.layout.kind == Kind::Message) {
        // Nobody knows where it lies, or nobody told what became of it.
        let why = if one.key().is_some() { MissingWhy::NotReached } else { MissingWhy::NotRegistered };
        texts.entry(one.subject.entity).or_insert(PackagedText::Missing(why));
    }
    for file in files(&heading, &packaged(&opened, &texts), &kept) {
        packing.file(file.name, &file.bytes)?;
    }
    let missing: Vec<(EntityId, MissingWhy)> = texts
        .iter()
        .filter_map(|(entity, text)| match text {
            PackagedText::Missing(why) => Some((*entity, *why)),
            PackagedText::Whole { .. } => None,
        })
        .collect();
    let list = manifest(&heading, packing.files(), &missing);
    packing.file(MANIFEST.to_owned(), &list)?;
    let tail = packing.finish()?;
    let made = Event::SubjectPackageMade(SubjectPackageMade {
        request: id,
        records: opened.len() as u64,
        digest: tail.digest(),
        bytes: tail.bytes(),
        recipients: u32::try_from(keys.len()).unwrap_or(u32::MAX),
        texts: (texts.len() - missing.len()) as u64,
        missing: missing.into_iter().map(|(record, why)| MissingText { record, why }).collect(),
    });
    // Whoever said meanwhile which records are theirs is owed a package of those.
    append(store, draft(uid, Some(id), made), Condition::RequestUnchanged(id, changed))?;
    tail.release();
    Ok(())
}

fn packaged<'a>(opened: &'a [Opened], texts: &'a BTreeMap<EntityId, PackagedText>) -> Vec<Packaged<'a>> {
    let one = |one: &'a Opened| Packaged {
        entity: one.subject.entity,
        layout: &one.layout,
        record: &one.record,
        first_seen: one.subject.row.first_seen,
        restricted: one.restricted,
        text: texts.get(&one.subject.entity),
    };
    opened.iter().map(one).collect()
}

/// The messages of each mailbox, with where they are.
type ByMailbox = BTreeMap<EntityId, (Vec<EntityId>, Vec<MessageKey>)>;

fn messages(opened: &[Opened]) -> ByMailbox {
    let mut all = ByMailbox::new();
    for one in opened {
        if let (Some(mailbox), Some(key)) = (one.subject.row.mailbox, one.key()) {
            let (entities, keys) = all.entry(mailbox).or_default();
            entities.push(one.subject.entity);
            keys.push(key);
        }
    }
    all
}

/// A record that was opened. Personal data: it has no `Debug`.
struct Opened {
    subject: Subject,
    layout: Layout,
    record: EntityRecord,
    restricted: bool,
}

impl Opened {
    /// Where a message is on its server; `None` of anything else, and of a message that no server told of.
    fn key(&self) -> Option<MessageKey> {
        let is_told = self.layout.kind == Kind::Message && self.subject.row.mailbox.is_some();
        is_told.then(|| MessageKey::parse(&self.record.external_id)).flatten()
    }
}

fn open(store: &Store, records: &[EntityId]) -> Result<Vec<Opened>, ErrorBody> {
    let subjects = store.subjects(records);
    let mut opened = Vec::with_capacity(subjects.len());
    let pieces = store.pieces(&subjects, |subject| subject.row.version, subjects.len());
    for piece in pieces.map_err(unreadable)? {
        for (subject, record) in piece.items.iter().zip(store.records_of(&piece).map_err(unreadable)?) {
            let Some(record) = record else { continue };
            let seen = store.view(|views| {
                let layout = views.small.layouts.get(record.layout)?.clone();
                Some((layout, views.small.restrictions.keeps(subject.entity)))
            });
            let Some((layout, restricted)) = seen else { continue };
            opened.push(Opened { subject: subject.clone(), layout, record, restricted });
        }
    }
    Ok(opened)
}

/// Returns the enforced policies about the kinds in a package.
fn kept(policies: &PolicySet, opened: &[Opened]) -> Vec<Kept> {
    let enforced = policies.policies().iter().filter(|policy| policy.state == State::Enforce);
    let about = enforced.filter_map(|policy| {
        let is_meant = |kind: &Kind| {
            let of_kind = opened.iter().filter(|one| one.layout.kind == *kind);
            let sources = &policy.scope.sources;
            of_kind.into_iter().any(|one| sources.is_empty() || sources.contains(&one.layout.source))
        };
        let kinds: Vec<Kind> = policy.scope.kinds.iter().copied().filter(is_meant).collect();
        (!kinds.is_empty()).then(|| Kept {
            title: policy.title.clone(),
            legal_basis: policy.legal_basis.clone(),
            period: policy.period_in_words(),
            kinds,
        })
    });
    about.collect()
}

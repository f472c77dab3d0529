//! The package of a data subject, for [`Works`](super::Works): one ZIP file, encrypted to whoever is to open it. It is
//! made in memory and handed out: no part of it is ever on a disk of ours.

use std::io::{Cursor, Write as _};

use retention_core::control::{ErrorBody, ErrorCode, Operation};
use retention_core::event::Event;
use retention_core::event::subject::SubjectPackageMade;
use retention_core::id::{Digest, EntityId, RequestId};
use retention_core::package::{Heading, Kept, PackageFile, Packaged, files};
use retention_core::policy::{PolicySet, State};
use retention_core::record::{EntityRecord, Kind, Layout};
use retention_core::time::{Timestamp, Zone};
use retention_core::view::Condition;
use zip::write::SimpleFileOptions;

use super::subjects::{append, draft, no_request, note_opened, unreadable};
use crate::keyholders::Keyholders;
use crate::store::{Store, Subject};

/// The largest package, in bytes, before it is encrypted: a person reads it, and it is in memory.
const PACKAGE_BYTES_MAX: usize = 48 * 1024 * 1024;

/// Makes the package of a request whose records are known, and records that it was handed out.
///
/// # Errors
/// Says why there is none; nothing is handed out then.
pub fn make(
    store: &Store,
    uid: u32,
    id: RequestId,
    recipients: &[String],
    zone: &Zone,
    now: Timestamp,
) -> Result<Vec<u8>, ErrorBody> {
    let keys = Keyholders::read(recipients)
        .map_err(|error| ErrorBody::saying(ErrorCode::BadRequest, format!("{error}; nothing was handed out")))?;
    let (heading, records) = store
        .view(|views| {
            let request = views.small.subjects.get(id)?;
            let (kind, received_at, zone) = (request.kind, request.received_at, zone.clone());
            Some((Heading { request: id, kind, received_at, made_at: now, zone }, views.left_of(request)))
        })
        .ok_or_else(|| no_request(id))?;
    if records.is_empty() {
        return Err(ErrorBody::saying(ErrorCode::WrongState, format!("{id} is about no record that is there"))
            .hint(format!("retentionctl subject identify {id} says which records are theirs")));
    }
    let opened = open(store, &records)?;
    note_opened(store, uid, Operation::SubjectPackage, opened.len() as u64)?;
    let kept = kept(&store.policies(), &opened);
    let packaged: Vec<Packaged<'_>> = opened
        .iter()
        .map(|one| Packaged {
            entity: one.subject.entity,
            layout: &one.layout,
            record: &one.record,
            first_seen: one.subject.row.first_seen,
            restricted: one.restricted,
        })
        .collect();
    let zipped = zipped(&files(&heading, &packaged, &kept))?;
    let bytes = if keys.is_empty() {
        zipped
    } else {
        encrypted(&zipped, &keys).map_err(|_| {
            ErrorBody::saying(ErrorCode::Internal, "the package could not be encrypted; nothing was handed out")
        })?
    };
    let made = Event::SubjectPackageMade(SubjectPackageMade {
        request: id,
        records: opened.len() as u64,
        digest: Digest::of(&bytes),
        bytes: bytes.len() as u64,
        recipients: u32::try_from(keys.len()).unwrap_or(u32::MAX),
    });
    append(store, draft(uid, Some(id), made), Condition::RequestOpen(id))?;
    Ok(bytes)
}

/// A record that was opened. Personal data: it has no `Debug`.
struct Opened {
    subject: Subject,
    layout: Layout,
    record: EntityRecord,
    restricted: bool,
}

fn open(store: &Store, records: &[EntityId]) -> Result<Vec<Opened>, ErrorBody> {
    let subjects = store.subjects(records);
    let mut opened = Vec::with_capacity(subjects.len());
    let pieces = store.pieces(&subjects, |subject| subject.row.version, subjects.len());
    for piece in pieces.map_err(unreadable)? {
        let versions: Vec<_> = piece.items.iter().map(|subject| subject.row.version).collect();
        for (subject, record) in piece.items.iter().zip(store.records_at(&versions).map_err(unreadable)?) {
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

fn zipped(files: &[PackageFile]) -> Result<Vec<u8>, ErrorBody> {
    let size: usize = files.iter().map(|file| file.bytes.len()).sum();
    if size > PACKAGE_BYTES_MAX {
        let message = format!("the package would hold more than {PACKAGE_BYTES_MAX} bytes; nothing was handed out");
        return Err(ErrorBody::saying(ErrorCode::TooLarge, message).hint("ask for the records in two requests"));
    }
    let failed = |_| ErrorBody::saying(ErrorCode::Internal, "the package could not be made; nothing was handed out");
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::with_capacity(size / 2)));
    for file in files {
        archive.start_file(&file.name, SimpleFileOptions::default()).map_err(failed)?;
        archive.write_all(&file.bytes).map_err(|error| failed(error.into()))?;
    }
    archive.finish().map(Cursor::into_inner).map_err(failed)
}

fn encrypted(plain: &[u8], keys: &Keyholders) -> std::io::Result<Vec<u8>> {
    let mut writer = keys.encrypt(Vec::with_capacity(plain.len() + 4_096))?;
    writer.write_all(plain)?;
    writer.finish()
}

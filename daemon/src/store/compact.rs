//! Compaction: what was erased leaves the disk. The journal is written anew without the ciphertext whose key is
//! destroyed, sled is made again from it, and the wrapping keys are rotated. What people wrote stays as ciphertext
//! beside its facts: a body goes as a whole or not at all, and the facts are under the house key.
//!
//! A frame whose body is removed keeps its envelope, which holds the body's SHA-256: so no position, hash or proof
//! changes.
//!
//! **Order, for a store that nobody has open:** sled is set aside, since it names places in the journal → each segment
//! in turn is written beside the old one, compared with it, and put in its place; the old one is overwritten and
//! removed → the keys are rotated → sled is made again. A crash anywhere leaves every segment whole, old or new, and
//! the next opening makes sled again.

use std::path::Path;

use retention_core::event::operation::StoreCompacted;
use retention_core::event::{Envelope, Event, EventType, Sealing};
use retention_core::id::{EntityId, Position};
use roaring::RoaringBitmap;

use super::durable_file::{self, DurableFileError, FileAction};
use super::journal::frame::{Frame, GroupBuffer};
use super::journal::{Damage, HEADER_BYTES, JournalError, JournalReader, recover, segment_path};
use super::open::{Lock, PROGRESS_EVERY, daemon_draft};
use super::vault::{KeyState, RootKey, Vault, rotate};
use super::{OpenError, Options, Progress, ReadError, Store, sled_door};

const ROLE: &str = "segment of the journal";

/// Keys that are looked up together.
const KEYS_TOGETHER: usize = 10_000;

/// What a compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Segments that were written anew.
    pub segments: u64,
    /// Bodies that were removed.
    pub bodies: u64,
    /// How much smaller the journal is, in bytes.
    pub bytes: u64,
}

impl Store {
    /// Compacts a store that nobody has open, and opens it. Progress is in events, segments and slots, as it comes to
    /// them.
    ///
    /// # Errors
    /// When the journal is damaged: nothing was changed then; or when a file cannot be written: what was not reached is
    /// as it was.
    pub fn compact(options: &Options, progress: Progress<'_>) -> Result<(Self, CompactReport), OpenError> {
        let lock = Lock::of_existing(&options.dir)?;
        let journal = options.dir.join("journal");
        let tail = recover::find_tail(&journal)?;
        if tail.torn_bytes > 0 {
            recover::cut(&journal, &tail)?;
        }
        let (named, used) = named(options, &journal, tail.last, progress)?;
        let gone = gone(options, &named, used, progress)?;
        let report = rewrite(options, &journal, tail.end.segment, &gone, progress)?;
        let destroyed: RoaringBitmap = named.iter().map(|entity| entity.0).collect();
        rotate::rotate(options, used, &destroyed, progress)?;
        let store = Self::open_locked(options, lock, None, progress)?;
        let event = Event::StoreCompacted(StoreCompacted {
            segments: report.segments,
            bodies: report.bodies,
            bytes: report.bytes,
        });
        store.append_drafts(vec![daemon_draft(event)], retention_core::view::Condition::None)?;
        store.write_out(1)?;
        sled_door::discard_set_aside(&options.dir.join("events"))?;
        Ok((store, report))
    }
}

/// Returns the entities whose key the log calls destroyed, and one more than the highest number.
pub(super) fn named(
    options: &Options,
    journal: &Path,
    last: Position,
    progress: Progress<'_>,
) -> Result<(Vec<EntityId>, u32), OpenError> {
    let reader = JournalReader::at(journal);
    let mut named: Vec<EntityId> = Vec::new();
    let mut used = 1;
    for entry in reader.events_after(Position::NONE, last)? {
        options.halt.check().map_err(ReadError::from)?;
        let envelope = entry?.1.envelope;
        if envelope.position.0.is_multiple_of(PROGRESS_EVERY) {
            progress(envelope.position.0, last.0);
        }
        if let Some(entity) = envelope.entity {
            used = used.max(entity.0.saturating_add(1));
            if EventType::is_destruction(envelope.event_type) {
                named.push(entity);
            }
        }
    }
    Ok((named, used))
}

/// Returns those of the entities that have a tombstone in their slot, as the log calls all of their keys destroyed.
fn gone(options: &Options, named: &[EntityId], used: u32, progress: Progress<'_>) -> Result<RoaringBitmap, OpenError> {
    let vault = Vault::open_read_only(&options.dir.join("keys"), RootKey::read(&options.root_key)?, used)?;
    let mut gone = RoaringBitmap::new();
    for (part, number) in named.chunks(KEYS_TOGETHER).zip(1..) {
        options.halt.check().map_err(ReadError::from)?;
        progress(number, named.len().div_ceil(KEYS_TOGETHER) as u64);
        let states = vault.keys_of(part)?;
        gone.extend(part.iter().zip(states).filter(|(_, state)| *state == KeyState::Destroyed).map(|(e, _)| e.0));
    }
    Ok(gone)
}

/// Says whether nobody can open a body any more: it was sealed with the key of its entity, and that key is destroyed.
fn is_gone(envelope: &Envelope, gone: &RoaringBitmap) -> bool {
    let by_entity = EventType::from_number(envelope.event_type).is_some_and(|kind| kind.sealing() == Sealing::Entity);
    envelope.sealed && by_entity && envelope.entity.is_some_and(|entity| gone.contains(entity.0))
}

fn rewrite(
    options: &Options,
    journal: &Path,
    last: u32,
    gone: &RoaringBitmap,
    progress: Progress<'_>,
) -> Result<CompactReport, OpenError> {
    let mut report = CompactReport::default();
    for segment in 1..=last {
        options.halt.check().map_err(ReadError::from)?;
        progress(u64::from(segment), u64::from(last));
        let path = segment_path(journal, segment);
        let old = std::fs::read(&path).map_err(JournalError::io("read", segment))?;
        let Some((new, bodies)) = without(&old, segment, gone)? else { continue };
        if report.segments == 0 {
            let events = options.dir.join("events");
            if events.exists() {
                sled_door::set_aside(&events)?;
            }
        }
        put_in_place(journal, &path, &new)?;
        report.segments += 1;
        report.bodies += bodies;
        report.bytes += (old.len() - new.len()) as u64;
    }
    Ok(report)
}

/// Returns a segment without the bodies that nobody can open, and how many they were; `None` when it has none of them.
fn without(old: &[u8], segment: u32, gone: &RoaringBitmap) -> Result<Option<(Vec<u8>, u64)>, JournalError> {
    let header = usize::try_from(HEADER_BYTES).unwrap_or(0);
    let mut new = old.get(..header).unwrap_or_default().to_vec();
    let (mut at, mut bodies) = (header, 0);
    while at < old.len() {
        let damaged = |at: usize| JournalError::damaged(segment, at as u64, Damage::Frame);
        let frame = old.get(at..).and_then(Frame::parse).ok_or_else(|| damaged(at))?;
        let group = frame.group().ok_or_else(|| damaged(at))?;
        at += frame.length();
        let mut buffer = GroupBuffer::begin(group.first);
        for _ in 0..group.count {
            let frame = old.get(at..).and_then(Frame::parse).ok_or_else(|| damaged(at))?;
            let (envelope, body) = frame.parts().ok_or_else(|| damaged(at))?;
            match body {
                Some(_) if is_gone(&envelope, gone) => {
                    bodies += 1;
                    buffer.push_removed(&envelope);
                }
                Some(body) => drop(buffer.push(&envelope, body)),
                None => buffer.push_removed(&envelope),
            }
            at += frame.length();
        }
        buffer.finish();
        new.extend_from_slice(buffer.bytes());
    }
    if bodies == 0 {
        return Ok(None);
    }
    check_same(old, &new, segment, gone)?;
    Ok(Some((new, bodies)))
}

/// Reads both once more: every event is there, in its order, and every body that can be opened.
fn check_same(old: &[u8], new: &[u8], segment: u32, gone: &RoaringBitmap) -> Result<(), JournalError> {
    let header = usize::try_from(HEADER_BYTES).unwrap_or(0);
    let mut events = [old, new].map(|bytes| Events { rest: bytes.get(header..).unwrap_or_default() });
    loop {
        let [old, new] = &mut events;
        match (old.next(), new.next()) {
            (None, None) => return Ok(()),
            (Some((envelope, body)), Some((same, kept)))
                if envelope == same && (kept == body || (kept.is_none() && is_gone(&envelope, gone))) => {}
            _ => return Err(JournalError::damaged(segment, 0, Damage::Body)),
        }
    }
}

struct Events<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Events<'a> {
    type Item = (Envelope, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let frame = Frame::parse(self.rest)?;
            self.rest = self.rest.get(frame.length()..)?;
            if frame.group().is_none() {
                return frame.parts();
            }
        }
    }
}

fn failed(action: FileAction) -> impl FnOnce(std::io::Error) -> DurableFileError {
    durable_file::failed(ROLE, action)
}

/// Puts the new bytes in the place of a segment, and overwrites the old ones.
fn put_in_place(journal: &Path, path: &Path, bytes: &[u8]) -> Result<(), DurableFileError> {
    let (new, old) = (durable_file::beside(path, ".new"), durable_file::beside(path, ".old"));
    durable_file::create_new(&new, bytes, ROLE)?;
    std::fs::hard_link(path, &old).map_err(failed(FileAction::Create))?;
    std::fs::rename(&new, path).map_err(failed(FileAction::Rename))?;
    durable_file::fsync_dir(journal, ROLE)?;
    durable_file::discard(&old, ROLE)?;
    durable_file::fsync_dir(journal, ROLE)
}

/// Overwrites and removes what a crash left beside the segments. A link to a segment that is still in place is only
/// removed.
pub(super) fn mend(store: &Path) -> Result<(), DurableFileError> {
    use std::os::unix::fs::MetadataExt as _;
    let journal = store.join("journal");
    // A journal that is missing is damage, which is named elsewhere.
    let Ok(entries) = std::fs::read_dir(&journal) else { return Ok(()) };
    for entry in entries {
        let path = entry.map_err(failed(FileAction::Read))?.path();
        let is_leftover = path.extension().is_some_and(|ending| ending == "new" || ending == "old");
        if !is_leftover {
            continue;
        }
        if std::fs::metadata(&path).map_err(failed(FileAction::Read))?.nlink() > 1 {
            std::fs::remove_file(&path).map_err(failed(FileAction::Remove))?;
        } else {
            durable_file::discard(&path, ROLE)?;
        }
        durable_file::fsync_dir(&journal, ROLE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

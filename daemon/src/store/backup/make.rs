//! Making a backup while everything goes on.
//!
//! **Order**, so that log and keys fit: while no key can be destroyed, the end of the log is noted and the keys are
//! copied. So every key that an event up to there needs is in the copy, and whatever is destroyed in it was meant to
//! be, as the log says. The log is copied after that, up to exactly the noted end; the manifest is written last. What
//! an attempt left that did not get so far is no backup, and goes with the next one.

use std::collections::BTreeSet;
use std::path::Path;

use retention_core::event::envelope::ENVELOPE_BYTES;
use retention_core::id::{Digest, Position};
use retention_core::time::Timestamp;

use super::manifest::{
    COSIGNATURES, ENCRYPTED, Encrypted, Manifest, Part, is_key_file, later_cosignatures_name, later_segment_name,
    segment_name,
};
use super::stamp::{self, Stamp};
use super::{Around, BackupError, Places, copy, digest_of, encrypt};
use crate::flush::{Door, Flush, OpenGate};
use crate::keyholders::Keyholders;
use crate::store::durable_file::{self, FileAction};
use crate::store::journal::frame::FRAME_HEADER_BYTES;
use crate::store::journal::{Place, segment_path};
use crate::store::tree::{Cosignatures, Tree};
use crate::store::vault::seal::IndexKey;
use crate::store::{Progress, ReadError, Store};

/// The key that signs checkpoints, in a copy of the keys.
pub(super) const SIGNING_KEY: &str = "signing.key";

const DIR: &str = "directory of the backup";
const KEYS_DIR: &str = "directory of the copies of the keys";

/// Where backups that are over are removed no gate is asked.
const OPEN: Door<'static> = (&OpenGate, Flush::Backup);

impl Store {
    /// Makes a backup and reads it back; its segments and keys are encrypted to `holders`, if there are any. Progress is
    /// in bytes. One at a time: the caller sees to that.
    ///
    /// # Errors
    /// When anything cannot be read, written or read back; the backups that were there before are as they were.
    pub fn backup(
        &self,
        places: &Places,
        keys_until: Timestamp,
        holders: &Keyholders,
        tree: Option<&Tree>,
        progress: Progress<'_>,
    ) -> Result<(Manifest, Digest), BackupError> {
        if let Some(damage) = self.read_only_reason() {
            return Err(BackupError::Damaged(damage));
        }
        let door = self.around().door();
        refuse_half(places)?;
        for (dir, role) in [(&places.log, DIR), (&places.keys, KEYS_DIR)] {
            durable_file::create_private_dir_through(door, dir, role)?;
        }
        for dir in [places.manifests(), places.journal(), places.log.join("tree")] {
            durable_file::create_private_dir_through(door, &dir, DIR)?;
        }
        let (earlier, stamp) = self.earlier(places)?.unzip();
        remove_strays(places, door)?;
        // One of the very events that there are now was never told of: that would be an event more. Its keys are copied
        // anew, so from here on there is no such backup until it is whole again.
        if let Some(unfinished) = earlier.as_ref().filter(|earlier| earlier.last == self.view(|views| views.position)) {
            unfinished.remove(places, door)?;
        }
        // Looked at before the end of the log is noted: each of them is over events that the backup has.
        let cosigned = tree.and_then(|tree| tree.cosignatures().ok()).map_or(0, Cosignatures::end);
        let (mut manifest, end) = {
            let _nothing_is_destroyed = self.inner.vault.hold_destruction();
            let (mut manifest, end) = self.moment()?;
            manifest.keys = self.copy_keys(places, manifest.last, holders)?;
            (manifest, end)
        };
        manifest.keys_until = keys_until;
        self.copy_journal(places, earlier.as_ref().zip(stamp), &mut manifest, end, holders, progress)?;
        if let Some(tree) = tree {
            let bytes = tree.checkpoints_end(manifest.last.0)?;
            let sha256 =
                copy(&self.dir().join("tree/checkpoints"), &places.checkpoints(), bytes, self.around(), &mut |_| {})?;
            manifest.checkpoints = Some(Part { name: "checkpoints".to_owned(), bytes, sha256, encrypted: None });
        }
        if cosigned > 0 {
            manifest.cosignatures = Some(self.copy_cosignatures(places, earlier.as_ref(), manifest.last, cosigned)?);
        }
        let digest = manifest.write(places, &self.index_key(), door)?;
        Ok((manifest, digest))
    }

    /// Overwrites and removes the copies of keys whose time is over, if the backups are of this log. Returns the backups that
    /// they belonged to. Not while a backup is being made.
    ///
    /// # Errors
    /// When one cannot be removed; it is tried again.
    pub fn remove_ended_keys(
        &self,
        places: &Places,
        now: Timestamp,
        last: LastCopy,
    ) -> Result<Vec<Position>, BackupError> {
        match self.earlier(places) {
            Ok(Some(_)) => remove_ended_keys(places, &self.index_key(), now, last),
            // What somebody may want to restore is not for this store to remove.
            Ok(None) | Err(BackupError::OtherLog) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn around(&self) -> Around<'_> {
        Around { halt: self.halt(), gate: self.gate().as_ref() }
    }

    fn copy_cosignatures(
        &self,
        places: &Places,
        earlier: Option<&Manifest>,
        last: Position,
        bytes: u64,
    ) -> Result<Part, BackupError> {
        let from = self.dir().join("tree/cosignatures");
        let name = match earlier.and_then(|earlier| earlier.cosignatures.as_ref()) {
            Some(part) if part.bytes <= bytes && digest_of(&from, part.bytes, self.halt())? == part.sha256 => {
                part.name.clone()
            }
            None if !places.cosignatures(COSIGNATURES).exists() => COSIGNATURES.to_owned(),
            // The file was begun anew: the earlier backups keep their copy.
            Some(_) | None => later_cosignatures_name(last),
        };
        let sha256 = copy(&from, &places.cosignatures(&name), bytes, self.around(), &mut |_| {})?;
        Ok(Part { name, bytes, sha256, encrypted: None })
    }

    /// Returns the newest backup that is there, if it is one of this log, and whether this store wrote its manifest.
    fn earlier(&self, places: &Places) -> Result<Option<(Manifest, Stamp)>, BackupError> {
        let Some(last) = Manifest::list(places)?.pop() else { return Ok(None) };
        let earlier = Manifest::read(places, last)?;
        let envelope = self.envelope(last)?.map(|envelope| Digest::of(&envelope.to_bytes()));
        if earlier.store != self.name() || envelope != Some(earlier.envelope) {
            return Err(BackupError::OtherLog);
        }
        match Manifest::stamped(places, last, &self.index_key()) {
            Ok(stamped) => Ok(Some(stamped)),
            // An older program may have made it. Nothing that it says is taken over unseen.
            Err(error @ BackupError::Unstamped { .. }) => {
                tracing::warn!(%error, "the next backup does not rest on this one");
                Ok(Some((earlier, Stamp::Missing)))
            }
            Err(error) => Err(error),
        }
    }

    fn name(&self) -> String {
        hex::encode(self.view(|views| views.small.store))
    }

    /// Returns the manifest of the log as it is now, and where its last event ends.
    fn moment(&self) -> Result<(Manifest, Place), BackupError> {
        let last = self.view(|views| views.position);
        let (row, envelope) = match (self.row(last)?, self.envelope(last)?) {
            (Some(row), Some(envelope)) => (row, envelope),
            _ => return Err(ReadError::from(crate::store::journal::JournalError::Poisoned).into()),
        };
        let frame = FRAME_HEADER_BYTES + ENVELOPE_BYTES + envelope.body_len as usize;
        let offset = row.place.offset.saturating_add(u32::try_from(frame).unwrap_or(u32::MAX));
        let envelope = Digest::of(&envelope.to_bytes());
        let manifest = Manifest::of(self.name(), self.inner.clock.now(), last, envelope);
        Ok((manifest, Place { segment: row.place.segment, offset }))
    }

    fn copy_keys(&self, places: &Places, last: Position, holders: &Keyholders) -> Result<Vec<Part>, BackupError> {
        let (into, door) = (places.keys_of(last), self.around().door());
        durable_file::discard_dir_through(door, &into, KEYS_DIR)?;
        durable_file::create_private_dir_through(door, &into, KEYS_DIR)?;
        let keys = self.dir().join("keys");
        let failed = || durable_file::failed("directory of keys", FileAction::Read);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&keys).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name();
            names.extend(name.to_str().filter(|name| is_key_file(name)).map(str::to_owned));
        }
        // A segment's wrapping key is kept before its file is made: so the files come first.
        names.sort_unstable();
        let mut parts = Vec::new();
        for name in names {
            let from = keys.join(&name);
            let bytes = std::fs::metadata(&from).map_err(failed())?.len();
            parts.push(part(name, bytes, &from, &into, holders, self.around(), &mut |_| {})?);
        }
        let signing = self.dir().join("tree").join(SIGNING_KEY);
        if let Ok(meta) = std::fs::metadata(&signing) {
            let name = SIGNING_KEY.to_owned();
            parts.push(part(name, meta.len(), &signing, &into, holders, self.around(), &mut |_| {})?);
        }
        Ok(parts)
    }

    fn copy_journal(
        &self,
        places: &Places,
        earlier: Option<(&Manifest, Stamp)>,
        manifest: &mut Manifest,
        end: Place,
        holders: &Keyholders,
        progress: Progress<'_>,
    ) -> Result<(), BackupError> {
        let journal = self.dir().join("journal");
        let mut wanted = Vec::new();
        for segment in 1..=end.segment {
            let path = segment_path(&journal, segment);
            let bytes = if segment == end.segment {
                u64::from(end.offset)
            } else {
                std::fs::metadata(&path)
                    .map_err(durable_file::failed("segment of the journal", FileAction::Read))?
                    .len()
            };
            wanted.push((segment, path, bytes));
        }
        let total = wanted.iter().map(|(_, _, bytes)| bytes).sum();
        let mut done = 0;
        for (segment, from, bytes) in wanted {
            self.halt().check().map_err(ReadError::from)?;
            let earlier = earlier.and_then(|(earlier, stamp)| {
                let part = earlier.journal.get(segment as usize - 1)?;
                Some((part, (segment as usize) < earlier.journal.len(), stamp))
            });
            let (name, kept) = match earlier {
                None => (segment_name(segment), None),
                // Whoever is to read it has changed.
                Some((part, _, _)) if part.encrypted.map(|encrypted| encrypted.to) != holders.digest() => {
                    (later_segment_name(segment, manifest.last), None)
                }
                // Closed then: it changes only by a compaction, which makes it smaller. What nobody knows who wrote is believed
                // of no digest, or the stamp of this backup would stand under it.
                Some((part, true, stamp))
                    if part.bytes == bytes
                        && (stamp == Stamp::Good || digest_of(&from, bytes, self.halt())? == part.sha256) =>
                {
                    let to = places.journal().join(part.file_name());
                    let is_there = std::fs::metadata(&to).is_ok_and(|meta| meta.len() == part.lies_there().0);
                    (part.name.clone(), is_there.then(|| part.clone()))
                }
                // The last one then: it goes on, unless it was written anew. What is encrypted cannot go on: the earlier
                // backup keeps its copy.
                Some((part, false, _))
                    if part.encrypted.is_none()
                        && part.bytes <= bytes
                        && digest_of(&from, part.bytes, self.halt())? == part.sha256 =>
                {
                    (part.name.clone(), None)
                }
                Some(_) => (later_segment_name(segment, manifest.last), None),
            };
            let part = match kept {
                Some(part) => {
                    done += bytes;
                    part
                }
                None => part(name, bytes, &from, &places.journal(), holders, self.around(), &mut |more| {
                    done += more;
                    progress(done, total);
                })?,
            };
            manifest.journal.push(part);
        }
        progress(total, total);
        Ok(())
    }
}

/// Copies a file into a directory of the backup, encrypted when it is to somebody.
fn part(
    name: String,
    bytes: u64,
    from: &Path,
    into: &Path,
    holders: &Keyholders,
    around: Around<'_>,
    done: &mut dyn FnMut(u64),
) -> Result<Part, BackupError> {
    let Some(to) = holders.digest() else {
        let sha256 = copy(from, &into.join(&name), bytes, around, done)?;
        return Ok(Part { name, bytes, sha256, encrypted: None });
    };
    let written = encrypt(from, &into.join(format!("{name}{ENCRYPTED}")), bytes, holders, around, done)?;
    let (sha256, (encrypted_bytes, encrypted_sha256)) = written;
    let encrypted = Encrypted { bytes: encrypted_bytes, sha256: encrypted_sha256, to };
    Ok(Part { name, bytes, sha256, encrypted: Some(encrypted) })
}

/// What becomes of the last copy of keys that any backup has, once its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastCopy {
    /// It is removed as any other.
    Goes,
    /// It stays: no other can be made now, and without it no backup could be brought back.
    Stays,
}

/// Overwrites and removes the copies of keys whose time is over, and those that a crash left without a manifest.
/// Returns the backups that they belonged to. Not while a backup is being made.
///
/// Those of a backup whose manifest is not the one that the store with this index key wrote stay: see [`refuse_forged`].
///
/// # Errors
/// When one cannot be removed; it is tried again.
pub fn remove_ended_keys(
    places: &Places,
    key: &IndexKey,
    now: Timestamp,
    last: LastCopy,
) -> Result<Vec<Position>, BackupError> {
    let mut ended = Vec::new();
    // The disk of the one or the other is not mounted: nobody can tell what belongs to which backup.
    if !places.keys.is_dir() || !places.manifests().is_dir() {
        return Ok(ended);
    }
    let mut stays = None;
    for copy in copied_keys(places)? {
        let is_over = match Manifest::unless_forged(places, copy, key) {
            Ok(manifest) => {
                stays = Some(copy);
                manifest.keys_until < now
            }
            Err(BackupError::Absent) => true,
            Err(BackupError::Forged { .. }) => false,
            Err(error) => return Err(error),
        };
        if is_over {
            ended.push(copy);
        }
    }
    if last == LastCopy::Stays {
        ended.retain(|copy| Some(*copy) != stays);
    }
    ended.iter().try_for_each(|copy| durable_file::discard_dir(&places.keys_of(*copy), KEYS_DIR))?;
    Ok(ended)
}

/// Says whether there is a backup whose manifest is not the one that the store with this index key wrote. Its copy of the
/// keys is kept for longer than anybody wanted, since nobody knows until when.
///
/// # Errors
/// Names the first, and says when one cannot be read.
pub fn refuse_forged(places: &Places, key: &IndexKey) -> Result<(), BackupError> {
    Manifest::list(places)?.into_iter().try_for_each(|last| Manifest::unless_forged(places, last, key).map(drop))
}

/// Refuses to begin anew on one side while the other has what came before: then its disk is not mounted. Copies of keys would
/// count as strays, and those that are made meanwhile would lie where nobody ever removes them.
fn refuse_half(places: &Places) -> Result<(), BackupError> {
    let has_keys_dir = places.keys.is_dir();
    // The directory of manifests is made before any key is copied.
    if has_keys_dir && !places.manifests().is_dir() && !copied_keys(places)?.is_empty() {
        return Err(BackupError::LogGone);
    }
    if !has_keys_dir && !Manifest::list(places)?.is_empty() {
        return Err(BackupError::KeysDirGone);
    }
    Ok(())
}

/// Removes what attempts left that did not end, killed or failed: copies of keys and segments that belong to no backup.
/// Not while a backup is being made.
fn remove_strays(places: &Places, door: Door<'_>) -> Result<(), BackupError> {
    let mut wanted = BTreeSet::new();
    let backups = Manifest::list(places)?;
    for last in &backups {
        wanted.extend(Manifest::read(places, *last)?.journal.iter().map(Part::file_name));
    }
    for last in copied_keys(places)?.into_iter().filter(|last| !backups.contains(last)) {
        durable_file::discard_dir_through(door, &places.keys_of(last), KEYS_DIR)?;
    }
    stamp::remove_strays(places, &backups)?;
    remove_segments_but(places, &wanted, door)
}

/// Returns the backups whose keys lie in the directory of copies, ascending. Anything else in there is not ours.
fn copied_keys(places: &Places) -> Result<Vec<Position>, BackupError> {
    let failed = || durable_file::failed(KEYS_DIR, FileAction::Read);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&places.keys).map_err(failed())? {
        let name = entry.map_err(failed())?.file_name();
        let last = name.to_str().and_then(|name| name.parse().ok()).map(Position);
        found.extend(last.filter(|last| places.keys_of(*last) == places.keys.join(&name)));
    }
    found.sort_unstable();
    Ok(found)
}

/// Removes the backups of which the time of the keys is over and the log lies in other files since, because it was
/// compacted or is encrypted, and the segments that no backup has any more. Not while a backup is being made.
///
/// # Errors
/// When one cannot be removed; it is tried again with the next backup.
pub fn remove_superseded(places: &Places, now: Timestamp) -> Result<(), BackupError> {
    let mut manifests = Vec::new();
    for last in Manifest::list(places)? {
        manifests.push(Manifest::read(places, last)?);
    }
    let Some(newest) = manifests.pop() else { return Ok(()) };
    let mut wanted: BTreeSet<String> = newest.journal.iter().map(Part::file_name).collect();
    for manifest in &manifests {
        let is_superseded =
            newest.journal.iter().zip(&manifest.journal).any(|(newest, older)| newest.file_name() != older.file_name());
        // Keys that are not in this directory may lie in another one until their time is over.
        if is_superseded && !manifest.has_keys(places) && manifest.keys_until < now {
            manifest.remove(places, OPEN)?;
        } else {
            wanted.extend(manifest.journal.iter().map(Part::file_name));
        }
    }
    remove_segments_but(places, &wanted, OPEN)
}

fn remove_segments_but(places: &Places, wanted: &BTreeSet<String>, door: Door<'_>) -> Result<(), BackupError> {
    let failed = |action| durable_file::failed("segment of the backup", action);
    let mut is_changed = false;
    for entry in std::fs::read_dir(places.journal()).map_err(failed(FileAction::Read))? {
        let name = entry.map_err(failed(FileAction::Read))?.file_name();
        // Also one that was being written: under its name nobody may ever write again.
        let is_segment = |name: &str| {
            let name = name.strip_suffix(".tmp").unwrap_or(name);
            name.strip_suffix(ENCRYPTED).unwrap_or(name).ends_with(".seg")
        };
        if name.to_str().is_some_and(|name| is_segment(name) && !wanted.contains(name)) {
            std::fs::remove_file(places.journal().join(&name)).map_err(failed(FileAction::Remove))?;
            is_changed = true;
        }
    }
    if is_changed {
        durable_file::fsync_dir_through(door, &places.journal(), DIR)?;
    }
    Ok(())
}

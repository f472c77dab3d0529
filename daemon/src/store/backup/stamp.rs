//! The stamp of a manifest: a keyed digest that only this store can make.
//!
//! A manifest says which bytes a backup has. Whoever can write one as they like has another log restored, in which
//! somebody was never held or was erased long ago, and the restored store then signs it. So each manifest has a digest
//! under the index key of the store, which the root key alone opens, and which no change of keys replaces.
//!
//! The key that signs checkpoints would not do: it lies open in the copy of the keys, and once the store is lost, the log of
//! the backup itself would be the only one to say which keys are those of the log.
//!
//! The stamp lies beside the manifest and once more in the copy of the keys. So whoever may write to one of the two
//! directories cannot take both away, and have the backup taken for one from before there were stamps.

use std::path::PathBuf;

use retention_core::event::{Event, EventType, Recorded};
use retention_core::id::{Digest, Position};
use retention_core::view::index::Key;

use super::manifest::Manifest;
use super::{BackupError, Places, numbered};
use crate::flush::Door;
use crate::store::Store;
use crate::store::durable_file::{self, FileAction};
use crate::store::vault::seal::IndexKey;

const ROLE: &str = "stamp of the manifest";
const FIRST: &str = "retentiond stamp of a manifest 1";

/// The name of the stamp in a copy of the keys.
const IN_KEYS: &str = "manifest.stamp";

/// What the name of a stamp beside its manifest ends in.
const ENDING: &str = ".stamp";

/// More than any stamp of ours has, in bytes.
const STAMP_BYTES_MAX: u64 = 128;

/// Whether a manifest has the stamp of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// It has: the store wrote it.
    Good,
    /// Neither it nor any older one has: they were made before there were stamps, or all stamps were taken away.
    Missing,
}

impl Places {
    fn stamp_of(&self, last: Position) -> PathBuf {
        self.manifests().join(format!("{}{ENDING}", numbered(last)))
    }

    fn stamps_of(&self, last: Position) -> [PathBuf; 2] {
        [self.keys_of(last).join(IN_KEYS), self.stamp_of(last)]
    }
}

fn line(key: &IndexKey, last: Position, manifest: &[u8]) -> String {
    let digest = Digest::of(manifest);
    let mac = key.handle(&[b"manifest of a backup", &last.0.to_le_bytes(), &digest.0]);
    format!("{FIRST} {}\n", hex::encode(mac.0))
}

/// Stamps the text of a manifest, durably, before the manifest lies there.
pub(super) fn put(
    places: &Places,
    last: Position,
    manifest: &[u8],
    key: &IndexKey,
    door: Door<'_>,
) -> Result<(), BackupError> {
    let line = line(key, last, manifest);
    for path in places.stamps_of(last) {
        durable_file::replace_through(door, &path, line.as_bytes(), ROLE)?;
    }
    Ok(())
}

/// Removes the stamps that lie beside none of these manifests.
pub(super) fn remove_strays(places: &Places, backups: &[Position]) -> Result<(), BackupError> {
    let failed = |action| durable_file::failed(ROLE, action);
    for entry in std::fs::read_dir(places.manifests()).map_err(failed(FileAction::Read))? {
        let name = entry.map_err(failed(FileAction::Read))?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(ENDING));
        let last = stem.and_then(|stem| stem.parse().ok()).map(Position);
        if let Some(last) = last.filter(|last| !backups.contains(last)) {
            std::fs::remove_file(places.stamp_of(last)).map_err(failed(FileAction::Remove))?;
        }
    }
    Ok(())
}

/// Compares the stamps of the text of a manifest.
fn check(places: &Places, last: Position, manifest: &[u8], key: &IndexKey) -> Result<Stamp, BackupError> {
    let expected = line(key, last, manifest);
    let mut stamp = Stamp::Missing;
    for path in places.stamps_of(last) {
        match durable_file::read_bounded(&path, STAMP_BYTES_MAX, ROLE)? {
            None => {}
            Some(found) if found == expected.as_bytes() => stamp = Stamp::Good,
            Some(_) => return Err(BackupError::Forged { last }),
        }
    }
    Ok(stamp)
}

impl Manifest {
    /// Reads the manifest of one backup, and says whether it has the stamp of the store with this index key.
    ///
    /// # Errors
    /// As [`Self::read`]; and when it has another stamp, or none although an older one has.
    pub fn stamped(places: &Places, last: Position, key: &IndexKey) -> Result<(Self, Stamp), BackupError> {
        let text = Self::text(places, last)?;
        let manifest = Self::parse(last, &text)?;
        match check(places, last, &text, key)? {
            Stamp::Good => Ok((manifest, Stamp::Good)),
            Stamp::Missing => match oldest_stamped(places, last, key)? {
                Some(stamped) => Err(BackupError::Unstamped { last, stamped }),
                None => Ok((manifest, Stamp::Missing)),
            },
        }
    }

    /// Reads the manifest of one backup, also one without a stamp behind one that has its stamp, as an older program makes it.
    ///
    /// # Errors
    /// As [`Self::read`]; and when it has another stamp.
    pub fn unless_forged(places: &Places, last: Position, key: &IndexKey) -> Result<Self, BackupError> {
        let text = Self::text(places, last)?;
        let _good_or_missing = check(places, last, &text, key)?;
        Self::parse(last, &text)
    }
}

impl Store {
    /// Says whether a manifest is the one that the log of this store tells of; `None` when it tells of none.
    ///
    /// # Errors
    /// When the log or the manifest cannot be read.
    pub fn is_told(&self, places: &Places, last: Position) -> Result<Option<bool>, BackupError> {
        let made: Vec<u32> = self.view(|views| {
            let all = views.index.get(Key::Type(EventType::BackupMade as u16));
            all.into_iter().flatten().collect()
        });
        // It is told of after its last event.
        for position in made.into_iter().map(u64::from).map(Position).filter(|position| *position > last) {
            if let Some(Event::BackupMade(body)) = self.read(position)?.as_ref().and_then(Recorded::event)
                && body.last == last
            {
                return Ok(Some(body.manifest == Digest::of(&Manifest::text(places, last)?)));
            }
        }
        Ok(None)
    }
}

/// Returns the oldest backup before another one that has the stamp of the store. One that cannot be read says nothing.
fn oldest_stamped(places: &Places, before: Position, key: &IndexKey) -> Result<Option<Position>, BackupError> {
    let mut older = Manifest::list(places)?.into_iter().take_while(|last| *last < before);
    Ok(older.find(|last| {
        // Without one there is nothing to read.
        places.stamps_of(*last).iter().any(|path| path.exists())
            && Manifest::text(places, *last)
                .is_ok_and(|text| matches!(check(places, *last, &text, key), Ok(Stamp::Good)))
    }))
}

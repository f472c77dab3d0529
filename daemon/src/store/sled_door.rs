//! The only door to sled: blocks of bytes by family and key.
//!
//! **Trust.** None. Everything here is made again from the journal. sled 0.34.7 does not flush to the device when asked
//! to, panics on some damage, and answers from damaged pages; so every value carries a checksum of ours, every call
//! into sled is caught when it panics, values stay small enough never to land in sled's unsynced blob files, and a
//! directory that a power cut may have torn is set aside ([`Trust`]) and rebuilt. Nothing waits for sled to be durable.
//!
//! A value is stored as `CRC32C (4, little-endian) ‖ value`; the checksum covers family (1) ‖ key length (2) ‖ key ‖
//! value.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::FlockOperation;

use crate::diagnostics;
use crate::store::durable_file::{self, DurableFileError, FileAction};

pub mod trust;

pub use trust::{BootId, Distrust, Trust};

/// The longest value, in bytes. sled writes up to 16 values as one leaf, and a leaf beyond a quarter of its segment
/// (128 KiB) goes to a file that is never flushed.
pub const BLOCK_BYTES_MAX: usize = 7 * 1024;

/// The longest key, in bytes: with it, 16 of the longest values still fit a leaf.
pub const KEY_BYTES_MAX: usize = 256;

/// How often sled's own thread writes back, in milliseconds. Only this thread ever asks the device to flush.
const FLUSH_EVERY_MS: u64 = 500;

/// How long a lock that the last owner is about to let go is waited for: sled's threads end a moment after the close.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// How often a block that a scan meets is looked up beside it. sled forgets pages only when one of the 256 parts of its
/// list of accesses is full, at 64, and a scan counts for each page of many blocks as one: without this it holds up to
/// 16,384 pages of some 50 KiB, whatever its cache was given. A look-up costs a microsecond or two.
const LOOKED_UP_PER_BLOCK: usize = 2;

/// Keys removed between two looks at the tree.
const REMOVE_AT_ONCE: usize = 4096;

/// Directories set aside that are kept apart by number; nobody lets more lie around.
const SET_ASIDE_MAX: u32 = 1000;

const CRC_BYTES: usize = 4;
const ROLE: &str = "event store";

/// A key and its value.
pub type Block = (Vec<u8>, Vec<u8>);

/// What a block belongs to. Each has a tree of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Blocks of events.
    Events,
    /// Indexes that answer questions.
    Index,
    /// The columns of entities.
    Entities,
    /// The due index.
    Due,
    /// Other views.
    Views,
    /// What the store notes about itself.
    Meta,
}

impl Family {
    const ALL: [Self; 6] = [Self::Events, Self::Index, Self::Entities, Self::Due, Self::Views, Self::Meta];

    fn tree_name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Index => "index",
            Self::Entities => "entities",
            Self::Due => "due",
            Self::Views => "views",
            Self::Meta => "meta",
        }
    }
}

/// sled failed, or was asked for what it must not do. Messages hold no keys and no values.
#[derive(Debug, thiserror::Error)]
pub enum BlocksError {
    /// Another process has it open.
    #[error("the event store is locked by another process; is the daemon already running?")]
    Locked,
    /// It may have been torn.
    #[error("the event store is not to be believed: {0}; it has to be rebuilt from the journal")]
    Untrusted(Distrust),
    /// sled found damage, or panicked over it.
    #[error(
        "the event store is damaged ({0}); the journal is not affected, and the event store has to be rebuilt from it"
    )]
    Damaged(Damage),
    /// A value is not what was put there.
    #[error("a block of the family {} has a wrong checksum; the journal is not affected, and the event store has to be rebuilt from it", .family.tree_name())]
    Checksum {
        /// Where.
        family: Family,
    },
    /// It was written by another version of the program.
    #[error(
        "the views were written by another version of the program (format {0}), and the next start makes them anew from the journal"
    )]
    OtherFormat(u32),
    /// The bound of values or keys.
    #[error(
        "a block of {value_bytes} bytes under a key of {key_bytes} bytes is over the bound of {BLOCK_BYTES_MAX} and {KEY_BYTES_MAX}; nothing was written"
    )]
    OverBound {
        /// The length of the key.
        key_bytes: usize,
        /// The length of the value.
        value_bytes: usize,
    },
    /// The operating system refused.
    #[error("the event store could not be read or written: {0}; the journal is not affected")]
    Io(#[source] io::Error),
    /// A file beside it could not be kept.
    #[error(transparent)]
    File(#[from] DurableFileError),
    /// Something failed before.
    #[error("the event store failed earlier: close and re-open")]
    Broken,
    /// There is no free name to set it aside under.
    #[error("{SET_ASIDE_MAX} damaged event stores have been set aside; remove them")]
    TooManySetAside,
}

/// What kind of damage sled met. sled's own words are not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// sled says that its files are corrupt.
    Corrupt,
    /// sled panicked.
    Panicked,
    /// sled met something that it calls a bug, or does not support.
    Unsupported,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "its files are corrupt",
            Self::Panicked => "reading it panicked",
            Self::Unsupported => "its files are in no form that can be read",
        })
    }
}

impl BlocksError {
    /// Whether a rebuild from the journal helps, as against trouble with the machine or with the caller.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Untrusted(_) | Self::Damaged(_) | Self::Checksum { .. } | Self::OtherFormat(_) => true,
            Self::Locked
            | Self::OverBound { .. }
            | Self::Io(_)
            | Self::File(_)
            | Self::Broken
            | Self::TooManySetAside => false,
        }
    }

    /// Whether nothing is wrong, and the next start makes everything anew all the same.
    #[must_use]
    pub fn is_made_anew(&self) -> bool {
        matches!(self, Self::OtherFormat(_) | Self::Untrusted(Distrust::UncleanInEarlierBoot))
    }
}

impl From<sled::Error> for BlocksError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) if error.to_string().contains("could not acquire lock") => Self::Locked,
            sled::Error::Io(error) if error.raw_os_error().is_some() => Self::Io(error),
            // Made by sled itself, from bytes that ended or meant nothing.
            sled::Error::Io(_) | sled::Error::Corruption { .. } => Self::Damaged(Damage::Corrupt),
            sled::Error::CollectionNotFound(_) | sled::Error::Unsupported(_) | sled::Error::ReportableBug(_) => {
                Self::Damaged(Damage::Unsupported)
            }
        }
    }
}

/// The open event store. Shared by all threads; sled orders their writes.
pub struct Blocks {
    dir: PathBuf,
    boot: BootId,
    trees: Trees,
    broken: Arc<AtomicBool>,
}

struct Trees {
    db: sled::Db,
    /// In the order of [`Family::ALL`].
    families: Vec<sled::Tree>,
}

/// An event store that was opened.
#[derive(Debug)]
pub struct Opened {
    /// It.
    pub blocks: Blocks,
    /// How far it could be believed: [`Trust::Fresh`] if there was none, and then it is empty.
    pub trust: Trust,
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blocks")
    }
}

impl Blocks {
    /// Opens the event store in `dir`, or makes one where there is none.
    ///
    /// Waits a moment for a lock that is about to be let go. Opening runs in a thread of its own, so that a panic of
    /// sled, and what it leaves behind on the stack, ends there.
    ///
    /// # Errors
    /// When it is locked, or damaged or untrusted ([`BlocksError::is_damage`]): then [`set_aside`] and open again.
    pub fn open(dir: &Path, cache_bytes: u64, boot: BootId) -> Result<Opened, BlocksError> {
        let trust = Trust::judge(dir, boot)?;
        if let Trust::Untrusted { why } = trust {
            return Err(BlocksError::Untrusted(why));
        }
        durable_file::create_private_dir(dir, ROLE)?;
        let trees = match open_trees(dir, cache_bytes) {
            Err(BlocksError::Locked) if wait_for_lock(dir) => open_trees(dir, cache_bytes)?,
            opened => opened?,
        };
        // A directory that was being made when the machine went down says nothing, and is set aside: it was empty.
        trust::note_open(dir, boot)?;
        let blocks = Self { dir: dir.to_path_buf(), boot, trees, broken: Arc::new(AtomicBool::new(false)) };
        Ok(Opened { blocks, trust })
    }

    /// Stores one block, replacing what the key had.
    ///
    /// # Errors
    /// When it is over the bound (nothing is written), or sled fails.
    pub fn put(&self, family: Family, key: &[u8], value: &[u8]) -> Result<(), BlocksError> {
        let framed = frame(family, key, value)?;
        self.guarded(|trees| trees.of(family)?.insert(key, framed).map(drop).map_err(BlocksError::from))
    }

    /// Stores many blocks, in the order of their keys, which is several times cheaper than any other order. Not atomic.
    ///
    /// # Errors
    /// When one is over the bound (nothing is written), or sled fails (some may be written).
    pub fn put_sorted(&self, family: Family, mut blocks: Vec<Block>) -> Result<(), BlocksError> {
        if !blocks.is_sorted_by(|a, b| a.0 <= b.0) {
            blocks.sort_by(|a, b| a.0.cmp(&b.0));
        }
        blocks.iter().try_for_each(|(key, value)| check_bound(key, value))?;
        self.guarded(|trees| {
            let tree = trees.of(family)?;
            for (key, value) in blocks {
                let framed = frame(family, &key, &value)?;
                tree.insert(key, framed)?;
            }
            Ok(())
        })
    }

    /// Returns the block of a key.
    ///
    /// # Errors
    /// When its checksum is wrong, or sled fails.
    pub fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, BlocksError> {
        let found = self.guarded(|trees| Ok(trees.of(family)?.get(key)?))?;
        found.map(|framed| unframe(family, key, &framed)).transpose()
    }

    /// Walks, ascending, through the blocks whose keys begin with `prefix`.
    ///
    /// # Errors
    /// When sled fails; a wrong checksum is the error of its item.
    pub fn scan_prefix(&self, family: Family, prefix: &[u8]) -> Result<Scan, BlocksError> {
        self.scan(family, |tree| tree.scan_prefix(prefix))
    }

    /// Walks, ascending or from the end, through the blocks whose keys lie in `range`.
    ///
    /// # Errors
    /// As [`Blocks::scan_prefix`].
    pub fn range(&self, family: Family, range: impl RangeBounds<Vec<u8>>) -> Result<Scan, BlocksError> {
        let bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>) = (range.start_bound().cloned(), range.end_bound().cloned());
        self.scan(family, |tree| tree.range(bounds))
    }

    /// Removes the blocks whose keys lie in `range` and returns how many there were. Their bytes stay in the files
    /// until the directory is dropped. Not atomic.
    ///
    /// # Errors
    /// When sled fails; some may be removed.
    pub fn remove_range(&self, family: Family, range: impl RangeBounds<Vec<u8>>) -> Result<u64, BlocksError> {
        let bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>) = (range.start_bound().cloned(), range.end_bound().cloned());
        let mut removed = 0;
        loop {
            let keys = self.guarded(|trees| {
                let keys = trees.of(family)?.range(bounds.clone()).keys().take(REMOVE_AT_ONCE);
                Ok(keys.collect::<Result<Vec<_>, _>>()?)
            })?;
            if keys.is_empty() {
                return Ok(removed);
            }
            removed += keys.len() as u64;
            self.guarded(|trees| {
                let tree = trees.of(family)?;
                keys.iter().try_for_each(|key| tree.remove(key).map(drop)).map_err(BlocksError::from)
            })?;
        }
    }

    /// Hands what was put to the operating system: it then survives the death of the process, not that of the machine.
    ///
    /// # Errors
    /// When sled fails.
    pub fn flush(&self) -> Result<(), BlocksError> {
        self.guarded(|trees| Ok(trees.db.flush().map(drop)?))
    }

    /// Closes it so that it will be believed in any boot: everything is flushed to the device, and then that is noted.
    ///
    /// # Errors
    /// When something fails; it is then not believed after a restart of the machine.
    pub fn close(self) -> Result<(), BlocksError> {
        self.flush()?;
        let Self { dir, boot, trees, broken: _ } = self;
        caught(|| {
            drop(trees);
            Ok(())
        })?;
        sync_files(&dir)?;
        Ok(trust::note_closed(&dir, boot)?)
    }

    fn scan(&self, family: Family, begin: impl FnOnce(&sled::Tree) -> sled::Iter) -> Result<Scan, BlocksError> {
        let (tree, inner) = self.guarded(|trees| {
            let tree = trees.of(family)?;
            Ok((tree.clone(), begin(tree)))
        })?;
        Ok(Scan { inner, tree, family, broken: Arc::clone(&self.broken), ended: false })
    }

    fn guarded<T>(&self, call: impl FnOnce(&Trees) -> Result<T, BlocksError>) -> Result<T, BlocksError> {
        guarded(&self.broken, || call(&self.trees))
    }
}

impl Trees {
    fn of(&self, family: Family) -> Result<&sled::Tree, BlocksError> {
        self.families.get(family as usize).ok_or(BlocksError::Damaged(Damage::Unsupported))
    }
}

/// Blocks in the order of their keys: owned (key, value). Ends after the first error.
pub struct Scan {
    inner: sled::Iter,
    tree: sled::Tree,
    family: Family,
    broken: Arc<AtomicBool>,
    ended: bool,
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("family", &self.family).finish_non_exhaustive()
    }
}

impl Scan {
    fn step(
        &mut self,
        step: impl FnOnce(&mut sled::Iter) -> Option<sled::Result<(sled::IVec, sled::IVec)>>,
    ) -> Option<Result<Block, BlocksError>> {
        if self.ended {
            return None;
        }
        let (inner, tree, family) = (&mut self.inner, &self.tree, self.family);
        let found = guarded(&self.broken, || {
            let found = step(inner).transpose()?;
            if let Some((key, _)) = &found {
                for _ in 0..LOOKED_UP_PER_BLOCK {
                    tree.contains_key(key)?;
                }
            }
            Ok(found)
        });
        let found = found.and_then(|found| {
            found.map(|(key, framed)| unframe(family, &key, &framed).map(|value| (key.to_vec(), value))).transpose()
        });
        self.ended = !matches!(found, Ok(Some(_)));
        found.transpose()
    }
}

impl Iterator for Scan {
    type Item = Result<Block, BlocksError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(Iterator::next)
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(DoubleEndedIterator::next_back)
    }
}

/// Renames a directory that is not to be believed to `<name>.damaged-<n>`, so that a rebuild can begin, and returns the
/// new path.
///
/// # Errors
/// When it cannot be renamed; it is then where it was.
pub fn set_aside(dir: &Path) -> Result<PathBuf, BlocksError> {
    let aside = (1..=SET_ASIDE_MAX).map(|n| aside_path(dir, n)).find(|path| !path.exists());
    let aside = aside.ok_or(BlocksError::TooManySetAside)?;
    std::fs::rename(dir, &aside).map_err(durable_file::failed(ROLE, FileAction::Rename))?;
    if let Some(parent) = dir.parent() {
        durable_file::fsync_dir(parent, ROLE)?;
    }
    Ok(aside)
}

/// Says whether there is a directory that was set aside.
#[must_use]
pub fn has_set_aside(dir: &Path) -> bool {
    (1..=SET_ASIDE_MAX).any(|n| aside_path(dir, n).exists())
}

/// Removes every directory that was set aside, once a rebuild has ended, and returns how many there were.
///
/// # Errors
/// When one cannot be removed.
pub fn discard_set_aside(dir: &Path) -> Result<u32, BlocksError> {
    let mut discarded = 0;
    for path in (1..=SET_ASIDE_MAX).map(|n| aside_path(dir, n)).filter(|path| path.exists()) {
        std::fs::remove_dir_all(&path).map_err(durable_file::failed(ROLE, FileAction::Remove))?;
        discarded += 1;
    }
    Ok(discarded)
}

fn aside_path(dir: &Path, number: u32) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(format!(".damaged-{number}"));
    PathBuf::from(name)
}

fn open_trees(dir: &Path, cache_bytes: u64) -> Result<Trees, BlocksError> {
    let config = sled::Config::new()
        .path(dir)
        .cache_capacity(cache_bytes)
        .flush_every_ms(Some(FLUSH_EVERY_MS))
        .use_compression(false);
    let open = move || {
        caught(|| {
            let db = config.open()?;
            let families =
                Family::ALL.iter().map(|family| db.open_tree(family.tree_name())).collect::<Result<_, _>>()?;
            Ok(Trees { db, families })
        })
    };
    let thread =
        std::thread::Builder::new().name("event-store-open".to_owned()).spawn(open).map_err(BlocksError::Io)?;
    thread.join().unwrap_or(Err(BlocksError::Damaged(Damage::Panicked)))
}

/// Waits until nobody holds sled's lock any more, or for [`LOCK_WAIT`].
///
/// The lock itself is waited for, by a thread that is left behind when it takes too long: it lets go as soon as it has
/// it.
fn wait_for_lock(dir: &Path) -> bool {
    let (free, freed) = crossbeam_channel::bounded(1);
    let db = dir.join("db");
    let waiting = std::thread::Builder::new().name("event-store-lock".to_owned()).spawn(move || {
        let locked = File::open(db).and_then(|file| Ok(rustix::fs::flock(file, FlockOperation::LockExclusive)?));
        // The other side has gone away when it took too long.
        let _ = free.send(locked.is_ok());
    });
    waiting.is_ok() && freed.recv_timeout(LOCK_WAIT).unwrap_or(false)
}

/// Flushes each of sled's files through a descriptor of our own, since sled does not.
fn sync_files(dir: &Path) -> Result<(), BlocksError> {
    let failed = || durable_file::failed(ROLE, FileAction::Sync);
    for entry in std::fs::read_dir(dir).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        if path.is_file() {
            OpenOptions::new().read(true).open(path).and_then(|file| file.sync_data()).map_err(failed())?;
        }
    }
    Ok(durable_file::fsync_dir(dir, ROLE)?)
}

fn check_bound(key: &[u8], value: &[u8]) -> Result<(), BlocksError> {
    if key.len() > KEY_BYTES_MAX || value.len() > BLOCK_BYTES_MAX {
        return Err(BlocksError::OverBound { key_bytes: key.len(), value_bytes: value.len() });
    }
    Ok(())
}

fn checksum(family: Family, key: &[u8], value: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&[family as u8]);
    let crc = crc32c::crc32c_append(crc, &u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, key), value)
}

fn frame(family: Family, key: &[u8], value: &[u8]) -> Result<Vec<u8>, BlocksError> {
    check_bound(key, value)?;
    let mut framed = Vec::with_capacity(CRC_BYTES + value.len());
    framed.extend(checksum(family, key, value).to_le_bytes());
    framed.extend(value);
    Ok(framed)
}

fn unframe(family: Family, key: &[u8], framed: &[u8]) -> Result<Vec<u8>, BlocksError> {
    match framed.split_first_chunk::<CRC_BYTES>() {
        Some((crc, value)) if u32::from_le_bytes(*crc) == checksum(family, key, value) => Ok(value.to_vec()),
        Some(_) | None => Err(BlocksError::Checksum { family }),
    }
}

/// Calls into sled unless it has failed before; any failure of sled is remembered.
fn guarded<T>(broken: &AtomicBool, call: impl FnOnce() -> Result<T, BlocksError>) -> Result<T, BlocksError> {
    if broken.load(Ordering::Acquire) {
        return Err(BlocksError::Broken);
    }
    caught(call).inspect_err(|error| match error {
        BlocksError::Damaged(_) | BlocksError::Io(_) => broken.store(true, Ordering::Release),
        BlocksError::Locked
        | BlocksError::Untrusted(_)
        | BlocksError::Checksum { .. }
        | BlocksError::OtherFormat(_)
        | BlocksError::OverBound { .. }
        | BlocksError::File(_)
        | BlocksError::Broken
        | BlocksError::TooManySetAside => {}
    })
}

/// Turns a panic into an error. Nothing that it leaves half done is used again: the store is closed and rebuilt.
fn caught<T>(call: impl FnOnce() -> Result<T, BlocksError>) -> Result<T, BlocksError> {
    diagnostics::caught(call).unwrap_or(Err(BlocksError::Damaged(Damage::Panicked)))
}

#[cfg(test)]
mod tests;

//! Backups: a consistent copy of the log while the daemon runs, its keys apart from it, and the way back.
//!
//! | where | what | how long |
//! |---|---|---|
//! | `LOG/journal/`, `LOG/tree/checkpoints`, `LOG/tree/cosignatures` | the event log, segment by segment: a segment that is closed is copied once | for ever, if wanted |
//! | `LOG/manifests/POSITION.json` | what belongs to one backup, with the SHA-256 of each file | as the log |
//! | `LOG/manifests/POSITION.stamp`, `KEYS/POSITION/manifest.stamp` | that the store wrote this manifest | as what they lie beside |
//! | `KEYS/POSITION/` | the key slots, still wrapped under the root key, and the key that signs checkpoints | short: a key that is destroyed later lives on in here |
//! | the ledger of erasures | which keys were destroyed, line by line as it happens, on another machine | for ever |
//!
//! Whoever has the log alone has ciphertext. Segments and keys can be encrypted to others besides, as files of age whose
//! names end in `.age`; the manifest is not. sled is not in a backup: it is made again from the journal. The root key
//! is in none of them.
//!
//! Reading order: [`manifest`], [`stamp`], [`make`], [`ledger`], [`restore`], [`others`].

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use retention_core::id::{Digest, Position};
use retention_core::time::Timestamp;
use sha2::{Digest as _, Sha256};

use super::durable_file::{self, DurableFileError, FileAction};
use super::log::AppendError;
use super::open::OpenError;
use super::tree::TreeFileError;
use super::vault::VaultError;
use super::{ReadError, ReadOnly};
use crate::flush::{Door, Flush, FlushGate, through};
use crate::halt::Halt;
use crate::keyholders::{HashedWriter, Identities, Keyholders};

mod compare;
pub mod ledger;
pub mod make;
pub mod manifest;
pub mod others;
pub mod restore;
pub mod stamp;

pub use compare::lost_checkpoints;
pub use ledger::{Erasure, LedgerError, LedgerFile, Reach};
pub use manifest::Manifest;
pub use others::Heard;
pub use restore::{Ledgers, Restore, Restored};
pub use stamp::Stamp;

/// Files are copied in pieces of this size, in bytes.
const PIECE_BYTES: usize = 1024 * 1024;

/// Where backups lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The log and the manifests.
    pub log: PathBuf,
    /// The copies of the keys.
    pub keys: PathBuf,
}

impl Places {
    fn manifests(&self) -> PathBuf {
        self.log.join("manifests")
    }

    fn manifest_of(&self, last: Position) -> PathBuf {
        self.manifests().join(format!("{}.json", numbered(last)))
    }

    fn journal(&self) -> PathBuf {
        self.log.join("journal")
    }

    fn checkpoints(&self) -> PathBuf {
        self.log.join("tree/checkpoints")
    }

    fn cosignatures(&self, name: &str) -> PathBuf {
        self.log.join("tree").join(name)
    }

    fn keys_of(&self, last: Position) -> PathBuf {
        self.keys.join(numbered(last))
    }
}

/// Twenty digits, so that names sort as numbers do.
fn numbered(position: Position) -> String {
    format!("{:020}", position.0)
}

/// A backup could not be made, read or brought back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file.
    #[error(transparent)]
    File(#[from] DurableFileError),
    /// The store is damaged.
    #[error("the store is read-only, so no backup is made of it: {0}. Keep the older backups")]
    Damaged(ReadOnly),
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The tree over it.
    #[error(transparent)]
    Tree(#[from] TreeFileError),
    /// The keys.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Backups of another store lie there.
    #[error(
        "the backups in this directory are of another store, or of a log that this one does not continue; nothing was changed. Name an empty directory in [backup]"
    )]
    OtherLog,
    /// Copies of keys lie there, and not the copies of the log that they belong to.
    #[error(
        "there are copies of keys, but the copies of the log that they belong to are not there; nothing was changed. See whether the disk of `dir` is mounted. If they are lost, name empty directories for both `dir` and `keys_dir`, and destroy the old copies of the keys"
    )]
    LogGone,
    /// Backups lie there, and not the directory of their keys.
    #[error(
        "there are backups, but the directory of the copies of their keys is not there; nothing was changed. See whether the disk of `keys_dir` is mounted. If the copies were destroyed, make the directory anew, for the user of the daemon"
    )]
    KeysDirGone,
    /// There is none.
    #[error(
        "there is no such backup in this directory; the names in its manifests/ are those that there are, and `retentionctl backup list` shows them while the daemon runs"
    )]
    Absent,
    /// It is not as it was written.
    #[error("{file} of the backup up to event {last} is not as it was written: {what}; use another backup")]
    Changed {
        /// The backup.
        last: Position,
        /// Which of its files.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// Its manifest is not the one that the store wrote.
    #[error(
        "the manifest of the backup up to event {last} is not one that this store wrote: its stamp is another one, so somebody made or changed it; nothing was changed. Use another backup, and put this one aside for whoever looks into that"
    )]
    Forged {
        /// The backup.
        last: Position,
    },
    /// Its manifest says by nothing that the store wrote it, and one before it does.
    #[error(
        "the manifest of the backup up to event {last} has no stamp of this store, and that of the older one up to event {stamped} has: somebody made or changed it or took its stamp away, or an older program made it; nothing was changed. Use a backup that has its stamp; what to do when it was an older program, docs/backup.md says"
    )]
    Unstamped {
        /// The backup.
        last: Position,
        /// The oldest that has a stamp.
        stamped: Position,
    },
    /// The copy of the keys is over, or elsewhere.
    #[error(
        "the copy of the keys that belongs to the backup up to event {last} is not there; it was to be kept until \
         {until}. Without it the log of this backup can be proven, but not opened: before that instant, see whether the \
         directory of the copies is the right one; after it, restore a newer backup"
    )]
    KeysGone {
        /// The backup.
        last: Position,
        /// Until when the copy was to be kept.
        until: Timestamp,
    },
    /// It is encrypted, and not to a key that was shown.
    #[error(
        "the backup up to event {last} is encrypted, and not to a key that was shown; nothing was restored. Name the file of the private key with --identity FILE"
    )]
    Encrypted {
        /// The backup.
        last: Position,
    },
    /// There is nowhere to decrypt keys.
    #[error(
        "the keys of the backup are encrypted, and they are decrypted in memory alone, but {MEMORY} is no file system in memory; nothing was restored. Mount a tmpfs there"
    )]
    NoMemory,
    /// A newer backup cannot be heard.
    #[error(
        "the newer backup up to event {last}, in the same directory, cannot be read, so nobody can tell whom it calls erased: {why}. Nothing was restored. With --without-newer it is passed over, and whom it alone calls erased comes back: erase these people again"
    )]
    Newer {
        /// The newer backup.
        last: Position,
        /// Why it cannot be read.
        why: Box<BackupError>,
    },
    /// What was named as a lost store is none, or another one.
    #[error(
        "a directory that was named with --lost has no log that can be read and has an event of the backup; nothing was restored. Name the state directory of this store that was moved away, in which `journal` lies, or restore without it"
    )]
    LostAbsent,
    /// Another restore works in the same directory.
    #[error("another restore into this directory is under way; nothing was changed. Wait until it ends, or stop it")]
    UnderWay,
    /// There is something in the way of a restore.
    #[error(
        "{what} is not empty, and a restore never writes over anything; nothing was changed. Move it away as it is"
    )]
    InTheWay {
        /// Which directory.
        what: &'static str,
    },
    /// A checkpoint that was shown contradicts the backup.
    #[error(
        "the backup contradicts the checkpoint over {size} events that was shown: it is not the log that was signed. Nothing was restored"
    )]
    Contradicts {
        /// How many events the checkpoint covers.
        size: u64,
    },
    /// A checkpoint that was shown is none of ours.
    #[error("a checkpoint that was shown is not signed by a key of this log; nothing was restored")]
    NotSigned,
    /// A ledger of erasures cannot be believed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The restored store is not good.
    #[error("the restored store is not as it should be, so it was not put in place: {0}")]
    NotGood(String),
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] Box<OpenError>),
    /// It could not be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The manifest could not be written as JSON, which does not happen to ours.
    #[error("the manifest of the backup could not be written: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<OpenError> for BackupError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Vault(error) => Self::Vault(error),
            OpenError::Read(error) => Self::Read(error),
            error => Self::Open(Box::new(error)),
        }
    }
}

const COPY: &str = "file of the backup";

/// Where the keys of an encrypted backup are decrypted, so that none that must not come back reaches a disk.
const MEMORY: &str = "/dev/shm";

/// What stands around copying: what asks it to stop, and what stands around its flushes.
#[derive(Clone, Copy)]
struct Around<'a> {
    halt: &'a Halt,
    gate: &'a dyn FlushGate,
}

impl<'a> Around<'a> {
    fn door(self) -> Door<'a> {
        (self.gate, Flush::Backup)
    }
}

/// Copies the first `bytes` of a file, durably, and reads the copy back. Returns their SHA-256.
fn copy(
    from: &Path,
    to: &Path,
    bytes: u64,
    around: Around<'_>,
    done: &mut dyn FnMut(u64),
) -> Result<Digest, BackupError> {
    let source = open(from)?;
    let (beside, mut target) = begin(to, around)?;
    let digest = pass(source.take(bytes), bytes, around.halt, |piece| {
        target.write_all(piece).map_err(durable_file::failed(COPY, FileAction::Write))?;
        done(piece.len() as u64);
        Ok(())
    })?;
    finish(&target, &beside, to, (bytes, digest), around)?;
    Ok(digest)
}

/// Copies the first `bytes` of a file encrypted, durably, and reads the copy back. Returns their SHA-256, and the
/// length and SHA-256 of what was written.
fn encrypt(
    from: &Path,
    to: &Path,
    bytes: u64,
    holders: &Keyholders,
    around: Around<'_>,
    done: &mut dyn FnMut(u64),
) -> Result<(Digest, (u64, Digest)), BackupError> {
    let writing = || durable_file::failed(COPY, FileAction::Write);
    let source = open(from)?;
    let (beside, target) = begin(to, around)?;
    let mut writer = holders.encrypt(HashedWriter::over(target)).map_err(writing())?;
    let digest = pass(source.take(bytes), bytes, around.halt, |piece| {
        writer.write_all(piece).map_err(writing())?;
        done(piece.len() as u64);
        Ok(())
    })?;
    let (target, bytes, sha256) = writer.finish().map_err(writing())?.finish();
    let written = (bytes, sha256);
    finish(&target, &beside, to, written, around)?;
    Ok((digest, written))
}

/// Writes what a file of a backup holds, decrypted, and compares it. `None`: it is encrypted, and not to these keys.
///
/// # Errors
/// When it is not what was encrypted: then nothing lies at `to`. As [`copy`] else.
fn decrypt(
    from: &Path,
    to: &Path,
    bytes: u64,
    keys: &Identities,
    around: Around<'_>,
    done: &mut dyn FnMut(u64),
) -> Result<Option<Digest>, BackupError> {
    let reading = || durable_file::failed(COPY, FileAction::Read);
    let Some(mut plain) = keys.decrypt(open(from)?).map_err(reading())? else { return Ok(None) };
    let (beside, mut target) = begin(to, around)?;
    let digest = pass(&mut plain, bytes, around.halt, |piece| {
        target.write_all(piece).map_err(durable_file::failed(COPY, FileAction::Write))?;
        done(piece.len() as u64);
        Ok(())
    })?;
    // Only its end says that it was not cut.
    if plain.read(&mut [0]).map_err(reading())? != 0 {
        return Err(reading()(io::Error::other("it is longer than it was")).into());
    }
    finish(&target, &beside, to, (bytes, digest), around)?;
    Ok(Some(digest))
}

fn open(path: &Path) -> Result<File, DurableFileError> {
    File::open(path).map_err(durable_file::failed(COPY, FileAction::Open))
}

/// Makes the file beside another one that is to be written.
fn begin(to: &Path, around: Around<'_>) -> Result<(PathBuf, File), DurableFileError> {
    let beside = durable_file::beside(to, ".tmp");
    // What an earlier attempt left.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(durable_file::failed(COPY, FileAction::Remove)(error));
        }
        _ => {}
    }
    let file = durable_file::open_or_create_through(around.door(), &beside, COPY)?;
    Ok((beside, file))
}

/// Reads back what was written, and puts it in place.
fn finish(
    target: &File,
    beside: &Path,
    to: &Path,
    (bytes, digest): (u64, Digest),
    around: Around<'_>,
) -> Result<(), BackupError> {
    through(around.door(), || target.sync_all()).map_err(durable_file::failed(COPY, FileAction::Sync))?;
    if digest_of(beside, bytes, around.halt)? != digest {
        let differs = io::Error::other("it reads back differently");
        return Err(durable_file::failed(COPY, FileAction::Read)(differs).into());
    }
    Ok(durable_file::rename_through(around.door(), beside, to, COPY)?)
}

/// Returns the SHA-256 of the first `bytes` of a file.
fn digest_of(path: &Path, bytes: u64, halt: &Halt) -> Result<Digest, BackupError> {
    pass(open(path)?.take(bytes), bytes, halt, |_| Ok(()))
}

/// Hands exactly so many bytes on, and returns their SHA-256.
fn pass(
    mut from: impl Read,
    bytes: u64,
    halt: &Halt,
    mut each: impl FnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<Digest, BackupError> {
    let mut sha = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut passed = 0;
    while passed < bytes {
        // Whoever goes on after that keeps the store from being closed.
        halt.check().map_err(ReadError::from)?;
        let read = match from.read(&mut piece) {
            Ok(0) => {
                let short = io::Error::from(io::ErrorKind::UnexpectedEof);
                return Err(durable_file::failed(COPY, FileAction::Read)(short).into());
            }
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(durable_file::failed(COPY, FileAction::Read)(error).into()),
        };
        let piece = piece.get(..read).unwrap_or_default();
        sha.update(piece);
        each(piece)?;
        passed += read as u64;
    }
    Ok(Digest(sha.finalize().into()))
}

#[cfg(test)]
mod tests;

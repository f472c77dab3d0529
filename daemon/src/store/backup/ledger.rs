//! The ledger of erasures: which keys were destroyed, in a file on another machine, so that no old backup brings
//! anybody back.
//!
//! One line for each destruction, appended and flushed right after the destruction is durable in the log. It holds
//! numbers and times and names nobody. Each line ends with a keyed digest over itself and the line before, under the
//! index key of the store: nobody else can add a line, change one, or take one out of the middle. Lines that are cut
//! off at the end cannot be missed by the file alone: the log of the backup tells which ones it must have at the least,
//! and the daemon, while it writes, that the file is not the one that it wrote. So that people can tell as well, a line
//! about nobody says now and then until when the ledger has everything.
//!
//! ```text
//! retentiond ledger of erasures 1 STORE MAC
//! destroyed ENTITY POSITION RECORDED_AT MAC
//! destroyed 0 POSITION NOW MAC
//! restored ENTITIES LAST POSITION MAC
//! ```
//!
//! After a restore the log goes on from an earlier event, and numbers of entities that came later are given out anew.
//! So a `restored` line makes those lines before it void that speak of entities which the restored log did not have. For
//! a backup of the log that was given up then it is the other way round: lines behind it about such numbers are void.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read as _, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use retention_core::id::{EntityId, Handle, Position};
use retention_core::time::Timestamp;

use crate::flush::{Flush, FlushGate, OpenGate, through};
use crate::store::durable_file::{self, DurableFileError, FileAction};
use crate::store::vault::seal::IndexKey;

const ROLE: &str = "ledger of erasures";
const FIRST: &str = "retentiond ledger of erasures 1";

/// Whom a line is about that only says how far the ledger speaks: slot 0 holds the house key, which is never destroyed.
const NOBODY: EntityId = EntityId(0);

/// More than any line of ours has, in bytes.
const LINE_BYTES_MAX: u64 = 256;

/// The ledger cannot be used. Nothing was restored or appended because of it.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file.
    #[error(transparent)]
    File(#[from] DurableFileError),
    /// A line was changed, taken out or put in.
    #[error(
        "line {line} of the ledger of erasures is not one that this store wrote, or a line before it is missing; take the file from where it is kept unchanged"
    )]
    Changed {
        /// Which, from 1.
        line: u64,
    },
    /// It has nothing, not even its first line.
    #[error(
        "the ledger of erasures is empty: not even the line is in it that says whose it is, so it tells nobody who was erased; nothing was restored. Look whether its disk is mounted, and take the file from where it is kept. If there is none any more, say so with --without-erasures and erase these people again"
    )]
    Empty,
    /// It lacks what the log of the backup, or of a newer one, says itself.
    #[error(
        "{lacking} of the destructions that the log of this backup or of a newer one beside it knows are in no ledger of erasures that was shown: its end was cut off, or it is an older copy, so it cannot tell who was erased after the backup; nothing was restored. Take the file from where it is kept. If there is no whole one any more, say so with --without-erasures and erase these people again"
    )]
    Short {
        /// How many.
        lacking: u64,
    },
    /// Which entities its lines are about cannot be told.
    #[error(
        "the ledger of erasures knows of the restore at event {position} and of one before it, and the log of this backup went on from neither, so nobody can tell whom its later lines are about; nothing was restored. Restore a backup that was made after event {position}, or one from before both"
    )]
    Unclear {
        /// The position of the restore, in the log that it made.
        position: Position,
    },
    /// The file is not the one that is being written.
    #[error(
        "the ledger of erasures is not as it was written: its end was cut off, or another file lies in its place. What it lacks is written to the file that lies there now; find out who touched it, and keep it where only appending is possible"
    )]
    Replaced,
    /// The log does not have what the ledger says.
    #[error(
        "the ledger of erasures speaks of event {position}, which this log does not have and no restore explains; keep the file and name another one in [backup]"
    )]
    Ahead {
        /// The event.
        position: Position,
    },
}

/// A destruction as the ledger tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erasure {
    /// The position of the destruction in the log.
    pub position: Position,
    /// When it was recorded.
    pub at: Timestamp,
}

/// How far a ledger speaks: it has every destruction up to there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// When that was so; `None` for one without any line of a time.
    pub until: Option<Timestamp>,
    /// The last event of the log that it speaks of.
    pub last: Position,
}

/// The log of a backup, beside which a ledger is read: it may be older than the ledger, or one that a restore gave up.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// The positions of its `StoreRestored`.
    pub restores: &'a [Position],
    /// One more than its highest number of an entity.
    pub used: u32,
}

/// What a ledger says, up to its last whole line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// The keys that were destroyed, by entity.
    pub destroyed: BTreeMap<EntityId, Erasure>,
    /// How far it speaks.
    pub reach: Reach,
    /// The restores that it knows, by the position of their `StoreRestored`.
    pub restores: Vec<Position>,
    /// From this number on, lines are about entities of another log than the one beside which it is read.
    others_from: Option<u32>,
    /// The bytes of its whole lines.
    bytes: u64,
    mac: Option<Handle>,
}

/// One line, before its digest.
enum Line {
    Destroyed(EntityId, Erasure),
    Restored { entities: u32, last: Position, position: Position },
}

impl Line {
    fn text(&self) -> String {
        match self {
            Self::Destroyed(entity, Erasure { position, at }) => format!("destroyed {} {} {at}", entity.0, position.0),
            Self::Restored { entities, last, position } => format!("restored {entities} {} {}", last.0, position.0),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let line = match words.next()? {
            "destroyed" => {
                let entity = EntityId(words.next()?.parse().ok()?);
                let position = Position(words.next()?.parse().ok()?);
                Self::Destroyed(entity, Erasure { position, at: words.next()?.parse().ok()? })
            }
            "restored" => Self::Restored {
                entities: words.next()?.parse().ok()?,
                last: Position(words.next()?.parse().ok()?),
                position: Position(words.next()?.parse().ok()?),
            },
            _ => return None,
        };
        words.next().is_none().then_some(line)
    }
}

fn mac_of(key: &IndexKey, before: Option<Handle>, text: &str) -> Handle {
    let before = before.map(|mac| mac.0);
    key.handle(&[b"ledger of erasures", before.as_ref().map_or(&[], |mac| mac.as_slice()), text.as_bytes()])
}

fn first_line(store: [u8; 16]) -> String {
    format!("{FIRST} {}", hex::encode(store))
}

impl Read {
    /// Says whether there is nothing in it, not even its first line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mac.is_none()
    }

    /// Reads a ledger of a store, as it is for the log that went on from every restore that it knows. A last line without
    /// its end is one that was being written: it is passed over.
    ///
    /// # Errors
    /// When it cannot be read, or a line is not ours.
    pub fn of(path: &Path, key: &IndexKey, store: [u8; 16]) -> Result<Self, LedgerError> {
        Self::lines(path, key, store, None)
    }

    /// Reads a ledger as it is for the log of a backup.
    ///
    /// # Errors
    /// As [`Self::of`], and when nobody can tell which entities of the backup it is about.
    pub fn beside(path: &Path, key: &IndexKey, store: [u8; 16], log: Beside<'_>) -> Result<Self, LedgerError> {
        Self::lines(path, key, store, Some(log))
    }

    fn lines(path: &Path, key: &IndexKey, store: [u8; 16], log: Option<Beside<'_>>) -> Result<Self, LedgerError> {
        let failed = |action| durable_file::failed(ROLE, action);
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) => return Err(failed(FileAction::Open)(error).into()),
        };
        let mut reader = BufReader::new(file);
        let mut read = Self::default();
        let mut bytes = Vec::new();
        for line in 1.. {
            bytes.clear();
            let count =
                reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes).map_err(failed(FileAction::Read))?;
            let Some(whole) = bytes.strip_suffix(b"\n") else {
                // The end, a line that was being written, or one that is too long to be ours.
                return if count as u64 == LINE_BYTES_MAX { Err(LedgerError::Changed { line }) } else { Ok(read) };
            };
            let told = read.take(whole, line, key, store).ok_or(LedgerError::Changed { line })?;
            if let Some(told) = told {
                read.note(&told, log)?;
            }
            read.bytes += count as u64;
        }
        Ok(read)
    }

    /// Checks a line, and returns what it says; the first one says whose ledger it is.
    fn take(&mut self, line: &[u8], number: u64, key: &IndexKey, store: [u8; 16]) -> Option<Option<Line>> {
        let (text, mac) = std::str::from_utf8(line).ok()?.rsplit_once(' ')?;
        let expected = mac_of(key, self.mac, text);
        if mac != hex::encode(expected.0) {
            return None;
        }
        self.mac = Some(expected);
        if number == 1 {
            return (text == first_line(store)).then_some(None);
        }
        Line::parse(text).map(Some)
    }

    fn note(&mut self, line: &Line, log: Option<Beside<'_>>) -> Result<(), LedgerError> {
        match *line {
            Line::Destroyed(entity, erasure) => {
                if entity != NOBODY && self.others_from.is_none_or(|from| entity.0 < from) {
                    self.destroyed.insert(entity, erasure);
                }
                self.reach = Reach { until: Some(erasure.at), last: erasure.position };
            }
            Line::Restored { entities, last, position } => {
                match log.filter(|log| !log.restores.contains(&position)) {
                    // The log went on from there.
                    None => {
                        self.destroyed.retain(|entity, _| entity.0 < entities);
                        self.others_from = None;
                    }
                    // It ended before, or was given up then: numbers that came after `last` are those of others.
                    Some(log) => {
                        let from = self.others_from.unwrap_or(u32::MAX);
                        // Which of the two logs was restored this time?
                        if from < entities && from < log.used {
                            return Err(LedgerError::Unclear { position });
                        }
                        self.others_from = Some(from.min(entities));
                    }
                }
                self.restores.push(position);
                self.reach.last = last;
            }
        }
        Ok(())
    }
}

/// The ledger that is being written.
pub struct LedgerFile {
    path: PathBuf,
    file: File,
    gate: Arc<dyn FlushGate>,
    /// The device and the inode of the file, and the bytes of what was written.
    place: (u64, u64),
    bytes: u64,
    key: IndexKey,
    reach: Reach,
    restores: Vec<Position>,
    mac: Option<Handle>,
}

impl LedgerFile {
    /// Opens the ledger of a store, or makes it. A line that was being written is cut off; the log has what it was
    /// about. Lines that are whole are flushed: whoever wrote them may have been told that it failed, or been killed.
    ///
    /// Some file systems of other machines flush no directory. There its lines are durable and nobody knows whether its name is:
    /// it is read back under that name, and a warning says so. Where the name is lost later, [`Self::check`] sees it, and the
    /// log has all that was in the file.
    ///
    /// # Errors
    /// When it cannot be read or written, or a line is not ours.
    pub fn open(path: &Path, key: IndexKey, store: [u8; 16]) -> Result<Self, LedgerError> {
        Self::gated(path, key, store, Arc::new(OpenGate))
    }

    /// As [`Self::open`], with a gate around every flush.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn gated(path: &Path, key: IndexKey, store: [u8; 16], gate: Arc<dyn FlushGate>) -> Result<Self, LedgerError> {
        let failed = |action| durable_file::failed(ROLE, action);
        let mut unflushed = None;
        if !path.exists() {
            unflushed = durable_file::open_or_create_anyway((gate.as_ref(), Flush::Ledger), path, ROLE)?.1;
        }
        let read = Read::of(path, &key, store)?;
        let file = OpenOptions::new().append(true).mode(0o600).open(path).map_err(failed(FileAction::Open))?;
        let there = file.metadata().map_err(failed(FileAction::Read))?;
        // A file to which only appending is possible cannot be cut, also where there is nothing to cut.
        if there.len() != read.bytes {
            file.set_len(read.bytes).map_err(failed(FileAction::Write))?;
        }
        let mut ledger = Self {
            path: path.to_owned(),
            file,
            gate,
            place: (there.dev(), there.ino()),
            bytes: read.bytes,
            key,
            reach: read.reach,
            restores: read.restores,
            mac: read.mac,
        };
        match ledger.mac {
            None => ledger.append(&[first_line(store)])?,
            Some(_) => ledger.flush()?,
        }
        if let Some(why) = unflushed {
            if Read::of(path, &ledger.key, store)?.mac != ledger.mac {
                return Err(LedgerError::Replaced);
            }
            tracing::warn!(
                %why,
                "the ledger of erasures was made where no directory can be flushed: if that machine loses power now, the file may be gone. It is written again then as long as there is this store"
            );
        }
        Ok(ledger)
    }

    /// Compares the file that lies there with the one that is being written.
    ///
    /// # Errors
    /// When it was cut, or another one lies in its place: nothing may be appended to it then, since whoever reads it would miss
    /// the lines before. The ledger is opened again.
    pub fn check(&self) -> Result<(), LedgerError> {
        let there = std::fs::metadata(&self.path).map_err(durable_file::failed(ROLE, FileAction::Read))?;
        match ((there.dev(), there.ino()), there.len()) == (self.place, self.bytes) {
            true => Ok(()),
            false => Err(LedgerError::Replaced),
        }
    }

    /// Returns the last event of the log that the ledger speaks of.
    #[must_use]
    pub fn last(&self) -> Position {
        self.reach.last
    }

    /// Returns until when the ledger is known to have everything.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.reach.until
    }

    /// Says whether the ledger knows a restore, by the position of its `StoreRestored`.
    #[must_use]
    pub fn knows_restore(&self, position: Position) -> bool {
        self.restores.contains(&position)
    }

    /// Appends destructions, ascending by position, and flushes them.
    ///
    /// # Errors
    /// When they cannot be written: the ledger is then opened again.
    pub fn destroyed(&mut self, erasures: &[(EntityId, Erasure)]) -> Result<(), LedgerError> {
        let Some((_, newest)) = erasures.last() else { return Ok(()) };
        let lines: Vec<String> =
            erasures.iter().map(|(entity, erasure)| Line::Destroyed(*entity, *erasure).text()).collect();
        self.append(&lines)?;
        self.reach = Reach { until: Some(newest.at), last: newest.position };
        Ok(())
    }

    /// Appends that now every destruction up to an event is in it.
    ///
    /// # Errors
    /// As [`Self::destroyed`].
    pub fn has_all(&mut self, up_to: Position, now: Timestamp) -> Result<(), LedgerError> {
        self.destroyed(&[(NOBODY, Erasure { position: up_to, at: now })])
    }

    /// Appends that the log was restored up to `last`, with so many numbers of entities, as the event at `position`
    /// says. What comes after `last` is to be told from there.
    ///
    /// # Errors
    /// As [`Self::destroyed`].
    pub fn restored(&mut self, entities: u32, last: Position, position: Position) -> Result<(), LedgerError> {
        self.append(&[Line::Restored { entities, last, position }.text()])?;
        self.restores.push(position);
        self.reach.last = last;
        Ok(())
    }

    fn append(&mut self, lines: &[String]) -> Result<(), LedgerError> {
        self.check()?;
        let mut bytes = Vec::new();
        let mut mac = self.mac;
        for text in lines {
            let next = mac_of(&self.key, mac, text);
            bytes.extend_from_slice(format!("{text} {}\n", hex::encode(next.0)).as_bytes());
            mac = Some(next);
        }
        self.file.write_all(&bytes).map_err(durable_file::failed(ROLE, FileAction::Write))?;
        self.flush()?;
        self.bytes += bytes.len() as u64;
        self.mac = mac;
        Ok(())
    }

    fn flush(&self) -> Result<(), DurableFileError> {
        through((self.gate.as_ref(), Flush::Ledger), || self.file.sync_data())
            .map_err(durable_file::failed(ROLE, FileAction::Sync))
    }
}

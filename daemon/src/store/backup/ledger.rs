//! The ledger of erasures: which keys were destroyed, in a file on another machine, so that no old backup brings
//! anybody back.
//!
//! One line for each destruction, appended and flushed right after the destruction is durable in the log. It holds
//! numbers and times and names nobody. Each line ends with a keyed digest over itself and the line before, under the
//! index key of the store: nobody else can add a line, change one, or take one out of the middle. Lines that are cut
//! off at the end cannot be missed by the file alone; a signed checkpoint tells that events are missing.
//!
//! ```text
//! retentiond ledger of erasures 1 STORE MAC
//! destroyed ENTITY POSITION RECORDED_AT MAC
//! restored ENTITIES LAST POSITION MAC
//! ```
//!
//! After a restore the log goes on from an earlier event, and numbers of entities that came later are given out anew.
//! So a `restored` line makes those lines before it void that speak of entities which the restored log did not have.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use retention_core::id::{EntityId, Handle, Position};
use retention_core::time::Timestamp;

use crate::store::durable_file::{self, DurableFileError, FileAction};
use crate::store::vault::seal::IndexKey;

const ROLE: &str = "ledger of erasures";
const FIRST: &str = "retentiond ledger of erasures 1";

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

/// What a ledger says, up to its last whole line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// The keys that were destroyed, by entity.
    pub destroyed: BTreeMap<EntityId, Erasure>,
    /// The last event of the log that it speaks of.
    pub last: Position,
    /// The restores that it knows, by the position of their `StoreRestored`.
    pub restores: Vec<Position>,
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

    /// Reads a ledger of a store. A last line without its end is one that was being written: it is passed over.
    ///
    /// # Errors
    /// When it cannot be read, or a line is not ours.
    pub fn of(path: &Path, key: &IndexKey, store: [u8; 16]) -> Result<Self, LedgerError> {
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
            read.take(whole, line, key, store).ok_or(LedgerError::Changed { line })?;
            read.bytes += count as u64;
        }
        Ok(read)
    }

    fn take(&mut self, line: &[u8], number: u64, key: &IndexKey, store: [u8; 16]) -> Option<()> {
        let (text, mac) = std::str::from_utf8(line).ok()?.rsplit_once(' ')?;
        let expected = mac_of(key, self.mac, text);
        if mac != hex::encode(expected.0) {
            return None;
        }
        self.mac = Some(expected);
        if number == 1 {
            return (text == first_line(store)).then_some(());
        }
        match Line::parse(text)? {
            Line::Destroyed(entity, erasure) => {
                self.destroyed.insert(entity, erasure);
                self.last = erasure.position;
            }
            Line::Restored { entities, last, position } => {
                self.destroyed.retain(|entity, _| entity.0 < entities);
                self.restores.push(position);
                self.last = last;
            }
        }
        Some(())
    }
}

/// The ledger that is being written.
pub struct LedgerFile {
    file: File,
    key: IndexKey,
    last: Position,
    restores: Vec<Position>,
    mac: Option<Handle>,
}

impl LedgerFile {
    /// Opens the ledger of a store, or makes it. A line that was being written is cut off; the log has what it was
    /// about.
    ///
    /// # Errors
    /// When it cannot be read or written, or a line is not ours.
    pub fn open(path: &Path, key: IndexKey, store: [u8; 16]) -> Result<Self, LedgerError> {
        let failed = |action| durable_file::failed(ROLE, action);
        let is_new = !path.exists();
        if is_new {
            durable_file::open_or_create(path, ROLE)?;
        }
        let read = Read::of(path, &key, store)?;
        let file = OpenOptions::new().append(true).mode(0o600).open(path).map_err(failed(FileAction::Open))?;
        file.set_len(read.bytes).map_err(failed(FileAction::Write))?;
        let mut ledger = Self { file, key, last: read.last, restores: read.restores, mac: read.mac };
        if ledger.mac.is_none() {
            ledger.append(&[first_line(store)])?;
        }
        Ok(ledger)
    }

    /// Returns the last event of the log that the ledger speaks of.
    #[must_use]
    pub fn last(&self) -> Position {
        self.last
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
        self.last = newest.position;
        Ok(())
    }

    /// Appends that the log was restored up to `last`, with so many numbers of entities, as the event at `position`
    /// says. What comes after `last` is to be told from there.
    ///
    /// # Errors
    /// As [`Self::destroyed`].
    pub fn restored(&mut self, entities: u32, last: Position, position: Position) -> Result<(), LedgerError> {
        self.append(&[Line::Restored { entities, last, position }.text()])?;
        self.restores.push(position);
        self.last = last;
        Ok(())
    }

    fn append(&mut self, lines: &[String]) -> Result<(), LedgerError> {
        let mut bytes = Vec::new();
        let mut mac = self.mac;
        for text in lines {
            let next = mac_of(&self.key, mac, text);
            bytes.extend_from_slice(format!("{text} {}\n", hex::encode(next.0)).as_bytes());
            mac = Some(next);
        }
        self.file.write_all(&bytes).map_err(durable_file::failed(ROLE, FileAction::Write))?;
        self.file.sync_data().map_err(durable_file::failed(ROLE, FileAction::Sync))?;
        self.mac = mac;
        Ok(())
    }
}

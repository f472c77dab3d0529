//! What witnesses signed over checkpoints, in `tree/cosignatures`: one line each, in the order in which they came.
//! Format: `docs/formats.md`.
//!
//! The file is there from the first cosignature on. It cannot be made again, but nothing else depends on it: when it
//! cannot be read, checkpoints are signed as before, and people are told.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use retention_core::evidence::cosignature::{Cosignature, RECORD_BYTES_MAX};
use retention_core::time::Timestamp;

use super::TreeFileError;
use crate::flush::{Door, Flush, FlushGate, through};
use crate::store::durable_file::{self, DurableFileError, FileAction};

pub(super) const COSIGNATURES: &str = "cosignatures of the tree";

/// Of so many cosignatures the place of one is remembered, with the sizes of those between.
const PER_BLOCK: u64 = 1_000;

/// How many of the newest are looked through for the checkpoint that most witnesses cosigned.
const LATELY: usize = 256;

/// How long before the newest of them one still counts there, in microseconds.
const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// One read of cosignatures.
const READ_BYTES: usize = 256 * 1024;

/// The cosignatures. Several witnesses add to them.
pub struct Cosignatures {
    path: PathBuf,
    gate: Arc<dyn FlushGate>,
    state: RwLock<State>,
    /// Held while one is added: they follow one another.
    adding: Mutex<()>,
}

#[derive(Default)]
struct State {
    file: Option<File>,
    end: u64,
    count: u64,
    blocks: Vec<Block>,
    /// By verifier key: how many events the newest covers, and when it was signed.
    newest: BTreeMap<String, (u64, Timestamp)>,
    /// The newest, the oldest of them first.
    lately: Vec<Cosignature>,
}

/// Where some of them lie, and over how many events their checkpoints are.
struct Block {
    at: u64,
    smallest: u64,
    largest: u64,
}

impl State {
    fn push(&mut self, cosignature: Cosignature, at: u64, end: u64) {
        let size = cosignature.size;
        match self.blocks.last_mut().filter(|_| !self.count.is_multiple_of(PER_BLOCK)) {
            Some(block) => (block.smallest, block.largest) = (block.smallest.min(size), block.largest.max(size)),
            None => self.blocks.push(Block { at, smallest: size, largest: size }),
        }
        (self.count, self.end) = (self.count + 1, end);
        self.newest.insert(cosignature.key.clone(), (size, cosignature.at()));
        if self.lately.len() == LATELY {
            self.lately.remove(0);
        }
        self.lately.push(cosignature);
    }
}

impl Cosignatures {
    /// Opens those of a tree. What a power cut tore was told to nobody and is cut off; what is whole is made durable, as
    /// it is told from here on.
    pub(super) fn open(tree: &Path, gate: Arc<dyn FlushGate>) -> Result<Self, TreeFileError> {
        let path = tree.join("cosignatures");
        let mut state = State::default();
        if path.try_exists().map_err(durable_file::failed(COSIGNATURES, FileAction::Open))? {
            let file = durable_file::open_or_create(&path, COSIGNATURES)?;
            let len = file.metadata().map_err(durable_file::failed(COSIGNATURES, FileAction::Read))?.len();
            let mut reader = RecordReader::of(&file, 0, len);
            while let Some((at, cosignature)) = reader.next()? {
                state.push(cosignature, at, reader.at);
            }
            if state.end < len {
                tracing::warn!(
                    bytes = len - state.end,
                    "a cosignature that was being written is cut off; its witness is asked again"
                );
                file.set_len(state.end).map_err(durable_file::failed(COSIGNATURES, FileAction::Write))?;
            }
            if state.end > 0 {
                flush((gate.as_ref(), Flush::Cosignature), &file)?;
            }
            state.file = Some(file);
        }
        Ok(Self { path, gate, state: RwLock::new(state), adding: Mutex::new(()) })
    }

    /// Keeps a cosignature, durably, before anybody is told of it. Whether it holds was looked at before.
    ///
    /// # Errors
    /// When it cannot be written; what was kept before is as it was.
    pub fn keep(&self, cosignature: Cosignature) -> Result<(), TreeFileError> {
        let _one_at_a_time = self.adding.lock();
        let door: Door<'_> = (self.gate.as_ref(), Flush::Cosignature);
        let made = match &self.state.read().file {
            Some(_) => None,
            None => Some(durable_file::open_or_create_through(door, &self.path, COSIGNATURES)?),
        };
        if let Some(made) = made {
            self.state.write().file = Some(made);
        }
        let record = cosignature.record();
        let at = {
            let state = self.state.read();
            let file = state.file.as_ref().ok_or_else(|| failed(io::ErrorKind::NotFound))?;
            if let Err(error) = write(door, file, record.as_bytes(), state.end) {
                // What was written by halves must not lie behind a shorter one.
                let _cut = file.set_len(state.end);
                return Err(error.into());
            }
            state.end
        };
        self.state.write().push(cosignature, at, at + record.len() as u64);
        Ok(())
    }

    /// Returns how many events the newest checkpoint covers that the witness of this verifier key cosigned, and when it
    /// did.
    #[must_use]
    pub fn newest_of(&self, verifier_key: &str) -> Option<(u64, Timestamp)> {
        self.state.read().newest.get(verifier_key).copied()
    }

    /// Returns over how many events the checkpoint is that most witnesses cosigned, of those lately that cover more
    /// than `leaf` events; of several the newest. What was signed more than a day before the newest cosignature over
    /// one of them does not count: on a quiet log a witness that is gone for good would keep an old checkpoint the
    /// best for months.
    #[must_use]
    pub fn best_above(&self, leaf: u64) -> Option<u64> {
        let state = self.state.read();
        let mut by_size: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        let above: Vec<&Cosignature> = state.lately.iter().filter(|cosignature| cosignature.size > leaf).collect();
        let newest = above.iter().map(|cosignature| cosignature.at()).max()?;
        for cosignature in above.into_iter().filter(|one| newest.0.saturating_sub(one.at().0) <= DAY_US) {
            let keys = by_size.entry(cosignature.size).or_default();
            if !keys.contains(&cosignature.key.as_str()) {
                keys.push(&cosignature.key);
            }
        }
        by_size.into_iter().max_by_key(|(size, keys)| (keys.len(), *size)).map(|(size, _)| size)
    }

    /// Returns the cosignatures over the checkpoint of so many events: the latest of each witness.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn over(&self, size: u64) -> Result<Vec<Cosignature>, TreeFileError> {
        let state = self.state.read();
        let mut found: BTreeMap<String, Cosignature> = BTreeMap::new();
        let Some(file) = &state.file else { return Ok(Vec::new()) };
        for (index, block) in state.blocks.iter().enumerate() {
            if !(block.smallest..=block.largest).contains(&size) {
                continue;
            }
            let end = state.blocks.get(index + 1).map_or(state.end, |next| next.at);
            let mut reader = RecordReader::of(file, block.at, end);
            while let Some((_, cosignature)) = reader.next()? {
                if cosignature.size == size {
                    found.insert(cosignature.key.clone(), cosignature);
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// Returns where the newest ends in the file; 0 when there is none.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.state.read().end
    }
}

fn write(door: Door<'_>, file: &File, record: &[u8], at: u64) -> Result<(), DurableFileError> {
    // What an earlier attempt left and could not cut off would lie behind this one.
    if file.metadata().map_err(durable_file::failed(COSIGNATURES, FileAction::Read))?.len() > at {
        file.set_len(at).map_err(durable_file::failed(COSIGNATURES, FileAction::Write))?;
    }
    file.write_all_at(record, at).map_err(durable_file::failed(COSIGNATURES, FileAction::Write))?;
    flush(door, file)
}

fn flush(door: Door<'_>, file: &File) -> Result<(), DurableFileError> {
    through(door, || file.sync_data()).map_err(durable_file::failed(COSIGNATURES, FileAction::Sync))
}

fn failed(kind: io::ErrorKind) -> DurableFileError {
    durable_file::failed(COSIGNATURES, FileAction::Read)(kind.into())
}

/// Reads a file from a place on, without moving it for others.
struct At<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl io::Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = left.min(into.len());
        let read = self.file.read_at(into.get_mut(..wanted).unwrap_or_default(), self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Reads cosignatures one after another.
pub(super) struct RecordReader<'a> {
    from: BufReader<At<'a>>,
    /// Where the next one begins.
    pub(super) at: u64,
}

impl<'a> RecordReader<'a> {
    pub(super) fn of(file: &'a File, at: u64, end: u64) -> Self {
        let capacity = READ_BYTES.min(usize::try_from(end.saturating_sub(at)).unwrap_or(READ_BYTES));
        Self { from: BufReader::with_capacity(capacity.max(1), At { file, at, end }), at }
    }

    /// Returns the next one and where it begins; `None` at the end, or where one begins that was never whole.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Cosignature)>, TreeFileError> {
        let mut line = Vec::new();
        let limit = RECORD_BYTES_MAX as u64 + 1;
        let read = io::Read::take(&mut self.from, limit).read_until(b'\n', &mut line);
        read.map_err(durable_file::failed(COSIGNATURES, FileAction::Read))?;
        let Some(whole) = line.strip_suffix(b"\n") else {
            return if is_torn(&line) { Ok(None) } else { Err(TreeFileError::CosignaturesDamaged(self.at)) };
        };
        let read = std::str::from_utf8(whole).ok().and_then(Cosignature::parse_record);
        let read = read.ok_or(TreeFileError::CosignaturesDamaged(self.at))?;
        let begins_at = self.at;
        self.at += line.len() as u64;
        Ok(Some((begins_at, read)))
    }
}

/// Says whether bytes without an end of a line can be what is left of the last one: its beginning, and zeros behind it.
fn is_torn(line: &[u8]) -> bool {
    let written = line.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let begins_with_size = line.iter().take(written).next().is_none_or(u8::is_ascii_digit);
    line.len() <= RECORD_BYTES_MAX && begins_with_size && !line.iter().take(written).any(u8::is_ascii_control)
}

#[cfg(test)]
mod tests;

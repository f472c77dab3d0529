//! The signed checkpoints in `tree/checkpoints`: how they are framed, found again, and read in a stream.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use retention_core::evidence::checkpoint::{CHECKPOINT_BYTES_MAX, Checkpoint, CheckpointError};

use super::{CHECKPOINTS, TreeFileError};
use crate::store::durable_file::{self, FileAction};

/// Of so many checkpoints the place of one is remembered: a list begins to read there. One each second for a year are
/// then some hundred thousand bytes in memory.
pub(super) const PLACES_APART: u64 = 1_000;

/// The digits before a checkpoint that say how long it is.
const HEAD_BYTES_MAX: usize = 5;

/// More than one checkpoint can have, its head included.
const NOTE_BYTES: usize = HEAD_BYTES_MAX + 1 + CHECKPOINT_BYTES_MAX + 1;

/// One read of checkpoints.
const READ_BYTES: usize = 64 * NOTE_BYTES;

/// Where a checkpoint lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noted {
    pub(super) size: u64,
    pub(super) at: u64,
    pub(super) len: usize,
}

/// Where the checkpoints lie.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) newest: Option<Noted>,
    count: u64,
    /// Where those with the numbers 0, [`PLACES_APART`], … begin, and how many events each of them covers: ascending in
    /// both.
    pub(super) places: Vec<(u64, u64)>,
    pub(super) end: u64,
}

impl Notes {
    pub(super) fn push(&mut self, noted: Noted, begins_at: u64) {
        if self.count.is_multiple_of(PLACES_APART) {
            self.places.push((begins_at, noted.size));
        }
        self.count += 1;
        self.end = noted.at + noted.len as u64;
        self.newest = Some(noted);
    }
}

pub(super) fn read_note(file: &File, noted: Noted) -> Result<String, TreeFileError> {
    let mut note = vec![0; noted.len];
    file.read_exact_at(&mut note, noted.at).map_err(durable_file::failed(CHECKPOINTS, FileAction::Read))?;
    String::from_utf8(note).map_err(|_| TreeFileError::Checkpoint(CheckpointError::Malformed))
}

/// Reads checkpoints one after another, many in one read.
pub(super) struct NoteReader<'a> {
    file: &'a File,
    at: u64,
    end: u64,
    /// What lies in the file from `read_at` on.
    read: Vec<u8>,
    read_at: u64,
}

impl<'a> NoteReader<'a> {
    pub(super) fn of(file: &'a File, at: u64, end: u64) -> Self {
        Self { file, at, end, read: Vec::new(), read_at: at }
    }

    /// Returns the next one that is whole; `None` at the end, or where none begins.
    pub(super) fn next(&mut self) -> Result<Option<(Noted, String)>, TreeFileError> {
        let at = self.at;
        let Some((head, note, size)) = whole_note(self.rest()?) else { return Ok(None) };
        let noted = Noted { size, at: at + head, len: note.len() };
        let note = note.to_owned();
        self.at = noted.at + noted.len as u64;
        Ok(Some((noted, note)))
    }

    /// Returns what lies here: at least as much as one checkpoint can have, or all that is left.
    pub(super) fn rest(&mut self) -> Result<&[u8], TreeFileError> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let passed = usize::try_from(self.at - self.read_at).unwrap_or(usize::MAX);
        if self.read.len().saturating_sub(passed) < left.min(NOTE_BYTES) {
            self.read.resize(left.min(READ_BYTES), 0);
            let read = self.file.read_exact_at(&mut self.read, self.at);
            read.map_err(durable_file::failed(CHECKPOINTS, FileAction::Read))?;
            self.read_at = self.at;
            return Ok(&self.read);
        }
        Ok(self.read.get(passed..).unwrap_or_default())
    }
}

/// Takes the checkpoint with which bytes begin: how long its head is, its text, and how many events it covers.
fn whole_note(bytes: &[u8]) -> Option<(u64, &str, u64)> {
    let head = bytes.iter().take(HEAD_BYTES_MAX + 1).position(|byte| *byte == b'\n')?;
    let len: usize = std::str::from_utf8(bytes.get(..head)?).ok()?.parse().ok()?;
    let note = std::str::from_utf8(bytes.get(head + 1..(head + 1).checked_add(len)?)?).ok()?;
    Some((head as u64 + 1, note, Checkpoint::unverified(note).ok()?.size))
}

/// Reads where all checkpoints lie, and where the last of them ends. What a power cut tore was never handed out;
/// anything else that is no checkpoint is damage.
pub(super) fn read_notes(file: &File) -> Result<Notes, TreeFileError> {
    let damaged = || durable_file::failed(CHECKPOINTS, FileAction::Read)(io::ErrorKind::InvalidData.into());
    let len = file.metadata().map_err(durable_file::failed(CHECKPOINTS, FileAction::Read))?.len();
    let mut reader = NoteReader::of(file, 0, len);
    let mut notes = Notes::default();
    loop {
        let begins_at = reader.at;
        let Some((noted, _)) = reader.next()? else { break };
        if notes.newest.is_some_and(|newest| newest.size >= noted.size) {
            return Err(damaged().into());
        }
        notes.push(noted, begins_at);
    }
    let rest = reader.rest()?;
    if !is_torn(rest) {
        return Err(damaged().into());
    }
    if !rest.is_empty() {
        tracing::warn!(bytes = rest.len(), "a checkpoint that was being written is cut off; it was never handed out");
    }
    Ok(notes)
}

/// Says whether bytes can be what is left of a checkpoint that was being written: nothing, its beginning, or nothing
/// but zeros.
pub(super) fn is_torn(rest: &[u8]) -> bool {
    let (written, zeros) = match rest.iter().rposition(|byte| *byte != 0) {
        Some(last) => rest.split_at(last + 1),
        None => return true,
    };
    match written.iter().position(|byte| *byte == b'\n') {
        None => written.len() <= HEAD_BYTES_MAX && written.iter().all(u8::is_ascii_digit),
        Some(head) => {
            let len = written.get(..head).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok());
            let is_short = len
                .is_some_and(|len| len <= CHECKPOINT_BYTES_MAX && written.len() + zeros.len().min(1) < head + 1 + len);
            // A whole checkpoint of another length than its head says was not torn: the head was changed.
            let text = written.get(head + 1..).and_then(|note| std::str::from_utf8(note).ok());
            is_short && text.is_none_or(|note| Checkpoint::unverified(note).is_err())
        }
    }
}

//! The journal: the files in which the event log is durable. `docs/formats.md` has every byte.
//!
//! A group is what one fdatasync made durable. The next group is written only after that, so at most one group can
//! be torn, and it is the last: a broken group with anything after it is damage, not a torn tail.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use retention_core::event::Envelope;
use retention_core::id::Position;

pub mod frame;
pub mod reader;
pub mod recover;

use crate::flush::through;
pub use crate::flush::{Flush, FlushGate, OpenGate};
pub use frame::GroupBuffer;
pub use reader::JournalReader;

/// Segments are closed beyond this size, in bytes; it bounds what is scanned on open and rewritten by a compaction.
const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The size of a segment's header, in bytes.
pub const HEADER_BYTES: u64 = 32;

const MAGIC: [u8; 8] = *b"RTNDJRNL";
const FORMAT: u16 = 1;

/// Where a frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The number of the segment.
    pub segment: u32,
    /// The offset of the frame in it.
    pub offset: u32,
}

/// The journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("failed to {action} journal segment {segment}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The segment.
        segment: u32,
        /// What the system says.
        source: io::Error,
    },
    /// The journal is damaged: nothing was changed, and nothing is purged until it is repaired.
    #[error(
        "journal segment {segment} is damaged at byte {offset}: {damage}; bring the store back from a backup with `retentiond restore`"
    )]
    Damaged {
        /// The segment.
        segment: u32,
        /// Where.
        offset: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// Made by a newer program.
    #[error("journal segment {segment} has format {format}, which this program does not know; use a newer one")]
    Format {
        /// The segment.
        segment: u32,
        /// Its format.
        format: u16,
    },
    /// An earlier write failed: nobody knows what is on disk until the store is opened again.
    #[error("an earlier write to the journal failed; stop, and start again")]
    Poisoned,
    /// The event is too large for a segment.
    #[error("an append of {bytes} bytes does not fit into a journal segment")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// What is wrong with a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The header of a segment is not one.
    #[error("the segment header is damaged")]
    Header,
    /// A checksum is wrong, and something valid follows.
    #[error("a frame is damaged and later frames follow it")]
    Hole,
    /// A frame that was indexed is not there.
    #[error("the frame is damaged")]
    Frame,
    /// The body is not the one whose hash the envelope holds.
    #[error("the body does not match its hash")]
    Body,
    /// Positions do not follow one another.
    #[error("positions are missing or out of order")]
    Positions,
    /// A segment file is missing.
    #[error("a segment is missing")]
    Missing,
}

impl JournalError {
    pub(crate) fn io(action: &'static str, segment: u32) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, segment, source }
    }

    /// Returns the stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => "journal_no_space",
            Self::Io { .. } | Self::Poisoned => "journal_io",
            Self::Damaged { damage: Damage::Missing, .. } => "journal_incomplete",
            Self::Damaged {
                damage: Damage::Header | Damage::Hole | Damage::Frame | Damage::Body | Damage::Positions,
                ..
            } => "journal_damaged",
            Self::Format { .. } => "journal_format_unknown",
            Self::TooLarge { .. } => "append_too_large",
        }
    }

    pub(crate) fn damaged(segment: u32, offset: u64, damage: Damage) -> Self {
        Self::Damaged { segment, offset, damage }
    }
}

/// Returns the file of a segment.
#[must_use]
pub fn segment_path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(format!("{segment:08}.seg"))
}

fn header(first: Position) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[16..24].copy_from_slice(&first.0.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads the header of a segment: the position of its first event.
fn parse_header(bytes: &[u8; 32], segment: u32) -> Result<Position, JournalError> {
    let crc = u32::from_le_bytes([bytes[28], bytes[29], bytes[30], bytes[31]]);
    if bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..28]) != crc {
        return Err(JournalError::damaged(segment, 0, Damage::Header));
    }
    let format = u16::from_le_bytes([bytes[8], bytes[9]]);
    if format != FORMAT {
        return Err(JournalError::Format { segment, format });
    }
    let mut first = [0; 8];
    first.copy_from_slice(&bytes[16..24]);
    let first = Position(u64::from_le_bytes(first));
    let reserved_is_zero = bytes[10..16].iter().chain(&bytes[24..28]).all(|&byte| byte == 0);
    if first == Position::NONE || !reserved_is_zero {
        return Err(JournalError::damaged(segment, 0, Damage::Header));
    }
    Ok(first)
}

/// The one writer of the journal.
pub struct JournalWriter {
    dir: PathBuf,
    gate: Arc<dyn FlushGate>,
    file: File,
    segment: u32,
    offset: u64,
    poisoned: bool,
}

impl JournalWriter {
    /// Makes the first segment of a new journal.
    ///
    /// # Errors
    /// Says what the system refused.
    pub fn create(dir: &Path, gate: Arc<dyn FlushGate>) -> Result<Self, JournalError> {
        let file = Self::new_segment(dir, 1, Position(1))?;
        Ok(Self { dir: dir.to_owned(), gate, file, segment: 1, offset: HEADER_BYTES, poisoned: false })
    }

    /// Goes on at the end that recovery found, once all before it is durable: whoever wrote the last group may have been
    /// killed before it was flushed.
    ///
    /// # Errors
    /// Says what the system refused.
    pub fn resume(dir: &Path, gate: Arc<dyn FlushGate>, end: Place) -> Result<Self, JournalError> {
        let file = OpenOptions::new()
            .write(true)
            .open(segment_path(dir, end.segment))
            .map_err(JournalError::io("open", end.segment))?;
        through((gate.as_ref(), Flush::Journal), || {
            file.sync_all()?;
            File::open(dir)?.sync_all()
        })
        .map_err(JournalError::io("flush", end.segment))?;
        Ok(Self {
            dir: dir.to_owned(),
            gate,
            file,
            segment: end.segment,
            offset: u64::from(end.offset),
            poisoned: false,
        })
    }

    fn new_segment(dir: &Path, segment: u32, first: Position) -> Result<File, JournalError> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(segment_path(dir, segment))
            .map_err(JournalError::io("create", segment))?;
        file.write_all_at(&header(first), 0).map_err(JournalError::io("write", segment))?;
        file.sync_all().map_err(JournalError::io("flush", segment))?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(JournalError::io("flush the directory of", segment))?;
        Ok(file)
    }

    /// Writes a group and makes it durable. Returns the place of its first byte.
    ///
    /// **On failure:** the writer is poisoned: what is on disk is unknown until recovery has looked.
    ///
    /// # Errors
    /// Says what failed.
    pub fn append(&mut self, group: &GroupBuffer) -> Result<Place, JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        let bytes = group.bytes();
        if bytes.len() as u64 > u64::from(u32::MAX) - SEGMENT_BYTES_MAX {
            return Err(JournalError::TooLarge { bytes: bytes.len() });
        }
        self.poisoned = true;
        if self.offset >= SEGMENT_BYTES_MAX {
            self.segment += 1;
            self.file = Self::new_segment(&self.dir, self.segment, group.first())?;
            self.offset = HEADER_BYTES;
        }
        let offset = u32::try_from(self.offset).map_err(|_| JournalError::TooLarge { bytes: bytes.len() })?;
        let place = Place { segment: self.segment, offset };
        self.file.write_all_at(bytes, self.offset).map_err(JournalError::io("write", self.segment))?;
        self.gate.before(Flush::Journal).map_err(JournalError::io("flush", self.segment))?;
        self.file.sync_data().map_err(JournalError::io("flush", self.segment))?;
        self.gate.after(Flush::Journal).map_err(JournalError::io("flush", self.segment))?;
        self.offset += bytes.len() as u64;
        self.poisoned = false;
        Ok(place)
    }
}

/// One event as the journal holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The envelope.
    pub envelope: Envelope,
    /// The stored body; `None` once its ciphertext was removed.
    pub body: Option<Vec<u8>>,
}

//! Destroying data keys: the only irreversible act of the program.
//!
//! Each slot is overwritten in place with its tombstone, every file is flushed once, and then every slot is read back
//! past the page cache and compared. Only after that does the caller record `KeyDestroyed`. A crash anywhere leaves
//! slots that are either whole keys or tombstones, and the durable intent makes the caller do all of it again, which
//! changes nothing.

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::atomic::Ordering;

use retention_core::id::{EntityId, Position, SagaId};
use rustix::fs::{Advice, OFlags};

use super::fill::write_run;
use super::segment::{self, Segment, Shared, offset_of};
use super::slot::{self, SEGMENT_SLOTS, SLOT_BYTES};
use super::{HOUSE_SLOT, VaultError};
use crate::flush::Flush;
use crate::store::durable_file::{self, FileAction};

/// What direct reads are aligned to, in bytes: the largest sector of current drives, and the page of the cache.
const PAGE_BYTES: usize = 4096;

/// Slots of one page.
const PAGE_SLOTS: u32 = 64;

/// Two pages to be read back that are at most this far apart are read in one go: passing over 64 KiB takes a drive less
/// time than another request.
const READ_GAP_BYTES: u64 = 64 * 1024;

/// One read, in bytes.
const READ_BYTES_MAX: u64 = 1024 * 1024;

/// Leave to destroy keys: proof that the intent is durable.
///
/// **Fence:** only `stage/run` makes one, after its `StepStarted` of the pivot was acknowledged; a test checks that
/// nothing else names the constructor. It is used up by nothing but its scope: not `Clone`, and it names its saga and
/// its intent.
#[derive(Debug)]
pub struct StepTicket {
    saga: SagaId,
    intent: Position,
}

impl StepTicket {
    /// Takes the position at which the pivot's `StepStarted` of `saga` was acknowledged.
    #[must_use]
    pub fn for_intent(saga: SagaId, intent: Position) -> Self {
        Self { saga, intent }
    }
}

/// How the tombstones were read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadBack {
    /// From the device (`O_DIRECT`).
    Direct,
    /// After the system was asked to drop its cached pages, because the file system has no direct reads. It may have
    /// kept them.
    AfterDroppingCache,
}

/// Keys are destroyed: overwritten, flushed, read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the destruction is yet to be recorded"]
pub struct Destroyed {
    /// The saga that had leave.
    pub saga: SagaId,
    /// The position of its intent.
    pub intent: Position,
    /// Distinct slots that now hold a tombstone, those that already did included.
    pub slots: u32,
    /// How they were read back; the weaker way if both were used.
    pub read_back: ReadBack,
}

/// Overwrites, flushes and reads back. Nothing is written unless every slot may be destroyed.
pub(super) fn destroy(shared: &Shared, ticket: &StepTicket, ids: &[EntityId]) -> Result<Destroyed, VaultError> {
    shared.check()?;
    let mut slots: Vec<u32> = ids.iter().map(|id| id.0).collect();
    slots.sort_unstable();
    slots.dedup();
    let issued = shared.issued.load(Ordering::Acquire);
    if slots.first() == Some(&HOUSE_SLOT) {
        return Err(VaultError::HouseKeyIsKept);
    }
    if let Some(slot) = slots.last().filter(|slot| **slot >= issued) {
        return Err(VaultError::NotIssued { slot: *slot });
    }
    let _overwriting = shared.overwriting.lock();
    let mut read_back = ReadBack::Direct;
    for slots in slots.chunk_by(|a, b| a / SEGMENT_SLOTS == b / SEGMENT_SLOTS) {
        let segment = slots
            .first()
            .and_then(|slot| shared.segment_of(*slot))
            .ok_or(VaultError::SlotsMissing { used: issued, filled: slots.first().copied().unwrap_or_default() })?;
        // After a failure here nobody knows which of the slots the device holds.
        let how = overwrite(shared, &segment, slots).and_then(|()| compare(&segment, slots));
        match how.inspect_err(|_| shared.poison())? {
            ReadBack::Direct => {}
            ReadBack::AfterDroppingCache => read_back = ReadBack::AfterDroppingCache,
        }
    }
    Ok(Destroyed {
        saga: ticket.saga,
        intent: ticket.intent,
        slots: u32::try_from(slots.len()).unwrap_or(u32::MAX),
        read_back,
    })
}

/// Writes the tombstones and flushes once.
///
/// Tombstones of one page, or of neighbouring ones, are written together, and the slots between them are written again
/// as they are: the device takes whole pages anyway. Every slot in between was issued or skipped for good long ago, so
/// nobody else writes it: whoever overwrites slots holds `overwriting`, and what is filled ahead lies beyond.
fn overwrite(shared: &Shared, segment: &Segment, slots: &[u32]) -> Result<(), VaultError> {
    let mut images = Vec::new();
    for extent in slots.chunk_by(|a, b| b - a <= PAGE_SLOTS) {
        for slots in extent.chunk_by(|a, b| offset_of(*a) / READ_BYTES_MAX == offset_of(*b) / READ_BYTES_MAX) {
            let (Some(first), Some(last)) = (slots.first(), slots.last()) else { continue };
            let count = (last - first) as usize + 1;
            images.resize(count * SLOT_BYTES, 0);
            if count > slots.len() {
                segment.read_run(*first, &mut images).map_err(durable_file::failed(segment::ROLE, FileAction::Read))?;
            }
            for slot in slots {
                let at = (slot - first) as usize * SLOT_BYTES;
                if let Some(image) = images.get_mut(at..at + SLOT_BYTES) {
                    image.copy_from_slice(&slot::tombstone(*slot));
                }
            }
            write_run(segment, *first, &images)?;
        }
    }
    shared.sync(segment, Flush::Destroy)
}

/// Reads every slot from the device and compares it with its tombstone.
fn compare(segment: &Segment, slots: &[u32]) -> Result<ReadBack, VaultError> {
    let mut reader = Reader::of(segment);
    for extent in slots.chunk_by(|a, b| offset_of(*b) - offset_of(*a) <= READ_GAP_BYTES) {
        for slots in extent.chunk_by(|a, b| offset_of(*a) / READ_BYTES_MAX == offset_of(*b) / READ_BYTES_MAX) {
            let (Some(first), Some(last)) = (slots.first(), slots.last()) else { continue };
            let first = first / PAGE_SLOTS * PAGE_SLOTS;
            let end = last / PAGE_SLOTS * PAGE_SLOTS + PAGE_SLOTS;
            let bytes = reader
                .read(first, (end - first) as usize * SLOT_BYTES)
                .map_err(durable_file::failed(segment::ROLE, FileAction::Read))?;
            for slot in slots {
                let at = (slot - first) as usize * SLOT_BYTES;
                if bytes.get(at..at + SLOT_BYTES) != Some(slot::tombstone(*slot).as_slice()) {
                    return Err(VaultError::ReadBackDiffers { slot: *slot });
                }
            }
        }
    }
    Ok(reader.how())
}

/// Reads past the page cache, into memory that is aligned for it.
struct Reader<'a> {
    segment: &'a Segment,
    direct: Option<File>,
    /// As much as the largest read so far took: few keys lie close together.
    memory: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn of(segment: &'a Segment) -> Self {
        let flags = i32::try_from(OFlags::DIRECT.bits()).unwrap_or_default();
        let direct = OpenOptions::new().read(true).custom_flags(flags).open(&segment.path).ok();
        Self { segment, direct, memory: Vec::new() }
    }

    fn how(&self) -> ReadBack {
        if self.direct.is_some() { ReadBack::Direct } else { ReadBack::AfterDroppingCache }
    }

    /// Reads `len` bytes from a page-aligned slot on; fewer where the file ends. Without direct reads, the pages are
    /// dropped first.
    fn read(&mut self, slot: u32, len: usize) -> io::Result<&[u8]> {
        // Its first aligned byte may be any of the first page.
        if self.memory.len() < len + PAGE_BYTES {
            self.memory = vec![0; len + PAGE_BYTES];
        }
        let start = self.memory.as_ptr().align_offset(PAGE_BYTES);
        let beyond = || io::Error::from(io::ErrorKind::InvalidInput);
        let memory = self.memory.get_mut(start..start + len).ok_or_else(beyond)?;
        let read = match self.direct.as_ref().map(|file| file.read_at(memory, offset_of(slot))) {
            Some(Ok(read)) => Some(read),
            Some(Err(error)) if error.raw_os_error() != Some(rustix::io::Errno::INVAL.raw_os_error()) => {
                return Err(error);
            }
            Some(Err(_)) | None => None,
        };
        if read.is_none() {
            self.direct = None;
            let len = NonZeroU64::new(len as u64);
            rustix::fs::fadvise(&self.segment.file, offset_of(slot), len, Advice::DontNeed)?;
            self.segment.read_run(slot, memory)?;
        }
        memory.get(..read.unwrap_or(len)).ok_or_else(beyond)
    }
}

//! The segment files `slots.NNNN`, and what all threads of the vault share.
//!
//! A file grows by writing filled slots at its end, never by preallocation: an extent that was only reserved would be
//! moved when it is first written, and a tombstone must land where the key was. So the length of a file says how far it
//! is filled.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::{Mutex, RwLock};

use super::slot::{SEGMENT_SLOTS, SLOT_BYTES, Slot, SlotDamage, SlotImage, WrappingKey};
use super::wrapping::OpenKey;
use super::{DataKey, VaultError};
use crate::flush::{Flush, FlushGate};
use crate::store::durable_file::{self, FileAction};

pub(super) const ROLE: &str = "file of key slots";

const SEGMENT_BYTES: u64 = SEGMENT_SLOTS as u64 * SLOT_BYTES as u64;

/// One file of slots with its wrapping key.
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) key: WrappingKey,
}

impl Segment {
    /// Opens the file of a segment, and makes it when it is not there.
    pub(super) fn open(dir: &Path, number: u32, key: &OpenKey) -> Result<Self, VaultError> {
        let path = path_of(dir, number);
        let file = durable_file::open_or_create(&path, ROLE)?;
        let key = WrappingKey::of(&key.bytes, key.epoch)?;
        Ok(Self { number, file, path, key })
    }

    /// Returns the number of slots that the file has room for; a piece of one at its end counts.
    pub(super) fn slots(&self) -> Result<u32, VaultError> {
        let bytes = self.file.metadata().map_err(durable_file::failed(ROLE, FileAction::Read))?.len();
        if bytes > SEGMENT_BYTES {
            return Err(VaultError::SegmentTooLong { segment: self.number });
        }
        u32::try_from(bytes.div_ceil(SLOT_BYTES as u64))
            .map_err(|_| VaultError::SegmentTooLong { segment: self.number })
    }

    /// Reads one slot. What lies beyond the end of the file is empty; a piece of a slot is read as if zeros followed.
    pub(super) fn read(&self, slot: u32) -> io::Result<SlotImage> {
        let mut image = [0; SLOT_BYTES];
        self.read_run(slot, &mut image)?;
        Ok(image)
    }

    /// Reads neighbouring slots, from `slot` on, into `bytes`, and zeros where the file ends before.
    pub(super) fn read_run(&self, slot: u32, bytes: &mut [u8]) -> io::Result<()> {
        let mut offset = offset_of(slot);
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.file.read_at(rest, offset) {
                Ok(0) => {
                    rest.fill(0);
                    return Ok(());
                }
                Ok(read) => {
                    offset += read as u64;
                    rest = rest.get_mut(read..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Opens what a slot's image holds.
    pub(super) fn open_slot(&self, slot: u32, image: &SlotImage) -> Result<OpenSlot, SlotDamage> {
        Ok(match Slot::parse(image, slot)? {
            Slot::Empty => OpenSlot::Empty,
            Slot::Filled { epoch, wrapped, tag } => OpenSlot::Filled(self.key.unwrap(slot, epoch, &wrapped, &tag)?),
            Slot::Destroyed => OpenSlot::Destroyed,
            Slot::Retired => OpenSlot::Retired,
        })
    }
}

/// A slot whose key was unwrapped.
pub(super) enum OpenSlot {
    Empty,
    Filled(DataKey),
    Destroyed,
    Retired,
}

/// Returns the path of a segment's file.
pub(super) fn path_of(dir: &Path, segment: u32) -> PathBuf {
    dir.join(format!("slots.{segment:04}"))
}

/// Returns where a slot begins in its segment's file.
pub(super) fn offset_of(slot: u32) -> u64 {
    u64::from(slot % SEGMENT_SLOTS) * SLOT_BYTES as u64
}

/// What the callers and the thread that fills ahead share.
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) segments: RwLock<Vec<Arc<Segment>>>,
    /// Every slot below was issued, or will never be.
    pub(super) issued: AtomicU32,
    /// Held while tombstones are written, so that a reader who met half of one can look again.
    pub(super) overwriting: Mutex<()>,
    gate: Arc<dyn FlushGate>,
    poisoned: AtomicBool,
}

impl Shared {
    pub(super) fn of(dir: &Path, segments: Vec<Arc<Segment>>, issued: u32, gate: Arc<dyn FlushGate>) -> Self {
        Self {
            dir: dir.to_path_buf(),
            segments: RwLock::new(segments),
            issued: AtomicU32::new(issued),
            overwriting: Mutex::new(()),
            gate,
            poisoned: AtomicBool::new(false),
        }
    }

    /// Flushes a segment's file to the device.
    pub(super) fn sync(&self, segment: &Segment, what: Flush) -> Result<(), VaultError> {
        let flushed =
            self.gate.before(what).and_then(|()| segment.file.sync_data()).and_then(|()| self.gate.after(what));
        Ok(flushed.map_err(durable_file::failed(ROLE, FileAction::Sync))?)
    }

    /// Returns the segment that holds a slot, if its file exists.
    pub(super) fn segment_of(&self, slot: u32) -> Option<Arc<Segment>> {
        self.segments.read().get((slot / SEGMENT_SLOTS) as usize).cloned()
    }

    /// Marks the vault as unusable: after a failed write or flush nobody knows what is on the device.
    pub(super) fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }

    pub(super) fn check(&self) -> Result<(), VaultError> {
        if self.poisoned.load(Ordering::Acquire) { Err(VaultError::Poisoned) } else { Ok(()) }
    }
}

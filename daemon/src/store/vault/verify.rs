//! Reading every slot.

use std::sync::atomic::Ordering;

use roaring::RoaringBitmap;

use super::VaultError;
use super::segment::{self, OpenSlot, Segment, Shared};
use super::slot::{SEGMENT_SLOTS, SLOT_BYTES, Slot};
use crate::halt::Halt;
use crate::store::durable_file::{self, FileAction};

/// Damaged slots that are named one by one; more are only counted.
const DAMAGED_NAMED_MAX: usize = 1000;

/// Slots read at once: 1 MiB.
const READ_SLOTS: u32 = 16_384;

/// What [`super::Vault::verify`] found among the issued slots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VaultVerification {
    /// Keys that open.
    pub live: u64,
    /// Tombstones.
    pub destroyed: u64,
    /// Slots that are skipped for ever.
    pub retired: u64,
    /// Slots that hold neither, or nothing.
    pub damaged: u64,
    /// The numbers of the first thousand of those, ascending.
    pub damaged_slots: Vec<u32>,
    /// The numbers of the tombstones.
    pub destroyed_slots: RoaringBitmap,
}

impl VaultVerification {
    fn count(&mut self, slot: u32, state: Option<&OpenSlot>) {
        match state {
            Some(OpenSlot::Filled(_)) => self.live += 1,
            Some(OpenSlot::Destroyed) => {
                self.destroyed += 1;
                self.destroyed_slots.insert(slot);
            }
            Some(OpenSlot::Retired) => self.retired += 1,
            Some(OpenSlot::Empty) | None => {
                self.damaged += 1;
                if self.damaged_slots.len() < DAMAGED_NAMED_MAX {
                    self.damaged_slots.push(slot);
                }
            }
        }
    }
}

/// What the issued slots hold, as far as it shows without opening any key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlotCounts {
    /// Keys.
    pub live: u64,
    /// Tombstones.
    pub destroyed: u64,
    /// Slots that are skipped for ever.
    pub retired: u64,
    /// Slots that hold neither, or nothing.
    pub damaged: u64,
}

pub(super) fn count(shared: &Shared, halt: &Halt) -> Result<SlotCounts, VaultError> {
    let issued = shared.issued.load(Ordering::Acquire);
    let mut counts = SlotCounts::default();
    let mut bytes = vec![0; READ_SLOTS as usize * SLOT_BYTES];
    for first in (0..issued).step_by(READ_SLOTS as usize) {
        if halt.is_asked() {
            break;
        }
        // A run never crosses a segment, of which it is a whole fraction.
        let count = READ_SLOTS.min(issued - first);
        let run = bytes.get_mut(..count as usize * SLOT_BYTES).unwrap_or_default();
        let Some(segment) = shared.segment_of(first) else {
            counts.damaged += u64::from(count);
            continue;
        };
        // No tombstone is half written meanwhile.
        let _overwriting = shared.overwriting.lock();
        segment.read_run(first, run).map_err(durable_file::failed(segment::ROLE, FileAction::Read))?;
        let (images, _) = run.as_chunks::<SLOT_BYTES>();
        for (slot, image) in (first..).zip(images) {
            match Slot::parse(image, slot) {
                Ok(Slot::Filled { .. }) => counts.live += 1,
                Ok(Slot::Destroyed) => counts.destroyed += 1,
                Ok(Slot::Retired) => counts.retired += 1,
                Ok(Slot::Empty) | Err(_) => counts.damaged += 1,
            }
        }
    }
    Ok(counts)
}

pub(super) fn verify(shared: &Shared, halt: &Halt) -> Result<VaultVerification, VaultError> {
    let issued = shared.issued.load(Ordering::Acquire);
    let mut found = VaultVerification::default();
    let mut bytes = vec![0; READ_SLOTS as usize * SLOT_BYTES];
    let mut first = 0;
    while first < issued && !halt.is_asked() {
        // A run never crosses a segment, of which it is a whole fraction.
        let count = READ_SLOTS.min(issued - first);
        let segment = shared.segment_of(first);
        match segment {
            Some(segment) => verify_run(shared, &segment, first..first + count, &mut bytes, &mut found)?,
            None => (first..first + count).for_each(|slot| found.count(slot, None)),
        }
        first += count;
    }
    Ok(found)
}

fn verify_run(
    shared: &Shared,
    segment: &Segment,
    slots: std::ops::Range<u32>,
    bytes: &mut [u8],
    found: &mut VaultVerification,
) -> Result<(), VaultError> {
    let bytes = bytes.get_mut(..slots.len() * SLOT_BYTES).unwrap_or_default();
    segment.read_run(slots.start, bytes).map_err(durable_file::failed(segment::ROLE, FileAction::Read))?;
    let (images, _) = bytes.as_chunks::<SLOT_BYTES>();
    for (slot, image) in slots.zip(images) {
        let mut state = segment.open_slot(slot, image).ok();
        if state.is_none() {
            // A tombstone may have been half written while it was read.
            let _overwriting = shared.overwriting.lock();
            let again = segment.read(slot).map_err(durable_file::failed(segment::ROLE, FileAction::Read))?;
            state = segment.open_slot(slot, &again).ok();
        }
        found.count(slot, state.as_ref());
    }
    Ok(())
}

const _: () = assert!(SEGMENT_SLOTS.is_multiple_of(READ_SLOTS), "a run never crosses a segment");

//! Keys from a backup, wrapped anew: under new wrapping keys, without those that must not come back.
//!
//! The store that was lost may have filled slots after the backup was made, under the same wrapping keys. A slot that
//! is filled again under one of them would use a nonce twice. So every segment gets a new wrapping key, of the next
//! epoch. A key that is left out is never written: its slot is a tombstone from the beginning.

use std::path::Path;

use roaring::RoaringBitmap;

use super::segment::{self, OpenSlot, Segment};
use super::slot::{self, SEGMENT_SLOTS, SLOT_BYTES, WrappingKey};
use super::wrapping::{Repair, Wrapping};
use super::{IndexKey, RootKey, VaultError, open_segments};
use crate::halt::Halt;
use crate::store::durable_file::{self, FileAction};
use crate::store::{OpenError, Progress, ReadError};

/// Slots that are read at once: 1 MiB.
const READ_SLOTS: u32 = 16_384;

/// Returns the key of all keyed digests, as a copy of the keys has it.
///
/// # Errors
/// When there are no wrapping keys, or the root key does not open them.
pub fn index_key_of(dir: &Path, root: RootKey) -> Result<IndexKey, VaultError> {
    Ok(IndexKey::of(&Wrapping::load(dir, root, Repair::LeaveAlone)?.wrapping.index_key()?.bytes))
}

/// Writes the keys of the slots below `used` from a copy into an empty directory. Returns how many of those that are to
/// be left out were still there. Progress is in slots.
///
/// # Errors
/// When the copy has fewer slots, or a slot that is damaged, or when it was asked to stop.
pub fn rewrap(
    from: &Path,
    into: &Path,
    root: RootKey,
    used: u32,
    left_out: &RoaringBitmap,
    halt: &Halt,
    progress: Progress<'_>,
) -> Result<u64, OpenError> {
    let old = Wrapping::load(from, root, Repair::LeaveAlone)?.wrapping;
    let segments = open_segments(from, &old)?;
    let count = used.div_ceil(SEGMENT_SLOTS);
    let new = old.renewed(into, count)?;
    let mut were_there = 0;
    for number in 0..count {
        let missing = || VaultError::SlotsMissing { used, filled: number * SEGMENT_SLOTS };
        let source = segments.get(number as usize).ok_or_else(missing)?;
        let key = new.segment_key(number)?.ok_or_else(missing)?;
        let key = WrappingKey::of(&key.bytes, key.epoch).map_err(VaultError::from)?;
        let first = number * SEGMENT_SLOTS;
        let slots = first..used.min(first + SEGMENT_SLOTS);
        were_there += rewrap_segment(source, into, &key, slots, left_out, &mut |done| {
            progress(u64::from(done), u64::from(used));
            Ok(halt.check().map_err(ReadError::from)?)
        })?;
    }
    Ok(were_there)
}

fn rewrap_segment(
    source: &Segment,
    into: &Path,
    key: &WrappingKey,
    slots: std::ops::Range<u32>,
    left_out: &RoaringBitmap,
    each: &mut dyn FnMut(u32) -> Result<(), OpenError>,
) -> Result<u64, OpenError> {
    let target = durable_file::open_or_create(&segment::path_of(into, source.number), segment::ROLE)?;
    let mut bytes = Vec::new();
    let mut were_there = 0;
    for first in slots.clone().step_by(READ_SLOTS as usize) {
        each(first)?;
        let end = slots.end.min(first + READ_SLOTS);
        bytes.resize((end - first) as usize * SLOT_BYTES, 0);
        source.read_run(first, &mut bytes).map_err(durable_file::failed(segment::ROLE, FileAction::Read))?;
        let (images, _) = bytes.as_chunks_mut::<SLOT_BYTES>();
        for (number, image) in (first..end).zip(images) {
            let opened = source.open_slot(number, image).map_err(|_| VaultError::SlotDamaged { slot: number })?;
            *image = match opened {
                OpenSlot::Filled(_) if left_out.contains(number) => {
                    were_there += 1;
                    slot::tombstone(number)
                }
                OpenSlot::Filled(data_key) => key.wrap(number, &data_key).map_err(VaultError::from)?,
                OpenSlot::Destroyed => slot::tombstone(number),
                OpenSlot::Retired => slot::retired(number),
                OpenSlot::Empty => return Err(VaultError::SlotsMissing { used: slots.end, filled: number }.into()),
            };
        }
        std::os::unix::fs::FileExt::write_all_at(&target, &bytes, segment::offset_of(first))
            .map_err(durable_file::failed(segment::ROLE, FileAction::Write))?;
    }
    target.sync_all().map_err(durable_file::failed(segment::ROLE, FileAction::Sync))?;
    Ok(were_there)
}

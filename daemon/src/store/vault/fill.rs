//! Filling slots ahead of need, so that handing out a key does not wait for the device.
//!
//! One thread makes blocks of keys, writes them, flushes them, and offers them through a queue of [`BLOCKS_AHEAD`].
//! **No key enters the queue before its slot is durable.** When the queue is full the thread rests.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use retention_core::id::EntityId;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::segment::{self, OpenSlot, Segment, Shared};
use super::slot::{self, SEGMENT_SLOTS, SLOT_BYTES};
use super::wrapping::Wrapping;
use super::{DataKey, KEY_BYTES, SLOTS_MAX, VaultError, VaultReport};
use crate::flush::Flush;
use crate::store::durable_file::{self, FileAction};

/// The slots of one block: 512 KiB, about 1 ms of writing. A segment is a whole number of blocks.
const BLOCK_SLOTS: u32 = 8192;

/// Blocks that wait in the queue. With the one being handed out and the one being made: 32,768 slots or 2 MiB ahead at
/// most.
pub(super) const BLOCKS_AHEAD: usize = 2;

/// More filled slots than this after the last used one cannot come from a crash of ours: one block is being handed out,
/// some wait, one is being made, and one is to spare for a block that was cut short.
pub(super) const AHEAD_SLOTS_MAX: u32 = BLOCK_SLOTS * 5;

/// Keys that are durable in their slots, ascending by slot.
pub(super) type Block = Vec<(EntityId, DataKey)>;

pub(super) type BlockQueue = Receiver<Result<Block, VaultError>>;

/// What the filling thread owns.
pub(super) struct Filler {
    pub(super) shared: Arc<Shared>,
    pub(super) wrapping: Wrapping,
    /// The first slot that was never written.
    pub(super) next: u32,
}

impl Filler {
    /// Offers `recovered` first, then new blocks, until the queue's other end is dropped or something fails.
    ///
    /// What was recovered goes in blocks of the usual size, or many short lives of the daemon would fill further and
    /// further ahead.
    pub(super) fn run(mut self, recovered: Block, queue: &Sender<Result<Block, VaultError>>) {
        let mut recovered = recovered.into_iter().peekable();
        while recovered.peek().is_some() {
            let block = recovered.by_ref().take(BLOCK_SLOTS as usize).collect();
            if queue.send(Ok(block)).is_err() {
                return;
            }
        }
        loop {
            let block = self.fill_block();
            let failed = block.is_err();
            if let Err(error) = &block {
                // Whoever needs a key next hears only that a write has failed.
                tracing::error!(%error, "key slots could not be filled; nothing more is written until the store is opened again");
                self.shared.poison();
            }
            if queue.send(block).is_err() || failed {
                return;
            }
        }
    }

    /// Fills up to the next multiple of a block, which never crosses a segment.
    fn fill_block(&mut self) -> Result<Block, VaultError> {
        let first = self.next;
        let end = (first / BLOCK_SLOTS + 1).checked_mul(BLOCK_SLOTS).filter(|end| *end <= SLOTS_MAX);
        let end = end.ok_or(VaultError::Full)?;
        let segment = self.segment(first / SEGMENT_SLOTS)?;
        let count = (end - first) as usize;
        let mut random = Zeroizing::new(vec![0; count * KEY_BYTES]);
        SystemRandom::new().fill(&mut random).map_err(|_| VaultError::NoRandomness)?;
        let mut images = Vec::with_capacity(count * SLOT_BYTES);
        let mut block = Vec::with_capacity(count);
        let (keys, _) = random.as_chunks::<KEY_BYTES>();
        for (number, bytes) in (first..end).zip(keys) {
            let key = DataKey::from_bytes(*bytes);
            images.extend_from_slice(&segment.key.wrap(number, &key)?);
            block.push((EntityId(number), key));
        }
        write_run(&segment, first, &images)?;
        self.shared.sync(&segment, Flush::Fill)?;
        self.next = end;
        Ok(block)
    }

    /// Returns a segment; a new one gets its wrapping key, durably, before its file.
    fn segment(&mut self, number: u32) -> Result<Arc<Segment>, VaultError> {
        if let Some(segment) = self.shared.segments.read().get(number as usize) {
            return Ok(Arc::clone(segment));
        }
        let key = match self.wrapping.segment_key(number)? {
            Some(key) => key,
            None => self.wrapping.add_segment(number)?,
        };
        let segment = Arc::new(Segment::open(&self.shared.dir, number, &key)?);
        self.shared.segments.write().push(Arc::clone(&segment));
        Ok(segment)
    }
}

/// Writes neighbouring slots.
pub(super) fn write_run(segment: &Segment, slot: u32, images: &[u8]) -> Result<(), VaultError> {
    let written = segment.file.write_all_at(images, segment::offset_of(slot));
    Ok(written.map_err(durable_file::failed(segment::ROLE, FileAction::Write))?)
}

/// Flushes a segment's file to the device, before anything else can happen to it.
fn sync(segment: &Segment) -> Result<(), VaultError> {
    Ok(segment.file.sync_data().map_err(durable_file::failed(segment::ROLE, FileAction::Sync))?)
}

/// Takes over the slots that were filled ahead before the vault was last closed or killed, and retires what is not
/// whole there.
///
/// A key found here may have been handed out to an append that was never acknowledged. Issuing it again is safe:
/// nothing that counts was sealed with it, and nonces are random.
pub(super) fn recover_ahead(
    segments: &[Arc<Segment>],
    ahead: Range<u32>,
    report: &mut VaultReport,
) -> Result<Block, VaultError> {
    let mut block = Vec::new();
    for segment in segments {
        let first = ahead.start.max(segment.number * SEGMENT_SLOTS);
        let end = ahead.end.min((segment.number + 1) * SEGMENT_SLOTS);
        let retired_before = report.retired;
        for number in first..end {
            let image = segment.read(number).map_err(durable_file::failed(segment::ROLE, FileAction::Read))?;
            match segment.open_slot(number, &image) {
                Ok(OpenSlot::Filled(key)) => block.push((EntityId(number), key)),
                Ok(OpenSlot::Retired) => {}
                Ok(OpenSlot::Destroyed) => report.destroyed_ahead += 1,
                Ok(OpenSlot::Empty) | Err(slot::SlotDamage) => {
                    write_run(segment, number, &slot::retired(number))?;
                    report.retired += 1;
                }
            }
        }
        if report.retired != retired_before {
            sync(segment)?;
        }
    }
    Ok(block)
}

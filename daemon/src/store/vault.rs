//! The vault: one data key per entity, each in a numbered slot, wrapped under a wrapping key, which is wrapped under
//! the root key.
//!
//! **Trust.** The vault is trusted and cannot be rebuilt: losing it loses every sealed body. It is backed up apart from
//! the rest. A slot number is an entity number, and neither is ever used again. A destroyed slot keeps a tombstone, so
//! "destroyed" never looks like "never issued". Formats: [`slot`] and [`wrapping`].
//!
//! After a write or a flush has failed, nobody knows what the device holds: every later call answers "close and
//! re-open". A read that fails spoils only itself.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use retention_core::id::EntityId;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::flush::{FlushGate, OpenGate};
use crate::halt::Halt;
use crate::store::durable_file::{self, DurableFileError, FileAction};

pub mod destroy;
pub mod filesystem;
mod fill;
pub mod rewrap;
pub mod root_key;
pub mod rotate;
pub mod seal;
mod segment;
pub mod slot;
mod verify;
pub mod wrapping;

pub use destroy::{Destroyed, ReadBack, StepTicket};
pub use filesystem::FilesystemWarning;
pub use root_key::{RootKey, RootKeyError};
pub use seal::{IndexKey, SealContext, SealError, Sealer};
pub use verify::{SlotCounts, VaultVerification};
pub use wrapping::WrappingCopy;

use fill::{AHEAD_SLOTS_MAX, BLOCKS_AHEAD, Block, BlockQueue, Filler};
use segment::{OpenSlot, Segment, Shared};
use slot::{CipherRefused, SEGMENT_SLOTS};
use wrapping::{Repair, Wrapping};

/// The size of every key, in bytes.
pub const KEY_BYTES: usize = 32;

/// Segments of a full vault. One less than the numbers allow, so that no slot is `u32::MAX`.
pub const SEGMENTS_MAX: u32 = 4095;

/// Slots of a full vault: 4.29 thousand million.
pub const SLOTS_MAX: u32 = SEGMENTS_MAX * SEGMENT_SLOTS;

/// The slot of the house key, which seals what operators wrote. Never destroyed.
pub const HOUSE_SLOT: u32 = 0;

/// Keys that are looked up together and are closer than this are read in one go, in slots: one page.
const KEYS_GAP_SLOTS: u32 = 64;

/// The most slots of one such read: 64 KiB, and never across a segment.
const KEYS_READ_SLOTS: u32 = 1024;

const DIR_ROLE: &str = "directory of keys";

/// The key that seals the bodies of one entity. Overwritten in memory when dropped; not `Clone`, so that copies are
/// made knowingly.
#[derive(PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; KEY_BYTES]);

impl DataKey {
    pub(in crate::store) fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Takes the key out of a place that lives on, and overwrites it there: what is only moved stays behind.
    fn taken(&mut self) -> Self {
        let key = Self(self.0);
        self.0.zeroize();
        key
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// What the vault knows of one data key.
#[derive(Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It can open.
    Live(DataKey),
    /// It was destroyed; nothing sealed with it can ever be opened.
    Destroyed,
    /// No entity has it.
    NeverIssued,
    /// The slot was issued and holds neither a key of this vault nor a tombstone.
    Damaged,
}

/// The vault failed. Messages hold slot and segment numbers, never a key.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is none.
    #[error("there is no vault in this directory; a new one is made only by `retentiond init`")]
    Absent,
    /// There is one already.
    #[error("there is a vault in this directory already; it was left alone")]
    Exists,
    /// It was made under another root key.
    #[error(
        "this root key does not open this store; nothing was changed. Use the root key with which the store was made"
    )]
    WrongRootKey,
    /// Neither copy of the wrapping keys is usable.
    #[error(
        "both copies of the wrapping keys (wrapping.a, wrapping.b) are damaged; nothing was changed. Move the state directory away as it is and run `retentiond restore` (docs/backup.md): by hand, an older copy would bring back who was erased since"
    )]
    WrappingDamaged,
    /// A file of slots has no wrapping key.
    #[error(
        "the file of key slots {segment:04} exists, but the wrapping keys do not list it; nothing was changed. Move the state directory away as it is and run `retentiond restore` (docs/backup.md): by hand, an older copy would bring back who was erased since"
    )]
    SegmentWithoutKey {
        /// Which.
        segment: u32,
    },
    /// A file of slots is longer than a program of ours makes it.
    #[error("the file of key slots {segment:04} is too long; nothing was changed")]
    SegmentTooLong {
        /// Which.
        segment: u32,
    },
    /// Slots that were used are not there.
    #[error(
        "the journal uses {used} key slots, but only {filled} are there: a file of key slots was cut or is missing; nothing was changed. Move the state directory away as it is and run `retentiond restore` (docs/backup.md): by hand, an older copy would bring back who was erased since"
    )]
    SlotsMissing {
        /// As the journal has it.
        used: u32,
        /// As the files have it.
        filled: u32,
    },
    /// The journal knows far fewer slots than were filled.
    #[error(
        "the journal uses {used} key slots, but {filled} were filled: the journal is older than the keys; nothing was changed. Restore the newer journal"
    )]
    JournalBehind {
        /// As the journal has it.
        used: u32,
        /// As the files have it. Opening with this number never issues the slots between.
        filled: u32,
    },
    /// A file could not be kept.
    #[error(transparent)]
    File(#[from] DurableFileError),
    /// A key that no entity has cannot be destroyed.
    #[error("slot {slot} was never issued, so none of the keys was destroyed")]
    NotIssued {
        /// Which.
        slot: u32,
    },
    /// The house key is never destroyed.
    #[error("slot 0 is the house key, which is never destroyed; none of the keys was")]
    HouseKeyIsKept,
    /// A slot is neither a key nor a tombstone.
    #[error(
        "key slot {slot} is damaged, so the keys were not wrapped anew; what was there is as it was. `retentionctl store verify` says what to do; where it is a backup that is restored, use another one"
    )]
    SlotDamaged {
        /// Which.
        slot: u32,
    },
    /// The house key does not open.
    #[error(
        "slot 0, the house key, is damaged: what operators wrote cannot be opened. Move the state directory away as it is and run `retentiond restore` (docs/backup.md): by hand, an older copy would bring back who was erased since"
    )]
    HouseKeyDamaged,
    /// A tombstone was flushed and is not there.
    #[error(
        "slot {slot} was overwritten and flushed, but reads back differently: the device does not keep what it is given. No key counts as destroyed; close and re-open, and check the device"
    )]
    ReadBackDiffers {
        /// The first such.
        slot: u32,
    },
    /// Something failed before.
    #[error("a write to the vault failed earlier, so what the device holds is not known: close and re-open")]
    Poisoned,
    /// It was opened to read.
    #[error("the vault is open for reading only")]
    ReadOnly,
    /// No slot is left.
    #[error("all key slots are used")]
    Full,
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes; no key was made")]
    NoRandomness,
    /// The cipher refused a key.
    #[error("the cipher refused a key; nothing was written")]
    Cipher,
}

impl From<CipherRefused> for VaultError {
    fn from(_: CipherRefused) -> Self {
        Self::Cipher
    }
}

/// What opening found and mended. Everything zero and `None` after a clean stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VaultReport {
    /// The copy of the wrapping keys that was damaged or behind, and was made again from the other.
    pub repaired: Option<WrappingCopy>,
    /// Slots after the last used one that a crash left half filled; they will never be issued.
    pub retired: u32,
    /// Tombstones after the last used slot: the journal has lost events that it once acknowledged.
    pub destroyed_ahead: u32,
}

/// The open vault. Shared by all threads.
pub struct Vault {
    shared: Arc<Shared>,
    index_key: IndexKey,
    report: VaultReport,
    issuer: Option<Mutex<Issuer>>,
    filler: Option<JoinHandle<()>>,
}

/// Where issuing and filling go on.
struct Ahead {
    next_slot: u32,
    unwritten: u32,
    recovered: Block,
}

/// The keys that are next.
struct Issuer {
    block: Block,
    /// Which of the block is handed out next.
    next: usize,
    queue: BlockQueue,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("report", &self.report).finish_non_exhaustive()
    }
}

impl Vault {
    /// Makes a vault in `dir`, which is made too (0700), with its house key in slot 0.
    ///
    /// # Errors
    /// When there is one already, or something cannot be made durable.
    pub fn create(dir: &Path, root: RootKey) -> Result<Self, VaultError> {
        durable_file::create_private_dir(dir, DIR_ROLE)?;
        if segment::path_of(dir, 0).exists() {
            return Err(VaultError::Exists);
        }
        let wrapping = Wrapping::create(dir, root)?;
        let ahead = Ahead { next_slot: HOUSE_SLOT, unwritten: HOUSE_SLOT, recovered: Vec::new() };
        let vault = Self::start(dir, wrapping, Vec::new(), ahead, VaultReport::default(), Arc::new(OpenGate))?;
        vault.issue(1)?;
        Ok(vault)
    }

    /// Opens the vault to issue from `next_slot` on, the first slot that no event of the journal names.
    ///
    /// What was filled from there on is issued first; what a crash left half filled there is retired. Slots below
    /// `next_slot` that the journal skipped are never issued. `next_slot` 0 means 1: the house key is not issued.
    ///
    /// # Errors
    /// When the root key is another one, or what the files hold contradicts `next_slot`; nothing is changed then.
    pub fn open(dir: &Path, root: RootKey, next_slot: u32) -> Result<Self, VaultError> {
        Self::open_gated(dir, root, next_slot, Arc::new(OpenGate))
    }

    /// As [`Self::open`], with a gate around every flush.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_gated(dir: &Path, root: RootKey, next_slot: u32, gate: Arc<dyn FlushGate>) -> Result<Self, VaultError> {
        let next_slot = next_slot.max(HOUSE_SLOT + 1);
        let loaded = Wrapping::load(dir, root, Repair::Write)?;
        let mut report = VaultReport { repaired: loaded.repaired, ..VaultReport::default() };
        let segments = open_segments(dir, &loaded.wrapping)?;
        let filled = filled_slots(&segments)?;
        if next_slot > filled {
            return Err(VaultError::SlotsMissing { used: next_slot, filled });
        }
        if filled - next_slot > AHEAD_SLOTS_MAX {
            return Err(VaultError::JournalBehind { used: next_slot, filled });
        }
        let recovered = fill::recover_ahead(&segments, next_slot..filled, &mut report)?;
        let ahead = Ahead { next_slot, unwritten: filled, recovered };
        Self::start(dir, loaded.wrapping, segments, ahead, report, gate)
    }

    /// Opens the vault to read keys below `next_slot`, also when it is damaged. Nothing is written, repaired or issued.
    ///
    /// # Errors
    /// When there is no vault, its wrapping keys do not open, or a file cannot be opened.
    pub fn open_read_only(dir: &Path, root: RootKey, next_slot: u32) -> Result<Self, VaultError> {
        let loaded = Wrapping::load(dir, root, Repair::LeaveAlone)?;
        let index_key = IndexKey::of(&loaded.wrapping.index_key()?.bytes);
        let segments = open_segments(dir, &loaded.wrapping)?;
        let report = VaultReport { repaired: loaded.repaired, ..VaultReport::default() };
        let shared = Arc::new(Shared::of(dir, segments, next_slot.max(HOUSE_SLOT + 1), Arc::new(OpenGate)));
        Ok(Self { shared, index_key, report, issuer: None, filler: None })
    }

    /// Starts the thread that fills ahead.
    fn start(
        dir: &Path,
        wrapping: Wrapping,
        segments: Vec<Arc<Segment>>,
        ahead: Ahead,
        report: VaultReport,
        gate: Arc<dyn FlushGate>,
    ) -> Result<Self, VaultError> {
        let index_key = IndexKey::of(&wrapping.index_key()?.bytes);
        let shared = Arc::new(Shared::of(dir, segments, ahead.next_slot, gate));
        let (offer, queue) = crossbeam_channel::bounded(BLOCKS_AHEAD);
        let filler = Filler { shared: Arc::clone(&shared), wrapping, next: ahead.unwritten };
        let filler = std::thread::Builder::new()
            .name("vault-fill".to_owned())
            .spawn(move || filler.run(ahead.recovered, &offer))
            .map_err(durable_file::failed("thread that fills key slots", FileAction::Create))?;
        let issuer = Some(Mutex::new(Issuer { block: Vec::new(), next: 0, queue }));
        Ok(Self { shared, index_key, report, issuer, filler: Some(filler) })
    }

    /// Returns what opening found.
    #[must_use]
    pub fn report(&self) -> VaultReport {
        self.report
    }

    /// Returns what the file system of the keys does to the promise of erasure.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn warnings(&self) -> Result<Option<FilesystemWarning>, VaultError> {
        Ok(FilesystemWarning::of(&self.shared.dir).map_err(durable_file::failed(DIR_ROLE, FileAction::Read))?)
    }

    /// Returns the key of all keyed digests.
    #[must_use]
    pub fn index_key(&self) -> IndexKey {
        self.index_key.clone()
    }

    /// Returns the key of slot 0.
    ///
    /// # Errors
    /// When it does not open.
    pub fn house_key(&self) -> Result<DataKey, VaultError> {
        match self.key_of(EntityId(HOUSE_SLOT))? {
            KeyState::Live(key) => Ok(key),
            KeyState::Destroyed | KeyState::NeverIssued | KeyState::Damaged => Err(VaultError::HouseKeyDamaged),
        }
    }

    /// Hands out the next `count` keys, all of them durable, with ascending numbers. The numbers have gaps only where a
    /// crash left slots half filled. Waits only when keys are used faster than the device takes them.
    ///
    /// # Errors
    /// When filling ahead failed; the keys taken for this call are then never issued again while the vault is open.
    pub fn issue(&self, count: usize) -> Result<Vec<(EntityId, DataKey)>, VaultError> {
        self.shared.check()?;
        let mut issuer = self.issuer.as_ref().ok_or(VaultError::ReadOnly)?.lock();
        let mut keys = Vec::with_capacity(count);
        while keys.len() < count {
            let Issuer { block, next, queue } = &mut *issuer;
            for (entity, key) in block.iter_mut().skip(*next).take(count - keys.len()) {
                keys.push((*entity, key.taken()));
                *next += 1;
            }
            if keys.len() < count {
                // A thread that is gone has said why to an earlier caller.
                (*block, *next) = (queue.recv().map_err(|_| VaultError::Poisoned)??, 0);
            }
        }
        if let Some((last, _)) = keys.last() {
            self.shared.issued.store(last.0 + 1, Ordering::Release);
        }
        Ok(keys)
    }

    /// Looks up the key of an entity, in the file, each time: keys are not kept in memory.
    ///
    /// # Errors
    /// When the file cannot be read, or the vault has failed before.
    pub fn key_of(&self, entity: EntityId) -> Result<KeyState, VaultError> {
        self.shared.check()?;
        if entity.0 >= self.shared.issued.load(Ordering::Acquire) {
            return Ok(KeyState::NeverIssued);
        }
        let Some(segment) = self.shared.segment_of(entity.0) else { return Ok(KeyState::Damaged) };
        let state = read_state(&segment, entity)?;
        if state != KeyState::Damaged {
            return Ok(state);
        }
        // A tombstone may have been half written while it was read.
        let _overwriting = self.shared.overwriting.lock();
        read_state(&segment, entity)
    }

    /// Looks up the keys of many entities, in their order: neighbours are read together, so ascending numbers cost the
    /// fewest reads. Each is what [`Self::key_of`] would say.
    ///
    /// # Errors
    /// As [`Self::key_of`].
    pub fn keys_of(&self, entities: &[EntityId]) -> Result<Vec<KeyState>, VaultError> {
        self.shared.check()?;
        let issued = self.shared.issued.load(Ordering::Acquire);
        let mut states = Vec::with_capacity(entities.len());
        let mut bytes = Vec::new();
        for run in entities.chunk_by(|a, b| (a.0..a.0.saturating_add(KEYS_GAP_SLOTS)).contains(&b.0)) {
            for run in run.chunk_by(|a, b| a.0 / KEYS_READ_SLOTS == b.0 / KEYS_READ_SLOTS) {
                let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
                let Some(segment) = self.shared.segment_of(first.0) else {
                    for entity in run {
                        states.push(self.key_of(*entity)?);
                    }
                    continue;
                };
                bytes.resize((last.0 - first.0 + 1) as usize * slot::SLOT_BYTES, 0);
                segment.read_run(first.0, &mut bytes).map_err(durable_file::failed(segment::ROLE, FileAction::Read))?;
                let (images, _) = bytes.as_chunks::<{ slot::SLOT_BYTES }>();
                for entity in run {
                    let state = match images.get((entity.0 - first.0) as usize) {
                        Some(image) if entity.0 < issued => state_of(&segment, *entity, image),
                        Some(_) | None => KeyState::Damaged,
                    };
                    // Never issued, or half a tombstone: what needs a closer look gets one.
                    states.push(if state == KeyState::Damaged { self.key_of(*entity)? } else { state });
                }
            }
        }
        Ok(states)
    }

    /// Destroys keys: overwrites each slot with its tombstone, flushes each file once, and reads every slot back.
    /// Destroying a destroyed key changes nothing.
    ///
    /// # Errors
    /// When a slot was never issued or is the house key: nothing is written. When a write, a flush or the reading back
    /// fails: some keys may be destroyed and none counts as destroyed; the vault must be re-opened and the same
    /// call repeated.
    pub fn destroy(&self, ticket: &StepTicket, ids: &[EntityId]) -> Result<Destroyed, VaultError> {
        if self.issuer.is_none() {
            return Err(VaultError::ReadOnly);
        }
        destroy::destroy(&self.shared, ticket, ids)
    }

    /// As long as what this returns is kept, no key is destroyed. Keep it for a moment only.
    pub fn hold_destruction(&self) -> parking_lot::MutexGuard<'_, ()> {
        self.shared.overwriting.lock()
    }

    /// Counts what the slots hold, without opening any key; asked to stop, it tells what it saw until then.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn count(&self, halt: &Halt) -> Result<SlotCounts, VaultError> {
        verify::count(&self.shared, halt)
    }

    /// Reads every slot and opens every key; asked to stop, it tells what it saw until then.
    ///
    /// # Errors
    /// When a file cannot be read. Damage is no error: it is what the result tells.
    pub fn verify(&self, halt: &Halt) -> Result<VaultVerification, VaultError> {
        verify::verify(&self.shared, halt)
    }
}

impl Drop for Vault {
    /// Waits for the block that is being filled.
    fn drop(&mut self) {
        self.issuer = None;
        if let Some(filler) = self.filler.take() {
            // A panic of the thread has no one left to tell.
            let _ = filler.join();
        }
    }
}

fn read_state(segment: &Segment, entity: EntityId) -> Result<KeyState, VaultError> {
    let image = segment.read(entity.0).map_err(durable_file::failed(segment::ROLE, FileAction::Read))?;
    Ok(state_of(segment, entity, &image))
}

fn state_of(segment: &Segment, entity: EntityId, image: &slot::SlotImage) -> KeyState {
    match segment.open_slot(entity.0, image) {
        Ok(OpenSlot::Filled(key)) => KeyState::Live(key),
        Ok(OpenSlot::Destroyed) => KeyState::Destroyed,
        Ok(OpenSlot::Retired) => KeyState::NeverIssued,
        Ok(OpenSlot::Empty) | Err(slot::SlotDamage) => KeyState::Damaged,
    }
}

/// Opens the files of slots that exist, which are those from 0 on without a gap.
fn open_segments(dir: &Path, wrapping: &Wrapping) -> Result<Vec<Arc<Segment>>, VaultError> {
    let mut segments = Vec::new();
    for number in 0..SEGMENTS_MAX {
        if !segment::path_of(dir, number).exists() {
            break;
        }
        let key = wrapping.segment_key(number)?.ok_or(VaultError::SegmentWithoutKey { segment: number })?;
        segments.push(Arc::new(Segment::open(dir, number, &key)?));
    }
    Ok(segments)
}

/// Returns how many slots were filled: every file but the last must be full, and counting ends at the first that is
/// not.
fn filled_slots(segments: &[Arc<Segment>]) -> Result<u32, VaultError> {
    let mut filled = 0;
    for segment in segments {
        let slots = segment.slots()?;
        filled += slots;
        if slots < SEGMENT_SLOTS {
            break;
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests;

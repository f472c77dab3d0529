//! One packed row per entity: 56 bytes, so that ten million fit beside everything else, and one entity is one line of
//! the processor's cache.

use std::collections::HashMap;
use std::ops::Range;

use hashbrown::HashTable;
use roaring::RoaringBitmap;

use super::Keyed;
use super::beside::ChangedBeside;
use super::chunked::Chunked;
use super::marks::Marks;
use crate::event::Envelope;
use crate::id::{EntityId, Handle, LayoutId, Position};
use crate::record::{EntityRecord, Visibility};
use crate::time::Timestamp;

const KNOWN: u8 = 1;
const ABSENT: u8 = 2;
const QUARANTINED: u8 = 4;
const PURGED: u8 = 8;
const OPEN_DEAL: u8 = 16;
const UNUSED: u8 = 32;
const VISIBILITY_SHIFT: u8 = 6;

/// How many entities stand in one block of a written-out view.
pub const ENTITIES_PER_BLOCK: usize = 100;

/// The bytes of one entity in a written-out block: see `docs/formats.md`.
pub const ROW_BYTES: usize = 60;

const NO_TIME: i64 = i64::MIN;
const NO_MAILBOX: u32 = u32::MAX;

/// Whether an entity can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntityState {
    /// It is there.
    Visible,
    /// It waits, hidden, for a purge that can still be called off.
    Quarantined,
    /// It was purged: its key is destroyed.
    Purged,
}

/// What the view knows of one entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The handle of its external id; [`Handle::NONE`] once it is purged.
    pub handle: Handle,
    /// A keyed digest of its state.
    pub digest: u64,
    /// Its version: the position of its newest change.
    pub version: Position,
    /// The position of its newest event of any type.
    pub last_event: Position,
    /// How its cells are arranged: source and kind.
    pub layout: LayoutId,
    /// The mailbox it lives in.
    pub mailbox: Option<EntityId>,
    /// When it was first recorded.
    pub first_seen: Timestamp,
    /// The latest linked activity, post or task.
    pub last_activity: Option<Timestamp>,
    /// Whether it can be seen.
    pub state: EntityState,
    /// Whether the newest snapshot of its source no longer held it.
    pub absent: bool,
    /// Whether it is a deal that is not closed.
    pub open_deal: bool,
    /// Who shares it.
    pub visibility: Visibility,
}

/// What is kept of one entity. Its order leaves no gaps: see `docs/formats.md` for what is written out.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Packed {
    handle: Handle,
    digest: u64,
    first_seen: i64,
    last_activity: i64,
    version: u32,
    last_event: u32,
    mailbox: u32,
    layout: u16,
    flags: u8,
}

impl Packed {
    /// A number that was never used.
    const UNUSED: Self = Self {
        handle: Handle::NONE,
        digest: 0,
        first_seen: 0,
        last_activity: NO_TIME,
        version: 0,
        last_event: 0,
        mailbox: NO_MAILBOX,
        layout: 0,
        flags: 0,
    };

    fn unpack(&self) -> Row {
        Row {
            handle: self.handle,
            digest: self.digest,
            version: Position(u64::from(self.version)),
            last_event: Position(u64::from(self.last_event)),
            layout: LayoutId(u32::from(self.layout)),
            mailbox: (self.mailbox != NO_MAILBOX).then_some(EntityId(self.mailbox)),
            first_seen: Timestamp(self.first_seen),
            last_activity: (self.last_activity != NO_TIME).then_some(Timestamp(self.last_activity)),
            state: state_of(self.flags),
            absent: self.flags & ABSENT != 0,
            open_deal: self.flags & OPEN_DEAL != 0,
            visibility: visibility_of(self.flags),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.handle.0);
        out.extend_from_slice(&self.digest.to_le_bytes());
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.last_event.to_le_bytes());
        out.extend_from_slice(&self.mailbox.to_le_bytes());
        out.extend_from_slice(&self.layout.to_le_bytes());
        out.extend_from_slice(&[self.flags, 0]);
        out.extend_from_slice(&self.first_seen.to_le_bytes());
        out.extend_from_slice(&self.last_activity.to_le_bytes());
    }

    fn parse(row: &[u8]) -> Result<Self, BlockError> {
        let [flags, reserved] = part::<2>(row, 38)?;
        if reserved != 0 || flags & UNUSED != 0 || flags >> VISIBILITY_SHIFT > 2 {
            return Err(BlockError);
        }
        Ok(Self {
            handle: Handle(part(row, 0)?),
            digest: u64::from_le_bytes(part(row, 16)?),
            version: u32::from_le_bytes(part(row, 24)?),
            last_event: u32::from_le_bytes(part(row, 28)?),
            mailbox: u32::from_le_bytes(part(row, 32)?),
            layout: u16::from_le_bytes(part(row, 36)?),
            flags,
            first_seen: i64::from_le_bytes(part(row, 40)?),
            last_activity: i64::from_le_bytes(part(row, 48)?),
        })
    }
}

/// The rows.
#[derive(Debug, Default)]
pub struct Entities {
    rows: Chunked<Packed>,
    /// Numbers of live entities, found by their handle.
    by_handle: HashTable<u32>,
    /// Further handles of the few entities that have several ids.
    others: HashMap<Handle, u32>,
    others_of: HashMap<u32, Vec<Handle>>,
    beside: ChangedBeside,
    /// Blocks that changed since they were last written out.
    dirty: Marks,
    live_per_layout: Vec<u64>,
    purged: u64,
}

fn low(position: Position) -> u32 {
    u32::try_from(position.0).unwrap_or(u32::MAX)
}

impl Entities {
    /// Returns one more than the highest number that was ever used.
    #[must_use]
    pub fn bound(&self) -> u32 {
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }

    /// Returns the entity of a handle, if it is live.
    #[must_use]
    pub fn find(&self, handle: Handle) -> Option<EntityId> {
        self.by_handle
            .find(handle.hash(), |&number| self.rows.get(number as usize).is_some_and(|row| row.handle == handle))
            .copied()
            .or_else(|| self.others.get(&handle).copied())
            .map(EntityId)
    }

    /// Returns every live entity of a handle: whose own it is, and who has it as a further one. They are two when persons
    /// were put together in the source, and the record that one of them had alone is still there.
    pub fn find_all(&self, handle: Handle) -> impl Iterator<Item = EntityId> {
        let first = self.find(handle);
        let further = self.others.get(&handle).copied().map(EntityId).filter(|entity| Some(*entity) != first);
        first.into_iter().chain(further)
    }

    /// Returns what is known of an entity; `None` if the number was never used.
    #[must_use]
    pub fn row(&self, entity: EntityId) -> Option<Row> {
        self.rows.get(entity.index()).filter(|row| row.flags & KNOWN != 0).map(Packed::unpack)
    }

    /// Goes through the numbers that are in use, from `from` upwards.
    pub fn numbers_from(&self, from: u32) -> impl Iterator<Item = EntityId> + '_ {
        let rows = self.rows.iter_from(from as usize);
        (from..).zip(rows).filter(|(_, row)| row.flags & KNOWN != 0).map(|(number, _)| EntityId(number))
    }

    /// Goes through those of some numbers that live in a mailbox, or in none: the others cost next to nothing.
    pub fn in_mailbox(&self, numbers: Range<u32>, mailbox: Option<EntityId>) -> impl Iterator<Item = EntityId> + '_ {
        let mailbox = mailbox.map_or(NO_MAILBOX, |mailbox| mailbox.0);
        let rows = self.rows.iter_from(numbers.start as usize);
        let is_in = move |row: &Packed| row.mailbox == mailbox && row.flags & KNOWN != 0;
        numbers.zip(rows).filter(move |(_, row)| is_in(row)).map(|(number, _)| EntityId(number))
    }

    /// Returns the first entities, ascending, of which two views do not say the same, as far as `is_left_out` lets them
    /// count.
    ///
    /// Counts and further handles are not looked at: see [`Self::same_totals`].
    pub fn differences<'a>(
        &'a self,
        other: &'a Self,
        is_left_out: impl Fn(EntityId) -> bool + 'a,
    ) -> impl Iterator<Item = EntityId> + 'a {
        (0..self.bound().max(other.bound()))
            .map(EntityId)
            .filter(move |&entity| {
                self.row(entity) != other.row(entity) || self.changed_beside(entity) != other.changed_beside(entity)
            })
            .filter(move |&entity| !is_left_out(entity))
    }

    /// Says whether two views count the same and know the same further handles.
    #[must_use]
    pub fn same_totals(&self, other: &Self) -> bool {
        let layouts = self.live_per_layout.len().max(other.live_per_layout.len());
        let live = |view: &Self, at: usize| view.live_per_layout.get(at).copied().unwrap_or(0);
        self.purged == other.purged
            && (0..layouts).all(|at| live(self, at) == live(other, at))
            && self.others == other.others
    }

    /// Returns how many entities of a layout can be seen or wait in quarantine.
    #[must_use]
    pub fn live(&self, layout: LayoutId) -> u64 {
        self.live_per_layout.get(layout.0 as usize).copied().unwrap_or(0)
    }

    /// Returns how many entities were purged.
    #[must_use]
    pub fn purged_count(&self) -> u64 {
        self.purged
    }

    /// Says whether an entity is a live deal that is not closed.
    #[must_use]
    pub fn is_open_deal(&self, entity: EntityId) -> bool {
        self.rows.get(entity.index()).is_some_and(|row| row.flags & (OPEN_DEAL | PURGED) == OPEN_DEAL)
    }

    /// Says whether an entity waits in quarantine.
    #[must_use]
    pub fn is_quarantined(&self, entity: EntityId) -> bool {
        self.rows.get(entity.index()).is_some_and(|row| row.flags & QUARANTINED != 0)
    }

    /// Returns the row of a number, which from now on is below the bound.
    fn row_to_change(&mut self, entity: EntityId) -> Option<&mut Packed> {
        let i = entity.index();
        if i >= self.rows.len() {
            self.rows.grow_to(i + 1, Packed::UNUSED);
        }
        self.rows.get_mut(i)
    }

    fn touch(&mut self, entity: EntityId) {
        self.dirty.insert(entity.0 / 100);
    }

    /// Notes the newest event of an entity's stream.
    pub(super) fn saw_event(&mut self, entity: EntityId, position: Position) {
        if let Some(row) = self.row_to_change(entity) {
            row.last_event = low(position);
        }
        self.touch(entity);
    }

    /// Returns the position of the newest event of an entity's stream.
    #[must_use]
    pub fn last_event(&self, entity: EntityId) -> Position {
        Position(self.rows.get(entity.index()).map_or(0, |row| u64::from(row.last_event)))
    }

    /// Returns where something beside the record of an entity changed last: an activity or a deal that is tied to it, or
    /// what it is tied to.
    #[must_use]
    pub fn changed_beside(&self, entity: EntityId) -> Position {
        Position(u64::from(self.beside.get(entity)))
    }

    /// Goes through the entities beside whose record something changed after a position, each with where it did last.
    pub fn changed_beside_after(&self, position: Position) -> impl Iterator<Item = (Position, EntityId)> + '_ {
        self.beside.after(low(position)).map(|(at, entity)| (Position(u64::from(at)), entity))
    }

    /// Notes that something beside the record of an entity changed.
    pub(super) fn change_beside(&mut self, entity: EntityId, position: Position) {
        if entity.index() < self.rows.len() {
            self.beside.note(entity, low(position));
            self.touch(entity);
        }
    }

    /// Moves the newest event of an entity back, when a written-out block was ahead of its recorded position.
    pub fn wind_back(&mut self, entity: EntityId, position: Position) {
        if let Some(row) = self.rows.get_mut(entity.index()) {
            row.last_event = low(position);
        }
    }

    /// Goes through the entities whose newest event is after `position`.
    pub fn newer_than(&self, position: Position) -> impl Iterator<Item = EntityId> + '_ {
        let bound = low(position);
        let rows = (0u32..).zip(self.rows.iter_from(0));
        rows.filter(move |(_, row)| row.last_event > bound).map(|(number, _)| EntityId(number))
    }

    pub(super) fn changed(&mut self, entity: EntityId, envelope: &Envelope, record: &EntityRecord, keyed: &Keyed) {
        self.unlink_handle(entity);
        let layout = u16::try_from(record.layout.0).unwrap_or(u16::MAX);
        let Some(row) = self.row_to_change(entity) else { return };
        let before = *row;
        row.handle = keyed.handle;
        row.digest = keyed.digest;
        row.version = low(envelope.position);
        row.layout = layout;
        row.mailbox = record.mailbox.map_or(NO_MAILBOX, |mailbox| mailbox.0);
        if before.flags & KNOWN == 0 {
            row.first_seen = envelope.recorded_at.0;
        }
        let kept = before.flags & (QUARANTINED | OPEN_DEAL);
        row.flags = KNOWN | kept | ((record.visibility as u8) << VISIBILITY_SHIFT);
        if before.flags & (KNOWN | PURGED) == KNOWN {
            self.count(before.layout, -1);
        }
        self.count(layout, 1);
        self.link_handle(entity, keyed);
        self.touch(entity);
    }

    /// What is left of an entity has its ids from now on.
    pub(super) fn hand_over(&mut self, of: EntityId) {
        self.unlink_handle(of);
        if let Some(row) = self.rows.get_mut(of.index()) {
            row.handle = Handle::NONE;
        }
        self.touch(of);
    }

    /// Sets what is left of an entity to when that one was first seen and last active.
    pub(super) fn inherit(&mut self, entity: EntityId, first_seen: Timestamp, last_activity: Option<Timestamp>) {
        if let Some(row) = self.rows.get_mut(entity.index()) {
            row.first_seen = first_seen.0;
        }
        if let Some(at) = last_activity {
            self.active(entity, at);
        }
        self.touch(entity);
    }

    /// A change whose key is already destroyed: the number was used, and that is all anybody can know.
    pub(super) fn unreadable_change(&mut self, entity: EntityId, position: Position, recorded_at: Timestamp) {
        let Some(row) = self.row_to_change(entity) else { return };
        row.version = low(position);
        if row.flags & KNOWN == 0 {
            row.first_seen = recorded_at.0;
            row.flags = KNOWN | PURGED;
            self.purged += 1;
        }
        self.touch(entity);
    }

    fn count(&mut self, layout: u16, by: i64) {
        let at = usize::from(layout);
        if self.live_per_layout.len() <= at {
            self.live_per_layout.resize(at + 1, 0);
        }
        if let Some(count) = self.live_per_layout.get_mut(at) {
            *count = count.saturating_add_signed(by);
        }
    }

    fn link_handle(&mut self, entity: EntityId, keyed: &Keyed) {
        if keyed.handle == Handle::NONE {
            return;
        }
        let rows = &self.rows;
        self.by_handle.insert_unique(keyed.handle.hash(), entity.0, |&number| {
            rows.get(number as usize).map_or(0, |row| row.handle.hash())
        });
        for &other in &keyed.others {
            self.load_other_handle(other, entity);
        }
    }

    /// A block that was written out ahead of the further handles may tell of a purge that they do not know: those go
    /// even when the entity has no handle any more.
    fn unlink_handle(&mut self, entity: EntityId) {
        let handle = self.rows.get(entity.index()).map_or(Handle::NONE, |row| row.handle);
        if handle != Handle::NONE
            && let Ok(found) = self.by_handle.find_entry(handle.hash(), |&number| number == entity.0)
        {
            found.remove();
        }
        if self.others_of.is_empty() {
            return;
        }
        for other in self.others_of.remove(&entity.0).unwrap_or_default() {
            if self.others.get(&other) == Some(&entity.0) {
                self.others.remove(&other);
            }
        }
    }

    pub(super) fn set_absent(&mut self, entity: EntityId) {
        self.set_flag(entity, ABSENT, true);
    }

    /// Notes whether a deal is open, as the reader of its record found.
    pub fn set_open_deal(&mut self, entity: EntityId, state: DealState) {
        self.set_flag(entity, OPEN_DEAL, state == DealState::Open);
    }

    pub(super) fn set_quarantined(&mut self, entity: EntityId, state: EntityState) {
        self.set_flag(entity, QUARANTINED, state == EntityState::Quarantined);
    }

    fn set_flag(&mut self, entity: EntityId, flag: u8, on: bool) {
        if let Some(row) = self.rows.get_mut(entity.index())
            && row.flags & (KNOWN | PURGED) == KNOWN
        {
            row.flags = if on { row.flags | flag } else { row.flags & !flag };
            self.touch(entity);
        }
    }

    pub(super) fn active(&mut self, entity: EntityId, at: Timestamp) {
        if let Some(row) = self.rows.get_mut(entity.index()) {
            row.last_activity = row.last_activity.max(at.0);
            self.touch(entity);
        }
    }

    pub(super) fn purged(&mut self, entity: EntityId) {
        self.unlink_handle(entity);
        let Some(row) = self.rows.get_mut(entity.index()) else { return };
        let before = *row;
        let (version, last_event) = (row.version, row.last_event);
        *row = Packed { version, last_event, flags: KNOWN | PURGED, ..Packed::UNUSED };
        if before.flags & PURGED == 0 {
            if before.flags & KNOWN != 0 {
                self.count(before.layout, -1);
            }
            self.purged += 1;
        }
        self.beside.forget(entity);
        self.touch(entity);
    }

    /// Returns the blocks that changed since this was last asked, and forgets them.
    pub fn take_dirty(&mut self) -> RoaringBitmap {
        self.dirty.take()
    }

    /// Marks blocks as changed again, when writing them out failed.
    pub fn mark_dirty(&mut self, blocks: &RoaringBitmap) {
        self.dirty.extend(blocks);
    }

    /// Returns the bytes of a block.
    #[must_use]
    pub fn block(&self, block: u32) -> Vec<u8> {
        let first = block as usize * ENTITIES_PER_BLOCK;
        let mut out = Vec::with_capacity(ENTITIES_PER_BLOCK * ROW_BYTES);
        for (row, beside) in self.rows.iter_from(first).zip(self.beside.from(first)).take(ENTITIES_PER_BLOCK) {
            row.write(&mut out);
            out.extend_from_slice(&beside.to_le_bytes());
        }
        out
    }

    /// Makes room for entities that are about to be loaded, so that the table of handles is not made anew again and
    /// again.
    pub fn reserve(&mut self, entities: usize) {
        let rows = &self.rows;
        self.by_handle.reserve(entities, |&number| rows.get(number as usize).map_or(0, |row| row.handle.hash()));
    }

    /// Takes a written-out block back in. Blocks come in ascending order, when nothing else is there yet.
    ///
    /// # Errors
    /// Says when the bytes are not a block.
    pub fn load_block(&mut self, block: u32, bytes: &[u8]) -> Result<(), BlockError> {
        if !bytes.len().is_multiple_of(ROW_BYTES) || bytes.len() > ENTITIES_PER_BLOCK * ROW_BYTES {
            return Err(BlockError);
        }
        for (offset, row) in (0u32..).zip(bytes.chunks_exact(ROW_BYTES)) {
            self.load_row(
                EntityId(block.checked_mul(100).and_then(|n| n.checked_add(offset)).ok_or(BlockError)?),
                row,
            )?;
        }
        Ok(())
    }

    fn load_row(&mut self, entity: EntityId, row: &[u8]) -> Result<(), BlockError> {
        let packed = Packed::parse(row)?;
        if let Some(row) = self.row_to_change(entity) {
            *row = packed;
        }
        let beside = u32::from_le_bytes(part(row, 56)?);
        if beside != 0 {
            self.beside.note(entity, beside);
        }
        if packed.flags & PURGED != 0 {
            self.purged += 1;
        } else if packed.flags & KNOWN != 0 {
            self.count(packed.layout, 1);
            self.link_handle(entity, &Keyed { handle: packed.handle, others: Vec::new(), digest: 0 });
        }
        Ok(())
    }

    /// Returns the further handles, which are written out apart from the blocks.
    pub fn other_handles(&self) -> impl Iterator<Item = (Handle, EntityId)> + '_ {
        self.others.iter().map(|(handle, number)| (*handle, EntityId(*number)))
    }

    /// Takes a further handle back in.
    pub fn load_other_handle(&mut self, handle: Handle, entity: EntityId) {
        self.others.insert(handle, entity.0);
        let all = self.others_of.entry(entity.0).or_default();
        if !all.contains(&handle) {
            all.push(handle);
        }
    }
}

/// Whether a deal is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DealState {
    /// It is not closed, or nobody knows.
    Open,
    /// It is closed, or it is no deal.
    NotOpen,
}

/// Bytes are not a block of this view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the block of the entities view is damaged")]
pub struct BlockError;

fn state_of(flags: u8) -> EntityState {
    if flags & PURGED != 0 {
        EntityState::Purged
    } else if flags & QUARANTINED != 0 {
        EntityState::Quarantined
    } else {
        EntityState::Visible
    }
}

fn visibility_of(flags: u8) -> Visibility {
    match flags >> VISIBILITY_SHIFT {
        1 => Visibility::Private,
        2 => Visibility::Shared,
        _ => Visibility::Unknown,
    }
}

fn part<const N: usize>(row: &[u8], at: usize) -> Result<[u8; N], BlockError> {
    row.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).ok_or(BlockError)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The bytes of a block of entities that nobody hides, with one row changed.
    fn block(rows: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for row in (0u8..).take(rows) {
            bytes.extend([row + 1; 16]);
            bytes.extend([7; 20]);
            bytes.extend([row, 0, KNOWN | 1 << VISIBILITY_SHIFT, 0]);
            bytes.extend([9; 16]);
            bytes.extend([0; 4]);
        }
        bytes
    }

    proptest! {
        #[test]
        fn a_block_that_is_read_is_written_as_the_same_bytes(
            number in 0..3u32, rows in 0..=ENTITIES_PER_BLOCK, at in any::<prop::sample::Index>(), byte: u8
        ) {
            let mut bytes = block(rows);
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let mut entities = Entities::default();
            if entities.load_block(number, &bytes).is_ok() {
                prop_assert_eq!(entities.block(number), bytes);
                prop_assert!(entities.numbers_from(0).all(|entity| entities.row(entity).is_some()));
                let rows: Vec<(EntityId, Option<EntityId>)> =
                    entities.numbers_from(0).map(|entity| (entity, entities.row(entity).and_then(|row| row.mailbox))).collect();
                for (_, mailbox) in rows.iter().chain([&(EntityId(0), None)]) {
                    let is_in = |row: &&(EntityId, Option<EntityId>)| row.1 == *mailbox;
                    let wanted = rows.iter().filter(is_in).map(|(entity, _)| *entity);
                    prop_assert!(entities.in_mailbox(0..entities.bound(), *mailbox).eq(wanted));
                }
            }
        }

        #[test]
        fn any_bytes_are_a_block_or_an_error(number: u32, bytes in prop::collection::vec(any::<u8>(), 0..59)) {
            prop_assert_eq!(Entities::default().load_block(number, &bytes).is_err(), !bytes.is_empty());
        }
    }

    #[test]
    fn a_block_beyond_the_numbers_or_longer_than_a_block_is_refused() {
        let mut entities = Entities::default();
        assert_eq!(entities.load_block(u32::MAX, &block(1)), Err(BlockError));
        assert_eq!(entities.load_block(0, &block(ENTITIES_PER_BLOCK + 1)), Err(BlockError));
        for unwritten in [UNUSED, 3 << VISIBILITY_SHIFT] {
            let mut bytes = block(1);
            bytes[38] = unwritten;
            assert_eq!(entities.load_block(0, &bytes), Err(BlockError));
        }
    }

    #[test]
    fn where_something_beside_a_record_changed_last_is_told_kept_and_gone_with_the_entity() {
        let mut entities = Entities::default();
        entities.load_block(0, &block(3)).unwrap();
        entities.load_block(1, &block(2)).unwrap();
        let after = |entities: &Entities, position| {
            entities.changed_beside_after(Position(position)).map(|(at, entity)| (at.0, entity.0)).collect::<Vec<_>>()
        };
        assert_eq!(after(&entities, 0), []);
        entities.change_beside(EntityId(1), Position(7));
        entities.change_beside(EntityId(101), Position(9));
        entities.change_beside(EntityId(1), Position(5));
        entities.change_beside(EntityId(999), Position(9));
        assert_eq!(entities.bound(), 102, "a number that was never used stays so");
        let mut again = Entities::default();
        again.load_block(0, &entities.block(0)).unwrap();
        again.load_block(1, &entities.block(1)).unwrap();
        assert_eq!(entities.differences(&again, |_| false).count(), 0);
        for entities in [&mut entities, &mut again] {
            assert_eq!(after(entities, 0), [(7, 1), (9, 101)]);
            assert_eq!(after(entities, 7), [(9, 101)]);
            entities.purged(EntityId(101));
            assert_eq!(after(entities, 0), [(7, 1)]);
        }
        again.change_beside(EntityId(2), Position(8));
        assert_eq!(entities.differences(&again, |_| false).collect::<Vec<_>>(), [EntityId(2)]);
    }

    #[test]
    fn a_purge_that_a_block_knew_ahead_takes_the_further_handles_with_it() {
        let (entity, other) = (EntityId(0), Handle([5; 16]));
        let mut live = Entities::default();
        live.load_block(0, &block(1)).unwrap();
        live.load_other_handle(other, entity);
        live.purged(entity);
        // What a write-out that was killed leaves: the new block, and the further handles as they were.
        let mut ahead = Entities::default();
        ahead.load_other_handle(other, entity);
        ahead.load_block(0, &live.block(0)).unwrap();
        ahead.purged(entity);
        assert!(ahead.same_totals(&live));
    }
}

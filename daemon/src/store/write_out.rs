//! Writing the views and the event rows to sled in blocks, behind the log, and taking them back in.
//!
//! Nothing waits for this. Order: event rows, then blocks of views, then the small views under a new epoch, then the
//! note that says up to where all of it is. After a crash in between, blocks may be ahead of the note; folding the
//! events after the note once more ends in the same state (see `retention_core::view`).

use std::collections::BTreeSet;

use retention_core::event::Actor;
use retention_core::event::change::Link;
use retention_core::event::codec;
use retention_core::event::decision::PolicyVersion;
use retention_core::id::{Digest, EntityId, Position, RunId};
use retention_core::record::Relation;
use retention_core::time::Timestamp;
use retention_core::view::activities::{ClassNumber, Newest};
use retention_core::view::entities::ENTITIES_PER_BLOCK;
use retention_core::view::index::Key;
use retention_core::view::snapshot::{self, Note, Snapshot};
use retention_core::view::{Changed, Entities, Views};
use roaring::RoaringBitmap;

use super::Inner;
use super::events;
use super::sled_door::{Blocks, BlocksError, Family};
use super::vault::SLOTS_MAX;

/// A write-out begins after this many events, so that a restart has no more than that to fold again.
pub const EVENTS_PER_WRITE_OUT: u64 = 100_000;

/// The bytes of a piece of a large value.
const PIECE_BYTES: usize = 6 * 1024;

/// How many entities share a block of links, or of activities.
const ENTITIES_TOGETHER: u32 = 64;

const LINK_BYTES: usize = 9;

const ACTIVITY_BYTES: usize = 18;

/// All ones: which entity an activity is was not recorded.
const NO_ENTITY: u32 = u32::MAX;

/// How many positions a part of an index set spans. A roaring container takes the least of 2 bytes a value, 4 bytes a
/// run and 8 KiB, which is at most 4/3 bytes a position: 5,461 bytes and a header, so that a part fits a block.
const INDEX_SPAN: u32 = 4_096;

pub(super) const NOTE: &[u8] = b"note";
const LINKS_TAG: u8 = 1;
const SMALL_TAG: u8 = 2;
const ACTIVITIES_TAG: u8 = 3;

/// Keys and values of one family.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Everything of one write-out, copied out of memory at one position.
pub(super) struct WriteOut {
    note: Note,
    events: Pairs,
    entities: Pairs,
    due: Pairs,
    links: Pairs,
    activities: Pairs,
    index: Pairs,
    whole: Vec<u8>,
    changed: Changed,
}

impl WriteOut {
    /// Copies what changed since `written`.
    pub(super) fn take(inner: &Inner, written: Position, epoch: u64) -> Result<Self, codec::CodecError> {
        let mut state = inner.state.write();
        let views = &mut state.views;
        let changed = views.take_changed();
        let block_of = |block: u32| (block.to_be_bytes().to_vec(), views.entities.block(block));
        let entities = changed.entities.iter().map(block_of).collect();
        let mut due = Vec::new();
        for (id, digest, blocks) in &changed.due {
            if let Some(column) = views.due.policy(id) {
                due.extend(blocks.iter().map(|block| (due_key(*digest, block), column.block(block))));
            }
        }
        let link_blocks: BTreeSet<u32> = changed.links.iter().map(|from| from.0 / ENTITIES_TOGETHER).collect();
        let links = link_blocks.iter().flat_map(|block| link_pieces(views, *block)).collect();
        let of_activities: BTreeSet<u32> = changed.activities.iter().map(|of| of.0 / ENTITIES_TOGETHER).collect();
        let activities = of_activities.iter().flat_map(|block| activity_pieces(views, *block)).collect();
        let index = index_parts(views, written);
        let whole = Snapshot::of(views).to_bytes()?;
        let note = Note {
            format: snapshot::FORMAT,
            store: views.small.store,
            position: views.position,
            recorded_at: views.recorded_at,
            epoch,
            pieces: u32::try_from(whole.len().div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX),
        };
        let events = inner.tail.blocks().into_iter().map(|(n, bytes)| (n.to_be_bytes().to_vec(), bytes)).collect();
        Ok(Self { note, events, entities, due, links, activities, index, whole, changed })
    }

    /// Returns the position at which everything was copied.
    pub(super) fn position(&self) -> Position {
        self.note.position
    }

    /// Writes everything, in order.
    ///
    /// # Errors
    /// When sled fails: the answer holds what was copied, to be marked as changed again.
    pub(super) fn write(mut self, blocks: &Blocks) -> Result<(), (BlocksError, Box<Changed>)> {
        let changed = std::mem::take(&mut self.changed);
        self.put_all(blocks).map_err(|error| (error, Box::new(changed)))
    }

    fn put_all(self, blocks: &Blocks) -> Result<(), BlocksError> {
        blocks.put_sorted(Family::Events, self.events)?;
        blocks.put_sorted(Family::Entities, self.entities)?;
        blocks.put_sorted(Family::Due, self.due)?;
        blocks.put_sorted(Family::Views, self.links)?;
        blocks.put_sorted(Family::Views, self.activities)?;
        blocks.put_sorted(Family::Index, self.index)?;
        for (number, piece) in (0u32..).zip(self.whole.chunks(PIECE_BYTES)) {
            blocks.put(Family::Views, &small_key(self.note.epoch, number), piece)?;
        }
        let note = codec::encode(&self.note).map_err(|_| BlocksError::Checksum { family: Family::Meta })?;
        blocks.put(Family::Meta, NOTE, &note)?;
        blocks.remove_range(Family::Views, vec![SMALL_TAG]..small_key(self.note.epoch, 0))?;
        blocks.flush()
    }
}

fn due_key(digest: Digest, block: u32) -> Vec<u8> {
    let mut key = digest.0.to_vec();
    key.extend_from_slice(&block.to_be_bytes());
    key
}

fn small_key(epoch: u64, piece: u32) -> Vec<u8> {
    let mut key = vec![SMALL_TAG];
    key.extend_from_slice(&epoch.to_be_bytes());
    key.extend_from_slice(&piece.to_be_bytes());
    key
}

fn piece_key(tag: u8, block: u32, piece: u32) -> Vec<u8> {
    let mut key = vec![tag];
    key.extend_from_slice(&block.to_be_bytes());
    key.extend_from_slice(&piece.to_be_bytes());
    key
}

/// Cuts a block of rows into pieces; an empty piece ends the block, so that older, longer ones are not read on.
fn pieces_of(tag: u8, block: u32, bytes: &[u8], row_bytes: usize) -> Pairs {
    let pieces = bytes.chunks(PIECE_BYTES / row_bytes * row_bytes).map(<[u8]>::to_vec);
    let pieces = pieces.chain(std::iter::once(Vec::new()));
    (0u32..).zip(pieces).map(|(n, piece)| (piece_key(tag, block, n), piece)).collect()
}

/// Goes through the numbers of a block.
fn numbers_of(block: u32) -> std::ops::Range<u32> {
    block * ENTITIES_TOGETHER..(block + 1).saturating_mul(ENTITIES_TOGETHER)
}

/// The newest activities of the records of a block.
fn activity_pieces(views: &Views, block: u32) -> Pairs {
    let mut bytes = Vec::new();
    for number in numbers_of(block) {
        for (class, Newest { at, by }) in views.activities.of(EntityId(number)) {
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(&class.0.to_le_bytes());
            bytes.extend_from_slice(&at.0.to_le_bytes());
            bytes.extend_from_slice(&by.map_or(NO_ENTITY, |by| by.0).to_le_bytes());
        }
    }
    pieces_of(ACTIVITIES_TAG, block, &bytes, ACTIVITY_BYTES)
}

fn link_pieces(views: &Views, block: u32) -> Pairs {
    let mut bytes = Vec::new();
    for number in numbers_of(block) {
        for link in views.links.of(EntityId(number)) {
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.push(link.relation as u8);
            bytes.extend_from_slice(&link.to.0.to_le_bytes());
        }
    }
    pieces_of(LINKS_TAG, block, &bytes, LINK_BYTES)
}

fn index_parts(views: &Views, written: Position) -> Vec<(Vec<u8>, Vec<u8>)> {
    let from = u32::try_from(written.0).unwrap_or(u32::MAX);
    let mut parts = Vec::new();
    for (key, set) in views.index.iter() {
        let Some(max) = set.max().filter(|&max| max > from) else { continue };
        for part in from / INDEX_SPAN..=max / INDEX_SPAN {
            let start = part * INDEX_SPAN;
            let mut subset = RoaringBitmap::new();
            subset.insert_range(start..start.saturating_add(INDEX_SPAN));
            subset &= set;
            if subset.is_empty() {
                continue;
            }
            subset.optimize();
            let mut bytes = Vec::new();
            // Writing to memory cannot fail.
            drop(subset.serialize_into(&mut bytes));
            parts.push((index_key(key, part), bytes));
        }
    }
    parts
}

fn index_key(key: Key, part: u32) -> Vec<u8> {
    let (tag, value) = match key {
        Key::Type(number) => (1u8, u64::from(number)),
        Key::Actor(Actor::Daemon) => (2, 0),
        Key::Actor(Actor::Schedule) => (3, 0),
        Key::Actor(Actor::Person(uid)) => (4, u64::from(uid)),
        Key::Run(run) => (5, run.0.0),
    };
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&value.to_be_bytes());
    bytes.extend_from_slice(&part.to_be_bytes());
    bytes
}

fn parse_index_key(bytes: &[u8]) -> Option<Key> {
    let (tag, rest) = bytes.split_first()?;
    let (value, part) = rest.split_first_chunk()?;
    let value = u64::from_be_bytes(*value);
    if part.len() != size_of::<u32>() {
        return None;
    }
    match tag {
        1 => Some(Key::Type(u16::try_from(value).ok()?)),
        2 if value == 0 => Some(Key::Actor(Actor::Daemon)),
        3 if value == 0 => Some(Key::Actor(Actor::Schedule)),
        4 => Some(Key::Actor(Actor::Person(u32::try_from(value).ok()?))),
        5 => Some(Key::Run(RunId(Position(value)))),
        _ => None,
    }
}

/// Reads a part of an index set; nothing may be left over.
fn parse_index_part(mut bytes: &[u8]) -> Option<RoaringBitmap> {
    let part = RoaringBitmap::deserialize_from(&mut bytes).ok()?;
    bytes.is_empty().then_some(part)
}

/// What was taken back in.
pub(super) struct Loaded {
    /// The views, at their position.
    pub(super) views: Views,
    /// The epoch of the small views.
    pub(super) epoch: u64,
    /// The rows of the last block of events, if it is not full.
    pub(super) partial: Vec<events::EventRow>,
}

/// Takes the views back in; `None` when nothing was ever written out.
///
/// # Errors
/// When anything is damaged or does not fit: then everything is rebuilt from the journal.
pub(super) fn load(blocks: &Blocks) -> Result<Option<Loaded>, BlocksError> {
    let Some(note) = blocks.get(Family::Meta, NOTE)? else { return Ok(None) };
    let damaged = |family| BlocksError::Checksum { family };
    let note: Note = codec::decode(&note).map_err(|_| damaged(Family::Meta))?;
    if note.format != snapshot::FORMAT {
        return Err(BlocksError::OtherFormat(note.format));
    }
    let mut views = Views { position: note.position, recorded_at: note.recorded_at, ..Views::default() };
    load_whole(blocks, &note, &mut views)?;
    // Entities are about half of the work; the rest is loaded beside them.
    let mut entities = std::mem::take(&mut views.entities);
    std::thread::scope(|scope| {
        let loading = std::thread::Builder::new()
            .name("load-entities".to_owned())
            .spawn_scoped(scope, || load_entities(blocks, &mut entities))
            .map_err(BlocksError::Io)?;
        let rest = load_rest(blocks, &mut views);
        // A panic of sled is caught at its door; one beyond it is damage as well.
        loading.join().unwrap_or(Err(damaged(Family::Entities))).and(rest)
    })?;
    views.entities = entities;
    wind_back(blocks, &mut views)?;
    drop(views.entities.take_dirty());
    drop(views.links.take_changed());
    drop(views.activities.take_changed());
    for (_, column) in views.due.policies_mut() {
        drop(column.take_dirty());
    }
    let partial = partial_block(blocks, note.position)?;
    Ok(Some(Loaded { views, epoch: note.epoch, partial }))
}

fn load_entities(blocks: &Blocks, entities: &mut Entities) -> Result<(), BlocksError> {
    let damaged = || BlocksError::Checksum { family: Family::Entities };
    if let Some(last) = blocks.scan_prefix(Family::Entities, &[])?.next_back() {
        let block = u32_key(&last?.0, 0).ok_or_else(damaged)?;
        // The last block is the only one that may not be full; a number beyond all slots is damage, found below.
        let bound = (block as usize + 1).saturating_mul(ENTITIES_PER_BLOCK);
        entities.reserve(bound.min(SLOTS_MAX as usize));
    }
    for entry in blocks.scan_prefix(Family::Entities, &[])? {
        let (key, bytes) = entry?;
        let block = u32_key(&key, 0).ok_or_else(damaged)?;
        entities.load_block(block, &bytes).map_err(|_| damaged())?;
    }
    Ok(())
}

fn load_rest(blocks: &Blocks, views: &mut Views) -> Result<(), BlocksError> {
    load_due(blocks, views)?;
    load_links(blocks, views)?;
    load_activities(blocks, views)?;
    let damaged = || BlocksError::Checksum { family: Family::Index };
    for entry in blocks.scan_prefix(Family::Index, &[])? {
        let (key, bytes) = entry?;
        let key = parse_index_key(&key).ok_or_else(damaged)?;
        let part = parse_index_part(&bytes).ok_or_else(damaged)?;
        views.index.load(key, &part);
    }
    Ok(())
}

fn u32_key(key: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(at..at + 4)?.try_into().ok()?))
}

fn load_whole(blocks: &Blocks, note: &Note, views: &mut Views) -> Result<(), BlocksError> {
    let damaged = || BlocksError::Checksum { family: Family::Views };
    let mut bytes = Vec::new();
    for piece in 0..note.pieces {
        bytes.extend(blocks.get(Family::Views, &small_key(note.epoch, piece))?.ok_or_else(damaged)?);
    }
    Snapshot::parse(&bytes).and_then(|snapshot| snapshot.restore(views)).map_err(|_| damaged())
}

fn load_due(blocks: &Blocks, views: &mut Views) -> Result<(), BlocksError> {
    let columns: Vec<PolicyVersion> =
        views.due.policies().map(|(id, column)| PolicyVersion { id: id.to_owned(), digest: column.digest() }).collect();
    for policy in columns {
        for entry in blocks.scan_prefix(Family::Due, &policy.digest.0)? {
            let (key, bytes) = entry?;
            let block = u32_key(&key, 32).ok_or(BlocksError::Checksum { family: Family::Due })?;
            views.due.load_block(&policy.id, policy.digest, block, &bytes);
        }
    }
    views.due.loaded();
    Ok(())
}

/// Reads the rows of all blocks of a tag, as far as each block goes.
fn load_rows<T>(
    blocks: &Blocks,
    tag: u8,
    row_bytes: usize,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> Result<Vec<T>, BlocksError> {
    let damaged = || BlocksError::Checksum { family: Family::Views };
    let mut ended = None;
    let mut found = Vec::new();
    for entry in blocks.scan_prefix(Family::Views, &[tag])? {
        let (key, bytes) = entry?;
        let block = u32_key(&key, 1).ok_or_else(damaged)?;
        if ended == Some(block) {
            continue;
        }
        if bytes.is_empty() {
            ended = Some(block);
        }
        for row in bytes.chunks(row_bytes) {
            found.push(parse(row).ok_or_else(damaged)?);
        }
    }
    Ok(found)
}

fn load_activities(blocks: &Blocks, views: &mut Views) -> Result<(), BlocksError> {
    for (entity, class, newest) in load_rows(blocks, ACTIVITIES_TAG, ACTIVITY_BYTES, parse_activity)? {
        views.activities.note(entity, class, newest);
    }
    Ok(())
}

fn parse_activity(bytes: &[u8]) -> Option<(EntityId, ClassNumber, Newest)> {
    if bytes.len() != ACTIVITY_BYTES {
        return None;
    }
    let entity = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    let class = u16::from_le_bytes(bytes.get(4..6)?.try_into().ok()?);
    let at = i64::from_le_bytes(bytes.get(6..14)?.try_into().ok()?);
    let by = u32::from_le_bytes(bytes.get(14..18)?.try_into().ok()?);
    let by = (by != NO_ENTITY).then_some(EntityId(by));
    Some((EntityId(entity), ClassNumber(class), Newest { at: Timestamp(at), by }))
}

fn load_links(blocks: &Blocks, views: &mut Views) -> Result<(), BlocksError> {
    let found = load_rows(blocks, LINKS_TAG, LINK_BYTES, parse_link)?;
    let mut rest = found.as_slice();
    while let Some((from, _)) = rest.first() {
        let count = rest.iter().take_while(|(other, _)| other == from).count();
        let (mine, others) = rest.split_at(count);
        let links: Vec<Link> = mine.iter().map(|(_, link)| *link).collect();
        views.links.replace(*from, &links);
        rest = others;
    }
    Ok(())
}

fn parse_link(bytes: &[u8]) -> Option<(EntityId, Link)> {
    if bytes.len() != LINK_BYTES {
        return None;
    }
    let from = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    let relation = match bytes.get(4)? {
        1 => Relation::Associated,
        2 => Relation::About,
        _ => return None,
    };
    let to = u32::from_le_bytes(bytes.get(5..9)?.try_into().ok()?);
    Some((EntityId(from), Link { relation, to: EntityId(to) }))
}

/// Blocks of entities may be ahead of the note. Their newest event is moved back to what the note covers, so that the
/// chain of an entity's events is whole when the events after the note are folded again.
fn wind_back(blocks: &Blocks, views: &mut Views) -> Result<(), BlocksError> {
    let ahead: Vec<EntityId> = views.entities.newer_than(views.position).collect();
    for entity in ahead {
        let mut last = views.entities.last_event(entity);
        while last > views.position {
            let index = usize::try_from((last.0 - 1) % events::EVENTS_PER_BLOCK).unwrap_or(usize::MAX);
            last = events::read_block(blocks, events::block_of(last))?
                .and_then(|rows| rows.get(index).map(|row| row.previous))
                .filter(|previous| *previous < last)
                .ok_or(BlocksError::Checksum { family: Family::Events })?;
        }
        views.entities.wind_back(entity, last);
    }
    Ok(())
}

fn partial_block(blocks: &Blocks, position: Position) -> Result<Vec<events::EventRow>, BlocksError> {
    let count = usize::try_from(position.0 % events::EVENTS_PER_BLOCK).unwrap_or(0);
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut rows = events::read_block(blocks, events::block_of(position))?.unwrap_or_default();
    if rows.len() < count {
        return Err(BlocksError::Checksum { family: Family::Events });
    }
    rows.truncate(count);
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sled_door::{BLOCK_BYTES_MAX, BootId};
    use super::*;

    proptest! {
        #[test]
        fn an_index_key_that_is_read_is_written_as_the_same_bytes(
            tag in 0..7u8, high in prop::sample::select(vec![0, u32::MAX]), low: u32, part: u32, spare in 0..3usize
        ) {
            let mut bytes = vec![tag];
            bytes.extend(high.to_be_bytes());
            bytes.extend(low.to_be_bytes());
            bytes.extend(part.to_be_bytes());
            bytes.resize(bytes.len() + spare, 0);
            if let Some(key) = parse_index_key(&bytes) {
                prop_assert_eq!(index_key(key, part), bytes);
            }
        }

        #[test]
        fn any_bytes_are_a_part_of_an_index_or_nothing(
            random in prop::collection::vec(any::<u8>(), 0..200),
            set in prop::collection::btree_set(0..INDEX_SPAN, 0..200),
            at in any::<prop::sample::Index>(),
            byte: u8,
        ) {
            let _ = parse_index_part(&random);
            let set: RoaringBitmap = set.into_iter().collect();
            let mut bytes = Vec::new();
            set.serialize_into(&mut bytes).unwrap();
            prop_assert_eq!(parse_index_part(&bytes), Some(set));
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = parse_index_part(&bytes).map(|part| part.iter().count());
            bytes.push(0);
            prop_assert_eq!(parse_index_part(&bytes), None);
        }

        #[test]
        fn any_bytes_are_a_link_or_nothing(bytes in prop::collection::vec(0..4u8, 0..12)) {
            let link = parse_link(&bytes);
            prop_assert_eq!(link.is_some(), bytes.len() == LINK_BYTES && matches!(bytes[4], 1 | 2));
        }
    }

    /// So many classes of activities for each record of one block, and for one record far away.
    fn active(classes: u16) -> Views {
        let mut views = Views::default();
        for number in numbers_of(2).chain([100_000]) {
            for class in 0..classes {
                // With and without the entity that it was.
                let by = (class % 2 == 0).then_some(EntityId(number + 1));
                let newest = Newest { at: Timestamp(i64::from(class) - 3), by };
                views.activities.note(EntityId(number), ClassNumber(class), newest);
            }
        }
        views
    }

    #[test]
    fn activities_read_back_also_where_a_block_became_shorter() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("events");
        let blocks = Blocks::open(&dir, 16 << 20, BootId([7; 16])).unwrap().blocks;
        let mut lengths = Vec::new();
        for classes in [12, 6, 1, 0, 12] {
            let views = active(classes);
            let far = 100_000 / ENTITIES_TOGETHER;
            for block in [2, far] {
                let pieces = activity_pieces(&views, block);
                assert!(pieces.iter().all(|(_, piece)| piece.len() <= BLOCK_BYTES_MAX));
                lengths.push(pieces.len());
                blocks.put_sorted(Family::Views, pieces).unwrap();
            }
            let mut again = Views::default();
            load_activities(&blocks, &mut again).unwrap();
            assert!(again.activities.iter().eq(views.activities.iter()), "{classes} classes");
        }
        assert_eq!(lengths, [4, 2, 3, 2, 2, 2, 1, 1, 4, 2], "with the empty piece at the end of each");
        blocks.close().unwrap();
    }

    #[test]
    fn index_parts_fit_a_block_and_read_back_whatever_the_positions_are() {
        let patterns: [fn(u32) -> bool; 6] = [
            |_| true,
            |n| n % 2 == 0,
            |n| n % 3 != 0,
            |n| n % 5 < 2,
            |n| n == 70_000,
            |n| n.wrapping_mul(0x9e37_79b9) > 1 << 31,
        ];
        for (number, belongs) in patterns.into_iter().enumerate() {
            let set: RoaringBitmap = (1..=100_000).filter(|n| belongs(*n)).collect();
            let mut views = Views::default();
            views.index.load(Key::Type(1), &set);
            let mut again = Views::default();
            for (key, part) in index_parts(&views, Position::NONE) {
                assert!(part.len() <= BLOCK_BYTES_MAX, "pattern {number}: {} bytes", part.len());
                let part = parse_index_part(&part).unwrap();
                again.index.load(parse_index_key(&key).unwrap(), &part);
            }
            assert_eq!(again.index.get(Key::Type(1)), Some(&set), "pattern {number}");
        }
    }
}

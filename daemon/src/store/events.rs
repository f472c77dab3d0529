//! The event store: a row of fixed size per event, in blocks in sled, with the place of its frame in the journal.
//!
//! Bodies stay in the journal: keeping them twice would cost more disk than the budget allows. Rows that are not
//! written out yet are kept in memory.

use std::collections::VecDeque;

use parking_lot::RwLock;
use retention_core::event::{Actor, Envelope};
use retention_core::id::{EntityId, Position};
use retention_core::time::Timestamp;

use super::journal::Place;
use super::sled_door::{Blocks, BlocksError, Family};

/// How many events stand in one block.
pub const EVENTS_PER_BLOCK: u64 = 120;

/// The bytes of one row.
pub const ROW_BYTES: usize = 56;

const NO_ENTITY: u32 = u32::MAX;

/// What a question about an event can be answered from, without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRow {
    /// The stored number of the type.
    pub event_type: u16,
    /// The schema version.
    pub schema: u16,
    /// Whether the body is ciphertext.
    pub sealed: bool,
    /// Who caused it.
    pub actor: Actor,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The event that led to it.
    pub cause: Position,
    /// The entity it is about.
    pub entity: Option<EntityId>,
    /// The newest earlier event of the same entity.
    pub previous: Position,
    /// The length of the stored body.
    pub body_len: u32,
    /// Where its frame stands.
    pub place: Place,
}

impl EventRow {
    /// Makes the row of an event.
    #[must_use]
    pub fn of(envelope: &Envelope, previous: Position, place: Place) -> Self {
        Self {
            event_type: envelope.event_type,
            schema: envelope.schema,
            sealed: envelope.sealed,
            actor: envelope.actor,
            recorded_at: envelope.recorded_at,
            occurred_at: envelope.occurred_at,
            cause: envelope.cause,
            entity: envelope.entity,
            previous,
            body_len: envelope.body_len,
            place,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (kind, uid) = match self.actor {
            Actor::Daemon => (0, 0),
            Actor::Schedule => (1, 0),
            Actor::Person(uid) => (2, uid),
        };
        out.extend_from_slice(&self.event_type.to_le_bytes());
        out.extend_from_slice(&self.schema.to_le_bytes());
        out.push(u8::from(self.sealed));
        out.push(kind);
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&uid.to_le_bytes());
        out.extend_from_slice(&low(self.cause).to_le_bytes());
        out.extend_from_slice(&self.recorded_at.0.to_le_bytes());
        out.extend_from_slice(&self.occurred_at.0.to_le_bytes());
        out.extend_from_slice(&self.entity.map_or(NO_ENTITY, |entity| entity.0).to_le_bytes());
        out.extend_from_slice(&low(self.previous).to_le_bytes());
        out.extend_from_slice(&self.body_len.to_le_bytes());
        out.extend_from_slice(&self.place.segment.to_le_bytes());
        out.extend_from_slice(&self.place.offset.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
    }

    /// Reads a row; `None` for what no program of ours writes.
    fn parse(row: &[u8]) -> Option<Self> {
        let reserved_is_zero = row.get(6..8)?.iter().chain(row.get(52..ROW_BYTES)?).all(|&byte| byte == 0);
        if row.len() != ROW_BYTES || !reserved_is_zero {
            return None;
        }
        let actor = match (*row.get(5)?, u32_at(row, 8)?) {
            (0, 0) => Actor::Daemon,
            (1, 0) => Actor::Schedule,
            (2, uid) => Actor::Person(uid),
            _ => return None,
        };
        let entity = u32_at(row, 32)?;
        Some(Self {
            event_type: u16::from_le_bytes(row.get(..2)?.try_into().ok()?),
            schema: u16::from_le_bytes(row.get(2..4)?.try_into().ok()?),
            sealed: match row.get(4)? {
                0 => false,
                1 => true,
                _ => return None,
            },
            actor,
            cause: Position(u64::from(u32_at(row, 12)?)),
            recorded_at: Timestamp(i64_at(row, 16)?),
            occurred_at: Timestamp(i64_at(row, 24)?),
            entity: (entity != NO_ENTITY).then_some(EntityId(entity)),
            previous: Position(u64::from(u32_at(row, 36)?)),
            body_len: u32_at(row, 40)?,
            place: Place { segment: u32_at(row, 44)?, offset: u32_at(row, 48)? },
        })
    }
}

fn low(position: Position) -> u32 {
    u32::try_from(position.0).unwrap_or(u32::MAX)
}

fn u32_at(row: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(row.get(at..at + 4)?.try_into().ok()?))
}

fn i64_at(row: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_le_bytes(row.get(at..at + 8)?.try_into().ok()?))
}

/// Returns the block that holds a position; the first for no position.
#[must_use]
pub fn block_of(position: Position) -> u64 {
    position.0.saturating_sub(1) / EVENTS_PER_BLOCK
}

/// The rows that are not in whole, written-out blocks.
#[derive(Debug, Default)]
pub struct Tail {
    rows: RwLock<(u64, VecDeque<EventRow>)>,
}

impl Tail {
    /// Begins with the first position of a block.
    pub fn begin(&self, block: u64) {
        *self.rows.write() = (block * EVENTS_PER_BLOCK + 1, VecDeque::new());
    }

    /// Adds the row of the next position.
    pub fn push(&self, row: EventRow) {
        self.rows.write().1.push_back(row);
    }

    /// Adds the rows of the next positions.
    pub fn extend(&self, rows: impl Iterator<Item = EventRow>) {
        self.rows.write().1.extend(rows);
    }

    /// Returns a row, if it is kept here.
    #[must_use]
    pub fn get(&self, position: Position) -> Option<EventRow> {
        let rows = self.rows.read();
        let index = usize::try_from(position.0.checked_sub(rows.0)?).ok()?;
        rows.1.get(index).copied()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.rows.read().1.len()
    }

    /// Returns the blocks to write out, the last perhaps not full: number and bytes.
    #[must_use]
    pub fn blocks(&self) -> Vec<(u64, Vec<u8>)> {
        let rows = self.rows.read();
        let first_block = (rows.0.max(1) - 1) / EVENTS_PER_BLOCK;
        let mut blocks = Vec::new();
        let mut number = first_block;
        let mut bytes = Vec::new();
        let mut count = 0;
        for row in &rows.1 {
            row.write(&mut bytes);
            count += 1;
            if count == EVENTS_PER_BLOCK {
                blocks.push((number, std::mem::take(&mut bytes)));
                number += 1;
                count = 0;
            }
        }
        if count > 0 {
            blocks.push((number, bytes));
        }
        blocks
    }

    /// Drops the rows of full blocks up to a position: they are written out.
    pub fn drop_written(&self, written: Position) {
        let mut rows = self.rows.write();
        let whole = written.0 / EVENTS_PER_BLOCK * EVENTS_PER_BLOCK + 1;
        while rows.0 < whole && rows.1.pop_front().is_some() {
            rows.0 += 1;
        }
    }
}

/// Reads the rows of a block from sled.
///
/// # Errors
/// Says when sled fails or a block is damaged.
pub fn read_block(blocks: &Blocks, number: u64) -> Result<Option<Vec<EventRow>>, BlocksError> {
    let Some(bytes) = blocks.get(Family::Events, &number.to_be_bytes())? else { return Ok(None) };
    parse_block(&bytes).map(Some).ok_or(BlocksError::Checksum { family: Family::Events })
}

fn parse_block(bytes: &[u8]) -> Option<Vec<EventRow>> {
    let mut rows = Vec::with_capacity(bytes.len().div_ceil(ROW_BYTES));
    for row in bytes.chunks(ROW_BYTES) {
        rows.push(EventRow::parse(row)?);
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_block_that_is_read_is_written_as_the_same_bytes(
            bytes in prop::collection::vec(0..3u8, 0..3 * ROW_BYTES), whole: bool, rows in 0..4usize, at in any::<prop::sample::Index>(), byte: u8
        ) {
            let mut bytes = bytes;
            if whole {
                bytes = vec![0; rows * ROW_BYTES];
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            if let Some(rows) = parse_block(&bytes) {
                let mut again = Vec::new();
                for row in rows {
                    row.write(&mut again);
                }
                prop_assert_eq!(again, bytes);
            }
        }
    }

    #[test]
    fn rows_read_back_as_written() {
        let row = EventRow {
            event_type: 2,
            schema: 1,
            sealed: true,
            actor: Actor::Person(7),
            recorded_at: Timestamp(5),
            occurred_at: Timestamp(-5),
            cause: Position(3),
            entity: Some(EntityId(9)),
            previous: Position(2),
            body_len: 300,
            place: Place { segment: 4, offset: 77 },
        };
        let mut bytes = Vec::new();
        row.write(&mut bytes);
        assert_eq!(bytes.len(), ROW_BYTES);
        assert_eq!(EventRow::parse(&bytes), Some(row));
    }

    #[test]
    fn full_blocks_are_dropped_and_the_rest_is_kept() {
        let row = EventRow {
            event_type: 1,
            schema: 1,
            sealed: false,
            actor: Actor::Daemon,
            recorded_at: Timestamp(0),
            occurred_at: Timestamp(0),
            cause: Position::NONE,
            entity: None,
            previous: Position::NONE,
            body_len: 0,
            place: Place { segment: 1, offset: 32 },
        };
        let tail = Tail::default();
        tail.begin(0);
        for _ in 0..250 {
            tail.push(row);
        }
        assert_eq!(
            tail.blocks().iter().map(|(n, b)| (*n, b.len() / ROW_BYTES)).collect::<Vec<_>>(),
            [(0, 120), (1, 120), (2, 10)]
        );
        tail.drop_written(Position(250));
        assert_eq!(tail.len(), 10);
        assert_eq!(tail.get(Position(241)), Some(row));
        assert_eq!(tail.get(Position(240)), None);
    }
}

//! Reading many records or envelopes: rows, keys and bodies each in their order on disk, neighbours together.

use std::collections::BTreeSet;
use std::sync::Arc;

use retention_core::event::codec;
use retention_core::event::envelope::ENVELOPE_BYTES;
use retention_core::event::{Envelope, EventType};
use retention_core::id::{EntityId, Position};
use retention_core::record::EntityRecord;
use zeroize::Zeroizing;

use super::events::{self, EventRow};
use super::journal::Place;
use super::journal::frame::FRAME_HEADER_BYTES;
use super::read::ReadError;
use super::vault::KeyState;
use super::vault::seal::SealContext;
use super::{Inner, Store};

/// Room for the body of most entities, in bytes: what is larger gets its own.
const USUAL_BODY_BYTES: usize = 4 * 1024;

/// The most stored bytes of bodies that one piece of work reads, unless a single body is larger: a piece is in memory
/// several times over, opened and written down.
const PIECE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A piece of work.
pub struct Piece<'a, T> {
    /// What it is about.
    pub items: &'a [T],
    /// Where the version of each stands.
    rows: Vec<Option<EventRow>>,
}

impl Store {
    /// Cuts what is about versions into pieces whose records fit into memory, of at most `most` each.
    ///
    /// # Errors
    /// When the event store is damaged.
    pub fn pieces<'a, T>(
        &self,
        items: &'a [T],
        version_of: impl Fn(&T) -> Position,
        most: usize,
    ) -> Result<Vec<Piece<'a, T>>, ReadError> {
        let versions: Vec<Position> = items.iter().map(version_of).collect();
        let rows = self.inner.rows(&versions)?;
        let piece = |items, rows: &[Option<EventRow>]| Piece { items, rows: rows.to_vec() };
        let mut pieces = Vec::new();
        let (mut items, mut rest) = (items, rows.as_slice());
        let (mut count, mut bytes) = (0, 0);
        for row in &rows {
            let own = row.map_or(0, |row| u64::from(row.body_len));
            if count > 0 && (count >= most || bytes + own > PIECE_BYTES_MAX) {
                let ((own_items, later_items), (own_rows, later_rows)) = (items.split_at(count), rest.split_at(count));
                pieces.push(piece(own_items, own_rows));
                (items, rest, count, bytes) = (later_items, later_rows, 0, 0);
            }
            count += 1;
            bytes += own;
        }
        if !items.is_empty() {
            pieces.push(piece(items, rest));
        }
        Ok(pieces)
    }

    /// Returns the records of a piece, in the order of its items; each is what [`Store::record_at`] returns. All of them
    /// are in memory at once.
    ///
    /// # Errors
    /// When one of them is damaged.
    pub fn records_of<T>(&self, piece: &Piece<'_, T>) -> Result<Vec<Option<EntityRecord>>, ReadError> {
        self.inner.map_records(&piece.rows, |_, record| Some(record))
    }

    /// As [`Store::records_of`], with one record in memory at a time: returns what `each` makes of them. It is handed
    /// them as they stand on the disk.
    ///
    /// # Errors
    /// When one of them is damaged.
    pub fn map_records<T, M>(
        &self,
        piece: &Piece<'_, T>,
        mut each: impl FnMut(&T, EntityRecord) -> M,
    ) -> Result<Vec<Option<M>>, ReadError> {
        self.inner.map_records(&piece.rows, |number, record| piece.items.get(number).map(|item| each(item, record)))
    }

    /// Returns the records of many versions, as [`Store::records_of`].
    ///
    /// # Errors
    /// When one of them is damaged.
    pub fn records_at(&self, versions: &[Position]) -> Result<Vec<Option<EntityRecord>>, ReadError> {
        self.inner.map_records(&self.inner.rows(versions)?, |_, record| Some(record))
    }

    /// Returns the intakes in which versions of records were taken in; of records that are purged, too.
    ///
    /// # Errors
    /// When the event store is damaged.
    pub fn intakes_of(&self, versions: &[Position]) -> Result<BTreeSet<EntityId>, ReadError> {
        let versions = self.inner.rows(versions)?;
        let causes: BTreeSet<Position> = versions.iter().flatten().map(|row| row.cause).collect();
        let causes: Vec<Position> = causes.into_iter().filter(|cause| *cause != Position::NONE).collect();
        let intakes = self.inner.rows(&causes)?;
        let is_intake = |row: &&EventRow| row.event_type == EventType::IntakeStarted as u16;
        Ok(intakes.iter().flatten().filter(is_intake).filter_map(|row| row.entity).collect())
    }

    /// Returns the envelopes of the events from `first` up to `last`, in their order, as the journal has them; fewer when
    /// there are no more events. All of them are in memory at once.
    ///
    /// # Errors
    /// When the journal or sled cannot be read there.
    pub fn envelopes(&self, first: Position, last: Position) -> Result<Vec<Envelope>, ReadError> {
        self.inner.envelopes(first, last)
    }
}

/// Where an event stands, and how long its frame was written.
fn place_of(row: &EventRow) -> (Place, usize) {
    (row.place, FRAME_HEADER_BYTES + ENVELOPE_BYTES + row.body_len as usize)
}

impl Inner {
    /// Returns the rows of many positions, in their order.
    fn rows(&self, positions: &[Position]) -> Result<Vec<Option<EventRow>>, ReadError> {
        let mut rows = Vec::with_capacity(positions.len());
        let mut last: Option<(u64, Arc<Vec<EventRow>>)> = None;
        for &position in positions {
            let number = events::block_of(position);
            let index = position.0.checked_sub(1).map(|before| before % events::EVENTS_PER_BLOCK);
            let known = last.as_ref().filter(|(block, _)| *block == number).zip(index);
            let known = known.and_then(|((_, block), index)| block.get(usize::try_from(index).ok()?).copied());
            if known.is_some() {
                rows.push(known);
                continue;
            }
            rows.push(self.row(position)?);
            last = self.cached_block(number).map(|block| (number, block));
        }
        Ok(rows)
    }

    fn envelopes(&self, first: Position, last: Position) -> Result<Vec<Envelope>, ReadError> {
        let positions: Vec<Position> = (first.0..=last.0).map(Position).collect();
        let rows = self.rows(&positions)?;
        let places: Vec<(Place, usize)> = rows.iter().map_while(|row| row.as_ref().map(place_of)).collect();
        Ok(self.reader.envelopes_at(&places)?)
    }

    /// Reads the records of changes, and returns what `each` makes of them, in the order of the rows.
    fn map_records<M>(
        &self,
        rows: &[Option<EventRow>],
        mut each: impl FnMut(usize, EntityRecord) -> Option<M>,
    ) -> Result<Vec<Option<M>>, ReadError> {
        let mut wanted: Vec<(Place, usize, usize)> = rows
            .iter()
            .enumerate()
            .filter_map(|(number, row)| row.map(|row| (number, row)))
            .filter(|(_, row)| row.event_type == EventType::EntityChanged as u16)
            .map(|(number, row)| {
                let (place, length) = place_of(&row);
                (place, length, number)
            })
            .collect();
        wanted.sort_unstable();
        let entity_of = |number: usize| rows.get(number).copied().flatten().and_then(|row| row.entity);
        let entities: Vec<EntityId> =
            wanted.iter().map(|(_, _, number)| entity_of(*number).unwrap_or(EntityId(0))).collect();
        let keys = self.keys().keys_of(&entities)?;
        let places: Vec<(Place, usize)> = wanted.iter().map(|(place, length, _)| (*place, *length)).collect();
        let mut made: Vec<Option<M>> = Vec::with_capacity(rows.len());
        made.resize_with(rows.len(), || None);
        let mut plain = Zeroizing::new(Vec::with_capacity(USUAL_BODY_BYTES));
        self.reader.events_at(&places, |nth, envelope, body| {
            let (Some(body), Some((_, _, number)), Some(key)) = (body, wanted.get(nth), keys.get(nth)) else {
                return Ok(());
            };
            if let Some(record) = self.open_record(envelope, body, key, &mut plain)?
                && let Some(place) = made.get_mut(*number)
            {
                *place = each(*number, record);
            }
            Ok::<(), ReadError>(())
        })?;
        Ok(made)
    }

    /// Opens the body of a change with the key of its entity; `None` when that key is destroyed.
    fn open_record(
        &self,
        envelope: &Envelope,
        body: &[u8],
        key: &KeyState,
        plain: &mut Zeroizing<Vec<u8>>,
    ) -> Result<Option<EntityRecord>, ReadError> {
        let change = EventType::EntityChanged;
        let is_change = (envelope.event_type, envelope.schema) == (change as u16, codec::schema_of(change));
        let (Some(slot), true, true) = (envelope.entity, envelope.sealed, is_change) else {
            // No program of ours writes such a change; the way for single events knows what to make of it.
            return self.record_at(envelope.position);
        };
        let key = match key {
            KeyState::Live(key) => key,
            KeyState::Destroyed => return Ok(None),
            KeyState::NeverIssued | KeyState::Damaged => return Err(ReadError::SlotDamaged(slot)),
        };
        let context =
            SealContext { stream: envelope.stream, event_type: envelope.event_type, schema: envelope.schema, slot };
        let position = envelope.position;
        self.sealer.open_into(key, &context, body, plain).map_err(|_| ReadError::Sealed(position))?;
        let body = codec::read_change(plain).map_err(|source| ReadError::Body { position, source })?;
        Ok(Some(body.record))
    }
}

//! Reading: one event by position, one entity's record, a history.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use retention_core::event::codec::CodecError;
use retention_core::event::{Envelope, Event, EventType, Readable, Recorded, apart, codec};
use retention_core::id::{EntityId, Position};
use retention_core::record::EntityRecord;

use super::Inner;
use super::events::{self, EventRow};
use super::journal::{JournalError, StoredEvent};
use super::sled_door::BlocksError;
use super::tree::TreeFileError;
use super::vault::seal::SealContext;
use super::vault::{KeyState, VaultError};
use crate::halt::Halted;

/// How many blocks of event rows are kept in memory.
const CACHED_BLOCKS_MAX: usize = 256;

/// Something in the store could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The event store.
    #[error(transparent)]
    Sled(#[from] BlocksError),
    /// The keys.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The key slot is damaged.
    #[error(
        "the key slot of {0} is damaged, so its records cannot be opened; `retentionctl store verify` says what to do"
    )]
    SlotDamaged(EntityId),
    /// The body is not what its envelope says.
    #[error("the body of event {position} cannot be read: {source}")]
    Body {
        /// Which event.
        position: Position,
        /// Why.
        source: CodecError,
    },
    /// The body does not open with its key.
    #[error("the body of event {0} does not open with its key; run `retentionctl store verify`")]
    Sealed(Position),
    /// The tree beside the log.
    #[error(transparent)]
    Tree(#[from] TreeFileError),
    /// It was asked to stop.
    #[error(transparent)]
    Halted(#[from] Halted),
}

/// The full blocks of event rows that were read lately; a full block never changes.
#[derive(Default)]
pub(super) struct BlockCache {
    blocks: Mutex<HashMap<u64, Arc<Vec<EventRow>>>>,
}

impl Inner {
    /// Returns the row of a position; `None` if there is no such event.
    pub(super) fn row(&self, position: Position) -> Result<Option<EventRow>, ReadError> {
        if position == Position::NONE {
            return Ok(None);
        }
        if let Some(row) = self.tail.get(position) {
            return Ok(Some(row));
        }
        let Some(blocks) = &self.blocks else { return Ok(None) };
        let number = events::block_of(position);
        let index = usize::try_from((position.0 - 1) % events::EVENTS_PER_BLOCK).unwrap_or(usize::MAX);
        if let Some(block) = self.block_cache.blocks.lock().get(&number) {
            return Ok(block.get(index).copied());
        }
        let Some(rows) = events::read_block(blocks, number)? else { return Ok(None) };
        let rows = Arc::new(rows);
        let row = rows.get(index).copied();
        if rows.len() as u64 == events::EVENTS_PER_BLOCK {
            let mut cache = self.block_cache.blocks.lock();
            if cache.len() >= CACHED_BLOCKS_MAX {
                cache.clear();
            }
            cache.insert(number, rows);
        }
        Ok(row)
    }

    /// Returns a block of rows that was read lately.
    pub(super) fn cached_block(&self, number: u64) -> Option<Arc<Vec<EventRow>>> {
        self.block_cache.blocks.lock().get(&number).map(Arc::clone)
    }

    /// Returns an event, its body opened if its key is live.
    pub(super) fn read(&self, position: Position) -> Result<Option<Recorded>, ReadError> {
        let Some(row) = self.row(position)? else { return Ok(None) };
        let stored = self.reader.event(row.place)?;
        self.open(&stored).map(Some)
    }

    /// Returns the envelope of an event, as the journal has it.
    pub(super) fn envelope(&self, position: Position) -> Result<Option<Envelope>, ReadError> {
        let Some(row) = self.row(position)? else { return Ok(None) };
        Ok(Some(self.reader.event(row.place)?.envelope))
    }

    /// Opens a stored event.
    pub(super) fn open(&self, stored: &StoredEvent) -> Result<Recorded, ReadError> {
        let envelope = stored.envelope;
        let event = match &stored.body {
            None => Readable::Gone,
            Some(body) if envelope.sealed => self.open_sealed(stored, body)?,
            Some(body) => decode(stored, body)?,
        };
        Ok(Recorded { envelope, event })
    }

    /// As [`Self::open`], to fold it: no view holds a text, so a damaged slot of a month keeps no store from opening.
    /// Reading such an event says what is damaged, and so does `store verify`.
    pub(super) fn open_to_fold(&self, stored: &StoredEvent) -> Result<Recorded, ReadError> {
        match (self.open(stored), &stored.body) {
            (Err(ReadError::SlotDamaged(_)), Some(body)) if stored.envelope.texts.is_some() => {
                Ok(Recorded { envelope: stored.envelope, event: self.open_facts(stored, body)? })
            }
            (opened, _) => opened,
        }
    }

    /// As [`Self::open`], to verify it: of what is sealed apart, the facts are opened too while the key of its month is
    /// there. They are all that is left once it is destroyed, and then a fault in them is found too late.
    pub(super) fn open_to_verify(&self, stored: &StoredEvent) -> Result<Recorded, ReadError> {
        let recorded = self.open(stored)?;
        match &stored.body {
            Some(body) if stored.envelope.texts.is_some() => self.open_facts(stored, body).map(|_| recorded),
            _ => Ok(recorded),
        }
    }

    fn open_sealed(&self, stored: &StoredEvent, body: &[u8]) -> Result<Readable, ReadError> {
        let envelope = &stored.envelope;
        if let Some(month) = envelope.texts {
            return self.open_apart(stored, body, month);
        }
        let is_house = EventType::from_number(envelope.event_type)
            .is_none_or(|t| t.sealing() != retention_core::event::Sealing::Entity);
        let slot = match envelope.entity {
            Some(entity) if !is_house => entity,
            _ => EntityId(0),
        };
        let context = context_of(stored, slot);
        let plain = if slot == EntityId(0) {
            self.sealer.open(&self.house_key, &context, body)
        } else {
            match self.keys().key_of(slot)? {
                KeyState::Live(key) => self.sealer.open(&key, &context, body),
                KeyState::Destroyed => return Ok(Readable::Gone),
                KeyState::NeverIssued | KeyState::Damaged => return Err(ReadError::SlotDamaged(slot)),
            }
        };
        decode(stored, &plain.map_err(|_| ReadError::Sealed(envelope.position))?)
    }

    /// Opens a body whose texts are sealed apart: whole while the key of its month is there, and then its facts.
    fn open_apart(&self, stored: &StoredEvent, body: &[u8], month: EntityId) -> Result<Readable, ReadError> {
        let sealed = || ReadError::Sealed(stored.envelope.position);
        match self.keys().key_of(month)? {
            KeyState::Live(key) => {
                let (_, texts) = apart::split(body).ok_or_else(sealed)?;
                let whole = self.sealer.open(&key, &context_of(stored, month), texts).map_err(|_| sealed())?;
                decode(stored, &whole)
            }
            KeyState::Destroyed => self.open_facts(stored, body),
            KeyState::NeverIssued | KeyState::Damaged => Err(ReadError::SlotDamaged(month)),
        }
    }

    /// Opens the facts of a body whose texts are sealed apart.
    fn open_facts(&self, stored: &StoredEvent, body: &[u8]) -> Result<Readable, ReadError> {
        let sealed = || ReadError::Sealed(stored.envelope.position);
        let (facts, _) = apart::split(body).ok_or_else(sealed)?;
        let context = context_of(stored, EntityId(0));
        let facts = self.sealer.open(&self.house_key, &context, facts).map_err(|_| sealed())?;
        Ok(match decode(stored, &facts)? {
            Readable::Event(event) => Readable::Facts(event),
            other => other,
        })
    }

    /// Returns the state of an entity as its source last told it; `None` when it is gone or was never there.
    pub(super) fn record(&self, entity: EntityId) -> Result<Option<EntityRecord>, ReadError> {
        let version = self.state.read().views.entities.row(entity).map(|row| row.version);
        self.record_at(version.unwrap_or(Position::NONE))
    }

    /// Returns the record that a change event carries.
    pub(super) fn record_at(&self, version: Position) -> Result<Option<EntityRecord>, ReadError> {
        let Some(recorded) = self.read(version)? else { return Ok(None) };
        Ok(match recorded.event {
            Readable::Event(event) => match *event {
                Event::EntityChanged(body) => Some(body.record),
                _ => None,
            },
            Readable::Facts(_) | Readable::Gone | Readable::Unknown => None,
        })
    }
}

fn context_of(stored: &StoredEvent, slot: EntityId) -> SealContext {
    let envelope = &stored.envelope;
    SealContext { stream: envelope.stream, event_type: envelope.event_type, schema: envelope.schema, slot }
}

fn decode(stored: &StoredEvent, plain: &[u8]) -> Result<Readable, ReadError> {
    let envelope = &stored.envelope;
    match codec::read(envelope.event_type, envelope.schema, plain) {
        Ok(event) => Ok(Readable::Event(Box::new(event))),
        Err(CodecError::Unknown { .. }) => Ok(Readable::Unknown),
        Err(source) => Err(ReadError::Body { position: envelope.position, source }),
    }
}

//! The envelope: 128 bytes, little-endian, the same for ever. `docs/formats.md` has the table.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::apart;
use crate::id::{Digest, EntityId, Position, StreamId};
use crate::time::Timestamp;

/// The size of an encoded envelope, in bytes.
pub const ENVELOPE_BYTES: usize = 128;

/// The format version of an event whose body is one piece.
pub const FORMAT_VERSION: u16 = 1;

/// The format version of an event whose texts are sealed apart.
const FORMAT_VERSION_TEXTS: u16 = 2;

const NO_SLOT: u64 = u64::MAX;
const SEALED: u8 = 1;

/// Who caused an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind", content = "uid")]
pub enum Actor {
    /// The daemon itself.
    Daemon,
    /// A schedule of a policy.
    Schedule,
    /// A person, by the numeric user id of the peer of the control socket.
    Person(u32),
}

impl Actor {
    fn to_parts(self) -> (u8, u32) {
        match self {
            Self::Daemon => (0, 0),
            Self::Schedule => (1, 0),
            Self::Person(uid) => (2, uid),
        }
    }

    fn from_parts(kind: u8, id: u32) -> Option<Self> {
        match (kind, id) {
            (0, 0) => Some(Self::Daemon),
            (1, 0) => Some(Self::Schedule),
            (2, uid) => Some(Self::Person(uid)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Daemon => f.write_str("daemon"),
            Self::Schedule => f.write_str("schedule"),
            Self::Person(uid) => write!(f, "uid:{uid}"),
        }
    }
}

impl std::str::FromStr for Actor {
    type Err = crate::id::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "daemon" => Ok(Self::Daemon),
            "schedule" => Ok(Self::Schedule),
            _ => text
                .strip_prefix("uid:")
                .and_then(|uid| uid.parse().ok())
                .map(Self::Person)
                .ok_or(crate::id::IdError::of("an actor", "daemon, schedule or uid:1000")),
        }
    }
}

/// What surrounds the body of an event.
///
/// **Invariant:** never holds personal data; never changes after it was appended, also when the body is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// The stored number of the event type; it may be unknown to this program.
    pub event_type: u16,
    /// The schema version of the body.
    pub schema: u16,
    /// Whether the body is ciphertext.
    pub sealed: bool,
    /// Where the event stands in the log.
    pub position: Position,
    /// When it was appended. Never decreases along the log.
    pub recorded_at: Timestamp,
    /// When it happened in its source.
    pub occurred_at: Timestamp,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Who caused it.
    pub actor: Actor,
    /// The event that led to it, or none.
    pub cause: Position,
    /// The entity it is about, whose slot seals it if it is sealed.
    pub entity: Option<EntityId>,
    /// The month of the log whose key seals the texts of the body apart from its facts; `None` when the body is one
    /// piece.
    pub texts: Option<EntityId>,
    /// The length of the stored body, in bytes.
    pub body_len: u32,
    /// The SHA-256 of the stored body; where its texts are apart, [`super::apart::digest`] says of what.
    pub body_digest: Digest,
}

/// Bytes are not an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// There are not 128 bytes.
    #[error("the envelope is not 128 bytes long")]
    Length,
    /// The CRC32C does not fit.
    #[error("the checksum of the envelope is wrong")]
    Checksum,
    /// Made by a newer program.
    #[error("envelope format {0} is unknown to this program; use a newer one")]
    Format(u16),
    /// A reserved byte is set or a number is out of range.
    #[error("the envelope holds a value that no program writes")]
    Value,
}

impl Envelope {
    /// Returns the canonical bytes, which are also what the audit log's leaf hashes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ENVELOPE_BYTES] {
        let (actor_kind, actor_id) = self.actor.to_parts();
        let slot = self.entity.map_or(NO_SLOT, |entity| u64::from(entity.0));
        let mut bytes = [0; ENVELOPE_BYTES];
        let format = if self.texts.is_some() { FORMAT_VERSION_TEXTS } else { FORMAT_VERSION };
        bytes[0..2].copy_from_slice(&format.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.event_type.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.schema.to_le_bytes());
        bytes[6] = if self.sealed { SEALED } else { 0 };
        bytes[7] = actor_kind;
        bytes[8..16].copy_from_slice(&self.position.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.recorded_at.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.occurred_at.0.to_le_bytes());
        bytes[32..48].copy_from_slice(&self.stream.0);
        bytes[48..52].copy_from_slice(&actor_id.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.cause.0.to_le_bytes());
        bytes[64..72].copy_from_slice(&slot.to_le_bytes());
        bytes[72..76].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[76..80].copy_from_slice(&self.texts.map_or(0, |month| month.0).to_le_bytes());
        bytes[80..112].copy_from_slice(&self.body_digest.0);
        let crc = crc32c::crc32c(&bytes[..124]);
        bytes[124..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Says whether a stored body is the one that the envelope names.
    #[must_use]
    pub fn is_body(&self, body: &[u8]) -> bool {
        match self.texts {
            None => Digest::of(body) == self.body_digest,
            Some(_) => apart::digest(body) == Some(self.body_digest),
        }
    }

    /// Reads an envelope.
    ///
    /// # Errors
    /// Names what is wrong; nothing is guessed.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let bytes: &[u8; ENVELOPE_BYTES] = bytes.try_into().map_err(|_| EnvelopeError::Length)?;
        let crc = u32::from_le_bytes(field(bytes, 124));
        if crc32c::crc32c(&bytes[..124]) != crc {
            return Err(EnvelopeError::Checksum);
        }
        let format = u16::from_le_bytes(field(bytes, 0));
        // Slot 0 is the house key, which is that of no month.
        let texts = Some(EntityId(u32::from_le_bytes(field(bytes, 76)))).filter(|month| month.0 != 0);
        let has_texts = match format {
            FORMAT_VERSION => false,
            FORMAT_VERSION_TEXTS => true,
            _ => return Err(EnvelopeError::Format(format)),
        };
        let reserved_is_zero = [&bytes[52..56], &bytes[112..124]].iter().all(|part| part.iter().all(|&b| b == 0));
        // Only what is sealed has texts apart.
        let is_contradicting = texts.is_some() != has_texts || (has_texts && bytes[6] != SEALED);
        if bytes[6] > SEALED || !reserved_is_zero || is_contradicting {
            return Err(EnvelopeError::Value);
        }
        let slot = u64::from_le_bytes(field(bytes, 64));
        Ok(Self {
            event_type: u16::from_le_bytes(field(bytes, 2)),
            schema: u16::from_le_bytes(field(bytes, 4)),
            sealed: bytes[6] == SEALED,
            position: Position(u64::from_le_bytes(field(bytes, 8))),
            recorded_at: Timestamp(i64::from_le_bytes(field(bytes, 16))),
            occurred_at: Timestamp(i64::from_le_bytes(field(bytes, 24))),
            stream: StreamId(field(bytes, 32)),
            actor: Actor::from_parts(bytes[7], u32::from_le_bytes(field(bytes, 48))).ok_or(EnvelopeError::Value)?,
            cause: Position(u64::from_le_bytes(field(bytes, 56))),
            entity: match slot {
                NO_SLOT => None,
                slot => Some(EntityId(u32::try_from(slot).map_err(|_| EnvelopeError::Value)?)),
            },
            texts,
            body_len: u32::from_le_bytes(field(bytes, 72)),
            body_digest: Digest(field(bytes, 80)),
        })
    }
}

fn field<const N: usize>(bytes: &[u8; ENVELOPE_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Envelope {
        Envelope {
            event_type: 2,
            schema: 1,
            sealed: true,
            position: Position(7),
            recorded_at: Timestamp(1_700_000_000_000_000),
            occurred_at: Timestamp(-1),
            stream: StreamId([9; 16]),
            actor: Actor::Person(1000),
            cause: Position(3),
            entity: Some(EntityId(41)),
            texts: None,
            body_len: 300,
            body_digest: Digest([5; 32]),
        }
    }

    #[test]
    fn reads_back_what_it_wrote() {
        assert_eq!(Envelope::parse(&sample().to_bytes()), Ok(sample()));
        let without = Envelope { entity: None, actor: Actor::Schedule, sealed: false, ..sample() };
        assert_eq!(Envelope::parse(&without.to_bytes()), Ok(without));
        let apart = Envelope { texts: Some(EntityId(77)), ..sample() };
        assert_eq!(Envelope::parse(&apart.to_bytes()), Ok(apart));
    }

    #[test]
    fn texts_stand_apart_only_in_the_format_that_says_so_and_only_sealed() {
        let with_format = |envelope: Envelope, format: u8| {
            let mut bytes = envelope.to_bytes();
            bytes[0] = format;
            let crc = crc32c::crc32c(&bytes[..124]);
            bytes[124..].copy_from_slice(&crc.to_le_bytes());
            Envelope::parse(&bytes)
        };
        let apart = Envelope { texts: Some(EntityId(77)), ..sample() };
        assert_eq!(with_format(apart, 2), Ok(apart));
        assert_eq!(with_format(apart, 1), Err(EnvelopeError::Value));
        assert_eq!(with_format(sample(), 2), Err(EnvelopeError::Value));
        assert_eq!(with_format(Envelope { sealed: false, ..apart }, 2), Err(EnvelopeError::Value));
        assert_eq!(with_format(apart, 3), Err(EnvelopeError::Format(3)));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let bytes = sample().to_bytes();
        for bit in 0..ENVELOPE_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Envelope::parse(&flipped).is_err(), "bit {bit}");
        }
    }
}

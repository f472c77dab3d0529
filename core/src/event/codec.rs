//! The one place that turns bodies into bytes and back. bincode is named nowhere else but in derives.
//!
//! bincode 2.0.1, `standard()` (little-endian, variable-length integers), limited, and every byte must be used.
//! The library is unmaintained (RUSTSEC-2025-0141) and frozen; the golden vectors in `core/tests/golden` hold it to
//! its bytes, so another codec can take its place.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

use super::hold::{v1, v2};
use super::{Event, EventType, change, notice, redaction, restriction, subject};

/// The largest body that is written or read, in bytes.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

const CONFIG: Configuration<LittleEndian, Varint, Limit<BODY_BYTES_MAX>> =
    bincode::config::standard().with_limit::<BODY_BYTES_MAX>();

/// Bytes and bodies do not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The body is larger than [`BODY_BYTES_MAX`], as bytes or in the memory that its lists take.
    #[error("the body is larger than 16 MiB")]
    TooLarge,
    /// The bytes are not a body of this type and schema version.
    #[error("the bytes are not a body of this type")]
    Malformed,
    /// Bytes are left over.
    #[error("bytes are left over after the body")]
    Trailing,
    /// This program does not know the type or the schema version.
    #[error("event type {event_type}, schema {schema} is unknown to this program; use a newer one")]
    Unknown {
        /// The stored number of the type.
        event_type: u16,
        /// The stored schema version.
        schema: u16,
    },
}

/// Implemented by [`Event`] alone, through the table of types.
pub trait Bodies: Sized {
    /// Returns the body as bytes, in the current schema version.
    ///
    /// # Errors
    /// Says when the body is too large.
    fn encode_body(&self) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::new();
        self.encode_body_into(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes the bytes of the body over what `out` held, so that many bodies share one piece of memory.
    ///
    /// # Errors
    /// Says when the body is too large; `out` then holds nothing of use.
    fn encode_body_into(&self, out: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Reads a body of the current schema version.
    ///
    /// # Errors
    /// Says when the bytes are not such a body.
    fn decode_body(event_type: EventType, bytes: &[u8]) -> Result<Self, CodecError>;
}

/// The schema version that is written.
#[must_use]
pub fn schema_of(event_type: EventType) -> u16 {
    match event_type {
        // Version 3 of a hold has a filter. It and version 2 of a layout can name a kind that those before could not.
        EventType::HoldPlaced => 3,
        EventType::LayoutRecorded
        | EventType::EntityLinked
        | EventType::EntitySucceeded
        | EventType::HoldReleased
        | EventType::DisposalPaused
        | EventType::DisposalResumed
        | EventType::RestrictionLifted
        | EventType::SubjectPackageMade
        | EventType::NoticeSent
        | EventType::NoticeFailed
        | EventType::NoticeAcknowledged => 2,
        _ => 1,
    }
}

/// Reads a body of any schema version that was ever written.
///
/// # Errors
/// [`CodecError::Unknown`] for what a newer program wrote; otherwise the bytes are damaged.
pub fn read(event_type: u16, schema: u16, bytes: &[u8]) -> Result<Event, CodecError> {
    match (EventType::from_number(event_type), schema) {
        (Some(EventType::EntityChanged), 1) => read_change(bytes).map(Event::EntityChanged),
        (Some(event_type), newest) if newest == schema_of(event_type) => Event::decode_body(event_type, bytes),
        (Some(event_type @ EventType::LayoutRecorded), 1) => Event::decode_body(event_type, bytes),
        (Some(EventType::EntityLinked), 1) => {
            decode::<change::v1::EntityLinked>(bytes).map(|body| Event::EntityLinked(body.into()))
        }
        (Some(EventType::EntitySucceeded), 1) => {
            decode::<redaction::v1::EntitySucceeded>(bytes).map(|body| Event::EntitySucceeded(body.into()))
        }
        (Some(EventType::HoldPlaced), 1) => decode::<v1::HoldPlaced>(bytes).map(|body| Event::HoldPlaced(body.into())),
        (Some(EventType::HoldPlaced), 2) => decode::<v2::HoldPlaced>(bytes).map(|body| Event::HoldPlaced(body.into())),
        (Some(EventType::HoldReleased), 1) => {
            decode::<v1::HoldReleased>(bytes).map(|body| Event::HoldReleased(body.into()))
        }
        (Some(EventType::DisposalPaused), 1) => {
            decode::<v1::DisposalPaused>(bytes).map(|body| Event::DisposalPaused(body.into()))
        }
        (Some(EventType::DisposalResumed), 1) => {
            decode::<v1::DisposalResumed>(bytes).map(|body| Event::DisposalResumed(body.into()))
        }
        (Some(EventType::RestrictionLifted), 1) => {
            decode::<restriction::v1::RestrictionLifted>(bytes).map(|body| Event::RestrictionLifted(body.into()))
        }
        (Some(EventType::SubjectPackageMade), 1) => {
            decode::<subject::v1::SubjectPackageMade>(bytes).map(|body| Event::SubjectPackageMade(body.into()))
        }
        (Some(EventType::NoticeSent), 1) => {
            decode::<notice::v1::NoticeSent>(bytes).map(|body| Event::NoticeSent(body.into()))
        }
        (Some(EventType::NoticeFailed), 1) => {
            decode::<notice::v1::NoticeFailed>(bytes).map(|body| Event::NoticeFailed(body.into()))
        }
        (Some(EventType::NoticeAcknowledged), 1) => {
            decode::<notice::v1::NoticeAcknowledged>(bytes).map(|body| Event::NoticeAcknowledged(body.into()))
        }
        _ => Err(CodecError::Unknown { event_type, schema }),
    }
}

/// Reads the body of an [`EventType::EntityChanged`] of the only schema version that there is. A million of them are read
/// to judge a policy, and an [`Event`], which has room for any body, is large to pass on.
///
/// # Errors
/// When the bytes are no such body, or parts of it contradict each other, which the types of its fields cannot rule out.
pub fn read_change(bytes: &[u8]) -> Result<change::EntityChanged, CodecError> {
    let body: change::EntityChanged = decode(bytes)?;
    if body.record.cells.is_consistent() { Ok(body) } else { Err(CodecError::Malformed) }
}

/// Encodes a value.
///
/// # Errors
/// Says when the value is too large.
pub fn encode<T: Encode>(value: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::encode_to_vec(value, CONFIG).map_err(|_| CodecError::TooLarge)?;
    if bytes.len() > BODY_BYTES_MAX { Err(CodecError::TooLarge) } else { Ok(bytes) }
}

/// Below this size whatever was encoded can be decoded. The limit of a decoder counts the memory that lists take, and
/// that is at most 24 bytes, an empty text, for one byte of a body.
const SURELY_READABLE_BYTES: usize = BODY_BYTES_MAX / 32;

/// Encodes a body over what `out` held, and makes sure that it can be read again: what nobody can read must not be
/// appended.
///
/// # Errors
/// Says when the body is too large, as bytes or, once decoded, in memory.
pub fn encode_readable<T: Encode + Decode<()>>(body: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    out.clear();
    let length = bincode::encode_into_std_write(body, out, CONFIG).map_err(|_| CodecError::TooLarge)?;
    if length > BODY_BYTES_MAX {
        return Err(CodecError::TooLarge);
    }
    if length > SURELY_READABLE_BYTES {
        decode::<T>(out).map_err(|_| CodecError::TooLarge)?;
    }
    Ok(())
}

/// Decodes a value and insists that every byte was used.
///
/// # Errors
/// Says what is wrong with the bytes.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, used) = bincode::decode_from_slice(bytes, CONFIG).map_err(|_| CodecError::Malformed)?;
    if used == bytes.len() { Ok(value) } else { Err(CodecError::Trailing) }
}

/// The largest snapshot of views, in bytes: they come from our own files, so this only stops nonsense.
const SNAPSHOT_BYTES_MAX: usize = 1024 * 1024 * 1024;

const SNAPSHOT_CONFIG: Configuration<LittleEndian, Varint, Limit<SNAPSHOT_BYTES_MAX>> =
    bincode::config::standard().with_limit::<SNAPSHOT_BYTES_MAX>();

/// Encodes a snapshot of views.
///
/// # Errors
/// Says when it is too large.
pub fn encode_snapshot<T: Encode>(value: &T) -> Result<Vec<u8>, CodecError> {
    bincode::encode_to_vec(value, SNAPSHOT_CONFIG).map_err(|_| CodecError::TooLarge)
}

/// Decodes a snapshot of views and insists that every byte was used.
///
/// # Errors
/// Says what is wrong with the bytes.
pub fn decode_snapshot<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, used) = bincode::decode_from_slice(bytes, SNAPSHOT_CONFIG).map_err(|_| CodecError::Malformed)?;
    if used == bytes.len() { Ok(value) } else { Err(CodecError::Trailing) }
}

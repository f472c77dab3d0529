//! Frames: `length u32 | crc32c u32 | kind u8 | payload`, little-endian; the checksum covers kind and payload.

use retention_core::event::Envelope;
use retention_core::event::envelope::ENVELOPE_BYTES;
use retention_core::id::Position;

use super::StoredEvent;

/// The bytes before the payload.
pub const FRAME_HEADER_BYTES: usize = 9;

/// The bytes of a group's first frame.
pub const GROUP_FRAME_BYTES: usize = FRAME_HEADER_BYTES + GROUP_PAYLOAD_BYTES;

const GROUP_PAYLOAD_BYTES: usize = 20;

/// The longest payload that is read, in bytes: the largest body, sealed, and its envelope.
const PAYLOAD_BYTES_MAX: usize = retention_core::event::codec::BODY_BYTES_MAX + 1024;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Envelope and body.
    Event = 1,
    /// Envelope alone: the ciphertext was removed after its key was destroyed.
    Removed = 2,
    /// The beginning of a group.
    Group = 3,
}

impl FrameKind {
    fn from_u8(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Event),
            2 => Some(Self::Removed),
            3 => Some(Self::Group),
            _ => None,
        }
    }
}

/// A frame whose checksum was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it holds.
    pub kind: FrameKind,
    /// The rest.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the frame at the start of `bytes`; `None` if there is no whole, right frame.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let length = frame_length(bytes)?;
        let frame = bytes.get(..length)?;
        let crc = u32::from_le_bytes(frame.get(4..8)?.try_into().ok()?);
        if crc32c::crc32c(frame.get(8..)?) != crc {
            return None;
        }
        Some(Self { kind: FrameKind::from_u8(*frame.get(8)?)?, payload: frame.get(FRAME_HEADER_BYTES..)? })
    }

    /// Returns the length of the whole frame, in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        FRAME_HEADER_BYTES + self.payload.len()
    }

    /// Reads the event that the frame holds. The hash of the body is not compared here.
    #[must_use]
    pub fn event(&self) -> Option<StoredEvent> {
        let (envelope, body) = self.parts()?;
        Some(StoredEvent { envelope, body: body.map(<[u8]>::to_vec) })
    }

    /// As [`Self::event`], with the body where it stands.
    #[must_use]
    pub fn parts(&self) -> Option<(Envelope, Option<&'a [u8]>)> {
        let envelope = Envelope::parse(self.payload.get(..ENVELOPE_BYTES)?).ok()?;
        let rest = self.payload.get(ENVELOPE_BYTES..)?;
        match self.kind {
            FrameKind::Event if rest.len() == envelope.body_len as usize => Some((envelope, Some(rest))),
            FrameKind::Removed if rest.is_empty() => Some((envelope, None)),
            FrameKind::Event | FrameKind::Removed | FrameKind::Group => None,
        }
    }

    /// Reads the beginning of a group.
    #[must_use]
    pub fn group(&self) -> Option<GroupHeader> {
        if self.kind != FrameKind::Group || self.payload.len() != GROUP_PAYLOAD_BYTES {
            return None;
        }
        Some(GroupHeader {
            count: u32::from_le_bytes(self.payload.get(..4)?.try_into().ok()?),
            first: Position(u64::from_le_bytes(self.payload.get(4..12)?.try_into().ok()?)),
            bytes: u64::from_le_bytes(self.payload.get(12..20)?.try_into().ok()?),
        })
    }
}

/// Returns the length of the frame at the start of `bytes`, if its length field can be one.
#[must_use]
pub fn frame_length(bytes: &[u8]) -> Option<usize> {
    let payload = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    (1..=PAYLOAD_BYTES_MAX).contains(&payload).then_some(FRAME_HEADER_BYTES + payload)
}

/// What a group says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupHeader {
    /// How many events follow.
    pub count: u32,
    /// The position of the first.
    pub first: Position,
    /// How many bytes their frames take.
    pub bytes: u64,
}

/// A group in the making.
#[derive(Debug)]
pub struct GroupBuffer {
    bytes: Vec<u8>,
    count: u32,
    first: Position,
}

impl GroupBuffer {
    /// Begins a group.
    #[must_use]
    pub fn begin(first: Position) -> Self {
        Self { bytes: vec![0; GROUP_FRAME_BYTES], count: 0, first }
    }

    /// Begins the next group in the same memory.
    pub fn reset(&mut self, first: Position) {
        self.bytes.clear();
        self.bytes.resize(GROUP_FRAME_BYTES, 0);
        self.count = 0;
        self.first = first;
    }

    /// Adds an event. Returns the offset of its frame in the group.
    pub fn push(&mut self, envelope: &Envelope, body: &[u8]) -> u32 {
        let start = self.bytes.len();
        let payload = ENVELOPE_BYTES + body.len();
        self.bytes.extend_from_slice(&u32::try_from(payload).unwrap_or(u32::MAX).to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.push(FrameKind::Event as u8);
        self.bytes.extend_from_slice(&envelope.to_bytes());
        self.bytes.extend_from_slice(body);
        self.seal_frame(start);
        self.count += 1;
        u32::try_from(start).unwrap_or(u32::MAX)
    }

    /// Adds an event whose body is removed.
    pub fn push_removed(&mut self, envelope: &Envelope) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&u32::try_from(ENVELOPE_BYTES).unwrap_or(u32::MAX).to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.push(FrameKind::Removed as u8);
        self.bytes.extend_from_slice(&envelope.to_bytes());
        self.seal_frame(start);
        self.count += 1;
    }

    fn seal_frame(&mut self, start: usize) {
        let crc = self.bytes.get(start + 8..).map_or(0, crc32c::crc32c);
        if let Some(place) = self.bytes.get_mut(start + 4..start + 8) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
    }

    /// Writes the group's own frame, once all events are in.
    pub fn finish(&mut self) {
        let events = (self.bytes.len() - GROUP_FRAME_BYTES) as u64;
        let mut head = Vec::with_capacity(GROUP_FRAME_BYTES);
        head.extend_from_slice(&u32::try_from(GROUP_PAYLOAD_BYTES).unwrap_or(0).to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        head.push(FrameKind::Group as u8);
        head.extend_from_slice(&self.count.to_le_bytes());
        head.extend_from_slice(&self.first.0.to_le_bytes());
        head.extend_from_slice(&events.to_le_bytes());
        let crc = crc32c::crc32c(head.get(8..).unwrap_or_default());
        if let Some(place) = head.get_mut(4..8) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
        if let Some(place) = self.bytes.get_mut(..GROUP_FRAME_BYTES) {
            place.copy_from_slice(&head);
        }
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the position of the first event.
    #[must_use]
    pub fn first(&self) -> Position {
        self.first
    }

    /// Returns how many events there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }
}

/// Says whether a stored body is the one that the envelope names.
#[must_use]
pub fn body_matches(event: &StoredEvent) -> bool {
    event.body.as_ref().is_none_or(|body| event.envelope.is_body(body))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use retention_core::event::Actor;
    use retention_core::id::{Digest, EntityId, StreamId};
    use retention_core::time::Timestamp;

    use super::*;

    fn envelope(body: &[u8]) -> Envelope {
        Envelope {
            event_type: 80,
            schema: 1,
            sealed: false,
            position: Position(7),
            recorded_at: Timestamp(1),
            occurred_at: Timestamp(1),
            stream: StreamId([0; 16]),
            actor: Actor::Daemon,
            cause: Position::NONE,
            entity: Some(EntityId(5)),
            texts: None,
            body_len: u32::try_from(body.len()).unwrap(),
            body_digest: Digest::of(body),
        }
    }

    fn group(body: &[u8]) -> Vec<u8> {
        let mut group = GroupBuffer::begin(Position(7));
        group.push(&envelope(body), body);
        group.finish();
        group.bytes().to_vec()
    }

    #[test]
    fn the_group_frame_of_the_documentation_is_the_one_that_is_written() {
        let documented: String = include_str!("../../../../docs/formats.md")
            .lines()
            .skip_while(|line| *line != "example group frame")
            .skip(1)
            .take_while(|line| !line.starts_with('='))
            .filter_map(|line| line.split('|').next())
            .flat_map(str::split_whitespace)
            .collect();
        assert_eq!(documented, hex::encode(&group(&[1, 2, 3])[..GROUP_FRAME_BYTES]));
    }

    proptest! {
        #[test]
        fn a_group_reads_back_frame_by_frame(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let bytes = group(&body);
            let head = Frame::parse(&bytes).unwrap();
            let events = (bytes.len() - GROUP_FRAME_BYTES) as u64;
            prop_assert_eq!(head.group(), Some(GroupHeader { count: 1, first: Position(7), bytes: events }));
            prop_assert_eq!(head.event(), None);
            let event = Frame::parse(&bytes[head.length()..]).unwrap().event().unwrap();
            prop_assert!(body_matches(&event));
            prop_assert_eq!(event, StoredEvent { envelope: envelope(&body), body: Some(body) });
        }

        #[test]
        fn any_bytes_are_a_frame_within_them_or_nothing(
            mut bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0..5u8, repair: bool
        ) {
            if repair && bytes.len() > FRAME_HEADER_BYTES {
                let payload = u32::try_from(bytes.len() - FRAME_HEADER_BYTES).unwrap();
                bytes[..4].copy_from_slice(&payload.to_le_bytes());
                bytes[8] = kind;
                let crc = crc32c::crc32c(&bytes[8..]);
                bytes[4..8].copy_from_slice(&crc.to_le_bytes());
            }
            if let Some(frame) = Frame::parse(&bytes) {
                prop_assert!(frame.length() <= bytes.len());
                let (event, group) = (frame.event(), frame.group());
                prop_assert!(event.is_none() || group.is_none());
            }
        }

        #[test]
        fn a_changed_byte_is_never_read_as_another_event(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
            let mut bytes = group(&[1, 2, 3]).split_off(GROUP_FRAME_BYTES);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert_eq!(Frame::parse(&bytes).and_then(|frame| frame.event()), None);
        }
    }
}

//! The end of the journal after a crash: a torn tail is cut and reported, anything else is damage.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use retention_core::id::{EntityId, Position};

use super::frame::{Frame, GROUP_FRAME_BYTES, GroupHeader, frame_length};
use super::{Damage, HEADER_BYTES, JournalError, JournalReader, Place, segment_path};

/// Where the journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The position of the last event.
    pub last: Position,
    /// Where the next group goes.
    pub end: Place,
    /// How many bytes of a torn tail there are. They were never acknowledged.
    pub torn_bytes: u64,
    /// The highest entity number that the last segment's envelopes name.
    pub highest_entity: Option<EntityId>,
}

/// Looks for the end of the journal. Changes nothing, but for a last segment whose header was never finished: that one
/// holds no event, and is removed.
///
/// # Errors
/// Names the damage: a hole, a wrong header, a missing segment.
pub fn find_tail(dir: &Path) -> Result<Tail, JournalError> {
    let reader = JournalReader::at(dir);
    let segments = reader.segments()?;
    let Some(&last) = segments.last() else {
        return Err(JournalError::damaged(1, 0, Damage::Missing));
    };
    let mut segment = last;
    // A crash between making a segment and writing its first group leaves one that is only a header, or less.
    if last > 1 && is_unfinished(dir, last)? {
        std::fs::remove_file(segment_path(dir, last)).map_err(JournalError::io("remove the unfinished", last))?;
        segment = last - 1;
    }
    follow_one_another(&reader, segments.iter().copied().filter(|number| *number <= segment))?;
    tail_of(dir, &reader, segment)
}

/// Looks whether each segment begins behind where the one in front of it does: one that was put in the place of another would
/// be written on otherwise. A header that cannot be read is found by whoever reads the segment.
fn follow_one_another(reader: &JournalReader, segments: impl Iterator<Item = u32>) -> Result<(), JournalError> {
    let mut before = Position::NONE;
    for segment in segments {
        let Ok(first) = reader.first_of(segment) else { continue };
        if first <= before {
            return Err(JournalError::damaged(segment, 0, Damage::Positions));
        }
        before = first;
    }
    Ok(())
}

/// Returns the length of a segment's file.
pub(in crate::store) fn length_of(dir: &Path, segment: u32) -> Result<u64, JournalError> {
    std::fs::metadata(segment_path(dir, segment)).map(|meta| meta.len()).map_err(JournalError::io("look at", segment))
}

/// Says whether a segment is less than a header, or only the room for one: some file systems keep a length whose bytes
/// a power cut took.
fn is_unfinished(dir: &Path, segment: u32) -> Result<bool, JournalError> {
    let failed = || JournalError::io("look at", segment);
    let path = segment_path(dir, segment);
    let length = std::fs::metadata(&path).map_err(failed())?.len();
    if length != HEADER_BYTES {
        return Ok(length < HEADER_BYTES);
    }
    Ok(std::fs::read(&path).map_err(failed())?.iter().all(|&byte| byte == 0))
}

/// Looks for the end of the journal in its last segment. Changes nothing.
pub(in crate::store) fn tail_of(dir: &Path, reader: &JournalReader, segment: u32) -> Result<Tail, JournalError> {
    let first = reader.first_of(segment)?;
    let mut bytes = Vec::new();
    let mut file = File::open(segment_path(dir, segment)).map_err(JournalError::io("open", segment))?;
    std::io::Read::read_to_end(&mut file, &mut bytes).map_err(JournalError::io("read", segment))?;
    let mut at = usize::try_from(HEADER_BYTES).unwrap_or(0);
    let mut next = first;
    let mut highest = None;
    while let Some(group) = whole_group(&bytes, at, next) {
        at = group.end;
        next = group.next;
        highest = highest.max(group.highest_entity);
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let is_zero = rest.iter().all(|&byte| byte == 0);
    if !is_zero && something_follows(rest, next) {
        return Err(JournalError::damaged(segment, at as u64, Damage::Hole));
    }
    Ok(Tail {
        last: Position(next.0.saturating_sub(1)),
        end: Place {
            segment,
            offset: u32::try_from(at).map_err(|_| JournalError::damaged(segment, at as u64, Damage::Frame))?,
        },
        torn_bytes: rest.len() as u64,
        highest_entity: highest,
    })
}

struct WholeGroup {
    end: usize,
    next: Position,
    highest_entity: Option<EntityId>,
}

/// Reads the group at `at` if it is whole and continues the log.
fn whole_group(bytes: &[u8], at: usize, first: Position) -> Option<WholeGroup> {
    let header = group_header(bytes, at)?;
    if header.first != first {
        return None;
    }
    let start = at + GROUP_FRAME_BYTES;
    let end = start.checked_add(usize::try_from(header.bytes).ok()?)?;
    let mut rest = bytes.get(start..end)?;
    let mut next = first;
    let mut highest_entity = None;
    while !rest.is_empty() {
        let frame = Frame::parse(rest)?;
        let envelope = frame.event()?.envelope;
        if envelope.position != next {
            return None;
        }
        highest_entity = highest_entity.max(envelope.entity);
        next = next.next();
        rest = rest.get(frame.length()..)?;
    }
    (header.count > 0 && next.0 - first.0 == u64::from(header.count)).then_some(WholeGroup {
        end,
        next,
        highest_entity,
    })
}

/// Reads the group frame at `at`. The length is looked at before the checksum: the end of a torn segment is searched at
/// every byte, and a checksum over whatever a stray length says would make that search quadratic.
fn group_header(bytes: &[u8], at: usize) -> Option<GroupHeader> {
    let frame = bytes.get(at..)?;
    if frame_length(frame)? != GROUP_FRAME_BYTES {
        return None;
    }
    Frame::parse(frame)?.group()
}

/// Says whether anything in the rest shows that a later group was begun, which happens only after this one was durable.
fn something_follows(rest: &[u8], first: Position) -> bool {
    if let Some(header) = group_header(rest, 0)
        && let Some(after) = usize::try_from(header.bytes)
            .ok()
            .and_then(|bytes| GROUP_FRAME_BYTES.checked_add(bytes))
            .and_then(|end| rest.get(end..))
    {
        return after.iter().any(|&byte| byte != 0);
    }
    (1..rest.len()).any(|at| group_header(rest, at).is_some_and(|header| header.first > first))
}

/// Cuts a torn tail off.
///
/// # Errors
/// Says what the system refused.
pub fn cut(dir: &Path, tail: &Tail) -> Result<(), JournalError> {
    let segment = tail.end.segment;
    let file =
        OpenOptions::new().write(true).open(segment_path(dir, segment)).map_err(JournalError::io("open", segment))?;
    // Overwritten before it is cut: the torn events were sealed, but never acknowledged, and nothing refers to them.
    let zeros = vec![0; usize::try_from(tail.torn_bytes).unwrap_or(0)];
    file.write_all_at(&zeros, u64::from(tail.end.offset))
        .map_err(JournalError::io("overwrite the tail of", segment))?;
    file.sync_data().map_err(JournalError::io("flush", segment))?;
    file.set_len(u64::from(tail.end.offset)).map_err(JournalError::io("cut", segment))?;
    file.sync_all().map_err(JournalError::io("flush", segment))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, OnceLock};

    use proptest::prelude::*;
    use retention_core::event::{Actor, Envelope};
    use retention_core::id::{Digest, StreamId};
    use retention_core::time::Timestamp;

    use super::super::{GroupBuffer, JournalWriter, OpenGate, StoredEvent};
    use super::*;

    fn event(position: u64, body: &[u8]) -> Envelope {
        Envelope {
            event_type: 2,
            schema: 1,
            sealed: true,
            position: Position(position),
            recorded_at: Timestamp(0),
            occurred_at: Timestamp(0),
            stream: StreamId([0; 16]),
            actor: Actor::Daemon,
            cause: Position::NONE,
            entity: Some(EntityId(u32::try_from(position).unwrap())),
            texts: None,
            body_len: u32::try_from(body.len()).unwrap(),
            body_digest: Digest::of(body),
        }
    }

    /// Three groups of two events.
    fn journal() -> (tempfile::TempDir, Vec<u8>, Vec<usize>) {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = JournalWriter::create(dir.path(), Arc::new(OpenGate)).unwrap();
        let mut ends = Vec::new();
        for group in 0..3 {
            let mut buffer = GroupBuffer::begin(Position(group * 2 + 1));
            for position in [group * 2 + 1, group * 2 + 2] {
                let body = vec![u8::try_from(position).unwrap(); 20];
                buffer.push(&event(position, &body), &body);
            }
            buffer.finish();
            writer.append(&buffer).unwrap();
            ends.push(std::fs::read(segment_path(dir.path(), 1)).unwrap().len());
        }
        let bytes = std::fs::read(segment_path(dir.path(), 1)).unwrap();
        (dir, bytes, ends)
    }

    #[test]
    fn cutting_anywhere_loses_at_most_the_unfinished_group() {
        let (dir, bytes, ends) = journal();
        for length in 32..=bytes.len() {
            std::fs::write(segment_path(dir.path(), 1), &bytes[..length]).unwrap();
            let tail = find_tail(dir.path()).unwrap();
            let whole = ends.iter().filter(|end| **end <= length).count();
            assert_eq!(tail.last.0, whole as u64 * 2, "cut at {length}");
            cut(dir.path(), &tail).unwrap();
            let reader = JournalReader::at(dir.path());
            let events = reader.events_after(Position::NONE, tail.last).unwrap();
            assert_eq!(events.collect::<Result<Vec<_>, _>>().unwrap().len(), whole * 2);
        }
    }

    #[test]
    fn a_flipped_byte_before_the_last_group_is_damage_and_never_cut() {
        let (dir, bytes, ends) = journal();
        for at in 0..ends[1] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x40;
            std::fs::write(segment_path(dir.path(), 1), &flipped).unwrap();
            assert!(find_tail(dir.path()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_flipped_byte_in_the_last_group_is_never_read_as_an_event() {
        let (dir, bytes, ends) = journal();
        for at in ends[1]..ends[2] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x40;
            std::fs::write(segment_path(dir.path(), 1), &flipped).unwrap();
            assert_eq!(find_tail(dir.path()).unwrap().last, Position(4), "byte {at}");
        }
    }

    /// The three groups, made and flushed once: their bytes, where each ends, and their events.
    fn made_once() -> &'static (Vec<u8>, Vec<usize>, Vec<StoredEvent>) {
        static MADE: OnceLock<(Vec<u8>, Vec<usize>, Vec<StoredEvent>)> = OnceLock::new();
        MADE.get_or_init(|| {
            let (dir, bytes, ends) = journal();
            let (_, events) = look(dir.path()).unwrap();
            (bytes, ends, events)
        })
    }

    /// Returns a directory in which segment 1 has these bytes.
    fn directory_with(bytes: &[u8]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(segment_path(dir.path(), 1), bytes).unwrap();
        dir
    }

    /// Returns what the journal says: the tail, and every event up to it, if it is not damaged.
    fn look(dir: &Path) -> Option<(Tail, Vec<StoredEvent>)> {
        let tail = find_tail(dir).ok()?;
        let reader = JournalReader::at(dir);
        let events = reader.events_after(Position::NONE, tail.last).unwrap();
        Some((tail, events.map(|event| event.unwrap().1).collect()))
    }

    /// Makes the checksums of the segment header and of the first group frame right again.
    fn mend_checksums(bytes: &mut [u8]) {
        let header = crc32c::crc32c(&bytes[..28]);
        bytes[28..32].copy_from_slice(&header.to_le_bytes());
        let group = crc32c::crc32c(&bytes[40..32 + GROUP_FRAME_BYTES]);
        bytes[36..40].copy_from_slice(&group.to_le_bytes());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn one_changed_run_of_bytes_is_found_or_hurts_only_the_last_group(
            at in any::<prop::sample::Index>(), change in prop::collection::vec(any::<u8>(), 1..60)
        ) {
            let (bytes, ends, written) = made_once();
            let mut mutated = bytes.clone();
            let at = at.index(bytes.len());
            for (place, byte) in mutated[at..].iter_mut().zip(&change) {
                *place = *byte;
            }
            let dir = directory_with(&mutated);
            match look(dir.path()) {
                None => prop_assert!(mutated != *bytes),
                Some((tail, events)) => {
                    prop_assert_eq!(&events, &written[..events.len()]);
                    let changed = bytes.iter().zip(&mutated).position(|(a, b)| a != b);
                    let intact = changed.is_none_or(|at| at >= ends[1]);
                    prop_assert!(intact, "byte {:?} of group 1 or 2 changed unseen", changed);
                    prop_assert_eq!(tail.last.0, if changed.is_none() { 6 } else { 4 });
                }
            }
        }

        #[test]
        fn a_cut_with_rubbish_behind_it_never_makes_an_event(
            length in any::<prop::sample::Index>(), rubbish in prop::collection::vec(any::<u8>(), 0..300)
        ) {
            let (bytes, _, written) = made_once();
            let mut cut = bytes[..length.index(bytes.len() - 32) + 32].to_vec();
            cut.extend(&rubbish);
            let dir = directory_with(&cut);
            if let Some((_, events)) = look(dir.path()) {
                prop_assert_eq!(&events, &written[..events.len()]);
            }
        }

        #[test]
        fn numbers_that_nobody_writes_are_refused_even_under_right_checksums(
            at in 0..32 + GROUP_FRAME_BYTES, change in prop::collection::vec(prop::sample::select(vec![0, 1, 0x7f, 0xff]), 1..20)
        ) {
            let (bytes, _, written) = made_once();
            let mut bytes = bytes.clone();
            for (place, byte) in bytes[at..32 + GROUP_FRAME_BYTES].iter_mut().zip(&change) {
                *place = *byte;
            }
            mend_checksums(&mut bytes);
            let dir = directory_with(&bytes);
            if let Ok(tail) = find_tail(dir.path()) {
                for event in JournalReader::at(dir.path()).events_after(Position::NONE, tail.last).unwrap() {
                    let Ok((_, event)) = event else { break };
                    prop_assert!(written.contains(&event));
                }
            }
        }

        #[test]
        fn any_bytes_are_a_journal_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let dir = directory_with(&bytes);
            prop_assert!(find_tail(dir.path()).is_err());
        }
    }

    #[test]
    fn a_segment_whose_header_was_never_finished_is_no_damage() {
        let (dir, _, ends) = journal();
        for unfinished in [&[][..], b"RTND", &[0; 32]] {
            std::fs::write(segment_path(dir.path(), 2), unfinished).unwrap();
            let tail = find_tail(dir.path()).unwrap();
            assert_eq!((tail.last, tail.end.segment, tail.end.offset as usize), (Position(6), 1, ends[2]));
            assert!(!segment_path(dir.path(), 2).exists());
        }
        std::fs::write(segment_path(dir.path(), 2), [1; 32]).unwrap();
        assert!(find_tail(dir.path()).is_err());
        assert!(segment_path(dir.path(), 2).exists());
    }

    #[test]
    fn a_copy_of_a_segment_in_the_place_of_a_later_one_is_damage_and_not_where_the_log_goes_on() {
        let (dir, bytes, _) = journal();
        std::fs::write(segment_path(dir.path(), 2), &bytes).unwrap();
        let found = find_tail(dir.path());
        assert!(matches!(found, Err(JournalError::Damaged { segment: 2, damage: Damage::Positions, .. })), "{found:?}");
    }

    #[test]
    fn a_first_position_of_nothing_and_a_group_without_end_are_damage() {
        let (dir, bytes, _) = journal();
        for (range, byte) in [(16..24, 0), (10..16, 1), (24..28, 1)] {
            let mut other = bytes.clone();
            other[range].fill(byte);
            mend_checksums(&mut other);
            std::fs::write(segment_path(dir.path(), 1), &other).unwrap();
            assert!(matches!(find_tail(dir.path()), Err(JournalError::Damaged { damage: Damage::Header, .. })));
        }
        let mut endless = bytes;
        endless[32 + GROUP_FRAME_BYTES - 8..32 + GROUP_FRAME_BYTES].fill(0xff);
        mend_checksums(&mut endless);
        std::fs::write(segment_path(dir.path(), 1), &endless).unwrap();
        assert!(matches!(find_tail(dir.path()), Err(JournalError::Damaged { damage: Damage::Hole, .. })));
    }
}

//! Reading the journal: one event by its place, or all in order.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use retention_core::event::Envelope;
use retention_core::id::Position;

use super::frame::{self, FRAME_HEADER_BYTES, Frame};
use super::{Damage, HEADER_BYTES, JournalError, Place, StoredEvent, parse_header, segment_path};

/// How many segment files are kept open.
const OPEN_FILES_MAX: usize = 64;

/// How much is read at a time when all is read in order, in bytes.
const SCAN_BYTES: usize = 1024 * 1024;

/// What one positioned read fetches at first, in bytes: most frames are shorter.
const FIRST_READ_BYTES: usize = 1_024;

/// Events that are wanted together and are at most this far apart are read in one go, in bytes: passing over a page
/// takes less time than another call of the system.
const GAP_BYTES: u64 = 4 * 1024;

/// The most that one such read fetches beyond its first event, in bytes.
const TOGETHER_BYTES_MAX: u64 = 256 * 1024;

/// Reads the journal, from many threads at once.
pub struct JournalReader {
    dir: PathBuf,
    files: Mutex<BTreeMap<u32, Arc<File>>>,
}

impl JournalReader {
    /// Reads the journal of a directory.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), files: Mutex::new(BTreeMap::new()) }
    }

    fn file(&self, segment: u32) -> Result<Arc<File>, JournalError> {
        let mut files = self.files.lock();
        if let Some(file) = files.get(&segment) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(File::open(segment_path(&self.dir, segment)).map_err(JournalError::io("open", segment))?);
        if files.len() >= OPEN_FILES_MAX {
            files.pop_first();
        }
        files.insert(segment, Arc::clone(&file));
        Ok(file)
    }

    /// Returns the event at a place, compared with its hash.
    ///
    /// # Errors
    /// Says when the bytes there are not a whole, right event.
    pub fn event(&self, place: Place) -> Result<StoredEvent, JournalError> {
        let damaged = |damage| JournalError::damaged(place.segment, u64::from(place.offset), damage);
        let file = self.file(place.segment)?;
        let mut bytes = vec![0; FIRST_READ_BYTES];
        let mut filled = read_up_to(&file, &mut bytes, u64::from(place.offset), place.segment)?;
        let length = bytes.get(..filled).and_then(frame::frame_length).ok_or_else(|| damaged(Damage::Frame))?;
        if length > filled {
            bytes.resize(length, 0);
            filled = read_up_to(&file, &mut bytes, u64::from(place.offset), place.segment)?;
        }
        let event = bytes
            .get(..filled)
            .and_then(Frame::parse)
            .and_then(|frame| frame.event())
            .ok_or_else(|| damaged(Damage::Frame))?;
        if frame::body_matches(&event) { Ok(event) } else { Err(damaged(Damage::Body)) }
    }

    /// Hands out many events, each compared with its hash, neighbours read together. `wanted` says where each frame
    /// stands and how long it was written; ascending places cost the fewest reads. `each` hears the number in `wanted`.
    ///
    /// # Errors
    /// Says when the bytes at one of the places are not a whole, right event, and passes on what `each` returns.
    pub fn events_at<E: From<JournalError>>(
        &self,
        wanted: &[(Place, usize)],
        mut each: impl FnMut(usize, &Envelope, Option<&[u8]>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.frames_at(wanted, |number, place, envelope, body| {
            if body.is_some_and(|body| !envelope.is_body(body)) {
                return Err(JournalError::damaged(place.segment, u64::from(place.offset), Damage::Body).into());
            }
            each(number, envelope, body)
        })
    }

    /// Returns many envelopes, in the order of `wanted`, read as [`Self::events_at`] reads events. Bodies are passed over:
    /// an envelope has a checksum of its own, and says itself what its body must be.
    ///
    /// # Errors
    /// Says when the bytes at one of the places are no whole, right frame.
    pub fn envelopes_at(&self, wanted: &[(Place, usize)]) -> Result<Vec<Envelope>, JournalError> {
        let mut envelopes = Vec::with_capacity(wanted.len());
        self.frames_at(wanted, |_, _, envelope, _| {
            envelopes.push(*envelope);
            Ok::<(), JournalError>(())
        })?;
        Ok(envelopes)
    }

    fn frames_at<E: From<JournalError>>(
        &self,
        wanted: &[(Place, usize)],
        mut each: impl FnMut(usize, Place, &Envelope, Option<&[u8]>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut bytes = Vec::new();
        let mut number = 0;
        while let Some(&(first, length)) = wanted.get(number) {
            let start = u64::from(first.offset);
            let mut end = start + length as u64;
            let mut count = 1;
            while let Some((next, length)) = wanted.get(number + count)
                && next.segment == first.segment
                && (start..=end + GAP_BYTES).contains(&u64::from(next.offset))
                && u64::from(next.offset) - start <= TOGETHER_BYTES_MAX
            {
                end = end.max(u64::from(next.offset) + *length as u64);
                count += 1;
            }
            let too_large = |_| JournalError::damaged(first.segment, start, Damage::Frame);
            bytes.resize(usize::try_from(end - start).map_err(too_large)?, 0);
            let filled = read_up_to(&*self.file(first.segment)?, &mut bytes, start, first.segment)?;
            for (place, _) in wanted.iter().skip(number).take(count) {
                let damaged = |damage| JournalError::damaged(place.segment, u64::from(place.offset), damage);
                let at = usize::try_from(u64::from(place.offset) - start).map_err(|_| damaged(Damage::Frame))?;
                let frame = bytes.get(at..filled).and_then(Frame::parse).ok_or_else(|| damaged(Damage::Frame))?;
                let (envelope, body) = frame.parts().ok_or_else(|| damaged(Damage::Frame))?;
                each(number, *place, &envelope, body)?;
                number += 1;
            }
        }
        Ok(())
    }

    /// Returns the numbers of the segments, ascending.
    ///
    /// # Errors
    /// Says when one is missing in between.
    pub fn segments(&self) -> Result<Vec<u32>, JournalError> {
        let numbers = self.segments_present()?;
        for (number, expected) in numbers.iter().zip(1u32..) {
            if *number != expected {
                return Err(JournalError::damaged(expected, 0, Damage::Missing));
            }
        }
        Ok(numbers)
    }

    /// Returns the numbers of the segments that are there, ascending, whatever is missing.
    ///
    /// # Errors
    /// Says when the directory cannot be listed.
    pub fn segments_present(&self) -> Result<Vec<u32>, JournalError> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(JournalError::io("list", 0))? {
            let name = entry.map_err(JournalError::io("list", 0))?.file_name();
            let number: Option<u32> =
                name.to_str().and_then(|name| name.strip_suffix(".seg")).and_then(|stem| stem.parse().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Returns the position of the first event of a segment.
    ///
    /// # Errors
    /// Says when the header is damaged.
    pub fn first_of(&self, segment: u32) -> Result<Position, JournalError> {
        let mut bytes = [0; 32];
        self.file(segment)?.read_exact_at(&mut bytes, 0).map_err(JournalError::io("read", segment))?;
        parse_header(&bytes, segment)
    }

    /// Goes through all events after a position, in order, up to and including `last`.
    ///
    /// # Errors
    /// The iterator ends with the first damage.
    pub fn events_after(&self, after: Position, last: Position) -> Result<Events<'_>, JournalError> {
        let segments = self.segments()?;
        let mut start = 1;
        for &segment in &segments {
            if self.first_of(segment)? <= after.next() {
                start = segment;
            }
        }
        Ok(Events {
            reader: self,
            segment: start,
            offset: HEADER_BYTES,
            buffer: Vec::new(),
            at: 0,
            skip_to: after.next(),
            next: None,
            last,
            end: u32::MAX,
            done: segments.is_empty() || last <= after,
        })
    }

    /// Goes through the events of one segment, up to and including `last`, whatever other segments hold.
    ///
    /// # Errors
    /// When the header of the segment is damaged. The iterator ends with the first damage.
    pub fn events_of_segment(&self, segment: u32, last: Position) -> Result<Events<'_>, JournalError> {
        let first = self.first_of(segment)?;
        Ok(Events {
            reader: self,
            segment,
            offset: HEADER_BYTES,
            buffer: Vec::new(),
            at: 0,
            skip_to: first,
            next: Some(first),
            last,
            end: segment,
            done: last < first,
        })
    }
}

fn read_up_to(file: &File, bytes: &mut [u8], offset: u64, segment: u32) -> Result<usize, JournalError> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..)
        && !rest.is_empty()
    {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(JournalError::io("read", segment)(error)),
        }
    }
    Ok(filled)
}

/// All events in order, read in large pieces.
pub struct Events<'a> {
    reader: &'a JournalReader,
    segment: u32,
    /// The offset in the segment of `buffer`'s first byte.
    offset: u64,
    buffer: Vec<u8>,
    at: usize,
    skip_to: Position,
    next: Option<Position>,
    last: Position,
    /// The last segment that is read.
    end: u32,
    done: bool,
}

impl Events<'_> {
    /// Makes sure that a whole frame is in the buffer; `false` at the end of the segment.
    fn fill(&mut self) -> Result<bool, JournalError> {
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let wanted = match frame::frame_length(rest) {
            Some(length) if length <= rest.len() => return Ok(true),
            Some(length) => length.max(SCAN_BYTES),
            None if rest.len() >= FRAME_HEADER_BYTES => return Ok(true),
            None => SCAN_BYTES,
        };
        self.buffer.drain(..self.at);
        self.offset += self.at as u64;
        self.at = 0;
        let have = self.buffer.len();
        self.buffer.resize(wanted.max(have), 0);
        let file = self.reader.file(self.segment)?;
        let spare = self.buffer.get_mut(have..).unwrap_or_default();
        let more = read_up_to(&file, spare, self.offset + have as u64, self.segment)?;
        self.buffer.truncate(have + more);
        Ok(!self.buffer.is_empty())
    }

    fn step(&mut self) -> Result<Option<(Place, StoredEvent)>, JournalError> {
        loop {
            if !self.fill()? {
                if self.segment >= self.end {
                    self.done = true;
                    return Ok(None);
                }
                self.segment += 1;
                self.offset = HEADER_BYTES;
                self.buffer.clear();
                self.at = 0;
                self.reader.first_of(self.segment)?;
                continue;
            }
            let offset = self.offset + self.at as u64;
            let damaged = |damage| JournalError::damaged(self.segment, offset, damage);
            let frame = self.buffer.get(self.at..).and_then(Frame::parse).ok_or_else(|| damaged(Damage::Frame))?;
            self.at += frame.length();
            if frame.group().is_some() {
                continue;
            }
            let event = frame.event().ok_or_else(|| damaged(Damage::Frame))?;
            let position = event.envelope.position;
            if self.next.is_some_and(|next| next != position) {
                return Err(damaged(Damage::Positions));
            }
            self.next = Some(position.next());
            if position < self.skip_to {
                continue;
            }
            if !frame::body_matches(&event) {
                return Err(damaged(Damage::Body));
            }
            let place =
                Place { segment: self.segment, offset: u32::try_from(offset).map_err(|_| damaged(Damage::Frame))? };
            return Ok(Some((place, event)));
        }
    }
}

impl Iterator for Events<'_> {
    type Item = Result<(Place, StoredEvent), JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        match self.step() {
            Ok(Some((place, event))) => {
                self.done = event.envelope.position >= self.last;
                Some(Ok((place, event)))
            }
            Ok(None) => None,
            Err(error) => {
                self.done = true;
                Some(Err(error))
            }
        }
    }
}

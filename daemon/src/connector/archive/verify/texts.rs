//! The texts of messages, read back byte for byte.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, Read};

use retention_core::evidence::ExportFormat;
use retention_core::evidence::bundle::{MBOX_FILE, TEXTS_DIRECTORY, TEXTS_FILE, TextLine, TextPlace, text_file};
use retention_core::id::{Digest, EntityId};
use roaring::RoaringBitmap;
use sha2::{Digest as _, Sha256};

use crate::ahead;

use super::super::durable::{BUFFER_BYTES, Finished, HashedReader, open_cold, stored_name};
use super::super::encrypted::{Content, NotAsEncrypted};
use super::super::mbox::{Unquoting, padding};
use super::{Hashed, Lines, Reading, VerifyError, reading};

/// How many texts one thread reads before the next piece is its turn.
const FILES_PER_PIECE: usize = 64;

/// The longest line before a message in an mbox that is read, in bytes: ours have 43.
const SEPARATOR_BYTES_MAX: u64 = 100;

impl Reading<'_> {
    fn has(&self, format: ExportFormat) -> bool {
        self.manifest.formats.contains(&format)
    }

    /// Reads the list of texts and every text; each item must have its line.
    pub(super) fn read_texts(&self, items: &RoaringBitmap) -> Result<(), VerifyError> {
        let mut mbox = match (self.has(ExportFormat::Eml), self.has(ExportFormat::Mbox)) {
            (false, false) => return Ok(()),
            (true, false) => None,
            // It is read with the others then.
            (_, true) if self.is_sealed => None,
            (_, true) => Some(self.open(self.entry(MBOX_FILE)?)?),
        };
        let entry = self.entry(TEXTS_FILE)?;
        let mut lines = Lines::over(self.open(entry)?, TEXTS_FILE);
        let mut listed = RoaringBitmap::new();
        let mut files = Vec::new();
        while let Some(line) = lines.next()? {
            let Some(TextLine { entity, text }) = TextLine::parse_line(line) else { return Err(lines.unreadable()) };
            if !items.contains(entity.0) {
                return Err(VerifyError::ItemExtra { entity });
            }
            if !listed.insert(entity.0) {
                return Err(VerifyError::ItemTwice { entity });
            }
            let Some(place) = text else { continue };
            if place.stored.is_some() != (self.has(ExportFormat::Eml) && self.manifest.is_encrypted()) {
                return Err(lines.unreadable());
            }
            match (&mut mbox, place.quoted_bytes) {
                (Some(mbox), Some(quoted)) => {
                    if !read_quoted(mbox, quoted, &place)? {
                        return Err(VerifyError::ItemChanged { entity });
                    }
                }
                (None, None) if self.has(ExportFormat::Eml) => files.push((entity, place)),
                (None, Some(_)) if self.is_sealed && self.has(ExportFormat::Mbox) => {}
                (Some(_) | None, None) | (None, Some(_)) => return Err(lines.unreadable()),
            }
        }
        Self::close(entry, lines.reader, Some(lines.number))?;
        if let Some(missing) = (items - &listed).min() {
            let count = items.len().saturating_sub(listed.len());
            return Err(VerifyError::ItemsMissing { count, first: EntityId(missing) });
        }
        match mbox {
            Some(mut mbox) => {
                if !mbox.fill_buf().map_err(reading)?.is_empty() {
                    return Err(VerifyError::FileExtra);
                }
                Self::close(self.entry(MBOX_FILE)?, mbox, None)
            }
            None if !self.has(ExportFormat::Eml) => Ok(()),
            None => {
                let pieces: Vec<_> = files.chunks(FILES_PER_PIECE).collect();
                ahead::on_lanes(ahead::LANES_MAX, &pieces, |piece| self.read_files(piece), |read| read)?;
                self.no_other_files(&files.iter().map(|(entity, _)| self.name_of(*entity)).collect())
            }
        }
    }

    fn read_files(&self, files: &[(EntityId, TextPlace)]) -> Result<(), VerifyError> {
        for (entity, place) in files {
            self.halt.check().map_err(|halted| reading(io::Error::other(halted)))?;
            if !self.read_file(&self.name_of(*entity), place)? {
                return Err(VerifyError::ItemChanged { entity: *entity });
            }
        }
        Ok(())
    }

    fn name_of(&self, entity: EntityId) -> String {
        stored_name(&text_file(entity), self.manifest.is_encrypted())
    }

    fn no_other_files(&self, files: &BTreeSet<String>) -> Result<(), VerifyError> {
        for entry in std::fs::read_dir(self.directory.join(TEXTS_DIRECTORY)).map_err(reading)? {
            let name = entry.map_err(reading)?.file_name();
            if !name.to_str().is_some_and(|name| files.contains(name)) {
                return Err(VerifyError::FileExtra);
            }
        }
        Ok(())
    }

    fn read_file(&self, name: &str, place: &TextPlace) -> Result<bool, VerifyError> {
        let path = self.directory.join(TEXTS_DIRECTORY).join(name);
        let missing = || VerifyError::FileMissing { file: name.to_owned() };
        let file = open_cold(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData => missing(),
            _ => reading(error),
        })?;
        let Some(stored) = place.stored else {
            if file.metadata().map_err(reading)?.len() != place.bytes {
                return Ok(false);
            }
            return Ok(Text::of(file.take(place.bytes.saturating_add(1)), place.bytes).map_err(reading)?.is(place));
        };
        if file.metadata().map_err(reading)?.len() != stored.bytes {
            return Ok(false);
        }
        match self.read_encrypted(file, name, place) {
            Ok((found, is_text)) => Ok(is_text && (found.bytes, found.sha256) == (stored.bytes, stored.sha256)),
            Err(error) if NotAsEncrypted::why(&error).is_some() => Ok(false),
            Err(error) => Err(reading(error)),
        }
    }

    /// Returns what lies in the file of a text, and whether it is that text, as far as there is a key to see it.
    fn read_encrypted(&self, file: File, name: &str, place: &TextPlace) -> io::Result<(Finished, bool)> {
        let Some(key) = self.key else { return Ok((HashedReader::over(file, self.halt).exhaust()?, true)) };
        let mut content = Content::decrypted(file, name, key, self.halt)?;
        let text = Text::of(&mut content, place.bytes)?;
        Ok((content.finish()?, text.is(place)))
    }
}

/// Reads the line before a message, the message, and the line feeds after it.
fn read_quoted(mbox: &mut Hashed<'_>, quoted: u64, place: &TextPlace) -> Result<bool, VerifyError> {
    let mut separator = Vec::new();
    mbox.by_ref().take(SEPARATOR_BYTES_MAX).read_until(b'\n', &mut separator).map_err(reading)?;
    if !separator.starts_with(b"From ") || !separator.ends_with(b"\n") {
        return Ok(false);
    }
    let (mut text, mut unquoting, mut plain) = (Text::default(), Unquoting::default(), Vec::new());
    let mut left = quoted;
    while left > 0 {
        let chunk = mbox.fill_buf().map_err(reading)?;
        let length = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(part) = chunk.get(..length).filter(|part| !part.is_empty()) else { return Ok(false) };
        plain.clear();
        unquoting.unquote(part, &mut plain);
        text.add(&plain);
        mbox.consume(length);
        left -= length as u64;
    }
    plain.clear();
    unquoting.end(&mut plain);
    text.add(&plain);
    let wanted = padding(text.is_last_line_feed);
    let mut found = Vec::new();
    mbox.by_ref().take(wanted.len() as u64).read_to_end(&mut found).map_err(reading)?;
    Ok(found == wanted && text.is(place))
}

#[derive(Default)]
struct Text {
    bytes: u64,
    hash: Sha256,
    is_last_line_feed: bool,
}

impl Text {
    /// Reads a text that should have so many bytes.
    fn of(mut from: impl Read, bytes: u64) -> io::Result<Self> {
        let mut text = Self::default();
        let mut buffer = vec![0; BUFFER_BYTES.min(usize::try_from(bytes).unwrap_or(BUFFER_BYTES).max(1))];
        loop {
            let read = from.read(&mut buffer)?;
            let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { return Ok(text) };
            text.add(part);
        }
    }

    fn add(&mut self, part: &[u8]) {
        let Some(&last) = part.last() else { return };
        self.is_last_line_feed = last == b'\n';
        self.bytes += part.len() as u64;
        self.hash.update(part);
    }

    fn is(self, place: &TextPlace) -> bool {
        self.bytes == place.bytes && Digest(self.hash.finalize().into()) == place.sha256
    }
}

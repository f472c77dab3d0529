//! A bundle as its keyholder reads it: every file is opened with their own key and compared with what the manifest says it
//! was. Nobody else is asked, and nothing that is decrypted is written anywhere.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use retention_core::control::{ErrorCode, ExitCode, PartRow, PartState};
use retention_core::evidence::bundle::{
    ITEMS_FILE, LAYOUTS_FILE, MANIFEST_FILE, MANIFEST_ITEMS_FILE, TEXTS_DIRECTORY, TEXTS_FILE, TextLine, TextPlace,
    count_records, text_file,
};
use retention_core::evidence::item::ITEM_LINE_BYTES_MAX;
use retention_core::evidence::manifest::{ENCRYPTED_SUFFIX, MANIFEST_BYTES_MAX};
use retention_core::evidence::{ExpectedItem, ExportFormat, ExportManifest, FileEntry, ItemHead, ParsedItem};
use retention_core::id::Digest;
use retention_core::record::Kind;
use sha2::{Digest as _, Sha256};

use super::super::{Context, files, refuse, store};
use super::keys::Keys;
use crate::exit::Cause;

const BUFFER_BYTES: usize = 256 * 1024;

/// Opens the bundle in a directory, and shows of each of its files whether it is what was written; 20 when one is not.
pub(super) fn verify(context: &mut Context, directory: &Path, identity: &Path) -> Result<ExitCode, Cause> {
    if !directory.is_dir() {
        let message = format!(
            "{} is no directory: a bundle that you open yourself is named by where it lies",
            directory.display()
        );
        return Err(refuse(ErrorCode::BadRequest, message));
    }
    let keys = Keys::read(identity)?;
    let path = directory.join(MANIFEST_FILE);
    let bytes = files::read_bounded(&path, MANIFEST_BYTES_MAX as u64 + 1)?;
    let manifest = ExportManifest::parse(&bytes)
        .map_err(|error| refuse(ErrorCode::VerificationFailed, format!("{}: {error}", path.display())))?;
    if manifest.is_encrypted() && !keys.are_among(&manifest.recipients) {
        let message = format!(
            "{} has none of the keys that open this bundle; their public halves are the recipients in {}",
            identity.display(),
            path.display()
        );
        return Err(refuse(ErrorCode::BadRequest, message));
    }
    let bundle = Bundle { directory, manifest: &manifest, keys: &keys };
    let mut is_intact = true;
    let mut list = context.renderer.list(store::COLUMNS);
    bundle.verify(Digest::of(&bytes), &mut |row| {
        is_intact &= row.state == PartState::Intact;
        list.row(&serde_json::to_value(row).map_err(|_| Cause::Unreadable)?)
    })?;
    list.end()?;
    Ok(if is_intact { ExitCode::Done } else { ExitCode::VerificationFailed })
}

/// Something is not as it was written. Files of a bundle are named by us, so their names may be shown.
#[derive(Debug)]
struct Wrong {
    state: PartState,
    code: &'static str,
    message: String,
}

impl Wrong {
    fn of(code: &'static str, message: impl Into<String>) -> Self {
        Self { state: PartState::Damaged, code, message: message.into() }
    }

    fn missing(file: &str) -> Self {
        let message = format!("{file} is missing from the bundle");
        Self { state: PartState::Missing, code: "file_missing", message }
    }

    fn changed(file: &str) -> Self {
        Self::of("file_changed", format!("{file} is not as it was written"))
    }

    fn line(file: &str, number: u64) -> Self {
        Self::of("line_unreadable", format!("line {number} of {file} cannot be read"))
    }

    fn extra() -> Self {
        Self::of("file_extra", "the bundle holds something that its manifest does not list")
    }

    /// A file could not be read to its end: what was encrypted says so when it was changed, all else is the disk.
    fn reading(file: &str) -> impl Fn(io::Error) -> Self {
        move |error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::changed(file),
            _ => Self::of("unreadable", format!("{file} could not be read: {error}; it may be whole")),
        }
    }
}

struct Bundle<'a> {
    directory: &'a Path,
    manifest: &'a ExportManifest,
    keys: &'a Keys,
}

impl Bundle<'_> {
    fn verify(&self, digest: Digest, tell: &mut dyn FnMut(PartRow) -> Result<(), Cause>) -> Result<(), Cause> {
        let mut are_intact = true;
        let mut tell_part = |part: &str, found: Result<u64, Wrong>| {
            are_intact &= found.is_ok();
            tell(row(part, found, None))
        };
        for entry in &self.manifest.files {
            let found = match entry.plain_name() {
                ITEMS_FILE => self.items(entry),
                _ => self.file(entry),
            };
            tell_part(&entry.name, found)?;
        }
        if self.manifest.formats.contains(&ExportFormat::Eml) {
            tell_part(TEXTS_DIRECTORY, self.texts())?;
        }
        let whole = match are_intact {
            true => self.names().map(|()| self.manifest.items),
            false => Err(Wrong::of("files", "not all of its files are as they were written")),
        };
        let how = if self.manifest.is_encrypted() { "" } else { "it is not encrypted; " };
        let known =
            format!("{how}its manifest is {digest}: export list and certificates name those that the log knows");
        tell(row("bundle", whole, Some(known)))
    }

    /// Compares the entries of the directory with the list of files.
    fn names(&self) -> Result<(), Wrong> {
        let has_texts = self.manifest.formats.contains(&ExportFormat::Eml);
        let is_listed = |name: &str| {
            name == MANIFEST_FILE || self.manifest.file(name).is_some() || (has_texts && name == TEXTS_DIRECTORY)
        };
        if let Some(missing) =
            [ITEMS_FILE, LAYOUTS_FILE, MANIFEST_ITEMS_FILE].iter().find(|name| self.manifest.file_of(name).is_none())
        {
            return Err(Wrong::missing(missing));
        }
        only(self.directory, is_listed)
    }

    /// Reads a file, and returns how many rows it has; 1 of one that has none.
    fn file(&self, entry: &FileEntry) -> Result<u64, Wrong> {
        let mut content = self.open(&entry.name, &Wanted::of(entry))?;
        let Some(listed) = entry.rows else { return content.close(&entry.name, &Wanted::of(entry)).map(|()| 1) };
        let found = count_rows(&mut content.plain, entry)?;
        content.close(&entry.name, &Wanted::of(entry))?;
        if found == listed {
            return Ok(found);
        }
        Err(Wrong::of("rows", format!("{} has {found} rows, the manifest says {listed}", entry.name)))
    }

    /// Reads the items and, in step, the list of items, and returns how many they are.
    fn items(&self, entry: &FileEntry) -> Result<u64, Wrong> {
        let mut content = self.open(&entry.name, &Wanted::of(entry))?;
        let listed = open_regular(&self.directory.join(MANIFEST_ITEMS_FILE), MANIFEST_ITEMS_FILE)?;
        let mut listed = Lines::over(BufReader::with_capacity(BUFFER_BYTES, listed), MANIFEST_ITEMS_FILE);
        let mut lines = Lines::over(&mut content.plain, &entry.name);
        let (mut seen, mut counts) = (BTreeSet::new(), BTreeMap::<Kind, u64>::new());
        let mut wanted = Vec::new();
        while let Some(line) = lines.next()? {
            let digest = Digest::of(line);
            let head = ItemHead::parse(line).ok().filter(|_| ParsedItem::parse_line(line).is_ok());
            let Some((entity, version, kind)) = head.map(|head| (head.entity, head.version, head.kind)) else {
                return Err(lines.unreadable());
            };
            wanted.clear();
            ExpectedItem { entity, version, digest }.canonical_line(kind, &mut wanted);
            if listed.next()? != Some(wanted.as_slice()) {
                return Err(Wrong::of(
                    "item_changed",
                    format!("{entity} is not the item that {MANIFEST_ITEMS_FILE} lists"),
                ));
            }
            if !seen.insert(entity) {
                return Err(Wrong::of("item_twice", format!("{entity} is there twice")));
            }
            *counts.entry(kind).or_default() += 1;
        }
        let items = lines.number;
        if listed.next()?.is_some() {
            return Err(Wrong::of("items_missing", format!("{MANIFEST_ITEMS_FILE} lists items that are missing")));
        }
        let said = self.manifest.counts.iter().map(|count| (count.kind, count.items));
        if !said.eq(counts) {
            return Err(Wrong::of("counts", "the bundle holds other numbers of items than its manifest says"));
        }
        content.close(&entry.name, &Wanted::of(entry)).map(|()| items)
    }

    /// Reads the file of each message that the list of texts names, and returns how many there are.
    fn texts(&self) -> Result<u64, Wrong> {
        let list = open_regular(&self.directory.join(TEXTS_FILE), TEXTS_FILE)?;
        let mut lines = Lines::over(BufReader::with_capacity(BUFFER_BYTES, list), TEXTS_FILE);
        let mut names = BTreeSet::new();
        while let Some(line) = lines.next()? {
            let Some(TextLine { entity, text }) = TextLine::parse_line(line) else { return Err(lines.unreadable()) };
            let Some(place) = text else { continue };
            if place.stored.is_some() != self.manifest.is_encrypted() || place.quoted_bytes.is_some() {
                return Err(lines.unreadable());
            }
            let suffix = if place.stored.is_some() { ENCRYPTED_SUFFIX } else { "" };
            let name = format!("{}{suffix}", text_file(entity));
            let shown = format!("{TEXTS_DIRECTORY}/{name}");
            let wanted = Wanted::of_text(&place);
            self.open(&shown, &wanted)?.close(&shown, &wanted)?;
            names.insert(name);
        }
        only(&self.directory.join(TEXTS_DIRECTORY), |name| names.contains(name))?;
        Ok(names.len() as u64)
    }

    /// Opens a file whose length is as it was written.
    fn open(&self, name: &str, wanted: &Wanted) -> Result<Content, Wrong> {
        let file = open_regular(&self.directory.join(name), name)?;
        let (found, written) = (file.metadata().map_err(Wrong::reading(name))?.len(), wanted.stored.bytes);
        if found != written {
            return Err(Wrong::of("file_length", format!("{name} has {found} bytes, {written} were written")));
        }
        let stored = Shared(Rc::new(RefCell::new(Hashed::over(file))));
        let plain: Box<dyn Read> = match wanted.plain {
            None => Box::new(stored.clone()),
            Some(_) => {
                let encrypted = BufReader::with_capacity(BUFFER_BYTES, stored.clone());
                Box::new(self.keys.decrypt(encrypted).map_err(Wrong::reading(name))?)
            }
        };
        Ok(Content { plain: BufReader::with_capacity(BUFFER_BYTES, Hashed::over(plain)), stored })
    }
}

fn row(part: &str, found: Result<u64, Wrong>, message: Option<String>) -> PartRow {
    let part = part.to_owned();
    match found {
        Ok(checked) => PartRow { part, state: PartState::Intact, checked, code: None, message },
        Err(Wrong { state, code, message }) => {
            PartRow { part, state, checked: 0, code: Some(code.to_owned()), message: Some(message) }
        }
    }
}

/// Says when something is in a directory that does not belong there.
fn only(directory: &Path, is_listed: impl Fn(&str) -> bool) -> Result<(), Wrong> {
    let reading = Wrong::reading("the directory of the bundle");
    for entry in std::fs::read_dir(directory).map_err(&reading)? {
        if !entry.map_err(&reading)?.file_name().to_str().is_some_and(&is_listed) {
            return Err(Wrong::extra());
        }
    }
    Ok(())
}

/// A symbolic link, a directory or a pipe in its place is not the file.
fn open_regular(path: &Path, name: &str) -> Result<File, Wrong> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => File::open(path).map_err(Wrong::reading(name)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Wrong::reading(name)(error)),
        Ok(_) | Err(_) => Err(Wrong::missing(name)),
    }
}

/// How long something is, and its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Said {
    bytes: u64,
    sha256: Digest,
}

/// What a file has to be, as it lies there and once it is decrypted.
struct Wanted {
    stored: Said,
    plain: Option<Said>,
}

impl Wanted {
    fn of(entry: &FileEntry) -> Self {
        let plain = entry.plain.map(|plain| Said { bytes: plain.bytes, sha256: plain.sha256 });
        Self { stored: Said { bytes: entry.bytes, sha256: entry.sha256 }, plain }
    }

    fn of_text(place: &TextPlace) -> Self {
        let text = Said { bytes: place.bytes, sha256: place.sha256 };
        match place.stored {
            None => Self { stored: text, plain: None },
            Some(stored) => Self { stored: Said { bytes: stored.bytes, sha256: stored.sha256 }, plain: Some(text) },
        }
    }
}

/// A reader that hashes and counts what passes.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R: Read> Hashed<R> {
    fn over(inner: R) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    /// Reads what is left, and says what all of it was.
    fn exhaust(&mut self) -> io::Result<Said> {
        io::copy(self, &mut io::sink())?;
        Ok(Said { bytes: self.bytes, sha256: Digest(self.hash.clone().finalize().into()) })
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        self.bytes += count as u64;
        Ok(count)
    }
}

/// What lies there, shared by what decrypts it and what hashes it.
#[derive(Clone)]
struct Shared(Rc<RefCell<Hashed<File>>>);

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

/// A file that is decrypted while it is read, if it is encrypted.
struct Content {
    plain: BufReader<Hashed<Box<dyn Read>>>,
    stored: Shared,
}

impl Content {
    /// Reads what is left, and compares all of it.
    fn close(self, name: &str, wanted: &Wanted) -> Result<(), Wrong> {
        let reading = Wrong::reading(name);
        let plain = self.plain.into_inner().exhaust().map_err(&reading)?;
        let stored = self.stored.0.borrow_mut().exhaust().map_err(&reading)?;
        let is_as_written = stored == wanted.stored && plain == wanted.plain.unwrap_or(wanted.stored);
        if is_as_written { Ok(()) } else { Err(Wrong::changed(name)) }
    }
}

/// Lines of one file, each whole and bounded.
struct Lines<'a, R> {
    reader: R,
    file: &'a str,
    line: Vec<u8>,
    number: u64,
}

impl<'a, R: BufRead> Lines<'a, R> {
    fn over(reader: R, file: &'a str) -> Self {
        Self { reader, file, line: Vec::new(), number: 0 }
    }

    fn unreadable(&self) -> Wrong {
        Wrong::line(self.file, self.number)
    }

    /// Returns the next line without its line end, `None` at the end; a last line without line end is unreadable.
    fn next(&mut self) -> Result<Option<&[u8]>, Wrong> {
        self.line.clear();
        let mut bounded = (&mut self.reader).take(ITEM_LINE_BYTES_MAX);
        if bounded.read_until(b'\n', &mut self.line).map_err(Wrong::reading(self.file))? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.line.pop() != Some(b'\n') {
            return Err(self.unreadable());
        }
        Ok(Some(&self.line))
    }
}

/// Counts the records of a CSV file, or the lines of any other.
fn count_rows(reader: &mut impl BufRead, entry: &FileEntry) -> Result<u64, Wrong> {
    if Path::new(entry.plain_name()).extension().is_some_and(|ending| ending == "csv") {
        return count_records(reader).map_err(Wrong::reading(&entry.name));
    }
    let mut lines = Lines::over(reader, &entry.name);
    while lines.next()?.is_some() {}
    Ok(lines.number)
}

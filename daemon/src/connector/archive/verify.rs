//! Verifies a bundle by reading every byte of it back from disk and comparing every item with what the log says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, Sender};
use retention_core::evidence::bundle::count_records;
use retention_core::evidence::item::{ITEM_LINE_BYTES_MAX, text_as_written};
use retention_core::evidence::manifest::FILES_MAX;
use retention_core::evidence::{
    ExpectedItem, ExportFormat, ExportLayout, ExportManifest, FileEntry, ItemHead, ParsedItem,
};
use retention_core::id::{Digest, EntityId};
use retention_core::record::Kind;
use roaring::RoaringBitmap;

use super::durable::{BUFFER_BYTES, Finished, open_cold};
use super::encrypted::{Content, NotAsEncrypted};
use super::manifest::read_manifest_bytes;
use super::{
    ArchiveError, BundleName, ITEMS_FILE, LAYOUTS_FILE, MANIFEST_FILE, MANIFEST_ITEMS_FILE, MBOX_FILE, TEXTS_DIRECTORY,
    TEXTS_FILE,
};
use crate::halt::Halt;
use crate::keyholders::OneTimeKey;

/// How many pieces of a file are read ahead of what is compared, a quarter of a MiB each.
const CHUNKS_AHEAD: usize = 4;

mod texts;

/// A bundle that was read back and found to hold exactly what the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The SHA-256 of its manifest.
    pub manifest: Digest,
    /// How many items were compared.
    pub items: u64,
    /// The bytes that were read, the manifest included.
    pub bytes: u64,
    /// Whether its files are encrypted and were compared as they lie there alone.
    pub is_sealed: bool,
}

/// A bundle is not what it must be. Files of the bundle are named by us, so their names may be shown.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It could not be read; it may be whole.
    #[error("the bundle could not be read: {0}; nothing may be purged because of it")]
    Unreadable(#[from] ArchiveError),
    /// It is encrypted, and whoever wrote it has lost the key with which it was to be read back.
    #[error("the bundle is encrypted, and the key with which it was to be read back is gone")]
    KeyGone,
    /// The manifest is not the one whose digest was recorded.
    #[error("the manifest is not the one that was recorded")]
    ManifestChanged,
    /// A file that the manifest lists is not there, or is no regular file.
    #[error("{file} is missing from the bundle")]
    FileMissing {
        /// The file.
        file: String,
    },
    /// Something is there that the manifest does not list.
    #[error("the bundle holds something that its manifest does not list")]
    FileExtra,
    /// A file is shorter or longer than written.
    #[error("{file} has {found} bytes, {written} were written")]
    FileLength {
        /// The file.
        file: String,
        /// Bytes when it was written.
        written: u64,
        /// Bytes now.
        found: u64,
    },
    /// The content of a file is not what was written.
    #[error("{file} is not as it was written")]
    FileChanged {
        /// The file.
        file: String,
    },
    /// A line cannot be read.
    #[error("line {line} of {file} cannot be read")]
    Line {
        /// The file.
        file: &'static str,
        /// The line, from 1.
        line: u64,
    },
    /// A file has another number of rows than its manifest says.
    #[error("{file} has {found} rows, the manifest says {listed}")]
    Rows {
        /// The file.
        file: String,
        /// Rows according to the manifest.
        listed: u64,
        /// Rows found.
        found: u64,
    },
    /// The numbers of items per kind are not those of the manifest.
    #[error("the bundle holds other numbers of items than its manifest says")]
    Counts,
    /// Items of the log are not in the bundle.
    #[error("{count} items are missing from the bundle, the first is {first}")]
    ItemsMissing {
        /// How many.
        count: u64,
        /// The lowest of them.
        first: EntityId,
    },
    /// An item is in the bundle that should not be.
    #[error("{entity} is in the bundle and should not be")]
    ItemExtra {
        /// The entity.
        entity: EntityId,
    },
    /// An item is there twice.
    #[error("{entity} is there twice")]
    ItemTwice {
        /// The entity.
        entity: EntityId,
    },
    /// An item is not as it is in the log.
    #[error("{entity} is not as it is in the log")]
    ItemChanged {
        /// The entity.
        entity: EntityId,
    },
}

impl VerifyError {
    /// Returns a stable code, for events and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(error) => error.refusal().code,
            Self::KeyGone => "bundle_key_gone",
            Self::ManifestChanged => "manifest_changed",
            Self::FileMissing { .. } => "file_missing",
            Self::FileExtra => "file_extra",
            Self::FileLength { .. } => "file_length",
            Self::FileChanged { .. } => "file_changed",
            Self::Line { .. } => "line_unreadable",
            Self::Rows { .. } => "rows",
            Self::Counts => "counts",
            Self::ItemsMissing { .. } => "items_missing",
            Self::ItemExtra { .. } => "item_extra",
            Self::ItemTwice { .. } => "item_twice",
            Self::ItemChanged { .. } => "item_changed",
        }
    }
}

/// Reads a bundle back and compares it with its recorded manifest digest and with what the log says. One that is encrypted
/// is decrypted with the key of whoever wrote it, and compared in the same way.
///
/// `expected` may come in any order. Memory grows with the number of items (about 60 bytes each), not with their size.
/// Asked to stop, it says that the bundle could not be read.
///
/// # Errors
/// Says the first difference that was found.
pub fn verify(
    root: &Path,
    name: &BundleName,
    manifest: Digest,
    key: Option<&OneTimeKey>,
    expected: impl Iterator<Item = ExpectedItem>,
    halt: &Halt,
) -> Result<Verified, VerifyError> {
    verify_against(root, name, manifest, key, Ledger::of(expected)?, halt)
}

/// Reads a bundle back and compares it with its recorded manifest digest alone: for bundles whose items the log can
/// no longer show, because they were purged. They were compared with the log before that.
///
/// Of one that is encrypted nobody here can see what stands in its files. That they are byte for byte what was verified is
/// seen, and its list of items, which is not encrypted.
///
/// # Errors
/// Says the first difference that was found.
pub fn verify_recorded(root: &Path, name: &BundleName, manifest: Digest, halt: &Halt) -> Result<Verified, VerifyError> {
    verify_against(root, name, manifest, None, Ledger::of_recorded(), halt)
}

fn verify_against(
    root: &Path,
    name: &BundleName,
    manifest: Digest,
    key: Option<&OneTimeKey>,
    mut ledger: Ledger,
    halt: &Halt,
) -> Result<Verified, VerifyError> {
    let directory = root.join(name.as_str());
    let bytes = read_manifest_bytes(&directory)?;
    if Digest::of(&bytes) != manifest {
        return Err(VerifyError::ManifestChanged);
    }
    let parsed = ExportManifest::parse(&bytes).map_err(ArchiveError::from)?;
    let is_sealed = parsed.is_encrypted() && key.is_none();
    if is_sealed && ledger.knows_digests() {
        return Err(VerifyError::KeyGone);
    }
    check_names(&directory, &parsed)?;
    let bundle = Reading { directory, manifest: &parsed, key, is_sealed, halt };

    let layouts = if is_sealed { HashMap::new() } else { bundle.read_layouts()? };
    std::thread::scope(|scope| {
        let others = std::thread::Builder::new().name("verify".to_owned()).spawn_scoped(scope, || bundle.read_others());
        match is_sealed {
            true => bundle.read_list(&mut ledger)?,
            false => bundle.read_items(&layouts, &mut ledger)?,
        }
        bundle.read_texts(&ledger.seen)?;
        match others {
            Ok(others) => others.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            // The system has no thread to spare: one after the other, then.
            Err(_) => bundle.read_others(),
        }
    })?;
    ledger.close(&parsed)?;
    let bytes = parsed.file_bytes().saturating_add(bytes.len() as u64);
    Ok(Verified { manifest, items: parsed.items, bytes, is_sealed })
}

/// Compares the entries of the directory with the list of files.
fn check_names(directory: &Path, manifest: &ExportManifest) -> Result<(), VerifyError> {
    let mut found = BTreeSet::new();
    let doing = ArchiveError::io;
    for entry in std::fs::read_dir(directory).map_err(doing("read the bundle"))?.take(FILES_MAX + 2) {
        let name = entry.map_err(doing("read the bundle"))?.file_name().into_string();
        found.insert(name.map_err(|_| VerifyError::FileExtra)?);
    }
    if manifest.formats.contains(&ExportFormat::Eml) && !found.remove(TEXTS_DIRECTORY) {
        return Err(VerifyError::FileMissing { file: TEXTS_DIRECTORY.to_owned() });
    }
    if found.iter().any(|name| name != MANIFEST_FILE && manifest.file(name).is_none()) {
        return Err(VerifyError::FileExtra);
    }
    match manifest.files.iter().find(|file| !found.contains(&file.name)) {
        Some(file) => Err(VerifyError::FileMissing { file: file.name.clone() }),
        None => Ok(()),
    }
}

/// What the log expects, crossed off item by item.
struct Ledger {
    /// Ascending by entity; `None` when the log has nothing to compare with.
    expected: Option<Vec<ExpectedItem>>,
    /// Where the next item stands if the bundle has the order of the log.
    next: usize,
    seen: RoaringBitmap,
    counts: BTreeMap<Kind, u64>,
}

impl Ledger {
    fn of(expected: impl Iterator<Item = ExpectedItem>) -> Result<Self, VerifyError> {
        let mut expected: Vec<ExpectedItem> = expected.collect();
        expected.sort_by_key(|item| item.entity);
        match expected.windows(2).find_map(|pair| match pair {
            [a, b] if a.entity == b.entity => Some(a.entity),
            _ => None,
        }) {
            Some(entity) => Err(VerifyError::ItemTwice { entity }),
            None => Ok(Self { expected: Some(expected), ..Self::of_recorded() }),
        }
    }

    fn of_recorded() -> Self {
        Self { expected: None, next: 0, seen: RoaringBitmap::new(), counts: BTreeMap::new() }
    }

    /// Says whether the digest of every line is known, so that its content needs no reading.
    fn knows_digests(&self) -> bool {
        self.expected.is_some()
    }

    fn cross_off(&mut self, item: &ExpectedItem, kind: Kind) -> Result<(), VerifyError> {
        let entity = item.entity;
        if !self.seen.insert(entity.0) {
            return Err(VerifyError::ItemTwice { entity });
        }
        if let Some(expected) = &self.expected {
            let number = match expected.get(self.next) {
                Some(next) if next.entity == entity => self.next,
                Some(_) | None => expected
                    .binary_search_by_key(&entity, |item| item.entity)
                    .map_err(|_| VerifyError::ItemExtra { entity })?,
            };
            if expected.get(number) != Some(item) {
                return Err(VerifyError::ItemChanged { entity });
            }
            self.next = number + 1;
        }
        *self.counts.entry(kind).or_default() += 1;
        Ok(())
    }

    fn close(&self, manifest: &ExportManifest) -> Result<(), VerifyError> {
        let mut missing =
            self.expected.iter().flatten().map(|item| item.entity).filter(|entity| !self.seen.contains(entity.0));
        if let Some(first) = missing.next() {
            return Err(VerifyError::ItemsMissing { count: 1 + missing.count() as u64, first });
        }
        let listed = manifest.counts.iter().map(|count| (count.kind, count.items));
        if listed.eq(self.counts.iter().map(|(&kind, &items)| (kind, items))) {
            Ok(())
        } else {
            Err(VerifyError::Counts)
        }
    }
}

type Hashed<'a> = BufReader<Content<'a>>;

struct Reading<'a> {
    directory: PathBuf,
    manifest: &'a ExportManifest,
    key: Option<&'a OneTimeKey>,
    /// Whether what is encrypted is read as it lies there.
    is_sealed: bool,
    halt: &'a Halt,
}

impl Reading<'_> {
    fn entry(&self, name: &str) -> Result<&FileEntry, VerifyError> {
        self.manifest.file_of(name).ok_or_else(|| VerifyError::FileMissing { file: name.to_owned() })
    }

    /// Says whether what stands in a file can be read.
    fn sees(&self, entry: &FileEntry) -> bool {
        entry.plain.is_none() || !self.is_sealed
    }

    /// Opens a file whose length is as it was written.
    fn open(&self, entry: &FileEntry) -> Result<Hashed<'_>, VerifyError> {
        let file = open_cold(&self.directory.join(&entry.name)).map_err(|error| {
            // A symbolic link, a directory or a pipe in its place is not the file.
            let is_other = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData)
                || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
            if is_other { VerifyError::FileMissing { file: entry.name.clone() } } else { reading(error) }
        })?;
        let found = file.metadata().map_err(reading)?.len();
        if found != entry.bytes {
            return Err(VerifyError::FileLength { file: entry.name.clone(), written: entry.bytes, found });
        }
        let content = match (entry.plain, self.key) {
            (Some(_), Some(key)) => Content::decrypted(file, &entry.name, key, self.halt).map_err(reading)?,
            _ => Content::stored(file, self.halt),
        };
        let wanted = usize::try_from(entry.bytes).unwrap_or(BUFFER_BYTES).clamp(1, BUFFER_BYTES);
        Ok(BufReader::with_capacity(wanted, content))
    }

    /// Reads what is left and compares length and hash.
    fn close(entry: &FileEntry, mut reader: Hashed<'_>, rows: Option<u64>) -> Result<(), VerifyError> {
        io::copy(&mut reader, &mut io::sink()).map_err(reading)?;
        Self::compare(entry, reader.into_inner().finish().map_err(reading)?, rows)
    }

    fn compare(entry: &FileEntry, finished: Finished, rows: Option<u64>) -> Result<(), VerifyError> {
        if finished.bytes != entry.bytes {
            let (written, found) = (entry.bytes, finished.bytes);
            return Err(VerifyError::FileLength { file: entry.name.clone(), written, found });
        }
        if finished.sha256 != entry.sha256 || finished.plain.is_some_and(|plain| entry.plain != Some(plain)) {
            return Err(VerifyError::FileChanged { file: entry.name.clone() });
        }
        match (rows, entry.rows) {
            (Some(found), listed) if listed != Some(found) => {
                Err(VerifyError::Rows { file: entry.name.clone(), listed: listed.unwrap_or(0), found })
            }
            _ => Ok(()),
        }
    }

    fn read_layouts(&self) -> Result<HashMap<Digest, (Vec<u8>, Kind)>, VerifyError> {
        let entry = self.entry(LAYOUTS_FILE)?;
        let mut lines = Lines::over(self.open(entry)?, LAYOUTS_FILE);
        let mut layouts = HashMap::new();
        while let Some(line) = lines.next()? {
            let layout = ExportLayout::parse_line(line).map_err(|_| lines.unreadable())?;
            let known = (text_as_written(&layout.layout().source), layout.layout().kind);
            layouts.insert(layout.digest(), known);
        }
        Self::close(entry, lines.reader, Some(lines.number))?;
        Ok(layouts)
    }

    /// Reads the items and, in step, the list of items. The file of items is read and hashed as a whole by a thread of
    /// its own, while its lines are hashed and compared one by one in this.
    fn read_items(&self, layouts: &HashMap<Digest, (Vec<u8>, Kind)>, ledger: &mut Ledger) -> Result<(), VerifyError> {
        let entry = self.entry(ITEMS_FILE)?;
        let mut reader = self.open(entry)?;
        std::thread::scope(|scope| {
            let (offer, chunks) = crossbeam_channel::bounded(CHUNKS_AHEAD);
            let read = move || {
                let read = pass_on(&mut reader, &offer);
                read.and_then(|()| reader.into_inner().finish())
            };
            let builder = std::thread::Builder::new().name("verify".to_owned());
            let hashing = builder.spawn_scoped(scope, read).map_err(reading)?;
            let mut lines = Lines::over(Chunks { chunks, chunk: Vec::new(), at: 0 }, ITEMS_FILE);
            self.read_lines(&mut lines, layouts, ledger)?;
            let rows = lines.number;
            // The thread has told everything, or it waits for somebody to listen.
            drop(lines);
            let finished = hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(reading)?;
            Self::compare(entry, finished, Some(rows))
        })
    }

    fn read_lines(
        &self,
        lines: &mut Lines<Chunks>,
        layouts: &HashMap<Digest, (Vec<u8>, Kind)>,
        ledger: &mut Ledger,
    ) -> Result<(), VerifyError> {
        let list_entry = self.entry(MANIFEST_ITEMS_FILE)?;
        let mut listed = Lines::over(self.open(list_entry)?, MANIFEST_ITEMS_FILE);
        let mut wanted = Vec::new();
        while let Some(line) = lines.next()? {
            let digest = Digest::of(line);
            // Where the log does not know the digest, the line must at least be one.
            if !ledger.knows_digests() && ParsedItem::parse_line(line).is_err() {
                return Err(lines.unreadable());
            }
            let Ok(head) = ItemHead::parse(line) else { return Err(lines.unreadable()) };
            let found = ExpectedItem { entity: head.entity, version: head.version, digest };
            ledger.cross_off(&found, head.kind)?;
            let of_layout = layouts.get(&head.layout);
            if of_layout.is_none_or(|(source, kind)| *source != head.source || *kind != head.kind) {
                return Err(lines.unreadable());
            }
            wanted.clear();
            found.canonical_line(head.kind, &mut wanted);
            if listed.next()? != Some(wanted.as_slice()) {
                return Err(listed.unreadable());
            }
        }
        if listed.next()?.is_some() {
            return Err(listed.unreadable());
        }
        Self::close(list_entry, listed.reader, Some(listed.number))
    }

    /// Reads the list of items of a bundle whose items nobody here can read.
    fn read_list(&self, ledger: &mut Ledger) -> Result<(), VerifyError> {
        let entry = self.entry(MANIFEST_ITEMS_FILE)?;
        let mut listed = Lines::over(self.open(entry)?, MANIFEST_ITEMS_FILE);
        while let Some(line) = listed.next()? {
            let Some((item, kind)) = ExpectedItem::parse_line(line) else { return Err(listed.unreadable()) };
            ledger.cross_off(&item, kind)?;
        }
        Self::close(entry, listed.reader, Some(listed.number))
    }

    /// Reads the files that are no lists of items, or whose lines nobody here can read.
    fn read_others(&self) -> Result<(), VerifyError> {
        let lists = [ITEMS_FILE, LAYOUTS_FILE, MANIFEST_ITEMS_FILE, TEXTS_FILE, MBOX_FILE];
        let is_other = |entry: &&FileEntry| !self.sees(entry) || !lists.contains(&entry.plain_name());
        self.manifest.files.iter().filter(is_other).try_for_each(|entry| self.read_other(entry))
    }

    fn read_other(&self, entry: &FileEntry) -> Result<(), VerifyError> {
        let mut reader = self.open(entry)?;
        let rows = match entry.rows {
            Some(_) if self.sees(entry) => Some(count_records(&mut reader).map_err(reading)?),
            Some(_) | None => None,
        };
        Self::close(entry, reader, rows)
    }
}

fn reading(source: io::Error) -> VerifyError {
    if let Some(file) = NotAsEncrypted::why(&source) {
        return VerifyError::FileChanged { file: file.to_owned() };
    }
    VerifyError::Unreadable(ArchiveError::Io { doing: "read a file of the bundle", source })
}

/// Hands a file on in pieces, until its end or until nobody listens any more.
fn pass_on(reader: &mut Hashed<'_>, offer: &Sender<io::Result<Vec<u8>>>) -> io::Result<()> {
    loop {
        let chunk = match reader.fill_buf() {
            Ok([]) => return Ok(()),
            Ok(chunk) => Ok(chunk.to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let length = chunk.as_ref().map_or(0, Vec::len);
        let is_over = chunk.is_err();
        if offer.send(chunk).is_err() || is_over {
            return Ok(());
        }
        reader.consume(length);
    }
}

/// What [`pass_on`] hands on.
struct Chunks {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut rest = self.fill_buf()?;
        let count = rest.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.chunk.len()
            && let Ok(chunk) = self.chunks.recv()
        {
            (self.chunk, self.at) = (chunk?, 0);
        }
        Ok(self.chunk.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

/// Lines of one file, each whole and bounded.
struct Lines<R> {
    reader: R,
    file: &'static str,
    line: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    fn over(reader: R, file: &'static str) -> Self {
        Self { reader, file, line: Vec::new(), number: 0 }
    }

    fn unreadable(&self) -> VerifyError {
        VerifyError::Line { file: self.file, line: self.number }
    }

    /// Returns the next line without its line end, `None` at the end; a last line without line end is unreadable.
    fn next(&mut self) -> Result<Option<&[u8]>, VerifyError> {
        self.line.clear();
        let mut bounded = (&mut self.reader).take(ITEM_LINE_BYTES_MAX);
        if bounded.read_until(b'\n', &mut self.line).map_err(reading)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.line.last() != Some(&b'\n') {
            return Err(self.unreadable());
        }
        self.line.pop();
        Ok(Some(&self.line))
    }
}

//! Writes one bundle: files first, then the manifest, then the name.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use retention_core::evidence::manifest::{MANIFEST_FORMAT, MANIFEST_FORMAT_ENCRYPTED};
use retention_core::evidence::{ExportFormat, ExportItem, ExportManifest, FileEntry, ItemLine, KindCount};
use retention_core::id::Digest;
use retention_core::record::Kind;
use retention_core::time::Timestamp;
use roaring::RoaringBitmap;

use super::durable::{Directory, Durable, Passage, create_directory, rename_new, sync_directory};
use super::jsonl::LineFiles;
use super::message::TextFiles;
use super::name::STAMP_STEP_MICROS;
use super::ocm_csv::{CsvFiles, stem};
use super::place::remove_partial;
use super::xlsx::Book;
use super::{ArchiveError, Bundle, BundleName, BundleSpec, ItemSink, MANIFEST_FILE};
use crate::connector::outcome::{Cause, Outcome};
use crate::flush::{FlushGate, OpenGate};

/// How many names after the wanted one are tried: one second of them.
const NAMES_MAX: u32 = 10_000;

/// A bundle that is being written under its dot-name. Dropped before it is finished, it is removed.
pub struct BundleWriter {
    spec: BundleSpec,
    place: Place,
    lines: LineFiles,
    texts: Option<TextFiles>,
    csv: Option<CsvFiles>,
    book: Option<Book>,
    added: RoaringBitmap,
    counts: BTreeMap<Kind, u64>,
}

/// The directory with the dot-name; removed when it is dropped, unless it was renamed.
struct Place {
    root: PathBuf,
    directory: Directory,
    has_its_name: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.has_its_name && !self.directory.passage.is_shut() {
            // What cannot be removed now is recognised by its name and swept later.
            let _ = std::fs::remove_dir_all(&self.directory.path);
        }
    }
}

impl BundleWriter {
    /// Begins a bundle below `root`, after removing what earlier attempts with the same key left unfinished.
    ///
    /// # Errors
    /// Says why no bundle can be begun; nothing is left behind.
    pub fn create(root: &Path, spec: BundleSpec) -> Result<Self, ArchiveError> {
        Self::gated(root, spec, Arc::new(OpenGate))
    }

    /// As [`Self::create`], with a gate around what makes the bundle durable.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn gated(root: &Path, spec: BundleSpec, gate: Arc<dyn FlushGate>) -> Result<Self, ArchiveError> {
        remove_partial(root, spec.idempotency_key)?;
        let directory = root.join(name_of(&spec, spec.exported_at).partial(spec.idempotency_key));
        create_directory(&directory).map_err(ArchiveError::io("make a bundle directory"))?;
        let wants = |format| spec.formats.contains(&format);
        let durable = if wants(ExportFormat::Eml) { Durable::Together } else { Durable::OneByOne };
        let encryption = spec.encryption.clone().map(Arc::new);
        let directory = Directory::open(directory, Passage::through(gate), durable, encryption)
            .map_err(ArchiveError::io("make a bundle directory"))?;
        let place = Place { root: root.to_path_buf(), directory: directory.clone(), has_its_name: false };
        let csv = wants(ExportFormat::Csv).then(|| CsvFiles::in_directory(&directory, spec.csv_profile));
        if spec.encryption.is_some() && wants(ExportFormat::Xlsx) {
            // Its temporary files are not encrypted. No policy asks for both.
            return Err(ArchiveError::Workbook);
        }
        let book =
            wants(ExportFormat::Xlsx).then(|| Book::in_directory(&directory.path, spec.exported_at)).transpose()?;
        let lines = LineFiles::in_directory(&directory)?;
        let texts = TextFiles::in_directory(&directory, &spec.formats, spec.csv_profile)?;
        Ok(Self { spec, place, lines, texts, csv, book, added: RoaringBitmap::new(), counts: BTreeMap::new() })
    }

    /// Adds one item with its own line; every entity at most once.
    ///
    /// # Errors
    /// After an error the bundle must be dropped: some of its files may hold the item and others not.
    pub fn add(&mut self, item: &ExportItem<'_>, line: &ItemLine) -> Result<(), ArchiveError> {
        match &mut self.texts {
            Some(texts) => texts.vanished(item)?,
            None if item.layout.layout().kind == Kind::Message => {
                return Err(ArchiveError::NotExportable { kind: Kind::Message });
            }
            None => {}
        }
        self.add_record(item, line)
    }

    fn add_record(&mut self, item: &ExportItem<'_>, line: &ItemLine) -> Result<(), ArchiveError> {
        let kind = item.layout.layout().kind;
        if stem(kind).is_none() {
            return Err(ArchiveError::NotExportable { kind });
        }
        if !self.added.insert(item.entity.0) {
            return Err(ArchiveError::Duplicate { entity: item.entity });
        }
        self.lines.add(item, line)?;
        // Messages have an index of their own.
        if let Some(csv) = self.csv.as_mut().filter(|_| kind != Kind::Message) {
            csv.add(item)?;
        }
        if let Some(book) = &mut self.book {
            book.add(item)?;
        }
        *self.counts.entry(kind).or_default() += 1;
        Ok(())
    }

    /// Makes everything durable and gives the bundle its name.
    ///
    /// **On failure:** `Refused` means that no bundle is there. `Unknown` means that it has its name, and that nobody
    /// knows whether the name survives a power cut.
    pub fn finish(self) -> Outcome<Bundle> {
        let passage = Arc::clone(&self.place.directory.passage);
        match self.complete() {
            Ok((root, bundle)) => match passage.pass(|| sync_directory(&root)) {
                Ok(()) => Outcome::Applied(bundle),
                Err(_) => Outcome::Unknown(Cause { code: "bundle_name_not_durable" }),
            },
            Err(error) => Outcome::Refused(error.refusal()),
        }
    }

    fn complete(self) -> Result<(PathBuf, Bundle), ArchiveError> {
        let Self { spec, mut place, lines, texts, csv, book, added, counts } = self;
        if added.is_empty() {
            return Err(ArchiveError::Empty);
        }
        let directory = place.directory.clone();
        let mut files = finish_side_by_side(lines, csv)?;
        if let Some(texts) = texts {
            files.extend(texts.finish(added.len())?);
        }
        if let Some(book) = book {
            files.push(book.finish(&directory)?);
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let mut manifest = manifest_of(&spec, added.len(), &counts, files);
        let bytes = manifest.file_bytes();
        for step in 0..NAMES_MAX {
            manifest.exported_at = Timestamp(spec.exported_at.0.saturating_add(i64::from(step) * STAMP_STEP_MICROS));
            let name = name_of(&spec, manifest.exported_at);
            let target = place.root.join(name.as_str());
            if target.symlink_metadata().is_ok() {
                continue;
            }
            let (length, digest) = write_manifest(&directory, &manifest)?;
            match rename_new(&directory.path, &target) {
                Ok(()) => {
                    place.has_its_name = true;
                    let exported_at = manifest.exported_at;
                    let bytes = bytes.saturating_add(length);
                    let is_encrypted = manifest.is_encrypted();
                    let bundle =
                        Bundle { name, manifest: digest, is_encrypted, exported_at, items: added.len(), bytes };
                    return Ok((place.root.clone(), bundle));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(ArchiveError::Io { doing: "name the bundle", source: error }),
            }
        }
        Err(ArchiveError::NamesTaken)
    }
}

/// Completes the lines and the CSV files at the same time: the disk is waited for once, not once for each file.
fn finish_side_by_side(lines: LineFiles, csv: Option<CsvFiles>) -> Result<Vec<FileEntry>, ArchiveError> {
    let Some(csv) = csv else { return lines.finish() };
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("bundle".to_owned());
        let finishing =
            builder.spawn_scoped(scope, move || csv.finish()).map_err(ArchiveError::io("start a thread"))?;
        let lines = lines.finish();
        let csv = finishing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let mut files = lines?;
        files.extend(csv?);
        Ok(files)
    })
}

impl ItemSink for BundleWriter {
    fn add(&mut self, item: &ExportItem<'_>, line: &ItemLine) -> Result<(), ArchiveError> {
        Self::add(self, item, line)
    }

    fn begin_text(&mut self, item: &ExportItem<'_>, line: &ItemLine, size: u64) -> Result<(), ArchiveError> {
        self.add_record(item, line)?;
        let Some(texts) = &mut self.texts else {
            return Err(ArchiveError::NotExportable { kind: item.layout.layout().kind });
        };
        texts.begin(item, size)
    }

    fn text(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.texts.as_mut().map_or(Ok(()), |texts| texts.write(bytes))
    }

    fn end_text(&mut self) -> Result<(), ArchiveError> {
        self.texts.as_mut().map_or(Ok(()), TextFiles::end)
    }
}

fn name_of(spec: &BundleSpec, at: Timestamp) -> BundleName {
    BundleName::of(spec.mailbox.as_ref().map(|mailbox| mailbox.address.as_str()), at, &spec.zone)
}

fn manifest_of(spec: &BundleSpec, items: u64, counts: &BTreeMap<Kind, u64>, files: Vec<FileEntry>) -> ExportManifest {
    let mut formats = spec.formats.clone();
    formats.insert(ExportFormat::Jsonl);
    let recipients = spec.encryption.as_ref().map(|encryption| encryption.recipients().to_vec()).unwrap_or_default();
    ExportManifest {
        format: if recipients.is_empty() { MANIFEST_FORMAT } else { MANIFEST_FORMAT_ENCRYPTED },
        exported_at: spec.exported_at,
        run: spec.run,
        saga: spec.saga,
        idempotency_key: spec.idempotency_key,
        mailbox: spec.mailbox.as_ref().map(|mailbox| mailbox.entity),
        policy: spec.policy.clone(),
        policy_digest: spec.policy_digest,
        plan_digest: spec.plan_digest,
        csv_profile: formats.contains(&ExportFormat::Csv).then_some(spec.csv_profile),
        formats: formats.into_iter().collect(),
        items,
        counts: counts.iter().map(|(&kind, &items)| KindCount { kind, items }).collect(),
        recipients,
        files,
    }
}

/// Writes the manifest anew and makes it durable together with the names of all files, and with those that are not yet.
fn write_manifest(directory: &Directory, manifest: &ExportManifest) -> Result<(u64, Digest), ArchiveError> {
    let doing = ArchiveError::io;
    match std::fs::remove_file(directory.path.join(MANIFEST_FILE)) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(ArchiveError::Io { doing: "write the manifest", source: error }),
    }
    let mut file = directory.file(MANIFEST_FILE).map_err(doing("write the manifest"))?;
    file.write_all(&manifest.to_bytes()?).map_err(doing("write the manifest"))?;
    let finished = file.finish().map_err(doing("make the manifest durable"))?;
    directory.sync().map_err(doing("make the bundle durable"))?;
    Ok((finished.bytes, finished.sha256))
}

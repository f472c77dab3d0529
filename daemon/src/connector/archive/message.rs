//! The texts of messages in a bundle: one `.eml` each or one mbox, with an index for programs and one for people.
//!
//! Every message item has exactly one line in [`TEXTS_FILE`]: where its text stands, how long it is and its SHA-256,
//! or that it was gone from its server before. Texts pass through; none is held in memory.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use retention_core::evidence::bundle::{
    MBOX_FILE, StoredText, TEXTS_DIRECTORY, TEXTS_FILE, TextLine, TextPlace, text_file,
};
use retention_core::evidence::{CsvProfile, ExportFormat, ExportItem, FileEntry};
use retention_core::id::{Digest, EntityId};
use retention_core::record::field::{self};
use retention_core::record::{DateRole, Kind};
use retention_core::time::Timestamp;
use sha2::{Digest as _, Sha256};

use super::ArchiveError;
use super::durable::{Directory, Finished, HashedFile, create_directory};
use super::encrypted::{Encryption, OutFile};
use super::mbox::Quoting;
use super::ocm_csv::push_cell;

/// The list for people.
const INDEX_FILE: &str = "Messages.csv";

/// The largest message that is exported, in bytes: 4 GiB, far above what servers take in. The size of a message is a
/// 32-bit number in IMAP.
pub const TEXT_BYTES_MAX: u64 = 1 << 32;

/// Writes the texts of one bundle.
pub(super) struct TextFiles {
    form: Form,
    list: HashedFile,
    index: Option<(HashedFile, CsvProfile)>,
    rows: u64,
    open: Option<Open>,
}

enum Form {
    Eml(PathBuf, Option<Arc<Encryption>>),
    Mbox(Box<HashedFile>),
}

/// The message that is being written.
struct Open {
    entity: EntityId,
    cells: Vec<Option<String>>,
    size: u64,
    bytes: u64,
    hash: Sha256,
    into: Into,
}

enum Into {
    Eml(OutFile),
    Mbox { quoting: Quoting, quoted: u64 },
}

const WRITE: &str = "write the text of a message";

impl TextFiles {
    /// Begins, when a bundle is to hold texts.
    pub(super) fn in_directory(
        directory: &Directory,
        formats: &std::collections::BTreeSet<ExportFormat>,
        profile: CsvProfile,
    ) -> Result<Option<Self>, ArchiveError> {
        let doing = ArchiveError::io("make the files of a bundle");
        let form = if formats.contains(&ExportFormat::Eml) {
            let texts = directory.path.join(TEXTS_DIRECTORY);
            create_directory(&texts).map(|()| Form::Eml(texts, directory.encryption.clone()))
        } else if formats.contains(&ExportFormat::Mbox) {
            directory.file_of_people(MBOX_FILE).map(|file| Form::Mbox(Box::new(file)))
        } else {
            return Ok(None);
        };
        let begun = form.and_then(|form| {
            let list = directory.file(TEXTS_FILE)?;
            let index = match formats.contains(&ExportFormat::Csv) {
                true => Some((directory.file_of_people(INDEX_FILE)?, profile)),
                false => None,
            };
            Ok(Self { form, list, index, rows: 0, open: None })
        });
        let mut texts = begun.map_err(doing)?;
        let names = field::standard(Kind::Message).iter().map(|field| Some(field.ocm_column));
        let header: Vec<_> = names.chain(["File", "Bytes", "Sha256"].map(Some)).collect();
        texts.index_row(&header).map_err(ArchiveError::io("write the index of messages"))?;
        Ok(Some(texts))
    }

    /// Notes a message that had vanished from its server before.
    pub(super) fn vanished(&mut self, item: &ExportItem<'_>) -> Result<(), ArchiveError> {
        let cells = cells_of(item);
        self.note(item.entity, &cells, None)
    }

    /// Begins the text of a message.
    pub(super) fn begin(&mut self, item: &ExportItem<'_>, size: u64) -> Result<(), ArchiveError> {
        if self.open.is_some() {
            return Err(ArchiveError::Items { code: "text_not_ended" });
        }
        if size > TEXT_BYTES_MAX {
            return Err(ArchiveError::TooLarge { entity: item.entity });
        }
        let doing = ArchiveError::io(WRITE);
        let into = match &mut self.form {
            Form::Eml(directory, encryption) => {
                OutFile::of_people(directory, &text_file(item.entity), encryption.as_deref()).map(Into::Eml)
            }
            Form::Mbox(file) => {
                let received = item.record.date(DateRole::Received).unwrap_or_default();
                file.write_all(separator(received).as_bytes())
                    .map(|()| Into::Mbox { quoting: Quoting::default(), quoted: 0 })
            }
        };
        let into = into.map_err(doing)?;
        self.open =
            Some(Open { entity: item.entity, cells: cells_of(item), size, bytes: 0, hash: Sha256::new(), into });
        Ok(())
    }

    /// Adds to the text that was begun.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        let Some(open) = &mut self.open else { return Err(ArchiveError::Items { code: "text_not_begun" }) };
        open.bytes = open.bytes.saturating_add(bytes.len() as u64);
        if open.bytes > open.size {
            return Err(ArchiveError::Items { code: "text_longer_than_announced" });
        }
        open.hash.update(bytes);
        let written = match (&mut open.into, &mut self.form) {
            (Into::Eml(file), _) => file.write_all(bytes),
            (Into::Mbox { quoting, quoted }, Form::Mbox(file)) => {
                let before = file.position();
                quoting.quote(bytes, file.buffer());
                *quoted += file.position().saturating_sub(before);
                file.drain()
            }
            (Into::Mbox { .. }, Form::Eml(..)) => Ok(()),
        };
        written.map_err(ArchiveError::io(WRITE))
    }

    /// Ends the text that was begun: all of it is there.
    pub(super) fn end(&mut self) -> Result<(), ArchiveError> {
        let Some(open) = self.open.take() else { return Err(ArchiveError::Items { code: "text_not_begun" }) };
        if open.bytes != open.size {
            return Err(ArchiveError::Items { code: "text_shorter_than_announced" });
        }
        let doing = ArchiveError::io(WRITE);
        let (quoted_bytes, stored) = match (open.into, &mut self.form) {
            (Into::Mbox { mut quoting, quoted }, Form::Mbox(file)) => {
                let before = file.position();
                let padding = quoting.end(file.buffer());
                let quoted = quoted + file.position().saturating_sub(before);
                file.buffer().extend_from_slice(padding);
                file.drain().map_err(doing)?;
                (Some(quoted), None)
            }
            (Into::Eml(file), _) => {
                let (_, stored) = file.finish().map_err(doing)?;
                (None, stored.map(|Finished { bytes, sha256, .. }| StoredText { bytes, sha256 }))
            }
            (Into::Mbox { .. }, Form::Eml(..)) => (None, None),
        };
        let place = TextPlace { bytes: open.bytes, sha256: Digest(open.hash.finalize().into()), quoted_bytes, stored };
        self.note(open.entity, &open.cells, Some(place))
    }

    fn note(
        &mut self,
        entity: EntityId,
        cells: &[Option<String>],
        text: Option<TextPlace>,
    ) -> Result<(), ArchiveError> {
        let doing = || ArchiveError::io("write the index of messages");
        serde_json::to_writer(self.list.buffer(), &TextLine { entity, text }).map_err(|error| doing()(error.into()))?;
        self.list.buffer().push(b'\n');
        self.list.drain().map_err(doing())?;
        self.rows += 1;
        let file = text.map(|text| match text.quoted_bytes {
            Some(_) => MBOX_FILE.to_owned(),
            None => format!("{TEXTS_DIRECTORY}/{}", text_file(entity)),
        });
        let (bytes, sha256) = (text.map(|text| text.bytes.to_string()), text.map(|text| text.sha256.to_string()));
        let row: Vec<Option<&str>> = cells.iter().chain([&file, &bytes, &sha256]).map(|cell| cell.as_deref()).collect();
        self.index_row(&row).map_err(doing())
    }

    fn index_row(&mut self, cells: &[Option<&str>]) -> io::Result<()> {
        let Some((file, profile)) = &mut self.index else { return Ok(()) };
        for (number, cell) in cells.iter().enumerate() {
            if number > 0 {
                file.buffer().push(b',');
            }
            push_cell(file.buffer(), *cell, *profile);
        }
        file.buffer().extend_from_slice(b"\r\n");
        file.drain()
    }

    /// Completes all of it. Files of their own are made durable together with the bundle.
    pub(super) fn finish(self, items: u64) -> Result<Vec<FileEntry>, ArchiveError> {
        if self.open.is_some() || self.rows != items {
            return Err(ArchiveError::Items { code: "text_missing" });
        }
        let doing = || ArchiveError::io("make the texts durable");
        let mut files = Vec::new();
        let mut list = |name: &str, file: HashedFile, kind: Option<Kind>, rows: Option<u64>| {
            files.push(FileEntry { kind, rows, ..file.finish().map_err(doing())?.entry(name) });
            Ok::<_, ArchiveError>(())
        };
        list(TEXTS_FILE, self.list, None, Some(self.rows))?;
        if let Some((file, _)) = self.index {
            list(INDEX_FILE, file, Some(Kind::Message), Some(self.rows))?;
        }
        if let Form::Mbox(file) = self.form {
            list(MBOX_FILE, *file, None, None)?;
        }
        Ok(files)
    }
}

fn cells_of(item: &ExportItem<'_>) -> Vec<Option<String>> {
    let layout = item.layout.layout();
    let cell = |name| layout.column_of(name).and_then(|column| item.record.cells.get(column)).map(str::to_owned);
    field::standard(Kind::Message).iter().map(|field| cell(field.name)).collect()
}

/// The line before a message in an mbox, with its date of receipt in UTC, as RFC 4155 has it.
pub(super) fn separator(received: Timestamp) -> String {
    let at = received.to_jiff().to_zoned(TimeZone::UTC);
    let date = strtime::format("%a %b %e %H:%M:%S %Y", &at).unwrap_or_else(|_| "Thu Jan  1 00:00:00 1970".to_owned());
    format!("From MAILER-DAEMON {date}\n")
}

//! CSV files in the form of the Outlook Customer Manager export script, so that what reads its files reads ours.
//!
//! Every value is quoted, a null is nothing between two commas, lines end with CRLF, text is UTF-8 without BOM. Rows
//! whose layout has all columns of the script keep their header as it was read. Rows of other sources are arranged
//! into the script's columns, and what the script does not know follows; in the deals of other sources `Shared` is
//! written the wrong way round, because the script writes it so and its readers turn it back.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufReader, Read, Write};

use retention_core::evidence::{CsvProfile, ExportItem, FileEntry};
use retention_core::id::Digest;
use retention_core::record::field::{self, CUSTOM_PREFIX};
use retention_core::record::{EntityRecord, FieldType, Kind, Layout};
use retention_core::table::spreadsheet_safe;

use super::ArchiveError;
use super::durable::{BUFFER_BYTES, Directory, HashedFile};

/// The file of templates whose parent is not known.
const TEMPLATES: &str = "Templates";

/// The field in which a template names the kind that it extends.
const PARENT_FIELD: &str = "parent_type";

/// The columns of a schema file.
const SCHEMA_COLUMNS: usize = 4;

/// Returns the stem of the file and worksheet of a kind; `None` for kinds that are never exported.
pub(super) fn stem(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Contact => Some("Contacts"),
        Kind::Company => Some("Companies"),
        Kind::Deal => Some("Deals"),
        Kind::Activity => Some("Activities"),
        Kind::Post => Some("Posts"),
        Kind::Task => Some("Tasks"),
        Kind::Insight => Some("Insights"),
        Kind::Template => Some(TEMPLATES),
        Kind::File => Some("Files"),
        Kind::Message => Some("Messages"),
        Kind::AuditMonth => Some("AuditMonths"),
        Kind::Mailbox | Kind::Intake => None,
    }
}

/// The kinds whose custom fields the script defines in a schema file.
const SCHEMAS: [(Kind, &str); 3] =
    [(Kind::Contact, "ContactSchema"), (Kind::Company, "CompanySchema"), (Kind::Deal, "DealSchema")];

/// Returns the file of a template: the schema file of the kind that its [`PARENT_FIELD`] names.
fn template_stem(layout: &Layout, record: &EntityRecord) -> &'static str {
    let parent = layout.column_of(PARENT_FIELD).and_then(|column| record.cells.get(column));
    SCHEMAS
        .iter()
        .find(|(kind, _)| parent.is_some_and(|parent| parent.eq_ignore_ascii_case(kind.name())))
        .map_or(TEMPLATES, |(_, stem)| stem)
}

/// Writes all CSV files of a bundle.
pub(super) struct CsvFiles {
    directory: Directory,
    profile: CsvProfile,
    files: BTreeMap<&'static str, CsvFile>,
    /// Per kind: the custom columns of its layouts, as (label, field, type).
    custom: BTreeMap<Kind, BTreeMap<String, (String, FieldType)>>,
    /// Per schema file: the labels that templates define.
    defined: BTreeMap<&'static str, BTreeSet<String>>,
}

impl CsvFiles {
    pub(super) fn in_directory(directory: &Directory, profile: CsvProfile) -> Self {
        Self {
            directory: directory.clone(),
            profile,
            files: BTreeMap::new(),
            custom: BTreeMap::new(),
            defined: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, item: &ExportItem<'_>) -> Result<(), ArchiveError> {
        let (layout, record) = (item.layout.layout(), item.record);
        let kind = layout.kind;
        let mut stem = stem(kind).ok_or(ArchiveError::NotExportable { kind })?;
        if kind == Kind::Template {
            stem = template_stem(layout, record);
            if let Some(label) = layout.column_of("label").and_then(|column| record.cells.get(column)) {
                self.defined.entry(stem).or_default().insert(label.to_owned());
            }
        }
        let file = match self.files.entry(stem) {
            Entry::Occupied(file) => file.into_mut(),
            Entry::Vacant(place) => place
                .insert(CsvFile::create(&self.directory, stem, kind).map_err(ArchiveError::io("write a CSV file"))?),
        };
        if !file.mappings.contains_key(&item.layout.digest()) {
            let mut columns = columns_of(layout);
            if kind == Kind::Template && stem != TEMPLATES {
                // The file already tells the parent, and the script has no column for it.
                let parent = layout.column_of(PARENT_FIELD);
                columns.retain(|column| column.cell.is_none() || column.cell != parent);
            }
            if SCHEMAS.iter().any(|(parent, _)| *parent == kind) {
                note_custom(self.custom.entry(kind).or_default(), layout, &columns);
            }
            file.admit(item.layout.digest(), layout, columns, self.profile);
        }
        file.write_row(item.layout.digest(), record, self.profile).map_err(ArchiveError::io("write a CSV file"))
    }

    /// Writes the definitions that no template gave, completes the files, and returns what they are.
    pub(super) fn finish(mut self) -> Result<Vec<FileEntry>, ArchiveError> {
        for (kind, stem) in SCHEMAS {
            self.derive_schema(kind, stem).map_err(ArchiveError::io("write a schema file"))?;
        }
        let profile = self.profile;
        self.files
            .into_values()
            .map(|file| file.finish(profile).map_err(ArchiveError::io("complete a CSV file")))
            .collect()
    }

    fn derive_schema(&mut self, kind: Kind, stem: &'static str) -> io::Result<()> {
        let defined = self.defined.remove(stem).unwrap_or_default();
        let missing: Vec<_> = self
            .custom
            .remove(&kind)
            .unwrap_or_default()
            .into_iter()
            .filter(|(label, _)| !defined.contains(label))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let profile = self.profile;
        let file = match self.files.entry(stem) {
            Entry::Occupied(file) => file.into_mut(),
            Entry::Vacant(place) => {
                let mut file = CsvFile::create(&self.directory, stem, Kind::Template)?;
                for field in field::standard(Kind::Template) {
                    file.add_column(field.ocm_column.to_owned());
                }
                file.write_header(profile);
                place.insert(file)
            }
        };
        for (label, (field, field_type)) in missing {
            let values = [field.as_str(), label.as_str(), schema_type(field_type), ""];
            file.write_definition(&values, profile)?;
        }
        Ok(())
    }
}

/// The type of a custom field in the words of the script.
fn schema_type(field_type: FieldType) -> &'static str {
    match field_type {
        FieldType::Text | FieldType::List => "Text",
        FieldType::Number => "Numeric",
        FieldType::Money => "Currency",
        FieldType::Boolean => "Boolean",
        FieldType::Date => "Date",
    }
}

/// A column of the file: its name and the cell that fills it.
struct CsvColumn {
    name: String,
    cell: Option<usize>,
}

/// Says whether rows of this layout were read from the script's files: it has every column of the script.
fn is_script_layout(layout: &Layout) -> bool {
    field::standard(layout.kind).iter().all(|field| layout.columns.iter().any(|c| c.name == field.ocm_column))
}

/// Arranges a layout into the columns of the script. Every cell of the layout has exactly one column.
fn columns_of(layout: &Layout) -> Vec<CsvColumn> {
    let mut columns = Vec::with_capacity(layout.columns.len());
    let mut taken = BTreeSet::new();
    let mut used = BTreeSet::new();
    if !is_script_layout(layout) {
        for field in field::standard(layout.kind) {
            let cell = layout.column_of(field.name);
            used.extend(cell);
            taken.insert(field.ocm_column.to_owned());
            columns.push(CsvColumn { name: field.ocm_column.to_owned(), cell });
        }
    }
    for (cell, column) in layout.columns.iter().enumerate().filter(|(cell, _)| !used.contains(cell)) {
        let mut name = column.name.clone();
        let mut copy = 1;
        while !taken.insert(name.clone()) {
            copy += 1;
            name = format!("{} ({copy})", column.name);
        }
        columns.push(CsvColumn { name, cell: Some(cell) });
    }
    columns
}

fn note_custom(custom: &mut BTreeMap<String, (String, FieldType)>, layout: &Layout, columns: &[CsvColumn]) {
    for column in columns {
        let Some(source) = column.cell.and_then(|cell| layout.columns.get(cell)) else { continue };
        if source.field.starts_with(CUSTOM_PREFIX) {
            custom.entry(column.name.clone()).or_insert_with(|| (source.field.clone(), source.field_type));
        }
    }
}

/// Where the cells of one layout go.
struct Mapping {
    /// Per column of the file, as far as the layout reaches: the cell.
    cells: Vec<Option<usize>>,
    /// The column whose truth value is written the wrong way round.
    inverted: Option<usize>,
}

/// One CSV file. Columns that a later layout adds come last; the rows before are widened when the file is finished.
struct CsvFile {
    directory: Directory,
    stem: &'static str,
    kind: Kind,
    file: HashedFile,
    header: Vec<String>,
    numbers: HashMap<String, usize>,
    mappings: HashMap<Digest, Mapping>,
    /// From which byte on the rows have how many columns, ascending; the first is that of the header.
    widths: Vec<(u64, usize)>,
    rows: u64,
    derived_rows: u64,
}

impl CsvFile {
    fn create(directory: &Directory, stem: &'static str, kind: Kind) -> io::Result<Self> {
        Ok(Self {
            directory: directory.clone(),
            stem,
            kind,
            file: directory.file_of_people(&format!("{stem}.csv"))?,
            header: Vec::new(),
            numbers: HashMap::new(),
            mappings: HashMap::new(),
            widths: Vec::new(),
            rows: 0,
            derived_rows: 0,
        })
    }

    fn add_column(&mut self, name: String) -> usize {
        let next = self.header.len();
        let number = *self.numbers.entry(name.clone()).or_insert(next);
        if number == next {
            self.header.push(name);
        }
        number
    }

    fn write_header(&mut self, profile: CsvProfile) {
        push_header(self.file.buffer(), &self.header, profile);
        self.widths.push((0, self.header.len()));
    }

    /// Makes room for the rows of a layout.
    fn admit(&mut self, digest: Digest, layout: &Layout, columns: Vec<CsvColumn>, profile: CsvProfile) {
        let first = self.header.is_empty();
        let before = self.header.len();
        let mut cells = Vec::new();
        for column in columns {
            let number = self.add_column(column.name);
            cells.resize(cells.len().max(number + 1), None);
            if let Some(place) = cells.get_mut(number) {
                *place = column.cell;
            }
        }
        let inverted = (layout.kind == Kind::Deal && !is_script_layout(layout))
            .then(|| self.numbers.get("Shared").copied())
            .flatten();
        self.mappings.insert(digest, Mapping { cells, inverted });
        if first {
            self.write_header(profile);
        } else if self.header.len() > before {
            self.widths.push((self.file.position(), self.header.len()));
        }
    }

    fn write_row(&mut self, layout: Digest, record: &EntityRecord, profile: CsvProfile) -> io::Result<()> {
        let Some(mapping) = self.mappings.get(&layout) else { return Ok(()) };
        let out = self.file.buffer();
        for (number, cell) in mapping.cells.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            let text = cell.and_then(|cell| record.cells.get(cell));
            if mapping.inverted == Some(number) {
                push_cell(out, text.map(inverted), profile);
            } else {
                push_cell(out, text, profile);
            }
        }
        let missing = self.header.len().saturating_sub(mapping.cells.len());
        out.extend(std::iter::repeat_n(b',', missing));
        out.extend_from_slice(b"\r\n");
        self.rows += 1;
        self.file.drain()
    }

    /// Writes a definition that stands for no item into a schema file, whose first columns are the script's.
    fn write_definition(&mut self, values: &[&str; SCHEMA_COLUMNS], profile: CsvProfile) -> io::Result<()> {
        let names: Vec<_> = field::standard(Kind::Template).iter().map(|field| field.ocm_column).collect();
        let out = self.file.buffer();
        for (number, name) in self.header.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            let value = names.iter().position(|known| known == name).and_then(|at| values.get(at));
            push_cell(out, value.copied(), profile);
        }
        out.extend_from_slice(b"\r\n");
        self.rows += 1;
        self.derived_rows += 1;
        self.file.drain()
    }

    fn finish(self, profile: CsvProfile) -> io::Result<FileEntry> {
        let name = format!("{}.csv", self.stem);
        let finished = if self.widths.len() <= 1 {
            self.file.finish()?
        } else {
            let wide_name = format!("{}.wide", self.stem);
            let (narrow, wide) = (self.directory.path_of_people(&name), self.directory.path_of_people(&wide_name));
            self.file.close()?;
            let mut out = self.directory.file_of_people(&wide_name)?;
            push_header(out.buffer(), &self.header, profile);
            widen(self.directory.reopen(&name)?, &self.widths, self.header.len(), &mut out)?;
            let finished = out.finish()?;
            std::fs::rename(&wide, &narrow)?;
            finished
        };
        let (kind, rows) = (Some(self.kind), Some(self.rows));
        Ok(FileEntry { kind, rows, derived_rows: self.derived_rows, ..finished.entry(&name) })
    }
}

/// Copies all records but the header, each made as wide as the widest. Outside quotes a CR only ends a record.
fn widen(from: impl Read, widths: &[(u64, usize)], width: usize, out: &mut HashedFile) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, from);
    let mut widths = widths.iter().copied().peekable();
    let (mut quoted, mut in_header, mut position, mut missing) = (false, true, 0u64, 0);
    let mut chunk = vec![0; BUFFER_BYTES];
    loop {
        let count = reader.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        for &byte in chunk.iter().take(count) {
            while let Some((_, columns)) = widths.next_if(|(start, _)| *start <= position) {
                missing = width.saturating_sub(columns);
            }
            position += 1;
            quoted ^= byte == b'"';
            if in_header {
                in_header = quoted || byte != b'\n';
                continue;
            }
            if byte == b'\r' && !quoted {
                out.buffer().extend(std::iter::repeat_n(b',', missing));
            }
            out.buffer().push(byte);
        }
        out.flush()?;
        out.drain()?;
    }
}

fn inverted(text: &str) -> &str {
    if text.eq_ignore_ascii_case("true") {
        "False"
    } else if text.eq_ignore_ascii_case("false") {
        "True"
    } else {
        text
    }
}

fn push_header(out: &mut Vec<u8>, header: &[String], profile: CsvProfile) {
    for (number, name) in header.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        push_cell(out, Some(name), profile);
    }
    out.extend_from_slice(b"\r\n");
}

pub(super) fn push_cell(out: &mut Vec<u8>, cell: Option<&str>, profile: CsvProfile) {
    let Some(text) = cell else { return };
    let text = match profile {
        CsvProfile::Exact => Cow::Borrowed(text),
        CsvProfile::SpreadsheetSafe => spreadsheet_safe(text),
    };
    out.push(b'"');
    let mut parts = text.split('"');
    if let Some(first) = parts.next() {
        out.extend_from_slice(first.as_bytes());
    }
    for part in parts {
        out.extend_from_slice(b"\"\"");
        out.extend_from_slice(part.as_bytes());
    }
    out.push(b'"');
}

//! Export directories of the Outlook Customer Manager script, version 1.4, with everything that is odd about them.
//!
//! Cells are kept as written; only ids, dates, links and visibility are read. What can be read in two ways is read
//! the way that keeps longer, and counted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;
use retention_core::evidence::manifest::ENCRYPTED_SUFFIX;
use retention_core::record::field::{self, CUSTOM_PREFIX};
use retention_core::record::{Column, FieldType, Kind, Layout};
use retention_core::table::{Fields as _, Next, Table, TextRow};
use retention_core::text::{self, Delimiter, Encoding};

use super::claimed::{self, Limits, Opened};
use super::csv_file::{check_row, open_text, read_header};
use super::typed::{Glued, check_repeats, find};
use crate::connector::archive::{ITEMS_FILE, LAYOUTS_FILE, MANIFEST_FILE, MANIFEST_ITEMS_FILE, WORKBOOK_FILE};
use crate::connector::change::{Certainty, Change, Detected, Feed, Place, ReadSummary, Sink};
use crate::connector::defect::Defect;
use crate::connector::rejection::{FileError, RejectCode, Rejection};

// One row of each kind.
mod row;

/// How export directories of a source are read.
#[derive(Debug, Clone, Default)]
pub struct OcmSpec {
    /// The zone of the machine that ran the script. Without it the latest possible instants are taken.
    pub zone: Option<TimeZone>,
}

/// The end of the name of an export that is to be taken although a newer one was.
const ON_PURPOSE: &str = ".older";

/// Whether an export may bring back what a newer one of the same mailbox had already changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Older {
    /// It is refused then.
    Refused,
    /// Somebody says by its name that it is meant.
    OnPurpose,
}

/// The name of an export directory: `<user>_<yyyyMMddTHHmmssffff>`, or the same with `.older` behind it. Names a
/// person: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct DirectoryName {
    /// The user, in lower case.
    pub mailbox: String,
    /// When the script ran, in the unknown zone of its machine.
    pub exported_at_local: jiff::civil::DateTime,
    /// What is to happen when a newer one was taken before.
    pub older: Older,
}

impl DirectoryName {
    /// Reads a name; the user may hold `_`, so the last one divides.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (name, older) = match name.strip_suffix(ON_PURPOSE) {
            Some(name) => (name, Older::OnPurpose),
            None => (name, Older::Refused),
        };
        let (user, stamp) = name.rsplit_once('_')?;
        // One mailbox, however the address was typed where the script asked for it.
        let user = text::bare(user);
        let (day, clock) = stamp.split_once('T')?;
        let are_digits = day.bytes().chain(clock.bytes()).all(|byte| byte.is_ascii_digit());
        if user.is_empty() || day.len() != 8 || clock.len() != 10 || !are_digits {
            return None;
        }
        let seconds = clock.get(..6)?;
        let fraction: i32 = clock.get(6..)?.parse().ok()?;
        let whole = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", format!("{day}{seconds}")).ok()?;
        let exported_at_local = whole.with().subsec_nanosecond(fraction * 100_000).build().ok()?;
        Some(Self { mailbox: user.to_lowercase(), exported_at_local, older })
    }
}

/// The schema files, and the entities whose custom fields they define.
const SCHEMAS: [(&str, Kind); 3] =
    [("ContactSchema.csv", Kind::Contact), ("CompanySchema.csv", Kind::Company), ("DealSchema.csv", Kind::Deal)];

/// The data files, what their rows are, and the column without which they cannot be read.
const DATA: [(&str, Kind, &str); 6] = [
    ("Contacts.csv", Kind::Contact, "XrmId"),
    ("Companies.csv", Kind::Company, "XrmId"),
    ("Deals.csv", Kind::Deal, "XrmId"),
    ("Tasks.csv", Kind::Task, "ItemId"),
    ("Posts.csv", Kind::Post, "XrmId"),
    ("Activities.csv", Kind::Activity, "EventTime"),
];

/// The files by which a bundle of exported items is known.
const BUNDLE: [&str; 2] = [MANIFEST_FILE, MANIFEST_ITEMS_FILE];

/// The files of a bundle that say once more what its CSV files say.
const BUNDLE_BESIDE: [&str; 5] = [MANIFEST_FILE, MANIFEST_ITEMS_FILE, ITEMS_FILE, LAYOUTS_FILE, WORKBOOK_FILE];

/// Rows of one page: beyond them the script loses its filter for posts and activities.
const PAGE_ROWS: u64 = 100;

/// Ids remembered per file to find repetitions: 16 MiB at most; beyond, repetitions are no longer found.
const IDS_REMEMBERED_MAX: usize = 1_000_000;

/// Activities of one file: they are told apart by a digest in memory, 64 MiB at most.
const ACTIVITIES_MAX: usize = 2_000_000;

/// A claimed export directory.
pub struct OcmFeed<'a> {
    source: &'a str,
    zone: Option<&'a TimeZone>,
    limits: &'a Limits,
    path: &'a Path,
    mailbox: Arc<str>,
}

impl<'a> OcmFeed<'a> {
    /// Reads the directory at `path`, which had that name when it was dropped.
    #[must_use]
    pub fn over(source: &'a str, spec: &'a OcmSpec, limits: &'a Limits, path: &'a Path, name: &DirectoryName) -> Self {
        Self { source, zone: spec.zone.as_ref(), limits, path, mailbox: Arc::from(name.mailbox.as_str()) }
    }

    /// Says whether every byte of every file is ASCII: then question marks may be lost characters.
    fn is_ascii(&self, names: &[String]) -> bool {
        let is_ascii = |name: &String| {
            let Ok(mut opened) = Opened::at(&self.path.join(name), self.limits) else { return true };
            let mut chunk = vec![0; 64 << 10];
            loop {
                match opened.file.read(&mut chunk) {
                    Ok(0) | Err(_) => return true,
                    Ok(read) if chunk.get(..read).is_some_and(<[u8]>::is_ascii) => {}
                    Ok(_) => return false,
                }
            }
        };
        names.iter().all(is_ascii)
    }
}

/// Why reading goes no further.
enum Stop {
    Sink,
    File(FileError),
}

impl From<FileError> for Stop {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::File(error.into())
    }
}

/// A custom field as its schema file defines it.
struct Custom {
    label: String,
    field_type: Option<FieldType>,
}

/// What one file knows while it is read.
struct FileState {
    kind: Kind,
    layout: usize,
    fields: BTreeMap<String, usize>,
    types: Vec<FieldType>,
    custom_dates: Vec<usize>,
    template_of: Option<Kind>,
    ids: HashSet<u64>,
    occurrences: HashMap<[u8; 16], u32>,
    customs: Vec<Custom>,
}

impl FileState {
    fn cell<'r>(&self, row: &'r TextRow<'_>, field: &str) -> Option<&'r str> {
        row.cell(*self.fields.get(field)?)
    }
}

struct Reading<'f, 's, 'k> {
    feed: &'f OcmFeed<'f>,
    sink: &'s mut Sink<'k>,
    summary: ReadSummary,
    layouts: usize,
    is_ascii: bool,
    /// Whether it is what a run exported: a part, however whole its files are.
    is_bundle: bool,
    /// The files of the export that are there, as they are called there.
    on_disk: BTreeMap<&'static str, String>,
}

impl Feed for OcmFeed<'_> {
    fn read(&mut self, sink: &mut Sink<'_>) -> Result<ReadSummary, FileError> {
        let names = claimed::file_names(self.path)?;
        let is_ascii = self.is_ascii(&names);
        let is_bundle = BUNDLE.iter().all(|part| names.iter().any(|name| name.eq_ignore_ascii_case(part)));
        let mut reading = Reading {
            feed: self,
            sink,
            summary: ReadSummary::default(),
            layouts: 0,
            is_ascii,
            is_bundle,
            on_disk: on_disk(&names),
        };
        match reading.directory(&names) {
            Ok(()) => {}
            Err(Stop::Sink) => reading.summary.stopped = true,
            Err(Stop::File(error)) => return Err(error),
        }
        Ok(reading.summary)
    }
}

impl Reading<'_, '_, '_> {
    fn emit(&mut self, change: Change) -> Result<(), Stop> {
        if (self.sink)(change).is_break() { Err(Stop::Sink) } else { Ok(()) }
    }

    fn defect(&mut self, defect: Defect, place: Place) -> Result<(), Stop> {
        self.summary.defects += 1;
        self.emit(Change::Defect(defect, place))
    }

    fn reject(&mut self, place: Place, code: RejectCode) -> Result<(), Stop> {
        self.summary.rejected += 1;
        self.emit(Change::Rejected(Rejection { place, code }))
    }

    fn directory(&mut self, names: &[String]) -> Result<(), Stop> {
        let known: Vec<&'static str> = self.on_disk.keys().copied().collect();
        let has = |name: &str| known.contains(&name);
        let is_bundle = self.is_bundle;
        if is_bundle {
            self.defect(Defect::BundleInPart, Place::whole(None))?;
        }
        // Beside what was decrypted may still lie what it was. A program that changed the case of one name changed all.
        let is_beside = |name: &&String| {
            let name = name.to_ascii_lowercase();
            is_bundle && (BUNDLE_BESIDE.contains(&name.as_str()) || name.ends_with(ENCRYPTED_SUFFIX))
        };
        let unknown = names.len() - known.len() - names.iter().filter(is_beside).count();
        for _ in 0..unknown {
            self.defect(Defect::FileUnknown, Place::whole(None))?;
        }
        if known.is_empty() {
            return Err(FileError::NoExportFile.into());
        }
        let mut customs = BTreeMap::new();
        let mut whole = 0;
        for (name, of) in SCHEMAS {
            if has(name) {
                let (found, complete) = self.file(name, Kind::Template, Some(of), "FieldId", &[])?;
                whole += usize::from(complete);
                customs.insert(of, found);
            }
        }
        if whole == SCHEMAS.len() {
            self.snapshot(Kind::Template)?;
        }
        for (name, kind, required) in DATA {
            if !has(name) {
                let never = kind == Kind::Post;
                let defect = if never { Defect::PostsNeverWritten } else { Defect::FileAbsent };
                self.defect(defect, Place::whole(Some(name)))?;
                continue;
            }
            let schema = customs.get(&kind).map_or(&[][..], Vec::as_slice);
            let (_, complete) = self.file(name, kind, None, required, schema)?;
            if complete {
                self.snapshot(kind)?;
            }
        }
        Ok(())
    }

    fn snapshot(&mut self, kind: Kind) -> Result<(), Stop> {
        if self.is_bundle {
            return Ok(());
        }
        let mailbox = Some(self.feed.mailbox.clone());
        self.emit(Change::SnapshotOf { mailbox, kind })
    }

    /// Reads one file; what is wrong with it rejects it and never the others. Says whether it is a whole snapshot.
    fn file(
        &mut self,
        name: &'static str,
        kind: Kind,
        template_of: Option<Kind>,
        required: &str,
        schema: &[Custom],
    ) -> Result<(Vec<Custom>, bool), Stop> {
        let before = (self.summary.rows, self.summary.rejected);
        let read = self.rows(name, kind, template_of, required, schema);
        let (customs, ended) = match read {
            Ok(done) => done,
            Err(Stop::Sink) => return Err(Stop::Sink),
            Err(Stop::File(error)) => {
                self.reject(Place::whole(Some(name)), error.into())?;
                (Vec::new(), false)
            }
        };
        let place = Place::whole(Some(name));
        let rows = self.summary.rows - before.0;
        let mut complete = ended && rows > 0 && self.summary.rejected == before.1;
        if !ended && self.summary.rejected == before.1 {
            self.defect(Defect::LineEndMissing, place)?;
        } else if !complete && !self.is_bundle {
            self.defect(Defect::SnapshotIncomplete, place)?;
        }
        if matches!(kind, Kind::Post | Kind::Activity) && rows > PAGE_ROWS {
            self.defect(Defect::PagesUnfiltered, place)?;
            complete = false;
        }
        Ok((customs, complete))
    }

    fn rows(
        &mut self,
        name: &'static str,
        kind: Kind,
        template_of: Option<Kind>,
        required: &str,
        schema: &[Custom],
    ) -> Result<(Vec<Custom>, bool), Stop> {
        let path = self.feed.path.join(self.on_disk.get(name).map_or(name, String::as_str));
        let opened = Opened::at(&path, self.feed.limits)?;
        let (reader, seen) = open_text(opened.file, Some(Encoding::Utf8)).map_err(|error| match error {
            FileError::EncodingContradicted { .. } => FileError::ExportResaved { how: "in UTF-16" },
            other => other,
        })?;
        self.summary.detected.push(Detected {
            file: Some(name),
            encoding: if self.is_ascii { "ascii" } else { seen.encoding.name() },
            delimiter: Some("comma"),
            certainty: Certainty::Named,
        });
        let mut table = Table::over(reader, b',', self.feed.limits.row_bytes_max, self.feed.limits.columns_max);
        let resaved = resaved_header(table.peek()?, required, self.feed.limits);
        let header = read_header(&mut table).map_err(|error| match (error, resaved) {
            (FileError::HeaderBroken(_), Some(how)) => FileError::ExportResaved { how },
            (error, _) => error,
        })?;
        // Columns are found in any case, so two that differ in it alone would be one.
        check_repeats(&header.iter().map(|name| name.to_ascii_lowercase()).collect::<Vec<_>>())?;
        let key = find_any_case(&header, required);
        if key.is_none() {
            if let Some(how) = resaved {
                return Err(FileError::ExportResaved { how }.into());
            }
            let found = super::mapping::nearest(required, header.iter().map(String::as_str));
            return Err(FileError::ColumnMissing { missing: required.to_owned(), found }.into());
        }
        let mut state = self.arrange(name, kind, template_of, &header, schema)?;
        let mut glued = Glued::default();
        let mut ended = true;
        loop {
            match table.next_row()? {
                Next::End => break,
                Next::Fault { line, code } => self.reject(Place::line(Some(name), line), code.into())?,
                Next::Row(row) if row.is_blank() => ended = true,
                Next::Row(row) => {
                    let place = Place::line(Some(name), row.line);
                    ended = row.ended;
                    match check_row(&row, header.len()) {
                        Ok(text) => match glued.check(&header, key, &text) {
                            Ok(()) => self.row(&mut state, &text, place)?,
                            Err(code) => self.reject(place, code)?,
                        },
                        Err((column, code)) => {
                            self.reject(column.map_or(place, |column| place.at_column(column)), code)?;
                        }
                    }
                }
            }
        }
        Opened::check_unchanged(&path, opened.fingerprint)?;
        Ok((state.customs, ended))
    }

    /// Matches a header by name, in any order, and announces its layout.
    fn arrange(
        &mut self,
        name: &'static str,
        kind: Kind,
        template_of: Option<Kind>,
        header: &[String],
        schema: &[Custom],
    ) -> Result<FileState, Stop> {
        let place = Place::whole(Some(name));
        let mut columns = Vec::with_capacity(header.len());
        let mut odd = Vec::new();
        for (number, title) in header.iter().enumerate() {
            let place = place.at_column(number);
            let standard = field::standard(kind).iter().find(|field| field.ocm_column.eq_ignore_ascii_case(title));
            let same: Vec<&Custom> = schema.iter().filter(|c| c.label.eq_ignore_ascii_case(title)).collect();
            let (field, field_type) = match (standard, same.as_slice()) {
                (Some(standard), []) => (standard.name.to_owned(), standard.field_type),
                (None, []) => {
                    odd.push((Defect::CustomWithoutSchema, place));
                    (format!("{CUSTOM_PREFIX}{title}"), FieldType::Text)
                }
                (standard, [first, others @ ..]) => {
                    let hides = standard.map(|_| (Defect::CustomHidesColumn, place));
                    let repeats = (!others.is_empty()).then_some((Defect::CustomRepeated, place));
                    odd.extend(hides.into_iter().chain(repeats));
                    odd.extend(first.field_type.is_none().then_some((Defect::CustomTypeUnknown, place)));
                    let known = first.field_type.filter(|_| others.is_empty());
                    (format!("{CUSTOM_PREFIX}{title}"), known.unwrap_or(FieldType::Text))
                }
            };
            columns.push(Column { name: title.clone(), field: free_field(field, number, &columns), field_type });
        }
        let unseen = schema.iter().filter(|custom| find_any_case(header, &custom.label).is_none());
        odd.extend(unseen.map(|_| (Defect::CustomWithoutColumn, place)));
        for (defect, place) in odd {
            self.defect(defect, place)?;
        }
        let is_custom_date =
            |column: &Column| column.field_type == FieldType::Date && column.field.starts_with(CUSTOM_PREFIX);
        let custom_dates: Vec<usize> = (0..).zip(&columns).filter(|(_, c)| is_custom_date(c)).map(|(n, _)| n).collect();
        let named_dates = columns.iter().filter(|column| is_custom_date(column)).map(|column| column.name.clone());
        let named_dates = named_dates.collect();
        let state = FileState {
            kind,
            layout: self.layouts,
            fields: columns.iter().enumerate().map(|(number, column)| (column.field.clone(), number)).collect(),
            types: columns.iter().map(|column| column.field_type).collect(),
            custom_dates,
            template_of,
            ids: HashSet::new(),
            occurrences: HashMap::new(),
            customs: Vec::new(),
        };
        self.layouts += 1;
        self.emit(Change::Layout(Layout { source: self.feed.source.to_owned(), kind, columns, named_dates }))?;
        Ok(state)
    }
}

/// Finds the files of an export among those of a directory. A program that copied or packed it may have changed the case of
/// their names; where two differ in that alone and neither is as the export writes it, nobody can tell which is meant.
fn on_disk(names: &[String]) -> BTreeMap<&'static str, String> {
    let find = |wanted: &'static str| {
        let exact = names.iter().find(|name| *name == wanted);
        let mut alike = names.iter().filter(|name| name.eq_ignore_ascii_case(wanted));
        let only = alike.next().filter(|_| alike.next().is_none());
        Some((wanted, exact.or(only)?.clone()))
    };
    SCHEMAS.iter().map(|schema| schema.0).chain(DATA.iter().map(|data| data.0)).filter_map(find).collect()
}

/// Returns a field that no earlier column fills: columns without a name may be many.
fn free_field(mut field: String, number: usize, columns: &[Column]) -> String {
    while columns.iter().any(|column| column.field == field) {
        field.push_str(&format!("#{}", number + 1));
    }
    field
}

/// Says how another program has written a file, if only so its header names the column that is needed.
fn resaved_header(head: &[u8], required: &str, limits: &Limits) -> Option<&'static str> {
    let names = |delimiter: Delimiter| {
        let mut trial = Table::over(head, delimiter.byte(), limits.row_bytes_max, limits.columns_max);
        read_header(&mut trial).is_ok_and(|header| find_any_case(&header, required).is_some())
    };
    let others = [(Delimiter::Semicolon, "with semicolons"), (Delimiter::Tab, "with tabulators")];
    if names(Delimiter::Comma) {
        return None;
    }
    others.into_iter().find(|(delimiter, _)| names(*delimiter)).map(|(_, how)| how)
}

/// PowerShell compares property names without regard to case.
fn find_any_case(header: &[String], name: &str) -> Option<usize> {
    find(header, name).or_else(|| header.iter().position(|column| column.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests;

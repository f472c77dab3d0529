//! The workbook: one sheet per kind and layout, typed, row by row, and never a formula.
//!
//! Numbers, truth values and dates become typed cells where the column says so and the text is exactly such a value;
//! everything else is text. A worksheet cannot tell null from `""`: for that there are the JSON Lines.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::civil;
use retention_core::evidence::{ExportItem, FileEntry};
use retention_core::id::Digest;
use retention_core::record::{FieldType, Layout};
use retention_core::time::Timestamp;
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook, Worksheet, XlsxError};

use super::durable::{Directory, create_file};
use super::ocm_csv::stem;
use super::{ArchiveError, WORKBOOK_FILE};
use crate::diagnostics;

/// Rows of one worksheet, the header included: a limit of the format. What does not fit goes on in the next sheet.
const SHEET_ROWS_MAX: u32 = 1_048_576;
/// Columns of one worksheet: a limit of the format.
const SHEET_COLUMNS_MAX: u16 = 16_384;
/// UTF-16 units of one cell: a limit of the format. Longer text is cut and counted.
const CELL_UNITS_MAX: usize = 32_767;
/// Digits that a double holds exactly; longer numbers stay text.
const NUMBER_DIGITS_MAX: usize = 15;
/// The first year whose dates are written as dates: a workbook counts 1900 as a leap year.
const YEAR_MIN: i16 = 1901;

/// What the library buffers of its temporary file, in bytes, and more: as much must fit on a disk that has room.
const ROOM_BYTES: usize = 64 * 1024;
/// A file that asks the disk whether it has room. It is removed at once, and with the bundle otherwise.
const ROOM_FILE: &str = ".room";

/// Writes the workbook of a bundle.
pub(super) struct Book {
    directory: PathBuf,
    workbook: Workbook,
    sheets: HashMap<(&'static str, Digest), Sheet>,
    numbers: BTreeMap<&'static str, u32>,
    header: Format,
    date: Format,
    instant: Format,
    cut_cells: u64,
}

#[derive(Clone, Copy)]
struct Sheet {
    index: usize,
    next_row: u32,
}

impl Book {
    /// Temporary files of the library are nameless and lie in the bundle's own directory.
    pub(super) fn in_directory(directory: &Path, exported_at: Timestamp) -> Result<Self, ArchiveError> {
        let mut workbook = Workbook::new();
        workbook.set_tempdir(directory).map_err(error_of)?;
        let made_at = ExcelDateTime::from_timestamp(exported_at.unix_seconds()).map_err(error_of)?;
        workbook.set_properties(&DocProperties::new().set_creation_datetime(&made_at));
        Ok(Self {
            directory: directory.to_owned(),
            workbook,
            sheets: HashMap::new(),
            numbers: BTreeMap::new(),
            header: Format::new().set_bold(),
            date: Format::new().set_num_format("yyyy-mm-dd"),
            instant: Format::new().set_num_format("yyyy-mm-dd\"T\"hh:mm:ss\"Z\""),
            cut_cells: 0,
        })
    }

    pub(super) fn add(&mut self, item: &ExportItem<'_>) -> Result<(), ArchiveError> {
        diagnostics::caught(|| self.add_row(item)).unwrap_or_else(|| Err(unwritten(&self.directory)))
    }

    fn add_row(&mut self, item: &ExportItem<'_>) -> Result<(), ArchiveError> {
        let layout = item.layout.layout();
        let stem = stem(layout.kind).ok_or(ArchiveError::NotExportable { kind: layout.kind })?;
        let key = (stem, item.layout.digest());
        let Sheet { index, next_row: row } = match self.sheets.get(&key) {
            Some(sheet) if sheet.next_row < SHEET_ROWS_MAX => *sheet,
            Some(_) | None => self.begin_sheet(stem, layout)?,
        };
        self.sheets.insert(key, Sheet { index, next_row: row + 1 });

        let sheet = self.workbook.worksheet_from_index(index).map_err(error_of)?;
        sheet.write_string(row, 0, item.entity.to_string()).map_err(error_of)?;
        for (number, cell) in item.record.cells.iter().enumerate() {
            let Some(text) = cell else { continue };
            let Some(column) = column_number(number) else {
                self.cut_cells += 1;
                continue;
            };
            let field_type = layout.columns.get(number).map_or(FieldType::Text, |column| column.field_type);
            let typed = match field_type {
                FieldType::Number => write_number(sheet, row, column, text)?,
                FieldType::Boolean => write_boolean(sheet, row, column, text)?,
                FieldType::Date => write_date(sheet, row, column, text, (&self.date, &self.instant))?,
                FieldType::Text | FieldType::List | FieldType::Money => false,
            };
            if !typed {
                let kept = cut(text);
                self.cut_cells += u64::from(kept.len() < text.len());
                sheet.write_string(row, column, kept).map_err(error_of)?;
            }
        }
        Ok(())
    }

    fn begin_sheet(&mut self, stem: &'static str, layout: &Layout) -> Result<Sheet, ArchiveError> {
        let number = self.numbers.entry(stem).or_default();
        *number += 1;
        let name = if *number == 1 { stem.to_owned() } else { format!("{stem} ({number})") };
        let sheet = self.workbook.add_worksheet_with_constant_memory().map_err(error_of)?;
        sheet.set_name(name).map_err(error_of)?;
        sheet.write_string_with_format(0, 0, "Entity", &self.header).map_err(error_of)?;
        for (number, column) in layout.columns.iter().enumerate() {
            let Some(place) = column_number(number) else { break };
            sheet.write_string_with_format(0, place, cut(&column.name), &self.header).map_err(error_of)?;
        }
        Ok(Sheet { index: self.workbook.worksheets().len().saturating_sub(1), next_row: 1 })
    }

    pub(super) fn finish(mut self, directory: &Directory) -> Result<FileEntry, ArchiveError> {
        let doing = ArchiveError::io;
        let mut file = directory.file(WORKBOOK_FILE).map_err(doing("make the workbook"))?;
        let saved = diagnostics::caught(|| self.workbook.save_to_writer(&mut file).map_err(error_of));
        saved.unwrap_or_else(|| Err(unwritten(&self.directory)))?;
        let finished = file.finish().map_err(doing("make the workbook durable"))?;
        Ok(FileEntry { cut_cells: self.cut_cells, ..finished.entry(WORKBOOK_FILE) })
    }
}

/// The column of a cell: the first one tells the entity.
fn column_number(cell: usize) -> Option<u16> {
    u16::try_from(cell + 1).ok().filter(|column| *column < SHEET_COLUMNS_MAX)
}

/// The library's messages can name worksheets and paths, so only what the system said is passed on.
fn error_of(error: XlsxError) -> ArchiveError {
    const DOING: &str = "write the workbook";
    match error {
        XlsxError::IoError(source) | XlsxError::TempFileError(_, source) => ArchiveError::Io { doing: DOING, source },
        other => match other.source().and_then(|source| source.downcast_ref::<io::Error>()) {
            Some(source) => ArchiveError::Io { doing: DOING, source: source.kind().into() },
            None => ArchiveError::Workbook,
        },
    }
}

/// The library panics when its temporary file cannot be written, and says nothing that could be told. Why, a file of our
/// own in the same place finds out.
fn unwritten(directory: &Path) -> ArchiveError {
    let path = directory.join(ROOM_FILE);
    let tried = create_file(&path).and_then(|mut file| {
        file.write_all(&[0; ROOM_BYTES])?;
        file.sync_all()
    });
    // It goes with the bundle in any case.
    let _ = std::fs::remove_file(&path);
    let source = tried.err().unwrap_or_else(|| io::ErrorKind::Other.into());
    ArchiveError::Io { doing: "write the workbook", source }
}

/// Returns as much of the text as a cell can hold.
fn cut(text: &str) -> &str {
    if text.len() <= CELL_UNITS_MAX {
        return text;
    }
    let mut units = 0;
    let end = text.char_indices().find(|(_, character)| {
        units += character.len_utf16();
        units > CELL_UNITS_MAX
    });
    end.and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

fn write_number(sheet: &mut Worksheet, row: u32, column: u16, text: &str) -> Result<bool, ArchiveError> {
    match number_of(text) {
        Some(number) => sheet.write_number(row, column, number).map(|_| true).map_err(error_of),
        None => Ok(false),
    }
}

fn write_boolean(sheet: &mut Worksheet, row: u32, column: u16, text: &str) -> Result<bool, ArchiveError> {
    let value = if text.eq_ignore_ascii_case("true") {
        true
    } else if text.eq_ignore_ascii_case("false") {
        false
    } else {
        return Ok(false);
    };
    sheet.write_boolean(row, column, value).map(|_| true).map_err(error_of)
}

fn write_date(
    sheet: &mut Worksheet,
    row: u32,
    column: u16,
    text: &str,
    (date, instant): (&Format, &Format),
) -> Result<bool, ArchiveError> {
    let Some(value) = date_of(text) else { return Ok(false) };
    let format = if text.len() == "yyyy-mm-dd".len() { date } else { instant };
    sheet.write_datetime_with_format(row, column, &value, format).map(|_| true).map_err(error_of)
}

/// A number in plain decimal writing that a double holds exactly. `007` is no number but a code.
fn number_of(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits(whole)
        && digits(fraction)
        && (whole == "0" || !whole.starts_with('0'))
        && unsigned.len() <= NUMBER_DIGITS_MAX;
    if plain { text.parse().ok() } else { None }
}

/// A date as `yyyy-mm-dd`, or an instant as `yyyy-mm-ddThh:mm:ssZ`; any other writing stays text.
fn date_of(text: &str) -> Option<ExcelDateTime> {
    let (local, is_instant) = match text.strip_suffix('Z') {
        Some(local) => (local, true),
        None => (text, false),
    };
    let at: civil::DateTime = local.parse().ok()?;
    let written = if is_instant { at.to_string() } else { at.date().to_string() };
    if written != local || at.year() < YEAR_MIN || at.subsec_nanosecond() != 0 {
        return None;
    }
    let part = |number: i8| u8::try_from(number).ok();
    let day = ExcelDateTime::from_ymd(u16::try_from(at.year()).ok()?, part(at.month())?, part(at.day())?).ok()?;
    day.and_hms(u16::try_from(at.hour()).ok()?, part(at.minute())?, f64::from(at.second())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_values_are_typed() {
        assert_eq!(number_of("-12.50"), Some(-12.5));
        for text in ["007", "1e5", "1,5", "", "-", ".5", "5.", "1234567890123456", "=1", " 1", "NaN"] {
            assert_eq!(number_of(text), None);
        }
        assert!(date_of("2020-04-10").is_some());
        assert!(date_of("2020-04-09T07:00:00Z").is_some());
        for text in ["1601-01-01", "2020-13-01", "10.4.2020", "2020-04-09T07:00:00", "2020-04-09 07:00:00Z", "", "Z"] {
            assert!(date_of(text).is_none());
        }
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"a".repeat(CELL_UNITS_MAX + 1)).len(), CELL_UNITS_MAX);
        assert_eq!(cut(&"é".repeat(CELL_UNITS_MAX)).chars().count(), CELL_UNITS_MAX);
        assert_eq!(cut(&"😀".repeat(CELL_UNITS_MAX)).chars().count(), CELL_UNITS_MAX / 2);
    }
}

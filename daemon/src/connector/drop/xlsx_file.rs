//! Rows of a workbook through a mapping. Typed cells become text without loss: dates in ISO form, whole numbers
//! without `.0`, `true` and `false`.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;

use calamine::{DataRef, Reader as _, SheetType, SheetVisible, Xlsx, XlsxError};
use retention_core::table::Fields;

use super::claimed::{Limits, Opened};
use super::day_order::{BYTES_LOOKED_MAX, DayOrder, ROWS_LOOKED_MAX};
use super::mapping::Mapping;
use super::typed::Typist;
use crate::connector::change::{Certainty, Change, Detected, Feed, Place, ReadSummary, Sink};
use crate::connector::defect::Defect;
use crate::connector::rejection::{FileError, RejectCode};

// What a workbook makes its reader hold.
mod cost;

use cost::Cost;

/// A claimed workbook.
#[derive(Debug)]
pub struct XlsxFeed<'a> {
    /// The name of the source in layouts.
    pub source: &'a str,
    /// How columns become fields.
    pub mapping: &'a Mapping,
    /// What the workbook may cost.
    pub limits: &'a Limits,
    /// Where it was claimed.
    pub path: &'a Path,
}

/// First bytes of the compound file that Excel makes of an encrypted workbook, and of the old `.xls`.
pub(super) const COMPOUND_FILE: [u8; 8] = [0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];

/// Most parts a workbook may have; a plain one has about ten, and one more for each sheet.
const PARTS_MAX: usize = 4_096;

/// Cell texts of one row.
#[derive(Default)]
struct Texts {
    cells: Vec<Option<Text>>,
    bytes: usize,
    /// The columns of formulas whose result is not in the workbook.
    without_result: Vec<usize>,
    /// Whether something stands beyond the last column that is read.
    is_too_wide: bool,
}

struct Text {
    text: String,
    typed: bool,
}

fn is_nothing(cell: &Option<Text>) -> bool {
    cell.as_ref().is_none_or(|cell| cell.text.is_empty())
}

impl Fields for Texts {
    fn count(&self) -> usize {
        self.cells.len()
    }

    fn cell(&self, number: usize) -> Option<&str> {
        Some(self.cells.get(number)?.as_ref()?.text.as_str())
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_typed(&self, number: usize) -> bool {
        self.cells.get(number).and_then(Option::as_ref).is_some_and(|cell| cell.typed)
    }
}

/// Unpacks every part once into nothing and refuses a workbook that holds more than the limit, or makes its reader hold more,
/// whatever it declares.
fn check_unpacked_size(file: &mut File, limits: &Limits) -> Result<(), FileError> {
    let mut first = [0; COMPOUND_FILE.len()];
    let read = file.read(&mut first)?;
    if read == 0 {
        return Err(FileError::Empty);
    }
    if first == COMPOUND_FILE {
        return Err(FileError::WorkbookEncrypted);
    }
    file.seek(SeekFrom::Start(0))?;
    let too_large = FileError::WorkbookTooLarge { max: limits.workbook_bytes_max };
    let mut archive = zip::ZipArchive::new(BufReader::new(&mut *file)).map_err(|_| FileError::WorkbookBroken)?;
    if archive.len() > PARTS_MAX {
        return Err(too_large);
    }
    let mut left = limits.workbook_bytes_max;
    for number in 0..archive.len() {
        let part = archive.by_index(number).map_err(|_| FileError::WorkbookBroken)?;
        let mut bounded = part.take(left.saturating_add(1));
        let mut cost = Cost::default();
        std::io::copy(&mut bounded, &mut cost).map_err(|_| FileError::WorkbookBroken)?;
        left = left.checked_sub(cost.total()).ok_or_else(|| too_large.clone())?;
    }
    drop(archive);
    file.seek(SeekFrom::Start(0))?;
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "it is the shape that map_err hands over")]
fn workbook_error(error: XlsxError) -> FileError {
    match error {
        XlsxError::Password => FileError::WorkbookEncrypted,
        XlsxError::WorksheetNotFound(_) => FileError::SheetMissing,
        _ => FileError::WorkbookBroken,
    }
}

fn to_text(value: &DataRef<'_>) -> Option<Text> {
    let typed = |text: String| Some(Text { text, typed: true });
    match value {
        DataRef::Empty => None,
        DataRef::String(text) => Some(Text { text: text.clone(), typed: false }),
        DataRef::SharedString(text) => Some(Text { text: (*text).to_owned(), typed: false }),
        DataRef::Bool(value) => typed(value.to_string()),
        DataRef::Int(value) => typed(value.to_string()),
        // Rust writes a float as the shortest text that reads back the same, and a whole one without fraction.
        DataRef::Float(value) => typed(value.to_string()),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => typed(text.clone()),
        DataRef::DateTime(value) if value.is_datetime() => typed(to_iso(value.to_ymd_hms_milli())),
        DataRef::DateTime(value) => typed(value.as_f64().to_string()),
        DataRef::Error(error) => Some(Text { text: error.to_string(), typed: false }),
    }
}

fn to_iso((year, month, day, hour, minute, second, milli): (u16, u8, u8, u8, u8, u8, u16)) -> String {
    match (hour, minute, second, milli) {
        (0, 0, 0, 0) => format!("{year:04}-{month:02}-{day:02}"),
        (_, _, _, 0) => format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"),
        _ => format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}"),
    }
}

/// Returns the first table that a person sees: exports keep lists of choices or query parameters on hidden sheets.
fn first_shown(sheets: &[calamine::Sheet]) -> Option<String> {
    sheets.iter().find(|sheet| is_shown(sheet)).map(|sheet| sheet.name.clone())
}

fn is_shown(sheet: &calamine::Sheet) -> bool {
    sheet.typ == SheetType::WorkSheet && sheet.visible == SheetVisible::Visible
}

/// Counts the other tables that a person sees and that hold anything: an empty one comes with every new workbook of an
/// older Excel.
fn others_shown<R: Read + Seek>(book: &mut Xlsx<R>, read: &str) -> usize {
    let is_other = |sheet: &&calamine::Sheet| is_shown(sheet) && sheet.name != read;
    let others: Vec<String> = book.sheets_metadata().iter().filter(is_other).map(|sheet| sheet.name.clone()).collect();
    // One that is damaged keeps nobody from reading the one that is not.
    others.iter().filter(|name| holds_anything(book, name).unwrap_or(true)).count()
}

fn holds_anything<R: Read + Seek>(book: &mut Xlsx<R>, name: &str) -> Result<bool, XlsxError> {
    let mut cells = book.worksheet_cells_reader(name)?;
    while let Some(cell) = cells.next_cell()? {
        if to_text(cell.get_value()).is_some_and(|text| !text.text.is_empty()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where the rows of a sheet go: the first one is the header.
struct Sheet<'a, 's, 'k> {
    feed: &'a XlsxFeed<'a>,
    sink: &'s mut Sink<'k>,
    typist: Option<Typist<'a>>,
    /// How many other sheets a person sees that may be meant.
    others: usize,
}

impl Sheet<'_, '_, '_> {
    fn take(&mut self, number: u64, mut texts: Texts) -> Result<ControlFlow<()>, FileError> {
        let is_empty = texts.cells.iter().all(is_nothing);
        if let Some(typist) = &mut self.typist {
            // It may be a record, and nobody can tell which.
            if is_empty && !texts.without_result.is_empty() {
                typist.miss_rows();
            }
            for column in std::mem::take(&mut texts.without_result) {
                typist.summary.defects += 1;
                let place = Place::line(None, number).at_column(column);
                if (self.sink)(Change::Defect(Defect::FormulaWithoutResult, place)).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        // Formulas that stand ready below a table give empty texts.
        if is_empty && !texts.is_too_wide {
            return Ok(ControlFlow::Continue(()));
        }
        let place = Place::line(None, number);
        let too_wide = texts.is_too_wide.then_some(RejectCode::TooManyCells { max: self.feed.limits.columns_max });
        let Some(typist) = &mut self.typist else {
            if let Some(code) = too_wide {
                return Err(FileError::HeaderBroken(Box::new(code)));
            }
            let typist = Typist::for_header(self.feed.source, self.feed.mapping, &header_of(texts));
            let (layout, mut typist) = typist.map_err(|error| match error {
                FileError::ColumnMissing { missing, .. } if self.others > 0 => FileError::SheetDoubtful { missing },
                other => other,
            })?;
            let certainty = Certainty::Named;
            typist.summary.detected.push(Detected { file: None, encoding: "xlsx", delimiter: None, certainty });
            self.typist = Some(typist);
            return Ok((self.sink)(Change::Layout(layout)));
        };
        if let Some(code) = too_wide {
            return Ok(typist.reject(place, code, self.sink));
        }
        let expected = typist.width();
        // A formula beside the table may give an empty text.
        while texts.cells.len() > expected && texts.cells.last().is_some_and(is_nothing) {
            texts.cells.pop();
        }
        let found = texts.cells.len();
        if found > expected {
            return Ok(typist.reject(place.at_column(expected), RejectCode::Ragged { expected, found }, self.sink));
        }
        if texts.bytes > self.feed.limits.row_bytes_max {
            return Ok(typist.reject(place, RejectCode::RowTooLong { max: self.feed.limits.row_bytes_max }, self.sink));
        }
        // A sheet does not write the empty cells at the end of a row.
        texts.cells.resize_with(expected, || None);
        Ok(typist.tell(&texts, place, self.sink))
    }
}

/// Returns the names of the columns that a row holds.
fn header_of(texts: Texts) -> Vec<String> {
    texts.cells.into_iter().map(|cell| cell.map_or_else(String::new, |cell| cell.text)).collect()
}

impl XlsxFeed<'_> {
    /// Hands out the rows of a sheet that hold anything, with their numbers.
    fn each_row<R: Read + Seek>(
        &self,
        book: &mut Xlsx<R>,
        name: &str,
        each: &mut dyn FnMut(u64, Texts) -> Result<ControlFlow<()>, FileError>,
    ) -> Result<ControlFlow<()>, FileError> {
        let mut cells = book.worksheet_cells_reader(name).map_err(workbook_error)?;
        let mut flow = ControlFlow::Continue(());
        let mut texts = Texts::default();
        let mut row: Option<u32> = None;
        while flow.is_continue() {
            let cell = cells.next_cell_with_formula_metadata().map_err(workbook_error)?;
            let position = cell.as_ref().map(|cell| cell.pos);
            if row.is_some() && position.map(|(at, _)| at) != row {
                let number = u64::from(row.unwrap_or_default()) + 1;
                flow = each(number, std::mem::take(&mut texts))?;
            }
            let (Some(cell), Some((at, column))) = (cell, position) else { break };
            row = Some(at);
            let column = column as usize;
            // Programs also write cells that have no more than a colour, out to the last column of the sheet.
            let Some(text) = to_text(&cell.value) else {
                if cell.formula.is_some() {
                    texts.without_result.push(column);
                }
                continue;
            };
            if column >= self.limits.columns_max {
                texts.is_too_wide |= !text.text.is_empty();
                continue;
            }
            if texts.cells.len() <= column {
                texts.cells.resize_with(column + 1, || None);
            }
            texts.bytes += text.text.len();
            if let Some(slot) = texts.cells.get_mut(column) {
                *slot = Some(text);
            }
        }
        Ok(flow)
    }

    /// Reads ahead, where a mapping says whether the day stands first, to see whether that is so. What else is wrong is told
    /// by whoever reads the rows.
    fn check_dates<R: Read + Seek>(&self, book: &mut Xlsx<R>, name: &str) -> Result<(), FileError> {
        if !DayOrder::is_asked(self.mapping) {
            return Ok(());
        }
        let mut orders: Option<Vec<DayOrder<'_>>> = None;
        let (mut rows, mut bytes) = (0, 0);
        let _ = self.each_row(book, name, &mut |_, texts| {
            if texts.cells.iter().all(is_nothing) {
                return Ok(ControlFlow::Continue(()));
            }
            rows += 1;
            bytes += texts.bytes;
            match &mut orders {
                Some(orders) => orders.iter_mut().for_each(|order| order.look(&texts)),
                None => match Typist::for_header(self.source, self.mapping, &header_of(texts)) {
                    Ok((_, typist)) => orders = Some(typist.day_orders()),
                    Err(_) => return Ok(ControlFlow::Break(())),
                },
            }
            let is_enough = rows > ROWS_LOOKED_MAX || bytes > BYTES_LOOKED_MAX;
            Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        orders.iter().flatten().try_for_each(DayOrder::check)
    }
}

impl Feed for XlsxFeed<'_> {
    fn read(&mut self, sink: &mut Sink<'_>) -> Result<ReadSummary, FileError> {
        let mut opened = Opened::at(self.path, self.limits)?;
        check_unpacked_size(&mut opened.file, self.limits)?;
        let mut book: Xlsx<_> = Xlsx::new(BufReader::new(opened.file)).map_err(workbook_error)?;
        let name = match &self.mapping.sheet {
            Some(name) => name.clone(),
            None => first_shown(book.sheets_metadata()).ok_or(FileError::SheetMissing)?,
        };
        let others = if self.mapping.sheet.is_none() { others_shown(&mut book, &name) } else { 0 };
        self.check_dates(&mut book, &name)?;
        let mut sheet = Sheet { feed: self, sink, typist: None, others };
        let mut flow = self.each_row(&mut book, &name, &mut |number, texts| sheet.take(number, texts))?;
        let mut typist = sheet.typist.ok_or(FileError::NoHeader)?;
        if flow.is_continue() {
            Opened::check_unchanged(self.path, opened.fingerprint)?;
            for _ in 0..others {
                typist.summary.defects += 1;
                typist.miss_rows();
                flow = (sheet.sink)(Change::Defect(Defect::SheetUnread, Place::whole(None)));
                if flow.is_break() {
                    break;
                }
            }
            if flow.is_continue() {
                flow = typist.end(sheet.sink);
            }
        }
        typist.summary.stopped = flow.is_break();
        Ok(typist.summary)
    }
}

#[cfg(test)]
mod tests {
    use rust_xlsxwriter::{ExcelDateTime, Format, Workbook, Worksheet};

    use super::*;

    const MAPPING: &str = "schema = 1\nkind = \"deal\"\nfiles = [\"*.xlsx\"]\ncontent = \"snapshot\"\nid = [\"Id\"]\n\
        decimal = \"comma\"\n[[column]]\nname = \"Amount\"\nfield = \"amount\"\n\
        [[date]]\ncolumn = \"End\"\nrole = \"contract_end\"\nformat = \"czech\"\nzone = \"UTC\"\n";

    fn write_header(sheet: &mut Worksheet, names: &[&str]) {
        for (column, name) in (0..).zip(names) {
            sheet.write(0, column, *name).unwrap();
        }
    }

    fn book() -> Vec<u8> {
        let mut book = Workbook::new();
        let sheet = book.add_worksheet();
        let date = Format::new().set_num_format("yyyy-mm-dd");
        write_header(sheet, &["Id", "Amount", "End", "Open", "Note"]);
        sheet.write(1, 0, 17).unwrap();
        sheet.write(1, 1, 1234.5).unwrap();
        sheet.write_with_format(1, 2, ExcelDateTime::from_ymd(2025, 12, 31).unwrap(), &date).unwrap();
        sheet.write(1, 3, true).unwrap();
        sheet.write(3, 0, "18").unwrap();
        sheet.write(3, 1, "1 234,50").unwrap();
        sheet.write(3, 2, "31. 12. 2025").unwrap();
        sheet.write(4, 1, "no id").unwrap();
        book.save_to_buffer().unwrap()
    }

    fn read(bytes: &[u8], mapping: &str, limits: &Limits) -> (Vec<Change>, Result<ReadSummary, FileError>) {
        let mapping = Mapping::parse(mapping).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.xlsx");
        std::fs::write(&path, bytes).unwrap();
        let mut changes = Vec::new();
        let mut feed = XlsxFeed { source: "crm", mapping: &mapping, limits, path: &path };
        let summary = feed.read(&mut |change| {
            changes.push(change);
            ControlFlow::Continue(())
        });
        (changes, summary)
    }

    #[test]
    fn typed_cells_become_text_without_loss_and_texts_follow_the_mapping() {
        let (changes, summary) = read(&book(), MAPPING, &Limits::default());
        let cells: Vec<(u64, Vec<Option<String>>)> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Row(row) => {
                    Some((row.place.line, row.cells.iter().map(|cell| cell.map(str::to_owned)).collect()))
                }
                _ => None,
            })
            .collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(cells[0], (2, vec![text("17"), text("1234.5"), text("2025-12-31"), text("true"), None]));
        assert_eq!(cells[1], (4, vec![text("18"), text("1234.50"), text("2025-12-31"), None, None]));
        let summary = summary.unwrap();
        assert_eq!(
            (summary.rows, summary.rejected, summary.defects),
            (2, 1, 1),
            "the row without id spoils the snapshot"
        );
        assert!(!changes.iter().any(|change| matches!(change, Change::SnapshotOf { .. })));
    }

    #[test]
    fn an_id_of_more_digits_than_a_workbook_keeps_is_that_of_many() {
        let mapping =
            MAPPING.to_owned() + "[[link]]\ncolumn = \"Firm\"\nkind = \"company\"\nrelation = \"associated\"\n";
        let mut book = Workbook::new();
        let sheet = book.add_worksheet();
        write_header(sheet, &["Id", "Amount", "End", "Firm"]);
        sheet.write(1, 0, 1_234_567_890_123_456_789_u64).unwrap();
        sheet.write(2, 0, 1_234_567_890_123_456_700_u64).unwrap();
        sheet.write(3, 0, 123_456_789_012_345_u64).unwrap();
        sheet.write(4, 0, "1234567890123456789").unwrap();
        sheet.write(5, 0, "D5").unwrap();
        sheet.write(5, 3, 1_234_567_890_123_456_789_u64).unwrap();
        let (changes, _) = read(&book.save_to_buffer().unwrap(), &mapping, &Limits::default());
        let told = |change: &Change| match change {
            Change::Row(row) => Some((row.place.line, "row")),
            Change::Rejected(rejection) => Some((rejection.place.line, rejection.code.name())),
            _ => None,
        };
        let spoiled = "spoiled_by_spreadsheet";
        let expected = [(2, spoiled), (3, spoiled), (4, "row"), (5, "row"), (6, spoiled)];
        assert_eq!(changes.iter().filter_map(told).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_row_of_empty_texts_is_no_row_and_no_header() {
        let (mapping, limits) = (Mapping::parse(MAPPING).unwrap(), Limits::default());
        let feed = XlsxFeed { source: "crm", mapping: &mapping, limits: &limits, path: Path::new("x.xlsx") };
        let mut told = Vec::new();
        let mut sink = |change: Change| {
            told.push(change);
            ControlFlow::Continue(())
        };
        let mut sheet = Sheet { feed: &feed, sink: &mut sink, typist: None, others: 0 };
        let rows = [["", "", ""], ["Id", "Amount", "End"], ["", "", ""], ["17", "", ""]];
        for (number, row) in (1..).zip(rows) {
            let cells = row.map(|text| Some(Text { text: text.to_owned(), typed: false })).into();
            assert!(sheet.take(number, Texts { cells, bytes: 12, ..Texts::default() }).unwrap().is_continue());
        }
        assert!(matches!(told.as_slice(), [Change::Layout(_), Change::Row(_)]), "{told:?}");
    }

    #[test]
    fn what_stands_beside_the_table_spoils_its_own_row_and_what_is_empty_there_none() {
        let mut book = Workbook::new();
        let sheet = book.add_worksheet();
        let red = Format::new().set_background_color(rust_xlsxwriter::Color::Red);
        write_header(sheet, &["Id", "Amount", "End"]);
        for (row, id) in (1..).zip(["17", "18", "19", "20"]) {
            sheet.write(row, 0, id).unwrap();
        }
        sheet.write_blank(0, 16_383, &red).unwrap();
        sheet.write_blank(1, 16_383, &red).unwrap();
        sheet.write(2, 5_000, "far").unwrap();
        sheet.write(3, 4, "near").unwrap();
        // The library writes a zero where nothing is the result, unless it is told so.
        sheet.set_formula_result_default("");
        sheet.write_formula(4, 5, "=IF(1,\"\",1)").unwrap();
        let bytes = book.save_to_buffer().unwrap();
        let told = |bytes: &[u8]| {
            let (changes, summary) = read(bytes, MAPPING, &Limits::default());
            let rejected = |change: &Change| match change {
                Change::Rejected(rejection) => Some((rejection.place.line, rejection.code.name())),
                _ => None,
            };
            (changes.iter().filter_map(rejected).collect::<Vec<_>>(), summary.map(|summary| summary.rows))
        };
        assert_eq!(told(&bytes), (vec![(3, "too_many_cells"), (4, "ragged")], Ok(2)));
    }

    #[test]
    fn a_day_is_read_alike_as_number_as_text_of_a_workbook_and_by_its_digits() {
        let mapping = MAPPING.replace("\"czech\"", "\"%Y%m%d\"");
        let mut book = Workbook::new();
        let sheet = book.add_worksheet();
        let date = Format::new().set_num_format("yyyy-mm-dd");
        write_header(sheet, &["Id", "Amount", "End"]);
        for (row, id) in (1..).zip(["17", "18", "19"]) {
            sheet.write(row, 0, id).unwrap();
        }
        sheet.write_with_format(1, 2, ExcelDateTime::from_ymd(2025, 12, 31).unwrap(), &date).unwrap();
        sheet.write(2, 2, 20_251_231).unwrap();
        // Seven digits may have lost a zero.
        sheet.write(3, 2, 2_025_123).unwrap();
        let (changes, _) = read(&book.save_to_buffer().unwrap(), &mapping, &Limits::default());
        let dates = |change: &Change| match change {
            Change::Row(row) => Some(row.dates.first().map(|(_, at)| at.to_string())),
            _ => None,
        };
        let day = Some("2025-12-31T23:59:59.999999Z".to_owned());
        assert_eq!(changes.iter().filter_map(dates).collect::<Vec<_>>(), [day.clone(), day, None]);
    }

    #[test]
    fn dates_that_a_spreadsheet_has_turned_are_refused() {
        let mapping = MAPPING.replace("\"czech\"", "\"%d/%m/%Y\"");
        let read = |texts: &[&str], days: &[u8]| {
            let mut book = Workbook::new();
            let sheet = book.add_worksheet();
            let date = Format::new().set_num_format("yyyy-mm-dd");
            write_header(sheet, &["Id", "Amount", "End"]);
            for (row, text) in (1..).zip(texts) {
                sheet.write(row, 0, row).unwrap();
                sheet.write(row, 2, *text).unwrap();
            }
            for (row, day) in (100..).zip(days) {
                sheet.write(row, 0, row).unwrap();
                sheet.write_with_format(row, 2, ExcelDateTime::from_ymd(2025, 4, *day).unwrap(), &date).unwrap();
            }
            let (changes, summary) = read(&book.save_to_buffer().unwrap(), &mapping, &Limits::default());
            summary.map(|summary| summary.rows).map_err(|error| (error.name(), changes.len()))
        };
        // Where it takes the month first, `31/12/2025` stays a text, and `04/05/2025` becomes the fifth of April.
        let texts = ["31/12/2025"; 8];
        assert_eq!(read(&texts, &[1, 2, 3, 5, 8, 10, 11, 12]), Err(("dates_turned_by_spreadsheet", 0)));
        assert_eq!(read(&texts, &[1, 2, 3, 5, 8, 10, 11, 13]), Ok(16), "a day that it has not turned");
        assert_eq!(read(&texts[..3], &[1, 2, 3]), Ok(6), "too few to say so");
        // Whoever writes texts of all days beside dates has turned none.
        let early = [1, 2, 3, 5, 8, 10, 11, 12];
        let all_days = [&texts[..], &["04/05/2025"; 2]].concat();
        assert_eq!((read(&all_days, &early), read(&all_days[..9], &early).is_err()), (Ok(18), true));
        assert_eq!(read(&[], &[1, 2, 3, 5, 8, 10, 11, 12]), Ok(8));
        assert_eq!(read(&["12/31/2025", "04/05/2025"], &[]), Err(("dates_turned", 0)));
    }

    #[test]
    fn without_a_name_the_first_sheet_that_is_shown_is_read() {
        let mut book = Workbook::new();
        for (id, is_hidden) in [("hidden", true), ("shown", false), ("later", false)] {
            let sheet = book.add_worksheet();
            sheet.set_name(id).unwrap().set_hidden(is_hidden).set_active(id == "shown");
            write_header(sheet, &["Id", "Amount", "End"]);
            sheet.write(1, 0, id).unwrap();
        }
        let bytes = book.save_to_buffer().unwrap();
        let ids = |mapping: &str| {
            let (changes, _) = read(&bytes, mapping, &Limits::default());
            let id = |change: &Change| match change {
                Change::Row(row) => Some(row.external_id.clone()),
                _ => None,
            };
            assert_eq!(
                changes.iter().any(|change| matches!(change, Change::SnapshotOf { .. })),
                mapping.contains("sheet"),
                "what stands on a sheet that was not read is not gone"
            );
            let unread =
                changes.iter().filter(|change| matches!(change, Change::Defect(Defect::SheetUnread, _))).count();
            (changes.iter().filter_map(id).collect::<Vec<_>>(), unread)
        };
        // The one behind it may hold more of them; an empty one holds nothing.
        assert_eq!(ids(MAPPING), (vec!["shown".to_owned()], 1));
        let named = ids(&MAPPING.replace("content", "sheet = \"hidden\"\ncontent"));
        assert_eq!(named, (vec!["hidden".to_owned()], 0));
    }

    #[test]
    fn a_cover_sheet_is_told_with_the_choice_to_make() {
        let mut book = Workbook::new();
        book.add_worksheet().write(0, 0, "Deals of this year").unwrap();
        book.add_worksheet().write(0, 0, "Id").unwrap();
        let told = read(&book.save_to_buffer().unwrap(), MAPPING, &Limits::default()).1;
        assert_eq!(told, Err(FileError::SheetDoubtful { missing: "Id".into() }));
    }

    #[test]
    fn a_formula_whose_result_was_never_saved_is_told_and_one_that_gives_nothing_is_not() {
        let mut book = Workbook::new();
        let sheet = book.add_worksheet();
        write_header(sheet, &["Id", "Amount", "End"]);
        sheet.write(1, 0, "17").unwrap();
        sheet.write_formula(1, 1, rust_xlsxwriter::Formula::new("=1+1").set_result("2")).unwrap();
        sheet.set_formula_result_default("");
        sheet.write_formula(1, 2, "=IF(1,\"\",1)").unwrap();
        let bytes = book.save_to_buffer().unwrap();
        let told = |bytes: &[u8]| {
            let (changes, summary) = read(bytes, MAPPING, &Limits::default());
            let at = |change: &Change| match change {
                Change::Defect(Defect::FormulaWithoutResult, place) => Some((place.line, place.column)),
                _ => None,
            };
            (changes.iter().filter_map(at).collect::<Vec<_>>(), summary.unwrap().rows)
        };
        assert_eq!(told(&bytes), (Vec::new(), 1));
        // As programs write it that compute nothing.
        let stripped = without_results(&bytes);
        assert_eq!(told(&stripped), (vec![(2, Some(2)), (2, Some(3))], 1));
    }

    #[test]
    fn a_row_of_formulas_without_results_is_not_gone() {
        let mut book = Workbook::new();
        let sheet = book.add_worksheet();
        write_header(sheet, &["Id", "Amount", "End"]);
        sheet.write(1, 0, "17").unwrap();
        sheet.write_formula(2, 0, rust_xlsxwriter::Formula::new("=10+8").set_result("18")).unwrap();
        let bytes = book.save_to_buffer().unwrap();
        let told = |bytes: &[u8]| {
            let (changes, summary) = read(bytes, MAPPING, &Limits::default());
            (changes.iter().any(|change| matches!(change, Change::SnapshotOf { .. })), summary.unwrap().rows)
        };
        assert_eq!(told(&bytes), (true, 2));
        assert_eq!(told(&without_results(&bytes)), (false, 1));
    }

    /// Takes the results of formulas out of a workbook.
    fn without_results(bytes: &[u8]) -> Vec<u8> {
        with_parts(bytes, |text| {
            let mut kept = String::new();
            for piece in text.split_inclusive("</f>") {
                let is_behind_formula = kept.ends_with("</f>");
                let end = piece.find("</v>").filter(|_| is_behind_formula).map_or(0, |at| at + "</v>".len());
                kept.push_str(&piece[end..]);
            }
            kept
        })
    }

    /// Writes a workbook anew, each part as it is changed.
    fn with_parts(bytes: &[u8], change: impl Fn(&str) -> String) -> Vec<u8> {
        use std::io::{Cursor, Write as _};
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut out = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for number in 0..archive.len() {
            let mut part = archive.by_index(number).unwrap();
            let mut text = String::new();
            part.read_to_string(&mut text).unwrap();
            out.start_file(part.name().unwrap(), zip::write::SimpleFileOptions::default()).unwrap();
            out.write_all(change(&text).as_bytes()).unwrap();
        }
        out.finish().unwrap().into_inner()
    }

    #[test]
    fn a_workbook_that_speaks_of_more_than_anybody_can_hold_is_refused_before_it_is_read() {
        let told = |from: &str, to: &str| {
            let bytes = with_parts(&book(), |text| text.replacen(from, to, 1));
            read(&bytes, MAPPING, &Limits::default()).1
        };
        let too_large = Err(FileError::WorkbookTooLarge { max: Limits::default().workbook_bytes_max });
        // Each of these numbers ended the process, at each start again.
        for number in ["1000000000000", "99999999999999999", "18446744073709551615"] {
            assert_eq!(told("uniqueCount=\"", &format!("uniqueCount=\"{number}\" was=\"")), too_large, "{number}");
            let formula = format!("<f t=\"shared\" ref=\"A2:A3\" si=\"{number}\">1</f><v>");
            assert_eq!(told("<v>", &formula), too_large, "{number}");
        }
        // A program that counts otherwise is no reason to refuse.
        assert!(told("uniqueCount=\"", "uniqueCount=\"9999\" was=\"").is_ok());
    }

    #[test]
    fn broken_encrypted_large_and_foreign_workbooks_say_so() {
        let bytes = book();
        let told = |bytes: &[u8], limits: &Limits| read(bytes, MAPPING, limits).1.unwrap_err();
        let limits = Limits::default();
        assert_eq!(told(b"", &limits), FileError::Empty);
        assert_eq!(told(b"Id;Amount\n1;2\n", &limits), FileError::WorkbookBroken);
        assert_eq!(told(&bytes[..bytes.len() / 2], &limits), FileError::WorkbookBroken);
        assert_eq!(told(&[&COMPOUND_FILE[..], &[0; 600]].concat(), &limits), FileError::WorkbookEncrypted);
        let small = Limits { workbook_bytes_max: 500, ..Limits::default() };
        assert_eq!(told(&bytes, &small), FileError::WorkbookTooLarge { max: 500 });
        let other = MAPPING.replace("content", "sheet = \"Deals\"\ncontent");
        assert_eq!(read(&bytes, &other, &limits).1, Err(FileError::SheetMissing));
    }

    #[test]
    fn a_workbook_with_any_byte_changed_never_panics() {
        let bytes = book();
        for at in (0..bytes.len()).step_by(bytes.len() / 97 + 1) {
            let mut broken = bytes.clone();
            broken[at] ^= 0x55;
            let _ = read(&broken, MAPPING, &Limits::default());
        }
    }
}

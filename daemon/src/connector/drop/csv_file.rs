//! Rows of delimited text through a mapping.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;

use retention_core::table::{self, Fields as _, Next, Table};
use retention_core::text::{self, Delimiter, DetectedEncoding, HEAD_BYTES, Utf8Reader};

use super::claimed::{Limits, Opened};
use super::day_order::{BYTES_LOOKED_MAX, DayOrder, ROWS_LOOKED_MAX};
use super::mapping::Mapping;
use super::typed::{Typist, find};
use super::xlsx_file::COMPOUND_FILE;
use crate::connector::change::{Certainty, Change, Detected, Feed, Place, ReadSummary, Sink};
use crate::connector::defect::Defect;
use crate::connector::rejection::{FileError, RejectCode};

/// A claimed file of delimited text.
#[derive(Debug)]
pub struct CsvFeed<'a> {
    /// The name of the source in layouts.
    pub source: &'a str,
    /// How columns become fields.
    pub mapping: &'a Mapping,
    /// What the file may cost.
    pub limits: &'a Limits,
    /// Where it was claimed.
    pub path: &'a Path,
}

/// Opens a text behind its byte order mark.
pub(super) fn open_text(
    mut file: File,
    named: Option<text::Encoding>,
) -> Result<(Utf8Reader<File>, DetectedEncoding), FileError> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    file.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    if head.is_empty() {
        return Err(FileError::Empty);
    }
    match head.as_slice() {
        [b'P', b'K', 3, 4, ..] => return Err(FileError::ZipArchive),
        _ if head.starts_with(&COMPOUND_FILE) => return Err(FileError::WorkbookEncrypted),
        _ => {}
    }
    let seen = text::detect(&head, named)?;
    // Names may have their first such letter far behind the head: read in the code page, they would be others.
    if let Some(named) = named.filter(|named| named.is_code_page() && head.is_ascii())
        && text::is_only_utf8_to_the_end(&mut file)?
    {
        return Err(FileError::EncodingContradicted { mark: text::Encoding::Utf8.name(), named: named.name() });
    }
    file.seek(SeekFrom::Start(seen.mark_bytes as u64))?;
    Ok((Utf8Reader::behind_mark(file, seen.encoding), seen))
}

/// Reads the header row.
pub(super) fn read_header<R: Read>(table: &mut Table<R>) -> Result<Vec<String>, FileError> {
    match table.next_row()? {
        Next::End => Err(FileError::NoHeader),
        Next::Fault { code, .. } => Err(FileError::HeaderBroken(Box::new(code.into()))),
        Next::Row(row) => {
            let text = row.text().map_err(|(_, code)| FileError::HeaderBroken(Box::new(code.into())))?;
            let header = (0..text.count()).map(|number| text.cell(number).unwrap_or_default().to_owned());
            let header: Vec<String> = header.collect();
            if header.iter().all(|name| name.trim().is_empty()) { Err(FileError::NoHeader) } else { Ok(header) }
        }
    }
}

/// Decides the delimiter: the mapping, the `sep=` line, or the only one with which the header has what is needed.
fn decide_delimiter<R: Read>(
    table: &mut Table<R>,
    mapping: &Mapping,
    limits: &Limits,
) -> Result<(Delimiter, Certainty), FileError> {
    let said = table.take_separator_line()?;
    let of_char = |said: char| Delimiter::ALL.into_iter().find(|delimiter| char::from(delimiter.byte()) == said);
    match (mapping.delimiter, said) {
        (Some(named), None) => return Ok((named, Certainty::Named)),
        (named, Some(said)) => {
            let delimiter = of_char(said).ok_or(FileError::DelimiterContradicted { said })?;
            if named.is_some_and(|named| named != delimiter) {
                return Err(FileError::DelimiterContradicted { said });
            }
            return Ok((delimiter, Certainty::Detected));
        }
        (None, None) => {}
    }
    let head = table.peek()?.to_vec();
    let required = mapping.required();
    let mut fitting = Vec::new();
    let mut splitting = Vec::new();
    for delimiter in Delimiter::ALL {
        let mut trial = Table::over(head.as_slice(), delimiter.byte(), limits.row_bytes_max, limits.columns_max);
        let Ok(header) = read_header(&mut trial) else { continue };
        if header.len() > 1 {
            splitting.push(delimiter);
        }
        if required.iter().all(|name| find(&header, name).is_some()) {
            fitting.push(delimiter);
        }
    }
    match (fitting.as_slice(), splitting.as_slice()) {
        ([only], _) => Ok((*only, Certainty::Detected)),
        // Nothing fits: with one way to split, the header itself is wrong, and that is the better answer.
        ([], [only]) => Ok((*only, Certainty::Detected)),
        // One column: every delimiter reads it alike.
        (_, []) => Ok((Delimiter::Comma, Certainty::Detected)),
        _ => Err(FileError::DelimiterDoubtful),
    }
}

impl CsvFeed<'_> {
    /// Reads ahead, where a mapping says whether the day stands first, to see whether that is so.
    fn check_dates(&self, typist: &Typist<'_>, delimiter: Delimiter) -> Result<(), FileError> {
        let mut orders = typist.day_orders();
        if orders.is_empty() {
            return Ok(());
        }
        let (reader, _) = open_text(Opened::at(self.path, self.limits)?.file, self.mapping.encoding)?;
        let mut table = Table::over(reader, delimiter.byte(), self.limits.row_bytes_max, self.limits.columns_max);
        table.take_separator_line()?;
        read_header(&mut table)?;
        let mut bytes = 0;
        for _ in 0..ROWS_LOOKED_MAX {
            if bytes > BYTES_LOOKED_MAX {
                break;
            }
            match table.next_row()? {
                Next::End => break,
                Next::Fault { .. } => {}
                Next::Row(row) => {
                    if let Ok(text) = check_row(&row, typist.width()) {
                        bytes += text.bytes();
                        orders.iter_mut().for_each(|order| order.look(&text));
                    }
                }
            }
        }
        orders.iter().try_for_each(DayOrder::check)
    }
}

impl Feed for CsvFeed<'_> {
    fn read(&mut self, sink: &mut Sink<'_>) -> Result<ReadSummary, FileError> {
        let opened = Opened::at(self.path, self.limits)?;
        let (reader, seen) = open_text(opened.file, self.mapping.encoding)?;
        let mut table = Table::over(reader, b',', self.limits.row_bytes_max, self.limits.columns_max);
        let (delimiter, certainty) = decide_delimiter(&mut table, self.mapping, self.limits)?;
        table.set_delimiter(delimiter.byte());
        let header = read_header(&mut table)?;
        let (layout, mut typist) = Typist::for_header(self.source, self.mapping, &header)?;
        self.check_dates(&typist, delimiter)?;
        let both_named = certainty == Certainty::Named && seen.certainty == Certainty::Named;
        typist.summary.detected.push(Detected {
            file: None,
            encoding: seen.encoding.name(),
            delimiter: Some(delimiter.name()),
            certainty: if both_named { Certainty::Named } else { Certainty::Detected },
        });
        let mut flow = sink(Change::Layout(layout));
        while flow.is_continue() {
            flow = match table.next_row()? {
                Next::End => {
                    Opened::check_unchanged(self.path, opened.fingerprint)?;
                    flow = typist.end(sink);
                    break;
                }
                Next::Fault { line, code } => typist.reject(Place::line(None, line), code.into(), sink),
                Next::Row(row) if row.is_blank() => ControlFlow::Continue(()),
                Next::Row(row) => {
                    let place = Place::line(None, row.line);
                    match check_row(&row, typist.width()) {
                        Ok(text) => match cell_with_rows(&text, delimiter.byte()) {
                            Some(column) => {
                                typist.summary.defects += 1;
                                typist.miss_rows();
                                match sink(Change::Defect(Defect::CellHoldsRows, place.at_column(column))) {
                                    ControlFlow::Continue(()) => typist.tell(&text, place, sink),
                                    ended => ended,
                                }
                            }
                            None => typist.tell(&text, place, sink),
                        },
                        Err((column, code)) => typist.reject(column.map_or(place, |c| place.at_column(c)), code, sink),
                    }
                }
            };
        }
        typist.summary.stopped = flow == ControlFlow::Break(());
        Ok(typist.summary)
    }
}

/// From so many columns on, lines of a note are hardly divided by chance as the rows around it are.
const COLUMNS_TELLING: usize = 5;

/// Returns the number of a cell whose lines are divided as rows are: where it begins in one row and ends in another, and each
/// line between is a whole one. Behind a delimiter and a blank no quoted cell begins, so a text with such a blank behind most
/// of its commas is what somebody wrote.
fn cell_with_rows(row: &table::TextRow<'_>, delimiter: u8) -> Option<usize> {
    let last = row.count().checked_sub(1).filter(|last| last + 1 >= COLUMNS_TELLING)?;
    (0..=last).find(|&number| {
        let cell = row.cell(number).filter(|cell| cell.contains('\n'));
        let Some((first, rest)) = cell.and_then(|cell| cell.split_once('\n')) else { return false };
        let divided = |line: &str| line.bytes().filter(|byte| *byte == delimiter).count();
        let (between, end) = rest.rsplit_once('\n').unwrap_or(("", rest));
        divided(first) == last - number
            && divided(end) == number
            && between.lines().all(|line| line.is_empty() || divided(line) == last)
            && (number == 0 || !cell.is_some_and(|cell| is_prose(cell, delimiter)))
    })
}

/// Says whether one blank follows on most of the delimiters in a text.
fn is_prose(text: &str, delimiter: u8) -> bool {
    let all = text.bytes().filter(|byte| *byte == delimiter).count();
    let is_spaced = |three: &&[u8]| matches!(three, [sign, b' ', next] if *sign == delimiter && *next != b' ');
    text.as_bytes().windows(3).filter(is_spaced).count() * 2 > all
}

/// Returns a row as text if it has as many cells as the header has columns.
#[inline]
pub(super) fn check_row<'a>(
    row: &table::Row<'a>,
    expected: usize,
) -> Result<table::TextRow<'a>, (Option<usize>, RejectCode)> {
    let found = row.count();
    if found != expected {
        let code = if row.ended || found > expected {
            RejectCode::Ragged { expected, found }
        } else {
            RejectCode::HalfWritten { expected, found }
        };
        return Err((Some(found.min(expected)), code));
    }
    row.text().map_err(|(column, code)| (Some(column), code.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use retention_core::record::{DateRole, Kind, Visibility};

    use super::*;

    const PLAIN: &str = "schema = 1\nkind = \"contact\"\nfiles = [\"*.csv\"]\ncontent = \"snapshot\"\nid = [\"Id\"]\n\
        [mailbox]\nconstant = \"Ada@Contoso.com\"\n[[column]]\nname = \"Name\"\nfield = \"display_name\"\n";

    fn read_with(mapping: &str, bytes: &[u8]) -> (Vec<Change>, Result<ReadSummary, FileError>) {
        let mapping = Mapping::parse(mapping).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        std::fs::write(&path, bytes).unwrap();
        let mut changes = Vec::new();
        let limits = Limits { row_bytes_max: 1000, columns_max: 50, ..Limits::default() };
        let mut feed = CsvFeed { source: "crm", mapping: &mapping, limits: &limits, path: &path };
        let summary = feed.read(&mut |change| {
            changes.push(change);
            ControlFlow::Continue(())
        });
        (changes, summary)
    }

    #[test]
    fn dates_with_the_month_first_are_refused_where_the_mapping_says_the_day() {
        let mapping = PLAIN.to_owned() + "[[date]]\ncolumn = \"On\"\nrole = \"modified\"\nformat = \"%d/%m/%Y\"\n";
        let read = |dates: &[&str]| {
            let rows: String = (0..).zip(dates).map(|(id, date)| format!("{id};x;{date}\n")).collect();
            let (changes, summary) = read_with(&mapping, format!("sep=;\nId;Name;On\n{rows}").as_bytes());
            summary.map(|summary| (summary.rows, summary.defects)).map_err(|error| (error, changes.len()))
        };
        let turned = |cells: u64| Err((FileError::DatesTurned { number: 3, cells }, 0));
        // Of these two days the first would be another one, and the second would be told.
        assert_eq!(read(&["12/01/2025", "12/31/2025"]), turned(1), "nothing was handed out");
        assert_eq!(read(&["12/31/2025", "10/25/2025", "31/12/2025", "", "soon"]), turned(2));
        // One that was mistyped speaks for itself only, and what can be read both ways says nothing.
        assert_eq!(read(&["31/12/2025", "12/31/2025", "04/05/2025"]), Ok((3, 1)));
        assert_eq!(read(&["04/05/2025", "", "2025-12-31", "31/31/2025"]), Ok((4, 1)));
    }

    #[test]
    fn a_text_that_shows_far_behind_that_it_is_utf8_is_not_read_in_a_code_page() {
        let mapping = PLAIN.replace("content", "encoding = \"windows-1252\"\ncontent");
        let rows: String = (0..HEAD_BYTES / 8).map(|id| format!("{id},Plain name\n")).collect();
        let read = |last: &[u8]| {
            let (_, summary) = read_with(&mapping, &[b"Id,Name\n", rows.as_bytes(), last].concat());
            summary.map(|summary| summary.rejected)
        };
        let contradicted = FileError::EncodingContradicted { mark: "utf-8", named: "windows-1252" };
        assert_eq!(read("last,J\u{fc}rgen\n".as_bytes()), Err(contradicted));
        assert_eq!((read(b"last,J\xFCrgen\n"), read(b"last,Bo\n")), (Ok(0), Ok(0)));
    }

    fn rows(changes: &[Change]) -> Vec<(u64, String)> {
        let row = |change: &Change| match change {
            Change::Row(row) => Some((row.place.line, row.external_id.clone())),
            _ => None,
        };
        changes.iter().filter_map(row).collect()
    }

    fn rejections(changes: &[Change]) -> Vec<(u64, &'static str)> {
        let rejection = |change: &Change| match change {
            Change::Rejected(rejection) => Some((rejection.place.line, rejection.code.name())),
            _ => None,
        };
        changes.iter().filter_map(rejection).collect()
    }

    fn has_snapshot(changes: &[Change]) -> bool {
        changes.iter().any(|change| matches!(change, Change::SnapshotOf { .. }))
    }

    #[test]
    fn a_whole_file_becomes_rows_and_a_snapshot() {
        let (changes, summary) = read_with(PLAIN, "\u{feff}Id;Name;Extra\r\n1;Ada;\r\n2;\"Zoé\r\nB\";x\r\n".as_bytes());
        let summary = summary.unwrap();
        assert_eq!((summary.rows, summary.rejected, summary.stopped), (2, 0, false));
        assert_eq!(summary.detected[0].delimiter, Some("semicolon"));
        let Change::Layout(layout) = &changes[0] else { panic!("no layout first") };
        let fields: Vec<&str> = layout.columns.iter().map(|column| column.field.as_str()).collect();
        assert_eq!(fields, ["id", "display_name", "custom.Extra"]);
        assert_eq!(rows(&changes), [(2, "1".into()), (3, "2".into())]);
        let Change::Row(row) = &changes[1] else { panic!("no row") };
        assert_eq!(row.cells.iter().collect::<Vec<_>>(), [Some("1"), Some("Ada"), None]);
        assert_eq!(row.mailbox.as_deref(), Some("ada@contoso.com"));
        assert!(matches!(changes.last(), Some(Change::SnapshotOf { kind: Kind::Contact, .. })));
    }

    #[test]
    fn blanks_around_an_id_are_no_part_of_it_so_that_links_find_it() {
        let mapping = PLAIN.to_owned() + "[[link]]\ncolumn = \"Boss\"\nkind = \"contact\"\nrelation = \"associated\"\n";
        let (changes, _) = read_with(&mapping, "Id,Name,Boss\nC1   ,Ada,\nC2,Bo, C1   \n\u{a0} ,Cy,\n".as_bytes());
        assert_eq!(rows(&changes), [(2, "C1".into()), (3, "C2".into())]);
        let linked = |change: &Change| match change {
            Change::Row(row) => row.links.first().map(|link| link.external_id.clone()),
            _ => None,
        };
        assert_eq!(changes.iter().filter_map(linked).collect::<Vec<_>>(), ["C1"]);
        assert_eq!(rejections(&changes), [(4, "id_missing")]);
        let two = mapping.replace("[\"Id\"]", "[\"Id\", \"Name\"]");
        let (changes, _) = read_with(&two, b"Id,Name,Boss\n C1 ,Ada ,\n");
        assert_eq!(rows(&changes), [(2, "C1|Ada".into())]);
    }

    #[test]
    fn what_nobody_sees_around_an_id_a_link_or_a_name_of_a_column_makes_no_other() {
        let mapping = PLAIN.to_owned() + "[[link]]\ncolumn = \"Boss\"\nkind = \"contact\"\nrelation = \"associated\"\n";
        let text = "\u{200b}Id\u{a0},Name,Boss\n\u{feff}C1,Ada,\n\u{200e}C2\u{200f},Bo,C1\u{200b}\n\u{200b},Cy,\n";
        let (changes, _) = read_with(&mapping, text.as_bytes());
        assert_eq!(rows(&changes), [(2, "C1".into()), (3, "C2".into())]);
        assert!(
            changes.iter().any(
                |change| matches!(change, Change::Row(row) if row.links.iter().any(|link| link.external_id == "C1"))
            )
        );
        assert_eq!(rejections(&changes), [(4, "id_missing")]);
        let owned = PLAIN.replace("constant = \"Ada@Contoso.com\"", "column = \"Owner\"");
        let (changes, _) = read_with(&owned, "Id,Name,Owner\n1,Ada,\u{202a}Ada@x.cz\u{202c}\n".as_bytes());
        assert!(matches!(&changes[1], Change::Row(row) if row.mailbox.as_deref() == Some("ada@x.cz")));
        let twice = read_with(PLAIN, "Id,Name,\u{200b}Id\n".as_bytes()).1;
        assert_eq!(twice, Err(FileError::ColumnRepeated { number: 3 }));
    }

    #[test]
    fn an_id_that_is_guarded_against_spreadsheets_is_the_same_without() {
        let mapping = PLAIN.to_owned() + "[[link]]\ncolumn = \"Boss\"\nkind = \"contact\"\nrelation = \"associated\"\n";
        let (changes, _) = read_with(&mapping, b"Id,Name,Boss\n=\"007\",Ada,\n\"=\"\"008\"\"\",Bo,=\"007\"\n");
        assert_eq!(rows(&changes), [(2, "007".into()), (3, "008".into())]);
        assert!(matches!(&changes[2], Change::Row(row) if row.links[0].external_id == "007"));
        assert!(matches!(&changes[2], Change::Row(row) if row.links[1].external_id == "=\"007\""));
        // Whoever was taken in when that was a part of the id is known by it.
        for (number, former) in [(1, "=\"007\""), (2, "=\"008\"")] {
            assert!(matches!(&changes[number], Change::Row(row) if row.other_ids == [former]), "{former}");
        }
        let two = mapping.replace("[\"Id\"]", "[\"Id\", \"Name\"]");
        let (changes, _) = read_with(&two, b"Id,Name,Boss\n=\"007\",a|b,\n8,c,\n");
        let former = |number: usize| match &changes[number] {
            Change::Row(row) => row.other_ids.clone(),
            _ => Vec::new(),
        };
        assert_eq!((former(1), former(2)), (vec!["=\"007\"|a||b".to_owned()], vec![]));
        let gone = mapping + "[deleted]\ncolumn = \"State\"\nvalues = [\"gone\"]\n";
        let (changes, _) = read_with(&gone, b"Id,Name,Boss,State\n=\"007\",Ada,,gone\n8,Bo,,gone\n");
        let told = |number: usize| match &changes[number] {
            Change::Departed(gone) => (gone.external_id.clone(), gone.former_id.clone()),
            change => panic!("{change:?}"),
        };
        assert_eq!([told(1), told(2)], [("007".into(), Some("=\"007\"".into())), ("8".into(), None)]);
    }

    #[test]
    fn what_a_spreadsheet_made_of_an_id_or_a_mailbox_is_none() {
        let bytes = b"Id;Name\n#N/A;Ada\n#REF!;Bo\n1.23457E+17;Cy\n1,2E+9;Di\n#7;Ed\nE#N/A;#N/A\nB1E+7;Flo\n1E+;Gus\n";
        let (changes, _) = read_with(PLAIN, bytes);
        let kept: Vec<u64> = rows(&changes).iter().map(|row| row.0).collect();
        assert_eq!(kept, [6, 7, 8, 9]);
        assert_eq!(rejections(&changes), [2, 3, 4, 5].map(|line| (line, "spoiled_by_spreadsheet")));
        let owned = PLAIN.replace("constant = \"Ada@Contoso.com\"", "column = \"Owner\"");
        let (changes, _) = read_with(&owned, b"Id,Name,Owner\n1,Ada,#N/A\n");
        assert_eq!(rejections(&changes), [(2, "spoiled_by_spreadsheet")]);
        // A link that leads nowhere would let become due what it is about; an error in it is no id, and says so by its look.
        let linked = PLAIN.to_owned() + "[[link]]\ncolumn = \"Boss\"\nkind = \"contact\"\nrelation = \"about\"\n";
        let (changes, _) = read_with(&linked, b"Id,Name,Boss\n1,Ada,1.23457E+17\n2,Bo,#N/A\n12345678901234567,Cy,\n");
        assert_eq!(rejections(&changes), [(2, "spoiled_by_spreadsheet")]);
    }

    #[test]
    fn no_two_columns_fill_one_field_however_they_are_named() {
        let mapping = format!("{PLAIN}[[column]]\nname = \"Town\"\nfield = \"custom.X\"\n");
        for header in ["Id,Name,Town,#5,", "Id,Name,Town,,#4", "Id,Name,Town,X,X#4", "Id,Name,Town,X#5,X"] {
            let (changes, _) = read_with(&mapping, format!("{header}\n1,a,b,c,d\n").as_bytes());
            let Some(Change::Layout(layout)) = changes.first() else { panic!("{header}: {changes:?}") };
            let fields: std::collections::BTreeSet<&str> =
                layout.columns.iter().map(|column| column.field.as_str()).collect();
            assert_eq!(fields.len(), 5, "{header}: {fields:?}");
        }
    }

    #[test]
    fn every_broken_row_rejects_itself_and_takes_the_snapshot_with_it() {
        let bytes = b"Id,Name\n1,\xC4\x8D\n2\n3,b,c\n,d\n4,\xFF\n5,\0\n6,e\n7,\"f\"g\n8,\"open\n9,h\n";
        let (changes, summary) = read_with(PLAIN, &[bytes.as_slice()].concat());
        assert_eq!(rows(&changes).iter().map(|row| row.0).collect::<Vec<_>>(), [2, 8]);
        let expected = [
            (3, "ragged"),
            (4, "ragged"),
            (5, "id_missing"),
            (6, "invalid_bytes"),
            (7, "nul_byte"),
            (9, "quote_misplaced"),
            (10, "quote_unclosed"),
        ];
        assert_eq!(rejections(&changes), expected);
        assert!(!has_snapshot(&changes));
        assert_eq!(summary.unwrap().rejected, 7);
        let (changes, _) = read_with(PLAIN, b"Id,Name,C\n1,a,b\n2,b");
        assert_eq!(rejections(&changes), [(3, "half_written")]);
        let (changes, _) = read_with(PLAIN, format!("Id,Name\n1,{}\n2,b\n", "x".repeat(2000)).as_bytes());
        assert_eq!((rejections(&changes), rows(&changes)), (vec![(2, "row_too_long")], vec![(3, "2".into())]));
    }

    #[test]
    fn rows_that_an_open_quote_has_taken_up_are_told_and_are_not_gone() {
        let told = |rows: &str| {
            let (changes, _) = read_with(PLAIN, format!("Id,Name,Mail,Town,Notes\n{rows}").as_bytes());
            let place = |change: &Change| match change {
                Change::Defect(Defect::CellHoldsRows, place) => Some((place.line, place.column)),
                _ => None,
            };
            (changes.iter().filter_map(place).collect::<Vec<_>>(), has_snapshot(&changes))
        };
        let spoiled = |column| (vec![(2, Some(column))], false);
        assert_eq!(told("1,\"Bo,b@x,Brno,\n2,Cy,c@x,Brno,\n3,Di\",d@x,Brno,\n4,Ed,e@x,Brno,\n"), spoiled(2));
        assert_eq!(told("1,Bo,b@x,Brno,\"note\r\n2,Cy,c@x,Brno,\"\n"), spoiled(5));
        assert_eq!(told("\"1,Bo,b@x,Brno,\n2\",Cy,c@x,Brno,\n"), spoiled(1));
        for note in [
            "Dear Bo,\nas, we, said,\nAda",
            "a\n\nb",
            "\n",
            "1,2,3,4\n5,6,7,8",
            // As many commas as there are columns behind the first, by chance.
            "To buy:\nmilk, eggs, jam, tea, salt",
        ] {
            assert_eq!(told(&format!("1,Bo,b@x,Brno,\"{note}\"\n")), (vec![], true), "{note:?}");
        }
        assert_eq!(told("1,Bo,b@x,\"Main Street 5,\nBrno, Moravia, Czechia, Europe\",\n"), (vec![], true));
    }

    #[test]
    fn files_that_were_put_together_are_told_apart_by_their_headers() {
        let taken = |text: &str| {
            let (changes, _) = read_with(PLAIN, text.as_bytes());
            let lines: Vec<u64> = rows(&changes).iter().map(|row| row.0).collect();
            assert!(!has_snapshot(&changes), "{text}");
            (lines, rejections(&changes))
        };
        // With an end of each line that is a column without a name, and quoted behind a byte order mark.
        assert_eq!(taken("Id;Name;\n1;a;\nId;Name;\n2;b;\n"), (vec![2, 4], vec![(3, "header_repeated")]));
        let marked = "Id,Name\n1,a\n\u{feff}\"Id\",\"Name\"\n2,b\n";
        assert_eq!(taken(marked), (vec![2, 4], vec![(3, "header_repeated")]));
        // In another order the rows below are not those of the columns; back in the first one they are.
        let turned = "Id,Name\n1,a\nName,Id\nb,2\nId,Name\n3,c\n";
        let lost = vec![(3, "header_changed"), (4, "header_changed"), (5, "header_repeated")];
        assert_eq!(taken(turned), (vec![2, 6], lost));
        let (changes, _) = read_with(PLAIN, b"Id,Name\nName,a\nId,b\n");
        assert_eq!(rows(&changes).len(), 2, "a value that is the name of a column is a value");
    }

    #[test]
    fn blank_rows_of_a_spreadsheet_are_passed_over_and_a_cut_one_is_not() {
        let (changes, summary) = read_with(PLAIN, b"Id;Name;\r\n1;a;\r\n;;\r\n;;;;\r\n\"\";;\r\n2;b;\r\n;;\r\n");
        assert_eq!(rows(&changes), [(2, "1".into()), (6, "2".into())]);
        assert_eq!((summary.unwrap().rejected, has_snapshot(&changes)), (0, true));
        let (changes, _) = read_with(PLAIN, b"Id;Name;\r\n1;a;\r\n;;");
        assert_eq!((rejections(&changes), has_snapshot(&changes)), (vec![(3, "id_missing")], false));
        let (changes, _) = read_with(PLAIN, b"Id;Name;\r\n1;a;\r\n; ;x\r\n");
        assert_eq!(rejections(&changes), [(3, "id_missing")]);
    }

    #[test]
    fn a_file_that_cannot_be_read_says_what_to_do() {
        let told = |bytes: &[u8]| read_with(PLAIN, bytes).1.unwrap_err();
        assert_eq!(told(b""), FileError::Empty);
        assert_eq!(told(b"\n\n"), FileError::NoHeader);
        assert_eq!(told(b"Id,Nmae\n"), FileError::ColumnMissing { missing: "Name".into(), found: Some("Nmae".into()) });
        assert!(told(b"Id,Nmae\n").to_string().contains("did you mean \"Nmae\"?"));
        assert_eq!(told(b"4711,Ada Quill\n"), FileError::ColumnMissing { missing: "Id".into(), found: None });
        assert_eq!(told(b"Id,Name,Id\n"), FileError::ColumnRepeated { number: 3 });
        assert_eq!(told(b"Id,Name;x\n1,b;c\n"), FileError::DelimiterDoubtful);
        assert_eq!(told(b"Id,Name\n1,J\xE9n\n"), FileError::EncodingDoubtful);
        assert_eq!(told(b"sep=|\nId|Name\n"), FileError::DelimiterContradicted { said: '|' });
        let strict = PLAIN.replace("content", "unmapped = \"error\"\ncontent");
        assert_eq!(read_with(&strict, b"Id,Name,X\n").1.unwrap_err(), FileError::ColumnUnmapped { number: 3 });
    }

    #[test]
    fn a_czech_file_of_excel_is_read_through_its_mapping() {
        let mapping = "schema = 1\nkind = \"deal\"\nfiles = [\"*.csv\"]\ncontent = \"delta\"\nid = [\"Rok\", \"Číslo\"]\n\
            encoding = \"windows-1250\"\ndecimal = \"comma\"\nzone = \"Europe/Prague\"\nunmapped = \"ignore\"\n\
            [mailbox]\ncolumn = \"Schránka\"\n[visibility]\ncolumn = \"Sdíleno\"\nshared = [\"ano\"]\nprivate = [\"ne\"]\n\
            [deleted]\ncolumn = \"Stav\"\nvalues = [\"smazáno\"]\n\
            [[column]]\nname = \"Částka\"\nfield = \"amount\"\n\
            [[date]]\ncolumn = \"Konec\"\nrole = \"contract_end\"\nformat = \"czech\"\n\
            [[date]]\ncolumn = \"Audit\"\nrole = \"event:audit\"\nformat = \"czech\"\n\
            [[link]]\ncolumn = \"Firmy\"\nkind = \"company\"\nrelation = \"associated\"\nseparator = \"|\"\n";
        let text = "sep=;\r\nRok;Číslo;Schránka;Sdíleno;Stav;Částka;Konec;Audit;Firmy;Navíc\r\n\
            2025;7|8;Ada@X.cz;ANO;;1 234,50 Kč;31. 12. 2025;31.12.2025 14:05;f1|f2;z\r\n\
            2025;9;Bo@X.cz;ne;SMAZÁNO;;;;;\r\n2025;10;Bo@X.cz;?;;x;brzy;;;\r\n";
        let (bytes, ..) = encoding_rs::WINDOWS_1250.encode(text);
        let (changes, summary) = read_with(mapping, &bytes);
        let Change::Row(row) = &changes[1] else { panic!("{changes:?}") };
        assert_eq!((row.external_id.as_str(), row.mailbox.as_deref()), ("2025|7||8", Some("ada@x.cz")));
        assert_eq!(row.visibility, Visibility::Shared);
        let roles: Vec<String> = row.dates.iter().map(|(role, at)| format!("{role:?} {at}")).collect();
        assert_eq!(roles, ["ContractEnd 2025-12-31T22:59:59.999999Z", "Named(0) 2025-12-31T13:05:00Z"]);
        assert_eq!(row.links.len(), 2);
        let cells: Vec<Option<&str>> = row.cells.iter().collect();
        assert!(
            cells.contains(&Some("1234.50 Kč")) && cells.contains(&Some("2025-12-31")) && !cells.contains(&Some("z"))
        );
        assert!(matches!(&changes[2], Change::Departed(gone) if gone.external_id == "2025|9"));
        let defects: Vec<Defect> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Defect(defect, _) => Some(*defect),
                _ => None,
            })
            .collect();
        assert_eq!(defects, [Defect::DateUnreadable, Defect::NumberUnreadable]);
        assert_eq!(summary.unwrap().detected[0].encoding, "windows-1250");
        assert!(row.dates.iter().any(|(role, _)| *role == DateRole::ContractEnd));
    }

    #[test]
    fn utf16_is_read_and_a_stopped_sink_stops_the_read() {
        let wide: Vec<u8> = "\u{feff}Id\tName\n1\tÁda\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let (changes, summary) = read_with(PLAIN, &wide);
        assert_eq!((rows(&changes).len(), summary.unwrap().detected[0].encoding), (1, "utf-16le"));
        let mapping = Mapping::parse(PLAIN).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        std::fs::write(&path, "Id,Name\n1,a\n2,b\n").unwrap();
        let limits = Limits::default();
        let mut feed = CsvFeed { source: "crm", mapping: &mapping, limits: &limits, path: &path };
        let summary = feed.read(&mut |_| ControlFlow::Break(())).unwrap();
        assert!(summary.stopped && summary.rows == 0);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(feed.read(&mut |_| ControlFlow::Continue(())), Err(FileError::Vanished));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_behind_a_header_are_read_without_panic_and_every_row_fits_the_layout(
            bytes in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), any::<u8>()], 0..600),
        ) {
            let (changes, _) = read_with(PLAIN, &[b"Id,Name\n".as_slice(), &bytes].concat());
            for change in &changes {
                if let Change::Row(row) = change {
                    prop_assert!(row.cells.len() == 2 && !row.external_id.is_empty() && row.cells.is_consistent());
                }
            }
            let (_, _) = read_with(PLAIN, &bytes);
        }
    }
}

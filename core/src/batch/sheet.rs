//! Bytes become rows: how a file is written is found out, told, and never guessed.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::kind::is_attribute_of_any;
use super::{COLUMNS_MAX, FILE_BYTES_MAX, ROW_BYTES_MAX};
use crate::table::{Fields as _, Next, Table, TableFault};
use crate::text::{self, Delimiter, Encoding, EncodingError, Utf8Reader};

/// What the caller says of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Named {
    /// How its bytes are text.
    pub encoding: Option<Encoding>,
    /// What separates its cells.
    pub delimiter: Option<Delimiter>,
}

/// One row. Holds passwords: `Debug` shows its line only, and its memory is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Row {
    /// The line on which it begins, from 1.
    #[zeroize(skip)]
    pub line: u64,
    /// The cells; as many as the row has, not as the header has columns.
    pub cells: Vec<String>,
    /// Whether a line end follows it.
    #[zeroize(skip)]
    pub ended: bool,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("line", &self.line).finish_non_exhaustive()
    }
}

impl Row {
    /// Says whether nothing but blanks stands in it.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.cells.iter().all(|cell| cell.trim().is_empty())
    }

    /// Returns a cell; nothing where the row has none.
    #[must_use]
    pub fn cell(&self, number: usize) -> &str {
        self.cells.get(number).map_or("", String::as_str)
    }
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// How its bytes are text.
    pub encoding: Encoding,
    /// Whether it begins with a byte order mark.
    pub has_mark: bool,
    /// What separates its cells.
    pub delimiter: Delimiter,
    /// Whether its first line is `sep=`.
    pub has_separator_line: bool,
    /// Whether all its bytes are ASCII, so that every encoding but UTF-16 reads it alike.
    pub is_ascii: bool,
    /// Its length, in bytes.
    pub bytes: u64,
}

/// A file as rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    /// How it is written.
    pub written: Written,
    /// The names of the columns, as they stand there.
    pub header: Vec<String>,
    /// The line of the header.
    pub header_line: u64,
    /// The rows, blank ones left out.
    pub rows: Vec<Row>,
    /// What is not a row.
    pub faults: Vec<(u64, TableFault)>,
    /// The lines of blank rows and empty lines.
    pub blank_lines: Vec<u64>,
}

/// How files begin that people take for a batch: of ZIP, which `.xlsx` and `.ods` are, and of compound files, which `.xls` is.
const BINARY: [&[u8]; 2] = [b"PK\x03\x04", b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"];

/// A file that cannot be read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SheetError {
    /// Nothing in it.
    #[error("the file is empty; the first row must name the columns")]
    Empty,
    /// Above [`FILE_BYTES_MAX`].
    #[error("the file is larger than 64 MiB, far beyond what any kind of batch may have")]
    TooLarge,
    /// The file of a spreadsheet program.
    #[error("the file is a workbook (.xlsx, .xls, .ods) or another archive, and no CSV")]
    Workbook,
    /// UTF-16 that does not say so.
    #[error("the file is full of NUL bytes, as UTF-16 is, and has no byte order mark")]
    NoMark,
    /// More than one reading.
    #[error(
        "the file is not UTF-8 and its letters mean different things in different encodings; line {line} is the first \
         that does"
    )]
    EncodingDoubtful {
        /// The first line that two encodings read differently.
        line: u64,
    },
    /// The byte order mark, or letters that only UTF-8 writes so, say otherwise.
    #[error("the file is {mark}, by its byte order mark or its letters, but {named} was named")]
    EncodingContradicted {
        /// What the mark says.
        mark: &'static str,
        /// What was named.
        named: &'static str,
    },
    /// More than one delimiter fits.
    #[error("the header can be read with more than one delimiter")]
    DelimiterDoubtful,
    /// The `sep=` line says otherwise, or names what is none.
    #[error(
        "the first line names a delimiter with sep= that is none of comma, semicolon and tab, or not the named one"
    )]
    DelimiterContradicted,
    /// No header.
    #[error("the file has no header row; the first row must name the columns")]
    NoHeader,
    /// The header itself is broken.
    #[error("the header row cannot be read: {0}")]
    HeaderBroken(TableFault),
}

impl SheetError {
    /// Returns what to do, where whoever reads it can name what the file does not tell.
    #[must_use]
    pub fn hint(&self) -> String {
        self.advice("say which")
    }

    /// Returns what to do, where nobody can name anything: a file that was dropped is converted first.
    #[must_use]
    pub fn hint_when_dropped(&self) -> String {
        self.advice("say which to retentionctl batch convert, and drop what it makes")
    }

    fn advice(&self, say_which: &str) -> String {
        let options = match self {
            Self::Empty | Self::NoHeader => return "write the names of the attributes into the first row".to_owned(),
            Self::TooLarge => return "split the file".to_owned(),
            Self::Workbook => return "open it in the spreadsheet program and save it as CSV UTF-8".to_owned(),
            Self::EncodingContradicted { .. } => return "leave --encoding out".to_owned(),
            Self::HeaderBroken(_) => return "write the header row again".to_owned(),
            Self::NoMark => "--encoding utf-16le (as Windows writes it) or utf-16be",
            Self::EncodingDoubtful { .. } => {
                "--encoding windows-1250 (Czech, Slovak, Polish, Hungarian) or windows-1252 (Western Europe)"
            }
            Self::DelimiterDoubtful | Self::DelimiterContradicted => "--delimiter comma, semicolon or tab",
        };
        format!("{say_which}: {options}")
    }
}

/// Reads a file.
///
/// # Errors
/// Says why nothing of it can be used. A row that cannot be read is in `faults`, and the others are there.
pub fn read(bytes: &[u8], named: Named) -> Result<Sheet, SheetError> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(SheetError::TooLarge);
    }
    if BINARY.iter().any(|first| bytes.starts_with(first)) {
        return Err(SheetError::Workbook);
    }
    let (encoding, mark_bytes) = encoding_of(bytes, named.encoding)?;
    let body = bytes.get(mark_bytes..).unwrap_or_default();
    let text = decoded(body, encoding);
    let text: &[u8] = &text;
    // A second mark is one too many, whoever wrote it.
    let mut text = text;
    let mut has_mark = mark_bytes > 0;
    while let Some(rest) = text.strip_prefix("\u{feff}".as_bytes()) {
        text = rest;
        has_mark = true;
    }
    if text.iter().all(|byte| byte.is_ascii_whitespace()) {
        return Err(SheetError::Empty);
    }
    let mut table = Table::over(text, b',', ROW_BYTES_MAX, COLUMNS_MAX);
    let said = separator_line(&mut table)?;
    let delimiter = delimiter_of(&mut table, named.delimiter, said)?;
    table.set_delimiter(delimiter.byte());
    let mut blank_lines = Vec::new();
    let (header_line, header) = header_of(&mut table, &mut blank_lines)?;
    let written = Written {
        encoding,
        has_mark,
        delimiter,
        has_separator_line: said.is_some(),
        is_ascii: text.is_ascii(),
        bytes: bytes.len() as u64,
    };
    let mut sheet = Sheet { written, header, header_line, rows: Vec::new(), faults: Vec::new(), blank_lines };
    sheet.read_rows(&mut table);
    Ok(sheet)
}

impl Sheet {
    fn read_rows(&mut self, table: &mut Table<&[u8]>) {
        loop {
            let expected = table.line();
            // Reading from memory does not fail.
            let Ok(next) = table.next_row() else { return };
            match next {
                Next::End => break,
                Next::Fault { line, code } => {
                    self.blank_lines.extend(expected..line);
                    self.faults.push((line, code));
                }
                Next::Row(row) => {
                    let (line, ended) = (row.line, row.ended);
                    self.blank_lines.extend(expected..line);
                    match row.text() {
                        Err((_, code)) => self.faults.push((line, code)),
                        Ok(text) => {
                            let cells = (0..text.count()).map(|n| text.cell(n).unwrap_or_default().to_owned());
                            let row = Row { line, cells: cells.collect(), ended };
                            if row.is_blank() {
                                self.blank_lines.push(line);
                            } else {
                                self.rows.push(row);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Returns the number of a column, counted from 0, by its name in exactly this spelling.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|column| column == name)
    }
}

/// Says how the bytes are text: the mark, the name, UTF-8, or the one reading that both Windows code pages share.
fn encoding_of(bytes: &[u8], named: Option<Encoding>) -> Result<(Encoding, usize), SheetError> {
    match text::detect(bytes, named) {
        Ok(seen) => Ok((seen.encoding, seen.mark_bytes)),
        Err(EncodingError::Contradicted { mark, named }) => Err(SheetError::EncodingContradicted { mark, named }),
        Err(EncodingError::Doubtful) if bytes.iter().filter(|byte| **byte == 0).count() * 4 >= bytes.len() => {
            Err(SheetError::NoMark)
        }
        Err(EncodingError::Doubtful) => match first_difference(bytes) {
            None => Ok((Encoding::Windows1250, 0)),
            Some(line) => Err(SheetError::EncodingDoubtful { line }),
        },
    }
}

/// Returns the first line that windows-1250 and windows-1252 read differently, or that neither reads.
fn first_difference(bytes: &[u8]) -> Option<u64> {
    let is_clear = |line: &[u8]| {
        let central = decoded(line, Encoding::Windows1250);
        let is_text = |text: &[u8]| std::str::from_utf8(text).is_ok_and(|text| !text.chars().any(is_strange));
        is_text(&central) && *central == *decoded(line, Encoding::Windows1252)
    };
    let unclear = bytes.split(|byte| *byte == b'\n').position(|line| !is_clear(line));
    unclear.map(|number| number as u64 + 1)
}

/// Says whether a character stands in no line of a file that people write.
fn is_strange(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\r')
}

fn decoded(bytes: &[u8], encoding: Encoding) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::new());
    // Room for the worst case, so that nothing is left behind where the text grew.
    text.reserve_exact(bytes.len().saturating_mul(3).saturating_add(16).min(3 * FILE_BYTES_MAX + 16));
    let mut reader = Utf8Reader::behind_mark(bytes, encoding);
    // Reading from memory does not fail.
    let _ = std::io::Read::read_to_end(&mut reader, &mut text);
    text
}

fn separator_line(table: &mut Table<&[u8]>) -> Result<Option<Delimiter>, SheetError> {
    match table.take_separator_line() {
        Ok(Some(said)) => Delimiter::ALL
            .into_iter()
            .find(|delimiter| char::from(delimiter.byte()) == said)
            .map(Some)
            .ok_or(SheetError::DelimiterContradicted),
        Ok(None) | Err(_) => Ok(None),
    }
}

/// Decides the delimiter: named, said by `sep=`, or the one with which the header names the most attributes.
fn delimiter_of(
    table: &mut Table<&[u8]>,
    named: Option<Delimiter>,
    said: Option<Delimiter>,
) -> Result<Delimiter, SheetError> {
    match (named, said) {
        (Some(named), Some(said)) if named != said => return Err(SheetError::DelimiterContradicted),
        (Some(decided), _) | (None, Some(decided)) => return Ok(decided),
        (None, None) => {}
    }
    let head = table.peek().map(<[u8]>::to_vec).map(Zeroizing::new).unwrap_or_default();
    let mut ranked: Vec<(usize, usize, Delimiter)> = Vec::new();
    for delimiter in Delimiter::ALL {
        let mut trial = Table::over(head.as_slice(), delimiter.byte(), ROW_BYTES_MAX, COLUMNS_MAX);
        let Ok((_, header)) = header_of(&mut trial, &mut Vec::new()) else { continue };
        let known = header.iter().filter(|name| is_attribute_of_any(name)).count();
        ranked.push((known, header.len(), delimiter));
    }
    let best = ranked.iter().map(|(known, ..)| *known).max().unwrap_or(0);
    ranked.retain(|(known, ..)| *known == best);
    match ranked.as_slice() {
        [(_, _, only)] => Ok(*only),
        // Nothing splits the header, so every delimiter reads it alike.
        several if several.iter().all(|(_, columns, _)| *columns == 1) => Ok(Delimiter::Comma),
        several => {
            let splitting: Vec<Delimiter> =
                several.iter().filter(|(_, columns, _)| *columns > 1).map(|(.., delimiter)| *delimiter).collect();
            match splitting.as_slice() {
                [only] => Ok(*only),
                _ => Err(SheetError::DelimiterDoubtful),
            }
        }
    }
}

fn header_of(table: &mut Table<&[u8]>, blank_lines: &mut Vec<u64>) -> Result<(u64, Vec<String>), SheetError> {
    let expected = table.line();
    match table.next_row() {
        Err(_) | Ok(Next::End) => Err(SheetError::NoHeader),
        Ok(Next::Fault { code, .. }) => Err(SheetError::HeaderBroken(code)),
        Ok(Next::Row(row)) => {
            let line = row.line;
            let text = row.text().map_err(|(_, code)| SheetError::HeaderBroken(code))?;
            let header: Vec<String> =
                (0..text.count()).map(|number| text.cell(number).unwrap_or_default().to_owned()).collect();
            if header.iter().all(|name| name.trim().is_empty()) {
                return Err(SheetError::NoHeader);
            }
            blank_lines.extend(expected..line);
            Ok((line, header))
        }
    }
}

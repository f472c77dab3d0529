//! Rows of delimited text (RFC 4180 and what spreadsheets make of it), with null told from empty.
//!
//! The csv crate reads `,,` and `,"",` alike; the export of the Outlook Customer Manager needs them apart: nothing
//! between delimiters is null, two quotes are an empty text. Otherwise valid input reads as the csv crate reads it.

use std::io::{self, Read};

use memchr::{memchr, memchr_iter, memchr2, memchr3};
use zeroize::Zeroize as _;

use crate::record::{Cells, RowTooLarge};

mod spreadsheet;

pub use spreadsheet::{spreadsheet_plain, spreadsheet_safe};

/// Why something is not a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TableFault {
    /// A quote is open at the end of the file.
    #[error("a quote that opens in this row is never closed, so the rest of the file could not be read; close it")]
    QuoteUnclosed,
    /// Text follows a closing quote.
    #[error("text follows a closing quote; double the quotes inside a quoted cell")]
    QuoteMisplaced,
    /// Bytes that the encoding does not know.
    #[error("bytes that are not valid in the file's encoding; name the encoding, or repair the row")]
    InvalidBytes,
    /// A NUL byte.
    #[error("a NUL byte, which no text holds; repair the row")]
    NulByte,
    /// Longer than the limit.
    #[error("the row is longer than {max} bytes; look for a quote that is never closed")]
    RowTooLong {
        /// The limit.
        max: usize,
    },
    /// More cells than the limit.
    #[error("the row has more than {max} cells")]
    TooManyCells {
        /// The limit.
        max: usize,
    },
}

/// Bytes read at once, and the size of the buffer until a longer row makes it grow.
const CHUNK_BYTES: usize = 256 << 10;

const QUOTE: u8 = b'"';

/// Where a cell lies.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
    quoted: bool,
}

/// The cells of one row, as text.
pub trait Fields {
    /// Returns how many cells there are.
    fn count(&self) -> usize;
    /// Returns a cell; none when it is null or not there.
    fn cell(&self, number: usize) -> Option<&str>;
    /// Returns about how many bytes all cells have.
    fn bytes(&self) -> usize;
    /// Says whether a cell comes from a typed value, so that its text needs no reading of local habits.
    fn is_typed(&self, number: usize) -> bool;
}

/// A row as bytes, valid until the next one is read.
#[derive(Debug)]
pub struct Row<'a> {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Whether a line end follows it.
    pub ended: bool,
    bytes: &'a [u8],
    spans: &'a [Span],
}

/// A row as text.
#[derive(Debug)]
pub struct TextRow<'a> {
    text: &'a str,
    spans: &'a [Span],
}

impl<'a> Row<'a> {
    /// Returns the row as text.
    ///
    /// # Errors
    /// The number, from 0, of the first cell with a byte that no text holds, and what it is.
    pub fn text(&self) -> Result<TextRow<'a>, (usize, TableFault)> {
        let text = match std::str::from_utf8(self.bytes) {
            Ok(text) => text,
            Err(error) => return Err((self.cell_at(error.valid_up_to()), TableFault::InvalidBytes)),
        };
        match memchr(0, self.bytes) {
            None => Ok(TextRow { text, spans: self.spans }),
            Some(at) => Err((self.cell_at(at), TableFault::NulByte)),
        }
    }

    /// Returns how many cells there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.spans.len()
    }

    /// Says whether it is whole and no cell holds anything, such as the `;;;` that spreadsheets write below a table.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.ended && self.spans.iter().all(|span| span.start == span.end)
    }

    fn cell_at(&self, offset: usize) -> usize {
        self.spans.partition_point(|span| (span.end as usize) < offset)
    }
}

impl TextRow<'_> {
    /// Copies all cells in order.
    ///
    /// # Errors
    /// Says when a row cannot hold them.
    pub fn to_cells(&self) -> Result<Cells, RowTooLarge> {
        let mut cells = Cells::with_capacity(self.spans.len(), self.text.len());
        for number in 0..self.spans.len() {
            cells.push(self.cell(number))?;
        }
        Ok(cells)
    }
}

impl Fields for TextRow<'_> {
    #[inline]
    fn count(&self) -> usize {
        self.spans.len()
    }

    #[inline]
    fn cell(&self, number: usize) -> Option<&str> {
        let span = self.spans.get(number)?;
        if span.start == span.end && !span.quoted {
            return None;
        }
        self.text.get(span.start as usize..span.end as usize)
    }

    #[inline]
    fn bytes(&self) -> usize {
        self.text.len()
    }

    fn is_typed(&self, _number: usize) -> bool {
        false
    }
}

/// What comes next.
#[derive(Debug)]
pub enum Next<'a> {
    /// A row.
    Row(Row<'a>),
    /// A row that is not one. Reading goes on behind it.
    Fault {
        /// The line on which it begins, from 1.
        line: u64,
        /// What is wrong.
        code: TableFault,
    },
    /// No more rows.
    End,
}

/// Reads rows one by one; holds one row and one chunk.
pub struct Table<R> {
    input: R,
    delimiter: u8,
    row_bytes_max: usize,
    columns_max: usize,
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    ended: bool,
    line: u64,
    spans: Vec<Span>,
    unquoted: Vec<u8>,
}

impl<R> Drop for Table<R> {
    /// Some tables hold passwords.
    fn drop(&mut self) {
        self.buffer.zeroize();
        self.unquoted.zeroize();
    }
}

/// What a look at the buffer found.
enum Found {
    /// A whole row: its bytes with the line end, its lines, whether cells lie in `unquoted`, whether a line end
    /// follows.
    Row { consumed: usize, lines: u64, copied: bool, terminated: bool, misplaced: bool },
    /// The row goes on behind the buffer.
    More,
    /// The row is in a quote at the end of the file.
    Unclosed,
}

impl<R: Read> Table<R> {
    /// Reads from the first byte of `input`, which is UTF-8 behind its byte order mark.
    #[must_use]
    pub fn over(input: R, delimiter: u8, row_bytes_max: usize, columns_max: usize) -> Self {
        Self {
            input,
            delimiter,
            row_bytes_max,
            columns_max,
            buffer: vec![0; CHUNK_BYTES],
            at: 0,
            filled: 0,
            ended: false,
            line: 1,
            spans: Vec::new(),
            unquoted: Vec::new(),
        }
    }

    /// Changes the delimiter for the rows that follow.
    pub fn set_delimiter(&mut self, delimiter: u8) {
        self.delimiter = delimiter;
    }

    /// Takes the first line when it is the `sep=` line that Excel understands, and returns the character it names.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub fn take_separator_line(&mut self) -> io::Result<Option<char>> {
        while self.filled - self.at < CHUNK_BYTES && !self.ended {
            self.fill()?;
        }
        let window = self.buffer.get(self.at..self.filled).unwrap_or_default();
        let Some(end) = memchr2(b'\n', b'\r', window) else { return Ok(None) };
        let line = window.get(..end).unwrap_or_default();
        let bare = line.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(line);
        let Some([b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', separator]) = bare.first_chunk::<5>() else {
            return Ok(None);
        };
        if bare.len() != 5 {
            return Ok(None);
        }
        let separator = char::from(*separator);
        self.at += end + line_end_bytes(window, end);
        self.line += 1;
        Ok(Some(separator))
    }

    /// Returns the first row's bytes without taking them, to try delimiters on: at most one buffer.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub fn peek(&mut self) -> io::Result<&[u8]> {
        while self.filled - self.at < CHUNK_BYTES && !self.ended {
            self.fill()?;
        }
        Ok(self.buffer.get(self.at..self.filled).unwrap_or_default())
    }

    /// Returns the line on which reading stands: that of the next row, unless empty lines come first.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Reads the next row. Empty lines are no rows.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub fn next_row(&mut self) -> io::Result<Next<'_>> {
        loop {
            self.skip_empty_lines()?;
            if self.at == self.filled && self.ended {
                return Ok(Next::End);
            }
            let line = self.line;
            match self.find() {
                Found::More if self.filled - self.at > self.row_bytes_max => {
                    self.skip_row()?;
                    return Ok(Next::Fault { line, code: TableFault::RowTooLong { max: self.row_bytes_max } });
                }
                Found::More => self.fill()?,
                Found::Unclosed => {
                    let is_long = self.filled - self.at > self.row_bytes_max;
                    self.at = self.filled;
                    let too_long = TableFault::RowTooLong { max: self.row_bytes_max };
                    return Ok(Next::Fault { line, code: if is_long { too_long } else { TableFault::QuoteUnclosed } });
                }
                Found::Row { consumed, lines, copied, terminated, misplaced } => {
                    let start = self.at;
                    self.at += consumed;
                    self.line += lines;
                    if consumed > self.row_bytes_max {
                        return Ok(Next::Fault { line, code: TableFault::RowTooLong { max: self.row_bytes_max } });
                    }
                    if misplaced {
                        return Ok(Next::Fault { line, code: TableFault::QuoteMisplaced });
                    }
                    if self.spans.len() > self.columns_max {
                        return Ok(Next::Fault { line, code: TableFault::TooManyCells { max: self.columns_max } });
                    }
                    let bytes = if copied {
                        self.unquoted.as_slice()
                    } else {
                        self.buffer.get(start..self.at).unwrap_or_default()
                    };
                    return Ok(Next::Row(Row { line, ended: terminated, bytes, spans: &self.spans }));
                }
            }
        }
    }

    fn skip_empty_lines(&mut self) -> io::Result<()> {
        loop {
            match self.buffer.get(self.at..self.filled).unwrap_or_default() {
                [b'\n', ..] => self.at += 1,
                [b'\r', b'\n', ..] => self.at += 2,
                [b'\r'] if !self.ended => {
                    self.fill()?;
                    continue;
                }
                [b'\r', ..] => self.at += 1,
                [] if !self.ended => {
                    self.fill()?;
                    continue;
                }
                _ => return Ok(()),
            }
            self.line += 1;
        }
    }

    /// Reads more: moves what is left to the front, and doubles the buffer when a row fills it.
    fn fill(&mut self) -> io::Result<()> {
        if self.at > 0 {
            self.buffer.copy_within(self.at..self.filled, 0);
            self.filled -= self.at;
            self.at = 0;
        }
        if self.buffer.len() - self.filled < CHUNK_BYTES / 4 {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.input.read(self.buffer.get_mut(self.filled..).unwrap_or_default()) {
                Ok(0) => self.ended = true,
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            return Ok(());
        }
    }

    fn find(&mut self) -> Found {
        let window = self.buffer.get(self.at..self.filled).unwrap_or_default();
        let end = match memchr2(b'\n', b'\r', window) {
            Some(end) => end,
            None if self.ended => window.len(),
            None => return Found::More,
        };
        let line = window.get(..end).unwrap_or_default();
        if memchr(QUOTE, line).is_some() {
            return find_quoted(window, self.delimiter, self.ended, &mut self.spans, &mut self.unquoted);
        }
        if end + 1 >= window.len() && !self.ended && window.get(end) == Some(&b'\r') {
            return Found::More;
        }
        self.spans.clear();
        let mut start = 0;
        for cut in memchr_iter(self.delimiter, line) {
            self.spans.push(Span { start: offset(start), end: offset(cut), quoted: false });
            start = cut + 1;
        }
        self.spans.push(Span { start: offset(start), end: offset(end), quoted: false });
        let terminator = line_end_bytes(window, end);
        let terminated = terminator > 0;
        Found::Row { consumed: end + terminator, lines: 1, copied: false, terminated, misplaced: false }
    }

    /// Passes over a row that is longer than the limit, without holding it.
    fn skip_row(&mut self) -> io::Result<()> {
        let mut state = Skip::CellStart;
        let mut before = 0;
        loop {
            let window = self.buffer.get(self.at..self.filled).unwrap_or_default();
            for (number, &byte) in window.iter().enumerate() {
                let is_line_end = byte == b'\n' || byte == b'\r';
                if is_line_end && state != Skip::Quoted {
                    self.at += number;
                    // The terminator itself is taken as an empty line, which counts it once.
                    return Ok(());
                }
                if byte == b'\n' || before == b'\r' {
                    self.line += 1;
                }
                before = byte;
                state = state.after(byte, self.delimiter);
            }
            self.at = self.filled;
            if self.ended {
                return Ok(());
            }
            self.fill()?;
        }
    }
}

/// Where [`Table::skip_row`] is inside a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Skip {
    CellStart,
    Plain,
    Quoted,
    QuoteInQuoted,
}

impl Skip {
    fn after(self, byte: u8, delimiter: u8) -> Self {
        match (self, byte) {
            (Self::CellStart | Self::QuoteInQuoted, QUOTE) => Self::Quoted,
            (Self::Quoted, QUOTE) => Self::QuoteInQuoted,
            (Self::Quoted, _) => Self::Quoted,
            (_, byte) if byte == delimiter => Self::CellStart,
            _ => Self::Plain,
        }
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Returns the length of the line end at `end`: 2 for CRLF, 1 for LF or CR, 0 at the end of the file.
fn line_end_bytes(window: &[u8], end: usize) -> usize {
    match window.get(end..) {
        Some([b'\r', b'\n', ..]) => 2,
        Some([_, ..]) => 1,
        Some([]) | None => 0,
    }
}

fn count_line_ends(bytes: &[u8]) -> u64 {
    let feeds = memchr_iter(b'\n', bytes).count();
    let bare_returns = memchr_iter(b'\r', bytes).filter(|at| bytes.get(at + 1) != Some(&b'\n')).count();
    (feeds + bare_returns) as u64
}

/// Finds a row that holds quotes; copies its cells, without their quotes, one behind the other.
fn find_quoted(window: &[u8], delimiter: u8, ended: bool, spans: &mut Vec<Span>, out: &mut Vec<u8>) -> Found {
    spans.clear();
    out.clear();
    let mut at = 0;
    let mut lines = 1;
    let mut misplaced = false;
    loop {
        let start = offset(out.len());
        let quoted = window.get(at) == Some(&QUOTE);
        if quoted {
            match copy_quoted(window, at + 1, ended, out, &mut lines) {
                Ok(behind) => at = behind,
                Err(found) => return found,
            }
        }
        let rest = window.get(at..).unwrap_or_default();
        let length = match memchr3(delimiter, b'\n', b'\r', rest) {
            Some(length) => length,
            None if ended => rest.len(),
            None => return Found::More,
        };
        misplaced |= quoted && length > 0;
        out.extend_from_slice(rest.get(..length).unwrap_or_default());
        spans.push(Span { start, end: offset(out.len()), quoted });
        at += length;
        match window.get(at) {
            Some(&byte) if byte == delimiter => at += 1,
            Some(b'\r') if at + 1 == window.len() && !ended => return Found::More,
            _ => {
                let terminator = line_end_bytes(window, at);
                let terminated = terminator > 0;
                return Found::Row { consumed: at + terminator, lines, copied: true, terminated, misplaced };
            }
        }
    }
}

/// Copies what stands between quotes, from behind the opening one, and returns the place behind the closing one.
fn copy_quoted(window: &[u8], mut at: usize, ended: bool, out: &mut Vec<u8>, lines: &mut u64) -> Result<usize, Found> {
    let unfinished = || if ended { Found::Unclosed } else { Found::More };
    loop {
        let rest = window.get(at..).unwrap_or_default();
        let length = memchr(QUOTE, rest).ok_or_else(unfinished)?;
        let inside = rest.get(..length).unwrap_or_default();
        out.extend_from_slice(inside);
        *lines += count_line_ends(inside);
        at += length + 1;
        match window.get(at) {
            Some(&QUOTE) => {
                out.push(QUOTE);
                at += 1;
            }
            None if !ended => return Err(Found::More),
            _ => return Ok(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Read1 = (u64, Result<Vec<Option<String>>, TableFault>);

    /// Hands out at most `step` bytes at once, so that rows are cut at every place.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(out.len());
            let (now, later) = self.0.split_at(length);
            out[..length].copy_from_slice(now);
            self.0 = later;
            Ok(length)
        }
    }

    fn read_all(bytes: &[u8], step: usize, row_bytes_max: usize) -> Vec<Read1> {
        let mut table = Table::over(Drip(bytes, step), b',', row_bytes_max, 100);
        let mut rows = Vec::new();
        loop {
            match table.next_row().unwrap() {
                Next::End => return rows,
                Next::Fault { line, code } => rows.push((line, Err(code))),
                Next::Row(row) => {
                    let cells = row
                        .text()
                        .map(|text| (0..text.count()).map(|number| text.cell(number).map(str::to_owned)).collect());
                    rows.push((row.line, cells.map_err(|(_, code)| code)));
                }
            }
        }
    }

    fn cells(cells: &[Option<&str>]) -> Result<Vec<Option<String>>, TableFault> {
        Ok(cells.iter().map(|cell| cell.map(str::to_owned)).collect())
    }

    #[test]
    fn null_empty_and_blank_are_told_apart() {
        let rows = read_all(b"a,,\"\",\" \", \n\"\",,\n", 9, 1000);
        assert_eq!(rows[0].1, cells(&[Some("a"), None, Some(""), Some(" "), Some(" ")]));
        assert_eq!(rows[1].1, cells(&[Some(""), None, None]));
    }

    #[test]
    fn lines_are_counted_through_quotes_and_every_line_end() {
        let rows = read_all(b"a\r\n\"x\r\ny\nz\rw\",1\n\n\rb\rc", 3, 1000);
        let lines: Vec<u64> = rows.iter().map(|row| row.0).collect();
        assert_eq!(lines, [1, 2, 8, 9]);
        assert_eq!(rows[1].1, cells(&[Some("x\r\ny\nz\rw"), Some("1")]));
    }

    #[test]
    fn a_bad_row_rejects_itself_and_never_its_neighbours() {
        let rows = read_all(b"a,1\n\"b\"x,2\nc,\xFF\nd,\0\ne,5\n\"f,6\ng,7\n", 5, 1000);
        assert_eq!(rows[0].1, cells(&[Some("a"), Some("1")]));
        assert_eq!(rows[1], (2, Err(TableFault::QuoteMisplaced)));
        assert_eq!(rows[2], (3, Err(TableFault::InvalidBytes)));
        assert_eq!(rows[3], (4, Err(TableFault::NulByte)));
        assert_eq!(rows[4].1, cells(&[Some("e"), Some("5")]));
        assert_eq!(rows[5], (6, Err(TableFault::QuoteUnclosed)));
        assert_eq!(rows.len(), 6);
    }

    #[test]
    fn a_row_beyond_the_limit_is_passed_over_within_bounded_memory() {
        let mut bytes = b"a,1\n\"".to_vec();
        bytes.resize(3_000_000, b'x');
        bytes.extend_from_slice(b"\n\"\"y\",2\nb,3\n");
        let mut table = Table::over(bytes.as_slice(), b',', 300_000, 100);
        let mut lines = Vec::new();
        loop {
            match table.next_row().unwrap() {
                Next::End => break,
                Next::Fault { line, code } => lines.push((line, Some(code))),
                Next::Row(row) => lines.push((row.line, None)),
            }
        }
        assert_eq!(lines, [(1, None), (2, Some(TableFault::RowTooLong { max: 300_000 })), (4, None)]);
        assert!(table.buffer.len() <= 4 * 300_000, "{}", table.buffer.len());
    }

    #[test]
    fn the_separator_line_of_excel_is_taken_and_nothing_else_is() {
        let take = |bytes: &[u8]| {
            let mut table = Table::over(bytes, b',', 1000, 100);
            (table.take_separator_line().unwrap(), table.line)
        };
        assert_eq!(take(b"sep=;\r\na;b\n"), (Some(';'), 2));
        assert_eq!(take(b"\"SEP=\t\"\na\n"), (Some('\t'), 2));
        assert_eq!(take(b"sep=;;\na\n"), (None, 1));
        assert_eq!(take(b"sepia\na\n"), (None, 1));
    }

    fn csv_reading(bytes: &[u8]) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
        reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    proptest! {
        #[test]
        fn valid_input_reads_as_the_csv_crate_reads_it(
            rows in proptest::collection::vec(proptest::collection::vec("[a-z,;\"\r\né ]{0,6}", 2..5), 0..8),
            always in any::<bool>(), crlf in any::<bool>(), step in 1usize..40,
        ) {
            let style = if always { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
            let terminator = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
            let mut writer = csv::WriterBuilder::new().quote_style(style).terminator(terminator).flexible(true)
                .from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let bytes = writer.into_inner().unwrap();
            let ours: Vec<Vec<String>> = read_all(&bytes, step, 10_000).into_iter()
                .map(|(_, row)| row.unwrap().into_iter().map(Option::unwrap_or_default).collect()).collect();
            prop_assert_eq!(&ours, &csv_reading(&bytes));
            prop_assert_eq!(ours, rows);
        }

        #[test]
        fn written_cells_read_back_with_null_empty_and_blank(
            rows in proptest::collection::vec(proptest::collection::vec(proptest::option::of("[a-z,\" \n\r]{0,5}"), 2..6), 0..6),
            step in 1usize..40,
        ) {
            let mut bytes = Vec::new();
            for row in &rows {
                let line: Vec<String> = row.iter()
                    .map(|cell| cell.as_ref().map_or_else(String::new, |text| format!("\"{}\"", text.replace('"', "\"\""))))
                    .collect();
                bytes.extend_from_slice(line.join(",").as_bytes());
                bytes.extend_from_slice(b"\r\n");
            }
            let read: Vec<Vec<Option<String>>> =
                read_all(&bytes, step, 10_000).into_iter().map(|(_, row)| row.unwrap()).collect();
            prop_assert_eq!(read, rows);
        }

        #[test]
        fn any_bytes_are_read_alike_in_any_chunks_without_panic(
            bytes in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            step in 1usize..20,
        ) {
            prop_assert_eq!(read_all(&bytes, step, 60), read_all(&bytes, 1000, 60));
        }
    }
}

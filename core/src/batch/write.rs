//! RFC 4180, UTF-8 without a mark, CRLF; and the list of bad rows.

use zeroize::Zeroizing;

use super::rule::{Problem, Weight};
use super::sheet::{Row, Sheet};

/// A file in the making. It may hold passwords, so its memory is overwritten when it is dropped.
pub type FileBytes = Zeroizing<Vec<u8>>;

/// Appends one row. No cell is changed: what must be quoted is quoted, and quotes are doubled.
pub fn push_row<'a>(file: &mut Vec<u8>, cells: impl IntoIterator<Item = &'a str>) {
    let mut count = 0;
    let start = file.len();
    for cell in cells {
        if count > 0 {
            file.push(b',');
        }
        count += 1;
        push_cell(file, cell);
    }
    // A row of one empty cell would read back as a blank line.
    if count == 1 && file.len() == start {
        file.extend_from_slice(b"\"\"");
    }
    file.extend_from_slice(b"\r\n");
}

fn push_cell(file: &mut Vec<u8>, cell: &str) {
    let needs_quotes = cell.contains([',', '"', '\r', '\n']) || cell.starts_with(' ') || cell.ends_with(' ');
    if !needs_quotes {
        file.extend_from_slice(cell.as_bytes());
        return;
    }
    file.push(b'"');
    for byte in cell.bytes() {
        if byte == b'"' {
            file.push(b'"');
        }
        file.push(byte);
    }
    file.push(b'"');
}

/// Returns the bytes of a header and rows. Nothing is left behind in memory while they grow.
#[must_use]
pub fn file_of<'a>(header: &[String], rows: impl Iterator<Item = &'a Row> + Clone) -> FileBytes {
    let length: usize = rows.clone().map(row_bytes).sum::<usize>() + cells_bytes(header);
    let mut file = Zeroizing::new(Vec::with_capacity(length));
    push_row(&mut file, header.iter().map(String::as_str));
    for row in rows {
        push_row(&mut file, row.cells.iter().map(String::as_str));
    }
    file
}

/// Returns how many bytes a row has when written.
#[must_use]
pub fn row_bytes(row: &Row) -> usize {
    cells_bytes(&row.cells)
}

/// Returns how many bytes cells have when written as a row.
#[must_use]
pub fn cells_bytes(cells: &[String]) -> usize {
    let mut measured =
        Zeroizing::new(Vec::with_capacity(cells.iter().map(|cell| 2 * cell.len() + 3).sum::<usize>() + 4));
    push_row(&mut measured, cells.iter().map(String::as_str));
    measured.len()
}

/// Returns `MigrationErrors.csv`: one line for each error, with the line of the row, its key where it is no secret, and
/// what is wrong. Never a password.
#[must_use]
pub fn errors_of(sheet: &Sheet, key: &str, problems: &[Problem]) -> Vec<u8> {
    let mut file = Vec::new();
    let column = sheet.column(key).filter(|_| key != "Password");
    push_row(&mut file, ["Line", key, "ErrorMessage"]);
    for problem in problems.iter().filter(|problem| problem.rule.weight() == Weight::Error) {
        let Some(line) = problem.line else { continue };
        let row = problem.row.and_then(|row| sheet.rows.get(row)).filter(|row| row.cells.len() == sheet.header.len());
        let name = row.zip(column).map_or("", |(row, column)| row.cell(column));
        push_row(&mut file, [line.to_string().as_str(), name, problem.rule.to_string().as_str()]);
    }
    file
}

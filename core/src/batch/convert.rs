//! A file as Excel writes it becomes one that a migration takes. Cells are not touched.

use super::kind::{MigrationKind, folded, is_attribute_of_any};
use super::sheet::{Row, Sheet};
use super::write::{FileBytes, file_of};
use crate::table::TableFault;
use crate::text::{Delimiter, Encoding};

/// One thing that a conversion changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Change {
    /// The encoding.
    #[error("the text was in {0} and is in UTF-8 now")]
    Encoding(&'static str),
    /// The mark.
    #[error("the byte order mark at the beginning is gone")]
    Mark,
    /// The delimiter.
    #[error("the cells were separated by {0} and are by commas now")]
    Delimiter(&'static str),
    /// The `sep=` line.
    #[error("the sep= line is gone")]
    SeparatorLine,
    /// Blank lines.
    #[error("{0} blank lines are gone")]
    BlankLines(usize),
    /// Columns without a name and without a value.
    #[error("{0} columns without a name and without a value are gone")]
    EmptyColumns(usize),
    /// A name of a column.
    #[error("column {number} is spelt {name} now")]
    ColumnName {
        /// The column, from 1.
        number: usize,
        /// The documented spelling.
        name: &'static str,
    },
}

/// A converted file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The file.
    pub bytes: FileBytes,
    /// What was changed; empty when only line ends and quotes may differ.
    pub changes: Vec<Change>,
    /// How many rows it has: as many as before.
    pub rows: usize,
}

/// A file cannot be converted without guessing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// The header.
    #[error("the first row names no attribute of any kind of batch; is it the header?")]
    HeaderUnknown,
    /// A row that is none.
    #[error("line {line}: {fault}")]
    NotARow {
        /// The line.
        line: u64,
        /// What is wrong.
        fault: TableFault,
    },
    /// Not as many cells as columns.
    #[error("line {line} has {found} cells, the header has {expected} columns; quote cells that hold the delimiter")]
    Ragged {
        /// The line.
        line: u64,
        /// Columns.
        expected: usize,
        /// Cells.
        found: usize,
    },
    /// A value without a column.
    #[error("line {line} has a value in column {column}, which has no name; name the column or take the value out")]
    ValueUnnamed {
        /// The line.
        line: u64,
        /// The column, from 1.
        column: usize,
    },
}

impl ConvertError {
    /// Returns the line and the column that it is about, from 1, as far as it is about one.
    #[must_use]
    pub fn place(&self) -> (Option<u64>, Option<u64>) {
        match self {
            Self::HeaderUnknown => (None, None),
            Self::NotARow { line, .. } | Self::Ragged { line, .. } => (Some(*line), None),
            Self::ValueUnnamed { line, column } => (Some(*line), Some(*column as u64)),
        }
    }
}

/// Writes the rows of a sheet as a migration takes them. Names of columns are corrected only where nothing but case and
/// spaces differ; the kind, when it is known, decides between `UserName` and `Username`.
///
/// # Errors
/// Every place that could not be converted without guessing.
pub fn convert(sheet: &Sheet, kind: Option<MigrationKind>) -> Result<Converted, Vec<ConvertError>> {
    let errors = refusals(sheet);
    if !errors.is_empty() {
        return Err(errors);
    }
    let unnamed = unnamed(sheet);
    let mut changes = changes_of(sheet);
    if !unnamed.is_empty() {
        changes.push(Change::EmptyColumns(unnamed.len()));
    }
    let mut header = Vec::new();
    for (number, name) in sheet.header.iter().enumerate().filter(|(number, _)| !unnamed.contains(number)) {
        match documented(name, kind) {
            Some(documented) if documented != name => {
                changes.push(Change::ColumnName { number: number + 1, name: documented });
                header.push(documented.to_owned());
            }
            Some(_) | None => header.push(name.clone()),
        }
    }
    let bytes = if unnamed.is_empty() {
        file_of(&header, sheet.rows.iter())
    } else {
        let keep = |row: &Row| {
            let cells = row.cells.iter().enumerate().filter(|(number, _)| !unnamed.contains(number));
            Row { line: row.line, cells: cells.map(|(_, cell)| cell.clone()).collect(), ended: row.ended }
        };
        let rows: Vec<Row> = sheet.rows.iter().map(keep).collect();
        file_of(&header, rows.iter())
    };
    Ok(Converted { bytes, changes, rows: sheet.rows.len() })
}

/// Returns every place that could not be converted without guessing.
#[must_use]
pub fn refusals(sheet: &Sheet) -> Vec<ConvertError> {
    if !sheet.header.iter().any(|name| is_attribute_of_any(name)) {
        return vec![ConvertError::HeaderUnknown];
    }
    let unnamed = unnamed(sheet);
    let mut errors = unreadable(sheet);
    for row in sheet.rows.iter().filter(|row| row.cells.len() == sheet.header.len()) {
        let filled = unnamed.iter().filter(|column| !row.cell(**column).is_empty());
        errors.extend(filled.map(|column| ConvertError::ValueUnnamed { line: row.line, column: column + 1 }));
    }
    errors
}

/// Returns every row of which nobody can say what stands in which column.
#[must_use]
pub fn unreadable(sheet: &Sheet) -> Vec<ConvertError> {
    let faults = sheet.faults.iter().map(|(line, fault)| ConvertError::NotARow { line: *line, fault: *fault });
    let expected = sheet.header.len();
    let ragged = sheet.rows.iter().filter(|row| row.cells.len() != expected);
    let ragged = ragged.map(|row| ConvertError::Ragged { line: row.line, expected, found: row.cells.len() });
    faults.chain(ragged).collect()
}

fn unnamed(sheet: &Sheet) -> Vec<usize> {
    let columns = sheet.header.iter().enumerate();
    columns.filter(|(_, name)| name.trim().is_empty()).map(|(number, _)| number).collect()
}

fn changes_of(sheet: &Sheet) -> Vec<Change> {
    let written = &sheet.written;
    let mut changes = Vec::new();
    match written.encoding {
        Encoding::Utf8 => {}
        Encoding::Windows1250 | Encoding::Windows1252 if written.is_ascii => {}
        Encoding::Utf16Le | Encoding::Utf16Be | Encoding::Windows1250 | Encoding::Windows1252 => {
            changes.push(Change::Encoding(written.encoding.name()));
        }
    }
    if written.has_mark {
        changes.push(Change::Mark);
    }
    if written.has_separator_line {
        changes.push(Change::SeparatorLine);
    }
    match written.delimiter {
        Delimiter::Comma => {}
        Delimiter::Semicolon => changes.push(Change::Delimiter("semicolons")),
        Delimiter::Tab => changes.push(Change::Delimiter("tabulators")),
    }
    if !sheet.blank_lines.is_empty() {
        changes.push(Change::BlankLines(sheet.blank_lines.len()));
    }
    changes
}

/// Returns the documented spelling of a name, if all kinds in question agree on it.
fn documented(name: &str, kind: Option<MigrationKind>) -> Option<&'static str> {
    let kinds = kind.map_or_else(|| MigrationKind::ALL.to_vec(), |kind| vec![kind]);
    let written = folded(name);
    let mut found: Vec<&'static str> = kinds
        .iter()
        .flat_map(|kind| kind.attributes())
        .map(|attribute| attribute.name)
        .filter(|documented| folded(documented) == written)
        .collect();
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [only] => Some(only),
        several => several.iter().find(|documented| **documented == name).copied(),
    }
}

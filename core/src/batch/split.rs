//! One batch becomes several: the header on each, every row in exactly one, in their old order.

use std::collections::{BTreeMap, BTreeSet};

use super::sheet::{Row, Sheet};
use super::write::{FileBytes, cells_bytes, file_of, row_bytes};

/// The most files that one batch is split into.
pub const PIECES_MAX: usize = super::FILES_MAX;

/// What rows that belong together have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Nothing: they are taken as they come.
    None,
    /// The first letter of a column, counted from 0.
    Letter(usize),
    /// The value of a column, counted from 0.
    Value(usize),
}

/// How large a piece may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows, the header not counted.
    pub rows_max: u64,
    /// Bytes as written, the header included.
    pub bytes_max: u64,
}

/// One piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What tells it apart, fit for the name of a file: `01`, `A`, `A-02`.
    pub label: String,
    /// How many rows it has.
    pub rows: u64,
    /// The file.
    pub bytes: FileBytes,
}

/// A batch cannot be split like that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A limit of nothing.
    #[error("a piece must be allowed at least one row")]
    NoRoom,
    /// A row that fits into no piece.
    #[error("the row of line {line} and the header alone are longer than {max} bytes")]
    RowTooLong {
        /// The line.
        line: u64,
        /// The limit.
        max: u64,
    },
    /// Too many pieces.
    #[error("more than 10000 pieces; allow more rows in each")]
    TooManyPieces,
}

/// Splits a sheet whose rows all have as many cells as the header. A column that is `left_out` is not written.
///
/// # Errors
/// Says why the pieces would not hold what they must.
pub fn split(sheet: &Sheet, group: Group, limits: Limits, left_out: Option<usize>) -> Result<Vec<Piece>, SplitError> {
    if limits.rows_max == 0 {
        return Err(SplitError::NoRoom);
    }
    let kept = |cells: &[String]| -> Vec<String> {
        let cells = cells.iter().enumerate().filter(|(number, _)| Some(*number) != left_out);
        cells.map(|(_, cell)| cell.clone()).collect()
    };
    let header = kept(&sheet.header);
    let header_bytes = cells_bytes(&header) as u64;
    let mut groups: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in &sheet.rows {
        let written = Row { line: row.line, cells: kept(&row.cells), ended: true };
        groups.entry(label_of(row, group)).or_default().push(written);
    }
    let labels = file_labels(groups.keys());
    let mut pieces: Vec<Piece> = Vec::new();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for (label, rows) in labels.into_iter().zip(groups.values()) {
        let parts = parts_of(rows, header_bytes, limits)?;
        if pieces.len() + parts.len() > PIECES_MAX {
            return Err(SplitError::TooManyPieces);
        }
        // A part of one group may be called as another group is.
        let mut names = part_names(&label, group, parts.len());
        let mut number = 2;
        while names.iter().any(|name| taken.contains(&name.to_ascii_lowercase())) {
            names = part_names(&format!("{label}.{number}"), group, parts.len());
            number += 1;
        }
        taken.extend(names.iter().map(|name| name.to_ascii_lowercase()));
        for (label, part) in names.into_iter().zip(parts) {
            pieces.push(Piece { label, rows: part.len() as u64, bytes: file_of(&header, part.iter()) });
        }
    }
    Ok(pieces)
}

/// Returns what tells the parts of a group apart from those of all others.
fn part_names(label: &str, group: Group, parts: usize) -> Vec<String> {
    let digits = parts.to_string().len().max(2);
    let name = |number| match group {
        Group::None => format!("{number:0digits$}"),
        Group::Letter(_) | Group::Value(_) if parts == 1 => label.to_owned(),
        Group::Letter(_) | Group::Value(_) => format!("{label}-{number:0digits$}"),
    };
    (1..=parts).map(name).collect()
}

/// Cuts rows where the next one would be too much.
fn parts_of(rows: &[Row], header_bytes: u64, limits: Limits) -> Result<Vec<&[Row]>, SplitError> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, header_bytes);
    for (number, row) in rows.iter().enumerate() {
        let length = row_bytes(row) as u64;
        if header_bytes + length > limits.bytes_max {
            return Err(SplitError::RowTooLong { line: row.line, max: limits.bytes_max });
        }
        if (number - start) as u64 == limits.rows_max || bytes + length > limits.bytes_max {
            parts.extend(rows.get(start..number));
            (start, bytes) = (number, header_bytes);
        }
        bytes += length;
    }
    parts.extend(rows.get(start..).filter(|rest| !rest.is_empty()));
    Ok(parts)
}

fn label_of(row: &Row, group: Group) -> String {
    match group {
        Group::None => String::new(),
        Group::Value(column) => row.cell(column).trim().to_lowercase(),
        Group::Letter(column) => match row.cell(column).trim().chars().next() {
            Some(c) if c.is_ascii_digit() => "0-9".to_owned(),
            Some(c) if c.is_alphabetic() => c.to_uppercase().collect(),
            Some(_) | None => "other".to_owned(),
        },
    }
}

/// Turns the values of groups into parts of file names: no two alike, nothing that a file system or a shell minds.
fn file_labels<'a>(values: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for value in values {
        let mut label: String = value
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .take(40)
            .collect::<String>()
            .trim_matches('-')
            .to_owned();
        if value.chars().count() == 1 && label.is_empty() {
            label = value.chars().map(|c| format!("u{:04x}", u32::from(c))).collect();
        }
        if label.is_empty() {
            "none".clone_into(&mut label);
        }
        let mut distinct = label.clone();
        let mut number = 2;
        while labels.iter().any(|known| known.eq_ignore_ascii_case(&distinct)) {
            distinct = format!("{label}.{number}");
            number += 1;
        }
        labels.push(distinct);
    }
    labels
}

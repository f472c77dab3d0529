//! Rows and files that were not taken, and what to do about it. No message ever holds a cell.

use std::fmt;

use retention_core::id::EntityId;
use retention_core::table::TableFault;
use retention_core::text::EncodingError;

use super::change::Place;

/// A row, or a file of a directory, that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Where it stands.
    pub place: Place,
    /// Why.
    pub code: RejectCode,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.code)
    }
}

/// Why a row was not taken. Its neighbours were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RejectCode {
    /// More or fewer cells than the header has columns.
    #[error(
        "the row has {found} cells, the header has {expected} columns; quote cells that hold the delimiter, or, in a workbook, name the column or clear the cell"
    )]
    Ragged {
        /// Columns of the header.
        expected: usize,
        /// Cells of the row.
        found: usize,
    },
    /// The last line is shorter than the header and has no line end.
    #[error("the last line is cut off: {found} of {expected} cells and no line end; write the file again, whole")]
    HalfWritten {
        /// Columns of the header.
        expected: usize,
        /// Cells of the row.
        found: usize,
    },
    /// A quote is open at the end of the file.
    #[error("a quote that opens in this row is never closed, so the rest of the file could not be read; close it")]
    QuoteUnclosed,
    /// Text follows a closing quote.
    #[error("text follows a closing quote; double the quotes inside a quoted cell")]
    QuoteMisplaced,
    /// Bytes that the encoding does not know.
    #[error(
        "bytes that are not valid in the file's encoding; repair the row, or name the encoding if a mapping reads the file"
    )]
    InvalidBytes,
    /// A NUL byte.
    #[error("a NUL byte, which no text holds; repair the row")]
    NulByte,
    /// Longer than the limit.
    #[error("the row is longer than {max} bytes; shorten its longest cell, or look for a quote that is never closed")]
    RowTooLong {
        /// The limit.
        max: usize,
    },
    /// More cells than the limit.
    #[error("the row has more than {max} cells; take columns out that nobody needs, or look for another delimiter")]
    TooManyCells {
        /// The limit.
        max: usize,
    },
    /// The header again.
    #[error("the row repeats the header, as if files had been put together; the rows around it were taken")]
    HeaderRepeated,
    /// Another header, or a row below it.
    #[error(
        "the row is a header with other columns or in another order, or stands below one, as if files had been put together; drop each of them by itself"
    )]
    HeaderChanged,
    /// No id.
    #[error("the row has no id, so it could not be found again; fill the id column")]
    IdMissing,
    /// The id, or the mailbox, is what a spreadsheet made of it.
    #[error(
        "a spreadsheet has spoiled the id, the mailbox or a link: it is an error such as #N/A, or a long number shortened as 1.23457E+17 or beyond the fifteen digits that a workbook keeps; mend the formula, or save the column as text from the original file"
    )]
    SpoiledBySpreadsheet,
    /// No mailbox where the mapping names a column for it.
    #[error("the row names no mailbox; fill the mailbox column")]
    MailboxMissing,
    /// More rows than can be told apart without ids.
    #[error("more than {max} rows without ids; split the export")]
    TooManyRows {
        /// The limit.
        max: usize,
    },
    /// A file of a directory, as a whole.
    #[error(transparent)]
    File(#[from] FileError),
}

impl RejectCode {
    /// Returns the stable name in reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ragged { .. } => "ragged",
            Self::HalfWritten { .. } => "half_written",
            Self::QuoteUnclosed => "quote_unclosed",
            Self::QuoteMisplaced => "quote_misplaced",
            Self::InvalidBytes => "invalid_bytes",
            Self::NulByte => "nul_byte",
            Self::RowTooLong { .. } => "row_too_long",
            Self::TooManyCells { .. } => "too_many_cells",
            Self::HeaderRepeated => "header_repeated",
            Self::HeaderChanged => "header_changed",
            Self::IdMissing => "id_missing",
            Self::SpoiledBySpreadsheet => "spoiled_by_spreadsheet",
            Self::MailboxMissing => "mailbox_missing",
            Self::TooManyRows { .. } => "too_many_rows",
            Self::File(error) => error.name(),
        }
    }
}

/// Why a file as a whole cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The file system refused.
    #[error("the file cannot be read ({0}); check its permissions and the disk, then drop it again")]
    Io(std::io::ErrorKind),
    /// It disappeared.
    #[error("the file disappeared while it was read; drop it again")]
    Vanished,
    /// It changed while it was read.
    #[error("the file changed while it was read; write it elsewhere and rename it into the drop folder")]
    ChangedWhileRead,
    /// A symbolic link.
    #[error("a symbolic link is never followed; drop the file itself")]
    Symlink,
    /// A device, socket or pipe.
    #[error("not a regular file; drop a regular file")]
    NotRegular,
    /// Above the limit.
    #[error("the file is larger than {max} bytes; split it or raise the limit of the source")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// No file of the export format.
    #[error(
        "the directory holds none of the files of an export; their names must read Contacts.csv, Companies.csv, Deals.csv, Tasks.csv, Posts.csv, Activities.csv, ContactSchema.csv, CompanySchema.csv or DealSchema.csv"
    )]
    NoExportFile,
    /// A file of the export format that another program wrote again.
    #[error(
        "the file is written {how}, as the export never does, so another program has saved it again; drop the files as the export wrote them"
    )]
    ExportResaved {
        /// In what.
        how: &'static str,
    },
    /// A single file where export directories are taken.
    #[error(
        "this source takes directories of the export, named <mailbox>_<yyyyMMddTHHmmssffff>, and no single files; unpack an archive and drop the directory that is inside"
    )]
    NotADirectory,
    /// No header row.
    #[error("the file has no header row; the first row must name the columns")]
    NoHeader,
    /// The header row itself is broken.
    #[error("the header row cannot be read: {0}")]
    HeaderBroken(Box<RejectCode>),
    /// A column that is needed is not there.
    #[error("the header has no column {missing:?}{}", did_you_mean(.found.as_deref()))]
    ColumnMissing {
        /// The column that the mapping or the format names.
        missing: String,
        /// The column of the header that resembles it most.
        found: Option<String>,
    },
    /// A column name stands twice.
    #[error("the header names column {number} like an earlier one; give each column its own name")]
    ColumnRepeated {
        /// The number of the second one, from 1.
        number: usize,
    },
    /// A column that the mapping does not name, where it allows none.
    #[error("the mapping names no field for column {number}; name it, or set unmapped = \"ignore\" or \"custom\"")]
    ColumnUnmapped {
        /// The number, from 1.
        number: usize,
    },
    /// Most dates with one reading only have day and month the other way round.
    #[error(
        "the dates in column {number} have day and month the other way round than the mapping says: {cells} of those that can be read in one way only; nothing was taken, as the others would be read as other days; correct format in the mapping"
    )]
    DatesTurned {
        /// The number of the column, from 1.
        number: usize,
        /// How many cells say so.
        cells: u64,
    },
    /// A spreadsheet took dates of the other order for its own.
    #[error(
        "a spreadsheet has turned dates in column {number}: those whose day can be a month are dates, all of them, and the others are texts, as when it opens a CSV file in another language; nothing was taken, as they would be read as other days; drop the file that it was opened from"
    )]
    DatesTurnedBySpreadsheet {
        /// The number of the column, from 1.
        number: usize,
    },
    /// Bytes that are not UTF-8 and no encoding named.
    #[error(
        "the file is not UTF-8 and names no encoding; set encoding = \"utf-8\" to reject the broken rows only, or \"windows-1250\", \"windows-1252\", \"utf-16le\" or \"utf-16be\" in the mapping"
    )]
    EncodingDoubtful,
    /// The byte order mark, or letters that only UTF-8 writes so, say otherwise.
    #[error(
        "the file is {mark}, by its byte order mark or its letters, and the mapping says {named}; correct the mapping"
    )]
    EncodingContradicted {
        /// What the mark says.
        mark: &'static str,
        /// What the mapping says.
        named: &'static str,
    },
    /// More than one delimiter fits.
    #[error(
        "the header can be read with more than one delimiter; set delimiter = \"comma\", \"semicolon\" or \"tab\" in the mapping"
    )]
    DelimiterDoubtful,
    /// The `sep=` line says otherwise.
    #[error(
        "the first line says sep={said:?}, which is not the delimiter of the mapping, or none that can be read; correct the mapping, or save the file with commas, semicolons or tabulators"
    )]
    DelimiterContradicted {
        /// What the line says.
        said: char,
    },
    /// A ZIP archive where text belongs.
    #[error(
        "the file is a ZIP archive and not text; unpack it and drop what is inside, or, if it is a workbook, drop it as .xlsx into a source of kind \"xlsx\""
    )]
    ZipArchive,
    /// Not a workbook.
    #[error("the workbook cannot be read: it is not an XLSX file or it is damaged; save it again as .xlsx")]
    WorkbookBroken,
    /// Protected by a password.
    #[error("the workbook is encrypted or of the old .xls form; save it as .xlsx without a password")]
    WorkbookEncrypted,
    /// Unpacks to more than the limit.
    #[error("the workbook unpacks to more than {max} bytes; split it, or export CSV instead")]
    WorkbookTooLarge {
        /// The limit.
        max: u64,
    },
    /// No such sheet.
    #[error(
        "the workbook has no sheet of the name that the mapping gives, or, where it gives none, shows no sheet; correct sheet in the mapping"
    )]
    SheetMissing,
    /// The first sheet lacks a column, and there are others.
    #[error(
        "the first row of the first sheet that the workbook shows has no column {missing:?}, and it shows other sheets; name the one to read in the mapping, sheet = \"…\""
    )]
    SheetDoubtful {
        /// The column that the mapping names.
        missing: String,
    },
    /// A newer export of the same mailbox was taken in before.
    #[error(
        "a newer export of this mailbox was taken in before, by intake {intake}: its name says {newest}; nothing was taken, so that older data does not overwrite newer. To take it on purpose, rename the directory so that its name ends in .older, and drop it again"
    )]
    OlderExport {
        /// The intake that took the newer one.
        intake: EntityId,
        /// The time in its name.
        newest: jiff::civil::DateTime,
    },
    /// The name of an export is of a time that has not come.
    #[error(
        "the name of the directory says {said}, which has not come yet; nothing was taken, because every later export would look older. Rename it to when it was made, or correct the clock of this machine, and drop it again"
    )]
    FutureExport {
        /// The time in its name.
        said: jiff::civil::DateTime,
    },
    /// No mapping and no known format fits.
    #[error("no mapping of the source fits the name of the file; add a pattern under files = [...]")]
    NoMapping,
}

fn did_you_mean(found: Option<&str>) -> String {
    match found {
        Some(name) => format!("; did you mean {name:?}?"),
        None => {
            "; the first row that is not empty must name the columns: take out what stands above them, or correct the \
            header or the mapping"
                .to_owned()
        }
    }
}

impl FileError {
    /// Returns the stable name in reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Io(_) => "unreadable",
            Self::Vanished => "vanished",
            Self::ChangedWhileRead => "changed_while_read",
            Self::Symlink => "symlink",
            Self::NotRegular => "not_regular",
            Self::TooLarge { .. } => "too_large",
            Self::Empty => "empty",
            Self::NoExportFile => "no_export_file",
            Self::ExportResaved { .. } => "export_resaved",
            Self::NotADirectory => "not_a_directory",
            Self::NoHeader => "no_header",
            Self::HeaderBroken(_) => "header_broken",
            Self::ColumnMissing { .. } => "column_missing",
            Self::ColumnRepeated { .. } => "column_repeated",
            Self::ColumnUnmapped { .. } => "column_unmapped",
            Self::DatesTurned { .. } => "dates_turned",
            Self::DatesTurnedBySpreadsheet { .. } => "dates_turned_by_spreadsheet",
            Self::EncodingDoubtful => "encoding_doubtful",
            Self::EncodingContradicted { .. } => "encoding_contradicted",
            Self::DelimiterDoubtful => "delimiter_doubtful",
            Self::DelimiterContradicted { .. } => "delimiter_contradicted",
            Self::ZipArchive => "zip_archive",
            Self::WorkbookBroken => "workbook_broken",
            Self::WorkbookEncrypted => "workbook_encrypted",
            Self::WorkbookTooLarge { .. } => "workbook_too_large",
            Self::SheetMissing => "sheet_missing",
            Self::SheetDoubtful { .. } => "sheet_doubtful",
            Self::OlderExport { .. } => "older_export",
            Self::FutureExport { .. } => "future_export",
            Self::NoMapping => "no_mapping",
        }
    }
}

impl From<TableFault> for RejectCode {
    fn from(fault: TableFault) -> Self {
        match fault {
            TableFault::QuoteUnclosed => Self::QuoteUnclosed,
            TableFault::QuoteMisplaced => Self::QuoteMisplaced,
            TableFault::InvalidBytes => Self::InvalidBytes,
            TableFault::NulByte => Self::NulByte,
            TableFault::RowTooLong { max } => Self::RowTooLong { max },
            TableFault::TooManyCells { max } => Self::TooManyCells { max },
        }
    }
}

impl From<EncodingError> for FileError {
    fn from(error: EncodingError) -> Self {
        match error {
            EncodingError::Doubtful => Self::EncodingDoubtful,
            EncodingError::Contradicted { mark, named } => Self::EncodingContradicted { mark, named },
        }
    }
}

impl From<std::io::Error> for FileError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Vanished,
            kind => Self::Io(kind),
        }
    }
}

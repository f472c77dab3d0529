//! What a feed hands out: rows with their place, and what went wrong beside them.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use retention_core::record::{Cells, DateRole, Kind, Layout, SourceLink, Visibility};
pub use retention_core::text::Certainty;
use retention_core::time::Timestamp;
use serde::Serialize;

use super::defect::Defect;
use super::rejection::{FileError, Rejection};

/// Where in the claimed file or directory something stands. Names no file of the outside world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The fixed name of a file inside a claimed directory; none when the claimed thing is itself the file.
    pub file: Option<&'static str>,
    /// The line on which the row begins, from 1; 0 means the file as a whole. In a workbook: the row.
    pub line: u64,
    /// The column, from 1.
    pub column: Option<u16>,
}

impl Place {
    /// The start of a line.
    #[must_use]
    pub fn line(file: Option<&'static str>, line: u64) -> Self {
        Self { file, line, column: None }
    }

    /// A file as a whole.
    #[must_use]
    pub fn whole(file: Option<&'static str>) -> Self {
        Self::line(file, 0)
    }

    /// The same line, at a column counted from 0.
    #[must_use]
    pub fn at_column(self, number: usize) -> Self {
        Self { column: u16::try_from(number.saturating_add(1)).ok(), ..self }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file.unwrap_or("the file"))?;
        if self.line > 0 {
            write!(f, " line {}", self.line)?;
        }
        match self.column {
            Some(column) => write!(f, " column {column}"),
            None => Ok(()),
        }
    }
}

/// One row, typed. Personal data: `Debug` shows its place only.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceRow {
    /// The number of its layout, counted from 0 in the order in which this read announced them.
    pub layout: usize,
    /// The address of the mailbox it lives in, in lower case.
    pub mailbox: Option<Arc<str>>,
    /// Who shares it.
    pub visibility: Visibility,
    /// The id in the source: never empty.
    pub external_id: String,
    /// Other ids under which links find it.
    pub other_ids: Vec<String>,
    /// Known dates, each role at most once, in order of role.
    pub dates: Vec<(DateRole, Timestamp)>,
    /// Links to other entities.
    pub links: Vec<SourceLink>,
    /// The cells, as many as the layout has columns.
    pub cells: Cells,
    /// Where it stands.
    pub place: Place,
}

impl fmt::Debug for SourceRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceRow").field("layout", &self.layout).field("place", &self.place).finish_non_exhaustive()
    }
}

/// The source says that an entity is gone. Personal data: `Debug` shows its place only.
#[derive(Clone, PartialEq, Eq)]
pub struct Departure {
    /// What it was.
    pub kind: Kind,
    /// The mailbox it lived in.
    pub mailbox: Option<Arc<str>>,
    /// The id in the source.
    pub external_id: String,
    /// The id under which it may have been taken in before, with what guards it.
    pub former_id: Option<String>,
    /// Where that is said.
    pub place: Place,
}

impl fmt::Debug for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Departure").field("kind", &self.kind).field("place", &self.place).finish_non_exhaustive()
    }
}

/// One thing that a feed tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The next layout: rows that follow refer to it by number.
    Layout(Layout),
    /// An entity as the source tells it now.
    Row(SourceRow),
    /// An entity that the source marks as deleted.
    Departed(Departure),
    /// A row or a file of a directory that was not taken. The rows beside it were.
    Rejected(Rejection),
    /// An oddity that was handled: the row beside it was taken.
    Defect(Defect, Place),
    /// Every entity of this kind in this mailbox has been told: what was not told is gone from the source.
    ///
    /// **Invariant:** never after a rejected row of that kind, never for a file that ends early.
    SnapshotOf {
        /// The mailbox; none means the source has none.
        mailbox: Option<Arc<str>>,
        /// The kind.
        kind: Kind,
    },
}

/// Where changes go. Breaking stops the read at once, without an error.
pub type Sink<'a> = dyn FnMut(Change) -> ControlFlow<()> + 'a;

/// The sequence of changes that one claimed file or directory holds.
pub trait Feed {
    /// Reads everything once, in order, within bounded memory.
    ///
    /// # Errors
    /// Says why the file as a whole cannot be read. Changes handed out before it are true, but no snapshot followed.
    fn read(&mut self, sink: &mut Sink<'_>) -> Result<ReadSummary, FileError>;
}

/// How a file was understood: told to the operator, never guessed in silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Detected {
    /// The fixed name of the file inside a directory.
    pub file: Option<&'static str>,
    /// The encoding, or `xlsx`.
    pub encoding: &'static str,
    /// The name of the delimiter; none in a workbook.
    pub delimiter: Option<&'static str>,
    /// How sure that is.
    pub certainty: Certainty,
}

/// What a read did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ReadSummary {
    /// Rows handed out, departures included.
    pub rows: u64,
    /// Rows and files rejected.
    pub rejected: u64,
    /// Defects counted.
    pub defects: u64,
    /// How each file was understood.
    pub detected: Vec<Detected>,
    /// Whether the sink stopped the read.
    pub stopped: bool,
}

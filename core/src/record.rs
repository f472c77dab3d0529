//! What is kept: entities of all kinds, as lossless cells beside the dates and links that policies need.

use std::fmt;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{EntityId, LayoutId};
use crate::time::Timestamp;

pub mod activity;
pub mod field;
pub mod message;
pub mod month;
pub mod redact;

/// What an entity is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Kind {
    /// A person who is dealt with.
    Contact = 1,
    /// An organisation.
    Company = 2,
    /// An opportunity or a contract.
    Deal = 3,
    /// One line of the activity stream: who did what to which record.
    Activity = 4,
    /// A note, call or meeting that a user entered.
    Post = 5,
    /// A task.
    Task = 6,
    /// A derived hint of the CRM.
    Insight = 7,
    /// The definition of a custom field.
    Template = 8,
    /// A reference to a file that is kept elsewhere.
    File = 9,
    /// A mailbox: the scope in which the others live.
    Mailbox = 10,
    /// One intake: a file or directory that was taken in.
    Intake = 11,
    /// A message in a folder of a mailbox on a mail server.
    Message = 12,
    /// A month of the log: its key seals what people wrote in it.
    AuditMonth = 13,
}

impl Kind {
    /// All kinds, in order.
    pub const ALL: [Self; 13] = [
        Self::Contact,
        Self::Company,
        Self::Deal,
        Self::Activity,
        Self::Post,
        Self::Task,
        Self::Insight,
        Self::Template,
        Self::File,
        Self::Mailbox,
        Self::Intake,
        Self::Message,
        Self::AuditMonth,
    ];

    /// The kinds that deliveries bring and that policies can purge.
    pub const FROM_SOURCES: [Self; 9] = [
        Self::Contact,
        Self::Company,
        Self::Deal,
        Self::Activity,
        Self::Post,
        Self::Task,
        Self::Insight,
        Self::Template,
        Self::File,
    ];

    /// The kinds that can be about a data subject: what deliveries bring, and what is found in mailboxes.
    pub const OF_SUBJECTS: [Self; 10] = [
        Self::Contact,
        Self::Company,
        Self::Deal,
        Self::Activity,
        Self::Post,
        Self::Task,
        Self::Insight,
        Self::Template,
        Self::File,
        Self::Message,
    ];

    /// Returns the kinds that policies can be about: those of data subjects, and the months of the log.
    pub fn under_policy() -> impl Iterator<Item = Self> {
        Self::OF_SUBJECTS.into_iter().chain([Self::AuditMonth])
    }

    /// Returns the name used in policies, mapping files and the control API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Company => "company",
            Self::Deal => "deal",
            Self::Activity => "activity",
            Self::Post => "post",
            Self::Task => "task",
            Self::Insight => "insight",
            Self::Template => "template",
            Self::File => "file",
            Self::Mailbox => "mailbox",
            Self::Intake => "intake",
            Self::Message => "message",
            Self::AuditMonth => "audit_month",
        }
    }

    /// Returns the kind of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Who shares an entity in its source.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Visibility {
    /// The source does not say.
    #[default]
    Unknown = 0,
    /// Only the owner of the mailbox sees it.
    Private = 1,
    /// Everybody in the sharing group sees it.
    Shared = 2,
}

/// What the text of a column means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// Any text.
    Text,
    /// Several texts, joined by `|`.
    List,
    /// A decimal number with a point.
    Number,
    /// A sum of money; the text may carry a currency.
    Money,
    /// `true` or `false`, in any case.
    Boolean,
    /// A date or an instant.
    Date,
}

impl FieldType {
    /// Returns the name, as it stands in bundles.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::List => "list",
            Self::Number => "number",
            Self::Money => "money",
            Self::Boolean => "boolean",
            Self::Date => "date",
        }
    }
}

/// One column of a layout.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize, ToSchema)]
pub struct Column {
    /// The name in the header of the file, byte for byte.
    pub name: String,
    /// The field it fills: a standard name of [`field`], or `custom.<label>`.
    pub field: String,
    /// How policies read it.
    pub field_type: FieldType,
}

/// How the cells of one kind of one source are arranged. Recorded once, then referred to by number.
///
/// **Invariant:** holds no personal data; the order of columns is the order of the cells.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize, ToSchema)]
pub struct Layout {
    /// The name of the source in the configuration.
    pub source: String,
    /// What the rows are.
    pub kind: Kind,
    /// The columns, in file order.
    pub columns: Vec<Column>,
    /// Names of event dates (`event:<name>` in policies) that [`DateRole::Named`] counts into.
    pub named_dates: Vec<String>,
}

impl Layout {
    /// Returns the number of the column that fills a field.
    #[must_use]
    pub fn column_of(&self, field: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.field == field)
    }
}

/// What a date says about an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum DateRole {
    /// When it was made in the source.
    Created,
    /// When it was last changed in the source.
    Modified,
    /// When somebody last dealt with it, if the source itself says so.
    LastActivity,
    /// When it was closed (deals, tasks).
    Closed,
    /// When the contract ends.
    ContractEnd,
    /// When it was received.
    Received,
    /// When it happened (activities, posts).
    Occurred,
    /// When it is to be done (tasks).
    Deadline,
    /// When a permission was granted.
    Granted,
    /// A date that the source's mapping names: an index into [`Layout::named_dates`].
    Named(u16),
}

impl DateRole {
    /// The roles that have a name of their own, as files write it.
    pub const NAMES: [(&'static str, Self); 9] = [
        ("created", Self::Created),
        ("modified", Self::Modified),
        ("last_activity", Self::LastActivity),
        ("closed", Self::Closed),
        ("contract_end", Self::ContractEnd),
        ("received", Self::Received),
        ("occurred", Self::Occurred),
        ("deadline", Self::Deadline),
        ("granted", Self::Granted),
    ];

    /// Returns the name; `None` for a date that a mapping names.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Self::NAMES.iter().find(|(_, role)| *role == self).map(|(name, _)| *name)
    }
}

/// How one entity is tied to another.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Relation {
    /// Two records name each other (contact, company, deal).
    Associated = 1,
    /// A task, post or activity is about a record: it counts as activity of that record.
    About = 2,
}

/// A link as the source tells it: by external id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct SourceLink {
    /// How the two are tied.
    pub relation: Relation,
    /// What the other end is.
    pub kind: Kind,
    /// The external id of the other end, in the same mailbox, or, where that has none of this id, in others of the source.
    pub external_id: String,
}

/// The cells of one row: text, where null, `""` and `" "` stay three different things.
///
/// Kept as one buffer, because a million rows of 43 strings would cost 43 million allocations.
#[derive(Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Cells {
    text: String,
    /// The end of each cell in `text`.
    ends: Vec<u32>,
    /// The numbers of the cells that are null, ascending.
    nulls: Vec<u16>,
}

/// A row cannot be held: more than 65,535 cells or more than 4 GiB of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the row is too large: at most 65535 cells and 4 GiB of text")]
pub struct RowTooLarge;

impl Cells {
    /// An empty row with room for `columns` cells and `bytes` of text.
    #[must_use]
    pub fn with_capacity(columns: usize, bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: Vec::with_capacity(columns), nulls: Vec::new() }
    }

    /// Adds a cell.
    ///
    /// # Errors
    /// Says when the row cannot hold it.
    pub fn push(&mut self, cell: Option<&str>) -> Result<(), RowTooLarge> {
        let number = u16::try_from(self.ends.len()).map_err(|_| RowTooLarge)?;
        match cell {
            Some(text) => self.text.push_str(text),
            None => self.nulls.push(number),
        }
        self.ends.push(u32::try_from(self.text.len()).map_err(|_| RowTooLarge)?);
        Ok(())
    }

    /// Returns how many cells there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Says whether there is no cell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns how many bytes of text the cells have.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Returns a cell: `None` when it is null or not there.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<&str> {
        let end = *self.ends.get(number)? as usize;
        let start = match number.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        if u16::try_from(number).is_ok_and(|n| self.nulls.binary_search(&n).is_ok()) {
            return None;
        }
        self.text.get(start..end)
    }

    /// Returns all cells in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        (0..self.len()).map(|number| self.get(number))
    }

    /// Says whether the parts fit together, after they were read from bytes.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let mut start = 0;
        for &end in &self.ends {
            let end = end as usize;
            if end < start || !self.text.is_char_boundary(end) {
                return false;
            }
            start = end;
        }
        start == self.text.len()
            && self.nulls.windows(2).all(|pair| matches!(pair, [a, b] if a < b))
            && self.nulls.last().is_none_or(|&last| usize::from(last) < self.ends.len())
    }
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cells({} cells, sealed content not shown)", self.len())
    }
}

impl<'a> FromIterator<Option<&'a str>> for Cells {
    /// Collects cells; those beyond what a row can hold are an error that [`Cells::push`] reports, so use that
    /// for outside data.
    fn from_iter<I: IntoIterator<Item = Option<&'a str>>>(cells: I) -> Self {
        let mut row = Self::default();
        for cell in cells {
            if row.push(cell).is_err() {
                break;
            }
        }
        row
    }
}

/// The state of one entity, as its source last told it.
///
/// **Invariant:** personal data. It exists in memory and sealed, never in diagnostics; `Debug` shows no content.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct EntityRecord {
    /// How the cells are arranged, and what kind and source this is.
    pub layout: LayoutId,
    /// The mailbox it lives in.
    pub mailbox: Option<EntityId>,
    /// Who shares it.
    pub visibility: Visibility,
    /// The id in the source. Unique per source, mailbox and kind.
    pub external_id: String,
    /// Other ids under which links find it (a persona of several linked items).
    pub other_ids: Vec<String>,
    /// What dates are known, each role at most once, in order.
    pub dates: Vec<(DateRole, Timestamp)>,
    /// Links to other entities.
    pub links: Vec<SourceLink>,
    /// The row.
    pub cells: Cells,
}

impl EntityRecord {
    /// Returns a date by role.
    #[must_use]
    pub fn date(&self, role: DateRole) -> Option<Timestamp> {
        self.dates.iter().find(|(r, _)| *r == role).map(|(_, at)| *at)
    }
}

impl fmt::Debug for EntityRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntityRecord").field("layout", &self.layout).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_empty_and_blank_stay_different() {
        let cells: Cells = [None, Some(""), Some(" "), Some("é"), None].into_iter().collect();
        assert_eq!(cells.iter().collect::<Vec<_>>(), [None, Some(""), Some(" "), Some("é"), None]);
        assert!(cells.is_consistent());
        assert_eq!(cells.get(9), None);
    }

    #[test]
    fn kinds_have_distinct_names() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
    }
}

//! Oddities of a source that were seen and handled: counted, explained, and never silent.

use serde::Serialize;

/// A known oddity. The row it was seen in was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Defect {
    /// A file of the export is not there.
    FileAbsent,
    /// `Posts.csv` is not there.
    PostsNeverWritten,
    /// A file that the export never writes.
    FileUnknown,
    /// The directory is a bundle.
    BundleInPart,
    /// A workbook shows another sheet that is not empty.
    SheetUnread,
    /// A formula whose result is not in the workbook.
    FormulaWithoutResult,
    /// A quoted cell holds whole rows.
    CellHoldsRows,
    /// The last line has no line end.
    LineEndMissing,
    /// A rejected row, an early end, or what may hold rows that were not read spoils the snapshot.
    SnapshotIncomplete,
    /// More than one page of posts or activities.
    PagesUnfiltered,
    /// An activity that is a post.
    ForeignRow,
    /// `Shared` of a deal.
    DealSharedInverted,
    /// `Shared` is neither true nor false.
    SharedUnreadable,
    /// `ItemId` of a contact.
    ContactItemIdUntrusted,
    /// The id column is empty.
    IdFallback,
    /// An id stands a second time.
    IdRepeated,
    /// The `XrmID` of a task repeats.
    TaskStale,
    /// An activity has no id.
    ActivityWithoutId,
    /// A literal `Z` or a local time without zone.
    ZoneUnknown,
    /// A date without time that may be shifted by a day.
    DayUncertain,
    /// 1601-01-01, 1899-12-30, 1970-01-01 or another date that means none.
    SentinelDate,
    /// A date in the culture of the machine that can be read.
    CultureDate,
    /// Day and month cannot be told apart.
    DateAmbiguous,
    /// Not a date.
    DateUnreadable,
    /// `USD` whatever the currency.
    CurrencyHardCoded,
    /// An amount whose separators cannot be told apart.
    AmountAmbiguous,
    /// Not a number.
    NumberUnreadable,
    /// `?` in an ASCII file.
    CharactersLost,
    /// Notes of the length at which the export cuts.
    NotesPerhapsCut,
    /// Notes with markup.
    NotesMarkup,
    /// A cell that a spreadsheet would compute.
    FormulaText,
    /// Several values in a cell, joined by an unescaped `|`.
    ValuesJoined,
    /// The type of a parent is not known.
    ParentUnknown,
    /// A deal's status is neither open nor closed.
    DealStatusUnknown,
    /// A custom field named like a fixed column.
    CustomHidesColumn,
    /// Two custom fields of one name.
    CustomRepeated,
    /// A custom column without a line in the schema file.
    CustomWithoutSchema,
    /// A custom field of the schema without a column.
    CustomWithoutColumn,
    /// A custom field of a type that is not known.
    CustomTypeUnknown,
}

impl Defect {
    /// Returns the stable name in reports and events.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.texts().0
    }

    /// Returns one sentence that says what it is and how it was handled.
    #[must_use]
    pub fn explain(self) -> &'static str {
        self.texts().1
    }

    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::FileAbsent => (
                "file_absent",
                "the export writes no file for an empty or failed kind, so nothing is known about that kind and nothing is recorded as gone",
            ),
            Self::PostsNeverWritten => (
                "posts_never_written",
                "version 1.4 of the export script fails before it writes Posts.csv, so posts may exist that no export holds",
            ),
            Self::FileUnknown => {
                ("file_unknown", "the directory holds a file that the export never writes; it was not read")
            }
            Self::BundleInPart => (
                "bundle_in_part",
                "the directory is a bundle, which holds no more than a run exported, so nothing is recorded as gone",
            ),
            Self::SheetUnread => (
                "sheet_unread",
                "the workbook shows another sheet that is not empty and was not read; name the one to read, sheet = \"…\" in the mapping, and save others as workbooks of their own",
            ),
            Self::FormulaWithoutResult => (
                "formula_without_result",
                "the cell is a formula whose result was never saved, so it counts as empty; open the workbook in the spreadsheet program, save it, and drop it again",
            ),
            Self::CellHoldsRows => (
                "cell_holds_rows",
                "a quoted cell holds lines that are divided as rows are, so a quote that was never closed may have taken up the rows below it; it was kept as it stands, and nothing is recorded as gone; look at the line, and double the quotes inside cells",
            ),
            Self::LineEndMissing => (
                "line_end_missing",
                "the export ends every file with a line end, so this file may be cut and is not taken as a snapshot",
            ),
            Self::SnapshotIncomplete => (
                "snapshot_incomplete",
                "a rejected row, an early end, a sheet or a cell with rows that were not read, or no row at all makes the file incomplete, so nothing is recorded as gone",
            ),
            Self::PagesUnfiltered => (
                "pages_unfiltered",
                "beyond 100 rows the export loses its filter and mixes in or misses stream items, so nothing is recorded as gone",
            ),
            Self::ForeignRow => {
                ("foreign_row", "a post among the activities comes from an unfiltered page; it was kept as an activity")
            }
            Self::DealSharedInverted => {
                ("deal_shared_inverted", "the export writes Shared of deals the wrong way round; it was turned")
            }
            Self::SharedUnreadable => {
                ("shared_unreadable", "Shared is neither true nor false, so the visibility is unknown")
            }
            Self::ContactItemIdUntrusted => (
                "contact_item_id_untrusted",
                "the export repeats ItemId of an earlier contact; the cell was kept and never used as an id",
            ),
            Self::IdFallback => ("id_fallback", "XrmId is empty, so the next best id of the row was used"),
            Self::IdRepeated => (
                "id_repeated",
                "an id stands twice in one file, because the export pages through changing data; the later row counts",
            ),
            Self::TaskStale => (
                "task_stale",
                "a task shows XrmID of an earlier task, so its parent, start and due date may be that task's; the cells were kept, link and deadline were not trusted",
            ),
            Self::ActivityWithoutId => {
                ("activity_without_id", "activities have no id, so one was derived from the content of the row")
            }
            Self::ZoneUnknown => (
                "zone_unknown",
                "the time names no trustworthy zone, so the latest possible instant was taken; set the zone of the source to be exact",
            ),
            Self::DayUncertain => (
                "day_uncertain",
                "the export may shift a date by one day, so the last instant of the latest reading was taken",
            ),
            Self::SentinelDate => (
                "sentinel_date",
                "0001-01-01, 1601-01-01, 1753-01-01, 1899-12-30, 1900-01-01, 1970-01-01 and the like are what programs write where there is no date, so none was used; the cell was kept",
            ),
            Self::CultureDate => (
                "culture_date",
                "the date is written in the culture of the machine and has one reading only, which was taken",
            ),
            Self::DateAmbiguous => (
                "date_ambiguous",
                "day and month cannot be told apart, so the date was not used, and an activity counts as of when it was first seen; the cell was kept",
            ),
            Self::DateUnreadable => (
                "date_unreadable",
                "the cell is not a date in the expected form, or one of a year up to 1900, so the date was not used, and an activity counts as of when it was first seen; the cell was kept",
            ),
            Self::CurrencyHardCoded => (
                "currency_hard_coded",
                "the export writes USD whatever the currency is; the amount was kept as written",
            ),
            Self::AmountAmbiguous => {
                ("amount_ambiguous", "the separators of the amount have more than one reading; it was kept as written")
            }
            Self::NumberUnreadable => {
                ("number_unreadable", "the cell is not a number in the expected form; it was kept as written")
            }
            Self::CharactersLost => (
                "characters_lost",
                "the file is ASCII and the cell holds a question mark, which Windows PowerShell writes for every other character",
            ),
            Self::NotesPerhapsCut => (
                "notes_perhaps_cut",
                "the notes have the length at which the export cuts when the full text cannot be fetched",
            ),
            Self::NotesMarkup => ("notes_markup", "the notes hold HTML; they were kept as written"),
            Self::FormulaText => (
                "formula_text",
                "the cell begins like a spreadsheet formula; it was kept as written, and the safe CSV profile neutralises it",
            ),
            Self::ValuesJoined => (
                "values_joined",
                "several values are joined by a bar that the export does not escape; the cell was kept as written",
            ),
            Self::ParentUnknown => (
                "parent_unknown",
                "the type of the parent is not known, so the parent was looked for among contacts, companies and deals",
            ),
            Self::DealStatusUnknown => (
                "deal_status_unknown",
                "the status of the deal is not known as closed, so it counts as open and its close date as a forecast",
            ),
            Self::CustomHidesColumn => (
                "custom_hides_column",
                "a custom field is named like a fixed column and takes its place in the file; the column was read as the custom field",
            ),
            Self::CustomRepeated => {
                ("custom_repeated", "two custom fields share one name and one column; the column was read as text")
            }
            Self::CustomWithoutSchema => (
                "custom_without_schema",
                "a column is neither fixed nor in the schema file; it was kept as custom text",
            ),
            Self::CustomWithoutColumn => (
                "custom_without_column",
                "the schema file names a custom field that the data file does not hold; its values are unknown",
            ),
            Self::CustomTypeUnknown => {
                ("custom_type_unknown", "the type of a custom field is not known; it was read as text")
            }
        }
    }
}

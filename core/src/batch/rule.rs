//! What is wrong with a batch, as people read it. No message holds a cell.

use super::kind::MigrationKind;
use super::login::{LoginFault, NameForm};
use crate::table::TableFault;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// The row, or the file, would be refused.
    Error,
    /// It would be taken, and probably not as meant.
    Warning,
    /// Good to know.
    Note,
}

/// One finding and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1; `None` means the file as a whole.
    pub line: Option<u64>,
    /// The column, from 1, as a spreadsheet counts.
    pub column: Option<usize>,
    /// The row it spoils, counted from 0 among the rows of the sheet.
    pub row: Option<usize>,
    /// What it is.
    pub rule: Rule,
}

/// Everything that can be said of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rule {
    /// Which kind was taken, and why.
    #[error("taken for {}: {why}", .kind.meaning())]
    Kind {
        /// The kind.
        kind: MigrationKind,
        /// Where that is known from.
        why: &'static str,
    },
    /// The header fits several kinds.
    #[error("the header fits more than one kind of batch: {}", names(.0))]
    KindDoubtful(Vec<MigrationKind>),
    /// The header is none.
    #[error("the first row names no attribute of any kind of batch; it must name the columns")]
    HeaderUnknown,
    /// How many users there are.
    #[error("{rows} rows, {good} of them good")]
    Rows {
        /// Rows.
        rows: u64,
        /// Rows without an error.
        good: u64,
    },
    /// Nothing below the header.
    #[error("the file has a header and no row")]
    NoRows,
    /// Not UTF-8.
    #[error("the file is written in {0}; letters outside ASCII would be read wrongly")]
    NotUnicode(&'static str),
    /// UTF-16.
    #[error("the file is written in {0}; that is Unicode, but the documentation names UTF-8 first")]
    Utf16(&'static str),
    /// A mark that the documentation does not mention.
    #[error("the file begins with a byte order mark, which the documentation does not mention")]
    Mark,
    /// Semicolons or tabs.
    #[error("the cells are separated by {0}; only the comma is taken")]
    NotComma(&'static str),
    /// `sep=;`
    #[error("the first line is a sep= line, which only Excel understands")]
    SeparatorLine,
    /// An ending that is not taken.
    #[error("the name of the file does not end with .csv or .txt")]
    FileName,
    /// More rows than documented.
    #[error("{rows} rows; {} takes at most {max}", .kind.meaning())]
    TooManyRows {
        /// The kind.
        kind: MigrationKind,
        /// Rows.
        rows: u64,
        /// The limit.
        max: u64,
    },
    /// More bytes than documented.
    #[error("{bytes} bytes; {} takes at most {max}", .kind.meaning())]
    TooManyBytes {
        /// The kind.
        kind: MigrationKind,
        /// The length.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A required column is not there.
    #[error("the header has no column {0}, which is required")]
    ColumnMissing(&'static str),
    /// A column in another spelling.
    #[error("a column is not spelt exactly as documented: did you mean {0}?")]
    ColumnSpelling(&'static str),
    /// A column that resembles an attribute.
    #[error("an unknown column: did you mean {0}?")]
    ColumnNear(&'static str),
    /// A column that is no attribute.
    #[error("an unknown column; the migration would fail")]
    ColumnUnknown,
    /// A column that is no attribute, where unknown ones are allowed.
    #[error("an unknown column; it is ignored, as -AllowUnknownColumnsInCsv says")]
    ColumnIgnored,
    /// A column without a name.
    #[error("a column without a name")]
    ColumnUnnamed,
    /// The same column twice.
    #[error("the column {0} stands twice")]
    ColumnRepeated(&'static str),
    /// The header of a PST mapping was changed.
    #[error("the header of a PST mapping must not be changed: its columns are not in the documented order")]
    HeaderChanged,
    /// Not as many cells as columns.
    #[error("the row has {found} cells, the header has {expected} columns")]
    Ragged {
        /// Columns.
        expected: usize,
        /// Cells.
        found: usize,
    },
    /// The last row is cut off.
    #[error("the last row is cut off: {found} of {expected} cells and no line end")]
    CutOff {
        /// Columns.
        expected: usize,
        /// Cells.
        found: usize,
    },
    /// Not a row.
    #[error("{0}")]
    NotARow(TableFault),
    /// Blank rows.
    #[error("{0} blank lines, the first of them here; they are left out")]
    BlankLines(u64),
    /// An empty cell.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// An empty cell that only the batch could fill.
    #[error("{0} is empty, and the batch gives no value for it")]
    EmptyOfBatch(&'static str),
    /// A column that only the batch could stand in for.
    #[error("the header has no column {0}, and the batch gives no value for it")]
    MissingOfBatch(&'static str),
    /// Blanks before or after.
    #[error("{attribute} begins or ends with a space")]
    SpaceAround {
        /// The attribute.
        attribute: &'static str,
    },
    /// A password with blanks around it.
    #[error("Password begins or ends with a space; it is kept, as a part of the password")]
    PasswordSpace,
    /// A password of more than one line, or with a NUL byte.
    #[error("Password holds a line break or a NUL byte, which no login can send")]
    PasswordLines,
    /// A password with a tabulator or the like.
    #[error("Password holds a control character; it is kept, as a part of the password")]
    PasswordControl,
    /// A line break or another control character.
    #[error("{attribute} holds a control character, such as a line break")]
    ControlCharacter {
        /// The attribute.
        attribute: &'static str,
    },
    /// Not an address.
    #[error("{attribute} is not a valid SMTP address")]
    NotAnAddress {
        /// The attribute.
        attribute: &'static str,
    },
    /// Neither an address nor a GUID.
    #[error("{attribute} is neither a valid SMTP address nor the GUID of a mailbox")]
    NotAnAddressOrGuid {
        /// The attribute.
        attribute: &'static str,
    },
    /// A password that no tenant takes.
    #[error("Password has fewer than eight characters")]
    PasswordShort,
    /// A word in another case.
    #[error("{attribute} is documented as {meant}; another case is probably taken")]
    WordCase {
        /// The attribute.
        attribute: &'static str,
        /// As documented.
        meant: &'static str,
    },
    /// None of the words.
    #[error("{attribute} must be {}", .words.join(" or "))]
    NotAWord {
        /// The attribute.
        attribute: &'static str,
        /// What it may be.
        words: &'static [&'static str],
        /// What was probably meant.
        meant: Option<&'static str>,
    },
    /// Not a limit.
    #[error("{attribute} must be Unlimited or a whole number from 0 to 2147483647")]
    NotALimit {
        /// The attribute.
        attribute: &'static str,
    },
    /// Limits that Exchange Online no longer follows.
    #[error("{0} is deprecated in Exchange Online: the data consistency score took its place")]
    LimitDeprecated(&'static str),
    /// Not `\...`
    #[error("FolderPath does not begin with a backslash")]
    NotAFolderPath,
    /// Not `/...`
    #[error("UserRoot does not begin with a slash; the documented form is a path such as /users/name")]
    UserRootForm,
    /// Another workload.
    #[error("Workload must be Exchange")]
    NotExchange,
    /// The container's own name.
    #[error("FilePath must not name ingestiondata: it begins below it")]
    PstFolderForm,
    /// Not a PST file.
    #[error("Name does not end with .pst")]
    NotAPst,
    /// Not `/...`
    #[error("TargetRootFolder must be empty, / or /Name")]
    TargetRootForm,
    /// Not a number.
    #[error("ContentCodePage must be the number of a code page, such as 932")]
    NotACodePage,
    /// A column that is kept for later.
    #[error("{attribute} must stay empty")]
    MustBeBlank {
        /// The attribute.
        attribute: &'static str,
    },
    /// Twice in this file.
    #[error("{key} is the same as in line {line}")]
    Repeated {
        /// The column.
        key: &'static str,
        /// The other line.
        line: u64,
    },
    /// In another file too.
    #[error("{key} is the same as in line {line} of {file}")]
    RepeatedElsewhere {
        /// The column.
        key: &'static str,
        /// The other file.
        file: String,
        /// The other line.
        line: u64,
    },
    /// Two target mailboxes from one source.
    #[error("UserName is the same as in line {0}: two mailboxes would be filled from one")]
    SourceRepeated(u64),
    /// Two folders for one group.
    #[error(
        "TargetGroupMailbox is the same as in line {0}; only a mail folder and a calendar folder may share a group"
    )]
    GroupRepeated(u64),
    /// No root row.
    #[error("no row for the root folder \\, whose mailbox becomes the primary hierarchy mailbox")]
    RootMissing,
    /// A form of login and how often it is used.
    #[error("{rows} rows log in as {}", .form.explanation())]
    LoginForms {
        /// The form.
        form: NameForm,
        /// Rows.
        rows: u64,
    },
    /// More than one form.
    #[error("the rows use {0} different forms of login")]
    FormsMixed(usize),
    /// More than one administrator.
    #[error("the rows name {0} different administrators")]
    AdminsMixed(usize),
    /// Almost a form.
    #[error("UserName {0}")]
    NameForm(LoginFault),
    /// What a spreadsheet would run.
    #[error("{0} begins like a formula: opening and saving the file in a spreadsheet would change it")]
    Formula(&'static str),
    /// The same warning of many rows.
    #[error("{rule}; so in {rows} rows: lines {}", lines_of(.lines, *.rows))]
    Many {
        /// What is said of each of them.
        rule: Box<Self>,
        /// How many rows.
        rows: u64,
        /// The first lines.
        lines: Vec<u64>,
    },
    /// A move that the source begins.
    #[error(
        "rows name no TargetDatabase: that is right where the target forest begins the move, and refused where the \
         source forest does and the batch gives none"
    )]
    DatabaseOfPush,
    /// AD FS.
    #[error("ForceChangePassword is True here; where users sign in through AD FS it must be False")]
    ForceChange,
    /// Retention hold.
    #[error("after the import each mailbox is put on retention hold until somebody ends it: policies stop there")]
    RetentionHold,
}

fn names(kinds: &[MigrationKind]) -> String {
    kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

fn lines_of(lines: &[u64], rows: u64) -> String {
    let told = lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if rows > lines.len() as u64 { format!("{told} and more") } else { told }
}

/// The words of a command that is suggested, as a shell reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// The file.
    pub file: String,
    /// How the file is written, where the caller said so: options, or nothing.
    pub reading: String,
    /// What was said of the batch beside the file: options, or nothing.
    pub rules: String,
    /// The kind, where it is known.
    pub kind: Option<MigrationKind>,
    /// Where the converted file goes.
    pub converted: String,
    /// Where the pieces go.
    pub pieces: String,
    /// Whether a conversion would be refused as the file stands: its header or some of its rows cannot be read.
    pub needs_mending_first: bool,
}

impl Default for Words {
    /// Stands for any file.
    fn default() -> Self {
        let [file, converted, pieces] = ["FILE", "NEW", "DIR"].map(str::to_owned);
        let [reading, rules] = [String::new(), String::new()];
        Self { file, reading, rules, kind: None, converted, pieces, needs_mending_first: false }
    }
}

impl Words {
    fn convert(&self, kind: Option<MigrationKind>) -> String {
        let Self { file, reading, converted, .. } = self;
        let kind = kind.or(self.kind).map_or_else(String::new, |kind| format!(" --kind {kind}"));
        let command = format!("retentionctl batch convert {file}{reading}{kind} --into {converted}");
        if !self.needs_mending_first {
            return command;
        }
        format!("first mend the header, or the rows that do not fit it; then {command}")
    }

    fn split(&self, kind: MigrationKind) -> String {
        let Self { file, reading, rules, pieces, .. } = self;
        format!("retentionctl batch split {file}{reading} --kind {kind}{rules} --into {pieces}")
    }
}

impl Rule {
    /// Returns how much it weighs.
    #[must_use]
    pub fn weight(&self) -> Weight {
        match self {
            Self::Kind { .. }
            | Self::Rows { .. }
            | Self::LoginForms { .. }
            | Self::DatabaseOfPush
            | Self::RetentionHold => Weight::Note,
            Self::Many { rule, .. } => rule.weight(),
            Self::Utf16(_)
            | Self::Mark
            | Self::FileName
            | Self::ColumnIgnored
            | Self::BlankLines(_)
            | Self::PasswordSpace
            | Self::PasswordControl
            | Self::WordCase { .. }
            | Self::LimitDeprecated(_)
            | Self::UserRootForm
            | Self::SourceRepeated(_)
            | Self::GroupRepeated(_)
            | Self::RootMissing
            | Self::FormsMixed(_)
            | Self::AdminsMixed(_)
            | Self::NameForm(_)
            | Self::Formula(_)
            | Self::ForceChange => Weight::Warning,
            Self::KindDoubtful(_)
            | Self::HeaderUnknown
            | Self::NoRows
            | Self::NotUnicode(_)
            | Self::NotComma(_)
            | Self::SeparatorLine
            | Self::TooManyRows { .. }
            | Self::TooManyBytes { .. }
            | Self::ColumnMissing(_)
            | Self::ColumnSpelling(_)
            | Self::ColumnNear(_)
            | Self::ColumnUnknown
            | Self::ColumnUnnamed
            | Self::ColumnRepeated(_)
            | Self::HeaderChanged
            | Self::Ragged { .. }
            | Self::CutOff { .. }
            | Self::NotARow(_)
            | Self::Empty(_)
            | Self::EmptyOfBatch(_)
            | Self::MissingOfBatch(_)
            | Self::SpaceAround { .. }
            | Self::PasswordLines
            | Self::ControlCharacter { .. }
            | Self::NotAnAddress { .. }
            | Self::NotAnAddressOrGuid { .. }
            | Self::PasswordShort
            | Self::NotAWord { .. }
            | Self::NotALimit { .. }
            | Self::NotAFolderPath
            | Self::NotExchange
            | Self::PstFolderForm
            | Self::NotAPst
            | Self::TargetRootForm
            | Self::NotACodePage
            | Self::MustBeBlank { .. }
            | Self::Repeated { .. }
            | Self::RepeatedElsewhere { .. } => Weight::Error,
        }
    }

    /// Says whether `batch convert` mends it.
    #[must_use]
    pub fn is_mended_by_convert(&self) -> bool {
        matches!(
            self,
            Self::NotUnicode(_)
                | Self::Utf16(_)
                | Self::Mark
                | Self::NotComma(_)
                | Self::SeparatorLine
                | Self::ColumnSpelling(_)
                | Self::ColumnUnnamed
                | Self::BlankLines(_)
        )
    }

    /// Returns what to do, where the finding itself does not say it: in the words of any file.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        self.hint_in(&Words::default())
    }

    /// Returns what to do, with commands that run as they stand.
    #[must_use]
    pub fn hint_in(&self, words: &Words) -> Option<String> {
        if let Self::ColumnSpelling(name @ ("UserName" | "Username")) = self {
            // Only the kind says which of the two it is.
            let kind = if *name == "UserName" { MigrationKind::Imap } else { MigrationKind::Google };
            return Some(words.convert(Some(kind)));
        }
        if self.is_mended_by_convert() {
            return Some(words.convert(None));
        }
        Some(match self {
            Self::KindDoubtful(kinds) => {
                let told: Vec<String> =
                    kinds.iter().map(|kind| format!("--kind {} for {}", kind.name(), kind.meaning())).collect();
                format!("say which: {}", told.join("; "))
            }
            Self::HeaderUnknown => {
                "write the names of the attributes into the first row, such as EmailAddress".to_owned()
            }
            Self::TooManyRows { kind, .. } | Self::TooManyBytes { kind, .. } => words.split(*kind),
            Self::Many { rule, .. } => return rule.hint_in(words),
            Self::ColumnUnknown => {
                "take the column out, or allow it with --allow-unknown-columns and -AllowUnknownColumnsInCsv $true"
                    .to_owned()
            }
            Self::Ragged { .. } => {
                "quote cells that hold a comma, double the quotes in them, and keep the comma of an empty cell"
                    .to_owned()
            }
            Self::CutOff { .. } => "write the file again, whole".to_owned(),
            Self::EmptyOfBatch(name) | Self::MissingOfBatch(name) => {
                format!("fill it, or give the batch -{name}s and say --of-batch {name}")
            }
            Self::SpaceAround { .. } => "take the space away".to_owned(),
            Self::ControlCharacter { .. } | Self::PasswordLines => {
                "take it out; where it is a line break, look for a quote that is closed too late".to_owned()
            }
            Self::NotAWord { meant: Some(meant), .. } => format!("did you mean {meant}?"),
            Self::WordCase { meant, .. } => format!("write {meant}"),
            Self::NotAnAddress { .. } => "write it as name@domain, in ASCII".to_owned(),
            Self::NotAFolderPath => "write it as \\Folder\\Subfolder".to_owned(),
            Self::NameForm(_) => "check it; it is taken as the plain name of a user".to_owned(),
            Self::Formula(_) => "never open the file in a spreadsheet; nothing is put in front of the value".to_owned(),
            Self::HeaderChanged => "take the columns as documented: Workload, FilePath, Name, Mailbox, IsArchive, \
                                    TargetRootFolder, ContentCodePage, SPFileContainer, SPManifestContainer, SPSiteUrl"
                .to_owned(),
            Self::Repeated { .. } | Self::RepeatedElsewhere { .. } => "leave one of them".to_owned(),
            Self::FileName => "name it .csv".to_owned(),
            _ => return None,
        })
    }
}

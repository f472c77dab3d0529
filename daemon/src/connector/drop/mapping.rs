//! Mapping files: which column fills which field, which is the id, which dates mean what.
//!
//! Unknown keys, fields, roles and zones are errors with line and suggestion; a mapping is right as a whole or refused.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use retention_core::record::field::{self, CUSTOM_PREFIX};
use retention_core::record::{DateRole, FieldType, Kind, Relation, Visibility};
use retention_core::text::{Delimiter, Encoding};
use serde::Deserialize;

use super::date::DateFormat;

/// A checked mapping file.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// The name of the source in layouts; none means the source that lists the mapping.
    pub source: Option<String>,
    /// What the rows are.
    pub kind: Kind,
    /// Patterns of file names (`*` and `?`, letters in any case).
    pub files: Vec<String>,
    /// The delimiter, if named.
    pub delimiter: Option<Delimiter>,
    /// The encoding, if named.
    pub encoding: Option<Encoding>,
    /// The sheet of a workbook; none means the first that is not hidden.
    pub sheet: Option<String>,
    /// What the absence of a row means.
    pub content: Content,
    /// What happens to columns that nothing names.
    pub unmapped: Unmapped,
    /// The columns of the id, joined by `|`.
    pub id: Vec<String>,
    /// Where the mailbox is.
    pub mailbox: MailboxFrom,
    /// Where the visibility is.
    pub visibility: VisibilityFrom,
    /// Columns that fill fields.
    pub columns: Vec<ColumnRule>,
    /// Columns that hold dates with a meaning, in order of role.
    pub dates: Vec<DateRule>,
    /// Names of event dates, in the order that [`DateRole::Named`] counts.
    pub named_dates: Vec<String>,
    /// Columns that hold links.
    pub links: Vec<LinkRule>,
    /// How a row says that its entity is gone.
    pub deleted: Option<DeletedRule>,
}

/// What the absence of a row means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// The file holds everything: what is not in it is gone.
    Snapshot,
    /// The file holds what changed.
    Delta,
}

/// What happens to columns that nothing names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unmapped {
    /// They fill `custom.<column>`.
    #[default]
    Custom,
    /// They are left out.
    Ignore,
    /// The file is refused.
    Error,
}

/// Where the mailbox is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailboxFrom {
    /// Nowhere: the source has none.
    Nowhere,
    /// All rows are in one.
    Constant(String),
    /// In a column.
    Column(String),
}

/// Where the visibility is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VisibilityFrom {
    /// All rows have one.
    Constant(Visibility),
    /// In a column; other values mean unknown.
    Column {
        /// The column.
        column: String,
        /// Values that mean shared, compared without regard to case.
        shared: Vec<String>,
        /// Values that mean private.
        private: Vec<String>,
    },
}

/// How decimal numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decimal {
    /// `1234.50`: cells stay as they are.
    #[default]
    Point,
    /// `1 234,50`: cells become `1234.50`.
    Comma,
}

/// A column that fills a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnRule {
    /// The name in the header.
    pub name: String,
    /// The field.
    pub field: String,
    /// How policies read it.
    pub field_type: FieldType,
    /// How its numbers are written.
    pub decimal: Decimal,
}

/// A column that holds a date with a meaning.
#[derive(Debug, Clone)]
pub struct DateRule {
    /// The column.
    pub column: String,
    /// The meaning.
    pub role: DateRole,
    /// How it is written.
    pub format: DateFormat,
    /// The zone of what has no offset.
    pub zone: Option<TimeZone>,
}

/// A column that holds links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRule {
    /// The column.
    pub column: String,
    /// What the other end is.
    pub kind: Kind,
    /// How the two are tied.
    pub relation: Relation,
    /// What separates several; none means that the cell is one id.
    pub separator: Option<String>,
}

/// How a row says that its entity is gone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeletedRule {
    /// The column.
    pub column: String,
    /// The values that say so, compared without regard to case.
    pub values: Vec<String>,
}

/// A mapping file is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}{}", .suggestion.as_ref().map_or_else(String::new, |name| format!("; did you mean {name:?}?")))]
pub struct MappingError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// The nearest name that is known.
    pub suggestion: Option<String>,
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    schema: toml::Spanned<u32>,
    source: Option<String>,
    kind: toml::Spanned<String>,
    files: toml::Spanned<Vec<String>>,
    delimiter: Option<Delimiter>,
    encoding: Option<Encoding>,
    sheet: Option<String>,
    content: Content,
    #[serde(default)]
    unmapped: Unmapped,
    #[serde(default)]
    decimal: Decimal,
    zone: Option<toml::Spanned<String>>,
    id: toml::Spanned<Vec<String>>,
    mailbox: Option<toml::Spanned<WrittenMailbox>>,
    visibility: Option<toml::Spanned<WrittenVisibility>>,
    deleted: Option<toml::Spanned<DeletedRule>>,
    #[serde(default)]
    column: Vec<WrittenColumn>,
    #[serde(default)]
    date: Vec<WrittenDate>,
    #[serde(default)]
    link: Vec<WrittenLink>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMailbox {
    column: Option<String>,
    constant: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenVisibility {
    constant: Option<Visibility>,
    column: Option<String>,
    #[serde(default)]
    shared: Vec<String>,
    #[serde(default)]
    private: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenColumn {
    name: toml::Spanned<String>,
    field: toml::Spanned<String>,
    #[serde(rename = "type")]
    field_type: Option<toml::Spanned<FieldType>>,
    decimal: Option<Decimal>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDate {
    column: String,
    role: toml::Spanned<String>,
    format: Option<toml::Spanned<String>>,
    zone: Option<toml::Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLink {
    column: String,
    kind: toml::Spanned<String>,
    relation: Relation,
    separator: Option<String>,
}

/// The prefix of dates that a mapping names itself.
const EVENT_PREFIX: &str = "event:";

/// Turns places in the text into lines.
struct Source<'a>(&'a str);

impl Source<'_> {
    fn line(&self, offset: usize) -> usize {
        let before = self.0.as_bytes().get(..offset).unwrap_or_default();
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn error<T>(&self, at: &toml::Spanned<T>, message: impl Into<String>) -> MappingError {
        MappingError { line: self.line(at.span().start), message: message.into(), suggestion: None }
    }

    fn unknown<'k>(
        &self,
        at: &toml::Spanned<String>,
        what: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> MappingError {
        let name = at.get_ref();
        MappingError { suggestion: nearest(name, known), ..self.error(at, format!("{name:?} is not {what}")) }
    }

    fn zone(&self, name: Option<&toml::Spanned<String>>) -> Result<Option<TimeZone>, MappingError> {
        let Some(name) = name else { return Ok(None) };
        let zone = TimeZone::get(name.get_ref());
        zone.map(Some).map_err(|_| self.error(name, "not a time zone such as \"Europe/Prague\" or \"UTC\""))
    }

    fn kind(&self, name: &toml::Spanned<String>) -> Result<Kind, MappingError> {
        let known = Kind::FROM_SOURCES.into_iter();
        known
            .clone()
            .find(|kind| kind.name() == name.get_ref())
            .ok_or_else(|| self.unknown(name, "a kind", known.map(Kind::name)))
    }

    fn toml_error(&self, error: &toml::de::Error) -> MappingError {
        let line = error.span().map_or(1, |span| self.line(span.start));
        let message = error.message().to_owned();
        let mut quoted = message.split('`').skip(1).step_by(2);
        let suggestion = match quoted.next() {
            Some(unknown) if message.starts_with("unknown") => nearest(unknown, quoted),
            _ => None,
        };
        MappingError { line, suggestion, message }
    }
}

/// Returns the known name that resembles `name` most, if any does.
pub(super) fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    // Two names resemble each other from here on: one slip in a short word, three in a long one.
    const ALIKE_MIN: f64 = 0.7;
    /// Longer names resemble nothing, in bytes.
    const NAME_BYTES_MAX: usize = 256;
    let name = name.to_lowercase();
    // Comparing costs the product of the lengths, in time and in memory: a file without a line end is one name of 16
    // MiB.
    let is_near = |other: &&str| other.len() <= NAME_BYTES_MAX && name.len() <= NAME_BYTES_MAX;
    let score = |other: &str| strsim::normalized_damerau_levenshtein(&name, &other.to_lowercase());
    let near = known.into_iter().filter(is_near).map(|other| (score(other), other));
    let scored = near.filter(|(score, _)| *score >= ALIKE_MIN);
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, other)| other.to_owned())
}

impl Mapping {
    /// Reads and checks a mapping file.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        let source = Source(text);
        let written: Written = toml::from_str(text).map_err(|error| source.toml_error(&error))?;
        if *written.schema.get_ref() != 1 {
            return Err(source.error(&written.schema, "schema must be 1"));
        }
        if written.files.get_ref().is_empty() {
            return Err(source.error(&written.files, "files must hold at least one pattern such as \"contacts*.csv\""));
        }
        if written.id.get_ref().is_empty() {
            return Err(source.error(&written.id, "id must name at least one column"));
        }
        let mut named = BTreeSet::new();
        if let Some(twice) = written.id.get_ref().iter().find(|column| !named.insert(column.as_str())) {
            return Err(source.error(&written.id, format!("id names column {twice:?} twice")));
        }
        let kind = source.kind(&written.kind)?;
        let zone = source.zone(written.zone.as_ref())?;
        let columns = check_columns(&source, kind, &written.column, written.decimal)?;
        let (dates, named_dates) = check_dates(&source, &written.date, zone.as_ref())?;
        let links = written.link.into_iter().map(|link| {
            let kind = source.kind(&link.kind)?;
            Ok(LinkRule {
                column: link.column,
                kind,
                relation: link.relation,
                separator: link.separator.filter(|s| !s.is_empty()),
            })
        });
        Ok(Self {
            source: written.source,
            kind,
            files: written.files.into_inner(),
            delimiter: written.delimiter,
            encoding: written.encoding,
            sheet: written.sheet,
            content: written.content,
            unmapped: written.unmapped,
            id: written.id.into_inner(),
            mailbox: check_mailbox(&source, written.mailbox)?,
            visibility: check_visibility(&source, written.visibility)?,
            columns,
            dates,
            named_dates,
            links: links.collect::<Result<_, MappingError>>()?,
            deleted: check_deleted(&source, written.deleted)?,
        })
    }

    /// Says whether a file of this name is read with this mapping.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.files.iter().any(|pattern| glob(pattern.to_lowercase().as_bytes(), name.as_bytes()))
    }

    /// Returns the columns without which a file cannot be read.
    #[must_use]
    pub fn required(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.id.iter().map(String::as_str).collect();
        names.extend(self.columns.iter().map(|rule| rule.name.as_str()));
        names.extend(self.dates.iter().map(|rule| rule.column.as_str()));
        names.extend(self.links.iter().map(|rule| rule.column.as_str()));
        names.extend(self.deleted.iter().map(|rule| rule.column.as_str()));
        if let MailboxFrom::Column(column) = &self.mailbox {
            names.push(column);
        }
        if let VisibilityFrom::Column { column, .. } = &self.visibility {
            names.push(column);
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn check_columns(
    source: &Source<'_>,
    kind: Kind,
    written: &[WrittenColumn],
    decimal: Decimal,
) -> Result<Vec<ColumnRule>, MappingError> {
    let mut rules: Vec<ColumnRule> = Vec::with_capacity(written.len());
    for column in written {
        let (name, field) = (column.name.get_ref(), column.field.get_ref());
        if rules.iter().any(|rule| rule.name == *name) {
            return Err(source.error(&column.name, format!("column {name:?} is mapped twice")));
        }
        if rules.iter().any(|rule| rule.field == *field) {
            return Err(source.error(&column.field, format!("field {field:?} is filled twice")));
        }
        let standard = field::standard(kind).iter().find(|standard| standard.name == field);
        let field_type = match (standard, &column.field_type) {
            (Some(standard), None) => standard.field_type,
            (Some(_), Some(given)) => return Err(source.error(given, "a standard field has its own type; remove type")),
            (None, given) if field.strip_prefix(CUSTOM_PREFIX).is_some_and(|label| !label.is_empty()) => {
                given.as_ref().map_or(FieldType::Text, |given| *given.get_ref())
            }
            (None, _) => {
                let known = field::standard(kind).iter().map(|standard| standard.name);
                return Err(source.unknown(&column.field, &format!("a field of a {kind}, nor custom.<label>"), known));
            }
        };
        let decimal = column.decimal.unwrap_or(decimal);
        rules.push(ColumnRule { name: name.clone(), field: field.clone(), field_type, decimal });
    }
    Ok(rules)
}

fn check_dates(
    source: &Source<'_>,
    written: &[WrittenDate],
    zone: Option<&TimeZone>,
) -> Result<(Vec<DateRule>, Vec<String>), MappingError> {
    let mut rules: Vec<DateRule> = Vec::with_capacity(written.len());
    let mut named: Vec<String> = Vec::new();
    for date in written {
        let name = date.role.get_ref();
        let role = match (DateRole::NAMES.iter().find(|(known, _)| known == name), name.strip_prefix(EVENT_PREFIX)) {
            (Some((_, role)), _) => *role,
            (None, Some(event)) if !event.is_empty() => {
                if named.iter().any(|known| known == event) {
                    return Err(source.error(&date.role, format!("the date {name:?} is given twice")));
                }
                named.push(event.to_owned());
                let number = u16::try_from(named.len() - 1);
                DateRole::Named(number.map_err(|_| source.error(&date.role, "more than 65536 event dates"))?)
            }
            (None, _) => {
                let known = DateRole::NAMES.iter().map(|(known, _)| *known);
                return Err(source.unknown(&date.role, "a role of a date, nor event:<name>", known));
            }
        };
        if rules.iter().any(|rule| rule.role == role) {
            return Err(source.error(&date.role, format!("the date {name:?} is given twice")));
        }
        let own_zone = source.zone(date.zone.as_ref())?;
        let format = check_format(source, date.format.as_ref())?;
        rules.push(DateRule { column: date.column.clone(), role, format, zone: own_zone.or_else(|| zone.cloned()) });
    }
    rules.sort_by_key(|rule| rule.role);
    Ok((rules, named))
}

fn check_format(source: &Source<'_>, format: Option<&toml::Spanned<String>>) -> Result<DateFormat, MappingError> {
    let Some(format) = format else { return Ok(DateFormat::Iso) };
    DateFormat::of(format.get_ref()).map_err(|message| source.error(format, message))
}

fn check_mailbox(
    source: &Source<'_>,
    written: Option<toml::Spanned<WrittenMailbox>>,
) -> Result<MailboxFrom, MappingError> {
    let Some(written) = written else { return Ok(MailboxFrom::Nowhere) };
    let wrong = source.error(&written, "mailbox needs either column or constant, and neither blank");
    match written.into_inner() {
        WrittenMailbox { column: Some(column), constant: None } if !is_blank(&column) => {
            Ok(MailboxFrom::Column(column))
        }
        // As one from a column is read.
        WrittenMailbox { column: None, constant: Some(constant) } if !is_blank(&constant) => {
            Ok(MailboxFrom::Constant(constant.trim().to_lowercase()))
        }
        _ => Err(wrong),
    }
}

fn check_visibility(
    source: &Source<'_>,
    written: Option<toml::Spanned<WrittenVisibility>>,
) -> Result<VisibilityFrom, MappingError> {
    let Some(written) = written else { return Ok(VisibilityFrom::Constant(Visibility::Unknown)) };
    let wrong = source.error(&written, "visibility needs either constant, or column with shared and private");
    match written.into_inner() {
        WrittenVisibility { constant: Some(constant), column: None, shared, private }
            if shared.is_empty() && private.is_empty() =>
        {
            Ok(VisibilityFrom::Constant(constant))
        }
        WrittenVisibility { constant: None, column: Some(column), shared, private } => {
            let is_shared = |value: &&String| shared.iter().any(|other| other.to_lowercase() == value.to_lowercase());
            if let Some(both) = private.iter().find(is_shared) {
                return Err(MappingError { message: format!("{both:?} means shared and private"), ..wrong });
            }
            Ok(VisibilityFrom::Column { column, shared, private })
        }
        _ => Err(wrong),
    }
}

fn check_deleted(
    source: &Source<'_>,
    written: Option<toml::Spanned<DeletedRule>>,
) -> Result<Option<DeletedRule>, MappingError> {
    let Some(written) = written else { return Ok(None) };
    // A blank would say that nearly all of them are gone.
    if written.get_ref().values.is_empty() || written.get_ref().values.iter().any(|value| is_blank(value)) {
        return Err(source.error(&written, "deleted needs at least one value, and none that is blank"));
    }
    Ok(Some(written.into_inner()))
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Matches `*` (anything) and `?` (one byte) against a whole name.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || Some(&byte) == name.get(n) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    p = star_at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str =
        "schema = 1\nkind = \"contact\"\nfiles = [\"contacts*.csv\"]\ncontent = \"delta\"\nid = [\"Id\"]\n";

    fn error(tail: &str) -> MappingError {
        Mapping::parse(&format!("{HEAD}{tail}")).unwrap_err()
    }

    #[test]
    fn a_header_without_a_line_end_resembles_no_name() {
        let long = "ContactId".repeat(1 << 20);
        // Compared letter by letter, each of these would take a gigabyte.
        for _ in 0..50 {
            assert_eq!(nearest("ContactId", [long.as_str()]), None);
        }
        assert_eq!(nearest("ContactId", [long.as_str(), "ContcatId"]).as_deref(), Some("ContcatId"));
    }

    #[test]
    fn mistakes_are_told_with_their_line_and_the_nearest_name() {
        let told = |tail: &str| {
            let error = error(tail);
            (error.line, error.suggestion)
        };
        assert_eq!(told("delimeter = \"comma\"\n"), (6, Some("delimiter".into())));
        assert_eq!(told("delimiter = \"semicolom\"\n"), (6, Some("semicolon".into())));
        assert_eq!(told("\n[[column]]\nname = \"A\"\nfield = \"emial1\"\n"), (9, Some("email1".into())));
        assert_eq!(told("[[date]]\ncolumn = \"A\"\nrole = \"creatde\"\n"), (8, Some("created".into())));
        assert_eq!(
            told("[[link]]\ncolumn = \"A\"\nkind = \"compani\"\nrelation = \"associated\"\n").1,
            Some("company".into())
        );
        assert_eq!(told("zone = \"Europe/Brno\"\n"), (6, None));
        assert_eq!(told("[mailbox]\n").1, None);
        assert_eq!(told("[[date]]\ncolumn = \"A\"\nrole = \"created\"\nformat = \"dd.mm\"\n"), (9, None));
        assert!(
            error("[[column]]\nname=\"A\"\nfield=\"email1\"\n[[column]]\nname=\"B\"\nfield=\"email1\"\n")
                .message
                .contains("twice")
        );
        assert!(error("[[column]]\nname=\"A\"\nfield=\"email1\"\ntype=\"date\"\n").message.contains("own type"));
        assert!(Mapping::parse("schema = 2").is_err());
    }

    #[test]
    fn a_pattern_that_would_read_another_time_than_stands_there_is_refused() {
        let told = |pattern: &str| {
            let tail = format!("[[date]]\ncolumn = \"A\"\nrole = \"created\"\nformat = \"{pattern}\"\n");
            Mapping::parse(&format!("{HEAD}{tail}")).map_err(|error| (error.line, error.message))
        };
        for (pattern, words) in [
            ("%d/%m/%Y %I:%M", "add %p"),
            ("%d/%m/%Y %H:%m", "%m stands twice"),
            ("%d.%d.%Y", "not a date format"),
            ("%H:%M", "not a date format"),
        ] {
            let (line, message) = told(pattern).unwrap_err();
            assert!(line == 9 && message.contains(words), "{pattern}: {message}");
        }
        for pattern in
            ["%m/%d/%Y %I:%M:%S %p", "%d.%m.%y", "%A, %d %B %Y %%", "%-d.%-m.%Y %H:%M %:z", "%Y%m%d", "%F%n%T"]
        {
            assert!(told(pattern).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn what_would_be_read_as_nobody_meant_it_is_refused() {
        for (tail, line, words) in [
            ("[mailbox]\nconstant = \" \"\n", 6, "neither blank"),
            ("[mailbox]\ncolumn = \"\"\n", 6, "neither blank"),
            ("[deleted]\ncolumn = \"A\"\nvalues = []\n", 6, "at least one value"),
            ("[deleted]\ncolumn = \"A\"\nvalues = [\"yes\", \" \"]\n", 6, "none that is blank"),
            (
                "[visibility]\ncolumn = \"A\"\nshared = [\"no\", \"Yes\"]\nprivate = [\"yes\"]\n",
                6,
                "\"yes\" means shared and private",
            ),
        ] {
            let told = error(tail);
            assert!(told.line == line && told.message.contains(words), "{tail}: {told}");
        }
        let twice = Mapping::parse(&HEAD.replace("[\"Id\"]", "[\"Id\", \"No\", \"Id\"]")).unwrap_err();
        assert_eq!((twice.line, twice.message.contains("twice")), (5, true), "{twice}");
        let mapping = Mapping::parse(&format!("{HEAD}[mailbox]\nconstant = \" Ada@Contoso.com \"\n")).unwrap();
        assert_eq!(mapping.mailbox, MailboxFrom::Constant("ada@contoso.com".into()));
    }

    #[test]
    fn patterns_fit_names_in_any_case() {
        let mapping = Mapping::parse(HEAD).unwrap();
        assert!(mapping.fits("Contacts-2026.CSV") && mapping.fits("contacts.csv"));
        assert!(!mapping.fits("companies.csv") && !mapping.fits("contacts.csv.bak"));
        assert!(glob(b"*a*b?", b"xxaybz") && !glob(b"*a*b?", b"xxayb") && glob(b"*", b""));
    }

    #[test]
    fn the_shipped_examples_are_right() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("mapping-") {
                let text = std::fs::read_to_string(&path).unwrap();
                Mapping::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                count += 1;
            }
        }
        assert!(count >= 4, "{count}");
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_read_without_panic(tail in "\\PC{0,80}", cut in 0usize..200) {
            let _ = Mapping::parse(&format!("{HEAD}{tail}"));
            let _ = Mapping::parse(HEAD.get(..cut.min(HEAD.len())).unwrap_or_default());
        }
    }
}

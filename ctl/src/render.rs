//! How answers look. The only place that writes to standard output.
//!
//! Answers are rendered as the JSON values they came as, so that a field of a newer daemon is shown instead of lost. A
//! list names its columns: paths into the value, whose last part is the heading.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Row, Table, Width, presets};
use jiff::tz::TimeZone;
use retention_core::table::spreadsheet_safe;
use serde_json::Value;

use crate::args::{Globals, Output};
use crate::exit::Cause;

/// Rows of one table. A longer list is a sequence of tables, so that it needs no more memory and is shown as it comes.
const TABLE_ROWS_MAX: usize = 500;

/// What a table adds to the width of a column: a space on either side.
const PADDING: u16 = 2;

/// The fewest columns of a terminal that a table is fitted into: in fewer, words would fall apart into letters.
const WIDTH_MIN: u16 = 40;

/// Hexadecimal digits of a digest in a list: enough to tell any two apart, and to name one.
const DIGEST_SHOWN: usize = 12;

/// Writes answers.
pub(crate) struct Renderer<W> {
    out: W,
    output: Output,
    zone: TimeZone,
    style: Style,
    is_first_of_json: bool,
}

/// How a table looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    /// Whether headings are coloured.
    pub(crate) colour: Colour,
    /// The columns of the terminal; `None` does not wrap.
    pub(crate) width: Option<u16>,
    /// Who gets what is written.
    pub(crate) reader: Reader,
}

/// Who gets what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A terminal, which some characters steer.
    Terminal,
    /// A file or a program, which needs every character as it is.
    Program,
}

/// Whether something is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    On,
    /// Everywhere else.
    Off,
}

impl Style {
    /// Returns what fits standard output.
    fn of_stdout() -> Self {
        if !io::stdout().is_terminal() {
            return Self { colour: Colour::Off, width: None, reader: Reader::Program };
        }
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let width = fitted(Table::new().width());
        Self { colour: if is_unwanted { Colour::Off } else { Colour::On }, width, reader: Reader::Terminal }
    }
}

/// Returns the width that tables are fitted into. A terminal that is narrower, or says 0 because nobody told it, as a serial
/// console does, gets whole lines and breaks them itself.
fn fitted(columns: Option<u16>) -> Option<u16> {
    columns.filter(|columns| *columns >= WIDTH_MIN)
}

impl Renderer<io::BufWriter<io::StdoutLock<'static>>> {
    /// Writes to standard output as the command line says.
    pub(crate) fn to_stdout(globals: &Globals) -> Self {
        let zone = if globals.utc { TimeZone::UTC } else { TimeZone::system() };
        Self::new(io::BufWriter::new(io::stdout().lock()), globals.output, zone, Style::of_stdout())
    }
}

impl<W: Write> Renderer<W> {
    pub(crate) fn new(out: W, output: Output, zone: TimeZone, style: Style) -> Self {
        Self { out, output, zone, style, is_first_of_json: true }
    }

    /// Writes one value: a table of names and values for people.
    pub(crate) fn one(&mut self, value: &Value) -> Result<(), Cause> {
        match self.output {
            Output::Table => {
                let mut table = self.table();
                table.set_header(self.header(["field", "value"].into_iter()));
                let mut fields = Vec::new();
                flatten("", value, &mut fields);
                for (name, value) in fields {
                    table.add_row([printable(&heading(&name)), self.shown(&name, &value, Length::Full)]);
                }
                self.write_table(&table)
            }
            Output::Json => {
                serde_json::to_writer_pretty(&mut self.out, value).map_err(|error| Cause::Output(error.into()))?;
                self.text("\n")
            }
            Output::Jsonl => self.json_line(value),
            Output::Csv => {
                let mut fields = Vec::new();
                flatten("", value, &mut fields);
                self.csv_row(fields.iter().map(|(name, _)| name.clone()))?;
                self.csv_row(fields.iter().map(|(_, value)| plain(value)))
            }
        }
    }

    /// Makes a list with these columns. Nothing of it is written before its first row or its end: what was refused must not
    /// look like a list in which there is nothing.
    pub(crate) fn list(&mut self, columns: &'static [&'static str]) -> List<'_, W> {
        self.is_first_of_json = true;
        List { renderer: self, columns, waiting: Vec::new(), widths: None, is_begun: false }
    }

    /// Writes text as it is, in every format.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Cause> {
        self.out.write_all(text.as_bytes()).map_err(Cause::Output)
    }

    /// Hands everything over to the reader.
    pub(crate) fn flush(&mut self) -> Result<(), Cause> {
        self.out.flush().map_err(Cause::Output)
    }

    /// Writes one JSON value in each line from here on, instead of a table.
    pub(crate) fn write_lines(&mut self) {
        self.output = Output::Jsonl;
    }

    /// Says whether the answer is for people.
    pub(crate) fn is_for_people(&self) -> bool {
        self.output == Output::Table
    }

    fn json_line(&mut self, value: &Value) -> Result<(), Cause> {
        serde_json::to_writer(&mut self.out, value).map_err(|error| Cause::Output(error.into()))?;
        self.text("\n")
    }

    fn csv_row(&mut self, cells: impl Iterator<Item = String>) -> Result<(), Cause> {
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(&mut self.out);
        let failed = |error: csv::Error| Cause::Output(io::Error::other(error));
        let reader = self.style.reader;
        let written = |cell: String| {
            let safe = spreadsheet_safe(&cell).into_owned();
            match reader {
                Reader::Terminal => printable(&safe),
                Reader::Program => safe,
            }
        };
        writer.write_record(cells.map(written)).map_err(failed)?;
        writer.flush().map_err(Cause::Output)
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        match self.style.width {
            Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        match self.style.colour {
            Colour::On => table.enforce_styling(),
            Colour::Off => table.force_no_tty(),
        };
        table
    }

    fn header<'a>(&self, names: impl Iterator<Item = &'a str>) -> Row {
        let cells = names.map(|name| {
            let cell = Cell::new(heading(name).to_uppercase());
            match self.style.colour {
                Colour::On => cell.fg(Color::Cyan),
                Colour::Off => cell,
            }
        });
        Row::from(cells.collect::<Vec<_>>())
    }

    fn write_table(&mut self, table: &Table) -> Result<(), Cause> {
        for line in table.lines() {
            self.text(line.trim_end())?;
            self.text("\n")?;
        }
        Ok(())
    }

    /// Returns a value as people read it: instants in their zone, nothing that could steer a terminal.
    fn shown(&self, name: &str, value: &Value, length: Length) -> String {
        let text = plain(value);
        if is_instant(name)
            && let Ok(at) = text.parse::<jiff::Timestamp>()
        {
            return at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
        }
        if length == Length::Short && text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return text.chars().take(DIGEST_SHOWN).collect();
        }
        printable(&text)
    }
}

/// How much of a digest is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Full,
    Short,
}

/// A list that is being written.
pub(crate) struct List<'a, W> {
    renderer: &'a mut Renderer<W>,
    columns: &'static [&'static str],
    waiting: Vec<Vec<String>>,
    /// How wide the columns are of what was shown so far, when the rest continues it.
    widths: Option<Vec<u16>>,
    is_begun: bool,
}

impl<W: Write> List<'_, W> {
    fn begin(&mut self) -> Result<(), Cause> {
        if std::mem::replace(&mut self.is_begun, true) {
            return Ok(());
        }
        match self.renderer.output {
            Output::Table | Output::Jsonl => Ok(()),
            Output::Json => self.renderer.text("["),
            Output::Csv => self.renderer.csv_row(self.columns.iter().map(|name| (*name).to_owned())),
        }
    }

    /// Writes a row.
    pub(crate) fn row(&mut self, value: &Value) -> Result<(), Cause> {
        self.begin()?;
        match self.renderer.output {
            Output::Table => {
                let shown = |path: &&str| self.renderer.shown(path, at(value, path), Length::Short);
                self.waiting.push(self.columns.iter().map(shown).collect());
                if self.waiting.len() == TABLE_ROWS_MAX { self.write_waiting() } else { Ok(()) }
            }
            Output::Json => {
                let separator = if self.renderer.is_first_of_json { "\n" } else { ",\n" };
                self.renderer.is_first_of_json = false;
                self.renderer.text(separator)?;
                serde_json::to_writer(&mut self.renderer.out, value).map_err(|error| Cause::Output(error.into()))
            }
            Output::Jsonl => self.renderer.json_line(value),
            Output::Csv => self.renderer.csv_row(self.columns.iter().map(|path| plain(at(value, path)))),
        }
    }

    /// Shows what there is so far: more may take long to come. For people the rows that follow continue the same table.
    pub(crate) fn catch_up(&mut self) -> Result<(), Cause> {
        self.begin()?;
        if !self.waiting.is_empty() {
            self.widths.get_or_insert_default();
            self.write_waiting()?;
        }
        self.renderer.flush()
    }

    /// Writes what is left.
    pub(crate) fn end(mut self) -> Result<(), Cause> {
        self.begin()?;
        match self.renderer.output {
            Output::Table if self.waiting.is_empty() => {}
            Output::Table => self.write_waiting()?,
            Output::Json => self.renderer.text("\n]\n")?,
            Output::Jsonl | Output::Csv => {}
        }
        self.renderer.flush()
    }

    fn write_waiting(&mut self) -> Result<(), Cause> {
        let mut table = self.renderer.table();
        let (mut columns, mut rows) = (self.columns.to_vec(), std::mem::take(&mut self.waiting));
        // Where not everything has room, what says nothing has none. A table that goes on keeps its columns.
        if self.widths.is_none() && !self.fits(&rows) {
            let is_filled = |n: usize| rows.iter().any(|row| row.get(n).is_some_and(|cell| !cell.is_empty()));
            let filled: Vec<bool> = (0..columns.len()).map(is_filled).collect();
            columns = marked(columns, &filled);
            rows = rows.into_iter().map(|row| marked(row, &filled)).collect();
        }
        let is_continued = self.widths.as_ref().is_some_and(|widths| !widths.is_empty());
        if !is_continued {
            table.set_header(self.renderer.header(columns.into_iter()));
        }
        table.add_rows(rows);
        if let Some(widths) = &mut self.widths {
            table.set_constraints(
                widths.iter().map(|width| ColumnConstraint::LowerBoundary(Width::Fixed(width + PADDING))),
            );
            let now = table.column_max_content_widths();
            widths.resize(now.len(), 0);
            widths.iter_mut().zip(now).for_each(|(width, now)| *width = now.max(*width));
        }
        self.renderer.write_table(&table)
    }

    /// Says whether all columns have room beside each other.
    fn fits(&self, rows: &[Vec<String>]) -> bool {
        let Some(width) = self.renderer.style.width else { return true };
        let needed = |(n, name): (usize, &&str)| {
            let cells = rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count());
            cells.max().unwrap_or_default().max(heading(name).chars().count()) + usize::from(PADDING)
        };
        self.columns.iter().enumerate().map(needed).sum::<usize>() <= usize::from(width)
    }
}

/// Returns the values that are marked.
fn marked<T>(values: Vec<T>, marks: &[bool]) -> Vec<T> {
    values.into_iter().zip(marks).filter_map(|(value, mark)| mark.then_some(value)).collect()
}

/// Returns what a path leads to: `frozen.items`.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, part| value.get(part).unwrap_or(&Value::Null))
}

/// Takes a value apart into its simple parts, each with its path.
fn flatten(path: &str, value: &Value, parts: &mut Vec<(String, Value)>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| flatten(&below(name), value, parts)),
        Value::Array(values) if !values.is_empty() && values.iter().all(|value| named_cell(value).is_some()) => {
            let filled =
                values.iter().filter_map(named_cell).filter(|(_, value)| *value != &Value::Null && *value != "");
            parts.extend(filled.map(|(name, value)| (below(name), value.clone())));
        }
        Value::Array(values) if values.iter().any(Value::is_object) => {
            values.iter().enumerate().for_each(|(n, value)| flatten(&below(&(n + 1).to_string()), value, parts));
        }
        value => parts.push((path.to_owned(), value.clone())),
    }
}

/// A cell of an entity is shown by the name of its field; what is empty is left out, for people.
fn named_cell(value: &Value) -> Option<(&str, &Value)> {
    Some((value.get("field")?.as_str()?, value.get("value")?))
}

/// Returns the text of a simple value. Null is nothing; a list is joined.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(_) => value.to_string(),
    }
}

fn heading(path: &str) -> String {
    path.replace(['_', '.'], " ")
}

/// The names under which the control API gives instants. Cells of an entity are never taken for one.
fn is_instant(path: &str) -> bool {
    let name = path.rsplit('.').next().unwrap_or(path);
    ["_at", "_until", "_since", "_from"].iter().any(|ending| name.ends_with(ending))
        || matches!(name, "until" | "as_of" | "now" | "at" | "first_seen" | "last_activity")
}

/// Returns text that cannot steer a terminal: control characters and those that turn the direction of writing are
/// shown by their number.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if (c.is_control() && c != '\n') || turns { safe.extend(c.escape_unicode()) } else { safe.push(c) }
    }
    safe
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(output: Output, rows: &[Value]) -> String {
        let mut out = Vec::new();
        let style = Style { colour: Colour::Off, width: Some(100), reader: Reader::Program };
        let mut renderer = Renderer::new(&mut out, output, TimeZone::UTC, style);
        let mut list = renderer.list(&["plan", "frozen.items", "requested_at", "frozen.digest"]);
        rows.iter().for_each(|row| list.row(row).unwrap());
        list.end().unwrap();
        drop(renderer);
        String::from_utf8(out).unwrap()
    }

    fn rows() -> [Value; 2] {
        [
            json!({"plan": "P7", "requested_at": "2026-03-01T10:00:00Z", "frozen": {"items": 12, "digest": "ab".repeat(32)}}),
            json!({"plan": "P9", "requested_at": "2026-03-02T10:00:00Z", "frozen": null}),
        ]
    }

    #[test]
    fn a_table_has_short_digests_and_instants_in_the_zone() {
        let expected = " PLAN  FROZEN ITEMS  REQUESTED AT             FROZEN DIGEST\n \
                        P7    12            2026-03-01 10:00:00 UTC  abababababab\n \
                        P9                  2026-03-02 10:00:00 UTC\n";
        assert_eq!(rendered(Output::Table, &rows()), expected);
    }

    #[test]
    fn a_terminal_without_room_for_all_columns_shows_none_that_says_nothing() {
        let shown = |width: u16| {
            let mut out = Vec::new();
            let style = Style { colour: Colour::Off, width: Some(width), reader: Reader::Program };
            let mut renderer = Renderer::new(&mut out, Output::Table, TimeZone::UTC, style);
            let mut list = renderer.list(&["plan", "reference", "state"]);
            list.row(&json!({"plan": "P7", "reference": "", "state": "ready"})).unwrap();
            list.row(&json!({"plan": "P9", "reference": null, "state": "used"})).unwrap();
            list.end().unwrap();
            drop(renderer);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(20), " PLAN  STATE\n P7    ready\n P9    used\n");
        assert!(shown(30).starts_with(" PLAN  REFERENCE  STATE\n"), "{}", shown(30));
    }

    #[test]
    fn a_terminal_that_does_not_know_its_width_or_has_none_to_speak_of_breaks_lines_itself() {
        assert_eq!([None, Some(0), Some(1), Some(39)].map(fitted), [None; 4]);
        assert_eq!(fitted(Some(80)), Some(80));
    }

    #[test]
    fn until_when_and_since_when_are_instants_too() {
        for name in ["requested_at", "protects_until", "by_month_since", "readable_from", "until", "first_seen"] {
            assert!(is_instant(name) && is_instant(&format!("texts.{name}")), "{name}");
        }
        for name in ["state", "format", "untilled", "since", "latitude"] {
            assert!(!is_instant(name), "{name}");
        }
    }

    #[test]
    fn a_table_that_is_followed_has_one_heading_and_its_columns_stay_in_line() {
        let mut out = Vec::new();
        let style = Style { colour: Colour::Off, width: None, reader: Reader::Program };
        let mut renderer = Renderer::new(&mut out, Output::Table, TimeZone::UTC, style);
        let mut list = renderer.list(&["plan", "kind"]);
        list.catch_up().unwrap();
        list.row(&json!({"plan": "P1000", "kind": "a"})).unwrap();
        list.catch_up().unwrap();
        list.row(&json!({"plan": "P9", "kind": "b"})).unwrap();
        list.row(&json!({"plan": "P123456789", "kind": "c"})).unwrap();
        list.catch_up().unwrap();
        list.row(&json!({"plan": "P9", "kind": "d"})).unwrap();
        list.end().unwrap();
        drop(renderer);
        let text = String::from_utf8(out).unwrap();
        let expected = " PLAN   KIND\n P1000  a\n P9          b\n P123456789  c\n P9          d\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn json_is_one_document_whatever_its_length() {
        assert_eq!(rendered(Output::Json, &[]), "[\n]\n");
        let both: Vec<Value> = serde_json::from_str(&rendered(Output::Json, &rows())).unwrap();
        assert_eq!(both, rows());
    }

    #[test]
    fn a_list_that_is_refused_before_its_first_row_is_not_an_empty_one() {
        for output in [Output::Json, Output::Csv] {
            let mut out = Vec::new();
            let style = Style { colour: Colour::Off, width: None, reader: Reader::Program };
            let mut renderer = Renderer::new(&mut out, output, TimeZone::UTC, style);
            drop(renderer.list(&["plan"]));
            drop(renderer);
            assert!(out.is_empty() && !rendered(output, &[]).is_empty());
        }
    }

    #[test]
    fn json_lines_and_csv_keep_the_whole_digest() {
        assert_eq!(rendered(Output::Jsonl, &rows()).lines().count(), 2);
        let csv = rendered(Output::Csv, &rows());
        let expected = format!(
            "plan,frozen.items,requested_at,frozen.digest\r\nP7,12,2026-03-01T10:00:00Z,{}\r\nP9,,2026-03-02T10:00:00Z,\r\n",
            "ab".repeat(32)
        );
        assert_eq!(csv, expected);
    }

    #[test]
    fn csv_is_whole_for_a_program_and_steers_no_terminal() {
        let written = |reader: Reader| {
            let mut out = Vec::new();
            let style = Style { colour: Colour::Off, width: None, reader };
            let mut renderer = Renderer::new(&mut out, Output::Csv, TimeZone::UTC, style);
            let value = json!({"name": "a\u{1b}[2J\u{9b}b\rc\nd\u{202e}e"});
            let mut list = renderer.list(&["name"]);
            list.row(&value).unwrap();
            list.end().unwrap();
            renderer.one(&value).unwrap();
            drop(renderer);
            String::from_utf8(out).unwrap()
        };
        let row = "name\r\n\"a\u{1b}[2J\u{9b}b\rc\nd\u{202e}e\"\r\n";
        assert_eq!(written(Reader::Program), row.repeat(2));
        let row = "name\r\n\"a\\u{1b}[2J\\u{9b}b\\u{d}c\nd\\u{202e}e\"\r\n";
        assert_eq!(written(Reader::Terminal), row.repeat(2));
    }

    #[test]
    fn one_value_is_shown_part_by_part() {
        let mut out = Vec::new();
        let style = Style { colour: Colour::Off, width: None, reader: Reader::Program };
        let mut renderer = Renderer::new(&mut out, Output::Table, TimeZone::UTC, style);
        renderer.one(&json!({"caller": {"roles": ["auditor", "admin"]}, "sagas": [{"saga": "S1"}]})).unwrap();
        drop(renderer);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, " FIELD         VALUE\n caller roles  auditor, admin\n sagas 1 saga  S1\n");
    }

    #[test]
    fn nothing_steers_the_terminal_or_the_spreadsheet() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}c"), "a\\u{1b}[2Jb\\u{202e}c");
        for evil in ["=1+1", "+1", "-1", "@x", "\tx"] {
            assert_eq!(spreadsheet_safe(evil), format!("'{evil}"));
        }
        assert_eq!(spreadsheet_safe("plain"), "plain");
    }
}

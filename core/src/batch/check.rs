//! Every rule of a batch, all findings at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasherDefault;

use super::detect::{Detection, SLIPS_MAX, detect, slips};
use super::kind::{Attribute, MigrationKind, Need, ValueForm, folded};
use super::login::{self, NameForm};
use super::rule::{Problem, Rule, Weight};
use super::sheet::{Row, Sheet};
use super::value::{check_value, is_formula, is_one_line};
use crate::text::{Delimiter, Encoding};

/// How many lines are named of those that share a warning.
const LINES_TOLD_MAX: usize = 5;

/// What becomes of columns that no attribute names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownColumns {
    /// The migration fails, as it does unless the batch says otherwise.
    #[default]
    Refused,
    /// They are ignored: `-AllowUnknownColumnsInCsv $true`.
    Ignored,
}

/// What is known of a batch beside its file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The kind, if the caller names it.
    pub kind: Option<MigrationKind>,
    /// Attributes for which the batch itself gives a value. A cell goes before it; a blank cell means it.
    pub of_batch: BTreeSet<String>,
    /// Columns that are no attributes.
    pub unknown_columns: UnknownColumns,
    /// A column that may be there though it is no attribute.
    pub allowed_column: Option<String>,
}

/// What was found in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Which kind it is, and how that is known.
    pub detection: Detection,
    /// Everything, in the order of the lines; what concerns the file comes first.
    pub problems: Vec<Problem>,
    /// Rows that have an error, counted from 0.
    pub bad_rows: BTreeSet<usize>,
}

impl Checked {
    /// Says whether nothing would be refused.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.problems.iter().all(|problem| problem.rule.weight() != Weight::Error)
    }

    /// Says whether the file as a whole would be refused, so that even its good rows would not be taken. That it is too
    /// large does not count: its good rows may be split.
    #[must_use]
    pub fn is_refused_whole(&self) -> bool {
        self.problems.iter().any(|problem| {
            problem.row.is_none()
                && problem.rule.weight() == Weight::Error
                && !matches!(
                    problem.rule,
                    Rule::NotARow(_)
                        | Rule::Ragged { .. }
                        | Rule::CutOff { .. }
                        | Rule::TooManyRows { .. }
                        | Rule::TooManyBytes { .. }
                )
        })
    }
}

/// Checks files that belong together. A name is only told where a row is the same as one of another file.
#[must_use]
pub fn check(files: &[(&str, &Sheet)], settings: &Settings) -> Vec<Checked> {
    let mut all: Vec<Checked> = files.iter().map(|(name, sheet)| check_one(name, sheet, settings)).collect();
    check_repeats(files, &mut all);
    for (checked, (_, sheet)) in all.iter_mut().zip(files) {
        checked.bad_rows = checked
            .problems
            .iter()
            .filter(|problem| problem.rule.weight() == Weight::Error)
            .filter_map(|problem| problem.row)
            .collect();
        let rows = (sheet.rows.len() + sheet.faults.len()) as u64;
        // Of no kind, no row was judged.
        if rows > 0 && checked.detection != Detection::Nothing {
            let good = (sheet.rows.len() - checked.bad_rows.len()) as u64;
            checked.problems.push(of_file(Rule::Rows { rows, good }));
        }
        checked.problems.sort_by_key(|problem| (problem.line, problem.column));
        checked.problems = folded_together(std::mem::take(&mut checked.problems));
    }
    all
}

/// Tells a warning that many rows share once, at the first of them. An error is told of each row, which has to be
/// mended before anything goes on.
fn folded_together(problems: Vec<Problem>) -> Vec<Problem> {
    let mut kept: Vec<Problem> = Vec::new();
    let mut shared: HashMap<(Option<usize>, Rule), Shared, BuildHasherDefault<std::hash::DefaultHasher>> =
        HashMap::default();
    for problem in problems {
        let Some(line) = problem.line.filter(|_| problem.row.is_some() && problem.rule.weight() == Weight::Warning)
        else {
            kept.push(problem);
            continue;
        };
        let shared = shared.entry((problem.column, problem.rule.clone())).or_insert_with(|| {
            kept.push(problem);
            Shared { at: kept.len() - 1, rows: 0, lines: Vec::new() }
        });
        shared.rows += 1;
        if shared.lines.len() < LINES_TOLD_MAX {
            shared.lines.push(line);
        }
    }
    for ((_, rule), Shared { at, rows, lines }) in shared.into_iter().filter(|(_, shared)| shared.rows > 1) {
        if let Some(problem) = kept.get_mut(at) {
            problem.rule = Rule::Many { rule: Box::new(rule), rows, lines };
        }
    }
    kept
}

/// A warning that is told once.
struct Shared {
    /// Where its problem stands.
    at: usize,
    rows: u64,
    lines: Vec<u64>,
}

fn of_file(rule: Rule) -> Problem {
    Problem { line: None, column: None, row: None, rule }
}

fn check_one(name: &str, sheet: &Sheet, settings: &Settings) -> Checked {
    let header: Vec<String> = sheet
        .header
        .iter()
        .filter(|column| settings.allowed_column.as_deref() != Some(column.as_str()))
        .cloned()
        .collect();
    let detection = detect(&header, settings.kind);
    let mut problems = written(name, sheet);
    let of_kind = |kind| {
        let mut check = OfKind { kind, sheet, settings, problems: Vec::new() };
        check.run();
        check.problems
    };
    match &detection {
        Detection::Named(kind) | Detection::Certain(kind) | Detection::Nearest(kind) => {
            let why = match &detection {
                Detection::Named(_) => "you said so",
                Detection::Certain(_) => "its header fits no other kind",
                Detection::Nearest(_) | Detection::Doubtful(_) | Detection::Nothing => {
                    "its header fits no kind as it stands, and this one best"
                }
            };
            problems.push(of_file(Rule::Kind { kind: *kind, why }));
            problems.extend(of_kind(*kind));
        }
        Detection::Doubtful(kinds) => {
            problems.push(Problem {
                line: Some(sheet.header_line),
                column: None,
                row: None,
                rule: Rule::KindDoubtful(kinds.clone()),
            });
            // What is wrong whichever is meant.
            let mut each = kinds.iter().map(|kind| of_kind(*kind));
            let first = each.next().unwrap_or_default();
            let others: Vec<Vec<Problem>> = each.collect();
            problems.extend(first.into_iter().filter(|problem| others.iter().all(|other| other.contains(problem))));
        }
        Detection::Nothing => {
            problems.push(Problem {
                line: Some(sheet.header_line),
                column: None,
                row: None,
                rule: Rule::HeaderUnknown,
            });
        }
    }
    Checked { detection, problems, bad_rows: BTreeSet::new() }
}

/// How the file is written: what any kind of batch asks for.
fn written(name: &str, sheet: &Sheet) -> Vec<Problem> {
    let mut problems = Vec::new();
    let written = &sheet.written;
    let lower = name.to_ascii_lowercase();
    if !lower.ends_with(".csv") && !lower.ends_with(".txt") {
        problems.push(of_file(Rule::FileName));
    }
    match written.encoding {
        Encoding::Utf8 if written.has_mark => problems.push(of_file(Rule::Mark)),
        Encoding::Utf8 => {}
        Encoding::Utf16Le | Encoding::Utf16Be => problems.push(of_file(Rule::Utf16(written.encoding.name()))),
        Encoding::Windows1250 | Encoding::Windows1252 if written.is_ascii => {}
        Encoding::Windows1250 | Encoding::Windows1252 => {
            problems.push(of_file(Rule::NotUnicode(written.encoding.name())));
        }
    }
    if written.has_separator_line {
        problems.push(Problem { line: Some(1), column: None, row: None, rule: Rule::SeparatorLine });
    }
    let names = match written.delimiter {
        Delimiter::Comma => None,
        Delimiter::Semicolon => Some("semicolons"),
        Delimiter::Tab => Some("tabulators"),
    };
    if let Some(names) = names {
        problems.push(Problem { line: Some(sheet.header_line), column: None, row: None, rule: Rule::NotComma(names) });
    }
    if let Some(first) = sheet.blank_lines.first() {
        let rule = Rule::BlankLines(sheet.blank_lines.len() as u64);
        problems.push(Problem { line: Some(*first), column: None, row: None, rule });
    }
    let faults = sheet.faults.iter();
    problems.extend(faults.map(|(line, fault)| Problem {
        line: Some(*line),
        column: None,
        row: None,
        rule: Rule::NotARow(*fault),
    }));
    if sheet.rows.is_empty() && sheet.faults.is_empty() {
        problems.push(of_file(Rule::NoRows));
    }
    problems
}

/// One file as one kind.
struct OfKind<'a> {
    kind: MigrationKind,
    sheet: &'a Sheet,
    settings: &'a Settings,
    problems: Vec<Problem>,
}

impl OfKind<'_> {
    fn run(&mut self) {
        self.check_limits();
        let columns = self.check_header();
        for (number, row) in self.sheet.rows.iter().enumerate() {
            self.check_row(number, row, &columns);
        }
        self.check_deprecated(&columns);
        match self.kind {
            MigrationKind::Imap => self.check_logins(),
            MigrationKind::PublicFolders => self.check_root(),
            MigrationKind::PublicFolderGroups => self.check_groups(),
            MigrationKind::Pst => self.problems.push(of_file(Rule::RetentionHold)),
            MigrationKind::CrossForest => self.check_push(),
            MigrationKind::Staged
            | MigrationKind::Onboarding
            | MigrationKind::Offboarding
            | MigrationKind::Local
            | MigrationKind::Google
            | MigrationKind::CrossTenant => {}
        }
    }

    fn say(&mut self, line: u64, column: Option<usize>, row: Option<usize>, rule: Rule) {
        let column = column.map(|column| column + 1);
        self.problems.push(Problem { line: Some(line), column, row, rule });
    }

    fn check_limits(&mut self) {
        let rows = (self.sheet.rows.len() + self.sheet.faults.len()) as u64;
        if let Some(max) = self.kind.rows_max().filter(|max| rows > *max) {
            self.problems.push(of_file(Rule::TooManyRows { kind: self.kind, rows, max }));
        }
        let bytes = self.sheet.written.bytes;
        if let Some(max) = self.kind.bytes_max().filter(|max| bytes > *max) {
            self.problems.push(of_file(Rule::TooManyBytes { kind: self.kind, bytes, max }));
        }
    }

    /// Checks the header, and returns the attribute of each column. A column that is only misspelt counts as what it
    /// was meant to be, so that one slip does not hide what else is wrong.
    fn check_header(&mut self) -> Vec<Option<&'static Attribute>> {
        let line = self.sheet.header_line;
        let mut columns: Vec<Option<&'static Attribute>> = Vec::new();
        for (number, name) in self.sheet.header.iter().enumerate() {
            let (attribute, rule) = self.judge_column(name);
            let is_repeated = attribute.is_some_and(|this| columns.contains(&Some(this)));
            if let Some(rule) = rule {
                self.say(line, Some(number), None, rule);
            }
            if let (true, Some(attribute)) = (is_repeated, attribute) {
                self.say(line, Some(number), None, Rule::ColumnRepeated(attribute.name));
            }
            columns.push(attribute.filter(|_| !is_repeated));
        }
        for attribute in self.kind.attributes().iter().filter(|attribute| !columns.contains(&Some(attribute))) {
            let of_batch = self.settings.of_batch.contains(attribute.name);
            match attribute.need {
                Need::Required | Need::Column => self.say(line, None, None, Rule::ColumnMissing(attribute.name)),
                Need::RequiredOrOfBatch if !of_batch => {
                    self.say(line, None, None, Rule::MissingOfBatch(attribute.name));
                }
                Need::RequiredOrOfBatch | Need::Optional => {}
            }
        }
        if self.kind == MigrationKind::Pst {
            let order: Vec<&Attribute> = columns.iter().filter_map(|column| *column).collect();
            let documented = self.kind.attributes().iter().filter(|attribute| order.contains(attribute));
            if !documented.eq(order.iter().copied()) {
                self.say(line, None, None, Rule::HeaderChanged);
            }
        }
        columns
    }

    fn judge_column(&self, name: &str) -> (Option<&'static Attribute>, Option<Rule>) {
        if let Some(attribute) = self.kind.attribute(name) {
            return (Some(attribute), None);
        }
        if name.trim().is_empty() {
            return (None, Some(Rule::ColumnUnnamed));
        }
        if self.settings.allowed_column.as_deref() == Some(name) {
            return (None, None);
        }
        let written = folded(name);
        let attributes = self.kind.attributes();
        if let Some(attribute) = attributes.iter().find(|attribute| folded(attribute.name) == written) {
            return (Some(attribute), Some(Rule::ColumnSpelling(attribute.name)));
        }
        let near = attributes
            .iter()
            .filter_map(|attribute| Some((slips(&folded(attribute.name), &written, SLIPS_MAX)?, attribute)));
        match near.min_by_key(|(slips, _)| *slips) {
            Some((_, attribute)) => (Some(attribute), Some(Rule::ColumnNear(attribute.name))),
            None => match self.settings.unknown_columns {
                UnknownColumns::Refused => (None, Some(Rule::ColumnUnknown)),
                UnknownColumns::Ignored => (None, Some(Rule::ColumnIgnored)),
            },
        }
    }

    fn check_row(&mut self, number: usize, row: &Row, columns: &[Option<&'static Attribute>]) {
        let (expected, found) = (self.sheet.header.len(), row.cells.len());
        if found != expected {
            let is_cut = found < expected && !row.ended;
            let rule = if is_cut { Rule::CutOff { expected, found } } else { Rule::Ragged { expected, found } };
            self.say(row.line, Some(found.min(expected)), Some(number), rule);
            return;
        }
        for (column, attribute) in columns.iter().enumerate() {
            let Some(attribute) = attribute else { continue };
            let value = row.cell(column);
            if value.is_empty() {
                let rule = match attribute.need {
                    Need::Required => Rule::Empty(attribute.name),
                    Need::RequiredOrOfBatch if !self.settings.of_batch.contains(attribute.name) => {
                        Rule::EmptyOfBatch(attribute.name)
                    }
                    Need::RequiredOrOfBatch | Need::Column | Need::Optional => continue,
                };
                self.say(row.line, Some(column), Some(number), rule);
                continue;
            }
            if let Err(rule) = check_value(attribute.name, attribute.form, value) {
                self.say(row.line, Some(column), Some(number), rule);
            }
            for rule in oddities(attribute, value) {
                self.say(row.line, Some(column), Some(number), rule);
            }
        }
    }

    fn check_deprecated(&mut self, columns: &[Option<&'static Attribute>]) {
        let is_online = matches!(self.kind, MigrationKind::Onboarding | MigrationKind::CrossTenant);
        for (number, attribute) in columns.iter().enumerate() {
            let Some(attribute) = attribute.filter(|attribute| attribute.form == ValueForm::ItemLimit) else {
                continue;
            };
            let is_used = self.sheet.rows.iter().any(|row| !row.cell(number).is_empty());
            if is_online && is_used {
                self.say(self.sheet.header_line, Some(number), None, Rule::LimitDeprecated(attribute.name));
            }
        }
    }

    fn check_logins(&mut self) {
        let Some(name_column) = self.sheet.column("UserName") else { return };
        let root_column = self.sheet.column("UserRoot");
        let mut forms: BTreeMap<NameForm, u64> = BTreeMap::new();
        let mut admins: BTreeSet<&str> = BTreeSet::new();
        let mut sources: BTreeMap<&str, u64> = BTreeMap::new();
        let mut found: Vec<(u64, usize, Rule)> = Vec::new();
        for (number, row) in self.sheet.rows.iter().enumerate() {
            let name = row.cell(name_column);
            if name.is_empty() {
                continue;
            }
            match login::recognise(name, root_column.map_or("", |column| row.cell(column))) {
                Ok(login) => {
                    *forms.entry(login.form).or_default() += 1;
                    admins.extend(login.admin);
                    let source = if login.form == NameForm::Courier { login.user } else { name };
                    match sources.get(source) {
                        Some(line) => found.push((row.line, number, Rule::SourceRepeated(*line))),
                        None => {
                            sources.insert(source, row.line);
                        }
                    }
                }
                Err(fault) => found.push((row.line, number, Rule::NameForm(fault))),
            }
        }
        let (forms_used, admins_named) = (forms.len(), admins.len());
        for (line, number, rule) in found {
            self.say(line, Some(name_column), Some(number), rule);
        }
        self.problems.extend(forms.into_iter().map(|(form, rows)| of_file(Rule::LoginForms { form, rows })));
        if forms_used > 1 {
            self.problems.push(of_file(Rule::FormsMixed(forms_used)));
        }
        if admins_named > 1 {
            self.problems.push(of_file(Rule::AdminsMixed(admins_named)));
        }
    }

    fn check_root(&mut self) {
        let Some(column) = self.sheet.column("FolderPath") else { return };
        if !self.sheet.rows.iter().any(|row| row.cell(column) == "\\") {
            self.problems.push(of_file(Rule::RootMissing));
        }
    }

    /// Which forest begins a move stands in the batch and not in its file.
    fn check_push(&mut self) {
        const NAME: &str = "TargetDatabase";
        let is_named = |row: &Row| self.sheet.column(NAME).is_some_and(|column| !row.cell(column).is_empty());
        if !self.settings.of_batch.contains(NAME) && !self.sheet.rows.iter().all(is_named) {
            self.problems.push(of_file(Rule::DatabaseOfPush));
        }
    }

    fn check_groups(&mut self) {
        let Some(column) = self.sheet.column("TargetGroupMailbox") else { return };
        let mut first: BTreeMap<String, u64> = BTreeMap::new();
        let mut found = Vec::new();
        for (number, row) in self.sheet.rows.iter().enumerate().filter(|(_, row)| !row.cell(column).is_empty()) {
            match first.get(&row.cell(column).to_lowercase()) {
                Some(line) => found.push((row.line, number, *line)),
                None => {
                    first.insert(row.cell(column).to_lowercase(), row.line);
                }
            }
        }
        for (line, number, other) in found {
            self.say(line, Some(column), Some(number), Rule::GroupRepeated(other));
        }
    }
}

/// What is taken, and probably not as meant.
fn oddities(attribute: &Attribute, value: &str) -> Vec<Rule> {
    let mut rules = Vec::new();
    let is_password = matches!(attribute.form, ValueForm::Password | ValueForm::NewPassword);
    if is_password && value.trim() != value {
        rules.push(Rule::PasswordSpace);
    }
    if is_password && is_one_line(value) && value.chars().any(char::is_control) {
        rules.push(Rule::PasswordControl);
    }
    if is_formula(value) {
        rules.push(Rule::Formula(attribute.name));
    }
    if attribute.form == ValueForm::TrueFalse && value.eq_ignore_ascii_case("true") {
        rules.push(Rule::ForceChange);
    }
    rules
}

/// Where the same key stands first: the file, the row and its line.
type First = (usize, usize, u64);

/// Refuses every row whose key another row has, in the same file or in another one: nobody can say which is right.
fn check_repeats(files: &[(&str, &Sheet)], all: &mut [Checked]) {
    let mut first: HashMap<String, First, BuildHasherDefault<std::hash::DefaultHasher>> = HashMap::default();
    let mut told: BTreeSet<(usize, usize)> = BTreeSet::new();
    for (file, (_, sheet)) in files.iter().enumerate() {
        let key = all.get(file).map_or("EmailAddress", |checked| key_of(&checked.detection));
        let Some(column) = sheet.column(key) else { continue };
        for (number, row) in sheet.rows.iter().enumerate() {
            let cell = row.cell(column);
            if cell.trim().is_empty() || row.cells.len() != sheet.header.len() {
                continue;
            }
            let folded = if key == "Name" { cell.to_owned() } else { cell.trim().to_lowercase() };
            match first.get(&folded).copied() {
                None => {
                    first.insert(folded, (file, number, row.line));
                }
                Some(earlier) => {
                    let this = (file, number, row.line);
                    tell_repeat(files, all, key, column, this, earlier);
                    if told.insert((earlier.0, earlier.1)) {
                        let its_column =
                            files.get(earlier.0).and_then(|(_, sheet)| sheet.column(key)).unwrap_or(column);
                        tell_repeat(files, all, key, its_column, earlier, this);
                    }
                }
            }
        }
    }
}

fn key_of(detection: &Detection) -> &'static str {
    match detection {
        Detection::Named(kind) | Detection::Certain(kind) | Detection::Nearest(kind) => kind.key(),
        Detection::Doubtful(kinds) => kinds.first().map_or("EmailAddress", |kind| kind.key()),
        Detection::Nothing => "EmailAddress",
    }
}

fn tell_repeat(
    files: &[(&str, &Sheet)],
    all: &mut [Checked],
    key: &'static str,
    column: usize,
    this: First,
    other: First,
) {
    let rule = if this.0 == other.0 {
        Rule::Repeated { key, line: other.2 }
    } else {
        let file = files.get(other.0).map_or_else(String::new, |(name, _)| (*name).to_owned());
        Rule::RepeatedElsewhere { key, file, line: other.2 }
    };
    if let Some(checked) = all.get_mut(this.0) {
        let problem = Problem { line: Some(this.2), column: Some(column + 1), row: Some(this.1), rule };
        checked.problems.push(problem);
    }
}

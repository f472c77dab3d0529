//! A policy file as written: the TOML tree with the place of every key and value, and a reader that collects errors.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::time::{Timestamp, Zone};

use super::error::{PolicyError, PolicyProblem, suggestion};

/// Where something stands in the file, in bytes.
pub(super) type Span = Range<usize>;

/// A value as written.
pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// The file being read and what was found wrong so far.
pub(super) struct Reader<'t> {
    file: String,
    text: &'t str,
    pub(super) errors: Vec<PolicyError>,
}

/// The most errors that are reported for one file: more would only repeat the first.
const ERRORS_MAX: usize = 100;

impl<'t> Reader<'t> {
    pub(super) fn of(stem: &str, text: &'t str) -> Self {
        Self::named(format!("{stem}.toml"), text)
    }

    /// Reads what is no policy file; `name` stands in its errors.
    pub(super) fn named(name: String, text: &'t str) -> Self {
        Self { file: name, text, errors: Vec::new() }
    }

    /// Parses a text that is one value; `None` after reporting every syntax error.
    pub(super) fn parse_value(&mut self) -> Option<Value<'t>> {
        let (value, errors) = DeValue::parse_recoverable(self.text);
        self.syntax(&errors).then_some(value)
    }

    /// Parses the file; `None` after reporting every syntax error.
    pub(super) fn parse(&mut self) -> Option<Spanned<DeTable<'t>>> {
        let (tree, errors) = DeTable::parse_recoverable(self.text);
        self.syntax(&errors).then_some(tree)
    }

    /// Reports what the TOML parser found; says whether that was nothing.
    fn syntax(&mut self, errors: &[toml::de::Error]) -> bool {
        for error in errors {
            self.error(&error.span().unwrap_or(0..0), PolicyProblem::Syntax(error.message().to_owned()));
        }
        errors.is_empty()
    }

    pub(super) fn error(&mut self, at: &Span, problem: PolicyProblem) {
        if self.errors.len() >= ERRORS_MAX {
            return;
        }
        let (line, column) = position(self.text, at.start);
        self.errors.push(PolicyError { file: self.file.clone(), line, column, problem });
    }

    /// Returns line and column, both from 1.
    pub(super) fn position(&self, at: &Span) -> (u32, u32) {
        position(self.text, at.start)
    }

    pub(super) fn bad_value(&mut self, at: &Span, key: &str, problem: impl Into<String>) {
        self.error(at, PolicyProblem::Value { key: key.to_owned(), problem: problem.into() });
    }

    pub(super) fn unsupported(&mut self, at: &Span, what: impl Into<String>, why: &'static str) {
        self.error(at, PolicyProblem::Unsupported { what: what.into(), why });
    }

    pub(super) fn wrong_type(&mut self, key: &str, expected: &'static str, value: &Value<'_>) {
        let found = value.get_ref().type_str();
        self.error(&value.span(), PolicyProblem::WrongType { key: key.to_owned(), expected, found });
    }

    pub(super) fn text(&mut self, key: &str, value: &'t Value<'t>) -> Option<&'t str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(key, "a string", value);
        }
        text
    }

    pub(super) fn boolean(&mut self, key: &str, value: &'t Value<'t>) -> Option<bool> {
        let boolean = value.get_ref().as_bool();
        if boolean.is_none() {
            self.wrong_type(key, "true or false", value);
        }
        boolean
    }

    /// Reads a whole number within a range.
    pub(super) fn whole(&mut self, key: &str, value: &'t Value<'t>, range: &Range<u64>) -> Option<u64> {
        let Some(integer) = value.get_ref().as_integer() else {
            self.wrong_type(key, "a whole number", value);
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|n| range.contains(n));
        if number.is_none() {
            let problem = format!("must be between {} and {}", range.start, range.end.saturating_sub(1));
            self.bad_value(&value.span(), key, problem);
        }
        number
    }

    /// Reads a string with the `FromStr` of its type; its error says what is wrong.
    pub(super) fn parsed<T>(&mut self, key: &str, value: &'t Value<'t>) -> Option<T>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let text = self.text(key, value)?;
        text.parse().map_err(|error: T::Err| self.bad_value(&value.span(), key, format!("is {error}"))).ok()
    }

    /// Reads one of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, value: &'t Value<'t>, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key, value)?;
        let choice = choices.iter().find(|(name, _)| *name == text);
        if choice.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let hint = suggestion(text, names.iter().copied());
            self.bad_value(&value.span(), key, format!("must be one of {}{hint}", names.join(", ")));
        }
        choice.map(|(_, choice)| *choice)
    }

    /// Reads one string or a list of strings, each with its place.
    pub(super) fn texts(&mut self, key: &str, value: &'t Value<'t>) -> Option<Vec<(&'t str, Span)>> {
        match value.get_ref() {
            DeValue::String(text) => Some(vec![(text.as_ref(), value.span())]),
            DeValue::Array(items) => {
                items.iter().map(|item| self.text(key, item).map(|text| (text, item.span()))).collect()
            }
            _ => {
                self.wrong_type(key, "a string or a list of strings", value);
                None
            }
        }
    }

    /// Reads an instant: a TOML date-time with an offset, a TOML date, or the same as a string.
    pub(super) fn instant(&mut self, key: &'static str, value: &'t Value<'t>, zone: &Zone) -> Option<Timestamp> {
        let text = match value.get_ref() {
            DeValue::Datetime(datetime) => datetime.to_string(),
            DeValue::String(text) => text.to_string(),
            _ => {
                self.wrong_type(key, "a date or an instant with an offset", value);
                return None;
            }
        };
        let instant = Timestamp::parse_in(&text, zone);
        instant.map_err(|error| self.bad_value(&value.span(), key, format!("is {error}"))).ok()
    }

    pub(super) fn table(&mut self, name: &str, value: &'t Value<'t>) -> Option<Table<'t>> {
        let entries = value.get_ref().as_table();
        if entries.is_none() {
            self.wrong_type(name, "a table", value);
        }
        entries.map(|entries| Table::of(name, value.span(), entries))
    }
}

/// One table, which remembers which keys were asked for: the others are unknown.
pub(super) struct Table<'t> {
    pub(super) name: String,
    pub(super) at: Span,
    entries: &'t DeTable<'t>,
    known: BTreeSet<&'static str>,
}

impl<'t> Table<'t> {
    pub(super) fn of(name: &str, at: Span, entries: &'t DeTable<'t>) -> Self {
        Self { name: name.to_owned(), at, entries, known: BTreeSet::new() }
    }

    pub(super) fn get(&mut self, key: &'static str) -> Option<&'t Value<'t>> {
        self.known.insert(key);
        self.entries.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    pub(super) fn require(
        &mut self,
        r: &mut Reader<'t>,
        key: &'static str,
        why: &'static str,
    ) -> Option<&'t Value<'t>> {
        let value = self.get(key);
        if value.is_none() {
            r.error(&self.at, PolicyProblem::Missing { key, table: self.name.clone(), why });
        }
        value
    }

    /// Returns all entries, for a table whose keys are free.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'t str, Span, &'t Value<'t>)> {
        self.entries.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
    }

    /// Reports every key that was not asked for; those that stand `elsewhere` with where.
    pub(super) fn finish(self, r: &mut Reader<'t>, elsewhere: &[(&'static str, &'static str)]) {
        for (key, at, _) in self.entries() {
            if self.known.contains(key) {
                continue;
            }
            if let Some((_, why)) = elsewhere.iter().find(|(known, _)| *known == key) {
                r.unsupported(&at, key, why);
            } else {
                let hint = suggestion(key, self.known.iter().copied());
                r.error(&at, PolicyProblem::UnknownKey { key: key.to_owned(), table: self.name.clone(), hint });
            }
        }
    }
}

/// Returns line and column, both from 1, of a byte.
fn position(text: &str, at: usize) -> (u32, u32) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let count = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
    (
        count(before.bytes().filter(|byte| *byte == b'\n').count()),
        count(before.get(line_start..).map_or(0, |line| line.chars().count())),
    )
}

//! Filters: trees of `all`, `any`, `not` over comparisons of one field each, judged in three values.
//!
//! **Three values** (Kleene): a comparison of a cell that cannot be read is neither true nor false. `not` of it stays
//! so; one false part makes `all` false and one true part makes `any` true whatever the rest is. A filter that ends
//! unreadable keeps the entity.
//!
//! A field that is null, empty or blank matches nothing except `absent`: neither `eq` nor `ne`. On a list, a
//! comparison asks whether any element matches; `all_of` asks for every element, and at least one.

use std::fmt;

use regex::Regex;

use super::cell::{self, Decimal, Found};
use crate::record::{DateRole, EntityRecord, FieldType, Layout, Visibility, field};
use crate::time::{Timestamp, Zone};

use super::assess::Facts;

/// A checked filter.
#[derive(Debug)]
pub enum Filter {
    /// Every part must match. Never empty.
    All(Vec<Filter>),
    /// At least one part must match. Never empty.
    Any(Vec<Filter>),
    /// The part must not match.
    Not(Box<Filter>),
    /// One comparison.
    Leaf(Leaf),
}

/// One comparison of one field. `Debug` shows the field and not the value, which may name persons.
pub struct Leaf {
    /// Its number within the policy: the index of its bound subject.
    pub(super) number: usize,
    /// The field as written.
    pub(super) field: String,
    /// What the field is.
    pub(super) subject: Subject,
    /// What is asked of it.
    pub(super) test: Test,
}

/// What a field name means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// A column, found by field name.
    Column,
    /// A date by role; the standard column that it was read from, if there is one.
    Date(DateRole, Option<&'static str>),
    /// The latest activity, derived or from the source.
    LastActivity,
    FirstSeen,
    OpenDeals,
    Visibility,
    Source,
    Kind,
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf").field("field", &self.field).finish_non_exhaustive()
    }
}

/// What is asked of a field.
pub(super) enum Test {
    Exists,
    Absent,
    Text(TextTest),
    /// Every element of a list.
    AllOf(TextTest),
    Number(Comparison, Decimal),
    /// The same, of a cell that may carry a currency.
    Money(Comparison, Decimal),
    Boolean(bool),
    Date(Side, Timestamp),
}

pub(super) enum TextTest {
    Eq(String),
    Ne(String),
    /// Sorted.
    In(Vec<String>),
    /// Sorted.
    NotIn(Vec<String>),
    Prefix(String),
    Suffix(String),
    Contains(String),
    /// The pattern as written, and what it compiles to.
    Glob(String, Regex),
    /// The pattern as written, and compiled; found anywhere in the text.
    Matches(String, Regex),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

/// The outcome of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth<'a> {
    /// It matches.
    Yes,
    /// It does not.
    No,
    /// It cannot be said, because of this field.
    Unreadable(&'a str),
}

impl From<bool> for Truth<'_> {
    fn from(matches: bool) -> Self {
        if matches { Self::Yes } else { Self::No }
    }
}

/// What a leaf reads in one layout.
#[derive(Debug, Clone)]
pub(super) enum BoundSubject {
    Cell {
        column: usize,
        is_list: bool,
    },
    /// The layout has no such column, and whether the source could have said so.
    NoColumn(NoColumn),
    Date(BoundDate),
    LastActivity,
    FirstSeen,
    OpenDeals,
    Visibility,
    Source,
    Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoColumn {
    /// A standard field that the file did not have: it may exist and is unknown.
    Unknown,
    /// A custom field that the source does not define: it is known to be absent, but comparing it is a mistake or a
    /// renamed label, so comparisons stay unreadable.
    Undefined,
}

/// A date by role, and the cell that it should have been read from.
#[derive(Debug, Clone, Copy)]
pub(super) struct BoundDate {
    pub(super) role: DateRole,
    pub(super) column: Option<usize>,
}

impl BoundDate {
    pub(super) fn of(role: DateRole, column: Option<&str>, layout: &Layout) -> Self {
        Self { role, column: column.and_then(|name| layout.column_of(name)) }
    }

    /// Returns the date. A cell with content from which no date came is unreadable, not missing.
    pub(super) fn read(self, record: &EntityRecord) -> Found<Timestamp> {
        match record.date(self.role) {
            Some(at) => Found::Value(at),
            None if self.column.is_none_or(|column| cell::is_blank(record.cells.get(column))) => Found::Nothing,
            None => Found::Unreadable,
        }
    }
}

/// Returns the role and standard column of a date that policies name.
pub(super) fn date_field(name: &str) -> Option<(DateRole, Option<&'static str>)> {
    match name {
        "created" => Some((DateRole::Created, Some("created"))),
        "modified" => Some((DateRole::Modified, Some("modified"))),
        "closed" => Some((DateRole::Closed, Some("close_date"))),
        "occurred" => Some((DateRole::Occurred, Some("event_time"))),
        "contract_end" => Some((DateRole::ContractEnd, None)),
        "received" => Some((DateRole::Received, Some("received"))),
        "granted" => Some((DateRole::Granted, None)),
        _ => None,
    }
}

/// Returns the latest of what the daemon derived and what the source says.
pub(super) fn last_activity(facts: &Facts<'_>) -> Option<Timestamp> {
    facts.last_activity.max(facts.record.date(DateRole::LastActivity))
}

impl Subject {
    pub(super) fn bind(&self, field_name: &str, layout: &Layout) -> BoundSubject {
        match self {
            Self::Column => match layout.column_of(field_name) {
                Some(column) => {
                    let is_list = layout.columns.get(column).is_some_and(|c| c.field_type == FieldType::List);
                    BoundSubject::Cell { column, is_list }
                }
                None if field_name.starts_with(field::CUSTOM_PREFIX) => BoundSubject::NoColumn(NoColumn::Undefined),
                None => BoundSubject::NoColumn(NoColumn::Unknown),
            },
            Self::Date(role, column) => BoundSubject::Date(BoundDate::of(*role, *column, layout)),
            Self::LastActivity => BoundSubject::LastActivity,
            Self::FirstSeen => BoundSubject::FirstSeen,
            Self::OpenDeals => BoundSubject::OpenDeals,
            Self::Visibility => BoundSubject::Visibility,
            Self::Source => BoundSubject::Source,
            Self::Kind => BoundSubject::Kind,
        }
    }
}

impl Filter {
    /// Calls `visit` for every leaf, in the order of their numbers.
    pub(super) fn for_each_leaf<'a>(&'a self, visit: &mut impl FnMut(&'a Leaf)) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.for_each_leaf(visit)),
            Self::Not(part) => part.for_each_leaf(visit),
            Self::Leaf(leaf) => visit(leaf),
        }
    }

    /// Says whether something in it is asked of the last activity.
    pub(super) fn speaks_of_activity(&self) -> bool {
        let mut speaks = false;
        self.for_each_leaf(&mut |leaf| speaks |= matches!(leaf.subject, Subject::LastActivity));
        speaks
    }

    /// Says whether something in it is asked of what changes while the record does not.
    pub(super) fn looks_beside(&self) -> bool {
        let mut looks = false;
        self.for_each_leaf(&mut |leaf| looks |= matches!(leaf.subject, Subject::LastActivity | Subject::OpenDeals));
        looks
    }

    /// Says whether something in it is compared as a date.
    pub(super) fn compares_dates(&self) -> bool {
        let mut compares = false;
        self.for_each_leaf(&mut |leaf| compares |= matches!(leaf.test, Test::Date(..)));
        compares
    }

    /// Judges one entity. `subjects` are the bound subjects of the policy's leaves, `zone` reads bare dates.
    pub(super) fn judge(&self, subjects: &[BoundSubject], facts: &Facts<'_>, zone: &Zone) -> Truth<'_> {
        match self {
            Self::All(parts) => {
                let mut result = Truth::Yes;
                for part in parts {
                    match part.judge(subjects, facts, zone) {
                        Truth::No => return Truth::No,
                        Truth::Unreadable(field) => result = Truth::Unreadable(field),
                        Truth::Yes => {}
                    }
                }
                result
            }
            Self::Any(parts) => {
                let mut result = Truth::No;
                for part in parts {
                    match part.judge(subjects, facts, zone) {
                        Truth::Yes => return Truth::Yes,
                        Truth::Unreadable(field) => result = Truth::Unreadable(field),
                        Truth::No => {}
                    }
                }
                result
            }
            Self::Not(part) => match part.judge(subjects, facts, zone) {
                Truth::Yes => Truth::No,
                Truth::No => Truth::Yes,
                Truth::Unreadable(field) => Truth::Unreadable(field),
            },
            Self::Leaf(leaf) => leaf.judge(subjects, facts, zone),
        }
    }
}

impl Leaf {
    fn judge(&self, subjects: &[BoundSubject], facts: &Facts<'_>, zone: &Zone) -> Truth<'_> {
        let Some(subject) = subjects.get(self.number) else { return self.unreadable() };
        match subject {
            BoundSubject::Cell { column, is_list } => self.judge_cell(facts.record.cells.get(*column), *is_list, zone),
            BoundSubject::NoColumn(NoColumn::Undefined) => match self.test {
                Test::Exists => Truth::No,
                Test::Absent => Truth::Yes,
                Test::Text(_)
                | Test::AllOf(_)
                | Test::Number(..)
                | Test::Money(..)
                | Test::Boolean(_)
                | Test::Date(..) => self.unreadable(),
            },
            BoundSubject::NoColumn(NoColumn::Unknown) => self.unreadable(),
            BoundSubject::Date(date) => self.judge_date(date.read(facts.record)),
            BoundSubject::LastActivity => self.judge_date(last_activity(facts).map_or(Found::Nothing, Found::Value)),
            BoundSubject::FirstSeen => self.judge_date(Found::Value(facts.first_seen)),
            BoundSubject::OpenDeals => self.judge_number(Found::Value(Decimal::from_whole(facts.open_deals))),
            BoundSubject::Visibility => self.judge_cell(visibility_name(facts.record.visibility), false, zone),
            BoundSubject::Source => self.judge_cell(Some(&facts.layout.source), false, zone),
            BoundSubject::Kind => self.judge_cell(Some(facts.layout.kind.name()), false, zone),
        }
    }

    fn unreadable(&self) -> Truth<'_> {
        Truth::Unreadable(&self.field)
    }

    fn judge_cell(&self, cell: Option<&str>, is_list: bool, zone: &Zone) -> Truth<'_> {
        match &self.test {
            Test::Exists => (!cell::is_blank(cell)).into(),
            Test::Absent => cell::is_blank(cell).into(),
            Test::Text(test) if is_list => elements(cell).any(|element| test.matches(element)).into(),
            Test::Text(test) => match cell.filter(|_| !cell::is_blank(cell)) {
                Some(text) => test.matches(text).into(),
                None => Truth::No,
            },
            Test::AllOf(test) => {
                let mut elements = elements(cell).peekable();
                (elements.peek().is_some() && elements.all(|element| test.matches(element))).into()
            }
            Test::Number(..) => self.judge_number(cell::number(cell)),
            Test::Money(..) => self.judge_number(cell::money(cell)),
            Test::Boolean(wanted) => self.judge_found(cell::boolean(cell), |value| value == *wanted),
            Test::Date(..) => self.judge_date(cell::instant(cell, zone)),
        }
    }

    fn judge_number(&self, number: Found<Decimal>) -> Truth<'_> {
        match &self.test {
            Test::Number(comparison, wanted) | Test::Money(comparison, wanted) => {
                self.judge_found(number, |value| comparison.holds(value, *wanted))
            }
            Test::Exists => (number != Found::Nothing).into(),
            Test::Absent => (number == Found::Nothing).into(),
            Test::Text(_) | Test::AllOf(_) | Test::Boolean(_) | Test::Date(..) => self.unreadable(),
        }
    }

    fn judge_date(&self, date: Found<Timestamp>) -> Truth<'_> {
        match &self.test {
            Test::Date(Side::Before, bound) => self.judge_found(date, |at| at < *bound),
            Test::Date(Side::After, bound) => self.judge_found(date, |at| at > *bound),
            Test::Exists => (date != Found::Nothing).into(),
            Test::Absent => (date == Found::Nothing).into(),
            Test::Text(_) | Test::AllOf(_) | Test::Boolean(_) | Test::Number(..) | Test::Money(..) => self.unreadable(),
        }
    }

    fn judge_found<T>(&self, found: Found<T>, holds: impl FnOnce(T) -> bool) -> Truth<'_> {
        match found {
            Found::Nothing => Truth::No,
            Found::Value(value) => holds(value).into(),
            Found::Unreadable => self.unreadable(),
        }
    }
}

/// The separator of the elements of a list cell.
const LIST_SEPARATOR: char = '|';

fn elements(cell: Option<&str>) -> impl Iterator<Item = &str> {
    cell.unwrap_or_default().split(LIST_SEPARATOR).filter(|element| !cell::is_blank(Some(element)))
}

pub(super) fn visibility_name(visibility: Visibility) -> Option<&'static str> {
    match visibility {
        Visibility::Unknown => None,
        Visibility::Private => Some("private"),
        Visibility::Shared => Some("shared"),
    }
}

impl TextTest {
    fn matches(&self, text: &str) -> bool {
        let is_in = |set: &[String]| set.binary_search_by(|item| item.as_str().cmp(text)).is_ok();
        match self {
            Self::Eq(wanted) => text == wanted,
            Self::Ne(wanted) => text != wanted,
            Self::In(set) => is_in(set),
            Self::NotIn(set) => !is_in(set),
            Self::Prefix(wanted) => text.starts_with(wanted),
            Self::Suffix(wanted) => text.ends_with(wanted),
            Self::Contains(wanted) => text.contains(wanted),
            Self::Glob(_, regex) | Self::Matches(_, regex) => regex.is_match(text),
        }
    }
}

impl Comparison {
    fn holds(self, value: Decimal, wanted: Decimal) -> bool {
        match self {
            Self::Eq => value == wanted,
            Self::Ne => value != wanted,
            Self::Lt => value < wanted,
            Self::Le => value <= wanted,
            Self::Gt => value > wanted,
            Self::Ge => value >= wanted,
        }
    }
}

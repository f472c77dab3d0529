//! A `where` or `suspend_while` tree as written, checked against the fields of the kinds in scope.

use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};
use toml::de::DeValue;

use crate::policy::cell::Decimal;
use crate::policy::error::{PolicyProblem, suggestion};
use crate::policy::filter::{Comparison, Filter, Leaf, Side, Subject, Test, TextTest, date_field};
use crate::policy::syntax::{Reader, Span, Table, Value};
use crate::record::{FieldType, Kind, field};
use crate::time::Zone;

/// How deep a tree may be: far more than a person can follow.
const DEPTH_MAX: usize = 16;
/// The most comparisons in one policy: each is asked of every entity in scope.
const LEAVES_MAX: usize = 256;
/// The most values in one list.
const VALUES_MAX: usize = 1_000;
/// The longest pattern, in bytes.
const PATTERN_MAX: usize = 1_024;
/// The largest compiled pattern, in bytes: Unicode classes in a short pattern stay well below.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Fields that are derived or told beside the row; every kind has them.
const DERIVED: [&str; 13] = [
    "last_activity",
    "open_deals",
    "first_seen",
    "created",
    "modified",
    "closed",
    "occurred",
    "contract_end",
    "received",
    "granted",
    "visibility",
    "source",
    "kind",
];

/// Checks the filters of one policy; numbers their leaves through.
pub(in crate::policy) struct FilterCheck<'a> {
    pub(in crate::policy) kinds: &'a BTreeSet<Kind>,
    pub(in crate::policy) zone: &'a Zone,
    pub(in crate::policy) leaves: usize,
}

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A standard or derived field of this type.
    Typed(FieldType),
    /// One of a few words.
    Word(&'static [&'static str]),
    /// A custom field: the value's type decides how the cell is read.
    Open,
}

const VISIBILITIES: &[&str] = &["private", "shared"];
const KINDS: &[&str] =
    &["contact", "company", "deal", "activity", "post", "task", "insight", "template", "file", "message"];

impl FilterCheck<'_> {
    /// Checks a tree; `None` after reporting what is wrong.
    pub(in crate::policy) fn tree<'t>(
        &mut self,
        r: &mut Reader<'t>,
        value: &'t Value<'t>,
        depth: usize,
    ) -> Option<Filter> {
        let mut table = r.table("where", value)?;
        if depth >= DEPTH_MAX {
            r.bad_value(&value.span(), "where", format!("is nested too deeply: at most {DEPTH_MAX} levels"));
            return None;
        }
        let (all, any, not) = (table.get("all"), table.get("any"), table.get("not"));
        let filter = match (all, any, not) {
            (Some(parts), None, None) => self.parts(r, "all", parts, depth).map(Filter::All),
            (None, Some(parts), None) => self.parts(r, "any", parts, depth).map(Filter::Any),
            (None, None, Some(part)) => self.tree(r, part, depth + 1).map(|part| Filter::Not(Box::new(part))),
            (None, None, None) => self.leaf(r, &mut table).map(Filter::Leaf),
            _ => {
                r.bad_value(&value.span(), "where", "has more than one of `all`, `any`, `not` in one table");
                None
            }
        };
        table.finish(r, &[]);
        filter
    }

    fn parts<'t>(
        &mut self,
        r: &mut Reader<'t>,
        key: &'static str,
        value: &'t Value<'t>,
        depth: usize,
    ) -> Option<Vec<Filter>> {
        let Some(items) = value.get_ref().as_array() else {
            r.wrong_type(key, "a list of tables", value);
            return None;
        };
        if items.is_empty() {
            r.bad_value(&value.span(), key, "is empty: leave it out, or write what must match");
            return None;
        }
        // Each part is looked at, so that all its errors are reported.
        let parts: Vec<_> = items.iter().map(|item| self.tree(r, item, depth + 1)).collect();
        parts.into_iter().collect()
    }

    fn leaf<'t>(&mut self, r: &mut Reader<'t>, table: &mut Table<'t>) -> Option<Leaf> {
        let (field, op, value) = (table.require(r, "field", ""), table.require(r, "op", ""), table.get("value"));
        let (field, op) = (field?, op?);
        let field_at = field.span();
        let op_at = op.span();
        let (field, op) = (r.text("field", field)?, r.text("op", op)?);
        if self.leaves >= LEAVES_MAX {
            r.bad_value(&field_at, "where", format!("has too many comparisons: at most {LEAVES_MAX}"));
            return None;
        }
        let (subject, shape) = self.subject(r, field, &field_at)?;
        let test = self.test(r, &Question { field, shape, op, op_at: &op_at, at: &table.at }, value)?;
        let number = self.leaves;
        self.leaves += 1;
        Some(Leaf { number, field: field.to_owned(), subject, test })
    }

    fn subject(&self, r: &mut Reader<'_>, name: &str, at: &Span) -> Option<(Subject, Shape)> {
        if let Some((role, column)) = date_field(name) {
            return Some((Subject::Date(role, column), Shape::Typed(FieldType::Date)));
        }
        match name {
            "last_activity" => return Some((Subject::LastActivity, Shape::Typed(FieldType::Date))),
            "first_seen" => return Some((Subject::FirstSeen, Shape::Typed(FieldType::Date))),
            "open_deals" => return Some((Subject::OpenDeals, Shape::Typed(FieldType::Number))),
            "visibility" => return Some((Subject::Visibility, Shape::Word(VISIBILITIES))),
            "source" => return Some((Subject::Source, Shape::Typed(FieldType::Text))),
            "kind" => return Some((Subject::Kind, Shape::Word(KINDS))),
            _ => {}
        }
        if field::is_custom(name) {
            return Some((Subject::Column, Shape::Open));
        }
        let mut types = BTreeSet::new();
        for kind in self.kinds {
            let fields = field::standard(*kind);
            match fields.iter().find(|f| f.name == name) {
                Some(found) => {
                    types.insert(found.field_type.name());
                }
                None => {
                    let hint = suggestion(name, fields.iter().map(|f| f.name).chain(DERIVED));
                    let problem = PolicyProblem::UnknownField { field: name.to_owned(), kind: kind.name(), hint };
                    r.error(at, problem);
                    return None;
                }
            }
        }
        if types.len() > 1 {
            r.bad_value(at, name, "has different types in the kinds in scope: write one policy for each kind");
            return None;
        }
        let first = self.kinds.first().and_then(|kind| field::standard(*kind).iter().find(|f| f.name == name))?;
        Some((Subject::Column, Shape::Typed(first.field_type)))
    }

    fn test<'t>(&self, r: &mut Reader<'t>, q: &Question<'_>, value: Option<&'t Value<'t>>) -> Option<Test> {
        if matches!(q.op, "older_than" | "younger_than") {
            let why = ": it changes with the time of asking; write the length as [retention] period, \
                       or a fixed date with before or after";
            r.unsupported(q.op_at, q.op, why);
            return None;
        }
        if matches!(q.op, "exists" | "absent") {
            if let Some(value) = value {
                r.bad_value(&value.span(), "value", format!("does not belong to `{}`", q.op));
                return None;
            }
            return Some(if q.op == "exists" { Test::Exists } else { Test::Absent });
        }
        let Some(value) = value else {
            r.error(q.at, PolicyProblem::Missing { key: "value", table: "where".to_owned(), why: "" });
            return None;
        };
        match q.shape {
            Shape::Typed(FieldType::Text) => text_test(r, q, q.op, value).map(Test::Text),
            Shape::Typed(FieldType::List) => list_test(r, q, value),
            Shape::Typed(FieldType::Number) => number_test(r, q, value).map(|(c, n)| Test::Number(c, n)),
            Shape::Typed(FieldType::Money) => number_test(r, q, value).map(|(c, n)| Test::Money(c, n)),
            Shape::Typed(FieldType::Boolean) => boolean_test(r, q, value),
            Shape::Typed(FieldType::Date) => self.date_test(r, q, value),
            Shape::Word(words) => word_test(r, q, words, value),
            Shape::Open => match value.get_ref() {
                DeValue::Integer(_) | DeValue::Float(_) => number_test(r, q, value).map(|(c, n)| Test::Number(c, n)),
                DeValue::Boolean(_) => boolean_test(r, q, value),
                _ if matches!(q.op, "before" | "after") => self.date_test(r, q, value),
                _ if q.op == "all_of" => list_test(r, q, value),
                _ => text_test(r, q, q.op, value).map(Test::Text),
            },
        }
    }

    fn date_test<'t>(&self, r: &mut Reader<'t>, q: &Question<'_>, value: &'t Value<'t>) -> Option<Test> {
        let side = match q.op {
            "before" => Side::Before,
            "after" => Side::After,
            _ => return q.refuse(r),
        };
        r.instant("value", value, self.zone).map(|at| Test::Date(side, at))
    }
}

/// What a leaf asks, and where it stands.
struct Question<'q> {
    field: &'q str,
    shape: Shape,
    op: &'q str,
    op_at: &'q Span,
    at: &'q Span,
}

impl Question<'_> {
    /// Reports that the operator does not fit.
    fn refuse<T>(&self, r: &mut Reader<'_>) -> Option<T> {
        let (field_type, allowed) = match self.shape {
            Shape::Typed(FieldType::Text) => {
                ("text", "eq, ne, in, not_in, prefix, suffix, contains, glob, matches, exists, absent")
            }
            Shape::Typed(FieldType::List) => (
                "a list",
                "eq, in, prefix, suffix, contains, glob, matches (any element), all_of, exists, absent; \
                 for none of the elements write not = { .. }",
            ),
            Shape::Typed(FieldType::Number) => ("a number", "eq, ne, lt, le, gt, ge, exists, absent"),
            Shape::Typed(FieldType::Money) => ("a sum of money", "eq, ne, lt, le, gt, ge, exists, absent"),
            Shape::Typed(FieldType::Boolean) => ("true or false", "eq, ne, exists, absent"),
            Shape::Typed(FieldType::Date) => ("a date", "before, after, exists, absent"),
            Shape::Word(_) => ("one of a few words", "eq, ne, in, not_in, exists, absent"),
            Shape::Open => ("a custom field", "an operator that fits the type of the value"),
        };
        let (op, field) = (self.op.to_owned(), self.field.to_owned());
        r.error(self.op_at, PolicyProblem::Operator { op, field, field_type, allowed });
        None
    }
}

fn list_test<'t>(r: &mut Reader<'t>, q: &Question<'_>, value: &'t Value<'t>) -> Option<Test> {
    match q.op {
        "ne" | "not_in" => q.refuse(r),
        "all_of" => {
            let mut table = r.table("value", value)?;
            let (op, inner) = (table.require(r, "op", ""), table.require(r, "value", ""));
            table.finish(r, &[]);
            let (op, inner) = (op?, inner?);
            let op_at = op.span();
            let op = r.text("op", op)?;
            let q = Question { op, op_at: &op_at, ..*q };
            text_test(r, &q, op, inner).map(Test::AllOf)
        }
        op => text_test(r, q, op, value).map(Test::Text),
    }
}

fn text_test<'t>(r: &mut Reader<'t>, q: &Question<'_>, op: &str, value: &'t Value<'t>) -> Option<TextTest> {
    let set = |r: &mut Reader<'t>| {
        let mut set: Vec<String> = r.texts("value", value)?.into_iter().map(|(text, _)| text.to_owned()).collect();
        if set.is_empty() || set.len() > VALUES_MAX {
            r.bad_value(&value.span(), "value", format!("must have 1 to {VALUES_MAX} texts"));
            return None;
        }
        set.sort();
        set.dedup();
        Some(set)
    };
    match op {
        "in" => return set(r).map(TextTest::In),
        "not_in" => return set(r).map(TextTest::NotIn),
        "eq" | "ne" | "prefix" | "suffix" | "contains" | "glob" | "matches" => {}
        _ => return q.refuse(r),
    }
    let text = r.text("value", value)?;
    if text.is_empty() || text.len() > PATTERN_MAX {
        let problem = format!("must have 1 to {PATTERN_MAX} bytes; for an empty field use `absent`");
        r.bad_value(&value.span(), "value", problem);
        return None;
    }
    let owned = text.to_owned();
    match op {
        "eq" => Some(TextTest::Eq(owned)),
        "ne" => Some(TextTest::Ne(owned)),
        "prefix" => Some(TextTest::Prefix(owned)),
        "suffix" => Some(TextTest::Suffix(owned)),
        "contains" => Some(TextTest::Contains(owned)),
        "glob" => compile(r, value, &glob_pattern(text)).map(|regex| TextTest::Glob(owned, regex)),
        _ => compile(r, value, text).map(|regex| TextTest::Matches(owned, regex)),
    }
}

fn compile(r: &mut Reader<'_>, value: &Value<'_>, pattern: &str) -> Option<Regex> {
    let regex = RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build();
    regex
        .map_err(|error| {
            let problem = match error {
                regex::Error::CompiledTooBig(_) => "is a pattern that is too large when compiled",
                _ => "is not a regular expression of the `regex` crate (no look-around, no back-references)",
            };
            r.bad_value(&value.span(), "value", problem);
        })
        .ok()
}

/// Turns a glob into a pattern: `*` is any text, `?` one character, everything else itself.
fn glob_pattern(glob: &str) -> String {
    let mut pattern = String::from("(?s)^");
    for c in glob.chars() {
        match c {
            '*' => pattern.push_str(".*"),
            '?' => pattern.push('.'),
            c => pattern.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    pattern.push('$');
    pattern
}

fn word_test<'t>(
    r: &mut Reader<'t>,
    q: &Question<'_>,
    words: &'static [&'static str],
    value: &'t Value<'t>,
) -> Option<Test> {
    if !matches!(q.op, "eq" | "ne" | "in" | "not_in") {
        return q.refuse(r);
    }
    for (text, at) in r.texts("value", value)? {
        if !words.contains(&text) {
            let hint = suggestion(text, words.iter().copied());
            r.bad_value(&at, "value", format!("must be one of {}{hint}", words.join(", ")));
            return None;
        }
    }
    text_test(r, q, q.op, value).map(Test::Text)
}

fn number_test<'t>(r: &mut Reader<'t>, q: &Question<'_>, value: &'t Value<'t>) -> Option<(Comparison, Decimal)> {
    let comparison = match q.op {
        "eq" => Comparison::Eq,
        "ne" => Comparison::Ne,
        "lt" => Comparison::Lt,
        "le" => Comparison::Le,
        "gt" => Comparison::Gt,
        "ge" => Comparison::Ge,
        _ => return q.refuse(r),
    };
    let text = match value.get_ref() {
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
        DeValue::Float(float) => float.as_str(),
        _ => {
            r.wrong_type("value", "a number", value);
            return None;
        }
    };
    let number = Decimal::parse(text);
    if number.is_none() {
        r.bad_value(&value.span(), "value", "must be a decimal number with at most 9 decimals");
    }
    number.map(|number| (comparison, number))
}

fn boolean_test<'t>(r: &mut Reader<'t>, q: &Question<'_>, value: &'t Value<'t>) -> Option<Test> {
    let wanted = r.boolean("value", value)?;
    match q.op {
        "eq" => Some(Test::Boolean(wanted)),
        "ne" => Some(Test::Boolean(!wanted)),
        _ => q.refuse(r),
    }
}

//! Filters in words. They show what is compared with, which may name persons.

use crate::policy::Filter;
use crate::policy::filter::{Comparison, Leaf, Side, Test, TextTest};
use crate::time::{Timestamp, Zone};

/// Returns a filter as the end of a sentence that begins with "where"; dates are those of the zone.
pub(super) fn in_words(filter: &Filter, zone: &Zone) -> String {
    match filter {
        Filter::All(parts) => joined(parts, " and ", zone),
        Filter::Any(parts) => joined(parts, " or ", zone),
        Filter::Not(part) => format!("not ({})", in_words(part, zone)),
        Filter::Leaf(leaf) => self::leaf(leaf, zone),
    }
}

fn joined(parts: &[Filter], between: &str, zone: &Zone) -> String {
    if let [only] = parts {
        return in_words(only, zone);
    }
    let part = |part: &Filter| match part {
        Filter::All(_) | Filter::Any(_) => format!("({})", in_words(part, zone)),
        Filter::Not(_) | Filter::Leaf(_) => in_words(part, zone),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(between)
}

fn leaf(leaf: &Leaf, zone: &Zone) -> String {
    let field = &leaf.field;
    match &leaf.test {
        Test::Exists => format!("{field} is there"),
        Test::Absent => format!("{field} is empty"),
        Test::Text(test) => format!("{field} {}", text_test(test)),
        Test::AllOf(test) => format!("every one of {field} {}", text_test(test)),
        Test::Number(comparison, number) | Test::Money(comparison, number) => {
            format!("{field} {} {number}", self::comparison(*comparison))
        }
        Test::Boolean(true) => format!("{field} is true"),
        Test::Boolean(false) => format!("{field} is false"),
        Test::Date(Side::Before, at) => format!("{field} is before {}", day(*at, zone)),
        Test::Date(Side::After, at) => format!("{field} is after {}", day(*at, zone)),
    }
}

/// Returns an instant as the clock of the zone shows it: a date when a day begins with it.
fn day(at: Timestamp, zone: &Zone) -> String {
    let civil = zone.civil(at);
    if zone.day_start(civil.date()) == at { civil.date().to_string() } else { civil.to_string() }
}

fn comparison(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Eq => "is",
        Comparison::Ne => "is not",
        Comparison::Lt => "is less than",
        Comparison::Le => "is at most",
        Comparison::Gt => "is more than",
        Comparison::Ge => "is at least",
    }
}

fn text_test(test: &TextTest) -> String {
    let list = |texts: &[String]| texts.iter().map(|text| format!("“{text}”")).collect::<Vec<_>>().join(", ");
    match test {
        TextTest::Eq(text) => format!("is “{text}”"),
        TextTest::Ne(text) => format!("is not “{text}”"),
        TextTest::In(texts) => format!("is one of {}", list(texts)),
        TextTest::NotIn(texts) => format!("is none of {}", list(texts)),
        TextTest::Prefix(text) => format!("begins with “{text}”"),
        TextTest::Suffix(text) => format!("ends with “{text}”"),
        TextTest::Contains(text) => format!("contains “{text}”"),
        TextTest::Glob(pattern, _) => format!("fits the pattern “{pattern}”"),
        TextTest::Matches(pattern, _) => format!("matches the expression “{pattern}”"),
    }
}

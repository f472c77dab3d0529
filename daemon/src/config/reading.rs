//! Text → the file as written, with every unknown key and every value of a wrong type, not only the first.
//!
//! serde stops at the first error. So the key that it names is noted, taken out of the parsed tree, and the tree is
//! read again. A key that was taken out hides nothing, because every key may be absent in [`super::file`].

use std::collections::BTreeSet;
use std::ops::Range;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::file::File;
use super::problem::Problems;

/// How many problems are worth saying: who has more should look at the shipped file.
const PROBLEMS_MAX: usize = 50;

/// A suggestion must be this close (Jaro-Winkler), so that it helps more often than it puzzles.
const SIMILAR_MIN: f64 = 0.75;

/// Reads the text. What is wrong goes to `problems`; `None` when nothing can be said about the rest.
///
/// Also returns the keys that are absent only because they, or a misspelling of them, were wrong.
pub(super) fn read(text: &str, problems: &mut Problems<'_>) -> Option<(File, BTreeSet<String>)> {
    let mut excused = BTreeSet::new();
    let (mut tree, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors.iter().take(PROBLEMS_MAX) {
            problems.add(error.span().unwrap_or(0..0), format!("not TOML: {}", error.message()));
        }
        return None;
    }
    while problems.len() < PROBLEMS_MAX {
        let error = match File::deserialize(toml::Deserializer::from(tree.clone())) {
            Ok(file) => return Some((file, excused)),
            Err(error) => error,
        };
        let span = error.span().unwrap_or(0..0);
        let said = Said::of(error.message());
        problems.add(span.clone(), said.message);
        let removed = remove(tree.get_mut(), &span)?;
        excused.insert(said.meant.unwrap_or(removed));
    }
    None
}

/// Takes out the entry whose key or value the span names, and returns its key.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let named = |(key, value): &(&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        key.span() == *span || is_the_value(value, span)
    };
    if let Some(key) = table.iter().find(named).map(|(key, _)| key.clone()) {
        table.remove(&key)?;
        return Some(key.into_inner().into_owned());
    }
    table.iter_mut().find_map(|(_, value)| remove_inside(value.get_mut(), span))
}

fn remove_inside(value: &mut DeValue<'_>, span: &Range<usize>) -> Option<String> {
    match value {
        DeValue::Table(table) => remove(table, span),
        DeValue::Array(array) => array.iter_mut().find_map(|item| remove_inside(item.get_mut(), span)),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            None
        }
    }
}

/// An array of plain values is taken out as a whole: its rest would be read without what was wrong in it.
fn is_the_value(value: &Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    let plain_item = |item: &Spanned<DeValue<'_>>| item.span() == *span && !item.get_ref().is_table();
    value.span() == *span || value.get_ref().as_array().is_some_and(|items| items.iter().any(plain_item))
}

/// serde's sentence, such as "unknown field `a`, expected `b` or `c`", in our words.
struct Said {
    message: String,
    /// The key that was probably meant.
    meant: Option<String>,
}

impl Said {
    fn of(message: &str) -> Self {
        // All numbers of the file are of this type.
        let words = message.replace("expected u64", "expected a whole number of 0 or more");
        let as_it_is = || Self { message: words.clone(), meant: None };
        let mut quoted = message.split('`').skip(1).step_by(2);
        let what = match message {
            _ if message.starts_with("unknown field") => "key",
            _ if message.starts_with("unknown variant") => "value",
            _ => return as_it_is(),
        };
        let Some(wrong) = quoted.next() else { return as_it_is() };
        let known: Vec<&str> = quoted.collect();
        let right = nearest(wrong, &known);
        let message = match right {
            Some(right) => format!("unknown {what} `{wrong}`; did you mean `{right}`?"),
            None => format!("unknown {what} `{wrong}`; known here: {}", known.join(", ")),
        };
        Self { message, meant: right.filter(|_| what == "key").map(str::to_owned) }
    }
}

/// Asks for the known word that was probably meant; says nothing when none is like it.
pub(crate) fn meant(wrong: &str, known: &[&str]) -> String {
    nearest(wrong, known).map_or_else(String::new, |right| format!("; did you mean `{right}`?"))
}

/// Returns the known word that was probably meant; `None` when none is like it.
fn nearest<'k>(wrong: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|right| (strsim::jaro_winkler(wrong, right), *right))
        .filter(|(similarity, _)| *similarity >= SIMILAR_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, right)| right)
}

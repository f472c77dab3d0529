//! Which kind of batch a header is of. Where it fits more than one, nobody guesses: the choice is told.

use super::kind::{MigrationKind, Need, folded};

/// How far a name may be from an attribute to be taken for it: two slips of the hand.
pub const SLIPS_MAX: usize = 2;

/// What a header says about the kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detection {
    /// The caller named it.
    Named(MigrationKind),
    /// The header fits this kind and no other.
    Certain(MigrationKind),
    /// The header fits no kind as it stands, and this one clearly best.
    Nearest(MigrationKind),
    /// The header fits all of these.
    Doubtful(Vec<MigrationKind>),
    /// The header resembles none.
    Nothing,
}

impl Detection {
    /// Returns the kind, if there is one.
    #[must_use]
    pub fn kind(&self) -> Option<MigrationKind> {
        match self {
            Self::Named(kind) | Self::Certain(kind) | Self::Nearest(kind) => Some(*kind),
            Self::Doubtful(_) | Self::Nothing => None,
        }
    }
}

/// Looks at a header.
///
/// A kind fits when it knows every column and no required one is missing. What the batch itself can give is not
/// missing, but where a kind that needs it fits beside one that has no such column, both are possible.
#[must_use]
pub fn detect(header: &[String], named: Option<MigrationKind>) -> Detection {
    if let Some(kind) = named {
        return Detection::Named(kind);
    }
    let columns: Vec<String> = header.iter().filter(|name| !name.trim().is_empty()).map(|name| folded(name)).collect();
    let spellings: Vec<&str> = header.iter().map(String::as_str).collect();
    let fitting: Vec<MigrationKind> =
        MigrationKind::ALL.into_iter().filter(|kind| misfit(*kind, &columns) == 0).collect();
    match by_spelling(&fitting, &spellings).as_slice() {
        [only] => Detection::Certain(*only),
        [] => nearest(&columns),
        several => Detection::Doubtful(several.to_vec()),
    }
}

/// Of kinds that differ in nothing but the spelling of a column (`UserName`, `Username`), those whose spelling it is.
fn by_spelling(fitting: &[MigrationKind], spellings: &[&str]) -> Vec<MigrationKind> {
    let exact: Vec<MigrationKind> = fitting
        .iter()
        .copied()
        .filter(|kind| spellings.iter().all(|name| name.is_empty() || kind.attribute(name).is_some()))
        .collect();
    if exact.is_empty() { fitting.to_vec() } else { exact }
}

/// Returns how many columns are unknown to a kind, or missing from the header.
fn misfit(kind: MigrationKind, columns: &[String]) -> usize {
    let knows = |column: &String| kind.attributes().iter().any(|attribute| folded(attribute.name) == *column);
    let unknown = columns.iter().filter(|column| !knows(column)).count();
    unknown + missing(kind, columns)
}

fn missing(kind: MigrationKind, columns: &[String]) -> usize {
    let needed = kind.attributes().iter().filter(|attribute| matches!(attribute.need, Need::Required | Need::Column));
    needed.filter(|attribute| !columns.contains(&folded(attribute.name))).count()
}

/// Ranks kinds by how far they are from a header. A column that resembles an attribute counts as a slip of the hand and
/// not as an unknown column beside a missing one.
fn nearest(columns: &[String]) -> Detection {
    let knows = |kind: &MigrationKind| {
        let known = |column: &String| kind.attributes().iter().any(|attribute| folded(attribute.name) == *column);
        columns.iter().any(known)
    };
    let mut ranked: Vec<(usize, usize, MigrationKind)> = MigrationKind::ALL
        .into_iter()
        .filter(knows)
        .map(|kind| {
            let meant = meant(kind, columns);
            (misfit(kind, &meant), misfit(kind, columns), kind)
        })
        .collect();
    ranked.sort_unstable();
    match ranked.as_slice() {
        [] => Detection::Nothing,
        [(.., only)] => Detection::Nearest(*only),
        [(meant, best, kind), (next_meant, next, _), ..] if (meant, best) < (next_meant, next) => {
            Detection::Nearest(*kind)
        }
        [(meant, best, _), ..] => {
            let equal = ranked.iter().filter(|(this_meant, this, _)| (this_meant, this) == (meant, best));
            Detection::Doubtful(equal.map(|(.., kind)| *kind).collect())
        }
    }
}

/// Returns the columns with each misspelt one as the attribute that it resembles.
fn meant(kind: MigrationKind, columns: &[String]) -> Vec<String> {
    let names: Vec<String> = kind.attributes().iter().map(|attribute| folded(attribute.name)).collect();
    let resembling = |column: &String| {
        let near = names.iter().filter_map(|name| Some((slips(name, column, SLIPS_MAX)?, name)));
        near.min().map_or_else(|| column.clone(), |(_, name)| name.clone())
    };
    columns.iter().map(resembling).collect()
}

/// Returns by how many slips of the hand two words differ, if by at most `max`.
pub(super) fn slips(known: &str, written: &str, max: usize) -> Option<usize> {
    // Comparing costs the product of the lengths, in time and in memory, and a cell may be as long as a row.
    if known.chars().count().abs_diff(written.chars().count()) > max {
        return None;
    }
    Some(strsim::damerau_levenshtein(known, written)).filter(|slips| *slips <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_fills_a_row_is_compared_with_nothing() {
        assert_eq!(slips("emailaddress", "emialadress", SLIPS_MAX), Some(2));
        assert_eq!(slips("emailaddress", "email", SLIPS_MAX), None);
        // Compared letter by letter, each of these would take some hundred megabytes.
        let long = "e".repeat(16 << 20);
        for _ in 0..10 {
            assert_eq!(slips("emailaddress", &long, SLIPS_MAX), None);
        }
    }
}

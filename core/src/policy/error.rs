//! What is wrong with a policy file, and where.

/// One problem of one file. A set with any is not loaded; the set that was active stays so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {problem}")]
pub struct PolicyError {
    /// The stem of the file with `.toml`.
    pub file: String,
    /// Counted from 1.
    pub line: u32,
    /// Counted from 1, in characters.
    pub column: u32,
    /// What is wrong.
    pub problem: PolicyProblem,
}

/// What is wrong. Names keys, fields and operators; never shows the values that a filter compares with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyProblem {
    /// Not TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// A file or a set beyond its limit.
    #[error("{what} is too large: at most {max}")]
    TooLarge {
        /// Which thing.
        what: &'static str,
        /// Its limit, with the unit.
        max: String,
    },
    /// A key that nobody reads.
    #[error("unknown key `{key}` in {table}{hint}")]
    UnknownKey {
        /// The key.
        key: String,
        /// The table.
        table: String,
        /// ": did you mean `x`?", or empty.
        hint: String,
    },
    /// A part of the policy language that this version does not have.
    #[error("`{what}` is not supported by this version{why}")]
    Unsupported {
        /// The key or value.
        what: String,
        /// ": what to do", or empty.
        why: &'static str,
    },
    /// A key that must be there.
    #[error("`{key}` is missing in {table}{why}")]
    Missing {
        /// The key.
        key: &'static str,
        /// The table.
        table: String,
        /// ": why it is needed", or empty.
        why: &'static str,
    },
    /// A value of another type.
    #[error("`{key}` must be {expected}, not {found}")]
    WrongType {
        /// The key.
        key: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A value that is not allowed.
    #[error("`{key}` {problem}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong with it, to be read after the key.
        problem: String,
    },
    /// A field that a kind in scope does not have.
    #[error("unknown field `{field}` for {kind}{hint}")]
    UnknownField {
        /// The field.
        field: String,
        /// The kind.
        kind: &'static str,
        /// ": did you mean `x`?", or empty.
        hint: String,
    },
    /// An operator that does not fit the field.
    #[error("operator `{op}` does not fit `{field}`, which is {field_type}: use {allowed}")]
    Operator {
        /// The operator.
        op: String,
        /// The field.
        field: String,
        /// Its type.
        field_type: &'static str,
        /// What fits.
        allowed: &'static str,
    },
    /// Two policies that cannot stand together.
    #[error("conflicts with policy `{other}`: {problem}")]
    Conflict {
        /// The other policy.
        other: String,
        /// Why.
        problem: &'static str,
    },
    /// An example that comes out otherwise.
    #[error("example {number} fails: expected {expected}, got {actual}")]
    Example {
        /// Which one, counted from 1.
        number: usize,
        /// What the file says.
        expected: String,
        /// What the policy does.
        actual: String,
    },
}

/// Returns ": did you mean `x`?" for the nearest known word, the first of those that are equally near, or nothing when
/// none is near.
pub(super) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    /// Below this likeness a suggestion would be a guess.
    const LIKENESS_MIN: f64 = 0.7;
    /// Longer words are not compared, in bytes: likeness costs the product of the lengths.
    const WORD_MAX: usize = 64;
    if word.len() > WORD_MAX {
        return String::new();
    }
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, candidate)| format!(": did you mean `{candidate}`?"))
        .unwrap_or_default()
}

//! How an effect ended: applied, refused or unknown. There is no fourth ending.

use std::time::Duration;

/// The ending of one effect.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Outcome<R> {
    /// It happened; the receipt proves it.
    Applied(R),
    /// It did not happen, and nothing of it remains visible.
    Refused(Refusal),
    /// Nobody knows. Only a probe leads out of this.
    Unknown(Cause),
}

/// Why an effect did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// A stable code, for events and metrics.
    pub code: &'static str,
    /// Whether another attempt can help.
    pub retry: Retry,
}

/// Why nobody knows whether an effect happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    /// A stable code, for events and metrics.
    pub code: &'static str,
}

/// Whether another attempt can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same attempt will always fail.
    Never,
    /// Not before this time has passed.
    After(Duration),
    /// Only once a probe has told what the last attempt left behind.
    AfterProbe,
    /// Only once a person has mended something.
    Operator,
}

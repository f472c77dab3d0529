//! Sources and targets.

/// Where exports go.
pub mod archive;

/// How an effect ended.
pub mod outcome;

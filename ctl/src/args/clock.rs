//! `clock`.

use clap::Subcommand;

use super::Why;

/// `clock`.
#[derive(Debug, Subcommand)]
pub(crate) enum Clock {
    /// Say that the clock is right. Nothing is purged after a jump of more than a day until somebody says so.
    ///
    /// Look at a second clock first: what is due, and so what is purged, is told by this one alone.
    ///
    /// Example: retentionctl clock confirm --reason "compared with time.example.org; the battery was replaced"
    ///
    /// Needs the role operator.
    Confirm {
        #[command(flatten)]
        why: Why,
    },
}

//! `export`.

use clap::Subcommand;

use super::{Part, Why};

/// `export`.
#[derive(Debug, Subcommand)]
pub(crate) enum Export {
    /// List the export bundles, the newest first.
    ///
    /// Example: retentionctl export list
    ///
    /// Needs the role auditor.
    List(Part),
    /// Read a bundle back from disk and compare it with its manifest and the log.
    ///
    /// Ends with 20 when anything differs. The daemon cannot open a bundle that is encrypted: of such a one it compares
    /// the files as they lie there, and says so.
    ///
    /// Example: retentionctl export verify 9f86d081884c
    ///
    /// Needs the role auditor.
    Verify {
        /// The digest of its manifest, or the first eight or more of its digits.
        manifest: String,
    },
    /// Say that somebody got a copy of a bundle: they have to be told when data in it is erased or restricted (GDPR
    /// Art. 19).
    ///
    /// Example: retentionctl export hand-over 9f86d081884c --to "tax adviser" --reason "audit of 2025"
    ///
    /// Needs the role operator.
    HandOver {
        /// The digest of its manifest, or the first eight or more of its digits.
        manifest: String,
        /// To whom.
        #[arg(long, value_name = "TEXT")]
        to: String,
        #[command(flatten)]
        why: Why,
    },
}

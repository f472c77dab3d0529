//! `export`.

use std::path::PathBuf;

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
    /// the files as they lie there, and says so. A keyholder opens it with --identity: then the bundle is named by its
    /// directory, which may be a copy, every file is decrypted in memory and compared with its manifest, and nobody else
    /// learns the key. What its manifest is, is told last: compare that with `export list` or a certificate.
    ///
    /// Example: retentionctl export verify 9f86d081884c
    ///
    /// Example: retentionctl export verify ada@example.org_20260302T0915301234 --identity key.txt
    ///
    /// Needs the role auditor; with --identity no daemon.
    Verify {
        /// The digest of its manifest, or the first eight or more of its digits; with --identity its directory.
        #[arg(value_name = "MANIFEST|DIRECTORY")]
        bundle: PathBuf,
        /// Open it with the private keys in this file, as `age-keygen` writes them.
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
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

//! `backup`.

use clap::Subcommand;

use super::{Part, Why};

/// `backup`.
#[derive(Debug, Subcommand)]
pub(crate) enum Backup {
    /// Copy the log and its keys to the places that the configuration names, while the daemon runs, and read the copies
    /// back.
    ///
    /// Copies of keys whose time is over are overwritten and removed. Start it each night.
    ///
    /// Example: retentionctl backup make
    ///
    /// Needs the role admin.
    Make,
    /// List the backups, the newest first.
    ///
    /// Example: retentionctl backup list
    ///
    /// Needs the role auditor.
    List(Part),
    /// Read a backup back and compare every file with its manifest. Ends with 20 when anything differs.
    ///
    /// Example: retentionctl backup verify 48213
    ///
    /// Needs the role admin.
    Verify {
        /// The last event of the backup, as `backup list` shows it
        last: u64,
    },
    /// Say that a restored store may go on: purges, and access that is given and taken back.
    ///
    /// A store that `retentiond restore` made only observes until then. Look first: what was purged, given and held
    /// since the backup was made?
    ///
    /// Example: retentionctl backup confirm-restore --reason "compared with the tickets since Monday"
    ///
    /// Needs the role operator.
    ConfirmRestore {
        #[command(flatten)]
        why: Why,
    },
}

//! The command line of `retentiond`. Its help text is the manual.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Where the configuration lies when nobody says otherwise.
const CONFIG_DEFAULT: &str = "/etc/retentiond/config.toml";

/// The data-retention daemon: records changes as events, applies retention policies, and proves what it did.
///
/// Talk to it with retentionctl.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "retentiond", version, propagate_version = true)]
pub struct Args {
    /// The configuration file
    #[arg(long, global = true, env = "RETENTIOND_CONFIG", default_value = CONFIG_DEFAULT, value_name = "FILE")]
    pub config: PathBuf,

    /// What to do; without it, run
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the daemon is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run until a signal says stop (the default)
    Run,
    /// Make a new, empty store, and a root key if its file is not there
    Init,
    /// Check the configuration and say every problem with its line
    Config {
        /// What to do with it
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Make the store again from a backup; what was erased stays erased
    ///
    /// The state directory must be empty. The store that is made only observes: nothing is purged, and no access is
    /// given or taken, until `retentionctl backup confirm-restore`.
    Restore(RestoreArgs),
    /// Look after the store while the daemon is stopped
    Store {
        /// What to do with it
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// Write the man pages into a directory
    #[command(hide = true)]
    Man {
        /// The directory; it must exist
        dir: PathBuf,
    },
}

/// From which backup a store is made again.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct RestoreArgs {
    /// Which backup: its last event. The newest without it
    #[arg(long, value_name = "POSITION")]
    pub backup: Option<u64>,
    /// Where the copies of the log lie, when not where the configuration says
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
    /// Where the copies of the keys lie, when not where the configuration says
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// A ledger of erasures beside that of the configuration; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "without_erasures")]
    pub erasures: Vec<PathBuf>,
    /// There is no ledger of erasures: whoever was erased after the backup comes back
    #[arg(long)]
    pub without_erasures: bool,
    /// Pass over newer backups in the same directory that cannot be read: whom they alone call erased comes back
    #[arg(long)]
    pub without_newer: bool,
    /// The state directory that was lost, when it was not moved beside its old place: whom its log calls erased stays
    /// erased, as far as it can be read; may be repeated
    #[arg(long, value_name = "DIR")]
    pub lost: Vec<PathBuf>,
    /// A signed checkpoint that somebody else holds; may be repeated
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Vec<PathBuf>,
    /// A private key of age that a backup is encrypted to, as `age-keygen` writes it; may be repeated
    #[arg(long, value_name = "FILE")]
    pub identity: Vec<PathBuf>,
}

/// What is done with a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Check the file; nothing is changed
    Check,
}

/// What is done with a store whose daemon is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum StoreCommand {
    /// Read everything durable and say what is damaged; nothing is changed
    Verify,
    /// Make everything in sled again from the journal
    Rebuild,
    /// Take what was erased off the disk: write the journal anew without it, and rotate the wrapping keys
    Compact,
}

impl Args {
    /// Returns what is to be done.
    #[must_use]
    pub fn asked(&self) -> Command {
        self.command.clone().unwrap_or(Command::Run)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn running_is_the_default_and_the_file_can_be_named_anywhere() {
        let parse = |words: &[&str]| Args::try_parse_from(words).unwrap();
        assert_eq!(parse(&["retentiond"]).asked(), Command::Run);
        assert_eq!(
            parse(&["retentiond", "store", "verify", "--config", "x.toml"]),
            parse(&["retentiond", "--config", "x.toml", "store", "verify"]),
        );
        assert!(Args::try_parse_from(["retentiond", "store"]).is_err());
    }
}

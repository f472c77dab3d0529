//! `key`.

use clap::{Args as ClapArgs, Subcommand};

use super::Why;

/// `key`.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Say when the keys of the store were changed, and how many data keys are live and destroyed. No key is shown.
    ///
    /// Example: retentionctl key status
    ///
    /// Needs the role auditor.
    Status,
    /// Ask for new keys: the daemon stops its work for it and goes on. `key status` says when it is done.
    ///
    /// --signing: checkpoints are signed with a new key. Proofs from before are checked with the key before it, and a
    /// proof of growth from one to the other with both: hand out the new one of `audit keys`.
    ///
    /// --wrapping: every data key is wrapped anew, and the old wrapping keys are overwritten: what is left somewhere of
    /// slots from before opens nothing without them. A copy of all key files from before still opens what lived
    /// then. `store compact` does the same on its way.
    ///
    /// A crash anywhere is mended by the next start. Make a backup then: the copies of before hold the keys of before.
    ///
    /// Example: retentionctl key rotate --signing --reason "yearly"
    ///
    /// Needs the role admin.
    Rotate {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        why: Why,
    },
}

/// Which keys.
#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// The key that signs checkpoints.
    #[arg(long)]
    pub(crate) signing: bool,
    /// The keys that wrap data keys.
    #[arg(long)]
    pub(crate) wrapping: bool,
}

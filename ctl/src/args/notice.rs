//! `notice`.

use clap::{Subcommand, ValueEnum};

use super::{Part, Why};

/// `notice`.
#[derive(Debug, Subcommand)]
pub(crate) enum Notice {
    /// List notices: what is owed first, then what was sent or given up, the newest first.
    ///
    /// A notice is known as long as it could be owed again, which ends 60 days after its thing was over: older ones are
    /// in the log, `audit query --kind NoticeSent`.
    ///
    /// Example: retentionctl notice list --open
    ///
    /// Needs the role auditor.
    List {
        /// Only what is owed, and what was given up and nobody has acknowledged.
        #[arg(long, conflicts_with = "state")]
        open: bool,
        /// Only in this state.
        #[arg(long, value_name = "STATE")]
        state: Option<State>,
        #[command(flatten)]
        part: Part,
    },
    /// Say that you know of notices that were given up, and see to them otherwise. `status` raises no alarm for them
    /// any more; it does for the next one that is given up.
    ///
    /// They are not tried again. All that are named must have been given up, or nothing is acknowledged; doing it twice
    /// changes nothing.
    ///
    /// Example: retentionctl notice acknowledge notice_49c106f2528d1c0ed7fd79676d2cecd3 --reason "told by telephone"
    ///
    /// Needs the role operator.
    Acknowledge {
        /// The notices, by the ids that `notice list` shows.
        #[arg(value_name = "ID", required = true)]
        notices: Vec<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Send a test through a channel of the configuration, and say whether it was taken. Ends with 10 when it was not.
    ///
    /// It says nothing of any plan, and it is not recorded.
    ///
    /// Example: retentionctl notice test dpo
    ///
    /// Needs the role operator.
    Test {
        /// The name of the channel, as `[[notify]]` has it
        channel: String,
    },
}

/// What became of a notice.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum State {
    /// Its channel is to be told.
    Owed,
    /// Its channel took it.
    Sent,
    /// It is not tried any more, and nobody has acknowledged it.
    GivenUp,
    /// It is not tried any more, and somebody has acknowledged it.
    Acknowledged,
}

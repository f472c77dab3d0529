//! `notice`.

use clap::Subcommand;

/// `notice`.
#[derive(Debug, Subcommand)]
pub(crate) enum Notice {
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

//! `review`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use retention_core::id::{EntityId, ReviewId};
use retention_core::time::Timestamp;

use super::{Part, Why};

/// `review`.
#[derive(Debug, Subcommand)]
pub(crate) enum Review {
    /// List what waits for a decision under a policy.
    ///
    /// That is what is due under a policy with `kind = "review"`, and what has no date to count from under one with
    /// `on_missing_start = "review"`. Nothing of it is purged before a person has decided so.
    ///
    /// Example: retentionctl review list personnel-files --output jsonl
    ///
    /// Needs the role auditor.
    List {
        /// The policy: the stem of its file.
        policy: String,
        #[command(flatten)]
        part: Part,
    },
    /// Show one decision: what was decided, of which items, by whom and why.
    ///
    /// Example: retentionctl review show V230
    ///
    /// Needs the role auditor.
    Show {
        /// The decision, such as V230.
        review: ReviewId,
    },
    /// Decide what becomes of items: dispose of them, or keep them until a day.
    ///
    /// What is to be disposed of is in the next plan of the policy, which another person accepts as usual. What is kept
    /// is not due under this policy until that day, also in plans that there are. A decision can be changed until
    /// the purge has begun. A decision to dispose counts for what was looked at: when the item or the policy
    /// changes, it waits again.
    ///
    /// Items are named, or taken from the rows that `review list --output jsonl` wrote; then nothing is decided if one
    /// of them is not any more what was listed. More than 10,000 rows are decided in several steps, each whole.
    ///
    /// Example: retentionctl review decide personnel-files E17 E18 --keep-until 2030-01-01 --reason "pension claim"
    ///
    /// Example: retentionctl review decide personnel-files --from waiting.jsonl --dispose --reason "seen with the
    /// archive"
    ///
    /// Needs the role approver.
    Decide {
        /// The policy: the stem of its file.
        policy: String,
        /// The items.
        #[arg(value_name = "ENTITY", required_unless_present = "from", conflicts_with = "from")]
        items: Vec<EntityId>,
        /// The rows of a list; - reads them from standard input.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        #[command(flatten)]
        verdict: Verdict,
        #[command(flatten)]
        why: Why,
    },
}

/// What is decided.
#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub(crate) struct Verdict {
    /// They go.
    #[arg(long)]
    pub(crate) dispose: bool,
    /// They are not due under the policy before this instant or day.
    #[arg(long, value_name = "DATE")]
    pub(crate) keep_until: Option<Timestamp>,
}

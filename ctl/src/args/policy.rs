//! `policy` and `explain`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use retention_core::id::EntityId;
use retention_core::time::Timestamp;

use super::Part;

/// The entity to explain.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct ExplainArgs {
    /// The entity, such as E1042.
    pub(crate) entity: EntityId,
}

/// A directory of policies.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct PolicyDir {
    /// The directory with one TOML file for each policy.
    #[arg(default_value = "policies")]
    pub(crate) dir: PathBuf,
}

/// `policy`.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// List the active policies, with what is due now, or by a day that is to come.
    ///
    /// `due` counts by date alone: what a hold, a review or another policy keeps is counted too, and a plan leaves it
    /// out.
    ///
    /// Example: retentionctl policy list --due-by 2027-01-01
    ///
    /// Needs the role auditor.
    List {
        /// Count what is due by then, as far as is known now.
        #[arg(long, value_name = "DATE")]
        due_by: Option<Timestamp>,
        #[command(flatten)]
        part: Part,
    },
    /// Show one active policy with its text.
    ///
    /// Example: retentionctl policy show crm-contacts
    ///
    /// Needs the role auditor.
    Show {
        /// The policy: the stem of its file.
        policy: String,
    },
    /// Check a directory of policies as a set, without using it.
    ///
    /// Ends with 78 when a file is invalid.
    ///
    /// Example: retentionctl policy check policies
    ///
    /// Needs no daemon.
    Check(PolicyDir),
    /// Write a commented policy to start from. It keeps everything until you have filled it in.
    ///
    /// Never writes over a file.
    ///
    /// Example: retentionctl policy new crm-leads --dir policies
    ///
    /// Needs no daemon.
    New {
        /// The name of the policy: a-z, 0-9 and -; the file gets the same name.
        name: String,
        /// The directory to write it to.
        #[arg(long, default_value = "policies")]
        dir: PathBuf,
    },
    /// Run the tests that the policies of a directory carry inside.
    ///
    /// Ends with 78 when a file is invalid or a test fails.
    ///
    /// Example: retentionctl policy test policies
    ///
    /// Needs no daemon.
    Test(PolicyDir),
    /// Show what a directory of policies would newly dispose of or keep, on the real data.
    ///
    /// What persons decided in reviews counts as it does for a plan: what is kept until a day is kept under any version
    /// of its policy; what is to be disposed of waits anew under a changed one. What waits is counted for both sets.
    /// What is due under a policy is counted whatever its state. To enforce what was simulated makes nothing newly due,
    /// but from then on what is due is disposed of: `state before` and `state after` tell it. `cools off` names the keys by
    /// which an enforced policy may come to dispose of more, or sooner: then each of its plans needs a person for seven
    /// days.
    ///
    /// Ends with 78 when a file is invalid, or when the set would not be loaded: at once when it loosens a locked policy,
    /// and behind the differences when an example fails.
    ///
    /// Example: retentionctl policy diff policies
    ///
    /// Needs the role auditor.
    Diff(PolicyDir),
    /// Count, by source and kind, what is stored and what no enforced policy is about.
    ///
    /// What is uncovered is kept until somebody decides. What never falls due is covered, but a start is missing, a
    /// suspension holds, or something cannot be read. What waits is still to be judged: ask again.
    ///
    /// Example: retentionctl policy coverage
    ///
    /// Needs the role auditor.
    Coverage(Part),
    /// Show every policy, hold and date that touches one entity, and who wins.
    ///
    /// Example: retentionctl policy explain E1042
    ///
    /// Needs the role auditor; reading is recorded.
    Explain(ExplainArgs),
}

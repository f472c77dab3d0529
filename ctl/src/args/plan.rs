//! `plan`.

use clap::Subcommand;
use retention_core::id::{Digest, PlanId};
use retention_core::time::Timestamp;

use super::{Part, Why};

/// `plan`.
#[derive(Debug, Subcommand)]
pub(crate) enum Plan {
    /// Ask for a plan of a policy.
    ///
    /// With --at it is a preview: it can be looked at, but never approved or run. With --exit-code it ends with 4 when
    /// nothing is due.
    ///
    /// Example: retentionctl plan make crm-contacts --wait
    ///
    /// Needs the role operator.
    Make {
        /// The policy: the stem of its file.
        policy: String,
        /// Judge at this instant or day: a preview.
        #[arg(long, value_name = "DATE")]
        at: Option<Timestamp>,
        /// Wait until the plan is frozen or refused, and show it.
        #[arg(long)]
        wait: bool,
    },
    /// List plans, the newest first.
    ///
    /// Example: retentionctl plan list
    ///
    /// Needs the role auditor.
    List(Part),
    /// Show one plan: totals, what is kept and why, limits it goes beyond, approvals.
    ///
    /// Example: retentionctl plan show P204
    ///
    /// Needs the role auditor.
    Show {
        /// The plan, such as P204.
        plan: PlanId,
    },
    /// List the items of a plan.
    ///
    /// Example: retentionctl plan items P204 --output csv
    ///
    /// Needs the role auditor.
    Items {
        /// The plan, such as P204.
        plan: PlanId,
        #[command(flatten)]
        part: Part,
    },
    /// Accept a plan that somebody else requested.
    ///
    /// The approval names the digest of the plan. With --digest it counts only if the plan is still the one that you
    /// looked at.
    ///
    /// Example: retentionctl plan approve P204 --comment "seen with the DPO"
    ///
    /// Needs the role approver.
    Approve {
        /// The plan, such as P204.
        plan: PlanId,
        /// The digest that you looked at.
        #[arg(long)]
        digest: Option<Digest>,
        /// A word of yours, kept with the approval.
        #[arg(long, value_name = "TEXT", default_value = "")]
        comment: String,
    },
    /// Refuse a plan; it can never run.
    ///
    /// Example: retentionctl plan reject P204 --reason "the audit of 2025 is still open"
    ///
    /// Needs the role approver.
    Reject {
        /// The plan, such as P204.
        plan: PlanId,
        #[command(flatten)]
        why: Why,
    },
}

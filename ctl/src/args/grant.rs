//! `grant`.

use clap::Subcommand;
use retention_core::id::{EntityId, GrantId};

use super::{Part, PerhapsWhy, Why};

/// `grant`.
#[derive(Debug, Subcommand)]
pub(crate) enum Grant {
    /// Ask for FullAccess to a mailbox for a time.
    ///
    /// A policy with `[access]` must name who gets it. It is given when somebody else has approved it, read back, and
    /// taken back on every folder when the time is over; what stood before is never removed.
    ///
    /// Example: retentionctl grant give E7 --to helpdesk@example.org --for PT2H --reason "restore" --ticket T-17
    ///
    /// Needs the role operator.
    Give {
        /// The mailbox, such as E7.
        mailbox: EntityId,
        /// Who gets it, as the server's permissions write it.
        #[arg(long, value_name = "IDENTIFIER")]
        to: String,
        /// How long, such as PT2H; without it as long as the policy allows.
        #[arg(long = "for", value_name = "PERIOD")]
        duration: Option<String>,
        /// The policy that allows it, where more than one does.
        #[arg(long, value_name = "NAME")]
        policy: Option<String>,
        /// The ticket that asks for it.
        #[arg(long, value_name = "ID")]
        ticket: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// List grants, the newest first.
    ///
    /// Example: retentionctl grant list
    ///
    /// Needs the role auditor.
    List(Part),
    /// Show one grant: who has it, why, until when, and what was read back.
    ///
    /// Example: retentionctl grant show G310
    ///
    /// Needs the role auditor; reading is recorded.
    Show {
        /// The grant, such as G310.
        grant: GrantId,
    },
    /// Accept a grant that somebody else asked for.
    ///
    /// Example: retentionctl grant approve G310
    ///
    /// Needs the role approver.
    Approve {
        /// The grant, such as G310.
        grant: GrantId,
        #[command(flatten)]
        why: PerhapsWhy,
    },
    /// Refuse a grant: it is never given.
    ///
    /// Example: retentionctl grant reject G310 --reason "not needed"
    ///
    /// Needs the role approver.
    Reject {
        /// The grant, such as G310.
        grant: GrantId,
        #[command(flatten)]
        why: Why,
    },
    /// Make the lease of an active grant longer, within what its policy allows.
    ///
    /// Example: retentionctl grant renew G310 --for PT1H --reason "not done yet"
    ///
    /// Needs the role operator.
    Renew {
        /// The grant, such as G310.
        grant: GrantId,
        /// How long from now on, such as PT1H.
        #[arg(long = "for", value_name = "PERIOD")]
        duration: String,
        #[command(flatten)]
        why: Why,
    },
    /// Have the permissions of all registered mailboxes read now and compared with the grants.
    ///
    /// What nobody was granted through a policy is standing access: it is shown and never touched, unless a policy says
    /// `standing`.
    ///
    /// Example: retentionctl grant reconcile
    ///
    /// Needs the role operator.
    Reconcile,
    /// End a grant now.
    ///
    /// Example: retentionctl grant revoke G310 --reason "done"
    ///
    /// Needs the role operator.
    Revoke {
        /// The grant, such as G310.
        grant: GrantId,
        #[command(flatten)]
        why: Why,
    },
}

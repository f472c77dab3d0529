//! `run`.

use clap::Subcommand;
use retention_core::id::{PlanId, RunId};

use super::{Part, PerhapsWhy, Why};

/// `run`.
#[derive(Debug, Subcommand)]
pub(crate) enum Run {
    /// Ask for the run of an approved plan.
    ///
    /// Example: retentionctl run start P204 --watch
    ///
    /// Needs the role operator.
    Start {
        /// The plan, such as P204.
        plan: PlanId,
        /// Stay and watch it.
        #[arg(long)]
        watch: bool,
    },
    /// List runs, the newest first.
    ///
    /// Example: retentionctl run list
    ///
    /// Needs the role auditor.
    List(Part),
    /// Show one run with its sagas.
    ///
    /// Example: retentionctl run show R210
    ///
    /// Needs the role auditor.
    Show {
        /// The run, such as R210.
        run: RunId,
    },
    /// Follow a run until it ends. It goes on when you leave.
    ///
    /// Ends with 10 when the run is stuck, or was stopped because too much had changed since its plan was made.
    ///
    /// Example: retentionctl run watch R210
    ///
    /// Needs the role auditor.
    Watch {
        /// The run, such as R210.
        run: RunId,
    },
    /// Say what a run destroyed and what can still be brought back: for when it should not have.
    ///
    /// Example: retentionctl run incident R210
    ///
    /// Needs the role auditor.
    Incident {
        /// The run, such as R210.
        run: RunId,
    },
    /// Stop a run before its next item.
    ///
    /// Example: retentionctl run pause R210 --reason "somebody called"
    ///
    /// Needs the role operator.
    Pause {
        /// The run, such as R210.
        run: RunId,
        #[command(flatten)]
        why: PerhapsWhy,
    },
    /// Let a paused run go on.
    ///
    /// Example: retentionctl run resume R210
    ///
    /// Needs the role operator.
    Resume {
        /// The run, such as R210.
        run: RunId,
        #[command(flatten)]
        why: PerhapsWhy,
    },
    /// End a run early and undo what can be undone.
    ///
    /// Example: retentionctl run cancel R210 --reason "wrong scope"
    ///
    /// Needs the role operator.
    Cancel {
        /// The run, such as R210.
        run: RunId,
        #[command(flatten)]
        why: Why,
    },
}

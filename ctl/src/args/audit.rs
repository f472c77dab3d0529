//! `audit`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use retention_core::control::ActorName;
use retention_core::id::{EntityId, RunId};
use retention_core::time::Timestamp;

use super::Part;

/// `audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List events, the newest first.
    ///
    /// Example: retentionctl audit query --kind PlanApproved --since 2026-01-01
    ///
    /// Needs the role auditor.
    Query(AuditArgs),
    /// List the signed checkpoints of the log, the oldest first.
    ///
    /// Each says how many events the log had and what the root of their tree was. Whoever keeps one can later show that
    /// the log was not changed since.
    ///
    /// Example: retentionctl audit checkpoints --output jsonl
    ///
    /// Needs the role auditor.
    Checkpoints(Part),
    /// List the keys with which checkpoints are, or were, signed.
    ///
    /// Example: retentionctl audit keys
    ///
    /// Needs the role auditor.
    Keys(Part),
    /// Prove that an event stands in the log.
    ///
    /// The proof is a text that is checked without the daemon and without the store. It holds the envelope of the event, and
    /// nothing of its body.
    ///
    /// Example: retentionctl audit prove 4711 --into event-4711.proof
    ///
    /// Needs the role auditor.
    Prove {
        /// The position of the event.
        position: u64,
        /// Write the proof into this file, which must not exist, instead of standard output.
        #[arg(long, value_name = "FILE")]
        into: Option<PathBuf>,
    },
    /// Check a proof against a key.
    ///
    /// Ends with 20 when it does not hold.
    ///
    /// Example: retentionctl audit verify-proof event-4711.proof --key retentiond/ab12+c2b9b2f5+AQ...
    ///
    /// Needs no daemon.
    VerifyProof {
        /// The proof.
        file: PathBuf,
        /// A verifier key, as `audit keys` lists it; may be repeated.
        #[arg(long = "key", required = true, value_name = "KEY")]
        keys: Vec<String>,
    },
}

/// Which events are wanted.
#[derive(Debug, ClapArgs)]
pub(crate) struct AuditArgs {
    /// Recorded at or after this instant or day.
    #[arg(long, value_name = "DATE")]
    pub(crate) since: Option<Timestamp>,
    /// Recorded before this instant or day.
    #[arg(long, value_name = "DATE")]
    pub(crate) until: Option<Timestamp>,
    /// Of this type, such as PlanApproved.
    #[arg(long, value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// Caused by: daemon, schedule or uid:1000.
    #[arg(long)]
    pub(crate) actor: Option<ActorName>,
    /// About this entity.
    #[arg(long)]
    pub(crate) entity: Option<EntityId>,
    /// Of this run.
    #[arg(long)]
    pub(crate) run: Option<RunId>,
    /// Under this policy.
    #[arg(long)]
    pub(crate) policy: Option<String>,
    /// As a story, instead of the newest first.
    #[arg(long)]
    pub(crate) oldest_first: bool,
    #[command(flatten)]
    pub(crate) part: Part,
}

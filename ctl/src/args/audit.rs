//! `audit`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use retention_core::control::{ActorName, MailboxName};
use retention_core::id::{EntityId, RequestId, RunId};
use retention_core::time::Timestamp;

use super::{Part, parse_verifier_key};

/// `audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List events, the newest first.
    ///
    /// With --follow it goes on, the oldest first, with what is recorded later, until Ctrl-C or the end of the daemon;
    /// then it says at which position it stopped, and --follow --after POSITION goes on there, without a gap or a
    /// double. --limit ends it after so many rows, counted from where it begins and not from the newest; --until ends
    /// it when nothing before that can follow. An event is told when it matches as it is recorded: one that turns out
    /// later to concern an entity is in the list and not told again. Nothing sealed is opened.
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
    /// Show the newest signed checkpoint and who cosigned it, or keep it in a file.
    ///
    /// Give it to somebody else now and then: with it they can show later that the log was not changed. A witness of
    /// [[audit.witness]] cosigns every ten seconds at most while the log grows, so the newest checkpoint is often not
    /// cosigned yet; --cosigned shows the one that most witnesses cosigned lately.
    ///
    /// Example: retentionctl audit checkpoint --cosigned --into /mnt/elsewhere/retentiond.checkpoint
    ///
    /// Needs the role auditor.
    Checkpoint {
        /// The checkpoint that most witnesses cosigned lately, instead of the newest.
        #[arg(long)]
        cosigned: bool,
        /// Write the checkpoint into this file, which must not exist, instead of standard output.
        #[arg(long, value_name = "FILE")]
        into: Option<PathBuf>,
    },
    /// List the keys with which checkpoints are, or were, signed.
    ///
    /// Example: retentionctl audit keys
    ///
    /// Needs the role auditor.
    Keys(Part),
    /// Prove that an event stands in the log.
    ///
    /// The proof is a text that is checked without the daemon and without the store. It holds the envelope of the
    /// event, and nothing of its body. Of an entity it proves the newest event about it: once it was purged, that its
    /// key was destroyed.
    ///
    /// Example: retentionctl audit prove 4711 --into event-4711.proof
    ///
    /// Example: retentionctl audit prove E1042 --into E1042.proof
    ///
    /// Needs the role auditor.
    Prove {
        /// The position of the event, or an entity.
        #[arg(value_name = "POSITION|ITEM", value_parser = parse_proved)]
        proved: Proved,
        /// Write the proof into this file, which must not exist, instead of standard output.
        #[arg(long, value_name = "FILE")]
        into: Option<PathBuf>,
    },
    /// Prove that the log has only grown between two of its checkpoints.
    ///
    /// Each is named by the number of events that it covers, as `audit checkpoints` lists them.
    ///
    /// Example: retentionctl audit growth 4711 90210 --into growth.proof
    ///
    /// Needs the role auditor.
    Growth {
        /// How many events the earlier checkpoint covers.
        before: u64,
        /// How many the later one covers.
        after: u64,
        /// Write the proof into this file, which must not exist, instead of standard output.
        #[arg(long, value_name = "FILE")]
        into: Option<PathBuf>,
    },
    /// Write the log into a directory that others can check with their own programs (C2SP tlog-tiles).
    ///
    /// The entries are the envelopes of the events: who, when, what kind, which entity by its number, and the digest of
    /// the body. No body is in it.
    ///
    /// Example: retentionctl audit export log-2026
    ///
    /// Needs the role auditor.
    Export {
        /// A directory that does not exist, or is empty.
        dir: PathBuf,
        /// Write the events also as something else: cloudevents, one CloudEvents 1.0 JSON object in each line of
        /// events.cloudevents.jsonl.
        #[arg(long, value_enum)]
        format: Option<Format>,
        /// End with the checkpoint that most witnesses cosigned lately, instead of the newest.
        #[arg(long)]
        cosigned: bool,
    },
    /// Check such a directory: every entry, every hash, and the signature.
    ///
    /// Ends with 20 when anything differs. With --witness it also says who cosigned the checkpoint, and ends with 20
    /// when too few did.
    ///
    /// Example: retentionctl audit verify log-2026 --key PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW --against kept-in-march.checkpoint
    ///
    /// Needs no daemon.
    Verify {
        /// The directory.
        dir: PathBuf,
        /// A verifier key, as `audit keys` lists it, or KEY@EVENT when that event replaced it; may be repeated.
        #[arg(long = "key", required = true, value_name = "KEY", value_parser = parse_verifier_key)]
        keys: Vec<String>,
        /// A signed checkpoint that somebody kept; may be repeated.
        #[arg(long, value_name = "FILE")]
        against: Vec<PathBuf>,
        #[command(flatten)]
        witnesses: Witnesses,
    },
    /// Check a proof of an event, or of growth, against a key.
    ///
    /// Ends with 20 when it does not hold. With --witness it also says who cosigned its checkpoint, of a proof of growth
    /// the later one, and ends with 20 when too few did.
    ///
    /// Example: retentionctl audit verify-proof event-4711.proof --key PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW --witness VKEY
    ///
    /// Needs no daemon.
    VerifyProof {
        /// The proof.
        file: PathBuf,
        /// A verifier key, as `audit keys` lists it, or KEY@EVENT when that event replaced it; may be repeated.
        #[arg(long = "key", required = true, value_name = "KEY", value_parser = parse_verifier_key)]
        keys: Vec<String>,
        #[command(flatten)]
        witnesses: Witnesses,
    },
}

/// Who has to have cosigned.
#[derive(Debug, ClapArgs)]
pub(crate) struct Witnesses {
    /// The verifier key of a witness that has to have cosigned, as it gives it away: name+number+base64; may be
    /// repeated.
    #[arg(long = "witness", value_name = "VKEY")]
    pub(crate) witness_keys: Vec<String>,
    /// How many of these witnesses have to have cosigned; all of them unless it is said.
    #[arg(long = "witnesses-needed", value_name = "COUNT", requires = "witness_keys")]
    pub(crate) needed: Option<NonZeroUsize>,
}

/// A form of events that programs of others read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// CloudEvents 1.0, JSON event format.
    Cloudevents,
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
    /// About this mailbox: its own events, those of what lives or lived in it, and those of grants, holds, pauses,
    /// migrations, plans and runs there. Its address, or its number, such as E7; one that was purged is known by its
    /// number alone.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) mailbox: Option<MailboxName>,
    /// About this request of a data subject: what was decided and done for it, and whatever happened to the records that
    /// are theirs.
    #[arg(long)]
    pub(crate) request: Option<RequestId>,
    /// Of this run.
    #[arg(long)]
    pub(crate) run: Option<RunId>,
    /// Under this policy.
    #[arg(long)]
    pub(crate) policy: Option<String>,
    /// As a story, instead of the newest first.
    #[arg(long)]
    pub(crate) oldest_first: bool,
    /// Go on with what is recorded later; the oldest first, and from the beginning of the log unless --after says
    /// otherwise.
    #[arg(long)]
    pub(crate) follow: bool,
    /// Write something else than rows: cloudevents, one CloudEvents 1.0 JSON object in each line.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    #[command(flatten)]
    pub(crate) part: Part,
}

/// What is to be proven.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Proved {
    /// The event at a position.
    Event(u64),
    /// The newest event about an entity.
    Entity(EntityId),
}

/// Takes a number for a position, and an entity only with its letter.
fn parse_proved(text: &str) -> Result<Proved, String> {
    if let Ok(position) = text.parse() {
        return Ok(Proved::Event(position));
    }
    let entity = text.parse().map(Proved::Entity);
    entity.map_err(|_| "write the position of an event, such as 4711, or an entity, such as E1042".to_owned())
}

//! `hold`, `pause` and `resume`: what keeps things from being purged.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use retention_core::id::{EntityId, HoldId, RequestId};
use retention_core::record::Kind;
use retention_core::time::Timestamp;

use super::{Part, Why, parse_kind};

/// `hold`.
#[derive(Debug, Subcommand)]
pub(crate) enum Hold {
    /// Place a legal hold: what it covers is not purged until it is released.
    ///
    /// A hold is a case: it may cover entities, whole mailboxes, policies, and whatever of some kinds or sources is
    /// there or arrives later; with --where or --where-file only what of that matches, or comes to match by a change.
    /// What such a filter caught once stays held until the hold is over. Until the filter has judged everything, all
    /// that it could be about is held; `hold show` says how far it is. Many holds may cover one entity.
    ///
    /// Example: retentionctl hold place "Case 17" --entity E1042 --entity E1043 --reason "court order"
    ///
    /// Example: retentionctl hold place "Case 18" --kind contact --where-file case-18.toml --reason "court order"
    ///
    /// Needs the role operator.
    Place {
        /// A short name of the case.
        name: String,
        #[command(flatten)]
        cover: Box<Cover>,
        #[command(flatten)]
        why: Why,
    },
    /// Release a hold. It still protects for 30 days, so that whoever disagrees has time.
    ///
    /// Example: retentionctl hold release H99 --reason "case closed"
    ///
    /// Needs the role operator.
    Release {
        /// The hold, such as H99.
        hold: HoldId,
        /// How long it still protects instead, such as P7D; P0D ends it at once.
        #[arg(long, value_name = "PERIOD")]
        delay: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Show one hold: what it covers, its filter as it was written, how much that caught and has still to judge.
    ///
    /// Example: retentionctl hold show H99
    ///
    /// Needs the role auditor.
    Show {
        /// The hold, such as H99.
        hold: HoldId,
    },
    /// List the holds in force, those due for review, or those that were released.
    ///
    /// Example: retentionctl hold list --due-for-review
    ///
    /// Needs the role auditor.
    List {
        /// Only those at which somebody should look again.
        #[arg(long, conflicts_with = "released")]
        due_for_review: bool,
        /// Those that were released, whether they still protect or not.
        #[arg(long)]
        released: bool,
        #[command(flatten)]
        part: Part,
    },
}

/// What a hold covers, and who looks after it.
#[derive(Debug, ClapArgs)]
pub(crate) struct Cover {
    /// An entity; may be repeated.
    #[arg(long = "entity", value_name = "ENTITY")]
    pub(crate) entities: Vec<EntityId>,
    /// The records of a data subject, as a request knows them now, and what came or changed since you identified them, or
    /// does so later, with an identifier that it names; may be repeated.
    #[arg(long = "request", value_name = "REQUEST", conflicts_with_all = ["kinds", "sources", "seen_from", "seen_until"])]
    pub(crate) requests: Vec<RequestId>,
    /// A mailbox with everything in it, also what arrives later; may be repeated.
    #[arg(long = "mailbox", value_name = "ENTITY")]
    pub(crate) mailboxes: Vec<EntityId>,
    /// A policy under which nothing is disposed of; may be repeated.
    #[arg(long = "policy", value_name = "POLICY")]
    pub(crate) policies: Vec<String>,
    /// Everything of a kind, also what arrives later; may be repeated.
    #[arg(long = "kind", value_name = "KIND", value_parser = parse_kind)]
    pub(crate) kinds: Vec<Kind>,
    /// Everything of a source, also what arrives later; may be repeated. With --kind both must fit.
    #[arg(long = "source", value_name = "SOURCE")]
    pub(crate) sources: Vec<String>,
    /// Of that only what was first seen at or after this.
    #[arg(long, value_name = "DATE")]
    pub(crate) seen_from: Option<Timestamp>,
    /// Of that only what was first seen before this.
    #[arg(long, value_name = "DATE")]
    pub(crate) seen_until: Option<Timestamp>,
    /// Of that only what matches: the value of `where` as policies have it, such as
    /// '{ field = "company_name", op = "eq", value = "Contoso" }'. It is asked again when the record changes, and for
    /// last_activity and open_deals when activities and deals do; dates without an offset are days in policies.timezone
    /// of the configuration.
    #[arg(long = "where", value_name = "FILTER", requires = "kinds", conflicts_with = "filter_file")]
    pub(crate) filter: Option<String>,
    /// The same from a file, which leaves no names in the history of the shell: `where = { … }` or `[where]`,
    /// and before it, where that is another one, `timezone = "Europe/Prague"` for its dates.
    #[arg(long = "where-file", value_name = "FILE", requires = "kinds")]
    pub(crate) filter_file: Option<PathBuf>,
    /// Who answers for the case.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) owner: String,
    /// What the case is called elsewhere.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reference: String,
    /// When somebody should look whether it is still needed.
    #[arg(long, value_name = "DATE")]
    pub(crate) review_at: Option<Timestamp>,
}

/// `pause` and `resume`.
#[derive(Debug, ClapArgs)]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    pub(crate) what: Paused,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// What is paused or resumed. Which it is, is asked for: everything is never the answer to a mistake.
#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub(crate) struct Paused {
    /// Everything.
    #[arg(long)]
    pub(crate) all: bool,
    /// What one policy disposes of.
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<String>,
    /// What lives in one mailbox.
    #[arg(long, value_name = "ENTITY")]
    pub(crate) mailbox: Option<EntityId>,
    /// The records of a data subject, as a request knows them.
    #[arg(long, value_name = "REQUEST")]
    pub(crate) request: Option<RequestId>,
}

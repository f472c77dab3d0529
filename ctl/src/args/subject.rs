//! `subject` and `restriction`: people, what they ask for, and what may not be used.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use retention_core::event::restriction::RestrictionGround;
use retention_core::event::subject::{ErasureException, ErasureGround, RequestEnd};
use retention_core::id::{EntityId, RequestId, RestrictionId};
use retention_core::time::Timestamp;

use super::{Part, Why};

/// `subject`.
#[derive(Debug, Subcommand)]
pub(crate) enum Subject {
    /// Look for a person in all sources and mailboxes, and say of every record why it is there.
    ///
    /// What is surely theirs comes first: their own records, and what is about these alone. Everything else is for a
    /// person to look at: nothing is merged by itself. Of messages in registered mailboxes the senders and recipients are
    /// looked at, as the mailboxes were last read; what was not looked into is said on standard error.
    ///
    /// Example: retentionctl subject find --email jana@example.org
    ///
    /// Needs the role auditor; reading is recorded.
    Find {
        #[command(flatten)]
        who: Who,
    },
    /// List the registered mailboxes with when each was last read whole: how far a search reaches into messages.
    ///
    /// Example: retentionctl subject reach
    ///
    /// Needs the role auditor.
    Reach {
        #[command(flatten)]
        part: Part,
    },
    /// Take in a request for a copy of everything (GDPR Art. 15).
    ///
    /// Example: retentionctl subject access --email jana@example.org --reference DSAR-17
    ///
    /// Needs the role operator.
    Access(Ask),
    /// Take in a request for a copy that programs can read (GDPR Art. 20).
    ///
    /// Example: retentionctl subject portability --email jana@example.org
    ///
    /// Needs the role operator.
    Portability(Ask),
    /// Take in a request for erasure (GDPR Art. 17).
    ///
    /// Nothing is erased by it: `subject identify` says which records are theirs, then there is a plan, which another
    /// person accepts. Messages that are theirs are exported and then removed from their mail servers; those of which
    /// nobody said so stay.
    ///
    /// Example: retentionctl subject erase --email jana@example.org --ground consent-withdrawn
    ///
    /// Needs the role operator.
    Erase {
        /// On which ground (Art. 17(1)): no-longer-needed, consent-withdrawn, objection, unlawful, legal-obligation,
        /// child.
        #[arg(long, value_name = "GROUND", value_parser = parse_ground)]
        ground: ErasureGround,
        #[command(flatten)]
        ask: Ask,
    },
    /// Take in a request that the use of records be restricted (GDPR Art. 18).
    ///
    /// Example: retentionctl subject restrict --email jana@example.org
    ///
    /// Needs the role operator.
    Restrict(Ask),
    /// Take in an objection (GDPR Art. 21).
    ///
    /// Example: retentionctl subject object --email jana@example.org
    ///
    /// Needs the role operator.
    Object(Ask),
    /// Say how it was made sure who asks, and which records are theirs: they are looked for again.
    ///
    /// Taken is what is surely theirs, with what is included and without what is excluded. A message is about others too,
    /// so none is taken without your word. Of an erasure there is then a plan, and whoever said this may not approve it. May be said again, also to get another plan.
    ///
    /// Example: retentionctl subject identify Q41 --how "identity card seen" --include E88
    ///
    /// Needs the role operator; reading is recorded.
    Identify {
        /// The request, such as Q41.
        request: RequestId,
        /// How it was made sure that the person is who they say. It is kept with the event.
        #[arg(long, value_name = "TEXT")]
        how: String,
        /// A record that is theirs although that is not sure by itself; may be repeated.
        #[arg(long = "include", value_name = "ENTITY")]
        include: Vec<EntityId>,
        /// Every message that they wrote or got, by an e-mail address that was asked for, is theirs.
        #[arg(long)]
        correspondence: bool,
        /// A record that is not theirs; may be repeated.
        #[arg(long = "exclude", value_name = "ENTITY")]
        exclude: Vec<EntityId>,
    },
    /// Show one request: where it stands, its plans, its exceptions, and who has copies.
    ///
    /// Example: retentionctl subject show Q41
    ///
    /// Needs the role auditor.
    Show {
        /// The request, such as Q41.
        request: RequestId,
    },
    /// List the records of a request, and what keeps each of them.
    ///
    /// Example: retentionctl subject records Q41 --output csv
    ///
    /// Needs the role auditor.
    Records {
        /// The request, such as Q41.
        request: RequestId,
        #[command(flatten)]
        part: Part,
    },
    /// List the requests that are open, the oldest first.
    ///
    /// Example: retentionctl subject list --overdue
    ///
    /// Needs the role auditor.
    List {
        /// Only those whose answer is late.
        #[arg(long, conflicts_with_all = ["due_for_review", "all"])]
        overdue: bool,
        /// Only those with an exception at which somebody should look again.
        #[arg(long, conflicts_with = "all")]
        due_for_review: bool,
        /// Also those that are completed.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        part: Part,
    },
    /// Say that the answer takes up to three months, and that the person was told so (GDPR Art. 12(3)).
    ///
    /// Example: retentionctl subject extend Q41 --reason "two archives have to be searched by hand; told on 3 March"
    ///
    /// Needs the role operator.
    Extend {
        /// The request, such as Q41.
        request: RequestId,
        #[command(flatten)]
        why: Why,
    },
    /// Keep records although their erasure was asked for (GDPR Art. 17(3)).
    ///
    /// Example: retentionctl subject except Q41 --record E42 --exception legal-claims --owner "legal" --review-at
    /// 2027-06-30 --reason "lawsuit"
    ///
    /// Needs the role operator.
    Except {
        /// The request, such as Q41.
        request: RequestId,
        /// A record; may be repeated.
        #[arg(long = "record", required = true, value_name = "ENTITY")]
        records: Vec<EntityId>,
        /// By which exception: expression, legal-obligation, public-health, archiving, legal-claims.
        #[arg(long, value_name = "EXCEPTION", value_parser = parse_exception)]
        exception: ErasureException,
        /// Who answers for it.
        #[arg(long, value_name = "TEXT")]
        owner: String,
        /// When somebody must look whether it still holds.
        #[arg(long, value_name = "DATE")]
        review_at: Timestamp,
        #[command(flatten)]
        why: Why,
    },
    /// End such an exception: what it kept is planned for erasure.
    ///
    /// Example: retentionctl subject end-exception Q41 97 --reason "the lawsuit is over"
    ///
    /// Needs the role operator.
    EndException {
        /// The request, such as Q41.
        request: RequestId,
        /// The exception: where it stands in the log, as `subject show` says.
        exception: u64,
        #[command(flatten)]
        why: Why,
    },
    /// Write the package with everything that is stored of a person: a ZIP file with a page to read, JSON and CSV.
    ///
    /// With recipients it is encrypted, and `age --decrypt` opens it. Messages are fetched from their mail servers and are
    /// in it byte for byte, as .eml. Those that cannot be fetched are named in it and in the request, and the exit code
    /// is 10: ask for another package later, or answer without them by `subject complete --end refused-in-part`.
    ///
    /// Example: retentionctl subject package Q41 --recipient age1… --into Q41.zip.age
    ///
    /// Needs the role operator; reading is recorded.
    Package {
        /// The request, such as Q41.
        request: RequestId,
        /// A public key of age whose owner may open it; may be repeated.
        #[arg(long = "recipient", value_name = "KEY", required_unless_present = "plain")]
        recipients: Vec<String>,
        /// Do not encrypt it.
        #[arg(long, conflicts_with = "recipients")]
        plain: bool,
        /// Write it into this file, which must not exist.
        #[arg(long, value_name = "FILE")]
        into: PathBuf,
    },
    /// Say that somebody who got a copy was told what became of the data (GDPR Art. 19).
    ///
    /// Example: retentionctl subject told Q41 88 --how "letter of 12 March"
    ///
    /// Needs the role operator.
    Told {
        /// The request, such as Q41.
        request: RequestId,
        /// The recipient: where it stands in the log that they got the copy, as `subject show` says.
        recipient: u64,
        /// How, or why that could not be done.
        #[arg(long, value_name = "TEXT")]
        how: String,
    },
    /// Say that the person has the answer, and how it ended.
    ///
    /// Copies of what was erased are destroyed with it, unless the person takes the request back. What was refused in
    /// part is planned for erasure all the same when what keeps it has gone away.
    ///
    /// Example: retentionctl subject complete Q41 --end fulfilled --reason "answered by letter on 12 March"
    ///
    /// Needs the role operator.
    Complete {
        /// The request, such as Q41.
        request: RequestId,
        /// How: fulfilled, refused-in-part, refused, withdrawn, nothing-stored.
        #[arg(long, value_name = "END", value_parser = parse_end)]
        end: RequestEnd,
        #[command(flatten)]
        why: Why,
    },
}

/// By what a person is looked for. One of these is enough.
#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = true)]
pub(crate) struct Who {
    /// An e-mail address; may be repeated.
    #[arg(long = "email", value_name = "ADDRESS")]
    pub(crate) emails: Vec<String>,
    /// A telephone number, with its country where that is known; may be repeated.
    #[arg(long = "phone", value_name = "NUMBER")]
    pub(crate) phones: Vec<String>,
    /// An id, as SOURCE:ID or alone (as :ID if it has a colon of its own); may be repeated.
    #[arg(long = "id", value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// A record that is known to be theirs; may be repeated.
    #[arg(long = "record", value_name = "ENTITY")]
    pub(crate) records: Vec<EntityId>,
}

/// What is asked for, by whom and since when.
#[derive(Debug, ClapArgs)]
pub(crate) struct Ask {
    #[command(flatten)]
    pub(crate) who: Who,
    /// When it was received, if not now: the month counts from that day.
    #[arg(long, value_name = "DATE")]
    pub(crate) received_at: Option<Timestamp>,
    /// What it is called elsewhere.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reference: String,
}

/// `restriction`.
#[derive(Debug, Subcommand)]
pub(crate) enum Restriction {
    /// Restrict the use of records: they are kept, and neither purged, exported nor shown (GDPR Art. 18).
    ///
    /// Example: retentionctl restriction place --request Q41 --ground accuracy-contested --reason "the address is
    /// contested"
    ///
    /// Needs the role operator.
    Place {
        #[command(flatten)]
        what: Restricted,
        /// On which ground (Art. 18(1)): accuracy-contested, unlawful-but-kept, needed-for-claims, objection-pending.
        #[arg(long, value_name = "GROUND", value_parser = parse_restriction_ground)]
        ground: RestrictionGround,
        #[command(flatten)]
        why: Why,
    },
    /// List the restrictions in force, by persons and under policies, or those that were lifted.
    ///
    /// Example: retentionctl restriction list
    ///
    /// Needs the role auditor.
    List {
        /// Those that were lifted.
        #[arg(long)]
        lifted: bool,
        #[command(flatten)]
        part: Part,
    },
    /// Lift a restriction, for all that it restricts or for some records. Of one that a person placed the data subject
    /// has to be told before (GDPR Art. 18(3)).
    ///
    /// What a policy restricted and a person brings back is restricted again only after it was changed.
    ///
    /// Example: retentionctl restriction lift X17 --reason "corrected, and told on 3 March"
    ///
    /// Needs the role operator.
    Lift {
        /// The restriction, such as X17.
        restriction: RestrictionId,
        /// For this record alone; may be repeated.
        #[arg(long = "record", value_name = "ENTITY")]
        records: Vec<EntityId>,
        #[command(flatten)]
        why: Why,
    },
}

/// What is restricted.
#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = true)]
pub(crate) struct Restricted {
    /// A record; may be repeated.
    #[arg(long = "record", value_name = "ENTITY")]
    pub(crate) records: Vec<EntityId>,
    /// All records of a request.
    #[arg(long, value_name = "REQUEST")]
    pub(crate) request: Option<RequestId>,
}

fn parse_ground(text: &str) -> Result<ErasureGround, String> {
    named(text, "a ground of erasure")
}

fn parse_exception(text: &str) -> Result<ErasureException, String> {
    named(text, "an exception from erasure")
}

fn parse_end(text: &str) -> Result<RequestEnd, String> {
    named(text, "an end of a request")
}

fn parse_restriction_ground(text: &str) -> Result<RestrictionGround, String> {
    named(text, "a ground of restriction")
}

/// Reads a name of the wire as people write it on a command line, with hyphens.
fn named<T: serde::de::DeserializeOwned>(text: &str, what: &str) -> Result<T, String> {
    let name = serde_json::Value::String(text.replace('-', "_"));
    serde_json::from_value(name).map_err(|_| format!("not {what}; --help lists them"))
}

//! Who wins: the one order in which everything that is said of an entity is weighed.
//!
//! **Keeping beats disposing.** Whatever stands higher decides, however many things stand below it:
//!
//! | rank | what | why it stands there |
//! |---|---|---|
//! | gone | purged or erased before | there is nothing left to decide about |
//! | held | a legal hold | an order from outside |
//! | restricted | restriction of use (GDPR Art. 18) | the data subject may need it |
//! | still needed | a month of the log, and what was begun is not over, so what was written in it is needed | who asked for it, and why, must be readable until then |
//! | in quarantine | a purge that was approved has begun | that run decides, and no other |
//! | cannot evaluate | an enforced policy that could not be read | it might have been the one that keeps |
//! | suspended | `suspend_while` of an enforced policy | the period does not run out meanwhile |
//! | unknown minimum | `min_keep` without a start | a minimum that begins nobody knows when ends nobody knows when |
//! | kept by policy | the longest `min_keep` | it binds the others too |
//! | excepted | an exception from the erasure that was asked for (GDPR Art. 17(3)) | somebody answers for it, until a day |
//! | erasure requested | the data subject asked for erasure (Art. 17(1)) | a right of the person, whatever the policies' periods |
//! | due | the earliest due date, then the first id | the strictest rule is the law that was broken first |
//! | not due | a period that runs, a start that is missing, a review that waits or keeps it | nothing has happened yet |
//! | no policy | nothing is about it | what nobody decided about stays |
//!
//! A redaction is due like a purge, and the earliest due date decides between the two. Where nothing is left to take
//! out a redaction is not due, so a purge with a longer period has its turn; its `min_keep` protects all the same.
//!
//! A restriction under a policy is due like a purge, too, but it destroys nothing: what other policies keep, it does
//! not end. And it is no reason to keep: what it hides is disposed of when another policy's time has come. Where it is
//! done already, or a person took it back, it is not due.
//!
//! Only enforced policies, and the one that is asked about, are weighed. An exception is weighed always: it keeps from
//! everybody. That a data subject asked for erasure is weighed when that is planned and carried out, and there no
//! policy makes anything due.

use std::cmp::Reverse;

use crate::reason::Reason;
use crate::time::Timestamp;

/// How strong a reason is: the first decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Purged or erased before.
    Gone,
    /// A legal hold.
    Held,
    /// Its use is restricted by a person.
    Restricted,
    /// It is a month of the log, and what was begun is not over, so what was written in it is needed.
    StillNeeded,
    /// It waits for a purge that was approved.
    InQuarantine,
    /// An enforced policy could not be read.
    CannotEvaluate,
    /// `suspend_while` holds.
    Suspended,
    /// `min_keep` without a start.
    UnknownMinimum,
    /// The longest `min_keep`.
    KeptByPolicy,
    /// An exception from an erasure.
    Excepted,
    /// The data subject asked for erasure.
    ErasureRequested,
    /// The earliest due date.
    Due,
    /// Nothing has happened yet.
    NotDue,
    /// Nothing is about it.
    NoPolicy,
}

impl Rank {
    /// All ranks, the strongest first.
    pub const ALL: [Self; 14] = [
        Self::Gone,
        Self::Held,
        Self::Restricted,
        Self::StillNeeded,
        Self::InQuarantine,
        Self::CannotEvaluate,
        Self::Suspended,
        Self::UnknownMinimum,
        Self::KeptByPolicy,
        Self::Excepted,
        Self::ErasureRequested,
        Self::Due,
        Self::NotDue,
        Self::NoPolicy,
    ];

    /// Says whether it keeps what it is said of.
    #[must_use]
    pub fn keeps(self) -> bool {
        !matches!(self, Self::ErasureRequested | Self::Due)
    }
}

/// One thing that is said of an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voice<'a> {
    /// How strong it is.
    pub rank: Rank,
    /// What it says.
    pub reason: Reason,
    /// The policy that says it, if one does.
    pub policy: Option<&'a str>,
}

/// Puts what is said into the order in which it decides; the first decides. Equal ranks: holds as they were placed, the
/// longest minimum, the earliest due date, and otherwise the first id.
#[must_use]
pub fn weigh(mut voices: Vec<Voice<'_>>) -> Vec<Voice<'_>> {
    voices.sort_by(|a, b| order(a).cmp(&order(b)));
    voices
}

fn order<'a>(voice: &Voice<'a>) -> (Rank, u64, Reverse<Timestamp>, Timestamp, &'a str) {
    let none = (0, Reverse(Timestamp::NEVER), Timestamp::NEVER);
    let (hold, until, due) = match &voice.reason {
        Reason::Held { hold } => (hold.0.0, none.1, none.2),
        Reason::KeptByPolicy { until, .. } => (0, Reverse(*until), none.2),
        Reason::PeriodOver { due_at, .. } if voice.rank == Rank::Due => (0, none.1, *due_at),
        _ => none,
    };
    (voice.rank, hold, until, due, voice.policy.unwrap_or_default())
}

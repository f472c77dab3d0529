//! Legal holds, and pauses.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use bincode::{Decode, Encode};

use crate::id::{EntityId, HoldId, Position, RequestId};
use crate::record::Kind;
use crate::time::Timestamp;

pub mod v1;
pub mod v2;

/// Schema 3. A case suspends the disposition of what it covers until it is released.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct HoldPlaced {
    /// A short name of the case.
    pub name: String,
    /// Why.
    pub reason: String,
    /// Who answers for it; may be empty.
    pub owner: String,
    /// What the case is called elsewhere, such as a file number; may be empty.
    pub reference: String,
    /// When somebody should look whether it is still needed.
    pub review_at: Option<Timestamp>,
    /// The entities that it covers.
    pub entities: Vec<EntityId>,
    /// The mailboxes of which it covers everything, also what arrives later.
    pub mailboxes: Vec<EntityId>,
    /// The policies under which nothing is disposed of.
    pub policies: Vec<String>,
    /// What else it covers, also what arrives later.
    pub standing: Option<StandingQuery>,
    /// What of the standing query it catches: the `where` of a policy, as written. Empty for all of it. It may name
    /// persons, so no view has it.
    pub filter: String,
}

/// Returns the filter that asks whose a record is and not what stands in it: it catches what bears an identifier by which
/// one of these requests names its data subject. What was theirs when the hold was placed it names, as persons had decided
/// that; so it judges what came or changed since they did, and what comes after.
#[must_use]
pub fn filter_of_requests(requests: &[RequestId]) -> String {
    let names: Vec<String> = requests.iter().map(|request| format!("\"{request}\"")).collect();
    format!("request = [{}]", names.join(", "))
}

impl std::fmt::Debug for HoldPlaced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HoldPlaced").field("entities", &self.entities).finish_non_exhaustive()
    }
}

/// Which entities a hold catches whenever they arrive: all of these must fit, and an empty list fits all.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StandingQuery {
    /// The kinds.
    pub kinds: Vec<Kind>,
    /// The sources.
    pub sources: Vec<String>,
    /// First seen at or after.
    pub seen_from: Option<Timestamp>,
    /// First seen before.
    pub seen_until: Option<Timestamp>,
}

/// How far a hold has judged with its filter. A later value is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Judged {
    /// Of the entities that were there when it was placed, each as it was then: those with a number below this.
    Found {
        /// The number.
        below: u32,
    },
    /// All of these, and every change up to this position.
    UpTo(Position),
}

/// What one hold caught since it judged last. What it catches once it keeps until it is over, whatever becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HoldJudgement {
    /// Which one.
    pub hold: HoldId,
    /// How far it has judged now.
    pub judged: Judged,
    /// What matches, ascending.
    pub caught: Vec<EntityId>,
    /// What cannot be judged because a field cannot be read, ascending. It is held like what matches.
    pub unreadable: Vec<EntityId>,
}

/// Schema 1. Holds judged with their filters. Their text is not needed to know what they caught, nor is the text of what
/// they judged.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HoldsJudged {
    /// Each hold once.
    pub holds: Vec<HoldJudgement>,
}

/// Schema 2. The case is closed; what it covers is protected until an instant.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct HoldReleased {
    /// Which one.
    pub hold: HoldId,
    /// Why.
    pub reason: String,
    /// Until when it still protects: time for whoever disagrees.
    pub until: Timestamp,
}

impl std::fmt::Debug for HoldReleased {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HoldReleased").field("hold", &self.hold).field("until", &self.until).finish_non_exhaustive()
    }
}

/// What is paused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum PauseScope {
    /// Everything.
    All,
    /// What one policy disposes of.
    Policy(String),
    /// What lives in one mailbox.
    Mailbox(EntityId),
    /// The records that are one data subject's, as their request knows them.
    Request(RequestId),
}

impl std::fmt::Display for PauseScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Policy(policy) => write!(f, "policy {policy}"),
            Self::Mailbox(mailbox) => write!(f, "mailbox {mailbox}"),
            Self::Request(request) => write!(f, "request {request}"),
        }
    }
}

/// Schema 2. Nothing more is purged of this until it is resumed.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct DisposalPaused {
    /// What.
    pub scope: PauseScope,
    /// Why.
    pub reason: String,
}

impl std::fmt::Debug for DisposalPaused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DisposalPaused").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// Schema 2. Purges of this go on.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct DisposalResumed {
    /// What.
    pub scope: PauseScope,
    /// Why.
    pub reason: String,
}

impl std::fmt::Debug for DisposalResumed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DisposalResumed").field("scope", &self.scope).finish_non_exhaustive()
    }
}

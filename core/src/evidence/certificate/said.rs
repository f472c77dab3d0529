//! What a certificate says that follows from none of its events: what stands in sealed ones, in policies and in the
//! configuration.

use serde::{Deserialize, Serialize};

use super::{Deed, RequestStatement, RunStatement, Statement};
use crate::event::subject::{ErasureException, ErasureGround, RequestEnd};
use crate::id::{Position, SagaId};
use crate::time::Timestamp;

/// What follows from no event of the certificate, as the daemon knew it when it wrote the certificate. Its signature alone
/// stands behind that: whoever has the key can write something else here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Said {
    /// Of a request.
    Request(Box<SaidOfRequest>),
    /// Of a run, or of one entity in it.
    Run(SaidOfRun),
}

impl Said {
    /// Says whether it speaks only of what the statement knows.
    pub(super) fn fits(&self, statement: &Statement) -> bool {
        match (self, statement) {
            (Self::Request(said), Statement::Request(statement)) => said.fits(statement),
            (Self::Run(said), Statement::Run(statement)) => said.fits(statement),
            (Self::Request(_), Statement::Run(_)) | (Self::Run(_), Statement::Request(_)) => false,
        }
    }

    /// Returns what is said of a request.
    #[must_use]
    pub fn request(&self) -> Option<&SaidOfRequest> {
        match self {
            Self::Request(said) => Some(said),
            Self::Run(_) => None,
        }
    }

    /// Returns what is said of a run, or of one entity in it.
    #[must_use]
    pub fn run(&self) -> Option<&SaidOfRun> {
        match self {
            Self::Run(said) => Some(said),
            Self::Request(_) => None,
        }
    }
}

/// What stands in sealed events about a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaidOfRequest {
    /// On which ground erasure was asked for.
    pub ground: Option<ErasureGround>,
    /// When the request was received.
    pub received_at: Timestamp,
    /// Until when it had to be answered.
    pub due_at: Timestamp,
    /// How the answer was called.
    pub end: Option<RequestEnd>,
    /// What the exceptions rest on.
    pub exceptions: Vec<SaidException>,
    /// Which recipient a person told.
    pub told_by_hand: Vec<SaidTold>,
    /// Until when the policies keep bundles that no run of the request wrote.
    pub copies: Vec<SaidCopies>,
    /// Until when deliveries stay from which the records may have come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deliveries: Vec<SaidDeliveries>,
}

/// Until when there are copies of what a run disposed of. Policies and the configuration say it, and no event of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaidOfRun {
    /// Until when the policy keeps each bundle that is still there.
    pub copies: Vec<SaidCopies>,
    /// Until when deliveries stay from which the items may have come.
    pub deliveries: Vec<SaidDeliveries>,
}

/// On which ground records are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaidException {
    /// The exception: one of those in the statement.
    pub exception: Position,
    /// Its ground.
    pub ground: ErasureException,
    /// How many records it names.
    pub records: u64,
    /// When somebody must look whether it still holds.
    pub review_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Which recipient heard of it from a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaidTold {
    /// The event: one of those in the statement.
    pub event: Position,
    /// The recipient: one of those in the statement, or of a copy that is none any more.
    pub recipient: Position,
}

/// How long a bundle stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaidCopies {
    /// The saga that wrote it: one of those in the statement.
    pub saga: SagaId,
    /// Until then; `None`: its policy says no end, and people look after it.
    pub kept_until: Option<Timestamp>,
}

/// How long deliveries stay that were taken in before: what was disposed of can be in any of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaidDeliveries {
    /// The source in the configuration.
    pub source: String,
    /// Until then the last of them is kept; `None`: nothing removes them by itself.
    pub kept_until: Option<Timestamp>,
}

impl SaidOfRequest {
    fn fits(&self, statement: &RequestStatement) -> bool {
        let has = |deeds: &[Deed], event: Position| deeds.iter().any(|deed| deed.event == event);
        self.exceptions.iter().all(|said| has(&statement.excepted, said.exception))
            && self.told_by_hand.iter().all(|said| has(&statement.told_by_hand, said.event))
            && self.copies.iter().all(|said| statement.copies.contains_key(&said.saga))
    }
}

impl SaidOfRun {
    /// What a request answers for goes with its answer, and what is destroyed is kept by nobody.
    fn fits(&self, statement: &RunStatement) -> bool {
        self.copies.iter().all(|said| {
            let wrote = statement.sagas.get(&said.saga).is_some_and(|disposed| disposed.bundle().is_some());
            let is_kept = statement
                .copies
                .get(&said.saga)
                .is_none_or(|copies| !copies.goes_with_the_answer && copies.destroyed_at.is_none());
            wrote && is_kept
        })
    }
}

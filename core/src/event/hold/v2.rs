//! The second schema version of a placed hold: read for ever, written no more.

use bincode::{Decode, Encode};

use super::StandingQuery;
use crate::id::EntityId;
use crate::time::Timestamp;

/// Schema 2. A case, before it could have a filter.
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
}

impl std::fmt::Debug for HoldPlaced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HoldPlaced").field("entities", &self.entities).finish_non_exhaustive()
    }
}

impl From<HoldPlaced> for super::HoldPlaced {
    fn from(body: HoldPlaced) -> Self {
        Self {
            name: body.name,
            reason: body.reason,
            owner: body.owner,
            reference: body.reference,
            review_at: body.review_at,
            entities: body.entities,
            mailboxes: body.mailboxes,
            policies: body.policies,
            standing: body.standing,
            filter: String::new(),
        }
    }
}

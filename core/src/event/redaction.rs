//! Redactions: what is left of an entity is recorded anew, under a number and a key of its own.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use bincode::{Decode, Encode};

use super::change::Link;
use crate::id::{Digest, EntityId, SagaId};
use crate::record::activity::Activity;
use crate::record::redact::FieldMap;
use crate::time::Timestamp;

pub mod v1;

/// Schema 1. What a saga takes out, as it was approved. It stands before the intent of its pivot, and holds for what is
/// left as long as that is there: what its source tells of it later is recorded without these fields.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RedactionBegan {
    /// The saga.
    pub saga: SagaId,
    /// The policy.
    pub policy: String,
    /// Its digest.
    pub policy_digest: Digest,
    /// What becomes of the fields.
    pub fields: FieldMap,
}

/// Schema 2. The envelope's entity will be what is left of another one: from its first `EntityChanged` on, which
/// follows, it has that one's ids, dates and links, so that nothing becomes due earlier or later.
///
/// Public on purpose: which number follows which stays readable when both keys are gone.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EntitySucceeded {
    /// The saga.
    pub saga: SagaId,
    /// The number of the item in the run's plan.
    pub item: u32,
    /// Which entity it follows.
    pub of: EntityId,
    /// When that one was first seen.
    pub first_seen: Timestamp,
    /// Its last activity.
    pub last_activity: Option<Timestamp>,
    /// The newest activity of each class that it had, none of them after the last one.
    pub activities: Vec<Activity>,
    /// Whether its source no longer held it.
    pub absent: bool,
    /// What it named.
    pub links: Vec<Link>,
}

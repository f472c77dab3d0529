//! Restriction of use. By a person (GDPR Art. 18): what is restricted is kept, and neither purged, exported nor shown.
//! By a policy, between use and disposal: what is restricted is not shown any more, and disposed of when its time
//! comes.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{Digest, EntityId, RequestId, RestrictionId, SagaId};

pub mod v1;

/// On which ground use is restricted (GDPR Art. 18(1)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestrictionGround {
    /// (a) The person contests that it is accurate.
    AccuracyContested,
    /// (b) It is unlawful, and the person wants it restricted rather than erased.
    UnlawfulButKept,
    /// (c) The person needs it for a legal claim.
    NeededForClaims,
    /// (d) The person objected, and it is being looked at whose reasons override.
    ObjectionPending,
}

impl RestrictionGround {
    /// Returns the name that people see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AccuracyContested => "accuracy_contested",
            Self::UnlawfulButKept => "unlawful_but_kept",
            Self::NeededForClaims => "needed_for_claims",
            Self::ObjectionPending => "objection_pending",
        }
    }
}

/// Schema 1. The use of entities is restricted. Its position names the restriction.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct RestrictionPlaced {
    /// The entities, ascending.
    pub entities: Vec<EntityId>,
    /// On which ground.
    pub ground: RestrictionGround,
    /// The request that it answers.
    pub request: Option<RequestId>,
    /// Why.
    pub reason: String,
}

impl std::fmt::Debug for RestrictionPlaced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RestrictionPlaced").field("ground", &self.ground).finish_non_exhaustive()
    }
}

/// Schema 1. The use of entities ended under a policy. Its position names the restriction.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EntitiesRestricted {
    /// The saga that restricted them.
    pub saga: SagaId,
    /// The policy.
    pub policy: String,
    /// The version of it that was approved.
    pub policy_digest: Digest,
    /// The entities, ascending.
    pub entities: Vec<EntityId>,
}

/// Schema 2. A restriction is over, or over for some entities. Of one by a person the data subject was told before
/// (Art. 18(3)).
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct RestrictionLifted {
    /// Which one.
    pub restriction: RestrictionId,
    /// For which entities alone, ascending; empty: for all of them.
    pub entities: Vec<EntityId>,
    /// Why.
    pub reason: String,
}

impl std::fmt::Debug for RestrictionLifted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RestrictionLifted").field("restriction", &self.restriction).finish_non_exhaustive()
    }
}

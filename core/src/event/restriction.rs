//! Restriction of use (GDPR Art. 18): what is restricted is kept, and neither purged, exported nor shown.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{EntityId, RequestId, RestrictionId};

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

/// Schema 1. The restriction is over, and the data subject was told before (Art. 18(3)).
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct RestrictionLifted {
    /// Which one.
    pub restriction: RestrictionId,
    /// Why.
    pub reason: String,
}

impl std::fmt::Debug for RestrictionLifted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RestrictionLifted").field("restriction", &self.restriction).finish_non_exhaustive()
    }
}

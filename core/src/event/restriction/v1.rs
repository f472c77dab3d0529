//! The first schema of the end of a restriction, which was always the end of all of it.

use bincode::{Decode, Encode};

use crate::id::RestrictionId;

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

impl From<RestrictionLifted> for super::RestrictionLifted {
    fn from(body: RestrictionLifted) -> Self {
        Self { restriction: body.restriction, entities: Vec::new(), reason: body.reason }
    }
}

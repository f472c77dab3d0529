//! The keys of the store itself: those that wrap data keys, and the one that signs checkpoints.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoreKeys {
    /// The key that signs checkpoints.
    Signing,
    /// The keys that wrap data keys.
    Wrapping,
}

impl StoreKeys {
    /// Returns the name that people and programs see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Signing => "signing",
            Self::Wrapping => "wrapping",
        }
    }
}

/// Schema 1. A person asks for new keys. It is done when a `SigningKeyAdopted` or `WrappingKeysRotated` follows; until
/// then the next start does it again.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyRotationRequested {
    /// Which.
    pub keys: StoreKeys,
    /// Why.
    pub reason: String,
}

impl std::fmt::Debug for KeyRotationRequested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRotationRequested").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// Schema 1. Every live data key was wrapped anew, and the files in which the old wrapping keys were in force were
/// overwritten.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WrappingKeysRotated {
    /// How many slots there are: live, destroyed or retired.
    pub slots: u32,
}

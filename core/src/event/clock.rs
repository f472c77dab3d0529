//! Whether the clock can be believed.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use bincode::{Decode, Encode};

use crate::id::Position;
use crate::time::Timestamp;

/// Why the clock is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum ClockDoubt {
    /// It went forward by more than a day within a moment.
    JumpedForward,
    /// It says that the daemon was away for more than a day, and nothing says that it is synchronised.
    AwayForLong,
    /// The machine says that its clock is not synchronised.
    NotSynchronised,
}

impl ClockDoubt {
    /// Returns the name that people and programs see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::JumpedForward => "jumped_forward",
            Self::AwayForLong => "away_for_long",
            Self::NotSynchronised => "not_synchronised",
        }
    }
}

/// Schema 1. From here on nothing is purged until a person confirms the clock.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ClockDoubted {
    /// Why.
    pub doubt: ClockDoubt,
    /// What was expected.
    pub expected_at: Timestamp,
    /// What the clock says.
    pub seen_at: Timestamp,
}

/// Schema 1. A person looked at the clock, and it is right.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct ClockConfirmed {
    /// The position of the `ClockDoubted` that this answers.
    pub doubted: Position,
    /// How the person knows.
    pub reason: String,
}

impl std::fmt::Debug for ClockConfirmed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClockConfirmed").field("doubted", &self.doubted).finish_non_exhaustive()
    }
}

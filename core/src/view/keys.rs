//! The keys of the store itself: when they were last changed, and what is asked for.

use bincode::{Decode, Encode};

use crate::event::key::StoreKeys;
use crate::id::Position;
use crate::time::Timestamp;

/// What is known of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Keys {
    signing_asked: Option<Position>,
    wrapping_asked: Option<Position>,
    /// When the wrapping keys were made or last rotated.
    pub wrapped_at: Option<Timestamp>,
}

impl Keys {
    /// Returns the request for new keys that is not done yet.
    #[must_use]
    pub fn asked(&self, keys: StoreKeys) -> Option<Position> {
        match keys {
            StoreKeys::Signing => self.signing_asked,
            StoreKeys::Wrapping => self.wrapping_asked,
        }
    }

    pub(super) fn ask(&mut self, position: Position, keys: StoreKeys) {
        match keys {
            StoreKeys::Signing => self.signing_asked = Some(position),
            StoreKeys::Wrapping => self.wrapping_asked = Some(position),
        }
    }

    pub(super) fn adopted(&mut self) {
        self.signing_asked = None;
    }

    pub(super) fn wrapped(&mut self, at: Timestamp) {
        (self.wrapping_asked, self.wrapped_at) = (None, Some(at));
    }
}

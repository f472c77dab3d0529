//! Whether the clock is believed.

use bincode::{Decode, Encode};

use crate::event::clock::{ClockConfirmed, ClockDoubted};
use crate::id::Position;

/// Whether the clock is believed. While it is not, nothing is purged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct ClockTrust {
    doubt: Option<(Position, ClockDoubted)>,
}

impl ClockTrust {
    /// Returns the doubt that nobody has answered, with its place in the log.
    #[must_use]
    pub fn doubt(&self) -> Option<&(Position, ClockDoubted)> {
        self.doubt.as_ref()
    }

    pub(super) fn doubted(&mut self, position: Position, body: &ClockDoubted) {
        self.doubt = Some((position, body.clone()));
    }

    /// Only the newest doubt can be answered: whoever confirmed an older one had not seen it.
    pub(super) fn confirmed(&mut self, body: &ClockConfirmed) {
        if self.doubt.as_ref().is_some_and(|(position, _)| *position == body.doubted) {
            self.doubt = None;
        }
    }
}

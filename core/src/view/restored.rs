//! Whether the store was restored from a backup, and nobody has looked at it yet.

use bincode::{Decode, Encode};

use crate::event::backup::{RestoreConfirmed, StoreRestored};
use crate::id::Position;

/// Whether this store only observes: it was restored, and nothing is purged, given or taken until a person confirms it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Restored {
    waits: Option<(Position, StoreRestored)>,
}

impl Restored {
    /// Returns the restore that nobody has confirmed, with its place in the log.
    #[must_use]
    pub fn waits(&self) -> Option<&(Position, StoreRestored)> {
        self.waits.as_ref()
    }

    pub(super) fn restored(&mut self, position: Position, body: &StoreRestored) {
        self.waits = Some((position, body.clone()));
    }

    /// Only the newest restore can be confirmed: whoever confirmed an older one had not seen it.
    pub(super) fn confirmed(&mut self, body: &RestoreConfirmed) {
        if self.waits.as_ref().is_some_and(|(position, _)| *position == body.restored) {
            self.waits = None;
        }
    }
}

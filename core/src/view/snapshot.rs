//! What of the views is written out whole: a snapshot, with the position it holds.

use bincode::{Decode, Encode};
use roaring::RoaringBitmap;

use super::{Small, Views};
use crate::event::codec::{self, CodecError};
use crate::event::decision::PolicyVersion;
use crate::id::{EntityId, Handle, Position};
use crate::time::Timestamp;

/// The version of everything that is written out. Another version is made again from the journal.
pub const FORMAT: u32 = 1;

/// Up to where everything that is written out is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Note {
    /// [`FORMAT`].
    pub format: u32,
    /// The store it belongs to.
    pub store: [u8; 16],
    /// The view position.
    pub position: Position,
    /// When the event there was recorded.
    pub recorded_at: Timestamp,
    /// Under which number the snapshot is stored.
    pub epoch: u64,
    /// In how many pieces.
    pub pieces: u32,
}

/// The small views and what else has no blocks of its own.
#[derive(Encode, Decode)]
pub struct Snapshot {
    small: Small,
    others: Vec<([u8; 16], EntityId)>,
    unjudged: Vec<u8>,
    columns: Vec<PolicyVersion>,
    pending: Vec<PolicyVersion>,
}

impl Snapshot {
    /// Copies it out of the views.
    #[must_use]
    pub fn of(views: &Views) -> Self {
        let mut unjudged = Vec::new();
        // Writing to memory cannot fail.
        drop(views.due.unjudged().serialize_into(&mut unjudged));
        Self {
            small: views.small.clone(),
            others: views.entities.other_handles().map(|(handle, entity)| (handle.0, entity)).collect(),
            unjudged,
            columns: views
                .due
                .policies()
                .map(|(id, column)| PolicyVersion { id: id.to_owned(), digest: column.digest() })
                .collect(),
            pending: views.due.unjudged_policies(),
        }
    }

    /// Returns its bytes.
    ///
    /// # Errors
    /// When it is beyond a gigabyte.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode_snapshot(self)
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are not one.
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_snapshot(bytes)
    }

    /// Puts it into empty views.
    ///
    /// # Errors
    /// When a set in it is damaged.
    pub fn restore(self, views: &mut Views) -> Result<(), CodecError> {
        views.small = self.small;
        for (handle, entity) in self.others {
            views.entities.load_other_handle(Handle(handle), entity);
        }
        let unjudged = RoaringBitmap::deserialize_from(self.unjudged.as_slice()).map_err(|_| CodecError::Malformed)?;
        views.due.load_pending(unjudged, &self.columns, &self.pending);
        Ok(())
    }
}

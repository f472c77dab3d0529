//! What of the views is written out whole: a snapshot, with the position it holds.

use bincode::{Decode, Encode};
use roaring::RoaringBitmap;

use super::{Small, Views};
use crate::event::codec::{self, CodecError};
use crate::event::decision::PolicyVersion;
use crate::id::{EntityId, Handle, Position};
use crate::time::Timestamp;

/// The version of everything that is written out. Another version is made again from the journal.
pub const FORMAT: u32 = 24;

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
        let mut set = self.unjudged.as_slice();
        let unjudged = RoaringBitmap::deserialize_from(&mut set).map_err(|_| CodecError::Malformed)?;
        if !set.is_empty() {
            return Err(CodecError::Trailing);
        }
        views.due.load_pending(unjudged, &self.columns, &self.pending);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::decision::{PlanPurpose, PlanRequested, PolicySetActivated, RunRequested};
    use crate::event::{Actor, Envelope, Event, Readable, Recorded, stream_of_daemon};
    use crate::id::{Digest, PlanId};

    /// Views with a policy, a plan and a run.
    fn views() -> Views {
        let digest = Digest([3; 32]);
        let policy = PolicyVersion { id: "contacts".to_owned(), digest };
        let plan = PlanId(Position(2));
        let events = [
            Event::PolicySetActivated(PolicySetActivated { digest, policies: vec![policy] }),
            Event::PlanRequested(PlanRequested {
                policy: "contacts".to_owned(),
                purpose: PlanPurpose::Run,
                as_of: None,
            }),
            Event::RunRequested(RunRequested { plan, digest }),
        ];
        let mut views = Views::default();
        for (position, event) in (1u64..).zip(events) {
            let envelope = Envelope {
                event_type: event.event_type() as u16,
                schema: 1,
                sealed: false,
                position: Position(position),
                recorded_at: Timestamp(1),
                occurred_at: Timestamp(1),
                stream: stream_of_daemon(),
                actor: Actor::Person(7),
                cause: Position::NONE,
                entity: None,
                texts: None,
                body_len: 0,
                body_digest: digest,
            };
            views.fold(&Recorded { envelope, event: Readable::Event(Box::new(event)) }, None);
        }
        views.due.mark(EntityId(5));
        views
    }

    fn restored(bytes: &[u8]) -> Result<Views, CodecError> {
        let mut views = Views::default();
        Snapshot::parse(bytes)?.restore(&mut views)?;
        Ok(views)
    }

    #[test]
    fn a_snapshot_restores_what_was_copied() {
        let views = views();
        let bytes = Snapshot::of(&views).to_bytes().unwrap();
        let again = restored(&bytes).unwrap();
        assert_eq!(again.small, views.small);
        assert_eq!(again.due.unjudged(), views.due.unjudged());
        assert_eq!(again.due.unjudged_policies(), views.due.unjudged_policies());
        assert_eq!(Snapshot::of(&again).to_bytes().unwrap(), bytes);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_snapshot_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = restored(&bytes);
        }

        #[test]
        fn a_changed_cut_or_longer_snapshot_never_panics(at in any::<prop::sample::Index>(), byte: u8) {
            let mut bytes = Snapshot::of(&views()).to_bytes().unwrap();
            let at = at.index(bytes.len());
            prop_assert!(restored(&bytes[..at]).is_err());
            prop_assert!(restored(&[bytes.as_slice(), &[byte]].concat()).is_err());
            bytes[at] = byte;
            let _ = restored(&bytes);
        }
    }
}

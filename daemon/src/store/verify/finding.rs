//! What a verification can find: a stable code, what is affected, what to do.

use retention_core::id::{EntityId, Position};

/// Something is not as it must be. Messages hold numbers only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Finding {
    /// A segment file is not there.
    #[error("journal segment {segment} is missing")]
    SegmentMissing {
        /// Which.
        segment: u32,
    },
    /// A frame, a body's hash or a header is wrong; the rest of the segment cannot be read.
    #[error("{what}")]
    JournalDamaged {
        /// Which.
        segment: u32,
        /// Where and how.
        what: String,
    },
    /// Positions do not follow one another.
    #[error("journal segment {segment} goes on at position {found} where {expected} belongs")]
    PositionsBroken {
        /// In which segment.
        segment: u32,
        /// What follows the event before.
        expected: Position,
        /// What is there.
        found: Position,
    },
    /// Recorded-at decreases.
    #[error("event {0} was recorded before the event in front of it")]
    TimeGoesBack(Position),
    /// The journal ends before what was acknowledged.
    #[error("the journal ends at position {journal}, but events up to {known} were acknowledged")]
    JournalShorter {
        /// The last event of the journal.
        journal: Position,
        /// The last event that something else knows of.
        known: Position,
    },
    /// A sealed body of a live key does not open, or a body is not what its type says.
    #[error("the body of event {0} cannot be read though its key is live")]
    BodyUnreadable(Position),
    /// The event store is damaged or cannot be believed.
    #[error("the event store cannot be read: {0}")]
    EventStoreDamaged(String),
    /// The row of an event is not what the journal says.
    #[error("the row of event {0} in the event store differs from the journal")]
    RowDiffers(Position),
    /// An entity's row in the view is not what the log says.
    #[error("the view of entities is wrong about {0}")]
    EntityDiffers(EntityId),
    /// An entity's day in the due index is not what the log and the policies say.
    #[error("the due index is wrong about {0}")]
    DueDiffers(EntityId),
    /// Another view is not what the log says.
    #[error("the view `{0}` differs from what the log says")]
    ViewDiffers(&'static str),
    /// A slot holds neither a key nor a tombstone.
    #[error("the key slot of {0} is damaged: what is sealed with it cannot be opened")]
    SlotDamaged(EntityId),
    /// The log says that a key is destroyed, and it is not.
    #[error("the key of {0} is recorded as destroyed, but its slot holds no tombstone")]
    KeyNotDestroyed(EntityId),
    /// One of the two copies of the wrapping keys cannot be read: what is sealed hangs on the other alone.
    #[error("{0}, one of the two copies of the wrapping keys, is missing or damaged")]
    WrappingCopyDamaged(&'static str),
    /// A hash of the tree is not that of its event.
    #[error("the hashes of the tree differ from the journal, from event {0} on")]
    HashDiffers(Position),
    /// Hashes that a checkpoint covers are not there.
    #[error("the hashes of the tree do not reach the checkpoint that was signed over {0} events")]
    HashesMissing(u64),
    /// The log adopted a key that signs checkpoints, and their file is not there.
    #[error("the checkpoints of the tree are missing though the log adopted a key that signs them")]
    CheckpointsMissing,
    /// The log adopted a key that signs checkpoints long before its newest event, and none was ever signed, or all are
    /// taken away.
    #[error("there is no checkpoint, though the log adopted a key that signs them with event {0}, long before it ends")]
    CheckpointsGone(Position),
    /// The checkpoints that a backup has are not among those of the store.
    #[error(
        "the checkpoints of the tree do not begin with those that the backup up to event {0} has, as the log says: some were lost or changed since"
    )]
    CheckpointsLost(Position),
    /// The log adopted a key that signs checkpoints, and its file is not there.
    #[error("tree/signing.key, which signs checkpoints, is missing")]
    SigningKeyMissing,
    /// The file of the key that signs checkpoints holds none, or cannot be used.
    #[error("tree/signing.key, which signs checkpoints, cannot be used: {0}")]
    SigningKeyDamaged(String),
    /// A signed checkpoint is not that of this log.
    #[error("the journal contradicts the checkpoint that was signed over its first {0} events")]
    CheckpointContradicts(u64),
    /// A checkpoint is not signed by a key that the log adopted.
    #[error("the checkpoint over {0} events is not signed by a key of this log")]
    CheckpointNotSigned(u64),
    /// A checkpoint is signed by a key that the log had replaced before the last event that it covers.
    #[error("the checkpoint over {0} events is signed by a key that the log had replaced by then")]
    CheckpointByOlderKey(u64),
    /// What lies among the checkpoints is none.
    #[error("the checkpoints of the tree are damaged at byte {0}")]
    CheckpointsDamaged(u64),
    /// What lies among the cosignatures is none.
    #[error("the cosignatures of witnesses are damaged at byte {0}")]
    CosignaturesDamaged(u64),
    /// What a witness signed does not hold for the checkpoint of this log.
    #[error("a cosignature of a witness does not hold for the checkpoint over {0} events")]
    CosignatureWrong(u64),
    /// A witness signed a checkpoint that is not among those of this log.
    #[error("a witness cosigned a checkpoint over {0} events, and there is none among those of this log")]
    CosignatureWithoutCheckpoint(u64),
    /// A key is destroyed, and neither an event nor an open intent says so; the entity counts as live.
    #[error("the key of {0} is destroyed, but no event and no open intent says so")]
    KeyDestroyedWithoutEvent(EntityId),
}

impl Finding {
    /// Returns the stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::SegmentMissing { .. } => "segment_missing",
            Self::JournalDamaged { .. } => "journal_damaged",
            Self::PositionsBroken { .. } => "positions_broken",
            Self::TimeGoesBack(_) => "time_goes_back",
            Self::JournalShorter { .. } => "journal_shorter",
            Self::BodyUnreadable(_) => "body_unreadable",
            Self::EventStoreDamaged(_) => "event_store_damaged",
            Self::RowDiffers(_) => "row_differs",
            Self::EntityDiffers(_) => "entity_differs",
            Self::DueDiffers(_) => "due_differs",
            Self::ViewDiffers(_) => "view_differs",
            Self::SlotDamaged(_) => "slot_damaged",
            Self::KeyNotDestroyed(_) => "key_not_destroyed",
            Self::KeyDestroyedWithoutEvent(_) => "key_destroyed_without_event",
            Self::WrappingCopyDamaged(_) => "wrapping_copy_damaged",
            Self::HashDiffers(_) => "tree_hash_differs",
            Self::HashesMissing(_) => "tree_hashes_missing",
            Self::CheckpointsMissing => "checkpoints_missing",
            Self::CheckpointsGone(_) => "checkpoints_gone",
            Self::CheckpointsLost(_) => "checkpoints_lost",
            Self::SigningKeyMissing => "signing_key_missing",
            Self::SigningKeyDamaged(_) => "signing_key_damaged",
            Self::CheckpointContradicts(_) => "checkpoint_contradicts",
            Self::CheckpointNotSigned(_) => "checkpoint_not_signed",
            Self::CheckpointByOlderKey(_) => "checkpoint_by_older_key",
            Self::CheckpointsDamaged(_) => "checkpoints_damaged",
            Self::CosignaturesDamaged(_) => "cosignatures_damaged",
            Self::CosignatureWrong(_) => "cosignature_wrong",
            Self::CosignatureWithoutCheckpoint(_) => "cosignature_without_checkpoint",
        }
    }

    /// Returns the part of the store that is not as it must be.
    #[must_use]
    pub fn part(&self) -> &'static str {
        match self {
            Self::SegmentMissing { .. }
            | Self::JournalDamaged { .. }
            | Self::PositionsBroken { .. }
            | Self::TimeGoesBack(_)
            | Self::JournalShorter { .. } => "journal",
            Self::BodyUnreadable(_) => "bodies",
            Self::EventStoreDamaged(_) | Self::RowDiffers(_) => "event store",
            Self::EntityDiffers(_) | Self::ViewDiffers(_) => "views",
            Self::DueDiffers(_) => "due index",
            Self::SlotDamaged(_)
            | Self::KeyNotDestroyed(_)
            | Self::WrappingCopyDamaged(_)
            | Self::KeyDestroyedWithoutEvent(_) => "keys",
            Self::HashDiffers(_)
            | Self::HashesMissing(_)
            | Self::CheckpointsMissing
            | Self::CheckpointsGone(_)
            | Self::CheckpointsLost(_)
            | Self::SigningKeyMissing
            | Self::SigningKeyDamaged(_)
            | Self::CheckpointContradicts(_)
            | Self::CheckpointNotSigned(_)
            | Self::CheckpointByOlderKey(_)
            | Self::CheckpointsDamaged(_)
            | Self::CosignaturesDamaged(_)
            | Self::CosignatureWrong(_)
            | Self::CosignatureWithoutCheckpoint(_) => "tree",
        }
    }

    /// Whether it says that the journal is not what it was.
    pub(super) fn blames_the_journal(&self) -> bool {
        self.part() == "journal" || matches!(self, Self::CheckpointContradicts(_))
    }

    /// Whether a journal that is not what it was leads to it.
    pub(super) fn may_follow_from_the_journal(&self) -> bool {
        matches!(
            self,
            Self::BodyUnreadable(_)
                | Self::EventStoreDamaged(_)
                | Self::RowDiffers(_)
                | Self::EntityDiffers(_)
                | Self::ViewDiffers(_)
                | Self::DueDiffers(_)
                | Self::HashDiffers(_)
                | Self::HashesMissing(_)
                | Self::CheckpointNotSigned(_)
        )
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn what_to_do(&self) -> &'static str {
        match self {
            Self::SegmentMissing { .. }
            | Self::JournalDamaged { .. }
            | Self::PositionsBroken { .. }
            | Self::TimeGoesBack(_)
            | Self::JournalShorter { .. } => {
                "stop the daemon, move the state directory away as it is, and run `retentiond restore` (docs/backup.md); keys/ copied back by hand would bring back who was erased since"
            }
            Self::BodyUnreadable(_) | Self::SlotDamaged(_) => {
                "stop the daemon, move keys/ away without deleting it, and put its copy from the newest backup of this journal in its place; then start it and run `retentionctl key rotate --wrapping`, which destroys again what was destroyed since. If it does not start because records came after that backup, only `retentiond restore` is left"
            }
            Self::EventStoreDamaged(_)
            | Self::RowDiffers(_)
            | Self::EntityDiffers(_)
            | Self::DueDiffers(_)
            | Self::ViewDiffers(_) => "stop the daemon and run `retentiond store rebuild`; the journal is not affected",
            Self::KeyNotDestroyed(_) => {
                "the keys were copied back from an older backup: treat what they open as personal data, and destroy them again with `retentionctl key rotate --wrapping`"
            }
            Self::WrappingCopyDamaged(_) => {
                "the next start makes it again from the other copy. If both are named, there is none: stop the daemon, move the state directory away as it is, and run `retentiond restore` (docs/backup.md); copies put in place by hand would bring back who was erased since"
            }
            Self::HashDiffers(_) => {
                "stop the daemon, remove tree/hashes and start it again: they are made anew from the journal, which is not affected"
            }
            Self::HashesMissing(_) => {
                "restart the daemon: they are made anew from the journal, which is not affected, and compared with the newest checkpoint"
            }
            Self::CheckpointsMissing => {
                "nobody can tell whether events were lost since they were signed: stop the daemon, restore tree/checkpoints from a backup, and compare with checkpoints that others hold; if there is none anywhere, put an empty file in its place"
            }
            Self::CheckpointsGone(_) => {
                "nobody can tell whether events were lost since they were signed: stop the daemon, restore tree/checkpoints from a backup, and compare with checkpoints that others hold; if there is none anywhere, the next start signs the log as it is"
            }
            Self::CheckpointsLost(_) => {
                "nobody can tell from those that are left whether events were lost meanwhile: copy the state directory away as it is, compare with the tree/checkpoints of that backup and with checkpoints that others hold, then stop the daemon and restore tree/checkpoints from the newest backup; the journal is not affected"
            }
            Self::SigningKeyMissing => {
                "the log, and what was signed, is not affected. Find out who could take it: whoever has it can sign. Put it back from the newest copy of the keys with mode 0600; without it the next start makes a new one, which the log adopts, and `retentionctl audit keys` lists it for those who check"
            }
            Self::SigningKeyDamaged(_) => {
                "the log, and what was signed, is not affected, but no checkpoint is signed from the next start on. Stop the daemon and put the key back from the newest copy of the keys with mode 0600, or move it away: then the next start makes a new one, which the log adopts, and `retentionctl audit keys` lists it for those who check"
            }
            Self::CheckpointContradicts(_) => {
                "an event was changed, lost or put in since it was signed: copy the state directory away as it is, and compare it with a backup and with checkpoints that others hold"
            }
            Self::CheckpointNotSigned(_) | Self::CheckpointsDamaged(_) => {
                "compare with checkpoints that others hold, and restore tree/checkpoints from a backup; the journal is not affected"
            }
            Self::CheckpointByOlderKey(_) => {
                "whoever kept the older key signed it: find out who could, compare with checkpoints that others hold, and restore tree/checkpoints from a backup; the journal is not affected"
            }
            Self::CosignaturesDamaged(_) | Self::CosignatureWrong(_) => {
                "restore tree/cosignatures from a backup; the journal and the checkpoints are not affected. If every cosignature is wrong, the checkpoints were replaced: compare them with those that others hold"
            }
            Self::CosignatureWithoutCheckpoint(_) => {
                "a checkpoint was taken away since a witness signed it: copy the state directory away as it is, and compare it with a backup, with the witness, and with checkpoints that others hold"
            }
            Self::KeyDestroyedWithoutEvent(_) => {
                "the journal is older than the keys: restore the newer journal; what the key sealed is gone"
            }
        }
    }
}

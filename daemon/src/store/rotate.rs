//! New wrapping keys, because a person asked for them: the rotation of a compaction, without the compaction.
//!
//! **Order, for a store that nobody has open:** the keys are rotated → the store is opened → the event says so. A crash
//! before the event leaves the request open, and the next start rotates once more, which changes nothing but the keys.

use retention_core::event::Event;
use retention_core::event::key::{StoreKeys, WrappingKeysRotated};
use retention_core::id::Position;
use retention_core::view::Condition;
use roaring::RoaringBitmap;

use super::journal::recover;
use super::open::{Lock, daemon_draft};
use super::vault::rotate;
use super::{OpenError, Options, Progress, Store, compact};

impl Store {
    /// Rotates the wrapping keys of a store that nobody has open, and opens it. Progress is in events and slots, as it
    /// comes to them.
    ///
    /// # Errors
    /// When the journal or a slot is damaged, or a file cannot be written: the old keys are in place then.
    pub fn rotate_wrapping_keys(options: &Options, progress: Progress<'_>) -> Result<Self, OpenError> {
        let lock = Lock::of_existing(&options.dir)?;
        let journal = options.dir.join("journal");
        let tail = recover::find_tail(&journal)?;
        let (named, used) = compact::named(options, &journal, tail.last, progress)?;
        let destroyed: RoaringBitmap = named.iter().map(|entity| entity.0).collect();
        rotate::rotate(options, used, &destroyed, progress)?;
        let store = Self::open_locked(options, lock, None, progress)?;
        let asked = store.view(|views| views.small.keys.asked(StoreKeys::Wrapping)).unwrap_or(Position::NONE);
        let mut draft = daemon_draft(Event::WrappingKeysRotated(WrappingKeysRotated { slots: used }));
        draft.cause = asked;
        store.append_drafts(vec![draft], Condition::None)?;
        Ok(store)
    }

    /// Counts what the slots of data keys hold.
    ///
    /// # Errors
    /// When a file of slots cannot be read.
    pub fn count_keys(&self) -> Result<super::vault::SlotCounts, super::vault::VaultError> {
        self.inner.vault.count(self.halt())
    }
}

#[cfg(test)]
mod tests;

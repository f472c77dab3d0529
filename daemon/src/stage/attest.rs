//! Attest: the tree over the log grows with it, and its root is signed.
//!
//! It reads what is durable and appends nothing to the log but the key with which it signs, once. So a crash anywhere
//! costs no more than making some hashes again.

use std::sync::Arc;

use parking_lot::Mutex;
use retention_core::event::Event;
use retention_core::event::operation::SigningKeyAdopted;
use retention_core::evidence::checkpoint::{CheckpointError, origin_of, verifier_of};
use retention_core::id::Position;
use retention_core::time::Timestamp;
use retention_core::view::Condition;
use zeroize::Zeroizing;

use super::{StageError, Step, is_over};
use crate::clock::Clock;
use crate::store::open::daemon_draft;
use crate::store::tree::{Tree, TreeFileError};
use crate::store::{ReadOnly, Store};

/// How many events are hashed in one step.
const EVENTS_PER_STEP: u64 = 10_000;

/// How often a checkpoint is signed while the log grows, in microseconds: each second.
const CHECKPOINT_EVERY_US: i64 = 1_000_000;

/// Why nothing is attested any more; empty while all is well.
pub type TreeHealth = Arc<Mutex<Option<String>>>;

/// The stage.
pub struct Attest {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    tree: Arc<Tree>,
    signer: Zeroizing<String>,
    verifier: String,
    origin: String,
    not_before: Timestamp,
    health: TreeHealth,
}

impl Attest {
    /// Keeps a tree over a log, and signs with a key (C2SP signed-note).
    ///
    /// # Errors
    /// When the key is none.
    pub fn new(
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        tree: Arc<Tree>,
        signer: Zeroizing<String>,
    ) -> Result<Self, CheckpointError> {
        let verifier = verifier_of(&signer)?;
        let origin = origin_of(&verifier)?;
        let health = TreeHealth::default();
        Ok(Self { store, clock, tree, signer, verifier, origin, not_before: Timestamp(i64::MIN), health })
    }

    /// Returns where it says that it cannot go on.
    #[must_use]
    pub fn health(&self) -> TreeHealth {
        Arc::clone(&self.health)
    }

    /// Compares the newest checkpoint with the log when the hashes that were compared with it are lost, before anything
    /// else happens. A log that contradicts what was signed makes the store read-only. `alive` is called now and
    /// then.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn compare(&mut self, alive: &mut dyn FnMut()) -> Result<(), StageError> {
        while let Some(size) = self.tree.owed() {
            alive();
            let known = self.store.view(|views| views.position.0);
            if known < size {
                self.store.contradicted(ReadOnly {
                    code: "journal_shorter_than_checkpoint",
                    says: format!(
                        "the journal ends at event {known}, but a checkpoint was signed over {size}: events are lost. Nothing was changed; copy the state directory away as it is, and compare it with a backup"
                    ),
                });
                return Ok(());
            }
            match self.grow()? {
                Ok(_) => {}
                Err(error @ TreeFileError::Contradicts { .. }) => {
                    let says = error.to_string();
                    self.store.contradicted(ReadOnly { code: "log_contradicts_checkpoint", says });
                    return Ok(());
                }
                Err(error) => {
                    *self.health.lock() = Some(error.to_string());
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Hashes what is new, or signs a checkpoint.
    ///
    /// # Errors
    /// When the log or the store fail. What is wrong with the tree itself is told by [`Self::health`].
    pub fn step(&mut self) -> Result<Step, StageError> {
        if self.health.lock().is_some() {
            return Ok(Step::Idle);
        }
        if self.adopt_key()? {
            return Ok(Step::Worked);
        }
        match self.grow()? {
            Ok(step) => Ok(step),
            Err(error) => {
                tracing::error!(%error, "the tree over the log does not grow any more; a person has to look");
                *self.health.lock() = Some(error.to_string());
                Ok(Step::Idle)
            }
        }
    }

    /// Records the key once, so that proofs can be checked for ever, also after it was changed.
    fn adopt_key(&self) -> Result<bool, StageError> {
        let is_adopted = self
            .store
            .view(|views| views.small.signing_keys.last().is_some_and(|known| known.verifier_key == self.verifier));
        if is_adopted {
            return Ok(false);
        }
        let event = Event::SigningKeyAdopted(SigningKeyAdopted { verifier_key: self.verifier.clone() });
        self.store.append_drafts(vec![daemon_draft(event)], Condition::None)?;
        Ok(true)
    }

    fn grow(&mut self) -> Result<Result<Step, TreeFileError>, StageError> {
        let newest = self.store.view(|views| views.position.0);
        let from = self.tree.next().0;
        if from <= newest {
            let upto = newest.min(from.saturating_add(EVENTS_PER_STEP - 1));
            self.store.halt().check()?;
            let envelopes = self.store.envelopes(Position(from), Position(upto))?;
            let is_empty = envelopes.is_empty();
            return Ok(self.tree.append(&envelopes).map(|()| if is_empty { Step::Idle } else { Step::Worked }));
        }
        if self.tree.covered() >= newest {
            return Ok(Ok(Step::Idle));
        }
        let now = self.clock.now();
        if !is_over(self.not_before, now, CHECKPOINT_EVERY_US) {
            return Ok(Ok(Step::IdleUntil(self.not_before)));
        }
        self.not_before = Timestamp(now.0.saturating_add(CHECKPOINT_EVERY_US));
        Ok(self.tree.checkpoint(&self.origin, &self.signer).map(|_| Step::Idle))
    }
}

#[cfg(test)]
mod tests;

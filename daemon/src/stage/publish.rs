//! Publish: signed checkpoints are told to a place outside, so that nobody here can take them back. Each place has a
//! stage of its own, so that one that hangs keeps no other waiting.
//!
//! Only what is signed and durable is told, and always the newest. A place that does not take it is asked again, later
//! and later, and people are told until it has caught up. One that has a checkpoint which this log does not bear out is
//! left as it is: it may be the only proof that the log was put back or replaced.

use std::sync::Arc;

use parking_lot::Mutex;
use retention_core::time::Timestamp;

use super::{StageError, Step, is_over, look_again};
use crate::clock::Clock;
use crate::connector::publish::Publication;
use crate::store::tree::Tree;
use crate::store::{ReadError, Store};

/// How often a place is told at most, in microseconds: while the log grows, a checkpoint is signed each second.
const TELL_EVERY_US: i64 = 10_000_000;

/// How long is waited after a failure, in microseconds: doubled from ten seconds up to ten minutes.
const RETRY_FIRST_US: i64 = 10_000_000;
const RETRY_MAX_US: i64 = 600_000_000;

/// Whether the place is behind: what it is called and why; empty while all is well.
pub type PublishHealth = Arc<Mutex<Option<(String, String)>>>;

struct Told {
    place: Box<dyn Publication>,
    size: u64,
    /// Whether what it has was compared with this log since the start and since it failed.
    is_compared: bool,
    not_before: Timestamp,
    /// Why it failed lately, and how long was waited after that.
    failed: Option<(String, i64)>,
}

/// The stage.
pub struct Publish {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    tree: Arc<Tree>,
    told: Told,
    health: PublishHealth,
}

impl Publish {
    /// Tells this place.
    #[must_use]
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, tree: Arc<Tree>, place: Box<dyn Publication>) -> Self {
        let told = Told { place, size: 0, is_compared: false, not_before: Timestamp(i64::MIN), failed: None };
        Self { store, clock, tree, told, health: PublishHealth::default() }
    }

    /// Returns where it says that the place is behind.
    #[must_use]
    pub fn health(&self) -> PublishHealth {
        Arc::clone(&self.health)
    }

    /// Tells the place the newest checkpoint, unless it has it or its time has not come.
    ///
    /// # Errors
    /// When the checkpoints cannot be read. What the place says is told by [`Self::health`].
    pub fn step(&mut self) -> Result<Step, StageError> {
        let Some((size, note)) = self.tree.newest().map_err(ReadError::from)? else {
            return Ok(look_again(&self.store, &*self.clock, &self.tree, None));
        };
        let told = &mut self.told;
        if !told.has_it(size) {
            let now = self.clock.now();
            if is_over(told.not_before, now, RETRY_MAX_US) {
                told.tell(&self.tree, size, &note, now);
            }
        }
        *self.health.lock() = told.failed.as_ref().map(|(why, _)| (told.place.name(), why.clone()));
        let wake = (!told.has_it(size)).then_some(told.not_before);
        Ok(look_again(&self.store, &*self.clock, &self.tree, wake))
    }
}

impl Told {
    fn has_it(&self, size: u64) -> bool {
        self.is_compared && self.size == size
    }

    /// Compares what it has with this log. A file that was away may come back with more than it had.
    fn compare(&mut self, tree: &Tree) -> Result<(), String> {
        if self.is_compared {
            return Ok(());
        }
        if let Some((size, root)) = self.place.has() {
            let is_ours = size <= tree.leaves() && tree.root_at(size).map_err(|error| error.to_string())? == root;
            if !is_ours {
                return Err(format!(
                    "it has a checkpoint of {size} events that this log does not bear out: the log was put back or replaced, \
                     or the checkpoint is of another log. It was left as it is; keep it, find out why, then move it away"
                ));
            }
            self.size = size;
        }
        self.is_compared = true;
        Ok(())
    }

    fn tell(&mut self, tree: &Tree, size: u64, note: &str, now: Timestamp) {
        // After a failure that it has it proves nothing: what was not flushed can be read all the same.
        let has_it = self.failed.is_none();
        let told = self.compare(tree).and_then(|()| match has_it && self.size == size {
            true => Ok(()),
            false => self.place.tell(size, note),
        });
        let wait = match told {
            Ok(()) => {
                (self.size, self.failed) = (size, None);
                TELL_EVERY_US
            }
            Err(why) => {
                let wait = self.failed.as_ref().map_or(RETRY_FIRST_US, |(_, wait)| (wait * 2).min(RETRY_MAX_US));
                tracing::warn!(place = self.place.name(), why, "a place outside did not take the newest checkpoint");
                (self.failed, self.is_compared) = (Some((why, wait)), false);
                wait
            }
        };
        self.not_before = Timestamp(now.0.saturating_add(wait));
    }
}

#[cfg(test)]
mod tests;

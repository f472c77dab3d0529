//! Keeping sled caught up with the log.

use std::sync::Arc;
use std::time::Duration;

use retention_core::time::Timestamp;

use crate::clock::Clock;
use crate::stage::{StageError, Step};
use crate::store::{EVENTS_PER_WRITE_OUT, Store};

/// How often sled is caught up while little happens.
const WRITE_OUT_EVERY: Duration = Duration::from_secs(5);

/// Keeps sled caught up: after many events at once, after few from time to time.
pub(super) struct WriteOut {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    next: Timestamp,
}

impl WriteOut {
    pub(super) fn new(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, next: Timestamp(i64::MIN) }
    }

    pub(super) fn step(&mut self) -> Result<Step, StageError> {
        let now = self.clock.now();
        let behind = self.store.view(|views| views.position.0) - self.store.written_out().0;
        if behind >= EVENTS_PER_WRITE_OUT || (behind > 0 && now >= self.next) {
            self.store.write_out(1)?;
            self.next = now.after(WRITE_OUT_EVERY);
        }
        Ok(if behind == 0 { Step::Idle } else { Step::IdleUntil(self.next) })
    }
}

//! Forward: the log of another program is told of each event, in order. Each log has a stage of its own, so that one that hangs keeps no
//! other waiting.
//!
//! **At least once:** how far a log was told is kept in a file, after it was told; so after a crash it is told some events again, and
//! none is left out. Who must know each once goes by the position. What a log does with what it took, nobody here knows.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use retention_core::id::Position;
use retention_core::time::Timestamp;

use super::{StageError, Step};
use crate::clock::Clock;
use crate::config::ForwardFrom;
use crate::connector::forward::Forwarding;
use crate::store::Store;
use crate::store::durable_file::{self, DurableFileError};

const ROLE: &str = "position up to which events were forwarded";

/// A number and a line end.
const FILE_BYTES_MAX: u64 = 32;

/// How many events are told before it is looked whether the daemon stops.
const EVENTS_PER_STEP: u64 = 1_000;

/// How often it is written down how far a log was told, in microseconds: more often would cost the disk more than the journal does.
const SAVE_EVERY_US: i64 = 1_000_000;

/// How long is waited after a failure, in microseconds: doubled from a second up to five minutes. A log on this machine that is restarted is
/// soon back.
const RETRY_FIRST_US: i64 = 1_000_000;
const RETRY_MAX_US: i64 = 300_000_000;

/// Whether the log is behind: what it is called and why; empty while all is well.
pub type ForwardHealth = Arc<Mutex<Option<(String, String)>>>;

/// The stage.
pub struct Forward {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    name: String,
    from: ForwardFrom,
    log: Box<dyn Forwarding>,
    /// The last event that it was told.
    told: Option<Position>,
    saved: Option<Position>,
    save_at: Timestamp,
    not_before: Timestamp,
    /// How long was waited after the last failure.
    waited: Option<i64>,
    health: ForwardHealth,
}

impl Forward {
    /// Tells this log. Where its name is new, it begins as `from` says.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        name: String,
        from: ForwardFrom,
        log: Box<dyn Forwarding>,
    ) -> Self {
        let (save_at, not_before) = (Timestamp(i64::MIN), Timestamp(i64::MIN));
        let health = ForwardHealth::default();
        Self { store, clock, name, from, log, told: None, saved: None, save_at, not_before, waited: None, health }
    }

    /// Returns where it says that the log is behind.
    #[must_use]
    pub fn health(&self) -> ForwardHealth {
        Arc::clone(&self.health)
    }

    /// Tells the log what it was not told yet, unless it failed lately.
    ///
    /// # Errors
    /// When an event cannot be read. What the log says is told by [`Self::health`].
    pub fn step(&mut self) -> Result<Step, StageError> {
        let now = self.clock.now();
        if now < self.not_before {
            return Ok(Step::IdleUntil(self.not_before));
        }
        match self.go_on(now)? {
            Ok(step) => {
                self.waited = None;
                *self.health.lock() = None;
                Ok(step)
            }
            Err(why) => {
                let wait = self.waited.map_or(RETRY_FIRST_US, |wait| (wait * 2).min(RETRY_MAX_US));
                self.waited = Some(wait);
                self.not_before = Timestamp(now.0.saturating_add(wait));
                tracing::warn!(log = self.name, why, "the log of another program did not take an event");
                *self.health.lock() = Some((self.name.clone(), why));
                Ok(Step::IdleUntil(self.not_before))
            }
        }
    }

    fn go_on(&mut self, now: Timestamp) -> Result<Result<Step, String>, StageError> {
        let newest = self.store.view(|views| views.position);
        let told = match self.told.map_or_else(|| self.begin(newest), Ok) {
            Ok(told) => told,
            Err(why) => return Ok(Err(why)),
        };
        self.told = Some(told);
        let end = Position(newest.0.min(told.0.saturating_add(EVENTS_PER_STEP)));
        let mut failed = None;
        for position in (told.next().0..=end.0).map(Position) {
            if self.store.halt().is_asked() {
                break;
            }
            let Some(envelope) = self.store.envelope(position)? else { break };
            if let Err(why) = self.log.tell(&envelope) {
                failed = Some(why);
                break;
            }
            self.told = Some(position);
        }
        self.store.halt().check()?;
        if let Err(error) = self.save(now, failed.is_some()) {
            failed.get_or_insert(error.to_string());
        }
        if let Some(why) = failed {
            return Ok(Err(why));
        }
        Ok(Ok(match self.told < Some(newest) {
            true => Step::Worked,
            false if self.saved < self.told => Step::IdleUntil(self.save_at),
            false => Step::Idle,
        }))
    }

    /// Returns the last event that the log was told by whoever was here before.
    fn begin(&mut self, newest: Position) -> Result<Position, String> {
        let read = durable_file::read_bounded(&self.path(), FILE_BYTES_MAX, ROLE).map_err(|error| error.to_string())?;
        let Some(bytes) = read else {
            return Ok(match self.from {
                ForwardFrom::Beginning => Position::NONE,
                ForwardFrom::Now => newest,
            });
        };
        let told = std::str::from_utf8(&bytes).ok().and_then(|text| text.strip_suffix('\n')?.parse().ok());
        let told = told.map(Position).ok_or("the file that says how far it was told holds no position: remove it")?;
        if told > newest {
            return Err(format!(
                "it was told {} events, and the log has {}: the log was put back. Find out why, then remove the file that says so",
                told.0, newest.0
            ));
        }
        self.saved = Some(told);
        Ok(told)
    }

    /// Writes down how far the log was told, unless that was done a moment ago.
    fn save(&mut self, now: Timestamp, is_last_for_long: bool) -> Result<(), DurableFileError> {
        let Some(told) = self.told.filter(|told| self.saved != Some(*told)) else { return Ok(()) };
        if now < self.save_at && !is_last_for_long {
            return Ok(());
        }
        durable_file::create_private_dir(&self.store.dir().join("forward"), ROLE)?;
        durable_file::replace(&self.path(), format!("{}\n", told.0).as_bytes(), ROLE)?;
        self.saved = Some(told);
        self.save_at = Timestamp(now.0.saturating_add(SAVE_EVERY_US));
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.store.dir().join("forward").join(&self.name)
    }
}

impl Drop for Forward {
    /// After a stop in good order nothing is told again.
    fn drop(&mut self) {
        if let Err(error) = self.save(self.save_at, true) {
            tracing::warn!(%error, log = self.name, "some events are told again at the next start");
        }
    }
}

#[cfg(test)]
mod tests;

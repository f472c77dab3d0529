//! Forward: the log of another program is told of each event, in order. Each log has a stage of its own, so that one
//! that hangs keeps no other waiting.
//!
//! **At least once:** how far a log was told is kept in a file, after it was told; so after a crash it is told some
//! events again, and none is left out. Who must know each once goes by the position. What a log does with what it took,
//! nobody here knows.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use retention_core::event::Envelope;
use retention_core::id::Position;
use retention_core::time::Timestamp;

use super::{StageError, Step, is_over};
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

/// How often it is written down how far a log was told, in microseconds: more often would cost the disk more than the
/// journal does.
const SAVE_EVERY_US: i64 = 1_000_000;

/// How long is waited after a failure, in microseconds: doubled from a second up to five minutes. A log on this machine
/// that is restarted is soon back.
const RETRY_FIRST_US: i64 = 1_000_000;
const RETRY_MAX_US: i64 = 300_000_000;

/// Whether the log is behind: what it is called and why; empty while all is well.
pub type ForwardHealth = Arc<Mutex<Option<(String, String)>>>;

/// Whether it can wait to be written down how far a log was told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Urgency {
    Now,
    InTime,
}

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
    /// When the daemon ends. What the log says, and that an event cannot be read, is told by [`Self::health`].
    pub fn step(&mut self) -> Result<Step, StageError> {
        let now = self.clock.now();
        if !is_over(self.not_before, now, RETRY_MAX_US) {
            return Ok(Step::IdleUntil(self.not_before));
        }
        match self.go_on()? {
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

    fn go_on(&mut self) -> Result<Result<Step, String>, StageError> {
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
            let told = self.read(position).and_then(|envelope| self.log.tell(&envelope));
            if let Err(why) = told {
                failed = Some(why);
                break;
            }
            self.told = Some(position);
            // A log that takes its time makes a step longer than a crash may cost.
            if let Err(error) = self.save(Urgency::InTime) {
                failed = Some(error.to_string());
                break;
            }
        }
        self.store.halt().check()?;
        let urgency = if failed.is_some() { Urgency::Now } else { Urgency::InTime };
        if let Err(error) = self.save(urgency) {
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

    /// Reads what is told of an event. What cannot be read keeps everything after it waiting, so it is said as loudly
    /// as a log that is away.
    fn read(&self, position: Position) -> Result<Envelope, String> {
        match self.store.envelope(position) {
            Ok(Some(envelope)) => Ok(envelope),
            Ok(None) => {
                Err(format!("event {} is not there, so nothing after it is told: verify the store", position.0))
            }
            Err(error) => Err(format!("event {} cannot be read, so nothing after it is told: {error}", position.0)),
        }
    }

    /// Returns the last event that the log was told by whoever was here before.
    fn begin(&mut self, newest: Position) -> Result<Position, String> {
        let read = durable_file::read_bounded(&self.path(), FILE_BYTES_MAX, ROLE).map_err(|error| error.to_string())?;
        let Some(bytes) = read else {
            return Ok(match self.from {
                ForwardFrom::Beginning => Position::NONE,
                // Whoever was told by the store that is lost must hear what became of it.
                ForwardFrom::Now => {
                    self.store.view(|views| views.small.restored.waits().map_or(newest, |(_, body)| body.last))
                }
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
    fn save(&mut self, urgency: Urgency) -> Result<(), DurableFileError> {
        let Some(told) = self.told.filter(|told| self.saved != Some(*told)) else { return Ok(()) };
        let now = self.clock.now();
        if urgency == Urgency::InTime && !is_over(self.save_at, now, SAVE_EVERY_US) {
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
        if let Err(error) = self.save(Urgency::Now) {
            tracing::warn!(%error, log = self.name, "some events are told again at the next start");
        }
    }
}

#[cfg(test)]
mod tests;

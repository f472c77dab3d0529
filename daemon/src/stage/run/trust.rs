//! Whether the clock may be believed when something is about to be purged.
//!
//! What is due is told by the clock alone. So before every pivot both clocks of the machine are compared with what they
//! were when the daemon started: a wall clock that went ahead by more than a day, at once or little by little, is not believed
//! until a person confirms it. The doubt stands in the log, and the pivot's condition asks for it: so a restart forgets nothing.

use std::time::Duration;

use retention_core::event::Event;
use retention_core::event::clock::{ClockDoubt, ClockDoubted};
use retention_core::id::Position;
use retention_core::time::Timestamp;
use retention_core::view::Condition;

use super::super::{StageError, Step};
use super::Run;
use crate::clock::{Clock, Observation};
use crate::store::AppendError;

/// A clock that goes forward by more than this is not believed: one day, in microseconds.
pub const JUMP_US_MAX: i64 = 24 * 60 * 60 * 1_000_000;

/// How long a machine may take after its start until its clock is synchronised, before people are told.
const SYNCHRONISING: Duration = Duration::from_secs(10 * 60);

/// How soon a clock that is not synchronised is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What was seen of the clock.
pub(super) struct Trust {
    /// What the clocks are compared with: the start, or the last time that the wall clock was set back or doubted.
    since: Observation,
    /// Since when, in machine time, it is not synchronised.
    unsynchronised_since: Option<Duration>,
    /// Whether that was put into the log.
    was_told: bool,
}

impl Trust {
    pub(super) fn of(clock: &dyn Clock) -> Self {
        Self { since: clock.observe(), unsynchronised_since: None, was_told: false }
    }
}

impl Run {
    /// Compares the clocks. Returns what the stage has to answer while nothing may be purged by this clock.
    pub(super) fn doubts_clock(&self) -> Result<Option<Step>, StageError> {
        let mut trust = self.trust.lock();
        let now = self.clock.observe();
        let ahead = trust.since.jump_to(now).map_or(0, |jump| jump.by_micros);
        if ahead > JUMP_US_MAX {
            self.doubt(ClockDoubt::JumpedForward, Timestamp(now.wall.0.saturating_sub(ahead)), now.wall)?;
        }
        if !(0..=JUMP_US_MAX).contains(&ahead) {
            trust.since = now;
        }
        let waits = self.waits_for_synchronisation(&mut trust, now)?;
        drop(trust);
        let is_doubted = self.store.view(|views| views.small.clock.doubt().is_some());
        Ok(if is_doubted { Some(Step::Idle) } else { waits })
    }

    fn waits_for_synchronisation(&self, trust: &mut Trust, now: Observation) -> Result<Option<Step>, StageError> {
        if self.clock.is_synchronised() != Some(false) {
            (trust.unsynchronised_since, trust.was_told) = (None, false);
            return Ok(None);
        }
        if trust.was_told {
            // From here on the log says whether it is believed.
            return Ok(None);
        }
        let since = *trust.unsynchronised_since.get_or_insert(now.monotonic);
        if now.monotonic.saturating_sub(since) >= SYNCHRONISING {
            self.doubt(ClockDoubt::NotSynchronised, now.wall, now.wall)?;
            trust.was_told = true;
            return Ok(None);
        }
        Ok(Some(Step::IdleUntil(now.wall.after(LOOK_AGAIN))))
    }

    fn doubt(&self, doubt: ClockDoubt, expected_at: Timestamp, seen_at: Timestamp) -> Result<(), StageError> {
        let event = Event::ClockDoubted(ClockDoubted { doubt, expected_at, seen_at });
        match self.append(Position::NONE, vec![event], Condition::ClockBelieved) {
            Ok(_) => {
                tracing::error!(
                    doubt = doubt.name(),
                    "the clock is not believed; nothing is purged until it is confirmed"
                );
                Ok(())
            }
            // It was doubted before, and nobody has answered.
            Err(StageError::Append(AppendError::Conflict(_))) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

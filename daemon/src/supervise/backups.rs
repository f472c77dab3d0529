//! Backups, as the control API asks for them.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use retention_core::control::{BackupRow, ErrorBody, ErrorCode, Line, PartRow, PartState, Progress};
use retention_core::event::backup::{BackupKeysRemoved, BackupMade};
use retention_core::event::{Actor, Draft, Event};
use retention_core::id::Position;
use retention_core::schedule::Schedule;
use retention_core::time::Timestamp;
use retention_core::view::Condition;

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::control::{Audience, Sink};
use crate::stage::Step;
use crate::stage::ledger::LedgerHealth;
use crate::store::backup::make::LastCopy;
use crate::store::backup::{BackupError, Heard, Manifest, Places, Stamp, make};
use crate::store::open::daemon_draft;
use crate::store::tree::Tree;
use crate::store::{ReadError, Store};

/// What makes backups, one at a time.
pub(super) struct Backups {
    pub(super) store: Arc<Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: Arc<RwLock<Config>>,
    pub(super) tree: Option<Arc<Tree>>,
    pub(super) ledger: Option<LedgerHealth>,
    pub(super) under_way: Mutex<()>,
    /// Why the schedule made none, when it was its time.
    pub(super) failed: Mutex<Option<String>>,
}

/// How long after a failure the schedule tries again: a quarter of an hour, in microseconds.
const PAUSE_AFTER_FAILURE_US: i64 = 15 * 60 * 1_000_000;

/// How often is looked whether the time of copies of keys is over: an hour, in microseconds.
const LOOK_AT_KEYS_US: i64 = 60 * 60 * 1_000_000;

/// How long the schedule waits while somebody makes one: a minute, in microseconds.
const PAUSE_WHILE_BUSY_US: i64 = 60 * 1_000_000;

/// Returns where backups lie.
pub(super) fn places(backup: &config::Backup) -> Places {
    Places { log: backup.dir.clone(), keys: backup.keys_dir.clone() }
}

impl Backups {
    fn configured(&self) -> Result<config::Backup, ErrorBody> {
        self.config.read().backup.clone().ok_or_else(|| {
            ErrorBody::saying(ErrorCode::WrongState, "the configuration has no [backup], so nobody says where to")
                .hint("docs/backup.md shows one")
        })
    }

    /// Makes one when the schedule says so, and removes the copies of keys whose time is over.
    pub(super) fn step(&self) -> Step {
        let Some(backup) = self.config.read().backup.clone() else {
            // Nobody waits for one any more.
            *self.failed.lock() = None;
            return Step::Idle;
        };
        let step = self.step_of_schedule(&backup);
        // One that a stop broke off has neither failed nor been made: the last copy of keys may be needed yet.
        if step == Step::Worked || self.store.halt().is_asked() {
            return step;
        }
        // Also when none is made any more, or none can be: a key that is destroyed lives on in them.
        if let Some(_alone) = self.under_way.try_lock()
            && let Err(error) = self.remove_ended_keys(&places(&backup))
            && !matches!(error.code, ErrorCode::Stopping)
        {
            tracing::error!(%error, "copies of keys whose time is over could not be removed; it is tried again");
        }
        let look_again = Timestamp(self.clock.now().0.saturating_add(LOOK_AT_KEYS_US));
        match step {
            Step::IdleUntil(at) => Step::IdleUntil(at.min(look_again)),
            Step::Worked | Step::Idle => Step::IdleUntil(look_again),
        }
    }

    /// Makes one when the schedule says so. The time is counted from the newest that is there, whoever asked for that: one
    /// that was missed is made as soon as can be, and of several one.
    fn step_of_schedule(&self, backup: &config::Backup) -> Step {
        let Some(schedule) = &backup.schedule else {
            *self.failed.lock() = None;
            return Step::Idle;
        };
        let places = places(backup);
        let key = self.store.index_key();
        let newest = Manifest::list(&places)
            .and_then(|mut listed| listed.pop().map(|last| Manifest::unless_forged(&places, last, &key)).transpose());
        let now = self.clock.now();
        if self.under_way.is_locked() {
            return Step::IdleUntil(Timestamp(now.0.saturating_add(PAUSE_WHILE_BUSY_US)));
        }
        let made =
            newest.map_err(failed).and_then(|newest| match due(schedule, newest.map(|newest| newest.made_at), now) {
                Due::At(next) => self.refuse_forged(&places).map(|()| Step::IdleUntil(next)),
                Due::Never => self.refuse_forged(&places).map(|()| Step::Idle),
                Due::Now => self.make(Actor::Daemon, &mut |_| Audience::Listening).map(|()| Step::Worked),
            });
        let again = Step::IdleUntil(Timestamp(now.0.saturating_add(PAUSE_AFTER_FAILURE_US)));
        let (failed, step) = match made {
            Ok(step) => (None, step),
            Err(error) if matches!(error.code, ErrorCode::Stopping) => return Step::Idle,
            Err(error) => {
                tracing::error!(%error, "no backup could be made; it is tried again");
                (Some(error.to_string()), again)
            }
        };
        *self.failed.lock() = failed;
        step
    }

    /// Looks for a manifest that somebody changed. It is told as long as it lies there: also when the next backup was made, by
    /// whomever, and after a restart.
    fn refuse_forged(&self, places: &Places) -> Result<(), ErrorBody> {
        make::refuse_forged(places, &self.store.index_key()).map_err(failed)
    }

    /// Says why there is no backup although it was its time, or that somebody changed the manifest of one.
    pub(super) fn failed(&self) -> Option<String> {
        self.failed.lock().clone()
    }

    /// Makes one, and removes the copies of keys whose time is over.
    pub(super) fn make(&self, actor: Actor, sink: Sink<'_>) -> Result<(), ErrorBody> {
        let backup = self.configured()?;
        let Some(_alone) = self.under_way.try_lock() else {
            return Err(ErrorBody::saying(ErrorCode::WrongState, "a backup is being made already"));
        };
        let places = places(&backup);
        let keys_until = self.clock.now().after(backup.keep_keys);
        let (manifest, digest) = self
            .store
            .backup(&places, keys_until, &backup.recipients, self.tree.as_deref(), &mut telling(sink))
            .map_err(failed)?;
        let made = BackupMade { last: manifest.last, manifest: digest, keys_until };
        self.append(Draft { actor, ..daemon_draft(Event::BackupMade(made)) })?;
        *self.failed.lock() = None;
        for part in [row("log", manifest.bytes()), row("keys", manifest.keys_bytes())] {
            let _audience = sink(Line::Row(part));
        }
        self.remove_ended_keys(&places)?;
        // By a clock that is doubted no time is over.
        if self.store.view(|views| views.small.clock.doubt().is_some()) {
            return Ok(());
        }
        make::remove_superseded(&places, self.clock.now()).map_err(failed)?;
        self.refuse_forged(&places)
    }

    /// Removes the copies of keys whose time is over; by a clock that is doubted none is, nor while nobody has confirmed what a
    /// restore brought back: another one may be wanted. As long as the schedule can make no backup the last copy stays.
    fn remove_ended_keys(&self, places: &Places) -> Result<(), ErrorBody> {
        if self.store.view(|views| views.small.clock.doubt().is_some() || views.small.restored.waits().is_some()) {
            return Ok(());
        }
        let last_copy = if self.failed().is_some() { LastCopy::Stays } else { LastCopy::Goes };
        for last in self.store.remove_ended_keys(places, self.clock.now(), last_copy).map_err(failed)? {
            self.append(daemon_draft(Event::BackupKeysRemoved(BackupKeysRemoved { last })))?;
        }
        Ok(())
    }

    fn append(&self, draft: Draft) -> Result<(), ErrorBody> {
        let appended = self.store.append_drafts(vec![draft], Condition::None);
        appended.map(drop).map_err(|error| ErrorBody::saying(ErrorCode::Internal, error.to_string()))
    }

    /// Lists those that are there, the newest first.
    pub(super) fn list(&self) -> Result<Vec<BackupRow>, ErrorBody> {
        let places = places(&self.configured()?);
        let mut rows = Vec::new();
        for last in Manifest::list(&places).map_err(failed)?.into_iter().rev() {
            let manifest = Manifest::read(&places, last).map_err(failed)?;
            rows.push(BackupRow {
                last,
                made_at: manifest.made_at,
                bytes: manifest.bytes(),
                keys: manifest.has_keys(&places),
                keys_until: manifest.keys_until,
                encrypted: manifest.is_encrypted(),
            });
        }
        Ok(rows)
    }

    /// Reads one back.
    pub(super) fn verify(&self, last: Position, sink: Sink<'_>) -> Result<(), ErrorBody> {
        let places = places(&self.configured()?);
        let (manifest, stamp) = Manifest::stamped(&places, last, &self.store.index_key()).map_err(failed)?;
        if stamp == Stamp::Missing {
            match self.store.is_told(&places, last).map_err(failed)? {
                Some(true) => {}
                Some(false) => return Err(failed(BackupError::Forged { last })),
                None => {
                    let says = Heard::Unstamped { last }.to_string();
                    let code = Some("backup_not_stamped".to_owned());
                    let _audience = sink(Line::Row(PartRow { code, message: Some(says), ..row("manifest", 1) }));
                }
            }
        }
        let total = manifest.bytes();
        let mut done = 0;
        let log = manifest.check_log(&places, self.store.halt(), &mut |more| {
            done += more;
            telling(sink)(done, total);
        });
        let keys = manifest.check_keys(&places, self.store.halt());
        for (name, bytes, checked) in [("log", total, log), ("keys", manifest.keys_bytes(), keys)] {
            let part = match checked {
                Ok(()) => row(name, bytes),
                // What was not read to its end is not damaged.
                Err(BackupError::Read(ReadError::Halted(_))) => return Err(ErrorBody::of(ErrorCode::Stopping)),
                Err(error) => PartRow {
                    state: PartState::Damaged,
                    code: Some("backup_changed".to_owned()),
                    message: Some(error.to_string()),
                    ..row(name, bytes)
                },
            };
            let _audience = sink(Line::Row(part));
        }
        Ok(())
    }

    /// Says why the ledger of erasures is behind, when it is.
    pub(super) fn ledger_behind(&self) -> Option<String> {
        self.ledger.as_ref().and_then(|health| health.lock().clone())
    }
}

/// When the next backup is to be made.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Now,
    At(Timestamp),
    /// No more, as far as the schedule knows the calendar.
    Never,
}

fn due(schedule: &Schedule, newest: Option<Timestamp>, now: Timestamp) -> Due {
    // One that says that it is of the future was made by a clock that was wrong.
    let Some(made_at) = newest.filter(|made_at| *made_at <= now) else { return Due::Now };
    match schedule.next_after(made_at) {
        Some(next) if next <= now => Due::Now,
        Some(next) => Due::At(next),
        None => Due::Never,
    }
}

fn telling<'a>(sink: Sink<'a>) -> impl FnMut(u64, u64) + 'a {
    move |done, total| {
        let _audience = sink(Line::Progress(Progress { unit: "bytes".to_owned(), done, total: Some(total) }));
    }
}

fn row(part: &str, checked: u64) -> PartRow {
    PartRow { part: part.to_owned(), state: PartState::Intact, checked, code: None, message: None }
}

fn failed(error: BackupError) -> ErrorBody {
    let code = match &error {
        BackupError::Absent => ErrorCode::NotFound,
        BackupError::Read(ReadError::Halted(_)) => ErrorCode::Stopping,
        BackupError::OtherLog
        | BackupError::LogGone
        | BackupError::KeysDirGone
        | BackupError::KeysGone { .. }
        | BackupError::Damaged(_) => ErrorCode::WrongState,
        BackupError::Changed { .. } | BackupError::Forged { .. } | BackupError::Unstamped { .. } => {
            ErrorCode::VerificationFailed
        }
        _ => ErrorCode::Internal,
    };
    ErrorBody::saying(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use retention_core::time::Zone;

    use super::*;

    #[test]
    fn one_that_is_missing_or_was_missed_is_made_at_once_and_once() {
        let nightly = Schedule::parse("30 2 * * *", Zone::utc()).unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(due(&nightly, None, at("2026-03-01T12:00:00Z")), Due::Now);
        let made_by_hand = Some(at("2026-03-01T12:00:00Z"));
        assert_eq!(due(&nightly, made_by_hand, at("2026-03-01T13:00:00Z")), Due::At(at("2026-03-02T02:30:00Z")));
        // The machine was off for three nights.
        assert_eq!(due(&nightly, made_by_hand, at("2026-03-04T09:00:00Z")), Due::Now);
        assert_eq!(due(&nightly, Some(at("2098-01-01T00:00:00Z")), at("2026-03-04T09:00:00Z")), Due::Now);
        assert_eq!(due(&nightly, Some(at("2200-01-01T00:00:00Z")), at("2200-01-02T00:00:00Z")), Due::Never);
        let caught_up = Some(at("2026-03-04T09:00:01Z"));
        assert_eq!(due(&nightly, caught_up, at("2026-03-04T09:00:02Z")), Due::At(at("2026-03-05T02:30:00Z")));
    }
}

//! Ledger: every destruction of a key is told to the ledger of erasures, on another machine, so that no old backup
//! brings anybody back.
//!
//! It reads the log and appends to a file outside; the log does not wait for it. What could not be written is written
//! later, from where the file ends. Until then people are told. When there was nothing to write for an hour, or a backup
//! was made, it writes that it has everything until now: so an end that was cut off can be told from one to which nothing
//! was added.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use retention_core::event::{Event, EventType, Recorded};
use retention_core::id::{EntityId, Position};
use retention_core::time::Timestamp;
use retention_core::view::index::Key;
use roaring::RoaringBitmap;

use super::{StageError, Step, is_over};
use crate::clock::Clock;
use crate::store::Store;
use crate::store::backup::{Erasure, LedgerError, LedgerFile};

/// How many destructions are written and flushed together.
const ERASURES_PER_STEP: usize = 10_000;

/// How soon a ledger that cannot be written is tried again: half a minute, in microseconds.
const TRY_AGAIN_US: i64 = 30_000_000;

/// How long after its last line the ledger says that it has everything: an hour, in microseconds.
const SAYS_AFTER_US: i64 = 3_600_000_000;

/// Why the ledger is behind; empty while it is not.
pub type LedgerHealth = Arc<Mutex<Option<String>>>;

/// The stage.
pub struct Ledger {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    path: PathBuf,
    open: Option<LedgerFile>,
    health: LedgerHealth,
}

impl Ledger {
    /// Keeps the ledger at a path.
    #[must_use]
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, path: PathBuf) -> Self {
        Self { store, clock, path, open: None, health: LedgerHealth::default() }
    }

    /// Returns where it says that it is behind.
    #[must_use]
    pub fn health(&self) -> LedgerHealth {
        Arc::clone(&self.health)
    }

    /// Writes what the ledger does not have yet.
    ///
    /// # Errors
    /// When the log cannot be read. That the ledger cannot be written is told by [`Self::health`].
    pub fn step(&mut self) -> Result<Step, StageError> {
        match self.catch_up()? {
            Ok(step) => {
                *self.health.lock() = None;
                Ok(step)
            }
            Err(error) => {
                self.open = None;
                let mut health = self.health.lock();
                if health.is_none() {
                    tracing::error!(%error, "the ledger of erasures is behind: a backup that is restored now may bring somebody back");
                }
                *health = Some(error.to_string());
                Ok(Step::IdleUntil(Timestamp(self.clock.now().0.saturating_add(TRY_AGAIN_US))))
            }
        }
    }

    fn catch_up(&mut self) -> Result<Result<Step, LedgerError>, StageError> {
        let ledger = match &mut self.open {
            Some(ledger) => ledger,
            None => match LedgerFile::gated(
                &self.path,
                self.store.index_key(),
                self.store.view(|v| v.small.store),
                Arc::clone(self.store.gate()),
            ) {
                Ok(ledger) => self.open.insert(ledger),
                Err(error) => return Ok(Err(error)),
            },
        };
        // Also when there is nothing to tell: whoever cut it may want to restore next.
        if let Err(error) = ledger.check() {
            return Ok(Err(error));
        }
        let unknown = restores(&self.store)?.into_iter().find(|restore| !ledger.knows_restore(restore.position));
        // What the ledger says of events after the backup was true of a log that is lost.
        if let Some(restore) = &unknown
            && restore.last < ledger.last()
        {
            return Ok(ledger.restored(restore.entities, restore.last, restore.position).map(|()| Step::Worked));
        }
        let before = unknown.as_ref().map_or(Position(u64::from(u32::MAX)), |restore| restore.position);
        let (newest, backed_up, is_doubted, positions) = self.store.view(|views| {
            let mut all = RoaringBitmap::new();
            for event_type in EventType::DESTRUCTIONS {
                all |= views.index.get(Key::Type(event_type as u16)).unwrap_or(&RoaringBitmap::new());
            }
            let wanted = low(ledger.last().next())..low(before);
            let backups = views.index.get(Key::Type(EventType::BackupMade as u16));
            let backed_up = Position(backups.and_then(RoaringBitmap::max).map_or(0, u64::from));
            let is_doubted = views.small.clock.doubt().is_some();
            let positions = all.range(wanted).take(ERASURES_PER_STEP).collect::<Vec<u32>>();
            (views.position, backed_up, is_doubted, positions)
        });
        if ledger.last() > newest {
            return Ok(Err(LedgerError::Ahead { position: ledger.last() }));
        }
        let mut erasures: Vec<(EntityId, Erasure)> = Vec::with_capacity(positions.len());
        for position in positions.into_iter().map(u64::from).map(Position) {
            if let Some(row) = self.store.row(position)?
                && let Some(entity) = row.entity
            {
                erasures.push((entity, Erasure { position, at: row.recorded_at }));
            }
        }
        if let (true, Some(restore)) = (erasures.is_empty(), unknown) {
            return Ok(ledger.restored(restore.entities, restore.last, restore.position).map(|()| Step::Worked));
        }
        if !erasures.is_empty() {
            return Ok(ledger.destroyed(&erasures).map(|()| Step::Worked));
        }
        // What it says of the time must be true.
        if is_doubted {
            return Ok(Ok(Step::Idle));
        }
        let now = self.clock.now();
        let next = ledger.until().map_or(now, |until| Timestamp(until.0.saturating_add(SAYS_AFTER_US)));
        if backed_up > ledger.last() || is_over(next, now, SAYS_AFTER_US) {
            return Ok(ledger.has_all(newest, now).map(|()| Step::Worked));
        }
        Ok(Ok(Step::IdleUntil(next)))
    }
}

/// A restore, as the log tells it.
struct KnownRestore {
    position: Position,
    entities: u32,
    last: Position,
}

/// Returns the restores of this log, the oldest first.
fn restores(store: &Store) -> Result<Vec<KnownRestore>, StageError> {
    let positions: Vec<u32> = store.view(|views| {
        let all = views.index.get(Key::Type(EventType::StoreRestored as u16));
        all.into_iter().flatten().collect()
    });
    let mut restores = Vec::new();
    for position in positions.into_iter().map(u64::from).map(Position) {
        if let Some(Event::StoreRestored(body)) = store.read(position)?.as_ref().and_then(Recorded::event) {
            restores.push(KnownRestore { position, entities: body.entities, last: body.last });
        }
    }
    Ok(restores)
}

/// A log has fewer events than this can count.
fn low(position: Position) -> u32 {
    u32::try_from(position.0).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use retention_core::event::backup::BackupMade;
    use retention_core::event::clock::{ClockDoubt, ClockDoubted};
    use retention_core::id::Digest;
    use retention_core::view::Condition;

    use super::*;
    use crate::flush::Flush;
    use crate::flush::failing::{CUTS, Failing, Fails};
    use crate::store::Options;
    use crate::store::backup::ledger::Read;
    use crate::store::open::daemon_draft;
    use crate::store::tests::{add_contacts, add_layout, init_with_clock, open_with_clock, purge};

    #[test]
    fn a_ledger_that_was_cut_exchanged_or_removed_is_told_and_has_everything_again() {
        let dir = tempfile::tempdir().unwrap();
        let (store, clock) = open_with_clock(dir.path());
        let layout = add_layout(&store);
        let entities = add_contacts(&store, layout, 0..10);
        purge(&store, &entities[..4]);
        let path = dir.path().join("erasures");
        let mut ledger = Ledger::new(Arc::clone(&store), clock, path.clone());
        while ledger.step().unwrap() == Step::Worked {}
        let whole = std::fs::read_to_string(&path).unwrap();
        assert_eq!(whole.lines().count(), 5);
        let first: String = whole.lines().take(2).map(|line| format!("{line}\n")).collect();
        let copy = dir.path().join("an older copy");
        let cut = || std::fs::write(&path, &first).unwrap();
        let exchange = || {
            std::fs::write(&copy, &whole).unwrap();
            std::fs::rename(&copy, &path).unwrap();
        };
        let remove = || std::fs::remove_file(&path).unwrap();
        let touched: [&dyn Fn(); 3] = [&cut, &exchange, &remove];
        for touch in touched {
            touch();
            assert!(matches!(ledger.step().unwrap(), Step::IdleUntil(_)));
            assert!(ledger.health().lock().is_some(), "people are told");
            while ledger.step().unwrap() == Step::Worked {}
            assert_eq!(*ledger.health().lock(), None);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
        }
    }

    #[test]
    fn a_flush_that_fails_persisted_or_not_loses_doubles_and_tears_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let gate = Failing::of(Flush::Ledger);
        let (options, clock) = init_with_clock(dir.path());
        let options = Options { gate: gate.clone(), ..options };
        let store = Arc::new(Store::open(&options, &mut |_, _| {}).unwrap());
        let layout = add_layout(&store);
        let entities = add_contacts(&store, layout, 0..200);
        let mut erased = 0;
        let goes_on = [(Fails::Before, None), (Fails::After, None)];
        for (fails, cut) in goes_on.into_iter().chain(CUTS.map(|(fails, remains)| (fails, Some(remains)))) {
            let mut stops = 0;
            loop {
                let says = format!("{fails:?} flush {}, {cut:?}", stops + 1);
                let path = dir.path().join(&says);
                gate.arm(std::slice::from_ref(&path), stops + 1, fails);
                let begin = || Ledger::new(Arc::clone(&store), clock.clone(), path.clone());
                let mut ledger = begin();
                let mut failures = 0;
                for _ in 0..2 {
                    purge(&store, &entities[erased..=erased]);
                    erased += 1;
                    loop {
                        match ledger.step().unwrap() {
                            Step::Worked => {}
                            Step::Idle => break,
                            // The hour until it says again that it has everything.
                            Step::IdleUntil(_) if ledger.health().lock().is_none() => break,
                            Step::IdleUntil(_) => {
                                failures += 1;
                                assert_eq!(failures, 1, "{says}");
                                if let Some(remains) = cut {
                                    gate.cut(remains);
                                    ledger = begin();
                                }
                            }
                        }
                    }
                    assert_eq!(*ledger.health().lock(), None, "{says}");
                }
                drop(ledger);
                if !gate.has_failed() {
                    break;
                }
                // What people were told is in it is there after a power cut.
                gate.cut_now();
                let read = Read::of(&path, &store.index_key(), store.view(|views| views.small.store)).unwrap();
                assert_eq!(read.destroyed.into_keys().collect::<Vec<_>>(), entities[..erased], "{says}");
                let text = std::fs::read_to_string(&path).unwrap();
                let of_people = text.lines().filter(|line| !line.starts_with("destroyed 0 ")).count();
                assert!(text.ends_with('\n') && of_people == 1 + erased, "{says}: {text}");
                stops += 1;
            }
            assert!(stops >= 4, "there are only {stops} flushes");
        }
    }

    #[test]
    fn a_ledger_with_nothing_to_tell_says_each_hour_and_with_each_backup_that_it_has_everything() {
        let dir = tempfile::tempdir().unwrap();
        let (store, clock) = open_with_clock(dir.path());
        let start = clock.now();
        let layout = add_layout(&store);
        let entities = add_contacts(&store, layout, 0..10);
        let path = dir.path().join("erasures");
        let mut ledger = Ledger::new(Arc::clone(&store), clock.clone(), path.clone());
        let mut lines = || {
            while ledger.step().unwrap() == Step::Worked {}
            let text = std::fs::read_to_string(&path).unwrap();
            (text.lines().filter(|line| line.starts_with("destroyed 0 ")).count(), text.lines().count())
        };
        let hour = Duration::from_secs(3_600);
        assert_eq!(lines(), (1, 2), "the first is its name");
        clock.advance(hour - Duration::from_secs(1));
        assert_eq!(lines(), (1, 2));
        clock.advance(Duration::from_secs(1));
        assert_eq!(lines(), (2, 3));
        let made = BackupMade { last: Position(1), manifest: Digest([1; 32]), keys_until: start };
        store.append_drafts(vec![daemon_draft(Event::BackupMade(made))], Condition::None).unwrap();
        assert_eq!((lines(), lines()), ((3, 4), (3, 4)), "once for each backup");
        clock.advance(hour / 2);
        purge(&store, &entities[..2]);
        assert_eq!(lines(), (3, 6));
        clock.advance(hour / 2);
        assert_eq!(lines(), (3, 6), "an erasure says it as well");
        clock.advance(hour / 2);
        assert_eq!(lines(), (4, 7));
        // The clock was set back: it does not wait until that has caught up.
        clock.set(start);
        assert_eq!(lines(), (5, 8));
        let doubt = ClockDoubted { doubt: ClockDoubt::JumpedForward, expected_at: start, seen_at: start };
        store.append_drafts(vec![daemon_draft(Event::ClockDoubted(doubt))], Condition::None).unwrap();
        clock.advance(hour * 2);
        assert_eq!(lines(), (5, 8), "by a clock that is doubted it says nothing of the time");
    }
}

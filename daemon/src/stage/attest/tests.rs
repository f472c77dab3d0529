use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use retention_core::event::operation::DaemonStopped;
use retention_core::evidence::checkpoint::{Checkpoint, keys_of};

use super::*;
use crate::clock::ManualClock;
use crate::flush::failing::{Failing, Fails};
use crate::flush::{Flush, FlushGate};
use crate::halt::Halt;
use crate::store::Options;
use crate::store::tests::{copy_dir, init};
use crate::store::verify::Finding;

fn open(options: &Options) -> (Arc<Store>, Attest) {
    let store = Arc::new(Store::open(options, &mut |_, _| {}).unwrap());
    let tree = Arc::new(Tree::open(store.dir()).unwrap());
    let signer = keys_of(&[7; 32], "log").unwrap().0;
    let attest = Attest::new(Arc::clone(&store), Arc::clone(&options.clock), tree, signer).unwrap();
    (store, attest)
}

fn close(store: Arc<Store>, attest: Attest) {
    drop(attest);
    Arc::try_unwrap(store).ok().unwrap().close().unwrap();
}

fn happens(store: &Store, count: usize) -> bool {
    let events = (0..count).map(|_| daemon_draft(Event::DaemonStopped(DaemonStopped {}))).collect();
    store.append_drafts(events, Condition::None).is_ok()
}

/// Lets so many events happen, and signs them when asked to.
fn goes_on(options: &Options, count: usize, signs: bool) {
    let (store, mut attest) = open(options);
    assert!(happens(&store, count));
    while signs && attest.step().unwrap() == Step::Worked {}
    close(store, attest);
}

/// Opens a store as the daemon does, and returns why it is read-only then.
fn compared(options: &Options) -> Option<&'static str> {
    let (store, mut attest) = open(options);
    attest.compare(&mut || {}).unwrap();
    let code = store.read_only_reason().map(|damage| damage.code);
    assert_eq!(happens(&store, 1), code.is_none());
    close(store, attest);
    code
}

fn findings(options: &Options) -> Vec<&'static str> {
    let report = Store::verify_stopped(options, &mut |_, _| {}).unwrap();
    report.findings.iter().map(Finding::code).collect()
}

#[test]
fn a_log_that_is_not_the_one_that_was_signed_is_read_only_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let options = init(dir.path());
    goes_on(&options, 300, true);
    let older = Options { dir: dir.path().join("older"), ..options.clone() };
    copy_dir(&options.dir, &older.dir);
    goes_on(&options, 40, true);

    // Somebody puts an older state under the checkpoints that were signed since.
    std::fs::copy(options.dir.join("tree/checkpoints"), older.dir.join("tree/checkpoints")).unwrap();
    assert_eq!(findings(&older), ["journal_shorter"]);
    assert_eq!(compared(&older), Some("journal_shorter_than_checkpoint"));
    // Somebody writes another end to the log.
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_unix_seconds(1_700_000_001)));
    let older = Options { clock, ..older };
    goes_on(&older, 41, false);
    assert_eq!(findings(&older), ["tree_hashes_missing", "checkpoint_contradicts"]);
    assert_eq!(compared(&older), Some("log_contradicts_checkpoint"));

    // Hashes that are lost are made again, and nothing else is wrong.
    std::fs::remove_file(options.dir.join("tree/hashes")).unwrap();
    assert_eq!(findings(&options), ["tree_hashes_missing"]);
    assert_eq!(compared(&options), None);
    assert_eq!(findings(&options), [""; 0]);
}

/// What a power cut leaves of what was written and not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remains {
    /// Nothing.
    Lost,
    /// Half of it.
    Torn,
    /// As many zeros.
    Zeros,
    /// All of it, though whoever wrote it was told that it failed.
    Kept,
    /// It was flushed, and whoever waited for it was never told.
    Flushed,
}

/// The files that the order is about, each made durable by flushes of its own.
const FILES: [(Flush, &str); 3] =
    [(Flush::Journal, "journal/00000001.seg"), (Flush::Hashes, "tree/hashes"), (Flush::Checkpoint, "tree/checkpoints")];

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

/// Stops the world at a flush: from then on every one fails.
struct Stop {
    store: PathBuf,
    /// At the how manieth it stops.
    nth: u64,
    remains: Remains,
    state: Mutex<Passed>,
}

#[derive(Default)]
struct Passed {
    flushes: u64,
    stopped_at: Option<Flush>,
    /// How much of each file is durable.
    durable: BTreeMap<Flush, u64>,
}

impl Stop {
    fn at(nth: u64, remains: Remains, store: &Path) -> Arc<Self> {
        let durable = FILES.iter().map(|(flush, name)| (*flush, length(&store.join(name)))).collect();
        let state = Mutex::new(Passed { durable, ..Passed::default() });
        Arc::new(Self { store: store.to_owned(), nth, remains, state })
    }

    fn path_of(&self, what: Flush) -> Option<PathBuf> {
        FILES.iter().find(|(flush, _)| *flush == what).map(|(_, name)| self.store.join(name))
    }

    /// Leaves on disk what the power cut left, and says which flush was stopped.
    fn cut(&self) -> Option<Flush> {
        let state = self.state.lock();
        let what = state.stopped_at?;
        let path = self.path_of(what)?;
        let (durable, written) = (state.durable[&what], length(&path));
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        match self.remains {
            Remains::Lost => file.set_len(durable).unwrap(),
            Remains::Torn => file.set_len(durable + (written - durable) / 2).unwrap(),
            Remains::Zeros => {
                file.set_len(durable).unwrap();
                file.set_len(written).unwrap();
            }
            Remains::Kept | Remains::Flushed => {}
        }
        Some(what)
    }
}

impl FlushGate for Stop {
    fn before(&self, what: Flush) -> io::Result<()> {
        if self.path_of(what).is_none() {
            return Ok(());
        }
        let mut state = self.state.lock();
        state.flushes += 1;
        if state.flushes == self.nth && self.remains != Remains::Flushed {
            state.stopped_at = Some(what);
        }
        if state.stopped_at.is_some() { Err(io::Error::other("the world was stopped here")) } else { Ok(()) }
    }

    fn after(&self, what: Flush) -> io::Result<()> {
        let Some(path) = self.path_of(what) else { return Ok(()) };
        let mut state = self.state.lock();
        state.durable.insert(what, length(&path));
        if state.flushes == self.nth {
            state.stopped_at = Some(what);
        }
        if state.stopped_at.is_some() { Err(io::Error::other("the world was stopped here")) } else { Ok(()) }
    }
}

/// What somebody outside was told before the world stopped.
#[derive(Default)]
struct Acknowledged {
    events: u64,
    checkpoints: Vec<String>,
}

/// Lets events happen and signs them, some times over, until a flush fails or all is done.
fn until_stopped(options: &Options, clock: &ManualClock, gate: &Arc<Stop>) -> Acknowledged {
    let mut told = Acknowledged::default();
    let options = Options { gate: Arc::clone(gate) as Arc<dyn FlushGate>, halt: Halt::default(), ..options.clone() };
    let Ok(store) = Store::open(&options, &mut |_, _| {}) else { return told };
    let store = Arc::new(store);
    let gate = Arc::clone(gate) as Arc<dyn FlushGate>;
    let tree = Arc::new(Tree::gated(store.dir(), gate).unwrap());
    let signer = keys_of(&[7; 32], "log").unwrap().0;
    let mut attest = Attest::new(Arc::clone(&store), Arc::clone(&options.clock), Arc::clone(&tree), signer).unwrap();
    'world: for count in [3, 40, 1, 300] {
        if !happens(&store, count) {
            break;
        }
        told.events = store.view(|views| views.position.0);
        clock.advance(Duration::from_secs(2));
        // What is not yet hashed and signed takes some steps.
        for _ in 0..4 {
            let is_stopped = attest.step().is_err() || attest.health().lock().is_some();
            // The newest checkpoint is what everybody outside is told.
            if let Some((_, note)) = tree.newest().unwrap()
                && told.checkpoints.last() != Some(&note)
            {
                told.checkpoints.push(note);
            }
            if is_stopped {
                break 'world;
            }
        }
    }
    drop((attest, tree));
    // It may refuse, as nothing can be flushed any more.
    drop(Arc::try_unwrap(store).ok().unwrap().close());
    told
}

/// The order of what is written (`store/tree.rs`): the event, its hashes, the checkpoint over them, and only then that
/// somebody is told. At every flush of it the world is stopped, and whatever is left, nobody was told what is not so.
#[test]
fn no_checkpoint_that_was_told_is_ever_taken_back_whatever_a_power_cut_leaves() {
    for remains in [Remains::Lost, Remains::Torn, Remains::Zeros, Remains::Kept, Remains::Flushed] {
        let mut stops: BTreeMap<Flush, u64> = BTreeMap::new();
        for nth in 1.. {
            let dir = tempfile::tempdir().unwrap();
            let clock = Arc::new(ManualClock::starting_at(Timestamp::from_unix_seconds(1_700_000_000)));
            let options = Options { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..init(dir.path()) };
            let stop = Stop::at(nth, remains, &options.dir);
            let told = until_stopped(&options, &clock, &stop);
            let Some(what) = stop.cut() else { break };
            *stops.entry(what).or_default() += 1;

            assert_eq!(compared(&options), None, "{remains:?} {nth} {what:?}");
            clock.advance(Duration::from_secs(2));
            goes_on(&options, 5, true);
            assert_eq!(findings(&options), [""; 0], "{remains:?} {nth} {what:?}");
            let (store, attest) = open(&options);
            let position = store.view(|views| views.position.0);
            assert!(position >= told.events, "{remains:?} {nth} {what:?}: an event that was acknowledged is gone");
            let key = keys_of(&[7; 32], "log").unwrap().1;
            let (newest, _) = attest.tree.newest().unwrap().unwrap();
            for note in &told.checkpoints {
                let size = Checkpoint::verify(note, &[&key]).unwrap().size;
                let growth = attest.tree.prove_growth(size, newest).unwrap();
                let growth =
                    growth.unwrap_or_else(|| panic!("{remains:?} {nth} {what:?}: {size} was told and is gone"));
                assert_eq!(&growth.before, note, "{remains:?} {nth} {what:?}");
                assert!(growth.verify(&[&key]).is_ok(), "{remains:?} {nth} {what:?}");
            }
            close(store, attest);
        }
        for (flush, _) in FILES {
            assert!(stops.get(&flush).is_some_and(|count| *count >= 4), "{remains:?}: {stops:?}");
        }
    }
}

#[test]
fn what_a_killed_daemon_had_not_flushed_is_durable_once_the_next_one_hands_it_out() {
    for (what, name) in [FILES[0], FILES[2]] {
        let dir = tempfile::tempdir().unwrap();
        let options = init(dir.path());
        goes_on(&options, 3, true);
        let told = |options: &Options, gate: Arc<dyn FlushGate>| {
            let store = Store::open(options, &mut |_, _| {}).unwrap();
            let told = (store.view(|views| views.position), Tree::gated(store.dir(), gate).unwrap().newest().unwrap());
            store.close().unwrap();
            told
        };
        let before = told(&options, Arc::clone(&options.gate));

        // Killed between writing and flushing: the first flush is that of the opening.
        let gate = Failing::of(what);
        gate.arm(&[options.dir.join(name)], 2, Fails::Before);
        let killed = Options { gate: gate.clone(), halt: Halt::default(), ..options.clone() };
        let store = Arc::new(Store::open(&killed, &mut |_, _| {}).unwrap());
        let tree = Arc::new(Tree::gated(store.dir(), gate.clone()).unwrap());
        let signer = keys_of(&[7; 32], "log").unwrap().0;
        let mut attest = Attest::new(Arc::clone(&store), Arc::clone(&options.clock), tree, signer).unwrap();
        assert_eq!(happens(&store, 2), what != Flush::Journal);
        while attest.step().is_ok_and(|step| step == Step::Worked) {}
        assert!(gate.has_failed(), "{what:?}");
        drop((attest, store));

        // The next start reads it and tells it; then the power is cut.
        let after = told(&killed, gate.clone());
        assert_ne!(after, before, "{what:?}: it could be read");
        gate.cut_now();
        assert_eq!(told(&options, Arc::clone(&options.gate)), after, "{what:?}");
        goes_on(&options, 2, true);
        assert_eq!(findings(&options), [""; 0], "{what:?}");
    }
}

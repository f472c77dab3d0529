//! The real daemon is killed at random moments of intakes and runs, and started again on the same store, many times:
//! nothing that it acknowledged is lost, nothing is done twice, and in the end everything is as if it had never died.
//!
//! `RETENTION_KILL_ROUNDS` says how often, `RETENTION_SEED` what happens. What SIGKILL leaves is looked at in a copy,
//! so that every daemon recovers from exactly what the one before left.

#![expect(clippy::disallowed_methods, reason = "another process is waited for, and that can only be polled")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use retention_core::id::{EntityId, HoldId};
use retention_tests::disk;
use retention_tests::invariants::{Checker, MARKER};
use retention_tests::model::Model;
use retention_tests::victim::Victim;
use retention_tests::world::policy;
use retentiond::clock::WallClock;
use retentiond::connector::archive::{DiskArchive, verify_recorded};
use retentiond::halt::Halt;
use retentiond::store::{Options, Store};

use driver::{Acknowledged, Driver, POLICIES, POLL, Planned, unclaimed};

mod driver;
mod truth;

/// How often the daemon is killed when nothing says otherwise.
const ROUNDS: u64 = 200;

/// What happens when nothing says otherwise.
const SEED: u64 = 20_261_121;

/// The whole store is read and compared with itself every so many rounds: that takes as long as many rounds.
const ROUNDS_PER_WHOLE_LOOK: u64 = 10;

/// A daemon is killed before it wrote more than `1 << WRITTEN_BITS_MAX` bytes of journal: more than a delivery needs.
const WRITTEN_BITS_MAX: u32 = 15;

/// A daemon that was given all its work and writes nothing for so long has nothing left to do.
const AT_REST: Duration = Duration::from_millis(100);

/// What never comes within this time, never comes.
const PATIENCE: Duration = Duration::from_secs(120);

const MAPPING: &str = r#"schema = 1
kind = "contact"
files = ["contacts*.csv"]
content = "snapshot"
id = ["Id"]
unmapped = "custom"
[mailbox]
constant = "list@example.org"
[[date]]
column = "Created"
role = "created"
"#;

const SOURCES: &str = r#"
[[source]]
name = "list"
kind = "csv"
drop_dir = "drop-list"
mapping = "mapping.toml"
[[source]]
name = "crm"
kind = "ocm"
zone = "UTC"
drop_dir = "drop-crm"
"#;

/// When a daemon is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// As soon as it has the lock of the store.
    Opening,
    /// When it has written so many bytes.
    Written(u64),
}

/// The daemon, those who use it, and those who look at what it left.
struct Hunt {
    victim: Victim,
    driver: Driver,
    checker: Checker,
    model: Model,
    /// The journal as it was found last: it only ever grows.
    journal: BTreeMap<String, Vec<u8>>,
    seen: Seen,
}

/// What the kills hit, in rounds.
#[derive(Debug, Default)]
struct Seen {
    /// An intake was under way.
    intakes: u64,
    /// A run was under way.
    runs: u64,
    /// A bundle was being written.
    bundles: u64,
    /// An event was being written: a torn tail was cut.
    tails: u64,
    /// Everything in sled was made again.
    rebuilds: u64,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn policies(approval: bool) -> Vec<(String, String)> {
    let text = |id: &str| {
        let text = policy(id, "P0D").replace("max_percent = 100", "max_percent = 100\npopulation_drop_percent = 100");
        let text = text.replace("required = true\ncount", &format!("required = {approval}\ncount"));
        if id == "tasks" { text.replace("kind = \"contact\"", "kind = \"task\"") } else { text }
    };
    POLICIES.iter().map(|id| (format!("policies/{id}.toml"), text(id))).collect()
}

fn journal_of(state: &Path) -> BTreeMap<String, Vec<u8>> {
    let segments = fs::read_dir(state.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    segments.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())).collect()
}

impl Hunt {
    fn new(random: StdRng) -> Self {
        let mut victim = Victim::new(&[("mapping.toml", MAPPING.to_owned())], SOURCES);
        for (name, text) in policies(victim.has_second_person()) {
            fs::write(victim.path(&name), text).unwrap();
        }
        for name in ["drop-list", "drop-crm", "scratch"] {
            fs::create_dir(victim.path(name)).unwrap();
        }
        let driver = Driver::new(&victim, random);
        victim.start();
        assert!(driver.meets(&AtomicBool::new(false)));
        victim.kill();
        let (checker, model, journal) = (Checker::default(), Model::default(), BTreeMap::new());
        Self { victim, driver, checker, model, journal, seen: Seen::default() }
    }

    /// Starts the daemon, gives it work, and kills it.
    fn round(&mut self) {
        let state = self.victim.path("state");
        let before = self.victim.journal_bytes();
        let moment = match self.driver.random.random_range(0..10) {
            0 => Moment::Opening,
            1 => Moment::Written(1),
            _ => {
                let bits = self.driver.random.random_range(8..WRITTEN_BITS_MAX);
                Moment::Written(self.driver.random.random_range(1 << bits..1 << (bits + 1)))
            }
        };
        let is_killed = AtomicBool::new(false);
        let Self { victim, driver, .. } = self;
        let id = victim.start().to_string();
        std::thread::scope(|scope| {
            let driving = scope.spawn(|| driver.acts(&is_killed));
            let mut rest = (before, Instant::now());
            loop {
                let now = victim.journal_bytes();
                if now != rest.0 || !driving.is_finished() {
                    rest = (now, Instant::now());
                }
                let is_time = match moment {
                    Moment::Opening => fs::read_to_string(state.join("lock")).is_ok_and(|pid| pid == id),
                    Moment::Written(bytes) => now >= before + bytes,
                };
                if is_time || rest.1.elapsed() > AT_REST || !victim.is_running() {
                    break;
                }
                std::thread::sleep(POLL);
            }
            is_killed.store(true, Ordering::Relaxed);
            victim.kill();
        });
    }

    /// Looks at a copy of what is left.
    fn look(&mut self, round: u64) {
        let copied = self.victim.path("copy");
        disk::copy(&self.victim.path("state"), &copied);
        let clock = Arc::new(WallClock);
        let mut options = Options::usual(&copied, &self.victim.path("root.key"), clock).unwrap();
        options.cache_bytes = 1024 * 1024;
        let store = Store::open(&options, &mut |_, _| {}).expect("the store opens");
        assert_eq!(store.read_only_reason(), None, "the store is damaged");
        self.count(&store);
        self.journal_only_grew(&copied);
        self.acknowledged_stands(&store);
        self.driver.truth.check(&store);
        assert_eq!(self.checker.scan_all(&copied), [], "files of the store");
        assert!(!self.victim.diagnostics().contains(MARKER), "plaintext in the diagnostics");
        if round.is_multiple_of(ROUNDS_PER_WHOLE_LOOK) {
            let violations = self.checker.check(&store, &self.victim.path("exports"), &self.model);
            assert_eq!(violations, []);
        } else {
            let mut violations = Vec::new();
            self.model.compare(&store, &mut violations);
            assert_eq!(violations, []);
        }
        drop(store);
        if round.is_multiple_of(ROUNDS_PER_WHOLE_LOOK) {
            let report = Store::verify_stopped(&options, &mut |_, _| {}).unwrap();
            assert!(report.is_good(), "{report:?}");
        }
        fs::remove_dir_all(&copied).unwrap();
    }

    fn count(&mut self, store: &Store) {
        let exports = self.victim.path("exports");
        let entries = fs::read_dir(&exports).map_or(0, Iterator::count);
        let bundles = DiskArchive::at(&exports).list().map_or(0, Iterator::count);
        let seen = &mut self.seen;
        seen.bundles += u64::from(entries > bundles);
        seen.tails += u64::from(store.report().cut_bytes > 0);
        seen.rebuilds += u64::from(store.report().rebuilt.is_some());
        store.view(|views| {
            seen.intakes += u64::from(views.small.intakes.iter().any(|(_, known)| known.completed.is_none()));
            seen.runs += u64::from(views.small.runs.iter().any(|(_, run)| run.ended_at.is_none()));
        });
    }

    /// What an earlier look found stands there still, byte for byte.
    fn journal_only_grew(&mut self, state: &Path) {
        let found = journal_of(state);
        for (name, known) in &self.journal {
            let is_there = found.get(name).is_some_and(|bytes| bytes.starts_with(known));
            assert!(is_there, "the log lost what it held: {name}");
        }
        self.journal = found;
    }

    fn acknowledged_stands(&mut self, store: &Store) {
        for acknowledged in self.driver.acknowledged.drain(..) {
            match acknowledged {
                Acknowledged::Event(position, event_type) => {
                    let row = store.row(position).unwrap().map(|row| row.event_type);
                    assert_eq!(row, Some(event_type as u16), "{event_type:?} at {position} was acknowledged");
                }
                Acknowledged::Approval(plan) => {
                    let approvals = store.view(|views| views.small.plans.get(plan).map(|plan| plan.approvals.len()));
                    assert_eq!(approvals, Some(1), "{plan} was approved");
                }
            }
        }
        for (position, entities) in self.driver.holds.iter() {
            self.model.holds.insert(HoldId(*position), entities.clone());
        }
        // A hold that was asked for may stand there without anybody having been told.
        if let Some(asked) = self.driver.asked_to_hold.take() {
            let holds: Vec<(HoldId, BTreeSet<EntityId>)> = store.view(|views| {
                views.small.holds.all().map(|(id, hold)| (id, hold.entities.iter().copied().collect())).collect()
            });
            if let Some((id, entities)) = holds.into_iter().find(|(id, _)| !self.model.holds.contains_key(id)) {
                assert_eq!(entities, asked, "{id} is not what was asked for");
                self.driver.holds.push((id.0, entities.clone()));
                self.model.holds.insert(id, entities);
            }
        }
    }

    /// Lets the daemon take in and purge whatever is left, and stops it.
    fn finish(&mut self) {
        self.victim.start();
        let since = Instant::now();
        assert!(self.driver.meets(&AtomicBool::new(false)));
        let is_taken_in = |folder: &Path| unclaimed(folder).is_empty() && is_empty(&folder.join("processing"));
        while !["drop-list", "drop-crm"].iter().all(|name| is_taken_in(&self.victim.path(name))) {
            self.wait(since);
        }
        for policy in POLICIES {
            // A plan that was empty before may be the newest one: only one made from now on counts.
            let mut is_asked = false;
            loop {
                let planned = self.driver.plans(policy).expect("an answer");
                if is_asked && planned == Planned::Nothing {
                    break;
                }
                is_asked = true;
                self.wait(since);
            }
        }
        assert_eq!(self.victim.stop(), Some(0), "{}", self.victim.diagnostics());
    }

    fn wait(&mut self, since: Instant) {
        assert!(since.elapsed() < PATIENCE, "it never comes\n{}", self.victim.diagnostics());
        assert!(self.victim.is_running(), "the daemon ended by itself\n{}", self.victim.diagnostics());
        std::thread::sleep(POLL);
    }

    /// Everything is as if the daemon had never died.
    fn check_the_end(&mut self) {
        let verified = self.victim.offline(&["store", "verify"]);
        assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
        self.look(0);
        let (state, exports) = (self.victim.path("state"), self.victim.path("exports"));
        let options = Options::usual(&state, &self.victim.path("root.key"), Arc::new(WallClock)).unwrap();
        let store = Store::open(&options, &mut |_, _| {}).unwrap();
        assert!(store.report().after_clean_stop);
        let held = self.model.holds.values().flatten().copied().collect();
        self.driver.truth.check_the_end(&store, &exports, &held);
        let archive = DiskArchive::at(&exports);
        let mut bundles = 0;
        for name in archive.list().unwrap() {
            let name = name.unwrap();
            let (_, manifest) = archive.manifest(&name).unwrap();
            verify_recorded(&exports, &name, manifest, &Halt::default()).unwrap();
            bundles += 1;
        }
        assert_eq!(fs::read_dir(&exports).unwrap().count(), bundles, "an unfinished bundle is left");
        let (purged, runs) = store.view(|views| (views.entities.purged_count(), views.small.runs.iter().count()));
        let (truth, holds) = (self.driver.truth.summary(), self.model.holds.len());
        println!("{truth}; {purged} purged in {runs} runs, {bundles} bundles, {holds} holds; {:?}", self.seen);
        assert!(purged > 0 && bundles > 0, "nothing happened");
    }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

#[test]
fn a_daemon_that_is_killed_again_and_again_loses_nothing_and_does_nothing_twice() {
    let seed = number("RETENTION_SEED").unwrap_or(SEED);
    let rounds = number("RETENTION_KILL_ROUNDS").unwrap_or(ROUNDS);
    println!("RETENTION_SEED={seed} RETENTION_KILL_ROUNDS={rounds}");
    let mut hunt = Hunt::new(StdRng::seed_from_u64(seed));
    let (mut hunting, mut looking) = (Duration::ZERO, Duration::ZERO);
    for round in 1..=rounds {
        let start = Instant::now();
        hunt.round();
        hunting += start.elapsed();
        hunt.look(round);
        looking += start.elapsed();
    }
    looking -= hunting;
    println!("{rounds} rounds: {} ms at work, {} ms of looking", hunting.as_millis(), looking.as_millis());
    hunt.finish();
    hunt.check_the_end();
    let Seen { intakes, runs, .. } = hunt.seen;
    assert!(rounds < ROUNDS || (intakes > 0 && runs > 0), "no kill hit anything that was under way");
}

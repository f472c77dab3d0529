use std::fs;

use retention_core::event::operation::DaemonStopped;
use retention_core::event::{Envelope, Event};
use retention_core::view::Condition;

use super::*;
use crate::clock::ManualClock;
use crate::store::Options;
use crate::store::open::daemon_draft;
use crate::store::vault::RootKey;

/// A log that notes what it is told, and fails when it is asked to.
#[derive(Clone, Default)]
struct Noted {
    told: Arc<Mutex<Vec<u64>>>,
    /// How many more it takes.
    takes: Arc<Mutex<Option<usize>>>,
}

impl Forwarding for Noted {
    fn tell(&mut self, envelope: &Envelope) -> Result<(), String> {
        let mut takes = self.takes.lock();
        if *takes == Some(0) {
            return Err("it is away".to_owned());
        }
        *takes = takes.map(|left| left - 1);
        self.told.lock().push(envelope.position.0);
        Ok(())
    }
}

struct World {
    store: Arc<Store>,
    clock: Arc<ManualClock>,
    log: Noted,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("root.key");
        drop(RootKey::generate_file(&key).unwrap());
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_unix_seconds(1_700_000_000)));
        let options = Options::usual(&dir.path().join("state"), &key, clock.clone()).unwrap();
        Store::init(&options).unwrap();
        let store = Arc::new(Store::open(&options, &mut |_, _| {}).unwrap());
        Self { store, clock, log: Noted::default(), _dir: dir }
    }

    /// Lets some events happen. Returns how many there are.
    fn grow(&self, events: usize) -> u64 {
        let events = (0..events).map(|_| daemon_draft(Event::DaemonStopped(DaemonStopped {}))).collect();
        self.store.append_drafts(events, Condition::None).unwrap().last.0
    }

    fn forward(&self, from: ForwardFrom) -> Forward {
        Forward::new(self.store.clone(), self.clock.clone(), "siem".to_owned(), from, Box::new(self.log.clone()))
    }

    fn told(&self) -> Vec<u64> {
        std::mem::take(&mut *self.log.told.lock())
    }

    fn file(&self) -> PathBuf {
        self.store.dir().join("forward/siem")
    }
}

/// Steps until there is nothing to do for now.
fn drive(forward: &mut Forward) -> Step {
    loop {
        match forward.step().unwrap() {
            Step::Worked => {}
            step => return step,
        }
    }
}

#[test]
fn every_event_is_told_in_order_and_once_while_nothing_fails() {
    let world = World::new();
    let last = world.grow(2_500);
    let mut forward = world.forward(ForwardFrom::Beginning);
    assert!(matches!(drive(&mut forward), Step::IdleUntil(_)), "it is written down a moment later");
    assert_eq!(world.told(), (1..=last).collect::<Vec<_>>());
    let later = Timestamp(world.clock.now().0 + SAVE_EVERY_US);
    world.clock.pass_until(later);
    assert_eq!(drive(&mut forward), Step::Idle);
    assert_eq!(fs::read_to_string(world.file()).unwrap(), format!("{last}\n"));
    let next = world.grow(1);
    drive(&mut forward);
    assert_eq!(world.told(), [next]);
}

#[test]
fn a_new_log_begins_where_it_should_and_goes_on_after_a_restart() {
    let world = World::new();
    let before = world.grow(3);
    let mut forward = world.forward(ForwardFrom::Now);
    drive(&mut forward);
    assert_eq!(world.told(), [0; 0]);
    let last = world.grow(2);
    drive(&mut forward);
    assert_eq!(world.told(), [before + 1, last]);
    // A crash before it was written down: what was told since is told again, and nothing is left out.
    assert_eq!(drive(&mut forward), Step::IdleUntil(forward.save_at), "it is written down a moment later");
    let saved: u64 = fs::read_to_string(world.file()).unwrap().trim_end().parse().unwrap();
    drive(&mut world.forward(ForwardFrom::Now));
    assert_eq!(world.told(), (saved + 1..=last).collect::<Vec<_>>());
    // After a stop in good order nothing is.
    drop(forward);
    drive(&mut world.forward(ForwardFrom::Now));
    assert_eq!(world.told(), [0; 0]);
}

#[test]
fn a_log_that_is_away_is_asked_again_and_people_are_told() {
    let world = World::new();
    let last = world.grow(5);
    *world.log.takes.lock() = Some(2);
    let mut forward = world.forward(ForwardFrom::Beginning);
    let mut waited = Vec::new();
    for _ in 0..11 {
        let before = world.clock.now();
        let Step::IdleUntil(at) = forward.step().unwrap() else { panic!("it is tried again") };
        waited.push((at.0 - before.0) / 1_000_000);
        assert_eq!(*forward.health().lock(), Some(("siem".to_owned(), "it is away".to_owned())));
        assert_eq!(forward.step().unwrap(), Step::IdleUntil(at), "not before");
        world.clock.pass_until(at);
    }
    assert_eq!(waited, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert_eq!(fs::read_to_string(world.file()).unwrap(), "2\n", "what it took is written down");
    *world.log.takes.lock() = None;
    drive(&mut forward);
    assert_eq!(world.told(), (1..=last).collect::<Vec<_>>(), "none is left out");
    assert!(forward.health().lock().is_none());
}

#[test]
fn a_file_that_cannot_be_true_stops_it_until_a_person_looks() {
    let world = World::new();
    let last = world.grow(2);
    fs::create_dir(world.store.dir().join("forward")).unwrap();
    for (text, why) in [("x\n", "holds no position"), ("7", "holds no position"), ("99\n", "the log was put back")] {
        fs::write(world.file(), text).unwrap();
        let mut forward = world.forward(ForwardFrom::Beginning);
        let Step::IdleUntil(at) = forward.step().unwrap() else { panic!("it is looked at again") };
        assert!(forward.health().lock().as_ref().unwrap().1.contains(why), "{text}");
        assert_eq!((world.told(), fs::read_to_string(world.file()).unwrap()), (Vec::new(), text.to_owned()));
        fs::remove_file(world.file()).unwrap();
        world.clock.pass_until(at);
        drive(&mut forward);
        assert_eq!(world.told(), (1..=last).collect::<Vec<_>>());
    }
}

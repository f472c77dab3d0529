use std::fs;

use retention_core::event::backup::StoreRestored;
use retention_core::event::operation::DaemonStopped;
use retention_core::event::{Envelope, Event};
use retention_core::view::Condition;

use super::*;
use crate::clock::ManualClock;
use crate::store::open::daemon_draft;
use crate::store::tests::open_with_clock;

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
        let (store, clock) = open_with_clock(dir.path());
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

impl World {
    /// Says where the frame of an event lies in the first segment.
    fn place_of(&self, position: u64) -> u64 {
        u64::from(self.store.row(Position(position)).unwrap().unwrap().place.offset)
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

#[test]
fn an_event_that_cannot_be_read_is_said_and_what_was_told_before_it_is_written_down() {
    let world = World::new();
    let last = world.grow(5);
    let journal = crate::store::journal::segment_path(&world.store.dir().join("journal"), 1);
    crate::store::tests::flip(&journal, world.place_of(4) + 20);
    let mut forward = world.forward(ForwardFrom::Beginning);
    let Step::IdleUntil(at) = forward.step().unwrap() else { panic!("it is looked at again") };
    assert!(forward.health().lock().as_ref().unwrap().1.starts_with("event 4 cannot be read"));
    assert_eq!((world.told(), fs::read_to_string(world.file()).unwrap()), (vec![1, 2, 3], "3\n".to_owned()));
    crate::store::tests::flip(&journal, world.place_of(4) + 20);
    world.clock.pass_until(at);
    drive(&mut forward);
    assert_eq!(world.told(), (4..=last).collect::<Vec<_>>());
    assert!(forward.read(Position(last + 1)).unwrap_err().starts_with("event 7 is not there"));
}

#[test]
fn a_clock_that_is_set_back_silences_nobody() {
    let world = World::new();
    let last = world.grow(2);
    *world.log.takes.lock() = Some(1);
    let mut forward = world.forward(ForwardFrom::Beginning);
    assert!(matches!(forward.step().unwrap(), Step::IdleUntil(_)));
    *world.log.takes.lock() = None;
    world.clock.set(Timestamp::from_unix_seconds(1_600_000_000));
    drive(&mut forward);
    assert_eq!(world.told(), (1..=last).collect::<Vec<_>>());
    assert_eq!(fs::read_to_string(world.file()).unwrap(), "2\n", "nor does it wait to be written down");
}

/// A log that takes its time for each event, and notes how far it was written down by then.
struct Slow(Arc<ManualClock>, PathBuf, Arc<Mutex<Vec<u64>>>);

impl Forwarding for Slow {
    fn tell(&mut self, envelope: &Envelope) -> Result<(), String> {
        self.0.advance(std::time::Duration::from_millis(600));
        let saved = fs::read_to_string(&self.1).ok().and_then(|text| text.trim_end().parse::<u64>().ok());
        self.2.lock().push(envelope.position.0 - saved.unwrap_or_default());
        Ok(())
    }
}

#[test]
fn a_crash_in_a_long_step_costs_no_more_than_a_second_of_events() {
    let world = World::new();
    world.grow(50);
    let behind = Arc::default();
    let slow = Slow(world.clock.clone(), world.file(), Arc::clone(&behind));
    let (store, from) = (world.store.clone(), ForwardFrom::Beginning);
    drive(&mut Forward::new(store, world.clock.clone(), "siem".to_owned(), from, Box::new(slow)));
    assert_eq!(behind.lock().iter().max(), Some(&2));
}

#[test]
fn a_restored_store_tells_what_is_not_in_its_backup() {
    let world = World::new();
    let backed_up = world.grow(3);
    let body = StoreRestored {
        last: Position(backed_up),
        made_at: Timestamp(0),
        entities: 1,
        destroyed_again: 0,
        ledger_read: true,
        checkpoint: None,
    };
    world.store.append_drafts(vec![daemon_draft(Event::StoreRestored(body))], Condition::None).unwrap();
    let last = world.grow(1);
    drive(&mut world.forward(ForwardFrom::Now));
    assert_eq!(world.told(), [backed_up + 1, last]);
}

use retention_core::event::Event;
use retention_core::event::operation::DaemonStopped;
use retention_core::evidence::checkpoint::Checkpoint;
use retention_core::id::Digest;
use retention_core::view::Condition;

use super::*;
use crate::clock::ManualClock;
use crate::connector::publish::FilePlace;
use crate::flush::Flush;
use crate::flush::failing::{Failing, Fails};
use crate::store::open::daemon_draft;
use crate::store::tests::{open_with_clock, sign_in};

/// A place that does what it is told to, and notes it.
#[derive(Clone, Default)]
struct Noted {
    sizes: Arc<Mutex<Vec<u64>>>,
    held: Arc<Mutex<Option<(u64, Digest)>>>,
    fails: Arc<Mutex<bool>>,
}

impl Publication for Noted {
    fn name(&self) -> String {
        "noted".to_owned()
    }

    fn has(&self) -> Option<(u64, Digest)> {
        *self.held.lock()
    }

    fn tell(&mut self, size: u64, note: &str) -> Result<(), String> {
        if *self.fails.lock() {
            return Err("it is away".to_owned());
        }
        self.sizes.lock().push(size);
        *self.held.lock() = Some((size, Checkpoint::unverified(note).unwrap().root));
        Ok(())
    }
}

struct World {
    store: Arc<Store>,
    tree: Arc<Tree>,
    clock: Arc<ManualClock>,
    place: Noted,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, clock) = open_with_clock(dir.path());
        let tree = Arc::new(Tree::open(store.dir()).unwrap());
        Self { store, tree, clock, place: Noted::default(), _dir: dir }
    }

    /// Lets an event happen and signs a checkpoint over it. Returns how many events it covers.
    fn grow(&self) -> u64 {
        let event = daemon_draft(Event::DaemonStopped(DaemonStopped {}));
        self.store.append_drafts(vec![event], Condition::None).unwrap();
        drop(sign_in(&self.store, &self.tree));
        self.store.view(|views| views.position.0)
    }

    fn publish(&self) -> Publish {
        Publish::new(self.store.clone(), self.clock.clone(), self.tree.clone(), Box::new(self.place.clone()))
    }
}

#[test]
fn the_newest_is_told_once_and_not_too_often() {
    let world = World::new();
    let mut publish = world.publish();
    assert!(matches!(publish.step().unwrap(), Step::IdleUntil(_)), "nothing is signed yet");
    let first = world.grow();
    assert_eq!(publish.step().unwrap(), Step::Idle);
    assert_eq!(publish.step().unwrap(), Step::Idle);
    world.grow();
    let newest = world.grow();
    let Step::IdleUntil(at) = publish.step().unwrap() else { panic!("it is too early to tell the next") };
    assert_eq!(*world.place.sizes.lock(), [first]);
    world.clock.pass_until(at);
    assert_eq!(publish.step().unwrap(), Step::Idle);
    assert_eq!(*world.place.sizes.lock(), [first, newest]);
    // After a restart the place is asked what it has.
    assert_eq!(world.publish().step().unwrap(), Step::Idle);
    assert_eq!(*world.place.sizes.lock(), [first, newest]);
}

#[test]
fn a_place_that_is_away_is_asked_again_and_people_are_told() {
    let world = World::new();
    let mut publish = world.publish();
    *world.place.fails.lock() = true;
    world.grow();
    let mut waited = Vec::new();
    for _ in 0..9 {
        let before = crate::clock::Clock::now(world.clock.as_ref());
        let Step::IdleUntil(at) = publish.step().unwrap() else { panic!("it is tried again") };
        waited.push((at.0 - before.0) / 1_000_000);
        assert_eq!(*publish.health().lock(), Some(("noted".to_owned(), "it is away".to_owned())));
        world.clock.pass_until(at);
    }
    assert_eq!(waited, [10, 20, 40, 80, 160, 320, 600, 600, 600]);
    *world.place.fails.lock() = false;
    let newest = world.grow();
    assert_eq!(publish.step().unwrap(), Step::Idle);
    assert_eq!(*world.place.sizes.lock(), [newest], "the newest, and not each that it missed");
    assert!(publish.health().lock().is_none());
}

#[test]
fn a_place_that_contradicts_the_log_is_left_as_it_is_until_somebody_moves_it_away() {
    let world = World::new();
    let size = world.grow();
    let root = world.tree.root_at(size).unwrap();
    for held in [(size + 7, root), (size, Digest([9; 32])), (size - 1, root)] {
        *world.place.held.lock() = Some(held);
        let mut publish = world.publish();
        let Step::IdleUntil(at) = publish.step().unwrap() else { panic!("it is looked at again") };
        assert!(publish.health().lock().as_ref().unwrap().1.contains(&format!("a checkpoint of {} events", held.0)));
        world.clock.pass_until(at);
        assert!(matches!(publish.step().unwrap(), Step::IdleUntil(_)));
        assert_eq!((*world.place.held.lock(), world.place.sizes.lock().len()), (Some(held), 0));
    }
    let mut publish = world.publish();
    let Step::IdleUntil(at) = publish.step().unwrap() else { panic!("it is looked at again") };
    world.clock.pass_until(at);
    *world.place.held.lock() = None;
    assert_eq!(publish.step().unwrap(), Step::Idle);
    assert_eq!(*world.place.held.lock(), Some((size, root)));
    assert!(publish.health().lock().is_none());
}

#[test]
fn a_file_whose_flush_failed_is_told_again_although_it_can_be_read() {
    for (nth, fails) in [(1, Fails::Before), (1, Fails::After), (2, Fails::Before), (2, Fails::After)] {
        let world = World::new();
        let elsewhere = tempfile::tempdir().unwrap();
        let dir = elsewhere.path().join("elsewhere");
        std::fs::create_dir(&dir).unwrap();
        let gate = Failing::of(Flush::Published);
        gate.arm(std::slice::from_ref(&dir), nth, fails);
        let path = dir.join("checkpoint");
        let place = Box::new(FilePlace::gated(path.clone(), gate.clone()));
        let mut publish = Publish::new(world.store.clone(), world.clock.clone(), world.tree.clone(), place);
        let newest = world.grow();
        let Step::IdleUntil(at) = publish.step().unwrap() else { panic!("it is tried again") };
        assert!(gate.has_failed() && publish.health().lock().is_some(), "{nth} {fails:?}");
        world.clock.pass_until(at);
        assert_eq!(publish.step().unwrap(), Step::Idle);
        assert!(publish.health().lock().is_none());
        gate.cut_now();
        assert_eq!(FilePlace::at(path).has().map(|(size, _)| size), Some(newest), "{nth} {fails:?}");
    }
}

#[test]
fn a_clock_that_is_set_back_silences_no_place() {
    let world = World::new();
    let mut publish = world.publish();
    *world.place.fails.lock() = true;
    let newest = world.grow();
    assert!(matches!(publish.step().unwrap(), Step::IdleUntil(_)));
    *world.place.fails.lock() = false;
    world.clock.set(Timestamp::from_unix_seconds(1_600_000_000));
    publish.step().unwrap();
    assert_eq!(*world.place.sizes.lock(), [newest]);
}

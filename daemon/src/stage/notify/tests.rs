use retention_core::event::decision::ScheduleMissed;
use retention_core::id::Position;
use retention_core::view::notices::Telling;

use super::*;
use crate::clock::ManualClock;
use crate::connector::notify::Undelivered;
use crate::store::tests::open_with_clock;

/// A far side that does what it is told to, and notes it.
#[derive(Clone, Default)]
struct Noted {
    ids: Arc<Mutex<Vec<(String, String)>>>,
    /// Whether it refuses everything, or only what one name has.
    fails: Arc<Mutex<Option<String>>>,
}

impl Carrier for Noted {
    fn deliver(&mut self, letter: &Letter) -> Result<(), Undelivered> {
        if self.fails.lock().as_ref().is_some_and(|what| letter.name.contains(what)) {
            return Err(Undelivered::because("http-503"));
        }
        self.ids.lock().push((letter.id.clone(), letter.name.clone()));
        Ok(())
    }
}

struct World {
    store: Arc<Store>,
    clock: Arc<ManualClock>,
    far: Noted,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, clock) = open_with_clock(dir.path());
        Self { store, clock, far: Noted::default(), _dir: dir }
    }

    fn declared() -> Self {
        let world = Self::new();
        world.declare();
        world
    }

    fn declare(&self) {
        declare(&self.store, &[("page".to_owned(), Thing::ALL.to_vec())]).unwrap();
    }

    /// Lets a schedule be missed, and returns where that stands.
    fn miss(&self, policy: &str) -> Position {
        let at = self.clock.now();
        let missed = ScheduleMissed { policy: policy.to_owned(), first_at: at, last_at: at, count: 1 };
        let event = daemon_draft(Event::ScheduleMissed(missed));
        self.store.append_drafts(vec![event], Condition::None).unwrap().first
    }

    fn notify(&self) -> Notify {
        let carrier = Box::new(self.far.clone());
        let channel = ChannelOf { name: "page".to_owned(), before: vec![14], recipient: None, carrier };
        Notify::new(self.store.clone(), self.clock.clone(), channel)
    }

    fn told(&self) -> Vec<Position> {
        let missed =
            |(_, name): &(String, String)| Position(name.strip_prefix("schedule_missed/").unwrap().parse().unwrap());
        self.far.ids.lock().iter().map(missed).collect()
    }

    fn events(&self) -> u64 {
        self.store.view(|views| views.position.0)
    }
}

/// Lets it work until there is nothing left to do for now, and returns until when.
fn settle(notify: &mut Notify) -> Timestamp {
    for _ in 0..100 {
        match notify.step().unwrap() {
            Step::Worked => {}
            Step::IdleUntil(at) => return at,
            Step::Idle => panic!("time alone can bring something"),
        }
    }
    panic!("it never rests");
}

#[test]
fn each_thing_is_told_once_also_after_a_restart() {
    let world = World::new();
    world.miss("before");
    world.clock.pass_until(Timestamp(world.clock.now().0 + 1));
    world.declare();
    let mut notify = world.notify();
    settle(&mut notify);
    assert_eq!(world.told(), [], "what was over before is not told");
    let missed = world.miss("contacts");
    assert_eq!(notify.step().unwrap(), Step::IdleUntil(Timestamp(world.clock.now().0 + LOOK_AT_MOST_EVERY_US)));
    world.clock.pass_until(Timestamp(world.clock.now().0 + LOOK_AT_MOST_EVERY_US));
    settle(&mut notify);
    assert_eq!(world.told(), [missed]);
    let events = world.events();
    settle(&mut world.notify());
    world.declare();
    assert_eq!((world.told().len(), world.events()), (1, events), "a restart says nothing new");
}

#[test]
fn a_far_side_that_is_away_is_asked_again_and_given_up_after_three_days() {
    let world = World::declared();
    let mut notify = world.notify();
    *world.far.fails.lock() = Some(String::new());
    world.miss("contacts");
    let (began, mut waited) = (world.clock.now(), Vec::new());
    while notify.waited_us.is_some() || waited.is_empty() {
        let before = world.clock.now();
        let at = settle(&mut notify);
        waited.push((at.0 - before.0) / 1_000_000);
        if waited.len() == 3 {
            assert_eq!(notify.health().lock().failing, Some(Failing { waiting: 1, code: "http-503".to_owned() }));
        }
        world.clock.pass_until(at);
    }
    assert_eq!(waited[..11], [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
    assert!(waited.len() < 90 && world.clock.now().0 - began.0 >= TRY_FOR_US, "{}", waited.len());
    assert_eq!(notify.health().lock().failing, None, "nothing waits any more");
    world.store.view(|views| {
        let told = &views.small.notices.channel("page").unwrap().told;
        let all: Vec<_> = told.values().collect();
        assert!(matches!(all[..], [Telling::GivenUp { code, .. }] if code == "http-503"), "{all:?}");
    });
    *world.far.fails.lock() = None;
    settle(&mut world.notify());
    assert_eq!(world.told(), [], "what was given up is not tried again");
}

#[test]
fn one_notice_that_is_refused_keeps_no_other_waiting() {
    let world = World::declared();
    let missed: Vec<_> = ["a", "b", "c"].map(|policy| world.miss(policy)).to_vec();
    *world.far.fails.lock() = Some(format!("/{}", missed[0]));
    let mut notify = world.notify();
    for _ in 0..3 {
        let at = settle(&mut notify);
        world.clock.pass_until(at);
    }
    assert_eq!(world.told(), missed[1..]);
    *world.far.fails.lock() = None;
    settle(&mut notify);
    assert_eq!(world.told(), [missed[1], missed[2], missed[0]]);
    assert_eq!(notify.health().lock().failing, None);
}

#[test]
fn what_was_delivered_but_not_recorded_is_told_again_under_the_same_name() {
    let world = World::declared();
    world.miss("contacts");
    let mut notify = world.notify();
    let now = world.clock.now();
    notify.look(now).unwrap();
    let (_, letter) = notify.next(now).unwrap();
    notify.channel.carrier.deliver(&letter).unwrap();
    drop(notify);
    world.clock.pass_until(Timestamp(now.0 + 1_000_000));
    settle(&mut world.notify());
    let ids = world.far.ids.lock().clone();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn a_clock_that_is_set_back_makes_nobody_wait_for_long() {
    let world = World::declared();
    world.miss("contacts");
    let mut notify = world.notify();
    *world.far.fails.lock() = Some(String::new());
    settle(&mut notify);
    notify.not_before = Timestamp(i64::MAX);
    *world.far.fails.lock() = None;
    settle(&mut notify);
    assert_eq!(world.told().len(), 1);
}

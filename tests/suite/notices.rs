//! Notices: each thing is told once, whatever crashes on the way; a crash between telling and recording tells it again
//! under the same id, and nothing else does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use retention_core::event::Event;
use retention_core::event::notice::{Notice, Thing};
use retention_tests::crash::{Remains, at_every_flush};
use retention_tests::world::{APPROVER, World};
use retentiond::clock::Clock;
use retentiond::connector::notify::{Carrier, Letter, Undelivered};
use retentiond::stage::Step;
use retentiond::stage::notify::{ChannelOf, Notify, declare};

mod daemon;
mod mail;
mod recipients;
mod webhook;

/// More lives than any scenario takes.
const LIVES_MAX: usize = 20;

/// A far side that takes everything and notes it.
#[derive(Clone, Default)]
struct Far(Arc<Mutex<Vec<(&'static str, String)>>>);

impl Carrier for Far {
    fn deliver(&mut self, letter: &Letter) -> Result<(), Undelivered> {
        assert!(!letter.json().contains("PLAINTEXT"), "personal data: {}", letter.json());
        self.0.lock().unwrap().push((letter.thing, letter.id.clone()));
        Ok(())
    }
}

impl Far {
    /// How often each notice came, by its id.
    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (_, id) in self.0.lock().unwrap().iter() {
            *counts.entry(id.clone()).or_default() += 1;
        }
        counts
    }

    fn things(&self) -> Vec<Thing> {
        self.0.lock().unwrap().iter().map(|(thing, _)| of_word(thing)).collect()
    }
}

fn of_word(word: &str) -> Thing {
    *Thing::ALL.iter().find(|thing| thing.name() == word).expect("a thing")
}

/// Tells the officer everything that is owed, in as many lives as it takes, and returns how many those were.
fn tell(world: &mut World, far: &Far) -> usize {
    tell_on(world, Thing::ALL, || ChannelOf {
        name: "dpo".to_owned(),
        before: vec![14],
        recipient: None,
        carrier: Box::new(far.clone()),
    })
}

/// Tells on a channel what is owed there, in as many lives as it takes, and returns how many those were.
fn tell_on(world: &mut World, things: &[Thing], channel: impl Fn() -> ChannelOf) -> usize {
    for lives in 1..=LIVES_MAX {
        if one_life(world, things, channel()) {
            return lives;
        }
        world.reopen();
    }
    panic!("it never ends\n{}", world.story());
}

/// Says whether it came to rest without a crash.
fn one_life(world: &World, things: &[Thing], channel: ChannelOf) -> bool {
    let store = Arc::clone(world.store());
    if declare(&store, &[(channel.name.clone(), things.to_vec())]).is_err() {
        return false;
    }
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let mut notify = Notify::new(store, clock, channel);
    loop {
        match notify.step() {
            Ok(Step::Worked) => {}
            Ok(Step::Idle | Step::IdleUntil(_)) => return true,
            Err(_) => return false,
        }
    }
}

fn sent(world: &World) -> Vec<Notice> {
    let log = world.log();
    let sent = log.iter().filter_map(|recorded| match recorded.event() {
        Some(Event::NoticeSent(body)) => Some(body.notice.clone()),
        _ => None,
    });
    sent.collect()
}

#[test]
fn a_plan_and_its_run_are_told_once_each_in_many_lives() {
    let mut world = World::new("P1D");
    let far = Far::default();
    world.add("PLAINTEXT a", "2020-01-01");
    world.settle();
    tell(&mut world, &far);
    // What is long overdue is not about to fall due.
    assert_eq!(far.things(), []);
    let plan = world.request_plan("contacts").expect("a plan");
    world.settle();
    tell(&mut world, &far);
    tell(&mut world, &far);
    assert_eq!(far.things().len(), 1, "{:?}", far.things());
    assert!(matches!(far.things()[0], Thing::PlanNeedsApproval | Thing::PlanStopped));
    world.approve(plan, APPROVER);
    world.request_run(plan);
    world.finish();
    world.lose_sled();
    for _ in 0..40 {
        tell(&mut world, &far);
        world.clock.advance(Duration::from_secs(24 * 60 * 60));
    }
    assert_eq!(far.things()[1..], [Thing::RunDone]);
    assert_eq!(sent(&world).len(), 2, "{}", world.story());
}

#[test]
fn what_falls_due_is_told_ahead_and_not_again_each_day() {
    let mut world = World::new("P1D");
    let far = Far::default();
    for (number, day) in (1..=28).enumerate() {
        world.add(&format!("c{number}"), &format!("2025-02-{day:02}"));
    }
    world.settle();
    for _ in 0..45 {
        tell(&mut world, &far);
        world.clock.advance(Duration::from_secs(24 * 60 * 60));
        world.settle();
    }
    let things = far.things();
    assert!((2..=4).contains(&things.len()) && things.iter().all(|thing| *thing == Thing::FallingDue), "{things:?}");
}

#[test]
fn a_crash_at_any_flush_loses_nothing_and_repeats_only_under_the_same_id() {
    for remains in Remains::ALL {
        at_every_flush("two notices", remains, 2, |nth, remains| {
            let mut world = World::new("P1D");
            let far = Far::default();
            world.add("a", "2020-01-01");
            world.settle();
            tell(&mut world, &far);
            world.request_plan("contacts").expect("a plan");
            world.settle();
            world.write_policy("others", &retention_tests::world::policy("others", "P1D"));
            world.settle();
            world.request_plan("others").expect("a plan");
            world.settle();
            world.gate.crash_at(nth, remains);
            let lives = tell(&mut world, &far);
            let sent = sent(&world);
            let counts = far.counts();
            assert_eq!(sent.len(), 2, "{remains:?} {nth}\n{}", world.story());
            assert_eq!(counts.len(), 2, "an id for each: {counts:?}");
            assert!(counts.values().all(|count| *count <= 2), "{remains:?} {nth}: {counts:?}");
            lives > 1
        });
    }
}

//! Months of the log under a policy: what people wrote goes with the key of its month, by plan, approval and run, and not
//! while anything is open that was begun in it; the facts and the views stay.

use std::time::Duration;

use retention_core::event::{Event, Readable, apart};
use retention_core::id::{EntityId, HoldId, PlanId};
use retention_core::view::{EntityState, RunState};
use retention_tests::crash::{Remains, at_every_flush};
use retention_tests::world::{World, policy};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const POLICY: &str = "audit";

fn about_months() -> String {
    let text = policy(POLICY, "P0D").replace("kind = \"contact\"", "kind = \"audit_month\"");
    text.replace("start = \"created\"", "start = \"closed\"").replace("{ created = ", "{ closed = ")
}

/// A world in which a hold was placed and released in January 2026; it is the spring of 2027. Returns the hold, and the
/// month in which its reason was written.
fn world(is_released: bool) -> (World, HoldId, EntityId) {
    let mut world = World::new("P0D");
    world.write_policy(POLICY, &about_months());
    let held = world.add("a", "2026-01-01");
    world.settle();
    let hold = world.hold(&[held]).expect("a hold");
    if is_released {
        world.release(hold);
    }
    world.settle();
    let month = world.store().envelope(hold.0).unwrap().unwrap().texts.expect("a month");
    world.clock.advance(DAY * 450);
    world.confirm_clock();
    world.settle();
    (world, hold, month)
}

/// Returns the reason of a hold as it can be read.
fn reason(world: &World, hold: HoldId) -> String {
    match world.store().read(hold.0).unwrap().unwrap().event {
        Readable::Event(event) | Readable::Facts(event) => match *event {
            Event::HoldPlaced(body) => body.reason,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Plans now: how many months go, and how many stay because they are still needed.
fn planned(world: &mut World) -> (u64, u64) {
    let plan = world.request_plan(POLICY).unwrap();
    world.settle();
    frozen(world, plan)
}

fn frozen(world: &World, plan: PlanId) -> (u64, u64) {
    world.store().view(|views| {
        let frozen = views.small.plans.get(plan).unwrap().frozen.as_ref().unwrap();
        let needed = frozen.kept.iter().find(|kept| kept.reason == "still_needed").map_or(0, |kept| kept.count);
        (frozen.items, needed)
    })
}

#[test]
fn what_was_written_in_a_month_goes_by_plan_approval_and_run_and_its_facts_stay() {
    let (mut world, hold, month) = world(true);
    assert_ne!(reason(&world, hold), apart::ERASED);
    let (_, run) = world.approved_run(POLICY);
    world.finish();
    assert_eq!(world.run_state(run), RunState::Completed, "{}", world.story());
    assert_eq!((world.state_of(month), reason(&world, hold)), (EntityState::Purged, apart::ERASED.to_owned()));
    let erased = world.store().view(|views| views.texts_erased(month).map(|(_, policy)| policy.map(str::to_owned)));
    assert_eq!(erased, Some(Some(POLICY.to_owned())), "by that policy");
    // What was written since then is of another month.
    let later = world.hold(&[EntityId(1)]).expect("a hold");
    assert_ne!(reason(&world, later), apart::ERASED);
    world.lose_sled();
    world.check();
    world.compact();
    assert_eq!(world.store().verify(&mut |_, _| {}).unwrap().findings, []);
    assert_eq!(reason(&world, hold), apart::ERASED);
    assert_eq!(planned(&mut world), (0, 0), "nothing more is due");
}

#[test]
fn a_month_stays_while_what_was_begun_in_it_is_open_and_also_when_that_is_seen_late() {
    let (mut world, hold, month) = world(false);
    assert_eq!(planned(&mut world), (0, 1), "{}", world.story());
    world.release(hold);
    world.settle();
    assert_eq!(planned(&mut world), (1, 0), "{}", world.story());
    // A hold that covers the month itself, placed after the plan was accepted.
    let (_, run) = world.approved_run(POLICY);
    let later = world.hold(&[month]).expect("a hold");
    world.finish();
    assert_eq!(world.run_state(run), RunState::Completed, "{}", world.story());
    assert_eq!(world.state_of(month), EntityState::Visible, "{}", world.story());
    assert_ne!(reason(&world, hold), apart::ERASED);
    world.release(later);
    world.settle();
    assert_eq!(planned(&mut world), (1, 0));
}

/// Returns whether the scenario reached the flush.
fn stop_at(nth: u64, remains: Remains) -> bool {
    let (mut world, hold, month) = world(true);
    world.gate.crash_at(nth, remains);
    let before = world.crashes;
    let run = world.drive_to_the_end(POLICY);
    let place = format!("flush {nth}, {remains:?}\n{}", world.story());
    assert_eq!(world.run_state(run), RunState::Completed, "{place}");
    assert_eq!(
        (world.state_of(month), reason(&world, hold)),
        (EntityState::Purged, apart::ERASED.to_owned()),
        "{place}"
    );
    let is_stopped = world.crashes > before;
    world.reopen();
    is_stopped
}

#[test]
fn a_month_is_erased_whole_or_not_at_all_after_a_crash_at_every_flush() {
    for remains in Remains::ALL {
        at_every_flush("a month", remains, 10, stop_at);
    }
}

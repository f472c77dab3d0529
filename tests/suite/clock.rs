//! A clock that cannot be believed purges nothing until a person confirms it.

use std::time::Duration;

use retention_core::event::clock::ClockDoubt;
use retention_core::event::hold::{HoldPlaced, v1};
use retention_core::event::{Event, Recorded};
use retention_core::id::EntityId;
use retention_core::time::Timestamp;
use retention_core::view::{EntityState, RunState};
use retention_tests::world::{APPROVER, Stage, World, policy};
use retentiond::clock::Clock as _;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

fn jump(world: &World, by_us: i64) {
    world.clock.set(Timestamp(world.clock.now().0 + by_us));
}

fn doubts(world: &World) -> Vec<ClockDoubt> {
    let doubt = |recorded: &Recorded| match recorded.event() {
        Some(Event::ClockDoubted(body)) => Some(body.doubt),
        _ => None,
    };
    world.log().iter().filter_map(doubt).collect()
}

fn contact_with_a_run(quarantine: &str) -> (World, EntityId) {
    let mut world = World::new(quarantine);
    let contact = world.add("a", "2020-01-01");
    world.settle();
    world.approved_run("contacts");
    (world, contact)
}

#[test]
fn a_jump_of_more_than_a_day_at_any_step_purges_nothing_until_it_is_confirmed() {
    for steps in 0.. {
        let (mut world, contact) = contact_with_a_run("P20D");
        let is_over = world.run_for(steps);
        let was_past_pivot = world.pivots() > 0;
        jump(&world, 19 * DAY_US);
        for _ in 0..3 {
            world.settle();
            world.clock.advance(DAY * 30);
        }
        assert_eq!(world.pivots() > 0, was_past_pivot, "{}", world.story());
        assert_eq!(doubts(&world), [ClockDoubt::JumpedForward], "{}", world.story());
        world.reopen();
        world.settle();
        assert_eq!(world.pivots() > 0, was_past_pivot, "a restart believes it: {}", world.story());
        assert!(world.confirm_clock());
        world.finish();
        // What had not begun before the jump has lost its approval in the meantime.
        let began = world.log().iter().any(|recorded| matches!(recorded.event(), Some(Event::SagaStarted(_))));
        let expected = if began { EntityState::Purged } else { EntityState::Visible };
        assert_eq!(world.state_of(contact), expected, "{}", world.story());
        if is_over {
            assert!(steps > 8, "a run takes more than {steps} steps");
            return;
        }
    }
}

#[test]
fn time_that_passes_and_small_jumps_are_believed() {
    let (mut world, contact) = contact_with_a_run("P20D");
    world.settle();
    jump(&world, DAY_US - 60_000_000);
    world.settle();
    world.clock.advance(DAY * 40);
    world.finish();
    assert_eq!(doubts(&world), [], "{}", world.story());
    assert_eq!(world.state_of(contact), EntityState::Purged);
}

#[test]
fn small_jumps_add_up_and_those_back_and_forth_do_not() {
    let (mut world, contact) = contact_with_a_run("P20D");
    world.settle();
    for _ in 0..10 {
        for by in [-DAY_US / 2, DAY_US / 2] {
            jump(&world, by);
            world.settle();
        }
    }
    assert_eq!(doubts(&world), [], "{}", world.story());
    for _ in 0..60 {
        jump(&world, DAY_US / 2);
        world.settle();
    }
    assert_eq!(doubts(&world), [ClockDoubt::JumpedForward], "{}", world.story());
    assert_eq!(world.state_of(contact), EntityState::Quarantined, "{}", world.story());
    assert!(world.confirm_clock());
    world.finish();
    assert_eq!(world.state_of(contact), EntityState::Purged, "{}", world.story());
}

#[test]
fn a_clock_that_goes_back_is_late_and_never_early() {
    let (mut world, contact) = contact_with_a_run("P20D");
    world.settle();
    jump(&world, -400 * DAY_US);
    world.settle();
    assert_eq!(world.state_of(contact), EntityState::Quarantined);
    assert_eq!(doubts(&world), []);
}

#[test]
fn a_quarantine_that_begins_by_a_clock_that_was_set_back_is_no_shorter() {
    let (mut world, contact) = contact_with_a_run("P20D");
    jump(&world, -30 * DAY_US);
    world.settle();
    assert_eq!(world.state_of(contact), EntityState::Quarantined, "{}", world.story());
    // Somebody sets the clock right, and says so.
    jump(&world, 30 * DAY_US);
    world.settle();
    assert!(world.confirm_clock());
    world.settle();
    assert_eq!(world.state_of(contact), EntityState::Quarantined, "{}", world.story());
    world.finish();
    assert_eq!(world.state_of(contact), EntityState::Purged, "{}", world.story());
}

#[test]
fn a_clock_that_was_set_back_gives_no_approval_its_force_again() {
    let mut world = World::new("P0D");
    let contact = world.add("a", "2020-01-01");
    world.settle();
    let plan = world.request_plan("contacts").unwrap();
    world.settle();
    world.approve(plan, APPROVER);
    world.clock.advance(DAY * 2);
    let run = world.request_run(plan).unwrap();
    jump(&world, -2 * DAY_US);
    world.finish();
    assert_eq!(world.run_state(run), RunState::Refused, "{}", world.story());
    assert_eq!(world.state_of(contact), EntityState::Visible, "{}", world.story());
}

#[test]
fn a_clock_that_is_not_synchronised_is_waited_for_and_then_asked_about() {
    let (mut world, contact) = contact_with_a_run("P0D");
    world.clock.set_synchronised(Some(false));
    let until = world.settle();
    assert!(until.is_some(), "it looks again: {}", world.story());
    assert_eq!(doubts(&world), []);
    assert!(world.pivots() == 0);
    // It comes to be synchronised: nobody has to be asked.
    world.clock.set_synchronised(Some(true));
    world.finish();
    assert_eq!(world.state_of(contact), EntityState::Purged, "{}", world.story());
    assert_eq!(doubts(&world), []);

    let (mut world, contact) = contact_with_a_run("P0D");
    world.clock.set_synchronised(Some(false));
    world.settle();
    world.clock.advance(Duration::from_secs(11 * 60));
    world.settle();
    assert_eq!(doubts(&world), [ClockDoubt::NotSynchronised], "{}", world.story());
    assert_eq!(world.state_of(contact), EntityState::Quarantined);
    assert!(world.confirm_clock());
    world.finish();
    assert_eq!(world.state_of(contact), EntityState::Purged, "{}", world.story());
}

#[test]
fn only_the_newest_doubt_can_be_confirmed() {
    let (mut world, _) = contact_with_a_run("P20D");
    world.settle();
    jump(&world, 3 * DAY_US);
    world.settle();
    assert!(world.confirm_clock());
    assert!(!world.confirm_clock(), "there is nothing left to confirm");
    jump(&world, 3 * DAY_US);
    world.settle();
    assert_eq!(doubts(&world).len(), 2);
    assert!(world.confirm_clock());
}

#[test]
fn what_was_planned_by_a_clock_that_was_ahead_is_judged_anew_by_the_right_one() {
    let mut world = World::new("P0D");
    // Due in ten days, and no sooner.
    let contact = world.add("a", "2025-01-25");
    world.settle();
    jump(&world, 30 * DAY_US);
    world.settle();
    let (_, run) = world.approved_run("contacts");
    world.step(Stage::Run);
    // Somebody sets the clock right, and says so.
    jump(&world, -30 * DAY_US);
    world.settle();
    world.confirm_clock();
    world.finish();
    assert_eq!(world.state_of(contact), EntityState::Visible, "{}", world.story());
    assert_eq!(world.run_state(run), RunState::Completed, "{}", world.story());
}

fn plans(world: &World) -> usize {
    world.store().view(|views| views.small.plans.iter().count())
}

#[test]
fn a_plan_is_judged_by_the_clock_while_the_time_of_the_log_stands_still() {
    let mut world = World::new("P0D");
    // Due in ten days, and no sooner.
    let _contact = world.add("a", "2025-01-25");
    world.let_log_time_stand_still();
    let now = world.clock.now();
    let plan = world.request_plan("contacts").unwrap();
    world.settle();
    let frozen = world.store().view(|views| views.small.plans.get(plan).and_then(|plan| plan.frozen.clone())).unwrap();
    assert_eq!((frozen.items, frozen.as_of), (0, now), "{}", world.story());
}

#[test]
fn a_hold_protects_until_its_day_has_come_also_when_the_log_is_past_it() {
    let mut world = World::new("P0D");
    let contact = world.add("a", "2020-01-01");
    world.settle();
    let hold = world.hold(&[contact]).expect("a hold");
    let until = Timestamp(world.clock.now().0 + 10 * DAY_US);
    world.release_until(hold, until);
    world.let_log_time_stand_still();
    let items = |world: &mut World| {
        let plan = world.request_plan("contacts").unwrap();
        world.settle();
        world.store().view(|views| views.small.plans.get(plan).and_then(|plan| plan.frozen.clone())).unwrap().items
    };
    assert_eq!(items(&mut world), 0, "{}", world.story());
    world.clock.advance(DAY * 11);
    assert_eq!(items(&mut world), 1, "{}", world.story());
}

#[test]
fn a_hold_on_a_policy_keeps_what_is_in_a_run_until_its_day_has_come_also_when_the_log_is_past_it() {
    let (mut world, contact) = contact_with_a_run("P7D");
    world.settle();
    let case = v1::HoldPlaced { name: "case".to_owned(), reason: "reason".to_owned(), entities: Vec::new() };
    let hold = world.place_hold(HoldPlaced { policies: vec!["contacts".to_owned()], ..case.into() }).expect("a hold");
    world.release_until(hold, Timestamp(world.clock.now().0 + 10 * DAY_US));
    world.let_log_time_stand_still();
    world.clock.advance(DAY * 8);
    world.settle();
    assert!(world.pivots() == 0, "{}", world.story());
    assert_eq!(world.state_of(contact), EntityState::Visible, "{}", world.story());
}

#[test]
fn a_schedule_goes_on_once_a_clock_that_was_ahead_is_set_right() {
    let mut world = World::new("P0D");
    let nightly = "cron = \"0 3 * * *\"\ntimezone = \"Etc/UTC\"";
    world.write_policy("contacts", &policy("contacts", "P0D").replace("cron = \"on_demand\"", nightly));
    world.settle();
    world.let_log_time_stand_still();
    let before = plans(&world);
    assert_eq!(before, 1, "it fired by the clock that was ahead: {}", world.story());
    for nights in 1..=3 {
        world.clock.advance(DAY);
        world.settle();
        assert_eq!(plans(&world), before + nights, "{}", world.story());
        world.reopen();
        world.settle();
        assert_eq!(plans(&world), before + nights, "once each night: {}", world.story());
    }
}

#[test]
fn a_clock_that_was_behind_leaves_no_times_of_a_schedule_that_were_missed() {
    let mut world = World::new("P0D");
    let nightly = "cron = \"0 3 * * *\"\ntimezone = \"Etc/UTC\"";
    world.write_policy("contacts", &policy("contacts", "P0D").replace("cron = \"on_demand\"", nightly));
    world.settle();
    world.clock.advance(DAY);
    world.settle();
    assert_eq!(plans(&world), 1, "{}", world.story());
    // As after a start without a battery, until the machine has asked for the time.
    jump(&world, -400 * DAY_US);
    world.settle();
    world.clock.advance(DAY);
    world.settle();
    assert_eq!(plans(&world), 2, "{}", world.story());
    jump(&world, 399 * DAY_US);
    world.settle();
    world.reopen();
    world.settle();
    assert_eq!(plans(&world), 2, "{}", world.story());
    world.clock.advance(DAY);
    world.settle();
    assert_eq!(plans(&world), 3, "{}", world.story());
    for recorded in world.log() {
        if let Some(Event::ScheduleMissed(body)) = recorded.event() {
            assert_eq!(body.count, 1, "{}", world.story());
        }
    }
}

#[test]
fn a_run_goes_on_at_its_rate_while_the_time_of_the_log_stands_still() {
    let mut world = World::new("P0D");
    let slowly = "max_percent = 100\nrate = \"1/min\"";
    world.write_policy("contacts", &policy("contacts", "P0D").replace("max_percent = 100", slowly));
    let contacts = ["a", "b", "c"].map(|id| world.add(id, "2020-01-01"));
    world.settle();
    world.let_log_time_stand_still();
    let before = world.clock.now();
    let (_, run) = world.approved_run("contacts");
    world.finish();
    assert_eq!(world.run_state(run), RunState::Completed, "{}", world.story());
    assert_eq!(contacts.map(|contact| world.state_of(contact)), [EntityState::Purged; 3], "{}", world.story());
    let minutes = (world.clock.now().0 - before.0) / 60_000_000;
    assert!((2..60).contains(&minutes), "it took {minutes} minutes: {}", world.story());
}

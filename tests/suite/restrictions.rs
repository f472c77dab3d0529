//! Restrictions under policies: the use ends once, nothing is lost, a purge has its turn later, and what keeps a record
//! from a purge keeps it from this, too.

use std::time::Duration;

use retention_core::event::Event;
use retention_core::event::saga::Step;
use retention_core::id::{EntityId, RestrictionId, RunId};
use retention_core::view::restrictions::Cause;
use retention_core::view::{EntityState, RunState};
use retention_tests::crash::{Remains, at_every_flush};
use retention_tests::world::{Stage, Stepped, World, policy};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const POLICY: &str = "archive";

fn restricting() -> String {
    let text = policy(POLICY, "P0D").replace("kind = \"purge\"\nquarantine = \"P0D\"", "kind = \"restrict\"");
    text.replace("[export]\nrequired = true\nformats = [\"jsonl\", \"csv\"]\n", "")
}

/// A policy that restricts after a year, and one that purges after three.
fn world() -> World {
    let mut world = World::new("P0D");
    world.write_policy(POLICY, &restricting());
    world.write_policy("contacts", &policy("contacts", "P0D").replace("period = \"P1Y\"", "period = \"P3Y\""));
    world.settle();
    world
}

fn hides(world: &World, entity: EntityId) -> bool {
    world.store().view(|views| views.small.restrictions.hides(entity))
}

/// Plans the policy now: how many items it has, and how many it passes by because their use has ended.
fn planned(world: &mut World) -> (u64, u64) {
    let plan = world.request_plan(POLICY).unwrap();
    world.settle();
    world.store().view(|views| {
        let frozen = views.small.plans.get(plan).unwrap().frozen.as_ref().unwrap();
        let ended = frozen.kept.iter().find(|kept| kept.reason == "use_ended").map_or(0, |kept| kept.count);
        (frozen.items, ended)
    })
}

fn is_past_pivot(world: &World) -> bool {
    let is_pivot = |event: &Event| matches!(event, Event::StepStarted(body) if body.step == Step::Restrict);
    world.log().iter().any(|recorded| recorded.event().is_some_and(is_pivot))
}

fn restriction_of(world: &World, entity: EntityId) -> RestrictionId {
    world.store().view(|views| views.small.restrictions.by_policy(entity)).expect("a restriction")
}

/// Runs the policy once, and returns its run.
fn run(world: &mut World, policy: &str) -> RunId {
    let (_, run) = world.approved_run(policy);
    world.finish();
    assert_eq!(world.run_state(run), RunState::Completed, "{}", world.story());
    run
}

#[test]
fn what_is_due_is_kept_whole_and_hidden_once_and_a_purge_takes_it_later() {
    let mut world = world();
    let (old, new) = (world.add("a", "2024-06-01"), world.add("b", "2026-01-01"));
    world.settle();
    let record = world.store().record(old).unwrap();
    assert_eq!(planned(&mut world), (1, 0));
    let first = run(&mut world, POLICY);
    assert_eq!([old, new].map(|entity| hides(&world, entity)), [true, false], "{}", world.story());
    assert_eq!((world.state_of(old), world.bundles()), (EntityState::Visible, 0));
    assert_eq!(world.store().record(old).unwrap(), record);
    let restricted = |world: &World| {
        world.store().view(|views| {
            let run = views.small.runs.run(first).unwrap();
            run.sagas.iter().map(|saga| views.small.runs.saga(*saga).unwrap().restricted()).sum::<u64>()
        })
    };
    assert_eq!(restricted(&world), 1);
    // Another plan passes it by, and says so.
    assert_eq!(planned(&mut world), (0, 1));
    // It is no reason to keep.
    world.clock.advance(DAY * 1_000);
    world.confirm_clock();
    world.settle();
    run(&mut world, "contacts");
    assert_eq!(world.state_of(old), EntityState::Purged, "{}", world.story());
    assert!(!hides(&world, old));
    world.lose_sled();
    world.check();
    assert_eq!(restricted(&world), 1);
}

#[test]
fn what_a_person_brings_back_is_restricted_again_only_after_it_was_changed() {
    let mut world = world();
    let (one, other) = (world.add("a", "2024-06-01"), world.add("b", "2024-06-01"));
    world.settle();
    run(&mut world, POLICY);
    let restriction = restriction_of(&world, one);
    assert_eq!(restriction_of(&world, other), restriction);
    world.lift(restriction, &[one]);
    world.settle();
    assert_eq!([one, other].map(|entity| hides(&world, entity)), [false, true]);
    assert_eq!(planned(&mut world), (0, 1), "{}", world.story());
    world.change(one, "else");
    world.settle();
    assert_eq!(planned(&mut world), (1, 1), "{}", world.story());
    run(&mut world, POLICY);
    assert!(hides(&world, one) && restriction_of(&world, one) != restriction);
    // The first is in force for the other alone, until that is lifted, too.
    world.lift(restriction, &[]);
    let in_force = world.store().view(|views| views.small.restrictions.get(restriction).is_some());
    assert!(!in_force && !hides(&world, other) && hides(&world, one));
    world.lose_sled();
    world.check();
}

#[test]
fn what_is_left_of_a_redaction_stays_hidden() {
    let mut world = world();
    let old = world.add("a", "2024-06-01");
    world.settle();
    run(&mut world, POLICY);
    let redact = policy("contacts", "P0D")
        .replace("kind = \"purge\"", "kind = \"redact\"\nfields = { display_name = \"remove\" }")
        .replace("{ created = 2020-01-01T00:00:00Z }", "{ created = 2020-01-01T00:00:00Z, display_name = \"x\" }");
    world.write_policy("contacts", &redact);
    world.settle();
    run(&mut world, "contacts");
    let left = world.store().view(|views| views.small.redactions.successor(old)).expect("what is left");
    assert!(hides(&world, left) && !hides(&world, old), "{}", world.story());
    assert_eq!(planned(&mut world), (0, 1));
    world.lose_sled();
    world.check();
}

#[test]
fn a_restriction_of_which_nothing_is_left_is_over() {
    let mut world = world();
    let (one, other) = (world.add("a", "2020-01-01"), world.add("b", "2020-01-01"));
    world.settle();
    run(&mut world, POLICY);
    let restriction = restriction_of(&world, one);
    let count = |world: &World| {
        world.store().view(|views| views.small.restrictions.get(restriction).map(|one| one.entities.len()))
    };
    assert_eq!(count(&world), Some(2));
    world.hold(&[other]);
    run(&mut world, "contacts");
    assert_eq!((world.state_of(one), count(&world)), (EntityState::Purged, Some(1)), "{}", world.story());
    let holds: Vec<_> = world.store().view(|views| views.holds_of(other));
    holds.into_iter().for_each(|hold| world.release(hold));
    world.settle();
    run(&mut world, "contacts");
    assert_eq!((world.state_of(other), count(&world)), (EntityState::Purged, None), "{}", world.story());
    world.lose_sled();
    world.check();
}

#[test]
fn a_hold_or_a_restriction_by_a_person_keeps_it_in_use() {
    let mut world = world();
    let all = [world.add("a", "2024-06-01"), world.add("b", "2024-06-01"), world.add("c", "2024-06-01")];
    world.hold(&all[..1]);
    world.restrict(&all[1..2]);
    world.settle();
    assert_eq!(planned(&mut world), (1, 0), "{}", world.story());
    run(&mut world, POLICY);
    let by_policy = all.map(|entity| world.store().view(|views| views.small.restrictions.by_policy(entity).is_some()));
    assert_eq!(by_policy, [false, false, true]);
}

#[test]
fn a_hold_a_change_or_a_person_at_any_step_before_the_intent_keeps_it_in_use() {
    for happens in [
        |world: &mut World, entity: EntityId| assert!(world.hold(&[entity]).is_some()),
        |world: &mut World, entity: EntityId| world.change(entity, "else"),
        |world: &mut World, entity: EntityId| assert!(world.restrict(&[entity]).is_some()),
    ] {
        for steps in 0.. {
            let mut world = world();
            let due = world.add("a", "2024-06-01");
            world.settle();
            let (_, run) = world.approved_run(POLICY);
            let is_over = world.run_for(steps);
            let was_past_pivot = is_past_pivot(&world);
            happens(&mut world, due);
            world.finish();
            let is_in_use = world.store().view(|views| views.small.restrictions.by_policy(due).is_none());
            assert!(is_in_use || was_past_pivot, "after {steps} steps\n{}", world.story());
            assert_eq!(world.run_state(run), RunState::Completed, "{}", world.story());
            if is_over {
                assert!(steps > 4, "a run takes more than {steps} steps");
                break;
            }
        }
    }
}

#[test]
fn a_policy_that_was_edited_after_its_approval_restricts_nothing() {
    let mut world = world();
    let due = world.add("a", "2024-06-01");
    world.settle();
    let (_, run) = world.approved_run(POLICY);
    // Up to where the saga has begun, and its intent is not recorded.
    while world.store().view(|views| views.small.runs.sagas().next().is_none()) {
        assert!(matches!(world.step(Stage::Run), Stepped::Worked));
    }
    world.write_policy(POLICY, &restricting().replace("period = \"P1Y\"", "period = \"P6M\""));
    world.settle();
    world.finish();
    assert!(!hides(&world, due), "{}", world.story());
    assert_eq!(world.run_state(run), RunState::Completed);
}

/// Returns whether the scenario reached the flush.
fn stop_at(nth: u64, remains: Remains) -> bool {
    let mut world = world();
    let due = [world.add("a", "2024-06-01"), world.add("b", "2024-07-01")];
    let new = world.add("c", "2026-01-01");
    world.settle();
    world.gate.crash_at(nth, remains);
    let before = world.crashes;
    let run = world.drive_to_the_end(POLICY);
    let place = format!("flush {nth}, {remains:?}\n{}", world.story());
    assert_eq!(world.run_state(run), RunState::Completed, "{place}");
    assert_eq!(due.map(|entity| hides(&world, entity)), [true; 2], "{place}");
    assert!(!hides(&world, new), "{place}");
    let by_runs = world
        .store()
        .view(|views| views.small.restrictions.all().filter(|(_, one)| matches!(one.cause, Cause::Policy(..))).count());
    assert_eq!(by_runs, 1, "{place}");
    let is_stopped = world.crashes > before;
    world.reopen();
    world.check();
    is_stopped
}

#[test]
fn a_restriction_survives_a_crash_at_every_flush() {
    for remains in Remains::ALL {
        at_every_flush("a restriction", remains, 10, stop_at);
    }
}

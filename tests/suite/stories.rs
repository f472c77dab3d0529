//! Golden stories: the log of a purge, one line an event, is the expected file. `RETENTION_STORIES=write` writes the
//! files anew, and the test then fails, so that nobody does it unseen.

use std::time::Duration;

use retention_core::event::subject::RequestEnd;
use retention_core::view::{EntityState, RunState};
use retention_tests::story::told_as;
use retention_tests::world::{APPROVER, World, policy};
use retentiond::store::vault::KeyState;

#[test]
fn one_purge() {
    let mut world = World::new("P7D");
    world.add("a", "2020-01-01");
    world.add("b", "2021-01-01");
    world.add("c", "2025-12-01");
    world.settle();
    world.approved_run("contacts");
    world.finish();
    told_as("purge", &world.story());
}

#[test]
fn one_purge_that_a_hold_and_a_change_narrow_down() {
    let mut world = World::new("P7D");
    let held = world.add("a", "2020-01-01");
    let changed = world.add("b", "2021-01-01");
    world.add("c", "2022-01-01");
    world.settle();
    world.approved_run("contacts");
    world.settle();
    world.hold(&[held]);
    world.change(changed, "again");
    world.finish();
    told_as("purge-with-drift", &world.story());
}

/// A person asks for erasure; a hold keeps one record. She is answered, and the rest follows when the hold is over.
#[test]
fn an_erasure_that_is_refused_in_part_and_taken_up_again() {
    let mut world = World::new("P7D");
    let (first, held) = (world.add("a", "2026-01-01"), world.add("b", "2026-01-02"));
    world.settle();
    let hold = world.hold(&[held]).unwrap();
    let request = world.ask_for_erasure().unwrap();
    world.identify(request, &[first, held]);
    world.settle();
    world.approve(world.plans_of(request)[0], APPROVER);
    world.finish();
    world.complete(request, RequestEnd::RefusedInPart);
    world.finish();
    world.release(hold);
    world.finish();
    world.approve(world.plans_of(request)[1], APPROVER);
    world.finish();
    told_as("erasure-refused-in-part", &world.story());
}

/// Too much falls due at once. The plan stops before its first effect; only an approval of that very plan lets it run.
#[test]
fn a_guard_that_tripped_and_was_overridden() {
    let mut world = World::new("P0D");
    world.write_policy("contacts", &policy("contacts", "P0D").replace("max_items = 100", "max_items = 2"));
    for (id, created) in [("a", "2020-01-01"), ("b", "2020-01-02"), ("c", "2020-01-03")] {
        world.add(id, created);
    }
    world.settle();
    let plan = world.request_plan("contacts").unwrap();
    world.settle();
    world.request_run(plan);
    world.settle();
    world.approve(plan, APPROVER);
    world.request_run(plan);
    world.finish();
    told_as("guard-overridden", &world.story());
}

/// A period is made shorter. What is newly due waits for a person, although the policy used to run alone.
#[test]
fn a_policy_that_was_shortened() {
    let alone =
        policy("contacts", "P0D").replace("required = true\ncount = 1\nvalid_for = \"P1D\"", "required = false");
    let mut world = World::new("P0D");
    world.write_policy("contacts", &alone);
    world.add("a", "2020-01-01");
    world.add("b", "2025-12-01");
    world.settle();
    world.approved_run("contacts");
    world.finish();
    world.write_policy("contacts", &alone.replace("\"P1Y\"", "\"P1M\""));
    world.settle();
    let plan = world.request_plan("contacts").unwrap();
    world.settle();
    world.request_run(plan);
    world.finish();
    world.approve(plan, APPROVER);
    world.request_run(plan);
    world.finish();
    told_as("policy-shortened", &world.story());
}

/// Two people are purged by a policy after the backup. The store is lost; from the backup and the ledger of erasures it
/// comes back without them, only observes until a person confirms it, and then goes on with what is due.
#[test]
fn a_restore_that_brings_nobody_back_who_was_erased() {
    let mut world = World::new("P0D");
    let erased = [world.add("a", "2020-01-01"), world.add("b", "2021-01-01")];
    let later = world.add("c", "2025-02-01");
    world.settle();
    world.back_up();
    world.approved_run("contacts");
    world.finish();
    world.tell_ledger();
    assert_eq!(erased.map(|entity| world.state_of(entity)), [EntityState::Purged; 2]);
    world.restore_from_backup();
    assert_eq!(erased.map(|entity| world.state_of(entity)), [EntityState::Purged; 2], "{}", world.story());
    assert!(erased.iter().all(|entity| world.store().key_of(*entity).unwrap() == KeyState::Destroyed));
    world.clock.advance(Duration::from_secs(30 * 24 * 60 * 60));
    world.confirm_clock();
    let (_, run) = world.approved_run("contacts");
    world.settle();
    assert_eq!(world.state_of(later), EntityState::Visible, "it only observes");
    world.confirm_restore();
    world.finish();
    assert_eq!(world.run_state(run), RunState::Completed);
    assert_eq!(world.state_of(later), EntityState::Purged);
    told_as("restore-without-the-erased", &world.story());
}

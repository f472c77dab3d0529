//! Bundles that a policy keeps for a time only: they go when it is over, never before, and never while a hold covers
//! what they hold copies of.

use std::fs;
use std::time::Duration;

use retention_core::event::Event;
use retention_core::id::EntityId;
use retention_core::view::EntityState;
use retention_tests::world::{Stage, Stepped, World, policy};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn keeping(keep: &str) -> String {
    policy("contacts", "P0D")
        .replace("required = true\nformats", &format!("keep = \"{keep}\"\nrequired = true\nformats"))
}

/// One record, purged; its bundle is kept for 90 days.
fn purged() -> (World, EntityId) {
    let mut world = World::new("P0D");
    world.write_policy("contacts", &keeping("P90D"));
    let record = world.add("a", "2020-01-01");
    world.settle();
    let _run = world.approved_run("contacts");
    world.settle();
    assert_eq!((world.state_of(record), world.bundles()), (EntityState::Purged, 1), "{}", world.story());
    (world, record)
}

fn days_pass(world: &mut World, days: u32) {
    world.clock.advance(DAY * days);
    world.settle();
}

#[test]
fn a_bundle_goes_when_its_policy_keeps_it_no_longer_and_not_before() {
    let (mut world, _) = purged();
    days_pass(&mut world, 89);
    assert_eq!(world.bundles(), 1, "{}", world.story());
    days_pass(&mut world, 3);
    assert_eq!(world.export_entries(), 0, "{}", world.story());
    let gone =
        |event: &Event| matches!(event, Event::BundleDestroyed(body) if body.was_there && body.request.is_none());
    assert!(world.log().iter().any(|recorded| recorded.event().is_some_and(gone)));
    world.reopen();
    days_pass(&mut world, 1);
    world.check();
}

#[test]
fn a_policy_that_is_edited_later_changes_nothing_for_older_bundles() {
    for later in [keeping("P1D"), keeping("P9Y"), policy("contacts", "P0D")] {
        let (mut world, _) = purged();
        world.write_policy("contacts", &later);
        days_pass(&mut world, 80);
        assert_eq!(world.bundles(), 1, "{}", world.story());
        days_pass(&mut world, 12);
        assert_eq!(world.bundles(), 0, "{}", world.story());
    }
}

#[test]
fn a_bundle_of_a_policy_that_says_nothing_stays() {
    let mut world = World::new("P0D");
    let _record = world.add("a", "2020-01-01");
    world.settle();
    let _run = world.approved_run("contacts");
    world.settle();
    days_pass(&mut world, 4_000);
    assert_eq!(world.bundles(), 1);
}

#[test]
fn a_hold_keeps_the_last_copy_of_what_it_covers() {
    let (mut world, record) = purged();
    let hold = world.hold(&[record]).unwrap();
    days_pass(&mut world, 200);
    assert_eq!(world.bundles(), 1, "{}", world.story());
    world.release(hold);
    days_pass(&mut world, 1);
    assert_eq!(world.bundles(), 0, "{}", world.story());
}

#[test]
fn no_copy_of_a_paused_data_subject_is_destroyed() {
    let (mut world, record) = purged();
    let request = world.ask_for_erasure().unwrap();
    world.identify(request, &[record]).unwrap();
    let scope = retention_core::event::hold::PauseScope::Request(request);
    world.pause_disposal(scope.clone());
    days_pass(&mut world, 200);
    assert_eq!(world.bundles(), 1, "{}", world.story());
    world.resume_disposal(scope);
    days_pass(&mut world, 1);
    assert_eq!(world.bundles(), 0, "{}", world.story());
}

#[test]
fn nothing_is_destroyed_while_everything_is_paused() {
    let (mut world, _) = purged();
    world.pause_disposal(retention_core::event::hold::PauseScope::All);
    days_pass(&mut world, 200);
    assert_eq!(world.bundles(), 1, "{}", world.story());
    world.resume_disposal(retention_core::event::hold::PauseScope::All);
    days_pass(&mut world, 1);
    assert_eq!(world.bundles(), 0, "{}", world.story());
}

/// What the log says of bundles whose time was over: whether each was there.
fn were_there(world: &World) -> Vec<bool> {
    let was_there = |event: &Event| match event {
        Event::BundleDestroyed(body) => Some(body.was_there),
        _ => None,
    };
    world.log().iter().filter_map(|recorded| recorded.event().and_then(was_there)).collect()
}

#[test]
fn a_bundle_that_is_not_there_when_its_time_is_over_is_looked_for_for_a_week() {
    for is_mounted_again in [true, false] {
        let (mut world, _) = purged();
        let (exports, away) = (world.exports(), world.exports().with_file_name("away"));
        world.clock.advance(DAY * 92);
        // As if the file system of the exports were not mounted.
        fs::rename(&exports, &away).unwrap();
        fs::create_dir(&exports).unwrap();
        assert!(matches!(world.step(Stage::Run), Stepped::Until(_)), "{}", world.story());
        world.clock.advance(DAY * 3);
        assert!(matches!(world.step(Stage::Run), Stepped::Until(_)), "{}", world.story());
        assert_eq!(were_there(&world), [false; 0]);
        if is_mounted_again {
            fs::remove_dir(&exports).unwrap();
            fs::rename(&away, &exports).unwrap();
        }
        days_pass(&mut world, 5);
        assert_eq!(were_there(&world), [is_mounted_again], "{}", world.story());
        assert_eq!(world.export_entries(), 0, "{}", world.story());
    }
}

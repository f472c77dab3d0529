//! Golden stories: the log of a purge, one line an event, is the expected file. `RETENTION_STORIES=write` writes the
//! files anew, and the test then fails, so that nobody does it unseen.

use retention_tests::story::told_as;
use retention_tests::world::World;

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

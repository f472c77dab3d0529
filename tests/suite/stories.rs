//! Golden stories: the log of a purge, one line an event, is the expected file. `RETENTION_STORIES=write` writes the
//! files anew, and the test then fails, so that nobody does it unseen.

use std::path::Path;

use retention_tests::world::World;

fn told_as(name: &str, story: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/transcripts").join(format!("{name}.txt"));
    if std::env::var_os("RETENTION_STORIES").is_some() {
        std::fs::write(&path, story).unwrap();
        panic!("{} was written anew: read it, and run the tests again", path.display());
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(story, expected, "the story differs from {}", path.display());
}

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

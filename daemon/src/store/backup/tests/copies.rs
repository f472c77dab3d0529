//! How long the copies of keys stay.

use super::*;

#[test]
fn copies_of_keys_end_and_so_does_what_a_crash_left() {
    let world = World::new();
    let manifest = world.backed_up();
    std::fs::create_dir(world.places.keys.join(numbered(Position(7)))).unwrap();
    std::fs::write(world.places.keys.join(numbered(Position(7))).join("slots.0000"), b"left by a crash").unwrap();
    std::fs::write(world.places.keys.join("README"), b"not ours").unwrap();
    assert_eq!(
        make::remove_ended_keys(&world.places, &world.index_key(), UNTIL, LastCopy::Goes).unwrap(),
        [Position(7)]
    );
    assert!(manifest.has_keys(&world.places));
    assert_eq!(
        make::remove_ended_keys(&world.places, &world.index_key(), Timestamp(UNTIL.0 + 1), LastCopy::Goes).unwrap(),
        [manifest.last]
    );
    assert!(!manifest.has_keys(&world.places) && world.places.keys.join("README").exists());
    let refused = world.restore(&world.elsewhere("late"), Ledgers::None);
    assert!(matches!(refused, Err(BackupError::KeysGone { .. })), "{refused:?}");
}

#[test]
fn a_store_removes_copies_of_its_own_keys_alone_and_none_while_nobody_can_tell_whose_they_are() {
    let world = World::new();
    let manifest = world.backed_up();
    let late = Timestamp(UNTIL.0 + 1);
    // Made by mistake where the other one was lost.
    let other = World::new();
    let store = open(&other.options);
    assert_eq!(store.remove_ended_keys(&world.places, late, LastCopy::Goes).unwrap(), []);
    store.close().unwrap();
    let store = open(&world.options);
    assert_eq!(store.remove_ended_keys(&world.places, UNTIL, LastCopy::Goes).unwrap(), []);
    // As if the disk with the log were not mounted.
    let away = world.dir.path().join("away");
    std::fs::rename(&world.places.log, &away).unwrap();
    assert_eq!(store.remove_ended_keys(&world.places, late, LastCopy::Goes).unwrap(), []);
    assert_eq!(make::remove_ended_keys(&world.places, &world.index_key(), late, LastCopy::Goes).unwrap(), []);
    std::fs::rename(&away, &world.places.log).unwrap();
    assert!(manifest.has_keys(&world.places));
    assert_eq!(store.remove_ended_keys(&world.places, late, LastCopy::Goes).unwrap(), [manifest.last]);
    assert!(!manifest.has_keys(&world.places));
}

#[test]
fn the_last_copy_of_keys_stays_while_no_other_can_be_made_and_the_earlier_ones_go() {
    let world = World::new();
    let first = world.backed_up();
    let store = open(&world.options);
    let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
    add_contacts(&store, layout, 300..310);
    let second = world.backup(&store);
    // Left by a crash: no backup is brought back with it.
    std::fs::create_dir(world.places.keys.join(numbered(Position(u64::MAX >> 1)))).unwrap();
    let late = Timestamp(UNTIL.0 + 1);
    let ended = store.remove_ended_keys(&world.places, late, LastCopy::Stays).unwrap();
    assert_eq!(ended, [first.last, Position(u64::MAX >> 1)]);
    assert!(second.has_keys(&world.places));
    assert_eq!(store.remove_ended_keys(&world.places, late, LastCopy::Stays).unwrap(), []);
    assert_eq!(store.remove_ended_keys(&world.places, late, LastCopy::Goes).unwrap(), [second.last]);
}

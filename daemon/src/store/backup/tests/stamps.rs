//! Manifests that this store did not write, and those from before there were stamps.

use retention_core::event::backup::BackupMade;
use retention_core::view::Condition;

use super::*;
use crate::store::open::daemon_draft;

/// Says of a manifest that it holds the keys for longer, as whoever may write to the directory of the log can.
fn forge(world: &World, last: Position) {
    let path = world.places.manifest_of(last);
    let text = std::fs::read_to_string(&path).unwrap();
    let forged = text.replace(&UNTIL.to_string(), &Timestamp(UNTIL.0 * 2).to_string());
    assert_ne!(forged, text);
    std::fs::write(path, forged).unwrap();
}

fn stamp_beside(world: &World, last: Position) -> PathBuf {
    world.places.manifests().join(format!("{}.stamp", numbered(last)))
}

fn stamp_in_keys(world: &World, last: Position) -> PathBuf {
    world.places.keys_of(last).join("manifest.stamp")
}

fn remove(paths: &[PathBuf]) {
    paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
}

fn two_backups(world: &World) -> (Manifest, Manifest) {
    let store = open(&world.options);
    let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
    let first = world.backup(&store);
    add_contacts(&store, layout, 300..310);
    let second = world.backup(&store);
    store.close().unwrap();
    (first, second)
}

#[test]
fn a_backup_of_which_the_store_did_not_write_the_manifest_is_not_restored() {
    let world = World::new();
    let (first, second) = two_backups(&world);
    let restore = |name: &str| world.restore(&world.elsewhere(name), Ledgers::None).map(|told| told.heard);
    let is_refused = |says: &str| {
        let refused = restore(says);
        assert!(matches!(refused, Err(BackupError::Forged { last }) if last == second.last), "{says}: {refused:?}");
        assert!(matches!(Store::open(&world.elsewhere(says), &mut |_, _| {}), Err(OpenError::Absent)));
    };
    assert_eq!(restore("as it was").unwrap(), []);
    // One of the two stamps is enough, and neither may be another one.
    let beside = std::fs::read(stamp_beside(&world, second.last)).unwrap();
    remove(&[stamp_beside(&world, second.last)]);
    assert_eq!(restore("the stamp in the keys").unwrap(), []);
    let text = std::fs::read(world.places.manifest_of(second.last)).unwrap();
    forge(&world, second.last);
    is_refused("changed, and its stamp taken away");
    std::fs::write(stamp_beside(&world, second.last), beside).unwrap();
    is_refused("changed");
    remove(&[stamp_in_keys(&world, second.last)]);
    is_refused("changed, and the stamp in the keys taken away");
    std::fs::write(world.places.manifest_of(second.last), text).unwrap();
    assert_eq!(restore("the stamp beside it").unwrap(), []);
    std::fs::copy(stamp_beside(&world, first.last), stamp_beside(&world, second.last)).unwrap();
    is_refused("the stamp of another backup");

    remove(&[stamp_beside(&world, second.last)]);
    let refused = restore("without any stamp");
    let is_told = matches!(
        refused,
        Err(BackupError::Unstamped { last, stamped }) if (last, stamped) == (second.last, first.last)
    );
    assert!(is_told, "{refused:?}");
}

#[test]
fn backups_from_before_there_were_stamps_are_restored_and_this_is_said() {
    let world = World::new();
    let (first, second) = two_backups(&world);
    for last in [first.last, second.last] {
        remove(&[stamp_beside(&world, last), stamp_in_keys(&world, last)]);
    }
    let restored = |name: &str, backup: Position| {
        let options = world.elsewhere(name);
        let restore = Restore { backup: Some(backup), ..world.to_restore(&options) };
        restore.run(&mut |_, _| {}).map(|told| told.heard)
    };
    assert_eq!(restored("newest", second.last).unwrap(), [Heard::Unstamped { last: second.last }]);
    let unstamped = |last| Heard::Unstamped { last };
    let heard = [unstamped(first.last), unstamped(second.last), Heard::Newer { last: second.last }];
    assert_eq!(restored("older", first.last).unwrap(), heard);
    // The next one is stamped, and from then on all are.
    let store = open(&world.options);
    let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
    add_contacts(&store, layout, 310..320);
    let third = world.backup(&store);
    assert_eq!(restored("stamped", third.last).unwrap(), []);
    add_contacts(&store, layout, 320..330);
    let fourth = world.backup(&store);
    store.close().unwrap();
    remove(&[stamp_beside(&world, fourth.last), stamp_in_keys(&world, fourth.last)]);
    let refused = restored("never", third.last);
    let is_told = matches!(
        &refused,
        Err(BackupError::Newer { last, why })
            if *last == fourth.last && matches!(**why, BackupError::Unstamped { stamped, .. } if stamped == third.last)
    );
    assert!(is_told, "{refused:?}");
}

#[test]
fn nobody_is_left_out_because_of_a_newer_backup_that_the_store_did_not_write() {
    let world = World::new();
    let (_, second) = two_backups(&world);
    // In a copy of the store somebody erases whom they like, and they put the copy's log where they may write.
    let copy = world.elsewhere("a copy");
    crate::store::tests::copy_dir(&world.options.dir, &copy.dir);
    let store = open(&copy);
    purge(&store, &world.entities[40..45]);
    let elsewhere = Places { log: world.dir.path().join("log 2"), keys: world.dir.path().join("keys 2") };
    let (forged, _) = store.backup(&elsewhere, UNTIL, &Keyholders::default(), None, &mut |_, _| {}).unwrap();
    store.close().unwrap();
    std::fs::copy(elsewhere.journal().join("00000001.seg"), world.places.journal().join("00000001.seg")).unwrap();
    let text = std::fs::read_to_string(elsewhere.manifest_of(forged.last)).unwrap();
    let restore = |name: &str, without_newer| {
        let options = world.elsewhere(name);
        let restore = Restore { backup: Some(second.last), without_newer, ..world.to_restore(&options) };
        restore.run(&mut |_, _| {}).map(|told| (options.clone(), told))
    };
    for text in [text.clone(), text.replace(&UNTIL.to_string(), &Timestamp(UNTIL.0 * 2).to_string())] {
        std::fs::write(world.places.manifest_of(forged.last), text).unwrap();
        let refused = restore("never", false).map(drop);
        assert!(matches!(&refused, Err(BackupError::Newer { last, .. }) if *last == forged.last), "{refused:?}");
    }
    let (options, told) = restore("passed over", true).unwrap();
    assert!(matches!(&told.heard[..], [Heard::PassedOver { last, .. }] if *last == forged.last), "{:?}", told.heard);
    assert_eq!(told.destroyed_again, 0);
    assert!(world.entities[40..45].iter().all(|entity| is_live(&open(&options), *entity)));
}

#[test]
fn a_backup_takes_over_nothing_that_another_wrote_and_rests_on_none_that_was_changed() {
    let world = World::new();
    let first = world.backed_up();
    let store = open(&world.options);
    forge(&world, first.last);
    let backup = || store.backup(&world.places, UNTIL, &Keyholders::default(), None, &mut |_, _| {}).map(|made| made.0);
    let refused = backup();
    assert!(matches!(refused, Err(BackupError::Forged { last }) if last == first.last), "{refused:?}");
    // As if it came from before there were stamps. It says of a segment that it is closed, and of what it is not.
    remove(&[stamp_beside(&world, first.last), stamp_in_keys(&world, first.last)]);
    let text = std::fs::read_to_string(world.places.manifest_of(first.last)).unwrap();
    let mut forged: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut second_segment = forged["journal"][0].clone();
    second_segment["name"] = "00000002.seg".into();
    forged["journal"].as_array_mut().unwrap().push(second_segment);
    forged["journal"][0]["sha256"] = "7".repeat(64).into();
    std::fs::write(world.places.manifest_of(first.last), forged.to_string()).unwrap();
    assert_ne!(Manifest::read(&world.places, first.last).unwrap().journal[0].sha256, first.journal[0].sha256);
    let second = backup().unwrap();
    assert_eq!(second.journal[0].sha256, first.journal[0].sha256);
    second.check_log(&world.places, &world.options.halt, &mut |_| {}).unwrap();
    store.close().unwrap();
    assert_eq!(world.restore(&world.elsewhere("restored"), Ledgers::None).unwrap().heard, []);
}

#[test]
fn copies_of_keys_of_which_somebody_changed_until_when_they_are_kept_are_told() {
    let world = World::new();
    let manifest = world.backed_up();
    let (key, late) = (world.index_key(), Timestamp(UNTIL.0 + 1));
    make::refuse_forged(&world.places, &key).unwrap();
    forge(&world, manifest.last);
    assert_eq!(make::remove_ended_keys(&world.places, &key, late, LastCopy::Goes).unwrap(), []);
    let told = make::refuse_forged(&world.places, &key);
    assert!(matches!(told, Err(BackupError::Forged { last }) if last == manifest.last), "{told:?}");
}

#[test]
fn the_log_tells_which_manifest_it_wrote_also_without_a_stamp() {
    let world = World::new();
    let store = open(&world.options);
    let places = &world.places;
    let (made, digest) = store.backup(places, UNTIL, &Keyholders::default(), None, &mut |_, _| {}).unwrap();
    assert_eq!(store.is_told(places, made.last).unwrap(), None);
    let event = Event::BackupMade(BackupMade { last: made.last, manifest: digest, keys_until: UNTIL });
    store.append_drafts(vec![daemon_draft(event)], Condition::None).unwrap();
    assert_eq!(store.is_told(places, made.last).unwrap(), Some(true));
    forge(&world, made.last);
    assert_eq!(store.is_told(places, made.last).unwrap(), Some(false));
}

#[test]
fn a_stamp_that_an_attempt_left_goes_with_the_next_one() {
    let world = World::new();
    let (first, second) = two_backups(&world);
    let left = stamp_beside(&world, Position(7));
    std::fs::write(&left, "of a backup that was never made").unwrap();
    let store = open(&world.options);
    let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
    add_contacts(&store, layout, 310..320);
    let third = world.backup(&store);
    store.close().unwrap();
    assert!(!left.exists());
    let names: Vec<PathBuf> = [first, second, third].iter().map(|made| stamp_beside(&world, made.last)).collect();
    assert!(names.iter().all(|path| path.exists()));
}

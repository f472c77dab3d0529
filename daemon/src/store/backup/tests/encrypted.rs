//! Backups that are encrypted to keys of people.

use super::*;

fn restore_as(world: &World, name: &str, backup: Position, identities: &Identities) -> Result<Options, BackupError> {
    let options = world.elsewhere(name);
    let restore = Restore {
        backup: Some(backup),
        without_newer: true,
        identities: identities.clone(),
        ..world.to_restore(&options)
    };
    restore.run(&mut |_, _| {})?;
    Ok(options)
}

#[test]
fn an_encrypted_backup_comes_back_with_the_private_key_alone() {
    let world = World::new();
    let (holders, secret) = pair();
    let store = open(&world.options);
    let (manifest, _) = store.backup(&world.places, UNTIL, &holders, None, &mut |_, _| {}).unwrap();
    let expected = picture(&store).1;
    store.close().unwrap();
    assert!(manifest.is_encrypted());
    manifest.check_log(&world.places, &world.options.halt, &mut |_| {}).unwrap();
    manifest.check_keys(&world.places, &world.options.halt).unwrap();
    let slots = std::fs::read(world.options.dir.join("keys/slots.0000")).unwrap();
    let journal = std::fs::read(world.options.dir.join("journal/00000001.seg")).unwrap();
    for file in [files_under(&world.places.log), files_under(&world.places.keys)].concat() {
        let bytes = std::fs::read(&file).unwrap();
        for plain in [&slots[64 * 9..64 * 10], &journal[64..128]] {
            assert!(!bytes.windows(plain.len()).any(|window| window == plain), "{} is not encrypted", file.display());
        }
    }
    for stranger in [Identities::default(), pair().1] {
        let refused = restore_as(&world, "never", manifest.last, &stranger).map(|_| ());
        assert!(matches!(refused, Err(BackupError::Encrypted { .. })), "{refused:?}");
    }
    let options = restore_as(&world, "restored", manifest.last, &secret).unwrap();
    let store = open(&options);
    assert_eq!(picture(&store).1[..expected.len()], expected);
    assert!(is_live(&store, world.entities[9]) && !is_live(&store, world.entities[5]));
    assert_eq!(store.verify(&mut |_, _| {}).unwrap().findings, []);
}

#[test]
fn a_flipped_byte_in_an_encrypted_backup_restores_nothing() {
    let world = World::new();
    let (holders, secret) = pair();
    let store = open(&world.options);
    let (manifest, _) = store.backup(&world.places, UNTIL, &holders, None, &mut |_, _| {}).unwrap();
    store.close().unwrap();
    for part in manifest
        .journal
        .iter()
        .map(|part| world.places.journal().join(part.file_name()))
        .chain(manifest.keys.iter().map(|part| world.places.keys_of(manifest.last).join(part.file_name())))
    {
        let bytes = std::fs::metadata(&part).unwrap().len();
        for at in [0, bytes / 2, bytes - 1] {
            flip(&part, at);
            let refused = restore_as(&world, "never", manifest.last, &secret).map(|_| ());
            assert!(matches!(refused, Err(BackupError::Changed { .. })), "{} {at}: {refused:?}", part.display());
            flip(&part, at);
        }
    }
    restore_as(&world, "good", manifest.last, &secret).unwrap();
}

#[test]
fn whoever_may_read_backups_can_change_and_each_comes_back_with_its_own_key() {
    let world = World::new();
    let store = open(&world.options);
    let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
    let (one, other) = (pair(), pair());
    let nobody = (Keyholders::default(), Identities::default());
    let mut made = Vec::new();
    for (from, (holders, secret)) in (1_000..).step_by(10).zip([&nobody, &one, &one, &other, &nobody, &one]) {
        add_contacts(&store, layout, from..from + 10);
        made.push((store.backup(&world.places, UNTIL, holders, None, &mut |_, _| {}).unwrap().0.last, secret));
    }
    store.close().unwrap();
    for (n, (last, secret)) in made.iter().enumerate() {
        let manifest = Manifest::read(&world.places, *last).unwrap();
        manifest.check_log(&world.places, &world.options.halt, &mut |_| {}).unwrap();
        let options = restore_as(&world, &format!("restored {n}"), *last, secret).unwrap();
        assert_eq!(open(&options).view(|views| views.position), last.next());
    }
    // The copies of keys of all but the newest are over: their logs lie in other files than its own, and go too.
    let newest = made.last().unwrap().0;
    for (last, _) in &made[..made.len() - 1] {
        durable_file::discard_dir(&world.places.keys_of(*last), "keys").unwrap();
    }
    make::remove_superseded(&world.places, Timestamp(UNTIL.0 + 1)).unwrap();
    assert_eq!(Manifest::list(&world.places).unwrap(), [newest]);
    assert_eq!(files_under(&world.places.journal()).len(), 1);
    restore_as(&world, "the newest", newest, &one.1).unwrap();
}

//! Logs beside the backup that know of erasures after it: newer backups, and the store that was lost.

use super::super::manifest::later_segment_name;
use super::*;
use crate::store::tests::copy_dir;

/// What is restored beside other logs.
struct Asked<'a> {
    name: &'a str,
    backup: Position,
    without_newer: bool,
    ledgers: Ledgers,
    lost: Vec<PathBuf>,
    identities: Identities,
}

impl<'a> Asked<'a> {
    fn of(name: &'a str, backup: Position) -> Self {
        let identities = Identities::default();
        Self { name, backup, without_newer: false, ledgers: Ledgers::None, lost: Vec::new(), identities }
    }
}

fn restored(world: &World, asked: Asked<'_>) -> Result<(Options, Restored), BackupError> {
    let options = world.elsewhere(asked.name);
    let restore = Restore {
        options: &options,
        places: &world.places,
        backup: Some(asked.backup),
        ledgers: asked.ledgers,
        without_newer: asked.without_newer,
        lost: asked.lost,
        checkpoints: Vec::new(),
        identities: asked.identities,
    };
    let restored = restore.run(&mut |_, _| {})?;
    Ok((options, restored))
}

/// Says of which of the contacts the key is gone, by their number in the world.
fn gone(world: &World, options: &Options) -> Vec<usize> {
    let store = open(options);
    let gone = (0..world.entities.len()).filter(|n| !is_live(&store, world.entities[*n])).collect();
    assert_eq!(store.verify(&mut |_, _| {}).unwrap().findings, []);
    store.close().unwrap();
    gone
}

fn gone_are(ranges: &[std::ops::Range<usize>]) -> Vec<usize> {
    ranges.iter().cloned().flatten().collect()
}

#[test]
fn whom_a_newer_backup_calls_erased_does_not_come_back_with_an_older_one() {
    let world = World::new();
    let store = open(&world.options);
    let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
    let first = world.backup(&store);
    purge(&store, &world.entities[20..30]);
    let second = world.backup(&store);
    let new = add_contacts(&store, layout, 1_000..1_010);
    purge(&store, &new[..2]);
    purge(&store, &world.entities[30..33]);
    let third = world.backup(&store);
    store.close().unwrap();
    let (options, told) = restored(&world, Asked::of("first", first.last)).unwrap();
    assert_eq!(told.destroyed_again, 13, "and none of those that the backup does not have");
    assert_eq!(told.heard, [Heard::Newer { last: third.last }], "the one between has nothing to add");
    assert_eq!(gone(&world, &options), gone_are(&[5..8, 20..33]));
    let (options, told) = restored(&world, Asked::of("second", second.last)).unwrap();
    assert_eq!((told.destroyed_again, gone(&world, &options)), (3, gone_are(&[5..8, 20..33])));
    let (_, told) = restored(&world, Asked::of("third", third.last)).unwrap();
    assert_eq!((told.destroyed_again, told.heard), (0, Vec::new()));
}

#[test]
fn a_newer_backup_that_cannot_be_read_stops_an_older_one_unless_it_is_passed_over() {
    let world = World::new();
    let store = open(&world.options);
    let first = world.backup(&store);
    purge(&store, &world.entities[20..25]);
    let second = world.backup(&store);
    purge(&store, &world.entities[25..30]);
    let third = world.backup(&store);
    store.close().unwrap();
    let manifest = world.places.manifests().join(format!("{}.json", numbered(third.last)));
    let text = std::fs::read_to_string(&manifest).unwrap();
    let another = text.replace(&third.store, &"7".repeat(32));
    // The same file holds the end of each of the three.
    let segment = world.places.journal().join(segment_of(&third));
    let changes: [(&str, &dyn Fn()); 4] = [
        ("no manifest", &|| std::fs::write(&manifest, "{}").unwrap()),
        ("of another store", &|| std::fs::write(&manifest, &another).unwrap()),
        ("a changed byte", &|| flip(&segment, third.journal[0].bytes - 1)),
        ("as it was", &|| flip(&segment, third.journal[0].bytes - 1)),
    ];
    for (name, change) in changes {
        std::fs::write(&manifest, &text).unwrap();
        change();
        let told = restored(&world, Asked::of(&format!("{name} alone"), first.last)).map(|(_, told)| told);
        if name == "as it was" {
            assert_eq!(told.unwrap().destroyed_again, 10);
            continue;
        }
        let is_refused = matches!(&told, Err(BackupError::Newer { last, .. }) if *last == third.last);
        assert!(is_refused, "{name}: {told:?}");
        let never = world.elsewhere(&format!("{name} alone"));
        assert!(matches!(Store::open(&never, &mut |_, _| {}), Err(OpenError::Absent)));
        let asked = Asked { without_newer: true, ..Asked::of(name, first.last) };
        let (options, told) = restored(&world, asked).unwrap();
        let is_told = matches!(
            &told.heard[..],
            [Heard::PassedOver { last, .. }, Heard::Newer { last: between }]
                if (*last, *between) == (third.last, second.last)
        );
        assert!(is_told, "{name}: {:?}", told.heard);
        assert_eq!(gone(&world, &options), gone_are(&[5..8, 20..25]), "{name}: the one between is heard");
    }
}

#[test]
fn a_newer_backup_that_is_encrypted_is_heard_with_its_private_key_alone() {
    let world = World::new();
    let (holders, secret) = pair();
    let store = open(&world.options);
    let first = world.backup(&store);
    purge(&store, &world.entities[20..30]);
    store.backup(&world.places, UNTIL, &holders, None, &mut |_, _| {}).unwrap();
    store.close().unwrap();
    let refused = restored(&world, Asked::of("never", first.last)).map(|_| ());
    let is_encrypted = matches!(
        &refused,
        Err(BackupError::Newer { why, .. }) if matches!(**why, BackupError::Encrypted { .. })
    );
    assert!(is_encrypted, "{refused:?}");
    let asked = Asked { identities: secret, ..Asked::of("heard", first.last) };
    let (options, told) = restored(&world, asked).unwrap();
    assert_eq!((told.destroyed_again, gone(&world, &options)), (10, gone_are(&[5..8, 20..30])));
}

#[test]
fn a_backup_from_after_a_compaction_is_heard_beside_one_from_before() {
    let world = World::new();
    let store = open(&world.options);
    let first = world.backup(&store);
    purge(&store, &world.entities[20..30]);
    store.close().unwrap();
    let (store, _) = Store::compact(&world.options, &mut |_, _| {}).unwrap();
    let second = world.backup(&store);
    store.close().unwrap();
    let (options, told) = restored(&world, Asked::of("first", first.last)).unwrap();
    assert_eq!((told.destroyed_again, told.heard), (10, vec![Heard::Newer { last: second.last }]));
    assert_eq!(gone(&world, &options), gone_are(&[5..8, 20..30]));
}

#[test]
fn of_a_log_that_went_on_from_an_earlier_event_only_what_both_have_counts() {
    let world = World::new();
    let store = open(&world.options);
    let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
    let first = world.backup(&store);
    let (went_on, _) = restored(&world, Asked::of("went on", first.last)).unwrap();
    let later = add_contacts(&store, layout, 300..320);
    let second = world.backup(&store);
    store.close().unwrap();
    // The other log gives the same numbers to others.
    let store = open(&went_on);
    let others = add_contacts(&store, layout, 400..450);
    assert!(others.contains(&later[0]));
    purge(&store, &[world.entities[50], later[0]]);
    let elsewhere = Places { log: world.dir.path().join("log 2"), keys: world.dir.path().join("keys 2") };
    let (third, _) = store.backup(&elsewhere, UNTIL, &Keyholders::default(), None, &mut |_, _| {}).unwrap();
    store.close().unwrap();
    assert!(third.last > second.last);
    // Somebody puts the copies of both into one directory.
    let name = later_segment_name(1, third.last);
    std::fs::copy(elsewhere.journal().join("00000001.seg"), world.places.journal().join(&name)).unwrap();
    let manifest = format!("{}.json", numbered(third.last));
    let text = std::fs::read_to_string(elsewhere.manifests().join(&manifest)).unwrap().replace("00000001.seg", &name);
    std::fs::create_dir(world.places.keys_of(third.last)).unwrap();
    let door: crate::flush::Door<'_> = (&OpenGate, crate::flush::Flush::Backup);
    super::super::stamp::put(&world.places, third.last, text.as_bytes(), &world.index_key(), door).unwrap();
    std::fs::write(world.places.manifests().join(&manifest), text).unwrap();

    let (options, told) = restored(&world, Asked::of("second", second.last)).unwrap();
    assert_eq!((told.destroyed_again, told.heard), (1, vec![Heard::Newer { last: third.last }]));
    assert_eq!(gone(&world, &options), gone_are(&[5..8, 50..51]));
    assert!(is_live(&open(&options), later[0]), "somebody else had this number when it was erased");
}

#[test]
fn a_ledger_that_lacks_what_a_newer_backup_knows_was_cut() {
    let world = World::new();
    let store = open(&world.options);
    let first = world.backup(&store);
    purge(&store, &world.entities[20..30]);
    let path = world.write_ledger(&store);
    world.backup(&store);
    store.close().unwrap();
    let whole = std::fs::read_to_string(&path).unwrap();
    let cut: String = whole.lines().take(1 + 3 + 4).map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, cut).unwrap();
    let ledgers = Ledgers::Files(vec![path.clone()]);
    let refused = restored(&world, Asked { ledgers: ledgers.clone(), ..Asked::of("never", first.last) }).map(|_| ());
    assert!(matches!(refused, Err(BackupError::Ledger(LedgerError::Short { lacking: 6 }))), "{refused:?}");
    std::fs::write(&path, whole).unwrap();
    let (_, told) = restored(&world, Asked { ledgers, ..Asked::of("restored", first.last) }).unwrap();
    assert_eq!(told.destroyed_again, 10);
}

#[test]
fn whom_the_log_of_the_lost_store_calls_erased_stays_erased_as_far_as_it_can_be_read() {
    let world = World::new();
    let store = open(&world.options);
    let first = world.backup(&store);
    purge(&store, &world.entities[20..25]);
    let half = std::fs::metadata(world.options.dir.join("journal/00000001.seg")).unwrap().len();
    purge(&store, &world.entities[25..30]);
    store.close().unwrap();
    let asked = |name, lost: &Path| Asked { lost: vec![lost.to_owned()], ..Asked::of(name, first.last) };
    let (options, told) = restored(&world, asked("whole", &world.options.dir)).unwrap();
    assert_eq!((told.destroyed_again, gone(&world, &options)), (10, gone_are(&[5..8, 20..30])));
    assert!(matches!(&told.heard[..], [Heard::Lost { damage: None, .. }]), "{:?}", told.heard);

    let torn = world.dir.path().join("torn");
    copy_dir(&world.options.dir, &torn);
    let segment = std::fs::OpenOptions::new().write(true).open(torn.join("journal/00000001.seg")).unwrap();
    segment.set_len(half + 10).unwrap();
    let (options, told) = restored(&world, asked("in part", &torn)).unwrap();
    assert_eq!((told.destroyed_again, gone(&world, &options)), (5, gone_are(&[5..8, 20..25])));
    assert!(matches!(&told.heard[..], [Heard::Lost { damage: Some(_), .. }]), "{:?}", told.heard);

    let another = World::new();
    for lost in [another.options.dir.as_path(), world.dir.path()] {
        let refused = restored(&world, asked("never", lost)).map(|_| ());
        assert!(matches!(refused, Err(BackupError::LostAbsent)), "{refused:?}");
    }
}

#[test]
fn a_store_that_was_moved_aside_is_heard_without_being_named() {
    let world = World::new();
    let store = open(&world.options);
    let first = world.backup(&store);
    purge(&store, &world.entities[20..30]);
    store.close().unwrap();
    let aside = world.dir.path().join("state.broken");
    std::fs::rename(&world.options.dir, &aside).unwrap();
    // Another store, and what is no store at all, have such names too.
    copy_dir(&World::new().options.dir, &world.dir.path().join("state-another"));
    std::fs::create_dir_all(world.dir.path().join("state_empty/journal")).unwrap();
    std::fs::write(world.dir.path().join("state.toml"), "").unwrap();
    let (options, told) = restored(&world, Asked::of("state", first.last)).unwrap();
    assert!(matches!(&told.heard[..], [Heard::Lost { dir, damage: None, .. }] if *dir == aside), "{:?}", told.heard);
    assert_eq!((told.destroyed_again, gone(&world, &options)), (10, gone_are(&[5..8, 20..30])));
}

#[test]
fn what_was_erased_in_a_copy_of_the_store_is_not_erased_here_unless_the_copy_is_named() {
    let world = World::new();
    let store = open(&world.options);
    let first = world.backup(&store);
    store.close().unwrap();
    // Somebody tries things with what was restored from the backup, and with a copy of the directory.
    let (trial, _) = restored(&world, Asked::of("state-trial", first.last)).unwrap();
    let copy = world.elsewhere("state.copy");
    copy_dir(&world.options.dir, &copy.dir);
    for (options, erased) in [(&trial, 50..55), (&copy, 40..45)] {
        let store = open(options);
        purge(&store, &world.entities[erased]);
        store.close().unwrap();
    }
    let store = open(&world.options);
    purge(&store, &world.entities[20..30]);
    let second = world.backup(&store);
    purge(&store, &world.entities[30..32]);
    store.close().unwrap();
    let aside = world.dir.path().join("state.broken");
    std::fs::rename(&world.options.dir, &aside).unwrap();
    for (backup, again) in [(second.last, 2), (first.last, 12)] {
        let (options, told) = restored(&world, Asked::of("state", backup)).unwrap();
        let beside = told.heard.iter().filter(|heard| !matches!(heard, Heard::Newer { .. })).collect::<Vec<_>>();
        let is_told = matches!(
            &beside[..],
            [Heard::Apart { dir: one }, Heard::Lost { dir, damage: None, .. }, Heard::Apart { dir: other }]
                if (one, dir, other) == (&trial.dir, &aside, &copy.dir)
        );
        assert!(is_told, "{:?}", told.heard);
        assert_eq!((told.destroyed_again, gone(&world, &options)), (again, gone_are(&[5..8, 20..32])));
        std::fs::remove_dir_all(&options.dir).unwrap();
    }
    let asked = Asked { lost: vec![trial.dir.clone()], ..Asked::of("named", first.last) };
    let (options, told) = restored(&world, asked).unwrap();
    assert!(matches!(&told.heard[..], [Heard::Newer { .. }, Heard::Lost { .. }]), "{:?}", told.heard);
    assert_eq!(gone(&world, &options), gone_are(&[5..8, 20..30, 50..55]));
}

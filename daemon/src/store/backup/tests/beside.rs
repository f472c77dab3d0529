//! Logs beside the backup that know of erasures after it: newer backups, and the store that was lost.

use super::super::manifest::later_segment_name;
use super::*;
use crate::store::journal::frame::Frame;
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
        backup: Some(asked.backup),
        ledgers: asked.ledgers,
        without_newer: asked.without_newer,
        lost: asked.lost,
        identities: asked.identities,
        ..world.to_restore(&options)
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
    let manifest = world.places.manifest_of(third.last);
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
    let text = std::fs::read_to_string(elsewhere.manifest_of(third.last)).unwrap().replace("00000001.seg", &name);
    std::fs::create_dir(world.places.keys_of(third.last)).unwrap();
    let door: crate::flush::Door<'_> = (&OpenGate, crate::flush::Flush::Backup);
    super::super::stamp::put(&world.places, third.last, text.as_bytes(), &world.index_key(), door).unwrap();
    std::fs::write(world.places.manifest_of(third.last), text).unwrap();

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
    for (backup, again, forgets) in [(second.last, 2, false), (first.last, 12, false), (second.last, 2, true)] {
        // As programs left it that did not write down where it was at home.
        if forgets {
            for dir in [&trial.dir, &copy.dir] {
                std::fs::remove_file(dir.join("home")).unwrap();
            }
        }
        let (options, told) = restored(&world, Asked::of("state", backup)).unwrap();
        let beside: Vec<&Heard> = told.heard.iter().filter(|heard| !matches!(heard, Heard::Newer { .. })).collect();
        let counts_for_nothing = |dir: &PathBuf| match forgets {
            true => Heard::Apart { dir: dir.clone() },
            false => Heard::Elsewhere { dir: dir.clone() },
        };
        let is_told = matches!(
            &beside[..],
            [one, Heard::Lost { dir, damage: None, .. }, other]
                if dir == &aside && (**one == counts_for_nothing(&trial.dir)) && (**other == counts_for_nothing(&copy.dir))
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

#[test]
fn a_restored_store_that_is_lost_again_before_its_next_backup_is_heard_without_being_named() {
    let world = World::new();
    let first = world.backed_up();
    std::fs::remove_dir_all(&world.options.dir).unwrap();
    let at_home = restored(&world, Asked::of("state", first.last)).unwrap().0;
    let trial = restored(&world, Asked::of("state-trial", first.last)).unwrap().0;
    for (options, erased) in [(&at_home, 20..30), (&trial, 50..55)] {
        let store = open(options);
        purge(&store, &world.entities[erased]);
        store.close().unwrap();
    }
    let aside = world.dir.path().join("state.broken");
    std::fs::rename(&at_home.dir, &aside).unwrap();
    // Nobody opened this one: all that it says was written where the store was.
    let rescued = world.dir.path().join("state.rescued");
    copy_dir(&aside, &rescued);
    let (options, told) = restored(&world, Asked::of("state", first.last)).unwrap();
    let is_told = matches!(
        &told.heard[..],
        [Heard::Elsewhere { dir: other }, Heard::Lost { dir, damage: None, .. }, Heard::Lost { dir: copy, damage: None, .. }]
            if (other, dir, copy) == (&trial.dir, &aside, &rescued)
    );
    assert!(is_told, "{:?}", told.heard);
    assert_eq!(gone(&world, &options), gone_are(&[5..8, 20..30]));
    // Where nobody knows where it was, it is told, and has to be named.
    std::fs::remove_dir_all(&options.dir).unwrap();
    std::fs::remove_dir_all(&rescued).unwrap();
    std::fs::remove_file(aside.join("home")).unwrap();
    let (options, told) = restored(&world, Asked::of("state", first.last)).unwrap();
    let is_told = matches!(&told.heard[..], [Heard::Elsewhere { .. }, Heard::Apart { dir }] if *dir == aside);
    assert!(is_told, "{:?}", told.heard);
    assert_eq!(gone(&world, &options), gone_are(std::slice::from_ref(&(5..8))));
    std::fs::remove_dir_all(&options.dir).unwrap();
    let asked = Asked { lost: vec![aside], ..Asked::of("state", first.last) };
    let (options, _) = restored(&world, asked).unwrap();
    assert_eq!(gone(&world, &options), gone_are(&[5..8, 20..30]));
}

/// Cuts the one segment of a journal at the first groups from these positions on, into three, and takes the second away.
fn lose_between(dir: &Path, from: Position, to: Position) {
    let path = dir.join("journal/00000001.seg");
    let bytes = std::fs::read(&path).unwrap();
    let (mut at, mut cuts) = (32, Vec::new());
    while let Some(frame) = Frame::parse(&bytes[at..]) {
        let wanted = [from, to][cuts.len().min(1)];
        if let Some(group) = frame.group().filter(|group| group.first >= wanted)
            && cuts.len() < 2
        {
            cuts.push((at, group.first));
        }
        at += frame.length();
    }
    let [(first, _), (third, position)] = cuts[..] else { unreachable!("there are such groups") };
    let mut segment = bytes[..32].to_vec();
    segment[16..24].copy_from_slice(&position.0.to_le_bytes());
    let checksum = crc32c::crc32c(&segment[..28]);
    segment[28..].copy_from_slice(&checksum.to_le_bytes());
    segment.extend_from_slice(&bytes[third..]);
    std::fs::write(dir.join("journal/00000003.seg"), segment).unwrap();
    std::fs::write(&path, &bytes[..first]).unwrap();
}

#[test]
fn of_a_damaged_log_that_also_parted_only_what_both_certainly_have_counts() {
    // It goes on before the end of the backup, or behind it where nothing can be compared any more.
    for (name, others) in [("before the end", 400..410), ("behind the end", 400..700)] {
        let world = World::new();
        let store = open(&world.options);
        let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
        let first = world.backup(&store);
        let (parted, _) = restored(&world, Asked::of("parted", first.last)).unwrap();
        let later = add_contacts(&store, layout, 300..320);
        purge(&store, &world.entities[20..22]);
        let second = world.backup(&store);
        store.close().unwrap();
        // The other log gives the same numbers to others, and erases one of them.
        let store = open(&parted);
        let others = add_contacts(&store, layout, others);
        let both = *others.iter().find(|entity| later.contains(entity)).unwrap();
        let behind = store.view(|views| views.position).next();
        purge(&store, &[world.entities[50], both]);
        store.close().unwrap();
        assert_eq!(behind > second.last, name == "behind the end");
        lose_between(&parted.dir, first.last, behind);

        let asked = Asked { lost: vec![parted.dir.clone()], ..Asked::of("named", second.last) };
        let (options, told) = restored(&world, asked).unwrap();
        let is_told = matches!(&told.heard[..], [Heard::Lost { damage: Some(_), .. }]);
        assert!(is_told, "{name}: {:?}", told.heard);
        assert_eq!(gone(&world, &options), gone_are(&[5..8, 20..22, 50..51]), "{name}");
        assert!(is_live(&open(&options), both), "{name}: somebody else had this number when it was erased");

        // Beside the state directory it counts for nothing behind the damage, wherever it was at home.
        let aside = world.dir.path().join("state.broken");
        std::fs::rename(&world.options.dir, world.dir.path().join("moved")).unwrap();
        std::fs::rename(&parted.dir, &aside).unwrap();
        std::fs::copy(world.dir.path().join("moved/home"), aside.join("home")).unwrap();
        for knows_home in [true, false] {
            if !knows_home {
                std::fs::remove_file(aside.join("home")).unwrap();
            }
            let (options, told) = restored(&world, Asked::of("state", second.last)).unwrap();
            let is_told = match &told.heard[..] {
                [Heard::Apart { .. }] => name == "before the end",
                [Heard::Lost { damage: Some(damage), up_to, .. }] => damage.contains("--lost") && *up_to <= first.last,
                _ => false,
            };
            assert!(is_told, "{name}: {:?}", told.heard);
            assert_eq!(gone(&world, &options), gone_are(&[5..8, 20..22]), "{name}");
            std::fs::remove_dir_all(&options.dir).unwrap();
        }
    }
}

#[test]
fn a_damaged_log_that_did_not_part_is_heard_behind_the_damage_once_it_is_known_again() {
    let world = World::new();
    let store = open(&world.options);
    let first = world.backup(&store);
    purge(&store, &world.entities[20..22]);
    let behind = store.view(|views| views.position).next();
    purge(&store, &world.entities[22..24]);
    let second = world.backup(&store);
    purge(&store, &world.entities[24..26]);
    store.close().unwrap();
    let aside = world.dir.path().join("state.broken");
    std::fs::rename(&world.options.dir, &aside).unwrap();
    lose_between(&aside, first.last, behind);
    // What was erased between is told by the newer backup, whose last event the lost log has.
    let (options, told) = restored(&world, Asked::of("state", first.last)).unwrap();
    let [Heard::Newer { last }, Heard::Lost { damage: Some(_), up_to, .. }] = &told.heard[..] else {
        panic!("{:?}", told.heard);
    };
    assert!(*last == second.last && *up_to > second.last);
    assert_eq!(gone(&world, &options), gone_are(&[5..8, 20..26]));
}

#[test]
fn a_log_beside_the_state_directory_of_which_nothing_can_be_compared_is_told() {
    let world = World::new();
    let first = world.backed_up();
    let aside = world.dir.path().join("state.broken");
    std::fs::rename(&world.options.dir, &aside).unwrap();
    flip(&aside.join("journal/00000001.seg"), 0);
    let (options, told) = restored(&world, Asked::of("state", first.last)).unwrap();
    assert!(matches!(&told.heard[..], [Heard::Unread { dir, .. }] if *dir == aside), "{:?}", told.heard);
    assert_eq!(gone(&world, &options), gone_are(std::slice::from_ref(&(5..8))));
    let asked = Asked { lost: vec![aside], ..Asked::of("never", first.last) };
    assert!(matches!(restored(&world, asked).map(drop), Err(BackupError::LostAbsent)));
}

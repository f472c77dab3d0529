//! Ledgers of erasures that are not whole, or that tell of another log than that of the backup.

use super::*;

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| format!("{line}\n")).collect()
}

fn restore_of(world: &World, name: &str, backup: Position, ledger: &Path) -> (Options, u64) {
    let options = world.elsewhere(name);
    let ledgers = Ledgers::Files(vec![ledger.to_owned()]);
    let restore = Restore { backup: Some(backup), ledgers, ..world.to_restore(&options) };
    let restored = restore.run(&mut |_, _| {}).unwrap();
    (options, restored.destroyed_again)
}

#[test]
fn a_ledger_that_ends_before_its_backup_restores_nothing() {
    let world = World::new();
    let store = open(&world.options);
    world.backup(&store);
    purge(&store, &world.entities[20..30]);
    let path = world.write_ledger(&store);
    store.close().unwrap();
    let whole = lines(&path);
    assert_eq!(whole.len(), 1 + 3 + 10);
    for (kept, expected) in [(1, 3), (2, 2), (3, 1)] {
        std::fs::write(&path, whole[..kept].concat()).unwrap();
        let options = world.elsewhere("never");
        let refused = world.restore(&options, Ledgers::Files(vec![path.clone()]));
        let is_short = matches!(
            &refused,
            Err(BackupError::Ledger(LedgerError::Short { lacking })) if *lacking == expected
        );
        assert!(is_short, "{kept} lines: {refused:?}");
        assert!(matches!(Store::open(&options, &mut |_, _| {}), Err(OpenError::Absent)));
    }
    std::fs::write(&path, whole.concat()).unwrap();
    let cut = world.dir.path().join("an older copy");
    std::fs::write(&cut, whole[..2].concat()).unwrap();
    let restored = world.restore(&world.elsewhere("restored"), Ledgers::Files(vec![cut, path])).unwrap();
    assert_eq!(restored.destroyed_again, 10, "one whole file is enough");
}

#[test]
fn a_backup_of_a_log_that_was_given_up_is_kept_from_its_own_erasures_and_not_from_those_of_others() {
    let world = World::new();
    let store = open(&world.options);
    let (key, name) = (store.index_key(), store.view(|views| views.small.store));
    let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
    let first = world.backup(&store);
    let later = add_contacts(&store, layout, 300..320);
    let second = world.backup(&store);
    purge(&store, &later[..5]);
    let path = world.write_ledger(&store);
    store.close().unwrap();
    // The first backup was restored, and its log gave the later numbers to others.
    let anew = later.iter().map(|entity| entity.0).min().unwrap();
    let at = |more: u64| Erasure { position: Position(first.last.0 + more), at: Timestamp(5) };
    let mut ledger = LedgerFile::open(&path, key, name).unwrap();
    ledger.restored(anew, first.last, Position(first.last.0 + 1)).unwrap();
    ledger.destroyed(&[(later[7], at(5)), (world.entities[50], at(6))]).unwrap();

    let (options, again) = restore_of(&world, "second", second.last, &path);
    assert_eq!(again, 6);
    let store = open(&options);
    assert!(later[..5].iter().all(|entity| !is_live(&store, *entity)), "they were erased after this backup");
    assert!(!is_live(&store, world.entities[50]), "both logs have it");
    assert!(is_live(&store, later[7]), "somebody else had this number when it was erased");
    store.close().unwrap();

    let (options, again) = restore_of(&world, "first", first.last, &path);
    assert_eq!(again, 1);
    assert!(!is_live(&open(&options), world.entities[50]));
}

#[test]
fn a_ledger_of_which_nobody_can_tell_whom_it_is_about_is_refused() {
    let world = World::new();
    let store = open(&world.options);
    let (key, name) = (store.index_key(), store.view(|views| views.small.store));
    let path = world.dir.path().join("erasures");
    let mut ledger = LedgerFile::open(&path, key.clone(), name).unwrap();
    ledger.restored(10, Position(100), Position(101)).unwrap();
    ledger.restored(20, Position(200), Position(201)).unwrap();
    let beside = |restores: &[u64], used| {
        let restores: Vec<Position> = restores.iter().copied().map(Position).collect();
        ledger::Read::beside(&path, &key, name, ledger::Beside { restores: &restores, used })
    };
    let unclear = beside(&[], 15);
    assert!(matches!(unclear, Err(LedgerError::Unclear { position: Position(201) })), "{unclear:?}");
    for (restores, used) in [(vec![], 10), (vec![101], 15), (vec![201], 15), (vec![101, 201], 30)] {
        assert!(beside(&restores, used).is_ok(), "{restores:?} {used}");
    }
}

#[test]
fn a_ledger_that_was_cut_or_exchanged_is_not_written_on_without_what_it_lacks() {
    let world = World::new();
    let store = open(&world.options);
    let (key, name) = (store.index_key(), store.view(|views| views.small.store));
    let path = world.dir.path().join("erasures");
    let erased = |n: u32| [(EntityId(n), Erasure { position: Position(u64::from(n)), at: Timestamp(5) })];
    let mut ledger = LedgerFile::open(&path, key.clone(), name).unwrap();
    for n in 1..=3 {
        ledger.destroyed(&erased(n)).unwrap();
    }
    let whole = lines(&path);
    let beside = world.dir.path().join("another file");
    for exchanged in [false, true] {
        match exchanged {
            false => std::fs::write(&path, whole[..2].concat()).unwrap(),
            true => {
                std::fs::write(&beside, whole[..3].concat()).unwrap();
                std::fs::rename(&beside, &path).unwrap();
            }
        }
        assert!(matches!(ledger.check(), Err(LedgerError::Replaced)));
        let refused = ledger.destroyed(&erased(4));
        assert!(matches!(refused, Err(LedgerError::Replaced)), "{refused:?}");
        ledger = LedgerFile::open(&path, key.clone(), name).unwrap();
        for n in u32::try_from(ledger.last().0).unwrap() + 1..=3 {
            ledger.destroyed(&erased(n)).unwrap();
        }
        assert_eq!(lines(&path), whole);
    }
}

/// A file system that flushes no directory: the first flush of a new ledger is that of its directory.
struct NoDirectories {
    errno: rustix::io::Errno,
    flushes: std::sync::atomic::AtomicU32,
}

impl crate::flush::FlushGate for NoDirectories {
    fn before(&self, _what: crate::flush::Flush) -> io::Result<()> {
        match self.flushes.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => Err(self.errno.into()),
            _ => Ok(()),
        }
    }

    fn after(&self, _what: crate::flush::Flush) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_ledger_is_made_where_no_directory_can_be_flushed_and_not_where_a_flush_failed() {
    use rustix::io::Errno;

    let world = World::new();
    let store = open(&world.options);
    let (key, name) = (store.index_key(), store.view(|views| views.small.store));
    let path = world.dir.path().join("erasures");
    let open_with = |errno| {
        let gate = NoDirectories { errno, flushes: std::sync::atomic::AtomicU32::new(0) };
        LedgerFile::gated(&path, key.clone(), name, std::sync::Arc::new(gate))
    };
    for failed in [Errno::IO, Errno::NOSPC, Errno::ACCESS] {
        assert!(matches!(open_with(failed), Err(LedgerError::File(_))) && !path.exists(), "{failed}");
    }
    for none in [Errno::INVAL, Errno::OPNOTSUPP, Errno::NOSYS] {
        let mut ledger = open_with(none).unwrap();
        ledger.destroyed(&[(EntityId(1), Erasure { position: Position(1), at: Timestamp(5) })]).unwrap();
        assert_eq!(ledger::Read::of(&path, &key, name).unwrap().destroyed.len(), 1);
        // Its name is lost with the power of the other machine: that is seen, and it begins anew.
        std::fs::remove_file(&path).unwrap();
        assert!(ledger.check().is_err());
    }
    // The flush of a file that is there is never passed over.
    drop(LedgerFile::open(&path, key.clone(), name).unwrap());
    assert!(matches!(open_with(Errno::INVAL), Err(LedgerError::File(_))));
}

#[test]
fn a_ledger_says_how_far_it_speaks_and_a_line_about_nobody_erases_nobody() {
    let world = World::new();
    let store = open(&world.options);
    let manifest = world.backup(&store);
    let (key, name) = (store.index_key(), store.view(|views| views.small.store));
    let path = world.write_ledger(&store);
    store.close().unwrap();
    let older = world.dir.path().join("an older copy");
    std::fs::copy(&path, &older).unwrap();
    let (last, until) = (Position(manifest.last.0 + 50), Timestamp(1_790_000_000_000_000));
    LedgerFile::open(&path, key.clone(), name).unwrap().has_all(last, until).unwrap();
    let read = ledger::Read::of(&path, &key, name).unwrap();
    assert_eq!((read.destroyed.len(), read.reach), (3, Reach { until: Some(until), last }));
    for (n, files) in [vec![path.clone(), older.clone()], vec![older, path]].into_iter().enumerate() {
        let options = world.elsewhere(&format!("restored {n}"));
        let restored = world.restore(&options, Ledgers::Files(files)).unwrap();
        assert_eq!(restored.ledger, Some(Reach { until: Some(until), last }), "the one that speaks furthest");
        assert_eq!(restored.destroyed_again, 0);
        assert_eq!(open(&options).verify(&mut |_, _| {}).unwrap().findings, []);
    }
}

//! What is not taken for a backup, for a ledger, or for a place to begin anew.

use super::*;

#[test]
fn a_segment_that_is_cut_or_gone_is_a_backup_that_was_changed() {
    let world = World::new();
    let manifest = world.backed_up();
    let segment = world.places.journal().join(segment_of(&manifest));
    let whole = std::fs::read(&segment).unwrap();
    std::fs::write(&segment, &whole[..whole.len() - 5]).unwrap();
    let refused = world.restore(&world.elsewhere("never"), Ledgers::None);
    assert!(matches!(refused, Err(BackupError::Changed { .. })), "{refused:?}");
    std::fs::remove_file(&segment).unwrap();
    let refused = world.restore(&world.elsewhere("never"), Ledgers::None);
    assert!(matches!(refused, Err(BackupError::Changed { .. })), "{refused:?}");
}

#[test]
fn an_empty_file_is_no_ledger() {
    let world = World::new();
    world.backed_up();
    let empty = world.dir.path().join("erasures");
    for text in ["", "retentiond ledger of era"] {
        std::fs::write(&empty, text).unwrap();
        let options = world.elsewhere("never");
        let refused = world.restore(&options, Ledgers::Files(vec![empty.clone()]));
        assert!(matches!(refused, Err(BackupError::Ledger(LedgerError::Empty))), "{refused:?}");
        assert!(matches!(Store::open(&options, &mut |_, _| {}), Err(OpenError::Absent)));
    }
}

#[test]
fn a_backup_does_not_begin_anew_on_one_side_alone() {
    let world = World::new();
    let store = open(&world.options);
    let manifest = world.backup(&store);
    let again = || store.backup(&world.places, UNTIL, &Keyholders::default(), None, &mut |_, _| {}).map(|_| ());
    let unmounted = world.dir.path().join("unmounted");
    std::fs::rename(&world.places.log, &unmounted).unwrap();
    // As a mount point is that has no disk.
    std::fs::create_dir(&world.places.log).unwrap();
    assert!(matches!(again(), Err(BackupError::LogGone)));
    std::fs::remove_dir(&world.places.log).unwrap();
    assert!(matches!(again(), Err(BackupError::LogGone)));
    std::fs::rename(&unmounted, &world.places.log).unwrap();
    manifest.check_keys(&world.places, &world.options.halt).unwrap();
    std::fs::rename(&world.places.keys, &unmounted).unwrap();
    assert!(matches!(again(), Err(BackupError::KeysDirGone)));
    assert!(!world.places.keys.exists(), "no key lies where nobody looks for it");
    std::fs::create_dir(&world.places.keys).unwrap();
    again().unwrap();
    store.close().unwrap();
}

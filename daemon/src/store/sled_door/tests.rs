//! What the door promises, on sound and on damaged directories.

use std::os::unix::fs::FileExt;

use proptest::prelude::*;

use super::*;

const CACHE: u64 = 16 * 1024 * 1024;
const BOOT: BootId = BootId([7; 16]);
const LATER: BootId = BootId([8; 16]);

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("events");
    (scratch, dir)
}

fn open(dir: &Path) -> Opened {
    Blocks::open(dir, CACHE, BOOT).unwrap()
}

fn key(n: u32) -> Vec<u8> {
    n.to_be_bytes().to_vec()
}

/// Bytes that belong to `n` and to no other number.
fn value(n: u32) -> Vec<u8> {
    n.to_le_bytes().repeat(1 + n as usize % 1500)
}

/// A closed store with `count` blocks.
fn filled(dir: &Path, count: u32) {
    let blocks = open(dir).blocks;
    blocks.put_sorted(Family::Events, (0..count).map(|n| (key(n), value(n))).collect()).unwrap();
    blocks.close().unwrap();
}

#[test]
fn families_are_apart_and_blocks_read_back() {
    let (_scratch, dir) = scratch();
    let opened = open(&dir);
    assert_eq!(opened.trust, Trust::Fresh);
    let blocks = opened.blocks;
    for (family, byte) in Family::ALL.into_iter().zip(0..) {
        blocks.put(family, b"key", &[byte]).unwrap();
    }
    for (family, byte) in Family::ALL.into_iter().zip(0..) {
        assert_eq!(blocks.get(family, b"key").unwrap(), Some(vec![byte]));
        assert_eq!(blocks.get(family, b"other").unwrap(), None);
    }
    blocks.put(Family::Views, b"empty", b"").unwrap();
    assert_eq!(blocks.get(Family::Views, b"empty").unwrap(), Some(Vec::new()));
}

#[test]
fn scans_are_ordered_bounded_and_go_both_ways() {
    let (_scratch, dir) = scratch();
    let blocks = open(&dir).blocks;
    let shuffled = (0..1000_u32).map(|n| n * 7 % 1000).map(|n| (key(n), value(n))).collect();
    blocks.put_sorted(Family::Index, shuffled).unwrap();
    let all: Vec<_> = blocks.range(Family::Index, ..).unwrap().map(Result::unwrap).collect();
    assert_eq!(all, (0..1000).map(|n| (key(n), value(n))).collect::<Vec<_>>());
    let some: Vec<_> = blocks.range(Family::Index, key(10)..key(13)).unwrap().map(|item| item.unwrap().0).collect();
    assert_eq!(some, [key(10), key(11), key(12)]);
    assert_eq!(blocks.range(Family::Index, ..).unwrap().next_back().unwrap().unwrap().0, key(999));
    assert_eq!(blocks.scan_prefix(Family::Index, &[0, 0, 1]).unwrap().count(), 256);
    assert_eq!(blocks.remove_range(Family::Index, key(100)..).unwrap(), 900);
    assert_eq!(blocks.range(Family::Index, ..).unwrap().count(), 100);
    assert_eq!(blocks.remove_range(Family::Index, ..).unwrap(), 100);
}

#[test]
fn nothing_over_the_bound_is_written() {
    let (_scratch, dir) = scratch();
    let blocks = open(&dir).blocks;
    let most = vec![1; BLOCK_BYTES_MAX];
    blocks.put(Family::Events, &[1; KEY_BYTES_MAX], &most).unwrap();
    let over = vec![1; BLOCK_BYTES_MAX + 1];
    assert!(matches!(blocks.put(Family::Events, b"k", &over), Err(BlocksError::OverBound { .. })));
    assert!(matches!(blocks.put(Family::Events, &[1; KEY_BYTES_MAX + 1], b""), Err(BlocksError::OverBound { .. })));
    let batch = vec![(b"a".to_vec(), b"fits".to_vec()), (b"b".to_vec(), over)];
    assert!(matches!(blocks.put_sorted(Family::Events, batch), Err(BlocksError::OverBound { .. })));
    assert_eq!(blocks.range(Family::Events, ..).unwrap().count(), 1);
}

#[test]
fn the_largest_blocks_never_make_blob_files() {
    let (_scratch, dir) = scratch();
    let blocks = open(&dir).blocks;
    for round in 0..3_u8 {
        let block = |n: u32| ([key(n), vec![0; KEY_BYTES_MAX - 4]].concat(), vec![round; BLOCK_BYTES_MAX]);
        blocks.put_sorted(Family::Events, (0..400).map(block).collect()).unwrap();
        blocks.flush().unwrap();
    }
    blocks.close().unwrap();
    assert_eq!(std::fs::read_dir(dir.join("blobs")).unwrap().count(), 0);
}

#[test]
fn a_clean_close_is_believed_in_any_boot_and_a_kill_in_the_same() {
    let (_scratch, dir) = scratch();
    filled(&dir, 100);
    let opened = Blocks::open(&dir, CACHE, LATER).unwrap();
    assert_eq!(opened.trust, Trust::Clean);
    assert_eq!(opened.blocks.range(Family::Events, ..).unwrap().map(Result::unwrap).count(), 100);
    drop(opened);
    assert_eq!(Blocks::open(&dir, CACHE, LATER).unwrap().trust, Trust::SameBoot);
    let after_power_cut = Blocks::open(&dir, CACHE, BOOT).unwrap_err();
    assert!(matches!(after_power_cut, BlocksError::Untrusted(Distrust::UncleanInEarlierBoot)));
    assert!(after_power_cut.is_damage());
}

#[test]
fn what_is_set_aside_makes_room_and_can_be_discarded() {
    let (scratch, dir) = scratch();
    filled(&dir, 100);
    for n in 1..=2 {
        assert_eq!(set_aside(&dir).unwrap(), scratch.path().join(format!("events.damaged-{n}")));
        let opened = open(&dir);
        assert_eq!(opened.trust, Trust::Fresh);
        assert_eq!(opened.blocks.range(Family::Events, ..).unwrap().count(), 0);
        opened.blocks.close().unwrap();
    }
    assert_eq!(discard_set_aside(&dir).unwrap(), 2);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 2, "the directory and its state");
}

#[test]
fn a_locked_directory_is_named_and_one_that_is_let_go_is_waited_for() {
    let (_scratch, dir) = scratch();
    let first = open(&dir).blocks;
    assert!(matches!(Blocks::open(&dir, CACHE, BOOT), Err(BlocksError::Locked)));
    let waiting = std::thread::spawn({
        let dir = dir.clone();
        move || Blocks::open(&dir, CACHE, BOOT).map(drop)
    });
    drop(first);
    waiting.join().unwrap().unwrap();
}

#[test]
fn a_cut_file_never_ends_the_process_and_is_damage() {
    for cut in [1024 * 1024, 700_001, 100] {
        let (_scratch, dir) = scratch();
        filled(&dir, 3_000);
        let db = OpenOptions::new().write(true).open(dir.join("db")).unwrap();
        db.set_len(db.metadata().unwrap().len() - cut).unwrap();
        outcome_is_true_or_damage(&dir, 3_000);
    }
}

#[test]
fn a_directory_of_garbage_never_ends_the_process_and_is_damage() {
    for name in ["conf", "db"] {
        let (_scratch, dir) = scratch();
        filled(&dir, 500);
        let garbage: Vec<u8> = (0..4096_u32).map(|n| (n * 31 % 251) as u8).collect();
        std::fs::write(dir.join(name), garbage).unwrap();
        outcome_is_true_or_damage(&dir, 500);
    }
}

#[test]
fn a_panic_becomes_a_named_error_and_everything_after_it_is_refused() {
    let broken = AtomicBool::new(false);
    let panicked = guarded(&broken, || -> Result<(), BlocksError> { panic!("as sled does") });
    assert!(matches!(panicked, Err(BlocksError::Damaged(Damage::Panicked))));
    assert!(matches!(guarded(&broken, || Ok(())), Err(BlocksError::Broken)));
}

#[test]
fn a_block_that_was_moved_or_changed_is_never_an_answer() {
    let framed = frame(Family::Events, b"key", b"value").unwrap();
    assert_eq!(unframe(Family::Events, b"key", &framed).unwrap(), b"value");
    assert!(unframe(Family::Index, b"key", &framed).is_err());
    assert!(unframe(Family::Events, b"kex", &framed).is_err());
    for bit in 0..framed.len() * 8 {
        let mut flipped = framed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(unframe(Family::Events, b"key", &flipped).is_err(), "bit {bit}");
    }
    (0..framed.len()).for_each(|len| assert!(unframe(Family::Events, b"key", &framed[..len]).is_err()));
}

/// Opens a damaged directory: every answer is a value that was put there, or a named error. Losses are allowed, since
/// what is there is compared with the journal.
fn outcome_is_true_or_damage(dir: &Path, count: u32) {
    let blocks = match Blocks::open(dir, CACHE, BOOT) {
        Ok(opened) => opened.blocks,
        Err(error) => return assert!(error.is_damage(), "{error:?}"),
    };
    for item in blocks.range(Family::Events, ..).unwrap().take(count as usize + 1) {
        match item {
            Ok((found, block)) => {
                let n = u32::from_be_bytes(found.try_into().unwrap());
                assert!(n < count && block == value(n));
            }
            Err(error) => return assert!(error.is_damage(), "{error:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_give_a_wrong_answer(file in 0..3_usize, at in any::<prop::sample::Index>(), xor in 1..=255_u8) {
        let (_scratch, dir) = scratch();
        filled(&dir, 200);
        drop(open(&dir));
        let mut files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
        files.sort();
        let path = &files[file % files.len()];
        let mut bytes = std::fs::read(path).unwrap();
        let at = at.index(bytes.len().max(1));
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= xor;
            OpenOptions::new().write(true).open(path).unwrap().write_all_at(&bytes, 0).unwrap();
        }
        outcome_is_true_or_damage(&dir, 200);
    }
}

//! The vault as a whole: what survives which crash.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;
use retention_core::id::{Position, SagaId};

use super::slot::SLOT_BYTES;
use super::*;
use crate::flush::Flush;
use crate::halt::Halt;

fn root() -> RootKey {
    RootKey::from_bytes([1; 32])
}

fn ticket() -> StepTicket {
    StepTicket::for_intent(SagaId(Position(7)), Position(9))
}

fn slots_file(dir: &Path) -> std::fs::File {
    std::fs::OpenOptions::new().read(true).write(true).open(segment::path_of(dir, 0)).unwrap()
}

/// A vault in `keys` of a scratch directory, with `count` issued keys, closed again.
fn closed_vault(count: usize) -> (tempfile::TempDir, std::path::PathBuf, Vec<(EntityId, DataKey)>) {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("keys");
    let keys = Vault::create(&dir, root()).unwrap().issue(count).unwrap();
    (scratch, dir, keys)
}

#[test]
fn issued_keys_are_found_again_and_numbers_go_on() {
    let (_scratch, dir, keys) = closed_vault(10_000);
    assert_eq!(keys[0].0, EntityId(1), "slot 0 is the house key's");
    assert!(keys.iter().zip(1..).all(|((id, _), number)| id.0 == number));
    let vault = Vault::open(&dir, root(), 10_001).unwrap();
    assert_eq!(vault.report(), VaultReport::default());
    for (id, key) in &keys {
        assert_eq!(vault.key_of(*id).unwrap(), KeyState::Live(DataKey::from_bytes(*key.bytes())));
    }
    assert_eq!(vault.key_of(EntityId(10_001)).unwrap(), KeyState::NeverIssued);
    let more = vault.issue(2).unwrap();
    assert_eq!((more[0].0, more[1].0), (EntityId(10_001), EntityId(10_002)));
    assert_eq!(vault.key_of(EntityId(10_001)).unwrap(), KeyState::Live(DataKey::from_bytes(*more[0].1.bytes())));
    let mut distinct: Vec<_> = keys.iter().chain(&more).map(|(_, key)| *key.bytes()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 10_002);
}

#[test]
fn a_handed_out_key_is_in_its_file_already() {
    let (_scratch, dir, _) = closed_vault(0);
    let vault = Vault::open(&dir, root(), 1).unwrap();
    for _ in 0..5 {
        let keys = vault.issue(9_000).unwrap();
        let (last, key) = keys.last().unwrap();
        let reader = Vault::open_read_only(&dir, root(), last.0 + 1).unwrap();
        assert_eq!(reader.key_of(*last).unwrap(), KeyState::Live(DataKey::from_bytes(*key.bytes())));
    }
}

#[test]
fn house_and_index_key_outlive_a_restart() {
    let (_scratch, dir, _) = closed_vault(0);
    let vault = Vault::open(&dir, root(), 1).unwrap();
    let (house, handle) = (vault.house_key().unwrap(), vault.index_key().handle(&[b"x"]));
    drop(vault);
    let vault = Vault::open(&dir, root(), 1).unwrap();
    assert_eq!(vault.house_key().unwrap(), house);
    assert_eq!(vault.index_key().handle(&[b"x"]), handle);
    let refused = vault.destroy(&ticket(), &[EntityId(0)]);
    assert!(matches!(refused, Err(VaultError::HouseKeyIsKept)));
    assert_eq!(vault.house_key().unwrap(), house);
}

#[test]
fn what_is_skipped_is_never_issued() {
    let (_scratch, dir, _) = closed_vault(10);
    let vault = Vault::open(&dir, root(), 5_000).unwrap();
    assert_eq!(vault.issue(1).unwrap()[0].0, EntityId(5_000));
    drop(vault);
    let vault = Vault::open(&dir, root(), 5_001).unwrap();
    assert_eq!(vault.issue(1).unwrap()[0].0, EntityId(5_001));
}

#[test]
fn many_short_lives_do_not_fill_further_and_further() {
    let (_scratch, dir, _) = closed_vault(0);
    for next in 1..12 {
        let vault = Vault::open(&dir, root(), next).unwrap();
        assert_eq!(vault.issue(1).unwrap()[0].0, EntityId(next));
    }
}

#[test]
fn destroying_is_exact_idempotent_and_outlives_a_restart() {
    let (_scratch, dir, keys) = closed_vault(9_000);
    let chosen: Vec<EntityId> = [1, 2, 3, 64, 65, 4_000, 8_191, 8_192, 8_999].map(EntityId).to_vec();
    let vault = Vault::open(&dir, root(), 9_001).unwrap();
    let before = std::fs::read(segment::path_of(&dir, 0)).unwrap();
    let twice: Vec<_> = chosen.iter().chain(&chosen).copied().collect();
    let destroyed = vault.destroy(&ticket(), &twice).unwrap();
    assert_eq!((destroyed.slots, destroyed.saga, destroyed.intent), (9, SagaId(Position(7)), Position(9)));
    let after = std::fs::read(segment::path_of(&dir, 0)).unwrap();
    assert_eq!(vault.destroy(&ticket(), &chosen).unwrap().slots, 9);
    drop(vault);
    let vault = Vault::open(&dir, root(), 9_001).unwrap();
    for (id, key) in &keys {
        let expected = match chosen.contains(id) {
            true => KeyState::Destroyed,
            false => KeyState::Live(DataKey::from_bytes(*key.bytes())),
        };
        assert_eq!(vault.key_of(*id).unwrap(), expected);
        let at = id.index() * SLOT_BYTES;
        let wrapped = &before[at + 12..at + 60];
        assert_eq!(after[at..at + SLOT_BYTES] == before[at..at + SLOT_BYTES], !chosen.contains(id));
        assert!(!chosen.contains(id) || !after.windows(48).step_by(4).any(|bytes| bytes == wrapped));
    }
    let found = vault.verify(&Halt::default()).unwrap();
    assert_eq!((found.live, found.destroyed, found.damaged), (9_001 - 9, 9, 0));
}

#[test]
fn nothing_is_destroyed_unless_everything_may_be() {
    let (_scratch, dir, _) = closed_vault(10);
    let vault = Vault::open(&dir, root(), 11).unwrap();
    let refused = vault.destroy(&ticket(), &[EntityId(3), EntityId(11)]);
    assert!(matches!(refused, Err(VaultError::NotIssued { slot: 11 })));
    assert!(matches!(vault.key_of(EntityId(3)).unwrap(), KeyState::Live(_)));
    assert_eq!(vault.destroy(&ticket(), &[]).unwrap().slots, 0);
    drop(vault);
    let reader = Vault::open_read_only(&dir, root(), 11).unwrap();
    assert!(matches!(reader.destroy(&ticket(), &[EntityId(3)]), Err(VaultError::ReadOnly)));
    assert!(matches!(reader.issue(1), Err(VaultError::ReadOnly)));
}

#[test]
fn another_root_key_is_named_and_changes_nothing() {
    let (_scratch, dir, _) = closed_vault(10);
    let other = || RootKey::from_bytes([2; 32]);
    assert!(matches!(Vault::open(&dir, other(), 11), Err(VaultError::WrongRootKey)));
    assert!(matches!(Vault::open_read_only(&dir, other(), 11), Err(VaultError::WrongRootKey)));
    assert!(matches!(Vault::create(&dir, root()), Err(VaultError::Exists)));
    assert!(Vault::open(&dir, root(), 11).is_ok());
    assert!(matches!(Vault::open(&dir.join("none"), root(), 11), Err(VaultError::Absent)));
}

#[test]
fn a_cut_file_is_named_and_what_is_left_can_be_read() {
    let (_scratch, dir, keys) = closed_vault(9_000);
    slots_file(&dir).set_len(4_000 * 64 + 30).unwrap();
    let opened = Vault::open(&dir, root(), 9_001);
    assert!(matches!(opened, Err(VaultError::SlotsMissing { used: 9_001, filled: 4_001 })));
    let reader = Vault::open_read_only(&dir, root(), 9_001).unwrap();
    assert_eq!(reader.key_of(EntityId(3_999)).unwrap(), KeyState::Live(DataKey::from_bytes(*keys[3_998].1.bytes())));
    assert_eq!(reader.key_of(EntityId(4_000)).unwrap(), KeyState::Damaged);
    assert_eq!(reader.key_of(EntityId(8_000)).unwrap(), KeyState::Damaged);
    let found = reader.verify(&Halt::default()).unwrap();
    assert_eq!((found.live, found.damaged), (4_000, 5_001));
    assert_eq!((found.damaged_slots.first(), found.damaged_slots.len()), (Some(&4_000), 1000));
}

#[test]
fn no_word_on_damaged_keys_leads_to_an_older_copy_put_in_place_by_hand() {
    for error in [
        VaultError::WrappingDamaged,
        VaultError::SegmentWithoutKey { segment: 1 },
        VaultError::SlotsMissing { used: 2, filled: 1 },
        VaultError::HouseKeyDamaged,
    ] {
        let said = error.to_string();
        assert!(said.contains("`retentiond restore`") && said.contains("would bring back who was erased"), "{said}");
    }
}

#[test]
fn a_missing_file_and_an_old_journal_are_named() {
    let (_scratch, dir, _) = closed_vault(60_000);
    assert!(matches!(Vault::open(&dir, root(), 5), Err(VaultError::JournalBehind { used: 5, .. })));
    std::fs::remove_file(segment::path_of(&dir, 0)).unwrap();
    assert!(matches!(Vault::open(&dir, root(), 60_001), Err(VaultError::SlotsMissing { filled: 0, .. })));
}

#[test]
fn damage_to_one_slot_is_reported_by_its_number_and_spares_the_others() {
    let (_scratch, dir, _) = closed_vault(100);
    slots_file(&dir).write_all_at(&[0xff], 50 * 64 + 20).unwrap();
    slots_file(&dir).write_all_at(&[0; 64], 60 * 64).unwrap();
    let vault = Vault::open(&dir, root(), 101).unwrap();
    assert_eq!(vault.key_of(EntityId(50)).unwrap(), KeyState::Damaged);
    assert_eq!(vault.key_of(EntityId(60)).unwrap(), KeyState::Damaged);
    let found = vault.verify(&Halt::default()).unwrap();
    assert_eq!((found.live, found.damaged, found.damaged_slots), (99, 2, vec![50, 60]));
}

/// Half-written blocks after the last used slot: whatever a power cut leaves there, no key is issued that is not whole
/// in the file.
#[test]
fn a_torn_block_ahead_is_retired_and_never_issued() {
    let (_scratch, dir, _) = closed_vault(10);
    let filled = u32::try_from(slots_file(&dir).metadata().unwrap().len() / 64).unwrap();
    slots_file(&dir).write_all_at(&[0; 4096], 64 * 64).unwrap();
    slots_file(&dir).write_all_at(&[0x5a; 512], 128 * 64).unwrap();
    slots_file(&dir).set_len(u64::from(filled) * 64 - 10 * 64 - 30).unwrap();
    let vault = Vault::open(&dir, root(), 11).unwrap();
    assert_eq!(vault.report().retired, 64 + 8 + 1);
    let keys = vault.issue(filled as usize).unwrap();
    let numbers: Vec<u32> = keys.iter().map(|(id, _)| id.0).collect();
    assert!(numbers.is_sorted());
    assert!(!numbers.iter().any(|n| (64..136).contains(n) || *n == filled - 11));
    assert!(numbers.contains(&63) && numbers.contains(&136) && numbers.contains(&(filled - 10)));
    for (id, key) in keys {
        assert_eq!(vault.key_of(id).unwrap(), KeyState::Live(key));
    }
    assert_eq!(vault.key_of(EntityId(64)).unwrap(), KeyState::NeverIssued);
    let found = vault.verify(&Halt::default()).unwrap();
    assert_eq!((found.retired, found.damaged), (73, 0));
}

#[test]
fn tombstones_beyond_the_journal_are_reported_and_never_issued() {
    let (_scratch, dir, _) = closed_vault(20);
    let vault = Vault::open(&dir, root(), 21).unwrap();
    let _destroyed = vault.destroy(&ticket(), &[EntityId(15)]).unwrap();
    drop(vault);
    let vault = Vault::open(&dir, root(), 10).unwrap();
    assert_eq!(vault.report().destroyed_ahead, 1);
    let numbers: Vec<u32> = vault.issue(10).unwrap().iter().map(|(id, _)| id.0).collect();
    assert_eq!(numbers, [10, 11, 12, 13, 14, 16, 17, 18, 19, 20]);
}

#[test]
fn a_failed_write_poisons_everything_after_it() {
    let (_scratch, dir, _) = closed_vault(20);
    let vault = Vault::open(&dir, root(), 21).unwrap();
    vault.shared.poison();
    assert!(matches!(vault.key_of(EntityId(1)), Err(VaultError::Poisoned)));
    assert!(matches!(vault.issue(1), Err(VaultError::Poisoned)));
    assert!(matches!(vault.destroy(&ticket(), &[EntityId(1)]), Err(VaultError::Poisoned)));
}

#[test]
fn a_device_that_refuses_writes_is_an_error_and_then_poison() {
    let (_scratch, dir, _) = closed_vault(20);
    let vault = Vault::open(&dir, root(), 21).unwrap();
    let read_only = Segment {
        file: std::fs::File::open(segment::path_of(&dir, 0)).unwrap(),
        path: segment::path_of(&dir, 0),
        number: 0,
        key: slot::WrappingKey::of(&[0; 32], 1).unwrap(),
    };
    vault.shared.segments.write()[0] = Arc::new(read_only);
    assert!(matches!(vault.destroy(&ticket(), &[EntityId(1)]), Err(VaultError::File(_))));
    assert!(matches!(vault.destroy(&ticket(), &[EntityId(1)]), Err(VaultError::Poisoned)));
    drop(vault);
    assert!(matches!(Vault::open(&dir, root(), 21).unwrap().key_of(EntityId(1)).unwrap(), KeyState::Live(_)));
}

#[test]
fn nothing_of_a_key_is_shown() {
    let (_scratch, dir, keys) = closed_vault(1);
    let vault = Vault::open(&dir, root(), 2).unwrap();
    let text = format!("{:?} {:?} {:?} {:?}", keys[0].1, vault, vault.index_key(), vault.key_of(EntityId(1)).unwrap());
    assert!(text.contains("DataKey(..)") && !text.contains(&format!("{:?}", keys[0].1.bytes())), "{text}");
}

/// Crosses into the second segment, then destroys 10,000 scattered slots of 1.05 million.
#[test]
fn a_second_segment_has_its_own_key_and_a_scattered_purge_is_exact() {
    let (_scratch, dir, _) = closed_vault(0);
    let total: u32 = SEGMENT_SLOTS + 10_000;
    let vault = Vault::open(&dir, root(), 1).unwrap();
    let mut issued = 1;
    let mut sample = BTreeMap::new();
    while issued < total {
        for (id, key) in vault.issue(10_000.min((total - issued) as usize)).unwrap() {
            assert_eq!(id.0, issued);
            issued += 1;
            if id.0 % 5_003 == 0 || id.0 % SEGMENT_SLOTS == 0 {
                sample.insert(id, key);
            }
        }
    }
    let chosen: Vec<EntityId> = (0..10_000_u32).map(|n| EntityId(n * 7_919 % (total - 1) + 1)).collect();
    let _destroyed = vault.destroy(&ticket(), &chosen).unwrap();
    let near: Vec<EntityId> = (500_000..510_000_u32).map(EntityId).collect();
    let _destroyed = vault.destroy(&ticket(), &near).unwrap();
    drop(vault);
    let vault = Vault::open(&dir, root(), total).unwrap();
    let gone: std::collections::BTreeSet<EntityId> = chosen.into_iter().chain(near).collect();
    for (id, key) in sample {
        let expected = if gone.contains(&id) { KeyState::Destroyed } else { KeyState::Live(key) };
        assert_eq!(vault.key_of(id).unwrap(), expected, "{id}");
    }
    let found = vault.verify(&Halt::default()).unwrap();
    assert_eq!((found.live + found.destroyed, found.damaged), (u64::from(total), 0));
    assert_eq!(found.destroyed, gone.len() as u64);
}

/// Refuses the fills from one on: in front of its flush, or right behind it.
struct FillGate {
    left: std::sync::atomic::AtomicU64,
    is_behind: bool,
}

impl FillGate {
    fn pass(&self, what: Flush) -> std::io::Result<()> {
        use std::sync::atomic::Ordering::SeqCst;
        let passes = what != Flush::Fill || self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        if passes { Ok(()) } else { Err(std::io::Error::other("the power is cut here")) }
    }
}

impl FlushGate for FillGate {
    fn before(&self, what: Flush) -> std::io::Result<()> {
        if self.is_behind { Ok(()) } else { self.pass(what) }
    }

    fn after(&self, what: Flush) -> std::io::Result<()> {
        if self.is_behind { self.pass(what) } else { Ok(()) }
    }
}

#[test]
fn a_crash_at_any_fill_costs_no_key_that_was_handed_out_and_hands_none_out_twice() {
    for (fills, is_behind, is_lost) in [0, 1, 3].into_iter().flat_map(|fills| {
        [(false, false), (false, true), (true, false)].map(move |(is_behind, is_lost)| (fills, is_behind, is_lost))
    }) {
        let what = format!("{fills} fills, behind: {is_behind}, lost: {is_lost}");
        let (_scratch, dir, mut handed) = closed_vault(1_000);
        let gate = Arc::new(FillGate { left: fills.into(), is_behind });
        let vault = Vault::open_gated(&dir, root(), 1_001, gate).unwrap();
        // Whatever was durable is handed out before the failure shows.
        while let Ok(more) = vault.issue(1_000) {
            handed.extend(more);
            assert!(handed.len() < 200_000, "{what}: nothing ever fails");
        }
        drop(vault);
        let used = handed.last().unwrap().0.0 + 1;
        if is_lost {
            // Everything behind what was handed out may be gone.
            slots_file(&dir).set_len(u64::from(used) * 64).unwrap();
        }
        let vault = Vault::open(&dir, root(), used).unwrap();
        let more = vault.issue(10_000).unwrap();
        for (entity, key) in handed {
            assert_eq!(vault.key_of(entity).unwrap(), KeyState::Live(key), "{what}: {entity}");
        }
        assert!(more.iter().all(|(entity, _)| entity.0 >= used), "{what}");
        let found = vault.verify(&Halt::default()).unwrap();
        assert_eq!(found.damaged, 0, "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// A crash in the middle of destroying: any of the pages that were being written hold, sector by sector, the old or the new bytes.
    /// Every slot is then a whole key or a tombstone, none that was not to be destroyed changed, and doing it again ends it.
    #[test]
    fn torn_writes_hurt_only_what_was_being_written(chosen in proptest::collection::btree_set(1..400_u32, 1..60), torn in any::<u64>()) {
        let (_scratch, dir, keys) = closed_vault(400);
        let before = std::fs::read(segment::path_of(&dir, 0)).unwrap();
        let ids: Vec<_> = chosen.iter().copied().map(EntityId).collect();
        let _destroyed = Vault::open(&dir, root(), 401).unwrap().destroy(&ticket(), &ids).unwrap();
        let mut after = std::fs::read(segment::path_of(&dir, 0)).unwrap();
        for (at, (sector, old)) in after.chunks_mut(512).zip(before.chunks(512)).enumerate() {
            if torn >> (at % 64) & 1 == 1 {
                sector.copy_from_slice(old);
            }
        }
        slots_file(&dir).write_all_at(&after, 0).unwrap();
        let vault = Vault::open(&dir, root(), 401).unwrap();
        for (id, key) in keys {
            let state = vault.key_of(id).unwrap();
            let old = state == KeyState::Live(key);
            prop_assert!(old || (state == KeyState::Destroyed && chosen.contains(&id.0)), "{id}");
        }
        let _destroyed = vault.destroy(&ticket(), &ids).unwrap();
        for id in ids {
            prop_assert_eq!(vault.key_of(id).unwrap(), KeyState::Destroyed);
        }
    }

    /// Random bytes anywhere in the file of slots: never a panic, and never another key than the one that was issued.
    #[test]
    fn random_damage_never_gives_a_wrong_key(at in 0..30_000_u64, bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
        let (_scratch, dir, keys) = closed_vault(400);
        slots_file(&dir).write_all_at(&bytes, at).unwrap();
        let vault = Vault::open(&dir, root(), 401).unwrap();
        for (id, key) in keys {
            let state = vault.key_of(id).unwrap();
            prop_assert!(state == KeyState::Damaged || state == KeyState::Live(key), "{id}");
        }
        let found = vault.verify(&Halt::default()).unwrap();
        prop_assert_eq!(found.live + found.damaged, 401);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn only_the_slots_that_were_named_are_changed_and_all_are_found_together(
        named in prop::collection::btree_set(1..3_000_u32, 1..300)
    ) {
        let (_scratch, dir, _keys) = closed_vault(3_000);
        let vault = Vault::open(&dir, root(), 3_001).unwrap();
        let before = std::fs::read(segment::path_of(&dir, 0)).unwrap();
        let ids: Vec<EntityId> = named.iter().copied().map(EntityId).collect();
        let _ = vault.destroy(&ticket(), &ids).unwrap();
        let after = std::fs::read(segment::path_of(&dir, 0)).unwrap();
        // Slots behind those that are issued are filled by a thread of their own, whenever it comes to that.
        prop_assert!(before.len() <= after.len());
        let (before, _) = before.as_chunks::<SLOT_BYTES>();
        let (after, _) = after.as_chunks::<SLOT_BYTES>();
        for ((number, before), after) in (0..=3_000).zip(before).zip(after) {
            let expected = if named.contains(&number) { slot::tombstone(number) } else { *before };
            prop_assert_eq!(*after, expected);
        }
        let asked: Vec<EntityId> = (0..3_005).rev().step_by(2).chain(0..3_005).map(EntityId).collect();
        let one_by_one: Vec<KeyState> = asked.iter().map(|id| vault.key_of(*id).unwrap()).collect();
        prop_assert_eq!(vault.keys_of(&asked).unwrap(), one_by_one);
    }
}

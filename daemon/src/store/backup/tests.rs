use std::collections::BTreeMap;

use age::secrecy::ExposeSecret as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use retention_core::event::{Event, EventType, Recorded};
use retention_core::evidence::checkpoint::{Checkpoint, keys_of};
use retention_core::evidence::cosignature::Cosignature;
use retention_core::id::EntityId;
use retention_core::time::Timestamp;
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::super::tests::{add_contacts, add_layout, begin_purge, flip, init, open, picture, purge, sign};
use super::super::tree::Tree;
use super::super::vault::seal::IndexKey;
use super::super::vault::{RootKey, rewrap};
use super::super::{KeyState, Options};
use super::make::LastCopy;
use super::*;
use crate::flush::OpenGate;
use crate::store::Store;

mod beside;
mod copies;
mod encrypted;
mod ledgers;
mod refused;
mod stamps;
mod stopped;
mod thief;

const UNTIL: Timestamp = Timestamp(1_800_000_000_000_000);

struct World {
    dir: tempfile::TempDir,
    options: Options,
    places: Places,
    entities: Vec<EntityId>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = init(dir.path());
        let places = Places { log: dir.path().join("log"), keys: dir.path().join("copied keys") };
        let store = open(&options);
        let layout = add_layout(&store);
        let entities = add_contacts(&store, layout, 0..300);
        purge(&store, &entities[5..8]);
        store.close().unwrap();
        Self { dir, options, places, entities }
    }

    fn backup(&self, store: &Store) -> Manifest {
        store.backup(&self.places, UNTIL, &Keyholders::default(), None, &mut |_, _| {}).unwrap().0
    }

    fn backed_up(&self) -> Manifest {
        let store = open(&self.options);
        let manifest = self.backup(&store);
        store.close().unwrap();
        manifest
    }

    fn index_key(&self) -> IndexKey {
        let root = RootKey::read(&self.options.root_key).unwrap();
        rewrap::index_key_of(&self.options.dir.join("keys"), root).unwrap()
    }

    /// The same root key, and a new place for the store.
    fn elsewhere(&self, name: &str) -> Options {
        Options { dir: self.dir.path().join(name), ..self.options.clone() }
    }

    /// What a restore of the newest backup is told at least. Tests say what else.
    fn to_restore<'a>(&'a self, options: &'a Options) -> Restore<'a> {
        Restore {
            options,
            places: &self.places,
            backup: None,
            ledgers: Ledgers::None,
            without_newer: false,
            lost: Vec::new(),
            checkpoints: Vec::new(),
            identities: Identities::default(),
        }
    }

    fn restore(&self, options: &Options, ledgers: Ledgers) -> Result<Restored, BackupError> {
        Restore { ledgers, ..self.to_restore(options) }.run(&mut |_, _| {})
    }

    /// Tells a ledger all that was destroyed, as the stage does.
    fn write_ledger(&self, store: &Store) -> PathBuf {
        let path = self.dir.path().join("erasures");
        let name = store.view(|views| views.small.store);
        let mut ledger = LedgerFile::open(&path, store.index_key(), name).unwrap();
        let last = store.view(|views| views.position);
        for position in (ledger.last().0 + 1..=last.0).map(Position) {
            let row = store.row(position).unwrap().unwrap();
            if EventType::is_destruction(row.event_type) {
                ledger.destroyed(&[(row.entity.unwrap(), Erasure { position, at: row.recorded_at })]).unwrap();
            }
        }
        path
    }
}

fn pair() -> (Keyholders, Identities) {
    let identity = age::x25519::Identity::generate();
    let secret = Identities::read(identity.to_string().expose_secret()).unwrap();
    (Keyholders::read(&[identity.to_public().to_string()]).unwrap(), secret)
}

fn files_under(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files.extend(files_under(&entry));
        } else {
            files.push(entry);
        }
    }
    files
}

fn is_live(store: &Store, entity: EntityId) -> bool {
    matches!(store.key_of(entity).unwrap(), KeyState::Live(_))
}

#[test]
fn what_is_restored_is_the_same_log_and_says_that_it_was_restored() {
    let world = World::new();
    let manifest = world.backed_up();
    let there = open(&world.options);
    let expected = picture(&there).1;
    there.close().unwrap();
    let options = world.elsewhere("restored");
    let restored = world.restore(&options, Ledgers::None).unwrap();
    assert_eq!((restored.last, restored.destroyed_again, restored.missing), (manifest.last, 0, None));
    let store = open(&options);
    let (position, rows) = picture(&store);
    assert_eq!(position, manifest.last.next(), "one event more, which says so");
    assert_eq!(rows[..expected.len() - 1], expected[..expected.len() - 1], "but for the event of the backup itself");
    let (at, body) = store.view(|views| views.small.restored.waits().cloned()).unwrap();
    assert_eq!((at, body.last, body.ledger_read), (position, manifest.last, false));
    assert_eq!(store.verify(&mut |_, _| {}).unwrap().findings, []);
    // It goes on, with numbers that nobody had.
    let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
    let new = add_contacts(&store, layout, 1_000..1_010);
    assert!(new.iter().all(|entity| !world.entities.contains(entity) && is_live(&store, *entity)));
    store.close().unwrap();
    let report = Store::verify_stopped(&options, &mut |_, _| {}).unwrap();
    assert_eq!(report.findings, []);
}

#[test]
fn a_restore_never_writes_over_anything() {
    let world = World::new();
    world.backed_up();
    assert!(matches!(world.restore(&world.options, Ledgers::None), Err(BackupError::InTheWay { .. })));
    assert!(open(&world.options).verify(&mut |_, _| {}).unwrap().is_good());
    let options = world.elsewhere("with exports");
    std::fs::create_dir_all(options.dir.join("exports/bundle")).unwrap();
    world.restore(&options, Ledgers::None).unwrap();
    assert!(options.dir.join("exports/bundle").is_dir());
}

#[test]
fn a_backup_copies_what_is_new_and_leaves_the_older_ones_whole() {
    let world = World::new();
    let store = open(&world.options);
    let first = world.backup(&store);
    let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
    add_contacts(&store, layout, 300..400);
    let second = world.backup(&store);
    assert!(first.last < second.last);
    store.close().unwrap();
    assert_eq!(Manifest::list(&world.places).unwrap(), [first.last, second.last]);
    for manifest in [&first, &second] {
        manifest.check_log(&world.places, &world.options.halt, &mut |_| {}).unwrap();
        manifest.check_keys(&world.places, &world.options.halt).unwrap();
    }
    let options = world.elsewhere("older");
    let restore = Restore { backup: Some(first.last), ..world.to_restore(&options) };
    assert_eq!(restore.run(&mut |_, _| {}).unwrap().last, first.last);
}

#[test]
fn a_flipped_byte_anywhere_in_a_backup_restores_nothing() {
    let world = World::new();
    let manifest = world.backed_up();
    let keys = world.places.keys_of(manifest.last);
    let files = [
        (world.places.journal().join(segment_of(&manifest)), manifest.journal[0].bytes),
        (keys.join("slots.0000"), 64 * 300),
        (keys.join("wrapping.a"), 100),
    ];
    for (file, bytes) in files {
        for at in [0, 9, bytes / 2, bytes - 1] {
            flip(&file, at);
            let options = world.elsewhere("never");
            let refused = world.restore(&options, Ledgers::None);
            assert!(matches!(refused, Err(BackupError::Changed { .. })), "{file:?} {at}: {refused:?}");
            assert!(matches!(Store::open(&options, &mut |_, _| {}), Err(OpenError::Absent)));
            flip(&file, at);
        }
    }
    // What is behind the end of the backup belongs to a later one.
    world.restore(&world.elsewhere("good"), Ledgers::None).unwrap();
}

fn segment_of(manifest: &Manifest) -> &str {
    &manifest.journal[0].name
}

#[test]
fn whoever_was_erased_after_the_backup_does_not_come_back() {
    let world = World::new();
    let store = open(&world.options);
    let manifest = world.backup(&store);
    purge(&store, &world.entities[20..30]);
    let ledger = world.write_ledger(&store);
    store.close().unwrap();

    // Without the ledger they do, and nobody says otherwise.
    let unaware = world.elsewhere("unaware");
    world.restore(&unaware, Ledgers::None).unwrap();
    assert!(is_live(&open(&unaware), world.entities[20]));

    let options = world.elsewhere("restored");
    let restored = world.restore(&options, Ledgers::Files(vec![ledger])).unwrap();
    assert_eq!(restored.destroyed_again, 10);
    let store = open(&options);
    for entity in &world.entities[20..30] {
        assert_eq!(store.key_of(*entity).unwrap(), KeyState::Destroyed);
        assert_eq!(store.record(*entity).unwrap(), None);
    }
    assert!(is_live(&store, world.entities[30]));
    assert!(store.record(world.entities[30]).unwrap().is_some());
    assert_eq!(store.view(|views| views.entities.purged_count()), 13);
    let log: Vec<Recorded> =
        (manifest.last.0 + 1..=manifest.last.0 + 11).map(|at| store.read(Position(at)).unwrap().unwrap()).collect();
    let again = log.iter().filter(|recorded| matches!(recorded.event(), Some(Event::KeyDestroyedAgain(_))));
    assert_eq!(again.count(), 10);
    assert_eq!(store.verify(&mut |_, _| {}).unwrap().findings, []);
}

#[test]
fn a_purge_that_was_under_way_is_under_way_again() {
    let world = World::new();
    let store = open(&world.options);
    begin_purge(&store, &world.entities[40..42]);
    let manifest = world.backup(&store);
    store.close().unwrap();
    let options = world.elsewhere("restored");
    world.restore(&options, Ledgers::None).unwrap();
    let store = open(&options);
    assert_eq!(store.view(|views| views.small.runs.sagas().filter(|(_, saga)| saga.end.is_none()).count()), 1);
    assert!(manifest.last < store.view(|views| views.position));
}

#[test]
fn keys_are_wrapped_anew_so_that_no_nonce_is_used_twice() {
    let world = World::new();
    let manifest = world.backed_up();
    let options = world.elsewhere("restored");
    world.restore(&options, Ledgers::None).unwrap();
    let read = |path: PathBuf| std::fs::read(path).unwrap();
    let old = read(world.places.keys_of(manifest.last).join("slots.0000"));
    let new = read(options.dir.join("keys/slots.0000"));
    let epoch = |image: &[u8]| u32::from_le_bytes(image[4..8].try_into().unwrap());
    let (old, new) = (&old[64 * 50..64 * 51], &new[64 * 50..64 * 51]);
    assert_eq!((epoch(old), epoch(new)), (1, 2));
    assert_ne!(old[12..44], new[12..44]);
}

#[test]
fn a_restore_that_was_interrupted_is_asked_for_again() {
    let world = World::new();
    world.backed_up();
    let options = world.elsewhere("restored");
    // Killed before all was done.
    std::fs::create_dir_all(options.dir.join(".restoring/journal")).unwrap();
    std::fs::write(options.dir.join(".restoring/journal/00000001.seg"), b"half").unwrap();
    std::fs::write(options.dir.join(".restoring/FORMAT"), b"retentiond store 1\n").unwrap();
    assert!(matches!(Store::open(&options, &mut |_, _| {}), Err(OpenError::Absent)));
    world.restore(&options, Ledgers::None).unwrap();
    let expected = picture(&open(&options)).1;
    // Killed while it was moved into place, after each of the moves.
    let staging = options.dir.join(".restoring");
    for moved in 0..restore::MOVED.len() {
        std::fs::create_dir(&staging).unwrap();
        std::fs::write(staging.join("complete"), b"").unwrap();
        for name in &restore::MOVED[moved..] {
            std::fs::rename(options.dir.join(name), staging.join(name)).unwrap();
        }
        assert!(matches!(Store::open(&options, &mut |_, _| {}), Err(OpenError::Absent)), "{moved}");
        // Whatever is asked for now, it is told that it was the earlier one.
        let ended = world.restore(&options, Ledgers::Files(vec![world.dir.path().join("a ledger")])).unwrap();
        assert_eq!(ended.heard, [Heard::Before { ledger_read: false }]);
        assert_eq!(picture(&open(&options)).1, expected);
    }
}

#[test]
fn two_restores_into_one_directory_do_not_go_on_at_once() {
    let world = World::new();
    world.backed_up();
    let options = world.elsewhere("restored");
    std::fs::create_dir(&options.dir).unwrap();
    let other = std::fs::File::open(&options.dir).unwrap();
    rustix::fs::flock(&other, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let refused = world.restore(&options, Ledgers::None);
    assert!(matches!(refused, Err(BackupError::UnderWay)), "{refused:?}");
    drop(other);
    world.restore(&options, Ledgers::None).unwrap();
}

#[test]
fn what_a_restore_that_was_given_up_left_of_keys_is_overwritten() {
    let world = World::new();
    world.backed_up();
    let options = world.elsewhere("restored");
    let keys = options.dir.join(".restoring/keys");
    std::fs::create_dir_all(&keys).unwrap();
    std::fs::write(keys.join("slots.0000"), [7; 64]).unwrap();
    // The same bytes under a name that nobody removes.
    let seen = world.dir.path().join("seen");
    std::fs::hard_link(keys.join("slots.0000"), &seen).unwrap();
    world.restore(&options, Ledgers::None).unwrap();
    assert_eq!(std::fs::read(seen).unwrap(), [0; 64]);
}

#[test]
fn a_backup_that_contradicts_a_checkpoint_is_not_restored() {
    let world = World::new();
    let store = open(&world.options);
    let note = sign(&store);
    let (signer, _) = keys_of(&[7; 32], "log").unwrap();
    let tree = Tree::open(store.dir()).unwrap();
    let manifest = store.backup(&world.places, UNTIL, &Keyholders::default(), Some(&tree), &mut |_, _| {}).unwrap().0;
    store.close().unwrap();
    assert_eq!(
        manifest.checkpoints.as_ref().unwrap().bytes,
        std::fs::metadata(world.options.dir.join("tree/checkpoints")).unwrap().len()
    );
    let shown = |name: &str, note: String| {
        let options = world.elsewhere(name);
        Restore { checkpoints: vec![note], ..world.to_restore(&options) }.run(&mut |_, _| {})
    };
    assert_eq!(shown("good", note).unwrap().missing, Some(0));
    let other = Checkpoint { origin: "log".to_owned(), size: 10, root: Digest([1; 32]) }.sign(&signer).unwrap();
    assert!(matches!(shown("contradicted", other), Err(BackupError::Contradicts { size: 10 })));
    let later = Checkpoint { origin: "log".to_owned(), size: 9_999, root: Digest([1; 32]) };
    let missing = 9_999 - manifest.last.0;
    assert_eq!(shown("later", later.sign(&signer).unwrap()).unwrap().missing, Some(missing));
    let (stranger, _) = keys_of(&[8; 32], "log").unwrap();
    assert!(matches!(shown("strange", later.sign(&stranger).unwrap()), Err(BackupError::NotSigned)));
}

#[test]
fn checkpoints_that_the_newest_backup_has_and_the_store_lost_are_missed() {
    let world = World::new();
    let store = open(&world.options);
    let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
    let mut told = BTreeMap::new();
    for round in 0..2 {
        sign(&store);
        let tree = Tree::open(store.dir()).unwrap();
        let made = store.backup(&world.places, UNTIL, &Keyholders::default(), Some(&tree), &mut |_, _| {}).unwrap();
        told.insert(made.0.last, made.1);
        add_contacts(&store, layout, 400 + round * 10..405 + round * 10);
    }
    sign(&store);
    store.close().unwrap();
    let path = world.options.dir.join("tree/checkpoints");
    let whole = std::fs::read(&path).unwrap();
    let [older, newer] = told.keys().copied().collect::<Vec<_>>()[..] else { unreachable!("two were made") };
    let lost = |told: &BTreeMap<Position, Digest>| {
        lost_checkpoints(&world.options.dir, &world.places, told, &Halt::default()).unwrap()
    };
    assert_eq!(lost(&told), None);
    let end_of_newer =
        usize::try_from(Manifest::read(&world.places, newer).unwrap().checkpoints.unwrap().bytes).unwrap();
    // What was signed since is in no backup, so nobody can miss it.
    std::fs::write(&path, &whole[..end_of_newer]).unwrap();
    assert_eq!(lost(&told), None);
    for left in [&whole[..end_of_newer - 1], &whole[1..], &[]] {
        std::fs::write(&path, left).unwrap();
        assert_eq!(lost(&told), Some(newer));
    }
    // A manifest that is not the one of which the log tells is no witness, and the one before is.
    let manifest = world.places.manifest_of(newer);
    std::fs::write(&manifest, b"{}").unwrap();
    assert_eq!(lost(&told), Some(older));
    assert_eq!(lost(&BTreeMap::new()), None);
    // A file that is not there at all is another finding.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(lost(&told), None);
}

/// What a witness signs over a checkpoint at a time, in seconds.
fn cosignature(note: &str, seconds: u64) -> Cosignature {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    let key = [&[4], pair.public_key().as_ref()].concat();
    let number = digest(&SHA256, &[b"witness\n".as_slice(), &key].concat()).as_ref()[..4].to_vec();
    let text = note.split_once("\n\n").unwrap().0;
    let signature = pair.sign(format!("cosignature/v1\ntime {seconds}\n{text}\n").as_bytes());
    let signed = STANDARD.encode([&number, seconds.to_be_bytes().as_slice(), signature.as_ref()].concat());
    let size = Checkpoint::unverified(note).unwrap().size;
    let record = format!("{size} witness+{}+{} {signed}", hex::encode(number), STANDARD.encode(key));
    Cosignature::parse_record(&record).unwrap()
}

#[test]
fn what_witnesses_signed_is_in_a_backup_and_comes_back_with_it() {
    let world = World::new();
    let store = open(&world.options);
    let note = sign(&store);
    let path = store.dir().join("tree/cosignatures");
    let backup =
        |tree: &Tree| store.backup(&world.places, UNTIL, &Keyholders::default(), Some(tree), &mut |_, _| {}).unwrap().0;
    let tree = Tree::open(store.dir()).unwrap();
    let without = backup(&tree);
    assert!(without.cosignatures.is_none() && !serde_json::to_string(&without).unwrap().contains("cosignatures"));
    let mut made = Vec::new();
    let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
    for (seconds, first) in [(100, 300), (200, 310)] {
        add_contacts(&store, layout, first..first + 5);
        tree.cosignatures().unwrap().keep(cosignature(&note, seconds)).unwrap();
        made.push((backup(&tree), std::fs::read(&path).unwrap()));
    }
    // Begun anew: the earlier backups keep their copy.
    std::fs::remove_file(&path).unwrap();
    let tree = Tree::open(store.dir()).unwrap();
    tree.cosignatures().unwrap().keep(cosignature(&note, 300)).unwrap();
    add_contacts(&store, layout, 400..405);
    made.push((backup(&tree), std::fs::read(&path).unwrap()));
    store.close().unwrap();
    for (number, (manifest, kept)) in made.iter().enumerate() {
        let part = manifest.cosignatures.as_ref().unwrap();
        assert_eq!((part.name == "cosignatures", part.bytes), (number < 2, kept.len() as u64));
        manifest.check_log(&world.places, &Halt::default(), &mut |_| {}).unwrap();
        let options = world.elsewhere(&format!("restored {number}"));
        let restore = Restore { backup: Some(manifest.last), ..world.to_restore(&options) };
        restore.run(&mut |_, _| {}).unwrap();
        assert_eq!(&std::fs::read(options.dir.join("tree/cosignatures")).unwrap(), kept);
        let lines = kept.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(Store::verify_stopped(&options, &mut |_, _| {}).unwrap().cosignatures, Some(lines));
    }
}

#[test]
fn backups_of_a_log_that_parted_are_not_mixed() {
    let world = World::new();
    let store = open(&world.options);
    world.backup(&store);
    let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
    add_contacts(&store, layout, 300..310);
    let first = world.backup(&store);
    add_contacts(&store, layout, 310..320);
    store.close().unwrap();
    let options = world.elsewhere("restored");
    world.restore(&options, Ledgers::None).unwrap();
    let store = open(&options);
    // The newest backup is of the part that both have.
    let second = world.backup(&store);
    assert!(first.last < second.last);
    store.close().unwrap();
    // The store that was lost turns up again: it has another event there.
    let lost = open(&world.options);
    assert!(matches!(
        lost.backup(&world.places, UNTIL, &Keyholders::default(), None, &mut |_, _| {}),
        Err(BackupError::OtherLog)
    ));
}

#[test]
fn a_ledger_that_was_touched_is_refused_and_a_torn_line_is_not_missed() {
    let world = World::new();
    let store = open(&world.options);
    purge(&store, &world.entities[20..23]);
    let path = world.write_ledger(&store);
    let (key, name) = (store.index_key(), store.view(|views| views.small.store));
    let text = std::fs::read_to_string(&path).unwrap();
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        ledger::Read::of(&path, &key, name)
    };
    assert_eq!(read(&text).unwrap().destroyed.len(), 6);
    let lines: Vec<&str> = text.lines().collect();
    for out in 0..lines.len() - 1 {
        let without: String =
            lines.iter().enumerate().filter(|(n, _)| *n != out).map(|(_, line)| format!("{line}\n")).collect();
        assert!(matches!(read(&without), Err(LedgerError::Changed { .. })), "without line {out}");
    }
    for at in (0..text.len()).filter(|at| text.as_bytes()[*at] != b'\n') {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        assert!(matches!(read(&changed), Err(LedgerError::Changed { .. })), "byte {at}");
    }
    let whole = |cut: usize| text[..cut].matches('\n').count();
    for cut in 0..text.len() {
        assert_eq!(read(&text[..cut]).unwrap().destroyed.len(), whole(cut).saturating_sub(1), "cut at {cut}");
        // What is written next mends it.
        if cut > 0 {
            world.write_ledger(&store);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "cut at {cut}");
        }
    }
}

#[test]
fn numbers_that_are_given_out_anew_are_not_those_that_were_erased() {
    let world = World::new();
    let store = open(&world.options);
    let (key, name) = (store.index_key(), store.view(|views| views.small.store));
    let path = world.dir.path().join("erasures");
    let mut ledger = LedgerFile::open(&path, key.clone(), name).unwrap();
    let at = Timestamp(5);
    let erased = |entity, position| (EntityId(entity), Erasure { position: Position(position), at });
    ledger.destroyed(&[erased(10, 400), erased(500, 401)]).unwrap();
    // The log was restored up to 390, where it had 301 numbers.
    ledger.restored(301, Position(390), Position(391)).unwrap();
    ledger.destroyed(&[erased(11, 395)]).unwrap();
    let read = ledger::Read::of(&path, &key, name).unwrap();
    assert_eq!(read.destroyed.keys().copied().collect::<Vec<_>>(), [EntityId(10), EntityId(11)]);
    let ledger = LedgerFile::open(&path, key, name).unwrap();
    assert_eq!(ledger.last(), Position(395));
    assert!(ledger.knows_restore(Position(391)) && !ledger.knows_restore(Position(390)));
}

#[test]
fn another_root_key_restores_nothing() {
    let world = World::new();
    world.backed_up();
    let mut options = world.elsewhere("never");
    options.root_key = world.dir.path().join("other.key");
    drop(RootKey::generate_file(&options.root_key).unwrap());
    assert!(matches!(world.restore(&options, Ledgers::None), Err(BackupError::Vault(_))));
    assert!(matches!(Store::open(&options, &mut |_, _| {}), Err(OpenError::Absent)));
}

#[test]
fn backups_from_before_and_after_a_compaction_are_both_whole() {
    let world = World::new();
    let store = open(&world.options);
    purge(&store, &world.entities[50..100]);
    let before = world.backup(&store);
    store.close().unwrap();
    let (store, report) = Store::compact(&world.options, &mut |_, _| {}).unwrap();
    assert!(report.bodies > 0);
    let after = world.backup(&store);
    let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
    add_contacts(&store, layout, 300..310);
    let later = world.backup(&store);
    store.close().unwrap();
    assert_ne!(before.journal[0].name, after.journal[0].name);
    assert_eq!(after.journal[0].name, later.journal[0].name, "it only goes on");
    for manifest in [&before, &after, &later] {
        manifest.check_log(&world.places, &world.options.halt, &mut |_| {}).unwrap();
        let options = world.elsewhere(&format!("restored {}", manifest.last));
        let restore = Restore { backup: Some(manifest.last), ..world.to_restore(&options) };
        restore.run(&mut |_, _| {}).unwrap();
    }
    make::remove_superseded(&world.places, Timestamp(UNTIL.0 + 1)).unwrap();
    assert_eq!(Manifest::list(&world.places).unwrap().len(), 3, "its keys are still there");
    durable_file::discard_dir(&world.places.keys_of(before.last), COPY).unwrap();
    make::remove_superseded(&world.places, Timestamp(UNTIL.0 + 1)).unwrap();
    assert_eq!(Manifest::list(&world.places).unwrap(), [after.last, later.last]);
    let segments = std::fs::read_dir(world.places.journal()).unwrap().count();
    assert_eq!(segments, 1);
    later.check_log(&world.places, &world.options.halt, &mut |_| {}).unwrap();
}

#[test]
fn a_backup_that_is_asked_to_stop_lets_go_within_a_piece() {
    let world = World::new();
    let halt = crate::halt::Halt::default();
    let store = open(&Options { halt: halt.clone(), ..world.options.clone() });
    let (from, to) = (world.dir.path().join("slow"), world.dir.path().join("slow copy"));
    std::fs::write(&from, vec![1; 3 * PIECE_BYTES]).unwrap();
    let mut pieces = 0;
    let around = Around { halt: &halt, gate: &OpenGate };
    let copied = copy(&from, &to, 3 * PIECE_BYTES as u64, around, &mut |_| {
        pieces += 1;
        halt.ask();
    });
    assert!(matches!(copied, Err(BackupError::Read(ReadError::Halted(_)))) && !to.exists());
    assert_eq!(pieces, 1);
    // Nor does it begin with the keys, which are copied before there is any progress to tell.
    let stopped = store.backup(&world.places, UNTIL, &Keyholders::default(), None, &mut |_, _| {});
    assert!(matches!(stopped, Err(BackupError::Read(ReadError::Halted(_)))));
    let last = store.view(|views| views.position);
    let copies = std::fs::read_dir(world.places.keys_of(last)).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(copies.into_iter().all(|name| name.to_str().unwrap().ends_with(".tmp")));
}

/// Keys of somebody who has to agree before anything is brought back.
#[test]
fn what_an_attempt_left_goes_with_the_next_one_and_keys_elsewhere_keep_their_log() {
    let world = World::new();
    let store = open(&world.options);
    let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
    let (holders, _) = pair();
    let backup = |places: &Places| store.backup(places, UNTIL, &holders, None, &mut |_, _| {}).unwrap().0.last;
    let first = backup(&world.places);
    // Two that were killed before their manifest, one of them while it wrote a segment.
    let left = [
        world.places.keys_of(Position(7)),
        world.places.journal().join("00000001.00000000000000ff.seg.age"),
        world.places.journal().join("00000002.00000000000000ff.seg.age.tmp"),
    ];
    std::fs::create_dir(&left[0]).unwrap();
    std::fs::write(left[0].join("slots.0000"), "keys").unwrap();
    std::fs::write(&left[1], "whole").unwrap();
    std::fs::write(&left[2], "half").unwrap();
    add_contacts(&store, layout, 1_000..1_010);
    let second = backup(&world.places);
    assert!(left.iter().all(|path| !path.exists()));
    assert_eq!(Manifest::list(&world.places).unwrap(), [first, second]);
    // The copies of the keys move to another disk, where those from before are not.
    add_contacts(&store, layout, 1_010..1_020);
    let moved = Places { keys: world.dir.path().join("another disk"), ..world.places.clone() };
    std::fs::create_dir(&moved.keys).unwrap();
    let third = backup(&moved);
    make::remove_superseded(&moved, UNTIL).unwrap();
    assert_eq!(Manifest::list(&moved).unwrap(), [first, second, third]);
    Manifest::read(&world.places, first).unwrap().check_log(&world.places, &world.options.halt, &mut |_| {}).unwrap();
    store.close().unwrap();
}

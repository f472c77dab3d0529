use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use retention_core::event::Event;
use retention_core::event::key::KeyRotationRequested;
use retention_core::evidence::checkpoint::Checkpoint;
use retention_core::view::Condition;

use super::*;
use crate::clock::ManualClock;
use crate::flush::{Flush, OpenGate};
use crate::stage::Step;
use crate::stage::attest::Attest;
use crate::store::Options;
use crate::store::open::daemon_draft;
use crate::store::tests::init_with_clock;
use crate::store::tree::Tree;

struct World {
    options: Options,
    clock: Arc<ManualClock>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (options, clock) = init_with_clock(dir.path());
        Self { options, clock, _dir: dir }
    }

    fn open(&self) -> Arc<Store> {
        Arc::new(Store::open(&self.options, &mut |_, _| {}).unwrap())
    }

    /// Lives until everything is signed, as the daemon does. Returns the newest checkpoint.
    fn live(&self, store: &Arc<Store>, gate: &dyn FlushGate) -> Result<String, SigningKeyError> {
        let tree = Arc::new(Tree::open(store.dir()).unwrap());
        let signer = current(store, gate, None)?;
        let mut attest = Attest::new(store.clone(), self.clock.clone(), tree.clone(), signer)?;
        attest.compare(&mut || {}).unwrap();
        loop {
            match attest.step().unwrap() {
                Step::Worked => {}
                Step::Idle if tree.covered() == store.view(|views| views.position.0) => break,
                Step::Idle => {}
                Step::IdleUntil(at) => self.clock.pass_until(at),
            }
        }
        Ok(tree.newest().unwrap().unwrap().1)
    }

    fn ask(&self, store: &Store) {
        let body = KeyRotationRequested { keys: StoreKeys::Signing, reason: "yearly".to_owned() };
        let draft = daemon_draft(Event::KeyRotationRequested(body));
        store.append_drafts(vec![draft], Condition::None).unwrap();
    }
}

fn adopted(store: &Store) -> Vec<String> {
    store.view(|views| views.small.signing_keys.iter().map(|key| key.verifier_key.clone()).collect())
}

fn is_asked(store: &Store) -> bool {
    store.view(|views| views.small.keys.asked(StoreKeys::Signing).is_some())
}

fn files(store: &Store) -> Vec<String> {
    let names = std::fs::read_dir(store.dir().join("tree")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("signing.key")).collect()
}

#[test]
fn a_key_is_changed_only_when_somebody_asked_and_once() {
    let world = World::new();
    let store = world.open();
    let first = world.live(&store, &OpenGate).unwrap();
    world.live(&store, &OpenGate).unwrap();
    assert_eq!(adopted(&store).len(), 1);
    let old = std::fs::read(store.dir().join("tree/signing.key")).unwrap();
    world.ask(&store);
    let second = world.live(&store, &OpenGate).unwrap();
    world.live(&store, &OpenGate).unwrap();
    let keys = adopted(&store);
    assert_eq!((keys.len(), is_asked(&store), files(&store)), (2, false, vec!["signing.key".to_owned()]));
    assert_ne!(std::fs::read(store.dir().join("tree/signing.key")).unwrap(), old);
    // Each checkpoint is checked with the key that signed it, and growth from one to the other with both.
    let sizes = [&first, &second].map(|note| Checkpoint::unverified(note).unwrap().size);
    let holds = |note: &str, key: &String| Checkpoint::verify(note, &[key.as_str()]).is_ok();
    assert!(holds(&first, &keys[0]) && !holds(&first, &keys[1]));
    assert!(holds(&second, &keys[1]) && !holds(&second, &keys[0]));
    let growth = Tree::open(store.dir()).unwrap().prove_growth(sizes[0], sizes[1]).unwrap().unwrap();
    assert!(growth.verify(&[&keys[0], &keys[1]]).is_ok());
    assert!(growth.verify(&[&keys[0]]).is_err() && growth.verify(&[&keys[1]]).is_err());
}

#[test]
fn a_key_that_is_missing_or_damaged_is_found_and_what_a_change_left_is_not() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let store = world.open();
    let dir = store.dir();
    assert_eq!(finding(dir, false), None, "none was made yet");
    world.live(&store, &OpenGate).unwrap();
    assert_eq!(finding(dir, true), None);
    let path = dir.join("tree/signing.key");
    let whole = std::fs::read(&path).unwrap();
    for damaged in [&b""[..], b"no key\n", &[0xff], &whole[..whole.len() - 5]] {
        std::fs::write(&path, damaged).unwrap();
        let found = finding(dir, true).unwrap();
        assert_eq!((found.code(), found.part()), ("signing_key_damaged", "tree"));
        assert!(!found.to_string().contains("PRIVATE"), "{found}");
    }
    std::fs::write(&path, &whole).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(finding(dir, true).unwrap().code(), "signing_key_damaged", "others can read it");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(finding(dir, true), None);
    // A change that a crash interrupted: the next start puts the new one in place.
    std::fs::rename(&path, dir.join("tree/signing.key.new")).unwrap();
    assert_eq!(finding(dir, true), None);
    std::fs::remove_file(dir.join("tree/signing.key.new")).unwrap();
    assert_eq!(finding(dir, true), Some(Finding::SigningKeyMissing));
}

/// Stops everything at one flush of keys, before or after it, and for ever.
struct Stop {
    left: Mutex<(u64, bool)>,
    after: bool,
}

impl Stop {
    fn pass(&self, is_after: bool) -> io::Result<()> {
        let (left, stopped) = &mut *self.left.lock();
        if is_after == self.after && !*stopped {
            *left -= 1;
            *stopped = *left == 0;
        }
        if *stopped { Err(io::Error::other("the world was stopped here")) } else { Ok(()) }
    }
}

impl FlushGate for Stop {
    fn before(&self, _: Flush) -> io::Result<()> {
        self.pass(false)
    }

    fn after(&self, _: Flush) -> io::Result<()> {
        self.pass(true)
    }
}

#[test]
fn a_change_that_was_stopped_at_any_flush_is_done_once_by_the_next_start() {
    for after in [false, true] {
        let mut nth = 1;
        loop {
            let world = World::new();
            let store = world.open();
            world.live(&store, &OpenGate).unwrap();
            world.ask(&store);
            let stop = Stop { left: Mutex::new((nth, false)), after };
            // A key that was made is not used before everything of the change is durable.
            let is_done = world.live(&store, &stop).is_ok();
            drop(store);
            let store = world.open();
            assert_eq!(is_asked(&store), !is_done, "{after} {nth}");
            let note = world.live(&store, &OpenGate).unwrap();
            let keys = adopted(&store);
            assert_eq!((keys.len(), is_asked(&store)), (2, false), "{after} {nth}");
            assert_eq!(files(&store), ["signing.key"], "{after} {nth}");
            assert!(Checkpoint::verify(&note, &[keys[1].as_str()]).is_ok(), "{after} {nth}");
            if is_done {
                break;
            }
            nth += 1;
        }
        assert_eq!(nth, 5, "before and after each of four flushes");
    }
}

#[test]
fn a_start_between_the_new_key_and_its_adoption_adopts_it() {
    let world = World::new();
    let store = world.open();
    world.live(&store, &OpenGate).unwrap();
    world.ask(&store);
    let made = current(&store, &OpenGate, None).unwrap();
    assert!(is_asked(&store), "nothing has adopted it");
    let again = current(&store, &OpenGate, None).unwrap();
    assert!(*made == *again, "it is not made twice");
    world.live(&store, &OpenGate).unwrap();
    assert_eq!(adopted(&store).last(), Some(&verifier_of(&made).unwrap()));
}

#[test]
fn an_older_key_that_was_put_back_is_not_taken_for_the_new_one() {
    let world = World::new();
    let store = world.open();
    let file = store.dir().join("tree/signing.key");
    world.live(&store, &OpenGate).unwrap();
    let first = std::fs::read(&file).unwrap();
    world.ask(&store);
    world.live(&store, &OpenGate).unwrap();
    std::fs::write(&file, &first).unwrap();
    world.ask(&store);
    world.live(&store, &OpenGate).unwrap();
    let keys = adopted(&store);
    assert_eq!((keys.len(), is_asked(&store)), (3, false));
    assert!(keys[0] != keys[2] && std::fs::read(&file).unwrap() != first);
}

#[test]
fn a_log_keeps_the_name_that_it_was_given_at_first() {
    const NAME: &str = "logs.example.org/retention";
    let world = World::new();
    let store = world.open();
    assert!(origin(&store, None).starts_with("retentiond/"), "a name of its own");
    let tree = Arc::new(Tree::open(store.dir()).unwrap());
    let signer = current(&store, &OpenGate, Some(NAME)).unwrap();
    assert_eq!(origin_of(&verifier_of(&signer).unwrap()).as_deref(), Ok(NAME));
    // Before its key is adopted nothing was signed with it, and it is the key of a log of this name all the same.
    let early = current(&store, &OpenGate, None);
    assert!(matches!(early, Err(SigningKeyError::OfAnotherLog { .. })), "{:?}", early.map(drop));
    let mut attest = Attest::new(store.clone(), world.clock.clone(), tree, signer).unwrap();
    attest.compare(&mut || {}).unwrap();
    assert_eq!(attest.step().unwrap(), Step::Worked);
    drop(attest);

    // Adopted: whether the configuration says it or not, also of its next keys.
    for wanted in [Some(NAME), None] {
        refuse_another_name(&store, wanted).unwrap();
        world.ask(&store);
        let note = world.live(&store, &OpenGate).unwrap();
        assert_eq!(Checkpoint::unverified(&note).unwrap().origin, NAME);
    }
    let refused = current(&store, &OpenGate, Some("logs.example.org/other")).map(drop);
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("this log is called logs.example.org/retention"), "{said}");

    // A key of another log is not taken for the next one.
    let file = store.dir().join("tree/signing.key");
    let own = std::fs::read(&file).unwrap();
    let (other, _) = keys_of(&[9; 32], "logs.example.org/other").unwrap();
    std::fs::write(&file, other.as_bytes()).unwrap();
    let refused = current(&store, &OpenGate, None).map(drop);
    assert!(matches!(refused, Err(SigningKeyError::OfAnotherLog { .. })), "{refused:?}");
    std::fs::write(&file, own).unwrap();
    current(&store, &OpenGate, None).unwrap();
}

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use retention_core::event::key::KeyRotationRequested;
use retention_core::event::{Actor, Draft, stream_of_daemon};
use retention_core::id::EntityId;

use super::super::tests::{add_contacts, add_layout, copy_dir, init, open, purge, sign};
use super::super::tree::Tree;
use super::*;
use crate::flush::{Flush, FlushGate};
use crate::store::vault::SlotCounts;

/// A store of 40 contacts of which 10 were purged, with a signed tree, and a request for new wrapping keys.
fn world(dir: &Path) -> Options {
    let options = init(dir);
    let store = open(&options);
    let layout = add_layout(&store);
    let entities = add_contacts(&store, layout, 0..40);
    purge(&store, &entities[10..20]);
    sign(&store);
    let body = KeyRotationRequested { keys: StoreKeys::Wrapping, reason: "a drill".to_owned() };
    let draft = Draft {
        stream: stream_of_daemon(),
        entity: None,
        actor: Actor::Person(1_000),
        cause: Position::NONE,
        occurred_at: None,
        event: Event::KeyRotationRequested(body),
    };
    store.append_drafts(vec![draft], Condition::None).unwrap();
    store.close().unwrap();
    options
}

/// Stops everything at one flush, before or after it, and for ever.
struct Stop {
    left: Mutex<(u64, bool)>,
    after: bool,
}

impl Stop {
    fn at(nth: u64, after: bool) -> Arc<Self> {
        Arc::new(Self { left: Mutex::new((nth, false)), after })
    }

    fn pass(&self, what: Flush, is_after: bool) -> io::Result<()> {
        let (left, stopped) = &mut *self.left.lock();
        // Slots are filled ahead of need by a thread of its own: a count would not name the same point twice.
        if what != Flush::Fill && is_after == self.after && !*stopped {
            *left -= 1;
            *stopped = *left == 0;
        }
        if *stopped { Err(io::Error::other("the world was stopped here")) } else { Ok(()) }
    }
}

impl FlushGate for Stop {
    fn before(&self, what: Flush) -> io::Result<()> {
        self.pass(what, false)
    }

    fn after(&self, what: Flush) -> io::Result<()> {
        self.pass(what, true)
    }
}

fn asked(store: &Store) -> Option<Position> {
    store.view(|views| views.small.keys.asked(StoreKeys::Wrapping))
}

fn wrapped(options: &Options) -> Vec<Vec<u8>> {
    let slots = std::fs::read(options.dir.join("keys/slots.0000")).unwrap();
    (1..40_usize).map(|slot| slots[slot * 64 + 12..slot * 64 + 44].to_vec()).collect()
}

fn is_whole(options: &Options) {
    let report = Store::verify_stopped(options, &mut |_, _| {}).unwrap();
    assert_eq!((report.findings.as_slice(), report.checkpoints, report.views_compared), (&[][..], Some(1), true));
    for name in ["keys.new", "keys.old", "keys/complete"] {
        assert!(!options.dir.join(name).exists(), "{name} is left");
    }
}

#[test]
fn every_key_is_wrapped_anew_and_nothing_else_changes() {
    let dir = tempfile::tempdir().unwrap();
    let options = world(dir.path());
    let before = wrapped(&options);
    let store = open(&options);
    let (request, counts) = (asked(&store).unwrap(), store.count_keys().unwrap());
    let proof = |store: &Store| {
        Tree::open(store.dir()).unwrap().prove(&store.envelope(Position(20)).unwrap().unwrap()).unwrap().unwrap()
    };
    let proven = proof(&store);
    let live = EntityId(5);
    let record = store.record(live).unwrap();
    store.close().unwrap();

    let store = Store::rotate_wrapping_keys(&options, &mut |_, _| {}).unwrap();
    assert_eq!((proof(&store), store.record(live).unwrap()), (proven, record));
    let last = store.view(|views| views.position);
    let ended = store.read(last).unwrap().unwrap();
    assert!(matches!(ended.event(), Some(Event::WrappingKeysRotated(_))) && ended.envelope.cause == request);
    assert_eq!((asked(&store), counts.destroyed), (None, 10));
    // Slots that were filled ahead of need and never used are not carried over.
    let now = store.count_keys().unwrap();
    assert_eq!(SlotCounts { live: 0, retired: 0, ..now }, SlotCounts { live: 0, retired: 0, ..counts });
    assert!(now.live >= 30, "{now:?}");
    store.close().unwrap();
    let after = wrapped(&options);
    let same = before.iter().zip(&after).filter(|(before, after)| before == after).count();
    assert_eq!(same, 10, "only tombstones are as they were");
    is_whole(&options);
}

#[test]
fn a_rotation_that_was_stopped_at_any_flush_is_done_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let begun = world(dir.path());
    let before = wrapped(&begun);
    for after in [false, true] {
        let mut stops = 0;
        loop {
            let options = Options { dir: dir.path().join(format!("{after} {stops}")), ..begun.clone() };
            copy_dir(&begun.dir, &options.dir);
            let stopped = Options { gate: Stop::at(stops + 1, after), ..options.clone() };
            let rotated = Store::rotate_wrapping_keys(&stopped, &mut |_, _| {});
            let is_done = rotated.is_ok();
            drop(rotated);
            // As a start does it: what is still asked for is done.
            let store = open(&options);
            assert!(store.record(EntityId(5)).unwrap().is_some(), "{after} {stops}");
            let is_asked = asked(&store).is_some();
            assert!(!(is_done && is_asked), "it was told that it is done");
            store.close().unwrap();
            if is_asked {
                Store::rotate_wrapping_keys(&options, &mut |_, _| {}).unwrap().close().unwrap();
            }
            is_whole(&options);
            let same = before.iter().zip(wrapped(&options)).filter(|(before, after)| *before == after).count();
            assert_eq!(same, 10, "{after} {stops}: only tombstones are as they were");
            if is_done {
                break;
            }
            stops += 1;
        }
        assert!(stops >= 7, "there are only {stops} flushes");
    }
}

#[test]
fn a_rotation_says_that_it_goes_on_and_stops_when_it_is_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let options = world(dir.path());
    let (halt, before) = (crate::halt::Halt::default(), wrapped(&options));
    let stopping = Options { halt: halt.clone(), ..options.clone() };
    let mut told = 0;
    let stopped = Store::rotate_wrapping_keys(&stopping, &mut |_, _| {
        told += 1;
        halt.ask();
    });
    assert!(matches!(stopped, Err(OpenError::Read(crate::store::ReadError::Halted(_)))));
    assert_eq!((told, wrapped(&options)), (1, before), "it stopped at the first slots, which are as they were");
    Store::rotate_wrapping_keys(&options, &mut |_, _| {}).unwrap().close().unwrap();
    is_whole(&options);
}

#[test]
fn keys_that_are_the_only_ones_are_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let options = world(dir.path());
    let at = |name: &str| options.dir.join(name);
    for has_new in [false, true] {
        std::fs::rename(at("keys"), at("keys.old")).unwrap();
        if has_new {
            std::fs::create_dir(at("keys.new")).unwrap();
            std::fs::write(at("keys.new/slots.0000"), b"half").unwrap();
        }
        let store = open(&options);
        assert!(store.record(EntityId(5)).unwrap().is_some());
        store.close().unwrap();
        is_whole(&options);
    }
    // Nor when nothing says whose they are.
    std::fs::rename(at("keys"), at("keys.new")).unwrap();
    assert!(Store::open(&options, &mut |_, _| {}).is_err());
    std::fs::rename(at("keys.new"), at("keys")).unwrap();
    open(&options).close().unwrap();
    is_whole(&options);
}

#[test]
fn a_key_that_an_older_copy_brought_back_is_destroyed_again() {
    const SLOT_BYTES: usize = 64;
    let dir = tempfile::tempdir().unwrap();
    let options = init(dir.path());
    let store = open(&options);
    let layout = add_layout(&store);
    let entities = add_contacts(&store, layout, 0..40);
    store.close().unwrap();
    let slots = options.dir.join("keys/slots.0000");
    let old = std::fs::read(&slots).unwrap();
    let store = open(&options);
    purge(&store, &entities[10..12]);
    store.close().unwrap();
    for again in [0, 1] {
        let mut bytes = std::fs::read(&slots).unwrap();
        let at = entities[10].0 as usize * SLOT_BYTES;
        if again == 0 {
            bytes[at..at + SLOT_BYTES].copy_from_slice(&old[at..at + SLOT_BYTES]);
            std::fs::write(&slots, &bytes).unwrap();
        }
        let found = Store::verify_stopped(&options, &mut |_, _| {}).unwrap().findings;
        let codes: Vec<_> = found.iter().map(crate::store::verify::Finding::code).collect();
        assert_eq!(codes.contains(&"key_not_destroyed"), again == 0, "{codes:?}");
        Store::rotate_wrapping_keys(&options, &mut |_, _| {}).unwrap().close().unwrap();
    }
    let counts: SlotCounts = open(&options).count_keys().unwrap();
    assert_eq!(counts.destroyed, 2);
}

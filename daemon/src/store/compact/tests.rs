use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::tests::{add_contacts, add_layout, begin_purge, copy_dir, init, open, purge, sign};
use super::super::tree::Tree;
use super::*;

/// A store of 400 contacts of which 150 were purged, with a signed tree. Returns the purged ones.
fn world(dir: &Path) -> (Options, Vec<EntityId>) {
    let options = init(dir);
    let store = open(&options);
    let layout = add_layout(&store);
    let entities = add_contacts(&store, layout, 0..400);
    let purged = entities[100..250].to_vec();
    purge(&store, &purged);
    sign(&store);
    store.close().unwrap();
    (options, purged)
}

/// Every file of a store.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            all.extend(files(&entry));
        } else {
            all.insert(entry.clone(), std::fs::read(&entry).unwrap());
        }
    }
    all
}

/// The bodies of entities, as they lie in the journal.
fn bodies(options: &Options, of: &[EntityId]) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(options.dir.join("journal/00000001.seg")).unwrap();
    let events = Events { rest: &bytes[32..] };
    let sealed = events.filter(|(envelope, _)| envelope.sealed && envelope.entity.is_some_and(|e| of.contains(&e)));
    sealed.filter_map(|(_, body)| body.map(<[u8]>::to_vec)).collect()
}

fn found(options: &Options, needles: &[Vec<u8>]) -> usize {
    let files = files(&options.dir);
    let is_there = |needle: &&Vec<u8>| files.values().any(|bytes| memchr::memmem::find(bytes, needle).is_some());
    needles.iter().filter(is_there).count()
}

fn compact(options: &Options) -> CompactReport {
    let (store, report) = Store::compact(options, &mut |_, _| {}).unwrap();
    store.close().unwrap();
    report
}

fn is_good(options: &Options) -> bool {
    let report = Store::verify_stopped(options, &mut |_, _| {}).unwrap();
    assert_eq!((report.findings.as_slice(), report.checkpoints, report.views_compared), (&[][..], Some(1), true));
    true
}

#[test]
fn no_byte_of_what_was_erased_is_left_and_every_proof_still_holds() {
    let dir = tempfile::tempdir().unwrap();
    let (options, purged) = world(dir.path());
    let erased = bodies(&options, &purged);
    let kept: Vec<EntityId> = (1..100).map(EntityId).filter(|entity| !purged.contains(entity)).collect();
    let still_sealed = bodies(&options, &kept);
    let slots = std::fs::read(options.dir.join("keys/slots.0000")).unwrap();
    let wrapped: Vec<Vec<u8>> = (1..400).map(|slot| slots[slot * 64 + 12..slot * 64 + 44].to_vec()).collect();
    assert_eq!((erased.len(), found(&options, &erased)), (150, 150), "they are there before");
    let event_of_erased = Position(20 + 120);
    let proof = |store: &Store| {
        let tree = Tree::open(store.dir()).unwrap();
        tree.prove(&store.envelope(event_of_erased).unwrap().unwrap()).unwrap().unwrap()
    };
    let store = open(&options);
    let before = proof(&store);
    store.close().unwrap();
    let size = |options: &Options| std::fs::metadata(options.dir.join("journal/00000001.seg")).unwrap().len();
    let size_before = size(&options);

    let (store, report) = Store::compact(&options, &mut |_, _| {}).unwrap();
    assert_eq!((report.segments, report.bodies), (1, 150));
    assert_eq!(proof(&store), before);
    let live = EntityId(50);
    assert!(store.record(live).unwrap().is_some() && store.record(purged[0]).unwrap().is_none());
    store.close().unwrap();
    assert_eq!(found(&options, &erased), 0);
    assert_eq!(found(&options, &still_sealed), still_sealed.len());
    // Whoever kept an image of a slot needs a wrapping key that is not there any more.
    let tombstones = wrapped.iter().filter(|bytes| bytes.starts_with(b"retentiond")).count();
    assert_eq!((tombstones, found(&options, &wrapped)), (150, 150), "none but the tombstones");
    // The event that says so is longer than nothing.
    assert!(size(&options) < size_before - report.bytes + 300);
    assert!(is_good(&options));
    assert_eq!(compact(&options), CompactReport::default(), "there is nothing more to remove");
    assert!(is_good(&options));
}

#[test]
fn a_key_without_its_event_and_a_purge_under_way_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = world(dir.path());
    let store = open(&options);
    let entities = [EntityId(300), EntityId(301)];
    let run = begin_purge(&store, &entities);
    let saga = retention_core::id::SagaId(run.0.next());
    let ticket = super::super::vault::destroy::StepTicket::for_intent(saga, saga.0.next());
    let _gone = store.destroy(&ticket, &entities[..1]).unwrap();
    store.close().unwrap();
    let sealed = bodies(&options, &entities);
    compact(&options);
    assert_eq!(found(&options, &sealed), 2, "the log does not say yet that the key is destroyed");
    let report = Store::verify_stopped(&options, &mut |_, _| {}).unwrap();
    assert_eq!((report.findings.as_slice(), report.in_flight.as_slice()), (&[][..], &entities[..1]));
}

#[test]
fn a_compaction_that_was_killed_anywhere_is_mended_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (options, purged) = world(dir.path());
    let erased = bodies(&options, &purged);
    let done = Options { dir: dir.path().join("done"), ..options.clone() };
    copy_dir(&options.dir, &done.dir);
    compact(&done);
    let segment = |options: &Options, ending: &str| options.dir.join(format!("journal/00000001.seg{ending}"));
    type Killed<'a> = Box<dyn Fn(&Options) + 'a>;
    let new = {
        // As it lies there before the event that says that it was compacted.
        let old = std::fs::read(segment(&options, "")).unwrap();
        let gone = purged.iter().map(|entity| entity.0).collect();
        without(&old, 1, &gone).unwrap().unwrap().0
    };
    let write_new = |options: &Options| std::fs::write(segment(options, ".new"), &new).unwrap();
    let link = |options: &Options| std::fs::hard_link(segment(options, ""), segment(options, ".old")).unwrap();
    let rename = |options: &Options| std::fs::rename(segment(options, ".new"), segment(options, "")).unwrap();
    let aside = |options: &Options| drop(sled_door::set_aside(&options.dir.join("events")).unwrap());
    let keys = |options: &Options, name: &str| options.dir.join(format!("keys{name}"));
    let rewrapped = |options: &Options, complete: bool| {
        let into = keys(options, ".new");
        std::fs::create_dir(&into).unwrap();
        let root = RootKey::read(&options.root_key).unwrap();
        let (from, none, halt) = (keys(options, ""), RoaringBitmap::new(), &options.halt);
        super::super::vault::rewrap::rewrap(&from, &into, root, 401, &none, halt, &mut |_, _| {}).unwrap();
        if complete {
            std::fs::write(into.join("complete"), b"").unwrap();
        }
    };
    let killed: Vec<(&str, bool, Killed<'_>)> = vec![
        ("sled is set aside", false, Box::new(|o| aside(o))),
        (
            "half a new segment",
            false,
            Box::new(|o| {
                aside(o);
                std::fs::write(segment(o, ".new"), &new[..new.len() / 2]).unwrap();
            }),
        ),
        (
            "the old one is linked",
            false,
            Box::new(|o| {
                aside(o);
                write_new(o);
                link(o);
            }),
        ),
        (
            "the new one is in place",
            true,
            Box::new(|o| {
                aside(o);
                write_new(o);
                link(o);
                rename(o);
            }),
        ),
        ("half of the keys", false, Box::new(|o| rewrapped(o, false))),
        ("all of the keys", false, Box::new(|o| rewrapped(o, true))),
        (
            "the old keys are away",
            false,
            Box::new(|o| {
                rewrapped(o, true);
                std::fs::rename(keys(o, ""), keys(o, ".old")).unwrap();
            }),
        ),
        (
            "the new keys are in place",
            false,
            Box::new(|o| {
                rewrapped(o, true);
                std::fs::rename(keys(o, ""), keys(o, ".old")).unwrap();
                std::fs::rename(keys(o, ".new"), keys(o, "")).unwrap();
            }),
        ),
    ];
    for (number, (what, is_done, kill)) in killed.iter().enumerate() {
        let options = Options { dir: dir.path().join(format!("killed {number}")), ..options.clone() };
        copy_dir(&dir.path().join("state"), &options.dir);
        kill(&options);
        let store = open(&options);
        assert!(store.record(EntityId(50)).unwrap().is_some(), "{what}");
        store.close().unwrap();
        assert!(is_good(&options), "{what}");
        let beside = files(&options.dir).into_keys().filter(|path| {
            let name = path.display().to_string();
            name.ends_with(".new") || name.ends_with(".old") || name.contains("keys.") || name.contains("complete")
        });
        assert_eq!(beside.collect::<Vec<_>>(), Vec::<PathBuf>::new(), "{what}");
        assert_eq!(found(&options, &erased) == 0, *is_done, "{what}");
        compact(&options);
        assert!(is_good(&options), "{what}");
        assert_eq!(found(&options, &erased), 0, "{what}");
    }
}

#[test]
fn a_damaged_journal_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = world(dir.path());
    let path = options.dir.join("journal/00000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[5_000] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(Store::compact(&options, &mut |_, _| {}), Err(OpenError::Journal(_))));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

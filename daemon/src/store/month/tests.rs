use std::sync::Arc;
use std::time::Duration;

use retention_core::event::hold::{HoldPlaced, HoldReleased, v1};
use retention_core::event::{Readable, apart};
use retention_core::id::HoldId;
use retention_core::policy::{PolicyFile, PolicySet};
use retention_core::time::Timestamp;
use retention_core::view::snapshot::Snapshot;

use super::super::tests::{init, open, purge, sign};
use super::super::tree::Tree;
use super::super::{KeyState, Options};
use super::*;
use crate::clock::{Clock, ManualClock};

const MONTH: Duration = Duration::from_secs(31 * 86_400);

/// The shipped policy about months.
fn policies() -> Arc<PolicySet> {
    let text = include_str!("../../../../policies/audit-events.toml");
    Arc::new(PolicySet::check(&[PolicyFile { stem: "audit-events", text }]).unwrap())
}

fn world(dir: &std::path::Path) -> (Options, ManualClock) {
    let clock = ManualClock::starting_at("2026-11-27T10:00:00Z".parse().unwrap());
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    (Options { clock: shared, ..init(dir) }, clock)
}

fn case(reason: &str) -> HoldPlaced {
    v1::HoldPlaced { name: "case 7".into(), reason: reason.into(), entities: vec![EntityId(9)] }.into()
}

fn place(store: &Store, reason: &str) -> Position {
    let draft = daemon_draft(Event::HoldPlaced(case(reason)));
    store.append_drafts(vec![draft], Condition::None).unwrap().first
}

fn release(store: &Store, hold: Position) {
    let body = HoldReleased { hold: HoldId(hold), reason: String::new(), until: Timestamp(i64::MIN) };
    store.append_drafts(vec![daemon_draft(Event::HoldReleased(body))], Condition::None).unwrap();
}

fn month_of(store: &Store, position: Position) -> Option<EntityId> {
    store.envelope(position).unwrap().unwrap().texts
}

/// Returns the reason of a hold as it can be read now, and whether its texts are there.
fn reason(store: &Store, hold: Position) -> (String, bool) {
    match store.read(hold).unwrap().unwrap().event {
        Readable::Event(event) => (reason_in(&event), true),
        Readable::Facts(event) => (reason_in(&event), false),
        other => panic!("{other:?}"),
    }
}

fn reason_in(event: &Event) -> String {
    let Event::HoldPlaced(body) = event else { panic!("{event:?}") };
    assert_eq!(body.entities, [EntityId(9)], "a fact");
    body.reason.clone()
}

fn views(store: &Store) -> Vec<u8> {
    store.view(|views| Snapshot::of(views).to_bytes().unwrap())
}

#[test]
fn what_people_wrote_is_erased_with_its_month_and_every_fact_view_and_proof_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (options, clock) = world(dir.path());
    let store = open(&options);
    let before = place(&store, "before");
    assert_eq!(month_of(&store, before), None, "no policy is about months yet");
    store.install_policies(policies());
    let (one, another) = (place(&store, "one"), place(&store, "another"));
    clock.advance(MONTH);
    let later = place(&store, "later");
    let month = month_of(&store, one).unwrap();
    assert_eq!((month_of(&store, another), month_of(&store, later) == Some(month)), (Some(month), false));
    sign(&store);
    let tree = Tree::open(store.dir()).unwrap();
    let proof = |store: &Store| tree.prove(&store.envelope(one).unwrap().unwrap()).unwrap().unwrap();
    let proven = proof(&store);
    let KeyState::Live(key) = store.key_of(month).unwrap() else { panic!("its key is there") };
    let leaf = store.envelope(one).unwrap();

    purge(&store, &[month]);
    for hold in [one, another] {
        assert_eq!(reason(&store, hold), (apart::ERASED.to_owned(), false));
    }
    assert_eq!(reason(&store, later), ("later".to_owned(), true));
    assert_eq!(reason(&store, before), ("before".to_owned(), true), "under the house key");
    assert_eq!((proof(&store), store.envelope(one).unwrap()), (proven, leaf));
    let erased = store.view(|views| views.small.months.get(month).unwrap().erased);
    assert_eq!(erased.map(|(at, run)| (at, run.is_some())), Some((clock.now(), true)));
    let expected = views(&store);
    assert_eq!(store.verify(&mut |_, _| {}).unwrap().findings, []);
    store.close().unwrap();
    assert_eq!(Store::verify_stopped(&options, &mut |_, _| {}).unwrap().findings, []);

    // Everything is made again without the texts.
    std::fs::remove_dir_all(options.dir.join("events")).unwrap();
    let store = open(&options);
    assert!(views(&store) == expected);
    store.close().unwrap();
    let (store, _) = Store::compact(&options, &mut |_, _| {}).unwrap();
    assert_eq!(reason(&store, another), (apart::ERASED.to_owned(), false));
    assert!(store.key_of(month).unwrap() == KeyState::Destroyed && key != store.inner.house_key);
    assert_eq!(store.verify(&mut |_, _| {}).unwrap().findings, []);
}

#[test]
fn a_month_is_begun_once_however_many_ask_and_again_only_when_its_key_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = world(dir.path());
    let store = Arc::new(open(&options));
    store.install_policies(policies());
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || month_of(&store, place(&store, &number.to_string())))
        })
        .collect();
    let months: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(months[0].is_some() && months.iter().all(|month| *month == months[0]), "{months:?}");
    purge(&store, &[months[0].unwrap()]);
    let next = month_of(&store, place(&store, "after")).unwrap();
    assert_ne!(Some(next), months[0]);
    let begun = store.view(|views| views.small.months.iter().count());
    assert_eq!(begun, 2);
    // Once there are months, there are months: also while no policy says so.
    store.install_policies(Arc::new(PolicySet::empty()));
    assert_eq!(month_of(&store, place(&store, "without a policy")), Some(next));
}

#[test]
fn a_month_is_needed_while_what_was_begun_in_it_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let (options, clock) = world(dir.path());
    let store = open(&options);
    store.install_policies(policies());
    let needed = |hold: Position| {
        let month = month_of(&store, hold).unwrap();
        (store.view(|views| views.month_needed(month)), store.subjects(&[month])[0].standing.needed)
    };
    let first = place(&store, "first");
    clock.advance(MONTH);
    let second = place(&store, "second");
    assert_eq!(needed(first), (Some(first), Some(first)));
    assert_eq!(needed(second), (Some(second), Some(second)), "the first keeps its own month alone");
    release(&store, first);
    clock.advance(MONTH);
    place(&store, "third");
    assert_eq!((needed(first), needed(second)), ((None, None), (Some(second), Some(second))));
}

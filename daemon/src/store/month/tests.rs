use std::sync::Arc;
use std::time::Duration;

use retention_core::event::hold::{HoldPlaced, HoldReleased, v1};
use retention_core::event::{Readable, apart};
use retention_core::id::{HoldId, SagaId};
use retention_core::policy::{PolicyFile, PolicySet};
use retention_core::time::Timestamp;
use retention_core::view::snapshot::Snapshot;

use super::super::tests::{flip, init, open, purge, sign};
use super::super::tree::Tree;
use super::super::vault::destroy::StepTicket;
use super::super::{Finding, Flush, FlushGate, KeyState, Options};
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

#[test]
fn a_clock_that_was_set_back_begins_no_month_that_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let (options, clock) = world(dir.path());
    let store = open(&options);
    store.install_policies(policies());
    let before = clock.now();
    let first = place(&store, "first");
    clock.advance(MONTH);
    let second = place(&store, "second");
    clock.set(before);
    let third = place(&store, "third");
    assert_ne!(month_of(&store, second), month_of(&store, first));
    assert_eq!(month_of(&store, third), month_of(&store, second));
    assert_eq!(store.view(|views| views.small.months.iter().count()), 2);
}

/// A device that does not take tombstones: nobody knows then which keys it holds, and the vault gives out none.
struct NoDestruction;

impl FlushGate for NoDestruction {
    fn before(&self, what: Flush) -> std::io::Result<()> {
        if what == Flush::Destroy { Err(std::io::Error::other("the device fails here")) } else { Ok(()) }
    }

    fn after(&self, _what: Flush) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_a_person_says_is_taken_under_the_house_key_when_the_vault_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = world(dir.path());
    let store = open(&Options { gate: Arc::new(NoDestruction), ..options });
    store.install_policies(policies());
    let month = month_of(&store, place(&store, "before")).unwrap();
    let ticket = StepTicket::for_intent(SagaId(Position(1)), Position(2));
    assert!(store.destroy(&ticket, &[month]).is_err() && store.key_of(month).is_err());
    let hold = place(&store, "stop");
    assert_eq!((month_of(&store, hold), reason(&store, hold)), (None, ("stop".to_owned(), true)));
}

#[test]
fn a_damaged_slot_of_a_month_keeps_no_store_from_opening_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (options, clock) = world(dir.path());
    let store = open(&options);
    store.install_policies(policies());
    let month = month_of(&store, place(&store, "written out")).unwrap();
    store.close().unwrap();
    let store = open(&options);
    let hold = place(&store, "not written out");
    assert_eq!(month_of(&store, hold), Some(month));
    let expected = views(&store);
    drop(store);
    flip(&options.dir.join("keys/slots.0000"), u64::from(month.0) * 64 + 20);
    let store = open(&options);
    assert_eq!((store.report().folded, store.report().rebuilt), (1, None));
    assert!(views(&store) == expected, "no view holds a text");
    assert!(store.read(hold).is_err(), "its reason cannot be read");
    let findings = store.verify(&mut |_, _| {}).unwrap().findings;
    assert!(findings.contains(&Finding::SlotDamaged(month)), "{findings:?}");
    assert!(findings.contains(&Finding::BodyUnreadable(hold)), "{findings:?}");
    // What is written from now on has a key again.
    let next = place(&store, "another");
    assert!(month_of(&store, next).is_some_and(|other| other != month));
    assert_eq!(reason(&store, next), ("another".to_owned(), true));
    assert_eq!(store.view(|views| views.small.holds.in_force(clock.now()).count()), 3);
}

#[test]
fn facts_that_cannot_be_read_are_found_while_the_key_of_their_month_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = world(dir.path());
    let store = open(&options);
    store.install_policies(policies());
    let event = Event::HoldPlaced(case("whole"));
    let texts = store.texts_of(&event).unwrap().unwrap();
    let none = Event::MonthBegun(MonthBegun { begins_at: Timestamp(0), ends_at: Timestamp(0) });
    let prepared = store.inner.prepare(daemon_draft(event), None, Some(&Texts { facts: none, ..texts })).unwrap();
    let hold = store.append(vec![prepared], Condition::None).unwrap().first;
    assert_eq!(reason(&store, hold), ("whole".to_owned(), true));
    assert_eq!(store.verify(&mut |_, _| {}).unwrap().findings, [Finding::BodyUnreadable(hold)]);
}

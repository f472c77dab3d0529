//! The store as a whole: what is acknowledged stays, whatever happens to sled and to the tail.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use retention_core::event::change::{EntityChanged, LayoutRecorded};
use retention_core::event::decision::{PlanPurpose, PlanRequested, RunRequested};
use retention_core::event::erasure::KeyDestroyed;
use retention_core::event::operation::{DaemonStopped, SigningKeyAdopted};
use retention_core::event::saga::{SagaEnd, SagaEnded, SagaItem, SagaStarted, ScriptKind, Step, StepStarted};
use retention_core::event::{Actor, Draft, Event};
use retention_core::evidence::checkpoint::keys_of;
use retention_core::id::{Digest, EntityId, LayoutId, PlanId, Position, RunId, SagaId};
use retention_core::record::{Column, EntityRecord, FieldType, Kind, Layout, Visibility};
use retention_core::time::Timestamp;
use retention_core::view::Condition;

use super::open::daemon_draft;
use super::tree::Tree;
use super::vault::destroy::StepTicket;
use super::vault::root_key::RootKey;
use super::{Options, Store};
use crate::clock::ManualClock;

/// A policy that purges contacts a year after they were first seen.
pub(crate) const KEEP_ONE_YEAR: &str = r#"
schema = 1
[policy]
id = "contacts"
title = "Contacts"
owner = "dpo@example.org"
legal_basis = "GDPR 5(1)(e)"
data_class = "crm.contact"
state = "enforce"
[scope]
kind = ["contact"]
match_all = true
[retention]
period = "P1Y"
start = "first_seen"
on_missing_start = "keep"
timezone = "UTC"
[schedule]
cron = "0 2 1 * *"
timezone = "UTC"
on_missed = "run_once"
[action]
kind = "purge"
"#;

pub(super) fn options(dir: &Path) -> Options {
    with_clock(dir).0
}

fn with_clock(dir: &Path) -> (Options, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_unix_seconds(1_700_000_000)));
    (Options::usual(&dir.join("state"), &dir.join("root.key"), clock.clone()).unwrap(), clock)
}

pub(crate) fn init(dir: &Path) -> Options {
    init_with_clock(dir).0
}

/// Makes a store, and hands out its clock.
pub(crate) fn init_with_clock(dir: &Path) -> (Options, Arc<ManualClock>) {
    drop(RootKey::generate_file(&dir.join("root.key")).unwrap());
    let (options, clock) = with_clock(dir);
    Store::init(&options).unwrap();
    (options, clock)
}

/// Makes a store and opens it.
pub(crate) fn open_with_clock(dir: &Path) -> (Arc<Store>, Arc<ManualClock>) {
    let (options, clock) = init_with_clock(dir);
    (Arc::new(open(&options)), clock)
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let into = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &into);
        } else {
            std::fs::copy(entry.path(), into).unwrap();
        }
    }
}

/// Lets a store's tree grow over its log, under a key that the log adopts, and signs it. Returns the checkpoint.
pub(crate) fn sign(store: &Store) -> String {
    let (_, verifier_key) = keys_of(&[7; 32], "log").unwrap();
    if store.view(|views| views.small.signing_keys.is_empty()) {
        let event = Event::SigningKeyAdopted(SigningKeyAdopted { verifier_key });
        store.append_drafts(vec![daemon_draft(event)], Condition::None).unwrap();
    }
    sign_in(store, &Tree::open(store.dir()).unwrap())
}

/// Lets a tree grow over the log, and signs it. Returns the checkpoint.
pub(crate) fn sign_in(store: &Store, tree: &Tree) -> String {
    let last = store.view(|views| views.position);
    let new: Vec<_> = (tree.next().0..=last.0).map(|at| store.envelope(Position(at)).unwrap().unwrap()).collect();
    tree.append(&new).unwrap();
    tree.checkpoint("log", &keys_of(&[7; 32], "log").unwrap().0).unwrap().unwrap()
}

/// Changes one bit of a file.
pub(crate) fn flip(path: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

pub(crate) fn open(options: &Options) -> Store {
    Store::open(options, &mut |_, _| {}).unwrap()
}

pub(super) fn layout() -> Layout {
    let column = |name: &str| Column { name: name.into(), field: name.into(), field_type: FieldType::Text };
    Layout {
        source: "crm".into(),
        kind: Kind::Contact,
        columns: vec![column("id"), column("display_name")],
        named_dates: Vec::new(),
    }
}

pub(crate) fn add_layout(store: &Store) -> LayoutId {
    let id = store.view(|views| views.small.layouts.next());
    let event = Event::LayoutRecorded(LayoutRecorded { id, layout: layout() });
    store.append_drafts(vec![super::open::daemon_draft(event)], Condition::None).unwrap();
    id
}

pub(super) fn record(layout: LayoutId, id: &str) -> EntityRecord {
    EntityRecord {
        layout,
        mailbox: None,
        visibility: Visibility::Private,
        external_id: id.into(),
        other_ids: vec![format!("{id}-other")],
        dates: Vec::new(),
        links: Vec::new(),
        cells: [Some(id), Some("somebody")].into_iter().collect(),
    }
}

pub(crate) fn add_contacts(store: &Store, layout: LayoutId, ids: std::ops::Range<u32>) -> Vec<EntityId> {
    let issued = store.issue(ids.len()).unwrap();
    let mut events = Vec::new();
    for ((entity, key), id) in issued.iter().zip(ids) {
        let draft = Draft {
            stream: store.stream_of(*entity),
            entity: Some(*entity),
            actor: Actor::Daemon,
            cause: Position::NONE,
            occurred_at: None,
            event: Event::EntityChanged(EntityChanged { record: record(layout, &format!("c{id}")) }),
        };
        events.push(store.prepare(draft, Some(key)).unwrap());
    }
    store.append(events, Condition::None).unwrap();
    issued.into_iter().map(|(entity, _)| entity).collect()
}

/// What everybody can see of a store.
pub(super) fn picture(store: &Store) -> (Position, Vec<String>) {
    let rows = store.view(|views| {
        let entities = &views.entities;
        entities.numbers_from(0).map(|e| format!("{e} {:?}", entities.row(e))).collect::<Vec<_>>()
    });
    let mut all = rows;
    let position = store.view(|views| views.position);
    for n in 1..=position.0 {
        all.push(format!(
            "{:?} {:?}",
            store.row(Position(n)).unwrap().unwrap(),
            store.read(Position(n)).unwrap().unwrap()
        ));
    }
    (position, all)
}

#[test]
fn there_is_no_store_without_init_and_never_a_second_one() {
    let dir = tempfile::tempdir().unwrap();
    let options = init(dir.path());
    assert!(matches!(Store::init(&options), Err(super::OpenError::Exists)));
    let elsewhere = Options { dir: dir.path().join("elsewhere"), ..options };
    std::fs::create_dir(&elsewhere.dir).unwrap();
    assert!(matches!(Store::open(&elsewhere, &mut |_, _| {}), Err(super::OpenError::Absent)));
}

#[test]
fn what_an_interrupted_init_left_is_no_store_and_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let options = init(dir.path());
    let part = |name: &str| options.dir.join(name);
    std::fs::remove_file(part("FORMAT")).unwrap();
    assert!(matches!(Store::init(&options), Err(super::OpenError::HalfMade)));
    std::fs::rename(part("journal"), dir.path().join("journal")).unwrap();
    assert!(matches!(Store::init(&options), Err(super::OpenError::HalfMade)));
    assert!(part("keys").join("wrapping.a").exists());
    std::fs::rename(part("keys"), dir.path().join("keys")).unwrap();
    std::fs::rename(part("events"), dir.path().join("events")).unwrap();
    Store::init(&options).unwrap();
}

#[test]
fn records_that_are_read_together_are_those_that_are_read_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&init(dir.path()));
    let layout = add_layout(&store);
    let entities = add_contacts(&store, layout, 0..400);
    let gone: Vec<EntityId> = entities.iter().copied().filter(|entity| entity.0 % 7 == 0).collect();
    let _ = store.destroy(&StepTicket::for_intent(SagaId(Position(1)), Position(1)), &gone).unwrap();
    // Neither in order nor all of them, some twice, and what is no record among them.
    let end = store.view(|views| views.position);
    let mut versions: Vec<Position> = (0..=end.0 + 2).rev().step_by(3).map(Position).collect();
    versions.extend((0..=end.0).step_by(50).flat_map(|n| [Position(n), Position(n)]));
    let one_by_one: Vec<_> = versions.iter().map(|version| store.record_at(*version).unwrap()).collect();
    assert!(one_by_one.iter().flatten().count() > 50 && one_by_one.iter().any(Option::is_none));
    assert!(store.records_at(&versions).unwrap() == one_by_one);
    let states: Vec<_> = entities.iter().map(|entity| store.key_of(*entity).unwrap()).collect();
    assert_eq!(store.keys_of(&entities).unwrap(), states);
    let pieces = store.pieces(&versions, |version| *version, 7).unwrap();
    assert!(pieces.iter().all(|piece| (1..=7).contains(&piece.items.len())));
    assert_eq!(pieces.iter().flat_map(|piece| piece.items).copied().collect::<Vec<_>>(), versions);
    let of_pieces: Vec<_> = pieces.iter().flat_map(|piece| store.records_of(piece).unwrap()).collect();
    assert!(of_pieces == one_by_one);
    let mapped = |piece| store.map_records(piece, |version, record| (*version, record)).unwrap();
    let mapped: Vec<_> = pieces.iter().flat_map(mapped).collect();
    let expected = versions.iter().zip(one_by_one).map(|(version, record)| Some((*version, record?)));
    assert!(mapped == expected.collect::<Vec<_>>());
}

#[test]
fn a_second_opener_is_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = init(dir.path());
    let store = open(&options);
    match Store::open(&options, &mut |_, _| {}) {
        Err(super::OpenError::Locked { pid }) => assert_eq!(pid, std::process::id().to_string()),
        other => panic!("{:?}", other.map(|_| ())),
    }
    drop(store);
    drop(open(&options));
}

#[test]
fn root_leaves_the_store_of_another_user_as_it_is() {
    const OTHER: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        println!("only root can give a store to somebody else: nothing was tested");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let options = init(dir.path());
    std::os::unix::fs::chown(options.dir.join("FORMAT"), Some(OTHER), None).unwrap();
    let before = std::fs::metadata(&options.dir).unwrap().modified().unwrap();
    assert!(matches!(Store::open(&options, &mut |_, _| {}), Err(super::OpenError::NotOurs { owner: OTHER })));
    assert!(matches!(Store::rebuild(&options, &mut |_, _| {}), Err(super::OpenError::NotOurs { .. })));
    let verified = Store::verify_stopped(&options, &mut |_, _| {});
    assert!(matches!(verified, Err(super::OpenError::NotOurs { .. })));
    assert_eq!(std::fs::metadata(&options.dir).unwrap().modified().unwrap(), before);
    let empty = super::Options { dir: dir.path().join("empty"), ..options };
    std::fs::create_dir(&empty.dir).unwrap();
    std::os::unix::fs::chown(&empty.dir, Some(OTHER), None).unwrap();
    assert!(matches!(Store::init(&empty), Err(super::OpenError::NotOurs { .. })));
    assert_eq!(std::fs::read_dir(&empty.dir).unwrap().count(), 0);
}

#[test]
fn what_is_acknowledged_is_there_after_any_stop_and_any_loss_of_sled() {
    let dir = tempfile::tempdir().unwrap();
    let options = init(dir.path());
    let store = open(&options);
    let layout = add_layout(&store);
    let first = add_contacts(&store, layout, 0..300);
    store.write_out(1).unwrap();
    add_contacts(&store, layout, 300..450);
    let changed = first[7];
    let event = Event::EntityChanged(EntityChanged { record: record(layout, "c7") });
    let draft = Draft { stream: store.stream_of(changed), entity: Some(changed), ..super::open::daemon_draft(event) };
    store.append_drafts(vec![draft], Condition::None).unwrap();
    let expected = picture(&store);

    // Dropped without closing: sled has the first part only.
    drop(store);
    let store = open(&options);
    assert!(!store.report().after_clean_stop);
    assert_eq!(picture(&store), expected);
    assert_eq!(store.view(|v| v.entities.find(store.handle_of("crm", None, Kind::Contact, "c7-other"))), Some(changed));
    store.close().unwrap();

    let store = open(&options);
    assert!(store.report().after_clean_stop);
    assert_eq!(store.report().folded, 0);
    assert_eq!(picture(&store), expected);
    store.close().unwrap();

    std::fs::remove_dir_all(dir.path().join("state/events")).unwrap();
    let store = open(&options);
    assert_eq!(picture(&store), expected);
    drop(store);

    let store = Store::rebuild(&options, &mut |_, _| {}).unwrap();
    assert_eq!(store.report().rebuilt, Some("asked_for"));
    let (position, rows) = picture(&store);
    assert_eq!(position.0, expected.0.0 + 1, "the rebuild is an event itself");
    assert_eq!(rows[..450], expected.1[..450]);
}

#[test]
fn a_flipped_byte_in_the_journal_opens_read_only_and_names_the_damage() {
    let dir = tempfile::tempdir().unwrap();
    let options = init(dir.path());
    let store = open(&options);
    let layout = add_layout(&store);
    add_contacts(&store, layout, 0..10);
    add_contacts(&store, layout, 10..20);
    store.close().unwrap();
    let path = dir.path().join("state/journal/00000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let store = open(&options);
    let reason = store.read_only_reason().unwrap();
    assert!(reason.code == "journal_damaged" && reason.says.contains("damaged"), "{reason:?}");
    let event = super::open::daemon_draft(Event::DaemonStopped(DaemonStopped {}));
    assert!(matches!(store.append_drafts(vec![event], Condition::None), Err(super::AppendError::ReadOnly(_))));
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "nothing was changed");
}

#[test]
fn a_change_prepared_before_its_entity_changed_again_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = init(dir.path());
    let store = open(&options);
    let layout = add_layout(&store);
    let entity = add_contacts(&store, layout, 0..1)[0];
    let version = store.view(|v| v.entities.row(entity).unwrap().version);
    let change = || Draft {
        stream: store.stream_of(entity),
        entity: Some(entity),
        ..super::open::daemon_draft(Event::EntityChanged(EntityChanged { record: record(layout, "c0") }))
    };
    let condition = Condition::Versions(vec![(entity, version)]);
    store.append_drafts(vec![change()], condition.clone()).unwrap();
    assert!(matches!(store.append_drafts(vec![change()], condition), Err(super::AppendError::Conflict(_))));
}

#[test]
fn appends_from_many_threads_share_groups_and_none_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let options = init(dir.path());
    let store = Arc::new(open(&options));
    let before = store.view(|v| v.position);
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                for _ in 0..50 {
                    let event = super::open::daemon_draft(Event::DaemonStopped(DaemonStopped {}));
                    store.append_drafts(vec![event], Condition::None).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(store.view(|v| v.position).0, before.0 + 400);
    drop(store);
    assert_eq!(open(&options).view(|v| v.position).0, before.0 + 400);
}

#[test]
fn a_rebuild_shows_the_same_picture_also_of_what_was_destroyed() {
    let dir = tempfile::tempdir().unwrap();
    let options = init(dir.path());
    let store = open(&options);
    let layout = add_layout(&store);
    let entities = add_contacts(&store, layout, 0..250);
    purge(&store, &entities[10..20]);
    let expected = picture(&store);
    assert_eq!(store.view(|views| views.entities.purged_count()), 10);
    drop(store);

    let store = Store::rebuild(&options, &mut |_, _| {}).unwrap();
    assert!(!store.report().after_clean_stop, "it was dropped, not closed");
    let (position, rows) = picture(&store);
    assert_eq!(position.0, expected.0.0 + 1, "the rebuild is an event itself");
    assert_eq!(rows[..expected.1.len()], expected.1);
    assert_eq!(store.view(|views| views.entities.purged_count()), 10);
    assert_eq!(store.verify(&mut |_, _| {}).unwrap().findings, []);
    store.close().unwrap();
    let store = Store::rebuild(&options, &mut |_, _| {}).unwrap();
    assert!(store.report().after_clean_stop, "a rebuild does not change how the stop before it was");
}

#[test]
fn what_was_set_aside_goes_but_not_while_something_contradicts_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let options = init(dir.path());
    let store = open(&options);
    let layout = add_layout(&store);
    add_contacts(&store, layout, 0..10);
    store.close().unwrap();
    let store = Store::rebuild(&options, &mut |_, _| {}).unwrap();
    let aside = dir.path().join("state/events.damaged-1");
    assert!(aside.is_dir());
    store.contradicted(super::ReadOnly { code: "log_contradicts_checkpoint", says: "it does".to_owned() });
    assert_eq!(store.discard_set_aside().unwrap(), 0);
    assert!(aside.is_dir(), "it may be all that is left of what the journal lost");
    drop(store);
    let store = open(&options);
    assert_eq!((store.discard_set_aside().unwrap(), store.discard_set_aside().unwrap()), (1, 0));
    assert!(!aside.exists());
    assert_eq!(store.verify(&mut |_, _| {}).unwrap().findings, []);
}

/// Asks for, begins and ends a run of one saga that purges entities. Returns the run.
pub(crate) fn purge(store: &Store, entities: &[EntityId]) -> RunId {
    let run = begin_purge(store, entities);
    let saga = SagaId(run.0.next());
    let gone = store.destroy(&StepTicket::for_intent(saga, saga.0.next()), entities).unwrap();
    assert_eq!(gone.slots as usize, entities.len());
    let event = |item, entity: &EntityId| Draft {
        stream: store.stream_of(*entity),
        entity: Some(*entity),
        ..super::open::daemon_draft(Event::KeyDestroyed(KeyDestroyed { run, saga, item }))
    };
    let mut events: Vec<Draft> = (0..).zip(entities).map(|(item, entity)| event(item, entity)).collect();
    let purged = entities.len() as u64;
    let end = SagaEnded { saga, end: SagaEnd::Completed, purged };
    events.push(super::open::daemon_draft(Event::SagaEnded(end)));
    store.append_drafts(events, Condition::None).unwrap();
    run
}

/// Appends everything up to and including the pivot's intent.
pub(super) fn begin_purge(store: &Store, entities: &[EntityId]) -> RunId {
    let last = store.view(|views| views.position);
    let plan = PlanId(last.next());
    let run = RunId(plan.0.next());
    let saga = SagaId(run.0.next());
    let item = |entity: &EntityId| SagaItem {
        item: 0,
        entity: *entity,
        version: store.view(|views| views.entities.row(*entity).unwrap().version),
    };
    let events = [
        Event::PlanRequested(PlanRequested { policy: "old-contacts".into(), purpose: PlanPurpose::Run, as_of: None }),
        Event::RunRequested(RunRequested { plan, digest: Digest([7; 32]) }),
        Event::SagaStarted(SagaStarted {
            run,
            script: ScriptKind::ExportPurge,
            script_version: 1,
            mailbox: store.view(|views| views.entities.row(*entities.first()?)?.mailbox),
            items: entities.iter().map(item).collect(),
        }),
        Event::StepStarted(StepStarted {
            saga,
            step: Step::Purge,
            attempt: 1,
            idempotency_key: Digest([8; 32]),
            items: entities.to_vec(),
        }),
    ];
    store.append_drafts(events.map(super::open::daemon_draft).into(), Condition::None).unwrap();
    run
}

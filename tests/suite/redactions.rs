//! Redactions: what is taken out is gone, what is left is there under a number of its own and does not become due
//! earlier or later, the source does not bring anything back, and wherever a crash falls nothing is lost and nothing
//! stays.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use retention_core::event::saga::Step;
use retention_core::event::{Envelope, Event, Recorded};
use retention_core::id::{Digest, EntityId};
use retention_core::record::Kind;
use retention_core::view::{EntityState, RunState};
use retention_tests::crash::{Remains, at_every_flush};
use retention_tests::disk::{files, files_with};
use retention_tests::world::{World, policy};
use retentiond::store::Store;
use retentiond::store::vault::KeyState;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is taken out of a cell of the fixture.
const SECRET: &str = "Somebody-Secret";

fn redacting(quarantine: &str, fields: &str) -> String {
    let action = format!("kind = \"redact\"\nfields = {{ {fields} }}");
    policy("contacts", quarantine)
        .replace("kind = \"purge\"", &action)
        .replace("{ created = 2020-01-01T00:00:00Z }", "{ created = 2020-01-01T00:00:00Z, display_name = \"x\" }")
}

fn world(quarantine: &str) -> World {
    let mut world = World::new(quarantine);
    world.write_policy("contacts", &redacting(quarantine, "display_name = \"remove\""));
    world.settle();
    world
}

fn rest_of(world: &World, entity: EntityId) -> EntityId {
    let rest = world.store().view(|views| views.small.redactions.successor(entity));
    rest.unwrap_or_else(|| panic!("nothing is left of {entity}\n{}", world.story()))
}

fn cells(world: &World, entity: EntityId) -> Vec<Option<String>> {
    let record = world.store().record(entity).unwrap().unwrap();
    record.cells.iter().map(|cell| cell.map(str::to_owned)).collect()
}

fn destroyed(log: &[Recorded]) -> Vec<EntityId> {
    let is_end = |recorded: &&Recorded| matches!(recorded.event(), Some(Event::KeyDestroyed(_)));
    log.iter().filter(is_end).filter_map(|recorded| recorded.envelope.entity).collect()
}

fn is_past_pivot(world: &World) -> bool {
    let is_pivot = |event: &Event| matches!(event, Event::StepStarted(body) if body.step == Step::Redact);
    world.log().iter().any(|recorded| recorded.event().is_some_and(is_pivot))
}

#[test]
fn what_is_left_has_the_ids_and_the_dates_and_nothing_that_was_taken_out() {
    let mut world = world("P0D");
    let (due, kept) = (world.add("a", "2020-01-01"), world.add("b", "2026-01-01"));
    world.absent(due);
    world.settle();
    let before = world.store().view(|views| views.entities.row(due).unwrap());
    let old = world.store().record(due).unwrap().unwrap();
    let run = world.drive_to_the_end("contacts");
    assert_eq!(world.run_state(run), RunState::Completed, "{}", world.story());
    let rest = rest_of(&world, due);
    assert_eq!((world.state_of(due), world.state_of(kept)), (EntityState::Purged, EntityState::Visible));
    assert_eq!(destroyed(&world.log()), [due]);
    assert_eq!(world.store().key_of(due).unwrap(), KeyState::Destroyed);
    assert_eq!(cells(&world, rest), [Some("a".to_owned()), None]);
    let (row, found) =
        world.store().view(|views| (views.entities.row(rest).unwrap(), views.entities.find(before.handle)));
    assert_eq!((row.first_seen, row.last_activity, row.absent), (before.first_seen, before.last_activity, true));
    assert_eq!((row.handle, found), (before.handle, Some(rest)));
    let new = world.store().record(rest).unwrap().unwrap();
    assert_eq!((new.external_id, new.dates), (old.external_id, old.dates));
    world.lose_sled();
    world.check();
    assert_eq!(rest_of(&world, due), rest);
}

#[test]
fn what_was_redacted_is_not_due_again_until_the_policy_takes_out_more_and_can_be_purged_later() {
    let mut world = world("P0D");
    let due = world.add("a", "2020-01-01");
    world.settle();
    world.drive_to_the_end("contacts");
    let rest = rest_of(&world, due);
    world.clock.advance(DAY * 4_000);
    world.settle();
    let plan = world.request_plan("contacts").unwrap();
    world.settle();
    let items = |world: &World, plan| {
        world.store().view(|views| views.small.plans.get(plan).unwrap().frozen.as_ref().unwrap().items)
    };
    assert_eq!(items(&world, plan), 0, "{}", world.story());
    // What is left is purged like any other record.
    world.write_policy("contacts", &policy("contacts", "P0D"));
    world.settle();
    let (plan, run) = world.approved_run("contacts");
    world.finish();
    assert_eq!(items(&world, plan), 1, "{}", world.story());
    assert_eq!((world.run_state(run), world.state_of(rest)), (RunState::Completed, EntityState::Purged));
    world.lose_sled();
    world.check();
}

#[test]
fn what_was_redacted_once_is_redacted_again_when_the_policy_takes_out_more() {
    let mut world = world("P0D");
    world.write_policy("contacts", &redacting("P0D", "display_name = { replace = \"a person\" }"));
    let due = world.add("a", "2020-01-01");
    world.settle();
    world.approved_run("contacts");
    world.finish();
    let first = rest_of(&world, due);
    assert_eq!(cells(&world, first), [Some("a".to_owned()), Some("a person".to_owned())]);
    world.write_policy("contacts", &redacting("P0D", "display_name = \"remove\""));
    world.settle();
    world.approved_run("contacts");
    world.finish();
    let second = rest_of(&world, first);
    assert_eq!(cells(&world, second), [Some("a".to_owned()), None]);
    assert_eq!(destroyed(&world.log()), [due, first]);
    let maps = world.store().view(|views| views.small.redactions.maps_of(second).count());
    assert_eq!(maps, 2, "the source may bring back neither");
    world.lose_sled();
    world.check();
}

#[test]
fn what_an_open_request_is_about_is_not_redacted() {
    let mut world = world("P0D");
    let (asked, other) = (world.add("a", "2020-01-01"), world.add("b", "2020-01-01"));
    world.settle();
    let request = world.ask_for_erasure().unwrap();
    world.identify(request, &[asked]);
    world.settle();
    let _run = world.approved_run("contacts");
    world.finish();
    assert_eq!(destroyed(&world.log()), [other], "{}", world.story());
    assert_eq!(
        (world.state_of(asked), cells(&world, rest_of(&world, other))[1].is_none()),
        (EntityState::Visible, true)
    );
}

fn holds(world: &World, bytes: &[u8]) -> bool {
    !files_with(&world.state_dir(), bytes).is_empty()
}

/// The bytes of a stored body, found in the journal by their digest.
fn stored_body(world: &World, envelope: &Envelope) -> Vec<u8> {
    let journal = files(&world.state_dir().join("journal"));
    let length = envelope.body_len as usize;
    let is_it = |window: &&[u8]| Digest::of(window) == envelope.body_digest;
    let find = |path: &PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        let bytes = &bytes[..bytes.len().min(16 * 1024)];
        bytes.windows(length).find(is_it).map(<[u8]>::to_vec)
    };
    journal.iter().find_map(find).expect("a body in the journal")
}

#[test]
fn after_a_compaction_no_byte_of_what_was_taken_out_is_left() {
    let mut world = world("P0D");
    let due = world.add("a", "2020-01-01");
    world.settle();
    let is_change = |recorded: &&Recorded| {
        recorded.envelope.entity == Some(due) && matches!(recorded.event(), Some(Event::EntityChanged(_)))
    };
    let envelope = world.log().iter().find(is_change).unwrap().envelope;
    let sealed = stored_body(&world, &envelope);
    let slot = std::fs::read(world.state_dir().join("keys/slots.0000")).unwrap();
    let key = slot[due.0 as usize * 64 + 12..due.0 as usize * 64 + 44].to_vec();
    assert!(holds(&world, &sealed) && holds(&world, &key), "they are there before");
    world.drive_to_the_end("contacts");
    let rest = rest_of(&world, due);
    assert!(!holds(&world, &key), "the wrapped key is overwritten");
    world.compact();
    assert!(!holds(&world, &sealed) && !holds(&world, &key));
    assert_eq!(cells(&world, rest), [Some("a".to_owned()), None]);
}

#[test]
fn a_hold_a_change_or_a_restore_at_any_step_before_the_pivot_leaves_the_record_whole() {
    // Each says whether it happened: what is not in quarantine cannot be restored.
    for happens in [
        |world: &mut World, entity: EntityId| world.hold(&[entity]).is_some(),
        |world: &mut World, entity: EntityId| {
            world.change(entity, "else");
            true
        },
        |world: &mut World, entity: EntityId| world.restore(entity),
    ] {
        for steps in 0.. {
            let mut world = world("P1D");
            let due = world.add("a", "2020-01-01");
            world.settle();
            let (_, run) = world.approved_run("contacts");
            let is_over = world.run_for(steps);
            let was_past_pivot = is_past_pivot(&world);
            let has_happened = happens(&mut world, due);
            world.finish();
            let is_whole = world.state_of(due) == EntityState::Visible;
            assert!(is_whole || was_past_pivot || !has_happened, "after {steps} steps\n{}", world.story());
            // Whole, or redacted: never both, and never neither.
            let left = world.store().view(|views| views.small.redactions.is_recorded(due));
            assert_eq!(is_whole, !left, "after {steps} steps\n{}", world.story());
            assert_eq!(destroyed(&world.log()).is_empty(), is_whole, "after {steps} steps\n{}", world.story());
            assert_eq!(world.run_state(run), RunState::Completed, "{}", world.story());
            if is_over {
                assert!(steps > 8, "a run takes more than {steps} steps");
                break;
            }
        }
    }
}

#[test]
fn a_policy_that_was_edited_after_its_approval_takes_out_nothing() {
    let mut world = world("P7D");
    let due = world.add("a", "2020-01-01");
    world.settle();
    let _run = world.approved_run("contacts");
    world.settle();
    assert_eq!(world.state_of(due), EntityState::Quarantined);
    world.write_policy("contacts", &redacting("P7D", "display_name = { replace = \"y\" }"));
    world.settle();
    world.clock.advance(DAY * 8);
    world.finish();
    assert_eq!(world.state_of(due), EntityState::Visible, "{}", world.story());
    assert!(destroyed(&world.log()).is_empty());
}

/// Returns whether the scenario reached the flush.
fn stop_at(nth: u64, remains: Remains, quarantine: &str) -> bool {
    let mut world = world(quarantine);
    let due = [world.add("a", "2020-01-01"), world.add("b", "2021-01-01")];
    let kept = world.add("c", "2025-12-01");
    world.settle();
    world.gate.crash_at(nth, remains);
    let before = world.crashes;
    let run = world.drive_to_the_end("contacts");
    let place = format!("flush {nth}, {remains:?}\n{}", world.story());
    assert_eq!(world.run_state(run), RunState::Completed, "{place}");
    assert_eq!(destroyed(&world.log()), due, "{place}");
    for (entity, id) in due.into_iter().zip(["a", "b"]) {
        let rest = rest_of(&world, entity);
        assert_eq!(cells(&world, rest), [Some(id.to_owned()), None], "{place}");
    }
    let live = world.store().view(|views| {
        views.entities.numbers_from(0).filter(|e| views.entities.row(*e).unwrap().state == EntityState::Visible).count()
    });
    assert_eq!((live, world.state_of(kept)), (3, EntityState::Visible), "{place}");
    assert_eq!(world.bundles(), 1, "{place}");
    let is_stopped = world.crashes > before;
    world.reopen();
    world.lose_sled();
    world.check();
    is_stopped
}

fn stop_everywhere(remains: Remains, quarantine: &str) {
    let what = format!("a redaction with a quarantine of {quarantine}");
    at_every_flush(&what, remains, 22, |nth, remains| stop_at(nth, remains, quarantine));
}

#[test]
fn a_redaction_survives_a_crash_at_every_flush_that_loses_what_was_written() {
    stop_everywhere(Remains::Lost, "P0D");
}

#[test]
fn a_redaction_survives_a_crash_at_every_flush_that_tears_what_was_written() {
    stop_everywhere(Remains::Torn, "P0D");
}

#[test]
fn a_redaction_survives_a_crash_at_every_flush_that_keeps_what_was_never_acknowledged() {
    stop_everywhere(Remains::Kept, "P7D");
}

#[test]
fn a_redaction_survives_a_crash_right_after_every_flush() {
    stop_everywhere(Remains::Flushed, "P7D");
}

/// The live contacts by their ids, and what they hold.
fn contacts(world: &World) -> BTreeMap<String, (EntityId, String)> {
    let store: &Store = world.store();
    let live: Vec<EntityId> = store.view(|views| {
        let is_contact = |entity: &EntityId| {
            let row = views.entities.row(*entity).unwrap();
            row.state == EntityState::Visible
                && views.small.layouts.get(row.layout).is_some_and(|layout| layout.kind == Kind::Contact)
        };
        views.entities.numbers_from(0).filter(is_contact).collect()
    });
    live.into_iter()
        .map(|entity| {
            let record = store.record(entity).unwrap().unwrap();
            let text = record.cells.iter().map(|cell| cell.unwrap_or("-")).collect::<Vec<_>>().join("\n");
            (record.external_id, (entity, text))
        })
        .collect()
}

/// An export of the fixture, as it would be named some days later.
fn deliver(world: &mut World, days: u32, edit: impl Fn(String) -> String) {
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ocm/bram.okafor@contoso.com_20200415T1801029876");
    let scratch = tempfile::tempdir().unwrap();
    let named = scratch.path().join(format!("bram.okafor@contoso.com_202004{:02}T1801029876", 15 + days));
    std::fs::create_dir(&named).unwrap();
    for entry in std::fs::read_dir(fixture).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, named.join(path.file_name().unwrap())).unwrap();
    }
    world.drop_export(&named, edit);
    world.take_in();
    world.settle();
}

#[test]
fn the_source_brings_nothing_back_and_what_it_changes_is_taken_without_it() {
    let mut world = World::new("P0D");
    let text = redacting("P0D", "company_name = \"remove\", notes = \"remove\"")
        .replace("start = \"created\"", "start = \"first_seen\"")
        .replace(
            "{ created = 2020-01-01T00:00:00Z, display_name = \"x\" }",
            "{ first_seen = 2020-01-01T00:00:00Z, notes = \"x\" }",
        );
    world.write_policy("contacts", &text);
    deliver(&mut world, 0, |text| text.replace("Harbour", SECRET));
    let before = contacts(&world);
    assert!(before.values().any(|(_, text)| text.contains(SECRET)), "the fixture has what is taken out");
    let links = |world: &World| world.store().view(|views| views.links.iter().count());
    let links_before = links(&world);
    assert!(links_before > 0);
    world.clock.advance(DAY * 800);
    let _run = world.approved_run("contacts");
    world.finish();
    let after = contacts(&world);
    assert!(after.values().all(|(_, text)| !text.contains(SECRET)), "{}", world.story());
    assert!(before.keys().eq(after.keys()), "the same records under other numbers");
    assert!(after.iter().any(|(id, (entity, _))| before[id].0 != *entity));
    assert_eq!(links(&world), links_before, "links follow");

    let changes = |world: &World| {
        let log = world.log();
        log.iter().filter(|recorded| matches!(recorded.event(), Some(Event::EntityChanged(_)))).count()
    };
    // The same rows, in a new delivery: an intake more, and nothing that is new about a contact.
    deliver(&mut world, 1, |text| text.replace("Harbour", SECRET));
    assert_eq!(contacts(&world), after, "{}", world.story());
    let known = changes(&world);
    // What was taken out changes in the source: still nothing.
    deliver(&mut world, 2, |text| text.replace("Harbour", "Another-Secret"));
    assert_eq!(contacts(&world), after, "{}", world.story());
    // Something else changes: it is taken, without what was taken out.
    deliver(&mut world, 3, |text| text.replace("Harbour", SECRET).replace("Varga", "Vargas"));
    let now = contacts(&world);
    assert!(now.keys().eq(after.keys()) && changes(&world) > known);
    assert!(now.values().all(|(_, text)| !text.contains(SECRET) && !text.contains("Another")), "{}", world.story());
}

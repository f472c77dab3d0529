//! The checker can fail: worlds that are wrong in one way each are reported by the name of what is wrong.

use retention_core::event::erasure::KeyDestroyed;
use retention_core::event::hold::{HoldJudgement, HoldsJudged, Judged};
use retention_core::event::saga::{SagaItem, SagaStarted, ScriptKind, Step, StepStarted};
use retention_core::event::{Actor, Draft, Event, stream_of_position};
use retention_core::id::{Digest, EntityId, Position, RunId, SagaId};
use retention_core::view::Condition;
use retention_tests::invariants::MARKER;
use retention_tests::world::World;
use retentiond::store::vault::StepTicket;

fn found(world: &mut World) -> Vec<&'static str> {
    let store = world.store().clone();
    let (exports, model) = (world.exports(), world.model.clone());
    let mut names: Vec<_> =
        world.checker.check(&store, &exports, &model).into_iter().map(|violation| violation.invariant).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn tell(world: &World, entity: Option<EntityId>, event: Event) -> Position {
    let draft = Draft {
        stream: entity.map_or_else(|| stream_of_position(Position(1)), |entity| world.store().stream_of(entity)),
        entity,
        actor: Actor::Daemon,
        cause: Position::NONE,
        occurred_at: None,
        event,
    };
    world.store().append_drafts(vec![draft], Condition::None).unwrap().first
}

fn destroyed() -> Event {
    Event::KeyDestroyed(KeyDestroyed { run: RunId(Position(1)), saga: SagaId(Position(1)), item: 0 })
}

#[test]
fn a_sound_world_has_no_violation() {
    let mut world = World::new("P0D");
    world.add("a", "2020-01-01");
    world.settle();
    world.approved_run("contacts");
    world.finish();
    assert!(found(&mut world).is_empty());
}

#[test]
fn a_destruction_out_of_nowhere_is_named() {
    let mut world = World::new("P0D");
    let entity = world.add("a", "2020-01-01");
    tell(&world, Some(entity), destroyed());
    let names = found(&mut world);
    for name in ["purge_without_intent", "purge_without_verified_export", "destroyed_key_is_there"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    tell(&world, Some(entity), destroyed());
    assert!(found(&mut world).contains(&"purged_twice"));
}

#[test]
fn a_key_that_is_destroyed_without_a_word_is_named() {
    let mut world = World::new("P0D");
    let entity = world.add("a", "2020-01-01");
    let ticket = StepTicket::for_intent(SagaId(Position(1)), Position(1));
    let _destroyed = world.store().destroy(&ticket, &[entity]).unwrap();
    let names = found(&mut world);
    assert!(names.contains(&"purge_without_intent") && names.contains(&"entity_lost"), "{names:?}");
}

#[test]
fn an_intent_without_plan_export_or_regard_for_holds_is_named() {
    let mut world = World::new("P0D");
    let entity = world.add("a", "2020-01-01");
    world.hold(&[entity]);
    let items = vec![SagaItem { item: 0, entity, version: Position(1) }];
    let (script, run) = (ScriptKind::ExportPurge, RunId(Position(1)));
    let started = SagaStarted { run, script, script_version: 1, mailbox: None, items };
    let saga = SagaId(tell(&world, None, Event::SagaStarted(started)));
    let intent =
        StepStarted { saga, step: Step::Purge, attempt: 1, idempotency_key: Digest([0; 32]), items: vec![entity] };
    tell(&world, None, Event::StepStarted(intent));
    let names = found(&mut world);
    for name in
        ["purge_under_hold", "purge_outside_a_plan", "purge_of_a_changed_entity", "purge_without_verified_export"]
    {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
}

/// The program's own judgement of the filter is wrong here, and the checker does not believe it.
#[test]
fn an_intent_for_what_matched_the_filter_of_a_hold_once_is_named() {
    let mut world = World::new("P0D");
    let (caught, other) = (world.add("a", "2020-01-01"), world.add("b", "2020-01-01"));
    world.change(caught, "wanted");
    let filter = format!("{{ field = \"display_name\", op = \"eq\", value = \"{MARKER} wanted\" }}");
    let hold = world.hold_matching(&filter).expect("a hold");
    world.change(caught, "edited");
    let upto = world.store().view(|views| views.position);
    let holds = vec![HoldJudgement { hold, judged: Judged::UpTo(upto), caught: Vec::new(), unreadable: Vec::new() }];
    tell(&world, None, Event::HoldsJudged(HoldsJudged { holds }));
    let mut names_of_intent = |entity: EntityId| {
        let items = vec![SagaItem { item: 0, entity, version: Position(1) }];
        let (script, run) = (ScriptKind::ExportPurge, RunId(Position(1)));
        let started = SagaStarted { run, script, script_version: 1, mailbox: None, items };
        let saga = SagaId(tell(&world, None, Event::SagaStarted(started)));
        let idempotency_key = Digest([0; 32]);
        let intent = StepStarted { saga, step: Step::Purge, attempt: 1, idempotency_key, items: vec![entity] };
        tell(&world, None, Event::StepStarted(intent));
        found(&mut world)
    };
    assert!(!names_of_intent(other).contains(&"purge_under_hold"));
    assert!(names_of_intent(caught).contains(&"purge_under_hold"));
}

#[test]
fn a_bundle_that_is_missing_after_the_purge_is_named() {
    let mut world = World::new("P0D");
    world.add("a", "2020-01-01");
    world.settle();
    world.approved_run("contacts");
    world.finish();
    for entry in std::fs::read_dir(world.exports()).unwrap() {
        std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    assert_eq!(found(&mut world), ["purge_without_verified_export"]);
}

#[test]
fn plaintext_beside_the_exports_and_a_forgotten_entity_are_named() {
    let mut world = World::new("P0D");
    let entity = world.add("a", "2020-01-01");
    std::fs::write(world.state_dir().join("journal").join("note"), format!("x {MARKER} y")).unwrap();
    assert!(found(&mut world).contains(&"plaintext_outside_exports"));
    std::fs::remove_file(world.state_dir().join("journal").join("note")).unwrap();
    world.model.told.insert(EntityId(entity.0 + 1), [Some("never told")].into_iter().collect());
    assert_eq!(found(&mut world), ["entity_lost"]);
}

#[test]
fn a_log_that_lost_what_it_acknowledged_is_named() {
    let mut longer = World::new("P0D");
    longer.add("a", "2020-01-01");
    longer.check();
    let mut other = World::new("P0D");
    other.checker = std::mem::take(&mut longer.checker);
    assert!(found(&mut other).contains(&"acknowledged_event_lost"));
}

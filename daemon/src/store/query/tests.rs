use std::time::Duration;

use retention_core::id::{PlanId, RunId};

use super::super::tests::{add_contacts, add_layout, init, open, purge};
use super::*;
use crate::clock::ManualClock;

/// Everything that a question answers, in pages.
fn all(store: &Store, query: &Query) -> Vec<u64> {
    let mut query = query.clone();
    let mut found = Vec::new();
    for _ in 0..10_000 {
        let page = store.query(&query).unwrap();
        assert!(page.rows.len() <= query.limit);
        found.extend(page.rows.iter().map(|(position, _)| position.0));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return found,
        }
    }
    panic!("paging does not end");
}

struct World {
    _dir: tempfile::TempDir,
    store: Store,
    entities: Vec<EntityId>,
    run: RunId,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(ManualClock::starting_at(Timestamp::from_unix_seconds(1_700_000_000)));
    let options = super::super::Options { clock: clock.clone(), ..init(dir.path()) };
    let store = open(&options);
    let layout = add_layout(&store);
    let entities = add_contacts(&store, layout, 0..200);
    clock.advance(Duration::from_secs(60));
    let run = purge(&store, &entities[3..6]);
    World { _dir: dir, store, entities, run }
}

#[test]
fn every_question_and_page_size_answers_what_a_scan_of_all_rows_answers() {
    let world = world();
    let store = &world.store;
    let end = store.view(|views| views.position).0;
    let rows: Vec<(u64, EventRow)> = (1..=end).map(|n| (n, store.row(Position(n)).unwrap().unwrap())).collect();
    let later = Timestamp::from_unix_seconds(1_700_000_030);
    let types = vec![EventType::EntityChanged, EventType::KeyDestroyed];
    let is_of = |row: &EventRow| types.iter().any(|known| *known as u16 == row.event_type);
    let everything = Query::default();
    let of_types = Query { types: types.clone(), ..Query::default() };
    let since = Query { since: Some(later), ..of_types.clone() };
    let until = Query { until: Some(later), actor: Some(Actor::Daemon), ..of_types.clone() };
    let nobody = Query { actor: Some(Actor::Person(9)), ..Query::default() };
    let expected: [(Query, Vec<u64>); 5] = [
        (everything, rows.iter().map(|(n, _)| *n).collect()),
        (of_types, rows.iter().filter(|(_, row)| is_of(row)).map(|(n, _)| *n).collect()),
        (since, rows.iter().filter(|(_, row)| is_of(row) && row.recorded_at >= later).map(|(n, _)| *n).collect()),
        (until, rows.iter().filter(|(_, row)| is_of(row) && row.recorded_at < later).map(|(n, _)| *n).collect()),
        (nobody, Vec::new()),
    ];
    for (query, expected) in expected {
        for limit in [1, 7, 200, 10_000] {
            let query = Query { limit, order: Order::OldestFirst, ..query.clone() };
            assert_eq!(all(store, &query), expected, "{query:?}");
            let back: Vec<u64> = expected.iter().rev().copied().collect();
            assert_eq!(all(store, &Query { order: Order::NewestFirst, ..query }), back);
        }
    }
}

#[test]
fn the_story_of_an_entity_holds_its_events_and_those_of_its_saga() {
    let world = world();
    let run = world.run.0.0;
    let story = Query { entity: Some(world.entities[4]), order: Order::OldestFirst, ..Query::default() };
    let changed = world.store.history(world.entities[4]).unwrap()[0].0;
    // Plan, run, saga, intent; then its own key, the second of three; then the end of the saga.
    assert_eq!(all(&world.store, &story), [changed, run - 1, run, run + 1, run + 2, run + 4, run + 6]);
    let other = Query { entity: Some(world.entities[0]), ..Query::default() };
    assert_eq!(all(&world.store, &other).len(), 1);
    let unknown = Query { entity: Some(EntityId(999_999)), ..Query::default() };
    assert!(all(&world.store, &unknown).is_empty());
}

#[test]
fn a_policy_and_a_run_are_told_with_all_that_belongs_to_them() {
    let world = world();
    let run = world.run.0.0;
    let of_run = Query { run: Some(world.run), order: Order::OldestFirst, limit: 2, ..Query::default() };
    assert_eq!(all(&world.store, &of_run), (run..=run + 6).collect::<Vec<_>>());
    let policy = Query { policy: Some("old-contacts".into()), run: None, ..of_run };
    assert_eq!(all(&world.store, &policy), (run - 1..=run + 6).collect::<Vec<_>>());
    let other = Query { policy: Some("another".into()), ..policy };
    assert!(all(&world.store, &other).is_empty());
    assert_eq!(world.store.view(|views| views.small.runs.run(world.run).unwrap().plan), PlanId(Position(run - 1)));
}

#[test]
fn paging_backwards_is_not_moved_by_what_is_appended_meanwhile() {
    let world = world();
    let query = Query { limit: 10, ..Query::default() };
    let before = all(&world.store, &query);
    let first = world.store.query(&query).unwrap();
    purge(&world.store, &world.entities[20..25]);
    let mut told: Vec<u64> = first.rows.iter().map(|(position, _)| position.0).collect();
    told.extend(all(&world.store, &Query { after: first.next, ..query }));
    assert_eq!(told, before);
}

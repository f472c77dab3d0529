//! Properties of plans that hold for any entities and any instants.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use retention_core::event::Event;
use retention_core::id::{EntityId, PlanId};
use retention_core::time::Timestamp;
use retention_core::view::EntityState;
use retention_tests::world::{APPROVER, World};
use retentiond::clock::Clock;

fn items(world: &World, plan: PlanId) -> BTreeSet<EntityId> {
    world.store().plan_items(plan, 0).unwrap().into_iter().map(|item| item.entity).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn nothing_is_due_earlier_when_the_clock_goes_back(
        created in prop::collection::vec((2018..2026i32, 1..13u32), 1..8),
        back_days in 1..2_000i64,
    ) {
        let mut world = World::new("P0D");
        for (n, (year, month)) in created.iter().enumerate() {
            world.add(&format!("c{n}"), &format!("{year}-{month:02}-01"));
        }
        world.settle();
        let now = world.clock.now();
        let later = world.request_plan("contacts").unwrap();
        world.settle();
        world.clock.set(Timestamp(now.0 - back_days * 86_400_000_000));
        let earlier = world.request_plan("contacts").unwrap();
        world.settle();
        prop_assert!(items(&world, earlier).is_subset(&items(&world, later)));
    }

    #[test]
    fn a_run_purges_a_subset_of_its_plan(
        created in prop::collection::vec(2018..2026i32, 1..8),
        changed in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        held in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let mut world = World::new("P1D");
        let all: Vec<_> = created.iter().enumerate().map(|(n, year)| world.add(&format!("c{n}"), &format!("{year}-06-01"))).collect();
        world.settle();
        let plan = world.request_plan("contacts").unwrap();
        world.settle();
        world.approve(plan, APPROVER);
        let planned = items(&world, plan);
        let _run = world.request_run(plan);
        for index in &changed {
            world.change(all[index.index(all.len())], "again");
        }
        for index in &held {
            world.hold(&[all[index.index(all.len())]]);
        }
        world.clock.advance(Duration::from_secs(60));
        world.finish();
        let purged: BTreeSet<_> = world.log().iter().filter(|r| matches!(r.event(), Some(Event::KeyDestroyed(_)))).filter_map(|r| r.envelope.entity).collect();
        prop_assert!(purged.is_subset(&planned), "{}", world.story());
        for entity in changed.iter().chain(&held).map(|index| all[index.index(all.len())]) {
            prop_assert_eq!(world.state_of(entity), EntityState::Visible);
        }
    }
}

//! Plans that are being made.

use retention_core::event::decision::{PlanItem, PlanItems};

use super::*;

#[tokio::test]
async fn the_items_of_a_plan_that_is_being_made_are_waited_for() {
    let world = World::with_contacts(1);
    let plan = world.make_plan().await;
    let uri = format!("/v1/plans/{plan}/items");
    let at = Timestamp(0);
    let (entity, version) = (EntityId(1), Position(1));
    let item = PlanItem { entity, version, start_at: at, due_at: at, start_is_fallback: false };
    let freezing = async {
        world.happens(Event::PlanItems(PlanItems { plan, chunk: 0, items: vec![item] }), None);
        world.freeze(plan);
    };
    let ((_, page), ()) = tokio::join!(world.ask(OTHER, Operation::PlanItems, &uri, None), freezing);
    assert_eq!(page["rows"].as_array().map(Vec::len), Some(1), "{page}");
}

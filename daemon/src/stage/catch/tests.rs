use retention_core::event::hold::{HoldPlaced, StandingQuery, v1};
use retention_core::record::Kind;
use retention_core::view::ByFilter;

use super::*;
use crate::store::Options;
use crate::store::tests::{add_contacts, add_layout, flip, init};

fn open(options: &Options) -> Arc<Store> {
    Arc::new(Store::open(options, &mut |_, _| {}).unwrap())
}

fn place(store: &Store, filter: &str) -> HoldId {
    let case = v1::HoldPlaced { name: "case".to_owned(), reason: "order".to_owned(), entities: Vec::new() };
    let (kinds, sources) = (vec![Kind::Contact], Vec::new());
    let standing = Some(StandingQuery { kinds, sources, seen_from: None, seen_until: None });
    let event = Event::HoldPlaced(HoldPlaced { standing, filter: filter.to_owned(), ..case.into() });
    HoldId(store.append_drafts(vec![daemon_draft(event)], Condition::None).unwrap().first)
}

fn catch_up(store: &Arc<Store>) {
    let mut catch = Catch::new(Arc::clone(store)).judging_at_once(2);
    while catch.step().unwrap() != Step::Idle {}
}

fn why(store: &Store, hold: HoldId, entities: &[EntityId]) -> Vec<Option<ByFilter>> {
    store.view(|views| entities.iter().map(|entity| views.held_by_filter(hold, *entity)).collect())
}

#[test]
fn a_record_that_is_damaged_is_held_and_keeps_no_other_from_being_judged() {
    let dir = tempfile::tempdir().unwrap();
    let options = init(dir.path());
    let store = open(&options);
    let layout = add_layout(&store);
    let contacts = add_contacts(&store, layout, 0..5);
    Arc::into_inner(store).unwrap().close().unwrap();
    flip(&options.dir.join("keys/slots.0000"), u64::from(contacts[2].0) * 64 + 20);
    let store = open(&options);
    let hold = place(&store, "{ field = \"id\", op = \"eq\", value = \"c3\" }");
    catch_up(&store);
    let expected = [None, None, Some(ByFilter::Unreadable), Some(ByFilter::Caught), None];
    assert_eq!(why(&store, hold, &contacts), expected);
    // What arrives is judged as well.
    let late = add_contacts(&store, layout, 5..7);
    catch_up(&store);
    assert_eq!(why(&store, hold, &late), [None, None]);
}

#[test]
fn a_filter_that_cannot_be_read_leaves_its_hold_wide_and_the_others_judge() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&init(dir.path()));
    let layout = add_layout(&store);
    let contacts = add_contacts(&store, layout, 0..3);
    // As a program would have it that reads more than this one.
    let unread = place(&store, "{ field = \"id\", op = \"sounds_like\", value = \"c1\" }");
    let read = place(&store, "{ field = \"id\", op = \"eq\", value = \"c1\" }");
    catch_up(&store);
    assert_eq!(why(&store, unread, &contacts), [Some(ByFilter::Unjudged); 3]);
    assert_eq!(why(&store, read, &contacts), [None, Some(ByFilter::Caught), None]);
    let before = store.view(|views| views.position);
    catch_up(&store);
    assert_eq!(store.view(|views| views.position), before, "what cannot be judged is not tried again and again");
}

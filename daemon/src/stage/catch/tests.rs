use retention_core::event::hold::{HoldPlaced, StandingQuery, v1};
use retention_core::record::Kind;
use retention_core::view::ByFilter;

use super::*;
use crate::store::Options;
use crate::store::events::{EVENTS_PER_BLOCK, ROW_BYTES};
use crate::store::sled_door::{Blocks, Family};
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
fn a_change_without_a_row_is_held_and_those_after_it_are_judged() {
    let dir = tempfile::tempdir().unwrap();
    let options = init(dir.path());
    let store = open(&options);
    let layout = add_layout(&store);
    let hold = place(&store, "{ field = \"id\", op = \"eq\", value = \"c3\" }");
    let contacts = add_contacts(&store, layout, 0..200);
    // The last row of the first block, which is whole and so written out.
    let version = Position(EVENTS_PER_BLOCK);
    let newest = |contact: &EntityId| store.view(|views| views.entities.row(*contact).unwrap().version);
    let lost = contacts.iter().position(|contact| newest(contact) == version).unwrap();
    Arc::into_inner(store).unwrap().close().unwrap();
    let blocks = Blocks::open(&options.dir.join("events"), options.cache_bytes, options.boot).unwrap().blocks;
    let mut rows = blocks.get(Family::Events, &0u64.to_be_bytes()).unwrap().unwrap();
    rows.truncate(rows.len() - ROW_BYTES);
    blocks.put(Family::Events, &0u64.to_be_bytes(), &rows).unwrap();
    blocks.close().unwrap();
    let store = open(&options);
    catch_up(&store);
    let mut expected = vec![None; contacts.len()];
    (expected[3], expected[lost]) = (Some(ByFilter::Caught), Some(ByFilter::Unreadable));
    assert_eq!(why(&store, hold, &contacts), expected);
    assert_eq!(store.view(|views| views.left_to_judge(hold)), 0);
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

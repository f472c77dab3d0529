use retention_core::event::Draft;
use retention_core::event::change::{EntityLinked, LayoutRecorded, Link};
use retention_core::event::hold::{HoldPlaced, StandingQuery, filter_of_requests, v1};
use retention_core::event::subject::{RequestKind, SubjectIdentified, SubjectRequested};
use retention_core::record::{Column, FieldType, Kind, Relation};
use retention_core::subject::{self, Mark, SoughtMark};
use retention_core::time::Timestamp;
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
    place_on(store, &[], filter)
}

fn place_on(store: &Store, entities: &[EntityId], filter: &str) -> HoldId {
    let case = v1::HoldPlaced { name: "case".to_owned(), reason: "order".to_owned(), entities: entities.to_vec() };
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

fn add_layout_of(store: &Store, kind: Kind) -> LayoutId {
    let id = store.view(|views| views.small.layouts.next());
    let column = |name: &str| Column { name: name.into(), field: name.into(), field_type: FieldType::Text };
    let columns = vec![column("id"), column("display_name")];
    let layout = Layout { source: "crm".into(), kind, columns, named_dates: Vec::new() };
    let event = Event::LayoutRecorded(LayoutRecorded { id, layout });
    store.append_drafts(vec![daemon_draft(event)], Condition::None).unwrap();
    id
}

/// Ties an entity to others; with a time, it is an activity.
fn link(store: &Store, from: EntityId, to: &[EntityId], at: Option<Timestamp>) {
    let relation = if at.is_some() { Relation::About } else { Relation::Associated };
    let links = to.iter().map(|to| Link { relation, to: *to }).collect();
    let event = Event::EntityLinked(EntityLinked { links, at, class: None });
    let draft = Draft { stream: store.stream_of(from), entity: Some(from), ..daemon_draft(event) };
    store.append(vec![store.prepare(draft, None).unwrap()], Condition::None).unwrap();
}

#[test]
fn a_deal_or_an_activity_that_comes_or_goes_lets_a_hold_judge_again_what_it_is_tied_to() {
    let dir = tempfile::tempdir().unwrap();
    let options = init(dir.path());
    let store = open(&options);
    let [deals, activities] = [Kind::Deal, Kind::Activity].map(|kind| add_layout_of(&store, kind));
    let contacts = add_contacts(&store, add_layout_of(&store, Kind::Contact), 0..3);
    let [deal, activity] = [deals, activities].map(|layout| add_contacts(&store, layout, 7..8)[0]);
    let dealing = place(&store, "{ field = \"open_deals\", op = \"ge\", value = 1 }");
    let active = place(&store, "{ field = \"last_activity\", op = \"after\", value = 2020-01-01 }");
    let named = place(&store, "{ field = \"id\", op = \"eq\", value = \"c9\" }");
    catch_up(&store);
    for hold in [dealing, active, named] {
        assert_eq!(why(&store, hold, &contacts), [None; 3]);
    }
    link(&store, deal, &contacts[1..2], None);
    let (unjudged, caught) = (Some(ByFilter::Unjudged), Some(ByFilter::Caught));
    assert_eq!(why(&store, dealing, &contacts), [None, unjudged, None]);
    assert_eq!(why(&store, named, &contacts), [None; 3], "it asks for nothing beside a record");
    // What was not judged is known after a restart too, whether the views were written out or not.
    Arc::into_inner(store).unwrap().close().unwrap();
    let store = open(&options);
    assert_eq!(why(&store, dealing, &contacts), [None, unjudged, None]);
    catch_up(&store);
    assert_eq!(why(&store, dealing, &contacts), [None, caught, None]);
    assert_eq!(why(&store, active, &contacts), [None; 3]);
    link(&store, activity, &contacts[2..], Some(Timestamp::from_unix_seconds(1_700_000_000)));
    catch_up(&store);
    assert_eq!(why(&store, active, &contacts), [None, None, caught]);
    // A deal that is no longer theirs.
    let free = "{ field = \"open_deals\", op = \"eq\", value = 0 }";
    let free = place(&store, &format!("{{ all = [{free}, {{ field = \"id\", op = \"eq\", value = \"c1\" }}] }}"));
    catch_up(&store);
    assert_eq!(why(&store, free, &contacts), [None; 3]);
    link(&store, deal, &[], None);
    catch_up(&store);
    assert_eq!(why(&store, free, &contacts), [None, caught, None]);
    assert_eq!(why(&store, dealing, &contacts), [None, caught, None], "what it caught stays caught");
    assert_eq!([dealing, active, named, free].map(|hold| store.view(|views| views.left_to_judge(hold))), [0; 4]);
}

/// Takes in a request, and says which records are theirs.
fn ask(store: &Store, marks: Vec<SoughtMark>, records: &[EntityId]) -> RequestId {
    let named = if marks.is_empty() { records.to_vec() } else { Vec::new() };
    let event = Event::SubjectRequested(SubjectRequested {
        kind: RequestKind::Access,
        ground: None,
        marks,
        named,
        received_at: Timestamp(0),
        due_at: Timestamp(0),
        timezone: "Etc/UTC".to_owned(),
        reference: String::new(),
    });
    let request = RequestId(store.append_drafts(vec![daemon_draft(event)], Condition::None).unwrap().first);
    let said = SubjectIdentified { request, records: records.to_vec(), how: String::new() };
    store.append_drafts(vec![daemon_draft(Event::SubjectIdentified(said))], Condition::None).unwrap();
    request
}

#[test]
fn a_hold_on_a_request_that_names_records_alone_goes_by_the_identifiers_in_them() {
    let dir = tempfile::tempdir().unwrap();
    let options = init(dir.path());
    let store = open(&options);
    let layout = add_layout(&store);
    let early = add_contacts(&store, layout, 0..3);
    let request = ask(&store, Vec::new(), &early[1..2]);
    let hold = place_on(&store, &early[1..2], &filter_of_requests(&[request]));
    catch_up(&store);
    assert_eq!(why(&store, hold, &early), [None; 3], "one is named, and the others were known to be nobody's");
    // The same id under another number, as a source brings it after a purge.
    let late = add_contacts(&store, layout, 0..3);
    catch_up(&store);
    assert_eq!(why(&store, hold, &late), [None, Some(ByFilter::Caught), None]);
    // Whoever reads the log anew knows the same.
    Arc::into_inner(store).unwrap().close().unwrap();
    let store = open(&options);
    let later = add_contacts(&store, layout, 1..3);
    catch_up(&store);
    assert_eq!(why(&store, hold, &later), [Some(ByFilter::Caught), None]);
}

#[test]
fn a_hold_on_a_request_catches_what_arrives_for_its_person_and_leaves_what_a_person_decided() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&init(dir.path()));
    let layout = add_layout(&store);
    let early = add_contacts(&store, layout, 0..3);
    let ids = ["c1", "c4", "c7"].map(|id| subject::id(Some("crm"), id).unwrap().remove(0));
    let possible = subject::id(None, "c5").unwrap().remove(0);
    let sought = |(mark, certainty): (Mark, Certainty)| SoughtMark {
        handle: store.handle_of_mark(&mark),
        identifier: mark.kind(),
        certainty,
    };
    let request = ask(&store, ids.into_iter().chain([possible]).map(sought).collect(), &early[1..2]);
    let between = add_contacts(&store, layout, 6..9);
    let hold = place(&store, &filter_of_requests(&[request]));
    catch_up(&store);
    assert_eq!(why(&store, hold, &early), [None; 3], "of what was there a person said whose it is");
    let caught = Some(ByFilter::Caught);
    assert_eq!(why(&store, hold, &between), [None, caught, None], "of what came then, nobody did");
    let late = add_contacts(&store, layout, 3..6);
    assert_eq!(why(&store, hold, &late), [Some(ByFilter::Unjudged); 3]);
    catch_up(&store);
    assert_eq!(why(&store, hold, &late), [None, Some(ByFilter::Caught), None], "what is alike is nobody's for certain");
    assert_eq!(store.view(|views| views.left_to_judge(hold)), 0);
}

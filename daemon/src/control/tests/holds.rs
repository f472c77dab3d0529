//! Holds and pauses are placed, shown and released. What one covers has to be there: one that covers nothing would look as
//! if it protected.

use super::*;

async fn placed(world: &World, cover: &[(&str, Value)]) -> (u16, Value) {
    let mut body = json!({"name": "Case 17", "reason": "court order"});
    for (key, value) in cover {
        body[*key] = value.clone();
    }
    world.ask(OTHER, Operation::HoldPlace, "/v1/holds", Some(body)).await
}

#[tokio::test]
async fn a_standing_query_names_sources_that_there_are() {
    let world = World::with_contacts(1);
    let before = world.store.view(|views| views.position);
    for sources in [json!(["crn"]), json!(["crm", "crn"]), json!([""])] {
        let (status, answer) = placed(&world, &[("standing", json!({ "sources": sources }))]).await;
        assert_eq!(status, 404, "{answer}");
        assert_eq!(answer["hint"], "nothing was placed; there are crm, newsletter", "{answer}");
    }
    assert_eq!(world.store.view(|views| views.position), before, "nothing was recorded");
    for source in ["crm", "newsletter"] {
        let (status, answer) = placed(&world, &[("standing", json!({ "sources": [source] }))]).await;
        assert_eq!(status, 200, "{source} has delivered, or is configured and may: {answer}");
    }
}

#[tokio::test]
async fn a_hold_on_a_policy_that_is_taken_away_is_told_until_it_is_released() {
    let world = World::with_contacts(1);
    let (status, placed) = placed(&world, &[("policies", json!(["contacts"]))]).await;
    assert_eq!(status, 200, "{placed}");
    let told = async || {
        let (_, status) = world.ask(OTHER, Operation::Status, "/v1/status", None).await;
        let told = status["attention"].as_array().unwrap().clone();
        told.into_iter().filter(|told| told["what"] == "hold_policy_inactive").collect::<Vec<_>>()
    };
    assert_eq!(told().await, [] as [Value; 0]);
    let (digest, policies) = (Digest([9; 32]), Vec::new());
    world.happens(Event::PolicySetActivated(PolicySetActivated { digest, policies }), None);
    let hold = format!("H{}", placed["position"]);
    let expected = json!({"what": "hold_policy_inactive", "hold": hold, "policy": "contacts"});
    assert_eq!(told().await, [expected]);
    let uri = format!("/v1/holds/{hold}/release");
    let (status, answer) = world.ask(OTHER, Operation::HoldRelease, &uri, Some(json!({"reason": "over"}))).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(told().await, [] as [Value; 0], "whoever released it knows");
}

#[tokio::test]
async fn a_time_that_ends_before_it_begins_covers_nothing() {
    let world = World::with_contacts(1);
    let between = async |from: &str, until: &str| {
        let standing = json!({"kinds": ["contact"], "seen_from": from, "seen_until": until});
        placed(&world, &[("standing", standing)]).await.0
    };
    assert_eq!(between("2027-01-01T00:00:00Z", "2026-01-01T00:00:00Z").await, 400);
    assert_eq!(between("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z").await, 400);
    assert_eq!(between("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z").await, 200);
}

#[tokio::test]
async fn a_case_without_a_name_is_told_that_it_needs_one() {
    let world = World::with_contacts(1);
    let (status, answer) = placed(&world, &[("name", json!(" ")), ("entities", json!([world.first_contact()]))]).await;
    assert_eq!((status, &answer["message"]), (400, &json!("a name of the case is needed; nothing was recorded")));
}

#[tokio::test]
async fn a_mailbox_is_a_mailbox() {
    let world = World::with_contacts(1);
    let (status, answer) = placed(&world, &[("mailboxes", json!([world.first_contact()]))]).await;
    assert_eq!(status, 404, "it covers one contact, and not the mailbox that was meant: {answer}");
    assert_eq!(placed(&world, &[("mailboxes", json!([world.mailbox()]))]).await.0, 200);
}

#[tokio::test]
async fn something_is_paused_once_shown_and_resumed_once() {
    let world = World::with_contacts(1);
    let ask = async |operation, path, what: Value| {
        let mut body = json!({"reason": "look"});
        body.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        world.ask(OTHER, operation, path, Some(body)).await.0
    };
    for what in [json!({}), json!({"policy": "contacts"}), json!({"mailbox": world.mailbox()})] {
        assert_eq!(ask(Operation::Resume, "/v1/resume", what.clone()).await, 409, "{what}");
        assert_eq!(ask(Operation::Pause, "/v1/pause", what.clone()).await, 200, "{what}");
        assert_eq!(ask(Operation::Pause, "/v1/pause", what.clone()).await, 409, "{what}");
        let (_, status) = world.ask(OTHER, Operation::Status, "/v1/status", None).await;
        assert_eq!(status["paused"].as_array().unwrap().len(), 1, "{status}");
        assert_eq!(ask(Operation::Resume, "/v1/resume", what).await, 200);
    }
    assert_eq!(ask(Operation::Pause, "/v1/pause", json!({"policy": "nobody"})).await, 404);
    assert_eq!(ask(Operation::Pause, "/v1/pause", json!({"mailbox": world.first_contact()})).await, 404);
    assert_eq!(ask(Operation::Pause, "/v1/pause", json!({"policy": "contacts", "mailbox": "E1"})).await, 400);
}

#[tokio::test]
async fn a_filter_with_dates_is_recorded_with_their_zone() {
    let world = World::with_contacts(1);
    let filter = "{ field = \"created\", op = \"before\", value = 2020-01-01 }";
    let recorded = async |filter: &str| {
        let standing = json!({"kinds": ["contact"], "where": filter});
        let (status, placed) = placed(&world, &[("standing", standing)]).await;
        assert_eq!(status, 200, "{placed}");
        let path = format!("/v1/holds/H{}", placed["position"]);
        world.ask(OTHER, Operation::HoldShow, &path, None).await.1["where"].clone()
    };
    assert_eq!(recorded(filter).await, json!(format!("timezone = \"Etc/UTC\"\nwhere = {filter}\n")));
    let own = format!("timezone = \"Europe/Prague\"\nwhere = {filter}");
    assert_eq!(recorded(&own).await, json!(own), "its own zone stays");
}

#[tokio::test]
async fn a_hold_on_a_request_names_what_is_theirs_and_looks_for_what_comes() {
    use retention_core::event::Event;
    use retention_core::event::subject::{RequestKind, SubjectIdentified, SubjectRequested};
    use retention_core::id::RequestId;

    let world = World::with_contacts(2);
    let append = |event| {
        let draft = crate::store::open::daemon_draft(event);
        world.store.append_drafts(vec![draft], retention_core::view::Condition::None).unwrap().first
    };
    let request = RequestId(append(Event::SubjectRequested(SubjectRequested {
        kind: RequestKind::Access,
        ground: None,
        marks: Vec::new(),
        named: Vec::new(),
        received_at: world.control.clock.now(),
        due_at: world.control.clock.now(),
        timezone: "Etc/UTC".to_owned(),
        reference: String::new(),
    })));
    let records = vec![world.first_contact()];
    append(Event::SubjectIdentified(SubjectIdentified { request, records, how: String::new() }));
    let of = ("requests", json!([request]));
    let also = json!({"kinds": ["contact"]});
    assert_eq!(placed(&world, &[of.clone(), ("standing", also)]).await.0, 400, "it would be about contacts of theirs");
    let filter = json!({"kinds": ["contact"], "where": format!("request = [\"{request}\"]")});
    assert_eq!(placed(&world, &[("standing", filter)]).await.0, 400, "what is theirs now would be left out");
    let (status, answer) = placed(&world, &[of]).await;
    assert_eq!(status, 200, "{answer}");
    let path = format!("/v1/holds/H{}", answer["position"]);
    let (_, shown) = world.ask(OTHER, Operation::HoldShow, &path, None).await;
    assert_eq!((&shown["entities"], &shown["caught"]), (&json!(1), &json!(0)), "{shown}");
    assert_eq!(shown["where"], json!(format!("request = [\"{request}\"]")));
}

#[tokio::test]
async fn a_hold_is_placed_listed_and_released_by_a_person() {
    let world = World::with_contacts(1);
    let entity = world.first_contact();
    let place = json!({"name": "Case 17", "reason": "court order", "entities": [entity]});
    let (status, placed) = world.ask(OTHER, Operation::HoldPlace, "/v1/holds", Some(place)).await;
    assert_eq!(status, 200, "{placed}");
    let (_, holds) = world.ask(OTHER, Operation::HoldList, "/v1/holds", None).await;
    assert_eq!((&holds["rows"][0]["name"], &holds["rows"][0]["entities"]), (&json!("Case 17"), &json!(1)));
    let release = format!("/v1/holds/H{}/release", placed["position"]);
    let (status, _) = world.ask(OTHER, Operation::HoldRelease, &release, Some(json!({"reason": "closed"}))).await;
    assert_eq!(status, 200);
    let (status, _) = world.ask(OTHER, Operation::HoldRelease, &release, Some(json!({"reason": "closed"}))).await;
    assert_eq!(status, 409, "it was released before");
    let (_, holds) = world.ask(OTHER, Operation::HoldList, "/v1/holds", None).await;
    assert!(holds["rows"][0]["protects_until"].is_string(), "it protects for some time still: {holds}");
    let (_, released) = world.ask(OTHER, Operation::HoldList, "/v1/holds?show=released", None).await;
    assert_eq!(released["rows"][0]["hold"], holds["rows"][0]["hold"], "{released}");
    let (_, waiting) = world.ask(OTHER, Operation::HoldList, "/v1/holds?show=due_for_review", None).await;
    assert_eq!(waiting["rows"], json!([]));
    for nothing in [json!({"name": "x", "reason": "y"}), json!({"name": "x", "reason": "y", "standing": {}})] {
        assert_eq!(world.ask(OTHER, Operation::HoldPlace, "/v1/holds", Some(nothing)).await.0, 400);
    }
    let unknown = json!({"name": "x", "reason": "y", "policies": ["nobody"]});
    assert_eq!(world.ask(OTHER, Operation::HoldPlace, "/v1/holds", Some(unknown)).await.0, 404);
    let standing = json!({"name": "x", "reason": "y", "policies": ["contacts"], "standing": {"kinds": ["deal"]},
        "review_at": "2026-01-01T00:00:00Z", "owner": "legal", "reference": "3 C 17/26"});
    assert_eq!(world.ask(OTHER, Operation::HoldPlace, "/v1/holds", Some(standing)).await.0, 200);
    let (_, waiting) = world.ask(OTHER, Operation::HoldList, "/v1/holds?show=due_for_review", None).await;
    assert_eq!((&waiting["rows"][0]["owner"], &waiting["rows"][0]["standing"]), (&json!("legal"), &json!(true)));
    let nobody = json!({"name": "x", "reason": "y", "entities": ["E999"]});
    assert_eq!(world.ask(OTHER, Operation::HoldPlace, "/v1/holds", Some(nobody)).await.0, 404);
}

#[tokio::test]
async fn a_released_hold_protects_also_while_the_time_of_the_log_stands_still() {
    let mut world = World::with_contacts(1);
    let entity = world.first_contact();
    let place = json!({"name": "Case 17", "reason": "court order", "entities": [entity]});
    let (_, placed) = world.ask(OTHER, Operation::HoldPlace, "/v1/holds", Some(place)).await;
    // Until now the clock was ahead by more than the delay is long.
    let right = Timestamp(world.control.clock.now().0 - 100 * 86_400 * 1_000_000);
    world.control.clock = Arc::new(ManualClock::starting_at(right));
    let release = format!("/v1/holds/H{}/release", placed["position"]);
    let (status, _) = world.ask(OTHER, Operation::HoldRelease, &release, Some(json!({"reason": "closed"}))).await;
    assert_eq!((status, world.store.view(|views| views.holds_of(entity).len())), (200, 1));
}

#[tokio::test]
async fn a_hold_with_a_filter_shows_it_to_who_asks_for_that_hold_and_to_no_error() {
    let world = World::with_contacts(2);
    let place = async |kinds: Value, filter: &str| {
        let standing = json!({"kinds": kinds, "where": filter});
        let body = json!({"name": "Case 18", "reason": "court order", "standing": standing});
        world.ask(OTHER, Operation::HoldPlace, "/v1/holds", Some(body)).await
    };
    let contact = json!(["contact"]);
    for (kinds, filter) in [
        (&contact, "{ field = \"emial1\", op = \"eq\", value = \"Jana\" }"),
        (&json!([]), "{ field = \"email1\", op = \"eq\", value = \"Jana\" }"),
        (&contact, "{ field = \"open_deals\", op = \"eq\", value = \"Jana\" }"),
        (&contact, "Jana"),
    ] {
        let (status, refused) = place(kinds.clone(), filter).await;
        assert_eq!((status, refused.to_string().contains("Jana")), (400, false), "{refused}");
    }
    let (_, refused) = place(contact.clone(), "{ field = \"emial1\", op = \"exists\" }").await;
    assert!(refused.to_string().contains("did you mean `email1`?"), "{refused}");
    assert_eq!(place(contact.clone(), " ").await.0, 400);

    let filter = "{ field = \"email1\", op = \"eq\", value = \"Jana\" }";
    let (status, placed) = place(contact, filter).await;
    assert_eq!(status, 200, "{placed}");
    let (_, holds) = world.ask(OTHER, Operation::HoldList, "/v1/holds", None).await;
    let row = &holds["rows"][0];
    assert_eq!((row.get("where"), &row["caught"]), (None, &json!(0)), "{row}");
    assert!(row["unjudged"].as_u64() >= Some(2), "{row}");
    let path = format!("/v1/holds/H{}", placed["position"]);
    let (status, shown) = world.ask(OTHER, Operation::HoldShow, &path, None).await;
    assert_eq!((status, &shown["where"], &shown["unreadable"]), (200, &json!(filter), &json!(0)), "{shown}");
    let (actor, event) = world.newest();
    assert!(
        matches!(event, Event::RecordsOpened(_)) && actor == Actor::Person(OTHER),
        "who reads a filter is recorded"
    );
    assert_eq!(world.ask(OTHER, Operation::HoldShow, "/v1/holds/H999", None).await.0, 404);
}

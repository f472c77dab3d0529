//! Notices: what is listed, what can be acknowledged, and what recipients have to be told.

use retention_core::event::decision::ScheduleMissed;
use retention_core::event::erasure::{BundleHandedOver, KeyDestroyed};
use retention_core::event::notice::{DeclaredChannel, Notice, NoticeChannelsDeclared, NoticeFailed, NoticeSent, Thing};
use retention_core::event::saga::{
    ItemsSkipped, Receipt, SagaItem, SagaStarted, ScriptKind, SkipReason, Step, StepStarted, StepSucceeded,
};
use retention_core::event::subject::{RequestKind, SubjectIdentified};
use retention_core::id::{RunId, SagaId};
use retention_core::notice::Reader;

use super::*;

const CHANNEL: &str = "page";

/// What the stage would have found.
pub(super) fn owed(store: &Store) -> Vec<crate::control::OwedNotice> {
    let policies = store.policies();
    store.view(|views| {
        let of = |(channel, _): (&str, _)| {
            let reader = Reader { channel, before: &[], copies: &[] };
            let owed = retention_core::notice::owed(views, &policies, &reader, views.recorded_at);
            let channel = channel.to_owned();
            owed.into_iter().map(move |notice| {
                let (channel, since) = (channel.clone(), views.recorded_at);
                crate::control::OwedNotice { channel, notice, since, tries: 0, code: None }
            })
        };
        views.small.notices.channels().flat_map(of).collect()
    })
}

impl World {
    fn with_channel() -> Self {
        let world = Self::with_contacts(3);
        let channels = vec![DeclaredChannel { name: CHANNEL.to_owned(), things: Thing::ALL.to_vec() }];
        world.happens(Event::NoticeChannelsDeclared(NoticeChannelsDeclared { channels }), None);
        world
    }

    /// Lets a schedule be missed, and returns the notice that is owed of it.
    fn miss(&self, policy: &str) -> Notice {
        let at = self.control.clock.now();
        let missed = ScheduleMissed { policy: policy.to_owned(), first_at: at, last_at: at, count: 1 };
        Notice::ScheduleMissed { missed: self.happens(Event::ScheduleMissed(missed), None) }
    }

    fn give_up(&self, notice: Notice) {
        let (channel, code) = (CHANNEL.to_owned(), "http-503".to_owned());
        self.happens(Event::NoticeFailed(NoticeFailed { channel, notice, tries: 80, code }), None);
    }

    fn id(&self, notice: &Notice) -> String {
        self.store.view(|views| retention_core::notice::id(views.small.store, CHANNEL, notice))
    }

    async fn notices(&self, query: &str) -> Vec<Value> {
        let (status, page) = self.ask(OTHER, Operation::NoticeList, &format!("/v1/notices{query}"), None).await;
        assert_eq!(status, 200, "{page}");
        page["rows"].as_array().unwrap().clone()
    }

    async fn acknowledge(&self, ids: &[String]) -> (u16, Value) {
        let body = json!({"notices": ids, "reason": "told by telephone"});
        self.ask(OTHER, Operation::NoticeAcknowledge, "/v1/notices/acknowledge", Some(body)).await
    }

    async fn alarms(&self) -> Value {
        self.ask(OTHER, Operation::Status, "/v1/status", None).await.1["attention"].clone()
    }
}

fn states(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["state"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_notice_that_could_not_be_delivered_is_shown_by_its_channel() {
    let world = World::with_channel();
    world.give_up(world.miss("contacts"));
    let alarm =
        json!({"what": "notices_undelivered", "channel": "page", "waiting": 0, "given_up": 1, "code": "http-503"});
    assert_eq!(world.alarms().await, json!([alarm]));
}

#[tokio::test]
async fn the_list_shows_what_is_owed_first_then_the_newest_and_each_once_by_whatever_pages() {
    let world = World::with_channel();
    let [failed, sent] = ["a", "b"].map(|policy| world.miss(policy));
    let owed = ["c", "d", "e"].map(|policy| world.miss(policy));
    world.give_up(failed.clone());
    let (channel, notice) = (CHANNEL.to_owned(), sent.clone());
    world.happens(Event::NoticeSent(NoticeSent { channel, notice }), None);
    let all = world.notices("").await;
    assert_eq!(states(&all), ["owed", "owed", "owed", "sent", "given_up"]);
    let last = &all[4];
    assert_eq!((&last["notice"], &last["thing"]), (&json!(world.id(&failed)), &json!("schedule_missed")));
    assert_eq!(
        (&last["tries"], &last["code"], &last["subject"]),
        (&json!(80), &json!("http-503"), &json!(failed.subject()))
    );
    for notice in &owed {
        assert!(all[..3].iter().any(|row| row["notice"] == world.id(notice)), "{notice}");
    }
    for (show, wanted) in [
        ("open", vec!["owed", "owed", "owed", "given_up"]),
        ("owed", vec!["owed", "owed", "owed"]),
        ("sent", vec!["sent"]),
        ("given_up", vec!["given_up"]),
        ("acknowledged", vec![]),
    ] {
        assert_eq!(states(&world.notices(&format!("?show={show}")).await), wanted, "{show}");
    }
    let (mut rows, mut after) = (Vec::new(), String::new());
    loop {
        let uri = format!("/v1/notices?limit=1{after}");
        let (_, page) = world.ask(OTHER, Operation::NoticeList, &uri, None).await;
        rows.extend(page["rows"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_u64() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(rows, all);
    assert!(states(&world.notices("?limit=9").await).len() == 5);
}

#[tokio::test]
async fn what_was_given_up_is_acknowledged_once_and_the_next_one_is_an_alarm_again() {
    let world = World::with_channel();
    let [first, second, owed] = ["a", "b", "c"].map(|policy| world.miss(policy));
    world.give_up(first.clone());
    world.give_up(second.clone());
    assert_eq!(world.alarms().await[0]["given_up"], 2);
    let before = world.store.view(|views| views.position);
    for (ids, status, says) in [
        (vec![], 400, "between one and"),
        (vec!["42".to_owned()], 400, "named by its id"),
        (vec![format!("notice_{}", "0".repeat(32))], 404, "there is no notice"),
        (vec![world.id(&first), world.id(&owed)], 409, "still tried on page"),
    ] {
        let (got, answer) = world.acknowledge(&ids).await;
        assert_eq!(got, status, "{answer}");
        assert!(
            answer["message"].as_str().unwrap().contains(says) && answer["hint"].is_string() | ids.is_empty(),
            "{answer}"
        );
    }
    assert_eq!(world.store.view(|views| views.position), before, "all, or none");

    let (status, answer) = world.acknowledge(&[world.id(&first), world.id(&first)]).await;
    assert_eq!((status, &answer["acknowledged"]), (200, &json!(1)), "{answer}");
    let (actor, event) = world.newest();
    assert_eq!(actor, Actor::Person(OTHER));
    assert!(!format!("{event:?}").contains("telephone"), "what people write may name somebody: {event:?}");
    assert!(
        matches!(event, Event::NoticeAcknowledged(body) if body.notices.len() == 1 && body.notices[0].notice == first)
    );
    assert_eq!(world.alarms().await[0]["given_up"], 1);
    let after = world.store.view(|views| views.position);
    let (status, answer) = world.acknowledge(&[world.id(&first)]).await;
    assert_eq!((status, &answer), (200, &json!({"acknowledged": 0, "event": null})));
    assert_eq!(world.store.view(|views| views.position), after, "twice changes nothing");

    let (_, answer) = world.acknowledge(&[world.id(&first), world.id(&second)]).await;
    assert_eq!(answer["acknowledged"], 1);
    assert_eq!(world.alarms().await, json!([]));
    assert_eq!(states(&world.notices("?show=acknowledged").await), ["acknowledged"; 2]);
    world.give_up(owed);
    assert_eq!(world.alarms().await[0]["given_up"], 1);
    let auditor = Caller { peer: Peer { uid: OTHER, gid: OTHER }, roles: vec![Role::Auditor] };
    let body = Some(json!({"notices": [world.id(&first)], "reason": "x"}));
    let (status, _) =
        world.send_as(auditor, Operation::NoticeAcknowledge, "/v1/notices/acknowledge", "application/json", body).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn what_a_channel_took_cannot_be_acknowledged() {
    let world = World::with_channel();
    let notice = world.miss("a");
    let channel = CHANNEL.to_owned();
    world.happens(Event::NoticeSent(NoticeSent { channel, notice: notice.clone() }), None);
    let (status, answer) = world.acknowledge(&[world.id(&notice)]).await;
    assert_eq!(status, 409, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("was not given up: page took it"), "{answer}");
}

/// A record that the saga left alone before it wrote the bundle.
fn never_exported(contacts: &[EntityId]) -> EntityId {
    EntityId(contacts.last().unwrap().0 + 1)
}

/// Two copies of a bundle with both contacts: for whom a channel is, and for somebody else.
fn handed_over(world: &World, contacts: &[EntityId]) -> [Position; 2] {
    let item = |(n, entity): (usize, &EntityId)| SagaItem {
        entity: *entity,
        version: Position(3),
        item: u32::try_from(n).unwrap(),
    };
    let all = [contacts, &[never_exported(contacts)]].concat();
    let items = all.iter().enumerate().map(item).collect();
    let run = RunId(Position(1));
    let started = SagaStarted { run, script: ScriptKind::ExportPurge, script_version: 1, mailbox: None, items };
    let saga = SagaId(world.happens(Event::SagaStarted(started), None));
    let skip = |entity| Event::ItemsSkipped(ItemsSkipped { saga, items: vec![(entity, SkipReason::Held)] });
    world.happens(skip(never_exported(contacts)), None);
    let (step, manifest) = (Step::Export, Digest::of(b"manifest"));
    let intent = StepStarted { saga, step, attempt: 1, idempotency_key: manifest, items: Vec::new() };
    world.happens(Event::StepStarted(intent), None);
    let receipt = Receipt::Exported { manifest, exported_at: Timestamp(0), items: 2, bytes: 1 };
    world.happens(Event::StepSucceeded(StepSucceeded { saga, step, compensation: false, receipt }), None);
    // What is left alone after that is in the bundle all the same.
    world.happens(skip(contacts[0]), None);
    ["tax adviser", "auditors"].map(|to| {
        let body = BundleHandedOver { saga, manifest, to: to.to_owned(), reason: String::new() };
        world.happens(Event::BundleHandedOver(body), None)
    })
}

#[tokio::test]
async fn a_request_shows_who_was_told_by_notice_and_who_has_to_be_told_by_a_person() {
    let world = World::with_channel();
    let first = world.first_contact();
    let contacts = [first, EntityId(first.0 + 1)];
    let [adviser, auditors] = handed_over(&world, &contacts);
    let asked = SubjectRequested {
        kind: RequestKind::Erase,
        ground: None,
        marks: Vec::new(),
        named: Vec::new(),
        received_at: Timestamp(0),
        due_at: Timestamp(i64::MAX),
        timezone: "UTC".to_owned(),
        reference: String::new(),
    };
    let request = RequestId(world.happens(Event::SubjectRequested(asked), None));
    let records = [contacts.as_slice(), &[never_exported(&contacts)]].concat();
    let identified = SubjectIdentified { request, records: records.clone(), how: "x".to_owned() };
    world.happens(Event::SubjectIdentified(identified), None);
    let recipients = async || {
        let uri = format!("/v1/requests/{request}");
        world.ask(OTHER, Operation::SubjectRequestShow, &uri, None).await.1["recipients"].clone()
    };
    let to_tell = async || {
        let (_, status) = world.ask(OTHER, Operation::Status, "/v1/status", None).await;
        status["recipients_to_tell"].clone()
    };
    let tell = async |recipient: Position| {
        let uri = format!("/v1/requests/{request}/recipients/{}/told", recipient.0);
        world.ask(OTHER, Operation::SubjectTold, &uri, Some(json!({"reason": "letter"}))).await
    };
    let rows = recipients().await;
    assert_eq!((&rows[0]["to_tell"], &rows[1]["to_tell"]), (&json!(false), &json!(false)), "nothing is erased yet");
    assert_eq!(to_tell().await, json!([]));
    let (status, answer) = tell(auditors).await;
    assert_eq!(status, 409, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("nothing to tell this recipient yet"), "{answer}");
    assert_eq!(rows[0]["records"], json!(contacts), "what was left alone is not in it");
    for entity in records {
        let body = KeyDestroyed { run: RunId(Position(1)), saga: SagaId(Position(1)), item: 0 };
        world.happens(Event::KeyDestroyed(body), Some(entity));
    }
    let rows = recipients().await;
    assert_eq!((&rows[0]["to_tell"], &rows[0]["channel"]), (&json!(true), &json!("adviser")), "{rows}");
    assert_eq!((&rows[1]["to_tell"], &rows[1]["channel"]), (&json!(true), &Value::Null), "{rows}");
    assert_eq!(to_tell().await, json!([request]));

    let notice =
        Notice::RecipientToTell { request, recipient: adviser, erased: contacts.to_vec(), restricted: Vec::new() };
    world.happens(Event::NoticeSent(NoticeSent { channel: CHANNEL.to_owned(), notice }), None);
    let rows = recipients().await;
    assert_eq!((&rows[0]["to_tell"], &rows[0]["told_through"]), (&json!(false), &json!(CHANNEL)), "{rows}");
    assert_eq!(tell(adviser).await.0, 409, "the notice is the record");
    assert_eq!(to_tell().await, json!([request]), "the auditors know nothing");
    assert_eq!(tell(auditors).await.0, 200);
    assert_eq!(to_tell().await, json!([]));
    let rows = recipients().await;
    assert!(rows[1]["told_at"].is_string() && rows[1]["told_through"].is_null(), "{rows}");
}

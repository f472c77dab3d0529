//! The API over a real store: what it lets happen, what it refuses, and what it leaves in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use retention_core::control::{
    AddMailboxes, AskForSubject, BackupRow, Checked, CheckpointRow, EnvelopeRow, ErrorBody, ErrorCode, Explanation,
    GiveGrant, IdentifySubject, Line, MailboxFinding, Method, NDJSON, Operation, PolicyDiffRow, PolicyFileText, Role,
    RunAccessTerms, SoughtSubject, SubjectRow,
};
use retention_core::event::change::{EntityChanged, LayoutRecorded};
use retention_core::event::decision::{PlanFrozen, PlanPurpose, PolicySetActivated, PolicyVersion, RunStarted};
use retention_core::event::erasure::KeyDestroyed;
use retention_core::event::grant::GrantRequested;
use retention_core::event::key::StoreKeys;
use retention_core::event::subject::SubjectRequested;
use retention_core::event::{Actor, Draft, Event};
use retention_core::id::{Digest, EntityId, LayoutId, PlanId, Position, RequestId, RunId, SagaId};
use retention_core::record::{Column, EntityRecord, FieldType, Kind, Layout, Visibility};
use retention_core::time::{Timestamp, Zone};
use retention_core::view::Condition;
use serde_json::{Value, json};

use super::package::{PackageWanted, Parts};
use super::reviews::{self, Decided, Waiting};
use super::works::{BundleThere, PolicyFacts, Sink, Works};
use super::{Caller, Control, FOLLOWERS_MAX, Peer, router};
use crate::clock::{Clock, ManualClock};
use crate::store::tests::init;
use crate::store::{Options, Store};

/// A daemon that has nothing but one policy.
struct Idle(Arc<Store>);

impl Works for Idle {
    fn check_config(&self, _text: Option<&str>) -> Checked {
        Checked { findings: Vec::new() }
    }
    fn config_problems(&self) -> Vec<String> {
        Vec::new()
    }
    fn source_names(&self) -> BTreeSet<String> {
        BTreeSet::from(["newsletter".to_owned()])
    }
    fn policies(&self) -> Vec<PolicyFacts> {
        let (policy, title, state) = ("contacts".to_owned(), "Contacts".to_owned(), "enforce".to_owned());
        vec![PolicyFacts { policy, title, state, restricts: false, approver: Role::Approver, schedule: None }]
    }
    fn policy_problems(&self) -> Vec<String> {
        Vec::new()
    }
    fn policies_of_no_source(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    fn diff_policies(&self, _files: &[PolicyFileText]) -> Result<Vec<PolicyDiffRow>, ErrorBody> {
        Ok(Vec::new())
    }
    fn explain(&self, _entity: EntityId, _now: Timestamp) -> Result<Explanation, ErrorBody> {
        Err(ErrorBody::of(retention_core::control::ErrorCode::Internal))
    }
    fn waiting_for_review(
        &self,
        policy: &str,
        entities: &[EntityId],
        decided: Decided,
        now: Timestamp,
    ) -> Result<Option<Waiting>, ErrorBody> {
        reviews::waiting(&self.0, policy, entities, decided, now)
    }
    fn verify_export(&self, _manifest: Digest, _sink: Sink<'_>) -> Result<(), ErrorBody> {
        Ok(())
    }
    fn bundle_there(&self, _: Digest) -> Result<Option<BundleThere>, ErrorBody> {
        Ok(None)
    }

    fn verify_store(&self, sink: Sink<'_>) -> Result<(), ErrorBody> {
        let row = json!({"part": "journal", "state": "intact", "checked": 1, "code": null});
        sink(Line::Row(serde_json::from_value(row).unwrap()));
        Ok(())
    }
    fn rebuild_store(&self, _sink: Sink<'_>) -> Result<(), ErrorBody> {
        Ok(())
    }
    fn compact_store(&self, _: Sink<'_>) -> Result<(), ErrorBody> {
        Err(ErrorBody::of(ErrorCode::Internal))
    }

    fn count_keys(&self) -> Result<retention_core::control::KeySlots, ErrorBody> {
        Ok(retention_core::control::KeySlots::default())
    }

    fn take_up_rotation(&self, _: StoreKeys) {}

    fn register_mailboxes(&self, _: u32, _: AddMailboxes) -> Result<Vec<EntityId>, ErrorBody> {
        Err(ErrorBody::of(ErrorCode::Internal))
    }

    fn remove_mailbox(&self, _: u32, _: EntityId, _: String) -> Result<Position, ErrorBody> {
        Err(ErrorBody::of(ErrorCode::Internal))
    }

    fn check_mailbox(&self, _: EntityId) -> Result<Vec<MailboxFinding>, ErrorBody> {
        Err(ErrorBody::of(ErrorCode::Internal))
    }

    fn grant_terms(&self, _: GiveGrant) -> Result<GrantRequested, ErrorBody> {
        Err(ErrorBody::of(ErrorCode::Internal))
    }

    fn run_access(&self, policy_digest: Digest) -> Result<Option<RunAccessTerms>, ErrorBody> {
        super::terms::of_runs(&self.0, policy_digest)
    }

    fn zone(&self) -> Zone {
        Zone::utc()
    }

    fn find_subject(&self, uid: u32, sought: &SoughtSubject, sink: Sink<'_, SubjectRow>) -> Result<(), ErrorBody> {
        super::subjects::find_for(&self.0, uid, sought, sink)
    }

    fn subject_terms(&self, wanted: AskForSubject) -> Result<SubjectRequested, ErrorBody> {
        super::subjects::terms(&self.0, wanted, &Zone::utc(), Timestamp(2_000_000_000_000_000))
    }

    fn identify_subject(
        &self,
        uid: u32,
        request: RequestId,
        wanted: IdentifySubject,
        sink: Sink<'_, SubjectRow>,
    ) -> Result<(), ErrorBody> {
        super::subjects::identify(&self.0, uid, request, wanted, sink)
    }

    fn package_subject(
        &self,
        uid: u32,
        request: RequestId,
        recipients: &[String],
        parts: Parts<'_>,
    ) -> Result<(), ErrorBody> {
        let (zone, now) = (Zone::utc(), Timestamp(2_000_000_000_000_000));
        let wanted = PackageWanted { uid, request, recipients, zone: &zone, now };
        super::package::make(&self.0, &wanted, &|_, _, _| ControlFlow::Continue(()), parts)
    }

    fn checkpoints(&self, _: u64, _: usize) -> Result<Vec<CheckpointRow>, ErrorBody> {
        Err(ErrorBody::of(ErrorCode::Internal))
    }

    fn prove(&self, _: Position) -> Result<String, ErrorBody> {
        Err(ErrorBody::of(ErrorCode::Internal))
    }

    fn newest_checkpoint(&self) -> Result<CheckpointRow, ErrorBody> {
        Err(ErrorBody::of(ErrorCode::Internal))
    }

    fn cosigned_checkpoint(&self) -> Result<CheckpointRow, ErrorBody> {
        Err(ErrorBody::of(ErrorCode::Internal))
    }

    fn prove_growth(&self, _: u64, _: u64) -> Result<String, ErrorBody> {
        Err(ErrorBody::of(ErrorCode::Internal))
    }

    fn envelopes(&self, _: Position, _: usize) -> Result<Vec<EnvelopeRow>, ErrorBody> {
        Err(ErrorBody::of(ErrorCode::Internal))
    }

    fn certificate(&self, _: retention_core::evidence::certificate::Subject) -> Result<String, ErrorBody> {
        Err(ErrorBody::of(ErrorCode::Internal))
    }

    fn make_backup(&self, _: u32, _: Sink<'_>) -> Result<(), ErrorBody> {
        Err(ErrorBody::of(ErrorCode::Internal))
    }

    fn backups(&self) -> Result<Vec<BackupRow>, ErrorBody> {
        Err(ErrorBody::of(ErrorCode::Internal))
    }

    fn verify_backup(&self, _: Position, _: Sink<'_>) -> Result<(), ErrorBody> {
        Err(ErrorBody::of(ErrorCode::Internal))
    }

    fn publishing_behind(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn witnesses(&self) -> Vec<(String, retention_core::evidence::cosignature::WitnessState)> {
        Vec::new()
    }

    fn forwarding_behind(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn sources_stopped(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn entries_left(&self) -> Vec<retention_core::control::EntryLeftRow> {
        Vec::new()
    }

    fn rotation_failed(&self) -> Option<String> {
        None
    }

    fn test_channel(&self, _channel: &str) -> Result<retention_core::control::NoticeTested, ErrorBody> {
        Err(ErrorBody::of(retention_core::control::ErrorCode::NotFound))
    }

    fn notices_failing(&self) -> Vec<(String, u64, String)> {
        Vec::new()
    }

    fn notices_owed(&self) -> Vec<super::OwedNotice> {
        notices::owed(&self.0)
    }

    fn channel_of_recipient(&self, name: &str) -> Option<String> {
        (name == "tax adviser").then(|| "adviser".to_owned())
    }

    /// Every bundle that waited through a quarantine.
    fn bundles_missed(&self) -> BTreeMap<RunId, String> {
        self.0.view(|views| {
            let waited = views.small.runs.sagas().filter(|(_, saga)| saga.quarantine_until().is_some());
            waited.map(|(_, saga)| (saga.started.run, "bundle_missing".to_owned())).collect()
        })
    }

    fn ledger_behind(&self) -> Option<String> {
        None
    }

    fn stages_failing(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn backup_failed(&self) -> Option<String> {
        None
    }

    fn tree_stopped(&self) -> Option<String> {
        None
    }

    fn metrics(&self) -> Option<String> {
        None
    }
}

struct World {
    store: Arc<Store>,
    control: Control,
    stop: tokio::sync::watch::Sender<bool>,
    _dir: tempfile::TempDir,
}

const REQUESTER: u32 = 1001;
const OTHER: u32 = 1002;

impl World {
    fn with_contacts(count: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_unix_seconds(1_772_323_200)));
        let options = Options { clock: clock.clone(), ..init(dir.path()) };
        let store = Arc::new(Store::open(&options, &mut |_, _| {}).unwrap());
        let started_at = clock.now();
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let works = Arc::new(Idle(Arc::clone(&store)));
        let followers = Arc::new(tokio::sync::Semaphore::new(FOLLOWERS_MAX));
        let control = Control { log: store.clone(), works, clock, started_at, stopped, followers };
        let world = Self { store, control, stop, _dir: dir };
        world.happens(Event::LayoutRecorded(LayoutRecorded { id: LayoutId(1), layout: layout() }), None);
        let version = PolicyVersion { id: "contacts".to_owned(), digest: Digest::of(b"policy") };
        world.happens(
            Event::PolicySetActivated(PolicySetActivated { digest: Digest::of(b"set"), policies: vec![version] }),
            None,
        );
        for (n, (entity, key)) in world.store.issue(count).unwrap().into_iter().enumerate() {
            let mut draft = world.draft(Event::EntityChanged(EntityChanged { record: record(n) }), Some(entity));
            draft.stream = world.store.stream_of(entity);
            let prepared = world.store.prepare(draft, Some(&key)).unwrap();
            world.store.append(vec![prepared], Condition::None).unwrap();
        }
        world
    }

    fn draft(&self, event: Event, entity: Option<EntityId>) -> Draft {
        let stream = retention_core::event::stream_of_daemon();
        Draft { stream, entity, actor: Actor::Daemon, cause: Position::NONE, occurred_at: None, event }
    }

    fn happens(&self, event: Event, entity: Option<EntityId>) -> Position {
        self.store.append_drafts(vec![self.draft(event, entity)], Condition::None).unwrap().last
    }

    fn first_contact(&self) -> EntityId {
        self.store.view(|views| views.entities.numbers_from(0).find(|id| views.entities.row(*id).is_some())).unwrap()
    }

    /// Records a mailbox.
    fn mailbox(&self) -> EntityId {
        let layout = Layout { kind: Kind::Mailbox, ..layout() };
        self.happens(Event::LayoutRecorded(LayoutRecorded { id: LayoutId(2), layout }), None);
        let (entity, key) = self.store.issue(1).unwrap().into_iter().next().unwrap();
        let record = EntityRecord { layout: LayoutId(2), ..record(99) };
        let mut draft = self.draft(Event::EntityChanged(EntityChanged { record }), Some(entity));
        draft.stream = self.store.stream_of(entity);
        let prepared = self.store.prepare(draft, Some(&key)).unwrap();
        self.store.append(vec![prepared], Condition::None).unwrap();
        entity
    }

    async fn send(
        &self,
        uid: u32,
        operation: Operation,
        uri: &str,
        accept: &str,
        body: Option<Value>,
    ) -> (u16, String) {
        let roles = Role::ALL.to_vec();
        self.send_as(Caller { peer: Peer { uid, gid: uid }, roles }, operation, uri, accept, body).await
    }

    async fn send_as(
        &self,
        caller: Caller,
        operation: Operation,
        uri: &str,
        accept: &str,
        body: Option<Value>,
    ) -> (u16, String) {
        let service = router(self.control.clone()).layer(axum::Extension(caller)).into_service::<Body>();
        let method = match operation.method() {
            Method::Get => "GET",
            Method::Post => "POST",
        };
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        let request = Request::builder().method(method).uri(uri).header("accept", accept).body(body).unwrap();
        let response = TowerToHyperService::new(service).call(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn ask(&self, uid: u32, operation: Operation, uri: &str, body: Option<Value>) -> (u16, Value) {
        let (status, text) = self.send(uid, operation, uri, "application/json", body).await;
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    async fn make_plan(&self) -> PlanId {
        let body = json!({"policy": "contacts", "purpose": "run"});
        let (status, answer) = self.ask(REQUESTER, Operation::PlanMake, "/v1/plans", Some(body)).await;
        assert_eq!(status, 200, "{answer}");
        PlanId(Position(answer["position"].as_u64().unwrap()))
    }

    /// What the plan stage would do.
    fn freeze(&self, plan: PlanId) -> Digest {
        let digest = Digest::of(b"plan");
        self.happens(
            Event::PlanFrozen(PlanFrozen {
                plan,
                purpose: PlanPurpose::Run,
                policy: "contacts".to_owned(),
                policy_digest: Digest::of(b"policy"),
                log_position: plan.0,
                as_of: Timestamp(0),
                population: 3,
                items: 1,
                kept: Vec::new(),
                tripped: Vec::new(),
                needs_approval: true,
                approvals_needed: 1,
                approval_valid_ms: 86_400_000,
                digest,
            }),
            None,
        );
        digest
    }

    fn newest(&self) -> (Actor, Event) {
        let position = self.store.view(|views| views.position);
        let recorded = self.store.read(position).unwrap().unwrap();
        (recorded.envelope.actor, recorded.event().unwrap().clone())
    }
}

fn layout() -> Layout {
    let column = |name: &str| Column { name: name.into(), field: name.into(), field_type: FieldType::Text };
    let columns = vec![column("id"), column("display_name")];
    Layout { source: "crm".into(), kind: Kind::Contact, columns, named_dates: Vec::new() }
}

fn record(n: usize) -> EntityRecord {
    EntityRecord {
        layout: LayoutId(1),
        mailbox: None,
        visibility: Visibility::Private,
        external_id: format!("c{n}"),
        other_ids: Vec::new(),
        dates: Vec::new(),
        links: Vec::new(),
        cells: [Some("c"), Some("Jana")].into_iter().collect(),
    }
}

fn path(operation: Operation) -> String {
    // What would go on for ever ends after one row.
    let query = if operation == Operation::AuditFollow { "?limit=1" } else { "" };
    let path = operation
        .path()
        .replace("{entity}", "E1")
        .replace("{plan}", "P1")
        .replace("{run}", "R1")
        .replace("{hold}", "H1")
        .replace("{policy}", "contacts")
        .replace("{manifest}", &Digest::of(b"x").to_string());
    path + query
}

#[tokio::test]
async fn what_no_enforced_policy_is_about_is_counted_and_not_named() {
    let world = World::with_contacts(5);
    let (status, answer) = world.ask(REQUESTER, Operation::PolicyCoverage, "/v1/coverage", None).await;
    assert_eq!(status, 200, "{answer}");
    let row = json!({
        "source": "crm", "kind": "contact", "entities": 5, "covered": 0, "uncovered": 5, "never_due": 0, "waiting": 5,
        "policies": [],
    });
    assert_eq!(answer["rows"], json!([row]), "{answer}");
}

#[tokio::test]
async fn every_operation_is_served_and_none_without_its_role() {
    let world = World::with_contacts(1);
    for &operation in Operation::ALL {
        let uri = path(operation);
        for role in Role::ALL {
            let caller = Caller { peer: Peer { uid: 7, gid: 7 }, roles: vec![role] };
            if role.covers(operation.role()) || operation == Operation::RunWatch {
                continue;
            }
            let (status, text) = world.send_as(caller, operation, &uri, NDJSON, None).await;
            assert!(status == 403 && text.contains("not_permitted"), "{operation:?} as {role}: {status} {text}");
        }
        let nobody = Caller { peer: Peer { uid: 7, gid: 7 }, roles: Vec::new() };
        let (status, _) = world.send_as(nobody, operation, &uri, "application/json", None).await;
        assert_eq!(status, 403, "{operation:?} without a role");
        let (_, text) = world.send(REQUESTER, operation, &uri, "application/json", None).await;
        assert!(!text.contains("unknown_operation"), "{operation:?} has no route");
    }
    let (status, answer) = world.ask(7, Operation::Status, "/v1/nothing", None).await;
    assert_eq!((status, &answer["code"]), (404, &json!("unknown_operation")));
}

#[tokio::test]
async fn a_plan_is_approved_by_another_person_by_its_digest_and_run_once() {
    let world = World::with_contacts(3);
    let plan = world.make_plan().await;
    assert_eq!(world.newest().0, Actor::Person(REQUESTER));
    let approve = format!("/v1/plans/{plan}/approve");
    let judge = |digest: Digest| Some(json!({"digest": digest}));
    let (_, early) = world.ask(OTHER, Operation::PlanApprove, &approve, judge(Digest::of(b"plan"))).await;
    assert_eq!(early["code"], "wrong_state");
    let digest = world.freeze(plan);

    let start = |digest| json!({"plan": plan, "digest": digest});
    let (_, unapproved) = world.ask(REQUESTER, Operation::RunStart, "/v1/runs", Some(start(digest))).await;
    assert_eq!(unapproved["code"], "approval_needed");
    let (_, own) = world.ask(REQUESTER, Operation::PlanApprove, &approve, judge(digest)).await;
    assert_eq!(own["code"], "own_request");
    let (_, other) = world.ask(OTHER, Operation::PlanApprove, &approve, judge(Digest::of(b"else"))).await;
    assert_eq!(other["code"], "digest_mismatch");
    assert!(matches!(world.newest().1, Event::PlanFrozen(_)), "a refusal leaves nothing in the log");

    let (status, _) = world.ask(OTHER, Operation::PlanApprove, &approve, judge(digest)).await;
    assert_eq!(status, 200);
    let (_, shown) = world.ask(OTHER, Operation::PlanShow, &format!("/v1/plans/{plan}"), None).await;
    assert_eq!((&shown["state"], &shown["approvals"][0]["by"]), (&json!("ready"), &json!("uid:1002")));
    let (_, twice) = world.ask(OTHER, Operation::PlanApprove, &approve, judge(digest)).await;
    assert_eq!(twice["code"], "wrong_state");
    assert!(matches!(world.newest().1, Event::PlanApproved(_)), "one person accepts a plan once");
    let (_, shown) = world.ask(OTHER, Operation::PlanShow, &format!("/v1/plans/{plan}"), None).await;
    assert_eq!(shown["approvals"].as_array().map(Vec::len), Some(1));
    let (status, _) = world.ask(REQUESTER, Operation::RunStart, "/v1/runs", Some(start(digest))).await;
    assert_eq!(status, 200);
    let (actor, event) = world.newest();
    assert!(matches!(event, Event::RunRequested(_)) && actor == Actor::Person(REQUESTER));
}

#[tokio::test]
async fn a_wait_ends_when_the_plan_is_frozen() {
    let world = World::with_contacts(1);
    let plan = world.make_plan().await;
    let uri = format!("/v1/plans/{plan}?wait_seconds=30");
    let waiting = world.ask(OTHER, Operation::PlanShow, &uri, None);
    let freezing = async { world.freeze(plan) };
    let ((_, shown), _) = tokio::join!(waiting, freezing);
    assert_eq!(shown["state"], "awaiting_approval");
}

#[tokio::test]
async fn pages_and_streams_hold_the_same_rows() {
    let world = World::with_contacts(25);
    let (_, text) = world.send(7, Operation::EntityList, "/v1/entities?kind=contact", NDJSON, None).await;
    let lines: Vec<Line<Value>> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let streamed: Vec<Value> =
        lines.iter().filter_map(|line| if let Line::Row(row) = line { Some(row.clone()) } else { None }).collect();
    assert!(matches!(lines.last(), Some(Line::End(end)) if end.rows == 25 && end.next.is_none()));
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let (_, page) =
            world.ask(7, Operation::EntityList, &format!("/v1/entities?kind=contact&limit=7{after}"), None).await;
        paged.extend(page["rows"].as_array().unwrap().clone());
        match page["next"].as_u64() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(paged, streamed);
}

#[tokio::test]
async fn reading_content_is_recorded_and_what_is_gone_says_only_that() {
    let world = World::with_contacts(1);
    let entity = world.first_contact();
    let uri = format!("/v1/entities/{entity}");
    let (status, shown) = world.ask(OTHER, Operation::EntityShow, &uri, None).await;
    assert_eq!((status, &shown["cells"][1]["value"]), (200, &json!("Jana")), "{shown}");
    let (actor, event) = world.newest();
    assert!(matches!(event, Event::RecordsOpened(_)) && actor == Actor::Person(OTHER));

    let plan = world.make_plan().await;
    let digest = world.freeze(plan);
    let run =
        RunId(world.happens(Event::RunRequested(retention_core::event::decision::RunRequested { plan, digest }), None));
    world.happens(Event::RunStarted(RunStarted { run, plan, items: 1 }), None);
    world.happens(Event::KeyDestroyed(KeyDestroyed { run, saga: SagaId(Position(1)), item: 0 }), Some(entity));
    let (status, gone) = world.ask(OTHER, Operation::EntityShow, &uri, None).await;
    assert_eq!(status, 410, "{gone}");
    assert_eq!(gone["message"], format!("{entity} is gone, by run {run}, under policy contacts, on 2026-03-01"));
    assert!(!matches!(world.newest().1, Event::RecordsOpened(_)));
    let (_, listed) = world.ask(OTHER, Operation::EntityList, "/v1/entities", None).await;
    let row = listed["rows"].as_array().unwrap().iter().find(|row| row["entity"] == json!(entity)).unwrap();
    assert_eq!((&row["state"], &row["first_seen"]), (&json!("purged"), &Value::Null), "{row}");
}

#[tokio::test]
async fn questions_to_the_log_are_narrowed_and_ordered() {
    let world = World::with_contacts(5);
    let plan = world.make_plan().await;
    world.freeze(plan);
    let ask = async |query: &str| -> Vec<String> {
        let (status, page) = world.ask(7, Operation::AuditQuery, &format!("/v1/events{query}"), None).await;
        assert_eq!(status, 200, "{page}");
        page["rows"].as_array().unwrap().iter().map(|row| row["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ask("?kind=PlanFrozen").await, ["PlanFrozen"]);
    assert_eq!(ask("?policy=contacts").await, ["PlanFrozen", "PlanRequested"]);
    assert_eq!(ask("?policy=contacts&order=oldest_first").await, ["PlanRequested", "PlanFrozen"]);
    assert_eq!(ask("?actor=uid:1001").await, ["PlanRequested"]);
    assert_eq!(ask("?since=2030-01-01").await, Vec::<String>::new());
    assert_eq!(ask("?until=2020-01-01").await, Vec::<String>::new());
    let entity = world.first_contact();
    assert_eq!(ask(&format!("?entity={entity}")).await, ["EntityChanged"]);
    assert_eq!(ask("?limit=2").await.len(), 2);
    let all = ask("").await;
    assert_eq!(all.len() as u64, world.store.view(|views| views.position).0);
}

#[tokio::test]
async fn a_clock_that_is_doubted_is_shown_and_confirmed_once() {
    use retention_core::event::clock::{ClockDoubt, ClockDoubted};
    let world = World::with_contacts(1);
    let confirm = async || {
        let body = Some(json!({"reason": "compared with another clock"}));
        world.ask(OTHER, Operation::ClockConfirm, "/v1/clock/confirm", body).await.0
    };
    assert_eq!(confirm().await, 409);
    let (expected_at, seen_at) = (Timestamp(0), Timestamp(90_000_000_000));
    world.happens(Event::ClockDoubted(ClockDoubted { doubt: ClockDoubt::JumpedForward, expected_at, seen_at }), None);
    let (_, status) = world.ask(OTHER, Operation::Status, "/v1/status", None).await;
    assert_eq!(status["attention"][0]["what"], "clock_doubted", "{status}");
    assert_eq!(status["attention"][0]["doubt"], "jumped_forward", "{status}");
    assert_eq!(confirm().await, 200);
    assert_eq!(confirm().await, 409);
}

#[tokio::test]
async fn the_server_answers_on_its_socket_and_stops_when_told() {
    let world = World::with_contacts(1);
    let dir = tempfile::tempdir().unwrap();
    let socket = super::ControlSocket::bind(&dir.path().join("control.sock"), None).unwrap();
    let listener = tokio::net::UnixListener::from_std(socket.listener().unwrap()).unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let roles: super::RolesOf = Arc::new(|_| vec![Role::Auditor]);
    let serving = tokio::spawn(super::serve(listener, router(world.control.clone()), roles, stopped));
    let mut stream = tokio::net::UnixStream::connect(dir.path().join("control.sock")).await.unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    stop.send(true).unwrap();
    serving.await.unwrap();
}

mod audit;
mod follow;
mod grants;
mod holds;
mod judgement;
mod keys;
mod notices;
mod opened;
mod plans;
mod server;

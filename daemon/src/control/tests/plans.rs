//! Plans that are being made.

use retention_core::event::decision::{
    PlanItem, PlanItems, PolicyRecorded, RunCancelled, RunEnd, RunEnded, RunRequested,
};
use retention_core::event::saga::{
    Failure, ItemsSkipped, Receipt, SagaEnd, SagaEnded, SagaItem, SagaStarted, ScriptKind, SkipReason, Step,
    StepFailed, StepStarted, StepSucceeded,
};

use super::*;
use crate::store::open::draft_caused_by;

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

#[tokio::test]
async fn a_run_that_waits_for_room_for_leave_to_write_or_for_a_bundle_is_told_until_it_need_not() {
    let world = World::with_contacts(1);
    let (plan, digest) = (PlanId(Position(1)), Digest::of(b"plan"));
    let run = RunId(world.happens(Event::RunRequested(RunRequested { plan, digest }), None));
    let begun =
        SagaStarted { run, script: ScriptKind::ExportPurge, script_version: 1, mailbox: None, items: Vec::new() };
    let saga = SagaId(world.happens(Event::SagaStarted(begun), None));
    let step = Step::Export;
    let start = |attempt| {
        let intent = StepStarted { saga, step, attempt, idempotency_key: digest, items: Vec::new() };
        world.happens(Event::StepStarted(intent), None);
    };
    let told = async || {
        let (_, status) = world.ask(OTHER, Operation::Status, "/v1/status", None).await;
        let attention = status["attention"].as_array().unwrap().clone();
        attention.into_iter().find(|told| told["what"] == "run_needs_room")
    };
    start(1);
    assert_eq!(told().await, None);
    let (failure, retry_at) = (Failure::Refused, Some(Timestamp(0)));
    let failed = StepFailed { saga, step, attempt: 1, failure, code: StepFailed::NO_SPACE.to_owned(), retry_at };
    world.happens(Event::StepFailed(failed), None);
    start(2);
    let found = told().await.unwrap();
    assert_eq!((&found["run"], &found["code"]), (&json!(run), &json!("no_space")), "{found}");
    assert!(found["message"].as_str().unwrap().contains("make room"), "{found}");
    let code = StepFailed::PERMISSION_DENIED.to_owned();
    world.happens(Event::StepFailed(StepFailed { saga, step, attempt: 2, failure, code, retry_at }), None);
    start(3);
    assert_eq!(told().await, None, "room is not what it wants");
    let (_, status) = world.ask(OTHER, Operation::Status, "/v1/status", None).await;
    let found = &status["attention"][0];
    assert_eq!((&found["what"], &found["run"]), (&json!("run_cannot_export"), &json!(run)), "{found}");
    assert_eq!(found["code"], "permission_denied");
    assert!(found["message"].as_str().unwrap().contains("may not write"), "{found}");
    let receipt = Receipt::Exported { manifest: digest, exported_at: Timestamp(0), items: 1, bytes: 1 };
    world.happens(Event::StepSucceeded(StepSucceeded { saga, step, compensation: false, receipt }), None);
    assert_eq!(told().await, None);

    let (step, receipt) = (Step::Quarantine, Receipt::Quarantined { until: Timestamp(0), items: 1 });
    let intent = StepStarted { saga, step, attempt: 1, idempotency_key: digest, items: Vec::new() };
    world.happens(Event::StepStarted(intent), None);
    world.happens(Event::StepSucceeded(StepSucceeded { saga, step, compensation: false, receipt }), None);
    let (_, status) = world.ask(OTHER, Operation::Status, "/v1/status", None).await;
    let found = &status["attention"][0];
    assert_eq!((&found["what"], &found["run"]), (&json!("run_misses_bundle"), &json!(run)), "{found}");
    assert_eq!(found["code"], "bundle_missing");
    assert!(found["message"].as_str().unwrap().contains("Put it back"), "{found}");
}

#[tokio::test]
async fn a_run_tells_apart_what_it_purged_and_what_it_redacted() {
    for (script, purged, redacted) in [(ScriptKind::ExportPurge, 2, 0), (ScriptKind::ExportRedact, 0, 2)] {
        let world = World::with_contacts(2);
        let plan = world.make_plan().await;
        let digest = world.freeze(plan);
        let run = RunId(world.happens(Event::RunRequested(RunRequested { plan, digest }), None));
        world.happens(Event::RunStarted(RunStarted { run, plan, items: 3 }), None);
        let started = SagaStarted { run, script, script_version: 1, mailbox: None, items: Vec::new() };
        let saga = SagaId(world.happens(Event::SagaStarted(started), None));
        let contacts: Vec<EntityId> = world.store.view(|views| {
            let numbers = views.entities.numbers_from(0);
            numbers.filter(|id| views.entities.row(*id).is_some()).collect()
        });
        for (item, contact) in (0..).zip(contacts) {
            world.happens(Event::KeyDestroyed(KeyDestroyed { run, saga, item }), Some(contact));
        }
        world.happens(Event::SagaEnded(SagaEnded { saga, end: SagaEnd::Completed, purged: 2 }), None);
        let end = RunEnd::Completed;
        world.happens(Event::RunEnded(RunEnded { run, end, purged: 2, skipped: 1 }), None);
        let (_, status) = world.ask(OTHER, Operation::Status, "/v1/status", None).await;
        assert_eq!(status["purged"], json!(purged), "as the run says");
        let (_, shown) = world.ask(OTHER, Operation::RunShow, &format!("/v1/runs/{run}"), None).await;
        let (_, list) = world.ask(OTHER, Operation::RunList, "/v1/runs", None).await;
        for row in [&shown, &list["rows"][0]] {
            let counts = [&row["purged"], &row["redacted"], &row["restricted"], &row["skipped"]];
            assert_eq!(counts, [&json!(purged), &json!(redacted), &json!(0), &json!(1)], "{row}");
        }
        let (_, watched) = world.send(OTHER, Operation::RunWatch, &format!("/v1/runs/{run}/watch"), NDJSON, None).await;
        assert!(watched.contains("\"done\":3"), "{watched}");
    }
}

#[tokio::test]
async fn a_run_that_was_stopped_because_too_much_had_changed_is_told_until_a_new_plan_is_asked_for() {
    let world = World::with_contacts(2);
    let plan = world.make_plan().await;
    let digest = world.freeze(plan);
    let run = RunId(world.happens(Event::RunRequested(RunRequested { plan, digest }), None));
    world.happens(Event::RunStarted(RunStarted { run, plan, items: 2 }), None);
    let item = |number| SagaItem { item: number, entity: EntityId(number), version: Position(1) };
    let (script, items) = (ScriptKind::ExportPurge, vec![item(1), item(2)]);
    let started = SagaStarted { run, script, script_version: 1, mailbox: None, items };
    let saga = SagaId(world.happens(Event::SagaStarted(started), None));
    let skipped = ItemsSkipped { saga, items: vec![(EntityId(1), SkipReason::Held)] };
    world.happens(Event::ItemsSkipped(skipped), None);
    let stops = Event::RunCancelled(RunCancelled { run, reason: RunCancelled::DRIFTED.to_owned() });
    world.store.append_drafts(vec![draft_caused_by(saga.0, stops)], Condition::None).unwrap();
    let told = async || {
        let (_, status) = world.ask(OTHER, Operation::Status, "/v1/status", None).await;
        let attention = status["attention"].as_array().unwrap().clone();
        attention.into_iter().find(|told| told["what"] == "run_stopped")
    };
    assert_eq!(told().await, None, "it is not over");
    world.happens(Event::SagaEnded(SagaEnded { saga, end: SagaEnd::Compensated, purged: 0 }), None);
    let end = RunEnd::Cancelled;
    world.happens(Event::RunEnded(RunEnded { run, end, purged: 0, skipped: 1 }), None);
    let found = told().await.unwrap();
    let drift = json!({"looked_at": 2, "drifted": 1});
    assert_eq!((&found["run"], &found["drift"]), (&json!(run), &drift), "{found}");
    assert!(found["message"].as_str().unwrap().starts_with("1 of the 2 items that the run looked at had changed"));
    let (_, shown) = world.ask(OTHER, Operation::RunShow, &format!("/v1/runs/{run}"), None).await;
    assert_eq!((&shown["state"], &shown["stopped"]), (&json!("cancelled"), &drift), "{shown}");
    world.make_plan().await;
    assert_eq!(told().await, None);
}

#[tokio::test]
async fn that_no_policy_is_left_is_told_and_that_there_never_was_one_is_not() {
    let world = World::with_contacts(1);
    let told = async || {
        let (_, status) = world.ask(OTHER, Operation::Status, "/v1/status", None).await;
        status["attention"].as_array().unwrap().iter().any(|told| told["what"] == "policies_gone")
    };
    let activate = |policies: Vec<PolicyVersion>| {
        let digest = Digest::of(format!("{policies:?}").as_bytes());
        world.happens(Event::PolicySetActivated(PolicySetActivated { digest, policies }), None);
    };
    activate(Vec::new());
    assert!(!told().await);
    let version = PolicyVersion { id: "contacts".to_owned(), digest: Digest::of(b"policy") };
    let text = "schema = 1".to_owned();
    let recorded = PolicyRecorded { id: version.id.clone(), digest: version.digest, text };
    world.happens(Event::PolicyRecorded(recorded), None);
    activate(vec![version]);
    assert!(!told().await);
    activate(Vec::new());
    assert!(told().await);
}

#[tokio::test]
async fn what_was_approved_runs_again_once_an_edit_of_its_policy_is_taken_back() {
    let world = World::with_contacts(1);
    let plan = world.make_plan().await;
    let digest = world.freeze(plan);
    let activate = |policy: &str| {
        let version = PolicyVersion { id: "contacts".to_owned(), digest: Digest::of(policy.as_bytes()) };
        let activated = PolicySetActivated { digest: Digest::of(policy.as_bytes()), policies: vec![version] };
        world.happens(Event::PolicySetActivated(activated), None);
    };
    let start = async || {
        let body = json!({"plan": plan, "digest": digest});
        world.ask(REQUESTER, Operation::RunStart, "/v1/runs", Some(body)).await
    };
    activate("an edit");
    let (_, unapproved) = start().await;
    assert_eq!(unapproved["code"], "plan_stale", "nobody is sent for an approval that is refused: {unapproved}");
    activate("policy");
    let approve = format!("/v1/plans/{plan}/approve");
    let (status, said) = world.ask(OTHER, Operation::PlanApprove, &approve, Some(json!({"digest": digest}))).await;
    assert_eq!(status, 200, "{said}");
    activate("an edit");
    let (_, stale) = start().await;
    assert_eq!(stale["code"], "plan_stale", "{stale}");
    activate("policy");
    let (status, said) = start().await;
    assert_eq!(status, 200, "{said}");
}

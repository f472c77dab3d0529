//! Grants, changed through the API.

use retention_core::event::grant::{GrantPurpose, GrantReceipt, GrantStep, GrantStepStarted, GrantStepSucceeded};
use retention_core::id::GrantId;

use super::*;

const MINUTE_MS: u64 = 60_000;

#[tokio::test]
async fn a_renewal_counts_by_the_time_of_the_log_when_the_clock_was_set_back() {
    let mut world = World::with_contacts(0);
    let mailbox = world.mailbox();
    let grant = GrantId(world.happens(
        Event::GrantRequested(GrantRequested {
            mailbox,
            principal: world.store.principal("helper@example.org"),
            identifier: "helper@example.org".into(),
            purpose: GrantPurpose::Request,
            policy: "access".into(),
            policy_digest: Digest::of(b"policy"),
            duration_ms: 30 * MINUTE_MS,
            max_ms: 120 * MINUTE_MS,
            alarm_after_ms: MINUTE_MS,
            approvals: 0,
            approval_valid_ms: MINUTE_MS,
            reason: String::new(),
            ticket: None,
        }),
        None,
    ));
    let (step, attempt) = (GrantStep::Give, 1);
    world.happens(Event::GrantStepStarted(GrantStepStarted { grant, step, attempt }), None);
    let receipt = GrantReceipt::Given { folders: 1, changed: 1, parts: 0 };
    world.happens(Event::GrantStepSucceeded(GrantStepSucceeded { grant, step, receipt }), None);
    let ends_at = |world: &World| world.store.view(|views| views.small.grants.get(grant).unwrap().lease_ends_at());
    let before = ends_at(&world);

    let hours_ago = Timestamp(world.control.clock.now().0 - 5 * 3_600_000_000);
    world.control.clock = Arc::new(ManualClock::starting_at(hours_ago));
    let uri = format!("/v1/grants/{grant}/renew");
    let renewed = async |duration: &str| {
        let body = json!({"duration": duration, "reason": "not done"});
        world.ask(REQUESTER, Operation::GrantRenew, &uri, Some(body)).await
    };
    let (status, said) = renewed("PT20M").await;
    assert_eq!(status, 409, "{said}");
    assert!(said["message"].as_str().unwrap().contains("would not last longer"), "{said}");
    let (status, said) = renewed("PT45M").await;
    assert_eq!(status, 200, "{said}");
    assert!(ends_at(&world) > before);
}

//! Who reads what names somebody, and what the log says of it.

use retention_core::event::grant::GrantPurpose;
use retention_core::event::mailbox::MailboxRegistered;
use retention_core::id::GrantId;

use super::*;

/// Stands in no list: only in what is opened for a person by its number.
const HELPER: &str = "helper@example.org";

fn asked_for(world: &World, mailbox: EntityId) -> GrantRequested {
    GrantRequested {
        mailbox,
        principal: world.store.principal(HELPER),
        identifier: HELPER.to_owned(),
        purpose: GrantPurpose::Request,
        policy: "access".to_owned(),
        policy_digest: Digest::of(b"policy"),
        duration_ms: 3_600_000,
        max_ms: 3_600_000,
        alarm_after_ms: 900_000,
        approvals: 1,
        approval_valid_ms: 3_600_000,
        reason: String::new(),
        ticket: None,
    }
}

#[tokio::test]
async fn whoever_opens_what_names_somebody_is_recorded_with_what_they_asked() {
    let world = World::with_contacts(1);
    let (contact, mailbox) = (world.first_contact(), world.mailbox());
    let registered = MailboxRegistered { server: "crm".into(), credential: None };
    world.happens(Event::MailboxRegistered(registered), Some(mailbox));
    let grant = GrantId(world.happens(Event::GrantRequested(asked_for(&world, mailbox)), None));
    let standing = json!({"kinds": ["contact"], "where": "{ field = \"email1\", op = \"exists\" }"});
    let case = json!({"name": "Case 18", "reason": "court order", "standing": standing});
    let (_, hold) = world.ask(OTHER, Operation::HoldPlace, "/v1/holds", Some(case)).await;
    for (operation, uri) in [
        (Operation::EntityShow, format!("/v1/entities/{contact}")),
        (Operation::PolicyExplain, format!("/v1/entities/{contact}/explanation")),
        (Operation::MailboxList, "/v1/mailboxes".to_owned()),
        (Operation::MailboxShow, format!("/v1/mailboxes/{mailbox}")),
        (Operation::MailboxPermissions, format!("/v1/mailboxes/{mailbox}/permissions")),
        (Operation::GrantShow, format!("/v1/grants/{grant}")),
        (Operation::HoldShow, format!("/v1/holds/H{}", hold["position"])),
        (Operation::SubjectFind, "/v1/subjects/find".to_owned()),
    ] {
        let sought = (operation == Operation::SubjectFind).then(|| json!({"emails": ["jana@example.org"]}));
        let (_, told) = world.send(OTHER, operation, &uri, NDJSON, sought).await;
        let (actor, event) = world.newest();
        let Event::RecordsOpened(opened) = event else { panic!("{operation:?} left no event: {told}") };
        assert_eq!((actor, opened.operation.as_str()), (Actor::Person(OTHER), operation.name()));
    }
    let before = world.store.view(|views| views.position);
    for (operation, uri) in [
        (Operation::AuditQuery, "/v1/events".to_owned()),
        (Operation::EntityList, "/v1/entities".to_owned()),
        (Operation::EntityHistory, format!("/v1/entities/{contact}/history")),
        (Operation::GrantList, "/v1/grants".to_owned()),
    ] {
        let (status, told) = world.send(OTHER, operation, &uri, NDJSON, None).await;
        assert!(status == 200 && !told.is_empty(), "{operation:?}: {status} {told}");
        assert!(!told.contains("Jana") && !told.contains(HELPER), "{operation:?} names somebody: {told}");
    }
    assert_eq!(world.store.view(|views| views.position), before, "nothing was opened, so nothing is recorded");
}

//! Questions about the log: of which mailbox.

use retention_core::event::mailbox::MailboxRegistered;

use super::*;

#[tokio::test]
async fn what_no_event_names_is_told_so_and_is_no_empty_answer() {
    let world = World::with_contacts(1);
    let contact = world.first_contact();
    for (filter, says, hint) in [
        ("policy=contcats", "no event names a policy of that name; did you mean `contacts`?", "contacts"),
        ("policy=elsewhere", "no event names a policy of that name", "the log names contacts"),
        ("entity=E999", "there is no entity E999", "entity list"),
        ("run=R999", "there is no run R999", "run list"),
        ("request=Q999", "there is no request Q999", "subject list"),
    ] {
        for operation in [Operation::AuditQuery, Operation::AuditFollow] {
            let uri = format!("{}?{filter}", operation.path());
            let (status, refused) = world.ask(7, operation, &uri, None).await;
            assert_eq!((status, refused["message"].as_str()), (404, Some(says)), "{refused}");
            assert!(refused["hint"].as_str().unwrap().contains(hint), "{refused}");
        }
    }
    let (status, refused) = world.ask(7, Operation::AuditQuery, "/v1/events?kind=EntityChangd", None).await;
    assert_eq!(status, 400);
    assert!(refused["message"].as_str().unwrap().contains("did you mean `EntityChanged`?"), "{refused}");
    for operation in [Operation::AuditQuery, Operation::AuditFollow] {
        let uri = format!("{}?since=2026-12-01T00:00:00Z&until=2026-01-01T00:00:00Z", operation.path());
        let (status, refused) = world.ask(7, operation, &uri, None).await;
        assert_eq!(status, 400, "{refused}");
        assert!(refused["message"].as_str().unwrap().contains("ends before it begins"), "{refused}");
    }
    // What is known, and of which no event is about it yet or any more, is an empty answer.
    for filter in ["policy=contacts".to_owned(), format!("entity={contact}&kind=KeyDestroyed")] {
        let (status, page) = world.ask(7, Operation::AuditQuery, &format!("/v1/events?{filter}"), None).await;
        assert_eq!((status, &page["rows"]), (200, &json!([])), "{page}");
    }
}

#[tokio::test]
async fn a_mailbox_is_asked_for_by_number_or_address_and_what_is_none_is_told_with_what_to_do() {
    let world = World::with_contacts(1);
    let (mailbox, contact) = (world.mailbox(), world.first_contact());
    let registered = MailboxRegistered { server: "crm".into(), credential: None };
    world.happens(Event::MailboxRegistered(registered), Some(mailbox));
    // Its record names it so.
    let by_address = "/v1/events?mailbox=c99&order=oldest_first".to_owned();
    let by_number = format!("/v1/events?mailbox={mailbox}&order=oldest_first");
    let expected = json!(["EntityChanged", "MailboxRegistered"]);
    for uri in [&by_address, &by_number] {
        let (status, page) = world.ask(7, Operation::AuditQuery, uri, None).await;
        let kinds: Vec<&Value> = page["rows"].as_array().unwrap().iter().map(|row| &row["kind"]).collect();
        assert_eq!((status, json!(kinds)), (200, expected.clone()), "{page}");
    }
    assert!(!matches!(world.newest().1, Event::RecordsOpened(_)), "nothing is opened");
    let followed = "/v1/events/follow?limit=2&mailbox=c99";
    let (status, text) = world.send(7, Operation::AuditFollow, followed, NDJSON, None).await;
    assert!(status == 200 && text.contains("MailboxRegistered") && !text.contains("LayoutRecorded"), "{text}");
    for (wrong, hint) in [
        ("nobody%40example.org".to_owned(), "retentionctl mailbox list"),
        ("E999".to_owned(), "retentionctl mailbox list"),
        (contact.to_string(), "retentionctl audit query --entity"),
    ] {
        for operation in [Operation::AuditQuery, Operation::AuditFollow] {
            let uri = format!("{}?mailbox={wrong}", operation.path());
            let (status, refused) = world.ask(7, operation, &uri, None).await;
            assert_eq!(status, 404, "{refused}");
            assert!(refused["hint"].as_str().unwrap().contains(hint), "{refused}");
            assert!(!refused.to_string().contains("nobody@"), "{refused}");
        }
    }
}

//! Keys of the store itself.

use super::*;

#[tokio::test]
async fn new_keys_are_asked_for_by_an_admin_with_a_reason_and_once() {
    let world = World::with_contacts(1);
    let rotate = async |keys: &str, reason: &str| {
        let body = json!({ "keys": keys, "reason": reason });
        world.ask(OTHER, Operation::KeyRotate, "/v1/keys/rotate", Some(body)).await
    };
    for keys in ["signing", "wrapping"] {
        assert_eq!(rotate(keys, "").await.0, 400, "no reason");
        let (status, accepted) = rotate(keys, "yearly").await;
        assert_eq!(status, 200, "{accepted}");
        assert!(matches!(world.newest(), (Actor::Person(OTHER), Event::KeyRotationRequested(_))));
        assert_eq!(rotate(keys, "again").await.0, 409);
        let (_, shown) = world.ask(OTHER, Operation::KeyStatus, "/v1/keys", None).await;
        assert_eq!(shown[keys]["rotation_asked_by_event"], accepted["position"], "{shown}");
    }
    assert_eq!(rotate("root", "yearly").await.0, 400);
    let (_, shown) = world.ask(OTHER, Operation::KeyStatus, "/v1/keys", None).await;
    assert_eq!((&shown["signing"]["older"], &shown["signing"]["verifier_key"]), (&json!(0), &Value::Null), "{shown}");
    assert!(shown["wrapping"]["rotated_at"].is_string(), "they were made with the store: {shown}");
}

#[tokio::test]
async fn of_those_who_ask_for_new_keys_at_once_one_is_heard() {
    let world = World::with_contacts(1);
    let rotate = || async {
        let body = json!({ "keys": "wrapping", "reason": "yearly" });
        world.ask(OTHER, Operation::KeyRotate, "/v1/keys/rotate", Some(body)).await.0
    };
    let before = world.store.view(|views| views.position.0);
    let mut answers: Vec<_> = futures_util::future::join_all((0..8).map(|_| rotate())).await;
    answers.sort_unstable();
    assert_eq!(answers, [200, 409, 409, 409, 409, 409, 409, 409]);
    assert_eq!(world.store.view(|views| views.position.0), before + 1);
}

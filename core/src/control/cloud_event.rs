//! Events of the log in the form of CloudEvents 1.0 (JSON event format), for programs that read events of many systems.

use serde_json::{Map, Value, json};

/// The version of the specification: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>.
const SPEC_VERSION: &str = "1.0";

/// What stands before the name of the event type.
const TYPE_PREFIX: &str = "org.retentiond.event.";

/// Returns a row of the event log as a CloudEvent; `None` when it is no such row.
///
/// `origin` names the log, as its checkpoints do. `source` and `id` together name one event, as the specification asks
/// for, as long as the log is not restored from a backup: it numbers on from there. The time is that of the recording,
/// for every event of the log: a source has to be consistent in it. The row itself is carried as it is, with what a newer daemon added.
#[must_use]
pub fn cloud_event(origin: &str, row: &Value) -> Option<Value> {
    let mut event = Map::new();
    event.insert("specversion".to_owned(), json!(SPEC_VERSION));
    event.insert("id".to_owned(), json!(row.get("position")?.as_u64()?.to_string()));
    event.insert("source".to_owned(), json!(origin));
    event.insert("type".to_owned(), json!(format!("{TYPE_PREFIX}{}", row.get("kind")?.as_str()?)));
    event.insert("time".to_owned(), json!(row.get("recorded_at")?.as_str()?));
    // An event that is about no entity has no subject, and an empty one is not allowed.
    if let Some(entity) = row.get("entity").and_then(Value::as_str) {
        event.insert("subject".to_owned(), json!(entity));
    }
    event.insert("datacontenttype".to_owned(), json!("application/json"));
    event.insert("data".to_owned(), row.clone());
    Some(Value::Object(event))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{ActorName, EventRow};
    use crate::event::Actor;
    use crate::id::{Digest, EntityId, Position, RunId};
    use crate::time::Timestamp;

    fn row() -> EventRow {
        EventRow {
            position: Position(4_711),
            recorded_at: Timestamp::from_unix_seconds(1_772_323_200),
            occurred_at: Timestamp::from_unix_seconds(1_500_000_000),
            kind: "KeyDestroyed".to_owned(),
            actor: ActorName(Actor::Person(1_000)),
            cause: Position(4_700),
            entity: Some(EntityId(17)),
            run: Some(RunId(Position(210))),
            summary: "the key of E17 was destroyed".to_owned(),
            texts_erased: None,
            body: Digest([7; 32]),
        }
    }

    #[test]
    fn an_event_is_named_by_its_log_and_position_and_carries_the_row() {
        let row = serde_json::to_value(row()).unwrap();
        let event = cloud_event("retentiond/ab12", &row).unwrap();
        let expected = json!({
            "specversion": "1.0",
            "id": "4711",
            "source": "retentiond/ab12",
            "type": "org.retentiond.event.KeyDestroyed",
            "time": "2026-03-01T00:00:00Z",
            "subject": "E17",
            "datacontenttype": "application/json",
            "data": row,
        });
        assert_eq!(event, expected);
    }

    #[test]
    fn what_is_about_no_entity_has_no_subject_and_every_attribute_is_a_text() {
        let row = serde_json::to_value(EventRow { entity: None, ..row() }).unwrap();
        let event = cloud_event("retentiond/ab12", &row).unwrap();
        assert!(event.get("subject").is_none());
        let attributes = event.as_object().unwrap().iter().filter(|(name, _)| *name != "data");
        for (name, value) in attributes {
            // "Naming conventions": lower-case letters and digits. No attribute of ours may be empty.
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{name}");
            assert!(value.as_str().is_some_and(|text| !text.is_empty()), "{name}");
        }
    }

    #[test]
    fn what_is_no_row_becomes_no_event() {
        for broken in [json!(null), json!({}), json!({"position": "x", "kind": "a", "recorded_at": "b"})] {
            assert_eq!(cloud_event("log", &broken), None);
        }
    }
}

//! What the logs of other programs are told of an event: its envelope, and nothing of its body. So no personal data is
//! in it, whoever reads it on its way.

use crate::event::Envelope;
use crate::event::summary::type_name;

pub mod journald;
pub mod syslog;

/// Returns the facts of an envelope, each with its name. `origin` names the log, as its checkpoints do.
fn facts(origin: &str, envelope: &Envelope) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("log", origin.to_owned()),
        ("position", envelope.position.0.to_string()),
        ("kind", type_name(envelope.event_type)),
        ("recorded_at", envelope.recorded_at.to_string()),
        ("occurred_at", envelope.occurred_at.to_string()),
        ("actor", envelope.actor.to_string()),
        ("cause", envelope.cause.0.to_string()),
    ];
    facts.extend(envelope.entity.map(|entity| ("entity", entity.to_string())));
    facts.push(("body_sha256", envelope.body_digest.to_string()));
    facts
}

/// Returns the sentence for people.
fn sentence(envelope: &Envelope) -> String {
    let (kind, position, actor) = (type_name(envelope.event_type), envelope.position.0, envelope.actor);
    format!("event {position} was recorded: {kind}, caused by {actor}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Actor;
    use crate::id::{Digest, EntityId, Position, StreamId};
    use crate::time::Timestamp;

    /// An envelope of which everything is known.
    pub(super) fn envelope() -> Envelope {
        Envelope {
            event_type: 36,
            schema: 1,
            sealed: true,
            position: Position(4_711),
            recorded_at: Timestamp(1_772_323_200_250_000),
            occurred_at: Timestamp(1_772_323_199_000_000),
            stream: StreamId([1; 16]),
            actor: Actor::Person(1_000),
            cause: Position(4_700),
            entity: Some(EntityId(17)),
            texts: None,
            body_len: 40,
            body_digest: Digest([0xab; 32]),
        }
    }

    #[test]
    fn an_event_of_a_newer_program_is_told_by_its_number() {
        let envelope = Envelope { event_type: 9_999, entity: None, ..envelope() };
        let facts = facts("log", &envelope);
        assert!(
            facts.contains(&("kind", "Unknown(9999)".to_owned())) && facts.iter().all(|(name, _)| *name != "entity")
        );
    }
}

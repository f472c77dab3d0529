//! What must be true of data subjects: what is restricted is not purged, and an erasure takes nothing that is not asked
//! for.

use std::collections::{BTreeMap, BTreeSet};

use retention_core::event::subject::RequestEnd;
use retention_core::event::{Actor, Event};
use retention_core::id::{EntityId, Position, RequestId, RestrictionId};

/// What the log tells of requests and restrictions.
#[derive(Default)]
pub(super) struct Subjects {
    restrictions: BTreeMap<RestrictionId, Vec<EntityId>>,
    /// What ended the use of an entity under a policy.
    ended: BTreeMap<EntityId, RestrictionId>,
    requests: BTreeMap<RequestId, RequestSeen>,
}

#[derive(Default)]
struct RequestSeen {
    identified_by: Option<u32>,
    records: BTreeSet<EntityId>,
    exceptions: BTreeMap<Position, BTreeSet<EntityId>>,
    is_over: bool,
    is_answered: bool,
}

impl Subjects {
    pub(super) fn see(&mut self, position: Position, actor: Actor, event: &Event) {
        match event {
            Event::RestrictionPlaced(body) => {
                self.restrictions.insert(RestrictionId(position), body.entities.clone());
            }
            Event::RestrictionLifted(body) => {
                let is_freed = |entity: &EntityId| body.entities.is_empty() || body.entities.contains(entity);
                if let Some(restricted) = self.restrictions.get_mut(&body.restriction) {
                    restricted.retain(|entity| !is_freed(entity));
                }
                self.ended.retain(|entity, restriction| *restriction != body.restriction || !is_freed(entity));
            }
            Event::SubjectRequested(_) => drop(self.requests.insert(RequestId(position), RequestSeen::default())),
            Event::SubjectIdentified(body) => {
                let seen = self.requests.entry(body.request).or_default();
                seen.records = body.records.iter().copied().collect();
                seen.identified_by = match actor {
                    Actor::Person(uid) => Some(uid),
                    Actor::Daemon | Actor::Schedule => None,
                };
            }
            Event::ErasureExcepted(body) => {
                let seen = self.requests.entry(body.request).or_default();
                seen.exceptions.insert(position, body.records.iter().copied().collect());
            }
            Event::ErasureExceptionEnded(body) => {
                self.requests.entry(body.request).or_default().exceptions.remove(&body.exception);
            }
            Event::SubjectRequestCompleted(body) => {
                // What was refused in part is taken up again when what keeps it has gone away.
                let seen = self.requests.entry(body.request).or_default();
                seen.is_over |= body.end != RequestEnd::RefusedInPart;
                seen.is_answered = true;
            }
            _ => {}
        }
    }

    /// Returns whether the use of an entity had not ended before.
    pub(super) fn end_use(&mut self, restriction: RestrictionId, entity: EntityId) -> bool {
        self.ended.insert(entity, restriction).is_none()
    }

    /// Whoever said which records an erasure is about asked for its plan, and may not accept it.
    pub(super) fn identified_by(&self, request: RequestId) -> Option<u32> {
        self.requests.get(&request).and_then(|seen| seen.identified_by)
    }

    /// Says whether a data subject has the answer: before that the copy of what was erased stays.
    pub(super) fn is_answered(&self, request: RequestId) -> bool {
        self.requests.get(&request).is_some_and(|seen| seen.is_answered)
    }

    /// Names what is wrong with the purge of an entity, by a plan for a policy or for a request.
    pub(super) fn blame(&self, erases: Option<RequestId>, entity: EntityId) -> Vec<&'static str> {
        let mut found = Vec::new();
        if self.restrictions.values().any(|restricted| restricted.contains(&entity)) {
            found.push("purge_under_restriction");
        }
        if let Some(request) = erases {
            let seen = self.requests.get(&request);
            if !seen.is_some_and(|seen| seen.records.contains(&entity) && !seen.is_over) {
                found.push("erasure_of_what_nobody_asked_for");
            }
        }
        // However the request was answered in which it stands.
        let mut exceptions = self.requests.values().flat_map(|seen| seen.exceptions.values());
        if exceptions.any(|excepted| excepted.contains(&entity)) {
            found.push("purge_of_what_is_excepted");
        }
        found
    }
}

//! What persons decide of single items.

use retention_core::event::review::{ReviewDecided, ReviewItem, ReviewVerdict};
use retention_core::event::{Actor, Event};
use retention_core::id::{EntityId, Position, ReviewId};
use retention_core::time::Timestamp;
use retention_core::view::Condition;
use retentiond::clock::Clock as _;
use retentiond::control::reviews::{Decided, waiting};

use super::World;
use crate::invariants::MARKER;

impl World {
    /// Decides what becomes of items that wait, or were decided about.
    ///
    /// # Panics
    /// When the decision is not recorded.
    pub fn review(&mut self, uid: u32, policy: &str, entities: &[EntityId], verdict: ReviewVerdict) -> ReviewId {
        self.try_review(uid, policy, entities, verdict).expect("a recorded decision")
    }

    /// As [`Self::review`]; nothing when it was not recorded.
    pub fn try_review(
        &mut self,
        uid: u32,
        policy: &str,
        entities: &[EntityId],
        verdict: ReviewVerdict,
    ) -> Option<ReviewId> {
        let event = self.decision(policy, entities, verdict)?;
        self.person(uid, Position::NONE, event, Condition::None).map(ReviewId)
    }

    /// Keeps an item, also one that the control API would not show as waiting any more.
    pub fn keep_for(&mut self, uid: u32, policy: &str, entity: EntityId, until: Timestamp) {
        let policy_digest = self.store().policies().get(policy).expect("a policy").digest();
        let version = self.store().view(|views| views.entities.row(entity).map_or(Position::NONE, |row| row.version));
        let items = vec![ReviewItem { entity, version, due_at: None }];
        let (policy, reason, verdict) = (policy.to_owned(), MARKER.to_owned(), ReviewVerdict::Keep { until });
        let event = Event::ReviewDecided(ReviewDecided { policy, policy_digest, verdict, items, reason });
        self.person(uid, Position::NONE, event, Condition::None);
    }

    /// Records a decision that no person made.
    pub fn review_by_the_daemon(&mut self, policy: &str, entity: EntityId) {
        if let Some(event) = self.decision(policy, &[entity], ReviewVerdict::Dispose) {
            drop(self.append(Actor::Daemon, Position::NONE, event, Condition::None));
        }
    }

    fn decision(&self, policy: &str, entities: &[EntityId], verdict: ReviewVerdict) -> Option<Event> {
        let now = self.clock.now();
        let waiting = waiting(self.store(), policy, entities, Decided::Anew, now).ok()??;
        let item = |row: &retention_core::control::ReviewItemRow| ReviewItem {
            entity: row.entity,
            version: row.version,
            due_at: row.due_at,
        };
        Some(Event::ReviewDecided(ReviewDecided {
            policy: policy.to_owned(),
            policy_digest: waiting.policy_digest,
            verdict,
            items: waiting.items.iter().map(item).collect(),
            reason: MARKER.to_owned(),
        }))
    }
}

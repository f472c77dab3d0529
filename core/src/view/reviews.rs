//! Reviews: what people decided of items that no policy disposes of without a decision.
//!
//! Why they decided so is in the sealed event alone.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use crate::event::review::{ReviewDecided, ReviewVerdict};
use crate::event::{Actor, Envelope};
use crate::id::{Digest, EntityId, Position, ReviewId};
use crate::time::Timestamp;

/// One decision, without its items.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Review {
    /// The policy under which its items waited.
    pub policy: String,
    /// The version of that policy.
    pub policy_digest: Digest,
    /// What was decided.
    pub verdict: ReviewVerdict,
    /// Who decided.
    pub by: u32,
    /// When.
    pub at: Timestamp,
}

/// What was decided of an entity under one policy: the newest decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewed {
    /// The decision.
    pub review: ReviewId,
    /// The policy.
    pub policy: String,
    /// The version of the policy that was looked at.
    pub policy_digest: Digest,
    /// What was decided.
    pub verdict: ReviewVerdict,
    /// Who decided.
    pub by: u32,
    /// When.
    pub at: Timestamp,
    /// Whether the entity is in the version that was looked at.
    pub is_as_seen: bool,
    /// The due date that was looked at; `None` when there was no start.
    pub due_at: Option<Timestamp>,
}

/// What one decision says of one entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
struct Word {
    review: ReviewId,
    version: Position,
    due_at: Option<Timestamp>,
}

/// All decisions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Reviews {
    all: BTreeMap<ReviewId, Review>,
    /// The newest decision about an entity for each policy. What is gone has none.
    by_entity: BTreeMap<EntityId, Vec<Word>>,
}

impl Reviews {
    /// Returns a decision.
    #[must_use]
    pub fn get(&self, id: ReviewId) -> Option<&Review> {
        self.all.get(&id)
    }

    /// Returns what was decided of an entity that is in a version now, the newest decision of each policy.
    #[must_use]
    pub fn of(&self, entity: EntityId, version: Position) -> Vec<Reviewed> {
        let Some(words) = self.by_entity.get(&entity) else { return Vec::new() };
        let decided = words.iter().filter_map(|word| Some((word, self.all.get(&word.review)?)));
        decided
            .map(|(word, review)| Reviewed {
                review: word.review,
                policy: review.policy.clone(),
                policy_digest: review.policy_digest,
                verdict: review.verdict,
                by: review.by,
                at: review.at,
                is_as_seen: word.version == version,
                due_at: word.due_at,
            })
            .collect()
    }

    /// Says whether a person keeps an entity from a policy at an instant.
    pub(super) fn keeps(&self, entity: EntityId, policy: &str, now: Timestamp) -> bool {
        let words = self.by_entity.get(&entity).into_iter().flatten();
        let mut reviews = words.filter_map(|word| self.all.get(&word.review));
        reviews.any(|review| {
            review.policy == policy && matches!(review.verdict, ReviewVerdict::Keep { until } if now < until)
        })
    }

    /// Only a person decides.
    pub(super) fn decided(&mut self, envelope: &Envelope, body: &ReviewDecided) {
        let Actor::Person(by) = envelope.actor else { return };
        let id = ReviewId(envelope.position);
        for item in &body.items {
            let words = self.by_entity.entry(item.entity).or_default();
            let is_of_another =
                |word: &Word| self.all.get(&word.review).is_some_and(|review| review.policy != body.policy);
            words.retain(is_of_another);
            words.push(Word { review: id, version: item.version, due_at: item.due_at });
        }
        let review = Review {
            policy: body.policy.clone(),
            policy_digest: body.policy_digest,
            verdict: body.verdict,
            by,
            at: envelope.recorded_at,
        };
        self.all.insert(id, review);
    }

    pub(super) fn forget(&mut self, entity: EntityId) {
        self.by_entity.remove(&entity);
    }
}

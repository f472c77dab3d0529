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

    /// Goes through all decisions, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (ReviewId, &Review)> {
        self.all.iter().map(|(id, review)| (*id, review))
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

    /// What was decided of an entity holds for what is left of it, which nobody has looked at: a decision to keep
    /// binds, one to dispose does not.
    pub(super) fn follow(&mut self, of: EntityId, to: EntityId) {
        if let Some(words) = self.by_entity.get(&of).cloned() {
            self.by_entity.insert(to, words);
        }
    }

    pub(super) fn forget(&mut self, entity: EntityId) {
        self.by_entity.remove(&entity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::review::ReviewItem;

    #[test]
    fn what_was_decided_of_an_entity_binds_what_is_left_of_it_and_disposes_of_nothing() {
        let (of, to, until) = (EntityId(1), EntityId(2), Timestamp(50));
        let mut reviews = Reviews::default();
        for (position, policy, verdict) in
            [(3, "kept", ReviewVerdict::Keep { until }), (4, "disposed", ReviewVerdict::Dispose)]
        {
            let review = Review {
                policy: policy.to_owned(),
                policy_digest: Digest([0; 32]),
                verdict,
                by: 1_000,
                at: Timestamp(5),
            };
            let item = ReviewItem { entity: of, version: Position(2), due_at: None };
            let id = ReviewId(Position(position));
            reviews.all.insert(id, review);
            let word = Word { review: id, version: item.version, due_at: item.due_at };
            reviews.by_entity.entry(of).or_default().push(word);
        }
        reviews.follow(of, to);
        reviews.forget(of);
        assert!(reviews.keeps(to, "kept", Timestamp(49)) && !reviews.keeps(to, "kept", until));
        let of_rest = reviews.of(to, Position(9));
        assert_eq!(of_rest.len(), 2);
        assert!(of_rest.iter().all(|reviewed| !reviewed.is_as_seen));
        assert!(reviews.of(of, Position(2)).is_empty());
    }
}

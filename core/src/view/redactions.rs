//! Redactions: which entity is what is left of which, and what its source may not bring back.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use crate::event::redaction::{EntitySucceeded, RedactionBegan};
use crate::id::{EntityId, SagaId};
use crate::record::redact::FieldMap;

/// All redactions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Redactions {
    /// What each saga takes out.
    maps: BTreeMap<SagaId, FieldMap>,
    /// What an entity is left of, and by which saga.
    left_of: BTreeMap<EntityId, (EntityId, SagaId)>,
    /// What is left of an entity.
    successors: BTreeMap<EntityId, EntityId>,
    /// Numbers that were given to what is left, without a state yet.
    pending: BTreeMap<EntityId, EntitySucceeded>,
}

impl Redactions {
    /// Says whether nothing was ever redacted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left_of.is_empty()
    }

    /// Returns what a saga takes out, once that is recorded.
    #[must_use]
    pub fn map_of(&self, saga: SagaId) -> Option<&FieldMap> {
        self.maps.get(&saga)
    }

    /// Returns the number that was given to what is left of an entity.
    #[must_use]
    pub fn successor(&self, of: EntityId) -> Option<EntityId> {
        self.successors.get(&of).copied()
    }

    /// Says whether what is left of an entity is recorded.
    #[must_use]
    pub fn is_recorded(&self, of: EntityId) -> bool {
        self.successor(of).is_some_and(|left| !self.pending.contains_key(&left))
    }

    /// Returns what an entity is left of, and the saga that redacted it.
    #[must_use]
    pub fn left_of(&self, entity: EntityId) -> Option<(EntityId, SagaId)> {
        self.left_of.get(&entity).copied()
    }

    /// Returns what is left of an entity as far as that is recorded: the entity itself, if it was never redacted.
    #[must_use]
    pub fn newest(&self, entity: EntityId) -> EntityId {
        let mut newest = entity;
        // Numbers only grow, so this ends.
        while let Some(left) = self.successor(newest).filter(|left| *left > newest && !self.pending.contains_key(left))
        {
            newest = left;
        }
        newest
    }

    /// Goes through an entity and all that it is left of, the newest first.
    pub fn all_of(&self, entity: EntityId) -> impl Iterator<Item = EntityId> {
        std::iter::successors(Some(entity), |left| self.left_of(*left).map(|(of, _)| of))
    }

    /// Goes through all that an entity is left of, itself, and all that is left of it.
    pub fn all_around(&self, entity: EntityId) -> impl Iterator<Item = EntityId> {
        // Numbers only grow, so this ends.
        let left = std::iter::successors(Some(entity), |of| self.successor(*of).filter(|left| left > of));
        self.all_of(entity).chain(left.skip(1))
    }

    /// Goes through the maps of an entity and of all that it is left of: what of their source's words is not recorded.
    pub fn maps_of(&self, entity: EntityId) -> impl Iterator<Item = &FieldMap> {
        let steps = std::iter::successors(self.left_of(entity), |(of, _)| self.left_of(*of));
        steps.filter_map(|(_, saga)| self.map_of(saga))
    }

    pub(super) fn began(&mut self, body: &RedactionBegan) {
        self.maps.insert(body.saga, body.fields.clone());
    }

    pub(super) fn succeeded(&mut self, entity: EntityId, body: &EntitySucceeded) {
        self.left_of.insert(entity, (body.of, body.saga));
        self.successors.insert(body.of, entity);
        self.pending.insert(entity, body.clone());
    }

    pub(super) fn take_pending(&mut self, entity: EntityId) -> Option<EntitySucceeded> {
        if self.pending.is_empty() { None } else { self.pending.remove(&entity) }
    }
}

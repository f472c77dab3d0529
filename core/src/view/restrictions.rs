//! Restrictions of use: which entities are kept and neither purged, exported nor shown.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use crate::event::restriction::{RestrictionGround, RestrictionLifted, RestrictionPlaced};
use crate::id::{EntityId, RequestId, RestrictionId, in_order};
use crate::time::Timestamp;

/// One restriction.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Restricting {
    /// When it was placed.
    pub placed_at: Timestamp,
    /// The entities, ascending.
    pub entities: Vec<EntityId>,
    /// On which ground.
    pub ground: RestrictionGround,
    /// The request that it answers.
    pub request: Option<RequestId>,
    /// When it was lifted.
    pub lifted_at: Option<Timestamp>,
}

/// All restrictions, also those that are over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Restrictions {
    all: BTreeMap<RestrictionId, Restricting>,
    /// Which restrictions in force name an entity.
    by_entity: BTreeMap<EntityId, Vec<RestrictionId>>,
}

impl Restrictions {
    /// Returns a restriction that is in force.
    #[must_use]
    pub fn get(&self, id: RestrictionId) -> Option<&Restricting> {
        self.all.get(&id).filter(|restriction| restriction.lifted_at.is_none())
    }

    /// Goes through all restrictions, also those that are over.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = (RestrictionId, &Restricting)> {
        self.all.iter().map(|(id, restriction)| (*id, restriction))
    }

    /// Says whether the use of an entity is restricted.
    #[must_use]
    pub fn covers(&self, entity: EntityId) -> bool {
        self.by_entity.contains_key(&entity)
    }

    /// Returns the restrictions in force that name an entity, as they were placed.
    #[must_use]
    pub fn of(&self, entity: EntityId) -> Vec<RestrictionId> {
        self.by_entity.get(&entity).cloned().unwrap_or_default()
    }

    pub(super) fn place(&mut self, id: RestrictionId, at: Timestamp, body: &RestrictionPlaced) {
        let entities = in_order(body.entities.clone());
        for &entity in &entities {
            let restrictions = self.by_entity.entry(entity).or_default();
            if !restrictions.contains(&id) {
                restrictions.push(id);
            }
        }
        let (ground, request) = (body.ground, body.request);
        self.all.insert(id, Restricting { placed_at: at, entities, ground, request, lifted_at: None });
    }

    pub(super) fn lift(&mut self, at: Timestamp, body: &RestrictionLifted) {
        let Some(restriction) = self.all.get_mut(&body.restriction) else { return };
        restriction.lifted_at.get_or_insert(at);
        for entity in &restriction.entities {
            if let Some(restrictions) = self.by_entity.get_mut(entity) {
                restrictions.retain(|id| *id != body.restriction);
                if restrictions.is_empty() {
                    self.by_entity.remove(entity);
                }
            }
        }
    }
}

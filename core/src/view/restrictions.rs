//! Restrictions of use: which entities are not shown any more. Those by a person keep them from disposal and from being
//! exported, too (GDPR Art. 18); those under a policy do not.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use roaring::RoaringBitmap;

use crate::event::restriction::{EntitiesRestricted, RestrictionGround, RestrictionLifted, RestrictionPlaced};
use crate::id::{EntityId, Position, RequestId, RestrictionId, SagaId, in_order};
use crate::time::Timestamp;

/// Why a restriction was placed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Cause {
    /// A person placed it, on this ground, perhaps as the answer to a request.
    Person(RestrictionGround, Option<RequestId>),
    /// A run did, under this policy.
    Policy(String, SagaId),
}

/// One restriction.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Restricting {
    /// When it was placed.
    pub placed_at: Timestamp,
    /// The entities, ascending, without those for which alone it was lifted.
    pub entities: Vec<EntityId>,
    /// Why.
    pub cause: Cause,
    /// When it was lifted, or nothing was left of what it restricted under a policy.
    pub lifted_at: Option<Timestamp>,
}

impl Restricting {
    /// Returns the request that it answers.
    #[must_use]
    pub fn request(&self) -> Option<RequestId> {
        match self.cause {
            Cause::Person(_, request) => request,
            Cause::Policy(..) => None,
        }
    }

    /// Returns the policy under which a run placed it.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        match &self.cause {
            Cause::Policy(policy, _) => Some(policy),
            Cause::Person(..) => None,
        }
    }
}

/// All restrictions, also those that are over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Restrictions {
    all: BTreeMap<RestrictionId, Restricting>,
    /// Which restrictions in force by persons name an entity.
    by_entity: BTreeMap<EntityId, Vec<RestrictionId>>,
    /// Which restriction in force under a policy names an entity: one is enough, and there is no second.
    by_policy: BTreeMap<EntityId, RestrictionId>,
    /// What a person brought back into use: the restriction under a policy, and where in the log it was lifted.
    lifted: BTreeMap<EntityId, (RestrictionId, Position)>,
}

impl Restrictions {
    /// Returns a restriction that is in force.
    #[must_use]
    pub fn get(&self, id: RestrictionId) -> Option<&Restricting> {
        self.all.get(&id).filter(|restriction| restriction.lifted_at.is_none())
    }

    /// Returns a restriction, also one that is over.
    #[must_use]
    pub fn get_placed(&self, id: RestrictionId) -> Option<&Restricting> {
        self.all.get(&id)
    }

    /// Goes through all restrictions, also those that are over.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = (RestrictionId, &Restricting)> {
        self.all.iter().map(|(id, restriction)| (*id, restriction))
    }

    /// Says whether a person restricted the use of an entity: it is kept, and not exported.
    #[must_use]
    pub fn keeps(&self, entity: EntityId) -> bool {
        self.by_entity.contains_key(&entity)
    }

    /// Says whether the use of an entity is restricted, by whomever: it is not shown.
    #[must_use]
    pub fn hides(&self, entity: EntityId) -> bool {
        self.keeps(entity) || self.by_policy.contains_key(&entity)
    }

    /// Returns the restrictions in force that name an entity: those by persons as they were placed, then that of a
    /// policy.
    #[must_use]
    pub fn of(&self, entity: EntityId) -> Vec<RestrictionId> {
        let mut all = self.by_entity.get(&entity).cloned().unwrap_or_default();
        all.extend(self.by_policy(entity));
        all
    }

    /// Returns the restriction in force under a policy that names an entity.
    #[must_use]
    pub fn by_policy(&self, entity: EntityId) -> Option<RestrictionId> {
        self.by_policy.get(&entity).copied()
    }

    /// Returns the restriction under a policy that a person lifted for an entity which has this version, if the entity
    /// was not changed since.
    #[must_use]
    pub fn lifted(&self, entity: EntityId, version: Position) -> Option<RestrictionId> {
        self.lifted.get(&entity).filter(|(_, lifted)| version < *lifted).map(|(id, _)| *id)
    }

    /// Returns the saga by which the use of an entity ended last under a policy, also where a person brought it back.
    #[must_use]
    pub fn saga_of(&self, entity: EntityId) -> Option<SagaId> {
        let id = self.by_policy(entity).or_else(|| self.lifted.get(&entity).map(|(id, _)| *id))?;
        match self.all.get(&id)?.cause {
            Cause::Policy(_, saga) => Some(saga),
            Cause::Person(..) => None,
        }
    }

    /// Takes out of a set the entities whose use has ended under a policy, and returns how many those are.
    pub fn take_ended(&self, entities: &mut RoaringBitmap) -> u64 {
        let before = entities.len();
        let ended: RoaringBitmap = self.by_policy.keys().map(|entity| entity.0).collect();
        *entities -= ended;
        before - entities.len()
    }

    /// Says whether a saga has restricted its items.
    #[must_use]
    pub fn has_saga(&self, saga: SagaId) -> bool {
        // A saga restricts right after it began, so its restriction is among the newest.
        let is_its = |restricting: &Restricting| matches!(restricting.cause, Cause::Policy(_, by) if by == saga);
        self.all.range(RestrictionId(saga.0)..).rev().any(|(_, restricting)| is_its(restricting))
    }

    /// `left` tells what is left of an entity after a redaction: whoever names the one means the other.
    pub(super) fn place(
        &mut self,
        id: RestrictionId,
        at: Timestamp,
        body: &RestrictionPlaced,
        left: impl Fn(EntityId) -> Option<EntityId>,
    ) {
        let entities =
            in_order(body.entities.iter().flat_map(|entity| [Some(*entity), left(*entity)]).flatten().collect());
        for &entity in &entities {
            let restrictions = self.by_entity.entry(entity).or_default();
            if !restrictions.contains(&id) {
                restrictions.push(id);
            }
        }
        let cause = Cause::Person(body.ground, body.request);
        self.all.insert(id, Restricting { placed_at: at, entities, cause, lifted_at: None });
    }

    pub(super) fn end_use(&mut self, id: RestrictionId, at: Timestamp, body: &EntitiesRestricted) {
        for &entity in &body.entities {
            self.by_policy.insert(entity, id);
            self.lifted.remove(&entity);
        }
        let (entities, cause) = (body.entities.clone(), Cause::Policy(body.policy.clone(), body.saga));
        self.all.insert(id, Restricting { placed_at: at, entities, cause, lifted_at: None });
    }

    /// What is left of an entity after a redaction is in use as little as the entity was.
    pub(super) fn follow(&mut self, of: EntityId, left: EntityId) {
        if let Some(id) = self.by_policy(of) {
            self.by_policy.insert(left, id);
            if let Some(restricting) = self.all.get_mut(&id)
                && let Err(place) = restricting.entities.binary_search(&left)
            {
                restricting.entities.insert(place, left);
            }
        }
    }

    pub(super) fn lift(
        &mut self,
        position: Position,
        at: Timestamp,
        body: &RestrictionLifted,
        left: impl Fn(EntityId) -> Option<EntityId>,
    ) {
        let id = body.restriction;
        let Some(restricting) = self.all.get_mut(&id).filter(|restricting| restricting.lifted_at.is_none()) else {
            return;
        };
        let named =
            in_order(body.entities.iter().flat_map(|entity| [Some(*entity), left(*entity)]).flatten().collect());
        let freed: Vec<EntityId> = if named.is_empty() {
            restricting.entities.clone()
        } else {
            restricting.entities.extract_if(.., |entity| named.binary_search(entity).is_ok()).collect()
        };
        if named.is_empty() || restricting.entities.is_empty() {
            restricting.lifted_at = Some(at);
        }
        let is_by_policy = matches!(restricting.cause, Cause::Policy(..));
        for entity in freed {
            if is_by_policy {
                self.by_policy.remove(&entity);
                self.lifted.insert(entity, (id, position));
            } else if let Some(restrictions) = self.by_entity.get_mut(&entity) {
                restrictions.retain(|one| *one != id);
                if restrictions.is_empty() {
                    self.by_entity.remove(&entity);
                }
            }
        }
    }

    /// An entity that is gone is neither restricted under a policy nor was it; a restriction of which nothing is left
    /// is over.
    pub(super) fn forget(&mut self, entity: EntityId, at: Timestamp) {
        self.lifted.remove(&entity);
        let restricting = self.by_policy.remove(&entity).and_then(|id| self.all.get_mut(&id));
        if let Some(restricting) = restricting
            && let Ok(place) = restricting.entities.binary_search(&entity)
        {
            restricting.entities.remove(place);
            if restricting.entities.is_empty() {
                restricting.lifted_at.get_or_insert(at);
            }
        }
    }
}

//! Who is tied to whom, by number.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::change::Link;
use crate::id::EntityId;
use crate::record::Relation;

/// The links, in both directions.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Links {
    out: BTreeSet<(EntityId, Relation, EntityId)>,
    back: BTreeSet<(EntityId, Relation, EntityId)>,
    changed: BTreeMap<EntityId, ()>,
}

impl Links {
    /// Returns what an entity itself names.
    pub fn of(&self, from: EntityId) -> impl Iterator<Item = Link> + '_ {
        self.out
            .range((from, Relation::Associated, EntityId(0))..=(from, Relation::About, EntityId(u32::MAX)))
            .map(|(_, relation, to)| Link { relation: *relation, to: *to })
    }

    /// Returns what names an entity.
    pub fn to(&self, to: EntityId) -> impl Iterator<Item = (Relation, EntityId)> + '_ {
        self.back
            .range((to, Relation::Associated, EntityId(0))..=(to, Relation::About, EntityId(u32::MAX)))
            .map(|(_, relation, from)| (*relation, *from))
    }

    /// Returns all entities that an entity is tied to, in either direction, each once.
    pub fn neighbours(&self, entity: EntityId) -> impl Iterator<Item = EntityId> + use<> {
        let mut all: Vec<EntityId> =
            self.of(entity).map(|link| link.to).chain(self.to(entity).map(|(_, from)| from)).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter()
    }

    /// Says whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Goes through all links: from, relation, to.
    pub fn iter(&self) -> impl Iterator<Item = (EntityId, Relation, EntityId)> + '_ {
        self.out.iter().copied()
    }

    /// Sets what an entity names, in place of what it named before.
    pub fn replace(&mut self, from: EntityId, links: &[Link]) {
        self.drop_out(from);
        for link in links {
            self.out.insert((from, link.relation, link.to));
            self.back.insert((link.to, link.relation, from));
        }
        self.changed.insert(from, ());
    }

    /// Lets `to` name `links`, and everything that names `of` name `to` instead.
    pub fn redirect(&mut self, of: EntityId, to: EntityId, links: &[Link]) {
        self.replace(to, links);
        let named_by: Vec<_> = self.to(of).collect();
        for (relation, from) in named_by {
            self.out.remove(&(from, relation, of));
            self.back.remove(&(of, relation, from));
            self.out.insert((from, relation, to));
            self.back.insert((to, relation, from));
            self.changed.insert(from, ());
        }
        self.replace(of, &[]);
    }

    /// Forgets an entity in both directions.
    pub fn forget(&mut self, entity: EntityId) {
        self.drop_out(entity);
        let named_by: Vec<_> = self.to(entity).collect();
        for (relation, from) in named_by {
            self.out.remove(&(from, relation, entity));
            self.back.remove(&(entity, relation, from));
            self.changed.insert(from, ());
        }
        self.changed.insert(entity, ());
    }

    fn drop_out(&mut self, from: EntityId) {
        let old: Vec<_> = self.of(from).collect();
        for link in old {
            self.out.remove(&(from, link.relation, link.to));
            self.back.remove(&(link.to, link.relation, from));
        }
    }

    /// Marks entities as changed again, when writing them out failed.
    pub fn mark_changed(&mut self, entities: impl IntoIterator<Item = EntityId>) {
        self.changed.extend(entities.into_iter().map(|entity| (entity, ())));
    }

    /// Returns the entities whose own links changed since this was last asked, and forgets them.
    pub fn take_changed(&mut self) -> impl Iterator<Item = EntityId> + use<> {
        std::mem::take(&mut self.changed).into_keys()
    }
}

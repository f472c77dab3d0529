//! Where something beside the record of an entity changed last: an activity or a deal that is tied to it, or what it is
//! tied to.

use super::chunked::Chunked;
use super::entities::ENTITIES_PER_BLOCK;
use crate::id::EntityId;

/// The positions, by entity; 0 where nothing of the kind is known. They end with the last entity of which something is, so
/// they take no room where nothing is tied to anything.
#[derive(Debug, Default)]
pub(super) struct ChangedBeside {
    at: Chunked<u32>,
    /// The newest of each block of entities, or a newer one.
    newest: Vec<u32>,
}

impl ChangedBeside {
    pub(super) fn get(&self, entity: EntityId) -> u32 {
        self.at.get(entity.index()).copied().unwrap_or(0)
    }

    /// Goes through the positions from an index on, without end.
    pub(super) fn from(&self, first: usize) -> impl Iterator<Item = u32> + '_ {
        self.at.iter_from(first).copied().chain(std::iter::repeat(0))
    }

    /// Goes through the entities of which something changed after a position.
    pub(super) fn after(&self, position: u32) -> impl Iterator<Item = (u32, EntityId)> + '_ {
        let blocks = self.newest.iter().enumerate().filter(move |(_, newest)| **newest > position);
        blocks.flat_map(move |(block, _)| {
            let first = block * ENTITIES_PER_BLOCK;
            let all = (first..).zip(self.at.iter_from(first)).take(ENTITIES_PER_BLOCK);
            let changed = all.filter(move |(_, at)| **at > position);
            changed.filter_map(|(index, at)| Some((*at, EntityId(u32::try_from(index).ok()?))))
        })
    }

    /// Notes a change. The later position stays, so that the same events once more change nothing.
    pub(super) fn note(&mut self, entity: EntityId, position: u32) {
        self.at.grow_to(entity.index() + 1, 0);
        if let Some(at) = self.at.get_mut(entity.index()) {
            *at = position.max(*at);
        }
        let block = entity.index() / ENTITIES_PER_BLOCK;
        if self.newest.len() <= block {
            self.newest.resize(block + 1, 0);
        }
        if let Some(newest) = self.newest.get_mut(block) {
            *newest = position.max(*newest);
        }
    }

    /// Forgets what is known of an entity.
    pub(super) fn forget(&mut self, entity: EntityId) {
        if let Some(at) = self.at.get_mut(entity.index()) {
            *at = 0;
        }
    }
}

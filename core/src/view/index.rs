//! Positions by type, by actor and by run: compact sets, so that a question is an intersection.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use crate::event::{Actor, Envelope};
use crate::id::{Position, RunId};

/// What positions are collected by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The stored number of an event type.
    Type(u16),
    /// Who caused the events.
    Actor(Actor),
    /// The run that the events are part of.
    Run(RunId),
}

/// The sets.
///
/// **Limit:** positions up to 4,294,967,295; the store refuses to append beyond.
#[derive(Debug, Default, PartialEq)]
pub struct Index {
    sets: BTreeMap<Key, RoaringBitmap>,
}

impl Index {
    /// Returns the positions of a key.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&RoaringBitmap> {
        self.sets.get(&key)
    }

    /// Goes through all sets.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &RoaringBitmap)> {
        self.sets.iter().map(|(key, set)| (*key, set))
    }

    /// Adds neighbouring events that have the type and the actor of the first.
    pub(super) fn add_alike(&mut self, first: &Envelope, last: Position) {
        let (Ok(from), Ok(to)) = (u32::try_from(first.position.0), u32::try_from(last.0)) else { return };
        for key in [Key::Type(first.event_type), Key::Actor(first.actor)] {
            self.sets.entry(key).or_default().insert_range(from..=to);
        }
    }

    pub(super) fn add_run(&mut self, run: RunId, position: Position) {
        self.add(Key::Run(run), position);
    }

    fn add(&mut self, key: Key, position: Position) {
        if let Ok(position) = u32::try_from(position.0) {
            self.sets.entry(key).or_default().insert(position);
        }
    }

    /// Takes a written-out part of a set back in.
    pub fn load(&mut self, key: Key, part: &RoaringBitmap) {
        *self.sets.entry(key).or_default() |= part;
    }
}

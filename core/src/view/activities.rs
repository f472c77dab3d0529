//! The newest activity of each class that a record had.
//!
//! **Invariant:** folding takes the later of two dates, from what the event says and from nothing else. So no order of
//! purges, redactions and changed links moves a date back, and what is written out ahead of its position comes out
//! right. The cost is one entry for each pair of a record and a class of activity that it had, and nothing for records
//! that never had any.

use std::collections::{BTreeMap, BTreeSet};

use bincode::{Decode, Encode};

use crate::id::EntityId;
use crate::record::activity::{Activity, ActivityClass};
use crate::time::Timestamp;

/// The number of a class in this view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClassNumber(pub u16);

impl ClassNumber {
    /// What nobody can tell the class of.
    pub const UNCLASSIFIED: Self = Self(0);
}

/// The classes that ever were recorded, by number from 1, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct ActivityClasses {
    all: Vec<ActivityClass>,
}

impl ActivityClasses {
    /// Returns the class of a number; `None` for what has none.
    #[must_use]
    pub fn get(&self, number: ClassNumber) -> Option<&ActivityClass> {
        self.all.get(usize::from(number.0).checked_sub(1)?)
    }

    /// Returns the number of a class that was recorded before.
    #[must_use]
    pub fn find(&self, class: Option<&ActivityClass>) -> Option<ClassNumber> {
        let Some(class) = class else { return Some(ClassNumber::UNCLASSIFIED) };
        let number = self.all.iter().position(|known| known == class)? + 1;
        u16::try_from(number).ok().map(ClassNumber)
    }

    /// Returns the number of a class; one that is new gets the next. Beyond all numbers a class is as good as none.
    pub(super) fn number(&mut self, class: Option<&ActivityClass>) -> ClassNumber {
        if let Some(number) = self.find(class) {
            return number;
        }
        match (class, u16::try_from(self.all.len() + 1)) {
            (Some(class), Ok(number)) => {
                self.all.push(class.clone());
                ClassNumber(number)
            }
            (None, _) | (_, Err(_)) => ClassNumber::UNCLASSIFIED,
        }
    }
}

/// The newest activity of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Newest {
    /// When it took place.
    pub at: Timestamp,
    /// Which entity it is, if that was recorded.
    pub by: Option<EntityId>,
}

/// The newest activities.
#[derive(Debug, Default)]
pub struct Activities {
    newest: BTreeMap<(EntityId, ClassNumber), Newest>,
    changed: BTreeSet<EntityId>,
}

impl Activities {
    /// Goes through the newest activities of a record, one for each class.
    pub fn of(&self, entity: EntityId) -> impl Iterator<Item = (ClassNumber, Newest)> + '_ {
        let all = (entity, ClassNumber::UNCLASSIFIED)..=(entity, ClassNumber(u16::MAX));
        self.newest.range(all).map(|((_, class), newest)| (*class, *newest))
    }

    /// Returns when a record last had an activity of a class.
    #[must_use]
    pub fn latest(&self, entity: EntityId, class: ClassNumber) -> Option<Timestamp> {
        self.newest.get(&(entity, class)).map(|newest| newest.at)
    }

    /// Goes through all of it, ascending by record and class.
    pub fn iter(&self) -> impl Iterator<Item = (EntityId, ClassNumber, Newest)> + '_ {
        self.newest.iter().map(|((entity, class), newest)| (*entity, *class, *newest))
    }

    /// Notes an activity of a record. What moves nothing need not be written out again.
    pub fn note(&mut self, entity: EntityId, class: ClassNumber, newest: Newest) {
        let known = self.newest.get(&(entity, class));
        if known.is_none_or(|known| newest > *known) {
            self.newest.insert((entity, class), newest);
            self.changed.insert(entity);
        }
    }

    pub(super) fn forget(&mut self, entity: EntityId) {
        let classes: Vec<ClassNumber> = self.of(entity).map(|(class, _)| class).collect();
        for class in classes {
            self.newest.remove(&(entity, class));
            self.changed.insert(entity);
        }
    }

    /// Marks records as changed again, when writing them out failed.
    pub fn mark_changed(&mut self, entities: impl IntoIterator<Item = EntityId>) {
        self.changed.extend(entities);
    }

    /// Returns the records whose activities changed since this was last asked, and forgets them.
    pub fn take_changed(&mut self) -> BTreeSet<EntityId> {
        std::mem::take(&mut self.changed)
    }
}

impl super::Views {
    /// Returns the newest activities of a record, one for each class that it had.
    #[must_use]
    pub fn activities_of(&self, entity: EntityId) -> Vec<Activity> {
        let known = self.activities.of(entity);
        known
            .map(|(class, Newest { at, by })| Activity {
                class: self.small.activity_classes.get(class).cloned(),
                at,
                by,
            })
            .collect()
    }

    /// Says whether an activity would move what is known of a record.
    #[must_use]
    pub fn is_newer_activity(&self, of: EntityId, class: Option<&ActivityClass>, at: Option<Timestamp>) -> bool {
        let number = self.small.activity_classes.find(class);
        at > number.and_then(|number| self.activities.latest(of, number))
    }

    pub(super) fn note_activity(&mut self, of: EntityId, activity: &Activity) {
        let class = self.small.activity_classes.number(activity.class.as_ref());
        self.activities.note(of, class, Newest { at: activity.at, by: activity.by });
    }
}

#[cfg(test)]
mod tests;

//! A set of entities that is written out with the small views.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use crate::id::EntityId;

/// A set of entities: 64 of them in a word, so that many neighbours take little room.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct EntitySet {
    words: BTreeMap<u32, u64>,
}

impl EntitySet {
    pub(super) fn insert(&mut self, entity: EntityId) {
        *self.words.entry(entity.0 / u64::BITS).or_default() |= 1 << (entity.0 % u64::BITS);
    }

    pub(super) fn contains(&self, entity: EntityId) -> bool {
        self.words.get(&(entity.0 / u64::BITS)).is_some_and(|word| word >> (entity.0 % u64::BITS) & 1 == 1)
    }

    pub(super) fn len(&self) -> u64 {
        self.words.values().map(|word| u64::from(word.count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_was_put_in_and_nothing_else(
            put in prop::collection::vec(prop_oneof![0..300u32, Just(u32::MAX), any::<u32>()], 0..60),
            asked in prop::collection::vec(prop_oneof![0..300u32, any::<u32>()], 0..60),
        ) {
            let mut set = EntitySet::default();
            put.iter().for_each(|&number| set.insert(EntityId(number)));
            let expected: BTreeSet<u32> = put.iter().copied().collect();
            prop_assert_eq!(set.len(), expected.len() as u64);
            for number in put.into_iter().chain(asked) {
                prop_assert_eq!(set.contains(EntityId(number)), expected.contains(&number));
            }
        }
    }
}

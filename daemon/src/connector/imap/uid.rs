//! UIDs and sets of them.

use std::fmt;
use std::fmt::Write as _;

use super::limits::UID_SET_BYTES_MAX;

/// The number of a message in its folder. It means something only together with the folder's [`UidValidity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub u32);

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one life of a folder: when it changes, the UIDs of before mean nothing any more (RFC 3501, 2.3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UidValidity(pub u32);

impl fmt::Display for UidValidity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of UIDs, as ranges.
///
/// **Invariant:** ranges are ascending, do not touch, and hold no zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uids(Vec<(u32, u32)>);

impl Uids {
    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(from, to)| u64::from(to - from) + 1).sum()
    }

    /// Whether one is among them.
    #[must_use]
    pub fn contains(&self, uid: Uid) -> bool {
        let after = self.0.partition_point(|(from, _)| *from <= uid.0);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, to)| uid.0 <= *to)
    }

    /// Returns them in order.
    pub fn iter(&self) -> impl Iterator<Item = Uid> + '_ {
        self.0.iter().flat_map(|(from, to)| (*from..=*to).map(Uid))
    }

    /// Returns the last.
    #[must_use]
    pub fn last(&self) -> Option<Uid> {
        self.0.last().map(|(_, to)| Uid(*to))
    }

    /// Returns those that are in one of the sets.
    #[must_use]
    pub fn union(sets: impl IntoIterator<Item = Self>) -> Self {
        Self::from_ranges(sets.into_iter().flat_map(|set| set.0).collect())
    }

    /// Returns those that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        // Ranges stay ranges: a set may be wide.
        let mut left = Vec::new();
        let mut taken = other.0.iter().peekable();
        for (from, to) in &self.0 {
            let mut from = *from;
            let mut done = false;
            while let Some((first, last)) = taken.peek() {
                if *last < from {
                    taken.next();
                    continue;
                }
                if first > to {
                    break;
                }
                if *first > from {
                    left.push((from, first - 1));
                }
                if last >= to {
                    done = true;
                    break;
                }
                from = last + 1;
                taken.next();
            }
            if !done {
                left.push((from, *to));
            }
        }
        Self(left)
    }

    /// Reads `1:3,5`, as `VANISHED`, `ESEARCH` and `COPYUID` write it. `*` is not a set of known UIDs.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (from, to) = part.split_once(':').unwrap_or((part, part));
            let (from, to): (u32, u32) = (number(from)?, number(to)?);
            ranges.push((from.min(to), from.max(to)));
        }
        Some(Self::from_ranges(ranges))
    }

    fn from_ranges(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (from, to) in ranges {
            match merged.last_mut() {
                Some((_, last)) if from <= last.saturating_add(1) => *last = (*last).max(to),
                _ => merged.push((from, to)),
            }
        }
        Self(merged)
    }

    /// Returns the set as commands write it, in pieces that each fit into one command line.
    #[must_use]
    pub fn pieces(&self) -> Vec<(String, Self)> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut ranges = Vec::new();
        for (from, to) in &self.0 {
            if text.len() + 24 > UID_SET_BYTES_MAX {
                pieces.push((std::mem::take(&mut text), Self(std::mem::take(&mut ranges))));
            }
            if !text.is_empty() {
                text.push(',');
            }
            let _written = if from == to { write!(text, "{from}") } else { write!(text, "{from}:{to}") };
            ranges.push((*from, *to));
        }
        if !ranges.is_empty() {
            pieces.push((text, Self(ranges)));
        }
        pieces
    }

    /// Returns the set in pieces of at most `count` UIDs.
    #[must_use]
    pub fn chunks(&self, count: u32) -> Vec<Self> {
        let count = count.max(1);
        let mut chunks = Vec::new();
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        let mut room = count;
        for (from, to) in &self.0 {
            let mut from = *from;
            loop {
                let take = room.min(to - from + 1);
                ranges.push((from, from + (take - 1)));
                room -= take;
                if room == 0 {
                    chunks.push(Self(std::mem::take(&mut ranges)));
                    room = count;
                }
                if from + (take - 1) == *to {
                    break;
                }
                from += take;
            }
        }
        if !ranges.is_empty() {
            chunks.push(Self(ranges));
        }
        chunks
    }
}

impl FromIterator<Uid> for Uids {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> Self {
        Self::from_ranges(uids.into_iter().filter(|uid| uid.0 > 0).map(|uid| (uid.0, uid.0)).collect())
    }
}

impl From<Uid> for Uids {
    fn from(uid: Uid) -> Self {
        std::iter::once(uid).collect()
    }
}

fn number(text: &str) -> Option<u32> {
    let number = if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok()? } else { return None };
    (number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(uids: &BTreeSet<u32>) -> Uids {
        uids.iter().copied().map(Uid).collect()
    }

    proptest! {
        #[test]
        fn a_set_is_what_was_put_into_it(uids in proptest::collection::btree_set(1_u32..60, 0..40)) {
            let set = set(&uids);
            prop_assert_eq!(set.iter().map(|uid| uid.0).collect::<BTreeSet<_>>(), uids.clone());
            prop_assert_eq!(set.len(), uids.len() as u64);
            for uid in 0..61 {
                prop_assert_eq!(set.contains(Uid(uid)), uids.contains(&uid));
            }
            if let [(text, whole)] = set.pieces().as_slice() {
                prop_assert_eq!(Uids::parse(text), Some(whole.clone()));
            }
        }

        #[test]
        fn pieces_and_chunks_lose_and_double_nothing(
            uids in proptest::collection::btree_set(1_u32..100_000, 0..3000), count in 1_u32..50
        ) {
            let set = set(&uids);
            let pieces = set.pieces();
            prop_assert!(pieces.iter().all(|(text, _)| text.len() <= UID_SET_BYTES_MAX));
            let joined: Vec<u32> = pieces.iter().flat_map(|(_, part)| part.iter().map(|uid| uid.0).collect::<Vec<_>>()).collect();
            prop_assert!(joined.iter().copied().eq(uids.iter().copied()));
            let chunks = set.chunks(count);
            prop_assert!(chunks.iter().all(|chunk| chunk.len() <= u64::from(count)));
            let joined: Vec<u32> = chunks.iter().flat_map(|part| part.iter().map(|uid| uid.0).collect::<Vec<_>>()).collect();
            prop_assert!(joined.iter().copied().eq(uids.iter().copied()));
        }

        #[test]
        fn without_is_the_difference_of_sets(
            a in proptest::collection::btree_set(1_u32..50, 0..40), b in proptest::collection::btree_set(1_u32..50, 0..40)
        ) {
            let left: BTreeSet<u32> = set(&a).without(&set(&b)).iter().map(|uid| uid.0).collect();
            prop_assert_eq!(left, a.difference(&b).copied().collect::<BTreeSet<_>>());
        }

        #[test]
        fn any_text_is_a_set_or_none(text in "[0-9:,* +-]{0,40}") {
            let _read = Uids::parse(&text);
        }
    }

    #[test]
    fn the_last_number_that_there_is_is_one_as_any_other() {
        let last = Uids::from(Uid(u32::MAX));
        assert_eq!(last.chunks(10), std::slice::from_ref(&last));
        let several: Uids = [1, u32::MAX - 1, u32::MAX].into_iter().map(Uid).collect();
        assert_eq!(several.chunks(2).iter().map(Uids::len).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(several.without(&last).last(), Some(Uid(u32::MAX - 1)));
        assert_eq!(several.pieces().len(), 1);
    }

    #[test]
    fn only_sets_of_known_uids_are_read() {
        assert_eq!(Uids::parse("5,1:3"), Some([1, 2, 3, 5].into_iter().map(Uid).collect()));
        assert_eq!(Uids::parse("4294967295:1").map(|uids| uids.len()), Some(4_294_967_295));
        for none in ["", "0", "1:*", "*", "1,,2", "a", "+1", "4294967296"] {
            assert_eq!(Uids::parse(none), None, "{none}");
        }
    }
}

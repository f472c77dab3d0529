//! The Merkle tree over the event log (RFC 6962, section 2.1): what proves that an event is in the log, and that a log
//! has only grown.
//!
//! **A leaf is the envelope of an event, 128 bytes.** The envelope commits to the stored body by its SHA-256, so that a
//! body can be erased, ciphertext and all, and every proof from before still holds. Leaf `n` is the event at position
//! `n + 1`.
//!
//! Hashes are stored in the order of the Go checksum database (`golang.org/x/mod/sumdb/tlog`): appending a leaf appends
//! one to 64 hashes and changes none. The arithmetic is that of the crate `tlog_tiles`.

use tlog_tiles::{Hash, HashReader};

use crate::id::Digest;

/// The size of one stored hash, in bytes.
pub const HASH_BYTES: usize = 32;

/// The root of the tree without leaves: SHA-256 of nothing.
const EMPTY: Digest = Digest([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// Reads hashes that were stored.
pub trait StoredHashes {
    /// Returns the hashes with these numbers; `None` when one is not there.
    fn read(&self, numbers: &[u64]) -> Option<Vec<Digest>>;
}

/// The tree does not say what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A hash is not there, or what was asked lies beyond the tree.
    #[error("the tree does not reach so far")]
    Beyond,
    /// A proof proves something else, or nothing.
    #[error("the proof does not hold")]
    DoesNotHold,
}

struct Reader<'a, S: ?Sized>(&'a S);

impl<S: StoredHashes + ?Sized> HashReader for Reader<'_, S> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        let read = self.0.read(indexes).filter(|read| read.len() == indexes.len());
        let read = read.ok_or(tlog_tiles::Error::IndexesNotInTree)?;
        Ok(read.into_iter().map(|digest| Hash(digest.0)).collect())
    }
}

fn beyond(_: tlog_tiles::Error) -> TreeError {
    TreeError::Beyond
}

fn digests(hashes: Vec<Hash>) -> Vec<Digest> {
    hashes.into_iter().map(|hash| Digest(hash.0)).collect()
}

fn hashes(digests: &[Digest]) -> Vec<Hash> {
    digests.iter().map(|digest| Hash(digest.0)).collect()
}

/// Returns the hash of a leaf.
#[must_use]
pub fn leaf(envelope: &[u8]) -> Digest {
    Digest(tlog_tiles::record_hash(envelope).0)
}

/// Returns how many hashes are stored for a tree of so many leaves.
#[must_use]
pub fn stored_count(leaves: u64) -> u64 {
    tlog_tiles::stored_hash_count(leaves)
}

/// Returns the hashes that are stored when leaf number `leaves` is appended, in their order.
///
/// # Errors
/// When a hash of the tree before is not there.
pub fn appended<S: StoredHashes + ?Sized>(leaves: u64, leaf: Digest, stored: &S) -> Result<Vec<Digest>, TreeError> {
    let new = tlog_tiles::stored_hashes_for_record_hash(leaves, Hash(leaf.0), &Reader(stored));
    new.map(digests).map_err(beyond)
}

/// Returns the root of the tree of the first `leaves` leaves.
///
/// # Errors
/// When a hash is not there.
pub fn root<S: StoredHashes + ?Sized>(leaves: u64, stored: &S) -> Result<Digest, TreeError> {
    tlog_tiles::tree_hash(leaves, &Reader(stored)).map(|hash| Digest(hash.0)).map_err(beyond)
}

/// Proves that leaf number `number` is in the tree of the first `leaves` leaves.
///
/// # Errors
/// When it is not, or a hash is not there.
pub fn prove<S: StoredHashes + ?Sized>(leaves: u64, number: u64, stored: &S) -> Result<Vec<Digest>, TreeError> {
    if number >= leaves {
        return Err(TreeError::Beyond);
    }
    tlog_tiles::prove_record(leaves, number, &Reader(stored)).map(digests).map_err(beyond)
}

/// Checks such a proof against a root.
///
/// # Errors
/// When it does not hold.
pub fn check(path: &[Digest], leaves: u64, root: Digest, number: u64, leaf: Digest) -> Result<(), TreeError> {
    if number >= leaves || path.len() > 64 {
        return Err(TreeError::DoesNotHold);
    }
    tlog_tiles::check_record(&hashes(path), leaves, Hash(root.0), number, Hash(leaf.0))
        .map_err(|_| TreeError::DoesNotHold)
}

/// Proves that the tree of the first `after` leaves begins with that of the first `before`.
///
/// # Errors
/// When it does not, or a hash is not there.
pub fn prove_growth<S: StoredHashes + ?Sized>(before: u64, after: u64, stored: &S) -> Result<Vec<Digest>, TreeError> {
    if before == 0 || before > after {
        return Err(TreeError::Beyond);
    }
    tlog_tiles::prove_tree(after, before, &Reader(stored)).map(digests).map_err(beyond)
}

/// Checks such a proof against both roots.
///
/// # Errors
/// When it does not hold.
pub fn check_growth(path: &[Digest], before: (u64, Digest), after: (u64, Digest)) -> Result<(), TreeError> {
    if before.0 == 0 || before.0 > after.0 || path.len() > 128 {
        return Err(TreeError::DoesNotHold);
    }
    tlog_tiles::check_tree(&hashes(path), after.0, Hash(after.1.0), before.0, Hash(before.1.0))
        .map_err(|_| TreeError::DoesNotHold)
}

/// A tree that is gone through from its first leaf: what is stored for each, and the root, without reading any hash.
#[derive(Debug, Clone, Default)]
pub struct Frontier {
    leaves: u64,
    /// The roots of the complete subtrees, the largest first.
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// Returns how many leaves there are.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// Appends a leaf, and hands on the hashes that are stored for it, in their order.
    pub fn push(&mut self, leaf: Digest, mut stored: impl FnMut(Digest)) {
        let mut hash = Hash(leaf.0);
        stored(leaf);
        for _ in 0..self.leaves.trailing_ones() {
            let Some(left) = self.subtrees.pop() else { break };
            hash = tlog_tiles::node_hash(left, hash);
            stored(Digest(hash.0));
        }
        self.subtrees.push(hash);
        self.leaves += 1;
    }

    /// Returns the root of the tree of all leaves so far.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut smallest_first = self.subtrees.iter().rev();
        match smallest_first.next() {
            Some(last) => Digest(smallest_first.fold(*last, |right, left| tlog_tiles::node_hash(*left, right)).0),
            None => EMPTY,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    use super::*;

    impl StoredHashes for Vec<Digest> {
        fn read(&self, numbers: &[u64]) -> Option<Vec<Digest>> {
            numbers.iter().map(|number| self.get(usize::try_from(*number).ok()?).copied()).collect()
        }
    }

    fn tree_of(leaves: u64) -> (Vec<Digest>, Vec<Digest>) {
        let mut stored = Vec::new();
        let mut all = Vec::new();
        for number in 0..leaves {
            let leaf = leaf(&number.to_le_bytes());
            let new = appended(number, leaf, &stored).unwrap();
            stored.extend(new);
            all.push(leaf);
            assert_eq!(stored.len() as u64, stored_count(number + 1));
        }
        (stored, all)
    }

    /// RFC 6962, section 2.1, word for word.
    fn root_by_the_rfc(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest(Sha256::digest([]).into()),
            [one] => *one,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                let mut hash = Sha256::new();
                hash.update([1]);
                hash.update(root_by_the_rfc(left).0);
                hash.update(root_by_the_rfc(right).0);
                Digest(hash.finalize().into())
            }
        }
    }

    #[test]
    fn roots_are_those_of_the_rfc() {
        let (stored, leaves) = tree_of(130);
        for (count, taken) in (0..=130).zip(0..) {
            assert_eq!(root(count, &stored), Ok(root_by_the_rfc(&leaves[..taken])), "{count}");
        }
        let mut hash = Sha256::new();
        hash.update([0]);
        hash.update(b"x");
        assert_eq!(leaf(b"x"), Digest(hash.finalize().into()));
    }

    #[test]
    fn going_through_the_leaves_gives_the_same_hashes_and_roots() {
        let (stored, leaves) = tree_of(260);
        let mut frontier = Frontier::default();
        let mut told = Vec::new();
        for leaf in leaves {
            assert_eq!(frontier.root(), root(frontier.leaves(), &stored).unwrap());
            frontier.push(leaf, |hash| told.push(hash));
        }
        assert_eq!((told, frontier.leaves()), (stored.clone(), 260));
        assert_eq!(frontier.root(), root(260, &stored).unwrap());
    }

    #[test]
    fn what_lies_beyond_is_an_error_and_no_panic() {
        let (stored, _) = tree_of(7);
        assert_eq!(prove(7, 7, &stored), Err(TreeError::Beyond));
        assert_eq!(prove(9, 8, &stored), Err(TreeError::Beyond));
        assert_eq!(root(100, &stored), Err(TreeError::Beyond));
        assert_eq!(prove_growth(0, 7, &stored), Err(TreeError::Beyond));
        assert_eq!(prove_growth(8, 7, &stored), Err(TreeError::Beyond));
    }

    proptest! {
        #[test]
        fn proofs_hold_for_what_they_prove_and_for_nothing_else(
            count in 1u64..200, number in 0u64..200, other in 0u64..200, at in 0usize..8, bit in 0u8..8,
        ) {
            let (number, other) = (number % count, other % count);
            let (stored, leaves) = tree_of(count);
            let root = root(count, &stored).unwrap();
            let mut path = prove(count, number, &stored).unwrap();
            let leaf_of = |number: u64| leaves[usize::try_from(number).unwrap()];
            let leaf = leaf_of(number);
            prop_assert_eq!(check(&path, count, root, number, leaf), Ok(()));
            if other != number {
                prop_assert!(check(&path, count, root, other, leaf).is_err());
                prop_assert!(check(&path, count, root, number, leaf_of(other)).is_err());
            }
            if let Some(hash) = path.get_mut(at) {
                hash.0[at] ^= 1 << bit;
                prop_assert!(check(&path, count, root, number, leaf).is_err());
            }
        }

        #[test]
        fn a_log_that_grew_is_proven_to_begin_as_before(before in 1u64..150, more in 0u64..60, wrong: u8) {
            let after = before + more;
            let (stored, _) = tree_of(after);
            let (old, new) = (root(before, &stored).unwrap(), root(after, &stored).unwrap());
            let path = prove_growth(before, after, &stored).unwrap();
            prop_assert_eq!(check_growth(&path, (before, old), (after, new)), Ok(()));
            let mut other = old;
            other.0[0] ^= wrong | 1;
            prop_assert!(check_growth(&path, (before, other), (after, new)).is_err());
        }

        #[test]
        fn any_proof_is_checked_without_panic(
            path in prop::collection::vec(any::<[u8; 32]>(), 0..70), count: u64, number: u64, root: [u8; 32],
        ) {
            let path: Vec<Digest> = path.into_iter().map(Digest).collect();
            let (root, leaf) = (Digest(root), Digest([1; 32]));
            let _ = check(&path, count >> 1, root, number >> 1, leaf);
            let _ = check_growth(&path, (number >> 1, leaf), (count >> 1, root));
        }
    }
}

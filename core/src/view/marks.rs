//! Which blocks changed since they were last written out: one bit a block, since every folded event sets some.

use roaring::RoaringBitmap;

/// The marks.
///
/// **Invariant:** the last word is not zero, so equal marks are equal words.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Marks(Vec<u64>);

impl Marks {
    /// Marks a block.
    #[inline]
    pub(super) fn insert(&mut self, block: u32) {
        let word = (block / u64::BITS) as usize;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        if let Some(bits) = self.0.get_mut(word) {
            *bits |= 1 << (block % u64::BITS);
        }
    }

    /// Marks several.
    pub(super) fn extend(&mut self, blocks: &RoaringBitmap) {
        blocks.iter().for_each(|block| self.insert(block));
    }

    /// Returns the marked blocks, and forgets them.
    pub(super) fn take(&mut self) -> RoaringBitmap {
        let words = std::mem::take(&mut self.0);
        let mut blocks = RoaringBitmap::new();
        for (first, mut bits) in (0u32..).step_by(u64::BITS as usize).zip(words) {
            while bits != 0 {
                blocks.insert(first + bits.trailing_zeros());
                bits &= bits - 1;
            }
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_marked_is_returned_once() {
        let blocks: RoaringBitmap = [0, 1, 63, 64, 65, 127, 128, 100_000].into_iter().collect();
        let mut marks = Marks::default();
        marks.extend(&blocks);
        marks.insert(64);
        assert_eq!(marks.take(), blocks);
        assert_eq!(marks, Marks::default());
        assert!(marks.take().is_empty());
    }
}

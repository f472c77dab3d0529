//! A column that grows in pieces: it is never moved, so growing costs the same however long it is, and it takes no more
//! memory than it holds, but for one piece.

/// How many values stand in one piece.
const PIECE: usize = 1 << 14;

/// A growing column of small values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chunked<T> {
    pieces: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { pieces: Vec::new(), len: 0 }
    }
}

impl<T: Copy> Chunked<T> {
    /// Returns how many values there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns a value.
    #[inline]
    pub(super) fn get(&self, i: usize) -> Option<&T> {
        self.pieces.get(i / PIECE)?.get(i % PIECE)
    }

    /// Returns a value, to be changed.
    #[inline]
    pub(super) fn get_mut(&mut self, i: usize) -> Option<&mut T> {
        self.pieces.get_mut(i / PIECE)?.get_mut(i % PIECE)
    }

    /// Grows to `len` values; the new ones are `value`. Never shrinks.
    pub(super) fn grow_to(&mut self, len: usize, value: T) {
        while self.len < len {
            if self.len == self.pieces.len() * PIECE {
                self.pieces.push(Vec::with_capacity(PIECE));
            }
            let Some(last) = self.pieces.last_mut() else { return };
            let more = (PIECE - last.len()).min(len - self.len);
            last.resize(last.len() + more, value);
            self.len += more;
        }
    }

    /// Goes through the values from number `from` on.
    pub(super) fn iter_from(&self, from: usize) -> impl Iterator<Item = &T> {
        let first = self.pieces.iter().skip(from / PIECE).take(1);
        let rest = self.pieces.iter().skip(from / PIECE + 1);
        first.flat_map(move |piece| piece.iter().skip(from % PIECE)).chain(rest.flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_where_they_are_across_pieces() {
        let mut column = Chunked::default();
        for len in [1, 5, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7] {
            column.grow_to(len, u16::MAX);
            assert_eq!(column.len(), len);
            *column.get_mut(len - 1).unwrap() = 7;
            assert_eq!(column.get(len), None);
        }
        column.grow_to(2, 1);
        assert_eq!(column.len(), 3 * PIECE + 7);
        assert_eq!(column.iter_from(0).count(), 3 * PIECE + 7);
        let sevens: Vec<usize> = (0..column.len()).filter(|i| column.get(*i) == Some(&7)).collect();
        assert_eq!(sevens, [0, 4, PIECE - 2, PIECE - 1, PIECE, 3 * PIECE + 6]);
        for from in [0, 1, PIECE, 2 * PIECE + 3, 3 * PIECE + 7, 9 * PIECE] {
            let expected: Vec<u16> = (from..column.len()).filter_map(|i| column.get(i).copied()).collect();
            assert_eq!(column.iter_from(from).copied().collect::<Vec<_>>(), expected);
        }
    }
}

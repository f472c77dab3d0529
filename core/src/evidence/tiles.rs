//! The log as files that others can check with their own programs: C2SP tlog-tiles, with the envelopes as entries.
//!
//! The files are made from the envelopes alone, so whoever makes them has computed the root and can compare it with
//! what was signed.

use super::tree::{Frontier, leaf};
use crate::id::Digest;

/// Hashes of a tile, and entries of a bundle (c2sp.org/tlog-tiles: a tile is 8 levels high).
const TILE_WIDTH: usize = 256;
const TILE_LEVELS: u32 = 8;

/// Makes the files of a log, each handed on as soon as it is whole: its path, below the directory of the log, and its
/// bytes.
#[derive(Debug, Default)]
pub struct Tiles {
    frontier: Frontier,
    entries: Vec<u8>,
    /// The hashes of the tile that is being filled, by level.
    levels: Vec<Vec<u8>>,
}

impl Tiles {
    /// Returns how many entries there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.frontier.leaves()
    }

    /// Returns the root over all entries so far.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.frontier.root()
    }

    /// Appends an entry, which is shorter than 64 KiB.
    ///
    /// # Errors
    /// What `file` says.
    pub fn push<E>(&mut self, entry: &[u8], file: impl FnMut(&str, &[u8]) -> Result<(), E>) -> Result<(), E> {
        self.push_hashed(entry, leaf(entry), file)
    }

    /// Appends an entry whose leaf hash was computed before, by [`leaf`] and elsewhere: that is most of the work.
    ///
    /// # Errors
    /// What `file` says.
    pub fn push_hashed<E>(
        &mut self,
        entry: &[u8],
        hash: Digest,
        mut file: impl FnMut(&str, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let number = self.frontier.leaves();
        let mut level = 0;
        let levels = &mut self.levels;
        let mut full = Vec::new();
        self.frontier.push(hash, |hash| {
            if level % TILE_LEVELS == 0 {
                let at = (level / TILE_LEVELS) as usize;
                if levels.len() <= at {
                    levels.resize_with(at + 1, Vec::new);
                }
                if let Some(tile) = levels.get_mut(at) {
                    tile.extend_from_slice(&hash.0);
                    if tile.len() == TILE_WIDTH * hash.0.len() {
                        full.push((at, std::mem::take(tile)));
                    }
                }
            }
            level += 1;
        });
        let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
        self.entries.extend_from_slice(&length.to_be_bytes());
        self.entries.extend_from_slice(entry);
        for (level, tile) in full {
            // A tile of level n is full when so many more leaves are there.
            let index = number >> (TILE_LEVELS * (u32::try_from(level).unwrap_or(0) + 1));
            if level == 0 {
                file(&format!("tile/entries/{}", path_of(index)), &std::mem::take(&mut self.entries))?;
            }
            file(&format!("tile/{level}/{}", path_of(index)), &tile)?;
        }
        Ok(())
    }

    /// Hands on what is not full.
    ///
    /// # Errors
    /// What `file` says.
    pub fn finish<E>(self, mut file: impl FnMut(&str, &[u8]) -> Result<(), E>) -> Result<(), E> {
        let size = self.frontier.leaves();
        for (level, tile) in (0u32..).zip(&self.levels).filter(|(_, tile)| !tile.is_empty()) {
            let index = (size >> (TILE_LEVELS * level)) / TILE_WIDTH as u64;
            let width = tile.len() / 32;
            if level == 0 {
                file(&format!("tile/entries/{}.p/{width}", path_of(index)), &self.entries)?;
            }
            file(&format!("tile/{level}/{}.p/{width}", path_of(index)), tile)?;
        }
        Ok(())
    }
}

/// Groups of three digits, all but the last with an `x` in front.
fn path_of(index: u64) -> String {
    let mut path = format!("{:03}", index % 1_000);
    let mut rest = index / 1_000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1_000);
        rest /= 1_000;
    }
    path
}

/// Takes the entries of a bundle apart; `None` when it is none.
#[must_use]
pub fn entries_of(bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    let mut rest = bundle;
    while !rest.is_empty() {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (entry, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        rest = tail;
    }
    Some(entries)
}

/// Returns the paths of the bundles of a log of so many entries, in order, with how many each holds.
pub fn bundles(size: u64) -> impl Iterator<Item = (String, u64)> {
    let width = TILE_WIDTH as u64;
    let partial = (!size.is_multiple_of(width))
        .then(|| (format!("tile/entries/{}.p/{}", path_of(size / width), size % width), size % width));
    (0..size / width).map(move |index| (format!("tile/entries/{}", path_of(index)), width)).chain(partial)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use proptest::prelude::*;
    use tlog_tiles::Tile;

    use super::super::tree;
    use super::*;

    fn made(size: u64) -> (BTreeMap<String, Vec<u8>>, Tiles) {
        let mut files = BTreeMap::new();
        let mut tiles = Tiles::default();
        for number in 0..size {
            let entry = number.to_le_bytes();
            tiles
                .push::<Infallible>(&entry, |path, bytes| {
                    assert!(files.insert(path.to_owned(), bytes.to_vec()).is_none(), "{path} twice");
                    Ok(())
                })
                .unwrap();
        }
        (files, tiles)
    }

    fn check(size: u64) {
        let (mut files, tiles) = made(size);
        let mut stored: Vec<Digest> = Vec::new();
        for number in 0..size {
            stored.extend(tree::appended(number, leaf(&number.to_le_bytes()), &stored).unwrap());
        }
        assert_eq!(tiles.root(), tree::root(size, &stored).unwrap());
        tiles
            .finish::<Infallible>(|path, bytes| {
                files.insert(path.to_owned(), bytes.to_vec());
                Ok(())
            })
            .unwrap();
        // Another implementation of the layout says which tiles there are, and what they hold.
        for tile in Tile::new_tiles(8, 0, size) {
            let expected = {
                struct Stored<'a>(&'a [Digest]);
                impl tlog_tiles::HashReader for Stored<'_> {
                    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
                        Ok(indexes.iter().map(|i| tlog_tiles::Hash(self.0[usize::try_from(*i).unwrap()].0)).collect())
                    }
                }
                tile.read_data(&Stored(&stored)).unwrap()
            };
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            assert_eq!(files.remove(&path), Some(expected), "{path} of {size}");
        }
        let mut number = 0u64;
        for (path, count) in bundles(size) {
            let bundle = files.remove(&path).unwrap_or_else(|| panic!("{path} of {size}"));
            let entries = entries_of(&bundle).unwrap();
            assert_eq!(entries.len() as u64, count);
            for entry in entries {
                assert_eq!(entry, number.to_le_bytes());
                number += 1;
            }
        }
        assert_eq!((number, files.keys().next()), (size, None));
    }

    #[test]
    fn the_files_are_those_of_another_implementation() {
        for size in [0, 1, 2, 255, 256, 257, 511, 512, 700, 65_536, 65_537 + 300] {
            check(size);
        }
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(path_of(0), "000");
        assert_eq!(path_of(67), "067");
        assert_eq!(path_of(1_234_067), "x001/x234/067");
    }

    proptest! {
        #[test]
        fn any_bytes_are_entries_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = entries_of(&bytes);
        }
    }
}

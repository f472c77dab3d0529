//! Where a store is at home: the path at which it was last opened to be written.
//!
//! A directory that is copied brings this file with it as it was. So a copy in which nobody did anything still says where the
//! store was, and all of its log was written there; one with which somebody tried things says where that was.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::durable_file::{self, DurableFileError, FileAction};

const NAME: &str = "home";
const ROLE: &str = "file that says where the store is at home";
const FIRST: &[u8] = b"retentiond home 1\n";

/// More than any path has, in bytes.
const BYTES_MAX: u64 = 16 * 1024;

/// Where a store was at home last, seen from a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// In this place.
    Here,
    /// In another one.
    Elsewhere,
    /// Nobody knows: it was last opened by a program that did not write it down.
    Unknown,
}

impl Home {
    /// Reads where the store in a directory was at home last, seen from a place that is there.
    #[must_use]
    pub(super) fn of(store: &Path, place: &Path) -> Self {
        match (durable_file::read_bounded(&store.join(NAME), BYTES_MAX, ROLE), text(place)) {
            (Ok(Some(known)), Ok(here)) if known == here => Self::Here,
            (Ok(Some(known)), Ok(_)) if known.starts_with(FIRST) => Self::Elsewhere,
            _ => Self::Unknown,
        }
    }

    /// Writes down that the store in a directory is at home there. One that is already writes nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn note(store: &Path) -> Result<(), DurableFileError> {
        let here = text(store).map_err(durable_file::failed(ROLE, FileAction::Read))?;
        let path = store.join(NAME);
        match durable_file::read_bounded(&path, BYTES_MAX, ROLE) {
            Ok(Some(known)) if known == here => Ok(()),
            _ => durable_file::replace(&path, &here, ROLE),
        }
    }
}

fn text(dir: &Path) -> io::Result<Vec<u8>> {
    Ok([FIRST, dir.canonicalize()?.as_os_str().as_bytes(), b"\n"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{copy_dir, init, open};

    #[test]
    fn a_store_that_was_moved_or_copied_says_where_it_was_until_it_is_opened_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let options = init(dir.path());
        let place = options.dir.clone();
        let (moved, copy) = (dir.path().join("moved"), dir.path().join("copy"));
        assert_eq!(Home::of(&place, &place), Home::Here);
        assert_eq!(Home::of(&place, dir.path()), Home::Elsewhere);
        copy_dir(&place, &copy);
        std::fs::rename(&place, &moved).unwrap();
        std::fs::create_dir(&place).unwrap();
        assert_eq!((Home::of(&moved, &place), Home::of(&copy, &place)), (Home::Here, Home::Here));
        let at = |dir: &Path| crate::store::Options { dir: dir.to_owned(), ..options.clone() };
        open(&at(&copy)).close().unwrap();
        assert_eq!((Home::of(&copy, &place), Home::of(&copy, &copy)), (Home::Elsewhere, Home::Here));
        for unknown in [b"".as_slice(), b"something else"] {
            std::fs::write(moved.join(NAME), unknown).unwrap();
            assert_eq!(Home::of(&moved, &place), Home::Unknown);
        }
        std::fs::remove_file(moved.join(NAME)).unwrap();
        assert_eq!(Home::of(&moved, &place), Home::Unknown);
        // Whoever only looks at it leaves it as it is.
        let looked = crate::store::Store::verify_stopped(&at(&moved), &mut |_, _| {}).unwrap();
        assert!(looked.is_good() && !moved.join(NAME).exists());
        open(&at(&moved)).close().unwrap();
        assert_eq!(Home::of(&moved, &moved), Home::Here);
    }
}

//! What lies on the disk, byte for byte.

use std::fs;
use std::path::{Path, PathBuf};

use memchr::memmem;

/// Returns the files below a directory, in order. A directory that is removed meanwhile holds none.
#[must_use]
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// Returns the files below a directory that hold these bytes. A file that is removed meanwhile holds nothing.
#[must_use]
pub fn files_with(dir: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let has = |path: &PathBuf| memmem::find(&fs::read(path).unwrap_or_default(), bytes).is_some();
    files(dir).into_iter().filter(has).collect()
}

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

/// Copies a directory with all that is in it.
///
/// # Panics
/// When that cannot be done.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}

//! Opening what was claimed: never through a link, never a pipe, never beyond the limits.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use retention_core::id::Digest;
use rustix::fs::{Mode, OFlags};
use sha2::Digest as _;

use crate::connector::rejection::FileError;
use crate::halt::Halt;

/// What one file may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The size of a file, in bytes.
    pub file_bytes_max: u64,
    /// The size of a row, in bytes; the reader holds one row, and at worst twice that.
    pub row_bytes_max: usize,
    /// The columns of a table.
    pub columns_max: usize,
    /// What a workbook may unpack to, in bytes, because its texts are held in memory.
    pub workbook_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // 64 GiB: text is streamed, so the size costs time and no memory.
            file_bytes_max: 64 << 30,
            // 16 MiB: far above the longest note of a mailbox item, far below what hurts.
            row_bytes_max: 16 << 20,
            // 4,096: no CRM has more fields, and the cells of a row are numbered with 16 bits.
            columns_max: 4_096,
            // 1 GiB unpacked is about a million rows of forty columns.
            workbook_bytes_max: 1 << 30,
        }
    }
}

/// What a path is. Links and special files are errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

/// Most files a dropped directory may hold: an export has nine.
pub const DIRECTORY_FILES_MAX: usize = 64;

/// Bytes read at once while hashing.
const HASH_CHUNK_BYTES: usize = 256 << 10;

/// Says what a path is, without following it.
///
/// # Errors
/// Refuses links and special files; says when it is gone.
pub fn shape(path: &Path) -> Result<Shape, FileError> {
    let kind = std::fs::symlink_metadata(path)?.file_type();
    if kind.is_symlink() {
        return Err(FileError::Symlink);
    }
    if kind.is_dir() {
        return Ok(Shape::Directory);
    }
    if kind.is_file() { Ok(Shape::File) } else { Err(FileError::NotRegular) }
}

/// What a file looked like when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// The size in bytes.
    pub bytes: u64,
    /// The last change of the content, in nanoseconds since 1970.
    pub modified_ns: i128,
}

impl Fingerprint {
    /// Takes it from what the file system says.
    #[must_use]
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let modified_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Self { bytes: metadata.len(), modified_ns }
    }
}

/// An open regular file and its look at that moment.
#[derive(Debug)]
pub struct Opened {
    /// The file, at its start.
    pub file: File,
    /// Its look.
    pub fingerprint: Fingerprint,
}

impl Opened {
    /// Opens a regular file for reading, without following a link in its last part and without waiting for a pipe.
    ///
    /// # Errors
    /// Refuses links, special files and files above the limit; says when it is gone.
    pub fn at(path: &Path, limits: &Limits) -> Result<Self, FileError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(descriptor) => File::from(descriptor),
            Err(rustix::io::Errno::LOOP) => return Err(FileError::Symlink),
            Err(rustix::io::Errno::NXIO) => return Err(FileError::NotRegular),
            Err(error) => return Err(io::Error::from(error).into()),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(FileError::NotRegular);
        }
        if metadata.len() > limits.file_bytes_max {
            return Err(FileError::TooLarge { max: limits.file_bytes_max });
        }
        Ok(Self { fingerprint: Fingerprint::of(&metadata), file })
    }

    /// Says whether the file at the path is still the one that was opened, unchanged.
    ///
    /// # Errors
    /// [`FileError::Vanished`] or [`FileError::ChangedWhileRead`].
    pub fn check_unchanged(path: &Path, before: Fingerprint) -> Result<(), FileError> {
        let now = Fingerprint::of(&std::fs::symlink_metadata(path)?);
        if now == before { Ok(()) } else { Err(FileError::ChangedWhileRead) }
    }
}

/// Returns the names of the files in a directory, sorted. Sub-directories are not entered.
///
/// # Errors
/// Says when there are too many or a name is not text.
pub fn file_names(directory: &Path) -> Result<Vec<String>, FileError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if names.len() == DIRECTORY_FILES_MAX {
            return Err(FileError::TooLarge { max: DIRECTORY_FILES_MAX as u64 });
        }
        names.push(entry.file_name().into_string().map_err(|_| FileError::NotRegular)?);
    }
    names.sort_unstable();
    Ok(names)
}

/// Returns the SHA-256 of the content: of a file its bytes; of a directory the name and the digest of each file, in
/// the order of their names. The name of the claimed thing itself does not count. `None` when asked to stop.
///
/// # Errors
/// As [`Opened::at`]; a directory inside a directory is refused.
pub fn content_digest(path: &Path, limits: &Limits, halt: &Halt) -> Result<Option<Digest>, FileError> {
    match shape(path)? {
        Shape::File => hash_file(path, limits, halt),
        Shape::Directory => {
            let mut sha = sha2::Sha256::new();
            for name in file_names(path)? {
                sha.update((name.len() as u64).to_le_bytes());
                sha.update(name.as_bytes());
                let Some(digest) = hash_file(&path.join(&name), limits, halt)? else { return Ok(None) };
                sha.update(digest.0);
            }
            Ok(Some(Digest(sha.finalize().into())))
        }
    }
}

fn hash_file(path: &Path, limits: &Limits, halt: &Halt) -> Result<Option<Digest>, FileError> {
    let mut sha = sha2::Sha256::new();
    let mut opened = Opened::at(path, limits)?;
    let mut chunk = vec![0; HASH_CHUNK_BYTES];
    let mut total: u64 = 0;
    loop {
        if halt.is_asked() {
            return Ok(None);
        }
        let read = match opened.file.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        total = total.saturating_add(read as u64);
        if total > limits.file_bytes_max {
            return Err(FileError::TooLarge { max: limits.file_bytes_max });
        }
        sha.update(chunk.get(..read).unwrap_or_default());
    }
    Opened::check_unchanged(path, opened.fingerprint)?;
    Ok(Some(Digest(sha.finalize().into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_pipes_and_large_files_are_refused_each_with_its_own_error() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real.csv");
        std::fs::write(&real, "a\n1\n").unwrap();
        let link = folder.path().join("link.csv");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        let limits = Limits::default();
        assert_eq!(Opened::at(&link, &limits).unwrap_err(), FileError::Symlink);
        assert_eq!(shape(&link), Err(FileError::Symlink));
        assert_eq!(Opened::at(&pipe, &limits).unwrap_err(), FileError::NotRegular);
        assert_eq!(Opened::at(folder.path(), &limits).unwrap_err(), FileError::NotRegular);
        assert_eq!(Opened::at(&folder.path().join("gone"), &limits).unwrap_err(), FileError::Vanished);
        let small = Limits { file_bytes_max: 3, ..Limits::default() };
        assert_eq!(Opened::at(&real, &small).unwrap_err(), FileError::TooLarge { max: 3 });
        let fingerprint = Opened::at(&real, &limits).unwrap().fingerprint;
        assert_eq!(Opened::check_unchanged(&real, fingerprint), Ok(()));
        std::fs::write(&real, "a\n1\n2\n").unwrap();
        assert_eq!(Opened::check_unchanged(&real, fingerprint), Err(FileError::ChangedWhileRead));
        std::fs::remove_file(&real).unwrap();
        assert_eq!(Opened::check_unchanged(&real, fingerprint), Err(FileError::Vanished));
    }

    #[test]
    fn the_digest_depends_on_names_and_bytes_of_the_files_and_not_on_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let make = |directory: &str, files: &[(&str, &str)]| {
            let path = folder.path().join(directory);
            std::fs::create_dir(&path).unwrap();
            for (name, text) in files {
                std::fs::write(path.join(name), text).unwrap();
            }
            content_digest(&path, &Limits::default(), &Halt::default()).unwrap()
        };
        let one = make("one", &[("a", "xy"), ("b", "z")]);
        assert_eq!(one, make("two", &[("b", "z"), ("a", "xy")]));
        assert_ne!(one, make("three", &[("a", "x"), ("b", "yz")]));
        assert_ne!(one, make("four", &[("a", "xy"), ("c", "z")]));
        let loops = folder.path().join("loops");
        std::fs::create_dir_all(loops.join("inside")).unwrap();
        assert_eq!(content_digest(&loops, &Limits::default(), &Halt::default()), Err(FileError::NotRegular));
    }
}

//! Small files that are, after any crash, whole: the old version or the new one.
//!
//! A replacement is written beside the file, flushed, renamed over it, and the directory is flushed: only then does the
//! caller hear of success. Directories are made 0700 and files 0600. Errors name the *role* of a file, not its path.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::flush::{Door, Flush, FlushGate, OpenGate, through};

/// The mode of files: for the daemon's user alone.
const FILE_MODE: u32 = 0o600;

/// The mode of directories: for the daemon's user alone.
const DIR_MODE: u32 = 0o700;

/// Where no gate is asked.
const OPEN: Door<'static> = (&OpenGate, Flush::Keys);

/// What was being done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileAction {
    /// Making it.
    Create,
    /// Opening it.
    Open,
    /// Reading it.
    Read,
    /// Writing it.
    Write,
    /// Flushing it to the device.
    Sync,
    /// Renaming it into place.
    Rename,
    /// Removing it.
    Remove,
    /// Flushing the directory that holds it.
    SyncDirectory,
}

impl std::fmt::Display for FileAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "flush",
            Self::Rename => "rename into place",
            Self::Remove => "remove",
            Self::SyncDirectory => "flush the directory of",
        })
    }
}

/// A file could not be kept. What was there before is still there, whole.
#[derive(Debug, thiserror::Error)]
pub enum DurableFileError {
    /// The operating system refused.
    #[error("could not {action} the {role}: {source}; what was there before is unchanged")]
    Io {
        /// What the file is for.
        role: &'static str,
        /// What was being done.
        action: FileAction,
        /// Why it failed.
        source: io::Error,
    },
    /// It is longer than any program of ours writes it.
    #[error("the {role} is longer than {max} bytes, so this program did not write it; it was left alone")]
    TooLong {
        /// What the file is for.
        role: &'static str,
        /// The bound, in bytes.
        max: u64,
    },
}

impl DurableFileError {
    /// Returns the operating system's error, if there is one.
    #[must_use]
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::TooLong { .. } => None,
        }
    }
}

/// Makes a converter from an I/O error that says what was done to which file.
pub fn failed(role: &'static str, action: FileAction) -> impl FnOnce(io::Error) -> DurableFileError {
    move |source| DurableFileError::Io { role, action, source }
}

/// Does what is durable when it returns, as a flush of files of keys that tests can stop at.
///
/// # Errors
/// As `make`.
pub fn keys_flush<E: From<DurableFileError>>(
    gate: &dyn FlushGate,
    role: &'static str,
    make: impl FnOnce() -> Result<(), E>,
) -> Result<(), E> {
    gate.before(Flush::Keys).map_err(failed(role, FileAction::Sync))?;
    make()?;
    Ok(gate.after(Flush::Keys).map_err(failed(role, FileAction::Sync))?)
}

/// Makes a directory with mode 0700, and flushes its parent. A directory that is there already is fine.
///
/// # Errors
/// When it cannot be made or flushed, or when something else has its name.
pub fn create_private_dir(path: &Path, role: &'static str) -> Result<(), DurableFileError> {
    create_private_dir_through(OPEN, path, role)
}

/// As [`create_private_dir`], with a gate around its flush.
///
/// # Errors
/// As [`create_private_dir`].
pub fn create_private_dir_through(door: Door<'_>, path: &Path, role: &'static str) -> Result<(), DurableFileError> {
    match DirBuilder::new().mode(DIR_MODE).create(path) {
        // Left there, it would be taken for one whose name is durable.
        Ok(()) => sync_parent(door, path, role).inspect_err(|_| drop(std::fs::remove_dir(path))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(failed(role, FileAction::Create)(error)),
    }
}

/// Makes a directory with mode 0700 that was not there, in one in which others may write: under a name that begins with
/// `prefix` and that nobody can foresee.
///
/// # Errors
/// When it cannot be made.
pub fn create_new_dir(parent: &Path, prefix: &str, role: &'static str) -> Result<PathBuf, DurableFileError> {
    let mut name = [0; 16];
    SystemRandom::new().fill(&mut name).map_err(|_| {
        failed(role, FileAction::Create)(io::Error::other("the operating system gives no random bytes"))
    })?;
    let path = parent.join(format!("{prefix}{}", hex::encode(name)));
    DirBuilder::new().mode(DIR_MODE).create(&path).map_err(failed(role, FileAction::Create))?;
    Ok(path)
}

/// Makes a new file with mode 0600, writes `bytes`, and flushes it and its directory.
///
/// # Errors
/// When a file of that name exists (it is left alone), or when it cannot be made; a half-written one is removed.
pub fn create_new(path: &Path, bytes: &[u8], role: &'static str) -> Result<(), DurableFileError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(failed(role, FileAction::Create))?;
    let written = file
        .write_all(bytes)
        .map_err(failed(role, FileAction::Write))
        .and_then(|()| file.sync_all().map_err(failed(role, FileAction::Sync)));
    if let Err(error) = written {
        // The first error is the one to report; a file that cannot be removed either is found by the next attempt.
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    sync_parent(OPEN, path, role)
}

/// Replaces a file, or makes it, so that every crash leaves the old or the new bytes.
///
/// **Invariant:** one writer per file, which the lock of the store grants; the file beside it is `<name>.tmp`. What
/// lies there is removed first and never written through: others may write into some directories, and a link would lead
/// elsewhere.
///
/// # Errors
/// When any step fails; unless it was the last, flushing the directory, the old version is in place.
pub fn replace(path: &Path, bytes: &[u8], role: &'static str) -> Result<(), DurableFileError> {
    replace_through(OPEN, path, bytes, role)
}

/// As [`replace`], with a gate around its flushes.
///
/// # Errors
/// As [`replace`].
pub fn replace_through(door: Door<'_>, path: &Path, bytes: &[u8], role: &'static str) -> Result<(), DurableFileError> {
    let beside = write_beside(door, path, bytes, role)?;
    rename_through(door, &beside, path, role)
}

/// Renames what is flushed over a file beside it, and flushes their directory, with a gate around that.
///
/// # Errors
/// When it cannot be renamed; or when the directory cannot be flushed: then nobody knows which of the two a power cut
/// leaves.
pub fn rename_through(door: Door<'_>, from: &Path, to: &Path, role: &'static str) -> Result<(), DurableFileError> {
    std::fs::rename(from, to).map_err(failed(role, FileAction::Rename))?;
    sync_parent(door, to, role)
}

/// Replaces files of one directory in this order, as [`replace`] does each, and flushes the directory once. A crash may
/// leave the first of them new and the others old.
///
/// # Errors
/// As [`replace`].
pub fn replace_each(dir: &Path, files: &[(&str, &[u8])], role: &'static str) -> Result<(), DurableFileError> {
    let mut written = Vec::with_capacity(files.len());
    for (name, bytes) in files {
        let path = dir.join(name);
        written.push((write_beside(OPEN, &path, bytes, role)?, path));
    }
    for (beside, path) in written {
        std::fs::rename(&beside, &path).map_err(failed(role, FileAction::Rename))?;
    }
    fsync_dir(dir, role)
}

/// Writes and flushes what is to be renamed over a file.
fn write_beside(door: Door<'_>, path: &Path, bytes: &[u8], role: &'static str) -> Result<PathBuf, DurableFileError> {
    let beside = beside(path, ".tmp");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(role, FileAction::Remove)(error)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&beside)
        .map_err(failed(role, FileAction::Create))?;
    file.write_all(bytes).map_err(failed(role, FileAction::Write))?;
    through(door, || file.sync_all()).map_err(failed(role, FileAction::Sync))?;
    Ok(beside)
}

/// Opens a file for reading and writing in place, and makes it, empty and 0600, when it is not there.
///
/// # Errors
/// When it cannot be opened, or its directory cannot be flushed after it was made.
pub fn open_or_create(path: &Path, role: &'static str) -> Result<File, DurableFileError> {
    open_or_create_through(OPEN, path, role)
}

/// As [`open_or_create`], with a gate around its flush.
///
/// # Errors
/// As [`open_or_create`].
pub fn open_or_create_through(door: Door<'_>, path: &Path, role: &'static str) -> Result<File, DurableFileError> {
    open_or_create_if(door, path, role, |_| false).map(|(file, _)| file)
}

/// As [`open_or_create_through`], also on a file system that flushes no directory, as some of other machines are. Returns
/// why the name of the file may not be durable then.
///
/// # Errors
/// As [`open_or_create`], but for that.
pub fn open_or_create_anyway(
    door: Door<'_>,
    path: &Path,
    role: &'static str,
) -> Result<(File, Option<DurableFileError>), DurableFileError> {
    open_or_create_if(door, path, role, |error| {
        let errno = error.io().and_then(Errno::from_io_error);
        matches!(errno, Some(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS))
    })
}

fn open_or_create_if(
    door: Door<'_>,
    path: &Path,
    role: &'static str,
    may_fail: impl FnOnce(&DurableFileError) -> bool,
) -> Result<(File, Option<DurableFileError>), DurableFileError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(FILE_MODE);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = options.create_new(true).open(path).map_err(failed(role, FileAction::Create))?;
            match sync_parent(door, path, role) {
                Ok(()) => Ok((file, None)),
                Err(error) if may_fail(&error) => Ok((file, Some(error))),
                Err(error) => {
                    // Left there, it would be taken for one whose name is durable.
                    drop(std::fs::remove_file(path));
                    Err(error)
                }
            }
        }
        opened => opened.map(|file| (file, None)).map_err(failed(role, FileAction::Open)),
    }
}

/// Reads a whole file of at most `max` bytes; `None` when there is none. No pipe is waited for.
///
/// # Errors
/// When it cannot be read, is no regular file, or is longer than `max`.
pub fn read_bounded(path: &Path, max: u64, role: &'static str) -> Result<Option<Vec<u8>>, DurableFileError> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(role, FileAction::Open)(error)),
    };
    if !file.metadata().map_err(failed(role, FileAction::Read))?.is_file() {
        return Err(failed(role, FileAction::Read)(io::Error::other("it is not a regular file")));
    }
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed(role, FileAction::Read))?;
    if bytes.len() as u64 > max {
        return Err(DurableFileError::TooLong { role, max });
    }
    Ok(Some(bytes))
}

/// Overwrites a file with zeros, flushes it, and removes it. A link is not followed, and no pipe is waited for.
///
/// # Errors
/// When any step fails; it may be overwritten then, and still be there.
pub fn discard(path: &Path, role: &'static str) -> Result<(), DurableFileError> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let mut file =
        OpenOptions::new().write(true).custom_flags(flags).open(path).map_err(failed(role, FileAction::Open))?;
    let bytes = file.metadata().map_err(failed(role, FileAction::Read))?.len();
    io::copy(&mut io::repeat(0).take(bytes), &mut file).map_err(failed(role, FileAction::Write))?;
    file.sync_all().map_err(failed(role, FileAction::Sync))?;
    std::fs::remove_file(path).map_err(failed(role, FileAction::Remove))
}

/// Overwrites and removes every file of a directory, and the directory. One that is not there is fine.
///
/// # Errors
/// As [`discard`]; it is asked for again.
pub fn discard_dir(dir: &Path, role: &'static str) -> Result<(), DurableFileError> {
    discard_dir_through(OPEN, dir, role)
}

/// As [`discard_dir`], with a gate around its last flush.
///
/// # Errors
/// As [`discard_dir`].
pub fn discard_dir_through(door: Door<'_>, dir: &Path, role: &'static str) -> Result<(), DurableFileError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(role, FileAction::Read)(error)),
    };
    for entry in entries {
        discard(&entry.map_err(failed(role, FileAction::Read))?.path(), role)?;
    }
    std::fs::remove_dir(dir).map_err(failed(role, FileAction::Remove))?;
    sync_parent(door, dir, role)
}

/// Flushes a directory, so that names made, changed or removed in it survive a power cut.
///
/// # Errors
/// When it cannot be opened or flushed.
pub fn fsync_dir(path: &Path, role: &'static str) -> Result<(), DurableFileError> {
    fsync_dir_through(OPEN, path, role)
}

/// As [`fsync_dir`], with a gate around it.
///
/// # Errors
/// As [`fsync_dir`].
pub fn fsync_dir_through(door: Door<'_>, path: &Path, role: &'static str) -> Result<(), DurableFileError> {
    through(door, || File::open(path).and_then(|dir| dir.sync_all())).map_err(failed(role, FileAction::SyncDirectory))
}

fn sync_parent(door: Door<'_>, path: &Path, role: &'static str) -> Result<(), DurableFileError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fsync_dir_through(door, parent, role),
        Some(_) => fsync_dir_through(door, Path::new("."), role),
        None => Ok(()),
    }
}

/// Returns the path of a file beside another, with this ending more.
#[must_use]
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::flush::failing::{Failing, Fails};

    const ROLE: &str = "test file";

    #[test]
    fn a_replacement_is_whole_private_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(beside(&path, ".tmp"), b"left by a crash, and longer").unwrap();
        for bytes in [b"first".as_slice(), b"second"] {
            replace(&path, bytes, ROLE).unwrap();
            assert_eq!(read_bounded(&path, 100, ROLE).unwrap().unwrap(), bytes);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn files_are_replaced_together_and_nothing_is_left_beside_them() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in [b"first".as_slice(), b"second"] {
            replace_each(dir.path(), &[("one", bytes), ("other", bytes)], ROLE).unwrap();
            for name in ["one", "other"] {
                assert_eq!(std::fs::read(dir.path().join(name)).unwrap(), bytes);
            }
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        // Where one cannot be written, none has become another.
        std::fs::create_dir(dir.path().join("other.tmp")).unwrap();
        assert!(replace_each(dir.path(), &[("one", b"third"), ("other", b"third")], ROLE).is_err());
        assert_eq!(std::fs::read(dir.path().join("one")).unwrap(), b"second");
    }

    #[test]
    fn what_lies_beside_a_file_is_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("file"), dir.path().join("other"));
        std::fs::write(&other, b"somebody's own").unwrap();
        std::os::unix::fs::symlink(&other, beside(&path, ".tmp")).unwrap();
        replace(&path, b"ours", ROLE).unwrap();
        assert_eq!(std::fs::read(&other).unwrap(), b"somebody's own");
        assert_eq!(std::fs::read(&path).unwrap(), b"ours");
    }

    #[test]
    fn a_pipe_or_a_link_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, link, other) = (dir.path().join("pipe"), dir.path().join("link"), dir.path().join("other"));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        std::fs::write(&other, b"somebody's own").unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        assert!(discard(&pipe, ROLE).is_err() && discard(&link, ROLE).is_err());
        let error = read_bounded(&pipe, 100, ROLE).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
        assert_eq!(std::fs::read(&other).unwrap(), b"somebody's own");
    }

    #[test]
    fn a_new_file_never_takes_the_place_of_an_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        create_new(&path, b"first", ROLE).unwrap();
        let error = create_new(&path, b"second", ROLE).unwrap_err();
        assert_eq!(error.io().unwrap().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
    }

    #[test]
    fn what_was_made_and_whose_name_could_not_be_flushed_is_made_and_flushed_again() {
        for fails in [Fails::Before, Fails::After] {
            let dir = tempfile::tempdir().unwrap();
            let gate = Failing::of(Flush::Backup);
            let door: Door<'_> = (gate.as_ref(), Flush::Backup);
            let (private, file) = (dir.path().join("private"), dir.path().join("file"));
            let make: [&dyn Fn() -> bool; 2] = [&|| create_private_dir_through(door, &private, ROLE).is_ok(), &|| {
                open_or_create_through(door, &file, ROLE).is_ok()
            }];
            for make in make {
                gate.arm(&[dir.path().to_owned()], 1, fails);
                assert!(!make(), "{fails:?}");
                assert!(make(), "{fails:?}");
                gate.cut_now();
            }
            assert!(private.is_dir() && file.is_file(), "{fails:?}: it is there after a power cut");
        }
    }

    #[test]
    fn reading_is_bounded_and_absence_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert!(read_bounded(&path, 4, ROLE).unwrap().is_none());
        create_new(&path, b"four", ROLE).unwrap();
        assert_eq!(read_bounded(&path, 4, ROLE).unwrap().unwrap(), b"four");
        assert!(matches!(read_bounded(&path, 3, ROLE), Err(DurableFileError::TooLong { max: 3, .. })));
    }

    #[test]
    fn directories_are_private_and_errors_name_no_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret-name");
        create_private_dir(&path, ROLE).unwrap();
        create_private_dir(&path, ROLE).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let error = create_private_dir(&path.join("absent").join("deeper"), ROLE).unwrap_err();
        assert!(!error.to_string().contains("secret-name"), "{error}");
    }
}

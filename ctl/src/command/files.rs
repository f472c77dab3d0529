//! Files that commands read and write. What is written may hold passwords: mode 0600, never over another file.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use retention_core::batch::{FILE_BYTES_MAX, FILES_MAX};
use retention_core::control::ErrorCode;
use retention_core::id::Digest;
use zeroize::Zeroizing;

use super::refuse;
use crate::exit::Cause;

/// The longest password, in bytes: far above what any server takes.
const PASSWORD_BYTES_MAX: u64 = 4_096;

pub(super) fn unread(path: &Path) -> impl FnOnce(io::Error) -> Cause {
    let path = path.to_owned();
    move |source| Cause::File { path, doing: "read", source }
}

pub(super) fn unwritten(path: &Path) -> impl FnOnce(io::Error) -> Cause {
    let path = path.to_owned();
    move |source| Cause::File { path, doing: "written", source }
}

/// Puts the .csv and .txt files of each directory in its place, in the order of their names. The list of bad rows is
/// none of them.
pub(super) fn expanded(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Cause> {
    let mut all = Vec::new();
    for path in paths {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unread(path))? {
            let entry = entry.map_err(unread(path))?.path();
            let is_batch = entry
                .extension()
                .is_some_and(|ending| ending.eq_ignore_ascii_case("csv") || ending.eq_ignore_ascii_case("txt"));
            if is_batch && entry.is_file() && !entry.ends_with("MigrationErrors.csv") {
                inside.push(entry);
            }
            if all.len() + inside.len() > FILES_MAX {
                return Err(refuse(ErrorCode::TooLarge, format!("more than {FILES_MAX} files")));
            }
        }
        inside.sort();
        if inside.is_empty() {
            let message = format!("{} has no .csv or .txt file", path.display());
            return Err(refuse(ErrorCode::NotFound, message));
        }
        all.extend(inside);
    }
    Ok(all)
}

/// Returns a word as a shell reads it: in single quotes where something in it means more than itself.
pub(super) fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./+,:@%=".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        return text.to_owned();
    }
    // No option, though it begins like one.
    let here = if text.starts_with('-') { "./" } else { "" };
    format!("'{here}{}'", text.replace('\'', r"'\''"))
}

/// Reads a file, and no more of it than a batch may have.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Cause> {
    let file = File::open(path).map_err(unread(path))?;
    let length = usize::try_from(file.metadata().map_err(unread(path))?.len()).unwrap_or(usize::MAX);
    // Room for all of it, so that nothing is left behind in memory where it grew.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.min(FILE_BYTES_MAX) + 2));
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unread(path))?;
    Ok(bytes)
}

/// Reads a file, and no more of it than so many bytes.
pub(super) fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, Cause> {
    let mut bytes = Vec::new();
    File::open(path).map_err(unread(path))?.take(max).read_to_end(&mut bytes).map_err(unread(path))?;
    Ok(bytes)
}

/// Writes a file that must not exist, for its owner alone, durably.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Cause> {
    let mut file = Arriving::at(path)?;
    file.add(bytes)?;
    file.keep()
}

/// A file that is written as it comes: one that must not exist before, for its owner alone, and that goes again unless it
/// becomes whole.
pub(super) struct Arriving<'a> {
    path: &'a Path,
    file: File,
    is_whole: bool,
}

impl<'a> Arriving<'a> {
    pub(super) fn at(path: &'a Path) -> Result<Self, Cause> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path).map_err(unwritten(path))?;
        Ok(Self { path, file, is_whole: false })
    }

    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), Cause> {
        self.file.write_all(bytes).map_err(unwritten(self.path))
    }

    /// Makes it durable, and keeps it.
    pub(super) fn keep(mut self) -> Result<(), Cause> {
        self.file.sync_all().map_err(unwritten(self.path))?;
        self.is_whole = true;
        Ok(())
    }
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        if !self.is_whole {
            // Half a file is nothing that anybody should keep. When that fails too, the first error says more.
            let _ = std::fs::remove_file(self.path);
        }
    }
}

/// Makes a directory for its owner alone, unless it is there.
pub(super) fn make_dir(path: &Path) -> Result<(), Cause> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unwritten(path))
}

/// Says which of the files exists already, before any is written.
pub(super) fn none_exists(paths: &[PathBuf]) -> Result<(), Cause> {
    match paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(unwritten(path)(io::ErrorKind::AlreadyExists.into())),
        None => Ok(()),
    }
}

/// Says before anything is done whether a file with passwords could be destroyed afterwards.
pub(super) fn can_be_destroyed(path: &Path) -> Result<(), Cause> {
    let doing = "overwritten afterwards, so nothing was registered";
    let cannot = |source| Cause::File { path: path.to_owned(), doing, source };
    if std::fs::symlink_metadata(path).map_err(cannot)?.is_symlink() {
        let message = format!("{} is a symbolic link; nothing was registered: name the file itself", path.display());
        return Err(refuse(ErrorCode::BadRequest, message));
    }
    OpenOptions::new().write(true).open(path).map(drop).map_err(cannot)
}

/// Overwrites a file with passwords that still holds what was `registered` of it, durably, and removes it. On a file
/// system that writes elsewhere than in place (btrfs, zfs, SSDs beneath) the old bytes may be left on the device.
pub(super) fn destroy(path: &Path, registered: Digest) -> Result<(), Cause> {
    if std::fs::symlink_metadata(path).map_err(undestroyed(path))?.is_symlink() {
        let message = format!("{} is a symbolic link, so what it leads to still holds the passwords", path.display());
        return Err(refuse(ErrorCode::BadRequest, message));
    }
    if Digest::of(&read(path)?) != registered {
        let name = path.display();
        let message = format!("what {name} held is registered; it holds something else by now, and was left as it is");
        return Err(refuse(ErrorCode::WrongState, message));
    }
    let mut file = OpenOptions::new().write(true).open(path).map_err(undestroyed(path))?;
    let mut left = file.metadata().map_err(undestroyed(path))?.len();
    let zeros = [0_u8; 8_192];
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(zeros.len()).min(zeros.len());
        file.write_all(zeros.get(..part).unwrap_or_default()).map_err(undestroyed(path))?;
        left -= part as u64;
    }
    file.sync_all().map_err(undestroyed(path))?;
    std::fs::remove_file(path).map_err(undestroyed(path))
}

fn undestroyed(path: &Path) -> impl FnOnce(io::Error) -> Cause {
    let path = path.to_owned();
    move |source| Cause::File { path, doing: "destroyed, and still holds the passwords", source }
}

/// Reads a password from a file that nobody else can read, or asks for it.
pub(super) fn password(file: Option<&Path>, prompt: &str) -> Result<Zeroizing<String>, Cause> {
    let Some(path) = file else {
        if !io::stdin().is_terminal() {
            let message = "there is no terminal to ask for the password; name a file with --password-file";
            return Err(refuse(ErrorCode::BadRequest, message));
        }
        return rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(Cause::Start);
    };
    let opened = File::open(path).map_err(unread(path))?;
    let metadata = opened.metadata().map_err(unread(path))?;
    if metadata.mode() & 0o077 != 0 {
        let message = format!("{} can be read by others, so its password is not used", path.display());
        return Err(refuse(ErrorCode::BadRequest, message));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(PASSWORD_BYTES_MAX).unwrap_or_default() + 2));
    opened.take(PASSWORD_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unread(path))?;
    // One line end is the editor's; everything else is the password's.
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    match std::str::from_utf8(text) {
        Ok(text) if text.len() as u64 <= PASSWORD_BYTES_MAX => Ok(Zeroizing::new(text.to_owned())),
        Ok(_) | Err(_) => {
            Err(refuse(ErrorCode::BadRequest, format!("{} holds no password of UTF-8 text", path.display())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_was_written_anew_since_it_was_registered_is_not_destroyed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("wave.csv");
        std::fs::write(&path, "the next wave").expect("a file");
        assert!(destroy(&path, Digest::of(b"this wave")).is_err());
        assert_eq!(std::fs::read(&path).expect("a file"), b"the next wave");
        assert!(destroy(&path, Digest::of(b"the next wave")).is_ok() && !path.exists());
    }

    #[test]
    fn a_suggested_command_names_a_file_as_a_shell_reads_it() {
        for plain in ["users.csv", "/srv/waves/a-1.csv", "žena.csv", "a@b=c,d:e%+.csv"] {
            assert_eq!(shell_word(plain), plain);
        }
        let odd = [
            ("my users.csv", "'my users.csv'"),
            ("", "''"),
            ("a'b;c$d", r"'a'\''b;c$d'"),
            ("~/x", "'~/x'"),
            ("-x.csv", "'./-x.csv'"),
        ];
        for (text, word) in odd {
            assert_eq!(shell_word(text), word);
        }
    }
}

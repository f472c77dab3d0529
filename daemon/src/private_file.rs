//! Files that hold secrets: the root key, passwords of mail servers. One that anybody else could read is refused.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// The superuser, and its group.
const ROOT: u32 = 0;

/// A secret could not be read. No message holds any of its bytes.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// The file is not there.
    #[error("the file is not there")]
    Absent,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[source] io::Error),
    /// It is a directory, a pipe or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// Others may read it.
    #[error(
        "it has mode {mode:04o}; it must be 0400 or 0600: run `chmod 600` on it, and consider whether others have read it"
    )]
    Mode {
        /// The permission bits.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("it belongs to uid {owner}; it must belong to the daemon's user or to root")]
    Owner {
        /// Its owner.
        owner: u32,
    },
    /// It is longer than any such secret.
    #[error("it is longer than {max} bytes")]
    TooLong {
        /// The most that is read.
        max: usize,
    },
}

/// Reads a whole file that nobody else can read: a systemd credential, or a file 0400 or 0600 of ours or of root.
///
/// One more mode is taken: 0440 owned by `root:root`, which is how a systemd credential looks to a service with a user
/// of its own. There the group bits are the mask of an access list that names that user; where they are not, they only
/// let root's own group in.
///
/// # Errors
/// Names what is wrong with the file.
pub fn read(path: &Path, max: usize) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
    // Without waiting for the other end of a pipe, should somebody have put one there.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut file =
        OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => PrivateFileError::Absent,
            _ => PrivateFileError::Read(error),
        })?;
    let metadata = file.metadata().map_err(PrivateFileError::Read)?;
    if !metadata.is_file() {
        return Err(PrivateFileError::NotAFile);
    }
    let mode = metadata.mode() & 0o7777;
    let credential_of_systemd = mode == 0o440 && metadata.uid() == ROOT && metadata.gid() == ROOT;
    if !matches!(mode, 0o400 | 0o600) && !credential_of_systemd {
        return Err(PrivateFileError::Mode { mode });
    }
    let owner = metadata.uid();
    if owner != ROOT && owner != rustix::process::geteuid().as_raw() {
        return Err(PrivateFileError::Owner { owner });
    }
    // One buffer of full size: one that grows would leave copies behind.
    let mut bytes = Zeroizing::new(vec![0; max + 1]);
    let mut len = 0;
    while let Some(rest) = bytes.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read(rest).map_err(PrivateFileError::Read)? {
            0 => break,
            read => len += read,
        }
    }
    if len > max {
        return Err(PrivateFileError::TooLong { max });
    }
    bytes.truncate(len);
    Ok(bytes)
}

//! The listening socket: passed by systemd, or made here with its mode set before it listens.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Who may connect to a socket that is made here and is given a group: owner and group. The role decides what they may
/// do.
const GROUP_MODE: u32 = 0o660;

/// Who may connect to a socket that is given no group: the owner alone.
const OWNER_MODE: u32 = 0o600;

/// The mode of a directory that has to be made for the socket.
const DIRECTORY_MODE: u32 = 0o750;

/// Connections that may wait to be accepted. More than [`CONNECTIONS_MAX`](super::server::CONNECTIONS_MAX), so that
/// a burst waits in the kernel instead of being refused.
const BACKLOG: i32 = 256;

/// The socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers there.
    #[error(
        "another daemon answers on the control socket {path:?}; nothing was changed. Stop it, or name another socket in `[control]`"
    )]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else lies there.
    #[error("{path:?} is not a socket; it was left alone. Move it away, or name another socket in `[control]`")]
    NotASocket {
        /// What lies there.
        path: PathBuf,
    },
    /// Everybody may put files beside it.
    #[error(
        "everybody may write to {path:?}, so the control socket there could be replaced; use a directory of mode 0750"
    )]
    OpenDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// Somebody else may put files beside it.
    #[error(
        "{path:?} belongs to uid {owner}, who could replace the control socket there; use a directory of the daemon's user or of root"
    )]
    ForeignDirectory {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// systemd passed something else.
    #[error("systemd passed no Unix stream socket ({0}); look at ListenStream= in retentiond.socket")]
    Activation(#[source] io::Error),
    /// The system refused.
    #[error("the control socket {path:?} could not be made: it {step}: {source}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What did not work.
        step: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// A socket that listens.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    /// The file to take away at the end, with its inode; none when systemd owns it.
    made: Option<(PathBuf, u64)>,
}

impl ControlSocket {
    /// Takes the socket that systemd passes, or else makes one at `path`, for the owner and the group of this number.
    ///
    /// # Errors
    /// Says why there is none. A socket on which somebody answers is never replaced.
    pub fn open(path: &Path, group: Option<u32>) -> Result<Self, SocketError> {
        match listenfd::ListenFd::from_env().take_unix_listener(0) {
            Ok(Some(listener)) if listens(&listener) => Self { listener, made: None }.non_blocking(path),
            Ok(Some(_)) => Err(SocketError::Activation(io::Error::other(
                "it does not listen: a socket unit must not have Accept=yes",
            ))),
            Ok(None) => Self::bind(path, group),
            Err(error) => Err(SocketError::Activation(error)),
        }
    }

    /// Makes a socket at `path`.
    ///
    /// **Order:** it is bound under another name, gets its mode, listens, and only then appears under its name, so
    /// nobody can ever connect to it with other rights, nor find it without somebody who answers.
    ///
    /// # Errors
    /// As [`ControlSocket::open`].
    pub fn bind(path: &Path, group: Option<u32>) -> Result<Self, SocketError> {
        let failed = |step| move |source| SocketError::Io { path: path.to_owned(), step, source };
        prepare_directory(path)?;
        refuse_if_taken(path)?;
        let new = beside(path);
        remove_if_there(&new)
            .map_err(failed("cannot be placed, because a leftover of an earlier start cannot be removed"))?;
        let fd = bind_only(&new).map_err(|errno| failed("cannot be bound")(errno.into()))?;
        if let Some(gid) = group {
            rustix::fs::chown(&new, None, Some(rustix::fs::Gid::from_raw(gid)))
                .map_err(|errno| failed("cannot be given to its group")(errno.into()))?;
        }
        let mode = if group.is_some() { GROUP_MODE } else { OWNER_MODE };
        rustix::fs::chmod(&new, Mode::from_raw_mode(mode))
            .map_err(|errno| failed("cannot get its mode")(errno.into()))?;
        rustix::net::listen(&fd, BACKLOG).map_err(|errno| failed("cannot listen")(errno.into()))?;
        let inode = std::fs::symlink_metadata(&new).map_err(failed("cannot be looked at"))?.ino();
        std::fs::rename(&new, path).map_err(failed("cannot get its name"))?;
        Self { listener: UnixListener::from(fd), made: Some((path.to_owned(), inode)) }.non_blocking(path)
    }

    /// Returns the listener; the socket file stays until `self` is dropped.
    ///
    /// # Errors
    /// When the descriptor cannot be copied.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }

    fn non_blocking(self, path: &Path) -> Result<Self, SocketError> {
        match self.listener.set_nonblocking(true) {
            Ok(()) => Ok(self),
            Err(source) => Err(SocketError::Io { path: path.to_owned(), step: "cannot be made non-blocking", source }),
        }
    }
}

impl Drop for ControlSocket {
    /// Takes the file away, unless another daemon has put its own there meanwhile.
    fn drop(&mut self) {
        if let Some((path, inode)) = &self.made
            && std::fs::symlink_metadata(path).is_ok_and(|found| found.ino() == *inode)
        {
            // A file that stays is replaced at the next start, because nobody answers on it.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Says whether a socket listens. One that systemd has accepted already is a connection, on which nobody else ever comes.
fn listens(listener: &UnixListener) -> bool {
    rustix::net::sockopt::socket_acceptconn(listener).unwrap_or(true)
}

fn bind_only(path: &Path) -> rustix::io::Result<OwnedFd> {
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&fd, &SocketAddrUnix::new(path)?)?;
    Ok(fd)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn prepare_directory(path: &Path) -> Result<(), SocketError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let failed = |source| SocketError::Io { path: path.to_owned(), step: "has no directory", source };
    std::fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory).map_err(failed)?;
    let metadata = std::fs::metadata(directory).map_err(failed)?;
    let (mode, owner) = (metadata.mode(), metadata.uid());
    let (for_all, sticky) = (mode & 0o002 != 0, mode & 0o1000 != 0);
    if for_all && !sticky {
        return Err(SocketError::OpenDirectory { path: directory.to_owned() });
    }
    let is_ours = [rustix::process::Uid::ROOT, rustix::process::geteuid()].iter().any(|uid| uid.as_raw() == owner);
    if is_ours { Ok(()) } else { Err(SocketError::ForeignDirectory { path: directory.to_owned(), owner }) }
}

fn refuse_if_taken(path: &Path) -> Result<(), SocketError> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(SocketError::Io { path: path.to_owned(), step: "cannot be looked at", source }),
    };
    if !found.file_type().is_socket() {
        return Err(SocketError::NotASocket { path: path.to_owned() });
    }
    match UnixStream::connect(path) {
        // Only a refusal proves that nobody listens: a full backlog or a lack of rights does not.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(_) | Err(_) => Err(SocketError::InUse { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_bound_socket_refuses_until_it_has_its_mode_and_listens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("early.sock");
        let fd = bind_only(&path).unwrap();
        let refused = UnixStream::connect(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        drop(fd);
    }

    #[test]
    fn the_shipped_service_leaves_the_directory_of_the_socket_to_the_unit_that_makes_it() {
        let unit = include_str!("../../../systemd/retentiond.service");
        assert!(!unit.lines().any(|line| line.starts_with("RuntimeDirectory=")));
    }

    #[test]
    fn whoever_waits_at_the_shipped_socket_does_not_start_what_fails_without_an_end() {
        let service = include_str!("../../../systemd/retentiond.service");
        let socket = include_str!("../../../systemd/retentiond.socket");
        // Without a limit of its own, the service has that of the socket alone.
        assert!(service.lines().any(|line| line == "StartLimitIntervalSec=0"));
        assert!(socket.lines().any(|line| line == "TriggerLimitBurst=5"));
    }

    #[test]
    fn a_connection_is_not_taken_for_a_socket_that_listens() {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixListener::bind(dir.path().join("one.sock")).unwrap();
        assert!(listens(&socket));
        let (connection, _other) = UnixStream::pair().unwrap();
        assert!(!listens(&UnixListener::from(OwnedFd::from(connection))));
    }

    #[test]
    fn the_socket_appears_with_its_mode_and_goes_away_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new-directory/control.sock");
        let socket = ControlSocket::bind(&path, None).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, OWNER_MODE);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o027, 0);
        UnixStream::connect(&path).unwrap();
        assert!(!beside(&path).exists());
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_on_which_somebody_answers_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let _first = ControlSocket::bind(&path, None).unwrap();
        assert!(matches!(ControlSocket::bind(&path, None), Err(SocketError::InUse { .. })));
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_stale_socket_is_replaced_and_anything_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        drop(UnixListener::bind(&path).unwrap());
        drop(ControlSocket::bind(&path, None).unwrap());
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(ControlSocket::bind(&path, None), Err(SocketError::NotASocket { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_directory_that_everybody_may_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let refused = ControlSocket::bind(&dir.path().join("control.sock"), None);
        assert!(matches!(refused, Err(SocketError::OpenDirectory { .. })));
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        const OTHER: u32 = 4_242;
        if !rustix::process::geteuid().is_root() {
            println!("only root can give a directory to somebody else: nothing was tested");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(OTHER), None).unwrap();
        let refused = ControlSocket::bind(&dir.path().join("control.sock"), None);
        assert!(matches!(refused, Err(SocketError::ForeignDirectory { owner: OTHER, .. })), "{refused:?}");
    }

    #[test]
    fn an_owner_leaves_the_socket_of_its_successor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let first = ControlSocket::bind(&path, None).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _second = ControlSocket::bind(&path, None).unwrap();
        drop(first);
        UnixStream::connect(&path).unwrap();
    }
}

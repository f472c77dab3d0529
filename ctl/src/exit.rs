//! What went wrong, as people read it, and as the exit code tells it.

use std::io;
use std::path::PathBuf;

use retention_core::control::{ErrorBody, ErrorCode, ExitCode};

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    /// The daemon says so.
    #[error("{0}")]
    Answer(ErrorBody),
    /// Nobody answers on the socket.
    #[error("the daemon cannot be reached at {}", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The answer broke off.
    #[error("the daemon's answer broke off; what it had begun goes on if it can")]
    Cut,
    /// The answer is not what this program understands.
    #[error("the daemon's answer cannot be read; are the daemon and this program of the same version?")]
    Unreadable,
    /// A file of the caller.
    #[error("{} cannot be {doing}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// `read` or `written`.
        doing: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Standard output.
    #[error("the answer cannot be written")]
    Output(#[source] io::Error),
    /// The program itself cannot start its work.
    #[error("the program cannot start its work")]
    Start(#[source] io::Error),
}

impl Cause {
    /// Returns the code, as if the daemon had answered with it.
    fn code(&self) -> ErrorCode {
        match self {
            Self::Answer(body) => body.code,
            Self::Unreachable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                ErrorCode::NotPermitted
            }
            Self::Unreachable { .. } | Self::Cut => ErrorCode::Unreachable,
            Self::File { .. } => ErrorCode::BadRequest,
            Self::Unreadable | Self::Output(_) | Self::Start(_) => ErrorCode::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Answer(body) => body.hint.clone(),
            Self::Unreachable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("you need to be in the group of the socket".to_owned())
            }
            Self::Unreachable { .. } => {
                Some("is it running? systemctl status retentiond; or name it with --socket".to_owned())
            }
            Self::Cut => Some("retentionctl status".to_owned()),
            Self::Unreadable => Some("retentionctl --version, retentiond --version".to_owned()),
            Self::File { .. } | Self::Output(_) | Self::Start(_) => None,
        }
    }
}

/// A command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What it was about to do, after "failed to".
    pub(crate) doing: &'static str,
    /// Why it did not.
    pub(crate) cause: Cause,
}

/// Adds what was being done to a cause.
pub(crate) trait Doing<T> {
    /// Names what was being done, after "failed to".
    fn doing(self, doing: &'static str) -> Result<T, Failure>;
}

impl<T> Doing<T> for Result<T, Cause> {
    fn doing(self, doing: &'static str) -> Result<T, Failure> {
        self.map_err(|cause| Failure { doing, cause })
    }
}

impl Failure {
    /// Returns the exit code. A reader that closed the pipe had enough: that is no failure.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match &self.cause {
            Cause::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::Done,
            cause => ExitCode::from(cause.code()),
        }
    }

    /// Returns the message, line by line; none when nobody reads any more.
    pub(crate) fn message(&self) -> String {
        if self.exit_code() == ExitCode::Done {
            return String::new();
        }
        let mut text = format!("error: failed to {}: {}\n", self.doing, self.cause);
        let mut source = std::error::Error::source(&self.cause);
        while let Some(cause) = source {
            text.push_str(&format!("  caused by: {cause}\n"));
            source = cause.source();
        }
        if let Some(hint) = self.cause.hint() {
            text.push_str(&format!("hint: {hint}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_what_failed_why_and_what_to_do() {
        let body = ErrorBody::saying(ErrorCode::NotFound, "there is no plan P7").hint("retentionctl plan list");
        let failure = Failure { doing: "show the plan", cause: Cause::Answer(body) };
        assert_eq!(
            failure.message(),
            "error: failed to show the plan: there is no plan P7\nhint: retentionctl plan list\n"
        );
        assert_eq!(failure.exit_code(), ExitCode::Usage);
    }

    #[test]
    fn a_closed_pipe_is_quiet() {
        let cause = Cause::Output(io::ErrorKind::BrokenPipe.into());
        let failure = Failure { doing: "list", cause };
        assert_eq!((failure.message().as_str(), failure.exit_code()), ("", ExitCode::Done));
    }

    #[test]
    fn a_socket_that_may_not_be_opened_is_not_the_same_as_no_daemon() {
        let at = |kind: io::ErrorKind| Failure {
            doing: "ask",
            cause: Cause::Unreachable { socket: "/x".into(), source: kind.into() },
        };
        assert_eq!(at(io::ErrorKind::PermissionDenied).exit_code(), ExitCode::NotPermitted);
        assert_eq!(at(io::ErrorKind::NotFound).exit_code(), ExitCode::Unreachable);
    }
}

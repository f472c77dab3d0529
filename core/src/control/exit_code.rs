//! The exit codes of both programs: public, and never changed.

use super::ErrorCode;

/// How a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Done = 0,
    /// Something unexpected.
    Unexpected = 1,
    /// The command line or the request is wrong, names something that does not exist, or asks for what cannot be done.
    Usage = 2,
    /// Nothing is due. Only with `--exit-code`.
    NothingDue = 4,
    /// The plan is stale: make a new one.
    PlanStale = 5,
    /// What was asked for was purged. That is the answer, and no failure.
    Gone = 6,
    /// A person is needed.
    PersonNeeded = 10,
    /// A verification failed.
    VerificationFailed = 20,
    /// The daemon cannot be reached.
    Unreachable = 69,
    /// Not permitted.
    NotPermitted = 77,
    /// The configuration, a policy or a migration batch is invalid.
    Invalid = 78,
}

impl ExitCode {
    /// All codes, ascending.
    pub const ALL: [Self; 11] = [
        Self::Done,
        Self::Unexpected,
        Self::Usage,
        Self::NothingDue,
        Self::PlanStale,
        Self::Gone,
        Self::PersonNeeded,
        Self::VerificationFailed,
        Self::Unreachable,
        Self::NotPermitted,
        Self::Invalid,
    ];

    /// Returns the number that the operating system sees.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Returns what it means, as a fragment for a table.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unexpected => "something unexpected",
            Self::Usage => "wrong command line, no such thing, or it cannot be done",
            Self::NothingDue => "nothing is due (only with --exit-code)",
            Self::PlanStale => "the plan is stale: make a new one",
            Self::Gone => "what was asked for was purged",
            Self::PersonNeeded => "a person is needed",
            Self::VerificationFailed => "a verification failed",
            Self::Unreachable => "the daemon cannot be reached",
            Self::NotPermitted => "not permitted",
            Self::Invalid => "the configuration, a policy or a migration batch is invalid",
        }
    }
}

impl From<ErrorCode> for ExitCode {
    /// The only place where an error becomes an exit code.
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::BadRequest
            | ErrorCode::NotFound
            | ErrorCode::WrongState
            | ErrorCode::PlanRefused
            | ErrorCode::TooLarge => Self::Usage,
            ErrorCode::NotPermitted | ErrorCode::OwnRequest => Self::NotPermitted,
            ErrorCode::DigestMismatch | ErrorCode::PlanStale => Self::PlanStale,
            ErrorCode::ApprovalNeeded | ErrorCode::PersonNeeded | ErrorCode::StoreReadOnly => Self::PersonNeeded,
            ErrorCode::VerificationFailed => Self::VerificationFailed,
            ErrorCode::PolicyInvalid | ErrorCode::ConfigInvalid => Self::Invalid,
            ErrorCode::Stopping | ErrorCode::Busy | ErrorCode::Unreachable => Self::Unreachable,
            ErrorCode::Gone => Self::Gone,
            ErrorCode::UnknownOperation | ErrorCode::Internal | ErrorCode::TimedOut | ErrorCode::Unknown => {
                Self::Unexpected
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_published_ones() {
        assert_eq!(ExitCode::ALL.map(ExitCode::number), [0, 1, 2, 4, 5, 6, 10, 20, 69, 77, 78]);
    }

    #[test]
    fn only_what_nobody_refused_is_unexpected() {
        let unexpected = ErrorCode::ALL.iter().filter(|code| ExitCode::from(**code) == ExitCode::Unexpected);
        let expected = [ErrorCode::UnknownOperation, ErrorCode::Internal, ErrorCode::TimedOut, ErrorCode::Unknown];
        assert!(unexpected.eq(&expected));
        assert_eq!(ExitCode::from(ErrorCode::PlanRefused), ExitCode::Usage);
    }

    #[test]
    fn no_error_looks_like_success() {
        for &code in ErrorCode::ALL {
            assert!(!matches!(ExitCode::from(code), ExitCode::Done | ExitCode::NothingDue), "{code}");
        }
    }
}

//! Every exit code of the daemon. They are public: units and scripts rely on them.

use std::process::ExitCode;

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// What was asked is done.
    Done,
    /// Something that nobody foresaw.
    Unexpected,
    /// The command line is wrong.
    Usage,
    /// A person is needed: a damaged or read-only store, a stuck saga.
    PersonNeeded,
    /// A verification failed.
    VerificationFailed,
    /// Not permitted: another daemon holds the store, or files are not ours to read.
    NotPermitted,
    /// The configuration or a policy is invalid.
    Invalid,
}

impl Exit {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 7] = [
        Self::Done,
        Self::Unexpected,
        Self::Usage,
        Self::PersonNeeded,
        Self::VerificationFailed,
        Self::NotPermitted,
        Self::Invalid,
    ];

    /// Returns the number that the parent process sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::PersonNeeded => 10,
            Self::VerificationFailed => 20,
            Self::NotPermitted => 77,
            Self::Invalid => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

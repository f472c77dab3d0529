//! Every error that the control API answers with. The codes are public and never change their meaning.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! error_codes {
    ($(#[doc = $sentence:literal] $name:ident $code:literal $status:literal;)*) => {
        /// What kind of error it is: stable, safe to show, and enough for a program to decide.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(into = "String", from = "String")]
        #[schema(rename_all = "snake_case")]
        pub enum ErrorCode {
            $(#[doc = $sentence] $name,)*
        }

        impl ErrorCode {
            /// All codes.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the name on the wire.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// Returns the HTTP status that goes with it.
            #[must_use]
            pub fn http_status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Returns the one sentence that says what it means.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence.trim_ascii(),)* }
            }
        }
    };
}

error_codes! {
    /// The request is not written as the API describes it.
    BadRequest "bad_request" 400;
    /// The caller lacks the role that the operation needs.
    NotPermitted "not_permitted" 403;
    /// Who requested a plan may not approve it.
    OwnRequest "own_request" 403;
    /// Nothing has that name.
    NotFound "not_found" 404;
    /// The daemon does not know the operation; it may be older than the program that asks.
    UnknownOperation "unknown_operation" 404;
    /// It was purged; only when, by which run and under which policy is known.
    Gone "gone" 410;
    /// It is not in a state in which that can be done.
    WrongState "wrong_state" 409;
    /// The digest is not the plan's: something else was looked at than what would be accepted.
    DigestMismatch "digest_mismatch" 409;
    /// The facts have changed since the plan was frozen; make a new one.
    PlanStale "plan_stale" 409;
    /// A plan could not be made.
    PlanRefused "plan_refused" 409;
    /// A person must approve first.
    ApprovalNeeded "approval_needed" 409;
    /// A run or the daemon needs a person before it goes on.
    PersonNeeded "person_needed" 409;
    /// What was read back is not what was written.
    VerificationFailed "verification_failed" 409;
    /// The request is larger than the daemon takes.
    TooLarge "too_large" 413;
    /// The daemon serves as many of these at once as it may; ask again when one has ended.
    Busy "busy" 429;
    /// A policy is wrong; the last good set stays active.
    PolicyInvalid "policy_invalid" 422;
    /// The configuration is wrong; the last good one stays active.
    ConfigInvalid "config_invalid" 422;
    /// Something inside the daemon went wrong; its diagnostics say more.
    Internal "internal" 500;
    /// The store is damaged or could not be written, and is read-only until a person has looked.
    StoreReadOnly "store_read_only" 503;
    /// The daemon is stopping; ask again when it is back.
    Stopping "stopping" 503;
    /// The answer took too long; what was asked for goes on in the daemon.
    TimedOut "timed_out" 504;
    /// The daemon cannot be reached.
    Unreachable "unreachable" 503;
    /// A code that this program does not know: the daemon is newer.
    Unknown "unknown" 500;
}

impl ErrorCode {
    /// Returns the code of a name; what is not known is [`ErrorCode::Unknown`], so that an older tool can still show
    /// the message of a newer daemon.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        Self::ALL.iter().copied().find(|code| code.name() == name).unwrap_or(Self::Unknown)
    }
}

impl From<String> for ErrorCode {
    fn from(name: String) -> Self {
        Self::from_name(&name)
    }
}

impl From<ErrorCode> for String {
    fn from(code: ErrorCode) -> Self {
        code.name().to_owned()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_says_one_sentence() {
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_name(code.name()), code);
            assert!(code.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
            assert!(code.sentence().ends_with('.') && code.sentence().len() > 10, "{code}");
            assert!((400..600).contains(&code.http_status()), "{code}");
        }
        assert_eq!(ErrorCode::from_name("of a later day"), ErrorCode::Unknown);
    }
}

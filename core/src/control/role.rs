//! What a person may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A role of the control API.
///
/// Every role may read; beyond that no role contains another, so that duties stay apart: who plans a purge does not
/// approve it by being an administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads everything, personal data included; each such reading is an event.
    Auditor,
    /// Plans, runs, places holds and takes back out of quarantine.
    Operator,
    /// Approves and rejects plans that somebody else requested.
    Approver,
    /// Verifies and rebuilds the store.
    Admin,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Auditor, Self::Operator, Self::Approver, Self::Admin];

    /// Returns the name used in the configuration and on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }

    /// Says whether a person with this role may do what needs another.
    #[must_use]
    pub fn covers(self, needed: Self) -> bool {
        self == needed || needed == Self::Auditor
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word is not the name of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a role: expected auditor, operator, approver or admin")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or(UnknownRole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_reads_and_none_contains_another() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
            for needed in Role::ALL {
                assert_eq!(role.covers(needed), role == needed || needed == Role::Auditor);
            }
        }
    }
}

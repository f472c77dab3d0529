//! What concerns the daemon itself, and who read what.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use std::fmt;

use bincode::{Decode, Encode};

use crate::id::Digest;
use crate::time::Timestamp;

/// Schema 1. Sealed bodies were opened for a person.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RecordsOpened {
    /// Which operation of the control API.
    pub operation: String,
    /// How many entities were shown.
    pub entities: u64,
}

/// Schema 1. The store was made.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StoreInitialised {
    /// The random name of this store: 16 bytes.
    pub store: [u8; 16],
    /// The program's version.
    pub program: String,
}

/// Schema 1. The daemon started.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DaemonStarted {
    /// The program's version.
    pub program: String,
    /// SHA-256 of its configuration.
    pub config: Digest,
    /// Whether the last stop was in good order.
    pub after_clean_stop: bool,
    /// Bytes of a torn tail that were cut; they were never acknowledged.
    pub cut_bytes: u64,
}

/// Schema 1. These users, and no others, have these roles: in force behind the event where the configuration changed, and for
/// a few seconds already where the accounts of the machine did. Numbers alone, as the actors of events are: which person
/// has which is for those accounts to say.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RolesDeclared {
    /// SHA-256 of the configuration from which they follow.
    pub config: Digest,
    /// Who reads.
    pub auditor: RoleHolders,
    /// Who plans, runs and grants.
    pub operator: RoleHolders,
    /// Who approves.
    pub approver: RoleHolders,
    /// Who changes stores and keys.
    pub admin: RoleHolders,
}

/// Who has a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct RoleHolders {
    /// The ids of the users whom the configuration names or a group that it names has, ascending, each once.
    pub users: Vec<u32>,
    /// The ids of such groups, ascending, each once: whoever comes with one as primary group has the role as well.
    pub groups: Vec<u32>,
    /// How many more users and groups there are than are listed.
    pub more: u64,
}

impl fmt::Display for RoleHolders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let users = self.users.iter().map(|uid| format!("uid:{uid}"));
        let groups = self.groups.iter().map(|gid| format!("gid:{gid}"));
        let more = (self.more > 0).then(|| format!("+{}", self.more));
        let told: Vec<String> = users.chain(groups).chain(more).collect();
        f.write_str(if told.is_empty() { "nobody".to_owned() } else { told.join(",") }.as_str())
    }
}

/// Schema 1. The daemon stopped in good order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DaemonStopped {}

/// Schema 1. The wall clock and the machine's own clock disagree.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ClockJumped {
    /// What was expected.
    pub expected_at: Timestamp,
    /// What the clock says.
    pub seen_at: Timestamp,
}

/// Schema 1. Sled was made again from the journal.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StoreRebuilt {
    /// How many events were folded.
    pub events: u64,
    /// A stable code of why.
    pub code: String,
}

/// Schema 1. The journal was written anew without the bodies whose keys are destroyed, and the wrapping keys were
/// rotated.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StoreCompacted {
    /// How many segments were written anew.
    pub segments: u64,
    /// How many bodies were removed.
    pub bodies: u64,
    /// How much smaller the journal is, in bytes.
    pub bytes: u64,
}

/// Schema 1. The envelope's entity is a month of the log: its key seals what people write from then on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MonthBegun {
    /// The first instant of the month (UTC).
    pub begins_at: Timestamp,
    /// The first instant of the next.
    pub ends_at: Timestamp,
}

/// Schema 1. From here on checkpoints are signed with this key. Proofs from before are checked with the key before it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SigningKeyAdopted {
    /// The verifier key, as C2SP signed-note writes it; its name is that of the log.
    pub verifier_key: String,
}

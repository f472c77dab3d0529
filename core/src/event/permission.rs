//! Who may do what in the registered mailboxes, as their servers said.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::change::ScanEnd;
use crate::id::Handle;
use crate::mailbox::Rights;

/// Whose entry in the permissions of a folder it is. The numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// The user whose mailbox it is.
    Owner,
    /// Whoever logs in for the daemon.
    Admin,
    /// A group, everybody, or rights that are taken from somebody.
    Group,
    /// One person or program.
    Person,
}

/// One entry in the permissions of one folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct ObservedPermission {
    /// The path of the folder.
    pub folder: String,
    /// Who: the identifier as the server writes it.
    pub identifier: String,
    /// The keyed digest of the identifier: equal for the same principal.
    pub principal: Handle,
    /// Whose entry that is.
    pub holder: Holder,
    /// What it may do there.
    pub rights: Rights,
}

impl std::fmt::Debug for ObservedPermission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ObservedPermission({:?}, {})", self.holder, self.rights)
    }
}

/// The most entries in one event: with names of 1,000 bytes still far below what a body may have.
pub const PERMISSIONS_PER_EVENT: usize = 1_000;

/// Schema 1. A part of what was read, sealed with the key of the mailbox. All parts of an observation stand right
/// before the `PermissionsScanned` that they belong to. An observation that differs in nothing from the one before has
/// none.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PermissionObserved {
    /// The entries, in the order of their folders and identifiers.
    pub entries: Vec<ObservedPermission>,
}

/// Schema 1. Somebody asked that the permissions of the mailbox in the envelope be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PermissionScanRequested {}

/// Schema 1. The permissions of the mailbox in the envelope were looked at.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PermissionsScanned {
    /// How it ended.
    pub end: ScanEnd,
    /// A stable code of the failure; empty when there was none.
    pub code: String,
    /// A keyed digest of all entries: equal exactly when nothing changed.
    pub digest: u64,
    /// In how many events right before this one they stand; none when nothing changed.
    pub parts: u32,
    /// How many entries there are.
    pub entries: u64,
    /// How many persons have FullAccess on some folder.
    pub full_access: u64,
}

//! Registered mailboxes, and access to them that is given for a time. Addresses and identifiers are personal data.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ApprovalRow, Severity};
use crate::control::ActorName;
use crate::event::grant::{GrantEnd, GrantPurpose, GrantReceipt};
use crate::event::permission::Holder;
use crate::id::{Digest, EntityId, GrantId, MigrationId};
use crate::time::Timestamp;
use crate::view::GrantState;

/// One registered mailbox. It names a person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MailboxRow {
    /// Its number.
    pub mailbox: EntityId,
    /// The name of its server in the configuration.
    pub server: String,
    /// The address; `None` when its record cannot be opened any more.
    pub address: Option<String>,
    /// The user, where the server names it otherwise than by the address.
    pub user: Option<String>,
    /// The folder of the mailbox in the admin's tree, where one logs in as `user-root`.
    pub root: Option<String>,
    /// Whether it has a credential of its own; nobody is given it.
    pub has_credential: bool,
    /// Who registered it last.
    pub registered_by: ActorName,
    /// When.
    pub registered_at: Timestamp,
    /// When all of it was last read.
    pub scanned_at: Option<Timestamp>,
    /// How many messages it had then.
    pub messages: Option<u64>,
    /// Why the newest look at it failed, or left messages out.
    pub failed: Option<String>,
    /// When its permissions were last read.
    pub permissions_at: Option<Timestamp>,
    /// How many persons have FullAccess on some folder, those of grants included.
    pub full_access: Option<u64>,
    /// Why the newest look at its permissions failed.
    pub permissions_failed: Option<String>,
}

impl std::fmt::Debug for MailboxRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailboxRow")
            .field("mailbox", &self.mailbox)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// The mailboxes that a request registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MailboxesAdded {
    /// Their numbers, in the order of the request.
    pub mailboxes: Vec<EntityId>,
}

/// One thing that was tried in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MailboxFinding {
    /// What was tried: `login`, `owner`, `folders`, `expunge`, `access`, `changes`.
    pub check: String,
    /// How bad it is.
    pub severity: Severity,
    /// A stable code.
    pub code: String,
    /// What was found.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// One entry in the permissions of one folder. It names a person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PermissionRow {
    /// The path of the folder.
    pub folder: String,
    /// Who, as the server writes it.
    pub identifier: String,
    /// Whose entry that is.
    pub holder: Holder,
    /// What it may do there, in the letters of RFC 4314.
    pub rights: String,
    /// Whether that is FullAccess.
    pub full_access: bool,
    /// The grant that explains it; `None` for what stands there without one.
    pub grant: Option<GrantId>,
    /// When it was seen.
    pub seen_at: Timestamp,
}

impl std::fmt::Debug for PermissionRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PermissionRow")
            .field("holder", &self.holder)
            .field("rights", &self.rights)
            .finish_non_exhaustive()
    }
}

/// What was asked of the registered mailboxes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reconciling {
    /// How many mailboxes are looked at.
    pub mailboxes: u64,
}

/// One grant, without names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantRow {
    /// Its number.
    pub grant: GrantId,
    /// The mailbox.
    pub mailbox: EntityId,
    /// Where it stands.
    pub state: GrantState,
    /// What it is for.
    pub purpose: GrantPurpose,
    /// The policy that allows it.
    pub policy: String,
    /// Who asked.
    pub requested_by: ActorName,
    /// When.
    pub requested_at: Timestamp,
    /// How many different persons must accept it.
    pub approvals_needed: u32,
    /// Who did.
    pub approvals: Vec<ApprovalRow>,
    /// From when on it may be there.
    pub begun_at: Option<Timestamp>,
    /// When it is taken back, as things stand.
    pub ends_at: Option<Timestamp>,
    /// Whether it is still there long after its end.
    pub is_alarming: bool,
    /// A stable code of the newest failure.
    pub failed: Option<String>,
    /// How it ended.
    pub end: Option<GrantEnd>,
    /// When.
    pub ended_at: Option<Timestamp>,
}

/// One grant, with who has it and what was done.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantDetail {
    /// What is known without opening it.
    #[serde(flatten)]
    pub row: GrantRow,
    /// SHA-256 of the policy that allows it.
    pub policy_digest: Digest,
    /// Who gets it, as the server's permissions write it.
    pub to: String,
    /// Why.
    pub reason: String,
    /// The ticket that asks for it.
    pub ticket: Option<String>,
    /// What proves the steps that were done, in their order.
    pub receipts: Vec<GrantReceipt>,
}

impl std::fmt::Debug for GrantDetail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrantDetail").field("row", &self.row).finish_non_exhaustive()
    }
}

/// One migration of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MigrationRow {
    /// The migration.
    pub migration: MigrationId,
    /// The mailbox that is copied.
    pub source: EntityId,
    /// The mailbox that it is copied into.
    pub target: EntityId,
    /// `copying`, `waiting`, `stopping`, or how it ended: `verified`, `differs`, `stopped`, `failed`.
    pub state: String,
    /// Why it waits or failed: a stable code.
    pub code: Option<String>,
    /// When it is tried again.
    pub retry_at: Option<Timestamp>,
    /// Folders that were begun.
    pub folders: u64,
    /// Messages that were copied, those of earlier migrations of the same two mailboxes included.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that were left out because they are too large, or because the target refuses them.
    pub left_out: u64,
    /// Messages of the source that were not found at the target, once they were looked for.
    pub missing: Option<u64>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
}

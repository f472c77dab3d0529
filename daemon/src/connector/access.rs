//! Where mailbox permissions are given and taken back.
//!
//! A session is one login to one mailbox, and every step of a grant begins with a new one: what an old login sees says
//! nothing about what a new one would.

use retention_core::event::grant::OpenSessions;
use retention_core::event::permission::Holder;
use retention_core::id::EntityId;
use retention_core::mailbox::Rights;

use super::outcome::{Outcome, Refusal};

/// What one principal may do in one folder.
#[derive(Clone, PartialEq, Eq)]
pub struct FolderAccess {
    /// The path of the folder: parts with `/` between them, whatever the server writes.
    pub folder: String,
    /// What it may do there.
    pub rights: Rights,
}

/// One entry in the permissions of one folder.
#[derive(Clone, PartialEq, Eq)]
pub struct PermissionEntry {
    /// The path of the folder, as in [`FolderAccess`].
    pub folder: String,
    /// Who: the identifier as the server writes it.
    pub identifier: String,
    /// Whose entry that is.
    pub holder: Holder,
    /// What it may do there.
    pub rights: Rights,
}

/// Reads the permissions of mailboxes, and can change nothing.
pub trait PermissionReader: Send + Sync {
    /// Logs in anew to a mailbox, lists all folders and reads who may do what in each.
    ///
    /// # Errors
    /// Says why not; a part of the folders is never the answer.
    fn permissions(&self, mailbox: EntityId) -> Result<Vec<PermissionEntry>, Refusal>;
}

/// Gives and takes back the permissions of mailboxes.
pub trait AccessTarget: Send + Sync {
    /// Logs in anew to a mailbox, with the right to administer its permissions.
    ///
    /// # Errors
    /// Says why that did not work; nothing was changed.
    fn open(&self, mailbox: EntityId) -> Result<Box<dyn AccessSession>, Refusal>;

    /// Logs in anew as the principal and says what it can do in the mailbox; `None` where its credential is not known.
    ///
    /// # Errors
    /// Says why that could not be seen.
    fn seen_by(&self, mailbox: EntityId, identifier: &str) -> Result<Option<Vec<FolderAccess>>, Refusal>;

    /// Ends the sessions of the principal that are open, where the server can.
    ///
    /// # Errors
    /// Says why it should have worked and did not.
    fn end_sessions(&self, mailbox: EntityId, identifier: &str) -> Result<OpenSessions, Refusal>;
}

/// One login to one mailbox.
pub trait AccessSession {
    /// Lists all folders and reads what a principal may do in each.
    ///
    /// # Errors
    /// Says why not; a part of the folders is never the answer.
    fn read(&mut self, identifier: &str) -> Result<Vec<FolderAccess>, Refusal>;

    /// Sets what a principal may do in folders that [`Self::read`] named; nothing where the rights are empty. Repeating
    /// it ends in the same state.
    fn change(&mut self, identifier: &str, wanted: &[FolderAccess]) -> Outcome<()>;
}

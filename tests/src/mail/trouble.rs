//! What becomes of a server: a backup is restored.

use std::collections::BTreeMap;

use retention_core::id::EntityId;

use super::{Folder, MailServer};

/// The folders of a mailbox as they were once.
pub struct Backup(BTreeMap<String, Folder>);

impl MailServer {
    /// Keeps the folders of a mailbox as they are.
    ///
    /// # Panics
    /// When there is no such mailbox.
    #[must_use]
    pub fn back_up(&self, mailbox: EntityId) -> Backup {
        Backup(self.state().mailboxes.get(&mailbox).expect("a mailbox").folders.clone())
    }

    /// Puts them back as they were.
    ///
    /// # Panics
    /// When there is no such mailbox.
    pub fn restore(&self, mailbox: EntityId, backup: Backup) {
        self.state().mailboxes.get_mut(&mailbox).expect("a mailbox").folders = backup.0;
    }
}

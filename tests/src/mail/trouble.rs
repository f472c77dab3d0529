//! What becomes of a server: folders do not open any more, and a backup is restored.

use std::collections::BTreeMap;

use retention_core::id::EntityId;
use retentiond::connector::mail::{FolderState, MailFailure};
use retentiond::connector::outcome::{Refusal, Retry};

use super::{Folder, MailServer, Session};

const NO: MailFailure = MailFailure::Refused(Refusal { code: "mail-refused", retry: Retry::Operator });

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

    /// Lets a folder open no more, or open again.
    pub fn close_folder(&self, mailbox: EntityId, folder: &str, is_closed: bool) {
        let closed = &mut self.state().closed;
        let place = (mailbox, folder.to_owned());
        let _changed = if is_closed { closed.insert(place) } else { closed.remove(&place) };
    }
}

impl Session<'_> {
    pub(super) fn look(&mut self, folder: &str) -> Result<Option<FolderState>, MailFailure> {
        let is_closed = self.server.state().closed.contains(&(self.mailbox, folder.to_owned()));
        if is_closed { Err(NO) } else { Ok(self.select(folder)) }
    }
}

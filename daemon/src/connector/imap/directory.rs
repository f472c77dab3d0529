//! Which mailboxes there are, and how one gets into them: what the connector has to be told, and by whom is not its
//! concern.

use std::sync::Arc;

use retention_core::id::EntityId;

use super::MailboxAccess;
use crate::config::MailServer;
use crate::connector::mail::Registered;
use crate::connector::outcome::Refusal;

/// Knows the mailboxes that are registered and the credentials that open them.
pub trait MailboxDirectory: Send + Sync {
    /// Returns the mailboxes that are registered, each once.
    fn registered(&self) -> Vec<Registered>;

    /// Says how to get into a mailbox with the right to do everything in it, to administer its permissions too.
    ///
    /// # Errors
    /// Says why not: it is not registered, its server is not configured, or its credential cannot be read.
    fn access(&self, mailbox: EntityId) -> Result<MailboxAccess, Refusal>;

    /// Returns the server of a mailbox; `None` when it is not registered, or its server is not configured.
    fn server_of(&self, mailbox: EntityId) -> Option<Arc<MailServer>>;

    /// Says how the principal that a mailbox's server knows by this identifier logs in itself, to its own mailbox, so
    /// that what it can see of `mailbox` can be looked at with its own eyes; `None` where its credential is not known.
    fn access_as(&self, mailbox: EntityId, identifier: &str) -> Option<MailboxAccess>;
}

//! Mailboxes on mail servers that are registered, and the credentials with which one gets into them.
//!
//! The address, the user and the login form stand in the record of the mailbox, an `EntityChanged` of its own. Here is
//! what names nobody, and the secret, which has a key slot of its own: when a credential is replaced or its mailbox
//! removed, that key is destroyed, and nobody can read the secret any more.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use bincode::{Decode, Encode};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::id::{Digest, EntityId};

/// Schema 1. The mailbox in the envelope is registered. It replaces what was said of it before; a credential that is no
/// longer named is to be destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MailboxRegistered {
    /// The name of its server in the configuration.
    pub server: String,
    /// Its own credential; without one the server's admin logs in.
    pub credential: Option<EntityId>,
}

/// Schema 1. The mailbox in the envelope is no longer looked at, and its credential is to be destroyed.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct MailboxRemoved {
    /// Why.
    pub reason: String,
}

impl std::fmt::Debug for MailboxRemoved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailboxRemoved").finish_non_exhaustive()
    }
}

/// A password or token. Overwritten in memory when dropped; its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Zeroize, ZeroizeOnDrop)]
pub struct SealedSecret(String);

impl SealedSecret {
    /// Takes a text as a secret.
    #[must_use]
    pub fn new(mut text: Zeroizing<String>) -> Self {
        Self(std::mem::take(&mut *text))
    }

    /// Hands the text to code that sends it.
    #[must_use]
    pub fn into_text(mut self) -> Zeroizing<String> {
        Zeroizing::new(std::mem::take(&mut self.0))
    }
}

impl std::fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Schema 1. A credential is known. The envelope's entity is the credential: its key seals this body and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CredentialStored {
    /// The password or token.
    pub secret: SealedSecret,
}

/// Schema 1. Mailboxes of one migration batch were registered, with the events right before this one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MigrationBatchImported {
    /// SHA-256 of the file.
    pub content: Digest,
    /// How many mailboxes it registered.
    pub mailboxes: u64,
    /// How many of them brought a credential.
    pub credentials: u64,
}

/// Schema 1. The key of the credential in the envelope was overwritten, flushed and read back: nobody can open the
/// secret. Its cause is the event by which the credential was no longer needed: the intent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CredentialDestroyed {}

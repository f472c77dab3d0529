//! The destruction of keys and of copies, and the way back out of quarantine.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use bincode::{Decode, Encode};

use crate::id::{Digest, RequestId, RunId, SagaId};

/// Schema 1. The slot of the envelope's entity was overwritten, flushed and read back: nobody can open its bodies.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyDestroyed {
    /// The run.
    pub run: RunId,
    /// The saga whose purge step did it.
    pub saga: SagaId,
    /// The number of the item in the run's plan.
    pub item: u32,
}

/// Schema 1. The envelope's entity is visible again and will not be purged by the run that hid it.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct EntityRestored {
    /// The saga that had hidden it.
    pub saga: SagaId,
    /// Why.
    pub reason: String,
}

impl std::fmt::Debug for EntityRestored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntityRestored").field("saga", &self.saga).finish_non_exhaustive()
    }
}

/// Schema 1. A bundle is about to be destroyed: its data subject has the answer, or its policy keeps it no longer; and
/// no hold covers what it holds copies of.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BundleDestructionStarted {
    /// The request that is completed; `None`: its policy keeps it no longer.
    pub request: Option<RequestId>,
    /// The saga that wrote the bundle.
    pub saga: SagaId,
    /// SHA-256 of its manifest.
    pub manifest: Digest,
}

/// Schema 1. A bundle is no longer in the exports directory, durably.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BundleDestroyed {
    /// The request that it was destroyed for; `None`: its policy keeps it no longer.
    pub request: Option<RequestId>,
    /// The saga that wrote it.
    pub saga: SagaId,
    /// SHA-256 of its manifest.
    pub manifest: Digest,
    /// Whether it was there: somebody may have moved it away, and then nobody here knows where to.
    pub was_there: bool,
}

/// Schema 1. A copy of a bundle was given to somebody, who has to be told what becomes of the data (GDPR Art. 19). Its
/// position names the recipient.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct BundleHandedOver {
    /// The saga that wrote the bundle.
    pub saga: SagaId,
    /// SHA-256 of its manifest.
    pub manifest: Digest,
    /// To whom.
    pub to: String,
    /// Why.
    pub reason: String,
}

impl std::fmt::Debug for BundleHandedOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BundleHandedOver").field("saga", &self.saga).finish_non_exhaustive()
    }
}

//! Credentials that nobody needs: their key is destroyed, so that the secret can never be read again.

use std::sync::Arc;

use retention_core::event::mailbox::CredentialDestroyed;
use retention_core::event::{Actor, Draft, Event};
use retention_core::id::SagaId;
use retention_core::view::Condition;

use super::super::{StageError, Step};
use crate::store::Store;
use crate::store::vault::StepTicket;

/// The driver of all credentials.
pub struct Credentials {
    store: Arc<Store>,
}

impl Credentials {
    /// Works on a store.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Destroys the key of one credential. The intent is the event that made it unneeded; after a crash the same is
    /// done again, which changes nothing.
    ///
    /// # Errors
    /// When the log or the keys fail.
    pub fn step(&mut self) -> Result<Step, StageError> {
        let Some((credential, intent)) = self.store.view(|views| views.small.registry.unneeded().next()) else {
            return Ok(Step::Idle);
        };
        let ticket = StepTicket::for_intent(SagaId(intent), intent);
        let destroyed = self.store.destroy(&ticket, &[credential])?;
        tracing::info!(%credential, read_back = ?destroyed.read_back, "the key of a credential is destroyed");
        let draft = Draft {
            stream: self.store.stream_of(credential),
            entity: Some(credential),
            actor: Actor::Daemon,
            cause: intent,
            occurred_at: None,
            event: Event::CredentialDestroyed(CredentialDestroyed {}),
        };
        self.store.append_drafts(vec![draft], Condition::None)?;
        Ok(Step::Worked)
    }
}

//! What this module needs of the store: views to read, events to read, and a place to append requests.
//!
//! Why a trait: the store can also destroy keys, and the handlers are handed nothing with which they could.

use std::sync::Arc;

use retention_core::event::{Draft, Recorded};
use retention_core::id::{EntityId, Position, SagaId};
use retention_core::view::recipients::HandedOver;
use retention_core::view::{Condition, Conflict, Views};
use tokio::sync::watch;

use crate::store::{AppendError, Page, Query, ReadError, ReadOnly, Store};

/// The log and its views, as the control API sees them. Calls may block: they are made on blocking threads.
pub trait Log: Send + Sync + 'static {
    /// Shows the views as they are now. The look must be short: the writer waits for it.
    fn look(&self, look: &mut dyn FnMut(&Views));

    /// Appends a request, durably, if the condition holds. Returns its position when it is folded.
    ///
    /// # Errors
    /// Says why nothing was appended.
    fn append(&self, draft: Draft, condition: Condition) -> Result<Position, LogError>;

    /// Reads one event.
    ///
    /// # Errors
    /// Says when the log cannot be read there.
    fn event(&self, position: Position) -> Result<Option<Recorded>, LogError>;

    /// Returns the copies of bundles that somebody got, with what is in them.
    ///
    /// # Errors
    /// Says when the log cannot be read.
    fn handed_over(&self) -> Result<Vec<HandedOver>, LogError>;

    /// Returns what is in the bundle of a saga, ascending: what was left alone before it was written is not.
    ///
    /// # Errors
    /// Says when the log cannot be read.
    fn in_bundle(&self, saga: SagaId) -> Result<Vec<EntityId>, LogError>;

    /// Answers a question about the log, one page at a time.
    ///
    /// # Errors
    /// Says when the log cannot be read.
    fn query(&self, query: &Query) -> Result<Page, LogError>;

    /// Returns the mailboxes of an address whose records are there.
    fn mailboxes_at(&self, address: &str) -> Vec<EntityId>;

    /// Returns the damage when nothing can be appended.
    fn read_only(&self) -> Option<ReadOnly>;

    /// Tells when events were appended and folded.
    fn changes(&self) -> watch::Receiver<Position>;
}

/// The log did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Something happened in the meantime.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// It is read-only.
    #[error("the store is read-only: {0}")]
    ReadOnly(ReadOnly),
    /// The journal failed under this very append: what of it is on the disk, the next start tells.
    #[error("the log could not be written: {0}")]
    Unwritten(String),
    /// The daemon is stopping.
    #[error("the store is closing")]
    Closing,
    /// Anything else; the diagnostics say more.
    #[error("the store failed")]
    Failed,
}

/// Looks at the views and returns what was seen.
pub(super) fn look<R>(log: &Arc<dyn Log>, look: impl FnOnce(&Views) -> R) -> Option<R> {
    let (mut look, mut seen) = (Some(look), None);
    log.look(&mut |views| seen = look.take().map(|look| look(views)));
    seen
}

impl Log for Store {
    fn look(&self, look: &mut dyn FnMut(&Views)) {
        self.view(look);
    }

    fn append(&self, draft: Draft, condition: Condition) -> Result<Position, LogError> {
        match self.append_drafts(vec![draft], condition) {
            Ok(appended) => Ok(appended.last),
            Err(AppendError::Conflict(conflict)) => Err(LogError::Conflict(conflict)),
            Err(AppendError::ReadOnly(damage)) => Err(LogError::ReadOnly(damage)),
            Err(AppendError::Closed) => Err(LogError::Closing),
            Err(AppendError::Journal(error)) => {
                tracing::error!(%error, "a request could not be appended");
                Err(LogError::Unwritten(error.to_string()))
            }
            Err(
                error @ (AppendError::Codec(_)
                | AppendError::KeyDestroyed(_)
                | AppendError::Seal(_)
                | AppendError::Vault(_)
                | AppendError::Full),
            ) => {
                tracing::error!(%error, "a request could not be appended");
                Err(LogError::Failed)
            }
        }
    }

    fn event(&self, position: Position) -> Result<Option<Recorded>, LogError> {
        self.read(position).map_err(failed)
    }

    fn handed_over(&self) -> Result<Vec<HandedOver>, LogError> {
        self.handed_over().map_err(failed)
    }

    fn in_bundle(&self, saga: SagaId) -> Result<Vec<EntityId>, LogError> {
        self.in_bundle(saga).map_err(failed)
    }

    fn query(&self, query: &Query) -> Result<Page, LogError> {
        self.query(query).map_err(failed)
    }

    fn mailboxes_at(&self, address: &str) -> Vec<EntityId> {
        self.mailboxes_at(address)
    }

    fn read_only(&self) -> Option<ReadOnly> {
        self.read_only_reason()
    }

    fn changes(&self) -> watch::Receiver<Position> {
        self.subscribe()
    }
}

fn failed(error: ReadError) -> LogError {
    tracing::error!(%error, "the log could not be read");
    LogError::Failed
}

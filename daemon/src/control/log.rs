//! What this module needs of the store: views to read, events to read, and a place to append requests.
//!
//! Why a trait: the handlers are tested against a log in memory that folds the same views, and they can be handed
//! nothing that acts on the world.

use std::sync::Arc;

use retention_core::event::{Draft, Recorded};
use retention_core::id::{EntityId, Position};
use retention_core::view::Views;
use tokio::sync::watch;

/// The log and its views, as the control API sees them. Calls may block: they are made on blocking threads.
pub trait Log: Send + Sync + 'static {
    /// Shows the views as they are now. The look must be short: the writer waits for it.
    fn look(&self, look: &mut dyn FnMut(&Views));

    /// Appends requests, durably.
    ///
    /// # Errors
    /// Says why nothing was appended.
    fn append(&self, drafts: Vec<Draft>) -> Result<Position, LogError>;

    /// Reads one event.
    ///
    /// # Errors
    /// Says when the log cannot be read there.
    fn event(&self, position: Position) -> Result<Option<Recorded>, LogError>;

    /// Returns the positions of the events of one entity, ascending.
    ///
    /// # Errors
    /// Says when the log cannot be read.
    fn positions_of(&self, entity: EntityId) -> Result<Vec<Position>, LogError>;

    /// Returns the name of the damage when nothing can be appended.
    fn read_only(&self) -> Option<String>;

    /// Tells when events were appended and folded.
    fn changes(&self) -> watch::Receiver<Position>;
}

/// The log did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// It is read-only.
    #[error("the store is read-only: {code}")]
    ReadOnly {
        /// The name of the damage.
        code: String,
    },
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

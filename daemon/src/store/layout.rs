//! Layouts: what a record of a source looks like, recorded once and named by a number from then on.

use retention_core::event::change::LayoutRecorded;
use retention_core::event::{Draft, Event};
use retention_core::id::{LayoutId, Position};
use retention_core::record::Layout;
use retention_core::view::{Condition, Conflict};

use super::Store;
use super::log::AppendError;
use super::open::daemon_draft;

impl Store {
    /// Returns the number of a layout; one that was never seen is recorded.
    ///
    /// # Errors
    /// When it cannot be appended.
    pub fn layout_id(&self, layout: &Layout, cause: Position) -> Result<LayoutId, AppendError> {
        loop {
            let (known, next) = self.view(|views| (views.small.layouts.find(layout), views.small.layouts.next()));
            if let Some(id) = known {
                return Ok(id);
            }
            let event = Event::LayoutRecorded(LayoutRecorded { id: next, layout: layout.clone() });
            let draft = Draft { cause, ..daemon_draft(event) };
            match self.append_drafts(vec![draft], Condition::NextLayout(next)) {
                Ok(_) => return Ok(next),
                // Deliveries and mailboxes are taken in at the same time, and another one took the number.
                Err(AppendError::Conflict(Conflict::Layout)) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

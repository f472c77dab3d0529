//! The copies of bundles that somebody got, with what is in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use retention_core::event::Event;
use retention_core::id::{EntityId, SagaId, in_order};
use retention_core::view::recipients::HandedOver;

use super::{ReadError, Store};

/// What is in the bundles of which somebody has a copy. The views forget it when a saga is over, and the log never
/// changes: so each is read once.
#[derive(Default)]
pub(super) struct Contents(Mutex<BTreeMap<SagaId, Arc<[EntityId]>>>);

impl Store {
    /// Returns the copies that somebody got, by saga. Who got them is in the sealed events at their positions.
    ///
    /// # Errors
    /// When the journal or sled cannot be read there.
    pub fn handed_over(&self) -> Result<Vec<HandedOver>, ReadError> {
        let given: Vec<_> = self.view(|views| views.handed_over().collect());
        let of =
            |(recipient, saga, manifest)| Ok(HandedOver { recipient, saga, manifest, items: self.items_of(saga)? });
        given.into_iter().map(of).collect()
    }

    fn items_of(&self, saga: SagaId) -> Result<Arc<[EntityId]>, ReadError> {
        if let Some(known) = self.contents.0.lock().get(&saga) {
            return Ok(Arc::clone(known));
        }
        let items: Arc<[EntityId]> = self.in_bundle(saga)?.into();
        self.contents.0.lock().insert(saga, Arc::clone(&items));
        Ok(items)
    }

    /// Returns what is in the bundle of a saga, ascending: what was left alone before it was written is not.
    ///
    /// # Errors
    /// When the journal or sled cannot be read there.
    pub fn in_bundle(&self, saga: SagaId) -> Result<Vec<EntityId>, ReadError> {
        let started = self.read(saga.0)?;
        let Some(Event::SagaStarted(body)) = started.as_ref().and_then(|started| started.event()) else {
            return Ok(Vec::new());
        };
        let left = self.view(|views| views.small.runs.saga(saga).map(|saga| saga.not_exported.clone()));
        let left = left.unwrap_or_default();
        let is_in_it = |item: &EntityId| left.binary_search(item).is_err();
        Ok(in_order(body.items.iter().map(|item| item.entity).filter(is_in_it).collect()))
    }
}

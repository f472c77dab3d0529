//! The copies of bundles that somebody got, with what is in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use retention_core::event::Event;
use retention_core::id::{Digest, EntityId, Position, SagaId, in_order};
use retention_core::view::recipients::HandedOver;

use super::{ReadError, Store};

/// What is in the bundles of which somebody has a copy, and which bundle that was. The views forget it when a saga is over
/// or took its bundle back, and the log never changes: so each is read once.
#[derive(Default)]
pub(super) struct Contents {
    items: Mutex<BTreeMap<SagaId, Arc<[EntityId]>>>,
    manifests: Mutex<BTreeMap<Position, Digest>>,
}

impl Store {
    /// Returns the copies that somebody got, by saga. Who got them is in the sealed events at their positions.
    ///
    /// # Errors
    /// When the journal or sled cannot be read there.
    pub fn handed_over(&self) -> Result<Vec<HandedOver>, ReadError> {
        let given: Vec<_> = self.view(|views| views.handed_over().collect());
        let of = |(recipient, saga)| {
            let manifest = self.manifest_given(recipient)?;
            Ok(HandedOver { recipient, saga, manifest, items: self.items_of(saga)? })
        };
        given.into_iter().map(of).collect()
    }

    /// Returns the manifest of the bundle of which somebody got a copy; of an event that cannot be read, none that any
    /// bundle has.
    fn manifest_given(&self, recipient: Position) -> Result<Digest, ReadError> {
        if let Some(known) = self.contents.manifests.lock().get(&recipient) {
            return Ok(*known);
        }
        let manifest = match self.read(recipient)?.as_ref().and_then(|given| given.event()) {
            Some(Event::BundleHandedOver(body)) => body.manifest,
            _ => Digest([0; 32]),
        };
        self.contents.manifests.lock().insert(recipient, manifest);
        Ok(manifest)
    }

    fn items_of(&self, saga: SagaId) -> Result<Arc<[EntityId]>, ReadError> {
        if let Some(known) = self.contents.items.lock().get(&saga) {
            return Ok(Arc::clone(known));
        }
        let items: Arc<[EntityId]> = self.in_bundle(saga)?.into();
        self.contents.items.lock().insert(saga, Arc::clone(&items));
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

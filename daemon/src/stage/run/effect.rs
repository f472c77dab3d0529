//! The effects: export, verify, hide, destroy, look for what should be gone. Nothing else in the program does these.

use std::collections::HashMap;
use std::sync::Arc;

use retention_core::event::decision::PlanFrozen;
use retention_core::event::erasure::KeyDestroyed;
use retention_core::event::saga::{Receipt, Step as ScriptStep};
use retention_core::event::{Actor, Draft, Event, EventType};
use retention_core::evidence::{ExpectedItem, ExportItem, ExportLayout};
use retention_core::id::{EntityId, LayoutId, SagaId};
use retention_core::policy::{Action, Policy};
use retention_core::record::EntityRecord;
use retention_core::saga;
use retention_core::time::Align;
use retention_core::view::{Condition, EntityState, Saga};

use super::super::StageError;
use super::{Run, Written};
use crate::connector::archive::{ArchiveError, BundleName, BundleSpec, ItemSink, MailboxName, Probe};
use crate::connector::outcome::{Cause, Outcome, Refusal, Retry};
use crate::store::AppendError;
use crate::store::vault::KeyState;
use crate::store::vault::destroy::StepTicket;

/// How many `KeyDestroyed` are appended together.
const DESTROYED_PER_APPEND: usize = 2_000;

/// The policy was edited after its plan was approved: a new plan is needed.
pub(super) const POLICY_CHANGED: Refusal = Refusal { code: "policy_changed", retry: Retry::Never };

impl Run {
    fn export_key(&self, id: SagaId) -> retention_core::id::Digest {
        let store = self.store.view(|views| views.small.store);
        saga::idempotency_key(store, id, ScriptStep::Export)
    }

    /// Writes a bundle with all items of the saga.
    pub(super) fn export(&mut self, id: SagaId, saga: &Saga) -> Result<Outcome<Receipt>, StageError> {
        let Some(spec) = self.bundle_spec(id, saga)? else {
            return Ok(Outcome::Refused(POLICY_CHANGED));
        };
        let mut expected = Vec::with_capacity(saga.started.items.len());
        let mut failed = None;
        let mut fill = |sink: &mut dyn ItemSink| {
            expected.clear();
            self.fill(saga, sink, &mut expected, &mut failed)
        };
        let written = self.archive.write(spec, &mut fill);
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(match written {
            Outcome::Applied(bundle) => {
                self.written.insert(id, Written { name: bundle.name, expected });
                Outcome::Applied(Receipt::Exported {
                    manifest: bundle.manifest,
                    exported_at: bundle.exported_at,
                    items: bundle.items,
                    bytes: bundle.bytes,
                })
            }
            Outcome::Refused(refusal) => Outcome::Refused(refusal),
            Outcome::Unknown(cause) => Outcome::Unknown(cause),
        })
    }

    /// Returns the plan and the policy it was approved under; `None` if another version of the policy is active now:
    /// what was approved is done as it was approved, or not at all.
    fn approved(&self, saga: &Saga) -> Option<(PlanFrozen, Arc<Policy>)> {
        let frozen = self.store.view(|views| {
            let run = views.small.runs.run(saga.started.run)?;
            views.small.plans.get(run.plan)?.frozen.clone()
        })?;
        let policy = self.store.policies().get(&frozen.policy).cloned()?;
        (policy.digest() == frozen.policy_digest).then_some((frozen, policy))
    }

    pub(super) fn bundle_spec(&self, id: SagaId, saga: &Saga) -> Result<Option<BundleSpec>, StageError> {
        let run = saga.started.run;
        let Some((frozen, policy)) = self.approved(saga) else { return Ok(None) };
        let mailbox = match saga.started.mailbox {
            Some(entity) => {
                self.store.record(entity)?.map(|record| MailboxName { entity, address: record.external_id })
            }
            None => None,
        };
        Ok(Some(BundleSpec {
            run,
            saga: id,
            idempotency_key: self.export_key(id),
            mailbox,
            policy: frozen.policy,
            policy_digest: frozen.policy_digest,
            plan_digest: frozen.digest,
            exported_at: self.clock.now(),
            zone: self.zone.clone(),
            formats: policy.export.formats.clone(),
            csv_profile: policy.export.csv_profile,
        }))
    }

    /// Hands the items, in their planned versions, to a sink, and notes what the log says of each.
    fn fill(
        &self,
        saga: &Saga,
        sink: &mut dyn ItemSink,
        expected: &mut Vec<ExpectedItem>,
        failed: &mut Option<StageError>,
    ) -> Result<(), ArchiveError> {
        let mut scratch = Vec::new();
        let result = self.each_item(saga, |item| {
            expected.push(item.expected(&mut scratch));
            sink.add(item)
        });
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(error) => {
                *failed = Some(error);
                Err(ArchiveError::Items { code: "store" })
            }
        }
    }

    fn each_item<E>(
        &self,
        saga: &Saga,
        mut take: impl FnMut(&ExportItem<'_>) -> Result<(), E>,
    ) -> Result<Result<(), E>, StageError>
    where
        E: From<ArchiveError>,
    {
        let mut layouts: HashMap<LayoutId, ExportLayout> = HashMap::new();
        for item in saga.open_items() {
            let Some(record) = self.store.record_at(item.version)? else {
                return Ok(Err(ArchiveError::Items { code: "item_gone" }.into()));
            };
            let Some(layout) = self.layout_of(&mut layouts, &record) else {
                return Ok(Err(ArchiveError::Items { code: "layout_missing" }.into()));
            };
            let item = ExportItem { entity: item.entity, version: item.version, layout, record: &record };
            if let Err(error) = take(&item) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    pub(super) fn layout_of<'a>(
        &self,
        layouts: &'a mut HashMap<LayoutId, ExportLayout>,
        record: &EntityRecord,
    ) -> Option<&'a ExportLayout> {
        if let std::collections::hash_map::Entry::Vacant(e) = layouts.entry(record.layout) {
            let layout = self.store.view(|views| views.small.layouts.get(record.layout).cloned())?;
            e.insert(ExportLayout::of(layout));
        }
        layouts.get(&record.layout)
    }

    /// Finds out whether a bundle was finished whose receipt is not recorded.
    pub(super) fn probe_export(&mut self, id: SagaId) -> Result<Outcome<Receipt>, StageError> {
        Ok(match self.archive.probe(self.export_key(id)) {
            Ok(Probe::Finished(bundle)) => Outcome::Applied(Receipt::Exported {
                manifest: bundle.manifest,
                exported_at: bundle.exported_at,
                items: bundle.items,
                bytes: bundle.bytes,
            }),
            Ok(Probe::Partial | Probe::Absent) => {
                Outcome::Refused(Refusal { code: "not_finished", retry: Retry::AfterProbe })
            }
            Err(error) => Outcome::Unknown(Cause { code: error.refusal().code }),
        })
    }

    fn bundle_name(&self, id: SagaId) -> Result<Option<BundleName>, ArchiveError> {
        if let Some(written) = self.written.get(&id) {
            return Ok(Some(written.name.clone()));
        }
        match self.archive.probe(self.export_key(id))? {
            Probe::Finished(bundle) => Ok(Some(bundle.name)),
            Probe::Partial | Probe::Absent => Ok(None),
        }
    }

    /// Reads the bundle back from disk and compares every item with the log.
    pub(super) fn verify_export(&mut self, id: SagaId, saga: &Saga) -> Result<Outcome<Receipt>, StageError> {
        let Some(Receipt::Exported { manifest, .. }) = saga.receipt(ScriptStep::Export) else {
            return Ok(Outcome::Refused(Refusal { code: "no_receipt", retry: Retry::Never }));
        };
        let name = match self.bundle_name(id) {
            Ok(Some(name)) => name,
            Ok(None) => return Ok(Outcome::Refused(Refusal { code: "bundle_missing", retry: Retry::Never })),
            Err(error) => return Ok(Outcome::Refused(error.refusal())),
        };
        let expected = match self.written.remove(&id) {
            Some(written) => written.expected,
            None => self.expected(saga)?,
        };
        let verified = self.archive.verify(&name, *manifest, &mut expected.iter().copied());
        self.written.insert(id, Written { name, expected: Vec::new() });
        Ok(match verified {
            Ok(verified) => {
                Outcome::Applied(Receipt::ExportVerified { manifest: verified.manifest, items: verified.items })
            }
            Err(error) => {
                tracing::error!(saga = %id, %error, "an export is not what it must be; nothing is purged because of it");
                Outcome::Refused(Refusal { code: error.code(), retry: Retry::Never })
            }
        })
    }

    fn expected(&self, saga: &Saga) -> Result<Vec<ExpectedItem>, StageError> {
        let mut scratch = Vec::new();
        let mut expected = Vec::with_capacity(saga.started.items.len());
        let done: Result<(), ArchiveError> = self.each_item(saga, |item| {
            expected.push(item.expected(&mut scratch));
            Ok(())
        })?;
        // What cannot be read is missing from what is expected, and verification then finds one item too many.
        drop(done);
        Ok(expected)
    }

    /// Hides the items: from the receipt on, they wait until the end of the policy's quarantine.
    pub(super) fn quarantine(&self, saga: &Saga) -> Outcome<Receipt> {
        let Some((_, policy)) = self.approved(saga) else {
            return Outcome::Refused(POLICY_CHANGED);
        };
        let now = self.clock.now();
        let Action::Purge { quarantine } = policy.action;
        let until =
            if quarantine.is_zero() { now } else { quarantine.due_at(now, Align::None, &policy.retention.zone) };
        Outcome::Applied(Receipt::Quarantined { until, items: saga.open_items().count() as u64 })
    }

    /// Destroys the keys of exactly the entities that the durable intent names, and records each destruction.
    pub(super) fn destroy_keys(
        &self,
        ticket: &StepTicket,
        id: SagaId,
        saga: &Saga,
        entities: &[EntityId],
    ) -> Result<Outcome<Receipt>, StageError> {
        let destroyed = self.store.destroy(ticket, entities)?;
        let mut left = Vec::with_capacity(entities.len());
        for entity in entities {
            if !self.is_recorded_as_destroyed(*entity)? {
                left.push(*entity);
            }
        }
        // The next part is prepared while the writer has the one before.
        let mut answers = Vec::new();
        for part in left.chunks(DESTROYED_PER_APPEND) {
            let prepare = |entity: &EntityId| self.store.prepare(self.destroyed_draft(id, saga, *entity), None);
            let events = part.iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
            answers.push(self.store.submit(events, Condition::None)?);
        }
        for answer in answers {
            answer.recv().map_err(|_| AppendError::Closed)??;
        }
        tracing::info!(saga = %id, items = entities.len(), read_back = ?destroyed.read_back, "keys are destroyed");
        Ok(Outcome::Applied(Receipt::Purged { items: entities.len() as u64 }))
    }

    /// Says whether the log has the destruction of a key. The view alone cannot tell: after a crash between the
    /// destruction and its event, views that are folded anew find bodies that nobody can open, and take the entity
    /// for purged.
    fn is_recorded_as_destroyed(&self, entity: EntityId) -> Result<bool, StageError> {
        let (state, mut position) = self
            .store
            .view(|views| (views.entities.row(entity).map(|row| row.state), views.entities.last_event(entity)));
        if state != Some(EntityState::Purged) {
            return Ok(false);
        }
        while let Some(row) = self.store.row(position)? {
            if row.event_type == EventType::KeyDestroyed as u16 {
                return Ok(true);
            }
            position = row.previous;
        }
        Ok(false)
    }

    fn destroyed_draft(&self, id: SagaId, saga: &Saga, entity: EntityId) -> Draft {
        let item = saga
            .started
            .items
            .binary_search_by_key(&entity, |item| item.entity)
            .ok()
            .and_then(|index| saga.started.items.get(index))
            .map_or(u32::MAX, |item| item.item);
        Draft {
            stream: self.store.stream_of(entity),
            entity: Some(entity),
            actor: Actor::Daemon,
            cause: id.0,
            occurred_at: None,
            event: Event::KeyDestroyed(KeyDestroyed { run: saga.started.run, saga: id, item }),
        }
    }

    /// Looks for every item by key and by view, and finds nothing.
    pub(super) fn verify_absence(&self, saga: &Saga) -> Result<Outcome<Receipt>, StageError> {
        let in_views = self.store.view(|views| {
            saga.pivot
                .iter()
                .filter(|entity| {
                    views.entities.row(**entity).is_none_or(|row| {
                        row.state != EntityState::Purged || row.handle != retention_core::id::Handle::NONE
                    })
                })
                .count()
        });
        for entity in &saga.pivot {
            if self.store.key_of(*entity)? != KeyState::Destroyed {
                return Ok(Outcome::Refused(Refusal { code: "key_still_there", retry: Retry::Operator }));
            }
        }
        if in_views > 0 {
            return Ok(Outcome::Refused(Refusal { code: "view_still_has_it", retry: Retry::Operator }));
        }
        Ok(Outcome::Applied(Receipt::Absent { items: saga.pivot.len() as u64 }))
    }

    /// Undoes an export: the bundle of a purge that did not take place has no purpose.
    pub(super) fn remove_export(&mut self, id: SagaId) -> Result<Outcome<()>, StageError> {
        Ok(match self.bundle_name(id) {
            Ok(Some(name)) => self.archive.remove(&name),
            Ok(None) => Outcome::Applied(()),
            Err(error) => Outcome::Refused(error.refusal()),
        })
    }
}

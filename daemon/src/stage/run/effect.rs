//! The effects: export, verify, hide, destroy, look for what should be gone. Nothing else in the program does these.

use std::collections::BTreeSet;
use std::sync::Arc;

use retention_core::event::decision::PlanFrozen;
use retention_core::event::erasure::KeyDestroyed;
use retention_core::event::saga::{Receipt, SagaItem, ScriptKind, Step as ScriptStep, StepFailed};
use retention_core::event::subject::ERASURE_POLICY;
use retention_core::event::{Actor, Draft, Event, EventType};
use retention_core::evidence::ExpectedItem;
use retention_core::id::{EntityId, Position, SagaId};
use retention_core::policy::{AgeRecipient, CsvProfile, ExportFormat, Policy};
use retention_core::saga;
use retention_core::time::Align;
use retention_core::view::{Condition, EntityState, Saga};

use super::super::StageError;
use super::made::{self, NotMade};
use super::{Run, Written};
use crate::connector::archive::{
    ArchiveError, Bundle, BundleName, BundleSpec, Encryption, ItemSink, MailboxName, OneTimeKey, Probe,
};
use crate::connector::outcome::{Cause, Outcome, Refusal, Retry};
use crate::store::vault::KeyState;
use crate::store::vault::destroy::StepTicket;
use crate::store::{AppendError, Prepared};

/// The policy was edited after its plan was approved: a new plan is needed.
const POLICY_CHANGED: Refusal = Refusal { code: "policy_changed", retry: Retry::Never };

/// An encrypted bundle cannot be read back any more: it was removed, and is written anew.
pub(super) const KEY_GONE: Refusal = Refusal { code: StepFailed::BUNDLE_KEY_GONE, retry: Retry::AfterProbe };

fn open_items(saga: &Saga) -> Vec<SagaItem> {
    saga.open_items().copied().collect()
}

/// An erasure is about records and messages, each in sagas of their own: texts are written of messages only.
fn formats_of(policy: &Policy, script: ScriptKind) -> BTreeSet<ExportFormat> {
    let mut formats = policy.export.formats.clone();
    if script != ScriptKind::MessagePurge {
        formats.retain(|format| !matches!(format, ExportFormat::Eml | ExportFormat::Mbox));
    }
    formats
}

impl Run {
    pub(super) fn export_key(&self, id: SagaId) -> retention_core::id::Digest {
        let store = self.store.view(|views| views.small.store);
        saga::idempotency_key(store, id, ScriptStep::Export)
    }

    /// Writes a bundle with all items of the saga.
    pub(super) fn export(&self, id: SagaId, saga: &Saga) -> Result<Outcome<Receipt>, StageError> {
        let spec = match self.bundle_spec(id, saga)? {
            Ok(spec) => spec,
            Err(refusal) => return Ok(Outcome::Refused(refusal)),
        };
        let key = spec.encryption.as_ref().map(Encryption::own_key);
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
        Ok(self.exported(id, written, expected, key))
    }

    /// Returns the ending of an export, and keeps what was written for its verification.
    pub(super) fn exported(
        &self,
        id: SagaId,
        written: Outcome<Bundle>,
        expected: Vec<ExpectedItem>,
        key: Option<Arc<OneTimeKey>>,
    ) -> Outcome<Receipt> {
        match written {
            Outcome::Applied(bundle) => {
                self.written
                    .lock()
                    .insert(id, Written { name: bundle.name, expected, is_encrypted: bundle.is_encrypted, key });
                Outcome::Applied(Receipt::Exported {
                    manifest: bundle.manifest,
                    exported_at: bundle.exported_at,
                    items: bundle.items,
                    bytes: bundle.bytes,
                })
            }
            Outcome::Refused(refusal) => Outcome::Refused(refusal),
            Outcome::Unknown(cause) => Outcome::Unknown(cause),
        }
    }

    /// Returns the plan and the policy it was approved under; `None` if another version of the policy is active now:
    /// what was approved is done as it was approved, or not at all.
    pub(super) fn approved(&self, saga: &Saga) -> Option<(PlanFrozen, Arc<Policy>)> {
        let frozen = self.plan_of(saga)?;
        let policy = self.store.policy_of_plans(&frozen.policy)?;
        (policy.digest() == frozen.policy_digest).then_some((frozen, policy))
    }

    /// Returns the plan that a saga is a part of, as it was approved.
    pub(super) fn plan_of(&self, saga: &Saga) -> Option<PlanFrozen> {
        self.store.view(|views| {
            let run = views.small.runs.run(saga.started.run)?;
            views.small.plans.get(run.plan)?.frozen.clone()
        })
    }

    /// Says what bundle is to be written, as it was approved.
    pub(super) fn bundle_spec(&self, id: SagaId, saga: &Saga) -> Result<Result<BundleSpec, Refusal>, StageError> {
        let run = saga.started.run;
        let Some((frozen, policy)) = self.approved(saga) else { return Ok(Err(POLICY_CHANGED)) };
        let mailbox = match saga.started.mailbox {
            Some(entity) => {
                self.store.record(entity)?.map(|record| MailboxName { entity, address: record.external_id })
            }
            None => None,
        };
        let recipients = self.recipients(&policy);
        // They have been looked at when the policy or the configuration was read.
        let encryption = (!recipients.is_empty()).then(|| Encryption::to(recipients.iter().cloned())).transpose();
        let encryption = match encryption {
            Ok(encryption) => encryption,
            Err(error) => return Ok(Err(error.refusal())),
        };
        Ok(Ok(BundleSpec {
            run,
            saga: id,
            idempotency_key: self.export_key(id),
            mailbox,
            policy: frozen.policy,
            policy_digest: frozen.policy_digest,
            plan_digest: frozen.digest,
            exported_at: self.clock.now(),
            zone: self.zone.clone(),
            formats: formats_of(&policy, saga.started.script),
            csv_profile: safer(self.csv_profile, policy.export.csv_profile),
            encryption,
        }))
    }

    /// Returns to whom the bundles of a policy are encrypted. What stands in its place for data subjects names nobody, for
    /// its text is the same everywhere: there it is for the configuration to say.
    fn recipients<'a>(&'a self, policy: &'a Policy) -> &'a BTreeSet<AgeRecipient> {
        if policy.id == ERASURE_POLICY { &self.erasures_encrypt_to } else { &policy.export.encrypt_to }
    }

    /// Hands the items, in their planned versions, to a sink, and notes what the log says of each.
    fn fill(
        &self,
        saga: &Saga,
        sink: &mut dyn ItemSink,
        expected: &mut Vec<ExpectedItem>,
        failed: &mut Option<StageError>,
    ) -> Result<(), ArchiveError> {
        let result = made::each(&self.store, &open_items(saga), |item, line| {
            expected.push(line.expected());
            sink.add(item, line)
        });
        result.map_err(|error| match error {
            NotMade::Archive(error) => error,
            NotMade::Store(error) => {
                *failed = Some(error);
                ArchiveError::Items { code: "store" }
            }
        })
    }

    /// Finds out whether a bundle was finished whose receipt is not recorded. One that nobody here can read back any more
    /// is removed: it is written anew.
    pub(super) fn probe_export(&self, id: SagaId) -> Result<Outcome<Receipt>, StageError> {
        const NOT_FINISHED: Outcome<Receipt> =
            Outcome::Refused(Refusal { code: "not_finished", retry: Retry::AfterProbe });
        Ok(match self.archive.probe(self.export_key(id)) {
            Ok(Probe::Finished(bundle)) if bundle.is_encrypted && !self.has_key(id, &bundle.name) => {
                match self.archive.remove(&bundle.name) {
                    Outcome::Applied(()) => NOT_FINISHED,
                    Outcome::Refused(Refusal { code, .. }) => Outcome::Unknown(Cause { code }),
                    Outcome::Unknown(cause) => Outcome::Unknown(cause),
                }
            }
            Ok(Probe::Finished(bundle)) => Outcome::Applied(Receipt::Exported {
                manifest: bundle.manifest,
                exported_at: bundle.exported_at,
                items: bundle.items,
                bytes: bundle.bytes,
            }),
            Ok(Probe::Partial | Probe::Absent) => NOT_FINISHED,
            Err(error) => Outcome::Unknown(Cause { code: error.refusal().code }),
        })
    }

    /// Says whether this process wrote an encrypted bundle and has not read it back.
    fn has_key(&self, id: SagaId, name: &BundleName) -> bool {
        self.written.lock().get(&id).is_some_and(|written| written.name == *name && written.key.is_some())
    }

    fn bundle_name(&self, id: SagaId) -> Result<Option<BundleName>, ArchiveError> {
        if let Some(name) = self.written.lock().get(&id).map(|written| written.name.clone()) {
            return Ok(Some(name));
        }
        match self.archive.probe(self.export_key(id))? {
            Probe::Finished(bundle) => Ok(Some(bundle.name)),
            Probe::Partial | Probe::Absent => Ok(None),
        }
    }

    /// Reads the bundle back from disk and compares every item with the log.
    pub(super) fn verify_export(&self, id: SagaId, saga: &Saga) -> Result<Outcome<Receipt>, StageError> {
        let Some(Receipt::Exported { manifest, .. }) = saga.receipt(ScriptStep::Export) else {
            return Ok(Outcome::Refused(Refusal { code: "no_receipt", retry: Retry::Never }));
        };
        match self.has_lost_key(id, saga) {
            Ok(false) => {}
            Ok(true) => return self.remove_unread(id),
            Err(error) => return Ok(Outcome::Refused(error.refusal())),
        }
        let name = match self.bundle_name(id) {
            Ok(Some(name)) => name,
            Ok(None) => return Ok(Outcome::Refused(Refusal { code: "bundle_missing", retry: Retry::Never })),
            Err(error) => return Ok(Outcome::Refused(error.refusal())),
        };
        let written = self.written.lock().remove(&id);
        let (expected, is_encrypted, key) = match written {
            Some(written) => (written.expected, written.is_encrypted, written.key),
            None => (self.expected(saga)?, false, None),
        };
        let verified = self.archive.verify(&name, *manifest, key.as_deref(), &mut expected.iter().copied());
        // Nobody reads it back a second time.
        drop(key);
        self.written.lock().insert(id, Written { name, expected: Vec::new(), is_encrypted, key: None });
        if verified.is_err() {
            // A bundle that was not read to its end is no bundle that is wrong.
            self.store.halt().check()?;
        }
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

    /// Says whether the bundle was encrypted by a process that has ended, or was read back before by this one: either way
    /// the key is gone, and with it the proof.
    fn has_lost_key(&self, id: SagaId, saga: &Saga) -> Result<bool, ArchiveError> {
        if let Some(written) = self.written.lock().get(&id) {
            return Ok(written.is_encrypted && written.key.is_none());
        }
        Ok(match self.archive.probe(self.export_key(id))? {
            Probe::Finished(bundle) => bundle.is_encrypted,
            // It was removed because its key was lost, and nobody has said so yet.
            Probe::Partial | Probe::Absent => {
                self.approved(saga).is_some_and(|(_, policy)| !self.recipients(&policy).is_empty())
            }
        })
    }

    /// Removes a bundle that cannot be verified any more, and says so: it is written anew. That is done first, so that no
    /// two bundles of one step are ever there.
    fn remove_unread(&self, id: SagaId) -> Result<Outcome<Receipt>, StageError> {
        Ok(match self.remove_export(id)? {
            Outcome::Applied(()) => {
                self.written.lock().remove(&id);
                Outcome::Refused(KEY_GONE)
            }
            Outcome::Refused(refusal) => Outcome::Refused(refusal),
            Outcome::Unknown(Cause { code }) => Outcome::Refused(Refusal { code, retry: Retry::Operator }),
        })
    }

    fn expected(&self, saga: &Saga) -> Result<Vec<ExpectedItem>, StageError> {
        let mut expected = Vec::with_capacity(saga.started.items.len());
        let done = made::each(&self.store, &open_items(saga), |_, line| {
            expected.push(line.expected());
            Ok(())
        });
        match done {
            // What is gone is missing from what is expected, and verification then finds one item too many.
            Ok(()) | Err(NotMade::Archive(_)) => Ok(expected),
            Err(NotMade::Store(error)) => Err(error),
        }
    }

    /// Hides the items: from the receipt on, they wait until the end of the policy's quarantine.
    pub(super) fn quarantine(&self, saga: &Saga) -> Outcome<Receipt> {
        let Some((_, policy)) = self.approved(saga) else {
            return Outcome::Refused(POLICY_CHANGED);
        };
        let now = self.clock.now();
        let quarantine = policy.action.quarantine();
        let until = if quarantine.is_zero() {
            now
        } else {
            // A clock that was set back must not make it shorter: once it is right again, its end would be over.
            let from = now.max(self.store.view(|views| views.recorded_at));
            quarantine.due_at(from, Align::None, &policy.retention.zone)
        };
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
        if entities.is_empty() {
            return Ok(Outcome::Applied(Receipt::Purged { items: 0 }));
        }
        let left = self.not_recorded_as_destroyed(entities)?;
        // What will be recorded is prepared while the disk overwrites the keys; it is handed over only after that.
        let (destroyed, prepared) = std::thread::scope(|scope| {
            let prepare = || self.prepare_destroyed(id, saga, &left);
            let preparing = std::thread::Builder::new().name("prepare".to_owned()).spawn_scoped(scope, prepare);
            let destroyed = self.store.destroy(ticket, entities);
            let prepared = match preparing {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                // The system has no thread to spare: one after the other, then.
                Err(_) => self.prepare_destroyed(id, saga, &left),
            };
            (destroyed, prepared)
        });
        let (destroyed, prepared) = (destroyed?, prepared?);
        self.store.append(prepared, Condition::None)?;
        tracing::info!(saga = %id, items = entities.len(), read_back = ?destroyed.read_back, "keys are destroyed");
        Ok(Outcome::Applied(Receipt::Purged { items: entities.len() as u64 }))
    }

    fn prepare_destroyed(&self, id: SagaId, saga: &Saga, left: &[EntityId]) -> Result<Vec<Prepared>, AppendError> {
        let mut prepared = Vec::with_capacity(left.len());
        for entity in left {
            prepared.push(self.store.prepare(self.destroyed_draft(id, saga, *entity), None)?);
        }
        Ok(prepared)
    }

    /// Returns those of which the log does not have the destruction of the key. The view alone cannot tell: after a
    /// crash between the destruction and its event, views that are folded anew find bodies that nobody can open, and
    /// take the entity for purged.
    fn not_recorded_as_destroyed(&self, entities: &[EntityId]) -> Result<Vec<EntityId>, StageError> {
        let newest: Vec<Option<Position>> = self.store.view(|views| {
            let newest = |entity: &EntityId| {
                let is_purged = views.entities.row(*entity).is_some_and(|row| row.state == EntityState::Purged);
                is_purged.then(|| views.entities.last_event(*entity))
            };
            entities.iter().map(newest).collect()
        });
        let mut left = Vec::with_capacity(entities.len());
        for (entity, newest) in entities.iter().zip(newest) {
            let is_recorded = match newest {
                Some(newest) => self.has_destruction(newest)?,
                None => false,
            };
            if !is_recorded {
                left.push(*entity);
            }
        }
        Ok(left)
    }

    /// Says whether a stream that ends at a position has the destruction of its key.
    fn has_destruction(&self, mut position: Position) -> Result<bool, StageError> {
        while let Some(row) = self.store.row(position)? {
            if [EventType::KeyDestroyed as u16, EventType::KeyDestroyedAgain as u16].contains(&row.event_type) {
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
    pub(super) fn verify_absence(&self, entities: &[EntityId]) -> Result<Outcome<Receipt>, StageError> {
        let in_views = self.store.view(|views| {
            entities
                .iter()
                .filter(|entity| {
                    views.entities.row(**entity).is_none_or(|row| {
                        row.state != EntityState::Purged || row.handle != retention_core::id::Handle::NONE
                    })
                })
                .count()
        });
        if self.store.keys_of(entities)?.iter().any(|key| *key != KeyState::Destroyed) {
            return Ok(Outcome::Refused(Refusal { code: "key_still_there", retry: Retry::Operator }));
        }
        if in_views > 0 {
            return Ok(Outcome::Refused(Refusal { code: "view_still_has_it", retry: Retry::Operator }));
        }
        Ok(Outcome::Applied(Receipt::Absent { items: entities.len() as u64 }))
    }

    /// Undoes an export: the bundle of a purge that did not take place has no purpose.
    pub(super) fn remove_export(&self, id: SagaId) -> Result<Outcome<()>, StageError> {
        Ok(match self.bundle_name(id) {
            Ok(Some(name)) => self.archive.remove(&name),
            // Whoever was killed while it was written or removed left a part of it, which holds copies as well.
            Ok(None) => self.archive.discard(self.export_key(id)),
            Err(error) => Outcome::Refused(error.refusal()),
        })
    }
}

/// Returns the profile under which a spreadsheet runs less.
fn safer(one: CsvProfile, other: CsvProfile) -> CsvProfile {
    match (one, other) {
        (CsvProfile::Exact, CsvProfile::Exact) => CsvProfile::Exact,
        (CsvProfile::SpreadsheetSafe, _) | (_, CsvProfile::SpreadsheetSafe) => CsvProfile::SpreadsheetSafe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_safe_for_spreadsheets_where_the_configuration_or_the_policy_says_so() {
        let (exact, safe) = (CsvProfile::Exact, CsvProfile::SpreadsheetSafe);
        assert_eq!(safer(exact, exact), exact);
        for (one, other) in [(exact, safe), (safe, exact), (safe, safe)] {
            assert_eq!(safer(one, other), safe);
        }
    }
}

//! The effect of a redaction: what is left of each item is recorded anew, under a number and a key of its own. Only
//! then are the old keys destroyed, by the same door as in every purge.
//!
//! **Order:** what is taken out, then the intent of the pivot, then for each item its new number and, with it, its new
//! state. Each is looked up in the log before it is done, so that doing all of it again is the probe.

use std::collections::BTreeSet;

use retention_core::event::change::EntityChanged;
use retention_core::event::redaction::{EntitySucceeded, RedactionBegan};
use retention_core::event::saga::{Receipt, SagaItem, SkipReason};
use retention_core::event::{Actor, Draft, Event};
use retention_core::id::{EntityId, SagaId};
use retention_core::policy::Action;
use retention_core::record::activity::Activity;
use retention_core::record::redact::FieldMap;
use retention_core::record::{DateRole, EntityRecord};
use retention_core::view::{Condition, Conflict, EntityState, Row, Saga};

use super::super::StageError;
use super::Run;
use crate::connector::outcome::{Cause, Outcome, Refusal, Retry};
use crate::store::{AppendError, Prepared};

/// How many items are recorded anew in one piece.
const ITEMS_PER_PIECE: usize = 250;

/// How a piece ended.
enum Piece {
    Recorded,
    /// Something keeps every purge from going on; nothing of the piece was done.
    Waits,
}

/// What is left of some items, ready to be recorded.
struct Rests {
    prepared: Vec<Prepared>,
    /// The newest activities that were copied: what comes in the meantime must not be lost.
    activities: Vec<(EntityId, Vec<Activity>)>,
    /// Items that cannot be read any more.
    gone: Vec<EntityId>,
}

impl Run {
    /// Records what the saga takes out, as it was approved, once. Returns whether that is in the log: if the policy was
    /// edited since, nothing is.
    pub(super) fn begin_redaction(&self, id: SagaId, saga: &Saga) -> Result<bool, StageError> {
        if self.store.view(|views| views.small.redactions.map_of(id).is_some()) {
            return Ok(true);
        }
        let Some((frozen, policy)) = self.approved(saga) else { return Ok(false) };
        let Action::Redact { fields, .. } = &policy.action else { return Ok(false) };
        let (policy, policy_digest, fields) = (frozen.policy, frozen.policy_digest, fields.clone());
        let body = RedactionBegan { saga: id, policy, policy_digest, fields };
        self.append(id.0, vec![Event::RedactionBegan(body)], Condition::None)?;
        Ok(true)
    }

    /// Records what is left of the items that the durable intent names. What changed, came under a hold, or had another
    /// activity after that is left alone, whole.
    pub(super) fn redact(&self, id: SagaId, saga: &Saga) -> Result<Outcome<Receipt>, StageError> {
        let Some(fields) = self.store.view(|views| views.small.redactions.map_of(id).cloned()) else {
            return Ok(Outcome::Refused(Refusal { code: "no_fields", retry: Retry::Operator }));
        };
        let named: BTreeSet<EntityId> = saga.purging().into_iter().collect();
        let left: Vec<SagaItem> = self.store.view(|views| {
            let is_left =
                |item: &&SagaItem| named.contains(&item.entity) && !views.small.redactions.is_recorded(item.entity);
            saga.started.items.iter().filter(is_left).copied().collect()
        });
        for piece in self.store.pieces(&left, |item| item.version, ITEMS_PER_PIECE)? {
            self.store.halt().check()?;
            if let Piece::Waits = self.record_rests(id, &fields, piece.items.to_vec())? {
                return Ok(Outcome::Unknown(Cause { code: "waits" }));
            }
        }
        let items = self.redacted(&saga.pivot).len() as u64;
        Ok(Outcome::Applied(Receipt::Redacted { items }))
    }

    /// Returns those of which what is left is recorded: only their keys may be destroyed.
    pub(super) fn redacted(&self, entities: &[EntityId]) -> Vec<EntityId> {
        self.store.view(|views| {
            entities.iter().copied().filter(|entity| views.small.redactions.is_recorded(*entity)).collect()
        })
    }

    fn record_rests(&self, id: SagaId, fields: &FieldMap, mut left: Vec<SagaItem>) -> Result<Piece, StageError> {
        while !left.is_empty() {
            let Rests { prepared, activities, gone } = self.rests(id, fields, &left)?;
            if !gone.is_empty() {
                left.retain(|item| !gone.contains(&item.entity));
                self.skip(id, gone.into_iter().map(|entity| (entity, SkipReason::Gone)).collect())?;
                continue;
            }
            let items = left.iter().map(|item| (item.entity, item.version)).collect();
            let may_purge = Condition::MayPurge { saga: id, items };
            let condition = Condition::All(vec![may_purge, Condition::SameActivities(activities)]);
            match self.store.append(prepared, condition) {
                Ok(_) => return Ok(Piece::Recorded),
                Err(AppendError::Conflict(Conflict::Entities(kept))) => {
                    left.retain(|item| !kept.iter().any(|(entity, _)| *entity == item.entity));
                    self.skip(id, kept)?;
                }
                Err(AppendError::Conflict(_)) => return Ok(Piece::Waits),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Piece::Recorded)
    }

    /// Prepares what is left of items.
    fn rests(&self, id: SagaId, fields: &FieldMap, items: &[SagaItem]) -> Result<Rests, StageError> {
        let versions: Vec<_> = items.iter().map(|item| item.version).collect();
        let records = self.store.records_at(&versions)?;
        let mut prepared = Vec::with_capacity(2 * items.len());
        let mut copied = Vec::with_capacity(items.len());
        let mut gone = Vec::new();
        for (item, record) in items.iter().zip(records) {
            let known = self.store.view(|views| {
                let row = views.entities.row(item.entity).filter(|row| row.state != EntityState::Purged)?;
                let layout = views.small.layouts.get(row.layout)?;
                let cells = fields.apply(layout, &record.as_ref()?.cells);
                let (links, activities) = (views.links.of(item.entity).collect(), views.activities_of(item.entity));
                Some((row, cells, links, activities, views.small.redactions.successor(item.entity)))
            });
            let (Some(record), Some((row, cells, links, activities, number))) = (record, known) else {
                gone.push(item.entity);
                continue;
            };
            copied.push((item.entity, activities.clone()));
            let changed = |entity| self.rest_draft(id, entity, EntityRecord { cells, ..record });
            match number {
                // The number was given before a crash, and its key with it.
                Some(entity) => prepared.push(self.store.prepare(changed(entity), None)?),
                None => {
                    let (entity, key) = self.store.issue(1)?.pop().ok_or(AppendError::Closed)?;
                    let Row { first_seen, last_activity, absent, .. } = row;
                    let (of, item) = (item.entity, item.item);
                    let saga = id;
                    let body = EntitySucceeded { saga, item, of, first_seen, last_activity, activities, absent, links };
                    let tie = self.draft_about(id, entity, Event::EntitySucceeded(body));
                    prepared.push(self.store.prepare(tie, None)?);
                    prepared.push(self.store.prepare(changed(entity), Some(&key))?);
                }
            }
        }
        Ok(Rests { prepared, activities: copied, gone })
    }

    fn rest_draft(&self, id: SagaId, entity: EntityId, record: EntityRecord) -> Draft {
        let roles = [DateRole::Occurred, DateRole::Modified, DateRole::Created];
        let occurred_at = roles.into_iter().find_map(|role| record.date(role));
        Draft { occurred_at, ..self.draft_about(id, entity, Event::EntityChanged(EntityChanged { record })) }
    }

    fn draft_about(&self, id: SagaId, entity: EntityId, event: Event) -> Draft {
        let stream = self.store.stream_of(entity);
        Draft { stream, entity: Some(entity), actor: Actor::Daemon, cause: id.0, occurred_at: None, event }
    }
}

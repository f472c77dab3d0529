//! Project: keeps the due index true. The folding itself happens with every append; here entities are judged again
//! whose facts changed through others, and everything is judged by a policy that is new.

use std::sync::Arc;

use retention_core::event::decision::PolicyVersion;
use retention_core::id::{EntityId, Position};
use retention_core::view::EntityState;

use super::{StageError, Step};
use crate::ahead;
use crate::store::records::Piece;
use crate::store::{ReadError, Store};

/// How many entities are judged in one step: it bounds how long the log waits.
const ENTITIES_PER_STEP: usize = 2_000;

/// How many of them are read in one piece.
const ENTITIES_PER_PIECE: usize = 500;

/// The stage.
pub struct Project {
    store: Arc<Store>,
    /// The new policies that everything is being judged by, and how far that is.
    sweep: Option<(Vec<PolicyVersion>, u32)>,
}

impl Project {
    /// Works on a store.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        Self { store, sweep: None }
    }

    /// Judges a number of entities.
    ///
    /// # Errors
    /// When records cannot be read.
    pub fn step(&mut self) -> Result<Step, StageError> {
        let (in_log, pending, unjudged) = self.store.view(|views| {
            let unjudged: Vec<EntityId> = views.due.unjudged().iter().take(ENTITIES_PER_STEP).map(EntityId).collect();
            (views.small.policies.digest, views.due.unjudged_policies(), unjudged)
        });
        // The policies of the log and those that judge are about to be the same again.
        if in_log != Some(self.store.policies().digest()) {
            return Ok(Step::Idle);
        }
        if !pending.is_empty() {
            return self.sweep(pending);
        }
        self.sweep = None;
        if unjudged.is_empty() {
            return Ok(Step::Idle);
        }
        self.judge(&unjudged)?;
        Ok(Step::Worked)
    }

    fn sweep(&mut self, pending: Vec<PolicyVersion>) -> Result<Step, StageError> {
        let from = match &self.sweep {
            Some((policies, from)) if *policies == pending => *from,
            _ => 0,
        };
        let entities: Vec<EntityId> =
            self.store.view(|views| views.entities.numbers_from(from).take(ENTITIES_PER_STEP).collect());
        self.judge(&entities)?;
        match entities.last() {
            Some(last) => self.sweep = Some((pending, last.0 + 1)),
            None => {
                for policy in &pending {
                    self.store.policy_judged(&policy.id, policy.digest);
                }
                self.sweep = None;
            }
        }
        Ok(Step::Worked)
    }

    fn judge(&self, entities: &[EntityId]) -> Result<(), StageError> {
        let rows: Vec<(EntityId, Position)> = self.store.view(|views| {
            let version = |entity: &EntityId| {
                let row = views.entities.row(*entity).filter(|row| row.state != EntityState::Purged);
                (*entity, row.map_or(Position::NONE, |row| row.version))
            };
            entities.iter().map(version).collect()
        });
        let pieces = self.store.pieces(&rows, |(_, version)| *version, ENTITIES_PER_PIECE)?;
        let mut asked = rows.iter();
        let read = |piece: &Piece<'_, (EntityId, Position)>| {
            let versions: Vec<Position> = piece.items.iter().map(|(_, version)| *version).collect();
            self.store.records_at(&versions)
        };
        ahead::in_order(&pieces, read, |records| {
            let records = records?;
            let mut judged = Vec::with_capacity(records.len());
            for (record, &(entity, version)) in records.into_iter().zip(asked.by_ref()) {
                match record {
                    Some(record) => judged.push((entity, version, record)),
                    None => self.store.nothing_to_judge(entity),
                }
            }
            self.store.judge(&judged);
            Ok::<(), ReadError>(())
        })?;
        Ok(())
    }
}

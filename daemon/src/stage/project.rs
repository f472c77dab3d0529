//! Project: keeps the due index true. The folding itself happens with every append; here entities are judged again
//! whose facts changed through others, and everything is judged by a policy that is new.

use std::sync::Arc;

use retention_core::event::decision::PolicyVersion;
use retention_core::id::EntityId;
use retention_core::view::EntityState;

use super::{StageError, Step};
use crate::store::Store;

/// How many entities are judged in one step: it bounds how long the log waits.
const ENTITIES_PER_STEP: usize = 2_000;

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
        let rows: Vec<_> =
            self.store.view(|views| entities.iter().map(|entity| (*entity, views.entities.row(*entity))).collect());
        let mut read = Vec::with_capacity(rows.len());
        for (entity, row) in rows {
            let record = match row {
                Some(row) if row.state != EntityState::Purged => self.store.record_at(row.version)?.map(|r| (row, r)),
                _ => None,
            };
            match record {
                Some((row, record)) => read.push((entity, row.version, record)),
                None => self.store.nothing_to_judge(entity),
            }
        }
        self.store.judge(&read);
        Ok(())
    }
}

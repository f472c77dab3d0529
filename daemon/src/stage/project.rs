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
    /// Since when in the log everything is being judged by the new policies, and how far that is.
    sweep: Option<(Position, u32)>,
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
        let (in_log, activated, pending, unjudged) = self.store.view(|views| {
            let unjudged: Vec<EntityId> = views.due.unjudged().iter().take(ENTITIES_PER_STEP).map(EntityId).collect();
            let policies = &views.small.policies;
            (policies.digest, policies.activated, views.due.unjudged_policies(), unjudged)
        });
        // The policies of the log and those that judge are about to be the same again.
        if in_log != Some(self.store.policies().digest()) {
            return Ok(Step::Idle);
        }
        if !pending.is_empty() {
            return self.sweep(activated, &pending);
        }
        self.sweep = None;
        if unjudged.is_empty() {
            return Ok(Step::Idle);
        }
        self.judge(&unjudged)?;
        Ok(Step::Worked)
    }

    /// A policy that was edited and edited back has lost its days meanwhile, though the policies are the same: so what
    /// counts is when they became active.
    fn sweep(&mut self, activated: Position, pending: &[PolicyVersion]) -> Result<Step, StageError> {
        let from = self.sweep.filter(|(since, _)| *since == activated).map_or(0, |(_, from)| from);
        let entities: Vec<EntityId> =
            self.store.view(|views| views.entities.numbers_from(from).take(ENTITIES_PER_STEP).collect());
        self.judge(&entities)?;
        match entities.last() {
            Some(last) => self.sweep = Some((activated, last.0 + 1)),
            None => {
                for policy in pending {
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
        let read = |piece: &Piece<'_, (EntityId, Position)>| self.store.records_of(piece);
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

#[cfg(test)]
mod tests {
    use retention_core::time::Timestamp;

    use super::*;
    use crate::clock::ManualClock;
    use crate::stage::policies::Policies;
    use crate::store::tests::{add_contacts, add_layout, init};

    fn policy(period: &str) -> String {
        format!(
            "schema = 1\n[policy]\nid = \"all\"\ntitle = \"All\"\nowner = \"o\"\nlegal_basis = \"GDPR 5\"\n\
             data_class = \"contact\"\nstate = \"enforce\"\n[scope]\nkind = \"contact\"\nmatch_all = true\n\
             [retention]\nperiod = \"{period}\"\nstart = \"created\"\non_missing_start = \"keep\"\n\
             timezone = \"Etc/UTC\"\n[schedule]\ncron = \"on_demand\"\n[export]\nrequired = true\n\
             formats = [\"jsonl\"]\n[action]\nkind = \"purge\"\nquarantine = \"P7D\"\n"
        )
    }

    #[test]
    fn a_policy_that_is_edited_and_edited_back_while_everything_is_judged_judges_everything_anew() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&init(dir.path()), &mut |_, _| {}).unwrap());
        let layout = add_layout(&store);
        let all = u32::try_from(2 * ENTITIES_PER_STEP).unwrap();
        add_contacts(&store, layout, 0..all);
        let files = dir.path().join("policies");
        std::fs::create_dir(&files).unwrap();
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_unix_seconds(1_800_000_000)));
        let mut policies = Policies::new(Arc::clone(&store), clock, files.clone());
        let mut edit = |period| {
            std::fs::write(files.join("all.toml"), policy(period)).unwrap();
            policies.look_now();
            assert_eq!(policies.step().unwrap(), Step::Worked);
            assert_eq!(*policies.health().lock(), crate::stage::policies::PolicyHealth::default());
        };
        let mut project = Project::new(Arc::clone(&store));
        edit("P1Y");
        assert_eq!(project.step().unwrap(), Step::Worked);
        edit("P2Y");
        edit("P1Y");
        while project.step().unwrap() == Step::Worked {}
        let population = store.view(|views| {
            assert!(views.due.is_complete());
            views.due.policy("all").map(retention_core::view::due::PolicyDue::population)
        });
        assert_eq!(population, Some(u64::from(all)));
    }
}

//! The tiny truth: what was told of each entity, and which holds there are.

use std::collections::{BTreeMap, BTreeSet};

use retention_core::id::{EntityId, HoldId};
use retention_core::record::Cells;
use retention_core::view::EntityState;
use retentiond::store::Store;

use crate::invariants::Violation;

/// What a store must tell.
#[derive(Debug, Default, Clone)]
pub struct Model {
    /// What each entity was last told to be.
    pub told: BTreeMap<EntityId, Cells>,
    /// The active holds.
    pub holds: BTreeMap<HoldId, BTreeSet<EntityId>>,
}

impl Model {
    /// Compares: what is not purged is as it was told, and the holds are those that were placed.
    pub fn compare(&self, store: &Store, violations: &mut Vec<Violation>) {
        for (entity, cells) in &self.told {
            let row = store.view(|views| views.entities.row(*entity));
            let Some(row) = row else {
                violations.push(Violation::of("entity_lost", Some(*entity), "there is no row"));
                continue;
            };
            if row.state != EntityState::Purged {
                match store.record(*entity) {
                    Ok(Some(record)) if record.cells == *cells => {}
                    other => {
                        let what = format!("it is not what it was told to be: {:?}", other.map(|r| r.is_some()));
                        violations.push(Violation::of("entity_lost", Some(*entity), &what));
                    }
                }
            }
        }
        let holds: BTreeMap<HoldId, BTreeSet<EntityId>> = store.view(|views| {
            views
                .small
                .holds
                .all()
                .filter(|(_, hold)| hold.released.is_none())
                .map(|(id, hold)| (id, hold.entities.iter().copied().collect()))
                .collect()
        });
        if holds != self.holds {
            violations.push(Violation::of("hold_lost", None, "the holds are not those that were placed"));
        }
    }
}

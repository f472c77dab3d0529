//! What a source no longer holds: said row by row, or by a snapshot without it. Nothing is purged because of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use retention_core::event::Event;
use retention_core::event::change::EntityAbsent;
use retention_core::id::{EntityId, LayoutId, Position};
use retention_core::record::{EntityRecord, Kind};
use retention_core::view::{Condition, EntityState};

use super::IntakeError;
use super::batch::Handles;
use super::reading::CHANGES_PER_BATCH;
use super::rows::Taking;
use crate::connector::change::Departure;

/// Entities that are looked at under one lock of the views, about a millisecond.
pub(super) const ENTITIES_PER_LOOK: u32 = 20_000;

/// Records that are in memory together.
const RECORDS_TOGETHER: usize = 250;

impl Taking<'_> {
    /// Records that the source marked entities as deleted.
    pub(super) fn take_departures(&mut self, departures: &[Departure]) -> Result<(), IntakeError> {
        self.counts.rows += departures.len() as u64;
        self.in_flight.drain()?;
        let Some(source) = self.layouts.last().map(|layout| layout.source.clone()) else { return Ok(()) };
        let mut handles = Handles::default();
        let mut gone = BTreeSet::new();
        for departure in departures {
            let mailbox = match &departure.mailbox {
                Some(address) => match self.find_mailbox(&source, address) {
                    Some(mailbox) => Some(mailbox),
                    // A mailbox that was never seen holds nothing that could be gone.
                    None => continue,
                },
                None => None,
            };
            let here =
                |entity: &EntityId| self.store.view(|views| views.entities.row(*entity).is_some_and(|row| !row.absent));
            for id in std::iter::once(&departure.external_id).chain(&departure.former_id) {
                let handle = self.store.handle_of(&source, mailbox, departure.kind, id);
                handles.own.insert(handle, 0);
                gone.extend(self.store.view(|views| views.entities.find(handle)).filter(here));
            }
        }
        self.record_absent(gone.into_iter().collect(), handles)
    }

    /// Records what a complete snapshot of one kind in one mailbox did not name.
    pub(super) fn take_snapshot(&mut self, mailbox: Option<&Arc<str>>, kind: Kind) -> Result<(), IntakeError> {
        self.in_flight.drain()?;
        let Some(source) = self.layouts.iter().rev().find(|layout| layout.kind == kind).map(|l| l.source.clone())
        else {
            return Ok(());
        };
        let mailbox = match mailbox {
            Some(address) => match self.known_mailbox(&source, address) {
                Some(mailbox) => Some(mailbox),
                None => return Ok(()),
            },
            None => None,
        };
        let (layouts, bound) = self.store.view(|views| {
            let of_kind = views.small.layouts.iter().filter(|(_, layout)| layout.kind == kind);
            let ours: BTreeSet<LayoutId> =
                of_kind.filter(|(_, layout)| *layout.source == *source).map(|(id, _)| id).collect();
            (ours, views.entities.bound())
        });
        for from in (0..bound).step_by(ENTITIES_PER_LOOK as usize) {
            self.store.halt().check()?;
            let to = from.saturating_add(ENTITIES_PER_LOOK).min(bound);
            let gone = self.store.view(|views| {
                let is_gone = |entity: &EntityId| {
                    !self.seen.contains(entity.0)
                        && views.entities.row(*entity).is_some_and(|row| {
                            row.state != EntityState::Purged && !row.absent && layouts.contains(&row.layout)
                        })
                };
                views.entities.in_mailbox(from..to, mailbox).filter(is_gone).collect()
            });
            self.record_absent(gone, Handles::default())?;
        }
        Ok(())
    }

    /// Counts as seen what is known of a mailbox and lies where nobody could look: whether it is still there is not known. So
    /// is what cannot be read any more.
    pub(super) fn spare(
        &mut self,
        mailbox: EntityId,
        lies_there: &dyn Fn(&EntityRecord) -> bool,
    ) -> Result<(), IntakeError> {
        self.in_flight.drain()?;
        let bound = self.store.view(|views| views.entities.bound());
        for from in (0..bound).step_by(ENTITIES_PER_LOOK as usize) {
            self.store.halt().check()?;
            let to = from.saturating_add(ENTITIES_PER_LOOK).min(bound);
            let known: Vec<(EntityId, Position)> = self.store.view(|views| {
                let version = |entity: EntityId| {
                    let row = views.entities.row(entity).filter(|_| !self.seen.contains(entity.0))?;
                    (row.state != EntityState::Purged && !row.absent).then_some((entity, row.version))
                };
                views.entities.in_mailbox(from..to, Some(mailbox)).filter_map(version).collect()
            });
            for piece in self.store.pieces(&known, |(_, version)| *version, RECORDS_TOGETHER)? {
                for ((entity, _), record) in piece.items.iter().zip(self.store.records_of(&piece)?) {
                    if record.is_none_or(|record| lies_there(&record)) {
                        self.seen.insert(entity.0);
                    }
                }
            }
        }
        Ok(())
    }

    fn record_absent(&mut self, entities: Vec<EntityId>, mut handles: Handles) -> Result<(), IntakeError> {
        self.counts.absent += entities.len() as u64;
        for chunk in entities.chunks(CHANGES_PER_BATCH) {
            let mut events = Vec::with_capacity(chunk.len());
            for entity in chunk {
                let event = Event::EntityAbsent(EntityAbsent { intake: self.intake });
                events.push(self.store.prepare(self.draft(*entity, None, event), None)?);
            }
            self.in_flight.send(self.store, events, Condition::None, std::mem::take(&mut handles))?;
        }
        Ok(())
    }
}

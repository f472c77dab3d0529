//! What the log says of the messages of a folder: which were copied, and whether under the numbers that they have now. A
//! target that changes what it is given shows no copy of a message that has no name for itself; then the log alone knows
//! that there is one.

use std::collections::BTreeSet;

use retention_core::event::migration::MigrationEnd;
use retention_core::event::{Event, EventType, Recorded};
use retention_core::id::{MigrationId, Position};
use retention_core::view::migrations::Migration;

use super::{Broken, Migrations};
use crate::connector::mail::Uid;
use crate::store::query::{Order, PAGE_ROWS_MAX, Query};

/// The messages of one folder.
#[derive(Default)]
struct Noted {
    copied: BTreeSet<Uid>,
    intent: Vec<Uid>,
}

impl Noted {
    fn fold(&mut self, event: &Event) {
        match event {
            Event::MigrationCopyStarted(body) => self.intent.clone_from(&body.uids),
            Event::MigrationCopied(body) => {
                let mut done = std::mem::take(&mut self.intent);
                done.retain(|uid| *uid <= body.upto);
                // What is gone from the source is asked for no more. Where one was refused, which of them it was is not
                // said, so nothing is known of any.
                if u64::from(body.messages) + u64::from(body.gone) == done.len() as u64 {
                    self.copied.extend(done);
                }
            }
            _ => {}
        }
    }
}

impl Migrations {
    /// Says whether a folder was opened under other numbers than before, and no migration since has gone through all of
    /// it: what breaks off may have compared nothing yet.
    pub(super) fn was_numbered_anew(&self, id: MigrationId, number: u32, opened: Position) -> bool {
        self.store.view(|views| {
            let get = |id| views.small.migrations.get(id);
            let mut at = Some(id);
            while let Some((id, one)) = at.and_then(|id| Some((id, get(id)?))) {
                if matches!(one.end, Some((MigrationEnd::Verified | MigrationEnd::Differs, ..))) {
                    return false;
                }
                if opened > id.0 {
                    return one.continues.and_then(get).is_some_and(|before| before.folders.len() > number as usize);
                }
                at = one.continues;
            }
            false
        })
    }

    /// Returns the messages of a folder that were copied since it was opened, by this migration or by one that it
    /// continues.
    pub(super) fn noted(
        &self,
        id: MigrationId,
        migration: &Migration,
        number: u32,
        opened: Position,
    ) -> Result<BTreeSet<Uid>, Broken> {
        let mut all = BTreeSet::from([id]);
        self.store.view(|views| {
            let mut at = migration.continues;
            while let Some((earlier, before)) = at.and_then(|id| Some((id, views.small.migrations.get(id)?))) {
                all.insert(earlier);
                at = before.continues;
            }
        });
        let mut noted = Noted::default();
        let mut query = Query {
            types: vec![EventType::MigrationCopyStarted, EventType::MigrationCopied],
            order: Order::OldestFirst,
            after: Some(opened),
            limit: PAGE_ROWS_MAX,
            ..Query::default()
        };
        loop {
            let page = self.store.query(&query)?;
            for (position, _) in page.rows {
                let recorded = self.store.read(position)?;
                let Some(event) = recorded.as_ref().and_then(Recorded::event) else { continue };
                let of = match event {
                    Event::MigrationCopyStarted(body) => (body.migration, body.folder),
                    Event::MigrationCopied(body) => (body.migration, body.folder),
                    _ => continue,
                };
                if all.contains(&of.0) && of.1 == number {
                    noted.fold(event);
                }
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(noted.copied),
            }
        }
    }
}

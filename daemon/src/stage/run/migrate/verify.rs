//! The end of a migration: whether what was copied is there.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use retention_core::event::migration::{MigrationEnd, MigrationFolderVerified};
use retention_core::event::{Event, Recorded};
use retention_core::id::MigrationId;
use retention_core::view::migrations::Migration;

use super::{Broken, Migrations, Prints, RENUMBERED, is_excluded, is_under, listed, take};
use crate::connector::mail::Uid;
use crate::connector::moving::{Moving, Side};

impl Migrations {
    /// Reads every text again at both servers, through new logins.
    pub(super) fn verify(
        &mut self,
        id: MigrationId,
        migration: &Migration,
        exclude: &[String],
    ) -> Result<MigrationEnd, Broken> {
        let mover = Arc::clone(&self.mover);
        let mut moving = mover.open(migration.source, migration.target)?;
        let folders = self.store.view(|views| {
            views.small.migrations.get(id).map(|migration| migration.folders.clone()).unwrap_or_default()
        });
        let mut missing_in_all = 0;
        // Folders of the source that share a counterpart share what is in it: nothing there counts for two of them.
        let mut at_target: BTreeMap<String, Prints> = BTreeMap::new();
        for (number, folder) in (0..).zip(folders) {
            if self.is_stopped(id) {
                return Err(Broken::Stopped);
            }
            let (path, into) = match self.store.read(folder.opened)?.as_ref().and_then(Recorded::event) {
                Some(Event::MigrationFolderOpened(body)) => (body.path.clone(), body.into.clone()),
                _ => return Err(Broken::Never("mailbox_removed")),
            };
            // An earlier migration may have copied what is left out by now.
            if is_excluded(&path, exclude) {
                continue;
            }
            // A folder that somebody removed from the source meanwhile has nothing to be compared with.
            let Some(pair) = moving.open_pair(&path, &into)? else { continue };
            if !is_under(&folder, pair) {
                return Err(RENUMBERED);
            }
            let too_large: BTreeSet<Uid> = match migration.max_bytes {
                Some(max) => listed(moving.as_mut(), 0, usize::MAX)?
                    .into_iter()
                    .filter(|message| message.standing.size > max)
                    .map(|message| message.uid)
                    .collect(),
                None => BTreeSet::new(),
            };
            let there = match at_target.entry(into) {
                Entry::Occupied(there) => there.into_mut(),
                Entry::Vacant(place) => place.insert(self.prints_of_target(moving.as_mut())?),
            };
            let (mut messages, mut missing) = (0, 0);
            moving.prints(Side::Source, 0, &mut |uid, print| {
                if uid <= folder.upto && !too_large.contains(&uid) {
                    messages += 1;
                    missing += u64::from(!take(there, &(print.text, print.received)));
                }
                ControlFlow::Continue(())
            })?;
            missing_in_all += missing;
            let body = MigrationFolderVerified { migration: id, folder: number, messages, missing };
            self.append(id, Event::MigrationFolderVerified(body))?;
        }
        Ok(if missing_in_all == 0 { MigrationEnd::Verified } else { MigrationEnd::Differs })
    }

    fn prints_of_target(&self, moving: &mut dyn Moving) -> Result<Prints, Broken> {
        let mut there = Prints::new();
        moving.prints(Side::Target, 0, &mut |_, print| {
            *there.entry((print.text, print.received)).or_default() += 1;
            ControlFlow::Continue(())
        })?;
        Ok(there)
    }
}

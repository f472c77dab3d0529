//! A look with a new login at what should be gone.

use std::collections::BTreeSet;

use retention_core::event::saga::{Receipt, SkipReason};
use retention_core::id::{EntityId, SagaId};
use retention_core::view::Saga;

use super::super::super::StageError;
use super::super::Run;
use super::Flags;
use crate::connector::mail::{MailFailure, MailSession};
use crate::connector::outcome::{Cause, Outcome, Refusal, Retry};

impl Run {
    /// Finds out with a new login what an attempt left behind whose end nobody knows.
    pub(in super::super) fn probe_expunge(&self, id: SagaId, saga: &Saga) -> Result<Outcome<Receipt>, StageError> {
        let mut session = match self.new_login(saga) {
            Ok(session) => session,
            Err(refusal) => return Ok(Outcome::Unknown(Cause { code: refusal.code })),
        };
        let found = match self.look_again(session.as_mut(), saga, &saga.purging())? {
            Ok(found) => found,
            Err(refusal) => return Ok(Outcome::Unknown(Cause { code: refusal.code })),
        };
        // Where a folder is numbered anew, or has gone, nobody can tell any more whether they were expunged: they are left
        // alone.
        let is_renumbered = |entity: &EntityId| !found.in_known_folders.contains(entity);
        let mut renumbered: Vec<_> = found.differ.iter().filter(|e| is_renumbered(e)).copied().collect();
        let is_settled = found.there.is_empty() && found.differ.len() == renumbered.len();
        renumbered.extend(self.out_of_sight(&found.folder_gone));
        if !renumbered.is_empty() {
            tracing::warn!(
                saga = %id,
                items = renumbered.len(),
                "a folder was numbered anew, renamed or removed while messages were being expunged from it, or shows those of others; they \
                 are left alone, and those of them that are still there may bear the flag \\Deleted: look at the folder before \
                 anybody expunges it"
            );
            self.skip(id, renumbered.iter().map(|entity| (*entity, SkipReason::Changed)).collect())?;
        }
        if is_settled {
            let items = self.were_there(&saga.purging()).saturating_sub(renumbered.len() as u64);
            return Ok(Outcome::Applied(Receipt::Expunged { items }));
        }
        Ok(Outcome::Refused(Refusal { code: "still_there", retry: Retry::AfterProbe }))
    }

    /// Looks with a new login for every message that was expunged, and lets the server forget what it can.
    pub(in super::super) fn verify_messages_absent(&self, saga: &Saga) -> Result<Outcome<Receipt>, StageError> {
        let purging = saga.purging();
        let mut session = match self.new_login(saga) {
            Ok(session) => session,
            Err(refusal) => return Ok(Outcome::Refused(refusal)),
        };
        let found = match self.look_again(session.as_mut(), saga, &purging)? {
            Ok(found) => found,
            Err(refusal) => return Ok(Outcome::Refused(refusal)),
        };
        let is_there = |entity: &&EntityId| found.in_known_folders.contains(*entity);
        if !found.there.is_empty() || found.differ.iter().any(|entity| is_there(&entity)) {
            return Ok(Outcome::Refused(Refusal { code: "still_there", retry: Retry::Operator }));
        }
        let folders: Vec<&str> = found.names.iter().map(String::as_str).collect();
        Ok(match session.clear_residue(&folders) {
            Ok(residue) => Outcome::Applied(Receipt::AbsentFromServer { items: purging.len() as u64, residue }),
            Err(failure) => Outcome::Refused(failure.of_question()),
        })
    }

    /// Logs in anew and proves whose mailbox it is.
    pub(super) fn new_login(&self, saga: &Saga) -> Result<Box<dyn MailSession + '_>, Refusal> {
        let mailbox = Self::mailbox_of_saga(saga)?;
        self.mailroom.open(mailbox).map_err(MailFailure::of_question)
    }

    fn look_again(
        &self,
        session: &mut dyn MailSession,
        saga: &Saga,
        entities: &[EntityId],
    ) -> Result<Result<Again, Refusal>, StageError> {
        let items = saga.started.items.iter().filter(|item| entities.contains_sorted(item.entity));
        let parts = match self.parts(items.map(|item| (item.entity, item.version)))? {
            Ok(parts) => parts,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let found = match self.find(session, saga, &parts, Flags::OrDeletedByUs)? {
            Ok(found) => found,
            Err(failure) => return Ok(Err(failure.of_question())),
        };
        let known = found.folders.keys().filter_map(|place| parts.get(place));
        Ok(Ok(Again {
            in_known_folders: known.flat_map(|part| part.wanted.values().copied()).collect(),
            names: found.folders.keys().map(|(name, _)| name.clone()).collect(),
            there: found.there,
            differ: found.differ,
            folder_gone: found.folder_gone,
        }))
    }
}

/// What a look with a new login found.
struct Again {
    there: Vec<EntityId>,
    differ: Vec<EntityId>,
    folder_gone: Vec<EntityId>,
    /// Messages of folders that are numbered as they were.
    in_known_folders: BTreeSet<EntityId>,
    names: BTreeSet<String>,
}

/// Ascending lists of entities.
trait ContainsSorted {
    fn contains_sorted(&self, entity: EntityId) -> bool;
}

impl ContainsSorted for [EntityId] {
    fn contains_sorted(&self, entity: EntityId) -> bool {
        self.binary_search(&entity).is_ok()
    }
}

//! Driving migrations: the only code that appends messages to a mailbox.
//!
//! A migration goes through the folders of the source in the order of their names, and through the messages of each in the order of
//! their numbers, a batch at a time: intent, appends, receipt. After a crash or a lost answer the texts that came to the target
//! since the intent are compared with those that were to be appended: they came in order, so the first ones are there. At the end
//! every text is read once more at both servers, through new logins. The source is only ever read.
//!
//! It has a thread of its own, and keeps both mailboxes open while it works on them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use retention_core::event::migration::{
    MigrationCopied, MigrationCopyStarted, MigrationEnd, MigrationEnded, MigrationFailed, MigrationFolderOpened,
    MigrationFolderVerified,
};
use retention_core::event::{Actor, Draft, Event, Recorded, stream_of_position};
use retention_core::id::{MigrationId, Position};
use retention_core::time::Timestamp;
use retention_core::view::Condition;
use retention_core::view::migrations::{FolderProgress, Migration};

use super::super::{StageError, Step};
use crate::clock::Clock;
use crate::connector::mail::{MailFailure, MailFolder, MessageState, Uid};
use crate::connector::moving::{Copied, Mover, Moving, Print, Side};
use crate::connector::outcome::Retry;
use crate::store::Store;

/// Messages of one batch: so many may have to be compared after a crash.
const BATCH_MESSAGES: usize = 50;

/// Messages that are listed together: some MiB.
const MESSAGES_AT_ONCE: usize = 5_000;

/// How long is waited after a failure: from ten seconds, doubled each time, up to ten minutes.
const RETRY_FIRST: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(600);

/// The driver of all migrations.
pub struct Migrations {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    mover: Arc<dyn Mover>,
    /// How long was waited after the newest failure of each.
    waited: HashMap<MigrationId, Duration>,
}

/// Why the work on a migration broke off.
enum Broken {
    /// A server.
    Mail(MailFailure),
    /// The log or the store.
    Stage(StageError),
    /// It cannot go on: a stable code.
    Never(&'static str),
    /// Somebody stops it, or the daemon ends: what was done is recorded.
    Stopped,
}

impl From<MailFailure> for Broken {
    fn from(failure: MailFailure) -> Self {
        Self::Mail(failure)
    }
}

impl<E: Into<StageError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::Stage(error.into())
    }
}

impl Migrations {
    /// Works on a store, between mailboxes.
    #[must_use]
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, mover: Arc<dyn Mover>) -> Self {
        Self { store, clock, mover, waited: HashMap::new() }
    }

    /// Works on one migration until it ends, breaks off, or is stopped.
    ///
    /// # Errors
    /// When the log or the store fail: recovery goes on from what is recorded.
    pub fn step(&mut self) -> Result<Step, StageError> {
        let (is_observing, open) = self.store.view(|views| {
            let open: Vec<(MigrationId, Migration)> =
                views.small.migrations.open().map(|(id, migration)| (id, migration.clone())).collect();
            (views.small.restored.waits().is_some(), open)
        });
        if is_observing {
            return Ok(Step::Idle);
        }
        let now = self.clock.now();
        let mut wake: Option<Timestamp> = None;
        for (id, migration) in open {
            match &migration.failed {
                Some((_, at)) if *at > now && !migration.is_stopped => {
                    wake = Some(wake.map_or(*at, |wake| wake.min(*at)));
                }
                _ => {
                    self.work_on(id, &migration)?;
                    return Ok(Step::Worked);
                }
            }
        }
        Ok(wake.map_or(Step::Idle, Step::IdleUntil))
    }

    fn work_on(&mut self, id: MigrationId, migration: &Migration) -> Result<(), StageError> {
        let registered = self.store.view(|views| {
            [migration.source, migration.target].iter().all(|mailbox| views.small.registry.get(*mailbox).is_some())
        });
        let worked = match (migration.is_stopped, registered) {
            (true, _) => Ok(MigrationEnd::Stopped),
            (false, false) => Err(Broken::Never("mailbox_removed")),
            (false, true) => self.go_through(id, migration),
        };
        match worked {
            Ok(end) => self.end(id, end, ""),
            Err(Broken::Never(code)) => self.end(id, MigrationEnd::Failed, code),
            Err(Broken::Stage(error)) => Err(error),
            // The next look sees who stopped it; when the daemon ends, the next start goes on.
            Err(Broken::Stopped) => Ok(self.store.halt().check()?),
            Err(Broken::Mail(failure)) => self.wait_after(id, failure),
        }
    }

    fn end(&mut self, id: MigrationId, end: MigrationEnd, code: &'static str) -> Result<(), StageError> {
        self.waited.remove(&id);
        let looked_at = self.store.view(|views| views.position);
        tracing::info!(migration = %id, end = end.name(), code, "a migration is over");
        self.append(id, Event::MigrationEnded(MigrationEnded { migration: id, end, code: code.to_owned(), looked_at }))
    }

    fn wait_after(&mut self, id: MigrationId, failure: MailFailure) -> Result<(), StageError> {
        let wait = self.waited.get(&id).map_or(RETRY_FIRST, |waited| (*waited * 2).min(RETRY_MAX));
        self.waited.insert(id, wait);
        let asked = match failure {
            MailFailure::Refused(refusal) => match refusal.retry {
                Retry::After(asked) => asked,
                Retry::Never | Retry::AfterProbe | Retry::Operator => Duration::ZERO,
            },
            MailFailure::Lost(_) => Duration::ZERO,
        };
        let wait_us = i64::try_from(wait.max(asked).as_micros()).unwrap_or(i64::MAX);
        let retry_at = Timestamp(self.clock.now().0.saturating_add(wait_us));
        tracing::warn!(migration = %id, code = failure.code(), "a migration does not go on for now");
        self.append(
            id,
            Event::MigrationFailed(MigrationFailed { migration: id, code: failure.code().to_owned(), retry_at }),
        )
    }

    /// Goes through all folders, and verifies them.
    fn go_through(&mut self, id: MigrationId, migration: &Migration) -> Result<MigrationEnd, Broken> {
        let exclude = self.excluded(id)?;
        let mover = Arc::clone(&self.mover);
        let mut moving = mover.open(migration.source, migration.target)?;
        let mut known = self.known_folders(migration)?;
        for folder in moving.folders()? {
            if !exclude.iter().any(|path| is_at_or_below(&folder.name, path)) {
                self.go_through_folder(id, migration, moving.as_mut(), &folder, &mut known)?;
            }
        }
        drop(moving);
        self.verify(id, migration)
    }

    fn excluded(&self, id: MigrationId) -> Result<Vec<String>, Broken> {
        match self.store.read(id.0)?.as_ref().and_then(Recorded::event) {
            Some(Event::MigrationRequested(body)) => Ok(body.exclude.clone()),
            _ => Err(Broken::Never("request_unreadable")),
        }
    }

    /// Returns the numbers of the folders that were opened before, by their paths, each with the path of its counterpart.
    fn known_folders(&self, migration: &Migration) -> Result<BTreeMap<String, (u32, String)>, Broken> {
        let mut known = BTreeMap::new();
        for (number, folder) in (0..).zip(&migration.folders) {
            match self.store.read(folder.opened)?.as_ref().and_then(Recorded::event) {
                Some(Event::MigrationFolderOpened(body)) => {
                    known.insert(body.path.clone(), (number, body.into.clone()));
                }
                _ => return Err(Broken::Never("mailbox_removed")),
            }
        }
        Ok(known)
    }

    fn progress(&self, id: MigrationId, number: u32) -> Option<FolderProgress> {
        self.store.view(|views| views.small.migrations.get(id)?.folders.get(number as usize).cloned())
    }

    fn go_through_folder(
        &mut self,
        id: MigrationId,
        migration: &Migration,
        moving: &mut dyn Moving,
        folder: &MailFolder,
        known: &mut BTreeMap<String, (u32, String)>,
    ) -> Result<(), Broken> {
        let (number, into, is_new) = match known.get(&folder.name) {
            Some((number, into)) => (*number, into.clone(), false),
            None => (u32::try_from(known.len()).unwrap_or(u32::MAX), moving.counterpart(folder)?, true),
        };
        let Some(pair) = moving.open_pair(&folder.name, &into)? else { return Ok(()) };
        if is_new {
            let body = MigrationFolderOpened {
                migration: id,
                folder: number,
                path: folder.name.clone(),
                into: into.clone(),
                source_validity: pair.source.uid_validity,
                target_validity: pair.target.uid_validity,
            };
            let draft = Draft {
                stream: self.store.stream_of(migration.source),
                entity: Some(migration.source),
                ..draft(id, Event::MigrationFolderOpened(body))
            };
            self.store.append_drafts(vec![draft], Condition::None)?;
            known.insert(folder.name.clone(), (number, into));
        }
        let Some(progress) = self.progress(id, number) else { return Err(Broken::Never("request_unreadable")) };
        if progress.source_validity != pair.source.uid_validity || progress.target_validity != pair.target.uid_validity
        {
            // Equal numbers are other messages now: nobody can say any more what was copied.
            return Err(Broken::Never("mail-uidvalidity-changed"));
        }
        if let Some((uids, uid_next)) = progress.intent {
            self.settle(id, number, moving, &uids, uid_next)?;
        }
        let into = self.counterpart_of(id, number)?;
        let mut after = self.progress(id, number).map_or(0, |progress| progress.upto);
        loop {
            let mut messages: Vec<MessageState> = Vec::new();
            moving.messages(after, MESSAGES_AT_ONCE, &mut |message| {
                messages.push(message);
                ControlFlow::Continue(())
            })?;
            messages.sort_unstable_by_key(|message| message.uid);
            for batch in messages.chunks(BATCH_MESSAGES) {
                // Its number at the target must be told anew: others deliver there as well.
                let Some(pair) = moving.open_pair(&folder.name, &into)? else { return Ok(()) };
                self.copy_batch(id, number, migration.max_bytes, moving, batch, pair.target.uid_next)?;
            }
            match messages.last() {
                Some(last) => after = last.uid,
                None => return Ok(()),
            }
        }
    }

    fn counterpart_of(&self, id: MigrationId, number: u32) -> Result<String, Broken> {
        let opened = self.progress(id, number).map_or(Position::NONE, |progress| progress.opened);
        match self.store.read(opened)?.as_ref().and_then(Recorded::event) {
            Some(Event::MigrationFolderOpened(body)) => Ok(body.into.clone()),
            _ => Err(Broken::Never("mailbox_removed")),
        }
    }

    fn is_stopped(&self, id: MigrationId) -> bool {
        self.store.halt().is_asked()
            || self.store.view(|views| views.small.migrations.get(id).is_none_or(|migration| migration.is_stopped))
    }

    fn copy_batch(
        &mut self,
        id: MigrationId,
        folder: u32,
        max_bytes: Option<u64>,
        moving: &mut dyn Moving,
        batch: &[MessageState],
        target_uid_next: u32,
    ) -> Result<(), Broken> {
        if self.is_stopped(id) {
            return Err(Broken::Stopped);
        }
        let is_too_large = |message: &MessageState| max_bytes.is_some_and(|max| message.standing.size > max);
        let uids: Vec<Uid> = batch.iter().filter(|message| !is_too_large(message)).map(|message| message.uid).collect();
        if !uids.is_empty() {
            let body = MigrationCopyStarted { migration: id, folder, uids, target_uid_next };
            self.append(id, Event::MigrationCopyStarted(body))?;
        }
        let mut done = MigrationCopied { migration: id, folder, upto: 0, messages: 0, bytes: 0, left_out: 0, gone: 0 };
        let mut broken = None;
        for message in batch {
            if is_too_large(message) {
                done.left_out += 1;
            } else {
                match moving.copy(message) {
                    Ok(Copied::Done { bytes }) => {
                        done.messages += 1;
                        done.bytes += bytes;
                    }
                    Ok(Copied::Gone) => done.gone += 1,
                    // The target takes this message in no way: it is told and left out, and the others go on.
                    Err(MailFailure::Refused(refusal)) if refusal.retry == Retry::Never => {
                        tracing::warn!(migration = %id, folder, code = refusal.code, "the target refuses a message for good");
                        done.left_out += 1;
                    }
                    Err(failure @ MailFailure::Lost(_)) => return Err(failure.into()),
                    Err(failure) => {
                        broken = Some(Broken::Mail(failure));
                        break;
                    }
                }
            }
            done.upto = message.uid;
            if self.is_stopped(id) {
                broken = Some(Broken::Stopped);
                break;
            }
        }
        let has_progress = done.upto > 0;
        self.append(id, Event::MigrationCopied(done))?;
        if has_progress {
            self.waited.remove(&id);
        }
        broken.map_or(Ok(()), Err)
    }

    /// Finds out which messages of an intent are at the target.
    fn settle(
        &mut self,
        id: MigrationId,
        folder: u32,
        moving: &mut dyn Moving,
        uids: &[Uid],
        uid_next: u32,
    ) -> Result<(), Broken> {
        let mut arrived: BTreeMap<Print, u32> = BTreeMap::new();
        moving.prints(Side::Target, uid_next, &mut |_, print| {
            *arrived.entry(print).or_default() += 1;
            ControlFlow::Continue(())
        })?;
        let mut wanted: BTreeMap<Uid, Print> = BTreeMap::new();
        let last = uids.last().copied().unwrap_or(0);
        moving.prints(Side::Source, uids.first().copied().unwrap_or(0), &mut |uid, print| {
            if uids.binary_search(&uid).is_ok() {
                wanted.insert(uid, print);
            }
            if uid > last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let there: Vec<bool> = uids
            .iter()
            .map(|uid| {
                wanted.get(uid).is_some_and(|print| match arrived.get_mut(print) {
                    Some(count) if *count > 0 => {
                        *count -= 1;
                        true
                    }
                    _ => false,
                })
            })
            .collect();
        // They were appended in order: whatever stands before one that is there was appended too, or gone, or refused for good.
        let settled = there.iter().rposition(|is_there| *is_there).map_or(0, |last| last + 1);
        let mut done = MigrationCopied { migration: id, folder, upto: 0, messages: 0, bytes: 0, left_out: 0, gone: 0 };
        for (uid, is_there) in uids.iter().zip(&there).take(settled) {
            match (is_there, wanted.contains_key(uid)) {
                (true, _) => done.messages += 1,
                (false, true) => done.left_out += 1,
                (false, false) => done.gone += 1,
            }
            done.upto = *uid;
        }
        self.append(id, Event::MigrationCopied(done))?;
        Ok(())
    }

    /// Reads every text again at both servers, through new logins.
    fn verify(&mut self, id: MigrationId, migration: &Migration) -> Result<MigrationEnd, Broken> {
        let mover = Arc::clone(&self.mover);
        let mut moving = mover.open(migration.source, migration.target)?;
        let folders = self.store.view(|views| {
            views.small.migrations.get(id).map(|migration| migration.folders.clone()).unwrap_or_default()
        });
        let mut missing_in_all = 0;
        for (number, folder) in (0..).zip(folders) {
            if self.is_stopped(id) {
                return Err(Broken::Stopped);
            }
            let path = match self.store.read(folder.opened)?.as_ref().and_then(Recorded::event) {
                Some(Event::MigrationFolderOpened(body)) => (body.path.clone(), body.into.clone()),
                _ => return Err(Broken::Never("mailbox_removed")),
            };
            // A folder that somebody removed from the source meanwhile has nothing to be compared with.
            let Some(_) = moving.open_pair(&path.0, &path.1)? else { continue };
            let mut too_large: BTreeSet<Uid> = BTreeSet::new();
            if let Some(max) = migration.max_bytes {
                moving.messages(0, usize::MAX, &mut |message| {
                    if message.standing.size > max {
                        too_large.insert(message.uid);
                    }
                    ControlFlow::Continue(())
                })?;
            }
            let mut at_target: BTreeMap<Print, u64> = BTreeMap::new();
            moving.prints(Side::Target, 0, &mut |_, print| {
                *at_target.entry(print).or_default() += 1;
                ControlFlow::Continue(())
            })?;
            let (mut messages, mut missing) = (0, 0);
            moving.prints(Side::Source, 0, &mut |uid, print| {
                if uid <= folder.upto && !too_large.contains(&uid) {
                    messages += 1;
                    match at_target.get_mut(&print) {
                        Some(count) if *count > 0 => *count -= 1,
                        _ => missing += 1,
                    }
                }
                ControlFlow::Continue(())
            })?;
            missing_in_all += missing;
            let body = MigrationFolderVerified { migration: id, folder: number, messages, missing };
            self.append(id, Event::MigrationFolderVerified(body))?;
        }
        Ok(if missing_in_all == 0 { MigrationEnd::Verified } else { MigrationEnd::Differs })
    }

    fn append(&self, id: MigrationId, event: Event) -> Result<(), StageError> {
        self.store.append_drafts(vec![draft(id, event)], Condition::None)?;
        Ok(())
    }
}

fn is_at_or_below(folder: &str, path: &str) -> bool {
    folder.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn draft(id: MigrationId, event: Event) -> Draft {
    Draft {
        stream: stream_of_position(id.0),
        entity: None,
        actor: Actor::Daemon,
        cause: id.0,
        occurred_at: None,
        event,
    }
}

#[cfg(test)]
mod tests;

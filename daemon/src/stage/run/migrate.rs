//! Driving migrations: the only code that appends messages to a mailbox.
//!
//! A migration goes through the folders of the source in the order of their names, and through the messages of each in
//! the order of their numbers, a batch at a time: intent, appends, receipt. After a crash or a lost answer the texts
//! that came to the target since the intent are compared with those that were to be appended: they came in order, so
//! the first ones are there. At the end every text is read once more at both servers, through new logins. The source is
//! only ever read.
//!
//! It has a thread of its own, and keeps both mailboxes open while it works on them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use retention_core::event::migration::{
    MigrationCopied, MigrationCopyStarted, MigrationEnd, MigrationEnded, MigrationFailed, MigrationFolderOpened,
};
use retention_core::event::{Draft, Event, Recorded};
use retention_core::id::{Digest, MigrationId};
use retention_core::time::Timestamp;
use retention_core::view::Condition;
use retention_core::view::migrations::{FolderProgress, Migration};

use super::super::{StageError, Step, is_over, sooner};
use crate::clock::Clock;
use crate::connector::mail::{FOLDER_CLOSED, MailFailure, MailFolder, MessageState, Uid};
use crate::connector::moving::{Copied, Mover, Moving, OpenPair, Print, Side};
use crate::connector::outcome::{Refusal, Retry};
use crate::store::Store;
use crate::store::open::draft_caused_by;

/// Messages of one batch: so many may have to be compared after a crash.
const BATCH_MESSAGES: usize = 50;

/// Messages that are listed together: some MiB.
const MESSAGES_AT_ONCE: usize = 5_000;

/// How long is waited after a failure: from ten seconds, doubled each time, up to ten minutes.
const RETRY_FIRST: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(600);
/// No server asks for a longer wait than this, in microseconds: an hour.
const WAIT_US_MAX: i64 = 3_600_000_000;

/// The driver of all migrations.
pub struct Migrations {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    mover: Arc<dyn Mover>,
    /// How long was waited after the newest failure of each.
    waited: HashMap<MigrationId, Duration>,
    /// How often one of the servers said no to a message.
    refused: HashMap<(MigrationId, u32, Uid), u32>,
}

/// How many messages there are of each text and date.
type Prints = BTreeMap<(Digest, Timestamp), u64>;

/// What there is at the target: of each text and date, and of each name that a message has for itself. The name counts
/// without a date: some servers keep another one than they are given.
#[derive(Default)]
struct There {
    texts: Prints,
    ids: BTreeMap<Digest, u64>,
}

impl There {
    fn add(&mut self, print: &Print) {
        *self.texts.entry((print.text, print.received)).or_default() += 1;
        if let Some(id) = print.id {
            *self.ids.entry(id).or_default() += 1;
        }
    }

    /// Takes one message with this text and date, if there is one left.
    fn take(&mut self, print: &Print) -> bool {
        let is_there = take(&mut self.texts, &(print.text, print.received));
        if is_there {
            let _same = self.take_changed(print);
        }
        is_there
    }

    /// Takes one with its name, whatever its text and its date have become.
    fn take_changed(&mut self, print: &Print) -> bool {
        print.id.is_some_and(|id| take(&mut self.ids, &id))
    }
}

/// One folder of a migration.
#[derive(Clone, Copy)]
struct Place<'a> {
    id: MigrationId,
    number: u32,
    path: &'a str,
    into: &'a str,
    max_bytes: Option<u64>,
}

/// By its new numbers nobody can say any more what was copied.
const RENUMBERED: Broken = Broken::Never("mail-uidvalidity-changed");

/// Two entries of the registry lead to one mailbox, and what is copied comes in at the source again, without an end.
const ONE_MAILBOX: Broken = Broken::Never("mail-same-mailbox");

/// The target does not make a folder, or opens one for no changes.
const NOT_MADE: &str = "mail-folder-not-made";
const READ_ONLY: &str = "mail-read-only";
/// A folder is not there, such as a counterpart that somebody has removed.
const FOLDER_MISSING: &str = "mail-folder-missing";

/// A message is larger than the target takes, or the target says no and nothing more: that may pass, so it is tried
/// some times.
const MESSAGE_TOO_BIG: &str = "mail-message-too-big";
const PLAIN_NO: &str = "mail-refused";
/// So Cyrus answers a date that it does not keep, such as one before 1970.
const NOT_UNDERSTOOD: &str = "mail-bad-command";
const PLAIN_NO_MAX: u32 = 3;
/// The source tells of a message and does not send it.
const WITHHELD: &str = "mail-text-withheld";

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
        Self { store, clock, mover, waited: HashMap::new(), refused: HashMap::new() }
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
                Some((_, at)) if !is_over(*at, now, WAIT_US_MAX) && !migration.is_stopped => {
                    wake = Some(sooner(wake, *at));
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
        self.refused.retain(|(of, _, _), _| *of != id);
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
        let retry_at = self.clock.now().after(wait.max(asked));
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
        let mut held_up = None;
        let mut visited: BTreeSet<String> = BTreeSet::new();
        loop {
            // Folders are made and renamed while others are gone through.
            let is_wanted = |folder: &MailFolder| !is_excluded(&folder.name, &exclude);
            let mut folders: Vec<MailFolder> = moving.folders()?.into_iter().filter(is_wanted).collect();
            folders.retain(|folder| visited.insert(folder.name.clone()));
            if folders.is_empty() {
                break;
            }
            for folder in folders {
                match self.go_through_folder(id, migration, moving.as_mut(), &folder, &mut known) {
                    // The others need not wait for it; then those that the target does not have are the ones to be told.
                    Err(Broken::Mail(failure)) if matches!(failure.code(), NOT_MADE | FOLDER_CLOSED | READ_ONLY) => {
                        held_up = Some(failure);
                    }
                    gone_through => gone_through?,
                }
            }
        }
        drop(moving);
        if let Some(failure) = held_up {
            return Err(failure.into());
        }
        self.verify(id, migration, &exclude)
    }

    fn excluded(&self, id: MigrationId) -> Result<Vec<String>, Broken> {
        match self.store.read(id.0)?.as_ref().and_then(Recorded::event) {
            Some(Event::MigrationRequested(body)) => Ok(body.exclude.clone()),
            _ => Err(Broken::Never("request_unreadable")),
        }
    }

    /// Returns the numbers of the folders that were opened before, by their paths, each with the path of its
    /// counterpart.
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
        let (number, mut into, is_new) = match known.get(&folder.name) {
            Some((number, into)) => (*number, into.clone(), false),
            None => (u32::try_from(known.len()).unwrap_or(u32::MAX), moving.counterpart(folder)?, true),
        };
        let opened = match moving.open_pair(&folder.name, &into) {
            // Somebody removed it from the target, or gave it another name. Made anew, it is another one.
            Err(failure) if !is_new && failure.code() == FOLDER_MISSING => {
                into = moving.counterpart(folder)?;
                moving.open_pair(&folder.name, &into)?
            }
            opened => opened?,
        };
        let Some(pair) = opened else { return Ok(()) };
        let is_another = known.get(&folder.name).is_some_and(|(_, before)| *before != into);
        let before = self.progress(id, number).filter(|_| !is_new);
        // The next migration of these mailboxes looks at the texts.
        let is_renumbered = before.as_ref().is_some_and(|progress| is_another || !is_under(progress, pair));
        if is_renumbered && before.as_ref().is_some_and(|progress| progress.opened > id.0) {
            return Err(RENUMBERED);
        }
        if is_new || is_renumbered {
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
                ..draft_caused_by(id.0, Event::MigrationFolderOpened(body))
            };
            self.store.append_drafts(vec![draft], Condition::None)?;
            known.insert(folder.name.clone(), (number, into.clone()));
        }
        let place = Place { id, number, path: &folder.name, into: &into, max_bytes: migration.max_bytes };
        let progress = self.progress(id, number).ok_or(Broken::Never("request_unreadable"))?;
        if let Some((uids, uid_next)) = progress.intent {
            self.settle(place, moving, &uids, uid_next)?;
        }
        let mut after = self.progress(id, number).map_or(0, |progress| progress.upto);
        // What an earlier migration left out, or copied under other numbers, may be there or not: its text tells.
        let is_compared = self.was_numbered_anew(id, number, progress.opened);
        let earlier = self.earlier_limit(migration);
        let was_refused = self.was_refused(migration, number);
        let takes_more = earlier.is_some_and(|max| migration.max_bytes.is_none_or(|now| now > max));
        if is_compared || (after > 0 && (was_refused || takes_more)) {
            let upto = if is_compared { Uid::MAX } else { after };
            let noted = self.noted(id, migration, number, progress.opened)?;
            let may_be_there = |message: &MessageState| {
                let is_beyond = earlier.is_some_and(|max| message.standing.size > max);
                let is_left_out = message.uid <= progress.upto && (was_refused || is_beyond);
                !noted.contains(&message.uid) && (is_compared || is_left_out)
            };
            // For what was refused it was waited before: one more no is enough.
            let noes = if was_refused { PLAIN_NO_MAX - 1 } else { 0 };
            self.copy_missing(place, moving, upto, &may_be_there, &noted, noes)?;
            after = self.progress(id, number).map_or(after, |progress| progress.upto);
        }
        loop {
            let messages = listed(moving, after, MESSAGES_AT_ONCE)?;
            for batch in messages.chunks(BATCH_MESSAGES) {
                self.copy_batch(place, moving, batch)?;
            }
            match messages.last() {
                Some(last) => after = last.uid,
                None => return Ok(()),
            }
        }
    }

    /// Returns the smallest limit by which earlier migrations of the same mailboxes left messages out.
    fn earlier_limit(&self, migration: &Migration) -> Option<u64> {
        self.store.view(|views| {
            let mut limit: Option<u64> = None;
            let mut at = migration.continues;
            while let Some(earlier) = at.and_then(|id| views.small.migrations.get(id)) {
                limit = [limit, earlier.max_bytes].into_iter().flatten().min();
                at = earlier.continues;
            }
            limit
        })
    }

    /// Says whether an earlier migration of the same mailboxes left messages of a folder out that the target refused,
    /// and found them missing: whatever the reason was, it may be gone.
    fn was_refused(&self, migration: &Migration, number: u32) -> bool {
        self.store.view(|views| {
            let is_missing = |folder: &FolderProgress| folder.verified.is_some_and(|(_, missing)| missing > 0);
            let mut at = migration.continues;
            while let Some(earlier) = at.and_then(|id| views.small.migrations.get(id)) {
                let folder = earlier.folders.get(number as usize);
                if folder.is_some_and(|folder| folder.left_out > 0 && is_missing(folder)) {
                    return true;
                }
                at = earlier.continues;
            }
            false
        })
    }

    /// Copies those messages up to a number that may be at the target already, and are not; those that are noted as copied
    /// count for themselves there. `noes` is how often the target said no to each before.
    fn copy_missing(
        &mut self,
        place: Place<'_>,
        moving: &mut dyn Moving,
        upto: Uid,
        may_be_there: &dyn Fn(&MessageState) -> bool,
        noted: &BTreeSet<Uid>,
        noes: u32,
    ) -> Result<(), Broken> {
        let candidates: Vec<MessageState> = listed(moving, 0, usize::MAX)?
            .into_iter()
            .filter(|message| message.uid <= upto && may_be_there(message))
            .collect();
        if candidates.is_empty() {
            return Ok(());
        }
        let mut there = There::default();
        moving.prints(Side::Target, 0, &mut |_, print| {
            there.add(&print);
            ControlFlow::Continue(())
        })?;
        let (mut without_text, mut changed) = (Vec::new(), Vec::new());
        moving.prints(Side::Source, 0, &mut |uid, print| {
            if candidates.binary_search_by_key(&uid, |message| message.uid).is_ok() {
                without_text.push((uid, print));
            } else if noted.contains(&uid) && !there.take(&print) {
                changed.push(print);
            }
            ControlFlow::Continue(())
        })?;
        without_text.retain(|(_, print)| !there.take(print));
        // What the target changed is known by the name that it has for itself.
        for print in &changed {
            let _is_there = there.take_changed(print);
        }
        without_text.retain(|(_, print)| !there.take_changed(print));
        let mut missing: Vec<Uid> = without_text.into_iter().map(|(uid, _)| uid).collect();
        missing.sort_unstable();
        for uid in &missing {
            // What was counted when this broke off goes on counting.
            self.refused.entry((place.id, place.number, *uid)).or_insert(noes);
        }
        let highest = candidates.last().map_or(0, |message| message.uid);
        let wanted: Vec<MessageState> =
            candidates.into_iter().filter(|message| missing.binary_search(&message.uid).is_ok()).collect();
        for batch in wanted.chunks(BATCH_MESSAGES) {
            self.copy_batch(place, moving, batch)?;
        }
        let done = MigrationCopied { upto: highest, ..nothing(place) };
        Ok(self.append(place.id, Event::MigrationCopied(done))?)
    }

    fn is_stopped(&self, id: MigrationId) -> bool {
        self.store.halt().is_asked()
            || self.store.view(|views| views.small.migrations.get(id).is_none_or(|migration| migration.is_stopped))
    }

    fn copy_batch(&mut self, place: Place<'_>, moving: &mut dyn Moving, batch: &[MessageState]) -> Result<(), Broken> {
        let mut rest = batch;
        while !rest.is_empty() {
            let done = self.copy_first(place, moving, rest)?;
            rest = rest.get(done..).unwrap_or_default();
        }
        Ok(())
    }

    /// Copies the first messages of some: all of them, or up to one that the target refuses for good. Returns how many
    /// are dealt with.
    fn copy_first(
        &mut self,
        place: Place<'_>,
        moving: &mut dyn Moving,
        batch: &[MessageState],
    ) -> Result<usize, Broken> {
        let id = place.id;
        if self.is_stopped(id) {
            return Err(Broken::Stopped);
        }
        // Its next number at the target must be told anew: others deliver there as well.
        let Some(pair) = moving.open_pair(place.path, place.into)? else { return Ok(batch.len()) };
        if !self.progress(id, place.number).is_some_and(|progress| is_under(&progress, pair)) {
            return Err(RENUMBERED);
        }
        // What was left out before is counted already.
        let counted = self.progress(id, place.number).map_or(0, |progress| progress.upto);
        let left_out = |message: &MessageState| u32::from(message.uid > counted);
        let is_too_large = |message: &MessageState| place.max_bytes.is_some_and(|max| message.standing.size > max);
        let uids: Vec<Uid> = batch.iter().filter(|message| !is_too_large(message)).map(|message| message.uid).collect();
        if !uids.is_empty() {
            let (folder, target_uid_next) = (place.number, pair.target.uid_next);
            let body = MigrationCopyStarted { migration: id, folder, uids, target_uid_next };
            self.append(id, Event::MigrationCopyStarted(body))?;
        }
        let mut done = nothing(place);
        let (mut broken, mut refused) = (None, None);
        for (number, message) in batch.iter().enumerate() {
            if is_too_large(message) {
                done.left_out += left_out(message);
            } else {
                match moving.copy(message) {
                    Ok(Copied::Done { bytes }) => {
                        done.messages += 1;
                        done.bytes += bytes;
                        if done.messages == 1 && is_one_mailbox(moving, place, pair)? {
                            done.upto = message.uid;
                            broken = Some(ONE_MAILBOX);
                            break;
                        }
                    }
                    Ok(Copied::Gone) => done.gone += 1,
                    // It can be copied in no way: it is told and left out, and the others go on.
                    Err(MailFailure::Refused(refusal)) if self.is_for_good(place, message.uid, refusal) => {
                        tracing::warn!(migration = %id, folder = place.number, code = refusal.code, "a message cannot be copied, and is left out");
                        let (left_out, upto) = (left_out(message), message.uid);
                        refused = Some((number, MigrationCopied { left_out, upto, ..nothing(place) }));
                        break;
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
        let has_progress = done.upto > 0 || refused.is_some();
        // What is refused is noted alone: so the log says of each message whether it was copied.
        let dealt_with = match refused {
            Some((number, refused)) => {
                if number > 0 {
                    self.append(id, Event::MigrationCopied(done))?;
                }
                self.append(id, Event::MigrationCopied(refused))?;
                number + 1
            }
            None => {
                self.append(id, Event::MigrationCopied(done))?;
                batch.len()
            }
        };
        if has_progress {
            self.waited.remove(&id);
        }
        broken.map_or(Ok(dealt_with), Err)
    }

    /// Says whether a message can never be copied: the target says so, or has said no to it several times, or the source was
    /// asked for it twice and sent nothing.
    fn is_for_good(&mut self, place: Place<'_>, uid: Uid, refusal: Refusal) -> bool {
        if matches!(refusal.code, MESSAGE_TOO_BIG | WITHHELD) {
            return true;
        }
        if !matches!(refusal.code, PLAIN_NO | NOT_UNDERSTOOD) {
            return false;
        }
        let times = self.refused.entry((place.id, place.number, uid)).or_default();
        *times += 1;
        *times >= PLAIN_NO_MAX
    }

    /// Finds out which messages of an intent are at the target.
    fn settle(&mut self, place: Place<'_>, moving: &mut dyn Moving, uids: &[Uid], uid_next: u32) -> Result<(), Broken> {
        let mut arrived: Vec<Option<Print>> = Vec::new();
        moving.prints(Side::Target, uid_next, &mut |_, print| {
            arrived.push(Some(print));
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
        let mut found = |uid: &Uid, fits: &dyn Fn(&Print, &Print) -> bool| {
            let Some(print) = wanted.get(uid) else { return false };
            let place = arrived.iter_mut().find(|other| other.as_ref().is_some_and(|other| fits(print, other)));
            place.and_then(Option::take).is_some()
        };
        let mut there: Vec<bool> = uids.iter().map(|uid| found(uid, &Print::is_same)).collect();
        // A server that changes what it is given is known by the name that the message has for itself.
        let by_id = |one: &Print, other: &Print| one.id.is_some() && one.id == other.id;
        for (uid, is_there) in uids.iter().zip(&mut there).filter(|(_, is_there)| !**is_there) {
            *is_there = found(uid, &by_id);
        }
        // They were appended in order: whatever stands before one that is there was appended too, or gone, or refused
        // for good.
        let settled = there.iter().rposition(|is_there| *is_there).map_or(0, |last| last + 1);
        let mut done = nothing(place);
        for (uid, is_there) in uids.iter().zip(&there).take(settled) {
            match (is_there, wanted.contains_key(uid)) {
                (true, _) => done.messages += 1,
                (false, true) => done.left_out += 1,
                (false, false) => done.gone += 1,
            }
            done.upto = *uid;
        }
        Ok(self.append(place.id, Event::MigrationCopied(done))?)
    }

    fn append(&self, id: MigrationId, event: Event) -> Result<(), StageError> {
        self.store.append_drafts(vec![draft_caused_by(id.0, event)], Condition::None)?;
        Ok(())
    }
}

/// Messages of the open folder of the source with higher numbers, ascending: at most so many.
fn listed(moving: &mut dyn Moving, after: Uid, at_most: usize) -> Result<Vec<MessageState>, Broken> {
    let mut messages: Vec<MessageState> = Vec::new();
    moving.messages(after, at_most, &mut |message| {
        messages.push(message);
        ControlFlow::Continue(())
    })?;
    messages.sort_unstable_by_key(|message| message.uid);
    Ok(messages)
}

/// Takes one message with this text and date, if there is one left.
fn take<K: Ord>(counts: &mut BTreeMap<K, u64>, of: &K) -> bool {
    match counts.get_mut(of) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}

/// Says whether both servers still number the messages of a folder as they did when it was opened.
fn is_under(progress: &FolderProgress, pair: OpenPair) -> bool {
    (progress.source_validity, progress.target_validity) == (pair.source.uid_validity, pair.target.uid_validity)
}

/// Says whether what was just appended at the target came in at the source as well. Only a folder that both number
/// alike can be one and the same.
fn is_one_mailbox(moving: &mut dyn Moving, place: Place<'_>, before: OpenPair) -> Result<bool, Broken> {
    if before.source.uid_validity != before.target.uid_validity {
        return Ok(false);
    }
    let Some(OpenPair { source, target }) = moving.open_pair(place.path, place.into)? else { return Ok(false) };
    let is_alike = (source.uid_next, source.exists) == (target.uid_next, target.exists);
    Ok(is_alike && source.exists > before.source.exists)
}

fn nothing(place: Place<'_>) -> MigrationCopied {
    let (migration, folder) = (place.id, place.number);
    MigrationCopied { migration, folder, upto: 0, messages: 0, bytes: 0, left_out: 0, gone: 0 }
}

/// Says whether a folder is to be left out, or lies below one that is.
fn is_excluded(folder: &str, exclude: &[String]) -> bool {
    let is_at_or_below =
        |path: &String| folder.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    exclude.iter().any(is_at_or_below)
}

mod noted;
#[cfg(test)]
mod tests;
mod verify;

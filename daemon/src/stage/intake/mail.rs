//! Mailboxes: the messages of those that are registered become entities, and what changes in them becomes events.
//!
//! A mailbox is looked at when somebody asks, before a plan about messages is made, also about those of a data subject,
//! and now and then while a policy is about messages; otherwise nothing of any message is recorded. What a folder was at
//! the last look is kept in memory only: after a restart every folder is read once in full, and nothing new is appended
//! because of that.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use retention_core::event::Event;
use retention_core::event::change::{MailboxScanned, ScanEnd};
use retention_core::id::{EntityId, Position};
use retention_core::policy::State;
use retention_core::record::message::{self, MessageKey};
use retention_core::record::{DateRole, EntityRecord, Kind, Visibility};
use retention_core::time::Timestamp;
use retention_core::view::{Condition, Conflict, EntityState, Views};
use roaring::RoaringBitmap;

use super::super::{Step, look_due, sooner};
use super::IntakeError;
use super::gone::ENTITIES_PER_LOOK;
use super::reading::{BATCH_BYTES_MAX, CHANGES_PER_BATCH};
use super::rows::Taking;
use crate::clock::Clock;
use crate::connector::change::{Place, SourceRow};
use crate::connector::mail::{
    Depth, FOLDER_CLOSED, FolderState, MailFailure, MailFolder, Mailroom, REFUSALS_OF_A_FOLDER, Registered, Which,
};
use crate::halt::Halt;
use crate::store::{AppendError, Store};

/// How often a mailbox is looked at while a policy is about messages, in microseconds: an hour, since policies count in
/// days, and before every plan it is looked at anyway.
pub const SCAN_EVERY_US: i64 = 3_600_000_000;

/// How many mailboxes are looked at at the same time: more connections make no server faster, and each costs a thread
/// and some megabytes here.
const SCANS_AT_ONCE: usize = 8;

/// The most messages of one mailbox that are recorded: a hundred times what large mailboxes hold. A mailbox that says
/// to hold more is not believed, and nothing in it is purged.
const MESSAGES_MAX: u64 = 5_000_000;

/// How often one look is begun again because entities were purged under it.
const ATTEMPTS_MAX: u32 = 3;

/// The code of a look that read all but messages whose headers could not be read, and of one that failed because such a
/// message is known already.
const HEADER_UNREAD: &str = "mail-header-unread";

/// The most messages of one folder that the diagnostics name because their headers could not be read.
const UNREAD_NAMED_MAX: u64 = 10;

/// The stage.
pub struct MailIntake {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    mailroom: Arc<dyn Mailroom>,
    /// What was seen in each mailbox, and when it was registered then: registered anew it may lead to another one.
    seen: HashMap<EntityId, (Option<Timestamp>, SeenFolders)>,
    /// When each mailbox was looked at last, by the clock.
    looked_at: HashMap<EntityId, Timestamp>,
}

/// The folders of a mailbox at the last look.
type SeenFolders = BTreeMap<String, SeenFolder>;

struct SeenFolder {
    special_use: BTreeSet<String>,
    state: FolderState,
    entities: RoaringBitmap,
    /// How many messages in it are not known, because their headers could not be read.
    unread: u64,
}

/// What a look found.
#[derive(Default)]
struct Looked {
    folders: u64,
    messages: u64,
    unread: u64,
    seen: SeenFolders,
    /// Folders that are there and do not open.
    closed: BTreeSet<String>,
}

impl Looked {
    /// Returns the code of what was left out.
    fn code(&self) -> &'static str {
        match (self.closed.is_empty(), self.unread) {
            (false, _) => FOLDER_CLOSED,
            (true, 0) => "",
            (true, _) => HEADER_UNREAD,
        }
    }
}

/// Why a look ended early.
enum Stopped {
    Mail(&'static str),
    Log(IntakeError),
}

impl From<MailFailure> for Stopped {
    fn from(failure: MailFailure) -> Self {
        Self::Mail(failure.code())
    }
}

impl From<IntakeError> for Stopped {
    fn from(error: IntakeError) -> Self {
        Self::Log(error)
    }
}

/// A mailbox that is to be looked at, and the event that wants it.
struct Wanted {
    mailbox: Registered,
    cause: Position,
}

impl MailIntake {
    /// Looks at these mailboxes.
    #[must_use]
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, mailroom: Arc<dyn Mailroom>) -> Self {
        Self { store, clock, mailroom, seen: HashMap::new(), looked_at: HashMap::new() }
    }

    /// Looks at some mailboxes that are waiting for it.
    ///
    /// # Errors
    /// When the log or the keys fail. What a mail server does not do is no error: it is recorded.
    pub fn step(&mut self) -> Result<Step, IntakeError> {
        let now = self.clock.now();
        let (mut wanted, next) = self.wanted(now)?;
        if wanted.is_empty() {
            return Ok(next);
        }
        wanted.truncate(SCANS_AT_ONCE);
        let tasks: Vec<(Wanted, Option<Timestamp>, SeenFolders)> = wanted
            .into_iter()
            .map(|wanted| {
                let mailbox = wanted.mailbox.entity;
                let since = self.store.view(|views| views.small.registry.get(mailbox).map(|known| known.registered_at));
                let seen = self.seen.remove(&mailbox).filter(|(then, _)| *then == since);
                (wanted, since, seen.map(|(_, seen)| seen).unwrap_or_default())
            })
            .collect();
        let this = &*self;
        let ended: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = tasks
                .iter()
                .map(|(wanted, _, seen)| {
                    let look = move || this.scan(wanted, seen);
                    std::thread::Builder::new().name("mail-scan".to_owned()).spawn_scoped(scope, look)
                })
                .collect();
            threads
                .into_iter()
                .zip(&tasks)
                .map(|(thread, (wanted, ..))| match thread {
                    Ok(thread) => thread.join().unwrap_or_else(|_| this.fell(wanted)),
                    Err(error) => Err(IntakeError::Thread(error.kind())),
                })
                .collect()
        });
        let now = self.clock.now();
        for ((wanted, since, _), ended) in tasks.iter().zip(ended) {
            self.looked_at.insert(wanted.mailbox.entity, now);
            self.seen.insert(wanted.mailbox.entity, (*since, ended?));
        }
        Ok(Step::Worked)
    }

    /// Returns the mailboxes that are to be looked at now, the most urgent first, and when the next one is.
    fn wanted(&self, now: Timestamp) -> Result<(Vec<Wanted>, Step), IntakeError> {
        let policies = self.store.policies();
        let is_about_messages =
            |id: &str| policies.get(id).is_some_and(|policy| policy.scope.kinds.contains(&Kind::Message));
        let has_policy = policies
            .policies()
            .iter()
            .any(|policy| policy.state != State::Draft && policy.scope.kinds.contains(&Kind::Message));
        let registered = self.mailroom.registered();
        let mut forgotten = Vec::new();
        let (wanted, next) = self.store.view(|views| {
            let open = views.small.plans.iter().filter(|(_, plan)| plan.frozen.is_none() && plan.refused.is_none());
            let plan = open.filter(|(_, plan)| is_about_messages(&plan.request.policy)).map(|(id, _)| id.0).max();
            let scans = &views.small.scans;
            // A data subject's messages are in some mailboxes, and the others need not be looked at for them.
            let mut erasures: BTreeMap<EntityId, Position> = BTreeMap::new();
            for (id, plan) in views.small.plans.iter().filter(|(_, p)| p.frozen.is_none() && p.refused.is_none()) {
                let request = plan.erases.and_then(|request| views.small.subjects.get(request));
                for mailbox in request.into_iter().flat_map(|request| views.mailboxes_of_request(request)) {
                    let newest = erasures.entry(mailbox).or_default();
                    *newest = (*newest).max(id.0);
                }
            }
            let (mut urgent, mut due, mut next) = (Vec::new(), Vec::new(), None);
            for mailbox in registered {
                let known = scans.get(mailbox.entity);
                if scans.is_requested(mailbox.entity) {
                    let cause = known.map_or(Position::NONE, |scan| scan.requested);
                    urgent.push(Wanted { mailbox, cause });
                } else if let Some(cause) = erasures
                    .get(&mailbox.entity)
                    .copied()
                    .max(plan)
                    .filter(|plan| !scans.tried_after(mailbox.entity, *plan))
                {
                    urgent.push(Wanted { mailbox, cause });
                } else if has_policy {
                    let looked = self.looked_at.get(&mailbox.entity).copied();
                    let at = known.map_or(now, |scan| look_due(scan.tried_at, looked, now, SCAN_EVERY_US));
                    if at <= now {
                        due.push(Wanted { mailbox, cause: Position::NONE });
                    } else {
                        next = Some(sooner(next, at));
                    }
                }
            }
            let is_wanted = |mailbox: EntityId| urgent.iter().any(|wanted| wanted.mailbox.entity == mailbox);
            if let Some(plan) = plan {
                forgotten.extend(scans.waiting_since(plan).filter(|mailbox| !is_wanted(*mailbox)));
            }
            let waiting = erasures.into_iter().filter(|(mailbox, plan)| !scans.tried_after(*mailbox, *plan));
            forgotten.extend(waiting.map(|(mailbox, _)| mailbox).filter(|mailbox| !is_wanted(*mailbox)));
            forgotten.sort_unstable();
            forgotten.dedup();
            urgent.append(&mut due);
            (urgent, next.map_or(Step::Idle, Step::IdleUntil))
        });
        // A plan waits for every mailbox that was ever looked at; one that is no longer registered is told to be gone.
        for mailbox in forgotten {
            self.record(mailbox, Position::NONE, &failed("not_registered"))?;
        }
        Ok((wanted, next))
    }

    /// Looks at one mailbox and records how that ended.
    fn scan(&self, wanted: &Wanted, before: &SeenFolders) -> Result<SeenFolders, IntakeError> {
        let mailbox = wanted.mailbox.entity;
        let mut attempt = 1;
        loop {
            let mut taking = Taking::new(&self.store, mailbox, wanted.cause, false);
            let ended = self.look(&wanted.mailbox, before, &mut taking);
            let drained = taking.in_flight.drain();
            let (body, seen) = match (ended, drained) {
                (Err(Stopped::Log(error)), _) | (_, Err(error)) => {
                    let is_conflict =
                        matches!(error, IntakeError::Append(AppendError::Conflict(Conflict::Entities(_))));
                    if is_conflict && attempt < ATTEMPTS_MAX {
                        attempt += 1;
                        continue;
                    }
                    return Err(error);
                }
                (Err(Stopped::Mail(code)), Ok(())) => {
                    tracing::warn!(%mailbox, code, "a mailbox could not be looked at; what is known of it stays");
                    (failed(code), SeenFolders::new())
                }
                (Ok(looked), Ok(())) => {
                    let counts = taking.counts;
                    let body = MailboxScanned {
                        end: ScanEnd::Done,
                        code: looked.code().to_owned(),
                        folders: looked.folders,
                        messages: looked.messages,
                        added: counts.added,
                        changed: counts.changed,
                        absent: counts.absent,
                    };
                    tracing::info!(
                        %mailbox,
                        folders = body.folders,
                        messages = body.messages,
                        added = body.added,
                        changed = body.changed,
                        absent = body.absent,
                        unread = looked.unread,
                        "a mailbox was looked at"
                    );
                    (body, looked.seen)
                }
            };
            self.record(mailbox, wanted.cause, &body)?;
            return Ok(seen);
        }
    }

    /// A look that panicked, as the diagnostics tell, is one that failed: begun again at once, it would be for ever.
    fn fell(&self, wanted: &Wanted) -> Result<SeenFolders, IntakeError> {
        self.record(wanted.mailbox.entity, wanted.cause, &failed("look_failed"))?;
        Ok(SeenFolders::new())
    }

    fn record(&self, mailbox: EntityId, cause: Position, body: &MailboxScanned) -> Result<(), IntakeError> {
        let taking = Taking::new(&self.store, mailbox, cause, false);
        let draft = taking.draft(mailbox, None, Event::MailboxScanned(body.clone()));
        self.store.append_drafts(vec![draft], Condition::None)?;
        Ok(())
    }

    fn look(&self, mailbox: &Registered, before: &SeenFolders, taking: &mut Taking<'_>) -> Result<Looked, Stopped> {
        if self.is_being_purged(mailbox.entity) {
            return Err(Stopped::Mail("purge_under_way"));
        }
        let mut session = self.mailroom.open(mailbox.entity)?;
        let folders = session.folders()?;
        taking.know_mailbox(&mailbox.source, &mailbox.address, mailbox.entity);
        taking.announce(message::layout(&mailbox.source))?;
        let mut looked = Looked::default();
        let mut refusal = None;
        for folder in folders {
            self.store.halt().check().map_err(IntakeError::from)?;
            let state = match session.look_into(&folder.name) {
                Ok(Some(FolderState::OF_OTHERS) | None) => continue,
                Ok(Some(state)) => state,
                Err(failure) if REFUSALS_OF_A_FOLDER.contains(&failure.code()) => {
                    refusal = Some(failure);
                    looked.closed.insert(folder.name);
                    continue;
                }
                Err(failure) => return Err(failure.into()),
            };
            looked.folders += 1;
            looked.messages += u64::from(state.exists);
            if looked.messages > MESSAGES_MAX {
                return Err(Stopped::Mail("too_many_messages"));
            }
            let known = before
                .get(&folder.name)
                .filter(|known| known.is_as_now(&folder, state) && self.are_kept(&known.entities));
            let (entities, unread) = match known {
                Some(known) => {
                    taking.seen |= &known.entities;
                    (known.entities.clone(), known.unread)
                }
                None => {
                    let earlier = taking.seen.clone();
                    let halt = self.store.halt();
                    let (batch, bytes, unread, failed) = (Vec::new(), 0, 0, None);
                    let mut rows = Rows { mailbox, folder: &folder, state, taking, halt, batch, bytes, unread, failed };
                    let told = session.messages(Which::All, Depth::Record, &mut |message| rows.take(message));
                    // Why the rows were not taken says more than how the transfer ended because of that.
                    let unread = rows.finish()?;
                    told?;
                    (&taking.seen - &earlier, unread)
                }
            };
            looked.unread += unread;
            // A message that came while the folder was read is not told by the state from before.
            looked.seen.insert(folder.name, SeenFolder { special_use: folder.special_use, state, entities, unread });
        }
        if let Some(refusal) = refusal {
            // Where nothing opens it is no matter of single folders.
            if looked.folders == 0 {
                return Err(refusal.into());
            }
            tracing::warn!(
                mailbox = %mailbox.entity,
                folders = looked.closed.len(),
                code = refusal.code(),
                "folders of a mailbox are there and do not open; what is known of their messages stays, and `retentionctl mailbox \
                 check` names them"
            );
            let lies_there = |record: &EntityRecord| {
                MessageKey::parse(&record.external_id).is_none_or(|key| looked.closed.contains(&key.folder))
            };
            taking.spare(mailbox.entity, &lies_there)?;
        }
        taking.take_snapshot(Some(&mailbox.address), Kind::Message)?;
        Ok(looked)
    }

    /// Says whether none of these was purged since. A folder that looks as it did before holds them again: its server was
    /// restored.
    fn are_kept(&self, entities: &RoaringBitmap) -> bool {
        let is_kept = |views: &Views, number: u32| {
            views.entities.row(EntityId(number)).is_some_and(|row| row.state != EntityState::Purged)
        };
        let numbers: Vec<u32> = entities.iter().collect();
        let mut pieces = numbers.chunks(ENTITIES_PER_LOOK as usize);
        pieces.all(|piece| self.store.view(|views| piece.iter().all(|number| is_kept(views, *number))))
    }

    /// What is about to be expunged must not be taken in a second time.
    fn is_being_purged(&self, mailbox: EntityId) -> bool {
        self.store.view(|views| {
            views
                .small
                .runs
                .sagas()
                .any(|(_, saga)| saga.end.is_none() && saga.started.mailbox == Some(mailbox) && saga.is_past_pivot())
        })
    }
}

impl SeenFolder {
    /// Says whether nothing can have changed since: only a server that counts changes can say so of flags.
    fn is_as_now(&self, folder: &MailFolder, state: FolderState) -> bool {
        state.highest_modseq.is_some() && self.state == state && self.special_use == folder.special_use
    }
}

fn failed(code: &str) -> MailboxScanned {
    let (folders, messages, added, changed, absent) = (0, 0, 0, 0, 0);
    MailboxScanned { end: ScanEnd::Failed, code: code.to_owned(), folders, messages, added, changed, absent }
}

/// Messages of one folder on their way to the log.
struct Rows<'a, 'b> {
    mailbox: &'a Registered,
    folder: &'a MailFolder,
    state: FolderState,
    taking: &'a mut Taking<'b>,
    halt: &'a Halt,
    batch: Vec<SourceRow>,
    /// The text in `batch`.
    bytes: usize,
    unread: u64,
    failed: Option<Stopped>,
}

impl Rows<'_, '_> {
    fn take(&mut self, told: crate::connector::mail::MessageState) -> ControlFlow<()> {
        let key = MessageKey { folder: self.folder.name.clone(), uid_validity: self.state.uid_validity, uid: told.uid };
        let Some(correspondents) = told.correspondents else { return self.passes_by(&key, told.is_stood_in_for) };
        let Ok(cells) = message::cells(&key, &self.folder.special_use, &told.standing, &correspondents) else {
            self.failed = Some(Stopped::Mail("headers_too_large"));
            return ControlFlow::Break(());
        };
        self.bytes += cells.iter().flatten().map(str::len).sum::<usize>();
        self.batch.push(SourceRow {
            layout: 0,
            mailbox: Some(Arc::clone(&self.mailbox.address)),
            visibility: Visibility::Unknown,
            external_id: key.external_id(),
            other_ids: Vec::new(),
            // What is no date stays in its cell, and a policy that counts from it keeps the message.
            dates: told.standing.dated().map(|at| (DateRole::Received, at)).into_iter().collect(),
            links: Vec::new(),
            cells,
            place: Place::whole(None),
        });
        if self.batch.len() >= CHANGES_PER_BATCH || self.bytes >= BATCH_BYTES_MAX {
            self.flush();
        }
        if self.failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Leaves a message alone whose header could not be read: it is not known, so nothing judges it and nothing purges it.
    /// One that is known already, from a time in which less of a header was read, must not be judged by that. Where a notice
    /// stands in its place it stays as it is known: its text is not to be had, so no run exports and purges it.
    fn passes_by(&mut self, key: &MessageKey, is_stood_in_for: bool) -> ControlFlow<()> {
        self.unread += 1;
        let mailbox = self.mailbox.entity;
        if self.unread <= UNREAD_NAMED_MAX {
            tracing::warn!(
                %mailbox,
                uidvalidity = key.uid_validity,
                uid = key.uid,
                "the header of a message could not be read: it has more than a megabyte of addresses, or the server has lost it. \
                 Who stands in it is not known, so it is not recorded, not found and not purged"
            );
        }
        match self.taking.known(&self.mailbox.source, mailbox, Kind::Message, &key.external_id()) {
            None => ControlFlow::Continue(()),
            Some(entity) if is_stood_in_for => {
                self.taking.seen.insert(entity.0);
                ControlFlow::Continue(())
            }
            Some(_) => {
                self.failed = Some(Stopped::Mail(HEADER_UNREAD));
                ControlFlow::Break(())
            }
        }
    }

    fn flush(&mut self) {
        self.bytes = 0;
        if self.batch.is_empty() || self.failed.is_some() {
            return;
        }
        let halted = self.halt.check().map_err(IntakeError::from);
        if let Err(error) = halted.and_then(|()| self.taking.take_rows(std::mem::take(&mut self.batch))) {
            self.failed = Some(Stopped::Log(error));
        }
    }

    /// Returns how many messages could not be read.
    fn finish(mut self) -> Result<u64, Stopped> {
        self.flush();
        match self.failed {
            Some(stopped) => Err(stopped),
            None => Ok(self.unread),
        }
    }
}

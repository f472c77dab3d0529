//! A mail server in memory: mailboxes with folders and messages, faults at every call, and a memory of what was
//! removed.

mod letters;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use retention_core::event::saga::Residue;
use retention_core::id::EntityId;
use retention_core::record::message::{Correspondents, MessageKey, MessageStanding};
use retention_core::time::Timestamp;
use retentiond::clock::ManualClock;
use retentiond::connector::mail::{
    DELETED, Depth, EachMessage, FolderState, MailFailure, MailFolder, MailSession, Mailroom, MessageState, Registered,
    Room, TextSink, Uid, Which,
};
use retentiond::connector::outcome::{Cause, Refusal, Retry};

use self::letters::DELIVERED_AT;
use crate::faults::Fault;
use crate::invariants::MARKER;

/// A call of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailCall {
    /// A login.
    Open,
    /// The list of folders.
    Folders,
    /// A folder is opened for looking.
    LookInto,
    /// A folder is opened for changing it.
    WorkOn,
    /// Messages are told.
    Messages,
    /// Texts are handed out.
    Texts,
    /// Messages are flagged as deleted.
    Flag,
    /// That flag is taken away.
    Unflag,
    /// Messages are removed.
    Expunge,
    /// The server is to forget.
    Residue,
}

impl MailCall {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Open,
        Self::Folders,
        Self::LookInto,
        Self::WorkOn,
        Self::Messages,
        Self::Texts,
        Self::Flag,
        Self::Unflag,
        Self::Expunge,
        Self::Residue,
    ];
}

/// What somebody else does to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meddling {
    /// Flags it, so that the policy keeps it.
    Flags,
    /// Flags it as deleted, without removing it.
    FlagsDeleted,
    /// Moves it to the inbox.
    Moves,
    /// Removes it.
    Removes,
    /// Delivers another message into its folder.
    Delivers,
    /// Numbers its folder anew.
    Renumbers,
    /// Removes its folder.
    RemovesFolder,
}

impl Meddling {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Flags,
        Self::FlagsDeleted,
        Self::Moves,
        Self::Removes,
        Self::Delivers,
        Self::Renumbers,
        Self::RemovesFolder,
    ];
}

/// How long a slow call takes: longer than any back-off.
const SLOW: Duration = Duration::from_secs(24 * 60 * 60);

/// How long somebody waits for the others before the test has failed.
const MEETING_MAX: Duration = Duration::from_secs(120);

/// Where everything is moved that is moved.
const INBOX: &str = "INBOX";

/// One message.
#[derive(Clone)]
struct Message {
    standing: MessageStanding,
    correspondents: Correspondents,
    /// Whether its header is too large to be read, or lost.
    is_unreadable: bool,
    /// Whether its text is not handed out.
    is_withheld: bool,
    text: Vec<u8>,
    modseq: u64,
    /// Whether the flag of deletion is ours.
    is_flagged_by_us: bool,
}

#[derive(Clone)]
struct Folder {
    uid_validity: u32,
    uid_next: u32,
    special_use: BTreeSet<String>,
    messages: BTreeMap<Uid, Message>,
}

struct Mailbox {
    address: Arc<str>,
    folders: BTreeMap<String, Folder>,
}

/// A message that was removed through the connector.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expunged {
    /// The mailbox.
    pub mailbox: EntityId,
    /// Where it was.
    pub key: MessageKey,
    /// What it was.
    pub text: Vec<u8>,
}

/// What happens at a call.
type Deed = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    mailboxes: BTreeMap<EntityId, Mailbox>,
    faults: Vec<(MailCall, u32, Fault)>,
    meddling: Vec<(MailCall, u32, EntityId, String, Uid, Meddling)>,
    modseq: u64,
    validity: u32,
    expunged: Vec<Expunged>,
    closed: BTreeSet<(EntityId, String)>,
    calls: BTreeMap<u8, u32>,
    /// Where so many callers meet, and what the last of them does before all go on.
    meeting: Option<(MailCall, usize, Option<Deed>)>,
    /// How many wait there.
    waiting: usize,
    /// How many sessions are open, and how many there ever were at once.
    sessions: (usize, usize),
}

/// The server.
pub struct MailServer {
    state: Mutex<State>,
    clock: ManualClock,
    /// Whether it can remove named messages alone.
    pub has_uidplus: Mutex<bool>,
    /// Whether it counts changes.
    pub counts_changes: Mutex<bool>,
    /// In how many of its mailboxes one may work at the same time.
    at_once: Mutex<usize>,
    all_are_there: Condvar,
}

const LOST: Cause = Cause { code: "lost" };

fn refused() -> MailFailure {
    MailFailure::Refused(Refusal { code: "fault", retry: Retry::After(Duration::from_secs(1)) })
}

fn read<T: Copy>(switch: &Mutex<T>) -> T {
    *switch.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MailServer {
    /// A server without mailboxes.
    #[must_use]
    pub fn new(clock: ManualClock) -> Self {
        let state = Mutex::new(State { validity: 1_000, ..State::default() });
        let (has_uidplus, counts_changes) = (Mutex::new(true), Mutex::new(true));
        Self { state, clock, has_uidplus, counts_changes, at_once: Mutex::new(1), all_are_there: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes UIDPLUS away.
    pub fn without_uidplus(&self) {
        *self.has_uidplus.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Lets work go on in so many of its mailboxes at the same time.
    pub fn with_room_for(&self, at_once: usize) {
        *self.at_once.lock().unwrap_or_else(PoisonError::into_inner) = at_once;
    }

    /// Lets the next so many callers of a kind wait for each other; the last does something before all go on.
    pub fn meet_at(&self, call: MailCall, callers: usize, deed: impl FnOnce() + Send + 'static) {
        self.state().meeting = Some((call, callers, Some(Box::new(deed))));
    }

    /// Says whether those who were to meet have met.
    #[must_use]
    pub fn have_met(&self) -> bool {
        self.state().meeting.is_none()
    }

    /// Begins to count anew how many sessions there are at once.
    pub fn count_sessions(&self) {
        let open = &mut self.state().sessions;
        open.1 = open.0;
    }

    /// Returns how many sessions there were at once since then.
    #[must_use]
    pub fn most_sessions(&self) -> usize {
        self.state().sessions.1
    }

    fn meet(&self, call: MailCall) {
        let mut state = self.state();
        let Some((at, callers, _)) = &state.meeting else { return };
        if *at != call {
            return;
        }
        let callers = *callers;
        state.waiting += 1;
        if state.waiting != callers {
            let not_met = |state: &mut State| state.meeting.is_some();
            let (_state, waited) = self
                .all_are_there
                .wait_timeout_while(state, MEETING_MAX, not_met)
                .unwrap_or_else(PoisonError::into_inner);
            assert!(!waited.timed_out(), "nobody else came to {call:?}");
            return;
        }
        let deed = state.meeting.as_mut().and_then(|(_, _, deed)| deed.take());
        drop(state);
        deed.into_iter().for_each(|deed| deed());
        let mut state = self.state();
        (state.meeting, state.waiting) = (None, 0);
        drop(state);
        self.all_are_there.notify_all();
    }

    /// Lets it count no changes.
    pub fn without_modseq(&self) {
        *self.counts_changes.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Adds a mailbox that is an entity already.
    pub fn register(&self, mailbox: EntityId, address: &str) {
        let folders = BTreeMap::new();
        self.state().mailboxes.insert(mailbox, Mailbox { address: Arc::from(address), folders });
        self.folder(mailbox, INBOX, &[]);
    }

    /// Adds a folder.
    pub fn folder(&self, mailbox: EntityId, name: &str, special_use: &[&str]) {
        let mut state = self.state();
        state.validity += 1;
        let folder = Folder {
            uid_validity: state.validity,
            uid_next: 1,
            special_use: special_use.iter().map(|word| (*word).to_owned()).collect(),
            messages: BTreeMap::new(),
        };
        if let Some(mailbox) = state.mailboxes.get_mut(&mailbox) {
            mailbox.folders.insert(name.to_owned(), folder);
        }
    }

    /// Delivers a message into a folder, with a text of its own, and returns its number.
    ///
    /// # Panics
    /// When there is no such folder.
    pub fn deliver(&self, mailbox: EntityId, folder: &str, received: &str, flags: &[&str]) -> Uid {
        let mut state = self.state();
        deliver(&mut state, mailbox, folder, received.parse().expect("an instant"), flags)
    }

    /// Takes a mailbox away, as if nobody had registered it.
    pub fn forget(&self, mailbox: EntityId) {
        self.state().mailboxes.remove(&mailbox);
    }

    /// Does what somebody else would do.
    pub fn meddle(&self, mailbox: EntityId, folder: &str, uid: Uid, meddling: Meddling) {
        meddle(&mut self.state(), mailbox, folder, uid, meddling);
    }

    /// Lets somebody else act right before the `nth` call of a kind from now on.
    pub fn meddle_at(&self, at: (MailCall, u32), mailbox: EntityId, folder: &str, uid: Uid, meddling: Meddling) {
        self.state().meddling.push((at.0, at.1, mailbox, folder.to_owned(), uid, meddling));
    }

    /// Lets the `nth` call of a kind from now on go wrong, counted from 1.
    pub fn arm(&self, call: MailCall, nth: u32, fault: Fault) {
        self.state().faults.push((call, nth, fault));
    }

    /// Forgets every fault that has not happened.
    pub fn disarm(&self) {
        self.state().faults.clear();
    }

    /// Says whether every fault that was armed has happened.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        let state = self.state();
        state.faults.is_empty() && state.meddling.is_empty()
    }

    /// Returns what was removed through the connector.
    #[must_use]
    pub fn expunged(&self) -> Vec<Expunged> {
        self.state().expunged.clone()
    }

    /// Returns the numbers in a folder; `None` when it is not there.
    #[must_use]
    pub fn uids(&self, mailbox: EntityId, folder: &str) -> Option<Vec<Uid>> {
        let state = self.state();
        Some(state.mailboxes.get(&mailbox)?.folders.get(folder)?.messages.keys().copied().collect())
    }

    /// Says whether a message stands there with the flag of deletion that the connector set.
    #[must_use]
    pub fn has_our_flag(&self) -> bool {
        let state = self.state();
        let mut folders = state.mailboxes.values().flat_map(|mailbox| mailbox.folders.values());
        folders.any(|folder| folder.messages.values().any(|message| message.is_flagged_by_us))
    }

    /// Returns the fault of a call, after whoever meddles has done so.
    fn call(&self, call: MailCall) -> Option<Fault> {
        self.meet(call);
        let mut state = self.state();
        *state.calls.entry(call as u8).or_default() += 1;
        let mut due = Vec::new();
        state.meddling.retain_mut(|(at, nth, mailbox, folder, uid, meddling)| {
            if *at != call {
                return true;
            }
            *nth -= 1;
            if *nth == 0 {
                due.push((*mailbox, folder.clone(), *uid, *meddling));
            }
            *nth > 0
        });
        for (mailbox, folder, uid, meddling) in due {
            meddle(&mut state, mailbox, &folder, uid, meddling);
        }
        let mut found = None;
        state.faults.retain_mut(|(at, nth, fault)| {
            if *at != call || found.is_some() {
                return true;
            }
            *nth -= 1;
            if *nth == 0 {
                found = Some(*fault);
            }
            *nth > 0
        });
        if found == Some(Fault::Slow) {
            self.clock.advance(SLOW);
        }
        found
    }
}

fn deliver(state: &mut State, mailbox: EntityId, folder: &str, received: Timestamp, flags: &[&str]) -> Uid {
    state.modseq += 1;
    let modseq = state.modseq;
    let mailbox = state.mailboxes.get_mut(&mailbox).expect("a mailbox");
    let folder = mailbox.folders.get_mut(folder).expect("a folder");
    let uid = folder.uid_next;
    folder.uid_next += 1;
    let text = format!("From: a@example.org\r\n\r\nFrom {MARKER} {modseq}\r\n").into_bytes();
    let standing = MessageStanding {
        received,
        size: text.len() as u64,
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        keywords: BTreeSet::new(),
    };
    let correspondents = Correspondents { from: vec![format!("{MARKER}@example.org")], ..Correspondents::default() };
    folder.messages.insert(
        uid,
        Message {
            standing,
            correspondents,
            is_unreadable: false,
            is_withheld: false,
            text,
            modseq,
            is_flagged_by_us: false,
        },
    );
    uid
}

fn meddle(state: &mut State, mailbox: EntityId, name: &str, uid: Uid, meddling: Meddling) {
    state.modseq += 1;
    state.validity += 1;
    let (modseq, validity) = (state.modseq, state.validity);
    let Some(owner) = state.mailboxes.get_mut(&mailbox) else { return };
    let Some(folder) = owner.folders.get_mut(name) else { return };
    match meddling {
        Meddling::Flags | Meddling::FlagsDeleted => {
            let flag = if meddling == Meddling::Flags { "flagged" } else { DELETED };
            if let Some(message) = folder.messages.get_mut(&uid) {
                message.standing.flags.insert(flag.to_owned());
                message.modseq = modseq;
            }
        }
        Meddling::Moves => {
            let Some(message) = folder.messages.remove(&uid) else { return };
            let Some(inbox) = owner.folders.get_mut(INBOX) else { return };
            let uid = inbox.uid_next;
            inbox.uid_next += 1;
            inbox.messages.insert(uid, Message { modseq, is_flagged_by_us: false, ..message });
        }
        Meddling::Removes => drop(folder.messages.remove(&uid)),
        Meddling::Delivers => drop(deliver(state, mailbox, name, DELIVERED_AT, &[DELETED])),
        Meddling::Renumbers => {
            folder.uid_validity = validity;
            let messages = std::mem::take(&mut folder.messages);
            folder.messages = (1..).zip(messages.into_values()).collect();
            folder.uid_next = u32::try_from(folder.messages.len()).expect("a small folder") + 1;
        }
        Meddling::RemovesFolder => drop(owner.folders.remove(name)),
    }
}

impl Mailroom for MailServer {
    fn registered(&self) -> Vec<Registered> {
        let state = self.state();
        let registered = |(entity, mailbox): (&EntityId, &Mailbox)| Registered {
            entity: *entity,
            address: Arc::clone(&mailbox.address),
            source: Arc::from("mail"),
        };
        state.mailboxes.iter().map(registered).collect()
    }

    fn open(&self, mailbox: EntityId) -> Result<Box<dyn MailSession + '_>, MailFailure> {
        match self.call(MailCall::Open) {
            Some(Fault::Refused) => return Err(refused()),
            Some(Fault::LostNotApplied | Fault::LostButApplied) => return Err(MailFailure::Lost(LOST)),
            Some(Fault::Slow | Fault::Stop | Fault::FlippedByte | Fault::FileRemoved) | None => {}
        }
        if !self.state().mailboxes.contains_key(&mailbox) {
            return Err(MailFailure::Refused(Refusal { code: "no_such_mailbox", retry: Retry::Operator }));
        }
        let (open, most) = &mut self.state().sessions;
        *open += 1;
        *most = (*most).max(*open);
        Ok(Box::new(Session { server: self, mailbox, folder: None, is_lost: false }))
    }

    fn room(&self, _: EntityId) -> Option<Room> {
        Some(Room { server: Arc::from("mail"), at_once: read(&self.at_once) })
    }
}

struct Session<'a> {
    server: &'a MailServer,
    mailbox: EntityId,
    /// The open folder and its numbering.
    folder: Option<(String, u32)>,
    is_lost: bool,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.server.state().sessions.0 -= 1;
    }
}

impl Session<'_> {
    fn try_to<R>(
        &mut self,
        call: MailCall,
        act: impl FnOnce(&mut Self) -> Result<R, MailFailure>,
    ) -> Result<R, MailFailure> {
        if self.is_lost {
            return Err(MailFailure::Lost(LOST));
        }
        match self.server.call(call) {
            Some(Fault::Refused) => Err(refused()),
            Some(Fault::LostNotApplied) => {
                self.is_lost = true;
                Err(MailFailure::Lost(LOST))
            }
            Some(Fault::LostButApplied) => {
                drop(act(self));
                self.is_lost = true;
                Err(MailFailure::Lost(LOST))
            }
            Some(Fault::Slow | Fault::Stop | Fault::FlippedByte | Fault::FileRemoved) | None => act(self),
        }
    }

    fn in_folder<R>(&self, act: impl FnOnce(&mut Folder, &mut u64) -> R) -> Result<R, MailFailure> {
        let mut state = self.server.state();
        let state = &mut *state;
        let folder = state
            .mailboxes
            .get_mut(&self.mailbox)
            .and_then(|mailbox| {
                let (name, validity) = self.folder.as_ref()?;
                mailbox.folders.get_mut(name).filter(|folder| folder.uid_validity == *validity)
            })
            // A server ends the sessions in a folder that it removes or numbers anew.
            .ok_or(MailFailure::Lost(Cause { code: "folder_gone" }))?;
        Ok(act(folder, &mut state.modseq))
    }

    fn select(&mut self, name: &str) -> Option<FolderState> {
        let validity = {
            let state = self.server.state();
            state.mailboxes.get(&self.mailbox)?.folders.get(name)?.uid_validity
        };
        self.folder = Some((name.to_owned(), validity));
        let counts = read(&self.server.counts_changes);
        self.in_folder(|folder, _| FolderState {
            uid_validity: folder.uid_validity,
            uid_next: folder.uid_next,
            exists: u32::try_from(folder.messages.len()).unwrap_or(u32::MAX),
            highest_modseq: counts.then(|| folder.messages.values().map(|message| message.modseq).max().unwrap_or(1)),
        })
        .ok()
    }
}

impl MailSession for Session<'_> {
    fn can_expunge_exactly(&self) -> bool {
        read(&self.server.has_uidplus)
    }

    fn folders(&mut self) -> Result<Vec<MailFolder>, MailFailure> {
        self.try_to(MailCall::Folders, |this| {
            let state = this.server.state();
            let mailbox = state.mailboxes.get(&this.mailbox).expect("a mailbox");
            let folder = |(name, folder): (&String, &Folder)| MailFolder {
                name: name.clone(),
                special_use: folder.special_use.clone(),
            };
            Ok(mailbox.folders.iter().map(folder).collect())
        })
    }

    fn look_into(&mut self, folder: &str) -> Result<Option<FolderState>, MailFailure> {
        self.try_to(MailCall::LookInto, |this| this.look(folder))
    }

    fn work_on(&mut self, folder: &str) -> Result<Option<FolderState>, MailFailure> {
        self.try_to(MailCall::WorkOn, |this| Ok(this.select(folder)))
    }

    fn messages(&mut self, which: Which<'_>, depth: Depth, each: EachMessage<'_>) -> Result<(), MailFailure> {
        self.try_to(MailCall::Messages, |this| {
            let told: Vec<MessageState> = this.in_folder(|folder, _| {
                let is_asked = |uid: &Uid| match which {
                    Which::All => true,
                    Which::Uids(uids) => uids.contains(uid),
                };
                let messages = folder.messages.iter().filter(|(uid, _)| is_asked(uid));
                messages
                    .map(|(uid, message)| MessageState {
                        uid: *uid,
                        standing: message.standing.clone(),
                        correspondents: match depth {
                            Depth::State => Some(Correspondents::default()),
                            Depth::Record if message.is_unreadable => None,
                            Depth::Record => Some(message.correspondents.clone()),
                        },
                        is_stood_in_for: depth == Depth::Record && message.is_unreadable && message.is_withheld,
                    })
                    .collect()
            })?;
            // The answers of a server come in any order.
            // Whoever breaks off has heard enough.
            let (ControlFlow::Continue(()) | ControlFlow::Break(())) = told.into_iter().rev().try_for_each(each);
            Ok(())
        })
    }

    fn tells_exact_sizes(&self) -> bool {
        true
    }

    fn texts(&mut self, uids: &[Uid], sink: &mut dyn TextSink) -> Result<Vec<Uid>, MailFailure> {
        let mut withheld = Vec::new();
        let call = self.try_to(MailCall::Texts, |this| {
            this.in_folder(|folder, _| {
                let is_withheld = |uid: &&Uid| folder.messages.get(uid).is_some_and(|message| message.is_withheld);
                withheld.extend(uids.iter().filter(is_withheld));
                let handed_out = uids.iter().rev().filter(|uid| !is_withheld(uid));
                let texts = handed_out.filter_map(|uid| Some((*uid, folder.messages.get(uid)?.text.clone())));
                texts.collect::<Vec<_>>()
            })
        });
        // A lost answer is one that breaks off in the middle of a text.
        let (texts, is_cut) = match call {
            Ok(texts) => (texts, false),
            Err(failure @ MailFailure::Refused(_)) => return Err(failure),
            Err(MailFailure::Lost(_)) => {
                let uid = *uids.first().expect("a uid");
                let text = self.in_folder(|folder, _| folder.messages.get(&uid).map(|message| message.text.clone()))?;
                (vec![(uid, text.unwrap_or_default())], true)
            }
        };
        for (uid, text) in texts {
            let (first, second) = text.split_at(text.len() / 2);
            let taken = sink.begin(uid, text.len() as u64).is_continue() && sink.part(first).is_continue();
            if is_cut {
                return Err(MailFailure::Lost(LOST));
            }
            if !taken || sink.part(second) == ControlFlow::Break(()) || sink.end() == ControlFlow::Break(()) {
                return Ok(withheld);
            }
        }
        Ok(withheld)
    }

    fn flag_deleted(&mut self, uids: &[Uid], unless_after: Option<u64>) -> Result<Vec<Uid>, MailFailure> {
        self.try_to(MailCall::Flag, |this| {
            this.in_folder(|folder, modseq| {
                let mut spared = Vec::new();
                for uid in uids {
                    let Some(message) = folder.messages.get_mut(uid) else { continue };
                    if unless_after.is_some_and(|after| message.modseq > after) {
                        spared.push(*uid);
                        continue;
                    }
                    *modseq += 1;
                    message.modseq = *modseq;
                    message.is_flagged_by_us |= message.standing.flags.insert(DELETED.to_owned());
                }
                spared
            })
        })
    }

    fn unflag_deleted(&mut self, uids: &[Uid]) -> Result<(), MailFailure> {
        self.try_to(MailCall::Unflag, |this| {
            this.in_folder(|folder, modseq| {
                for uid in uids {
                    let Some(message) = folder.messages.get_mut(uid) else { continue };
                    *modseq += 1;
                    message.modseq = *modseq;
                    message.standing.flags.remove(DELETED);
                    message.is_flagged_by_us = false;
                }
            })
        })
    }

    fn expunge(&mut self, uids: &[Uid]) -> Result<(), MailFailure> {
        self.try_to(MailCall::Expunge, |this| {
            let (mailbox, (name, _)) = (this.mailbox, this.folder.clone().unwrap_or_default());
            let gone = this.in_folder(|folder, _| {
                let mut gone = Vec::new();
                for uid in uids {
                    let is_flagged = folder.messages.get(uid).is_some_and(|m| m.standing.flags.contains(DELETED));
                    if is_flagged && let Some(message) = folder.messages.remove(uid) {
                        let key = MessageKey { folder: name.clone(), uid_validity: folder.uid_validity, uid: *uid };
                        gone.push(Expunged { mailbox, key, text: message.text });
                    }
                }
                gone
            })?;
            this.server.state().expunged.extend(gone);
            Ok(())
        })
    }

    fn clear_residue(&mut self, _: &[&str]) -> Result<Vec<Residue>, MailFailure> {
        self.try_to(MailCall::Residue, |_| Ok(vec![Residue::CacheCleared]))
    }
}

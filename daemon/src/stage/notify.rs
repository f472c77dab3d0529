//! Notify: people are told what they are owed, each thing once, each channel on its own.
//!
//! What is owed is asked of the views; that it was told is an event. A crash between the two tells it again, under the
//! same name. A channel that does not take what it is given is asked again, later and later, and people see it in the
//! status; after three days a notice is given up, which is an event too. One notice that is refused keeps no other
//! waiting.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use retention_core::event::Event;
use retention_core::event::notice::{DeclaredChannel, Notice, NoticeChannelsDeclared, NoticeFailed, NoticeSent, Thing};
use retention_core::id::Position;
use retention_core::notice::{self, Reader};
use retention_core::time::Timestamp;
use retention_core::view::Condition;
use retention_core::view::recipients::HandedOver;

use super::{StageError, Step};
use crate::clock::Clock;
use crate::connector::notify::{Carrier, Letter, STOPPING};
use crate::diagnostics::Redacted;
use crate::store::open::daemon_draft;
use crate::store::{AppendError, Store};

/// How long is waited after a failure, in microseconds: doubled from ten seconds up to an hour.
const RETRY_FIRST_US: i64 = 10_000_000;
const RETRY_MAX_US: i64 = 3_600_000_000;

/// For how long a notice is tried, in microseconds: three days, so that a server may be away over a weekend.
const TRY_FOR_US: i64 = 3 * 24 * 3_600_000_000;

/// How often the views are looked at, in microseconds: not more than each second while the log grows, and each ten
/// minutes for what comes with time alone.
const LOOK_AT_MOST_EVERY_US: i64 = 1_000_000;
const LOOK_AT_LEAST_EVERY_US: i64 = 600_000_000;

/// A channel that does not take what it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// How many notices wait for it.
    pub waiting: u64,
    /// A stable code of the last failure.
    pub code: String,
}

/// A notice that a channel is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// What it is to be told.
    pub notice: Notice,
    /// Since when, as far as is remembered.
    pub since: Timestamp,
    /// How often it was tried in vain.
    pub tries: u32,
    /// A stable code of the last failure.
    pub code: Option<String>,
}

/// How a channel stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether it fails; `None` while it does not.
    pub failing: Option<Failing>,
    /// What it is to be told, the more urgent first.
    pub owed: Vec<Owed>,
}

/// How a channel stands, for those who ask.
pub type NotifyHealth = Arc<Mutex<Standing>>;

/// One channel of the configuration.
pub struct ChannelOf {
    /// Its name.
    pub name: String,
    /// Before how many days people want to know of what falls due.
    pub before: Vec<u16>,
    /// The recipient of copies that it is for, by the name that was given when they got one.
    pub recipient: Option<Redacted<String>>,
    /// What brings letters to it.
    pub carrier: Box<dyn Carrier>,
}

/// A notice that is owed.
struct Waiting {
    since: Timestamp,
    tries: u32,
    code: Option<String>,
}

/// The stage, for one channel.
pub struct Notify {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    channel: ChannelOf,
    waiting: BTreeMap<Notice, Waiting>,
    /// The copies that the recipient got, and whether each that anybody got is theirs.
    copies: Vec<HandedOver>,
    theirs: BTreeMap<Position, bool>,
    not_before: Timestamp,
    /// How long was waited after the last failure, if nothing was delivered since.
    waited_us: Option<i64>,
    health: NotifyHealth,
}

/// Records which channels there are, and what each wants to know, if that changed. What was over before is not told to
/// a channel that is new.
///
/// # Errors
/// When the log does not take the event.
pub fn declare(store: &Store, wanted: &[(String, Vec<Thing>)]) -> Result<(), AppendError> {
    let declared = |(name, things): &(String, Vec<Thing>)| {
        let mut things = things.clone();
        things.sort_unstable();
        things.dedup();
        DeclaredChannel { name: name.clone(), things }
    };
    let mut channels: Vec<DeclaredChannel> = wanted.iter().map(declared).collect();
    channels.sort_unstable();
    if store.view(|views| views.small.notices.declared() == channels) {
        return Ok(());
    }
    let event = Event::NoticeChannelsDeclared(NoticeChannelsDeclared { channels });
    store.append_drafts(vec![daemon_draft(event)], Condition::None).map(drop)
}

impl Notify {
    /// Tells one channel, which must be declared: see [`declare`].
    #[must_use]
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, channel: ChannelOf) -> Self {
        Self {
            store,
            clock,
            channel,
            waiting: BTreeMap::new(),
            copies: Vec::new(),
            theirs: BTreeMap::new(),
            not_before: Timestamp(i64::MIN),
            waited_us: None,
            health: NotifyHealth::default(),
        }
    }

    /// Returns where it says how the channel stands.
    #[must_use]
    pub fn health(&self) -> NotifyHealth {
        Arc::clone(&self.health)
    }

    /// Delivers one notice, if one is owed and its time has come.
    ///
    /// # Errors
    /// When the log does not take what happened. What the channel says is told by [`Self::health`].
    pub fn step(&mut self) -> Result<Step, StageError> {
        let now = self.clock.now();
        // A clock that was set back must not make anybody wait for longer than is ever waited.
        let is_too_early = now < self.not_before && self.not_before.0.saturating_sub(now.0) <= RETRY_MAX_US;
        if is_too_early {
            return Ok(Step::IdleUntil(self.not_before));
        }
        self.look(now)?;
        let Some((notice, letter)) = self.next(now) else {
            self.health.lock().failing = None;
            self.waited_us = None;
            self.not_before = Timestamp(now.0.saturating_add(LOOK_AT_MOST_EVERY_US));
            return Ok(Step::IdleUntil(Timestamp(now.0.saturating_add(LOOK_AT_LEAST_EVERY_US))));
        };
        match self.channel.carrier.deliver(&letter) {
            Ok(()) => self.delivered(notice),
            Err(undelivered) if undelivered.code == STOPPING => Ok(Step::Idle),
            Err(undelivered) => self.failed(notice, undelivered.code),
        }
    }

    /// What is owed since before keeps its time and its tries; what is not owed any more is left.
    fn look(&mut self, now: Timestamp) -> Result<(), StageError> {
        self.look_for_copies()?;
        let policies = self.store.policies();
        let reader = Reader { channel: &self.channel.name, before: &self.channel.before, copies: &self.copies };
        let owed = self.store.view(|views| notice::owed(views, &policies, &reader, now));
        let mut before = std::mem::take(&mut self.waiting);
        let keep = |notice: Notice| {
            let waiting = before.remove(&notice).unwrap_or(Waiting { since: now, tries: 0, code: None });
            (notice, waiting)
        };
        self.waiting = owed.into_iter().map(keep).collect();
        self.show();
        Ok(())
    }

    fn show(&self) {
        let owed = |(notice, waiting): (&Notice, &Waiting)| {
            let (since, tries, code) = (waiting.since, waiting.tries, waiting.code.clone());
            Owed { notice: notice.clone(), since, tries, code }
        };
        self.health.lock().owed = self.waiting.iter().map(owed).collect();
    }

    /// Who got a copy is in sealed events, which the views do not keep. Each is opened once.
    fn look_for_copies(&mut self) -> Result<(), StageError> {
        let Some(Redacted(recipient)) = &self.channel.recipient else { return Ok(()) };
        self.copies.clear();
        for copy in self.store.handed_over()? {
            let is_theirs = match self.theirs.get(&copy.recipient) {
                Some(known) => *known,
                None => {
                    let handed = self.store.read(copy.recipient)?;
                    let to = match handed.as_ref().and_then(|handed| handed.event()) {
                        Some(Event::BundleHandedOver(body)) => Some(body.to.as_str()),
                        _ => None,
                    };
                    let is_theirs = to.is_some_and(|to| to.trim() == recipient);
                    self.theirs.insert(copy.recipient, is_theirs);
                    is_theirs
                }
            };
            if is_theirs {
                self.copies.push(copy);
            }
        }
        Ok(())
    }

    /// Returns what was tried least often, and of that the most urgent.
    fn next(&self, now: Timestamp) -> Option<(Notice, Letter)> {
        let (notice, _) = self.waiting.iter().min_by_key(|(_, waiting)| waiting.tries)?;
        let (store, text) =
            self.store.view(|views| (views.small.store, notice::text(views, &self.copies, notice, now)));
        let letter = Letter {
            id: notice::id(store, &self.channel.name, notice),
            channel: self.channel.name.clone(),
            thing: notice.thing().name(),
            name: notice.to_string(),
            at: now,
            text: text?,
        };
        Some((notice.clone(), letter))
    }

    fn delivered(&mut self, notice: Notice) -> Result<Step, StageError> {
        self.waiting.remove(&notice);
        self.waited_us = None;
        self.health.lock().failing = None;
        self.append(Event::NoticeSent(NoticeSent { channel: self.channel.name.clone(), notice }))?;
        // After it stands in the log, so that nobody finds it nowhere.
        self.show();
        Ok(Step::Worked)
    }

    fn failed(&mut self, notice: Notice, code: String) -> Result<Step, StageError> {
        // A delivery takes time.
        let now = self.clock.now();
        let wait_us = self.waited_us.map_or(RETRY_FIRST_US, |waited| waited.saturating_mul(2).min(RETRY_MAX_US));
        self.waited_us = Some(wait_us);
        self.not_before = Timestamp(now.0.saturating_add(wait_us));
        tracing::warn!(channel = self.channel.name, code, %notice, "a notice was not delivered; it is tried again");
        self.health.lock().failing = Some(Failing { waiting: self.waiting.len() as u64, code: code.clone() });
        let Some(waiting) = self.waiting.get_mut(&notice) else { return Ok(Step::IdleUntil(self.not_before)) };
        waiting.tries = waiting.tries.saturating_add(1);
        waiting.code = Some(code.clone());
        if now.0.saturating_sub(waiting.since.0) >= TRY_FOR_US {
            let tries = waiting.tries;
            let channel = self.channel.name.clone();
            self.waiting.remove(&notice);
            self.append(Event::NoticeFailed(NoticeFailed { channel, notice, tries, code }))?;
        }
        self.show();
        Ok(Step::IdleUntil(self.not_before))
    }

    fn append(&self, event: Event) -> Result<(), StageError> {
        self.store.append_drafts(vec![daemon_draft(event)], Condition::None)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

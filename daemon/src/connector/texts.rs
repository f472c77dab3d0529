//! Texts of messages for somebody who asked for a copy: whole, or named as missing.
//!
//! Messages are found by folder, numbering and uid alone, and under one numbering a uid names the same bytes for ever
//! (RFC 9051, 2.3.1.1). So a text that broke off is gone on with over a new connection: what was handed on before is
//! compared and passed over. Nothing is changed on the server, not even what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use retention_core::event::subject::MissingWhy;
use retention_core::id::EntityId;
use retention_core::package::TextEvent;
use retention_core::record::message::MessageKey;
use sha2::{Digest as _, Sha256};

use super::mail::{Depth, MailFailure, MailSession, Mailroom, TEXT_BYTES_MAX, TextSink, Uid, Which};

/// How many messages are asked for together.
const UIDS_TOGETHER: usize = 200;

/// How often in a row a mailbox is opened in vain, or a text does not come any further.
const VAIN_MAX: u32 = 3;

/// How often a mailbox is opened anew in all: a server that breaks off at every message is not asked for ever.
const LOGINS_MAX: u32 = 20;

/// Hears what becomes of the texts; breaking ends everything.
pub type Take<'a> = &'a mut dyn FnMut(TextEvent<'_>) -> ControlFlow<()>;

/// Fetches the texts of messages of one mailbox, in the order of its folders. Each is told by its number in `wanted`,
/// exactly once: as whole or as missing. A text that was begun may still be missing; no other begins before it ended.
pub fn fetch(mailroom: &dyn Mailroom, mailbox: EntityId, wanted: &[MessageKey], take: Take<'_>) -> ControlFlow<()> {
    let mut left = Left::new();
    for (number, key) in wanted.iter().enumerate() {
        left.entry((key.folder.clone(), key.uid_validity)).or_default().insert(key.uid, number);
    }
    let mut fetching = Fetching { left, broken: None, together: UIDS_TOGETHER, take };
    if !mailroom.registered().iter().any(|registered| registered.entity == mailbox) {
        return fetching.give_up(MissingWhy::NotRegistered);
    }
    let (mut logins, mut vain) = (0, 0);
    while !fetching.left.is_empty() {
        let before = fetching.progress();
        let opened = mailroom.open(mailbox);
        let is_open = opened.is_ok();
        let failure = match opened.and_then(|mut session| fetching.go_through(session.as_mut())) {
            Ok(flow) => return flow,
            Err(failure) => failure,
        };
        tracing::warn!(%mailbox, code = failure.code(), "texts of messages could not be fetched at once; it is tried again");
        logins += 1;
        vain = if fetching.progress() == before { vain + 1 } else { 1 };
        fetching.together = 1;
        if logins >= LOGINS_MAX || (vain >= VAIN_MAX && !is_open) {
            return fetching.give_up(MissingWhy::NotReached);
        }
        if vain >= VAIN_MAX {
            // The server is there, and does not come past this one.
            vain = 0;
            fetching.pass_over()?;
        }
    }
    ControlFlow::Continue(())
}

/// What was not told yet, by folder and its numbering.
type Left = BTreeMap<(String, u32), BTreeMap<Uid, usize>>;

struct Fetching<'a> {
    left: Left,
    /// The text that broke off.
    broken: Option<Broken>,
    together: usize,
    take: Take<'a>,
}

/// A text of which only a part was handed on.
struct Broken {
    place: (String, u32),
    uid: Uid,
    total: u64,
    passed: u64,
    hash: Sha256,
}

impl Fetching<'_> {
    /// How much is left, and how much of the text that broke off was handed on.
    fn progress(&self) -> (usize, u64) {
        let left = self.left.values().map(BTreeMap::len).sum();
        (left, self.broken.as_ref().map_or(0, |broken| broken.passed))
    }

    fn give_up(&mut self, why: MissingWhy) -> ControlFlow<()> {
        if let Some(broken) = self.broken.take() {
            self.missing(&broken.place, broken.uid, MissingWhy::CutOff)?;
        }
        for number in std::mem::take(&mut self.left).into_values().flat_map(BTreeMap::into_values) {
            (self.take)(TextEvent::Missing(number, why))?;
        }
        ControlFlow::Continue(())
    }

    /// Leaves out the message at which nothing goes on.
    fn pass_over(&mut self) -> ControlFlow<()> {
        if let Some(broken) = self.broken.take() {
            return self.missing(&broken.place, broken.uid, MissingWhy::CutOff);
        }
        let first = self.left.iter().find_map(|(place, uids)| Some((place.clone(), *uids.keys().next()?)));
        match first {
            Some((place, uid)) => self.missing(&place, uid, MissingWhy::NotReached),
            None => ControlFlow::Continue(()),
        }
    }

    fn missing(&mut self, place: &(String, u32), uid: Uid, why: MissingWhy) -> ControlFlow<()> {
        match self.settle(place, uid) {
            Some(number) => (self.take)(TextEvent::Missing(number, why)),
            None => ControlFlow::Continue(()),
        }
    }

    fn settle(&mut self, place: &(String, u32), uid: Uid) -> Option<usize> {
        let uids = self.left.get_mut(place)?;
        let number = uids.remove(&uid);
        if uids.is_empty() {
            self.left.remove(place);
        }
        number
    }

    /// Goes through what is left, over one connection.
    fn go_through(&mut self, session: &mut dyn MailSession) -> Result<ControlFlow<()>, MailFailure> {
        // What broke off comes first: nothing else may begin before it ended.
        if let Some((place, uid)) = self.broken.as_ref().map(|broken| (broken.place.clone(), broken.uid))
            && self.folder(session, &place, &[uid])?.is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
        while let Some((place, uids)) = self.left.first_key_value() {
            let place = place.clone();
            let uids: Vec<Uid> = uids.keys().copied().take(self.together).collect();
            if self.folder(session, &place, &uids)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            // After a failure few are asked for, and more again while it goes well.
            self.together = self.together.saturating_mul(2).min(UIDS_TOGETHER);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Settles some messages of one folder.
    fn folder(
        &mut self,
        session: &mut dyn MailSession,
        place: &(String, u32),
        uids: &[Uid],
    ) -> Result<ControlFlow<()>, MailFailure> {
        let gone = match session.look_into(&place.0)? {
            None => Some(MissingWhy::FolderGone),
            Some(state) if state.uid_validity != place.1 => Some(MissingWhy::Renumbered),
            Some(_) => None,
        };
        if let Some(why) = gone {
            let all: Vec<Uid> = self.left.get(place).into_iter().flat_map(BTreeMap::keys).copied().collect();
            return Ok(self.all_missing(place, all, why));
        }
        let (mut there, mut too_large) = (BTreeSet::new(), BTreeSet::new());
        session.messages(Which::Uids(uids), Depth::State, &mut |told| {
            if told.standing.size > TEXT_BYTES_MAX {
                too_large.insert(told.uid);
            } else {
                there.insert(told.uid);
            }
            ControlFlow::Continue(())
        })?;
        let is_gone = |uid: &&Uid| !there.contains(uid) && !too_large.contains(uid);
        let gone: Vec<Uid> = uids.iter().filter(is_gone).copied().collect();
        if self.all_missing(place, gone, MissingWhy::Gone).is_break()
            || self.all_missing(place, too_large.into_iter().collect(), MissingWhy::TooLarge).is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
        let wanted: Vec<Uid> = uids.iter().copied().filter(|uid| there.contains(uid)).collect();
        if wanted.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let mut passing = Passing { fetching: self, place, current: Current::None, is_over: false };
        let told = session.texts(&wanted, &mut passing);
        let is_over = passing.leave();
        if is_over {
            return Ok(ControlFlow::Break(()));
        }
        if self.all_missing(place, told?, MissingWhy::CutOff).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        // Whatever did not come although nothing broke off, the connector has proven not to be there any more.
        let rest = self.left.get(place).into_iter().flat_map(BTreeMap::keys).copied();
        let rest: Vec<Uid> = rest.filter(|uid| wanted.binary_search(uid).is_ok()).collect();
        Ok(self.all_missing(place, rest, MissingWhy::Gone))
    }

    fn all_missing(&mut self, place: &(String, u32), uids: Vec<Uid>, why: MissingWhy) -> ControlFlow<()> {
        for uid in uids {
            self.broken.take_if(|broken| broken.uid == uid && broken.place == *place);
            self.missing(place, uid, why)?;
        }
        ControlFlow::Continue(())
    }
}

/// The text that is coming.
enum Current {
    /// None, or one that nobody asked for.
    None,
    /// It is handed on. What it becomes when the connection ends now.
    Passed(Broken),
    /// The beginning of it was handed on before and is compared: what was handed on, and what of it came again.
    Compared(Broken, Sha256, u64),
}

/// Hands texts on.
struct Passing<'a, 'b> {
    fetching: &'a mut Fetching<'b>,
    place: &'a (String, u32),
    current: Current,
    is_over: bool,
}

impl Passing<'_, '_> {
    /// Keeps what broke off, and says whether nobody listens any more.
    fn leave(self) -> bool {
        if let Current::Passed(broken) | Current::Compared(broken, _, _) = self.current {
            self.fetching.broken = Some(broken);
        }
        self.is_over
    }

    fn tell(&mut self, event: TextEvent<'_>) -> ControlFlow<()> {
        let flow = (self.fetching.take)(event);
        self.is_over |= flow.is_break();
        flow
    }

    /// The same number names other bytes: what was handed on belongs to nothing that can be made whole.
    fn contradicted(&mut self, broken: &Broken) -> ControlFlow<()> {
        self.current = Current::None;
        let flow = self.fetching.missing(&broken.place, broken.uid, MissingWhy::CutOff);
        self.is_over |= flow.is_break();
        flow
    }
}

impl TextSink for Passing<'_, '_> {
    fn begin(&mut self, uid: Uid, bytes: u64) -> ControlFlow<()> {
        self.current = Current::None;
        let number = self.fetching.left.get(self.place).and_then(|uids| uids.get(&uid)).copied();
        // Nobody asked for it, or it comes a second time: it is not taken.
        let Some(number) = number else { return ControlFlow::Continue(()) };
        match self.fetching.broken.take() {
            None => {
                let place = self.place.clone();
                let broken = Broken { place, uid, total: bytes, passed: 0, hash: Sha256::new() };
                self.current = Current::Passed(broken);
                self.tell(TextEvent::Begin(number))
            }
            Some(broken) if broken.uid != uid || broken.place != *self.place => {
                self.fetching.broken = Some(broken);
                ControlFlow::Continue(())
            }
            Some(broken) if broken.total != bytes => self.contradicted(&broken),
            Some(broken) if broken.passed == 0 => {
                self.current = Current::Passed(broken);
                ControlFlow::Continue(())
            }
            Some(broken) => {
                self.current = Current::Compared(broken, Sha256::new(), 0);
                ControlFlow::Continue(())
            }
        }
    }

    fn part(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        let (mut broken, fresh) = match std::mem::replace(&mut self.current, Current::None) {
            Current::None => return ControlFlow::Continue(()),
            Current::Passed(broken) => (broken, bytes),
            Current::Compared(broken, mut again, came) => {
                let due = usize::try_from(broken.passed.saturating_sub(came)).unwrap_or(usize::MAX).min(bytes.len());
                let (known, fresh) = bytes.split_at(due);
                again.update(known);
                let came = came.saturating_add(due as u64);
                if came < broken.passed {
                    self.current = Current::Compared(broken, again, came);
                    return ControlFlow::Continue(());
                }
                if again.finalize() != broken.hash.clone().finalize() {
                    return self.contradicted(&broken);
                }
                (broken, fresh)
            }
        };
        broken.passed = broken.passed.saturating_add(fresh.len() as u64);
        broken.hash.update(fresh);
        if broken.passed > broken.total {
            return self.contradicted(&broken);
        }
        self.current = Current::Passed(broken);
        self.tell(TextEvent::Part(fresh))
    }

    fn end(&mut self) -> ControlFlow<()> {
        match std::mem::replace(&mut self.current, Current::None) {
            Current::None => ControlFlow::Continue(()),
            Current::Passed(broken) if broken.passed == broken.total => {
                self.fetching.settle(&broken.place, broken.uid);
                self.tell(TextEvent::End)
            }
            Current::Passed(broken) | Current::Compared(broken, _, _) => self.contradicted(&broken),
        }
    }
}

//! Messages: finding them, reading what is known of them, their bodies as streams, purging exactly some of them.

use std::collections::BTreeSet;
use std::io::Read;
use std::ops::ControlFlow;

use super::answer::{Code, Fetched, HeaderFields, Untagged};
use super::command::Command;
use super::date::InternalDate;
use super::error::MailError;
use super::header::{FIELDS, Header, is_notice_of_exchange};
use super::limits::SEARCH_WINDOW;
use super::quirk::StandIn;
use super::session::{Access, Session};
use super::uid::{Uid, UidValidity, Uids};
use super::wire::Listener;
use crate::connector::outcome::Retry;

/// What is known of one message without its body. Personal data: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Meta {
    /// Its UID.
    pub uid: Uid,
    /// When the server took it in.
    pub internal_date: InternalDate,
    /// Its bytes.
    pub size: u64,
    /// Flags and keywords; `\Recent` is left out, it is no property of the message.
    pub flags: Vec<String>,
    /// Its modification sequence, where the server keeps one.
    pub mod_seq: Option<u64>,
    /// From whom, to whom; `None` when the server has lost its header, or that is too large to be read, or of a notice that
    /// stands in its place.
    pub header: Option<Header>,
    /// Whether it is the header of such a notice.
    pub is_stood_in_for: bool,
}

/// What of a message may change, and what tells it from another. Keywords are personal data: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct State {
    /// Its UID.
    pub uid: Uid,
    /// When the server took it in.
    pub internal_date: InternalDate,
    /// Its bytes.
    pub size: u64,
    /// Flags and keywords, without `\Recent`.
    pub flags: Vec<String>,
}

/// Takes the bodies of messages as they come.
pub trait BodySink {
    /// A message begins; `bytes` will follow.
    fn begins(&mut self, uid: Uid, bytes: u64) -> ControlFlow<()>;
    /// The next bytes of it.
    fn chunk(&mut self, bytes: &[u8]) -> ControlFlow<()>;
    /// It is whole.
    fn ends(&mut self, uid: Uid) -> ControlFlow<()>;
}

/// Where an appended message landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The validity of the folder.
    pub uid_validity: UidValidity,
    /// The UID it got.
    pub uid: Uid,
}

/// What `UID EXPUNGE` told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expunged {
    /// How many messages the server says are gone, of ours or of others.
    pub told: u64,
}

pub(super) const STOPPED: MailError = MailError::refused("mail-stopped", Retry::Operator);
const NOT_OPEN: MailError = MailError::refused("mail-not-open", Retry::Never);

impl Session {
    /// Finds all messages in the open folder, in windows, so that no answer grows with the folder.
    ///
    /// # Errors
    /// Says why not; nothing was changed.
    pub fn search(&mut self) -> Result<Uids, MailError> {
        let exists = self.selected.as_ref().ok_or(NOT_OPEN)?.exists;
        let extended = self.capabilities.has("ESEARCH");
        let mut all: Vec<Uid> = Vec::new();
        // The last come first: what is removed meanwhile gives all behind it lower numbers, so that a message may be found
        // twice, but none slips through between two windows.
        let windows: Vec<(u32, u32)> = windows(exists).collect();
        for (from, to) in windows.into_iter().rev() {
            let mut found: Vec<Uid> = Vec::new();
            let what = if extended { "RETURN (ALL) " } else { "" };
            let command = Command::new("UID SEARCH").raw(&format!("{what}{from}:{to} ALL"));
            let (_code, heard) = self.wire.ask(&command).map_err(MailError::of_a_question)?;
            let mut answered = false;
            for answer in heard {
                match answer {
                    Untagged::ESearch(uids) => {
                        answered = true;
                        found.extend(uids.iter().take(SEARCH_WINDOW as usize + 1));
                    }
                    Untagged::Search(uids) => {
                        answered = true;
                        found.extend(uids.into_iter().map(Uid));
                    }
                    _ => {}
                }
                // A few bytes name as many messages as there are numbers, and may be said again and again.
                if found.len() as u64 > u64::from(to - from) + 1 {
                    return Err(MailError::refused("mail-too-much", Retry::Operator));
                }
            }
            if !answered {
                return Err(MailError::refused("mail-answer-incomplete", Retry::Operator));
            }
            all.append(&mut found);
        }
        Ok(all.into_iter().collect())
    }

    /// Reads what is known of messages, in no order, each once. Returns those that the server did not tell of: they are
    /// gone, or their answer lacks something.
    ///
    /// # Errors
    /// Says why not. A date that is no date is [`InternalDate::UNKNOWN`]: nothing may be decided on it.
    pub fn fetch_meta(
        &mut self,
        uids: &Uids,
        mut each: impl FnMut(Meta) -> ControlFlow<()>,
    ) -> Result<Uids, MailError> {
        let mod_seq = if self.capabilities.has("CONDSTORE") { " MODSEQ" } else { "" };
        let items = format!("(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS ({FIELDS})]{mod_seq})");
        let mut told = BTreeSet::new();
        let mut doubtful = Vec::new();
        let stand_in = self.quirks.stand_in;
        self.fetch(uids, &items, &mut |fetched| {
            let Some(meta) = meta_of(fetched, stand_in) else { return Ok(()) };
            if !uids.contains(meta.uid) || !told.insert(meta.uid) {
                return Ok(());
            }
            if meta.header.is_none() {
                doubtful.push(meta);
                return Ok(());
            }
            if each(meta).is_break() { Err(STOPPED) } else { Ok(()) }
        })?;
        let gone = self.made_up(doubtful.iter().map(|meta| meta.uid).collect())?;
        told.retain(|uid| !gone.contains(*uid));
        for meta in doubtful.into_iter().filter(|meta| !gone.contains(meta.uid)) {
            if each(meta).is_break() {
                return Err(STOPPED);
            }
        }
        Ok(uids.without(&told.into_iter().collect()))
    }

    /// Returns those that are not there any more. Of a message that somebody has just removed Dovecot makes up what it is
    /// asked for: no header, no bytes, and the zero of Unix for a date.
    fn made_up(&mut self, doubtful: Uids) -> Result<Uids, MailError> {
        if doubtful.is_empty() {
            return Ok(doubtful);
        }
        let there = self.those_there(&doubtful)?;
        Ok(doubtful.without(&there))
    }

    /// Finds out which of these messages are in the open folder.
    ///
    /// # Errors
    /// Says why not; nothing was changed.
    pub fn those_there(&mut self, uids: &Uids) -> Result<Uids, MailError> {
        self.selected.as_ref().ok_or(NOT_OPEN)?;
        let mut there = Vec::new();
        for (set, _) in uids.pieces() {
            let command = Command::new("UID SEARCH").raw(&format!("UID {set}"));
            let (_code, heard) = self.wire.ask(&command).map_err(MailError::of_a_question)?;
            let mut answered = false;
            for answer in heard {
                match answer {
                    Untagged::Search(found) => {
                        answered = true;
                        there.extend(found.into_iter().map(Uid).filter(|uid| uids.contains(*uid)));
                    }
                    Untagged::ESearch(found) => {
                        answered = true;
                        there.extend(uids.iter().filter(|uid| found.contains(*uid)));
                    }
                    _ => {}
                }
            }
            if !answered {
                return Err(MailError::refused("mail-answer-incomplete", Retry::Operator));
            }
        }
        Ok(there.into_iter().collect())
    }

    /// Reads how messages stand, in no order, each once. Returns those that the server did not tell of, as
    /// [`Session::fetch_meta`].
    ///
    /// # Errors
    /// As [`Session::fetch_meta`].
    pub fn fetch_states(&mut self, uids: &Uids, mut each: impl FnMut(State)) -> Result<Uids, MailError> {
        let mut told = BTreeSet::new();
        let mut doubtful = Vec::new();
        self.fetch(uids, "(UID FLAGS INTERNALDATE RFC822.SIZE)", &mut |fetched| {
            let Some(state) = state_of(&fetched) else { return Ok(()) };
            if !uids.contains(state.uid) || !told.insert(state.uid) {
                return Ok(());
            }
            if state.size == 0 && state.internal_date.at() == InternalDate::UNKNOWN.at() {
                doubtful.push(state);
            } else {
                each(state);
            }
            Ok(())
        })?;
        let gone = self.made_up(doubtful.iter().map(|state| state.uid).collect())?;
        told.retain(|uid| !gone.contains(*uid));
        doubtful.into_iter().filter(|state| !gone.contains(state.uid)).for_each(each);
        Ok(uids.without(&told.into_iter().collect()))
    }

    /// Streams the bodies of messages, byte for byte, without marking them as seen. Returns those that the server did
    /// not send: they are gone, or it cannot send them and says so, or sends a notice of its own instead.
    ///
    /// # Errors
    /// Says why not. When the sink stops, the session is of no more use: the code is `mail-stopped`.
    pub fn fetch_bodies(&mut self, uids: &Uids, sink: &mut dyn BodySink) -> Result<Uids, MailError> {
        self.selected.as_ref().ok_or(NOT_OPEN)?;
        let mut sent = BTreeSet::new();
        for (set, piece) in uids.pieces() {
            self.bodies_of(&set, &piece, &mut sent, sink)?;
        }
        // A server that tells the UID only behind the body is asked for one at a time: then it is known.
        let missing = uids.without(&sent.iter().copied().collect());
        for uid in missing.iter() {
            self.bodies_of(&uid.to_string(), &Uids::from(uid), &mut sent, sink)?;
        }
        Ok(uids.without(&sent.into_iter().collect()))
    }

    fn bodies_of(
        &mut self,
        set: &str,
        asked: &Uids,
        sent: &mut BTreeSet<Uid>,
        sink: &mut dyn BodySink,
    ) -> Result<(), MailError> {
        let command = Command::new("UID FETCH").raw(&format!("{set} (UID BODY.PEEK[])"));
        let stand_in = self.quirks.stand_in;
        let mut listener = Bodies { asked, sent, sink, stand_in, current: Current::None, head: Vec::new() };
        self.wire.run(&command, &mut listener).map_err(MailError::of_a_question)?;
        Ok(())
    }

    fn fetch(
        &mut self,
        uids: &Uids,
        items: &str,
        each: &mut dyn FnMut(Fetched) -> Result<(), MailError>,
    ) -> Result<(), MailError> {
        self.selected.as_ref().ok_or(NOT_OPEN)?;
        let ask = |(set, _): &(String, Uids)| Command::new("UID FETCH").raw(&format!("{set} {items}"));
        let commands: Vec<Command> = uids.pieces().iter().map(ask).collect();
        let mut listener = Each(&mut |answer: Untagged| match answer {
            Untagged::Fetch(fetched) => each(*fetched),
            _ => Ok(()),
        });
        for end in self.wire.run_all(&commands, &mut listener) {
            end.map_err(MailError::of_a_question)?;
        }
        Ok(())
    }

    /// Flags messages as deleted, under the validity in which they were named. With `unchanged_since`, those that
    /// changed later are left alone and returned (RFC 7162); a server without CONDSTORE cannot do that.
    ///
    /// # Errors
    /// Refused: nothing was flagged. Unknown: read the flags back.
    pub fn store_deleted(
        &mut self,
        uids: &Uids,
        under: UidValidity,
        unchanged_since: Option<u64>,
    ) -> Result<Uids, MailError> {
        self.may_change(under)?;
        let condition = unchanged_since.map(|mod_seq| format!("(UNCHANGEDSINCE {mod_seq}) ")).unwrap_or_default();
        let store = |set: &str| Command::new("UID STORE").raw(&format!("{set} {condition}+FLAGS.SILENT (\\Deleted)"));
        let codes = self.in_pieces(uids, store, &mut Each(&mut |_| Ok(())))?;
        Ok(Uids::union(codes.into_iter().filter_map(|code| match code {
            Some(Code::Modified(left)) => Some(left),
            _ => None,
        })))
    }

    /// Takes the flag `\Deleted` away again: the compensation of [`Session::store_deleted`].
    ///
    /// # Errors
    /// Refused: nothing changed. Unknown: read the flags back.
    pub fn store_undeleted(&mut self, uids: &Uids, under: UidValidity) -> Result<(), MailError> {
        self.may_change(under)?;
        let store = |set: &str| Command::new("UID STORE").raw(&format!("{set} -FLAGS.SILENT (\\Deleted)"));
        self.in_pieces(uids, store, &mut Each(&mut |_| Ok(()))).map(drop)
    }

    /// Removes exactly these messages, of those that are flagged as deleted (RFC 4315). There is no way back.
    ///
    /// # Errors
    /// Refused: nothing was removed. Unknown: look which are still there. Without UIDPLUS it is always
    /// refused: a plain `EXPUNGE` would remove what others flagged.
    pub fn uid_expunge(&mut self, uids: &Uids, under: UidValidity) -> Result<Expunged, MailError> {
        if !self.capabilities.has("UIDPLUS") {
            return Err(MailError::refused("mail-no-uidplus", Retry::Operator));
        }
        self.may_change(under)?;
        let mut expunged = Expunged::default();
        let mut listener = Each(&mut |answer| {
            match answer {
                Untagged::Expunge(_) => expunged.told += 1,
                Untagged::Vanished(gone) => expunged.told += gone.len(),
                _ => {}
            }
            Ok(())
        });
        self.in_pieces(uids, |set| Command::new("UID EXPUNGE").raw(set), &mut listener)?;
        Ok(expunged)
    }

    /// Changes the messages of a set, piece by piece, without waiting for one answer before the next piece is sent. If
    /// one is refused and another is not, nobody may believe that nothing happened.
    fn in_pieces(
        &mut self,
        uids: &Uids,
        change: impl Fn(&str) -> Command,
        listener: &mut dyn Listener,
    ) -> Result<Vec<Option<Code>>, MailError> {
        let commands: Vec<Command> = uids.pieces().iter().map(|(set, _)| change(set)).collect();
        let ends = self.wire.run_all(&commands, listener);
        let is_refused = |end: &Result<_, MailError>| matches!(end, Err(MailError::Refused(_)));
        let nothing_happened = ends.iter().all(is_refused);
        let all: Result<Vec<_>, MailError> = ends.into_iter().collect();
        all.map_err(|error| if nothing_happened { error } else { MailError::unknown(error.code()) })
    }

    fn may_change(&self, under: UidValidity) -> Result<(), MailError> {
        let open = self.selected.as_ref().ok_or(NOT_OPEN)?;
        if open.uid_validity != under {
            return Err(MailError::refused("mail-uid-validity", Retry::Never));
        }
        match open.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(MailError::refused("mail-read-only", Retry::Operator)),
        }
    }

    /// Appends a message of exactly `bytes` bytes from a reader, with its flags and the date of its arrival. Returns
    /// where it landed, if the server says so (UIDPLUS).
    ///
    /// # Errors
    /// Refused: nothing was appended. Unknown: look for it.
    pub fn append(
        &mut self,
        folder: &str,
        flags: &[String],
        date: Option<InternalDate>,
        bytes: u64,
        content: &mut dyn Read,
    ) -> Result<Option<Appended>, MailError> {
        // `\Recent` is the server's own to set.
        let flags: Vec<&str> =
            flags.iter().map(String::as_str).filter(|flag| !flag.eq_ignore_ascii_case("\\Recent")).collect();
        if !flags.iter().all(|flag| is_flag(flag)) {
            return Err(MailError::refused("mail-text-unsendable", Retry::Never));
        }
        let mut command = Command::new("APPEND").folder(folder);
        if !flags.is_empty() {
            command = command.raw(&format!("({})", flags.join(" ")));
        }
        if let Some(date) = date {
            command = command.string(&date.to_string());
        }
        let mut heard = Vec::new();
        match self.wire.run_with_content(&command, bytes, content, &mut heard) {
            Ok(Some(Code::AppendUid(uid_validity, uid))) => Ok(Some(Appended { uid_validity, uid })),
            Ok(_) => Ok(None),
            // Cyrus and Courier say only in words that there is no room.
            Err(error) if error.code() == "mail-refused" && self.lacks_room(folder, bytes) => {
                Err(MailError::refused("mail-over-quota", Retry::Operator))
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns the first and the last message of each window of a folder. What a server says of its size may be the largest
/// number.
fn windows(exists: u32) -> impl Iterator<Item = (u32, u32)> {
    let first = (exists > 0).then(|| (1, exists.min(SEARCH_WINDOW)));
    std::iter::successors(first, move |(_, last)| {
        let from = last.checked_add(1).filter(|from| *from <= exists)?;
        Some((from, exists.min(from.saturating_add(SEARCH_WINDOW - 1))))
    })
}

pub(super) fn is_flag(flag: &str) -> bool {
    let word = flag.strip_prefix('\\').unwrap_or(flag);
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte))
}

fn without_recent(flags: Vec<String>) -> Vec<String> {
    flags.into_iter().filter(|flag| !flag.eq_ignore_ascii_case("\\Recent")).collect()
}

fn state_of(fetched: &Fetched) -> Option<State> {
    Some(State {
        uid: fetched.uid?,
        internal_date: fetched.internal_date?,
        size: fetched.size?,
        flags: without_recent(fetched.flags.clone()?),
    })
}

/// Says whether a message that begins so is one of the server's own in the place of another.
fn stands_in(stand_in: StandIn, head: &[u8]) -> bool {
    match stand_in {
        StandIn::Nothing => false,
        StandIn::NoticeOfExchange => is_notice_of_exchange(head),
    }
}

pub(super) fn meta_of(fetched: Fetched, stand_in: StandIn) -> Option<Meta> {
    let is_stood_in_for = matches!(&fetched.header, HeaderFields::Told(bytes) if stands_in(stand_in, bytes));
    Some(Meta {
        uid: fetched.uid?,
        internal_date: fetched.internal_date?,
        size: fetched.size?,
        flags: without_recent(fetched.flags?),
        mod_seq: fetched.mod_seq,
        header: match fetched.header {
            HeaderFields::NotTold => return None,
            HeaderFields::Unreadable => None,
            HeaderFields::Told(_) if is_stood_in_for => None,
            HeaderFields::Told(bytes) => Some(Header::read(&bytes)),
        },
        is_stood_in_for,
    })
}

/// Hands every answer to a function.
struct Each<'a>(&'a mut dyn FnMut(Untagged) -> Result<(), MailError>);

impl Listener for Each<'_> {
    fn untagged(&mut self, answer: Untagged) -> Result<(), MailError> {
        (self.0)(answer)
    }
}

/// Hands bodies to a sink.
struct Bodies<'a> {
    asked: &'a Uids,
    sent: &'a mut BTreeSet<Uid>,
    sink: &'a mut dyn BodySink,
    stand_in: StandIn,
    current: Current,
    /// The beginning of a message, until it shows that no notice stands in its place.
    head: Vec<u8>,
}

/// How much of a message is looked at before it is handed on: its notice of Exchange is shorter.
const HEAD_BYTES_MAX: usize = 8 << 10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Current {
    None,
    /// Its header is looked at before it is handed on; so many bytes were announced.
    Begun(Uid, u64),
    Wanted(Uid),
    /// Not asked for, sent twice, or without a UID: passed over. So is a notice in the place of a message.
    Unwanted,
}

impl Bodies<'_> {
    fn flow(flow: ControlFlow<()>) -> Result<(), MailError> {
        if flow.is_break() { Err(STOPPED) } else { Ok(()) }
    }

    fn is_wanted(&self, uid: Uid) -> bool {
        self.asked.contains(uid) && !self.sent.contains(&uid)
    }

    /// Hands the beginning of a message on, unless it is a notice.
    fn decide(&mut self, uid: Uid, bytes: u64) -> Result<(), MailError> {
        let head = std::mem::take(&mut self.head);
        if stands_in(self.stand_in, &head) {
            self.current = Current::Unwanted;
            return Ok(());
        }
        self.current = Current::Wanted(uid);
        Self::flow(self.sink.begins(uid, bytes))?;
        Self::flow(self.sink.chunk(&head))
    }
}

impl Listener for Bodies<'_> {
    fn untagged(&mut self, answer: Untagged) -> Result<(), MailError> {
        let Untagged::Fetch(fetched) = answer else { return Ok(()) };
        if fetched.streamed {
            if let Current::Begun(uid, bytes) = self.current {
                self.decide(uid, bytes)?;
            }
            let current = std::mem::replace(&mut self.current, Current::None);
            return match (current, fetched.uid) {
                (Current::Wanted(uid), Some(told)) if uid == told => {
                    self.sent.insert(uid);
                    Self::flow(self.sink.ends(uid))
                }
                (Current::Wanted(_), _) => Err(MailError::unknown("mail-answer-malformed")),
                (Current::None | Current::Begun(..) | Current::Unwanted, _) => Ok(()),
            };
        }
        // A short message may come as a quoted string.
        if let (Some(uid), Some(body)) = (fetched.uid, fetched.body)
            && self.is_wanted(uid)
            && !stands_in(self.stand_in, &body)
        {
            Self::flow(self.sink.begins(uid, body.len() as u64))?;
            Self::flow(self.sink.chunk(&body))?;
            self.sent.insert(uid);
            return Self::flow(self.sink.ends(uid));
        }
        Ok(())
    }

    fn body_begins(&mut self, uid: Option<Uid>, bytes: u64) -> Result<(), MailError> {
        // Alone, a message is known before the server names it; that it names the same is checked at its end.
        let uid = uid.or_else(|| if self.asked.len() == 1 { self.asked.last() } else { None });
        match uid.filter(|uid| self.is_wanted(*uid)) {
            Some(uid) if self.stand_in != StandIn::Nothing => {
                self.head.clear();
                self.current = Current::Begun(uid, bytes);
                Ok(())
            }
            Some(uid) => {
                self.current = Current::Wanted(uid);
                Self::flow(self.sink.begins(uid, bytes))
            }
            None => {
                self.current = Current::Unwanted;
                Ok(())
            }
        }
    }

    fn body_chunk(&mut self, bytes: &[u8]) -> Result<(), MailError> {
        match self.current {
            Current::Wanted(_) => Self::flow(self.sink.chunk(bytes)),
            Current::Begun(uid, all) => {
                self.head.extend_from_slice(bytes);
                let is_enough =
                    self.head.len() >= HEAD_BYTES_MAX || memchr::memmem::find(&self.head, b"\r\n\r\n").is_some();
                if is_enough { self.decide(uid, all) } else { Ok(()) }
            }
            Current::None | Current::Unwanted => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_a_folder_once_whatever_the_server_says_of_its_size() {
        assert_eq!(windows(0).count(), 0);
        assert_eq!(windows(1).collect::<Vec<_>>(), [(1, 1)]);
        assert_eq!(
            windows(SEARCH_WINDOW + 1).collect::<Vec<_>>(),
            [(1, SEARCH_WINDOW), (SEARCH_WINDOW + 1, SEARCH_WINDOW + 1)]
        );
        let mut expected = 1;
        for (from, to) in windows(u32::MAX) {
            assert!(u64::from(from) == expected && to >= from && to - from < SEARCH_WINDOW);
            expected = u64::from(to) + 1;
        }
        assert_eq!(expected, u64::from(u32::MAX) + 1);
    }

    #[test]
    fn only_flags_are_flags() {
        for good in ["\\Seen", "$RetentionHold", "NonJunk"] {
            assert!(is_flag(good), "{good}");
        }
        for bad in ["", "\\", "a b", "a)", "a\r\nb", "ů", "\\*"] {
            assert!(!is_flag(bad), "{bad}");
        }
    }
}

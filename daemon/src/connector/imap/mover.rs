//! Copying a mailbox over IMAP: a text streams from one server to the other and is never kept.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use retention_core::id::{Digest, EntityId};
use retention_core::record::message::MessageStanding;
use retention_core::time::Timestamp;
use sha2::{Digest as _, Sha256};

use super::directory::MailboxDirectory;
use super::error::{MailError, RETRY_SOON};
use super::folder::{Folder, SpecialUse};
use super::mailroom::by_path;
use super::messages::{BodySink, STOPPED, is_flag};
use super::session::{Selected, Session};
use super::uid::{Uid, Uids};
use super::{Connector, InternalDate};
use crate::connector::mail::{
    EachMessage, FOLDER_CLOSED, FolderState, MailFailure, MailFolder, MessageState, REFUSALS_OF_A_FOLDER, Uid as Number,
};
use crate::connector::moving::{Copied, EachPrint, Mover, Moving, OpenPair, Print, Side};
use crate::connector::outcome::Retry;

/// Pieces of a text that wait between the two servers: with those that are being read and written, some hundred KiB.
const PIECES_MAX: usize = 8;

/// How many messages are told by one command.
const TOLD_AT_ONCE: u32 = 10_000;

/// How many texts are asked for by one command.
const TEXTS_AT_ONCE: u32 = 200;

const INCOMPLETE: MailError = MailError::refused("mail-answer-incomplete", Retry::After(RETRY_SOON));
const NOT_MADE: MailError = MailError::refused("mail-folder-not-made", Retry::Operator);
const CLOSED: MailError = MailError::refused(FOLDER_CLOSED, Retry::Operator);
const WITHHELD: MailError = MailError::refused("mail-text-withheld", Retry::Operator);
const FOLDER_MISSING: MailError = MailError::refused("mail-folder-missing", Retry::After(RETRY_SOON));

/// Stands for the text of a message that the source does not send. No text has this digest.
const NO_TEXT: Digest = Digest([0; 32]);

/// Copies between the mailboxes of a directory.
pub struct ImapMover {
    connector: Arc<Connector>,
    directory: Arc<dyn MailboxDirectory>,
}

impl ImapMover {
    /// Makes one.
    #[must_use]
    pub fn new(connector: Arc<Connector>, directory: Arc<dyn MailboxDirectory>) -> Self {
        Self { connector, directory }
    }
}

impl Mover for ImapMover {
    fn open(&self, source: EntityId, target: EntityId) -> Result<Box<dyn Moving + '_>, MailFailure> {
        let open = |mailbox| {
            let access = self.directory.access(mailbox).map_err(MailFailure::Refused)?;
            Ok::<_, MailFailure>(self.connector.open(&access)?)
        };
        let (source, target) = (open(source)?, open(target)?);
        Ok(Box::new(Pair { source, target, into: String::new(), listed: HashMap::new(), at_target: HashMap::new() }))
    }
}

struct Pair {
    source: Session,
    target: Session,
    /// The name of the counterpart that is written to.
    into: String,
    /// Folders by their paths, as they were last listed.
    listed: HashMap<String, Folder>,
    at_target: HashMap<String, Folder>,
}

impl Pair {
    fn list_target(&mut self) -> Result<(), MailError> {
        self.at_target = by_path(self.target.folders()?)?;
        Ok(())
    }

    /// Opens a folder of the source for looking; `None` when it is not there.
    fn examine_source(&mut self, path: &str) -> Result<Option<Selected>, MailFailure> {
        let Some(name) = name_of(&self.listed, path) else { return Ok(None) };
        match self.source.examine(&name) {
            Ok(source) => Ok(Some(source)),
            Err(error) if REFUSALS_OF_A_FOLDER.contains(&error.code()) => {
                // It may have been removed or renamed since it was listed.
                self.folders()?;
                if name_of(&self.listed, path).is_some() { Err(CLOSED.into()) } else { Ok(None) }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the only folder of the target whose path differs from another one in capital letters alone.
    fn of_same_letters(&self, path: &str) -> Option<String> {
        let path = path.to_lowercase();
        let mut alike = self.at_target.values().filter(|other| other.selectable && other.path.to_lowercase() == path);
        let first = alike.next().filter(|other| !other.is_view())?;
        alike.next().is_none().then(|| first.path.clone())
    }

    /// Copies one message, with the flags and keywords that it is to have.
    fn copy_with(&mut self, message: &MessageState, standing: &MessageStanding) -> Result<Copied, MailFailure> {
        let uid = Uid(message.uid);
        let (pieces, received) = crossbeam_channel::bounded(PIECES_MAX);
        let Self { source, target, into, .. } = self;
        let copied = std::thread::scope(|scope| {
            let reading = std::thread::Builder::new()
                .name("move-read".to_owned())
                .spawn_scoped(scope, move || source.fetch_bodies(&Uids::from(uid), &mut Sending(pieces)))
                .map_err(|_| MailFailure::from(INCOMPLETE))?;
            let written = match received.recv() {
                Ok(Piece::Begins(bytes)) => {
                    let mut text = Text { pieces: &received, piece: Vec::new(), at: 0, is_whole: false };
                    let date = InternalDate::of(message.standing.received);
                    let appended = target.append(into, &flags_of(standing), date, bytes, &mut text);
                    // Whatever the target said, the source is read to its end, or its session is of no more use.
                    let is_whole = text.drain();
                    Some(appended.map(|_| (bytes, is_whole)))
                }
                Ok(Piece::Bytes(_) | Piece::Ends) | Err(_) => None,
            };
            let missing = reading.join().unwrap_or(Err(INCOMPLETE));
            match (written, missing) {
                (Some(Ok((bytes, true))), _) => Ok(Copied::Done { bytes }),
                // The target has as many bytes as were announced, or it has none; an end that was not whole is neither.
                (Some(Ok((_, false))), _) => Err(MailError::unknown("mail-source-broke-off").into()),
                (Some(Err(error)), _) => Err(error.into()),
                (None, Ok(missing)) if missing.contains(uid) => Ok(Copied::Gone),
                (None, Ok(_)) => Err(INCOMPLETE.into()),
                (None, Err(error)) => Err(MailFailure::Refused(MailFailure::from(error).of_question())),
            }
        });
        // Exchange, for one, tells of messages that it cannot send.
        match copied {
            Ok(Copied::Gone) if !self.source.those_there(&Uids::from(uid))?.is_empty() => Err(WITHHELD.into()),
            copied => copied,
        }
    }
}

/// Returns the name of the folder with this path, if it can hold messages.
fn name_of(folders: &HashMap<String, Folder>, path: &str) -> Option<String> {
    folders.get(path).filter(|folder| folder.selectable).map(|folder| folder.name.clone())
}

fn state_of(selected: &Selected) -> FolderState {
    FolderState {
        uid_validity: selected.uid_validity.0,
        uid_next: selected.uid_next.unwrap_or(0),
        exists: selected.exists,
        highest_modseq: selected.highest_mod_seq,
    }
}

impl Moving for Pair {
    fn folders(&mut self) -> Result<Vec<MailFolder>, MailFailure> {
        self.listed = by_path(self.source.folders()?)?;
        let selectable = self.listed.values().filter(|folder| folder.selectable);
        let mut folders: Vec<MailFolder> = selectable
            .map(|folder| MailFolder {
                name: folder.path.clone(),
                special_use: folder.special_use.iter().map(|special| use_of(*special)).collect(),
            })
            .collect();
        folders.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(folders)
    }

    fn counterpart(&mut self, folder: &MailFolder) -> Result<String, MailFailure> {
        // Listed for each of thousands of folders, they would cost minutes; what was made meanwhile, the making of it tells.
        if self.at_target.is_empty() {
            self.list_target()?;
        }
        let is_of_same_use = |other: &&Folder| {
            let special = other.special_use.filter(|_| other.selectable && !other.is_view());
            special.is_some_and(|special| folder.special_use.contains(&use_of(special)))
        };
        // Of several always the same.
        if let Some(path) = self.at_target.values().filter(is_of_same_use).map(|other| &other.path).min() {
            return Ok(path.clone());
        }
        if self.at_target.get(&folder.name).is_some_and(|other| other.selectable) {
            return Ok(folder.name.clone());
        }
        // With a sign in it that stands between the parts of a name there, other folders would be made.
        if !self.target.can_name(&folder.name) {
            return Err(NOT_MADE.into());
        }
        let name = self.target.name_of(&folder.name);
        let made = self.target.create(&name);
        // Somebody else may have made it in this moment; whether it is there, the list says.
        self.list_target()?;
        if self.at_target.get(&folder.name).is_none_or(|other| !other.selectable) {
            // Some servers take capital and small letters for the same, and say that it is there already.
            if made.is_err()
                && let Some(other) = self.of_same_letters(&folder.name)
            {
                return Ok(other);
            }
            made.map_err(not_made)?;
            return Err(FOLDER_MISSING.into());
        }
        // A mail program that does not show it is an inconvenience and no loss.
        if let Err(error) = self.target.subscribe(&name) {
            tracing::warn!(code = error.code(), "a folder that was made at the target could not be subscribed to");
        }
        Ok(folder.name.clone())
    }

    fn open_pair(&mut self, path: &str, into: &str) -> Result<Option<OpenPair>, MailFailure> {
        if !self.listed.contains_key(path) {
            self.folders()?;
        }
        let Some(source) = self.examine_source(path)? else { return Ok(None) };
        if name_of(&self.at_target, into).is_none() {
            self.list_target()?;
        }
        self.into = name_of(&self.at_target, into).ok_or(FOLDER_MISSING)?;
        // Courier numbers a folder when it is first opened for writing, and refuses to look into it before.
        let target = match self.target.select(&self.into) {
            Ok(target) => target,
            // One that went is made anew, and one whose numbers do not last takes nothing however long it is waited for.
            Err(error) if ["mail-refused", "mail-no-right"].contains(&error.code()) => return Err(CLOSED.into()),
            Err(error) => return Err(error.into()),
        };
        let mut pair = OpenPair { source: state_of(&source), target: state_of(&target) };
        if target.uid_next.is_none() {
            // It tells which messages came later: of a server that does not say it, the numbers that there are do.
            let last = self.target.search()?.last();
            pair.target.uid_next = last.map_or(1, |last| last.0.saturating_add(1));
        }
        Ok(Some(pair))
    }

    fn messages(&mut self, after: Number, at_most: usize, each: EachMessage<'_>) -> Result<(), MailFailure> {
        let all = self.source.search()?;
        let newer: Uids = all.iter().filter(|uid| uid.0 > after).take(at_most).collect();
        let mut has_enough = false;
        for uids in newer.chunks(TOLD_AT_ONCE) {
            let missing = self.source.fetch_states(&uids, |state| {
                has_enough = has_enough || each(state.into()).is_break();
            })?;
            // Told when it was searched for and not when it was read: gone in between, or not to be believed.
            if !missing.is_empty() && !self.source.those_there(&missing)?.is_empty() {
                return Err(INCOMPLETE.into());
            }
        }
        Ok(())
    }

    fn copy(&mut self, message: &MessageState) -> Result<Copied, MailFailure> {
        let standing = &message.standing;
        match self.copy_with(message, standing) {
            // Cyrus has room for a hundred keywords in a mailbox, and says no to a message that brings another one.
            Err(MailFailure::Refused(refusal))
                if !standing.keywords.is_empty() && matches!(refusal.code, "mail-refused" | "mail-not-possible") =>
            {
                self.copy_with(message, &MessageStanding { keywords: BTreeSet::new(), ..standing.clone() })
            }
            copied => copied,
        }
    }

    fn prints(&mut self, side: Side, from: Number, each: EachPrint<'_>) -> Result<(), MailFailure> {
        let session = match side {
            Side::Source => &mut self.source,
            Side::Target => {
                // What was appended since it was opened is seen by opening it again.
                self.target.select(&self.into)?;
                &mut self.target
            }
        };
        let wanted: Uids = session.search()?.iter().filter(|uid| uid.0 >= from).collect();
        for uids in wanted.chunks(TEXTS_AT_ONCE) {
            let mut known: HashMap<Uid, (Timestamp, Option<Digest>)> = HashMap::new();
            session.fetch_meta(&uids, |meta| {
                let id = meta.header.and_then(|header| header.message_id).map(|id| Digest::of(id.as_bytes()));
                known.insert(meta.uid, (meta.internal_date.at(), id));
                ControlFlow::Continue(())
            })?;
            let mut printing = Printing { known: &known, hash: Sha256::new(), each: &mut *each };
            let missing = match session.fetch_bodies(&uids, &mut printing) {
                Ok(missing) => missing,
                Err(error) if error == STOPPED => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            if missing.is_empty() {
                continue;
            }
            for uid in session.those_there(&missing)?.iter() {
                // A text that the source does not send is like none at the target; of one that the target does not send
                // nobody can say that it is like another.
                let Some((received, id)) = known.get(&uid).filter(|_| side == Side::Source) else { continue };
                if each(uid.0, Print { text: NO_TEXT, received: *received, id: *id }).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// A plain no, or that it cannot be done at all, says more when it is known what was asked for.
fn not_made(error: MailError) -> MailError {
    match error {
        MailError::Refused(refusal) if matches!(refusal.code, "mail-refused" | "mail-not-possible") => {
            MailError::refused("mail-folder-not-made", refusal.retry)
        }
        other => other,
    }
}

fn use_of(special: SpecialUse) -> String {
    special.attribute().trim_start_matches('\\').to_lowercase()
}

/// System flags as the protocol writes them, and keywords as they are. A keyword that cannot be written is no reason to
/// leave its message out.
fn flags_of(standing: &MessageStanding) -> Vec<String> {
    let system = standing.flags.iter().filter_map(|flag| {
        let known = ["\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen"];
        known.into_iter().find(|known| known[1..].eq_ignore_ascii_case(flag)).map(str::to_owned)
    });
    system.chain(standing.keywords.iter().filter(|keyword| is_flag(keyword)).cloned()).collect()
}

enum Piece {
    Begins(u64),
    Bytes(Vec<u8>),
    Ends,
}

/// Sends a text on as it comes. Nobody who listens any more is no reason to stop: the server would have to be asked
/// anew.
struct Sending(Sender<Piece>);

impl BodySink for Sending {
    fn begins(&mut self, _uid: Uid, bytes: u64) -> ControlFlow<()> {
        let _heard = self.0.send(Piece::Begins(bytes));
        ControlFlow::Continue(())
    }

    fn chunk(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        let _heard = self.0.send(Piece::Bytes(bytes.to_vec()));
        ControlFlow::Continue(())
    }

    fn ends(&mut self, _uid: Uid) -> ControlFlow<()> {
        let _heard = self.0.send(Piece::Ends);
        ControlFlow::Continue(())
    }
}

/// The text of one message, read as it comes.
struct Text<'a> {
    pieces: &'a Receiver<Piece>,
    piece: Vec<u8>,
    at: usize,
    is_whole: bool,
}

impl Text<'_> {
    /// Reads what is left, and says whether the text came to its end.
    fn drain(mut self) -> bool {
        while !self.is_whole {
            match self.pieces.recv() {
                Ok(Piece::Ends) => self.is_whole = true,
                Ok(Piece::Bytes(_) | Piece::Begins(_)) => {}
                Err(_) => return false,
            }
        }
        true
    }
}

impl Read for Text<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() && !self.is_whole {
            match self.pieces.recv() {
                Ok(Piece::Bytes(bytes)) => (self.piece, self.at) = (bytes, 0),
                Ok(Piece::Ends) => self.is_whole = true,
                Ok(Piece::Begins(_)) => {}
                Err(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let rest = self.piece.get(self.at..).unwrap_or_default();
        let count = rest.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}

/// Hashes texts as they come.
struct Printing<'a, 'b> {
    known: &'a HashMap<Uid, (Timestamp, Option<Digest>)>,
    hash: Sha256,
    each: EachPrint<'b>,
}

impl BodySink for Printing<'_, '_> {
    fn begins(&mut self, _uid: Uid, _bytes: u64) -> ControlFlow<()> {
        self.hash = Sha256::new();
        ControlFlow::Continue(())
    }

    fn chunk(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        self.hash.update(bytes);
        ControlFlow::Continue(())
    }

    fn ends(&mut self, uid: Uid) -> ControlFlow<()> {
        let text = Digest(std::mem::take(&mut self.hash).finalize().into());
        match self.known.get(&uid) {
            Some((received, id)) => (self.each)(uid.0, Print { text, received: *received, id: *id }),
            None => ControlFlow::Continue(()),
        }
    }
}

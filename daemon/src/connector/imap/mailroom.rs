//! The mailroom over IMAP: what stages ask of messages, said in commands.
//!
//! A folder is named by its path, which is the same for every form of login. That something is gone is said only when
//! the server says so twice in two ways: a folder that is not listed and does not open, a message that is neither told
//! nor found. Whatever else is missing is an error.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use retention_core::event::saga::Residue;
use retention_core::id::EntityId;
use retention_core::record::message::{Correspondents, MessageStanding};

use super::directory::MailboxDirectory;
use super::doveadm::{Doveadm, Keys};
use super::error::{MailError, RETRY_SOON};
use super::folder::Folder;
use super::messages::{BodySink, Meta, STOPPED, State};
use super::permit::usual_at_once;
use super::quirk::{Leaves, Sizes};
use super::session::{Selected, Session};
use super::uid::{Uid, Uids};
use super::{Connector, MailboxAccess, utf7};
use crate::config::MailServer;
use crate::connector::mail::{
    Depth, EachMessage, FolderState, MailFailure, MailFolder, MailSession, Mailroom, MessageState, Registered, Room,
    TextSink, Uid as Number, Which,
};
use crate::connector::outcome::{Refusal, Retry};

/// How many messages are told by one command: far fewer than one answer may hold.
const TOLD_AT_ONCE: u32 = 10_000;

/// The server tells of a message when it is searched for and does not when it is read: nothing may be decided on it.
const CONTRADICTS: MailError = MailError::refused("mail-answer-incomplete", Retry::After(RETRY_SOON));

/// Opens the mailboxes of a directory.
pub struct ImapMailroom {
    connector: Arc<Connector>,
    directory: Arc<dyn MailboxDirectory>,
    keys: Keys,
}

impl ImapMailroom {
    /// Makes one; `keys` reads the keys of servers' own interfaces.
    #[must_use]
    pub fn new(connector: Arc<Connector>, directory: Arc<dyn MailboxDirectory>, keys: Keys) -> Self {
        Self { connector, directory, keys }
    }
}

impl From<MailError> for MailFailure {
    fn from(error: MailError) -> Self {
        match error {
            MailError::Refused(refusal) => Self::Refused(refusal),
            MailError::Unknown(cause) => Self::Lost(cause),
        }
    }
}

impl Mailroom for ImapMailroom {
    fn registered(&self) -> Vec<Registered> {
        self.directory.registered()
    }

    fn open(&self, mailbox: EntityId) -> Result<Box<dyn MailSession + '_>, MailFailure> {
        let access = self.directory.access(mailbox).map_err(MailFailure::Refused)?;
        let session = self.connector.open(&access)?;
        if session.expunge_keeps() {
            tracing::warn!(
                %mailbox,
                "the mail server keeps expunged messages, so nothing is purged there: Courier moves them to Trash (set \
                 IMAP_MOVE_EXPUNGE_TO_TRASH=0 in its configuration), Gmail takes a label off them"
            );
        }
        let MailboxAccess { server, user, .. } = access;
        let keys = Arc::clone(&self.keys);
        Ok(Box::new(OpenMailbox { session, folders: HashMap::new(), open: None, server, user, keys }))
    }

    fn room(&self, mailbox: EntityId) -> Option<Room> {
        let server = self.directory.server_of(mailbox)?;
        // One is left for whoever looks into mailboxes meanwhile.
        let at_once = usual_at_once(server.max_connections).saturating_sub(1).max(1);
        Some(Room { server: Arc::from(server.name.as_str()), at_once })
    }
}

/// One mailbox, open.
struct OpenMailbox {
    session: Session,
    /// Folders by their paths, as they were last listed.
    folders: HashMap<String, Folder>,
    open: Option<Selected>,
    server: Arc<MailServer>,
    /// The mailbox's user, as the server names it.
    user: String,
    keys: Keys,
}

impl OpenMailbox {
    fn list(&mut self) -> Result<&HashMap<String, Folder>, MailError> {
        self.folders = by_path(self.session.folders()?)?;
        Ok(&self.folders)
    }

    /// Opens a folder by its path; `None` when it is not there. One that shows messages of others is not opened.
    fn open(
        &mut self,
        path: &str,
        open: fn(&mut Session, &str) -> Result<Selected, MailError>,
    ) -> Result<Option<FolderState>, MailFailure> {
        self.open = None;
        if !self.folders.contains_key(path) {
            self.list()?;
        }
        let folder = self.folders.get(path);
        // Its messages lie in other folders, where policies, holds and persons know them.
        if folder.is_some_and(Folder::is_view) {
            return Ok(Some(FolderState::OF_OTHERS));
        }
        let listed = folder.filter(|folder| folder.selectable).map(|folder| folder.name.clone());
        let was_listed = listed.is_some();
        // A folder may be there and not be shown: rights to read and to list are two.
        let name = listed.unwrap_or_else(|| self.session.name_of(path));
        let selected = match open(&mut self.session, &name) {
            Ok(selected) => selected,
            Err(error) if !says_not_there(&error) => return Err(error.into()),
            Err(error) => {
                // It may have been removed since it was listed.
                if was_listed && self.list()?.get(path).is_some_and(|folder| folder.selectable) {
                    return Err(error.into());
                }
                return Ok(None);
            }
        };
        if self.session.shows_others(&name)? {
            return Ok(Some(FolderState::OF_OTHERS));
        }
        let state = FolderState {
            uid_validity: selected.uid_validity.0,
            uid_next: selected.uid_next.unwrap_or(0),
            exists: selected.exists,
            highest_modseq: selected.highest_mod_seq,
        };
        self.open = Some(selected);
        Ok(Some(state))
    }

    fn opened(&self) -> Result<&Selected, MailFailure> {
        const NOT_OPEN: MailFailure = MailFailure::Refused(Refusal { code: "mail-not-open", retry: Retry::Never });
        self.open.as_ref().ok_or(NOT_OPEN)
    }

    /// What was not told must not be there: a message that is only not told would be taken for gone.
    fn must_be_gone(&mut self, missing: &Uids) -> Result<(), MailFailure> {
        if self.still_there(missing)?.is_empty() { Ok(()) } else { Err(CONTRADICTS.into()) }
    }

    fn still_there(&mut self, missing: &Uids) -> Result<Uids, MailError> {
        if missing.is_empty() { Ok(Uids::default()) } else { self.session.those_there(missing) }
    }
}

/// Returns folders by their paths. Two of one path could be taken for each other.
pub(super) fn by_path(folders: Vec<Folder>) -> Result<HashMap<String, Folder>, MailError> {
    const ALIKE: MailError = MailError::refused("mail-folders-alike", Retry::Operator);
    let mut listed: HashMap<String, Folder> = HashMap::new();
    for folder in folders {
        match listed.entry(folder.path.clone()) {
            Entry::Vacant(place) => drop(place.insert(folder)),
            Entry::Occupied(other) if other.get().selectable && folder.selectable => return Err(ALIKE),
            Entry::Occupied(mut other) if folder.selectable => drop(other.insert(folder)),
            Entry::Occupied(_) => {}
        }
    }
    Ok(listed)
}

/// Whether a refusal to open a folder can mean that it is not there. Servers without codes say no more than no.
fn says_not_there(error: &MailError) -> bool {
    matches!(error, MailError::Refused(refusal) if matches!(refusal.code, "mail-folder-missing" | "mail-refused"))
}

fn numbers(uids: &[Number]) -> Uids {
    uids.iter().copied().map(Uid).collect()
}

impl MailSession for OpenMailbox {
    fn can_expunge_exactly(&self) -> bool {
        self.session.capabilities().has("UIDPLUS") && !self.session.expunge_keeps()
    }

    fn folders(&mut self) -> Result<Vec<MailFolder>, MailFailure> {
        let listed = self.list()?.values().filter(|folder| folder.selectable && !folder.is_view());
        let mut folders: Vec<MailFolder> = listed
            .map(|folder| MailFolder {
                name: folder.path.clone(),
                special_use: folder
                    .special_use
                    .iter()
                    .map(|special| special.attribute().trim_start_matches('\\').to_lowercase())
                    .collect(),
            })
            .collect();
        folders.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(folders)
    }

    fn look_into(&mut self, folder: &str) -> Result<Option<FolderState>, MailFailure> {
        self.open(folder, Session::examine)
    }

    fn work_on(&mut self, folder: &str) -> Result<Option<FolderState>, MailFailure> {
        self.open(folder, Session::select)
    }

    fn messages(&mut self, which: Which<'_>, depth: Depth, each: EachMessage<'_>) -> Result<(), MailFailure> {
        self.opened()?;
        let uids = match which {
            Which::All => self.session.search()?,
            Which::Uids(uids) => numbers(uids),
        };
        let mut has_enough = false;
        // Whoever has enough hears no more; the rest of the answer is short, and the session stays of use.
        let mut tell = |message: MessageState| has_enough = has_enough || each(message).is_break();
        for uids in uids.chunks(TOLD_AT_ONCE) {
            let missing = match depth {
                Depth::State => self.session.fetch_states(&uids, |state| tell(state.into()))?,
                Depth::Record => self.session.fetch_meta(&uids, |meta| {
                    tell(meta.into());
                    ControlFlow::Continue(())
                })?,
            };
            self.must_be_gone(&missing)?;
        }
        Ok(())
    }

    fn tells_exact_sizes(&self) -> bool {
        self.session.quirks().sizes == Sizes::Exact
    }

    fn texts(&mut self, uids: &[Number], sink: &mut dyn TextSink) -> Result<Vec<Number>, MailFailure> {
        self.opened()?;
        match self.session.fetch_bodies(&numbers(uids), &mut Bodies(sink)) {
            Ok(missing) => Ok(self.still_there(&missing)?.iter().map(|uid| uid.0).collect()),
            Err(error) if error == STOPPED => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    fn flag_deleted(&mut self, uids: &[Number], unless_after: Option<u64>) -> Result<Vec<Number>, MailFailure> {
        let open = self.opened()?;
        let (under, counts) = (open.uid_validity, open.highest_mod_seq.is_some());
        let spared = self.session.store_deleted(&numbers(uids), under, unless_after.filter(|_| counts))?;
        Ok(uids.iter().copied().filter(|uid| spared.contains(Uid(*uid))).collect())
    }

    fn unflag_deleted(&mut self, uids: &[Number]) -> Result<(), MailFailure> {
        let under = self.opened()?.uid_validity;
        Ok(self.session.store_undeleted(&numbers(uids), under)?)
    }

    fn expunge(&mut self, uids: &[Number]) -> Result<(), MailFailure> {
        let under = self.opened()?.uid_validity;
        if self.session.expunge_keeps() {
            return Err(MailError::refused("mail-expunge-keeps", Retry::Operator).into());
        }
        if !self.can_expunge_exactly() {
            return Err(MailError::refused("mail-no-uidplus", Retry::Operator).into());
        }
        let _told = self.session.uid_expunge(&numbers(uids), under)?;
        Ok(())
    }

    fn clear_residue(&mut self, folders: &[&str]) -> Result<Vec<Residue>, MailFailure> {
        let server = Arc::clone(&self.server);
        match (self.session.quirks().leaves, &server.doveadm) {
            (Leaves::Nothing, _) => Ok(Vec::new()),
            (Leaves::Files, _) => Ok(vec![Residue::DelayedExpunge]),
            (Leaves::Unknown, _) => Ok(vec![Residue::ServerUnknown]),
            (Leaves::Cache, None) => Ok(vec![Residue::CacheMayRemain]),
            (Leaves::Cache, Some(place)) => {
                // A cache is rewritten whole once nobody has its folder open.
                self.open = None;
                self.session.close_folder();
                // The cache of a folder that is gone went with it.
                let listed = self.list()?.values();
                let names: Vec<String> = listed
                    .filter(|folder| folder.selectable && folders.contains(&folder.path.as_str()))
                    .map(|folder| utf7::decode(&folder.name))
                    .collect();
                let mut doveadm = Doveadm::of(place, &server, &self.keys).map_err(MailFailure::Refused)?;
                for name in &names {
                    doveadm.purge_cache(&self.user, name).map_err(MailFailure::Refused)?;
                }
                doveadm.purge_storage(&self.user).map_err(MailFailure::Refused)?;
                Ok(vec![Residue::CacheCleared])
            }
        }
    }
}

/// Hands bodies on as texts.
struct Bodies<'a>(&'a mut dyn TextSink);

impl BodySink for Bodies<'_> {
    fn begins(&mut self, uid: Uid, bytes: u64) -> ControlFlow<()> {
        self.0.begin(uid.0, bytes)
    }

    fn chunk(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        self.0.part(bytes)
    }

    fn ends(&mut self, _uid: Uid) -> ControlFlow<()> {
        self.0.end()
    }
}

/// Tells system flags from keywords: those begin with a backslash.
fn standing(received: super::InternalDate, size: u64, words: Vec<String>) -> MessageStanding {
    let (mut flags, mut keywords) = (BTreeSet::new(), BTreeSet::new());
    for word in words {
        match word.strip_prefix('\\') {
            Some(flag) => flags.insert(flag.to_lowercase()),
            None => keywords.insert(word),
        };
    }
    MessageStanding { received: received.at(), size, flags, keywords }
}

impl From<State> for MessageState {
    fn from(state: State) -> Self {
        Self {
            uid: state.uid.0,
            standing: standing(state.internal_date, state.size, state.flags),
            correspondents: Some(Correspondents::default()),
            is_stood_in_for: false,
        }
    }
}

impl From<Meta> for MessageState {
    fn from(meta: Meta) -> Self {
        let correspondents = meta.header.map(|header| {
            let from: HashSet<&String> = header.from.iter().collect();
            let beside_from = |addresses: Vec<String>| -> Vec<String> {
                addresses.into_iter().filter(|address| !from.contains(address)).collect()
            };
            let (sender, reply_to) = (beside_from(header.sender), beside_from(header.reply_to));
            drop(from);
            Correspondents {
                from: header.from,
                to: header.to,
                cc: header.cc,
                list: header.list_id,
                message_id: header.message_id,
                sender,
                reply_to,
                bcc: header.bcc,
                resent: header.resent,
            }
        });
        let standing = standing(meta.internal_date, meta.size, meta.flags);
        Self { uid: meta.uid.0, standing, correspondents, is_stood_in_for: meta.is_stood_in_for }
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::{Untagged, untagged};
    use super::super::messages::meta_of;
    use super::super::quirk::StandIn;
    use super::*;

    fn told(header: &str) -> Option<MessageState> {
        let answer =
            format!("7 FETCH (UID 9 FLAGS () INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" RFC822.SIZE 5{header})");
        let Ok(Untagged::Fetch(fetched)) = untagged(answer.as_bytes()) else { panic!("{answer}") };
        meta_of(*fetched, StandIn::Nothing).map(MessageState::from)
    }

    #[test]
    fn who_answers_for_a_message_and_who_got_it_unseen_is_known_where_it_is_somebody_else() {
        let told = |header: &str| {
            let header = format!("{header}\r\n");
            let told = told(&format!(" BODY[HEADER.FIELDS (FROM TO)] {{{}}}\r\n{header}", header.len()));
            told.and_then(|message| message.correspondents).unwrap()
        };
        let same = told("From: ada@x\r\nSender: Ada <ada@x>\r\nReply-To: ada@x\r\nTo: bob@x\r\nMessage-ID: <1@x>\r\n");
        assert_eq!((same.from, same.to), (vec!["ada@x".to_owned()], vec!["bob@x".to_owned()]));
        assert!(same.sender.is_empty() && same.reply_to.is_empty() && same.bcc.is_empty());
        assert_eq!(same.message_id.as_deref(), Some("<1@x>"));
        let other = told("From: ada@x\r\nSender: bob@x\r\nReply-To: ada@x, cyra@x\r\nBcc: bob@x, cyra@x\r\n");
        assert_eq!(other.sender, ["bob@x"]);
        assert_eq!(other.reply_to, ["cyra@x"]);
        assert_eq!(other.bcc, ["bob@x", "cyra@x"]);
        assert_eq!(told("From: ada@x\r\nResent-To: Cyra <cyra@x>\r\n").resent, ["cyra@x"]);
        assert!(told("").from.is_empty());
    }

    #[test]
    fn a_header_that_is_lost_is_not_read_and_one_that_is_not_told_is_no_answer() {
        let lost = told(" BODY[HEADER.FIELDS (FROM TO)] NIL").expect("a message");
        assert!(lost.correspondents.is_none() && lost.uid == 9);
        assert!(told("").is_none());
    }
}

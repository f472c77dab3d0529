//! A connection to one mailbox whose owner has been proven. Only this type has effects.

use std::collections::HashSet;

use super::Capabilities;
use super::answer::{Code, Namespace, Untagged};
use super::command::Command;
use super::error::{MailError, RETRY_SOON};
use super::folder::{Folder, Root};
use super::limits::FOLDERS_MAX;
use super::permit::Permit;
use super::proof::Proof;
use super::quirk::{Elsewhere, Lists, Quirks};
use super::uid::UidValidity;
use super::wire::Wire;
use crate::connector::outcome::Retry;

/// What servers say of themselves whose `EXPUNGE` removes no message: Courier moves it to Trash, and Gmail, as its settings
/// are at first, only takes a label off it.
const EXPUNGE_KEEPS: &[&str] = &["XMAGICTRASH", "X-GM-EXT-1"];

/// One logged-in connection to one mailbox.
///
/// **Invariant:** it was proven whose mailbox it is; see [`Proof`]. It is made by [`super::Connector::open`] alone.
pub struct Session {
    pub(super) wire: Wire,
    pub(super) capabilities: Capabilities,
    pub(super) quirks: &'static Quirks,
    pub(super) root: Root,
    /// Where the folders of others begin.
    pub(super) foreign: Vec<Namespace>,
    pub(super) proof: Proof,
    pub(super) selected: Option<Selected>,
    pub(super) _permit: Permit,
}

/// The folders of another user's mailbox, under each name that the mailbox has.
pub(super) type OfAnother = Vec<(Root, Vec<Folder>)>;

/// A folder that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Its validity: UIDs mean something under it alone.
    pub uid_validity: UidValidity,
    /// The UID that the next message gets at least; `None` when the server does not say.
    pub uid_next: Option<u32>,
    /// How many messages it holds.
    pub exists: u32,
    /// Its highest modification sequence; `None` when the server keeps none.
    pub highest_mod_seq: Option<u64>,
    /// Flags that can be set and stay; `\*` means that new keywords can be made.
    pub permanent_flags: Vec<String>,
    /// Whether messages can be changed.
    pub access: Access,
}

/// What may be done in an open folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Look only.
    ReadOnly,
    /// Change.
    ReadWrite,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("server", &self.quirks.server)
            .field("proof", &self.proof)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Returns what proved whose mailbox it is.
    #[must_use]
    pub fn proof(&self) -> Proof {
        self.proof
    }

    /// Returns what the server can do.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether the server says that it keeps what is expunged.
    #[must_use]
    pub fn expunge_keeps(&self) -> bool {
        EXPUNGE_KEEPS.iter().any(|word| self.capabilities.has(word))
    }

    /// Returns what is known of this kind of server.
    #[must_use]
    pub fn quirks(&self) -> &'static Quirks {
        self.quirks
    }

    /// Returns the name of the inbox in this session.
    #[must_use]
    pub fn inbox(&self) -> &str {
        self.root.inbox()
    }

    /// Returns the name under which commands would make the folder with this path.
    #[must_use]
    pub fn name_of(&self, path: &str) -> String {
        self.root.name_of(path)
    }

    /// Says whether a folder with this path can be made here under a name of its own.
    #[must_use]
    pub fn can_name(&self, path: &str) -> bool {
        self.root.can_name(path)
    }

    /// Lists all folders of the mailbox, in the order of their paths.
    ///
    /// # Errors
    /// Nothing was changed, whatever went wrong. More folders than `FOLDERS_MAX` are refused, never cut off.
    pub fn folders(&mut self) -> Result<Vec<Folder>, MailError> {
        let root = self.root.clone();
        let mut folders = self.folders_at(&root)?;
        if self.quirks.lists == Lists::NamesAsFolders {
            self.tell_names_apart(&mut folders)?;
        }
        Ok(folders)
    }

    /// Finds out which of the listed names have no folder. Only those with folders below them can be listed so.
    fn tell_names_apart(&mut self, folders: &mut [Folder]) -> Result<(), MailError> {
        let mut with_folders_below: HashSet<&str> = HashSet::new();
        for folder in folders.iter() {
            let Some(delimiter) = folder.delimiter else { continue };
            let ends = folder.name.match_indices(delimiter).map(|(at, _)| at);
            with_folders_below.extend(ends.filter_map(|at| folder.name.get(..at)));
        }
        let is_doubtful = |folder: &Folder| folder.selectable && with_folders_below.contains(folder.name.as_str());
        let doubtful: Vec<usize> =
            folders.iter().enumerate().filter(|(_, folder)| is_doubtful(folder)).map(|(at, _)| at).collect();
        let names: Vec<&str> =
            doubtful.iter().filter_map(|at| folders.get(*at)).map(|folder| folder.name.as_str()).collect();
        let ends = self.answers_for(&names);
        for (at, end) in doubtful.into_iter().zip(ends) {
            match end {
                Ok(()) => {}
                Err(MailError::Refused(why)) if matches!(why.code, "mail-folder-missing" | "mail-refused") => {
                    folders.get_mut(at).into_iter().for_each(|folder| folder.selectable = false);
                }
                // A folder that does not open to this login is one, and says so when it is to be opened.
                Err(MailError::Refused(why)) if why.code == "mail-no-right" => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Finds out for each of these folders whether the server answers for it, without opening it.
    pub fn answers_for(&mut self, names: &[&str]) -> Vec<Result<(), MailError>> {
        let ask = |name: &&str| Command::new("STATUS").folder(name).raw("(UIDVALIDITY)");
        let asked: Vec<Command> = names.iter().map(ask).collect();
        let ends = self.wire.run_all(&asked, &mut Vec::<Untagged>::new());
        ends.into_iter().map(|end| end.map(drop).map_err(MailError::of_a_question)).collect()
    }

    /// Lists all folders of another user's mailbox that this login can see, under each name that the mailbox may have
    /// here; `None` when the server shows no mailboxes of others to anybody.
    ///
    /// # Errors
    /// As [`Self::folders`].
    pub(super) fn folders_of(&mut self, user: &str) -> Result<Option<OfAnother>, MailError> {
        if self.foreign.is_empty() {
            return Ok(None);
        }
        let mut found = Vec::new();
        for namespace in self.foreign.clone() {
            let root = Root::at(&format!("{}{user}", namespace.prefix), namespace.delimiter);
            let folders = self.folders_at(&root)?;
            found.push((root, folders));
        }
        Ok(Some(found))
    }

    fn folders_at(&mut self, root: &Root) -> Result<Vec<Folder>, MailError> {
        let extended = self.capabilities.has("LIST-EXTENDED") && self.capabilities.has("SPECIAL-USE");
        let commands: Vec<Command> = root
            .patterns()
            .iter()
            .map(|pattern| {
                let list = Command::new("LIST").string("").string(pattern);
                if extended { list.raw("RETURN (SPECIAL-USE)") } else { list }
            })
            .collect();
        let mut heard = Vec::new();
        for end in self.wire.run_all(&commands, &mut heard) {
            let _code = end.map_err(MailError::of_a_question)?;
        }
        let listed = heard.iter().filter_map(|answer| match answer {
            Untagged::List(listed) => root.folder(listed),
            _ => None,
        });
        let mut folders: Vec<Folder> = listed.collect();
        folders.sort_by(|a, b| (&a.path, &a.name).cmp(&(&b.path, &b.name)));
        folders.dedup_by(|a, b| a.name == b.name);
        if folders.len() > FOLDERS_MAX {
            return Err(MailError::refused("mail-too-much", Retry::Operator));
        }
        Ok(folders)
    }

    /// Opens a folder so that its messages can be changed.
    ///
    /// # Errors
    /// Says why not; a folder that opens for reading only is an error here.
    pub fn select(&mut self, folder: &str) -> Result<Selected, MailError> {
        let selected = self.open_folder("SELECT", folder)?;
        match selected.access {
            Access::ReadWrite => Ok(selected),
            Access::ReadOnly => Err(MailError::refused("mail-read-only", Retry::Operator)),
        }
    }

    /// Opens a folder for reading.
    ///
    /// # Errors
    /// Says why not.
    pub fn examine(&mut self, folder: &str) -> Result<Selected, MailError> {
        self.open_folder("EXAMINE", folder)
    }

    fn open_folder(&mut self, verb: &'static str, folder: &str) -> Result<Selected, MailError> {
        self.selected = None;
        let mut command = Command::new(verb).folder(folder);
        if self.capabilities.has("CONDSTORE") {
            // Some servers tell their modification sequence only when asked (RFC 7162, 3.1.8).
            command = command.raw("(CONDSTORE)");
        }
        let (code, heard) = self.wire.ask(&command).map_err(MailError::of_a_question)?;
        let mut exists = None;
        let mut codes: Vec<Code> = Vec::new();
        for answer in heard {
            match answer {
                Untagged::Exists(count) => exists = Some(count),
                Untagged::Status(_, Some(code)) => codes.push(code),
                _ => {}
            }
        }
        if codes.contains(&Code::UidNotSticky) {
            return Err(MailError::refused("mail-uids-do-not-last", Retry::Never));
        }
        const INCOMPLETE: MailError = MailError::refused("mail-answer-incomplete", Retry::Operator);
        let find = |want: &dyn Fn(&Code) -> Option<u64>| codes.iter().find_map(want);
        let uid_validity = codes.iter().find_map(|code| match code {
            Code::UidValidity(validity) => Some(*validity),
            _ => None,
        });
        let selected = Selected {
            uid_validity: uid_validity.ok_or(INCOMPLETE)?,
            uid_next: find(&|code| match code {
                Code::UidNext(next) => Some(u64::from(*next)),
                _ => None,
            })
            .and_then(|next| u32::try_from(next).ok()),
            exists: exists.ok_or(INCOMPLETE)?,
            highest_mod_seq: find(&|code| match code {
                Code::HighestModSeq(sequence) => Some(*sequence),
                _ => None,
            }),
            permanent_flags: codes
                .iter()
                .find_map(|code| match code {
                    Code::PermanentFlags(flags) => Some(flags.clone()),
                    _ => None,
                })
                .unwrap_or_default(),
            access: if code == Some(Code::ReadWrite) { Access::ReadWrite } else { Access::ReadOnly },
        };
        self.selected = Some(selected.clone());
        Ok(selected)
    }

    /// Says whether the server tells of folders that only show messages of others and have no mark of it.
    #[must_use]
    pub fn tells_of_others(&self) -> bool {
        self.quirks.elsewhere == Elsewhere::Told
    }

    /// Says whether the open folder only shows messages that lie in others and has no mark of it, where the server tells.
    ///
    /// # Errors
    /// Says why nobody knows.
    pub fn shows_others(&mut self, folder: &str) -> Result<bool, MailError> {
        const NOT_TOLD: MailError = MailError::refused("mail-answer-incomplete", Retry::After(RETRY_SOON));
        // Dovecot's begin in a place of their own, which it may hide, and it counts no changes in them.
        let may_show =
            |open: &Selected| open.exists > 0 && (self.root.has_several_places() || open.highest_mod_seq.is_none());
        if !self.tells_of_others() || !self.selected.as_ref().is_some_and(may_show) {
            return Ok(false);
        }
        let asked = self.wire.ask(&Command::new("FETCH").raw("1 (X-MAILBOX)")).map_err(MailError::of_a_question);
        let heard = match asked {
            Ok((_code, heard)) => heard,
            // A Dovecot that stands before another server passes the question on.
            Err(MailError::Refused(why)) if why.code == "mail-bad-command" => return Ok(false),
            Err(error) => return Err(error),
        };
        let told = heard.into_iter().find_map(|answer| match answer {
            Untagged::Fetch(fetched) => fetched.lies_in,
            _ => None,
        });
        let lies_in = told.ok_or(NOT_TOLD)?;
        let are_inbox = [lies_in.as_str(), folder].iter().all(|name| name.eq_ignore_ascii_case("INBOX"));
        Ok(lies_in != folder && !are_inbox)
    }

    /// Closes the open folder without expunging anything.
    pub fn close_folder(&mut self) {
        if self.selected.take().is_some() {
            close(&mut self.wire, &self.capabilities);
        }
    }

    /// Says whether a folder has no room for so many bytes more, where the server tells what there may be (RFC 9208).
    pub(super) fn lacks_room(&mut self, folder: &str, bytes: u64) -> bool {
        if !self.capabilities.has("QUOTA") {
            return false;
        }
        let Ok((_code, heard)) = self.wire.ask(&Command::new("GETQUOTAROOT").folder(folder)) else { return false };
        let limits = heard.into_iter().filter_map(|answer| match answer {
            Untagged::Quota(limits) => Some(limits),
            _ => None,
        });
        limits.flatten().any(|(what, used, most)| match what.as_str() {
            // Counted in units of 1,024 bytes.
            "STORAGE" => used.saturating_add(bytes.div_ceil(1_024)) > most,
            "MESSAGE" => used >= most,
            _ => false,
        })
    }

    /// Makes a folder. One that is there already is a refusal with the code `mail-already-exists`, where the server
    /// says so.
    ///
    /// # Errors
    /// Says why not.
    pub fn create(&mut self, folder: &str) -> Result<(), MailError> {
        self.wire.ask(&Command::new("CREATE").folder(folder)).map(|_| ())
    }

    /// Takes a folder into the list of those that mail programs show.
    ///
    /// # Errors
    /// Says why not.
    pub fn subscribe(&mut self, folder: &str) -> Result<(), MailError> {
        self.wire.ask(&Command::new("SUBSCRIBE").folder(folder)).map(|_| ())
    }

    /// Says goodbye. Dropping a session does no harm either; the server then learns of it by itself.
    pub fn log_out(mut self) {
        let _said = self.wire.ask(&Command::new("LOGOUT"));
    }
}

/// Closes the open folder without expunging: by `UNSELECT`, or by opening one that is not there (RFC 3691).
pub(super) fn close(wire: &mut Wire, capabilities: &Capabilities) {
    if capabilities.has("UNSELECT") {
        let _closed = wire.ask(&Command::new("UNSELECT"));
    }
}

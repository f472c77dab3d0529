//! Permissions of mailboxes over IMAP (RFC 4314): read, given and taken back folder by folder.
//!
//! What is read of a principal is its own entry, which is what a grant changes. Entries that take rights away
//! (`-identifier`) and those of everybody are nobody's grant: nothing is given where the former stand, and the latter
//! are left out of what the principal sees for itself.

use std::collections::HashMap;
use std::sync::Arc;

use retention_core::event::grant::OpenSessions;
use retention_core::event::permission::Holder;
use retention_core::id::EntityId;
use retention_core::mailbox::Rights;

use super::acl::Acl;
use super::directory::MailboxDirectory;
use super::doveadm::{Doveadm, Keys};
use super::error::{MailError, RETRY_SOON};
use super::eyes::{self, Eyes};
use super::folder::Folder;
use super::mailroom::by_path;
use super::session::Session;
use super::{Connector, MailboxAccess};
use crate::connector::access::{AccessSession, AccessTarget, FolderAccess, PermissionEntry, PermissionReader};
use crate::connector::outcome::{Cause, Outcome, Refusal, Retry};

/// How often folders are listed again because one went away in between.
const LISTINGS: usize = 4;

/// How often sessions are ended again that are still seen.
const KICKS: usize = 4;

/// No name to which something is given holds one of these. Cyrus takes a quote or a backslash, and then changes nothing
/// in that folder any more, whoever it is about; the others are wildcards where sessions are ended.
const UNSAFE_SIGNS: [char; 5] = ['"', '\\', '*', '?', '%'];

const NO_FOLDERS: Refusal = Refusal { code: "mail-folders-change", retry: Retry::After(RETRY_SOON) };

/// Gives and takes back the permissions of the mailboxes of a directory.
pub struct ImapAccess {
    connector: Arc<Connector>,
    directory: Arc<dyn MailboxDirectory>,
    keys: Keys,
    eyes: Arc<Eyes>,
}

impl ImapAccess {
    /// Makes one; `keys` reads the keys of servers' own interfaces.
    #[must_use]
    pub fn new(connector: Arc<Connector>, directory: Arc<dyn MailboxDirectory>, keys: Keys) -> Self {
        Self { connector, directory, keys, eyes: Arc::default() }
    }

    fn log_in(&self, access: &MailboxAccess) -> Result<Session, Refusal> {
        self.connector.open_urgent(access).map_err(refusal)
    }
}

/// What only asks, or never came so far as to change something, was refused.
pub(super) fn refusal(error: MailError) -> Refusal {
    match error.of_a_question() {
        MailError::Refused(refusal) => refusal,
        MailError::Unknown(cause) => Refusal { code: cause.code, retry: Retry::After(RETRY_SOON) },
    }
}

impl PermissionReader for ImapAccess {
    fn permissions(&self, mailbox: EntityId) -> Result<Vec<PermissionEntry>, Refusal> {
        let access = self.directory.access(mailbox)?;
        let mut session = self.log_in(&access)?;
        let (folders, acls) = read_all(&mut session)?;
        session.log_out();
        let mut read = Vec::new();
        for (folder, acl) in folders.into_iter().zip(acls) {
            for (identifier, rights) in acl.entries {
                let holder = holder(&access.user, &access.admin, &identifier);
                read.push(PermissionEntry { folder: folder.path.clone(), identifier, holder, rights });
            }
        }
        Ok(read)
    }
}

/// Says whose entry it is. What is not certainly a person's is never taken for one: the user and the admin are known in
/// other letters and with or without a domain too.
fn holder(user: &str, admin: &str, identifier: &str) -> Holder {
    if is_alike(identifier, user) || identifier.eq_ignore_ascii_case("owner") {
        Holder::Owner
    } else if is_alike(identifier, admin) {
        Holder::Admin
    } else if is_a_user(identifier) {
        Holder::Person
    } else {
        Holder::Group
    }
}

impl AccessTarget for ImapAccess {
    fn open(&self, mailbox: EntityId) -> Result<Box<dyn AccessSession>, Refusal> {
        let access = self.directory.access(mailbox)?;
        let session = self.log_in(&access)?;
        Ok(Box::new(OpenMailbox {
            session,
            connector: Arc::clone(&self.connector),
            directory: Arc::clone(&self.directory),
            eyes: Arc::clone(&self.eyes),
            mailbox,
            access,
            names: HashMap::new(),
        }))
    }

    fn seen_by(&self, mailbox: EntityId, identifier: &str) -> Result<Option<Vec<FolderAccess>>, Refusal> {
        let Some(own) = self.directory.access_as(mailbox, identifier) else { return Ok(None) };
        let access = self.directory.access(mailbox)?;
        let mut admin = self.log_in(&access)?;
        let (folders, acls) = read_all(&mut admin)?;
        let is_named_so = eyes::names_of_others_are_proven(admin.proof());
        drop(admin);
        let mut principal = match self.connector.open_urgent(&own) {
            Ok(principal) => principal,
            // Its password is not known any more.
            Err(error) if matches!(error.code(), "mail-login-refused" | "mail-password-expired") => return Ok(None),
            Err(error) => return Err(refusal(error)),
        };
        let seen = eyes::look(&mut principal, &access.user, &folders, &acls)?;
        Ok(seen.filter(|seen| is_named_so || self.eyes.believes(mailbox, identifier, seen)))
    }

    fn end_sessions(&self, mailbox: EntityId, identifier: &str) -> Result<OpenSessions, Refusal> {
        let access = self.directory.access(mailbox)?;
        // Nothing is given to a name that doveadm would take for those of others too; what stood there is taken away.
        let may_be_named = is_a_user(identifier) && Doveadm::can_name(identifier);
        let Some(place) = access.server.doveadm.as_ref().filter(|_| may_be_named) else {
            return Ok(OpenSessions::MayHaveLivedOn { until: None });
        };
        let mut doveadm = Doveadm::of(place, &access.server, &self.keys)?;
        // Whoever has rights under one name may log in under another.
        let login = self.directory.access_as(mailbox, identifier).map(|own| own.user);
        let login = login.filter(|login| login != identifier);
        let is_whole = login.as_deref().is_none_or(Doveadm::can_name);
        let login = login.filter(|_| is_whole);
        for _ in 0..KICKS {
            let mut ended = doveadm.kick(identifier)?;
            if let Some(login) = &login {
                ended &= doveadm.kick(login)?;
            }
            if ended {
                return Ok(if is_whole { OpenSessions::Ended } else { OpenSessions::MayHaveLivedOn { until: None } });
            }
        }
        Err(Refusal { code: "mail-sessions-live", retry: Retry::After(RETRY_SOON) })
    }
}

/// Whether a refusal means that one may not, or that there is nothing.
pub(super) fn is_no(code: &str) -> bool {
    matches!(code, "mail-no-right" | "mail-folder-missing" | "mail-refused")
}

/// The names of everybody who logs in.
pub(super) const EVERYBODY: &[&str] = &["anyone", "anonymous", "authenticated"];

/// Names with a meaning of their own (RFC 4314, 2; the servers' documentation): groups, and everybody.
fn is_a_group(identifier: &str) -> bool {
    const PREFIXES: &[&str] = &["group:", "group=", "group-override=", "$", "#", "@"];
    identifier.eq_ignore_ascii_case("administrators")
        || EVERYBODY.iter().any(|word| identifier.eq_ignore_ascii_case(word))
        || PREFIXES.iter().any(|prefix| identifier.starts_with(prefix))
}

/// Whether an identifier can stand for one person.
fn is_a_user(identifier: &str) -> bool {
    !identifier.is_empty()
        && !is_a_group(identifier)
        && !identifier.eq_ignore_ascii_case("owner")
        && !identifier.starts_with(['-', '+', '!'])
        && !identifier.chars().any(char::is_control)
}

/// Whether a server may take two names for the same: it may fold letters, and leave out a domain that it takes for
/// granted.
fn is_alike(a: &str, b: &str) -> bool {
    let parts = |name: &str| {
        let (local, domain) = name.split_once('@').unwrap_or((name, ""));
        (local.to_lowercase(), domain.to_lowercase())
    };
    let ((a, a_domain), (b, b_domain)) = (parts(a), parts(b));
    a == b && (a_domain == b_domain || a_domain.is_empty() || b_domain.is_empty())
}

/// Lists all folders and reads who may do what in each, until both agree.
fn read_all(session: &mut Session) -> Result<(Vec<Folder>, Vec<Acl>), Refusal> {
    let mut last = NO_FOLDERS;
    for _ in 0..LISTINGS {
        let folders: Vec<Folder> =
            by_path(session.folders().map_err(refusal)?).map_err(refusal)?.into_values().collect();
        let names: Vec<&str> = folders.iter().map(|folder| folder.name.as_str()).collect();
        let answers = session.acls(&names);
        let mut read = (Vec::new(), Vec::new());
        let mut went_away = None;
        for (folder, answer) in folders.into_iter().zip(answers) {
            match answer {
                Ok(acl) => {
                    read.0.push(folder);
                    read.1.push(acl);
                }
                Err(MailError::Refused(why)) if is_no(why.code) => {
                    // A name without a folder has no permissions; a folder that has gone is not there when it is listed
                    // again, and one that is there and does not tell its permissions fails below.
                    went_away = went_away.or(folder.selectable.then_some(why));
                }
                Err(error) => return Err(refusal(error)),
            }
        }
        match went_away {
            None => return Ok(read),
            Some(why) => last = why,
        }
    }
    Err(last)
}

/// One login to one mailbox.
struct OpenMailbox {
    session: Session,
    connector: Arc<Connector>,
    directory: Arc<dyn MailboxDirectory>,
    eyes: Arc<Eyes>,
    mailbox: EntityId,
    access: MailboxAccess,
    /// The folders by their paths, as they were last read.
    names: HashMap<String, Known>,
}

/// What is remembered of a folder that was read.
struct Known {
    name: String,
    /// What an entry takes away from the principal.
    taken: Rights,
    /// Whether another entry may mean the same principal: in other letters, with or without a domain.
    has_alike: bool,
}

impl AccessSession for OpenMailbox {
    fn read(&mut self, identifier: &str) -> Result<Vec<FolderAccess>, Refusal> {
        let (folders, acls) = read_all(&mut self.session)?;
        let taken = format!("-{identifier}");
        self.names.clear();
        let mut read = Vec::with_capacity(folders.len());
        for (folder, acl) in folders.into_iter().zip(acls) {
            // A name without a folder can be given nothing; what stands there is shown, so that it is taken away.
            if !folder.selectable && acl.rights_of(identifier).is_empty() {
                continue;
            }
            read.push(FolderAccess { folder: folder.path.clone(), rights: acl.rights_of(identifier) });
            let has_alike = acl.entries.iter().any(|(who, _)| who != identifier && is_alike(who, identifier));
            self.names.insert(folder.path, Known { name: folder.name, taken: acl.rights_of(&taken), has_alike });
        }
        read.sort_by(|a, b| a.folder.cmp(&b.folder));
        Ok(read)
    }

    fn change(&mut self, identifier: &str, wanted: &[FolderAccess]) -> Outcome<()> {
        let mut named = Vec::with_capacity(wanted.len());
        for folder in wanted {
            let Some(known) = self.names.get(&folder.folder) else {
                return Outcome::Refused(Refusal { code: "mail-folder-missing", retry: Retry::AfterProbe });
            };
            if let Err(refused) = self.may_give(identifier, folder.rights, known) {
                return Outcome::Refused(refused);
            }
            named.push((known.name.clone(), folder.rights));
        }
        let gives_all = wanted.iter().any(|folder| folder.rights.covers(Rights::FULL_ACCESS));
        if gives_all && let Err(error) = self.connector.can_be_proven_beside_others(&self.access, &self.session) {
            return Outcome::Refused(refusal(error));
        }
        let (gone, given): (Vec<_>, Vec<_>) = named.iter().partition(|(_, rights)| rights.is_empty());
        let takes: Vec<(&str, &str)> = gone.iter().map(|(name, _)| (name.as_str(), identifier)).collect();
        let gives: Vec<(&str, &str, Rights)> =
            given.iter().map(|(name, rights)| (name.as_str(), identifier, *rights)).collect();
        // What is taken away comes first.
        let mut ends = self.session.delete_acls(&takes);
        ends.extend(self.session.set_acls(&gives));
        let names = takes.iter().map(|(name, _)| *name).chain(gives.iter().map(|(name, ..)| *name));
        let ends: Vec<(&str, Result<(), MailError>)> = names.zip(ends).collect();
        match self.all_of(&ends) {
            Outcome::Applied(()) if gives_all => {
                let given: Vec<&str> = gives.iter().map(|(name, ..)| *name).collect();
                let stands = self.stands_under_its_name(identifier, &given);
                if stands == Outcome::Applied(()) {
                    self.try_the_eyes(identifier);
                }
                stands
            }
            other => other,
        }
    }
}

impl OpenMailbox {
    /// Refuses what could not be taken back again, or would mean something else than it says.
    fn may_give(&self, identifier: &str, rights: Rights, known: &Known) -> Result<(), Refusal> {
        let gives = rights.covers(Rights::FULL_ACCESS);
        let refuse = |code| Err(Refusal { code, retry: Retry::Never });
        if identifier.is_empty() || identifier.starts_with(['-', '+']) {
            return refuse("mail-name-unsafe");
        }
        if !gives {
            return Ok(());
        }
        if !is_a_user(identifier) || is_alike(identifier, &self.access.user) || identifier.contains(UNSAFE_SIGNS) {
            return refuse("mail-name-unsafe");
        }
        if !rights.without(rights.without(known.taken)).is_empty() {
            return refuse("mail-negative-rights");
        }
        if known.has_alike {
            return refuse("mail-name-alike");
        }
        Ok(())
    }

    /// Looks whether what was given stands under the name to which it was given. A server that gave it to another name,
    /// in other letters or without a domain, is told to take it back: what it calls the principal cannot be taken back
    /// later.
    fn stands_under_its_name(&mut self, identifier: &str, names: &[&str]) -> Outcome<()> {
        let unknown = |error: MailError| Outcome::Unknown(Cause { code: error.code() });
        let mut elsewhere = Vec::new();
        for (name, acl) in names.iter().zip(self.session.acls(names)) {
            match acl {
                Ok(acl) if acl.has(identifier) => {}
                Ok(_) => elsewhere.push((*name, identifier)),
                Err(MailError::Refused(why)) if is_no(why.code) => {}
                Err(error) => return unknown(error),
            }
        }
        if elsewhere.is_empty() {
            return Outcome::Applied(());
        }
        match self.session.delete_acls(&elsewhere).into_iter().find_map(Result::err) {
            Some(error) => unknown(error),
            None => Outcome::Refused(Refusal { code: "mail-name-changed", retry: Retry::Never }),
        }
    }

    /// Looks once through the eyes of whoever was given something: what they show of a mailbox that is open to them
    /// proves that they would show it later too. Whatever goes wrong here, the grant stands.
    fn try_the_eyes(&mut self, identifier: &str) {
        if eyes::names_of_others_are_proven(self.session.proof()) || self.access.server.max_connections < 2 {
            return;
        }
        let Some(own) = self.directory.access_as(self.mailbox, identifier) else { return };
        let looked = read_all(&mut self.session).and_then(|(folders, acls)| {
            let mut principal = self.connector.open_urgent(&own).map_err(refusal)?;
            eyes::look(&mut principal, &self.access.user, &folders, &acls)
        });
        match looked {
            Ok(Some(seen)) => drop(self.eyes.believes(self.mailbox, identifier, &seen)),
            Ok(None) => {}
            Err(why) => tracing::debug!(code = why.code, "a principal could not look for itself at what it was given"),
        }
    }

    /// Joins how the changes of single folders ended. One that is gone needs none.
    fn all_of(&mut self, ends: &[(&str, Result<(), MailError>)]) -> Outcome<()> {
        let unknown = ends.iter().find_map(|(_, end)| match end {
            Err(MailError::Unknown(cause)) => Some(*cause),
            _ => None,
        });
        if let Some(cause) = unknown {
            return Outcome::Unknown(cause);
        }
        let refused: Vec<(&str, Refusal)> = ends
            .iter()
            .filter_map(|(name, end)| match end {
                Err(MailError::Refused(refusal)) => Some((*name, *refusal)),
                _ => None,
            })
            .collect();
        if refused.is_empty() {
            return Outcome::Applied(());
        }
        let changed = refused.len() < ends.len();
        let still_there = match self.session.folders() {
            Ok(folders) => refused.iter().find(|(name, _)| folders.iter().any(|folder| folder.name == *name)),
            Err(_) => refused.first(),
        };
        match still_there {
            None => Outcome::Applied(()),
            Some((_, refusal)) if !changed => Outcome::Refused(*refusal),
            // Some folders were changed: only reading them again tells.
            Some((_, refusal)) => Outcome::Unknown(Cause { code: refusal.code }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_certainly_a_person_is_taken_for_one() {
        let of = |identifier: &str| holder("jana@example.org", "mailadmin", identifier);
        for owner in ["jana@example.org", "jana", "Jana", "JANA@EXAMPLE.ORG", "owner"] {
            assert_eq!(of(owner), Holder::Owner, "{owner}");
        }
        assert_eq!(holder("jana", "", "jana@example.org"), Holder::Owner);
        for admin in ["mailadmin", "MailAdmin", "mailadmin@example.org"] {
            assert_eq!(of(admin), Holder::Admin, "{admin}");
        }
        for group in ["anyone", "anonymous", "administrators", "group=staff", "$staff", "-carol", "+carol", ""] {
            assert_eq!(of(group), Holder::Group, "{group}");
        }
        for person in ["carol", "carol@example.org", "jana@elsewhere.org", "jana2"] {
            assert_eq!(of(person), Holder::Person, "{person}");
        }
    }
}

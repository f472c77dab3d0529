//! Whose mailbox did a login open? An `OK` says nothing: Courier takes an authorization identity, answers `OK`, and
//! opens the admin's own mailbox. So after every admin login one of the proofs below must hold, or nothing is done.

use retention_core::mailbox::{LoginForm, Rights};

use super::answer::{FolderStatus, Namespace, Untagged};
use super::command::Command;
use super::error::MailError;
use super::folder::Root;
use super::login::LoggedIn;
use super::quirk::{OwnerEntry, UnknownUser};
use super::{MailboxAccess, session};
use crate::connector::outcome::Retry;

/// What proved whose mailbox it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The mailbox's own name and password: the server itself said so.
    OwnLogin,
    /// The inbox lists the mailbox's user as the only one who administers it, and the admin not at all.
    OwnerEntry,
    /// The mailbox under its name among those of other users and the inbox are the same folder.
    SameFolder,
    /// The same login for a mailbox that cannot exist is refused, between two for this one that are not.
    UnknownUserRefused,
    /// The folder that `UserRoot` names lies among those of other users, bears the mailbox's name, and opens.
    UserRoot,
}

impl Proof {
    /// Says it in a sentence.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::OwnLogin => "the mailbox's own login",
            Self::OwnerEntry => "the inbox names the mailbox's user alone as whoever administers it, and not the admin",
            Self::SameFolder => "the inbox and the mailbox's folder among those of other users are the same",
            Self::UnknownUserRefused => "the server refuses the same login for a mailbox that cannot exist",
            Self::UserRoot => "UserRoot lies among the folders of other users, bears the mailbox's name, and opens",
        }
    }
}

/// What the login itself shows.
pub(super) enum Shown {
    /// Whose mailbox it is.
    Proven(Proof, Root),
    /// Nothing that decides; a login for a mailbox that cannot exist may.
    Undecided(Root),
}

const WRONG: MailError = MailError::refused("mail-wrong-mailbox", Retry::Operator);
/// Nothing shows whose mailbox it is.
pub(super) const NOT_PROVEN: MailError = MailError::refused("mail-not-proven", Retry::Operator);

/// Looks for a proof in what this login can see.
pub(super) fn look(login: &mut LoggedIn, access: &MailboxAccess) -> Result<Shown, MailError> {
    match &access.form {
        LoginForm::OwnPassword => Ok(Shown::Proven(Proof::OwnLogin, Root::own(login.namespaces.as_ref()))),
        LoginForm::UserRoot => user_root(login, access).map(|root| Shown::Proven(Proof::UserRoot, root)),
        LoginForm::DovecotMaster { .. }
        | LoginForm::Exchange { .. }
        | LoginForm::Mirapoint
        | LoginForm::AuthzId
        | LoginForm::XOAuth2 => {
            let root = Root::own(login.namespaces.as_ref());
            if same_folder(login, access)? {
                return Ok(Shown::Proven(Proof::SameFolder, root));
            }
            Ok(match owner_entry(login, access)? {
                Owner::TheUserAlone => Shown::Proven(Proof::OwnerEntry, root),
                Owner::NotAlone | Owner::Unseen => Shown::Undecided(root),
                Owner::TheAdmin => return Err(WRONG),
            })
        }
    }
}

/// Whether a login for a mailbox that cannot exist may be tried on this server.
pub(super) fn may_try_unknown_user(login: &LoggedIn) -> bool {
    login.quirks.unknown_user == UnknownUser::Refused
}

/// Whether a refusal says that there is no such mailbox, rather than that the server is busy.
pub(super) fn says_no_such_mailbox(error: &MailError) -> bool {
    matches!(error.code(), "mail-login-refused" | "mail-login-not-allowed" | "mail-folder-missing" | "mail-no-right")
}

enum Owner {
    /// The user is there and nobody else may administer; the admin is not there.
    TheUserAlone,
    /// The user may administer, and so may another, or the admin is there: it may be the other's own, in which the user
    /// was given access. An admin may have a name there that the login does not show.
    NotAlone,
    /// The admin is there and may administer; the user is not.
    TheAdmin,
    /// The server shows no names, or not to this login.
    Unseen,
}

fn owner_entry(login: &mut LoggedIn, access: &MailboxAccess) -> Result<Owner, MailError> {
    if !login.capabilities.has("ACL") || login.quirks.owner == OwnerEntry::Nameless {
        return Ok(Owner::Unseen);
    }
    let (_code, heard) = match login.wire.ask(&Command::new("GETACL").folder("INBOX")) {
        Ok(answer) => answer,
        // This login may not see it.
        Err(MailError::Refused(_)) => return Ok(Owner::Unseen),
        Err(lost) => return Err(lost.of_a_question()),
    };
    let entries = heard.into_iter().find_map(|answer| match answer {
        Untagged::Acl(_, entries) => Some(entries),
        _ => None,
    });
    let entries = entries.unwrap_or_default();
    let administrators: Vec<&str> = entries
        .iter()
        .filter(|(_, rights)| Rights::parse(rights).covers(Rights::ADMINISTER))
        .map(|(who, _)| who.as_str())
        .collect();
    let administers = |name: &str| administrators.iter().any(|who| same_user(who, name));
    let is_there = |name: &str| entries.iter().any(|(who, _)| same_user(who, name));
    Ok(match (administers(&access.user), is_there(&access.admin)) {
        (true, false) if administrators.len() == 1 => Owner::TheUserAlone,
        (true, _) => Owner::NotAlone,
        (false, true) if administers(&access.admin) && entries.len() > 1 => Owner::TheAdmin,
        (false, _) => Owner::Unseen,
    })
}

/// Asks whether the mailbox under its name among those of other users is the inbox. Only an identifier that no two
/// folders share decides (RFC 8474).
fn same_folder(login: &mut LoggedIn, access: &MailboxAccess) -> Result<bool, MailError> {
    if !login.capabilities.has("OBJECTID") {
        return Ok(false);
    }
    let Some([_, others, _]) = &login.namespaces else { return Ok(false) };
    let Some(Namespace { prefix, .. }) = others.first().filter(|others| !others.prefix.is_empty()) else {
        return Ok(false);
    };
    let named = format!("{prefix}{}", access.user);
    let ask = |folder: &str| Command::new("STATUS").folder(folder).raw("(MAILBOXID UIDVALIDITY)");
    let mut heard = Vec::new();
    for end in login.wire.run_all(&[ask("INBOX"), ask(&named)], &mut heard) {
        match end {
            Ok(_) => {}
            Err(MailError::Refused(_)) => return Ok(false),
            Err(lost) => return Err(lost.of_a_question()),
        }
    }
    let statuses: Vec<&FolderStatus> = heard
        .iter()
        .filter_map(|answer| match answer {
            Untagged::FolderStatus(status) => Some(status),
            _ => None,
        })
        .collect();
    Ok(match statuses.as_slice() {
        [inbox, other] => {
            let are_the_asked = inbox.name.eq_ignore_ascii_case("INBOX") && other.name == named;
            are_the_asked && inbox.mailbox_id.is_some() && inbox.mailbox_id == other.mailbox_id
        }
        _ => false,
    })
}

fn user_root(login: &mut LoggedIn, access: &MailboxAccess) -> Result<Root, MailError> {
    const ROOT: MailError = MailError::refused("mail-user-root", Retry::Operator);
    let name = access.root.as_deref().filter(|root| !root.is_empty() && !root.contains(['*', '%'])).ok_or(ROOT)?;
    let Some([_, others, shared]) = &login.namespaces else { return Err(ROOT) };
    // The longest prefix is the one the server means.
    let namespace = others
        .iter()
        .chain(shared)
        .filter(|namespace| !namespace.prefix.is_empty() && name.starts_with(&namespace.prefix))
        .max_by_key(|namespace| namespace.prefix.len())
        .ok_or(ROOT)?;
    let inside = name.get(namespace.prefix.len()..).unwrap_or_default();
    let first = match namespace.delimiter {
        Some(delimiter) => inside.split(delimiter).next().unwrap_or_default(),
        None => inside,
    };
    if first != inside || !same_user(first, &access.user) {
        return Err(WRONG);
    }
    let root = Root::at(name, namespace.delimiter);
    let opened = login.wire.ask(&Command::new("EXAMINE").folder(name));
    match opened {
        Ok(_) => {}
        Err(MailError::Refused(_)) => return Err(ROOT),
        Err(lost) => return Err(lost.of_a_question()),
    }
    session::close(&mut login.wire, &login.capabilities);
    Ok(root)
}

/// Whether two names mean the same user. Servers fold the case of names, and some leave out the domain.
fn same_user(a: &str, b: &str) -> bool {
    if a.is_empty() || b.is_empty() {
        return false;
    }
    a.eq_ignore_ascii_case(b)
}

/// Returns the name of a user that cannot exist: longer than what people choose, and random.
pub(super) fn impossible_user(random: u64, like: &str) -> String {
    let local = format!("no-such-mailbox-{random:016x}");
    match like.rsplit_once('@') {
        Some((_, domain)) => format!("{local}@{domain}"),
        None => local,
    }
}

//! A batch for a set of mailboxes: an administrator's login in one of the four forms, or one column of addresses.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, DefaultHasher};

use zeroize::Zeroizing;

use super::kind::MigrationKind;
use super::login::{NameForm, recognise};
use super::value::{is_address, is_one_line};
use super::write::{FileBytes, push_row};
use crate::id::EntityId;

/// Where a mailbox of a batch was named: what errors say instead of its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In a list, counted from 1.
    Listed(usize),
    /// In the registry.
    Registered(EntityId),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(number) => write!(f, "mailbox {number} of the list"),
            Self::Registered(mailbox) => write!(f, "the registered mailbox {mailbox}"),
        }
    }
}

/// One mailbox to be named in a batch. Personal data: `Debug` shows where it was named, and nothing else of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// Where it was named.
    pub origin: Origin,
    /// The address of the target mailbox.
    pub address: String,
    /// The name at the source; without one the part before the `@`.
    pub user: Option<String>,
    /// The path below the virtual shared folders of Courier; without one, root and user.
    pub root: Option<String>,
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// An administrator's login. `Debug` shows the form only.
#[derive(Clone, PartialEq, Eq)]
pub struct Admin {
    /// The form: one of the four of administrators.
    pub form: NameForm,
    /// The name.
    pub name: String,
    /// The password.
    pub password: Zeroizing<String>,
    /// The domain of Exchange's form.
    pub domain: Option<String>,
    /// Where Courier's virtual shared folders begin, such as `/users`.
    pub root: String,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("form", &self.form).finish_non_exhaustive()
    }
}

/// A batch cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MakeError {
    /// Nobody in it.
    #[error("no mailbox is named; nothing was written")]
    Nobody,
    /// Not an address.
    #[error("{0} has no valid SMTP address; nothing was written")]
    NotAnAddress(Origin),
    /// An address that was named before.
    #[error("{0} has the same address as {1}, and nobody can say which of them is meant; nothing was written")]
    Twice(Origin, Origin),
    /// A part that would be read as another one.
    #[error(
        "{0}: its name at the source, or its UserRoot, is empty, or holds a character that would be read as another \
         part of the login; nothing was written"
    )]
    UserName(Origin),
    /// The administrator's own name.
    #[error(
        "the name of the administrator is empty, or holds a character that would be read as another part of the login; \
         nothing was written"
    )]
    AdminName,
    /// No domain, or none.
    #[error(
        "Exchange's form needs a domain, without a slash, and that of Mirapoint's has no # or @; nothing was written"
    )]
    Domain,
    /// Nothing to log in with.
    #[error("the password is empty, or holds a line break or a NUL byte, which no login can send; nothing was written")]
    Password,
    /// Only administrators.
    #[error(
        "only an administrator's login can be written for many mailboxes: users have passwords of their own, which are \
         never given out; nothing was written"
    )]
    NotOfAdmin,
    /// A kind that needs more than addresses.
    #[error("a batch of this kind needs more than addresses; nothing was written")]
    Kind,
}

/// Writes an IMAP batch: every row of it is recognised as the login that was asked for.
///
/// # Errors
/// Says which part is missing, or would be read as another one.
pub fn make_imap(mailboxes: &[Mailbox], admin: &Admin) -> Result<FileBytes, MakeError> {
    check_admin(admin)?;
    let users = checked(mailboxes)?;
    let mut logins = Vec::with_capacity(users.len());
    for mailbox in users {
        let (local, host) = mailbox.address.rsplit_once('@').unwrap_or((&mailbox.address, ""));
        let user = mailbox.user.as_deref().unwrap_or(local);
        let root = match admin.form {
            NameForm::Courier => {
                mailbox.root.clone().unwrap_or_else(|| format!("{}/{user}", admin.root.trim_end_matches('/')))
            }
            NameForm::Own | NameForm::Domain | NameForm::Exchange | NameForm::Dovecot | NameForm::Mirapoint => {
                String::new()
            }
        };
        let of = LoginOf { form: admin.form, name: &admin.name, domain: admin.domain.as_deref() };
        logins.push(login_of(of, user, host, root).ok_or(MakeError::UserName(mailbox.origin))?);
    }
    let length: usize = users
        .iter()
        .zip(&logins)
        .map(|(mailbox, (name, root))| {
            2 * (mailbox.address.len() + name.len() + root.len() + admin.password.len()) + 16
        })
        .sum();
    let mut file = Zeroizing::new(Vec::with_capacity(length + 64));
    let columns = if admin.form == NameForm::Courier { 4 } else { 3 };
    push_row(&mut file, ["EmailAddress", "UserName", "Password", "UserRoot"].into_iter().take(columns));
    for (mailbox, (name, root)) in users.iter().zip(&logins) {
        let cells = [mailbox.address.as_str(), name.as_str(), admin.password.as_str(), root.as_str()];
        push_row(&mut file, cells.into_iter().take(columns));
    }
    Ok(file)
}

/// What of an administrator stands in a login.
#[derive(Clone, Copy)]
struct LoginOf<'a> {
    form: NameForm,
    name: &'a str,
    domain: Option<&'a str>,
}

/// Returns the `UserName` and the `UserRoot` with which the administrator reaches a mailbox; `None` where they would be
/// read as something else.
fn login_of(admin: LoginOf<'_>, user: &str, host: &str, root: String) -> Option<(String, String)> {
    let name = match admin.form {
        NameForm::Exchange => format!("{}/{}/{user}", admin.domain.unwrap_or_default(), admin.name),
        NameForm::Dovecot => format!("{user}*{}", admin.name),
        NameForm::Mirapoint if user.contains('@') => format!("#{user}#{}#", admin.name),
        NameForm::Mirapoint => format!("#{user}@{}#{}#", admin.domain.unwrap_or(host), admin.name),
        NameForm::Courier => admin.name.to_owned(),
        NameForm::Own | NameForm::Domain => return None,
    };
    let is_plain = |text: &str| !text.is_empty() && text.trim() == text && !text.chars().any(char::is_control);
    let read = recognise(&name, &root).ok()?;
    let is_as_meant = read.form == admin.form && read.admin == Some(admin.name);
    (is_as_meant && is_plain(user) && is_plain(&name) && root.trim() == root).then_some((name, root))
}

/// Writes a batch that names mailboxes and nothing else: the batch itself says the rest.
///
/// # Errors
/// As [`make_imap`].
pub fn make_addresses(mailboxes: &[Mailbox], kind: MigrationKind) -> Result<FileBytes, MakeError> {
    match kind {
        MigrationKind::Staged
        | MigrationKind::Onboarding
        | MigrationKind::Offboarding
        | MigrationKind::CrossForest
        | MigrationKind::Local
        | MigrationKind::Google
        | MigrationKind::CrossTenant => {}
        MigrationKind::Imap | MigrationKind::PublicFolders | MigrationKind::PublicFolderGroups | MigrationKind::Pst => {
            return Err(MakeError::Kind);
        }
    }
    let mut file = Zeroizing::new(Vec::new());
    push_row(&mut file, ["EmailAddress"]);
    for mailbox in checked(mailboxes)? {
        push_row(&mut file, [mailbox.address.as_str()]);
    }
    Ok(file)
}

/// Returns the mailboxes as they are, once each of them can be a row of its own.
fn checked(mailboxes: &[Mailbox]) -> Result<&[Mailbox], MakeError> {
    if mailboxes.is_empty() {
        return Err(MakeError::Nobody);
    }
    let mut seen: HashMap<String, Origin, BuildHasherDefault<DefaultHasher>> = HashMap::default();
    for mailbox in mailboxes {
        if !is_address(&mailbox.address) {
            return Err(MakeError::NotAnAddress(mailbox.origin));
        }
        if let Some(earlier) = seen.insert(mailbox.address.to_lowercase(), mailbox.origin) {
            return Err(MakeError::Twice(mailbox.origin, earlier));
        }
    }
    Ok(mailboxes)
}

fn check_admin(admin: &Admin) -> Result<(), MakeError> {
    check_login(admin.form, &admin.name, admin.domain.as_deref())?;
    if admin.password.is_empty() || !is_one_line(&admin.password) {
        return Err(MakeError::Password);
    }
    Ok(())
}

/// Checks a login before anybody is asked for its password.
///
/// # Errors
/// Says which part is missing, or would be read as another one.
pub fn check_login(form: NameForm, name: &str, domain: Option<&str>) -> Result<(), MakeError> {
    if !form.is_of_admin() {
        return Err(MakeError::NotOfAdmin);
    }
    let is_bad = |domain: &str, of_its_form: &[char]| {
        domain.is_empty()
            || domain.trim() != domain
            || domain.contains(of_its_form)
            || domain.contains(char::is_control)
    };
    let domain_is_bad = match form {
        NameForm::Exchange => domain.is_none_or(|domain| is_bad(domain, &['/'])),
        NameForm::Mirapoint => domain.is_some_and(|domain| is_bad(domain, &['#', '@'])),
        NameForm::Own | NameForm::Domain | NameForm::Dovecot | NameForm::Courier => false,
    };
    if domain_is_bad {
        return Err(MakeError::Domain);
    }
    // What cannot be told apart from a user of the plainest name cannot be told apart from any.
    let root = if form == NameForm::Courier { "/users/user" } else { "" };
    let of = LoginOf { form, name, domain };
    let is_read = name.trim() == name && login_of(of, "user", "example.org", root.to_owned()).is_some();
    if is_read { Ok(()) } else { Err(MakeError::AdminName) }
}

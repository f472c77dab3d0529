//! A batch for a set of mailboxes: an administrator's login in one of the four forms, or one column of addresses.

use std::fmt;

use zeroize::Zeroizing;

use super::kind::MigrationKind;
use super::login::NameForm;
use super::value::is_address;
use super::write::{FileBytes, push_row};

/// One mailbox to be named in a batch. Personal data: `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// The address of the target mailbox.
    pub address: String,
    /// The name at the source; without one the part before the `@`.
    pub user: Option<String>,
    /// The path below the virtual shared folders of Courier; without one, root and user.
    pub root: Option<String>,
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
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
    #[error("the list names no mailbox")]
    Nobody,
    /// Not an address.
    #[error("mailbox {0} of the list is not a valid SMTP address")]
    NotAnAddress(usize),
    /// A part that would be read as another one.
    #[error("mailbox {0} of the list: the name holds a character that its form of login uses to separate parts")]
    UserName(usize),
    /// The administrator's own name.
    #[error(
        "the name of the administrator is empty, or holds a character that the form of login uses to separate parts"
    )]
    AdminName,
    /// No domain.
    #[error("Exchange's form needs a domain, without a slash")]
    Domain,
    /// Nothing to log in with.
    #[error("the password is empty")]
    PasswordEmpty,
    /// Only administrators.
    #[error("only an administrator's login can be written for many mailboxes; users have passwords of their own")]
    NotOfAdmin,
    /// A kind that needs more than addresses.
    #[error("a batch of this kind needs more than addresses")]
    Kind,
}

/// Writes an IMAP batch.
///
/// # Errors
/// Says which part is missing, or would be read as another one.
pub fn make_imap(mailboxes: &[Mailbox], admin: &Admin) -> Result<FileBytes, MakeError> {
    check_admin(admin)?;
    let users = checked(mailboxes)?;
    let mut names = Vec::with_capacity(users.len());
    for (number, mailbox) in users.iter().enumerate() {
        let (local, host) = mailbox.address.rsplit_once('@').unwrap_or((&mailbox.address, ""));
        let user = mailbox.user.as_deref().unwrap_or(local);
        if user.is_empty() || user.trim() != user || user.contains(separator(admin.form)) {
            return Err(MakeError::UserName(number + 1));
        }
        names.push(match admin.form {
            NameForm::Exchange => {
                format!("{}/{}/{user}", admin.domain.as_deref().unwrap_or_default(), admin.name)
            }
            NameForm::Dovecot => format!("{user}*{}", admin.name),
            NameForm::Mirapoint if user.contains('@') => format!("#{user}#{}#", admin.name),
            NameForm::Mirapoint => format!("#{user}@{}#{}#", admin.domain.as_deref().unwrap_or(host), admin.name),
            NameForm::Courier => admin.name.clone(),
            NameForm::Own | NameForm::Domain => return Err(MakeError::NotOfAdmin),
        });
    }
    let roots: Vec<String> = users.iter().map(|mailbox| root_of(mailbox, admin)).collect();
    let length: usize = users
        .iter()
        .zip(&names)
        .zip(&roots)
        .map(|((mailbox, name), root)| {
            2 * (mailbox.address.len() + name.len() + root.len() + admin.password.len()) + 16
        })
        .sum();
    let mut file = Zeroizing::new(Vec::with_capacity(length + 64));
    let has_root = admin.form == NameForm::Courier;
    let header = ["EmailAddress", "UserName", "Password", "UserRoot"];
    push_row(&mut file, header.into_iter().take(if has_root { 4 } else { 3 }));
    for ((mailbox, name), root) in users.iter().zip(&names).zip(&roots) {
        let cells = [mailbox.address.as_str(), name.as_str(), admin.password.as_str(), root.as_str()];
        push_row(&mut file, cells.into_iter().take(if has_root { 4 } else { 3 }));
    }
    Ok(file)
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

fn root_of(mailbox: &Mailbox, admin: &Admin) -> String {
    let user = mailbox.user.as_deref().unwrap_or_else(|| mailbox.address.split('@').next().unwrap_or_default());
    mailbox.root.clone().unwrap_or_else(|| format!("{}/{user}", admin.root.trim_end_matches('/')))
}

fn checked(mailboxes: &[Mailbox]) -> Result<&[Mailbox], MakeError> {
    if mailboxes.is_empty() {
        return Err(MakeError::Nobody);
    }
    match mailboxes.iter().position(|mailbox| !is_address(&mailbox.address)) {
        Some(number) => Err(MakeError::NotAnAddress(number + 1)),
        None => Ok(mailboxes),
    }
}

fn check_admin(admin: &Admin) -> Result<(), MakeError> {
    if admin.password.is_empty() {
        return Err(MakeError::PasswordEmpty);
    }
    let name = admin.name.as_str();
    if name.is_empty() || name.trim() != name || name.contains(separator(admin.form)) {
        return Err(MakeError::AdminName);
    }
    let domain = admin.domain.as_deref().unwrap_or_default();
    match admin.form {
        NameForm::Exchange if domain.is_empty() || domain.contains('/') => Err(MakeError::Domain),
        NameForm::Exchange | NameForm::Dovecot | NameForm::Mirapoint | NameForm::Courier => Ok(()),
        NameForm::Own | NameForm::Domain => Err(MakeError::NotOfAdmin),
    }
}

fn separator(form: NameForm) -> char {
    match form {
        NameForm::Exchange => '/',
        NameForm::Dovecot => '*',
        NameForm::Mirapoint => '#',
        // No name may hold one: it would end the row.
        NameForm::Own | NameForm::Domain | NameForm::Courier => '\n',
    }
}

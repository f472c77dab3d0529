//! The forms in which the `UserName` of an IMAP batch says whose mailbox is meant and who logs in.
//!
//! The guides know four forms for an administrator's login; Cyrus proxy logins and SASL PLAIN with an authorisation
//! identity are not among them, because a column cannot carry them.

use std::fmt;
use std::str::FromStr;

/// Who logs in, and how the name says whose mailbox it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameForm {
    /// The user, with the own password.
    Own,
    /// The user of a Windows domain, `domain\user`, with the own password.
    Domain,
    /// An administrator of Exchange: `Domain/Admin/User`.
    Exchange,
    /// An administrator of Dovecot: `user*admin`.
    Dovecot,
    /// An administrator of Mirapoint: `#user@domain#admin#`.
    Mirapoint,
    /// An administrator of Courier, whose own login reaches the mailbox through `UserRoot`.
    Courier,
}

impl NameForm {
    /// All forms.
    pub const ALL: [Self; 6] = [Self::Own, Self::Domain, Self::Exchange, Self::Dovecot, Self::Mirapoint, Self::Courier];

    /// Returns the name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Domain => "domain",
            Self::Exchange => "exchange",
            Self::Dovecot => "dovecot",
            Self::Mirapoint => "mirapoint",
            Self::Courier => "courier",
        }
    }

    /// Returns how a name of this form looks, and whose password goes with it.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Own => "user: each with the own password",
            Self::Domain => "domain\\user: each with the own password",
            Self::Exchange => "Exchange, Domain/Admin/User: with the password of the administrator",
            Self::Dovecot => "Dovecot, user*admin: with the password of the administrator",
            Self::Mirapoint => "Mirapoint, #user@domain#admin#: with the password of the administrator",
            Self::Courier => {
                "Courier, the administrator's own name and UserRoot: with the password of the administrator"
            }
        }
    }

    /// Says whether an administrator logs in.
    #[must_use]
    pub fn is_of_admin(self) -> bool {
        match self {
            Self::Own | Self::Domain => false,
            Self::Exchange | Self::Dovecot | Self::Mirapoint | Self::Courier => true,
        }
    }
}

impl fmt::Display for NameForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// There is no such form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such form of a login; there are own, domain, exchange, dovecot, mirapoint, courier")]
pub struct UnknownForm;

impl FromStr for NameForm {
    type Err = UnknownForm;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|form| form.name() == text).ok_or(UnknownForm)
    }
}

/// A login taken apart. Names are personal data: `Debug` shows the form only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Login<'a> {
    /// The form.
    pub form: NameForm,
    /// The administrator, where one logs in.
    pub admin: Option<&'a str>,
    /// The user; for Courier the path of `UserRoot`.
    pub user: &'a str,
    /// The domain, where the form has one.
    pub domain: Option<&'a str>,
}

impl fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("form", &self.form).finish_non_exhaustive()
    }
}

/// A name that begins like one of the forms and is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum LoginFault {
    /// `a/b`, `a//b`, `a/b/c/d`.
    #[error("has slashes, but not the three parts of Exchange's form Domain/Admin/User")]
    Exchange,
    /// `*admin`, `user*`, `a*b*c`.
    #[error("has asterisks, but not the two parts of Dovecot's form user*admin")]
    Dovecot,
    /// `#user#admin`, `#user@domain#`.
    #[error("begins with #, but is not of Mirapoint's form #user@domain#admin#")]
    Mirapoint,
    /// `domain\`, `\user`.
    #[error("has a backslash, but not the two parts of domain\\user")]
    Domain,
}

/// Takes a `UserName` apart, with the `UserRoot` beside it.
///
/// # Errors
/// Says which form it resembles without being of it.
pub fn recognise<'a>(user_name: &'a str, user_root: &'a str) -> Result<Login<'a>, LoginFault> {
    let login = |form, admin, user, domain| Login { form, admin, user, domain };
    if !user_root.is_empty() {
        return Ok(login(NameForm::Courier, Some(user_name), user_root, None));
    }
    if let Some(rest) = user_name.strip_prefix('#') {
        let parts: Vec<&str> = rest.split('#').collect();
        return match parts.as_slice() {
            [user, admin, ""] if !admin.is_empty() => match user.rsplit_once('@') {
                Some((name, domain)) if !name.is_empty() && !domain.is_empty() => {
                    Ok(login(NameForm::Mirapoint, Some(admin), user, Some(domain)))
                }
                Some(_) | None => Err(LoginFault::Mirapoint),
            },
            _ => Err(LoginFault::Mirapoint),
        };
    }
    if user_name.contains('/') {
        let parts: Vec<&str> = user_name.split('/').collect();
        return match parts.as_slice() {
            [domain, admin, user] if parts.iter().all(|part| !part.is_empty()) => {
                Ok(login(NameForm::Exchange, Some(admin), user, Some(domain)))
            }
            _ => Err(LoginFault::Exchange),
        };
    }
    if user_name.contains('*') {
        let parts: Vec<&str> = user_name.split('*').collect();
        return match parts.as_slice() {
            [user, admin] if !user.is_empty() && !admin.is_empty() => {
                Ok(login(NameForm::Dovecot, Some(admin), user, None))
            }
            _ => Err(LoginFault::Dovecot),
        };
    }
    match user_name.split_once('\\') {
        Some((domain, user)) if !domain.is_empty() && !user.is_empty() && !user.contains('\\') => {
            Ok(login(NameForm::Domain, None, user, Some(domain)))
        }
        Some(_) => Err(LoginFault::Domain),
        None => Ok(login(NameForm::Own, None, user_name, None)),
    }
}

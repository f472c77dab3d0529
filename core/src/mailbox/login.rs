//! The forms in which one logs in to a mailbox on a mail server.

use std::fmt;
use std::str::FromStr;

/// How one logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginForm {
    /// With the mailbox's own name and password.
    OwnPassword,
    /// Dovecot's master users: `user*admin`, the separator as the server has it.
    DovecotMaster {
        /// `auth_master_user_separator`, usually `*`.
        separator: char,
    },
    /// Exchange: `Domain/Admin/User`.
    Exchange {
        /// The domain.
        domain: String,
    },
    /// Mirapoint: `#user@domain#admin#`.
    Mirapoint,
    /// SASL PLAIN with an authorization identity (RFC 4616).
    AuthzId,
    /// Courier: the admin's own login, and the mailbox as a virtual shared folder, `UserRoot`.
    UserRoot,
    /// XOAUTH2 with an access token, for the targets of migrations.
    XOAuth2,
}

/// Whose name a form is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The mailbox's own: the server itself says whose mailbox it is.
    Own,
    /// An admin's, so that whose mailbox was opened must be proven.
    Admin,
}

/// A word that is no login form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a login form is one of {}", LoginForm::ALL.map(|form| form.word()).join(", "))]
pub struct UnknownForm;

impl LoginForm {
    /// All forms. A separator is `*` and a domain empty until they are said.
    pub const ALL: [Self; 7] = [
        Self::OwnPassword,
        Self::DovecotMaster { separator: '*' },
        Self::Exchange { domain: String::new() },
        Self::Mirapoint,
        Self::AuthzId,
        Self::UserRoot,
        Self::XOAuth2,
    ];

    /// Returns its word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::OwnPassword => "own-password",
            Self::DovecotMaster { .. } => "dovecot-master",
            Self::Exchange { .. } => "exchange",
            Self::Mirapoint => "mirapoint",
            Self::AuthzId => "authzid",
            Self::UserRoot => "user-root",
            Self::XOAuth2 => "xoauth2",
        }
    }

    /// Returns whose name it is given.
    #[must_use]
    pub fn identity(&self) -> Identity {
        match self {
            Self::OwnPassword => Identity::Own,
            Self::DovecotMaster { .. }
            | Self::Exchange { .. }
            | Self::Mirapoint
            | Self::AuthzId
            | Self::UserRoot
            | Self::XOAuth2 => Identity::Admin,
        }
    }

    /// Returns the name that is sent as the login, made of the mailbox's user name and the admin's.
    #[must_use]
    pub fn login_name(&self, user: &str, admin: &str) -> String {
        match self {
            Self::OwnPassword | Self::XOAuth2 => user.to_owned(),
            Self::DovecotMaster { separator } => format!("{user}{separator}{admin}"),
            Self::Exchange { domain } => format!("{domain}/{admin}/{user}"),
            Self::Mirapoint => format!("#{user}#{admin}#"),
            Self::AuthzId | Self::UserRoot => admin.to_owned(),
        }
    }
}

impl fmt::Display for LoginForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for LoginForm {
    type Err = UnknownForm;

    fn from_str(word: &str) -> Result<Self, UnknownForm> {
        Self::ALL.into_iter().find(|form| form.word() == word).ok_or(UnknownForm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_forms_of_the_guides_are_written_as_they_write_them() {
        let name =
            |form: &str, user: &str, admin: &str| form.parse::<LoginForm>().expect("a form").login_name(user, admin);
        assert_eq!(name("dovecot-master", "terry.adams", "mailadmin"), "terry.adams*mailadmin");
        let exchange = LoginForm::Exchange { domain: "contoso-students".to_owned() };
        assert_eq!(exchange.login_name("terry.adams", "mailadmin"), "contoso-students/mailadmin/terry.adams");
        let mirapoint = name("mirapoint", "terry.adams@contoso-students.edu", "mailadmin");
        assert_eq!(mirapoint, "#terry.adams@contoso-students.edu#mailadmin#");
        assert_eq!(name("user-root", "terry.adams", "mailadmin"), "mailadmin");
    }

    #[test]
    fn every_word_is_a_form_and_says_its_word() {
        for form in LoginForm::ALL {
            assert_eq!(form.word().parse(), Ok(form));
        }
        assert_eq!("master".parse::<LoginForm>(), Err(UnknownForm));
    }
}

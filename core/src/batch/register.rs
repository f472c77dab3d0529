//! From the rows of an IMAP batch to what is registered: whose mailbox, how one logs in, and with which password.

use std::fmt;

use zeroize::Zeroizing;

use super::login::{Login, NameForm, recognise};
use super::sheet::Sheet;
use crate::mailbox::LoginForm;

/// One mailbox of a batch. Personal data and a secret: its `Debug` shows the form alone.
#[derive(Clone, PartialEq, Eq)]
pub struct BatchMailbox {
    /// The address.
    pub address: String,
    /// The user at the source.
    pub user: String,
    /// How one logs in.
    pub form: LoginForm,
    /// Who logs in, when it is not the user.
    pub admin: Option<String>,
    /// The folder of the mailbox in the admin's tree.
    pub root: Option<String>,
    /// The password of whoever logs in.
    pub password: Zeroizing<String>,
}

impl fmt::Debug for BatchMailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchMailbox").field("form", &self.form).finish_non_exhaustive()
    }
}

/// Returns the mailboxes of an IMAP batch that [`check`](super::check()) found good, in the order of its rows; `None`
/// when it was not.
#[must_use]
pub fn mailboxes(sheet: &Sheet) -> Option<Vec<BatchMailbox>> {
    let [address, user, password] = ["EmailAddress", "UserName", "Password"].map(|name| sheet.column(name));
    let (address, user, password, root) = (address?, user?, password?, sheet.column("UserRoot"));
    let rows = sheet.rows.iter().filter(|row| !row.is_blank());
    rows.map(|row| {
        let path = root.map_or("", |root| row.cell(root));
        let name = row.cell(user);
        // What only resembles a form is the plain name of a user, as the check warns.
        let login =
            recognise(name, path).unwrap_or(Login { form: NameForm::Own, admin: None, user: name, domain: None });
        let (form, user, root) = match login.form {
            // What stands before the backslash is a part of the name that the server knows.
            NameForm::Own | NameForm::Domain => (LoginForm::OwnPassword, name, None),
            NameForm::Exchange => (LoginForm::Exchange { domain: login.domain?.to_owned() }, login.user, None),
            NameForm::Dovecot => (LoginForm::DovecotMaster { separator: '*' }, login.user, None),
            NameForm::Mirapoint => (LoginForm::Mirapoint, login.user, None),
            NameForm::Courier => {
                (LoginForm::UserRoot, path.trim_end_matches('/').rsplit('/').next()?, Some(path.to_owned()))
            }
        };
        Some(BatchMailbox {
            address: row.cell(address).to_owned(),
            user: user.to_owned(),
            form,
            admin: login.admin.map(str::to_owned),
            root,
            password: Zeroizing::new(row.cell(password).to_owned()),
        })
    })
    .collect()
}

//! `[[server]]`: the mail servers that mailboxes live on.

use std::path::PathBuf;

use retention_core::mailbox::LoginForm;
use serde::Deserialize;

use super::SecretPlace;

/// One mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailServer {
    /// The name by which mailboxes refer to it.
    pub name: String,
    /// Where it is.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: MailTls,
    /// A file of certificate authorities; `None` for those of the machine.
    pub ca_file: Option<PathBuf>,
    /// The name that its certificate must have.
    pub tls_name: String,
    /// How many connections it may have from here at once; the last of several is kept for permissions, so that no
    /// export keeps a revoke waiting.
    pub max_connections: usize,
    /// How one logs in to a mailbox that says nothing else.
    pub form: LoginForm,
    /// Who logs in for mailboxes that have no credential of their own.
    pub admin: Option<MailAdmin>,
    /// The folder into which migration batches of its mailboxes are dropped.
    pub batches: Option<PathBuf>,
    /// The administration interface of Dovecot.
    pub doveadm: Option<Doveadm>,
}

/// The admin of a mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailAdmin {
    /// The login name.
    pub login: String,
    /// Where the password or token is.
    pub credential: SecretPlace,
}

/// Dovecot's HTTP interface, through which sessions are ended and caches cleaned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doveadm {
    /// The URL: `https://`, or `http://` to this machine itself. Its host is the name that the certificate must have.
    pub url: String,
    /// A file of certificate authorities; `None` for those of the mail server.
    pub ca_file: Option<PathBuf>,
    /// Where its key is.
    pub key: SecretPlace,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailTls {
    /// TLS from the first byte.
    Implicit,
    /// `STARTTLS` before anything else.
    #[serde(rename = "starttls")]
    StartTls,
    /// None, and only to this machine itself.
    PlainLoopback,
}

impl MailTls {
    /// Returns the port that is usual for it.
    #[must_use]
    pub fn usual_port(self) -> u16 {
        match self {
            Self::Implicit => 993,
            Self::StartTls | Self::PlainLoopback => 143,
        }
    }
}

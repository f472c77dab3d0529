//! `[[notify]]`: the channels through which people are told.

use std::path::PathBuf;

use retention_core::event::notice::Thing;

use super::{MailAdmin, MailTls, SecretPlace};
use crate::diagnostics::Redacted;

/// One channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyChannel {
    /// Its name in events. A new name is a new channel, to which nothing old is told.
    pub name: String,
    /// What it is told, ascending.
    pub things: Vec<Thing>,
    /// Before how many days people want to know of what falls due; each once, none is zero.
    pub before: Vec<u16>,
    /// The recipient of copies that it is for, by the name that is given when they get one. Such a channel is told
    /// nothing else.
    pub recipient: Option<Redacted<String>>,
    /// Where it leads.
    pub kind: NotifyKind,
}

/// Where a channel leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotifyKind {
    /// To mailboxes.
    Mail(Box<MailChannel>),
    /// To a web server.
    Webhook(WebhookChannel),
    /// To a program of this machine: an absolute path, and arguments.
    Program(String, Vec<String>),
}

/// A server that takes mail, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailChannel {
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
    /// Who logs in; `None` when it takes mail without.
    pub login: Option<MailAdmin>,
    /// The address that it comes from.
    pub from: Redacted<String>,
    /// The addresses that it goes to; never none.
    pub to: Vec<Redacted<String>>,
}

/// A web server that takes signed notices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookChannel {
    /// The URL, `https://`, or `http://` on this machine itself. It may hold a secret.
    pub url: Redacted<String>,
    /// A file of certificate authorities; `None` for those of the machine.
    pub ca_file: Option<PathBuf>,
    /// Where the key of the signatures is.
    pub key: SecretPlace,
}

//! Mail servers: IMAP4rev1 (RFC 3501) with the extensions that retention needs, spoken blocking from stage threads.
//!
//! * `stream`, `wire`: bytes with deadlines; commands under tags, answers with bounds, bodies as streams.
//! * `value`, `answer`: what a server says, as types.
//! * `login`, `proof`: logging in, and proving whose mailbox was opened. [`Session`] exists only after a proof.
//! * `folder`, `acl`, `messages`: what a session can do.
//! * `quirk`: what servers do otherwise, as data; `doveadm`: what Dovecot does beside IMAP.
//! * `mailroom`, `access`: the words of the stages, said in all of this; `directory`: who tells what is registered.
//!
//! The protocol is read by a small reader of our own: a body of 100 MB must stream, everything must be bounded, and an
//! answer that does not parse must stop a purge instead of being skipped, which no library offers together.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use retention_core::mailbox::LoginForm;
use rustls::ClientConfig;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::config::{MailServer, MailTls};
use crate::connector::outcome::{Refusal, Retry};

mod access;
mod acl;
mod answer;
mod command;
mod date;
mod directory;
mod doveadm;
mod error;
mod eyes;
mod folder;
mod header;
mod limits;
mod login;
mod mailroom;
mod messages;
mod mover;
mod permit;
mod proof;
mod quirk;
mod session;
mod stream;
mod tls;
mod uid;
mod utf7;
mod value;
mod wire;

#[cfg(test)]
mod tests;

pub use access::ImapAccess;
pub use acl::Acl;
pub use date::InternalDate;
pub use directory::MailboxDirectory;
pub use doveadm::Keys;
pub use error::{MailError, explain};
pub use folder::{Folder, SpecialUse, parts_of};
pub use header::Header;
pub use mailroom::ImapMailroom;
pub use messages::{Appended, BodySink, Expunged, Meta, State};
pub use mover::ImapMover;
pub use proof::Proof;
pub use quirk::{Authzid, Leaves, Lists, OwnerEntry, Quirks, Sizes, StandIn, UnknownUser};
pub use session::{Access, Selected, Session};
pub use uid::{Uid, UidValidity, Uids};

use login::LoggedIn;
use permit::{Errand, Gate, Permit};
use proof::Shown;

/// How long the answer to the question whether a server refuses unknown mailboxes is believed. A refused login counts
/// in the server's defences against guessing, so it is not asked at every login.
const REFUSAL_BELIEVED: Duration = Duration::from_secs(24 * 60 * 60);

/// A password, token or key. Zeroized when the last holder lets go; its `Debug` shows nothing.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes a text as a secret.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(Arc::new(text))
    }

    /// Returns the text to code that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// How to get into one mailbox. Personal data and a secret: its `Debug` shows the server and the form alone.
#[derive(Clone)]
pub struct MailboxAccess {
    /// The server.
    pub server: Arc<MailServer>,
    /// The mailbox's user, as the server names it.
    pub user: String,
    /// How one logs in.
    pub form: LoginForm,
    /// Who logs in, when it is not the user.
    pub admin: String,
    /// The password or token of whoever logs in.
    pub secret: Secret,
    /// The folder of the mailbox for [`LoginForm::UserRoot`].
    pub root: Option<String>,
}

impl fmt::Debug for MailboxAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailboxAccess")
            .field("server", &self.server.name)
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

/// What a server says it can do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities(Vec<String>);

impl Capabilities {
    fn new(words: Vec<String>) -> Self {
        let mut words: Vec<String> = words.into_iter().map(|word| word.to_ascii_uppercase()).collect();
        words.sort();
        words.dedup();
        Self(words)
    }

    /// Whether it says a word. `IMAP4rev2` brings with it what it made part of itself.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        const IN_REV2: &[&str] = &[
            "NAMESPACE",
            "UNSELECT",
            "UIDPLUS",
            "ESEARCH",
            "SEARCHRES",
            "ENABLE",
            "IDLE",
            "SASL-IR",
            "LIST-EXTENDED",
            "LIST-STATUS",
            "MOVE",
            "LITERAL-",
            "STATUS=SIZE",
            "SPECIAL-USE",
        ];
        let says = |word: &str| self.0.iter().any(|said| said == word);
        says(word) || (IN_REV2.contains(&word) && says("IMAP4REV2"))
    }
}

/// Randomness, so that waits can be spread and tests repeated.
pub type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Opens sessions. One is shared by all threads; it keeps count of the connections of each server.
pub struct Connector {
    clock: Arc<dyn Clock>,
    random: Random,
    servers: Mutex<HashMap<String, Arc<Known>>>,
}

/// What is remembered of one server.
struct Known {
    server: Arc<MailServer>,
    gate: Arc<Gate>,
    /// What the machine's own authorities make trusted, once they were read.
    tls: Mutex<Option<Arc<ClientConfig>>>,
    /// When it was last seen to refuse an unknown mailbox, for each form and admin.
    refuses_unknown: Mutex<HashMap<(&'static str, String), Duration>>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl Connector {
    /// Makes one. Nothing is connected yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, random: Random) -> Self {
        Self { clock, random, servers: Mutex::default() }
    }

    /// Connects, logs in, and proves whose mailbox it is.
    ///
    /// # Errors
    /// Says why not. Nothing was changed on the server.
    pub fn open(&self, access: &MailboxAccess) -> Result<Session, MailError> {
        self.open_for(access, Errand::Usual)
    }

    /// As [`Self::open`], on a connection that is kept free for what must not wait: taking permissions back.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_urgent(&self, access: &MailboxAccess) -> Result<Session, MailError> {
        self.open_for(access, Errand::Urgent)
    }

    fn open_for(&self, access: &MailboxAccess, errand: Errand) -> Result<Session, MailError> {
        let known = self.known(&access.server);
        let permit = known.gate.enter(self.clock.monotonic(), errand)?;
        let opened =
            self.log_in(&known, access, &access.user).and_then(|login| self.prove(&known, access, login, permit));
        match &opened {
            Ok(_) => known.gate.succeeded(),
            Err(error) => self.remember_failure(&known, error),
        }
        opened
    }

    fn remember_failure(&self, known: &Known, error: &MailError) {
        // The machine may trust others since its authorities were read.
        if error.code() == "mail-tls-certificate" {
            *known.tls.lock() = None;
        }
        // A wrong password says nothing about the server; that it is busy or away does.
        if let MailError::Refused(Refusal { retry: Retry::After(at_least), .. }) = error {
            known.gate.failed(self.clock.monotonic(), *at_least, (self.random)());
        }
    }

    fn known(&self, server: &Arc<MailServer>) -> Arc<Known> {
        let mut servers = self.servers.lock();
        let known = servers.get(&server.name).filter(|known| known.server == *server);
        match known {
            Some(known) => Arc::clone(known),
            None => {
                let known = Arc::new(Known {
                    server: Arc::clone(server),
                    gate: Gate::new(server.max_connections),
                    tls: Mutex::default(),
                    refuses_unknown: Mutex::default(),
                });
                servers.insert(server.name.clone(), Arc::clone(&known));
                known
            }
        }
    }

    fn log_in(&self, known: &Known, access: &MailboxAccess, user: &str) -> Result<LoggedIn, MailError> {
        let tls = known.tls_config()?;
        let greeted = login::connect(&known.server, tls.as_ref(), Arc::clone(&self.clock))?;
        login::log_in(greeted, access, user)
    }

    fn prove(
        &self,
        known: &Known,
        access: &MailboxAccess,
        mut login: LoggedIn,
        permit: Permit,
    ) -> Result<Session, MailError> {
        let (proof, root) = match proof::look(&mut login, access)? {
            Shown::Proven(proof, root) => (proof, root),
            Shown::Undecided(root) if known.was_seen_to_refuse(access, self.clock.monotonic()) => {
                (Proof::UnknownUserRefused, root)
            }
            Shown::Undecided(_) if proof::may_try_unknown_user(&login) => {
                drop(login);
                login = self.log_in_around_a_refusal(known, access)?;
                match proof::look(&mut login, access)? {
                    Shown::Proven(_, root) | Shown::Undecided(root) => (Proof::UnknownUserRefused, root),
                }
            }
            Shown::Undecided(_) => return Err(proof::NOT_PROVEN),
        };
        let LoggedIn { wire, capabilities, quirks, namespaces } = login;
        let [_, others, shared] = namespaces.unwrap_or_default();
        // An empty prefix of shared folders is where everything begins: it names nobody's.
        let foreign = others.into_iter().chain(shared).filter(|namespace| !namespace.prefix.is_empty()).collect();
        Ok(Session { wire, capabilities, quirks, root, foreign, proof, selected: None, _permit: permit })
    }

    /// Says whether the mailbox could still be proven to be the user's if its owner were no longer the only one who
    /// administers it: then only a refusal of what cannot exist proves it.
    ///
    /// # Errors
    /// Says why it could not. Nothing was changed.
    fn can_be_proven_beside_others(&self, access: &MailboxAccess, session: &Session) -> Result<(), MailError> {
        const NO_MORE: MailError = MailError::refused("mail-not-proven-later", Retry::Never);
        if session.proof() != Proof::OwnerEntry {
            return Ok(());
        }
        if session.quirks().unknown_user == UnknownUser::NotToBeTried {
            return Err(NO_MORE);
        }
        let known = self.known(&access.server);
        if known.was_seen_to_refuse(access, self.clock.monotonic()) {
            return Ok(());
        }
        match self.log_in(&known, access, &proof::impossible_user((self.random)(), &access.user)) {
            Ok(_) => Err(NO_MORE),
            Err(error) if proof::says_no_such_mailbox(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Tries the same login for a mailbox that cannot exist, and then again for this one. The refusal counts only
    /// between two logins that succeed: then it was the name that was refused. One connection at a time.
    fn log_in_around_a_refusal(&self, known: &Known, access: &MailboxAccess) -> Result<LoggedIn, MailError> {
        let nobody = proof::impossible_user((self.random)(), &access.user);
        match self.log_in(known, access, &nobody) {
            Ok(_) => return Err(proof::NOT_PROVEN),
            Err(error) if proof::says_no_such_mailbox(&error) => {}
            Err(error) => return Err(error),
        }
        let login = self.log_in(known, access, &access.user)?;
        known.refuses_unknown.lock().insert(Known::refusal_key(access), self.clock.monotonic());
        Ok(login)
    }
}

impl Known {
    fn refusal_key(access: &MailboxAccess) -> (&'static str, String) {
        (access.form.word(), access.admin.clone())
    }

    fn was_seen_to_refuse(&self, access: &MailboxAccess, now: Duration) -> bool {
        let last = self.refuses_unknown.lock().get(&Self::refusal_key(access)).copied();
        last.is_some_and(|last| now.saturating_sub(last) < REFUSAL_BELIEVED)
    }

    fn tls_config(&self) -> Result<Option<Arc<ClientConfig>>, MailError> {
        if self.server.tls == MailTls::PlainLoopback {
            return Ok(None);
        }
        // A file of its own is read anew for each login, as passwords are: an authority is renewed there, or trusted no
        // more, and no revoke may have to wait for a restart.
        if let Some(file) = self.server.ca_file.as_deref() {
            return tls::config(Some(file)).map(Some);
        }
        let mut tls = self.tls.lock();
        match &*tls {
            Some(config) => Ok(Some(Arc::clone(config))),
            None => {
                let config = tls::config(None)?;
                *tls = Some(Arc::clone(&config));
                Ok(Some(config))
            }
        }
    }
}

//! Connecting and logging in. What comes out is not usable yet: whose mailbox it is has not been proven.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use retention_core::mailbox::LoginForm;
use rustls::ClientConfig;
use zeroize::Zeroizing;

use super::answer::{Code, Namespace, Status, Untagged};
use super::command::Command;
use super::error::{MailError, RETRY_SOON};
use super::quirk::{self, Authzid, Quirks};
use super::stream::Stream;
use super::wire::Wire;
use super::{Capabilities, MailboxAccess};
use crate::clock::Clock;
use crate::config::{MailServer, MailTls};
use crate::connector::outcome::Retry;

/// A login that succeeded and proves nothing yet.
pub(super) struct LoggedIn {
    pub(super) wire: Wire,
    pub(super) capabilities: Capabilities,
    pub(super) quirks: &'static Quirks,
    pub(super) namespaces: Option<[Vec<Namespace>; 3]>,
}

/// A connection on which nobody has logged in.
pub(super) struct Greeted {
    wire: Wire,
    greeting: Vec<u8>,
    capabilities: Capabilities,
}

/// Connects, begins TLS as the server is configured, and reads the greeting.
pub(super) fn connect(
    server: &MailServer,
    tls: Option<&Arc<ClientConfig>>,
    clock: Arc<dyn Clock>,
) -> Result<Greeted, MailError> {
    const NO_TLS: MailError = MailError::refused("mail-tls-required", Retry::Operator);
    let mut stream = Stream::connect(&server.host, server.port, clock)?;
    match server.tls {
        MailTls::Implicit => stream.secure(Arc::clone(tls.ok_or(NO_TLS)?), &server.tls_name)?,
        MailTls::StartTls => {}
        MailTls::PlainLoopback if stream.is_loopback() => {}
        MailTls::PlainLoopback => return Err(NO_TLS),
    }
    let mut wire = Wire::new(stream);
    let (status, code, greeting) = wire.greeting()?;
    match status {
        Status::Ok => {}
        // Somebody is logged in already, and not we.
        Status::Preauth => return Err(MailError::refused("mail-greeting", Retry::Operator)),
        Status::Bye => return Err(MailError::refused("mail-busy-greeting", Retry::After(RETRY_SOON))),
        Status::No | Status::Bad => return Err(MailError::refused("mail-greeting", Retry::Operator)),
    }
    let mut capabilities = match code {
        Some(Code::Capability(words)) => Capabilities::new(words),
        _ => ask_capabilities(&mut wire)?,
    };
    if server.tls == MailTls::StartTls {
        if !capabilities.has("STARTTLS") {
            return Err(MailError::refused("mail-starttls-missing", Retry::Operator));
        }
        wire.ask(&Command::new("STARTTLS")).map_err(MailError::of_a_question)?;
        // What arrived before TLS began was said by anybody (RFC 9051, 11.1).
        if wire.has_unread() {
            return Err(MailError::refused("mail-starttls-injection", Retry::Operator));
        }
        wire.stream().secure(Arc::clone(tls.ok_or(NO_TLS)?), &server.tls_name)?;
        // What was said before TLS counts no more.
        capabilities = ask_capabilities(&mut wire)?;
    }
    wire.literal_plus = capabilities.has("LITERAL+");
    Ok(Greeted { wire, greeting, capabilities })
}

/// Logs in as the form of the mailbox says, to `user`.
pub(super) fn log_in(mut greeted: Greeted, access: &MailboxAccess, user: &str) -> Result<LoggedIn, MailError> {
    let quirks = quirk::of(&greeted.greeting, "");
    if access.form == LoginForm::AuthzId && quirks.authzid == Authzid::Ignored {
        return Err(MailError::refused("mail-login-form", Retry::Operator));
    }
    let code = authenticate(&mut greeted, access, user).map_err(as_login)?;
    let Greeted { mut wire, greeting, .. } = greeted;
    let capabilities = match code {
        Some(Code::Capability(words)) => Capabilities::new(words),
        _ => ask_capabilities(&mut wire)?,
    };
    wire.literal_plus = capabilities.has("LITERAL+");
    let mut commands = Vec::new();
    if capabilities.has("NAMESPACE") {
        commands.push(Command::new("NAMESPACE"));
    }
    if capabilities.has("ID") {
        commands.push(Command::new("ID").raw("(\"name\" \"retentiond\")"));
    }
    let mut heard = Vec::new();
    for end in wire.run_all(&commands, &mut heard) {
        let _code = end.map_err(MailError::of_a_question)?;
    }
    let mut namespaces = None;
    let mut id_name = String::new();
    for answer in heard {
        match answer {
            Untagged::Namespace(found) => namespaces = Some(found),
            Untagged::Id(pairs) => {
                id_name =
                    pairs.into_iter().find(|(name, _)| name == "name").map(|(_, value)| value).unwrap_or_default();
            }
            _ => {}
        }
    }
    let quirks = quirk::of(&greeting, &id_name);
    Ok(LoggedIn { wire, capabilities, quirks, namespaces })
}

fn authenticate(greeted: &mut Greeted, access: &MailboxAccess, user: &str) -> Result<Option<Code>, MailError> {
    const METHOD: MailError = MailError::refused("mail-login-method", Retry::Operator);
    let secret = access.secret.reveal();
    let name = access.form.login_name(user, &access.admin);
    let capabilities = &greeted.capabilities;
    let mut heard = Vec::new();
    let wire = &mut greeted.wire;
    match access.form {
        LoginForm::XOAuth2 => {
            if !capabilities.has("AUTH=XOAUTH2") {
                return Err(METHOD);
            }
            if [&name, secret].iter().any(|text| text.contains('\u{1}')) {
                return Err(MailError::refused("mail-text-unsendable", Retry::Never));
            }
            let exchange = Zeroizing::new(format!("user={name}\u{1}auth=Bearer {secret}\u{1}\u{1}"));
            // The second challenge is a report of the refusal, to be answered with an empty line.
            sasl(wire, "AUTHENTICATE XOAUTH2", [exchange.as_bytes(), b""], &mut heard)
        }
        LoginForm::AuthzId => {
            if !capabilities.has("AUTH=PLAIN") {
                return Err(METHOD);
            }
            plain(wire, user, &name, secret, &mut heard)
        }
        LoginForm::OwnPassword
        | LoginForm::DovecotMaster { .. }
        | LoginForm::Exchange { .. }
        | LoginForm::Mirapoint
        | LoginForm::UserRoot => {
            if !capabilities.has("LOGINDISABLED") {
                wire.run(&Command::new("LOGIN").string(&name).string(secret), &mut heard)
            } else if capabilities.has("AUTH=PLAIN") {
                plain(wire, "", &name, secret, &mut heard)
            } else {
                Err(MailError::refused("mail-login-disabled", Retry::Operator))
            }
        }
    }
}

/// SASL PLAIN, RFC 4616.
fn plain(
    wire: &mut Wire,
    authzid: &str,
    name: &str,
    secret: &str,
    heard: &mut Vec<Untagged>,
) -> Result<Option<Code>, MailError> {
    if [authzid, name, secret].iter().any(|text| text.contains('\0')) {
        return Err(MailError::refused("mail-text-unsendable", Retry::Never));
    }
    let exchange = Zeroizing::new(format!("{authzid}\0{name}\0{secret}"));
    sasl(wire, "AUTHENTICATE PLAIN", [exchange.as_bytes()], heard)
}

fn sasl<const N: usize>(
    wire: &mut Wire,
    command: &'static str,
    answers: [&[u8]; N],
    heard: &mut Vec<Untagged>,
) -> Result<Option<Code>, MailError> {
    let mut answers = answers.into_iter();
    let next = || answers.next().map(|answer| Zeroizing::new(STANDARD.encode(answer).into_bytes()));
    wire.authenticate(&Command::new(command), next, heard)
}

/// A login that was refused without a code is still a login that was refused. One without an answer changed nothing.
fn as_login(error: MailError) -> MailError {
    match error {
        MailError::Refused(refusal) if refusal.code == "mail-refused" => {
            MailError::refused("mail-login-refused", Retry::Operator)
        }
        other => other.of_a_question(),
    }
}

fn ask_capabilities(wire: &mut Wire) -> Result<Capabilities, MailError> {
    let (_code, heard) = wire.ask(&Command::new("CAPABILITY")).map_err(MailError::of_a_question)?;
    let words = heard.into_iter().find_map(|answer| match answer {
        Untagged::Capability(words) => Some(words),
        _ => None,
    });
    words.map(Capabilities::new).ok_or(MailError::refused("mail-answer-incomplete", Retry::Operator))
}

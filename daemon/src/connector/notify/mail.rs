//! Notices by mail: plain text through one SMTP server, under a Message-ID that is the same for each attempt, so that
//! mailboxes and readers recognise a repetition.

use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{Error, SmtpTransport};
use lettre::{Address, Message, Transport as _};

use super::{Carrier, Letter, SECRET_UNREADABLE, Undelivered, within};
use crate::config::{MailChannel, MailTls};
use crate::connector::authorities::{self, is_of_tls};
use crate::connector::imap::{Keys, Secret};
use crate::halt::Halt;

/// How long one answer of the server may take; the whole delivery is bounded beside it.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Sends letters by mail. It has one when the server took it for every address.
pub struct Mail {
    channel: MailChannel,
    keys: Keys,
    halt: Halt,
}

impl Mail {
    /// Sends through a server. Its password is read anew for each letter; `halt` ends a delivery early.
    #[must_use]
    pub fn through(channel: MailChannel, keys: Keys, halt: Halt) -> Self {
        Self { channel, keys, halt }
    }
}

impl Carrier for Mail {
    fn deliver(&mut self, letter: &Letter) -> Result<(), Undelivered> {
        let from = address(self.channel.from.reveal())?;
        let message = message(&self.channel, &from, letter)?;
        let login = match &self.channel.login {
            None => None,
            Some(login) => {
                let secret = (self.keys)(&login.credential).map_err(|_| Undelivered::because(SECRET_UNREADABLE))?;
                Some((login.login.clone(), secret))
            }
        };
        let channel = self.channel.clone();
        within(&self.halt, move || {
            let transport = transport(&channel, from.domain(), login)?;
            transport.send(&message).map(drop).map_err(|error| Undelivered::because(code_of(&error)))
        })
    }
}

fn address(text: &str) -> Result<Address, Undelivered> {
    text.parse().map_err(|_| Undelivered::because("mail-address"))
}

fn message(channel: &MailChannel, from: &Address, letter: &Letter) -> Result<Message, Undelivered> {
    const UNMADE: &str = "mail-message";
    let mut message = Message::builder()
        .from(from.clone().into())
        .subject(format!("[retentiond] {}", letter.text.subject))
        .message_id(Some(format!("<{}@{}>", letter.id, from.domain())))
        // RFC 3834: nobody on holiday answers it.
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
        .header(ContentType::TEXT_PLAIN);
    for to in &channel.to {
        message = message.to(address(to.reveal())?.into());
    }
    message.body(letter.plain()).map_err(|_| Undelivered::because(UNMADE))
}

fn transport(
    channel: &MailChannel,
    domain: &str,
    login: Option<(String, Secret)>,
) -> Result<SmtpTransport, Undelivered> {
    let tls = match channel.tls {
        MailTls::Implicit => Tls::Wrapper(parameters(channel)?),
        MailTls::StartTls => Tls::Required(parameters(channel)?),
        MailTls::PlainLoopback => Tls::None,
    };
    let builder = SmtpTransport::builder_dangerous(&channel.host)
        .port(channel.port)
        .tls(tls)
        .timeout(Some(ANSWER_MAX))
        .hello_name(ClientId::Domain(domain.to_owned()));
    Ok(match login {
        None => builder.build(),
        Some((name, secret)) => builder.credentials(Credentials::new(name, secret.reveal().to_owned())).build(),
    })
}

fn parameters(channel: &MailChannel) -> Result<TlsParameters, Undelivered> {
    const FILES: &str = "smtp-tls-files";
    let roots = authorities::read(channel.ca_file.as_deref()).map_err(|_| Undelivered::because(FILES))?;
    let builder = TlsParameters::builder(channel.tls_name.clone()).certificate_store(CertificateStore::None);
    // A machine may hold authorities that no longer parse; the others still count.
    let roots = roots.into_iter().filter_map(|der| Certificate::from_der(der.to_vec()).ok());
    roots
        .fold(builder, |builder, root| builder.add_root_certificate(root))
        .build_rustls()
        .map_err(|_| Undelivered::because(FILES))
}

/// Says what happened without any text of the server.
fn code_of(error: &Error) -> String {
    match error.status() {
        Some(status) => format!("smtp-{status}"),
        None if error.is_timeout() => "smtp-timeout".to_owned(),
        None if error.is_tls() || is_of_tls(error) => "smtp-tls".to_owned(),
        None if error.is_client() => "smtp-not-possible".to_owned(),
        None => "smtp-unreachable".to_owned(),
    }
}

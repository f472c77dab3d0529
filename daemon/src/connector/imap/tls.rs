//! TLS towards a mail server: rustls with ring, certificates always checked.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Error, RootCertStore};

use super::error::{MailError, RETRY_SOON};
use crate::connector::authorities;
use crate::connector::outcome::Retry;

/// Returns a configuration that trusts the authorities of a file, or else those of the machine.
pub(super) fn config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, MailError> {
    const FILES: MailError = MailError::refused("mail-tls-files", Retry::Operator);
    let mut roots = RootCertStore::empty();
    let authorities = authorities::read(ca_file).map_err(|_| FILES)?;
    match ca_file {
        Some(_) => {
            for certificate in authorities {
                roots.add(certificate).map_err(|_| FILES)?;
            }
        }
        None => {
            // A machine may hold authorities that no longer parse; the others still count.
            let (_added, _passed_over) = roots.add_parsable_certificates(authorities);
        }
    }
    if roots.is_empty() {
        return Err(FILES);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| MailError::refused("mail-tls", Retry::Operator))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// Returns the name that the certificate must have.
pub(super) fn server_name(name: &str) -> Result<ServerName<'static>, MailError> {
    ServerName::try_from(name.to_owned()).map_err(|_| MailError::refused("mail-tls-certificate", Retry::Operator))
}

/// Tells a certificate that is not trusted, and a server that let go, from other failures. What it was is logged
/// without any text of the server.
pub(super) fn failure(error: &io::Error) -> MailError {
    tracing::warn!(why = %kind(error), "TLS with a mail server was not set up; nothing but the handshake was sent");
    match (inner(error), error.kind()) {
        (Some(Error::InvalidCertificate(_) | Error::NoCertificatesPresented), _) => {
            MailError::refused("mail-tls-certificate", Retry::Operator)
        }
        (None, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
            MailError::refused("mail-tls-closed", Retry::After(RETRY_SOON))
        }
        (None, _) => MailError::refused("mail-tls", Retry::After(RETRY_SOON)),
        (Some(_), _) => MailError::refused("mail-tls", Retry::Operator),
    }
}

fn inner(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref::<Error>()
}

/// Says what failed in words of the protocol alone: a certificate names hosts and people.
fn kind(error: &io::Error) -> String {
    match inner(error) {
        Some(Error::InvalidCertificate(_)) => "the certificate is not trusted".to_owned(),
        Some(Error::NoCertificatesPresented) => "the server shows no certificate".to_owned(),
        Some(Error::AlertReceived(alert)) => format!("the server says {alert:?}"),
        Some(Error::PeerIncompatible(why)) => format!("nothing in common with the server: {why:?}"),
        Some(Error::PeerMisbehaved(why)) => format!("the server does not follow TLS: {why:?}"),
        Some(Error::InvalidMessage(why)) => format!("what the server sends is not TLS: {why:?}"),
        Some(_) => "another failure of TLS".to_owned(),
        None => format!("the connection broke: {:?}", error.kind()),
    }
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    #[test]
    fn what_failed_is_told_apart_and_names_nobody() {
        let code = |error: &io::Error| failure(error).code();
        let of = |error: Error| io::Error::new(ErrorKind::InvalidData, error);
        assert_eq!(code(&of(Error::InvalidCertificate(CertificateError::Expired))), "mail-tls-certificate");
        assert_eq!(code(&of(Error::HandshakeNotComplete)), "mail-tls");
        assert_eq!(code(&ErrorKind::UnexpectedEof.into()), "mail-tls-closed");
        assert_eq!(code(&ErrorKind::TimedOut.into()), "mail-tls");
        let named = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("ada.example.org").unwrap(),
            presented: vec!["DnsName(\"bob.example.org\")".to_owned()],
        };
        let said = kind(&of(Error::InvalidCertificate(named)));
        assert!(!said.contains("example"), "{said}");
    }
}

//! Requests to web servers: certificates are checked, redirects are not followed, and no text of a server is believed
//! or told.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Error};

use super::authorities;
use super::authorities::is_of_tls;

/// Returns what makes requests, each of which may take so long in all.
///
/// # Errors
/// When the file of certificate authorities cannot be read.
pub(super) fn agent(ca_file: Option<&Path>, request_max: Duration) -> io::Result<Agent> {
    let roots = authorities::read(ca_file)?;
    let roots: Vec<_> = roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(request_max))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // The environment is for the supervisor to read.
        .proxy(None)
        .user_agent("retentiond")
        .build();
    Ok(config.new_agent())
}

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoAnswer {
    TimedOut,
    HostUnknown,
    NotTrusted,
    Unreachable,
    Other,
}

impl NoAnswer {
    /// Says what happened without any text of the server.
    pub(super) fn because(error: &Error) -> Self {
        match error {
            Error::Timeout(_) => Self::TimedOut,
            Error::HostNotFound => Self::HostUnknown,
            Error::Tls(_) | Error::Rustls(_) | Error::Pem(_) => Self::NotTrusted,
            Error::Io(error) if is_of_tls(error) => Self::NotTrusted,
            Error::Io(_) | Error::ConnectionFailed => Self::Unreachable,
            _ => Self::Other,
        }
    }

    /// Says it as a part of a sentence.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::TimedOut => "it did not answer in time",
            Self::HostUnknown => "nobody knows its name",
            Self::NotTrusted => "its certificate is not trusted",
            Self::Unreachable => "it cannot be reached",
            Self::Other => "the request failed",
        }
    }
}

//! TLS towards a mail server: rustls with ring, certificates always checked.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::error::MailError;
use crate::connector::outcome::Retry;

/// The largest file of certificate authorities, in bytes: those of a whole distribution take a quarter of it.
const CA_BYTES_MAX: u64 = 1 << 20;

/// Returns a configuration that trusts the authorities of a file, or else those of the machine.
pub(super) fn config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, MailError> {
    const FILES: MailError = MailError::refused("mail-tls-files", Retry::Operator);
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let length = std::fs::metadata(path).map_err(|_| FILES)?.len();
            if length > CA_BYTES_MAX {
                return Err(FILES);
            }
            for certificate in CertificateDer::pem_file_iter(path).map_err(|_| FILES)? {
                roots.add(certificate.map_err(|_| FILES)?).map_err(|_| FILES)?;
            }
        }
        None => {
            // A machine may hold authorities that no longer parse; the others still count.
            let (_added, _passed_over) =
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
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

/// Tells a certificate that is not trusted from other failures.
pub(super) fn failure(error: &std::io::Error) -> Option<MailError> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match inner {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
            MailError::refused("mail-tls-certificate", Retry::Operator)
        }
        _ => MailError::refused("mail-tls", Retry::Operator),
    })
}

//! The certificate authorities that a server's certificate is checked by, and what a failure says of them.

use std::io;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The largest file of certificate authorities, in bytes: those of a whole distribution take a quarter of it.
const CA_BYTES_MAX: u64 = 1 << 20;

/// Returns the authorities of a file, or else those of the machine, of which some may no longer parse.
///
/// # Errors
/// When the file cannot be read, is no regular file, is too large, or is not one of certificates.
pub fn read(ca_file: Option<&Path>) -> io::Result<Vec<CertificateDer<'static>>> {
    let Some(path) = ca_file else { return Ok(rustls_native_certs::load_native_certs().certs) };
    let found = std::fs::metadata(path)?;
    // A pipe would be waited for: a revoke, too.
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if found.len() > CA_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let certificates = CertificateDer::pem_file_iter(path).map_err(io::Error::other)?;
    certificates.map(|certificate| certificate.map_err(io::Error::other)).collect()
}

/// Says whether TLS is behind a failure, as a library wraps it: a certificate that is not trusted, above all.
pub(super) fn is_of_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let inner = |error: &io::Error| error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.is::<rustls::Error>() || error.downcast_ref::<io::Error>().is_some_and(inner))
}

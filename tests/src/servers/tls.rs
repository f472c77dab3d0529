//! The certificate of a server: its own authority, for `localhost` and 127.0.0.1, and no other server's. RSA, because
//! Courier shows no other.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes `cert.pem`, `key.pem` and `both.pem`.
pub(crate) fn write(dir: &Path) {
    let (key, cert) = make();
    for (name, text) in [("key.pem", &key), ("cert.pem", &cert), ("both.pem", &format!("{key}{cert}"))] {
        fs::write(dir.join(name), text).expect("a file");
        // Every user of every server reads it; it guards nothing.
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o644)).expect("a mode");
    }
}

fn make() -> (String, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let (key, cert) = (dir.path().join("key.pem"), dir.path().join("cert.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is not installed: run ./test.sh, or tests/servers.sh alone");
    assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    (fs::read_to_string(key).expect("a key"), fs::read_to_string(cert).expect("a certificate"))
}

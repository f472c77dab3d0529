//! Private keys of age, of whoever asks. They leave this program for nowhere.

use std::io::{self, BufRead};
use std::path::Path;

use age::stream::StreamReader;
use age::x25519::Identity;
use retention_core::control::ErrorCode;
use retention_core::policy::AgeRecipient;

use super::super::{files, refuse};
use crate::exit::Cause;

/// How a file begins that age encrypted, as bytes and as text.
const ENCRYPTED: [&[u8]; 2] = [b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----"];

/// What stands in a file as `age-keygen` writes it. It has no `Debug`.
pub(super) struct Keys(Vec<Identity>);

impl Keys {
    /// Reads a file with a private key in each line that is neither empty nor a comment.
    ///
    /// # Errors
    /// Says what it holds instead, and repeats nothing of it.
    pub(super) fn read(path: &Path) -> Result<Self, Cause> {
        Self::of(&files::read(path)?)
            .map_err(|what| refuse(ErrorCode::BadRequest, format!("{} {what}", path.display())))
    }

    fn of(bytes: &[u8]) -> Result<Self, &'static str> {
        if ENCRYPTED.iter().any(|beginning| bytes.starts_with(beginning)) {
            return Err("is itself encrypted, with a passphrase or to another key; decrypt it on the way: \
                        age --decrypt FILE | retentionctl export verify DIRECTORY --identity /dev/stdin");
        }
        let text = std::str::from_utf8(bytes).map_err(|_| NONE)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Vec<Identity> =
            lines.map(|line| line.parse().map_err(|_| instead_of_a_key(line))).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(NONE) } else { Ok(Self(keys)) }
    }

    /// Says whether the other half of one of them is among these.
    pub(super) fn are_among(&self, recipients: &[AgeRecipient]) -> bool {
        let own = |key: &Identity| {
            let public = key.to_public().to_string();
            recipients.iter().any(|recipient| recipient.as_str() == public)
        };
        self.0.iter().any(own)
    }

    /// Opens what was encrypted.
    ///
    /// # Errors
    /// When it cannot be read; `InvalidData` when it is no file of age, was changed, or is for other keys.
    pub(super) fn decrypt<R: BufRead>(&self, from: R) -> io::Result<StreamReader<R>> {
        let keys = self.0.iter().map(|key| key as &dyn age::Identity);
        let opened = age::Decryptor::new_buffered(from).and_then(|encrypted| encrypted.decrypt(keys));
        opened.map_err(|error| match error {
            age::DecryptError::Io(error) => error,
            error => io::Error::new(io::ErrorKind::InvalidData, error),
        })
    }
}

const NONE: &str = "has no private key of age: `age-keygen` writes one, it begins with AGE-SECRET-KEY-1";

fn instead_of_a_key(line: &str) -> &'static str {
    // Nothing is copied: it may be a private key all the same.
    let begins_with = |with: &str| line.get(..with.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(with));
    if begins_with("age1") {
        "has a public key of age, which opens nothing: name the file with the private one"
    } else if ["age-plugin-", "-----begin ", "ssh-"].into_iter().any(begins_with) {
        "has a key of SSH or of a plugin: bundles are encrypted to X25519 keys of age alone, as `age-keygen` makes them"
    } else {
        NONE
    }
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_file_of_keys_is_read_and_what_it_is_instead_is_said_and_never_repeated() {
        let identity = Identity::generate();
        let (public, secret) = (identity.to_public().to_string(), identity.to_string());
        let text = format!("# created: today\r\n\r\n{}\r\n", secret.expose_secret());
        let keys = Keys::of(text.as_bytes()).ok().unwrap();
        assert!(keys.are_among(&[public.parse().unwrap()]));
        assert!(!keys.are_among(&[Identity::generate().to_public().to_string().parse().unwrap()]));
        for (text, says) in [
            (public.as_str(), "has a public key"),
            ("AGE-PLUGIN-YUBIKEY-1QQQ", "of a plugin"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", "of SSH"),
            ("-----BEGIN AGE ENCRYPTED FILE-----", "is itself encrypted"),
            ("age-encryption.org/v1\n-> scrypt", "is itself encrypted"),
            ("AGE-SECRET-KEY-1QQQ", "has no private key"),
            ("# nothing", "has no private key"),
            ("", "has no private key"),
        ] {
            let said = Keys::of(text.as_bytes()).err().unwrap();
            assert!(said.contains(says), "{text}: {said}");
            assert!(text.len() < 6 || !said.contains(text), "{said}");
        }
    }
}

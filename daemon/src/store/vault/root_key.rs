//! The root key: 32 bytes that come from outside the store and open everything in it.

use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::KEY_BYTES;
use crate::private_file::{self, PrivateFileError};
use crate::store::durable_file::{self, DurableFileError};

/// 64 hexadecimal digits and a line's end (CR LF at most), in bytes: the longest that a root key's file may be.
const FILE_BYTES_MAX: usize = 2 * KEY_BYTES + 2;

/// The key that wraps the wrapping keys. Overwritten in memory when dropped.
///
/// **Invariant:** read once from a private file, never written by anything but [`RootKey::generate_file`].
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct RootKey([u8; KEY_BYTES]);

impl std::fmt::Debug for RootKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RootKey(..)")
    }
}

/// There is no usable root key. The message never holds any of its bytes.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// The file is not there.
    #[error(
        "there is no root key at the place that the configuration names; restore it from its backup, or run `retentiond init` for a new store"
    )]
    Absent,
    /// The file cannot be read, or others can read it too.
    #[error("the root key cannot be used: {0}")]
    File(#[source] PrivateFileError),
    /// It is no key.
    #[error("the root key is neither exactly 32 bytes nor 64 hexadecimal digits and a line's end")]
    Form,
    /// A new one could not be made.
    #[error(transparent)]
    Create(#[from] DurableFileError),
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes; no key was made")]
    NoRandomness,
}

impl RootKey {
    /// Takes key bytes that were read elsewhere.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Reads the key from a file: a systemd credential, or what [`RootKey::generate_file`] wrote.
    ///
    /// See [`private_file::read`] for what the file must be.
    ///
    /// # Errors
    /// Names what is wrong with the file; a key that anybody else could read is refused.
    pub fn read(path: &Path) -> Result<Self, RootKeyError> {
        Self::parse(&private_file::read(path, FILE_BYTES_MAX)?)
    }

    /// Makes a new key from the operating system's randomness and writes it, as hexadecimal digits, to a new file 0600.
    ///
    /// # Errors
    /// When the file exists (a root key is never overwritten), or cannot be made durable.
    pub fn generate_file(path: &Path) -> Result<Self, RootKeyError> {
        let mut key = Self([0; KEY_BYTES]);
        SystemRandom::new().fill(&mut key.0).map_err(|_| RootKeyError::NoRandomness)?;
        let mut text = Zeroizing::new([b'\n'; 2 * KEY_BYTES + 1]);
        let (digits, _line_end) = text.split_at_mut(2 * KEY_BYTES);
        hex::encode_to_slice(key.0, digits).map_err(|_| RootKeyError::Form)?;
        durable_file::create_new(path, text.as_slice(), "root key")?;
        Ok(key)
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    fn parse(bytes: &[u8]) -> Result<Self, RootKeyError> {
        let mut key = Self([0; KEY_BYTES]);
        if bytes.len() == KEY_BYTES {
            key.0.copy_from_slice(bytes);
            return Ok(key);
        }
        let digits = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
        hex::decode_to_slice(digits, &mut key.0).map_err(|_| RootKeyError::Form)?;
        Ok(key)
    }
}

impl From<PrivateFileError> for RootKeyError {
    fn from(error: PrivateFileError) -> Self {
        match error {
            PrivateFileError::Absent => Self::Absent,
            // The longest form has a length of its own, so what is longer is no key.
            PrivateFileError::TooLong { .. } => Self::Form,
            error => Self::File(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    fn file_with(bytes: &[u8], mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_generated_key_reads_back_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        let made = RootKey::generate_file(&path).unwrap();
        assert_eq!(RootKey::read(&path).unwrap().0, made.0);
        assert_ne!(made.0, [0; 32]);
        assert!(matches!(RootKey::generate_file(&path), Err(RootKeyError::Create(_))));
        assert_eq!(RootKey::read(&path).unwrap().0, made.0);
    }

    #[test]
    fn raw_bytes_and_digits_are_the_same_key() {
        for form in [vec![0xab; 32], [b'a', b'b'].repeat(32), [[b'A', b'B'].repeat(32), b"\r\n".to_vec()].concat()] {
            let (_dir, path) = file_with(&form, 0o400);
            assert_eq!(RootKey::read(&path).unwrap().0, [0xab; 32]);
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        for mode in [0o644, 0o640, 0o604, 0o660, 0o700, 0o4600] {
            let (_dir, path) = file_with(&[7; 32], mode);
            assert!(matches!(RootKey::read(&path), Err(RootKeyError::File(PrivateFileError::Mode { .. }))), "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_key_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(RootKey::read(&dir.path().join("none")), Err(RootKeyError::Absent)));
        assert!(matches!(RootKey::read(dir.path()), Err(RootKeyError::File(PrivateFileError::NotAFile))));
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(matches!(RootKey::read(&pipe), Err(RootKeyError::File(PrivateFileError::NotAFile))));
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        assert_eq!(format!("{:?}", RootKey([0xab; 32])), "RootKey(..)");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_key_or_a_named_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (_dir, path) = file_with(&bytes, 0o600);
            match RootKey::read(&path) {
                Ok(_) => prop_assert!(matches!(bytes.len(), 32 | 64..=66)),
                Err(error) => prop_assert!(matches!(error, RootKeyError::Form)),
            }
        }
    }
}

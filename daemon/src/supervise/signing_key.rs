//! The key that signs checkpoints: in a file of its own beside the tree, apart from the root key.

use std::path::Path;

use retention_core::evidence::checkpoint::{CheckpointError, keys_of};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::private_file::{self, PrivateFileError};
use crate::store::durable_file::{self, DurableFileError};

/// A signer key is a name and some hundred bytes.
const KEY_BYTES_MAX: usize = 1_024;

/// The key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SigningKeyError {
    /// The file.
    #[error("the signing key tree/signing.key cannot be read: {0}")]
    Read(#[from] PrivateFileError),
    /// A new one could not be made.
    #[error("a signing key could not be made: {0}")]
    Make(#[from] DurableFileError),
    /// It is none.
    #[error("tree/signing.key: {0}; restore it from its backup")]
    Bad(#[from] CheckpointError),
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes; no signing key was made")]
    NoRandomness,
}

/// Returns the name of the log of a store: that of its keys and of its checkpoints.
pub(super) fn origin(store: [u8; 16]) -> String {
    format!("retentiond/{}", hex::encode(store.get(..8).unwrap_or_default()))
}

/// Reads the signing key of a store, and makes one when there is none.
pub(super) fn read_or_make(state_dir: &Path, store: [u8; 16]) -> Result<Zeroizing<String>, SigningKeyError> {
    let path = state_dir.join("tree/signing.key");
    match private_file::read(&path, KEY_BYTES_MAX) {
        Ok(bytes) => {
            let text = std::str::from_utf8(&bytes).map_err(|_| CheckpointError::BadKey)?;
            Ok(Zeroizing::new(text.trim_ascii_end().to_owned()))
        }
        Err(PrivateFileError::Absent) => {
            let mut seed = Zeroizing::new([0; 32]);
            SystemRandom::new().fill(&mut *seed).map_err(|_| SigningKeyError::NoRandomness)?;
            let (signer, _) = keys_of(&seed, &origin(store))?;
            let line = Zeroizing::new(format!("{}\n", *signer));
            durable_file::create_new(&path, line.as_bytes(), "signing key")?;
            tracing::info!("a key that signs checkpoints was made: tree/signing.key; back it up apart from the data");
            Ok(signer)
        }
        Err(error) => Err(error.into()),
    }
}

//! The key that signs checkpoints: in a file of its own beside the tree, apart from the root key.

use std::path::{Path, PathBuf};

use retention_core::event::key::StoreKeys;
use retention_core::evidence::checkpoint::{CheckpointError, keys_of, origin_of, verifier_of};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::flush::FlushGate;
use crate::private_file::{self, PrivateFileError};
use crate::store::Store;
use crate::store::durable_file::{self, DurableFileError, FileAction, keys_flush};
use crate::store::verify::Finding;

const ROLE: &str = "signing key";

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
    /// The configuration calls the log otherwise.
    #[error(
        "[audit] origin says {wanted}, but this log is called {log}, and a log keeps its name: under another one its checkpoints, proofs and witnesses would be those of another log. Nothing was changed; write origin = \"{log}\", or leave it out"
    )]
    Renamed {
        /// What it is called.
        log: String,
        /// What the configuration calls it.
        wanted: String,
    },
    /// It is the key of a log of another name.
    #[error(
        "tree/signing.key is the key of a log that is called {key}, and this one is called {log}; nothing was signed. Put back the key of this log, or move that one away, and a new one is made"
    )]
    OfAnotherLog {
        /// The name in the key.
        key: String,
        /// What the log is called.
        log: String,
    },
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes; no signing key was made")]
    NoRandomness,
}

/// Returns the name of the log of a store: that of its keys and of its checkpoints. One that has no key yet is called as is
/// wanted, or gets a name of its own.
pub(super) fn origin(store: &Store, wanted: Option<&str>) -> String {
    let (name, known) = store.view(|views| {
        let newest = views.small.signing_keys.last();
        (views.small.store, newest.and_then(|key| origin_of(&key.verifier_key).ok()))
    });
    let own = || format!("retentiond/{}", hex::encode(name.get(..8).unwrap_or_default()));
    known.or_else(|| wanted.map(str::to_owned)).unwrap_or_else(own)
}

/// Refuses to call a log otherwise than it is called.
pub(super) fn refuse_another_name(store: &Store, wanted: Option<&str>) -> Result<(), SigningKeyError> {
    let log = origin(store, wanted);
    match wanted {
        Some(wanted) if wanted != log => Err(SigningKeyError::Renamed { log, wanted: wanted.to_owned() }),
        _ => Ok(()),
    }
}

/// Says what is wrong with the key of a store whose log adopted one, or none yet. Nothing is changed: what a change of keys
/// left is no damage, since the next start mends it.
pub(super) fn finding(state_dir: &Path, is_adopted: bool) -> Option<Finding> {
    let paths = Paths::of(state_dir);
    let damaged = |error: &dyn std::fmt::Display| Some(Finding::SigningKeyDamaged(error.to_string()));
    let bytes = match private_file::read(&paths.key, KEY_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(PrivateFileError::Absent) if is_adopted && !paths.new.exists() => return Some(Finding::SigningKeyMissing),
        Err(PrivateFileError::Absent) => return None,
        // Root looks at a store that is not its own.
        Err(PrivateFileError::Owner { .. }) if rustix::process::geteuid().is_root() => return None,
        Err(error) => return damaged(&error),
    };
    let key = std::str::from_utf8(&bytes).map_err(|_| CheckpointError::BadKey);
    key.and_then(|key| verifier_of(key.trim_ascii_end())).err().and_then(|error| damaged(&error))
}

/// Returns the signing key of a store, whose log is called as is wanted when it has no name yet. When a person asked for a
/// new one and the log has not adopted it yet, it is made.
///
/// **Order of a change:** the new key durable beside the old one → the old one renamed away → the new one renamed into
/// place → the old one overwritten and removed → the log adopts the new one, which ends the request. A crash anywhere
/// is mended here, at the next start.
pub(super) fn current(
    store: &Store,
    gate: &dyn FlushGate,
    wanted: Option<&str>,
) -> Result<Zeroizing<String>, SigningKeyError> {
    refuse_another_name(store, wanted)?;
    let log = origin(store, wanted);
    let asked = store.view(|views| views.small.keys.asked(StoreKeys::Signing));
    let paths = Paths::of(store.dir());
    paths.mend(gate)?;
    let signer = read_or_make(&paths.key, &log)?;
    let verifier = verifier_of(&signer)?;
    let key = origin_of(&verifier)?;
    if key != log {
        return Err(SigningKeyError::OfAnotherLog { key, log });
    }
    // One that the log never knew was made before a crash, or put there by hand: it is the new one. An older one that
    // was put back is what somebody wanted to get away from.
    let is_known = store.view(|views| views.small.signing_keys.iter().any(|known| known.verifier_key == verifier));
    if asked.is_none() || !is_known {
        return Ok(signer);
    }
    let signer = fresh(&log)?;
    let line = Zeroizing::new(format!("{}\n", *signer));
    keys_flush(gate, ROLE, || durable_file::create_new(&paths.new, line.as_bytes(), ROLE))?;
    keys_flush(gate, ROLE, || paths.rename(&paths.key, &paths.old))?;
    keys_flush(gate, ROLE, || paths.rename(&paths.new, &paths.key))?;
    paths.mend(gate)?;
    tracing::info!("a new key that signs checkpoints was made: tree/signing.key; back it up apart from the data");
    Ok(signer)
}

fn read_or_make(path: &Path, log: &str) -> Result<Zeroizing<String>, SigningKeyError> {
    match private_file::read(path, KEY_BYTES_MAX) {
        Ok(bytes) => {
            let text = std::str::from_utf8(&bytes).map_err(|_| CheckpointError::BadKey)?;
            Ok(Zeroizing::new(text.trim_ascii_end().to_owned()))
        }
        Err(PrivateFileError::Absent) => {
            let signer = fresh(log)?;
            let line = Zeroizing::new(format!("{}\n", *signer));
            durable_file::create_new(path, line.as_bytes(), ROLE)?;
            tracing::info!("a key that signs checkpoints was made: tree/signing.key; back it up apart from the data");
            Ok(signer)
        }
        Err(error) => Err(error.into()),
    }
}

fn fresh(log: &str) -> Result<Zeroizing<String>, SigningKeyError> {
    let mut seed = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut *seed).map_err(|_| SigningKeyError::NoRandomness)?;
    Ok(keys_of(&seed, log)?.0)
}

/// Where the key lies, and where it and the one before it lie while it is changed.
struct Paths {
    dir: PathBuf,
    key: PathBuf,
    new: PathBuf,
    old: PathBuf,
}

impl Paths {
    fn of(state_dir: &Path) -> Self {
        let dir = state_dir.join("tree");
        let key = dir.join("signing.key");
        let (new, old) = (durable_file::beside(&key, ".new"), durable_file::beside(&key, ".old"));
        Self { dir, key, new, old }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DurableFileError> {
        std::fs::rename(from, to).map_err(durable_file::failed(ROLE, FileAction::Rename))?;
        durable_file::fsync_dir(&self.dir, ROLE)
    }

    /// Ends a change that was begun, or forgets one whose key is not in place: it was told to nobody.
    fn mend(&self, gate: &dyn FlushGate) -> Result<(), DurableFileError> {
        if self.new.exists() {
            match self.key.exists() {
                true => keys_flush(gate, ROLE, || self.discard(&self.new))?,
                false => keys_flush(gate, ROLE, || self.rename(&self.new, &self.key))?,
            }
        }
        if self.old.exists() {
            keys_flush(gate, ROLE, || self.discard(&self.old))?;
        }
        Ok(())
    }

    fn discard(&self, path: &Path) -> Result<(), DurableFileError> {
        durable_file::discard(path, ROLE)?;
        durable_file::fsync_dir(&self.dir, ROLE)
    }
}

#[cfg(test)]
mod tests;

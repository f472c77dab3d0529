//! Rotating the wrapping keys: every live data key is wrapped anew, and the old files are overwritten.
//!
//! An old image of a slot (on flash, in a snapshot, in a copy that somebody kept) opens only with the wrapping key of
//! its epoch. That key is gone after this, but for copies of `wrapping.a` from before, and for what the file system has
//! not used again of those that were replaced while the store grew.
//!
//! **Order:** `keys.new/` whole and durable, with a file `complete` in it → `keys` renamed to `keys.old` → `keys.new`
//! renamed to `keys` → `keys.old` overwritten and removed. A crash anywhere is mended at the next opening, before
//! anything else.

use std::path::Path;

use roaring::RoaringBitmap;

use super::{RootKey, rewrap};
use crate::flush::{FlushGate, OpenGate};
use crate::store::durable_file::{self, DurableFileError, FileAction, keys_flush};
use crate::store::{OpenError, Options, Progress};

const ROLE: &str = "directory of keys";
const COMPLETE: &str = "complete";

/// Rotates the keys of a store that nobody has open. Slots below `used` are kept as they are, live, destroyed or
/// retired; but the log calls the keys of `destroyed` so, and one of them that is live, as an older copy of the keys
/// brings it back, is destroyed.
///
/// # Errors
/// When a slot is damaged, it was asked to stop, or a file cannot be written. The old keys are in place then, or are
/// put in place at the next opening.
pub fn rotate(
    options: &Options,
    used: u32,
    destroyed: &RoaringBitmap,
    progress: Progress<'_>,
) -> Result<(), OpenError> {
    let (store, gate) = (options.dir.as_path(), options.gate.as_ref());
    let (keys, new) = (store.join("keys"), store.join("keys.new"));
    let root = RootKey::read(&options.root_key)?;
    keys_flush(gate, ROLE, || durable_file::create_private_dir(&new, ROLE))?;
    let mut were_there = 0;
    keys_flush(gate, ROLE, || -> Result<(), OpenError> {
        were_there = rewrap::rewrap(&keys, &new, root, used, destroyed, &options.halt, progress)?;
        Ok(())
    })?;
    if were_there > 0 {
        tracing::warn!(keys = were_there, "keys that the log calls destroyed were there again, and are destroyed now");
    }
    keys_flush(gate, ROLE, || durable_file::create_new(&new.join(COMPLETE), b"", ROLE))?;
    Ok(mend_gated(store, gate)?)
}

/// Ends a rotation that was begun, or forgets one that was not complete.
///
/// # Errors
/// When a file cannot be renamed or removed; the next opening tries again.
pub fn mend(store: &Path) -> Result<(), DurableFileError> {
    mend_gated(store, &OpenGate)
}

fn mend_gated(store: &Path, gate: &dyn FlushGate) -> Result<(), DurableFileError> {
    let (keys, new, old) = (store.join("keys"), store.join("keys.new"), store.join("keys.old"));
    let is_complete = new.join(COMPLETE).exists();
    // Not of a rotation: somebody took the keys away. Whatever else is there may be the only ones.
    if !keys.is_dir() && old.is_dir() && !is_complete {
        keys_flush(gate, ROLE, || rename(&old, &keys, store))?;
    }
    if new.is_dir() && !is_complete && keys.is_dir() {
        durable_file::discard_dir(&new, ROLE)?;
    }
    if is_complete {
        if keys.is_dir() {
            keys_flush(gate, ROLE, || rename(&keys, &old, store))?;
        }
        keys_flush(gate, ROLE, || rename(&new, &keys, store))?;
    }
    if old.is_dir() && keys.is_dir() {
        keys_flush(gate, ROLE, || durable_file::discard_dir(&old, ROLE))?;
    }
    let mark = keys.join(COMPLETE);
    if !mark.exists() {
        // Where nothing can be written, not even what is not there can be removed.
        return Ok(());
    }
    match std::fs::remove_file(mark) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(durable_file::failed("mark of a complete rotation in the directory of keys", FileAction::Remove)(error))
        }
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path, parent: &Path) -> Result<(), DurableFileError> {
    std::fs::rename(from, to).map_err(durable_file::failed(ROLE, FileAction::Rename))?;
    durable_file::fsync_dir(parent, ROLE)
}

//! What lies in the exports directory: finds, lists and removes bundles, and recognises what a crash left.

use std::fs::ReadDir;
use std::io;
use std::path::Path;

use retention_core::id::Digest;

use super::durable::{rename_new, sync_directory};
use super::known::Known;
use super::name::Entry;
use super::{ArchiveError, BundleName, Probe};
use crate::connector::outcome::{Cause, Outcome};

fn read_root(root: &Path) -> Result<ReadDir, ArchiveError> {
    std::fs::read_dir(root).map_err(ArchiveError::io("read the exports directory"))
}

/// Every entry with its name as text; names that are no UTF-8 are foreign.
fn entries(root: &Path) -> Result<impl Iterator<Item = Result<(Entry, String), ArchiveError>> + use<>, ArchiveError> {
    Ok(read_root(root)?.map(|entry| {
        let entry = entry.map_err(ArchiveError::io("read the exports directory"))?;
        let name = entry.file_name().into_string().unwrap_or_default();
        Ok((Entry::of(&name), name))
    }))
}

/// Returns the names of all bundles, in no order, one at a time.
///
/// # Errors
/// Says why the directory cannot be read.
pub fn list(root: &Path) -> Result<impl Iterator<Item = Result<BundleName, ArchiveError>> + use<>, ArchiveError> {
    Ok(entries(root)?.filter_map(|entry| match entry {
        Ok((Entry::Bundle(name), _)) => Some(Ok(name)),
        Ok((Entry::Partial(_) | Entry::Removing | Entry::Foreign, _)) => None,
        Err(error) => Some(Err(error)),
    }))
}

/// Finds out what attempts with a key left behind. A bundle that is found is durable when this returns.
///
/// It asks about the manifest of every bundle, so it is for recovery, not for every export. A bundle whose manifest cannot
/// be used counts as absent: the export is then written again, and the damaged bundle stays for people to look at.
///
/// # Errors
/// Says why nobody can tell.
pub(super) fn probe(root: &Path, known: &Known, idempotency_key: Digest) -> Result<Probe, ArchiveError> {
    if let Some(bundle) = known.find(root, |key, _| key == idempotency_key)? {
        sync_directory(root).map_err(ArchiveError::io("make the exports directory durable"))?;
        return Ok(Probe::Finished(bundle));
    }
    for entry in entries(root)? {
        if entry?.0 == Entry::Partial(idempotency_key) {
            return Ok(Probe::Partial);
        }
    }
    Ok(Probe::Absent)
}

/// Removes what attempts with a key left unfinished.
pub(super) fn remove_partial(root: &Path, idempotency_key: Digest) -> Result<(), ArchiveError> {
    remove_all(root, |entry| *entry == Entry::Partial(idempotency_key)).map(drop)
}

/// Removes what attempts with a key left unfinished, and what interrupted removals left of any bundle.
pub(super) fn discard(root: &Path, idempotency_key: Digest) -> Outcome<()> {
    let is_left = |entry: &Entry| matches!(entry, Entry::Removing) || *entry == Entry::Partial(idempotency_key);
    remove_all(root, is_left).map_or_else(|error| Outcome::Refused(error.refusal()), |_| Outcome::Applied(()))
}

/// Removes every unfinished bundle and every bundle whose removal was interrupted, and returns how many.
///
/// Only for a time when nothing is being written.
///
/// # Errors
/// Says what could not be removed.
pub fn sweep(root: &Path) -> Result<u64, ArchiveError> {
    remove_all(root, |entry| matches!(entry, Entry::Partial(_) | Entry::Removing))
}

fn remove_all(root: &Path, is_left: impl Fn(&Entry) -> bool) -> Result<u64, ArchiveError> {
    let mut removed = 0;
    for entry in entries(root)? {
        let (entry, name) = entry?;
        if is_left(&entry) {
            match std::fs::remove_dir_all(root.join(name)) {
                Ok(()) => {}
                // A saga beside this one was just removing its bundle.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(ArchiveError::io("remove an unfinished bundle")(error)),
            }
            removed += 1;
        }
    }
    if removed > 0 {
        sync_directory(root).map_err(ArchiveError::io("make the exports directory durable"))?;
    }
    Ok(removed)
}

/// Removes a bundle: hidden at once by a rename, then removed. A bundle that is not there is removed already.
pub fn remove(root: &Path, name: &BundleName) -> Outcome<()> {
    let (visible, hidden) = (root.join(name.as_str()), root.join(name.removing()));
    match rename_new(&visible, &hidden) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return remove_again(root, name),
        Err(error) => return refused(error),
    }
    // After the rename nobody sees the bundle, so what fails from here on is finished by a probe, a sweep or a
    // repetition.
    match std::fs::remove_dir_all(&hidden) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => return Outcome::Unknown(Cause { code: "bundle_half_removed" }),
    }
    match sync_directory(root) {
        Ok(()) => Outcome::Applied(()),
        Err(_) => Outcome::Unknown(Cause { code: "removal_not_durable" }),
    }
}

/// An interrupted removal of a bundle of the same name is in the way: finish it first.
fn remove_again(root: &Path, name: &BundleName) -> Outcome<()> {
    let hidden = root.join(name.removing());
    match std::fs::remove_dir_all(&hidden) {
        Ok(()) => remove(root, name),
        // A saga beside this one discarded it first.
        Err(error) if error.kind() == io::ErrorKind::NotFound => remove(root, name),
        Err(error) => refused(error),
    }
}

fn refused(source: io::Error) -> Outcome<()> {
    Outcome::Refused(ArchiveError::Io { doing: "remove a bundle", source }.refusal())
}

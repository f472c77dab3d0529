//! Holding the store against its backups: checkpoints are kept for ever, so those that a backup has are the first of those
//! that the store has.

use std::collections::BTreeMap;
use std::path::Path;

use retention_core::id::{Digest, Position};

use super::{BackupError, Manifest, Places, digest_of};
use crate::halt::Halt;
use crate::store::durable_file::{self, FileAction};

/// Returns the newest backup that is there, of those that a log tells of, if the store lost checkpoints that this backup
/// has. Nothing is said of a store without a file of checkpoints: that is another finding.
///
/// The manifest names them, and the log has its SHA-256; so nothing else of the backup is read, and who changes one there
/// is believed nothing.
///
/// # Errors
/// When a manifest or the checkpoints cannot be read, or it was asked to stop.
pub fn lost_checkpoints(
    store: &Path,
    places: &Places,
    told: &BTreeMap<Position, Digest>,
    halt: &Halt,
) -> Result<Option<Position>, BackupError> {
    let path = store.join("tree/checkpoints");
    let length = match std::fs::metadata(&path) {
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(durable_file::failed("checkpoints of the tree", FileAction::Read)(error).into()),
    };
    for (last, digest) in told.iter().rev() {
        let Some(manifest) = Manifest::told_of(places, *last, *digest)? else { continue };
        let Some(part) = &manifest.checkpoints else { continue };
        let is_there = part.bytes <= length && digest_of(&path, part.bytes, halt)? == part.sha256;
        return Ok((!is_there).then_some(*last));
    }
    Ok(None)
}

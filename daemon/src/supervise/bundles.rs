//! Looking at bundles again, long after they were written.

use retention_core::control::{ErrorBody, ErrorCode, Line, PartRow, PartState};
use retention_core::id::Digest;

use crate::connector::archive::{ArchiveError, Bundle, DiskArchive, ExportTarget as _, VerifyError};
use crate::control::Sink;
use crate::halt::Halt;

/// What was not looked at.
const SEALED: &str = "the bundle is encrypted: each of its files is byte for byte what was written, as its manifest says; what \
    stands in them can be seen by its keyholders alone (retentionctl export verify DIRECTORY --identity KEY)";

/// Finds the bundle of a manifest, which the log knows, and reads it back from disk.
///
/// # Errors
/// When the daemon is ending; that the bundle is not there, or what is wrong with it, is told in its row.
pub(super) fn verify(archive: &DiskArchive, manifest: Digest, halt: &Halt, sink: Sink<'_>) -> Result<(), ErrorBody> {
    let found = find(archive, manifest).map_err(|unreadable| unreadable.message);
    let not_there = || "no bundle in the exports directory has this manifest: moved, or changed".to_owned();
    let name = match found.and_then(|bundle| bundle.ok_or_else(not_there)) {
        Ok(bundle) => bundle.name,
        Err(why) => {
            tell(sink, missing(why));
            return Ok(());
        }
    };
    let verified = archive.verify_recorded(&name, manifest);
    if verified.is_err() && halt.is_asked() {
        return Err(ErrorBody::of(ErrorCode::Stopping));
    }
    let row = match verified {
        Ok(verified) => PartRow {
            message: verified.is_sealed.then(|| SEALED.to_owned()),
            ..part("bundle", PartState::Intact, verified.items, None)
        },
        Err(error @ VerifyError::FileMissing { .. }) => part("bundle", PartState::Missing, 0, Some(&error)),
        Err(error) => part("bundle", PartState::Damaged, 0, Some(&error)),
    };
    tell(sink, row);
    Ok(())
}

fn tell(sink: Sink<'_>, row: PartRow) {
    let _audience = sink(Line::Row(row));
}

/// A bundle of the log that cannot be found.
fn missing(message: String) -> PartRow {
    PartRow {
        part: "bundle".to_owned(),
        state: PartState::Missing,
        checked: 0,
        code: Some("bundle_missing".to_owned()),
        message: Some(message),
    }
}

fn part(name: &str, state: PartState, checked: u64, error: Option<&VerifyError>) -> PartRow {
    PartRow {
        part: name.to_owned(),
        state,
        checked,
        code: error.map(|error| error.code().to_owned()),
        message: error.map(VerifyError::to_string),
    }
}

/// Finds the bundle of a manifest.
///
/// # Errors
/// When the exports directory cannot be read.
pub(super) fn find(archive: &DiskArchive, manifest: Digest) -> Result<Option<Bundle>, ErrorBody> {
    archive.find(manifest).map_err(|error| {
        let why = match error {
            ArchiveError::Io { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        ErrorBody::saying(ErrorCode::Internal, format!("the exports directory cannot be read: {why}"))
    })
}

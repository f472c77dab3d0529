//! Looking at bundles again, long after they were written.

use std::path::Path;

use retention_core::control::{ErrorBody, ErrorCode, Line, PartRow, PartState};
use retention_core::id::Digest;

use crate::connector::archive::{self, ArchiveError, BundleName, VerifyError};
use crate::control::Sink;
use crate::halt::Halt;

/// Finds the bundle of a manifest and reads it back from disk.
///
/// # Errors
/// When there is no such bundle, the exports cannot be read, or the daemon is ending; what is wrong with a bundle is
/// told in its row.
pub(super) fn verify(exports: &Path, manifest: Digest, halt: &Halt, sink: Sink<'_>) -> Result<(), ErrorBody> {
    let name = find(exports, manifest)?.ok_or_else(|| {
        ErrorBody::saying(ErrorCode::NotFound, "there is no bundle with this manifest in the exports directory")
            .hint("it may have been moved or its manifest may have been changed; `retentionctl export list` shows what should be there")
    })?;
    let verified = archive::verify_recorded(exports, &name, manifest, halt);
    if verified.is_err() && halt.is_asked() {
        return Err(ErrorBody::of(ErrorCode::Stopping));
    }
    let row = match verified {
        Ok(verified) => part("bundle", PartState::Intact, verified.items, None),
        Err(error @ VerifyError::FileMissing { .. }) => part("bundle", PartState::Missing, 0, Some(&error)),
        Err(error) => part("bundle", PartState::Damaged, 0, Some(&error)),
    };
    let _audience = sink(Line::Row(row));
    Ok(())
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
pub(super) fn find(exports: &Path, manifest: Digest) -> Result<Option<BundleName>, ErrorBody> {
    let unreadable = |error: ArchiveError| ErrorBody::saying(ErrorCode::Internal, error.to_string());
    for name in archive::list(exports).map_err(unreadable)? {
        let name = name.map_err(unreadable)?;
        // A bundle whose manifest cannot be read is not the one that is looked for, or is damaged beyond recognition.
        if archive::read_manifest(exports, &name).is_ok_and(|(_, digest)| digest == manifest) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

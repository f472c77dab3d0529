//! Reads manifests from disk: outside data, so bounded and checked.

use std::io::Read;
use std::path::Path;

use retention_core::evidence::manifest::MANIFEST_BYTES_MAX;
use retention_core::evidence::{ExportManifest, ManifestError};
use retention_core::id::Digest;

use super::durable::open_cold;
use super::{ArchiveError, BundleName, MANIFEST_FILE};

/// Reads the manifest of a bundle, and its digest.
///
/// # Errors
/// Says why it cannot be used.
pub fn read_manifest(root: &Path, name: &BundleName) -> Result<(ExportManifest, Digest), ArchiveError> {
    let bytes = read_manifest_bytes(&root.join(name.as_str()))?;
    Ok((ExportManifest::parse(&bytes)?, Digest::of(&bytes)))
}

/// Reads at most one byte more than a manifest may have.
pub(super) fn read_manifest_bytes(directory: &Path) -> Result<Vec<u8>, ArchiveError> {
    let file = open_cold(&directory.join(MANIFEST_FILE)).map_err(ArchiveError::io("open a manifest"))?;
    let mut bytes = Vec::new();
    file.take(MANIFEST_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(ArchiveError::io("read a manifest"))?;
    if bytes.len() > MANIFEST_BYTES_MAX { Err(ManifestError::TooLarge.into()) } else { Ok(bytes) }
}

//! A manifest of a bundle: what is accepted stands there byte for byte as an export writes it, and leads out of no directory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retention_core::evidence::ExportManifest;
use retention_core::evidence::manifest::{FILES_MAX, MANIFEST_BYTES_MAX};
use retention_fuzz::assert_plain;

fuzz_target!(|bytes: &[u8]| {
    match ExportManifest::parse(bytes) {
        Ok(manifest) => {
            assert!(bytes.len() <= MANIFEST_BYTES_MAX && manifest.files.len() <= FILES_MAX);
            assert_eq!(manifest.to_bytes().as_deref(), Ok(bytes));
            assert!(manifest.files.iter().all(|file| !file.name.contains('/') && !file.name.starts_with('.')));
            assert!(manifest.files.iter().all(|file| manifest.file(&file.name) == Some(file)));
            let _total = manifest.file_bytes();
        }
        Err(error) => assert_plain(&error.to_string()),
    }
});

//! What proves a disposition: the canonical line of every exported item and the manifest that lists them, and the tree
//! over the log with its signed checkpoints.
//!
//! Pure: the archive writes these bytes, a verification reads them back, and whoever holds the log can make them again.

pub mod bundle;
pub mod certificate;
pub mod checkpoint;
pub mod cosignature;
pub mod growth;
pub mod item;
mod json;
pub mod manifest;
pub mod proof;
pub mod tiles;
pub mod tree;

pub use crate::policy::{CsvProfile, ExportFormat};
pub use item::{ExpectedItem, ExportItem, ExportLayout, ItemHead, ItemLine, ItemLineError, ParsedItem};
pub use manifest::{ExportManifest, FileEntry, KindCount, ManifestError};

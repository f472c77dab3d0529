//! Not yet.

/// Files that are whole after any crash.
pub mod durable_file;

/// The data keys.
pub mod vault;

/// Blocks of bytes in sled.
pub mod sled_door;

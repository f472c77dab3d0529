//! One growing file with fdatasync: the least that a durable append can cost.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use crate::Outcome;
use crate::figure::Stopwatch;

/// A file that grows.
pub(crate) struct GrowingFile {
    file: File,
    bytes: Vec<u8>,
}

impl GrowingFile {
    /// Makes it; each append will write so many bytes.
    pub(crate) fn create(path: &Path, bytes: usize) -> Outcome<Self> {
        Ok(Self { file: OpenOptions::new().create_new(true).append(true).open(path)?, bytes: vec![0xa5; bytes] })
    }

    /// Appends once, durably. Returns the milliseconds that took.
    pub(crate) fn append(&mut self) -> Outcome<f64> {
        let watch = Stopwatch::start();
        self.file.write_all(&self.bytes)?;
        self.file.sync_data()?;
        Ok(watch.seconds() * 1_000.0)
    }
}

//! What the fuzz targets share.

use std::path::PathBuf;

/// Takes numbers from the front of an input, so that the rest of it stays what a reader is given.
#[derive(Debug)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// Takes one byte; nought when there is none left.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Takes a number of two bytes, the low one first.
    pub fn number(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// Takes up to so many bytes.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Takes one of several.
    pub fn one_of<T: Copy>(&mut self, several: &[T]) -> T {
        several[usize::from(self.byte()) % several.len()]
    }
}

/// Asserts that a message is fit for a terminal and a log line: short, and without control characters.
pub fn assert_plain(message: &str) {
    assert!(message.len() < 4096, "a message of {} bytes", message.len());
    assert!(!message.chars().any(char::is_control), "a control character in {message:?}");
}

/// Returns a directory of this process alone, for readers that take a path. `run.sh` removes what is above it.
pub fn scratch() -> PathBuf {
    let above = std::env::var_os("FUZZ_SCRATCH").map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = above.join(format!("retention-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a scratch directory");
    directory
}

//! What stands around every flush, so that tests can stop the world at each of them.

use std::io;

/// Is asked before and after every flush; an error stands for a crash at this point.
pub trait FlushGate: Send + Sync {
    /// Called before data is flushed.
    ///
    /// # Errors
    /// Only tests return one.
    fn before(&self, what: Flush) -> io::Result<()>;

    /// Called after data was flushed.
    ///
    /// # Errors
    /// Only tests return one.
    fn after(&self, what: Flush) -> io::Result<()>;
}

/// What is flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flush {
    /// A group of the journal.
    Journal,
    /// Key slots that were filled ahead of need, by a thread of their own.
    Fill,
    /// Key slots that are destroyed.
    Destroy,
    /// A part of an export bundle.
    Export,
    /// Files of keys, and their names, while keys are rotated.
    Keys,
    /// Hashes of the tree over the log.
    Hashes,
    /// A signed checkpoint of the log.
    Checkpoint,
}

/// Lets every flush through.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenGate;

impl FlushGate for OpenGate {
    fn before(&self, _what: Flush) -> io::Result<()> {
        Ok(())
    }

    fn after(&self, _what: Flush) -> io::Result<()> {
        Ok(())
    }
}

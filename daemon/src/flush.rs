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
    /// What witnesses signed over a checkpoint.
    Cosignature,
    /// Lines of the ledger of erasures.
    Ledger,
    /// A file of a backup, or its name.
    Backup,
    /// A checkpoint in a file elsewhere, or its name.
    Published,
}

/// Which gate stands around flushes, and what they are of.
pub type Door<'a> = (&'a dyn FlushGate, Flush);

/// Makes something durable, with the gate around it.
///
/// # Errors
/// When it cannot be made durable. Nobody knows then what the device holds.
pub fn through((gate, what): Door<'_>, flush: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    gate.before(what)?;
    flush()?;
    gate.after(what)
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

#[cfg(test)]
pub(crate) mod failing;

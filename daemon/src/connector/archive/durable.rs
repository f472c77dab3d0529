//! Files and directories that only we can read, hashed while they are written, durable when they are finished.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use retention_core::id::Digest;
use rustix::fs::{Advice, CWD, OFlags, RenameFlags};
use sha2::{Digest as _, Sha256};

use crate::flush::{Flush, FlushGate};
use crate::halt::Halt;

/// How much is gathered before it is hashed and written: large enough that system calls do not matter, small enough
/// that a bundle of a dozen files stays below a few MiB of memory.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;

/// Makes a directory with mode 0700.
pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Makes the entries of a directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Renames without ever replacing what is there.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(io::Error::from)
}

/// Opens a regular file for reading, past the page cache where the system allows; a symbolic link is refused.
pub(super) fn open_cold(path: &Path) -> io::Result<File> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
    }
    // Advice only: a file system that cannot drop its pages is read from memory.
    let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
    let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
    Ok(file)
}

/// The gate around what makes a bundle durable, and whether it has refused: that stands for a crash, after which nobody
/// tidies up.
pub(super) struct Passage {
    gate: Arc<dyn FlushGate>,
    is_shut: AtomicBool,
}

impl Passage {
    pub(super) fn through(gate: Arc<dyn FlushGate>) -> Arc<Self> {
        Arc::new(Self { gate, is_shut: AtomicBool::new(false) })
    }

    /// Makes something durable.
    pub(super) fn pass<T>(&self, flush: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let note = |_: &io::Error| self.is_shut.store(true, Ordering::Relaxed);
        self.gate.before(Flush::Export).inspect_err(note)?;
        let done = flush()?;
        self.gate.after(Flush::Export).inspect_err(note)?;
        Ok(done)
    }

    pub(super) fn is_shut(&self) -> bool {
        self.is_shut.load(Ordering::Relaxed)
    }
}

/// When the files of a bundle are made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durable {
    /// Each when it is finished.
    OneByOne,
    /// All at the end, by one call for their file system: of thousands of small files none is waited for alone.
    Together,
}

/// The directory of a bundle that is being written.
#[derive(Clone)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    pub(super) passage: Arc<Passage>,
    pub(super) durable: Durable,
    /// Open since before the first file: a write that fails from then on is told here, whoever else flushes meanwhile.
    opened: Arc<File>,
}

impl Directory {
    /// Opens it, before anything is in it.
    pub(super) fn open(path: PathBuf, passage: Arc<Passage>, durable: Durable) -> io::Result<Self> {
        let opened = Arc::new(File::open(&path)?);
        Ok(Self { path, passage, durable, opened })
    }

    /// Makes a new file in it.
    pub(super) fn file(&self, name: &str) -> io::Result<HashedFile> {
        HashedFile::create(&self.path.join(name), Arc::clone(&self.passage), self.durable)
    }

    /// Makes the names of its files durable, and the files if they are not yet.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.passage.pass(|| match self.durable {
            Durable::OneByOne => self.opened.sync_all(),
            Durable::Together => Ok(rustix::fs::syncfs(&*self.opened)?),
        })
    }
}

/// Makes a new file with mode 0600.
pub(super) fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// A new file with mode 0600 that is hashed while it is written.
pub(super) struct HashedFile {
    file: File,
    passage: Arc<Passage>,
    durable: Durable,
    buffer: Vec<u8>,
    hash: Sha256,
    bytes: u64,
}

/// What a finished file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Finished {
    pub(super) bytes: u64,
    pub(super) sha256: Digest,
}

impl HashedFile {
    fn create(path: &Path, passage: Arc<Passage>, durable: Durable) -> io::Result<Self> {
        let file = create_file(path)?;
        let buffer = Vec::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 4);
        Ok(Self { file, passage, durable, buffer, hash: Sha256::new(), bytes: 0 })
    }

    /// Returns where the next bytes go. What is there already must not be changed.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Returns how many bytes were handed over so far.
    pub(super) fn position(&self) -> u64 {
        self.bytes + self.buffer.len() as u64
    }

    /// Passes the buffer on once it is full.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        if self.buffer.len() >= BUFFER_BYTES { self.write_buffer() } else { Ok(()) }
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        self.hash.update(&self.buffer);
        self.file.write_all(&self.buffer)?;
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Passes on what is left, without waiting for the disk.
    pub(super) fn close(mut self) -> io::Result<()> {
        self.write_buffer()
    }

    /// Passes on what is left, and waits for the disk unless that is done for all files together.
    pub(super) fn finish(mut self) -> io::Result<Finished> {
        let passage = Arc::clone(&self.passage);
        match self.durable {
            Durable::OneByOne => passage.pass(|| {
                self.write_buffer()?;
                self.file.sync_all()
            })?,
            Durable::Together => self.write_buffer()?,
        }
        Ok(Finished { bytes: self.bytes, sha256: Digest(self.hash.finalize().into()) })
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        self.drain()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader that hashes and counts what passes, until it is asked to stop.
pub(super) struct HashedReader<'a, R> {
    inner: R,
    halt: &'a Halt,
    hash: Sha256,
    bytes: u64,
}

impl<'a, R: Read> HashedReader<'a, R> {
    pub(super) fn over(inner: R, halt: &'a Halt) -> Self {
        Self { inner, halt, hash: Sha256::new(), bytes: 0 }
    }

    pub(super) fn finish(self) -> Finished {
        Finished { bytes: self.bytes, sha256: Digest(self.hash.finalize().into()) }
    }
}

impl<R: Read> Read for HashedReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.halt.check().map_err(io::Error::other)?;
        let count = self.inner.read(buffer)?;
        if let Some(read) = buffer.get(..count) {
            self.hash.update(read);
        }
        self.bytes += count as u64;
        Ok(count)
    }
}

//! Files and directories that only we can read, hashed while they are written, durable when they are finished.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use retention_core::evidence::FileEntry;
use retention_core::evidence::manifest::{ENCRYPTED_SUFFIX, PlainFile};
use retention_core::id::Digest;
use rustix::fs::{Advice, CWD, OFlags, RenameFlags};
use sha2::{Digest as _, Sha256};

use super::encrypted::{Encryption, OutFile};
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
    /// How what its files say of people is encrypted; `None`: it is not.
    pub(super) encryption: Option<Arc<Encryption>>,
    /// Open since before the first file: a write that fails from then on is told here, whoever else flushes meanwhile.
    opened: Arc<File>,
}

impl Directory {
    /// Opens it, before anything is in it.
    pub(super) fn open(
        path: PathBuf,
        passage: Arc<Passage>,
        durable: Durable,
        encryption: Option<Arc<Encryption>>,
    ) -> io::Result<Self> {
        let opened = Arc::new(File::open(&path)?);
        Ok(Self { path, passage, durable, encryption, opened })
    }

    /// Makes a new file in it that says nothing of people.
    pub(super) fn file(&self, name: &str) -> io::Result<HashedFile> {
        OutFile::plain(&self.path.join(name)).map(|out| self.hashed(out))
    }

    /// Makes a new file in it that says something of people: encrypted, and called so, where bundles are.
    pub(super) fn file_of_people(&self, name: &str) -> io::Result<HashedFile> {
        OutFile::of_people(&self.path, name, self.encryption.as_deref()).map(|out| self.hashed(out))
    }

    /// Where [`Self::file_of_people`] makes a file.
    pub(super) fn path_of_people(&self, name: &str) -> PathBuf {
        self.path.join(stored_name(name, self.encryption.is_some()))
    }

    /// Reads a file of [`Self::file_of_people`] again, as it was before it was encrypted.
    pub(super) fn reopen(&self, name: &str) -> io::Result<Box<dyn Read>> {
        let file = File::open(self.path_of_people(name))?;
        match &self.encryption {
            None => Ok(Box::new(file)),
            Some(encryption) => encryption.reopened(file),
        }
    }

    fn hashed(&self, out: OutFile) -> HashedFile {
        HashedFile::over(out, Arc::clone(&self.passage), self.durable)
    }

    /// Makes the names of its files durable, and the files if they are not yet.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.passage.pass(|| match self.durable {
            Durable::OneByOne => self.opened.sync_all(),
            Durable::Together => Ok(rustix::fs::syncfs(&*self.opened)?),
        })
    }
}

/// Returns the name under which a file lies there.
pub(super) fn stored_name(name: &str, is_encrypted: bool) -> String {
    format!("{name}{}", if is_encrypted { ENCRYPTED_SUFFIX } else { "" })
}

/// Makes a new file with mode 0600.
pub(super) fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// A new file with mode 0600 that is hashed while it is written, before and after it is encrypted.
pub(super) struct HashedFile {
    out: OutFile,
    passage: Arc<Passage>,
    durable: Durable,
    buffer: Vec<u8>,
    hash: Sha256,
    bytes: u64,
}

/// What a finished file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Finished {
    /// As it lies there.
    pub(super) bytes: u64,
    /// As it lies there.
    pub(super) sha256: Digest,
    /// What it is once it is decrypted.
    pub(super) plain: Option<PlainFile>,
}

impl Finished {
    /// Returns its line of the manifest, as far as every file has one.
    pub(super) fn entry(self, plain_name: &str) -> FileEntry {
        let Self { bytes, sha256, plain } = self;
        let name = stored_name(plain_name, plain.is_some());
        FileEntry { name, bytes, sha256, plain, kind: None, rows: None, derived_rows: 0, cut_cells: 0 }
    }
}

impl HashedFile {
    fn over(out: OutFile, passage: Arc<Passage>, durable: Durable) -> Self {
        // Most files of a small bundle are small, and what is freed is wiped to its last byte.
        Self { out, passage, durable, buffer: Vec::new(), hash: Sha256::new(), bytes: 0 }
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
        self.out.write_all(&self.buffer)?;
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Passes on what is left, without waiting for the disk.
    pub(super) fn close(mut self) -> io::Result<()> {
        self.write_buffer()?;
        self.out.finish().map(drop)
    }

    /// Passes on what is left, and waits for the disk unless that is done for all files together.
    pub(super) fn finish(mut self) -> io::Result<Finished> {
        let (passage, durable) = (Arc::clone(&self.passage), self.durable);
        let finish = || {
            self.write_buffer()?;
            let (file, encrypted) = self.out.finish()?;
            if durable == Durable::OneByOne {
                file.sync_all()?;
            }
            let plain = PlainFile { bytes: self.bytes, sha256: Digest(self.hash.finalize().into()) };
            Ok(match encrypted {
                Some(stored) => Finished { plain: Some(plain), ..stored },
                None => Finished { bytes: plain.bytes, sha256: plain.sha256, plain: None },
            })
        };
        match durable {
            Durable::OneByOne => passage.pass(finish),
            Durable::Together => finish(),
        }
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

    /// Says what was read until now.
    pub(super) fn finish(&self) -> Finished {
        Finished { bytes: self.bytes, sha256: Digest(self.hash.clone().finalize().into()), plain: None }
    }

    /// Reads what is left, and says what all of it was.
    pub(super) fn exhaust(&mut self) -> io::Result<Finished> {
        io::copy(self, &mut io::sink())?;
        Ok(self.finish())
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

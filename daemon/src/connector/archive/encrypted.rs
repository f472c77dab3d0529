//! Files of a bundle that its keyholders alone can read, and, until it was read back, whoever wrote it.
//!
//! What is encrypted goes through memory alone: nothing of it is ever on a disk in the clear, not for a moment.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;

use age::stream::{StreamReader, StreamWriter};
use parking_lot::Mutex;
use retention_core::evidence::manifest::PlainFile;
use retention_core::policy::AgeRecipient;

use super::ArchiveError;
use super::durable::{BUFFER_BYTES, Finished, HashedReader, create_file, stored_name};
use crate::halt::Halt;
use crate::keyholders::{HashedWriter, Keyholders, OneTimeKey};

/// To whom a bundle is encrypted.
#[derive(Clone)]
pub struct Encryption {
    recipients: Vec<AgeRecipient>,
    keys: Keyholders,
    own: Arc<OneTimeKey>,
}

impl Encryption {
    /// Encrypts to these, and to a key of its own with which the bundle is read back.
    ///
    /// # Errors
    /// When one is no key, or nobody is named.
    pub fn to(recipients: impl IntoIterator<Item = AgeRecipient>) -> Result<Self, ArchiveError> {
        let recipients: Vec<AgeRecipient> = recipients.into_iter().collect();
        let own = Arc::new(OneTimeKey::generate());
        let keys = Keyholders::with_own(&own, &recipients).map_err(|_| ArchiveError::Recipients)?;
        if recipients.is_empty() { Err(ArchiveError::Recipients) } else { Ok(Self { recipients, keys, own }) }
    }

    /// Returns those for whom it is.
    #[must_use]
    pub fn recipients(&self) -> &[AgeRecipient] {
        &self.recipients
    }

    /// Reads what was encrypted.
    pub(super) fn reopened(&self, file: File) -> io::Result<Box<dyn Read>> {
        let plain = self.own.decrypt(BufReader::with_capacity(BUFFER_BYTES, file))?;
        Ok(Box::new(plain.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?))
    }

    /// Returns the key with which the bundle is read back. It is gone when nobody has it any more.
    #[must_use]
    pub fn own_key(&self) -> Arc<OneTimeKey> {
        Arc::clone(&self.own)
    }
}

/// A file that is written, encrypted or not.
pub(super) enum OutFile {
    /// As it is.
    Plain(File),
    /// Encrypted.
    Encrypted(Box<StreamWriter<HashedWriter>>),
}

impl OutFile {
    pub(super) fn plain(path: &Path) -> io::Result<Self> {
        create_file(path).map(Self::Plain)
    }

    /// Makes a file in a directory; encrypted, it is called so.
    pub(super) fn of_people(directory: &Path, name: &str, encryption: Option<&Encryption>) -> io::Result<Self> {
        let file = create_file(&directory.join(stored_name(name, encryption.is_some())))?;
        Ok(match encryption {
            None => Self::Plain(file),
            Some(encryption) => Self::Encrypted(Box::new(encryption.keys.encrypt(HashedWriter::over(file))?)),
        })
    }

    /// Returns the file with all that was written; of an encrypted one also what lies there.
    pub(super) fn finish(self) -> io::Result<(File, Option<Finished>)> {
        match self {
            Self::Plain(file) => Ok((file, None)),
            Self::Encrypted(writer) => {
                let (file, bytes, sha256) = writer.finish()?.finish();
                Ok((file, Some(Finished { bytes, sha256, plain: None })))
            }
        }
    }
}

impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Encrypted(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An encrypted file is not as it was written. It has its name, which is ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be decrypted")]
pub(super) struct NotAsEncrypted(String);

impl NotAsEncrypted {
    /// Returns the name of the file, where this is why it could not be read.
    pub(super) fn why(error: &io::Error) -> Option<&str> {
        Some(&error.get_ref()?.downcast_ref::<Self>()?.0)
    }

    /// No file system says so of a file; that it was changed does.
    fn of(error: io::Error, name: &str) -> io::Error {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::error(name),
            _ => error,
        }
    }

    fn error(name: &str) -> io::Error {
        io::Error::other(Self(name.to_owned()))
    }
}

/// What lies there, shared by what decrypts it and what hashes it.
struct Shared<'a>(Arc<Mutex<HashedReader<'a, File>>>);

impl Read for Shared<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.lock().read(buffer)
    }
}

/// A file that is decrypted while it is read.
pub(super) struct Decrypting<'a> {
    name: String,
    plain: StreamReader<BufReader<Shared<'a>>>,
}

impl Read for Decrypting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.plain.read(buffer).map_err(|error| NotAsEncrypted::of(error, &self.name))
    }
}

/// What stands in a file, as far as it can be read.
pub(super) enum Content<'a> {
    /// As it lies there.
    Stored(HashedReader<'a, File>),
    /// As it was before it was encrypted.
    Decrypted { plain: Box<HashedReader<'a, Decrypting<'a>>>, stored: Arc<Mutex<HashedReader<'a, File>>> },
}

impl<'a> Content<'a> {
    /// Reads a file as it lies there.
    pub(super) fn stored(file: File, halt: &'a Halt) -> Self {
        Self::Stored(HashedReader::over(file, halt))
    }

    /// Decrypts a file of this name.
    pub(super) fn decrypted(file: File, name: &str, key: &OneTimeKey, halt: &'a Halt) -> io::Result<Self> {
        let stored = Arc::new(Mutex::new(HashedReader::over(file, halt)));
        let shared = BufReader::with_capacity(BUFFER_BYTES, Shared(Arc::clone(&stored)));
        let opened = key.decrypt(shared).map_err(|error| NotAsEncrypted::of(error, name))?;
        let plain = opened.ok_or_else(|| NotAsEncrypted::error(name))?;
        let decrypting = Decrypting { name: name.to_owned(), plain };
        Ok(Self::Decrypted { plain: Box::new(HashedReader::over(decrypting, halt)), stored })
    }

    /// Says what was read, once that is everything: as it lies there, and what it is decrypted, if it was.
    pub(super) fn finish(self) -> io::Result<Finished> {
        match self {
            Self::Stored(reader) => Ok(reader.finish()),
            Self::Decrypted { plain, stored } => {
                let Finished { bytes, sha256, .. } = plain.finish();
                let stored = stored.lock().exhaust()?;
                Ok(Finished { plain: Some(PlainFile { bytes, sha256 }), ..stored })
            }
        }
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stored(reader) => reader.read(buffer),
            Self::Decrypted { plain, .. } => plain.read(buffer),
        }
    }
}

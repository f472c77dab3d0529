//! Encryption to whoever is to open something: files of [age](https://age-encryption.org/v1), for its X25519 keys.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, Read, Write};

use age::x25519::{Identity, Recipient};
use retention_core::id::Digest;
use retention_core::policy::AgeRecipient;
use sha2::{Digest as _, Sha256};

/// The most keys that one thing is encrypted to.
pub const KEYS_MAX: usize = 20;

/// Whoever is to open something, by their public keys. Nobody at all means that it is not encrypted.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Keyholders(Vec<Recipient>);

/// These are not the keys of anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// One of them is none.
    #[error("one of the recipients is no public key of age: `age-keygen` prints one, it begins with age1")]
    NoKey,
    /// There are more than [`KEYS_MAX`].
    #[error("it is encrypted to at most {KEYS_MAX} keys")]
    TooMany,
    /// A file holds no private key that this program knows.
    #[error("there is no private key of age in the file: `age-keygen` writes one, it begins with AGE-SECRET-KEY-1")]
    NoIdentity,
}

impl Keyholders {
    /// Reads public keys as age prints them.
    ///
    /// # Errors
    /// When one is none, or there are too many.
    pub fn read<S: AsRef<str>>(keys: &[S]) -> Result<Self, BadKeys> {
        if keys.len() > KEYS_MAX {
            return Err(BadKeys::TooMany);
        }
        let keys = keys.iter().map(|text| text.as_ref().trim().parse().map_err(|_| BadKeys::NoKey));
        keys.collect::<Result<_, _>>().map(Self)
    }

    /// Names those of a policy, and before them the key of whoever reads back what is encrypted.
    ///
    /// # Errors
    /// When one is no key: a policy that names such a one is not read.
    pub fn with_own(own: &OneTimeKey, keys: &[AgeRecipient]) -> Result<Self, BadKeys> {
        let theirs = keys.iter().map(|key| key.as_str().parse().map_err(|_| BadKeys::NoKey));
        std::iter::once(Ok(own.0.to_public())).chain(theirs).collect::<Result<_, _>>().map(Self)
    }

    /// Returns how many they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Says whether nobody is named, so that nothing is encrypted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns a digest by which the same keyholders are known again; `None` of nobody.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        let mut keys: Vec<String> = self.0.iter().map(|key| format!("{key}\n")).collect();
        keys.sort_unstable();
        (!keys.is_empty()).then(|| Digest::of(keys.concat().as_bytes()))
    }

    /// Encrypts what is written into the answer; it has to be finished.
    ///
    /// # Errors
    /// When `into` cannot be written, or nobody is named.
    pub fn encrypt<W: Write>(&self, into: W) -> io::Result<age::stream::StreamWriter<W>> {
        let recipients = self.0.iter().map(|key| key as &dyn age::Recipient);
        age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?.wrap_output(into)
    }
}

/// They are public, but they say who has something, and many at once are of no use to anybody who reads.
impl fmt::Debug for Keyholders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

/// A file into which something is encrypted, counted and hashed as it lies there.
pub(crate) struct HashedWriter {
    file: File,
    bytes: u64,
    hash: Sha256,
}

impl HashedWriter {
    /// Writes into a file in which nothing is yet.
    pub(crate) fn over(file: File) -> Self {
        Self { file, bytes: 0, hash: Sha256::new() }
    }

    /// Returns the file, its length and its SHA-256.
    pub(crate) fn finish(self) -> (File, u64, Digest) {
        (self.file, self.bytes, Digest(self.hash.finalize().into()))
    }
}

impl Write for HashedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A private key that is made for one thing, by whoever writes it and has to read it back. It is in memory alone, is wiped
/// when it is dropped, and opens nothing else: what is lost with it is the proof that it was to give. It has no `Debug`.
pub struct OneTimeKey(Identity);

impl OneTimeKey {
    /// Makes one.
    #[must_use]
    pub fn generate() -> Self {
        Self(Identity::generate())
    }

    /// Opens what was encrypted. `None`: to other keys than this.
    ///
    /// # Errors
    /// As [`Identities::decrypt`].
    pub fn decrypt<R: BufRead>(&self, from: R) -> io::Result<Option<age::stream::StreamReader<R>>> {
        opened(age::Decryptor::new_buffered(from).and_then(|encrypted| {
            let key: &dyn age::Identity = &self.0;
            encrypted.decrypt(std::iter::once(key))
        }))
    }
}

fn opened<R>(
    opened: Result<age::stream::StreamReader<R>, age::DecryptError>,
) -> io::Result<Option<age::stream::StreamReader<R>>> {
    match opened {
        Ok(plain) => Ok(Some(plain)),
        Err(age::DecryptError::NoMatchingKeys) => Ok(None),
        Err(age::DecryptError::Io(error)) => Err(error),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}

/// Private keys. They have no `Debug`.
#[derive(Clone, Default)]
pub struct Identities(Vec<Identity>);

impl Identities {
    /// Reads a file as `age-keygen` writes it: a private key in each line that is neither empty nor a comment.
    ///
    /// # Errors
    /// When a line is something else, or there is no key.
    pub fn read(text: &str) -> Result<Self, BadKeys> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Vec<Identity> =
            lines.map(|line| line.parse().map_err(|_| BadKeys::NoIdentity)).collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(BadKeys::NoIdentity);
        }
        Ok(Self(keys))
    }

    /// Adds those of another file.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Opens what was encrypted. `None`: to other keys than these.
    ///
    /// # Errors
    /// When it is no file of age, or was changed. What was read before that is as it was written.
    pub fn decrypt<R: Read>(&self, from: R) -> io::Result<Option<age::stream::StreamReader<R>>> {
        opened(age::Decryptor::new(from).and_then(|encrypted| {
            let keys = self.0.iter().map(|key| key as &dyn age::Identity);
            encrypted.decrypt(keys)
        }))
    }
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret as _;
    use retention_core::policy::NoRecipient;

    use super::*;

    fn pair() -> (String, String) {
        let identity = Identity::generate();
        (identity.to_public().to_string(), identity.to_string().expose_secret().to_owned())
    }

    fn encrypted(to: &Keyholders, plain: &[u8]) -> Vec<u8> {
        let mut writer = to.encrypt(Vec::new()).unwrap();
        writer.write_all(plain).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn each_of_them_opens_it_and_nobody_else() {
        let (one, other, stranger) = (pair(), pair(), pair());
        let sealed = encrypted(&Keyholders::read(&[&one.0, &other.0]).unwrap(), b"what was kept");
        for (_, secret) in [&one, &other] {
            let keys = Identities::read(&format!("# created: today\n\n{secret}\n")).unwrap();
            let mut plain = Vec::new();
            keys.decrypt(&*sealed).unwrap().unwrap().read_to_end(&mut plain).unwrap();
            assert_eq!(plain, b"what was kept");
        }
        assert!(Identities::read(&stranger.1).unwrap().decrypt(&*sealed).unwrap().is_none());
        assert!(Identities::default().decrypt(&*sealed).unwrap().is_none());
    }

    #[test]
    fn a_key_for_one_thing_opens_that_beside_those_for_whom_it_is() {
        let (holder, own) = (pair(), OneTimeKey::generate());
        let keys = Keyholders::with_own(&own, &[holder.0.parse().unwrap()]).unwrap();
        let sealed = encrypted(&keys, b"what was kept");
        let mut plain = [Vec::new(), Vec::new()];
        own.decrypt(&*sealed).unwrap().unwrap().read_to_end(&mut plain[0]).unwrap();
        let theirs = Identities::read(&holder.1).unwrap();
        theirs.decrypt(&*sealed).unwrap().unwrap().read_to_end(&mut plain[1]).unwrap();
        assert_eq!(plain, [b"what was kept", b"what was kept"]);
        assert!(OneTimeKey::generate().decrypt(&*sealed).unwrap().is_none());
    }

    #[test]
    fn a_policy_takes_the_keys_that_age_makes() {
        for _ in 0..200 {
            let (public, secret) = pair();
            assert_eq!(public.parse::<AgeRecipient>().map(|key| key.to_string()), Ok(public));
            assert_eq!(secret.parse::<AgeRecipient>(), Err(NoRecipient::Private));
        }
    }

    #[test]
    fn what_is_no_key_is_said_and_never_repeated() {
        let (public, secret) = pair();
        assert_eq!(Keyholders::read(&[&secret]), Err(BadKeys::NoKey));
        assert_eq!(Keyholders::read(&vec![public.clone(); KEYS_MAX + 1]), Err(BadKeys::TooMany));
        for text in ["", "# nothing\n", public.as_str(), "AGE-SECRET-KEY-1"] {
            assert_eq!(Identities::read(text).err(), Some(BadKeys::NoIdentity), "{text:?}");
        }
        assert!(Keyholders::default().encrypt(Vec::new()).is_err(), "to nobody nothing is encrypted");
        assert_eq!(format!("{:?}", Keyholders::read(&[public]).unwrap()), "1 keys");
    }

    #[test]
    fn a_byte_that_was_changed_is_found() {
        let (public, secret) = pair();
        let sealed = encrypted(&Keyholders::read(&[public]).unwrap(), &[7; 100]);
        let keys = Identities::read(&secret).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            let mut plain = Vec::new();
            let read = match keys.decrypt(&*changed) {
                Ok(Some(mut reader)) => reader.read_to_end(&mut plain).is_ok(),
                Ok(None) | Err(_) => false,
            };
            assert!(!read, "byte {at}");
        }
    }
}

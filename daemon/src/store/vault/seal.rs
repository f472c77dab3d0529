//! Sealing bodies under data keys, and keyed digests of natural identifiers.
//!
//! A sealed body is `nonce (12) ‖ ciphertext ‖ tag (16)`, AES-256-GCM. The nonce is random. With random 96-bit nonces
//! one key may seal 2^32 bodies before a collision is likelier than 2^-32 (NIST SP 800-38D, 8.3); an entity has a
//! handful of them, and the house key, which seals what operators wrote, some millions in the life of a store.
//!
//! Associated data, 28 bytes, little-endian: stream (16) ‖ event type (2) ‖ schema version (2) ‖ slot (8). A body that
//! is moved to another event, stream or type does not open.

use hmac::{Hmac, Mac as _};
use parking_lot::Mutex;
use retention_core::id::{EntityId, Handle, StreamId};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{DataKey, KEY_BYTES};

/// What sealing adds to a body, in bytes.
pub const SEAL_OVERHEAD_BYTES: usize = NONCE_LEN + TAG_BYTES;

const TAG_BYTES: usize = 16;

/// Nonces fetched from the operating system at once: a call for one costs as much as sealing a body.
const NONCES_AHEAD: usize = 2048;

const AAD_BYTES: usize = 28;

const HASH_BLOCK_BYTES: usize = 64;

const DIGEST_BYTES: usize = 32;

/// What a sealed body is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealContext {
    /// The stream of the event.
    pub stream: StreamId,
    /// The stored number of its type.
    pub event_type: u16,
    /// The schema version of its body.
    pub schema: u16,
    /// The slot of the key.
    pub slot: EntityId,
}

impl SealContext {
    fn to_bytes(self) -> [u8; AAD_BYTES] {
        let mut bytes = [0; AAD_BYTES];
        bytes[..16].copy_from_slice(&self.stream.0);
        bytes[16..18].copy_from_slice(&self.event_type.to_le_bytes());
        bytes[18..20].copy_from_slice(&self.schema.to_le_bytes());
        bytes[20..].copy_from_slice(&u64::from(self.slot.0).to_le_bytes());
        bytes
    }
}

/// A body could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Too short, changed, moved to another event, or sealed with another key.
    #[error("a sealed body does not open: it was changed, it belongs to another event, or its key is another one")]
    Unopenable,
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes, so nothing was sealed")]
    NoRandomness,
    /// The cipher refused the input.
    #[error("the cipher refused a body of this length; nothing was sealed")]
    Refused,
}

/// Seals and opens bodies. One is shared by all threads.
pub struct Sealer {
    random: SystemRandom,
    nonces: Mutex<Nonces>,
}

struct Nonces {
    bytes: Vec<u8>,
    used: usize,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Default for Sealer {
    fn default() -> Self {
        let bytes = vec![0; NONCES_AHEAD * NONCE_LEN];
        let used = bytes.len();
        Self { random: SystemRandom::new(), nonces: Mutex::new(Nonces { bytes, used }) }
    }
}

impl Sealer {
    /// Appends the sealed form of `plaintext` to `out`, which grows by its length and [`SEAL_OVERHEAD_BYTES`].
    ///
    /// # Errors
    /// When there is no randomness, or the body is beyond what the cipher takes (64 GiB); `out` is then as it was.
    pub fn seal(
        &self,
        key: &DataKey,
        context: &SealContext,
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let nonce = self.next_nonce()?;
        let cipher = cipher_of(key).ok_or(SealError::Refused)?;
        let start = out.len();
        out.reserve(plaintext.len() + SEAL_OVERHEAD_BYTES);
        out.extend_from_slice(&nonce);
        let body_at = out.len();
        out.extend_from_slice(plaintext);
        let sealed = out.get_mut(body_at..).ok_or(SealError::Refused).and_then(|body| {
            cipher
                .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context.to_bytes()), body)
                .map_err(|_| SealError::Refused)
        });
        match sealed {
            Ok(tag) => {
                out.extend_from_slice(tag.as_ref());
                Ok(())
            }
            Err(error) => {
                zeroize::Zeroize::zeroize(out.get_mut(start..).unwrap_or_default());
                out.truncate(start);
                Err(error)
            }
        }
    }

    /// Returns the plaintext of a sealed body, which is overwritten in memory when dropped.
    ///
    /// # Errors
    /// When it does not open; the error does not say which of the possible causes it is, since nobody can tell.
    pub fn open(&self, key: &DataKey, context: &SealContext, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
        self.open_into(key, context, sealed, &mut plain)?;
        Ok(plain)
    }

    /// As [`Self::open`], into memory that is used again and overwritten when it is dropped at last.
    ///
    /// # Errors
    /// As [`Self::open`]; `plain` is then empty.
    pub fn open_into(
        &self,
        key: &DataKey,
        context: &SealContext,
        sealed: &[u8],
        plain: &mut Zeroizing<Vec<u8>>,
    ) -> Result<(), SealError> {
        plain.clear();
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Unopenable)?;
        let cipher = cipher_of(key).ok_or(SealError::Unopenable)?;
        if plain.capacity() < body.len() {
            // Growing would move the bytes and leave them behind.
            *plain = Zeroizing::new(Vec::with_capacity(body.len()));
        }
        plain.extend_from_slice(body);
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = cipher.open_in_place(nonce, Aad::from(context.to_bytes()), plain.as_mut_slice());
        let len = opened.map(|opened| opened.len());
        match len {
            Ok(len) => {
                plain.truncate(len);
                Ok(())
            }
            Err(_) => {
                plain.clear();
                Err(SealError::Unopenable)
            }
        }
    }

    /// **Invariant:** every nonce leaves the buffer once.
    fn next_nonce(&self) -> Result<[u8; NONCE_LEN], SealError> {
        let mut nonces = self.nonces.lock();
        if nonces.used >= nonces.bytes.len() {
            self.random.fill(&mut nonces.bytes).map_err(|_| SealError::NoRandomness)?;
            nonces.used = 0;
        }
        let used = nonces.used;
        nonces.used += NONCE_LEN;
        nonces.bytes.get(used..).and_then(|rest| rest.first_chunk()).copied().ok_or(SealError::NoRandomness)
    }
}

fn cipher_of(key: &DataKey) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key.bytes()).ok().map(LessSafeKey::new)
}

/// The key of all keyed digests (HMAC-SHA-256). Cheap to clone; its inner state is made once.
///
/// The three uses begin with different bytes, and each part is preceded by its length, so that no two inputs of any
/// two uses are the same bytes: `use (1) ‖ (length (8, little-endian) ‖ part)*`.
#[derive(Clone)]
pub struct IndexKey(Hmac<Sha256>);

const USE_HANDLE: u8 = 1;
const USE_STREAM: u8 = 2;
const USE_CHANGE: u8 = 3;

impl std::fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IndexKey(..)")
    }
}

impl IndexKey {
    /// Takes the bytes of the key.
    #[must_use]
    pub fn of(bytes: &[u8; KEY_BYTES]) -> Self {
        // As the standard has it, a key that is shorter than a block of the hash is filled up with zeros.
        let mut block = Zeroizing::new([0; HASH_BLOCK_BYTES]);
        block[..KEY_BYTES].copy_from_slice(bytes);
        Self(Hmac::new((&*block).into()))
    }

    /// Returns what stands for a natural identifier outside sealed bodies, such as (source, kind, external id).
    #[must_use]
    pub fn handle(&self, parts: &[&[u8]]) -> Handle {
        Handle(first(&self.digest(USE_HANDLE, parts)))
    }

    /// Returns the stream of an entity, which cannot be told from a random one without the key.
    #[must_use]
    pub fn stream_of(&self, entity: EntityId) -> StreamId {
        StreamId(first(&self.digest(USE_STREAM, &[&entity.0.to_le_bytes()])))
    }

    /// Returns the change digest of an entity's content: equal content, equal digest, and without the key no guess at
    /// short content can be checked.
    #[must_use]
    pub fn digest64(&self, bytes: &[u8]) -> u64 {
        u64::from_le_bytes(first(&self.digest(USE_CHANGE, &[bytes])))
    }

    fn digest(&self, purpose: u8, parts: &[&[u8]]) -> [u8; DIGEST_BYTES] {
        let mut context = self.0.clone();
        context.update(&[purpose]);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        context.finalize().into_bytes().into()
    }
}

/// Returns the first `N` bytes of a tag; every `N` here is at most half of its 32.
fn first<const N: usize>(tag: &[u8; DIGEST_BYTES]) -> [u8; N] {
    tag.first_chunk().copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::hmac;

    use super::*;

    const CONTEXT: SealContext = SealContext { stream: StreamId([1; 16]), event_type: 2, schema: 3, slot: EntityId(4) };

    fn key(byte: u8) -> DataKey {
        DataKey::from_bytes([byte; 32])
    }

    #[test]
    fn a_body_opens_only_with_its_key_in_its_place() {
        let sealer = Sealer::default();
        let mut out = b"before".to_vec();
        sealer.seal(&key(1), &CONTEXT, b"personal", &mut out).unwrap();
        let sealed = &out[6..];
        assert_eq!(sealed.len(), 8 + SEAL_OVERHEAD_BYTES);
        assert_eq!(sealer.open(&key(1), &CONTEXT, sealed).unwrap().as_slice(), b"personal");
        assert!(sealer.open(&key(2), &CONTEXT, sealed).is_err());
        for moved in [
            SealContext { stream: StreamId([2; 16]), ..CONTEXT },
            SealContext { event_type: 3, ..CONTEXT },
            SealContext { schema: 4, ..CONTEXT },
            SealContext { slot: EntityId(5), ..CONTEXT },
        ] {
            assert_eq!(sealer.open(&key(1), &moved, sealed), Err(SealError::Unopenable), "{moved:?}");
        }
    }

    #[test]
    fn nonces_do_not_repeat_across_refills() {
        let sealer = Sealer::default();
        let count = NONCES_AHEAD * 2 + 1;
        let seen: std::collections::HashSet<_> = (0..count).map(|_| sealer.next_nonce().unwrap()).collect();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn the_bound_data_is_the_documented_one() {
        let mut expected = vec![1; 16];
        expected.extend([2, 0, 3, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(CONTEXT.to_bytes().as_slice(), expected);
    }

    #[test]
    fn handles_are_framed_and_uses_are_apart() {
        let index = IndexKey::of(&[5; 32]);
        assert_ne!(index.handle(&[b"ab", b"c"]), index.handle(&[b"a", b"bc"]));
        assert_ne!(index.handle(&[b"ab"]), index.handle(&[b"ab", b""]));
        assert_ne!(index.handle(&[&7_u32.to_le_bytes()]).0, index.stream_of(EntityId(7)).0);
        assert_ne!(index.handle(&[b"x"]).hash(), index.digest64(b"x"));
        assert_ne!(index.handle(&[b"x"]), IndexKey::of(&[6; 32]).handle(&[b"x"]));
    }

    #[test]
    fn a_short_and_a_long_input_are_hashed_alike() {
        let index = IndexKey::of(&[5; 32]);
        for length in 0..300 {
            let part = vec![7; length];
            let framed = [[USE_CHANGE].as_slice(), &(length as u64).to_le_bytes(), &part].concat();
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[5; 32]), &framed);
            assert_eq!(index.digest64(&part).to_le_bytes(), tag.as_ref()[..8], "{length} bytes");
        }
    }

    #[test]
    fn a_handle_is_the_hmac_that_the_formats_describe() {
        let index = IndexKey::of(&[5; 32]);
        let mut framed = vec![USE_HANDLE];
        framed.extend(2_u64.to_le_bytes());
        framed.extend(b"ab");
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[5; 32]), &framed);
        assert_eq!(index.handle(&[b"ab"]).0, tag.as_ref()[..16]);
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_and_nothing_else_does(plain in proptest::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
            let sealer = Sealer::default();
            let mut sealed = Vec::new();
            sealer.seal(&key(1), &CONTEXT, &plain, &mut sealed).unwrap();
            prop_assert_eq!(sealer.open(&key(1), &CONTEXT, &sealed).unwrap().to_vec(), plain);
            let at = at.index(sealed.len());
            prop_assert!(sealer.open(&key(1), &CONTEXT, &sealed[..at]).is_err());
            sealed[at] ^= 1_u8 << bit;
            prop_assert!(sealer.open(&key(1), &CONTEXT, &sealed).is_err());
        }

        #[test]
        fn random_bytes_never_open(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Sealer::default().open(&key(1), &CONTEXT, &bytes), Err(SealError::Unopenable));
        }
    }
}

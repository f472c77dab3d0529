//! `wrapping.a` and `wrapping.b`: the index key and one wrapping key per slot segment, each wrapped under the root key.
//!
//! Two copies of one content, replaced one after the other, so that every crash leaves a whole one. Little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `rtd-wrap` |
//! | 8 | 2 | format version, 1 |
//! | 10 | 2 | zero |
//! | 12 | 4 | number of entries, n |
//! | 16 | 8 | generation: counts up with every change; the higher whole copy wins |
//! | 24 | 8 | zero |
//! | 32 | 72 n | entries |
//! | 32 + 72 n | 4 | CRC32C of everything before |
//!
//! An entry:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | purpose: 1 index key, 2 key of a slot segment |
//! | 1 | 3 | zero |
//! | 4 | 4 | segment (0 for the index key) |
//! | 8 | 4 | epoch |
//! | 12 | 12 | nonce, random |
//! | 24 | 32 | the wrapped key |
//! | 56 | 16 | the tag of AES-256-GCM |
//!
//! The first entry is the index key; then the segments, from 0, without gap. Associated data:
//! `retentiond wrapping key v1` ‖ purpose (1) ‖ segment (4) ‖ epoch (4). Random nonces: the root key wraps at most some
//! thousand keys in its life, far from the bound of 2^32.

use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::{KEY_BYTES, RootKey, SEGMENTS_MAX, VaultError};
use crate::store::durable_file;

const MAGIC: &[u8; 8] = b"rtd-wrap";
const FORMAT_VERSION: u16 = 1;
const HEAD_BYTES: usize = 32;
const ENTRY_BYTES: usize = 72;
const CRC_BYTES: usize = 4;
const TAG_BYTES: usize = 16;
const AAD_PREFIX: &[u8; 26] = b"retentiond wrapping key v1";
const ROLE: &str = "file of wrapping keys";

/// The entries of a full vault: the index key and every segment.
const ENTRIES_MAX: usize = SEGMENTS_MAX as usize + 1;
const FILE_BYTES_MAX: usize = HEAD_BYTES + ENTRIES_MAX * ENTRY_BYTES + CRC_BYTES;

/// The epoch of a new wrapping key.
const FIRST_EPOCH: u32 = 1;

/// One of the two copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrappingCopy {
    /// `wrapping.a`, written first.
    A,
    /// `wrapping.b`, written second.
    B,
}

impl WrappingCopy {
    fn name(self) -> &'static str {
        match self {
            Self::A => "wrapping.a",
            Self::B => "wrapping.b",
        }
    }

    fn path(self, dir: &Path) -> PathBuf {
        dir.join(self.name())
    }
}

/// Returns the names of the copies that are missing or damaged. One that is whole and only behind is what a crash leaves.
pub(crate) fn damaged_copies(dir: &Path) -> Vec<&'static str> {
    let is_whole = |copy: WrappingCopy| {
        let read = durable_file::read_bounded(&copy.path(dir), FILE_BYTES_MAX as u64, ROLE);
        matches!(&read, Ok(Some(bytes)) if parse(bytes).is_ok())
    };
    [WrappingCopy::A, WrappingCopy::B].into_iter().filter(|copy| !is_whole(*copy)).map(WrappingCopy::name).collect()
}

/// What a wrapped key is for. The numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Index = 1,
    Segment = 2,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    purpose: Purpose,
    segment: u32,
    epoch: u32,
    nonce: [u8; NONCE_LEN],
    wrapped: [u8; KEY_BYTES],
    tag: [u8; TAG_BYTES],
}

/// The bytes are not a file of wrapping keys.
#[derive(Debug, PartialEq, Eq)]
struct WrappingDamage;

/// A key in the clear.
pub(super) struct OpenKey {
    /// Its bytes.
    pub(super) bytes: Zeroizing<[u8; KEY_BYTES]>,
    /// Its epoch.
    pub(super) epoch: u32,
}

/// The wrapping keys as they lie on disk, and what is needed to add one.
pub(super) struct Wrapping {
    dir: PathBuf,
    root: RootKey,
    generation: u64,
    entries: Vec<Entry>,
}

/// What [`Wrapping::load`] found.
pub(super) struct Loaded {
    pub(super) wrapping: Wrapping,
    /// The copy that was damaged, missing or behind, and was written again from the other.
    pub(super) repaired: Option<WrappingCopy>,
}

impl Wrapping {
    /// Makes both copies, with an index key and the key of segment 0.
    pub(super) fn create(dir: &Path, root: RootKey) -> Result<Self, VaultError> {
        for copy in [WrappingCopy::A, WrappingCopy::B] {
            if copy.path(dir).exists() {
                return Err(VaultError::Exists);
            }
        }
        let mut wrapping = Self { dir: dir.to_path_buf(), root, generation: 0, entries: Vec::new() };
        wrapping.push(Purpose::Index, 0)?;
        wrapping.push(Purpose::Segment, 0)?;
        wrapping.save()?;
        Ok(wrapping)
    }

    /// Reads both copies, takes the better one, and writes the other again when they differ.
    ///
    /// Nothing is written before the root key has opened the chosen copy.
    pub(super) fn load(dir: &Path, root: RootKey, repair: Repair) -> Result<Loaded, VaultError> {
        let read = |copy: WrappingCopy| durable_file::read_bounded(&copy.path(dir), FILE_BYTES_MAX as u64, ROLE);
        let bytes = match (read(WrappingCopy::A), read(WrappingCopy::B)) {
            (Ok(None), Ok(None)) => return Err(VaultError::Absent),
            (a, b) => [a.ok().flatten(), b.ok().flatten()],
        };
        let [a, b] = bytes.map(|bytes| bytes.and_then(|bytes| parse(&bytes).ok()));
        let (best, repaired) = match (a, b) {
            (Some(a), Some(b)) if a == b => (a, None),
            (Some(a), Some(b)) if a.0 < b.0 => (b, Some(WrappingCopy::A)),
            (Some(a), _) => (a, Some(WrappingCopy::B)),
            (None, Some(b)) => (b, Some(WrappingCopy::A)),
            (None, None) => return Err(VaultError::WrappingDamaged),
        };
        let (generation, entries) = best;
        let wrapping = Self { dir: dir.to_path_buf(), root, generation, entries };
        wrapping.index_key()?;
        if let (Some(copy), Repair::Write) = (repaired, repair) {
            durable_file::replace(&copy.path(dir), &wrapping.to_bytes(), ROLE)?;
        }
        Ok(Loaded { wrapping, repaired })
    }

    /// Returns, in another directory, the same index key, and new keys of the next epoch for the first `segments`
    /// segments.
    pub(super) fn renewed(&self, dir: &Path, segments: u32) -> Result<Self, VaultError> {
        let root = RootKey::from_bytes(*self.root.bytes());
        let mut new = Self { dir: dir.to_path_buf(), root, generation: self.generation, entries: Vec::new() };
        new.entries.extend(self.entries.first().cloned());
        for segment in 0..segments {
            let old = self.entries.iter().find(|e| e.purpose == Purpose::Segment && e.segment == segment);
            let epoch = old.map_or(0, |entry| entry.epoch).checked_add(1).ok_or(VaultError::Full)?;
            new.push_epoch(Purpose::Segment, segment, epoch)?;
        }
        new.save()?;
        Ok(new)
    }

    /// Returns the index key.
    pub(super) fn index_key(&self) -> Result<OpenKey, VaultError> {
        let entry = self.entries.first().ok_or(VaultError::WrappingDamaged)?;
        self.unwrap(entry).ok_or(VaultError::WrongRootKey)
    }

    /// Returns the key of a segment, or `None` when it has none yet.
    pub(super) fn segment_key(&self, segment: u32) -> Result<Option<OpenKey>, VaultError> {
        let found = self.entries.iter().find(|entry| entry.purpose == Purpose::Segment && entry.segment == segment);
        found.map(|entry| self.unwrap(entry).ok_or(VaultError::WrappingDamaged)).transpose()
    }

    /// Makes the key of the next segment and keeps it in both copies before it returns it.
    pub(super) fn add_segment(&mut self, segment: u32) -> Result<OpenKey, VaultError> {
        let key = self.push(Purpose::Segment, segment)?;
        self.save()?;
        Ok(key)
    }

    fn push(&mut self, purpose: Purpose, segment: u32) -> Result<OpenKey, VaultError> {
        self.push_epoch(purpose, segment, FIRST_EPOCH)
    }

    fn push_epoch(&mut self, purpose: Purpose, segment: u32, epoch: u32) -> Result<OpenKey, VaultError> {
        let random = SystemRandom::new();
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        let mut nonce = [0; NONCE_LEN];
        random.fill(bytes.as_mut_slice()).map_err(|_| VaultError::NoRandomness)?;
        random.fill(&mut nonce).map_err(|_| VaultError::NoRandomness)?;
        let mut wrapped = *bytes;
        let tag = self
            .cipher()?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad(purpose, segment, epoch)),
                &mut wrapped,
            )
            .map_err(|_| VaultError::Cipher)?;
        let tag = tag.as_ref().first_chunk().copied().ok_or(VaultError::Cipher)?;
        self.entries.push(Entry { purpose, segment, epoch, nonce, wrapped, tag });
        Ok(OpenKey { bytes, epoch })
    }

    fn unwrap(&self, entry: &Entry) -> Option<OpenKey> {
        let mut sealed = Zeroizing::new([0; KEY_BYTES + TAG_BYTES]);
        sealed[..KEY_BYTES].copy_from_slice(&entry.wrapped);
        sealed[KEY_BYTES..].copy_from_slice(&entry.tag);
        let nonce = Nonce::assume_unique_for_key(entry.nonce);
        let aad = Aad::from(aad(entry.purpose, entry.segment, entry.epoch));
        let opened = self.cipher().ok()?.open_in_place(nonce, aad, sealed.as_mut_slice()).ok()?;
        let bytes = Zeroizing::new(*opened.first_chunk()?);
        Some(OpenKey { bytes, epoch: entry.epoch })
    }

    fn cipher(&self) -> Result<LessSafeKey, VaultError> {
        UnboundKey::new(&AES_256_GCM, self.root.bytes()).map(LessSafeKey::new).map_err(|_| VaultError::Cipher)
    }

    fn save(&mut self) -> Result<(), VaultError> {
        self.generation += 1;
        let bytes = self.to_bytes();
        for copy in [WrappingCopy::A, WrappingCopy::B] {
            durable_file::replace(&copy.path(&self.dir), &bytes, ROLE)?;
        }
        Ok(())
    }

    fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self.generation, &self.entries)
    }
}

/// Whether loading may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repair {
    /// A worse copy is replaced by the better one.
    Write,
    /// Nothing is touched.
    LeaveAlone,
}

fn aad(purpose: Purpose, segment: u32, epoch: u32) -> [u8; AAD_PREFIX.len() + 9] {
    let mut bytes = [0; AAD_PREFIX.len() + 9];
    let (prefix, rest) = bytes.split_at_mut(AAD_PREFIX.len());
    prefix.copy_from_slice(AAD_PREFIX);
    rest[0] = purpose as u8;
    rest[1..5].copy_from_slice(&segment.to_le_bytes());
    rest[5..].copy_from_slice(&epoch.to_le_bytes());
    bytes
}

fn to_bytes(generation: u64, entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + entries.len() * ENTRY_BYTES + CRC_BYTES);
    bytes.extend(MAGIC);
    bytes.extend(FORMAT_VERSION.to_le_bytes());
    bytes.extend([0; 2]);
    bytes.extend(u32::try_from(entries.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(generation.to_le_bytes());
    bytes.extend([0; 8]);
    for entry in entries {
        bytes.push(entry.purpose as u8);
        bytes.extend([0; 3]);
        bytes.extend(entry.segment.to_le_bytes());
        bytes.extend(entry.epoch.to_le_bytes());
        bytes.extend(entry.nonce);
        bytes.extend(entry.wrapped);
        bytes.extend(entry.tag);
    }
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Result<(u64, Vec<Entry>), WrappingDamage> {
    let (content, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or(WrappingDamage)?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
        return Err(WrappingDamage);
    }
    let (head, rest) = content.split_first_chunk::<HEAD_BYTES>().ok_or(WrappingDamage)?;
    let count = usize::try_from(u32::from_le_bytes(part(head, 12))).map_err(|_| WrappingDamage)?;
    let known = head.starts_with(MAGIC)
        && u16::from_le_bytes(part(head, 8)) == FORMAT_VERSION
        && part(head, 10) == [0; 2]
        && part(head, 24) == [0; 8];
    if !known || count > ENTRIES_MAX || rest.len() != count * ENTRY_BYTES {
        return Err(WrappingDamage);
    }
    let (chunks, _) = rest.as_chunks::<ENTRY_BYTES>();
    let entries = chunks.iter().map(parse_entry).collect::<Result<Vec<_>, _>>()?;
    let in_order = entries.iter().enumerate().all(|(at, entry)| match at.checked_sub(1) {
        None => entry.purpose == Purpose::Index && entry.segment == 0,
        Some(segment) => entry.purpose == Purpose::Segment && entry.segment as usize == segment,
    });
    if !in_order || entries.is_empty() {
        return Err(WrappingDamage);
    }
    Ok((u64::from_le_bytes(part(head, 16)), entries))
}

fn parse_entry(bytes: &[u8; ENTRY_BYTES]) -> Result<Entry, WrappingDamage> {
    let purpose = match bytes[0] {
        1 => Purpose::Index,
        2 => Purpose::Segment,
        _ => return Err(WrappingDamage),
    };
    if bytes[1..4] != [0; 3] {
        return Err(WrappingDamage);
    }
    Ok(Entry {
        purpose,
        segment: u32::from_le_bytes(part(bytes, 4)),
        epoch: u32::from_le_bytes(part(bytes, 8)),
        nonce: part(bytes, 12),
        wrapped: part(bytes, 24),
        tag: part(bytes, 56),
    })
}

fn part<const LEN: usize, const N: usize>(bytes: &[u8; LEN], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn root() -> RootKey {
        RootKey::from_bytes([1; 32])
    }

    fn flip(path: &Path, at: usize) {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }

    fn load(dir: &Path) -> Result<Loaded, VaultError> {
        Wrapping::load(dir, root(), Repair::Write)
    }

    #[test]
    fn either_copy_is_enough_and_the_other_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let made = Wrapping::create(dir.path(), root()).unwrap();
        let index = made.index_key().unwrap().bytes;
        for copy in [WrappingCopy::A, WrappingCopy::B] {
            for damage in ["flip", "remove", "cut", "empty"] {
                let path = copy.path(dir.path());
                match damage {
                    "flip" => flip(&path, 60),
                    "remove" => std::fs::remove_file(&path).unwrap(),
                    "cut" => std::fs::write(&path, &std::fs::read(&path).unwrap()[..50]).unwrap(),
                    _ => std::fs::write(&path, b"").unwrap(),
                }
                let loaded = load(dir.path()).unwrap();
                assert_eq!(loaded.repaired, Some(copy), "{damage}");
                assert_eq!(*loaded.wrapping.index_key().unwrap().bytes, *index);
                assert_eq!(load(dir.path()).unwrap().repaired, None);
            }
        }
    }

    #[test]
    fn a_crash_between_the_copies_keeps_the_newer_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut made = Wrapping::create(dir.path(), root()).unwrap();
        let old = std::fs::read(WrappingCopy::B.path(dir.path())).unwrap();
        let key = made.add_segment(1).unwrap();
        std::fs::write(WrappingCopy::B.path(dir.path()), old).unwrap();
        let loaded = load(dir.path()).unwrap();
        assert_eq!(loaded.repaired, Some(WrappingCopy::B));
        assert_eq!(*loaded.wrapping.segment_key(1).unwrap().unwrap().bytes, *key.bytes);
        assert!(loaded.wrapping.segment_key(2).unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_opened_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(load(dir.path()), Err(VaultError::Absent)));
        Wrapping::create(dir.path(), root()).unwrap();
        assert!(matches!(Wrapping::create(dir.path(), root()), Err(VaultError::Exists)));
        flip(&WrappingCopy::A.path(dir.path()), 60);
        let before = std::fs::read(WrappingCopy::A.path(dir.path())).unwrap();
        let other = Wrapping::load(dir.path(), RootKey::from_bytes([2; 32]), Repair::Write);
        assert!(matches!(other, Err(VaultError::WrongRootKey)));
        assert_eq!(std::fs::read(WrappingCopy::A.path(dir.path())).unwrap(), before);
        flip(&WrappingCopy::B.path(dir.path()), 60);
        assert!(matches!(load(dir.path()), Err(VaultError::WrappingDamaged)));
    }

    #[test]
    fn an_entry_that_took_the_place_of_another_does_not_open() {
        let dir = tempfile::tempdir().unwrap();
        let mut made = Wrapping::create(dir.path(), root()).unwrap();
        made.add_segment(1).unwrap();
        let mut entries = made.entries.clone();
        entries[2] = Entry { segment: 1, ..entries[1].clone() };
        let bytes = to_bytes(9, &entries);
        std::fs::write(WrappingCopy::A.path(dir.path()), &bytes).unwrap();
        let loaded = load(dir.path()).unwrap();
        assert!(loaded.wrapping.segment_key(0).is_ok());
        assert!(matches!(loaded.wrapping.segment_key(1), Err(VaultError::WrappingDamaged)));
    }

    fn valid() -> Vec<u8> {
        let entry =
            |purpose, segment| Entry { purpose, segment, epoch: 1, nonce: [4; 12], wrapped: [5; 32], tag: [6; 16] };
        to_bytes(3, &[entry(Purpose::Index, 0), entry(Purpose::Segment, 0), entry(Purpose::Segment, 1)])
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = valid();
        assert_eq!(bytes.len(), 32 + 3 * 72 + 4);
        assert_eq!(parse(&bytes).unwrap().1.len(), 3);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&flipped), Err(WrappingDamage), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(parse(&bytes[..len]), Err(WrappingDamage), "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn reading_any_bytes_never_panics_and_is_faithful(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in any::<prop::sample::Index>(), byte: u8) {
            prop_assert!(parse(&bytes).is_err());
            let mut mutated = valid();
            let content = mutated.len() - CRC_BYTES;
            mutated[at.index(content)] = byte;
            let crc = crc32c::crc32c(&mutated[..content]);
            mutated[content..].copy_from_slice(&crc.to_le_bytes());
            if let Ok((generation, entries)) = parse(&mutated) {
                prop_assert_eq!(to_bytes(generation, &entries), mutated);
            }
        }
    }
}

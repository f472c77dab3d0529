//! One slot: 64 bytes, little-endian, at offset `64 × (number mod 2^20)` of its segment's file. 64 divides every sector
//! size, so no slot crosses a sector, and a torn write can hurt only what was being written.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | state: 0 empty, 1 filled, 2 destroyed, 3 retired |
//! | 1 | 3 | zero |
//! | 4 | 4 | epoch of the wrapping key; zero unless filled |
//! | 8 | 4 | the slot's own number, so that a copied slot is found out |
//! | 12 | 32 | the wrapped data key; when destroyed or retired the first 32 bytes of the tombstone's text |
//! | 44 | 16 | the tag of AES-256-GCM; when destroyed or retired the last 16 bytes of the text |
//! | 60 | 4 | CRC32C of the 60 bytes before |
//!
//! An **empty** slot is 64 zero bytes (and so needs no checksum). A **retired** slot was never issued and never will
//! be: a crash left it half filled. The text of a tombstone is readable in a hex dump, so "destroyed" cannot be taken
//! for anything else.
//!
//! Wrapping: AES-256-GCM under the segment's wrapping key; nonce = slot number (8 bytes) ‖ epoch (4 bytes); associated
//! data = `WRAP_PURPOSE`. **A nonce is used once**, because a slot is filled once per epoch: what a crash left half
//! filled is retired, never filled again.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{DataKey, KEY_BYTES};

/// The size of a slot, in bytes.
pub const SLOT_BYTES: usize = 64;

/// The slots of one segment file: 64 MiB, so that rotating the wrapping key of one segment stays a small job.
pub const SEGMENT_SLOTS: u32 = 1 << 20;

/// What a wrapped data key is for; binds it to this use.
const WRAP_PURPOSE: &[u8] = b"retentiond data key v1";

const TAG_BYTES: usize = 16;
const CRC_AT: usize = SLOT_BYTES - 4;

const EMPTY: u8 = 0;
const FILLED: u8 = 1;
const DESTROYED: u8 = 2;
const RETIRED: u8 = 3;

const DESTROYED_TEXT: &[u8; 48] = b"retentiond: this data key has been destroyed. ##";
const RETIRED_TEXT: &[u8; 48] = b"retentiond: this slot was never issued to any. #";

/// The bytes of one slot.
pub(super) type SlotImage = [u8; SLOT_BYTES];

/// What a slot holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Never written.
    Empty,
    /// A wrapped data key.
    Filled { epoch: u32, wrapped: [u8; KEY_BYTES], tag: [u8; TAG_BYTES] },
    /// A tombstone.
    Destroyed,
    /// Never issued and never will be.
    Retired,
}

/// The bytes are not a slot, or not this one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SlotDamage;

impl Slot {
    /// Reads the slot `number`. Whatever no program of ours writes is damage.
    pub(super) fn parse(image: &SlotImage, number: u32) -> Result<Self, SlotDamage> {
        let filled = match image[0] {
            EMPTY if *image == [0; SLOT_BYTES] => return Ok(Self::Empty),
            DESTROYED if *image == tombstone(number) => return Ok(Self::Destroyed),
            RETIRED if *image == retired(number) => return Ok(Self::Retired),
            FILLED => image,
            _ => return Err(SlotDamage),
        };
        let whole = crc32c::crc32c(&filled[..CRC_AT]) == u32::from_le_bytes(part(filled, CRC_AT));
        if !whole || filled[1..4] != [0; 3] || u32::from_le_bytes(part(filled, 8)) != number {
            return Err(SlotDamage);
        }
        Ok(Self::Filled {
            epoch: u32::from_le_bytes(part(filled, 4)),
            wrapped: part(filled, 12),
            tag: part(filled, 44),
        })
    }
}

/// Returns the image that takes the place of a destroyed key.
///
/// It is written once, straight over the key. A pass of random bytes before it would add nothing: a drive that
/// overwrites in place leaves nothing to read after one pass (NIST SP 800-88, *clear*), and one that does not is not
/// helped by two.
pub(super) fn tombstone(number: u32) -> SlotImage {
    marked(DESTROYED, number, DESTROYED_TEXT)
}

/// Returns the image of a slot that is skipped for ever.
pub(super) fn retired(number: u32) -> SlotImage {
    marked(RETIRED, number, RETIRED_TEXT)
}

fn marked(state: u8, number: u32, text: &[u8; 48]) -> SlotImage {
    let mut image = [0; SLOT_BYTES];
    image[0] = state;
    image[8..12].copy_from_slice(&number.to_le_bytes());
    image[12..CRC_AT].copy_from_slice(text);
    checksummed(image)
}

fn checksummed(mut image: SlotImage) -> SlotImage {
    let crc = crc32c::crc32c(&image[..CRC_AT]);
    image[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    image
}

fn part<const N: usize>(image: &SlotImage, at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&image[at..at + N]);
    out
}

/// The wrapping key of one segment in one epoch, with its key schedule made.
///
/// `ring` does not overwrite the schedule when it is dropped; it lives as long as the vault.
pub(super) struct WrappingKey {
    key: LessSafeKey,
    epoch: u32,
}

/// The cipher refused its input, which it never does for what this module gives it.
#[derive(Debug)]
pub(super) struct CipherRefused;

impl WrappingKey {
    /// Makes the key schedule.
    pub(super) fn of(bytes: &[u8; KEY_BYTES], epoch: u32) -> Result<Self, CipherRefused> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| CipherRefused)?;
        Ok(Self { key: LessSafeKey::new(key), epoch })
    }

    /// Returns the image of slot `number`, filled with `key`. Must be called once per slot and epoch.
    pub(super) fn wrap(&self, number: u32, key: &DataKey) -> Result<SlotImage, CipherRefused> {
        let mut image = [0; SLOT_BYTES];
        image[0] = FILLED;
        image[4..8].copy_from_slice(&self.epoch.to_le_bytes());
        image[8..12].copy_from_slice(&number.to_le_bytes());
        let mut wrapped = *key.bytes();
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(number, self.epoch), Aad::from(WRAP_PURPOSE), &mut wrapped)
            .map_err(|_| CipherRefused)?;
        image[12..44].copy_from_slice(&wrapped);
        image[44..CRC_AT].copy_from_slice(tag.as_ref());
        Ok(checksummed(image))
    }

    /// Returns the data key of a filled slot; damage when it does not open.
    pub(super) fn unwrap(
        &self,
        number: u32,
        epoch: u32,
        wrapped: &[u8; KEY_BYTES],
        tag: &[u8; TAG_BYTES],
    ) -> Result<DataKey, SlotDamage> {
        if epoch != self.epoch {
            return Err(SlotDamage);
        }
        let mut sealed = zeroize::Zeroizing::new([0; KEY_BYTES + TAG_BYTES]);
        sealed[..KEY_BYTES].copy_from_slice(wrapped);
        sealed[KEY_BYTES..].copy_from_slice(tag);
        let opened = self
            .key
            .open_in_place(nonce(number, epoch), Aad::from(WRAP_PURPOSE), sealed.as_mut_slice())
            .map_err(|_| SlotDamage)?;
        DataKey::from_slice(opened).ok_or(SlotDamage)
    }
}

fn nonce(number: u32, epoch: u32) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&u64::from(number).to_le_bytes());
    bytes[8..].copy_from_slice(&epoch.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> WrappingKey {
        WrappingKey::of(&[3; 32], 1).unwrap()
    }

    fn opened(image: &SlotImage, number: u32) -> Option<DataKey> {
        match Slot::parse(image, number) {
            Ok(Slot::Filled { epoch, wrapped, tag }) => key().unwrap(number, epoch, &wrapped, &tag).ok(),
            _ => None,
        }
    }

    #[test]
    fn a_wrapped_key_opens_in_its_own_slot_only() {
        let image = key().wrap(7, &DataKey::from_bytes([9; 32])).unwrap();
        assert_eq!(opened(&image, 7).unwrap().bytes(), &[9; 32]);
        assert!(opened(&image, 8).is_none());
        let mut moved = image;
        moved[8..12].copy_from_slice(&8_u32.to_le_bytes());
        assert!(opened(&checksummed(moved), 8).is_none(), "a slot that was copied and re-checksummed");
        let (epoch, wrapped, tag) = (2, part(&image, 12), part(&image, 44));
        assert!(key().unwrap(7, epoch, &wrapped, &tag).is_err());
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let image = key().wrap(0x0102_0304, &DataKey::from_bytes([9; 32])).unwrap();
        assert_eq!(image[..12], [1, 0, 0, 0, 1, 0, 0, 0, 4, 3, 2, 1]);
        assert_eq!(image[60..], crc32c::crc32c(&image[..60]).to_le_bytes());
        // The ciphertext and tag were computed by another implementation of AES-GCM (Python's `cryptography`).
        let golden = "b35a94d30eeb95d5cac37822dc8a887d03d5db271c1b370a541a78f2b110552503e3e01c53a1e9968f24b6f9a8c39b5b";
        assert_eq!(hex::encode(&image[12..60]), golden);
    }

    #[test]
    fn every_state_is_told_from_every_other() {
        assert_eq!(Slot::parse(&[0; 64], 5), Ok(Slot::Empty));
        assert_eq!(Slot::parse(&tombstone(5), 5), Ok(Slot::Destroyed));
        assert_eq!(Slot::parse(&retired(5), 5), Ok(Slot::Retired));
        assert_eq!(Slot::parse(&tombstone(5), 6), Err(SlotDamage));
        assert_eq!(Slot::parse(&retired(5), 6), Err(SlotDamage));
    }

    #[test]
    fn no_flipped_bit_gives_a_key_or_another_state() {
        let filled = key().wrap(7, &DataKey::from_bytes([9; 32])).unwrap();
        for image in [filled, tombstone(7), retired(7), [0; 64]] {
            for bit in 0..SLOT_BYTES * 8 {
                let mut flipped = image;
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Slot::parse(&flipped, 7), Err(SlotDamage), "bit {bit}");
            }
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_open(bytes in proptest::array::uniform32(any::<u8>()), more in proptest::array::uniform32(any::<u8>()), state in 0..5_u8) {
            let mut image = [0; SLOT_BYTES];
            image[..32].copy_from_slice(&bytes);
            image[32..].copy_from_slice(&more);
            image[0] = state;
            prop_assert!(opened(&image, 7).is_none());
            image[1..4].fill(0);
            image[8..12].copy_from_slice(&7_u32.to_le_bytes());
            prop_assert!(opened(&checksummed(image), 7).is_none());
        }
    }
}

//! Whether a directory of sled may be believed.
//!
//! sled survives the death of its process, because the page cache lives on; it does not survive the death of the
//! machine, because `flush()` does not reach the device. So a file beside the directory says in which boot it was
//! opened last and whether it was closed. Little-endian, 32 bytes:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `rtd-sled` |
//! | 8 | 1 | 1 open, 2 closed |
//! | 9 | 3 | zero |
//! | 12 | 16 | boot id (`/proc/sys/kernel/random/boot_id`) |
//! | 28 | 4 | CRC32C of the 28 bytes before |

use std::path::{Path, PathBuf};

use crate::store::durable_file::{self, DurableFileError, FileAction};

const MAGIC: &[u8; 8] = b"rtd-sled";
const STATE_BYTES: usize = 32;
const OPEN: u8 = 1;
const CLOSED: u8 = 2;
const ROLE: &str = "state of the event store";

/// Which boot of the machine this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootId(pub [u8; 16]);

impl BootId {
    /// Asks the kernel.
    ///
    /// # Errors
    /// When `/proc` is not there or says something else.
    pub fn of_this_boot() -> Result<Self, DurableFileError> {
        const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
        let role = "boot id of the kernel";
        let text = std::fs::read_to_string(BOOT_ID).map_err(durable_file::failed(role, FileAction::Read))?;
        let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidData);
        Self::parse(&text).ok_or_else(|| durable_file::failed(role, FileAction::Read)(invalid()))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text.trim().replace('-', ""), &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

/// Why a directory is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// The machine went down while it was open.
    UncleanInEarlierBoot,
    /// Nothing says how it was closed.
    NoState,
    /// What says so is damaged.
    StateDamaged,
}

impl std::fmt::Display for Distrust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::UncleanInEarlierBoot => "the machine went down while it was open",
            Self::NoState => "nothing says how it was closed",
            Self::StateDamaged => "the file that says how it was closed is damaged",
        })
    }
}

/// How far a directory may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// There is no directory.
    Fresh,
    /// It was closed, and flushed to the device.
    Clean,
    /// It was not closed, but the machine has been up ever since.
    SameBoot,
    /// It has to be set aside.
    Untrusted {
        /// The reason.
        why: Distrust,
    },
}

impl Trust {
    /// Judges the directory `dir` by what lies beside it.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn judge(dir: &Path, boot: BootId) -> Result<Self, DurableFileError> {
        if !dir.exists() {
            return Ok(Self::Fresh);
        }
        let state = match durable_file::read_bounded(&state_path(dir), STATE_BYTES as u64, ROLE) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Self::Untrusted { why: Distrust::NoState }),
            Err(DurableFileError::TooLong { .. }) => return Ok(Self::Untrusted { why: Distrust::StateDamaged }),
            Err(error @ DurableFileError::Io { .. }) => return Err(error),
        };
        Ok(match parse(&state) {
            Some((CLOSED, _)) => Self::Clean,
            Some((_, then)) if then == boot => Self::SameBoot,
            Some(_) => Self::Untrusted { why: Distrust::UncleanInEarlierBoot },
            None => Self::Untrusted { why: Distrust::StateDamaged },
        })
    }
}

/// Notes, durably and before the first write, that the directory is open.
pub(super) fn note_open(dir: &Path, boot: BootId) -> Result<(), DurableFileError> {
    durable_file::replace(&state_path(dir), &to_bytes(OPEN, boot), ROLE)
}

/// Notes, after everything in it was flushed, that the directory is closed.
pub(super) fn note_closed(dir: &Path, boot: BootId) -> Result<(), DurableFileError> {
    durable_file::replace(&state_path(dir), &to_bytes(CLOSED, boot), ROLE)
}

/// Beside the directory, not in it: sled owns what is in it.
fn state_path(dir: &Path) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(".state");
    PathBuf::from(name)
}

fn to_bytes(state: u8, boot: BootId) -> [u8; STATE_BYTES] {
    let mut bytes = [0; STATE_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8] = state;
    bytes[12..28].copy_from_slice(&boot.0);
    let crc = crc32c::crc32c(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Option<(u8, BootId)> {
    let bytes: &[u8; STATE_BYTES] = bytes.try_into().ok()?;
    let mut boot = [0; 16];
    boot.copy_from_slice(&bytes[12..28]);
    let (state, boot) = (bytes[8], BootId(boot));
    (matches!(state, OPEN | CLOSED) && to_bytes(state, boot) == *bytes).then_some((state, boot))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: BootId = BootId([7; 16]);

    #[test]
    fn the_shipped_unit_does_not_hide_the_boot_from_the_daemon() {
        let unit = include_str!("../../../../systemd/retentiond.service");
        assert!(!unit.lines().any(|line| line.starts_with("ProcSubset=pid")));
    }

    #[test]
    fn trust_follows_the_way_it_was_closed_and_the_boot() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("events");
        assert_eq!(Trust::judge(&dir, BOOT).unwrap(), Trust::Fresh);
        std::fs::create_dir(&dir).unwrap();
        assert_eq!(Trust::judge(&dir, BOOT).unwrap(), Trust::Untrusted { why: Distrust::NoState });
        note_open(&dir, BOOT).unwrap();
        assert_eq!(Trust::judge(&dir, BOOT).unwrap(), Trust::SameBoot);
        let later = Trust::judge(&dir, BootId([8; 16])).unwrap();
        assert_eq!(later, Trust::Untrusted { why: Distrust::UncleanInEarlierBoot });
        note_closed(&dir, BOOT).unwrap();
        assert_eq!(Trust::judge(&dir, BootId([8; 16])).unwrap(), Trust::Clean);
        std::fs::write(state_path(&dir), [1; 40]).unwrap();
        assert_eq!(Trust::judge(&dir, BOOT).unwrap(), Trust::Untrusted { why: Distrust::StateDamaged });
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = to_bytes(CLOSED, BOOT);
        assert_eq!(parse(&bytes), Some((CLOSED, BOOT)));
        for bit in 0..STATE_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&flipped), None, "bit {bit}");
        }
        (0..STATE_BYTES).for_each(|len| assert_eq!(parse(&bytes[..len]), None));
    }

    #[test]
    fn the_kernel_names_its_boot() {
        assert_eq!(BootId::of_this_boot().unwrap(), BootId::of_this_boot().unwrap());
        assert_eq!(BootId::parse("07070707-0707-0707-0707-070707070707\n"), Some(BOOT));
        assert_eq!(BootId::parse("07070707"), None);
    }
}

//! Whether overwriting in place means anything on a file system.

use std::path::Path;

/// A file system on which an overwritten slot may live on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesystemWarning {
    /// btrfs writes elsewhere.
    Btrfs,
    /// ZFS writes elsewhere.
    Zfs,
    /// bcachefs writes elsewhere.
    Bcachefs,
    /// F2FS writes elsewhere.
    F2fs,
    /// NILFS2 writes elsewhere, and keeps checkpoints.
    Nilfs,
    /// An overlay may hold older copies below.
    Overlay,
    /// A server decides where it writes.
    Network,
    /// Everything is gone after a restart.
    Tmpfs,
}

impl FilesystemWarning {
    /// Looks at the file system that holds `dir`; `None` where overwriting in place is what it seems, or the type is
    /// not known to be otherwise.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn of(dir: &Path) -> std::io::Result<Option<Self>> {
        // The width and sign of the field differ between platforms; the numbers (statfs(2), linux/magic.h) have 32
        // bits.
        Ok(Self::of_magic(i128::from(rustix::fs::statfs(dir)?.f_type) & 0xffff_ffff))
    }

    fn of_magic(magic: i128) -> Option<Self> {
        match magic {
            0x9123_683e => Some(Self::Btrfs),
            0x2fc1_2fc1 => Some(Self::Zfs),
            0xca45_1a4e => Some(Self::Bcachefs),
            0xf2f5_2010 => Some(Self::F2fs),
            0x3434 => Some(Self::Nilfs),
            0x794c_7630 => Some(Self::Overlay),
            0x6969 | 0xff53_4d42 | 0xfe53_4d42 | 0x0102_1997 => Some(Self::Network),
            0x0102_1994 | 0x8584_58f6 => Some(Self::Tmpfs),
            _ => None,
        }
    }
}

impl std::fmt::Display for FilesystemWarning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Btrfs => "the keys lie on btrfs, which writes changes elsewhere: destroyed keys stay on the disk and in snapshots; \
                put the directory of keys on ext4 or xfs, or make it anew with `chattr +C` and take no snapshots of it",
            Self::Zfs => "the keys lie on ZFS, which writes changes elsewhere: destroyed keys stay on the disk and in snapshots; \
                put the directory of keys on ext4 or xfs",
            Self::Bcachefs => "the keys lie on bcachefs, which writes changes elsewhere: destroyed keys stay on the disk and in \
                snapshots; put the directory of keys on ext4 or xfs",
            Self::F2fs => "the keys lie on F2FS, which writes changes elsewhere: destroyed keys stay on the disk for a while; \
                put the directory of keys on ext4 or xfs",
            Self::Nilfs => "the keys lie on NILFS2, which keeps every change: destroyed keys stay on the disk; \
                put the directory of keys on ext4 or xfs",
            Self::Overlay => "the keys lie on an overlay: a destroyed key may stay in a layer below; \
                mount a volume on ext4 or xfs for the state directory",
            Self::Network => "the keys lie on a network file system: only its server knows where a destroyed key was written; \
                put the directory of keys on a local ext4 or xfs",
            Self::Tmpfs => "the keys lie in memory (tmpfs or ramfs): they are lost at the next restart and everything sealed with \
                them; use this for tests only",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copying_file_systems_are_named_and_plain_ones_are_not() {
        assert_eq!(FilesystemWarning::of_magic(0x9123_683e), Some(FilesystemWarning::Btrfs));
        assert_eq!(FilesystemWarning::of_magic(0xef53), None);
        assert_eq!(FilesystemWarning::of_magic(0x5846_5342), None);
        let dir = tempfile::tempdir().unwrap();
        assert!(FilesystemWarning::of(dir.path()).is_ok());
        assert!(FilesystemWarning::of(&dir.path().join("none")).is_err());
    }

    #[test]
    fn tmpfs_is_recognised_where_there_is_one() {
        let shm = Path::new("/dev/shm");
        if shm.is_dir() && std::fs::read_to_string("/proc/mounts").unwrap().contains(" /dev/shm tmpfs") {
            assert_eq!(FilesystemWarning::of(shm).unwrap(), Some(FilesystemWarning::Tmpfs));
        }
    }
}

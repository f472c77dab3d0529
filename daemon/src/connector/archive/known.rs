//! What is known of the manifests in an exports directory, so that a bundle is found, and is found missing, without all of
//! them being read each time.
//!
//! Each look goes through the directory and asks the file system about every manifest. One is read when it is new, when
//! anything that the system tells of it is different, and now and then all the same. What is found was read just then.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use parking_lot::Mutex;
use retention_core::id::Digest;

use super::place::list;
use super::{ArchiveError, Bundle, BundleName, MANIFEST_FILE, read_manifest};

/// So many looks what was read of a manifest counts: a day, when a bundle is looked for every ten minutes.
const LOOKS_MAX: u64 = 144;

/// The manifests of one directory.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Manifests>);

#[derive(Debug, Default)]
struct Manifests {
    by_name: HashMap<BundleName, Manifest>,
    looks: u64,
}

/// A manifest as it was last read.
#[derive(Debug)]
struct Manifest {
    stamp: Stamp,
    read_at_look: u64,
    seen_at_look: u64,
    /// `None` of one that cannot be used.
    says: Option<Says>,
}

/// The idempotency key of an export, and its bundle.
type Says = (Digest, Bundle);

/// What tells that a file is another one, or has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            file: (found.dev(), found.ino()),
            bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

impl Known {
    /// Finds a bundle by the idempotency key of its export and by itself. One whose manifest cannot be used is none.
    ///
    /// # Errors
    /// Says why the directory cannot be read.
    pub(super) fn find(
        &self,
        root: &Path,
        is_it: impl Fn(Digest, &Bundle) -> bool,
    ) -> Result<Option<Bundle>, ArchiveError> {
        self.0.lock().find(root, |(key, bundle)| is_it(*key, bundle))
    }

    /// Forgets a bundle that is removed.
    pub(super) fn forget(&self, name: &BundleName) {
        self.0.lock().by_name.remove(name);
    }
}

impl Manifests {
    fn find(&mut self, root: &Path, is_it: impl Fn(&Says) -> bool) -> Result<Option<Bundle>, ArchiveError> {
        self.looks += 1;
        // Most are where they were.
        let was_it =
            |(name, known): (&BundleName, &Manifest)| known.says.as_ref().is_some_and(&is_it).then(|| name.clone());
        if let Some(name) = self.by_name.iter().find_map(was_it)
            && let Some(bundle) = self.look_at(root, &name, &is_it)
        {
            return Ok(Some(bundle.clone()));
        }
        for name in list(root)? {
            if let Some(bundle) = self.look_at(root, &name?, &is_it) {
                return Ok(Some(bundle.clone()));
            }
        }
        let looks = self.looks;
        self.by_name.retain(|_, known| known.seen_at_look == looks);
        Ok(None)
    }

    /// Returns a bundle if it is there and is the one that is looked for.
    fn look_at(&mut self, root: &Path, name: &BundleName, is_it: impl Fn(&Says) -> bool) -> Option<&Bundle> {
        // Asked before: what changes while it is read is read again.
        let found = root.join(name.as_str()).join(MANIFEST_FILE).symlink_metadata();
        let Ok(stamp) = found.map(|found| Stamp::of(&found)) else {
            self.by_name.remove(name);
            return None;
        };
        let looks = self.looks;
        if let Some(known) = self.by_name.get_mut(name)
            && known.stamp == stamp
            && looks.saturating_sub(known.read_at_look) < LOOKS_MAX
            && !known.says.as_ref().is_some_and(&is_it)
        {
            known.seen_at_look = looks;
            return None;
        }
        let Ok(says) = read(root, name, stamp.bytes) else {
            self.by_name.remove(name);
            return None;
        };
        let known = Manifest { stamp, read_at_look: looks, seen_at_look: looks, says };
        self.by_name.insert(name.clone(), known);
        self.by_name.get(name)?.says.as_ref().filter(|says| is_it(says)).map(|(_, bundle)| bundle)
    }
}

/// Reads a manifest of so many bytes. One that the disk does not hand out may be another one next time.
fn read(root: &Path, name: &BundleName, length: u64) -> Result<Option<Says>, ArchiveError> {
    let (manifest, digest) = match read_manifest(root, name) {
        Ok(read) => read,
        Err(error @ ArchiveError::Io { .. }) => return Err(error),
        Err(_) => return Ok(None),
    };
    let bundle = Bundle {
        name: name.clone(),
        manifest: digest,
        is_encrypted: manifest.is_encrypted(),
        exported_at: manifest.exported_at,
        items: manifest.items,
        bytes: manifest.file_bytes().saturating_add(length),
    };
    Ok(Some((manifest.idempotency_key, bundle)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use retention_core::evidence::manifest::MANIFEST_FORMAT;
    use retention_core::evidence::{ExportFormat, ExportManifest};
    use retention_core::id::{Position, RunId, SagaId};
    use retention_core::time::Timestamp;

    use super::*;

    fn name(number: u8) -> BundleName {
        format!("ada_20260301T10000012{number:02}").parse().unwrap()
    }

    /// Puts a bundle there of which nothing but its manifest is of use.
    fn put(root: &Path, number: u8, key: &str) -> Digest {
        let manifest = ExportManifest {
            format: MANIFEST_FORMAT,
            exported_at: Timestamp(0),
            run: RunId(Position(1)),
            saga: SagaId(Position(2)),
            idempotency_key: Digest::of(key.as_bytes()),
            mailbox: None,
            policy: "contacts".to_owned(),
            policy_digest: Digest::of(b"policy"),
            plan_digest: Digest::of(b"plan"),
            formats: vec![ExportFormat::Jsonl],
            csv_profile: None,
            items: 0,
            counts: Vec::new(),
            recipients: Vec::new(),
            files: Vec::new(),
        };
        let directory = root.join(name(number).as_str());
        fs::create_dir_all(&directory).unwrap();
        let bytes = manifest.to_bytes().unwrap();
        // As a file of its own, so that it is another one whatever the clock of the file system says.
        fs::write(directory.join("new"), &bytes).unwrap();
        fs::rename(directory.join("new"), directory.join(MANIFEST_FILE)).unwrap();
        Digest::of(&bytes)
    }

    fn found(known: &Known, root: &Path, key: &str) -> Option<BundleName> {
        known.find(root, |found, _| found == Digest::of(key.as_bytes())).unwrap().map(|bundle| bundle.name)
    }

    fn read_at(known: &Known, number: u8) -> Option<u64> {
        known.0.lock().by_name.get(&name(number)).map(|known| known.read_at_look)
    }

    #[test]
    fn a_bundle_that_is_missing_is_looked_for_without_reading_manifests_that_did_not_change() {
        let root = tempfile::tempdir().unwrap();
        let known = Known::default();
        for number in 1..=3 {
            put(root.path(), number, &format!("bundle {number}"));
        }
        fs::write(root.path().join(name(3).as_str()).join(MANIFEST_FILE), b"{}").unwrap();
        for look in 1..LOOKS_MAX {
            assert_eq!(found(&known, root.path(), "missing"), None);
            assert_eq!([1, 2, 3].map(|number| read_at(&known, number)), [Some(1); 3], "at look {look}");
        }
        put(root.path(), 2, "bundle 2");
        assert_eq!(found(&known, root.path(), "missing"), None);
        assert_eq!([1, 2, 3].map(|number| read_at(&known, number)), [Some(1), Some(LOOKS_MAX), Some(1)]);
        assert_eq!(found(&known, root.path(), "missing"), None);
        let again = Some(LOOKS_MAX + 1);
        assert_eq!([1, 2, 3].map(|number| read_at(&known, number)), [again, Some(LOOKS_MAX), again], "now and then");
    }

    #[test]
    fn a_bundle_is_found_where_it_is_now() {
        let root = tempfile::tempdir().unwrap();
        let known = Known::default();
        assert_eq!(found(&known, root.path(), "a"), None);
        let manifest = put(root.path(), 1, "a");
        put(root.path(), 2, "b");
        assert_eq!(found(&known, root.path(), "a"), Some(name(1)));
        let by_itself = known.find(root.path(), |_, bundle| bundle.manifest == manifest).unwrap().unwrap();
        assert_eq!((by_itself.name, by_itself.is_encrypted), (name(1), false));
        // Moved, taken away, put back, and another one in its place.
        let path = |number| root.path().join(name(number).as_str());
        fs::rename(path(1), path(3)).unwrap();
        assert_eq!(found(&known, root.path(), "a"), Some(name(3)));
        let away = root.path().join("away");
        fs::rename(path(3), &away).unwrap();
        assert_eq!((found(&known, root.path(), "a"), read_at(&known, 3)), (None, None));
        fs::rename(&away, path(3)).unwrap();
        assert_eq!(found(&known, root.path(), "a"), Some(name(3)));
        put(root.path(), 3, "c");
        assert_eq!((found(&known, root.path(), "a"), found(&known, root.path(), "c")), (None, Some(name(3))));
        fs::write(path(3).join(MANIFEST_FILE), b"{}").unwrap();
        assert_eq!(found(&known, root.path(), "c"), None);
        fs::remove_file(path(2).join(MANIFEST_FILE)).unwrap();
        assert_eq!(found(&known, root.path(), "b"), None);
        put(root.path(), 2, "b");
        assert_eq!(found(&known, root.path(), "b"), Some(name(2)));
        let looks = known.0.lock().looks;
        assert_eq!(read_at(&known, 2), Some(looks), "what is found was read just then");
        known.forget(&name(2));
        assert_eq!(read_at(&known, 2), None);
    }
}

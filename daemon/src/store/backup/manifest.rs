//! What belongs to one backup.

use std::path::Path;

use retention_core::id::{Digest, Position};
use retention_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BackupError, Places, digest_of, stamp};
use crate::flush::Door;
use crate::halt::Halt;
use crate::store::durable_file::{self, FileAction};
use crate::store::vault::seal::IndexKey;

/// The version of the manifest.
const FORMAT: u32 = 1;

/// A segment of the journal has some hundred bytes here, and a full log has some ten thousand of them.
const MANIFEST_BYTES_MAX: u64 = 16 * 1024 * 1024;

const ROLE: &str = "manifest of the backup";

/// What the name of a file that is encrypted ends in.
pub(super) const ENCRYPTED: &str = ".age";

/// A file, or the beginning of one that goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its name in its directory.
    pub name: String,
    /// How many of its bytes belong to this backup.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: Digest,
    /// What lies there instead, when it is encrypted; the name of the file ends in `.age` then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<Encrypted>,
}

/// A whole file of age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encrypted {
    /// How long it is, in bytes.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: Digest,
    /// Whose keys it is encrypted to: SHA-256 of these, sorted, each with a line feed.
    pub to: Digest,
}

impl Part {
    /// Returns the name of the file that holds it.
    pub(super) fn file_name(&self) -> String {
        match self.encrypted {
            None => self.name.clone(),
            Some(_) => format!("{}{ENCRYPTED}", self.name),
        }
    }

    /// Returns how long what lies there is, and its SHA-256.
    pub(super) fn lies_there(&self) -> (u64, Digest) {
        self.encrypted.map_or((self.bytes, self.sha256), |encrypted| (encrypted.bytes, encrypted.sha256))
    }
}

/// A backup: the log up to an event, and the keys of that moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: u32,
    /// The name of the store, in hexadecimal digits.
    pub store: String,
    /// The version of the program that made it.
    pub program: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// The last event that it holds.
    pub last: Position,
    /// SHA-256 of the envelope of that event: which of two logs that parted this is.
    pub envelope: Digest,
    /// The segments of the journal, ascending.
    pub journal: Vec<Part>,
    /// The signed checkpoints, when there is a tree.
    pub checkpoints: Option<Part>,
    /// What witnesses signed over them, when one ever did. Not written without: older programs know no such part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosignatures: Option<Part>,
    /// The files of the copy of the keys.
    pub keys: Vec<Part>,
    /// Until when that copy is kept.
    pub keys_until: Timestamp,
}

impl Manifest {
    /// Makes the manifest of a backup that has no files yet.
    pub(super) fn of(store: String, made_at: Timestamp, last: Position, envelope: Digest) -> Self {
        Self {
            format: FORMAT,
            store,
            program: crate::store::open::program_version(),
            made_at,
            last,
            envelope,
            journal: Vec::new(),
            checkpoints: None,
            cosignatures: None,
            keys: Vec::new(),
            keys_until: made_at,
        }
    }

    /// Returns how large the backup is without its keys, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.journal.iter().chain(&self.checkpoints).chain(&self.cosignatures).map(|part| part.bytes).sum()
    }

    /// Returns how large its copy of the keys is, in bytes.
    #[must_use]
    pub fn keys_bytes(&self) -> u64 {
        self.keys.iter().map(|part| part.bytes).sum()
    }

    /// Writes it, durably, behind its stamp. From here on there is this backup.
    pub(super) fn write(&self, places: &Places, key: &IndexKey, door: Door<'_>) -> Result<Digest, BackupError> {
        let text = serde_json::to_vec_pretty(self)?;
        stamp::put(places, self.last, &text, key, door)?;
        durable_file::replace_through(door, &places.manifest_of(self.last), &text, ROLE)?;
        Ok(Digest::of(&text))
    }

    /// Reads the manifest of one backup, whoever wrote it: see [`Self::stamped`].
    ///
    /// # Errors
    /// When there is none, or it is not as it was written.
    pub fn read(places: &Places, last: Position) -> Result<Self, BackupError> {
        Self::parse(last, &Self::text(places, last)?)
    }

    pub(super) fn text(places: &Places, last: Position) -> Result<Vec<u8>, BackupError> {
        durable_file::read_bounded(&places.manifest_of(last), MANIFEST_BYTES_MAX, ROLE)?.ok_or(BackupError::Absent)
    }

    pub(super) fn parse(last: Position, text: &[u8]) -> Result<Self, BackupError> {
        let changed = |what: &str| BackupError::Changed { last, file: "manifest".to_owned(), what: what.to_owned() };
        let manifest: Self = serde_json::from_slice(text).map_err(|_| changed("it is no manifest"))?;
        if manifest.format != FORMAT {
            return Err(changed("it was written by a newer program"));
        }
        // Names lead to files: none may lead out of the backup.
        let has_strange_name =
            manifest.journal.iter().zip(1..).any(|(part, number)| !is_segment_file(&part.name, number))
                || manifest.keys.iter().any(|part| !is_key_file(&part.name))
                || manifest.cosignatures.iter().any(|part| !is_cosignatures_file(&part.name));
        if manifest.last != last || manifest.journal.is_empty() || has_strange_name {
            return Err(changed("it names files that no backup has"));
        }
        Ok(manifest)
    }

    /// Reads the manifest of a backup that a log tells of; `None` when it is not there, or not the one that the log tells of.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn told_of(places: &Places, last: Position, digest: Digest) -> Result<Option<Self>, BackupError> {
        match Self::text(places, last) {
            Ok(text) if Digest::of(&text) == digest => Self::parse(last, &text).map(Some),
            Ok(_) | Err(BackupError::Absent) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes it: from then on there is no such backup.
    pub(super) fn remove(&self, places: &Places, door: Door<'_>) -> Result<(), BackupError> {
        std::fs::remove_file(places.manifest_of(self.last)).map_err(durable_file::failed(ROLE, FileAction::Remove))?;
        Ok(durable_file::fsync_dir_through(door, &places.manifests(), ROLE)?)
    }

    /// Returns the backups that there are, the oldest first.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn list(places: &Places) -> Result<Vec<Position>, BackupError> {
        let failed = || durable_file::failed("directory of manifests", FileAction::Read);
        let entries = match std::fs::read_dir(places.manifests()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed()(error).into()),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed())?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(".json"));
            found.extend(stem.and_then(|stem| stem.parse().ok()).map(Position));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Says whether a private key is needed to bring it back.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.journal.iter().chain(&self.keys).any(|part| part.encrypted.is_some())
    }

    /// Says whether the copy of the keys is still there.
    #[must_use]
    pub fn has_keys(&self, places: &Places) -> bool {
        places.keys_of(self.last).is_dir()
    }

    /// Reads every file of the log back and compares it.
    ///
    /// # Errors
    /// Names the first that is not as it was written, or says that it was asked to stop.
    pub fn check_log(&self, places: &Places, halt: &Halt, done: &mut dyn FnMut(u64)) -> Result<(), BackupError> {
        for part in &self.journal {
            self.check(part, &places.journal().join(part.file_name()), halt)?;
            done(part.bytes);
        }
        if let Some(part) = &self.checkpoints {
            self.check(part, &places.checkpoints(), halt)?;
            done(part.bytes);
        }
        if let Some(part) = &self.cosignatures {
            self.check(part, &places.cosignatures(&part.name), halt)?;
            done(part.bytes);
        }
        Ok(())
    }

    /// Reads every file of the copy of the keys back and compares it.
    ///
    /// # Errors
    /// When the copy is gone, or a file is not as it was written.
    pub fn check_keys(&self, places: &Places, halt: &Halt) -> Result<(), BackupError> {
        let dir = places.keys_of(self.last);
        if !dir.is_dir() {
            return Err(BackupError::KeysGone { last: self.last, until: self.keys_until });
        }
        self.keys.iter().try_for_each(|part| self.check(part, &dir.join(part.file_name()), halt))
    }

    pub(super) fn check(&self, part: &Part, path: &Path, halt: &Halt) -> Result<(), BackupError> {
        self.check_length(part, path)?;
        let (bytes, sha256) = part.lies_there();
        if digest_of(path, bytes, halt)? == sha256 {
            Ok(())
        } else {
            Err(self.changed(part, "its SHA-256 is another one"))
        }
    }

    /// Checks that a file lies there and is as long as it was written, without reading it.
    pub(super) fn check_length(&self, part: &Part, path: &Path) -> Result<(), BackupError> {
        let (bytes, _) = part.lies_there();
        let there = std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len());
        match there {
            None => Err(self.changed(part, "it is missing")),
            Some(there) if there < bytes => Err(self.changed(part, "it is too short")),
            // A segment may go on behind the end of a backup; what is encrypted is whole.
            Some(there) if part.encrypted.is_some() && there > bytes => Err(self.changed(part, "it is too long")),
            Some(_) => Ok(()),
        }
    }

    fn changed(&self, part: &Part, what: &str) -> BackupError {
        BackupError::Changed { last: self.last, file: part.name.clone(), what: what.to_owned() }
    }
}

/// Returns the name of a segment of the journal.
pub(super) fn segment_name(number: u32) -> String {
    format!("{number:08}.seg")
}

/// Returns the name of a segment that was written anew since an earlier backup: by a compaction. The earlier one keeps
/// its copy.
pub(super) fn later_segment_name(number: u32, last: Position) -> String {
    format!("{number:08}.{:016x}.seg", last.0)
}

/// The name of the copy of the cosignatures.
pub(super) const COSIGNATURES: &str = "cosignatures";

/// Returns the name of a copy of cosignatures that do not go on where an earlier copy ends, which is kept.
pub(super) fn later_cosignatures_name(last: Position) -> String {
    format!("{COSIGNATURES}.{:016x}", last.0)
}

fn is_cosignatures_file(name: &str) -> bool {
    let later = name.strip_prefix(COSIGNATURES).and_then(|rest| rest.strip_prefix('.'));
    name == COSIGNATURES || later.is_some_and(is_number)
}

/// Says whether a text is what tells a later copy from an earlier one.
fn is_number(hex: &str) -> bool {
    hex.len() == 16 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_segment_file(name: &str, number: u32) -> bool {
    let later = name.strip_prefix(&format!("{number:08}.")).and_then(|rest| rest.strip_suffix(".seg"));
    name == segment_name(number) || later.is_some_and(is_number)
}

/// Says whether a file belongs into a copy of the keys.
pub(super) fn is_key_file(name: &str) -> bool {
    let is_slots = name
        .strip_prefix("slots.")
        .is_some_and(|number| number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit()));
    is_slots || matches!(name, "wrapping.a" | "wrapping.b" | super::make::SIGNING_KEY)
}

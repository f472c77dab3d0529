//! The manifest of a bundle: what was exported, why, and the hash of every file.

use serde::{Deserialize, Serialize};

use super::bundle::{MANIFEST_FILE, MANIFEST_ITEMS_FILE, TEXTS_FILE};
use crate::policy::{AgeRecipient, CsvProfile, ExportFormat};

use crate::id::{Digest, EntityId, RunId, SagaId};
use crate::record::Kind;
use crate::time::Timestamp;

/// The version of the manifest's form. A change of form is a new number.
pub const MANIFEST_FORMAT: u32 = 1;

/// The version of the form of a bundle that is encrypted: what stands in [`MANIFEST_FORMAT`], and to whom, and what each
/// file is before it is encrypted.
pub const MANIFEST_FORMAT_ENCRYPTED: u32 = 2;

/// How the name of a file ends that is encrypted.
pub const ENCRYPTED_SUFFIX: &str = ".age";

/// The files of an encrypted bundle that are not: they hold numbers and digests, by which everybody can see that a bundle
/// is what it was.
const NEVER_ENCRYPTED: [&str; 2] = [MANIFEST_ITEMS_FILE, TEXTS_FILE];

/// The largest manifest that is read: 1 MiB. The items stand in a file of their own, so it holds a few lines per file.
pub const MANIFEST_BYTES_MAX: usize = 1024 * 1024;

/// The most files of one bundle: one per kind and format leaves ample room below it.
pub const FILES_MAX: usize = 64;

/// The longest file name of a bundle in bytes; all are ours and short.
const FILE_NAME_BYTES_MAX: usize = 64;

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its name in the bundle.
    pub name: String,
    /// Its length in bytes, as it lies there.
    pub bytes: u64,
    /// Its SHA-256, as it lies there.
    pub sha256: Digest,
    /// What it is once it is decrypted; `None` of a file that is not encrypted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plain: Option<PlainFile>,
    /// What its rows are, where all are of one kind.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kind: Option<Kind>,
    /// Lines, or CSV records after the header.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rows: Option<u64>,
    /// How many of the rows stand for no item: definitions of custom fields that only the layout tells of.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub derived_rows: u64,
    /// Cells of the workbook that were cut or left out because a worksheet cannot hold them.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub cut_cells: u64,
}

impl FileEntry {
    /// Returns the name that it has once it is decrypted.
    #[must_use]
    pub fn plain_name(&self) -> &str {
        match self.plain {
            Some(_) => self.name.strip_suffix(ENCRYPTED_SUFFIX).unwrap_or(&self.name),
            None => &self.name,
        }
    }
}

/// What an encrypted file is once it is decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainFile {
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: Digest,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How many items of a kind a bundle holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindCount {
    /// The kind.
    pub kind: Kind,
    /// How many.
    pub items: u64,
}

/// What a bundle holds and in whose name it was written.
///
/// **Invariant:** one value has one byte form, so its SHA-256 names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportManifest {
    /// [`MANIFEST_FORMAT`], or [`MANIFEST_FORMAT_ENCRYPTED`].
    pub format: u32,
    /// The instant in the bundle's name.
    pub exported_at: Timestamp,
    /// The run.
    pub run: RunId,
    /// The saga.
    pub saga: SagaId,
    /// The idempotency key of the export step.
    pub idempotency_key: Digest,
    /// The mailbox of the items.
    pub mailbox: Option<EntityId>,
    /// The id of the policy.
    pub policy: String,
    /// The digest of the policy.
    pub policy_digest: Digest,
    /// The digest of the approved plan.
    pub plan_digest: Digest,
    /// The forms in which the items are written, ascending.
    pub formats: Vec<ExportFormat>,
    /// How CSV cells are written, if there is CSV.
    pub csv_profile: Option<CsvProfile>,
    /// How many items there are.
    pub items: u64,
    /// How many of each kind, ascending, none zero.
    pub counts: Vec<KindCount>,
    /// Whose keys open the files that are encrypted, ascending; empty of a bundle that is not.
    #[serde(skip_serializing_if = "Vec::is_empty", default, with = "recipients")]
    pub recipients: Vec<AgeRecipient>,
    /// Every file but the manifest, ascending by name.
    pub files: Vec<FileEntry>,
}

/// Keys as text.
mod recipients {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::policy::AgeRecipient;

    pub(super) fn serialize<S: Serializer>(keys: &[AgeRecipient], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(keys.iter().map(AgeRecipient::as_str))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AgeRecipient>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| text.parse().map_err(|_| de::Error::custom("not a public key"))).collect()
    }
}

/// A manifest cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More than [`MANIFEST_BYTES_MAX`].
    #[error("the manifest is larger than {MANIFEST_BYTES_MAX} bytes")]
    TooLarge,
    /// No manifest, or one with unknown keys.
    #[error("not a manifest: unreadable at line {line}, column {column}")]
    NotAManifest {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// Written by another version of the program.
    #[error("the manifest has format {found}, this program knows {MANIFEST_FORMAT} and {MANIFEST_FORMAT_ENCRYPTED}")]
    UnknownFormat {
        /// The number found.
        found: u32,
    },
    /// Its parts contradict each other.
    #[error("the manifest contradicts itself: {what}")]
    Contradiction {
        /// Which part.
        what: &'static str,
    },
    /// It says the same in other bytes than an export writes.
    #[error("the manifest is not in canonical form")]
    NotCanonical,
}

impl ExportManifest {
    /// Returns the one byte form: indented JSON with a line end.
    ///
    /// # Errors
    /// Says when the parts contradict each other, so that no such manifest is ever written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|_| ManifestError::Contradiction { what: "it has no form in JSON" })?;
        bytes.push(b'\n');
        if bytes.len() > MANIFEST_BYTES_MAX { Err(ManifestError::TooLarge) } else { Ok(bytes) }
    }

    /// Reads the byte form.
    ///
    /// # Errors
    /// Says what is wrong; never what stands there.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLarge);
        }
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|error| ManifestError::NotAManifest { line: error.line(), column: error.column() })?;
        if manifest.to_bytes()? == bytes { Ok(manifest) } else { Err(ManifestError::NotCanonical) }
    }

    /// Returns the length of all files but the manifest.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// Returns the entry of a file by the name under which it lies there.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&FileEntry> {
        self.files.iter().find(|file| file.name == name)
    }

    /// Returns the entry of a file by the name that it has once it is decrypted.
    #[must_use]
    pub fn file_of(&self, plain_name: &str) -> Option<&FileEntry> {
        self.files.iter().find(|file| file.plain_name() == plain_name)
    }

    /// Says whether its files can be read by those alone who have a key.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        !self.recipients.is_empty()
    }

    fn check(&self) -> Result<(), ManifestError> {
        let contradiction = |what| Err(ManifestError::Contradiction { what });
        match self.format {
            MANIFEST_FORMAT | MANIFEST_FORMAT_ENCRYPTED => {}
            found => return Err(ManifestError::UnknownFormat { found }),
        }
        if self.is_encrypted() != (self.format == MANIFEST_FORMAT_ENCRYPTED) || !ascending(&self.recipients) {
            return contradiction("its recipients");
        }
        if !self.files.iter().all(|file| self.is_as_encrypted(file)) {
            return contradiction("which of its files are encrypted");
        }
        if !ascending(&self.formats) || !self.formats.contains(&ExportFormat::Jsonl) {
            return contradiction("its formats");
        }
        if self.formats.contains(&ExportFormat::Csv) != self.csv_profile.is_some() {
            return contradiction("its CSV profile");
        }
        if self.files.len() > FILES_MAX
            || !self.files.iter().all(|file| is_plain_name(&file.name))
            || !self.files.is_sorted_by(|a, b| a.name < b.name)
        {
            return contradiction("its list of files");
        }
        let total = self.counts.iter().try_fold(0u64, |sum, count| sum.checked_add(count.items));
        if total != Some(self.items)
            || self.counts.iter().any(|count| count.items == 0)
            || !self.counts.is_sorted_by(|a, b| a.kind < b.kind)
        {
            return contradiction("its counts");
        }
        if self.formats.contains(&ExportFormat::Csv) && self.counts.iter().any(|c| self.csv_items(c.kind) != c.items) {
            return contradiction("the rows of its CSV files");
        }
        Ok(())
    }

    /// Says whether a file is encrypted where it has to be, and called so.
    fn is_as_encrypted(&self, file: &FileEntry) -> bool {
        let must_be = self.is_encrypted() && !NEVER_ENCRYPTED.contains(&file.name.as_str());
        file.plain.is_some() == must_be && file.name.ends_with(ENCRYPTED_SUFFIX) == must_be
    }

    /// Returns how many items of a kind stand in CSV files.
    fn csv_items(&self, kind: Kind) -> u64 {
        self.files
            .iter()
            .filter(|file| file.kind == Some(kind))
            .map(|file| file.rows.unwrap_or(0).saturating_sub(file.derived_rows))
            .fold(0, u64::saturating_add)
    }
}

fn ascending<T: Ord>(values: &[T]) -> bool {
    values.is_sorted_by(|a, b| a < b)
}

/// A name that cannot lead out of the bundle and is not the manifest's own.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= FILE_NAME_BYTES_MAX
        && !name.starts_with('.')
        && name != MANIFEST_FILE
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::Position;

    fn sample() -> ExportManifest {
        let file = |name: &str, kind, rows| FileEntry {
            name: name.to_owned(),
            bytes: 10,
            sha256: Digest::of(name.as_bytes()),
            plain: None,
            kind,
            rows,
            derived_rows: 0,
            cut_cells: 0,
        };
        ExportManifest {
            format: MANIFEST_FORMAT,
            exported_at: Timestamp::from_unix_seconds(1_700_000_000),
            run: RunId(Position(3)),
            saga: SagaId(Position(4)),
            idempotency_key: Digest::of(b"key"),
            mailbox: Some(EntityId(1)),
            policy: "contacts".to_owned(),
            policy_digest: Digest::of(b"policy"),
            plan_digest: Digest::of(b"plan"),
            formats: vec![ExportFormat::Jsonl, ExportFormat::Csv],
            csv_profile: Some(CsvProfile::Exact),
            items: 2,
            counts: vec![KindCount { kind: Kind::Contact, items: 2 }],
            recipients: Vec::new(),
            files: vec![file("Contacts.csv", Some(Kind::Contact), Some(2)), file("items.jsonl", None, Some(2))],
        }
    }

    #[test]
    fn a_manifest_reads_back_and_has_one_byte_form() {
        let bytes = sample().to_bytes().unwrap();
        assert_eq!(ExportManifest::parse(&bytes), Ok(sample()));
        let loose = serde_json::to_vec(&sample()).unwrap();
        assert_eq!(ExportManifest::parse(&loose), Err(ManifestError::NotCanonical));
    }

    fn encrypted() -> ExportManifest {
        let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p".parse().unwrap();
        let mut manifest = sample();
        (manifest.format, manifest.recipients) = (MANIFEST_FORMAT_ENCRYPTED, vec![key]);
        for file in &mut manifest.files {
            file.plain = Some(PlainFile { bytes: file.bytes - 3, sha256: Digest::of(b"plain") });
            file.name.push_str(ENCRYPTED_SUFFIX);
        }
        manifest
    }

    #[test]
    fn an_encrypted_bundle_says_to_whom_and_what_its_files_were_and_another_is_written_as_ever() {
        let bytes = encrypted().to_bytes().unwrap();
        assert_eq!(ExportManifest::parse(&bytes), Ok(encrypted()));
        let file = encrypted().file_of("items.jsonl").cloned().unwrap();
        assert_eq!((file.name.as_str(), file.plain_name()), ("items.jsonl.age", "items.jsonl"));
        let plain = String::from_utf8(sample().to_bytes().unwrap()).unwrap();
        assert!(plain.contains("\"format\": 1,") && !plain.contains("recipients") && !plain.contains("plain"));

        let broken: [fn(&mut ExportManifest); 7] = [
            |m| m.format = 1,
            |m| m.format = 3,
            |m| m.recipients.clear(),
            |m| m.recipients.extend(m.recipients.clone()),
            |m| m.files[0].plain = None,
            |m| m.files[1].name = "items.jsonl".to_owned(),
            |m| m.files[1].name = "manifest-items.jsonl".to_owned(),
        ];
        for change in broken {
            let mut manifest = encrypted();
            change(&mut manifest);
            assert!(manifest.to_bytes().is_err());
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let broken: [fn(&mut ExportManifest); 9] = [
            |m| m.format = 2,
            |m| m.files[0].plain = Some(PlainFile { bytes: 1, sha256: Digest::of(b"plain") }),
            |m| m.items = 3,
            |m| m.formats.reverse(),
            |m| m.csv_profile = None,
            |m| m.files[0].name = "../Contacts.csv".to_owned(),
            |m| m.files[0].rows = Some(1),
            |m| m.files.reverse(),
            |m| m.files[1].name = "manifest.json".to_owned(),
        ];
        for change in broken {
            let mut manifest = sample();
            change(&mut manifest);
            assert!(manifest.to_bytes().is_err());
            let mut bytes = serde_json::to_vec_pretty(&manifest).unwrap();
            bytes.push(b'\n');
            assert!(ExportManifest::parse(&bytes).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = ExportManifest::parse(&bytes);
        }

        #[test]
        fn a_changed_byte_is_refused_or_another_manifest(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
            let mut bytes = sample().to_bytes().unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(other) = ExportManifest::parse(&bytes) {
                prop_assert_ne!(other, sample());
            }
        }
    }
}

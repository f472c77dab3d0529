//! Where exports go: a bundle is written once, made durable, renamed into place, and verified by reading it back.
//!
//! A bundle is a directory named as the export script of the Outlook Customer Manager names its own:
//! `<mailbox>_<yyyyMMddTHHmmssffff>`. Until it is complete and durable it has a dot-name that tells its idempotency
//! key, so a crash leaves either a whole bundle or something that [`ExportTarget::sweep`] recognises.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use retention_core::event::saga::StepFailed;
use retention_core::evidence::{
    CsvProfile, ExpectedItem, ExportFormat, ExportItem, ExportManifest, ItemLine, ItemLineError, ManifestError,
};
use retention_core::id::{Digest, EntityId, RunId, SagaId};
use retention_core::record::Kind;
use retention_core::time::Timestamp;

use self::known::Known;
use super::outcome::{Cause, Outcome, Refusal, Retry};
use crate::flush::{Flush, FlushGate, OpenGate};
use crate::halt::Halt;

mod bundle;
mod durable;
mod encrypted;
mod jsonl;
mod known;
mod manifest;
mod mbox;
mod message;
mod name;
mod ocm_csv;
mod place;
mod verify;
mod xlsx;

pub use crate::keyholders::OneTimeKey;
pub use bundle::BundleWriter;
pub use encrypted::Encryption;
pub use manifest::read_manifest;
pub use message::TEXT_BYTES_MAX;
pub use name::BundleName;
pub use place::{list, remove, sweep};
pub use retention_core::evidence::bundle::{
    ITEMS_FILE, LAYOUTS_FILE, MANIFEST_FILE, MANIFEST_ITEMS_FILE, MBOX_FILE, TEXTS_DIRECTORY, TEXTS_FILE,
};
pub use verify::{Verified, VerifyError, verify, verify_recorded};

/// The workbook.
pub const WORKBOOK_FILE: &str = "items.xlsx";

/// How long an exports directory that is full, or may not be written, is given before the next attempt: long enough for
/// somebody or something to mend that.
const RETRY_NO_EXPORTS: Duration = Duration::from_secs(15 * 60);
/// How long any other failing disk is given.
const RETRY_IO: Duration = Duration::from_secs(60);

/// What a bundle is written for, and how.
#[derive(Clone)]
pub struct BundleSpec {
    /// The run.
    pub run: RunId,
    /// The saga.
    pub saga: SagaId,
    /// The idempotency key of the export step.
    pub idempotency_key: Digest,
    /// The mailbox of the items; `None` for items that live in none.
    pub mailbox: Option<MailboxName>,
    /// The id of the policy.
    pub policy: String,
    /// The digest of the policy.
    pub policy_digest: Digest,
    /// The digest of the approved plan.
    pub plan_digest: Digest,
    /// The instant for the name.
    pub exported_at: Timestamp,
    /// The zone in which the name tells it.
    pub zone: TimeZone,
    /// The forms to write; JSON Lines are written in any case.
    pub formats: BTreeSet<ExportFormat>,
    /// How CSV cells are written.
    pub csv_profile: CsvProfile,
    /// To whom what it says of people is encrypted; `None`: whoever can read its files can read it.
    pub encryption: Option<Encryption>,
}

/// A mailbox and its address. The address is personal data: this type has no `Debug`.
#[derive(Clone)]
pub struct MailboxName {
    /// The mailbox.
    pub entity: EntityId,
    /// Its address, for the name of the directory.
    pub address: String,
}

/// A bundle that is complete and durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Its name.
    pub name: BundleName,
    /// The SHA-256 of its manifest.
    pub manifest: Digest,
    /// Whether it can be read by those alone who have a key.
    pub is_encrypted: bool,
    /// The instant in its name.
    pub exported_at: Timestamp,
    /// How many items it holds.
    pub items: u64,
    /// The bytes of its files, the manifest included.
    pub bytes: u64,
}

/// What a probe finds under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// The bundle is complete and durable.
    Finished(Bundle),
    /// An attempt left unfinished files behind; the next attempt with the same key removes them first.
    Partial,
    /// Nothing.
    Absent,
}

/// A bundle could not be written, read or removed. No message holds a path, a name or content.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file system refused.
    #[error("the archive could not {doing}: {source}; no complete bundle was left behind")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The kind stands for no exportable item.
    #[error("entities of kind {kind} are never exported")]
    NotExportable {
        /// The kind.
        kind: Kind,
    },
    /// The entity was already added.
    #[error("{entity} was added to the bundle twice; the bundle was dropped")]
    Duplicate {
        /// The entity.
        entity: EntityId,
    },
    /// Nothing was added.
    #[error("a bundle without items is not written")]
    Empty,
    /// One item is larger than what can be read back.
    #[error("{entity} is larger than a bundle can hold; the bundle was dropped")]
    TooLarge {
        /// The entity.
        entity: EntityId,
    },
    /// The items could not be read from where they are kept.
    #[error("the items could not be read ({code}); the bundle was dropped")]
    Items {
        /// A stable code of the reader.
        code: &'static str,
    },
    /// All names of this mailbox around this instant are taken.
    #[error("every name of this mailbox around this instant is taken; try again later")]
    NamesTaken,
    /// The text is no bundle name.
    #[error("not a bundle name: expected a form like ada@example.org_20200302T0915301234")]
    NotAName,
    /// Somebody to whom it was to be encrypted has no key.
    #[error("it cannot be encrypted to those who are to open it; no bundle was written")]
    Recipients,
    /// The workbook could not be made.
    #[error("the workbook could not be made; the bundle was dropped")]
    Workbook,
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A line cannot be used.
    #[error(transparent)]
    Line(#[from] ItemLineError),
}

impl ArchiveError {
    fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }

    /// Returns the code and whether another attempt can help.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let (code, retry) = match self {
            Self::Io { source, .. } => io_refusal(source),
            Self::NotExportable { .. } => ("not_exportable", Retry::Never),
            Self::Duplicate { .. } => ("duplicate_item", Retry::Never),
            Self::Empty => ("no_items", Retry::Never),
            Self::TooLarge { .. } => ("item_too_large", Retry::Never),
            Self::Items { code } => (*code, Retry::After(RETRY_IO)),
            Self::NamesTaken => ("names_taken", Retry::After(RETRY_IO)),
            Self::NotAName => ("not_a_bundle_name", Retry::Never),
            Self::Recipients => ("recipients", Retry::Never),
            Self::Workbook => ("workbook", Retry::Never),
            Self::Manifest(_) => ("manifest", Retry::Never),
            Self::Line(_) => ("line", Retry::Never),
        };
        Refusal { code, retry }
    }
}

/// `io::ErrorKind` is not our enum, so what is not named here is an error that may pass.
fn io_refusal(error: &io::Error) -> (&'static str, Retry) {
    match error.kind() {
        io::ErrorKind::StorageFull => (StepFailed::NO_SPACE, Retry::After(RETRY_NO_EXPORTS)),
        io::ErrorKind::QuotaExceeded => (StepFailed::QUOTA_EXCEEDED, Retry::After(RETRY_NO_EXPORTS)),
        io::ErrorKind::PermissionDenied => (StepFailed::PERMISSION_DENIED, Retry::After(RETRY_NO_EXPORTS)),
        io::ErrorKind::ReadOnlyFilesystem => (StepFailed::READ_ONLY_FILE_SYSTEM, Retry::After(RETRY_NO_EXPORTS)),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ("no_exports_directory", Retry::Operator),
        _ => ("io_error", Retry::After(RETRY_IO)),
    }
}

/// What takes the items of one bundle.
pub trait ItemSink {
    /// Adds one item with its own line; every entity at most once.
    ///
    /// # Errors
    /// After an error the bundle cannot be finished.
    fn add(&mut self, item: &ExportItem<'_>, line: &ItemLine) -> Result<(), ArchiveError>;

    /// Adds a message whose text of `size` bytes follows by [`Self::text`], until [`Self::end_text`].
    ///
    /// # Errors
    /// After an error the bundle cannot be finished.
    fn begin_text(&mut self, item: &ExportItem<'_>, line: &ItemLine, size: u64) -> Result<(), ArchiveError>;

    /// Adds a part of the text that was begun.
    ///
    /// # Errors
    /// After an error the bundle cannot be finished.
    fn text(&mut self, bytes: &[u8]) -> Result<(), ArchiveError>;

    /// Ends the text that was begun.
    ///
    /// # Errors
    /// When it is not as long as was announced; the bundle cannot be finished then.
    fn end_text(&mut self) -> Result<(), ArchiveError>;
}

/// Hands all items of a bundle to the sink, and passes its errors on.
pub type Fill<'a> = dyn FnMut(&mut dyn ItemSink) -> Result<(), ArchiveError> + 'a;

/// A place for exports. The archive on disk is one; tests put others in its place.
pub trait ExportTarget: Send + Sync {
    /// Writes a bundle and makes it durable.
    ///
    /// **On failure:** after `Refused` no bundle is there; after `Unknown` only [`Self::probe`] can tell.
    fn write(&self, spec: BundleSpec, fill: &mut Fill<'_>) -> Outcome<Bundle>;

    /// Reads a bundle back from disk and compares every item with what the log says; an encrypted one with the key of
    /// whoever wrote it.
    ///
    /// # Errors
    /// Says what differs.
    fn verify(
        &self,
        name: &BundleName,
        manifest: Digest,
        key: Option<&OneTimeKey>,
        expected: &mut dyn Iterator<Item = ExpectedItem>,
    ) -> Result<Verified, VerifyError>;

    /// Reads a bundle back from disk and compares it with its recorded manifest digest alone. Of an encrypted one it sees
    /// whether all that lies there is what was verified.
    ///
    /// # Errors
    /// Says what differs.
    fn verify_recorded(&self, name: &BundleName, manifest: Digest) -> Result<Verified, VerifyError>;

    /// Finds out what an earlier attempt left behind.
    ///
    /// # Errors
    /// Says why nobody can tell.
    fn probe(&self, idempotency_key: Digest) -> Result<Probe, ArchiveError>;

    /// Removes a bundle; `Applied` also when it is not there.
    fn remove(&self, name: &BundleName) -> Outcome<()>;

    /// Removes what attempts with a key left unfinished, and what removals left that were interrupted; `Applied` also when
    /// there is nothing.
    fn discard(&self, idempotency_key: Digest) -> Outcome<()>;

    /// Removes what attempts left unfinished, and returns how many. Only for a time when nothing is being written.
    ///
    /// # Errors
    /// Says what could not be removed.
    fn sweep(&self) -> Result<u64, ArchiveError>;
}

/// Exports as directories below one directory of a local file system.
#[derive(Clone)]
pub struct DiskArchive {
    root: PathBuf,
    gate: Arc<dyn FlushGate>,
    halt: Halt,
    /// Clones share it.
    known: Arc<Known>,
}

impl DiskArchive {
    /// Uses a directory that exists.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self::gated(root, Arc::new(OpenGate))
    }

    /// As [`Self::at`], with a gate around what makes bundles durable.
    #[must_use]
    pub fn gated(root: &Path, gate: Arc<dyn FlushGate>) -> Self {
        Self { root: root.to_path_buf(), gate, halt: Halt::default(), known: Arc::default() }
    }

    /// Stops reading bundles when that is asked for.
    #[must_use]
    pub fn halting(self, halt: Halt) -> Self {
        Self { halt, ..self }
    }

    /// Returns the names of all bundles, in no order, without loading them all.
    ///
    /// # Errors
    /// Says why the directory cannot be read.
    pub fn list(&self) -> Result<impl Iterator<Item = Result<BundleName, ArchiveError>> + use<>, ArchiveError> {
        list(&self.root)
    }

    /// Reads the manifest of a bundle.
    ///
    /// # Errors
    /// Says why it cannot be used.
    pub fn manifest(&self, name: &BundleName) -> Result<(ExportManifest, Digest), ArchiveError> {
        read_manifest(&self.root, name)
    }

    /// Finds the bundle of a manifest.
    ///
    /// # Errors
    /// Says why the directory cannot be read.
    pub fn find(&self, manifest: Digest) -> Result<Option<Bundle>, ArchiveError> {
        self.known.find(&self.root, |_, bundle| bundle.manifest == manifest)
    }

    fn removing(&self, remove: impl FnOnce(&Path) -> Outcome<()>) -> Outcome<()> {
        let stopped = |_| Outcome::Unknown(Cause { code: "removal_not_durable" });
        if let Err(error) = self.gate.before(Flush::Export) {
            return stopped(error);
        }
        let removed = remove(&self.root);
        self.gate.after(Flush::Export).map_or_else(stopped, |()| removed)
    }
}

impl ExportTarget for DiskArchive {
    fn write(&self, spec: BundleSpec, fill: &mut Fill<'_>) -> Outcome<Bundle> {
        let filled = BundleWriter::gated(&self.root, spec, Arc::clone(&self.gate)).and_then(|mut writer| {
            fill(&mut writer)?;
            Ok(writer)
        });
        match filled {
            Ok(writer) => writer.finish(),
            Err(error) => Outcome::Refused(error.refusal()),
        }
    }

    fn verify(
        &self,
        name: &BundleName,
        manifest: Digest,
        key: Option<&OneTimeKey>,
        expected: &mut dyn Iterator<Item = ExpectedItem>,
    ) -> Result<Verified, VerifyError> {
        verify(&self.root, name, manifest, key, expected, &self.halt)
    }

    fn verify_recorded(&self, name: &BundleName, manifest: Digest) -> Result<Verified, VerifyError> {
        verify_recorded(&self.root, name, manifest, &self.halt)
    }

    fn probe(&self, idempotency_key: Digest) -> Result<Probe, ArchiveError> {
        place::probe(&self.root, &self.known, idempotency_key)
    }

    fn remove(&self, name: &BundleName) -> Outcome<()> {
        self.known.forget(name);
        self.removing(|root| remove(root, name))
    }

    fn discard(&self, idempotency_key: Digest) -> Outcome<()> {
        self.removing(|root| place::discard(root, idempotency_key))
    }

    fn sweep(&self) -> Result<u64, ArchiveError> {
        sweep(&self.root)
    }
}

#[cfg(test)]
mod tests;

//! From a source of the configuration to what its reader needs.

use std::path::{Path, PathBuf};

use retention_core::id::Digest;
use retention_core::text;

use crate::config::{Delimiter, Source, SourceKind, TextEncoding};
use crate::connector::drop::SourceSpec;
use crate::connector::drop::claimed::Limits;
use crate::connector::drop::mapping::{MailboxFrom, Mapping, MappingError};
use crate::connector::drop::ocm::OcmSpec;
use crate::store::durable_file::{self, DurableFileError};

/// The largest mapping file that is read, in bytes: thousands of columns fit.
const MAPPING_BYTES_MAX: u64 = 1024 * 1024;

/// A source cannot be read because of its mapping. Its files stay where they are.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// It is not there.
    #[error("the mapping file is not there; the dropped files stay where they are; write it or correct `mapping`")]
    Absent,
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] DurableFileError),
    /// It is not text.
    #[error("the mapping file is not UTF-8; the dropped files stay where they are; save it as UTF-8")]
    NotText,
    /// It is wrong.
    #[error("the mapping file is wrong, {0}; the dropped files stay where they are")]
    Mapping(#[from] MappingError),
}

/// Reads what the configuration names and puts it together. The configuration fills what the mapping leaves open.
///
/// # Errors
/// Says what is wrong with the mapping file.
pub(super) fn spec_of(source: &Source) -> Result<SourceSpec, SpecError> {
    let limits = Limits { file_bytes_max: source.max_bytes, ..Limits::default() };
    let (ocm, mappings) = match &source.kind {
        SourceKind::Ocm => (Some(OcmSpec { zone: source.zone.clone() }), Vec::new()),
        SourceKind::Csv { mapping, encoding, delimiter } => {
            let mut mapping = mapping_of(source, mapping)?;
            mapping.encoding = mapping.encoding.or(encoding.map(encoding_of));
            mapping.delimiter = mapping.delimiter.or(delimiter.map(delimiter_of));
            (None, vec![mapping])
        }
        SourceKind::Xlsx { mapping } => (None, vec![mapping_of(source, mapping)?]),
    };
    Ok(SourceSpec { name: source.name.clone(), ocm, mappings, limits })
}

/// Returns the mapping files that cannot be used, and why. The daemon reads them anew at each look at the drop folder, so they
/// are no part of the configuration that was checked.
#[must_use]
pub fn mapping_problems(sources: &[Source]) -> Vec<(PathBuf, SpecError)> {
    let problem = |source: &Source| match &source.kind {
        SourceKind::Ocm => None,
        SourceKind::Csv { mapping, .. } | SourceKind::Xlsx { mapping } => {
            spec_of(source).err().map(|error| (mapping.clone(), error))
        }
    };
    sources.iter().filter_map(problem).collect()
}

/// Returns what tells whether mappings read a file as they did before: all that they say and none of their comments, with
/// what the configuration says for them. None where no mapping reads.
///
/// **Invariant:** `Debug` of a mapping hides nothing. Where a later version writes it otherwise, content is read once more
/// and nothing else happens.
pub(super) fn reading_of(spec: &SourceSpec) -> Option<Digest> {
    (!spec.mappings.is_empty()).then(|| Digest::of(format!("{:?}", spec.mappings).as_bytes()))
}

fn mapping_of(source: &Source, path: &Path) -> Result<Mapping, SpecError> {
    let bytes = durable_file::read_bounded(path, MAPPING_BYTES_MAX, "mapping file")?.ok_or(SpecError::Absent)?;
    let mut mapping = Mapping::parse(std::str::from_utf8(&bytes).map_err(|_| SpecError::NotText)?)?;
    if let (MailboxFrom::Nowhere, Some(mailbox)) = (&mapping.mailbox, &source.mailbox) {
        mapping.mailbox = MailboxFrom::Constant(mailbox.reveal().to_lowercase());
    }
    for rule in &mut mapping.dates {
        rule.zone = rule.zone.take().or_else(|| source.zone.clone());
    }
    Ok(mapping)
}

/// UTF-16 without a byte order mark is little-endian; with one, the mark is what counts, so nothing is named.
fn encoding_of(encoding: TextEncoding) -> text::Encoding {
    match encoding {
        TextEncoding::Utf8 => text::Encoding::Utf8,
        TextEncoding::Utf16 => text::Encoding::Utf16Le,
        TextEncoding::Windows1250 => text::Encoding::Windows1250,
        TextEncoding::Windows1252 => text::Encoding::Windows1252,
    }
}

fn delimiter_of(delimiter: Delimiter) -> text::Delimiter {
    match delimiter {
        Delimiter::Comma => text::Delimiter::Comma,
        Delimiter::Semicolon => text::Delimiter::Semicolon,
        Delimiter::Tab => text::Delimiter::Tab,
    }
}

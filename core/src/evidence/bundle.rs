//! What the files of a bundle are called, and where in it the text of each message stands.

use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};

use crate::id::{Digest, EntityId};

/// The file that lists the others.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The items, one canonical line each.
pub const ITEMS_FILE: &str = "items.jsonl";
/// The layouts that item lines name, one canonical line each.
pub const LAYOUTS_FILE: &str = "layouts.jsonl";
/// Entity, version, kind and digest of every item, in the order of [`ITEMS_FILE`].
pub const MANIFEST_ITEMS_FILE: &str = "manifest-items.jsonl";
/// The list of texts, one line for each message.
pub const TEXTS_FILE: &str = "texts.jsonl";
/// The directory of the `.eml` files.
pub const TEXTS_DIRECTORY: &str = "messages";
/// The one file of all texts.
pub const MBOX_FILE: &str = "messages.mbox";

/// One line of [`TEXTS_FILE`]: the form in which it is written, and the only one in which it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextLine {
    /// The message.
    pub entity: EntityId,
    /// `None` for a message that had vanished from its server before.
    pub text: Option<TextPlace>,
}

/// Where a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextPlace {
    /// Bytes of the message as the server has it.
    pub bytes: u64,
    /// SHA-256 of them.
    pub sha256: Digest,
    /// Bytes as they stand in the mbox, quoted; `None` in a file of its own.
    pub quoted_bytes: Option<u64>,
    /// What lies there, where its own file is encrypted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stored: Option<StoredText>,
}

/// A text as it lies there, encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredText {
    /// Its length in bytes.
    pub bytes: u64,
    /// SHA-256 of them.
    pub sha256: Digest,
}

impl TextLine {
    /// Reads a line as it was written, without its line end; `None` of any other.
    #[must_use]
    pub fn parse_line(line: &[u8]) -> Option<Self> {
        let parsed: Self = serde_json::from_slice(line).ok()?;
        serde_json::to_vec(&parsed).is_ok_and(|bytes| bytes == line).then_some(parsed)
    }
}

/// Counts the records of a CSV file behind its header: line feeds outside quotes.
///
/// # Errors
/// When it cannot be read.
pub fn count_records(mut csv: impl BufRead) -> io::Result<u64> {
    let (mut records, mut is_quoted) = (0_u64, false);
    loop {
        let chunk = csv.fill_buf()?;
        if chunk.is_empty() {
            return Ok(records.saturating_sub(1));
        }
        for &byte in chunk {
            is_quoted ^= byte == b'"';
            records += u64::from(byte == b'\n' && !is_quoted);
        }
        let length = chunk.len();
        csv.consume(length);
    }
}

/// Returns the name of a message's own file, before it is encrypted.
#[must_use]
pub fn text_file(entity: EntityId) -> String {
    format!("{entity}.eml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_texts_has_one_form() {
        let stored = Some(StoredText { bytes: 210, sha256: Digest::of(b"encrypted") });
        let place = TextPlace { bytes: 7, sha256: Digest::of(b"message"), quoted_bytes: None, stored };
        for text in [None, Some(place), Some(TextPlace { stored: None, quoted_bytes: Some(8), ..place })] {
            let line = TextLine { entity: EntityId(5), text };
            let written = serde_json::to_string(&line).unwrap();
            assert_eq!(TextLine::parse_line(written.as_bytes()), Some(line), "{written}");
            for other in [written.replacen(':', ": ", 1), format!("{written} "), written.replace("E5", "E05")] {
                assert_eq!(TextLine::parse_line(other.as_bytes()), None, "{other}");
            }
        }
    }
}

//! Encodings and delimiters: named, or detected when there is one reading only; never guessed. And text as it stands in
//! HTML.

use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult};
use serde::{Deserialize, Serialize};

/// Returns a text as it stands in HTML, between tags or in a quoted attribute.
#[must_use]
pub fn html_escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Says whether a character is one that nobody sees and that makes no word another one: byte order marks, zero-width blanks
/// and marks of direction come along when a text is copied from a web page, an address book or a language that is written from
/// right to left.
#[must_use]
pub fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{feff}'
    ) || matches!(c, '\u{2066}'..='\u{2069}')
}

/// Returns a text without the blanks and the unseen characters around it.
#[must_use]
pub fn bare(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || is_unseen(c))
}

/// Returns the text of a cell that an export has guarded against spreadsheets: `="007"`, which keeps its zeros, and `'+420…`,
/// which is no formula. Blanks and unseen characters around it are no part of it.
#[must_use]
pub fn unguarded(text: &str) -> &str {
    let text = bare(text);
    let inner = text.strip_prefix("=\"").and_then(|rest| rest.strip_suffix('"'));
    if let Some(inner) = inner.filter(|inner| !inner.contains('"')) {
        return bare(inner);
    }
    text.strip_prefix('\'').filter(|rest| rest.starts_with(['=', '+', '-', '@'])).map_or(text, bare)
}

/// Where the knowledge about a file's form comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// The configuration, the caller or the format says so.
    Named,
    /// Byte order mark, `sep=` line or the header leave no other reading.
    Detected,
}

/// The encoding of a file cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// Bytes that are not UTF-8 and no encoding named.
    #[error("the text is not UTF-8 and names no encoding")]
    Doubtful,
    /// The byte order mark, or a text that can only be UTF-8, says otherwise.
    #[error("the text is {mark}, but {named} was named")]
    Contradicted {
        /// What it is.
        mark: &'static str,
        /// What was named.
        named: &'static str,
    },
}

/// How the bytes of a file become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Encoding {
    /// UTF-8, with or without byte order mark.
    #[serde(rename = "utf-8")]
    Utf8,
    /// UTF-16, low byte first.
    #[serde(rename = "utf-16le")]
    Utf16Le,
    /// UTF-16, high byte first.
    #[serde(rename = "utf-16be")]
    Utf16Be,
    /// Central European Windows.
    #[serde(rename = "windows-1250")]
    Windows1250,
    /// Western European Windows.
    #[serde(rename = "windows-1252")]
    Windows1252,
}

impl Encoding {
    fn is_wide(self) -> bool {
        matches!(self, Self::Utf16Le | Self::Utf16Be)
    }

    /// Says whether it is a code page, in which any byte is a letter.
    #[must_use]
    pub fn is_code_page(self) -> bool {
        matches!(self, Self::Windows1250 | Self::Windows1252)
    }

    /// Returns the name in mapping files and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf16Le => "utf-16le",
            Self::Utf16Be => "utf-16be",
            Self::Windows1250 => "windows-1250",
            Self::Windows1252 => "windows-1252",
        }
    }
}

/// What separates cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delimiter {
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// Tabulator.
    Tab,
}

impl Delimiter {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Comma, Self::Semicolon, Self::Tab];

    /// Returns the byte.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }

    /// Returns the name in mapping files and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Comma => "comma",
            Self::Semicolon => "semicolon",
            Self::Tab => "tab",
        }
    }
}

/// How the start of a file was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DetectedEncoding {
    /// The encoding.
    pub encoding: Encoding,
    /// The length of the byte order mark.
    pub mark_bytes: usize,
    /// Where that is known from.
    pub certainty: Certainty,
}

/// Bytes at the start of a file that [`detect`] looks at.
pub const HEAD_BYTES: usize = 64 << 10;

/// Says how to read a file, from its first bytes and the name in the mapping.
///
/// A byte order mark decides, and letters that only UTF-8 writes so contradict the name of a code page, as a text of one
/// byte for each letter does that of UTF-16, and the other way round. Without mark and name only UTF-8 is taken: a head
/// with bytes that are not UTF-8 and without a single character that only UTF-8 explains is another encoding, and which
/// one nobody can tell.
///
/// # Errors
/// [`EncodingError::Doubtful`] and [`EncodingError::Contradicted`].
pub fn detect(head: &[u8], named: Option<Encoding>) -> Result<DetectedEncoding, EncodingError> {
    let mark = match head {
        [0xEF, 0xBB, 0xBF, ..] => Some((Encoding::Utf8, 3)),
        [0xFF, 0xFE, ..] => Some((Encoding::Utf16Le, 2)),
        [0xFE, 0xFF, ..] => Some((Encoding::Utf16Be, 2)),
        _ => None,
    };
    if let Some((encoding, mark_bytes)) = mark {
        return match named {
            // Of the two orders of bytes the mark is sure.
            Some(named) if named != encoding && !(named.is_wide() && encoding.is_wide()) => {
                Err(EncodingError::Contradicted { mark: encoding.name(), named: named.name() })
            }
            _ => Ok(DetectedEncoding { encoding, mark_bytes, certainty: Certainty::Detected }),
        };
    }
    if let Some(encoding) = named {
        let contradicted = |is: Encoding| Err(EncodingError::Contradicted { mark: is.name(), named: encoding.name() });
        if encoding.is_code_page() && is_only_utf8(head) || encoding.is_wide() && is_narrow(head) {
            return contradicted(Encoding::Utf8);
        }
        if !encoding.is_wide() && looks_wide(head) {
            return contradicted(order_of_bytes(head));
        }
        return Ok(DetectedEncoding { encoding, mark_bytes: 0, certainty: Certainty::Named });
    }
    let is_foreign = head.utf8_chunks().any(|chunk| !chunk.invalid().is_empty())
        && !is_cut_character(head)
        && head.utf8_chunks().all(|chunk| chunk.valid().is_ascii());
    if looks_wide(head) || is_foreign {
        return Err(EncodingError::Doubtful);
    }
    Ok(DetectedEncoding { encoding: Encoding::Utf8, mark_bytes: 0, certainty: Certainty::Detected })
}

/// Says whether a text looks like one of two bytes for each letter: a quarter of it, or more, is zero.
fn looks_wide(head: &[u8]) -> bool {
    head.len() >= 4 && head.iter().filter(|byte| **byte == 0).count() * 4 >= head.len()
}

/// Returns in which of the two orders most letters of a text of two bytes each are ASCII.
fn order_of_bytes(head: &[u8]) -> Encoding {
    let zeros = |from: usize| head.iter().skip(from).step_by(2).filter(|byte| **byte == 0).count();
    if zeros(0) > zeros(1) { Encoding::Utf16Be } else { Encoding::Utf16Le }
}

/// Says whether a text is of UTF-8 and cannot be of two bytes for each letter: there, what divides cells and lines has a
/// zero.
fn is_narrow(head: &[u8]) -> bool {
    !head.is_empty() && !head.contains(&0) && (std::str::from_utf8(head).is_ok() || is_cut_character(head))
}

/// Reads on to the end and says whether there are letters outside ASCII, and all are written as only UTF-8 writes them.
///
/// # Errors
/// When the input cannot be read.
pub fn is_only_utf8_to_the_end(mut input: impl Read) -> io::Result<bool> {
    let mut held = Vec::new();
    let mut has_letters = false;
    loop {
        let read = input.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut held)?;
        has_letters |= !held.is_ascii();
        let valid = match std::str::from_utf8(&held) {
            Ok(text) => text.len(),
            // A character may go on in what follows.
            Err(error) if error.error_len().is_none() && read > 0 => error.valid_up_to(),
            Err(_) => return Ok(false),
        };
        if read == 0 {
            return Ok(has_letters);
        }
        held.drain(..valid);
    }
}

/// Says whether letters outside ASCII are all written as only UTF-8 writes them: in a code page of one byte that would be
/// pairs such as `Å¾` and nothing else, which nobody writes.
fn is_only_utf8(head: &[u8]) -> bool {
    let is_utf8 = std::str::from_utf8(head).is_ok() || is_cut_character(head);
    is_utf8 && head.utf8_chunks().any(|chunk| !chunk.valid().is_ascii())
}

/// Says whether the only bytes that are not UTF-8 are a character cut by the end of the head.
fn is_cut_character(head: &[u8]) -> bool {
    std::str::from_utf8(head).is_err_and(|error| error.error_len().is_none() && head.len() >= HEAD_BYTES)
}

/// Reads a file as UTF-8. What its encoding does not know becomes the byte 0xFF, which no UTF-8 holds, so that the
/// row it stands in, and no other, is found to be invalid.
pub struct Utf8Reader<R> {
    input: R,
    decoder: Option<Decoder>,
    raw: Vec<u8>,
    raw_at: usize,
    raw_end: usize,
    ended: bool,
}

/// Bytes taken from the file at once for decoding.
const RAW_CHUNK_BYTES: usize = 64 << 10;

/// Room a decoder needs to be sure of progress: one malformed mark and one character of four bytes.
const DECODE_ROOM_BYTES: usize = 16;

impl<R: Read> Utf8Reader<R> {
    /// Reads on behind the byte order mark.
    #[must_use]
    pub fn behind_mark(input: R, encoding: Encoding) -> Self {
        let decoder = match encoding {
            Encoding::Utf8 => None,
            Encoding::Utf16Le => Some(encoding_rs::UTF_16LE.new_decoder_without_bom_handling()),
            Encoding::Utf16Be => Some(encoding_rs::UTF_16BE.new_decoder_without_bom_handling()),
            Encoding::Windows1250 => Some(encoding_rs::WINDOWS_1250.new_decoder_without_bom_handling()),
            Encoding::Windows1252 => Some(encoding_rs::WINDOWS_1252.new_decoder_without_bom_handling()),
        };
        let room = if decoder.is_some() { RAW_CHUNK_BYTES } else { 0 };
        Self { input, decoder, raw: vec![0; room], raw_at: 0, raw_end: 0, ended: false }
    }
}

impl<R: Read> Read for Utf8Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(decoder) = &mut self.decoder else { return self.input.read(out) };
        if out.len() < DECODE_ROOM_BYTES {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        loop {
            if self.raw_at == self.raw_end && !self.ended {
                self.raw_at = 0;
                self.raw_end = self.input.read(&mut self.raw)?;
                self.ended = self.raw_end == 0;
            }
            let source = self.raw.get(self.raw_at..self.raw_end).unwrap_or_default();
            // One byte stays free for the mark of a malformed sequence.
            let room = out.len() - 1;
            let target = out.get_mut(..room).unwrap_or_default();
            let (result, read, written) = decoder.decode_to_utf8_without_replacement(source, target, self.ended);
            self.raw_at += read;
            if let DecoderResult::Malformed(..) = result {
                if let Some(mark) = out.get_mut(written) {
                    *mark = 0xFF;
                }
                return Ok(written + 1);
            }
            if written > 0 {
                return Ok(written);
            }
            if self.ended {
                self.decoder = None;
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: &[u8], encoding: Encoding) -> Vec<u8> {
        let mut reader = Utf8Reader::behind_mark(bytes, encoding);
        let mut text = Vec::new();
        let mut chunk = [0; 33];
        loop {
            match reader.read(&mut chunk).unwrap() {
                0 => return text,
                read => text.extend_from_slice(&chunk[..read]),
            }
        }
    }

    #[test]
    fn what_nobody_sees_around_a_text_is_no_part_of_it() {
        assert_eq!(bare("\u{feff}\u{a0} C-1\u{200b}\u{200f}\t"), "C-1");
        assert_eq!(bare("\u{200b}\u{2069}"), "");
        // Without the joiner it would be another word.
        assert_eq!(bare("\u{645}\u{6cc}\u{200c}\u{62e}"), "\u{645}\u{6cc}\u{200c}\u{62e}");
    }

    #[test]
    fn what_guards_a_cell_against_spreadsheets_is_no_part_of_it() {
        for (guarded, text) in [
            (" =\"007\" ", "007"),
            ("'+420 777", "+420 777"),
            ("'007", "'007"),
            ("=\"a\"&\"b\"", "=\"a\"&\"b\""),
            ("=\"", "=\""),
            ("\u{200b}C1", "C1"),
        ] {
            assert_eq!(unguarded(guarded), text, "{guarded}");
        }
    }

    #[test]
    fn marks_and_names_decide_and_contradictions_are_refused() {
        let seen = |head: &[u8], named| detect(head, named).map(|seen| (seen.encoding, seen.mark_bytes));
        assert_eq!(seen(b"\xEF\xBB\xBFa", None), Ok((Encoding::Utf8, 3)));
        assert_eq!(seen(b"\xFF\xFEa\0", None), Ok((Encoding::Utf16Le, 2)));
        assert_eq!(seen(b"\xFE\xFF\0a", Some(Encoding::Utf16Be)), Ok((Encoding::Utf16Be, 2)));
        // `encoding = "utf-16"` of the configuration names no order of bytes.
        assert_eq!(seen(b"\xFE\xFF\0a", Some(Encoding::Utf16Le)), Ok((Encoding::Utf16Be, 2)));
        assert_eq!(seen("é".as_bytes(), None), Ok((Encoding::Utf8, 0)));
        assert_eq!(seen(b"\xE9,b", Some(Encoding::Windows1250)), Ok((Encoding::Windows1250, 0)));
        let contradicted = EncodingError::Contradicted { mark: "utf-8", named: "windows-1250" };
        assert_eq!(seen(b"\xEF\xBB\xBFa", Some(Encoding::Windows1250)), Err(contradicted));
        assert_eq!(
            seen("a,ž".as_bytes(), Some(Encoding::Windows1250)),
            Err(contradicted),
            "it was saved as UTF-8 since"
        );
        assert_eq!(seen("ž".as_bytes(), Some(Encoding::Utf8)), Ok((Encoding::Utf8, 0)));
        assert_eq!(seen(b"a,b", Some(Encoding::Windows1250)), Ok((Encoding::Windows1250, 0)));
        assert_eq!(seen(b"\xC5\xBE,\xE9", Some(Encoding::Windows1250)), Ok((Encoding::Windows1250, 0)));
        let mut head = vec![b'a'; HEAD_BYTES - 1];
        head.push(0xC4);
        assert_eq!(seen(&head, Some(Encoding::Windows1250)), Ok((Encoding::Windows1250, 0)), "a letter, or a cut one");
        for (text, named, mark) in [
            ("Id,J\u{fc}rgen\n".as_bytes(), Encoding::Utf16Le, "utf-8"),
            (b"Id,Name\n", Encoding::Utf16Be, "utf-8"),
            (b"I\0d\0,\0", Encoding::Utf8, "utf-16le"),
            (b"\0I\0d\0,", Encoding::Windows1250, "utf-16be"),
        ] {
            assert_eq!(
                seen(text, Some(named)),
                Err(EncodingError::Contradicted { mark, named: named.name() }),
                "{mark}"
            );
        }
        assert_eq!(seen(b"\x0D\x01,\0", Some(Encoding::Utf16Le)), Ok((Encoding::Utf16Le, 0)));
    }

    #[test]
    fn a_whole_text_is_only_utf8_if_all_its_letters_are() {
        let is_only = |text: &[u8]| is_only_utf8_to_the_end(text).unwrap();
        // The letter is cut where one look ends.
        for before in HEAD_BYTES - 2..=HEAD_BYTES {
            let text = "a".repeat(before) + "\u{17e}" + &"b".repeat(HEAD_BYTES);
            assert!(is_only(text.as_bytes()), "{before}");
            assert!(!is_only(&[text.as_bytes(), b"\xE9"].concat()));
        }
        assert!(!is_only(b"a,b\n") && !is_only(b"") && !is_only(b"jm\xE9no"));
    }

    #[test]
    fn what_is_not_certain_is_refused_and_one_bad_byte_among_utf8_is_not_a_doubt() {
        assert_eq!(detect(b"jm\xE9no,b\n", None), Err(EncodingError::Doubtful));
        assert_eq!(detect(b"a\0,\0b\0\n\0", None), Err(EncodingError::Doubtful));
        assert!(detect("č,ř\n\u{e9}\n".as_bytes(), None).is_ok());
        assert!(detect(b"\xC4\x8D,b\nx\xE9y,c\n", None).is_ok());
        let mut head = vec![b'a'; HEAD_BYTES - 1];
        head.push(0xC4);
        assert!(detect(&head, None).is_ok(), "a character cut by the end of the head");
    }

    #[test]
    fn every_encoding_is_read_and_a_lone_surrogate_spoils_itself_only() {
        assert_eq!(decode(b"\xE8\x9E", Encoding::Windows1250), "čž".as_bytes());
        assert_eq!(decode(b"\xE8\x80", Encoding::Windows1252), "è€".as_bytes());
        assert_eq!(decode(b"\x0D\x01a\0", Encoding::Utf16Le), "ča".as_bytes());
        assert_eq!(decode(b"\x01\x0D\0a", Encoding::Utf16Be), "ča".as_bytes());
        assert_eq!(decode(b"a\0\x00\xD8b\0", Encoding::Utf16Le), b"a\xFFb");
        assert_eq!(decode(b"a\0b", Encoding::Utf16Le), b"a\xFF", "half a unit at the end");
    }

    proptest! {
        #[test]
        fn any_text_survives_utf16_in_chunks(text in "\\PC{0,200}") {
            let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            prop_assert_eq!(decode(&wide, Encoding::Utf16Le), text.as_bytes());
        }

        #[test]
        fn any_bytes_are_detected_and_decoded_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for encoding in [Encoding::Utf16Be, Encoding::Utf16Le, Encoding::Windows1250, Encoding::Windows1252] {
                prop_assert!(decode(&bytes, encoding).len() <= bytes.len() * 3 + 1);
            }
            let _ = detect(&bytes, None);
        }
    }
}

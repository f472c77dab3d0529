//! What a message says to be about: read from its first bytes, for a list that a person reads.
//!
//! The message itself is handed out byte for byte beside it, so what cannot be read here is lost to nobody.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use encoding_rs::Encoding;

/// How many of the first bytes of a message are looked at: headers of list servers take some kilobytes.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The longest subject that is shown, in characters: a line of a list, also where somebody wrote a novel into it.
const SUBJECT_CHARS_MAX: usize = 500;

/// How much of a subject is read before nothing more is decoded, in bytes: twice what is shown at most. For each `=?` that
/// begins nothing all the rest is searched.
const READ_BYTES_MAX: usize = 2 * 4 * SUBJECT_CHARS_MAX;

/// Padding that somebody left out is no reason to show gibberish.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns the subject of a message (RFC 5322, 3.6.5), with its encoded words read (RFC 2047); `None` when its head
/// names none.
#[must_use]
pub fn subject_of(head: &[u8]) -> Option<String> {
    let field = field_of(head, "subject")?;
    let read = read_words(&text_of(&field));
    let plain: String = read.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    Some(words.join(" ").chars().take(SUBJECT_CHARS_MAX).collect())
}

/// Returns the value of the first field of a name, unfolded.
fn field_of(head: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut found: Option<Vec<u8>> = None;
    for line in head.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        let is_continued = line.starts_with(b" ") || line.starts_with(b"\t");
        match &mut found {
            Some(value) if is_continued => value.extend_from_slice(line),
            Some(_) => break,
            None if is_continued => {}
            None => {
                let colon = memchr::memchr(b':', line);
                let value = colon.and_then(|colon| {
                    let (field, value) = (line.get(..colon)?.trim_ascii_end(), line.get(colon + 1..)?);
                    field.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
                });
                found = value.map(<[u8]>::to_vec);
            }
        }
    }
    found
}

/// Bytes of a header are UTF-8 (RFC 6532), or what mailers wrote before there was such a thing.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

/// Reads the encoded words of a text. Blanks between two of them belong to neither; bytes of two that follow each other
/// in one charset are read together, since mailers divide them in the middle of a letter.
fn read_words(text: &str) -> String {
    let mut read = String::with_capacity(text.len());
    let mut bytes: Vec<u8> = Vec::new();
    let mut charset: Option<&'static Encoding> = None;
    let mut rest = text;
    while read.len() < READ_BYTES_MAX
        && let Some(start) = rest.find("=?")
    {
        let (before, word) = rest.split_at(start);
        let Some((encoding, decoded, after)) = encoded_word(word) else {
            settle(&mut read, &mut bytes, &mut charset);
            read.push_str(before);
            read.push_str("=?");
            rest = word.get(2..).unwrap_or_default();
            continue;
        };
        let is_joined = charset.is_some() && before.trim().is_empty();
        if !is_joined || charset != Some(encoding) {
            settle(&mut read, &mut bytes, &mut charset);
        }
        if !is_joined {
            read.push_str(before);
        }
        charset = Some(encoding);
        bytes.extend(decoded);
        rest = after;
    }
    settle(&mut read, &mut bytes, &mut charset);
    read.push_str(rest);
    read
}

fn settle(read: &mut String, bytes: &mut Vec<u8>, charset: &mut Option<&'static Encoding>) {
    if let Some(encoding) = charset.take() {
        read.push_str(&encoding.decode_without_bom_handling(bytes).0);
    }
    bytes.clear();
}

/// Returns the charset and the bytes of the encoded word at the beginning of a text, and what follows.
fn encoded_word(text: &str) -> Option<(&'static Encoding, Vec<u8>, &str)> {
    let (charset, rest) = text.strip_prefix("=?")?.split_once('?')?;
    let (form, rest) = rest.split_once('?')?;
    let (word, after) = rest.split_once("?=")?;
    if word.contains(|c: char| c.is_whitespace()) {
        return None;
    }
    // A language may stand behind the charset (RFC 2231).
    let charset = charset.split('*').next().unwrap_or(charset);
    let encoding = Encoding::for_label(charset.as_bytes())?;
    let bytes = match form {
        "B" | "b" => BASE64.decode(word).ok()?,
        "Q" | "q" => quoted(word)?,
        _ => return None,
    };
    Some((encoding, bytes, after))
}

fn quoted(word: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut letters = word.bytes();
    while let Some(letter) = letters.next() {
        bytes.push(match letter {
            b'_' => b' ',
            b'=' => {
                let digits = [letters.next()?, letters.next()?];
                *hex::decode(digits).ok()?.first()?
            }
            letter => letter,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(subject: &str) -> Option<String> {
        subject_of(
            format!("From: a@example.org\r\nSubject: {subject}\r\nTo: b@example.org\r\n\r\nSubject: no\r\n").as_bytes(),
        )
    }

    #[test]
    fn a_subject_is_read_as_its_writer_meant_it() {
        for (written, meant) in [
            ("Offer", "Offer"),
            ("=?UTF-8?B?xb1sdcWlb3XEjWvDvQ==?= =?utf-8?Q?_k=C5=AF=C5=88?=", "Žluťoučký kůň"),
            ("=?iso-8859-2?Q?P=F8=EDloha?= 7", "Příloha 7"),
            // Divided in the middle of a letter, folded, and without padding.
            ("=?utf-8?B?xb1sdcU?=\r\n =?utf-8?B?pW91?=", "Žluťou"),
            ("a =?utf-8?Q?b?= c =?utf-8*cs?Q?d?=", "a b c d"),
            ("two\r\n\tlines", "two lines"),
            ("=?nonsense?Q?x?= =?utf-8?Z?x?= =?utf-8?Q?=G1?= =?", "=?nonsense?Q?x?= =?utf-8?Z?x?= =?utf-8?Q?=G1?= =?"),
            ("", ""),
        ] {
            assert_eq!(read(written).as_deref(), Some(meant), "{written}");
        }
        assert_eq!(subject_of(b"SUBJECT : P\xf8\r\n\r\n").as_deref(), Some("Pø"), "neither UTF-8 nor encoded");
        assert_eq!(subject_of(b"From: a\r\n\r\nSubject: in the text\r\n"), None);
        assert_eq!(subject_of(b"From: a\r\n Subject: folded\r\n\r\n"), None);
        assert_eq!(read(&"x".repeat(9_000)).unwrap().chars().count(), SUBJECT_CHARS_MAX);
        let many = read(&"=?utf-8?Q?=F0=9F=90=8E?= x ".repeat(1_000)).unwrap();
        assert_eq!(many, "\u{1f40e} x ".repeat(125), "all that is shown is read");
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_short_subject_of_one_line_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let head = [b"Subject:".as_slice(), &bytes].concat();
            let subject = subject_of(&head).unwrap();
            prop_assert!(!subject.chars().any(char::is_control) && subject.chars().count() <= SUBJECT_CHARS_MAX);
            let _ = subject_of(&bytes);
        }
    }
}

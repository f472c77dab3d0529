//! Generated letters: 20 KB of text that does not compress, half of them old, the same for the same seed.

use retention_tests::servers::raw::Raw;

use crate::data::{Random, SEED};

/// How large a letter is, in bytes.
pub(crate) const LETTER_BYTES: usize = 20_000;

/// What is older is due. The old ones are from 2020, the others from November 2025.
pub(crate) const OLDER_THAN: &str = "01-Jan-2024";

/// Returns a letter and its INTERNALDATE; every other one is old. The date in its head says the same.
pub(crate) fn letter(number: u32, bytes: usize) -> (&'static str, Vec<u8>) {
    let (received, date) = if number.is_multiple_of(2) {
        ("01-Jun-2020 12:00:00 +0000", "Mon, 1 Jun 2020 12:00:00 +0000")
    } else {
        ("03-Nov-2025 12:00:00 +0000", "Mon, 3 Nov 2025 12:00:00 +0000")
    };
    let mut random = Random(SEED ^ u64::from(number));
    let mut text = format!(
        "From: Ada Quill <sender{}@example.org>\r\nTo: owner@example.org\r\nSubject: letter {number}\r\nDate: {date}\r\n\
         Message-ID: <{number}.{:016x}@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n",
        number % 17,
        random.next()
    );
    while text.len() + 78 < bytes {
        random.text(&mut text, 76);
        text.push_str("\r\n");
    }
    (received, text.into_bytes())
}

/// Puts so many letters into the INBOX.
pub(crate) fn fill(raw: &mut Raw, letters: u32, bytes: usize) {
    for number in 0..letters {
        let (received, text) = letter(number, bytes);
        raw.append("INBOX", &[], received, &text);
    }
}

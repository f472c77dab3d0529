//! Messages for the tests: deterministic, each with a mark of its own, and with the bytes that programs like to change.

use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

/// A message and what a server is told beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// INTERNALDATE, as APPEND wants it.
    pub date: String,
    /// Flags and keywords.
    pub flags: Vec<&'static str>,
    /// Every byte.
    pub body: Vec<u8>,
}

/// Days of the months of a year without a leap day: enough for the dates of letters.
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Returns INTERNALDATE for noon of a day in UTC; `month` and `day` count from 1.
///
/// # Panics
/// When there is no such month.
#[must_use]
pub fn date(year: u16, month: usize, day: u8) -> String {
    let month = month.checked_sub(1).and_then(|month| MONTHS.get(month)).expect("a month");
    format!("{day:02}-{month}-{year} 12:00:00 +0000")
}

/// Returns a mark that is nowhere but in the body of one letter: what is left of the letter is found by it.
#[must_use]
pub fn mark(number: u32) -> String {
    format!("mark-{number:08}-{:08x}", number.wrapping_mul(0x9e37_79b9) ^ 0x5bd1_e995)
}

/// Returns the letter of a number, dated to a day, of about `size` bytes. The same number gives the same bytes.
#[must_use]
pub fn letter(number: u32, date: &str, size: usize) -> Letter {
    let mut random = StdRng::seed_from_u64(u64::from(number));
    let mark = mark(number);
    let mut body = format!(
        "Received: from a.example by b.example; Thu, 1 Jan 2015 10:00:00 +0000\r\n\
         From: \"Ada Quill\" <sender{}@example.org>\r\nTo: owner@example.org\r\n\
         Subject: =?UTF-8?Q?letter_{number}_=C3=A9?=\r\nDate: Thu, 1 Jan 2015 10:00:00 +0000\r\n\
         Message-ID: <{number}.{mark}@example.org>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{mark}\r\n",
        number % 17
    )
    .into_bytes();
    // Lines that mbox, SMTP, trimming, tabs and charsets stumble over.
    body.extend_from_slice(b"From the first line\r\n>From the second\r\n>>From the third\r\n.\r\n..dots\r\n");
    body.extend_from_slice(b"trailing blanks  \t\r\n\r\n\r\n)\r\n{12}\r\n\"quoted\\\"\r\n* 1 EXISTS\r\n");
    body.extend_from_slice("žluťoučký kůň, 猫, \u{1f4ec}\r\n".as_bytes());
    body.extend_from_slice(b"\x80\xfe\xff in no charset\r\n");
    while body.len() + 80 < size {
        let mut line: Vec<u8> = (0..random.random_range(1..78)).map(|_| random.random_range(b' '..=b'~')).collect();
        line.extend_from_slice(b"\r\n");
        body.extend_from_slice(&line);
    }
    // Every third one has no end of line at its end.
    if random.next_u32() % 3 == 0 {
        body.extend_from_slice(b"no end of line");
    }
    let flags = match number % 4 {
        0 => vec![],
        1 => vec!["\\Seen"],
        2 => vec!["\\Seen", "\\Answered"],
        _ => vec!["\\Flagged", "Project"],
    };
    Letter { date: date.to_owned(), flags, body }
}

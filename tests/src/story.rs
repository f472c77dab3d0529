//! Stories: the log, one line an event, without what differs from store to store.

use retention_core::event::Recorded;
use retention_core::event::summary::{Disclosure, StoryLine};

/// Digests that a store's random name goes into are longer than any other number.
const DIGEST_DIGITS_MIN: usize = 12;

/// Tells one event.
#[must_use]
pub fn line(recorded: &Recorded) -> String {
    let told = StoryLine::of(recorded, Disclosure::Nameless).to_string();
    let words: Vec<&str> = told.split(' ').map(without_digest).collect();
    format!("{} {}", recorded.envelope.recorded_at, words.join(" "))
}

fn without_digest(word: &str) -> &str {
    match word.split_once('=') {
        Some(("program", _)) => "program",
        Some((key, value)) if value.len() >= DIGEST_DIGITS_MIN && value.bytes().all(|b| b.is_ascii_hexdigit()) => key,
        _ => word,
    }
}

//! Stories: the log, one line an event, without what differs from store to store.

use std::path::Path;

use retention_core::event::Recorded;
use retention_core::event::summary::{Disclosure, StoryLine};

/// Digests that a store's random name goes into are longer than any other number.
const DIGEST_DIGITS_MIN: usize = 12;

/// Compares a story with the one that is kept under a name in `suite/transcripts`. With `RETENTION_STORIES` set it is
/// written anew instead.
///
/// # Panics
/// When they differ, and after writing.
pub fn told_as(name: &str, story: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/transcripts").join(format!("{name}.txt"));
    if std::env::var_os("RETENTION_STORIES").is_some() {
        std::fs::write(&path, story).expect("a transcript");
        panic!("{} was written anew: read it, and run the tests again", path.display());
    }
    let expected = std::fs::read_to_string(&path).expect("a transcript");
    assert_eq!(story, expected, "the story differs from {}", path.display());
}

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

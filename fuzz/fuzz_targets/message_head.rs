//! The head of a message that a stranger wrote: what is shown of it is one short line of plain text, and reading it again
//! changes nothing unless it looks encoded still.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retention_core::package::subject_of;

fuzz_target!(|bytes: &[u8]| {
    let Some(subject) = subject_of(bytes) else { return };
    assert!(subject.chars().count() <= 500 && !subject.chars().any(char::is_control));
    assert!(subject.len() <= bytes.len().saturating_mul(4), "a head does not grow");
    if !subject.contains("=?") {
        let again = subject_of(format!("Subject: {subject}\r\n\r\n").as_bytes());
        assert_eq!(again.as_deref(), Some(subject.trim()), "one spelling");
    }
});

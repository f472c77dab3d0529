//! What a witness answers, and the lines in which cosignatures are kept: what is read is written the same, and no stranger's signature
//! holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retention_core::evidence::checkpoint::{CHECKPOINT_BYTES_MAX, Checkpoint};
use retention_core::evidence::cosignature::exchange::{ANSWER_BYTES_MAX, Answer};
use retention_core::evidence::cosignature::{Cosignature, RECORD_BYTES_MAX, WitnessKey, check_cosigned, cosigned};
use retention_core::id::Digest;
use retention_fuzz::{Input, assert_plain};

/// Of a witness whose secret nobody has.
const KEY: &str = "witness.example/w1+1e0a9e7f+BAZmKnndOtJy0FQbVN2DAwt9WlAFZjTCsYcUD1WiLiGM";

const TEXT: &str = "log.example/fuzz\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

fn answer(status: u16, kind: &str, body: &[u8]) {
    match Answer::read(status, Some(kind), body) {
        Answer::Cosigned(lines) => {
            assert!(status == 200 && lines.as_bytes() == body && body.len() <= ANSWER_BYTES_MAX);
            let key = WitnessKey::parse(KEY).expect("a key");
            assert!(key.cosignature(7, TEXT, &lines).is_err(), "this key signed nothing of it");
        }
        Answer::Has(size) => assert!(status == 409 && format!("{size}\n").as_bytes() == body),
        Answer::Other(other) => assert_eq!(other, status),
        Answer::Conflict
        | Answer::ProofRefused
        | Answer::KeyUnknown
        | Answer::LogUnknown
        | Answer::Malformed
        | Answer::Unreadable => {}
    }
}

fn kept(text: &str) {
    if let Err(error) = WitnessKey::parse(text) {
        assert_plain(&error.to_string());
    }
    let Some(read) = Cosignature::parse_record(text) else { return };
    assert_eq!(read.record(), format!("{text}\n"), "one cosignature has one form");
    assert!(read.record().len() <= RECORD_BYTES_MAX);
    assert!(read.check(TEXT).is_err(), "nobody signed this");
    // It is a line of a note, when its witness has a name that notes can have.
    let checkpoint = Checkpoint { origin: "log.example/fuzz".to_owned(), size: 7, root: Digest([0; 32]) };
    let note = format!("{}\n\u{2014} log.example/fuzz AAAAAAAA\n", checkpoint.text());
    let with = cosigned(&note, [&read]);
    assert!(with.len() <= CHECKPOINT_BYTES_MAX && with.starts_with(&note));
    if let Ok(key) = WitnessKey::parse(&read.key) {
        assert!(check_cosigned(&with, 7, &[key], 1).is_err());
        assert_eq!(Checkpoint::unverified(&with), Ok(checkpoint));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let status = input.one_of(&[200, 400, 403, 404, 409, 422, 500]);
    let kind = input.one_of(&["text/x.tlog.size", "text/x.tlog.size; charset=utf-8", "text/plain"]);
    answer(status, kind, input.0);
    if let Ok(text) = std::str::from_utf8(input.0) {
        kept(text);
    }
});

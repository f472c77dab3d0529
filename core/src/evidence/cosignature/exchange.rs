//! What a log says to a witness, and what it may answer (C2SP tlog-witness, `add-checkpoint`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::id::Digest;

/// The longest answer that is read, in bytes: a witness may send several lines, and only its own is wanted.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// The most hashes of a proof that a witness takes.
const PROOF_LINES_MAX: usize = 63;

/// The type of an answer that tells a size.
const SIZE: &str = "text/x.tlog.size";

/// Writes a request: how many events the witness has cosigned, the proof that the log only grew since, the signed
/// checkpoint. `None` when no witness would take so long a proof.
#[must_use]
pub fn request(old: u64, path: &[Digest], note: &str) -> Option<String> {
    if path.len() > PROOF_LINES_MAX {
        return None;
    }
    let mut text = format!("old {old}\n");
    for hash in path {
        text.push_str(&STANDARD.encode(hash.0));
        text.push('\n');
    }
    text.push('\n');
    text.push_str(note);
    Some(text)
}

/// What a witness answered. None of it is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It cosigned: lines of signatures.
    Cosigned(String),
    /// It has cosigned this many events, and not as many as it was told.
    Has(u64),
    /// Its state is another one, and it does not say which.
    Conflict,
    /// The proof does not fit what it has cosigned.
    ProofRefused,
    /// It does not know the key that signed the checkpoint.
    KeyUnknown,
    /// It does not know this log, or is not there.
    LogUnknown,
    /// It calls the request malformed.
    Malformed,
    /// Anything else, by its status.
    Other(u16),
    /// It says that it cosigned, and what it sent is no text of lines.
    Unreadable,
}

impl Answer {
    /// Reads an answer: its status, its type, and no more than [`ANSWER_BYTES_MAX`] of what it holds.
    #[must_use]
    pub fn read(status: u16, kind: Option<&str>, body: &[u8]) -> Self {
        match status {
            200 => match std::str::from_utf8(body) {
                Ok(lines) if body.len() <= ANSWER_BYTES_MAX && is_lines(lines) => Self::Cosigned(lines.to_owned()),
                _ => Self::Unreadable,
            },
            400 => Self::Malformed,
            403 => Self::KeyUnknown,
            404 => Self::LogUnknown,
            409 => {
                let is_size = kind.is_some_and(|kind| kind.split(';').next().unwrap_or_default().trim() == SIZE);
                size(body).filter(|_| is_size).map_or(Self::Conflict, Self::Has)
            }
            422 => Self::ProofRefused,
            other => Self::Other(other),
        }
    }
}

/// One line or more, each with its end and nothing but signatures.
fn is_lines(text: &str) -> bool {
    text.ends_with('\n') && text.strip_suffix('\n').is_some_and(|lines| lines.split('\n').all(is_signature))
}

fn is_signature(line: &str) -> bool {
    line.starts_with(super::DASH) && !line.chars().any(char::is_control)
}

fn size(body: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(body).ok()?.strip_suffix('\n')?;
    digits.parse().ok().filter(|size: &u64| size.to_string() == digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_what_the_specification_says() {
        let text = request(7, &[Digest([0; 32]), Digest([255; 32])], "log\n9\nroot\n\n\u{2014} log sig\n").unwrap();
        assert_eq!(
            text,
            "old 7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n//////////////////////////////////////////8=\n\nlog\n9\nroot\n\n\u{2014} log sig\n"
        );
        assert_eq!(request(0, &[], "note").unwrap(), "old 0\n\nnote");
        assert!(request(1, &[Digest([0; 32]); 63], "").is_some());
        assert!(request(1, &[Digest([0; 32]); 64], "").is_none());
    }

    #[test]
    fn each_answer_is_told_apart() {
        let lines = "\u{2014} w AAAA\n\u{2014} w2 AAAA\n";
        assert_eq!(Answer::read(200, None, lines.as_bytes()), Answer::Cosigned(lines.to_owned()));
        for unreadable in ["", "\n", "\u{2014} w AAAA", "w AAAA\n", "\u{2014} w AAAA\n\n", "\u{2014} w\u{7} AAAA\n"] {
            assert_eq!(Answer::read(200, None, unreadable.as_bytes()), Answer::Unreadable, "{unreadable:?}");
        }
        assert_eq!(Answer::read(200, None, &[0xff, b'\n']), Answer::Unreadable);
        let huge = lines.repeat(ANSWER_BYTES_MAX);
        assert_eq!(Answer::read(200, None, huge.as_bytes()), Answer::Unreadable);
        for kind in ["text/x.tlog.size", "text/x.tlog.size; charset=utf-8"] {
            assert_eq!(Answer::read(409, Some(kind), b"4711\n"), Answer::Has(4_711));
            assert_eq!(Answer::read(409, Some(kind), b"0\n"), Answer::Has(0));
            for none in ["4711", "04711\n", "+1\n", "-1\n", "\n", "18446744073709551616\n", "1\n\n"] {
                assert_eq!(Answer::read(409, Some(kind), none.as_bytes()), Answer::Conflict, "{none:?}");
            }
        }
        assert_eq!(Answer::read(409, Some("text/plain"), b"4711\n"), Answer::Conflict);
        assert_eq!(Answer::read(409, None, b"4711\n"), Answer::Conflict);
        assert_eq!(Answer::read(400, None, b""), Answer::Malformed);
        assert_eq!(Answer::read(403, None, b""), Answer::KeyUnknown);
        assert_eq!(Answer::read(404, None, b""), Answer::LogUnknown);
        assert_eq!(Answer::read(422, None, b""), Answer::ProofRefused);
        assert_eq!(Answer::read(302, None, b""), Answer::Other(302));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer(status in 0u16..600, kind in "[a-z/.;]{0,20}", body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Answer::read(status, Some(&kind), &body);
        }
    }
}

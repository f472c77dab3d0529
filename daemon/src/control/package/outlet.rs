//! Where a package goes out: encrypted or plain, part by part, the last one held back.

use std::io::{self, Write};

use retention_core::control::{ErrorBody, ErrorCode};
use retention_core::id::Digest;
use sha2::{Digest as _, Sha256};

use super::Parts;
use crate::control::works::Audience;
use crate::keyholders::Keyholders;

/// How much goes out at once, in bytes.
const PART: usize = 64 * 1024;

/// Nobody listens any more.
pub(super) fn nobody_listens() -> ErrorBody {
    ErrorBody::saying(ErrorCode::TimedOut, "nobody listens any more; no package was handed out")
}

/// Says what went wrong on the way out.
pub(super) fn said(error: &io::Error) -> ErrorBody {
    match error.kind() {
        io::ErrorKind::BrokenPipe => nobody_listens(),
        io::ErrorKind::Interrupted => ErrorBody::of(ErrorCode::Stopping),
        _ => {
            tracing::error!(%error, "a package could not be made");
            ErrorBody::saying(ErrorCode::Internal, "the package could not be made; none was handed out")
        }
    }
}

/// Hands out what is written, and holds the end of it back: never less than a byte, once something was written.
pub(super) struct Tail<'a> {
    parts: Parts<'a>,
    held: Vec<u8>,
    hash: Sha256,
    bytes: u64,
}

impl<'a> Tail<'a> {
    pub(super) fn new(parts: Parts<'a>) -> Self {
        Self { parts, held: Vec::with_capacity(2 * PART), hash: Sha256::new(), bytes: 0 }
    }

    /// SHA-256 of all that was written.
    pub(super) fn digest(&self) -> Digest {
        Digest(self.hash.clone().finalize().into())
    }

    /// How much was written.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Hands out what was held back. That nobody listens any more changes nothing now.
    pub(super) fn release(self) {
        let _audience = (self.parts)(self.held);
    }
}

impl Write for Tail<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        self.held.extend_from_slice(bytes);
        while self.held.len() > PART {
            let rest = self.held.split_off(PART);
            if (self.parts)(std::mem::replace(&mut self.held, rest)) == Audience::Gone {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Encrypts what is written, when there is somebody to encrypt it to.
pub(super) enum Outlet<'a> {
    Plain(Tail<'a>),
    Encrypted(Box<age::stream::StreamWriter<Tail<'a>>>),
}

impl<'a> Outlet<'a> {
    pub(super) fn new(tail: Tail<'a>, keys: &Keyholders) -> io::Result<Self> {
        Ok(match keys.is_empty() {
            true => Self::Plain(tail),
            false => Self::Encrypted(Box::new(keys.encrypt(tail)?)),
        })
    }

    /// Ends it.
    pub(super) fn finish(self) -> io::Result<Tail<'a>> {
        match self {
            Self::Plain(tail) => Ok(tail),
            Self::Encrypted(writer) => writer.finish(),
        }
    }
}

impl Write for Outlet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tail) => tail.write(bytes),
            Self::Encrypted(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_stays_here_until_it_is_released() {
        for length in [1, PART - 1, PART, PART + 1, 3 * PART, 3 * PART + 7] {
            let written: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let mut out = Vec::new();
            let mut parts = |part: Vec<u8>| {
                out.push(part);
                Audience::Listening
            };
            let mut tail = Tail::new(&mut parts);
            for piece in written.chunks(1_000) {
                tail.write_all(piece).unwrap();
            }
            assert_eq!((tail.bytes(), tail.digest()), (length as u64, Digest::of(&written)));
            assert!((1..=PART).contains(&tail.held.len()), "{length}");
            tail.release();
            assert!(out.concat() == written, "{length}");
        }
    }

    #[test]
    fn nothing_more_is_made_for_nobody() {
        let mut calls = 0;
        let mut parts = |_: Vec<u8>| {
            calls += 1;
            Audience::Gone
        };
        let mut tail = Tail::new(&mut parts);
        let failed = tail.write_all(&vec![0; 3 * PART]).unwrap_err();
        assert_eq!((failed.kind(), said(&failed).code, calls), (io::ErrorKind::BrokenPipe, ErrorCode::TimedOut, 1));
    }
}

//! Programs of the operator that get something on their standard input and end with 0 when they have it.

use std::io::{self, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::halt::Halt;

/// How often a program is looked at, and how often at most: half a minute in all.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS_MAX: u32 = 1_500;

/// The most that a program is given, in bytes: what a pipe takes without a reader.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// A program did not take what it was given.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is not there, or may not be run.
    #[error("it cannot be started: {0}")]
    Start(#[source] io::Error),
    /// It said that it does not have it.
    #[error("it ended with {0}")]
    Ended(ExitStatus),
    /// It was killed.
    #[error("it did not end within half a minute")]
    Hangs,
    /// It was killed, because the daemon ends.
    #[error("the daemon stops")]
    Stopped,
    /// Its standard input or its end could not be reached.
    #[error("it cannot be spoken to: {0}")]
    Io(#[source] io::Error),
}

/// A program and its arguments.
pub struct Program {
    program: String,
    arguments: Vec<String>,
    halt: Halt,
}

impl Program {
    /// Names a program. `halt` ends it early.
    #[must_use]
    pub fn of(program: String, arguments: Vec<String>, halt: Halt) -> Self {
        Self { program, arguments, halt }
    }

    /// Returns its path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.program
    }

    /// Runs it without a shell and with an empty environment, and waits for its end. `input` has at most
    /// [`INPUT_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// Says why it does not have it. It no longer runs then.
    pub fn give(&self, input: &str) -> Result<(), ProgramError> {
        if input.len() > INPUT_BYTES_MAX {
            return Err(ProgramError::Io(io::ErrorKind::InvalidInput.into()));
        }
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(ProgramError::Start)?;
        // It fits into a pipe, so this never waits; a program that does not read it says so by its end.
        let written = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
        let ended = self.wait(&mut child);
        if ended.is_err() {
            // It may be gone already.
            drop(child.kill());
            drop(child.wait());
        }
        match (ended, written) {
            (Ok(()), Some(Err(error))) if error.kind() != io::ErrorKind::BrokenPipe => Err(ProgramError::Io(error)),
            (ended, _) => ended,
        }
    }

    fn wait(&self, child: &mut Child) -> Result<(), ProgramError> {
        for _ in 0..LOOKS_MAX {
            match child.try_wait().map_err(ProgramError::Io)? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(ProgramError::Ended(status)),
                None if self.halt.is_asked() => return Err(ProgramError::Stopped),
                None => std::thread::park_timeout(LOOK),
            }
        }
        Err(ProgramError::Hangs)
    }
}

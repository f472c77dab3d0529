//! Notices for a program of the operator: one run for each, with the letter as JSON on its standard input.

use super::{Carrier, Letter, STOPPING, Undelivered};
use crate::connector::program::{Program, ProgramError};

/// Gives letters to a program. It has one when it ends with 0.
pub struct ProgramCarrier(Program);

impl ProgramCarrier {
    /// Gives letters to a program.
    #[must_use]
    pub fn of(program: Program) -> Self {
        Self(program)
    }
}

impl Carrier for ProgramCarrier {
    fn deliver(&mut self, letter: &Letter) -> Result<(), Undelivered> {
        self.0.give(&letter.json()).map_err(|error| {
            tracing::warn!(program = self.0.path(), %error, "a program did not take a notice");
            Undelivered::because(match error {
                ProgramError::Start(_) => "program-not-started".to_owned(),
                ProgramError::Ended(status) => match status.code() {
                    Some(code) => format!("program-exit-{code}"),
                    None => "program-killed".to_owned(),
                },
                ProgramError::Hangs => "program-timeout".to_owned(),
                ProgramError::Stopped => STOPPING.to_owned(),
                ProgramError::Io(_) => "program-io".to_owned(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::letter;
    use super::*;
    use crate::halt::Halt;

    fn shell(script: &str) -> ProgramCarrier {
        let arguments = vec!["-c".to_owned(), script.to_owned()];
        ProgramCarrier::of(Program::of("/bin/sh".to_owned(), arguments, Halt::default()))
    }

    #[test]
    fn a_program_gets_the_letter_and_says_whether_it_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let into = dir.path().join("got");
        shell(&format!("cat > {}", into.display())).deliver(&letter()).unwrap();
        assert_eq!(std::fs::read_to_string(into).unwrap(), letter().json());
        let code = |mut carrier: ProgramCarrier| carrier.deliver(&letter()).unwrap_err().code;
        assert_eq!(code(shell("exit 3")), "program-exit-3");
        assert_eq!(code(shell("kill -9 $$")), "program-killed");
        let absent = Program::of("/no/such/program".to_owned(), Vec::new(), Halt::default());
        assert_eq!(code(ProgramCarrier::of(absent)), "program-not-started");
        let halt = Halt::default();
        halt.ask();
        let hangs = Program::of("/bin/sleep".to_owned(), vec!["1000".to_owned()], halt);
        assert_eq!(code(ProgramCarrier::of(hangs)), "stopping");
    }
}

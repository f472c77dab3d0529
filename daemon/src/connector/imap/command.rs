//! What is sent: words and strings, written so that no content of a string can become a word.

use std::fmt;

use zeroize::Zeroizing;

use super::limits::STRING_BYTES_MAX;

/// The longest string that is quoted rather than sent as a literal, in bytes.
const QUOTED_BYTES_MAX: usize = 1_000;

/// A command without its tag. It may hold a password: it is zeroized, and its `Debug` shows its first word alone.
pub(super) struct Command {
    name: &'static str,
    closed: Vec<Part>,
    line: Zeroizing<Vec<u8>>,
    sendable: bool,
}

/// A piece of a command.
pub(super) struct Part {
    /// The command line up to the string.
    pub(super) line: Zeroizing<Vec<u8>>,
    /// The string, which goes as a literal.
    pub(super) literal: Zeroizing<Vec<u8>>,
}

impl Command {
    /// Begins a command, which may be of several words: `UID FETCH`.
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, closed: Vec::new(), line: Zeroizing::new(name.as_bytes().to_vec()), sendable: true }
    }

    /// Adds words of the protocol. They are the program's own: they hold no content from outside.
    pub(super) fn raw(mut self, words: &str) -> Self {
        if words.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) {
            self.sendable = false;
        }
        self.line.push(b' ');
        self.line.extend_from_slice(words.as_bytes());
        self
    }

    /// Adds a string from outside.
    pub(super) fn string(mut self, text: &str) -> Self {
        if text.len() > STRING_BYTES_MAX || text.contains('\0') {
            self.sendable = false;
        }
        if text.len() <= QUOTED_BYTES_MAX && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            // Made apart and with room: a buffer that grows leaves a copy of a password behind.
            let mut line = Zeroizing::new(Vec::with_capacity(self.line.len() + 2 * text.len() + 3));
            line.extend_from_slice(&self.line);
            line.extend_from_slice(b" \"");
            for byte in text.bytes() {
                if matches!(byte, b'"' | b'\\') {
                    line.push(b'\\');
                }
                line.push(byte);
            }
            line.push(b'"');
            self.line = line;
        } else {
            self.line.push(b' ');
            let line = std::mem::take(&mut self.line);
            self.closed.push(Part { line, literal: Zeroizing::new(text.as_bytes().to_vec()) });
        }
        self
    }

    /// Adds the name of a folder.
    pub(super) fn folder(self, name: &str) -> Self {
        self.string(name)
    }

    /// Returns its pieces and the end of its line, or `None` when something in it cannot be sent.
    pub(super) fn parts(&self) -> Option<(&[Part], &[u8])> {
        self.sendable.then_some((self.closed.as_slice(), self.line.as_slice()))
    }

    /// Returns how many bytes are sent for it, apart from its tag and its line ends.
    pub(super) fn bytes(&self) -> usize {
        self.line.len() + self.closed.iter().map(|part| part.line.len() + part.literal.len()).sum::<usize>()
    }

    /// Whether it can be sent without waiting for the server to ask for a part of it.
    pub(super) fn is_one_line(&self) -> bool {
        self.closed.is_empty()
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::value::{Value, values};
    use super::*;

    fn written(command: &Command) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        let (parts, end) = command.parts()?;
        for part in parts {
            all.extend_from_slice(&part.line);
            all.extend_from_slice(format!("{{{}}}\r\n", part.literal.len()).as_bytes());
            all.extend_from_slice(&part.literal);
        }
        all.extend_from_slice(end);
        Some(all)
    }

    proptest! {
        #[test]
        fn whatever_a_string_holds_it_arrives_as_one_string(text in any::<String>(), other in "[ -~\r\n]{0,30}") {
            let command = Command::new("X").string(&text).string(&other);
            match written(&command) {
                None => prop_assert!(text.contains('\0')),
                Some(bytes) => {
                    let read = values(&bytes).expect("a command");
                    let expected = vec![Value::Atom(b"X".to_vec()), Value::Text(text.into_bytes()), Value::Text(other.into_bytes())];
                    prop_assert!(read == expected);
                }
            }
        }
    }

    #[test]
    fn words_of_the_protocol_hold_no_line_end() {
        assert!(Command::new("X").raw("a\r\nb").parts().is_none());
    }

    #[test]
    fn nothing_of_a_command_but_its_name_is_shown() {
        assert_eq!(format!("{:?}", Command::new("LOGIN").string("ada").string("secret")), "LOGIN");
    }
}

//! The values of an answer: atoms, strings and lists (RFC 3501, 9; RFC 9051, 9).
//!
//! One small reader for all answers. It is lenient where servers are (an atom is whatever is no delimiter) and strict
//! where a mistake would cost something: what does not close, lies too deep or is too much is an error, never skipped.

use super::limits::{DEPTH_MAX, VALUES_MAX};

/// Stands in an answer for a literal that was handed on, and is read as an atom. No server can send it: a line holds no
/// line end. Any other control character can stand in a quoted string, as a sender wrote it.
pub(super) const STREAMED: &[u8] = b"\nstreamed";

/// One value of an answer.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// `NIL`.
    Nil,
    /// A word, a number, a flag, a section such as `BODY[HEADER]<0>`.
    Atom(Vec<u8>),
    /// A quoted string or a literal.
    Text(Vec<u8>),
    /// What stands in parentheses.
    List(Vec<Value>),
}

/// An answer that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer of the mail server does not follow the protocol: {0}")]
pub(super) struct Malformed(pub &'static str);

impl Value {
    /// Returns the bytes of an atom or a string.
    #[must_use]
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Atom(bytes) | Self::Text(bytes) => Some(bytes),
            Self::Nil | Self::List(_) => None,
        }
    }

    /// Returns the text of an atom or a string; what is not UTF-8 is replaced.
    #[must_use]
    pub(super) fn text(&self) -> Option<String> {
        self.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// Returns the text of a name that will be sent back. `NIL` is a folder of that name: servers do not quote it.
    ///
    /// # Errors
    /// A name that is not UTF-8 cannot be sent back as it was.
    pub(super) fn name(&self) -> Result<String, Malformed> {
        match self {
            Self::Nil => Ok("NIL".to_owned()),
            Self::Atom(bytes) | Self::Text(bytes) => {
                String::from_utf8(bytes.clone()).map_err(|_| Malformed("a name is not UTF-8"))
            }
            Self::List(_) => Err(Malformed("a list where a name belongs")),
        }
    }

    /// Returns the number that an atom writes.
    #[must_use]
    pub(super) fn number<N: std::str::FromStr>(&self) -> Option<N> {
        match self {
            Self::Atom(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            Self::Nil | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// Returns the values of a list; `NIL` is an empty one.
    #[must_use]
    pub(super) fn list(&self) -> Option<&[Value]> {
        match self {
            Self::List(values) => Some(values),
            Self::Nil => Some(&[]),
            Self::Atom(_) | Self::Text(_) => None,
        }
    }

    /// Whether it is this atom, whatever the case.
    #[must_use]
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, Self::Atom(bytes) if bytes.eq_ignore_ascii_case(word.as_bytes()))
    }
}

/// Reads the values of one answer, literals as `{n}` CRLF and their bytes.
///
/// # Errors
/// Says what does not follow the protocol.
pub(super) fn values(bytes: &[u8]) -> Result<Vec<Value>, Malformed> {
    let mut reader = Reader { bytes, at: 0, count: 0 };
    let mut found = Vec::new();
    let mut open: Vec<Vec<Value>> = Vec::new();
    while let Some(byte) = reader.peek() {
        match byte {
            b' ' => reader.at += 1,
            b'(' => {
                reader.at += 1;
                if open.len() >= DEPTH_MAX {
                    return Err(Malformed("lists lie too deep in lists"));
                }
                open.push(std::mem::take(&mut found));
            }
            b')' => {
                reader.at += 1;
                let outer = open.pop().ok_or(Malformed("a parenthesis closes that none opened"))?;
                let inner = std::mem::replace(&mut found, outer);
                reader.counted()?;
                found.push(Value::List(inner));
            }
            _ => {
                let value = reader.scalar(byte)?;
                reader.counted()?;
                found.push(value);
            }
        }
    }
    if open.is_empty() { Ok(found) } else { Err(Malformed("a parenthesis does not close")) }
}

/// Returns the length that a line announces for the literal behind it.
#[must_use]
pub(super) fn announced(line: &[u8]) -> Option<u64> {
    let inner = line.strip_suffix(b"}")?;
    let open = inner.iter().rposition(|byte| *byte == b'{')?;
    let digits = inner.get(open + 1..)?;
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // A length beyond 64 bits is still announced: the caller refuses it.
    Some(std::str::from_utf8(digits).ok()?.parse().unwrap_or(u64::MAX))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    count: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn counted(&mut self) -> Result<(), Malformed> {
        self.count += 1;
        if self.count > VALUES_MAX { Err(Malformed("one answer holds too many values")) } else { Ok(()) }
    }

    fn scalar(&mut self, first: u8) -> Result<Value, Malformed> {
        match first {
            b'"' => self.quoted(),
            b'{' => self.literal(),
            b'~' if self.bytes.get(self.at + 1) == Some(&b'{') => {
                self.at += 1;
                self.literal()
            }
            b'\n' if self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(STREAMED)) => {
                self.at += STREAMED.len();
                Ok(Value::Atom(STREAMED.to_vec()))
            }
            b'\r' | b'\n' | 0 => Err(Malformed("a control character stands between values")),
            _ => self.atom(),
        }
    }

    fn quoted(&mut self) -> Result<Value, Malformed> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.peek() {
                None | Some(b'\r' | b'\n' | 0) => return Err(Malformed("a quoted string does not end")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Value::Text(text));
                }
                Some(b'\\') => {
                    self.at += 1;
                    text.push(self.peek().ok_or(Malformed("a quoted string does not end"))?);
                }
                Some(byte) => text.push(byte),
            }
            self.at += 1;
        }
    }

    fn literal(&mut self) -> Result<Value, Malformed> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(Malformed("a literal has no length"))?;
        let length = rest.get(..end).and_then(announced).ok_or(Malformed("a literal has no length"))?;
        let length = usize::try_from(length).map_err(|_| Malformed("a literal is too long"))?;
        let from = self.at + end + 2;
        let to = from.checked_add(length).ok_or(Malformed("a literal is too long"))?;
        let text = self.bytes.get(from..to).ok_or(Malformed("a literal is shorter than it says"))?.to_vec();
        self.at = to;
        Ok(Value::Text(text))
    }

    fn is_section(&self, from: usize) -> bool {
        let word = self.bytes.get(from..self.at).unwrap_or_default();
        [&b"BODY"[..], b"BODY.PEEK", b"BINARY", b"BINARY.SIZE"].iter().any(|name| word.eq_ignore_ascii_case(name))
    }

    fn atom(&mut self) -> Result<Value, Malformed> {
        let from = self.at;
        let mut brackets = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                // Only a section has brackets; the name of a folder may hold one alone.
                b'[' if brackets > 0 || self.is_section(from) => brackets += 1,
                b']' => brackets = brackets.saturating_sub(1),
                b'\r' | b'\n' | 0 => return Err(Malformed("a control character stands in a word")),
                b' ' | b'(' | b')' | b'"' if brackets == 0 => break,
                _ => {}
            }
            self.at += 1;
        }
        let word = self.bytes.get(from..self.at).unwrap_or_default();
        if word.eq_ignore_ascii_case(b"NIL") { Ok(Value::Nil) } else { Ok(Value::Atom(word.to_vec())) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn atom(text: &str) -> Value {
        Value::Atom(text.into())
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn the_forms_of_values_are_read() {
        let read = values(b"1 FETCH (FLAGS (\\Seen \\*) BODY[HEADER.FIELDS (\"LIST-ID\")]<0> {3}\r\na)\r X NIL)")
            .expect("values");
        let inner = vec![
            atom("FLAGS"),
            Value::List(vec![atom("\\Seen"), atom("\\*")]),
            atom("BODY[HEADER.FIELDS (\"LIST-ID\")]<0>"),
            text("a)\r"),
            atom("X"),
            Value::Nil,
        ];
        assert!(read == vec![atom("1"), atom("FETCH"), Value::List(inner)]);
        assert!(values(b"\"a\\\"b\\\\\"\"c\"").expect("strings") == vec![text("a\"b\\"), text("c")]);
    }

    #[test]
    fn what_is_not_whole_is_an_error() {
        for bad in ["(", ")", "\"a", "{5}\r\nabc", "{5}", "a\r\nb", "\"\\", "{99999999999999999999}\r\n", "a\0"] {
            assert!(values(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let deep = "(".repeat(DEPTH_MAX + 1) + &")".repeat(DEPTH_MAX + 1);
        assert!(values(deep.as_bytes()).is_err());
        assert!(values("() ".repeat(VALUES_MAX + 1).as_bytes()).is_err());
    }

    #[test]
    fn a_length_is_announced_at_the_end_of_a_line_only() {
        assert_eq!(announced(b"* 1 FETCH (BODY[] {12}"), Some(12));
        assert_eq!(announced(b"* 1 FETCH (BODY[] {12+}"), Some(12));
        assert_eq!(announced(b"{99999999999999999999999}"), Some(u64::MAX));
        for none in ["{}", "{1} ", "{x}", "}", "{-1}", "{+}"] {
            assert_eq!(announced(none.as_bytes()), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _read = values(&bytes);
            let _length = announced(&bytes);
        }

        #[test]
        fn any_text_of_the_protocol_is_read_or_refused(bytes in "[()\\[\\]{}0-9\"\\\\ a-cN~\r\n]{0,200}") {
            let _read = values(bytes.as_bytes());
        }

        #[test]
        fn strings_come_back_as_they_were(content in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut literal = format!("{{{}}}\r\n", content.len()).into_bytes();
            literal.extend_from_slice(&content);
            prop_assert!(values(&literal).expect("a literal") == vec![Value::Text(content)]);
        }
    }
}

//! Who sent a message on, and to whom: the `Resent-` fields of RFC 5322, 3.6.6. Servers do not tell them apart from the
//! text of the header, as they do with the fields of an `ENVELOPE`.

/// The fields that hold addresses.
pub(super) const FIELDS: [&str; 5] = ["RESENT-FROM", "RESENT-SENDER", "RESENT-TO", "RESENT-CC", "RESENT-BCC"];

/// Returns the addresses in the `Resent-` fields of a header, each once, in the order in which they stand there. What is
/// no address is passed over: others stand beside it.
pub(super) fn addresses(header: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(header);
    let unfolded = text.replace("\r\n ", " ").replace("\r\n\t", " ");
    let mut found: Vec<String> = Vec::new();
    for line in unfolded.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        if !FIELDS.iter().any(|field| name.trim_end().eq_ignore_ascii_case(field)) {
            continue;
        }
        let mut list = List::default();
        value.chars().for_each(|c| list.read(c));
        list.ends();
        for address in list.found {
            if !found.contains(&address) {
                found.push(address);
            }
        }
    }
    found
}

/// In which part of an element of a list it reads.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum At {
    /// What may be an address, or a name before one.
    #[default]
    Word,
    /// The address in angle brackets.
    Angle,
    /// What stands behind that, and is none.
    Behind,
}

/// A list of addresses that is read.
#[derive(Default)]
struct List {
    found: Vec<String>,
    /// What was read of the element that is being read: all of it, or what stands in angle brackets.
    word: String,
    at: At,
    is_quoted: bool,
    is_escaped: bool,
    comments: u32,
}

impl List {
    fn read(&mut self, c: char) {
        if std::mem::take(&mut self.is_escaped) {
            return;
        }
        match c {
            '\\' if self.is_quoted || self.comments > 0 => self.is_escaped = true,
            '"' if self.comments == 0 => self.is_quoted = !self.is_quoted,
            _ if self.is_quoted => {}
            '(' => self.comments = self.comments.saturating_add(1),
            ')' => self.comments = self.comments.saturating_sub(1),
            _ if self.comments > 0 => {}
            '<' => {
                self.word.clear();
                self.at = At::Angle;
            }
            '>' => self.at = At::Behind,
            // A route in angle brackets, or the name of a group before its members, ends here.
            ':' if self.at != At::Behind => self.word.clear(),
            ',' if self.at == At::Angle => self.word.clear(),
            ',' | ';' => self.ends(),
            _ if self.at == At::Behind || c.is_whitespace() => {}
            c => self.word.push(c),
        }
    }

    fn ends(&mut self) {
        let word = std::mem::take(&mut self.word);
        self.at = At::Word;
        let is_address = word.rsplit_once('@').is_some_and(|(local, host)| !local.is_empty() && !host.is_empty());
        if is_address {
            self.found.push(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_read_whatever_stands_around_them() {
        let read = |text: &str| addresses(text.as_bytes());
        assert_eq!(read("Resent-To: a@example.org\r\n\r\n"), ["a@example.org"]);
        assert_eq!(
            read(
                "RESENT-FROM: \"Quill, Ada <x@y>\" <ada@example.org>\r\nresent-to: =?UTF-8?Q?B=C3=B6b?=\r\n <bob@example.org>,\r\n\tcyra@example.org (home, c@d)\r\n\r\n"
            ),
            ["ada@example.org", "bob@example.org", "cyra@example.org"]
        );
        assert_eq!(read("Resent-Cc: friends: a@x, B <b@x>;, c@x\r\n"), ["a@x", "b@x", "c@x"]);
        assert_eq!(read("Resent-Bcc: <@one,@two:d@x>\r\n"), ["d@x"]);
        assert_eq!(read("Resent-Sender: \"a\\\"b\" <e@x>\r\nResent-From: e@x\r\n"), ["e@x"], "each once");
        for none in ["", "\r\n", "To: a@x\r\n", "Resent-Date: a@x\r\n", "Resent-To: undisclosed, @, a@, @b\r\n"] {
            assert_eq!(read(none), Vec::<String>::new(), "{none:?}");
        }
        // What is one beside what is none.
        assert_eq!(read("Resent-To: MAILER-DAEMON, a@x, (never closed b@x\r\n"), ["a@x"]);
    }

    proptest! {
        #[test]
        fn any_bytes_give_addresses_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200), list in "[a-c@<>,;:\"()\\\\ ]{0,40}") {
            let mut header = format!("Resent-To: {list}\r\n").into_bytes();
            header.extend(bytes);
            for address in addresses(&header) {
                prop_assert!(address.contains('@') && !address.contains([',', ';', '<', '>', '"', ' ']), "{address:?}");
            }
        }
    }
}

//! The fields of a header that name persons, the list and the message itself, read as they stand there: RFC 5322 with its
//! obsolete forms, RFC 6532 for what is not ASCII. Servers read them too, into an `ENVELOPE`, and lose persons there: Courier
//! cuts it and encodes domains, Cyrus tells the last of several fields of one name.
//!
//! What is written wrongly hides nobody: a quote or a comment that never ends is read as if it were none, and an element
//! without any address is searched for one in its quotes and its encoded words (RFC 2047). A name before an address in angle
//! brackets is none, whatever it looks like.

use std::borrow::Cow;
use std::collections::HashSet;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// The fields that a server is asked for.
pub(super) const FIELDS: &str = "FROM SENDER REPLY-TO TO CC BCC RESENT-FROM RESENT-SENDER RESENT-REPLY-TO RESENT-TO \
                                 RESENT-CC RESENT-BCC LIST-ID MESSAGE-ID";

/// How often a text inside a text is looked into.
const DEPTH_MAX: u32 = 2;

/// The longest encoded word, in bytes: RFC 2047 allows 75. It bounds what is searched for the end of one.
const ENCODED_WORD_BYTES_MAX: usize = 4_096;

/// Senders leave the padding out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Who and what a header names. Personal data: no `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// The addresses in all `From` fields, each once, in the order in which they stand there.
    pub from: Vec<String>,
    /// The same of `Sender`.
    pub sender: Vec<String>,
    /// The same of `Reply-To`.
    pub reply_to: Vec<String>,
    /// The same of `To`.
    pub to: Vec<String>,
    /// The same of `Cc`.
    pub cc: Vec<String>,
    /// The same of `Bcc`.
    pub bcc: Vec<String>,
    /// The same of the `Resent-` fields together: who sent it on, and to whom (RFC 5322, 3.6.6).
    pub resent: Vec<String>,
    /// The `List-Id` (RFC 2919), without what stands around it.
    pub list_id: Option<String>,
    /// The `Message-ID`.
    pub message_id: Option<String>,
}

impl Header {
    /// Reads the fields of a header.
    #[must_use]
    pub(super) fn read(bytes: &[u8]) -> Self {
        let [mut from, mut sender, mut reply_to, mut to, mut cc, mut bcc, mut resent]: [Addresses; 7] =
            Default::default();
        let (mut list_id, mut message_id) = (None, None);
        each_field(bytes, |name, value| match name.to_ascii_lowercase().as_str() {
            "from" => from.read(value),
            "sender" => sender.read(value),
            "reply-to" => reply_to.read(value),
            "to" => to.read(value),
            "cc" => cc.read(value),
            "bcc" => bcc.read(value),
            "resent-from" | "resent-sender" | "resent-reply-to" | "resent-to" | "resent-cc" | "resent-bcc" => {
                resent.read(value);
            }
            "list-id" => list_id = list_id.take().or_else(|| identifier_of(value)),
            "message-id" => message_id = message_id.take().or_else(|| Some(value.trim().to_owned())),
            _ => {}
        });
        let [from, sender, reply_to, to, cc, bcc, resent] =
            [from, sender, reply_to, to, cc, bcc, resent].map(|addresses| addresses.all);
        let message_id = message_id.filter(|id| !id.is_empty());
        Self { from, sender, reply_to, to, cc, bcc, resent, list_id, message_id }
    }
}

/// Says whether a message begins as the notice that Exchange sends in the place of a message. Its sender is the server, which
/// no sender of mail has without an address, in whatever language the subject is.
pub(super) fn is_notice_of_exchange(head: &[u8]) -> bool {
    // What stands behind the header is somebody's text.
    let end = memchr::memmem::find(head, b"\r\n\r\n").unwrap_or(head.len());
    let mut is_notice = false;
    each_field(head.get(..end).unwrap_or_default(), |name, value| {
        let value = value.trim().trim_start_matches('"');
        is_notice |= match name.to_ascii_lowercase().as_str() {
            "from" => value.starts_with("Microsoft Exchange Server") && !value.contains('@'),
            "subject" => value.starts_with("Retrieval using the IMAP4 protocol failed"),
            _ => false,
        };
    });
    is_notice
}

/// Hands out each field by its name, unfolded. What is not UTF-8 is read as Windows-1252, in which every byte is a letter.
fn each_field(bytes: &[u8], mut take: impl FnMut(&str, &str)) {
    let mut give = |field: &[u8]| {
        let text = match std::str::from_utf8(field) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => WINDOWS_1252.decode_without_bom_handling(field).0,
        };
        if let Some((name, value)) = text.split_once(':') {
            take(name.trim_end(), value);
        }
    };
    let mut field: Vec<u8> = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            give(&field);
            field.clear();
        }
        field.extend_from_slice(line);
    }
    give(&field);
}

/// The identifier of a list: what stands in the last angle brackets, or the whole value.
fn identifier_of(value: &str) -> Option<String> {
    let value = value.trim();
    let inside = value.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(value, |(inside, _)| inside);
    let inside = inside.trim();
    (!inside.is_empty()).then(|| inside.to_owned())
}

/// Addresses, each once.
#[derive(Default)]
struct Addresses {
    all: Vec<String>,
    known: HashSet<String>,
}

impl Addresses {
    fn read(&mut self, value: &str) {
        self.read_at(value, 0);
    }

    fn read_at(&mut self, value: &str, depth: u32) {
        if self.read_list(value, depth) == Ending::Open {
            let without: String = value.chars().map(|c| if "\"()\\".contains(c) { ' ' } else { c }).collect();
            self.read_list(&without, depth);
        }
    }

    fn read_list(&mut self, value: &str, depth: u32) -> Ending {
        let mut list = List::default();
        for c in value.chars() {
            if list.read(c) {
                self.take(&mut list, depth);
            }
        }
        let ending = if list.inside == Inside::Quotes || list.comments > 0 { Ending::Open } else { Ending::Whole };
        list.ends();
        self.take(&mut list, depth);
        ending
    }

    /// Takes over what an element of a list held.
    fn take(&mut self, list: &mut List, depth: u32) {
        let (found, aside) = (std::mem::take(&mut list.found), std::mem::take(&mut list.aside));
        if found.is_empty() && depth < DEPTH_MAX && (aside.contains('@') || aside.contains("=?")) {
            self.read_at(&decoded(&aside), depth + 1);
        }
        found.into_iter().for_each(|address| self.add(address));
    }

    fn add(&mut self, address: String) {
        if self.known.insert(address.clone()) {
            self.all.push(address);
        }
    }
}

/// How a list ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// As it should.
    Whole,
    /// In the middle of a quote or a comment.
    Open,
}

/// A word of an element, without the quotes around a part of it.
#[derive(Default)]
struct Word {
    text: String,
    /// Whether an `@` stands in it outside of quotes.
    has_at: bool,
}

/// One element of a list of addresses while it is read, character by character.
#[derive(Default)]
struct List {
    /// The addresses in it.
    found: Vec<String>,
    /// What else stands in it: names, and what is no address.
    aside: String,
    /// The words of a name or an address, up to the one that is being read.
    words: Vec<Word>,
    word: Word,
    /// Whether space or a comment stood behind the word.
    has_gap: bool,
    at: At,
    inside: Inside,
    is_escaped: bool,
    comments: u32,
}

/// In which part of an element it reads.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum At {
    /// What may be an address, or a name before one.
    #[default]
    Word,
    /// The address in angle brackets.
    Angle,
}

/// What a character stands in.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Inside {
    #[default]
    Nothing,
    Quotes,
    /// The address of a machine, which may hold colons: `ada@[IPv6:::1]`.
    Brackets,
}

impl List {
    /// Reads one character; `true` when it ends an element.
    fn read(&mut self, c: char) -> bool {
        if std::mem::take(&mut self.is_escaped) {
            if self.inside == Inside::Quotes {
                self.word.text.push(c);
            }
            return false;
        }
        let (is_quoted, is_in_angle) = (self.inside == Inside::Quotes, self.at == At::Angle);
        match c {
            '\\' if is_quoted || self.comments > 0 => self.is_escaped = true,
            '"' if is_quoted => self.inside = Inside::Nothing,
            _ if is_quoted => self.word.text.push(c),
            '(' => (self.comments, self.has_gap) = (self.comments.saturating_add(1), true),
            ')' => (self.comments, self.has_gap) = (self.comments.saturating_sub(1), true),
            _ if self.comments > 0 => {}
            '"' => {
                self.joins(c);
                self.inside = Inside::Quotes;
            }
            '[' if self.word.text.ends_with('@') => {
                (self.inside, self.has_gap) = (Inside::Brackets, false);
                self.word.text.push(c);
            }
            _ if self.inside == Inside::Brackets && !"<>,;".contains(c) => {
                if c == ']' {
                    self.inside = Inside::Nothing;
                }
                self.word.text.push(c);
            }
            '<' => {
                self.put_aside();
                self.at = At::Angle;
            }
            '>' => self.ends_angle(),
            // A route in angle brackets ends here, or the name of a group before its members.
            ':' if is_in_angle => self.put_aside(),
            ',' if is_in_angle && self.word.text.starts_with('@') => self.put_aside(),
            ',' | ';' | ':' => {
                self.ends();
                return true;
            }
            c if c.is_whitespace() || c.is_control() => self.has_gap = true,
            c => {
                self.joins(c);
                self.word.has_at |= c == '@';
                self.word.text.push(c);
            }
        }
        false
    }

    /// Says where a character belongs that comes behind a gap: space may stand around an `@` and the dots of a name.
    fn joins(&mut self, c: char) {
        let is_inside = matches!(c, '@' | '.') || self.word.text.ends_with(['@', '.']);
        if std::mem::take(&mut self.has_gap) && !is_inside {
            self.ends_word();
        }
    }

    fn ends_word(&mut self) {
        (self.inside, self.has_gap) = (Inside::Nothing, false);
        let word = std::mem::take(&mut self.word);
        if !word.text.is_empty() {
            self.words.push(word);
        }
    }

    fn put_aside(&mut self) {
        self.ends_word();
        for word in std::mem::take(&mut self.words) {
            self.aside.push_str(&word.text);
            self.aside.push(' ');
        }
    }

    fn ends_angle(&mut self) {
        self.ends_word();
        for word in std::mem::take(&mut self.words) {
            self.takes(word, true);
        }
        self.at = At::Word;
    }

    fn ends(&mut self) {
        if self.at == At::Angle {
            self.ends_angle();
        }
        self.ends_word();
        for word in std::mem::take(&mut self.words) {
            let may_be = word.has_at;
            self.takes(word, may_be);
        }
    }

    fn takes(&mut self, word: Word, may_be: bool) {
        // Some write an address in square brackets; behind an `@` they are of the address of a machine.
        let text = if word.text.contains(['[', ']']) && !word.text.contains("@[") {
            word.text.trim_matches(['[', ']']).to_owned()
        } else {
            word.text
        };
        let has_both = text.rsplit_once('@').is_some_and(|(local, host)| !local.is_empty() && !host.is_empty());
        if may_be && has_both && !text.contains("=?") {
            self.found.push(text);
        } else {
            self.aside.push_str(&text);
            self.aside.push(' ');
        }
    }
}

/// Returns a text with its encoded words decoded (RFC 2047). What is none stays as it is.
fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("=?") {
        out.push_str(before);
        let mut parts = behind.splitn(3, '?');
        let word = match (parts.next(), parts.next(), parts.next().and_then(word_of)) {
            (Some(charset), Some(encoding), Some((data, after))) => {
                bytes_of(encoding, data).map(|bytes| (charset, bytes, after))
            }
            _ => None,
        };
        rest = match word {
            Some((charset, bytes, after)) => {
                let label = charset.split('*').next().unwrap_or_default();
                let charset = Encoding::for_label(label.as_bytes()).unwrap_or(UTF_8);
                out.push_str(&charset.decode_without_bom_handling(&bytes).0);
                // Space between two encoded words is no part of the text.
                Some(after.trim_start()).filter(|next| next.starts_with("=?")).unwrap_or(after)
            }
            None => {
                out.push_str("= ");
                behind
            }
        };
    }
    out.push_str(rest);
    out
}

/// Divides the text of an encoded word from what stands behind it.
fn word_of(text: &str) -> Option<(&str, &str)> {
    let within = text.as_bytes().get(..ENCODED_WORD_BYTES_MAX).unwrap_or(text.as_bytes());
    let end = memchr::memmem::find(within, b"?=")?;
    Some((text.get(..end)?, text.get(end + 2..)?))
}

fn bytes_of(encoding: &str, data: &str) -> Option<Vec<u8>> {
    if encoding.eq_ignore_ascii_case("b") {
        return LENIENT.decode(data.trim()).ok();
    }
    if !encoding.eq_ignore_ascii_case("q") {
        return None;
    }
    let mut bytes = Vec::with_capacity(data.len());
    let mut rest = data.as_bytes();
    while let [first, behind @ ..] = rest {
        let hex = behind.get(..2).and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        rest = behind;
        match (first, hex) {
            (b'=', Some(byte)) => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            (b'_', _) => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn to(value: &str) -> Vec<String> {
        Header::read(format!("To: {value}\r\n\r\n").as_bytes()).to
    }

    #[test]
    fn addresses_are_read_whatever_stands_around_them() {
        let read = |text: &str| Header::read(text.as_bytes()).resent;
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
        assert_eq!(
            to("a @ x . org, <  b@x  >, <c@x> (one) , a.b@[IPv6:::1], \"d\"@x, <\"e f\"@x>"),
            ["a@x.org", "b@x", "c@x", "a.b@[IPv6:::1]", "d@x", "e f@x"]
        );
    }

    #[test]
    fn what_is_written_wrongly_hides_nobody() {
        assert_eq!(to("MAILER-DAEMON, a@x, (never closed b@x"), ["a@x", "b@x"]);
        assert_eq!(to("\"Ada <a@x>, Bob <b@x>"), ["a@x", "b@x"]);
        assert_eq!(to("a@x b@x;c@x <d@x> <e@x>"), ["a@x", "b@x", "d@x", "e@x"], "a name is none");
        assert_eq!(to("<a@x, b@x>, <c@x d@x>, <e@x"), ["a@x", "b@x", "c@x", "d@x", "e@x"]);
        assert_eq!(to("Ada [mailto:a@x], [b@x], <[c@x]> [d], e@[1.2.3.4]"), ["a@x", "b@x", "c@x", "e@[1.2.3.4]"]);
        assert_eq!(to("mailto:a@x, \"b@x\", \"Cyra <c@x>\", \"d@x\" <>"), ["a@x", "b@x", "c@x", "d@x"]);
        assert_eq!(
            to("=?utf-8?Q?Ada_=3Ca=40x=3E?=, =?utf-8?B?QsO2YiA8?= =?UTF-8?b?YkB4Pg?=, =?latin1?q?c@x?="),
            ["a@x", "b@x", "c@x"]
        );
        // A name is no address, however it is encoded.
        assert_eq!(to("=?utf-8?Q?z=40x?= <a@x>, \"y@x\" <b@x>, z@x <c@x>"), ["a@x", "b@x", "c@x"]);
    }

    #[test]
    fn the_notice_of_exchange_is_told_from_mail() {
        for notice in [
            "MIME-Version: 1.0\r\nFrom: Microsoft Exchange Server 2010\r\nTo: A <a@x>\r\n\r\n",
            "From: \"Microsoft Exchange Server\"\r\nSubject: Fehler\r\n",
            "Subject: Retrieval using the IMAP4 protocol failed for the following\r\n message: 20004\r\n",
        ] {
            assert!(is_notice_of_exchange(notice.as_bytes()), "{notice}");
        }
        for mail in [
            "",
            "From: Microsoft Exchange Server <postmaster@x>\r\n",
            "From: a@x\r\nSubject: Re: Retrieval using the IMAP4 protocol failed\r\nTo: Microsoft Exchange Server\r\n",
        ] {
            assert!(!is_notice_of_exchange(mail.as_bytes()), "{mail}");
        }
    }

    #[test]
    fn fields_of_one_name_are_read_together_and_what_is_not_ascii_stays() {
        let text =
            "From: a@x\r\nTo: b@x\r\nto : ju\u{159}i@p\u{159}\u{ed}klad.example\r\nTO:\r\n c@x,\n\td@x\r\nCc: b@x\r\n";
        let read = Header::read(text.as_bytes());
        assert_eq!(read.to, ["b@x", "ju\u{159}i@p\u{159}\u{ed}klad.example", "c@x", "d@x"]);
        assert_eq!((read.from, read.cc), (vec!["a@x".to_owned()], vec!["b@x".to_owned()]));
        assert_eq!(Header::read(b"Cc: jos\xe9@x, b@x\n").cc, ["jos\u{e9}@x", "b@x"], "neither UTF-8 nor lost");
        let named = Header::read(b"Message-Id:\r\n <1@x>\r\nMESSAGE-ID: <2@x>\r\nList-ID: <l.x>\r\n");
        assert_eq!((named.message_id.as_deref(), named.list_id.as_deref()), (Some("<1@x>"), Some("l.x")));
        assert_eq!(Header::read(b"Message-Id: \r\n").message_id, None);
    }

    #[test]
    fn as_many_as_a_header_may_hold_are_read_one_by_one() {
        let many: Vec<String> = (0..60_000).map(|number| format!("p{number}@example.org")).collect();
        for between in [", ", ",\r\n ", ";"] {
            assert!(to(&many.join(between)) == many, "{between:?}");
        }
        let open = "(".repeat(100_000);
        assert_eq!(to(&format!("{open} a@x")), ["a@x"]);
        assert_eq!(to(&"=?".repeat(100_000)), Vec::<String>::new());
        assert_eq!(to(&"=?a?q?".repeat(100_000)), Vec::<String>::new());
    }

    #[test]
    fn the_identifier_of_a_list_is_what_stands_in_angle_brackets() {
        let read = |text: &str| Header::read(text.as_bytes()).list_id;
        assert_eq!(read("List-Id: All of us\r\n <all.contoso.com>\r\n\r\n").as_deref(), Some("all.contoso.com"));
        assert_eq!(read("LIST-ID: plain.contoso.com\r\n\r\n").as_deref(), Some("plain.contoso.com"));
        assert_eq!(read("\r\n"), None);
        assert_eq!(read("List-Id: <>\r\n"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_give_addresses_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200), list in "[a-c@<>,;:\"()\\\\\\[\\]=?_ ]{0,40}") {
            let mut header = format!("Resent-To: {list}\r\n").into_bytes();
            header.extend(bytes);
            let read = Header::read(&header);
            for address in read.resent.iter().chain(&read.to) {
                prop_assert!(address.rsplit_once('@').is_some_and(|(local, host)| !local.is_empty() && !host.is_empty()), "{address:?}");
            }
        }

        /// However a list is written, nobody in it is missed.
        #[test]
        fn nobody_in_a_list_is_missed(
            people in prop::collection::vec(("[a-z]{1,8}", 0_usize..8), 1..20),
            fold in prop::sample::select(vec![", ", ",", ",\r\n ", " ,\t", ";", ", ,"]),
        ) {
            let written = people.iter().map(|(name, how)| match how {
                0 => format!("{name}@x.org"),
                1 => format!("<{name}@x.org>"),
                2 => format!("\"N., \\\"({name}\" <{name}@x.org>"),
                3 => format!("=?utf-8?Q?a=2C_b?= <{name}@x.org>"),
                4 => format!("{name}@x.org (a, b\\) (c))"),
                5 => format!("\"{name}\"@x.org"),
                6 => format!("of: A B <{name}@x.org>, {name}@y.org"),
                _ => format!("A. B <@r,@s:{name} @ x . org>"),
            });
            let found = to(&written.collect::<Vec<_>>().join(fold));
            for (name, _) in &people {
                prop_assert!(found.contains(&format!("{name}@x.org")), "{name} of {found:?}");
            }
        }
    }
}

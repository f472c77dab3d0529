//! What a server says, as types. What is not known is passed over as the protocol asks; what is known and does not
//! parse is an error, because something irreversible may be decided on it.

use super::date::InternalDate;
use super::uid::{Uid, UidValidity, Uids};
use super::value::{Malformed, STREAMED, Value, values};

/// The word that a status answer begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// `OK`.
    Ok,
    /// `NO`.
    No,
    /// `BAD`.
    Bad,
    /// `PREAUTH`.
    Preauth,
    /// `BYE`.
    Bye,
}

/// A response code, RFC 3501, RFC 5530 and the extensions. Names of servers' own are kept out: they may say anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Code {
    /// `APPENDUID`, RFC 4315.
    AppendUid(UidValidity, Uid),
    /// `CAPABILITY`.
    Capability(Vec<String>),
    /// `COPYUID`: the folder's validity, from, to, in the same order.
    CopyUid(UidValidity),
    /// `HIGHESTMODSEQ`.
    HighestModSeq(u64),
    /// `NOMODSEQ`.
    NoModSeq,
    /// `MODIFIED`, RFC 7162.
    Modified(Uids),
    /// `PERMANENTFLAGS`.
    PermanentFlags(Vec<String>),
    /// `UIDNEXT`.
    UidNext(u32),
    /// `UIDVALIDITY`.
    UidValidity(UidValidity),
    /// `UIDNOTSTICKY`: the UIDs of this folder do not last (RFC 4315).
    UidNotSticky,
    /// `READ-ONLY`.
    ReadOnly,
    /// `READ-WRITE`.
    ReadWrite,
    /// One that has no arguments, by its name in capitals. See [`super::error`].
    Plain(&'static str),
    /// One that is not known.
    Other,
}

/// An answer without a tag.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Untagged {
    /// `OK`, `NO`, `BAD`, `PREAUTH`, `BYE`.
    Status(Status, Option<Code>),
    /// `CAPABILITY`.
    Capability(Vec<String>),
    /// `LIST`.
    List(Listed),
    /// `SEARCH`.
    Search(Vec<u32>),
    /// `ESEARCH`, of UIDs.
    ESearch(Uids),
    /// `STATUS` of a folder.
    FolderStatus(FolderStatus),
    /// `EXISTS`.
    Exists(u32),
    /// `EXPUNGE`.
    Expunge(u32),
    /// `VANISHED`, RFC 7162.
    Vanished(Uids),
    /// `FETCH`.
    Fetch(Box<Fetched>),
    /// `ACL`: the folder, and who has which rights.
    Acl(String, Vec<(String, String)>),
    /// `MYRIGHTS`.
    MyRights(String, String),
    /// `NAMESPACE`: personal, of other users, shared.
    Namespace([Vec<Namespace>; 3]),
    /// `QUOTA`, RFC 9208: what is counted, how much of it there is, and how much there may be.
    Quota(Vec<(String, u64, u64)>),
    /// `ID`, RFC 2971: pairs of names and values.
    Id(Vec<(String, String)>),
    /// Anything else.
    Other,
}

/// One line of `LIST`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Attributes, as written.
    pub attributes: Vec<String>,
    /// The character between the parts of a name; `None` for a flat one.
    pub delimiter: Option<char>,
    /// The name as commands write it.
    pub name: String,
}

/// What is used of the answer of `STATUS`.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct FolderStatus {
    /// The folder.
    pub name: String,
    /// The identifier that lasts (RFC 8474).
    pub mailbox_id: Option<String>,
}

/// A namespace: where names begin, and what stands between their parts (RFC 2342).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Namespace {
    /// The beginning, with the delimiter at its end.
    pub prefix: String,
    /// The delimiter.
    pub delimiter: Option<char>,
}

/// Fields of a header, as they stand in the message. Personal data: no `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) enum HeaderFields {
    /// The answer does not tell of them.
    #[default]
    NotTold,
    /// The server has lost them, or they are more than is held in memory.
    Unreadable,
    /// They are these.
    Told(Vec<u8>),
}

/// What a `FETCH` answer told of one message. What was not asked for, or is not said, is `None`.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Fetched {
    /// Its number in the folder, which changes.
    pub sequence: u32,
    /// Its UID.
    pub uid: Option<Uid>,
    /// Flags and keywords.
    pub flags: Option<Vec<String>>,
    /// When the server took it in.
    pub internal_date: Option<InternalDate>,
    /// Its bytes.
    pub size: Option<u64>,
    /// Its modification sequence.
    pub mod_seq: Option<u64>,
    /// The folder in which it lies, where Dovecot was asked.
    pub lies_in: Option<String>,
    /// The header fields that were asked for.
    pub header: HeaderFields,
    /// The whole message, when it did not come as a literal.
    pub body: Option<Vec<u8>>,
    /// Whether the whole message came as a literal and was handed on.
    pub streamed: bool,
}

/// Reads an answer behind its `* `.
///
/// # Errors
/// Says what does not follow the protocol.
pub(super) fn untagged(bytes: &[u8]) -> Result<Untagged, Malformed> {
    if let Some((status, code)) = status(bytes)? {
        return Ok(Untagged::Status(status, code));
    }
    let word = first_word(bytes);
    if word.iter().all(u8::is_ascii_digit) && !word.is_empty() {
        return numbered(bytes);
    }
    let known: [&[u8]; 11] = [
        b"CAPABILITY",
        b"LIST",
        b"SEARCH",
        b"ESEARCH",
        b"STATUS",
        b"VANISHED",
        b"ACL",
        b"MYRIGHTS",
        b"NAMESPACE",
        b"QUOTA",
        b"ID",
    ];
    let Some(at) = known.iter().position(|known| word.eq_ignore_ascii_case(known)) else { return Ok(Untagged::Other) };
    let all = values(bytes)?;
    let rest = all.get(1..).unwrap_or_default();
    match at {
        0 => Ok(Untagged::Capability(rest.iter().filter_map(Value::text).collect())),
        1 => list(rest).map(Untagged::List),
        2 => search(rest),
        3 => esearch(rest),
        4 => folder_status(rest).map(Untagged::FolderStatus),
        5 => vanished(rest),
        6 => acl(rest),
        7 => match rest {
            [folder, rights] => Ok(Untagged::MyRights(folder.name()?, text_of(rights)?)),
            _ => Err(Malformed("MYRIGHTS")),
        },
        8 => namespaces(rest),
        9 => Ok(Untagged::Quota(limits(rest.get(1).and_then(Value::list).unwrap_or_default()))),
        _ => Ok(Untagged::Id(pairs(rest.first().and_then(Value::list).unwrap_or_default()))),
    }
}

/// Reads a status answer, with or without a tag before it: `OK [CODE] text`. The text is not kept.
///
/// # Errors
/// Says what is wrong with its code.
pub(super) fn status(bytes: &[u8]) -> Result<Option<(Status, Option<Code>)>, Malformed> {
    let word = first_word(bytes);
    let status = match word {
        word if word.eq_ignore_ascii_case(b"OK") => Status::Ok,
        word if word.eq_ignore_ascii_case(b"NO") => Status::No,
        word if word.eq_ignore_ascii_case(b"BAD") => Status::Bad,
        word if word.eq_ignore_ascii_case(b"PREAUTH") => Status::Preauth,
        word if word.eq_ignore_ascii_case(b"BYE") => Status::Bye,
        _ => return Ok(None),
    };
    let rest = bytes.get(word.len()..).unwrap_or_default();
    let Some(inner) = rest.strip_prefix(b" [") else { return Ok(Some((status, None))) };
    // Codes with brackets inside exist (BADCHARSET, URLMECH); none that is known here has one.
    let Some(end) = inner.iter().position(|byte| *byte == b']') else { return Ok(Some((status, None))) };
    let code = code(inner.get(..end).unwrap_or_default())?;
    Ok(Some((status, Some(code))))
}

/// Codes without arguments that mean something to us.
pub(super) const PLAIN_CODES: &[&str] = &[
    "ALERT",
    "ALREADYEXISTS",
    "AUTHENTICATIONFAILED",
    "AUTHORIZATIONFAILED",
    "CANNOT",
    "CLIENTBUG",
    "CLOSED",
    "CONTACTADMIN",
    "CORRUPTION",
    "EXPIRED",
    "EXPUNGEISSUED",
    "HASCHILDREN",
    "INUSE",
    "LIMIT",
    "NOALERTS",
    "NONEXISTENT",
    "NOPERM",
    "OVERQUOTA",
    "PARSE",
    "PRIVACYREQUIRED",
    "SERVERBUG",
    "THROTTLED",
    "TOOBIG",
    "TRYCREATE",
    "UNAVAILABLE",
    "UNKNOWN-CTE",
    "USEATTR",
];

fn code(bytes: &[u8]) -> Result<Code, Malformed> {
    let word = first_word(bytes).to_ascii_uppercase();
    let arguments = || values(bytes).map(|all| all.into_iter().skip(1).collect::<Vec<_>>());
    let number = |what| arguments().ok().and_then(|rest| rest.first().and_then(Value::number)).ok_or(Malformed(what));
    let small = |what| number(what).and_then(|number: u64| u32::try_from(number).map_err(|_| Malformed(what)));
    Ok(match word.as_slice() {
        b"APPENDUID" => {
            let rest = arguments()?;
            // A MULTIAPPEND answers with a set; we append one at a time.
            match (rest.first().and_then(Value::number), rest.get(1).and_then(Value::number)) {
                (Some(validity), Some(uid)) => Code::AppendUid(UidValidity(validity), Uid(uid)),
                _ => return Err(Malformed("APPENDUID")),
            }
        }
        b"CAPABILITY" => Code::Capability(arguments()?.iter().filter_map(Value::text).collect()),
        b"COPYUID" => Code::CopyUid(UidValidity(small("COPYUID")?)),
        b"HIGHESTMODSEQ" => Code::HighestModSeq(number("HIGHESTMODSEQ")?),
        b"NOMODSEQ" => Code::NoModSeq,
        b"MODIFIED" => {
            let rest = arguments()?;
            let text = rest.first().and_then(Value::text).ok_or(Malformed("MODIFIED"))?;
            Code::Modified(Uids::parse(&text).ok_or(Malformed("MODIFIED"))?)
        }
        b"PERMANENTFLAGS" => Code::PermanentFlags(words(arguments()?.first()).ok_or(Malformed("PERMANENTFLAGS"))?),
        b"UIDNEXT" => Code::UidNext(small("UIDNEXT")?),
        b"UIDVALIDITY" => Code::UidValidity(UidValidity(small("UIDVALIDITY")?)),
        b"UIDNOTSTICKY" => Code::UidNotSticky,
        b"READ-ONLY" => Code::ReadOnly,
        b"READ-WRITE" => Code::ReadWrite,
        word => {
            let known = PLAIN_CODES.iter().find(|known| known.as_bytes() == word);
            known.map_or(Code::Other, |known| Code::Plain(known))
        }
    })
}

fn first_word(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == b' ').unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or_default()
}

fn text_of(value: &Value) -> Result<String, Malformed> {
    value.text().ok_or(Malformed("a list or NIL where a text belongs"))
}

fn words(value: Option<&Value>) -> Option<Vec<String>> {
    value.and_then(Value::list).map(|list| list.iter().filter_map(Value::text).collect())
}

fn numbered(bytes: &[u8]) -> Result<Untagged, Malformed> {
    let all = values(bytes)?;
    let number = all.first().and_then(Value::number).ok_or(Malformed("a number of a message"))?;
    match all.get(1..) {
        Some([word]) if word.is("EXISTS") => Ok(Untagged::Exists(number)),
        Some([word]) if word.is("EXPUNGE") => Ok(Untagged::Expunge(number)),
        Some([word, attributes]) if word.is("FETCH") => fetched(number, attributes.list().ok_or(Malformed("FETCH"))?)
            .map(|fetched| Untagged::Fetch(Box::new(fetched))),
        Some([word, ..]) if word.is("EXISTS") || word.is("EXPUNGE") || word.is("FETCH") => {
            Err(Malformed("an answer about a message"))
        }
        _ => Ok(Untagged::Other),
    }
}

fn fetched(sequence: u32, attributes: &[Value]) -> Result<Fetched, Malformed> {
    let mut fetched = Fetched { sequence, ..Fetched::default() };
    for pair in attributes.chunks(2) {
        let [name, value] = pair else { return Err(Malformed("FETCH")) };
        let Value::Atom(name) = name else { return Err(Malformed("FETCH")) };
        match name.to_ascii_uppercase().as_slice() {
            b"UID" => {
                let uid: u32 = value.number().ok_or(Malformed("UID"))?;
                if fetched.uid.replace(Uid(uid)).is_some_and(|before| before.0 != uid) || uid == 0 {
                    return Err(Malformed("UID"));
                }
            }
            b"FLAGS" => fetched.flags = Some(words(Some(value)).ok_or(Malformed("FLAGS"))?),
            b"INTERNALDATE" => {
                let told = value.text().and_then(|text| InternalDate::parse(&text));
                fetched.internal_date = Some(told.unwrap_or(InternalDate::UNKNOWN));
            }
            b"RFC822.SIZE" => fetched.size = Some(value.number().ok_or(Malformed("RFC822.SIZE"))?),
            b"MODSEQ" => {
                let number = value.list().and_then(|list| list.first()).and_then(Value::number);
                fetched.mod_seq = Some(number.ok_or(Malformed("MODSEQ"))?);
            }
            b"X-MAILBOX" => fetched.lies_in = Some(value.name()?),
            b"BODY[]" => match value {
                Value::Atom(mark) if mark == STREAMED => fetched.streamed = true,
                // `NIL` is no body: the server has lost it.
                other => fetched.body = other.bytes().map(<[u8]>::to_vec),
            },
            name if name.starts_with(b"BODY[HEADER.FIELDS") => {
                fetched.header = match value {
                    Value::Atom(mark) if mark == STREAMED => HeaderFields::Unreadable,
                    other => other.bytes().map_or(HeaderFields::Unreadable, |bytes| HeaderFields::Told(bytes.to_vec())),
                };
            }
            _ => {}
        }
    }
    Ok(fetched)
}

fn delimiter(value: &Value) -> Option<char> {
    value.text().and_then(|text| text.chars().next())
}

fn list(rest: &[Value]) -> Result<Listed, Malformed> {
    match rest {
        [attributes, separator, name, ..] => Ok(Listed {
            attributes: words(Some(attributes)).ok_or(Malformed("LIST"))?,
            delimiter: delimiter(separator),
            name: name.name()?,
        }),
        _ => Err(Malformed("LIST")),
    }
}

fn search(rest: &[Value]) -> Result<Untagged, Malformed> {
    let mut found = Vec::new();
    for value in rest {
        match value {
            // `(MODSEQ n)` at the end, RFC 7162.
            Value::List(_) => {}
            value => found.push(value.number().filter(|number| *number > 0).ok_or(Malformed("SEARCH"))?),
        }
    }
    Ok(Untagged::Search(found))
}

fn esearch(rest: &[Value]) -> Result<Untagged, Malformed> {
    let mut all = Uids::default();
    let mut values = rest.iter().skip_while(|value| matches!(value, Value::List(_)));
    let mut is_uid = false;
    while let Some(name) = values.next() {
        if name.is("UID") {
            is_uid = true;
            continue;
        }
        let value = values.next().ok_or(Malformed("ESEARCH"))?;
        if name.is("ALL") {
            all = value.text().and_then(|text| Uids::parse(&text)).ok_or(Malformed("ESEARCH"))?;
        }
    }
    if is_uid || all.is_empty() { Ok(Untagged::ESearch(all)) } else { Err(Malformed("ESEARCH of sequence numbers")) }
}

fn folder_status(rest: &[Value]) -> Result<FolderStatus, Malformed> {
    let [folder, items] = rest else { return Err(Malformed("STATUS")) };
    let mut status = FolderStatus { name: folder.name()?, ..FolderStatus::default() };
    for pair in items.list().ok_or(Malformed("STATUS"))?.chunks(2) {
        let [name, value] = pair else { return Err(Malformed("STATUS")) };
        if name.text().is_some_and(|name| name.eq_ignore_ascii_case("MAILBOXID")) {
            status.mailbox_id = value.list().and_then(|list| list.first()).and_then(Value::text);
        }
    }
    Ok(status)
}

fn vanished(rest: &[Value]) -> Result<Untagged, Malformed> {
    // `(EARLIER)` may stand before the set: gone is gone.
    let set = rest.last().and_then(Value::text).and_then(|text| Uids::parse(&text));
    set.map(Untagged::Vanished).ok_or(Malformed("VANISHED"))
}

fn acl(rest: &[Value]) -> Result<Untagged, Malformed> {
    let [folder, pairs @ ..] = rest else { return Err(Malformed("ACL")) };
    let mut entries = Vec::new();
    for pair in pairs.chunks(2) {
        let [who, rights] = pair else { return Err(Malformed("ACL")) };
        entries.push((who.name()?, text_of(rights)?));
    }
    Ok(Untagged::Acl(folder.name()?, entries))
}

fn namespaces(rest: &[Value]) -> Result<Untagged, Malformed> {
    let [personal, others, shared] = rest else { return Err(Malformed("NAMESPACE")) };
    let read = |value: &Value| -> Result<Vec<Namespace>, Malformed> {
        let list = value.list().ok_or(Malformed("NAMESPACE"))?;
        list.iter()
            .map(|entry| match entry.list() {
                Some([prefix, separator, ..]) => {
                    Ok(Namespace { prefix: prefix.name()?, delimiter: delimiter(separator) })
                }
                _ => Err(Malformed("NAMESPACE")),
            })
            .collect()
    };
    Ok(Untagged::Namespace([read(personal)?, read(others)?, read(shared)?]))
}

/// What is limited. What is not written as a name and two numbers limits nothing that is known here.
fn limits(list: &[Value]) -> Vec<(String, u64, u64)> {
    list.chunks(3)
        .filter_map(|limit| match limit {
            [what, used, most] => Some((what.text()?.to_ascii_uppercase(), used.number()?, most.number()?)),
            _ => None,
        })
        .collect()
}

fn pairs(list: &[Value]) -> Vec<(String, String)> {
    list.chunks(2)
        .filter_map(|pair| match pair {
            [name, value] => Some((name.text()?.to_ascii_lowercase(), value.text().unwrap_or_default())),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use retention_core::time::Timestamp;

    use super::*;

    /// What answers are made of, so that the readers behind the first word are reached.
    fn words() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            prop::sample::select(vec![
                "OK",
                "NO",
                "BYE",
                "[",
                "]",
                "CAPABILITY",
                "LIST",
                "SEARCH",
                "ESEARCH",
                "STATUS",
                "VANISHED",
                "ACL",
                "MYRIGHTS",
                "NAMESPACE",
                "QUOTA",
                "ID",
                "FETCH",
                "EXPUNGE",
                "EXISTS",
                "UID",
                "FLAGS",
                "INTERNALDATE",
                "RFC822.SIZE",
                "MODSEQ",
                "BODY[]",
                "BODY[HEADER.FIELDS (LIST-ID TO)]",
                "APPENDUID",
                "COPYUID",
                "MODIFIED",
                "UIDNEXT",
                "UIDVALIDITY",
                "HIGHESTMODSEQ",
                "PERMANENTFLAGS",
                "ALL",
                "(",
                ")",
                "NIL",
                "1",
                "0",
                "4294967295",
                "4294967296",
                "18446744073709551616",
                "1:*",
                "3:1,7",
                "\"\"",
                "\" 1-Jan-2015 10:00:00 +0000\"",
                "\"99-Foo-0000 99:99:99 +9999\"",
                "{3}\r\nabc",
                "{9}\r\nab",
            ])
            .prop_map(|word: &str| word.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..6),
        ];
        prop::collection::vec(word, 0..24).prop_map(|words| words.join(&b" "[..]))
    }

    #[test]
    fn a_date_that_is_none_is_one_that_nobody_knows_and_keeps_no_other_message_back() {
        for none in ["NIL", "\"\"", "\"00-Jan-0000 00:00:00 +0000\"", "\"31-Feb-2015 10:00:00 +0000\"", "(x)"] {
            let answer = format!("7 FETCH (UID 9 INTERNALDATE {none})");
            let Ok(Untagged::Fetch(fetched)) = untagged(answer.as_bytes()) else { panic!("{answer}") };
            assert_eq!(fetched.internal_date.map(InternalDate::at), Some(Timestamp(0)), "{none}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _read = (untagged(&bytes), status(&bytes));
        }

        #[test]
        fn any_words_of_the_protocol_are_an_answer_or_refused(bytes in words()) {
            let _read = (untagged(&bytes), status(&bytes));
        }

        #[test]
        fn no_message_has_the_uid_zero_and_none_is_named_by_a_set_that_is_open(bytes in words()) {
            match untagged(&bytes) {
                Ok(Untagged::Fetch(fetched)) => prop_assert_ne!(fetched.uid, Some(Uid(0))),
                Ok(Untagged::Search(uids)) => prop_assert!(!uids.contains(&0)),
                Ok(_) | Err(_) => {}
            }
        }
    }
}

//! What a server itself has to say: every folder, every message and every right.

use std::collections::{BTreeMap, BTreeSet};

use super::raw::{Line, Raw, Status, quoted};

/// One message as the server shows it to its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Flags and keywords, without `\Recent`.
    pub flags: BTreeSet<String>,
    /// INTERNALDATE, with two digits for the day on every server.
    pub date: String,
    /// RFC822.SIZE.
    pub size: u64,
    /// Every byte.
    pub body: Vec<u8>,
}

/// One folder as the server shows it to its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// The messages by their UIDs.
    pub messages: BTreeMap<u32, Stored>,
}

/// What others opened to everybody is shown to each.
fn own_folders(raw: &mut Raw) -> Vec<String> {
    const OF_OTHERS: [&str; 4] = ["shared/", "user/", "#shared.", "shared."];
    let mut folders = raw.folders();
    folders.retain(|name| !OF_OTHERS.iter().any(|prefix| name.starts_with(prefix)));
    folders
}

pub(super) fn of(raw: &mut Raw) -> BTreeMap<String, Folder> {
    let mut folders = BTreeMap::new();
    for name in own_folders(raw) {
        let uid_validity = raw.examine(&name);
        let answer = raw.ask("UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])");
        // Some servers refuse `1:*` where there is nothing.
        let lines = if answer.status == Status::Ok { answer.lines } else { Vec::new() };
        let mut messages = BTreeMap::new();
        for line in lines.into_iter().filter(|line| line.text.contains(" FETCH ") && !line.literals.is_empty()) {
            let uid = number_after(&line.text, "UID ").and_then(|uid| u32::try_from(uid).ok()).expect("a UID");
            let twice = messages.insert(uid, stored(line));
            assert_eq!(twice, None, "{name}: UID {uid} twice");
        }
        folders.insert(name, Folder { uid_validity, messages });
    }
    folders
}

fn stored(mut line: Line) -> Stored {
    let flags = line.text.split("FLAGS (").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or_default();
    let flags = flags.split(' ').filter(|flag| !flag.is_empty() && *flag != "\\Recent").map(str::to_owned).collect();
    let date = line.text.split("INTERNALDATE \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    Stored {
        flags,
        // The grammar pads it with a blank; Dovecot and Courier write a zero.
        date: if let Some(date) = date.strip_prefix(' ') { format!("0{date}") } else { date.to_owned() },
        size: number_after(&line.text, "RFC822.SIZE ").expect("a size"),
        body: line.literals.remove(0),
    }
}

fn number_after(text: &str, word: &str) -> Option<u64> {
    let rest = text.split([' ', '(']).zip(text.split([' ', '(']).skip(1));
    rest.filter(|(name, _)| *name == word.trim_end()).find_map(|(_, value)| value.trim_end_matches(')').parse().ok())
}

pub(super) fn rights(raw: &mut Raw) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut folders = BTreeMap::new();
    for name in own_folders(raw) {
        let lines = raw.ok(&format!("GETACL {}", quoted(&name)));
        let mut entries = BTreeMap::new();
        for line in lines.iter().filter(|line| line.text.starts_with("* ACL ")) {
            let words = words(line);
            for pair in words.get(3..).unwrap_or_default().chunks_exact(2) {
                if let [identifier, rights] = pair {
                    entries.insert(identifier.clone(), rights.clone());
                }
            }
        }
        folders.insert(name, entries);
    }
    folders
}

/// Returns the words of a line: atoms, quoted strings and literals.
fn words(line: &Line) -> Vec<String> {
    let mut words = Vec::new();
    let mut literals = line.literals.iter();
    let mut rest = line.text.as_str();
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('"') {
            let mut word = String::new();
            let mut letters = inside.char_indices();
            let mut end = inside.len();
            while let Some((at, letter)) = letters.next() {
                match letter {
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    '\\' => word.extend(letters.next().map(|(_, escaped)| escaped)),
                    letter => word.push(letter),
                }
            }
            words.push(word);
            rest = inside.get(end..).unwrap_or_default();
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            let word = rest.get(..end).unwrap_or_default();
            if word.starts_with('{') {
                words.extend(literals.next().map(|bytes| String::from_utf8_lossy(bytes).into_owned()));
            } else if !word.is_empty() {
                words.push(word.to_owned());
            }
            rest = rest.get(end..).unwrap_or_default();
        }
        rest = rest.trim_start_matches(' ');
    }
    words
}

//! Messages as records: one layout, one id, one spelling of every cell.
//!
//! A message is named by mailbox, folder, `UIDVALIDITY` and uid (RFC 9051, 2.3.1.1). A message that is moved, or whose
//! folder is numbered anew, is another entity. Its subject and its text are never recorded.

use std::collections::BTreeSet;
use std::fmt;

use super::field::standard;
use super::{Cells, Column, EntityRecord, Kind, Layout, RowTooLarge};
use crate::record::DateRole;
use crate::time::Timestamp;

/// What stands between the elements of a list in one cell.
const SEPARATOR: char = '|';
/// What stands for [`SEPARATOR`] inside an element.
const SEPARATOR_ESCAPED: &str = "%7C";

/// Where a message is. Personal data, because folders are named by people: no `Debug`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageKey {
    /// The folder, in UTF-8.
    pub folder: String,
    /// The numbering of the folder.
    pub uid_validity: u32,
    /// The number in it.
    pub uid: u32,
}

impl MessageKey {
    /// Returns the id in the source: `<uidvalidity>:<uid>:<folder>`.
    #[must_use]
    pub fn external_id(&self) -> String {
        format!("{}:{}:{}", self.uid_validity, self.uid, self.folder)
    }

    /// Reads such an id; `None` if it is none.
    #[must_use]
    pub fn parse(external_id: &str) -> Option<Self> {
        let (uid_validity, rest) = external_id.split_once(':')?;
        let (uid, folder) = rest.split_once(':')?;
        let key = Self { folder: folder.to_owned(), uid_validity: uid_validity.parse().ok()?, uid: uid.parse().ok()? };
        // No sign, no leading zero: one key has one id.
        (key.external_id() == external_id).then_some(key)
    }
}

/// What of a message may differ while it is the same message, and what would make it another one.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageStanding {
    /// When its server received it (`INTERNALDATE`).
    pub received: Timestamp,
    /// Its bytes (`RFC822.SIZE`).
    pub size: u64,
    /// System flags in lower case without the backslash, without `recent`.
    pub flags: BTreeSet<String>,
    /// Keywords as the server writes them.
    pub keywords: BTreeSet<String>,
}

impl MessageStanding {
    /// Returns when its server received it, for whoever counts from that. `None` for what servers tell where they do not
    /// know it: the zero of Unix, in any zone, and all up to 1900.
    #[must_use]
    pub fn dated(&self) -> Option<Timestamp> {
        const DAY_US: i64 = 86_400_000_000;
        const TWENTIETH_CENTURY: Timestamp = Timestamp(-2_177_452_800_000_000);
        let is_none = self.received < TWENTIETH_CENTURY || (-DAY_US..DAY_US).contains(&self.received.0);
        (!is_none).then_some(self.received)
    }
}

impl fmt::Debug for MessageStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keywords are words of people.
        f.debug_struct("MessageStanding")
            .field("received", &self.received)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Who a message is from and to, and what it is called. Personal data: no `Debug`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Correspondents {
    /// Addresses in `From`.
    pub from: Vec<String>,
    /// Addresses in `To`.
    pub to: Vec<String>,
    /// Addresses in `Cc`.
    pub cc: Vec<String>,
    /// The mailing list (RFC 2919).
    pub list: Option<String>,
    /// The message id.
    pub message_id: Option<String>,
    /// Addresses in `Sender` that are not in `From`: most senders write the same one twice.
    pub sender: Vec<String>,
    /// Addresses in `Reply-To` that are not in `From`.
    pub reply_to: Vec<String>,
    /// Addresses in `Bcc`, which stands in what was sent and hardly ever in what was got.
    pub bcc: Vec<String>,
    /// Addresses in the `Resent-` fields: who sent it on, and to whom.
    pub resent: Vec<String>,
}

/// Returns the layout of all messages of a source.
#[must_use]
pub fn layout(source: &str) -> Layout {
    let column = |field: &super::field::Field| Column {
        name: field.ocm_column.to_owned(),
        field: field.name.to_owned(),
        field_type: field.field_type,
    };
    Layout {
        source: source.to_owned(),
        kind: Kind::Message,
        columns: standard(Kind::Message).iter().map(column).collect(),
        named_dates: Vec::new(),
    }
}

/// Returns the row of a message, in the order of [`layout`].
///
/// # Errors
/// When what its headers say does not fit into a row.
pub fn cells(
    key: &MessageKey,
    special_use: &BTreeSet<String>,
    standing: &MessageStanding,
    correspondents: &Correspondents,
) -> Result<Cells, RowTooLarge> {
    let mut cells = Cells::default();
    for field in standard(Kind::Message) {
        let cell = match field.name {
            "folder" => Some(key.folder.clone()),
            "special_use" => list(special_use),
            "uid" => Some(key.uid.to_string()),
            "uidvalidity" => Some(key.uid_validity.to_string()),
            "received" => Some(standing.received.to_string()),
            "size" => Some(standing.size.to_string()),
            "flags" => list(&standing.flags),
            "keywords" => list(&standing.keywords),
            "from" => list(&correspondents.from),
            "to" => list(&correspondents.to),
            "cc" => list(&correspondents.cc),
            "list" => correspondents.list.clone(),
            "message_id" => correspondents.message_id.clone(),
            "sender" => list(&correspondents.sender),
            "reply_to" => list(&correspondents.reply_to),
            "bcc" => list(&correspondents.bcc),
            "resent" => list(&correspondents.resent),
            _ => None,
        };
        cells.push(cell.as_deref())?;
    }
    Ok(cells)
}

/// Returns the cell of a list; null when it is empty.
fn list<'a>(elements: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let escaped: Vec<String> = elements.into_iter().map(|element| escape(element)).collect();
    (!escaped.is_empty()).then(|| escaped.join("|"))
}

fn escape(element: &str) -> String {
    element.replace(SEPARATOR, SEPARATOR_ESCAPED)
}

/// Says how a message that stands on its server differs from its record; `None` if it does not.
///
/// `received` is compared as the record's date, which policies judge by, and as its cell only where it is no date.
#[must_use]
pub fn difference(record: &EntityRecord, layout: &Layout, now: &MessageStanding) -> Option<&'static str> {
    let cell = |name| layout.column_of(name).and_then(|column| record.cells.get(column));
    let set = |name| -> BTreeSet<String> {
        cell(name).map(|text| text.split(SEPARATOR).map(str::to_owned).collect()).unwrap_or_default()
    };
    let escaped = |set: &BTreeSet<String>| set.iter().map(|element| escape(element)).collect::<BTreeSet<_>>();
    let is_received_so = match record.date(DateRole::Received) {
        Some(at) => Some(at) == now.dated(),
        None => now.dated().is_none() && cell("received") == Some(now.received.to_string().as_str()),
    };
    if !is_received_so {
        Some("received")
    } else if cell("size") != Some(now.size.to_string().as_str()) {
        Some("size")
    } else if set("flags") != escaped(&now.flags) {
        Some("flags")
    } else if set("keywords") != escaped(&now.keywords) {
        Some("keywords")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::LayoutId;
    use crate::record::Visibility;

    fn record(key: &MessageKey, standing: &MessageStanding) -> EntityRecord {
        EntityRecord {
            layout: LayoutId(1),
            mailbox: None,
            visibility: Visibility::Unknown,
            external_id: key.external_id(),
            other_ids: Vec::new(),
            dates: standing.dated().map(|at| (DateRole::Received, at)).into_iter().collect(),
            links: Vec::new(),
            cells: cells(key, &BTreeSet::new(), standing, &Correspondents::default()).unwrap(),
        }
    }

    fn standing() -> impl Strategy<Value = MessageStanding> {
        let words = || prop::collection::btree_set("[a-z|%$]{1,4}", 0..4);
        (any::<i32>(), any::<u64>(), words(), words()).prop_map(|(seconds, size, flags, keywords)| MessageStanding {
            received: Timestamp::from_unix_seconds(i64::from(seconds)),
            size,
            flags,
            keywords,
        })
    }

    #[test]
    fn what_servers_tell_where_they_know_no_date_is_none() {
        let dated = |text: &str| {
            let received: Timestamp = text.parse().unwrap();
            let standing = MessageStanding { received, size: 1, flags: BTreeSet::new(), keywords: BTreeSet::new() };
            standing.dated() == Some(received)
        };
        for none in [
            "1970-01-01T00:00:00Z",
            "1969-12-31T13:00:00Z",
            "1970-01-01T12:00:00Z",
            "1601-01-01T00:00:00Z",
            "1899-12-30T00:00:00Z",
            "1900-12-31T23:59:59Z",
        ] {
            assert!(!dated(none), "{none}");
        }
        for some in ["1901-01-01T00:00:00Z", "1969-12-30T23:59:59Z", "1970-01-02T00:00:00Z", "2015-01-01T10:00:00Z"] {
            assert!(dated(some), "{some}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_read_back_from_its_id_and_nothing_else_is_one(folder in any::<String>(), validity: u32, uid: u32, other in any::<String>()) {
            let key = MessageKey { folder, uid_validity: validity, uid };
            prop_assert!(MessageKey::parse(&key.external_id()) == Some(key));
            if let Some(parsed) = MessageKey::parse(&other) {
                prop_assert_eq!(parsed.external_id(), other);
            }
        }

        #[test]
        fn a_message_differs_from_its_record_exactly_when_something_that_counts_does(a in standing(), b in standing()) {
            let key = MessageKey { folder: "Archive".into(), uid_validity: 1, uid: 2 };
            let (record, layout) = (record(&key, &a), layout("mail"));
            prop_assert_eq!(difference(&record, &layout, &a), None);
            let only_flag = MessageStanding { flags: a.flags.iter().cloned().chain(["x1".into()]).collect(), ..a.clone() };
            prop_assert_eq!(difference(&record, &layout, &only_flag), Some("flags"));
            prop_assert_eq!(difference(&record, &layout, &b).is_some(), a != b);
        }
    }
}

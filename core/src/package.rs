//! The package of a data subject (GDPR Art. 15 and 20): what is stored of them, as a page that a person reads beside
//! the same as JSON and as CSV for programs, and the messages as their servers hold them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::event::subject::{MissingWhy, RequestKind};
use crate::id::{Digest, EntityId, RequestId};
use crate::record::{DateRole, EntityRecord, Kind, Layout, SourceLink};
use crate::table::spreadsheet_safe;
use crate::time::{Timestamp, Zone};

mod head;
mod page;

pub use head::{HEAD_BYTES_MAX, subject_of};

/// The page, the first thing to open.
pub const PAGE: &str = "index.html";

/// The same for programs.
pub const DATA: &str = "data.json";

/// The list of all other files, with their digests.
pub const MANIFEST: &str = "manifest.json";

/// The directory of the messages.
const TEXTS: &str = "messages";

/// What a package answers.
#[derive(Debug, Clone)]
pub struct Heading {
    /// The request.
    pub request: RequestId,
    /// What was asked for.
    pub kind: RequestKind,
    /// When it was received.
    pub received_at: Timestamp,
    /// When the package was made.
    pub made_at: Timestamp,
    /// The zone in which the page tells times.
    pub zone: Zone,
}

/// One record. Personal data: it has no `Debug`.
pub struct Packaged<'a> {
    /// Its number.
    pub entity: EntityId,
    /// How its cells are arranged.
    pub layout: &'a Layout,
    /// The record.
    pub record: &'a EntityRecord,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// Whether its use is restricted.
    pub restricted: bool,
    /// What became of its text; `None` for whatever is no message.
    pub text: Option<&'a PackagedText>,
}

/// What became of the text of a message. Personal data: it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum PackagedText {
    /// It is in the package, byte for byte as the server has it.
    Whole {
        /// Its length.
        bytes: u64,
        /// Its SHA-256.
        sha256: Digest,
        /// What it says to be about, as far as that can be read.
        subject: Option<String>,
    },
    /// It could not be fetched.
    Missing(MissingWhy),
}

/// What happens while texts of messages are fetched, one after the other.
#[derive(Clone, Copy)]
pub enum TextEvent<'a> {
    /// A text begins, of the message with this number among those asked for. It becomes whole, or is missing.
    Begin(usize),
    /// A part of it.
    Part(&'a [u8]),
    /// It is whole.
    End,
    /// The text of a message could not be fetched, also when it was begun.
    Missing(usize, MissingWhy),
}

/// Returns the name of the file in which the text of a message is.
#[must_use]
pub fn text_file(entity: EntityId) -> String {
    format!("{TEXTS}/{entity}.eml")
}

/// Under which policy records of a kind are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What people call the policy.
    pub title: String,
    /// On which legal basis.
    pub legal_basis: String,
    /// How long, counted from what, in words.
    pub period: String,
    /// Of which kinds.
    pub kinds: Vec<Kind>,
}

/// One file. Personal data: it has no `Debug`.
pub struct PackageFile {
    /// Its path in the package.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Returns the files of a package: the page, the JSON, and one CSV for each source and kind. Records come in the order
/// given; empty cells are left out of the page, and are what they are everywhere else. The texts of messages are not
/// among them: they are too large to be held together.
#[must_use]
pub fn files(heading: &Heading, records: &[Packaged<'_>], kept: &[Kept]) -> Vec<PackageFile> {
    let mut tables: BTreeMap<(Kind, &str), Vec<&Packaged<'_>>> = BTreeMap::new();
    for one in records {
        tables.entry((one.layout.kind, one.layout.source.as_str())).or_default().push(one);
    }
    let mut files = vec![
        PackageFile { name: PAGE.to_owned(), bytes: page::page(heading, records, kept, &tables).into_bytes() },
        PackageFile { name: DATA.to_owned(), bytes: data(heading, records, kept) },
    ];
    for ((kind, source), rows) in &tables {
        let mut name = csv_name(*kind, source, "");
        // Two sources may differ in letters only that no name of a file has.
        if files.iter().any(|file| file.name == name) {
            name = csv_name(*kind, source, &format!("-{}", files.len()));
        }
        files.push(PackageFile { name, bytes: csv(rows) });
    }
    files
}

fn csv_name(kind: Kind, source: &str, ending: &str) -> String {
    let plain: String =
        source.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    format!("csv/{kind}-{plain}{ending}.csv")
}

fn data(heading: &Heading, records: &[Packaged<'_>], kept: &[Kept]) -> Vec<u8> {
    // A list, since two columns may have one name, and each cell is the person's.
    let fields = |one: &Packaged<'_>| -> Vec<Value> {
        let cells = one.layout.columns.iter().zip(one.record.cells.iter());
        cells.map(|(column, cell)| json!({"column": column.name, "value": cell})).collect()
    };
    let dates = |one: &Packaged<'_>| -> Vec<Value> {
        let named = |number: u16| one.layout.named_dates.get(usize::from(number)).map_or("", String::as_str);
        let name = |role: DateRole| match role {
            DateRole::Named(number) => named(number),
            role => role.name().unwrap_or_default(),
        };
        one.record.dates.iter().map(|(role, at)| json!({"what": name(*role), "at": at})).collect()
    };
    let links = |one: &Packaged<'_>| -> Vec<Value> {
        let link = |link: &SourceLink| json!({"relation": link.relation, "kind": link.kind, "id": link.external_id});
        one.record.links.iter().map(link).collect()
    };
    let records: Vec<Value> = records
        .iter()
        .map(|one| {
            json!({
                "record": one.entity,
                "kind": one.layout.kind,
                "source": one.layout.source,
                "id": one.record.external_id,
                "other_ids": one.record.other_ids,
                "first_seen": one.first_seen,
                "restricted": one.restricted,
                "dates": dates(one),
                "links": links(one),
                "fields": fields(one),
                "text": one.text.map(|text| text_value(one.entity, text)),
            })
        })
        .collect();
    let kept: Vec<Value> = kept
        .iter()
        .map(|one| {
            json!({"policy": one.title, "legal_basis": one.legal_basis, "period": one.period, "kinds": one.kinds})
        })
        .collect();
    let all = json!({
        "request": heading.request,
        "asked_for": heading.kind,
        "received_at": heading.received_at,
        "made_at": heading.made_at,
        "records": records,
        "kept_for": kept,
    });
    written(&all)
}

fn text_value(entity: EntityId, text: &PackagedText) -> Value {
    match text {
        PackagedText::Whole { bytes, sha256, subject } => {
            json!({"file": text_file(entity), "bytes": bytes, "sha256": sha256, "subject": subject})
        }
        PackagedText::Missing(why) => json!({"missing": why}),
    }
}

/// Returns the list of the files of a package, each with its name, its length and its SHA-256, and of what is missing.
#[must_use]
pub fn manifest(heading: &Heading, files: &[(String, u64, Digest)], missing: &[(EntityId, MissingWhy)]) -> Vec<u8> {
    let files: Vec<Value> =
        files.iter().map(|(name, bytes, sha256)| json!({"name": name, "bytes": bytes, "sha256": sha256})).collect();
    let missing: Vec<Value> =
        missing.iter().map(|(record, why)| json!({"record": record, "why": why, "is": why.sentence()})).collect();
    written(&json!({
        "request": heading.request,
        "made_at": heading.made_at,
        "files": files,
        "texts_missing": missing,
    }))
}

fn written(value: &Value) -> Vec<u8> {
    // A value that was made from text and numbers can always be written.
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// What stands in a row of a message beside its cells.
const TEXT_COLUMNS: [&str; 5] = ["subject", "file", "bytes", "sha256", "missing"];

fn text_cells(one: &Packaged<'_>) -> [Option<String>; 5] {
    match one.text {
        None => Default::default(),
        Some(PackagedText::Whole { bytes, sha256, subject }) => {
            [subject.clone(), Some(text_file(one.entity)), Some(bytes.to_string()), Some(sha256.to_string()), None]
        }
        Some(PackagedText::Missing(why)) => [None, None, None, None, Some(why.sentence().to_owned())],
    }
}

/// RFC 4180, with every cell quoted, so that nothing in it is taken for a divider. Rows of other arrangements of the
/// same source follow under a heading of their own.
fn csv(rows: &[&Packaged<'_>]) -> Vec<u8> {
    let mut text = String::new();
    let mut heading: Option<&Layout> = None;
    for one in rows {
        if heading.is_none_or(|layout| layout.columns != one.layout.columns) {
            heading = Some(one.layout);
            let names = one.layout.columns.iter().map(|column| Some(column.name.as_str()));
            let of_text = TEXT_COLUMNS.into_iter().filter(|_| one.layout.kind == Kind::Message).map(Some);
            csv_row(&mut text, std::iter::once(Some("record")).chain(names).chain(of_text));
        }
        let number = one.entity.to_string();
        let of_text = text_cells(one);
        let of_text = of_text.iter().filter(|_| one.layout.kind == Kind::Message).map(Option::as_deref);
        csv_row(&mut text, std::iter::once(Some(number.as_str())).chain(one.record.cells.iter()).chain(of_text));
    }
    text.into_bytes()
}

fn csv_row<'a>(text: &mut String, cells: impl Iterator<Item = Option<&'a str>>) {
    for (number, cell) in cells.enumerate() {
        if number > 0 {
            text.push(',');
        }
        let Some(cell) = cell else { continue };
        text.push('"');
        // A person opens this in a spreadsheet, and what a stranger wrote must not run there.
        text.push_str(&spreadsheet_safe(cell).replace('"', "\"\""));
        text.push('"');
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{LayoutId, Position};
    use crate::record::{Cells, Column, FieldType, Relation, Visibility};

    fn layout(source: &str) -> Layout {
        let column = |name: &str| Column { name: name.into(), field: name.into(), field_type: FieldType::Text };
        let columns = vec![column("Name"), column("<b>Note</b>"), column("Fax")];
        Layout { source: source.to_owned(), kind: Kind::Contact, columns, named_dates: vec!["newsletter".to_owned()] }
    }

    fn record(cells: [Option<&str>; 3]) -> EntityRecord {
        let mut all = Cells::default();
        for cell in cells {
            all.push(cell).unwrap();
        }
        EntityRecord {
            layout: LayoutId(1),
            mailbox: None,
            visibility: Visibility::Private,
            external_id: "c1".to_owned(),
            other_ids: Vec::new(),
            dates: vec![(DateRole::Created, Timestamp(0)), (DateRole::Named(0), Timestamp(1_000_000))],
            links: vec![SourceLink { relation: Relation::About, kind: Kind::Deal, external_id: "d1".to_owned() }],
            cells: all,
        }
    }

    /// Returns the files of a package of one record, as text.
    fn files_of(
        layout: &Layout,
        record: &EntityRecord,
        text: Option<&PackagedText>,
        kept: &[Kept],
    ) -> BTreeMap<String, String> {
        let heading = Heading {
            request: RequestId(Position(41)),
            kind: RequestKind::Access,
            received_at: Timestamp(0),
            made_at: Timestamp(86_400_000_000),
            zone: Zone::utc(),
        };
        let one = Packaged { entity: EntityId(7), layout, record, first_seen: Timestamp(0), restricted: true, text };
        let files = files(&heading, &[one], kept).into_iter();
        files.map(|file| (file.name, String::from_utf8(file.bytes).unwrap())).collect()
    }

    fn made(source: &str, cells: [Option<&str>; 3]) -> BTreeMap<String, String> {
        let kept = [Kept {
            title: "Prospects".to_owned(),
            legal_basis: "GDPR 5(1)(e)".to_owned(),
            period: "2 years, counted from the day of the last activity".to_owned(),
            kinds: vec![Kind::Contact],
        }];
        files_of(&layout(source), &record(cells), None, &kept)
    }

    #[test]
    fn the_page_shows_every_cell_and_runs_nothing_of_it() {
        let files = made("crm", [Some("Jana <script>alert(1)</script>"), Some("a & \"b\""), None]);
        let page = &files[PAGE];
        assert!(page.contains("Jana &lt;script&gt;alert(1)&lt;/script&gt;") && !page.contains("<script"), "{page}");
        assert!(page.contains("<th>&lt;b&gt;Note&lt;/b&gt;</th><td>a &amp; &quot;b&quot;</td>"), "{page}");
        assert!(!page.contains("Fax"), "an empty cell is left out: {page}");
        assert!(page.contains("request of 1970-01-01. It was made on 1970-01-02 and holds 1 records"), "{page}");
        assert!(
            page.contains("Prospects: 2 years, counted from the day of the last activity. Basis: GDPR 5(1)(e)."),
            "{page}"
        );
        assert!(page.contains("its use is restricted"), "{page}");
    }

    #[test]
    fn programs_get_the_same_and_null_is_told_from_empty() {
        let files = made("crm", [Some("Jana"), Some(""), None]);
        let data: Value = serde_json::from_str(&files[DATA]).unwrap();
        let fields = &data["records"][0]["fields"];
        let cell = |column: &str, value: Option<&str>| json!({"column": column, "value": value});
        assert_eq!(fields, &json!([cell("Name", Some("Jana")), cell("<b>Note</b>", Some("")), cell("Fax", None)]));
        assert_eq!(data["records"][0]["record"], "E7");
        let date = |what: &str, at: &str| json!({"what": what, "at": at});
        let dates = [date("created", "1970-01-01T00:00:00Z"), date("newsletter", "1970-01-01T00:00:01Z")];
        assert_eq!(data["records"][0]["dates"], json!(dates));
        assert_eq!(data["records"][0]["links"], json!([{"relation": "about", "kind": "deal", "id": "d1"}]));
        assert_eq!(
            files["csv/contact-crm.csv"],
            "\"record\",\"Name\",\"<b>Note</b>\",\"Fax\"\r\n\"E7\",\"Jana\",\"\",\r\n"
        );
    }

    #[test]
    fn a_formula_does_not_run_and_no_source_leaves_the_package() {
        let files = made("../../etc", [Some("=cmd()"), Some("x\"y"), Some("ok")]);
        let name = files.keys().find(|name| name.starts_with("csv/")).unwrap();
        assert_eq!(name, "csv/contact-.._.._etc.csv");
        assert!(files[name].contains("\"'=cmd()\",\"x\"\"y\",\"ok\""), "{}", files[name]);
    }

    fn message(text: &PackagedText) -> BTreeMap<String, String> {
        use crate::record::message;
        let layout = message::layout("mail");
        let key = message::MessageKey { folder: "Účty <1>".into(), uid_validity: 7, uid: 3 };
        let standing = message::MessageStanding {
            received: Timestamp(90_000_000),
            size: 9,
            flags: std::collections::BTreeSet::new(),
            keywords: std::collections::BTreeSet::new(),
        };
        let people = message::Correspondents {
            from: vec!["=cmd()@example.org".into()],
            to: vec!["a@example.org".into(), "b@example.org".into()],
            ..message::Correspondents::default()
        };
        let cells = message::cells(&key, &std::collections::BTreeSet::new(), &standing, &people).unwrap();
        let dates = vec![(DateRole::Received, standing.received)];
        let record = EntityRecord { cells, dates, external_id: key.external_id(), ..record([None; 3]) };
        files_of(&layout, &record, Some(text), &[])
    }

    #[test]
    fn a_message_is_listed_with_its_file_and_one_that_is_missing_with_the_reason() {
        let sha256 = Digest::of(b"text");
        let subject = Some("Offer <b>".to_owned());
        let files = message(&PackagedText::Whole { bytes: 9, sha256, subject });
        let row = "<td>E7; its use is restricted</td><td>1970-01-01 00:01</td><td>Účty &lt;1&gt;</td>\
                   <td>Offer &lt;b&gt;</td><td>=cmd()@example.org</td><td>a@example.org, b@example.org</td>\
                   <td><a href=\"messages/E7.eml\">messages/E7.eml</a></td>";
        assert!(files[PAGE].contains(row) && !files[PAGE].contains("are not in this package"), "{}", files[PAGE]);
        let data: Value = serde_json::from_str(&files[DATA]).unwrap();
        let text = json!({"file": "messages/E7.eml", "bytes": 9, "sha256": sha256, "subject": "Offer <b>"});
        assert_eq!(data["records"][0]["text"], text);
        let csv = &files["csv/message-mail.csv"];
        assert!(csv.contains(&format!("\"Offer <b>\",\"messages/E7.eml\",\"9\",\"{sha256}\",\r\n")), "{csv}");
        assert!(csv.contains("\"'=cmd()@example.org\""), "{csv}");

        let files = message(&PackagedText::Missing(MissingWhy::Renumbered));
        let why = "its folder was numbered anew";
        assert!(files[PAGE].contains("The texts of 1 messages are not in this package"), "{}", files[PAGE]);
        assert!(files[PAGE].contains(&format!("<td>not here: {why}</td>")), "{}", files[PAGE]);
        let data: Value = serde_json::from_str(&files[DATA]).unwrap();
        assert_eq!(data["records"][0]["text"], json!({"missing": "renumbered"}));
        assert!(files["csv/message-mail.csv"].ends_with(&format!(",,,,\"{why}\"\r\n")));
    }
}

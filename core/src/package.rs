//! The package of a data subject (GDPR Art. 15 and 20): what is stored of them, as a page that a person reads beside
//! the same as JSON and as CSV for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::event::subject::RequestKind;
use crate::id::{EntityId, RequestId};
use crate::record::{DateRole, EntityRecord, Kind, Layout, SourceLink};
use crate::table::spreadsheet_safe;
use crate::text::html_escaped;
use crate::time::{Timestamp, Zone};

/// The page, the first thing to open.
pub const PAGE: &str = "index.html";

/// The same for programs.
pub const DATA: &str = "data.json";

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
/// given; empty cells are left out of the page, and are what they are everywhere else.
#[must_use]
pub fn files(heading: &Heading, records: &[Packaged<'_>], kept: &[Kept]) -> Vec<PackageFile> {
    let mut tables: BTreeMap<(Kind, &str), Vec<&Packaged<'_>>> = BTreeMap::new();
    for one in records {
        tables.entry((one.layout.kind, one.layout.source.as_str())).or_default().push(one);
    }
    let mut files = vec![
        PackageFile { name: PAGE.to_owned(), bytes: page(heading, records, kept, &tables).into_bytes() },
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
    // A value that was made from text and numbers can always be written.
    let mut bytes = serde_json::to_vec_pretty(&all).unwrap_or_default();
    bytes.push(b'\n');
    bytes
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
            csv_row(&mut text, std::iter::once(Some("record")).chain(names));
        }
        let number = one.entity.to_string();
        csv_row(&mut text, std::iter::once(Some(number.as_str())).chain(one.record.cells.iter()));
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

const STYLE: &str = "body{font:11pt/1.45 sans-serif;max-width:52em;margin:2em auto;padding:0 1em}h1{font-size:1.5em}\
h2{font-size:1.2em;margin-top:2em}table{border-collapse:collapse;width:100%;margin:.5em 0 1.2em}td,th{border:1px solid \
#999;padding:.3em .6em;text-align:left;vertical-align:top;overflow-wrap:anywhere}th{width:30%;font-weight:normal;\
background:#f2f2f2}td{white-space:pre-wrap}@media print{body{margin:0}}";

fn page(
    heading: &Heading,
    records: &[Packaged<'_>],
    kept: &[Kept],
    tables: &BTreeMap<(Kind, &str), Vec<&Packaged<'_>>>,
) -> String {
    let day = |at: Timestamp| heading.zone.civil(at).date().to_string();
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\"><title>What is stored about you</title>\
         <style>{STYLE}</style></head><body>\n<h1>What is stored about you</h1>\n\
         <p>This answers your request of {}. It was made on {} and holds {} records. It is the answer to request {} \
         in the log of whoever sent it to you.</p>\n\
         <p>The same is in <a href=\"{DATA}\">{DATA}</a> and, as tables, in the directory <code>csv</code>: programs can \
         read both.</p>\n",
        day(heading.received_at),
        day(heading.made_at),
        records.len(),
        heading.request,
    );
    for ((kind, source), rows) in tables {
        let _ = writeln!(page, "<h2>{}s from {} ({})</h2>", capital(kind.name()), html_escaped(source), rows.len());
        for one in rows {
            record_table(&mut page, one, &day(one.first_seen));
        }
    }
    page.push_str("<h2>How long it is kept</h2>\n");
    if kept.is_empty() {
        page.push_str("<p>No rule is set for these kinds of records yet: ask whoever sent this to you.</p>\n");
    } else {
        page.push_str("<table><tr><th>What</th><td>How long, and on which basis</td></tr>\n");
        for one in kept {
            let kinds: Vec<&str> = one.kinds.iter().map(|kind| kind.name()).collect();
            let _ = writeln!(
                page,
                "<tr><th>{}</th><td>{}: {}. Basis: {}.</td></tr>",
                html_escaped(&kinds.join(", ")),
                html_escaped(&one.title),
                html_escaped(&one.period),
                html_escaped(&one.legal_basis),
            );
        }
        page.push_str("</table>\n");
    }
    page.push_str(
        "<h2>What else you may ask</h2>\n<p>Whoever sent you this tells you beside it why the data is processed, where it \
         came from, and to whom it was disclosed. You may ask that it be corrected, erased or restricted, object to its \
         use, and complain to a supervisory authority (GDPR Art. 15(1), 16 to 18, 21, 77).</p>\n</body></html>\n",
    );
    page
}

fn record_table(page: &mut String, one: &Packaged<'_>, first_seen: &str) {
    let restricted = if one.restricted { "; its use is restricted" } else { "" };
    let _ =
        writeln!(page, "<table><tr><th>Record</th><td>{}, stored since {first_seen}{restricted}</td></tr>", one.entity);
    let cells = one.layout.columns.iter().zip(one.record.cells.iter());
    for (column, cell) in cells {
        if let Some(cell) = cell.filter(|cell| !cell.trim().is_empty()) {
            let _ = writeln!(page, "<tr><th>{}</th><td>{}</td></tr>", html_escaped(&column.name), html_escaped(cell));
        }
    }
    page.push_str("</table>\n");
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
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

    fn made(source: &str, cells: [Option<&str>; 3]) -> BTreeMap<String, String> {
        let (layout, record) = (layout(source), record(cells));
        let heading = Heading {
            request: RequestId(Position(41)),
            kind: RequestKind::Access,
            received_at: Timestamp(0),
            made_at: Timestamp(86_400_000_000),
            zone: Zone::utc(),
        };
        let one = Packaged {
            entity: EntityId(7),
            layout: &layout,
            record: &record,
            first_seen: Timestamp(0),
            restricted: true,
        };
        let kept = [Kept {
            title: "Prospects".to_owned(),
            legal_basis: "GDPR 5(1)(e)".to_owned(),
            period: "2 years, counted from the day of the last activity".to_owned(),
            kinds: vec![Kind::Contact],
        }];
        let files = files(&heading, &[one], &kept).into_iter();
        files.map(|file| (file.name, String::from_utf8(file.bytes).unwrap())).collect()
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
}

//! The page of a package: what a person reads, in one file that runs nothing and loads nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{DATA, Heading, Kept, MANIFEST, Packaged, PackagedText, text_file};
use crate::record::{DateRole, Kind};
use crate::text::html_escaped;
use crate::time::Timestamp;

const STYLE: &str = "body{font:11pt/1.45 sans-serif;max-width:52em;margin:2em auto;padding:0 1em}h1{font-size:1.5em}\
h2{font-size:1.2em;margin-top:2em}table{border-collapse:collapse;width:100%;margin:.5em 0 1.2em}td,th{border:1px solid \
#999;padding:.3em .6em;text-align:left;vertical-align:top;overflow-wrap:anywhere}th{width:30%;font-weight:normal;\
background:#f2f2f2}td{white-space:pre-wrap}.list th{width:auto}@media print{body{margin:0}}";

pub(super) fn page(
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
         read both. <a href=\"{MANIFEST}\">{MANIFEST}</a> lists every file with its SHA-256.</p>\n",
        day(heading.received_at),
        day(heading.made_at),
        records.len(),
        heading.request,
    );
    let missing = records.iter().filter(|one| matches!(one.text, Some(PackagedText::Missing(_)))).count();
    if missing > 0 {
        let _ = writeln!(
            page,
            "<p><strong>The texts of {missing} messages are not in this package</strong>: the list of messages says which, and \
             why. Whoever sent you this knows it.</p>"
        );
    }
    for ((kind, source), rows) in tables {
        let _ = writeln!(page, "<h2>{}s from {} ({})</h2>", capital(kind.name()), html_escaped(source), rows.len());
        if *kind == Kind::Message {
            messages(&mut page, heading, rows);
            continue;
        }
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

/// The list of messages. What else is known of each stands in the data and the tables.
fn messages(page: &mut String, heading: &Heading, rows: &[&Packaged<'_>]) {
    page.push_str(
        "<table class=\"list\"><tr><th>Record</th><th>Received</th><th>Folder</th><th>Subject</th><th>From</th><th>To</th>\
         <th>Message</th></tr>\n",
    );
    for one in rows {
        let cell = |name| one.layout.column_of(name).and_then(|column| one.record.cells.get(column));
        let shown = |name| html_escaped(&cell(name).unwrap_or_default().replace('|', ", "));
        let received = match one.record.date(DateRole::Received) {
            Some(at) => html_escaped(&heading.zone.civil(at).strftime("%Y-%m-%d %H:%M").to_string()),
            None => shown("received"),
        };
        let to: Vec<String> = ["to", "cc"].map(shown).into_iter().filter(|addresses| !addresses.is_empty()).collect();
        let (subject, message) = match one.text {
            Some(PackagedText::Whole { subject, .. }) => {
                let file = text_file(one.entity);
                (html_escaped(subject.as_deref().unwrap_or_default()), format!("<a href=\"{file}\">{file}</a>"))
            }
            Some(PackagedText::Missing(why)) => (String::new(), format!("not here: {}", why.sentence())),
            None => (String::new(), String::new()),
        };
        let restricted = if one.restricted { "; its use is restricted" } else { "" };
        let _ = writeln!(
            page,
            "<tr><td>{}{restricted}</td><td>{received}</td><td>{}</td><td>{subject}</td><td>{}</td><td>{}</td><td>{message}\
             </td></tr>",
            one.entity,
            shown("folder"),
            shown("from"),
            to.join(", "),
        );
    }
    page.push_str("</table>\n");
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

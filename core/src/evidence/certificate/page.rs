//! The page of a certificate, for people: one HTML file without anything from elsewhere, which prints on a sheet or
//! two.

use std::fmt::Write as _;

use super::{
    Accessed, Approval, Certificate, Copies, Disposed, Recipient, RunStatement, Said, SaidCopies, SaidDeliveries,
    SaidOfRun, Statement, Subject,
};
use crate::event::grant::OpenSessions;
use crate::event::saga::Residue;
use crate::id::SagaId;
use crate::text::html_escaped;
use crate::time::Timestamp;

mod request;

const STYLE: &str = "body{font:11pt/1.45 serif;max-width:44em;margin:2em auto;padding:0 1em}h1{font-size:1.5em}\
table{border-collapse:collapse;width:100%;margin:.5em 0 1.2em}td,th{border:1px solid #999;padding:.3em .6em;\
text-align:left;vertical-align:top}th{width:34%;font-weight:normal;background:#f2f2f2}code{font-size:.8em;\
word-break:break-all}@media print{body{margin:0}}";

/// Returns the page.
#[must_use]
pub fn page(certificate: &Certificate) -> String {
    let (title, what) = match certificate.subject {
        Subject::Run(run) => (format!("run {run}"), format!("What run {run} disposed of")),
        Subject::Entity(entity) => (format!("entity {entity}"), format!("Entity {entity}")),
        Subject::Request(request) => (format!("request {request}"), format!("What became of request {request}")),
    };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Certificate of disposition: {}</title>\
         <style>{STYLE}</style></head><body>\n<h1>Certificate of disposition</h1>\n<p>{} Written {} from the log <code>{}</code>.</p>\n",
        html_escaped(&title),
        html_escaped(&(what + ".")),
        certificate.issued_at,
        html_escaped(&certificate.log),
    );
    match &certificate.statement {
        Statement::Run(statement) => {
            of_run(&mut page, statement, certificate.said.as_ref().and_then(Said::run));
        }
        Statement::Request(statement) => {
            request::of_request(&mut page, statement, certificate.said.as_ref().and_then(Said::request));
        }
    }
    let _ = write!(
        page,
        "<h2>How to check this</h2>\n<p>This page proves nothing. The certificate it was made from carries {} events, each with \
         its proof: <code>retentionctl certificate verify FILE --key KEY</code>, with a key that you had before.</p>\n</body></html>\n",
        certificate.events.len(),
    );
    page
}

fn of_run(page: &mut String, statement: &RunStatement, said: Option<&SaidOfRun>) {
    let approvals = match statement.approvals.as_slice() {
        [] if statement.needs_approval => "<b>none is in this certificate, though one was needed</b>".to_owned(),
        [] => "none was needed".to_owned(),
        all => people(all),
    };
    let reviews = match statement.reviews.as_slice() {
        [] => "nobody: the policy asks no person about each item".to_owned(),
        all => people(all),
    };
    table(
        page,
        "Decided",
        &[
            ("Policy", html_escaped(&statement.policy)),
            ("SHA-256 of the policy", code(&statement.policy_digest)),
            ("Plan", format!("{}, {} items, judged for {}", statement.plan, statement.planned, statement.judged_at)),
            ("SHA-256 of the plan", code(&statement.plan_digest)),
            ("Asked for by", html_escaped(&statement.run_requested_by)),
            ("Decided item by item by", reviews),
            ("Approved by", approvals),
        ],
    );
    let end = statement.run_end.as_deref().unwrap_or("not over");
    // A run does one thing to all of its items: whose old keys a redaction destroys are not purged.
    let done = match statement.sagas.values().any(|disposed| disposed.redacted > 0) {
        true => "Items redacted",
        false => "Items purged",
    };
    table(
        page,
        "Done",
        &[
            ("Run", format!("{}: {}", statement.run, html_escaped(end))),
            (done, statement.purged.to_string()),
            ("Items left alone", statement.left_alone.to_string()),
            ("Key destroyed", statement.destroyed_at.map_or_else(|| "see below".to_owned(), |at| at.to_string())),
        ],
    );
    for (saga, disposed) in &statement.sagas {
        part(page, *saga, disposed);
    }
    if !statement.access.is_empty() {
        let rows: Vec<(String, String)> =
            statement.access.iter().map(|(grant, accessed)| (grant.to_string(), access(accessed))).collect();
        let rows: Vec<(&str, String)> = rows.iter().map(|(name, said)| (name.as_str(), said.clone())).collect();
        table(page, "Access to mailboxes that the run took", &rows);
    }
    remains(page, statement, said);
}

/// Tells what may be left of what a run disposed of, and until when.
fn remains(page: &mut String, statement: &RunStatement, said: Option<&SaidOfRun>) {
    let mut items = String::new();
    let redacted: u64 = statement.sagas.values().map(|disposed| disposed.redacted).sum();
    if redacted > 0 {
        let _ = write!(
            items,
            "<li>What is left of {redacted} records, without the fields that the policy takes out: they were redacted, not erased.</li>"
        );
    }
    let kept = said.map(|said| said.copies.as_slice()).unwrap_or_default();
    for (saga, disposed) in &statement.sagas {
        let records = if statement.destroyed_at.is_some() { 1 } else { disposed.verified };
        let told = statement.copies.get(saga).cloned();
        let Some(copies) = told.or_else(|| copies_of(disposed, records)) else { continue };
        let _ = write!(items, "<li>{}</li>", bundle(*saga, &copies, kept, WITH_THE_ANSWER));
    }
    for recipient in &statement.recipients {
        let _ = write!(items, "<li>{}. How long they keep it, they alone know.</li>", got_a_copy(recipient));
    }
    deliveries(&mut items, said.map(|said| said.deliveries.as_slice()).unwrap_or_default());
    let copies = copies_of_keys(statement.copies_of_keys_until);
    let _ = write!(page, "<h2>What may be left</h2>\n<ul>{items}<li>{copies}</li><li>{ELSEWHERE}</li></ul>\n");
}

/// Returns the bundle of a saga of which no event says more than that it was written.
fn copies_of(disposed: &Disposed, records: u64) -> Option<Copies> {
    let (manifest, exported_at) = disposed.bundle()?;
    let (goes_with_the_answer, destroyed_at, was_there) = (false, None, None);
    Some(Copies { manifest, exported_at, records, goes_with_the_answer, destroyed_at, was_there })
}

/// What becomes of the bundle of an erasure.
const WITH_THE_ANSWER: &str = "is destroyed with the answer, unless a hold covers it";

/// `goes` says what becomes of it if it goes with the answer to a request.
fn bundle(saga: SagaId, copies: &Copies, kept: &[SaidCopies], goes: &str) -> String {
    let fate = match (copies.destroyed_at, copies.was_there, copies.goes_with_the_answer) {
        (Some(at), Some(false), _) => format!("<b>was not where it should have been on {at}</b>"),
        (Some(at), ..) => format!("destroyed on {at}"),
        (None, _, true) => goes.to_owned(),
        (None, _, false) => match kept.iter().find(|said| said.saga == saga).map(|said| said.kept_until) {
            Some(Some(until)) => format!("its policy keeps it until {until}, as the daemon says"),
            Some(None) => "its policy sets no end, as the daemon says".to_owned(),
            None => "its policy says how long it stays".to_owned(),
        },
    };
    let (records, at) = (copies.records, copies.exported_at);
    format!("Bundle of {saga}, written {at}, with {records} of the records: {fate}. {}", code(&copies.manifest))
}

fn got_a_copy(recipient: &Recipient) -> String {
    format!(
        "Recipient {} got a copy of the bundle of {} from {} on {}",
        recipient.recipient.0,
        recipient.saga,
        html_escaped(&recipient.by),
        recipient.at
    )
}

fn deliveries(items: &mut String, said: &[SaidDeliveries]) {
    for said in said {
        let until = match said.kept_until {
            Some(until) => format!("until {until}"),
            None => "until somebody removes them, since nothing does so by itself".to_owned(),
        };
        let _ = write!(
            items,
            "<li>Deliveries of the source {} that were taken in before are kept {until}, as the daemon says.</li>",
            html_escaped(&said.source)
        );
    }
}

/// What no event can tell of.
const ELSEWHERE: &str = "Copies that this program did not make: the source, other people, backups of the whole machine, cells of a \
    flash drive.";

fn copies_of_keys(until: Option<Timestamp>) -> String {
    until.map_or_else(
        || "The daemon made no backup of the keys before.".to_owned(),
        |until| {
            format!(
                "Copies of the keys that the daemon made before are kept until {until}. After that its backups hold ciphertext that nobody can open."
            )
        },
    )
}

fn people(all: &[Approval]) -> String {
    all.iter().map(|one| format!("{} on {}", html_escaped(&one.by), one.at)).collect::<Vec<_>>().join("<br>")
}

fn part(page: &mut String, saga: SagaId, disposed: &Disposed) {
    let manifest = disposed.manifest.map_or_else(|| "nothing was exported".to_owned(), |manifest| code(&manifest));
    let mut rows = vec![
        ("SHA-256 of the export manifest", manifest),
        ("Exported", disposed.exported_at.map_or_else(|| "–".to_owned(), |at| at.to_string())),
        ("Items read back and compared", disposed.verified.to_string()),
        ("Keys destroyed, read back", disposed.destroyed.to_string()),
        ("Looked for and not found", disposed.absent.to_string()),
    ];
    if disposed.redacted > 0 {
        rows.push((
            "Of these, recorded anew without the fields that the policy takes out",
            disposed.redacted.to_string(),
        ));
    }
    if disposed.restricted > 0 {
        rows.push(("Kept, and not shown any more", disposed.restricted.to_string()));
    }
    if disposed.expunged > 0 {
        rows.push(("Messages removed from the server", disposed.expunged.to_string()));
        let residue: Vec<&str> = disposed.residue.iter().map(|residue| said(*residue)).collect();
        rows.push((
            "What the server may keep",
            if residue.is_empty() { "nothing".to_owned() } else { residue.join("; ") },
        ));
    }
    rows.push(("Ended", html_escaped(disposed.end.as_deref().unwrap_or("not over"))));
    table(page, &format!("Part {saga}"), &rows);
}

fn access(accessed: &Accessed) -> String {
    let given = accessed.given_at.map_or_else(
        || "not given".to_owned(),
        |at| format!("given on {} folders and read back {at}", accessed.folders),
    );
    let gone = match (accessed.gone_at, accessed.sessions) {
        (Some(at), Some(OpenSessions::MayHaveLivedOn { until })) => {
            let until = until.map_or_else(|| "it logged out".to_owned(), |until| until.to_string());
            format!(
                "; taken back, and seen to be gone through a new login {at}; a session that was open may have gone on until {until}"
            )
        }
        (Some(at), Some(OpenSessions::Ended) | None) => {
            format!("; taken back, and seen to be gone through a new login {at}")
        }
        (None, _) => String::new(),
    };
    let end = html_escaped(accessed.end.as_deref().unwrap_or("not over"));
    format!("{given}{gone}; ended: {end}")
}

fn said(residue: Residue) -> &'static str {
    match residue {
        Residue::CacheCleared => "nothing: its cache was cleared",
        Residue::CacheMayRemain => {
            "sender and subject in its cache, and where it keeps many in one file (mdbox) the messages, until those are rewritten"
        }
        Residue::DelayedExpunge => "the file of the message, until its delayed expunge has run",
        Residue::ServerUnknown => "unknown: nothing is known of this kind of server",
    }
}

fn table(page: &mut String, title: &str, rows: &[(&str, String)]) {
    // Writing to a string cannot fail.
    let _ = write!(page, "<h2>{}</h2>\n<table>", html_escaped(title));
    for (name, value) in rows {
        let _ = write!(page, "<tr><th>{name}</th><td>{value}</td></tr>");
    }
    page.push_str("</table>\n");
}

fn code(digest: &crate::id::Digest) -> String {
    format!("<code>{digest}</code>")
}

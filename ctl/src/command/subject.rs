//! `subject`.

use std::path::Path;

use retention_core::control::{
    Accepted, AskForSubject, Because, CompleteRequest, Cursor, ExceptErasure, ExitCode, IdentifySubject, Operation,
    PackageSubject, RequestQuery, RequestsWanted, SoughtSubject,
};
use retention_core::event::subject::{ErasureGround, RequestKind};
use retention_core::id::{Digest, RequestId};
use serde_json::{Value, json};

use super::{Call, Context, files, query};
use crate::args::subject::{Ask, Subject, Who};
use crate::exit::{Cause, Doing, Failure};

pub(super) const FOUND_COLUMNS: &[&str] =
    &["record", "kind", "source", "mailbox", "state", "sure", "why", "holds", "restricted", "requests"];
pub(super) const COLUMNS: &[&str] = &[
    "request",
    "kind",
    "state",
    "received_at",
    "due_at",
    "overdue",
    "records",
    "left",
    "plan",
    "bundles",
    "reference",
    "end",
];

pub(super) const RECORD_COLUMNS: &[&str] =
    &["record", "state", "kept.why", "kept.until", "excepted", "holds", "restricted"];

pub(super) fn execute(context: &mut Context, command: Subject) -> Result<ExitCode, Failure> {
    match command {
        Subject::Find { who } => find(context, &sought(who)).doing("look for the person"),
        Subject::Access(asked) => ask(context, RequestKind::Access, None, asked).doing("take in the request"),
        Subject::Portability(asked) => ask(context, RequestKind::Portability, None, asked).doing("take in the request"),
        Subject::Erase { ground, ask: asked } => {
            ask(context, RequestKind::Erase, Some(ground), asked).doing("take in the request")
        }
        Subject::Restrict(asked) => ask(context, RequestKind::Restrict, None, asked).doing("take in the request"),
        Subject::Object(asked) => ask(context, RequestKind::Object, None, asked).doing("take in the request"),
        Subject::Identify { request, how, include, exclude } => {
            identify(context, request, &IdentifySubject { how, include, exclude }).doing("say whose it is")
        }
        Subject::Show { request } => show(context, request).doing("show the request"),
        Subject::Records { request, part } => {
            let call = Call::to(Operation::SubjectRequestRecords, &[&request]).asking(&query(part));
            context.list(&call, RECORD_COLUMNS).doing("list the records")?;
            Ok(ExitCode::Done)
        }
        Subject::List { overdue, due_for_review, all, part } => {
            let show = match (overdue, due_for_review, all) {
                (true, _, _) => RequestsWanted::Overdue,
                (false, true, _) => RequestsWanted::DueForReview,
                (false, false, true) => RequestsWanted::All,
                (false, false, false) => RequestsWanted::Open,
            };
            let query = RequestQuery { after: part.after.map(Cursor), limit: part.limit, show };
            let call = Call::to(Operation::SubjectRequestList, &[]).asking(&query);
            context.list(&call, COLUMNS).doing("list the requests")?;
            Ok(ExitCode::Done)
        }
        Subject::Extend { request, why } => {
            let call = Call::to(Operation::SubjectExtend, &[&request]).with(&Because { reason: why.reason });
            note(context, &call, request).doing("extend the request")
        }
        Subject::Except { request, records, exception, owner, review_at, why } => {
            let wanted = ExceptErasure { records, exception, owner, review_at, reason: why.reason };
            let call = Call::to(Operation::SubjectExcept, &[&request]).with(&wanted);
            note(context, &call, request).doing("keep the records")
        }
        Subject::EndException { request, exception, why } => {
            let because = Because { reason: why.reason };
            let call = Call::to(Operation::SubjectExceptionEnd, &[&request, &exception]).with(&because);
            note(context, &call, request).doing("end the exception")
        }
        Subject::Package { request, recipients, plain, into } => {
            package(context, request, PackageSubject { recipients, plain }, &into).doing("write the package")
        }
        Subject::Told { request, recipient, how } => {
            let because = Because { reason: how };
            let call = Call::to(Operation::SubjectTold, &[&request, &recipient]).with(&because);
            note(context, &call, request).doing("note who was told")
        }
        Subject::Complete { request, end, why } => {
            let wanted = CompleteRequest { end, reason: why.reason };
            let call = Call::to(Operation::SubjectComplete, &[&request]).with(&wanted);
            note(context, &call, request).doing("complete the request")
        }
    }
}

fn sought(who: Who) -> SoughtSubject {
    SoughtSubject { emails: who.emails, phones: who.phones, ids: who.ids, records: who.records }
}

fn find(context: &mut Context, sought: &SoughtSubject) -> Result<ExitCode, Cause> {
    let end = context.list(&Call::to(Operation::SubjectFind, &[]).with(sought), FOUND_COLUMNS)?;
    if end.rows > 0 {
        context.say("what is not sure is for you to look at: retentionctl entity show RECORD");
    }
    Ok(ExitCode::Done)
}

fn ask(context: &mut Context, kind: RequestKind, ground: Option<ErasureGround>, asked: Ask) -> Result<ExitCode, Cause> {
    let Ask { who, received_at, reference } = asked;
    let wanted = AskForSubject { kind, ground, subject: sought(who), received_at, reference };
    let accepted: Accepted = context.client.typed(&Call::to(Operation::SubjectAsk, &[]).with(&wanted))?;
    let request = RequestId(accepted.position);
    context.present(&json!({ "request": request, "kind": kind }))?;
    context.next(&format!("retentionctl subject identify {request} --how …"));
    Ok(ExitCode::Done)
}

fn identify(context: &mut Context, request: RequestId, wanted: &IdentifySubject) -> Result<ExitCode, Cause> {
    context.list(&Call::to(Operation::SubjectIdentify, &[&request]).with(wanted), FOUND_COLUMNS)?;
    context.next(&format!("retentionctl subject show {request}"));
    Ok(ExitCode::Done)
}

fn show(context: &mut Context, request: RequestId) -> Result<ExitCode, Cause> {
    let shown = context.show(&Call::to(Operation::SubjectRequestShow, &[&request]))?;
    let field = |name: &str| shown.pointer(&format!("/request/{name}")).and_then(|value| value.as_str());
    if let Some(recipient) = untold(&shown) {
        context.say(&format!("somebody has to be told: retentionctl subject told {request} {recipient} --how …"));
    }
    if !matches!(field("state"), None | Some("received")) {
        context.say(&format!("its records, and what keeps each of them: retentionctl subject records {request}"));
    }
    let next = match (field("kind"), field("state"), field("plan")) {
        (_, Some("completed"), _) => return Ok(ExitCode::Done),
        (_, Some("received"), _) => format!("retentionctl subject identify {request} --how …"),
        (Some("erase"), Some("identified" | "refused_in_part"), Some(plan)) => format!("retentionctl plan show {plan}"),
        (Some("access" | "portability"), Some("identified"), _) => {
            format!("retentionctl subject package {request} --recipient … --into {request}.zip.age")
        }
        (Some("restrict" | "object"), Some("identified"), _) => {
            format!("retentionctl restriction place --request {request} --ground … --reason …")
        }
        _ => format!("retentionctl subject complete {request} --end … --reason …"),
    };
    context.next(&next);
    Ok(ExitCode::Done)
}

/// Returns a recipient who has to be told by a person.
fn untold(shown: &Value) -> Option<&Value> {
    let mut recipients = shown.get("recipients")?.as_array()?.iter();
    let is_by_hand =
        |row: &&Value| row.get("to_tell") == Some(&Value::Bool(true)) && row.get("channel") == Some(&Value::Null);
    recipients.find(is_by_hand)?.get("recipient")
}

fn note(context: &mut Context, call: &Call, request: RequestId) -> Result<ExitCode, Cause> {
    let accepted: Accepted = context.client.typed(call)?;
    context.present(&json!({ "request": request, "event": accepted.position }))?;
    context.next(&format!("retentionctl subject show {request}"));
    Ok(ExitCode::Done)
}

fn package(context: &mut Context, request: RequestId, wanted: PackageSubject, into: &Path) -> Result<ExitCode, Cause> {
    // Before it is made: what is handed out is recorded, and then it has to arrive.
    files::none_exists(&[into.to_owned()])?;
    let bytes = context.client.bytes(&Call::to(Operation::SubjectPackage, &[&request]).with(&wanted))?;
    files::write_new(into, &bytes)?;
    context.present(&json!({
        "request": request,
        "file": into.display().to_string(),
        "bytes": bytes.len(),
        "sha256": Digest::of(&bytes),
        "encrypted": !wanted.plain,
    }))?;
    context.next(&format!("retentionctl subject complete {request} --end fulfilled --reason …"));
    Ok(ExitCode::Done)
}

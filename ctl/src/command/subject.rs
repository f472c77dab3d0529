//! `subject`.

use std::path::Path;

use retention_core::control::{
    Accepted, AskForSubject, Because, CompleteRequest, Cursor, ErrorBody, ErrorCode, ExceptErasure, ExitCode,
    IdentifySubject, Line, Operation, PackageSubject, RequestQuery, RequestsWanted, SoughtSubject,
};
use retention_core::event::subject::{ErasureGround, RequestKind};
use retention_core::id::{Digest, RequestId};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

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
    "texts_missing",
    "plan",
    "bundles",
    "reference",
    "end",
];

pub(super) const RECORD_COLUMNS: &[&str] =
    &["record", "state", "kept.why", "kept.until", "excepted", "holds", "restricted", "text_missing"];
const REACH_COLUMNS: &[&str] = &["mailbox", "server", "state", "read_at", "messages", "failed"];

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
        Subject::Reach { part } => {
            let call = Call::to(Operation::SubjectReach, &[]).asking(&query(part));
            context.list(&call, REACH_COLUMNS).doing("list the mailboxes")?;
            context.note(NOT_LOOKED_INTO);
            Ok(ExitCode::Done)
        }
        Subject::Identify { request, how, include, correspondence, exclude } => {
            let wanted = IdentifySubject { how, include, correspondence, exclude };
            identify(context, request, &wanted).doing("say whose it is")
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
    say_reach(context);
    Ok(ExitCode::Done)
}

/// What no search looks into, wherever it looks.
const NOT_LOOKED_INTO: &str = "not looked into: the texts and subjects of messages; bundles of what was purged";

/// The most mailboxes that are named in one sentence.
const NAMED_MAX: usize = 5;

/// Says what was not looked into, and how old what was looked into may be: programs too have to know it. What was done
/// before stands, also when this cannot be told.
fn say_reach(context: &mut Context) {
    context.note(NOT_LOOKED_INTO);
    if reach(context).is_err() {
        context.note("which mailboxes were read, and when, could not be listed: retentionctl subject reach");
    }
}

fn reach(context: &mut Context) -> Result<(), Cause> {
    let (mut never, mut failed, mut in_part) = (Vec::new(), Vec::new(), Vec::new());
    let (mut oldest, mut read) = (None::<String>, 0_u64);
    context.client.stream(&Call::to(Operation::SubjectReach, &[]), |line| {
        let Line::Row(row) = line else { return Ok(()) };
        let field = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        match field("state").as_str() {
            "read" => read += 1,
            "read_in_part" => {
                read += 1;
                in_part.push(field("mailbox"));
            }
            "failed_since" => failed.push(field("mailbox")),
            _ => never.push(field("mailbox")),
        }
        // Instants of this form are in order as texts are.
        let at = Some(field("read_at")).filter(|at| !at.is_empty());
        oldest = [oldest.take(), at].into_iter().flatten().min();
        Ok(())
    })?;
    if read > 0 || !failed.is_empty() {
        let since = oldest.unwrap_or_default();
        let number = read + failed.len() as u64;
        context
            .note(&format!("messages of {number} mailboxes are known as they were last read, the oldest at {since}"));
    }
    if !failed.is_empty() {
        context.note(&format!("could not be read since: {}", named(&failed)));
    }
    if !in_part.is_empty() {
        context.note(&format!(
            "messages whose headers could not be read, or whose folders do not open, are not known, so whoever stands in them \
             is not found, in {}; the diagnostics of the daemon name the messages, and retentionctl mailbox check the folders",
            named(&in_part)
        ));
    }
    if !never.is_empty() {
        let mailbox = never.first().map_or("MAILBOX", String::as_str);
        context.note(&format!(
            "never read, so nothing of their messages was looked into: {} (retentionctl mailbox scan {mailbox})",
            named(&never)
        ));
    }
    Ok(())
}

fn named(mailboxes: &[String]) -> String {
    let first = mailboxes.get(..NAMED_MAX).unwrap_or(mailboxes).join(", ");
    match mailboxes.len().checked_sub(NAMED_MAX) {
        None | Some(0) => first,
        Some(more) => format!("{first} and {more} more (retentionctl subject reach)"),
    }
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
    say_reach(context);
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
        (Some("access" | "portability"), Some("identified" | "exported_in_part"), _) => {
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
    let mut file = files::Arriving::at(into)?;
    let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
    let call = Call::to(Operation::SubjectPackage, &[&request]).with(&wanted);
    let came = context.client.bytes(&call, |part| {
        hash.update(part);
        bytes += part.len() as u64;
        file.add(part)
    });
    came.map_err(|cause| match cause {
        Cause::Cut => Cause::Answer(
            ErrorBody::saying(ErrorCode::Unreachable, "the package broke off, and what came of it was removed")
                .hint(format!("ask for it again; retentionctl subject show {request} says whether one was handed out")),
        ),
        cause => cause,
    })?;
    file.keep()?;
    let shown = context.client.one(&Call::to(Operation::SubjectRequestShow, &[&request])).map_err(|_| {
        let message = format!("the package is in {}; whether it has all texts could not be asked", into.display());
        let hint = format!("retentionctl subject show {request} says what is missing in it");
        Cause::Answer(ErrorBody::saying(ErrorCode::Unreachable, message).hint(hint))
    })?;
    let missing = shown.pointer("/request/texts_missing").and_then(Value::as_u64).unwrap_or_default();
    context.present(&json!({
        "request": request,
        "file": into.display().to_string(),
        "bytes": bytes,
        "sha256": Digest(hash.finalize().into()),
        "encrypted": !wanted.plain,
        "texts_missing": missing,
    }))?;
    if missing > 0 {
        context.note(&format!(
            "the texts of {missing} messages could not be fetched and are named in the package; why: retentionctl subject \
             records {request}. Ask for another package when they can be, or answer without them: retentionctl subject \
             complete {request} --end refused-in-part --reason …"
        ));
        return Ok(ExitCode::PersonNeeded);
    }
    context.next(&format!("retentionctl subject complete {request} --end fulfilled --reason …"));
    Ok(ExitCode::Done)
}

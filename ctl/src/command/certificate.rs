//! `certificate`.

use std::collections::BTreeMap;
use std::path::Path;

use retention_core::control::{CertificateText, ErrorCode, ExitCode, Operation};
use retention_core::evidence::certificate::page::page;
use retention_core::evidence::certificate::{CERTIFICATE_BYTES_MAX, Certificate as Written};
use retention_core::evidence::checkpoint::Checkpoint;
use retention_core::evidence::cosignature::parts_of;
use retention_core::evidence::proof::EventProof;
use serde_json::{Value, json};

use super::{Call, Context, files, refuse};
use crate::args::audit::Witnesses;
use crate::args::certificate::Certificate;
use crate::exit::{Cause, Doing, Failure};

pub(super) fn execute(context: &mut Context, command: Certificate) -> Result<ExitCode, Failure> {
    match command {
        Certificate::Run { run, into } => {
            let call = Call::to(Operation::CertificateRun, &[&run]);
            write(context, &call, &json!({ "run": run }), into.as_deref()).doing("write the certificate")
        }
        Certificate::Item { entity, into } => {
            let call = Call::to(Operation::CertificateEntity, &[&entity]);
            write(context, &call, &json!({ "entity": entity }), into.as_deref()).doing("write the certificate")
        }
        Certificate::Request { request, into } => {
            let call = Call::to(Operation::CertificateRequest, &[&request]);
            write(context, &call, &json!({ "request": request }), into.as_deref()).doing("write the certificate")
        }
        Certificate::Verify { file, keys, witnesses } => {
            verify(context, &file, &keys, &witnesses).doing("check the certificate")
        }
        Certificate::Page { file, keys, into } => {
            make_page(context, &file, &keys, &into).doing("make a page of the certificate")
        }
    }
}

fn write(context: &mut Context, call: &Call, what: &Value, into: Option<&Path>) -> Result<ExitCode, Cause> {
    let written: CertificateText = context.client.typed(call)?;
    super::audit::written(context, what.clone(), "certificate", &written.certificate, into)?;
    if let Some(path) = into {
        context.next(&format!("retentionctl certificate verify {} --key KEY", path.display()));
    }
    Ok(ExitCode::Done)
}

fn verify(context: &mut Context, file: &Path, keys: &[String], witnesses: &Witnesses) -> Result<ExitCode, Cause> {
    let certificate = checked(file, keys)?;
    let cosigned_by = cosigned_by(file, &certificate, witnesses)?;
    let mut told = json!({
        "holds": true,
        "log": certificate.log,
        "issued_at": certificate.issued_at,
        "subject": certificate.subject,
        "events": certificate.events.len(),
        "cosigned_by": cosigned_by,
        "statement": certificate.statement,
    });
    if let Some(said) = &certificate.said {
        told["said_without_proof"] = json!(said);
    }
    context.present(&told)?;
    Ok(ExitCode::Done)
}

/// Returns who of the wanted witnesses cosigned what every proof of a certificate leads to. Proofs by one checkpoint
/// share its cosignatures, which stand in one of them.
fn cosigned_by(file: &Path, certificate: &Written, wanted: &Witnesses) -> Result<Value, Cause> {
    let mut checkpoints: BTreeMap<String, String> = BTreeMap::new();
    for proven in &certificate.events {
        let proof = EventProof::parse(&proven.proof).map_err(|_| Cause::Unreadable)?;
        let (text, lines) = parts_of(&proof.checkpoint).ok_or(Cause::Unreadable)?;
        let all = checkpoints.entry(text.to_owned()).or_default();
        for line in lines.lines().filter(|line| !all.lines().any(|known| known == *line)).collect::<Vec<_>>() {
            all.push_str(line);
            all.push('\n');
        }
    }
    let mut found = Value::Array(Vec::new());
    for (text, lines) in checkpoints {
        let size = Checkpoint::parse(&text).map_err(|_| Cause::Unreadable)?.size;
        found = super::audit::cosigned_by(&file.display().to_string(), &format!("{text}\n{lines}"), size, wanted)?;
    }
    Ok(found)
}

fn make_page(context: &mut Context, file: &Path, keys: &[String], into: &Path) -> Result<ExitCode, Cause> {
    let certificate = checked(file, keys)?;
    files::write_new(into, page(&certificate).as_bytes())?;
    context.present(&json!({ "file": into.display().to_string() }))?;
    Ok(ExitCode::Done)
}

fn checked(file: &Path, keys: &[String]) -> Result<Written, Cause> {
    let text = String::from_utf8(files::read_bounded(file, CERTIFICATE_BYTES_MAX as u64 + 1)?);
    let wrong = |message| refuse(ErrorCode::VerificationFailed, message);
    let text = text.map_err(|_| wrong(format!("{} is no certificate", file.display())))?;
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    Written::verify(&text, &keys).map_err(|error| wrong(format!("{}: {error}", file.display())))
}

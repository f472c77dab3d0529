//! `audit`.

use std::path::Path;

use retention_core::control::{AuditQuery, CheckpointRow, Cursor, ErrorCode, ExitCode, Operation, Order, ProofText};
use retention_core::event::summary::type_name;
use retention_core::evidence::growth::{GROWTH_BYTES_MAX, GrowthProof};
use retention_core::evidence::proof::{EventProof, PROOF_BYTES_MAX, ProofError};
use serde_json::{Value, json};

use super::{Call, Context, files, refuse};
use crate::args::audit::{Audit, AuditArgs};
use crate::exit::{Cause, Doing, Failure};

mod tree;

pub(super) const COLUMNS: &[&str] = &["position", "recorded_at", "kind", "actor", "entity", "run", "summary"];
pub(super) const CHECKPOINT_COLUMNS: &[&str] = &["size", "root"];
pub(super) const KEY_COLUMNS: &[&str] = &["verifier_key", "adopted_at"];

pub(super) fn execute(context: &mut Context, command: Audit) -> Result<ExitCode, Failure> {
    match command {
        Audit::Query(asked) => {
            let call = Call::to(Operation::AuditQuery, &[]).asking(&query(asked));
            context.list(&call, COLUMNS).doing("ask the event log")?;
            Ok(ExitCode::Done)
        }
        Audit::Checkpoints(part) => {
            context.plain_list(Operation::AuditCheckpoints, part, CHECKPOINT_COLUMNS).doing("list the checkpoints")
        }
        Audit::Keys(part) => context.plain_list(Operation::AuditKeys, part, KEY_COLUMNS).doing("list the keys"),
        Audit::Checkpoint { into } => checkpoint(context, into.as_deref()).doing("show the newest checkpoint"),
        Audit::Prove { position, into } => {
            let call = Call::to(Operation::AuditProof, &[&position]);
            prove(context, &call, &json!({ "position": position }), into.as_deref()).doing("prove the event")
        }
        Audit::Growth { before, after, into } => {
            let call = Call::to(Operation::AuditGrowth, &[&before, &after]);
            let what = json!({ "before": before, "after": after });
            prove(context, &call, &what, into.as_deref()).doing("prove the growth")
        }
        Audit::Export { dir } => tree::export(context, &dir).doing("write the log"),
        Audit::Verify { dir, keys, against } => tree::verify(context, &dir, &keys, &against).doing("check the log"),
        Audit::VerifyProof { file, keys } => verify(context, &file, &keys).doing("check the proof"),
    }
}

fn checkpoint(context: &mut Context, into: Option<&Path>) -> Result<ExitCode, Cause> {
    let newest: CheckpointRow = context.client.typed(&Call::to(Operation::AuditCheckpoint, &[]))?;
    let shown = json!({ "size": newest.size, "root": newest.root });
    written(context, shown, "note", &newest.note, into)?;
    Ok(ExitCode::Done)
}

fn prove(context: &mut Context, call: &Call, what: &Value, into: Option<&Path>) -> Result<ExitCode, Cause> {
    let proof: ProofText = context.client.typed(call)?;
    written(context, what.clone(), "proof", &proof.proof, into)?;
    if let Some(path) = into {
        context.next(&format!("retentionctl audit verify-proof {} --key KEY", path.display()));
    }
    Ok(ExitCode::Done)
}

/// Shows a text beside what it is about, or writes it into a file and says which.
pub(super) fn written(
    context: &mut Context,
    mut shown: Value,
    name: &str,
    text: &str,
    into: Option<&Path>,
) -> Result<(), Cause> {
    if let Some(path) = into {
        files::write_new(path, text.as_bytes())?;
    }
    if let Some(fields) = shown.as_object_mut() {
        match into {
            Some(path) => fields.insert("file".to_owned(), json!(path.display().to_string())),
            None => fields.insert(name.to_owned(), json!(text)),
        };
    }
    context.present(&shown)
}

fn verify(context: &mut Context, file: &Path, keys: &[String]) -> Result<ExitCode, Cause> {
    let bytes = files::read(file)?;
    let is_short = |text: &&str| text.len() <= PROOF_BYTES_MAX.max(GROWTH_BYTES_MAX);
    let text = std::str::from_utf8(&bytes).ok().filter(is_short);
    let text = text.ok_or_else(|| refuse(ErrorCode::BadRequest, format!("{} is no proof", file.display())))?;
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let wrong = |error: ProofError| refuse(ErrorCode::VerificationFailed, format!("{}: {error}", file.display()));
    if text.starts_with('{') {
        let (before, after) = GrowthProof::parse(text).and_then(|proof| proof.verify(&keys)).map_err(wrong)?;
        context.present(&json!({
            "holds": true,
            "log": after.origin,
            "before": { "size": before.size, "root": before.root },
            "after": { "size": after.size, "root": after.root },
        }))?;
        return Ok(ExitCode::Done);
    }
    let (envelope, checkpoint) = EventProof::parse(text).and_then(|proof| proof.verify(&keys)).map_err(wrong)?;
    context.present(&json!({
        "holds": true,
        "log": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root,
        "position": envelope.position,
        "kind": type_name(envelope.event_type),
        "recorded_at": envelope.recorded_at,
        "actor": envelope.actor.to_string(),
        "entity": envelope.entity,
        "body_digest": envelope.body_digest,
    }))?;
    Ok(ExitCode::Done)
}

fn query(asked: AuditArgs) -> AuditQuery {
    AuditQuery {
        after: asked.part.after.map(Cursor),
        limit: asked.part.limit,
        since: asked.since,
        until: asked.until,
        kind: asked.kind,
        actor: asked.actor,
        entity: asked.entity,
        run: asked.run,
        policy: asked.policy,
        order: if asked.oldest_first { Order::OldestFirst } else { Order::NewestFirst },
    }
}

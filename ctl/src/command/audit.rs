//! `audit`.

use std::path::Path;

use retention_core::control::{AuditQuery, Cursor, ErrorCode, ExitCode, Operation, Order, ProofText};
use retention_core::event::summary::type_name;
use retention_core::evidence::proof::{EventProof, PROOF_BYTES_MAX};
use serde_json::json;

use super::batch::files;
use super::{Call, Context, refuse};
use crate::args::audit::{Audit, AuditArgs};
use crate::exit::{Cause, Doing, Failure};

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
        Audit::Prove { position, into } => prove(context, position, into.as_deref()).doing("prove the event"),
        Audit::VerifyProof { file, keys } => verify(context, &file, &keys).doing("check the proof"),
    }
}

fn prove(context: &mut Context, position: u64, into: Option<&Path>) -> Result<ExitCode, Cause> {
    let proof: ProofText = context.client.typed(&Call::to(Operation::AuditProof, &[&position]))?;
    match into {
        Some(path) => {
            files::write_new(path, proof.proof.as_bytes())?;
            context.present(&json!({ "position": position, "file": path.display().to_string() }))?;
            context.next(&format!("retentionctl audit verify-proof {} --key KEY", path.display()));
        }
        None => context.present(&json!({ "position": position, "proof": proof.proof }))?,
    }
    Ok(ExitCode::Done)
}

fn verify(context: &mut Context, file: &Path, keys: &[String]) -> Result<ExitCode, Cause> {
    let bytes = files::read(file)?;
    let text = std::str::from_utf8(&bytes).ok().filter(|text| text.len() <= PROOF_BYTES_MAX);
    let text = text.ok_or_else(|| refuse(ErrorCode::BadRequest, format!("{} is no proof", file.display())))?;
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    match EventProof::parse(text).and_then(|proof| proof.verify(&keys)) {
        Ok((envelope, checkpoint)) => {
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
        Err(error) => Err(refuse(ErrorCode::VerificationFailed, format!("{}: {error}", file.display()))),
    }
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

//! `audit`.

use std::io::{self, IsTerminal as _};
use std::num::NonZeroUsize;
use std::path::Path;

use retention_core::control::{
    AuditQuery, CheckpointQuery, CheckpointRow, Cursor, ErrorCode, ExitCode, Line, Operation, Order, ProofText,
    cloud_event,
};
use retention_core::event::summary::type_name;
use retention_core::evidence::cosignature::{WitnessKey, check_cosigned};
use retention_core::evidence::growth::{GROWTH_BYTES_MAX, GrowthProof};
use retention_core::evidence::proof::{EventProof, PROOF_BYTES_MAX, ProofError};
use retention_core::id::EntityId;
use serde_json::{Value, json};

use super::{Call, Context, files, refuse, text};
use crate::args::Output;
use crate::args::audit::{Audit, AuditArgs, Format, Proved, Witnesses};
use crate::exit::{Cause, Doing, Failure};

mod follow;
mod tree;

pub(super) const COLUMNS: &[&str] = &["position", "recorded_at", "kind", "actor", "entity", "run", "summary"];
pub(super) const CHECKPOINT_COLUMNS: &[&str] = &["size", "root"];
pub(super) const KEY_COLUMNS: &[&str] = &["verifier_key", "adopted_at", "replaced"];

pub(super) fn execute(context: &mut Context, command: Audit) -> Result<ExitCode, Failure> {
    match command {
        Audit::Query(asked) if asked.follow => follow::follow(context, asked).doing("follow the event log"),
        Audit::Query(asked) => ask(context, asked).doing("ask the event log"),
        Audit::Checkpoints(part) => {
            context.plain_list(Operation::AuditCheckpoints, part, CHECKPOINT_COLUMNS).doing("list the checkpoints")
        }
        Audit::Keys(part) => context.plain_list(Operation::AuditKeys, part, KEY_COLUMNS).doing("list the keys"),
        Audit::Checkpoint { into, cosigned } => {
            checkpoint(context, cosigned, into.as_deref()).doing("show the newest checkpoint")
        }
        Audit::Prove { proved, into } => prove_event(context, proved, into.as_deref()).doing("prove the event"),
        Audit::Growth { before, after, into } => {
            let call = Call::to(Operation::AuditGrowth, &[&before, &after]);
            let what = json!({ "before": before, "after": after });
            prove(context, &call, &what, into.as_deref()).doing("prove the growth")
        }
        Audit::Export { dir, format, cosigned } => tree::export(context, &dir, format, cosigned).doing("write the log"),
        Audit::Verify { dir, keys, against, witnesses } => {
            tree::verify(context, &dir, &keys, &against, &witnesses).doing("check the log")
        }
        Audit::VerifyProof { file, keys, witnesses } => {
            verify(context, &file, &keys, &witnesses).doing("check the proof")
        }
    }
}

fn ask(context: &mut Context, asked: AuditArgs) -> Result<ExitCode, Cause> {
    let form = Form::of(context, asked.format)?;
    let call = Call::to(Operation::AuditQuery, &[]).asking(&query(asked));
    context.list_as(&call, COLUMNS, |row| form.of_row(row))?;
    Ok(ExitCode::Done)
}

/// As what a row of the log is written.
pub(super) enum Form {
    /// As it is.
    Row,
    /// As a CloudEvent of the log of this name.
    CloudEvent(String),
}

impl Form {
    /// Returns the form that was asked for. CloudEvents stand one in each line, whatever else is written as a table.
    fn of(context: &mut Context, format: Option<Format>) -> Result<Self, Cause> {
        let Some(Format::Cloudevents) = format else { return Ok(Self::Row) };
        if matches!(context.globals.output, Output::Json | Output::Csv) {
            let message = "CloudEvents are written one in each line: leave --output out, or say jsonl";
            return Err(refuse(ErrorCode::BadRequest, message));
        }
        context.renderer.write_lines();
        Ok(Self::CloudEvent(origin(context)?))
    }

    fn of_row(&self, row: Value) -> Result<Value, Cause> {
        match self {
            Self::Row => Ok(row),
            Self::CloudEvent(origin) => cloud_event(origin, &row).ok_or(Cause::Unreadable),
        }
    }
}

/// Returns the name of the log, as its checkpoints have it.
fn origin(context: &Context) -> Result<String, Cause> {
    let mut origin = None;
    context.client.stream(&Call::to(Operation::AuditKeys, &[]), |line| {
        if let Line::Row(row) = line {
            origin = text(&row, "verifier_key").split('+').next().filter(|name| !name.is_empty()).map(str::to_owned);
        }
        Ok(())
    })?;
    origin.ok_or_else(|| refuse(ErrorCode::WrongState, "the log has no name yet: no key signs its checkpoints"))
}

fn checkpoint(context: &mut Context, cosigned: bool, into: Option<&Path>) -> Result<ExitCode, Cause> {
    let asked = Call::to(Operation::AuditCheckpoint, &[]).asking(&CheckpointQuery { cosigned });
    let newest: CheckpointRow = context.client.typed(&asked)?;
    let shown = json!({ "size": newest.size, "root": newest.root, "cosigned_by": newest.cosigned_by });
    written(context, shown, "note", &newest.note, into)?;
    Ok(ExitCode::Done)
}

fn prove_event(context: &mut Context, proved: Proved, into: Option<&Path>) -> Result<ExitCode, Cause> {
    let (position, what) = match proved {
        Proved::Event(position) => (position, json!({ "position": position })),
        Proved::Entity(entity) => {
            let position = newest_about(context, entity)?;
            (position, json!({ "entity": entity, "position": position }))
        }
    };
    prove(context, &Call::to(Operation::AuditProof, &[&position]), &what, into)
}

/// Returns the position of the newest event about an entity itself, and not about a plan or a saga in which it stands.
fn newest_about(context: &Context, entity: EntityId) -> Result<u64, Cause> {
    let name = entity.to_string();
    let mut newest = None;
    context.client.stream(&Call::to(Operation::EntityHistory, &[&entity]), |line| {
        if let Line::Row(row) = line
            && text(&row, "entity") == name
        {
            newest = row.get("position").and_then(Value::as_u64).or(newest);
        }
        Ok(())
    })?;
    newest.ok_or_else(|| refuse(ErrorCode::NotFound, format!("no event of the log is about {name}")))
}

fn prove(context: &mut Context, call: &Call, what: &Value, into: Option<&Path>) -> Result<ExitCode, Cause> {
    let proof: ProofText = context.client.typed(call)?;
    written(context, what.clone(), "proof", &proof.proof, into)?;
    if let Some(path) = into {
        context.next(&format!("retentionctl audit verify-proof {} --key KEY", path.display()));
    }
    Ok(ExitCode::Done)
}

/// Shows a text beside what it is about, or writes it into a file and says which. Where standard output is no terminal,
/// the text goes there alone and as it is: `> FILE` keeps what `--into FILE` would.
pub(super) fn written(
    context: &mut Context,
    mut shown: Value,
    name: &str,
    text: &str,
    into: Option<&Path>,
) -> Result<(), Cause> {
    if into.is_none() && context.renderer.is_for_people() && !io::stdout().is_terminal() {
        context.renderer.text(text)?;
        context.renderer.flush()?;
        return Ok(());
    }
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

/// Returns who of the wanted witnesses cosigned a checkpoint, and when.
pub(super) fn cosigned_by(file: &str, note: &str, size: u64, wanted: &Witnesses) -> Result<Value, Cause> {
    let key = |text: &String| {
        WitnessKey::parse(text).map_err(|error| refuse(ErrorCode::BadRequest, format!("--witness: {error}")))
    };
    let keys = wanted.witness_keys.iter().map(key).collect::<Result<Vec<_>, _>>()?;
    let found = check_cosigned(note, size, &keys, wanted.needed.map_or(keys.len(), NonZeroUsize::get));
    let found = found.map_err(|error| refuse(ErrorCode::VerificationFailed, format!("{file}: {error}")))?;
    Ok(found.iter().map(|one| json!({ "witness": one.witness(), "at": one.at() })).collect())
}

fn verify(context: &mut Context, file: &Path, keys: &[String], witnesses: &Witnesses) -> Result<ExitCode, Cause> {
    let name = file.display().to_string();
    let bytes = files::read(file)?;
    let is_short = |text: &&str| text.len() <= PROOF_BYTES_MAX.max(GROWTH_BYTES_MAX);
    let text = std::str::from_utf8(&bytes).ok().filter(is_short);
    let text = text.ok_or_else(|| refuse(ErrorCode::VerificationFailed, format!("{} is no proof", file.display())))?;
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let wrong = |error: ProofError| refuse(ErrorCode::VerificationFailed, format!("{}: {error}", file.display()));
    if text.starts_with('{') {
        let proof = GrowthProof::parse(text).map_err(wrong)?;
        let (before, after) = proof.verify(&keys).map_err(wrong)?;
        let cosigned_by = cosigned_by(&name, &proof.after, after.size, witnesses)?;
        context.present(&json!({
            "holds": true,
            "log": after.origin,
            "before": { "size": before.size, "root": before.root },
            "after": { "size": after.size, "root": after.root },
            "cosigned_by": cosigned_by,
        }))?;
        return Ok(ExitCode::Done);
    }
    let proof = EventProof::parse(text).map_err(wrong)?;
    let (envelope, checkpoint) = proof.verify(&keys).map_err(wrong)?;
    let cosigned_by = cosigned_by(&name, &proof.checkpoint, checkpoint.size, witnesses)?;
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
        "cosigned_by": cosigned_by,
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
        mailbox: asked.mailbox,
        request: asked.request,
        order: if asked.oldest_first { Order::OldestFirst } else { Order::NewestFirst },
    }
}

//! `export`.

use std::path::Path;

use retention_core::control::{Accepted, ErrorCode, ExitCode, HandOver, Line, Operation};
use serde_json::json;

use super::{Call, Context, refuse, store, text};
use crate::args::export::Export;
use crate::exit::{Cause, Doing, Failure};

mod keys;
mod opened;

pub(super) const COLUMNS: &[&str] = &[
    "manifest",
    "run",
    "saga",
    "exported_at",
    "items",
    "bytes",
    "verified",
    "recipients",
    "destroyed_at",
    "not_found_at",
];

/// The fewest digits that may stand for a digest.
const PREFIX_MIN: usize = 8;

pub(super) fn execute(context: &mut Context, command: Export) -> Result<ExitCode, Failure> {
    match command {
        Export::List(part) => {
            let done = context.plain_list(Operation::ExportList, part, COLUMNS).doing("list the bundles")?;
            context.next("retentionctl export verify MANIFEST");
            Ok(done)
        }
        Export::HandOver { manifest, to, why } => {
            hand_over(context, &manifest, &HandOver { to, reason: why.reason }).doing("note who has a copy")
        }
        Export::Verify { bundle, identity } => verify(context, &bundle, identity.as_deref()).doing("verify the bundle"),
    }
}

fn verify(context: &mut Context, bundle: &Path, identity: Option<&Path>) -> Result<ExitCode, Cause> {
    if let Some(identity) = identity {
        return opened::verify(context, bundle, identity);
    }
    let prefix = bundle.to_str().unwrap_or_default().to_ascii_lowercase();
    if !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let message = format!(
            "{} is no digest of a manifest: export list has them; by its directory a bundle is named beside --identity alone",
            bundle.display()
        );
        return Err(refuse(ErrorCode::BadRequest, message));
    }
    let manifest = resolve(context, &prefix)?;
    store::parts(context, &Call::to(Operation::ExportVerify, &[&manifest]))
}

fn hand_over(context: &mut Context, prefix: &str, wanted: &HandOver) -> Result<ExitCode, Cause> {
    let manifest = resolve(context, &prefix.to_ascii_lowercase())?;
    let accepted: Accepted = context.client.typed(&Call::to(Operation::ExportHandOver, &[&manifest]).with(wanted))?;
    context.present(&json!({ "manifest": manifest, "recipient": accepted.position }))?;
    Ok(ExitCode::Done)
}

fn resolve(context: &Context, prefix: &str) -> Result<String, Cause> {
    if prefix.len() < PREFIX_MIN {
        return Err(refuse(ErrorCode::BadRequest, format!("at least {PREFIX_MIN} digits of the digest are needed")));
    }
    let mut found = Vec::new();
    context.client.stream(&Call::to(Operation::ExportList, &[]), |line| {
        if let Line::Row(row) = line
            && text(&row, "manifest").starts_with(prefix)
        {
            found.push(text(&row, "manifest").to_owned());
        }
        Ok(())
    })?;
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(refuse(ErrorCode::NotFound, "no bundle has such a manifest")),
        _ => Err(refuse(ErrorCode::BadRequest, "several bundles have such a manifest; give more digits")),
    }
}

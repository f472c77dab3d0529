//! `backup`.

use retention_core::control::{Accepted, Because, ExitCode, Operation};
use serde_json::json;

use super::store::parts;
use super::{Call, Context};
use crate::args::backup::Backup;
use crate::exit::{Cause, Doing, Failure};

pub(super) const COLUMNS: &[&str] = &["last", "made_at", "bytes", "keys", "keys_until", "encrypted"];

pub(super) fn execute(context: &mut Context, command: Backup) -> Result<ExitCode, Failure> {
    match command {
        Backup::Make => parts(context, &Call::to(Operation::BackupMake, &[])).doing("make a backup"),
        Backup::List(part) => context.plain_list(Operation::BackupList, part, COLUMNS).doing("list the backups"),
        Backup::Verify { last } => {
            parts(context, &Call::to(Operation::BackupVerify, &[&last])).doing("verify the backup")
        }
        Backup::ConfirmRestore { why } => confirm(context, why.reason).doing("confirm the restored store"),
    }
}

fn confirm(context: &mut Context, reason: String) -> Result<ExitCode, Cause> {
    let accepted: Accepted =
        context.client.typed(&Call::to(Operation::RestoreConfirm, &[]).with(&Because { reason }))?;
    context.present(&json!({ "confirmed_by_event": accepted.position }))?;
    context.next("retentionctl status");
    Ok(ExitCode::Done)
}

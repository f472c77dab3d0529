//! `quarantine`.

use retention_core::control::{Accepted, Because, ExitCode, Operation};
use retention_core::id::EntityId;
use serde_json::json;

use super::{Call, Context};
use crate::args::Quarantine;
use crate::exit::{Cause, Doing, Failure};

pub(super) const COLUMNS: &[&str] = &["entity", "run", "saga", "until"];

pub(super) fn execute(context: &mut Context, command: Quarantine) -> Result<ExitCode, Failure> {
    match command {
        Quarantine::List(part) => {
            context.plain_list(Operation::QuarantineList, part, COLUMNS).doing("list the quarantine")
        }
        Quarantine::Restore { entity, why } => restore(context, entity, why.reason).doing("restore the entity"),
    }
}

fn restore(context: &mut Context, entity: EntityId, reason: String) -> Result<ExitCode, Cause> {
    let call = Call::to(Operation::QuarantineRestore, &[&entity]).with(&Because { reason });
    let accepted: Accepted = context.client.typed(&call)?;
    context.present(&json!({ "entity": entity, "restored_by_event": accepted.position }))?;
    context.next(&format!("retentionctl explain {entity}"));
    Ok(ExitCode::Done)
}

//! `hold`.

use retention_core::control::{Accepted, Because, ExitCode, Operation, PlaceHold};
use retention_core::id::HoldId;
use serde_json::json;

use super::{Call, Context};
use crate::args::Hold;
use crate::exit::{Cause, Doing, Failure};

pub(super) const COLUMNS: &[&str] = &["hold", "name", "reason", "entities", "placed_by", "placed_at"];

pub(super) fn execute(context: &mut Context, command: Hold) -> Result<ExitCode, Failure> {
    match command {
        Hold::Place { name, entities, why } => {
            place(context, &PlaceHold { name, reason: why.reason, entities }).doing("place the hold")
        }
        Hold::Release { hold, why } => release(context, hold, why.reason).doing("release the hold"),
        Hold::List(part) => context.plain_list(Operation::HoldList, part, COLUMNS).doing("list the holds"),
    }
}

fn place(context: &mut Context, wanted: &PlaceHold) -> Result<ExitCode, Cause> {
    let accepted: Accepted = context.client.typed(&Call::to(Operation::HoldPlace, &[]).with(wanted))?;
    let hold = HoldId(accepted.position);
    context.present(&json!({ "hold": hold, "entities": wanted.entities.len() }))?;
    context.next("retentionctl hold list");
    Ok(ExitCode::Done)
}

fn release(context: &mut Context, hold: HoldId, reason: String) -> Result<ExitCode, Cause> {
    let call = Call::to(Operation::HoldRelease, &[&hold]).with(&Because { reason });
    let accepted: Accepted = context.client.typed(&call)?;
    context.present(&json!({ "hold": hold, "released_by_event": accepted.position }))?;
    Ok(ExitCode::Done)
}

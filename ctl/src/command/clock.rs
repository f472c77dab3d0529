//! `clock`.

use retention_core::control::{Accepted, Because, ExitCode, Operation};
use serde_json::json;

use super::{Call, Context};
use crate::args::clock::Clock;
use crate::exit::{Cause, Doing, Failure};

pub(super) fn execute(context: &mut Context, command: Clock) -> Result<ExitCode, Failure> {
    let Clock::Confirm { why } = command;
    confirm(context, why.reason).doing("confirm the clock")
}

fn confirm(context: &mut Context, reason: String) -> Result<ExitCode, Cause> {
    let accepted: Accepted = context.client.typed(&Call::to(Operation::ClockConfirm, &[]).with(&Because { reason }))?;
    context.present(&json!({ "confirmed_by_event": accepted.position }))?;
    context.next("retentionctl status");
    Ok(ExitCode::Done)
}

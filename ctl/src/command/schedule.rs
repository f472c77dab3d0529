//! `schedule`.

use retention_core::control::{ExitCode, Line, Operation};

use super::{Call, Context, query};
use crate::args::{Part, Schedule};
use crate::exit::{Cause, Doing, Failure};

pub(super) const COLUMNS: &[&str] = &["policy", "cron", "timezone", "last_at", "next_at", "due"];

pub(super) fn execute(context: &mut Context, command: Schedule) -> Result<ExitCode, Failure> {
    let Schedule::Next(part) = command;
    next(context, part).doing("list the schedules")
}

fn next(context: &mut Context, part: Part) -> Result<ExitCode, Cause> {
    let mut due = 0;
    let mut list = context.renderer.list(COLUMNS);
    context.client.stream(&Call::to(Operation::ScheduleNext, &[]).asking(&query(part)), |line| {
        if let Line::Row(row) = line {
            due += row.get("due").and_then(serde_json::Value::as_u64).unwrap_or(0);
            list.row(&row)?;
        }
        Ok(())
    })?;
    list.end()?;
    Ok(if due == 0 && context.globals.exit_code { ExitCode::NothingDue } else { ExitCode::Done })
}

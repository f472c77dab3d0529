//! `audit query --follow`: what matches so far, and then what is recorded later.

use retention_core::control::{Cursor, ErrorCode, ExitCode, Line, Operation};
use serde_json::Value;

use super::super::{Call, Context};
use super::{COLUMNS, Form, query};
use crate::args::audit::AuditArgs;
use crate::client::Followed;
use crate::exit::Cause;

/// Follows the log. However it ends, it says up to which position everything was shown, and nothing beyond was.
pub(super) fn follow(context: &mut Context, asked: AuditArgs) -> Result<ExitCode, Cause> {
    let form = Form::of(context, asked.format)?;
    let asked = query(asked);
    let mut shown = asked.after.map_or(0, |cursor| cursor.0);
    let mut has_begun = false;
    let call = Call::to(Operation::AuditFollow, &[]).asking(&asked);
    let mut list = context.renderer.list(COLUMNS)?;
    let followed = context.client.follow(&call, |line| match line {
        Line::Row(row) => {
            let position = row.get("position").and_then(Value::as_u64).ok_or(Cause::Unreadable)?;
            list.row(&form.of_row(row)?)?;
            (shown, has_begun) = (position, true);
            Ok(())
        }
        Line::Progress(progress) => {
            list.catch_up()?;
            (shown, has_begun) = (progress.done, true);
            Ok(())
        }
        Line::Error(_) | Line::End(_) => Ok(()),
    });
    let written = list.end();
    if let Ok(Followed::Ended(end)) = &followed
        && let Some(Cursor(next)) = end.next
    {
        shown = next;
    }
    let because = match &followed {
        Ok(Followed::Ended(_)) => "the daemon ended it",
        Ok(Followed::Interrupted) => "as asked",
        Err(_) => "it broke off",
    };
    // What was refused was never followed, and goes on nowhere.
    let is_refused = !has_begun && followed.as_ref().is_err_and(is_refusal);
    // What could not be written was not shown.
    if written.is_ok() && !is_refused && !matches!(followed, Err(Cause::Output(_))) {
        context.note(&format!("stopped at position {shown}, {because}; --follow --after {shown} goes on there"));
    }
    followed?;
    written?;
    Ok(ExitCode::Done)
}

/// Says whether the daemon will not do it, rather than not now.
fn is_refusal(cause: &Cause) -> bool {
    let is_for_now = |code| matches!(code, ErrorCode::Busy | ErrorCode::Stopping | ErrorCode::TimedOut);
    matches!(cause, Cause::Answer(body) if !is_for_now(body.code))
}

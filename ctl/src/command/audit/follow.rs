//! `audit query --follow`: what matches so far, and then what is recorded later.

use retention_core::control::{Cursor, ExitCode, Line, Operation};
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
    let call = Call::to(Operation::AuditFollow, &[]).asking(&asked);
    let mut list = context.renderer.list(COLUMNS)?;
    let followed = context.client.follow(&call, |line| match line {
        Line::Row(row) => {
            let position = row.get("position").and_then(Value::as_u64).ok_or(Cause::Unreadable)?;
            list.row(&form.of_row(row)?)?;
            shown = position;
            Ok(())
        }
        Line::Progress(progress) => {
            list.catch_up()?;
            shown = progress.done;
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
    // What could not be written was not shown.
    if written.is_ok() && !matches!(followed, Err(Cause::Output(_))) {
        context.note(&format!("stopped at position {shown}, {because}; --follow --after {shown} goes on there"));
    }
    followed?;
    written?;
    Ok(ExitCode::Done)
}

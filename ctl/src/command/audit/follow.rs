//! `audit query --follow`: what matches so far, and then what is recorded later.

use retention_core::control::{Cursor, ErrorCode, ExitCode, FollowEnd, Line, Operation};
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
    let mut list = context.renderer.list(COLUMNS);
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
    // What was refused was never followed: it goes on nowhere, and is no empty answer.
    let is_refused = !has_begun && followed.as_ref().is_err_and(is_refusal);
    let written = if is_refused { Ok(()) } else { list.end() };
    if let Ok(Followed::Ended(end)) = &followed
        && let Some(Cursor(next)) = end.next
    {
        shown = next;
    }
    // What could not be written was not shown.
    if written.is_ok() && !is_refused && !matches!(followed, Err(Cause::Output(_))) {
        context.note(&note(&followed, shown));
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

/// Says why it is over, up to where everything was shown, and how to go on, if anything can follow.
fn note(followed: &Result<Followed, Cause>, shown: u64) -> String {
    let because = match followed {
        Ok(Followed::Ended(end)) => match end.ended {
            Some(FollowEnd::Limit) => "after as many rows as --limit allows".to_owned(),
            Some(FollowEnd::Until) => {
                return format!("ended at position {shown}: nothing that is recorded from now on is before --until");
            }
            Some(FollowEnd::Stopping) => "as the daemon stops".to_owned(),
            None => "the daemon ended it".to_owned(),
        },
        Ok(Followed::Interrupted) => "as asked".to_owned(),
        Err(_) => "it broke off".to_owned(),
    };
    format!("stopped at position {shown}, {because}; --follow --after {shown} goes on there")
}

#[cfg(test)]
mod tests {
    use retention_core::control::StreamEnd;

    use super::*;

    #[test]
    fn it_says_why_it_is_over_and_how_to_go_on_only_where_something_can_follow() {
        let ended = |ended| Ok(Followed::Ended(StreamEnd { rows: 3, next: Some(Cursor(9)), ended }));
        for (followed, expected) in [
            (
                ended(Some(FollowEnd::Limit)),
                "stopped at position 9, after as many rows as --limit allows; --follow --after 9 goes on there",
            ),
            (
                ended(Some(FollowEnd::Until)),
                "ended at position 9: nothing that is recorded from now on is before --until",
            ),
            (
                ended(Some(FollowEnd::Stopping)),
                "stopped at position 9, as the daemon stops; --follow --after 9 goes on there",
            ),
            (ended(None), "stopped at position 9, the daemon ended it; --follow --after 9 goes on there"),
            (Ok(Followed::Interrupted), "stopped at position 9, as asked; --follow --after 9 goes on there"),
            (Err(Cause::Cut), "stopped at position 9, it broke off; --follow --after 9 goes on there"),
        ] {
            assert_eq!(note(&followed, 9), expected);
        }
    }
}

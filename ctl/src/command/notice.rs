//! `notice`.

use retention_core::control::{
    AcknowledgeNotices, Cursor, ExitCode, NoticeQuery, NoticeTested, NoticesAcknowledged, NoticesWanted, Operation,
};

use serde_json::json;

use super::{Call, Context};
use crate::args::notice::{Notice, State};
use crate::exit::{Cause, Doing, Failure};

pub(super) const COLUMNS: &[&str] =
    &["notice", "channel", "thing", "subject", "state", "at", "tries", "code", "acknowledged_at"];

pub(super) fn execute(context: &mut Context, command: Notice) -> Result<ExitCode, Failure> {
    match command {
        Notice::List { open, state, part } => {
            let show = match (open, state) {
                (true, _) => NoticesWanted::Open,
                (false, None) => NoticesWanted::All,
                (false, Some(State::Owed)) => NoticesWanted::Owed,
                (false, Some(State::Sent)) => NoticesWanted::Sent,
                (false, Some(State::GivenUp)) => NoticesWanted::GivenUp,
                (false, Some(State::Acknowledged)) => NoticesWanted::Acknowledged,
            };
            let query = NoticeQuery { after: part.after.map(Cursor), limit: part.limit, show };
            context.list(&Call::to(Operation::NoticeList, &[]).asking(&query), COLUMNS).doing("list the notices")?;
            Ok(ExitCode::Done)
        }
        Notice::Acknowledge { notices, why } => {
            acknowledge(context, &AcknowledgeNotices { notices, reason: why.reason }).doing("acknowledge the notices")
        }
        Notice::Test { channel } => test(context, &channel).doing("test the channel"),
    }
}

fn acknowledge(context: &mut Context, wanted: &AcknowledgeNotices) -> Result<ExitCode, Cause> {
    let done: NoticesAcknowledged = context.client.typed(&Call::to(Operation::NoticeAcknowledge, &[]).with(wanted))?;
    context.present(&json!({ "acknowledged": done.acknowledged, "event": done.event }))?;
    context.next("retentionctl status");
    Ok(ExitCode::Done)
}

fn test(context: &mut Context, channel: &str) -> Result<ExitCode, Cause> {
    let tested: NoticeTested = context.client.typed(&Call::to(Operation::NoticeTest, &[&channel]))?;
    let is_taken = tested.code.is_none();
    let row = json!({ "channel": tested.channel, "id": tested.id, "taken": is_taken, "code": tested.code });
    context.present(&row)?;
    Ok(if is_taken { ExitCode::Done } else { ExitCode::PersonNeeded })
}

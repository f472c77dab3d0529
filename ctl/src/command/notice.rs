//! `notice`.

use retention_core::control::{ExitCode, NoticeTested, Operation};

use serde_json::json;

use super::{Call, Context};
use crate::args::notice::Notice;
use crate::exit::{Cause, Doing, Failure};

pub(super) fn execute(context: &mut Context, command: Notice) -> Result<ExitCode, Failure> {
    let Notice::Test { channel } = command;
    test(context, &channel).doing("test the channel")
}

fn test(context: &mut Context, channel: &str) -> Result<ExitCode, Cause> {
    let tested: NoticeTested = context.client.typed(&Call::to(Operation::NoticeTest, &[&channel]))?;
    let row = json!({ "channel": tested.channel, "id": tested.id, "code": tested.code });
    context.present(&row)?;
    Ok(if tested.code.is_none() { ExitCode::Done } else { ExitCode::PersonNeeded })
}

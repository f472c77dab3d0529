//! `key`.

use retention_core::control::{Accepted, ExitCode, Operation, RotateKeys};
use retention_core::event::key::StoreKeys;
use serde_json::json;

use super::{Call, Context};
use crate::args::key::{Key, Which};
use crate::exit::{Cause, Doing, Failure};

pub(super) fn execute(context: &mut Context, command: Key) -> Result<ExitCode, Failure> {
    match command {
        Key::Status => {
            context.show(&Call::to(Operation::KeyStatus, &[])).doing("say how the keys are")?;
            Ok(ExitCode::Done)
        }
        Key::Rotate { which, why } => rotate(context, &which, why.reason).doing("ask for new keys"),
    }
}

fn rotate(context: &mut Context, which: &Which, reason: String) -> Result<ExitCode, Cause> {
    let keys = if which.signing { StoreKeys::Signing } else { StoreKeys::Wrapping };
    let call = Call::to(Operation::KeyRotate, &[]).with(&RotateKeys { keys, reason });
    let accepted: Accepted = context.client.typed(&call)?;
    context.present(&json!({ "keys": keys, "asked_by_event": accepted.position }))?;
    context.next("retentionctl key status");
    Ok(ExitCode::Done)
}

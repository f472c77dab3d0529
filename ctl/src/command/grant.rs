//! `grant`.

use retention_core::control::{Accepted, Because, ExitCode, GiveGrant, JudgeGrant, Operation, RenewGrant};
use retention_core::id::GrantId;
use serde::Serialize;
use serde_json::json;

use super::{Call, Context};
use crate::args::grant::Grant;
use crate::exit::{Cause, Doing, Failure};

pub(super) const COLUMNS: &[&str] = &[
    "grant",
    "mailbox",
    "state",
    "purpose.kind",
    "purpose.run",
    "policy",
    "requested_by",
    "requested_at",
    "begun_at",
    "ends_at",
    "ended_at",
    "failed",
];

pub(super) fn execute(context: &mut Context, command: Grant) -> Result<ExitCode, Failure> {
    match command {
        Grant::Give { mailbox, to, duration, policy, ticket, why } => {
            give(context, &GiveGrant { mailbox, to, duration, policy, reason: why.reason, ticket })
                .doing("ask for the grant")
        }
        Grant::List(part) => context.plain_list(Operation::GrantList, part, COLUMNS).doing("list the grants"),
        Grant::Show { grant } => {
            context.show(&Call::to(Operation::GrantShow, &[&grant])).doing("show the grant")?;
            Ok(ExitCode::Done)
        }
        Grant::Approve { grant, why } => {
            ask(context, Operation::GrantApprove, grant, &JudgeGrant { comment: why.reason }).doing("approve the grant")
        }
        Grant::Reject { grant, why } => {
            ask(context, Operation::GrantReject, grant, &JudgeGrant { comment: why.reason }).doing("reject the grant")
        }
        Grant::Renew { grant, duration, why } => {
            ask(context, Operation::GrantRenew, grant, &RenewGrant { duration, reason: why.reason })
                .doing("renew the grant")
        }
        Grant::Reconcile => {
            context.show(&Call::to(Operation::GrantReconcile, &[])).doing("have the permissions read")?;
            context.next("retentionctl mailbox list");
            Ok(ExitCode::Done)
        }
        Grant::Revoke { grant, why } => {
            ask(context, Operation::GrantRevoke, grant, &Because { reason: why.reason }).doing("revoke the grant")
        }
    }
}

fn give(context: &mut Context, wanted: &GiveGrant) -> Result<ExitCode, Cause> {
    let accepted: Accepted = context.client.typed(&Call::to(Operation::GrantGive, &[]).with(wanted))?;
    let grant = GrantId(accepted.position);
    context.present(&json!({ "grant": grant, "mailbox": wanted.mailbox }))?;
    context.next(&format!("another person: retentionctl grant approve {grant}"));
    Ok(ExitCode::Done)
}

fn ask(context: &mut Context, operation: Operation, grant: GrantId, body: &impl Serialize) -> Result<ExitCode, Cause> {
    let accepted: Accepted = context.client.typed(&Call::to(operation, &[&grant]).with(body))?;
    context.present(&json!({ "grant": grant, "recorded_by_event": accepted.position }))?;
    context.next(&format!("retentionctl grant show {grant}"));
    Ok(ExitCode::Done)
}

//! `plan`.

use retention_core::control::{
    Accepted, ErrorCode, ExitCode, JudgePlan, MakePlan, Operation, PlanRow, RunAccessTerms, WAIT_SECONDS_MAX, WaitQuery,
};
use retention_core::event::decision::PlanPurpose;
use retention_core::id::{Digest, PlanId};
use retention_core::time::Timestamp;
use retention_core::view::PlanState;
use serde_json::json;

use super::{Call, Context, query, refuse};
use crate::args::plan::Plan;
use crate::exit::{Cause, Doing, Failure};
use crate::render::printable;

pub(super) const COLUMNS: &[&str] =
    &["plan", "policy", "purpose", "state", "frozen.items", "frozen.population", "requested_by", "requested_at", "run"];
pub(super) const ITEM_COLUMNS: &[&str] = &["item", "entity", "start_at", "due_at", "start_is_fallback", "version"];

pub(super) fn execute(context: &mut Context, command: Plan) -> Result<ExitCode, Failure> {
    match command {
        Plan::Make { policy, at, wait } => make(context, policy, at, wait).doing("make a plan"),
        Plan::List(part) => context.plain_list(Operation::PlanList, part, COLUMNS).doing("list the plans"),
        Plan::Show { plan } => show(context, plan).doing("show the plan"),
        Plan::Items { plan, part } => {
            let call = Call::to(Operation::PlanItems, &[&plan]).asking(&query(part));
            context.list(&call, ITEM_COLUMNS).doing("list the items")?;
            Ok(ExitCode::Done)
        }
        Plan::Approve { plan, digest, comment } => approve(context, plan, digest, comment).doing("approve the plan"),
        Plan::Reject { plan, why } => reject(context, plan, why.reason).doing("reject the plan"),
    }
}

fn make(context: &mut Context, policy: String, at: Option<Timestamp>, wait: bool) -> Result<ExitCode, Cause> {
    let purpose = if at.is_some() { PlanPurpose::Preview } else { PlanPurpose::Run };
    let wanted = MakePlan { policy, purpose, as_of: at };
    let accepted: Accepted = context.client.typed(&Call::to(Operation::PlanMake, &[]).with(&wanted))?;
    let plan = PlanId(accepted.position);
    if !wait && !context.globals.exit_code {
        context.present(&json!({ "plan": plan }))?;
        context.next(&format!("retentionctl plan show {plan}"));
        return Ok(ExitCode::Done);
    }
    let query = WaitQuery { wait_seconds: Some(WAIT_SECONDS_MAX) };
    let call = Call::to(Operation::PlanShow, &[&plan]).asking(&query);
    loop {
        let value = context.client.one(&call)?;
        let row: PlanRow = serde_json::from_value(value.clone()).map_err(|_| Cause::Unreadable)?;
        if row.state != PlanState::Requested {
            context.present(&value)?;
            return judge(context, &row);
        }
    }
}

fn show(context: &mut Context, plan: PlanId) -> Result<ExitCode, Cause> {
    let value = context.show(&Call::to(Operation::PlanShow, &[&plan]))?;
    let row: PlanRow = serde_json::from_value(value).map_err(|_| Cause::Unreadable)?;
    suggest(context, &row);
    Ok(ExitCode::Done)
}

/// Says how a plan that was waited for came out.
fn judge(context: &Context, row: &PlanRow) -> Result<ExitCode, Cause> {
    suggest(context, row);
    if let Some(code) = &row.refusal {
        return Err(refuse(ErrorCode::PlanRefused, format!("{} could not be made: {code}", row.plan)));
    }
    let is_empty = row.frozen.as_ref().is_some_and(|frozen| frozen.items == 0);
    Ok(if is_empty && context.globals.exit_code { ExitCode::NothingDue } else { ExitCode::Done })
}

fn suggest(context: &Context, row: &PlanRow) {
    let plan = row.plan;
    match row.state {
        PlanState::Requested => context.next(&format!("retentionctl plan show {plan}")),
        PlanState::AwaitingApproval => {
            if let Some(access) = row.frozen.as_ref().and_then(|frozen| frozen.access.as_ref()) {
                context.say(&format!(
                    "whoever approves this gives {} full access to each mailbox in which the run works, while it works there, \
                     for at most {} minutes each time",
                    printable(&access.to),
                    access.at_most_seconds.div_ceil(60)
                ));
            }
            context.next(&format!(
                "retentionctl plan items {plan}, then another person: retentionctl plan approve {plan}"
            ));
        }
        PlanState::Ready => context.next(&format!("retentionctl run start {plan}")),
        PlanState::Preview => context.next(&format!("retentionctl plan items {plan}")),
        PlanState::Used => {
            if let Some(run) = row.run {
                context.next(&format!("retentionctl run show {run}"));
            }
        }
        PlanState::Refused | PlanState::Empty | PlanState::Rejected => {}
    }
}

/// Returns the digest of a plan that is frozen.
pub(super) fn digest_of(context: &Context, plan: PlanId) -> Result<Digest, Cause> {
    let row: PlanRow = context.client.typed(&Call::to(Operation::PlanShow, &[&plan]))?;
    Ok(frozen_of(row)?.0)
}

/// Returns the digest of a plan that is frozen, and the access that its run takes.
fn frozen_of(row: PlanRow) -> Result<(Digest, Option<RunAccessTerms>), Cause> {
    match row.frozen {
        Some(frozen) => Ok((frozen.digest, frozen.access)),
        None => Err(refuse(ErrorCode::WrongState, format!("{} is not frozen", row.plan))),
    }
}

fn approve(context: &mut Context, plan: PlanId, pinned: Option<Digest>, comment: String) -> Result<ExitCode, Cause> {
    let row: PlanRow = context.client.typed(&Call::to(Operation::PlanShow, &[&plan]))?;
    let (known, access) = frozen_of(row)?;
    let digest = pinned.unwrap_or(known);
    let call = Call::to(Operation::PlanApprove, &[&plan]).with(&JudgePlan { digest, comment });
    let accepted: Accepted = context.client.typed(&call)?;
    let mut shown = json!({ "plan": plan, "digest": digest, "approved_by_event": accepted.position });
    if let Some(access) = access {
        shown["access"] = json!(access);
    }
    context.present(&shown)?;
    context.next(&format!("retentionctl run start {plan}"));
    Ok(ExitCode::Done)
}

fn reject(context: &mut Context, plan: PlanId, comment: String) -> Result<ExitCode, Cause> {
    let digest = digest_of(context, plan)?;
    let call = Call::to(Operation::PlanReject, &[&plan]).with(&JudgePlan { digest, comment });
    let accepted: Accepted = context.client.typed(&call)?;
    context.present(&json!({ "plan": plan, "digest": digest, "rejected_by_event": accepted.position }))?;
    Ok(ExitCode::Done)
}

//! `plan`.

use retention_core::control::{
    Accepted, ErrorCode, ExitCode, JudgePlan, MakePlan, Operation, PlanRow, RunAccessTerms, WAIT_SECONDS_MAX, WaitQuery,
};
use retention_core::event::Actor;
use retention_core::event::decision::PlanPurpose;
use retention_core::event::subject::ERASURE_POLICY;
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
    for line in advice(row) {
        context.say(&line);
    }
}

/// Returns what a person should know of a plan as it stands, and what to do next.
fn advice(row: &PlanRow) -> Vec<String> {
    let plan = row.plan;
    let mut lines = Vec::new();
    let next = match row.state {
        PlanState::Requested => format!("retentionctl plan show {plan}"),
        PlanState::AwaitingApproval => {
            let frozen = row.frozen.as_ref();
            if frozen.is_some_and(|frozen| !frozen.tripped.is_empty()) {
                lines.push(
                    "it goes beyond limits of its policy (tripped): whoever approves this accepts that".to_owned(),
                );
            }
            if let Some(access) = frozen.and_then(|frozen| frozen.access.as_ref()) {
                lines.push(format!(
                    "whoever approves this gives {} full access to each mailbox in which the run works, while it works there, \
                     for at most {} minutes each time",
                    printable(&access.to),
                    access.at_most_seconds.div_ceil(60)
                ));
            }
            if starts_by_itself(row) {
                lines.push("its run begins by itself as soon as enough persons have approved this".to_owned());
            }
            format!("retentionctl plan items {plan}, then another person: retentionctl plan approve {plan}")
        }
        PlanState::Ready if starts_by_itself(row) => {
            lines.push("its run begins by itself".to_owned());
            format!("retentionctl plan show {plan}")
        }
        PlanState::Ready => format!("retentionctl run start {plan}"),
        PlanState::Preview => format!("retentionctl plan items {plan}"),
        PlanState::Used => match row.run {
            Some(run) => format!("retentionctl run show {run}"),
            None => return lines,
        },
        PlanState::Stale if row.policy == ERASURE_POLICY => return lines,
        PlanState::Stale => format!("retentionctl plan make {}", row.policy),
        PlanState::Refused | PlanState::Empty | PlanState::Rejected => return lines,
    };
    lines.push(format!("next: {next}"));
    lines
}

/// Says whether nobody has to ask for the run of a plan: what a schedule or an erasure planned runs once it is approved.
fn starts_by_itself(row: &PlanRow) -> bool {
    row.requested_by.0 == Actor::Schedule || row.policy == ERASURE_POLICY
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
    // Others may have to approve it, too; that it was approved stands, whatever becomes of this question.
    if let Ok(row) = context.client.typed::<PlanRow>(&Call::to(Operation::PlanShow, &[&plan])) {
        suggest(context, &row);
    }
    Ok(ExitCode::Done)
}

fn reject(context: &mut Context, plan: PlanId, comment: String) -> Result<ExitCode, Cause> {
    let digest = digest_of(context, plan)?;
    let call = Call::to(Operation::PlanReject, &[&plan]).with(&JudgePlan { digest, comment });
    let accepted: Accepted = context.client.typed(&call)?;
    context.present(&json!({ "plan": plan, "digest": digest, "rejected_by_event": accepted.position }))?;
    Ok(ExitCode::Done)
}

#[cfg(test)]
mod tests {
    use retention_core::control::ActorName;
    use retention_core::id::Position;

    use super::*;

    fn advised(state: PlanState, policy: &str, by: Actor) -> String {
        let row = PlanRow {
            plan: PlanId(Position(7)),
            policy: policy.to_owned(),
            purpose: PlanPurpose::Run,
            state,
            requested_by: ActorName(by),
            requested_at: Timestamp(0),
            frozen: None,
            refusal: None,
            approvals: Vec::new(),
            reviews: Vec::new(),
            run: None,
        };
        advice(&row).join("\n")
    }

    #[test]
    fn a_run_is_to_be_asked_for_only_where_nothing_else_asks_for_it() {
        let person = Actor::Person(7);
        assert_eq!(advised(PlanState::Ready, "contacts", person), "next: retentionctl run start P7");
        assert!(!advised(PlanState::AwaitingApproval, "contacts", person).contains("by itself"));
        for (policy, by) in [("contacts", Actor::Schedule), (ERASURE_POLICY, person)] {
            for state in [PlanState::AwaitingApproval, PlanState::Ready] {
                let advised = advised(state, policy, by);
                assert!(advised.contains("begins by itself") && !advised.contains("run start"), "{advised}");
            }
        }
        assert!(
            !advised(PlanState::AwaitingApproval, "contacts", person).contains("run start"),
            "it is not approved yet"
        );
    }
}

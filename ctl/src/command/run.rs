//! `run`.

use retention_core::control::{
    Accepted, Because, ErrorBody, ErrorCode, ExitCode, Incident, Operation, RunRow, StartRun,
};
use retention_core::event::subject::ERASURE_POLICY;
use retention_core::id::{PlanId, RunId};
use retention_core::view::{Drift, RunState};
use serde_json::{Value, json};

use super::{Bar, Call, Context, plan};
use crate::args::run::Run;
use crate::exit::{Cause, Doing, Failure};
use crate::render::printable;

pub(super) const COLUMNS: &[&str] = &[
    "run",
    "plan",
    "policy",
    "state",
    "items",
    "purged",
    "redacted",
    "restricted",
    "skipped",
    "requested_by",
    "requested_at",
    "ended_at",
];

pub(super) const INCIDENT_COLUMNS: &[&str] = &["saga", "mailbox", "purged", "hidden", "hidden_until", "bundle", "copy"];

pub(super) fn execute(context: &mut Context, command: Run) -> Result<ExitCode, Failure> {
    match command {
        Run::Start { plan, watch } => start(context, plan, watch).doing("start the run"),
        Run::List(part) => context.plain_list(Operation::RunList, part, COLUMNS).doing("list the runs"),
        Run::Show { run } => show(context, run).doing("show the run"),
        Run::Incident { run } => incident(context, run).doing("say what the run did"),
        Run::Watch { run } => watch(context, run).doing("watch the run"),
        Run::Pause { run, why } => ask(context, Operation::RunPause, run, why.reason).doing("pause the run"),
        Run::Resume { run, why } => ask(context, Operation::RunResume, run, why.reason).doing("resume the run"),
        Run::Cancel { run, why } => ask(context, Operation::RunCancel, run, why.reason).doing("cancel the run"),
    }
}

fn start(context: &mut Context, plan: PlanId, stay: bool) -> Result<ExitCode, Cause> {
    let digest = plan::digest_of(context, plan)?;
    let call = Call::to(Operation::RunStart, &[]).with(&StartRun { plan, digest });
    let accepted: Accepted = context.client.typed(&call)?;
    let run = RunId(accepted.position);
    if stay {
        return watch(context, run);
    }
    context.present(&json!({ "run": run, "plan": plan, "digest": digest }))?;
    context.next(&format!("retentionctl run watch {run}"));
    Ok(ExitCode::Done)
}

fn show(context: &mut Context, run: RunId) -> Result<ExitCode, Cause> {
    let value = context.show(&Call::to(Operation::RunShow, &[&run]))?;
    context.next(&format!("retentionctl audit query --run {run} --oldest-first"));
    end(&value)
}

fn incident(context: &mut Context, run: RunId) -> Result<ExitCode, Cause> {
    let call = Call::to(Operation::RunIncident, &[&run]);
    if !context.renderer.is_for_people() {
        context.show(&call)?;
        return Ok(ExitCode::Done);
    }
    let incident: Incident = context.client.typed(&call)?;
    for line in &incident.text {
        context.renderer.text(&format!("{}\n", printable(line)))?;
    }
    let mut list = context.renderer.list(INCIDENT_COLUMNS);
    for part in &incident.parts {
        list.row(&json!(part))?;
    }
    list.end()?;
    Ok(ExitCode::Done)
}

/// Follows a run. For people the newest state is shown at its end, for programs each state as it comes.
fn watch(context: &mut Context, run: RunId) -> Result<ExitCode, Cause> {
    let mut last = Value::Null;
    let (client, renderer) = (&context.client, &mut context.renderer);
    Bar::new(&context.globals).over(client, &Call::to(Operation::RunWatch, &[&run]), |_, row| {
        if !renderer.is_for_people() {
            renderer.one(&row)?;
            renderer.flush()?;
        }
        last = row;
        Ok(())
    })?;
    if context.renderer.is_for_people() {
        context.present(&last)?;
    }
    context.next("retentionctl export list");
    end(&last)
}

/// Returns how a run that may be over is to be reported.
fn end(value: &Value) -> Result<ExitCode, Cause> {
    let row: RunRow = serde_json::from_value(value.clone()).map_err(|_| Cause::Unreadable)?;
    match row.state {
        RunState::Stuck => Ok(ExitCode::PersonNeeded),
        RunState::Refused => {
            let code = row.refusal.unwrap_or_default();
            let kind = if code == "plan_stale" { ErrorCode::PlanStale } else { ErrorCode::PersonNeeded };
            let message = format!("{} was refused before its first effect: {code}", row.run);
            let hint = match row.policy.as_str() {
                ERASURE_POLICY => "nothing was changed; retentionctl subject list".to_owned(),
                policy => format!("nothing was changed; a new plan: retentionctl plan make {policy}"),
            };
            Err(Cause::Answer(ErrorBody::saying(kind, message).hint(hint)))
        }
        RunState::Cancelling | RunState::Cancelled if row.stopped.is_some() => {
            let Drift { looked_at, drifted } = row.stopped.unwrap_or_default();
            let message = format!(
                "{} was stopped: {drifted} of the {looked_at} items that it looked at had changed since its plan was made",
                row.run
            );
            let hint =
                format!("what it had not come to is as it was; a new plan: retentionctl plan make {}", row.policy);
            Err(Cause::Answer(ErrorBody::saying(ErrorCode::PersonNeeded, message).hint(hint)))
        }
        RunState::Requested
        | RunState::Running
        | RunState::Paused
        | RunState::Cancelling
        | RunState::Completed
        | RunState::Cancelled => Ok(ExitCode::Done),
    }
}

fn ask(context: &mut Context, operation: Operation, run: RunId, reason: String) -> Result<ExitCode, Cause> {
    let accepted: Accepted = context.client.typed(&Call::to(operation, &[&run]).with(&Because { reason }))?;
    context.present(&json!({ "run": run, "recorded_by_event": accepted.position }))?;
    context.next(&format!("retentionctl run show {run}"));
    Ok(ExitCode::Done)
}

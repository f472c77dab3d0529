//! `status` and `config`.

use retention_core::control::{CheckConfig, Checked, ExitCode, Operation};

use super::{Call, Context};
use crate::args::Config;
use crate::exit::{Cause, Doing, Failure};

pub(super) fn status(context: &mut Context) -> Result<ExitCode, Failure> {
    let value = context.show(&Call::to(Operation::Status, &[])).doing("ask for the status")?;
    if let Some(plan) = value.pointer("/plans_waiting/0").and_then(|plan| plan.as_str()) {
        context.next(&format!("retentionctl plan show {plan}"));
    }
    let needs_person = value.get("attention").and_then(|list| list.as_array()).is_some_and(|list| !list.is_empty());
    Ok(if needs_person { ExitCode::PersonNeeded } else { ExitCode::Done })
}

pub(super) fn config(context: &mut Context, command: Config) -> Result<ExitCode, Failure> {
    let Config::Check { file } = command;
    let text = match file {
        Some(path) => match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(source) => Err(Cause::File { path, doing: "read", source }).doing("check the configuration")?,
        },
        None => None,
    };
    check(context, &Call::to(Operation::ConfigCheck, &[]).with(&CheckConfig { text })).doing("check the configuration")
}

fn check(context: &mut Context, call: &Call) -> Result<ExitCode, Cause> {
    let checked: Checked = context.client.typed(call)?;
    findings(context, &checked)
}

/// Shows findings; 78 when there is an error among them.
pub(super) fn findings(context: &mut Context, checked: &Checked) -> Result<ExitCode, Cause> {
    let mut list = context.renderer.list(FINDING_COLUMNS);
    for finding in &checked.findings {
        list.row(&serde_json::to_value(finding).map_err(|_| Cause::Unreadable)?)?;
    }
    list.end()?;
    if checked.findings.is_empty() {
        context.say("no problem found");
    }
    Ok(if checked.is_usable() { ExitCode::Done } else { ExitCode::Invalid })
}

const FINDING_COLUMNS: &[&str] = &["severity", "file", "line", "column", "message", "hint"];

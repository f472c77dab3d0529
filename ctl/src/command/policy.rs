//! `policy` and `explain`.

use std::io::Write as _;
use std::path::Path;

use retention_core::control::{
    Checked, Cursor, DiffPolicies, ErrorBody, ErrorCode, ExitCode, Explanation, Finding, Operation, PolicyFileText,
    PolicyQuery, Severity,
};
use retention_core::policy::{FILE_BYTES_MAX, FILES_MAX, PolicyError, PolicyFile, PolicySet};
use retention_core::time::Period;
use serde_json::json;

use super::{Call, Context, refuse, status::findings};
use crate::args::policy::{ExplainArgs, Policy};
use crate::exit::{Cause, Doing, Failure};
use crate::render::printable;

pub(super) const COLUMNS: &[&str] = &["policy", "title", "state", "population", "due", "next_at", "digest"];
pub(super) const DIFF_COLUMNS: &[&str] = &[
    "policy",
    "change",
    "state_before",
    "state_after",
    "cools_off",
    "due_before",
    "due_after",
    "newly_due",
    "newly_kept",
    "waits_before",
    "waits_after",
    "access_before",
    "access_after",
    "examples",
];
pub(super) const COVERAGE_COLUMNS: &[&str] =
    &["source", "kind", "entities", "covered", "uncovered", "never_due", "waiting", "policies"];
const TEST_COLUMNS: &[&str] = &["policy", "number", "passed", "expected", "actual"];

pub(super) fn execute(context: &mut Context, command: Policy) -> Result<ExitCode, Failure> {
    match command {
        Policy::List { due_by, part } => {
            let query = PolicyQuery { after: part.after.map(Cursor), limit: part.limit, due_by };
            let call = Call::to(Operation::PolicyList, &[]).asking(&query);
            context.list(&call, COLUMNS).doing("list the policies")?;
            Ok(ExitCode::Done)
        }
        Policy::Show { policy } => show(context, &policy).doing("show the policy"),
        Policy::Check(dir) => check(context, &dir.dir).doing("check the policies"),
        Policy::New { name, dir } => new(context, &name, &dir).doing("write the policy"),
        Policy::Test(dir) => test(context, &dir.dir).doing("test the policies"),
        Policy::Diff(dir) => diff(context, &dir.dir).doing("compare the policies"),
        Policy::Coverage(part) => {
            context.plain_list(Operation::PolicyCoverage, part, COVERAGE_COLUMNS).doing("count what policies are about")
        }
        Policy::Explain(entity) => explain(context, entity),
    }
}

pub(super) fn explain(context: &mut Context, args: ExplainArgs) -> Result<ExitCode, Failure> {
    let call = Call::to(Operation::PolicyExplain, &[&args.entity]);
    let exit = if context.renderer.is_for_people() {
        sentences(context, &call).doing("explain the entity")?
    } else {
        context.show_entity(&call).doing("explain the entity")?
    };
    context.next(&format!("retentionctl entity history {}", args.entity));
    Ok(exit)
}

/// Shows the sentences of an explanation, or what is left to say when the entity was purged.
fn sentences(context: &mut Context, call: &Call) -> Result<ExitCode, Cause> {
    let explanation: Explanation = match context.client.typed(call) {
        Ok(explanation) => explanation,
        Err(Cause::Answer(ErrorBody { gone: Some(_), .. })) => return context.show_entity(call),
        Err(cause) => return Err(cause),
    };
    for line in &explanation.text {
        context.renderer.text(&format!("{}\n", printable(line)))?;
    }
    context.renderer.flush()?;
    Ok(ExitCode::Done)
}

fn show(context: &mut Context, policy: &str) -> Result<ExitCode, Cause> {
    context.show(&Call::to(Operation::PolicyShow, &[&policy]))?;
    context.next(&format!("retentionctl plan make {policy} --wait"));
    Ok(ExitCode::Done)
}

fn check(context: &mut Context, dir: &Path) -> Result<ExitCode, Cause> {
    let files = read(dir)?;
    let found = match set_of(&files) {
        Ok(set) => {
            let failing = set.failing_examples();
            let outlived = set.copies_outlive_data();
            let doubts = outlived.into_iter().map(|(policy, keep)| outlives(&policy.id, keep, policy.retention.period));
            failing.iter().map(finding).chain(doubts).collect()
        }
        Err(problems) => problems.iter().map(finding).collect(),
    };
    findings(context, &Checked { findings: found })
}

fn outlives(policy: &str, keep: Period, period: Period) -> Finding {
    Finding {
        severity: Severity::Warning,
        file: format!("{policy}.toml"),
        line: None,
        column: None,
        message: format!("its bundles are kept for {keep}, longer than the data of which they hold copies ({period})"),
        hint: Some("make [export] keep shorter, unless a copy has to stay as proof for so long".to_owned()),
    }
}

/// What a new policy begins with; `NAME` stands for its name.
const TEMPLATE: &str = include_str!("new_policy.toml");

/// Writes a policy to start from, which is checked like any other before it is there.
fn new(context: &mut Context, name: &str, dir: &Path) -> Result<ExitCode, Cause> {
    let files = vec![(name.to_owned(), TEMPLATE.replace("NAME", name))];
    let problems = match set_of(&files) {
        Ok(set) => set.failing_examples(),
        Err(problems) => problems,
    };
    if !problems.is_empty() {
        return findings(context, &Checked { findings: problems.iter().map(finding).collect() });
    }
    let path = dir.join(format!("{name}.toml"));
    let unwritten = |source| Cause::File { path: path.clone(), doing: "written", source };
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(unwritten)?;
    for (_, text) in &files {
        file.write_all(text.as_bytes()).map_err(unwritten)?;
    }
    context.present(&json!({ "policy": name, "file": path }))?;
    context.next(&format!("retentionctl policy check {}", dir.display()));
    Ok(ExitCode::Done)
}

fn test(context: &mut Context, dir: &Path) -> Result<ExitCode, Cause> {
    let files = read(dir)?;
    let set = match set_of(&files) {
        Ok(set) => set,
        Err(problems) => return findings(context, &Checked { findings: problems.iter().map(finding).collect() }),
    };
    let (mut run, mut failed) = (0, 0);
    let mut list = context.renderer.list(TEST_COLUMNS);
    for policy in set.policies() {
        for outcome in policy.run_examples() {
            run += 1;
            failed += u64::from(!outcome.passed);
            list.row(&json!({
                "policy": policy.id,
                "number": outcome.number,
                "passed": outcome.passed,
                "expected": outcome.expected,
                "actual": outcome.actual,
            }))?;
        }
    }
    list.end()?;
    context.say(&format!("{run} tests, {failed} failed"));
    Ok(if failed == 0 { ExitCode::Done } else { ExitCode::Invalid })
}

fn diff(context: &mut Context, dir: &Path) -> Result<ExitCode, Cause> {
    let files = read(dir)?;
    // Files that are invalid in another way are refused by the daemon.
    let failing = set_of(&files).map(|set| set.failing_examples().len()).unwrap_or_default();
    let other = DiffPolicies {
        files: files.into_iter().map(|(stem, text)| PolicyFileText { name: format!("{stem}.toml"), text }).collect(),
    };
    context.list(&Call::to(Operation::PolicyDiff, &[]).with(&other), DIFF_COLUMNS)?;
    if failing == 0 {
        return Ok(ExitCode::Done);
    }
    let message = format!("the set would not be loaded as it is; examples that fail: {failing}");
    let hint = format!("retentionctl policy check {}", dir.display());
    Err(Cause::Answer(ErrorBody::saying(ErrorCode::PolicyInvalid, message).hint(hint)))
}

pub(super) fn finding(problem: &PolicyError) -> Finding {
    Finding {
        severity: Severity::Error,
        file: problem.file.clone(),
        line: Some(problem.line.into()),
        column: Some(problem.column.into()),
        message: problem.problem.to_string(),
        hint: None,
    }
}

pub(super) fn set_of(files: &[(String, String)]) -> Result<PolicySet, Vec<PolicyError>> {
    let files: Vec<PolicyFile<'_>> = files.iter().map(|(stem, text)| PolicyFile { stem, text }).collect();
    PolicySet::check(&files)
}

/// Reads the TOML files of a directory, in the order of their names, as the daemon does: what it would refuse is refused
/// here, so that nothing is checked and then not loaded.
pub(super) fn read(dir: &Path) -> Result<Vec<(String, String)>, Cause> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Cause::File { path, doing: "read", source }
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed(dir))? {
        let path = entry.map_err(failed(dir))?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let ending = path.extension().filter(|ending| ending.eq_ignore_ascii_case("toml"));
        let Some(ending) = ending.filter(|_| !is_hidden) else { continue };
        let refused =
            |problem: String| refuse(ErrorCode::PolicyInvalid, format!("policy file {} {problem}", path.display()));
        if ending != "toml" {
            return Err(refused("does not end with .toml in small letters".to_owned()));
        }
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else {
            return Err(refused("has a name that is not UTF-8".to_owned()));
        };
        // A pipe would never end, and is not opened.
        if !std::fs::metadata(&path).map_err(failed(&path))?.is_file() {
            return Err(refused("is not a file".to_owned()));
        }
        let bytes = super::files::read_bounded(&path, FILE_BYTES_MAX as u64 + 1)?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(refused(format!("is larger than {FILE_BYTES_MAX} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            refused(format!("is not UTF-8: line {line} is the first that is not; save it as UTF-8"))
        })?;
        files.push((stem.to_owned(), text));
        if files.len() > FILES_MAX {
            let message = format!("{} holds more than {FILES_MAX} policy files", dir.display());
            return Err(refuse(ErrorCode::PolicyInvalid, message));
        }
    }
    files.sort_unstable();
    Ok(files)
}

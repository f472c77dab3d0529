//! The canonical form of a policy: one text for every spelling of the same rule, whose SHA-256 names the rule.
//!
//! Lines of `key=value` in a fixed order, strings in JSON notation, defaults written out. A setting that is absent has
//! no line, so that a later version with more settings gives an old file the same digest. Examples are left out:
//! they do not change what a policy does.

use std::fmt::Write as _;

use super::filter::{Comparison, Leaf, Side, Test, TextTest};
use super::{
    Access, AccessRight, Action, ActivityEvents, Approval, ApproverRole, Audience, CsvProfile, ExportFormat, Filter,
    Limits, Lock, OnMissed, OnMissingStart, Policy, Rate, RunAccess, Scope, State, Ticket, Timing, Trigger, start_name,
};
use crate::record::redact::Treatment;
use crate::time::Align;

/// Returns the canonical form.
pub(super) fn of(policy: &Policy) -> String {
    let mut form = String::from("retentiond policy 1\n");
    head(&mut form, policy);
    if policy.access.is_none() {
        disposal(&mut form, policy);
    }
    approval(&mut form, policy.approval);
    if let Some(allowed) = &policy.access {
        access(&mut form, allowed);
    }
    if let Some(taken) = &policy.run_access {
        run_access(&mut form, taken);
    }
    form
}

fn disposal(form: &mut String, policy: &Policy) {
    form.push_str(&scope(&policy.scope));
    retention(form, policy);
    trigger(form, &policy.trigger);
    timing(form, &policy.timing);
    let limits = policy.limits;
    line(form, "limits.max_items", limits.max_items);
    line(form, "limits.max_percent", limits.max_percent);
    line(form, "limits.min_population", limits.min_population);
    line(form, "limits.keep_at_least", limits.keep_at_least);
    line(form, "limits.population_drop_percent", limits.population_drop_percent);
    // Files were named by their digest before there was this limit, and said nothing of it.
    if limits.max_drift_percent != Limits::STANDARD.max_drift_percent {
        line(form, "limits.max_drift_percent", limits.max_drift_percent);
    }
    if let Some(Rate { items, per_ms }) = limits.rate {
        line(form, "limits.rate", format!("{items}/{per_ms}ms"));
    }
    for format in &policy.export.formats {
        let name = match format {
            ExportFormat::Jsonl => "jsonl",
            ExportFormat::Csv => "csv",
            ExportFormat::Xlsx => "xlsx",
            ExportFormat::Eml => "eml",
            ExportFormat::Mbox => "mbox",
        };
        line(form, "export.format", name);
    }
    let profile = match policy.export.csv_profile {
        CsvProfile::Exact => "exact",
        CsvProfile::SpreadsheetSafe => "spreadsheet_safe",
    };
    line(form, "export.csv_profile", profile);
    if let Some(keep) = policy.export.keep {
        line(form, "export.keep", keep);
    }
    for recipient in &policy.export.encrypt_to {
        line(form, "export.encrypt_to", recipient);
    }
    form.push_str(&action(&policy.action));
}

fn access(form: &mut String, access: &Access) {
    line(form, "access.right", right(access.right));
    for principal in &access.principals {
        line(form, "access.principal", quoted(principal));
    }
    line(form, "access.max_ms", access.max_ms);
    let ticket = match access.ticket {
        Ticket::Required => "required",
        Ticket::Optional => "optional",
    };
    line(form, "access.ticket", ticket);
    line(form, "access.alarm_after_ms", access.alarm_after_ms);
    if let Some(standing) = &access.standing {
        line(form, "access.standing_ms", standing.longest_ms);
        for principal in &standing.keep {
            line(form, "access.keep_standing", quoted(principal));
        }
    }
}

fn run_access(form: &mut String, access: &RunAccess) {
    line(form, "run_access.right", right(access.right));
    line(form, "run_access.principal", quoted(&access.principal));
    line(form, "run_access.max_ms", access.max_ms);
    line(form, "run_access.alarm_after_ms", access.alarm_after_ms);
}

fn right(right: AccessRight) -> &'static str {
    match right {
        AccessRight::FullAccess => "full_access",
    }
}

fn line(form: &mut String, key: &str, value: impl std::fmt::Display) {
    let _ = writeln!(form, "{key}={value}");
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn head(form: &mut String, policy: &Policy) {
    line(form, "policy.id", quoted(&policy.id));
    for (key, text) in [
        ("policy.title", &policy.title),
        ("policy.owner", &policy.owner),
        ("policy.legal_basis", &policy.legal_basis),
        ("policy.citation", &policy.citation),
        ("policy.data_class", &policy.data_class),
    ] {
        if !text.is_empty() {
            line(form, key, quoted(text));
        }
    }
    let state = match policy.state {
        State::Draft => "draft",
        State::Simulate => "simulate",
        State::Enforce => "enforce",
    };
    line(form, "policy.state", state);
    if policy.lock == Lock::Ratchet {
        line(form, "policy.lock", "ratchet");
    }
}

/// Returns the lines of a scope: equal for two policies exactly when they are about the same entities by name.
pub(super) fn scope(scope: &Scope) -> String {
    let mut form = String::new();
    for source in &scope.sources {
        line(&mut form, "scope.source", quoted(source));
    }
    for kind in &scope.kinds {
        line(&mut form, "scope.kind", kind);
    }
    match scope.audience {
        Audience::All => {}
        Audience::Private => line(&mut form, "scope.visibility", "private"),
        Audience::Shared => line(&mut form, "scope.visibility", "shared"),
    }
    if let Some(tree) = &scope.filter {
        line(&mut form, "scope.where", filter(tree));
    }
    form
}

fn retention(form: &mut String, policy: &Policy) {
    let retention = &policy.retention;
    line(form, "retention.period", retention.period);
    line(form, "retention.start", start_name(&retention.start));
    activity_events(form, "retention.activity_event", policy);
    if retention.align != Align::None {
        line(form, "retention.align", align(retention.align));
    }
    match &retention.on_missing_start {
        OnMissingStart::Keep => {}
        OnMissingStart::Fallback(start) => line(form, "retention.fallback", start_name(start)),
        OnMissingStart::Review => line(form, "retention.on_missing_start", "review"),
    }
    line(form, "retention.timezone", &retention.zone);
    if let Some(tree) = &retention.suspend_while {
        line(form, "retention.suspend_while", filter(tree));
    }
    if let Some(min_keep) = retention.min_keep {
        line(form, "retention.min_keep", min_keep);
    }
    if let Some(max_keep) = retention.max_keep {
        line(form, "retention.max_keep", max_keep);
    }
    for part in &retention.overrides {
        let (filter, start) = (filter(&part.filter), start_name(&part.start));
        line(form, "retention.override", format!("{filter} {} {start} {}", part.period, align(part.align)));
    }
    if let Some(from) = retention.applies_from {
        line(form, "retention.applies_from", from);
    }
}

fn activity_events(form: &mut String, key: &str, policy: &Policy) {
    for class in policy.retention.activity_events.iter().flat_map(ActivityEvents::classes) {
        line(form, key, class);
    }
}

fn align(align: Align) -> String {
    match align {
        Align::None => "none".to_owned(),
        Align::EndOfMonth => "end_of_month".to_owned(),
        Align::EndOfYear => "end_of_year".to_owned(),
        Align::EndOfFiscalYear { first_month } => format!("end_of_fiscal_year {first_month}"),
    }
}

fn timing(form: &mut String, timing: &Timing) {
    for blackout in &timing.blackout {
        line(form, "schedule.blackout", format!("{blackout} {}", timing.zone));
    }
    if timing.jitter_ms > 0 {
        line(form, "schedule.jitter_ms", timing.jitter_ms);
    }
    if let Some(ms) = timing.max_runtime_ms {
        line(form, "schedule.max_runtime_ms", ms);
    }
}

/// Returns the lines of what says when something is due, but for the lengths.
pub(super) fn course(policy: &Policy) -> String {
    let mut form = String::new();
    let retention = &policy.retention;
    line(&mut form, "start", start_name(&retention.start));
    // More classes move a start on, and fewer leave some without a start, which keeps: neither is safer as such.
    activity_events(&mut form, "activity_event", policy);
    line(&mut form, "align", align(retention.align));
    line(&mut form, "timezone", &retention.zone);
    if let Some(tree) = &retention.suspend_while {
        line(&mut form, "suspend_while", filter(tree));
    }
    for part in &retention.overrides {
        let (filter, start) = (filter(&part.filter), start_name(&part.start));
        line(&mut form, "override", format!("{filter} {start} {}", align(part.align)));
    }
    if let Some(from) = retention.applies_from {
        line(&mut form, "applies_from", from);
    }
    form
}

fn trigger(form: &mut String, trigger: &Trigger) {
    let Trigger::Cron { schedule, on_missed } = trigger else {
        line(form, "schedule.cron", "on_demand");
        return;
    };
    line(form, "schedule.cron", schedule.text());
    line(form, "schedule.timezone", schedule.zone());
    let on_missed = match on_missed {
        OnMissed::RunOnce => "run_once",
        OnMissed::Skip => "skip",
        OnMissed::AlarmOnly => "alarm_only",
    };
    line(form, "schedule.on_missed", on_missed);
}

/// Returns the lines of an action.
pub(super) fn action(action: &Action) -> String {
    match action {
        Action::Purge { quarantine } => format!("action.kind=purge\naction.quarantine={quarantine}\n"),
        Action::Review { quarantine } => format!("action.kind=review\naction.quarantine={quarantine}\n"),
        Action::Restrict => "action.kind=restrict\n".to_owned(),
        Action::Redact { quarantine, fields } => {
            let mut form = format!("action.kind=redact\naction.quarantine={quarantine}\n");
            for (field, treatment) in fields.iter() {
                let treatment = match treatment {
                    Treatment::Kept => "keep".to_owned(),
                    Treatment::Removed => "remove".to_owned(),
                    Treatment::Replaced(text) => format!("replace {}", quoted(text)),
                };
                line(&mut form, "action.field", format!("{} {treatment}", quoted(field)));
            }
            form
        }
    }
}

fn approval(form: &mut String, approval: Approval) {
    match approval {
        Approval::NotRequired => line(form, "approval.required", false),
        Approval::Required { count, role, valid_for_ms } => {
            line(form, "approval.count", count);
            let role = match role {
                ApproverRole::Approver => "approver",
                ApproverRole::Admin => "admin",
            };
            line(form, "approval.role", role);
            line(form, "approval.valid_for_ms", valid_for_ms);
        }
    }
}

fn filter(tree: &Filter) -> String {
    let list = |parts: &[Filter]| parts.iter().map(filter).collect::<Vec<_>>().join(" ");
    match tree {
        Filter::All(parts) => format!("(all {})", list(parts)),
        Filter::Any(parts) => format!("(any {})", list(parts)),
        Filter::Not(part) => format!("(not {})", filter(part)),
        Filter::Leaf(leaf) => self::leaf(leaf),
    }
}

fn leaf(leaf: &Leaf) -> String {
    let field = quoted(&leaf.field);
    match &leaf.test {
        Test::Exists => format!("({field} exists)"),
        Test::Absent => format!("({field} absent)"),
        Test::Text(test) => format!("({field} {})", text_test(test)),
        Test::AllOf(test) => format!("({field} all_of {})", text_test(test)),
        Test::Number(comparison, number) | Test::Money(comparison, number) => {
            let op = match comparison {
                Comparison::Eq => "eq",
                Comparison::Ne => "ne",
                Comparison::Lt => "lt",
                Comparison::Le => "le",
                Comparison::Gt => "gt",
                Comparison::Ge => "ge",
            };
            format!("({field} {op} {number})")
        }
        Test::Boolean(wanted) => format!("({field} is {wanted})"),
        Test::Date(Side::Before, at) => format!("({field} before {at})"),
        Test::Date(Side::After, at) => format!("({field} after {at})"),
    }
}

fn text_test(test: &TextTest) -> String {
    let set = |set: &[String]| set.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(",");
    match test {
        TextTest::Eq(text) => format!("eq {}", quoted(text)),
        TextTest::Ne(text) => format!("ne {}", quoted(text)),
        TextTest::In(texts) => format!("in {}", set(texts)),
        TextTest::NotIn(texts) => format!("not_in {}", set(texts)),
        TextTest::Prefix(text) => format!("prefix {}", quoted(text)),
        TextTest::Suffix(text) => format!("suffix {}", quoted(text)),
        TextTest::Contains(text) => format!("contains {}", quoted(text)),
        TextTest::Glob(pattern, _) => format!("glob {}", quoted(pattern)),
        TextTest::Matches(pattern, _) => format!("matches {}", quoted(pattern)),
    }
}

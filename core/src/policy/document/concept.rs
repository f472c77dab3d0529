//! The deletion concept after DIN 66398: data classes by standard period and start, and the rule of each policy.

use std::collections::BTreeMap;

use super::filter::in_words;
use super::words::{approval, counted_from, elapsed, formats, one_of, quarantine, start_kind, state, trigger};
use super::write::{Csv, Markdown};
use super::{TO_FILL_IN, by_class, is_in_force, rule, said};
use crate::policy::{Action, Lock, Policy, PolicySet};
use crate::reason::StartKind;
use crate::record::redact::Treatment;
use crate::time::{Align, Period, Timestamp, Zone};

/// More standard periods than this are hard to keep to (DIN 66398 wants few).
const PERIODS_WANTED_MAX: usize = 10;

/// A period with its start: that of a policy, or that of a part of its scope.
struct Rule<'a> {
    policy: &'a Policy,
    /// For which part; `None` for what no part is.
    part: Option<String>,
    period: Period,
    start: &'a StartKind,
    align: Align,
}

/// Returns the rules of a policy: first those of the parts, because the first that matches holds.
fn rules(policy: &Policy) -> Vec<Rule<'_>> {
    let retention = &policy.retention;
    let parts = retention.overrides.iter().map(|part| Rule {
        policy,
        part: Some(in_words(&part.filter, &retention.zone)),
        period: part.period,
        start: &part.start,
        align: part.align,
    });
    let (period, start, align) = (retention.period, &retention.start, retention.align);
    parts.chain([Rule { policy, part: None, period, start, align }]).collect()
}

pub(super) fn markdown(set: &PolicySet) -> String {
    let mut page = Markdown::titled(
        "Deletion concept (DIN 66398)",
        "Made from retention policies. A data class is deleted by the rule of its policies: a standard period and the start from \
         which it counts. Keeping beats deleting: legal holds, restrictions of use and the minimum of any enforced policy come first.",
    );
    let classes = by_class(set);
    matrix(&mut page, &classes);
    for (class, policies) in &classes {
        page.heading(2, &format!("Data class {}", said(class)));
        for policy in policies {
            page.heading(3, &format!("{}: {}", policy.id, state(policy.state)));
            page.table(["rule", "content"], entries(policy).map(|(name, content)| [name.to_owned(), content]));
        }
    }
    uncovered(&mut page, &classes);
    access(&mut page, set);
    page.versions(set);
    page.foot(set)
}

/// Writes standard periods by starts, with the data classes in the cells.
fn matrix(page: &mut Markdown, classes: &BTreeMap<&str, Vec<&Policy>>) {
    page.heading(2, "Standard periods and starts");
    let mut starts: Vec<String> = Vec::new();
    let mut rows: BTreeMap<(Timestamp, String), BTreeMap<String, Vec<String>>> = BTreeMap::new();
    // The end of use is not the end.
    let disposing = classes.values().flatten().filter(|policy| policy.action != Action::Restrict);
    for rule in disposing.flat_map(|policy| rules(policy)) {
        let start = start_kind(rule.start, rule.align);
        // Periods are ordered by when they end after 1970, and shown once for each way of writing them.
        let ends_at = rule.period.due_at(Timestamp(0), Align::None, &Zone::utc());
        let cells = rows.entry((ends_at, rule.period.in_words())).or_default();
        let of_part = if rule.part.is_some() { ", a part" } else { "" };
        let mark = if is_in_force(rule.policy) { "" } else { ", not in force" };
        let class = said(&rule.policy.data_class);
        cells.entry(start.clone()).or_default().push(format!("{class} ({}{of_part}{mark})", rule.policy.id));
        starts.push(start);
    }
    if rows.is_empty() {
        page.paragraph("No policy disposes of anything.");
        return;
    }
    starts.sort_unstable();
    starts.dedup();
    let header: Vec<String> = std::iter::once("standard period".to_owned()).chain(starts.iter().cloned()).collect();
    let line = |((_, period), cells): (&(Timestamp, String), &BTreeMap<String, Vec<String>>)| {
        let cell = |start: &String| cells.get(start).map_or_else(String::new, |classes| classes.join("; "));
        std::iter::once(period.clone()).chain(starts.iter().map(cell)).collect()
    };
    page.wide_table(&header, rows.iter().map(line));
    if rows.len() > PERIODS_WANTED_MAX {
        page.paragraph(&format!(
            "These are {} standard periods: a concept with fewer is easier to keep to.",
            rows.len()
        ));
    }
}

/// Returns what the concept says of a policy, line by line.
fn entries(policy: &Policy) -> [(&'static str, String); 17] {
    let none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    let parts = rule::parts(policy);
    [
        ("title", said(&policy.title).to_owned()),
        ("records", rule::scope(policy)),
        ("standard period", rule::standard(policy)),
        ("other periods for parts", if parts.is_empty() { "none".to_owned() } else { parts.join("; ") }),
        ("minimum", none(rule::minimum(policy))),
        ("latest end", none(rule::maximum(policy))),
        ("suspension", none(rule::suspension(policy))),
        ("applies", rule::applies_from(policy).unwrap_or_else(|| "to all of them".to_owned())),
        ("without the date of the start", rule::missing_start(policy)),
        ("days are counted in", policy.retention.zone.to_string()),
        ("disposition", disposition(policy)),
        ("quarantine", none(quarantine(policy))),
        ("how long exports are kept", exports(policy)),
        ("schedule", schedule(policy)),
        ("approval", approval(policy.approval)),
        ("lock", lock(policy).to_owned()),
        ("basis", basis(policy)),
    ]
}

fn exports(policy: &Policy) -> String {
    match policy.export.keep {
        _ if policy.action == Action::Restrict => "nothing is exported".to_owned(),
        Some(keep) => format!("{}, then they are destroyed", keep.in_words()),
        None => TO_FILL_IN.to_owned(),
    }
}

fn disposition(policy: &Policy) -> String {
    let done = done(policy);
    match &policy.run_access {
        Some(access) => format!(
            "{done}; while a run works in a mailbox, {} has full access to it, for at most {} each time, then taken back",
            access.principal,
            elapsed(access.max_ms)
        ),
        None => done,
    }
}

fn done(policy: &Policy) -> String {
    match &policy.action {
        Action::Purge { .. } => format!("export ({}), verified by reading back; then purge", formats(&policy.export)),
        Action::Review { .. } => format!(
            "a person decides item by item; of what is to go: export ({}), verified by reading back; then purge",
            formats(&policy.export)
        ),
        Action::Restrict => "the use ends: it is kept, and not shown any more".to_owned(),
        Action::Redact { fields, .. } => {
            let out = fields.iter().filter(|(_, treatment)| **treatment != Treatment::Kept).map(|(field, _)| field);
            let out = out.collect::<Vec<_>>().join(", ");
            let export = formats(&policy.export);
            format!("export ({export}), verified by reading back; then redact: {out} are taken out, the rest stays")
        }
    }
}

fn schedule(policy: &Policy) -> String {
    let mut text = trigger(&policy.trigger);
    let timing = &policy.timing;
    if !timing.blackout.is_empty() {
        let hours: Vec<String> = timing.blackout.iter().map(ToString::to_string).collect();
        text.push_str(&format!("; waits during {} ({})", hours.join(", "), timing.zone));
    }
    if timing.jitter_ms > 0 {
        text.push_str(&format!("; begins up to {} later", elapsed(timing.jitter_ms)));
    }
    if let Some(ms) = timing.max_runtime_ms {
        text.push_str(&format!("; takes up no more after {}", elapsed(ms)));
    }
    text
}

fn lock(policy: &Policy) -> &'static str {
    match policy.lock {
        Lock::None => "none",
        Lock::Ratchet => "it can only be made to keep more, and longer",
    }
}

fn basis(policy: &Policy) -> String {
    let (law, citation, owner) = (said(&policy.legal_basis), said(&policy.citation), said(&policy.owner));
    format!("{law}; citation: {citation}; owner: {owner}")
}

/// Names the data classes of which no enforced policy disposes: nothing of them is ever deleted.
fn uncovered(page: &mut Markdown, classes: &BTreeMap<&str, Vec<&Policy>>) {
    page.heading(2, "Data classes without an enforced policy");
    let open: Vec<String> = classes.iter().filter_map(|(class, policies)| open_class(class, policies)).collect();
    if open.is_empty() {
        page.paragraph("None of those that the policies name. What no policy is about is kept.");
    } else {
        page.paragraph("Nothing of these is deleted as things stand:");
        page.list(open.into_iter().map(|class| format!("data class {class}")));
    }
}

/// Returns a data class of which nothing is deleted. The end of use is not the end.
fn open_class(class: &str, policies: &[&Policy]) -> Option<String> {
    let in_force = || policies.iter().filter(|policy| is_in_force(policy));
    if in_force().next().is_none() {
        return Some(said(class).to_owned());
    }
    let only_ends_use = in_force().all(|policy| policy.action == Action::Restrict);
    only_ends_use.then(|| format!("{}, of which only the use ends", said(class)))
}

fn access(page: &mut Markdown, set: &PolicySet) {
    let giving = set.policies().iter().filter(|policy| policy.access.is_some());
    let lines: Vec<String> =
        giving.map(|policy| format!("{}: {} ({})", policy.id, said(&policy.title), state(policy.state))).collect();
    if !lines.is_empty() {
        page.heading(2, "Policies that dispose of nothing");
        page.paragraph("They give access to mailboxes for a time:");
        page.list(lines);
    }
}

const COLUMNS: [&str; 22] = [
    "data_class",
    "class_in_force",
    "policy",
    "title",
    "state",
    "part",
    "records",
    "period",
    "period_in_words",
    "start",
    "counted_from",
    "min_keep",
    "max_keep",
    "suspension",
    "applies",
    "missing_start",
    "timezone",
    "disposition",
    "quarantine",
    "schedule",
    "approval",
    "basis",
];

pub(super) fn csv(set: &PolicySet) -> String {
    let mut file = Csv::with_header(set, COLUMNS);
    for policies in by_class(set).values() {
        let in_force = policies.iter().any(|policy| is_in_force(policy));
        for rule in policies.iter().flat_map(|policy| rules(policy)) {
            file.row(rule.policy, cells(&rule, in_force));
        }
    }
    file.text()
}

fn cells(rule: &Rule<'_>, class_in_force: bool) -> [String; 22] {
    let Rule { policy, part, period, start, align } = rule;
    let retention = &policy.retention;
    let written = |period: Option<Period>| period.map(|period| period.to_string()).unwrap_or_default();
    [
        said(&policy.data_class).to_owned(),
        if class_in_force { "yes" } else { "no" }.to_owned(),
        policy.id.clone(),
        said(&policy.title).to_owned(),
        state(policy.state).to_owned(),
        part.clone().unwrap_or_default(),
        rule::scope(policy),
        period.to_string(),
        period.in_words(),
        start_kind(start, *align),
        match rule::activities(policy).filter(|_| **start == StartKind::LastActivity) {
            Some(activities) => format!("{} ({activities})", counted_from(*period, start, *align, one_of(policy))),
            None => counted_from(*period, start, *align, one_of(policy)),
        },
        written(retention.min_keep),
        written(retention.max_keep),
        rule::suspension(policy).unwrap_or_default(),
        rule::applies_from(policy).unwrap_or_default(),
        rule::missing_start(policy),
        retention.zone.to_string(),
        disposition(policy),
        quarantine(policy).unwrap_or_default(),
        schedule(policy),
        approval(policy.approval),
        basis(policy),
    ]
}

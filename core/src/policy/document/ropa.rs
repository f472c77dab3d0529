//! The record of processing activities (GDPR Art. 30(1)).

use super::words::{approval, elapsed, formats, kinds, number, quarantine, state};
use super::write::{Csv, Markdown};
use super::{TO_FILL_IN, rule, said};
use crate::policy::{Access, Action, Policy, PolicySet, Ticket};

/// One entry: where the law asks for it, what it is called, the column of the CSV, and what it says.
struct Entry {
    letter: &'static str,
    title: &'static str,
    column: &'static str,
    content: fn(&Policy) -> String,
}

const fn entry(
    letter: &'static str,
    title: &'static str,
    column: &'static str,
    content: fn(&Policy) -> String,
) -> Entry {
    Entry { letter, title, column, content }
}

fn open(_: &Policy) -> String {
    TO_FILL_IN.to_owned()
}

/// The entries, in the order of the law; those that it does not ask for have no letter.
const ENTRIES: [Entry; 15] = [
    entry("", "policy", "policy", |policy| policy.id.clone()),
    entry("", "state", "state", |policy| state(policy.state).to_owned()),
    entry("", "data class", "data_class", |policy| said(&policy.data_class).to_owned()),
    entry("(b)", "processing", "processing", |policy| said(&policy.title).to_owned()),
    entry("(b)", "purposes", "purposes", open),
    entry("(c)", "categories of data subjects", "data_subjects", open),
    entry("(c)", "kinds of records", "records", |policy| match policy.access {
        Some(_) => "permissions on mailboxes".to_owned(),
        None => rule::scope(policy),
    }),
    entry("(d)", "categories of recipients", "recipients", open),
    entry("(e)", "transfers to third countries", "third_countries", open),
    entry("(f)", "time limits for erasure", "time_limits", |policy| match &policy.access {
        Some(access) => access_limits(access),
        None => rule::time_limits(policy),
    }),
    entry("(g)", "security measures of this program", "security_measures", |policy| measures(policy).join("; ")),
    entry("(g)", "other security measures", "other_security_measures", open),
    entry("", "legal basis", "legal_basis", |policy| said(&policy.legal_basis).to_owned()),
    entry("", "citation", "citation", |policy| said(&policy.citation).to_owned()),
    entry("", "owner", "owner", |policy| said(&policy.owner).to_owned()),
];

pub(super) fn markdown(set: &PolicySet) -> String {
    let mut page = Markdown::titled(
        "Record of processing activities (GDPR Art. 30(1))",
        "Made from retention policies: it has what they say. One table for each policy. What they do not say is left open.",
    );
    page.heading(2, "Controller");
    let asked =
        ["name and contact details of the controller", "joint controller", "representative", "data protection officer"];
    page.table(["Art. 30(1)", "entry", "content"], asked.map(|entry| ["(a)", entry, TO_FILL_IN].map(str::to_owned)));
    for policy in set.policies() {
        let title = if policy.title.trim().is_empty() { &policy.id } else { &policy.title };
        page.heading(2, title);
        let row = |entry: &Entry| [entry.letter.to_owned(), entry.title.to_owned(), (entry.content)(policy)];
        page.table(["Art. 30(1)", "entry", "content"], ENTRIES.iter().map(row));
    }
    page.versions(set);
    page.foot(set)
}

pub(super) fn csv(set: &PolicySet) -> String {
    let mut file = Csv::with_header(set, ENTRIES.each_ref().map(|entry| entry.column));
    for policy in set.policies() {
        file.row(policy, ENTRIES.each_ref().map(|entry| (entry.content)(policy)));
    }
    file.text()
}

fn access_limits(access: &Access) -> String {
    let mut text = format!("access for at most {}, renewals included; then taken back", elapsed(access.max_ms));
    if let Some(standing) = &access.standing {
        let longest = elapsed(standing.longest_ms);
        text.push_str(&format!("; access that stands without a grant is taken back {longest} after it was first seen"));
        if !standing.keep.is_empty() {
            text.push_str(&format!(", but for {}", number(standing.keep.len() as u64, "principal")));
        }
    }
    text
}

/// Returns what this program does for the security of what a policy is about.
fn measures(policy: &Policy) -> Vec<String> {
    let mut measures = match &policy.access {
        Some(access) => access_measures(access),
        None => disposal_measures(policy),
    };
    measures.push(approval(policy.approval));
    measures.push("every step is an event in a log with signed checkpoints".to_owned());
    measures
}

fn access_measures(access: &Access) -> Vec<String> {
    let mut measures = vec![format!(
        "given to nobody but {} that the policy names",
        number(access.principals.len() as u64, "principal")
    )];
    match access.ticket {
        Ticket::Required => measures.push("a reason and a ticket are required".to_owned()),
        Ticket::Optional => measures.push("a reason is required".to_owned()),
    }
    let alarm_after = elapsed(access.alarm_after_ms);
    measures.push("what was taken back is verified by a new login".to_owned());
    measures.push(format!("an alarm when access is still there {alarm_after} after its end"));
    measures
}

fn disposal_measures(policy: &Policy) -> Vec<String> {
    let about = kinds(policy);
    let mut measures = match policy.action {
        Action::Restrict => vec![format!("what is stored of {about} is sealed under keys of its own")],
        Action::Purge { .. } | Action::Review { .. } | Action::Redact { .. } => vec![
            format!("what is stored of {about} is sealed under keys that are destroyed by the purge"),
            format!("no purge without an export ({}) that was counted, hashed and read back", formats(&policy.export)),
        ],
    };
    if let Some(length) = quarantine(policy) {
        measures.push(format!("a quarantine of {length}"));
    }
    if let Some(access) = &policy.run_access {
        measures.push(format!(
            "full access to a mailbox, given to one principal that the policy names while a run works there, for at most {} each \
             time; then taken back, and verified by a new login",
            elapsed(access.max_ms)
        ));
    }
    let limits = policy.limits;
    measures.push(format!(
        "a run of more than {} items or {} % stops before it begins",
        limits.max_items, limits.max_percent
    ));
    measures.push("legal holds and restrictions of use keep from every purge".to_owned());
    measures
}

//! What a privacy notice says about storage, in plain words. Whatever could name a person stays out of it.

use super::rule::activities;
use super::words::{counted, day_of, kinds, one_of, quarantine};
use super::write::{Csv, Markdown, escaped};
use super::{TO_FILL_IN, by_class, is_in_force, said};
use crate::policy::{Action, Audience, OnMissingStart, Policy, PolicySet};
use crate::reason::StartKind;
use crate::time::{Period, Zone};

pub(super) fn markdown(set: &PolicySet) -> String {
    let mut page = Markdown::titled(
        "How long we keep your data",
        "This page says how long we keep data about you, from which day on we count, and why. After that day the next deletion run \
         deletes it. We keep it longer while a court, an authority or a legal dispute needs it, while you asked us to restrict its \
         use, or while another rule that keeps longer is about it.",
    );
    for (class, policies) in by_class(set) {
        let in_force: Vec<&Policy> = policies.into_iter().filter(|policy| is_in_force(policy)).collect();
        if !in_force.is_empty() {
            page.heading(2, said(class));
            in_force.iter().for_each(|policy| paragraphs(&mut page, policy));
        }
    }
    let waiting: Vec<&Policy> = by_class(set).into_values().flatten().filter(|policy| !is_in_force(policy)).collect();
    if !waiting.is_empty() {
        page.heading(2, "Not in force");
        page.paragraph("**Not for publication:** nothing is deleted by these rules yet.");
        waiting.iter().for_each(|policy| paragraphs(&mut page, policy));
    }
    page.foot(set)
}

fn paragraphs(page: &mut Markdown, policy: &Policy) {
    page.heading(3, if policy.title.trim().is_empty() { said(&policy.data_class) } else { &policy.title });
    let parts = [
        ("What this is about", about(policy)),
        (
            if policy.action == Action::Restrict { "How long we use it" } else { "How long we keep it" },
            how_long(policy),
        ),
        ("Why", basis(policy)),
        ("What happens then", afterwards(policy)),
    ];
    for (name, text) in parts {
        page.paragraph(&format!("**{name}:** {}", escaped(&text)));
    }
}

fn about(policy: &Policy) -> String {
    let mut text = format!("{}, as far as they are about you", kinds(policy));
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let scope = &policy.scope;
    if scope.filter.is_some() || !scope.sources.is_empty() || scope.audience != Audience::All {
        text.push_str(&format!(" and meet this condition: {TO_FILL_IN}"));
    }
    text.push('.');
    text
}

fn how_long(policy: &Policy) -> String {
    let retention = &policy.retention;
    let one = one_of(policy);
    let mut text = format!("{}.", counted(retention.period, &retention.start, retention.align, one));
    if let Some(activities) = activities(policy) {
        text.push_str(&format!(" There, {activities}."));
    }
    for part in &retention.overrides {
        let other = counted(part.period, &part.start, part.align, one);
        text.push_str(&format!(" For a part of them, {TO_FILL_IN}, it is {other}."));
    }
    // A minimum that is the period itself says nothing new, unless a part has a shorter one.
    let says_more = |keep: &Period| *keep != retention.period || !retention.overrides.is_empty();
    if let Some(keep) = retention.min_keep.filter(says_more) {
        text.push_str(&format!(" Never less than {} from then.", keep.in_words()));
    }
    if let Some(keep) = retention.max_keep {
        text.push_str(&format!(
            " However often that day moves, no longer than {} after it was created.",
            keep.in_words()
        ));
    }
    if retention.suspend_while.is_some() {
        text.push_str(&format!(" The time does not run out while this is so: {TO_FILL_IN}."));
    }
    if let Some(from) = retention.applies_from {
        text.push_str(&format!(" This holds for what started on {} or later.", Zone::utc().civil(from).date()));
    }
    text.push_str(&match &retention.on_missing_start {
        OnMissingStart::Keep => " Where we do not know that day, we keep it.".to_owned(),
        OnMissingStart::Review => " Where we do not know that day, somebody decides.".to_owned(),
        OnMissingStart::Fallback(start) => {
            // When it was first seen is always known.
            let known = *start == StartKind::FirstSeen;
            let otherwise = if known { "." } else { "; where we do not know that either, we keep it." };
            format!(" Where we do not know that day, we count from {}{otherwise}", day_of(start, one))
        }
    });
    text
}

fn basis(policy: &Policy) -> String {
    match policy.citation.trim() {
        "" => format!("{}.", said(&policy.legal_basis)),
        citation => format!("{} ({citation}).", said(&policy.legal_basis)),
    }
}

fn afterwards(policy: &Policy) -> String {
    let end = match &policy.action {
        Action::Restrict => {
            return format!(
                "We keep your data and do not show it any more. Who may use it then, and when it is deleted: {TO_FILL_IN}."
            );
        }
        Action::Redact { .. } => format!("take a part of your data out for good, and keep the rest: {TO_FILL_IN}"),
        Action::Review { .. } => "delete for good what somebody has decided to delete".to_owned(),
        Action::Purge { .. } => "delete your data for good".to_owned(),
    };
    let copy = match policy.export.keep {
        Some(keep) => format!("We write a copy and check it. The copy is destroyed {} later.", keep.in_words()),
        None => format!("We write a copy and check it. How long we keep the copy: {TO_FILL_IN}."),
    };
    match quarantine(policy) {
        Some(length) => {
            format!("{copy} Then we hide your data for {length}, in case of a mistake, and after that we {end}.")
        }
        None => format!("{copy} Then we {end}."),
    }
}

pub(super) fn csv(set: &PolicySet) -> String {
    let header = ["data_class", "in_force", "policy", "title", "about", "how_long", "why", "what_happens_then"];
    let mut file = Csv::with_header(set, header);
    for policy in by_class(set).into_values().flatten() {
        let cells = [
            said(&policy.data_class).to_owned(),
            if is_in_force(policy) { "yes" } else { "no" }.to_owned(),
            policy.id.clone(),
            said(&policy.title).to_owned(),
            about(policy),
            how_long(policy),
            basis(policy),
            afterwards(policy),
        ];
        file.row(policy, cells);
    }
    file.text()
}

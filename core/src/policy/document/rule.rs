//! What a policy says about time, sentence by sentence: the record and the concept share it.

use super::filter::in_words;
use super::words::{counted, day_of, kinds, one_of, quarantine};
use crate::policy::{Action, Audience, OnMissingStart, Override, Policy};
use crate::reason::StartKind;
use crate::record::activity::ActivityClass;

/// Returns what the policy is about, with its filter.
pub(super) fn scope(policy: &Policy) -> String {
    let scope = &policy.scope;
    let mut text = kinds(policy);
    match scope.audience {
        Audience::All => {}
        Audience::Private => text.push_str(", only what its owner alone sees"),
        Audience::Shared => text.push_str(", only what a group shares"),
    }
    if !scope.sources.is_empty() {
        let sources: Vec<&str> = scope.sources.iter().map(String::as_str).collect();
        text.push_str(&format!(", from {}", sources.join(", ")));
    }
    match &scope.filter {
        Some(filter) => text.push_str(&format!(", where {}", in_words(filter, &policy.retention.zone))),
        None => text.push_str(", all of them"),
    }
    text
}

/// Returns the period of the policy itself.
pub(super) fn standard(policy: &Policy) -> String {
    let retention = &policy.retention;
    let standard = counted(retention.period, &retention.start, retention.align, one_of(policy));
    match activities(policy) {
        Some(activities) => format!("{standard} ({activities})"),
        None => standard,
    }
}

/// Returns which activities count, if not every one does.
pub(super) fn activities(policy: &Policy) -> Option<String> {
    let events = policy.retention.activity_events.as_ref()?;
    let mut named: Vec<String> = Vec::new();
    for class in events.classes() {
        let known = ActivityClass::KNOWN.iter().find(|(name, _)| *name == class.name());
        named.push(known.map_or_else(|| format!("“{class}”"), |(_, meaning)| (*meaning).to_owned()));
    }
    Some(format!("only this counts as an activity: {}; and what nobody can tell the class of", named.join("; ")))
}

/// Returns the period of each part that has another one, in the order in which the first that matches holds.
pub(super) fn parts(policy: &Policy) -> Vec<String> {
    let one = one_of(policy);
    let part = |part: &Override| {
        let filter = in_words(&part.filter, &policy.retention.zone);
        format!("where {filter}: {}", counted(part.period, &part.start, part.align, one))
    };
    policy.retention.overrides.iter().map(part).collect()
}

/// Returns how long no policy may dispose of it.
pub(super) fn minimum(policy: &Policy) -> Option<String> {
    let keep = policy.retention.min_keep?;
    Some(format!("not before {} have passed from the same start, whatever other policies say", keep.in_words()))
}

/// Returns when it is due, however often the start moves.
pub(super) fn maximum(policy: &Policy) -> Option<String> {
    let keep = policy.retention.max_keep?;
    let one = one_of(policy);
    Some(format!(
        "at the latest {} after the {one} was created, or, where nobody knows that, after it was first recorded",
        keep.in_words()
    ))
}

/// Returns while what nothing is due.
pub(super) fn suspension(policy: &Policy) -> Option<String> {
    policy
        .retention
        .suspend_while
        .as_ref()
        .map(|filter| format!("not while {}", in_words(filter, &policy.retention.zone)))
}

/// Returns what happens without the date of the start.
pub(super) fn missing_start(policy: &Policy) -> String {
    match &policy.retention.on_missing_start {
        OnMissingStart::Keep => "it is kept".to_owned(),
        OnMissingStart::Review => "it is kept until a person decides".to_owned(),
        OnMissingStart::Fallback(StartKind::FirstSeen) => {
            format!("{} counts", day_of(&StartKind::FirstSeen, one_of(policy)))
        }
        OnMissingStart::Fallback(start) => {
            format!("{} counts, and without that too it is kept", day_of(start, one_of(policy)))
        }
    }
}

/// Returns from which start on the policy applies.
pub(super) fn applies_from(policy: &Policy) -> Option<String> {
    policy.retention.applies_from.map(|from| format!("only where the period starts at {from} or later"))
}

/// Returns all of it as sentences.
pub(super) fn time_limits(policy: &Policy) -> String {
    let mut sentences = vec![standard(policy)];
    sentences.extend(parts(policy).into_iter().map(|part| format!("but {part}")));
    sentences
        .extend([minimum(policy), maximum(policy), suspension(policy), applies_from(policy)].into_iter().flatten());
    sentences.push(format!("without the date of the start, {}", missing_start(policy)));
    sentences.push(format!("days are counted in {}", policy.retention.zone));
    if matches!(policy.action, Action::Review { .. }) {
        sentences.push("then only what a person has decided to dispose of".to_owned());
    }
    let end = match &policy.action {
        Action::Restrict => None,
        Action::Redact { .. } => Some("without some of its fields, which are purged"),
        Action::Purge { .. } | Action::Review { .. } => Some("purged"),
    };
    sentences.push(match (end, quarantine(policy)) {
        (None, _) => "then kept, and not shown any more; nothing is purged by this policy".to_owned(),
        (Some(end), Some(length)) => format!("then hidden for {length}, in which it can be restored, and {end}"),
        (Some(end), None) => format!("then {end} without a quarantine"),
    });
    sentences.join("; ")
}

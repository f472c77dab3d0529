//! `lock = "ratchet"`: such a policy can be made to keep more and longer, and never less.
//!
//! Whether a filter or a course of dates keeps more than another one cannot be told from their text, so those must stay
//! as they are; what can be told is compared. To loosen such a policy its set has to be taken out of the store's hands
//! altogether, which nobody does by the way.

use super::error::{PolicyError, PolicyProblem};
use super::{Access, Action, Approval, Lock, OnMissingStart, Policy, PolicySet, RunAccess, State, Ticket, canonical};
use crate::time::Period;

impl PolicySet {
    /// Returns what this set would loosen of the locked policies of another that is active.
    #[must_use]
    pub fn loosened(&self, active: &Self) -> Vec<PolicyError> {
        let locked = active.policies().iter().filter(|policy| policy.lock == Lock::Ratchet);
        locked
            .flat_map(|before| match self.get(&before.id) {
                None => {
                    vec![problem(&before.id, "the policy", "is locked by `lock = \"ratchet\"` and cannot be removed")]
                }
                Some(after) => loosened(before, after)
                    .into_iter()
                    .map(|key| problem(&before.id, key, "is locked: it can only be made to keep more, or longer"))
                    .collect(),
            })
            .collect()
    }

    /// Returns by which keys an earlier version of a policy kept something from another policy, if nothing in this set keeps
    /// all of it as long: what those keys alone kept is newly due under the other one.
    #[must_use]
    pub fn unprotected(&self, before: &Policy, other: &Policy) -> Vec<&'static str> {
        match self.policies().iter().any(|now| now.protects_as(before)) {
            true => Vec::new(),
            false => before.protects_from(other),
        }
    }
}

impl Policy {
    /// Returns by which keys it keeps from another policy what that would dispose of. Whether any entity is in both scopes
    /// cannot be told from their filters.
    fn protects_from(&self, other: &Self) -> Vec<&'static str> {
        let (own, others) = (&self.scope, &other.scope);
        let may_meet = !own.kinds.is_disjoint(&others.kinds)
            && (own.sources.is_empty() || others.sources.is_empty() || !own.sources.is_disjoint(&others.sources));
        let disposes = |policy: &Self| policy.access.is_none();
        // A restriction destroys nothing, so nothing keeps from it. Its own minimum is part of what a policy says of itself.
        let is_bound = disposes(other) && other.action != Action::Restrict && other.id != self.id;
        if self.state != State::Enforce || !disposes(self) || !is_bound || !may_meet {
            return Vec::new();
        }
        let keys = [
            ("min_keep", self.retention.min_keep.is_some()),
            ("suspend_while", self.retention.suspend_while.is_some()),
        ];
        keys.into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| key).collect()
    }

    /// Says whether it keeps from others whatever another version, or another policy, keeps, and as long.
    fn protects_as(&self, before: &Self) -> bool {
        let (old, new) = (&before.retention, &self.retention);
        self.state == State::Enforce
            && self.access.is_none()
            && canonical::scope(&before.scope) == canonical::scope(&self.scope)
            && canonical::course(before) == canonical::course(self)
            && keeps_at_least(new.min_keep, old.min_keep)
            && missing_start_is_as_safe(&old.on_missing_start, &new.on_missing_start)
    }

    /// What says which entities a policy disposes of, how soon, and how much of them.
    const DISPOSES: [&str; 8] =
        ["[scope]", "[retention]", "period", "min_keep", "max_keep", "override", "on_missing_start", "[action]"];

    /// Returns what of this version may dispose of more than an earlier one, or sooner. Another filter and another course
    /// of dates may: whether they do cannot be told from their text.
    #[must_use]
    pub fn disposes_of_more_than(&self, before: &Self) -> Vec<&'static str> {
        loosened(before, self).into_iter().filter(|key| Self::DISPOSES.contains(key)).collect()
    }
}

fn keeps_bundles_as_long(before: Option<Period>, after: Option<Period>) -> bool {
    match (before, after) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(before), Some(after)) => after.is_at_least(before),
    }
}

fn problem(id: &str, key: &str, problem: &str) -> PolicyError {
    let problem = PolicyProblem::Value { key: key.to_owned(), problem: problem.to_owned() };
    PolicyError { file: format!("{id}.toml"), line: 1, column: 1, problem }
}

/// Returns what was made looser.
fn loosened(before: &Policy, after: &Policy) -> Vec<&'static str> {
    let (old, new) = (&before.retention, &after.retention);
    let checks = [
        ("lock", after.lock == Lock::Ratchet),
        ("state", before.state != State::Enforce || after.state == State::Enforce),
        ("[scope]", canonical::scope(&before.scope) == canonical::scope(&after.scope)),
        ("[retention]", canonical::course(before) == canonical::course(after)),
        ("period", new.period.is_at_least(old.period)),
        ("min_keep", keeps_at_least(new.min_keep, old.min_keep)),
        ("max_keep", max_is_later(old.max_keep, new.max_keep)),
        ("override", old.overrides.iter().zip(&new.overrides).all(|(old, new)| new.period.is_at_least(old.period))),
        ("on_missing_start", missing_start_is_as_safe(&old.on_missing_start, &new.on_missing_start)),
        ("keep", keeps_bundles_as_long(before.export.keep, after.export.keep)),
        // Keys are changed as people come and go; that bundles can be read without one is another thing.
        (
            "encrypt_to",
            before.export.encrypt_to.is_empty()
                || !after.export.encrypt_to.is_empty()
                || after.action == Action::Restrict,
        ),
        // A restriction takes nothing away, so it needs no time to be taken back.
        (
            "quarantine",
            after.action == Action::Restrict || after.action.quarantine().is_at_least(before.action.quarantine()),
        ),
        ("[action]", disposes_of_no_more(&before.action, &after.action)),
        ("[access]", gives_no_more(before.access.as_ref(), after.access.as_ref())),
        ("[access]", takes_no_more(before.run_access.as_ref(), after.run_access.as_ref())),
        ("[approval]", needs_as_many(before.approval, after.approval)),
        ("keep_at_least", after.limits.keep_at_least >= before.limits.keep_at_least),
        ("max_items", after.limits.max_items <= before.limits.max_items),
        ("max_percent", after.limits.max_percent <= before.limits.max_percent),
        ("min_population", after.limits.min_population <= before.limits.min_population),
        ("population_drop_percent", after.limits.population_drop_percent <= before.limits.population_drop_percent),
        ("max_drift_percent", after.limits.max_drift_percent <= before.limits.max_drift_percent),
    ];
    checks.into_iter().filter(|(_, holds)| !holds).map(|(key, _)| key).collect()
}

/// A missing start may come to keep; instead of another date a person may be asked.
fn missing_start_is_as_safe(old: &OnMissingStart, new: &OnMissingStart) -> bool {
    match (old, new) {
        (_, OnMissingStart::Keep) | (OnMissingStart::Fallback(_) | OnMissingStart::Review, OnMissingStart::Review) => {
            true
        }
        (OnMissingStart::Fallback(old), OnMissingStart::Fallback(new)) => old == new,
        (OnMissingStart::Keep, OnMissingStart::Fallback(_) | OnMissingStart::Review)
        | (OnMissingStart::Review, OnMissingStart::Fallback(_)) => false,
    }
}

/// A purge may become a redaction, and a redaction may take out less; a person may come to be asked; all may become a
/// restriction, which destroys nothing. Never the other way.
fn disposes_of_no_more(old: &Action, new: &Action) -> bool {
    match (old, new) {
        (Action::Purge { .. }, _) | (_, Action::Restrict) | (Action::Review { .. }, Action::Review { .. }) => true,
        (Action::Restrict, Action::Purge { .. } | Action::Review { .. } | Action::Redact { .. })
        | (Action::Redact { .. }, Action::Purge { .. } | Action::Review { .. })
        | (Action::Review { .. }, Action::Purge { .. } | Action::Redact { .. }) => false,
        (Action::Redact { fields: old, .. }, Action::Redact { fields: new, .. }) => new.is_within(old),
    }
}

/// Access may go, or become rarer and shorter. Which standing access is taken away must stay as it is.
fn gives_no_more(old: Option<&Access>, new: Option<&Access>) -> bool {
    match (old, new) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(old), Some(new)) => {
            new.principals.is_subset(&old.principals)
                && new.max_ms <= old.max_ms
                && new.alarm_after_ms <= old.alarm_after_ms
                && (new.ticket == old.ticket || new.ticket == Ticket::Required)
                && new.standing == old.standing
        }
    }
}

/// The access of runs may go, or become shorter. Another principal is another person's access.
fn takes_no_more(old: Option<&RunAccess>, new: Option<&RunAccess>) -> bool {
    match (old, new) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(old), Some(new)) => {
            new.right == old.right
                && new.principal == old.principal
                && new.max_ms <= old.max_ms
                && new.alarm_after_ms <= old.alarm_after_ms
        }
    }
}

fn keeps_at_least(new: Option<Period>, old: Option<Period>) -> bool {
    match (new, old) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(new), Some(old)) => new.is_at_least(old),
    }
}

/// A latest end may go, or move away, and never come.
fn max_is_later(old: Option<Period>, new: Option<Period>) -> bool {
    match (old, new) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(old), Some(new)) => new.is_at_least(old),
    }
}

fn needs_as_many(old: Approval, new: Approval) -> bool {
    match (old, new) {
        (Approval::NotRequired, _) => true,
        (Approval::Required { .. }, Approval::NotRequired) => false,
        (Approval::Required { count: old, role: was, .. }, Approval::Required { count: new, role: is, .. }) => {
            new >= old && (was == is || is == super::ApproverRole::Admin)
        }
    }
}

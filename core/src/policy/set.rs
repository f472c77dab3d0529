//! The policy set: all files together, all or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::{PolicyError, PolicyProblem};
use super::{Action, FILES_MAX, Policy, State, canonical, check};
use crate::event::decision::PolicyVersion;
use crate::event::subject::ERASURE_POLICY;
use crate::id::Digest;
use crate::time::Period;

/// One file of a set, as read.
#[derive(Debug, Clone, Copy)]
pub struct PolicyFile<'a> {
    /// Its name without `.toml`.
    pub stem: &'a str,
    /// Its content.
    pub text: &'a str,
}

/// The policies that are active together, ordered by id.
#[derive(Debug, Clone)]
pub struct PolicySet {
    policies: Vec<Arc<Policy>>,
    digest: Digest,
}

impl PolicySet {
    /// Checks all files together. Does not run their examples: see [`Self::failing_examples`].
    ///
    /// # Errors
    /// Returns every problem of every file; the order is that of the stems, then that of the files.
    pub fn check(files: &[PolicyFile<'_>]) -> Result<Self, Vec<PolicyError>> {
        if files.len() > FILES_MAX {
            let max = format!("{FILES_MAX} files");
            return Err(vec![at_start("policies", PolicyProblem::TooLarge { what: "the policy set", max })]);
        }
        let mut files = files.to_vec();
        files.sort_by_key(|file| file.stem);
        let (mut policies, mut errors, mut stems) = (Vec::new(), Vec::new(), BTreeSet::new());
        for file in files {
            if !stems.insert(file.stem) {
                let problem = "has the same id";
                errors.push(at_start(file.stem, PolicyProblem::Conflict { other: file.stem.to_owned(), problem }));
                continue;
            }
            if file.stem == ERASURE_POLICY {
                let problem = "is the name under which erasures for data subjects appear: give the file another one";
                let (key, problem) = (file.stem.to_owned(), problem.to_owned());
                errors.push(at_start(file.stem, PolicyProblem::Value { key, problem }));
                continue;
            }
            match check::policy(file.stem, file.text) {
                Ok(policy) => policies.push(Arc::new(policy)),
                Err(found) => errors.extend(found),
            }
        }
        errors.extend(conflicts(&policies));
        if errors.is_empty() { Ok(Self::of(policies)) } else { Err(errors) }
    }

    fn of(policies: Vec<Arc<Policy>>) -> Self {
        let mut form = String::from("retentiond policy set 1\n");
        for policy in &policies {
            form.push_str(&format!("{} {}\n", policy.id, policy.digest()));
        }
        Self { policies, digest: Digest::of(form.as_bytes()) }
    }

    /// A set without policies: everything is kept.
    #[must_use]
    pub fn empty() -> Self {
        Self::of(Vec::new())
    }

    /// Returns the policies, ordered by id.
    #[must_use]
    pub fn policies(&self) -> &[Arc<Policy>] {
        &self.policies
    }

    /// Returns a policy by id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Policy>> {
        self.policies.iter().find(|policy| policy.id == id)
    }

    /// Returns the SHA-256 over the ids and digests of all policies.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns ids and digests, ordered by id.
    #[must_use]
    pub fn versions(&self) -> Vec<PolicyVersion> {
        let version = |policy: &Arc<Policy>| PolicyVersion { id: policy.id.clone(), digest: policy.digest() };
        self.policies.iter().map(version).collect()
    }

    /// Runs the examples of all policies and returns those that fail, as problems of their files.
    #[must_use]
    pub fn failing_examples(&self) -> Vec<PolicyError> {
        self.policies.iter().flat_map(|policy| policy.failing_examples()).collect()
    }

    /// Returns the policies whose bundles keep a copy of what is disposed of for longer than the data itself was kept,
    /// wherever in their scope it was, with how long. It can be meant, as proof; mostly it is a slip.
    #[must_use]
    pub fn copies_outlive_data(&self) -> Vec<(&Policy, Period)> {
        let outlives = |keep: Period, policy: &Policy| {
            let others = policy.retention.overrides.iter().map(|part| part.period);
            let mut periods = std::iter::once(policy.retention.period).chain(others);
            // What `min_keep` protects stays that long, whatever the period is.
            let is_kept_as_long = policy.retention.min_keep.is_some_and(|min_keep| min_keep.is_at_least(keep));
            !is_kept_as_long && periods.all(|period| keep.is_at_least(period) && !period.is_at_least(keep))
        };
        let kept = self.policies.iter().filter_map(|policy| Some((policy.as_ref(), policy.export.keep?)));
        kept.filter(|(policy, keep)| outlives(*keep, policy)).collect()
    }
}

fn at_start(stem: &str, problem: PolicyProblem) -> PolicyError {
    PolicyError { file: format!("{stem}.toml"), line: 1, column: 1, problem }
}

/// Finds enforced policies that are about the same entities and would do different things with them. A restriction is
/// another stage of the same life, and no other end of it.
fn conflicts(policies: &[Arc<Policy>]) -> Vec<PolicyError> {
    let mut by_scope: BTreeMap<String, &Policy> = BTreeMap::new();
    let mut errors = Vec::new();
    let disposes = |policy: &&Arc<Policy>| policy.state == State::Enforce && policy.action != Action::Restrict;
    for policy in policies.iter().filter(disposes) {
        let Some(first) = by_scope.get(&canonical::scope(&policy.scope)).copied() else {
            by_scope.insert(canonical::scope(&policy.scope), policy);
            continue;
        };
        if canonical::action(&first.action) != canonical::action(&policy.action) {
            let problem = "both are enforced, have the same scope and a different [action]: \
                           give both the same [action], or tell their scopes apart with `where`";
            let (line, column) = policy.action_at;
            let problem = PolicyProblem::Conflict { other: first.id.clone(), problem };
            errors.push(PolicyError { file: format!("{}.toml", policy.id), line, column, problem });
        }
    }
    errors
}

//! What stands in the place of a policy when a data subject asked for erasure.
//!
//! No file decides about such a request, and none can loosen how it is carried out: a verified copy first, then the
//! purge, and always a person who accepts the plan. It is no member of the policy set, so nothing is ever due because
//! of it.

use std::collections::BTreeSet;

use super::{
    Action, Approval, ApproverRole, Audience, CsvProfile, Export, ExportFormat, Limits, Lock, Policy, Retention, Scope,
    State, Timing, Trigger, canonical,
};
use crate::event::subject::ERASURE_POLICY;
use crate::id::Digest;
use crate::reason::StartKind;
use crate::record::Kind;
use crate::time::Period;

/// How long an approval of an erasure counts: seven days, in milliseconds.
const APPROVAL_VALID_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

impl Policy {
    /// Returns the rule by which every erasure is carried out. A person accepts each plan, item by item if they like,
    /// so no limit of a number stands beside that; and nothing waits in quarantine, since the law says "without
    /// undue delay".
    #[must_use]
    pub fn of_erasures() -> Option<Self> {
        let period = Period::from_days(0).ok()?;
        let mut policy = Self {
            id: ERASURE_POLICY.to_owned(),
            title: "Erasure for a data subject".to_owned(),
            owner: String::new(),
            legal_basis: "GDPR Art. 17".to_owned(),
            citation: String::new(),
            data_class: String::new(),
            state: State::Enforce,
            lock: Lock::None,
            scope: Scope {
                sources: BTreeSet::new(),
                kinds: Kind::OF_SUBJECTS.into_iter().collect(),
                audience: Audience::All,
                filter: None,
            },
            retention: Retention::plain(period, StartKind::Requested),
            trigger: Trigger::OnDemand,
            timing: Timing::none(),
            limits: Limits {
                max_items: u64::MAX,
                max_percent: 100,
                min_population: 0,
                keep_at_least: 0,
                population_drop_percent: 100,
                max_drift_percent: Limits::STANDARD.max_drift_percent,
                rate: None,
            },
            export: Export {
                formats: BTreeSet::from([ExportFormat::Jsonl, ExportFormat::Csv, ExportFormat::Eml]),
                csv_profile: CsvProfile::Exact,
                // It goes with the answer.
                keep: None,
                encrypt_to: BTreeSet::new(),
            },
            action: Action::Purge { quarantine: period },
            approval: Approval::Required { count: 1, role: ApproverRole::Approver, valid_for_ms: APPROVAL_VALID_MS },
            access: None,
            run_access: None,
            examples: Vec::new(),
            action_at: (1, 1),
            digest: Digest([0; 32]),
        };
        policy.digest = Digest::of(canonical::of(&policy).as_bytes());
        // No part of its name: plans that were accepted before there was this limit are carried out still.
        policy.limits.max_drift_percent = 100;
        Some(policy)
    }
}

//! What a person decided of an entity, as far as a policy asks for it.
//!
//! A decision to keep binds whatever became of the policy or of the entity. A decision to dispose counts for exactly
//! what was looked at: the same version of the policy, of the entity, and the same due date. Whatever differs waits
//! again.

use super::assess::Assessment;
use super::{Action, Decision, OnMissingStart, Outcome, Policy};
use crate::event::review::ReviewVerdict;
use crate::id::ReviewId;
use crate::reason::StartKind;
use crate::time::Timestamp;
use crate::view::reviews::Reviewed;

/// Where an entity stands under a policy, as far as persons decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing<'a> {
    /// The policy asks nobody.
    NotAsked,
    /// Somebody has to decide, or to decide anew.
    Waits,
    /// It is kept for now.
    Kept(&'a Reviewed, Timestamp),
    /// It may go.
    Disposed(&'a Reviewed),
}

/// Says whether a person has to decide before what is assessed so may go.
fn is_asked(policy: &Policy, assessment: &Assessment<'_>) -> bool {
    match assessment {
        Assessment::Due { .. } => matches!(policy.action, Action::Review { .. }),
        Assessment::NoStart { .. } => policy.retention.on_missing_start == OnMissingStart::Review,
        Assessment::OutOfScope
        | Assessment::CannotEvaluate { .. }
        | Assessment::NotRedacted { .. }
        | Assessment::Suspended => false,
    }
}

/// Returns where an entity stands under a policy at an instant.
pub(super) fn standing<'a>(
    policy: &Policy,
    assessment: &Assessment<'_>,
    reviews: &'a [Reviewed],
    now: Timestamp,
) -> Standing<'a> {
    let newest = reviews.iter().find(|reviewed| reviewed.policy == policy.id);
    let due_at = match assessment {
        Assessment::Due { due_at, .. } => Some(*due_at),
        Assessment::NoStart { .. } => None,
        Assessment::OutOfScope
        | Assessment::CannotEvaluate { .. }
        | Assessment::NotRedacted { .. }
        | Assessment::Suspended => {
            return Standing::NotAsked;
        }
    };
    match newest.map(|reviewed| (reviewed, reviewed.verdict)) {
        Some((reviewed, ReviewVerdict::Keep { until })) if now < until => Standing::Kept(reviewed, until),
        _ if !is_asked(policy, assessment) => Standing::NotAsked,
        Some((reviewed, ReviewVerdict::Dispose))
            if reviewed.is_as_seen && reviewed.policy_digest == policy.digest() && reviewed.due_at == due_at =>
        {
            Standing::Disposed(reviewed)
        }
        Some(_) | None => Standing::Waits,
    }
}

/// Returns the review by which an entity may go that was decided to be due under a policy; `None` when that policy
/// asked nobody about it.
#[must_use]
pub fn rested_on(policy: &Policy, decision: &Decision, reviews: &[Reviewed]) -> Option<ReviewId> {
    let Outcome::Due { start, .. } = &decision.outcome else { return None };
    let is_asked = matches!(policy.action, Action::Review { .. }) || *start == StartKind::Reviewed;
    let newest = reviews.iter().find(|reviewed| reviewed.policy == policy.id);
    newest.filter(|_| is_asked).map(|reviewed| reviewed.review)
}

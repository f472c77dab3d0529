//! What waits for a decision of a person under a policy, for [`Works`](super::Works): the same judgement that plans are
//! made with.

use retention_core::control::{ActorName, ErrorBody, ErrorCode, ReviewItemRow, ReviewRow};
use retention_core::event::{Event, Recorded};
use retention_core::id::{Digest, EntityId, ReviewId};
use retention_core::reason::Reason;
use retention_core::time::Timestamp;

use crate::store::Store;

/// How what was decided before counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// What was decided does not wait.
    Counts,
    /// As if nothing were decided: a person may decide anew.
    Anew,
}

/// What waits, by one version of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The version.
    pub policy_digest: Digest,
    /// What waits, in the order in which it was asked about; what is kept for another reason is left out.
    pub items: Vec<ReviewItemRow>,
}

/// Returns which of some entities wait for a decision under a policy at an instant; `None` when no such policy is
/// active.
///
/// # Errors
/// When a record cannot be read, or the policies changed meanwhile.
pub fn waiting(
    store: &Store,
    policy: &str,
    entities: &[EntityId],
    decided: Decided,
    now: Timestamp,
) -> Result<Option<Waiting>, ErrorBody> {
    let digest = || store.policies().get(policy).map(|policy| policy.digest());
    let Some(policy_digest) = digest() else { return Ok(None) };
    let mut subjects = store.subjects(entities);
    if decided == Decided::Anew {
        for subject in &mut subjects {
            subject.standing.reviews.retain(|reviewed| reviewed.policy != policy);
        }
    }
    let decisions = store.decide_all_for(policy, &subjects, now).map_err(|error| {
        tracing::error!(%error, "a record could not be read");
        ErrorBody::of(ErrorCode::Internal)
    })?;
    if digest() != Some(policy_digest) {
        return Err(ErrorBody::saying(ErrorCode::WrongState, "the policies changed meanwhile; nothing was changed")
            .hint("look again"));
    }
    let waits = subjects.iter().zip(decisions).filter_map(|(subject, decision)| {
        let Reason::ReviewNeeded { due_at } = decision?.reason else { return None };
        let (kind, source) = store.view(|views| {
            let layout = views.small.layouts.get(subject.row.layout)?;
            Some((layout.kind, layout.source.clone()))
        })?;
        Some(ReviewItemRow { entity: subject.entity, kind, source, version: subject.row.version, due_at })
    });
    Ok(Some(Waiting { policy_digest, items: waits.collect() }))
}

/// Returns a decision as people see it; `None` when the event is not one, or its body cannot be read.
pub(super) fn row_of(recorded: &Recorded) -> Option<ReviewRow> {
    let Some(Event::ReviewDecided(body)) = recorded.event() else { return None };
    Some(ReviewRow {
        review: ReviewId(recorded.envelope.position),
        policy: body.policy.clone(),
        policy_digest: body.policy_digest,
        decision: body.verdict,
        reason: body.reason.clone(),
        by: ActorName(recorded.envelope.actor),
        at: recorded.envelope.recorded_at,
        items: body.items.clone(),
    })
}

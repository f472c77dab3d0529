//! Copies of what was purged: the bundle of an erasure is destroyed once its data subject has the answer, that of a
//! policy when the policy keeps it no longer. Until then it is the way back from a mistake; after that it would be the
//! one place where what was purged is still found.

use retention_core::event::Event;
use retention_core::event::erasure::{BundleDestroyed, BundleDestructionStarted};
use retention_core::id::{Digest, EntityId, RequestId, SagaId};
use retention_core::time::{Align, Period, Timestamp, Zone};
use retention_core::view::{Bundle, Condition};

use super::super::{StageError, Step, sooner};
use super::Run;
use crate::connector::archive::Probe;
use crate::connector::outcome::Outcome;
use crate::store::AppendError;

/// How long is waited before bundles are tried again that cannot be removed, or must not be: ten minutes, in
/// microseconds.
const RETRY_US: i64 = 10 * 60 * 1_000_000;

/// How long a bundle that is not where it was written is looked for after its time was over, in microseconds: a week. The file
/// system may not be mounted, and a bundle that was told as lost would stay there, known to nobody.
const LOOKED_FOR_US: i64 = 7 * 24 * 60 * 60 * 1_000_000;

/// A bundle that is to go.
struct Ended {
    request: Option<RequestId>,
    bundle: Bundle,
    /// When its time was over.
    until: Timestamp,
}

/// Whether a bundle is gone.
enum Gone {
    Yes,
    /// It must stay for now, or could not be removed.
    NotNow,
}

impl Run {
    /// Destroys one bundle, if one has no purpose any more: its intent first, then the files, then that they are gone.
    pub(super) fn destroy_copies(&mut self, now: Timestamp) -> Result<Step, StageError> {
        let (ended, next) = self.ended_bundles(now)?;
        let is_retried = self.copies_tried_at.is_none_or(|at| now < at || now.0.saturating_sub(at.0) >= RETRY_US);
        if !is_retried && ended.len() <= self.copies_stuck {
            return Ok(waits(next, self.copies_tried_at));
        }
        let mut stuck = 0;
        for one in &ended {
            match self.destroy(one, now)? {
                Gone::Yes => return Ok(Step::Worked),
                Gone::NotNow => stuck += 1,
            }
        }
        self.copies_stuck = stuck;
        self.copies_tried_at = (stuck > 0).then_some(now);
        Ok(waits(next, self.copies_tried_at))
    }

    /// Returns the bundles whose time is over, and when that of another one will be.
    fn ended_bundles(&mut self, now: Timestamp) -> Result<(Vec<Ended>, Option<Timestamp>), StageError> {
        let (answered, of_policies) = self.store.view(|views| {
            let of_policies: Vec<_> = views
                .bundles_of_policies()
                .filter_map(|(plan, bundle)| Some((plan.frozen.as_ref()?.policy_digest, bundle)))
                .collect();
            (views.bundles_answered(), of_policies)
        });
        let mut ended: Vec<Ended> = Vec::new();
        let mut next: Option<Timestamp> = None;
        let mut sort = |request, bundle: Bundle, until: Timestamp| {
            if bundle.is_begun || until <= now {
                ended.push(Ended { request, bundle, until });
            } else {
                next = Some(sooner(next, until));
            }
        };
        for (request, bundle, until) in answered {
            sort(Some(request), bundle, until);
        }
        for (digest, bundle) in of_policies {
            let Some((keep, zone)) = self.kept_for(digest)? else { continue };
            sort(None, bundle, keep.due_at(bundle.exported_at, Align::None, &zone));
        }
        Ok((ended, next))
    }

    /// Returns how long the bundles of a version of a policy stay: that version was approved, whatever is active now.
    fn kept_for(&mut self, digest: Digest) -> Result<Option<(Period, Zone)>, StageError> {
        if let Some(known) = self.bundle_periods.get(&digest) {
            return Ok(known.clone());
        }
        // What cannot be read says nothing, and the bundle stays.
        let policy = self.store.policy_version(digest)?;
        let kept = policy.and_then(|policy| Some((policy.export.keep?, policy.retention.zone.clone())));
        self.bundle_periods.insert(digest, kept.clone());
        Ok(kept)
    }

    fn destroy(&mut self, ended: &Ended, now: Timestamp) -> Result<Gone, StageError> {
        let Ended { request, bundle: Bundle { saga, manifest, is_begun, .. }, until } = *ended;
        let cause = request.map_or(saga.0, |request| request.0);
        let copies_of = self.copies_of(saga)?;
        // Asked before each attempt: a hold that came after the intent keeps what is left.
        let must_stay = self.store.view(|views| {
            views.may_destroy_bundle(saga, &copies_of).is_err()
                || views.is_bundle_held_at(saga, &copies_of, self.store.holds_at(views))
        });
        if must_stay {
            return Ok(Gone::NotNow);
        }
        let probe = self.archive.probe(self.export_key(saga));
        let is_there = matches!(&probe, Ok(Probe::Finished(bundle)) if bundle.manifest == manifest);
        if !is_begun && !is_there && now.0.saturating_sub(until.0) < LOOKED_FOR_US {
            tracing::error!(%saga, "a bundle whose time is over is not where it was written; it is looked for again");
            return Ok(Gone::NotNow);
        }
        if !is_begun {
            let intent = Event::BundleDestructionStarted(BundleDestructionStarted { request, saga, manifest });
            match self.append(cause, vec![intent], Condition::MayDestroyBundle { saga, copies_of }) {
                Ok(_) => {}
                Err(StageError::Append(AppendError::Conflict(_))) => return Ok(Gone::NotNow),
                Err(error) => return Err(error),
            }
        }
        let removed = match probe {
            Ok(Probe::Finished(bundle)) if bundle.manifest == manifest => match self.archive.remove(&bundle.name) {
                Outcome::Applied(()) => Some(true),
                Outcome::Refused(_) | Outcome::Unknown(_) => None,
            },
            // Not there, or no longer what the log says it is: what people made of it is theirs to look at. What a
            // removal left that was interrupted is swept: this stage alone writes bundles, and writes none
            // now.
            Ok(Probe::Finished(_) | Probe::Partial | Probe::Absent) => {
                self.archive.sweep().ok().map(|swept| is_begun && swept > 0)
            }
            Err(_) => None,
        };
        let Some(was_there) = removed else {
            tracing::error!(%saga, "a bundle whose time is over could not be removed; it is tried again");
            return Ok(Gone::NotNow);
        };
        let body = BundleDestroyed { request, saga, manifest, was_there };
        self.append(cause, vec![Event::BundleDestroyed(body)], Condition::None)?;
        Ok(Gone::Yes)
    }

    fn copies_of(&self, saga: SagaId) -> Result<Vec<EntityId>, StageError> {
        Ok(match self.store.read(saga.0)?.as_ref().and_then(|recorded| recorded.event()) {
            Some(Event::SagaStarted(body)) => body.items.iter().map(|item| item.entity).collect(),
            _ => Vec::new(),
        })
    }
}

fn waits(next: Option<Timestamp>, tried_at: Option<Timestamp>) -> Step {
    let retried = tried_at.map(|at| Timestamp(at.0.saturating_add(RETRY_US)));
    match next.into_iter().chain(retried).min() {
        Some(at) => Step::IdleUntil(at),
        None => Step::Idle,
    }
}

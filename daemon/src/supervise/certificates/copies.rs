//! Where copies are of what a run disposed of, and until when: bundles, and the deliveries from which it came.

use std::collections::BTreeSet;

use retention_core::control::ErrorBody;
use retention_core::event::change::IntakeEnd;
use retention_core::event::{Event, EventType};
use retention_core::evidence::certificate::{RunStatement, SaidCopies, SaidDeliveries, SaidOfRun, Subject, Told};
use retention_core::id::{EntityId, Position, RunId, SagaId};
use retention_core::time::{Align, Timestamp};

use super::{Certificates, failed};
use crate::config::KeepDone;
use crate::store::Query;

impl Certificates {
    /// Returns the events that say what became of the bundles of some sagas of a run: who got a copy, which are destroyed, and
    /// whether they go with the answer to a request.
    pub(super) fn positions_of_bundles(&self, run: RunId, sagas: &[SagaId]) -> Result<Vec<Position>, ErrorBody> {
        let types = vec![EventType::BundleHandedOver, EventType::BundleDestroyed];
        let mut positions =
            self.asked(&Query { types, after: Some(run.0), ..Query::default() }, &|event| match event {
                Event::BundleHandedOver(body) => sagas.contains(&body.saga),
                Event::BundleDestroyed(body) => sagas.contains(&body.saga),
                _ => false,
            })?;
        positions.extend(self.store.view(|views| {
            let plan = views.small.runs.run(run)?.plan;
            views.small.plans.get(plan)?.erases.map(|_| plan.0)
        }));
        Ok(positions)
    }

    /// Returns until when there are copies of what a run disposed of, or of the one entity of it that is meant.
    pub(super) fn said_of_run(
        &self,
        subject: Subject,
        statement: &RunStatement,
        told: &[Told],
    ) -> Result<SaidOfRun, ErrorBody> {
        let mut copies = Vec::new();
        let mut sources = BTreeSet::new();
        for (saga, disposed) in &statement.sagas {
            let is_told =
                statement.copies.get(saga).is_some_and(|copy| copy.goes_with_the_answer || copy.destroyed_at.is_some());
            if let Some((_, exported_at)) = disposed.bundle().filter(|_| !is_told) {
                copies.push(SaidCopies { saga: *saga, kept_until: self.kept_until(*saga, exported_at)? });
            }
            let items = match subject {
                Subject::Entity(entity) => vec![entity],
                Subject::Run(_) | Subject::Request(_) => self.store.in_bundle(*saga).map_err(failed)?,
            };
            sources.extend(self.sources_of(&items)?);
        }
        Ok(SaidOfRun { copies, deliveries: self.deliveries(&sources, told) })
    }

    /// Returns from which sources records came; of what was purged the log says in which delivery it was taken in.
    pub(super) fn sources_of(&self, records: &[EntityId]) -> Result<BTreeSet<String>, ErrorBody> {
        let versions: Vec<Position> = self
            .store
            .view(|views| records.iter().filter_map(|record| Some(views.entities.row(*record)?.version)).collect());
        let intakes = self.store.intakes_of(&versions).map_err(failed)?;
        Ok(self.store.view(|views| {
            intakes.into_iter().filter_map(|intake| Some(views.small.intakes.get(intake)?.source.clone())).collect()
        }))
    }

    /// Returns until when the deliveries of sources stay that were taken in before the last destruction that is told: what
    /// was destroyed can be in any of them. What came later came anew.
    pub(super) fn deliveries(&self, sources: &BTreeSet<String>, told: &[Told]) -> Vec<SaidDeliveries> {
        let is_end = |event_type| EventType::is_destruction(event_type) || event_type == EventType::RunEnded as u16;
        let ended = told.iter().map(|(envelope, _)| envelope).filter(|envelope| is_end(envelope.event_type));
        let ended = ended.map(|envelope| envelope.recorded_at).max().unwrap_or_else(|| self.clock.now());
        let configured = self.config.read().sources.clone();
        let kept = |source: &str, end: IntakeEnd| {
            let same_name = configured.iter().filter(|known| known.name == source);
            let kept =
                same_name.map(|known| if end == IntakeEnd::Rejected { known.keep_rejected } else { known.keep_done });
            // Nothing removes those of a source that is not in the configuration any more.
            kept.reduce(longer).unwrap_or(KeepDone::Forever)
        };
        let mut found = Vec::new();
        for source in sources {
            let ends: Vec<(Timestamp, IntakeEnd)> = self.store.view(|views| {
                let of_source = views.small.intakes.iter().filter(|(_, intake)| intake.source == *source);
                let completed = of_source.filter_map(|(_, intake)| intake.completed.as_ref());
                completed.map(|(at, body)| (*at, body.end)).filter(|(at, _)| *at <= ended).collect()
            });
            if let Some(kept_until) = last_end(ends.into_iter().map(|(at, end)| (at, kept(source, end)))) {
                found.push(SaidDeliveries { source: source.clone(), kept_until });
            }
        }
        found
    }

    /// Returns until when the policy under which a bundle was written keeps it.
    pub(super) fn kept_until(&self, saga: SagaId, exported_at: Timestamp) -> Result<Option<Timestamp>, ErrorBody> {
        let digest = self.store.view(|views| {
            let run = views.small.runs.run(views.small.runs.saga(saga)?.started.run)?;
            Some(views.small.plans.get(run.plan)?.frozen.as_ref()?.policy_digest)
        });
        let policy = digest.map(|digest| self.store.policy_version(digest)).transpose().map_err(failed)?.flatten();
        Ok(policy.and_then(|policy| Some(policy.export.keep?.due_at(exported_at, Align::None, &policy.retention.zone))))
    }
}

/// Returns when the last of some deliveries is removed, by when each was taken in and how long it is kept: `None` where
/// there is none, and an end that is `None` where one is removed by nobody.
fn last_end(taken_in: impl Iterator<Item = (Timestamp, KeepDone)>) -> Option<Option<Timestamp>> {
    let ends = taken_in.map(|(at, keep)| match keep {
        KeepDone::Forever => None,
        KeepDone::For(keep) => Some(at.after(keep)),
    });
    ends.reduce(|one, other| one.zip(other).map(|(one, other)| one.max(other)))
}

fn longer(one: KeepDone, other: KeepDone) -> KeepDone {
    match (one, other) {
        (KeepDone::For(one), KeepDone::For(other)) => KeepDone::For(one.max(other)),
        (KeepDone::Forever, _) | (_, KeepDone::Forever) => KeepDone::Forever,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_delivery_to_be_removed_counts_and_one_that_nobody_removes_counts_most() {
        let kept = |ms| KeepDone::For(Duration::from_millis(ms));
        let end = |taken_in: &[(i64, KeepDone)]| {
            last_end(taken_in.iter().map(|(at, keep)| (Timestamp(*at), *keep))).map(|end| end.map(|end| end.0))
        };
        assert_eq!(end(&[]), None);
        assert_eq!(end(&[(5, kept(1))]), Some(Some(1_005)));
        // A refused one is kept longer than what came after it.
        assert_eq!(end(&[(5, kept(9)), (6, kept(1))]), Some(Some(9_005)));
        assert_eq!(end(&[(5, kept(9)), (1, KeepDone::Forever), (6, kept(1))]), Some(None));
        assert_eq!(end(&[(i64::MAX, kept(9))]), Some(Some(i64::MAX)));
    }

    #[test]
    fn of_two_sources_of_one_name_the_one_that_keeps_longer_counts() {
        let (day, month) =
            (KeepDone::For(Duration::from_secs(86_400)), KeepDone::For(Duration::from_secs(30 * 86_400)));
        assert_eq!([longer(day, month), longer(month, day)], [month; 2]);
        assert_eq!([longer(day, KeepDone::Forever), longer(KeepDone::Forever, day)], [KeepDone::Forever; 2]);
    }
}

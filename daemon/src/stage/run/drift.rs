//! Ending a run of which too much is not any more as it was planned: what was accepted is not what is there.

use retention_core::event::Event;
use retention_core::event::decision::RunCancelled;
use retention_core::id::SagaId;
use retention_core::plan;
use retention_core::policy::Limits;
use retention_core::saga::Next;
use retention_core::view::{Condition, Drift, RunState, Saga};

use super::super::{StageError, Step};
use super::{Run, wish};
use crate::store::AppendError;

impl Run {
    /// Ends the run of a saga before the next effect, if it drifted further than its policy allows: what is not past its
    /// pivot is undone, and what is left is for the next plan. Asked of the log alone, so a restart changes no answer.
    pub(super) fn stops_for_drift(&self, id: SagaId, saga: &Saga, next: Next) -> Result<Option<Step>, StageError> {
        if saga.is_past_pivot() || !matches!(next, Next::Start { .. }) {
            return Ok(None);
        }
        let run = saga.started.run;
        let found = self.store.view(|views| {
            let drift = views.small.runs.drift_before(id).filter(|drift| drift.drifted > 0)?;
            Some((drift, wish::policy_of(views, run)?.to_owned()))
        });
        let Some((drift, policy)) = found else { return Ok(None) };
        // Of one that is gone nothing is due any more, and nothing is begun that would go on without limits.
        let limits = self.store.policy_of_plans(&policy).map_or(Limits::STANDARD, |policy| policy.limits);
        if !plan::has_drifted(&limits, drift) {
            return Ok(None);
        }
        let Drift { looked_at, drifted } = drift;
        tracing::warn!(%run, policy, looked_at, drifted, "too much has changed since the plan was made; the run ends, and a new plan is needed");
        let body = RunCancelled { run, reason: RunCancelled::DRIFTED.to_owned() };
        let condition = Condition::RunIn(run, vec![RunState::Running]);
        match self.append(id.0, vec![Event::RunCancelled(body)], condition) {
            // Paused, or cancelled by somebody else, in this very moment: the next look sees it.
            Ok(_) | Err(StageError::Append(AppendError::Conflict(_))) => Ok(Some(Step::Worked)),
            Err(error) => Err(error),
        }
    }
}

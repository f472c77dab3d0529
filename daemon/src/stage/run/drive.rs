//! Driving a saga by one step: intent, effect, receipt; or a probe, a compensation, an end.

use retention_core::event::Event;
use retention_core::event::saga::{
    Failure, Receipt, SagaEnd, SagaEnded, ScriptKind, SkipReason, Step as ScriptStep, StepFailed, StepStarted,
    StepSucceeded,
};
use retention_core::id::{EntityId, Position, SagaId};
use retention_core::saga::{self, Next, Wish};
use retention_core::time::Timestamp;
use retention_core::view::{Condition, Conflict, RunState, Saga, Views};

use super::super::{StageError, Step};
use super::access::MayBegin;
use super::{Run, effect};
use crate::connector::outcome::{Outcome, Refusal, Retry};
use crate::store::AppendError;
use crate::store::vault::destroy::StepTicket;

impl Run {
    /// Does the one thing that comes next.
    pub(super) fn drive(&self, id: SagaId, wish: Wish, now: Timestamp) -> Result<Step, StageError> {
        let Some(saga) = self.store.view(|views| views.small.runs.saga(id).cloned()) else { return Ok(Step::Idle) };
        let next = saga::next(&saga, wish, now);
        if let Some(stopped) = self.stops_for_drift(id, &saga, next)? {
            return Ok(stopped);
        }
        let asks_clock = match next {
            Next::Start { step, .. } => step.is_pivot(),
            // These record something new, which the condition would refuse again and again.
            Next::Probe { step, .. } => matches!(step, ScriptStep::Redact | ScriptStep::Restrict),
            _ => false,
        };
        if asks_clock && let Some(answer) = self.doubts_clock()? {
            return Ok(answer);
        }
        if asks_clock
            && !saga.is_past_pivot()
            && let Some(instead) = self.misses_its_copy(id, &saga)?
        {
            return Ok(instead);
        }
        let access = match self.may_begin(id, &saga, next)? {
            MayBegin::On(condition) => condition,
            MayBegin::NotNow(step) => return Ok(step),
        };
        match next {
            Next::Start { step: step @ (ScriptStep::Purge | ScriptStep::Redact | ScriptStep::Restrict), attempt } => {
                self.start_pivot(id, &saga, step, attempt)?;
            }
            Next::Start { step: ScriptStep::Expunge, attempt } => return self.start_expunge(id, &saga, attempt),
            Next::Start { step, attempt } => self.start(id, &saga, step, attempt, access)?,
            Next::Probe { step, attempt } => self.probe(id, &saga, step, attempt)?,
            Next::Compensate { step } => self.compensate(id, &saga, step)?,
            Next::WaitUntil(at) => return Ok(Step::IdleUntil(at)),
            Next::WaitForOperator => return Ok(Step::Idle),
            Next::End(end) => self.end_saga(id, &saga, end)?,
        }
        Ok(Step::Worked)
    }

    pub(super) fn intent(&self, id: SagaId, step: ScriptStep, attempt: u32, items: Vec<EntityId>) -> Event {
        let store = self.store.view(|views| views.small.store);
        let idempotency_key = saga::idempotency_key(store, id, step);
        Event::StepStarted(StepStarted { saga: id, step, attempt, idempotency_key, items })
    }

    /// Records the intent of a step before the pivot, then applies its effect.
    fn start(
        &self,
        id: SagaId,
        saga: &Saga,
        step: ScriptStep,
        attempt: u32,
        access: Condition,
    ) -> Result<(), StageError> {
        let is_running = Condition::RunIn(saga.started.run, vec![RunState::Running]);
        let condition = match step {
            _ if saga.is_past_pivot() => Condition::None,
            // What a person restricted is not even copied.
            ScriptStep::Export => {
                let entities = saga.open_items().map(|item| item.entity).collect();
                Condition::All(vec![is_running, Condition::NotRestricted(entities)])
            }
            _ => is_running,
        };
        match self.append(id.0, vec![self.intent(id, step, attempt, Vec::new())], condition.and(access)) {
            Ok(_) => {}
            Err(StageError::Append(AppendError::Conflict(Conflict::Entities(restricted)))) => {
                return self.skip(id, restricted);
            }
            // Paused or cancelled in this very moment: the next look sees it.
            Err(StageError::Append(AppendError::Conflict(_))) => return Ok(()),
            Err(error) => return Err(error),
        }
        self.apply(id, saga, step, attempt)
    }

    /// The pivot. Every item is judged anew; then the intent is appended on the condition that no hold, change,
    /// restore, activity, deal or policy came in between. What is in the way is left alone, and the rest is tried
    /// again.
    fn start_pivot(&self, id: SagaId, saga: &Saga, step: ScriptStep, attempt: u32) -> Result<(), StageError> {
        let open: Vec<_> = saga.open_items().copied().collect();
        let grounds = self.grounds(&open);
        let drifted = self.drifted(id, &open)?;
        if !drifted.is_empty() {
            return self.skip(id, drifted);
        }
        // What was approved is done as it was approved, or not at all. An export has looked before.
        let is_as_approved = match saga.started.script {
            ScriptKind::ExportRedact => self.begin_redaction(id, saga)?,
            ScriptKind::Restrict => self.approved(saga).is_some(),
            ScriptKind::ExportPurge | ScriptKind::MessagePurge => true,
        };
        if !is_as_approved {
            return self.skip(id, open.iter().map(|item| (item.entity, SkipReason::NotDue)).collect());
        }
        // By what clock was that judged? If it jumped since, the condition now says so.
        self.doubts_clock()?;
        let items = open.iter().map(|item| (item.entity, item.version)).collect();
        let entities: Vec<EntityId> = open.iter().map(|item| item.entity).collect();
        let intent = self.intent(id, step, attempt, entities.clone());
        match self.append(id.0, vec![intent], Condition::MayPurge { saga: id, items }.and(grounds)) {
            Ok(position) if step == ScriptStep::Purge => self.purge(id, saga, position, &entities, attempt),
            // Done as after a crash: by what the log says of the intent.
            Ok(_) => Ok(()),
            Err(StageError::Append(AppendError::Conflict(Conflict::Entities(conflicts)))) => {
                let not_yet: Vec<(EntityId, SkipReason)> =
                    conflicts.into_iter().filter(|(entity, _)| !saga.skipped.contains_key(entity)).collect();
                self.skip(id, not_yet)
            }
            Err(StageError::Append(AppendError::Conflict(_))) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Applies the effect of a step whose intent is recorded, and records how it ended.
    fn apply(&self, id: SagaId, saga: &Saga, step: ScriptStep, attempt: u32) -> Result<(), StageError> {
        let outcome = match (step, saga.started.script) {
            // The script has no other step.
            (ScriptStep::Restrict, _) | (_, ScriptKind::Restrict) => self.restrict(id, saga)?,
            (ScriptStep::Export, ScriptKind::ExportPurge | ScriptKind::ExportRedact) => self.export(id, saga)?,
            (ScriptStep::Export, ScriptKind::MessagePurge) => match self.export_messages(id, saga, attempt)? {
                Some(outcome) => outcome,
                None => return Ok(()),
            },
            (ScriptStep::VerifyExport, _) => match self.verify_export(id, saga)? {
                Outcome::Refused(refusal) if refusal == effect::KEY_GONE => return self.export_anew(id, attempt),
                outcome => outcome,
            },
            (ScriptStep::Quarantine, _) => self.quarantine(saga),
            (ScriptStep::Purge | ScriptStep::DestroyKeys, _) => {
                let mut entities = saga.purging();
                if saga.started.script == ScriptKind::ExportRedact {
                    entities = self.redacted(&entities);
                }
                let ticket = StepTicket::for_intent(id, saga.pivot_intent);
                self.destroy_keys(&ticket, id, saga, &entities)?
            }
            (ScriptStep::Redact, _) => self.redact(id, saga)?,
            (ScriptStep::VerifyAbsence, ScriptKind::ExportPurge) => self.verify_absence(&saga.pivot)?,
            (ScriptStep::VerifyAbsence, ScriptKind::ExportRedact) => {
                self.verify_absence(&self.redacted(&saga.purging()))?
            }
            (ScriptStep::VerifyAbsence, ScriptKind::MessagePurge) => self.verify_messages_absent(saga)?,
            // Begun by `start_expunge`, and probed: it is never simply done again.
            (ScriptStep::Expunge, _) => self.probe_expunge(id, saga)?,
        };
        self.record(id, step, attempt, outcome)
    }

    /// Records that a bundle was removed because it cannot be verified any more: the step that wrote it is begun again.
    fn export_anew(&self, id: SagaId, attempt: u32) -> Result<(), StageError> {
        let code = effect::KEY_GONE.code;
        tracing::info!(saga = %id, code, "an encrypted export was not read back before a restart; it is written anew");
        let retry_at = Some(self.clock.now());
        let failed = |step, attempt| {
            let (failure, code) = (Failure::Refused, code.to_owned());
            Event::StepFailed(StepFailed { saga: id, step, attempt, failure, code, retry_at })
        };
        let events = vec![failed(ScriptStep::VerifyExport, attempt), failed(ScriptStep::Export, 1)];
        self.append(id.0, events, Condition::None).map(drop)
    }

    fn purge(
        &self,
        id: SagaId,
        saga: &Saga,
        intent: Position,
        entities: &[EntityId],
        attempt: u32,
    ) -> Result<(), StageError> {
        let ticket = StepTicket::for_intent(id, intent);
        let outcome = self.destroy_keys(&ticket, id, saga, entities)?;
        self.record(id, ScriptStep::Purge, attempt, outcome)
    }

    /// Finds out what a step did whose end is not recorded, and records it.
    fn probe(&self, id: SagaId, saga: &Saga, step: ScriptStep, attempt: u32) -> Result<(), StageError> {
        match step {
            ScriptStep::Export => {
                let outcome = self.probe_export(id)?;
                self.record(id, step, attempt, outcome)
            }
            // Reading, hiding and destroying again ends in the same state, so doing it again is the probe.
            ScriptStep::VerifyExport
            | ScriptStep::Quarantine
            | ScriptStep::Purge
            | ScriptStep::Redact
            | ScriptStep::Restrict
            | ScriptStep::VerifyAbsence
            | ScriptStep::DestroyKeys => self.apply(id, saga, step, attempt),
            ScriptStep::Expunge => {
                let outcome = self.probe_expunge(id, saga)?;
                self.record(id, step, attempt, outcome)
            }
        }
    }

    pub(super) fn record(
        &self,
        id: SagaId,
        step: ScriptStep,
        attempt: u32,
        outcome: Outcome<Receipt>,
    ) -> Result<(), StageError> {
        let event = match outcome {
            Outcome::Applied(receipt) => {
                Event::StepSucceeded(StepSucceeded { saga: id, step, compensation: false, receipt })
            }
            Outcome::Refused(refusal) => {
                let retry_at = self.retry_at(step, attempt, refusal);
                tracing::warn!(saga = %id, step = step.name(), attempt, code = refusal.code, "a step was refused");
                let (failure, code) = (Failure::Refused, refusal.code.to_owned());
                Event::StepFailed(StepFailed { saga: id, step, attempt, failure, code, retry_at })
            }
            Outcome::Unknown(cause) => {
                let counted =
                    |views: &Views| views.small.runs.saga(id).map(|saga| saga::unknown_attempt(saga, step, attempt));
                let attempt = self.store.view(counted).unwrap_or(attempt);
                tracing::warn!(saga = %id, step = step.name(), attempt, code = cause.code, "nobody knows how a step ended");
                let (failure, code) = (Failure::Unknown, cause.code.to_owned());
                let retry_at = Some(saga::probe_at(attempt, self.clock.now()));
                Event::StepFailed(StepFailed { saga: id, step, attempt, failure, code, retry_at })
            }
        };
        self.append(id.0, vec![event], Condition::None).map(drop)
    }

    fn retry_at(&self, step: ScriptStep, attempt: u32, refusal: Refusal) -> Option<Timestamp> {
        let now = self.clock.now();
        // An interruption is no refusal: a daemon that is killed often does not give up because of that.
        if refusal.retry == Retry::AfterProbe {
            return Some(now);
        }
        let usual = match saga::retry_at(step, attempt, now) {
            // Nothing is wrong with what was approved: a place for it is waited for, however long, and people are told at
            // once.
            None if StepFailed::needs_exports(refusal.code) => now,
            usual => usual?,
        };
        match refusal.retry {
            Retry::Never => None,
            Retry::After(wait) => Some(usual.max(now.after(wait))),
            Retry::AfterProbe | Retry::Operator => Some(usual),
        }
    }

    fn compensate(&self, id: SagaId, saga: &Saga, step: ScriptStep) -> Result<(), StageError> {
        let undone = match step {
            ScriptStep::Export => self.remove_export(id)?,
            ScriptStep::VerifyExport | ScriptStep::Quarantine => Outcome::Applied(()),
            // Past the pivot nothing is undone; the state machine does not ask for it.
            ScriptStep::Purge
            | ScriptStep::Redact
            | ScriptStep::Restrict
            | ScriptStep::VerifyAbsence
            | ScriptStep::Expunge
            | ScriptStep::DestroyKeys => {
                return self.end_saga(id, saga, SagaEnd::Stuck);
            }
        };
        let code = match undone {
            Outcome::Applied(()) => {
                let receipt = Receipt::Undone;
                let event = Event::StepSucceeded(StepSucceeded { saga: id, step, compensation: true, receipt });
                return self.append(id.0, vec![event], Condition::None).map(drop);
            }
            Outcome::Refused(refusal) => refusal.code,
            Outcome::Unknown(cause) => cause.code,
        };
        tracing::error!(saga = %id, step = step.name(), code, "a step could not be undone; a person is needed");
        self.end_saga(id, saga, SagaEnd::Stuck)
    }

    fn end_saga(&self, id: SagaId, saga: &Saga, end: SagaEnd) -> Result<(), StageError> {
        self.written.lock().remove(&id);
        self.reread.lock().remove(&id);
        let body = SagaEnded { saga: id, end, purged: saga.purged };
        self.append(id.0, vec![Event::SagaEnded(body)], Condition::None).map(drop)
    }
}

//! Runs and their sagas.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::decision::RunEnd;
use crate::event::saga::{
    Failure, Receipt, SagaEnd, SagaItem, SagaStarted, ScriptKind, SkipReason, Step, StepFailed, StepSucceeded,
};
use crate::event::{Actor, Envelope, Event};
use crate::id::{EntityId, PlanId, Position, RunId, SagaId};
use crate::time::Timestamp;

mod drift;

pub use drift::Drift;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Asked for, not begun.
    Requested,
    /// Its checks failed; there was no effect.
    Refused,
    /// At work.
    Running,
    /// Asked to wait.
    Paused,
    /// Asked to end early; it is undoing what can be undone.
    Cancelling,
    /// Over: all done.
    Completed,
    /// Over: ended early.
    Cancelled,
    /// Over: a person is needed.
    Stuck,
}

impl RunState {
    /// Returns the name that people and programs see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Refused => "refused",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelling => "cancelling",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Stuck => "stuck",
        }
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Run {
    /// The plan.
    pub plan: PlanId,
    /// Whose uid asked; `None` is the schedule or the daemon.
    pub requested_by: Option<u32>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// Where it stands.
    pub state: RunState,
    /// The code of why it was refused.
    pub refused: Option<String>,
    /// How many items it began with.
    pub items: u64,
    /// Its sagas, in order.
    pub sagas: Vec<SagaId>,
    /// How many items its sagas have taken over from the plan so far.
    pub taken: u64,
    /// Entities purged so far.
    pub purged: u64,
    /// Entities left alone so far.
    pub skipped: u64,
    /// Those of them that were not any more as they were planned.
    pub drifted: u64,
    /// The drift in those sagas that are past their pivot, or over.
    pub looked_again: Drift,
    /// The drift because of which the daemon ended it early.
    pub stopped: Option<Drift>,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
}

/// How a step of a saga, or of a grant, stands. `R` is what proves it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum StepStanding<R = Receipt> {
    /// The intent is recorded; nobody knows yet.
    Started {
        /// Which attempt.
        attempt: u32,
    },
    /// It took effect.
    Done(R),
    /// It did not take effect, or nobody knows.
    Failed {
        /// Which attempt.
        attempt: u32,
        /// How.
        failure: Failure,
        /// The next attempt is not before then; `None` means none.
        retry_at: Option<Timestamp>,
    },
    /// Its effect was undone.
    Undone,
}

/// What can happen to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepEvent<R = Receipt> {
    /// An attempt begins.
    Start {
        /// Which attempt.
        attempt: u32,
    },
    /// It took effect.
    Succeed(R),
    /// It did not, or nobody knows.
    Fail {
        /// Which attempt.
        attempt: u32,
        /// How.
        failure: Failure,
        /// The next attempt is not before then.
        retry_at: Option<Timestamp>,
    },
    /// What it had done was found to be lost later.
    Lose {
        /// The attempt under which that is told.
        attempt: u32,
    },
    /// What it had done cannot be used, and is done anew.
    Redo {
        /// The attempt under which that is told.
        attempt: u32,
        /// The next attempt is not before then.
        retry_at: Timestamp,
    },
    /// Its effect was undone.
    Undo,
}

/// Something was to be recorded of a step that cannot follow what is recorded of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this cannot follow what is recorded of the step")]
pub struct IllegalStep;

impl<R> StepStanding<R> {
    /// The transition table: what follows a standing. Recording and replaying both go through it.
    ///
    /// # Errors
    /// Refuses what cannot follow.
    pub fn after(before: Option<&Self>, event: StepEvent<R>) -> Result<Self, IllegalStep> {
        match (before, event) {
            (None, StepEvent::Start { attempt: 1 }) => Ok(Self::Started { attempt: 1 }),
            // Somebody else undid it: it is not tried again, and what went before is undone.
            (Some(Self::Done(_)), StepEvent::Lose { attempt }) => {
                Ok(Self::Failed { attempt, failure: Failure::Refused, retry_at: None })
            }
            // Nobody can prove any more that it did what it was to do.
            (Some(Self::Done(_)), StepEvent::Redo { attempt, retry_at }) => {
                Ok(Self::Failed { attempt, failure: Failure::Refused, retry_at: Some(retry_at) })
            }
            (_, StepEvent::Lose { .. } | StepEvent::Redo { .. }) => Err(IllegalStep),
            (None, StepEvent::Start { .. } | StepEvent::Succeed(_) | StepEvent::Fail { .. } | StepEvent::Undo) => {
                Err(IllegalStep)
            }
            // The same attempt again: the effect is about to be repeated after a probe found nothing.
            (Some(Self::Started { attempt: last }), StepEvent::Start { attempt }) if attempt == *last => {
                Ok(Self::Started { attempt })
            }
            (Some(Self::Started { .. }), StepEvent::Start { .. }) => Err(IllegalStep),
            (Some(Self::Started { .. }), StepEvent::Succeed(receipt)) => Ok(Self::Done(receipt)),
            (Some(Self::Started { attempt: last }), StepEvent::Fail { attempt, failure, retry_at }) => {
                if attempt == *last { Ok(Self::Failed { attempt, failure, retry_at }) } else { Err(IllegalStep) }
            }
            // Undone before it is known to have happened: compensations are harmless when there is nothing to undo.
            (Some(Self::Started { .. } | Self::Done(_) | Self::Failed { .. }), StepEvent::Undo) => Ok(Self::Undone),
            (Some(Self::Done(_)), StepEvent::Start { .. } | StepEvent::Succeed(_) | StepEvent::Fail { .. }) => {
                Err(IllegalStep)
            }
            (Some(Self::Failed { attempt: last, .. }), StepEvent::Start { attempt }) => {
                if attempt == last + 1 {
                    Ok(Self::Started { attempt })
                } else {
                    Err(IllegalStep)
                }
            }
            // A probe found that the effect had happened after all.
            (Some(Self::Failed { failure: Failure::Unknown, .. }), StepEvent::Succeed(receipt)) => {
                Ok(Self::Done(receipt))
            }
            // A probe found that it had not.
            (
                Some(Self::Failed { attempt: last, failure: Failure::Unknown, .. }),
                StepEvent::Fail { attempt, failure: Failure::Refused, retry_at },
            ) if attempt == *last => Ok(Self::Failed { attempt, failure: Failure::Refused, retry_at }),
            // A probe could not tell either: the next one is not before `retry_at`. Where it goes on for ever it counts as one
            // more attempt, so that the pauses grow.
            (
                Some(Self::Failed { attempt: last, failure: Failure::Unknown, .. }),
                StepEvent::Fail { attempt, failure: Failure::Unknown, retry_at },
            ) if attempt == *last || Some(attempt) == last.checked_add(1) => {
                Ok(Self::Failed { attempt, failure: Failure::Unknown, retry_at })
            }
            // The next attempt failed before its intent: past the pivot the target is asked first, and could not be. It
            // counts all the same, so that the pauses grow.
            (
                Some(Self::Failed { attempt: last, failure: Failure::Refused, retry_at: Some(_) }),
                StepEvent::Fail { attempt, failure: Failure::Refused, retry_at: retry_at @ Some(_) },
            ) if Some(attempt) == last.checked_add(1) => {
                Ok(Self::Failed { attempt, failure: Failure::Refused, retry_at })
            }
            (Some(Self::Failed { .. }), StepEvent::Succeed(_) | StepEvent::Fail { .. }) => Err(IllegalStep),
            (
                Some(Self::Undone),
                StepEvent::Start { .. } | StepEvent::Succeed(_) | StepEvent::Fail { .. } | StepEvent::Undo,
            ) => Err(IllegalStep),
        }
    }
}

/// One saga.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Saga {
    /// How it began.
    pub started: SagaStarted,
    /// Its steps that have begun.
    pub steps: BTreeMap<u8, StepStanding>,
    /// Items that are left alone, by entity.
    pub skipped: BTreeMap<EntityId, SkipReason>,
    /// How many of them were not any more as they were planned.
    pub drifted: u64,
    /// The items that were left alone when its export was last begun, ascending: they are not in its bundle.
    pub not_exported: Vec<EntityId>,
    /// The items that the pivot's newest intent names.
    pub pivot: Vec<EntityId>,
    /// Where that intent stands in the log.
    pub pivot_intent: Position,
    /// Entities whose key is destroyed.
    pub purged: u64,
    /// How it ended.
    pub end: Option<SagaEnd>,
    /// What became of its bundle, if that does not stay.
    pub bundle: Option<BundleState>,
    /// Where it stands in the log that somebody got a copy of its bundle.
    pub handed_over: Vec<Position>,
    /// Whether a step failed so often that it is not tried again.
    pub gave_up: bool,
    /// The code of the attempt that the exports directory did not take, for want of room or of leave to write, until a
    /// step takes effect.
    pub needs_exports: Option<String>,
    /// Whether the log says something of a step that cannot be: then nothing more is done without a person.
    pub is_inconsistent: bool,
}

/// So many attempts past the pivot take some ten minutes.
const ATTEMPTS_IN_VAIN: u32 = 10;

/// What becomes of a bundle that does not stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum BundleState {
    /// Its destruction was begun.
    BeingDestroyed,
    /// It is gone since then.
    Destroyed(Timestamp),
    /// It was not where it should have been when it was to be destroyed: nobody here knows where it is.
    NotFound(Timestamp),
}

impl Saga {
    /// Returns one that has begun, and nothing more.
    #[must_use]
    pub fn begun(started: SagaStarted) -> Self {
        Self {
            started,
            steps: BTreeMap::new(),
            skipped: BTreeMap::new(),
            drifted: 0,
            not_exported: Vec::new(),
            pivot: Vec::new(),
            pivot_intent: Position::NONE,
            purged: 0,
            end: None,
            bundle: None,
            handed_over: Vec::new(),
            gave_up: false,
            needs_exports: None,
            is_inconsistent: false,
        }
    }

    fn step_event(&mut self, step: Step, event: StepEvent) {
        match StepStanding::after(self.step(step), event) {
            Ok(standing) => {
                self.steps.insert(step as u8, standing);
            }
            Err(IllegalStep) => self.is_inconsistent = true,
        }
    }

    /// Says whether what a step did can be found lost: the bundle, which is read once more before the pivot.
    fn may_lose(&self, step: Step) -> bool {
        step == Step::VerifyExport && self.receipt(step).is_some() && !self.is_past_pivot()
    }

    /// Says whether what a step did can turn out to be of no use: an encrypted bundle that was not verified, and that nobody
    /// can read back any more.
    fn may_redo(&self, step: Step, code: &str) -> bool {
        let is_verified = self.receipt(Step::VerifyExport).is_some() || self.is_past_pivot();
        step == Step::Export && code == StepFailed::BUNDLE_KEY_GONE && self.receipt(step).is_some() && !is_verified
    }

    /// Goes through the items that are not left alone, ascending by entity.
    pub fn open_items(&self) -> impl Iterator<Item = &SagaItem> {
        self.started.items.iter().filter(|item| !self.skipped.contains_key(&item.entity))
    }

    /// Returns how a step stands.
    #[must_use]
    pub fn step(&self, step: Step) -> Option<&StepStanding> {
        self.steps.get(&(step as u8))
    }

    /// Returns the receipt of a step that took effect.
    #[must_use]
    pub fn receipt(&self, step: Step) -> Option<&Receipt> {
        match self.step(step) {
            Some(StepStanding::Done(receipt)) => Some(receipt),
            _ => None,
        }
    }

    /// Returns the end of the quarantine, once it has begun.
    #[must_use]
    pub fn quarantine_until(&self) -> Option<Timestamp> {
        match self.receipt(Step::Quarantine) {
            Some(Receipt::Quarantined { until, .. }) => Some(*until),
            _ => None,
        }
    }

    /// Returns the items that the pivot's newest intent names and that are not left alone, ascending by entity.
    #[must_use]
    pub fn purging(&self) -> Vec<EntityId> {
        self.pivot.iter().copied().filter(|entity| !self.skipped.contains_key(entity)).collect()
    }

    /// Returns of how many items fields were taken out: their old keys are destroyed, and what is left is there.
    #[must_use]
    pub fn redacted(&self) -> u64 {
        match self.started.script {
            ScriptKind::ExportRedact => self.purged,
            ScriptKind::ExportPurge | ScriptKind::MessagePurge | ScriptKind::Restrict => 0,
        }
    }

    /// Returns of how many items the use ended.
    #[must_use]
    pub fn restricted(&self) -> u64 {
        match self.receipt(Step::Restrict) {
            Some(Receipt::Restricted { items }) => *items,
            _ => 0,
        }
    }

    /// Says whether it goes on trying in vain what cannot be undone any more: then a person has to look.
    #[must_use]
    pub fn is_tried_in_vain(&self) -> bool {
        let attempts = |standing: &StepStanding| match standing {
            StepStanding::Started { attempt } | StepStanding::Failed { attempt, .. } => *attempt,
            StepStanding::Done(_) | StepStanding::Undone => 0,
        };
        let is_in_vain = self.steps.values().any(|standing| attempts(standing) >= ATTEMPTS_IN_VAIN);
        is_in_vain && self.end.is_none() && self.is_past_pivot()
    }

    fn has_looked_again(&self) -> bool {
        self.is_past_pivot() || self.end.is_some()
    }

    /// Says whether the pivot's intent was ever recorded: then there is no way back.
    #[must_use]
    pub fn is_past_pivot(&self) -> bool {
        [Step::Purge, Step::Expunge, Step::Redact, Step::Restrict].into_iter().any(|pivot| self.step(pivot).is_some())
    }
}

/// All runs and sagas.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Runs {
    runs: BTreeMap<RunId, Run>,
    sagas: BTreeMap<SagaId, Saga>,
}

impl Runs {
    /// Returns a run.
    #[must_use]
    pub fn run(&self, id: RunId) -> Option<&Run> {
        self.runs.get(&id)
    }

    /// Goes through all runs, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (RunId, &Run)> {
        self.runs.iter().map(|(id, run)| (*id, run))
    }

    /// Returns a saga.
    #[must_use]
    pub fn saga(&self, id: SagaId) -> Option<&Saga> {
        self.sagas.get(&id)
    }

    /// Goes through all sagas, oldest first.
    pub fn sagas(&self) -> impl DoubleEndedIterator<Item = (SagaId, &Saga)> {
        self.sagas.iter().map(|(id, saga)| (*id, saga))
    }

    /// Goes through the sagas that are not over and work on messages in a mailbox. One of records that live in it asks
    /// nothing of its server.
    pub fn open_in(&self, mailbox: EntityId) -> impl Iterator<Item = &Saga> {
        let open = self.sagas.values().filter(|saga| saga.end.is_none());
        let of_messages = open.filter(|saga| saga.started.script == ScriptKind::MessagePurge);
        of_messages.filter(move |saga| saga.started.mailbox == Some(mailbox))
    }

    /// Returns the open saga that works on an entity.
    #[must_use]
    pub fn saga_of_entity(&self, entity: EntityId) -> Option<(SagaId, &Saga)> {
        self.sagas().filter(|(_, saga)| saga.end.is_none()).find(|(_, saga)| {
            saga.started.items.binary_search_by_key(&entity, |item| item.entity).is_ok()
                && !saga.skipped.contains_key(&entity)
        })
    }

    /// Says whether an open saga other than `saga` hides an entity.
    #[must_use]
    pub(super) fn is_hidden_by_another(&self, entity: EntityId, saga: SagaId) -> bool {
        self.sagas.iter().any(|(id, other)| {
            *id != saga
                && other.end.is_none()
                && other.quarantine_until().is_some()
                && other.started.items.binary_search_by_key(&entity, |item| item.entity).is_ok()
                && !other.skipped.contains_key(&entity)
        })
    }

    /// Returns the run that an event of its own, or of one of its sagas, is part of.
    pub(super) fn run_of(&self, position: Position, event: &Event) -> Option<RunId> {
        let of_saga = |saga: SagaId| self.sagas.get(&saga).map(|saga| saga.started.run);
        match event {
            Event::RunRequested(_) => Some(RunId(position)),
            Event::RunStarted(body) => Some(body.run),
            Event::RunRefused(body) => Some(body.run),
            Event::RunPaused(body) => Some(body.run),
            Event::RunResumed(body) => Some(body.run),
            Event::RunCancelled(body) => Some(body.run),
            Event::RunEnded(body) => Some(body.run),
            Event::SagaStarted(body) => Some(body.run),
            Event::StepStarted(body) => of_saga(body.saga),
            Event::StepSucceeded(body) => of_saga(body.saga),
            Event::StepFailed(body) => of_saga(body.saga),
            Event::ItemsSkipped(body) => of_saga(body.saga),
            Event::EntitiesRestricted(body) => of_saga(body.saga),
            Event::SagaEnded(body) => of_saga(body.saga),
            Event::KeyDestroyed(body) => Some(body.run),
            Event::EntityRestored(body) => of_saga(body.saga),
            Event::BundleDestructionStarted(body) => of_saga(body.saga),
            Event::BundleDestroyed(body) => of_saga(body.saga),
            _ => None,
        }
    }

    /// `is_as_planned` says of items that are left alone that they are as they were planned all the same.
    pub(super) fn fold(&mut self, envelope: &Envelope, event: &Event, is_as_planned: bool) {
        let at = envelope.recorded_at;
        match event {
            Event::RunRequested(body) => {
                let requested_by = match envelope.actor {
                    Actor::Person(uid) => Some(uid),
                    Actor::Daemon | Actor::Schedule => None,
                };
                self.runs.insert(
                    RunId(envelope.position),
                    Run {
                        plan: body.plan,
                        requested_by,
                        requested_at: at,
                        state: RunState::Requested,
                        refused: None,
                        items: 0,
                        sagas: Vec::new(),
                        started_at: None,
                        taken: 0,
                        purged: 0,
                        skipped: 0,
                        drifted: 0,
                        looked_again: Drift::default(),
                        stopped: None,
                        ended_at: None,
                    },
                );
            }
            Event::RunStarted(body) => self.with_run(body.run, |run| {
                run.state = RunState::Running;
                run.items = body.items;
                run.started_at = Some(at);
            }),
            Event::RunRefused(body) => self.with_run(body.run, |run| {
                run.state = RunState::Refused;
                run.refused = Some(body.code.clone());
                run.ended_at = Some(at);
            }),
            Event::RunPaused(body) => self.move_run(body.run, RunState::Running, RunState::Paused),
            Event::RunResumed(body) => self.move_run(body.run, RunState::Paused, RunState::Running),
            Event::RunCancelled(body) => {
                self.move_run(body.run, RunState::Paused, RunState::Running);
                self.move_run(body.run, RunState::Running, RunState::Cancelling);
                // The daemon has no other reason, and says which of the sagas found it.
                let found = Some(envelope.cause).filter(|_| envelope.actor == Actor::Daemon);
                let stopped = found.and_then(|saga| self.drift_before(SagaId(saga)));
                self.with_run(body.run, |run| run.stopped = run.stopped.or(stopped));
            }
            Event::RunEnded(body) => self.with_run(body.run, |run| {
                run.state = match body.end {
                    RunEnd::Completed => RunState::Completed,
                    RunEnd::Cancelled => RunState::Cancelled,
                    RunEnd::Stuck => RunState::Stuck,
                };
                run.purged = body.purged;
                run.skipped = body.skipped;
                run.ended_at = Some(at);
            }),
            Event::SagaStarted(body) => self.saga_started(SagaId(envelope.position), body),
            Event::StepStarted(body) => {
                if body.step.is_pivot() {
                    self.looked_again(body.saga);
                }
                self.with_saga(body.saga, |saga| {
                    saga.step_event(body.step, StepEvent::Start { attempt: body.attempt });
                    if body.step == Step::Export {
                        saga.not_exported = saga.skipped.keys().copied().collect();
                    }
                    if body.step.is_pivot() {
                        saga.pivot.clone_from(&body.items);
                        saga.pivot_intent = envelope.position;
                    }
                });
            }
            Event::StepSucceeded(body) => self.step_succeeded(body),
            Event::StepFailed(body) => self.step_failed(body),
            Event::ItemsSkipped(body) => self.skip(body.saga, &body.items, is_as_planned),
            Event::EntityRestored(body) => {
                if let Some(entity) = envelope.entity {
                    self.skip(body.saga, &[(entity, SkipReason::Restored)], is_as_planned);
                }
            }
            Event::KeyDestroyed(body) => self.key_destroyed(body.saga),
            Event::BundleDestructionStarted(body) => self.with_saga(body.saga, |saga| {
                saga.bundle.get_or_insert(BundleState::BeingDestroyed);
            }),
            Event::BundleHandedOver(body) => self.with_saga(body.saga, |saga| {
                if !saga.handed_over.contains(&envelope.position) {
                    saga.handed_over.push(envelope.position);
                }
            }),
            Event::BundleDestroyed(body) => self.with_saga(body.saga, |saga| {
                saga.bundle = Some(if body.was_there { BundleState::Destroyed(at) } else { BundleState::NotFound(at) });
            }),
            Event::SagaEnded(body) => {
                self.looked_again(body.saga);
                self.with_saga(body.saga, |saga| {
                    saga.end = Some(body.end);
                    saga.purged = body.purged;
                    saga.needs_exports = None;
                    saga.started.items = Vec::new();
                    saga.pivot = Vec::new();
                });
            }
            _ => {}
        }
    }

    fn with_run(&mut self, id: RunId, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.runs.get_mut(&id) {
            change(run);
        }
    }

    fn move_run(&mut self, id: RunId, from: RunState, to: RunState) {
        self.with_run(id, |run| {
            if run.state == from {
                run.state = to;
            }
        });
    }

    fn with_saga(&mut self, id: SagaId, change: impl FnOnce(&mut Saga)) {
        if let Some(saga) = self.sagas.get_mut(&id) {
            change(saga);
        }
    }

    fn saga_started(&mut self, id: SagaId, body: &SagaStarted) {
        self.with_run(body.run, |run| {
            if !run.sagas.contains(&id) {
                run.sagas.push(id);
                run.taken += body.items.len() as u64;
            }
        });
        self.sagas.insert(id, Saga::begun(body.clone()));
    }

    fn step_succeeded(&mut self, body: &StepSucceeded) {
        self.with_saga(body.saga, |saga| {
            let event = if body.compensation { StepEvent::Undo } else { StepEvent::Succeed(body.receipt.clone()) };
            saga.step_event(body.step, event);
            saga.needs_exports = None;
        });
    }

    fn step_failed(&mut self, body: &StepFailed) {
        if body.step == Step::Export && body.code == StepFailed::TEXT_WITHHELD {
            self.withheld(body.saga);
        }
        self.with_saga(body.saga, |saga| {
            let StepFailed { attempt, failure, retry_at, .. } = *body;
            let is_lost = saga.may_lose(body.step) && failure == Failure::Refused && retry_at.is_none();
            let event = match retry_at {
                Some(retry_at) if failure == Failure::Refused && saga.may_redo(body.step, &body.code) => {
                    StepEvent::Redo { attempt, retry_at }
                }
                _ if is_lost => StepEvent::Lose { attempt },
                _ => StepEvent::Fail { attempt, failure, retry_at },
            };
            saga.step_event(body.step, event);
            saga.gave_up |= body.retry_at.is_none() && body.failure == Failure::Refused;
            saga.needs_exports = StepFailed::needs_exports(&body.code).then(|| body.code.clone());
        });
    }

    fn skip(&mut self, id: SagaId, items: &[(EntityId, SkipReason)], is_as_planned: bool) {
        let Some(saga) = self.sagas.get_mut(&id) else { return };
        let (mut more, mut drifted) = (0, 0);
        for (entity, reason) in items {
            if saga.skipped.insert(*entity, *reason).is_none() {
                more += 1;
                drifted += u64::from(!is_as_planned && drift::is_drift(*reason));
            }
        }
        saga.drifted += drifted;
        let (run, has_looked_again) = (saga.started.run, saga.has_looked_again());
        self.with_run(run, |run| {
            run.skipped += more;
            run.drifted += drifted;
            run.looked_again.drifted += if has_looked_again { drifted } else { 0 };
        });
    }

    fn key_destroyed(&mut self, id: SagaId) {
        let Some(saga) = self.sagas.get_mut(&id) else { return };
        saga.purged += 1;
        let run = saga.started.run;
        self.with_run(run, |run| run.purged += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Digest;

    #[test]
    fn only_a_saga_of_messages_works_in_a_mailbox() {
        let mut runs = Runs::default();
        let mut begin = |at, script| {
            let (run, mailbox) = (RunId(Position(1)), Some(EntityId(7)));
            let started = SagaStarted { run, script, script_version: 1, mailbox, items: Vec::new() };
            runs.sagas.insert(SagaId(Position(at)), Saga::begun(started));
            [7, 8].map(|mailbox| runs.open_in(EntityId(mailbox)).count())
        };
        assert_eq!(begin(2, ScriptKind::ExportPurge), [0, 0], "records that live there are no messages");
        assert_eq!(begin(3, ScriptKind::MessagePurge), [1, 0]);
    }

    #[test]
    fn only_a_bundle_that_was_not_verified_and_whose_key_is_gone_is_written_anew() {
        let (id, digest) = (SagaId(Position(2)), Digest::of(b"manifest"));
        let mut runs = Runs::default();
        let (run, script) = (RunId(Position(1)), ScriptKind::ExportPurge);
        let started = SagaStarted { run, script, script_version: 1, mailbox: None, items: Vec::new() };
        let mut exported = Saga::begun(started);
        let receipt = Receipt::Exported { manifest: digest, exported_at: Timestamp(1), items: 1, bytes: 1 };
        exported.steps.insert(Step::Export as u8, StepStanding::Done(receipt));
        let mut verified = exported.clone();
        let receipt = Receipt::ExportVerified { manifest: digest, items: 1 };
        verified.steps.insert(Step::VerifyExport as u8, StepStanding::Done(receipt));
        let mut after = |saga: &Saga, code: &str, retry_at| {
            runs.sagas.insert(id, saga.clone());
            let (step, failure, code) = (Step::Export, Failure::Refused, code.to_owned());
            runs.step_failed(&StepFailed { saga: id, step, attempt: 1, failure, code, retry_at });
            let saga = runs.saga(id).unwrap();
            (saga.is_inconsistent, matches!(saga.step(step), Some(StepStanding::Failed { attempt: 1, .. })))
        };
        let (gone, now) = (StepFailed::BUNDLE_KEY_GONE, Some(Timestamp(2)));
        assert_eq!(after(&exported, gone, now), (false, true));
        assert_eq!(after(&verified, gone, now), (true, false), "what was verified is never written anew");
        assert_eq!(after(&exported, "no_space", now), (true, false));
        assert_eq!(after(&exported, gone, None), (true, false));
    }
}

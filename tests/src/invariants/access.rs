//! What must be true of the access that runs take to mailboxes: read from the log alone, with the policies as it
//! recorded them.

use std::collections::BTreeMap;

use retention_core::event::grant::{GrantPurpose, GrantReceipt, GrantRequested, GrantStep};
use retention_core::event::saga::Step;
use retention_core::event::{Actor, Event, Recorded};
use retention_core::id::{Digest, EntityId, GrantId, PlanId, Position, RunId, SagaId};
use retention_core::policy::{PolicyFile, PolicySet, RunAccess};
use retention_core::time::Timestamp;
use retentiond::store::Store;

use super::Violation;

/// One grant that a run took.
struct Taken {
    run: RunId,
    mailbox: EntityId,
    duration_us: i64,
    begun_at: Option<Timestamp>,
    is_given: bool,
    /// Whether somebody asked for its end, or taking it back was begun.
    is_ending: bool,
    is_over: bool,
}

impl Taken {
    fn lease_ends_at(&self) -> Option<Timestamp> {
        self.begun_at.map(|at| Timestamp(at.0.saturating_add(self.duration_us)))
    }

    fn stands(&self, now: Timestamp) -> bool {
        self.is_given && !self.is_ending && !self.is_over && self.lease_ends_at().is_some_and(|end| now < end)
    }
}

struct RunSeen {
    plan: PlanId,
    is_at_work: bool,
}

struct SagaSeen {
    run: RunId,
    mailbox: Option<EntityId>,
    is_past_pivot: bool,
}

#[derive(Default)]
struct History {
    terms: BTreeMap<Digest, RunAccess>,
    plans: BTreeMap<PlanId, Digest>,
    runs: BTreeMap<RunId, RunSeen>,
    sagas: BTreeMap<SagaId, SagaSeen>,
    grants: BTreeMap<GrantId, Taken>,
    violations: Vec<Violation>,
}

/// Looks at all access that runs took: each was approved with its plan, nothing was done in a mailbox without it, and
/// none was given by a run that was over.
#[must_use]
pub fn check(store: &Store) -> Vec<Violation> {
    read(store).violations
}

/// Looks at all access that runs took when the stages have nothing to do at an instant: none stands whose run is over,
/// or whose lease is.
#[must_use]
pub fn check_at_rest(store: &Store, now: Timestamp) -> Vec<Violation> {
    let history = read(store);
    let left = history.grants.iter().filter(|(_, grant)| {
        let is_over = grant.lease_ends_at().is_some_and(|end| end <= now)
            || history.runs.get(&grant.run).is_none_or(|run| !run.is_at_work);
        !grant.is_over && !grant.is_ending && is_over
    });
    left.map(|(id, _)| Violation {
        position: Some(id.0),
        ..Violation::of("access_outlives_its_run", None, "its run or its lease is over, and nobody takes it back")
    })
    .collect()
}

fn read(store: &Store) -> History {
    let mut history = History::default();
    let last = store.view(|views| views.position);
    for position in (1..=last.0).map(Position) {
        if let Ok(Some(recorded)) = store.read(position) {
            history.see(store, &recorded);
        }
    }
    history
}

impl History {
    fn blame(&mut self, invariant: &'static str, position: Position, detail: &str) {
        self.violations.push(Violation { position: Some(position), ..Violation::of(invariant, None, detail) });
    }

    fn terms_of(&self, run: RunId) -> Option<&RunAccess> {
        self.terms.get(self.plans.get(&self.runs.get(&run)?.plan)?)
    }

    fn see(&mut self, store: &Store, recorded: &Recorded) {
        let (position, now) = (recorded.envelope.position, recorded.envelope.recorded_at);
        let Some(event) = recorded.event() else { return };
        match event {
            Event::PolicyRecorded(body) => {
                let read = PolicySet::check(&[PolicyFile { stem: &body.id, text: &body.text }]);
                let access = read.ok().and_then(|set| set.get(&body.id)?.run_access.clone());
                self.terms.extend(access.map(|access| (body.digest, access)));
            }
            Event::PlanFrozen(body) => drop(self.plans.insert(body.plan, body.policy_digest)),
            Event::RunRequested(body) => {
                let _before = self.runs.insert(RunId(position), RunSeen { plan: body.plan, is_at_work: false });
            }
            Event::RunStarted(body) => self.run_is(body.run, true),
            Event::RunEnded(body) => self.run_is(body.run, false),
            Event::SagaStarted(body) => {
                let seen = SagaSeen { run: body.run, mailbox: body.mailbox, is_past_pivot: false };
                let _before = self.sagas.insert(SagaId(position), seen);
            }
            Event::StepStarted(body) if matches!(body.step, Step::Export | Step::Expunge) => {
                self.works(position, now, body.saga, body.step);
            }
            Event::GrantRequested(body) => self.asked(store, recorded, body),
            Event::GrantRevokeRequested(body) => self.with(body.grant, |grant| grant.is_ending = true),
            Event::GrantStepStarted(body) => self.grant_step(position, now, body.grant, body.step),
            Event::GrantStepSucceeded(body) => self.with(body.grant, |grant| {
                grant.is_given |= matches!(body.receipt, GrantReceipt::Given { .. });
            }),
            // Given up: what may be there is taken back.
            Event::GrantStepFailed(body) if body.step == GrantStep::Give && body.retry_at.is_none() => {
                self.with(body.grant, |grant| grant.is_ending = true);
            }
            Event::GrantEnded(body) => self.with(body.grant, |grant| grant.is_over = true),
            _ => {}
        }
    }

    fn run_is(&mut self, run: RunId, is_at_work: bool) {
        if let Some(run) = self.runs.get_mut(&run) {
            run.is_at_work = is_at_work;
        }
    }

    fn with(&mut self, grant: GrantId, change: impl FnOnce(&mut Taken)) {
        if let Some(grant) = self.grants.get_mut(&grant) {
            change(grant);
        }
    }

    fn asked(&mut self, store: &Store, recorded: &Recorded, body: &GrantRequested) {
        let GrantPurpose::Run { run } = body.purpose else { return };
        let position = recorded.envelope.position;
        let is_as_approved = self
            .terms_of(run)
            .is_some_and(|terms| store.principal(&terms.principal) == body.principal && body.max_ms <= terms.max_ms);
        let is_of_a_saga = self
            .sagas
            .get(&SagaId(recorded.envelope.cause))
            .is_some_and(|saga| saga.run == run && saga.mailbox == Some(body.mailbox));
        if recorded.envelope.actor != Actor::Daemon || !is_as_approved || !is_of_a_saga {
            self.blame("access_that_nobody_approved", position, "the policy of the plan does not say so");
        }
        if !self.runs.get(&run).is_some_and(|run| run.is_at_work) {
            self.blame("access_without_a_run", position, "its run is not at work");
        }
        let duration_us = i64::try_from(body.duration_ms.min(body.max_ms) * 1_000).unwrap_or(i64::MAX);
        let (begun_at, is_given, is_ending, is_over) = (None, false, false, false);
        let taken = Taken { run, mailbox: body.mailbox, duration_us, begun_at, is_given, is_ending, is_over };
        self.grants.insert(GrantId(position), taken);
    }

    fn grant_step(&mut self, position: Position, now: Timestamp, id: GrantId, step: GrantStep) {
        let Some(grant) = self.grants.get_mut(&id) else { return };
        match step {
            GrantStep::Give => {
                grant.begun_at.get_or_insert(now);
                let is_late = grant.is_ending || grant.lease_ends_at().is_some_and(|end| end <= now);
                let run = grant.run;
                if is_late || !self.runs.get(&run).is_some_and(|run| run.is_at_work) {
                    self.blame("access_given_too_late", position, "its run or its lease is over");
                }
            }
            GrantStep::Revoke => grant.is_ending = true,
            GrantStep::Read | GrantStep::VerifyRevoked => {}
        }
    }

    /// Before the pivot nothing is begun in a mailbox without the access that the policy wants, and the pivot is not.
    fn works(&mut self, position: Position, now: Timestamp, id: SagaId, step: Step) {
        let Some(saga) = self.sagas.get_mut(&id) else { return };
        let is_repetition = saga.is_past_pivot;
        saga.is_past_pivot |= step == Step::Expunge;
        let (run, Some(mailbox)) = (saga.run, saga.mailbox) else { return };
        if is_repetition || self.terms_of(run).is_none() {
            return;
        }
        let stands =
            self.grants.values().any(|grant| (grant.run, grant.mailbox) == (run, mailbox) && grant.stands(now));
        if !stands {
            self.blame("mailbox_worked_in_without_access", position, "no grant of the run stands");
        }
    }
}

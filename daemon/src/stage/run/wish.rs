//! What people, and the hours and the rate of a policy, want of a run and of its sagas.

use retention_core::event::Event;
use retention_core::id::{EntityId, RunId, SagaId};
use retention_core::policy::{Rate, Timing};
use retention_core::saga::Wish;
use retention_core::time::Timestamp;
use retention_core::view::{RunState, Views};

use super::super::StageError;
use crate::store::Store;

/// Returns what is wished of a run that has begun, and until when if that is known; `None` when it is over or has not
/// begun. In the hours in which its policy does not run, a run waits between two steps as if it were paused.
pub(super) fn of_run(store: &Store, run: RunId, now: Timestamp) -> Option<(Wish, Option<Timestamp>)> {
    match store.view(|views| views.small.runs.run(run).map(|run| run.state))? {
        RunState::Running if is_paused(store, run) => Some((Wish::Pause, None)),
        RunState::Running => match timing_of(store, run).and_then(|timing| timing.waits_until(now)) {
            None => Some((Wish::GoOn, None)),
            Some(until) => Some((Wish::Pause, Some(until))),
        },
        RunState::Paused => Some((Wish::Pause, None)),
        RunState::Cancelling => Some((Wish::Cancel, None)),
        RunState::Requested | RunState::Refused | RunState::Completed | RunState::Cancelled | RunState::Stuck => None,
    }
}

/// Returns what is wished of one saga of a run: one mailbox or data subject may be paused while the others go on.
pub(super) fn of_saga(views: &Views, id: SagaId, wish: Wish) -> Wish {
    let saga = views.small.runs.saga(id);
    let mailbox = saga.and_then(|saga| saga.started.mailbox);
    let is_paused = mailbox.is_some_and(|mailbox| is_mailbox_paused(views, mailbox))
        || saga.is_some_and(|saga| views.waits_for_data_subject(saga));
    if is_paused && wish == Wish::GoOn { Wish::Pause } else { wish }
}

/// Says whether nothing new is begun in a mailbox. What is being copied elsewhere stays until it was verified there.
pub(super) fn is_mailbox_paused(views: &Views, mailbox: EntityId) -> bool {
    views.small.pauses.covers_mailbox(mailbox) || views.small.migrations.using(mailbox).is_some()
}

/// Says whether somebody paused everything, the policy of a run, or the data subject whose records it erases.
pub(super) fn is_paused(store: &Store, run: RunId) -> bool {
    store.view(|views| {
        let policy = policy_of(views, run);
        let erases = views.small.runs.run(run).and_then(|run| views.small.plans.get(run.plan)?.erases);
        policy.is_some_and(|policy| views.small.pauses.covers_policy(policy))
            || erases.is_some_and(|request| views.small.pauses.covers_request(request))
    })
}

/// What a run took up last under a policy with a rate.
pub(super) struct Taken {
    /// The saga that took it.
    pub(super) saga: SagaId,
    /// When.
    pub(super) at: Timestamp,
    items: u64,
    rate: Rate,
}

impl Taken {
    /// Returns when more may be taken up, if this was at an instant.
    pub(super) fn next_at(&self, at: Timestamp) -> Timestamp {
        self.rate.next_at(at, self.items)
    }
}

/// Returns what a run took up last, if the rate of its policy lets it wait: told by the log, so that a restart makes nothing
/// faster.
pub(super) fn last_taken(store: &Store, run: RunId) -> Result<Option<Taken>, StageError> {
    let last = store.view(|views| {
        let last = views.small.runs.run(run)?.sagas.last().copied()?;
        Some((last, policy_of(views, run)?.to_owned()))
    });
    let Some((last, policy)) = last else { return Ok(None) };
    let Some(rate) = store.policy_of_plans(&policy).and_then(|policy| policy.limits.rate) else { return Ok(None) };
    let recorded = store.read(last.0)?;
    Ok(recorded.as_ref().and_then(|recorded| match recorded.event() {
        Some(Event::SagaStarted(body)) => {
            let (saga, at, items) = (last, recorded.envelope.recorded_at, body.items.len() as u64);
            Some(Taken { saga, at, items, rate })
        }
        _ => None,
    }))
}

pub(super) fn timing_of(store: &Store, run: RunId) -> Option<Timing> {
    let policy = store.view(|views| policy_of(views, run).map(str::to_owned));
    store.policy_of_plans(&policy?).map(|policy| policy.timing.clone())
}

pub(super) fn policy_of(views: &Views, run: RunId) -> Option<&str> {
    let plan = views.small.runs.run(run)?.plan;
    Some(views.small.plans.get(plan)?.request.policy.as_str())
}

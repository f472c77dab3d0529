//! The access that a run takes to the mailboxes in which it works. It is asked for here, and core says when; giving it
//! and taking it back is the work of the driver of grants, which also ends it when nobody needs it any more.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use retention_core::event::Event;
use retention_core::event::decision::{PlanFrozen, PlanItem};
use retention_core::event::grant::{GrantPurpose, GrantRequested};
use retention_core::event::saga::SkipReason;
use retention_core::grant::run::{self, Access};
use retention_core::id::{Digest, EntityId, RunId, SagaId};
use retention_core::policy::RunAccess;
use retention_core::saga::{self, Wish};
use retention_core::time::Timestamp;
use retention_core::view::{Condition, Grant, Grants, RunState, Saga};

use super::super::{StageError, Step};
use super::{Run, wish};
use crate::store::{AppendError, Store};

/// How long an approval of such a grant would count, in milliseconds. It needs none of its own: that of the plan is it.
const APPROVAL_VALID_MS: u64 = 3_600_000;

/// A run whose rate lets it go on only later than this gives its access back until then, in microseconds. Giving and taking
/// back costs a few logins and some commands for each folder, so it is not done between items that come each minute.
const LONG_US: i64 = 60_000_000;

/// What versions of policies say of the access of their runs.
#[derive(Default)]
pub(super) struct Terms {
    known: Mutex<HashMap<Digest, Option<Arc<RunAccess>>>>,
}

/// What a run takes.
pub(super) enum Takes {
    Nothing,
    Access(PlanFrozen, Arc<RunAccess>),
    /// Nobody can say any more what was approved.
    Unreadable,
}

/// Whether a step may begin.
pub(super) enum MayBegin {
    /// It may, on this condition.
    On(Condition),
    /// Not now; this was done about it.
    NotNow(Step),
}

impl Run {
    /// Returns what a run takes by the version of the policy that was approved, whatever is active now.
    pub(super) fn takes(&self, run: RunId) -> Result<Takes, StageError> {
        // No policy decides about an erasure, so it takes nothing.
        let frozen = self.store.view(|views| {
            let plan = views.small.plans.get(views.small.runs.run(run)?.plan)?;
            plan.frozen.clone().filter(|_| plan.erases.is_none())
        });
        let Some(frozen) = frozen else { return Ok(Takes::Nothing) };
        let digest = frozen.policy_digest;
        let known = self.terms.known.lock().get(&digest).cloned();
        let access = match known {
            Some(access) => access,
            None => {
                let active = self.store.policy_of_plans(&frozen.policy).filter(|policy| policy.digest() == digest);
                let policy = match active {
                    Some(policy) => Some(policy),
                    None => self.store.policy_version(digest)?,
                };
                let Some(policy) = policy else { return Ok(Takes::Unreadable) };
                let access = policy.run_access.clone().map(Arc::new);
                self.terms.known.lock().insert(digest, access.clone());
                access
            }
        };
        Ok(access.map_or(Takes::Nothing, |access| Takes::Access(frozen, access)))
    }

    /// Says whether the next step of a saga may begin, or has to wait for the access that its run takes. What gets none
    /// is left alone.
    pub(super) fn may_begin(&self, id: SagaId, saga: &Saga, next: saga::Next) -> Result<MayBegin, StageError> {
        let Some(mailbox) = saga.started.mailbox.filter(|_| run::waits(saga, next)) else {
            return Ok(MayBegin::On(Condition::None));
        };
        let (frozen, terms) = match self.takes(saga.started.run)? {
            Takes::Nothing => return Ok(MayBegin::On(Condition::None)),
            Takes::Access(frozen, terms) => (frozen, terms),
            Takes::Unreadable => return self.goes_without(id, saga),
        };
        let access = self.store.view(|views| {
            // A clock that was set back must not make a lease longer.
            let now = self.clock.now().max(views.recorded_at);
            run::access(&views.small.grants, saga, mailbox, self.sagas_at_once, now)
        });
        Ok(match access {
            Access::Stands(grant) => MayBegin::On(Condition::GrantActive(grant)),
            Access::Wait => MayBegin::NotNow(Step::Idle),
            Access::Ask => MayBegin::NotNow(self.ask_for_access(id, saga.started.run, mailbox, frozen, &terms)?),
            Access::Over => return self.goes_without(id, saga),
        })
    }

    fn ask_for_access(
        &self,
        id: SagaId,
        run: RunId,
        mailbox: EntityId,
        frozen: PlanFrozen,
        terms: &RunAccess,
    ) -> Result<Step, StageError> {
        let body = GrantRequested {
            mailbox,
            principal: self.store.principal(&terms.principal),
            identifier: terms.principal.clone(),
            purpose: GrantPurpose::Run { run },
            policy: frozen.policy,
            policy_digest: frozen.policy_digest,
            duration_ms: terms.max_ms,
            max_ms: terms.max_ms,
            alarm_after_ms: terms.alarm_after_ms,
            // Whoever approved the plan approved this.
            approvals: 0,
            approval_valid_ms: APPROVAL_VALID_MS,
            reason: format!("run {run} works in the mailbox, as plan {} says", frozen.plan),
            ticket: None,
        };
        let has_room = Condition::FewerTaken(run, self.sagas_at_once);
        let condition = Condition::RunIn(run, vec![RunState::Running]).and(has_room);
        match self.append(id.0, vec![Event::GrantRequested(body)], condition) {
            Ok(_) => Ok(Step::Worked),
            // Paused, cancelled, or another saga was first, in this very moment: what the log tells next wakes the stage.
            Err(StageError::Append(AppendError::Conflict(_))) => Ok(Step::Idle),
            Err(error) => Err(error),
        }
    }

    /// Leaves alone what may not be done without the access: under the policy as it was approved, it is not due.
    fn goes_without(&self, id: SagaId, saga: &Saga) -> Result<MayBegin, StageError> {
        tracing::warn!(saga = %id, "the run has no access to the mailbox that its policy wants; its items are left alone");
        self.skip(id, saga.open_items().map(|item| (item.entity, SkipReason::NotDue)).collect())?;
        Ok(MayBegin::NotNow(Step::Worked))
    }

    /// Returns how many of these sagas wait for access.
    pub(super) fn awaiting_access(
        &self,
        run: RunId,
        sagas: &[SagaId],
        wish: Wish,
        now: Timestamp,
    ) -> Result<usize, StageError> {
        if sagas.is_empty() || !matches!(self.takes(run)?, Takes::Access(..)) {
            return Ok(0);
        }
        Ok(self.store.view(|views| {
            let now = now.max(views.recorded_at);
            let awaits = |id: &&SagaId| {
                views.small.runs.saga(**id).is_some_and(|saga| {
                    let next = saga::next(saga, wish::of_saga(views, **id, wish), now);
                    access_before(&views.small.grants, saga, next, self.sagas_at_once, now)
                        .is_some_and(|access| matches!(access, Access::Ask | Access::Wait))
                })
            };
            sagas.iter().filter(awaits).count()
        }))
    }
}

/// Returns how a saga stands whose next step waits for access; `None` if it does not wait for any.
pub(super) fn access_before(
    grants: &Grants,
    saga: &Saga,
    next: saga::Next,
    at_once: usize,
    now: Timestamp,
) -> Option<Access> {
    let mailbox = saga.started.mailbox.filter(|_| run::waits(saga, next))?;
    Some(run::access(grants, saga, mailbox, at_once, now))
}

/// Says whether a run still needs a grant that it took: a saga works in the mailbox, or what it takes up next lies there.
pub(super) fn is_needed(store: &Store, id: RunId, grant: &Grant, now: Timestamp) -> bool {
    let Some((wish, _)) = wish::of_run(store, id, now) else { return false };
    let (is_at_work, next) = store.view(|views| {
        let Some(run) = views.small.runs.run(id) else { return (false, None) };
        let mut is_at_work = false;
        // What is begun comes before what is to be taken up.
        let mut is_another_waiting = false;
        for id in &run.sagas {
            let Some(saga) = views.small.runs.saga(*id).filter(|saga| saga.end.is_none()) else { continue };
            let wish = wish::of_saga(views, *id, wish);
            match saga.started.mailbox == Some(grant.mailbox) {
                true => is_at_work |= run::is_needed(saga, wish, now),
                false => is_another_waiting |= run::waits(saga, saga::next(saga, wish, now)),
            }
        }
        let is_paused = wish::is_mailbox_paused(views, grant.mailbox);
        let takes_more = run.taken < run.items && !is_another_waiting && !is_paused;
        (is_at_work, takes_more.then_some((run.plan, run.taken)))
    });
    let Some((plan, taken)) = next.filter(|_| !is_at_work && wish == Wish::GoOn) else { return is_at_work };
    if waits_long_for_rate(store, id, now) {
        return false;
    }
    let item = store.plan_item(plan, taken).unwrap_or_else(|error| {
        // The run cannot take it up either, and no revoke of any grant has to wait for that.
        tracing::error!(run = %id, %error, "what the run takes up next cannot be read; its access is taken back");
        None
    });
    let mailbox_of = |item: PlanItem| store.view(|views| views.entities.row(item.entity).and_then(|row| row.mailbox));
    item.and_then(mailbox_of) == Some(grant.mailbox)
}

/// Says whether the rate of its policy lets a run take up more only long after now.
fn waits_long_for_rate(store: &Store, run: RunId, now: Timestamp) -> bool {
    match wish::last_taken(store, run) {
        Ok(taken) => taken.is_some_and(|taken| now.0.saturating_add(LONG_US) < taken.next_at(taken.at).0),
        Err(error) => {
            // Nor can the run tell, so it takes up nothing.
            tracing::error!(%run, %error, "the log does not tell when the run goes on; its access is taken back");
            true
        }
    }
}

//! Runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use futures_util::stream;
use retention_core::control::{
    Accepted, Because, ErrorCode, Line, ListQuery, Progress, RunAccessRow, RunRow, SagaRow, StartRun, StreamEnd,
    WaitQuery,
};
use retention_core::event::Event;
use retention_core::event::decision::{RunCancelled, RunPaused, RunRequested, RunResumed};
use retention_core::event::grant::GrantEnd;
use retention_core::event::saga::{Failure, SagaEnd, Step};
use retention_core::grant::run::Taken;
use retention_core::id::{GrantId, RunId, SagaId};
use retention_core::saga;
use retention_core::time::Timestamp;
use retention_core::view::runs::StepStanding;
use retention_core::view::{Condition, Grant, PlanState, Run, RunState, Saga, Views};
use tokio::sync::watch;

use super::super::answer::{Wanted, lines_of};
use super::super::error::ApiError;
use super::super::input::{Argument, Asked, Body, check_reason, check_text};
use super::{About, Caller, Seen, Shared, not_found, plan, requester};

pub(crate) async fn start(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<StartRun>,
) -> Result<Json<Accepted>, ApiError> {
    let (id, digest, now) = (wanted.plan, wanted.digest, control.clock.now());
    control
        .see(move |views| {
            let found = views.small.plans.get(id);
            let plan = found.ok_or_else(|| not_found("plan", id).hint("retentionctl plan list"))?;
            plan::check_digest(id, plan, digest)?;
            match views.state_of_plan(plan, now) {
                PlanState::Ready => Ok(()),
                state => Err(plan::wrong_state(id, state)),
            }
        })
        .await?;
    let event = Event::RunRequested(RunRequested { plan: id, digest });
    control.request_if(&caller, About::Position(id.0), event, Condition::PlanUnused(id)).await.map(Json)
}

pub(crate) async fn list(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    control
        .list_newest(wanted, query, |views, below| {
            let runs = views.small.runs.iter().rev().filter(move |(id, _)| id.0.0 < below);
            Box::new(runs.map(|(id, run)| (id.0.0, row(views, id, run))))
        })
        .await
}

pub(crate) async fn show(
    State(control): State<Shared>,
    Argument(id): Argument<RunId>,
    Asked(query): Asked<WaitQuery>,
) -> Result<Json<RunRow>, ApiError> {
    let clock = Arc::clone(&control.clock);
    let look = move |views: &Views| {
        let row = detail(views, id, clock.now())?;
        Ok(if is_over(&row) { Seen::Settled(row) } else { Seen::Open(row) })
    };
    control.wait(query.wait_seconds, look).await.map(Json)
}

fn found(views: &Views, id: RunId) -> Result<&Run, ApiError> {
    views.small.runs.run(id).ok_or_else(|| not_found("run", id).hint("retentionctl run list"))
}

fn detail(views: &Views, id: RunId, now: Timestamp) -> Result<RunRow, ApiError> {
    let run = found(views, id)?;
    let sagas = run.sagas.iter().filter_map(|saga| Some(saga_row(*saga, views.small.runs.saga(*saga)?))).collect();
    let access = views.small.grants.of_run(id).map(|(grant, taken)| access_row(grant, taken, now)).collect();
    let access_now = Taken::of(&views.small.grants, id, run, now).map(|taken| taken.to_string());
    Ok(RunRow { sagas, access, access_now, ..row(views, id, run) })
}

fn access_row(id: GrantId, grant: &Grant, now: Timestamp) -> RunAccessRow {
    RunAccessRow {
        grant: id,
        mailbox: grant.mailbox,
        state: grant.state(now),
        ends_at: grant.lease_ends_at(),
        ended_at: grant.ended_at,
        // Of one that was given and is gone, what went wrong on the way does not matter any more.
        failed: grant
            .last_failure
            .as_ref()
            .filter(|_| matches!(grant.end, None | Some(GrantEnd::NotGiven)))
            .map(|failure| failure.code.clone()),
    }
}

fn row(views: &Views, id: RunId, run: &Run) -> RunRow {
    let plan = views.small.plans.get(run.plan);
    let sagas = || run.sagas.iter().filter_map(|saga| views.small.runs.saga(*saga));
    let redacted: u64 = sagas().map(Saga::redacted).sum();
    RunRow {
        run: id,
        plan: run.plan,
        policy: plan.map(|plan| plan.request.policy.clone()).unwrap_or_default(),
        state: run.state,
        refusal: run.refused.clone(),
        requested_by: requester(run.requested_by),
        requested_at: run.requested_at,
        ended_at: run.ended_at,
        items: run.items,
        purged: run.purged.saturating_sub(redacted),
        redacted,
        restricted: sagas().map(Saga::restricted).sum(),
        skipped: run.skipped,
        stopped: run.stopped,
        sagas: Vec::new(),
        access: Vec::new(),
        access_now: None,
    }
}

fn saga_row(id: SagaId, saga: &Saga) -> SagaRow {
    let standing = |step| saga.step(step);
    let script = saga::script(saga.started.script, saga.started.script_version);
    let last_first: Vec<Step> = script.iter().flat_map(|script| script.steps().rev()).collect();
    let under_way = last_first
        .iter()
        .copied()
        .find(|step| matches!(standing(*step), Some(StepStanding::Started { .. } | StepStanding::Failed { .. })));
    // A stuck one stands at the last step that was undone, once it was not tried any more.
    let is_given_up = saga.end == Some(SagaEnd::Stuck) && saga.gave_up;
    let given_up =
        last_first.iter().copied().find(|step| is_given_up && matches!(standing(*step), Some(StepStanding::Undone)));
    let shown = under_way.or(given_up);
    let skipped = saga.skipped.len() as u64;
    SagaRow {
        saga: id,
        // An ended saga has handed its items back.
        items: if saga.end.is_some() {
            saga.purged + saga.restricted() + skipped
        } else {
            saga.started.items.len() as u64
        },
        done: last_first.iter().copied().find(|step| saga.receipt(*step).is_some()),
        step: shown,
        end: saga.end,
        failure: shown.and_then(|step| match standing(step) {
            Some(StepStanding::Failed { failure, .. }) => Some(*failure),
            // Nothing else is given up.
            Some(StepStanding::Undone) => Some(Failure::Refused),
            Some(StepStanding::Started { .. } | StepStanding::Done(_)) | None => None,
        }),
        quarantined_until: saga.quarantine_until(),
    }
}

/// Says whether nothing follows any more: a run ends with its work, and the access that it took is given back after that.
fn is_over(row: &RunRow) -> bool {
    let is_ended = match row.state {
        RunState::Refused | RunState::Completed | RunState::Cancelled | RunState::Stuck => true,
        RunState::Requested | RunState::Running | RunState::Paused | RunState::Cancelling => false,
    };
    is_ended && row.access.iter().all(|taken| taken.ended_at.is_some())
}

pub(crate) async fn watch(State(control): State<Shared>, Argument(id): Argument<RunId>) -> Result<Response, ApiError> {
    let mut changes = control.log.changes();
    // The first look is made at once, whatever changed before.
    changes.mark_changed();
    let now = control.clock.now();
    let first = control.see(move |views| detail(views, id, now)).await?;
    let watched = Watched { control, id, changes, last: None, rows: 0, phase: Phase::Row(Box::new(first)) };
    Ok(lines_of(stream::unfold(watched, Watched::next)))
}

/// A run that somebody watches.
struct Watched {
    control: Shared,
    id: RunId,
    changes: watch::Receiver<retention_core::id::Position>,
    last: Option<RunRow>,
    rows: u64,
    phase: Phase,
}

/// What comes next.
enum Phase {
    Row(Box<RunRow>),
    Progress,
    Wait,
    End,
    Over,
}

impl Watched {
    async fn next(mut self) -> Option<(Line<RunRow>, Self)> {
        loop {
            match std::mem::replace(&mut self.phase, Phase::Over) {
                Phase::Row(row) => {
                    self.phase = Phase::Progress;
                    self.rows += 1;
                    self.last = Some((*row).clone());
                    return Some((Line::Row(*row), self));
                }
                Phase::Progress => {
                    let row = self.last.as_ref()?;
                    let (done, total) = (row.purged + row.redacted + row.restricted + row.skipped, Some(row.items));
                    self.phase = if is_over(row) { Phase::End } else { Phase::Wait };
                    return Some((Line::Progress(Progress { unit: "items".to_owned(), done, total }), self));
                }
                Phase::Wait => {
                    // The log is gone when the daemon stops: then the stream ends without its last line.
                    self.changes.changed().await.ok()?;
                    let (id, now) = (self.id, self.control.clock.now());
                    match self.control.see(move |views| detail(views, id, now)).await {
                        Ok(row) if self.last.as_ref() == Some(&row) => self.phase = Phase::Wait,
                        Ok(row) => self.phase = Phase::Row(Box::new(row)),
                        Err(ApiError(error)) => return Some((Line::Error(error), self)),
                    }
                }
                Phase::End => {
                    return Some((Line::End(StreamEnd { rows: self.rows, next: None, ended: None }), self));
                }
                Phase::Over => return None,
            }
        }
    }
}

pub(crate) async fn pause(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<RunId>,
    Body(because): Body<Because>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_text(because.reason)?;
    let event = Event::RunPaused(RunPaused { run: id, reason });
    steer(&control, &caller, id, &[RunState::Requested, RunState::Running], event).await
}

pub(crate) async fn resume(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<RunId>,
    Body(because): Body<Because>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_text(because.reason)?;
    let event = Event::RunResumed(RunResumed { run: id, reason });
    steer(&control, &caller, id, &[RunState::Paused], event).await
}

pub(crate) async fn cancel(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Argument(id): Argument<RunId>,
    Body(because): Body<Because>,
) -> Result<Json<Accepted>, ApiError> {
    let reason = check_reason(because.reason)?;
    let event = Event::RunCancelled(RunCancelled { run: id, reason });
    steer(&control, &caller, id, &[RunState::Requested, RunState::Running, RunState::Paused], event).await
}

/// Records what is to become of a run, if it is in one of these states.
async fn steer(
    control: &Shared,
    caller: &Caller,
    id: RunId,
    from: &'static [RunState],
    event: Event,
) -> Result<Json<Accepted>, ApiError> {
    control
        .see(move |views| match from.contains(&found(views, id)?.state) {
            true => Ok(()),
            false => Err(ApiError::saying(
                ErrorCode::WrongState,
                format!("{id} is not in a state for that; nothing was changed"),
            )
            .hint(format!("retentionctl run show {id}"))),
        })
        .await?;
    let condition = Condition::RunIn(id, from.to_vec());
    control.request_if(caller, About::Position(id.0), event, condition).await.map(Json)
}

#[cfg(test)]
mod tests {
    use retention_core::control::ActorName;
    use retention_core::event::Actor;
    use retention_core::event::saga::{SagaItem, SagaStarted, ScriptKind};
    use retention_core::id::{EntityId, PlanId, Position};
    use retention_core::view::GrantState;

    use super::*;

    #[test]
    fn a_run_that_is_done_is_followed_until_its_access_is_given_back() {
        let row = |state, access| RunRow {
            run: RunId(Position(2)),
            plan: PlanId(Position(1)),
            policy: "mail".to_owned(),
            state,
            refusal: None,
            requested_by: ActorName(Actor::Person(1)),
            requested_at: Timestamp(0),
            ended_at: None,
            items: 1,
            purged: 1,
            redacted: 0,
            restricted: 0,
            skipped: 0,
            stopped: None,
            sagas: Vec::new(),
            access,
            access_now: None,
        };
        let taken = |state, ended_at| RunAccessRow {
            grant: GrantId(Position(3)),
            mailbox: EntityId(1),
            state,
            ends_at: None,
            ended_at,
            failed: None,
        };
        let given_back = || taken(GrantState::Revoked, Some(Timestamp(1)));
        for state in [RunState::Completed, RunState::Cancelled, RunState::Stuck, RunState::Refused] {
            assert!(is_over(&row(state, Vec::new())) && is_over(&row(state, vec![given_back()])), "{state:?}");
            let is_left = vec![given_back(), taken(GrantState::Revoking, None)];
            assert!(!is_over(&row(state, is_left)), "{state:?}");
        }
        assert!(!is_over(&row(RunState::Running, vec![given_back()])));
    }

    #[test]
    fn every_step_of_every_script_is_told_while_it_is_under_way() {
        for (script, script_version) in [
            (ScriptKind::ExportPurge, saga::EXPORT_PURGE_VERSION),
            (ScriptKind::MessagePurge, saga::MESSAGE_PURGE_VERSION),
        ] {
            for step in saga::script(script, script_version).expect("a script").steps() {
                let started = SagaStarted {
                    run: RunId(Position(1)),
                    script,
                    script_version,
                    mailbox: None,
                    items: vec![SagaItem { item: 0, entity: EntityId(1), version: Position(1) }],
                };
                let mut saga = Saga::begun(started);
                saga.steps.insert(step as u8, StepStanding::Started { attempt: 1 });
                assert_eq!(saga_row(SagaId(Position(2)), &saga).step, Some(step), "{script:?}");
                // Given up and undone, it is still told where a stuck one stands.
                saga.steps.insert(step as u8, StepStanding::Undone);
                assert_eq!(saga_row(SagaId(Position(2)), &saga).step, None, "{script:?}");
                (saga.gave_up, saga.end) = (true, Some(SagaEnd::Stuck));
                let row = saga_row(SagaId(Position(2)), &saga);
                assert_eq!((row.step, row.failure), (Some(step), Some(Failure::Refused)), "{script:?}");
            }
        }
    }
}

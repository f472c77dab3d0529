//! Driving grants: the only code that gives and takes back mailbox permissions.
//!
//! It has a thread of its own, so that no export, however long, keeps a revoke waiting. Normal driving and recovery
//! after a crash are the same code: look at what the log says, ask [`retention_core::grant::next`], do that one thing,
//! record it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use retention_core::event::grant::{
    FOLDERS_PER_EVENT, FolderReading, FolderRights, GrantEnded, GrantFoldersRead, GrantPurpose, GrantReceipt,
    GrantRevokeRequested, GrantStep, GrantStepFailed, GrantStepStarted, GrantStepSucceeded,
};
use retention_core::event::saga::Failure;
use retention_core::event::{Draft, Event, EventType, Recorded};
use retention_core::grant::{self, Next};
use retention_core::id::{GrantId, Position, RunId};
use retention_core::time::Timestamp;
use retention_core::view::grants::GrantStage;
use retention_core::view::{Condition, Grant};

use super::super::{StageError, Step, sooner};
use super::access;
use crate::clock::Clock;
use crate::connector::access::AccessTarget;
use crate::connector::outcome::{Outcome, Refusal, Retry};
use crate::store::open::draft_caused_by;
use crate::store::query::{Order, PAGE_ROWS_MAX, Query};
use crate::store::{AppendError, Store};

mod apply;

/// How long to wait with a probe after an effect whose end nobody knows.
const PROBE_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How long to wait before it is looked again whether a run needs its access: hours in which its policy waits begin
/// without any event.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The driver of all grants.
pub struct Grants {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    target: Arc<dyn AccessTarget>,
    /// Since when, by the clock, grants are known to stand while the time of the log stands still. What events say of when
    /// they happened tells it again after a restart.
    standing_still: BTreeMap<GrantId, Timestamp>,
    /// Grants for which this process read what stood there. By what another one read, perhaps days ago, that would be left
    /// at the end which somebody has taken away since, and that be taken away which somebody has given.
    read_here: BTreeSet<GrantId>,
}

/// What a step did: its receipt, and what was read of each folder.
struct Done {
    receipt: Receipt,
    reading: FolderReading,
    folders: Vec<FolderRights>,
}

/// A receipt, before it is known in how many events the folders stand.
enum Receipt {
    Folders(fn(u32, &[FolderRights]) -> GrantReceipt),
    Whole(GrantReceipt),
}

impl Grants {
    /// Works on a store and a target.
    #[must_use]
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, target: Arc<dyn AccessTarget>) -> Self {
        Self { store, clock, target, standing_still: BTreeMap::new(), read_here: BTreeSet::new() }
    }

    /// Does one thing for one grant; what is to be taken back comes first.
    ///
    /// # Errors
    /// When the log or the store fail: recovery goes on from what is recorded.
    pub fn step(&mut self) -> Result<Step, StageError> {
        // The log of a backup knows nothing of what was given since: a person looks at the servers first.
        if self.store.view(|views| views.small.restored.waits().is_some()) {
            return Ok(Step::Idle);
        }
        let (now, mut open) = self.store.view(|views| {
            // A clock that was set back must not make a lease longer.
            let clock = self.clock.now();
            let now = clock.max(views.recorded_at);
            let grants = &views.small.grants;
            let open: Vec<(bool, GrantId, Next)> = grants
                .open()
                .map(|(id, grant)| {
                    let next = grant::next(grant, grants.standing_beside(id, now), now, clock);
                    (grant.ends_since(now).is_none(), id, next)
                })
                .collect();
            (now, open)
        });
        let mut wake = match self.end_what_no_run_needs(now)? {
            Step::Worked => return Ok(Step::Worked),
            Step::IdleUntil(at) => Some(at),
            Step::Idle => None,
        };
        match self.end_what_lasts_too_long_by_the_clock(now)? {
            Step::Worked => return Ok(Step::Worked),
            Step::IdleUntil(at) => wake = Some(sooner(wake, at)),
            Step::Idle => {}
        }
        open.sort_unstable_by_key(|(goes_on, id, _)| (*goes_on, *id));
        for (_, id, next) in open {
            match next {
                Next::WaitUntil(at) => wake = Some(sooner(wake, at)),
                Next::Nothing => {}
                Next::Start { step, attempt } => {
                    self.start(id, step, attempt, now)?;
                    return Ok(Step::Worked);
                }
                Next::Probe { step, attempt } => {
                    self.probe(id, step, attempt)?;
                    return Ok(Step::Worked);
                }
                Next::End(end) => {
                    let event = Event::GrantEnded(GrantEnded { grant: id, end });
                    self.append(id, vec![event], Condition::GrantIs(id, GrantStage::Open))?;
                    return Ok(Step::Worked);
                }
            }
        }
        Ok(wake.map_or(Step::Idle, Step::IdleUntil))
    }

    /// Asks for the end of one grant that its run does not need any more, if there is one; says when to look again if
    /// runs need theirs. This comes before anything else, so that the log says of each whether the work ended it or the
    /// time.
    fn end_what_no_run_needs(&self, now: Timestamp) -> Result<Step, StageError> {
        let mut look_again = Step::Idle;
        let of_runs: Vec<(GrantId, RunId, Grant)> = self.store.view(|views| {
            let open =
                views.small.grants.open().filter(|(_, grant)| grant.revoke_requested_at.is_none() && grant.is_on(now));
            let of_runs = open.filter_map(|(id, grant)| match grant.purpose {
                GrantPurpose::Run { run } => Some((id, run, grant.clone())),
                GrantPurpose::Request | GrantPurpose::Removal { .. } | GrantPurpose::Standing => None,
            });
            of_runs.collect()
        });
        for (id, run, grant) in of_runs {
            // Told by the clock by which the run goes on: by another one, each would undo what the other does.
            if access::is_needed(&self.store, run, &grant, self.clock.now()) {
                look_again = Step::IdleUntil(self.clock.now().after(LOOK_AGAIN_AFTER));
                continue;
            }
            let reason = format!("run {run} does not need it any more");
            return self.ask_for_end(id, reason);
        }
        Ok(look_again)
    }

    /// Asks for the end of one grant that has stood for its whole time by the clock, while that of the log stands still
    /// because a clock was once ahead: by the log alone it would last until the clock has caught up.
    fn end_what_lasts_too_long_by_the_clock(&mut self, now: Timestamp) -> Result<Step, StageError> {
        let clock = self.clock.now();
        if clock >= now {
            self.standing_still.clear();
            return Ok(Step::Idle);
        }
        let standing: BTreeMap<GrantId, i64> = self.store.view(|views| {
            let on = views.small.grants.open().filter(|(_, grant)| grant.is_on(now));
            on.filter_map(|(id, grant)| Some((id, grant.lease_ends_at()?.0.saturating_sub(grant.begun_at?.0))))
                .collect()
        });
        self.standing_still.retain(|id, _| standing.contains_key(id));
        let mut wake = None;
        for (id, length_us) in standing {
            let since = match self.standing_still.get(&id) {
                Some(since) => *since,
                None => self.stood_already(id)?.unwrap_or(clock),
            };
            let since = clock.min(since);
            self.standing_still.insert(id, since);
            let end = Timestamp(since.0.saturating_add(length_us));
            if clock < end {
                wake = Some(sooner(wake, end));
                continue;
            }
            let reason =
                "its time is over by the clock; that of the log stands still since a clock was ahead".to_owned();
            return self.ask_for_end(id, reason);
        }
        Ok(wake.map_or(Step::Idle, Step::IdleUntil))
    }

    /// Returns the earliest instant of the clock at which the log knows a grant to stand: of its own steps, and of the starts
    /// of the daemon behind the first of them that may have given it.
    fn stood_already(&self, id: GrantId) -> Result<Option<Timestamp>, StageError> {
        let mut query = Query {
            types: vec![EventType::GrantStepStarted, EventType::DaemonStarted],
            order: Order::OldestFirst,
            after: Some(id.0),
            limit: PAGE_ROWS_MAX,
            ..Query::default()
        };
        let mut since: Option<Timestamp> = None;
        loop {
            let page = self.store.query(&query)?;
            for (position, row) in page.rows {
                let is_of_daemon = row.event_type == EventType::DaemonStarted as u16;
                let counts = match since {
                    Some(_) => is_of_daemon || row.cause == id.0,
                    None if is_of_daemon || row.cause != id.0 => false,
                    None => matches!(
                        self.store.read(position)?.as_ref().and_then(Recorded::event),
                        Some(Event::GrantStepStarted(body)) if body.step == GrantStep::Give
                    ),
                };
                if counts {
                    since = Some(since.map_or(row.occurred_at, |since| since.min(row.occurred_at)));
                }
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(since),
            }
        }
    }

    fn ask_for_end(&self, id: GrantId, reason: String) -> Result<Step, StageError> {
        let event = Event::GrantRevokeRequested(GrantRevokeRequested { grant: id, reason });
        match self.append(id, vec![event], Condition::GrantIs(id, GrantStage::Open)) {
            // Over in this very moment: the next look sees it.
            Ok(_) | Err(StageError::Append(AppendError::Conflict(_))) => Ok(Step::Worked),
            Err(error) => Err(error),
        }
    }

    fn grant(&self, id: GrantId) -> Option<Grant> {
        self.store.view(|views| views.small.grants.get(id).cloned())
    }

    /// Records the intent, then applies the effect.
    fn start(&mut self, id: GrantId, step: GrantStep, attempt: u32, now: Timestamp) -> Result<(), StageError> {
        let Some(grant) = self.grant(id) else { return Ok(()) };
        let (step, attempt) = match step {
            GrantStep::Give | GrantStep::Revoke if grant.begun_at.is_none() && !self.read_here.remove(&id) => {
                (GrantStep::Read, 1)
            }
            _ => (step, attempt),
        };
        let stage = match step {
            GrantStep::Read => GrantStage::NotBegun,
            GrantStep::Give if grant.begun_at.is_none() => GrantStage::NotBegun,
            GrantStep::Give => GrantStage::Standing,
            GrantStep::Revoke | GrantStep::VerifyRevoked => GrantStage::Open,
        };
        let event = Event::GrantStepStarted(GrantStepStarted { grant: id, step, attempt });
        match self.append(id, vec![event], Condition::GrantIs(id, stage)) {
            Ok(_) => {}
            // Rejected, taken back or revoked in this very moment: the next look sees it.
            Err(StageError::Append(AppendError::Conflict(_))) => return Ok(()),
            Err(error) => return Err(error),
        }
        tracing::info!(grant = %id, step = step.name(), attempt, late_us = now.0 - grant.requested_at.0, "a grant's step begins");
        let outcome = self.apply(id, &grant, step)?;
        self.record(id, &grant, step, attempt, outcome)
    }

    /// Finds out what a step did whose end is not recorded. Reading, taking back and verifying begin with reading what
    /// is there and end in the same state however often they are done, so doing them again is the probe.
    fn probe(&mut self, id: GrantId, step: GrantStep, attempt: u32) -> Result<(), StageError> {
        let Some(grant) = self.grant(id) else { return Ok(()) };
        let outcome = match step {
            GrantStep::Give => self.probe_given(id, &grant)?,
            GrantStep::Read | GrantStep::Revoke | GrantStep::VerifyRevoked => self.apply(id, &grant, step)?,
        };
        self.record(id, &grant, step, attempt, outcome)
    }

    fn record(
        &mut self,
        id: GrantId,
        grant: &Grant,
        step: GrantStep,
        attempt: u32,
        outcome: Outcome<Done>,
    ) -> Result<(), StageError> {
        let now = self.clock.now();
        let (failure, code, retry_at) = match outcome {
            Outcome::Applied(done) => return self.record_done(id, grant, step, done),
            Outcome::Refused(refusal) => (Failure::Refused, refusal.code, retry_at(step, attempt, now, refusal)),
            Outcome::Unknown(cause) => (Failure::Unknown, cause.code, Some(now.after(PROBE_AGAIN_AFTER))),
        };
        tracing::warn!(grant = %id, step = step.name(), attempt, code, ?failure, "a grant's step did not take effect");
        let code = code.to_owned();
        let event = Event::GrantStepFailed(GrantStepFailed { grant: id, step, attempt, failure, code, retry_at });
        self.append(id, vec![event], Condition::None).map(drop)
    }

    /// Records the folders and the receipt together: none is ever in the log without the other.
    fn record_done(&mut self, id: GrantId, grant: &Grant, step: GrantStep, done: Done) -> Result<(), StageError> {
        let parts = done.folders.chunks(FOLDERS_PER_EVENT);
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let receipt = match done.receipt {
            Receipt::Folders(receipt) => receipt(count, &done.folders),
            Receipt::Whole(receipt) => receipt,
        };
        let mut drafts = Vec::with_capacity(parts.len() + 1);
        for folders in parts {
            let body = GrantFoldersRead { grant: id, reading: done.reading, folders: folders.to_vec() };
            let draft = Draft {
                stream: self.store.stream_of(grant.mailbox),
                entity: Some(grant.mailbox),
                ..draft_caused_by(id.0, Event::GrantFoldersRead(body))
            };
            drafts.push(draft);
        }
        drafts.push(draft_caused_by(id.0, Event::GrantStepSucceeded(GrantStepSucceeded { grant: id, step, receipt })));
        self.store.append_drafts(drafts, Condition::None)?;
        if step == GrantStep::Read {
            self.read_here.insert(id);
        }
        Ok(())
    }

    fn append(&self, id: GrantId, events: Vec<Event>, condition: Condition) -> Result<Position, StageError> {
        let occurred_at = self.store.clock_behind_the_log(self.clock.now());
        let drafts = events.into_iter().map(|event| Draft { occurred_at, ..draft_caused_by(id.0, event) }).collect();
        Ok(self.store.append_drafts(drafts, condition)?.first)
    }
}

/// What a server asks for is waited for, but a revoke never longer than it waits anyway.
fn retry_at(step: GrantStep, attempt: u32, now: Timestamp, refusal: Refusal) -> Option<Timestamp> {
    let usual = grant::retry_at(step, attempt, now)?;
    let may_wait = match step {
        GrantStep::Read | GrantStep::Give => true,
        GrantStep::Revoke | GrantStep::VerifyRevoked => false,
    };
    match refusal.retry {
        Retry::Never if step == GrantStep::Give => None,
        Retry::After(wait) if may_wait => Some(usual.max(now.after(wait))),
        Retry::AfterProbe => Some(now),
        Retry::Never | Retry::After(_) | Retry::Operator => Some(usual),
    }
}

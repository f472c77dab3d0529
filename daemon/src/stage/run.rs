//! Run: the one door to everything irreversible.
//!
//! A run executes one approved plan, once, in sagas of up to 10,000 items of one mailbox. Every effect is applied
//! here and nowhere else, each after its intent is durable. Normal driving and recovery after a crash are the same
//! code: look at what the log says, ask [`retention_core::saga::next`], do that one thing, record it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::tz::TimeZone;
use parking_lot::Mutex;
use retention_core::event::Event;
use retention_core::event::decision::{RunEnd, RunEnded, RunRefused, RunStarted};
use retention_core::event::saga::SagaEnd;
use retention_core::evidence::ExpectedItem;
use retention_core::id::{Digest, Position, RunId, SagaId};
use retention_core::policy::{AgeRecipient, CsvProfile, Timing};
use retention_core::saga::Wish;
use retention_core::time::{Period, Timestamp, Zone};
use retention_core::view::{Condition, PlanState, RunState, Views};

use super::{StageError, Step, sooner};
use crate::clock::Clock;
use crate::connector::archive::{BundleName, ExportTarget, OneTimeKey};
use crate::connector::mail::{Mailroom, NoMailroom};
use crate::store::open::draft_caused_by;
use crate::store::{AppendError, Store};

mod access;
mod begin;
mod beside;
mod copies;
pub mod credential;
mod drift;
mod drive;
mod effect;
pub mod grant;
mod made;
mod message;
pub mod migrate;
mod redact;
mod reread;
mod restrict;
pub mod trust;
mod wish;

use beside::Rests;
pub use beside::SAGAS_AT_ONCE;
pub use reread::BundlesReread;

/// The stage.
pub struct Run {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    archive: Arc<dyn ExportTarget>,
    mailroom: Arc<dyn Mailroom>,
    /// The zone in which the names of bundles tell the time.
    zone: TimeZone,
    /// How CSV is written at least, whatever a policy says.
    csv_profile: CsvProfile,
    /// To whom the bundles of erasures are encrypted that data subjects asked for; nobody: they are not.
    erasures_encrypt_to: BTreeSet<AgeRecipient>,
    /// How many sagas go on beside each other.
    sagas_at_once: usize,
    /// What was written for a saga by this process; after a restart it is found again by a probe and from the log.
    written: Mutex<HashMap<SagaId, Written>>,
    /// When the bundle of a saga was last read again before its pivot.
    reread: BundlesReread,
    trust: Mutex<trust::Trust>,
    terms: access::Terms,
    /// What each run took up last, and when this process first saw that by the clock.
    taken: Mutex<HashMap<RunId, (SagaId, Timestamp)>>,
    /// How many bundles whose time is over must stay for now, and when that was last seen.
    copies_stuck: usize,
    copies_tried_at: Option<Timestamp>,
    /// How long the bundles of each version of a policy stay.
    bundle_periods: HashMap<Digest, Option<(Period, Zone)>>,
}

struct Written {
    name: BundleName,
    expected: Vec<ExpectedItem>,
    is_encrypted: bool,
    /// What an encrypted bundle is read back with; `None` once it was, or of any other.
    key: Option<Arc<OneTimeKey>>,
}

impl Run {
    /// Works on a store and an archive.
    #[must_use]
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, archive: Arc<dyn ExportTarget>, zone: TimeZone) -> Self {
        let trust = Mutex::new(trust::Trust::of(clock.as_ref()));
        let mailroom = Arc::new(NoMailroom);
        Self {
            store,
            clock,
            archive,
            mailroom,
            zone,
            csv_profile: CsvProfile::Exact,
            erasures_encrypt_to: BTreeSet::new(),
            sagas_at_once: 1,
            written: Mutex::default(),
            reread: BundlesReread::default(),
            trust,
            terms: access::Terms::default(),
            taken: Mutex::default(),
            copies_stuck: 0,
            copies_tried_at: None,
            bundle_periods: HashMap::new(),
        }
    }

    /// Purges messages in these mailboxes.
    #[must_use]
    pub fn with_mailroom(self, mailroom: Arc<dyn Mailroom>) -> Self {
        Self { mailroom, ..self }
    }

    /// Drives so many sagas beside each other; without this, one after the other.
    #[must_use]
    pub fn with_sagas_at_once(self, sagas_at_once: usize) -> Self {
        Self { sagas_at_once, ..self }
    }

    /// Changes the zone of new bundles.
    pub fn set_zone(&mut self, zone: TimeZone) {
        self.zone = zone;
    }

    /// Changes how the CSV of new bundles is written: safe for spreadsheets, or as each policy says.
    pub fn set_csv_profile(&mut self, profile: CsvProfile) {
        self.csv_profile = profile;
    }

    /// Changes to whom new bundles are encrypted of erasures that data subjects asked for.
    pub fn set_erasures_encrypt_to(&mut self, recipients: BTreeSet<AgeRecipient>) {
        self.erasures_encrypt_to = recipients;
    }

    /// Does one thing: begins a run, begins a saga, drives a saga by one step, or ends a run; or drives several sagas
    /// beside each other until none of them can go on.
    ///
    /// # Errors
    /// When the log or the keys fail: the store is then opened again, and recovery goes on from what is recorded.
    pub fn step(&mut self) -> Result<Step, StageError> {
        let doubt = self.doubts_clock()?;
        if !self.is_ready() {
            return Ok(Step::Idle);
        }
        let now = self.clock.now();
        let open: Vec<(RunId, RunState)> = self.store.view(|views| {
            views.small.runs.iter().filter(|(_, run)| run.ended_at.is_none()).map(|(id, run)| (id, run.state)).collect()
        });
        let mut wake: Option<Timestamp> = None;
        for (id, state) in open {
            let step = match state {
                RunState::Requested if self.is_paused(id) => Step::Idle,
                RunState::Requested => self.begin(id, now)?,
                RunState::Running | RunState::Paused | RunState::Cancelling => self.go_on_as_wished(id, now)?,
                RunState::Refused | RunState::Completed | RunState::Cancelled | RunState::Stuck => Step::Idle,
            };
            match step {
                Step::Worked => return Ok(Step::Worked),
                Step::IdleUntil(at) => wake = Some(sooner(wake, at)),
                Step::Idle => {}
            }
        }
        // By a clock that may be wrong no time is over.
        match doubt.map_or_else(|| self.destroy_copies(now), Ok)? {
            Step::Worked => return Ok(Step::Worked),
            Step::IdleUntil(at) => wake = Some(sooner(wake, at)),
            Step::Idle => {}
        }
        Ok(wake.map_or(Step::Idle, Step::IdleUntil))
    }

    /// Says whether anything may be done at all.
    fn is_ready(&self) -> bool {
        let (waits, in_log) =
            self.store.view(|views| (views.small.restored.waits().is_some(), views.small.policies.digest));
        // A store from a backup only observes until a person confirms it: the world has gone on since.
        //
        // After a start, and for a moment after an edit, the policies of the log are not installed yet. Judging by
        // others would call what was approved stale.
        !waits && in_log.is_none_or(|digest| digest == self.store.policies().digest())
    }

    /// Checks that the plan may run, and takes it.
    fn begin(&self, run: RunId, now: Timestamp) -> Result<Step, StageError> {
        let digest = self.requested_digest(run)?;
        // A clock that was set back must not give an approval its force again.
        let checked = self.store.view(|views| check_plan(views, run, digest, now.max(views.recorded_at)));
        let (plan, code) = match checked {
            Ok((plan, policy, policy_digest, items)) => {
                if self.store.policy_of_plans(&policy).map(|policy| policy.digest()) == Some(policy_digest) {
                    let event = Event::RunStarted(RunStarted { run, plan, items });
                    let condition = Condition::All(vec![
                        Condition::PlanUnused(plan),
                        Condition::RunIn(run, vec![RunState::Requested]),
                    ]);
                    match self.append(run.0, vec![event], condition) {
                        Ok(_) => return Ok(Step::Worked),
                        Err(StageError::Append(AppendError::Conflict(_))) => (plan, "plan_used"),
                        Err(error) => return Err(error),
                    }
                } else {
                    (plan, RunRefused::STALE)
                }
            }
            Err((plan, code)) => (plan, code),
        };
        self.append(run.0, vec![Event::RunRefused(RunRefused { run, plan, code: code.to_owned() })], Condition::None)?;
        Ok(Step::Worked)
    }

    fn requested_digest(&self, run: RunId) -> Result<Option<retention_core::id::Digest>, StageError> {
        Ok(self.store.read(run.0)?.as_ref().and_then(|recorded| match recorded.event() {
            Some(Event::RunRequested(body)) => Some(body.digest),
            _ => None,
        }))
    }

    fn go_on_as_wished(&mut self, run: RunId, now: Timestamp) -> Result<Step, StageError> {
        let (rests, now) = match self.sagas_at_once > 1 {
            true => match self.go_on_beside(run)? {
                (true, _) => return Ok(Step::Worked),
                // That may have taken minutes.
                (false, rests) => (rests, self.clock.now()),
            },
            false => (Rests::default(), now),
        };
        let Some((wish, until)) = self.wish_of(run, now) else { return Ok(Step::Idle) };
        Ok(match (self.go_on(run, wish, now, &rests)?, until) {
            (Step::IdleUntil(at), Some(until)) => Step::IdleUntil(at.min(until)),
            (Step::Idle, Some(until)) => Step::IdleUntil(until),
            (step, _) => step,
        })
    }

    fn wish_of(&self, run: RunId, now: Timestamp) -> Option<(Wish, Option<Timestamp>)> {
        wish::of_run(&self.store, run, now)
    }

    fn is_paused(&self, run: RunId) -> bool {
        wish::is_paused(&self.store, run)
    }

    fn timing_of(&self, run: RunId) -> Option<Timing> {
        wish::timing_of(&self.store, run)
    }

    /// Says whether a run has used up its time: what it has begun it ends, and what is left is for the next plan.
    fn is_over_time(&self, run: RunId, now: Timestamp) -> bool {
        let Some(max_ms) = self.timing_of(run).and_then(|timing| timing.max_runtime_ms) else { return false };
        let started_at = self.store.view(|views| views.small.runs.run(run).and_then(|run| run.started_at));
        let max_us = i64::try_from(max_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
        started_at.is_some_and(|at| now.0.saturating_sub(at.0) >= max_us)
    }

    /// Returns when the rate of its policy lets a run take up more. While the time of the log stands still, because a clock was
    /// once ahead, that is counted from when this process first saw what the run took up last.
    fn waits_for_rate(&self, run: RunId) -> Result<Option<Timestamp>, StageError> {
        let Some(last) = wish::last_taken(&self.store, run)? else { return Ok(None) };
        let now = self.clock.now();
        if last.at <= now {
            return Ok(Some(last.next_at(last.at)));
        }
        let mut taken = self.taken.lock();
        let (saga, seen_at) = taken.entry(run).or_insert((last.saga, now));
        if *saga != last.saga {
            (*saga, *seen_at) = (last.saga, now);
        }
        *seen_at = now.min(*seen_at);
        Ok(Some(last.next_at(*seen_at)))
    }

    /// Drives the run's sagas but for those that rest, begins the next one, or ends the run.
    fn go_on(&mut self, run: RunId, wish: Wish, now: Timestamp, rests: &Rests) -> Result<Step, StageError> {
        let (sagas, taken, items) = self
            .store
            .view(|views| {
                let run = views.small.runs.run(run)?;
                let open = |saga: &SagaId| views.small.runs.saga(*saga).is_some_and(|saga| saga.end.is_none());
                Some((run.sagas.iter().copied().filter(open).collect::<Vec<_>>(), run.taken, run.items))
            })
            .unwrap_or_default();
        let mut wake: Option<Timestamp> = None;
        for saga in &sagas {
            let step = match rests.get(saga) {
                // It was asked just now.
                Some(until) => until.map_or(Step::Idle, Step::IdleUntil),
                None => self.drive(*saga, self.store.view(|views| wish::of_saga(views, *saga, wish)), now)?,
            };
            match step {
                Step::Worked => return Ok(Step::Worked),
                Step::IdleUntil(at) => wake = Some(sooner(wake, at)),
                Step::Idle => {}
            }
        }
        let is_cut = wish == Wish::GoOn && taken < items && self.is_over_time(run, now);
        if wish == Wish::GoOn && taken < items && !is_cut {
            // Nobody has a lease on a mailbox long before somebody works there.
            if self.awaiting_access(run, &sagas, wish, now)? >= self.sagas_at_once {
                return Ok(wake.map_or(Step::Idle, Step::IdleUntil));
            }
            return match self.waits_for_rate(run)?.filter(|at| now < *at) {
                None => self.begin_next(run, taken),
                Some(at) => Ok(Step::IdleUntil(sooner(wake, at))),
            };
        }
        if sagas.is_empty() && wish != Wish::Pause {
            return self.end(run, if is_cut { Wish::Cancel } else { wish });
        }
        Ok(wake.map_or(Step::Idle, Step::IdleUntil))
    }

    fn end(&mut self, id: RunId, wish: Wish) -> Result<Step, StageError> {
        let ended = self.store.view(|views| {
            let run = views.small.runs.run(id)?;
            let is_stuck = run
                .sagas
                .iter()
                .filter_map(|saga| views.small.runs.saga(*saga))
                .any(|saga| saga.end == Some(SagaEnd::Stuck));
            let end = match (is_stuck, wish) {
                (true, _) => RunEnd::Stuck,
                (false, Wish::Cancel) => RunEnd::Cancelled,
                (false, Wish::GoOn | Wish::Pause) => RunEnd::Completed,
            };
            Some(RunEnded { run: id, end, purged: run.purged, skipped: run.skipped })
        });
        let Some(body) = ended else { return Ok(Step::Idle) };
        self.append(id.0, vec![Event::RunEnded(body)], Condition::None)?;
        Ok(Step::Worked)
    }

    /// Appends events of the daemon itself, caused by the event at `cause`, in its stream.
    fn append(&self, cause: Position, events: Vec<Event>, condition: Condition) -> Result<Position, StageError> {
        let drafts = events.into_iter().map(|event| draft_caused_by(cause, event)).collect();
        Ok(self.store.append_drafts(drafts, condition)?.first)
    }
}

type Runnable = (retention_core::id::PlanId, String, retention_core::id::Digest, u64);

fn check_plan(
    views: &Views,
    run: RunId,
    digest: Option<retention_core::id::Digest>,
    now: Timestamp,
) -> Result<Runnable, (retention_core::id::PlanId, &'static str)> {
    let id = views.small.runs.run(run).map_or(retention_core::id::PlanId(Position::NONE), |run| run.plan);
    let Some(plan) = views.small.plans.get(id) else { return Err((id, "no_such_plan")) };
    let Some(frozen) = &plan.frozen else { return Err((id, "plan_not_frozen")) };
    if digest != Some(frozen.digest) {
        return Err((id, "digest_differs"));
    }
    match plan.state(now) {
        PlanState::Ready => Ok((id, frozen.policy.clone(), frozen.policy_digest, frozen.items)),
        PlanState::AwaitingApproval => Err((id, "not_approved")),
        PlanState::Rejected => Err((id, "plan_rejected")),
        PlanState::Used => Err((id, "plan_used")),
        PlanState::Stale => Err((id, RunRefused::STALE)),
        PlanState::Empty => Err((id, "nothing_due")),
        PlanState::Preview => Err((id, "plan_is_a_preview")),
        PlanState::Requested | PlanState::Refused => Err((id, "plan_not_frozen")),
    }
}

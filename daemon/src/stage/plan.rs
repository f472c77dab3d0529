//! Plan: answers a `PlanRequested` with a frozen plan. Dry run, preview and scheduled run are this same code, and it
//! has no access to anything that could change the world.

use std::collections::BTreeSet;
use std::sync::Arc;

use retention_core::event::Event;
use retention_core::event::decision::{ITEMS_PER_CHUNK, PlanItem, PlanItems, PlanPurpose, PlanRefused};
use retention_core::event::review::PlanReviewed;
use retention_core::event::subject::{ERASURE_POLICY, ErasureKept, KeptRecord};
use retention_core::id::{Digest, EntityId, PlanId, RequestId, ReviewId};
use retention_core::plan::{self, Assembly, FirstRun, Frozen, Past, Question, SCHEDULED_PLAN_US};
use retention_core::policy::{Action, Policy, State, rested_on};
use retention_core::reason::Reason;
use retention_core::record::Kind;
use retention_core::time::Timestamp;
use retention_core::view::{Condition, Plan as OpenPlan, PlanState, RunState, Views};

use super::{StageError, Step};
use crate::ahead;
use crate::clock::Clock;
use crate::store::open::draft_caused_by;
use crate::store::{Prepared, Store};

/// How many candidates are read between two looks at the views, and judged in one piece.
const CANDIDATES_PER_LOOK: usize = 500;

/// How many chunks of items are appended together.
const CHUNKS_PER_APPEND: usize = 64;

/// The stage.
pub struct Plan {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
}

impl Plan {
    /// Works on a store.
    #[must_use]
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Makes one plan, if one is asked for and every entity is judged.
    ///
    /// # Errors
    /// When records cannot be read or the log does not take the plan; it is then made again from the beginning.
    pub fn step(&mut self) -> Result<Step, StageError> {
        let (open, in_log) = self.store.view(|views| {
            let open = views.small.plans.iter().find(|(_, plan)| plan.frozen.is_none() && plan.refused.is_none());
            let open = open.map(|(id, plan)| (id, plan.clone(), views.due.is_complete()));
            (open, views.small.policies.digest)
        });
        let Some((id, open, is_complete)) = open else { return Ok(Step::Idle) };
        let OpenPlan { request, requested_at, erases, requested_by, .. } = open;
        // While the time of the log stands still, because a clock was once ahead, it is that of a day that has not come.
        let requested_at = requested_at.min(self.clock.now());
        let policies = self.store.policies();
        if in_log.is_some() && in_log != Some(policies.digest()) {
            // After a start, and for a moment after an edit, the policies of the log are not installed yet. By others a
            // plan would be refused as one of no policy, and what they keep would not be seen.
            return Ok(Step::Idle);
        }
        if let Some(erases) = erases {
            return self.plan_erasure(id, erases, requested_at);
        }
        let Some(policy) = policies.get(&request.policy) else { return self.refuse(id, "no_such_policy") };
        let as_of = request.as_of.unwrap_or(requested_at);
        let looks_ahead = as_of > self.clock.now().max(requested_at);
        if request.purpose == PlanPurpose::Run && looks_ahead {
            return self.refuse(id, "only_a_preview_looks_ahead");
        }
        if policy.state == State::Draft {
            return self.refuse(id, "policy_is_a_draft");
        }
        if policy.scope.kinds.contains(&Kind::Message)
            && self.store.view(|views| views.small.scans.waiting_since(id.0).next().is_some())
        {
            // The mailboxes are being looked at; each look ends with an event, also one that fails.
            return Ok(Step::Idle);
        }
        if !is_complete {
            // The project stage is at work; it wakes us.
            return Ok(Step::Idle);
        }
        let (frozen, reviews) = self.assemble(id, request.purpose, as_of, policy)?;
        if requested_by.is_none() && self.waits_already(id, &frozen, &reviews)? {
            // One for each night until somebody accepts it would hide what else waits, and lose the approvals that it
            // has.
            return self.refuse(id, PlanRefused::ALREADY_WAITS);
        }
        let told = (!reviews.is_empty()).then_some(Event::PlanReviewed(PlanReviewed { plan: id, reviews }));
        self.record(id, &frozen, told)?;
        Ok(Step::Worked)
    }

    /// Says whether a plan of a schedule that may still run holds just what a new one would.
    fn waits_already(&self, id: PlanId, frozen: &Frozen, reviews: &[ReviewId]) -> Result<bool, StageError> {
        let now = self.clock.now();
        let alike: Vec<PlanId> = self.store.view(|views| {
            let small = &views.small;
            let is_recent = |plan: &OpenPlan| now.0.saturating_sub(plan.requested_at.0) < SCHEDULED_PLAN_US;
            let may_run = |plan: &OpenPlan| match plan.state(now) {
                PlanState::AwaitingApproval | PlanState::Ready => true,
                PlanState::Requested
                | PlanState::Refused
                | PlanState::Preview
                | PlanState::Empty
                | PlanState::Rejected
                | PlanState::Used
                | PlanState::Stale => false,
            };
            let is_alike = |plan: &OpenPlan| {
                let rests_on = plan.reviews.iter().map(|review| review.review);
                plan.frozen.as_ref().is_some_and(|other| plan::is_alike(other, &frozen.header))
                    && rests_on.eq(reviews.iter().copied())
            };
            // What a run was refused of is not run again by itself.
            let is_refused =
                |plan| small.runs.iter().any(|(_, run)| run.plan == plan && run.state == RunState::Refused);
            let recent = small.plans.iter().rev().take_while(|(_, plan)| is_recent(plan));
            let of_schedules = recent.filter(|(_, plan)| plan.requested_by.is_none() && plan.erases.is_none());
            let alike = of_schedules.filter(|(other, plan)| *other < id && may_run(plan) && is_alike(plan));
            alike.map(|(other, _)| other).filter(|other| !is_refused(*other)).collect()
        });
        for other in alike {
            if self.has_items(other, &frozen.items)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Says whether a plan of as many items has just these.
    fn has_items(&self, plan: PlanId, items: &[PlanItem]) -> Result<bool, StageError> {
        for (chunk, items) in items.chunks(ITEMS_PER_CHUNK).enumerate() {
            if self.store.plan_items(plan, chunk)? != items {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn refuse(&self, plan: PlanId, code: &str) -> Result<Step, StageError> {
        let event = Event::PlanRefused(PlanRefused { plan, code: code.to_owned() });
        self.store.append_drafts(vec![draft_caused_by(plan.0, event)], Condition::None)?;
        Ok(Step::Worked)
    }

    fn assemble(
        &self,
        plan: PlanId,
        purpose: PlanPurpose,
        as_of: Timestamp,
        policy: &Arc<Policy>,
    ) -> Result<(Frozen, Vec<ReviewId>), StageError> {
        let (candidates, restricted, population, log_position) = self.store.view(|views| {
            let due = views.due.policy(&policy.id);
            let mut candidates = due.map(|due| due.due_by(as_of)).unwrap_or_default();
            let restricted = match policy.action {
                // What is done already costs a run nothing.
                Action::Restrict => views.small.restrictions.take_ended(&mut candidates),
                Action::Purge { .. } | Action::Review { .. } | Action::Redact { .. } => 0,
            };
            let population = due.map_or(0, |due| due.population());
            (candidates, restricted, population, views.position)
        });
        let candidates: Vec<EntityId> = candidates.iter().map(EntityId).collect();
        let mut assembly = Assembly::begin(Question { plan, purpose, as_of, log_position });
        assembly.keep(Reason::USE_ENDED, restricted);
        let mut reviews = BTreeSet::new();
        let looks: Vec<&[EntityId]> = candidates.chunks(CANDIDATES_PER_LOOK).collect();
        let judge = |look: &&[EntityId]| {
            self.store.halt().check()?;
            let subjects = self.store.subjects(look);
            self.store
                .decide_all_for(&policy.id, &subjects, as_of)
                .map_err(StageError::from)
                .map(|decisions| (subjects, decisions))
        };
        ahead::in_order(&looks, judge, |judged| {
            let (subjects, decisions) = judged?;
            for (subject, decision) in subjects.iter().zip(decisions) {
                match decision {
                    Some(decision) => {
                        assembly.add(subject.entity, subject.row.mailbox, subject.row.version, &decision);
                        reviews.extend(rested_on(policy, &decision, &subject.standing.reviews));
                    }
                    None => assembly.keep(Reason::Gone.code(), 1),
                }
            }
            Ok::<(), StageError>(())
        })?;
        // **Order:** after all was judged, so that a protection that goes meanwhile is noticed.
        let loosened_days = self.loosened_days(policy)?;
        let past = self.store.view(|views| past_of(views, plan, policy, loosened_days));
        Ok((assembly.freeze(policy, population, past)?, reviews.into_iter().collect()))
    }

    /// Returns how many days ago a version of a policy was replaced that disposed of less, or later, or one of another policy
    /// was replaced or removed that protected from this one; `None` when all of that has cooled off since.
    fn loosened_days(&self, policy: &Policy) -> Result<Option<u64>, StageError> {
        let (now, active) = (self.clock.now(), self.store.policies());
        let replaced: Vec<(bool, Digest, u64)> = self.store.view(|views| {
            let lately = views.small.policies.replaced_lately(now);
            lately.map(|(id, digest, days)| (id == policy.id, digest, days)).collect()
        });
        let is_there = |digest: Digest| active.policies().iter().any(|policy| policy.digest() == digest);
        let mut newest: Option<u64> = None;
        for (is_own, digest, days) in replaced.into_iter().filter(|(_, digest, _)| !is_there(*digest)) {
            // What cannot be read any more may have disposed of less, or protected from this one.
            let is_loosened = self.store.policy_version(digest)?.is_none_or(|before| match is_own {
                true => before.state == State::Enforce && !policy.disposes_of_more_than(&before).is_empty(),
                false => !active.unprotected(&before, policy).is_empty(),
            });
            if is_loosened {
                newest = Some(newest.map_or(days, |newest| newest.min(days)));
            }
        }
        Ok(newest)
    }

    /// Plans what a data subject asked for: its records are named by the request, and no index is asked. What is kept
    /// is recorded record by record, because the person has to be told.
    fn plan_erasure(&self, plan: PlanId, id: RequestId, as_of: Timestamp) -> Result<Step, StageError> {
        let (records, is_changed, is_looked_at, log_position) = self.store.view(|views| {
            let request = views.small.subjects.get(id);
            let records = request.map(|request| request.records().to_vec()).unwrap_or_default();
            let is_changed = request.is_none_or(|request| request.changed > plan.0);
            let mut mailboxes = request.map(|request| views.mailboxes_of_request(request)).unwrap_or_default();
            mailboxes.retain(|mailbox| !views.small.scans.tried_after(*mailbox, plan.0));
            (records, is_changed, !mailboxes.is_empty(), views.position)
        });
        if is_changed {
            // Who must not accept the plan was told when it was asked for: by somebody else's words another one is
            // made.
            return self.refuse(plan, "request_changed");
        }
        if is_looked_at {
            // What changed on the mail servers since they were last read would be left alone by the run. Each look ends
            // with an event, also one that fails.
            return Ok(Step::Idle);
        }
        let Some(policy) = self.store.policy_of_plans(ERASURE_POLICY) else {
            return self.refuse(plan, "no_such_policy");
        };
        let purpose = PlanPurpose::Run;
        let mut assembly = Assembly::begin(Question { plan, purpose, as_of, log_position });
        let mut kept = Vec::new();
        for look in records.chunks(CANDIDATES_PER_LOOK) {
            self.store.halt().check()?;
            let subjects = self.store.subjects(look);
            let decisions = self.store.decide_all_asked(id, &subjects, as_of)?;
            for (subject, decision) in subjects.iter().zip(decisions) {
                let Some(decision) = decision else {
                    assembly.keep(Reason::Gone.code(), 1);
                    continue;
                };
                assembly.add(subject.entity, subject.row.mailbox, subject.row.version, &decision);
                let why = plan::kept(&decision);
                kept.extend(why.map(|why| KeptRecord { record: subject.entity, why }));
            }
        }
        // A protection may have been taken away only for this: whoever accepts the erasure is told.
        let loosened_days = self.loosened_days(&policy)?;
        let past = Past { population: None, first_run: FirstRun::No, loosened_days };
        let frozen = assembly.freeze(&policy, records.len() as u64, past)?;
        let told = Event::ErasureKept(ErasureKept { request: id, plan, records: kept });
        self.record(plan, &frozen, Some(told))?;
        Ok(Step::Worked)
    }

    /// Appends the items in chunks and then the header, which makes the plan whole; before it what else is told of it.
    fn record(&self, plan: PlanId, frozen: &Frozen, told: Option<Event>) -> Result<(), StageError> {
        let mut events: Vec<Prepared> = Vec::new();
        for (chunk, items) in (0u32..).zip(frozen.items.chunks(ITEMS_PER_CHUNK)) {
            let event = Event::PlanItems(PlanItems { plan, chunk, items: items.to_vec() });
            events.push(self.store.prepare(draft_caused_by(plan.0, event), None)?);
            if events.len() >= CHUNKS_PER_APPEND {
                self.store.append(std::mem::take(&mut events), Condition::None)?;
            }
        }
        if let Some(told) = told {
            events.push(self.store.prepare(draft_caused_by(plan.0, told), None)?);
        }
        events.push(self.store.prepare(draft_caused_by(plan.0, Event::PlanFrozen(frozen.header.clone())), None)?);
        self.store.append(events, Condition::None)?;
        Ok(())
    }
}

fn past_of(views: &Views, plan: PlanId, policy: &Policy, loosened_days: Option<u64>) -> Past {
    let plans = &views.small.plans;
    let first_run = if plans.has_run(&policy.id, policy.digest()) { FirstRun::No } else { FirstRun::Yes };
    Past { population: plans.previous(&policy.id, plan).map(|frozen| frozen.population), first_run, loosened_days }
}

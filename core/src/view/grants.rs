//! Grants: what was given to whom for how long, as the log says. No name of anybody is in here.

use std::collections::BTreeMap;
use std::ops::Bound;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::plans::Approval;
use super::runs::{IllegalStep, StepEvent, StepStanding};
use crate::event::grant::{
    GrantEnd, GrantPurpose, GrantReceipt, GrantRenewed, GrantRequested, GrantStep, GrantStepFailed, GrantStepStarted,
    GrantStepSucceeded,
};
use crate::event::{Actor, Envelope, Event};
use crate::id::{Digest, EntityId, GrantId, Handle, Position, RunId};
use crate::time::Timestamp;

/// Where a grant stands, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GrantState {
    /// It waits for approvals.
    AwaitingApproval,
    /// It is about to be given, or being given.
    Giving,
    /// It is given, and verified to be there.
    Active,
    /// It is being taken back.
    Revoking,
    /// Over: it is verified to be gone.
    Revoked,
    /// Over: another grant of the same principal still stands.
    HandedOver,
    /// Over: it could not be given, and left nothing.
    NotGiven,
    /// Over: a person refused it.
    Rejected,
    /// Over: it was taken back before it was given.
    Withdrawn,
    /// Over: nobody approved it in time.
    Expired,
}

impl GrantState {
    /// Returns the name that people see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AwaitingApproval => "awaiting_approval",
            Self::Giving => "giving",
            Self::Active => "active",
            Self::Revoking => "revoking",
            Self::Revoked => "revoked",
            Self::HandedOver => "handed_over",
            Self::NotGiven => "not_given",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
        }
    }
}

/// How far a grant must be, and no further, for something to be recorded of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantStage {
    /// Nothing was done on the server.
    NotBegun,
    /// It may have been given, and nobody asked for its end.
    Standing,
    /// It is not over.
    Open,
}

/// How a newest failure came about.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LastFailure {
    /// A stable code.
    pub code: String,
    /// When.
    pub at: Timestamp,
}

/// One grant.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Grant {
    /// The mailbox.
    pub mailbox: EntityId,
    /// The keyed digest of who has it.
    pub principal: Handle,
    /// What it is for.
    pub purpose: GrantPurpose,
    /// The policy that allows it.
    pub policy: String,
    /// SHA-256 of that policy's canonical form.
    pub policy_digest: Digest,
    /// Whose uid asked; `None` is the daemon, for a run.
    pub requested_by: Option<u32>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// How long it is given, in milliseconds.
    pub duration_ms: u64,
    /// How long at most, renewals included, in milliseconds.
    pub max_ms: u64,
    /// When people are alarmed after its end, in milliseconds.
    pub alarm_after_ms: u64,
    /// How many persons must approve.
    pub approvals_needed: u32,
    /// How long an approval counts, in milliseconds.
    pub approval_valid_ms: u64,
    /// Who accepted it.
    pub approvals: Vec<Approval>,
    /// Who refused it.
    pub rejected_by: Option<u32>,
    /// When the first intent to give it was recorded: from then on it may be there, and the lease counts.
    pub begun_at: Option<Timestamp>,
    /// The latest instant that a renewal asked for.
    pub renewed_until: Option<Timestamp>,
    /// When its end was asked for.
    pub revoke_requested_at: Option<Timestamp>,
    /// Whether the daemon asked for its end in time, because its run had no use for it any more, and no person did.
    pub is_unneeded: bool,
    /// Its steps that have begun.
    pub steps: BTreeMap<u8, StepStanding<GrantReceipt>>,
    /// Where the folders stand in the log that were read before it was given.
    pub readings: Vec<Position>,
    /// The newest failure.
    pub last_failure: Option<LastFailure>,
    /// When giving it was given up.
    pub gave_up_at: Option<Timestamp>,
    /// How it ended.
    pub end: Option<GrantEnd>,
    /// When.
    pub ended_at: Option<Timestamp>,
    /// Whether the log says something of a step that cannot be. Revoking goes on all the same.
    pub is_inconsistent: bool,
}

/// Returns the instant that lies some milliseconds after another.
fn after(at: Timestamp, ms: u64) -> Timestamp {
    Timestamp(i64::try_from(ms.saturating_mul(1_000)).map_or(i64::MAX, |us| at.0.saturating_add(us)))
}

impl Grant {
    fn of(body: &GrantRequested, requested_by: Option<u32>, at: Timestamp) -> Self {
        Self {
            mailbox: body.mailbox,
            principal: body.principal,
            purpose: body.purpose,
            policy: body.policy.clone(),
            policy_digest: body.policy_digest,
            requested_by,
            requested_at: at,
            duration_ms: body.duration_ms.min(body.max_ms),
            max_ms: body.max_ms,
            alarm_after_ms: body.alarm_after_ms,
            approvals_needed: body.approvals,
            approval_valid_ms: body.approval_valid_ms,
            approvals: Vec::new(),
            rejected_by: None,
            begun_at: None,
            renewed_until: None,
            revoke_requested_at: None,
            is_unneeded: false,
            steps: BTreeMap::new(),
            readings: Vec::new(),
            last_failure: None,
            gave_up_at: None,
            end: None,
            ended_at: None,
            is_inconsistent: false,
        }
    }

    /// Returns how a step stands.
    #[must_use]
    pub fn step(&self, step: GrantStep) -> Option<&StepStanding<GrantReceipt>> {
        self.steps.get(&(step as u8))
    }

    /// Returns the receipt of a step that took effect.
    #[must_use]
    pub fn receipt(&self, step: GrantStep) -> Option<&GrantReceipt> {
        match self.step(step) {
            Some(StepStanding::Done(receipt)) => Some(receipt),
            _ => None,
        }
    }

    /// Says whether it may be there: from the first intent on, until its end is recorded.
    #[must_use]
    pub fn may_be_there(&self) -> bool {
        self.end.is_none() && self.begun_at.is_some()
    }

    /// Returns how many different persons accept it at an instant; never the one who asked.
    #[must_use]
    pub fn valid_approvals(&self, now: Timestamp) -> u32 {
        let mut persons: Vec<u32> = self
            .approvals
            .iter()
            .filter(|approval| Some(approval.uid) != self.requested_by)
            .filter(|approval| now < after(approval.at, self.approval_valid_ms))
            .map(|approval| approval.uid)
            .collect();
        persons.sort_unstable();
        persons.dedup();
        u32::try_from(persons.len()).unwrap_or(u32::MAX)
    }

    /// Says whether enough persons accept it at an instant.
    #[must_use]
    pub fn is_approved(&self, now: Timestamp) -> bool {
        self.valid_approvals(now) >= self.approvals_needed
    }

    /// Returns until when a request waits for its approvals.
    #[must_use]
    pub fn waits_until(&self) -> Timestamp {
        after(self.requested_at, self.approval_valid_ms)
    }

    /// Returns when the lease ends, once it counts. Removals end as they begin.
    ///
    /// Derived from the log alone: the first intent to give it, the time asked for, and renewals, but never later than
    /// the policy's most.
    #[must_use]
    pub fn lease_ends_at(&self) -> Option<Timestamp> {
        self.lease_until(self.renewed_until)
    }

    /// Returns when the lease would end if it was renewed at an instant.
    #[must_use]
    pub fn lease_if_renewed(&self, duration_ms: u64, at: Timestamp) -> Option<Timestamp> {
        self.lease_until(self.renewed_until.max(Some(after(at, duration_ms))))
    }

    fn lease_until(&self, renewed_until: Option<Timestamp>) -> Option<Timestamp> {
        let begun = self.begun_at?;
        let wanted = after(begun, self.duration_ms);
        let wanted = renewed_until.map_or(wanted, |renewed| wanted.max(renewed));
        Some(wanted.min(after(begun, self.max_ms)))
    }

    /// Returns since when it should be gone, if it should at this instant.
    #[must_use]
    pub fn ends_since(&self, now: Timestamp) -> Option<Timestamp> {
        let begun = self.begun_at?;
        let lease = self.lease_ends_at().filter(|at| *at <= now);
        // A request that came before the first intent counts from that on: before, there was nothing to end.
        let asked = self.revoke_requested_at.map(|at| at.max(begun));
        // Once it is being revoked it is never given again, whatever the clock says now.
        let revoking = self.step(GrantStep::Revoke).map(|_| now);
        [lease, asked, self.gave_up_at, revoking].into_iter().flatten().min()
    }

    /// Says whether it is there or about to be, and does not end yet.
    #[must_use]
    pub fn is_on(&self, now: Timestamp) -> bool {
        let is_withdrawn = self.begun_at.is_none() && self.revoke_requested_at.is_some();
        self.end.is_none() && self.ends_since(now).is_none() && !is_withdrawn
    }

    /// Says whether it should have been gone for longer than the policy puts up with.
    #[must_use]
    pub fn is_alarming(&self, now: Timestamp) -> bool {
        let overdue = self.ends_since(now).is_some_and(|since| after(since, self.alarm_after_ms) <= now);
        self.end.is_none() && (overdue || self.is_inconsistent)
    }

    /// Says whether something may still be recorded of it that belongs to a stage.
    #[must_use]
    pub fn is_at(&self, stage: GrantStage) -> bool {
        let is_open = self.end.is_none();
        match stage {
            GrantStage::NotBegun => is_open && self.begun_at.is_none() && self.rejected_by.is_none(),
            GrantStage::Standing => {
                is_open
                    && self.begun_at.is_some()
                    && self.revoke_requested_at.is_none()
                    && self.gave_up_at.is_none()
                    && self.step(GrantStep::Revoke).is_none()
            }
            GrantStage::Open => is_open,
        }
    }

    /// Returns where it stands at an instant.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> GrantState {
        match self.end {
            Some(GrantEnd::Revoked) => return GrantState::Revoked,
            Some(GrantEnd::HandedOver { .. }) => return GrantState::HandedOver,
            Some(GrantEnd::NotGiven) => return GrantState::NotGiven,
            Some(GrantEnd::Rejected) => return GrantState::Rejected,
            Some(GrantEnd::Withdrawn) => return GrantState::Withdrawn,
            Some(GrantEnd::Expired) => return GrantState::Expired,
            None => {}
        }
        if self.ends_since(now).is_some() {
            GrantState::Revoking
        } else if self.begun_at.is_none() && !self.is_approved(now) {
            GrantState::AwaitingApproval
        } else if self.receipt(GrantStep::Give).is_some() {
            GrantState::Active
        } else {
            GrantState::Giving
        }
    }

    fn step_event(&mut self, step: GrantStep, event: StepEvent<GrantReceipt>) {
        match StepStanding::after(self.step(step), event) {
            Ok(standing) => {
                self.steps.insert(step as u8, standing);
            }
            Err(IllegalStep) => self.is_inconsistent = true,
        }
    }

    fn started(&mut self, body: &GrantStepStarted, at: Timestamp) {
        let begins = match body.step {
            GrantStep::Give | GrantStep::Revoke => true,
            GrantStep::Read | GrantStep::VerifyRevoked => false,
        };
        if begins && self.begun_at.is_none() {
            self.begun_at = Some(at);
        }
        // What stood there is read again where it may have changed before anything was done.
        if body.step == GrantStep::Read && self.begun_at.is_none() && self.receipt(GrantStep::Read).is_some() {
            self.steps.remove(&(GrantStep::Read as u8));
        }
        self.step_event(body.step, StepEvent::Start { attempt: body.attempt });
    }

    fn succeeded(&mut self, body: &GrantStepSucceeded, at: Position) {
        if let GrantReceipt::Read { parts, .. } = body.receipt {
            self.readings = (1..=u64::from(parts)).rev().map(|back| Position(at.0.saturating_sub(back))).collect();
        }
        self.step_event(body.step, StepEvent::Succeed(body.receipt.clone()));
    }

    fn failed(&mut self, body: &GrantStepFailed, at: Timestamp) {
        self.last_failure = Some(LastFailure { code: body.code.clone(), at });
        if body.step == GrantStep::Give && body.retry_at.is_none() {
            self.gave_up_at = self.gave_up_at.or(Some(at));
        }
        let event = StepEvent::Fail { attempt: body.attempt, failure: body.failure, retry_at: body.retry_at };
        self.step_event(body.step, event);
    }

    /// A renewal that comes when the lease is over, or the end was asked for, changes nothing.
    fn renewed(&mut self, body: &GrantRenewed, at: Timestamp) {
        let is_in_time = self.lease_ends_at().is_some_and(|end| at < end);
        if is_in_time && self.is_at(GrantStage::Standing) {
            let until = after(at, body.duration_ms);
            self.renewed_until = Some(self.renewed_until.map_or(until, |known| known.max(until)));
        }
    }
}

/// All grants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Grants {
    all: BTreeMap<GrantId, Grant>,
}

impl Grants {
    /// Returns a grant.
    #[must_use]
    pub fn get(&self, id: GrantId) -> Option<&Grant> {
        self.all.get(&id)
    }

    /// Goes through all grants, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (GrantId, &Grant)> {
        self.all.iter().map(|(id, grant)| (*id, grant))
    }

    /// Goes through the grants that are not over, oldest first.
    pub fn open(&self) -> impl Iterator<Item = (GrantId, &Grant)> {
        self.iter().filter(|(_, grant)| grant.end.is_none())
    }

    /// Goes through the other grants of the same principal and mailbox that may be there, oldest first.
    pub fn beside(&self, id: GrantId) -> impl Iterator<Item = (GrantId, &Grant)> {
        let own = self.get(id).map(|grant| (grant.mailbox, grant.principal));
        self.open()
            .filter(move |(other, grant)| *other != id && Some((grant.mailbox, grant.principal)) == own)
            .filter(|(_, grant)| grant.may_be_there())
    }

    /// Returns another grant of the same principal and mailbox that stands at this instant and does not end yet: it
    /// takes everything away when it ends itself.
    #[must_use]
    pub fn standing_beside(&self, id: GrantId, now: Timestamp) -> Option<GrantId> {
        self.beside(id).find(|(_, grant)| grant.ends_since(now).is_none()).map(|(other, _)| other)
    }

    /// Returns where the newest reading stands that says what this grant's principal had on the mailbox without a grant
    /// of ours; nothing before the first.
    ///
    /// While one grant stands, a later one reads what the earlier one left to be read, less what was taken away since.
    /// So the newest reading is the truest, whichever grant made it and whichever ends last.
    #[must_use]
    pub fn newest_reading(&self, id: GrantId) -> &[Position] {
        let own = self.get(id).map(|grant| (grant.mailbox, grant.principal));
        self.all
            .iter()
            .filter(|(_, grant)| Some((grant.mailbox, grant.principal)) == own)
            // A removal that never began took nothing for itself.
            .filter(|(_, grant)| !grant.purpose.is_removal() || grant.begun_at.is_some())
            .map(|(_, grant)| grant.readings.as_slice())
            .max_by_key(|readings| readings.last().copied())
            .unwrap_or_default()
    }

    /// Goes through the grants that a run took for its own work, oldest first.
    pub fn of_run(&self, run: RunId) -> impl DoubleEndedIterator<Item = (GrantId, &Grant)> {
        // They are asked for after the run.
        let since = (Bound::Excluded(GrantId(run.0)), Bound::Unbounded);
        let all = self.all.range(since).map(|(id, grant)| (*id, grant));
        all.filter(move |(_, grant)| grant.purpose == GrantPurpose::Run { run })
    }

    /// Returns how many grants that a run took are there, or about to be, and do not end yet.
    #[must_use]
    pub fn taken_now(&self, run: RunId, now: Timestamp) -> usize {
        self.of_run(run).filter(|(_, grant)| grant.is_on(now)).count()
    }

    /// Returns the run of whose own access an event tells. What was read of folders is sealed with the key of the mailbox,
    /// and belongs to no index: it could not be found again once that key is gone.
    pub(super) fn run_of(&self, position: Position, event: &Event) -> Option<RunId> {
        let grant = match event {
            Event::GrantRequested(_) => GrantId(position),
            Event::GrantRenewed(body) => body.grant,
            Event::GrantRevokeRequested(body) => body.grant,
            Event::GrantStepStarted(body) => body.grant,
            Event::GrantStepSucceeded(body) => body.grant,
            Event::GrantStepFailed(body) => body.grant,
            Event::GrantEnded(body) => body.grant,
            _ => return None,
        };
        match self.get(grant)?.purpose {
            GrantPurpose::Run { run } => Some(run),
            GrantPurpose::Request | GrantPurpose::Removal { .. } | GrantPurpose::Standing => None,
        }
    }

    /// Folds one event.
    pub fn fold(&mut self, envelope: &Envelope, event: &Event) {
        let (position, at) = (envelope.position, envelope.recorded_at);
        let person = match envelope.actor {
            Actor::Person(uid) => Some(uid),
            Actor::Daemon | Actor::Schedule => None,
        };
        match event {
            Event::GrantRequested(body) => {
                self.all.insert(GrantId(position), Grant::of(body, person, at));
            }
            Event::GrantApproved(body) => self.with(body.grant, |grant| {
                if let Some(uid) = person
                    && grant.is_at(GrantStage::NotBegun)
                {
                    grant.approvals.push(Approval { uid, at });
                }
            }),
            Event::GrantRejected(body) => self.with(body.grant, |grant| {
                if grant.is_at(GrantStage::NotBegun) {
                    grant.rejected_by = person;
                }
            }),
            Event::GrantRenewed(body) => self.with(body.grant, |grant| grant.renewed(body, at)),
            Event::GrantRevokeRequested(body) => self.with(body.grant, |grant| {
                if grant.revoke_requested_at.is_none() {
                    grant.is_unneeded = envelope.actor == Actor::Daemon && grant.ends_since(at).is_none();
                    grant.revoke_requested_at = Some(at);
                } else if person.is_some() {
                    // Said while it was being taken back anyway: it is not asked for again.
                    grant.is_unneeded = false;
                }
            }),
            Event::GrantStepStarted(body) => self.with(body.grant, |grant| grant.started(body, at)),
            Event::GrantStepSucceeded(body) => self.with(body.grant, |grant| grant.succeeded(body, position)),
            Event::GrantStepFailed(body) => self.with(body.grant, |grant| grant.failed(body, at)),
            Event::GrantEnded(body) => self.with(body.grant, |grant| {
                grant.end = Some(body.end);
                grant.ended_at = Some(at);
            }),
            _ => {}
        }
    }

    fn with(&mut self, id: GrantId, change: impl FnOnce(&mut Grant)) {
        if let Some(grant) = self.all.get_mut(&id) {
            change(grant);
        }
    }
}

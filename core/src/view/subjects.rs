//! Requests of data subjects, and where each stands.
//!
//! Only numbers and handles: what people wrote is in the sealed events.

use std::collections::{BTreeMap, BTreeSet};

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::recipients::Told;
use super::{PlanState, RunState, Views};
use crate::event::saga::{SkipReason, Step};
use crate::event::subject::{
    ErasureExcepted, ErasureException, ErasureGround, ErasureKept, KeptWhy, MissingWhy, RequestEnd, RequestKind,
    SubjectIdentified, SubjectPackageMade, SubjectRequested,
};
use crate::event::{Actor, Envelope, Event};
use crate::id::{EntityId, PlanId, Position, RequestId, SagaId, in_order};
use crate::record::Kind;
use crate::subject::SoughtMark;
use crate::time::Timestamp;

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    /// Nobody has made sure yet who asks, and which records are theirs.
    Received,
    /// It is known which records are theirs.
    Identified,
    /// A copy was made: it was handed out, or it was verified and the records are not erased yet.
    Exported,
    /// A package was handed out, and texts of messages are missing in it.
    ExportedInPart,
    /// Some are kept, each for a reason.
    RefusedInPart,
    /// All are erased.
    Erased,
    /// The data subject has the answer.
    Completed,
}

/// Which records are theirs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Identified {
    /// Whose uid said so.
    pub by: Option<u32>,
    /// When.
    pub at: Timestamp,
    /// The records, ascending.
    pub records: Vec<EntityId>,
}

/// Records that are kept by an exception.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Exception {
    /// The records, ascending.
    pub records: Vec<EntityId>,
    /// Which exception.
    pub exception: ErasureException,
    /// When somebody must look again.
    pub review_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SubjectRequest {
    /// What is asked for.
    pub kind: RequestKind,
    /// On which ground.
    pub ground: Option<ErasureGround>,
    /// By what the person is looked for.
    pub marks: Vec<SoughtMark>,
    /// Records that were named by their number.
    pub named: Vec<EntityId>,
    /// Whose uid entered it.
    pub entered_by: Option<u32>,
    /// When it was received.
    pub received_at: Timestamp,
    /// Until when it must be answered.
    pub due_at: Timestamp,
    /// In which zone that is counted.
    pub timezone: String,
    /// Until when it had to be answered before it was extended.
    pub first_due_at: Option<Timestamp>,
    /// Which records are theirs.
    pub identified: Option<Identified>,
    /// What is kept by exceptions, by where they stand in the log.
    pub exceptions: BTreeMap<Position, Exception>,
    /// The plans that were asked for, in order.
    pub plans: Vec<PlanId>,
    /// What the newest plan and its run leave alone, and why.
    pub kept: BTreeMap<EntityId, KeptWhy>,
    /// The newest event that makes another plan necessary.
    pub changed: Position,
    /// Where it stands in the log that packages were handed out.
    pub packages: BTreeSet<Position>,
    /// The messages whose texts are missing in the newest package, and why.
    pub missing: BTreeMap<EntityId, MissingWhy>,
    /// What runs for it erased.
    pub erased: BTreeSet<EntityId>,
    /// The recipients of copies who were told what became of the data.
    pub told: BTreeMap<Position, Told>,
    /// When and how it ended.
    pub ended: Option<(Timestamp, RequestEnd)>,
    /// Where that stands in the log.
    pub answered: Position,
}

impl SubjectRequest {
    /// Returns the records that are theirs, ascending: none before somebody said which.
    #[must_use]
    pub fn records(&self) -> &[EntityId] {
        self.identified.as_ref().map_or(&[], |identified| identified.records.as_slice())
    }

    /// Says whether a package was handed out since a person last said which records are theirs.
    #[must_use]
    fn is_handed_out(&self) -> bool {
        self.packages.last().is_some_and(|made| *made > self.changed)
    }

    /// Says whether an exception keeps a record.
    #[must_use]
    pub fn excepts(&self, record: EntityId) -> bool {
        let covers =
            |exception: &Exception| exception.ended_at.is_none() && exception.records.binary_search(&record).is_ok();
        self.exceptions.values().any(covers)
    }

    /// Says whether it is not over: what was refused in part is erased when what keeps it has gone away, also after the
    /// data subject has the answer.
    #[must_use]
    pub fn is_live(&self) -> bool {
        match self.ended {
            None | Some((_, RequestEnd::RefusedInPart)) => true,
            Some((
                _,
                RequestEnd::Fulfilled | RequestEnd::Refused | RequestEnd::Withdrawn | RequestEnd::NothingStored,
            )) => false,
        }
    }

    /// Says whether the request asks, as it stands, for the erasure of a record.
    #[must_use]
    pub fn erases(&self, record: EntityId) -> bool {
        self.kind == RequestKind::Erase
            && self.is_live()
            && self.records().binary_search(&record).is_ok()
            && !self.excepts(record)
    }

    /// Says whether somebody should look again at one of its exceptions.
    #[must_use]
    pub fn is_due_for_review(&self, now: Timestamp) -> bool {
        let mut exceptions = self.exceptions.values().filter(|exception| exception.ended_at.is_none());
        exceptions.any(|exception| exception.review_at <= now)
    }

    /// Says whether the answer is late.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.ended.is_none() && self.due_at <= now
    }
}

/// How closely is looked whether something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// At what the log tells.
    AtTheLog,
    /// Also at what other records and the time may have changed: each is judged.
    Everywhere,
}

/// A plan that an erasure needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErasurePlan {
    /// It is known only now which records it is about, or a person changed that.
    Now,
    /// If one of these may be erased now: what kept it seems to have gone away.
    IfDue(Vec<EntityId>),
}

/// How long after a plan whose run broke off another one is made by itself: a day, in microseconds.
const AGAIN_US: i64 = 24 * 60 * 60 * 1_000_000;

/// Why a request cannot be completed as somebody says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotComplete {
    /// Nobody said which records are theirs.
    #[error("nobody has said yet who asks and which records are theirs")]
    NotIdentified,
    /// Records are theirs.
    #[error("records of theirs are stored")]
    SomethingStored,
    /// No package was made since the records were named.
    #[error("no package was handed out since somebody last said which records are theirs")]
    NothingHandedOut,
    /// The newest package is not whole.
    #[error("{left} texts of messages are missing in the newest package")]
    TextsMissing {
        /// How many.
        left: u64,
    },
    /// A plan waits, or a run is under way.
    #[error("a plan of it waits or runs")]
    UnderWay,
    /// Records are left.
    #[error("{left} of its records are not erased")]
    Left {
        /// How many.
        left: u64,
    },
    /// Nothing was refused.
    #[error("none of its records is left, so nothing was refused")]
    NothingLeft,
    /// Not everything was refused.
    #[error("some of its records were erased, so it was not refused as a whole")]
    ErasedInPart,
    /// Records are not restricted.
    #[error("the use of {left} of its records is not restricted")]
    Unrestricted {
        /// How many.
        left: u64,
    },
}

/// All requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct SubjectRequests {
    all: BTreeMap<RequestId, SubjectRequest>,
}

impl SubjectRequests {
    /// Returns a request.
    #[must_use]
    pub fn get(&self, id: RequestId) -> Option<&SubjectRequest> {
        self.all.get(&id)
    }

    /// Returns the request whose exception keeps a record: it keeps it from everybody, however the request was answered. What
    /// is needed for a lawsuit is needed all the same when the erasure was refused, or is not asked for any more; only a
    /// person ends an exception.
    #[must_use]
    pub fn excepting(&self, record: EntityId) -> Option<RequestId> {
        self.iter().find(|(_, request)| request.excepts(record)).map(|(id, _)| id)
    }

    /// Goes through all requests, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (RequestId, &SubjectRequest)> {
        self.all.iter().map(|(id, request)| (*id, request))
    }

    pub(super) fn fold(&mut self, envelope: &Envelope, event: &Event) {
        let at = envelope.recorded_at;
        match event {
            Event::SubjectRequested(body) => self.requested(envelope, body),
            Event::SubjectRequestExtended(body) => self.with(body.request, |request| {
                request.first_due_at.get_or_insert(request.due_at);
                request.due_at = body.due_at;
            }),
            Event::SubjectIdentified(body) => self.identified(envelope, body),
            Event::ErasureExcepted(body) => self.excepted(envelope.position, body),
            Event::ErasureExceptionEnded(body) => self.with(body.request, |request| {
                if let Some(exception) = request.exceptions.get_mut(&body.exception) {
                    exception.ended_at.get_or_insert(at);
                }
                request.changed = envelope.position;
            }),
            Event::ErasurePlanRequested(body) => self.with(body.request, |request| {
                let plan = PlanId(envelope.position);
                if !request.plans.contains(&plan) {
                    request.plans.push(plan);
                }
            }),
            Event::ErasureKept(body) => self.kept(body),
            Event::SubjectPackageMade(body) => self.packaged(envelope.position, body),
            Event::SubjectRequestCompleted(body) => self.with(body.request, |request| {
                if request.ended.is_none() {
                    (request.ended, request.answered) = (Some((at, body.end)), envelope.position);
                }
            }),
            _ => {}
        }
    }

    pub(super) fn with(&mut self, id: RequestId, change: impl FnOnce(&mut SubjectRequest)) {
        if let Some(request) = self.all.get_mut(&id) {
            change(request);
        }
    }

    fn requested(&mut self, envelope: &Envelope, body: &SubjectRequested) {
        let request = SubjectRequest {
            kind: body.kind,
            ground: body.ground,
            marks: body.marks.clone(),
            named: body.named.clone(),
            entered_by: person(envelope.actor),
            received_at: body.received_at,
            due_at: body.due_at,
            timezone: body.timezone.clone(),
            first_due_at: None,
            identified: None,
            exceptions: BTreeMap::new(),
            plans: Vec::new(),
            kept: BTreeMap::new(),
            changed: Position::NONE,
            packages: BTreeSet::new(),
            missing: BTreeMap::new(),
            erased: BTreeSet::new(),
            told: BTreeMap::new(),
            ended: None,
            answered: Position::NONE,
        };
        self.all.insert(RequestId(envelope.position), request);
    }

    fn identified(&mut self, envelope: &Envelope, body: &SubjectIdentified) {
        let (by, at) = (person(envelope.actor), envelope.recorded_at);
        self.with(body.request, |request| {
            let records = in_order(body.records.clone());
            request.kept.retain(|record, _| records.binary_search(record).is_ok());
            request.missing.retain(|record, _| records.binary_search(record).is_ok());
            request.identified = Some(Identified { by, at, records });
            request.changed = envelope.position;
        });
    }

    /// The newest package says what is missing: it takes the place of those before it.
    fn packaged(&mut self, position: Position, body: &SubjectPackageMade) {
        self.with(body.request, |request| {
            request.packages.insert(position);
            request.missing = body.missing.iter().map(|missing| (missing.record, missing.why)).collect();
        });
    }

    fn excepted(&mut self, position: Position, body: &ErasureExcepted) {
        let (exception, review_at) = (body.exception, body.review_at);
        let records = in_order(body.records.clone());
        self.with(body.request, |request| {
            request.exceptions.insert(position, Exception { records, exception, review_at, ended_at: None });
        });
    }

    /// The newest plan says what is kept; what its run leaves alone comes to it.
    fn kept(&mut self, body: &ErasureKept) {
        self.with(body.request, |request| {
            request.kept = body.records.iter().map(|kept| (kept.record, kept.why)).collect();
        });
    }

    pub(super) fn left_alone(&mut self, id: RequestId, items: &[(EntityId, SkipReason)]) {
        self.with(id, |request| {
            for (record, reason) in items {
                let why = match reason {
                    SkipReason::Held => KeptWhy::Held,
                    SkipReason::Restricted => KeptWhy::Restricted,
                    SkipReason::Changed => KeptWhy::Changed,
                    SkipReason::InAnotherRun => KeptWhy::InAnotherRun,
                    SkipReason::Restored => KeptWhy::TakenOut,
                    SkipReason::NotDue if request.excepts(*record) => KeptWhy::Excepted,
                    SkipReason::NotDue => KeptWhy::Undecided,
                    SkipReason::Gone => continue,
                };
                request.kept.insert(*record, why);
            }
        });
    }
}

fn person(actor: Actor) -> Option<u32> {
    match actor {
        Actor::Person(uid) => Some(uid),
        Actor::Daemon | Actor::Schedule => None,
    }
}

impl super::Small {
    /// Returns the request whose records a saga erases.
    #[must_use]
    pub fn request_of_saga(&self, saga: SagaId) -> Option<RequestId> {
        let run = self.runs.saga(saga)?.started.run;
        self.plans.get(self.runs.run(run)?.plan)?.erases
    }
}

impl Views {
    /// Says whether a record is gone, or was never there.
    pub(super) fn is_gone(&self, record: EntityId) -> bool {
        self.entities.row(record).is_none_or(|row| row.state == super::EntityState::Purged)
    }

    /// Returns the records of a request that are still there, ascending.
    #[must_use]
    pub fn left_of(&self, request: &SubjectRequest) -> Vec<EntityId> {
        request.records().iter().copied().filter(|record| !self.is_gone(*record)).collect()
    }

    /// Returns where a request stands.
    #[must_use]
    pub fn state_of_request(&self, request: &SubjectRequest) -> RequestState {
        if request.ended.is_some() {
            return RequestState::Completed;
        }
        if request.identified.is_none() {
            return RequestState::Received;
        }
        if request.kind != RequestKind::Erase {
            return match (request.is_handed_out(), request.missing.is_empty()) {
                (false, _) => RequestState::Identified,
                (true, true) => RequestState::Exported,
                (true, false) => RequestState::ExportedInPart,
            };
        }
        let left = self.left_of(request);
        if left.is_empty() && !request.records().is_empty() {
            RequestState::Erased
        } else if self.is_exporting(request) {
            RequestState::Exported
        } else if left.iter().any(|record| request.excepts(*record) || request.kept.contains_key(record)) {
            RequestState::RefusedInPart
        } else {
            RequestState::Identified
        }
    }

    /// Returns the mailboxes in which messages of a request are, as far as is known.
    #[must_use]
    pub fn mailboxes_of_request(&self, request: &SubjectRequest) -> BTreeSet<EntityId> {
        let rows = request.records().iter().filter_map(|record| self.entities.row(*record));
        let there = rows.filter(|row| row.state != super::EntityState::Purged);
        let is_message = |layout| self.small.layouts.get(layout).is_some_and(|layout| layout.kind == Kind::Message);
        there.filter(|row| is_message(row.layout)).filter_map(|row| row.mailbox).collect()
    }

    /// Says whether a run of a request has a verified copy of records that are still there.
    fn is_exporting(&self, request: &SubjectRequest) -> bool {
        let runs = request.plans.iter().filter_map(|plan| self.small.plans.get(*plan)?.run);
        let runs = runs.filter_map(|run| self.small.runs.run(run)).filter(|run| run.ended_at.is_none());
        let mut sagas = runs.flat_map(|run| &run.sagas).filter_map(|saga| self.small.runs.saga(*saga));
        sagas.any(|saga| saga.end.is_none() && saga.receipt(Step::VerifyExport).is_some())
    }

    /// Returns the erasures that may need a plan at an instant, oldest first. A plan that a person refused is not made
    /// again by itself, and there is one plan at a time. `look` says whether what may change unseen is looked at
    /// too.
    #[must_use]
    pub fn erasures_to_plan(&self, now: Timestamp, look: Look) -> Vec<(RequestId, ErasurePlan)> {
        let requests = self.small.subjects.iter();
        requests.filter_map(|(id, request)| Some((id, self.plan_wanted(request, now, look)?))).collect()
    }

    fn plan_wanted(&self, request: &SubjectRequest, now: Timestamp, look: Look) -> Option<ErasurePlan> {
        let waits = |record: &&EntityId| request.erases(**record) && !self.is_gone(**record);
        let waiting: Vec<EntityId> = request.records().iter().filter(waits).copied().collect();
        if waiting.is_empty() || request.plans.iter().any(|plan| self.is_open(*plan, now)) {
            return None;
        }
        let Some(last) = request.plans.last() else { return Some(ErasurePlan::Now) };
        if request.changed > last.0 {
            return Some(ErasurePlan::Now);
        }
        let plan = self.small.plans.get(*last).filter(|plan| plan.rejected_by.is_none())?;
        // A run that broke off left records that nobody keeps: another try, but not at once.
        let is_rested = now.0.saturating_sub(plan.requested_at.0) >= AGAIN_US;
        let is_candidate = |record: &EntityId| match request.kept.get(record) {
            Some(why) => self.is_free(*record, *why, *last, now) || (look == Look::Everywhere && why.may_pass_unseen()),
            None => is_rested,
        };
        // What a hold or a restriction kept is free by the log's own word; only what must be judged is judged first.
        let is_told = |record: &EntityId| {
            let why = request.kept.get(record);
            why.is_some_and(|why| why.ends_by_the_log() && self.is_free(*record, *why, *last, now))
        };
        if waiting.iter().any(is_told) {
            return Some(ErasurePlan::Now);
        }
        let candidates: Vec<EntityId> = waiting.into_iter().filter(is_candidate).collect();
        (!candidates.is_empty()).then_some(ErasurePlan::IfDue(candidates))
    }

    pub(super) fn is_open(&self, id: PlanId, now: Timestamp) -> bool {
        let Some(plan) = self.small.plans.get(id) else { return false };
        // What was refused by a run is not run again by itself.
        let is_refused = || self.small.runs.iter().any(|(_, run)| run.plan == id && run.state == RunState::Refused);
        match plan.state(now) {
            PlanState::Requested => true,
            PlanState::AwaitingApproval | PlanState::Ready => !is_refused(),
            PlanState::Used => {
                plan.run.and_then(|run| self.small.runs.run(run)).is_some_and(|run| run.ended_at.is_none())
            }
            PlanState::Refused | PlanState::Preview | PlanState::Empty | PlanState::Rejected | PlanState::Stale => {
                false
            }
        }
    }

    /// Says whether what kept a record has gone away.
    fn is_free(&self, record: EntityId, why: KeptWhy, planned: PlanId, now: Timestamp) -> bool {
        match why {
            KeptWhy::Held => {
                let mut in_force = self.small.holds.in_force(now);
                // Whether a hold on a policy is about it has to be judged.
                !self.is_held(record, now) && !in_force.any(|(_, hold)| !hold.policies.is_empty())
            }
            KeptWhy::Restricted => !self.small.restrictions.keeps(record),
            KeptWhy::Until { until } => until <= now || self.policies_changed_since(planned),
            // Another text of it, or other policies, may be readable, and may say otherwise.
            KeptWhy::Undecided => {
                self.policies_changed_since(planned)
                    || self.entities.row(record).is_some_and(|row| row.version > planned.0)
            }
            KeptWhy::InAnotherRun => {
                self.small.runs.saga_of_entity(record).is_none() && !self.entities.is_quarantined(record)
            }
            KeptWhy::Changed => true,
            KeptWhy::Excepted => self.small.subjects.excepting(record).is_none(),
            KeptWhy::TakenOut => false,
        }
    }

    fn policies_changed_since(&self, planned: PlanId) -> bool {
        self.small.policies.activated > planned.0
    }

    /// Says why a request cannot be completed so.
    ///
    /// # Errors
    /// When that would not be true, or something is still under way.
    pub fn may_complete(&self, request: &SubjectRequest, end: RequestEnd, now: Timestamp) -> Result<(), NotComplete> {
        match (end, &request.identified) {
            (RequestEnd::Withdrawn, _) | (RequestEnd::Refused | RequestEnd::NothingStored, None) => return Ok(()),
            (RequestEnd::NothingStored, Some(_)) => return Err(NotComplete::SomethingStored),
            (_, None) => return Err(NotComplete::NotIdentified),
            (_, Some(_)) => {}
        }
        match request.kind {
            RequestKind::Erase => {
                if request.plans.iter().any(|plan| self.is_open(*plan, now)) {
                    return Err(NotComplete::UnderWay);
                }
                let left = self.left_of(request).len();
                let erased = request.records().len() - left;
                match end {
                    RequestEnd::Fulfilled if left > 0 => Err(NotComplete::Left { left: left as u64 }),
                    RequestEnd::RefusedInPart if left == 0 => Err(NotComplete::NothingLeft),
                    RequestEnd::Refused if erased > 0 => Err(NotComplete::ErasedInPart),
                    _ => Ok(()),
                }
            }
            RequestKind::Restrict | RequestKind::Object if end == RequestEnd::Fulfilled => {
                let is_unrestricted = |record: &EntityId| !self.small.restrictions.keeps(*record);
                let left = self.left_of(request).iter().filter(|record| is_unrestricted(record)).count();
                match (request.kind, left) {
                    (RequestKind::Restrict, 1..) => Err(NotComplete::Unrestricted { left: left as u64 }),
                    _ => Ok(()),
                }
            }
            RequestKind::Access | RequestKind::Portability
                if end == RequestEnd::Fulfilled && !request.is_handed_out() =>
            {
                Err(NotComplete::NothingHandedOut)
            }
            RequestKind::Access | RequestKind::Portability
                if end == RequestEnd::Fulfilled && !request.missing.is_empty() =>
            {
                Err(NotComplete::TextsMissing { left: request.missing.len() as u64 })
            }
            RequestKind::Access | RequestKind::Portability | RequestKind::Restrict | RequestKind::Object => Ok(()),
        }
    }

    fn is_held(&self, record: EntityId, now: Timestamp) -> bool {
        let Some(row) = self.entities.row(record) else { return false };
        !self.small.holds.of(&self.hold_subject(record, &row), now).is_empty()
    }

    /// Says whether an erasure waits for what keeps records of it.
    #[must_use]
    pub fn has_kept_erasures(&self) -> bool {
        let live =
            self.small.subjects.iter().filter(|(_, request)| request.kind == RequestKind::Erase && request.is_live());
        live.into_iter().any(|(_, request)| request.identified.is_some() && !self.left_of(request).is_empty())
    }

    /// Returns when an erasure may need a plan next although nothing happens: a minimum or a released hold ends.
    #[must_use]
    pub fn next_erasure_after(&self, now: Timestamp) -> Option<Timestamp> {
        let open = self.small.subjects.iter().filter(|(_, request)| request.is_live());
        let kept: Vec<KeptWhy> = open.flat_map(|(_, request)| request.kept.values().copied()).collect();
        let minima = kept.iter().filter_map(|why| match why {
            KeptWhy::Until { until } => Some(*until),
            _ => None,
        });
        let is_held = kept.contains(&KeptWhy::Held);
        let holds = self.small.holds.all().filter(|_| is_held).filter_map(|(_, hold)| hold.released);
        minima.chain(holds.map(|(_, until)| until)).filter(|at| *at > now).min()
    }
}

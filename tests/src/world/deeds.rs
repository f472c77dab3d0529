//! What persons and sources do in a world.

use std::time::Duration;

use retention_core::event::change::{
    EntityAbsent, EntityChanged, EntityLinked, LayoutRecorded, Link, MailboxScanRequested,
};
use retention_core::event::clock::ClockConfirmed;
use retention_core::event::decision::{
    PlanApproved, PlanPurpose, PlanRejected, PlanRequested, RunCancelled, RunPaused, RunRequested, RunResumed,
};
use retention_core::event::erasure::EntityRestored;
use retention_core::event::grant::{
    GrantApproved, GrantPurpose, GrantRejected, GrantRenewed, GrantRequested, GrantRevokeRequested,
};
use retention_core::event::hold::{
    DisposalPaused, DisposalResumed, HoldPlaced, HoldReleased, PauseScope, StandingQuery, v1,
};
use retention_core::event::{Actor, Draft, Event, stream_of_position};
use retention_core::id::{Digest, EntityId, GrantId, HoldId, PlanId, Position, RunId, SagaId};
use retention_core::record::activity::ActivityClass;
use retention_core::record::{Column, DateRole, EntityRecord, FieldType, Kind, Layout, Relation, Visibility};
use retention_core::time::Timestamp;
use retention_core::view::grants::GrantStage;
use retention_core::view::{Condition, GrantState, RunState};
use retentiond::clock::Clock;
use retentiond::store::{AppendError, Appended, Prepared};

use super::{APPROVER, REQUESTER, World};
use crate::invariants::MARKER;

impl World {
    /// Appends what a person or the daemon has to say. After a crash the store is open again, and it may or may not
    /// stand in the log.
    ///
    /// # Errors
    /// When the log does not take it.
    pub fn append(
        &mut self,
        actor: Actor,
        cause: Position,
        event: Event,
        condition: Condition,
    ) -> Result<Appended, AppendError> {
        let draft = Draft { stream: stream_of_position(cause), entity: None, actor, cause, occurred_at: None, event };
        self.append_draft(draft, condition)
    }

    fn append_draft(&mut self, draft: Draft, condition: Condition) -> Result<Appended, AppendError> {
        let before = self.store().view(|views| views.position);
        // What is written may be the first of its month, which is begun then.
        let prepared = self.store().prepare(draft, None);
        self.come_back(before);
        self.append_prepared(prepared?, condition)
    }

    fn append_prepared(&mut self, prepared: Prepared, condition: Condition) -> Result<Appended, AppendError> {
        let before = self.store().view(|views| views.position);
        let appended = self.store().append(vec![prepared], condition);
        self.come_back(before);
        appended
    }

    /// Opens the store again after a crash.
    pub(super) fn come_back(&mut self, before: Position) {
        if self.gate.has_crashed() {
            self.crashes += 1;
            self.open_again();
            self.learn_after(before);
            self.check();
        }
    }

    pub(super) fn person(&mut self, uid: u32, cause: Position, event: Event, condition: Condition) -> Option<Position> {
        self.append(Actor::Person(uid), cause, event, condition).ok().map(|appended| appended.first)
    }

    fn record(&self, id: &str, note: &str, created: Timestamp) -> EntityRecord {
        EntityRecord {
            layout: self.layout,
            mailbox: None,
            visibility: Visibility::Private,
            external_id: format!("{MARKER}-{id}"),
            other_ids: Vec::new(),
            dates: vec![(DateRole::Created, created)],
            links: Vec::new(),
            cells: [Some(id), Some(format!("{MARKER} {note}").as_str())].into_iter().collect(),
        }
    }

    /// Adds a contact that was created in the source at an instant. After a crash it may not be there.
    ///
    /// # Panics
    /// When the store does not take it.
    pub fn add(&mut self, id: &str, created: &str) -> EntityId {
        self.add_record(self.record(id, "new", created.parse().expect("an instant")))
    }

    /// As [`Self::add`], in the mailbox of an entity: what lives in different mailboxes goes by different sagas.
    ///
    /// # Panics
    /// When the store does not take it.
    pub fn add_in(&mut self, mailbox: EntityId, id: &str, created: &str) -> EntityId {
        let record = self.record(id, "new", created.parse().expect("an instant"));
        self.add_record(EntityRecord { mailbox: Some(mailbox), ..record })
    }

    fn add_record(&mut self, record: EntityRecord) -> EntityId {
        let (entity, key) = self.store().issue(1).expect("a key").pop().expect("one key");
        let cells = record.cells.clone();
        let draft = self.draft_of(entity, Event::EntityChanged(EntityChanged { record }));
        let prepared = self.store().prepare(draft, Some(&key)).expect("a sealed event");
        if self.append_prepared(prepared, Condition::None).is_ok() {
            self.model.told.insert(entity, cells);
        }
        entity
    }

    /// Makes a mailbox and registers it at the mail server.
    ///
    /// # Panics
    /// When the store does not take it.
    pub fn add_mailbox(&mut self, address: &str) -> EntityId {
        let column = Column { name: "address".into(), field: "address".into(), field_type: FieldType::Text };
        let layout = Layout { source: "mail".into(), kind: Kind::Mailbox, columns: vec![column], named_dates: vec![] };
        let (known, next) = self.store().view(|views| (views.small.layouts.find(&layout), views.small.layouts.next()));
        if known.is_none() {
            let event = Event::LayoutRecorded(LayoutRecorded { id: next, layout });
            self.append(Actor::Daemon, Position::NONE, event, Condition::NextLayout(next)).expect("a layout");
        }
        let (entity, key) = self.store().issue(1).expect("a key").pop().expect("one key");
        let record = EntityRecord {
            layout: known.unwrap_or(next),
            mailbox: None,
            visibility: Visibility::Unknown,
            external_id: address.to_owned(),
            other_ids: Vec::new(),
            dates: Vec::new(),
            links: Vec::new(),
            cells: std::iter::once(Some(address)).collect(),
        };
        let draft = self.draft_of(entity, Event::EntityChanged(EntityChanged { record }));
        let prepared = self.store().prepare(draft, Some(&key)).expect("a sealed event");
        self.append_prepared(prepared, Condition::None).expect("a mailbox");
        self.mail.register(entity, address);
        entity
    }

    /// Asks for a look at a mailbox.
    pub fn request_scan(&mut self, mailbox: EntityId) {
        let draft = self.draft_of(mailbox, Event::MailboxScanRequested(MailboxScanRequested {}));
        let draft = Draft { actor: Actor::Person(REQUESTER), ..draft };
        drop(self.append_draft(draft, Condition::None));
    }

    fn draft_of(&self, entity: EntityId, event: Event) -> Draft {
        Draft {
            stream: self.store().stream_of(entity),
            entity: Some(entity),
            actor: Actor::Daemon,
            cause: Position::NONE,
            occurred_at: None,
            event,
        }
    }

    /// Changes a contact, if it is still there.
    ///
    /// # Panics
    /// When the store cannot be read.
    pub fn change(&mut self, entity: EntityId, note: &str) {
        let Some(row) = self.store().view(|views| views.entities.row(entity)) else { return };
        let Some(before) = self.store().record(entity).expect("a readable record") else { return };
        let created = before.dates.first().map_or(self.clock.now(), |(_, at)| *at);
        let id = before.cells.get(0).unwrap_or_default().to_owned();
        let record = EntityRecord { external_id: before.external_id, ..self.record(&id, note, created) };
        let cells = record.cells.clone();
        let draft = self.draft_of(entity, Event::EntityChanged(EntityChanged { record }));
        if self.append_draft(draft, Condition::Versions(vec![(entity, row.version)])).is_ok() {
            self.model.told.insert(entity, cells);
        }
    }

    /// Tells that a snapshot no longer held a contact.
    pub fn absent(&mut self, entity: EntityId) {
        let draft = self.draft_of(entity, Event::EntityAbsent(EntityAbsent { intake: EntityId(0) }));
        drop(self.append_draft(draft, Condition::None));
    }

    /// Tells that an entity was an activity of another one, and of which class.
    ///
    /// # Panics
    /// When there is no such class, or `at` is no instant.
    pub fn deal_with(&mut self, of: EntityId, by: EntityId, at: &str, class: Option<&str>) {
        let class = class.map(|name| ActivityClass::from_name(name).expect("a class"));
        let links = vec![Link { relation: Relation::About, to: of }];
        let body = EntityLinked { links, at: Some(at.parse().expect("an instant")), class };
        let draft = self.draft_of(by, Event::EntityLinked(body));
        drop(self.append_draft(draft, Condition::None));
    }

    /// Places a hold.
    pub fn hold(&mut self, entities: &[EntityId]) -> Option<HoldId> {
        let (name, reason) = (format!("{MARKER} case"), format!("{MARKER} reason"));
        self.place_hold(v1::HoldPlaced { name, reason, entities: entities.to_vec() }.into())
    }

    /// Places a hold that may cover more than entities.
    pub fn place_hold(&mut self, body: HoldPlaced) -> Option<HoldId> {
        let entities = body.entities.clone();
        let hold = HoldId(self.person(APPROVER, Position::NONE, Event::HoldPlaced(body), Condition::None)?);
        self.model.holds.insert(hold, entities.iter().copied().collect());
        Some(hold)
    }

    /// Places a hold on the contacts that match a filter.
    pub fn hold_matching(&mut self, filter: &str) -> Option<HoldId> {
        let (name, reason) = (format!("{MARKER} case"), format!("{MARKER} reason"));
        let (kinds, sources) = (vec![Kind::Contact], vec!["crm".to_owned()]);
        let standing = Some(StandingQuery { kinds, sources, seen_from: None, seen_until: None });
        let body = v1::HoldPlaced { name, reason, entities: Vec::new() };
        self.place_hold(HoldPlaced { standing, filter: filter.to_owned(), ..body.into() })
    }

    /// Releases a hold, which then protects until an instant.
    pub fn release_until(&mut self, hold: HoldId, until: Timestamp) {
        let event = Event::HoldReleased(HoldReleased { hold, reason: MARKER.to_owned(), until });
        if self.person(APPROVER, hold.0, event, Condition::HoldActive(hold)).is_some() {
            self.model.holds.remove(&hold);
        }
    }

    /// Pauses something.
    pub fn pause_disposal(&mut self, scope: PauseScope) {
        let event = Event::DisposalPaused(DisposalPaused { scope: scope.clone(), reason: MARKER.to_owned() });
        self.person(REQUESTER, Position::NONE, event, Condition::NotPaused(scope));
    }

    /// Lets something go on.
    pub fn resume_disposal(&mut self, scope: PauseScope) {
        let event = Event::DisposalResumed(DisposalResumed { scope: scope.clone(), reason: MARKER.to_owned() });
        self.person(REQUESTER, Position::NONE, event, Condition::Paused(scope));
    }

    /// Releases a hold at once.
    pub fn release(&mut self, hold: HoldId) {
        let until = Timestamp(i64::MIN);
        let event = Event::HoldReleased(HoldReleased { hold, reason: MARKER.to_owned(), until });
        if self.person(APPROVER, hold.0, event, Condition::HoldActive(hold)).is_some() {
            self.model.holds.remove(&hold);
        }
    }

    /// Asks for a plan.
    pub fn request_plan(&mut self, policy: &str) -> Option<PlanId> {
        let (policy, purpose) = (policy.to_owned(), PlanPurpose::Run);
        let event = Event::PlanRequested(PlanRequested { policy, purpose, as_of: None });
        self.person(REQUESTER, Position::NONE, event, Condition::None).map(PlanId)
    }

    /// Accepts a plan.
    pub fn approve(&mut self, plan: PlanId, uid: u32) {
        let Some(digest) = self.store().view(|views| views.small.plans.get(plan)?.digest()) else { return };
        let event = Event::PlanApproved(PlanApproved { plan, digest, comment: MARKER.to_owned() });
        self.person(uid, plan.0, event, Condition::PlanOpen(plan));
    }

    /// Refuses a plan.
    pub fn reject(&mut self, plan: PlanId) {
        let Some(digest) = self.store().view(|views| views.small.plans.get(plan)?.digest()) else { return };
        let event = Event::PlanRejected(PlanRejected { plan, digest, comment: MARKER.to_owned() });
        self.person(APPROVER, plan.0, event, Condition::PlanOpen(plan));
    }

    /// Asks for the run of a plan, whatever its state is.
    pub fn request_run(&mut self, plan: PlanId) -> Option<RunId> {
        let digest = self.store().view(|views| views.small.plans.get(plan)?.digest())?;
        let event = Event::RunRequested(RunRequested { plan, digest });
        self.person(REQUESTER, plan.0, event, Condition::None).map(RunId)
    }

    /// Asks a run to wait.
    pub fn pause(&mut self, run: RunId) {
        let event = Event::RunPaused(RunPaused { run, reason: MARKER.to_owned() });
        self.person(REQUESTER, run.0, event, Condition::RunIn(run, vec![RunState::Running]));
    }

    /// Asks a run to go on.
    pub fn resume(&mut self, run: RunId) {
        let event = Event::RunResumed(RunResumed { run, reason: MARKER.to_owned() });
        self.person(REQUESTER, run.0, event, Condition::RunIn(run, vec![RunState::Paused]));
    }

    /// Asks a run to end early.
    pub fn cancel(&mut self, run: RunId) {
        let event = Event::RunCancelled(RunCancelled { run, reason: MARKER.to_owned() });
        let states = vec![RunState::Running, RunState::Paused];
        self.person(REQUESTER, run.0, event, Condition::RunIn(run, states));
    }

    /// Says that the clock is right; says whether that was asked.
    pub fn confirm_clock(&mut self) -> bool {
        let doubt = self.store().view(|views| views.small.clock.doubt().map(|(position, _)| *position));
        let Some(doubted) = doubt else { return false };
        let event = Event::ClockConfirmed(ClockConfirmed { doubted, reason: MARKER.to_owned() });
        self.person(APPROVER, doubted, event, Condition::ClockDoubted(doubted)).is_some()
    }

    /// Lets the clock be ahead by thirty days and be set right, and a person say so: the time of the log stands still.
    ///
    /// # Panics
    /// When nobody doubted the clock.
    pub fn let_log_time_stand_still(&mut self) {
        let right = self.clock.now();
        for at in [right.after(Duration::from_secs(30 * 86_400)), right] {
            self.clock.set(at);
            self.settle();
        }
        assert!(self.confirm_clock(), "{}", self.story());
        self.settle();
    }

    /// Takes an entity back out of quarantine; says whether that was still possible.
    pub fn restore(&mut self, entity: EntityId) -> bool {
        let saga: Option<SagaId> =
            self.store().view(|views| views.small.runs.saga_of_entity(entity).map(|(saga, _)| saga));
        let Some(saga) = saga else { return false };
        let event = Event::EntityRestored(EntityRestored { saga, reason: MARKER.to_owned() });
        let draft = Draft { actor: Actor::Person(APPROVER), cause: saga.0, ..self.draft_of(entity, event) };
        self.append_draft(draft, Condition::CanRestore { saga, entity }).is_ok()
    }

    /// Plans, has the plan accepted, and asks for its run.
    ///
    /// # Panics
    /// When there is no such plan.
    pub fn approved_run(&mut self, policy: &str) -> (PlanId, RunId) {
        let plan = self.request_plan(policy).expect("a plan");
        self.settle();
        self.approve(plan, APPROVER);
        let run = self.request_run(plan).expect("a run");
        self.check();
        (plan, run)
    }
}

/// Who is given access in the tests.
pub const HELPER: &str = "PLAINTEXT-MARKER-helper";

/// How long a grant of the tests lasts, in milliseconds.
pub const LEASE_MS: u64 = 3_600_000;

impl World {
    /// Adds a mailbox with folders and what [`HELPER`] may do in them.
    pub fn add_mailbox_with_folders(&mut self, name: &str, folders: &[(&str, &str)]) -> EntityId {
        let mailbox = self.add(name, "2090-01-01");
        self.mailboxes.add(mailbox, HELPER, folders);
        mailbox
    }

    /// Asks for access of [`HELPER`] to a mailbox.
    pub fn request_grant(&mut self, mailbox: EntityId, approvals: u32) -> Option<GrantId> {
        self.request_grant_to(HELPER, mailbox, approvals)
    }

    /// Asks for access of somebody to a mailbox.
    pub fn request_grant_to(&mut self, identifier: &str, mailbox: EntityId, approvals: u32) -> Option<GrantId> {
        self.request_lease(identifier, mailbox, approvals, LEASE_MS)
    }

    /// Asks for access of somebody to a mailbox, for so many milliseconds.
    pub fn request_lease(
        &mut self,
        identifier: &str,
        mailbox: EntityId,
        approvals: u32,
        duration_ms: u64,
    ) -> Option<GrantId> {
        let event = Event::GrantRequested(GrantRequested {
            mailbox,
            principal: self.store().principal(identifier),
            identifier: identifier.to_owned(),
            purpose: GrantPurpose::Request,
            policy: "mailbox-fullaccess".to_owned(),
            policy_digest: Digest::of(b"policy"),
            duration_ms,
            max_ms: 3 * duration_ms,
            alarm_after_ms: LEASE_MS / 4,
            approvals,
            approval_valid_ms: LEASE_MS,
            reason: MARKER.to_owned(),
            ticket: Some(MARKER.to_owned()),
        });
        self.person(REQUESTER, Position::NONE, event, Condition::None).map(GrantId)
    }

    /// Accepts a grant.
    pub fn approve_grant(&mut self, grant: GrantId, uid: u32) {
        let event = Event::GrantApproved(GrantApproved { grant, comment: MARKER.to_owned() });
        self.person(uid, grant.0, event, Condition::GrantIs(grant, GrantStage::NotBegun));
    }

    /// Refuses a grant.
    pub fn reject_grant(&mut self, grant: GrantId) {
        let event = Event::GrantRejected(GrantRejected { grant, comment: MARKER.to_owned() });
        self.person(APPROVER, grant.0, event, Condition::GrantIs(grant, GrantStage::NotBegun));
    }

    /// Makes the lease of a grant longer.
    pub fn renew_grant(&mut self, grant: GrantId) {
        let event = Event::GrantRenewed(GrantRenewed { grant, duration_ms: LEASE_MS, reason: MARKER.to_owned() });
        self.person(REQUESTER, grant.0, event, Condition::GrantIs(grant, GrantStage::Standing));
    }

    /// Asks for the end of a grant.
    pub fn revoke_grant(&mut self, grant: GrantId) {
        let event = Event::GrantRevokeRequested(GrantRevokeRequested { grant, reason: MARKER.to_owned() });
        self.person(REQUESTER, grant.0, event, Condition::GrantIs(grant, GrantStage::Open));
    }

    /// Where a grant stands now.
    ///
    /// # Panics
    /// When there is no such grant.
    #[must_use]
    pub fn grant_state(&self, grant: GrantId) -> GrantState {
        let now = self.clock.now();
        self.store().view(|views| views.small.grants.get(grant).expect("a grant").state(now))
    }
}

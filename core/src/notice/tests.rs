use proptest::prelude::*;

use super::*;
use crate::event::clock::{ClockConfirmed, ClockDoubt, ClockDoubted};
use crate::event::decision::{
    GuardTripped, KeptCount, PlanApproved, PlanFrozen, PlanPurpose, PlanRequested, PolicySetActivated, PolicyVersion,
    RunCancelled, RunEnd, RunEnded, RunRequested, RunStarted, ScheduleMissed,
};
use crate::event::grant::{GrantEnd, GrantEnded, GrantPurpose, GrantRequested, GrantStep, GrantStepStarted};
use crate::event::notice::{
    DeclaredChannel, NoticeAcknowledged, NoticeChannelsDeclared, NoticeFailed, NoticeOn, NoticeSent,
};
use crate::event::saga::{
    ItemsSkipped, Receipt, SagaEnd, SagaEnded, SagaItem, SagaStarted, ScriptKind, SkipReason, Step, StepStarted,
    StepSucceeded,
};
use crate::event::subject::{
    RequestEnd, RequestKind, SubjectRequestCompleted, SubjectRequestExtended, SubjectRequested,
};
use crate::event::{Actor, Envelope, Event, Readable, Recorded, stream_of_daemon};
use crate::id::{EntityId, GrantId, Handle, PlanId, Position, RequestId, RunId, SagaId};
use crate::policy::PolicyFile;
use crate::view::due::Standing;

const CHANNEL: &str = "dpo";
const DIGEST: Digest = Digest([3; 32]);
const POLICY: &str = r#"schema = 1
[policy]
id = "contacts"
owner = "dpo@example.org"
legal_basis = "GDPR 5(1)(e)"
state = "enforce"
[scope]
kind = "contact"
match_all = true
[retention]
period = "P1Y"
start = "created"
timezone = "Etc/UTC"
[schedule]
cron = "on_demand"
[action]
kind = "purge"
quarantine = "P30D"
"#;

fn day(day: i64) -> Timestamp {
    Timestamp(day * DAY_US + 60)
}

/// Views, and when it is.
struct World {
    views: Views,
    policies: PolicySet,
    copies: Vec<HandedOver>,
    now: Timestamp,
}

impl World {
    /// One in which the channel wants to know everything from now on.
    fn new() -> Self {
        let mut world = Self::silent();
        world.declare(Thing::ALL);
        world
    }

    fn silent() -> Self {
        let policies = PolicySet::check(&[PolicyFile { stem: "contacts", text: POLICY }]).unwrap();
        let mut world = Self { views: Views::default(), policies, copies: Vec::new(), now: day(20_000) };
        let digest = world.policies.policies()[0].digest();
        let policies = vec![PolicyVersion { id: "contacts".to_owned(), digest }];
        world.by(Actor::Daemon, Event::PolicySetActivated(PolicySetActivated { digest, policies }));
        world.views.due.policy_judged("contacts", digest);
        world
    }

    fn by(&mut self, actor: Actor, event: Event) -> Position {
        self.about(None, actor, event)
    }

    fn about(&mut self, entity: Option<EntityId>, actor: Actor, event: Event) -> Position {
        let envelope = self.envelope(entity, actor, &event);
        self.views.fold(&Recorded { envelope, event: Readable::Event(Box::new(event)) }, None);
        envelope.position
    }

    fn envelope(&self, entity: Option<EntityId>, actor: Actor, event: &Event) -> Envelope {
        Envelope {
            event_type: event.event_type() as u16,
            schema: 1,
            sealed: false,
            position: self.views.position.next(),
            recorded_at: self.now,
            occurred_at: self.now,
            stream: stream_of_daemon(),
            actor,
            cause: Position::NONE,
            entity,
            texts: None,
            body_len: 0,
            body_digest: DIGEST,
        }
    }

    fn happens(&mut self, event: Event) -> Position {
        self.by(Actor::Person(7), event)
    }

    fn declare(&mut self, things: &[Thing]) {
        let channels = vec![DeclaredChannel { name: CHANNEL.to_owned(), things: things.to_vec() }];
        self.happens(Event::NoticeChannelsDeclared(NoticeChannelsDeclared { channels }));
    }

    fn owed(&self) -> Vec<Notice> {
        self.owed_before(&[14, 3])
    }

    fn owed_before(&self, before: &[u16]) -> Vec<Notice> {
        let reader = Reader { channel: CHANNEL, before, copies: &self.copies };
        let owed = owed(&self.views, &self.policies, &reader, self.now);
        assert!(owed.is_sorted(), "the more urgent first");
        for notice in &owed {
            let text = text(&self.views, &self.copies, notice, self.now).unwrap();
            assert!(!text.subject.is_empty() && !text.facts.is_empty(), "{notice}");
        }
        owed
    }

    fn send(&mut self, notice: &Notice) {
        let body = NoticeSent { channel: CHANNEL.to_owned(), notice: notice.clone() };
        self.happens(Event::NoticeSent(body));
    }

    /// Sends what is owed, and returns it.
    fn sent(&mut self) -> Vec<Notice> {
        let owed = self.owed();
        for notice in &owed {
            self.send(notice);
        }
        assert_eq!(self.owed(), [], "what was sent is not owed again");
        owed
    }

    fn remembered(&self) -> usize {
        self.views.small.notices.channel(CHANNEL).unwrap().told.len()
    }

    fn plan(&mut self, tripped: Vec<GuardTripped>) -> PlanId {
        self.plan_with(tripped, Vec::new())
    }

    fn plan_with(&mut self, tripped: Vec<GuardTripped>, kept: Vec<KeptCount>) -> PlanId {
        let policy = "contacts".to_owned();
        let request = PlanRequested { policy: policy.clone(), purpose: PlanPurpose::Run, as_of: None };
        let plan = PlanId(self.happens(Event::PlanRequested(request)));
        self.freeze(plan, policy, tripped, kept);
        plan
    }

    fn freeze(&mut self, plan: PlanId, policy: String, tripped: Vec<GuardTripped>, kept: Vec<KeptCount>) {
        let frozen = PlanFrozen {
            plan,
            purpose: PlanPurpose::Run,
            policy,
            policy_digest: self.policies.policies()[0].digest(),
            log_position: plan.0,
            as_of: self.now,
            population: 40,
            items: 17,
            kept,
            tripped,
            needs_approval: true,
            approvals_needed: 1,
            approval_valid_ms: 86_400_000,
            digest: DIGEST,
        };
        self.happens(Event::PlanFrozen(frozen));
    }

    fn approve(&mut self, plan: PlanId) {
        let approved = PlanApproved { plan, digest: DIGEST, comment: String::new() };
        self.by(Actor::Person(8), Event::PlanApproved(approved));
    }

    fn run(&mut self, plan: PlanId) -> RunId {
        let run = RunId(self.happens(Event::RunRequested(RunRequested { plan, digest: DIGEST })));
        self.happens(Event::RunStarted(RunStarted { run, plan, items: 17 }));
        run
    }

    /// Runs a plan that was told and approved.
    fn runs(&mut self) -> RunId {
        let plan = self.plan(Vec::new());
        self.sent();
        self.approve(plan);
        self.run(plan)
    }

    fn saga(&mut self, run: RunId, script: ScriptKind) -> SagaId {
        let started = SagaStarted { run, script, script_version: 1, mailbox: None, items: Vec::new() };
        SagaId(self.happens(Event::SagaStarted(started)))
    }

    fn does_step(&mut self, saga: SagaId, step: Step, receipt: Receipt) {
        let intent = StepStarted { saga, step, attempt: 1, idempotency_key: DIGEST, items: Vec::new() };
        self.happens(Event::StepStarted(intent));
        self.happens(Event::StepSucceeded(StepSucceeded { saga, step, receipt, compensation: false }));
    }

    fn end(&mut self, run: RunId, end: RunEnd) {
        self.happens(Event::RunEnded(RunEnded { run, end, purged: 16, skipped: 1 }));
    }

    fn request(&mut self, due_at: Timestamp) -> RequestId {
        let body = SubjectRequested {
            kind: RequestKind::Erase,
            ground: None,
            marks: Vec::new(),
            named: Vec::new(),
            received_at: self.now,
            due_at,
            timezone: "UTC".to_owned(),
            reference: String::new(),
        };
        RequestId(self.happens(Event::SubjectRequested(body)))
    }

    fn fall_due(&mut self, entity: u32, at: i64) {
        let digest = self.policies.policies()[0].digest();
        self.views.due.set("contacts", digest, EntityId(entity), Standing::DueAt(day(at)));
    }
}

#[test]
fn a_plan_is_told_once_also_when_its_approvals_run_out() {
    let mut world = World::new();
    let plan = world.plan(Vec::new());
    assert_eq!(world.sent(), [Notice::PlanNeedsApproval { plan }]);
    world.approve(plan);
    world.now = day(20_003);
    assert_eq!(world.owed(), []);
    let tripped = vec![GuardTripped { guard: "max_items".to_owned(), limit: 1, actual: 17 }];
    let stopped = world.plan(tripped);
    let notice = Notice::PlanStopped { plan: stopped };
    let said = text(&world.views, &[], &notice, world.now).unwrap();
    assert!(said.facts.contains(&("limits", "max_items".to_owned())), "{said:?}");
    assert_eq!(world.sent(), [notice]);
}

#[test]
fn a_run_that_is_done_is_told_with_its_digest_and_with_what_became_of_its_items() {
    for (script, purged, told) in [
        (ScriptKind::ExportPurge, 16, [Some("16"), None, None]),
        (ScriptKind::ExportRedact, 16, [Some("0"), Some("16"), None]),
        (ScriptKind::Restrict, 0, [Some("0"), None, Some("16")]),
    ] {
        let mut world = World::new();
        let run = world.runs();
        assert_eq!(world.owed(), []);
        for items in [9, 7] {
            let saga = world.saga(run, script);
            if script == ScriptKind::Restrict {
                world.does_step(saga, Step::Restrict, Receipt::Restricted { items });
            }
            let purged = if script == ScriptKind::Restrict { 0 } else { items };
            world.happens(Event::SagaEnded(SagaEnded { saga, end: SagaEnd::Completed, purged }));
        }
        world.happens(Event::RunEnded(RunEnded { run, end: RunEnd::Completed, purged, skipped: 1 }));
        let said = text(&world.views, &[], &Notice::RunDone { run }, world.now).unwrap();
        for (key, value) in [("digest", DIGEST.to_string()), ("skipped", "1".to_owned())] {
            assert!(said.facts.contains(&(key, value)), "{key} in {said:?}");
        }
        let fact = |key| said.facts.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str());
        assert_eq!(["purged", "redacted", "restricted"].map(fact), told, "{said:?}");
        assert_eq!(fact("access"), None);
        assert_eq!(world.sent(), [Notice::RunDone { run }]);
    }
}

#[test]
fn a_run_that_is_done_says_what_became_of_the_access_that_it_took() {
    let mut world = World::new();
    let plan = world.plan(Vec::new());
    world.approve(plan);
    let run = world.run(plan);
    let event = Event::GrantRequested(GrantRequested {
        mailbox: EntityId(7),
        principal: Handle([1; 16]),
        identifier: "archive".to_owned(),
        purpose: GrantPurpose::Run { run },
        policy: "contacts".to_owned(),
        policy_digest: DIGEST,
        duration_ms: 60_000,
        max_ms: 60_000,
        alarm_after_ms: 60_000,
        approvals: 0,
        approval_valid_ms: 60_000,
        reason: String::new(),
        ticket: None,
    });
    let grant = GrantId(world.by(Actor::Daemon, event));
    let step = GrantStep::Give;
    world.by(Actor::Daemon, Event::GrantStepStarted(GrantStepStarted { grant, step, attempt: 1 }));
    world.end(run, RunEnd::Completed);
    let said = |world: &World| {
        let said = text(&world.views, &[], &Notice::RunDone { run }, world.now).unwrap();
        said.facts.into_iter().find(|(key, _)| *key == "access").map(|(_, said)| said)
    };
    assert_eq!(said(&world), Some(format!("being given back on 1 mailbox ({grant})")));
    world.by(Actor::Daemon, Event::GrantEnded(GrantEnded { grant, end: GrantEnd::Revoked }));
    assert_eq!(said(&world), Some("given back on 1 mailbox".to_owned()));
}

#[test]
fn that_a_schedule_planned_what_waits_already_is_no_news() {
    let mut world = World::new();
    let mut refused = |code: &str| {
        let request = PlanRequested { policy: "contacts".to_owned(), purpose: PlanPurpose::Run, as_of: None };
        let plan = PlanId(world.happens(Event::PlanRequested(request)));
        world.happens(Event::PlanRefused(PlanRefused { plan, code: code.to_owned() }));
        (plan, world.sent())
    };
    let (plan, told) = refused("no_such_policy");
    assert_eq!(told, [Notice::PlanRefused { plan }]);
    assert_eq!(refused(PlanRefused::ALREADY_WAITS).1, []);
}

#[test]
fn a_stuck_saga_is_told_while_its_run_goes_on_and_the_run_when_it_ends() {
    let mut world = World::new();
    let run = world.runs();
    let saga = world.saga(run, ScriptKind::ExportPurge);
    world.happens(Event::SagaEnded(SagaEnded { saga, end: SagaEnd::Stuck, purged: 0 }));
    assert_eq!(world.sent(), [Notice::SagaStuck { saga }]);
    world.end(run, RunEnd::Stuck);
    assert_eq!(world.sent(), [Notice::RunFailed { run }]);
}

#[test]
fn a_run_that_the_daemon_stopped_is_told_as_failed_and_one_that_a_person_ended_as_done() {
    let mut world = World::new();
    let run = world.runs();
    let item = |number| SagaItem { item: number, entity: EntityId(number), version: Position(1) };
    let (script, items) = (ScriptKind::ExportPurge, vec![item(1), item(2)]);
    let started = SagaStarted { run, script, script_version: 1, mailbox: None, items };
    let saga = SagaId(world.happens(Event::SagaStarted(started)));
    world.happens(Event::ItemsSkipped(ItemsSkipped { saga, items: vec![(EntityId(1), SkipReason::Changed)] }));
    let event = Event::RunCancelled(RunCancelled { run, reason: RunCancelled::DRIFTED.to_owned() });
    let envelope = Envelope { cause: saga.0, ..world.envelope(None, Actor::Daemon, &event) };
    world.views.fold(&Recorded { envelope, event: Readable::Event(Box::new(event)) }, None);
    assert_eq!(world.sent(), [], "it is undoing what it began");
    world.end(run, RunEnd::Cancelled);
    let notice = Notice::RunFailed { run };
    assert_eq!(world.sent(), std::slice::from_ref(&notice));
    let said = text(&world.views, &[], &notice, world.now).unwrap();
    assert!(said.subject.ends_with("was stopped: too much changed after its plan was made"), "{said:?}");
    assert_eq!(said.hint, "retentionctl plan make contacts");
    for (key, value) in [("code", "max_drift_percent"), ("looked_at", "2"), ("drifted", "1")] {
        assert!(said.facts.contains(&(key, value.to_owned())), "{said:?}");
    }

    let run = world.runs();
    world.happens(Event::RunCancelled(RunCancelled { run, reason: "enough".to_owned() }));
    world.end(run, RunEnd::Cancelled);
    assert_eq!(world.sent(), [Notice::RunDone { run }]);
}

#[test]
fn a_plan_that_its_policy_has_left_behind_needs_no_approval() {
    let mut world = World::new();
    let plan = world.plan(Vec::new());
    let state = |world: &World| world.views.state_of_plan(world.views.small.plans.get(plan).unwrap(), world.now);
    assert_eq!(state(&world), PlanState::AwaitingApproval);
    let policies = vec![PolicyVersion { id: "contacts".to_owned(), digest: DIGEST }];
    world.by(Actor::Daemon, Event::PolicySetActivated(PolicySetActivated { digest: DIGEST, policies }));
    assert_eq!((state(&world), world.owed()), (PlanState::Stale, Vec::new()));
    world.approve(plan);
    assert_eq!(state(&world), PlanState::Stale, "its run would be refused");
}

#[test]
fn what_was_over_before_a_channel_wanted_to_know_is_not_told_and_what_is_open_is() {
    let mut world = World::silent();
    let plan = world.plan(Vec::new());
    world.approve(plan);
    let run = world.run(plan);
    world.end(run, RunEnd::Completed);
    let open = world.plan(Vec::new());
    assert_eq!(world.owed(), [], "nobody wants to know");
    world.now = day(20_001);
    world.declare(&[Thing::PlanNeedsApproval]);
    assert_eq!(world.sent(), [Notice::PlanNeedsApproval { plan: open }]);
    // A thing that is added later counts from then on, and the others keep their time and what was told.
    world.now = day(20_002);
    world.declare(Thing::ALL);
    assert_eq!(world.owed(), []);
    world.approve(open);
    let later = world.run(open);
    world.end(later, RunEnd::Completed);
    assert_eq!(world.owed(), [Notice::RunDone { run: later }]);
    // A channel that went away and comes back is a new one.
    let gone = NoticeChannelsDeclared { channels: Vec::new() };
    world.happens(Event::NoticeChannelsDeclared(gone));
    assert_eq!(world.owed(), []);
    world.now = day(20_003);
    world.declare(Thing::ALL);
    assert_eq!(world.owed(), []);
}

#[test]
fn a_request_is_told_once_per_step_before_and_once_when_it_is_late() {
    let mut world = World::new();
    let due_at = day(20_030);
    let request = world.request(due_at);
    let soon = |due_at, before_days| Notice::RequestDueSoon { request, due_at, before_days };
    let mut told = Vec::new();
    for today in 20_000..20_040 {
        world.now = day(today);
        told.extend(world.sent().into_iter().map(|notice| (today, notice)));
    }
    let late = Notice::RequestLate { request, due_at };
    assert_eq!(told, [(20_016, soon(due_at, 14)), (20_027, soon(due_at, 3)), (20_030, late)]);
    let extended = day(20_070);
    let body = SubjectRequestExtended { request, due_at: extended, reason: String::new() };
    world.happens(Event::SubjectRequestExtended(body));
    world.now = day(20_068);
    assert_eq!(world.sent(), [soon(extended, 3)], "of several steps that have begun, the shortest");
    assert_eq!(world.remembered(), 1, "what was told of the time before is forgotten");
    let ended = SubjectRequestCompleted { request, end: RequestEnd::Fulfilled, reason: String::new() };
    world.happens(Event::SubjectRequestCompleted(ended));
    world.now = day(20_080);
    assert_eq!(world.owed(), []);
}

#[test]
fn items_are_told_of_in_time_together_and_not_every_day() {
    let mut world = World::new();
    for n in 0..60u32 {
        world.fall_due(n, 20_005 + i64::from(n));
    }
    let mut told = Vec::new();
    for today in 20_000..20_080 {
        world.now = day(today);
        told.extend(world.owed_before(&[14]).into_iter().map(|notice| (today, notice)));
        world.sent();
    }
    let days: Vec<i64> = told.iter().map(|(today, _)| *today).collect();
    assert!(days.len() <= 7, "{told:?}");
    for due in 20_005..20_065i64 {
        let is_in_time = told.iter().any(|(today, notice)| match notice {
            Notice::FallingDue { from_day, .. } => {
                let covers = i64::from(*from_day)..i64::from(*from_day) + 14;
                covers.contains(&due) && (*today <= due - 14 || *today == 20_000)
            }
            _ => false,
        });
        assert!(is_in_time, "{due} in {told:?}");
    }
    // Nothing is said while it is not known what is due.
    let mut world = World::new();
    world.fall_due(1, 20_005);
    world.views.due.mark(EntityId(2));
    assert_eq!(world.owed(), []);
    assert!(World::new().owed_before(&[0, 14]).is_empty(), "nothing is due, and zero days are no days");
}

#[test]
fn by_a_doubted_clock_nothing_is_late() {
    let mut world = World::new();
    world.request(day(20_001));
    world.fall_due(1, 20_400);
    let doubt = ClockDoubted { doubt: ClockDoubt::JumpedForward, expected_at: world.now, seen_at: day(20_399) };
    world.now = day(20_399);
    let doubted = world.happens(Event::ClockDoubted(doubt));
    assert_eq!(world.sent(), [Notice::ClockDoubted { doubted }]);
    world.now = day(20_000);
    world.happens(Event::ClockConfirmed(ClockConfirmed { doubted, reason: String::new() }));
    assert!(matches!(world.owed()[..], [Notice::RequestDueSoon { .. }]), "{:?}", world.owed());
}

#[test]
fn a_missed_schedule_is_told_and_what_could_not_be_delivered_is_not_tried_again() {
    let mut world = World::new();
    let body = ScheduleMissed { policy: "contacts".to_owned(), first_at: day(19_990), last_at: day(19_998), count: 9 };
    let missed = world.happens(Event::ScheduleMissed(body));
    let notice = Notice::ScheduleMissed { missed };
    assert_eq!(world.owed(), std::slice::from_ref(&notice));
    let body = NoticeFailed { channel: CHANNEL.to_owned(), notice, tries: 80, code: "http-503".to_owned() };
    world.happens(Event::NoticeFailed(body));
    assert_eq!(world.owed(), []);
    let given_up: Vec<_> = world.views.small.notices.channel(CHANNEL).unwrap().given_up().collect();
    assert_eq!(given_up, [(&Notice::ScheduleMissed { missed }, "http-503")]);
}

#[test]
fn what_is_remembered_is_bounded_and_forgetting_repeats_nothing() {
    let mut world = World::new();
    let mut told = BTreeSet::new();
    let mut most = 0;
    for today in 20_000..20_400 {
        world.now = day(today);
        let plan = world.plan(Vec::new());
        if today % 2 == 0 {
            world.approve(plan);
            let run = world.run(plan);
            world.end(run, RunEnd::Completed);
        }
        world.fall_due(u32::try_from(today).unwrap(), today + 5);
        for notice in world.sent() {
            assert!(told.insert(notice.clone()), "{notice} is told twice");
        }
        most = most.max(world.remembered());
    }
    assert!(told.len() > 400 && most < 130, "{} told, {most} remembered", told.len());
}

#[test]
fn the_names_are_the_words_and_an_id_is_the_same_for_ever() {
    for thing in Thing::ALL {
        assert_eq!(serde_json::to_string(thing).unwrap(), format!("\"{}\"", thing.name()));
    }
    let notice = Notice::FallingDue { policy: "contacts".to_owned(), before_days: 14, from_day: 20_006 };
    assert_eq!(notice.to_string(), "falling_due/contacts/P14D/20006");
    let request = RequestId(Position(41));
    let soon = Notice::RequestDueSoon { request, due_at: Timestamp(0), before_days: 3 };
    assert_eq!(soon.to_string(), "request_due_soon/Q41/1970-01-01T00:00:00Z/P3D");
    assert_eq!(id([1; 16], "dpo", &notice), "notice_49c106f2528d1c0ed7fd79676d2cecd3");
    assert!(is_id(&id([1; 16], "dpo", &notice)));
    let digits = "49c106f2528d1c0ed7fd79676d2cecd3";
    for other in ["", "notice_", digits, &format!("notice_{digits}0"), &format!("notice_{}", digits.to_uppercase())] {
        assert!(!is_id(other), "{other}");
    }
}

proptest! {
    #[test]
    fn no_two_notices_channels_or_stores_share_an_id(plan: u64, other: u64, store: [u8; 16], channel in "[a-z]{1,9}") {
        let of = |store, channel: &str, plan: u64| id(store, channel, &Notice::PlanStopped { plan: PlanId(Position(plan)) });
        let first = of(store, &channel, plan);
        prop_assert_eq!(first == of(store, &channel, other), plan == other);
        prop_assert_ne!(&first, &of(store, "0", plan));
        prop_assert_ne!(&first, &id(store, &channel, &Notice::PlanNeedsApproval { plan: PlanId(Position(plan)) }));
    }
}

#[test]
fn what_waits_for_a_decision_is_told_once_by_the_newest_plan_whatever_becomes_of_it() {
    let mut world = World::new();
    let waiting = || vec![KeptCount { reason: "review_needed".to_owned(), count: 3 }];
    let older = world.plan_with(Vec::new(), waiting());
    let plan = world.plan_with(Vec::new(), waiting());
    let said = text(&world.views, &[], &Notice::ReviewWaits { plan }, world.now).unwrap();
    assert!(said.subject.starts_with("3 items") && said.hint.contains("review list contacts"), "{said:?}");
    let told = world.sent();
    assert!(told.contains(&Notice::ReviewWaits { plan }), "{told:?}");
    assert!(!told.contains(&Notice::ReviewWaits { plan: older }), "{told:?}");
    world.approve(plan);
    let run = world.run(plan);
    world.end(run, RunEnd::Completed);
    assert_eq!(world.sent(), [Notice::RunDone { run }]);
    let none = world.plan_with(Vec::new(), Vec::new());
    assert_eq!(world.sent(), [Notice::PlanNeedsApproval { plan: none }], "nothing waits any more");
}

#[test]
fn what_is_acknowledged_raises_no_alarm_and_nothing_else_changes_by_it() {
    let mut world = World::new();
    let fail = |world: &mut World, policy: &str| {
        let at = world.now;
        let body = ScheduleMissed { policy: policy.to_owned(), first_at: at, last_at: at, count: 1 };
        let notice = Notice::ScheduleMissed { missed: world.happens(Event::ScheduleMissed(body)) };
        let code = "http-503".to_owned();
        let body = NoticeFailed { channel: CHANNEL.to_owned(), notice: notice.clone(), tries: 80, code };
        world.happens(Event::NoticeFailed(body));
        notice
    };
    let alarms = |world: &World| {
        let channel = world.views.small.notices.channel(CHANNEL).unwrap();
        channel.given_up().map(|(notice, _)| notice.clone()).collect::<Vec<_>>()
    };
    let known = |world: &mut World, channel: &str, notices: &[&Notice]| {
        let on = |notice: &&Notice| NoticeOn { channel: channel.to_owned(), notice: (*notice).clone() };
        let notices = notices.iter().map(on).collect();
        world.happens(Event::NoticeAcknowledged(NoticeAcknowledged { notices, reason: "by telephone".to_owned() }));
    };
    let (first, second) = (fail(&mut world, "a"), fail(&mut world, "b"));
    let plan = world.plan(Vec::new());
    let sent = Notice::PlanNeedsApproval { plan };
    assert_eq!(world.sent(), std::slice::from_ref(&sent));
    known(&mut world, CHANNEL, &[&first]);
    assert_eq!(alarms(&world), std::slice::from_ref(&second));
    let before = world.views.small.notices.clone();
    world.now = day(20_001);
    known(&mut world, CHANNEL, &[&first, &sent]);
    known(&mut world, "nobody", &[&second]);
    assert_eq!(world.views.small.notices, before, "what was acknowledged, sent, or is another channel's");
    let third = fail(&mut world, "c");
    assert_eq!(alarms(&world), [second, third], "the next one is an alarm again");
    assert_eq!(world.owed(), [], "what was given up is not tried again");
}

mod recipients;

use super::*;
use crate::event::grant::{
    GrantEnd, GrantEnded, GrantPurpose, GrantReceipt, GrantRequested, GrantRevokeRequested, GrantStepStarted,
    GrantStepSucceeded,
};
use crate::event::saga::{Failure, Receipt, SagaItem, SagaStarted};
use crate::event::{Actor, Envelope, Event};
use crate::id::{Digest, Handle, PlanId, Position, RunId, StreamId};
use crate::saga::{MESSAGE_PURGE_VERSION, Next};
use crate::view::{Drift, RunState, StepStanding};

const RUN: RunId = RunId(Position(10));
const MAILBOX: EntityId = EntityId(7);
const NOW: Timestamp = Timestamp(1_000_000_000);
const LEASE: Timestamp = Timestamp(NOW.0 + 60_000_000);

fn saga(script: ScriptKind) -> Saga {
    Saga::begun(SagaStarted {
        run: RUN,
        script,
        script_version: MESSAGE_PURGE_VERSION,
        mailbox: Some(MAILBOX),
        items: vec![SagaItem { item: 0, entity: EntityId(1), version: Position(1) }],
    })
}

fn quarantined(until: Timestamp) -> Saga {
    let mut saga = saga(ScriptKind::MessagePurge);
    let manifest = Digest([0; 32]);
    for (step, receipt) in [
        (Step::Export, Receipt::Exported { manifest, exported_at: NOW, items: 1, bytes: 1 }),
        (Step::VerifyExport, Receipt::ExportVerified { manifest, items: 1 }),
        (Step::Quarantine, Receipt::Quarantined { until, items: 1 }),
    ] {
        saga.steps.insert(step as u8, StepStanding::Done(receipt));
    }
    saga
}

/// Grants as the log tells of them.
#[derive(Default)]
struct Log {
    grants: Grants,
    last: u64,
}

impl Log {
    fn tell(&mut self, actor: Actor, at: Timestamp, event: &Event) -> Position {
        self.last = self.last.max(RUN.0.0) + 1;
        let envelope = Envelope {
            event_type: event.event_type() as u16,
            schema: 1,
            sealed: false,
            actor,
            position: Position(self.last),
            recorded_at: at,
            occurred_at: at,
            stream: StreamId([0; 16]),
            cause: Position::NONE,
            entity: None,
            texts: None,
            body_len: 0,
            body_digest: Digest([0; 32]),
        };
        self.grants.fold(&envelope, event);
        envelope.position
    }

    fn ask(&mut self, run: RunId, mailbox: EntityId) -> GrantId {
        let event = Event::GrantRequested(GrantRequested {
            mailbox,
            principal: Handle([1; 16]),
            identifier: String::new(),
            purpose: GrantPurpose::Run { run },
            policy: String::new(),
            policy_digest: Digest([0; 32]),
            duration_ms: 60_000,
            max_ms: 60_000,
            alarm_after_ms: 1,
            approvals: 0,
            approval_valid_ms: 1,
            reason: String::new(),
            ticket: None,
        });
        GrantId(self.tell(Actor::Daemon, NOW, &event))
    }

    fn give(&mut self, grant: GrantId) {
        let step = GrantStep::Give;
        self.tell(Actor::Daemon, NOW, &Event::GrantStepStarted(GrantStepStarted { grant, step, attempt: 1 }));
        let receipt = GrantReceipt::Given { folders: 1, changed: 1, parts: 0 };
        self.tell(Actor::Daemon, NOW, &Event::GrantStepSucceeded(GrantStepSucceeded { grant, step, receipt }));
    }

    fn revoke(&mut self, actor: Actor, at: Timestamp, grant: GrantId) {
        let reason = String::new();
        self.tell(actor, at, &Event::GrantRevokeRequested(GrantRevokeRequested { grant, reason }));
    }

    fn end(&mut self, at: Timestamp, grant: GrantId, end: GrantEnd) {
        self.tell(Actor::Daemon, at, &Event::GrantEnded(GrantEnded { grant, end }));
    }

    fn access(&self, saga: &Saga, now: Timestamp) -> Access {
        access(&self.grants, saga, MAILBOX, 2, now)
    }
}

#[test]
fn only_steps_that_work_in_a_mailbox_before_there_is_no_way_back_wait() {
    let start = |step| Next::Start { step, attempt: 1 };
    let messages = saga(ScriptKind::MessagePurge);
    for (step, is_waiting) in [
        (Step::Export, true),
        (Step::Expunge, true),
        (Step::VerifyExport, false),
        (Step::Quarantine, false),
        (Step::VerifyAbsence, false),
        (Step::DestroyKeys, false),
    ] {
        assert_eq!(waits(&messages, start(step)), is_waiting, "{step:?}");
    }
    assert!(!waits(&messages, Next::Probe { step: Step::Export, attempt: 1 }));
    assert!(!waits(&saga(ScriptKind::ExportPurge), start(Step::Export)), "records have no server");
    let mut past = quarantined(NOW);
    past.steps.insert(Step::Expunge as u8, StepStanding::Started { attempt: 1 });
    assert!(!waits(&past, start(Step::Expunge)));
}

#[test]
fn access_is_asked_for_once_and_stands_until_its_lease_or_its_end() {
    let saga = saga(ScriptKind::MessagePurge);
    let mut log = Log::default();
    assert_eq!(log.access(&saga, NOW), Access::Ask);
    let grant = log.ask(RUN, MAILBOX);
    assert_eq!(log.access(&saga, NOW), Access::Wait);
    log.give(grant);
    assert_eq!(log.access(&saga, Timestamp(LEASE.0 - 1)), Access::Stands(grant));
    assert_eq!(log.access(&saga, LEASE), Access::Over);
    log.revoke(Actor::Person(1), NOW, grant);
    assert_eq!(log.access(&saga, NOW), Access::Over, "a person said so");
    log.end(NOW, grant, GrantEnd::Revoked);
    assert_eq!(log.access(&saga, NOW), Access::Over);
}

#[test]
fn what_nobody_needed_is_asked_for_again_and_what_the_time_ended_only_after_a_quarantine() {
    let saga = saga(ScriptKind::MessagePurge);
    let given = || {
        let mut log = Log::default();
        let grant = log.ask(RUN, MAILBOX);
        log.give(grant);
        (log, grant)
    };
    let (mut log, grant) = given();
    log.revoke(Actor::Daemon, NOW, grant);
    assert_eq!(log.access(&saga, NOW), Access::Ask, "also while it is being taken back");
    log.end(NOW, grant, GrantEnd::Revoked);
    assert_eq!(log.access(&saga, NOW), Access::Ask);
    let (mut log, grant) = given();
    log.revoke(Actor::Daemon, NOW, grant);
    log.revoke(Actor::Person(1), NOW, grant);
    log.revoke(Actor::Daemon, NOW, grant);
    assert_eq!(log.access(&saga, NOW), Access::Over, "a person said so, too");
    // Too late to be the reason: the time had ended it before.
    let (mut log, grant) = given();
    log.revoke(Actor::Daemon, LEASE, grant);
    assert_eq!(log.access(&saga, LEASE), Access::Over);

    let (mut log, grant) = given();
    log.end(LEASE, grant, GrantEnd::Revoked);
    assert_eq!(log.access(&saga, LEASE), Access::Over);
    assert_eq!(log.access(&quarantined(LEASE), LEASE), Access::Ask, "it was for the time before");
    assert_eq!(log.access(&quarantined(Timestamp(LEASE.0 - 1)), LEASE), Access::Over, "it was for this time");
    let (mut log, grant) = given();
    log.revoke(Actor::Person(1), NOW, grant);
    log.end(NOW, grant, GrantEnd::Revoked);
    assert_eq!(log.access(&quarantined(LEASE), LEASE), Access::Over, "a person said so");
}

#[test]
fn grants_of_other_runs_and_mailboxes_are_none_of_it_but_for_how_many_there_are() {
    let saga = saga(ScriptKind::MessagePurge);
    let mut log = Log::default();
    log.ask(RunId(Position(9)), MAILBOX);
    let first = log.ask(RUN, EntityId(8));
    assert_eq!(log.access(&saga, NOW), Access::Ask);
    log.ask(RUN, EntityId(9));
    assert_eq!(log.access(&saga, NOW), Access::Wait, "there are two of them");
    log.revoke(Actor::Daemon, NOW, first);
    assert_eq!(log.access(&saga, NOW), Access::Ask, "what is withdrawn counts no more");
}

#[test]
fn access_is_needed_while_a_saga_works_and_not_while_it_waits_for_people_or_its_quarantine() {
    let needed = |saga: &Saga, wish| is_needed(saga, wish, NOW);
    let new = saga(ScriptKind::MessagePurge);
    assert!(needed(&new, Wish::GoOn));
    assert!(!needed(&new, Wish::Pause) && !needed(&new, Wish::Cancel));
    let mut busy = saga(ScriptKind::MessagePurge);
    busy.steps.insert(Step::Export as u8, StepStanding::Started { attempt: 1 });
    assert!(needed(&busy, Wish::Pause), "a step that is begun is ended");
    assert!(!needed(&busy, Wish::Cancel));
    let (failure, retry_at) = (Failure::Refused, Some(Timestamp(NOW.0 + 1)));
    busy.steps.insert(Step::Export as u8, StepStanding::Failed { attempt: 1, failure, retry_at });
    assert!(needed(&busy, Wish::GoOn), "it is tried again soon");
    assert!(!needed(&busy, Wish::Pause), "it is tried again when somebody says so");
    let later = quarantined(Timestamp(NOW.0 + 1));
    assert!(!needed(&later, Wish::GoOn));
    let mut due = quarantined(NOW);
    assert!(needed(&due, Wish::GoOn) && !needed(&due, Wish::Pause));
    due.steps.insert(Step::Expunge as u8, StepStanding::Started { attempt: 1 });
    for wish in [Wish::GoOn, Wish::Pause, Wish::Cancel] {
        assert!(needed(&due, wish), "past the pivot it goes to the end");
    }
    due.end = Some(crate::event::saga::SagaEnd::Stuck);
    assert!(!needed(&due, Wish::GoOn));
}

#[test]
fn what_became_of_the_access_that_a_run_took_is_said_by_mailboxes_and_names_the_grants_that_are_not_gone() {
    let mut log = Log::default();
    let run = |ended_at| Run {
        plan: PlanId(Position(9)),
        requested_by: None,
        requested_at: NOW,
        started_at: Some(NOW),
        state: RunState::Running,
        refused: None,
        items: 1,
        sagas: Vec::new(),
        taken: 1,
        purged: 1,
        skipped: 0,
        drifted: 0,
        looked_again: Drift::default(),
        stopped: None,
        ended_at,
    };
    let said =
        |log: &Log, ended_at, now| Taken::of(&log.grants, RUN, &run(ended_at), now).map(|taken| taken.to_string());
    assert_eq!(said(&log, Some(NOW), NOW), None, "it took none");
    let [first, second] = [7, 8].map(|mailbox| log.ask(RUN, EntityId(mailbox)));
    log.give(first);
    log.give(second);
    let both = format!("({first}, {second})");
    assert_eq!(said(&log, None, NOW), Some(format!("still open on 2 mailboxes {both}")));
    // The run is over, and the daemon is about to take it back.
    let over = Some(NOW);
    assert_eq!(said(&log, over, NOW), Some(format!("being given back on 2 mailboxes {both}")));
    log.revoke(Actor::Daemon, NOW, first);
    log.end(NOW, first, GrantEnd::Revoked);
    let one = |how: &str| Some(format!("{how} on 1 mailbox ({second}), given back on 1 mailbox"));
    assert_eq!(said(&log, over, NOW), one("being given back"));
    assert_eq!(said(&log, over, Timestamp(LEASE.0 + 1_000)), one("still open"), "people are alarmed");
    // A mailbox that was opened twice is given back when both are.
    let third = log.ask(RUN, EntityId(8));
    log.end(NOW, second, GrantEnd::HandedOver { to: third });
    assert_eq!(
        said(&log, over, NOW),
        Some(format!("being given back on 1 mailbox ({third}), given back on 1 mailbox"))
    );
    log.end(NOW, third, GrantEnd::Revoked);
    assert_eq!(said(&log, over, NOW), Some("given back on 2 mailboxes".to_owned()));
}

//! Sagas beside each other, of messages and of records: how many, in which order, and that everything that can come in
//! between counts for each of them. How the threads of a step take turns is the system's to say, so what is asserted
//! here is true in every order; where an order is needed, the callers of the server wait for each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use retention_core::event::decision::{RunCancelled, RunPaused};
use retention_core::event::hold::{DisposalPaused, HoldPlaced, PauseScope, v1};
use retention_core::event::saga::{SagaEnd, SkipReason, Step};
use retention_core::event::{Actor, Draft, Event, Recorded, stream_of_position};
use retention_core::id::{EntityId, Position, SagaId};
use retention_core::record::message::MessageKey;
use retention_core::view::{Condition, EntityState, RunState};
use retention_tests::crash::Remains;
use retention_tests::faults::Fault;
use retention_tests::mail::MailCall;
use retention_tests::world::{APPROVER, Stage, Stepped, World, mail_policy, policy};
use retentiond::store::Store;

const ARCHIVE: &str = "Archive";

/// Mailboxes with two old messages and a young one each.
struct Mail {
    world: World,
    mailboxes: Vec<EntityId>,
}

impl Mail {
    fn new(mailboxes: usize, at_once: usize) -> Self {
        Self::with_policy(mailboxes, at_once, &mail_policy(ARCHIVE, "eml", "P0D"))
    }

    fn with_policy(mailboxes: usize, at_once: usize, policy: &str) -> Self {
        let mut world = World::new("P1D");
        world.write_policy("mail", policy);
        let mailboxes: Vec<EntityId> =
            (0..mailboxes).map(|number| world.add_mailbox(&format!("box{number}@example.org"))).collect();
        for mailbox in &mailboxes {
            world.mail.folder(*mailbox, ARCHIVE, &["archive"]);
            for received in ["2020-01-01T00:00:00Z", "2025-12-01T00:00:00Z", "2020-06-01T00:00:00Z"] {
                world.mail.deliver(*mailbox, ARCHIVE, received, &["seen"]);
            }
        }
        world.settle();
        world.drive_at_once(at_once);
        Self { world, mailboxes }
    }

    fn uids(&self, mailbox: EntityId) -> Vec<u32> {
        self.world.mail.uids(mailbox, ARCHIVE).unwrap_or_default()
    }

    /// The messages of a mailbox that are due.
    fn due(&self, mailbox: EntityId) -> Vec<EntityId> {
        let changes = self.world.log().into_iter().filter_map(|recorded| {
            let Some(Event::EntityChanged(body)) = recorded.event() else { return None };
            let key = MessageKey::parse(&body.record.external_id)?;
            ([1, 3].contains(&key.uid)).then_some(recorded.envelope.entity?)
        });
        let is_there = |entity: &EntityId| {
            self.world.store().view(|views| views.entities.row(*entity).and_then(|row| row.mailbox)) == Some(mailbox)
        };
        changes.filter(is_there).collect()
    }

    /// Everything that is due is gone, and nothing else.
    fn assert_all_went(&self, what: &str) {
        for mailbox in &self.mailboxes {
            assert_eq!(self.uids(*mailbox), [2], "{what}\n{}", self.world.story());
        }
        assert!(!self.world.mail.has_our_flag(), "{what}");
    }

    fn assert_nothing_went(&self, what: &str) {
        for mailbox in &self.mailboxes {
            assert_eq!(self.uids(*mailbox), [1, 2, 3], "{what}\n{}", self.world.story());
        }
        assert_eq!(self.world.mail.expunged().len(), 0, "{what}");
    }

    /// Lets the run stage work until it reaches the call at which so many wait for each other.
    fn work_until_met(&mut self) -> Stepped {
        loop {
            let stepped = self.world.step(Stage::Run);
            if self.world.mail.have_met() {
                return stepped;
            }
            assert_eq!(stepped, Stepped::Worked, "{}", self.world.story());
        }
    }
}

/// Says something in the middle of a step, as a person does.
fn say(store: &Store, event: Event) -> Position {
    let (actor, cause) = (Actor::Person(APPROVER), Position::NONE);
    let draft = Draft { stream: stream_of_position(cause), entity: None, actor, cause, occurred_at: None, event };
    store.append_drafts(vec![draft], Condition::None).expect("it is recorded").first
}

fn position(log: &[Recorded], is_it: impl Fn(&Event) -> bool) -> Option<Position> {
    log.iter().find(|recorded| recorded.event().is_some_and(&is_it)).map(|recorded| recorded.envelope.position)
}

/// The most sagas that were open at the same time.
fn most_open(log: &[Recorded]) -> usize {
    let mut open = BTreeSet::new();
    let mut most = 0;
    for recorded in log {
        match recorded.event() {
            Some(Event::SagaStarted(_)) => drop(open.insert(SagaId(recorded.envelope.position))),
            Some(Event::SagaEnded(body)) => drop(open.remove(&body.saga)),
            _ => {}
        }
        most = most.max(open.len());
    }
    most
}

#[test]
fn mailboxes_are_worked_in_beside_each_other_and_in_no_more_than_there_is_room_for() {
    let mut mail = Mail::new(7, 3);
    let (_, run) = mail.world.approved_run("mail");
    mail.world.mail.count_sessions();
    // All three are in the middle of an export at the same moment, or this does not go on.
    mail.world.mail.meet_at(MailCall::Texts, 3, || {});
    assert_eq!(mail.work_until_met(), Stepped::Worked);
    mail.world.finish();
    assert_eq!(mail.world.run_state(run), RunState::Completed, "{}", mail.world.story());
    assert_eq!((mail.world.mail.most_sessions(), most_open(&mail.world.log())), (3, 3));
    assert_eq!(mail.world.bundles(), 7);
    mail.assert_all_went("beside each other");
}

#[test]
fn a_server_with_room_for_one_makes_the_log_that_one_saga_after_the_other_makes() {
    let steps = |at_once: usize| {
        let mut mail = Mail::new(3, at_once);
        mail.world.mail.with_room_for(1);
        let (_, run) = mail.world.approved_run("mail");
        mail.world.finish();
        assert_eq!((mail.world.run_state(run), most_open(&mail.world.log())), (RunState::Completed, 1));
        // Which number an entity has is up to the looks, which take turns.
        let what = |recorded: &Recorded| match recorded.event()? {
            Event::StepStarted(body) => Some((body.saga.0, format!("{} started", body.step.name()))),
            Event::StepSucceeded(body) => Some((body.saga.0, format!("{} succeeded", body.step.name()))),
            Event::SagaEnded(body) => Some((body.saga.0, "ended".to_owned())),
            Event::SagaStarted(_) => Some((recorded.envelope.position, "began".to_owned())),
            _ => None,
        };
        mail.world.log().iter().filter_map(what).collect::<Vec<_>>()
    };
    assert_eq!(steps(1), steps(8));
}

#[test]
fn a_crash_at_any_flush_leaves_nothing_half_done_in_any_of_them() {
    for remains in Remains::ALL {
        for flush in (1..90).step_by(8) {
            let mut mail = Mail::new(3, 3);
            mail.world.gate.crash_at(flush, remains);
            let run = mail.world.drive_to_the_end("mail");
            let what = format!("flush {flush} {remains:?}");
            assert_eq!(mail.world.run_state(run), RunState::Completed, "{what}\n{}", mail.world.story());
            mail.assert_all_went(&what);
        }
    }
}

#[test]
fn whatever_the_server_answers_to_one_of_them_all_end() {
    for fault in [Fault::Refused, Fault::LostNotApplied, Fault::LostButApplied] {
        for call in MailCall::ALL {
            let mut mail = Mail::new(3, 3);
            let (_, run) = mail.world.approved_run("mail");
            (1..4).for_each(|nth| mail.world.mail.arm(call, nth, fault));
            mail.world.finish();
            let what = format!("{call:?} {fault:?}");
            assert_eq!(mail.world.run_state(run), RunState::Completed, "{what}\n{}", mail.world.story());
            mail.assert_all_went(&what);
        }
    }
}

/// Says something while three sagas are in the middle of their exports, and lets the run stage work on.
fn said_during_exports(mail: &mut Mail, event: Event) -> Stepped {
    let store = Arc::clone(mail.world.store());
    mail.world.mail.meet_at(MailCall::Texts, 3, move || {
        say(&store, event);
    });
    mail.work_until_met()
}

#[test]
fn a_hold_that_comes_while_they_are_exported_counts_for_each() {
    let mut mail = Mail::new(3, 3);
    let (_, run) = mail.world.approved_run("mail");
    let due: Vec<EntityId> = mail.mailboxes.iter().flat_map(|mailbox| mail.due(*mailbox)).collect();
    let held: Vec<EntityId> = mail.mailboxes.iter().filter_map(|mailbox| mail.due(*mailbox).first().copied()).collect();
    let body: HoldPlaced =
        v1::HoldPlaced { name: "case".to_owned(), reason: "reason".to_owned(), entities: held.clone() }.into();
    said_during_exports(&mut mail, Event::HoldPlaced(body));
    mail.world.finish();
    assert_eq!(mail.world.run_state(run), RunState::Completed, "{}", mail.world.story());
    for mailbox in &mail.mailboxes {
        // Which of the two that are due has the lower number is up to the threads.
        let left = mail.uids(*mailbox);
        assert!(left.len() == 2 && left.contains(&2), "{left:?} {}", mail.world.story());
    }
    for entity in due {
        let state = if held.contains(&entity) { EntityState::Visible } else { EntityState::Purged };
        assert_eq!(mail.world.state_of(entity), state);
    }
}

#[test]
fn a_hold_that_comes_in_any_moment_counts_wherever_no_intent_stands_before_it() {
    for call in [MailCall::Texts, MailCall::WorkOn, MailCall::Flag, MailCall::Expunge] {
        let mut mail = Mail::new(4, 4);
        let (_, run) = mail.world.approved_run("mail");
        let due: BTreeMap<EntityId, Vec<EntityId>> =
            mail.mailboxes.iter().map(|mailbox| (*mailbox, mail.due(*mailbox))).collect();
        let entities: Vec<EntityId> = due.values().flatten().copied().collect();
        let store = Arc::clone(mail.world.store());
        // Whoever comes first says it; the others are wherever they are.
        mail.world.mail.meet_at(call, 1, move || {
            let body = v1::HoldPlaced { name: "case".to_owned(), reason: "reason".to_owned(), entities };
            say(&store, Event::HoldPlaced(body.into()));
        });
        mail.world.finish();
        let log = mail.world.log();
        let hold = position(&log, |event| matches!(event, Event::HoldPlaced(_))).expect("a hold");
        for (mailbox, due) in due {
            let saga =
                position(&log, |event| matches!(event, Event::SagaStarted(body) if body.mailbox == Some(mailbox)));
            let is_intent = |event: &Event| matches!(event, Event::StepStarted(body) if Some(body.saga.0) == saga && body.step == Step::Expunge);
            let was_before = position(&log, is_intent).is_some_and(|intent| intent < hold);
            let expected: &[u32] = if was_before { &[2] } else { &[1, 2, 3] };
            assert_eq!(mail.uids(mailbox), expected, "{call:?}\n{}", mail.world.story());
            let state = if was_before { EntityState::Purged } else { EntityState::Visible };
            assert!(due.iter().all(|entity| mail.world.state_of(*entity) == state), "{call:?}");
        }
        let state = mail.world.run_state(run);
        assert!(matches!(state, RunState::Completed | RunState::Cancelled), "{state:?}");
    }
}

#[test]
fn a_pause_ends_all_of_them_after_the_step_they_are_in() {
    let mut mail = Mail::new(5, 3);
    let (_, run) = mail.world.approved_run("mail");
    said_during_exports(&mut mail, Event::RunPaused(RunPaused { run, reason: "wait".to_owned() }));
    mail.world.settle();
    let log = mail.world.log();
    let paused = position(&log, |event| matches!(event, Event::RunPaused(_))).expect("a pause");
    let begins = |recorded: &Recorded| matches!(recorded.event(), Some(Event::StepStarted(_) | Event::SagaStarted(_)));
    let begun_after = log.iter().filter(|recorded| recorded.envelope.position > paused && begins(recorded)).count();
    assert_eq!((begun_after, most_open(&log)), (0, 3), "{}", mail.world.story());
    mail.assert_nothing_went("paused");
    mail.world.resume(run);
    mail.world.finish();
    assert_eq!(mail.world.run_state(run), RunState::Completed);
    mail.assert_all_went("resumed");
}

#[test]
fn one_mailbox_that_is_paused_does_not_keep_the_others() {
    let mut mail = Mail::new(3, 3);
    let (_, run) = mail.world.approved_run("mail");
    let paused = mail.mailboxes[1];
    let scope = PauseScope::Mailbox(paused);
    let event = Event::DisposalPaused(DisposalPaused { scope: scope.clone(), reason: "wait".to_owned() });
    said_during_exports(&mut mail, event);
    mail.world.settle();
    let left: Vec<Vec<u32>> = mail.mailboxes.iter().map(|mailbox| mail.uids(*mailbox)).collect();
    assert_eq!(left, [vec![2], vec![1, 2, 3], vec![2]], "{}", mail.world.story());
    mail.world.resume_disposal(scope);
    mail.world.finish();
    assert_eq!(mail.world.run_state(run), RunState::Completed);
    mail.assert_all_went("resumed");
}

#[test]
fn a_run_that_is_cancelled_undoes_all_of_them() {
    let mut mail = Mail::new(5, 3);
    let (_, run) = mail.world.approved_run("mail");
    said_during_exports(&mut mail, Event::RunCancelled(RunCancelled { run, reason: "no".to_owned() }));
    mail.world.finish();
    assert_eq!(mail.world.run_state(run), RunState::Cancelled, "{}", mail.world.story());
    let undone = mail.world.log().into_iter().filter(
        |recorded| matches!(recorded.event(), Some(Event::SagaEnded(body)) if body.end == SagaEnd::Compensated),
    );
    assert_eq!((undone.count(), mail.world.export_entries()), (3, 0));
    mail.assert_nothing_went("cancelled");
}

#[test]
fn a_stop_ends_all_of_them_after_the_step_they_are_in_and_the_next_life_goes_on() {
    let mut mail = Mail::new(5, 3);
    let (_, run) = mail.world.approved_run("mail");
    let store = Arc::clone(mail.world.store());
    mail.world.mail.meet_at(MailCall::Texts, 3, move || store.halt().ask());
    assert_eq!(mail.work_until_met(), Stepped::Crashed, "it was stopped");
    mail.assert_nothing_went("stopped");
    mail.world.finish();
    assert_eq!(mail.world.run_state(run), RunState::Completed, "{}", mail.world.story());
    mail.assert_all_went("after a stop");
}

#[test]
fn a_rate_holds_for_all_of_them_together() {
    let policy = mail_policy(ARCHIVE, "eml", "P0D").replace("max_percent = 100", "max_percent = 100\nrate = \"2/min\"");
    let mut mail = Mail::with_policy(4, 4, &policy);
    let (_, run) = mail.world.approved_run("mail");
    mail.world.finish();
    assert_eq!(mail.world.run_state(run), RunState::Completed, "{}", mail.world.story());
    let begun: Vec<i64> = (mail.world.log().iter())
        .filter(|recorded| matches!(recorded.event(), Some(Event::SagaStarted(_))))
        .map(|recorded| recorded.envelope.recorded_at.0)
        .collect();
    assert!(begun.len() >= 4 && begun.windows(2).all(|pair| pair[1] - pair[0] >= 60_000_000), "{begun:?}");
    mail.assert_all_went("at a rate");
}

#[test]
fn what_changed_in_one_mailbox_is_left_alone_there_alone() {
    let mut mail = Mail::new(3, 3);
    let (_, run) = mail.world.approved_run("mail");
    let meddled = mail.mailboxes[2];
    let server = Arc::clone(&mail.world.mail);
    mail.world.mail.meet_at(MailCall::Texts, 3, move || {
        server.meddle(meddled, ARCHIVE, 1, retention_tests::mail::Meddling::Flags);
    });
    mail.work_until_met();
    mail.world.finish();
    assert_eq!(mail.world.run_state(run), RunState::Completed, "{}", mail.world.story());
    let left: Vec<Vec<u32>> = mail.mailboxes.iter().map(|mailbox| mail.uids(*mailbox)).collect();
    assert_eq!(left, [vec![2], vec![2], vec![1, 2]], "{}", mail.world.story());
    let skipped = mail.world.log().into_iter().filter_map(|recorded| match recorded.event() {
        Some(Event::ItemsSkipped(body)) => Some(body.items.clone()),
        _ => None,
    });
    assert_eq!(skipped.flatten().map(|(_, reason)| reason).collect::<Vec<_>>(), [SkipReason::Changed]);
}

/// Contacts in several mailboxes, two that are due and a young one in each: those of different mailboxes go by
/// different sagas.
struct Contacts {
    world: World,
    due: Vec<[EntityId; 2]>,
    young: Vec<EntityId>,
}

impl Contacts {
    fn new(quarantine: &str, edit: impl Fn(String) -> String) -> Self {
        let mut world = World::new(quarantine);
        world.write_policy("contacts", &edit(policy("contacts", quarantine)));
        let (mut due, mut young) = (Vec::new(), Vec::new());
        for number in 0..4 {
            let mailbox = world.add_mailbox(&format!("box{number}@example.org"));
            let mut add = |name: &str, created: &str| world.add_in(mailbox, &format!("{name}{number}"), created);
            due.push([add("a", "2020-01-01"), add("b", "2020-06-01")]);
            young.push(add("c", "2025-12-01"));
        }
        world.settle();
        world.drive_at_once(8);
        Self { world, due, young }
    }

    fn assert_all_went_but(&self, kept: &[EntityId], what: &str) {
        for entity in self.due.iter().flatten().chain(&self.young) {
            let stays = kept.contains(entity) || self.young.contains(entity);
            let state = if stays { EntityState::Visible } else { EntityState::Purged };
            assert_eq!(self.world.state_of(*entity), state, "{entity} {what}\n{}", self.world.story());
        }
    }
}

#[test]
fn records_go_beside_each_other_wherever_a_crash_falls() {
    for remains in Remains::ALL {
        for flush in (1..60).step_by(9) {
            let mut contacts = Contacts::new("P0D", |text| text);
            contacts.world.gate.crash_at(flush, remains);
            let run = contacts.world.drive_to_the_end("contacts");
            let what = format!("flush {flush} {remains:?}");
            assert_eq!(contacts.world.run_state(run), RunState::Completed, "{what}\n{}", contacts.world.story());
            contacts.assert_all_went_but(&[], &what);
        }
    }
}

#[test]
fn records_are_redacted_beside_each_other_once_each_wherever_a_crash_falls() {
    let redacting = |text: String| {
        text.replace("kind = \"purge\"", "kind = \"redact\"\nfields = { display_name = \"remove\" }")
            .replace("{ created = 2020-01-01T00:00:00Z }", "{ created = 2020-01-01T00:00:00Z, display_name = \"x\" }")
    };
    for flush in (1..60).step_by(9) {
        let mut contacts = Contacts::new("P0D", redacting);
        contacts.world.gate.crash_at(flush, Remains::Lost);
        let run = contacts.world.drive_to_the_end("contacts");
        let what = format!("flush {flush}");
        assert_eq!(contacts.world.run_state(run), RunState::Completed, "{what}\n{}", contacts.world.story());
        contacts.assert_all_went_but(&[], &what);
        let rests: BTreeSet<EntityId> = contacts.world.store().view(|views| {
            let left = |entity: &EntityId| views.small.redactions.successor(*entity);
            contacts.due.iter().flatten().filter_map(left).collect()
        });
        assert_eq!(rests.len(), 8, "{what}\n{}", contacts.world.story());
        assert!(rests.iter().all(|rest| contacts.world.state_of(*rest) == EntityState::Visible), "{what}");
    }
}

#[test]
fn a_hold_on_a_record_of_one_saga_leaves_those_of_the_others_to_go() {
    let mut contacts = Contacts::new("P1D", |text| text);
    let (_, run) = contacts.world.approved_run("contacts");
    contacts.world.settle();
    assert_eq!(most_open(&contacts.world.log()), 4, "all are in quarantine");
    let held = [contacts.due[0][0], contacts.due[2][1]];
    contacts.world.hold(&held).expect("a hold");
    contacts.world.finish();
    assert_eq!(contacts.world.run_state(run), RunState::Completed, "{}", contacts.world.story());
    contacts.assert_all_went_but(&held, "held");
}

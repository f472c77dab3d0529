//! Retention of messages against a mail server in memory: every call goes wrong in every way, others act on the mailbox
//! at every moment, the world is stopped at every flush, and the checker looks after each step.

use std::time::Duration;

use retention_core::event::mailbox::MailboxRegistered;
use retention_core::event::saga::{Receipt, Residue, SkipReason};
use retention_core::event::{Actor, Draft, Event, Recorded};
use retention_core::id::{EntityId, Position, RunId};
use retention_core::record::message::MessageKey;
use retention_core::time::Timestamp;
use retention_core::view::{Condition, Conflict, EntityState, RunState};
use retention_tests::crash::{Remains, at_every_flush};
use retention_tests::faults::Fault;
use retention_tests::mail::{MailCall, Meddling};
use retention_tests::world::{Stage, Stepped, World, mail_policy};
use retentiond::clock::Clock as _;

const ARCHIVE: &str = "Archive";

/// Two old messages and a young one in the archive, an old one elsewhere, and an old one that somebody else flagged as
/// deleted and that the policy keeps.
struct Mail {
    world: World,
    mailbox: EntityId,
}

impl Mail {
    fn new(quarantine: &str, form: &str) -> Self {
        let mut world = World::new("P1D");
        world.write_policy("mail", &mail_policy(ARCHIVE, form, quarantine));
        let mailbox = world.add_mailbox("ada@example.org");
        world.mail.folder(mailbox, ARCHIVE, &["archive"]);
        let deliver = |folder, received, flags: &[&str]| world.mail.deliver(mailbox, folder, received, flags);
        deliver(ARCHIVE, "2020-01-01T00:00:00Z", &["seen"]);
        deliver(ARCHIVE, "2025-12-01T00:00:00Z", &[]);
        deliver(ARCHIVE, "2020-06-01T00:00:00Z", &[]);
        deliver(ARCHIVE, "2020-01-01T00:00:00Z", &["deleted", "flagged"]);
        deliver("INBOX", "2020-01-01T00:00:00Z", &["deleted"]);
        world.settle();
        Self { world, mailbox }
    }

    fn entity(&self, folder: &str, uid: u32) -> EntityId {
        let found =
            self.world.log().into_iter().find_map(|recorded| match (recorded.event(), recorded.envelope.entity) {
                (Some(Event::EntityChanged(body)), Some(entity)) => {
                    let key = MessageKey::parse(&body.record.external_id)?;
                    (key.folder == folder && key.uid == uid).then_some(entity)
                }
                _ => None,
            });
        found.expect("a message that was taken in")
    }

    fn run(&mut self) -> RunId {
        self.world.approved_run("mail").1
    }

    fn uids(&self, folder: &str) -> Vec<u32> {
        self.world.mail.uids(self.mailbox, folder).unwrap_or_default()
    }

    /// Drives to the end and says how it ended; nothing of ours may be left on the server then.
    fn end(&mut self, run: RunId, what: &str) -> RunState {
        self.world.finish();
        let state = self.world.run_state(run);
        let story = self.world.story();
        // Under new numbers nobody can tell any more which message a flag was set on.
        if !what.starts_with("Renumbers") {
            assert!(!self.world.mail.has_our_flag(), "a flag of ours is left: {what}\n{story}");
        }
        assert!(self.uids("INBOX").contains(&1), "{what}: what is elsewhere went\n{story}");
        state
    }
}

#[test]
fn what_is_due_is_exported_with_its_text_and_goes_and_nothing_else_does() {
    for form in ["eml", "mbox"] {
        let mut mail = Mail::new("P1D", form);
        let due = [mail.entity(ARCHIVE, 1), mail.entity(ARCHIVE, 3)];
        let kept = [mail.entity(ARCHIVE, 2), mail.entity(ARCHIVE, 4), mail.entity("INBOX", 1)];
        let run = mail.run();
        assert_eq!(mail.end(run, form), RunState::Completed, "{}", mail.world.story());
        assert_eq!(mail.uids(ARCHIVE), [2, 4]);
        assert_eq!(due.map(|entity| mail.world.state_of(entity)), [EntityState::Purged; 2]);
        assert_eq!(kept.map(|entity| mail.world.state_of(entity)), [EntityState::Visible; 3]);
        assert_eq!(mail.world.bundles(), 1);
        let absent = mail.world.log().into_iter().find_map(|recorded| match recorded.event() {
            Some(Event::StepSucceeded(body)) => match &body.receipt {
                Receipt::AbsentFromServer { items, residue } => Some((*items, residue.clone())),
                _ => None,
            },
            _ => None,
        });
        assert_eq!(absent, Some((2, vec![Residue::CacheCleared])));
    }
}

#[test]
fn a_mailbox_is_not_given_up_while_something_in_it_cannot_be_undone_any_more() {
    let mut mail = Mail::new("P1D", "eml");
    let mailbox = mail.mailbox;
    let in_the_way = |mail: &Mail| {
        let conditions = [Condition::NoSagaOn(mailbox), Condition::NotPurging(mailbox)];
        conditions.map(|condition| mail.world.store().view(|views| condition.check(views).err()))
    };
    assert_eq!(in_the_way(&mail), [None, None]);
    let run = mail.run();
    let quarantined = mail.world.settle();
    assert_eq!(in_the_way(&mail), [Some(Conflict::Run), None], "in quarantine it is undone by whoever cancels");
    mail.world.mail.arm(MailCall::Expunge, 1, Fault::LostNotApplied);
    let mut until = quarantined;
    while !mail.world.mail.is_calm() {
        mail.world.clock.pass_until(until.expect("something that is waited for"));
        until = mail.world.settle();
    }
    assert_eq!(in_the_way(&mail), [Some(Conflict::Run), Some(Conflict::Run)], "{}", mail.world.story());
    assert_eq!(mail.end(run, "lost"), RunState::Completed);
    assert_eq!(in_the_way(&mail), [None, None]);
}

const HOUR_US: i64 = 3_600_000_000;

/// How many steps failed.
fn failed(mail: &Mail) -> usize {
    let failed = |recorded: &Recorded| matches!(recorded.event(), Some(Event::StepFailed(_)));
    mail.world.log().iter().filter(|recorded| failed(recorded)).count()
}

fn in_vain(mail: &Mail) -> bool {
    mail.world.store().view(|views| views.small.runs.sagas().any(|(_, saga)| saga.is_tried_in_vain()))
}

/// The server is not there for so long. Returns how many steps failed meanwhile.
fn gone(mail: &mut Mail, microseconds: i64) -> usize {
    let (before, from) = (failed(mail), mail.world.clock.now());
    while mail.world.clock.now().0 < from.0 + microseconds {
        mail.world.mail.disarm();
        for nth in 1..=8 {
            mail.world.mail.arm(MailCall::Open, nth, Fault::Refused);
        }
        mail.world.clock.advance(Duration::from_secs(15));
        mail.world.settle();
    }
    failed(mail) - before
}

/// A run whose first attempt to remove messages was lost. Returns when it is looked at again.
fn lost_at_the_pivot(mail: &mut Mail) -> (RunId, Timestamp) {
    let run = mail.run();
    let mut until = mail.world.settle();
    mail.world.mail.arm(MailCall::Expunge, 1, Fault::LostNotApplied);
    while !mail.world.mail.is_calm() {
        mail.world.clock.pass_until(until.expect("something that is waited for"));
        until = mail.world.settle();
    }
    (run, until.expect("a probe"))
}

#[test]
fn a_server_that_is_gone_past_the_pivot_is_asked_ever_more_seldom_and_told_and_the_purge_ends_once_it_is_back() {
    let mut mail = Mail::new("P1D", "eml");
    let (run, _) = lost_at_the_pivot(&mut mail);
    assert!(!in_vain(&mail));
    let first = gone(&mut mail, HOUR_US);
    assert!((8..=15).contains(&first), "{first}\n{}", mail.world.story());
    assert!(in_vain(&mail));
    let day = gone(&mut mail, 6 * HOUR_US);
    assert!((20..=26).contains(&day), "four in an hour at most: {day}");
    mail.world.mail.disarm();
    assert_eq!(mail.end(run, "gone"), RunState::Completed, "{}", mail.world.story());
    assert_eq!(mail.uids(ARCHIVE), [2, 4]);
}

#[test]
fn a_server_that_answers_a_probe_past_the_pivot_and_is_gone_again_is_asked_ever_more_seldom_and_told_too() {
    let mut mail = Mail::new("P1D", "eml");
    let (run, until) = lost_at_the_pivot(&mut mail);
    mail.world.clock.pass_until(until);
    let before = failed(&mail);
    // The probe finds that the messages are still there; whoever wants to remove them gets no answer.
    mail.world.mail.arm(MailCall::Open, 2, Fault::Refused);
    for _ in 0..2 {
        assert_eq!(mail.world.step(Stage::Run), Stepped::Worked, "{}", mail.world.story());
    }
    assert!(mail.world.mail.is_calm());
    assert_eq!(failed(&mail), before + 2, "{}", mail.world.story());
    assert!(!in_vain(&mail));
    let first = gone(&mut mail, HOUR_US);
    assert!((8..=15).contains(&first), "{first}\n{}", mail.world.story());
    assert!(in_vain(&mail));
    let day = gone(&mut mail, 6 * HOUR_US);
    assert!((20..=26).contains(&day), "four in an hour at most: {day}");
    mail.world.mail.disarm();
    assert_eq!(mail.end(run, "gone again"), RunState::Completed, "{}", mail.world.story());
    assert_eq!(mail.uids(ARCHIVE), [2, 4]);
}

#[test]
fn a_folder_that_goes_while_nobody_knows_what_was_expunged_proves_nothing() {
    let mut mail = Mail::new("P1D", "eml");
    let due = [mail.entity(ARCHIVE, 1), mail.entity(ARCHIVE, 3)];
    let (run, _) = lost_at_the_pivot(&mut mail);
    // It may have been renamed, with all that is in it.
    mail.world.mail.meddle(mail.mailbox, ARCHIVE, 1, Meddling::RemovesFolder);
    let state = mail.end(run, "RemovesFolder");
    assert!(matches!(state, RunState::Completed | RunState::Cancelled), "{state:?}\n{}", mail.world.story());
    assert_eq!(mail.world.left_alone(), [SkipReason::Changed; 2], "{}", mail.world.story());
    for entity in due {
        assert_ne!(mail.world.state_of(entity), EntityState::Purged);
    }
}

#[test]
fn a_mailbox_that_is_registered_anew_is_read_anew() {
    let mut mail = Mail::new("P1D", "eml");
    let is_read = |mail: &mut Mail| {
        mail.world.mail.arm(MailCall::Messages, 1, Fault::Refused);
        mail.world.clock.advance(Duration::from_secs(3_600));
        mail.world.settle();
        let is_read = mail.world.mail.is_calm();
        mail.world.mail.disarm();
        is_read
    };
    assert!(!is_read(&mut mail), "nothing in it has changed");
    let event = Event::MailboxRegistered(MailboxRegistered { server: "mail".to_owned(), credential: None });
    let (stream, actor) = (mail.world.store().stream_of(mail.mailbox), Actor::Daemon);
    let draft = Draft { stream, entity: Some(mail.mailbox), actor, cause: Position::NONE, occurred_at: None, event };
    mail.world.store().append_drafts(vec![draft], Condition::None).expect("a registration");
    assert!(is_read(&mut mail), "it may lead to another mailbox that looks alike");
}

/// The calls that come where counting changes matters.
const AT_THE_PIVOT: [MailCall; 3] = [MailCall::Messages, MailCall::Flag, MailCall::Expunge];

#[test]
fn whatever_the_server_answers_nothing_goes_without_its_text_and_the_run_ends() {
    let with = |counts_changes: bool, call: MailCall, nth: u32, fault: Fault| {
        let mut mail = Mail::new("P1D", "eml");
        if !counts_changes {
            mail.world.mail.without_modseq();
        }
        let run = mail.run();
        mail.world.mail.arm(call, nth, fault);
        let what = format!("{call:?} {nth} {fault:?}, counts changes: {counts_changes}");
        let state = mail.end(run, &what);
        assert_eq!(state, RunState::Completed, "{what}\n{}", mail.world.story());
        assert_eq!(mail.uids(ARCHIVE), [2, 4], "{what}\n{}", mail.world.story());
    };
    for fault in Fault::OF_CALLS {
        for nth in 1..3 {
            MailCall::ALL.into_iter().for_each(|call| with(true, call, nth, fault));
        }
        AT_THE_PIVOT.into_iter().for_each(|call| with(false, call, 3, fault));
    }
}

/// Somebody else does something to message 1 of the archive right before a call.
fn meddled(counts_changes: bool, call: MailCall, nth: u32, meddling: Meddling) {
    let mut mail = Mail::new("P1D", "eml");
    if !counts_changes {
        mail.world.mail.without_modseq();
    }
    let run = mail.run();
    mail.world.mail.meddle_at((call, nth), mail.mailbox, ARCHIVE, 1, meddling);
    let what = format!("{meddling:?} before {call:?} {nth}, counts changes: {counts_changes}");
    let state = mail.end(run, &what);
    let story = mail.world.story();
    assert!(matches!(state, RunState::Completed | RunState::Cancelled), "{state:?} {what}\n{story}");
    let went = mail.world.mail.expunged().iter().any(|gone| gone.key.uid == 1);
    let happened = mail.world.mail.is_calm();
    match meddling {
        Meddling::Moves if !went && happened => assert_eq!(mail.uids("INBOX").len(), 2, "{what}\n{story}"),
        Meddling::Flags | Meddling::FlagsDeleted if !went => {
            assert!(mail.uids(ARCHIVE).contains(&1), "{what}\n{story}");
        }
        Meddling::Delivers if happened => {
            assert!(mail.uids(ARCHIVE).contains(&5), "what just came went: {what}\n{story}");
        }
        _ => {}
    }
    // Whatever happened, a new look ends.
    mail.world.request_scan(mail.mailbox);
    mail.world.settle();
}

#[test]
fn whatever_others_do_at_any_moment_what_they_did_counts() {
    let calls = [MailCall::LookInto, MailCall::WorkOn, MailCall::Messages, MailCall::Texts];
    for meddling in Meddling::ALL {
        for nth in 2..4 {
            calls.into_iter().for_each(|call| meddled(true, call, nth, meddling));
        }
        AT_THE_PIVOT.into_iter().for_each(|call| meddled(false, call, 1, meddling));
        AT_THE_PIVOT.into_iter().for_each(|call| meddled(true, call, 1, meddling));
    }
}

#[test]
fn a_crash_at_any_flush_leaves_nothing_half_done() {
    for remains in [Remains::Lost, Remains::Flushed] {
        at_every_flush("a purge of messages", remains, 20, |nth, remains| {
            let mut mail = Mail::new("P1D", "eml");
            mail.world.gate.crash_at(nth, remains);
            mail.world.drive_to_the_end("mail");
            let what = format!("flush {nth} {remains:?}");
            assert_eq!(mail.uids(ARCHIVE), [2, 4], "{what}\n{}", mail.world.story());
            assert!(!mail.world.mail.has_our_flag(), "{what}");
            mail.world.crashes > 0
        });
    }
}

#[test]
fn a_hold_that_comes_while_the_server_does_not_answer_counts() {
    for fault in [Fault::LostNotApplied, Fault::LostButApplied, Fault::Refused] {
        let mut mail = Mail::new("P0D", "eml");
        let held = mail.entity(ARCHIVE, 1);
        let run = mail.run();
        mail.world.mail.arm(MailCall::Flag, 1, fault);
        for _ in 0..20 {
            if matches!(mail.world.step(Stage::Run), Stepped::Until(_)) {
                break;
            }
        }
        assert_eq!(mail.world.mail.expunged().len(), 0);
        mail.world.hold(&[held]);
        assert_eq!(mail.end(run, "held"), RunState::Completed, "{}", mail.world.story());
        assert_eq!(mail.uids(ARCHIVE), [1, 2, 4], "{}", mail.world.story());
        assert_eq!(mail.world.left_alone(), [SkipReason::Held]);
        assert_eq!(mail.world.state_of(held), EntityState::Visible);
    }
}

#[test]
fn a_server_that_cannot_remove_named_messages_alone_is_not_touched() {
    let mut mail = Mail::new("P0D", "eml");
    mail.world.mail.without_uidplus();
    let run = mail.run();
    assert_eq!(mail.end(run, "no UIDPLUS"), RunState::Stuck);
    assert_eq!((mail.uids(ARCHIVE), mail.world.export_entries()), (vec![1, 2, 3, 4], 0));
}

#[test]
fn a_text_that_is_withheld_or_has_another_size_than_was_told_keeps_its_message_and_no_other_back() {
    let mut mail = Mail::new("P1D", "eml");
    mail.world.mail.deliver(mail.mailbox, ARCHIVE, "2020-02-02T00:00:00Z", &[]);
    mail.world.mail.withhold(mail.mailbox, ARCHIVE, 1);
    mail.world.mail.resize(mail.mailbox, ARCHIVE, 3);
    let run = mail.run();
    assert_eq!(mail.end(run, "withheld"), RunState::Completed, "{}", mail.world.story());
    assert_eq!(mail.uids(ARCHIVE), [1, 2, 3, 4], "only the fifth was handed out as it was told");
    assert_eq!(mail.world.left_alone(), [SkipReason::Changed; 2]);
    assert_eq!(mail.world.bundles(), 1);
}

#[test]
fn what_a_mail_server_withholds_is_no_drift_that_ends_a_run() {
    let mut mail = Mail::new("P1D", "eml");
    // They stay while the others go, so in the end they are most of what is due.
    let withheld: Vec<u32> = (0..20)
        .map(|_| {
            let uid = mail.world.mail.deliver(mail.mailbox, ARCHIVE, "2020-02-02T00:00:00Z", &[]);
            mail.world.mail.withhold(mail.mailbox, ARCHIVE, uid);
            uid
        })
        .collect();
    let run = mail.run();
    assert_eq!(mail.end(run, "withheld"), RunState::Completed, "{}", mail.world.story());
    let left: Vec<u32> = [2, 4].into_iter().chain(withheld).collect();
    assert_eq!(mail.uids(ARCHIVE), left, "what was handed out went: {}", mail.world.story());
    assert_eq!(mail.world.left_alone(), [SkipReason::Changed; 20]);
}

#[test]
fn a_message_whose_server_knows_no_date_of_it_is_kept() {
    let mut mail = Mail::new("P1D", "eml");
    for none in ["1970-01-01T00:00:00Z", "1601-01-01T00:00:00Z"] {
        mail.world.mail.deliver(mail.mailbox, ARCHIVE, none, &[]);
    }
    let run = mail.run();
    assert_eq!(mail.end(run, "no date"), RunState::Completed, "{}", mail.world.story());
    assert_eq!(mail.uids(ARCHIVE), [2, 4, 5, 6]);
}

#[test]
fn a_message_that_is_restored_or_read_in_quarantine_stays() {
    let mut mail = Mail::new("P7D", "eml");
    let restored = mail.entity(ARCHIVE, 3);
    let run = mail.run();
    mail.world.settle();
    assert!(mail.world.restore(restored));
    mail.world.mail.meddle(mail.mailbox, ARCHIVE, 1, Meddling::Flags);
    mail.end(run, "restored");
    assert_eq!(mail.uids(ARCHIVE), [1, 2, 3, 4], "{}", mail.world.story());
}

#[test]
fn a_mailbox_is_looked_at_once_an_hour_also_while_the_time_of_the_log_stands_still() {
    let mut mail = Mail::new("P1D", "eml");
    let looks = |mail: &Mail| {
        let is_look = |recorded: &Recorded| matches!(recorded.event(), Some(Event::MailboxScanned(_)));
        mail.world.log().iter().filter(|recorded| is_look(recorded)).count()
    };
    mail.world.let_log_time_stand_still();
    let before = looks(&mail);
    for hours in 1..=3 {
        mail.world.clock.advance(Duration::from_secs(3_600));
        mail.world.settle();
        assert_eq!(looks(&mail), before + hours, "{}", mail.world.story());
    }
}

#[test]
fn a_look_that_finds_nothing_new_appends_one_event_and_what_changed_is_told() {
    let mut mail = Mail::new("P0D", "eml");
    let last = |mail: &Mail| {
        let scan = mail.world.store().view(|views| views.small.scans.get(mail.mailbox).cloned());
        let body = scan.expect("a look").done.expect("one that ended").1;
        (body.messages, body.added, body.changed, body.absent)
    };
    let before = mail.world.log().len();
    mail.world.request_scan(mail.mailbox);
    mail.world.settle();
    assert_eq!(mail.world.log().len(), before + 2);
    assert_eq!(last(&mail), (5, 0, 0, 0));
    let gone = mail.entity(ARCHIVE, 2);
    mail.world.mail.meddle(mail.mailbox, ARCHIVE, 1, Meddling::Flags);
    mail.world.mail.meddle(mail.mailbox, ARCHIVE, 2, Meddling::Moves);
    mail.world.request_scan(mail.mailbox);
    mail.world.settle();
    assert_eq!(last(&mail), (5, 1, 1, 1));
    assert!(mail.world.store().view(|views| views.entities.row(gone).expect("a row").absent));
    mail.world.reopen();
    mail.world.mail.meddle(mail.mailbox, ARCHIVE, 1, Meddling::Renumbers);
    mail.world.request_scan(mail.mailbox);
    mail.world.settle();
    assert_eq!(last(&mail), (5, 3, 0, 3), "messages of a folder that is numbered anew are others");
}

#[test]
fn what_vanished_from_its_server_is_erased_here_when_it_is_due() {
    let mut mail = Mail::new("P0D", "eml");
    let vanished = mail.entity(ARCHIVE, 1);
    mail.world.mail.meddle(mail.mailbox, ARCHIVE, 1, Meddling::Removes);
    let run = mail.run();
    assert_eq!(mail.end(run, "vanished"), RunState::Completed, "{}", mail.world.story());
    assert_eq!(mail.world.state_of(vanished), EntityState::Purged, "{}", mail.world.story());
    assert_eq!(mail.world.mail.expunged().len(), 1);
    assert_eq!(said_to_be_removed(&mail), [1], "what was gone before nobody removed\n{}", mail.world.story());
}

/// How many messages runs say that they removed from the server.
fn said_to_be_removed(mail: &Mail) -> Vec<u64> {
    let log = mail.world.log();
    let removed = log.iter().filter_map(|recorded| match recorded.event() {
        Some(Event::StepSucceeded(body)) => match body.receipt {
            Receipt::Expunged { items } => Some(items),
            _ => None,
        },
        _ => None,
    });
    removed.collect()
}

#[test]
fn what_a_folder_held_under_other_numbers_is_erased_here_and_stops_no_run() {
    let mut mail = Mail::new("P0D", "eml");
    let before = [mail.entity(ARCHIVE, 1), mail.entity(ARCHIVE, 3)];
    mail.world.mail.meddle(mail.mailbox, ARCHIVE, 1, Meddling::Renumbers);
    let run = mail.run();
    assert_eq!(mail.end(run, "numbered anew"), RunState::Completed, "{}", mail.world.story());
    for entity in before {
        assert_eq!(mail.world.state_of(entity), EntityState::Purged, "{}", mail.world.story());
    }
    assert_eq!(mail.world.left_alone(), []);
    assert_eq!(mail.uids(ARCHIVE), [2, 4]);
    assert_eq!(said_to_be_removed(&mail), [2]);
}

#[test]
fn a_server_that_has_nothing_any_more_was_not_emptied_by_us() {
    let mut mail = Mail::new("P0D", "eml");
    mail.world.mail.meddle(mail.mailbox, ARCHIVE, 1, Meddling::RemovesFolder);
    let run = mail.run();
    assert_eq!(mail.end(run, "all gone"), RunState::Completed, "{}", mail.world.story());
    assert!(mail.world.mail.expunged().is_empty());
    assert_eq!(said_to_be_removed(&mail), [0]);
}

#[test]
fn messages_that_come_back_under_their_old_numbers_while_others_are_expunged_stay() {
    let mut mail = Mail::new("P0D", "eml");
    let before = [mail.entity(ARCHIVE, 1), mail.entity(ARCHIVE, 3)];
    let backup = mail.world.mail.back_up(mail.mailbox);
    mail.world.mail.meddle(mail.mailbox, ARCHIVE, 1, Meddling::Renumbers);
    let _run = mail.run();
    mail.world.mail.arm(MailCall::Expunge, 1, Fault::LostNotApplied);
    let mut until = mail.world.settle();
    while !mail.world.mail.is_calm() {
        mail.world.clock.pass_until(until.expect("something that is waited for"));
        until = mail.world.settle();
    }
    // Of what is there again only the records were exported, and the point of no return has passed.
    mail.world.mail.restore(mail.mailbox, backup);
    mail.world.finish();
    assert!(mail.world.mail.expunged().is_empty(), "{}", mail.world.story());
    assert_eq!(mail.uids(ARCHIVE), [1, 2, 3, 4], "{}", mail.world.story());
    assert_eq!(before.map(|entity| mail.world.state_of(entity)), [EntityState::Visible; 2], "{}", mail.world.story());
}

#[test]
fn purged_messages_that_a_restored_server_has_again_are_known_and_purged_again() {
    let mut mail = Mail::new("P0D", "eml");
    let backup = mail.world.mail.back_up(mail.mailbox);
    let run = mail.run();
    assert_eq!(mail.end(run, "before"), RunState::Completed, "{}", mail.world.story());
    assert_eq!(mail.uids(ARCHIVE), [2, 4]);
    // Every number that its server tells of the folder is as it was when it was looked at last.
    mail.world.mail.restore(mail.mailbox, backup);
    let run = mail.run();
    assert_eq!(mail.end(run, "restored"), RunState::Completed, "{}", mail.world.story());
    assert_eq!(mail.uids(ARCHIVE), [2, 4]);
    assert_eq!(mail.world.mail.expunged().len(), 4);
}

#[test]
fn a_folder_that_does_not_open_keeps_no_other_back_and_nothing_in_it_is_taken_for_gone() {
    let mut mail = Mail::new("P1D", "eml");
    let (known, elsewhere) = (mail.entity(ARCHIVE, 1), mail.entity("INBOX", 1));
    mail.world.mail.close_folder(mail.mailbox, ARCHIVE, true);
    mail.world.mail.deliver(mail.mailbox, ARCHIVE, "2020-03-03T00:00:00Z", &[]);
    mail.world.mail.deliver(mail.mailbox, "INBOX", "2020-03-03T00:00:00Z", &[]);
    mail.world.mail.meddle(mail.mailbox, "INBOX", 1, Meddling::Removes);
    mail.world.request_scan(mail.mailbox);
    mail.world.settle();
    let is_absent =
        |mail: &Mail, entity| mail.world.store().view(|views| views.entities.row(entity).expect("a row").absent);
    assert_eq!(looked(&mail), ("mail-folder-closed".to_owned(), 1, None));
    assert!(is_absent(&mail, elsewhere) && !is_absent(&mail, known));
    let _known = mail.entity("INBOX", 2);

    mail.world.mail.close_folder(mail.mailbox, ARCHIVE, false);
    mail.world.request_scan(mail.mailbox);
    mail.world.settle();
    assert_eq!(looked(&mail), (String::new(), 6, None));
    assert!(!is_absent(&mail, known));

    // Where nothing opens at all, the mailbox could not be read.
    mail.world.mail.close_folder(mail.mailbox, ARCHIVE, true);
    mail.world.mail.close_folder(mail.mailbox, "INBOX", true);
    mail.world.request_scan(mail.mailbox);
    mail.world.settle();
    assert_eq!(looked(&mail).2.as_deref(), Some("mail-refused"));
}

/// A mailbox with two due messages in the archive and some in another folder that the policy is about.
fn with_another_folder(quarantine: &str, messages: u32) -> Mail {
    let mut mail = Mail::new(quarantine, "eml");
    let one = format!("op = \"eq\", value = \"{ARCHIVE}\"");
    let both = format!("op = \"in\", value = [\"{ARCHIVE}\", \"{OTHER}\"]");
    mail.world.write_policy("mail", &mail_policy(ARCHIVE, "eml", quarantine).replace(&one, &both));
    mail.world.mail.folder(mail.mailbox, OTHER, &[]);
    for _ in 0..messages {
        mail.world.mail.deliver(mail.mailbox, OTHER, "2020-03-03T00:00:00Z", &[]);
    }
    mail.world.request_scan(mail.mailbox);
    mail.world.settle();
    mail
}

const OTHER: &str = "Other";

#[test]
fn what_lies_in_a_folder_that_does_not_open_is_left_alone_and_keeps_nothing_else_from_being_purged() {
    // They are most of what is due, and no drift.
    let mut mail = with_another_folder("P0D", 20);
    mail.world.mail.close_folder(mail.mailbox, OTHER, true);
    let run = mail.run();
    assert_eq!(mail.end(run, "closed"), RunState::Completed, "{}", mail.world.story());
    assert_eq!((mail.uids(ARCHIVE), mail.uids(OTHER).len()), (vec![2, 4], 20), "{}", mail.world.story());
    assert_eq!(mail.world.left_alone(), [SkipReason::Changed; 20]);
    assert_eq!(said_to_be_removed(&mail), [2]);

    mail.world.mail.close_folder(mail.mailbox, OTHER, false);
    let run = mail.run();
    assert_eq!(mail.end(run, "open again"), RunState::Completed, "{}", mail.world.story());
    assert_eq!(mail.uids(OTHER), [0; 0]);
}

#[test]
fn a_folder_that_closes_in_quarantine_keeps_no_other_from_being_purged() {
    let mut mail = with_another_folder("P1D", 1);
    let run = mail.run();
    mail.world.settle();
    mail.world.mail.close_folder(mail.mailbox, OTHER, true);
    assert_eq!(mail.end(run, "closed"), RunState::Completed, "{}", mail.world.story());
    assert_eq!((mail.uids(ARCHIVE), mail.uids(OTHER)), (vec![2, 4], vec![1]), "{}", mail.world.story());
    assert_eq!(mail.world.left_alone(), [SkipReason::Changed]);
}

#[test]
fn a_plan_waits_for_a_look_and_a_server_that_does_not_answer_does_not_hold_it_up() {
    let mut mail = Mail::new("P0D", "eml");
    let plan = mail.world.request_plan("mail").expect("a plan");
    assert_eq!(mail.world.step(Stage::Plan), Stepped::Idle);
    mail.world.mail.arm(MailCall::Open, 1, Fault::Refused);
    mail.world.settle();
    assert!(mail.world.store().view(|views| views.small.plans.get(plan).expect("a plan").frozen.is_some()));
    let failed = mail.world.store().view(|views| views.small.scans.get(mail.mailbox).expect("a look").failed.clone());
    assert_eq!(failed.as_deref(), Some("fault"));
}

/// What the newest look that read everything said, and why the newest one failed.
fn looked(mail: &Mail) -> (String, u64, Option<String>) {
    mail.world.store().view(|views| {
        let scan = views.small.scans.get(mail.mailbox).expect("a look");
        let (_, done) = scan.done.as_ref().expect("a whole look");
        (done.code.clone(), done.messages, scan.failed.clone())
    })
}

#[test]
fn a_message_whose_header_cannot_be_read_is_told_and_neither_known_nor_purged_and_keeps_no_other_back() {
    let mut mail = Mail::new("P1D", "eml");
    let blurred = mail.world.mail.deliver(mail.mailbox, ARCHIVE, "2020-02-02T00:00:00Z", &[]);
    mail.world.mail.blur(mail.mailbox, ARCHIVE, blurred, true);
    let other = mail.world.mail.deliver(mail.mailbox, ARCHIVE, "2020-03-03T00:00:00Z", &[]);
    mail.world.request_scan(mail.mailbox);
    mail.world.settle();
    let unread = "mail-header-unread";
    assert_eq!(looked(&mail), (unread.to_owned(), 7, None));
    // A folder that did not change is not read again, and what is not known of it is told again.
    mail.world.request_scan(mail.mailbox);
    mail.world.settle();
    assert_eq!(looked(&mail), (unread.to_owned(), 7, None));
    let run = mail.run();
    assert_eq!(mail.end(run, "unread"), RunState::Completed, "{}", mail.world.story());
    let left = mail.uids(ARCHIVE);
    assert!(left.contains(&blurred) && !left.contains(&other), "{left:?}");

    // Once it can be read it is a message as any other.
    mail.world.mail.blur(mail.mailbox, ARCHIVE, blurred, false);
    mail.world.request_scan(mail.mailbox);
    mail.world.settle();
    assert_eq!(looked(&mail).0, "");
    let _known = mail.entity(ARCHIVE, blurred);

    // What is known from a header is not judged by that while nobody can read it any more.
    mail.world.mail.blur(mail.mailbox, ARCHIVE, blurred, true);
    mail.world.request_scan(mail.mailbox);
    mail.world.settle();
    assert_eq!(looked(&mail).2.as_deref(), Some(unread));
}

#[test]
fn a_known_message_in_whose_place_a_notice_stands_by_now_keeps_its_mailbox_from_nothing() {
    let mut mail = Mail::new("P1D", "eml");
    let known = mail.entity(ARCHIVE, 1);
    mail.world.mail.blur(mail.mailbox, ARCHIVE, 1, true);
    mail.world.mail.withhold(mail.mailbox, ARCHIVE, 1);
    mail.world.mail.deliver(mail.mailbox, ARCHIVE, "2020-03-03T00:00:00Z", &[]);
    mail.world.request_scan(mail.mailbox);
    mail.world.settle();
    assert_eq!(looked(&mail), ("mail-header-unread".to_owned(), 6, None));
    assert!(!mail.world.store().view(|views| views.entities.row(known).expect("a row").absent));
    let run = mail.run();
    assert_eq!(mail.end(run, "a notice"), RunState::Completed, "{}", mail.world.story());
    assert_eq!(mail.uids(ARCHIVE), [1, 2, 4], "its text is not to be had, and the others go");
    assert_eq!(mail.world.left_alone(), [SkipReason::Changed]);
}

#[test]
fn a_stop_during_a_look_takes_nothing_for_gone_and_the_next_start_looks_to_the_end() {
    let mut mail = Mail::new("P1D", "eml");
    let before = mail.world.log().len();
    mail.world.mail.deliver(mail.mailbox, ARCHIVE, "2021-01-01T00:00:00Z", &[]);
    mail.world.request_scan(mail.mailbox);
    mail.world.store().halt().ask();
    assert_eq!(mail.world.step(Stage::Mail), Stepped::Crashed, "it was stopped");
    let since = mail.world.log().split_off(before);
    let ended =
        |recorded: &Recorded| matches!(recorded.event(), Some(Event::MailboxScanned(_) | Event::EntityAbsent(_)));
    assert!(!since.iter().any(ended), "a look that was stopped has no end\n{}", mail.world.story());
    mail.world.settle();
    let since = mail.world.log().split_off(before);
    let added = since.iter().filter_map(|recorded| match recorded.event() {
        Some(Event::MailboxScanned(body)) => Some((body.added, body.absent)),
        _ => None,
    });
    assert_eq!(added.collect::<Vec<_>>(), [(1, 0)], "{}", mail.world.story());
}

//! The access that runs take to mailboxes, against servers in memory: given before anything is done there, taken back
//! whenever nobody works there, whatever goes wrong and wherever the world stops.

use std::time::Duration;

use retention_core::event::grant::{GrantEnd, GrantPurpose, GrantRequested};
use retention_core::event::saga::{SkipReason, Step, StepStarted};
use retention_core::event::{Actor, Event};
use retention_core::id::{Digest, EntityId, GrantId, RunId};
use retention_core::mailbox::Rights;
use retention_core::time::Timestamp;
use retention_core::view::index::Key;
use retention_core::view::{Condition, GrantState, RunState};
use retention_tests::crash::{Remains, at_every_flush};
use retention_tests::faults::Fault as MailFault;
use retention_tests::invariants::access;
use retention_tests::mail::MailCall;
use retention_tests::mailboxes::{Call, Fault};
use retention_tests::world::{HELPER, LEASE_MS, Stage, Stepped, World, mail_policy};
use retentiond::clock::Clock;

const ARCHIVE: &str = "Archive";

/// The helper may already read one folder and do everything in another.
const FOLDERS: [(&str, &str); 3] = [("INBOX", "lr"), (ARCHIVE, ""), ("Shared", "lrswipkxtea")];

fn taking_access(quarantine: &str) -> String {
    let access = format!("[access]\nright = \"full_access\"\nprincipal = \"{HELPER}\"\nmax_duration = \"PT1H\"\n");
    mail_policy(ARCHIVE, "eml", quarantine) + &access
}

/// Mailboxes with two old messages and a young one each.
struct Mail {
    world: World,
    mailboxes: Vec<EntityId>,
}

impl Mail {
    fn new(mailboxes: usize, quarantine: &str) -> Self {
        Self::with_policy(mailboxes, &taking_access(quarantine))
    }

    fn with_policy(mailboxes: usize, policy: &str) -> Self {
        let mut world = World::new("P1D");
        world.write_policy("mail", policy);
        let mailboxes: Vec<EntityId> =
            (0..mailboxes).map(|number| world.add_mailbox(&format!("box{number}@example.org"))).collect();
        for mailbox in &mailboxes {
            world.mail.folder(*mailbox, ARCHIVE, &["archive"]);
            for received in ["2020-01-01T00:00:00Z", "2025-12-01T00:00:00Z", "2020-06-01T00:00:00Z"] {
                world.mail.deliver(*mailbox, ARCHIVE, received, &["seen"]);
            }
            world.mailboxes.add(*mailbox, HELPER, &FOLDERS);
        }
        world.settle();
        Self { world, mailboxes }
    }

    fn run(&mut self) -> RunId {
        self.world.approved_run("mail").1
    }

    fn uids(&self, mailbox: EntityId) -> Vec<u32> {
        self.world.mail.uids(mailbox, ARCHIVE).unwrap_or_default()
    }

    fn is_full(&self, mailbox: EntityId) -> bool {
        let rights = self.world.mailboxes.rights(mailbox, HELPER);
        rights.values().all(|rights| rights.parse::<Rights>().unwrap().covers(Rights::FULL_ACCESS))
    }

    /// The grants that runs took, oldest first.
    fn taken(&self) -> Vec<GrantId> {
        let is_taken = |purpose| matches!(purpose, GrantPurpose::Run { .. });
        self.world.store().view(|views| {
            views.small.grants.iter().filter(|(_, grant)| is_taken(grant.purpose)).map(|(id, _)| id).collect()
        })
    }

    fn end_of(&self, grant: GrantId) -> Option<GrantEnd> {
        self.world.store().view(|views| views.small.grants.get(grant)?.end)
    }

    fn steps(&self, step: Step) -> usize {
        let log = self.world.log();
        log.iter()
            .filter(|recorded| matches!(recorded.event(), Some(Event::StepStarted(body)) if body.step == step))
            .count()
    }

    /// Lets runs and grants work by turns until something is so.
    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..200 {
            if is_so(self) {
                return;
            }
            let worked = [Stage::Run, Stage::Grant].map(|stage| self.world.step(stage));
            assert!(worked.contains(&Stepped::Worked), "never {what}\n{}", self.world.story());
        }
        panic!("never {what}\n{}", self.world.story());
    }

    /// Lets everything end. What stood there stands, nothing else does, and the run says how it ended.
    fn end(&mut self, run: RunId, what: &str) -> RunState {
        self.world.finish();
        self.check_over(what);
        self.world.run_state(run)
    }

    fn check_over(&self, what: &str) {
        let story = self.world.story();
        assert_eq!(self.world.mailboxes.left_behind(), [""; 0], "{what}\n{story}");
        assert_eq!(self.world.mailboxes.taken_away(), [""; 0], "{what}\n{story}");
        let open = self.world.store().view(|views| views.small.grants.open().count());
        assert_eq!(open, 0, "{what}: a grant is not over\n{story}");
    }

    fn assert_nothing_went(&self, what: &str) {
        for mailbox in &self.mailboxes {
            assert_eq!(self.uids(*mailbox), [1, 2, 3], "{what}\n{}", self.world.story());
        }
        assert_eq!(self.world.export_entries(), 0, "{what}: a bundle is left");
    }
}

#[test]
fn access_is_given_to_export_and_to_purge_and_not_in_quarantine() {
    let mut mail = Mail::new(1, "P7D");
    let run = mail.run();
    let mailbox = mail.mailboxes[0];
    mail.until("the access stands", |mail| mail.is_full(mailbox));
    assert_eq!(mail.steps(Step::Export), 0, "nothing is begun before it was read back\n{}", mail.world.story());
    mail.world.settle();
    assert_eq!(mail.world.bundles(), 1);
    let first = mail.taken();
    assert_eq!(first.len(), 1, "{}", mail.world.story());
    assert_eq!(mail.end_of(first[0]), Some(GrantEnd::Revoked), "{}", mail.world.story());
    mail.check_over("in quarantine");
    assert_eq!(mail.end(run, "the whole"), RunState::Completed, "{}", mail.world.story());
    assert_eq!(mail.uids(mailbox), [2]);
    let ends: Vec<_> = mail.taken().into_iter().map(|grant| mail.end_of(grant)).collect();
    assert_eq!(ends, [Some(GrantEnd::Revoked); 2], "{}", mail.world.story());
}

#[test]
fn without_a_quarantine_one_lease_is_enough_and_every_event_of_it_is_one_of_the_run() {
    let mut mail = Mail::new(1, "P0D");
    let run = mail.run();
    assert_eq!(mail.end(run, "one lease"), RunState::Completed, "{}", mail.world.story());
    assert_eq!(mail.uids(mail.mailboxes[0]), [2]);
    let taken = mail.taken();
    assert_eq!(taken.len(), 1, "{}", mail.world.story());
    // Found in the index of the run, but for what is sealed with the key of the mailbox.
    let log = mail.world.log();
    let told = mail.world.store().view(|views| {
        let indexed = views.index.get(Key::Run(run)).cloned().unwrap_or_default();
        let of_grants = log.iter().filter(|recorded| {
            matches!(
                recorded.event(),
                Some(
                    Event::GrantRequested(_)
                        | Event::GrantStepStarted(_)
                        | Event::GrantStepSucceeded(_)
                        | Event::GrantRevokeRequested(_)
                        | Event::GrantEnded(_)
                )
            )
        });
        of_grants.filter(|recorded| indexed.contains(u32::try_from(recorded.envelope.position.0).unwrap())).count()
    });
    assert_eq!(told, 11, "asked, four steps with their ends, the end asked for, the end\n{}", mail.world.story());
}

#[test]
fn a_crash_at_any_flush_leaves_no_access_behind_and_nothing_half_done() {
    for remains in [Remains::Lost, Remains::Flushed] {
        at_every_flush("a run with access", remains, 30, |flush, remains| {
            let mut mail = Mail::new(1, "P1D");
            mail.world.gate.crash_at(flush, remains);
            let run = mail.world.drive_to_the_end("mail");
            let what = format!("flush {flush} {remains:?}");
            assert_eq!(mail.end(run, &what), RunState::Completed, "{what}\n{}", mail.world.story());
            assert_eq!(mail.uids(mail.mailboxes[0]), [2], "{what}\n{}", mail.world.story());
            mail.world.crashes > 0
        });
    }
}

#[test]
fn a_fault_at_every_call_about_permissions_leaves_nothing_behind() {
    for call in Call::ALL {
        for fault in Fault::ALL {
            for nth in 1.. {
                let mut mail = Mail::new(1, "P0D");
                let run = mail.run();
                mail.world.mailboxes.arm(call, nth, fault);
                let what = format!("{call:?} {nth}: {fault:?}");
                assert_eq!(mail.end(run, &what), RunState::Completed, "{what}\n{}", mail.world.story());
                assert_eq!(mail.uids(mail.mailboxes[0]), [2], "{what}: it was tried again\n{}", mail.world.story());
                if mail.world.mailboxes.is_armed() {
                    assert!(nth > 1, "{call:?} is never called");
                    break;
                }
            }
        }
    }
}

#[test]
fn what_gets_no_access_is_neither_exported_nor_purged_and_the_run_says_so() {
    let mut mail = Mail::new(1, "P0D");
    let run = mail.run();
    for _ in 0..200 {
        // The server takes no login that could give anything, however often it is asked.
        mail.world.mailboxes.arm(Call::Open, 1, Fault::Refused);
        let until = mail.world.settle();
        if mail.world.run_state(run) == RunState::Completed {
            break;
        }
        mail.world.clock.pass_until(until.expect("it is tried again"));
    }
    assert_eq!(mail.world.run_state(run), RunState::Completed, "{}", mail.world.story());
    mail.world.finish();
    mail.check_over("refused");
    mail.assert_nothing_went("refused");
    assert_eq!((mail.steps(Step::Export), mail.world.left_alone()), (0, vec![SkipReason::NotDue; 2]));
    let taken = mail.taken();
    assert_eq!(taken.iter().map(|grant| mail.end_of(*grant)).collect::<Vec<_>>(), [Some(GrantEnd::NotGiven)]);
}

#[test]
fn what_a_person_ends_is_not_asked_for_again() {
    let mut mail = Mail::new(1, "P0D");
    let run = mail.run();
    let mailbox = mail.mailboxes[0];
    mail.until("the access stands", |mail| mail.is_full(mailbox));
    mail.world.revoke_grant(mail.taken()[0]);
    assert_eq!(mail.end(run, "revoked"), RunState::Completed, "{}", mail.world.story());
    mail.assert_nothing_went("revoked");
    assert_eq!(
        (mail.taken().len(), mail.world.left_alone()),
        (1, vec![SkipReason::NotDue; 2]),
        "{}",
        mail.world.story()
    );
}

#[test]
fn want_of_access_to_one_mailbox_is_no_drift_and_keeps_nobody_from_the_others() {
    let counted = taking_access("P0D").replace("max_percent = 100", "max_percent = 100\nmin_population = 0");
    let mut mail = Mail::with_policy(2, &counted);
    let run = mail.run();
    let [first, second] = [mail.mailboxes[0], mail.mailboxes[1]];
    mail.until("the access stands", |mail| mail.is_full(first));
    mail.world.revoke_grant(mail.taken()[0]);
    assert_eq!(mail.end(run, "revoked"), RunState::Completed, "{}", mail.world.story());
    assert_eq!([first, second].map(|mailbox| mail.uids(mailbox)), [vec![1, 2, 3], vec![2]], "{}", mail.world.story());
    assert_eq!(mail.world.left_alone(), [SkipReason::NotDue; 2]);
}

#[test]
fn what_is_not_done_when_the_lease_is_over_is_left_alone() {
    for before in [Step::Export, Step::Expunge] {
        let mut mail = Mail::new(1, "P0D");
        let run = mail.run();
        let mailbox = mail.mailboxes[0];
        mail.until("the access stands", |mail| mail.is_full(mailbox));
        if before == Step::Expunge {
            mail.world.run_for(3);
            assert_eq!(mail.world.bundles(), 1, "{}", mail.world.story());
        }
        mail.world.clock.advance(Duration::from_millis(LEASE_MS));
        assert_eq!(mail.end(run, before.name()), RunState::Completed, "{}", mail.world.story());
        mail.assert_nothing_went(before.name());
        assert_eq!((mail.taken().len(), mail.steps(Step::Expunge)), (1, 0), "{}", mail.world.story());
        assert_eq!(mail.world.left_alone(), [SkipReason::NotDue; 2]);
    }
}

#[test]
fn a_server_that_is_slow_right_before_the_pivot_does_not_stretch_the_lease() {
    let mut mail = Mail::new(1, "P0D");
    let run = mail.run();
    let mailbox = mail.mailboxes[0];
    mail.until("the access stands", |mail| mail.is_full(mailbox));
    mail.world.run_for(3);
    assert_eq!(mail.world.bundles(), 1, "{}", mail.world.story());
    // There is less left than the answer takes.
    mail.world.clock.advance(Duration::from_millis(LEASE_MS) - Duration::from_secs(1));
    mail.world.mail.arm(MailCall::Messages, 1, MailFault::Slow);
    assert_eq!(mail.end(run, "slow"), RunState::Completed, "{}", mail.world.story());
    assert!(mail.world.mail.is_calm());
    mail.assert_nothing_went("slow");
}

#[test]
fn past_the_pivot_the_work_is_ended_and_the_access_too() {
    let mut mail = Mail::new(1, "P0D");
    let run = mail.run();
    let mailbox = mail.mailboxes[0];
    mail.until("the access stands", |mail| mail.is_full(mailbox));
    mail.world.mail.arm(MailCall::Expunge, 1, MailFault::LostNotApplied);
    mail.until("the pivot is begun", |mail| mail.steps(Step::Expunge) > 0);
    mail.world.clock.advance(Duration::from_millis(LEASE_MS));
    while let Stepped::Worked = mail.world.step(Stage::Grant) {}
    mail.check_over("the lease is over, and the saga is not");
    assert_eq!(mail.end(run, "past the pivot"), RunState::Completed, "{}", mail.world.story());
    assert_eq!(mail.uids(mailbox), [2], "{}", mail.world.story());
    assert_eq!(mail.taken().len(), 1, "no second lease\n{}", mail.world.story());
}

#[test]
fn a_run_that_is_cancelled_gives_back_at_once() {
    for is_given in [false, true] {
        let mut mail = Mail::new(1, "P7D");
        let run = mail.run();
        let mailbox = mail.mailboxes[0];
        mail.until("it is asked for", |mail| mail.taken().len() == 1);
        if is_given {
            mail.until("the access stands", |mail| mail.is_full(mailbox));
        }
        mail.world.cancel(run);
        let before = mail.world.clock.now();
        while mail.world.settle().is_some_and(|at| at <= before) {}
        mail.check_over("cancelled");
        assert_eq!(mail.world.clock.now(), before, "nobody waited for the end of a lease");
        assert_eq!(mail.world.run_state(run), RunState::Cancelled, "{}", mail.world.story());
        mail.assert_nothing_went("cancelled");
        let end = if is_given { GrantEnd::Revoked } else { GrantEnd::Withdrawn };
        assert_eq!(mail.end_of(mail.taken()[0]), Some(end), "{}", mail.world.story());
    }
}

#[test]
fn a_run_that_waits_has_no_access_and_takes_it_anew() {
    let mut mail = Mail::new(1, "P0D");
    let run = mail.run();
    let mailbox = mail.mailboxes[0];
    mail.until("the access stands", |mail| mail.is_full(mailbox));
    mail.world.pause(run);
    mail.world.settle();
    mail.check_over("paused");
    mail.world.clock.advance(Duration::from_millis(3 * LEASE_MS));
    mail.world.settle();
    assert_eq!(mail.taken().len(), 1, "{}", mail.world.story());
    mail.world.resume(run);
    assert_eq!(mail.end(run, "resumed"), RunState::Completed, "{}", mail.world.story());
    assert_eq!((mail.uids(mailbox), mail.taken().len()), (vec![2], 2), "{}", mail.world.story());
}

#[test]
fn a_run_that_waits_long_for_its_rate_has_no_access_meanwhile() {
    // One message in an hour, and both in a minute.
    for (rate, grants) in [("1/h", 2), ("60/h", 1)] {
        let policy =
            taking_access("P0D").replace("max_percent = 100", &format!("max_percent = 100\nrate = \"{rate}\""));
        let mut mail = Mail::with_policy(1, &policy);
        let run = mail.run();
        mail.world.settle();
        assert_eq!(mail.uids(mail.mailboxes[0]).len(), 2, "{rate}: the first went\n{}", mail.world.story());
        assert_eq!(mail.world.run_state(run), RunState::Running, "{rate}\n{}", mail.world.story());
        let is_over = mail.end_of(mail.taken()[0]) == Some(GrantEnd::Revoked);
        assert_eq!(is_over, grants == 2, "{rate}\n{}", mail.world.story());
        assert_eq!(mail.end(run, rate), RunState::Completed, "{rate}\n{}", mail.world.story());
        assert_eq!(
            (mail.uids(mail.mailboxes[0]), mail.taken().len()),
            (vec![2], grants),
            "{rate}\n{}",
            mail.world.story()
        );
    }
}

#[test]
fn whoever_was_given_access_for_another_reason_keeps_it() {
    let mut mail = Mail::new(1, "P0D");
    let mailbox = mail.mailboxes[0];
    let person = mail.world.request_grant(mailbox, 0).expect("a grant");
    mail.world.settle();
    assert_eq!(mail.world.grant_state(person), GrantState::Active);
    let run = mail.run();
    mail.world.settle();
    assert_eq!(mail.world.run_state(run), RunState::Completed, "{}", mail.world.story());
    assert_eq!(mail.end_of(mail.taken()[0]), Some(GrantEnd::HandedOver { to: person }), "{}", mail.world.story());
    assert!(mail.is_full(mailbox), "{}", mail.world.story());
    assert_eq!(mail.end(run, "the person's too"), RunState::Completed);
    assert_eq!(mail.uids(mailbox), [2]);
}

#[test]
fn what_was_approved_is_taken_whatever_the_policy_says_since() {
    let mut mail = Mail::new(1, "P7D");
    let run = mail.run();
    mail.world.settle();
    assert_eq!(mail.world.bundles(), 1);
    mail.world.write_policy("mail", &taking_access("P7D").replace("PT1H", "PT2H"));
    assert_eq!(mail.end(run, "edited"), RunState::Completed, "{}", mail.world.story());
    assert_eq!(mail.uids(mail.mailboxes[0]), [2], "{}", mail.world.story());
    let leases = mail.world.store().view(|views| {
        let taken = views.small.grants.of_run(run);
        taken.map(|(_, grant)| (grant.duration_ms, grant.max_ms)).collect::<Vec<_>>()
    });
    assert_eq!(leases, [(LEASE_MS, LEASE_MS); 2]);
}

/// The most grants of runs that were there, or about to be, at the same time.
fn most_at_once(mail: &Mail) -> usize {
    let (mut open, mut most) = (std::collections::BTreeSet::new(), 0);
    for recorded in mail.world.log() {
        match recorded.event() {
            Some(Event::GrantRequested(_)) => drop(open.insert(GrantId(recorded.envelope.position))),
            Some(Event::GrantRevokeRequested(body)) => drop(open.remove(&body.grant)),
            Some(Event::GrantEnded(body)) => drop(open.remove(&body.grant)),
            _ => {}
        }
        most = most.max(open.len());
    }
    most
}

#[test]
fn a_run_has_access_to_no_more_mailboxes_than_it_works_in() {
    for (at_once, quarantine) in [(1, "P0D"), (1, "P1D"), (3, "P0D"), (3, "P1D")] {
        let mut mail = Mail::new(7, quarantine);
        if at_once > 1 {
            mail.world.drive_at_once(at_once);
        }
        let run = mail.run();
        let what = format!("{at_once} at once, {quarantine}");
        assert_eq!(mail.end(run, &what), RunState::Completed, "{what}\n{}", mail.world.story());
        for mailbox in &mail.mailboxes {
            assert_eq!(mail.uids(*mailbox), [2], "{what}\n{}", mail.world.story());
        }
        assert!(most_at_once(&mail) <= at_once, "{what}: {}\n{}", most_at_once(&mail), mail.world.story());
        let grants = if quarantine == "P0D" { 7 } else { 14 };
        assert_eq!(mail.taken().len(), grants, "{what}\n{}", mail.world.story());
    }
}

#[test]
fn a_mailbox_without_access_keeps_no_other_waiting() {
    let mut mail = Mail::new(3, "P0D");
    let run = mail.run();
    mail.until("it is asked for", |mail| mail.taken().len() == 1);
    let first = mail.taken()[0];
    mail.world.revoke_grant(first);
    assert_eq!(mail.end(run, "one of three"), RunState::Completed, "{}", mail.world.story());
    let went = mail.mailboxes.iter().filter(|mailbox| mail.uids(**mailbox) == [2]).count();
    assert_eq!((went, mail.world.left_alone()), (2, vec![SkipReason::NotDue; 2]), "{}", mail.world.story());
}

#[test]
fn the_checker_names_what_was_done_without_access_and_access_that_nobody_approved() {
    let mut mail = Mail::new(1, "P0D");
    let run = mail.run();
    mail.until("it is asked for", |mail| mail.taken().len() == 1);
    assert_eq!(access::check(mail.world.store()), []);
    let saga = mail.world.store().view(|views| views.small.runs.run(run).unwrap().sagas[0]);
    let export =
        StepStarted { saga, step: Step::Export, attempt: 1, idempotency_key: Digest([0; 32]), items: Vec::new() };
    mail.world.append(Actor::Daemon, saga.0, Event::StepStarted(export), Condition::None).unwrap();
    let taken = mail.taken()[0];
    let asked = mail.world.store().read(taken.0).unwrap().unwrap();
    let Some(Event::GrantRequested(body)) = asked.event() else { panic!("a grant was asked for") };
    let longer = GrantRequested { max_ms: body.max_ms + 1, ..body.clone() };
    mail.world.append(Actor::Daemon, saga.0, Event::GrantRequested(longer), Condition::None).unwrap();
    let named: Vec<_> = access::check(mail.world.store()).into_iter().map(|found| found.invariant).collect();
    assert_eq!(named, ["mailbox_worked_in_without_access", "access_that_nobody_approved"]);
    let later = Timestamp(mail.world.clock.now().0 + i64::try_from(LEASE_MS * 1_000).unwrap());
    assert_eq!(access::check_at_rest(mail.world.store(), later), [], "neither was begun, and the run goes on");
}

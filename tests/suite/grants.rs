//! Grants on mailboxes in memory: a fault at every call, a crash at every flush with all that it can leave, and what
//! two of them do to each other. However it goes, everything that was given is taken back and nothing else is touched.

use std::time::Duration;

use retention_core::event::grant::{GrantEnd, GrantReceipt, GrantStep};
use retention_core::id::{EntityId, GrantId};
use retention_core::mailbox::Rights;
use retention_core::time::Timestamp;
use retention_core::view::GrantState;
use retention_tests::crash::{Remains, at_every_flush};
use retention_tests::mailboxes::{Call, Fault};
use retention_tests::story::told_as;
use retention_tests::world::{APPROVER, HELPER, REQUESTER, Stage, Stepped, World};
use retentiond::clock::Clock;

/// A mailbox in which the helper may already read one folder and do everything in another.
const FOLDERS: [(&str, &str); 4] =
    [("INBOX", "lr"), ("INBOX/PLAINTEXT-MARKER projects", ""), ("Sent", ""), ("Shared", "lrswipkxtea")];

fn world() -> (World, EntityId) {
    let mut world = World::new("P1D");
    let mailbox = world.add_mailbox_with_folders("mailbox", &FOLDERS);
    world.settle();
    (world, mailbox)
}

fn is_full(world: &World, mailbox: EntityId) -> bool {
    let rights = world.mailboxes.rights(mailbox, HELPER);
    rights.values().all(|rights| rights.parse::<Rights>().unwrap().covers(Rights::FULL_ACCESS))
}

/// Lets only grants work, until nothing is to be done at this instant.
fn settle(world: &mut World) {
    while let Stepped::Worked | Stepped::Crashed = world.step(Stage::Grant) {}
}

/// Lets grants work, and time pass, until none is open. Returns whether anything crashed.
fn finish(world: &mut World) -> bool {
    let mut crashed = false;
    for _ in 0..2_000 {
        match world.step(Stage::Grant) {
            Stepped::Crashed => crashed = true,
            Stepped::Worked => {}
            Stepped::Until(at) => world.clock.pass_until(at),
            Stepped::Idle => return crashed,
        }
    }
    panic!("a grant never ends\n{}", world.story());
}

fn end_of(world: &World, grant: GrantId) -> Option<GrantEnd> {
    world.store().view(|views| views.small.grants.get(grant).expect("a grant").end)
}

fn check_over(world: &World, what: &str) {
    assert_eq!(world.mailboxes.left_behind(), [""; 0], "{what}\n{}", world.story());
    assert_eq!(world.mailboxes.taken_away(), [""; 0], "{what}\n{}", world.story());
    let is_sound = world.store().view(|views| views.small.grants.iter().all(|(_, grant)| !grant.is_inconsistent));
    assert!(is_sound, "{what}\n{}", world.story());
}

#[test]
fn a_lease_ends_by_the_clock_while_the_time_of_the_log_stands_still() {
    const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    let lease = Duration::from_millis(retention_tests::world::LEASE_MS);
    let (mut world, mailbox) = world();
    let right = world.clock.now();
    world.clock.advance(MONTH);
    let grant = world.request_grant(mailbox, 1).unwrap();
    world.approve_grant(grant, APPROVER);
    world.clock.set(right);
    settle(&mut world);
    assert!(is_full(&world, mailbox));
    // A restart, or several, count nothing anew.
    for _ in 0..3 {
        world.clock.advance(lease / 4);
        world.reopen();
        settle(&mut world);
    }
    world.clock.advance(lease / 4 - Duration::from_secs(1));
    settle(&mut world);
    assert!(is_full(&world, mailbox), "{}", world.story());
    world.clock.advance(Duration::from_secs(1));
    finish(&mut world);
    check_over(&world, "the time of the log stands still");
    assert!(world.clock.now() < Timestamp(right.0 + 2 * i64::try_from(lease.as_micros()).unwrap()));
}

#[test]
fn a_grant_is_given_verified_and_taken_back_when_its_lease_ends() {
    let (mut world, mailbox) = world();
    let grant = world.request_grant(mailbox, 1).unwrap();
    settle(&mut world);
    assert_eq!(world.grant_state(grant), GrantState::AwaitingApproval);
    world.approve_grant(grant, REQUESTER);
    settle(&mut world);
    assert_eq!(world.grant_state(grant), GrantState::AwaitingApproval, "nobody approves their own request");
    world.approve_grant(grant, APPROVER);
    settle(&mut world);
    assert_eq!(world.grant_state(grant), GrantState::Active);
    assert!(is_full(&world, mailbox));
    world.mailboxes.make_folder(mailbox, "INBOX/made meanwhile");
    world.clock.advance(Duration::from_millis(retention_tests::world::LEASE_MS / 2));
    world.renew_grant(grant);
    world.clock.advance(Duration::from_millis(retention_tests::world::LEASE_MS / 2));
    settle(&mut world);
    assert_eq!(world.grant_state(grant), GrantState::Active, "it was renewed");
    world.clock.advance(Duration::from_millis(retention_tests::world::LEASE_MS / 2));
    finish(&mut world);
    assert_eq!(end_of(&world, grant), Some(GrantEnd::Revoked));
    check_over(&world, "one grant");
    let receipt =
        world.store().view(|views| views.small.grants.get(grant).unwrap().receipt(GrantStep::Revoke).cloned());
    assert!(
        matches!(receipt, Some(GrantReceipt::Revoked { folders: 5, standing: 3, .. })),
        "INBOX, Shared and the new folder keep what stood there: {receipt:?}"
    );
    told_as("grant", &world.story());
}

/// A whole grant with a folder made in between. Returns whether it crashed.
fn whole_grant(world: &mut World, mailbox: EntityId) -> (Option<GrantId>, bool) {
    let grant = world.request_grant(mailbox, 0);
    world.mailboxes.make_folder_meanwhile("Sent/made in the middle");
    let crashed = finish(world);
    (grant, crashed)
}

#[test]
fn a_fault_at_every_call_leaves_nothing_behind() {
    for call in Call::ALL {
        for fault in Fault::ALL {
            for nth in 1.. {
                let (mut world, mailbox) = world();
                world.mailboxes.arm(call, nth, fault);
                let (grant, _) = whole_grant(&mut world, mailbox);
                let has_happened = !world.mailboxes.is_armed();
                check_over(&world, &format!("{call:?} {nth}: {fault:?}"));
                assert!(end_of(&world, grant.unwrap()).is_some());
                if !has_happened {
                    assert!(nth > 1, "{call:?} is never called");
                    break;
                }
            }
        }
    }
}

fn crash_everywhere(remains: Remains) {
    at_every_flush("a grant", remains, 9, |flush, remains| {
        let (mut world, mailbox) = world();
        world.gate.crash_at(flush, remains);
        let (_, mut crashed) = whole_grant(&mut world, mailbox);
        // The request itself may have been lost: then there is nothing to be taken back.
        crashed |= world.store().report().folded > 0;
        check_over(&world, &format!("flush {flush}, {remains:?}"));
        world.reopen();
        crashed
    });
}

#[test]
fn a_grant_survives_a_crash_at_every_flush_that_loses_what_was_written() {
    crash_everywhere(Remains::Lost);
}

#[test]
fn a_grant_survives_a_crash_at_every_flush_that_tears_what_was_written() {
    crash_everywhere(Remains::Torn);
}

#[test]
fn a_grant_survives_a_crash_at_every_flush_that_keeps_what_was_never_acknowledged() {
    crash_everywhere(Remains::Kept);
}

#[test]
fn a_grant_survives_a_crash_right_after_every_flush() {
    crash_everywhere(Remains::Flushed);
}

#[test]
fn what_stood_is_read_again_when_the_daemon_was_away_before_it_gave_anything() {
    let (mut world, mailbox) = world();
    let grant = world.request_grant(mailbox, 0).unwrap();
    assert_eq!(world.step(Stage::Grant), Stepped::Worked);
    world.reopen();
    // An administrator took one right away meanwhile, and gave another.
    let now = [("INBOX", "lr"), ("INBOX/PLAINTEXT-MARKER projects", ""), ("Sent", "lrs"), ("Shared", "")];
    world.mailboxes.add(mailbox, HELPER, &now);
    settle(&mut world);
    assert!(is_full(&world, mailbox), "{}", world.story());
    finish(&mut world);
    assert_eq!(end_of(&world, grant), Some(GrantEnd::Revoked));
    check_over(&world, "read again");
}

#[test]
fn of_two_grants_the_last_takes_everything_away_and_only_that_one() {
    let (mut world, mailbox) = world();
    let first = world.request_grant(mailbox, 0).unwrap();
    settle(&mut world);
    world.clock.advance(Duration::from_secs(1_800));
    let second = world.request_grant(mailbox, 0).unwrap();
    settle(&mut world);
    world.clock.advance(Duration::from_secs(1_801));
    settle(&mut world);
    assert_eq!(end_of(&world, first), Some(GrantEnd::HandedOver { to: second }));
    assert!(is_full(&world, mailbox), "the second still stands");
    world.revoke_grant(second);
    settle(&mut world);
    assert_eq!(end_of(&world, second), Some(GrantEnd::Revoked));
    check_over(&world, "two grants");
}

#[test]
fn a_server_that_refuses_for_days_is_asked_again_until_it_takes_everything_back() {
    let (mut world, mailbox) = world();
    let grant = world.request_grant(mailbox, 0).unwrap();
    settle(&mut world);
    world.clock.advance(Duration::from_millis(retention_tests::world::LEASE_MS));
    for _ in 0..300 {
        world.mailboxes.arm(Call::Open, 1, Fault::Refused);
        settle(&mut world);
        world.clock.advance(Duration::from_secs(600));
    }
    let now = world.clock.now();
    let is_alarming = world.store().view(|views| views.small.grants.get(grant).unwrap().is_alarming(now));
    assert!(is_alarming, "{}", world.story());
    finish(&mut world);
    assert_eq!(end_of(&world, grant), Some(GrantEnd::Revoked));
    check_over(&world, "refused for days");
}

#[test]
fn what_is_rejected_withdrawn_or_never_approved_touches_nothing() {
    let (mut world, mailbox) = world();
    let before = world.mailboxes.calls();
    let [rejected, withdrawn, forgotten] = [(); 3].map(|()| world.request_grant(mailbox, 1).unwrap());
    world.reject_grant(rejected);
    world.revoke_grant(withdrawn);
    finish(&mut world);
    assert_eq!(end_of(&world, rejected), Some(GrantEnd::Rejected));
    assert_eq!(end_of(&world, withdrawn), Some(GrantEnd::Withdrawn));
    assert_eq!(end_of(&world, forgotten), Some(GrantEnd::Expired));
    assert_eq!(world.mailboxes.calls(), before, "nobody even logged in");
}

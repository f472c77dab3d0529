//! Permissions are looked at: what differs is recorded, what stands too long is taken away once somebody agreed, and
//! what is on the list, or is the owner's, is never touched.

use std::time::Duration;

use retention_core::event::clock::{ClockDoubt, ClockDoubted};
use retention_core::event::grant::{GrantEnd, GrantPurpose};
use retention_core::event::{Actor, Event};
use retention_core::id::{EntityId, GrantId, Position};
use retention_core::time::Timestamp;
use retention_core::view::{Condition, GrantState};
use retention_tests::crash::{Remains, at_every_flush};
use retention_tests::mailboxes::{Call, Fault, OWNER};
use retention_tests::world::{APPROVER, REQUESTER, Stage, Stepped, World};
use retentiond::clock::Clock;
use retentiond::stage::intake::permission::PERMISSIONS_EVERY_US;
use retentiond::stage::intake::registry::{Registrar, Registration};

/// Somebody with FullAccess on one folder whom no policy names.
const STRANGER: &str = "PLAINTEXT-MARKER stranger";

/// Somebody with FullAccess whom the policy keeps.
const KEPT: &str = "PLAINTEXT-MARKER backup";

/// Somebody who may read.
const READER: &str = "PLAINTEXT-MARKER reader";

const FULL: &str = "lrswipkxtea";

fn policy(approval: &str) -> String {
    format!(
        "schema = 1\n[policy]\nid = \"access\"\ntitle = \"Access\"\nowner = \"o\"\nlegal_basis = \"GDPR 32\"\n\
         data_class = \"access\"\nstate = \"enforce\"\n[access]\nright = \"full_access\"\nprincipals = [\"helper\"]\n\
         max_duration = \"PT1H\"\nstanding = \"P7D\"\nkeep_standing = [\"{}\"]\n[approval]\n{approval}\n",
        KEPT.to_uppercase()
    )
}

fn world(approval: Option<&str>) -> (World, EntityId) {
    let world = World::new("P1D");
    if let Some(approval) = approval {
        world.write_policy("access", &policy(approval));
    }
    let registration = Registration {
        server: "mail".to_owned(),
        address: "PLAINTEXT-MARKER@example.org".to_owned(),
        user: None,
        form: None,
        admin: None,
        root: None,
        secret: None,
    };
    let registrar = Registrar::new(world.store().clone());
    let mailbox = registrar.register(Actor::Person(REQUESTER), &[registration], None).unwrap()[0];
    drop(registrar);
    world.mailboxes.add(mailbox, OWNER, &[("INBOX", FULL), ("Sent", FULL)]);
    world.mailboxes.add(mailbox, STRANGER, &[("INBOX", "lr"), ("Sent", FULL)]);
    world.mailboxes.add(mailbox, KEPT, &[("INBOX", FULL), ("Sent", FULL)]);
    world.mailboxes.add(mailbox, READER, &[("INBOX", "lrs"), ("Sent", "")]);
    (world, mailbox)
}

/// Lets every stage work until nothing is to be done at this instant. Returns whether it crashed.
fn settle(world: &mut World) -> bool {
    let mut crashed = false;
    loop {
        let mut worked = false;
        for stage in [Stage::Policies, Stage::Permission, Stage::Grant] {
            let stepped = world.step(stage);
            crashed |= stepped == Stepped::Crashed;
            worked |= matches!(stepped, Stepped::Worked | Stepped::Crashed);
        }
        if !worked {
            return crashed;
        }
    }
}

fn standing_requests(world: &World) -> Vec<GrantId> {
    world.store().view(|views| {
        let all = views.small.grants.iter();
        all.filter(|(_, grant)| grant.purpose == GrantPurpose::Standing).map(|(id, _)| id).collect()
    })
}

fn observations(world: &World) -> (usize, usize) {
    let log = world.log();
    let count = |wanted: fn(&Event) -> bool| log.iter().filter(|recorded| recorded.event().is_some_and(wanted)).count();
    (
        count(|event| matches!(event, Event::PermissionObserved(_))),
        count(|event| matches!(event, Event::PermissionsScanned(_))),
    )
}

fn next_look(world: &World) {
    world.clock.advance(Duration::from_micros(u64::try_from(PERMISSIONS_EVERY_US).unwrap()));
}

#[test]
fn what_differs_is_recorded_and_nothing_is_touched_without_a_policy() {
    let (mut world, mailbox) = world(None);
    settle(&mut world);
    assert_eq!(observations(&world), (1, 1));
    let known = world.store().view(|views| views.small.permissions.get(mailbox).cloned()).unwrap();
    let done = known.done.unwrap().1;
    assert_eq!((done.entries, done.full_access, known.full_since.len()), (7, 2, 2));
    for _ in 0..3 {
        next_look(&world);
        settle(&mut world);
    }
    assert_eq!(observations(&world), (1, 4), "nothing changed, and it was looked at");
    world.mailboxes.make_folder(mailbox, "Sent/new");
    next_look(&world);
    settle(&mut world);
    assert_eq!(observations(&world), (2, 5));
    world.clock.advance(Duration::from_secs(400 * 86_400));
    settle(&mut world);
    assert_eq!(standing_requests(&world), []);
}

#[test]
fn they_are_looked_at_as_often_while_the_time_of_the_log_stands_still() {
    let (mut world, _) = world(None);
    settle(&mut world);
    let right = world.clock.now();
    world.clock.set(Timestamp(right.0 + 30 * 86_400 * 1_000_000));
    settle(&mut world);
    assert_eq!(observations(&world), (1, 2));
    // It was ahead, and is set right: what the log says of the last look is no time ago.
    world.clock.set(right);
    for looks in 3..6 {
        settle(&mut world);
        assert_eq!(observations(&world), (1, looks));
        settle(&mut world);
        assert_eq!(observations(&world), (1, looks), "and no more often");
        next_look(&world);
    }
}

#[test]
fn a_look_that_fails_is_made_again_and_changes_nothing_that_was_known() {
    let (mut world, mailbox) = world(None);
    settle(&mut world);
    let before = world.store().view(|views| views.small.permissions.get(mailbox).unwrap().readings.clone());
    next_look(&world);
    world.mailboxes.arm(Call::Read, 1, Fault::Refused);
    settle(&mut world);
    let known = world.store().view(|views| views.small.permissions.get(mailbox).cloned()).unwrap();
    assert_eq!((known.failed.as_deref(), &known.readings), (Some("fault"), &before));
    world.clock.advance(Duration::from_secs(15 * 60));
    settle(&mut world);
    let known = world.store().view(|views| views.small.permissions.get(mailbox).cloned()).unwrap();
    assert_eq!((known.failed, &known.readings), (None, &before));
}

#[test]
fn what_stands_too_long_goes_once_somebody_agreed_and_the_rest_stays() {
    let (mut world, mailbox) = world(Some("count = 1"));
    settle(&mut world);
    world.clock.advance(Duration::from_secs(6 * 86_400));
    settle(&mut world);
    assert_eq!(standing_requests(&world), [], "it is younger than the policy says");
    world.clock.advance(Duration::from_secs(86_400));
    settle(&mut world);
    let asked = standing_requests(&world);
    assert_eq!(asked.len(), 1, "{}", world.story());
    assert_eq!(world.grant_state(asked[0]), GrantState::AwaitingApproval);
    next_look(&world);
    settle(&mut world);
    assert_eq!(standing_requests(&world), asked, "it is asked for once");
    world.mailboxes.may_go(mailbox, STRANGER);
    world.approve_grant(asked[0], APPROVER);
    settle(&mut world);
    let end = world.store().view(|views| views.small.grants.get(asked[0]).unwrap().end);
    assert_eq!(end, Some(GrantEnd::Revoked), "{}", world.story());
    assert!(world.mailboxes.rights(mailbox, STRANGER).values().all(|rights| rights.is_empty()));
    assert_eq!(world.mailboxes.rights(mailbox, KEPT)["INBOX"], world.mailboxes.rights(mailbox, OWNER)["INBOX"]);
    assert_eq!(world.mailboxes.rights(mailbox, READER)["INBOX"], "lrs");
    next_look(&world);
    settle(&mut world);
    world.clock.advance(Duration::from_secs(60 * 86_400));
    settle(&mut world);
    assert_eq!(standing_requests(&world), asked, "what is gone is not asked for again");
}

/// Gives somebody access for some days, and lets them pass with a look each six hours.
fn granted_for(world: &mut World, mailbox: EntityId, identifier: &str, days: u64) {
    let grant = world.request_lease(identifier, mailbox, 0, days * 86_400_000).expect("a grant");
    settle(world);
    assert_eq!(world.grant_state(grant), GrantState::Active, "{}", world.story());
    for _ in 0..4 * days {
        next_look(world);
        settle(world);
    }
    assert_eq!(world.grant_state(grant), GrantState::Revoked, "{}", world.story());
}

fn asked_for(world: &World, identifier: &str) -> usize {
    let principal = world.store().principal(identifier);
    let asked = standing_requests(world);
    world.store().view(|views| {
        asked.iter().filter(|grant| views.small.grants.get(**grant).unwrap().principal == principal).count()
    })
}

#[test]
fn what_a_grant_gave_is_never_taken_for_standing_access() {
    let (mut world, mailbox) = world(Some("required = false"));
    world.mailboxes.may_go(mailbox, STRANGER);
    settle(&mut world);
    granted_for(&mut world, mailbox, READER, 10);
    // What was seen last was seen while the grant stood, and the server tells no more.
    for _ in 0..60 {
        world.mailboxes.arm(Call::Read, 1, Fault::Refused);
        next_look(&world);
        settle(&mut world);
    }
    assert_eq!(asked_for(&world, READER), 0, "{}", world.story());
    assert_eq!(world.mailboxes.rights(mailbox, READER)["INBOX"], "lrs");
}

#[test]
fn a_grant_makes_what_stood_before_it_no_younger() {
    let (mut world, mailbox) = world(Some("count = 1"));
    settle(&mut world);
    granted_for(&mut world, mailbox, STRANGER, 8);
    assert_eq!(asked_for(&world, STRANGER), 1, "{}", world.story());
}

#[test]
fn what_somebody_left_in_the_place_of_standing_full_access_stays() {
    let (mut world, mailbox) = world(Some("count = 1"));
    settle(&mut world);
    world.clock.advance(Duration::from_secs(7 * 86_400));
    settle(&mut world);
    let asked = standing_requests(&world)[0];
    // An administrator was faster, and leaves them something to read.
    world.mailboxes.add(mailbox, STRANGER, &[("INBOX", "lr"), ("Sent", "lr")]);
    world.approve_grant(asked, APPROVER);
    settle(&mut world);
    for _ in 0..5 {
        world.clock.advance(Duration::from_secs(600));
        settle(&mut world);
    }
    let end = world.store().view(|views| views.small.grants.get(asked).unwrap().end);
    assert_eq!(end, Some(GrantEnd::NotGiven), "{}", world.story());
    assert_eq!(world.mailboxes.rights(mailbox, STRANGER)["Sent"], "lr");
}

#[test]
fn while_the_clock_is_doubted_nothing_is_asked_for() {
    let (mut world, mailbox) = world(Some("required = false"));
    settle(&mut world);
    let now = world.clock.now();
    let doubt = ClockDoubted { doubt: ClockDoubt::JumpedForward, expected_at: now, seen_at: now };
    world.append(Actor::Daemon, Position::NONE, Event::ClockDoubted(doubt), Condition::None).expect("an event");
    world.clock.advance(Duration::from_secs(400 * 86_400));
    settle(&mut world);
    assert_eq!(standing_requests(&world), [], "{}", world.story());
    assert!(world.confirm_clock());
    world.mailboxes.may_go(mailbox, STRANGER);
    settle(&mut world);
    assert_eq!(standing_requests(&world).len(), 1, "{}", world.story());
}

#[test]
fn what_was_refused_is_not_asked_for_again_the_next_day() {
    let (mut world, _) = world(Some("count = 1"));
    settle(&mut world);
    world.clock.advance(Duration::from_secs(7 * 86_400));
    settle(&mut world);
    let asked = standing_requests(&world);
    world.reject_grant(asked[0]);
    settle(&mut world);
    world.clock.advance(Duration::from_secs(29 * 86_400));
    settle(&mut world);
    assert_eq!(standing_requests(&world), asked);
    world.clock.advance(Duration::from_secs(2 * 86_400));
    settle(&mut world);
    assert_eq!(standing_requests(&world).len(), 2);
}

/// The whole way with a crash at one flush. Returns whether it crashed.
fn removal_with_a_crash(stop: u64, remains: Remains) -> bool {
    let (mut world, mailbox) = world(Some("required = false"));
    world.mailboxes.may_go(mailbox, STRANGER);
    world.gate.crash_at(stop, remains);
    let mut crashed = settle(&mut world);
    for days in [8, 1, 31] {
        world.clock.advance(Duration::from_secs(days * 86_400));
        crashed |= settle(&mut world);
    }
    let now = world.clock.now();
    let open = world.store().view(|views| {
        views.small.grants.open().filter(|(_, grant)| grant.state(now) != GrantState::AwaitingApproval).count()
    });
    assert_eq!(open, 0, "flush {stop}, {remains:?}\n{}", world.story());
    let left = world.mailboxes.rights(mailbox, STRANGER);
    assert!(left.values().all(|rights| rights.is_empty()), "flush {stop}, {remains:?}: {left:?}\n{}", world.story());
    crashed
}

#[test]
fn a_removal_survives_a_crash_at_every_flush() {
    for remains in Remains::ALL {
        at_every_flush("a removal", remains, 8, removal_with_a_crash);
    }
}

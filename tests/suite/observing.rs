//! A store that was restored from a backup only observes: nothing is purged, given or taken until a person confirms it.

use std::time::Duration;

use retention_core::event::backup::{RestoreConfirmed, StoreRestored};
use retention_core::event::migration::{MigrationEnd, MigrationEnded, MigrationRequested};
use retention_core::event::{Actor, Event};
use retention_core::id::{MigrationId, Position};
use retention_core::view::{Condition, EntityState, GrantState};
use retention_tests::world::{APPROVER, HELPER, LEASE_MS, Stage, Stepped, World};
use retentiond::clock::Clock as _;

fn restored(world: &mut World) -> Position {
    let made_at = world.clock.now();
    let body = StoreRestored {
        last: Position(1),
        made_at,
        entities: 1,
        destroyed_again: 0,
        ledger_read: true,
        checkpoint: None,
    };
    let appended = world.append(Actor::Daemon, Position::NONE, Event::StoreRestored(body), Condition::None);
    appended.expect("an event").first
}

fn confirm(world: &mut World, restored: Position) -> bool {
    let event = Event::RestoreConfirmed(RestoreConfirmed { restored, reason: "looked at".to_owned() });
    world.append(Actor::Person(APPROVER), restored, event, Condition::RestoreWaits(restored)).is_ok()
}

fn steps(world: &World) -> usize {
    let log = world.log();
    let is_step = |event: &Event| {
        matches!(event, Event::StepStarted(_) | Event::SagaStarted(_) | Event::RunStarted(_) | Event::KeyDestroyed(_))
    };
    log.iter().filter(|recorded| recorded.event().is_some_and(is_step)).count()
}

#[test]
fn a_run_stops_at_every_step_and_goes_on_when_it_is_confirmed() {
    let mut passed_pivot = false;
    for stop_after in 0.. {
        let mut world = World::new("P1D");
        let contact = world.add("a", "2020-01-01");
        world.settle();
        world.approved_run("contacts");
        let is_over = world.run_for(stop_after);
        passed_pivot |= world.pivots() > 0;
        let position = restored(&mut world);
        let before = steps(&world);
        for _ in 0..3 {
            world.settle();
            world.clock.advance(Duration::from_secs(60 * 60));
        }
        world.reopen();
        world.settle();
        assert_eq!(steps(&world), before, "stopped after {stop_after}\n{}", world.story());
        assert!(!confirm(&mut world, Position(position.0 - 1)), "only what was seen can be confirmed");
        assert!(confirm(&mut world, position));
        assert!(!confirm(&mut world, position), "it is confirmed once");
        world.finish();
        assert_eq!(world.state_of(contact), EntityState::Purged, "stopped after {stop_after}\n{}", world.story());
        if is_over {
            assert!(passed_pivot && stop_after > 8, "a run takes more than {stop_after} steps");
            return;
        }
    }
}

#[test]
fn access_is_neither_given_nor_taken_until_it_is_confirmed() {
    let mut world = World::new("P1D");
    let mailbox = world.add_mailbox_with_folders("mailbox", &[("INBOX", "")]);
    world.settle();
    let settle = |world: &mut World| while world.step(Stage::Grant) == Stepped::Worked {};
    let has_access = |world: &World| world.mailboxes.rights(mailbox, HELPER).values().any(|rights| !rights.is_empty());
    let given = world.request_grant(mailbox, 0).expect("a grant");
    settle(&mut world);
    assert!(has_access(&world));
    let position = restored(&mut world);
    world.clock.advance(Duration::from_millis(LEASE_MS * 2));
    settle(&mut world);
    assert!(has_access(&world), "the log of a backup does not know what was agreed since");
    assert!(confirm(&mut world, position));
    settle(&mut world);
    assert!(!has_access(&world));
    assert_ne!(world.grant_state(given), GrantState::Active);

    let position = restored(&mut world);
    let asked = world.request_grant(mailbox, 0).expect("a grant");
    settle(&mut world);
    assert!(!has_access(&world));
    assert!(confirm(&mut world, position));
    settle(&mut world);
    assert_eq!(world.grant_state(asked), GrantState::Active);
}

#[test]
fn what_is_being_copied_elsewhere_stays_until_that_is_over() {
    for stop_after in [0, 2, 4, 6] {
        let mut world = World::new("P1D");
        let (source, target) = (world.add_mailbox("PLAINTEXT-MARKER a"), world.add_mailbox("PLAINTEXT-MARKER b"));
        let contact = world.add_in(source, "a", "2020-01-01");
        world.settle();
        world.approved_run("contacts");
        for _ in 0..stop_after {
            if let Stepped::Until(at) = world.step(Stage::Run) {
                world.clock.pass_until(at);
            }
        }
        assert!(world.pivots() == 0, "{}", world.story());
        let body = MigrationRequested { source, target, exclude: Vec::new(), max_bytes: None };
        let requested = Event::MigrationRequested(body);
        let asked =
            world.append(Actor::Person(APPROVER), Position::NONE, requested, Condition::None).expect("an event");
        for _ in 0..3 {
            world.settle();
            world.clock.advance(Duration::from_secs(24 * 60 * 60));
        }
        assert!(world.pivots() == 0, "stopped after {stop_after}\n{}", world.story());
        // Nobody asks for another one with either mailbox meanwhile.
        for mailbox in [source, target] {
            let body = MigrationRequested { source: target, target: source, exclude: Vec::new(), max_bytes: None };
            let requested = Event::MigrationRequested(body);
            let refused =
                world.append(Actor::Person(APPROVER), Position::NONE, requested, Condition::NotMigrating(mailbox));
            assert!(refused.is_err());
        }
        let migration = MigrationId(asked.first);
        let ended =
            MigrationEnded { migration, end: MigrationEnd::Verified, code: String::new(), looked_at: Position(1) };
        world.append(Actor::Daemon, migration.0, Event::MigrationEnded(ended), Condition::None).expect("an event");
        world.finish();
        // What had not begun before has lost its approval in the meantime.
        let began = world.log().iter().any(|recorded| matches!(recorded.event(), Some(Event::SagaStarted(_))));
        let expected = if began { EntityState::Purged } else { EntityState::Visible };
        assert_eq!(world.state_of(contact), expected, "stopped after {stop_after}\n{}", world.story());
    }
}

//! Holds as cases, and pauses: at every step of a run, whatever they cover, and until when.

use std::time::Duration;

use retention_core::event::hold::{HoldPlaced, PauseScope, StandingQuery, v1};
use retention_core::id::{EntityId, RequestId, RunId};
use retention_core::record::Kind;
use retention_core::time::Timestamp;
use retention_core::view::{EntityState, RunState};
use retention_tests::world::{APPROVER, World};
use retentiond::clock::Clock as _;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) struct Race {
    pub(crate) world: World,
    pub(crate) mailbox: EntityId,
    pub(crate) contact: EntityId,
    pub(crate) run: RunId,
    pub(crate) was_past_pivot: bool,
}

/// Runs with something that happens after every number of steps, until the run is over before it could happen.
pub(crate) fn at_every_step(happens: impl Fn(&mut Race), then: impl Fn(&mut Race)) {
    for steps in 0.. {
        let mut world = World::new("P1D");
        // A mailbox that is due itself would be in the plan.
        let mailbox = world.add("m", "2026-01-01");
        let contact = world.add_in(mailbox, "a", "2020-01-01");
        world.settle();
        let (_, run) = world.approved_run("contacts");
        let is_over = world.run_for(steps);
        let was_past_pivot = world.pivots() > 0;
        let mut race = Race { world, mailbox, contact, run, was_past_pivot };
        happens(&mut race);
        race.world.check();
        then(&mut race);
        race.world.check();
        if is_over {
            assert!(steps > 8, "a run takes more than {steps} steps");
            return;
        }
    }
}

pub(crate) fn case() -> HoldPlaced {
    v1::HoldPlaced { name: "case".to_owned(), reason: "order".to_owned(), entities: Vec::new() }.into()
}

pub(crate) fn standing(kinds: &[Kind], sources: &[&str]) -> StandingQuery {
    let sources = sources.iter().map(|source| (*source).to_owned()).collect();
    StandingQuery { kinds: kinds.to_vec(), sources, seen_from: None, seen_until: None }
}

/// The filter of what has an id.
pub(crate) fn id_is(id: &str) -> String {
    format!("{{ field = \"id\", op = \"eq\", value = \"{id}\" }}")
}

#[test]
fn a_hold_of_any_form_at_any_moment_before_the_intent_keeps_the_entity() {
    type Cover = fn(&Race) -> HoldPlaced;
    let covers: [Cover; 6] = [
        |race| HoldPlaced { mailboxes: vec![race.mailbox], ..case() },
        |_| HoldPlaced { policies: vec!["contacts".to_owned()], ..case() },
        |_| HoldPlaced { standing: Some(standing(&[Kind::Contact], &[])), ..case() },
        |_| HoldPlaced { standing: Some(standing(&[], &["crm"])), ..case() },
        |_| HoldPlaced { filter: id_is("a"), standing: Some(standing(&[Kind::Contact], &[])), ..case() },
        // Nobody can tell whether it matches.
        |_| {
            let filter = "{ field = \"email1\", op = \"eq\", value = \"ada@example.org\" }".to_owned();
            HoldPlaced { filter, standing: Some(standing(&[Kind::Contact], &["crm"])), ..case() }
        },
    ];
    for cover in covers {
        at_every_step(
            |race| {
                let body = cover(race);
                assert!(race.world.place_hold(body).is_some());
            },
            |race| {
                race.world.finish();
                let expected = if race.was_past_pivot { EntityState::Purged } else { EntityState::Visible };
                assert_eq!(race.world.state_of(race.contact), expected, "{}", race.world.story());
                assert_eq!(race.world.run_state(race.run), RunState::Completed);
            },
        );
    }
}

#[test]
fn a_hold_of_something_else_keeps_nothing() {
    at_every_step(
        |race| {
            for body in [
                HoldPlaced { standing: Some(standing(&[Kind::Deal], &[])), ..case() },
                HoldPlaced { standing: Some(standing(&[Kind::Contact], &["elsewhere"])), ..case() },
                HoldPlaced { policies: vec!["another".to_owned()], ..case() },
                HoldPlaced {
                    standing: Some(StandingQuery {
                        seen_from: Some("2027-01-01".parse().unwrap()),
                        ..standing(&[Kind::Contact], &[])
                    }),
                    ..case()
                },
            ] {
                race.world.place_hold(body);
            }
        },
        |race| {
            race.world.finish();
            assert_eq!(race.world.state_of(race.contact), EntityState::Purged, "{}", race.world.story());
        },
    );
}

#[test]
fn a_standing_query_and_a_held_mailbox_catch_what_arrives_later() {
    let mut world = World::new("P0D");
    let mailbox = world.add("m", "2026-01-01");
    world.place_hold(HoldPlaced { mailboxes: vec![mailbox], ..case() });
    world.place_hold(HoldPlaced { standing: Some(standing(&[Kind::Contact], &["crm"])), ..case() });
    world.settle();
    let inside = world.add_in(mailbox, "a", "2020-01-01");
    let outside = world.add("b", "2020-01-01");
    world.settle();
    let holds = |world: &World, entity| world.store().view(|views| views.holds_of(entity).len());
    assert_eq!((holds(&world, inside), holds(&world, outside), holds(&world, mailbox)), (2, 1, 2));
    world.request_plan("contacts").expect("a plan");
    world.settle();
    let frozen = world.store().view(|views| views.small.plans.iter().last().and_then(|(_, plan)| plan.frozen.clone()));
    let frozen = frozen.expect("a plan");
    assert_eq!(frozen.items, 0, "{}", world.story());
    assert!(frozen.kept.iter().any(|kept| kept.reason == "held" && kept.count == 2), "{:?}", frozen.kept);
    // Also from the views that a restart makes, with or without sled.
    world.reopen();
    assert_eq!((holds(&world, inside), holds(&world, outside)), (2, 1));
    world.lose_sled();
    assert_eq!((holds(&world, inside), holds(&world, outside)), (2, 1));
}

#[test]
fn a_released_hold_protects_until_its_delay_is_over_and_many_holds_until_the_last() {
    let mut world = World::new("P0D");
    let contact = world.add("a", "2020-01-01");
    world.settle();
    let (first, second) = (world.hold(&[contact]).expect("a hold"), world.hold(&[contact]).expect("a hold"));
    let later = |world: &World, days: i64| Timestamp(world.clock.now().0 + days * 86_400_000_000);
    let due = |world: &mut World| {
        world.request_plan("contacts").expect("a plan");
        world.settle();
        let last = |views: &retention_core::view::Views| views.small.plans.iter().last().map(|(_, plan)| plan.clone());
        world.store().view(last).and_then(|plan| plan.frozen).expect("a plan").items
    };
    let until = later(&world, 30);
    world.release_until(first, until);
    assert_eq!(due(&mut world), 0);
    // A second release cannot make it shorter.
    let sooner = later(&world, 1);
    world.release_until(first, sooner);
    world.clock.advance(DAY * 29);
    assert_eq!(due(&mut world), 0);
    world.clock.advance(DAY * 2);
    assert_eq!(due(&mut world), 0, "the other one holds still");
    world.release(second);
    assert_eq!(due(&mut world), 1, "{}", world.story());
}

#[test]
fn holds_that_wait_for_a_look_are_known() {
    let mut world = World::new("P0D");
    let review_at = "2026-06-01".parse().unwrap();
    let hold = world.place_hold(HoldPlaced {
        policies: vec!["contacts".to_owned()],
        review_at: Some(review_at),
        owner: "legal".to_owned(),
        ..case()
    });
    let hold = hold.expect("a hold");
    let waits = |world: &World, at: &str| {
        let at = at.parse().unwrap();
        world.store().view(|views| views.small.holds.get(hold).is_some_and(|hold| hold.is_due_for_review(at)))
    };
    assert!(!waits(&world, "2026-05-31"));
    assert!(waits(&world, "2026-06-01"));
    world.release(hold);
    assert!(!waits(&world, "2026-06-01"));
}

#[test]
fn a_pause_of_any_width_at_any_step_purges_nothing_until_it_is_resumed() {
    let scopes: [fn(&Race) -> PauseScope; 3] =
        [|_| PauseScope::All, |_| PauseScope::Policy("contacts".to_owned()), |race| PauseScope::Mailbox(race.mailbox)];
    for scope in scopes {
        at_every_step(
            |race| {
                let scope = scope(race);
                race.world.pause_disposal(scope);
            },
            |race| {
                let was_over = race.world.run_state(race.run) == RunState::Completed;
                for _ in 0..3 {
                    race.world.settle();
                    race.world.clock.advance(Duration::from_secs(6 * 3_600));
                }
                race.world.reopen();
                race.world.settle();
                if !race.was_past_pivot {
                    assert!(race.world.pivots() == 0, "{}", race.world.story());
                    assert_ne!(race.world.state_of(race.contact), EntityState::Purged);
                }
                assert!(was_over || race.was_past_pivot || race.world.run_state(race.run) != RunState::Completed);
                let scope = scope(race);
                race.world.resume_disposal(scope);
                race.world.clock.advance(DAY);
                race.world.finish();
                // What had not begun has lost its approval in the meantime, perhaps.
                let expected = match race.world.run_state(race.run) {
                    RunState::Refused => EntityState::Visible,
                    _ => EntityState::Purged,
                };
                assert_eq!(race.world.state_of(race.contact), expected, "{}", race.world.story());
            },
        );
    }
}

/// The request that was made last.
fn newest_request(world: &World) -> RequestId {
    world.store().view(|views| views.small.subjects.iter().last().map(|(id, _)| id)).expect("a request")
}

#[test]
fn a_pause_of_a_data_subject_at_any_step_purges_nothing_of_theirs_until_it_is_resumed() {
    at_every_step(
        |race| {
            let request = race.world.ask_for_erasure().expect("a request");
            race.world.identify(request, &[race.contact]).expect("an identification");
            race.world.pause_disposal(PauseScope::Request(request));
        },
        |race| {
            let was_over = race.world.run_state(race.run) == RunState::Completed;
            for _ in 0..3 {
                race.world.settle();
                race.world.clock.advance(Duration::from_secs(6 * 3_600));
            }
            race.world.reopen();
            race.world.settle();
            race.world.lose_sled();
            race.world.settle();
            if !race.was_past_pivot {
                assert!(race.world.pivots() == 0, "{}", race.world.story());
                assert_ne!(race.world.state_of(race.contact), EntityState::Purged);
            }
            assert!(was_over || race.was_past_pivot || race.world.run_state(race.run) != RunState::Completed);
            let request = newest_request(&race.world);
            race.world.resume_disposal(PauseScope::Request(request));
            race.world.clock.advance(DAY);
            race.world.finish();
            let expected = match race.world.run_state(race.run) {
                RunState::Refused => EntityState::Visible,
                _ => EntityState::Purged,
            };
            assert_eq!(race.world.state_of(race.contact), expected, "{}", race.world.story());
        },
    );
}

#[test]
fn a_pause_of_a_data_subject_stops_their_erasure_and_nobody_elses_purge() {
    let mut world = World::new("P0D");
    let mailbox = world.add("m", "2026-01-01");
    let (theirs, beside) = (world.add_in(mailbox, "a", "2020-01-01"), world.add_in(mailbox, "b", "2020-01-01"));
    let elsewhere = world.add("c", "2020-01-01");
    world.settle();
    let request = world.ask_for_erasure().expect("a request");
    world.identify(request, &[theirs]).expect("an identification");
    world.settle();
    world.pause_disposal(PauseScope::Request(request));
    let (_, run) = world.approved_run("contacts");
    world.finish();
    let states =
        |world: &World| [theirs, beside, elsewhere].map(|entity| world.state_of(entity) == EntityState::Purged);
    // What is in one bundle with a record of theirs waits with it.
    assert_eq!(states(&world), [false, false, true], "{}", world.story());
    assert_eq!(world.run_state(run), RunState::Running);
    world.resume_disposal(PauseScope::Request(request));
    world.finish();
    assert_eq!(states(&world), [true, true, true], "{}", world.story());

    let mut world = World::new("P0D");
    let theirs = world.add("a", "2026-01-01");
    world.settle();
    let request = world.ask_for_erasure().expect("a request");
    world.identify(request, &[theirs]).expect("an identification");
    world.settle();
    let plan = *world.plans_of(request).last().expect("a plan");
    world.pause_disposal(PauseScope::Request(request));
    world.approve(plan, APPROVER);
    world.finish();
    assert_ne!(world.state_of(theirs), EntityState::Purged, "{}", world.story());
    world.resume_disposal(PauseScope::Request(request));
    world.finish();
    assert_eq!(world.state_of(theirs), EntityState::Purged, "{}", world.story());
}

#[test]
fn a_pause_of_another_policy_mailbox_or_data_subject_stops_nothing() {
    at_every_step(
        |race| {
            race.world.pause_disposal(PauseScope::Policy("another".to_owned()));
            let contact = race.contact;
            race.world.pause_disposal(PauseScope::Mailbox(contact));
            let request = race.world.ask_for_erasure().expect("a request");
            race.world.identify(request, &[race.mailbox]).expect("an identification");
            race.world.pause_disposal(PauseScope::Request(request));
        },
        |race| {
            race.world.finish();
            assert_eq!(race.world.state_of(race.contact), EntityState::Purged, "{}", race.world.story());
        },
    );
}

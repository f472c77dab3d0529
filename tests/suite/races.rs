//! Something comes in between two steps of a run, at every place there is.

use std::time::Duration;

use retention_core::event::saga::SkipReason;
use retention_core::event::{Event, Recorded};
use retention_core::id::{EntityId, RunId};
use retention_core::view::{Condition, Conflict, EntityState, PlanState, RunState};
use retention_tests::world::{APPROVER, REQUESTER, Stage, World, policy};
use retentiond::clock::Clock as _;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct Race {
    world: World,
    first: EntityId,
    second: EntityId,
    run: RunId,
    /// Whether the pivot's intent stood in the log when it happened.
    was_past_pivot: bool,
}

fn skipped(world: &World) -> Vec<(EntityId, SkipReason)> {
    let items = |recorded: &Recorded| match recorded.event() {
        Some(Event::ItemsSkipped(body)) => body.items.clone(),
        _ => Vec::new(),
    };
    world.log().iter().flat_map(items).collect()
}

/// Runs with something that happens after every number of steps, until the run is over before it could happen.
fn at_every_step(quarantine: &str, happens: impl Fn(&mut Race), then: impl Fn(&mut Race)) {
    for steps in 0.. {
        let mut world = World::new(quarantine);
        let (first, second) = (world.add("a", "2020-01-01"), world.add("b", "2021-01-01"));
        world.settle();
        let (_, run) = world.approved_run("contacts");
        let is_over = world.run_for(steps);
        let was_past_pivot = world.pivots() > 0;
        let mut race = Race { world, first, second, run, was_past_pivot };
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

#[test]
fn a_hold_at_any_moment_before_the_intent_keeps_the_entity_for_ever() {
    at_every_step(
        "P1D",
        |race| {
            race.world.hold(&[race.first]);
        },
        |race| {
            race.world.finish();
            let expected = if race.was_past_pivot { EntityState::Purged } else { EntityState::Visible };
            assert_eq!(race.world.state_of(race.first), expected, "{}", race.world.story());
            assert_eq!(race.world.state_of(race.second), EntityState::Purged);
            assert_eq!(race.world.run_state(race.run), RunState::Completed);
        },
    );
}

/// Runs two sagas with something that happens to the item of the second after every number of steps, until the run is
/// over before it could happen.
fn to_the_next_saga(happens: impl Fn(&mut World, EntityId), kept: EntityState) {
    for steps in 0.. {
        let mut world = World::new("P0D");
        let mailbox = world.add("m", "2026-01-01");
        let (first, second) = (world.add_in(mailbox, "a", "2020-01-01"), world.add("b", "2021-01-01"));
        world.settle();
        let (_, run) = world.approved_run("contacts");
        let is_over = world.run_for(steps);
        let pivots = world.pivots();
        happens(&mut world, second);
        world.check();
        world.finish();
        assert_eq!(world.state_of(first), EntityState::Purged, "{}", world.story());
        let expected = if pivots == 2 { EntityState::Purged } else { kept };
        assert_eq!(world.state_of(second), expected, "{}", world.story());
        assert_eq!(world.run_state(run), RunState::Completed);
        if is_over {
            assert!(steps > 16, "two sagas take more than {steps} steps");
            return;
        }
    }
}

#[test]
fn what_is_made_ahead_of_a_saga_is_not_purged_when_it_changes_meanwhile() {
    to_the_next_saga(|world, second| world.change(second, "changed"), EntityState::Visible);
}

#[test]
fn what_is_made_ahead_of_a_saga_is_not_purged_when_it_is_held_meanwhile() {
    to_the_next_saga(
        |world, second| {
            let _hold = world.hold(&[second]);
        },
        EntityState::Visible,
    );
}

#[test]
fn what_is_made_ahead_of_a_saga_survives_a_restart_at_any_step() {
    to_the_next_saga(|world, _| world.reopen(), EntityState::Purged);
}

#[test]
fn what_changes_before_the_intent_is_left_alone_as_drift_and_never_replaced() {
    at_every_step(
        "P0D",
        |race| {
            race.world.change(race.first, "changed");
            // Due as well, and in no plan: it must not take the other's place.
            race.world.add("late", "2019-01-01");
        },
        |race| {
            let late = EntityId(race.second.0 + 1);
            race.world.finish();
            if race.was_past_pivot {
                assert_eq!(race.world.state_of(race.first), EntityState::Purged);
            } else {
                assert_eq!(race.world.state_of(race.first), EntityState::Visible);
                assert_eq!(skipped(&race.world), [(race.first, SkipReason::Changed)], "{}", race.world.story());
            }
            assert_eq!(race.world.state_of(late), EntityState::Visible);
            assert_eq!(race.world.state_of(race.second), EntityState::Purged);
        },
    );
}

#[test]
fn what_is_restored_from_quarantine_is_never_purged_by_that_run() {
    at_every_step(
        "P7D",
        |race| {
            let was_hidden = race.world.state_of(race.first) == EntityState::Quarantined;
            let is_restored = race.world.restore(race.first);
            assert_eq!(is_restored, was_hidden && !race.was_past_pivot, "{}", race.world.story());
        },
        |race| {
            let was_restored = race.world.log().iter().any(|r| matches!(r.event(), Some(Event::EntityRestored(_))));
            race.world.finish();
            let expected = if was_restored { EntityState::Visible } else { EntityState::Purged };
            assert_eq!(race.world.state_of(race.first), expected, "{}", race.world.story());
            assert_eq!(race.world.state_of(race.second), EntityState::Purged);
        },
    );
}

#[test]
fn a_paused_run_purges_nothing_more_until_it_is_resumed() {
    at_every_step(
        "P1D",
        |race| race.world.pause(race.run),
        |race| {
            let is_paused = race.world.run_state(race.run) == RunState::Paused;
            race.world.clock.advance(DAY * 30);
            race.world.settle();
            if is_paused && !race.was_past_pivot {
                assert_ne!(race.world.state_of(race.first), EntityState::Purged, "{}", race.world.story());
                assert_eq!(race.world.run_state(race.run), RunState::Paused);
            }
            race.world.resume(race.run);
            race.world.finish();
            // Before it began, there was nothing to pause, and its approval has run out.
            let expected = match race.world.run_state(race.run) {
                RunState::Refused => EntityState::Visible,
                _ => EntityState::Purged,
            };
            assert_eq!(race.world.state_of(race.first), expected, "{}", race.world.story());
        },
    );
}

#[test]
fn a_cancelled_run_leaves_no_trace_before_the_intent_and_is_finished_after_it() {
    at_every_step(
        "P1D",
        |race| race.world.cancel(race.run),
        |race| {
            let is_cancelling = race.world.run_state(race.run) == RunState::Cancelling;
            race.world.finish();
            let (state, entries) = match is_cancelling && !race.was_past_pivot {
                true => (EntityState::Visible, 0),
                false => (EntityState::Purged, 1),
            };
            for entity in [race.first, race.second] {
                assert_eq!(race.world.state_of(entity), state, "{}", race.world.story());
            }
            assert_eq!(race.world.export_entries(), entries, "{}", race.world.story());
        },
    );
}

#[test]
fn a_policy_that_keeps_longer_from_now_on_stops_what_is_not_yet_purged() {
    at_every_step(
        "P1D",
        |race| {
            let longer = policy("contacts", "P1D").replace("\"P1Y\"", "\"P30Y\"").replace("\"due\"", "\"keep\"");
            race.world.write_policy("contacts", &longer);
            race.world.step(Stage::Policies);
        },
        |race| {
            race.world.finish();
            let expected = if race.was_past_pivot { EntityState::Purged } else { EntityState::Visible };
            assert_eq!(race.world.state_of(race.first), expected, "{}", race.world.story());
        },
    );
}

/// What is due under the policy as it is now goes on only if that policy still does the same.
#[test]
fn a_policy_that_does_something_else_from_now_on_purges_nothing_any_more() {
    let purging = policy("contacts", "P1D");
    let restricting = purging.replace("kind = \"purge\"\nquarantine = \"P1D\"", "kind = \"restrict\"");
    let restricting = restricting.replace("[export]\nrequired = true\nformats = [\"jsonl\", \"csv\"]\n", "");
    let redacting = purging
        .replace("kind = \"purge\"", "kind = \"redact\"\nfields = { display_name = \"remove\" }")
        .replace("{ created = 2020-01-01T00:00:00Z }", "{ created = 2020-01-01T00:00:00Z, display_name = \"x\" }");
    let simulated = purging.replace("\"enforce\"", "\"simulate\"");
    for text in [restricting, redacting, simulated] {
        let before = |world: &World| world.store().view(|views| views.small.policies.digest);
        at_every_step(
            "P1D",
            |race| {
                let digest = before(&race.world);
                race.world.write_policy("contacts", &text);
                race.world.step(Stage::Policies);
                assert_ne!(before(&race.world), digest, "the policy is not taken in: {text}");
            },
            |race| {
                race.world.finish();
                let expected = if race.was_past_pivot { EntityState::Purged } else { EntityState::Visible };
                assert_eq!(race.world.state_of(race.first), expected, "{}", race.world.story());
            },
        );
    }
}

fn planned() -> (World, EntityId, retention_core::id::PlanId) {
    let mut world = World::new("P0D");
    let due = world.add("a", "2020-01-01");
    world.settle();
    let plan = world.request_plan("contacts").unwrap();
    world.settle();
    (world, due, plan)
}

fn refusal(world: &World, run: RunId) -> Option<String> {
    world.store().view(|views| views.small.runs.run(run)?.refused.clone())
}

#[test]
fn the_one_who_asked_cannot_accept() {
    let (mut world, due, plan) = planned();
    world.approve(plan, REQUESTER);
    let run = world.request_run(plan).unwrap();
    world.finish();
    assert_eq!(refusal(&world, run).as_deref(), Some("not_approved"));
    assert_eq!(world.state_of(due), EntityState::Visible);
}

#[test]
fn an_approval_loses_its_force_with_time() {
    let (mut world, due, plan) = planned();
    world.approve(plan, APPROVER);
    world.clock.advance(DAY);
    let run = world.request_run(plan).unwrap();
    world.finish();
    assert_eq!(refusal(&world, run).as_deref(), Some("not_approved"));
    assert_eq!(world.state_of(due), EntityState::Visible);
}

#[test]
fn a_refused_plan_never_runs() {
    let (mut world, due, plan) = planned();
    world.approve(plan, APPROVER);
    world.reject(plan);
    let run = world.request_run(plan).unwrap();
    world.finish();
    assert_eq!(refusal(&world, run).as_deref(), Some("plan_rejected"));
    assert_eq!(world.state_of(due), EntityState::Visible);
}

#[test]
fn a_plan_is_used_once() {
    let (mut world, due, plan) = planned();
    world.approve(plan, APPROVER);
    let runs = [world.request_run(plan).unwrap(), world.request_run(plan).unwrap()];
    world.finish();
    assert_eq!(world.run_state(runs[0]), RunState::Completed);
    assert_eq!(refusal(&world, runs[1]).as_deref(), Some("plan_used"));
    assert_eq!(world.state_of(due), EntityState::Purged);
}

/// A run that leaves an entity to another run let it be seen again, although the other had hidden it: then nobody
/// could take it back out of quarantine, and it was purged in plain sight.
#[test]
fn of_two_runs_with_the_same_entities_one_purges_and_what_it_hides_stays_hidden() {
    let mut world = World::new("P7D");
    let due = world.add("a", "2020-01-01");
    world.settle();
    let plans = [world.request_plan("contacts").unwrap(), world.request_plan("contacts").unwrap()];
    world.settle();
    let runs = plans.map(|plan| {
        world.approve(plan, APPROVER);
        world.request_run(plan).unwrap()
    });
    world.settle();
    assert_eq!(world.run_state(runs[0]), RunState::Running);
    assert_eq!(world.state_of(due), EntityState::Quarantined, "{}", world.story());
    world.finish();
    assert_eq!(world.state_of(due), EntityState::Purged);
    assert_eq!(skipped(&world), [(due, SkipReason::InAnotherRun)]);
    assert_eq!(world.bundles(), 1, "{}", world.story());
    let state =
        world.store().view(|views| views.small.plans.get(plans[1]).unwrap().state(retention_core::time::Timestamp(0)));
    assert_eq!(state, PlanState::Used);
}

#[test]
fn one_person_accepts_a_plan_once_for_as_long_as_it_counts() {
    let mut world = World::new("P1D");
    world.add("a", "2020-01-01");
    let plan = world.request_plan("contacts").expect("a plan");
    world.settle();
    let in_the_way = |world: &World, uid| {
        let condition = Condition::NotAccepted { plan, uid, at: world.clock.now() };
        world.store().view(|views| condition.check(views).err())
    };
    assert_eq!(in_the_way(&world, APPROVER), None);
    world.approve(plan, APPROVER);
    let asked_again = [APPROVER, APPROVER + 1].map(|uid| in_the_way(&world, uid));
    assert_eq!(asked_again, [Some(Conflict::Plan), None]);
    world.clock.advance(DAY);
    assert_eq!(in_the_way(&world, APPROVER), None, "it counted for a day");
}

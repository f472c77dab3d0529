//! Data subjects: erasures go through the one door, whatever stands in their way is obeyed at every step, and they are
//! taken up again when it has gone away. What is restricted is left alone by everybody.

use std::time::Duration;

use retention_core::event::hold::{HoldPlaced, v1};
use retention_core::event::saga::Step;
use retention_core::event::subject::{KeptWhy, RequestEnd};
use retention_core::event::{Event, Recorded};
use retention_core::id::{EntityId, PlanId, RequestId};
use retention_core::time::Timestamp;
use retention_core::view::{EntityState, PlanState, RequestState};
use retention_tests::crash::{Remains, at_every_flush};
use retention_tests::invariants::MARKER;
use retention_tests::world::{APPROVER, OFFICER, Stage, Stepped, World, policy};
use retentiond::clock::Clock as _;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn has(log: &[Recorded], wanted: impl Fn(&Event) -> bool) -> bool {
    log.iter().any(|recorded| recorded.event().is_some_and(&wanted))
}

fn plan_state(world: &World, plan: PlanId) -> PlanState {
    let now = world.clock.now();
    world.store().view(|views| views.small.plans.get(plan).unwrap().state(now))
}

fn kept(world: &World, request: RequestId) -> Vec<(EntityId, KeptWhy)> {
    world
        .store()
        .view(|views| views.small.subjects.get(request).unwrap().kept.iter().map(|(e, why)| (*e, *why)).collect())
}

/// Two records of a person whom no policy would touch, one of somebody else, and the plan of the erasure.
fn planned() -> (World, RequestId, [EntityId; 2], EntityId, PlanId) {
    let mut world = World::new("P7D");
    let records = [world.add("a", "2026-01-01"), world.add("b", "2026-01-02")];
    let other = world.add("c", "2026-01-03");
    world.settle();
    let request = world.ask_for_erasure().unwrap();
    world.settle();
    assert_eq!((world.request_state(request), world.plans_of(request).len()), (RequestState::Received, 0));
    world.identify(request, &records);
    world.settle();
    let plans = world.plans_of(request);
    assert_eq!(plans.len(), 1, "{}", world.story());
    (world, request, records, other, plans[0])
}

fn one_step(world: &mut World) -> bool {
    let run = world.step(Stage::Run);
    let schedule = world.step(Stage::Schedule);
    [run, schedule].iter().any(|step| matches!(step, Stepped::Worked | Stepped::Crashed))
}

#[test]
fn an_erasure_is_planned_accepted_exported_verified_and_purged() {
    let (mut world, request, records, other, plan) = planned();
    assert_eq!(plan_state(&world, plan), PlanState::AwaitingApproval);
    assert_eq!(world.request_state(request), RequestState::Identified);
    world.approve(plan, APPROVER);
    world.finish();
    for record in records {
        assert_eq!(world.state_of(record), EntityState::Purged, "{}", world.story());
    }
    assert_eq!(world.state_of(other), EntityState::Visible);
    assert_eq!((world.request_state(request), world.bundles()), (RequestState::Erased, 1));
    assert_eq!(world.plans_of(request), [plan], "nothing is left to plan");
    world.complete(request, RequestEnd::Fulfilled);
    world.settle();
    assert_eq!(world.request_state(request), RequestState::Completed);
    world.check();
}

#[test]
fn whoever_said_which_records_it_is_about_cannot_accept() {
    let (mut world, request, records, _, plan) = planned();
    world.approve(plan, OFFICER);
    world.finish();
    assert_eq!(plan_state(&world, plan), PlanState::AwaitingApproval);
    assert_eq!(world.state_of(records[0]), EntityState::Visible);
    assert_eq!(world.plans_of(request), [plan]);
}

/// Lets something happen after every number of steps of the run of an erasure, until it is over before that.
fn at_every_step(
    happens: impl Fn(&mut World, RequestId, EntityId),
    then: impl Fn(&mut World, RequestId, EntityId, bool),
) {
    for steps in 0.. {
        let (mut world, request, records, _, plan) = planned();
        world.approve(plan, APPROVER);
        let mut is_over = false;
        for _ in 0..steps {
            is_over |= !one_step(&mut world);
        }
        let was_past_pivot = world.pivots() > 0;
        happens(&mut world, request, records[0]);
        world.check();
        world.finish();
        assert_eq!(world.state_of(records[1]), EntityState::Purged, "{steps}: {}", world.story());
        let expected = if was_past_pivot { EntityState::Purged } else { EntityState::Visible };
        assert_eq!(world.state_of(records[0]), expected, "{steps}: {}", world.story());
        let state = if was_past_pivot { RequestState::Erased } else { RequestState::RefusedInPart };
        assert_eq!(world.request_state(request), state, "{steps}: {}", world.story());
        then(&mut world, request, records[0], was_past_pivot);
        world.check();
        if is_over {
            assert!(steps > 8, "an erasure takes more than {steps} steps");
            return;
        }
    }
}

/// What kept a record has gone away: another plan is there, and goes its whole way.
fn is_taken_up_again(world: &mut World, request: RequestId, record: EntityId) {
    world.settle();
    let plans = world.plans_of(request);
    assert_eq!(plans.len(), 2, "{}", world.story());
    assert_eq!(plan_state(world, plans[1]), PlanState::AwaitingApproval, "{}", world.story());
    world.approve(plans[1], APPROVER);
    world.finish();
    assert_eq!(world.state_of(record), EntityState::Purged, "{}", world.story());
    assert_eq!(world.request_state(request), RequestState::Erased);
}

#[test]
fn a_hold_at_any_moment_before_the_intent_refuses_in_part_and_its_end_takes_the_erasure_up_again() {
    at_every_step(
        |world, _, record| {
            world.hold(&[record]);
        },
        |world, request, record, was_past_pivot| {
            if was_past_pivot {
                return;
            }
            assert_eq!(kept(world, request), [(record, KeptWhy::Held)]);
            let hold = world.store().view(|views| views.holds_of(record)[0]);
            let until = retention_core::time::Timestamp(world.clock.now().0 + 30 * 86_400_000_000);
            world.release_until(hold, until);
            world.settle();
            assert_eq!(world.plans_of(request).len(), 1, "it protects for 30 days still");
            world.clock.advance(DAY * 31);
            // The jump is no doubt: the machine was awake.
            world.settle();
            is_taken_up_again(world, request, record);
        },
    );
}

#[test]
fn a_restriction_at_any_moment_before_the_intent_keeps_the_record() {
    at_every_step(
        |world, _, record| {
            world.restrict(&[record]);
        },
        |world, request, record, was_past_pivot| {
            if was_past_pivot {
                return;
            }
            assert_eq!(kept(world, request), [(record, KeptWhy::Restricted)]);
            let restriction = world.store().view(|views| views.small.restrictions.of(record)[0]);
            world.lift(restriction, &[]);
            is_taken_up_again(world, request, record);
        },
    );
}

#[test]
fn an_exception_at_any_moment_before_the_intent_keeps_the_record() {
    at_every_step(
        |world, request, record| {
            world.except(request, &[record]);
        },
        |world, request, record, was_past_pivot| {
            if was_past_pivot {
                return;
            }
            let exception = world.store().view(|views| {
                let request = views.small.subjects.get(request).unwrap();
                *request.exceptions.first_key_value().unwrap().0
            });
            world.end_exception(request, exception);
            is_taken_up_again(world, request, record);
        },
    );
}

#[test]
fn a_withdrawn_request_erases_nothing_more() {
    for steps in 0.. {
        let (mut world, request, records, _, plan) = planned();
        world.approve(plan, APPROVER);
        let mut is_over = false;
        for _ in 0..steps {
            is_over |= !one_step(&mut world);
        }
        let was_past_pivot = world.pivots() > 0;
        world.complete(request, RequestEnd::Withdrawn);
        world.finish();
        let expected = if was_past_pivot { EntityState::Purged } else { EntityState::Visible };
        for record in records {
            assert_eq!(world.state_of(record), expected, "{steps}: {}", world.story());
        }
        world.check();
        if is_over {
            return;
        }
    }
}

#[test]
fn what_is_restricted_before_the_export_is_not_even_copied() {
    let (mut world, request, records, _, plan) = planned();
    world.approve(plan, APPROVER);
    // Up to the saga, which judges its items, and not its export.
    while !has(&world.log(), |event| matches!(event, Event::SagaStarted(_))) {
        assert!(one_step(&mut world));
    }
    assert!(!has(&world.log(), |event| matches!(event, Event::StepStarted(_))), "{}", world.story());
    world.restrict(&[records[0]]);
    world.finish();
    let exported = world.log().iter().find_map(|recorded| match recorded.event() {
        Some(Event::StepSucceeded(body)) if body.step == Step::Export => Some(body.receipt.clone()),
        _ => None,
    });
    assert!(
        matches!(exported, Some(retention_core::event::saga::Receipt::Exported { items: 1, .. })),
        "{}",
        world.story()
    );
    assert_eq!(kept(&world, request), [(records[0], KeptWhy::Restricted)]);
}

#[test]
fn a_policy_purges_nothing_that_is_restricted_at_any_step() {
    for steps in 0.. {
        let mut world = World::new("P1D");
        let (first, second) = (world.add("a", "2020-01-01"), world.add("b", "2021-01-01"));
        world.settle();
        let (_, _run) = world.approved_run("contacts");
        let is_over = world.run_for(steps);
        let was_past_pivot = world.pivots() > 0;
        let restriction = world.restrict(&[first]).unwrap();
        world.check();
        world.finish();
        let expected = if was_past_pivot { EntityState::Purged } else { EntityState::Visible };
        assert_eq!(world.state_of(first), expected, "{steps}: {}", world.story());
        assert_eq!(world.state_of(second), EntityState::Purged);
        if !was_past_pivot {
            world.lift(restriction, &[]);
            world.settle();
            let _again = world.approved_run("contacts");
            world.finish();
            assert_eq!(world.state_of(first), EntityState::Purged, "{}", world.story());
        }
        if is_over {
            assert!(steps > 8, "a run takes more than {steps} steps");
            return;
        }
    }
}

#[test]
fn a_minimum_refuses_in_part_until_it_is_over() {
    let mut world = World::new("P0D");
    let minimum = policy("contacts", "P0D").replace("\"P1Y\"", "\"P1Y\"\nmin_keep = \"P1Y\"");
    world.write_policy("contacts", &minimum);
    let record = world.add("a", "2026-01-01");
    world.settle();
    let request = world.ask_for_erasure().unwrap();
    world.identify(request, &[record]);
    world.settle();
    assert_eq!(world.request_state(request), RequestState::RefusedInPart, "{}", world.story());
    assert!(matches!(kept(&world, request)[..], [(_, KeptWhy::Until { .. })]));
    assert_eq!(plan_state(&world, world.plans_of(request)[0]), PlanState::Empty);
    world.clock.advance(DAY * 360);
    world.settle();
    is_taken_up_again(&mut world, request, record);
}

#[test]
fn a_plan_that_a_person_refused_comes_back_only_after_another_look() {
    let (mut world, request, records, _, plan) = planned();
    world.reject(plan);
    world.clock.advance(DAY);
    world.settle();
    assert_eq!(world.plans_of(request), [plan]);
    world.identify(request, &records[1..]);
    world.settle();
    let plans = world.plans_of(request);
    assert_eq!(plans.len(), 2);
    world.approve(plans[1], APPROVER);
    world.finish();
    assert_eq!(world.state_of(records[0]), EntityState::Visible, "it is not theirs after all");
    assert_eq!(world.state_of(records[1]), EntityState::Purged);
}

#[test]
fn what_changes_while_it_is_erased_is_planned_anew() {
    let (mut world, request, records, _, plan) = planned();
    world.change(records[0], "changed");
    world.approve(plan, APPROVER);
    world.finish();
    assert_eq!(world.state_of(records[0]), EntityState::Visible);
    assert_eq!(world.state_of(records[1]), EntityState::Purged);
    is_taken_up_again(&mut world, request, records[0]);
}

#[test]
fn requests_and_restrictions_outlive_the_loss_of_sled() {
    let (mut world, request, records, ..) = planned();
    let restriction = world.restrict(&records[..1]).unwrap();
    world.except(request, &records[1..]);
    let before = world.store().view(|views| (views.small.subjects.clone(), views.small.restrictions.clone()));
    world.lose_sled();
    let after = world.store().view(|views| (views.small.subjects.clone(), views.small.restrictions.clone()));
    assert_eq!(before, after);
    assert!(after.1.get(restriction).is_some());
}

/// Returns whether the scenario reached the flush.
fn stop_at(nth: u64, remains: Remains) -> bool {
    let mut world = World::new("P0D");
    let records = [world.add("a", "2026-01-01"), world.add("b", "2026-01-02")];
    let held = world.add("c", "2026-01-03");
    world.hold(&[held]);
    world.settle();
    world.gate.crash_at(nth, remains);
    let before = world.crashes;
    // What was not acknowledged may be missing: a person then says it again.
    let request = loop {
        world.ask_for_erasure();
        let newest = world.store().view(|views| views.small.subjects.iter().next_back().map(|(id, _)| id));
        if let Some(request) = newest {
            break request;
        }
    };
    while world.request_state(request) == RequestState::Received {
        world.identify(request, &[records[0], records[1], held]);
    }
    for _ in 0..10 {
        world.finish();
        let waiting =
            world.plans_of(request).into_iter().find(|plan| plan_state(&world, *plan) == PlanState::AwaitingApproval);
        match waiting {
            Some(plan) => world.approve(plan, APPROVER),
            None => break,
        }
    }
    for record in records {
        assert_eq!(world.state_of(record), EntityState::Purged, "flush {nth}, {remains:?}\n{}", world.story());
    }
    assert_eq!(world.state_of(held), EntityState::Visible, "flush {nth}, {remains:?}");
    assert_eq!(world.request_state(request), RequestState::RefusedInPart);
    assert_eq!(kept(&world, request), [(held, KeptWhy::Held)]);
    assert_eq!(world.bundles(), 1, "flush {nth}, {remains:?}");
    let is_stopped = world.crashes > before;
    world.reopen();
    is_stopped
}

#[test]
fn an_erasure_survives_a_crash_at_every_flush() {
    for remains in Remains::ALL {
        at_every_flush("an erasure", remains, 18, stop_at);
    }
}

/// Everything is erased, and one bundle holds the copy of it.
fn erased() -> (World, RequestId, [EntityId; 2]) {
    let (mut world, request, records, _, plan) = planned();
    world.approve(plan, APPROVER);
    world.finish();
    assert_eq!((world.request_state(request), world.bundles()), (RequestState::Erased, 1));
    (world, request, records)
}

#[test]
fn the_copy_of_what_was_erased_goes_with_the_answer_and_not_before() {
    let (mut world, request, _) = erased();
    world.clock.advance(DAY * 20);
    world.settle();
    assert_eq!(world.bundles(), 1, "nobody has the answer yet");
    world.complete(request, RequestEnd::Fulfilled);
    world.finish();
    assert_eq!(world.export_entries(), 0, "{}", world.story());
    let destroyed = |event: &Event| matches!(event, Event::BundleDestroyed(body) if body.was_there);
    assert!(has(&world.log(), destroyed), "{}", world.story());
    let left = world.store().view(|views| views.bundles_left(views.small.subjects.get(request).unwrap()));
    assert_eq!(left, 0);
    world.check();
}

#[test]
fn a_hold_on_what_was_erased_keeps_the_copy_until_it_is_over() {
    let (mut world, request, records) = erased();
    let hold = world.hold(&records[1..]).unwrap();
    world.complete(request, RequestEnd::Fulfilled);
    world.settle();
    assert_eq!(world.bundles(), 1, "{}", world.story());
    world.release(hold);
    world.finish();
    assert_eq!(world.bundles(), 0, "{}", world.story());
}

#[test]
fn what_was_refused_in_part_is_erased_after_the_answer_when_the_hold_is_over() {
    let (mut world, request, records, _, plan) = planned();
    let hold = world.hold(&records[..1]).unwrap();
    world.approve(plan, APPROVER);
    world.finish();
    world.complete(request, RequestEnd::RefusedInPart);
    world.finish();
    assert_eq!((world.request_state(request), world.bundles()), (RequestState::Completed, 0));
    world.release(hold);
    world.finish();
    let plans = world.plans_of(request);
    assert_eq!(plans.len(), 2, "{}", world.story());
    world.approve(plans[1], APPROVER);
    world.finish();
    assert_eq!(world.state_of(records[0]), EntityState::Purged, "{}", world.story());
    assert_eq!(world.bundles(), 0, "its month is over too: {}", world.story());
    world.check();
}

#[test]
fn what_no_policy_could_decide_is_planned_again_under_other_policies() {
    let mut world = World::new("P7D");
    let suspended = policy("contacts", "P7D")
        .replace("\"P1Y\"", "\"P1Y\"\nsuspend_while = { field = \"display_name\", op = \"exists\" }");
    world.write_policy("contacts", &suspended);
    let record = world.add("a", "2026-01-01");
    world.settle();
    let request = world.ask_for_erasure().unwrap();
    world.identify(request, &[record]);
    world.settle();
    assert_eq!(kept(&world, request), [(record, KeptWhy::Undecided)], "{}", world.story());
    world.write_policy("contacts", &policy("contacts", "P7D"));
    world.settle();
    is_taken_up_again(&mut world, request, record);
    let plan = world.plans_of(request)[1];
    let frozen = world.store().view(|views| views.small.plans.get(plan).expect("a plan").frozen.clone());
    let tripped = frozen.expect("a whole plan").tripped;
    let told: Vec<&str> = tripped.iter().map(|tripped| tripped.guard.as_str()).collect();
    assert_eq!(told, ["cooling_off"], "whoever accepts it is told that a policy kept it until just now");
}

/// Returns whether the end of a request reached the flush.
fn stop_at_the_end(nth: u64, remains: Remains) -> bool {
    let (mut world, request, _) = erased();
    world.gate.crash_at(nth, remains);
    let before = world.crashes;
    while world.request_state(request) != RequestState::Completed {
        world.complete(request, RequestEnd::Fulfilled);
    }
    world.finish();
    assert_eq!(world.export_entries(), 0, "flush {nth}, {remains:?}\n{}", world.story());
    let destroyed = |recorded: &&Recorded| matches!(recorded.event(), Some(Event::BundleDestroyed(_)));
    assert_eq!(world.log().iter().filter(destroyed).count(), 1, "flush {nth}, {remains:?}");
    let is_stopped = world.crashes > before;
    world.reopen();
    is_stopped
}

#[test]
fn the_destruction_of_a_copy_survives_a_crash_at_every_flush() {
    for remains in Remains::ALL {
        at_every_flush("the destruction of a copy", remains, 4, stop_at_the_end);
    }
}

#[test]
fn an_exception_keeps_a_record_from_policies_and_from_other_requests() {
    let mut world = World::new("P0D");
    let record = world.add("a", "2020-01-01");
    world.settle();
    let (first, second) = (world.ask_for_erasure().unwrap(), world.ask_for_erasure().unwrap());
    world.identify(first, &[record]);
    world.except(first, &[record]);
    world.identify(second, &[record]);
    world.settle();
    assert_eq!(kept(&world, second), [(record, KeptWhy::Excepted)], "{}", world.story());
    let plan = world.request_plan("contacts").unwrap();
    world.settle();
    assert_eq!(plan_state(&world, plan), PlanState::Empty, "{}", world.story());
    let exception =
        world.store().view(|views| *views.small.subjects.get(first).unwrap().exceptions.first_key_value().unwrap().0);
    world.end_exception(first, exception);
    world.settle();
    assert_eq!((world.plans_of(first).len(), world.plans_of(second).len()), (1, 2), "{}", world.story());
}

#[test]
fn an_exception_keeps_its_records_until_somebody_ends_it_however_the_request_was_answered() {
    for end in [RequestEnd::Refused, RequestEnd::RefusedInPart, RequestEnd::Withdrawn] {
        let mut world = World::new("P0D");
        let record = world.add("a", "2020-01-01");
        world.settle();
        let request = world.ask_for_erasure().unwrap();
        world.identify(request, &[record]);
        world.except(request, &[record]);
        world.settle();
        world.complete(request, end);
        world.settle();
        assert_eq!(world.request_state(request), RequestState::Completed, "{}", world.story());
        let plan = world.request_plan("contacts").unwrap();
        world.settle();
        assert_eq!(plan_state(&world, plan), PlanState::Empty, "{end:?}: {}", world.story());
        let (exception, is_due) = world.store().view(|views| {
            let request = views.small.subjects.get(request).unwrap();
            (*request.exceptions.first_key_value().unwrap().0, request.is_due_for_review(Timestamp(i64::MAX)))
        });
        assert!(is_due, "somebody looks again");
        world.end_exception(request, exception);
        world.settle();
        let plan = world.request_plan("contacts").unwrap();
        world.settle();
        assert_ne!(plan_state(&world, plan), PlanState::Empty, "{end:?}: {}", world.story());
    }
}

#[test]
fn an_exception_that_comes_late_stops_the_purge_of_a_policy() {
    for steps in 0.. {
        let mut world = World::new("P0D");
        let record = world.add("a", "2020-01-01");
        world.settle();
        let request = world.ask_for_erasure().unwrap();
        world.identify(request, &[record]);
        world.settle();
        let (_, _run) = world.approved_run("contacts");
        let is_over = world.run_for(steps);
        let was_past_pivot = world.pivots() > 0;
        world.except(request, &[record]);
        world.finish();
        let expected = if was_past_pivot { EntityState::Purged } else { EntityState::Visible };
        assert_eq!(world.state_of(record), expected, "{steps}: {}", world.story());
        if is_over {
            return;
        }
    }
}

#[test]
fn a_hold_on_a_policy_holds_what_it_is_about_from_erasures_too() {
    let (mut world, request, records, _, plan) = planned();
    let case = v1::HoldPlaced { name: MARKER.to_owned(), reason: MARKER.to_owned(), entities: Vec::new() };
    let hold = world.place_hold(HoldPlaced { policies: vec!["contacts".to_owned()], ..case.into() }).unwrap();
    world.approve(plan, APPROVER);
    world.finish();
    for record in records {
        assert_eq!(world.state_of(record), EntityState::Visible, "{}", world.story());
    }
    let plans = world.plans_of(request).len();
    for _ in 0..3 {
        world.clock.advance(DAY * 2);
        world.settle();
    }
    assert_eq!(world.plans_of(request).len(), plans, "nothing changed, so nothing is planned: {}", world.story());
    world.release(hold);
    world.clock.advance(DAY);
    world.settle();
    let newest = *world.plans_of(request).last().unwrap();
    world.approve(newest, APPROVER);
    world.finish();
    assert_eq!(world.state_of(records[0]), EntityState::Purged, "{}", world.story());
}

#[test]
fn what_another_run_hides_is_planned_once_and_not_again_and_again() {
    let mut world = World::new("P30D");
    let record = world.add("a", "2020-01-01");
    world.settle();
    world.approved_run("contacts");
    world.settle();
    assert_eq!(world.state_of(record), EntityState::Quarantined);
    let request = world.ask_for_erasure().unwrap();
    world.identify(request, &[record]);
    for _ in 0..4 {
        world.settle();
        world.clock.advance(DAY);
    }
    assert_eq!(world.plans_of(request).len(), 1, "{}", world.story());
    world.finish();
    assert_eq!((world.state_of(record), world.request_state(request)), (EntityState::Purged, RequestState::Erased));
}

#[test]
fn a_plan_by_somebody_elses_words_is_made_anew() {
    let mut world = World::new("P7D");
    let records = [world.add("a", "2026-01-01"), world.add("b", "2026-01-02")];
    world.settle();
    let request = world.ask_for_erasure().unwrap();
    world.identify(request, &records[..1]);
    while world.plans_of(request).is_empty() {
        world.step(Stage::Schedule);
    }
    world.identify_as(APPROVER, request, &records);
    world.settle();
    let plans = world.plans_of(request);
    assert_eq!((plans.len(), plan_state(&world, plans[0])), (2, PlanState::Refused), "{}", world.story());
    world.approve(plans[1], APPROVER);
    world.finish();
    assert_eq!(world.state_of(records[0]), EntityState::Visible, "who said which records cannot accept");
}

#[test]
fn a_run_that_was_cancelled_is_not_the_end_of_an_erasure() {
    let (mut world, request, records, _, plan) = planned();
    world.approve(plan, APPROVER);
    world.step(Stage::Schedule);
    world.step(Stage::Run);
    let run = world.store().view(|views| views.small.plans.get(plan).unwrap().run).unwrap();
    world.cancel(run);
    world.finish();
    assert_eq!((world.state_of(records[0]), world.plans_of(request).len()), (EntityState::Visible, 1));
    world.clock.advance(DAY * 2);
    is_taken_up_again(&mut world, request, records[0]);
}

#[test]
fn who_takes_a_request_back_keeps_the_copy_of_what_was_erased() {
    let (mut world, request, _) = erased();
    world.complete(request, RequestEnd::Withdrawn);
    world.clock.advance(DAY * 400);
    world.settle();
    assert_eq!(world.bundles(), 1, "{}", world.story());
}

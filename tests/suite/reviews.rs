//! Disposition review: nothing of what a person has to decide about goes without a decision, whatever happens when.

use retention_core::event::Event;
use retention_core::event::review::ReviewVerdict;
use retention_core::event::saga::Step;
use retention_core::id::EntityId;
use retention_core::reason::Reason;
use retention_core::time::Timestamp;
use retention_core::view::{EntityState, PlanState, RunState};
use retention_tests::crash::{Remains, at_every_flush};
use retention_tests::world::{APPROVER, Stage, Stepped, World, policy};
use retentiond::clock::Clock as _;
use retentiond::control::reviews::{Decided, waiting};

/// Decides about items, and accepts no plan.
const REVIEWER: u32 = 1002;

const POLICY: &str = "contacts";

fn asking(quarantine: &str) -> String {
    let text = policy(POLICY, quarantine);
    let text = text.replace("kind = \"purge\"", "kind = \"review\"");
    text.replace("expect = \"due\"", "expect = \"review\"")
}

fn reviewed_world(quarantine: &str) -> World {
    let mut world = World::new(quarantine);
    world.write_policy(POLICY, &asking(quarantine));
    world.settle();
    world
}

fn waits(world: &World, entities: &[EntityId]) -> Vec<EntityId> {
    let now = world.clock.now();
    let waiting = waiting(world.store(), POLICY, entities, Decided::Counts, now).unwrap().expect("an active policy");
    waiting.items.into_iter().map(|row| row.entity).collect()
}

fn kept_codes(world: &World, entity: EntityId) -> Vec<Reason> {
    let subject = world.store().subjects(&[entity]).remove(0);
    let decision = world.store().decide(&subject, world.clock.now()).unwrap().unwrap();
    decision.reasons().cloned().collect()
}

fn in_a_year(world: &World) -> Timestamp {
    Timestamp(world.clock.now().0 + 365 * 86_400 * 1_000_000)
}

#[test]
fn what_nobody_decided_waits_and_only_what_goes_is_planned() {
    let mut world = reviewed_world("P0D");
    let all = [world.add("a", "2020-01-01"), world.add("b", "2020-01-01"), world.add("c", "2020-01-01")];
    world.settle();
    assert_eq!(waits(&world, &all), all);
    let empty = world.request_plan(POLICY).unwrap();
    world.settle();
    let frozen = world.store().view(|views| views.small.plans.get(empty).unwrap().frozen.clone()).unwrap();
    assert_eq!(frozen.items, 0, "nothing is planned that nobody decided");
    assert!(frozen.kept.iter().any(|kept| kept.reason == "review_needed" && kept.count == 3), "{:?}", frozen.kept);

    let until = in_a_year(&world);
    world.review(REVIEWER, POLICY, &all[..1], ReviewVerdict::Dispose);
    let keep = world.review(REVIEWER, POLICY, &all[1..2], ReviewVerdict::Keep { until });
    world.settle();
    assert_eq!(waits(&world, &all), all[2..]);
    assert_eq!(kept_codes(&world, all[1]), [Reason::KeptByReview { review: keep, by: REVIEWER, until }]);

    let plan = world.request_plan(POLICY).unwrap();
    world.settle();
    world.approve(plan, REVIEWER);
    let state = |world: &World| {
        let now = world.clock.now();
        world.store().view(|views| views.small.plans.get(plan).unwrap().state(now))
    };
    assert_eq!(state(&world), PlanState::AwaitingApproval, "who decided does not accept");
    world.approve(plan, APPROVER);
    assert_eq!(state(&world), PlanState::Ready);
    let run = world.request_run(plan).unwrap();
    world.finish();
    assert_eq!(world.run_state(run), RunState::Completed);
    let states = all.map(|entity| world.state_of(entity));
    assert_eq!(states, [EntityState::Purged, EntityState::Visible, EntityState::Visible]);
    world.check();

    world.clock.pass_until(until);
    world.settle();
    assert_eq!(waits(&world, &all[1..]), all[1..], "what was kept waits again when its day has come");
}

#[test]
fn a_person_who_keeps_an_item_at_any_moment_before_the_intent_is_obeyed() {
    for steps in 0.. {
        let mut world = reviewed_world("P1D");
        let all = [world.add("a", "2020-01-01"), world.add("b", "2020-01-01")];
        world.settle();
        world.review(REVIEWER, POLICY, &all, ReviewVerdict::Dispose);
        let (_, run) = world.approved_run(POLICY);
        let mut is_over = false;
        for _ in 0..steps {
            is_over |= match world.step(Stage::Run) {
                Stepped::Worked | Stepped::Crashed => false,
                Stepped::Until(at) => {
                    world.clock.pass_until(at);
                    false
                }
                Stepped::Idle => true,
            };
        }
        let is_pivot = |event: &Event| matches!(event, Event::StepStarted(body) if body.step == Step::Purge);
        let was_past_pivot = world.log().iter().any(|recorded| recorded.event().is_some_and(is_pivot));
        let until = in_a_year(&world);
        world.keep_for(REVIEWER, POLICY, all[0], until);
        world.finish();
        world.check();
        let expected = if was_past_pivot { EntityState::Purged } else { EntityState::Visible };
        assert_eq!(world.state_of(all[0]), expected, "after {steps} steps\n{}", world.story());
        assert_eq!(world.state_of(all[1]), EntityState::Purged, "after {steps} steps\n{}", world.story());
        assert_eq!(world.run_state(run), RunState::Completed);
        if is_over {
            assert!(steps > 8, "a run takes more than {steps} steps");
            return;
        }
    }
}

#[test]
fn a_decision_counts_for_what_was_looked_at_and_nothing_else() {
    let mut world = reviewed_world("P0D");
    let entity = world.add("a", "2020-01-01");
    world.settle();
    world.review(REVIEWER, POLICY, &[entity], ReviewVerdict::Dispose);
    world.settle();
    assert_eq!(waits(&world, &[entity]), []);
    world.change(entity, "other words");
    world.settle();
    assert_eq!(waits(&world, &[entity]), [entity], "another version waits again");
    world.review(REVIEWER, POLICY, &[entity], ReviewVerdict::Dispose);
    world.settle();
    assert_eq!(waits(&world, &[entity]), []);
    world.write_policy(POLICY, &asking("P0D").replace("period = \"P1Y\"", "period = \"P2Y\""));
    world.settle();
    assert_eq!(waits(&world, &[entity]), [entity], "another policy waits again");
}

#[test]
fn a_policy_that_is_edited_in_the_middle_of_a_run_takes_the_decision_back() {
    let mut world = reviewed_world("P7D");
    let entity = world.add("a", "2020-01-01");
    world.settle();
    world.review(REVIEWER, POLICY, &[entity], ReviewVerdict::Dispose);
    world.approved_run(POLICY);
    world.settle();
    assert_eq!(world.state_of(entity), EntityState::Quarantined);
    world.write_policy(
        POLICY,
        &asking("P7D").replace("title = \"A policy\"", "title = \"Another\"").replace("P1Y", "P2Y"),
    );
    world.settle();
    world.finish();
    world.check();
    assert_eq!(world.state_of(entity), EntityState::Visible, "{}", world.story());
}

#[test]
fn what_has_no_start_waits_and_goes_only_by_a_decision() {
    let mut world = World::new("P0D");
    let text = policy(POLICY, "P0D").replace("start = \"created\"", "start = \"closed\"");
    let text = text.replace("on_missing_start = \"keep\"", "on_missing_start = \"review\"");
    world.write_policy(POLICY, &text.replace("expect = \"due\"", "expect = \"review\""));
    world.settle();
    let all = [world.add("a", "2020-01-01"), world.add("b", "2020-01-01")];
    world.settle();
    assert_eq!(waits(&world, &all), all);
    world.review(REVIEWER, POLICY, &all[..1], ReviewVerdict::Dispose);
    world.settle();
    world.approved_run(POLICY);
    world.finish();
    world.check();
    assert_eq!(all.map(|entity| world.state_of(entity)), [EntityState::Purged, EntityState::Visible]);
}

/// Returns whether the scenario reached the flush.
fn stop_at(nth: u64, remains: Remains) -> bool {
    let mut world = reviewed_world("P1D");
    let all = [world.add("a", "2020-01-01"), world.add("b", "2020-01-01"), world.add("c", "2020-01-01")];
    world.settle();
    world.gate.crash_at(nth, remains);
    let before = world.crashes;
    let until = in_a_year(&world);
    // Whoever gets no answer decides again.
    while !waits(&world, &all[..2]).is_empty() {
        world.try_review(REVIEWER, POLICY, &all[..2], ReviewVerdict::Dispose);
        world.settle();
    }
    while !waits(&world, &all[2..]).is_empty() {
        world.try_review(REVIEWER, POLICY, &all[2..], ReviewVerdict::Keep { until });
        world.settle();
    }
    let run = world.drive_to_the_end(POLICY);
    assert_eq!(world.run_state(run), RunState::Completed, "flush {nth}, {remains:?}\n{}", world.story());
    let states = all.map(|entity| world.state_of(entity));
    let expected = [EntityState::Purged, EntityState::Purged, EntityState::Visible];
    assert_eq!(states, expected, "flush {nth}, {remains:?}\n{}", world.story());
    let is_stopped = world.crashes > before;
    world.reopen();
    world.check();
    is_stopped
}

#[test]
fn a_reviewed_purge_survives_a_crash_at_every_flush() {
    for remains in Remains::ALL {
        at_every_flush("a reviewed purge", remains, 22, stop_at);
    }
}

#[test]
fn nobody_but_a_person_decides() {
    let mut world = reviewed_world("P0D");
    let entity = world.add("a", "2020-01-01");
    world.settle();
    world.review_by_the_daemon(POLICY, entity);
    world.settle();
    assert_eq!(waits(&world, &[entity]), [entity]);
    let plan = world.request_plan(POLICY).unwrap();
    world.settle();
    assert_eq!(world.store().view(|views| views.small.plans.get(plan).unwrap().frozen.as_ref().unwrap().items), 0);
}

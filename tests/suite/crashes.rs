//! The export-purge saga is stopped at every flush, with all that a crash can leave, and started again: it always ends
//! with everything that was planned exported, verified and purged exactly once.

use retention_core::event::{Event, Recorded};
use retention_core::id::EntityId;
use retention_core::view::{EntityState, RunState};
use retention_tests::crash::{Remains, at_every_flush};
use retention_tests::world::{Stage, Stepped, World};

fn purged(log: &[Recorded]) -> Vec<EntityId> {
    let is_end = |recorded: &&Recorded| matches!(recorded.event(), Some(Event::KeyDestroyed(_)));
    log.iter().filter(is_end).filter_map(|recorded| recorded.envelope.entity).collect()
}

/// Returns whether the scenario reached the flush.
fn stop_at(nth: u64, remains: Remains, quarantine: &str) -> bool {
    let mut world = World::new(quarantine);
    let due = [world.add("a", "2020-01-01"), world.add("b", "2021-01-01")];
    let kept = world.add("c", "2025-12-01");
    world.settle();
    world.gate.crash_at(nth, remains);
    let before = world.crashes;
    let run = world.drive_to_the_end("contacts");
    assert_eq!(world.run_state(run), RunState::Completed, "flush {nth}, {remains:?}\n{}", world.story());
    assert_eq!(purged(&world.log()), due, "flush {nth}, {remains:?}\n{}", world.story());
    assert_eq!(world.state_of(kept), EntityState::Visible);
    assert_eq!(world.bundles(), 1, "flush {nth}, {remains:?}");
    let is_stopped = world.crashes > before;
    world.reopen();
    is_stopped
}

fn stop_everywhere(remains: Remains, quarantine: &str) {
    let what = format!("a purge with a quarantine of {quarantine}");
    at_every_flush(&what, remains, 22, |nth, remains| stop_at(nth, remains, quarantine));
}

#[test]
fn a_purge_survives_a_crash_at_every_flush_that_loses_what_was_written() {
    stop_everywhere(Remains::Lost, "P0D");
}

#[test]
fn a_purge_survives_a_crash_at_every_flush_that_tears_what_was_written() {
    stop_everywhere(Remains::Torn, "P0D");
}

#[test]
fn a_purge_survives_a_crash_at_every_flush_that_keeps_what_was_never_acknowledged() {
    stop_everywhere(Remains::Kept, "P7D");
}

#[test]
fn a_purge_survives_a_crash_right_after_every_flush() {
    stop_everywhere(Remains::Flushed, "P7D");
}

#[test]
fn a_run_that_is_cancelled_leaves_no_part_of_a_bundle_whose_removal_was_killed() {
    let mut world = World::new("P7D");
    let due = world.add("a", "2020-01-01");
    world.settle();
    let (_, run) = world.approved_run("contacts");
    while world.bundles() == 0 {
        assert_eq!(world.step(Stage::Run), Stepped::Worked, "{}", world.story());
    }
    let name = world.archive.disk().list().unwrap().next().unwrap().unwrap();
    std::fs::rename(world.exports().join(name.as_str()), world.exports().join(format!(".{name}.removing"))).unwrap();
    world.cancel(run);
    world.reopen();
    world.settle();
    assert_eq!((world.run_state(run), world.state_of(due)), (RunState::Cancelled, EntityState::Visible));
    assert_eq!(world.export_entries(), 0, "{}", world.story());
}

#[test]
fn a_plan_that_was_asked_for_before_a_crash_waits_for_the_policies_and_is_not_refused() {
    let mut world = World::new("P0D");
    world.add("a", "2020-01-01");
    world.settle();
    let plan = world.request_plan("contacts").expect("a plan");
    world.reopen();
    assert_eq!(world.step(Stage::Plan), Stepped::Idle, "no policy is installed yet");
    world.settle();
    let plan = world.store().view(|views| views.small.plans.get(plan).cloned()).expect("a plan");
    assert_eq!(plan.refused, None, "{}", world.story());
    assert_eq!(plan.frozen.map(|frozen| frozen.items), Some(1), "{}", world.story());
}

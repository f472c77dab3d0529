//! A seeded simulation: persons, sources, faults and crashes in random order against the real stages, with the checker
//! after every step. `RETENTION_SEED` repeats one round; `RETENTION_ROUNDS` sets how many are made.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use retention_core::id::{EntityId, PlanId, RunId};
use retention_core::time::Timestamp;
use retention_core::view::EntityState;
use retention_tests::crash::Remains;
use retention_tests::faults::{Call, Fault};
use retention_tests::world::{APPROVER, REQUESTER, Stage, World, policy};
use retentiond::clock::Clock;

/// Rounds when nothing else is asked for: they take less than a minute without optimisation.
const ROUNDS: u64 = 8;

/// Operations of one round.
const OPERATIONS: u32 = 120;

/// The first seed; every round adds one.
const FIRST_SEED: u64 = 0x5EED;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn pick<T: Copy>(random: &mut StdRng, from: &[T]) -> Option<T> {
    if from.is_empty() { None } else { from.get(random.random_range(0..from.len())).copied() }
}

fn plans(world: &World) -> Vec<PlanId> {
    world.store().view(|views| views.small.plans.iter().map(|(id, _)| id).collect())
}

fn runs(world: &World) -> Vec<RunId> {
    world.store().view(|views| views.small.runs.iter().map(|(id, _)| id).collect())
}

fn live(world: &World) -> Vec<EntityId> {
    let all: Vec<EntityId> = world.model.told.keys().copied().collect();
    all.into_iter().filter(|entity| world.state_of(*entity) != EntityState::Purged).collect()
}

fn a_person_or_a_source_acts(world: &mut World, random: &mut StdRng, number: u32) {
    let entity = pick(random, &live(world));
    let plan = pick(random, &plans(world));
    let run = pick(random, &runs(world));
    match (random.random_range(0..14), entity, plan, run) {
        (0..=2, ..) => {
            let created = format!("20{}-03-01", random.random_range(18..26));
            world.add(&format!("r{number}"), &created);
        }
        (3, Some(entity), ..) => world.change(entity, &format!("round {number}")),
        (4, Some(entity), ..) => world.absent(entity),
        (5, Some(entity), ..) => drop(world.hold(&[entity])),
        (6, ..) => {
            let holds: Vec<_> = world.model.holds.keys().copied().collect();
            if let Some(hold) = pick(random, &holds) {
                world.release(hold);
            }
        }
        (7, ..) => drop(world.request_plan("contacts")),
        (8, _, Some(plan), _) => {
            let uid = if random.random_bool(0.8) { APPROVER } else { REQUESTER };
            world.approve(plan, uid);
        }
        (9, _, Some(plan), _) if random.random_bool(0.1) => world.reject(plan),
        (9 | 10, _, Some(plan), _) => drop(world.request_run(plan)),
        (11, _, _, Some(run)) => match random.random_range(0..4) {
            0 => world.pause(run),
            1 | 2 => world.resume(run),
            _ => world.cancel(run),
        },
        (12, Some(entity), ..) => drop(world.restore(entity)),
        _ => {
            let by = Duration::from_secs(random.random_range(1..3 * 86_400));
            world.clock.advance(by);
        }
    }
}

fn the_world_acts(world: &mut World, random: &mut StdRng) {
    match random.random_range(0..9) {
        0 => {
            let back = Timestamp(world.clock.now().0 - random.random_range(1..86_400_000_000));
            world.clock.set(back);
        }
        1 => world.write_policy("contacts", &policy("contacts", pick(random, &["P0D", "P1D", "P7D"]).unwrap())),
        2 => world.write_policy("broken", "schema = 1\n[policy"),
        3 => {
            world.write_policy("broken", "");
            world.remove_policy("broken");
        }
        4 => world.store().write_out(1).unwrap(),
        5 => world.gate.crash_at(random.random_range(1..12), pick(random, &Remains::ALL).unwrap()),
        6 => world.reopen(),
        7 => world.lose_sled(),
        _ => {
            let (call, fault) = (pick(random, &Call::ALL).unwrap(), pick(random, &Fault::OF_CALLS).unwrap());
            world.archive.arm(call, random.random_range(1..3), fault);
        }
    }
}

fn round(seed: u64) {
    println!("RETENTION_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::new("P1D");
    for number in 0..OPERATIONS {
        match random.random_range(0..100) {
            0..30 => a_person_or_a_source_acts(&mut world, &mut random, number),
            30..36 => the_world_acts(&mut world, &mut random),
            _ => drop(world.step(pick(&mut random, &Stage::ALL).unwrap())),
        }
        if world.gate.has_crashed() {
            world.reopen();
        }
        world.check();
    }
    world.reopen();
}

#[test]
fn whatever_happens_in_whatever_order_the_invariants_hold() {
    if let Some(seed) = number("RETENTION_SEED") {
        return round(seed);
    }
    let rounds = number("RETENTION_ROUNDS").unwrap_or(ROUNDS);
    (0..rounds).for_each(|n| round(FIRST_SEED + n));
}

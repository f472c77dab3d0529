//! A seeded simulation: persons, sources, faults and crashes in random order against the real stages, with the checker
//! after every step. `RETENTION_SEED` repeats one round; `RETENTION_ROUNDS` sets how many are made.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use retention_core::event::Event;
use retention_core::event::grant::GrantEnd;
use retention_core::id::{EntityId, GrantId, PlanId, RunId, SagaId};
use retention_core::time::Timestamp;
use retention_core::view::EntityState;
use retention_tests::crash::Remains;
use retention_tests::faults::{Call, Fault};
use retention_tests::invariants::MARKER;
use retention_tests::mailboxes;
use retention_tests::world::{APPROVER, REQUESTER, Stage, Stepped, World, policy};
use retentiond::clock::Clock;

/// Rounds when nothing else is asked for: they take less than a minute without optimisation.
const ROUNDS: u64 = 12;

/// Operations of one round.
const OPERATIONS: u32 = 250;

/// Which stage takes steps: a run takes many more than anything else.
const STAGES: [Stage; 11] = [
    Stage::Intake,
    Stage::Policies,
    Stage::Schedule,
    Stage::Project,
    Stage::Project,
    Stage::Plan,
    Stage::Plan,
    Stage::Run,
    Stage::Run,
    Stage::Grant,
    Stage::Grant,
];

/// The first seed; every round adds one.
const FIRST_SEED: u64 = 0x5EED;

/// Exports that are dropped now and then, with a name in them that changes.
const EXPORTS: [&str; 2] = ["ada.quill@contoso.com_20200302T0915301234", "bram.okafor@contoso.com_20200415T1801029876"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ocm").join(name)
}

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

fn grants(world: &World) -> Vec<GrantId> {
    world.store().view(|views| views.small.grants.iter().map(|(id, _)| id).collect())
}

fn a_grant_is_asked_for_or_judged(world: &mut World, random: &mut StdRng, mailbox: EntityId) {
    let grants = grants(world);
    let grant = if random.random_bool(0.7) { grants.last().copied() } else { pick(random, &grants) };
    match (random.random_range(0..8), grant) {
        (0 | 1, _) | (_, None) => {
            let approvals = random.random_range(0..2);
            world.request_grant(mailbox, approvals);
        }
        (2 | 3, Some(grant)) => {
            let uid = if random.random_bool(0.8) { APPROVER } else { REQUESTER };
            world.approve_grant(grant, uid);
        }
        (4, Some(grant)) => world.renew_grant(grant),
        (5, Some(grant)) => world.revoke_grant(grant),
        (6, Some(grant)) if random.random_bool(0.2) => world.reject_grant(grant),
        (6 | 7, Some(_)) => {
            let path = format!("INBOX/{MARKER} {}", random.random_range(0..4));
            if random.random_bool(0.5) {
                world.mailboxes.make_folder(mailbox, &path);
            } else {
                world.mailboxes.make_folder_meanwhile(&path);
            }
        }
        (8.., Some(_)) | (i32::MIN..=-1, Some(_)) => {}
    }
}

fn a_person_or_a_source_acts(world: &mut World, random: &mut StdRng, number: u32) {
    let entity = pick(random, &live(world));
    let plans = plans(world);
    let plan = if random.random_bool(0.7) { plans.last().copied() } else { pick(random, &plans) };
    let run = pick(random, &runs(world));
    match (random.random_range(0..16), entity, plan, run) {
        (0..=2, ..) => {
            let created = format!("20{}-03-01", random.random_range(18..26));
            world.add(&format!("r{number}"), &created);
        }
        (3, Some(entity), ..) => world.change(entity, &format!("round {number}")),
        (4, Some(entity), ..) => world.absent(entity),
        (5, Some(entity), ..) => {
            world.hold(&[entity]);
        }
        (6, ..) => {
            let holds: Vec<_> = world.model.holds.keys().copied().collect();
            if let Some(hold) = pick(random, &holds) {
                world.release(hold);
            }
        }
        (7, ..) => {
            world.request_plan("contacts");
        }
        (8, _, Some(plan), _) => {
            let uid = if random.random_bool(0.8) { APPROVER } else { REQUESTER };
            world.approve(plan, uid);
        }
        (9, _, Some(plan), _) if random.random_bool(0.1) => world.reject(plan),
        (9 | 10 | 13, _, Some(plan), _) => {
            world.request_run(plan);
        }
        (11, _, _, Some(run)) => match random.random_range(0..4) {
            0 => world.pause(run),
            1 | 2 => world.resume(run),
            _ => world.cancel(run),
        },
        (12, Some(entity), ..) => {
            world.restore(entity);
        }
        _ => {
            let hours = pick(random, &[1, 6, 12, 30, 72]).unwrap();
            let by = Duration::from_secs(hours * 3_600);
            world.clock.advance(by);
        }
    }
}

/// The policy of a text, with a redaction in the place of its purge.
fn redacting(text: &str) -> String {
    let record = "{ created = 2020-01-01T00:00:00Z, display_name = \"x\" }";
    text.replace("kind = \"purge\"", "kind = \"redact\"\nfields = { display_name = \"remove\" }")
        .replace("{ created = 2020-01-01T00:00:00Z }", record)
}

fn the_world_acts(world: &mut World, random: &mut StdRng) {
    match random.random_range(0..13) {
        11 | 12 => {
            let call = pick(random, &mailboxes::Call::ALL).unwrap();
            let fault = pick(random, &mailboxes::Fault::ALL).unwrap();
            world.mailboxes.arm(call, random.random_range(1..3), fault);
        }
        9 | 10 => {
            let export = pick(random, &EXPORTS).unwrap();
            let note = format!("{MARKER} {}", random.random_range(0..4));
            world.drop_export(&fixture(export), |text| text.replace("Harbour", &note));
        }
        0 => {
            let back = Timestamp(world.clock.now().0 - random.random_range(1..86_400_000_000));
            world.clock.set(back);
        }
        1 => {
            let text = policy("contacts", pick(random, &["P0D", "P1D", "P7D"]).unwrap());
            let scheduled = "cron = \"0 3 * * *\"\ntimezone = \"Etc/UTC\"\non_missed = \"run_once\"";
            let text = match random.random_bool(0.5) {
                true => text.replace("cron = \"on_demand\"", scheduled),
                false => text,
            };
            world.write_policy("contacts", &text);
        }
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

/// Holds with a filter come and are judged by draws of their own: what else happens is drawn as it was without them.
fn a_filter_catches(world: &mut World, random: &mut StdRng) {
    if random.random_bool(0.01) {
        // What was changed in a round with this last digit.
        let digit = random.random_range(0..10);
        let filter = format!(
            "{{ all = [{{ field = \"display_name\", op = \"prefix\", value = \"{MARKER} round\" }}, \
             {{ field = \"display_name\", op = \"suffix\", value = \"{digit}\" }}] }}"
        );
        world.hold_matching(&filter);
    }
    if random.random_bool(0.3) {
        world.step(Stage::Catch);
    }
}

/// How much happened: a simulation in which nothing does proves nothing.
#[derive(Debug, Default)]
struct Seen {
    purged: u64,
    redacted: u64,
    crashes: u64,
    restored: u64,
    fired: u64,
    taken_in: u64,
    revoked: u64,
    judged: u64,
}

fn is_redaction(world: &World, saga: SagaId) -> bool {
    world.store().view(|views| views.small.redactions.map_of(saga).is_some())
}

fn round(seed: u64, seen: &mut Seen) {
    println!("RETENTION_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut of_filters = StdRng::seed_from_u64(!seed);
    let mut world = World::new("P1D");
    if seed.is_multiple_of(3) {
        world.write_policy("contacts", &redacting(&policy("contacts", "P1D")));
        world.settle();
    }
    let folders = [("INBOX", "lr"), ("INBOX/PLAINTEXT-MARKER", ""), ("Archive", "lrswipkxtea")];
    let mailbox = world.add_mailbox_with_folders("mailbox", &folders);
    for number in 0..OPERATIONS {
        match random.random_range(0..100) {
            0..6 => a_grant_is_asked_for_or_judged(&mut world, &mut random, mailbox),
            6..38 => a_person_or_a_source_acts(&mut world, &mut random, number),
            38..42 => the_world_acts(&mut world, &mut random),
            _ => {
                let stage = pick(&mut random, &STAGES).unwrap();
                for _ in 0..random.random_range(1..5) {
                    seen.crashes += u64::from(world.step(stage) == Stepped::Crashed);
                }
            }
        }
        if world.gate.has_crashed() {
            world.reopen();
        }
        a_filter_catches(&mut world, &mut of_filters);
        if world.gate.has_crashed() {
            world.reopen();
        }
        world.check();
    }
    world.reopen();
    // Whatever is still given ends, once nothing goes wrong any more.
    for _ in 0..1_000 {
        if world.store().view(|views| views.small.grants.open().next().is_none()) {
            break;
        }
        match world.step(Stage::Grant) {
            Stepped::Until(at) => world.clock.pass_until(at),
            Stepped::Worked | Stepped::Crashed | Stepped::Idle => {}
        }
    }
    assert_eq!(world.mailboxes.left_behind(), [""; 0], "{}", world.story());
    for recorded in world.log() {
        match recorded.event() {
            Some(Event::KeyDestroyed(body)) if is_redaction(&world, body.saga) => seen.redacted += 1,
            Some(Event::KeyDestroyed(_)) => seen.purged += 1,
            Some(Event::EntityRestored(_)) => seen.restored += 1,
            Some(Event::ScheduleFired(_)) => seen.fired += 1,
            Some(Event::IntakeCompleted(_)) => seen.taken_in += 1,
            Some(Event::HoldsJudged(_)) => seen.judged += 1,
            Some(Event::GrantEnded(body)) if body.end == GrantEnd::Revoked => seen.revoked += 1,
            _ => {}
        }
    }
}

#[test]
fn whatever_happens_in_whatever_order_the_invariants_hold() {
    if let Some(seed) = number("RETENTION_SEED") {
        return round(seed, &mut Seen::default());
    }
    let rounds = number("RETENTION_ROUNDS").unwrap_or(ROUNDS);
    let mut seen = Seen::default();
    (0..rounds).for_each(|n| round(FIRST_SEED + n, &mut seen));
    println!("{seen:?}");
    if rounds >= ROUNDS {
        let Seen { purged, redacted, crashes, restored, fired, taken_in, revoked, judged } = seen;
        let least = [purged, redacted, crashes, restored, fired, taken_in, revoked, judged].into_iter().min();
        assert!(least > Some(0), "too little happened: {seen:?}");
    }
}

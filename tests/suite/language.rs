//! What a policy says of hours, runtime and locks, with the real stages.

use std::time::Duration;

use retention_core::event::{Event, Recorded};
use retention_core::time::Timestamp;
use retention_core::view::{EntityState, PlanState, RunState};
use retention_tests::world::{APPROVER, Stage, Stepped, World, policy};
use retentiond::clock::Clock as _;

fn with(id: &str, old: &str, new: &str) -> String {
    let text = policy(id, "P0D");
    assert!(text.contains(old));
    text.replace(old, new)
}

#[test]
fn a_run_waits_in_the_hours_of_a_blackout_at_any_step() {
    // Every world begins at 10:00 UTC.
    let dark = with(
        "contacts",
        "cron = \"on_demand\"",
        "cron = \"on_demand\"\ntimezone = \"Etc/UTC\"\nblackout = [\"11:00-19:00\"]",
    );
    for steps in 0.. {
        let mut world = World::new("P0D");
        world.write_policy("contacts", &dark);
        let contact = world.add("a", "2020-01-01");
        world.settle();
        world.approved_run("contacts");
        let mut is_over = false;
        for _ in 0..steps {
            is_over |= world.step(Stage::Run) == Stepped::Idle;
        }
        let began = world.log().iter().any(|recorded| matches!(recorded.event(), Some(Event::KeyDestroyed(_))));
        world.clock.advance(Duration::from_secs(2 * 3_600));
        let until = world.settle();
        if !began && !is_over {
            let is_past_pivot = world.state_of(contact) == EntityState::Purged;
            if !is_past_pivot {
                assert_eq!(until, Some("2026-01-15T19:00:00Z".parse().unwrap()), "{steps}: {}", world.story());
            }
        }
        world.finish();
        assert_eq!(world.state_of(contact), EntityState::Purged, "{}", world.story());
        if is_over {
            assert!(steps > 8);
            return;
        }
    }
}

#[test]
fn a_run_that_used_up_its_time_ends_what_it_began_and_leaves_the_rest() {
    let mut world = World::new("P0D");
    world.write_policy(
        "contacts",
        &with("contacts", "cron = \"on_demand\"", "cron = \"on_demand\"\nmax_runtime = \"PT1H\""),
    );
    let mailbox = world.add("m", "2026-01-01");
    let (first, second) = (world.add_in(mailbox, "a", "2020-01-01"), world.add("b", "2021-01-01"));
    world.settle();
    let (_, run) = world.approved_run("contacts");
    while !world.log().iter().any(|recorded| matches!(recorded.event(), Some(Event::SagaStarted(_)))) {
        world.step(Stage::Run);
    }
    world.clock.advance(Duration::from_secs(3_600));
    world.finish();
    assert_eq!(world.state_of(first), EntityState::Purged, "{}", world.story());
    assert_eq!(world.state_of(second), EntityState::Visible);
    assert_eq!(world.run_state(run), RunState::Cancelled);
}

#[test]
fn a_run_takes_up_items_no_faster_than_its_rate_also_after_a_restart() {
    let mut world = World::new("P0D");
    world.write_policy("contacts", &with("contacts", "max_items = 100", "max_items = 100\nrate = \"60/h\""));
    let due = ["a", "b", "c"].map(|id| world.add(id, "2020-01-01"));
    world.settle();
    let (_, run) = world.approved_run("contacts");
    let began = |world: &World| -> Vec<(Timestamp, usize)> {
        let log = world.log();
        let saga = |recorded: &Recorded| match recorded.event() {
            Some(Event::SagaStarted(body)) => Some((recorded.envelope.recorded_at, body.items.len())),
            _ => None,
        };
        log.iter().filter_map(saga).collect()
    };
    let start = world.clock.now();
    let minute = |n: i64| Timestamp(start.0 + n * 60_000_000);
    let mut next = world.settle();
    assert_eq!((began(&world), next), (vec![(start, 1)], Some(minute(1))), "{}", world.story());
    world.reopen();
    next = world.settle();
    assert_eq!((began(&world).len(), next), (1, Some(minute(1))));
    world.clock.pass_until(minute(1));
    next = world.settle();
    assert_eq!((began(&world).len(), next), (2, Some(minute(2))));
    // What was not taken up meanwhile is not made up for.
    world.clock.pass_until(minute(10));
    world.settle();
    assert_eq!(began(&world), [(start, 1), (minute(1), 1), (minute(10), 1)]);
    assert_eq!(world.run_state(run), RunState::Completed, "{}", world.story());
    assert_eq!(due.map(|entity| world.state_of(entity)), [EntityState::Purged; 3]);
}

#[test]
fn a_locked_policy_can_neither_be_loosened_nor_removed_also_after_a_restart() {
    let mut world = World::new("P0D");
    let locked = with("contacts", "state = \"enforce\"", "state = \"enforce\"\nlock = \"ratchet\"");
    world.write_policy("contacts", &locked);
    world.settle();
    let active = |world: &World| world.store().policies().digest();
    let before = active(&world);
    world.write_policy("contacts", &locked.replace("P1Y", "P6M"));
    world.settle();
    assert_eq!(active(&world), before);
    world.remove_policy("contacts");
    world.settle();
    assert_eq!(active(&world), before);
    world.reopen();
    world.settle();
    assert_eq!(active(&world), before, "a restart does not forget the lock");
    world.write_policy("contacts", &locked.replace("P1Y", "P2Y"));
    world.settle();
    assert_ne!(active(&world), before, "longer is allowed");
}

#[test]
fn a_scheduled_plan_is_put_off_by_the_same_time_each_time_and_is_not_late() {
    let mut world = World::new("P0D");
    let cron = "cron = \"0 3 * * *\"\ntimezone = \"Etc/UTC\"\njitter = \"PT30M\"";
    world.write_policy("contacts", &with("contacts", "cron = \"on_demand\"", cron));
    world.settle();
    let nominal: Timestamp = "2026-01-16T03:00:00Z".parse().unwrap();
    let jitter_us = world.store().policies().get("contacts").unwrap().timing.jitter_us("contacts", nominal);
    assert!(jitter_us > 0);
    world.clock.pass_until(Timestamp(nominal.0 + jitter_us - 1));
    assert_eq!(world.step(Stage::Schedule), Stepped::Until(Timestamp(nominal.0 + jitter_us)));
    world.clock.pass_until(Timestamp(nominal.0 + jitter_us));
    assert_eq!(world.step(Stage::Schedule), Stepped::Worked);
    let fired: Vec<_> = world
        .log()
        .iter()
        .filter_map(|recorded| match recorded.event() {
            Some(Event::ScheduleFired(body)) => Some((body.nominal_at, body.catch_up)),
            Some(Event::ScheduleMissed(_)) => panic!("nothing was missed"),
            _ => None,
        })
        .collect();
    assert_eq!(fired, [(nominal, false)]);
    assert!(world.clock.now() > nominal);
}

#[test]
fn a_scheduled_plan_that_waits_is_not_made_again_each_night_and_one_with_more_in_it_is() {
    let mut world = World::new("P0D");
    let cron = "cron = \"0 3 * * *\"\ntimezone = \"Etc/UTC\"";
    world.write_policy("contacts", &with("contacts", "cron = \"on_demand\"", cron));
    let first = world.add("a", "2020-01-01");
    world.settle();
    let states = |world: &World| {
        let now = world.clock.now();
        world.store().view(|views| views.small.plans.iter().map(|(_, plan)| plan.state(now)).collect::<Vec<_>>())
    };
    let night = |world: &mut World, day: u32| {
        world.clock.pass_until(format!("2026-01-{day}T03:00:00Z").parse().unwrap());
        world.settle();
    };
    for day in 16..19 {
        night(&mut world, day);
    }
    let (waits, refused) = (PlanState::AwaitingApproval, PlanState::Refused);
    assert_eq!(states(&world), [waits, refused, refused], "{}", world.story());
    let second = world.add("b", "2020-01-01");
    world.settle();
    night(&mut world, 19);
    assert_eq!(states(&world), [waits, refused, refused, waits], "{}", world.story());
    // The one that waited is still good: it runs when it is accepted, and the other takes what is left.
    let waiting: Vec<_> = world.store().view(|views| {
        let plans = views.small.plans.iter();
        plans.filter(|(_, plan)| plan.refused.is_none()).map(|(id, _)| id).collect()
    });
    world.approve(waiting[0], APPROVER);
    world.finish();
    assert_eq!([first, second].map(|one| world.state_of(one)), [EntityState::Purged, EntityState::Visible]);
    world.approve(waiting[1], APPROVER);
    world.finish();
    assert_eq!(world.state_of(second), EntityState::Purged, "{}", world.story());
}

#[test]
fn a_plan_of_which_a_run_was_refused_because_its_policy_was_edited_is_stale_and_not_ready() {
    let mut world = World::new("P0D");
    let contact = world.add("a", "2020-01-01");
    world.settle();
    let plan = world.request_plan("contacts").expect("a plan");
    world.settle();
    world.approve(plan, APPROVER);
    let state = |world: &World| {
        let now = world.clock.now();
        world.store().view(|views| views.small.plans.get(plan).expect("a plan").state(now))
    };
    assert_eq!(state(&world), PlanState::Ready);
    let before = policy("contacts", "P0D");
    world.write_policy("contacts", &before.replace("P1Y", "P2Y"));
    world.settle();
    let run = world.request_run(plan).expect("a run");
    world.settle();
    assert_eq!((world.run_state(run), state(&world)), (RunState::Refused, PlanState::Stale), "{}", world.story());
    // Not even when the policy is as it was: what was refused is planned anew.
    world.write_policy("contacts", &before);
    world.settle();
    let again = world.request_run(plan).expect("a run");
    world.settle();
    assert_eq!((world.run_state(again), world.state_of(contact)), (RunState::Refused, EntityState::Visible));
    world.lose_sled();
    assert_eq!(state(&world), PlanState::Stale, "folded anew");
}

#[test]
fn what_a_policy_newly_disposes_of_is_told_to_whoever_accepts_it_until_it_has_cooled_off() {
    let mut world = World::new("P0D");
    world.add("a", "2020-01-01");
    world.settle();
    let guards = |world: &mut World| {
        let plan = world.request_plan("contacts").expect("a plan");
        world.settle();
        let frozen = world.store().view(|views| views.small.plans.get(plan).expect("a plan").frozen.clone());
        let tripped = frozen.expect("a whole plan").tripped;
        tripped.into_iter().map(|it| (it.guard, it.limit, it.actual)).collect::<Vec<_>>()
    };
    let write = |world: &mut World, old: &str, new: &str| {
        world.write_policy("contacts", &with("contacts", old, new));
        world.settle();
    };
    let cooling = |days: u64| vec![("cooling_off".to_owned(), 7_u64, days)];
    assert!(guards(&mut world).is_empty(), "there was none before");
    write(&mut world, "title = \"A policy\"", "title = \"Contacts\"");
    assert!(guards(&mut world).is_empty(), "nothing else goes by that");
    write(&mut world, "P1Y", "P2Y");
    assert!(guards(&mut world).is_empty(), "it keeps longer");
    write(&mut world, "P1Y", "P3M");
    assert_eq!(guards(&mut world), cooling(0));
    world.lose_sled();
    world.clock.advance(Duration::from_secs(2 * 86_400));
    assert_eq!(guards(&mut world), cooling(2), "folded anew, and after a restart");
    write(&mut world, "P1Y", "P1Y");
    assert_eq!(guards(&mut world), cooling(2), "longer than before, and sooner than what was enforced two days ago");
    write(&mut world, "match_all = true", "where = { field = \"created\", op = \"exists\" }");
    assert_eq!(guards(&mut world), cooling(0), "whether another filter is narrower cannot be told");
    world.clock.advance(Duration::from_secs(8 * 86_400));
    assert!(guards(&mut world).is_empty());
}

#[test]
fn what_another_policy_kept_goes_only_by_an_accepted_plan_until_its_removal_has_cooled_off() {
    let mut world = World::new("P0D");
    let alone = with("contacts", "required = true\ncount = 1\nvalid_for = \"P1D\"", "required = false");
    let keeper = with("contracts", "match_all = true", "where = { field = \"created\", op = \"exists\" }")
        .replace("start = \"created\"", "start = \"created\"\nmin_keep = \"P5Y\"");
    world.write_policy("contacts", &alone);
    world.write_policy("contracts", &keeper);
    let (old, kept) = (world.add("a", "2019-01-01"), world.add("b", "2022-01-01"));
    world.settle();
    // The first plan of a version that wants no approval is shown to a person, by another guard.
    world.approved_run("contacts");
    world.finish();
    assert_eq!([old, kept].map(|contact| world.state_of(contact)), [EntityState::Purged, EntityState::Visible]);
    let plan = |world: &mut World| {
        let plan = world.request_plan("contacts").expect("a plan");
        world.settle();
        let frozen = world.store().view(|views| views.small.plans.get(plan).expect("a plan").frozen.clone());
        let frozen = frozen.expect("a whole plan");
        let tripped = frozen.tripped.into_iter().map(|it| (it.guard, it.limit, it.actual)).collect::<Vec<_>>();
        (plan, frozen.items, tripped)
    };
    let cooling = |days: u64| vec![("cooling_off".to_owned(), 7_u64, days)];
    let (_, items, tripped) = plan(&mut world);
    assert_eq!((items, tripped.len()), (0, 0), "{}", world.story());

    for weaker in [keeper.replace("P5Y", "P2Y"), keeper.replace("\"enforce\"", "\"simulate\"")] {
        world.write_policy("contracts", &weaker);
        world.settle();
        assert_eq!(plan(&mut world).2, cooling(0), "{weaker}\n{}", world.story());
        world.write_policy("contracts", &keeper);
        world.settle();
        assert_eq!(plan(&mut world).1, 0, "it is kept again");
    }
    world.remove_policy("contracts");
    world.settle();
    assert_eq!(plan(&mut world).2, cooling(0));
    world.lose_sled();
    world.clock.advance(Duration::from_secs(2 * 86_400));
    world.settle();
    let (waiting, items, tripped) = plan(&mut world);
    assert_eq!((items, tripped), (1, cooling(2)), "folded anew, and after a restart");
    let refused = world.request_run(waiting).expect("a run");
    world.finish();
    assert_eq!((world.run_state(refused), world.state_of(kept)), (RunState::Refused, EntityState::Visible));
    world.clock.advance(Duration::from_secs(6 * 86_400));
    world.settle();
    let (ready, items, tripped) = plan(&mut world);
    assert_eq!((items, tripped.len()), (1, 0), "{}", world.story());
    world.request_run(ready).expect("a run");
    world.finish();
    assert_eq!(world.state_of(kept), EntityState::Purged, "{}", world.story());
}

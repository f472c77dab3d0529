//! Holds with a filter: what matches when one is placed, what arrives, and what changes so that it matches.

use std::collections::BTreeSet;

use proptest::prelude::*;
use retention_core::event::Event;
use retention_core::event::decision::PlanFrozen;
use retention_core::event::hold::{HoldPlaced, Judged};
use retention_core::id::{EntityId, HoldId};
use retention_core::policy::HoldFilter;
use retention_core::record::Kind;
use retention_core::view::{ByFilter, EntityState, RunState, Views};
use retention_tests::filters::Standings;
use retention_tests::invariants::MARKER;
use retention_tests::world::{Stage, Stepped, World};

use crate::holds::{at_every_step, case, id_is, standing};

fn contacts(filter: &str) -> HoldPlaced {
    HoldPlaced { filter: filter.to_owned(), standing: Some(standing(&[Kind::Contact], &["crm"])), ..case() }
}

/// The filter of what was last noted so.
fn noted(note: &str) -> String {
    format!("{{ field = \"display_name\", op = \"eq\", value = \"{MARKER} {note}\" }}")
}

fn catch_up(world: &mut World) {
    while world.step(Stage::Catch) != Stepped::Idle {}
}

fn why(world: &World, hold: HoldId, entity: EntityId) -> Option<ByFilter> {
    world.store().view(|views| views.held_by_filter(hold, entity))
}

/// What holds covers by its filter, and whether all is judged.
fn covered(world: &World, hold: HoldId) -> (BTreeSet<EntityId>, bool) {
    world.store().view(|views| {
        let is_covered = |entity: &EntityId| views.held_by_filter(hold, *entity).is_some();
        (views.entities.numbers_from(0).filter(is_covered).collect(), views.left_to_judge(hold) == 0)
    })
}

fn newest_plan(world: &World) -> PlanFrozen {
    let newest = |views: &Views| views.small.plans.iter().last().and_then(|(_, plan)| plan.frozen.clone());
    world.store().view(newest).expect("a frozen plan")
}

#[test]
fn a_hold_is_wide_until_it_has_judged_and_then_holds_what_matches() {
    let mut world = World::new("P0D");
    let all: Vec<EntityId> = ["a", "b", "c", "d", "e"].map(|id| world.add(id, "2020-01-01")).to_vec();
    world.settle();
    let hold = world.place_hold(contacts(&id_is("d"))).expect("a hold");
    assert_eq!(covered(&world, hold), (all.iter().copied().collect(), false), "nothing is judged");
    // Two are judged in a step, and a restart goes on from there, with or without what was written out.
    assert_eq!(world.step(Stage::Catch), Stepped::Worked);
    assert_eq!(covered(&world, hold), (all[2..].iter().copied().collect(), false));
    world.reopen();
    world.lose_sled();
    assert_eq!(covered(&world, hold), (all[2..].iter().copied().collect(), false));
    catch_up(&mut world);
    assert_eq!(covered(&world, hold), ([all[3]].into(), true), "{}", world.story());
    assert_eq!(why(&world, hold, all[3]), Some(ByFilter::Caught));
    // What arrives, what changes, and a change that makes no difference.
    let late = world.add("d", "2020-01-01");
    assert_eq!(why(&world, hold, late), Some(ByFilter::Unjudged));
    world.change(all[0], "changed");
    assert_eq!(why(&world, hold, all[0]), Some(ByFilter::Unjudged));
    catch_up(&mut world);
    assert_eq!(covered(&world, hold), ([all[3], late].into(), true), "{}", world.story());
    world.request_plan("contacts").expect("a plan");
    world.settle();
    let frozen = newest_plan(&world);
    assert_eq!(frozen.items, 4);
    assert!(frozen.kept.iter().any(|kept| kept.reason == "held" && kept.count == 2), "{:?}", frozen.kept);
    world.lose_sled();
    assert_eq!(covered(&world, hold), ([all[3], late].into(), true));
    world.release(hold);
    assert_eq!(covered(&world, hold).0, BTreeSet::new());
}

#[test]
fn what_a_hold_found_counts_as_it_was_then_also_if_it_changes_before_it_is_judged() {
    let mut world = World::new("P0D");
    let (one, other) = (world.add("a", "2020-01-01"), world.add("b", "2020-01-01"));
    world.change(one, "wanted");
    world.settle();
    let hold = world.place_hold(contacts(&noted("wanted"))).expect("a hold");
    world.change(one, "edited");
    // In between it matched, and nobody had looked by then.
    world.change(other, "wanted");
    world.change(other, "edited");
    let late = world.add("c", "2020-01-01");
    catch_up(&mut world);
    assert_eq!(covered(&world, hold), ([one, other].into(), true), "{}", world.story());
    assert_eq!(why(&world, hold, late), None);
}

/// Something comes to match between plan and purge, at every step there is.
#[test]
fn what_changes_so_that_it_matches_before_the_intent_is_kept_and_stays_so_until_the_hold_is_over() {
    for steps in 0.. {
        let mut world = World::new("P1D");
        let mailbox = world.add("m", "2026-01-01");
        let contact = world.add_in(mailbox, "a", "2020-01-01");
        let hold = world.place_hold(contacts(&noted("wanted"))).expect("a hold");
        world.settle();
        let (_, run) = world.approved_run("contacts");
        let is_over = world.run_for(steps);
        let was_past_pivot = world.pivots() > 0;
        world.change(contact, "wanted");
        world.check();
        world.finish();
        assert_eq!(world.run_state(run), RunState::Completed);
        if was_past_pivot {
            assert_eq!(world.state_of(contact), EntityState::Purged, "{}", world.story());
        } else {
            assert_eq!(world.state_of(contact), EntityState::Visible, "{}", world.story());
            assert_eq!(why(&world, hold, contact), Some(ByFilter::Caught));
            // An edit does not free it.
            world.change(contact, "edited");
            world.request_plan("contacts").expect("a plan");
            world.settle();
            assert_eq!(newest_plan(&world).items, 0, "{}", world.story());
            world.release(hold);
            world.approved_run("contacts");
            world.finish();
            assert_eq!(world.state_of(contact), EntityState::Purged, "{}", world.story());
        }
        if is_over {
            assert!(steps > 8, "a run takes more than {steps} steps");
            return;
        }
    }
}

#[test]
fn a_hold_whose_filter_does_not_match_keeps_nothing_once_it_has_judged() {
    at_every_step(
        |race| {
            race.world.place_hold(contacts(&id_is("nobody"))).expect("a hold");
            catch_up(&mut race.world);
        },
        |race| {
            race.world.finish();
            assert_eq!(race.world.state_of(race.contact), EntityState::Purged, "{}", race.world.story());
            assert_eq!(race.world.run_state(race.run), RunState::Completed);
        },
    );
    // And while it has not, it keeps for as long.
    at_every_step(
        |race| {
            race.world.place_hold(contacts(&id_is("nobody"))).expect("a hold");
        },
        |race| {
            while !race.world.run_for(1) {}
            let expected = if race.was_past_pivot { EntityState::Purged } else { EntityState::Visible };
            assert_eq!(race.world.state_of(race.contact), expected, "{}", race.world.story());
            catch_up(&mut race.world);
            race.world.approved_run("contacts");
            race.world.finish();
            assert_eq!(race.world.state_of(race.contact), EntityState::Purged, "{}", race.world.story());
        },
    );
}

#[test]
fn holds_that_are_equally_far_judge_a_change_together() {
    let mut world = World::new("P0D");
    world.add("a", "2020-01-01");
    world.settle();
    let holds = ["a", "b"].map(|id| world.place_hold(contacts(&id_is(id))).expect("a hold"));
    world.settle();
    let judgements = |world: &World| {
        let judged = |event: &Event| if let Event::HoldsJudged(body) = event { Some(body.holds.clone()) } else { None };
        world.log().iter().filter_map(|recorded| recorded.event().and_then(judged)).collect::<Vec<_>>()
    };
    let before = judgements(&world).len();
    let late = world.add("b", "2020-01-01");
    world.settle();
    let new = judgements(&world)[before..].concat();
    assert_eq!(new.iter().map(|one| one.hold).collect::<Vec<_>>(), holds, "one event for both: {new:?}");
    assert_eq!(new.iter().map(|one| one.caught.clone()).collect::<Vec<_>>(), [vec![], vec![late]]);
    assert!(new.iter().all(|one| matches!(one.judged, Judged::UpTo(_))));
    // What changes nothing is not written.
    let position = world.store().view(|views| views.position);
    assert_eq!(world.step(Stage::Catch), Stepped::Idle);
    assert_eq!(world.store().view(|views| views.position), position);
}

/// What happens to a world between two looks.
#[derive(Debug, Clone)]
enum Happening {
    Add(u8),
    Change(prop::sample::Index, u8),
    Place,
    Judge,
    WriteOut,
    Reopen,
    LoseSled,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => (0..3u8).prop_map(Happening::Add),
        6 => (any::<prop::sample::Index>(), 0..4u8).prop_map(|(entity, note)| Happening::Change(entity, note)),
        1 => Just(Happening::Place),
        4 => Just(Happening::Judge),
        1 => Just(Happening::WriteOut),
        1 => Just(Happening::Reopen),
        1 => Just(Happening::LoseSled),
    ]
}

/// Filters over what the worlds have (`id`, `display_name`), and over what they do not.
fn filter() -> impl Strategy<Value = String> {
    let field = prop::sample::select(vec!["id", "display_name", "display_name", "email1", "custom.Code"]);
    let text = prop::sample::select(vec!["r0", "r1", "n0", "n1", "n2", "1"]);
    let op = prop::sample::select(vec!["eq", "prefix", "suffix", "contains", "in", "exists", "absent"]);
    let leaf = (field, op, text).prop_map(|(field, op, text)| match op {
        "exists" | "absent" => format!("{{ field = \"{field}\", op = \"{op}\" }}"),
        "in" => format!("{{ field = \"{field}\", op = \"in\", value = [\"{text}\", \"{MARKER} {text}\"] }}"),
        "eq" | "prefix" if field == "display_name" => {
            format!("{{ field = \"{field}\", op = \"{op}\", value = \"{MARKER} {text}\" }}")
        }
        op => format!("{{ field = \"{field}\", op = \"{op}\", value = \"{text}\" }}"),
    });
    leaf.prop_recursive(3, 12, 3, |inner| {
        let parts = prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            parts.clone().prop_map(|parts| format!("{{ all = [{}] }}", parts.join(", "))),
            parts.prop_map(|parts| format!("{{ any = [{}] }}", parts.join(", "))),
            inner.prop_map(|part| format!("{{ not = {part} }}")),
        ]
    })
}

/// Compares what a hold covers with what every version since it was placed says, found without the program.
fn look(world: &World, holds: &[HoldId]) -> Result<(), TestCaseError> {
    let mut oracle = Standings::default();
    world.log().iter().for_each(|recorded| oracle.see(recorded));
    for hold in holds {
        let (covered, is_judged) = covered(world, *hold);
        let caught = oracle.caught(*hold);
        prop_assert!(covered.is_superset(&caught), "{hold}: {covered:?} without {caught:?}\n{}", world.story());
        if is_judged {
            prop_assert_eq!(covered, caught, "{}\n{}", hold, world.story());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn what_a_hold_catches_is_what_any_version_since_it_was_placed_says(
        filter in filter(),
        happenings in prop::collection::vec(happening(), 1..24),
    ) {
        prop_assert!(HoldFilter::check(&filter, &[Kind::Contact]).is_ok(), "{}", filter);
        let mut world = World::new("P0D");
        let mut entities = vec![world.add("r0", "2020-01-01"), world.add("r1", "2020-01-01")];
        let mut holds = vec![world.place_hold(contacts(&filter)).expect("a hold")];
        for happening in happenings {
            match happening {
                Happening::Add(id) => entities.push(world.add(&format!("r{id}"), "2020-01-01")),
                Happening::Change(which, note) => world.change(*which.get(&entities), &format!("n{note}")),
                Happening::Place => holds.push(world.place_hold(contacts(&filter)).expect("a hold")),
                Happening::Judge => drop(world.step(Stage::Catch)),
                Happening::WriteOut => world.store().write_out(1).expect("written out"),
                Happening::Reopen => world.reopen(),
                Happening::LoseSled => world.lose_sled(),
            }
            look(&world, &holds)?;
        }
        catch_up(&mut world);
        prop_assert!(holds.iter().all(|hold| covered(&world, *hold).1), "all is judged");
        look(&world, &holds)?;
    }
}

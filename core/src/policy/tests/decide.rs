//! All policies together: precedence, and that time only ever makes more due.

use proptest::prelude::*;

use super::*;
use crate::id::{HoldId, Position};
use crate::reason::Reason;

const LATE: &str = "2030-01-01T00:00:00Z";

fn decide(texts: &[(&str, String)], entity: &Entity, standing: &Standing) -> Decision {
    set(texts).decide(&entity.facts(), standing, at(LATE))
}

fn winner(decision: &Decision) -> Option<&str> {
    match &decision.outcome {
        Outcome::Due { policy, .. } => Some(policy),
        Outcome::Keep => None,
    }
}

fn codes(decision: &Decision) -> Vec<&'static str> {
    decision.reasons().map(Reason::code).collect()
}

#[test]
fn the_shortest_due_policy_wins_and_all_are_shown() {
    let texts = [
        ("a", text("a", &[("P1Y", "P3Y")])),
        ("b", text("b", &[])),
        ("c", text("c", &[("enforce", "simulate"), ("P1Y", "P1D")])),
    ];
    let decision = decide(&texts, &Entity::buyer("2020-01-01"), &Standing::FREE);
    assert_eq!(winner(&decision), Some("b"), "a simulated policy never wins");
    assert_eq!(codes(&decision), ["period_over"]);
    assert_eq!(decision.policies.iter().map(|a| a.policy.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn what_no_policy_is_about_is_kept() {
    let mut stranger = Entity::buyer("2020-01-01");
    stranger.record.cells = [Some("Seller")].into_iter().collect();
    for texts in [vec![], vec![("p", text("p", &[]))], vec![("p", text("p", &[("enforce", "draft")]))]] {
        let decision = decide(&texts, &stranger, &Standing::FREE);
        assert_eq!((winner(&decision), codes(&decision)), (None, vec!["no_policy"]));
    }
}

#[test]
fn keepers_stand_in_their_order() {
    let suspended = "period = \"P1Y\"\nsuspend_while = { field = \"job_title\", op = \"exists\" }";
    let texts = [
        ("a", text("a", &[])),
        ("b", text("b", &[("period = \"P1Y\"", suspended)])),
        ("c", text("c", &[("period = \"P1Y\"", "period = \"P1Y\"\nmin_keep = \"P20Y\"")])),
        ("d", text("d", &[("job_title\", op = \"eq\", value = \"Buyer\"", "shared\", op = \"eq\", value = true")])),
        ("e", text("e", &[("period = \"P1Y\"", "period = \"P1Y\"\nmin_keep = \"P30Y\"")])),
    ];
    let entity = Entity::buyer("2020-01-01");
    let all = Standing {
        holds: vec![HoldId(Position(7)), HoldId(Position(9))],
        restriction: Restriction::Restricted,
        needed: Some(Position(3)),
        excepted: None,
        reviews: Vec::new(),
        place: Place::Quarantined,
    };
    let decision = decide(&texts, &entity, &all);
    let order = [
        "held",
        "held",
        "restricted",
        "still_needed",
        "in_quarantine",
        "cannot_evaluate",
        "suspended",
        "kept_by_policy",
    ];
    assert_eq!((winner(&decision), codes(&decision)), (None, order.to_vec()));
    let longest = Reason::KeptByPolicy { policy: "e".to_owned(), until: at("2050-01-01T23:00:00Z") };
    assert_eq!(decision.reasons().last(), Some(&longest));
    let gone = Standing { place: Place::Gone, ..Standing::FREE };
    assert_eq!(decide(&texts[..1], &entity, &gone).reason, Reason::Gone);
}

#[test]
fn each_keeper_alone_is_enough() {
    let entity = Entity::buyer("2020-01-01");
    let due = ("a", text("a", &[]));
    assert_eq!(winner(&decide(std::slice::from_ref(&due), &entity, &Standing::FREE)), Some("a"));
    let standings = [
        Standing { holds: vec![HoldId(Position(1))], ..Standing::FREE },
        Standing { restriction: Restriction::Restricted, ..Standing::FREE },
        Standing { needed: Some(Position(1)), ..Standing::FREE },
        Standing { place: Place::Quarantined, ..Standing::FREE },
        Standing { place: Place::Gone, ..Standing::FREE },
    ];
    for standing in standings {
        assert_eq!(winner(&decide(std::slice::from_ref(&due), &entity, &standing)), None, "{standing:?}");
    }
    for keeper in [
        text("b", &[("period = \"P1Y\"", "period = \"P1Y\"\nmin_keep = \"P20Y\"")]),
        text("b", &[("period = \"P1Y\"", "period = \"P1Y\"\nmin_keep = \"P2Y\""), ("\"created\"", "\"closed\"")]),
        text(
            "b",
            &[("period = \"P1Y\"", "period = \"P1Y\"\nsuspend_while = { field = \"created\", op = \"exists\" }")],
        ),
        text("b", &[("job_title\", op = \"eq\", value = \"Buyer\"", "shared\", op = \"eq\", value = true")]),
    ] {
        assert_eq!(winner(&decide(&[due.clone(), ("b", keeper.clone())], &entity, &Standing::FREE)), None, "{keeper}");
        let simulated = keeper.replace("enforce", "simulate");
        assert_eq!(winner(&decide(&[due.clone(), ("b", simulated)], &entity, &Standing::FREE)), Some("a"));
    }
}

#[test]
fn one_policy_can_be_asked_for_and_the_keepers_of_others_still_hold() {
    let texts = [
        ("late", text("late", &[("P1Y", "P2Y")])),
        ("first", text("first", &[])),
        ("shown", text("shown", &[("enforce", "simulate")])),
        ("future", text("future", &[("P1Y", "P50Y")])),
    ];
    let entity = Entity::buyer("2020-01-01");
    let ask = |texts: &[(&str, String)], id: &str| {
        set(texts).decide_for(id, &entity.facts(), &Standing::FREE, at(LATE)).unwrap()
    };
    assert_eq!(winner(&ask(&texts, "late")), Some("late"));
    assert_eq!(winner(&ask(&texts, "shown")), Some("shown"));
    assert_eq!((winner(&ask(&texts, "future")), codes(&ask(&texts, "future"))), (None, vec!["period_running"]));
    assert!(set(&texts).decide_for("none", &entity.facts(), &Standing::FREE, at(LATE)).is_none());
    let keeper = text("k", &[("period = \"P1Y\"", "period = \"P1Y\"\nmin_keep = \"P20Y\"")]);
    let with_keeper = [texts.to_vec(), vec![("k", keeper)]].concat();
    assert_eq!(codes(&ask(&with_keeper, "late")), ["kept_by_policy"]);
}

#[test]
fn due_begins_at_the_very_instant() {
    let texts = [("p", text("p", &[]))];
    let entity = Entity::buyer("2020-01-01T12:00:00Z");
    let due_at = at("2021-01-01T23:00:00Z");
    let set = set(&texts);
    let ask = |now| winner(&set.decide(&entity.facts(), &Standing::FREE, now)).is_some();
    assert!(ask(due_at) && !ask(Timestamp(due_at.0 - 1)));
}

proptest! {
    #[test]
    fn an_earlier_now_never_makes_anything_newly_due(
        created in 0_i64..2_000_000_000,
        activity in prop::option::of(0_i64..4_000_000_000),
        now in 0_i64..4_000_000_000,
        back in 0_i64..1_000_000_000,
        (keep, start) in (1_u32..30, prop::sample::select(&["created", "last_activity", "first_seen"][..])),
    ) {
        let mut entity = Entity::buyer("2020-01-01");
        entity.record.dates = vec![(DateRole::Created, Timestamp::from_unix_seconds(created))];
        entity.last_activity = activity.map(Timestamp::from_unix_seconds);
        let texts = [
            ("a", text("a", &[("\"created\"", &format!("\"{start}\""))])),
            ("b", text("b", &[("period = \"P1Y\"", &format!("period = \"P4Y\"\nmin_keep = \"P{keep}Y\""))])),
        ];
        let set = set(&texts);
        let due = |now| winner(&set.decide(&entity.facts(), &Standing::FREE, Timestamp::from_unix_seconds(now))).is_some();
        prop_assert!(!due(now - back) || due(now));
        // What happens later in the future never makes it due earlier.
        let mut later = Entity::buyer("2020-01-01");
        later.record.dates.clone_from(&entity.record.dates);
        later.last_activity = entity.last_activity.map(|at| Timestamp(at.0 + 1_000_000 * back));
        let due_later = winner(&set.decide(&later.facts(), &Standing::FREE, Timestamp::from_unix_seconds(now))).is_some();
        prop_assert!(!due_later || due(now) || entity.last_activity.is_none());
    }
}

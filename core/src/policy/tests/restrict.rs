//! `kind = "restrict"`: what stands beside it, when it is due, and that it keeps nothing from disposal.

use super::*;
use crate::event::review::ReviewVerdict;
use crate::id::{Position, RestrictionId, ReviewId};
use crate::reason::Reason;

const PURGE: &str = "kind = \"purge\"";
const RESTRICT: &str = "kind = \"restrict\"";
const NOW: &str = "2026-01-01T00:00:00Z";

const BEFORE: RestrictionId = RestrictionId(Position(41));

/// A policy that restricts after a year.
fn restricting(replace: &[(&str, &str)]) -> (&'static str, String) {
    ("restricts", text("restricts", &[&[(PURGE, RESTRICT)], replace].concat()))
}

/// A policy that purges after three years.
fn purging() -> (&'static str, String) {
    ("purges", text("purges", &[("P1Y", "P3Y")]))
}

fn buyer(created: &str) -> Entity {
    Entity::of(&[("job_title", FieldType::List, Some("Buyer"))], &[(DateRole::Created, created)])
}

fn decided(texts: &[(&str, String)], entity: &Entity, restriction: Restriction) -> (Option<String>, &'static str) {
    let standing = Standing { restriction, ..Standing::FREE };
    let decision = set(texts).decide(&entity.facts(), &standing, at(NOW));
    let by = match &decision.outcome {
        Outcome::Due { policy, .. } => Some(policy.clone()),
        Outcome::Keep => None,
    };
    (by, decision.reason.code())
}

#[test]
fn what_has_no_meaning_beside_it_is_refused_with_the_reason() {
    let export = "[export]\nrequired = true\nformats = [\"jsonl\"]\n\n[action]\nkind = \"restrict\"";
    for (replace, said) in [
        (vec![("[action]\nkind = \"purge\"", export)], "destroys nothing"),
        (vec![(PURGE, "kind = \"restrict\"\nquarantine = \"P1D\"")], "can be lifted for ever"),
        (vec![(PURGE, "kind = \"restrict\"\nfields = { notes = \"remove\" }")], "beside kind = \"redact\" only"),
        (
            vec![
                (PURGE, RESTRICT),
                ("kind = \"contact\"", "kind = \"message\""),
                (WHERE, "match_all = true"),
                ("start = \"created\"", "start = \"received\""),
            ],
            "stays in use in its mailbox",
        ),
    ] {
        let found = errors(&replace);
        assert!(found.starts_with("p.toml:") && found.contains(said), "{found}");
    }
    assert_eq!(one(&[(PURGE, RESTRICT)]).action.quarantine(), crate::time::Period::NONE);
}

#[test]
fn it_is_due_once_and_after_a_person_took_it_back_not_again() {
    let (old, new) = (buyer("2024-01-01"), buyer("2025-06-01"));
    let texts = [restricting(&[])];
    assert_eq!(decided(&texts, &old, Restriction::None), (Some("restricts".to_owned()), "period_over"));
    assert_eq!(decided(&texts, &new, Restriction::None), (None, "period_running"));
    assert_eq!(decided(&texts, &old, Restriction::ByPolicy(BEFORE)), (None, "use_ended"));
    assert_eq!(decided(&texts, &old, Restriction::Lifted(BEFORE)), (None, "back_in_use"));
    assert_eq!(decided(&texts, &old, Restriction::Restricted), (None, "restricted"));
    // Whose period runs again is told so, restricted or not.
    assert_eq!(decided(&texts, &new, Restriction::ByPolicy(BEFORE)), (None, "period_running"));
}

#[test]
fn a_purge_with_the_same_scope_has_its_turn_later_and_its_minimum_protects() {
    let texts = [purging(), restricting(&[])];
    let (old, very_old) = (buyer("2024-01-01"), buyer("2020-01-01"));
    assert_eq!(decided(&texts, &old, Restriction::None).0.as_deref(), Some("restricts"));
    assert_eq!(decided(&texts, &old, Restriction::ByPolicy(BEFORE)).0, None);
    for restriction in [Restriction::ByPolicy(BEFORE), Restriction::Lifted(BEFORE)] {
        assert_eq!(decided(&texts, &very_old, restriction).0.as_deref(), Some("purges"));
    }
    let keeping = [purging(), restricting(&[("period = \"P1Y\"", "period = \"P1Y\"\nmin_keep = \"P10Y\"")])];
    assert_eq!(decided(&keeping, &very_old, Restriction::ByPolicy(BEFORE)), (None, "kept_by_policy"));
    // What others keep is kept by a restriction, too: it goes on.
    let archive = [
        ("archive", text("archive", &[("period = \"P1Y\"", "period = \"P10Y\"\nmin_keep = \"P10Y\"")])),
        ("purges", text("purges", &[])),
        restricting(&[("period = \"P1Y\"", "period = \"P2Y\"")]),
    ];
    assert_eq!(decided(&archive, &very_old, Restriction::None), (Some("restricts".to_owned()), "period_over"));
    let both = set(&archive).decide(&very_old.facts(), &Standing::FREE, at(NOW));
    assert_eq!(both.also.iter().map(Reason::code).collect::<Vec<_>>(), ["kept_by_policy"], "it is told all the same");
    assert_eq!(decided(&archive, &very_old, Restriction::ByPolicy(BEFORE)), (None, "kept_by_policy"));
    assert_eq!(decided(&archive[..2], &very_old, Restriction::None), (None, "kept_by_policy"));
    // An erasure that was asked for does not stop at it.
    let asked = Asked { request: crate::id::RequestId(Position(7)), received_at: at(NOW), claim: Claim::Erase };
    let standing = Standing { restriction: Restriction::ByPolicy(BEFORE), ..Standing::FREE };
    let decision = set(&texts).bind(&old.layout).decide_asked(&asked, &old.facts(), &standing, at(NOW));
    assert!(matches!(decision.outcome, Outcome::Due { .. }), "{decision:?}");
}

#[test]
fn what_waits_for_a_person_because_it_has_no_start_is_restricted_once_too() {
    let texts = [restricting(&[("start = \"created\"", "start = \"closed\"\non_missing_start = \"review\"")])];
    let entity = buyer("2020-01-01");
    let reviewed = crate::view::reviews::Reviewed {
        review: ReviewId(Position(50)),
        policy: "restricts".to_owned(),
        policy_digest: set(&texts).get("restricts").unwrap().digest(),
        verdict: ReviewVerdict::Dispose,
        by: 1_000,
        at: at("2025-12-01"),
        is_as_seen: true,
        due_at: None,
    };
    let decide = |restriction, reviews| {
        let standing = Standing { restriction, reviews, ..Standing::FREE };
        set(&texts).decide(&entity.facts(), &standing, at(NOW))
    };
    assert_eq!(decide(Restriction::None, vec![]).reason, Reason::ReviewNeeded { due_at: None });
    assert!(matches!(decide(Restriction::None, vec![reviewed.clone()]).outcome, Outcome::Due { .. }));
    let again = decide(Restriction::ByPolicy(BEFORE), vec![reviewed]);
    assert_eq!((again.outcome, again.reason.code()), (Outcome::Keep, "use_ended"));
}

#[test]
fn a_lock_lets_anything_become_a_restriction_and_a_restriction_nothing_else() {
    let locked = ("state = \"enforce\"", "state = \"enforce\"\nlock = \"ratchet\"");
    let of = |action: &str| set(&[("p", text("p", &[(PURGE, action), locked]))]);
    let restricts = of(RESTRICT);
    for other in [PURGE, "kind = \"review\"", "kind = \"redact\"\nfields = { notes = \"remove\" }"] {
        assert!(restricts.loosened(&of(other)).is_empty(), "{other}");
        assert!(!of(other).loosened(&restricts).is_empty(), "{other}");
    }
}

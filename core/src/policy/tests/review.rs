//! Disposition review: what waits, what a decision does, and for how long.

use super::*;
use crate::event::review::ReviewVerdict;
use crate::id::{Digest, Position, ReviewId};
use crate::reason::{Reason, StartKind};
use crate::view::reviews::Reviewed;

const NOW: &str = "2026-01-15T10:00:00Z";

fn asking() -> (&'static str, &'static str) {
    ("kind = \"purge\"", "kind = \"review\"")
}

fn without_start() -> [(&'static str, &'static str); 1] {
    [("start = \"created\"", "start = \"closed\"\non_missing_start = \"review\"")]
}

fn reviewed(policy: &Policy, verdict: ReviewVerdict, due_at: Option<Timestamp>) -> Reviewed {
    Reviewed {
        review: ReviewId(Position(9)),
        policy: policy.id.clone(),
        policy_digest: policy.digest(),
        verdict,
        by: 1002,
        at: at("2026-01-10"),
        is_as_seen: true,
        due_at,
    }
}

fn decide(replace: &[(&str, &str)], reviews: Vec<Reviewed>, now: Timestamp) -> Decision {
    let standing = Standing { reviews, ..Standing::FREE };
    set(&[("p", text("p", replace))]).decide(&Entity::buyer("2020-01-01").facts(), &standing, now)
}

fn due_at(replace: &[(&str, &str)]) -> Option<Timestamp> {
    match decide(replace, Vec::new(), at(NOW)).reason {
        Reason::ReviewNeeded { due_at } => due_at,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_due_under_a_policy_that_asks_before_somebody_decided() {
    assert_eq!(decide(&[asking()], Vec::new(), at(NOW)).outcome, Outcome::Keep);
    assert!(due_at(&[asking()]).is_some());
    assert_eq!(due_at(&without_start()), None);
    let early = decide(&[asking()], Vec::new(), at("2020-06-01"));
    assert!(matches!(early.reason, Reason::PeriodRunning { .. }), "{early:?}");
}

#[test]
fn a_decision_to_dispose_counts_for_exactly_what_was_looked_at() {
    let replace = [asking()];
    let policy = one(&replace);
    let seen = reviewed(&policy, ReviewVerdict::Dispose, due_at(&replace));
    let outcome = |reviewed: Reviewed| decide(&replace, vec![reviewed], at(NOW)).outcome;
    assert!(matches!(outcome(seen.clone()), Outcome::Due { .. }));
    let another = Digest([7; 32]);
    for other in [
        Reviewed { is_as_seen: false, ..seen.clone() },
        Reviewed { policy_digest: another, ..seen.clone() },
        Reviewed { due_at: Some(at("2019-01-01")), ..seen.clone() },
        Reviewed { due_at: None, ..seen.clone() },
        Reviewed { policy: "q".to_owned(), ..seen.clone() },
    ] {
        assert_eq!(outcome(other.clone()), Outcome::Keep, "{other:?}");
    }
    let standing = Standing { reviews: vec![seen], holds: vec![crate::id::HoldId(Position(3))], ..Standing::FREE };
    let held = set(&[("p", text("p", &replace))]).decide(&Entity::buyer("2020-01-01").facts(), &standing, at(NOW));
    assert!(matches!(held.reason, Reason::Held { .. }), "a hold is stronger than any decision");
}

#[test]
fn what_a_person_keeps_is_not_due_before_its_day_and_waits_then() {
    let until = at("2027-01-01");
    for replace in [vec![asking()], without_start().to_vec(), vec![]] {
        let policy = one(&replace);
        // Whatever was looked at: a decision to keep binds also what changed since.
        let kept = Reviewed {
            is_as_seen: false,
            policy_digest: Digest([7; 32]),
            ..reviewed(&policy, ReviewVerdict::Keep { until }, None)
        };
        let before = decide(&replace, vec![kept.clone()], at(NOW));
        assert_eq!(before.outcome, Outcome::Keep);
        assert_eq!(before.reason, Reason::KeptByReview { review: kept.review, by: 1002, until });
        let after = decide(&replace, vec![kept], until);
        match replace.is_empty() {
            true => assert!(matches!(after.outcome, Outcome::Due { .. }), "a purge asks nobody"),
            false => assert!(matches!(after.reason, Reason::ReviewNeeded { .. }), "{after:?}"),
        }
    }
}

#[test]
fn what_one_policy_keeps_by_review_another_may_still_dispose_of() {
    let texts =
        [("p", text("p", &[asking()])), ("q", text("q", &[("op = \"eq\", value = \"Buyer\"", "op = \"exists\"")]))];
    let decision = set(&texts).decide(&Entity::buyer("2020-01-01").facts(), &Standing::FREE, at(NOW));
    assert!(matches!(&decision.outcome, Outcome::Due { policy, .. } if policy == "q"), "{decision:?}");
}

#[test]
fn without_a_start_a_decision_is_the_start() {
    let policy = one(&without_start());
    let decided = reviewed(&policy, ReviewVerdict::Dispose, None);
    let decision = decide(&without_start(), vec![decided.clone()], at(NOW));
    assert!(
        matches!(&decision.outcome, Outcome::Due { start: StartKind::Reviewed, start_at, is_fallback: true, .. }
            if *start_at == decided.at),
        "{decision:?}"
    );
    assert_eq!(rested_on(&policy, &decision, std::slice::from_ref(&decided)), Some(decided.review));
    let purge = one(&[]);
    let due = decide(&[], Vec::new(), at(NOW));
    assert_eq!(rested_on(&purge, &due, &[decided]), None, "a purge rests on nobody's decision");
}

#[test]
fn a_review_is_part_of_the_canonical_form_and_bad_input_is_refused() {
    assert_ne!(one(&[]).digest(), one(&[asking()]).digest());
    let keep = [("start = \"created\"", "start = \"closed\"")];
    assert_ne!(one(&keep).digest(), one(&without_start()).digest());
    assert!(errors(&[("kind = \"purge\"", "kind = \"reveiw\"")]).contains("review"));
    let problem =
        errors(&[("start = \"created\"", "start = \"created\"\non_missing_start = \"review\"\nmin_keep = \"P1Y\"")]);
    assert!(problem.contains("min_keep") && problem.contains("nobody could decide"), "{problem}");
}

#[test]
fn a_locked_policy_can_come_to_ask_and_never_cease_to() {
    let locked = |replace: &[(&str, &str)]| {
        let mut all = vec![("state = \"enforce\"", "state = \"enforce\"\nlock = \"ratchet\"")];
        all.extend(replace);
        set(&[("p", text("p", &all))])
    };
    let fallback = [("start = \"created\"", "start = \"closed\"\non_missing_start = \"fallback:created\"")];
    let keep = [("start = \"created\"", "start = \"closed\"")];
    assert!(locked(&[asking()]).loosened(&locked(&[])).is_empty());
    assert!(show(&locked(&[]).loosened(&locked(&[asking()]))).contains("[action]"));
    assert!(locked(&without_start()).loosened(&locked(&fallback)).is_empty());
    assert!(locked(&keep).loosened(&locked(&without_start())).is_empty());
    for (old, new) in [(&without_start(), &fallback), (&keep, &without_start())] {
        assert!(show(&locked(new).loosened(&locked(old))).contains("on_missing_start"));
    }
}

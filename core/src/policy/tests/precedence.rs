//! The order of precedence, over all pairs.

use super::*;
use crate::id::{HoldId, Position, RequestId};
use crate::policy::precedence::Rank;
use crate::reason::Reason;

const LATE: &str = "2030-01-01T00:00:00Z";

/// What makes a rank speak of a buyer made in 2020: policies, and where it stands.
fn circumstances(rank: Rank) -> (Vec<(&'static str, String)>, Standing) {
    let policy = |id: &'static str, replace: &[(&str, &str)]| vec![(id, text(id, replace))];
    let free = Standing::FREE;
    match rank {
        Rank::Gone => (vec![], Standing { place: Place::Gone, ..free }),
        Rank::Held => (vec![], Standing { holds: vec![HoldId(Position(7))], ..free }),
        Rank::Restricted => (vec![], Standing { restriction: Restriction::Restricted, ..free }),
        Rank::StillNeeded => (vec![], Standing { needed: Some(Position(3)), ..free }),
        Rank::InQuarantine => (vec![], Standing { place: Place::Quarantined, ..free }),
        Rank::CannotEvaluate => {
            let unreadable = "where = { field = \"is_business_contact\", op = \"eq\", value = true }";
            (policy("unread", &[(WHERE, unreadable)]), free)
        }
        Rank::Suspended => {
            let while_buyer = "period = \"P1Y\"\nsuspend_while = { field = \"job_title\", op = \"exists\" }";
            (policy("paused", &[("period = \"P1Y\"", while_buyer)]), free)
        }
        Rank::UnknownMinimum => {
            let lacking = [("period = \"P1Y\"", "period = \"P1Y\"\nmin_keep = \"P1Y\""), ("\"created\"", "\"closed\"")];
            (policy("no-start", &lacking), free)
        }
        // A minimum binds only what something else would dispose of.
        Rank::KeptByPolicy => {
            let mut both = policy("minimum", &[("period = \"P1Y\"", "period = \"P1Y\"\nmin_keep = \"P30Y\"")]);
            both.extend(policy("also-due", &[]));
            (both, free)
        }
        // What a request says: see `claim_of`.
        Rank::Excepted | Rank::ErasureRequested => (vec![], free),
        Rank::Due => (policy("due", &[]), free),
        Rank::NotDue => (policy("later", &[("P1Y", "P90Y")]), free),
        Rank::NoPolicy => (vec![], free),
    }
}

fn reason_of(rank: Rank) -> &'static [&'static str] {
    match rank {
        Rank::Gone => &["gone"],
        Rank::Held => &["held"],
        Rank::Restricted => &["restricted"],
        Rank::StillNeeded => &["still_needed"],
        Rank::InQuarantine => &["in_quarantine"],
        Rank::CannotEvaluate => &["cannot_evaluate"],
        Rank::Suspended => &["suspended"],
        Rank::UnknownMinimum => &["no_start"],
        Rank::KeptByPolicy => &["kept_by_policy"],
        Rank::Excepted => &["excepted"],
        Rank::ErasureRequested => &["erasure_requested"],
        Rank::Due => &["period_over"],
        Rank::NotDue => &["period_running"],
        Rank::NoPolicy => &["no_policy"],
    }
}

/// What a request for erasure says; `None`: there is no request, and the policies alone decide.
fn claim_of(a: Rank, b: Rank) -> Option<Claim> {
    let pair = [a, b];
    let says = |rank: Rank, claim: Claim| pair.contains(&rank).then_some(claim);
    says(Rank::Excepted, Claim::Excepted).or(says(Rank::ErasureRequested, Claim::Erase))
}

fn together(a: Rank, b: Rank) -> Decision {
    let ((mut texts, first), (more, second)) = (circumstances(a), circumstances(b));
    texts.extend(more);
    texts.sort();
    texts.dedup();
    let place = [first.place, second.place];
    let standing = Standing {
        holds: first.holds.iter().chain(&second.holds).copied().collect(),
        restriction: if first.restriction == Restriction::Restricted { first.restriction } else { second.restriction },
        needed: first.needed.or(second.needed),
        excepted: first.excepted.or(second.excepted),
        reviews: Vec::new(),
        place: if place.contains(&Place::Gone) {
            Place::Gone
        } else if place.contains(&Place::Quarantined) {
            Place::Quarantined
        } else {
            Place::Live
        },
    };
    let mut buyer = Entity::of(
        &[("job_title", FieldType::List, Some("Buyer")), ("is_business_contact", FieldType::Boolean, Some("perhaps"))],
        &[(DateRole::Created, "2020-01-01")],
    );
    buyer.first_seen = at("2020-01-01");
    let (set, facts, now) = (set(&texts), buyer.facts(), at(LATE));
    match claim_of(a, b) {
        None => set.decide(&facts, &standing, now),
        Some(claim) => {
            let asked = Asked { request: RequestId(Position(9)), received_at: at("2029-12-01"), claim };
            set.bind(facts.layout).decide_asked(&asked, &facts, &standing, now)
        }
    }
}

#[test]
fn of_any_two_the_stronger_decides() {
    for (n, a) in Rank::ALL.into_iter().enumerate() {
        for b in Rank::ALL.into_iter().skip(n) {
            let strongest = a.min(b);
            for decision in [together(a, b), together(b, a)] {
                let code = decision.reason.code();
                assert!(reason_of(strongest).contains(&code), "{a:?} and {b:?}: {code}");
                assert_eq!(decision.outcome == Outcome::Keep, strongest.keeps(), "{a:?} and {b:?}");
            }
        }
    }
}

#[test]
fn the_order_is_the_one_that_the_documentation_names() {
    let manual = include_str!("../../../../policies/README.md");
    let said = manual.split("## Who wins").nth(1).unwrap();
    let mut from = 0;
    for word in [
        "a hold",
        "a restriction",
        "quarantine",
        "cannot be",
        "`suspend_while`",
        "`min_keep`",
        "an exception",
        "erasure",
        "earliest due",
    ] {
        let at = said[from..].find(word).unwrap_or_else(|| panic!("{word} does not come next"));
        from += at;
    }
}

#[test]
fn a_request_for_erasure_is_stronger_than_a_period_and_weaker_than_every_minimum() {
    let asked = |claim| Asked { request: RequestId(Position(9)), received_at: at("2029-12-01"), claim };
    let buyer = Entity::buyer("2020-01-01");
    let decide = |texts: &[(&'static str, String)], claim| {
        set(texts).bind(buyer.facts().layout).decide_asked(&asked(claim), &buyer.facts(), &Standing::FREE, at(LATE))
    };
    let running = [("later", text("later", &[("P1Y", "P90Y")]))];
    let decision = decide(&running, Claim::Erase);
    assert!(matches!(&decision.outcome, Outcome::Due { policy, .. } if policy == "subject-request"));
    // A minimum binds it although nothing else is due, and although it is the policy's own.
    let minimum = [("m", text("m", &[("period = \"P1Y\"", "period = \"P1Y\"\nmin_keep = \"P30Y\"")]))];
    assert!(matches!(decide(&minimum, Claim::Erase).reason, Reason::KeptByPolicy { .. }));
    // What nobody asked for any more stays, although a policy would dispose of it.
    let due = [("due", text("due", &[]))];
    let decision = decide(&due, Claim::None);
    assert_eq!((decision.outcome, decision.reason.code()), (Outcome::Keep, "not_asked"));
    assert_eq!(decide(&due, Claim::Excepted).outcome, Outcome::Keep);
}

#[test]
fn among_equals_the_longest_minimum_and_the_earliest_due_date_count() {
    let minimum = |years: u32| format!("period = \"P1Y\"\nmin_keep = \"P{years}Y\"");
    let texts = [
        ("a", text("a", &[("period = \"P1Y\"", &minimum(20))])),
        ("b", text("b", &[("period = \"P1Y\"", &minimum(40))])),
        ("c", text("c", &[])),
    ];
    let buyer = Entity::buyer("2020-01-01");
    let decision = set(&texts).decide(&buyer.facts(), &Standing::FREE, at(LATE));
    assert!(matches!(&decision.reason, Reason::KeptByPolicy { policy, .. } if policy == "b"));
    let texts = [("z", text("z", &[])), ("y", text("y", &[("P1Y", "P2Y")])), ("x", text("x", &[("P1Y", "P2Y")]))];
    let decision = set(&texts).decide(&buyer.facts(), &Standing::FREE, at(LATE));
    assert!(matches!(&decision.outcome, Outcome::Due { policy, .. } if policy == "z"));
    let decision = set(&texts[1..]).decide(&buyer.facts(), &Standing::FREE, at(LATE));
    assert!(matches!(&decision.outcome, Outcome::Due { policy, .. } if policy == "x"));
}

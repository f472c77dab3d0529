//! The parts of the language that say more than one period: overrides, latest ends, business years, locks, hours.

use super::*;

fn due_of(policy: &Arc<Policy>, entity: &Entity) -> String {
    match policy.bind(&entity.layout).assess(&entity.facts()) {
        Assessment::Due { due_at, .. } => due_at.to_string(),
        Assessment::OutOfScope => "out".to_owned(),
        Assessment::CannotEvaluate { field } => field.to_owned(),
        other @ (Assessment::NoStart { .. } | Assessment::NotRedacted { .. } | Assessment::Suspended) => {
            format!("{other:?}")
        }
    }
}

fn retention(more: &str) -> Arc<Policy> {
    one(&[("timezone = \"Europe/Paris\"", &format!("timezone = \"Europe/Paris\"\n{more}"))])
}

fn titled(city: Option<&str>) -> Entity {
    let mut entity = Entity::of(
        &[("job_title", FieldType::List, Some("Buyer")), ("work_city", FieldType::Text, city)],
        &[(DateRole::Created, "2024-01-10T12:00:00Z"), (DateRole::Modified, "2025-01-10T12:00:00Z")],
    );
    entity.last_activity = Some(at("2025-06-10T12:00:00Z"));
    entity
}

const OVERRIDES: &str = r#"
[[retention.override]]
where = { field = "work_city", op = "eq", value = "Wien" }
period = "P7Y"
[[retention.override]]
where = { field = "work_city", op = "prefix", value = "W" }
period = "P2Y"
start = "modified"
align = "end_of_year"
"#;

#[test]
fn the_first_override_that_matches_holds_instead() {
    let policy = retention(OVERRIDES);
    assert_eq!(due_of(&policy, &titled(Some("Praha"))), "2025-01-10T23:00:00Z");
    assert_eq!(due_of(&policy, &titled(Some("Wien"))), "2031-01-10T23:00:00Z");
    assert_eq!(due_of(&policy, &titled(Some("Warszawa"))), "2027-12-31T23:00:00Z");
    assert_eq!(due_of(&policy, &titled(None)), "2025-01-10T23:00:00Z", "an empty field matches nothing");
}

#[test]
fn an_override_that_cannot_be_read_keeps() {
    let policy = retention(
        "[[retention.override]]\nwhere = { field = \"is_business_contact\", op = \"eq\", value = true }\nperiod = \"P7Y\"",
    );
    let entity = Entity::of(
        &[("job_title", FieldType::List, Some("Buyer")), ("is_business_contact", FieldType::Boolean, Some("perhaps"))],
        &[(DateRole::Created, "2024-01-10T12:00:00Z")],
    );
    assert_eq!(due_of(&policy, &entity), "is_business_contact");
}

#[test]
fn what_is_wrong_in_an_override_has_its_place() {
    let shown = |part: &str| {
        let text = text("p", &[("timezone = \"Europe/Paris\"", &format!("timezone = \"Europe/Paris\"\n{part}"))]);
        show(&PolicySet::check(&[PolicyFile { stem: "p", text: &text }]).unwrap_err())
    };
    let part = "[[retention.override]]\nperiod = \"P7Y\"";
    assert!(shown(part).contains("`where` is missing in [[retention.override]]"), "{}", shown(part));
    let part = "[[retention.override]]\nwhere = { field = \"citty\", op = \"exists\" }\nperiod = \"P7Y\"";
    assert!(shown(part).contains("p.toml:18:") && shown(part).contains("unknown field `citty`"), "{}", shown(part));
    let part = "[[retention.override]]\nwhere = { field = \"notes\", op = \"exists\" }\nperiod = \"PT1H\"";
    assert!(shown(part).contains("`period` must be at least a day"), "{}", shown(part));
    let part = "[[retention.override]]\nwhere = { field = \"notes\", op = \"exists\" }\nperiod = \"P1Y\"\nperiot = 1";
    assert!(shown(part).contains("unknown key `periot`"), "{}", shown(part));
}

#[test]
fn a_latest_end_cuts_what_activity_prolongs_and_never_what_min_keep_keeps() {
    let by_activity = |more: &str| {
        one(&[
            ("start = \"created\"", "start = \"last_activity\""),
            ("timezone = \"Europe/Paris\"", &format!("timezone = \"Europe/Paris\"\n{more}")),
        ])
    };
    let entity = titled(None);
    assert_eq!(due_of(&by_activity(""), &entity), "2026-06-10T22:00:00Z");
    assert_eq!(due_of(&by_activity("max_keep = \"P2Y\""), &entity), "2026-01-10T23:00:00Z");
    assert_eq!(due_of(&by_activity("max_keep = \"P9Y\""), &entity), "2026-06-10T22:00:00Z");
    let kept = by_activity("max_keep = \"P1Y\"\nmin_keep = \"P1Y\"");
    assert_eq!(due_of(&kept, &entity), "2026-06-10T22:00:00Z", "min_keep counts from the activity");
    // Nobody knows when it was made: from when it was first seen, which is later.
    let mut unknown = Entity::of(&[("job_title", FieldType::List, Some("Buyer"))], &[]);
    unknown.last_activity = Some(at("2026-06-10T12:00:00Z"));
    assert_eq!(due_of(&by_activity("max_keep = \"P2Y\""), &unknown), "2026-06-01T22:00:00Z");
    let shown = errors(&[("start = ", "max_keep = \"P6M\"\nstart = ")]);
    assert!(shown.contains("`max_keep` may end before `period`"), "{shown}");
}

#[test]
fn a_business_year_begins_with_the_month_that_the_file_names() {
    let policy = retention("align = \"end_of_fiscal_year\"\nfiscal_year_start = \"apr\"");
    assert_eq!(due_of(&policy, &titled(None)), "2025-03-31T22:00:00Z");
    let shown = errors(&[("start = ", "align = \"end_of_fiscal_year\"\nstart = ")]);
    assert!(shown.contains("`fiscal_year_start` is missing"), "{shown}");
    let shown = errors(&[("start = ", "align = \"end_of_fiscal_year\"\nfiscal_year_start = \"avr\"\nstart = ")]);
    assert!(shown.contains("did you mean `apr`?"), "{shown}");
    let shown = errors(&[("start = ", "fiscal_year_start = \"apr\"\nstart = ")]);
    assert!(shown.contains("has no meaning without align"), "{shown}");
}

#[test]
fn a_policy_for_what_is_new_leaves_the_rest_alone() {
    let policy = one(&[("state = ", "applies_to = \"new\"\napplies_from = 2024-01-10T12:00:00Z\nstate = ")]);
    assert_eq!(due_of(&policy, &titled(None)), "2025-01-10T23:00:00Z");
    let policy = one(&[("state = ", "applies_to = \"new\"\napplies_from = 2024-01-11\nstate = ")]);
    assert_eq!(due_of(&policy, &titled(None)), "out");
    let shown = errors(&[("state = ", "applies_to = \"new\"\nstate = ")]);
    assert!(shown.contains("`applies_from` is missing in [policy]: say from when on"), "{shown}");
    let shown = errors(&[("state = ", "applies_from = 2024-01-11\nstate = ")]);
    assert!(shown.contains("has no meaning without applies_to"), "{shown}");
}

#[test]
fn hours_spread_and_runtime_are_checked() {
    let timing = |more: &str| {
        one(&[("cron = \"on_demand\"", &format!("cron = \"0 3 * * *\"\ntimezone = \"Europe/Paris\"\n{more}"))])
            .timing
            .clone()
    };
    let timed = timing("blackout = [\"mon-fri 07:00-19:00\"]\njitter = \"PT10M\"\nmax_runtime = \"PT2H\"");
    assert_eq!(timed.waits_until(at("2026-01-15T10:00:00Z")), Some(at("2026-01-15T18:00:00Z")));
    assert_eq!(timed.waits_until(at("2026-01-17T10:00:00Z")), None);
    assert_eq!(timed.max_runtime_ms, Some(7_200_000));
    let nominal = at("2026-01-15T02:00:00Z");
    let put_off = timed.jitter_us("p", nominal);
    assert!((0..=600_000_000).contains(&put_off));
    assert_eq!(put_off, timed.jitter_us("p", nominal), "the same for the same time");
    assert_ne!(put_off, timed.jitter_us("q", nominal));
    let shown = |more: &str| {
        errors(&[("cron = \"on_demand\"", &format!("cron = \"0 3 * * *\"\ntimezone = \"Europe/Paris\"\n{more}"))])
    };
    assert!(shown("blackout = [\"7-19\"]").contains("`blackout` is not a span of hours"));
    assert!(shown("blackout = [\"00:00-24:00\"]").contains("leaves no minute of a week"));
    assert!(shown("jitter = \"P1D\"").contains("`jitter` must be exact"));
    assert!(shown("jitter = \"PT2H\"").contains("at most an hour"));
    assert!(shown("max_runtime = \"PT1S\"").contains("at least a minute"));
    assert!(shown("dst_gap = \"skip\"").contains("must be one of run_after"));
    let shown = errors(&[("cron = \"on_demand\"", "cron = \"on_demand\"\nblackout = [\"07:00-19:00\"]")]);
    assert!(shown.contains("`timezone` is missing in [schedule]: hours are those of a place"), "{shown}");
}

#[test]
fn what_says_nothing_new_keeps_its_digest() {
    assert_eq!(one(&[]).digest(), one(&[("state = ", "lock = \"none\"\napplies_to = \"all\"\nstate = ")]).digest());
    assert_ne!(one(&[]).digest(), one(&[("state = ", "lock = \"ratchet\"\nstate = ")]).digest());
    assert_ne!(one(&[]).digest(), retention(OVERRIDES).digest());
    assert_ne!(one(&[]).digest(), retention("max_keep = \"P5Y\"").digest());
}

const LOCKED: (&str, &str) = ("state = ", "lock = \"ratchet\"\nstate = ");

/// What a change of a locked policy would loosen.
fn loosened(before: &[(&str, &str)], after: &[(&str, &str)]) -> Vec<String> {
    let with = |more: &[(&str, &str)]| {
        let all: Vec<_> = std::iter::once(LOCKED).chain(more.iter().copied()).collect();
        set(&[("p", text("p", &all))])
    };
    with(after).loosened(&with(before)).iter().map(ToString::to_string).collect()
}

#[test]
fn a_locked_policy_can_only_be_made_to_keep_more() {
    assert_eq!(loosened(&[], &[]), [""; 0]);
    assert_eq!(loosened(&[], &[("period = \"P1Y\"", "period = \"P2Y\"")]), [""; 0]);
    assert_eq!(loosened(&[], &[("start = ", "min_keep = \"P1Y\"\nstart = ")]), [""; 0]);
    assert_eq!(loosened(&[("start = ", "max_keep = \"P3Y\"\nstart = ")], &[]), [""; 0]);
    for (before, after, key) in [
        (&[][..], &[("period = \"P1Y\"", "period = \"P11M\"")][..], "period"),
        (&[], &[("period = \"P1Y\"", "period = \"P360D\"")], "period"),
        (&[], &[("\"enforce\"", "\"simulate\"")], "state"),
        (&[], &[("start = ", "max_keep = \"P3Y\"\nstart = ")], "max_keep"),
        (&[("start = ", "min_keep = \"P1Y\"\nstart = ")], &[], "min_keep"),
        (&[], &[(WHERE, "match_all = true")], "[scope]"),
        (&[], &[("\"created\"", "\"modified\"")], "[retention]"),
        (&[], &[("kind = \"purge\"", "kind = \"purge\"\nquarantine = \"P1D\"")], "quarantine"),
        (&[], &[("[action]", "[approval]\nrequired = false\n[action]")], "[approval]"),
        (&[], &[("[action]", "[limits]\nmax_percent = 50\n[action]")], "max_percent"),
        (&[], &[("[action]", "[limits]\nmax_drift_percent = 21\n[action]")], "max_drift_percent"),
    ] {
        let shown = loosened(before, after);
        assert!(shown.iter().any(|line| line.contains(&format!("`{key}` is locked"))), "{key}: {shown:?}");
    }
    let locked = set(&[("p", text("p", &[LOCKED]))]);
    let gone = PolicySet::empty().loosened(&locked);
    assert!(show(&gone).contains("p.toml:1:1: `the policy` is locked by `lock = \"ratchet\"` and cannot be removed"));
    let unlocked = set(&[("p", text("p", &[]))]);
    assert!(show(&unlocked.loosened(&locked)).contains("`lock` is locked"));
    assert_eq!(locked.loosened(&unlocked), []);
}

#[test]
fn what_lets_a_policy_dispose_of_more_or_sooner_is_told_whether_it_is_locked_or_not() {
    let max = ("start = ", "max_keep = \"P3Y\"\nstart = ");
    for (before, after, more) in [
        (&[][..], &[("period = \"P1Y\"", "period = \"P2Y\"")][..], &[][..]),
        (&[], &[("[action]", "[approval]\nrequired = false\n[action]")], &[]),
        (&[], &[("[action]", "[limits]\nmax_percent = 50\n[action]")], &[]),
        (&[LOCKED], &[], &[]),
        (&[max], &[], &[]),
        (&[], &[("period = \"P1Y\"", "period = \"P11M\"")], &["period"]),
        (&[], &[max], &["max_keep"]),
        (&[], &[(WHERE, "match_all = true")], &["[scope]"]),
        (&[], &[("\"created\"", "\"modified\"")], &["[retention]"]),
        (&[("kind = \"purge\"", "kind = \"review\"")], &[], &["[action]"]),
    ] {
        assert_eq!(one(after).disposes_of_more_than(&one(before)), more, "{before:?} {after:?}");
    }
}

#[test]
fn what_a_policy_kept_from_others_is_missed_when_nothing_keeps_it_as_long() {
    let min_keep = ("start = ", "min_keep = \"P5Y\"\nstart = ");
    let suspended = ("start = ", "suspend_while = { field = \"job_title\", op = \"exists\" }\nstart = ");
    let other = one(&[(WHERE, "match_all = true")]);
    let keeper = |edits: &[(&str, &str)]| set(&[("keeper", text("keeper", edits))]);
    let missed =
        |before: &[(&str, &str)], now: &PolicySet| now.unprotected(keeper(before).get("keeper").unwrap(), &other);
    let nothing = PolicySet::empty();
    assert_eq!(missed(&[min_keep], &nothing), ["min_keep"]);
    assert_eq!(missed(&[suspended], &nothing), ["suspend_while"]);
    assert_eq!(missed(&[], &nothing), [""; 0], "it kept from nobody");
    assert_eq!(missed(&[min_keep, ("\"enforce\"", "\"simulate\"")], &nothing), [""; 0], "nor while it was tried out");
    assert_eq!(
        missed(&[min_keep, ("\"contact\"", "\"task\""), (WHERE, "match_all = true")], &nothing),
        [""; 0],
        "nor what it was not about"
    );

    for (now, is_missed) in [
        (&[min_keep][..], false),
        (&[min_keep, ("period = \"P1Y\"", "period = \"P1M\""), ("kind = \"purge\"", "kind = \"review\"")], false),
        (&[("start = ", "min_keep = \"P6Y\"\nstart = ")], false),
        (&[("start = ", "min_keep = \"P4Y\"\nstart = ")], true),
        (&[], true),
        (&[min_keep, ("\"enforce\"", "\"draft\"")], true),
        (&[min_keep, (WHERE, "match_all = true")], true),
        (&[min_keep, ("\"created\"", "\"modified\"")], true),
    ] {
        assert_eq!(!missed(&[min_keep], &keeper(now)).is_empty(), is_missed, "{now:?}");
    }
    let renamed = set(&[("another", text("another", &[min_keep]))]);
    assert_eq!(missed(&[min_keep], &renamed), [""; 0], "whatever it is called");

    let before = keeper(&[min_keep]);
    let before = before.get("keeper").unwrap();
    let restricting = one(&[("kind = \"purge\"", "kind = \"restrict\""), (WHERE, "match_all = true")]);
    assert_eq!(nothing.unprotected(before, &restricting), [""; 0], "nothing keeps from what destroys nothing");
    let elsewhere = keeper(&[min_keep, (WHERE, &format!("source = [\"a\"]\n{WHERE}"))]);
    let of_b = one(&[(WHERE, "source = [\"b\"]\nmatch_all = true")]);
    assert_eq!(nothing.unprotected(elsewhere.get("keeper").unwrap(), &of_b), [""; 0]);
    assert_eq!(nothing.unprotected(before, before), [""; 0], "its own minimum is told as its own");
    let erasure = Policy::of_erasures().unwrap();
    assert_eq!(nothing.unprotected(before, &erasure), ["min_keep"]);
}

#[test]
fn one_period_is_at_least_another_only_when_no_start_makes_it_shorter() {
    let at_least = |a: &str, b: &str| a.parse::<crate::time::Period>().unwrap().is_at_least(b.parse().unwrap());
    assert!(at_least("P1Y", "P12M") && at_least("P12M", "P1Y"));
    assert!(!at_least("P1M", "P30D") && !at_least("P30D", "P1M"));
    assert!(at_least("P2W", "P14D") && at_least("PT48H", "PT48H"));
    assert!(at_least("P20Y", "P1D") && at_least("P24M", "P1D") && at_least("P1M", "P4W"));
    assert!(at_least("P1Y", "P365D") && !at_least("P1Y", "P366D") && !at_least("P1M", "P29D"));
    assert!(at_least("P31D", "P1M") && at_least("P366D", "P1Y") && !at_least("P365D", "P1Y"));
    assert!(!at_least("P1D", "PT24H") && at_least("P4D", "PT24H"));
    assert!(!at_least("PT24H", "P1D") && at_least("PT96H", "P1D"));
}

#[test]
fn a_bundle_may_be_kept_for_days_months_or_years() {
    for keep in ["P1D", "P1M", "P24M", "P20Y", "PT96H"] {
        let table = format!("[export]\nkeep = \"{keep}\"\n[action]");
        let _valid = set(&[("p", text("p", &[("[action]", table.as_str())]))]);
    }
}

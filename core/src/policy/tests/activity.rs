//! `activity_events`: which activities move a start on, and that what nobody can class always does.

use proptest::prelude::*;

use super::*;
use crate::id::EntityId;
use crate::record::activity::ActivityClass;

fn class(name: &str) -> Option<ActivityClass> {
    (!name.is_empty()).then(|| ActivityClass::from_name(name).unwrap())
}

fn activity(name: &str, on: &str) -> Activity {
    Activity { class: class(name), at: at(on), by: Some(EntityId(7)) }
}

/// A buyer with the newest activity of each of some classes.
fn dealt_with(activities: Vec<Activity>) -> Entity {
    let mut entity = Entity::buyer("2019-05-05T12:00:00Z");
    entity.last_activity = activities.iter().map(|activity| activity.at).max();
    entity.activities = activities;
    entity
}

fn counting(list: &str, more: &str) -> Arc<Policy> {
    let list = if list.is_empty() { String::new() } else { format!("\nactivity_events = [{list}]") };
    one(&[("start = \"created\"", &format!("start = \"last_activity\"{list}\n{more}"))])
}

fn start_of(policy: &Arc<Policy>, entity: &Entity) -> Option<(Timestamp, Timestamp)> {
    match policy.bind(&entity.layout).assess(&entity.facts()) {
        Assessment::Due { start_at, due_at, .. } => Some((start_at, due_at)),
        Assessment::NoStart { .. } => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_named_classes_count_and_without_any_the_missing_start_keeps_or_falls_back() {
    let entity = dealt_with(vec![activity("call_logged", "2021-03-01"), activity("newsletter_sent", "2025-03-01")]);
    let starts = |list, more| start_of(&counting(list, more), &entity).map(|(start, _)| start);
    assert_eq!(starts("", ""), Some(at("2025-03-01")));
    assert_eq!(starts("\"call_logged\", \"meeting_held\"", ""), Some(at("2021-03-01")));
    assert_eq!(starts("\"newsletter_sent\"", ""), Some(at("2025-03-01")));
    assert_eq!(starts("\"meeting_held\"", ""), None);
    assert_eq!(starts("\"meeting_held\"", "on_missing_start = \"fallback:created\""), Some(at("2019-05-05T12:00:00Z")));
}

#[test]
fn what_nobody_can_class_counts_under_every_list() {
    let list = counting("\"meeting_held\"", "");
    let start = |entity: &Entity| start_of(&list, entity).map(|(start, _)| start);
    let newsletter = activity("newsletter_sent", "2025-03-01");
    let unclassified = dealt_with(vec![activity("", "2022-01-01"), newsletter.clone()]);
    assert_eq!(start(&unclassified), Some(at("2022-01-01")));
    // A date that no known activity accounts for.
    let mut unaccounted = dealt_with(vec![newsletter.clone()]);
    unaccounted.last_activity = Some(at("2025-04-01"));
    assert_eq!(start(&unaccounted), Some(at("2025-04-01")));
    // What the source itself tells of the record.
    let mut told = dealt_with(vec![newsletter]);
    told.record.dates.push((DateRole::LastActivity, at("2023-01-01")));
    assert_eq!(start(&told), Some(at("2023-01-01")));
}

#[test]
fn a_filter_speaks_of_the_activities_that_count() {
    let after = r#"where = { field = "last_activity", op = "after", value = 2024-01-01 }"#;
    let start = ("start = \"created\"", "start = \"last_activity\"\nactivity_events = [\"call_logged\"]");
    let entity = dealt_with(vec![activity("call_logged", "2021-03-01"), activity("newsletter_sent", "2025-03-01")]);
    let assess = |replace: &[(&str, &str)]| {
        let policy = one(replace);
        let bound = policy.bind(&entity.layout);
        bound.assess(&entity.facts()) == Assessment::OutOfScope
    };
    assert!(assess(&[(WHERE, after), start]));
    assert!(!assess(&[(WHERE, after), ("start = \"created\"", "start = \"last_activity\"")]));
}

#[test]
fn a_wrong_list_is_told_with_its_place_the_known_names_and_a_suggestion() {
    let of = |list: &str| {
        errors(&[("start = \"created\"", &format!("start = \"last_activity\"\nactivity_events = {list}"))])
    };
    let shown = of("[\"call_logged\", \"meeting_hold\"]");
    assert!(shown.contains("p.toml:16:35: `activity_events` names an unknown class: call_logged, "), "{shown}");
    assert!(shown.contains("task_changed or custom:<name>: did you mean `meeting_held`?"), "{shown}");
    assert!(of("[]").contains("must name 1 to 100 classes"), "{}", of("[]"));
    assert!(of("[\"call_logged\", \"call_logged\"]").contains("twice"));
    assert!(of("[\"custom:Site visit\"]").contains("unknown class"));
    assert!(of("7").contains("`activity_events` must be a string or a list of strings"));
    let elsewhere = errors(&[("start = \"created\"", "start = \"created\"\nactivity_events = [\"call_logged\"]")]);
    assert!(elsewhere.contains("has no meaning where nothing counts from last_activity"), "{elsewhere}");
    one(&[(
        "start = \"created\"",
        "start = \"modified\"\non_missing_start = \"fallback:last_activity\"\nactivity_events = [\"custom:site_visit\"]",
    )]);
}

#[test]
fn a_list_is_taken_where_a_filter_alone_speaks_of_the_last_activity() {
    let leaf = r#"{ field = "last_activity", op = "before", value = 2024-01-01 }"#;
    let (all, not) = (format!("where = {{ all = [{leaf}] }}"), format!("suspend_while = {{ not = {leaf} }}"));
    let part = format!("[[retention.override]]\nwhere = {leaf}\nperiod = \"P2Y\"\n[schedule]");
    let list = "start = \"created\"\nactivity_events = [\"call_logged\"]";
    let start = ("start = \"created\"", list);
    let suspended = format!("{list}\n{not}");
    for replace in [
        vec![(WHERE, all.as_str()), start],
        vec![("start = \"created\"", suspended.as_str())],
        vec![("[schedule]", part.as_str()), start],
    ] {
        assert!(one(&replace).retention.activity_events.is_some(), "{replace:?}");
    }
    let entity = dealt_with(vec![activity("call_logged", "2021-03-01"), activity("newsletter_sent", "2025-03-01")]);
    let is_about =
        |replace: &[(&str, &str)]| one(replace).bind(&entity.layout).assess(&entity.facts()) != Assessment::OutOfScope;
    assert!(is_about(&[(WHERE, &all), start]), "a newsletter does not count");
    assert!(!is_about(&[(WHERE, &all)]));
}

#[test]
fn the_list_is_part_of_the_rule_whatever_its_order_and_a_locked_policy_keeps_it() {
    let digest = |list| counting(list, "").digest();
    assert_eq!(digest("\"call_logged\", \"meeting_held\""), digest("\"meeting_held\", \"call_logged\""));
    assert_ne!(digest("\"call_logged\""), digest("\"meeting_held\""));
    assert_ne!(digest("\"call_logged\""), digest(""));
    let locked = |list: &str| {
        let start = format!("start = \"last_activity\"\nactivity_events = [{list}]");
        let lock = ("state = ", "lock = \"ratchet\"\nstate = ");
        set(&[("p", text("p", &[lock, ("start = \"created\"", &start)]))])
    };
    let before = locked("\"call_logged\"");
    assert!(locked("\"call_logged\"").loosened(&before).is_empty());
    // Neither more classes nor fewer: what had no start, and was kept, would come to have one.
    for other in ["\"call_logged\", \"meeting_held\"", "\"meeting_held\""] {
        assert!(show(&locked(other).loosened(&before)).contains("`[retention]`"), "{other}");
    }
}

#[test]
fn examples_give_activities_by_class() {
    let with = |record: &str, expect: &str| {
        let test = format!(
            "[action]\nkind = \"purge\"\n[[test]]\nrecord = {{ job_title = \"Buyer\", {record} }}\nat = 2026-01-01\nexpect = \"{expect}\"\n"
        );
        let start = ("start = \"created\"", "start = \"last_activity\"\nactivity_events = [\"call_logged\"]");
        text("p", &[start, ("[action]\nkind = \"purge\"\n", &test)])
    };
    let passes = |record: &str, expect: &str| {
        let set = set(&[("p", with(record, expect))]);
        set.get("p").unwrap().run_examples().iter().all(|outcome| outcome.passed)
    };
    let both = "activities = { call_logged = 2021-01-01, newsletter_sent = 2025-12-01 }";
    assert!(passes(both, "due") && !passes(both, "keep"));
    assert!(passes("activities = { call_logged = 2021-01-01, unclassified = 2025-12-01 }", "keep"));
    assert!(passes("activities = { newsletter_sent = 2019-12-01 }", "keep"));
    let wrong = with("activities = { call_loged = 2021-01-01 }", "due");
    let shown = show(&PolicySet::check(&[PolicyFile { stem: "p", text: &wrong }]).unwrap_err());
    assert!(shown.contains("names an unknown class") && shown.contains("did you mean `call_logged`?"), "{shown}");
}

const CLASSES: [&str; 4] = ["", "call_logged", "newsletter_sent", "custom:site_visit"];

fn any_entity() -> impl Strategy<Value = Entity> {
    let dates = prop::collection::vec(prop::option::of(0_i64..2_000_000_000), CLASSES.len());
    dates.prop_map(|dates| {
        let activities = CLASSES.iter().zip(dates).filter_map(|(name, date)| {
            Some(Activity { class: class(name), at: Timestamp::from_unix_seconds(date?), by: None })
        });
        dealt_with(activities.collect())
    })
}

fn any_list() -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(CLASSES[1..].to_vec(), 1..CLASSES.len())
}

fn policy_of(list: &[&str]) -> Arc<Policy> {
    let list: Vec<String> = list.iter().map(|name| format!("\"{name}\"")).collect();
    counting(&list.join(", "), "")
}

impl std::fmt::Debug for Entity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entity").field("activities", &self.activities).finish_non_exhaustive()
    }
}

proptest! {
    #[test]
    fn more_classes_never_make_anything_due_earlier_and_a_list_never_later_than_none(
        entity in any_entity(), list in any_list(), more in any_list(), now in 0_i64..4_000_000_000,
        back in 0_i64..1_000_000_000,
    ) {
        let all: Vec<&str> = CLASSES[1..].iter().copied().filter(|name| list.contains(name) || more.contains(name)).collect();
        let few = start_of(&policy_of(&list), &entity);
        let many = start_of(&policy_of(&all), &entity);
        let every = start_of(&counting("", ""), &entity);
        if let Some((start, due)) = few {
            let (later_start, later_due) = many.expect("what counts under fewer classes counts under more");
            let (last_start, last_due) = every.expect("what counts under a list counts without one");
            prop_assert!(start <= later_start && later_start <= last_start);
            prop_assert!(due <= later_due && later_due <= last_due);
        }
        // Whatever nobody can class is never passed over.
        let unclassified = entity.activities.iter().find(|activity| activity.class.is_none());
        prop_assert!(unclassified.is_none_or(|activity| few.is_some_and(|(start, _)| start >= activity.at)));
        // Judged by somebody who knows nothing but the words of the list.
        let said = entity.activities.iter().filter(|activity| {
            activity.class.as_ref().is_none_or(|class| list.contains(&class.name()))
        });
        prop_assert_eq!(few.map(|(start, _)| start), said.map(|activity| activity.at).max());
        let policy = policy_of(&list);
        let bound = policy.bind(&entity.layout);
        let is_due = |now| {
            let reason = bound.assess(&entity.facts()).reason(Timestamp::from_unix_seconds(now));
            matches!(reason, crate::reason::Reason::PeriodOver { .. })
        };
        prop_assert!(!is_due(now - back) || is_due(now));
    }
}

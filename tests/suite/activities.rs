//! Activities by class, through the whole: what a list passes over makes due, what nobody can class keeps, `explain`
//! says which it was, and neither a purge, a redaction nor a lost sled moves anything.

use retention_core::control::Verdict;
use retention_core::id::EntityId;
use retention_core::record::activity::Activity;
use retention_core::view::{EntityState, RunState};
use retention_tests::world::{World, policy};
use retentiond::clock::Clock;
use retentiond::control::judgement::explain;

fn counting(quarantine: &str) -> String {
    policy("contacts", quarantine)
        .replace("start = \"created\"", "start = \"last_activity\"\nactivity_events = [\"call_logged\"]")
        .replace("{ created = 2020", "{ last_activity = 2020")
}

fn world(text: &str) -> World {
    let mut world = World::new("P0D");
    world.write_policy("contacts", text);
    world.settle();
    world
}

fn activities(world: &World, entity: EntityId) -> Vec<Activity> {
    world.store().view(|views| views.activities_of(entity))
}

fn said(world: &World, entity: EntityId) -> (Verdict, String) {
    let explained = explain(world.store(), entity, world.clock.now()).unwrap();
    (explained.verdict, explained.text.join("\n"))
}

#[test]
fn a_newsletter_keeps_nobody_and_what_nobody_can_class_keeps() {
    let mut world = world(&counting("P0D"));
    let [due, kept, never] = ["a", "b", "c"].map(|id| world.add(id, "2019-01-01"));
    let [call, letter, riddle] = ["d", "e", "f"].map(|id| world.add(id, "2019-01-01"));
    world.deal_with(due, call, "2024-03-01T10:00:00Z", Some("call_logged"));
    world.deal_with(due, letter, "2026-01-10T10:00:00Z", Some("newsletter_sent"));
    world.deal_with(kept, riddle, "2026-01-09T10:00:00Z", None);
    world.settle();

    let (verdict, text) = said(&world, due);
    assert_eq!(verdict, Verdict::Due, "{text}");
    let counted = format!("counts call_logged at 2024-03-01T10:00:00Z ({call}, contact of crm).");
    let passed =
        format!("does not name the class: newsletter_sent at 2026-01-10T10:00:00Z ({letter}, contact of crm).");
    assert!(text.contains(&counted) && text.contains(&passed), "{text}");
    let (verdict, text) = said(&world, kept);
    assert_eq!(verdict, Verdict::Keep);
    assert!(text.contains("because what has no class counts under every policy"), "{text}");
    assert!(!said(&world, never).1.contains("counts none"), "it had no activity at all");

    world.lose_sled();
    let run = world.drive_to_the_end("contacts");
    assert_eq!(world.run_state(run), RunState::Completed, "{}", world.story());
    assert_eq!(world.state_of(due), EntityState::Purged);
    for other in [kept, never, call, letter, riddle] {
        assert_eq!(world.state_of(other), EntityState::Visible);
    }
    assert_eq!(activities(&world, due), []);
    assert_eq!(activities(&world, kept).len(), 1);
    world.lose_sled();
    world.check();
    assert_eq!(activities(&world, kept).len(), 1);
}

#[test]
fn an_activity_that_is_purged_or_no_longer_linked_still_counts() {
    let mut world = world(&policy("contacts", "P0D"));
    let (contact, call) = (world.add("a", "2026-01-01"), world.add("b", "2019-01-01"));
    let other = world.add("c", "2026-01-01");
    world.deal_with(contact, call, "2025-12-01T10:00:00Z", Some("call_logged"));
    // Its source ties it to another one now, and dates it back.
    world.deal_with(other, call, "2025-06-01T10:00:00Z", Some("call_logged"));
    world.settle();
    let before = activities(&world, contact);
    assert_eq!(before.len(), 1);
    let run = world.drive_to_the_end("contacts");
    assert_eq!(world.run_state(run), RunState::Completed, "{}", world.story());
    assert_eq!(world.state_of(call), EntityState::Purged);
    assert_eq!(activities(&world, contact), before);
    world.write_policy("contacts", &counting("P0D"));
    world.settle();
    let (_, text) = said(&world, contact);
    assert!(text.contains(&format!("counts call_logged at 2025-12-01T10:00:00Z ({call}, gone)")), "{text}");
}

#[test]
fn what_is_left_of_a_redaction_has_the_activities_of_each_class() {
    let redacting = counting("P0D")
        .replace("kind = \"purge\"", "kind = \"redact\"\nfields = { display_name = \"remove\" }")
        .replace(
            "{ last_activity = 2020-01-01T00:00:00Z }",
            "{ last_activity = 2020-01-01T00:00:00Z, display_name = \"x\" }",
        );
    let mut world = world(&redacting);
    let contact = world.add("a", "2019-01-01");
    let [call, letter, riddle] = ["d", "e", "f"].map(|id| world.add(id, "2019-01-01"));
    world.deal_with(contact, call, "2024-03-01T10:00:00Z", Some("call_logged"));
    world.deal_with(contact, letter, "2026-01-10T10:00:00Z", Some("custom:mailing"));
    world.deal_with(contact, riddle, "2020-03-01T10:00:00Z", None);
    world.settle();
    let before = activities(&world, contact);
    assert_eq!(before.len(), 3);
    let run = world.drive_to_the_end("contacts");
    assert_eq!(world.run_state(run), RunState::Completed, "{}", world.story());
    let rest = world.store().view(|views| views.small.redactions.successor(contact)).unwrap();
    assert_eq!((activities(&world, rest), activities(&world, contact)), (before.clone(), Vec::new()));
    world.lose_sled();
    world.check();
    assert_eq!(activities(&world, rest), before);
}

#[test]
fn what_was_counted_is_told_only_where_the_last_activity_decides() {
    let fallback = counting("P0D").replace("on_missing_start = \"keep\"", "on_missing_start = \"fallback:created\"");
    let suspended = fallback
        .replace("on_missing_start", "suspend_while = { field = \"display_name\", op = \"exists\" }\non_missing_start");
    let mut world = world(&fallback);
    let [contact, letter] = ["a", "b"].map(|id| world.add(id, "2019-01-01"));
    world.deal_with(contact, letter, "2026-01-04T10:00:00Z", Some("newsletter_sent"));
    world.settle();
    let (verdict, text) = said(&world, contact);
    assert_eq!(verdict, Verdict::Due, "{text}");
    assert!(text.contains("counts none of the activities"), "{text}");
    world.write_policy("contacts", &suspended);
    world.settle();
    let (verdict, text) = said(&world, contact);
    assert_eq!(verdict, Verdict::Keep, "{text}");
    assert!(!text.contains("counts none"), "{text}");
    // A filter that asks for it is told of, whatever decides and wherever the period counts from.
    let filter = "{ field = \"last_activity\", op = \"after\", value = 2025-01-01 }";
    let filtered = policy("contacts", "P0D").replace(
        "on_missing_start",
        &format!("activity_events = [\"newsletter_sent\"]\nsuspend_while = {filter}\non_missing_start"),
    );
    world.write_policy("contacts", &filtered);
    world.settle();
    let (verdict, text) = said(&world, contact);
    assert_eq!(verdict, Verdict::Keep, "{text}");
    let told = format!(
        "asks for last_activity in suspend_while and counts newsletter_sent at 2026-01-04T10:00:00Z ({letter}, "
    );
    assert!(text.contains(&told), "{text}");
}

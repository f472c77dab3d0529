//! Classes of activities: what the configuration names is recorded with its class, whenever the link is known.

use retention_core::event::change::EntityChanged;
use retention_core::event::erasure::KeyDestroyed;
use retention_core::event::redaction::EntitySucceeded;
use retention_core::event::{Actor, Draft};
use retention_core::id::{RunId, SagaId};
use retention_core::record::EntityRecord;
use retention_core::record::activity::{ActivityClass, ActivityRule, ActivityRules, ToldBy, folded};
use retention_core::view::Condition;

use super::*;

fn by_field(kind: Kind, field: &str, values: &[(&str, &str)]) -> ActivityRule {
    let class = |name: &str| ActivityClass::from_name(name).unwrap();
    let classes = values.iter().map(|(value, name)| (folded(value), class(name))).collect();
    ActivityRule { source: "crm".into(), kind, told: ToldBy::Field { field: field.into(), classes } }
}

fn rules() -> Arc<ActivityRules> {
    let task = ToldBy::Kind(ActivityClass::from_name("task_changed").unwrap());
    Arc::new(ActivityRules::new(vec![
        by_field(Kind::Post, "post_type", &[("note", "note_written"), ("PhoneCall", "call_logged")]),
        by_field(Kind::Activity, "sub_type", &[("Meeting", "meeting_held")]),
        by_field(Kind::Activity, "action_verb", &[("Create", "record_changed")]),
        ActivityRule { source: "crm".into(), kind: Kind::Task, told: task },
    ]))
}

fn of_priya(store: &Store) -> Vec<(String, String)> {
    newest_of(store, ada(store, Kind::Contact, "000001"))
}

/// Returns the newest activity of each class of an entity, by name.
fn newest_of(store: &Store, entity: EntityId) -> Vec<(String, String)> {
    let all = store.view(|views| views.activities_of(entity));
    let name = |class: Option<ActivityClass>| class.map_or("-".to_owned(), |class| class.name().to_owned());
    let mut all: Vec<_> = all.into_iter().map(|one| (name(one.class), one.at.to_string())).collect();
    all.sort();
    all
}

fn expected() -> Vec<(String, String)> {
    let all = [
        ("-", "2020-02-22T16:45:59.990Z"),
        ("note_written", "2020-02-20T10:15:00Z"),
        ("record_changed", "2020-02-18T09:00:00.100Z"),
        ("task_changed", "2020-02-28T08:30:00Z"),
    ];
    named(&all)
}

fn named(all: &[(&str, &str)]) -> Vec<(String, String)> {
    let parsed = |text: &str| text.parse::<Timestamp>().unwrap().to_string();
    all.iter().map(|(class, at)| ((*class).to_owned(), parsed(at))).collect()
}

/// Records what is left of an entity when all its cells are taken out, as a redaction does.
fn redact(store: &Store, of: EntityId) -> EntityId {
    let (rest, key) = store.issue(1).unwrap().pop().unwrap();
    let record = store.record(of).unwrap().unwrap();
    let cells = record.cells.iter().map(|_| None::<&str>).collect();
    let saga = SagaId(Position(1));
    let body = store.view(|views| {
        let row = views.entities.row(of).unwrap();
        EntitySucceeded {
            saga,
            item: 1,
            of,
            first_seen: row.first_seen,
            last_activity: row.last_activity,
            activities: views.activities_of(of),
            absent: row.absent,
            links: views.links.of(of).collect(),
        }
    });
    let draft = |entity: EntityId, event| Draft {
        stream: store.stream_of(entity),
        entity: Some(entity),
        actor: Actor::Daemon,
        cause: Position::NONE,
        occurred_at: None,
        event,
    };
    let changed = Event::EntityChanged(EntityChanged { record: EntityRecord { cells, ..record } });
    let destroyed = Event::KeyDestroyed(KeyDestroyed { run: RunId(Position(1)), saga, item: 1 });
    let events = vec![
        store.prepare(draft(rest, Event::EntitySucceeded(body)), None).unwrap(),
        store.prepare(draft(rest, changed), Some(&key)).unwrap(),
        store.prepare(draft(of, destroyed), None).unwrap(),
    ];
    store.append(events, Condition::None).unwrap();
    rest
}

#[test]
fn activities_are_recorded_with_the_class_that_the_configuration_names_and_others_are_counted() {
    let mut world = World::ocm();
    world.source.activities = rules();
    let store = world.open();
    world.drop_export(ADA, as_is);
    world.take_all(&store);
    assert_eq!(of_priya(&store), expected());
    // Two activities are updates, which nobody named.
    assert_eq!(world.report("done/1")["oddities"]["activity_unclassified"], 2);
    // The same once more is no news.
    let before = position(&store);
    world.drop_export(ADA, |file, text| Some(if file == "Tasks.csv" { text.replace("Send", "Write") } else { text }));
    world.take_all(&store);
    assert_eq!(count(&types_after(&store, before), EventType::EntityLinked), 0);
}

#[test]
fn a_link_whose_other_end_comes_later_has_its_class_too() {
    let mut world = World::ocm();
    world.source.activities = rules();
    let store = world.open();
    world.drop_export(ADA, |file, text| (file != "Contacts.csv").then_some(text));
    world.take_all(&store);
    world.drop_export(ADA, |file, text| file.starts_with("Contact").then_some(text));
    world.take_all(&store);
    assert_eq!(of_priya(&store), expected());
}

#[test]
fn what_was_recorded_without_a_class_goes_on_counting_beside_what_is_told_later() {
    let mut world = World::ocm();
    let store = world.open();
    world.drop_export(ADA, as_is);
    world.take_all(&store);
    assert_eq!(of_priya(&store).len(), 1, "everything is unclassified");
    world.source.activities = rules();
    let before = position(&store);
    world.drop_export(ADA, |file, text| Some(if file == "Tasks.csv" { text.replace("Send", "Write") } else { text }));
    world.take_all(&store);
    assert!(count(&types_after(&store, before), EventType::EntityLinked) > 0, "a class is news");
    let mut kept = expected();
    kept[0].1 = kept[3].1.clone();
    assert_eq!(of_priya(&store), kept);
}

#[test]
fn what_is_left_of_an_activity_is_no_news_where_it_was_recorded_with_its_class() {
    let mut world = World::ocm();
    world.source.activities = rules();
    let store = world.open();
    world.drop_export(ADA, |file, text| (file != "Companies.csv").then_some(text));
    world.take_all(&store);
    let deal = ada(&store, Kind::Deal, "0000c9");
    let expected = named(&[
        ("-", "2020-02-19T09:30:00.250Z"),
        ("call_logged", "2020-02-21T14:00:12.340Z"),
        ("task_changed", "2020-02-28T08:31:00Z"),
    ]);
    assert_eq!(newest_of(&store, deal), expected);
    let rest = redact(&store, ada(&store, Kind::Post, "000192"));
    assert_eq!(ada(&store, Kind::Post, "000192"), rest);
    // What comes later lets everything else be looked at once more.
    let before = position(&store);
    world.drop_export(ADA, |file, text| file.starts_with("Compan").then_some(text));
    world.take_all(&store);
    assert!(count(&types_after(&store, before), EventType::EntityLinked) > 0);
    assert_eq!(newest_of(&store, deal), expected);
}

#[test]
fn what_is_left_of_an_activity_counts_without_a_class_where_it_was_never_recorded() {
    let mut world = World::ocm();
    world.source.activities = rules();
    let store = world.open();
    world.drop_export(ADA, |file, text| (file != "Deals.csv").then_some(text));
    world.take_all(&store);
    redact(&store, ada(&store, Kind::Post, "000192"));
    world.drop_export(ADA, |file, text| file.starts_with("Deal").then_some(text));
    world.take_all(&store);
    let expected = [("-", "2020-02-21T14:00:12.340Z"), ("task_changed", "2020-02-28T08:31:00Z")];
    assert_eq!(newest_of(&store, ada(&store, Kind::Deal, "0000c9")), named(&expected));
}

#[test]
fn activities_are_counted_as_unclassified_where_the_rules_are_about_another_source() {
    let mut world = World::ocm();
    let class = ActivityClass::from_name("task_changed").unwrap();
    let elsewhere = ActivityRule { source: "crn".into(), kind: Kind::Task, told: ToldBy::Kind(class) };
    world.source.activities = Arc::new(ActivityRules::new(vec![elsewhere]));
    let store = world.open();
    world.drop_export(ADA, as_is);
    world.take_all(&store);
    // Three activities, two posts and two tasks, and nothing that is none.
    assert_eq!(world.report("done/1")["oddities"]["activity_unclassified"], 7);
}

#[test]
fn an_activity_whose_date_cannot_be_read_counts_as_of_when_it_was_first_seen() {
    const READ: &str = "2020-02-22T16:45:59.99Z";
    const TOMAS: &str = "0c000002-5c1d-4e2a-9b70-000000000002";
    for (date, is_unread) in [
        ("", false),
        ("1601-01-01T00:00:00.00Z", false),
        ("1/1/1601 12:00:00 AM", false),
        ("2019-12-31T10:00:00.00Z", false),
        ("12/31/2019 10:00:00 AM", false),
        ("04/05/2025 10:00:00", true),
        ("yesterday", true),
        // Of the calendar of the machine, or mistyped.
        ("1441-07-08T10:00:00.00Z", true),
    ] {
        let world = World::ocm();
        let store = world.open();
        let row = format!("\"Ada Quill\",\"Contact\",\"Update\",\"{date}\",,\"{TOMAS}\",,\r\n");
        let with_row = |file: &str, text: String| if file == "Activities.csv" { text + &row } else { text };
        world.drop_export(ADA, |file, text| Some(with_row(file, text)));
        world.take_all(&store);
        let tomas = ada(&store, Kind::Contact, "000002");
        let last = || store.view(|views| views.entities.row(tomas).unwrap().last_activity.unwrap());
        let expected = if is_unread {
            store.view(|views| views.entities.row(tomas).unwrap().first_seen.0 / 1_000_000)
        } else {
            READ.parse::<Timestamp>().unwrap().0 / 1_000_000
        };
        assert_eq!(last().0 / 1_000_000, expected, "{date}");
        // Delivered again later it is no news, and keeps nobody longer.
        let before = (position(&store), last());
        world.clock.advance(Duration::from_secs(86_400));
        world.drop_export(ADA, |file, text| Some(with_row(file, text.replace("Send", "Write"))));
        world.take_all(&store);
        assert_eq!((count(&types_after(&store, before.0), EventType::EntityLinked), last()), (0, before.1), "{date}");
    }
}

#[test]
fn a_task_whose_last_change_cannot_be_read_does_not_count_as_of_its_creation() {
    let world = World::ocm();
    let store = world.open();
    world.drop_export(ADA, |file, text| {
        Some(if file == "Tasks.csv" { text.replace("2020-02-28T08:30:00Z", "04/05/2025 10:00:00") } else { text })
    });
    world.take_all(&store);
    let priya = ada(&store, Kind::Contact, "000001");
    let (first_seen, last) = store.view(|views| {
        let row = views.entities.row(priya).unwrap();
        (row.first_seen, row.last_activity.unwrap())
    });
    assert!(last >= first_seen, "{last} before {first_seen}");
}

#[test]
fn an_activity_that_is_gone_counts_for_whom_it_was_about_also_when_they_come_later() {
    const READ: &str = "2020-02-22T16:45:59.99Z";
    let world = World::ocm();
    let store = world.open();
    world.drop_export(ADA, |file, text| (file != "Contacts.csv").then_some(text));
    world.take_all(&store);
    let without = |text: String| text.split_inclusive('\n').filter(|line| !line.contains(READ)).collect::<String>();
    world.drop_export(ADA, |file, text| Some(if file == "Activities.csv" { without(text) } else { text }));
    world.take_all(&store);
    assert_eq!(world.report("done/2")["counts"]["absent"], 1);
    let tomas = ada(&store, Kind::Contact, "000002");
    let last = store.view(|views| views.entities.row(tomas).unwrap().last_activity);
    assert_eq!(last, Some(READ.parse().unwrap()));
}

//! Classes of activities: what the configuration names is recorded with its class, whenever the link is known.

use retention_core::record::activity::{ActivityClass, ActivityRule, ActivityRules, ToldBy, folded};

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

/// Returns the newest activity of each class of Priya, by name.
fn of_priya(store: &Store) -> Vec<(String, String)> {
    let priya = ada(store, Kind::Contact, "000001");
    let all = store.view(|views| views.activities_of(priya));
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
    let parsed = |text: &str| text.parse::<Timestamp>().unwrap().to_string();
    all.map(|(class, at)| (class.to_owned(), parsed(at))).to_vec()
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

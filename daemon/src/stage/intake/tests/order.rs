//! Which of two deliveries counts: never an older one in silence, and never none of them.

use super::super::order::Exports;
use super::*;
use crate::connector::drop::ocm::DirectoryName;

/// Ada's export with a later time in its name.
const ADA_LATER: &str = "ada.quill@contoso.com_20200402T0915301234";

/// Drops an export under another name, with the job title of a contact in it.
fn drop_as(world: &World, name: &str, title: &str) {
    world.drop_export(ADA, |_, text| Some(text.replace("Head Baker", title)));
    std::fs::rename(world.drop_dir().join(ADA), world.drop_dir().join(name)).unwrap();
}

/// The job title that the log knows.
fn title(store: &Store) -> String {
    let all = entities(store).join("\n");
    let known: Vec<&str> =
        ["first", "second", "third"].into_iter().filter(|title| all.contains(&format!("\"{title}\""))).collect();
    known.join(" and ")
}

#[test]
fn an_older_export_is_refused_after_a_newer_one_unless_its_name_says_that_it_is_meant() {
    let world = World::ocm();
    let store = world.open();
    drop_as(&world, ADA_LATER, "second");
    world.take_all(&store);
    let before = position(&store);
    drop_as(&world, ADA, "first");
    // Another mailbox has a time of its own.
    world.drop_export(BRAM, as_is);
    world.take_all(&store);
    assert_eq!(title(&store), "second");
    assert_eq!(types_after(&store, before)[..2], [EventType::IntakeStarted, EventType::IntakeCompleted]);
    let report = world.report("rejected/2");
    assert_eq!((&report["end"], &report["read"]["error"]["code"]), (&"rejected".into(), &"older_export".into()));
    let message = report["read"]["error"]["message"].as_str().unwrap();
    assert!(message.contains("by intake E1: its name says 2020-04-02T09:15:30.1234"), "{message}");
    assert!(message.contains("ends in .older"), "{message}");
    assert_eq!(world.report("done/3")["end"], "done");

    drop_as(&world, &format!("{ADA}.older"), "first");
    world.take_all(&store);
    assert_eq!((title(&store).as_str(), &world.report("done/4")["end"]), ("first", &"done".into()));
    // What was newest before was overtaken on purpose, so it is news again; a newer one needs no word.
    drop_as(&world, ADA_LATER, "second");
    world.take_all(&store);
    assert_eq!((title(&store).as_str(), &world.report("done/5")["end"]), ("second", &"done".into()));
    drop_as(&world, "ada.quill@contoso.com_20200502T0915301234", "third");
    world.take_all(&store);
    assert_eq!(title(&store), "third");
}

#[test]
fn what_was_newest_is_still_known_after_a_restart_and_an_old_copy_of_it_is_a_duplicate() {
    let world = World::ocm();
    let store = world.open();
    drop_as(&world, ADA, "first");
    world.take_all(&store);
    drop_as(&world, ADA_LATER, "second");
    world.take_all(&store);
    drop(store);
    let store = world.open();
    let before = position(&store);
    drop_as(&world, ADA, "first");
    world.take_all(&store);
    assert_eq!((world.report("done/3")["end"].clone(), position(&store)), ("duplicate".into(), before));
    drop_as(&world, "ada.quill@contoso.com_20200301T0000000000", "third");
    world.take_all(&store);
    assert_eq!(world.report("rejected/4")["read"]["error"]["code"], "older_export");
    assert_eq!(title(&store), "second");
}

#[test]
fn an_export_of_a_time_that_has_not_come_is_refused_and_makes_no_later_one_look_older() {
    let world = World::ocm();
    let store = world.open();
    // The clock stands at 2026-01-05T08:00 in UTC. What is a day ahead may be of another zone.
    for (number, name) in [
        (1, "ada.quill@contoso.com_20990101T0000000000"),
        (2, "ada.quill@contoso.com_20990101T0000000000.older"),
        (3, "ada.quill@contoso.com_20260106T0900000000"),
    ] {
        let before = position(&store);
        drop_as(&world, name, "first");
        world.take_all(&store);
        assert_eq!(count(&types_after(&store, before), EventType::EntityChanged), 0, "{name}");
        let error = world.report(&format!("rejected/{number}"))["read"]["error"].clone();
        assert_eq!(error["code"], "future_export", "{name}");
        assert!(error["message"].as_str().unwrap().contains("drop it again"), "{error}");
    }
    drop_as(&world, ADA, "second");
    world.take_all(&store);
    assert_eq!((title(&store).as_str(), &world.report("done/4")["end"]), ("second", &"done".into()));
    drop_as(&world, "ada.quill@contoso.com_20260105T2100000000", "third");
    world.take_all(&store);
    assert_eq!(title(&store), "third", "it is late in the evening already in the east");
}

#[test]
fn a_name_of_the_future_that_was_taken_before_this_was_looked_at_counts_as_of_its_intake() {
    let (past, said) = ("ada@contoso.com_20260105T1200000000", "ada@contoso.com_20990101T0000000000");
    let [past, said] = [past, said].map(|name| DirectoryName::parse(name).unwrap());
    let mut exports = Exports::default();
    exports.note(&said, EntityId(1), "2026-01-05T08:00:00Z".parse().unwrap());
    assert_eq!(exports.newer_than(&past), Some((said.exported_at_local, EntityId(1))), "it may be newer than this");
    let later = DirectoryName::parse("ada@contoso.com_20260106T0800000000").unwrap();
    assert_eq!(exports.newer_than(&later), None);
    exports.note(&later, EntityId(2), "2026-01-06T09:00:00Z".parse().unwrap());
    assert_eq!(exports.newer_than(&past), Some((later.exported_at_local, EntityId(2))));
}

#[test]
fn the_same_content_of_another_mailbox_is_no_duplicate() {
    let world = World::ocm();
    let store = world.open();
    drop_as(&world, ADA, "first");
    world.take_all(&store);
    drop_as(&world, "carla@contoso.com_20200402T0915301234", "first");
    world.take_all(&store);
    let report = world.report("done/2");
    assert_eq!((&report["end"], &report["counts"]["added"]), (&"done".into(), &19.into()));
    // Each mailbox knows its own, also after the other one's.
    drop_as(&world, "carla@contoso.com_20200402T0915301234", "first");
    drop_as(&world, ADA, "first");
    world.take_all(&store);
    let ends = [3, 4].map(|number| world.report(&format!("done/{number}"))["counts"]["added"].clone());
    assert_eq!(ends, [0, 0]);
}

#[test]
fn content_that_comes_back_after_something_else_is_taken_again_and_at_once_it_is_a_duplicate() {
    let world = World::csv(CONTACTS);
    let store = world.open();
    let drop_and_take = |name: &str, text: &str| {
        world.drop_file(name, &format!("Id,Name,Friend\n1,{text},\n"));
        world.take_all(&store);
    };
    let (first, second) = ("first", "second");
    for (number, text) in [first, first, second, first, first].into_iter().enumerate() {
        drop_and_take(&format!("contacts-{number}.csv"), text);
        assert_eq!(title(&store), text, "delivery {number}");
    }
    let ends = (1..=5).map(|number| world.report(&format!("done/{number}"))["end"].clone()).collect::<Vec<_>>();
    assert_eq!(ends, ["done", "duplicate", "done", "done", "duplicate"]);
    assert_eq!(count(&types_after(&store, Position::NONE), EventType::EntityChanged), 3);
}

#[test]
fn the_same_content_is_read_again_once_the_mapping_is_another_and_then_no_more() {
    let world = World::csv(CONTACTS);
    let mapping = world.dir.path().join("mapping.toml");
    let dates = "[[date]]\ncolumn = \"Since\"\nrole = \"created\"\nformat = \"czech\"\n";
    let mut store = world.open();
    let mut ends = Vec::new();
    let texts = [
        CONTACTS.to_owned(),
        format!("# a comment\n{CONTACTS}"),
        format!("{CONTACTS}{dates}"),
        format!("{CONTACTS}{dates}"),
        CONTACTS.to_owned(),
    ];
    for (number, text) in (1..).zip(texts) {
        std::fs::write(&mapping, text).unwrap();
        world.drop_file("contacts.csv", "Id,Name,Friend,Since\n1,first,,1. 2. 2024\n");
        world.take_all(&store);
        ends.push(world.report(&format!("done/{number}"))["end"].clone());
        // What it was read by is known after a restart.
        drop(store);
        store = world.open();
        let is_dated = entities(&store).join("\n").contains("Created");
        assert_eq!(is_dated, number == 3 || number == 4, "delivery {number}");
    }
    assert_eq!(ends, ["done", "duplicate", "done", "duplicate", "done"]);
}

/// Puts a delivery where an earlier life of the daemon claimed it.
fn claimed(world: &World, number: u32, text: &str) -> PathBuf {
    let folder = world.drop_dir().join("processing").join(number.to_string());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("contacts.csv"), format!("Id,Name,Friend\n1,{text},\n")).unwrap();
    folder
}

#[test]
fn a_delivery_that_rests_is_overtaken_by_none_that_came_after_it() {
    for is_claimed_too in [true, false] {
        let world = World::csv(CONTACTS);
        let store = world.open();
        let first = claimed(&world, 1, "first");
        // A report that cannot be read keeps the delivery from being taken in.
        let in_the_way = first.join(REPORT_JSON);
        std::fs::create_dir(&in_the_way).unwrap();
        if is_claimed_too {
            claimed(&world, 2, "second");
        } else {
            world.drop_file("contacts-2.csv", "Id,Name,Friend\n1,second,\n");
        }
        let health = IntakeHealth::default();
        let mut intake = world.intake(&store).telling(Arc::clone(&health));
        let mut failures = 0;
        for _ in 0..10 {
            failures += u32::from(intake.step(&mut |_| {}).is_err());
            world.clock.advance(Duration::from_secs(3));
        }
        assert_eq!((failures, position(&store)), (1, Position(1)), "claimed too: {is_claimed_too}");
        let left = health.lock().left.clone();
        assert!(matches!(left.as_slice(), [one] if (one.name.as_str(), one.code) == ("contacts.csv", "failed")));
        assert!(left[0].message.contains("what came later waits"), "{}", left[0].message);
        std::fs::remove_dir(&in_the_way).unwrap();
        world.clock.advance(Duration::from_secs(60));
        for _ in 0..10 {
            intake.step(&mut |_| {}).unwrap();
            world.clock.advance(Duration::from_secs(3));
        }
        assert_eq!(world.listed("done").len(), 6, "two deliveries with two reports each");
        assert!(health.lock().left.is_empty());
        assert_eq!(title(&store), "second", "the entity became older; claimed too: {is_claimed_too}");
    }
}

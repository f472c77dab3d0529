//! What stays in a drop folder.

use std::collections::BTreeSet;

use retention_core::event::clock::{ClockConfirmed, ClockDoubt, ClockDoubted};
use retention_core::view::Condition;

use super::*;
use crate::store::open::daemon_draft;

#[test]
fn what_is_left_alone_in_a_drop_folder_is_known_by_name_and_reason_until_it_is_gone() {
    let world = World::csv(CONTACTS);
    let store = world.open();
    let health = IntakeHealth::default();
    let mut intake = world.intake(&store).telling(Arc::clone(&health));
    let at = |name: &str| world.drop_dir().join(name);
    std::os::unix::fs::symlink("/nowhere", at("link.csv")).unwrap();
    std::fs::create_dir(at("folder")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    world.drop_file("contacts.csv", "Id,Name,Friend\n1,Ada,\n");
    let mut look = || {
        world.clock.advance(Duration::from_secs(60));
        intake.step(&mut |_| {}).unwrap();
        let left = health.lock().left.clone();
        assert!(left.iter().all(|one| one.source == "crm" && !one.message.is_empty()));
        left.into_iter().map(|one| (one.name, one.code, one.since)).collect::<Vec<_>>()
    };
    let first = look();
    let names: Vec<_> = first.iter().map(|(name, code, _)| (name.as_str(), *code)).collect();
    assert_eq!(names, [("folder", "directory_unknown"), ("link.csv", "symlink"), ("socket", "not_regular")]);
    assert_eq!(look(), first, "since when does not change");
    for _ in 0..4 {
        look();
    }
    assert!(!at("contacts.csv").exists(), "the others are taken");
    std::fs::remove_file(at("link.csv")).unwrap();
    std::fs::rename(at("folder"), world.dir.path().join("elsewhere")).unwrap();
    let mut left = look();
    for _ in 0..2 {
        left = look();
    }
    assert_eq!(left.len(), 1, "only the socket");
}

#[test]
fn a_rejected_delivery_is_known_until_it_is_taken_out_of_its_folder_and_after_a_restart_too() {
    let world = World::csv(CONTACTS);
    let store = world.open();
    world.drop_file("contacts-1.csv", "Other\n1\n");
    world.drop_file("contacts-2.csv", "Other\n2\n");
    world.take_all(&store);
    let health = IntakeHealth::default();
    let mut intake = world.intake(&store).telling(Arc::clone(&health));
    let mut look = || {
        world.clock.advance(Duration::from_secs(60));
        intake.step(&mut |_| {}).unwrap();
        health.lock().left.clone()
    };
    let told = look();
    assert!(told.iter().all(|one| one.code == "rejected" && one.source == "crm"));
    let names: BTreeSet<&str> = told.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["contacts-1.csv", "contacts-2.csv"]));
    let rejected = world.drop_dir().join("rejected");
    let folder_of = |name: &str| {
        let lies = |entry: &String| entry.ends_with(&format!("/{name}"));
        world.listed("rejected").into_iter().find(lies).unwrap().split_once('/').unwrap().0.to_owned()
    };
    let numbers = ["contacts-1.csv", "contacts-2.csv"].map(folder_of);
    for one in &told {
        assert!(one.message.contains(&format!("rejected/{}/", folder_of(&one.name))), "{}", one.message);
    }
    assert!(look().iter().map(|one| one.since).eq(told.iter().map(|one| one.since)), "since when does not change");
    // One is taken out and its report left, the other goes with its folder.
    let first = rejected.join(&numbers[0]).join("contacts-1.csv");
    std::fs::rename(first, world.dir.path().join("contacts-1.csv")).unwrap();
    assert_eq!(look().len(), 1);
    std::fs::remove_dir_all(rejected.join(&numbers[1])).unwrap();
    assert!(look().is_empty());
}

#[test]
fn by_a_clock_that_is_doubted_no_delivery_leaves_its_folder() {
    let mut world = World::csv(CONTACTS);
    world.source.keep_done = KeepDone::For(Duration::from_secs(24 * 3600));
    let store = world.open();
    world.drop_file("contacts.csv", "Id,Name,Friend\n1,Ada,\n");
    world.take_all(&store);
    let done = world.listed("done");
    assert!(!done.is_empty());
    let at = store.view(|views| views.recorded_at);
    let happens = |event| store.append_drafts(vec![daemon_draft(event)], Condition::None).unwrap().first;
    let doubt = ClockDoubted { doubt: ClockDoubt::JumpedForward, expected_at: at, seen_at: at };
    let doubted = happens(Event::ClockDoubted(doubt));
    world.clock.advance(Duration::from_secs(400 * 24 * 3600));
    world.take_all(&store);
    assert_eq!(world.listed("done"), done);
    happens(Event::ClockConfirmed(ClockConfirmed { doubted, reason: "so it is".to_owned() }));
    world.take_all(&store);
    assert_eq!(world.listed("done"), [""; 0]);
}

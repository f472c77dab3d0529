//! What stays in a drop folder.

use super::*;

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

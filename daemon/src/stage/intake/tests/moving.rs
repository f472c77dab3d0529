//! A file that moves while it is read: what was taken stands, no snapshot follows, and the same file may come again.

use super::super::reading::CHANGES_PER_BATCH;
use super::*;

/// The reader is a few batches ahead at most: after the first, it is far from the end.
const ROWS: usize = 8 * CHANGES_PER_BATCH;

fn rows(count: usize) -> String {
    "Id,Name,Friend\n".to_owned() + &(0..count).map(|id| format!("{id},Ada,\n")).collect::<String>()
}

/// Takes in a delivery and lets something happen to it after its first batch.
fn taken_while(happens: impl Fn(&Path)) -> (World, Arc<Store>) {
    let world = World::csv(CONTACTS);
    let store = world.open();
    world.drop_file("contacts.csv", &rows(ROWS + 1));
    world.take_all(&store);
    // One row less than before: a whole snapshot would say that its entity is gone.
    world.drop_file("contacts.csv", &rows(ROWS));
    let claimed = world.drop_dir().join("processing/2/contacts.csv");
    let mut intake = world.intake(&store);
    let mut batches = 0;
    for _ in 0..10 {
        let step = intake.step(&mut |_| {
            batches += 1;
            if batches == 1 {
                happens(&claimed);
            }
        });
        if step.unwrap() != Step::Worked {
            world.clock.advance(Duration::from_secs(3));
        }
    }
    assert!(batches > 0, "the delivery was never read");
    (world, store)
}

fn has_no_absent(store: &Store) {
    assert_eq!(count(&types_after(store, Position::NONE), EventType::EntityAbsent), 0);
}

#[test]
fn a_file_that_grows_while_it_is_read_is_rejected_as_a_whole() {
    let (world, store) = taken_while(|path| {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"late,Ada,\n").unwrap();
    });
    let report = world.report("rejected/2");
    assert_eq!((&report["end"], &report["read"]["error"]["code"]), (&"rejected".into(), &"changed_while_read".into()));
    has_no_absent(&store);
}

#[test]
fn a_file_that_is_deleted_while_it_is_read_is_told_and_the_next_one_is_taken() {
    let (world, store) = taken_while(|path| std::fs::remove_file(path).unwrap());
    let report = world.report("rejected/2");
    assert_eq!((&report["end"], &report["read"]["error"]["code"]), (&"rejected".into(), &"vanished".into()));
    has_no_absent(&store);
    world.drop_file("contacts.csv", &rows(ROWS));
    world.take_all(&store);
    assert_eq!(world.report("done/3")["end"], "done");
    assert_eq!(count(&types_after(&store, Position::NONE), EventType::EntityAbsent), 1);
}

#[test]
fn a_move_that_a_power_cut_took_back_is_made_again_and_nothing_is_appended() {
    let world = World::csv(CONTACTS);
    let store = world.open();
    // The second is a duplicate, of which the log says nothing.
    for name in ["contacts-1.csv", "contacts-2.csv"] {
        world.drop_file(name, &rows(3));
        world.take_all(&store);
    }
    let before = (position(&store), world.listed("done"));
    assert_eq!(before.1.len(), 6, "two deliveries with two reports each");
    for number in ["1", "2"] {
        let at = |shelf: &str| world.drop_dir().join(shelf).join(number);
        std::fs::rename(at("done"), at("processing")).unwrap();
    }
    world.take_all(&store);
    assert_eq!((position(&store), world.listed("done")), before);
    assert!(world.listed("processing").is_empty());
}

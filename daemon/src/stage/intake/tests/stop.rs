//! A daemon that ends does not wait for a whole delivery, and what it left goes on exactly once.

use super::super::reading::CHANGES_PER_BATCH;
use super::*;
use crate::halt::Halt;

/// Rows of a delivery, each naming another as its friend.
fn rows(count: usize, name: &str) -> String {
    let row = |id: usize| format!("{id},{name} {id},{}\n", (id + 1) % count);
    "Id,Name,Friend\n".to_owned() + &(0..count).map(row).collect::<String>()
}

/// Steps until a delivery is interrupted, or nothing is left to do. `batches` are compared before the wish to stop.
fn one_life(world: &World, batches: Option<u32>) -> Option<IntakeError> {
    let store = world.open();
    let mut intake = world.intake(&store);
    let (mut seen, mut idle) = (0, 0);
    if batches == Some(0) {
        store.halt().ask();
    }
    for _ in 0..STEPS_MAX {
        let stepped = intake.step(&mut |_| {
            seen += 1;
            if Some(seen) == batches {
                store.halt().ask();
            }
        });
        match stepped {
            Ok(Step::Worked) => idle = 0,
            Ok(_) => idle += 1,
            Err(error) => return Some(error),
        }
        if idle == 3 {
            return None;
        }
        world.clock.advance(Duration::from_secs(3));
    }
    panic!("the drop folder never came to rest");
}

#[test]
fn a_delivery_stops_at_the_next_batch_stays_claimed_and_goes_on_exactly_once() {
    const ROWS: usize = 3 * CHANGES_PER_BATCH + 100;
    let mut world = World::csv(CONTACTS);
    world.drop_file("contacts-1.csv", &rows(ROWS, "Ada"));
    assert!(one_life(&world, None).is_none());
    // Half of the next snapshot would be a snapshot without the other half.
    world.drop_file("contacts-2.csv", &rows(ROWS, "Bram"));
    for batches in [0, 1, 2, 4] {
        world.options.halt = Halt::default();
        let interrupted = one_life(&world, Some(batches));
        assert!(matches!(interrupted, Some(IntakeError::Halted(_))), "{batches}: {interrupted:?}");
        assert_eq!(world.listed("processing"), ["2/contacts-2.csv"], "{batches}");
    }
    world.options.halt = Halt::default();
    assert!(one_life(&world, None).is_none());
    assert_eq!(world.listed("processing"), Vec::<String>::new());
    let store = world.open();
    let types = types_after(&store, Position::NONE);
    assert_eq!(count(&types, EventType::EntityChanged), 2 * ROWS);
    assert_eq!(count(&types, EventType::EntityLinked), ROWS);
    assert_eq!(count(&types, EventType::EntityAbsent), 0);
    assert_eq!((count(&types, EventType::IntakeStarted), count(&types, EventType::IntakeCompleted)), (2, 2));
    let report = world.report("done/2");
    assert_eq!((&report["counts"]["changed"], &report["counts"]["rows"]), (&ROWS.into(), &ROWS.into()));
}

#[test]
fn a_file_of_which_every_row_is_rejected_is_left_too() {
    let world = World::csv(CONTACTS);
    world.drop_file("contacts.csv", &("Id,Name,Friend\n".to_owned() + &"1,too short\n".repeat(10)));
    let store = world.open();
    let spec = super::super::source::spec_of(&world.source).unwrap();
    let halt = Halt::default();
    halt.ask();
    let read = super::super::reading::read(&spec, &world.drop_dir().join("contacts.csv"), &halt, &mut |_| Ok(()));
    assert!(matches!(read.err(), Some(IntakeError::Halted(_))));
    assert_eq!(position(&store), Position(1));
}

//! What somebody has who took a backup, or a part of it.

use super::*;

/// Stands in a cell of every record of the world.
const PLAIN: &[u8] = b"somebody";

#[test]
fn whoever_takes_a_backup_reads_nobody_in_it_and_each_of_its_two_parts_alone_opens_nothing() {
    let world = World::new();
    world.backed_up();
    let (log, keys) = (&world.places.log, &world.places.keys);
    for file in [files_under(log), files_under(keys), files_under(&world.options.dir)].concat() {
        let bytes = std::fs::read(&file).unwrap();
        assert!(memchr::memmem::find(&bytes, PLAIN).is_none(), "plaintext in {}", file.display());
    }
    let away = world.dir.path().join("not taken");
    for missing in [log, keys] {
        std::fs::rename(missing, &away).unwrap();
        let options = world.elsewhere("never");
        assert!(world.restore(&options, Ledgers::None).is_err(), "without {}", missing.display());
        assert!(matches!(Store::open(&options, &mut |_, _| {}), Err(OpenError::Absent)));
        std::fs::rename(&away, missing).unwrap();
    }
    // Both together, and the root key, are a store again: that key is what must lie elsewhere.
    let options = world.elsewhere("restored");
    world.restore(&options, Ledgers::None).unwrap();
    assert!(is_live(&open(&options), world.entities[9]));
}

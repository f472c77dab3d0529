//! Backups and restores of which a flush failed, whether it persisted or not.

use super::*;
use crate::flush::Flush;
use crate::flush::failing::{CUTS, Failing, Fails, Image, image, put};

/// Returns the backups that there are, each of them whole.
fn listed(places: &Places) -> Vec<Position> {
    let backups = Manifest::list(places).unwrap();
    for last in &backups {
        let manifest = Manifest::read(places, *last).unwrap();
        manifest.check_log(places, &Halt::default(), &mut |_| {}).unwrap();
        manifest.check_keys(places, &Halt::default()).unwrap();
    }
    backups
}

/// What a backup holds of the log; its keys may be more each time, as slots are filled ahead of need.
fn log_of(manifest: &Manifest) -> impl PartialEq + std::fmt::Debug + use<> {
    let cosignatures = manifest.cosignatures.as_ref().map(|part| (part.bytes, part.sha256));
    (manifest.last, manifest.journal.clone(), manifest.checkpoints.clone(), cosignatures)
}

#[test]
fn a_backup_of_which_any_flush_failed_is_whole_or_none_and_the_next_one_is_whole() {
    let world = World::new();
    let gate = Failing::of(Flush::Backup);
    let store = open(&Options { gate: gate.clone(), ..world.options.clone() });
    let dirs = [world.places.log.clone(), world.places.keys.clone()];
    let cosigned = |seconds| {
        let note = sign(&store);
        let tree = Tree::open(store.dir()).unwrap();
        tree.cosignatures().unwrap().keep(cosignature(&note, seconds)).unwrap();
        tree
    };
    let backup = |tree: &Tree| store.backup(&world.places, UNTIL, &Keyholders::default(), Some(tree), &mut |_, _| {});
    let first = backup(&cosigned(100)).unwrap().0;
    let after_first = image(&dirs);
    let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
    add_contacts(&store, layout, 300..305);
    let tree = cosigned(200);
    let second = backup(&tree).unwrap().0;
    let after_second = image(&dirs);
    // Nothing is there; an earlier one; one of the very same events, of which nobody was told that it was made.
    let begun = [
        ("the first", Image::new(), Vec::new(), vec![CUTS[0]]),
        ("the next", after_first, vec![first.last], vec![CUTS[1], CUTS[3]]),
        ("the same again", after_second, vec![first.last], vec![CUTS[2]]),
    ];
    for (what, before, earlier, cuts) in begun {
        for (fails, remains) in cuts {
            let mut stops = 0;
            loop {
                let says = format!("{what}, {fails:?} flush {}, {remains:?}", stops + 1);
                put(&dirs, &before);
                gate.arm(&dirs, stops + 1, fails);
                let stopped = backup(&tree);
                if !gate.disarm() {
                    assert_eq!(log_of(&stopped.unwrap().0), log_of(&second), "{says}");
                    break;
                }
                assert!(stopped.is_err(), "{says}");
                gate.cut(remains);
                let left = listed(&world.places);
                assert!(earlier.iter().all(|last| left.contains(last)), "{says}: {left:?}");
                let again = backup(&tree).unwrap().0;
                assert_eq!(log_of(&again), log_of(&second), "{says}");
                assert_eq!(listed(&world.places), [earlier.clone(), vec![second.last]].concat(), "{says}");
                stops += 1;
            }
            assert!(stops >= 16, "{what} has only {stops} flushes");
        }
    }
    store.close().unwrap();
}

#[test]
fn a_restore_of_which_any_flush_failed_is_done_by_the_next_one() {
    let world = World::new();
    let store = open(&world.options);
    let manifest = world.backup(&store);
    purge(&store, &world.entities[20..22]);
    let ledger = world.write_ledger(&store);
    store.close().unwrap();
    let ledgers = || Ledgers::Files(vec![ledger.clone()]);
    for fails in [Fails::Before, Fails::After] {
        let mut stops = 0;
        loop {
            let says = format!("{fails:?} flush {}", stops + 1);
            let gate = Failing::of(Flush::Backup);
            gate.arm(&[], stops + 1, fails);
            let options = world.elsewhere(&says);
            let stopped = world.restore(&Options { gate: gate.clone(), ..options.clone() }, ledgers());
            assert_eq!(stopped.is_err(), gate.has_failed(), "{says}");
            if gate.has_failed() {
                match world.restore(&options, ledgers()) {
                    Ok(restored) => assert_eq!((restored.last, restored.destroyed_again), (manifest.last, 2), "{says}"),
                    // All was in place, and only where it was made was still to be removed.
                    Err(error) => assert!(matches!(error, BackupError::InTheWay { .. }), "{says}: {error}"),
                }
            }
            assert_eq!(Store::verify_stopped(&options, &mut |_, _| {}).unwrap().findings, [], "{says}");
            let store = open(&options);
            for entity in &world.entities[20..22] {
                assert_eq!(store.key_of(*entity).unwrap(), KeyState::Destroyed, "{says}");
            }
            assert!(is_live(&store, world.entities[30]), "{says}");
            store.close().unwrap();
            if !gate.has_failed() {
                break;
            }
            stops += 1;
        }
        assert!(stops >= 8, "there are only {stops} flushes");
    }
}

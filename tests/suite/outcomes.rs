//! Every call of the archive goes wrong in every way, with and without a crash after it: a run ends completed, or stuck
//! with nothing purged, and never with a purge without a verified export (which the checker looks for after each step).

use std::{fs, io};

use retention_core::id::{EntityId, RunId};
use retention_core::saga::ATTEMPTS_BEFORE_PIVOT_MAX;
use retention_core::view::{EntityState, RunState};
use retention_tests::crash::Remains;
use retention_tests::faults::{Call, Fault};
use retention_tests::world::{Stage, Stepped, World};
use retentiond::clock::Clock as _;

/// Returns whether the world crashed.
fn run_with(call: Call, nth: u32, fault: Fault, crash: Option<(u64, Remains)>) -> bool {
    let mut world = World::new("P1D");
    let due = [world.add("a", "2020-01-01"), world.add("b", "2021-01-01")];
    world.settle();
    let (_, run) = world.approved_run("contacts");
    if call == Call::Remove {
        // Begun, exported, verified: then there is something to remove.
        for _ in 0..5 {
            world.step(Stage::Run);
        }
        world.cancel(run);
    }
    world.archive.arm(call, nth, fault);
    let before = world.crashes;
    if let Some((flush, remains)) = crash {
        world.gate.crash_at(flush, remains);
    }
    world.finish();
    let what = format!("{call:?} {nth} {fault:?} {crash:?}\n{}", world.story());
    let states = due.map(|entity| world.state_of(entity));
    match world.run_state(run) {
        RunState::Completed => assert_eq!(states, [EntityState::Purged; 2], "{what}"),
        RunState::Stuck | RunState::Cancelled => assert_eq!(states, [EntityState::Visible; 2], "{what}"),
        other => panic!("{other:?}: {what}"),
    }
    let is_by_crash = fault != Fault::Stop || world.archive.is_armed();
    world.crashes > before + u32::from(!is_by_crash)
}

#[test]
fn whatever_the_archive_answers_nothing_is_purged_without_a_verified_export() {
    for call in Call::ALL {
        for fault in Fault::OF_CALLS {
            // The second time a bundle is verified its quarantine is over.
            for nth in [1, 2] {
                run_with(call, nth, fault, None);
            }
        }
    }
}

#[test]
fn whatever_the_archive_answers_around_a_crash_nothing_is_purged_without_a_verified_export() {
    /// Flushes from one crash to the next: three faults together stop at every one of them.
    const STRIDE: usize = 3;
    let mut worlds = 0;
    for call in Call::ALL {
        for (number, fault) in (0..).zip(Fault::OF_CALLS) {
            for flush in (1 + number % STRIDE..).step_by(STRIDE) {
                let remains = Remains::ALL[(flush + number) % Remains::ALL.len()];
                worlds += 1;
                if !run_with(call, 1, fault, Some((flush as u64, remains))) {
                    break;
                }
            }
        }
    }
    println!("{worlds} worlds");
    assert!(worlds > 80, "only {worlds} worlds crashed");
}

#[test]
fn a_refusal_that_never_ends_leaves_everything_as_it_was() {
    let mut world = World::new("P0D");
    let due = world.add("a", "2020-01-01");
    world.settle();
    let (_, run) = world.approved_run("contacts");
    let mut attempts = 0;
    while world.run_state(run) != RunState::Stuck {
        if !world.archive.is_armed() {
            world.archive.arm(Call::Write, 1, Fault::Refused);
            attempts += 1;
        }
        match world.step(Stage::Run) {
            Stepped::Until(at) => world.clock.pass_until(at),
            Stepped::Worked | Stepped::Idle | Stepped::Crashed => {}
        }
        assert!(attempts < 20, "it is tried for ever\n{}", world.story());
    }
    assert_eq!(world.state_of(due), EntityState::Visible);
    assert_eq!(world.export_entries(), 0);
}

#[test]
fn a_place_for_exports_is_waited_for_however_long_it_takes_and_its_want_is_told_at_once() {
    let wants = [
        (io::ErrorKind::StorageFull, "no_space"),
        (io::ErrorKind::PermissionDenied, "permission_denied"),
        (io::ErrorKind::ReadOnlyFilesystem, "read_only_file_system"),
    ];
    for (is_cancelled, (kind, code)) in [false, true].into_iter().flat_map(|it| wants.map(|want| (it, want))) {
        let mut world = World::new("P0D");
        let due = world.add("a", "2020-01-01");
        world.settle();
        let (_, run) = world.approved_run("contacts");
        let told = |world: &World| {
            world.store().view(|views| views.small.runs.sagas().find_map(|(_, saga)| saga.needs_exports.clone()))
        };
        world.archive.refuse_all(kind);
        for attempt in 1..=2 * ATTEMPTS_BEFORE_PIVOT_MAX {
            let retry = world.settle().expect("the run waits for a place");
            let what = format!("attempt {attempt}\n{}", world.story());
            assert_eq!((told(&world).as_deref(), world.run_state(run)), (Some(code), RunState::Running), "{what}");
            // A restart forgets nothing of it.
            world.reopen();
            assert_eq!(told(&world).as_deref(), Some(code), "{what}");
            world.clock.pass_until(retry);
        }
        let expected = if is_cancelled {
            world.cancel(run);
            (RunState::Cancelled, EntityState::Visible)
        } else {
            world.archive.take_all();
            (RunState::Completed, EntityState::Purged)
        };
        world.finish();
        assert_eq!((world.run_state(run), world.state_of(due)), expected, "{}", world.story());
        assert_eq!(told(&world), None);
    }
}

#[test]
fn a_bundle_that_was_tampered_with_purges_nothing_and_calls_a_person() {
    for fault in [Fault::FlippedByte, Fault::FileRemoved] {
        let mut world = World::new("P0D");
        let due = world.add("a", "2020-01-01");
        world.settle();
        let (_, run) = world.approved_run("contacts");
        world.archive.arm(Call::Verify, 1, fault);
        world.finish();
        assert!(!world.archive.is_armed());
        assert_eq!(world.run_state(run), RunState::Stuck, "{}", world.story());
        assert_eq!(world.state_of(due), EntityState::Visible);
    }
}

#[test]
fn a_bundle_that_is_changed_during_the_quarantine_purges_nothing_and_calls_a_person() {
    for (is_restarted, fault) in
        [false, true].into_iter().flat_map(|it| [Fault::FlippedByte, Fault::FileRemoved].map(|fault| (it, fault)))
    {
        let (mut world, due, run) = quarantined();
        if is_restarted {
            world.reopen();
        }
        world.archive.arm(Call::Verify, 1, fault);
        world.finish();
        assert!(!world.archive.is_armed(), "it is read again\n{}", world.story());
        assert_eq!(world.run_state(run), RunState::Stuck, "{}", world.story());
        assert_eq!(world.state_of(due), EntityState::Visible, "{}", world.story());
        world.reopen();
        assert_eq!(world.run_state(run), RunState::Stuck);
    }
}

/// A world in which the quarantine of an entity is just over, under a run.
fn quarantined() -> (World, EntityId, RunId) {
    let mut world = World::new("P1D");
    let due = world.add("a", "2020-01-01");
    world.settle();
    let (_, run) = world.approved_run("contacts");
    let until = world.settle().expect("the quarantine is waited for");
    assert_eq!(world.state_of(due), EntityState::Quarantined);
    world.clock.pass_until(until);
    (world, due, run)
}

#[test]
fn a_bundle_that_cannot_be_read_when_its_quarantine_is_over_is_waited_for() {
    for call in [Call::Probe, Call::Verify] {
        let (mut world, due, run) = quarantined();
        // Where it lies is not known any more, so it is looked for.
        world.reopen();
        world.archive.arm(call, 1, Fault::Refused);
        let again = world.settle().expect("it is tried again");
        assert!(!world.archive.is_armed() && again > world.clock.now(), "{}", world.story());
        assert_eq!(world.state_of(due), EntityState::Quarantined, "{}", world.story());
        // Woken by something else, it is not read again before its time.
        world.archive.arm(call, 1, Fault::Refused);
        assert_eq!(world.settle(), Some(again), "{}", world.story());
        assert!(world.archive.is_armed(), "{}", world.story());
        world.finish();
        assert_eq!((world.run_state(run), world.state_of(due)), (RunState::Completed, EntityState::Purged));
    }
}

#[test]
fn a_bundle_that_is_not_there_or_has_something_beside_it_is_waited_for_until_a_person_mends_that_or_cancels() {
    for (is_removed, is_cancelled) in [(true, false), (true, true), (false, false), (false, true)] {
        let (mut world, due, run) = quarantined();
        let exports = world.exports();
        let bundle = fs::read_dir(&exports).unwrap().next().unwrap().unwrap().path();
        let (elsewhere, extra) = (exports.with_file_name("elsewhere"), bundle.join("SHA256SUMS"));
        match is_removed {
            true => fs::rename(&bundle, &elsewhere).unwrap(),
            false => fs::write(&extra, "").unwrap(),
        }
        for _ in 0..20 {
            let again = world.settle().expect("it is waited for");
            assert_eq!((world.run_state(run), world.state_of(due)), (RunState::Running, EntityState::Quarantined));
            assert_eq!(world.bundles_missed(), [if is_removed { "bundle_missing" } else { "file_extra" }]);
            world.clock.pass_until(again);
        }
        if is_cancelled {
            world.cancel(run);
        } else if is_removed {
            fs::rename(&elsewhere, &bundle).unwrap();
        } else {
            fs::remove_file(&extra).unwrap();
        }
        world.finish();
        let expected = match is_cancelled {
            true => (RunState::Cancelled, EntityState::Visible),
            false => (RunState::Completed, EntityState::Purged),
        };
        assert_eq!((world.run_state(run), world.state_of(due)), expected, "{}", world.story());
        assert!(world.bundles_missed().is_empty());
    }
}

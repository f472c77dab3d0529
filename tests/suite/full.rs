//! A disk that is really full: nothing acknowledged is lost, the daemon says so and ends, and goes on when there is
//! room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use retention_core::event::Event;
use retention_core::view::{EntityState, RunState};
use retention_tests::daemon::{Daemon, Site, has_second_person};
use retention_tests::world::{Stage, Stepped, World, policy};

/// A small file system of its own over a directory, taken away again when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where that is not permitted.
    fn over(path: &Path, bytes: u64) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes},mode=0700"), "tmpfs"])
            .arg(path)
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(path.to_owned()))
    }

    /// Fills it until so many bytes are left.
    fn fill(&self, left: u64) -> PathBuf {
        let free = rustix::fs::statvfs(&self.0).map(|stat| stat.f_bavail * stat.f_frsize).expect("a file system");
        let filler = self.0.join("filler");
        let bytes = usize::try_from(free.saturating_sub(left)).expect("a small disk");
        fs::write(&filler, vec![0; bytes]).expect("room for the filler");
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[expect(clippy::print_stdout, reason = "what a test does not do on this machine is said, never silent")]
fn small_disk(path: &Path, bytes: u64) -> Option<SmallDisk> {
    let disk = if has_second_person() { SmallDisk::over(path, bytes) } else { None };
    if disk.is_none() {
        println!("a small file system may not be mounted here: nothing was tested");
    }
    disk
}

/// Moves a new store to a small disk.
fn store_on_small_disk(site: &Site) -> Option<SmallDisk> {
    let outside = site.path("outside");
    fs::rename(site.path("state"), &outside).expect("a rename");
    fs::create_dir(site.path("state")).expect("a directory");
    let disk = small_disk(&site.path("state"), 128 << 20)?;
    let copied = Command::new("cp").arg("-a").arg(outside.join(".")).arg(site.path("state")).status();
    assert!(copied.is_ok_and(|status| status.success()));
    Some(disk)
}

fn intake_done(site: &Site, daemon: &Daemon<'_>) {
    daemon.until("the delivery is taken in", || {
        site.rows(&["intake", "list"]).iter().any(|row| row["end"] == "done").then_some(())
    });
}

#[test]
fn a_journal_without_room_ends_the_daemon_and_the_intake_goes_on_when_there_is_some() {
    const CROWD: u32 = 20_000;
    let site = Site::new(&[]);
    let Some(disk) = store_on_small_disk(&site) else { return };

    let daemon = site.start();
    // Room for some of the delivery and not for all of it.
    let filler = disk.fill(2 << 20);
    let rows = (0..CROWD).map(|id| (id.to_string(), "Somebody with a long name and more", "2015-05-01"));
    site.drop_people("crowd", &rows.collect::<Vec<_>>());
    assert_eq!(daemon.ended(), 1, "it ends by itself\n{}", site.diagnostics());
    let said = site.diagnostics();
    assert!(said.contains("the journal failed") && said.contains("No space left on device"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert!(site.path("people/processing/1/crowd.csv").exists());

    fs::remove_file(filler).expect("the filler");
    // What sled holds may be torn by the full disk, and is made again at the start; the journal and the keys are whole.
    let verified = site.retentiond(&["store", "verify"]);
    let wrong: Vec<&str> = verified.err.lines().filter(|line| line.contains("restore")).collect();
    assert!([0, 20].contains(&verified.code) && wrong.is_empty(), "{}", verified.err);
    let daemon = site.start();
    intake_done(&site, &daemon);
    let of = |kind: &str| site.rows(&["audit", "query", "--kind", kind]).len();
    assert_eq!(of("EntityChanged"), CROWD as usize + 1, "the mailbox is one more");
    let parts = site.rows(&["store", "verify"]);
    assert!(parts.iter().all(|part| part["state"] == "intact"), "{parts:?}");
    daemon.stop();
}

#[test]
fn a_request_that_the_journal_has_no_room_for_says_so_to_whoever_asked() {
    let site = Site::new(&[]);
    let Some(disk) = store_on_small_disk(&site) else { return };
    let daemon = site.start();
    let filler = disk.fill(0);
    let place = ["hold", "place", "Case 17", "--kind", "contact", "--reason", "court order"];
    // The page in which the journal ends has room for some.
    let mut recorded = 0;
    let unknown = loop {
        let said = site.ctl(&place);
        if said.code != 0 {
            break said;
        }
        recorded += 1;
        assert!(recorded < 100, "the disk is full");
    };
    let _unknown = unknown.ends(10).says("the log could not be written").says("make room");
    // A stage that wants to append meanwhile ends the daemon: then nobody is there to refuse it.
    let refused = site.ctl(&place);
    if refused.code == 69 {
        assert_eq!(daemon.ended(), 1, "{}", site.diagnostics());
    } else {
        let _refused = refused.ends(10).says("the store is read-only").says("make room");
        drop(daemon);
    }

    fs::remove_file(filler).expect("the filler");
    let daemon = site.start();
    assert_eq!(site.rows(&["hold", "list"]).len(), recorded);
    daemon.stop();
}

#[test]
fn a_bundle_without_room_purges_nothing_and_is_written_again_when_there_is_some() {
    let mut world = World::new("P0D");
    let due = world.add("a", "2020-01-01");
    world.settle();
    let (_, run) = world.approved_run("contacts");
    let Some(disk) = small_disk(&world.exports(), 1 << 20) else { return };
    for left in [0, 4096] {
        let filler = disk.fill(left);
        let retry = loop {
            match world.step(Stage::Run) {
                Stepped::Until(at) => break at,
                Stepped::Worked => {}
                other => panic!("{other:?}\n{}", world.story()),
            }
        };
        let log = world.log();
        let failed = log.iter().rev().find_map(|recorded| match recorded.event() {
            Some(Event::StepFailed(body)) => Some(body.code.clone()),
            _ => None,
        });
        assert_eq!(failed.as_deref(), Some("no_space"), "{left} bytes left\n{}", world.story());
        assert_eq!((world.state_of(due), world.bundles()), (EntityState::Visible, 0));
        fs::remove_file(filler).expect("the filler");
        assert_eq!(world.export_entries(), 0, "half a bundle was left behind");
        world.clock.pass_until(retry);
    }
    world.finish();
    assert_eq!(world.run_state(run), RunState::Completed, "{}", world.story());
    assert_eq!((world.state_of(due), world.bundles()), (EntityState::Purged, 1));
    drop(world.store().clone());
    drop(disk);
}

#[test]
fn a_workbook_without_room_is_no_panic_and_is_written_again_when_there_is_some() {
    let mut world = World::new("P0D");
    world.write_policy("contacts", &policy("contacts", "P0D").replace("\"csv\"]", "\"csv\", \"xlsx\"]"));
    // Each row is more than what is buffered of the temporary file of a sheet.
    let long = "x".repeat(20_000);
    let due: Vec<_> = (0..8).map(|number| world.add(&format!("{number}-{long}"), "2020-01-01")).collect();
    world.settle();
    let (_, run) = world.approved_run("contacts");
    let Some(disk) = small_disk(&world.exports(), 4 << 20) else { return };
    let filler = disk.fill(64 << 10);
    let retry = world.settle().expect("the run waits for room");
    let told = world.store().view(|views| views.small.runs.sagas().find_map(|(_, saga)| saga.needs_exports.clone()));
    assert_eq!(told.as_deref(), Some("no_space"), "{}", world.story());
    assert_eq!((world.state_of(due[0]), world.bundles()), (EntityState::Visible, 0));
    fs::remove_file(filler).expect("the filler");
    assert_eq!(world.export_entries(), 0, "half a bundle was left behind");
    world.clock.pass_until(retry);
    world.finish();
    assert_eq!(world.run_state(run), RunState::Completed, "{}", world.story());
    assert!(due.iter().all(|entity| world.state_of(*entity) == EntityState::Purged));
    drop(world.store().clone());
    drop(disk);
}

//! The store and the stages, wired as the daemon wires them, on a clock that stands still.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::tz::TimeZone;
use retention_core::time::Timestamp;
use retentiond::clock::{Clock, ManualClock};
use retentiond::config::{Delivers, KeepDone, Source, SourceKind};
use retentiond::connector::archive::DiskArchive;
use retentiond::stage::Step;
use retentiond::stage::intake::Intake;
use retentiond::stage::plan::Plan;
use retentiond::stage::policies::Policies;
use retentiond::stage::project::Project;
use retentiond::stage::run::{Run, SAGAS_AT_ONCE};
use retentiond::stage::schedule::Schedule;
use retentiond::store::vault::RootKey;
use retentiond::store::{EVENTS_PER_WRITE_OUT, Options, Store};

use crate::Outcome;

/// The policy that makes one contact in ten due in 2026.
pub(crate) const POLICY: &str = "contacts-stale";

/// The policies of an installation: file name and text.
pub(crate) const POLICIES: [(&str, &str); 2] = [
    ("contacts-stale.toml", include_str!("policy/contacts-stale.toml")),
    ("contacts-old-buyers.toml", include_str!("policy/contacts-old-buyers.toml")),
];

/// A policy with a filter of three leaves, which is never active: its id and text. All that it selects is due.
pub(crate) const THREE_LEAVES: (&str, &str) =
    ("contacts-three-leaves", include_str!("policy/contacts-three-leaves.toml"));

/// The mapping of the generated file.
pub(crate) const MAPPING: &str = include_str!("policy/mapping.toml");

/// The day of the intake: nothing is due yet. 2024-12-15T00:00:00Z.
pub(crate) const TAKEN_IN_AT: Timestamp = Timestamp(1_734_220_800_000_000);

/// A day later than the first due dates, and earlier than all others. 2026-01-15T00:00:00Z.
pub(crate) const DUE_AT: Timestamp = Timestamp(1_768_435_200_000_000);

/// How often the write-out looks whether there is enough to write.
const WRITE_OUT_LOOK: Duration = Duration::from_millis(20);

/// One installation in a directory.
#[derive(Clone)]
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    /// Returns the state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// Returns the drop folder.
    pub(crate) fn drop_dir(&self) -> PathBuf {
        self.0.join("drop")
    }

    /// Returns the directory of bundles.
    pub(crate) fn exports(&self) -> PathBuf {
        self.0.join("exports")
    }

    /// Makes everything that an installation needs.
    pub(crate) fn make(&self) -> Outcome<()> {
        for dir in ["drop", "exports", "policies"] {
            std::fs::create_dir_all(self.0.join(dir))?;
        }
        for (name, text) in POLICIES {
            std::fs::write(self.0.join("policies").join(name), text)?;
        }
        std::fs::write(self.0.join("mapping.toml"), MAPPING)?;
        drop(RootKey::generate_file(&self.0.join("root.key"))?);
        let clock = Arc::new(ManualClock::starting_at(TAKEN_IN_AT));
        Store::init(&self.options(clock)?)?;
        Ok(())
    }

    /// Returns how the store is opened.
    pub(crate) fn options(&self, clock: Arc<dyn Clock>) -> Outcome<Options> {
        Ok(Options::usual(&self.state(), &self.0.join("root.key"), clock)?)
    }
}

/// An open installation.
pub(crate) struct Ours {
    /// The store.
    pub(crate) store: Arc<Store>,
    /// The clock that everything sees.
    pub(crate) clock: ManualClock,
    place: Place,
    write_out: Option<WriteOut>,
}

impl Ours {
    /// Opens the store, loads the policies and starts the write-out.
    pub(crate) fn open(place: &Place, at: Timestamp) -> Outcome<Self> {
        let clock = ManualClock::starting_at(at);
        let store = Arc::new(Store::open(&place.options(Arc::new(clock.clone()))?, &mut |_, _| {})?);
        let ours = Self { write_out: Some(WriteOut::start(&store)?), store, clock, place: place.clone() };
        Policies::new(Arc::clone(&ours.store), ours.clock(), place.0.join("policies")).step()?;
        ours.judge()?;
        Ok(ours)
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    /// Brings the due index up to date.
    pub(crate) fn judge(&self) -> Outcome<()> {
        let mut project = Project::new(Arc::clone(&self.store));
        while project.step()? == Step::Worked {}
        Ok(())
    }

    /// Takes a file in: it is renamed into the drop folder, and the stage does the rest.
    pub(crate) fn take_in(&self, csv: &Path) -> Outcome<()> {
        let source = Source {
            name: "crm".to_owned(),
            kind: SourceKind::Csv { mapping: self.place.0.join("mapping.toml"), encoding: None, delimiter: None },
            drop_dir: self.place.drop_dir(),
            zone: Some(TimeZone::UTC),
            delivers: Delivers::Delta,
            max_bytes: u64::MAX,
            keep_done: KeepDone::Forever,
            keep_rejected: KeepDone::Forever,
            mailbox: None,
            activities: Arc::default(),
        };
        let dropped = self.place.drop_dir().join("contacts.csv");
        std::fs::rename(csv, &dropped)?;
        let mut intake = Intake::new(Arc::clone(&self.store), self.clock(), vec![source]);
        intake.renamed_in(&dropped);
        while intake.step(&mut |_| {})? == Step::Worked {}
        Ok(())
    }

    /// Returns the stage that fires.
    pub(crate) fn schedule(&self) -> Schedule {
        Schedule::new(Arc::clone(&self.store), self.clock())
    }

    /// Returns the stage that plans.
    pub(crate) fn plan(&self) -> Plan {
        Plan::new(Arc::clone(&self.store), self.clock())
    }

    /// Returns the stage that runs, over the archive on disk.
    pub(crate) fn run(&self) -> Run {
        let archive = Arc::new(DiskArchive::at(&self.place.exports()));
        Run::new(Arc::clone(&self.store), self.clock(), archive, TimeZone::UTC).with_sagas_at_once(SAGAS_AT_ONCE)
    }

    /// Closes the store in good order.
    pub(crate) fn close(mut self) -> Outcome<()> {
        drop(self.write_out.take());
        match Arc::try_unwrap(self.store) {
            Ok(store) => Ok(store.close()?),
            Err(_) => Err("a stage still holds the store".into()),
        }
    }
}

/// The thread that writes sled out, as the supervisor has it.
struct WriteOut {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl WriteOut {
    fn start(store: &Arc<Store>) -> Outcome<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (store, stopped) = (Arc::clone(store), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("write-out".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                if let Err(error) = store.write_out(EVENTS_PER_WRITE_OUT) {
                    crate::figure::say(&format!("the write-out failed: {error}"));
                    return;
                }
                std::thread::park_timeout(WRITE_OUT_LOOK);
            }
        });
        Ok(Self { stop, thread: Some(thread?) })
    }
}

impl Drop for WriteOut {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            drop(thread.join());
        }
    }
}

/// Copies a closed installation, so that several measurements begin with the same one, and waits until the disk has it:
/// what the copy owes is no part of what is measured.
pub(crate) fn copy(from: &Path, to: &Path) -> Outcome<()> {
    let done = std::process::Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to).status()?;
    if !done.success() {
        return Err("copying an installation failed".into());
    }
    rustix::fs::sync();
    Ok(())
}

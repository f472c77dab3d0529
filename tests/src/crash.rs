//! Crashes: a gate that counts every flush and stops the world at one of them.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use retentiond::flush::{Flush, FlushGate};

/// What is left of a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remains {
    /// What was written but not flushed is lost.
    Lost,
    /// Half of it is there.
    Torn,
    /// All of it is there, and was never acknowledged.
    Kept,
    /// It was flushed, and whoever waited for it was never told.
    Flushed,
}

impl Remains {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Lost, Self::Torn, Self::Kept, Self::Flushed];
}

/// The bytes of the house key's slot and the one after it: of two tombstones that were written, one is lost.
const TORN_SLOTS_BYTES: usize = 128;

/// Stops a scenario at every flush that it reaches, and prints how many those are. `reaches` is told at which flush to
/// stop and what is left then, and says whether it got that far.
///
/// # Panics
/// When the scenario has fewer than `least` flushes, so that it cannot be what it was.
#[expect(clippy::print_stdout, reason = "how much was tried is said, never silent")]
pub fn at_every_flush(what: &str, remains: Remains, least: u64, mut reaches: impl FnMut(u64, Remains) -> bool) {
    let mut stops = 0;
    while reaches(stops + 1, remains) {
        stops += 1;
    }
    println!("{what}, {remains:?}: stopped at {stops} flushes");
    assert!(stops >= least, "{what} has only {stops} flushes");
}

#[derive(Debug, Default)]
struct State {
    flushes: u64,
    crash_at: Option<(u64, Remains)>,
    crashed: bool,
    /// The newest segment of the journal and how much of it is durable.
    durable: Option<(PathBuf, u64)>,
    /// The first file of key slots as it is durable: destroying writes in place.
    slots: Vec<u8>,
    crashed_at: Option<Flush>,
}

/// Counts flushes, and crashes at one of them: from then on every flush fails, so that nothing more can happen.
///
/// The filling of key slots ahead of need has a thread of its own, so it is not counted here: a count would not name
/// the same point twice. The tests of the vault count it alone.
pub struct CrashGate {
    journal: PathBuf,
    slots: PathBuf,
    state: Mutex<State>,
}

impl CrashGate {
    /// Watches the store in a directory.
    #[must_use]
    pub fn of(store: &Path) -> Self {
        Self { journal: store.join("journal"), slots: store.join("keys/slots.0000"), state: Mutex::default() }
    }

    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Crashes at the flush that comes as the `nth` from now on, counted from 1.
    pub fn crash_at(&self, nth: u64, remains: Remains) {
        let (durable, slots) = (newest_segment(&self.journal), self.slots());
        self.with(|state| {
            *state = State { crash_at: Some((nth, remains)), durable, slots, ..State::default() };
        });
    }

    fn slots(&self) -> Vec<u8> {
        fs::read(&self.slots).unwrap_or_default()
    }

    /// Says whether it crashed.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.with(|state| state.crashed)
    }

    /// Leaves on disk what the crash left, and lets everything through again.
    pub fn recover(&self) {
        let state = self.with(std::mem::take);
        let (true, Some((_, remains)), Some((path, durable))) = (state.crashed, state.crash_at, state.durable) else {
            return;
        };
        let written = fs::metadata(&path).map_or(durable, |meta| meta.len()).max(durable);
        let left = match remains {
            Remains::Lost => durable,
            Remains::Torn => durable + (written - durable) / 2,
            Remains::Kept | Remains::Flushed => written,
        };
        let file = OpenOptions::new().write(true).open(&path).expect("the newest segment is there");
        file.set_len(left).expect("the tail can be cut");
        if state.crashed_at == Some(Flush::Destroy) {
            let old = match remains {
                Remains::Lost => state.slots.as_slice(),
                Remains::Torn => state.slots.get(..TORN_SLOTS_BYTES).unwrap_or_default(),
                Remains::Kept | Remains::Flushed => &[],
            };
            let file = OpenOptions::new().write(true).open(&self.slots).expect("the slots are there");
            file.write_all_at(old, 0).expect("the slots can be written");
        }
    }
}

fn newest_segment(journal: &Path) -> Option<(PathBuf, u64)> {
    let newest = fs::read_dir(journal).ok()?.filter_map(|entry| entry.ok().map(|entry| entry.path())).max()?;
    let length = fs::metadata(&newest).ok()?.len();
    Some((newest, length))
}

fn stopped() -> io::Error {
    io::Error::other("the world was stopped here")
}

impl FlushGate for CrashGate {
    fn before(&self, what: Flush) -> io::Result<()> {
        if what == Flush::Fill {
            return Ok(());
        }
        self.with(|state| {
            if state.crashed {
                return Err(stopped());
            }
            state.flushes += 1;
            match state.crash_at {
                Some((nth, remains)) if nth == state.flushes && remains != Remains::Flushed => {
                    state.crashed = true;
                    state.crashed_at = Some(what);
                    Err(stopped())
                }
                _ => Ok(()),
            }
        })
    }

    fn after(&self, what: Flush) -> io::Result<()> {
        if what == Flush::Fill {
            return Ok(());
        }
        let durable = newest_segment(&self.journal);
        let slots = (what == Flush::Destroy).then(|| self.slots());
        self.with(|state| {
            if state.crashed {
                return Err(stopped());
            }
            if what == Flush::Journal {
                state.durable = durable;
            }
            if let Some(slots) = slots {
                state.slots = slots;
            }
            match state.crash_at {
                // Files of a bundle are flushed side by side: the next flush may have begun before this one ended.
                Some((nth, _)) if nth <= state.flushes => {
                    state.crashed = true;
                    Err(stopped())
                }
                _ => Ok(()),
            }
        })
    }
}

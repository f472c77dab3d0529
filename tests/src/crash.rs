//! Crashes: a gate that counts every flush and stops the world at one of them.

use std::fs::{self, OpenOptions};
use std::io;
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

#[derive(Debug, Default)]
struct State {
    flushes: u64,
    crash_at: Option<(u64, Remains)>,
    crashed: bool,
    /// The newest segment of the journal and how much of it is durable.
    durable: Option<(PathBuf, u64)>,
}

/// Counts flushes, and crashes at one of them: from then on every flush fails, so that nothing more can happen.
///
/// The filling of key slots ahead of need has a thread of its own, so it is not counted: a count would not name the
/// same point twice.
pub struct CrashGate {
    journal: PathBuf,
    state: Mutex<State>,
}

impl CrashGate {
    /// Watches the store in a directory.
    #[must_use]
    pub fn of(store: &Path) -> Self {
        Self { journal: store.join("journal"), state: Mutex::default() }
    }

    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Crashes at the flush that comes as the `nth` from now on, counted from 1.
    pub fn crash_at(&self, nth: u64, remains: Remains) {
        let durable = newest_segment(&self.journal);
        self.with(|state| {
            *state = State { crash_at: Some((nth, remains)), durable, ..State::default() };
        });
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
        self.with(|state| {
            if state.crashed {
                return Err(stopped());
            }
            if what == Flush::Journal {
                state.durable = durable;
            }
            match state.crash_at {
                Some((nth, _)) if nth == state.flushes => {
                    state.crashed = true;
                    Err(stopped())
                }
                _ => Ok(()),
            }
        })
    }
}

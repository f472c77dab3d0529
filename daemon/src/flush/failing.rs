//! A flush that fails, and the power cut after it: for tests of writes of which nobody was told how they ended.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Flush, FlushGate};

/// How a flush fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fails {
    /// Nothing was persisted.
    Before,
    /// All was persisted, and whoever waited for it is told that it failed.
    After,
}

/// What a power cut leaves of what was written and not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remains {
    /// Nothing.
    Nothing,
    /// Half of each file that is new or longer.
    Half,
    /// All of it.
    All,
}

/// Every way in which a flush fails and the power is cut right after it.
pub(crate) const CUTS: [(Fails, Remains); 4] = [
    (Fails::Before, Remains::Nothing),
    (Fails::Before, Remains::Half),
    (Fails::Before, Remains::All),
    (Fails::After, Remains::All),
];

/// What lies somewhere: files with their bytes, and directories.
pub(crate) type Image = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// Returns what lies in these places.
pub(crate) fn image(places: &[PathBuf]) -> Image {
    let mut image = Image::new();
    let mut open = places.to_vec();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            image.insert(path, None);
        } else if path.exists() {
            let bytes = fs::read(&path).unwrap();
            image.insert(path, Some(bytes));
        }
    }
    image
}

/// Leaves this in these places, and nothing else.
pub(crate) fn put(places: &[PathBuf], image: &Image) {
    for place in places {
        if place.is_dir() {
            fs::remove_dir_all(place).unwrap();
        } else if place.exists() {
            fs::remove_file(place).unwrap();
        }
    }
    for (path, lies) in image {
        match lies {
            None => fs::create_dir(path).unwrap(),
            Some(bytes) => fs::write(path, bytes).unwrap(),
        }
    }
}

/// What is left when half of what was not flushed is.
fn half(durable: &Image, written: &Image) -> Image {
    let mut left = written.clone();
    for (path, lies) in &mut left {
        let Some(bytes) = lies else { continue };
        // What was flushed, under this name or another, is whole.
        if durable.values().any(|other| other.as_ref() == Some(&*bytes)) {
            continue;
        }
        let before = durable.get(path).and_then(Option::as_deref).unwrap_or_default();
        if bytes.starts_with(before) {
            bytes.truncate(before.len() + (bytes.len() - before.len()) / 2);
        }
    }
    left
}

struct State {
    places: Vec<PathBuf>,
    flushes: u64,
    fails: Option<(u64, Fails)>,
    has_failed: bool,
    durable: Image,
    /// What lay there when it failed.
    written: Image,
}

/// Fails one flush of a kind, and lets all others through.
pub(crate) struct Failing {
    what: Flush,
    state: Mutex<State>,
}

impl Failing {
    pub(crate) fn of(what: Flush) -> Arc<Self> {
        let state = State {
            places: Vec::new(),
            flushes: 0,
            fails: None,
            has_failed: false,
            durable: Image::new(),
            written: Image::new(),
        };
        Arc::new(Self { what, state: Mutex::new(state) })
    }

    /// Fails the `nth` flush from now on, counted from 1. What lies in these places now is durable.
    pub(crate) fn arm(&self, places: &[PathBuf], nth: u64, fails: Fails) {
        *self.state.lock() = State {
            places: places.to_vec(),
            flushes: 0,
            fails: Some((nth, fails)),
            has_failed: false,
            durable: image(places),
            written: Image::new(),
        };
    }

    /// Fails nothing, and watches nothing any more. Says whether it failed.
    pub(crate) fn disarm(&self) -> bool {
        let state = &mut *self.state.lock();
        state.fails = None;
        state.has_failed
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.state.lock().has_failed
    }

    /// Leaves what a power cut leaves in the moment of the failure.
    pub(crate) fn cut(&self, remains: Remains) {
        let state = &mut *self.state.lock();
        state.durable = match remains {
            Remains::Nothing => std::mem::take(&mut state.durable),
            Remains::Half => half(&state.durable, &state.written),
            Remains::All => std::mem::take(&mut state.written),
        };
        put(&state.places, &state.durable);
    }

    /// Leaves what is durable now.
    pub(crate) fn cut_now(&self) {
        let state = self.state.lock();
        put(&state.places, &state.durable);
    }
}

impl FlushGate for Failing {
    fn before(&self, what: Flush) -> io::Result<()> {
        let state = &mut *self.state.lock();
        let Some((nth, fails)) = state.fails.filter(|_| what == self.what) else { return Ok(()) };
        state.flushes += 1;
        if state.flushes != nth || fails != Fails::Before {
            return Ok(());
        }
        state.has_failed = true;
        state.written = image(&state.places);
        Err(io::Error::other("the flush fails here"))
    }

    fn after(&self, what: Flush) -> io::Result<()> {
        let state = &mut *self.state.lock();
        let Some((nth, fails)) = state.fails.filter(|_| what == self.what) else { return Ok(()) };
        // The flushes before the last one that passes are of no use to anybody.
        if state.flushes + 1 >= nth {
            state.durable = image(&state.places);
        }
        if state.flushes != nth || fails != Fails::After {
            return Ok(());
        }
        state.has_failed = true;
        state.written = state.durable.clone();
        Err(io::Error::other("the flush fails here, after it was done"))
    }
}

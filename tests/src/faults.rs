//! Faults of the archive: refused, lost before or after it happened, slow, and bundles that are tampered with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use retention_core::evidence::ExpectedItem;
use retention_core::id::Digest;
use retentiond::clock::ManualClock;
use retentiond::connector::archive::{
    ArchiveError, Bundle, BundleName, BundleSpec, DiskArchive, ExportTarget, Fill, ITEMS_FILE, Probe, Verified,
    VerifyError,
};
use retentiond::connector::outcome::{Cause, Outcome, Refusal, Retry};
use retentiond::flush::FlushGate;
use retentiond::halt::Halt;
use retentiond::keyholders::OneTimeKey;

/// A call of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A bundle is written.
    Write,
    /// A bundle is read back.
    Verify,
    /// What an attempt left is looked for.
    Probe,
    /// A bundle is removed.
    Remove,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Write, Self::Verify, Self::Probe, Self::Remove];
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does not happen, and that is said.
    Refused,
    /// It does not happen, and nobody knows.
    LostNotApplied,
    /// It happens, and nobody knows.
    LostButApplied,
    /// It happens, a day later.
    Slow,
    /// The daemon is asked to stop just before.
    Stop,
    /// Before a bundle is read back, a byte of its items is another.
    FlippedByte,
    /// Before a bundle is read back, its items are removed.
    FileRemoved,
}

impl Fault {
    /// Those of which any call can fall ill.
    pub const OF_CALLS: [Self; 5] = [Self::Refused, Self::LostNotApplied, Self::LostButApplied, Self::Slow, Self::Stop];
}

/// How long a slow call takes: longer than any back-off.
const SLOW: Duration = Duration::from_secs(24 * 60 * 60);

/// The archive on disk, with one fault at one call, or with no leave or room to write.
pub struct FaultyArchive {
    root: PathBuf,
    disk: Mutex<DiskArchive>,
    gate: Arc<dyn FlushGate>,
    halt: Mutex<Halt>,
    clock: ManualClock,
    armed: Mutex<Option<(Call, u32, Fault)>>,
    takes_nothing: Mutex<Option<io::ErrorKind>>,
}

impl FaultyArchive {
    /// Uses a directory.
    #[must_use]
    pub fn at(root: &Path, clock: ManualClock, gate: Arc<dyn FlushGate>) -> Self {
        Self {
            root: root.to_owned(),
            disk: Mutex::new(DiskArchive::gated(root, Arc::clone(&gate))),
            gate,
            halt: Mutex::default(),
            clock,
            armed: Mutex::default(),
            takes_nothing: Mutex::default(),
        }
    }

    /// Stops, and asks to stop, by this from now on, as a process that knows nothing yet.
    pub fn stops_by(&self, halt: &Halt) {
        let disk = DiskArchive::gated(&self.root, Arc::clone(&self.gate)).halting(halt.clone());
        *self.disk.lock().unwrap_or_else(PoisonError::into_inner) = disk;
        self.halt.lock().unwrap_or_else(PoisonError::into_inner).clone_from(halt);
    }

    /// Lets the `nth` call of a kind from now on go wrong, counted from 1.
    pub fn arm(&self, call: Call, nth: u32, fault: Fault) {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = Some((call, nth, fault));
    }

    /// Lets the disk refuse all that is written, in this way, until [`Self::take_all`].
    pub fn refuse_all(&self, why: io::ErrorKind) {
        *self.takes_nothing.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Lets the disk take what is written.
    pub fn take_all(&self) {
        *self.takes_nothing.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Says whether the fault that was armed has not happened yet.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The archive as it is on disk.
    #[must_use]
    pub fn disk(&self) -> DiskArchive {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn halt(&self) -> Halt {
        self.halt.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fault(&self, call: Call) -> Option<Fault> {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        let (due, nth, fault) = (*armed)?;
        if due != call {
            return None;
        }
        if nth > 1 {
            *armed = Some((due, nth - 1, fault));
            return None;
        }
        *armed = None;
        match fault {
            Fault::Slow => self.clock.advance(SLOW),
            Fault::Stop => self.halt().ask(),
            _ => {}
        }
        Some(fault)
    }

    fn tamper(&self, name: &BundleName, fault: Fault) {
        let plain = self.root.join(name.as_str()).join(ITEMS_FILE);
        let path = if plain.exists() { plain } else { plain.with_extension("jsonl.age") };
        if fault == Fault::FileRemoved {
            fs::remove_file(path).expect("the items are there");
            return;
        }
        let mut bytes = fs::read(&path).expect("the items can be read");
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        fs::write(path, bytes).expect("the items can be written");
    }
}

const LOST: Cause = Cause { code: "lost" };

fn refusal() -> Refusal {
    Refusal { code: "fault", retry: Retry::After(Duration::from_secs(1)) }
}

fn effect<R>(fault: Option<Fault>, act: impl FnOnce() -> Outcome<R>) -> Outcome<R> {
    match fault {
        Some(Fault::Refused) => Outcome::Refused(refusal()),
        Some(Fault::LostNotApplied) => Outcome::Unknown(LOST),
        Some(Fault::LostButApplied) => {
            drop(act());
            Outcome::Unknown(LOST)
        }
        Some(Fault::Slow | Fault::Stop | Fault::FlippedByte | Fault::FileRemoved) | None => act(),
    }
}

impl FaultyArchive {
    fn read(
        &self,
        name: &BundleName,
        verify: impl FnOnce(DiskArchive) -> Result<Verified, VerifyError>,
    ) -> Result<Verified, VerifyError> {
        match self.fault(Call::Verify) {
            Some(Fault::Refused | Fault::LostNotApplied | Fault::LostButApplied) => {
                return Err(VerifyError::Unreadable(ArchiveError::NamesTaken));
            }
            Some(fault @ (Fault::FlippedByte | Fault::FileRemoved)) => self.tamper(name, fault),
            Some(Fault::Slow | Fault::Stop) | None => {}
        }
        verify(self.disk())
    }
}

impl ExportTarget for FaultyArchive {
    fn write(&self, spec: BundleSpec, fill: &mut Fill<'_>) -> Outcome<Bundle> {
        let why = *self.takes_nothing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = why {
            let refused = ArchiveError::Io { doing: "write an item", source: why.into() };
            return Outcome::Refused(refused.refusal());
        }
        effect(self.fault(Call::Write), || self.disk().write(spec, fill))
    }

    fn verify(
        &self,
        name: &BundleName,
        manifest: Digest,
        key: Option<&OneTimeKey>,
        expected: &mut dyn Iterator<Item = ExpectedItem>,
    ) -> Result<Verified, VerifyError> {
        self.read(name, |disk| disk.verify(name, manifest, key, expected))
    }

    fn verify_recorded(&self, name: &BundleName, manifest: Digest) -> Result<Verified, VerifyError> {
        self.read(name, |disk| disk.verify_recorded(name, manifest))
    }

    fn probe(&self, idempotency_key: Digest) -> Result<Probe, ArchiveError> {
        match self.fault(Call::Probe) {
            Some(Fault::Refused | Fault::LostNotApplied | Fault::LostButApplied) => Err(ArchiveError::NamesTaken),
            Some(Fault::Slow | Fault::Stop | Fault::FlippedByte | Fault::FileRemoved) | None => {
                self.disk().probe(idempotency_key)
            }
        }
    }

    fn remove(&self, name: &BundleName) -> Outcome<()> {
        effect(self.fault(Call::Remove), || self.disk().remove(name))
    }

    fn discard(&self, idempotency_key: Digest) -> Outcome<()> {
        effect(self.fault(Call::Remove), || self.disk().discard(idempotency_key))
    }

    fn sweep(&self) -> Result<u64, ArchiveError> {
        self.disk().sweep()
    }
}

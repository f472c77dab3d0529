//! Intake: dropped files and directories become events.
//!
//! | file | what |
//! |---|---|
//! | `source` | from the configuration to what the reader needs |
//! | `place` | the folders of a source, and the reports |
//! | `take` | one delivery from its claim to its end |
//! | `reading` | the reader on its own thread |
//! | `rows`, `batch` | rows compared with what is known, and what is under way to the log |
//! | `gone` | what a source no longer holds |
//! | `order` | which of two deliveries counts |
//! | `registry` | mailboxes that people register, and their credentials |
//! | `permission` | who may do what in registered mailboxes |
//! | `mail` | messages of registered mailboxes, which nobody delivers |
//! | `links` | external ids become numbers |
//!
//! A delivery is claimed by a rename, taken in exactly once by its content, and put away with a report. Everything an
//! intake appends is found by comparing, so one that was interrupted is simply read again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use retention_core::control::EntryLeftRow;
use retention_core::event::change::IntakeEnd;
use retention_core::id::{Digest, Position};
use retention_core::time::Timestamp;

use super::{Step, is_over};
use crate::clock::Clock;
use crate::config::{KeepDone, Source};
use crate::connector::drop::SourceSpec;
use crate::connector::drop::ocm::DirectoryName;
use crate::connector::drop::scan::{self, ClaimError, Refusal, STILL_US, Stillness, Verdict};
use crate::halt::Halted;
use crate::store::durable_file::DurableFileError;
use crate::store::{AppendError, Store};

mod batch;
pub mod batch_file;
mod gone;
mod links;
pub mod mail;
mod order;
mod outcome;
pub mod permission;
mod place;
mod reading;
pub mod registry;
mod rows;
mod source;
mod take;
#[cfg(test)]
mod tests;

pub use outcome::{Counts, Oddity, Taken};
pub use place::{REPORT_JSON, REPORT_TEXT};
pub use source::{SpecError, mapping_problems};
pub use take::Progress;

use order::Exports;
use place::Shelf;
use take::Task;

/// How often the drop folders are looked at without a hint, in microseconds: 30 seconds, since hints can be lost.
pub const SCAN_EVERY_US: i64 = 30_000_000;

/// How soon after a look another one is worth it, in microseconds: half a second, far below the two that an entry must
/// be still. Hints of a file that grows come much faster.
const LOOK_AFTER_US: i64 = 500_000;

/// How long a claim or an intake that failed is left alone, in microseconds: a minute, so that a wrong permission
/// neither fills the diagnostics nor waits long once it is mended.
const RETRY_AFTER_US: i64 = 60_000_000;

/// How often `done/` is swept, in microseconds: an hour, since keeping times are days.
const SWEEP_EVERY_US: i64 = 3_600_000_000;

/// An intake was interrupted. What it claimed stays in `processing/` and is taken up again; the other files wait.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The log did not take an event.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The keys.
    #[error(transparent)]
    Vault(#[from] crate::store::vault::VaultError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] crate::store::ReadError),
    /// A body could not be encoded.
    #[error(transparent)]
    Codec(#[from] retention_core::event::codec::CodecError),
    /// A folder or a report.
    #[error(transparent)]
    Folder(#[from] DurableFileError),
    /// The mapping.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The system gives no thread.
    #[error("the thread that reads a dropped file cannot be started ({0}); the file is taken up again")]
    Thread(std::io::ErrorKind),
    /// The daemon is ending.
    #[error(transparent)]
    Halted(#[from] Halted),
    /// The reader broke its promise.
    #[error("the reader of a dropped file failed; the file stays in processing/ and is taken up again")]
    ReaderFailed,
}

impl IntakeError {
    /// Says whether the store itself is the cause, so that no other file could be taken in either.
    #[must_use]
    pub fn is_of_the_store(&self) -> bool {
        match self {
            Self::Append(error) => match error {
                AppendError::ReadOnly(_)
                | AppendError::Journal(_)
                | AppendError::Full
                | AppendError::Closed
                | AppendError::Vault(_) => true,
                AppendError::Conflict(_)
                | AppendError::Codec(_)
                | AppendError::KeyDestroyed(_)
                | AppendError::Seal(_) => false,
            },
            Self::Vault(_) | Self::Read(_) => true,
            Self::Codec(_)
            | Self::Folder(_)
            | Self::Spec(_)
            | Self::Thread(_)
            | Self::Halted(_)
            | Self::ReaderFailed => false,
        }
    }
}

/// What of the drop folders is not taken in, as of the newest look.
pub type IntakeHealth = Arc<Mutex<NotTaken>>;

/// What is not taken in, and stays where it is. Its names may name persons: no `Debug`.
#[derive(Clone, Default)]
pub struct NotTaken {
    /// The sources of which nothing is taken in: what each is called, and why.
    pub stopped: Vec<(String, String)>,
    /// The entries that are left alone, could not be taken, or were rejected and still lie there.
    pub left: Vec<EntryLeft>,
}

/// An entry of a drop folder that is not taken in.
#[derive(Clone, PartialEq, Eq)]
pub struct EntryLeft {
    /// The source.
    pub source: String,
    /// The name of the file or directory.
    pub name: String,
    /// A stable code of why.
    pub code: &'static str,
    /// Why, and what to do. It names nobody.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
}

impl EntryLeft {
    fn new(source: &str, name: &OsStr, code: &'static str, message: String, since: Timestamp) -> Self {
        Self { source: source.to_owned(), name: name.to_string_lossy().into_owned(), code, message, since }
    }

    /// Goes through what the newest look left alone.
    fn alone<'a>(source: &'a str, looked: &'a Stillness) -> impl Iterator<Item = Self> + 'a {
        let told = |(name, refusal, since): (&OsStr, Refusal, Timestamp)| {
            Self::new(source, name, refusal.code(), refusal.to_string(), since)
        };
        looked.refused().map(told)
    }
}

/// The code of an entry that could not be taken, and is tried again.
const FAILED: &str = "failed";

/// The stage.
pub struct Intake {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    sources: Vec<Inbox>,
    health: IntakeHealth,
    looked_at: Option<Timestamp>,
}

/// One source and what was seen in its drop folder.
struct Inbox {
    source: Source,
    spec: Option<SourceSpec>,
    /// By which mapping deliveries are read, and since which position.
    reading: Option<(Digest, Position)>,
    /// What the log says of earlier exports; read when the first one comes.
    exports: Option<Exports>,
    stillness: Stillness,
    renamed_in: BTreeSet<OsString>,
    work: VecDeque<Work>,
    /// The number of the next claim, once it was looked for: a folder may hold very many that are done.
    next_number: Option<u64>,
    /// What failed, and until when it is left alone.
    resting: BTreeMap<Work, Timestamp>,
    /// Why what rests, or rested, could not be taken, and since when.
    failed: BTreeMap<Work, (Timestamp, String)>,
    /// The deliveries in `rejected/`, by their numbers: what each is called, and since when it is seen there.
    rejected: BTreeMap<u64, (OsString, Timestamp)>,
    waits: bool,
    swept_at: Option<Timestamp>,
    /// The last complaint, so that the same one is told once.
    told: Option<String>,
}

/// One piece of work.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// An entry of the drop folder.
    Claim(OsString),
    /// A claim of an earlier step or of an earlier life of the daemon.
    Claimed(u64),
}

impl Work {
    /// Returns what it is called, if it is there.
    fn name_in(&self, folder: &Path) -> Option<OsString> {
        match self {
            Self::Claim(name) => folder.join(name).symlink_metadata().is_ok().then(|| name.clone()),
            Self::Claimed(number) => {
                place::delivery_in(&Shelf::Processing.path(folder).join(number.to_string())).ok().flatten()
            }
        }
    }
}

impl Intake {
    /// Takes in for these sources.
    #[must_use]
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, sources: Vec<Source>) -> Self {
        let inbox = |source| Inbox {
            source,
            spec: None,
            reading: None,
            exports: None,
            stillness: Stillness::default(),
            renamed_in: BTreeSet::new(),
            work: VecDeque::new(),
            next_number: None,
            resting: BTreeMap::new(),
            failed: BTreeMap::new(),
            rejected: BTreeMap::new(),
            waits: false,
            swept_at: None,
            told: None,
        };
        let sources = sources.into_iter().map(inbox).collect();
        Self { store, clock, sources, health: IntakeHealth::default(), looked_at: None }
    }

    /// Says after each look here what it could not take, and from which sources nothing.
    #[must_use]
    pub fn telling(self, health: IntakeHealth) -> Self {
        Self { health, ..self }
    }

    /// Takes in for other sources from the next look on. What is in `processing/` is found again.
    pub fn set_sources(&mut self, sources: Vec<Source>) {
        let next = Self::new(Arc::clone(&self.store), Arc::clone(&self.clock), sources);
        *self = next.telling(Arc::clone(&self.health));
    }

    /// Notes that an entry was renamed into a drop folder, so that the next look need not wait until it is still.
    pub fn renamed_in(&mut self, path: &Path) {
        for inbox in &mut self.sources {
            if path.parent() == Some(&inbox.source.drop_dir) {
                inbox.renamed_in.extend(path.file_name().map(OsString::from));
            }
        }
    }

    /// Looks at the drop folders, or takes in one delivery: whole, or, when the daemon is ending, up to the batch under
    /// way. `progress` hears how many rows were compared.
    ///
    /// # Errors
    /// The delivery stays in `processing/` and is taken up again later; the next step goes on with another one.
    pub fn step(&mut self, progress: Progress<'_>) -> Result<Step, IntakeError> {
        if let Some(reason) = self.store.read_only_reason() {
            return Err(AppendError::ReadOnly(reason).into());
        }
        let now = self.clock.now();
        if self.sources.iter().all(|inbox| inbox.work.is_empty()) {
            if let Some(at) = self.too_early(now) {
                return Ok(Step::IdleUntil(at));
            }
            self.looked_at = Some(now);
            let (last, is_believed) = self.store.view(|views| (views.position, views.small.clock.doubt().is_none()));
            for inbox in &mut self.sources {
                inbox.look(now, is_believed.then_some(now), last);
            }
            let stopped = |inbox: &Inbox| Some((inbox.source.name.clone(), inbox.told.clone()?));
            let not_taken = NotTaken {
                stopped: self.sources.iter().filter_map(stopped).collect(),
                left: self.sources.iter().flat_map(Inbox::left).collect(),
            };
            *self.health.lock() = not_taken;
        }
        for inbox in &mut self.sources {
            if let Some(work) = inbox.work.pop_front() {
                inbox.perform(&self.store, self.clock.as_ref(), work, progress)?;
                return Ok(Step::Worked);
            }
        }
        let pause = if self.sources.iter().any(|inbox| inbox.waits) { STILL_US } else { SCAN_EVERY_US };
        Ok(Step::IdleUntil(Timestamp(now.0.saturating_add(pause))))
    }

    /// Returns when the next look is worth it, if that is not now.
    fn too_early(&self, now: Timestamp) -> Option<Timestamp> {
        let at = self.looked_at.filter(|at| *at <= now)?;
        let next = Timestamp(at.0.saturating_add(LOOK_AFTER_US));
        (now < next && self.sources.iter().all(|inbox| inbox.renamed_in.is_empty())).then_some(next)
    }
}

impl Inbox {
    /// Tells the operator what keeps a source from being taken in, once.
    fn complain(&mut self, complaint: Option<String>) {
        if let Some(complaint) = &complaint
            && self.told.as_ref() != Some(complaint)
        {
            tracing::warn!(source = self.source.name, "{complaint}");
        }
        self.told = complaint;
    }

    /// Returns what lies in the drop folder, or was claimed, and is not taken in.
    fn left(&self) -> Vec<EntryLeft> {
        let failed = self.failed.iter().filter_map(|(work, (since, why))| {
            let name = work.name_in(&self.source.drop_dir)?;
            let later = match work {
                Work::Claim(_) => "",
                Work::Claimed(_) => "; what came later waits until it is taken in or taken out of processing/",
            };
            let message = format!("{why}; it is tried again every minute{later}");
            Some(EntryLeft::new(&self.source.name, &name, FAILED, message, *since))
        });
        let rejected = self.rejected.iter().map(|(number, (name, since))| {
            let message = format!(
                "it was rejected as a whole: {REPORT_TEXT} beside it in rejected/{number}/ says why; mend what it says and \
                 drop the delivery again, then take this one away"
            );
            EntryLeft::new(&self.source.name, name, EntryLeftRow::REJECTED, message, *since)
        });
        EntryLeft::alone(&self.source.name, &self.stillness).chain(failed).chain(rejected).collect()
    }

    /// Notes which rejected deliveries still lie there: nobody has dealt with them.
    fn note_rejected(&mut self, now: Timestamp) {
        // A folder that cannot be read keeps the source from being taken in, which is told.
        let Ok(numbers) = place::numbers(&self.source.drop_dir, Shelf::Rejected) else { return };
        let shelf = Shelf::Rejected.path(&self.source.drop_dir);
        let mut seen = BTreeMap::new();
        for number in numbers {
            let folder = shelf.join(number.to_string());
            let known = self.rejected.remove(&number);
            let known = known.filter(|(name, _)| folder.join(name).symlink_metadata().is_ok());
            let found = known.or_else(|| Some((place::delivery_in(&folder).ok()??, now)));
            seen.extend(found.map(|found| (number, found)));
        }
        self.rejected = seen;
    }

    /// By `believed` what is done for too long goes: by a clock that is doubted no time is over.
    fn look(&mut self, now: Timestamp, believed: Option<Timestamp>, last: Position) {
        self.resting.retain(|_, until| !is_over(*until, now, RETRY_AFTER_US));
        let folder = &self.source.drop_dir;
        self.failed.retain(|work, _| work.name_in(folder).is_some());
        self.waits = false;
        self.next_number = None;
        let looked = self.look_inside(now, believed, last);
        // After the sweep of what lies there for too long.
        self.note_rejected(now);
        self.complain(looked.err());
    }

    fn look_inside(&mut self, now: Timestamp, believed: Option<Timestamp>, last: Position) -> Result<(), String> {
        let folder = self.source.drop_dir.clone();
        let spec = source::spec_of(&self.source).map_err(|error| error.to_string())?;
        let mut sightings = scan::look(&folder, &spec.limits).map_err(|error| error.to_string())?;
        let reading = source::reading_of(&spec);
        self.spec = Some(spec);
        place::prepare(&folder).map_err(|error| error.to_string())?;
        if let Some(reading) = reading
            && self.reading.is_none_or(|(known, _)| known != reading)
        {
            let since = place::read_since(&folder, reading, last).map_err(|error| error.to_string())?;
            self.reading = Some((reading, since));
        }
        if let Some(now) = believed {
            self.sweep(now);
        }
        let claimed = place::numbers(&folder, Shelf::Processing).map_err(|error| error.to_string())?;
        // In the order of their claims: a delivery that rests must not be overtaken, or it would bring back, when it is
        // taken in at last, what a later one had already changed.
        let rests = |number: &u64| self.resting.contains_key(&Work::Claimed(*number));
        let before_rest: Vec<u64> = claimed.iter().copied().take_while(|number| !rests(number)).collect();
        let is_held_up = before_rest.len() < claimed.len();
        self.work.extend(before_rest.into_iter().map(Work::Claimed));
        if is_held_up {
            return Ok(());
        }
        sightings.retain(|sighting| !place::is_ours(&sighting.name));
        for sighting in sightings.iter().filter(|sighting| self.renamed_in.contains(&sighting.name)) {
            self.stillness.renamed_in(sighting.clone(), now);
        }
        self.renamed_in.clear();
        for verdict in self.stillness.judge(sightings, now) {
            match verdict {
                Verdict::Ready(name) => {
                    let work = Work::Claim(name);
                    if !self.resting.contains_key(&work) {
                        self.work.push_back(work);
                    }
                }
                Verdict::Wait(_) => self.waits = true,
                Verdict::Refused(_, refusal) => {
                    tracing::warn!(source = self.source.name, "an entry of the drop folder is left alone: {refusal}");
                }
            }
        }
        Ok(())
    }

    fn sweep(&mut self, now: Timestamp) {
        let kept = [(Shelf::Done, self.source.keep_done), (Shelf::Rejected, self.source.keep_rejected)];
        if self.swept_at.is_some_and(|at| now.0.saturating_sub(at.0) < SWEEP_EVERY_US && now >= at) {
            return;
        }
        self.swept_at = Some(now);
        for (shelf, keep) in kept {
            let KeepDone::For(keep) = keep else { continue };
            let (source, folder) = (&self.source.name, shelf.name());
            match place::sweep(&self.source.drop_dir, shelf, keep, now) {
                Ok(0) => {}
                Ok(removed) => tracing::info!(source, folder, removed, "deliveries were removed: their time was over"),
                Err(error) => {
                    tracing::warn!(source, folder, "deliveries whose time is over could not be removed: {error}")
                }
            }
        }
    }

    fn perform(
        &mut self,
        store: &Store,
        clock: &dyn Clock,
        work: Work,
        progress: Progress<'_>,
    ) -> Result<(), IntakeError> {
        let done = match &work {
            Work::Claimed(number) => self.take(store, clock, *number, progress),
            Work::Claim(name) => match self.claim(name) {
                Ok(Some(number)) => self
                    .take(store, clock, number, progress)
                    .inspect_err(|error| self.rest_after(error, Work::Claimed(number), clock.now())),
                Ok(None) => Ok(()),
                Err(error) => Err(error.into()),
            },
        };
        if let Err(error) = &done {
            self.rest_after(error, work, clock.now());
            // What was queued behind it waits for the next look, which sees that this one rests.
            self.work.clear();
        }
        done
    }

    /// Leaves alone what failed. What was only interrupted is taken up by the very next step.
    fn rest_after(&mut self, error: &IntakeError, work: Work, now: Timestamp) {
        if matches!(error, IntakeError::Halted(_)) {
            return;
        }
        // What was claimed before it failed rests under the number of its claim.
        if work.name_in(&self.source.drop_dir).is_some() {
            let since = self.failed.get(&work).map_or(now, |(since, _)| *since);
            self.failed.insert(work.clone(), (since, error.to_string()));
        }
        self.resting.insert(work, Timestamp(now.0.saturating_add(RETRY_AFTER_US)));
    }

    /// Claims an entry; `None` when that failed, which was told.
    fn claim(&mut self, name: &OsString) -> Result<Option<u64>, DurableFileError> {
        let folder = &self.source.drop_dir;
        let number = match self.next_number {
            Some(number) => number,
            None => place::next_number(folder)?,
        };
        self.next_number = Some(number.saturating_add(1));
        match scan::claim(folder, &Shelf::Processing.path(folder), number, name) {
            // What turned out to be a link or a device is taken up like any other, and rejected with a report.
            Ok(_) | Err(ClaimError::Refused(_)) => Ok(Some(number)),
            Err(ClaimError::Vanished) => Ok(None),
            Err(error @ (ClaimError::NumberUsed { .. } | ClaimError::OtherFileSystem | ClaimError::Io(_))) => {
                tracing::warn!(source = self.source.name, "{error}");
                Err(DurableFileError::Io {
                    role: "claimed file",
                    action: crate::store::durable_file::FileAction::Rename,
                    source: std::io::Error::other(error.to_string()),
                })
            }
        }
    }

    fn take(
        &mut self,
        store: &Store,
        clock: &dyn Clock,
        number: u64,
        progress: Progress<'_>,
    ) -> Result<(), IntakeError> {
        let Some(spec) = &self.spec else { return Ok(()) };
        let folder = Shelf::Processing.path(&self.source.drop_dir).join(number.to_string());
        let Some(name) = place::delivery_in(&folder)? else {
            return Ok(place::remove_empty(&folder)?);
        };
        let export = spec.ocm.as_ref().and(name.to_str()).and_then(DirectoryName::parse);
        let path = folder.join(name);
        if export.is_some() && self.exports.is_none() {
            self.exports = Some(Exports::of_log(store, &self.source.name)?);
        }
        let known = self.exports.as_ref().zip(export.as_ref());
        let read_since = self.reading.map_or(Position::NONE, |(_, since)| since);
        let task =
            Task { store, clock, source: &self.source, spec, path: &path, folder: &folder, export: known, read_since };
        let taken = task.run(progress)?;
        if let (Some(exports), Some(name), Some(intake)) = (&mut self.exports, &export, taken.intake)
            && taken.has_changed()
        {
            exports.note(name, intake, clock.now());
        }
        let shelf = match taken.end {
            IntakeEnd::Done | IntakeEnd::DoneWithRejects | IntakeEnd::Duplicate => Shelf::Done,
            IntakeEnd::Rejected => Shelf::Rejected,
        };
        place::put_away(&self.source.drop_dir, number, shelf)?;
        let Counts { rows, added, changed, rejected, absent, .. } = taken.counts;
        tracing::info!(
            source = self.source.name,
            number,
            rows,
            added,
            changed,
            rejected,
            absent,
            end = ?taken.end,
            "taken in"
        );
        Ok(())
    }
}

//! Making a store, opening it, and making everything in sled again from the journal.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use retention_core::event::codec::Bodies;
use retention_core::event::operation::{StoreInitialised, StoreRebuilt};
use retention_core::event::{Actor, Draft, Event, EventType, Readable, Recorded, stream_of_daemon, stream_of_position};
use retention_core::id::Position;
use retention_core::time::Timestamp;

use super::durable_file::{self, DurableFileError, FileAction};
use super::events::{self, EventRow};
use super::home::Home;
use super::journal::recover::{self, Tail};
use super::journal::{FlushGate, JournalError, JournalReader, JournalWriter, OpenGate};
use super::read::ReadError;
use super::sled_door::{self, Blocks, BlocksError, BootId, Trust};
use super::state::{self, State};
use super::vault::root_key::{RootKey, RootKeyError};
use super::vault::seal::Sealer;
use super::vault::{Vault, VaultError};
use super::{Inner, ReadOnly, Store, Written, log, write_out};
use crate::clock::Clock;
use crate::halt::Halt;

/// What the file `FORMAT` of a store says.
pub(super) const FORMAT_TEXT: &str = "retentiond store 1\n";

/// No store of ours has a longer one.
const FORMAT_BYTES_MAX: u64 = 64;

/// How often a lock that is held is tried again, and how long is waited in between: half a second in all.
const LOCK_TRIES: u32 = 25;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// Progress is told after this many events.
pub(super) const PROGRESS_EVERY: u64 = 10_000;

/// How to open a store.
#[derive(Clone)]
pub struct Options {
    /// Its directory.
    pub dir: PathBuf,
    /// Where the root key is.
    pub root_key: PathBuf,
    /// How much memory sled may use for its cache, in bytes.
    pub cache_bytes: u64,
    /// The clock that stamps events.
    pub clock: Arc<dyn Clock>,
    /// What stands around every flush.
    pub gate: Arc<dyn FlushGate>,
    /// Which boot of the machine this is.
    pub boot: BootId,
    /// Asks long work on the store to stop: opening it, verifying it, and what the stages do with it.
    pub halt: Halt,
}

impl Options {
    /// The usual options.
    ///
    /// # Errors
    /// When the kernel does not say which boot this is.
    pub fn usual(dir: &Path, root_key: &Path, clock: Arc<dyn Clock>) -> Result<Self, DurableFileError> {
        Ok(Self {
            dir: dir.to_owned(),
            root_key: root_key.to_owned(),
            cache_bytes: 16 * 1024 * 1024,
            clock,
            gate: Arc::new(OpenGate),
            boot: BootId::of_this_boot()?,
            halt: Halt::default(),
        })
    }
}

/// What opening found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Bytes of a torn tail that were cut; they were never acknowledged.
    pub cut_bytes: u64,
    /// Events that were folded on top of what sled held.
    pub folded: u64,
    /// Why everything in sled was made again, if it was: a stable code.
    pub rebuilt: Option<&'static str>,
    /// Whether the last stop was in good order.
    pub after_clean_stop: bool,
    /// When the newest event was recorded that was there before, and that no opening appended: those say nothing about
    /// how long the store was closed.
    pub newest_at: Timestamp,
}

/// Hears how far a long open is: events done, events in all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// A store could not be made or opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none.
    #[error(
        "there is no store in this directory, or not all of one. If this is a new installation, run `retentiond init`; if a restore was interrupted, run it again; if it is neither, the disk with the store is missing: do not run init"
    )]
    Absent,
    /// There is one already.
    #[error("there is a store in this directory already; it was left alone")]
    Exists,
    /// There are parts of one.
    #[error(
        "there are parts of a store in this directory, and not all of one: an `init` or a `restore` was interrupted, or files were lost; nothing was changed. If there never was a store here, move away what lies here and run `retentiond init` again; if there was, see docs/backup.md"
    )]
    HalfMade,
    /// Another process has it open.
    #[error(
        "the store is in use by process {pid}; the daemon already runs. Stop it first, or talk to it with retentionctl"
    )]
    Locked {
        /// The process, as it noted itself.
        pid: String,
    },
    /// It belongs to somebody else than the superuser, who works on it.
    #[error(
        "the store belongs to uid {owner}, and root would leave files in it that the daemon cannot open any more; nothing was changed. Do the same as that user, with the root key of the daemon: see \"As the user of the daemon\" in docs/operations.md"
    )]
    NotOurs {
        /// Its owner.
        owner: u32,
    },
    /// Made by another program.
    #[error("the store has a format that this program does not know; use the program it was made with, or a newer one")]
    Format,
    /// The root key.
    #[error(transparent)]
    RootKey(#[from] RootKeyError),
    /// The keys.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The event store.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// A file of the store.
    #[error(transparent)]
    File(#[from] DurableFileError),
    /// Something could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The first event could not be appended.
    #[error("failed to write the first event: {0}")]
    Append(#[from] log::AppendError),
    /// A thread could not be started.
    #[error("failed to start the writer: {0}")]
    Thread(#[source] std::io::Error),
    /// The lock file.
    #[error("failed to take the lock of the store: {0}")]
    Lock(#[source] std::io::Error),
}

/// Keeps other processes out for as long as it lives.
pub struct Lock(#[expect(dead_code, reason = "the lock is held by the open file")] File);

impl Lock {
    /// Takes the lock of a store that is there.
    pub(super) fn of_existing(dir: &Path) -> Result<Self, OpenError> {
        check_format(dir)?;
        refuse_as_root(&dir.join("FORMAT"))?;
        let lock = Self::take(dir)?;
        super::compact::mend(dir)?;
        super::vault::rotate::mend(dir)?;
        Ok(lock)
    }

    /// Takes the lock of a store that is only read, and says whether its file system allows no more than that. Nothing is
    /// written there then, not even who holds the lock.
    pub(super) fn to_verify(dir: &Path) -> Result<(Self, bool), OpenError> {
        match Self::of_existing(dir) {
            Err(OpenError::Lock(error)) if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {}
            taken => return Ok((taken?, false)),
        }
        let file = File::open(dir.join("lock")).map_err(OpenError::Lock)?;
        hold(&file)?;
        super::compact::mend(dir)?;
        super::vault::rotate::mend(dir)?;
        Ok((Self(file), true))
    }

    fn take(dir: &Path) -> Result<Self, OpenError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join("lock"))
            .map_err(OpenError::Lock)?;
        hold(&file)?;
        file.set_len(0).map_err(OpenError::Lock)?;
        write!(file, "{}", std::process::id()).map_err(OpenError::Lock)?;
        Ok(Self(file))
    }
}

/// Locks a file that nobody else has locked.
fn hold(file: &File) -> Result<(), OpenError> {
    let lock = || rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok();
    // A child that is being started holds a copy of every open file for a moment, also of a lock just let go.
    let got_it = lock()
        || (0..LOCK_TRIES).any(|_| {
            std::thread::park_timeout(LOCK_PAUSE);
            lock()
        });
    if got_it {
        return Ok(());
    }
    let mut pid = String::new();
    drop(file.take(20).read_to_string(&mut pid));
    let digits: String = pid.chars().filter(char::is_ascii_digit).collect();
    Err(OpenError::Locked { pid: if digits.is_empty() { "?".to_owned() } else { digits } })
}

impl Store {
    /// Makes a store. It must not exist; the root key must.
    ///
    /// # Errors
    /// When there is one already, or something cannot be made durable.
    pub fn init(options: &Options) -> Result<(), OpenError> {
        durable_file::create_private_dir(&options.dir, "state directory")?;
        refuse_as_root(&options.dir)?;
        let lock = Lock::take(&options.dir)?;
        refuse_if_there(&options.dir)?;
        let journal = options.dir.join("journal");
        drop(Vault::create(&options.dir.join("keys"), RootKey::read(&options.root_key)?)?);
        durable_file::create_private_dir(&journal, "journal directory")?;
        drop(JournalWriter::create(&journal, Arc::clone(&options.gate))?);
        durable_file::create_new(&options.dir.join("FORMAT"), FORMAT_TEXT.as_bytes(), "format file")?;
        drop(lock);
        let store = Self::open(options, &mut |_, _| {})?;
        let mut name = [0; 16];
        name.copy_from_slice(store.digest_name().get(..16).unwrap_or(&[0; 16]));
        let event = Event::StoreInitialised(StoreInitialised { store: name, program: program_version() });
        store.append_drafts(vec![daemon_draft(event)], retention_core::view::Condition::None)?;
        store.close().map_err(OpenError::Read)
    }

    /// A random name: the keyed digests of this store's own random key.
    fn digest_name(&self) -> [u8; 16] {
        self.inner.index_key.handle(&[b"the name of this store"]).0
    }

    /// Opens a store: cuts a torn tail, catches sled up or makes it again, and starts the writer.
    ///
    /// A damaged journal opens read-only: see [`Store::read_only_reason`].
    ///
    /// # Errors
    /// When there is no store, another process has it, or keys or files cannot be read.
    pub fn open(options: &Options, progress: Progress<'_>) -> Result<Self, OpenError> {
        Self::open_with(options, None, progress)
    }

    /// Opens a store after everything in sled was set aside, so that it is made again from the journal.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn rebuild(options: &Options, progress: Progress<'_>) -> Result<Self, OpenError> {
        Self::open_with(options, Some("asked_for"), progress)
    }

    fn open_with(options: &Options, rebuild: Option<&'static str>, progress: Progress<'_>) -> Result<Self, OpenError> {
        let lock = Lock::of_existing(&options.dir)?;
        Self::open_locked(options, lock, rebuild, progress)
    }

    pub(super) fn open_locked(
        options: &Options,
        lock: Lock,
        rebuild: Option<&'static str>,
        progress: Progress<'_>,
    ) -> Result<Self, OpenError> {
        let journal = options.dir.join("journal");
        let tail = match recover::find_tail(&journal) {
            Ok(tail) => tail,
            Err(error @ JournalError::Damaged { .. }) => return Self::open_damaged(options, lock, &error, progress),
            Err(error) => return Err(error.into()),
        };
        let opening = Opening::begin(options, rebuild)?;
        if opening.state.views.position > tail.last {
            let error =
                JournalError::damaged(tail.end.segment, u64::from(tail.end.offset), super::journal::Damage::Missing);
            return Self::open_damaged(options, lock, &error, progress);
        }
        opening.finish(options, &journal, lock, tail, progress)
    }

    /// Opens what can be read of a damaged journal, without sled and without writing anything.
    fn open_damaged(
        options: &Options,
        lock: Lock,
        damage: &JournalError,
        progress: Progress<'_>,
    ) -> Result<Self, OpenError> {
        tracing::error!(error = %damage, "the journal is damaged; the store is read-only");
        let vault = open_vault_to_read(options)?;
        let mut inner = inner_of(options, vault, None, State::default())?;
        inner.tail.begin(0);
        let mut folded = 0;
        for entry in inner.reader.events_after(Position::NONE, Position(u64::MAX))? {
            options.halt.check().map_err(ReadError::from)?;
            let Ok((place, stored)) = entry else { break };
            inner.fold_stored(place, &stored)?;
            folded += 1;
            if folded % PROGRESS_EVERY == 0 {
                progress(folded, folded);
            }
        }
        // Which numbers were given out is known only now; a verification looks at each of their keys.
        let used = inner.state.read().views.entities.bound();
        let root = RootKey::read(&options.root_key)?;
        inner.vault = Vault::open_read_only(&options.dir.join("keys"), root, used)?;
        *inner.read_only.lock() = Some(ReadOnly { code: damage.code(), says: damage.to_string() });
        let report = OpenReport { folded, rebuilt: Some("journal_damaged"), ..OpenReport::default() };
        Ok(Self {
            writer: super::WriterHandle::default(),
            inner: Arc::new(inner),
            contents: super::handed_over::Contents::default(),
            beginning: super::month::Beginning::default(),
            lock,
            report,
        })
    }
}

/// Refuses to let root work in a store of another user: what root makes belongs to root, and the daemon could not open it.
///
/// # Errors
/// When root runs this and `path`, which is there, belongs to somebody else.
pub fn refuse_as_root(path: &Path) -> Result<(), OpenError> {
    let owner = std::fs::metadata(path).map_err(durable_file::failed("state directory", FileAction::Read))?.uid();
    if rustix::process::geteuid().is_root() && owner != rustix::process::Uid::ROOT.as_raw() {
        return Err(OpenError::NotOurs { owner });
    }
    Ok(())
}

/// Says when there is a store in a directory, or a part of one.
///
/// # Errors
/// When there is.
pub fn refuse_if_there(dir: &Path) -> Result<(), OpenError> {
    if dir.join("FORMAT").exists() {
        return Err(OpenError::Exists);
    }
    let is_part = |name: &str| dir.join(name).exists();
    if ["journal", "keys"].into_iter().any(is_part) { Err(OpenError::HalfMade) } else { Ok(()) }
}

fn check_format(dir: &Path) -> Result<(), OpenError> {
    match durable_file::read_bounded(&dir.join("FORMAT"), FORMAT_BYTES_MAX, "format file")? {
        None => Err(OpenError::Absent),
        Some(text) if text == FORMAT_TEXT.as_bytes() => Ok(()),
        Some(_) => Err(OpenError::Format),
    }
}

fn open_vault_to_read(options: &Options) -> Result<Vault, OpenError> {
    let root = RootKey::read(&options.root_key)?;
    Ok(Vault::open_read_only(&options.dir.join("keys"), root, u32::MAX)?)
}

fn inner_of(options: &Options, vault: Vault, blocks: Option<Blocks>, state: State) -> Result<Inner, OpenError> {
    Ok(Inner {
        dir: options.dir.clone(),
        clock: Arc::clone(&options.clock),
        gate: Arc::clone(&options.gate),
        halt: options.halt.clone(),
        reader: JournalReader::at(&options.dir.join("journal")),
        house_key: vault.house_key()?,
        index_key: vault.index_key(),
        vault,
        sealer: Sealer::default(),
        signal: log::Signal::at(state.views.position),
        state: RwLock::new(state),
        tail: events::Tail::default(),
        blocks,
        block_cache: super::read::BlockCache::default(),
        last_request: Mutex::new(None),
        read_only: Mutex::new(None),
        written: Mutex::new(Written::default()),
    })
}

/// Returns what sled holds, without anything folded on top and without a writer; `None` when sled is not there.
pub(super) fn inner_as_written(options: &Options) -> Result<Option<Inner>, OpenError> {
    let dir = options.dir.join("events");
    if !dir.exists() {
        return Ok(None);
    }
    let Opening { blocks, state, epoch, partial, report: _ } = Opening::load(options, &dir)?;
    let from = state.views.position;
    let inner = inner_of(options, open_vault_to_read(options)?, Some(blocks), state)?;
    *inner.written.lock() = Written { position: from, epoch };
    inner.tail.begin(from.0 / events::EVENTS_PER_BLOCK);
    inner.tail.extend(partial.into_iter());
    Ok(Some(inner))
}

/// Returns empty views that can open what the journal holds.
pub(super) fn inner_without_sled(options: &Options) -> Result<Inner, OpenError> {
    inner_of(options, open_vault_to_read(options)?, None, State::default())
}

/// A store between reading sled and taking up the journal.
struct Opening {
    blocks: Blocks,
    state: State,
    epoch: u64,
    partial: Vec<EventRow>,
    report: OpenReport,
}

impl Opening {
    /// Opens sled and takes the views back in; what cannot be believed is set aside.
    fn begin(options: &Options, rebuild: Option<&'static str>) -> Result<Self, OpenError> {
        let dir = options.dir.join("events");
        // How the last stop was is said beside sled, whether sled is used or not.
        let after_clean_stop = Trust::judge(&dir, options.boot)? == Trust::Clean;
        let mut code = rebuild;
        if code.is_some() && dir.exists() {
            sled_door::set_aside(&dir)?;
        }
        if code.is_none() {
            match Self::load(options, &dir) {
                Ok(opening) => return Ok(opening),
                Err(error) if error.is_damage() => {
                    tracing::warn!(%error, "sled is set aside and made again from the journal");
                    code = Some("sled_not_trusted");
                    sled_door::set_aside(&dir)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let opened = Blocks::open(&dir, options.cache_bytes, options.boot)?;
        let report = OpenReport { rebuilt: code, after_clean_stop, ..OpenReport::default() };
        Ok(Self { blocks: opened.blocks, state: State::default(), epoch: 0, partial: Vec::new(), report })
    }

    fn load(options: &Options, dir: &Path) -> Result<Self, BlocksError> {
        let opened = Blocks::open(dir, options.cache_bytes, options.boot)?;
        let after_clean_stop = opened.trust == Trust::Clean;
        let report = OpenReport { after_clean_stop, ..OpenReport::default() };
        let mut state = State::default();
        let (mut epoch, mut partial) = (0, Vec::new());
        if let Some(loaded) = write_out::load(&opened.blocks)? {
            state.views = loaded.views;
            epoch = loaded.epoch;
            partial = loaded.partial;
        }
        Ok(Self { blocks: opened.blocks, state, epoch, partial, report })
    }

    /// Folds what sled does not hold yet, and starts the writer.
    fn finish(
        self,
        options: &Options,
        journal: &Path,
        lock: Lock,
        tail: Tail,
        progress: Progress<'_>,
    ) -> Result<Store, OpenError> {
        let Self { blocks, state, epoch, partial, mut report } = self;
        if tail.torn_bytes > 0 {
            tracing::warn!(bytes = tail.torn_bytes, "a torn tail of the journal is cut; it was never acknowledged");
            recover::cut(journal, &tail)?;
            report.cut_bytes = tail.torn_bytes;
        }
        let from = state.views.position;
        let mut inner = inner_of(options, open_vault_to_read(options)?, Some(blocks), state)?;
        *inner.written.lock() = Written { position: from, epoch };
        inner.tail.begin(from.0 / events::EVENTS_PER_BLOCK);
        inner.tail.extend(partial.into_iter());
        report.folded = inner.catch_up(from, tail.last, progress)?;
        report.newest_at = inner.newest_at(tail.last);
        let used = inner.state.read().views.entities.bound();
        let used = used.max(tail.highest_entity.map_or(0, |entity| entity.0 + 1));
        let root = RootKey::read(&options.root_key)?;
        inner.vault = Vault::open_gated(&options.dir.join("keys"), root, used, Arc::clone(&options.gate))?;
        inner.signal = log::Signal::at(tail.last);
        if let Err(error) = Home::note(&options.dir) {
            tracing::warn!(%error, "a restore would not know by itself that this store was the one here");
        }
        let rebuilt = report.rebuilt;
        let writer = JournalWriter::resume(journal, Arc::clone(&options.gate), tail.end)?;
        let inner = Arc::new(inner);
        let (queue, jobs) = log::Queue::new();
        let thread = {
            let writer = log::Writer::new(Arc::clone(&inner), writer);
            std::thread::Builder::new()
                .name("log-writer".to_owned())
                .spawn(move || writer.run(&jobs))
                .map_err(OpenError::Thread)?
        };
        let writer = super::WriterHandle { queue: Some(queue), thread: Some(thread) };
        let contents = super::handed_over::Contents::default();
        let store = Store { writer, inner, contents, beginning: super::month::Beginning::default(), lock, report };
        if let Some(code) = rebuilt {
            let event = Event::StoreRebuilt(StoreRebuilt { events: tail.last.0, code: code.to_owned() });
            store.append_drafts(vec![daemon_draft(event)], retention_core::view::Condition::None)?;
        }
        Ok(store)
    }
}

impl Inner {
    /// Folds the events after `from`, writing sled out on the way so that memory stays bounded.
    fn catch_up(&self, from: Position, last: Position, progress: Progress<'_>) -> Result<u64, OpenError> {
        let total = last.0 - from.0;
        let mut folded = 0;
        for entry in self.reader.events_after(from, last)? {
            self.halt.check().map_err(ReadError::from)?;
            let (place, stored) = entry?;
            self.fold_stored(place, &stored)?;
            folded += 1;
            if folded % PROGRESS_EVERY == 0 {
                progress(folded, total);
                self.write_out(write_out::EVENTS_PER_WRITE_OUT)?;
            }
        }
        progress(folded, total);
        Ok(folded)
    }

    /// A crash behind an opening leaves what that one appended at the end of the log; so does what was done to a store that
    /// nobody had open.
    fn newest_at(&self, last: Position) -> Timestamp {
        let of_openings = [EventType::StoreRebuilt, EventType::StoreCompacted, EventType::WrappingKeysRotated];
        let mut newest_at = self.state.read().views.recorded_at;
        for position in (1..=last.0).rev().map(Position) {
            let Ok(Some(row)) = self.row(position) else { break };
            newest_at = row.recorded_at;
            if of_openings.iter().all(|one| row.event_type != *one as u16) {
                break;
            }
        }
        newest_at
    }

    fn fold_stored(&self, place: super::journal::Place, stored: &super::journal::StoredEvent) -> Result<(), ReadError> {
        let recorded = self.open_to_fold(stored)?;
        self.fold_recorded(place, &recorded);
        Ok(())
    }

    /// Folds an event that was opened, and keeps its row.
    pub(super) fn fold_recorded(&self, place: super::journal::Place, recorded: &Recorded) {
        let mut state = self.state.write();
        let previous =
            recorded.envelope.entity.map_or(Position::NONE, |entity| state.views.entities.last_event(entity));
        self.tail.push(EventRow::of(&recorded.envelope, previous, place));
        let keyed = self.keyed_of(recorded, &state);
        state.fold(recorded, keyed.as_ref());
    }

    pub(super) fn keyed_of(&self, recorded: &Recorded, state: &State) -> Option<retention_core::view::Keyed> {
        // Only a body of one piece is a change.
        let Readable::Event(event) = &recorded.event else { return None };
        let Event::EntityChanged(body) = event.as_ref() else { return None };
        let encoded = event.encode_body().ok()?;
        Some(state::keyed(&self.index_key, &state.views, &body.record, &encoded))
    }
}

/// Wraps an event of the daemon itself.
#[must_use]
pub fn daemon_draft(event: Event) -> Draft {
    Draft {
        stream: stream_of_daemon(),
        entity: None,
        actor: Actor::Daemon,
        cause: Position::NONE,
        occurred_at: None,
        event,
    }
}

/// Wraps an event of the daemon that follows from another, in the stream of that one.
#[must_use]
pub fn draft_caused_by(cause: Position, event: Event) -> Draft {
    Draft { stream: stream_of_position(cause), cause, ..daemon_draft(event) }
}

/// Returns the program's version.
#[must_use]
pub fn program_version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

//! Everything durable: the journal, the event store and views in sled, the keys.
//!
//! | on disk | what | trusted | may be lost |
//! |---|---|---|---|
//! | `journal/` | the event log; an event is acknowledged when its group is durable here | yes | never |
//! | `keys/` | key slots and wrapping keys | yes | never |
//! | `events/` | event rows, indexes and views in sled | compared with the journal | rebuilt |
//!
//! Reading order: [`journal`], [`log`], [`state`], `write_out`, [`open`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Mutex, RwLock};
use retention_core::event::{Draft, Envelope, Recorded};
use retention_core::id::{EntityId, Handle, HoldId, Position, StreamId};
use retention_core::policy::PolicySet;
use retention_core::record::{EntityRecord, Kind};
use retention_core::time::Timestamp;
use retention_core::view::{Condition, Keyed, ReadFilter, Views};

use crate::clock::Clock;
use crate::halt::Halt;

pub mod backup;
pub mod compact;
pub mod durable_file;
pub mod events;
mod handed_over;
mod home;
pub mod journal;
pub mod judge;
mod layout;
pub mod log;
mod month;
pub mod open;
pub mod query;
pub mod read;
pub mod records;
mod rotate;
pub mod sled_door;
pub mod state;
pub mod tree;
pub mod vault;
pub mod verify;
mod write_out;

#[cfg(test)]
pub(crate) mod tests;

pub use compact::CompactReport;
pub use events::EventRow;
pub use journal::{Flush, FlushGate, OpenGate};
pub use judge::{Subject, restriction};
pub use log::{AppendError, Appended, Prepared};
pub use open::{OpenError, OpenReport, Options, Progress, refuse_as_root, refuse_if_there};
pub use query::{Order, Page, Query};
pub use read::ReadError;
pub use state::{Bound, facts};
pub use verify::{Finding, VerifyReport};
pub use write_out::EVENTS_PER_WRITE_OUT;

use journal::{JournalError, JournalReader};
use sled_door::Blocks;
use state::State;
use vault::destroy::{Destroyed, StepTicket};
use vault::seal::{IndexKey, Sealer};
use vault::{DataKey, KeyState, Vault, VaultError};

/// Why nothing can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOnly {
    /// A stable code.
    pub code: &'static str,
    /// What happened, where, and what to do.
    pub says: String,
}

impl std::fmt::Display for ReadOnly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.says)
    }
}

/// What all threads of the store share.
struct Inner {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    gate: Arc<dyn FlushGate>,
    halt: Halt,
    reader: JournalReader,
    vault: Vault,
    house_key: DataKey,
    index_key: IndexKey,
    sealer: Sealer,
    state: RwLock<State>,
    tail: events::Tail,
    blocks: Option<Blocks>,
    block_cache: read::BlockCache,
    last_request: Mutex<Option<query::AboutRequest>>,
    signal: log::Signal,
    read_only: Mutex<Option<ReadOnly>>,
    written: Mutex<Written>,
}

/// How far sled is.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    position: Position,
    epoch: u64,
}

impl Inner {
    fn keys(&self) -> &Vault {
        &self.vault
    }

    fn read_only_reason(&self) -> Option<ReadOnly> {
        self.read_only.lock().clone()
    }

    /// After the first failed write nobody knows what is on disk: nothing more is written until recovery has looked.
    fn fail(&self, error: &JournalError) {
        tracing::error!(%error, "the journal failed; the store is read-only until the daemon is started again");
        *self.read_only.lock() =
            Some(ReadOnly { code: error.code(), says: format!("an earlier write failed: {error}") });
    }
}

/// The store.
pub struct Store {
    writer: WriterHandle,
    inner: Arc<Inner>,
    contents: handed_over::Contents,
    beginning: month::Beginning,
    /// Held as long as the store is open.
    lock: open::Lock,
    report: OpenReport,
}

/// The writer's thread. Dropping it writes what waits and ends it.
#[derive(Default)]
struct WriterHandle {
    queue: Option<log::Queue>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for WriterHandle {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has left the journal in a state that recovery decides.
            drop(thread.join());
        }
    }
}

impl Store {
    /// Returns what opening found.
    #[must_use]
    pub fn report(&self) -> &OpenReport {
        &self.report
    }

    /// Returns the directory of the store.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Returns what stands around every flush.
    pub(crate) fn gate(&self) -> &Arc<dyn FlushGate> {
        &self.inner.gate
    }

    /// Returns what asks long work on this store to stop.
    #[must_use]
    pub fn halt(&self) -> &Halt {
        &self.inner.halt
    }

    /// Looks at the views, all at one position.
    ///
    /// The log waits while `look` runs: keep it short, and never append from within.
    pub fn view<R>(&self, look: impl FnOnce(&Views) -> R) -> R {
        look(&self.inner.state.read().views)
    }

    /// Returns what the clock says where it is behind the log, whose time then stands still: what happens in that time says
    /// so by the clock, too.
    #[must_use]
    pub fn clock_behind_the_log(&self, clock: Timestamp) -> Option<Timestamp> {
        self.view(|views| (clock < views.recorded_at).then_some(clock))
    }

    /// Returns the policies that judge.
    #[must_use]
    pub fn policies(&self) -> Arc<PolicySet> {
        Arc::clone(self.inner.state.read().policies())
    }

    /// Sets the policies that judge from now on; the log must name them in a `PolicySetActivated`.
    pub fn install_policies(&self, policies: Arc<PolicySet>) {
        self.inner.state.write().install(policies);
        self.inner.signal.nudge();
    }

    /// Says what was read of the filters of holds.
    pub fn note_filters(&self, read: BTreeMap<HoldId, ReadFilter>) {
        self.inner.state.write().views.filters = read;
    }

    /// Returns a layout with the policies bound to it; `None` if there is no such layout.
    #[must_use]
    pub fn bound(&self, layout: retention_core::id::LayoutId) -> Option<Arc<Bound>> {
        let known = self.inner.state.read().known_bound(layout);
        known.or_else(|| self.inner.state.write().bound(layout))
    }

    /// Judges entities again and writes the days into the due index. Those that changed since their record was read
    /// were judged when they changed, and are left alone.
    pub fn judge(&self, entities: &[(EntityId, Position, EntityRecord)]) {
        let mut state = self.inner.state.write();
        for (entity, version, record) in entities {
            if state.views.entities.row(*entity).is_some_and(|row| row.version == *version) {
                state.judge(*entity, record);
            }
        }
        drop(state);
        self.tell_if_judged();
    }

    /// A plan waits until everything is judged, and the log does not grow by that.
    fn tell_if_judged(&self) {
        if self.view(|views| views.due.is_complete()) {
            self.inner.signal.nudge();
        }
    }

    /// Notes that a policy version has judged every entity.
    pub fn policy_judged(&self, policy: &str, digest: retention_core::id::Digest) {
        self.inner.state.write().views.due.policy_judged(policy, digest);
        self.tell_if_judged();
    }

    /// Notes that an entity needs no judgement: it is gone.
    pub fn nothing_to_judge(&self, entity: EntityId) {
        self.inner.state.write().views.due.judged(entity);
        self.tell_if_judged();
    }

    /// Encodes, seals and hashes an event. Sealed bodies of entities need a live key. What people wrote in it is sealed
    /// with the key of the month, which is begun for that if need be: so this may append, and waits then.
    ///
    /// # Errors
    /// When the body is too large, its key is gone, or a month cannot be begun.
    pub fn prepare(&self, draft: Draft, key: Option<&DataKey>) -> Result<Prepared, AppendError> {
        let texts = self.texts_of(&draft.event)?;
        self.inner.prepare(draft, key, texts.as_ref())
    }

    /// As [`Self::prepare`], for a change whose body was encoded and compared before.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn prepare_encoded(
        &self,
        draft: Draft,
        plain: &[u8],
        keyed: Keyed,
        key: Option<&DataKey>,
    ) -> Result<Prepared, AppendError> {
        self.inner.prepare_encoded(draft, plain, Some(keyed), key, None)
    }

    /// Appends events, all or none. Returns when they are durable and folded.
    ///
    /// # Errors
    /// When the condition does not hold or the store cannot write; nothing of it is then in the log.
    pub fn append(&self, events: Vec<Prepared>, condition: Condition) -> Result<Appended, AppendError> {
        let answer = self.submit(events, condition)?;
        answer.recv().map_err(|_| AppendError::Closed)?
    }

    /// Hands events over for appending. The answer comes on the channel once they are durable and folded, so that the
    /// caller can prepare more in the meantime.
    ///
    /// # Errors
    /// When the store is closing.
    pub fn submit(
        &self,
        events: Vec<Prepared>,
        condition: Condition,
    ) -> Result<crossbeam_channel::Receiver<Result<Appended, AppendError>>, AppendError> {
        self.writer.queue.as_ref().ok_or_else(|| self.closed())?.submit(events, condition)
    }

    fn closed(&self) -> AppendError {
        self.inner.read_only_reason().map_or(AppendError::Closed, AppendError::ReadOnly)
    }

    /// Prepares and appends events.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_drafts(&self, drafts: Vec<Draft>, condition: Condition) -> Result<Appended, AppendError> {
        let events: Result<Vec<_>, _> = drafts.into_iter().map(|draft| self.prepare(draft, None)).collect();
        self.append(events?, condition)
    }

    /// Hands out new entities with their keys.
    ///
    /// # Errors
    /// When the vault failed.
    pub fn issue(&self, count: usize) -> Result<Vec<(EntityId, DataKey)>, VaultError> {
        self.inner.vault.issue(count)
    }

    /// Returns the key of an entity.
    ///
    /// # Errors
    /// When the vault failed.
    pub fn key_of(&self, entity: EntityId) -> Result<KeyState, VaultError> {
        self.inner.vault.key_of(entity)
    }

    /// Returns the keys of many entities, in their order.
    ///
    /// # Errors
    /// When the vault failed.
    pub fn keys_of(&self, entities: &[EntityId]) -> Result<Vec<KeyState>, VaultError> {
        self.inner.vault.keys_of(entities)
    }

    /// Destroys the keys of entities, for ever.
    ///
    /// # Errors
    /// When that could not be made durable and read back: nothing counts as destroyed then.
    pub fn destroy(&self, ticket: &StepTicket, entities: &[EntityId]) -> Result<Destroyed, VaultError> {
        self.inner.vault.destroy(ticket, entities)
    }

    /// Returns the key of all keyed digests.
    #[must_use]
    pub fn index_key(&self) -> IndexKey {
        self.inner.index_key.clone()
    }

    /// Returns the stream of an entity.
    #[must_use]
    pub fn stream_of(&self, entity: EntityId) -> StreamId {
        self.inner.index_key.stream_of(entity)
    }

    /// Returns the handle of an id.
    #[must_use]
    pub fn handle_of(&self, source: &str, mailbox: Option<EntityId>, kind: Kind, external_id: &str) -> Handle {
        state::handle_of(&self.inner.index_key, source, mailbox, kind, external_id)
    }

    /// Returns what stands for who holds permissions, outside sealed bodies.
    #[must_use]
    pub fn principal(&self, identifier: &str) -> Handle {
        self.inner.index_key.handle(&[b"principal", identifier.as_bytes()])
    }

    /// Returns what stands for an identifier of a data subject, outside sealed bodies.
    #[must_use]
    pub fn handle_of_mark(&self, mark: &retention_core::subject::Mark) -> Handle {
        self.inner.index_key.handle(&mark.parts())
    }

    /// Returns the keyed digest of an encoded body.
    #[must_use]
    pub fn digest_of(&self, encoded: &[u8]) -> u64 {
        self.inner.index_key.digest64(encoded)
    }

    /// Returns what can be told of an event without its body.
    ///
    /// # Errors
    /// When the event store is damaged.
    pub fn row(&self, position: Position) -> Result<Option<EventRow>, ReadError> {
        self.inner.row(position)
    }

    /// Returns an event, its body opened if its key is live.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(&self, position: Position) -> Result<Option<Recorded>, ReadError> {
        self.inner.read(position)
    }

    /// Reads the envelope of an event from the journal.
    ///
    /// # Errors
    /// When the journal or sled cannot be read there.
    pub fn envelope(&self, position: Position) -> Result<Option<Envelope>, ReadError> {
        self.inner.envelope(position)
    }

    /// Returns the state of an entity as its source last told it; `None` when it is gone or was never there.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn record(&self, entity: EntityId) -> Result<Option<EntityRecord>, ReadError> {
        self.inner.record(entity)
    }

    /// Returns the record of one version.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn record_at(&self, version: Position) -> Result<Option<EntityRecord>, ReadError> {
        self.inner.record_at(version)
    }

    /// Tells when the log grows, and when what others wait for may be there: policies, or a judgement of everything.
    #[must_use]
    pub fn subscribe(&self) -> tokio::sync::watch::Receiver<Position> {
        self.inner.signal.subscribe()
    }

    /// Returns why nothing can be written, if so.
    #[must_use]
    pub fn read_only_reason(&self) -> Option<ReadOnly> {
        self.inner.read_only_reason()
    }

    /// Makes the store read-only: something contradicts its log. What was found first is kept.
    pub fn contradicted(&self, damage: ReadOnly) {
        tracing::error!(code = damage.code, %damage, "the store is read-only: a person has to look");
        self.inner.read_only.lock().get_or_insert(damage);
    }

    /// Returns up to where sled is.
    #[must_use]
    pub fn written_out(&self) -> Position {
        self.inner.written.lock().position
    }

    /// Returns what the file system of the keys does to the promise of erasure.
    #[must_use]
    pub fn erasure_warning(&self) -> Option<String> {
        self.inner.vault.warnings().ok().flatten().map(|warning| warning.to_string())
    }

    /// Writes to sled what is new since the last time, if it is at least `at_least` events. One caller at a time.
    ///
    /// # Errors
    /// When sled fails; nothing is lost, since sled is made again from the journal.
    pub fn write_out(&self, at_least: u64) -> Result<(), ReadError> {
        self.inner.write_out(at_least)
    }

    /// Removes the directories of sled that were set aside, once what was made again is written out, and returns how many
    /// there were. While the store is read-only they stay: they may be all that is left of events that the journal lost.
    ///
    /// # Errors
    /// When sled fails, or one cannot be removed.
    pub fn discard_set_aside(&self) -> Result<u32, ReadError> {
        let events = self.inner.dir.join("events");
        if self.read_only_reason().is_some() || !sled_door::has_set_aside(&events) {
            return Ok(0);
        }
        self.write_out(1)?;
        Ok(sled_door::discard_set_aside(&events)?)
    }

    /// Closes the store in good order: what waits is written, sled is flushed and marked as clean.
    ///
    /// # Errors
    /// When sled fails: then it is rebuilt at the next start.
    pub fn close(self) -> Result<(), ReadError> {
        let Self { writer, inner, lock, contents: _, beginning: _, report: _ } = self;
        drop(writer);
        let written = if inner.read_only_reason().is_none() { inner.write_out(1) } else { Ok(()) };
        let closed = match Arc::try_unwrap(inner) {
            Ok(inner) => inner.blocks.map_or(Ok(()), Blocks::close).map_err(ReadError::from),
            // Somebody still reads: sled is then not marked as clean, which costs a rebuild after a power cut.
            Err(_) => Ok(()),
        };
        drop(lock);
        written.and(closed)
    }
}

impl Inner {
    fn write_out(&self, at_least: u64) -> Result<(), ReadError> {
        let Some(blocks) = &self.blocks else { return Ok(()) };
        let mut written = self.written.lock();
        let position = self.state.read().views.position;
        if position.0 - written.position.0 < at_least {
            return Ok(());
        }
        let snapshot = write_out::WriteOut::take(self, written.position, written.epoch + 1)
            .map_err(|source| ReadError::Body { position, source })?;
        let reached = snapshot.position();
        if let Err((error, changed)) = snapshot.write(blocks) {
            self.state.write().views.mark_changed(*changed);
            return Err(error.into());
        }
        self.tail.drop_written(reached);
        *written = Written { position: reached, epoch: written.epoch + 1 };
        Ok(())
    }
}

//! Appending: one writer, and groups that share one fdatasync.
//!
//! An append returns when its events are durable **and** folded, so whoever appended reads what was written.
//! Appends with a condition begin a new group: a condition is asked against everything that came before.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use retention_core::event::codec::{BODY_BYTES_MAX, Bodies, CodecError};
use retention_core::event::{Draft, Envelope, Event, Sealing, apart, codec};
use retention_core::id::{Digest, EntityId, Position};
use retention_core::time::Timestamp;
use retention_core::view::{Condition, Conflict, Keyed};

use super::events::EventRow;
use super::journal::{GroupBuffer, JournalError, JournalWriter, Place};
use super::month::Texts;
use super::vault::seal::{SealContext, SealError};
use super::vault::{DataKey, KeyState, VaultError};
use super::{Inner, ReadOnly, state};

/// The most bytes of one group: what a crash can leave unacknowledged, and what the writer keeps in memory.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The most appends that wait for the writer. More wait in their callers.
const QUEUE_MAX: usize = 1_024;

/// The last position that the index can hold.
const POSITION_MAX: u64 = u32::MAX as u64 - 1;

/// An event that is ready to be written: encoded, sealed and hashed by its appender.
pub struct Prepared {
    draft: Draft,
    schema: u16,
    sealed: bool,
    texts: Option<EntityId>,
    body: Vec<u8>,
    digest: Digest,
    keyed: Option<Keyed>,
}

/// Where the events of an append stand. An append of nothing stands where the next event will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The position of the first.
    pub first: Position,
    /// The position of the last.
    pub last: Position,
}

/// An append did not happen. Nothing of it is in the log.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The condition did not hold.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The store is read-only.
    #[error("the store is read-only: {0}")]
    ReadOnly(ReadOnly),
    /// The journal failed; the daemon stops and recovery decides.
    #[error("the journal failed, so nothing more is written: {0}")]
    Journal(Arc<JournalError>),
    /// The event cannot be encoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The entity's key is gone, so nothing can be recorded of it any more.
    #[error("the key of {0} is destroyed, so nothing can be recorded of it")]
    KeyDestroyed(EntityId),
    /// The body cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The log is full.
    #[error("the log holds as many events as a store can hold (4,294,967,294)")]
    Full,
    /// The store is closing.
    #[error("the store is closing")]
    Closed,
}

pub(super) struct Job {
    events: Vec<Prepared>,
    condition: Condition,
    reply: Sender<Result<Appended, AppendError>>,
}

/// The queue in front of the writer.
pub(super) struct Queue {
    jobs: Sender<Job>,
}

impl Queue {
    pub(super) fn new() -> (Self, Receiver<Job>) {
        let (jobs, receiver) = crossbeam_channel::bounded(QUEUE_MAX);
        (Self { jobs }, receiver)
    }

    /// Hands an append over. The answer comes on the channel.
    pub(super) fn submit(
        &self,
        events: Vec<Prepared>,
        condition: Condition,
    ) -> Result<Receiver<Result<Appended, AppendError>>, AppendError> {
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.jobs.send(Job { events, condition, reply }).map_err(|_| AppendError::Closed)?;
        Ok(answer)
    }
}

impl Inner {
    /// Encodes, seals and hashes an event, in the caller's thread.
    pub(super) fn prepare(
        &self,
        draft: Draft,
        key: Option<&DataKey>,
        texts: Option<&Texts>,
    ) -> Result<Prepared, AppendError> {
        let plain = draft.event.encode_body()?;
        let keyed = match &draft.event {
            Event::EntityChanged(body) => {
                Some(state::keyed(&self.index_key, &self.state.read().views, &body.record, &plain))
            }
            _ => None,
        };
        self.prepare_encoded(draft, &plain, keyed, key, texts)
    }

    /// As [`Self::prepare`], when the body was encoded before.
    pub(super) fn prepare_encoded(
        &self,
        draft: Draft,
        plain: &[u8],
        keyed: Option<Keyed>,
        key: Option<&DataKey>,
        texts: Option<&Texts>,
    ) -> Result<Prepared, AppendError> {
        let event_type = draft.event.event_type();
        let schema = codec::schema_of(event_type);
        let context = |slot| SealContext { stream: draft.stream, event_type: event_type as u16, schema, slot };
        if let (Sealing::House, Some(texts)) = (event_type.sealing(), texts) {
            let facts = self.seal(&self.house_key, &context(EntityId(0)), &texts.facts.encode_body()?)?;
            let whole = self.seal(&texts.key, &context(texts.month), plain)?;
            let body = apart::join(&facts, &whole);
            if body.len() > BODY_BYTES_MAX {
                return Err(CodecError::TooLarge.into());
            }
            let digest = apart::digest(&body).ok_or(CodecError::Malformed)?;
            return Ok(Prepared { draft, schema, sealed: true, texts: Some(texts.month), body, digest, keyed });
        }
        let (sealed, body) = match (event_type.sealing(), draft.entity) {
            (Sealing::Public, _) => (false, plain.to_vec()),
            (Sealing::House, _) => (true, self.seal(&self.house_key, &context(EntityId(0)), plain)?),
            (Sealing::Entity, None) => (true, self.seal(&self.house_key, &context(EntityId(0)), plain)?),
            (Sealing::Entity, Some(entity)) => match key {
                Some(key) => (true, self.seal(key, &context(entity), plain)?),
                None => match self.vault.key_of(entity)? {
                    KeyState::Live(key) => (true, self.seal(&key, &context(entity), plain)?),
                    KeyState::Destroyed | KeyState::NeverIssued | KeyState::Damaged => {
                        return Err(AppendError::KeyDestroyed(entity));
                    }
                },
            },
        };
        let digest = Digest::of(&body);
        Ok(Prepared { draft, schema, sealed, texts: None, body, digest, keyed })
    }

    fn seal(&self, key: &DataKey, context: &SealContext, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut out = Vec::with_capacity(plain.len() + super::vault::seal::SEAL_OVERHEAD_BYTES);
        self.sealer.seal(key, context, plain, &mut out)?;
        Ok(out)
    }
}

/// The one writer.
pub(super) struct Writer {
    inner: Arc<Inner>,
    journal: JournalWriter,
    next: Position,
    last_recorded_at: Timestamp,
    group: GroupBuffer,
}

struct Pending {
    job: Job,
    first: Position,
    places: Vec<(Envelope, u32)>,
}

impl Writer {
    pub(super) fn new(inner: Arc<Inner>, journal: JournalWriter) -> Self {
        let (next, last_recorded_at) = {
            let views = &inner.state.read().views;
            (views.position.next(), views.recorded_at)
        };
        Self { inner, journal, next, last_recorded_at, group: GroupBuffer::begin(next) }
    }

    /// Works until all senders are gone.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let mut carried: Option<Job> = None;
        while let Some(first) = carried.take().or_else(|| jobs.recv().ok()) {
            let mut group = vec![first];
            let mut bytes = size_of_job(&group);
            while bytes < GROUP_BYTES_MAX
                && let Ok(job) = jobs.try_recv()
            {
                if job.condition != Condition::None {
                    carried = Some(job);
                    break;
                }
                bytes += size_of_job(std::slice::from_ref(&job));
                group.push(job);
            }
            self.write_group(group);
        }
    }

    fn write_group(&mut self, jobs: Vec<Job>) {
        if let Some(reason) = self.inner.read_only_reason() {
            for job in jobs {
                answer(job.reply, Err(AppendError::ReadOnly(reason.clone())));
            }
            return;
        }
        self.group.reset(self.next);
        let now = self.inner.clock.now().max(self.last_recorded_at);
        let mut pending = Vec::with_capacity(jobs.len());
        for job in jobs {
            match self.admit(&job) {
                Ok(()) => pending.push(self.frame(job, now)),
                Err(error) => answer(job.reply, Err(error)),
            }
        }
        if self.group.count() == 0 {
            for pending in pending {
                answer(pending.job.reply, Ok(Appended { first: self.next, last: self.next }));
            }
            return;
        }
        self.group.finish();
        match self.journal.append(&self.group) {
            Ok(place) => {
                self.last_recorded_at = now;
                self.fold(pending, place);
            }
            Err(error) => {
                let error = Arc::new(error);
                self.inner.fail(&error);
                for pending in pending {
                    answer(pending.job.reply, Err(AppendError::Journal(Arc::clone(&error))));
                }
            }
        }
    }

    fn admit(&self, job: &Job) -> Result<(), AppendError> {
        if self.next.0 + job.events.len() as u64 > POSITION_MAX {
            return Err(AppendError::Full);
        }
        if job.condition != Condition::None {
            job.condition.check(&self.inner.state.read().views)?;
        }
        Ok(())
    }

    fn frame(&mut self, job: Job, now: Timestamp) -> Pending {
        let first = self.next;
        let mut places = Vec::with_capacity(job.events.len());
        for prepared in &job.events {
            let envelope = Envelope {
                event_type: prepared.draft.event.event_type() as u16,
                schema: prepared.schema,
                sealed: prepared.sealed,
                position: self.next,
                recorded_at: now,
                occurred_at: prepared.draft.occurred_at.unwrap_or(now),
                stream: prepared.draft.stream,
                actor: prepared.draft.actor,
                cause: prepared.draft.cause,
                entity: prepared.draft.entity,
                texts: prepared.texts,
                body_len: u32::try_from(prepared.body.len()).unwrap_or(u32::MAX),
                body_digest: prepared.digest,
            };
            places.push((envelope, self.group.push(&envelope, &prepared.body)));
            self.next = self.next.next();
        }
        Pending { job, first, places }
    }

    fn fold(&mut self, pending: Vec<Pending>, group: Place) {
        {
            let mut state = self.inner.state.write();
            let mut rows = Vec::with_capacity(pending.iter().map(|pending| pending.places.len()).sum());
            let mut alike: Option<(&Envelope, Position)> = None;
            for Pending { job, places, .. } in &pending {
                for (prepared, (envelope, offset)) in job.events.iter().zip(places) {
                    let previous = envelope.entity.map_or(Position::NONE, |e| state.views.entities.last_event(e));
                    let place = Place { segment: group.segment, offset: group.offset.saturating_add(*offset) };
                    rows.push(EventRow::of(envelope, previous, place));
                    alike = match alike {
                        Some((first, _)) if is_alike(first, envelope) => Some((first, envelope.position)),
                        before => {
                            if let Some((first, last)) = before {
                                state.views.index_alike(first, last);
                            }
                            Some((envelope, envelope.position))
                        }
                    };
                    state.fold_unindexed(envelope, Some(&prepared.draft.event), prepared.keyed.as_ref());
                }
            }
            if let Some((first, last)) = alike {
                state.views.index_alike(first, last);
            }
            self.inner.tail.extend(rows.into_iter());
        }
        self.inner.signal.announce(Position(self.next.0 - 1));
        for Pending { job, first, places } in pending {
            let last = Position(first.0 + places.len() as u64 - u64::from(!places.is_empty()));
            answer(job.reply, Ok(Appended { first, last }));
        }
    }
}

/// Says whether two events stand in the same sets of the index.
fn is_alike(one: &Envelope, other: &Envelope) -> bool {
    one.event_type == other.event_type && one.actor == other.actor
}

fn size_of_job(jobs: &[Job]) -> usize {
    jobs.iter().flat_map(|job| &job.events).map(|event| event.body.len() + 150).sum()
}

/// An appender that no longer waits does not need its answer.
fn answer(reply: Sender<Result<Appended, AppendError>>, result: Result<Appended, AppendError>) {
    drop(reply.send(result));
}

/// Tells those who wait how far the log is.
pub(super) struct Signal {
    position: tokio::sync::watch::Sender<Position>,
}

impl Signal {
    pub(super) fn at(position: Position) -> Self {
        Self { position: tokio::sync::watch::Sender::new(position) }
    }

    fn announce(&self, position: Position) {
        self.position.send_replace(position);
    }

    /// Wakes those who wait although the log did not grow: what they wait for may be there now.
    pub(super) fn nudge(&self) {
        self.position.send_modify(|_| {});
    }

    pub(super) fn subscribe(&self) -> tokio::sync::watch::Receiver<Position> {
        self.position.subscribe()
    }
}

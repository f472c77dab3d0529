//! Rows become events: each is compared with what is known by a keyed digest, and only what differs is appended.
//!
//! **Order:** the views lag behind by the batches that are under way. A row whose id is among those waits until they
//! are folded, so that one id never becomes two entities.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use retention_core::event::change::{EntityChanged, LayoutRecorded};
use retention_core::event::codec::Bodies as _;
use retention_core::event::{Actor, Draft, Event};
use retention_core::id::{EntityId, LayoutId, Position};
use retention_core::record::{Cells, Column, DateRole, EntityRecord, FieldType, Kind, Layout, Visibility};
use retention_core::time::Timestamp;
use retention_core::view::{Condition, Conflict, Keyed, Views};
use roaring::RoaringBitmap;

use super::IntakeError;
use super::batch::{Handles, InFlight};
use super::outcome::{Counts, Oddity};
use crate::connector::change::SourceRow;
use crate::store::open::daemon_draft;
use crate::store::vault::DataKey;
use crate::store::{AppendError, Prepared, Store};

/// From how many events on a second thread helps: starting it costs about as much as sealing ten.
const JOBS_SHARED_MIN: usize = 256;

/// One event to be sealed, with the key of a new entity.
type Job = (EntityId, Candidate, Option<DataKey>);

/// A layout that the reader announced.
pub(super) struct KnownLayout {
    pub(super) id: LayoutId,
    pub(super) source: Arc<str>,
    pub(super) kind: Kind,
}

/// One intake while its file is read.
pub(super) struct Taking<'a> {
    pub(super) store: &'a Store,
    /// The intake itself.
    pub(super) intake: EntityId,
    /// Its `IntakeStarted`: the cause of all it appends.
    pub(super) started: Position,
    /// Whether an earlier attempt at the same intake may have appended a part.
    pub(super) is_resumed: bool,
    pub(super) layouts: Vec<KnownLayout>,
    mailboxes: HashMap<(Arc<str>, Arc<str>), EntityId>,
    pub(super) in_flight: InFlight,
    pub(super) counts: Counts,
    pub(super) oddities: BTreeMap<&'static str, u64>,
    /// Every entity that this delivery named.
    pub(super) seen: RoaringBitmap,
    /// Whether a row names links, or its entity had some before.
    pub(super) has_links: bool,
}

/// A row, ready to be compared.
struct Candidate {
    event: Event,
    plain: Vec<u8>,
    keyed: Keyed,
    occurred_at: Option<Timestamp>,
}

/// What the views know of a row.
#[derive(Clone, Copy)]
enum Standing {
    New,
    Changed(EntityId, Position),
    Unchanged(EntityId, Position),
    /// A later row of the batch has the same id.
    Superseded,
}

impl<'a> Taking<'a> {
    pub(super) fn new(store: &'a Store, intake: EntityId, started: Position, is_resumed: bool) -> Self {
        Self {
            store,
            intake,
            started,
            is_resumed,
            layouts: Vec::new(),
            mailboxes: HashMap::new(),
            in_flight: InFlight::default(),
            counts: Counts::default(),
            oddities: BTreeMap::new(),
            seen: RoaringBitmap::new(),
            has_links: false,
        }
    }

    pub(super) fn odd(&mut self, oddity: Oddity) {
        *self.oddities.entry(oddity.name()).or_default() += 1;
    }

    /// Makes a draft that this intake caused.
    pub(super) fn draft(&self, entity: EntityId, occurred_at: Option<Timestamp>, event: Event) -> Draft {
        Draft {
            stream: self.store.stream_of(entity),
            entity: Some(entity),
            actor: Actor::Daemon,
            cause: self.started,
            occurred_at,
            event,
        }
    }

    /// Takes note of the next layout; one that was never seen is recorded.
    pub(super) fn announce(&mut self, layout: Layout) -> Result<(), IntakeError> {
        let (source, kind) = (Arc::from(layout.source.as_str()), layout.kind);
        let id = self.layout_id(layout)?;
        self.layouts.push(KnownLayout { id, source, kind });
        Ok(())
    }

    fn layout_id(&mut self, layout: Layout) -> Result<LayoutId, IntakeError> {
        loop {
            let (known, next) =
                self.store.view(|views| (views.small.layouts.find(&layout), views.small.layouts.next()));
            if let Some(id) = known {
                return Ok(id);
            }
            let event = Event::LayoutRecorded(LayoutRecorded { id: next, layout: layout.clone() });
            let draft = Draft { cause: self.started, ..daemon_draft(event) };
            match self.store.append_drafts(vec![draft], Condition::NextLayout(next)) {
                Ok(_) => return Ok(next),
                // Deliveries and mailboxes are taken in at the same time, and another one took the number.
                Err(AppendError::Conflict(Conflict::Layout)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Compares rows and appends what is new.
    pub(super) fn take_rows(&mut self, rows: Vec<SourceRow>) -> Result<(), IntakeError> {
        self.counts.rows += rows.len() as u64;
        self.meet_mailboxes(&rows)?;
        let mut candidates = Vec::with_capacity(rows.len());
        let mut handles = Handles::default();
        handles.own.reserve(rows.len());
        let mut standings = Vec::with_capacity(rows.len());
        for row in rows {
            let candidate = self.candidate(row)?;
            standings.push(Standing::New);
            if let Some(earlier) = handles.own.insert(candidate.keyed.handle, candidates.len()) {
                if let Some(standing) = standings.get_mut(earlier) {
                    *standing = Standing::Superseded;
                }
                self.odd(Oddity::IdRepeated);
            }
            candidates.push(candidate);
        }
        handles.others.extend(candidates.iter().flat_map(|candidate| candidate.keyed.others.iter().copied()));
        self.let_views_catch_up(&handles)?;
        self.compare(&candidates, &handles, &mut standings);
        self.append(candidates, &standings, handles)
    }

    fn candidate(&mut self, row: SourceRow) -> Result<Candidate, IntakeError> {
        let layout = self.layouts.get(row.layout).ok_or(IntakeError::ReaderFailed)?;
        let mailbox = self.mailbox_of(layout, row.mailbox.as_ref());
        let handle = |id: &str| self.store.handle_of(&layout.source, mailbox, layout.kind, id);
        let others = row.other_ids.iter().filter(|id| **id != row.external_id).map(|id| handle(id)).collect();
        let handle = handle(&row.external_id);
        let record = EntityRecord {
            layout: layout.id,
            mailbox,
            visibility: row.visibility,
            external_id: row.external_id,
            other_ids: row.other_ids,
            dates: row.dates,
            links: row.links,
            cells: row.cells,
        };
        self.has_links |= !record.links.is_empty();
        let occurred_at = [DateRole::Occurred, DateRole::Modified, DateRole::Created];
        let occurred_at = occurred_at.into_iter().find_map(|role| record.date(role));
        let event = Event::EntityChanged(EntityChanged { record });
        let plain = event.encode_body()?;
        let digest = self.store.digest_of(&plain);
        Ok(Candidate { event, plain, keyed: Keyed { handle, others, digest }, occurred_at })
    }

    /// Waits for the batches under way if one of them holds an id of this one.
    fn let_views_catch_up(&mut self, handles: &Handles) -> Result<(), IntakeError> {
        let mut all = handles.own.keys().chain(&handles.others);
        if all.any(|handle| self.in_flight.contains(handle)) { self.in_flight.drain() } else { Ok(()) }
    }

    fn compare(&mut self, candidates: &[Candidate], handles: &Handles, standings: &mut [Standing]) {
        let store = self.store;
        let mut of_this_batch = RoaringBitmap::new();
        store.view(|views| {
            for (candidate, standing) in candidates.iter().zip(standings) {
                if matches!(standing, Standing::Superseded) {
                    continue;
                }
                let found = self.find(views, &candidate.keyed, handles, &of_this_batch);
                let Some((entity, row)) = found.and_then(|entity| Some((entity, views.entities.row(entity)?))) else {
                    continue;
                };
                of_this_batch.insert(entity.0);
                if !self.seen.insert(entity.0) {
                    self.odd(Oddity::IdRepeated);
                }
                self.has_links |= !views.links.is_empty() && views.links.of(entity).next().is_some();
                *standing = if row.digest == candidate.keyed.digest && !row.absent {
                    Standing::Unchanged(entity, row.version)
                } else {
                    Standing::Changed(entity, row.version)
                };
            }
        });
    }

    /// Finds the entity of a row: the one that has its id, else the first that has one of its other ids. An entity
    /// that another row of the same delivery already told is never taken a second time through another id.
    fn find(&mut self, views: &Views, keyed: &Keyed, batch: &Handles, told: &RoaringBitmap) -> Option<EntityId> {
        let first = views.entities.find(keyed.handle);
        let is_own = |entity: EntityId| views.entities.row(entity).is_some_and(|row| row.handle == keyed.handle);
        let own = first.filter(|entity| is_own(*entity) && !told.contains(entity.0));
        if keyed.others.is_empty() && batch.others.is_empty() && own == first {
            return own;
        }
        let others = keyed.others.iter().filter_map(|other| views.entities.find(*other));
        let all: Vec<EntityId> = first.into_iter().chain(others).collect();
        let free = |entity: &EntityId| !told.contains(entity.0) && !self.seen.contains(entity.0);
        let chosen = own.or_else(|| all.iter().copied().find(free));
        let shares_id_with_row = batch.others.contains(&keyed.handle) && !keyed.others.contains(&keyed.handle)
            || keyed.others.iter().any(|other| batch.own.contains_key(other));
        if shares_id_with_row || all.iter().any(|entity| Some(*entity) != chosen) {
            self.odd(Oddity::IdsOfTwoEntities);
        }
        chosen
    }

    fn append(
        &mut self,
        candidates: Vec<Candidate>,
        standings: &[Standing],
        handles: Handles,
    ) -> Result<(), IntakeError> {
        let count = standings.iter().filter(|standing| matches!(standing, Standing::New)).count();
        let mut issued = self.store.issue(count)?.into_iter();
        let mut jobs = Vec::with_capacity(candidates.len());
        let mut versions = Vec::new();
        for (candidate, standing) in candidates.into_iter().zip(standings) {
            match *standing {
                Standing::Superseded => {}
                Standing::Unchanged(entity, version) => self.count_unchanged(entity, version),
                Standing::Changed(entity, version) => {
                    self.counts.changed += 1;
                    versions.push((entity, version));
                    jobs.push((entity, candidate, None));
                }
                Standing::New => {
                    let (entity, key) = issued.next().ok_or(IntakeError::ReaderFailed)?;
                    self.counts.added += 1;
                    self.seen.insert(entity.0);
                    jobs.push((entity, candidate, Some(key)));
                }
            }
        }
        let events = self.prepare_all(jobs)?;
        let condition = if versions.is_empty() { Condition::None } else { Condition::Versions(versions) };
        self.in_flight.send(self.store, events, condition, handles)
    }

    /// Seals and hashes in order, on two threads when there is enough to do: this is most of the work of an intake.
    fn prepare_all(&self, mut jobs: Vec<Job>) -> Result<Vec<Prepared>, IntakeError> {
        let prepare = |jobs: Vec<Job>| -> Result<Vec<Prepared>, IntakeError> {
            jobs.into_iter().map(|job| self.prepare(job)).collect()
        };
        if jobs.len() < JOBS_SHARED_MIN {
            return prepare(jobs);
        }
        let second = jobs.split_off(jobs.len() / 2);
        std::thread::scope(|scope| {
            let helper = std::thread::Builder::new()
                .name("intake-seal".to_owned())
                .spawn_scoped(scope, || prepare(second))
                .map_err(|error| IntakeError::Thread(error.kind()))?;
            let mut events = prepare(jobs)?;
            events.extend(helper.join().map_err(|_| IntakeError::ReaderFailed)??);
            Ok(events)
        })
    }

    fn prepare(&self, (entity, candidate, key): Job) -> Result<Prepared, IntakeError> {
        let Candidate { event, plain, keyed, occurred_at } = candidate;
        Ok(self.store.prepare_encoded(self.draft(entity, occurred_at, event), plain, keyed, key.as_ref())?)
    }

    /// What an interrupted attempt at this intake appended is what this intake did.
    fn count_unchanged(&mut self, entity: EntityId, version: Position) {
        if !self.is_resumed || version < self.started {
            self.counts.unchanged += 1;
        } else if entity > self.intake {
            self.counts.added += 1;
        } else {
            self.counts.changed += 1;
        }
    }

    /// Takes note of a mailbox that is an entity already.
    pub(super) fn know_mailbox(&mut self, source: &str, address: &Arc<str>, entity: EntityId) {
        self.mailboxes.insert((Arc::from(source), Arc::clone(address)), entity);
    }

    /// Returns the number of a mailbox that was met before.
    pub(super) fn mailbox_of(&self, layout: &KnownLayout, address: Option<&Arc<str>>) -> Option<EntityId> {
        self.mailboxes.get(&(layout.source.clone(), address?.clone())).copied()
    }

    /// Returns the number of a mailbox, also of one that no row of this delivery lives in.
    pub(super) fn find_mailbox(&self, source: &str, address: &str) -> Option<EntityId> {
        let handle = self.store.handle_of(source, None, Kind::Mailbox, address);
        self.store.view(|views| views.entities.find(handle))
    }

    /// Returns the number of a mailbox that was met in this delivery, or before it.
    pub(super) fn known_mailbox(&self, source: &str, address: &Arc<str>) -> Option<EntityId> {
        let met = self.mailboxes.get(&(Arc::from(source), Arc::clone(address))).copied();
        met.or_else(|| self.find_mailbox(source, address))
    }

    /// Looks up the mailboxes of rows; those that were never seen become entities.
    fn meet_mailboxes(&mut self, rows: &[SourceRow]) -> Result<(), IntakeError> {
        let mut events = Vec::new();
        let mut last: Option<(usize, &Arc<str>)> = None;
        for row in rows {
            let Some(address) = &row.mailbox else { continue };
            if last.is_some_and(|(layout, known)| layout == row.layout && Arc::ptr_eq(known, address)) {
                continue;
            }
            last = Some((row.layout, address));
            let source = self.layouts.get(row.layout).ok_or(IntakeError::ReaderFailed)?.source.clone();
            let key = (source.clone(), address.clone());
            if self.mailboxes.contains_key(&key) {
                continue;
            }
            let entity = match self.find_mailbox(&source, address) {
                Some(entity) => entity,
                None => {
                    let (entity, event) = self.new_mailbox(&source, address)?;
                    events.push(event);
                    entity
                }
            };
            self.mailboxes.insert(key, entity);
        }
        if !events.is_empty() {
            self.store.append(events, Condition::None)?;
        }
        Ok(())
    }

    fn new_mailbox(&mut self, source: &str, address: &str) -> Result<(EntityId, Prepared), IntakeError> {
        let column = Column { name: "address".into(), field: "address".into(), field_type: FieldType::Text };
        let layout =
            Layout { source: source.to_owned(), kind: Kind::Mailbox, columns: vec![column], named_dates: Vec::new() };
        let record = EntityRecord {
            layout: self.layout_id(layout)?,
            mailbox: None,
            visibility: Visibility::Unknown,
            external_id: address.to_owned(),
            other_ids: Vec::new(),
            dates: Vec::new(),
            links: Vec::new(),
            cells: std::iter::once(Some(address)).collect::<Cells>(),
        };
        let (entity, key) = self.store.issue(1)?.pop().ok_or(IntakeError::ReaderFailed)?;
        let draft = self.draft(entity, None, Event::EntityChanged(EntityChanged { record }));
        Ok((entity, self.store.prepare(draft, Some(&key))?))
    }
}

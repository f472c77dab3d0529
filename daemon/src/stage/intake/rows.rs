//! Rows become events: each is compared with what is known by a keyed digest, and only what differs is appended.
//!
//! **Order:** the views lag behind by the batches that are under way. A row whose id is among those waits until they
//! are folded, so that one id never becomes two entities.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use retention_core::event::change::EntityChanged;
use retention_core::event::codec::Bodies as _;
use retention_core::event::{Actor, Draft, Event};
use retention_core::id::{EntityId, LayoutId, Position};
use retention_core::record::activity::ActivityRules;
use retention_core::record::{Cells, Column, DateRole, EntityRecord, FieldType, Kind, Layout, Visibility};
use retention_core::time::Timestamp;
use retention_core::view::{Condition, EntityState, Keyed, Views};
use roaring::RoaringBitmap;
use zeroize::Zeroizing;

use super::IntakeError;
use super::batch::{Handles, InFlight};
use super::outcome::{Counts, Oddity};
use crate::connector::change::{Place, SourceRow};
use crate::store::{Prepared, Store};

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
    /// Whether a link may lead into another mailbox of the source. The export of one mailbox knows no other; a mapping names
    /// a column for the mailbox, which says whose a record is and not where its id counts.
    pub(super) searches_mailboxes: bool,
    /// All mailboxes of a source, once a link was looked for in them.
    pub(super) mailboxes_of_sources: HashMap<Arc<str>, Arc<[EntityId]>>,
    pub(super) in_flight: InFlight,
    pub(super) counts: Counts,
    pub(super) oddities: BTreeMap<&'static str, u64>,
    /// Where each oddity was met first.
    pub(super) first_odd: BTreeMap<&'static str, Place>,
    /// Every entity that this delivery named.
    pub(super) seen: RoaringBitmap,
    /// Whether a row names links, or its entity had some before.
    pub(super) has_links: bool,
    /// Whether an entity is there again that had been gone.
    pub(super) has_returned: bool,
    /// What tells the class of an activity.
    pub(super) activities: Arc<ActivityRules>,
    /// The encoded body of the row at hand; its memory is used again.
    plain: Zeroizing<Vec<u8>>,
}

/// What the views know of a row.
#[derive(Clone, Copy)]
enum Standing {
    New,
    Known(EntityId, KnownState),
    /// A later row of the batch has the same id.
    Superseded,
}

/// The state of an entity that was recorded before.
#[derive(Clone, Copy)]
struct KnownState {
    version: Position,
    digest: u64,
    absent: bool,
    /// Whether it is what is left of a redaction.
    is_redacted: bool,
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
            searches_mailboxes: false,
            mailboxes_of_sources: HashMap::new(),
            in_flight: InFlight::default(),
            counts: Counts::default(),
            oddities: BTreeMap::new(),
            first_odd: BTreeMap::new(),
            seen: RoaringBitmap::new(),
            has_links: false,
            has_returned: false,
            activities: Arc::default(),
            plain: Zeroizing::new(Vec::new()),
        }
    }

    pub(super) fn odd(&mut self, oddity: Oddity, at: Place) {
        *self.oddities.entry(oddity.name()).or_default() += 1;
        self.first_odd.entry(oddity.name()).or_insert(at);
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
        let id = self.store.layout_id(&layout, self.started)?;
        self.layouts.push(KnownLayout { id, source, kind });
        Ok(())
    }

    /// Compares rows and appends what is new.
    pub(super) fn take_rows(&mut self, rows: Vec<SourceRow>) -> Result<(), IntakeError> {
        self.counts.rows += rows.len() as u64;
        self.meet_mailboxes(&rows)?;
        let mut names = Vec::with_capacity(rows.len());
        let mut handles = Handles::default();
        handles.own.reserve(rows.len());
        let mut standings = vec![Standing::New; rows.len()];
        for row in &rows {
            let name = self.name_of(row)?;
            if let Some(earlier) = handles.own.insert(name.handle, names.len()) {
                if let Some(standing) = standings.get_mut(earlier) {
                    *standing = Standing::Superseded;
                }
                self.odd(Oddity::IdRepeated, row.place);
            }
            handles.others.extend(name.others.iter().copied());
            self.has_links |= !row.links.is_empty();
            names.push(name);
        }
        self.let_views_catch_up(&handles)?;
        self.find_all(&rows, &names, &handles, &mut standings);
        self.append(rows, names, &standings, handles)
    }

    /// Returns the handles of a row; its digest is not known yet.
    fn name_of(&self, row: &SourceRow) -> Result<Keyed, IntakeError> {
        let layout = self.layouts.get(row.layout).ok_or(IntakeError::ReaderFailed)?;
        let mailbox = self.mailbox_of(layout, row.mailbox.as_ref());
        let handle = |id: &str| self.store.handle_of(&layout.source, mailbox, layout.kind, id);
        let others = row.other_ids.iter().filter(|id| **id != row.external_id).map(|id| handle(id)).collect();
        Ok(Keyed { handle: handle(&row.external_id), others, digest: 0 })
    }

    fn record_of(&self, row: SourceRow) -> Result<EntityRecord, IntakeError> {
        let layout = self.layouts.get(row.layout).ok_or(IntakeError::ReaderFailed)?;
        Ok(EntityRecord {
            layout: layout.id,
            mailbox: self.mailbox_of(layout, row.mailbox.as_ref()),
            visibility: row.visibility,
            external_id: row.external_id,
            other_ids: row.other_ids,
            dates: row.dates,
            links: row.links,
            cells: row.cells,
        })
    }

    /// Takes out of a row what was redacted of its entity before, so that the source does not bring it back: the same
    /// row is then what is known, and of another one the rest is a change.
    fn take_out_redacted(&self, entity: EntityId, record: &mut EntityRecord) {
        self.store.view(|views| {
            let Some(layout) = views.small.layouts.get(record.layout) else { return };
            // In the order in which they were redacted.
            let maps: Vec<_> = views.small.redactions.maps_of(entity).collect();
            for map in maps.into_iter().rev() {
                record.cells = map.apply(layout, &record.cells);
            }
        });
    }

    /// Waits for the batches under way if one of them holds an id of this one.
    fn let_views_catch_up(&mut self, handles: &Handles) -> Result<(), IntakeError> {
        let mut all = handles.own.keys().chain(&handles.others);
        if all.any(|handle| self.in_flight.contains(handle)) { self.in_flight.drain() } else { Ok(()) }
    }

    fn find_all(&mut self, rows: &[SourceRow], names: &[Keyed], handles: &Handles, standings: &mut [Standing]) {
        let store = self.store;
        let mut of_this_batch = RoaringBitmap::new();
        store.view(|views| {
            for ((row, name), standing) in rows.iter().zip(names).zip(standings) {
                let place = row.place;
                if matches!(standing, Standing::Superseded) {
                    continue;
                }
                let found = self.find(views, name, place, handles, &of_this_batch);
                let Some((entity, row)) = found.and_then(|entity| Some((entity, views.entities.row(entity)?))) else {
                    continue;
                };
                of_this_batch.insert(entity.0);
                if !self.seen.insert(entity.0) {
                    self.odd(Oddity::IdRepeated, place);
                }
                self.has_links |= !views.links.is_empty() && views.links.of(entity).next().is_some();
                let is_redacted = views.small.redactions.left_of(entity).is_some();
                let known = KnownState { version: row.version, digest: row.digest, absent: row.absent, is_redacted };
                *standing = Standing::Known(entity, known);
            }
        });
    }

    /// Finds the entity of a row: the one that has its id, else the first that has one of its other ids. An entity
    /// that another row of the same delivery already told is never taken a second time through another id.
    fn find(
        &mut self,
        views: &Views,
        keyed: &Keyed,
        place: Place,
        batch: &Handles,
        told: &RoaringBitmap,
    ) -> Option<EntityId> {
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
            self.odd(Oddity::IdsOfTwoEntities, place);
        }
        chosen
    }

    /// Encodes and compares row by row, and seals what differs while it is still at hand.
    fn append(
        &mut self,
        rows: Vec<SourceRow>,
        names: Vec<Keyed>,
        standings: &[Standing],
        handles: Handles,
    ) -> Result<(), IntakeError> {
        let count = standings.iter().filter(|standing| matches!(standing, Standing::New)).count();
        let mut issued = self.store.issue(count)?.into_iter();
        let mut events = Vec::with_capacity(count);
        let mut versions = Vec::new();
        let mut plain = std::mem::take(&mut self.plain);
        for ((row, mut keyed), standing) in rows.into_iter().zip(names).zip(standings) {
            if matches!(standing, Standing::Superseded) {
                continue;
            }
            let mut record = self.record_of(row)?;
            if let Standing::Known(entity, KnownState { is_redacted: true, .. }) = *standing {
                self.take_out_redacted(entity, &mut record);
            }
            let occurred_at = [DateRole::Occurred, DateRole::Modified, DateRole::Created];
            let occurred_at = occurred_at.into_iter().find_map(|role| record.date(role));
            let event = Event::EntityChanged(EntityChanged { record });
            event.encode_body_into(&mut plain)?;
            keyed.digest = self.store.digest_of(&plain);
            let (entity, key) = match *standing {
                Standing::Superseded => continue,
                Standing::Known(entity, known) if known.digest == keyed.digest && !known.absent => {
                    self.count_unchanged(entity, known.version);
                    continue;
                }
                Standing::Known(entity, known) => {
                    self.counts.changed += 1;
                    self.has_returned |= known.absent;
                    versions.push((entity, known.version));
                    (entity, None)
                }
                Standing::New => {
                    let (entity, key) = issued.next().ok_or(IntakeError::ReaderFailed)?;
                    self.counts.added += 1;
                    self.seen.insert(entity.0);
                    (entity, Some(key))
                }
            };
            let draft = self.draft(entity, occurred_at, event);
            events.push(self.store.prepare_encoded(draft, &plain, keyed, key.as_ref())?);
        }
        self.plain = plain;
        let condition = if versions.is_empty() { Condition::None } else { Condition::Versions(versions) };
        self.in_flight.send(self.store, events, condition, handles)
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

    /// Returns what of a mailbox is recorded under an id.
    pub(super) fn known(&self, source: &str, mailbox: EntityId, kind: Kind, id: &str) -> Option<EntityId> {
        let handle = self.store.handle_of(source, Some(mailbox), kind, id);
        self.store.view(|views| {
            let is_known =
                |entity: &EntityId| views.entities.row(*entity).is_some_and(|row| row.state != EntityState::Purged);
            views.entities.find(handle).filter(is_known)
        })
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
            layout: self.store.layout_id(&layout, self.started)?,
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

//! Items on their way into a bundle: read, opened and written down in pieces, on several threads, taken in order.
//!
//! The items of the next saga are made while the bundle of this one is verified and its keys are destroyed: the disk
//! is waited for anyway. What is made of a version stays right, since a version never changes; and whether the entity
//! is still there is asked of the views when it is taken.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, unbounded};
use retention_core::event::saga::SagaItem;
use retention_core::evidence::{ExportItem, ExportLayout, ItemLine};
use retention_core::id::{EntityId, LayoutId, Position};
use retention_core::record::EntityRecord;
use retention_core::view::EntityState;

use super::super::StageError;
use crate::ahead;
use crate::connector::archive::ArchiveError;
use crate::store::Store;

/// How many items are made in one piece.
const ITEMS_PER_PIECE: usize = 250;

/// How many stored bytes of items of the next saga are made ahead: a saga of usual items as a whole, and of large ones
/// only as many as fit into memory beside everything else.
const AHEAD_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The items of a saga could not be gone through.
pub(super) enum NotMade {
    /// The store could not be read.
    Store(StageError),
    /// An item is gone, or the archive did not take it.
    Archive(ArchiveError),
}

impl From<StageError> for NotMade {
    fn from(error: StageError) -> Self {
        Self::Store(error)
    }
}

impl From<ArchiveError> for NotMade {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

/// One item, ready to be written.
struct Made {
    entity: EntityId,
    version: Position,
    layout: Arc<ExportLayout>,
    record: EntityRecord,
    line: ItemLine,
}

/// Goes through items, in their planned versions, with their lines: all of what an export or its verification needs of
/// the log.
pub(super) fn each(
    store: &Store,
    items: &[SagaItem],
    ahead: Option<MadeAhead>,
    mut take: impl FnMut(&ExportItem<'_>, &ItemLine) -> Result<(), ArchiveError>,
) -> Result<(), NotMade> {
    let mut take_all = |made: Vec<Made>| {
        made.iter().try_for_each(|made| {
            let Made { entity, version, layout, record, line } = made;
            take(&ExportItem { entity: *entity, version: *version, layout, record }, line)
        })
    };
    let mut left = items;
    while let Some((made, later)) = ahead.as_ref().and_then(|ahead| ahead.next(store, left)) {
        take_all(made)?;
        left = later;
    }
    drop(ahead);
    let pieces = store.pieces(left, |item| item.version, ITEMS_PER_PIECE).map_err(StageError::from)?;
    ahead::in_order(&pieces, |piece| make(store, piece.items), |made| Ok(take_all(made?)?))
}

fn make(store: &Store, items: &[SagaItem]) -> Result<Vec<Made>, NotMade> {
    store.halt().check().map_err(StageError::from)?;
    let versions: Vec<Position> = items.iter().map(|item| item.version).collect();
    let records = store.records_at(&versions).map_err(StageError::from)?;
    let mut layouts: HashMap<LayoutId, Arc<ExportLayout>> = HashMap::new();
    let mut made = Vec::with_capacity(items.len());
    for (&SagaItem { entity, version, .. }, record) in items.iter().zip(records) {
        let record = record.ok_or(ArchiveError::Items { code: "item_gone" })?;
        let layout = match layouts.entry(record.layout) {
            Entry::Occupied(known) => Arc::clone(known.get()),
            Entry::Vacant(place) => {
                let layout = store.view(|views| views.small.layouts.get(record.layout).cloned());
                let layout = layout.ok_or(ArchiveError::Items { code: "layout_missing" })?;
                Arc::clone(place.insert(Arc::new(ExportLayout::of(layout))))
            }
        };
        let line = ExportItem { entity, version, layout: &layout, record: &record }.line();
        made.push(Made { entity, version, layout, record, line });
    }
    Ok(made)
}

/// Items of the saga that comes next, made by a thread of their own. Dropped, it waits for that thread.
pub(super) struct MadeAhead {
    pieces: Option<Receiver<Vec<Made>>>,
    thread: Option<JoinHandle<()>>,
}

impl MadeAhead {
    /// Begins; `None` when the system has no thread to spare, which costs nothing but time.
    pub(super) fn begin(store: &Arc<Store>, items: Vec<SagaItem>) -> Option<Self> {
        let (offer, pieces) = unbounded();
        let store = Arc::clone(store);
        let work = move || {
            let Ok(mut pieces) = store.pieces(&items, |item| item.version, ITEMS_PER_PIECE) else { return };
            let mut bytes = 0;
            pieces.retain(|piece| {
                bytes += piece.bytes;
                bytes <= AHEAD_BYTES_MAX
            });
            // What cannot be made is made again when it is needed, and the error is told then.
            let _offered = ahead::in_order(
                &pieces,
                |piece| make(&store, piece.items),
                |made| offer.send(made.map_err(drop)?).map_err(drop),
            );
        };
        let thread = std::thread::Builder::new().name("made-ahead".to_owned()).spawn(work).ok()?;
        Some(Self { pieces: Some(pieces), thread: Some(thread) })
    }

    /// Returns the next piece and what is left after it, if it is the beginning of `items` and all of it is still
    /// there.
    fn next<'a>(&self, store: &Store, items: &'a [SagaItem]) -> Option<(Vec<Made>, &'a [SagaItem])> {
        let made = self.pieces.as_ref()?.recv().ok()?;
        let (own, later) = items.split_at_checked(made.len())?;
        let is_same = |(made, item): (&Made, &SagaItem)| made.entity == item.entity && made.version == item.version;
        let is_there = made.iter().zip(own).all(is_same)
            && store.view(|views| {
                own.iter().all(|item| {
                    let row = views.entities.row(item.entity);
                    row.is_some_and(|row| row.state != EntityState::Purged && row.version == item.version)
                })
            });
        is_there.then_some((made, later))
    }
}

impl Drop for MadeAhead {
    fn drop(&mut self) {
        drop(self.pieces.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked made nothing more; what is needed is made again by the caller.
            drop(thread.join());
        }
    }
}

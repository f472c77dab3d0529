//! Items on their way into a bundle: read, opened and written down in pieces, on several threads, taken in order.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use retention_core::event::saga::SagaItem;
use retention_core::evidence::{ExportItem, ExportLayout, ItemLine};
use retention_core::id::{EntityId, LayoutId, Position};
use retention_core::record::EntityRecord;

use super::super::StageError;
use crate::ahead;
use crate::connector::archive::ArchiveError;
use crate::store::Store;
use crate::store::records::Piece;

/// How many items are made in one piece.
const ITEMS_PER_PIECE: usize = 250;

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
    mut take: impl FnMut(&ExportItem<'_>, &ItemLine) -> Result<(), ArchiveError>,
) -> Result<(), NotMade> {
    let mut take_all = |made: Vec<Made>| {
        made.iter().try_for_each(|made| {
            let Made { entity, version, layout, record, line } = made;
            take(&ExportItem { entity: *entity, version: *version, layout, record }, line)
        })
    };
    let pieces = store.pieces(items, |item| item.version, ITEMS_PER_PIECE).map_err(StageError::from)?;
    ahead::in_order(&pieces, |piece| make(store, piece), |made| Ok(take_all(made?)?))
}

fn make(store: &Store, piece: &Piece<'_, SagaItem>) -> Result<Vec<Made>, NotMade> {
    store.halt().check().map_err(StageError::from)?;
    let records = store.records_of(piece).map_err(StageError::from)?;
    let mut layouts: HashMap<LayoutId, Arc<ExportLayout>> = HashMap::new();
    let mut made = Vec::with_capacity(piece.items.len());
    for (&SagaItem { entity, version, .. }, record) in piece.items.iter().zip(records) {
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

//! The lossless files: items, the layouts they name, and the list of items that belongs to the manifest.

use std::collections::BTreeSet;

use retention_core::evidence::item::ITEM_LINE_BYTES_MAX;
use retention_core::evidence::{ExportItem, FileEntry, ItemLine};
use retention_core::id::Digest;

use super::durable::{Directory, HashedFile};
use super::{ArchiveError, ITEMS_FILE, LAYOUTS_FILE, MANIFEST_ITEMS_FILE};

/// Writes the lossless files of a bundle.
pub(super) struct LineFiles {
    items: HashedFile,
    layouts: HashedFile,
    listed: HashedFile,
    known: BTreeSet<Digest>,
    rows: u64,
}

impl LineFiles {
    pub(super) fn in_directory(directory: &Directory) -> Result<Self, ArchiveError> {
        let doing = || ArchiveError::io("make the files of a bundle");
        Ok(Self {
            items: directory.file_of_people(ITEMS_FILE).map_err(doing())?,
            // What people called their fields.
            layouts: directory.file_of_people(LAYOUTS_FILE).map_err(doing())?,
            listed: directory.file(MANIFEST_ITEMS_FILE).map_err(doing())?,
            known: BTreeSet::new(),
            rows: 0,
        })
    }

    pub(super) fn add(&mut self, item: &ExportItem<'_>, line: &ItemLine) -> Result<(), ArchiveError> {
        if line.bytes().len() as u64 >= ITEM_LINE_BYTES_MAX {
            return Err(ArchiveError::TooLarge { entity: item.entity });
        }
        if self.known.insert(item.layout.digest()) {
            item.layout.canonical_line(self.layouts.buffer());
            self.layouts.buffer().push(b'\n');
            self.layouts.drain().map_err(ArchiveError::io("write a layout"))?;
        }
        self.items.buffer().extend_from_slice(line.bytes());
        self.items.buffer().push(b'\n');
        line.expected().canonical_line(item.layout.layout().kind, self.listed.buffer());
        self.listed.buffer().push(b'\n');
        self.rows += 1;
        self.items.drain().and_then(|()| self.listed.drain()).map_err(ArchiveError::io("write an item"))
    }

    pub(super) fn finish(self) -> Result<Vec<FileEntry>, ArchiveError> {
        let layouts = self.known.len() as u64;
        [
            (ITEMS_FILE, self.items, self.rows),
            (LAYOUTS_FILE, self.layouts, layouts),
            (MANIFEST_ITEMS_FILE, self.listed, self.rows),
        ]
        .into_iter()
        .map(|(name, file, rows)| {
            let finished = file.finish().map_err(ArchiveError::io("make an item file durable"))?;
            Ok(FileEntry { rows: Some(rows), ..finished.entry(name) })
        })
        .collect()
    }
}

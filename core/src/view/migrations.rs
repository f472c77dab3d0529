//! Migrations of mailboxes: how far each is. Folders have numbers here; their names stand sealed in the log.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use crate::event::migration::{MigrationCopied, MigrationEnd};
use crate::event::{Envelope, Event};
use crate::id::{EntityId, MigrationId, Position};
use crate::time::Timestamp;

/// One folder of a migration.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FolderProgress {
    /// Where its `MigrationFolderOpened` stands, which has its names.
    pub opened: Position,
    /// Under which validity the source numbers its messages.
    pub source_validity: u32,
    /// Under which the target does.
    pub target_validity: u32,
    /// Everything up to this number was copied or left out.
    pub upto: u32,
    /// How many were copied.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many are too large, or are refused by the target for good.
    pub left_out: u64,
    /// Messages that may have been appended, and the lowest number they can have there.
    pub intent: Option<(Vec<u32>, u32)>,
    /// How many were looked for and how many are missing, once it was verified.
    pub verified: Option<(u64, u64)>,
}

/// One migration.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Migration {
    /// The mailbox that is copied.
    pub source: EntityId,
    /// The mailbox that it is copied into.
    pub target: EntityId,
    /// Messages of more bytes are left out.
    pub max_bytes: Option<u64>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// The migration of the same two mailboxes that this one continues.
    pub continues: Option<MigrationId>,
    /// Its folders, by number.
    pub folders: Vec<FolderProgress>,
    /// Why it does not go on for now, and until when.
    pub failed: Option<(String, Timestamp)>,
    /// Whether somebody stops it.
    pub is_stopped: bool,
    /// How it ended, why, and when.
    pub end: Option<(MigrationEnd, String, Timestamp)>,
}

impl Migration {
    /// Returns how many messages were copied, their bytes, and how many were left out.
    #[must_use]
    pub fn totals(&self) -> (u64, u64, u64) {
        self.folders.iter().fold((0, 0, 0), |(messages, bytes, left_out), folder| {
            (messages + folder.messages, bytes + folder.bytes, left_out + folder.left_out)
        })
    }

    /// Returns how many messages are missing at the target, as far as it was verified.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.folders.iter().filter_map(|folder| folder.verified).map(|(_, missing)| missing).sum()
    }
}

/// All migrations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Migrations {
    all: BTreeMap<MigrationId, Migration>,
}

impl Migrations {
    /// Returns one.
    #[must_use]
    pub fn get(&self, id: MigrationId) -> Option<&Migration> {
        self.all.get(&id)
    }

    /// Returns all, in the order in which they were asked for.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (MigrationId, &Migration)> {
        self.all.iter().map(|(id, migration)| (*id, migration))
    }

    /// Returns those that are not over.
    pub fn open(&self) -> impl Iterator<Item = (MigrationId, &Migration)> {
        self.iter().filter(|(_, migration)| migration.end.is_none())
    }

    /// Returns a migration that is not over and reads or writes a mailbox.
    #[must_use]
    pub fn using(&self, mailbox: EntityId) -> Option<MigrationId> {
        self.open().find(|(_, one)| one.source == mailbox || one.target == mailbox).map(|(id, _)| id)
    }

    pub(super) fn fold(&mut self, envelope: &Envelope, event: &Event) {
        match event {
            Event::MigrationRequested(body) => {
                let same =
                    |(_, one): &(MigrationId, &Migration)| one.source == body.source && one.target == body.target;
                let before = self.iter().rev().find(same);
                let continues = before.map(|(id, _)| id);
                let folders = before.map(|(_, one)| one.folders.clone()).unwrap_or_default();
                let folders = folders.into_iter().map(|folder| FolderProgress { verified: None, ..folder }).collect();
                let migration = Migration {
                    source: body.source,
                    target: body.target,
                    max_bytes: body.max_bytes,
                    requested_at: envelope.recorded_at,
                    continues,
                    folders,
                    failed: None,
                    is_stopped: false,
                    end: None,
                };
                self.all.insert(MigrationId(envelope.position), migration);
            }
            Event::MigrationFolderOpened(body) => self.with(body.migration, |migration| {
                migration.failed = None;
                let opened = FolderProgress {
                    opened: envelope.position,
                    source_validity: body.source_validity,
                    target_validity: body.target_validity,
                    upto: 0,
                    messages: 0,
                    bytes: 0,
                    left_out: 0,
                    intent: None,
                    verified: None,
                };
                let is_next = migration.folders.len() == body.folder as usize;
                match migration.folders.get_mut(body.folder as usize) {
                    // A server numbers its messages anew: what was noted by the old numbers says nothing any more.
                    Some(folder) => *folder = opened,
                    None if is_next => migration.folders.push(opened),
                    None => {}
                }
            }),
            Event::MigrationCopyStarted(body) => self.with_folder(body.migration, body.folder, |folder| {
                folder.intent = Some((body.uids.clone(), body.target_uid_next));
                folder.verified = None;
            }),
            Event::MigrationCopied(body) => {
                self.with_folder(body.migration, body.folder, |folder| folder.copied(body));
                self.with(body.migration, |migration| migration.failed = None);
            }
            Event::MigrationFolderVerified(body) => self.with_folder(body.migration, body.folder, |folder| {
                folder.verified = Some((body.messages, body.missing));
            }),
            Event::MigrationFailed(body) => self.with(body.migration, |migration| {
                migration.failed = Some((body.code.clone(), body.retry_at));
            }),
            Event::MigrationStopRequested(body) => self.with(body.migration, |migration| migration.is_stopped = true),
            Event::MigrationEnded(body) => self.with(body.migration, |migration| {
                migration.end = Some((body.end, body.code.clone(), envelope.recorded_at));
            }),
            _ => {}
        }
    }

    fn with(&mut self, id: MigrationId, change: impl FnOnce(&mut Migration)) {
        if let Some(migration) = self.all.get_mut(&id).filter(|migration| migration.end.is_none()) {
            change(migration);
        }
    }

    fn with_folder(&mut self, id: MigrationId, folder: u32, change: impl FnOnce(&mut FolderProgress)) {
        self.with(id, |migration| {
            if let Some(folder) = migration.folders.get_mut(folder as usize) {
                change(folder);
            }
        });
    }
}

impl FolderProgress {
    fn copied(&mut self, body: &MigrationCopied) {
        self.upto = self.upto.max(body.upto);
        self.messages += u64::from(body.messages);
        self.bytes += body.bytes;
        self.left_out += u64::from(body.left_out);
        self.intent = None;
    }
}

//! A store from a backup, in which nobody comes back.
//!
//! **Order.** Everything is made in `STATE/.restoring`: the backup is compared with its manifest while it is copied;
//! the journal is gone through, its tree is built and compared with every checkpoint that is known; the logs beside it
//! are heard ([`super::others`]); the keys are written without those that any of these logs or a ledger of erasures calls
//! destroyed; the store is opened, told in its log that it was restored, closed and verified. Only then it is moved into
//! its place, `FORMAT` last. So there is no store before all of that is done, and a crash anywhere is answered by asking
//! again.
//!
//! What is restored only observes: nothing is purged, and no access is given or taken, until a person confirms it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use retention_core::event::backup::{KeyDestroyedAgain, StoreRestored};
use retention_core::event::{Draft, Envelope, Event, EventType};
use retention_core::evidence::checkpoint::Checkpoint;
use retention_core::id::{EntityId, Position};
use retention_core::view::Condition;
use roaring::RoaringBitmap;

use super::ledger::{Beside, Erasure, LedgerError, Reach, Read};
use super::make::SIGNING_KEY;
use super::manifest::{Manifest, Part, segment_name};
use super::others::{Heard, Others};
use super::stamp::Stamp;
use super::{Around, BackupError, MEMORY, Places, copy, decrypt};
use crate::flush::Door;
use crate::keyholders::Identities;
use crate::store::durable_file::{self, DurableFileError, FileAction};
use crate::store::journal::JournalReader;
use crate::store::open::daemon_draft;
use crate::store::tree::Tree;
use crate::store::vault::seal::IndexKey;
use crate::store::vault::{FilesystemWarning, RootKey, Vault, rewrap};
use crate::store::{KeyState, OpenError, Options, Progress, ReadError, Store, refuse_as_root};

const STAGING: &str = ".restoring";
const COMPLETE: &str = "complete";
pub(super) const ROLE: &str = "directory of the restore";

/// What is moved into place, in this order.
pub(super) const MOVED: [&str; 6] = ["journal", "keys", "tree", "events", "events.state", "FORMAT"];

/// What may lie in the state directory before: the exports, which no backup has, and what the file system makes.
const MAY_LIE_THERE: [&str; 3] = ["exports", "lost+found", STAGING];

/// How many events are hashed, or appended, together.
pub(super) const EVENTS_TOGETHER: usize = 10_000;

/// What is known of the erasures after the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ledgers {
    /// Nothing: whoever was erased after the backup comes back. A person has said that this is so.
    None,
    /// These files.
    Files(Vec<PathBuf>),
}

/// What is to be restored.
pub struct Restore<'a> {
    /// Where to, and the root key.
    pub options: &'a Options,
    /// Where from.
    pub places: &'a Places,
    /// Which backup, by its last event; the newest without it.
    pub backup: Option<Position>,
    /// The erasures after it.
    pub ledgers: Ledgers,
    /// A newer backup in the same place that cannot be read is passed over. A person has said so.
    pub without_newer: bool,
    /// The state directories of stores that were lost, beside those that lie next to this one under its name.
    pub lost: Vec<PathBuf>,
    /// Signed checkpoints that others hold.
    pub checkpoints: Vec<String>,
    /// Private keys, for a backup that is encrypted.
    pub identities: Identities,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The backup.
    pub last: Position,
    /// When it was made.
    pub made_at: retention_core::time::Timestamp,
    /// How many keys were left out because a ledger, or a log beside the backup, names them.
    pub destroyed_again: u64,
    /// How far the ledger speaks that speaks furthest; `None` without one, and when this only ended a restore that was
    /// interrupted.
    pub ledger: Option<Reach>,
    /// The logs beside the backup, and what else is to be said of it.
    pub heard: Vec<Heard>,
    /// How many events are lost, as far as the newest checkpoint that was shown tells.
    pub missing: Option<u64>,
}

/// What going through the journal tells.
pub(super) struct Journal {
    pub(super) destroyed: RoaringBitmap,
    /// The positions of the restores that it tells of.
    restores: Vec<Position>,
    /// One more than its highest number of an entity.
    pub(super) used: u32,
}

impl Restore<'_> {
    /// Restores. Progress is in bytes, then in events.
    ///
    /// # Errors
    /// When anything is not as it should be: there is no store then, and the backup is as it was.
    pub fn run(&self, progress: Progress<'_>) -> Result<Restored, BackupError> {
        let state = &self.options.dir;
        durable_file::create_private_dir(state, ROLE)?;
        refuse_as_root(state)?;
        let _alone = keep_others_out(state)?;
        let staging = state.join(STAGING);
        if staging.join(COMPLETE).exists() {
            // All was done but the moving. What it said is in the log.
            put_in_place(&staging, state, self.around().door())?;
            return self.told();
        }
        refuse_to_overwrite(state)?;
        // They may be those of somebody whom this attempt leaves out.
        durable_file::discard_dir(&staging.join("keys"), ROLE)?;
        match std::fs::remove_dir_all(&staging) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(FileAction::Remove)(error).into());
            }
            _ => {}
        }
        for dir in [staging.clone(), staging.join("journal"), staging.join("keys"), staging.join("tree")] {
            durable_file::create_private_dir(&dir, ROLE)?;
        }
        let manifest = self.manifest()?;
        manifest.check_keys(self.places, &self.options.halt)?;
        let keys = self.keys(&manifest)?;
        let root = RootKey::read(&self.options.root_key).map_err(OpenError::from)?;
        let key = rewrap::index_key_of(keys.dir(), root)?;
        // All that follows is read as the manifest says.
        let (manifest, stamp) = Manifest::stamped(self.places, manifest.last, &key)?;
        self.copy_log(&manifest, keys.dir(), &staging, progress)?;
        let journal = self.go_through(&manifest, &staging, progress)?;
        let mut others = self.hear_others(&manifest, &journal, &key, &staging, progress)?;
        if stamp == Stamp::Missing {
            others.heard.insert(0, Heard::Unstamped { last: manifest.last });
        }
        let (again, ledger) = self.destroyed_since(&manifest, &key, &journal, &others)?;
        let options = Options { dir: staging.clone(), ..self.options.clone() };
        self.write_keys(keys.dir(), &journal, &again, &options, progress)?;
        drop(keys);
        durable_file::create_new(&staging.join("FORMAT"), crate::store::open::FORMAT_TEXT.as_bytes(), ROLE)?;
        self.tell(&manifest, &journal, &again, &options, progress)?;
        let report = Store::verify_stopped(&options, progress)?;
        if !report.is_good() {
            let said = report.findings.first().map(ToString::to_string).unwrap_or_default();
            return Err(BackupError::NotGood(said));
        }
        durable_file::create_new(&staging.join(COMPLETE), b"", ROLE)?;
        put_in_place(&staging, state, self.around().door())?;
        Ok(Restored { ledger, heard: others.heard, ..self.told()? })
    }

    fn around(&self) -> Around<'_> {
        Around { halt: &self.options.halt, gate: self.options.gate.as_ref() }
    }

    fn manifest(&self) -> Result<Manifest, BackupError> {
        let last = match self.backup {
            Some(last) => last,
            None => Manifest::list(self.places)?.pop().ok_or(BackupError::Absent)?,
        };
        Manifest::read(self.places, last)
    }

    /// Returns the copy of the keys, decrypted if need be.
    fn keys(&self, manifest: &Manifest) -> Result<Keys, BackupError> {
        let copied = self.places.keys_of(manifest.last);
        if !manifest.keys.iter().any(|part| part.encrypted.is_some()) {
            return Ok(Keys::Copied(copied));
        }
        let memory = Path::new(MEMORY);
        if !matches!(FilesystemWarning::of(memory), Ok(Some(FilesystemWarning::Tmpfs))) {
            return Err(BackupError::NoMemory);
        }
        let keys = Keys::Decrypted(durable_file::create_new_dir(memory, "retentiond-restore-", ROLE)?);
        for part in &manifest.keys {
            let (from, to) = (copied.join(part.file_name()), keys.dir().join(&part.name));
            self.bring_back(manifest, part, &from, &to, &mut |_| {})?;
        }
        Ok(keys)
    }

    /// Copies a file of the backup back as it was in the store.
    pub(super) fn bring_back(
        &self,
        manifest: &Manifest,
        part: &Part,
        from: &Path,
        to: &Path,
        done: &mut dyn FnMut(u64),
    ) -> Result<(), BackupError> {
        let around = self.around();
        let digest = match part.encrypted {
            None => {
                manifest.check_length(part, from)?;
                copy(from, to, part.bytes, around, done)?
            }
            Some(_) => {
                // Else a changed byte would look like a failing disk.
                manifest.check(part, from, around.halt)?;
                let decrypted = decrypt(from, to, part.bytes, &self.identities, around, done)?;
                decrypted.ok_or(BackupError::Encrypted { last: manifest.last })?
            }
        };
        if digest != part.sha256 {
            let what = "its SHA-256 is another one".to_owned();
            return Err(BackupError::Changed { last: manifest.last, file: part.name.clone(), what });
        }
        Ok(())
    }

    fn copy_log(
        &self,
        manifest: &Manifest,
        keys: &Path,
        staging: &Path,
        progress: Progress<'_>,
    ) -> Result<(), BackupError> {
        let total = manifest.bytes();
        let mut done = 0;
        let files = (1..).zip(&manifest.journal).map(|(number, part)| {
            let into = staging.join("journal").join(segment_name(number));
            (part, self.places.journal().join(part.file_name()), into)
        });
        let checkpoints =
            manifest.checkpoints.iter().map(|part| (part, self.places.checkpoints(), staging.join("tree/checkpoints")));
        let cosignatures = manifest
            .cosignatures
            .iter()
            .map(|part| (part, self.places.cosignatures(&part.name), staging.join("tree/cosignatures")));
        for (part, from, to) in files.chain(checkpoints).chain(cosignatures) {
            self.options.halt.check().map_err(ReadError::from)?;
            self.bring_back(manifest, part, &from, &to, &mut |more| {
                done += more;
                progress(done, total);
            })?;
        }
        if let Some(part) = manifest.keys.iter().find(|part| part.name == SIGNING_KEY) {
            let (from, to) = (keys.join(SIGNING_KEY), staging.join("tree").join(SIGNING_KEY));
            copy(&from, &to, part.bytes, self.around(), &mut |_| {})?;
        }
        Ok(())
    }

    /// Reads every event, builds the tree over them, and notes what was destroyed.
    fn go_through(&self, manifest: &Manifest, staging: &Path, progress: Progress<'_>) -> Result<Journal, BackupError> {
        let changed = || BackupError::Changed {
            last: manifest.last,
            file: "journal".to_owned(),
            what: "it does not end with the event that the manifest names".to_owned(),
        };
        let tree = Tree::open(staging)?;
        let reader = JournalReader::at(&staging.join("journal"));
        let mut journal = Journal { destroyed: RoaringBitmap::new(), restores: Vec::new(), used: 1 };
        let mut together: Vec<Envelope> = Vec::with_capacity(EVENTS_TOGETHER);
        let mut newest = None;
        for entry in reader.events_after(Position::NONE, manifest.last).map_err(ReadError::from)? {
            self.options.halt.check().map_err(ReadError::from)?;
            let (_, stored) = entry.map_err(ReadError::from)?;
            let envelope = stored.envelope;
            if let Some(entity) = envelope.entity {
                journal.used = journal.used.max(entity.0.saturating_add(1));
                if EventType::is_destruction(envelope.event_type) {
                    journal.destroyed.insert(entity.0);
                }
            }
            if envelope.event_type == EventType::StoreRestored as u16 {
                journal.restores.push(envelope.position);
            }
            newest = Some(envelope);
            together.push(envelope);
            if together.len() == EVENTS_TOGETHER {
                tree.append(&together)?;
                together.clear();
                progress(envelope.position.0, manifest.last.0);
            }
        }
        tree.append(&together)?;
        let newest = newest.ok_or_else(changed)?;
        if newest.position != manifest.last || retention_core::id::Digest::of(&newest.to_bytes()) != manifest.envelope {
            return Err(changed());
        }
        for size in self.checkpoints.iter().filter_map(|note| Checkpoint::unverified(note).ok()) {
            if size.size <= manifest.last.0 && tree.root_at(size.size)? != size.root {
                return Err(BackupError::Contradicts { size: size.size });
            }
        }
        Ok(journal)
    }

    /// Reads the ledgers. Returns what they and the logs beside the backup call destroyed, of what the backup has and does not
    /// call destroyed itself, and how far the ledgers speak. All that the backup or a newer one calls destroyed must be in the
    /// ledgers, or they end before it.
    fn destroyed_since(
        &self,
        manifest: &Manifest,
        key: &IndexKey,
        journal: &Journal,
        others: &Others,
    ) -> Result<(BTreeMap<EntityId, Erasure>, Option<Reach>), BackupError> {
        let mut again = others.lost.clone();
        again.extend(&others.newer);
        let Ledgers::Files(files) = &self.ledgers else { return Ok((again, None)) };
        let mut store = [0; 16];
        hex::decode_to_slice(&manifest.store, &mut store).map_err(|_| BackupError::OtherLog)?;
        let mut lacking = journal.destroyed.clone();
        // The store that was lost may have destroyed a key in its last second: that is in no ledger yet.
        lacking.extend(others.newer.keys().map(|entity| entity.0));
        let mut reach = Reach::default();
        let log = Beside { restores: &journal.restores, used: journal.used };
        for file in files {
            let read = Read::beside(file, key, store, log)?;
            if read.is_empty() {
                return Err(LedgerError::Empty.into());
            }
            if read.reach.until >= reach.until {
                reach = read.reach;
            }
            lacking -= read.destroyed.keys().map(|entity| entity.0).collect::<RoaringBitmap>();
            again.extend(read.destroyed.into_iter().filter(|(entity, _)| {
                entity.0 < journal.used && entity.0 > 0 && !journal.destroyed.contains(entity.0)
            }));
        }
        match lacking.len() {
            0 => Ok((again, Some(reach))),
            lacking => Err(LedgerError::Short { lacking }.into()),
        }
    }

    /// Writes the keys, without those that must not come back, and looks for each of these.
    fn write_keys(
        &self,
        keys: &Path,
        journal: &Journal,
        again: &BTreeMap<EntityId, Erasure>,
        options: &Options,
        progress: Progress<'_>,
    ) -> Result<(), BackupError> {
        let root = || RootKey::read(&self.options.root_key).map_err(OpenError::from);
        let mut left_out = journal.destroyed.clone();
        left_out.extend(again.keys().map(|entity| entity.0));
        let into = options.dir.join("keys");
        let halt = &options.halt;
        rewrap::rewrap(keys, &into, root()?, journal.used, &left_out, halt, progress)?;
        let vault = Vault::open_read_only(&into, root()?, journal.used)?;
        let entities: Vec<EntityId> = left_out.iter().map(EntityId).collect();
        for part in entities.chunks(EVENTS_TOGETHER) {
            if vault.keys_of(part)?.iter().any(|state| *state != KeyState::Destroyed) {
                return Err(BackupError::NotGood("a key that must not come back is there".to_owned()));
            }
        }
        Ok(())
    }

    /// Puts into the log what was destroyed again, and that it was restored.
    fn tell(
        &self,
        manifest: &Manifest,
        journal: &Journal,
        again: &BTreeMap<EntityId, Erasure>,
        options: &Options,
        progress: Progress<'_>,
    ) -> Result<(), BackupError> {
        let store = Store::open(options, progress)?;
        let keys =
            store.view(|views| views.small.signing_keys.iter().map(|key| key.verifier_key.clone()).collect::<Vec<_>>());
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut newest = None;
        for note in &self.checkpoints {
            let checkpoint = Checkpoint::verify(note, &keys).map_err(|_| BackupError::NotSigned)?;
            newest = newest.max(Some(checkpoint.size));
        }
        let drafts: Vec<Draft> = again
            .iter()
            .map(|(entity, erasure)| Draft {
                stream: store.stream_of(*entity),
                entity: Some(*entity),
                ..daemon_draft(Event::KeyDestroyedAgain(KeyDestroyedAgain {
                    lost: erasure.position,
                    destroyed_at: erasure.at,
                }))
            })
            .collect();
        for part in drafts.chunks(EVENTS_TOGETHER) {
            store.append_drafts(part.to_vec(), Condition::None)?;
        }
        let restored = StoreRestored {
            last: manifest.last,
            made_at: manifest.made_at,
            entities: journal.used,
            destroyed_again: again.len() as u64,
            ledger_read: matches!(self.ledgers, Ledgers::Files(_)),
            checkpoint: newest,
        };
        store.append_drafts(vec![daemon_draft(Event::StoreRestored(restored))], Condition::None)?;
        store.close()?;
        Ok(())
    }

    /// Returns what the restored log says of its restore.
    fn told(&self) -> Result<Restored, BackupError> {
        let store = Store::open(self.options, &mut |_, _| {})?;
        let restored = store.view(|views| views.small.restored.waits().map(|(_, body)| body.clone()));
        store.close()?;
        let Some(body) = restored else { return Err(BackupError::NotGood("it says nothing of a restore".to_owned())) };
        Ok(Restored {
            last: body.last,
            made_at: body.made_at,
            destroyed_again: body.destroyed_again,
            ledger: None,
            heard: vec![Heard::Before { ledger_read: body.ledger_read }],
            missing: body.checkpoint.map(|size| size.saturating_sub(body.last.0)),
        })
    }
}

/// The copy of the keys that is read.
enum Keys {
    Copied(PathBuf),
    Decrypted(PathBuf),
}

impl Keys {
    fn dir(&self) -> &Path {
        let (Self::Copied(dir) | Self::Decrypted(dir)) = self;
        dir
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Self::Decrypted(dir) = self
            && let Err(error) = durable_file::discard_dir(dir, ROLE)
        {
            tracing::error!(%error, dir = %dir.display(), "decrypted keys are still in memory: remove this directory");
        }
    }
}

/// Keeps other restores into a directory out for as long as it lives: each makes its store in the same place. Where the file
/// system locks no directory there is nothing that could.
fn keep_others_out(state: &Path) -> Result<File, BackupError> {
    let dir = File::open(state).map_err(failed(FileAction::Open))?;
    match rustix::fs::flock(&dir, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(BackupError::UnderWay),
        _ => Ok(dir),
    }
}

fn refuse_to_overwrite(state: &Path) -> Result<(), BackupError> {
    for entry in std::fs::read_dir(state).map_err(failed(FileAction::Read))? {
        let name = entry.map_err(failed(FileAction::Read))?.file_name();
        if !name.to_str().is_some_and(|name| MAY_LIE_THERE.contains(&name)) {
            return Err(BackupError::InTheWay { what: "the state directory" });
        }
    }
    Ok(())
}

/// Moves a store that is complete into its place. What was moved before is not there any more, so doing it again is the
/// same.
fn put_in_place(staging: &Path, state: &Path, door: Door<'_>) -> Result<(), BackupError> {
    for name in MOVED {
        let from = staging.join(name);
        if from.exists() {
            durable_file::rename_through(door, &from, &state.join(name), ROLE)?;
        }
    }
    std::fs::remove_dir_all(staging).map_err(failed(FileAction::Remove))?;
    Ok(durable_file::fsync_dir_through(door, state, ROLE)?)
}

pub(super) fn failed(action: FileAction) -> impl FnOnce(std::io::Error) -> DurableFileError {
    durable_file::failed(ROLE, action)
}

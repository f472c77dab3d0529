//! The Merkle tree over the event log, beside the journal: its hashes in `tree/hashes`, its signed checkpoints in
//! `tree/checkpoints`, which are kept for ever, and what witnesses signed over these in `tree/cosignatures`. Formats:
//! `docs/formats.md`.
//!
//! **Order of what is written**, so that no checkpoint ever speaks of what a power cut could take back:
//! 1. the event is durable in the journal;
//! 2. its hashes are written and flushed;
//! 3. the checkpoint is signed, written and flushed;
//! 4. only then is it handed out.
//!
//! **Trust.** Hashes can be made again from the journal and are believed only up to the newest checkpoint, against
//! which they are compared at every start. A journal that contradicts a checkpoint is no longer the log that was
//! signed: that is damage, never mended in silence.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use retention_core::event::Envelope;
use retention_core::evidence::checkpoint::{Checkpoint, CheckpointError};
use retention_core::evidence::tree::{self, HASH_BYTES, StoredHashes, TreeError};
use retention_core::id::{Digest, Position};

use super::durable_file::{self, DurableFileError, FileAction};
use crate::flush::{Flush, FlushGate, OpenGate, through};

mod check;
mod cosignatures;
mod notes;
mod proofs;

pub(super) use check::TreeCheck;
pub use cosignatures::Cosignatures;
use notes::{NoteReader, Noted, Notes, PLACES_APART, read_note, read_notes};
pub use proofs::Told;

const HASHES: &str = "hashes of the tree";
const CHECKPOINTS: &str = "checkpoints of the tree";
const DIR: &str = "directory of the tree";

/// The tree cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum TreeFileError {
    /// A file.
    #[error(transparent)]
    File(#[from] DurableFileError),
    /// The journal is not the log that a checkpoint speaks of.
    #[error(
        "the journal contradicts the checkpoint that was signed over its first {size} events: an event was changed, lost or put in since. Nothing was changed; compare with a backup and with the checkpoints that others hold"
    )]
    Contradicts {
        /// How many events the checkpoint covers.
        size: u64,
    },
    /// Checkpoints were signed, and their file is gone.
    #[error(
        "tree/checkpoints is missing although the log adopted a key that signs them; nothing is signed until it is back. Restore the file from a backup, compare it with checkpoints that others hold, and start again; if there is none anywhere, put an empty file in its place: then the log is believed as it is"
    )]
    CheckpointsMissing,
    /// The events do not follow those that the tree holds.
    #[error("the tree was handed events that do not follow its last one; nothing was changed")]
    OutOfOrder,
    /// A hash is not where it should be.
    #[error("the hashes of the tree are shorter than they should be; they are made again at the next start")]
    Short,
    /// A hash below the root is not what it was.
    #[error(
        "a hash of the tree was changed on disk, so no proof is handed out; stop the daemon, remove tree/hashes and start it again: they are made anew from the journal"
    )]
    HashChanged,
    /// What lies among the cosignatures is none.
    #[error(
        "tree/cosignatures is damaged at byte {0}: witnesses are asked for nothing until it is whole again, and checkpoints are signed as before. Restore the file from a backup; if there is none, keep it elsewhere and move it away: a new one is begun"
    )]
    CosignaturesDamaged(u64),
    /// The key.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl From<TreeError> for TreeFileError {
    fn from(_: TreeError) -> Self {
        Self::Short
    }
}

struct State {
    leaves: u64,
    notes: Notes,
    /// What the newest checkpoint says, until the hashes have reached it.
    owed: Option<(u64, Digest)>,
}

/// The tree. One writer, the attest stage; everybody else reads.
pub struct Tree {
    hashes: File,
    checkpoints: File,
    gate: Arc<dyn FlushGate>,
    state: RwLock<State>,
    cosignatures: Result<Cosignatures, TreeFileError>,
    /// What was handed out last, and where the cosignatures ended then: proofs are often asked for one after another.
    told_last: Mutex<Option<(u64, Told)>>,
}

/// Hashes in the file, with those that are about to be written after them.
struct Hashes<'a> {
    file: &'a File,
    first_new: u64,
    new: &'a [Digest],
}

impl StoredHashes for Hashes<'_> {
    fn read(&self, numbers: &[u64]) -> Option<Vec<Digest>> {
        let one = |number: &u64| {
            if let Some(index) = number.checked_sub(self.first_new) {
                return self.new.get(usize::try_from(index).ok()?).copied();
            }
            let mut hash = [0; HASH_BYTES];
            self.file.read_exact_at(&mut hash, number.checked_mul(HASH_BYTES as u64)?).ok()?;
            Some(Digest(hash))
        };
        numbers.iter().map(one).collect()
    }
}

impl Tree {
    /// Opens the tree below the directory of a store, or makes an empty one. Hashes that the newest checkpoint does not
    /// cover, or that differ from it, are dropped, to be made again from the journal.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn open(store: &Path) -> Result<Self, TreeFileError> {
        Self::gated(store, Arc::new(OpenGate))
    }

    /// As [`Self::open`], with a gate around every flush.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn gated(store: &Path, gate: Arc<dyn FlushGate>) -> Result<Self, TreeFileError> {
        let dir = store.join("tree");
        durable_file::create_private_dir(&dir, DIR)?;
        let hashes = durable_file::open_or_create(&dir.join("hashes"), HASHES)?;
        let checkpoints = durable_file::open_or_create(&dir.join("checkpoints"), CHECKPOINTS)?;
        let notes = read_notes(&checkpoints)?;
        checkpoints.set_len(notes.end).map_err(durable_file::failed(CHECKPOINTS, FileAction::Write))?;
        // Whoever signed the newest may have been killed before it was flushed, and from here on it is handed out.
        if notes.newest.is_some() {
            through((gate.as_ref(), Flush::Checkpoint), || checkpoints.sync_data())
                .map_err(durable_file::failed(CHECKPOINTS, FileAction::Sync))?;
        }
        let newest = match notes.newest {
            Some(noted) => Checkpoint::unverified(&read_note(&checkpoints, noted)?).ok(),
            None => None,
        };
        let owed = newest.map(|checkpoint| (checkpoint.size, checkpoint.root));
        let read = Hashes { file: &hashes, first_new: u64::MAX, new: &[] };
        let leaves = match owed {
            Some((size, root)) if tree::root(size, &read) == Ok(root) => size,
            _ => 0,
        };
        let kept = tree::stored_count(leaves).saturating_mul(HASH_BYTES as u64);
        hashes.set_len(kept).map_err(durable_file::failed(HASHES, FileAction::Write))?;
        let state = State { leaves, notes, owed: owed.filter(|(size, _)| *size > leaves) };
        let cosignatures = Cosignatures::open(&dir, Arc::clone(&gate));
        if let Err(error) = &cosignatures {
            tracing::error!(%error, "the cosignatures of witnesses cannot be used");
        }
        Ok(Self { hashes, checkpoints, state: RwLock::new(state), cosignatures, told_last: Mutex::default(), gate })
    }

    /// Opens the tree of a log that adopted a key: the file of its checkpoints was made before that, so it must be
    /// there.
    ///
    /// # Errors
    /// As [`Self::open`], and when the checkpoints are gone; then nothing is made.
    pub fn reopen(store: &Path) -> Result<Self, TreeFileError> {
        let dir = store.join("tree");
        let is_there =
            |name: &str, role| dir.join(name).try_exists().map_err(durable_file::failed(role, FileAction::Open));
        if !is_there("checkpoints", CHECKPOINTS)? {
            return Err(TreeFileError::CheckpointsMissing);
        }
        if !is_there("hashes", HASHES)? {
            tracing::warn!(
                "tree/hashes is missing; it is made again from the journal and compared with the newest checkpoint"
            );
        }
        Self::open(store)
    }

    /// Returns how many events the tree holds.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        self.state.read().leaves
    }

    /// Returns how many events the newest checkpoint covers.
    #[must_use]
    pub fn covered(&self) -> u64 {
        self.state.read().notes.newest.map_or(0, |noted| noted.size)
    }

    /// Returns how many events the newest checkpoint covers, as long as the hashes have not reached it: then nobody has
    /// compared it with the journal yet.
    #[must_use]
    pub fn owed(&self) -> Option<u64> {
        self.state.read().owed.map(|(size, _)| size)
    }

    /// Appends events, which are durable in the journal, in the order of their positions. Their hashes are flushed.
    ///
    /// # Errors
    /// When they do not follow, contradict a checkpoint, or cannot be written.
    pub fn append(&self, envelopes: &[Envelope]) -> Result<(), TreeFileError> {
        let (mut leaves, owed) = {
            let state = self.state.read();
            (state.leaves, state.owed)
        };
        let first_new = tree::stored_count(leaves);
        let mut new: Vec<Digest> = Vec::with_capacity(envelopes.len() * 2);
        for envelope in envelopes {
            if envelope.position.0 != leaves + 1 {
                return Err(TreeFileError::OutOfOrder);
            }
            let leaf = tree::leaf(&envelope.to_bytes());
            let hashes = tree::appended(leaves, leaf, &Hashes { file: &self.hashes, first_new, new: &new })?;
            new.extend(hashes);
            leaves += 1;
            if let Some((size, root)) = owed
                && size == leaves
                && tree::root(leaves, &Hashes { file: &self.hashes, first_new, new: &new })? != root
            {
                return Err(TreeFileError::Contradicts { size });
            }
        }
        let bytes: Vec<u8> = new.iter().flat_map(|hash| hash.0).collect();
        let written = self.hashes.write_all_at(&bytes, first_new.saturating_mul(HASH_BYTES as u64));
        written.map_err(durable_file::failed(HASHES, FileAction::Write))?;
        self.flush(Flush::Hashes, &self.hashes).map_err(durable_file::failed(HASHES, FileAction::Sync))?;
        let mut state = self.state.write();
        state.leaves = leaves;
        state.owed = owed.filter(|(size, _)| *size > leaves);
        Ok(())
    }

    /// Signs a checkpoint over all events of the tree, flushes it, and returns it; nothing when the newest covers them
    /// all, or when the tree has not reached the newest yet.
    ///
    /// # Errors
    /// When the key is none, or it cannot be written.
    pub fn checkpoint(&self, origin: &str, signer_key: &str) -> Result<Option<String>, TreeFileError> {
        let (leaves, end) = {
            let state = self.state.read();
            if state.owed.is_some() || state.leaves <= state.notes.newest.map_or(0, |noted| noted.size) {
                return Ok(None);
            }
            (state.leaves, state.notes.end)
        };
        let root = tree::root(leaves, &self.read())?;
        let note = Checkpoint { origin: origin.to_owned(), size: leaves, root }.sign(signer_key)?;
        let head = format!("{}\n", note.len());
        let framed = format!("{head}{note}");
        let written = self.checkpoints.write_all_at(framed.as_bytes(), end);
        written.map_err(durable_file::failed(CHECKPOINTS, FileAction::Write))?;
        self.flush(Flush::Checkpoint, &self.checkpoints)
            .map_err(durable_file::failed(CHECKPOINTS, FileAction::Sync))?;
        let noted = Noted { size: leaves, at: end + head.len() as u64, len: note.len() };
        self.state.write().notes.push(noted, end);
        Ok(Some(note))
    }

    /// Returns the signed checkpoints with numbers from `from` on, counted from 0, at most so many.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn checkpoints(&self, from: u64, limit: usize) -> Result<Vec<String>, TreeFileError> {
        let (place, end) = {
            let notes = &self.state.read().notes;
            let place = usize::try_from(from / PLACES_APART).ok().and_then(|index| notes.places.get(index).copied());
            (place, notes.end)
        };
        let Some((place, _)) = place else { return Ok(Vec::new()) };
        let mut reader = NoteReader::of(&self.checkpoints, place, end);
        let mut passed = from % PLACES_APART;
        let mut notes = Vec::new();
        while notes.len() < limit
            && let Some((_, note)) = reader.next()?
        {
            match passed.checked_sub(1) {
                Some(left) => passed = left,
                None => notes.push(note),
            }
        }
        Ok(notes)
    }

    /// Returns the cosignatures that are kept.
    ///
    /// # Errors
    /// Says why they cannot be used.
    pub fn cosignatures(&self) -> Result<&Cosignatures, &TreeFileError> {
        self.cosignatures.as_ref()
    }

    /// Returns the root over the first `size` events.
    ///
    /// # Errors
    /// When the tree does not hold so many.
    pub fn root_at(&self, size: u64) -> Result<Digest, TreeFileError> {
        if size > self.leaves() {
            return Err(TreeFileError::Short);
        }
        Ok(tree::root(size, &self.read())?)
    }

    /// Returns the checkpoint over exactly `size` events, as the log signed it.
    ///
    /// # Errors
    /// When the checkpoints cannot be read.
    pub fn note_over(&self, size: u64) -> Result<Option<String>, TreeFileError> {
        Ok(self.newest_upto(size)?.filter(|(noted, _)| noted.size == size).map(|(_, note)| note))
    }

    /// Returns the newest checkpoint that covers at most `size` events.
    fn newest_upto(&self, size: u64) -> Result<Option<(Noted, String)>, TreeFileError> {
        let (place, end) = {
            let notes = &self.state.read().notes;
            // The last place whose first one covers at most so many: it lies before the first one of the next place.
            let after = notes.places.partition_point(|(_, first)| *first <= size);
            (after.checked_sub(1).and_then(|index| notes.places.get(index).copied()), notes.end)
        };
        let Some((place, _)) = place else { return Ok(None) };
        let mut reader = NoteReader::of(&self.checkpoints, place, end);
        let mut newest = None;
        while let Some((noted, note)) = reader.next()?
            && noted.size <= size
        {
            newest = Some((noted, note));
        }
        Ok(newest)
    }

    /// Returns the newest checkpoint.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn newest(&self) -> Result<Option<(u64, String)>, TreeFileError> {
        let newest = self.state.read().notes.newest;
        newest.map(|noted| Ok((noted.size, read_note(&self.checkpoints, noted)?))).transpose()
    }

    /// Returns where the newest checkpoint ends, in the file, that covers at most `size` events; 0 without one.
    ///
    /// # Errors
    /// When the checkpoints cannot be read.
    pub fn checkpoints_end(&self, size: u64) -> Result<u64, TreeFileError> {
        Ok(self.newest_upto(size)?.map_or(0, |(noted, _)| noted.at + noted.len as u64))
    }

    /// Returns the position that the next event of the tree has.
    #[must_use]
    pub fn next(&self) -> Position {
        Position(self.leaves() + 1)
    }

    fn flush(&self, what: Flush, file: &File) -> io::Result<()> {
        through((self.gate.as_ref(), what), || file.sync_data())
    }

    fn read(&self) -> Hashes<'_> {
        Hashes { file: &self.hashes, first_new: u64::MAX, new: &[] }
    }
}

#[cfg(test)]
mod tests;

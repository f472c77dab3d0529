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
use retention_core::evidence::cosignature::{Cosignature, cosigned, parts_of};
use retention_core::evidence::growth::GrowthProof;
use retention_core::evidence::proof::EventProof;
use retention_core::evidence::tree::{self, HASH_BYTES, StoredHashes, TreeError};
use retention_core::id::{Digest, Position};

use super::durable_file::{self, DurableFileError, FileAction};
use crate::flush::{Flush, FlushGate, OpenGate};

mod check;
mod cosignatures;
mod notes;

pub(super) use check::TreeCheck;
pub use cosignatures::Cosignatures;
use notes::{NoteReader, Noted, Notes, PLACES_APART, read_note, read_notes};

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

/// A signed checkpoint, as it is handed out.
#[derive(Debug, Clone)]
pub struct Told {
    /// How many events it covers.
    pub size: u64,
    /// The signed note, with the lines of the witnesses below that of the log.
    pub note: String,
    /// The same without the witnesses.
    pub plain: String,
    /// What witnesses signed over it.
    pub cosignatures: Vec<Cosignature>,
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
        let cosignatures = Cosignatures::open(&dir);
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
        let Some(place) = place else { return Ok(Vec::new()) };
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

    /// Proves that an event stands in the log, by the checkpoint that most witnesses cosigned lately, or else by the
    /// newest; `None` when none covers it yet. No proof is handed out that does not hold.
    ///
    /// # Errors
    /// When a hash or the checkpoint cannot be read, or a hash was changed.
    pub fn prove(&self, envelope: &Envelope) -> Result<Option<EventProof>, TreeFileError> {
        match self.covering(envelope.position)? {
            Some(told) => self.prove_by(told.size, told.note, envelope).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the checkpoint by which an event is proven: the one that most witnesses cosigned lately, of those that
    /// cover it, or else the newest; `None` when none covers it yet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn covering(&self, position: Position) -> Result<Option<Told>, TreeFileError> {
        let Some(leaf) = position.0.checked_sub(1) else { return Ok(None) };
        let told = match self.best_above(leaf) {
            Some(size) => self.told(size)?,
            None => None,
        };
        match told {
            Some(told) => Ok(Some(told)),
            None if self.covered() > leaf => self.told(self.covered()),
            None => Ok(None),
        }
    }

    /// Proves that an event stands in the log by this checkpoint over so many events. No proof is handed out that does
    /// not hold.
    ///
    /// # Errors
    /// When a hash cannot be read, or was changed.
    pub fn prove_by(&self, size: u64, checkpoint: String, envelope: &Envelope) -> Result<EventProof, TreeFileError> {
        let leaf = envelope.position.0.saturating_sub(1);
        let path = tree::prove(size, leaf, &self.read())?;
        let root = Checkpoint::unverified(&checkpoint)?.root;
        tree::check(&path, size, root, leaf, tree::leaf(&envelope.to_bytes()))
            .map_err(|_| TreeFileError::HashChanged)?;
        Ok(EventProof { envelope: envelope.to_bytes(), leaf, path, checkpoint })
    }

    /// Returns the cosignatures that are kept.
    ///
    /// # Errors
    /// Says why they cannot be used.
    pub fn cosignatures(&self) -> Result<&Cosignatures, &TreeFileError> {
        self.cosignatures.as_ref()
    }

    /// Returns over how many events the checkpoint is that most witnesses cosigned lately, of those above a leaf.
    fn best_above(&self, leaf: u64) -> Option<u64> {
        self.cosignatures.as_ref().ok().and_then(|kept| kept.best_above(leaf))
    }

    /// Returns the checkpoint over exactly so many events, with what witnesses signed over it. A cosignature that does
    /// not hold any more is left out.
    fn told(&self, size: u64) -> Result<Option<Told>, TreeFileError> {
        let kept_end = self.cosignatures.as_ref().map_or(0, Cosignatures::end);
        if let Some((end, told)) = &*self.told_last.lock()
            && (*end, told.size) == (kept_end, size)
        {
            return Ok(Some(told.clone()));
        }
        let newest = self.state.read().notes.newest.filter(|noted| noted.size == size);
        let note = match newest {
            Some(noted) => Some(read_note(&self.checkpoints, noted)?),
            None => self.note_over(size)?,
        };
        let Some(note) = note else { return Ok(None) };
        let mut cosignatures = match &self.cosignatures {
            Ok(kept) => kept.over(size)?,
            Err(_) => Vec::new(),
        };
        let text = parts_of(&note).map_or("", |(text, _)| text);
        cosignatures.retain(|cosignature| {
            let holds = cosignature.check(text).is_ok();
            if !holds {
                tracing::error!(
                    size,
                    witness = cosignature.witness(),
                    "a cosignature was changed on disk and is not handed out; see retentionctl store verify"
                );
            }
            holds
        });
        let told = Told { size, note: cosigned(&note, &cosignatures), plain: note, cosignatures };
        *self.told_last.lock() = Some((kept_end, told.clone()));
        Ok(Some(told))
    }

    /// Returns the newest checkpoint with what witnesses signed over it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn newest_told(&self) -> Result<Option<Told>, TreeFileError> {
        self.told(self.covered())
    }

    /// Returns the checkpoint that most witnesses cosigned lately, and of several the newest; `None` without one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn newest_cosigned(&self) -> Result<Option<Told>, TreeFileError> {
        self.best_above(0).map_or(Ok(None), |size| self.told(size))
    }

    /// Proves to a witness that the log only grew since the first `before` events, up to a signed checkpoint. No proof
    /// is handed out that does not hold.
    ///
    /// # Errors
    /// When a hash cannot be read, or was changed.
    pub fn growth_since(&self, before: u64, checkpoint: &Checkpoint) -> Result<Vec<Digest>, TreeFileError> {
        if before == 0 || before == checkpoint.size {
            return Ok(Vec::new());
        }
        let path = tree::prove_growth(before, checkpoint.size, &self.read())?;
        tree::check_growth(&path, (before, self.root_at(before)?), (checkpoint.size, checkpoint.root))
            .map_err(|_| TreeFileError::HashChanged)?;
        Ok(path)
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

    /// Proves that the log has only grown between two of its checkpoints, by how many events they cover; `None` when
    /// one of them was never signed. No proof is handed out that does not hold.
    ///
    /// # Errors
    /// When a hash or a checkpoint cannot be read, or a hash was changed.
    pub fn prove_growth(&self, before: u64, after: u64) -> Result<Option<GrowthProof>, TreeFileError> {
        let (Some(old), Some(new)) = (self.told(before)?, self.told(after)?) else { return Ok(None) };
        let path = tree::prove_growth(before, after, &self.read())?;
        let roots = (Checkpoint::unverified(&old.note)?.root, Checkpoint::unverified(&new.note)?.root);
        tree::check_growth(&path, (before, roots.0), (after, roots.1)).map_err(|_| TreeFileError::HashChanged)?;
        Ok(Some(GrowthProof { before: old.note, after: new.note, path }))
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
        let (places, end) = {
            let notes = &self.state.read().notes;
            (notes.places.clone(), notes.end)
        };
        for place in places.into_iter().rev() {
            let mut reader = NoteReader::of(&self.checkpoints, place, end);
            let mut newest = None;
            while let Some((noted, note)) = reader.next()?
                && noted.size <= size
            {
                newest = Some((noted, note));
            }
            if newest.is_some() {
                return Ok(newest);
            }
        }
        Ok(None)
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
        self.gate.before(what)?;
        file.sync_data()?;
        self.gate.after(what)
    }

    fn read(&self) -> Hashes<'_> {
        Hashes { file: &self.hashes, first_new: u64::MAX, new: &[] }
    }
}

#[cfg(test)]
mod tests {
    use retention_core::event::Actor;
    use retention_core::evidence::checkpoint::keys_of;
    use retention_core::id::StreamId;
    use retention_core::time::Timestamp;

    use super::*;

    fn envelope(position: u64, digest: u8) -> Envelope {
        Envelope {
            event_type: 2,
            schema: 1,
            sealed: true,
            actor: Actor::Daemon,
            position: Position(position),
            recorded_at: Timestamp(5),
            occurred_at: Timestamp(5),
            stream: StreamId([1; 16]),
            cause: Position(0),
            entity: None,
            texts: None,
            body_len: 3,
            body_digest: Digest([digest; 32]),
        }
    }

    fn envelopes(range: std::ops::RangeInclusive<u64>) -> Vec<Envelope> {
        range.map(|position| envelope(position, 7)).collect()
    }

    fn key() -> (String, String) {
        let (signer, verifier) = keys_of(&[3; 32], "log").unwrap();
        (signer.to_string(), verifier)
    }

    #[test]
    fn every_event_below_the_newest_checkpoint_is_proven_also_after_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let (signer, verifier) = key();
        let tree = Tree::open(dir.path()).unwrap();
        tree.append(&envelopes(1..=5)).unwrap();
        assert!(tree.prove(&envelope(3, 7)).unwrap().is_none(), "no checkpoint covers it yet");
        assert!(tree.checkpoint("log", &signer).unwrap().is_some());
        assert!(tree.checkpoint("log", &signer).unwrap().is_none(), "nothing is new");
        tree.append(&envelopes(6..=300)).unwrap();
        tree.checkpoint("log", &signer).unwrap();
        tree.append(&envelopes(301..=310)).unwrap();
        drop(tree);
        let tree = Tree::open(dir.path()).unwrap();
        assert_eq!((tree.leaves(), tree.covered()), (300, 300), "what no checkpoint covers is made again");
        for position in [1, 2, 5, 6, 256, 300] {
            let proof = tree.prove(&envelope(position, 7)).unwrap().unwrap();
            let (read, checkpoint) = proof.verify(&[&verifier]).unwrap();
            assert_eq!((read.position, checkpoint.size), (Position(position), 300));
        }
        assert!(tree.prove(&envelope(301, 7)).unwrap().is_none());
        let all = tree.checkpoints(0, 10).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(tree.checkpoints(1, 10).unwrap(), all[1..]);
        assert_eq!(tree.checkpoints(0, 1).unwrap(), all[..1]);
        assert_eq!(tree.checkpoints(2, 10).unwrap(), [""; 0]);
        assert!(matches!(tree.append(&envelopes(302..=303)), Err(TreeFileError::OutOfOrder)));
    }

    #[test]
    fn hashes_that_are_torn_or_changed_are_made_again_and_come_out_the_same() {
        let (signer, _) = key();
        for damage in [0_u64, 1, 31, 32, 100, 4_000] {
            let dir = tempfile::tempdir().unwrap();
            let tree = Tree::open(dir.path()).unwrap();
            tree.append(&envelopes(1..=100)).unwrap();
            let note = tree.checkpoint("log", &signer).unwrap().unwrap();
            drop(tree);
            let path = dir.path().join("tree/hashes");
            let mut bytes = std::fs::read(&path).unwrap();
            let at = usize::try_from(damage).unwrap() % bytes.len();
            if damage % 2 == 0 {
                bytes.truncate(at)
            } else {
                bytes[at] ^= 1
            }
            std::fs::write(&path, bytes).unwrap();
            let tree = Tree::open(dir.path()).unwrap();
            let again = envelopes(tree.leaves() + 1..=100);
            tree.append(&again).unwrap();
            assert_eq!(tree.checkpoint("log", &signer).unwrap(), None);
            assert_eq!(tree.checkpoints(0, 1).unwrap(), [note]);
            for position in 1..=100 {
                match tree.prove(&envelope(position, 7)) {
                    Ok(proof) => assert!(proof.unwrap().verify(&[&key().1]).is_ok(), "{damage}, {position}"),
                    // Below the root a change shows only here.
                    Err(error) => {
                        assert!(matches!(error, TreeFileError::HashChanged), "{damage}, {position}: {error}");
                        assert!(again.is_empty(), "{damage}: they were made again");
                    }
                }
            }
        }
    }

    #[test]
    fn a_journal_that_differs_from_what_was_signed_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (signer, _) = key();
        let tree = Tree::open(dir.path()).unwrap();
        tree.append(&envelopes(1..=40)).unwrap();
        tree.checkpoint("log", &signer).unwrap();
        drop(tree);
        std::fs::write(dir.path().join("tree/hashes"), b"").unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        assert_eq!(tree.leaves(), 0);
        let mut other = envelopes(1..=40);
        other[11] = envelope(12, 8);
        assert!(matches!(tree.append(&other), Err(TreeFileError::Contradicts { size: 40 })));
        assert_eq!(tree.checkpoint("log", &signer).unwrap(), None, "nothing is signed instead");
    }

    #[test]
    fn many_checkpoints_are_listed_from_any_number_on() {
        let dir = tempfile::tempdir().unwrap();
        let (signer, _) = key();
        let tree = Tree::open(dir.path()).unwrap();
        let framed: String = (1..=2_500)
            .map(|size| {
                let root = Digest([u8::try_from(size % 251).unwrap(); 32]);
                let note = Checkpoint { origin: "log".to_owned(), size, root }.sign(&signer).unwrap();
                format!("{}\n{note}", note.len())
            })
            .collect();
        drop(tree);
        std::fs::write(dir.path().join("tree/checkpoints"), framed).unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        assert_eq!(tree.covered(), 2_500);
        let sizes = |from, limit| {
            let notes = tree.checkpoints(from, limit).unwrap();
            notes.iter().map(|note| Checkpoint::unverified(note).unwrap().size).collect::<Vec<_>>()
        };
        for from in [0, 1, 999, 1_000, 1_001, 2_400, 2_499] {
            let last = (from + 300).min(2_500);
            assert_eq!(sizes(from, 300), (from + 1..=last).collect::<Vec<u64>>(), "{from}");
        }
        assert_eq!(sizes(2_500, 5), [0; 0]);
        assert_eq!(sizes(90_000, 5), [0; 0]);
    }

    #[test]
    fn a_checkpoint_that_was_changed_is_damage_and_nothing_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let (signer, _) = key();
        let tree = Tree::open(dir.path()).unwrap();
        for upto in [3, 9, 20] {
            tree.append(&envelopes(tree.leaves() + 1..=upto)).unwrap();
            tree.checkpoint("log", &signer).unwrap();
        }
        drop(tree);
        let path = dir.path().join("tree/checkpoints");
        let whole = std::fs::read(&path).unwrap();
        // The digits of a head are changed to others, every byte to one that no checkpoint holds.
        for (at, byte) in (0..whole.len()).map(|at| (at, 0xff)).chain((0..whole.len()).map(|at| (at, b'9'))) {
            let is_digit_of_a_head = whole[at].is_ascii_digit() && (at == 0 || whole[..at].ends_with(b"=\n"));
            if byte == b'9' && (!is_digit_of_a_head || whole[at] == b'9') {
                continue;
            }
            let mut changed = whole.clone();
            changed[at] = byte;
            std::fs::write(&path, &changed).unwrap();
            assert!(Tree::open(dir.path()).is_err(), "{at}");
            assert_eq!(std::fs::read(&path).unwrap(), changed, "{at}");
        }
    }

    #[test]
    fn a_checkpoint_that_was_torn_was_never_handed_out() {
        let dir = tempfile::tempdir().unwrap();
        let (signer, _) = key();
        let tree = Tree::open(dir.path()).unwrap();
        tree.append(&envelopes(1..=3)).unwrap();
        tree.checkpoint("log", &signer).unwrap();
        tree.append(&envelopes(4..=9)).unwrap();
        tree.checkpoint("log", &signer).unwrap();
        drop(tree);
        let path = dir.path().join("tree/checkpoints");
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let tree = Tree::open(dir.path()).unwrap();
            let covered = tree.covered();
            assert!([0, 3].contains(&covered), "{cut}: {covered}");
            tree.append(&envelopes(tree.leaves() + 1..=9)).unwrap();
            assert!(tree.checkpoint("log", &signer).unwrap().is_some());
        }
    }
}

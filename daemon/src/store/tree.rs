//! The Merkle tree over the event log, beside the journal: its hashes in `tree/hashes`, its signed checkpoints in
//! `tree/checkpoints`, which are kept for ever. Formats: `docs/formats.md`.
//!
//! **Order of what is written**, so that no checkpoint ever speaks of what a power cut could take back:
//! 1. the event is durable in the journal;
//! 2. its hashes are written and flushed;
//! 3. the checkpoint is signed, written and flushed;
//! 4. only then is it handed out.
//!
//! **Trust.** Hashes can be made again from the journal and are believed only up to the newest checkpoint, against which they
//! are compared at every start. A journal that contradicts a checkpoint is no longer the log that was signed: that is
//! damage, never mended in silence.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use parking_lot::RwLock;
use retention_core::event::Envelope;
use retention_core::evidence::checkpoint::{CHECKPOINT_BYTES_MAX, Checkpoint, CheckpointError};
use retention_core::evidence::proof::EventProof;
use retention_core::evidence::tree::{self, HASH_BYTES, StoredHashes, TreeError};
use retention_core::id::{Digest, Position};

use super::durable_file::{self, DurableFileError, FileAction};

const HASHES: &str = "hashes of the tree";
const CHECKPOINTS: &str = "checkpoints of the tree";
const DIR: &str = "directory of the tree";

/// The most bytes of checkpoints that are read at a start: ten million of them.
const CHECKPOINTS_BYTES_MAX: u64 = 4 << 30;

/// The digits before a checkpoint that say how long it is.
const HEAD_BYTES_MAX: usize = 5;

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
    /// The events do not follow those that the tree holds.
    #[error("the tree was handed events that do not follow its last one; nothing was changed")]
    OutOfOrder,
    /// A hash is not where it should be.
    #[error("the hashes of the tree are shorter than they should be; they are made again at the next start")]
    Short,
    /// The key.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl From<TreeError> for TreeFileError {
    fn from(_: TreeError) -> Self {
        Self::Short
    }
}

/// Where a checkpoint lies.
#[derive(Debug, Clone, Copy)]
struct Noted {
    size: u64,
    at: u64,
    len: usize,
}

struct State {
    leaves: u64,
    notes: Vec<Noted>,
    notes_end: u64,
    /// What the newest checkpoint says, until the hashes have reached it.
    owed: Option<(u64, Digest)>,
}

/// The tree. One writer, the attest stage; everybody else reads.
pub struct Tree {
    hashes: File,
    checkpoints: File,
    state: RwLock<State>,
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
    /// Opens the tree below the directory of a store, or makes an empty one. Hashes that the newest checkpoint does not cover,
    /// or that differ from it, are dropped, to be made again from the journal.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn open(store: &Path) -> Result<Self, TreeFileError> {
        let dir = store.join("tree");
        durable_file::create_private_dir(&dir, DIR)?;
        let hashes = durable_file::open_or_create(&dir.join("hashes"), HASHES)?;
        let checkpoints = durable_file::open_or_create(&dir.join("checkpoints"), CHECKPOINTS)?;
        let (notes, notes_end) = read_notes(&dir.join("checkpoints"))?;
        checkpoints.set_len(notes_end).map_err(durable_file::failed(CHECKPOINTS, FileAction::Write))?;
        let newest = match notes.last() {
            Some(noted) => Checkpoint::unverified(&read_note(&checkpoints, *noted)?).ok(),
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
        let state = State { leaves, notes, notes_end, owed: owed.filter(|(size, _)| *size > leaves) };
        Ok(Self { hashes, checkpoints, state: RwLock::new(state) })
    }

    /// Returns how many events the tree holds.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        self.state.read().leaves
    }

    /// Returns how many events the newest checkpoint covers.
    #[must_use]
    pub fn covered(&self) -> u64 {
        self.state.read().notes.last().map_or(0, |noted| noted.size)
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
        self.hashes.sync_data().map_err(durable_file::failed(HASHES, FileAction::Sync))?;
        let mut state = self.state.write();
        state.leaves = leaves;
        state.owed = owed.filter(|(size, _)| *size > leaves);
        Ok(())
    }

    /// Signs a checkpoint over all events of the tree, flushes it, and returns it; nothing when the newest covers them all, or
    /// when the tree has not reached the newest yet.
    ///
    /// # Errors
    /// When the key is none, or it cannot be written.
    pub fn checkpoint(&self, origin: &str, signer_key: &str) -> Result<Option<String>, TreeFileError> {
        let (leaves, end) = {
            let state = self.state.read();
            if state.owed.is_some() || state.leaves <= state.notes.last().map_or(0, |noted| noted.size) {
                return Ok(None);
            }
            (state.leaves, state.notes_end)
        };
        let root = tree::root(leaves, &self.read())?;
        let note = Checkpoint { origin: origin.to_owned(), size: leaves, root }.sign(signer_key)?;
        let head = format!("{}\n", note.len());
        let framed = format!("{head}{note}");
        let written = self.checkpoints.write_all_at(framed.as_bytes(), end);
        written.map_err(durable_file::failed(CHECKPOINTS, FileAction::Write))?;
        self.checkpoints.sync_data().map_err(durable_file::failed(CHECKPOINTS, FileAction::Sync))?;
        let mut state = self.state.write();
        state.notes.push(Noted { size: leaves, at: end + head.len() as u64, len: note.len() });
        state.notes_end = end + framed.len() as u64;
        Ok(Some(note))
    }

    /// Returns the signed checkpoints with numbers from `from` on, counted from 0, at most so many.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn checkpoints(&self, from: u64, limit: usize) -> Result<Vec<String>, TreeFileError> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let wanted: Vec<Noted> = self.state.read().notes.iter().skip(from).take(limit).copied().collect();
        wanted.into_iter().map(|noted| read_note(&self.checkpoints, noted)).collect()
    }

    /// Proves that an event stands in the log, by the newest checkpoint; `None` when none covers it yet.
    ///
    /// # Errors
    /// When a hash or the checkpoint cannot be read.
    pub fn prove(&self, envelope: &Envelope) -> Result<Option<EventProof>, TreeFileError> {
        let newest = self.state.read().notes.last().copied();
        let Some(leaf) = envelope.position.0.checked_sub(1) else { return Ok(None) };
        let Some(noted) = newest.filter(|noted| noted.size > leaf) else { return Ok(None) };
        let path = tree::prove(noted.size, leaf, &self.read())?;
        let checkpoint = read_note(&self.checkpoints, noted)?;
        Ok(Some(EventProof { envelope: envelope.to_bytes(), leaf, path, checkpoint }))
    }

    /// Returns the position that the next event of the tree has.
    #[must_use]
    pub fn next(&self) -> Position {
        Position(self.leaves() + 1)
    }

    fn read(&self) -> Hashes<'_> {
        Hashes { file: &self.hashes, first_new: u64::MAX, new: &[] }
    }
}

fn read_note(file: &File, noted: Noted) -> Result<String, TreeFileError> {
    let mut note = vec![0; noted.len];
    file.read_exact_at(&mut note, noted.at).map_err(durable_file::failed(CHECKPOINTS, FileAction::Read))?;
    String::from_utf8(note).map_err(|_| TreeFileError::Checkpoint(CheckpointError::Malformed))
}

/// Reads where all checkpoints lie, and where the last of them ends. What a power cut tore was never handed out; anything else
/// that is no checkpoint is damage.
fn read_notes(path: &Path) -> Result<(Vec<Noted>, u64), TreeFileError> {
    let damaged = || durable_file::failed(CHECKPOINTS, FileAction::Read)(io::ErrorKind::InvalidData.into());
    let bytes = durable_file::read_bounded(path, CHECKPOINTS_BYTES_MAX, CHECKPOINTS)?.unwrap_or_default();
    let mut notes: Vec<Noted> = Vec::new();
    let mut at = 0;
    while let Some((noted, next)) = note_at(&bytes, at) {
        if notes.last().is_some_and(|last| last.size >= noted.size) {
            return Err(damaged().into());
        }
        notes.push(noted);
        at = next;
    }
    match bytes.get(at..).is_none_or(is_torn) {
        true => Ok((notes, at as u64)),
        false => Err(damaged().into()),
    }
}

/// Says whether bytes can be what is left of a checkpoint that was being written: nothing, its beginning, or nothing but
/// zeros.
fn is_torn(rest: &[u8]) -> bool {
    let (written, zeros) = match rest.iter().rposition(|byte| *byte != 0) {
        Some(last) => rest.split_at(last + 1),
        None => return true,
    };
    match written.iter().position(|byte| *byte == b'\n') {
        None => written.len() <= HEAD_BYTES_MAX && written.iter().all(u8::is_ascii_digit),
        Some(head) => {
            let len = written.get(..head).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok());
            len.is_some_and(|len| len <= CHECKPOINT_BYTES_MAX && written.len() + zeros.len().min(1) < head + 1 + len)
        }
    }
}

fn note_at(bytes: &[u8], at: usize) -> Option<(Noted, usize)> {
    let rest = bytes.get(at..)?;
    let head = rest.iter().take(HEAD_BYTES_MAX + 1).position(|byte| *byte == b'\n')?;
    let len: usize = std::str::from_utf8(rest.get(..head)?).ok()?.parse().ok()?;
    let (start, end) = (at + head + 1, (at + head + 1).checked_add(len.min(CHECKPOINT_BYTES_MAX + 1))?);
    let note = std::str::from_utf8(bytes.get(start..end)?).ok()?;
    let size = Checkpoint::unverified(note).ok()?.size;
    Some((Noted { size, at: start as u64, len }, end))
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
        assert_eq!(tree.checkpoints(0, 10).unwrap().len(), 2);
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
            let proof = tree.prove(&envelope(50, 7)).unwrap().unwrap();
            assert!(proof.verify(&[&key().1]).is_ok() || tree.leaves() == 100 && again.is_empty());
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
        for at in 0..whole.len() / 2 {
            let mut changed = whole.clone();
            changed[at] = 0xff;
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

//! Going through the tree beside the journal: is every hash that of its event, and every checkpoint that of the log?

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use retention_core::event::Envelope;
use retention_core::evidence::checkpoint::Checkpoint;
use retention_core::evidence::cosignature::{Cosignature, RECORD_BYTES_MAX, parts_of};
use retention_core::evidence::tree::{self, Frontier, HASH_BYTES};
use retention_core::id::Digest;

use super::cosignatures::{COSIGNATURES, RecordReader};
use super::notes::{NoteReader, is_torn};
use super::{CHECKPOINTS, HASHES, TreeFileError};
use crate::store::durable_file::{self, FileAction};
use crate::store::verify::Finding;

/// The files of a tree as they were when the verification began, gone through beside the journal.
pub(in crate::store) struct TreeCheck {
    hashes: BufReader<io::Take<Box<dyn Read>>>,
    hashes_are_good: bool,
    /// How many whole hashes there were.
    hashes_count: u64,
    checkpoints: Option<File>,
    checkpoints_end: u64,
    /// Whether what lies among them is none: then nobody knows which followed.
    checkpoints_are_damaged: bool,
    /// Where the next checkpoint begins.
    at: u64,
    next: Option<(u64, String)>,
    frontier: Frontier,
    /// The keys that the log has adopted so far.
    keys: Vec<String>,
    checked: u64,
    /// The file of the cosignatures.
    cosignatures: Option<File>,
    /// Over how many events each of them is, and where it lies: ascending, those that were looked at taken away.
    cosigned: std::iter::Peekable<std::vec::IntoIter<(u64, u64)>>,
    cosignatures_checked: u64,
}

impl TreeCheck {
    /// Begins. Files that are not there are damage only when the log says that they were: see [`Self::end`].
    pub(in crate::store) fn begin(store: &Path, found: &mut dyn FnMut(Finding)) -> Result<Self, TreeFileError> {
        let dir = store.join("tree");
        let open = |name: &str, role: &'static str| match File::open(dir.join(name)) {
            Ok(file) => {
                let bytes = file.metadata().map_err(durable_file::failed(role, FileAction::Read))?.len();
                Ok(Some((file, bytes)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(TreeFileError::from(durable_file::failed(role, FileAction::Open)(error))),
        };
        // A checkpoint is flushed before any witness signs it: looked at after that, it must be there.
        let cosignatures = open("cosignatures", COSIGNATURES)?;
        let cosigned = match &cosignatures {
            Some((file, bytes)) => places_of(file, *bytes, found)?,
            None => Vec::new(),
        };
        // Hashes are flushed before the checkpoint over them: looked at after it, they must reach it.
        let (checkpoints, checkpoints_end) = open("checkpoints", CHECKPOINTS)?.unzip();
        let (hashes, bytes) = match open("hashes", HASHES)? {
            Some((hashes, bytes)) => (Box::new(hashes) as Box<dyn Read>, bytes),
            None => (Box::new(io::empty()) as Box<dyn Read>, 0),
        };
        // A hash that is being written has no length yet, or not its whole one.
        let whole = bytes - bytes % HASH_BYTES as u64;
        let mut check = Self {
            hashes: BufReader::with_capacity(1024 * 1024, hashes.take(whole)),
            hashes_are_good: true,
            hashes_count: bytes / HASH_BYTES as u64,
            checkpoints,
            checkpoints_end: checkpoints_end.unwrap_or(0),
            checkpoints_are_damaged: false,
            at: 0,
            next: None,
            frontier: Frontier::default(),
            keys: Vec::new(),
            checked: 0,
            cosignatures: cosignatures.map(|(file, _)| file),
            cosigned: cosigned.into_iter().peekable(),
            cosignatures_checked: 0,
        };
        check.read_next(found)?;
        Ok(check)
    }

    /// Ends: a log that adopted a key has a file of checkpoints. Returns how many of them were looked at; `None` when
    /// there is no such file.
    pub(in crate::store) fn end(&mut self, found: &mut dyn FnMut(Finding)) -> Option<u64> {
        // Nothing can be said of those over a checkpoint that the journal did not reach, or that cannot be read: the
        // damage is found already, and each of them would be told of besides.
        let reached = self.next.as_ref().map_or(u64::MAX, |(size, _)| size.saturating_sub(1));
        while !self.checkpoints_are_damaged
            && let Some((over, _)) = self.cosigned.next_if(|(over, _)| *over <= reached)
        {
            self.cosignatures_checked += 1;
            found(Finding::CosignatureWithoutCheckpoint(over));
        }
        if self.checkpoints.is_none() && !self.keys.is_empty() {
            found(Finding::CheckpointsMissing);
        }
        self.checkpoints.as_ref().map(|_| self.checked)
    }

    /// Says whether the file of checkpoints holds none, and nothing that is damaged.
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.checkpoints.is_some() && self.checked == 0 && self.next.is_none() && !self.checkpoints_are_damaged
    }

    /// Returns how many cosignatures were looked at; `None` when there is no file of them.
    pub(in crate::store) fn cosignatures(&self) -> Option<u64> {
        self.cosignatures.as_ref().map(|_| self.cosignatures_checked)
    }

    /// Returns how many events the next checkpoint covers, which the journal did not reach, when it was signed.
    pub(in crate::store) fn beyond(&self, found: &mut dyn FnMut(Finding)) -> Option<u64> {
        let (size, note) = self.next.as_ref()?;
        let is_signed = Checkpoint::verify(note, &self.keys()).is_ok();
        if !is_signed {
            found(Finding::CheckpointNotSigned(*size));
        }
        is_signed.then_some(*size)
    }

    fn keys(&self) -> Vec<&str> {
        self.keys.iter().map(String::as_str).collect()
    }

    /// Notes a key that the log adopts.
    pub(in crate::store) fn adopted(&mut self, verifier_key: &str) {
        self.keys.push(verifier_key.to_owned());
    }

    /// Takes the next event of the journal.
    pub(in crate::store) fn event(
        &mut self,
        envelope: &Envelope,
        found: &mut dyn FnMut(Finding),
    ) -> Result<(), TreeFileError> {
        let Self { hashes, hashes_are_good, frontier, .. } = self;
        let mut failed = None;
        frontier.push(tree::leaf(&envelope.to_bytes()), |expected| {
            if !*hashes_are_good || failed.is_some() {
                return;
            }
            match read_hash(hashes) {
                // The tree grows after the journal: what is not there yet is no damage.
                Ok(None) => {}
                Ok(Some(hash)) if hash == expected => {}
                Ok(Some(_)) => {
                    // Every hash above it differs as well: one is enough to be told.
                    *hashes_are_good = false;
                    found(Finding::HashDiffers(envelope.position));
                }
                Err(error) => failed = Some(error),
            }
        });
        if let Some(error) = failed {
            return Err(durable_file::failed(HASHES, FileAction::Read)(error).into());
        }
        while let Some((size, note)) = &self.next
            && *size <= self.frontier.leaves()
        {
            let (size, note) = (*size, note.clone());
            self.check_cosignatures(size, &note, found)?;
            // Before anything is signed with a new key, the log adopts it: the older ones are over by then.
            let newest = self.keys.last().map(String::as_str);
            let by_newest = Checkpoint::verify(&note, newest.as_slice());
            let is_by_newest = by_newest.is_ok();
            match by_newest.or_else(|_| Checkpoint::verify(&note, &self.keys())) {
                Ok(checkpoint) if checkpoint.root != self.frontier.root() => {
                    found(Finding::CheckpointContradicts(size));
                }
                Ok(_) if is_by_newest => {}
                Ok(_) => found(Finding::CheckpointByOlderKey(size)),
                Err(_) => found(Finding::CheckpointNotSigned(size)),
            }
            if tree::stored_count(size) > self.hashes_count && self.hashes_are_good {
                self.hashes_are_good = false;
                found(Finding::HashesMissing(size));
            }
            self.checked += 1;
            self.read_next(found)?;
        }
        Ok(())
    }

    /// Holds what witnesses signed against a checkpoint. What they signed below it was over none of this log.
    fn check_cosignatures(
        &mut self,
        size: u64,
        note: &str,
        found: &mut dyn FnMut(Finding),
    ) -> Result<(), TreeFileError> {
        let text = parts_of(note).map_or("", |(text, _)| text);
        while let Some((over, at)) = self.cosigned.next_if(|(over, _)| *over <= size) {
            self.cosignatures_checked += 1;
            if over < size {
                found(Finding::CosignatureWithoutCheckpoint(over));
                continue;
            }
            let Some(file) = &self.cosignatures else { continue };
            let read: Option<Cosignature> =
                RecordReader::of(file, at, at + RECORD_BYTES_MAX as u64).next()?.map(|(_, read)| read);
            if !read.is_some_and(|read| read.size == size && read.check(text).is_ok()) {
                found(Finding::CosignatureWrong(size));
            }
        }
        Ok(())
    }

    fn read_next(&mut self, found: &mut dyn FnMut(Finding)) -> Result<(), TreeFileError> {
        let before = self.next.take().map_or(0, |(size, _)| size);
        let Some(checkpoints) = &self.checkpoints else { return Ok(()) };
        let mut reader = NoteReader::of(checkpoints, self.at, self.checkpoints_end);
        match reader.next()? {
            Some((noted, note)) if noted.size > before => {
                self.at = noted.at + noted.len as u64;
                self.next = Some((noted.size, note));
            }
            None if is_torn(reader.rest()?) => {}
            Some(_) | None => {
                self.checkpoints_are_damaged = true;
                found(Finding::CheckpointsDamaged(self.at));
            }
        }
        Ok(())
    }
}

/// Returns over how many events each cosignature is, and where it lies, ascending.
fn places_of(file: &File, bytes: u64, found: &mut dyn FnMut(Finding)) -> Result<Vec<(u64, u64)>, TreeFileError> {
    let mut places = Vec::new();
    let mut reader = RecordReader::of(file, 0, bytes);
    loop {
        match reader.next() {
            Ok(Some((at, cosignature))) => places.push((cosignature.size, at)),
            Ok(None) => break,
            Err(TreeFileError::CosignaturesDamaged(at)) => {
                found(Finding::CosignaturesDamaged(at));
                break;
            }
            Err(error) => return Err(error),
        }
    }
    places.sort_unstable();
    Ok(places)
}

fn read_hash(from: &mut impl Read) -> io::Result<Option<Digest>> {
    let mut hash = [0; HASH_BYTES];
    match from.read_exact(&mut hash) {
        Ok(()) => Ok(Some(Digest(hash))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

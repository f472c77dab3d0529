//! What is handed out: proofs, and checkpoints with what witnesses signed over them. None that does not hold.

use retention_core::event::Envelope;
use retention_core::evidence::checkpoint::Checkpoint;
use retention_core::evidence::cosignature::{Cosignature, cosigned, parts_of};
use retention_core::evidence::growth::GrowthProof;
use retention_core::evidence::proof::EventProof;
use retention_core::evidence::tree;
use retention_core::id::{Digest, Position};

use super::notes::read_note;
use super::{Cosignatures, Tree, TreeFileError};

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

impl Tree {
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

    /// Returns the newest checkpoint with what witnesses signed over it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn newest_told(&self) -> Result<Option<Told>, TreeFileError> {
        self.told(self.covered())
    }

    /// Returns the checkpoint that most witnesses cosigned lately, and of several the newest; `None` without one, or
    /// when none of what they signed over it holds any more.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn newest_cosigned(&self) -> Result<Option<Told>, TreeFileError> {
        let told = match self.best_above(0) {
            Some(size) => self.told(size)?,
            None => None,
        };
        Ok(told.filter(|told| !told.cosignatures.is_empty()))
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

    /// Returns over how many events the checkpoint is that most witnesses cosigned lately, of those above a leaf.
    fn best_above(&self, leaf: u64) -> Option<u64> {
        self.cosignatures.as_ref().ok().and_then(|kept| kept.best_above(leaf))
    }
}

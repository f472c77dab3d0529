//! A proof that one event is in the log, as a text that is checked without the log (C2SP tlog-proof).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::{CHECKPOINT_BYTES_MAX, Checkpoint, CheckpointError};
use super::tree::{self, TreeError};
use crate::event::Envelope;
use crate::id::Digest;

/// The first line.
const HEAD: &str = "c2sp.org/tlog-proof@v1";

/// The longest proof that is read, in bytes.
pub const PROOF_BYTES_MAX: usize = CHECKPOINT_BYTES_MAX + 64 * 48;

/// The size of an envelope, in bytes.
const ENVELOPE_BYTES: usize = 128;

/// That an event stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventProof {
    /// The envelope of the event, as it stands in the log.
    pub envelope: [u8; ENVELOPE_BYTES],
    /// The number of its leaf: its position less one.
    pub leaf: u64,
    /// The hashes that lead from the leaf to the root.
    pub path: Vec<Digest>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It is not written as it should be.
    #[error("this is no proof of an event (c2sp.org/tlog-proof@v1)")]
    Malformed,
    /// The checkpoint in it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It does not lead to the root of the checkpoint.
    #[error("the proof does not lead to the root of its checkpoint")]
    DoesNotHold,
    /// The checkpoints in it are of logs of different names.
    #[error(
        "the two checkpoints in the proof are of different logs, and only one log can have grown from one to the other"
    )]
    TwoLogs,
    /// The envelope in it is none, or that of another position.
    #[error("the envelope in the proof is not that of the event it speaks of")]
    Envelope,
}

impl From<TreeError> for ProofError {
    fn from(_: TreeError) -> Self {
        Self::DoesNotHold
    }
}

impl EventProof {
    /// Writes it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{HEAD}\nextra {}\nindex {}\n", STANDARD.encode(self.envelope), self.leaf);
        for hash in &self.path {
            text.push_str(&STANDARD.encode(hash.0));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        if text.len() > PROOF_BYTES_MAX {
            return Err(ProofError::Malformed);
        }
        let (proof, checkpoint) = text.split_once("\n\n").ok_or(ProofError::Malformed)?;
        let mut lines = proof.split('\n');
        let mut word = |word: &str| lines.next().and_then(|line| line.strip_prefix(word)).ok_or(ProofError::Malformed);
        if !word(HEAD)?.is_empty() {
            return Err(ProofError::Malformed);
        }
        let envelope = STANDARD.decode(word("extra ")?).ok().and_then(|bytes| bytes.try_into().ok());
        let index = word("index ")?;
        let leaf = index.parse().ok().filter(|leaf: &u64| leaf.to_string() == index);
        let path = lines.map(|line| Some(Digest(STANDARD.decode(line).ok()?.try_into().ok()?))).collect::<Option<_>>();
        Ok(Self {
            envelope: envelope.ok_or(ProofError::Malformed)?,
            leaf: leaf.ok_or(ProofError::Malformed)?,
            path: path.ok_or(ProofError::Malformed)?,
            checkpoint: checkpoint.to_owned(),
        })
    }

    /// Checks it against the keys of the log, and returns the envelope and the checkpoint.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn verify(&self, verifier_keys: &[&str]) -> Result<(Envelope, Checkpoint), ProofError> {
        let checkpoint = Checkpoint::verify(&self.checkpoint, verifier_keys)?;
        tree::check(&self.path, checkpoint.size, checkpoint.root, self.leaf, tree::leaf(&self.envelope))?;
        let envelope = Envelope::parse(&self.envelope).map_err(|_| ProofError::Envelope)?;
        if envelope.position.0.checked_sub(1) != Some(self.leaf) {
            return Err(ProofError::Envelope);
        }
        Ok((envelope, checkpoint))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::checkpoint::keys_of;
    use super::*;
    use crate::event::Actor;
    use crate::id::{Position, StreamId};
    use crate::time::Timestamp;

    fn envelope(position: u64) -> Envelope {
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
            body_digest: Digest([9; 32]),
        }
    }

    fn proof(count: u64, position: u64) -> (EventProof, String) {
        let mut stored: Vec<Digest> = Vec::new();
        for number in 0..count {
            let new = tree::appended(number, tree::leaf(&envelope(number + 1).to_bytes()), &stored).unwrap();
            stored.extend(new);
        }
        let (signer, verifier) = keys_of(&[3; 32], "log").unwrap();
        let checkpoint =
            Checkpoint { origin: "log".to_owned(), size: count, root: tree::root(count, &stored).unwrap() };
        let path = tree::prove(count, position - 1, &stored).unwrap();
        let (envelope, checkpoint) = (envelope(position).to_bytes(), checkpoint.sign(&signer).unwrap());
        (EventProof { envelope, leaf: position - 1, path, checkpoint }, verifier)
    }

    #[test]
    fn a_proof_has_one_form() {
        let text = proof(21, 9).0.text();
        assert!(text.contains("\nindex 8\n"));
        for index in ["08", "+8", "8 ", "", "-0", "18446744073709551616"] {
            let other = text.replace("\nindex 8\n", &format!("\nindex {index}\n"));
            assert_eq!(EventProof::parse(&other), Err(ProofError::Malformed), "{index}");
        }
    }

    #[test]
    fn a_proof_reads_back_and_holds() {
        let (proof, key) = proof(21, 9);
        let read = EventProof::parse(&proof.text()).unwrap();
        assert_eq!(read, proof);
        let (envelope_read, checkpoint) = read.verify(&[&key]).unwrap();
        assert_eq!((envelope_read.position, checkpoint.size), (Position(9), 21));
        let other = EventProof { envelope: envelope(10).to_bytes(), ..read.clone() };
        assert_eq!(other.verify(&[&key]), Err(ProofError::DoesNotHold));
        let shifted = EventProof { leaf: 9, ..read };
        assert_eq!(shifted.verify(&[&key]), Err(ProofError::DoesNotHold));
    }

    proptest! {
        #[test]
        fn a_changed_proof_holds_for_nothing_else(at in 0usize..2_000, byte in 0x20u8..0x7f) {
            let (proof, key) = proof(21, 9);
            let mut text = proof.text().into_bytes();
            let at = at % text.len();
            text[at] = byte;
            if let Ok(text) = String::from_utf8(text)
                && let Ok(read) = EventProof::parse(&text)
                && let Ok((envelope_read, checkpoint)) = read.verify(&[&key])
            {
                prop_assert_eq!((envelope_read, checkpoint.size), (envelope(9), 21));
            }
        }

        #[test]
        fn any_text_is_a_proof_or_an_error(text in "(?s).{0,300}") {
            let _ = EventProof::parse(&text);
        }
    }
}

//! A proof that a log has only grown between two checkpoints, as a text that is checked without the log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::checkpoint::{CHECKPOINT_BYTES_MAX, Checkpoint};
use super::proof::ProofError;
use super::tree;
use crate::id::Digest;

/// What the text says of itself.
const FORMAT: &str = "retentiond growth proof 1";

/// The longest one that is read, in bytes: two checkpoints, escaped, and their path.
pub const GROWTH_BYTES_MAX: usize = 4 * CHECKPOINT_BYTES_MAX + 128 * 64;

/// That the log of the earlier checkpoint is the beginning of the log of the later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrowthProof {
    /// The earlier checkpoint, signed.
    pub before: String,
    /// The later one.
    pub after: String,
    /// The hashes of the proof (RFC 6962, section 2.1.2).
    pub path: Vec<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: String,
    before: String,
    after: String,
    path: Vec<String>,
}

impl GrowthProof {
    /// Writes it, as a JSON object.
    #[must_use]
    pub fn text(&self) -> String {
        let written = Written {
            format: FORMAT.to_owned(),
            before: self.before.clone(),
            after: self.after.clone(),
            path: self.path.iter().map(|hash| STANDARD.encode(hash.0)).collect(),
        };
        // Strings alone are always written.
        serde_json::to_string_pretty(&written).map(|text| text + "\n").unwrap_or_default()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        if text.len() > GROWTH_BYTES_MAX {
            return Err(ProofError::Malformed);
        }
        let written: Written = serde_json::from_str(text).map_err(|_| ProofError::Malformed)?;
        if written.format != FORMAT {
            return Err(ProofError::Malformed);
        }
        let hash = |text: &String| Some(Digest(STANDARD.decode(text).ok()?.try_into().ok()?));
        let path = written.path.iter().map(hash).collect::<Option<_>>().ok_or(ProofError::Malformed)?;
        Ok(Self { before: written.before, after: written.after, path })
    }

    /// Checks it against the keys of the log, and returns both checkpoints.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn verify(&self, verifier_keys: &[&str]) -> Result<(Checkpoint, Checkpoint), ProofError> {
        let before = Checkpoint::verify(&self.before, verifier_keys)?;
        let after = Checkpoint::verify(&self.after, verifier_keys)?;
        // Whoever gives the keys of two logs may have them mixed up: hashes have no name.
        if before.origin != after.origin {
            return Err(ProofError::TwoLogs);
        }
        tree::check_growth(&self.path, (before.size, before.root), (after.size, after.root))?;
        Ok((before, after))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::checkpoint::{CheckpointError, keys_of};
    use super::*;

    fn proof(before: u64, after: u64) -> (GrowthProof, String) {
        let (proof, [key, _]) = proof_of(["log", "log"], before, after);
        (proof, key)
    }

    /// Makes a proof between checkpoints of the same events, by logs of these names, with the key of each.
    fn proof_of(logs: [&str; 2], before: u64, after: u64) -> (GrowthProof, [String; 2]) {
        let mut stored: Vec<Digest> = Vec::new();
        for number in 0..after {
            stored.extend(tree::appended(number, tree::leaf(&number.to_le_bytes()), &stored).unwrap());
        }
        let signed = |log: &str, size| {
            let (signer, verifier) = keys_of(&[3; 32], log).unwrap();
            let root = tree::root(size, &stored).unwrap();
            (Checkpoint { origin: log.to_owned(), size, root }.sign(&signer).unwrap(), verifier)
        };
        let path = tree::prove_growth(before, after, &stored).unwrap();
        let ((before, first), (after, second)) = (signed(logs[0], before), signed(logs[1], after));
        (GrowthProof { before, after, path }, [first, second])
    }

    #[test]
    fn a_proof_reads_back_and_holds_for_its_two_checkpoints_alone() {
        let (proof, key) = proof(9, 21);
        let read = GrowthProof::parse(&proof.text()).unwrap();
        assert_eq!(read, proof);
        let (before, after) = read.verify(&[&key]).unwrap();
        assert_eq!((before.size, after.size), (9, 21));
        let turned = GrowthProof { before: proof.after.clone(), after: proof.before.clone(), path: proof.path.clone() };
        assert_eq!(turned.verify(&[&key]), Err(ProofError::DoesNotHold));
    }

    #[test]
    fn a_proof_between_two_logs_proves_no_growth_also_when_both_keys_are_known_and_the_events_are_the_same() {
        let (proof, keys) = proof_of(["log", "another"], 9, 21);
        let both = keys.each_ref().map(String::as_str);
        assert_eq!(proof.verify(&both), Err(ProofError::TwoLogs));
        assert_eq!(proof.verify(&both[..1]), Err(CheckpointError::OtherLog.into()));
        let (same, _) = proof_of(["log", "another"], 21, 21);
        assert_eq!(same.verify(&both), Err(ProofError::TwoLogs));
    }

    proptest! {
        #[test]
        fn a_changed_proof_holds_for_nothing_else(at in 0usize..3_000, byte in 0x20u8..0x7f) {
            let (proof, key) = proof(9, 21);
            let mut text = proof.text().into_bytes();
            let at = at % text.len();
            text[at] = byte;
            if let Ok(read) = GrowthProof::parse(&String::from_utf8_lossy(&text))
                && let Ok((before, after)) = read.verify(&[&key])
            {
                prop_assert_eq!((before.size, after.size), (9, 21));
            }
        }

        #[test]
        fn any_text_is_a_proof_or_an_error(text in "(?s).{0,300}") {
            let _ = GrowthProof::parse(&text);
        }
    }
}

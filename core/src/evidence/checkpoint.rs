//! Checkpoints: signed statements of how large the log was and what its root was (C2SP tlog-checkpoint, signed-note).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use signed_note::{Note, StandardSigner, StandardVerifier, Verifier as _, VerifierList};

use crate::id::Digest;

/// The longest checkpoint that is read, in bytes: room for many cosignatures.
pub const CHECKPOINT_BYTES_MAX: usize = 16 * 1024;

/// How large a log was, and what its root was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log, which is that of its key.
    pub origin: String,
    /// How many events it had.
    pub size: u64,
    /// The root of their tree.
    pub root: Digest,
}

/// A checkpoint, a key or a proof cannot be used. No message holds any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It is not written as C2SP says.
    #[error("this is no signed checkpoint")]
    Malformed,
    /// None of the known keys signed it.
    #[error("none of the known keys signed this")]
    UnknownKey,
    /// The known keys are those of a log of another name.
    #[error("this is of another log than the known keys: its name is none of theirs")]
    OtherLog,
    /// A known key is named, and it did not sign this.
    #[error("its signature is wrong: it was changed after it was signed, or is no signature of this key")]
    WrongSignature,
    /// The text of a key is none.
    #[error("this is no key of a signed note (C2SP signed-note)")]
    BadKey,
}

impl Checkpoint {
    /// Returns the text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    /// Reads the text of a checkpoint; further lines are extensions and are passed over.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.split('\n');
        let mut next = || lines.next().filter(|line| !line.is_empty()).ok_or(CheckpointError::Malformed);
        let (origin, size, root) = (next()?, next()?, next()?);
        let is_plain = size == "0" || !size.starts_with('0');
        let size = size.parse().ok().filter(|_| is_plain && size.bytes().all(|byte| byte.is_ascii_digit()));
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        Ok(Self {
            origin: origin.to_owned(),
            size: size.ok_or(CheckpointError::Malformed)?,
            root: Digest(root.ok_or(CheckpointError::Malformed)?),
        })
    }

    /// Signs it. The key is the text of a C2SP signer key, `PRIVATE+KEY+…`.
    ///
    /// # Errors
    /// When the key is none.
    pub fn sign(&self, signer_key: &str) -> Result<String, CheckpointError> {
        let signer = StandardSigner::new(signer_key).map_err(|_| CheckpointError::BadKey)?;
        let mut note = Note::new(self.text().as_bytes(), &[]).map_err(|_| CheckpointError::Malformed)?;
        note.add_sigs(&[&signer]).map_err(|_| CheckpointError::BadKey)?;
        String::from_utf8(note.to_bytes()).map_err(|_| CheckpointError::Malformed)
    }

    /// Reads a signed checkpoint that one of these keys signed.
    ///
    /// # Errors
    /// When it is none, of another log, or none of the keys signed it.
    pub fn verify(note: &str, verifier_keys: &[&str]) -> Result<Self, CheckpointError> {
        let mut verifiers: Vec<Box<dyn signed_note::Verifier>> = Vec::with_capacity(verifier_keys.len());
        for key in verifier_keys {
            verifiers.push(Box::new(StandardVerifier::new(key).map_err(|_| CheckpointError::BadKey)?));
        }
        let (checkpoint, note) = Self::read(note)?;
        if !verifiers.is_empty() && verifiers.iter().all(|key| key.name() != checkpoint.origin) {
            return Err(CheckpointError::OtherLog);
        }
        let known = VerifierList::new(verifiers);
        match note.verify(&known) {
            Ok((signatures, _)) => match signatures.iter().any(|signed| signed.name() == checkpoint.origin) {
                true => Ok(checkpoint),
                false => Err(CheckpointError::UnknownKey),
            },
            Err(signed_note::NoteError::UnverifiedNote) => Err(CheckpointError::UnknownKey),
            Err(_) => Err(CheckpointError::WrongSignature),
        }
    }

    /// Reads a signed checkpoint without looking at its signatures.
    ///
    /// # Errors
    /// When it is none.
    pub fn unverified(note: &str) -> Result<Self, CheckpointError> {
        Self::read(note).map(|(checkpoint, _)| checkpoint)
    }

    fn read(note: &str) -> Result<(Self, Note), CheckpointError> {
        if note.len() > CHECKPOINT_BYTES_MAX {
            return Err(CheckpointError::Malformed);
        }
        let note = Note::from_bytes(note.as_bytes()).map_err(|_| CheckpointError::Malformed)?;
        let text = std::str::from_utf8(note.text()).map_err(|_| CheckpointError::Malformed)?;
        Ok((Self::parse(text)?, note))
    }
}

/// Returns the signer key and the verifier key (C2SP signed-note) that a seed of 32 random bytes makes for a log of
/// this name.
///
/// # Errors
/// When the name is empty, or holds white space or a plus sign.
pub fn keys_of(seed: &[u8; 32], origin: &str) -> Result<(zeroize::Zeroizing<String>, String), CheckpointError> {
    /// Type 1 of C2SP signed-note: Ed25519.
    const ED25519: u8 = 1;
    if !signed_note::is_key_name_valid(origin) || origin.chars().any(char::is_control) {
        return Err(CheckpointError::BadKey);
    }
    let public = ed25519_dalek::SigningKey::from_bytes(seed).verifying_key();
    let id = signed_note::key_id(origin, &[&[ED25519], public.as_bytes().as_slice()].concat());
    let private = zeroize::Zeroizing::new([&[ED25519], seed.as_slice()].concat());
    let signer = format!("PRIVATE+KEY+{origin}+{id:08x}+{}", *zeroize::Zeroizing::new(STANDARD.encode(&*private)));
    Ok((signer.into(), signed_note::new_ed25519_verifier_key(origin, &public)))
}

/// Returns the verifier key of a signer key.
///
/// # Errors
/// When it is none.
pub fn verifier_of(signer_key: &str) -> Result<String, CheckpointError> {
    let mut parts = signer_key.splitn(5, '+').skip(2);
    let (origin, key) = (parts.next(), parts.nth(1));
    let (origin, key) = origin.zip(key).ok_or(CheckpointError::BadKey)?;
    let private = zeroize::Zeroizing::new(STANDARD.decode(key).map_err(|_| CheckpointError::BadKey)?);
    let seed = private.get(1..).and_then(|seed| <&[u8; 32]>::try_from(seed).ok()).ok_or(CheckpointError::BadKey)?;
    let (signer, verifier) = keys_of(seed, origin)?;
    if *signer == signer_key { Ok(verifier) } else { Err(CheckpointError::BadKey) }
}

/// Returns the name in a verifier key.
///
/// # Errors
/// When it is none.
pub fn origin_of(verifier_key: &str) -> Result<String, CheckpointError> {
    StandardVerifier::new(verifier_key).map(|key| key.name().to_owned()).map_err(|_| CheckpointError::BadKey)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "log.example.org/retention".to_owned(), size: 4_711, root: Digest([7; 32]) }
    }

    #[test]
    fn a_signed_checkpoint_is_read_back_by_its_key_alone() {
        let (signer, verifier) = keys_of(&[3; 32], "log.example.org/retention").unwrap();
        let (other, stranger) = keys_of(&[4; 32], "log.example.org/retention").unwrap();
        let note = checkpoint().sign(&signer).unwrap();
        assert_eq!(Checkpoint::verify(&note, &[&verifier]), Ok(checkpoint()));
        assert_eq!(Checkpoint::verify(&note, &[&stranger]), Err(CheckpointError::UnknownKey));
        assert_eq!(Checkpoint::verify(&note, &[&stranger, &verifier]), Ok(checkpoint()), "keys are rotated");
        let forged = note.replace("4711", "4712");
        assert_eq!(Checkpoint::verify(&forged, &[&verifier]), Err(CheckpointError::WrongSignature));
        assert_eq!(verifier_of(&signer).as_deref(), Ok(verifier.as_str()));
        assert_eq!(verifier_of(&other).as_deref(), Ok(stranger.as_str()));
        assert_eq!(origin_of(&verifier).as_deref(), Ok("log.example.org/retention"));
        let (foreign, foreign_key) = keys_of(&[5; 32], "somebody.else").unwrap();
        let note = checkpoint().sign(&foreign).unwrap();
        assert_eq!(
            Checkpoint::verify(&note, &[&foreign_key]),
            Err(CheckpointError::OtherLog),
            "not the log's own name"
        );
        assert_eq!(Checkpoint::verify(&note, &[&foreign_key, &verifier]), Err(CheckpointError::UnknownKey));
        assert_eq!(Checkpoint::verify(&note, &[]), Err(CheckpointError::UnknownKey));
        let renamed = Checkpoint { origin: "somebody.else".to_owned(), ..checkpoint() }.sign(&foreign).unwrap();
        assert_eq!(Checkpoint::verify(&renamed, &[&verifier, &stranger]), Err(CheckpointError::OtherLog));
    }

    #[test]
    fn names_that_no_key_can_have_are_refused() {
        for name in ["", "a b", "a+b", "a\nb"] {
            assert_eq!(keys_of(&[1; 32], name), Err(CheckpointError::BadKey), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_checkpoint_or_an_error(text in "[ -~\n]{0,200}", at in 0usize..200, byte: u8) {
            let _ = Checkpoint::unverified(&text);
            let _ = verifier_of(&text);
            let _ = origin_of(&text);
            let (signer, verifier) = keys_of(&[3; 32], "log").unwrap();
            let mut note = Checkpoint { origin: "log".to_owned(), ..checkpoint() }.sign(&signer).unwrap().into_bytes();
            let at = at % note.len();
            let before = note[at];
            note[at] = byte;
            if let Ok(changed) = String::from_utf8(note)
                && byte != before
            {
                let read = Checkpoint::verify(&changed, &[&verifier]);
                let same = Checkpoint { origin: "log".to_owned(), ..checkpoint() };
                prop_assert!(read.is_err() || read == Ok(same));
            }
        }
    }
}

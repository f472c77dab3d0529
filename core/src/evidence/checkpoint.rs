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
    /// The key that signed it was replaced before the log was as large as it says.
    #[error(
        "this is signed by a key that the log had replaced by then: whoever kept that key after it can sign anything, so it proves nothing"
    )]
    ReplacedKey,
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
    /// When it is none, of another log, none of the keys signed it, or only such that the log had replaced by then.
    pub fn verify(note: &str, verifier_keys: &[&str]) -> Result<Self, CheckpointError> {
        let keys = KnownKeys::of(verifier_keys)?;
        let (checkpoint, note) = Self::read(note)?;
        keys.check(&note, &checkpoint.origin, checkpoint.size)?;
        Ok(checkpoint)
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

/// The verifier keys that whoever checks has. Each is the text of C2SP signed-note; one that the log replaced may have `@`
/// and the position of the event behind it with which the log did: it signs nothing over that event and later ones.
pub(super) struct KnownKeys {
    verifiers: VerifierList,
    all: Vec<KnownKey>,
}

struct KnownKey {
    name: String,
    id: u32,
    replaced: Option<u64>,
}

impl KnownKeys {
    pub(super) fn of(texts: &[&str]) -> Result<Self, CheckpointError> {
        let mut verifiers: Vec<Box<dyn signed_note::Verifier>> = Vec::with_capacity(texts.len());
        let mut all = Vec::with_capacity(texts.len());
        for text in texts {
            let (key, replaced) = parts_of_key(text)?;
            let verifier = StandardVerifier::new(key).map_err(|_| CheckpointError::BadKey)?;
            all.push(KnownKey { name: verifier.name().to_owned(), id: verifier.key_id(), replaced });
            // A key that is known twice would be none: its signatures would be ambiguous.
            let is_first = texts.iter().take(all.len() - 1).all(|earlier| !is_same_key(earlier, key));
            if is_first {
                verifiers.push(Box::new(verifier));
            }
        }
        Ok(Self { verifiers: VerifierList::new(verifiers), all })
    }

    /// Checks that a key of this log signed a note, and that the log had not replaced it when it had so many events.
    pub(super) fn check(&self, note: &Note, log: &str, size: u64) -> Result<(), CheckpointError> {
        if !self.all.is_empty() && self.all.iter().all(|key| key.name != log) {
            return Err(CheckpointError::OtherLog);
        }
        let signatures = match note.verify(&self.verifiers) {
            Ok((signatures, _)) => signatures,
            Err(signed_note::NoteError::UnverifiedNote) => return Err(CheckpointError::UnknownKey),
            Err(_) => return Err(CheckpointError::WrongSignature),
        };
        let mut found = Err(CheckpointError::UnknownKey);
        for signed in signatures.iter().filter(|signed| signed.name() == log) {
            let mut of_key = self.all.iter().filter(|key| key.name == log && key.id == signed.id());
            // One that the log adopted again is known twice.
            if of_key.any(|key| key.replaced.is_none_or(|at| size < at)) {
                return Ok(());
            }
            found = Err(CheckpointError::ReplacedKey);
        }
        found
    }
}

/// Takes a verifier key and the position at which the log replaced it, if that stands behind it. Base64 has no `@`.
///
/// # Errors
/// When what stands behind it is no position.
pub fn parts_of_key(text: &str) -> Result<(&str, Option<u64>), CheckpointError> {
    match text.rsplit_once('@').filter(|(_, behind)| !behind.contains('+')) {
        None => Ok((text, None)),
        Some((key, at)) => {
            let position = at.parse().ok().filter(|position: &u64| *position > 0 && position.to_string() == at);
            Ok((key, Some(position.ok_or(CheckpointError::BadKey)?)))
        }
    }
}

fn is_same_key(text: &str, key: &str) -> bool {
    parts_of_key(text).is_ok_and(|(other, _)| other == key)
}

/// Says whether a text is a verifier key as whoever checks gives it: that of C2SP signed-note, and `@POSITION` behind it
/// where the log replaced it.
///
/// # Errors
/// When it is none.
pub fn check_known_key(text: &str) -> Result<(), CheckpointError> {
    KnownKeys::of(&[text]).map(|_| ())
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
    fn a_key_that_the_log_replaced_signs_nothing_over_the_event_that_replaced_it_and_what_follows() {
        let (signer, verifier) = keys_of(&[3; 32], "log").unwrap();
        let (_, newer) = keys_of(&[4; 32], "log").unwrap();
        let note = |size| Checkpoint { origin: "log".to_owned(), size, ..checkpoint() }.sign(&signer).unwrap();
        let ended = format!("{verifier}@90");
        let (verifier, newer, until) = (verifier.as_str(), newer.as_str(), ended.as_str());
        for keys in [vec![until], vec![newer, until], vec![until, until]] {
            assert!(Checkpoint::verify(&note(89), &keys).is_ok(), "{keys:?}");
            assert_eq!(Checkpoint::verify(&note(90), &keys), Err(CheckpointError::ReplacedKey), "{keys:?}");
            assert_eq!(Checkpoint::verify(&note(4_711), &keys), Err(CheckpointError::ReplacedKey), "{keys:?}");
        }
        // Whoever does not know that it was replaced cannot see it; and the log may adopt a key again.
        for keys in [vec![verifier], vec![until, verifier], vec![verifier, until, verifier]] {
            assert!(Checkpoint::verify(&note(4_711), &keys).is_ok(), "{keys:?}");
        }
        // What another key signed as well holds by that one.
        let mut both = note(90);
        let signed_anew = Checkpoint { origin: "log".to_owned(), size: 90, ..checkpoint() };
        let by_newer = signed_anew.sign(&keys_of(&[4; 32], "log").unwrap().0).unwrap();
        both.push_str(by_newer.rsplit_once("\n\n").unwrap().1);
        assert!(Checkpoint::verify(&both, &[until, newer]).is_ok());
        for wrong in ["@", "@0", "@-1", "@090", "@9x", "@9@9"] {
            assert_eq!(check_known_key(&format!("{verifier}{wrong}")), Err(CheckpointError::BadKey), "{wrong}");
        }
        // A name may have the sign.
        let (signer, verifier) = keys_of(&[3; 32], "log@example.org").unwrap();
        let note = Checkpoint { origin: "log@example.org".to_owned(), ..checkpoint() }.sign(&signer).unwrap();
        assert!(Checkpoint::verify(&note, &[&verifier]).is_ok());
        assert_eq!(Checkpoint::verify(&note, &[&format!("{verifier}@4711")]), Err(CheckpointError::ReplacedKey));
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

//! Cosignatures: what an independent witness signs over a checkpoint after it saw that the log had only grown (C2SP
//! tlog-cosignature, Ed25519), how they are kept, and how they are asked for.
//!
//! A checkpoint is signed by the log itself, so whoever holds the log and its key can sign another one. A witness signs
//! only what continues what it signed before: two logs under one name do not both have its cosignature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};

use super::checkpoint::CHECKPOINT_BYTES_MAX;
use crate::time::Timestamp;

pub mod exchange;

/// The most witnesses of one log: their cosignatures fit into a checkpoint many times.
pub const WITNESSES_MAX: usize = 16;

/// The most cosignatures in one checkpoint, of witnesses now and before: readers of signed notes take a hundred lines.
const LINES_MAX: usize = 64;

/// The longest verifier key of a witness, in bytes.
pub const WITNESS_KEY_BYTES_MAX: usize = 512;

/// The longest line of [`Cosignature::record`], in bytes, its end included.
pub const RECORD_BYTES_MAX: usize = WITNESS_KEY_BYTES_MAX + 160;

/// Type 4 of C2SP signed-note: a timestamped Ed25519 cosignature. Type 1 is the key of a log.
const COSIGNATURE: u8 = 4;
const LOG: u8 = 1;

/// The number of the key, the time, the signature.
const SIGNED_BYTES: usize = 4 + 8 + 64;

/// The end of the year 9999, in seconds: later instants are written by nobody.
const SECONDS_MAX: u64 = 253_402_300_799;

/// How a line with a signature begins.
const DASH: &str = "\u{2014} ";

/// A cosignature, or the key of a witness, cannot be used. No message holds any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CosignatureError {
    /// The text of a key is none.
    #[error("this is no verifier key of a witness: it is written name+number+base64 (C2SP signed-note)")]
    BadKey,
    /// It is the key of a log.
    #[error("this key signs logs and not cosignatures: the key of a witness has the type 4 (C2SP tlog-cosignature)")]
    KeyOfALog,
    /// The key does not have the number that it says.
    #[error("this verifier key of a witness was changed or cut: it does not have the number that it says")]
    WrongNumber,
    /// The witness did not sign it.
    #[error("this witness did not cosign the checkpoint")]
    NotCosigned,
    /// The witness is named, and it did not sign this.
    #[error("a cosignature of this witness is wrong: it did not sign this checkpoint")]
    Wrong,
    /// Fewer witnesses than needed signed it.
    #[error("only {found} of the witnesses cosigned the checkpoint, and {needed} are needed")]
    TooFew {
        /// How many did.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
}

/// The verifier key of a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessKey {
    text: String,
    name: String,
    number: [u8; 4],
    public: VerifyingKey,
}

/// A cosignature, with the checkpoint that it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// How many events the checkpoint covers.
    pub size: u64,
    /// The verifier key of the witness.
    pub key: String,
    signed: [u8; SIGNED_BYTES],
}

/// How a witness stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WitnessState {
    /// How many events the newest checkpoint covers that it cosigned, and when it did.
    pub cosigned: Option<(u64, Timestamp)>,
    /// Why it did not cosign the newest checkpoint; none while all is well.
    pub behind: Option<String>,
    /// What it says that does not fit this log, or what it said before.
    pub contradicts: Option<String>,
}

impl WitnessKey {
    /// Reads a verifier key (C2SP signed-note) of type 4.
    ///
    /// # Errors
    /// Says what it is instead.
    pub fn parse(text: &str) -> Result<Self, CosignatureError> {
        let (name, rest) = text.split_once('+').ok_or(CosignatureError::BadKey)?;
        let (number, key) = rest.split_once('+').ok_or(CosignatureError::BadKey)?;
        let is_name = signed_note::is_key_name_valid(name) && !name.chars().any(char::is_control);
        let is_number = number.len() == 8 && number.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() > WITNESS_KEY_BYTES_MAX || !is_name || !is_number {
            return Err(CosignatureError::BadKey);
        }
        let key = STANDARD.decode(key).map_err(|_| CosignatureError::BadKey)?;
        let public = match key.split_first() {
            Some((&COSIGNATURE, public)) => public,
            Some((&LOG, _)) => return Err(CosignatureError::KeyOfALog),
            _ => return Err(CosignatureError::BadKey),
        };
        let id = signed_note::key_id(name, &key);
        if format!("{id:08x}") != number {
            return Err(CosignatureError::WrongNumber);
        }
        let public = public.try_into().ok().and_then(|public| VerifyingKey::from_bytes(public).ok());
        let public = public.filter(|public| !public.is_weak()).ok_or(CosignatureError::BadKey)?;
        Ok(Self { text: text.to_owned(), name: name.to_owned(), number: id.to_be_bytes(), public })
    }

    /// Returns it as it is written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the name of the witness.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says whether two keys verify the same signatures, under whatever name.
    #[must_use]
    pub fn has_same_secret(&self, other: &Self) -> bool {
        self.public == other.public
    }

    /// Looks among the lines of signatures for what this witness signed over a checkpoint of so many events, whose text
    /// is `text`. Other lines are passed over; of several the latest counts.
    ///
    /// # Errors
    /// When there is none, or when one under this key does not hold.
    pub fn cosignature(&self, size: u64, text: &str, lines: &str) -> Result<Cosignature, CosignatureError> {
        let mut latest: Option<Cosignature> = None;
        for line in lines.split('\n').filter_map(|line| line.strip_prefix(DASH)) {
            let Some((name, signed)) = line.split_once(' ') else { continue };
            let Ok(signed) = STANDARD.decode(signed) else { continue };
            if name != self.name || !signed.starts_with(&self.number) {
                continue;
            }
            let signed = signed.try_into().map_err(|_| CosignatureError::Wrong)?;
            let cosignature = Cosignature { size, key: self.text.clone(), signed };
            self.holds(&cosignature, text)?;
            if latest.as_ref().is_none_or(|latest| latest.at() <= cosignature.at()) {
                latest = Some(cosignature);
            }
        }
        latest.ok_or(CosignatureError::NotCosigned)
    }

    fn holds(&self, cosignature: &Cosignature, text: &str) -> Result<(), CosignatureError> {
        let (seconds, signature) = cosignature.parts().ok_or(CosignatureError::Wrong)?;
        let message = format!("cosignature/v1\ntime {seconds}\n{text}");
        self.public.verify_strict(message.as_bytes(), &signature).map_err(|_| CosignatureError::Wrong)
    }
}

impl Cosignature {
    /// Returns when the witness signed it, by its own clock.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        let seconds = self.parts().map_or(0, |(seconds, _)| seconds);
        Timestamp::from_unix_seconds(i64::try_from(seconds).unwrap_or(0))
    }

    /// Returns the name of the witness.
    #[must_use]
    pub fn witness(&self) -> &str {
        self.key.split('+').next().unwrap_or_default()
    }

    /// Returns it as a line of signatures of a signed note, with its end.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{DASH}{} {}\n", self.witness(), STANDARD.encode(self.signed))
    }

    /// Returns it as the line under which it is kept, with its end: size, verifier key, and what was signed in base64.
    #[must_use]
    pub fn record(&self) -> String {
        format!("{} {} {}\n", self.size, self.key, STANDARD.encode(self.signed))
    }

    /// Reads such a line, without its end. Whether the signature holds is for [`Self::check`] to say.
    #[must_use]
    pub fn parse_record(line: &str) -> Option<Self> {
        let mut parts = line.split(' ');
        let (size, key, signed) = (parts.next()?, parts.next()?, parts.next()?);
        let read = Self {
            size: size.parse().ok()?,
            key: key.to_owned(),
            signed: STANDARD.decode(signed).ok()?.try_into().ok()?,
        };
        let is_key = key.len() <= WITNESS_KEY_BYTES_MAX && key.matches('+').count() >= 2 && !key.starts_with('+');
        (is_key && read.parts().is_some() && read.record().strip_suffix('\n') == Some(line)).then_some(read)
    }

    /// Checks it against the text of its checkpoint, under the key that is kept beside it.
    ///
    /// # Errors
    /// When the key is none, or the signature does not hold.
    pub fn check(&self, text: &str) -> Result<(), CosignatureError> {
        let key = WitnessKey::parse(&self.key)?;
        if !self.signed.starts_with(&key.number) {
            return Err(CosignatureError::Wrong);
        }
        key.holds(self, text)
    }

    fn parts(&self) -> Option<(u64, Signature)> {
        let (seconds, signature) = self.signed.get(4..)?.split_first_chunk::<8>()?;
        let seconds = Some(u64::from_be_bytes(*seconds)).filter(|seconds| *seconds <= SECONDS_MAX)?;
        Some((seconds, Signature::from_slice(signature).ok()?))
    }
}

/// Takes a signed note apart: the text that is signed, and the lines of signatures.
#[must_use]
pub fn parts_of(note: &str) -> Option<(&str, &str)> {
    let end = note.rfind("\n\n")? + 1;
    Some((note.get(..end)?, note.get(end + 1..)?))
}

/// Returns a signed checkpoint with these cosignatures below its own signatures; at most as many as a reader takes.
#[must_use]
pub fn cosigned<'a>(note: &str, cosignatures: impl IntoIterator<Item = &'a Cosignature>) -> String {
    let mut note = note.to_owned();
    for line in cosignatures.into_iter().take(LINES_MAX).map(Cosignature::line) {
        if note.len() + line.len() <= CHECKPOINT_BYTES_MAX {
            note.push_str(&line);
        }
    }
    note
}

/// Checks that at least `needed` of these witnesses cosigned a checkpoint of so many events, and returns what each of
/// them signed. Whether the log itself signed it is another question.
///
/// # Errors
/// When fewer did, or a cosignature under one of the keys does not hold.
pub fn check_cosigned(
    note: &str,
    size: u64,
    witnesses: &[WitnessKey],
    needed: usize,
) -> Result<Vec<Cosignature>, CosignatureError> {
    let (text, lines) = parts_of(note).ok_or(CosignatureError::NotCosigned)?;
    let mut found: Vec<Cosignature> = Vec::new();
    for (index, key) in witnesses.iter().enumerate() {
        // One witness under two names, or given twice, is one.
        if witnesses.iter().take(index).any(|before| before.has_same_secret(key)) {
            continue;
        }
        match key.cosignature(size, text, lines) {
            Ok(cosignature) => found.push(cosignature),
            Err(CosignatureError::NotCosigned) => {}
            Err(error) => return Err(error),
        }
    }
    if found.len() < needed {
        return Err(CosignatureError::TooFew { found: found.len(), needed });
    }
    Ok(found)
}

#[cfg(test)]
mod tests;

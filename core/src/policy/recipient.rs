//! Public keys of age to which bundles are encrypted: their text is checked here, so that a policy that names none is
//! refused where it is read. Nothing is encrypted in this crate.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The most keys that a bundle is encrypted to.
const RECIPIENTS_MAX: usize = 20;

/// How a key begins: the part of Bech32 that says what it is, and its separator.
const PREFIX: &str = "age1";
/// The digits of Bech32, each five bits.
const DIGITS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// 32 bytes in digits of five bits.
const KEY_DIGITS: usize = 52;
const CHECKSUM_DIGITS: usize = 6;
/// The bits of the last digit of a key that belong to none of its bytes.
const PADDING: u8 = 0b1111;

/// The public X25519 key of somebody who can open a bundle, as `age-keygen` prints it.
///
/// **Invariant:** the one text that age has for 32 bytes. It says who has a bundle, so `Debug` hides it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgeRecipient(String);

/// A text is no such key. It is never repeated: it may be a private one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRecipient {
    /// It is the private half of a pair.
    #[error(
        "has a private key of age, which never belongs here and now has to be replaced: write the public key of a new \
         pair, as `age-keygen -y FILE` prints it"
    )]
    Private,
    /// It is for another kind of encryption than X25519.
    #[error(
        "has a key of SSH or of a plugin: bundles are encrypted to X25519 keys of age alone, as `age-keygen` makes them"
    )]
    OtherKind,
    /// It is nothing of the kind, or a letter of it is wrong.
    #[error(
        "has what is no public key of age: `age-keygen -y FILE` prints one, 62 small letters and digits from age1 on"
    )]
    NoKey,
}

impl AgeRecipient {
    /// Returns the key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the keys that stand in `encrypt_to`, each with its place. What is wrong is told with the place of one, or with
    /// none of all of them; no text is repeated.
    pub fn read_all<'t, P>(
        keys: impl ExactSizeIterator<Item = (&'t str, P)>,
        mut wrong: impl FnMut(Option<P>, String),
    ) -> BTreeSet<Self> {
        if keys.len() == 0 || keys.len() > RECIPIENTS_MAX {
            let most = RECIPIENTS_MAX;
            wrong(None, format!("must name 1 to {most} public keys; leave it out where nothing is encrypted"));
        }
        let mut recipients = BTreeSet::new();
        for (text, place) in keys {
            match text.parse::<Self>() {
                Ok(recipient) if recipients.contains(&recipient) => wrong(Some(place), "names a key twice".to_owned()),
                Ok(recipient) => drop(recipients.insert(recipient)),
                Err(error) => wrong(Some(place), error.to_string()),
            }
        }
        recipients
    }
}

impl FromStr for AgeRecipient {
    type Err = NoRecipient;

    fn from_str(text: &str) -> Result<Self, NoRecipient> {
        if is_key(text) {
            return Ok(Self(text.to_owned()));
        }
        let small = text.trim().to_ascii_lowercase();
        Err(match small.strip_prefix(PREFIX) {
            _ if small.starts_with("age-secret-key-") || small.starts_with("age-plugin-") => NoRecipient::Private,
            _ if small.starts_with("ssh-") || small.starts_with("ecdsa-") => NoRecipient::OtherKind,
            // `age1yubikey1...`; a separator is no digit.
            Some(rest) if rest.contains('1') => NoRecipient::OtherKind,
            Some(_) | None => NoRecipient::NoKey,
        })
    }
}

impl fmt::Display for AgeRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for AgeRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgeRecipient(..)")
    }
}

/// Says whether a text is 32 bytes in Bech32 (BIP 173) under the name `age`, in small letters.
fn is_key(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(PREFIX) else { return false };
    let digit = |letter: u8| DIGITS.iter().position(|&known| known == letter).and_then(|at| u8::try_from(at).ok());
    let digits: Option<Vec<u8>> = rest.bytes().map(digit).collect();
    let Some(digits) = digits.filter(|digits| digits.len() == KEY_DIGITS + CHECKSUM_DIGITS) else { return false };
    digits.get(KEY_DIGITS - 1).is_some_and(|last| last & PADDING == 0) && checksum(&digits) == 1
}

/// The checksum of the name `age` and of digits with theirs, which is 1 where no letter is wrong.
fn checksum(digits: &[u8]) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let name = PREFIX.trim_end_matches('1').bytes();
    let spread = name.clone().map(|letter| letter >> 5).chain([0]).chain(name.map(|letter| letter & 31));
    spread.chain(digits.iter().copied()).fold(1, |sum, digit| {
        let top = sum >> 25;
        let next = ((sum & 0x01ff_ffff) << 5) ^ u32::from(digit);
        GENERATOR.iter().enumerate().fold(next, |sum, (bit, mask)| if (top >> bit) & 1 == 1 { sum ^ mask } else { sum })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the documentation of age.
    const KNOWN: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

    #[test]
    fn a_key_of_age_is_one_and_any_wrong_letter_makes_it_none() {
        assert_eq!(KNOWN.parse::<AgeRecipient>().map(|key| key.to_string()), Ok(KNOWN.to_owned()));
        for at in 0..KNOWN.len() {
            for letter in "qp1A ".chars().filter(|letter| !KNOWN[at..].starts_with(*letter)) {
                let mut changed = KNOWN.to_owned();
                changed.replace_range(at..=at, &letter.to_string());
                assert!(changed.parse::<AgeRecipient>().is_err(), "{changed}");
            }
        }
        assert!(KNOWN[..61].parse::<AgeRecipient>().is_err());
        assert!(format!("{KNOWN}q").parse::<AgeRecipient>().is_err());
        assert!(KNOWN.to_uppercase().parse::<AgeRecipient>().is_err(), "one text for one key");
    }

    #[test]
    fn what_it_is_instead_is_said_and_never_repeated() {
        let private = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
        for (text, error) in [
            (private, NoRecipient::Private),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA", NoRecipient::OtherKind),
            ("age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t", NoRecipient::OtherKind),
            ("", NoRecipient::NoKey),
            ("age1", NoRecipient::NoKey),
            ("finance@example.org", NoRecipient::NoKey),
        ] {
            let refused = text.parse::<AgeRecipient>().unwrap_err();
            assert_eq!(refused, error, "{text}");
            assert!(text.len() < 10 || !refused.to_string().contains(text), "{refused}");
        }
        assert_eq!(format!("{:?}", KNOWN.parse::<AgeRecipient>().unwrap()), "AgeRecipient(..)");
    }
}

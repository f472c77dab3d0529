//! The names of bundles: `<mailbox>_<yyyyMMddTHHmmssffff>`, and the dot-names of unfinished ones.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use retention_core::id::Digest;
use retention_core::time::Timestamp;

use super::ArchiveError;

/// The word that stands for the mailbox of items that live in none.
const NO_MAILBOX: &str = "no-mailbox";

/// The longest mailbox part in bytes. With the timestamp, the dot and the key of an unfinished bundle it stays below
/// the 255 bytes that Linux file systems allow.
const MAILBOX_BYTES_MAX: usize = 150;

/// The length of `_yyyyMMddTHHmmssffff`.
const STAMP_BYTES: usize = 20;

/// 1/10,000 s in microseconds: the resolution of the timestamp.
pub(super) const STAMP_STEP_MICROS: i64 = 100;

const PARTIAL: &str = ".partial-";
const REMOVING: &str = ".removing";

/// The name of a bundle directory.
///
/// **Invariant:** one plain path component that does not begin with a dot. It holds an address, so `Debug` hides it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleName(String);

impl BundleName {
    /// Makes the name of a mailbox and an instant, told in a zone.
    #[must_use]
    pub(super) fn of(mailbox: Option<&str>, at: Timestamp, zone: &TimeZone) -> Self {
        let local = at.to_jiff().to_zoned(zone.clone()).datetime();
        let stamp = format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}{:04}",
            local.year().max(0),
            local.month(),
            local.day(),
            local.hour(),
            local.minute(),
            local.second(),
            local.subsec_nanosecond() / 100_000
        );
        Self(format!("{}_{stamp}", mailbox.map_or_else(|| NO_MAILBOX.to_owned(), escape)))
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name under which the bundle of a key is written.
    pub(super) fn partial(&self, key: Digest) -> String {
        format!(".{}{PARTIAL}{key}", self.0)
    }

    /// Returns the name under which the bundle is taken away.
    pub(super) fn removing(&self) -> String {
        format!(".{}{REMOVING}", self.0)
    }
}

impl FromStr for BundleName {
    type Err = ArchiveError;

    fn from_str(text: &str) -> Result<Self, ArchiveError> {
        let valid = text.len().checked_sub(STAMP_BYTES).and_then(|at| text.split_at_checked(at)).is_some_and(
            |(mailbox, stamp)| {
                !mailbox.is_empty()
                    && mailbox.len() <= MAILBOX_BYTES_MAX
                    && !mailbox.starts_with('.')
                    && mailbox.bytes().all(|byte| byte == b'%' || is_plain(byte))
                    && is_stamp(stamp.as_bytes())
            },
        );
        if valid { Ok(Self(text.to_owned())) } else { Err(ArchiveError::NotAName) }
    }
}

impl fmt::Display for BundleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for BundleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stamp = self.0.rsplit('_').next().unwrap_or_default();
        write!(f, "BundleName(.._{stamp})")
    }
}

/// What a directory entry of the archive is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A bundle.
    Bundle(BundleName),
    /// An unfinished bundle and its key.
    Partial(Digest),
    /// A bundle that is being removed.
    Removing,
    /// Nothing of ours.
    Foreign,
}

impl Entry {
    pub(super) fn of(name: &str) -> Self {
        if let Ok(name) = name.parse() {
            return Self::Bundle(name);
        }
        let Some(inner) = name.strip_prefix('.') else { return Self::Foreign };
        if let Some((name, key)) = inner.rsplit_once(PARTIAL) {
            return match (name.parse::<BundleName>(), key.parse()) {
                (Ok(_), Ok(key)) => Self::Partial(key),
                _ => Self::Foreign,
            };
        }
        match inner.strip_suffix(REMOVING).map(str::parse::<BundleName>) {
            Some(Ok(_)) => Self::Removing,
            Some(Err(_)) | None => Self::Foreign,
        }
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'@' | b'.' | b'_' | b'-' | b'+')
}

fn is_stamp(stamp: &[u8]) -> bool {
    stamp.len() == STAMP_BYTES
        && stamp.iter().enumerate().all(|(at, byte)| match at {
            0 => *byte == b'_',
            9 => *byte == b'T',
            _ => byte.is_ascii_digit(),
        })
}

/// Makes a mailbox fit for a file name: letters, digits and `@ . _ - +` stay, every other byte of its UTF-8 becomes
/// `%XX`, as does a dot at the start and the first letter of a mailbox that is called like [`NO_MAILBOX`].
/// Percent-decoding gives the mailbox back, unless it is too long: then the end is `%-` and 32 digits of its SHA-256.
fn escape(mailbox: &str) -> String {
    let mut text = String::with_capacity(mailbox.len());
    for (at, byte) in mailbox.bytes().enumerate() {
        let first_is_special = at == 0 && (byte == b'.' || mailbox == NO_MAILBOX);
        if is_plain(byte) && !first_is_special {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    if text.is_empty() {
        return "%".to_owned();
    }
    if text.len() > MAILBOX_BYTES_MAX {
        text.truncate(MAILBOX_BYTES_MAX - 36);
        text.push_str("%-");
        text.extend(Digest::of(mailbox.as_bytes()).to_string().chars().take(32));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unescape(text: &str) -> Vec<u8> {
        let mut parts = text.split('%');
        let mut bytes = parts.next().unwrap().as_bytes().to_vec();
        for part in parts.filter(|part| !part.is_empty()) {
            bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
            bytes.extend_from_slice(&part.as_bytes()[2..]);
        }
        bytes
    }

    #[test]
    fn the_name_is_that_of_the_script() {
        let at: Timestamp = "2019-11-08T10:24:28.7436Z".parse().unwrap();
        let zone = TimeZone::get("Europe/Bratislava").unwrap();
        let name = BundleName::of(Some("youremailaddress@contoso.com"), at, &zone);
        assert_eq!(name.as_str(), "youremailaddress@contoso.com_20191108T1124287436");
        assert_eq!(format!("{name:?}"), "BundleName(.._20191108T1124287436)");
        assert_eq!(BundleName::of(None, at, &zone).as_str(), "no-mailbox_20191108T1124287436");
        assert_eq!(BundleName::of(Some("no-mailbox"), at, &zone).as_str(), "%6Eo-mailbox_20191108T1124287436");
    }

    proptest! {
        #[test]
        fn a_name_is_one_safe_component_and_tells_its_mailbox(mailbox in any::<String>(), seconds in 0..4_000_000_000i64) {
            let name = BundleName::of(Some(&mailbox), Timestamp::from_unix_seconds(seconds), &TimeZone::UTC);
            prop_assert_eq!(name.as_str().parse::<BundleName>().unwrap(), name.clone());
            prop_assert!(!name.as_str().contains('/') && !name.as_str().starts_with('.'));
            prop_assert!(name.partial(Digest([0xab; 32])).len() <= 255);
            prop_assert_eq!(Entry::of(&name.partial(Digest([7; 32]))), Entry::Partial(Digest([7; 32])));
            prop_assert_eq!(Entry::of(&name.removing()), Entry::Removing);
            let (escaped, _) = name.as_str().rsplit_once('_').unwrap();
            if !escaped.contains("%-") {
                prop_assert_eq!(unescape(escaped), mailbox.into_bytes());
            }
        }

        #[test]
        fn any_directory_entry_is_recognised_or_foreign(text in "[._%a-z0-9T/-]{0,90}") {
            if let Entry::Bundle(name) = Entry::of(&text) {
                prop_assert!(!name.as_str().contains('/'));
            }
        }
    }
}

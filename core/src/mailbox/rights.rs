//! Rights on a mailbox folder as sets (RFC 4314), and what a grant adds to and takes from them.
//!
//! Servers give rights back in another order and with other letters than they were given: a comparison of texts says
//! nothing. So every comparison is one of sets, with the obsolete `c` and `d` of RFC 2086 turned into what they stand
//! for.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A set of rights: lower-case letters and digits (RFC 4314, section 2).
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode, Serialize, Deserialize, ToSchema,
)]
#[serde(into = "String", try_from = "String")]
#[schema(value_type = String, example = "lrswipkxtea")]
pub struct Rights(u64);

/// A text is no set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a set of rights: expected lower-case letters and digits such as lrswipkxtea (RFC 4314)")]
pub struct RightsError;

/// Every right of RFC 4314 that can be given, in the order of its section 2.1.
const FULL: &str = "lrswipkxtea";

/// The number of a digit right follows those of the letters.
const LETTERS: u64 = 26;

const fn bit(byte: u8) -> u64 {
    match byte {
        b'a'..=b'z' => 1 << (byte - b'a'),
        b'0'..=b'9' => 1 << (LETTERS + (byte - b'0') as u64),
        _ => 0,
    }
}

impl Rights {
    /// No right.
    pub const NONE: Self = Self(0);

    /// FullAccess: all rights of RFC 4314.
    pub const FULL_ACCESS: Self = Self::of_ascii(FULL.as_bytes());

    /// What is needed to read a folder and its messages.
    pub const READ: Self = Self::of_ascii(b"lr");

    /// What is needed to give rights to others.
    pub const ADMINISTER: Self = Self::of_ascii(b"a");

    /// What is needed to purge messages from a folder.
    pub const PURGE: Self = Self::of_ascii(b"lrte");

    /// Reads what a server answers: in any order, in either case; what is no letter or digit is passed over.
    #[must_use]
    pub fn parse(answer: &str) -> Self {
        Self::of_ascii(answer.to_ascii_lowercase().as_bytes())
    }

    #[expect(clippy::indexing_slicing, reason = "evaluated when compiled; a slice iterator is not const")]
    const fn of_ascii(bytes: &[u8]) -> Self {
        let (mut set, mut n) = (0, 0);
        while n < bytes.len() {
            set |= bit(bytes[n]);
            n += 1;
        }
        Self(set)
    }

    /// Returns the set with RFC 2086's `c` and `d` turned into what they stand for.
    ///
    /// A server must show them beside the rights they cover (RFC 4314, section 2.1.1); one that knows no others shows
    /// them alone, and then they mean all that they cover.
    #[must_use]
    pub fn plain(self) -> Self {
        let mut set = self.0;
        let deletes = bit(b't') | bit(b'e') | bit(b'x');
        if set & bit(b'd') != 0 && set & deletes == 0 {
            set |= deletes;
        }
        // Looked at before `d` was turned into `x` too.
        if self.0 & bit(b'c') != 0 && self.0 & (bit(b'k') | bit(b'x')) == 0 {
            set |= bit(b'k');
        }
        Self(set & !(bit(b'c') | bit(b'd')))
    }

    /// Says whether nothing is allowed.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Says whether everything that `other` allows is allowed.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        let (have, want) = (self.plain().0, other.plain().0);
        have & want == want
    }

    /// Says whether both allow the same.
    #[must_use]
    pub fn is_same_as(self, other: Self) -> bool {
        self.plain() == other.plain()
    }

    /// Returns what either allows.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.plain().0 | other.plain().0)
    }

    /// Returns what this allows and `other` does not.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.plain().0 & !other.plain().0)
    }

    /// Returns what stays of `self`, as it is now, when a grant of `given` ends before which `standing` was allowed.
    ///
    /// **Invariant:** a subset of `self`, so nobody is given anything; and everything of `standing` that is still there
    /// stays.
    #[must_use]
    pub fn after_revoking(self, given: Self, standing: Self) -> Self {
        self.without(given.without(standing))
    }
}

impl fmt::Display for Rights {
    /// Writes the rights of RFC 4314 in its order, then all others by alphabet.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = (b'a'..=b'z').chain(b'0'..=b'9').filter(|byte| !FULL.as_bytes().contains(byte));
        let shown: String = FULL.bytes().chain(rest).filter(|byte| self.0 & bit(*byte) != 0).map(char::from).collect();
        f.pad(&shown)
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rights({self})")
    }
}

impl FromStr for Rights {
    type Err = RightsError;

    fn from_str(text: &str) -> Result<Self, RightsError> {
        text.bytes().try_fold(Self::NONE, |set, byte| match bit(byte) {
            0 => Err(RightsError),
            bit => Ok(Self(set.0 | bit)),
        })
    }
}

impl From<Rights> for String {
    fn from(rights: Rights) -> Self {
        rights.to_string()
    }
}

impl TryFrom<String> for Rights {
    type Error = RightsError;

    fn try_from(text: String) -> Result<Self, RightsError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rights(text: &str) -> Rights {
        text.parse().unwrap()
    }

    #[test]
    fn what_three_servers_read_back_is_full_access() {
        for (server, text) in [
            ("Dovecot", "akxeilprwtscd"),
            ("Cyrus", "lrswipkxtecda"),
            ("Courier", "adiklprsw"),
            ("Cyrus owner", "lrswipkxtecdan"),
        ] {
            assert!(rights(text).covers(Rights::FULL_ACCESS), "{server}");
        }
        assert!(!rights("acdilrsw").covers(Rights::FULL_ACCESS), "without p, nobody may post");
    }

    #[test]
    fn a_virtual_right_beside_one_that_it_covers_says_nothing_more() {
        assert_eq!(rights("td").plain(), rights("t"));
        assert_eq!(rights("d").plain(), rights("tex"));
        assert!(!rights("lrt").is_same_as(rights("lrd")));
    }

    #[test]
    fn what_servers_read_back_is_what_was_asked() {
        let asked = Rights::FULL_ACCESS;
        for shown in ["akxeilprwtscd", "lrswipkxtecda", "adiklprsw"] {
            assert!(Rights::parse(shown).is_same_as(asked), "{shown}");
        }
        assert!(!Rights::parse("lrswipkxte").is_same_as(asked), "without a");
        assert!(!Rights::parse("lrs").covers(asked));
        assert!(Rights::parse("lrswipkxtecdan").covers(asked));
    }

    #[test]
    fn old_letters_alone_stand_for_the_new_ones() {
        assert!(Rights::parse("lrcd").is_same_as(Rights::parse("lrktex")));
        assert!(!Rights::parse("lrcx").covers(Rights::parse("k")), "c beside x says nothing of k");
    }

    #[test]
    fn what_is_no_right_is_refused() {
        for text in ["L", "l r", "é", "-"] {
            assert_eq!(text.parse::<Rights>(), Err(RightsError), "{text}");
        }
    }

    fn any() -> impl Strategy<Value = Rights> {
        "[a-z0-9]{0,12}".prop_map(|text| text.parse().unwrap())
    }

    proptest! {
        #[test]
        fn a_set_reads_back_as_written(set in any()) {
            prop_assert_eq!(set.to_string().parse::<Rights>(), Ok(set));
        }

        #[test]
        fn an_answer_is_a_set_in_any_order(text in "[a-zA-Z0-9 -]{0,40}") {
            let rights = Rights::parse(&text);
            prop_assert_eq!(Rights::parse(&rights.to_string()), rights);
            let reversed: String = text.chars().rev().collect();
            prop_assert_eq!(Rights::parse(&reversed), rights);
            prop_assert_eq!(rights.plain().plain(), rights.plain());
            prop_assert!(rights.is_same_as(rights));
        }

        #[test]
        fn revoking_never_widens_and_never_takes_what_stood_before(
            present in any(), given in any(), standing in any()
        ) {
            let left = present.after_revoking(given, standing);
            prop_assert!(present.covers(left));
            prop_assert!(left.covers(Rights(present.plain().0 & standing.plain().0)));
            prop_assert!(left.plain().0 & given.without(standing).0 == 0);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text: String) {
            let _ = text.parse::<Rights>();
        }
    }
}

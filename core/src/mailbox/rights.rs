//! Rights on a folder (RFC 4314), as a set.

use std::fmt;

/// A set of rights. Unknown letters and digits are kept: a server may have rights of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rights(u64);

/// How a server folds rights together, so that what is read back can be compared with what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folding {
    /// RFC 4314: `c` and `d` are virtual, shown beside the rights they stand for.
    Virtual,
    /// RFC 2086 in part: `t`, `e` and `x` are one right `d`, and `c` is `k`. Courier answers so.
    OneDelete,
}

impl Rights {
    /// None at all.
    pub const NONE: Self = Self(0);

    /// What FullAccess means: look up, read, keep seen, write flags, insert, post, create and delete folders, delete
    /// messages, expunge, administer.
    pub const FULL_ACCESS: Self = Self::of(b"lrswipkxtea");

    /// What is needed to read a folder and its messages.
    pub const READ: Self = Self::of(b"lr");

    /// What is needed to purge messages from a folder.
    pub const PURGE: Self = Self::of(b"lrte");

    const fn of(letters: &[u8]) -> Self {
        let mut set = 0;
        let mut at = 0;
        while at < letters.len() {
            #[expect(
                clippy::indexing_slicing,
                reason = "a constant function has no iterators; the loop ends at the length"
            )]
            if let Some(bit) = bit(letters[at]) {
                set |= 1 << bit;
            }
            at += 1;
        }
        Self(set)
    }

    /// Reads letters in any order. What is no letter or digit is passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::of(text.as_bytes())
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it holds all of `other`.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns what is in one of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns what is not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns the set in the form in which sets of such a server can be compared.
    #[must_use]
    pub const fn folded(self, folding: Folding) -> Self {
        match folding {
            Folding::Virtual => {
                // A server that knows only the old letters shows them alone: they then mean what they stood for.
                let deletes = if self.has(b"d") && !self.has_one_of(b"tex") { Self::of(b"tex").0 } else { 0 };
                let creates = if self.has(b"c") && !self.has_one_of(b"kx") { Self::of(b"k").0 } else { 0 };
                Self((self.0 | deletes | creates) & !Self::of(b"cd").0)
            }
            Folding::OneDelete => {
                let delete = if self.has_one_of(b"texd") { Self::of(b"d").0 } else { 0 };
                let create = if self.has_one_of(b"kc") { Self::of(b"k").0 } else { 0 };
                Self((self.0 & !Self::of(b"texdkc").0) | delete | create)
            }
        }
    }

    /// Whether both mean the same on such a server.
    #[must_use]
    pub const fn same_as(self, other: Self, folding: Folding) -> bool {
        self.folded(folding).0 == other.folded(folding).0
    }

    /// Whether it holds all that `other` means on such a server.
    #[must_use]
    pub const fn means_all_of(self, other: Self, folding: Folding) -> bool {
        self.folded(folding).covers(other.folded(folding))
    }

    const fn has(self, letters: &[u8]) -> bool {
        self.covers(Self::of(letters))
    }

    const fn has_one_of(self, letters: &[u8]) -> bool {
        self.0 & Self::of(letters).0 != 0
    }
}

const fn bit(letter: u8) -> Option<u8> {
    match letter {
        b'a'..=b'z' => Some(letter - b'a'),
        b'A'..=b'Z' => Some(letter - b'A'),
        b'0'..=b'9' => Some(letter - b'0' + 26),
        _ => None,
    }
}

/// The order in which people know the letters; others follow by the alphabet.
const ORDER: &[u8] = b"lrswipkxteacdnbfghjmoquvyz0123456789";

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = ORDER.iter().filter(|letter| self.has(std::slice::from_ref(letter)));
        f.write_str(&letters.map(|letter| char::from(*letter)).collect::<String>())
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rights({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_servers_read_back_is_what_was_asked() {
        let asked = Rights::FULL_ACCESS;
        for (shown, folding) in [
            ("akxeilprwtscd", Folding::Virtual),
            ("lrswipkxtecda", Folding::Virtual),
            ("adiklprsw", Folding::OneDelete),
        ] {
            assert!(Rights::parse(shown).same_as(asked, folding), "{shown}");
        }
        assert!(!Rights::parse("lrswipkxte").same_as(asked, Folding::Virtual), "without a");
        assert!(!Rights::parse("lrs").means_all_of(asked, Folding::OneDelete));
        assert!(Rights::parse("lrswipkxtecdan").means_all_of(asked, Folding::Virtual));
    }

    #[test]
    fn old_letters_alone_stand_for_the_new_ones() {
        assert!(Rights::parse("lrcd").same_as(Rights::parse("lrktex"), Folding::Virtual));
    }

    proptest! {
        #[test]
        fn a_set_is_what_was_written(text in "[a-zA-Z0-9 -]{0,40}") {
            let rights = Rights::parse(&text);
            prop_assert_eq!(Rights::parse(&rights.to_string()), rights);
            let reversed: String = text.chars().rev().collect();
            prop_assert_eq!(Rights::parse(&reversed), rights);
            for folding in [Folding::Virtual, Folding::OneDelete] {
                prop_assert_eq!(rights.folded(folding).folded(folding), rights.folded(folding), "folding twice");
                prop_assert!(rights.same_as(rights, folding));
            }
        }
    }
}

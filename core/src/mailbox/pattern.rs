//! Which addresses are meant.

use std::fmt;
use std::str::FromStr;

use super::ADDRESS_BYTES_MAX;

/// An address, or a part of many: `*` stands for any characters, as in `*@example.org`. Letters count without regard to
/// case. It may name a person: `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct AddressPattern {
    /// What stands between the asterisks, in lower case; one part means the whole address.
    parts: Vec<String>,
}

impl fmt::Debug for AddressPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressPattern").finish_non_exhaustive()
    }
}

/// A text that can be no part of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the address is empty, longer than {ADDRESS_BYTES_MAX} bytes, or holds control characters; write one, or * for any \
     characters, as in *@example.org"
)]
pub struct AddressPatternError;

impl FromStr for AddressPattern {
    type Err = AddressPatternError;

    fn from_str(text: &str) -> Result<Self, AddressPatternError> {
        if text.is_empty() || text.len() > ADDRESS_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(AddressPatternError);
        }
        Ok(Self { parts: text.to_lowercase().split('*').map(str::to_owned).collect() })
    }
}

impl AddressPattern {
    /// Says whether an address is meant.
    #[must_use]
    pub fn matches(&self, address: &str) -> bool {
        let address = address.to_lowercase();
        let Some((first, others)) = self.parts.split_first() else { return false };
        let Some((last, between)) = others.split_last() else { return address == *first };
        let Some(mut rest) = address.strip_prefix(first.as_str()) else { return false };
        // The first place for each part leaves the most room for those that follow.
        for part in between {
            let Some(at) = rest.find(part.as_str()) else { return false };
            rest = rest.get(at + part.len()..).unwrap_or_default();
        }
        rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> AddressPattern {
        text.parse().unwrap()
    }

    #[test]
    fn an_asterisk_stands_for_any_characters_and_everything_else_for_itself() {
        for (text, meant, not_meant) in [
            ("jana@example.org", "Jana@Example.ORG", "jana@example.org.uk"),
            ("*@example.org", "jana@example.org", "jana@other.org"),
            ("*@example.org", "@example.org", "jana@sub.example.org"),
            ("j*@example.org", "j@example.org", "ada@example.org"),
            ("*a*@*", "jana@b", "eve@b"),
            ("ab*ba", "abba", "aba"),
        ] {
            assert!(pattern(text).matches(meant), "{text} {meant}");
            assert!(!pattern(text).matches(not_meant), "{text} {not_meant}");
        }
        assert!(pattern("*").matches("") && pattern("**").matches("jana@example.org"));
        assert!(!format!("{:?}", pattern("jana@example.org")).contains("jana"));
    }

    #[test]
    fn what_no_address_can_have_is_refused() {
        for text in ["", "a\nb", &"a".repeat(ADDRESS_BYTES_MAX + 1)] {
            assert_eq!(text.parse::<AddressPattern>(), Err(AddressPatternError));
        }
    }

    /// The plain meaning, tried in every way.
    fn means(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|at| means(rest, &text[at..])),
            Some((c, rest)) => text.split_first().is_some_and(|(first, text)| first == c && means(rest, text)),
        }
    }

    proptest! {
        #[test]
        fn it_means_what_trying_every_way_says(text in "[ab*@]{1,7}", address in "[ab@]{0,9}") {
            let plain = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(pattern(&text).matches(&address), means(&plain(&text), &plain(&address)));
        }
    }
}

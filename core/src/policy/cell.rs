//! What a cell says: numbers, sums, truth values and instants in the text of a row, without allocation.
//!
//! Every reader has three answers: nothing there, a value, or text that cannot be read as such. The last one keeps
//! the entity, so a reader is strict and never guesses.

use std::fmt;

use crate::time::{Timestamp, Zone, iso};

/// What was found in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found<T> {
    /// Null, empty or blank.
    Nothing,
    /// A value.
    Value(T),
    /// Text that is no such value.
    Unreadable,
}

impl<T> Found<T> {
    fn of(value: Option<T>) -> Self {
        value.map_or(Self::Unreadable, Self::Value)
    }
}

/// A decimal number with up to nine decimals, compared exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Decimal(i128);

/// How many decimals are kept.
const DECIMALS: usize = 9;
/// The most digits before the point: 10^27 and nine decimals fit 128 bits.
const DIGITS_MAX: usize = 27;
/// One, as [`Decimal`] keeps it.
const ONE: i128 = 1_000_000_000;

impl Decimal {
    /// Makes a whole number.
    #[must_use]
    pub(super) fn from_whole(number: u32) -> Self {
        Self(i128::from(number) * ONE)
    }

    /// Reads digits with an optional sign and a point.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::parse_grouped(text, Grouping::None)
    }

    fn parse_grouped(text: &str, grouping: Grouping) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        if text.ends_with('.') || !grouping.allows(whole) {
            return None;
        }
        let kept = decimals.trim_end_matches('0');
        if kept.len() > DECIMALS || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = whole.bytes().filter(|byte| *byte != b',');
        let padded = kept.bytes().chain(std::iter::repeat(b'0')).take(DECIMALS);
        let (mut value, mut count) = (0_i128, 0_usize);
        for digit in digits.chain(padded) {
            if !digit.is_ascii_digit() {
                return None;
            }
            count += 1;
            if count > DIGITS_MAX + DECIMALS {
                return None;
            }
            value = value * 10 + i128::from(digit - b'0');
        }
        Some(Self(if negative { -value } else { value }))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, decimals) =
            (self.0.unsigned_abs() / ONE.unsigned_abs(), self.0.unsigned_abs() % ONE.unsigned_abs());
        if decimals == 0 {
            return write!(f, "{sign}{whole}");
        }
        let decimals = format!("{decimals:09}");
        write!(f, "{sign}{whole}.{}", decimals.trim_end_matches('0'))
    }
}

#[derive(Clone, Copy)]
enum Grouping {
    None,
    Thousands,
}

impl Grouping {
    /// Says whether the digits before the point are well formed: at least one, commas only before groups of three.
    fn allows(self, whole: &str) -> bool {
        match self {
            Self::None => !whole.is_empty() && !whole.contains(','),
            Self::Thousands => {
                let mut groups = whole.split(',');
                let first = groups.next().unwrap_or_default();
                let mut rest = groups.peekable();
                !first.is_empty() && (rest.peek().is_none() || first.len() <= 3) && rest.all(|group| group.len() == 3)
            }
        }
    }
}

pub(super) fn is_blank(cell: Option<&str>) -> bool {
    cell.is_none_or(|text| text.trim_ascii().is_empty())
}

/// Says whether a cell of a date has content that nobody reads as one. What a mapping reads as a date stands in its cell as
/// `2026-03-01`, perhaps with a time of day behind.
pub(super) fn is_unread_date(cell: Option<&str>) -> bool {
    content(cell).is_some_and(|text| !iso::is_read(text))
}

fn content(cell: Option<&str>) -> Option<&str> {
    cell.map(str::trim_ascii).filter(|text| !text.is_empty())
}

pub(super) fn number(cell: Option<&str>) -> Found<Decimal> {
    content(cell).map_or(Found::Nothing, |text| Found::of(Decimal::parse(text)))
}

/// Reads a sum such as `USD 12,500.00`; a currency alone is no sum. Currencies are not converted.
pub(super) fn money(cell: Option<&str>) -> Found<Decimal> {
    let Some(text) = content(cell) else { return Found::Nothing };
    let is_currency = |c: char| c.is_ascii_uppercase() || matches!(c, '$' | '€' | '£' | ' ' | '\u{a0}');
    let amount = text.trim_matches(is_currency);
    if amount.is_empty() {
        return Found::Nothing;
    }
    Found::of(Decimal::parse_grouped(amount, Grouping::Thousands))
}

pub(super) fn boolean(cell: Option<&str>) -> Found<bool> {
    let Some(text) = content(cell) else { return Found::Nothing };
    if text.eq_ignore_ascii_case("true") {
        Found::Value(true)
    } else if text.eq_ignore_ascii_case("false") {
        Found::Value(false)
    } else {
        Found::Unreadable
    }
}

pub(super) fn instant(cell: Option<&str>, zone: &Zone) -> Found<Timestamp> {
    content(cell).map_or(Found::Nothing, |text| Found::of(Timestamp::parse_in(text, zone).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_and_strict() {
        assert_eq!(number(Some("0.1")), Found::Value(Decimal(100_000_000)));
        assert_eq!(number(Some(" -12 ")), Found::Value(Decimal(-12 * ONE)));
        assert_eq!(number(Some("1.50000000000000")), Found::Value(Decimal(1_500_000_000)));
        assert_eq!(number(Some("  ")), Found::Nothing);
        for text in ["1,5", "1e3", ".", "1.", "-", "0x10", "1.0000000001", "9999999999999999999999999999", "1 2"] {
            assert_eq!(number(Some(text)), Found::Unreadable, "{text}");
        }
        for text in ["0", "-1.5", "12.000000001", "999999999999999999999999999"] {
            assert_eq!(Decimal::parse(text).map(|d| d.to_string()).as_deref(), Some(text));
        }
    }

    #[test]
    fn sums_carry_currencies_and_groups_of_three() {
        assert_eq!(money(Some("USD 12,500.00")), Found::Value(Decimal(12_500 * ONE)));
        assert_eq!(money(Some("980.50 EUR")), Found::Value(Decimal(980_500_000_000)));
        assert_eq!(money(Some("USD ")), Found::Nothing);
        assert_eq!(money(Some("EUR 12.500,00")), Found::Unreadable);
        assert_eq!(money(Some("1,25")), Found::Unreadable);
    }

    #[test]
    fn truth_values_are_words() {
        assert_eq!(boolean(Some("TRUE")), Found::Value(true));
        assert_eq!(boolean(Some("false")), Found::Value(false));
        assert_eq!(boolean(Some("1")), Found::Unreadable);
        assert_eq!(boolean(None), Found::Nothing);
    }

    #[test]
    fn a_time_of_day_without_an_offset_is_not_guessed() {
        assert_eq!(instant(Some("2020-04-30T10:00:00"), &Zone::utc()), Found::Unreadable);
        assert_eq!(
            instant(Some("2020-02-18T09:00:00.10Z"), &Zone::utc()),
            Found::Value(Timestamp(1_582_016_400_100_000))
        );
    }
}

//! Dates as ISO 8601 writes them: one reader for those who take them in and for those who judge whether one was taken.

use jiff::civil::{Date, Time};
use jiff::tz::Offset;

/// A date as written, with what else stood there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The day.
    pub date: Date,
    /// The time of day.
    pub time: Option<Time>,
    /// The distance from UTC.
    pub offset: Option<Offset>,
}

/// The last year before that of any record: a date of it was mistyped, lacks its century, or is of another calendar.
const YEAR_BEFORE_RECORDS: i16 = 1900;

/// Says whether a date stands for none. Programs write these where nothing is known: the zero of .NET, of SQL Server, of
/// Windows (and the day before it, where the clock was behind UTC), the least that MySQL knows, the zero of spreadsheets,
/// which a time of day without a date is one of as well, and that of Unix. A record of the last is kept too long.
#[must_use]
pub fn stands_for_none(date: Date) -> bool {
    matches!(
        (date.year(), date.month(), date.day()),
        (..=1, _, _)
            | (1000 | 1601 | 1753 | 1800 | 1900 | 1970, 1, 1)
            | (1600 | 1752 | 1899 | 1969, 12, 31)
            | (1899, 12, 30)
    )
}

/// Says whether a date is of a time of which nobody keeps records. What it means is not known, and it is not nothing.
#[must_use]
pub fn is_before_records(date: Date) -> bool {
    date.year() <= YEAR_BEFORE_RECORDS && !stands_for_none(date)
}

/// Says whether a cell is a date that counts, or one that stands for none.
#[must_use]
pub fn is_read(text: &str) -> bool {
    parse_iso(text).is_some_and(|written| !is_before_records(written.date))
}

/// Reads `2026-03-01`, `2026-03-01T10:00[:00[.123]]` and a blank for the `T`, with `Z` or `+01:00` or nothing behind.
#[must_use]
pub fn parse_iso(text: &str) -> Option<Written> {
    let bytes = text.trim_ascii().as_bytes();
    let (day, rest) = bytes.split_first_chunk::<10>()?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *day else { return None };
    let year = i16::try_from(number(&[y1, y2, y3, y4])?).ok()?;
    let date = Date::new(year, small(&[m1, m2])?, small(&[d1, d2])?).ok()?;
    let rest = match rest {
        [] => return Some(Written { date, time: None, offset: None }),
        [b'T' | b't' | b' ', rest @ ..] => rest,
        _ => return None,
    };
    let (clock, rest) = rest.split_first_chunk::<5>()?;
    let [h1, h2, b':', n1, n2] = *clock else { return None };
    let (second, rest) = match rest {
        [b':', s1, s2, rest @ ..] => (small(&[*s1, *s2])?, rest),
        rest => (0, rest),
    };
    let (nanos, rest) = match rest {
        [b'.' | b',', rest @ ..] => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 || digits > 9 {
                return None;
            }
            let (fraction, rest) = rest.split_at_checked(digits)?;
            let scale = 10_i32.checked_pow(u32::try_from(9 - digits).ok()?)?;
            (number(fraction)?.checked_mul(scale)?, rest)
        }
        rest => (0, rest),
    };
    let time = Time::new(small(&[h1, h2])?, small(&[n1, n2])?, second, nanos).ok()?;
    Some(Written { date, time: Some(time), offset: parse_offset(rest)? })
}

fn parse_offset(rest: &[u8]) -> Option<Option<Offset>> {
    let (sign, digits) = match rest {
        [] => return Some(None),
        [b'Z' | b'z'] => return Some(Some(Offset::UTC)),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let [h1, h2, m1, m2] = match *digits {
        [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => [h1, h2, m1, m2],
        [h1, h2] => [h1, h2, b'0', b'0'],
        _ => return None,
    };
    let seconds = number(&[h1, h2])? * 3_600 + number(&[m1, m2])? * 60;
    Offset::from_seconds(sign * seconds).ok().map(Some)
}

fn number(digits: &[u8]) -> Option<i32> {
    digits.iter().try_fold(0_i32, |value, byte| {
        byte.is_ascii_digit().then(|| value.checked_mul(10)?.checked_add(i32::from(byte - b'0')))?
    })
}

fn small(digits: &[u8]) -> Option<i8> {
    i8::try_from(number(digits)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_like_a_date_and_is_none_was_not_read() {
        for read in
            ["2020-01-02", "2020-01-02T10:00", "2020-01-02 10:00:00.5+01:00", "9999-12-31", "1601-01-01T00:00:00Z"]
        {
            assert!(is_read(read), "{read}");
        }
        for unread in
            ["2026-02-30", "2026-06-30T24:00", "2026-06-30T23:59:60Z", "1405-05-12", "0025-12-31", "2026-06-30T10:00x"]
        {
            assert!(!is_read(unread), "{unread}");
        }
    }

    #[test]
    fn only_what_programs_write_for_nothing_stands_for_none() {
        let day = |text: &str| parse_iso(text).unwrap().date;
        for none in [
            "0001-01-01",
            "0000-12-31",
            "1601-01-01",
            "1753-01-01",
            "1899-12-30",
            "1899-12-31",
            "1900-01-01",
            "1970-01-01",
        ] {
            assert!(stands_for_none(day(none)) && !is_before_records(day(none)), "{none}");
        }
        for other in ["0025-12-31", "1405-05-12", "1899-12-01", "1900-01-17"] {
            assert!(!stands_for_none(day(other)) && is_before_records(day(other)), "{other}");
        }
        assert!(!stands_for_none(day("1901-01-01")) && !is_before_records(day("1901-01-01")));
    }
}

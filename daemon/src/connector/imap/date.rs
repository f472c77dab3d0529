//! `INTERNALDATE`: when the server took a message in, `" 1-Jan-2015 10:00:00 +0100"` (RFC 3501, 9, date-time).

use std::fmt;

use jiff::Timestamp as Instant;
use jiff::civil;
use jiff::tz::{Offset, TimeZone};
use retention_core::time::Timestamp;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// An instant with the offset in which the server told it, so that it can be written as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InternalDate {
    instant: Instant,
    offset: Offset,
}

impl InternalDate {
    /// What many servers tell of a message of which they know no date: the zero of Unix.
    pub const UNKNOWN: Self = Self { instant: Instant::UNIX_EPOCH, offset: Offset::UTC };

    /// Reads it. `None` when it is no date: then nothing may be decided on it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let (date, time, zone) = (words.next()?, words.next()?, words.next()?);
        let mut parts = date.split('-');
        let day: i8 = digits(parts.next()?)?;
        let month = parts.next()?;
        let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))?;
        // Of a year in two digits nobody knows the century: taken as it stands, all mail were two thousand years old.
        let year: i16 = parts.next().filter(|year| year.len() == 4).and_then(digits)?;
        let mut clock = time.split(':');
        let (hour, minute, second): (i8, i8, i8) =
            (digits(clock.next()?)?, digits(clock.next()?)?, digits(clock.next()?)?);
        if words.next().is_some() || parts.next().is_some() || clock.next().is_some() {
            return None;
        }
        // A leap second is told as the second before it.
        let local =
            civil::DateTime::new(year, i8::try_from(month + 1).ok()?, day, hour, minute, second.min(59), 0).ok()?;
        let offset = offset(zone)?;
        let instant = local.to_zoned(TimeZone::fixed(offset)).ok()?.timestamp();
        Some(Self { instant, offset })
    }

    /// Returns the instant in UTC.
    #[must_use]
    pub fn of(at: Timestamp) -> Option<Self> {
        Some(Self { instant: Instant::from_microsecond(at.0).ok()?, offset: Offset::UTC })
    }

    /// Returns the instant.
    #[must_use]
    pub fn at(self) -> Timestamp {
        Timestamp(self.instant.as_microsecond())
    }
}

impl fmt::Display for InternalDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = self.offset.to_datetime(self.instant);
        let month =
            usize::from(local.month().unsigned_abs()).checked_sub(1).and_then(|at| MONTHS.get(at)).unwrap_or(&"Jan");
        let seconds = self.offset.seconds();
        let minutes = seconds.unsigned_abs() / 60;
        let sign = if seconds < 0 { '-' } else { '+' };
        write!(
            f,
            "{:02}-{month}-{:04} {:02}:{:02}:{:02} {sign}{:02}{:02}",
            local.day(),
            local.year(),
            local.hour(),
            local.minute(),
            local.second(),
            minutes / 60,
            minutes % 60
        )
    }
}

fn digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn offset(zone: &str) -> Option<Offset> {
    let (sign, rest) = match zone.as_bytes().first()? {
        b'+' => (1, zone.get(1..)?),
        b'-' => (-1, zone.get(1..)?),
        _ => return None,
    };
    if rest.len() != 4 {
        return None;
    }
    let number: i32 = digits(rest)?;
    let (hours, minutes) = (number / 100, number % 100);
    (minutes < 60).then(|| Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_are_read_and_written_as_servers_do() {
        let date = InternalDate::parse(" 1-Jan-2015 10:00:00 +0130").expect("a date");
        assert_eq!(date.at(), Timestamp::from_unix_seconds(1_420_101_000));
        assert_eq!(date.to_string(), "01-Jan-2015 10:00:00 +0130");
        assert_eq!(
            InternalDate::parse("29-feb-2016 23:59:60 -0000").expect("a date").to_string(),
            "29-Feb-2016 23:59:59 +0000"
        );
        for none in [
            "",
            "1-Jan-2015",
            "30-Feb-2015 10:00:00 +0000",
            "1-Foo-2015 10:00:00 +0000",
            "1-Jan-15 10:00:00 +0000",
            "1-Jan-02015 10:00:00 +0000",
            "1-Jan-2015 10:00:00 GMT",
            "1-Jan-2015 10:00 +0000",
            "1-Jan-2015 10:00:00 +00",
            "1-Jan-2015 10:00:00 +0060",
            "+1-Jan-2015 10:00:00 +0000",
        ] {
            assert_eq!(InternalDate::parse(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in -2_000_000_000_i64..10_000_000_000, minutes in -720_i32..840) {
            let at = Timestamp::from_unix_seconds(seconds);
            let date = InternalDate { instant: Instant::from_microsecond(at.0).expect("near"), offset: Offset::from_seconds(minutes * 60).expect("an offset") };
            prop_assert_eq!(InternalDate::parse(&date.to_string()), Some(date));
        }

        #[test]
        fn any_text_is_a_date_or_none(text in "[ 0-9A-Za-z:+-]{0,32}") {
            let _read = InternalDate::parse(&text);
        }
    }
}

//! Reading times and dates of other people. Where a value has several readings, the latest counts: keeping too long
//! can be mended, disposing too early cannot.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use retention_core::time::Timestamp;
use retention_core::time::iso::{self, Written, parse_iso};

use crate::connector::defect::Defect;

/// Latest instant that a local time without zone can mean, behind the same time in UTC: zones reach to UTC-12.
const LATEST_ZONE_US: i64 = 12 * 3_600 * 1_000_000;

/// What a cell says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// The instant, if there is one that can be used.
    pub at: Option<Timestamp>,
    /// What is odd about it.
    pub defect: Option<Defect>,
}

impl Found {
    fn exact(at: Timestamp) -> Self {
        Self { at: Some(at), defect: None }
    }

    fn nothing(defect: Defect) -> Self {
        Self { at: None, defect: Some(defect) }
    }

    fn noted(self, defect: Defect) -> Self {
        Self { defect: self.defect.or(Some(defect)), ..self }
    }
}

/// Why a day is no date that counts, if it is none.
fn unusable(date: Date) -> Option<Found> {
    if iso::stands_for_none(date) {
        return Some(Found::nothing(Defect::SentinelDate));
    }
    iso::is_before_records(date).then_some(Found::nothing(Defect::DateUnreadable))
}

/// The last instant that can be said. What lies behind it is 9999-12-31, which programs write for an end that never comes.
fn last() -> Timestamp {
    Timestamp::from_jiff(jiff::Timestamp::MAX)
}

fn at_offset(written: DateTime, offset: Offset) -> Timestamp {
    offset.to_timestamp(written).map_or(last(), Timestamp::from_jiff)
}

/// Reads the numbers of a culture's date: `31. 12. 2025`, `31.12.2025 14:05`, `3/31/2001 12:00:00 AM`.
struct CultureParts {
    first: i8,
    second: i8,
    year: i16,
    mark: char,
    time: Option<Time>,
}

fn parse_culture(text: &str) -> Option<CultureParts> {
    let text = text.trim();
    let mark = text.chars().find(|c| !c.is_ascii_digit() && !is_space(*c))?;
    if !matches!(mark, '.' | '/' | '-') {
        return None;
    }
    let mut parts = text.splitn(3, mark);
    let first = parts.next()?.trim_matches(is_space).parse().ok()?;
    let second = parts.next()?.trim_matches(is_space).parse().ok()?;
    let rest = parts.next()?.trim_matches(is_space);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (year, clock) = rest.split_at_checked(digits)?;
    if digits != 4 {
        return None;
    }
    let clock = clock.trim_matches(is_space);
    let time = if clock.is_empty() { None } else { Some(parse_clock(clock)?) };
    Some(CultureParts { first, second, year: year.parse().ok()?, mark, time })
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{202f}')
}

fn parse_clock(text: &str) -> Option<Time> {
    let mut words = text.split(is_space).filter(|word| !word.is_empty());
    let mut parts = words.next()?.split(':');
    let hour: i8 = parts.next()?.parse().ok()?;
    let minute = parts.next()?.parse().ok()?;
    let second = parts.next().map_or(Some(0), |part| part.parse().ok())?;
    if parts.next().is_some() {
        return None;
    }
    let half = words.next().map(str::to_ascii_lowercase);
    let hour = match (half.as_deref(), hour) {
        (None, hour) => hour,
        (Some("am" | "a.m."), 12) => 0,
        (Some("am" | "a.m."), hour) if (1..12).contains(&hour) => hour,
        (Some("pm" | "p.m."), 12) => 12,
        (Some("pm" | "p.m."), hour) if (1..12).contains(&hour) => hour + 12,
        (Some(_), _) => return None,
    };
    if words.next().is_some() {
        return None;
    }
    Time::new(hour, minute, second, 0).ok()
}

/// Reads a Czech or Slovak date: day, month, year with points.
#[must_use]
pub fn parse_czech(text: &str) -> Option<Written> {
    let parts = parse_culture(text).filter(|parts| parts.mark == '.')?;
    let date = Date::new(parts.year, parts.second, parts.first).ok()?;
    Some(Written { date, time: parts.time, offset: None })
}

/// The latest instant that a local time can mean: in the zone if it is known, else at UTC-12.
fn latest(written: DateTime, zone: Option<&TimeZone>) -> Timestamp {
    match zone {
        Some(zone) => {
            let zoned = zone.to_ambiguous_zoned(written).later();
            zoned.map_or(last(), |zoned| Timestamp::from_jiff(zoned.timestamp()))
        }
        None => Timestamp(at_offset(written, Offset::UTC).0.saturating_add(LATEST_ZONE_US)).min(last()),
    }
}

/// The last microsecond of a day.
fn day_end(date: Date, zone: Option<&TimeZone>) -> Timestamp {
    let next = date.tomorrow().map(|next| latest(DateTime::from_parts(next, Time::midnight()), zone));
    next.map_or(last(), |next| Timestamp(next.0 - 1))
}

/// Reads a time of the export that is truly UTC (`DateTimeCreated`, `BirthDay`, custom dates of contacts).
#[must_use]
pub fn ocm_utc(text: &str, zone: Option<&TimeZone>) -> Found {
    let Some(written) = parse_iso(text) else { return ocm_culture(text, zone) };
    match (unusable(written.date), written.offset, written.time) {
        (Some(none), _, _) => none,
        (None, Some(offset), Some(time)) => Found::exact(at_offset(DateTime::from_parts(written.date, time), offset)),
        (None, None, Some(time)) => {
            Found::exact(latest(DateTime::from_parts(written.date, time), zone)).noted(Defect::ZoneUnknown)
        }
        (None, _, None) => ocm_day(text, zone),
    }
}

/// Reads a time of the export whose `Z` is only a letter (`EventTime`, `EventDateTime`).
#[must_use]
pub fn ocm_stream(text: &str, zone: Option<&TimeZone>) -> Found {
    let Some(written) = parse_iso(text) else { return ocm_culture(text, zone) };
    match (unusable(written.date), written.time) {
        (Some(none), _) => none,
        (None, Some(time)) => {
            let found = Found::exact(latest(DateTime::from_parts(written.date, time), zone));
            if zone.is_some() { found } else { found.noted(Defect::ZoneUnknown) }
        }
        (None, None) => ocm_day(text, zone),
    }
}

/// Reads a date of the export without time (`CloseDate`, `DueDate`): the last instant of that day, because the export
/// turned an instant into a local day.
#[must_use]
pub fn ocm_day(text: &str, zone: Option<&TimeZone>) -> Found {
    let Some(written) = parse_iso(text) else { return ocm_culture(text, zone) };
    let found = || Found::exact(day_end(written.date, zone)).noted(Defect::DayUncertain);
    unusable(written.date).unwrap_or_else(found)
}

/// Reads a date in the culture of the machine, if day and month can be told apart.
fn ocm_culture(text: &str, zone: Option<&TimeZone>) -> Found {
    let Some(parts) = parse_culture(text) else { return Found::nothing(Defect::DateUnreadable) };
    let month_first = Date::new(parts.year, parts.first, parts.second).ok();
    let day_first = Date::new(parts.year, parts.second, parts.first).ok();
    let date = match (month_first, day_first) {
        (_, Some(date)) if parts.mark == '.' => date,
        (Some(date), Some(same)) if date == same => date,
        (Some(_), Some(_)) => return Found::nothing(Defect::DateAmbiguous),
        (Some(date), None) | (None, Some(date)) => date,
        (None, None) => return Found::nothing(Defect::DateUnreadable),
    };
    if let Some(none) = unusable(date) {
        return none;
    }
    let at = match parts.time {
        Some(time) => latest(DateTime::from_parts(date, time), zone),
        None => day_end(date, zone),
    };
    Found::exact(at).noted(Defect::CultureDate)
}

/// Says whether a cell is what programs write where no date is known, in the culture of a machine.
#[must_use]
pub fn is_none_in_culture(text: &str) -> bool {
    let Some(parts) = parse_culture(text) else { return false };
    let readings = [(parts.first, parts.second), (parts.second, parts.first)];
    let mut dates = readings.into_iter().filter_map(|(month, day)| Date::new(parts.year, month, day).ok()).peekable();
    dates.peek().is_some() && dates.all(iso::stands_for_none)
}

/// How a mapping says that dates are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DateFormat {
    /// ISO 8601.
    Iso,
    /// `31. 12. 2025 14:05`.
    Czech,
    /// A pattern of `strptime`.
    Pattern(String),
}

impl DateFormat {
    /// Reads the name of a format, or a pattern.
    ///
    /// # Errors
    /// Says in words why dates cannot be read by it, or would be read as others than stand there.
    pub fn of(text: &str) -> Result<Self, String> {
        match text {
            "iso" => Ok(Self::Iso),
            "czech" => Ok(Self::Czech),
            pattern => {
                let sample = jiff::civil::datetime(2001, 12, 31, 13, 14, 15, 0).to_zoned(TimeZone::UTC);
                let written = sample.ok().and_then(|sample| jiff::fmt::strtime::format(pattern, &sample).ok());
                let read = written.and_then(|text| jiff::fmt::strtime::parse(pattern, &text).ok());
                let Some(read) = read.filter(|read| read.to_date().is_ok() && pattern.contains('%')) else {
                    return Err(
                        "not a date format: expected \"iso\", \"czech\" or a pattern such as \"%d/%m/%Y %H:%M\""
                            .to_owned(),
                    );
                };
                if read.hour().is_some_and(|hour| hour != 13) {
                    return Err(
                        "the hours are those of half a day, and nothing says which half: add %p, or use %H for 0 to 23"
                            .to_owned(),
                    );
                }
                match repeated_part(pattern) {
                    Some(twice) => Err(format!("%{twice} stands twice: minutes are %M, and months are %m")),
                    None => Ok(Self::Pattern(pattern.to_owned())),
                }
            }
        }
    }
}

/// Returns a part of a date that a pattern names twice, of which the later one would count: `%H:%m` is a slip, and made a
/// month of the minutes.
fn repeated_part(pattern: &str) -> Option<char> {
    let mut seen = BTreeSet::new();
    let mut rest = pattern.chars();
    while rest.by_ref().any(|c| c == '%') {
        let part = rest.by_ref().find(|c| c.is_ascii_alphabetic() || *c == '%')?;
        if part != '%' && !matches!(part, 'n' | 't') && !seen.insert(part) {
            return Some(part);
        }
    }
    None
}

/// A date that a mapping read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// What it says.
    pub found: Found,
    /// The cell in ISO form, when the file writes another.
    pub iso: Option<String>,
}

/// Reads a date by the format and zone of a mapping. A cell in ISO form, which has one reading only, is read also where the
/// mapping names another: whoever judges the record later takes it for a date that was read.
///
/// A day without time is its last instant in the zone (UTC when none is named): a policy of a zone further west must not
/// count from the day before. A time without offset and without zone is the latest instant that it can mean. In the fold
/// of a clock change the later one.
#[must_use]
pub fn mapped(text: &str, format: &DateFormat, zone: Option<&TimeZone>) -> Mapped {
    let written = match format {
        DateFormat::Iso => None,
        DateFormat::Czech => parse_czech(text),
        DateFormat::Pattern(pattern) => parse_pattern(text, pattern),
    };
    let Some(written) = written.or_else(|| parse_iso(text)) else {
        return Mapped { found: Found::nothing(Defect::DateUnreadable), iso: None };
    };
    if let Some(found) = unusable(written.date) {
        return Mapped { found, iso: None };
    }
    let found = match (written.offset, written.time) {
        (Some(offset), Some(time)) => Found::exact(at_offset(DateTime::from_parts(written.date, time), offset)),
        (Some(offset), None) => Found::exact(day_end(written.date, Some(&TimeZone::fixed(offset)))),
        (None, Some(time)) => {
            let found = Found::exact(latest(DateTime::from_parts(written.date, time), zone));
            if zone.is_some() { found } else { found.noted(Defect::ZoneUnknown) }
        }
        (None, None) => Found::exact(day_end(written.date, Some(zone.unwrap_or(&TimeZone::UTC)))),
    };
    let iso = match (format, written.time, found.at) {
        (DateFormat::Iso, _, _) | (_, _, None) => None,
        (_, None, Some(_)) => Some(written.date.to_string()),
        (_, Some(_), Some(at)) => Some(at.to_string()),
    };
    Mapped { found, iso }
}

/// Reads a date by a pattern of `strptime`.
pub(super) fn parse_pattern(text: &str, pattern: &str) -> Option<Written> {
    let parts = jiff::fmt::strtime::parse(pattern, text.trim()).ok()?;
    let date = parts.to_date().ok()?;
    let time = if parts.hour().is_some() { Some(parts.to_time().ok()?) } else { None };
    let offset = match parts.iana_time_zone() {
        Some(name) => {
            let local = DateTime::from_parts(date, time.unwrap_or(Time::midnight()));
            let zoned = TimeZone::get(name).ok()?.to_ambiguous_zoned(local).later().ok()?;
            Some(zoned.offset())
        }
        None => parts.offset(),
    };
    Some(Written { date, time, offset })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Option<Timestamp> {
        Some(text.parse().unwrap())
    }

    fn prague() -> TimeZone {
        TimeZone::get("Europe/Prague").unwrap()
    }

    #[test]
    fn a_literal_z_is_the_latest_instant_unless_the_zone_is_named() {
        let found = ocm_stream("2020-02-18T09:00:00.10Z", None);
        assert_eq!(found, Found { at: at("2020-02-18T21:00:00.1Z"), defect: Some(Defect::ZoneUnknown) });
        let found = ocm_stream("2020-02-18T09:00:00.10Z", Some(&prague()));
        assert_eq!(found, Found { at: at("2020-02-18T08:00:00.1Z"), defect: None });
        assert_eq!(ocm_utc("2020-02-18T09:00:00Z", None), Found { at: at("2020-02-18T09:00:00Z"), defect: None });
    }

    #[test]
    fn a_day_is_its_last_instant_and_sentinels_are_no_dates() {
        assert_eq!(ocm_day("2020-03-31", None).at, at("2020-04-01T11:59:59.999999Z"));
        assert_eq!(ocm_day("2020-03-31", Some(&prague())).at, at("2020-03-31T21:59:59.999999Z"));
        for text in ["1601-01-01T00:00:00Z", "0001-01-01T00:00:00.00Z", "1601-01-01", "1600-12-31"] {
            assert_eq!(ocm_stream(text, None), Found::nothing(Defect::SentinelDate), "{text}");
            assert_eq!(ocm_utc(text, None), Found::nothing(Defect::SentinelDate), "{text}");
        }
    }

    #[test]
    fn what_programs_write_for_no_date_is_none_in_every_form() {
        let zone = prague();
        for text in [
            "1753-01-01",
            "1899-12-30",
            "1899-12-31T10:00:00",
            "1900-01-01 00:00:00.000",
            "1970-01-01T00:00:00Z",
            "1969-12-31T16:00:00-08:00",
        ] {
            assert_eq!(
                mapped(text, &DateFormat::Iso, Some(&zone)).found,
                Found::nothing(Defect::SentinelDate),
                "{text}"
            );
            assert_eq!(ocm_utc(text, Some(&zone)), Found::nothing(Defect::SentinelDate), "{text}");
        }
        for text in ["30.12.1899", "1. 1. 1900 00:00", "1.1.1970"] {
            assert_eq!(
                mapped(text, &DateFormat::Czech, Some(&zone)).found,
                Found::nothing(Defect::SentinelDate),
                "{text}"
            );
            assert_eq!(ocm_day(text, Some(&zone)), Found::nothing(Defect::SentinelDate), "{text}");
        }
        for text in ["1901-01-01", "1969-12-30", "1970-01-02"] {
            assert_eq!(mapped(text, &DateFormat::Iso, Some(&zone)).found.defect, None, "{text}");
        }
    }

    #[test]
    fn the_last_day_of_the_calendar_is_the_last_instant_and_a_year_of_another_calendar_is_no_date() {
        let never = Some(Timestamp::from_jiff(jiff::Timestamp::MAX));
        let (west, east) = (TimeZone::get("America/Adak").unwrap(), TimeZone::get("Pacific/Kiritimati").unwrap());
        for zone in [None, Some(&TimeZone::UTC), Some(&west), Some(&east)] {
            for text in ["9999-12-31", "9999-12-31T23:59:59.9999999", "9999-12-31T23:59:59-12:00"] {
                let found = mapped(text, &DateFormat::Iso, zone).found;
                assert_eq!(
                    (found.at.is_some(), found.defect.is_some_and(|odd| odd != Defect::ZoneUnknown)),
                    (true, false)
                );
                assert!(found.at >= at("9999-12-30T09:00:00Z") && found.at <= never, "{text}");
                assert!(ocm_day(text, zone).at.is_some() && ocm_utc(text, zone).at.is_some(), "{text}");
            }
        }
        assert_eq!(mapped("31.12.9999", &DateFormat::Czech, Some(&prague())).found.at, never);
        for text in ["1405-05-12", "0025-12-31", "1447-06-07T10:00:00Z"] {
            let unread = Found::nothing(Defect::DateUnreadable);
            assert_eq!(mapped(text, &DateFormat::Iso, None).found, unread, "{text}");
            assert_eq!((ocm_utc(text, None), ocm_stream(text, None), ocm_day(text, None)), (unread, unread, unread));
        }
        let short = DateFormat::Pattern("%d.%m.%Y".to_owned());
        assert_eq!(mapped("31.12.25", &short, None).found, Found::nothing(Defect::DateUnreadable));
    }

    #[test]
    fn a_cell_in_iso_form_is_read_whatever_form_the_mapping_names() {
        let zone = prague();
        for format in [DateFormat::Czech, DateFormat::Pattern("%Y-%m-%d %H:%M:%S".to_owned())] {
            let day = mapped("2025-12-31", &format, Some(&zone));
            assert_eq!((day.found.at, day.iso.as_deref()), (at("2025-12-31T22:59:59.999999Z"), Some("2025-12-31")));
            let minute = mapped("2025-12-31T14:05+02:00", &format, Some(&zone));
            assert_eq!(
                (minute.found.at, minute.iso.as_deref()),
                (at("2025-12-31T12:05:00Z"), Some("2025-12-31T12:05:00Z"))
            );
        }
    }

    #[test]
    fn a_zone_in_the_cell_counts_before_that_of_the_mapping() {
        let read =
            |text: &str, pattern: &str| mapped(text, &DateFormat::Pattern(pattern.to_owned()), Some(&prague())).found;
        let named = read("12/31/2025 02:05 PM America/New_York", "%m/%d/%Y %I:%M %p %Q");
        assert_eq!(named, Found { at: at("2025-12-31T19:05:00Z"), defect: None });
        assert_eq!(read("2025-12-31 Mars/Olympus", "%Y-%m-%d %Q"), Found::nothing(Defect::DateUnreadable));
        // A day is its last instant also where its distance from UTC stands behind it.
        assert_eq!(read("2025-12-31 -0500", "%Y-%m-%d %z").at, at("2026-01-01T04:59:59.999999Z"));
    }

    #[test]
    fn what_stands_for_no_date_is_known_in_the_culture_of_a_machine() {
        for none in ["1.1.1970", "31. 12. 1969", "12/31/1969 4:00:00 PM", "30.12.1899", "1/1/1601 12:00:00 AM"] {
            assert!(is_none_in_culture(none), "{none}");
        }
        for other in ["", "yesterday", "1.2.1970", "4/5/2025 10:00:00", "31.31.1970", "2025-04-05"] {
            assert!(!is_none_in_culture(other), "{other}");
        }
    }

    #[test]
    fn culture_dates_are_taken_only_when_they_have_one_reading() {
        assert_eq!(ocm_utc("3/31/2001 12:00:00 AM", None).at, at("2001-03-31T12:00:00Z"));
        assert_eq!(ocm_utc("31/3/2001 1:05:00 PM", None).at, at("2001-04-01T01:05:00Z"));
        assert_eq!(ocm_utc("4/4/2001 12:00:00 AM", None).defect, Some(Defect::CultureDate));
        assert_eq!(ocm_utc("4/5/2001 12:00:00 AM", None), Found::nothing(Defect::DateAmbiguous));
        assert_eq!(ocm_utc("04.05.2001 00:00:00", None).at, at("2001-05-04T12:00:00Z"));
        assert_eq!(ocm_utc("soon", None), Found::nothing(Defect::DateUnreadable));
    }

    #[test]
    fn czech_dates_and_patterns_become_iso_in_their_zone() {
        let zone = prague();
        let read = |text: &str, format: &DateFormat| mapped(text, format, Some(&zone));
        let day = read("31. 12. 2025", &DateFormat::Czech);
        assert_eq!((day.found.at, day.iso.as_deref()), (at("2025-12-31T22:59:59.999999Z"), Some("2025-12-31")));
        let minute = read("31.12.2025 14:05", &DateFormat::Czech);
        assert_eq!(
            (minute.found.at, minute.iso.as_deref()),
            (at("2025-12-31T13:05:00Z"), Some("2025-12-31T13:05:00Z"))
        );
        let pattern = DateFormat::Pattern("%d/%m/%Y %H:%M".to_owned());
        assert_eq!(read("31/12/2025 14:05", &pattern).found.at, at("2025-12-31T13:05:00Z"));
        assert_eq!(read("31.12.25", &DateFormat::Czech).found, Found::nothing(Defect::DateUnreadable));
        let fold = read("2025-10-26T02:30:00", &DateFormat::Iso);
        assert_eq!(fold.found.at, at("2025-10-26T01:30:00Z"), "the later of the two");
        assert_eq!(mapped("2025-10-26 02:30", &DateFormat::Iso, None).found.defect, Some(Defect::ZoneUnknown));
        assert_eq!(read("2025-10-26T02:30:00+02:00", &DateFormat::Iso).found.at, at("2025-10-26T00:30:00Z"));
    }

    proptest! {
        #[test]
        fn what_jiff_writes_is_read_alike(us in -1_000_000_000_000_000i64..10_000_000_000_000_000) {
            let instant = Timestamp(us);
            prop_assume!(!["1969-12-31", "1970-01-01"].iter().any(|day| instant.to_string().starts_with(day)));
            prop_assert_eq!(mapped(&instant.to_string(), &DateFormat::Iso, None).found.at, Some(instant));
        }

        #[test]
        fn any_text_is_read_without_panic_and_never_earlier_without_a_zone(text in "\\PC{0,30}", digits in "[0-9.:/ TZAPM+-]{0,25}") {
            for text in [text, digits] {
                let zone = prague();
                for (vague, known) in [
                    (ocm_stream(&text, None), ocm_stream(&text, Some(&zone))),
                    (ocm_day(&text, None), ocm_day(&text, Some(&zone))),
                    (ocm_utc(&text, None), ocm_utc(&text, Some(&zone))),
                ] {
                    prop_assert!(vague.at >= known.at || vague.at.is_none());
                }
                let _ = mapped(&text, &DateFormat::Czech, None);
                let _ = mapped(&text, &DateFormat::Pattern("%d/%m/%y %H".to_owned()), None);
            }
        }
    }
}

use jiff::ToSpan as _;
use proptest::prelude::*;

use super::super::ZoneError;
use super::*;

fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn due(period: &str, start: &str, zone_name: &str) -> String {
    let period: Period = period.parse().unwrap();
    period.due_at(at(start), Align::None, &zone(zone_name)).to_string()
}

/// Period, start, zone, due: worked out by hand from the calendar and the clock changes of each zone.
const GOLDEN: &[(&str, &str, &str, &str)] = &[
    // Month ends are clamped, and the day itself must be over.
    ("P1M", "2023-01-31T12:00:00Z", "Etc/UTC", "2023-03-01T00:00:00Z"),
    ("P1M", "2024-01-31T12:00:00Z", "Etc/UTC", "2024-03-01T00:00:00Z"),
    ("P2M", "2023-01-31T12:00:00Z", "Etc/UTC", "2023-04-01T00:00:00Z"),
    ("P3M", "2023-01-31T12:00:00Z", "Etc/UTC", "2023-05-01T00:00:00Z"),
    ("P6M", "2023-08-31T12:00:00Z", "Etc/UTC", "2024-03-01T00:00:00Z"),
    ("P6M", "2022-08-31T12:00:00Z", "Etc/UTC", "2023-03-01T00:00:00Z"),
    ("P1M", "2023-02-28T12:00:00Z", "Etc/UTC", "2023-03-29T00:00:00Z"),
    ("P11M", "2023-03-31T12:00:00Z", "Etc/UTC", "2024-03-01T00:00:00Z"),
    ("P12M", "2023-12-31T12:00:00Z", "Etc/UTC", "2025-01-01T00:00:00Z"),
    // Leap days.
    ("P1Y", "2024-02-29T12:00:00Z", "Etc/UTC", "2025-03-01T00:00:00Z"),
    ("P4Y", "2024-02-29T12:00:00Z", "Etc/UTC", "2028-03-01T00:00:00Z"),
    ("P3Y", "2023-02-28T09:00:00Z", "Etc/UTC", "2026-03-01T00:00:00Z"),
    ("P1Y", "2023-02-28T09:00:00Z", "Etc/UTC", "2024-02-29T00:00:00Z"),
    ("P100Y", "2000-02-29T00:00:00Z", "Etc/UTC", "2100-03-01T00:00:00Z"),
    ("P1Y1M", "2024-01-31T00:00:00Z", "Etc/UTC", "2025-03-01T00:00:00Z"),
    ("P1Y1D", "2024-02-29T00:00:00Z", "Etc/UTC", "2025-03-02T00:00:00Z"),
    // Weeks and days.
    ("P2W", "2026-02-20T23:59:59Z", "Etc/UTC", "2026-03-07T00:00:00Z"),
    ("P30D", "2026-01-30T00:00:00Z", "Etc/UTC", "2026-03-02T00:00:00Z"),
    ("P0D", "2026-01-30T15:00:00Z", "Etc/UTC", "2026-01-31T00:00:00Z"),
    ("P1W2D", "2026-12-25T15:00:00Z", "Etc/UTC", "2027-01-04T00:00:00Z"),
    // The local day counts, not the day in UTC.
    ("P1D", "2026-01-01T23:30:00Z", "Europe/Paris", "2026-01-03T23:00:00Z"),
    ("P1D", "2026-01-01T22:30:00Z", "Europe/Paris", "2026-01-02T23:00:00Z"),
    ("P1D", "2026-01-01T02:00:00Z", "America/New_York", "2026-01-02T05:00:00Z"),
    ("P1M", "2026-01-31T20:00:00Z", "Asia/Tokyo", "2026-03-01T15:00:00Z"),
    ("P1Y", "2025-12-31T12:00:00Z", "Pacific/Auckland", "2027-01-01T11:00:00Z"),
    ("P1D", "2026-01-01T12:00:00Z", "Asia/Kathmandu", "2026-01-02T18:15:00Z"),
    ("P1D", "2026-06-01T12:00:00Z", "Australia/Lord_Howe", "2026-06-02T13:30:00Z"),
    // Days of 23 and 25 hours.
    ("P1D", "2026-03-28T12:00:00Z", "Europe/Berlin", "2026-03-29T22:00:00Z"),
    ("P0D", "2026-03-29T00:30:00Z", "Europe/Berlin", "2026-03-29T22:00:00Z"),
    ("P1D", "2026-10-24T12:00:00Z", "Europe/Berlin", "2026-10-25T23:00:00Z"),
    ("P0D", "2026-10-25T00:30:00Z", "Europe/Berlin", "2026-10-25T23:00:00Z"),
    ("P7D", "2026-03-05T12:00:00Z", "America/New_York", "2026-03-13T04:00:00Z"),
    ("P1D", "2026-10-31T12:00:00Z", "America/New_York", "2026-11-02T05:00:00Z"),
    ("P6M", "2026-01-15T12:00:00Z", "Europe/Paris", "2026-07-15T22:00:00Z"),
    // Midnights that do not exist: the day begins at 01:00.
    ("P1D", "2017-10-13T12:00:00Z", "America/Sao_Paulo", "2017-10-15T03:00:00Z"),
    ("P1D", "2026-04-22T12:00:00Z", "Africa/Cairo", "2026-04-23T22:00:00Z"),
    ("P1D", "2021-03-26T12:00:00Z", "Asia/Beirut", "2021-03-27T22:00:00Z"),
    // A midnight that comes twice: in Havana the day begins at the first, in St John's the old day came back.
    ("P0D", "2025-11-01T12:00:00Z", "America/Havana", "2025-11-02T04:00:00Z"),
    ("P0D", "2010-11-06T12:00:00Z", "America/St_Johns", "2010-11-07T03:30:00Z"),
    // A day that a zone skipped.
    ("P1D", "2011-12-28T20:00:00Z", "Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("P1D", "2011-12-29T20:00:00Z", "Pacific/Apia", "2011-12-30T10:00:00Z"),
    // Exact lengths know no days.
    ("PT720H", "2026-03-01T10:00:00Z", "Europe/Berlin", "2026-03-31T10:00:00Z"),
    ("PT24H", "2026-03-28T12:00:00Z", "Europe/Berlin", "2026-03-29T12:00:00Z"),
    ("PT1H30M", "2026-10-25T00:30:00Z", "Europe/Berlin", "2026-10-25T02:00:00Z"),
    ("PT0S", "2026-10-25T00:30:00Z", "Europe/Berlin", "2026-10-25T00:30:00Z"),
];

#[test]
fn golden_dates() {
    let wrong: Vec<_> = GOLDEN
        .iter()
        .map(|(period, start, zone, wanted)| (period, start, zone, wanted, due(period, start, zone)))
        .filter(|(.., wanted, got)| *wanted != got)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(GOLDEN.len() >= 40);
}

#[test]
fn alignment_lets_the_period_begin_when_the_span_is_over() {
    let berlin = zone("Europe/Berlin");
    let due = |period: &str, start: &str, align| {
        period.parse::<Period>().unwrap().due_at(at(start), align, &berlin).to_string()
    };
    assert_eq!(due("P8Y", "2025-03-04T09:00:00Z", Align::EndOfYear), "2033-12-31T23:00:00Z");
    assert_eq!(due("P8Y", "2025-12-31T23:30:00Z", Align::EndOfYear), "2034-12-31T23:00:00Z");
    assert_eq!(due("P1M", "2026-02-10T09:00:00Z", Align::EndOfMonth), "2026-03-31T22:00:00Z");
    assert_eq!(due("P1Y", "2026-12-31T09:00:00Z", Align::EndOfMonth), "2027-12-31T23:00:00Z");
    assert_eq!(due("PT24H", "2026-02-10T09:00:00Z", Align::EndOfMonth), "2026-03-01T23:00:00Z");
}

#[test]
fn what_ends_beyond_the_calendar_is_never_due() {
    let utc = Zone::utc();
    let thousand: Period = "P1000Y".parse().unwrap();
    assert_eq!(thousand.due_at(at("9500-01-01"), Align::None, &utc), Timestamp::NEVER);
    assert_eq!(thousand.due_at(Timestamp::NEVER, Align::EndOfYear, &utc), Timestamp::NEVER);
    assert!(thousand.due_at(Timestamp(i64::MIN), Align::None, &utc) < Timestamp(0));
}

#[test]
fn periods_are_of_the_calendar_or_exact_and_read_back_as_written() {
    for text in ["P3Y", "P6M", "P2W", "P30D", "P1Y2M3W4D", "PT720H", "PT1H2M3S", "P0D", "PT0S", "P1000Y"] {
        let period: Period = text.parse().unwrap();
        assert_eq!(period.to_string(), text);
        let json = serde_json::to_string(&period).unwrap();
        assert_eq!(serde_json::from_str::<Period>(&json).unwrap(), period);
    }
    for text in
        ["", "P", "PT", "P1", "1Y", "P-1Y", "P+1Y", "P1.5Y", "P1M1Y", "P1Y1Y", "PT1D", "P1H", "p1y", " P1Y", "P1Yé"]
    {
        assert_eq!(text.parse::<Period>(), Err(PeriodError::Form), "{text}");
    }
    assert_eq!("P1DT12H".parse::<Period>(), Err(PeriodError::Mixed));
    for text in ["P1001Y", "P9999999999999D", "PT999999999999H"] {
        assert_eq!(text.parse::<Period>(), Err(PeriodError::TooLong), "{text}");
    }
}

#[test]
fn zones_are_iana_names_whatever_their_case() {
    assert_eq!(zone("europe/PARIS").name(), "Europe/Paris");
    assert_eq!(serde_json::to_string(&zone("Etc/UTC")).unwrap(), "\"Etc/UTC\"");
    for name in ["", "Mars/Olympus", "+01:00", "CET-1CEST", "../etc/passwd", "Etc/Unknown"] {
        assert_eq!(name.parse::<Zone>(), Err(ZoneError), "{name}");
    }
}

#[test]
fn an_instant_without_an_offset_is_refused() {
    assert_eq!(at("2026-03-01"), at("2026-03-01T00:00:00Z"));
    assert_eq!(Timestamp::parse_in("2026-03-01", &zone("Europe/Paris")), Ok(at("2026-02-28T23:00:00Z")));
    assert!("2026-03-01T10:00:00".parse::<Timestamp>().is_err());
    assert!("2026-02-30".parse::<Timestamp>().is_err());
}

/// Zones whose clocks never go back over midnight: there local days follow each other like instants.
const ZONES: [&str; 6] =
    ["Etc/UTC", "Europe/Paris", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "America/Havana"];

proptest! {
    #[test]
    fn calendar_addition_agrees_with_jiff(
        start in -2_000_000_000_i64..6_000_000_000,
        (years, months, weeks, days) in (0_u32..60, 0_u32..40, 0_u32..60, 0_u32..400),
        zone_name in prop::sample::select(&ZONES[..]),
    ) {
        let zone = zone(zone_name);
        let start = Timestamp::from_unix_seconds(start);
        let period = Period(Length::Calendar { years, months, weeks, days });
        let months_total = i64::from(years) * 12 + i64::from(months);
        let days_total = i64::from(weeks) * 7 + i64::from(days);
        let span = months_total.months().days(days_total);
        let rules = jiff::tz::TimeZone::get(zone_name).unwrap();
        let last_day = start.to_jiff().to_zoned(rules.clone()).date().checked_add(span).unwrap();
        let end = last_day.tomorrow().unwrap().to_zoned(rules).unwrap().start_of_day().unwrap();
        prop_assert_eq!(period.due_at(start, Align::None, &zone), Timestamp::from_jiff(end.timestamp()));
    }

    #[test]
    fn a_later_start_is_never_due_earlier(
        start in 0_i64..4_000_000_000,
        later in 0_i64..400_000_000,
        text in prop::sample::select(&["P1D", "P1M", "P6M", "P3Y", "P1Y1M1D", "PT720H"][..]),
        align in prop::sample::select(&[Align::None, Align::EndOfMonth, Align::EndOfYear][..]),
        zone_name in prop::sample::select(&ZONES[..]),
    ) {
        let (zone, period) = (zone(zone_name), text.parse::<Period>().unwrap());
        let first = period.due_at(Timestamp::from_unix_seconds(start), align, &zone);
        let second = period.due_at(Timestamp::from_unix_seconds(start + later), align, &zone);
        prop_assert!(first <= second);
        prop_assert!(first > Timestamp::from_unix_seconds(start));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*", near in "P?[0-9]{0,14}[YMWDTHS]{0,3}[0-9]{0,3}[YMWDTHS]?") {
        for text in [text, near] {
            if let Ok(period) = text.parse::<Period>() {
                prop_assert_eq!(period.to_string().parse::<Period>(), Ok(period));
                let _ = period.due_at(Timestamp(i64::MAX), Align::EndOfYear, &Zone::utc());
            }
        }
    }
}

//! The golden tables of the time engine, and what must hold for all dates.
//!
//! Three parties must agree on each line: the table, which `time/make.py` wrote with Python's calendar and zones; the
//! program; and a third library, with which the same rules are worked out here in the plainest way.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test that reads its tables from disk and fails at once"
)]

use std::path::Path;
use std::process::Command;

use chrono::{DateTime, Datelike as _, Days, LocalResult, Months, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;
use retention_core::schedule::Schedule;
use retention_core::time::{Align, Period, Timestamp, Zone};

/// Lines that the tables have at the least, together.
const CASES_MIN: usize = 250;

fn table(name: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/time").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn align(text: &str) -> Align {
    match text.split_once(':') {
        Some(("end_of_fiscal_year", month)) => Align::EndOfFiscalYear { first_month: month.parse().unwrap() },
        _ => {
            [("none", Align::None), ("end_of_month", Align::EndOfMonth), ("end_of_year", Align::EndOfYear)]
                .into_iter()
                .find(|(name, _)| *name == text)
                .unwrap()
                .1
        }
    }
}

fn ours(period: &str, start: &str, aligned: &str, zone: &str) -> String {
    let period: Period = period.parse().unwrap();
    let zone: Zone = zone.parse().unwrap();
    period.due_at(at(start), align(aligned), &zone).to_string()
}

/// The same rules with chrono, in the plainest way.
mod plain {
    use super::*;

    fn shown(at: DateTime<Utc>) -> String {
        at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// The instant at which a clock shows a time; the first after it when no clock does; of two the first.
    fn instant(local: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
        match zone.from_local_datetime(&local) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.to_utc(),
            LocalResult::None => {
                let mut at = Utc.from_utc_datetime(&local) - TimeDelta::hours(26);
                while at.with_timezone(&zone).naive_local() < local {
                    at += TimeDelta::minutes(1);
                }
                at
            }
        }
    }

    fn day_start(day: NaiveDate, zone: Tz) -> DateTime<Utc> {
        let midnight = day.and_hms_opt(0, 0, 0).unwrap();
        match zone.from_local_datetime(&midnight) {
            LocalResult::Ambiguous(first, second) => {
                let before = (second - TimeDelta::seconds(1)).naive_local().date();
                if before < day { second.to_utc() } else { first.to_utc() }
            }
            _ => instant(midnight, zone),
        }
    }

    fn number(period: &str, unit: char) -> u32 {
        let end = period.find(unit);
        let digits = end.map(|end| period[..end].rsplit(|c: char| !c.is_ascii_digit()).next().unwrap());
        digits.map_or(0, |digits| digits.parse().unwrap())
    }

    fn aligned(day: NaiveDate, align: &str) -> Option<NaiveDate> {
        let first = |year, month| NaiveDate::from_ymd_opt(year, month, 1).unwrap();
        match align {
            "none" => None,
            "end_of_month" => Some(first(day.year(), day.month()) + Months::new(1)),
            "end_of_year" => Some(first(day.year() + 1, 1)),
            fiscal => {
                let this = first(day.year(), fiscal.rsplit(':').next().unwrap().parse().unwrap());
                Some(if day < this { this } else { this + Months::new(12) })
            }
        }
    }

    pub(super) fn due(period: &str, start: &str, align: &str, zone: &str) -> String {
        let zone: Tz = zone.parse().unwrap();
        let start: DateTime<Utc> = start.parse().unwrap();
        let local = start.with_timezone(&zone).naive_local().date();
        let first = aligned(local, align);
        if let Some(exact) = period.strip_prefix("PT") {
            let [hours, minutes, seconds] = ['H', 'M', 'S'].map(|unit| i64::from(number(exact, unit)));
            let from = first.map_or(start, |day| day_start(day, zone));
            return shown(from + TimeDelta::seconds(hours * 3_600 + minutes * 60 + seconds));
        }
        let [years, months, weeks, days] = ['Y', 'M', 'W', 'D'].map(|unit| number(period, unit));
        let over = first.unwrap_or(local) + Months::new(years * 12 + months) + Days::new((weeks * 7 + days).into());
        shown(day_start(if first.is_some() { over } else { over + Days::new(1) }, zone))
    }

    fn values(field: &str, low: u32, high: u32, names: &[&str]) -> Vec<u32> {
        let number = |word: &str| {
            let named = names.iter().position(|name| *name == word);
            named.map_or_else(|| word.parse().unwrap(), |index| u32::try_from(index).unwrap() + low)
        };
        let part = |part: &str| {
            let (span, step) = part.split_once('/').unwrap_or((part, "1"));
            let (first, last) = match span.split_once('-') {
                _ if span == "*" => (low, high),
                Some((first, last)) => (number(first), number(last)),
                None => (number(span), number(span)),
            };
            (first..=last).step_by(step.parse().unwrap()).collect::<Vec<_>>()
        };
        field.split(',').flat_map(part).collect()
    }

    /// The firings after one instant and up to another, by looking at every minute of every day.
    pub(super) fn firings(cron: &str, zone: &str, after: &str, count: usize, until: Option<&str>) -> Vec<String> {
        const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
        const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let zone: Tz = zone.parse().unwrap();
        let after: DateTime<Utc> = after.parse().unwrap();
        let until: Option<DateTime<Utc>> = until.map(|until| until.parse().unwrap());
        let fields: Vec<&str> = cron.split(' ').collect();
        let minutes = values(fields[0], 0, 59, &[]);
        let hours = values(fields[1], 0, 23, &[]);
        let (days, months) = (values(fields[2], 1, 31, &[]), values(fields[3], 1, 12, &MONTHS));
        let weekdays = values(fields[4], 0, 6, &DAYS);
        let mut found = std::collections::BTreeSet::new();
        let mut day = after.with_timezone(&zone).naive_local().date() - Days::new(2);
        let mut last = None;
        while last.is_none_or(|last| day <= last) {
            let fits = days.contains(&day.day())
                && months.contains(&day.month())
                && weekdays.contains(&day.weekday().num_days_from_monday());
            for hour in hours.iter().filter(|_| fits) {
                for minute in &minutes {
                    let at = instant(day.and_hms_opt(*hour, *minute, 0).unwrap(), zone);
                    if at > after && until.is_none_or(|until| at <= until) {
                        found.insert(at);
                    }
                }
            }
            let is_past = until.is_some_and(|until| day > until.with_timezone(&zone).naive_local().date());
            if last.is_none() && (found.len() >= count || is_past) {
                last = Some(day + Days::new(2));
            }
            day = day + Days::new(1);
        }
        found.into_iter().take(count).map(shown).collect()
    }
}

#[test]
fn every_date_of_the_table_is_what_three_calendars_say() {
    let cases = table("periods.tsv");
    assert!(cases.len() >= CASES_MIN, "{} cases", cases.len());
    for case in &cases {
        let [period, start, align, zone, due, why] = &case[..] else { unreachable!("{case:?}") };
        assert_eq!(ours(period, start, align, zone), *due, "{case:?}: {why}");
        assert_eq!(plain::due(period, start, align, zone), *due, "the third library: {case:?}: {why}");
    }
}

#[test]
fn every_firing_of_the_table_is_what_three_calendars_say() {
    for case in table("schedules.tsv") {
        let [cron, zone, after, firings, why] = &case[..] else { unreachable!("{case:?}") };
        let expected: Vec<&str> = firings.split(',').collect();
        let schedule = Schedule::parse(cron, zone.parse().unwrap()).unwrap();
        let mut last = at(after);
        let ours: Vec<String> = expected
            .iter()
            .map(|_| {
                last = schedule.next_after(last).unwrap();
                last.to_string()
            })
            .collect();
        assert_eq!(ours, expected, "{case:?}: {why}");
        assert_eq!(plain::firings(cron, zone, after, expected.len(), None), expected, "{case:?}: {why}");
    }
}

#[test]
fn every_missed_time_of_the_table_is_counted_once() {
    for case in table("missed.tsv") {
        let [cron, zone, last, now, first_missed, last_missed, count, why] = &case[..] else {
            unreachable!("{case:?}")
        };
        let schedule = Schedule::parse(cron, zone.parse().unwrap()).unwrap();
        let missed = schedule.missed(at(last), at(now));
        let found = plain::firings(cron, zone, last, 20_000, Some(now));
        assert_eq!(found.len().to_string(), *count, "the third library: {case:?}: {why}");
        match missed {
            None => assert_eq!(count, "0", "{case:?}: {why}"),
            Some(missed) => {
                let ours = [missed.first_at.to_string(), missed.last_at.to_string(), missed.count.to_string()];
                assert_eq!(ours, [first_missed, last_missed, count].map(Clone::clone), "{case:?}: {why}");
                assert_eq!([found.first(), found.last()], [Some(first_missed), Some(last_missed)], "{case:?}: {why}");
            }
        }
    }
}

/// The table must be what its writer writes: nobody may have made it fit the program by hand.
#[test]
fn the_tables_are_what_their_writer_writes() {
    let scratch = std::env::temp_dir().join(format!("retention-time-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/time");
    std::fs::copy(from.join("make.py"), scratch.join("make.py")).unwrap();
    let made = Command::new("python3").arg(scratch.join("make.py")).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for name in ["periods.tsv", "schedules.tsv", "missed.tsv"] {
        let written = std::fs::read_to_string(scratch.join(name)).unwrap();
        let kept = std::fs::read_to_string(from.join(name)).unwrap();
        assert!(written == kept, "{name} differs from what make.py writes");
    }
    std::fs::remove_dir_all(&scratch).unwrap();
}

const ZONES: [&str; 10] = [
    "Etc/UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "Asia/Kathmandu",
    "Pacific/Auckland",
    "America/St_Johns",
    "Pacific/Marquesas",
    "Europe/Lisbon",
];

fn period() -> impl Strategy<Value = String> {
    prop_oneof![
        (0u32..30, 0u32..40).prop_map(|(years, months)| format!("P{years}Y{months}M")),
        (0u32..60, 0u32..400).prop_map(|(weeks, days)| format!("P{weeks}W{days}D")),
        (1u32..10, 0u32..12, 0u32..60).prop_map(|(years, months, days)| format!("P{years}Y{months}M{days}D")),
        (0u32..30_000, 0u32..60).prop_map(|(hours, minutes)| format!("PT{hours}H{minutes}M")),
    ]
}

fn alignment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("none".to_owned()),
        Just("end_of_month".to_owned()),
        Just("end_of_year".to_owned()),
        (1u32..13).prop_map(|month| format!("end_of_fiscal_year:{month}")),
    ]
}

/// From 1990 to 2050, in seconds.
fn second() -> std::ops::Range<i64> {
    631_152_000..2_524_608_000
}

proptest! {
    #[test]
    fn any_due_date_is_what_the_other_calendar_says(
        period in period(), align in alignment(), second in second(), zone in prop::sample::select(ZONES.to_vec()),
    ) {
        let start = Timestamp::from_unix_seconds(second).to_string();
        prop_assert_eq!(ours(&period, &start, &align, zone), plain::due(&period, &start, &align, zone));
    }

    #[test]
    fn any_firing_is_what_the_other_calendar_says(
        minute in 0u32..60, hour in 0u32..24, second in second(), zone in prop::sample::select(ZONES.to_vec()),
    ) {
        let after = Timestamp::from_unix_seconds(second);
        let cron = format!("{minute} {hour} * * *");
        let schedule = Schedule::parse(&cron, zone.parse().unwrap()).unwrap();
        let ours: Vec<String> = std::iter::successors(schedule.next_after(after), |at| schedule.next_after(*at))
            .take(3)
            .map(|at| at.to_string())
            .collect();
        prop_assert_eq!(ours, plain::firings(&cron, zone, &after.to_string(), 3, None));
    }

    #[test]
    fn a_later_start_is_never_due_earlier(
        period in period(), align in alignment(), second in second(), later in 0i64..100_000_000,
        zone in prop::sample::select(ZONES.to_vec()),
    ) {
        let (period, zone): (Period, Zone) = (period.parse().unwrap(), zone.parse().unwrap());
        let due = |second| period.due_at(Timestamp::from_unix_seconds(second), self::align(&align), &zone);
        prop_assert!(due(second) <= due(second + later));
        prop_assert!(due(second) >= Timestamp::from_unix_seconds(second));
    }
}

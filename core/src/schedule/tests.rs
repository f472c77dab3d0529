use proptest::prelude::*;

use super::*;

fn schedule(text: &str, zone: &str) -> Schedule {
    Schedule::parse(text, zone.parse().unwrap()).unwrap()
}

fn refused(text: &str) -> ScheduleError {
    Schedule::parse(text, Zone::utc()).unwrap_err()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn next(schedule: &Schedule, after: &str) -> String {
    schedule.next_after(at(after)).unwrap().to_string()
}

#[test]
fn five_fields_mean_what_unix_cron_means() {
    let monday = schedule("0 3 * * mon", "Etc/UTC");
    assert_eq!(next(&monday, "2026-11-21T00:00:00Z"), "2026-11-23T03:00:00Z");
    let workdays = schedule("0 3 * * Mon-FRI", "Etc/UTC");
    assert_eq!(next(&workdays, "2026-11-20T03:00:00Z"), "2026-11-23T03:00:00Z");
    let sunday = schedule("30 3 * * sun", "Etc/UTC");
    assert_eq!(next(&sunday, "2026-11-21T00:00:00Z"), "2026-11-22T03:30:00Z");
    let quarters = schedule("*/15 8-10/2 1,15 jan *", "Etc/UTC");
    assert_eq!(next(&quarters, "2026-01-01T08:45:00Z"), "2026-01-01T10:00:00Z");
    assert_eq!(next(&quarters, "2026-01-01T10:45:00Z"), "2026-01-15T08:00:00Z");
}

#[test]
fn a_firing_is_strictly_after_the_instant_asked_about() {
    let daily = schedule("0 3 * * *", "Etc/UTC");
    assert_eq!(next(&daily, "2026-11-21T02:59:59.999999Z"), "2026-11-21T03:00:00Z");
    assert_eq!(next(&daily, "2026-11-21T03:00:00Z"), "2026-11-22T03:00:00Z");
    assert_eq!(next(&daily, "2026-11-21T03:00:00.000001Z"), "2026-11-22T03:00:00Z");
}

#[test]
fn weekday_numbers_are_refused_with_the_name_that_unix_means() {
    for (text, number, name) in
        [("0 3 * * 1", "1", "mon"), ("0 3 * * 0", "0", "sun"), ("0 3 * * 7", "7", "sun"), ("0 3 * * 5", "5", "fri")]
    {
        assert_eq!(refused(text), ScheduleError::WeekdayNumber { number: number.to_owned(), name });
    }
    for text in ["0 3 * * 1-5", "0 3 * * mon,3", "0 3 * * mon-5"] {
        assert!(matches!(refused(text), ScheduleError::WeekdayNumber { .. }), "{text}");
    }
    assert!(refused("0 3 * * 1").to_string().contains("instead of 1 write mon"));
}

#[test]
fn six_or_seven_fields_and_macros_are_refused() {
    assert_eq!(refused("0 0 3 * * mon"), ScheduleError::FieldCount(6));
    assert_eq!(refused("0 3 * * mon *"), ScheduleError::FieldCount(6));
    assert_eq!(refused("0 0 3 * * mon 2026"), ScheduleError::FieldCount(7));
    assert_eq!(refused("@daily"), ScheduleError::FieldCount(1));
    assert_eq!(refused(""), ScheduleError::FieldCount(0));
}

#[test]
fn two_restricted_day_fields_are_refused() {
    for text in ["0 3 1 * mon", "0 3 1-7 * sun", "0 3 */2 * mon"] {
        assert_eq!(refused(text), ScheduleError::BothDays, "{text}");
    }
}

#[test]
fn forms_on_which_dialects_disagree_are_refused() {
    for text in [
        "5/15 * * * *",
        "0 3 ? * *",
        "0 3 L * *",
        "0 3 15W * *",
        "0 3 * * mon#2",
        "0 3 * * */2",
        "60 * * * *",
        "* 24 * * *",
        "0 0 0 * *",
        "0 0 32 * *",
        "0 0 * 13 *",
        "0 0 * 0 *",
        "*/0 * * * *",
        "*/60 * * * *",
        "1- * * * *",
        ", * * * *",
        "-1 * * * *",
        "+1 * * * *",
        "0 3 * * monday",
        "0 3 * jän *",
    ] {
        assert!(matches!(refused(text), ScheduleError::Field { .. }), "{text}: {:?}", refused(text));
    }
    assert_eq!(refused("0 3 * * fri-mon"), ScheduleError::Backwards { field: "weekday" });
    assert_eq!(refused("0 22-2 * * *"), ScheduleError::Backwards { field: "hour" });
}

#[test]
fn days_that_no_month_has_are_refused_and_rare_ones_found() {
    assert_eq!(refused("0 0 30 feb *"), ScheduleError::Never);
    assert_eq!(refused("0 0 31 feb,apr,jun,sep,nov *"), ScheduleError::Never);
    let leap = schedule("0 0 29 feb *", "Etc/UTC");
    assert_eq!(leap.next_after(at("2097-01-01")), None, "the next is in 2104");
    assert_eq!(next(&leap, "2026-01-01"), "2028-02-29T00:00:00Z");
    let monthly = schedule("0 0 31 * *", "Etc/UTC");
    assert_eq!(next(&monthly, "2026-03-31T00:00:00Z"), "2026-05-31T00:00:00Z");
}

#[test]
fn a_skipped_time_fires_at_the_first_instant_after_it() {
    let berlin = schedule("30 2 * * *", "Europe/Berlin");
    assert_eq!(next(&berlin, "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z");
    assert_eq!(next(&berlin, "2026-03-29T01:00:00Z"), "2026-03-30T00:30:00Z");
    let often = schedule("*/10 2 * * *", "Europe/Berlin");
    assert_eq!(next(&often, "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z");
    assert_eq!(next(&often, "2026-03-29T01:00:00Z"), "2026-03-30T00:00:00Z");
    let midnight = schedule("0 0 * * *", "America/Sao_Paulo");
    assert_eq!(next(&midnight, "2017-10-14T12:00:00Z"), "2017-10-15T03:00:00Z");
    // A whole day that a zone skipped.
    let apia = schedule("0 12 30 dec *", "Pacific/Apia");
    assert_eq!(next(&apia, "2011-12-29T00:00:00Z"), "2011-12-30T10:00:00Z");
}

#[test]
fn a_repeated_time_fires_once_at_the_first() {
    let berlin = schedule("30 2 * * *", "Europe/Berlin");
    assert_eq!(next(&berlin, "2026-10-24T12:00:00Z"), "2026-10-25T00:30:00Z");
    assert_eq!(next(&berlin, "2026-10-25T00:30:00Z"), "2026-10-26T01:30:00Z");
    // Asked between the two passes, and within the second.
    assert_eq!(next(&berlin, "2026-10-25T01:10:00Z"), "2026-10-26T01:30:00Z");
    let often = schedule("*/10 * * * *", "Europe/Berlin");
    assert_eq!(next(&often, "2026-10-25T00:50:00Z"), "2026-10-25T02:00:00Z");
    let minutes = schedule("* * * * *", "Europe/Berlin");
    assert_eq!(next(&minutes, "2026-10-25T01:00:00Z"), "2026-10-25T02:00:00Z");
}

#[test]
fn missed_times_are_counted_between_the_last_firing_and_now() {
    let daily = schedule("0 3 * * *", "Etc/UTC");
    let missed = daily.missed(at("2026-11-18T03:00:00Z"), at("2026-11-21T03:00:00Z")).unwrap();
    assert_eq!(missed.first_at, at("2026-11-19T03:00:00Z"));
    assert_eq!(missed.last_at, at("2026-11-21T03:00:00Z"));
    assert_eq!(missed.count, 3);
    assert_eq!(daily.missed(at("2026-11-18T03:00:00Z"), at("2026-11-19T02:59:59Z")), None);
    assert_eq!(daily.missed(at("2026-11-21"), at("2026-11-20")), None);
}

#[test]
fn counting_missed_times_is_bounded_and_the_last_is_still_right() {
    let minutes = schedule("* * * * *", "Europe/Paris");
    let missed = minutes.missed(at("2006-01-01"), at("2026-11-21T10:00:30Z")).unwrap();
    assert_eq!(missed.count, MISSED_COUNT_MAX);
    assert_eq!(missed.last_at, at("2026-11-21T10:00:00Z"));
}

#[test]
fn there_is_no_firing_after_the_last_year_of_the_crate() {
    assert_eq!(schedule("0 0 * * *", "Etc/UTC").next_after(at("2101-01-01")), None);
    assert_eq!(schedule("0 0 * * *", "Etc/UTC").next_after(Timestamp(i64::MAX)), None);
    assert!(schedule("0 0 * * *", "Etc/UTC").next_after(Timestamp(i64::MIN)).is_some());
}

#[test]
fn schedules_are_equal_when_they_mean_the_same() {
    assert_eq!(schedule("0  3 * * SUN", "Etc/UTC"), schedule("0 3 * * sun", "Etc/UTC"));
    assert_eq!(schedule("0 3 * JAN sun", "Etc/UTC").to_string(), "0 3 * jan sun (Etc/UTC)");
    assert_ne!(schedule("0 3 * * sun", "Etc/UTC"), schedule("0 3 * * sun", "Europe/Paris"));
}

/// The same question answered by stepping through every minute.
fn by_stepping(minutes: &[u8], hours: &[u8], days: Option<u8>, after: Timestamp, zone: &Zone) -> Option<Timestamp> {
    let minute = 60_000_000;
    let mut at = Timestamp((after.0 / minute + 1) * minute);
    for _ in 0..(40 * 1_440) {
        let civil = zone.civil(at);
        let matches = |value: i8, set: &[u8]| set.iter().any(|n| i16::from(*n) == i16::from(value));
        if matches(civil.minute(), minutes)
            && matches(civil.hour(), hours)
            && days.is_none_or(|day| i16::from(day) == i16::from(civil.day()))
        {
            return Some(at);
        }
        at = Timestamp(at.0 + minute);
    }
    None
}

proptest! {
    #[test]
    fn the_search_agrees_with_stepping_through_minutes(
        minutes in prop::collection::btree_set(0_u8..60, 1..4),
        hours in prop::collection::btree_set(0_u8..24, 1..4),
        day in prop::option::of(1_u8..29),
        after in 0_i64..4_000_000_000,
    ) {
        let zone: Zone = "Asia/Tokyo".parse().unwrap();
        let list = |set: &std::collections::BTreeSet<u8>| {
            set.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
        };
        let day_text = day.map_or("*".to_owned(), |day| day.to_string());
        let text = format!("{} {} {day_text} * *", list(&minutes), list(&hours));
        let schedule = Schedule::parse(&text, zone.clone()).unwrap();
        let after = Timestamp::from_unix_seconds(after);
        let (minutes, hours): (Vec<_>, Vec<_>) = (minutes.into_iter().collect(), hours.into_iter().collect());
        prop_assert_eq!(schedule.next_after(after), by_stepping(&minutes, &hours, day, after, &zone));
    }

    #[test]
    fn firings_never_repeat_and_never_go_back(
        text in prop::sample::select(&["*/10 * * * *", "30 2 * * *", "0 0 * * *", "15 1-3 * * sun", "59 23 31 * *"][..]),
        zone in prop::sample::select(&["Europe/Berlin", "America/Havana", "Africa/Cairo", "Pacific/Apia", "America/St_Johns"][..]),
        start in 1_200_000_000_i64..1_800_000_000,
    ) {
        let schedule = schedule(text, zone);
        let mut at = Timestamp::from_unix_seconds(start);
        for _ in 0..50 {
            let next = schedule.next_after(at).unwrap();
            prop_assert!(next > at);
            prop_assert_eq!(schedule.next_after(Timestamp(next.0 - 1)), Some(next));
            at = next;
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}", near in "[0-9*/,a-z-]{1,6}( [0-9*/,a-z-]{1,6}){4}") {
        for text in [text, near] {
            if let Ok(schedule) = Schedule::parse(&text, Zone::utc()) {
                prop_assert!(schedule.next_after(Timestamp(0)).is_some());
            }
        }
    }
}

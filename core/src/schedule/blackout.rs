//! Hours in which nothing is purged.

use std::fmt;
use std::str::FromStr;

use jiff::ToSpan as _;
use jiff::civil::{Date, Time};

use crate::time::{Timestamp, Zone};

/// A span of every day, or of some weekdays, by the clock of a place: `07:00-19:00`, `mon-fri 07:00-19:00`,
/// `sat,sun 00:00-24:00`, `fri 22:00-06:00` (until the next morning).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blackout {
    /// Monday first.
    days: [bool; 7],
    /// Minutes of the day. When `to` is not after `from`, it ends on the next day.
    from: u16,
    to: u16,
}

/// A blackout could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a span of hours: expected 07:00-19:00, perhaps after weekdays such as mon-fri or sat,sun")]
pub struct BlackoutError;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MINUTES: u16 = 24 * 60;

impl Blackout {
    /// Returns when it is over, if an instant lies in it.
    #[must_use]
    pub fn until(&self, at: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let civil = zone.civil(at);
        let today = civil.date();
        let minute = u16::from(civil.hour().unsigned_abs()) * 60 + u16::from(civil.minute().unsigned_abs());
        let crosses = self.to <= self.from;
        let began_yesterday = today.yesterday().ok().is_some_and(|yesterday| self.is_on(yesterday));
        let (day, left) = if self.is_on(today) && minute >= self.from && (crosses || minute < self.to) {
            let left = if crosses { DAY_MINUTES - minute + self.to } else { self.to - minute };
            (if crosses { today.tomorrow().ok()? } else { today }, left)
        } else if crosses && began_yesterday && minute < self.to {
            (today, self.to - minute)
        } else {
            return None;
        };
        let end = clock(day, self.to).map(|(day, time)| zone.instant(day.to_datetime(time)));
        // While the clock shows an hour for the second time, its end by the clock is already over.
        let counted = Timestamp(at.0.saturating_add(i64::from(left) * 60_000_000));
        Some(end.filter(|end| *end > at).unwrap_or(counted))
    }

    /// Returns when all of some blackouts are over, if an instant lies in one of them.
    #[must_use]
    pub fn all_until(all: &[Self], at: Timestamp, zone: &Zone) -> Option<Timestamp> {
        /// Spans that follow one another without a gap: more than a week has.
        const STEPS_MAX: usize = 64;
        let mut end = None;
        for _ in 0..STEPS_MAX {
            let from = end.unwrap_or(at);
            match all.iter().filter_map(|blackout| blackout.until(from, zone)).max() {
                Some(later) => end = Some(later),
                None => return end,
            }
        }
        end
    }

    /// Says whether some blackouts leave no minute of a week.
    #[must_use]
    pub fn leave_nothing(all: &[Self]) -> bool {
        let mut covered = vec![false; 7 * usize::from(DAY_MINUTES)];
        for blackout in all {
            let length = match blackout.to > blackout.from {
                true => blackout.to - blackout.from,
                false => DAY_MINUTES - blackout.from + blackout.to,
            };
            for day in (0..7).filter(|day| blackout.days.get(*day) == Some(&true)) {
                let first = day * usize::from(DAY_MINUTES) + usize::from(blackout.from);
                for minute in first..first + usize::from(length) {
                    let minutes = covered.len();
                    if let Some(slot) = covered.get_mut(minute % minutes) {
                        *slot = true;
                    }
                }
            }
        }
        covered.iter().all(|covered| *covered)
    }

    fn is_on(&self, date: Date) -> bool {
        let index = date.weekday().to_monday_zero_offset();
        usize::try_from(index).ok().and_then(|index| self.days.get(index)) == Some(&true)
    }
}

/// Returns the time of a minute of a day; `24:00` is the midnight after it.
fn clock(day: Date, minute: u16) -> Option<(Date, Time)> {
    let hour = i8::try_from(minute / 60).ok()?;
    let rest = i8::try_from(minute % 60).ok()?;
    match hour {
        24 => Some((day.checked_add(1.day()).ok()?, Time::midnight())),
        _ => Some((day, Time::new(hour, rest, 0, 0).ok()?)),
    }
}

fn minute(text: &str) -> Result<u16, BlackoutError> {
    let (hour, minute) = text.split_once(':').ok_or(BlackoutError)?;
    let number = |text: &str| match text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u16>().map_err(|_| BlackoutError),
        false => Err(BlackoutError),
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let all = hour * 60 + minute;
    if minute < 60 && all <= DAY_MINUTES { Ok(all) } else { Err(BlackoutError) }
}

fn weekdays(text: &str) -> Result<[bool; 7], BlackoutError> {
    let day = |name: &str| DAYS.iter().position(|known| known.eq_ignore_ascii_case(name)).ok_or(BlackoutError);
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(part)?, day(part)?),
        };
        // Unlike in a cron line there is only one reading of sat-mon.
        let mut at = first;
        loop {
            if let Some(slot) = days.get_mut(at) {
                *slot = true;
            }
            if at == last {
                break;
            }
            at = (at + 1) % DAYS.len();
        }
    }
    Ok(days)
}

impl FromStr for Blackout {
    type Err = BlackoutError;

    fn from_str(text: &str) -> Result<Self, BlackoutError> {
        let (days, hours) = match text.trim().split_once(' ') {
            Some((days, hours)) => (weekdays(days)?, hours.trim()),
            None => ([true; 7], text.trim()),
        };
        let (from, to) = hours.split_once('-').ok_or(BlackoutError)?;
        let (from, to) = (minute(from.trim())?, minute(to.trim())?);
        if from == DAY_MINUTES || from == to {
            return Err(BlackoutError);
        }
        Ok(Self { days, from, to })
    }
}

impl fmt::Display for Blackout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days.iter().any(|on| !on) {
            let on: Vec<&str> = DAYS.iter().zip(self.days).filter(|(_, on)| *on).map(|(name, _)| *name).collect();
            write!(f, "{} ", on.join(","))?;
        }
        let hours = |minute: u16| (minute / 60, minute % 60);
        let ((from, past), (to, over)) = (hours(self.from), hours(self.to));
        write!(f, "{from:02}:{past:02}-{to:02}:{over:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(text: &str, at: &str) -> String {
        let blackout: Blackout = text.parse().unwrap();
        let zone = "Europe/Berlin".parse().unwrap();
        blackout.until(at.parse().unwrap(), &zone).map_or("-".to_owned(), |end| end.to_string())
    }

    #[test]
    fn it_ends_by_the_clock_of_the_place() {
        assert_eq!(until("07:00-19:00", "2026-01-15T10:00:00Z"), "2026-01-15T18:00:00Z");
        assert_eq!(until("07:00-19:00", "2026-01-15T06:00:00Z"), "2026-01-15T18:00:00Z");
        assert_eq!(until("07:00-19:00", "2026-01-15T05:59:59Z"), "-");
        assert_eq!(until("07:00-19:00", "2026-01-15T18:00:00Z"), "-");
        assert_eq!(until("00:00-24:00", "2026-01-15T18:00:00Z"), "2026-01-15T23:00:00Z");
    }

    #[test]
    fn it_may_end_on_the_next_morning_and_belongs_to_the_day_on_which_it_began() {
        assert_eq!(until("fri 22:00-06:00", "2026-01-16T22:00:00Z"), "2026-01-17T05:00:00Z");
        assert_eq!(until("fri 22:00-06:00", "2026-01-17T04:59:00Z"), "2026-01-17T05:00:00Z");
        assert_eq!(until("fri 22:00-06:00", "2026-01-17T22:00:00Z"), "-");
        assert_eq!(until("mon-fri 22:00-06:00", "2026-01-18T04:00:00Z"), "-");
    }

    #[test]
    fn a_changed_clock_neither_shortens_it_to_nothing_nor_hangs() {
        assert_eq!(until("01:00-02:30", "2026-03-29T00:30:00Z"), "2026-03-29T01:00:00Z");
        assert_eq!(until("01:00-02:30", "2026-10-25T00:15:00Z"), "2026-10-25T00:30:00Z");
        // The same wall time for the second time: a quarter of an hour is left by the clock.
        assert_eq!(until("01:00-02:30", "2026-10-25T01:15:00Z"), "2026-10-25T01:30:00Z");
    }

    #[test]
    fn what_is_no_span_of_hours_is_refused() {
        for text in [
            "",
            "7-19",
            "07:00",
            "07:00-07:00",
            "25:00-26:00",
            "24:00-06:00",
            "12:60-13:00",
            "mo 1:00-2:00",
            "07:00 - 19:00 x",
        ] {
            assert!(text.parse::<Blackout>().is_err(), "{text}");
        }
        for text in ["07:00-19:00", "mon,tue,wed,thu,fri 07:00-19:00", "sat,sun 00:00-24:00"] {
            assert_eq!(text.parse::<Blackout>().unwrap().to_string(), text);
        }
        assert_eq!("sat-mon 01:00-02:00".parse::<Blackout>().unwrap().to_string(), "mon,sat,sun 01:00-02:00");
    }

    #[test]
    fn spans_that_leave_no_minute_are_found() {
        let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Blackout>>();
        assert!(Blackout::leave_nothing(&read(&["00:00-24:00"])));
        assert!(Blackout::leave_nothing(&read(&["07:00-19:00", "19:00-07:00"])));
        assert!(!Blackout::leave_nothing(&read(&["07:00-19:00", "19:00-06:59"])));
        assert!(!Blackout::leave_nothing(&read(&["mon-sat 00:00-24:00"])));
        let zone = "Europe/Berlin".parse().unwrap();
        let joined = read(&["fri 22:00-24:00", "sat 00:00-08:00"]);
        let end = Blackout::all_until(&joined, "2026-01-16T22:00:00Z".parse().unwrap(), &zone);
        assert_eq!(end.unwrap().to_string(), "2026-01-17T07:00:00Z");
    }
}

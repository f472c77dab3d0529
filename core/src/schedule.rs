//! When a policy's runs are triggered. A schedule never decides what is due: firing late only delays.
//!
//! The `cron` crate does the search in civil time; its syntax and its handling of clock changes are kept out, because
//! they differ from what people expect: it wants seconds, counts Sunday as 1, skips a time that a clock change skips
//! and fires twice at a time that occurs twice. So the crate is fed civil times as if they were UTC, and this module
//! maps civil times to instants.

use std::fmt;
use std::str::FromStr as _;

use chrono::{Datelike as _, TimeZone as _, Timelike as _};
use jiff::civil;

use crate::time::{Timestamp, Zone};

mod blackout;
mod syntax;

pub use blackout::{Blackout, BlackoutError};
pub use syntax::ScheduleError;

/// A five-field cron line in a zone.
///
/// A time that a clock change skips fires at the first instant after it; a time that occurs twice fires once, at the
/// first. It knows the years up to 2100.
#[derive(Clone)]
pub struct Schedule {
    text: String,
    zone: Zone,
    // Boxed: it is 250 bytes of field sets beside small neighbours.
    times: Box<cron::Schedule>,
}

/// Times of a schedule that passed without firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// The first of them.
    pub first_at: Timestamp,
    /// The last of them.
    pub last_at: Timestamp,
    /// How many, counted up to [`MISSED_COUNT_MAX`].
    pub count: u64,
}

/// The most missed times that are counted one by one: about a week of every minute. More only says "very many".
pub const MISSED_COUNT_MAX: u64 = 10_000;

/// The most civil times that are passed over because they came before the clock went back: one day of minutes, as
/// much as a zone ever went back.
const REPEATED_MAX: usize = 1_440;

impl Schedule {
    /// Reads five POSIX fields: minute, hour, day of month, month, weekday; weekdays and months by name.
    ///
    /// # Errors
    /// Says which field is wrong and what to write instead. Refuses weekday numbers, and a day of the month beside a
    /// weekday: cron dialects disagree on both.
    pub fn parse(text: &str, zone: Zone) -> Result<Self, ScheduleError> {
        let line = syntax::to_crate_syntax(text)?;
        let times = Box::new(cron::Schedule::from_str(&line).map_err(|_| ScheduleError::Unreadable)?);
        let text = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
        let schedule = Self { text, zone, times };
        if schedule.next_after(EARLIEST).is_none() {
            return Err(ScheduleError::Never);
        }
        Ok(schedule)
    }

    /// Returns the five fields.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the zone whose clock it follows.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Returns the first firing strictly after an instant; `None` after the year 2100.
    #[must_use]
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        let from = to_chrono(self.zone.civil(at))?;
        // While the clock shows an hour for the second time, the times of that hour have already fired.
        self.times
            .after(&from)
            .take(REPEATED_MAX)
            .filter_map(to_civil)
            .map(|civil| self.zone.instant(civil))
            .find(|firing| *firing > at)
    }

    /// Returns the firings after `last_fired` and up to `now`, if there are any.
    #[must_use]
    pub fn missed(&self, last_fired: Timestamp, now: Timestamp) -> Option<Missed> {
        let first_at = self.next_after(last_fired).filter(|at| *at <= now)?;
        let mut count = 0;
        let mut next = Some(first_at);
        while let Some(at) = next.filter(|at| *at <= now && count < MISSED_COUNT_MAX) {
            count += 1;
            next = self.next_after(at);
        }
        Some(Missed { first_at, last_at: self.last_until(first_at, now), count })
    }

    /// Finds the last firing up to `now` by halving the time between: 64 steps at most. `first_at` is one of them.
    fn last_until(&self, first_at: Timestamp, now: Timestamp) -> Timestamp {
        let mut last = first_at;
        let mut none_from = now;
        while last < none_from {
            let middle = Timestamp(last.0 + (none_from.0 - last.0) / 2);
            match self.next_after(middle).filter(|at| *at <= now) {
                Some(later) => last = later,
                None => none_from = middle,
            }
        }
        last
    }
}

/// 1970-01-02: the crate knows no earlier year, and no zone is a day away from UTC.
const EARLIEST: Timestamp = Timestamp::from_unix_seconds(86_400);

/// Hands a civil time to the crate as if it were UTC. Times before 1970 are taken as 1970, where the crate begins.
fn to_chrono(civil: civil::DateTime) -> Option<chrono::DateTime<chrono::Utc>> {
    if civil.year() < 1970 {
        return chrono::Utc.with_ymd_and_hms(1970, 1, 1, 0, 0, 0).single();
    }
    let [month, day] = [civil.month(), civil.day()].map(|n| u32::from(n.unsigned_abs()));
    let [hour, minute, second] = [civil.hour(), civil.minute(), civil.second()].map(|n| u32::from(n.unsigned_abs()));
    chrono::Utc.with_ymd_and_hms(civil.year().into(), month, day, hour, minute, second).single()
}

fn to_civil(at: chrono::DateTime<chrono::Utc>) -> Option<civil::DateTime> {
    let small = |n: u32| i8::try_from(n).ok();
    let year = i16::try_from(at.year()).ok()?;
    let (month, day) = (small(at.month())?, small(at.day())?);
    let (hour, minute, second) = (small(at.hour())?, small(at.minute())?, small(at.second())?);
    civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.zone == other.zone && self.times.timeunitspec_eq(&other.times)
    }
}

impl Eq for Schedule {}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.zone)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({self})")
    }
}

#[cfg(test)]
mod tests;

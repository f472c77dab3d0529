//! Retention periods: calendar lengths that end with a local day, and exact lengths.

use std::fmt;
use std::str::FromStr;

use jiff::ToSpan as _;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Timestamp, Zone};

/// How long something is kept, in ISO 8601: `P3Y`, `P1Y6M`, `P2W`, `P30D` count in the calendar, `PT720H` exactly.
///
/// **Why two:** `P1D` is one local day, which has 23 or 25 hours when clocks change; `PT24H` is 24 hours. A mixture
/// such as `P1DT12H` is refused, because nobody could say on which day it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Period(Length);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Length {
    Calendar { years: u32, months: u32, weeks: u32, days: u32 },
    Exact { hours: u64, minutes: u64, seconds: u64 },
}

/// A period could not be read: what follows "it is".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// It is not of the form.
    #[error("not a period: expected ISO 8601 such as P3Y, P6M, P2W, P30D or PT720H, with whole numbers")]
    Form,
    /// Calendar units beside exact ones.
    #[error(
        "of the calendar (P3Y, P6M, P2W, P30D) and exact (PT720H) at once: write one, never both, \
         because a mixture ends on a day that depends on how it is read"
    )]
    Mixed,
    /// More than a thousand years.
    #[error("longer than 1000 years, which is the most that a period may have")]
    TooLong,
}

/// To the end of which span the retention start is moved before the period is added (German AO § 147, HGB § 257).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Align {
    /// The start is taken as it is.
    None,
    /// The period begins when the month of the start is over.
    EndOfMonth,
    /// The period begins when the year of the start is over.
    EndOfYear,
    /// The period begins when the business year of the start is over.
    EndOfFiscalYear {
        /// The month with which a business year begins, from 1 to 12.
        first_month: i8,
    },
}

/// The longest period, in years: calendars end in the year 9999, and no law asks for more.
const YEARS_MAX: u32 = 1_000;

const SECONDS_PER_DAY: u64 = 86_400;
const DAYS_MAX: u32 = YEARS_MAX * 366;
const SECONDS_MAX: u64 = DAYS_MAX as u64 * SECONDS_PER_DAY;

impl Period {
    /// No time at all: `P0D`.
    pub const NONE: Self = Self(Length::Calendar { years: 0, months: 0, weeks: 0, days: 0 });

    /// Makes a calendar period of whole days.
    ///
    /// # Errors
    /// Refuses more than a thousand years.
    pub fn from_days(days: u32) -> Result<Self, PeriodError> {
        if days > DAYS_MAX {
            return Err(PeriodError::TooLong);
        }
        Ok(Self(Length::Calendar { years: 0, months: 0, weeks: 0, days }))
    }

    /// Makes a calendar period of whole years.
    ///
    /// # Errors
    /// Refuses more than a thousand years.
    pub fn from_years(years: u32) -> Result<Self, PeriodError> {
        if years > YEARS_MAX {
            return Err(PeriodError::TooLong);
        }
        Ok(Self(Length::Calendar { years, months: 0, weeks: 0, days: 0 }))
    }

    /// Says whether it has no length: `P0D`, `PT0S`.
    #[must_use]
    pub fn is_zero(self) -> bool {
        match self.0 {
            Length::Calendar { years, months, weeks, days } => years == 0 && months == 0 && weeks == 0 && days == 0,
            Length::Exact { .. } => self.exact_seconds() == Some(0),
        }
    }

    /// Says whether it counts in the calendar, so that its end depends on a zone.
    #[must_use]
    pub fn is_calendar(self) -> bool {
        match self.0 {
            Length::Calendar { .. } => true,
            Length::Exact { .. } => false,
        }
    }

    /// Returns the seconds of an exact period, and `None` for a calendar one.
    #[must_use]
    pub fn exact_seconds(self) -> Option<u64> {
        match self.0 {
            Length::Calendar { .. } => None,
            Length::Exact { hours, minutes, seconds } => Some(hours * 3_600 + minutes * 60 + seconds),
        }
    }

    /// Returns the length in milliseconds, a day counted as 24 hours; `None` when months or years are in it.
    #[must_use]
    pub fn nominal_ms(self) -> Option<u64> {
        match self.0 {
            Length::Calendar { years: 0, months: 0, weeks, days } => {
                Some((u64::from(weeks) * 7 + u64::from(days)) * SECONDS_PER_DAY * 1_000)
            }
            Length::Calendar { .. } => None,
            Length::Exact { .. } => self.exact_seconds().map(|seconds| seconds * 1_000),
        }
    }

    /// Returns the length in words: `1 year and 6 months`.
    #[must_use]
    pub fn in_words(self) -> String {
        let parts: Vec<String> = match self.0 {
            _ if self.is_zero() => vec![counted(0, "day")],
            Length::Calendar { years, months, weeks, days } => {
                words([(years.into(), "year"), (months.into(), "month"), (weeks.into(), "week"), (days.into(), "day")])
            }
            Length::Exact { hours, minutes, seconds } => {
                words([(hours, "hour"), (minutes, "minute"), (seconds, "second"), (0, "")])
            }
        };
        match parts.split_last() {
            Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
            Some(_) | None => parts.concat(),
        }
    }

    /// Says whether it is as long as another whatever the start is; when that depends on the start, it is not.
    #[must_use]
    pub fn is_at_least(self, other: Self) -> bool {
        /// What a change of the clock can add to a day or take from it, in seconds, with room.
        const CHANGE: u64 = 2 * SECONDS_PER_DAY;
        let least_days = |years: u32, months: u32, weeks: u32, days: u32| {
            u64::from(years) * 365 + u64::from(months) * 28 + u64::from(weeks) * 7 + u64::from(days)
        };
        let most_days = |years: u32, months: u32, weeks: u32, days: u32| {
            u64::from(years) * 366 + u64::from(months) * 31 + u64::from(weeks) * 7 + u64::from(days)
        };
        match (self.0, other.0) {
            (
                Length::Calendar { years, months, weeks, days },
                Length::Calendar { years: y, months: m, weeks: w, days: d },
            ) => {
                let unit_by_unit = years * 12 + months >= y * 12 + m && weeks * 7 + days >= w * 7 + d;
                unit_by_unit || least_days(years, months, weeks, days) >= most_days(y, m, w, d)
            }
            (Length::Exact { .. }, Length::Exact { .. }) => self.exact_seconds() >= other.exact_seconds(),
            (Length::Calendar { years, months, weeks, days }, Length::Exact { .. }) => {
                let least = least_days(years, months, weeks, days);
                Some((least * SECONDS_PER_DAY).saturating_sub(CHANGE)) >= other.exact_seconds()
            }
            (Length::Exact { .. }, Length::Calendar { years, months, weeks, days }) => {
                let most = most_days(years, months, weeks, days) + 1;
                self.exact_seconds() >= Some(most * SECONDS_PER_DAY + CHANGE)
            }
        }
    }

    /// Returns the first instant at which the period is over.
    ///
    /// A calendar period is added once, to the local day of the start; a day that its month lacks becomes the last
    /// day of that month; the period is over at the end of the day so reached (Regulation 1182/71 art. 3,
    /// BGB §§ 187-188: the day of the start is not counted). An exact period is added to the instant.
    /// An aligned period is added to the first instant after the aligned span.
    /// What runs out beyond the year 9999 is [`Timestamp::NEVER`] over.
    #[must_use]
    pub fn due_at(self, start: Timestamp, align: Align, zone: &Zone) -> Timestamp {
        self.checked_due_at(start, align, zone).unwrap_or(Timestamp::NEVER)
    }

    fn checked_due_at(self, start: Timestamp, align: Align, zone: &Zone) -> Option<Timestamp> {
        let aligned = match align {
            Align::None => None,
            Align::EndOfMonth => Some(add_months(zone.civil(start).date().first_of_month(), 1)?),
            Align::EndOfYear => Some(Date::new(zone.civil(start).year().checked_add(1)?, 1, 1).ok()?),
            Align::EndOfFiscalYear { first_month } => Some(next_fiscal_year(zone.civil(start).date(), first_month)?),
        };
        match self.0 {
            Length::Calendar { years, months, weeks, days } => {
                let months = i64::from(years) * 12 + i64::from(months);
                let days = i64::from(weeks) * 7 + i64::from(days);
                let add = |date| add_months(date, months)?.checked_add(days.days()).ok();
                let end = match aligned {
                    Some(first_day) => add(first_day)?,
                    None => add(zone.civil(start).date())?.tomorrow().ok()?,
                };
                Some(zone.day_start(end))
            }
            Length::Exact { .. } => {
                let from = aligned.map_or(start, |first_day| zone.day_start(first_day));
                let micros = i64::try_from(self.exact_seconds()?).ok()?.checked_mul(1_000_000)?;
                from.0.checked_add(micros).map(Timestamp)
            }
        }
    }
}

fn words(units: [(u64, &str); 4]) -> Vec<String> {
    units.into_iter().filter(|(number, _)| *number > 0).map(|(number, unit)| counted(number, unit)).collect()
}

fn counted(number: u64, unit: &str) -> String {
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// Returns the first day of the business year after the one of a date.
fn next_fiscal_year(date: Date, first_month: i8) -> Option<Date> {
    let this = Date::new(date.year(), first_month, 1).ok()?;
    if date < this { Some(this) } else { Date::new(date.year().checked_add(1)?, first_month, 1).ok() }
}

/// Adds months to a date; a day that the month lacks becomes its last day.
fn add_months(date: Date, months: i64) -> Option<Date> {
    if months == 0 {
        return Some(date);
    }
    let total = i64::from(date.year()) * 12 + i64::from(date.month()) - 1 + months;
    let year = i16::try_from(total.div_euclid(12)).ok()?;
    let month = i8::try_from(total.rem_euclid(12) + 1).ok()?;
    let first = Date::new(year, month, 1).ok()?;
    Date::new(year, month, date.day().min(first.days_in_month())).ok()
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let rest = text.strip_prefix('P').ok_or(PeriodError::Form)?;
        match rest.split_once('T') {
            None => parse_calendar(rest).map(Self),
            Some(("", time)) => parse_exact(time).map(Self),
            Some((date, time)) => {
                parse_calendar(date)?;
                parse_exact(time)?;
                Err(PeriodError::Mixed)
            }
        }
    }
}

fn parse_calendar(text: &str) -> Result<Length, PeriodError> {
    let [years, months, weeks, days] = parse_units(text, ['Y', 'M', 'W', 'D'])?;
    let total = years * 366 + months * 31 + weeks * 7 + days;
    let small = |n: u64| u32::try_from(n).map_err(|_| PeriodError::TooLong);
    if total > u64::from(DAYS_MAX) {
        return Err(PeriodError::TooLong);
    }
    Ok(Length::Calendar { years: small(years)?, months: small(months)?, weeks: small(weeks)?, days: small(days)? })
}

fn parse_exact(text: &str) -> Result<Length, PeriodError> {
    let [hours, minutes, seconds] = parse_units(text, ['H', 'M', 'S'])?;
    if hours * 3_600 + minutes * 60 + seconds > SECONDS_MAX {
        return Err(PeriodError::TooLong);
    }
    Ok(Length::Exact { hours, minutes, seconds })
}

/// Reads `<digits><unit>` pairs whose units come in the given order, at least one of them. Each number is below 10^12,
/// so sums of a few of them, weighted with 3,600, fit.
fn parse_units<const N: usize>(text: &str, units: [char; N]) -> Result<[u64; N], PeriodError> {
    /// The most digits of one number: more than the longest period in seconds has.
    const DIGITS_MAX: usize = 12;
    let mut numbers = [0; N];
    let mut slots = units.iter().zip(numbers.iter_mut());
    let mut rest = text;
    if rest.is_empty() {
        return Err(PeriodError::Form);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(PeriodError::Form)?;
        let (number, tail) = rest.split_at_checked(digits).ok_or(PeriodError::Form)?;
        let unit = tail.chars().next().ok_or(PeriodError::Form)?;
        let (_, slot) = slots.find(|(known, _)| **known == unit).ok_or(PeriodError::Form)?;
        if number.len() > DIGITS_MAX {
            return Err(PeriodError::TooLong);
        }
        *slot = number.parse().map_err(|_| PeriodError::Form)?;
        rest = tail.strip_prefix(unit).unwrap_or_default();
    }
    Ok(numbers)
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn unit(f: &mut fmt::Formatter<'_>, number: u64, name: char) -> fmt::Result {
            if number == 0 { Ok(()) } else { write!(f, "{number}{name}") }
        }
        if self.is_zero() {
            return f.write_str(if self.is_calendar() { "P0D" } else { "PT0S" });
        }
        match self.0 {
            Length::Calendar { years, months, weeks, days } => {
                f.write_str("P")?;
                unit(f, years.into(), 'Y')?;
                unit(f, months.into(), 'M')?;
                unit(f, weeks.into(), 'W')?;
                unit(f, days.into(), 'D')
            }
            Length::Exact { hours, minutes, seconds } => {
                f.write_str("PT")?;
                unit(f, hours, 'H')?;
                unit(f, minutes, 'M')?;
                unit(f, seconds, 'S')
            }
        }
    }
}

impl TryFrom<String> for Period {
    type Error = PeriodError;

    fn try_from(text: String) -> Result<Self, PeriodError> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

#[cfg(test)]
#[path = "period_tests.rs"]
mod tests;

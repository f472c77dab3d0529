//! Time zones by their IANA name, from the bundled table: the answer does not depend on the machine.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::civil;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::steady::Steady;

/// A time zone. Text and JSON form: its IANA name, such as `Europe/Paris`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Zone {
    name: String,
    rules: TimeZone,
    steady: Arc<Steady>,
}

/// A zone is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time zone: expected an IANA name such as Europe/Paris or Etc/UTC")]
pub struct ZoneError;

/// The longest name that is looked up, in bytes; the longest IANA name has 32.
const NAME_MAX: usize = 64;

/// Microseconds of a second.
const MICROS: i64 = 1_000_000;

impl Zone {
    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self::of("Etc/UTC".to_owned(), TimeZone::UTC)
    }

    fn of(name: String, rules: TimeZone) -> Self {
        let steady = Arc::new(Steady::of(&rules));
        Self { name, rules, steady }
    }

    /// Returns the name as the IANA table spells it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what a clock on the wall shows at an instant.
    #[must_use]
    pub fn civil(&self, at: Timestamp) -> civil::DateTime {
        match self.steady.offset_at(at.0.div_euclid(MICROS)) {
            Some(offset) => offset.to_datetime(at.to_jiff()),
            None => self.rules.to_datetime(at.to_jiff()),
        }
    }

    /// Returns the instant at which a clock on the wall shows `civil`.
    ///
    /// A time that a clock change skips is the first instant after it; a time that occurs twice is the first of the
    /// two. Beyond what calendars know the answer is the first or the last instant there is.
    #[must_use]
    pub fn instant(&self, civil: civil::DateTime) -> Timestamp {
        if let Some(at) = self.steady_instant(civil) {
            return at;
        }
        match self.rules.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => to_instant(civil, offset),
            AmbiguousOffset::Gap { before, .. } => self.gap_end(to_instant(civil, before)),
            AmbiguousOffset::Fold { before, .. } => to_instant(civil, before),
        }
    }

    /// Returns the first instant of a local day, which is the end of the day before it.
    ///
    /// Where clocks go back over midnight the earlier day comes back for a while: its end is the later midnight.
    /// A day that a zone skipped begins where the next one does.
    #[must_use]
    pub fn day_start(&self, date: civil::Date) -> Timestamp {
        let midnight = date.to_datetime(civil::Time::midnight());
        if let Some(at) = self.steady_instant(midnight) {
            return at;
        }
        match self.rules.to_ambiguous_timestamp(midnight).offset() {
            AmbiguousOffset::Unambiguous { offset } => to_instant(midnight, offset),
            AmbiguousOffset::Gap { before, .. } => self.gap_end(to_instant(midnight, before)),
            AmbiguousOffset::Fold { before, after } => {
                let second = to_instant(midnight, after);
                if self.civil(Timestamp(second.0.saturating_sub(1))).date() < date {
                    second
                } else {
                    to_instant(midnight, before)
                }
            }
        }
    }

    /// Returns the one instant at which a clock on the wall shows `civil`; `None` when a change of the clock may be near.
    fn steady_instant(&self, civil: civil::DateTime) -> Option<Timestamp> {
        let as_utc = to_instant(civil, Offset::UTC);
        let offset = self.steady.offset_at(as_utc.0.div_euclid(MICROS))?;
        as_utc.0.checked_sub(i64::from(offset.seconds()) * MICROS).map(Timestamp)
    }

    /// Returns the clock change that `at_or_after` (a skipped time, read with the offset before the change) follows.
    fn gap_end(&self, at_or_after: Timestamp) -> Timestamp {
        let after = Timestamp(at_or_after.0.saturating_add(1)).to_jiff();
        self.rules
            .preceding(after)
            .next()
            .map_or(at_or_after, |transition| Timestamp::from_jiff(transition.timestamp()))
    }
}

fn to_instant(civil: civil::DateTime, offset: Offset) -> Timestamp {
    match offset.to_timestamp(civil) {
        Ok(timestamp) => Timestamp::from_jiff(timestamp),
        Err(_) if civil.year() < 0 => Timestamp(i64::MIN),
        Err(_) => Timestamp::NEVER,
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(name: &str) -> Result<Self, ZoneError> {
        if name.len() > NAME_MAX || name == "Etc/Unknown" {
            return Err(ZoneError);
        }
        let rules = TimeZoneDatabase::bundled().get(name).map_err(|_| ZoneError)?;
        let name = rules.iana_name().unwrap_or(name).to_owned();
        Ok(Self::of(name, rules))
    }
}

impl TryFrom<String> for Zone {
    type Error = ZoneError;

    fn try_from(name: String) -> Result<Self, ZoneError> {
        name.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.name
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::Date;
    use jiff::tz::TimeZoneDatabase;

    use super::*;

    /// The same zone, which asks the calendar library each time.
    fn by_the_library(zone: &Zone) -> Zone {
        Zone { steady: Arc::new(Steady::unknown()), ..zone.clone() }
    }

    #[test]
    fn every_zone_answers_what_the_calendar_library_answers_also_around_each_change_of_the_clock() {
        let (first, last) = (Date::constant(1968, 1, 1), Date::constant(2102, 1, 1));
        for name in TimeZoneDatabase::bundled().available() {
            let Ok(zone) = name.as_str().parse::<Zone>() else { continue };
            let library = by_the_library(&zone);
            let start = Timestamp::from_jiff(zone.rules.to_ambiguous_timestamp(first.into()).compatible().unwrap());
            let mut instants: Vec<i64> = (0..400).map(|n| start.0 + n * 123_456_789_012_345 / 10).collect();
            for change in
                zone.rules.following(start.to_jiff()).take_while(|at| at.timestamp().as_second() < 4_200_000_000)
            {
                let at = change.timestamp().as_microsecond();
                let near = [-49, -48, -47, -26, -14, -1, 0, 1, 14, 26, 47, 48, 49];
                instants.extend(near.map(|hours| at + hours * 3_600 * MICROS));
                instants.extend([at - 1, at + 1]);
            }
            for at in instants.into_iter().map(Timestamp) {
                let civil = library.civil(at);
                assert_eq!(zone.civil(at), civil, "{name} at {at}");
                assert_eq!(zone.instant(civil), library.instant(civil), "{name} at {civil}");
                if (first..last).contains(&civil.date()) {
                    assert_eq!(zone.day_start(civil.date()), library.day_start(civil.date()), "{name} on {civil}");
                }
            }
        }
    }

    #[test]
    fn nearly_every_day_of_a_zone_is_far_from_a_change_of_the_clock() {
        let zone: Zone = "Europe/Paris".parse().unwrap();
        let days = Date::constant(2026, 1, 1).series(jiff::ToSpan::days(1)).take(365);
        let far = days.filter(|day| zone.steady_instant(day.to_datetime(civil::Time::midnight())).is_some()).count();
        assert!((350..365).contains(&far), "{far}");
    }
}

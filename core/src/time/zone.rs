//! Time zones by their IANA name, from the bundled table: the answer does not depend on the machine.

use std::fmt;
use std::str::FromStr;

use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use super::Timestamp;

/// A time zone. Text and JSON form: its IANA name, such as `Europe/Paris`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

/// A zone is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time zone: expected an IANA name such as Europe/Paris or Etc/UTC")]
pub struct ZoneError;

/// The longest name that is looked up, in bytes; the longest IANA name has 32.
const NAME_MAX: usize = 64;

impl Zone {
    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "Etc/UTC".to_owned(), rules: TimeZone::UTC }
    }

    /// Returns the name as the IANA table spells it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what a clock on the wall shows at an instant.
    #[must_use]
    pub fn civil(&self, at: Timestamp) -> civil::DateTime {
        self.rules.to_datetime(at.to_jiff())
    }

    /// Returns the instant at which a clock on the wall shows `civil`.
    ///
    /// A time that a clock change skips is the first instant after it; a time that occurs twice is the first of the
    /// two. Beyond what calendars know the answer is the first or the last instant there is.
    #[must_use]
    pub fn instant(&self, civil: civil::DateTime) -> Timestamp {
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

    /// Returns the clock change that `at_or_after` (a skipped time, read with the offset before the change) follows.
    fn gap_end(&self, at_or_after: Timestamp) -> Timestamp {
        let after = Timestamp(at_or_after.0.saturating_add(1)).to_jiff();
        self.rules
            .preceding(after)
            .next()
            .map_or(at_or_after, |transition| Timestamp::from_jiff(transition.timestamp()))
    }
}

fn to_instant(civil: civil::DateTime, offset: jiff::tz::Offset) -> Timestamp {
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
        Ok(Self { name, rules })
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

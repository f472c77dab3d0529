//! Instants, calendar periods and zones. Nothing here reads a clock.

use std::fmt;
use std::time::Duration;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub mod iso;
mod period;
mod steady;
mod zone;

pub use period::{Align, Period, PeriodError};
pub use zone::{Zone, ZoneError};

/// An instant: microseconds since 1970-01-01T00:00:00Z. In JSON and text: RFC 3339 in UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode, Serialize, Deserialize, ToSchema,
)]
#[serde(into = "String", try_from = "String")]
#[schema(value_type = String, format = "date-time", example = "2026-03-01T00:00:00Z")]
pub struct Timestamp(pub i64);

/// The length of `2026-03-01`, in bytes.
const DATE_LENGTH: usize = 10;

/// An instant could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an instant: expected RFC 3339 such as 2026-03-01T00:00:00Z, or a date such as 2026-03-01")]
pub struct TimestampError;

impl Timestamp {
    /// Makes an instant from whole seconds since 1970.
    #[must_use]
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds * 1_000_000)
    }

    /// Returns the whole seconds since 1970, rounded down.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Returns the instant so long after this one, or the last one there is.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Returns the instant as jiff sees it, clamped to the years that jiff knows.
    #[must_use]
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }

    /// The last instant there is: a period that runs out beyond what calendars know never runs out.
    pub const NEVER: Self = Self(i64::MAX);

    /// Reads RFC 3339, or a bare date, which means the first instant of that day in `zone`.
    ///
    /// # Errors
    /// Refuses everything else, also a time of day without an offset: it would have to be guessed.
    pub fn parse_in(text: &str, zone: &Zone) -> Result<Self, TimestampError> {
        // jiff would read `2026-03-01T10:00` as a date and drop the time, so the length is checked first.
        if text.len() == DATE_LENGTH {
            return text.parse().map(|date| zone.day_start(date)).map_err(|_| TimestampError);
        }
        text.parse::<jiff::Timestamp>().map(Self::from_jiff).map_err(|_| TimestampError)
    }

    /// Makes an instant from jiff's, dropping what is smaller than a microsecond.
    #[must_use]
    pub fn from_jiff(timestamp: jiff::Timestamp) -> Self {
        Self(timestamp.as_microsecond())
    }
}

/// Says whether a wait is over. One that is further off than it ever lasts began by a clock that was ahead: it must not last
/// until the clock has caught up.
#[must_use]
pub fn is_over(not_before: Timestamp, now: Timestamp, longest_us: i64) -> bool {
    now >= not_before || not_before.0.saturating_sub(now.0) > longest_us
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_jiff().fmt(f)
    }
}

impl From<Timestamp> for String {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.to_string()
    }
}

impl std::str::FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads RFC 3339; a bare date means its first instant in UTC. A time of day without an offset is refused.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        Self::parse_in(text, &Zone::utc())
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimestampError;

    fn try_from(text: String) -> Result<Self, TimestampError> {
        text.parse()
    }
}

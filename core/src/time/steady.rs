//! Stretches of time in which a zone keeps one offset to UTC: nearly every date lies in one, and there a conversion is
//! an addition. What lies near a change of the clock is left to the calendar library.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

/// How near to a change of the clock nothing is answered, in seconds. No offset reaches a day and a half, so a time on
/// the wall, read as if it were UTC, that is farther from every change than this is neither skipped nor repeated.
const NEAR_SECONDS: i64 = 2 * 86_400;

/// Between which instants the stretches are known, in seconds of Unix time: the years 1970 to 2099.
const FROM: i64 = 0;
const UNTIL: i64 = 4_102_444_800;

/// The stretches of one zone, ascending.
#[derive(Clone)]
pub(super) struct Steady(Vec<Stretch>);

#[derive(Clone, Copy)]
struct Stretch {
    /// The first second that is answered.
    from: i64,
    /// The first second that is not.
    until: i64,
    offset: Offset,
}

impl Steady {
    /// Looks up all changes of a zone.
    pub(super) fn of(rules: &TimeZone) -> Self {
        let mut stretches = Vec::new();
        let Ok(first) = Timestamp::from_second(FROM) else { return Self(stretches) };
        let (mut since, mut offset) = (FROM, rules.to_offset(first));
        let mut close = |since: i64, until: i64, offset: Offset| {
            let (from, until) = (since + NEAR_SECONDS, until - NEAR_SECONDS);
            if from < until {
                stretches.push(Stretch { from, until, offset });
            }
        };
        for change in rules.following(first) {
            let at = change.timestamp().as_second();
            if at >= UNTIL {
                break;
            }
            close(since, at, offset);
            (since, offset) = (at, change.offset());
        }
        close(since, UNTIL, offset);
        Self(stretches)
    }

    /// Returns the offset at an instant, or at a time on the wall read as if it were UTC, in seconds of Unix time;
    /// `None` when a change may be near.
    pub(super) fn offset_at(&self, second: i64) -> Option<Offset> {
        let later = self.0.partition_point(|stretch| stretch.from <= second);
        let stretch = self.0.get(later.checked_sub(1)?)?;
        (second < stretch.until).then_some(stretch.offset)
    }

    /// Knows nothing, so that everything is left to the calendar library.
    #[cfg(test)]
    pub(super) fn unknown() -> Self {
        Self(Vec::new())
    }
}

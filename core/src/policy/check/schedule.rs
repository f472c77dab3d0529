//! `[schedule]`: when a run waits, and how long it may take.

use crate::policy::Timing;
use crate::policy::error::PolicyProblem;
use crate::policy::syntax::{Reader, Table, Value};
use crate::schedule::Blackout;
use crate::time::{Period, Zone};

/// The longest jitter, in milliseconds: an hour spreads everything that needs to be spread.
const JITTER_MS_MAX: u64 = 3_600_000;
/// The shortest time that a run may be given, in milliseconds: below a minute it would hardly begin.
const RUNTIME_MS_MIN: u64 = 60_000;
/// The most spans of one blackout.
const BLACKOUTS_MAX: usize = 32;

pub(super) fn timing<'t>(r: &mut Reader<'t>, table: &mut Table<'t>, zone: Option<&Zone>) -> Option<Timing> {
    let mut timing = Timing::none();
    if let Some(value) = table.get("blackout") {
        timing.blackout = blackout(r, value)?;
        if zone.is_none() && !timing.blackout.is_empty() {
            let why = ": hours are those of a place";
            r.error(&value.span(), PolicyProblem::Missing { key: "timezone", table: table.name.clone(), why });
        }
    }
    timing.zone = zone.cloned().unwrap_or_else(Zone::utc);
    if let Some(value) = table.get("jitter") {
        timing.jitter_ms = exact(r, "jitter", value, 0..=JITTER_MS_MAX, "exact, such as PT10M, and at most an hour")?;
    }
    if let Some(value) = table.get("max_runtime") {
        let range = RUNTIME_MS_MIN..=u64::MAX;
        timing.max_runtime_ms =
            Some(exact(r, "max_runtime", value, range, "exact, such as PT2H, and at least a minute")?);
    }
    Some(timing)
}

fn blackout<'t>(r: &mut Reader<'t>, value: &'t Value<'t>) -> Option<Vec<Blackout>> {
    let texts = r.texts("blackout", value)?;
    if texts.len() > BLACKOUTS_MAX {
        r.bad_value(&value.span(), "blackout", format!("has too many spans: at most {BLACKOUTS_MAX}"));
        return None;
    }
    let mut all = Vec::new();
    for (text, at) in texts {
        match text.parse::<Blackout>() {
            Ok(blackout) => all.push(blackout),
            Err(error) => r.bad_value(&at, "blackout", format!("is {error}")),
        }
    }
    if Blackout::leave_nothing(&all) && !all.is_empty() {
        r.bad_value(&value.span(), "blackout", "leaves no minute of a week, so nothing would ever run: leave some");
        return None;
    }
    Some(all)
}

fn exact<'t>(
    r: &mut Reader<'t>,
    key: &'static str,
    value: &'t Value<'t>,
    range: std::ops::RangeInclusive<u64>,
    must_be: &str,
) -> Option<u64> {
    let period = r.parsed::<Period>(key, value)?;
    let ms = period.exact_seconds().map(|seconds| seconds.saturating_mul(1_000)).filter(|ms| range.contains(ms));
    if ms.is_none() {
        r.bad_value(&value.span(), key, format!("must be {must_be}"));
    }
    ms
}

//! `[retention]`: periods, starts, alignment, suspension.

use super::filter::FilterCheck;
use crate::policy::error::{PolicyProblem, suggestion};
use crate::policy::syntax::{Reader, Span, Table, Value};
use crate::policy::{OnMissingStart, Retention, Scope};
use crate::reason::StartKind;
use crate::time::{Align, Period, Zone};

/// The shortest retention period, in seconds: a shorter one is a slip of the pen.
const RETENTION_SECONDS_MIN: u64 = 86_400;
/// The longest name of an event date, in bytes.
const EVENT_MAX: usize = 64;

/// Reads `[retention]` up to what needs the scope; returns the table for the rest.
pub(super) fn head<'t>(r: &mut Reader<'t>, mut table: Table<'t>) -> Option<(Table<'t>, Retention)> {
    let zone_value = table.get("timezone");
    let zone = zone_value.and_then(|value| r.parsed::<Zone>("timezone", value));
    let period = table.require(r, "period", "").and_then(|value| length(r, "period", value));
    let min_keep_value = table.get("min_keep");
    let min_keep = min_keep_value.and_then(|value| length(r, "min_keep", value));
    let start = table.require(r, "start", "").and_then(|value| {
        let text = r.text("start", value)?;
        start_kind(r, "start", text, &value.span())
    });
    let aligns = [("none", Align::None), ("end_of_month", Align::EndOfMonth), ("end_of_year", Align::EndOfYear)];
    let align = match table.get("align") {
        Some(value) if value.get_ref().as_str() == Some("end_of_fiscal_year") => {
            r.unsupported(&value.span(), "end_of_fiscal_year", "");
            None
        }
        Some(value) => r.choice("align", value, &aligns),
        None => Some(Align::None),
    };
    let on_missing_start = match table.get("on_missing_start") {
        Some(value) => on_missing_start(r, value),
        None => Some(OnMissingStart::Keep),
    };
    let (period, start, align, on_missing_start) = (period?, start?, align?, on_missing_start?);
    let calendar = period.is_calendar() || min_keep.is_some_and(Period::is_calendar) || align != Align::None;
    if calendar && zone_value.is_none() {
        let why = ": days begin and end somewhere";
        r.error(&table.at, PolicyProblem::Missing { key: "timezone", table: table.name.clone(), why });
    }
    if let OnMissingStart::Fallback(fallback) = &on_missing_start
        && *fallback == start
    {
        r.bad_value(&table.at, "on_missing_start", "falls back to the start itself");
    }
    let zone = zone.unwrap_or_else(Zone::utc);
    Some((table, Retention { period, start, align, on_missing_start, zone, suspend_while: None, min_keep }))
}

fn length<'t>(r: &mut Reader<'t>, key: &'static str, value: &'t Value<'t>) -> Option<Period> {
    let period = r.parsed::<Period>(key, value)?;
    if period.is_zero() || period.exact_seconds().is_some_and(|seconds| seconds < RETENTION_SECONDS_MIN) {
        r.bad_value(&value.span(), key, "must be at least a day");
    }
    Some(period)
}

fn start_kind(r: &mut Reader<'_>, key: &'static str, text: &str, at: &Span) -> Option<StartKind> {
    let names = [
        ("created", StartKind::Created),
        ("modified", StartKind::Modified),
        ("last_activity", StartKind::LastActivity),
        ("closed", StartKind::Closed),
        ("contract_end", StartKind::ContractEnd),
        ("received", StartKind::Received),
        ("occurred", StartKind::Occurred),
        ("granted", StartKind::Granted),
        ("first_seen", StartKind::FirstSeen),
    ];
    if let Some(event) = text.strip_prefix("event:") {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if event.is_empty() || event.len() > EVENT_MAX || !event.bytes().all(allowed) {
            r.bad_value(at, key, "must name the event with 1 to 64 of a-z, 0-9 and _");
            return None;
        }
        return Some(StartKind::Event(event.to_owned()));
    }
    let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    let found = names.into_iter().find(|(name, _)| *name == text).map(|(_, start)| start);
    if found.is_none() {
        let hint = suggestion(text, known.iter().copied());
        r.bad_value(at, key, format!("must be one of {} or event:<name>{hint}", known.join(", ")));
    }
    found
}

fn on_missing_start<'t>(r: &mut Reader<'t>, value: &'t Value<'t>) -> Option<OnMissingStart> {
    let text = r.text("on_missing_start", value)?;
    match text.strip_prefix("fallback:") {
        Some(start) => start_kind(r, "on_missing_start", start, &value.span()).map(OnMissingStart::Fallback),
        None if text == "keep" => Some(OnMissingStart::Keep),
        None if text == "review" => {
            r.unsupported(&value.span(), "review", "");
            None
        }
        None => {
            r.bad_value(&value.span(), "on_missing_start", "must be keep or fallback:<start>");
            None
        }
    }
}

/// Reads the rest of `[retention]`; `leaves` counts the comparisons of the scope's filter.
pub(super) fn suspension<'t>(
    r: &mut Reader<'t>,
    mut table: Table<'t>,
    mut retention: Retention,
    scope: &Scope,
    leaves: usize,
) -> Option<Retention> {
    if let Some(value) = table.get("suspend_while") {
        let mut check = FilterCheck { kinds: &scope.kinds, zone: &retention.zone, leaves };
        retention.suspend_while = Some(check.tree(r, value, 0)?);
    }
    table.finish(r, &["activity_events", "max_keep", "override"]);
    Some(retention)
}

//! `[retention]`: periods, starts, alignment, suspension.

use std::collections::BTreeSet;

use super::filter::FilterCheck;
use crate::policy::error::{PolicyProblem, suggestion};
use crate::policy::filter::Filter;
use crate::policy::syntax::{Reader, Span, Table, Value};
use crate::policy::{ActivityEvents, OnMissingStart, Override, Retention, Scope};
use crate::reason::StartKind;
use crate::record::activity::ActivityClass;
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
    let max_keep_value = table.get("max_keep");
    let max_keep = max_keep_value.and_then(|value| length(r, "max_keep", value));
    let align = align(r, &mut table);
    let on_missing_start = match table.get("on_missing_start") {
        Some(value) => on_missing_start(r, value),
        None => Some(OnMissingStart::Keep),
    };
    let (Some(period), Some(start), Some(align), Some(on_missing_start)) = (period, start, align, on_missing_start)
    else {
        unread(r, table);
        return None;
    };
    let calendar = [Some(period), min_keep, max_keep].into_iter().flatten().any(Period::is_calendar);
    let calendar = calendar || align != Align::None;
    if calendar && zone_value.is_none() {
        let why = ": days begin and end somewhere";
        r.error(&table.at, PolicyProblem::Missing { key: "timezone", table: table.name.clone(), why });
    }
    if let OnMissingStart::Fallback(fallback) = &on_missing_start
        && *fallback == start
    {
        r.bad_value(&table.at, "on_missing_start", "falls back to the start itself");
    }
    if let (Some(value), OnMissingStart::Review) = (min_keep_value, &on_missing_start) {
        let problem = "stands beside on_missing_start = \"review\": a minimum without a start keeps for ever, so nobody could decide";
        r.bad_value(&value.span(), "min_keep", problem);
    }
    let zone = zone.unwrap_or_else(Zone::utc);
    if let (Some(value), Some(max)) = (max_keep_value, max_keep) {
        for (key, other) in [("period", Some(period)), ("min_keep", min_keep)] {
            if other.is_some_and(|other| !max.is_at_least(other)) {
                let problem = format!("may end before `{key}`: make it at least as long, in the same units");
                r.bad_value(&value.span(), "max_keep", problem);
            }
        }
    }
    let retention = Retention {
        period,
        start,
        activity_events: None,
        align,
        on_missing_start,
        zone,
        suspend_while: None,
        min_keep,
        max_keep,
        overrides: Vec::new(),
        applies_from: None,
    };
    Some((table, retention))
}

/// Reports the unknown keys of a table whose rest is not read: what was meant by one may be what is missing.
pub(super) fn unread<'t>(r: &mut Reader<'t>, mut table: Table<'t>) {
    for key in ["suspend_while", "override", "activity_events"] {
        table.get(key);
    }
    table.finish(r, &[]);
}

/// Reads `align` and, for business years that do not begin in January, `fiscal_year_start`.
fn align<'t>(r: &mut Reader<'t>, table: &mut Table<'t>) -> Option<Align> {
    const MONTHS: [(&str, i8); 12] = [
        ("jan", 1),
        ("feb", 2),
        ("mar", 3),
        ("apr", 4),
        ("may", 5),
        ("jun", 6),
        ("jul", 7),
        ("aug", 8),
        ("sep", 9),
        ("oct", 10),
        ("nov", 11),
        ("dec", 12),
    ];
    let placeholder = Align::EndOfFiscalYear { first_month: 1 };
    let aligns = [
        ("none", Align::None),
        ("end_of_month", Align::EndOfMonth),
        ("end_of_year", Align::EndOfYear),
        ("end_of_fiscal_year", placeholder),
    ];
    let month_value = table.get("fiscal_year_start");
    let align = match table.get("align") {
        Some(value) => r.choice("align", value, &aligns)?,
        None => Align::None,
    };
    match (align, month_value) {
        (Align::EndOfFiscalYear { .. }, Some(value)) => {
            r.choice("fiscal_year_start", value, &MONTHS).map(|first_month| Align::EndOfFiscalYear { first_month })
        }
        (Align::EndOfFiscalYear { .. }, None) => {
            let why = ": the month with which the business year begins, such as \"apr\"";
            r.error(&table.at, PolicyProblem::Missing { key: "fiscal_year_start", table: table.name.clone(), why });
            None
        }
        (_, Some(value)) => {
            let problem = "has no meaning without align = \"end_of_fiscal_year\": leave it out";
            r.bad_value(&value.span(), "fiscal_year_start", problem);
            None
        }
        (align, None) => Some(align),
    }
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
        None if text == "review" => Some(OnMissingStart::Review),
        None => {
            r.bad_value(&value.span(), "on_missing_start", "must be keep, review or fallback:<start>");
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
    let zone = retention.zone.clone();
    let mut check = FilterCheck { kinds: &scope.kinds, zone: &zone, leaves };
    if let Some(value) = table.get("suspend_while") {
        retention.suspend_while = Some(check.tree(r, value, 0)?);
    }
    if let Some(value) = table.get("override") {
        retention.overrides = overrides(r, value, &retention, &mut check, table.get("timezone").is_some())?;
    }
    if let Some(value) = table.get("activity_events") {
        let mut starts = std::iter::once(&retention.start).chain(retention.overrides.iter().map(|part| &part.start));
        let filters = scope.filter.iter().chain(&retention.suspend_while);
        let mut filters = filters.chain(retention.overrides.iter().map(|part| &part.filter));
        let speaks_of_activity = starts.any(|start| *start == StartKind::LastActivity)
            || retention.on_missing_start == OnMissingStart::Fallback(StartKind::LastActivity)
            || filters.any(Filter::speaks_of_activity);
        if !speaks_of_activity {
            let problem =
                "has no meaning where nothing counts from last_activity and no filter asks for it: leave it out";
            r.bad_value(&value.span(), "activity_events", problem);
        }
        retention.activity_events = Some(activity_events(r, value)?);
    }
    table.finish(r, &[]);
    Some(retention)
}

/// Reads the classes of activities that count.
fn activity_events<'t>(r: &mut Reader<'t>, value: &'t Value<'t>) -> Option<ActivityEvents> {
    /// A longer list is one that nobody can read.
    const CLASSES_MAX: usize = 100;
    let names = r.texts("activity_events", value)?;
    if names.is_empty() || names.len() > CLASSES_MAX {
        let problem = format!("must name 1 to {CLASSES_MAX} classes of activities; leave it out to count every one");
        r.bad_value(&value.span(), "activity_events", problem);
        return None;
    }
    let mut classes = BTreeSet::new();
    for (name, at) in &names {
        let Some(class) = ActivityClass::from_name(name) else {
            let known: Vec<&str> = ActivityClass::names().collect();
            let hint = suggestion(name, known.iter().copied());
            let problem = format!("names an unknown class: {} or custom:<name>{hint}", known.join(", "));
            r.bad_value(at, "activity_events", problem);
            continue;
        };
        if !classes.insert(class) {
            r.bad_value(at, "activity_events", "names a class twice");
        }
    }
    (classes.len() == names.len()).then(|| ActivityEvents::of(classes))
}

/// Reads `[[retention.override]]`. What a part does not say is as in the policy itself.
fn overrides<'t>(
    r: &mut Reader<'t>,
    value: &'t Value<'t>,
    retention: &Retention,
    check: &mut FilterCheck<'_>,
    has_zone: bool,
) -> Option<Vec<Override>> {
    /// More parts are a policy that nobody can read.
    const OVERRIDES_MAX: usize = 32;
    let Some(items) = value.get_ref().as_array() else {
        r.wrong_type("override", "tables written [[retention.override]]", value);
        return None;
    };
    if items.len() > OVERRIDES_MAX {
        r.bad_value(&value.span(), "override", format!("has too many parts: at most {OVERRIDES_MAX}"));
        return None;
    }
    let mut parts = Vec::new();
    for item in items {
        let mut table = r.table("[[retention.override]]", item)?;
        let filter = table.require(r, "where", ": for which part of the scope").map(|value| check.tree(r, value, 0));
        let period = table.require(r, "period", "").map(|value| length(r, "period", value));
        let start = match table.get("start") {
            Some(value) => r.text("start", value).and_then(|text| start_kind(r, "start", text, &value.span())),
            None => Some(retention.start.clone()),
        };
        let has_align = table.get("align").is_some();
        let align = align(r, &mut table);
        table.finish(r, &[]);
        let (filter, period, start) = (filter??, period??, start?);
        let align = if has_align { align? } else { retention.align };
        if (period.is_calendar() || align != Align::None) && !has_zone {
            let why = ": days begin and end somewhere";
            r.error(&item.span(), PolicyProblem::Missing { key: "timezone", table: "[retention]".to_owned(), why });
        }
        parts.push(Override { filter, period, start, align });
    }
    Some(parts)
}

//! `[access]`: who may be given access to a mailbox, and for how long.

use super::super::syntax::{Reader, Table, Value};
use super::super::{Access, AccessRight, StandingAccess, Ticket};
use crate::time::Period;
use toml::de::DeValue;

/// The longest that access may be given, in milliseconds: 31 days. What is needed longer is no exception any more.
const LONGEST_MS: u64 = 31 * 86_400_000;

/// How long access may still be there after its end before people are alarmed, when the file does not say: 15 minutes.
const ALARM_AFTER_MS: u64 = 15 * 60_000;

/// The shortest time that standing access may be given, in milliseconds: a day, so that it is seen before it goes.
const STANDING_MS_MIN: u64 = 86_400_000;

/// The most principals of one policy: whoever needs more should name a group of the mail server.
const PRINCIPALS_MAX: usize = 1_000;

/// The longest identifier, in bytes.
const PRINCIPAL_BYTES_MAX: usize = 255;

pub(super) fn access<'t>(r: &mut Reader<'t>, mut table: Table<'t>) -> Option<Access> {
    let rights = [("full_access", AccessRight::FullAccess)];
    let right = table
        .require(r, "right", ": write right = \"full_access\"")
        .and_then(|value| r.choice("right", value, &rights));
    let principals = table.require(r, "principals", ": list who may be given access").and_then(|value| {
        let names = r.texts("principals", value)?;
        if names.is_empty() || names.len() > PRINCIPALS_MAX {
            r.bad_value(&value.span(), "principals", format!("must name between 1 and {PRINCIPALS_MAX}"));
        }
        if matches!(value.get_ref(), DeValue::String(_)) {
            r.bad_value(&value.span(), "principals", "must be a list");
        }
        for (name, at) in &names {
            let reserved = ["anyone", "anonymous", "authenticated", "owner", "administrators"];
            if name.is_empty() || name.len() > PRINCIPAL_BYTES_MAX || name.chars().any(char::is_control) {
                r.bad_value(
                    at,
                    "principals",
                    format!("has a name that is empty or longer than {PRINCIPAL_BYTES_MAX} bytes"),
                );
            } else if reserved.contains(&name.to_ascii_lowercase().as_str()) || name.starts_with('-') {
                r.bad_value(at, "principals", "names more than one principal: access is given to one at a time");
            }
        }
        Some(names.into_iter().map(|(name, _)| name.to_owned()).collect())
    });
    let max_ms = match table.require(r, "max_duration", ": say for how long at most, such as PT8H") {
        Some(value) => {
            let length = r.parsed::<Period>("max_duration", value).and_then(Period::nominal_ms);
            let length = length.filter(|ms| (1..=LONGEST_MS).contains(ms));
            if length.is_none() {
                r.bad_value(
                    &value.span(),
                    "max_duration",
                    "must be weeks, days or exact, more than nothing and at most P31D",
                );
            }
            length
        }
        None => None,
    };
    let tickets = [("required", Ticket::Required), ("optional", Ticket::Optional)];
    let ticket = match table.get("ticket") {
        Some(value) => r.choice("ticket", value, &tickets),
        None => Some(Ticket::Optional),
    };
    let alarm_after_ms = match table.get("alarm_after") {
        Some(value) => {
            let length = r.parsed::<Period>("alarm_after", value).and_then(Period::nominal_ms);
            let length = length.filter(|ms| (1..=LONGEST_MS).contains(ms));
            if length.is_none() {
                r.bad_value(
                    &value.span(),
                    "alarm_after",
                    "must be weeks, days or exact, more than nothing and at most P31D",
                );
            }
            length
        }
        None => Some(ALARM_AFTER_MS),
    };
    let standing = match table.get("standing") {
        Some(value) => standing(r, &mut table, value).map(Some),
        None => {
            if let Some(value) = table.get("keep_standing") {
                r.bad_value(
                    &value.span(),
                    "keep_standing",
                    "needs `standing` beside it: for how long access may stand",
                );
            }
            Some(None)
        }
    };
    table.finish(r, &["clock_starts", "extend", "eligible", "auto_mapping"]);
    Some(Access {
        right: right?,
        principals: principals?,
        max_ms: max_ms?,
        ticket: ticket?,
        alarm_after_ms: alarm_after_ms?,
        standing: standing?,
    })
}

fn standing<'t>(r: &mut Reader<'t>, table: &mut Table<'t>, value: &'t Value<'t>) -> Option<StandingAccess> {
    let longest_ms = r.parsed::<Period>("standing", value).and_then(Period::nominal_ms);
    let longest_ms = longest_ms.filter(|ms| *ms >= STANDING_MS_MIN);
    if longest_ms.is_none() {
        r.bad_value(&value.span(), "standing", "must be weeks or days, at least P1D");
    }
    let keep = match table.get("keep_standing") {
        Some(value) => r.texts("keep_standing", value).map(|names| {
            if names.len() > PRINCIPALS_MAX {
                r.bad_value(&value.span(), "keep_standing", format!("must name at most {PRINCIPALS_MAX}"));
            }
            names.into_iter().map(|(name, _)| name.to_owned()).collect()
        }),
        None => Some(std::collections::BTreeSet::new()),
    };
    Some(StandingAccess { longest_ms: longest_ms?, keep: keep? })
}

//! `[access]`: who may be given access to a mailbox, and for how long; beside `[action]`, the access that runs take.

use std::collections::BTreeSet;
use std::ops::Range;

use super::super::syntax::{Reader, Table, Value};
use super::super::{Access, AccessRight, Approval, RunAccess, StandingAccess, Ticket};
use super::elsewhere;
use crate::record::Kind;
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
    let right = right(r, &mut table);
    let principals = table.require(r, "principals", ": list who may be given access").and_then(|value| {
        let names = r.texts("principals", value)?;
        if names.is_empty() || names.len() > PRINCIPALS_MAX {
            r.bad_value(&value.span(), "principals", format!("must name between 1 and {PRINCIPALS_MAX}"));
        }
        if matches!(value.get_ref(), DeValue::String(_)) {
            r.bad_value(&value.span(), "principals", "must be a list");
        }
        for (name, at) in &names {
            check_name(r, "principals", name, at);
        }
        Some(names.into_iter().map(|(name, _)| name.to_owned()).collect())
    });
    let max_ms = max_ms(r, &mut table, ": say for how long at most, such as PT8H");
    let tickets = [("required", Ticket::Required), ("optional", Ticket::Optional)];
    let ticket = match table.get("ticket") {
        Some(value) => r.choice("ticket", value, &tickets),
        None => Some(Ticket::Optional),
    };
    let alarm_after_ms = alarm_after_ms(r, &mut table);
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
    if let Some(value) = table.get("principal") {
        let problem = ": it stands beside [action], where runs take the access; a policy that gives access when somebody \
                       asks lists principals";
        r.unsupported(&value.span(), "principal without [action]", problem);
    }
    table.finish(r, elsewhere::ACCESS);
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

/// Reads `[access]` beside `[action]`: the access that the runs of a policy take to each mailbox in which they work.
pub(super) fn of_runs<'t>(r: &mut Reader<'t>, mut table: Table<'t>) -> Option<RunAccess> {
    let right = right(r, &mut table);
    let principal = match (table.get("principal"), table.get("principals")) {
        (_, Some(value)) => {
            let problem = ": beside [action] the runs take the access, for one; write principal = \"...\"";
            r.unsupported(&value.span(), "principals beside [action]", problem);
            None
        }
        (Some(value), None) => r.text("principal", value).inspect(|name| {
            check_name(r, "principal", name, &value.span());
        }),
        (None, None) => {
            let why = ": say to whom the runs give access while they work in a mailbox";
            table.require(r, "principal", why);
            None
        }
    };
    let max_ms = max_ms(r, &mut table, ": say for how long a run has access to a mailbox at most, such as PT2H");
    let alarm_after_ms = alarm_after_ms(r, &mut table);
    for (key, why) in [
        ("ticket", ": what approves this access is the approval of the plan, which needs no ticket; leave it out"),
        ("standing", ": it says what becomes of access that stands without a grant; write a policy of its own for it"),
        (
            "keep_standing",
            ": it says what becomes of access that stands without a grant; write a policy of its own for it",
        ),
    ] {
        if let Some(value) = table.get(key) {
            r.unsupported(&value.span(), format!("{key} beside [action]"), why);
        }
    }
    table.finish(r, elsewhere::ACCESS);
    Some(RunAccess {
        right: right?,
        principal: principal?.to_owned(),
        max_ms: max_ms?,
        alarm_after_ms: alarm_after_ms?,
    })
}

/// Checks the access of runs against the rest of its policy.
pub(super) fn check_of_runs(
    r: &mut Reader<'_>,
    at: &Range<usize>,
    kinds: Option<&BTreeSet<Kind>>,
    approval: Option<Approval>,
) {
    if kinds.is_some_and(|kinds| *kinds != BTreeSet::from([Kind::Message])) {
        let problem = ": only runs about kind = \"message\" work in mailboxes; leave the table out";
        r.unsupported(at, "[access] beside another kind", problem);
    }
    if approval == Some(Approval::NotRequired) {
        let problem = ": the approval of the plan is that of the access; without one nobody would have agreed to it";
        r.unsupported(at, "[access] beside [approval] required = false", problem);
    }
}

fn right<'t>(r: &mut Reader<'t>, table: &mut Table<'t>) -> Option<AccessRight> {
    let rights = [("full_access", AccessRight::FullAccess)];
    let value = table.require(r, "right", ": write right = \"full_access\"")?;
    r.choice("right", value, &rights)
}

/// Checks a name as the permissions of a mail server write it: it is one principal.
fn check_name(r: &mut Reader<'_>, key: &str, name: &str, at: &Range<usize>) {
    let reserved = ["anyone", "anonymous", "authenticated", "owner", "administrators"];
    if name.is_empty() || name.len() > PRINCIPAL_BYTES_MAX || name.chars().any(char::is_control) {
        r.bad_value(at, key, format!("has a name that is empty or longer than {PRINCIPAL_BYTES_MAX} bytes"));
    } else if reserved.contains(&name.to_ascii_lowercase().as_str()) || name.starts_with('-') {
        r.bad_value(at, key, "names more than one principal: access is given to one at a time");
    }
}

fn max_ms<'t>(r: &mut Reader<'t>, table: &mut Table<'t>, why: &'static str) -> Option<u64> {
    let value = table.require(r, "max_duration", why)?;
    length_ms(r, "max_duration", value)
}

fn alarm_after_ms<'t>(r: &mut Reader<'t>, table: &mut Table<'t>) -> Option<u64> {
    match table.get("alarm_after") {
        Some(value) => length_ms(r, "alarm_after", value),
        None => Some(ALARM_AFTER_MS),
    }
}

fn length_ms<'t>(r: &mut Reader<'t>, key: &'static str, value: &'t Value<'t>) -> Option<u64> {
    let length = r.parsed::<Period>(key, value).and_then(Period::nominal_ms);
    let length = length.filter(|ms| (1..=LONGEST_MS).contains(ms));
    if length.is_none() {
        r.bad_value(&value.span(), key, "must be weeks, days or exact, more than nothing and at most P31D");
    }
    length
}

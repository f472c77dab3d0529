//! Periods, starts, states and schedules in words.

use crate::policy::{Approval, ApproverRole, Export, ExportFormat, OnMissed, Policy, State, Trigger};
use crate::reason::StartKind;
use crate::record::Kind;
use crate::schedule::Schedule;
use crate::time::{Align, Period};

/// Returns whether a policy is in force, and if not, why.
pub(super) fn state(state: State) -> &'static str {
    match state {
        State::Draft => "not in force (draft)",
        State::Simulate => "not in force (simulated)",
        State::Enforce => "in force",
    }
}

/// Returns what one entity and several entities of a kind are called.
fn names(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Contact => ("contact", "contacts"),
        Kind::Company => ("company", "companies"),
        Kind::Deal => ("deal", "deals"),
        Kind::Activity => ("activity", "activities"),
        Kind::Post => ("note", "notes of calls, meetings and the like"),
        Kind::Task => ("task", "tasks"),
        Kind::Insight => ("hint", "hints that the CRM derived"),
        Kind::Template => ("field definition", "definitions of custom fields"),
        Kind::File => ("file reference", "references to files"),
        Kind::Mailbox => ("mailbox", "mailboxes"),
        Kind::Intake => ("intake", "intakes"),
        Kind::Message => ("message", "e-mail messages"),
        Kind::AuditMonth => ("month of the log", "months of the log, with what people wrote in them"),
    }
}

/// Returns what a policy is about: "contacts and companies".
pub(super) fn kinds(policy: &Policy) -> String {
    let names: Vec<&str> = policy.scope.kinds.iter().map(|kind| names(*kind).1).collect();
    match names.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        Some(_) | None => names.concat(),
    }
}

/// Returns what one entity in scope is called.
pub(super) fn one_of(policy: &Policy) -> &'static str {
    let mut kinds = policy.scope.kinds.iter();
    match (kinds.next(), kinds.next()) {
        (Some(kind), None) => names(*kind).0,
        (Some(_), Some(_)) | (None, _) => "record",
    }
}

/// Returns what happens at a start: "the deal was closed".
fn happening(start: &StartKind, one: &str) -> String {
    match start {
        StartKind::Created => format!("the {one} was created"),
        StartKind::Modified => format!("the {one} was last changed"),
        StartKind::LastActivity => format!("somebody last dealt with the {one}"),
        StartKind::Closed => format!("the {one} was closed"),
        StartKind::ContractEnd => "the contract ended".to_owned(),
        StartKind::Received => format!("the {one} was received"),
        StartKind::Occurred => format!("the event that the {one} tells of took place"),
        StartKind::Granted => "access was granted".to_owned(),
        StartKind::FirstSeen => format!("the {one} was first recorded"),
        StartKind::Event(name) => format!("the event “{name}” took place"),
        StartKind::Requested => "the data subject asked for it".to_owned(),
        StartKind::Reviewed => format!("somebody decided that the {one} goes"),
    }
}

/// Returns the day of a start: "the day on which the deal was closed".
pub(super) fn day_of(start: &StartKind, one: &str) -> String {
    format!("the day on which {}", happening(start, one))
}

/// Returns from when a period counts: "the end of the calendar year in which the deal was closed".
pub(super) fn counted_from(period: Period, start: &StartKind, align: Align, one: &str) -> String {
    let happening = happening(start, one);
    match align {
        Align::None if period.is_calendar() => format!("the day on which {happening}"),
        Align::None => format!("the moment at which {happening}"),
        Align::EndOfMonth => format!("the end of the calendar month in which {happening}"),
        Align::EndOfYear => format!("the end of the calendar year in which {happening}"),
        Align::EndOfFiscalYear { first_month } => {
            let month = month(first_month);
            format!("the end of the business year (it begins in {month}) in which {happening}")
        }
    }
}

/// Returns a period with its start: "3 years, counted from the day on which the contact was created".
pub(super) fn counted(period: Period, start: &StartKind, align: Align, one: &str) -> String {
    format!("{}, counted from {}", period.in_words(), counted_from(period, start, align, one))
}

/// Returns a start for the heading of a column: "last_activity, end of year".
pub(super) fn start_kind(start: &StartKind, align: Align) -> String {
    let name = start.name();
    match align {
        Align::None => name,
        Align::EndOfMonth => format!("{name}, end of month"),
        Align::EndOfYear => format!("{name}, end of year"),
        Align::EndOfFiscalYear { first_month } => format!("{name}, end of business year from {}", month(first_month)),
    }
}

fn month(number: i8) -> &'static str {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    usize::try_from(number).ok().and_then(|number| MONTHS.get(number.checked_sub(1)?)).copied().unwrap_or_default()
}

/// Returns a number of things: "1 person", "2 persons".
pub(super) fn number(number: u64, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// Returns elapsed time in the largest unit that it is a whole number of: "8 hours".
pub(super) fn elapsed(ms: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second")];
    let whole = UNITS.into_iter().find(|(length, _)| ms >= *length && ms.is_multiple_of(*length));
    let (count, unit) = whole.map_or((ms, "millisecond"), |(length, unit)| (ms / length, unit));
    number(count, unit)
}

/// Returns when a run begins.
pub(super) fn trigger(trigger: &Trigger) -> String {
    match trigger {
        Trigger::OnDemand => "when a person asks for it".to_owned(),
        Trigger::Cron { schedule, on_missed } => {
            let missed = match on_missed {
                OnMissed::RunOnce => "a missed time is made up for once",
                OnMissed::Skip => "a missed time is left out",
                OnMissed::AlarmOnly => "a missed time is left out, and people are told",
            };
            format!("{} ({}); {missed}", times(schedule), schedule.zone())
        }
    }
}

/// Returns the times of a schedule, in words where its fields are plain values, and as written where they are not.
fn times(schedule: &Schedule) -> String {
    let fields: Vec<&str> = schedule.text().split(' ').collect();
    let as_written = || format!("at the times of “{}”: minute, hour, day, month, weekday", schedule.text());
    let &[minute, hour, day, month, weekday] = fields.as_slice() else { return as_written() };
    let (Ok(minute), Ok(hour)) = (minute.parse::<u8>(), hour.parse::<u8>()) else { return as_written() };
    let plain = |field: &str| field.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let days = match (day, month, weekday) {
        ("*", "*", "*") => "every day".to_owned(),
        ("*", "*", name) if plain(name) => format!("every week on {name}"),
        (day, "*", "*") if plain(day) => format!("on day {day} of every month"),
        (day, month, "*") if plain(day) && plain(month) => format!("every year on {day} {month}"),
        _ => return as_written(),
    };
    format!("{days} at {hour:02}:{minute:02}")
}

/// Returns who must agree before a run or a grant.
pub(super) fn approval(approval: Approval) -> String {
    match approval {
        Approval::NotRequired => "no approval by a person".to_owned(),
        Approval::Required { count, role, valid_for_ms } => {
            let role = match role {
                ApproverRole::Approver => "approver",
                ApproverRole::Admin => "administrator",
            };
            let persons = number(count.into(), "person");
            let valid_for = elapsed(valid_for_ms);
            format!("approval by {persons} with the role {role}, never the one who asked (it counts for {valid_for})")
        }
    }
}

/// Returns the forms of an export, whether it is encrypted, and how long it is kept if that is said.
pub(super) fn formats(export: &Export) -> String {
    let name = |format: &ExportFormat| match format {
        ExportFormat::Jsonl => "JSON Lines",
        ExportFormat::Csv => "CSV",
        ExportFormat::Xlsx => "XLSX",
        ExportFormat::Eml => "EML",
        ExportFormat::Mbox => "mbox",
    };
    let mut forms = export.formats.iter().map(name).collect::<Vec<_>>().join(", ");
    if !export.encrypt_to.is_empty() {
        forms.push_str(&format!("; encrypted to {}", number(export.encrypt_to.len() as u64, "public key")));
    }
    match export.keep {
        Some(keep) => format!("{forms}; kept for {}, then destroyed", keep.in_words()),
        None => forms,
    }
}

/// Returns how long something can be taken back before it is purged; `None` when it cannot.
pub(super) fn quarantine(policy: &Policy) -> Option<String> {
    let quarantine = policy.action.quarantine();
    (!quarantine.is_zero()).then(|| quarantine.in_words())
}

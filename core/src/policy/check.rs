//! From a file as written to a checked policy. Every section reports all it finds before the next is read.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::DeTable;

use super::canonical;
use super::error::{PolicyProblem, suggestion};
use super::syntax::{Reader, Table, Value};
use super::{
    Action, Approval, ApproverRole, Audience, Example, Export, Limits, Lock, OnMissed, Policy, PolicyError, Rate,
    Retention, Scope, State, Timing, Trigger,
};
use crate::id::Digest;
use crate::reason::StartKind;
use crate::record::Kind;
use crate::schedule::Schedule;
use crate::time::{Period, Timestamp, Zone};

mod access;
mod elsewhere;
mod export;
pub(super) mod filter;
mod month;
mod redact;
mod retention;
mod schedule;

use export::{About, export, standard_export};
use filter::FilterCheck;

/// How long a quarantine lasts when the file does not say.
const QUARANTINE_DAYS: u32 = 30;
/// How long an approval counts when the file does not say: seven days.
const APPROVAL_VALID_MS: u64 = 7 * 86_400_000;
/// The longest that an approval may count: a year.
const APPROVAL_VALID_MS_MAX: u64 = 366 * 86_400_000;
/// The most persons who must approve, plus one.
const APPROVERS: Range<u64> = 1..11;
/// The longest title, owner and so on, in bytes.
const TEXT_MAX: usize = 1_000;
/// The longest id, in bytes: it is part of file names.
const ID_MAX: usize = 64;
/// Any number of items that a limit can name.
const ITEMS: Range<u64> = 0..1_000_000_000;
const PERCENT: Range<u64> = 0..101;
/// How many items a rate may name.
const RATE: Range<u32> = 1..1_000_001;

/// Checks one file.
pub(super) fn policy(stem: &str, text: &str) -> Result<Policy, Vec<PolicyError>> {
    let mut r = Reader::of(stem, text);
    if text.len() > super::FILE_BYTES_MAX {
        let max = format!("{} bytes", super::FILE_BYTES_MAX);
        r.error(&(0..0), PolicyProblem::TooLarge { what: "the file", max });
        return Err(r.errors);
    }
    let Some(tree) = r.parse() else { return Err(r.errors) };
    let policy = file(&mut r, stem, tree.get_ref());
    match policy {
        Some(policy) if r.errors.is_empty() => Ok(policy),
        _ => Err(r.errors),
    }
}

fn file<'t>(r: &mut Reader<'t>, stem: &str, tree: &'t DeTable<'t>) -> Option<Policy> {
    let mut top = Table::of("the file", 0..0, tree);
    schema(r, &mut top);
    let head = required_table(r, &mut top, "policy").and_then(|table| head(r, table, stem));
    let approval = optional_table(r, &mut top, "approval").map_or(Some(STANDARD_APPROVAL), |table| approval(r, table));
    let access_table = optional_table(r, &mut top, "access");
    let access_at = access_table.as_ref().map(|table| table.at.clone());
    // Beside an action it is what the runs take; without one, what may be asked for.
    let (access, run_access) = match access_table {
        Some(table) if top.get("action").is_some() => (None, Some(access::of_runs(r, table))),
        Some(table) => (Some(access::access(r, table)), None),
        None => (None, None),
    };
    let disposal = if access.is_some() { no_disposal(r, &mut top) } else { disposal(r, &mut top) };
    if let (Some(at), Some(_)) = (access_at, &run_access) {
        let kinds = disposal.as_ref().map(|disposal| &disposal.scope.kinds);
        access::check_of_runs(r, &at, kinds, approval);
    }
    top.finish(r, elsewhere::TOP);
    let (head, disposal) = (head?, disposal?);
    let mut policy = Policy {
        id: stem.to_owned(),
        title: head.title,
        owner: head.owner,
        legal_basis: head.legal_basis,
        citation: head.citation,
        data_class: head.data_class,
        state: head.state,
        lock: head.lock,
        scope: disposal.scope,
        retention: Retention { applies_from: head.applies_from, ..disposal.retention },
        trigger: disposal.trigger,
        timing: disposal.timing,
        limits: disposal.limits,
        export: disposal.export,
        action: disposal.action,
        approval: approval?,
        access: match access {
            Some(access) => Some(access?),
            None => None,
        },
        run_access: match run_access {
            Some(access) => Some(access?),
            None => None,
        },
        examples: disposal.examples,
        action_at: disposal.action_at,
        digest: Digest([0; 32]),
    };
    policy.digest = Digest::of(canonical::of(&policy).as_bytes());
    Some(policy)
}

/// The parts of a policy that say what is disposed of, and when.
struct Disposal {
    scope: Scope,
    retention: Retention,
    trigger: Trigger,
    timing: Timing,
    limits: Limits,
    export: Export,
    action: Action,
    action_at: (u32, u32),
    examples: Vec<Example>,
}

fn disposal<'t>(r: &mut Reader<'t>, top: &mut Table<'t>) -> Option<Disposal> {
    let [scope_table, retention_table] = ["scope", "retention"].map(|name| required_table(r, top, name));
    let retention_at = retention_table.as_ref().map_or(0..0, |table| table.at.clone());
    let retention_head = retention_table.and_then(|table| retention::head(r, table));
    let zone = retention_head.as_ref().map_or_else(Zone::utc, |(_, retention)| retention.zone.clone());
    let scope = scope_table.and_then(|table| scope(r, table, &zone));
    let retention = match (&scope, retention_head) {
        (Some((scope, leaves)), Some((table, retention))) => retention::suspension(r, table, retention, scope, *leaves),
        (None, Some((table, _))) => {
            retention::unread(r, table);
            None
        }
        (_, None) => None,
    };
    let schedule = required_table(r, top, "schedule").and_then(|table| trigger(r, table));
    let limits = optional_table(r, top, "limits").map_or(Some(Limits::STANDARD), |table| limits(r, table));
    let about = scope.as_ref().map_or(About::Records, |(scope, _)| About::of(&scope.kinds));
    let export_table = optional_table(r, top, "export");
    let export_at = export_table.as_ref().map(|table| table.at.clone());
    let export = match export_table {
        Some(table) => export(r, table, about),
        None => Some(standard_export(about)),
    };
    let action_table = required_table(r, top, "action");
    let action_at = action_table.as_ref().map_or((1, 1), |table| r.position(&table.at));
    let action = action_table.and_then(|table| action(r, table, scope.as_ref().map(|(scope, _)| &scope.kinds)));
    if let (Some(at), Some(Action::Restrict)) = (export_at, &action) {
        let problem = ": a restriction destroys nothing, so nothing is exported; leave the table out";
        r.unsupported(&at, "[export] beside kind = \"restrict\"", problem);
    }
    if let (Some((scope, _)), Some(retention)) = (&scope, &retention)
        && scope.kinds.contains(&Kind::AuditMonth)
    {
        month::check(r, &retention_at, retention, action.as_ref());
    }
    let examples = match (&scope, &retention) {
        (Some((scope, _)), Some(retention)) => super::example::check(r, top.get("test"), scope, &retention.zone),
        _ => {
            top.get("test");
            None
        }
    };
    let (trigger, timing) = schedule?;
    Some(Disposal {
        scope: scope?.0,
        retention: retention?,
        trigger,
        timing,
        limits: limits?,
        export: export?,
        action: action?,
        action_at,
        examples: examples?,
    })
}

/// What stands in a policy that gives access, which disposes of nothing: its tables about disposal are refused, and
/// nothing is ever judged by what is put in their place.
fn no_disposal<'t>(r: &mut Reader<'t>, top: &mut Table<'t>) -> Option<Disposal> {
    for name in ["scope", "retention", "schedule", "limits", "export", "action", "test"] {
        if let Some(value) = top.get(name) {
            r.unsupported(
                &value.span(),
                format!("[{name}] beside [access]"),
                ": a policy that gives access when somebody asks disposes of nothing; write two policies, or an [action] \
                 whose runs take the access",
            );
        }
    }
    Some(Disposal {
        scope: Scope {
            sources: BTreeSet::new(),
            kinds: BTreeSet::from([Kind::Mailbox]),
            audience: Audience::All,
            filter: None,
        },
        retention: Retention::plain(Period::from_days(QUARANTINE_DAYS).ok()?, StartKind::FirstSeen),
        trigger: Trigger::OnDemand,
        timing: Timing::none(),
        limits: Limits::STANDARD,
        export: standard_export(About::Records),
        action: Action::Purge { quarantine: Period::from_days(QUARANTINE_DAYS).ok()? },
        action_at: (1, 1),
        examples: Vec::new(),
    })
}

fn required_table<'t>(r: &mut Reader<'t>, top: &mut Table<'t>, name: &'static str) -> Option<Table<'t>> {
    top.require(r, name, "").and_then(|value| r.table(&format!("[{name}]"), value))
}

fn optional_table<'t>(r: &mut Reader<'t>, top: &mut Table<'t>, name: &'static str) -> Option<Table<'t>> {
    top.get(name).and_then(|value| r.table(&format!("[{name}]"), value))
}

fn schema<'t>(r: &mut Reader<'t>, top: &mut Table<'t>) {
    if let Some(value) = top.require(r, "schema", ": write schema = 1")
        && let Some(integer) = value.get_ref().as_integer()
    {
        if integer.as_str() != "1" {
            r.unsupported(&value.span(), "schema", ": only schema = 1 is known");
        }
    } else if let Some(value) = top.get("schema") {
        r.wrong_type("schema", "a whole number", value);
    }
}

struct Head {
    title: String,
    owner: String,
    legal_basis: String,
    citation: String,
    data_class: String,
    state: State,
    lock: Lock,
    applies_from: Option<Timestamp>,
}

fn head<'t>(r: &mut Reader<'t>, mut table: Table<'t>, stem: &str) -> Option<Head> {
    if let Some(value) = table.require(r, "id", "")
        && let Some(id) = r.text("id", value)
    {
        if id != stem {
            r.bad_value(&value.span(), "id", "must be the name of the file without .toml");
        }
        if !is_slug(id) {
            r.bad_value(&value.span(), "id", "must have 1 to 64 of a-z, 0-9 and -, and begin with a letter or digit");
        }
    }
    let states = [("draft", State::Draft), ("simulate", State::Simulate), ("enforce", State::Enforce)];
    let state = match table.get("state") {
        Some(value) => r.choice("state", value, &states)?,
        None => State::Draft,
    };
    let lock = match table.get("lock") {
        Some(value) => r.choice("lock", value, &[("none", Lock::None), ("ratchet", Lock::Ratchet)])?,
        None => Lock::None,
    };
    let applies_from = applies_from(r, &mut table);
    let [title, owner, legal_basis, citation, data_class] =
        ["title", "owner", "legal_basis", "citation", "data_class"].map(|key| free_text(r, &mut table, key));
    if state == State::Enforce {
        for (key, text) in [("owner", &owner), ("legal_basis", &legal_basis)] {
            if text.trim().is_empty() {
                let why = ": an enforced policy says who answers for it and on what law it rests";
                r.error(&table.at, PolicyProblem::Missing { key, table: table.name.clone(), why });
            }
        }
    }
    table.finish(r, &[]);
    Some(Head { title, owner, legal_basis, citation, data_class, state, lock, applies_from })
}

/// Reads `applies_to` and the instant that `new` counts from.
fn applies_from<'t>(r: &mut Reader<'t>, table: &mut Table<'t>) -> Option<Timestamp> {
    let from = table.get("applies_from");
    let is_new = match table.get("applies_to") {
        Some(value) => r.choice("applies_to", value, &[("all", false), ("new", true)])?,
        None => false,
    };
    match (is_new, from) {
        (true, Some(value)) => r.instant("applies_from", value, &Zone::utc()),
        (true, None) => {
            let why = ": say from when on, such as applies_from = 2026-01-01, so that it never depends on an edit";
            r.error(&table.at, PolicyProblem::Missing { key: "applies_from", table: table.name.clone(), why });
            None
        }
        (false, Some(value)) => {
            r.bad_value(&value.span(), "applies_from", "has no meaning without applies_to = \"new\": leave it out");
            None
        }
        (false, None) => None,
    }
}

fn is_slug(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    id.len() <= ID_MAX && id.bytes().all(allowed) && id.bytes().next().is_some_and(|first| first != b'-')
}

fn free_text<'t>(r: &mut Reader<'t>, table: &mut Table<'t>, key: &'static str) -> String {
    let Some(value) = table.get(key) else { return String::new() };
    let text = r.text(key, value).unwrap_or_default();
    if text.len() > TEXT_MAX {
        r.bad_value(&value.span(), key, format!("is too long: at most {TEXT_MAX} bytes"));
    }
    text.to_owned()
}

/// Reads `[scope]`; returns it with the number of comparisons in its filter.
fn scope<'t>(r: &mut Reader<'t>, mut table: Table<'t>, zone: &Zone) -> Option<(Scope, usize)> {
    if let Some(value) = table.get("entity") {
        r.unsupported(&value.span(), "entity", ": name what is meant with kind, such as kind = \"contact\"");
    }
    let kinds = table.require(r, "kind", "").and_then(|value| kinds(r, value));
    let sources = match table.get("source") {
        Some(value) => sources(r, value),
        None => Some(BTreeSet::new()),
    };
    let audiences = [("private", Audience::Private), ("shared", Audience::Shared)];
    let audience = match table.get("visibility") {
        Some(value) => r.choice("visibility", value, &audiences),
        None => Some(Audience::All),
    };
    let match_all = match table.get("match_all") {
        Some(value) => r.boolean("match_all", value)?,
        None => false,
    };
    let tree = table.get("where").filter(|value| value.get_ref().as_table().is_none_or(|table| !table.is_empty()));
    match (tree, match_all) {
        (None, false) => {
            let why = ": an empty filter means everything, which must be said with match_all = true";
            r.error(&table.at, PolicyProblem::Missing { key: "where", table: table.name.clone(), why });
        }
        (Some(value), true) => {
            r.bad_value(&value.span(), "where", "stands beside match_all = true: leave one of them out");
        }
        (Some(_), false) | (None, true) => {}
    }
    let kinds = kinds.filter(|kinds| !kinds.is_empty());
    let mut check = kinds.as_ref().map(|kinds| FilterCheck { kinds, zone, leaves: 0 });
    let filter = match (tree, &mut check) {
        (Some(value), Some(check)) => check.tree(r, value, 0),
        _ => None,
    };
    let leaves = check.map_or(0, |check| check.leaves);
    table.finish(r, &[]);
    Some((Scope { sources: sources?, kinds: kinds?, audience: audience?, filter }, leaves))
}

/// Reads the names of sources. To name none would mean every one, which is said by leaving the key out.
fn sources<'t>(r: &mut Reader<'t>, value: &'t Value<'t>) -> Option<BTreeSet<String>> {
    let names = r.texts("source", value)?;
    if names.is_empty() {
        r.bad_value(&value.span(), "source", "names no source: leave it out to mean all of them");
    }
    for (_, at) in names.iter().filter(|(name, _)| name.trim().is_empty()) {
        r.bad_value(at, "source", "has an empty name");
    }
    Some(names.into_iter().map(|(name, _)| name.to_owned()).collect())
}

fn kinds<'t>(r: &mut Reader<'t>, value: &'t Value<'t>) -> Option<BTreeSet<Kind>> {
    let mut kinds = BTreeSet::new();
    let names = r.texts("kind", value)?;
    if names.is_empty() {
        r.bad_value(&value.span(), "kind", "is empty");
    }
    for (name, at) in names {
        match Kind::under_policy().find(|kind| kind.name() == name) {
            Some(kind) => {
                kinds.insert(kind);
            }
            None => {
                let hint = suggestion(name, Kind::under_policy().map(Kind::name));
                r.bad_value(&at, "kind", format!("has an unknown kind{hint}"));
            }
        }
    }
    if kinds.contains(&Kind::Message) && kinds.len() > 1 {
        let problem =
            "has message beside other kinds: messages are purged on their server, so write a policy of their own";
        r.bad_value(&value.span(), "kind", problem);
    }
    if kinds.contains(&Kind::AuditMonth) && kinds.len() > 1 {
        let problem = "has audit_month beside other kinds: what people wrote in the log is evidence, so write a policy \
                       of its own";
        r.bad_value(&value.span(), "kind", problem);
    }
    Some(kinds)
}

fn trigger<'t>(r: &mut Reader<'t>, mut table: Table<'t>) -> Option<(Trigger, Timing)> {
    let choices = [("run_once", OnMissed::RunOnce), ("skip", OnMissed::Skip), ("alarm_only", OnMissed::AlarmOnly)];
    let cron = table.require(r, "cron", ": five fields, or \"on_demand\"");
    let (zone_value, on_missed_value) = (table.get("timezone"), table.get("on_missed"));
    let zone = zone_value.and_then(|value| r.parsed::<Zone>("timezone", value));
    let on_missed = match on_missed_value {
        Some(value) => r.choice("on_missed", value, &choices),
        None => Some(OnMissed::RunOnce),
    };
    let at = table.at.clone();
    let name = table.name.clone();
    for (key, only) in [("dst_gap", "run_after"), ("dst_fold", "first")] {
        if let Some(value) = table.get(key) {
            r.choice(key, value, &[(only, ())]);
        }
    }
    let timing = schedule::timing(r, &mut table, zone.as_ref());
    table.finish(r, &[]);
    let cron = cron?;
    let text = r.text("cron", cron)?;
    if text == "on_demand" {
        return Some((Trigger::OnDemand, timing?));
    }
    if zone_value.is_none() {
        let why = ": a schedule follows the clock of a place";
        r.error(&at, PolicyProblem::Missing { key: "timezone", table: name, why });
    }
    let schedule = Schedule::parse(text, zone.unwrap_or_else(Zone::utc));
    let schedule = schedule.map_err(|error| r.bad_value(&cron.span(), "cron", format!("is refused: {error}"))).ok()?;
    Some((Trigger::Cron { schedule, on_missed: on_missed? }, timing?))
}

fn limits<'t>(r: &mut Reader<'t>, mut table: Table<'t>) -> Option<Limits> {
    let mut number = |key: &'static str, range: &Range<u64>, standard: u64| match table.get(key) {
        Some(value) => r.whole(key, value, range),
        None => Some(standard),
    };
    let standard = Limits::STANDARD;
    let max_items = number("max_items", &(1..ITEMS.end), standard.max_items);
    let max_percent = number("max_percent", &PERCENT, standard.max_percent);
    let min_population = number("min_population", &ITEMS, standard.min_population);
    let keep_at_least = number("keep_at_least", &ITEMS, standard.keep_at_least);
    let drop = number("population_drop_percent", &PERCENT, standard.population_drop_percent);
    let drift = number("max_drift_percent", &PERCENT, standard.max_drift_percent);
    if let Some(value) = table.get("on_exceed")
        && r.text("on_exceed", value).is_some_and(|text| text != "stop_before_first")
    {
        r.bad_value(&value.span(), "on_exceed", "must be stop_before_first");
    }
    if let Some(value) = table.get("concurrency") {
        let why = ": how many mailboxes a run works in at once is a matter of their server, and follows from its \
                   `max_connections` in config.toml; leave it out";
        r.unsupported(&value.span(), "concurrency", why);
    }
    let rate = match table.get("rate") {
        Some(value) => Some(rate(r, value)?),
        None => None,
    };
    table.finish(r, &[]);
    Some(Limits {
        rate,
        max_items: max_items?,
        max_percent: max_percent?,
        min_population: min_population?,
        keep_at_least: keep_at_least?,
        population_drop_percent: drop?,
        max_drift_percent: drift?,
    })
}

fn action<'t>(r: &mut Reader<'t>, mut table: Table<'t>, kinds: Option<&BTreeSet<Kind>>) -> Option<Action> {
    let kind = table.require(r, "kind", "");
    let quarantine_at = table.get("quarantine");
    let quarantine = match quarantine_at {
        Some(value) => r.parsed::<Period>("quarantine", value),
        None => Period::from_days(QUARANTINE_DAYS).ok(),
    };
    let fields = table.get("fields");
    let at = table.at.clone();
    table.finish(r, elsewhere::ACTION);
    let kind = kind?;
    let name = r.text("kind", kind)?;
    if let Some(value) = fields.filter(|_| name != "redact") {
        r.bad_value(
            &value.span(),
            "fields",
            "says what a redaction takes out: it stands beside kind = \"redact\" only",
        );
    }
    match name {
        "purge" => quarantine.map(|quarantine| Action::Purge { quarantine }),
        "review" => quarantine.map(|quarantine| Action::Review { quarantine }),
        "redact" => {
            let fields = redact::fields(r, &redact::Place { kind: kind.span(), action: at }, fields, kinds?)?;
            quarantine.map(|quarantine| Action::Redact { quarantine, fields })
        }
        "restrict" => {
            if let Some(value) = quarantine_at {
                let problem = ": a restriction can be lifted for ever; leave it out";
                r.unsupported(&value.span(), "quarantine beside kind = \"restrict\"", problem);
                return None;
            }
            if kinds?.contains(&Kind::Message) {
                let problem = "is restrict, which kind = \"message\" has not: a message stays in use in its mailbox";
                r.bad_value(&kind.span(), "kind", problem);
                return None;
            }
            Some(Action::Restrict)
        }
        "anonymise" => {
            r.unsupported(&kind.span(), name, ": write kind = \"redact\" with `fields`, which says what is taken out");
            None
        }
        "revoke" => {
            let why = ": access is given and revoked by a policy with [access] and without [action]";
            r.unsupported(&kind.span(), name, why);
            None
        }
        other => {
            let hint = suggestion(other, ["purge", "redact", "restrict", "review"]);
            r.bad_value(&kind.span(), "kind", format!("must be purge, redact, restrict or review{hint}"));
            None
        }
    }
}

/// Reads `20/s`, `100/min` or `5000/h`.
fn rate<'t>(r: &mut Reader<'t>, value: &'t Value<'t>) -> Option<Rate> {
    let text = r.text("rate", value)?;
    let per_ms = |unit: &str| match unit {
        "s" => Some(1_000),
        "min" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let rate = text.split_once('/').and_then(|(items, unit)| {
        let items = items.parse().ok().filter(|items| RATE.contains(items))?;
        Some(Rate { items, per_ms: per_ms(unit)? })
    });
    if rate.is_none() {
        let problem = format!(
            "must be items in a time, such as \"20/s\", \"100/min\" or \"5000/h\", with {} to {} items",
            RATE.start,
            RATE.end - 1
        );
        r.bad_value(&value.span(), "rate", problem);
    }
    rate
}

const STANDARD_APPROVAL: Approval =
    Approval::Required { count: 1, role: ApproverRole::Approver, valid_for_ms: APPROVAL_VALID_MS };

fn approval<'t>(r: &mut Reader<'t>, mut table: Table<'t>) -> Option<Approval> {
    let required = match table.get("required") {
        Some(value) => r.boolean("required", value),
        None => Some(true),
    };
    let count = match table.get("count") {
        Some(value) => r.whole("count", value, &APPROVERS),
        None => Some(1),
    };
    let roles = [("approver", ApproverRole::Approver), ("admin", ApproverRole::Admin)];
    let role = match table.get("role") {
        Some(value) => r.choice("role", value, &roles),
        None => Some(ApproverRole::Approver),
    };
    let valid_for_ms = match table.get("valid_for") {
        Some(value) => approval_length(r, value),
        None => Some(APPROVAL_VALID_MS),
    };
    table.finish(r, elsewhere::APPROVAL);
    let (count, role, valid_for_ms) = (u32::try_from(count?).ok()?, role?, valid_for_ms?);
    Some(if required? { Approval::Required { count, role, valid_for_ms } } else { Approval::NotRequired })
}

fn approval_length<'t>(r: &mut Reader<'t>, value: &'t Value<'t>) -> Option<u64> {
    let length = r.parsed::<Period>("valid_for", value)?.nominal_ms();
    let length = length.filter(|ms| (1..=APPROVAL_VALID_MS_MAX).contains(ms));
    if length.is_none() {
        r.bad_value(&value.span(), "valid_for", "must be weeks, days or exact, more than nothing and at most a year");
    }
    length
}

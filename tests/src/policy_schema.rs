//! The form of a policy file as types, from which its JSON Schema is made. Editors complete by it; the program reads
//! files by its own reader, and a test holds both to the same keys.
//!
//! The sentences here are what an editor shows.
#![expect(dead_code, reason = "only their shape is used")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// A retention policy of retentiond.
#[derive(JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[schemars(title = "retentiond policy")]
pub struct PolicyFile {
    /// The version of the form: 1.
    #[schemars(range(min = 1, max = 1))]
    schema: u32,
    policy: Head,
    scope: Option<Scope>,
    retention: Option<Retention>,
    schedule: Option<Schedule>,
    limits: Option<Limits>,
    export: Option<Export>,
    action: Option<Action>,
    approval: Option<Approval>,
    access: Option<Access>,
    /// Examples that are run whenever the file is checked.
    test: Option<Vec<Test>>,
}

/// What it is, who answers for it, and on what law it rests.
#[derive(JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    /// The name of the file without `.toml`; stable for ever.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9-]{0,63}$"))]
    id: String,
    /// What people call it.
    title: Option<String>,
    /// Who answers for it. Needed in `enforce`.
    owner: Option<String>,
    /// The law it rests on. Needed in `enforce`.
    legal_basis: Option<String>,
    /// The rule or guidance it follows.
    citation: Option<String>,
    /// The class of data, for the register of processing activities.
    data_class: Option<String>,
    /// `draft` does nothing, `simulate` makes plans to look at, `enforce` makes plans that can run.
    state: Option<State>,
    /// `ratchet`: it can only be made to keep more, and longer.
    lock: Option<Lock>,
    /// `new`: what starts before `applies_from` is none of its business.
    applies_to: Option<AppliesTo>,
    /// From when on, with `applies_to = "new"`: a date or an instant.
    applies_from: Option<String>,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Draft,
    Simulate,
    Enforce,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Lock {
    None,
    Ratchet,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AppliesTo {
    All,
    New,
}

/// What it is about.
#[derive(JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    /// The kinds of entities.
    kind: OneOrMore<Kind>,
    /// The names of sources; all when it is not there.
    source: Option<OneOrMore<String>>,
    /// Which part of a mailbox.
    visibility: Option<Visibility>,
    /// Everything of these kinds. Must be written out when there is no `where`.
    match_all: Option<bool>,
    /// Which of them.
    r#where: Option<Filter>,
}

#[derive(JsonSchema, Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Contact,
    Company,
    Deal,
    Activity,
    Post,
    Task,
    Insight,
    Template,
    File,
    Message,
    AuditMonth,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Visibility {
    Private,
    Shared,
}

/// A tree of `all`, `any`, `not` over comparisons.
#[derive(JsonSchema, Deserialize)]
#[serde(untagged)]
enum Filter {
    /// Every part must match.
    All(AllOf),
    /// At least one part must match.
    Any(AnyOf),
    /// The part must not match.
    Not(Not),
    /// One comparison of one field.
    Leaf(Leaf),
}

#[derive(JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
struct AllOf {
    all: Vec<Filter>,
}

#[derive(JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnyOf {
    any: Vec<Filter>,
}

#[derive(JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
struct Not {
    not: Box<Filter>,
}

#[derive(JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
struct Leaf {
    /// A field of the kinds in scope, or `custom.<label>`.
    field: String,
    op: Op,
    /// What the field is compared with; not for `exists` and `absent`.
    value: Option<serde_json::Value>,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Op {
    Eq,
    Ne,
    In,
    NotIn,
    Lt,
    Le,
    Gt,
    Ge,
    Before,
    After,
    Prefix,
    Suffix,
    Contains,
    Glob,
    Matches,
    AllOf,
    Exists,
    Absent,
}

/// How long, and from when.
#[derive(JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
struct Retention {
    /// ISO 8601: `P3Y`, `P6M`, `P2W`, `P30D` by the calendar, `PT720H` exactly.
    period: String,
    /// The date it counts from.
    #[schemars(regex(
        pattern = "^(created|modified|last_activity|closed|contract_end|received|occurred|granted|first_seen|event:[a-z0-9_]{1,64})$"
    ))]
    start: String,
    /// Which classes of activities count for `last_activity`: a known one or `custom:<name>`. Left out: every one.
    activity_events: Option<Vec<String>>,
    /// To the end of which span the start is moved first.
    align: Option<Align>,
    /// The month with which the business year begins, for `end_of_fiscal_year`.
    fiscal_year_start: Option<Month>,
    /// `keep`, `review` (a person decides), or `fallback:<start>`.
    on_missing_start: Option<String>,
    /// The IANA zone in which days are counted, such as `Europe/Paris`.
    timezone: Option<String>,
    /// While this matches, nothing is due.
    suspend_while: Option<Filter>,
    /// No policy may dispose of it earlier.
    min_keep: Option<String>,
    /// However often the start moves, it is due by then, counted from when it was made.
    max_keep: Option<String>,
    /// Another period for a part of the scope; the first that matches holds.
    r#override: Option<Vec<Override>>,
}

/// Another period for a part of the scope.
#[derive(JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
struct Override {
    /// For which part.
    r#where: Filter,
    /// As in `[retention]`.
    period: String,
    /// As in `[retention]`, if it differs.
    start: Option<String>,
    /// As in `[retention]`, if it differs.
    align: Option<Align>,
    /// As in `[retention]`.
    fiscal_year_start: Option<Month>,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Align {
    None,
    EndOfMonth,
    EndOfYear,
    EndOfFiscalYear,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Month {
    Jan,
    Feb,
    Mar,
    Apr,
    May,
    Jun,
    Jul,
    Aug,
    Sep,
    Oct,
    Nov,
    Dec,
}

/// When it is looked at, and when a run waits.
#[derive(JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
struct Schedule {
    /// Five fields with names for weekdays, or `on_demand`.
    cron: String,
    /// The IANA zone whose clock it follows.
    timezone: Option<String>,
    /// What happens when the daemon was away.
    on_missed: Option<OnMissed>,
    /// A time that a clock change skips runs right after it.
    dst_gap: Option<DstGap>,
    /// A time that comes twice runs once.
    dst_fold: Option<DstFold>,
    /// Hours in which runs wait: `mon-fri 07:00-19:00`.
    blackout: Option<OneOrMore<String>>,
    /// By how much at most it begins later: `PT10M`.
    jitter: Option<String>,
    /// For how long a run takes up more items: `PT4H`.
    max_runtime: Option<String>,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnMissed {
    RunOnce,
    Skip,
    AlarmOnly,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DstGap {
    RunAfter,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DstFold {
    First,
}

/// What stops a run: before its first effect, or, for `max_drift_percent`, before the next. All of it holds also when
/// nothing is written.
#[derive(JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    /// The most items of one run.
    #[schemars(range(min = 1))]
    max_items: Option<u32>,
    /// The most items in percent of the scope.
    #[schemars(range(max = 100))]
    max_percent: Option<u32>,
    /// The most items of a run, in percent of those that it looked at, that may be found changed since they were planned.
    #[schemars(range(max = 100))]
    max_drift_percent: Option<u32>,
    /// With fewer entities in scope, or fewer items that a run looked at, the percentages are not applied.
    min_population: Option<u32>,
    /// How many must remain.
    keep_at_least: Option<u32>,
    /// By how many percent the scope may have shrunk since the last run.
    #[schemars(range(max = 100))]
    population_drop_percent: Option<u32>,
    /// How fast items are taken up, such as `20/s`, `100/min` or `5000/h`; as fast as it goes when nothing is said.
    rate: Option<String>,
    /// Only this.
    on_exceed: Option<OnExceed>,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnExceed {
    StopBeforeFirst,
}

/// What is written and read back before anything is purged.
#[derive(JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
struct Export {
    /// Always true before a purge.
    required: Option<bool>,
    /// `jsonl` always, and what people like to read.
    formats: Option<Vec<Format>>,
    csv_profile: Option<CsvProfile>,
    /// How long a bundle stays after it was written, such as `P90D`; for ever when nothing is said.
    keep: Option<String>,
    /// The public X25519 keys of age to which a bundle is encrypted, as `age-keygen -y` prints them; not with `xlsx`.
    encrypt_to: Option<OneOrMore<String>>,
    /// All three: `count`, `sha256`, `reread`.
    verify: Option<Vec<Verify>>,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    Jsonl,
    Csv,
    Xlsx,
    Eml,
    Mbox,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CsvProfile {
    Exact,
    SpreadsheetSafe,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verify {
    Count,
    Sha256,
    Reread,
}

/// What a run does.
#[derive(JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
struct Action {
    kind: ActionKind,
    /// How long it can be taken back; `P30D` when nothing is said.
    quarantine: Option<String>,
    /// What a redaction takes out, by field; fields that are not named stay. `custom.*` are all that the source adds.
    fields: Option<BTreeMap<String, Treatment>>,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActionKind {
    Purge,
    /// As `purge`, but only of what a person has decided to dispose of, item by item.
    Review,
    Redact,
    /// Ends the use: it stays, and is not shown any more.
    Restrict,
}

#[derive(JsonSchema, Deserialize)]
#[serde(untagged)]
enum Treatment {
    Plain(PlainTreatment),
    Replaced(Replaced),
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PlainTreatment {
    Keep,
    Remove,
}

/// A fixed text stands in its place.
#[derive(JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replaced {
    replace: String,
}

/// Who must agree. Whoever asked for a plan never counts.
#[derive(JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
struct Approval {
    required: Option<bool>,
    /// How many different persons.
    #[schemars(range(min = 1, max = 10))]
    count: Option<u32>,
    role: Option<Role>,
    /// How long an approval counts: `P7D`.
    valid_for: Option<String>,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    Approver,
    Admin,
}

/// Without `[action]`: who may be given access to a mailbox, in a policy that disposes of nothing. Beside `[action]`: the
/// access that its runs take to each mailbox while they work in it.
#[derive(JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
struct Access {
    right: Right,
    /// Without `[action]`: as the mail server's permissions write them.
    principals: Option<Vec<String>>,
    /// Beside `[action]`: to whom the runs give the access, as the mail server's permissions write it.
    principal: Option<String>,
    /// How long at most: `PT8H`.
    max_duration: String,
    /// Whether a ticket must be named.
    ticket: Option<Ticket>,
    /// How long access may still be there after its end before people are alarmed.
    alarm_after: Option<String>,
    /// Without `[action]`: for how long FullAccess may stand that nobody was given through a policy, such as `P90D`.
    standing: Option<String>,
    /// Without `[action]`: whose standing access is never touched.
    keep_standing: Option<Vec<String>>,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Right {
    FullAccess,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ticket {
    Required,
    Optional,
}

/// An example: an imagined entity, an instant, and what becomes of it.
#[derive(JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    /// Its fields; also `held`, `restricted` and `quarantined`.
    record: BTreeMap<String, serde_json::Value>,
    /// A date or an instant.
    at: String,
    expect: Expect,
    /// From when on it is due, if that is to be fixed.
    due: Option<String>,
}

#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expect {
    Keep,
    Due,
    Held,
    Review,
}

/// Returns the schema as it is kept: pretty, with a line end.
///
/// # Panics
/// When it cannot be written, which a schema always can.
#[must_use]
pub fn text() -> String {
    let schema = schemars::schema_for!(PolicyFile);
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}

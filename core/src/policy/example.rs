//! The `[[test]]` tables of a policy: a record, an instant, and what must come out.

use std::fmt;
use std::sync::Arc;

use toml::de::DeValue;

use super::error::{PolicyError, PolicyProblem, suggestion};
use super::filter::date_field;
use super::syntax::{Reader, Span, Table, Value};
use super::{Audience, Decision, Facts, Outcome, Place, Policy, Restriction, Scope, Standing};
use crate::id::{HoldId, LayoutId, Position};
use crate::reason::Reason;
use crate::record::activity::{Activity, ActivityClass};
use crate::record::{Cells, Column, DateRole, EntityRecord, FieldType, Kind, Layout, Visibility, field};
use crate::time::{Timestamp, Zone};

/// One example of a policy file.
#[derive(Debug)]
pub struct Example {
    /// Counted from 1.
    pub number: usize,
    /// When it is judged.
    pub at: Timestamp,
    /// What must come out.
    pub expect: Expectation,
    /// The due date that must come out, if the file says one.
    pub due: Option<Timestamp>,
    line: u32,
    column: u32,
    layout: Layout,
    record: EntityRecord,
    first_seen: Timestamp,
    activities: Vec<Activity>,
    open_deals: u32,
    standing: Standing,
}

/// What an example expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// The entity stays.
    Keep,
    /// The policy disposes of it.
    Due,
    /// It stays because of a hold.
    Held,
    /// It stays until a person decides.
    Review,
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Due => "due",
            Self::Held => "held",
            Self::Review => "review",
        })
    }
}

/// How an example came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExampleOutcome {
    /// Counted from 1.
    pub number: usize,
    /// Whether the policy does what the example says.
    pub passed: bool,
    /// What the example says.
    pub expected: String,
    /// What the policy does.
    pub actual: String,
    /// What the policy decides, with its reasons.
    pub decision: Decision,
}

/// The most examples in one file: enough for every edge of a rule.
const EXAMPLES_MAX: usize = 1_000;
/// The name under which an example gives activities without a class.
const UNCLASSIFIED: &str = "unclassified";
/// The most cells of one example: every standard and custom field fits.
const CELLS_MAX: usize = 1_000;

impl Policy {
    /// Runs the examples of the file under this policy alone.
    #[must_use]
    pub fn run_examples(self: &Arc<Self>) -> Vec<ExampleOutcome> {
        self.examples.iter().map(|example| example.run(self)).collect()
    }

    /// Runs the examples and returns those that fail, as problems of the file.
    #[must_use]
    pub fn failing_examples(self: &Arc<Self>) -> Vec<PolicyError> {
        let failed = |example: &Example| {
            let outcome = example.run(self);
            let ExampleOutcome { number, passed: false, expected, actual, .. } = outcome else { return None };
            Some(PolicyError {
                file: format!("{}.toml", self.id),
                line: example.line,
                column: example.column,
                problem: PolicyProblem::Example { number, expected, actual },
            })
        };
        self.examples.iter().filter_map(failed).collect()
    }
}

impl Example {
    /// Returns what the example's entity looks like to a policy.
    #[must_use]
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            layout: &self.layout,
            record: &self.record,
            first_seen: self.first_seen,
            last_activity: self.activities.iter().map(|activity| activity.at).max(),
            activities: &self.activities,
            open_deals: self.open_deals,
        }
    }

    fn run(&self, policy: &Arc<Policy>) -> ExampleOutcome {
        let decision = super::decide::decide_alone(policy, &self.facts(), &self.standing, self.at);
        let actual = match (&decision.outcome, &decision.reason) {
            (Outcome::Due { .. }, _) => Expectation::Due,
            (Outcome::Keep, Reason::Held { .. }) => Expectation::Held,
            (Outcome::Keep, Reason::ReviewNeeded { .. }) => Expectation::Review,
            (Outcome::Keep, _) => Expectation::Keep,
        };
        let due = decision.policies.iter().find_map(|assessed| match assessed.reason {
            Reason::PeriodOver { due_at, .. } | Reason::PeriodRunning { due_at, .. } => Some(due_at),
            Reason::ReviewNeeded { due_at } => due_at,
            _ => None,
        });
        let passed = actual == self.expect && self.due.is_none_or(|wanted| due == Some(wanted));
        ExampleOutcome {
            number: self.number,
            passed,
            expected: describe(self.expect, self.due, None),
            actual: describe(actual, due, Some(decision.reason.code())),
            decision,
        }
    }
}

fn describe(what: Expectation, due: Option<Timestamp>, reason: Option<&str>) -> String {
    let due = due.map(|at| format!(", due {at}")).unwrap_or_default();
    let reason = reason.map(|code| format!(" ({code})")).unwrap_or_default();
    format!("{what}{reason}{due}")
}

/// Reads all `[[test]]` tables.
pub(super) fn check<'t>(
    r: &mut Reader<'t>,
    value: Option<&'t Value<'t>>,
    scope: &Scope,
    zone: &Zone,
) -> Option<Vec<Example>> {
    let Some(value) = value else { return Some(Vec::new()) };
    let Some(items) = value.get_ref().as_array() else {
        r.wrong_type("test", "tables written [[test]]", value);
        return None;
    };
    if items.len() > EXAMPLES_MAX {
        r.bad_value(&value.span(), "test", format!("has too many examples: at most {EXAMPLES_MAX}"));
        return None;
    }
    let examples: Vec<_> =
        items.iter().enumerate().map(|(index, item)| example(r, index + 1, item, scope, zone)).collect();
    examples.into_iter().collect()
}

fn example<'t>(r: &mut Reader<'t>, number: usize, value: &'t Value<'t>, scope: &Scope, zone: &Zone) -> Option<Example> {
    let mut table = r.table("[[test]]", value)?;
    let expectations = [
        ("keep", Expectation::Keep),
        ("due", Expectation::Due),
        ("held", Expectation::Held),
        ("review", Expectation::Review),
    ];
    let record = table.require(r, "record", "").and_then(|value| r.table("record", value));
    let at = table.require(r, "at", "").and_then(|value| r.instant("at", value, zone));
    let expect = table.require(r, "expect", "").and_then(|value| r.choice("expect", value, &expectations));
    let due = table.get("due").map(|value| r.instant("due", value, zone));
    let (line, column) = r.position(&table.at);
    table.finish(r, &[]);
    let (record, at) = (record?, at?);
    let mut draft = Draft::of(scope, at)?;
    draft.read(r, &record, zone)?;
    let due = match due {
        Some(due) => Some(due?),
        None => None,
    };
    Some(Example {
        number,
        at,
        expect: expect?,
        due,
        line,
        column,
        layout: draft.layout,
        record: draft.record,
        first_seen: draft.first_seen,
        activities: draft.activities,
        open_deals: draft.open_deals,
        standing: draft.standing,
    })
}

/// An entity made of the fields that an example names.
struct Draft {
    layout: Layout,
    record: EntityRecord,
    first_seen: Timestamp,
    activities: Vec<Activity>,
    open_deals: u32,
    standing: Standing,
}

impl Draft {
    fn of(scope: &Scope, at: Timestamp) -> Option<Self> {
        let layout = Layout {
            source: scope.sources.first().cloned().unwrap_or_else(|| "test".to_owned()),
            kind: *scope.kinds.first()?,
            columns: Vec::new(),
            named_dates: Vec::new(),
        };
        let record = EntityRecord {
            layout: LayoutId(1),
            mailbox: None,
            visibility: match scope.audience {
                Audience::All => Visibility::Unknown,
                Audience::Private => Visibility::Private,
                Audience::Shared => Visibility::Shared,
            },
            external_id: String::new(),
            other_ids: Vec::new(),
            dates: Vec::new(),
            links: Vec::new(),
            cells: Cells::default(),
        };
        Some(Self { layout, record, first_seen: at, activities: Vec::new(), open_deals: 0, standing: Standing::FREE })
    }

    fn read<'t>(&mut self, r: &mut Reader<'t>, table: &Table<'t>, zone: &Zone) -> Option<()> {
        // The kind decides which fields there are, so it comes first.
        for (key, _, value) in table.entries().filter(|(key, ..)| *key == "kind") {
            let kinds: Vec<_> = Kind::under_policy().map(|kind| (kind.name(), kind)).collect();
            self.layout.kind = r.choice(key, value, &kinds)?;
        }
        let mut cells = Vec::new();
        let mut complete = Some(());
        for (key, at, value) in table.entries().take(CELLS_MAX) {
            if self.field(r, (key, &at), value, zone, &mut cells).is_none() {
                complete = None;
            }
        }
        self.arrange(cells);
        self.record.dates.sort_unstable();
        complete
    }

    fn field<'t>(
        &mut self,
        r: &mut Reader<'t>,
        (key, at): (&'t str, &Span),
        value: &'t Value<'t>,
        zone: &Zone,
        cells: &mut Vec<(Column, String)>,
    ) -> Option<()> {
        let is_true = |r: &mut Reader<'t>| r.boolean(key, value);
        let visibilities = [("private", Visibility::Private), ("shared", Visibility::Shared)];
        match key {
            "kind" => {}
            "held" if is_true(r)? => self.standing.holds.push(HoldId(Position(1))),
            "restricted" if is_true(r)? => self.standing.restriction = Restriction::Restricted,
            "quarantined" if is_true(r)? => self.standing.place = Place::Quarantined,
            "held" | "restricted" | "quarantined" => {}
            "source" => self.layout.source = r.text(key, value)?.to_owned(),
            "visibility" => self.record.visibility = r.choice(key, value, &visibilities)?,
            "open_deals" => self.open_deals = u32::try_from(r.whole(key, value, &(0..1 << 32))?).ok()?,
            "first_seen" => self.first_seen = r.instant("first_seen", value, zone)?,
            "last_activity" => {
                let date = r.instant("last_activity", value, zone)?;
                self.record.dates.push((DateRole::LastActivity, date));
            }
            "activities" => self.activities(r, value, zone)?,
            _ => return self.cell(r, (key, at), value, zone, cells),
        }
        Some(())
    }

    /// Reads the date of the newest activity of each class: `{ call_logged = 2025-01-31, unclassified = 2024-05-01 }`.
    fn activities<'t>(&mut self, r: &mut Reader<'t>, value: &'t Value<'t>, zone: &Zone) -> Option<()> {
        let table = r.table("activities", value)?;
        for (name, at, date) in table.entries().take(CELLS_MAX) {
            let class = ActivityClass::from_name(name);
            if class.is_none() && name != UNCLASSIFIED {
                let known: Vec<&str> = ActivityClass::names().chain([UNCLASSIFIED]).collect();
                let hint = suggestion(name, known.iter().copied());
                let problem = format!("names an unknown class: {} or custom:<name>{hint}", known.join(", "));
                r.bad_value(&at, "activities", problem);
                return None;
            }
            let at = r.instant("activities", date, zone)?;
            self.activities.push(Activity { class, at, by: None });
        }
        Some(())
    }

    fn cell<'t>(
        &mut self,
        r: &mut Reader<'t>,
        (key, at): (&'t str, &Span),
        value: &'t Value<'t>,
        zone: &Zone,
        cells: &mut Vec<(Column, String)>,
    ) -> Option<()> {
        if let Some(event) = key.strip_prefix("event:") {
            let role = DateRole::Named(u16::try_from(self.layout.named_dates.len()).ok()?);
            self.record.dates.push((role, r.instant("record", value, zone)?));
            self.layout.named_dates.push(event.to_owned());
            return Some(());
        }
        let standard = field::standard(self.layout.kind).iter().find(|standard| standard.name == key);
        let role = date_field(key).or_else(|| standard_date(key));
        if standard.is_none() && role.is_none() && !key.starts_with(field::CUSTOM_PREFIX) {
            let hint = suggestion(key, field::standard(self.layout.kind).iter().map(|standard| standard.name));
            let kind = self.layout.kind.name();
            r.error(at, PolicyProblem::UnknownField { field: key.to_owned(), kind, hint });
            return None;
        }
        let text = cell_text(r, key, value)?;
        if let Some((role, _)) = role
            && let Ok(date) = Timestamp::parse_in(&text, zone)
        {
            self.record.dates.push((role, date));
        }
        let is_list = matches!(value.get_ref(), DeValue::Array(_));
        let field_type = match standard {
            Some(standard) => standard.field_type,
            None if is_list => FieldType::List,
            None => FieldType::Text,
        };
        cells.push((Column { name: key.to_owned(), field: key.to_owned(), field_type }, text));
        Some(())
    }

    /// Lays out every standard field, the ones that the example does not name as null, then the custom ones.
    fn arrange(&mut self, cells: Vec<(Column, String)>) {
        for standard in field::standard(self.layout.kind) {
            let text = cells.iter().find(|(column, _)| column.field == standard.name).map(|(_, text)| text.as_str());
            let (name, field) = (standard.ocm_column.to_owned(), standard.name.to_owned());
            self.layout.columns.push(Column { name, field, field_type: standard.field_type });
            let _ = self.record.cells.push(text);
        }
        for (column, text) in cells {
            if self.layout.column_of(&column.field).is_none() {
                self.layout.columns.push(column);
                let _ = self.record.cells.push(Some(&text));
            }
        }
    }
}

/// Returns the role of a standard column that holds a date under another name.
fn standard_date(key: &str) -> Option<(DateRole, Option<&'static str>)> {
    match key {
        "close_date" => date_field("closed"),
        "event_time" => date_field("occurred"),
        _ => None,
    }
}

fn cell_text<'t>(r: &mut Reader<'t>, key: &str, value: &'t Value<'t>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(integer) => Some(integer.to_string()),
        DeValue::Float(float) => Some(float.to_string()),
        DeValue::Boolean(boolean) => Some(boolean.to_string()),
        DeValue::Datetime(datetime) => Some(datetime.to_string()),
        DeValue::Array(_) => {
            let texts = r.texts(key, value)?;
            Some(texts.into_iter().map(|(text, _)| text).collect::<Vec<_>>().join("|"))
        }
        DeValue::Table(_) => {
            r.wrong_type(key, "a value or a list of strings", value);
            None
        }
    }
}
